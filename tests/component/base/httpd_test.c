/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP server over real sockets. The table of malformed requests is the proof that was made before
 * the server was chosen: libevent's evhttp 2.1.12 hands those marked E to its handler as if they were
 * good requests, and has no place where one could look at the bytes before.
 */
#include "tests/harness/test.h"

#include "base/fd.h"
#include "base/http.h"
#include "base/httpd_tls.h"
#include "base/self_signed.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

struct server {
	struct cf_loop *loop;
	struct cf_httpd *httpd;
	pthread_t thread;
	struct cf_httpd_req *kept; /* a request that is answered later */
	unsigned handled;
};

static size_t limit(struct cf_view method, struct cf_view path, void *user)
{
	(void)method;
	(void)user;
	return cf_view_starts_with(path, "/small") ? 10 : 1u << 20;
}

/* Echoes: method, path, query, body. */
static void handle(struct cf_httpd_req *req, void *user)
{
	const struct http_head *head = cf_httpd_head(req);
	cf_cleanup(cf_buf_fini) struct cf_buf b = { 0 };
	cf_cleanup(cf_strv_fini) struct cf_strv headers = { 0 };
	struct server *s = user;

	s->handled++;
	if (cf_view_eq_str(head->path, "/later")) {
		s->kept = req;
		return;
	}
	cf_buf_add_view(&b, head->method);
	cf_buf_add_str(&b, " ");
	cf_buf_add_view(&b, head->path);
	cf_buf_add_str(&b, " ");
	cf_buf_add_view(&b, head->query);
	cf_buf_add_str(&b, " ");
	cf_buf_add_view(&b, cf_httpd_body(req));
	cf_strv_add(&headers, "X-Test: 1");
	cf_httpd_reply(req, 200, "text/plain", &headers, cf_buf_view(&b));
}

static void *run(void *arg)
{
	struct server *s = arg;

	cf_loop_run(s->loop);
	return NULL;
}

static void start(struct server *s, struct cf_httpd_opts opts)
{
	struct cf_err err;

	*s = (struct server){ 0 };
	opts.address = "127.0.0.1";
	opts.body_max = limit;
	opts.handle = handle;
	opts.user = s;
	EXPECT_OK(cf_loop_new(&s->loop, &err), &err);
	EXPECT_OK(cf_httpd_new(s->loop, &opts, &s->httpd, &err), &err);
	EXPECT(pthread_create(&s->thread, NULL, run, s) == 0);
}

static void stop_loop(void *arg)
{
	cf_loop_stop(arg);
}

static void stop(struct server *s)
{
	cf_loop_post(s->loop, stop_loop, s->loop);
	pthread_join(s->thread, NULL);
	cf_httpd_free(s->httpd);
	if (s->kept)
		cf_httpd_reply(s->kept, 200, NULL, NULL, (struct cf_view){ 0 });
	cf_loop_free(s->loop);
}

static int dial(const struct server *s)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
		                 .sin_port = htons(cf_httpd_port(s->httpd)),
		                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	EXPECT(fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0);
	return fd;
}

/* Reads until the server closes, or @enough appears, or @ms pass. */
static void read_answer(int fd, const char *enough, int ms, struct cf_buf *out)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char piece[4096];

	while (poll(&p, 1, ms) == 1) {
		ssize_t n = read(fd, piece, sizeof(piece));

		if (n <= 0)
			return;
		cf_buf_add(out, piece, (size_t)n);
		if (enough && strstr((char *)out->data, enough))
			return;
	}
	cf_buf_add_str(out, "[TIMEOUT]");
}

static void exchange(const struct server *s, struct cf_view request, const char *enough,
                     struct cf_buf *out)
{
	cf_cleanup(cf_closep) int fd = dial(s);
	struct cf_err err;

	EXPECT_OK(cf_write_all(fd, request, &err), &err);
	read_answer(fd, enough, 5000, out);
}

CF_TEST(httpd_refuses_malformed_requests_and_closes)
{
	static const struct {
		struct cf_view request;
		unsigned status;
	} bad[] = {
#define BAD(status, text) { CF_VIEW_LIT(text), status }
		BAD(400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
		         "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
		BAD(501, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
		         "chunked\r\n\r\n0\r\n\r\n"), /* E */
		BAD(501,
		    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n"), /* E */
		BAD(400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
		         "Content-Length: 2\r\n\r\nab"), /* E */
		BAD(400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
		         "Content-Length: 1\r\n\r\na"), /* E */
		BAD(400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\na"),
		BAD(400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\na"), /* E */
		BAD(400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n"),
		BAD(400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\na"),
		BAD(400, "POST / HTTP/1.1\r\nHost: a\r\n"
		         "Content-Length: 99999999999999999999\r\n\r\n"),
		BAD(413, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999\r\n\r\n"),
		BAD(400, "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n folded\r\n\r\n"), /* E */
		BAD(400, "GET / HTTP/1.1\nHost: a\n\n"),                          /* E */
		BAD(400, "GET / HTTP/1.1\r\nHost: a\r\nX: 1\nY: 2\r\n\r\n"),      /* E */
		BAD(400, "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n"),
		BAD(400, "GET / HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n"),     /* E */
		BAD(400, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),   /* E */
		BAD(400, "GET / HTTP/1.1\r\n\r\n"),                         /* E */
		BAD(400, "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n"),   /* E */
		BAD(400, "GET / HTTP/1.1\r\nHost: a\r\n: no name\r\n\r\n"), /* E */
		BAD(400, "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
		/* E */ /* two spaces */
		BAD(400, "GET / HTTP/1.1 \r\nHost: a\r\n\r\n"),
		/* E */                                                /* a space behind */
		BAD(400, "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n"), /* E */
		BAD(400, "G\tT / HTTP/1.1\r\nHost: a\r\n\r\n"),
		BAD(400, "GET /a\x7f HTTP/1.1\r\nHost: a\r\n\r\n"), /* E */
		BAD(505, "GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
		BAD(505, "GET / HTTP/1.2\r\nHost: a\r\n\r\n"),                     /* E */
		BAD(417, "GET / HTTP/1.1\r\nHost: a\r\nExpect: miracles\r\n\r\n"), /* E */
		BAD(400, "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
	};
	struct server s;

	start(&s, (struct cf_httpd_opts){ 0 });
	for (size_t i = 0; i < CF_ARRAY_LEN(bad); i++) {
		cf_cleanup(cf_buf_fini) struct cf_buf out = { 0 };
		cf_cleanup(cf_freep) char *want = cf_asprintf("HTTP/1.1 %u ", bad[i].status);

		exchange(&s, bad[i].request, NULL, &out);
		if (!out.data || !cf_starts_with((char *)out.data, want) ||
		    strstr((char *)out.data, "[TIMEOUT]"))
			fail_msg("request %zu: wanted %u, got %s", i, bad[i].status,
			         out.data ? (char *)out.data : "nothing");
		/* One answer, and the connection's end is announced. */
		EXPECT(strstr((char *)out.data, "Connection: close"));
		EXPECT(!strstr((char *)out.data + 1, "HTTP/1.1"));
	}
	stop(&s);
	EXPECT_INT(s.handled, 0);
}

CF_TEST(httpd_answers_pipelined_and_split_requests_in_order)
{
	static const struct cf_view two =
		CF_VIEW_LIT("POST /one?q=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
	                    "GET /two HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
	cf_cleanup(cf_buf_fini) struct cf_buf whole = { 0 }, pieces = { 0 };
	struct server s;
	struct cf_err err;

	start(&s, (struct cf_httpd_opts){ 0 });
	exchange(&s, two, NULL, &whole);
	EXPECT(strstr((char *)whole.data, "POST /one q=1 abc"));
	EXPECT(strstr(strstr((char *)whole.data, "/one"), "GET /two  "));
	EXPECT(strstr((char *)whole.data, "X-Test: 1\r\n"));
	EXPECT(!strstr((char *)whole.data, "TIMEOUT"));

	cf_cleanup(cf_closep) int fd = dial(&s);

	for (size_t i = 0; i < two.size; i++)
		EXPECT_OK(cf_write_all(fd, cf_view_sub(two, i, 1), &err), &err);
	read_answer(fd, NULL, 5000, &pieces);
	EXPECT(cf_view_eq(cf_buf_view(&whole), cf_buf_view(&pieces)));
	stop(&s);
	EXPECT_INT(s.handled, 4);
}

CF_TEST(httpd_limits_bodies_per_route_and_heads)
{
	cf_cleanup(cf_buf_fini) struct cf_buf out = { 0 }, big = { 0 };
	struct server s;

	start(&s, (struct cf_httpd_opts){ .head_max = 1024 });
	exchange(&s, cf_view_str("POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n"),
	         NULL, &out);
	EXPECT(cf_starts_with((char *)out.data, "HTTP/1.1 413 "));
	cf_buf_reset(&out);
	exchange(&s,
	         cf_view_str("POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n"
	                     "Connection: close\r\n\r\n0123456789"),
	         NULL, &out);
	EXPECT(strstr((char *)out.data, "POST /small  0123456789"));
	cf_buf_reset(&out);
	cf_buf_add_str(&big, "GET / HTTP/1.1\r\nHost: a\r\nX: ");
	while (big.size < 1100)
		cf_buf_add_byte(&big, 'x');
	exchange(&s, cf_buf_view(&big), NULL, &out); /* never ends its head */
	EXPECT(cf_starts_with((char *)out.data, "HTTP/1.1 431 "));
	cf_buf_reset(&out);
	big.size = 25;
	for (unsigned i = 0; i <= HTTP_HEAD_FIELDS_MAX; i++)
		cf_buf_add_str(&big, "a:b\r\n");
	cf_buf_add_str(&big, "\r\n");
	exchange(&s, cf_buf_view(&big), NULL, &out);
	EXPECT(cf_starts_with((char *)out.data, "HTTP/1.1 431 "));
	stop(&s);
	EXPECT_INT(s.handled, 1);
}

CF_TEST(httpd_gives_up_on_slow_heads_whatever_trickles_in)
{
	cf_cleanup(cf_buf_fini) struct cf_buf out = { 0 };
	struct server s;
	struct pollfd p = { .events = POLLIN };
	int64_t began;

	start(&s, (struct cf_httpd_opts){ .head_ms = 400 });
	cf_cleanup(cf_closep) int fd = dial(&s);
	p.fd = fd;
	began = cf_now_ms();
	while (poll(&p, 1, 20) == 0 && cf_now_ms() - began < 5000)
		if (write(fd, "x", 1) != 1)
			break;
	read_answer(fd, NULL, 3000, &out);
	EXPECT(cf_starts_with((char *)out.data, "HTTP/1.1 408 "));
	EXPECT(cf_now_ms() - began < 4000);
	stop(&s);
}

CF_TEST(httpd_survives_clients_that_leave_before_the_answer)
{
	struct server s;
	struct cf_err err;
	int fd;

	start(&s, (struct cf_httpd_opts){ 0 });
	fd = dial(&s);
	EXPECT_OK(cf_write_all(fd, cf_view_str("GET /later HTTP/1.1\r\nHost: a\r\n\r\n"), &err),
	          &err);
	close(fd);

	cf_cleanup(cf_buf_fini) struct cf_buf out = { 0 };

	exchange(&s, cf_view_str("GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"), NULL,
	         &out);
	EXPECT(strstr((char *)out.data, "GET /x"));
	stop(&s); /* answers the kept request after its connection is gone */
}

CF_TEST(httpd_holds_its_number_of_connections)
{
	cf_cleanup(cf_buf_fini) struct cf_buf out = { 0 };
	struct server s;
	int fds[4];

	start(&s, (struct cf_httpd_opts){ .connections_max = 4 });
	for (size_t i = 0; i < 4; i++) {
		fds[i] = dial(&s);
		EXPECT(write(fds[i], "G", 1) == 1);
	}
	cf_cleanup(cf_closep) int fifth = dial(&s);

	read_answer(fifth, NULL, 3000, &out);
	EXPECT(out.size == 0); /* closed at once */
	for (size_t i = 0; i < 4; i++)
		close(fds[i]);
	stop(&s);
}

CF_TEST(httpd_holds_its_budget_of_bodies)
{
	static const char half[] = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 600\r\n\r\n";
	cf_cleanup(cf_buf_fini) struct cf_buf out = { 0 }, again = { 0 };
	struct server s;
	struct cf_err err;

	start(&s, (struct cf_httpd_opts){ .bodies_max = 1000 });
	for (int i = 0; i < 3; i++) { /* what a connection held is given back when it ends */
		int first = dial(&s);

		cf_buf_reset(&out);
		EXPECT_OK(cf_write_all(first, cf_view_str(half), &err), &err);
		exchange(&s, cf_view_str("GET /y HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
		         NULL, &out); /* by now the first head was read */
		cf_buf_reset(&out);
		exchange(&s, cf_view_str(half), NULL, &out);
		EXPECT(cf_starts_with((char *)out.data, "HTTP/1.1 503 "));
		close(first);
		exchange(&s, cf_view_str("GET /z HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
		         NULL, &again);
	}
	stop(&s);
}

/* ---- TLS ---- */

static void write_files_for(unsigned days, const char *dir, char **cert, char **key)
{
	cf_cleanup(cf_pkey_freep) struct cf_pkey *pair = NULL;
	cf_cleanup(cf_strv_fini) struct cf_strv names = { 0 };
	cf_cleanup(cf_buf_fini) struct cf_buf pem = { 0 }, secret = { 0 };
	struct cf_err err;

	*cert = cf_asprintf("%s/cert.pem", dir);
	*key = cf_asprintf("%s/key.pem", dir);
	cf_strv_add(&names, "IP:127.0.0.1");
	EXPECT_OK(cf_pkey_generate(CF_PKEY_EC_P256, 0, &pair, &err), &err);
	EXPECT_OK(cf_self_signed(pair, "test", &names, days, &pem, &err), &err);
	EXPECT_OK(cf_pkey_to_pem(pair, true, &secret, &err), &err);
	EXPECT_OK(cf_write_file_atomic(*cert, cf_buf_view(&pem), 0644, &err), &err);
	EXPECT_OK(cf_write_file_atomic(*key, cf_buf_view(&secret), 0600, &err), &err);
}

static void write_files(const char *dir, char **cert, char **key)
{
	write_files_for(2, dir, cert, key);
}

CF_TEST(httpd_speaks_tls_and_takes_a_new_certificate)
{
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	cf_cleanup(cf_freep) char *cert = NULL, *key = NULL, *url = NULL, *cert2 = NULL,
				  *key2 = NULL;
	cf_cleanup(cf_http_freep) struct cf_http *http = NULL;
	cf_cleanup(cf_buf_fini) struct cf_buf big = { 0 };
	struct cf_http_response resp = { 0 };
	cf_cleanup(cf_httpd_tls_freep) struct cf_httpd_tls *tls = NULL;
	struct server s;
	struct cf_err err;

	write_files(dir, &cert, &key);
	cf_http_global_init();
	EXPECT_OK(cf_httpd_tls_new(cert, key, &tls, &err), &err);
	start(&s, (struct cf_httpd_opts){ .tls = tls });

	struct cf_buf pem = cf_test_read(cert);
	struct cf_view ca = cf_buf_view(&pem);
	struct cf_http_config config = { .ca_pem = &ca, .ca_count = 1, .no_system_ca = true };

	EXPECT_OK(cf_http_new(&config, &http, &err), &err);
	url = cf_asprintf("https://127.0.0.1:%u/tls", cf_httpd_port(s.httpd));
	while (big.size < 300000)
		cf_buf_add_str(&big, "0123456789");
	for (int i = 0; i < 3; i++) {
		struct cf_http_request req = { .method = "POST",
			                       .url = url,
			                       .body = cf_buf_view(&big) };

		EXPECT_OK(cf_http_do(http, &req, &resp, &err), &err);
		EXPECT_INT(resp.status, 200);
		EXPECT_INT(resp.body.size, strlen("POST /tls  ") + big.size);
	}
	write_files(dir, &cert2, &key2); /* another key under the same names */
	EXPECT_OK(cf_httpd_tls_reload(tls, &err), &err);
	EXPECT_OK(cf_write_file_atomic(key, cf_view_str("nonsense"), 0600, &err), &err);
	EXPECT_FAILS(cf_httpd_tls_reload(tls, &err), CF_INVALID_ARGUMENT);
	cf_http_response_fini(&resp);
	cf_buf_fini(&pem);
	stop(&s);
}

/* A guest's clock is its host's word: with pinned anchors it may look away from certificates' times. */
CF_TEST(http_takes_an_expired_certificate_of_a_pinned_anchor_when_told_to)
{
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	cf_cleanup(cf_freep) char *cert = NULL, *key = NULL, *url = NULL;
	cf_cleanup(cf_http_freep) struct cf_http *strict = NULL, *guest = NULL, *loose = NULL;
	struct cf_http_response resp = { 0 };
	cf_cleanup(cf_httpd_tls_freep) struct cf_httpd_tls *tls = NULL;
	struct server s;
	struct cf_err err;

	write_files_for(0, dir, &cert, &key);
	cf_http_global_init();
	EXPECT_OK(cf_httpd_tls_new(cert, key, &tls, &err), &err);
	start(&s, (struct cf_httpd_opts){ .tls = tls });

	struct cf_buf pem = cf_test_read(cert);
	struct cf_view ca = cf_buf_view(&pem);
	struct cf_http_config config = { .ca_pem = &ca, .ca_count = 1, .no_system_ca = true };
	struct cf_http_request req = { .method = "GET" };

	req.url = url = cf_asprintf("https://127.0.0.1:%u/", cf_httpd_port(s.httpd));
	EXPECT_OK(cf_http_new(&config, &strict, &err), &err);
	EXPECT(cf_http_do(strict, &req, &resp, &err) < 0);
	config.no_cert_times = true;
	EXPECT_OK(cf_http_new(&config, &guest, &err), &err);
	EXPECT_OK(cf_http_do(guest, &req, &resp, &err), &err);
	EXPECT_INT(resp.status, 200);
	config.no_system_ca = false;
	EXPECT_FAILS(cf_http_new(&config, &loose, &err), CF_INVALID_ARGUMENT);
	cf_http_response_fini(&resp);
	cf_buf_fini(&pem);
	stop(&s);
}
