/* SPDX-License-Identifier: Apache-2.0 */
#include "base/http.h"
#include "tests/harness/fake_http.h"

#define OK_HELLO "HTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Length: 5\r\n\r\nhello"

struct fixture {
	struct fake_http web;
	struct cf_http *http;
	char *url;
	struct cf_http_response resp;
	char *dir;
};

static struct fixture start(const struct fake_route *routes, size_t count)
{
	struct fixture f = { .dir = cf_test_tmpdir() };
	struct cf_http_config config = { .allow_http = true };
	struct cf_err err;

	cf_http_global_init();
	f.web = fake_http_start(f.dir, routes, count);
	EXPECT_OK(cf_http_new(&config, &f.http, &err), &err);
	return f;
}

static void stop(struct fixture *f)
{
	cf_http_response_fini(&f->resp);
	cf_http_free(f->http);
	fake_http_stop(&f->web);
	free(f->url);
	free(f->dir);
}

static int get(struct fixture *f, const char *path, struct cf_http_request req, struct cf_err *err)
{
	free(f->url);
	f->url = cf_asprintf("http://127.0.0.1:%u%s", f->web.port, path);
	req.url = f->url;
	return cf_http_do(f->http, &req, &f->resp, err);
}

CF_TEST(http_collects_a_body_and_its_headers)
{
	static const struct fake_route routes[] = { { .path = "/a", .response = OK_HELLO } };
	struct fixture f = start(routes, CF_ARRAY_LEN(routes));
	struct cf_err err;

	EXPECT_OK(get(&f, "/a", (struct cf_http_request){ 0 }, &err), &err);
	EXPECT_INT(f.resp.status, 200);
	EXPECT(cf_view_eq_str(cf_http_body(&f.resp), "hello"));
	EXPECT_STR(cf_http_header(&f.resp, "x-a"), "1");
	EXPECT(!cf_http_header(&f.resp, "x"));
	EXPECT_OK(get(&f, "/none", (struct cf_http_request){ 0 }, &err), &err);
	EXPECT_INT(f.resp.status, 404);
	stop(&f);
}

CF_TEST(http_refuses_a_body_over_the_limit)
{
	static const struct fake_route routes[] = { { .path = "/a", .response = OK_HELLO } };
	struct fixture f = start(routes, CF_ARRAY_LEN(routes));
	struct cf_err err;

	EXPECT_FAILS(get(&f, "/a", (struct cf_http_request){ .body_max = 4 }, &err),
	             CF_RESOURCE_EXHAUSTED);
	EXPECT_OK(get(&f, "/a", (struct cf_http_request){ .body_max = 5 }, &err), &err);
	stop(&f);
}

CF_TEST(http_refuses_headers_over_the_limit)
{
	struct cf_buf big = { 0 };

	cf_buf_add_str(&big, "HTTP/1.1 200 OK\r\n");
	for (int i = 0; i < 80; i++) {
		cf_buf_printf(&big, "X-%d: ", i);
		for (int k = 0; k < 1000; k++)
			cf_buf_add_byte(&big, 'a');
		cf_buf_add_str(&big, "\r\n");
	}
	cf_buf_add_str(&big, "Content-Length: 0\r\n\r\n");
	struct fake_route routes[] = { { .path = "/a", .response = (const char *)big.data } };
	struct fixture f = start(routes, 1);
	struct cf_err err;

	EXPECT_FAILS(get(&f, "/a", (struct cf_http_request){ 0 }, &err), CF_RESOURCE_EXHAUSTED);
	stop(&f);
	cf_buf_fini(&big);
}

static int add_piece(void *arg, struct cf_view piece, struct cf_err *err)
{
	cf_buf_add_view(arg, piece);
	return cf_buf_check(arg, "pieces", err);
}

CF_TEST(http_calls_a_body_cut_short_a_failure_but_gives_what_came)
{
	static const struct fake_route routes[] = {
		{ .path = "/a", .response = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello" }
	};
	struct fixture f = start(routes, CF_ARRAY_LEN(routes));
	struct cf_buf got = { 0 };
	struct cf_err err;

	EXPECT_FAILS(
		get(&f, "/a", (struct cf_http_request){ .sink = add_piece, .arg = &got }, &err),
		CF_UNAVAILABLE);
	EXPECT(cf_view_eq_str(cf_buf_view(&got), "hello"));
	EXPECT_INT(f.resp.status, 200);
	cf_buf_fini(&got);
	stop(&f);
}

CF_TEST(http_keeps_an_error_page_from_the_sink)
{
	static const struct fake_route routes[] = {
		{ .path = "/a", .response = "HTTP/1.1 500 Oops\r\nContent-Length: 5\r\n\r\nsorry" }
	};
	struct fixture f = start(routes, CF_ARRAY_LEN(routes));
	struct cf_buf got = { 0 };
	struct cf_err err;

	EXPECT_OK(get(&f, "/a", (struct cf_http_request){ .sink = add_piece, .arg = &got }, &err),
	          &err);
	EXPECT_INT(got.size, 0);
	EXPECT(cf_view_eq_str(cf_http_body(&f.resp), "sorry"));
	stop(&f);
}

CF_TEST(http_sends_range_headers_and_credentials)
{
	static const struct fake_route routes[] = {
		{ .path = "/a", .response = "HTTP/1.1 206 Part\r\nContent-Length: 2\r\n\r\nlo" }
	};
	struct fixture f = start(routes, CF_ARRAY_LEN(routes));
	struct cf_strv headers = { 0 };
	struct cf_err err;

	cf_strv_add(&headers, "Accept: text/x");
	EXPECT_OK(get(&f, "/a",
	              (struct cf_http_request){
			      .range_from = 3, .headers = &headers, .authorization = "Basic eDp5" },
	              &err),
	          &err);
	struct cf_buf log = fake_http_log(&f.web);

	EXPECT(strstr((char *)log.data, "Range: bytes=3-\r\n"));
	EXPECT(strstr((char *)log.data, "Accept: text/x\r\n"));
	EXPECT(strstr((char *)log.data, "Authorization: Basic eDp5\r\n"));
	cf_buf_fini(&log);
	cf_strv_fini(&headers);
	stop(&f);
}

CF_TEST(http_drops_credentials_when_a_redirect_changes_the_host)
{
	struct fixture other =
		start((struct fake_route[]){ { .path = "/b", .response = OK_HELLO } }, 1);
	char *hop = cf_asprintf("HTTP/1.1 307 Go\r\nLocation: http://127.0.0.1:%u/b\r\n"
	                        "Content-Length: 0\r\n\r\n",
	                        other.web.port);
	struct fake_route routes[] = {
		{ .path = "/a", .response = hop },
		{ .path = "/same",
		  .response = "HTTP/1.1 302 Go\r\nLocation: /c\r\nContent-Length: 0\r\n\r\n" },
		{ .path = "/c", .response = OK_HELLO },
	};
	char *dir = cf_test_tmpdir();
	struct fixture f = { .dir = cf_asprintf("%s/x", dir) };
	struct cf_http_config config = { .allow_http = true };
	struct cf_err err;

	EXPECT_OK(cf_mkdir_p(f.dir, 0700, &err), &err);
	f.web = fake_http_start(f.dir, routes, 3);
	EXPECT_OK(cf_http_new(&config, &f.http, &err), &err);
	EXPECT_OK(get(&f, "/a", (struct cf_http_request){ .authorization = "Bearer t" }, &err),
	          &err);
	EXPECT(cf_view_eq_str(cf_http_body(&f.resp), "hello"));
	struct cf_buf log = fake_http_log(&other.web);

	EXPECT(!strstr((char *)log.data, "Bearer"));
	cf_buf_fini(&log);
	EXPECT_OK(get(&f, "/same", (struct cf_http_request){ .authorization = "Bearer u" }, &err),
	          &err);
	log = fake_http_log(&f.web);
	char *second = strstr((char *)log.data, "GET /c ");

	EXPECT(second && strstr(second, "Bearer u"));
	cf_buf_fini(&log);
	free(hop);
	free(dir);
	stop(&f);
	stop(&other);
}

CF_TEST(http_stops_at_too_many_redirects_and_odd_ones)
{
	static const struct fake_route routes[] = {
		{ .path = "/loop",
		  .response = "HTTP/1.1 302 Go\r\nLocation: /loop\r\nContent-Length: 0\r\n\r\n" },
		{ .path = "/file",
		  .response = "HTTP/1.1 302 Go\r\nLocation: file:///etc/passwd\r\n"
		              "Content-Length: 0\r\n\r\n" },
		{ .path = "/mute", .response = "HTTP/1.1 302 Go\r\nContent-Length: 0\r\n\r\n" },
	};
	struct fixture f = start(routes, CF_ARRAY_LEN(routes));
	struct cf_err err;

	EXPECT_FAILS(get(&f, "/loop", (struct cf_http_request){ 0 }, &err), CF_RESOURCE_EXHAUSTED);
	EXPECT_FAILS(get(&f, "/file", (struct cf_http_request){ 0 }, &err), CF_PERMISSION_DENIED);
	EXPECT_FAILS(get(&f, "/mute", (struct cf_http_request){ 0 }, &err), CF_UNAVAILABLE);
	EXPECT_OK(get(&f, "/loop", (struct cf_http_request){ .no_redirects = true }, &err), &err);
	EXPECT_INT(f.resp.status, 302);
	stop(&f);
}

CF_TEST(http_refuses_plain_http_unless_allowed_and_other_schemes_always)
{
	struct cf_http_config config = { 0 };
	cf_cleanup(cf_http_freep) struct cf_http *http = NULL;
	struct cf_http_response resp = { 0 };
	struct cf_err err;

	cf_http_global_init();
	EXPECT_OK(cf_http_new(&config, &http, &err), &err);
	EXPECT_FAILS(cf_http_do(http, &(struct cf_http_request){ .url = "http://127.0.0.1:1/" },
	                        &resp, &err),
	             CF_INVALID_ARGUMENT);
	EXPECT_FAILS(cf_http_do(http, &(struct cf_http_request){ .url = "ftp://127.0.0.1:1/" },
	                        &resp, &err),
	             CF_INVALID_ARGUMENT);
	EXPECT_FAILS(cf_http_do(http, &(struct cf_http_request){ .url = "https://127.0.0.1:1/" },
	                        &resp, &err),
	             CF_UNAVAILABLE);
	cf_http_response_fini(&resp);
}

CF_TEST(http_ends_when_cancelled_or_out_of_time)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); /* listens, never answers */
	int pipe_fds[2];
	struct cf_http_config config = { .allow_http = true };
	cf_cleanup(cf_http_freep) struct cf_http *http = NULL;
	struct cf_http_response resp = { 0 };
	struct cf_err err;

	EXPECT(bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(fd, 4) == 0);
	EXPECT(getsockname(fd, (struct sockaddr *)&a, &len) == 0 && pipe(pipe_fds) == 0);
	cf_http_global_init();
	EXPECT_OK(cf_http_new(&config, &http, &err), &err);
	cf_cleanup(cf_freep) char *url = cf_asprintf("http://127.0.0.1:%u/", ntohs(a.sin_port));

	EXPECT_FAILS(cf_http_do(http, &(struct cf_http_request){ .url = url, .timeout_ms = 50 },
	                        &resp, &err),
	             CF_DEADLINE_EXCEEDED);
	EXPECT(write(pipe_fds[1], "x", 1) == 1);
	EXPECT_FAILS(cf_http_do(http,
	                        &(struct cf_http_request){ .url = url, .cancel_fd = pipe_fds[0] },
	                        &resp, &err),
	             CF_CANCELLED);
	cf_http_response_fini(&resp);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	close(fd);
}

CF_TEST(http_sends_a_body)
{
	static const struct fake_route routes[] = {
		{ .path = "/p", .response = "HTTP/1.1 201 Made\r\nContent-Length: 0\r\n\r\n" }
	};
	struct fixture f = start(routes, CF_ARRAY_LEN(routes));
	struct cf_err err;

	EXPECT_OK(
		get(&f, "/p",
	            (struct cf_http_request){ .method = "POST", .body = CF_VIEW_LIT("{\"a\":1}") },
	            &err),
		&err);
	EXPECT_INT(f.resp.status, 201);
	struct cf_buf log = fake_http_log(&f.web);

	EXPECT(strstr((char *)log.data, "POST /p HTTP/1.1\r\n"));
	EXPECT(strstr((char *)log.data, "Content-Length: 7\r\n"));
	cf_buf_fini(&log);
	stop(&f);
}

CF_TEST(http_knows_urls_and_waits)
{
	struct cf_http_response resp = { 0 };

	cf_cleanup(cf_freep) char *host = cf_http_url_host("https://Ex.org:5000/a");
	cf_cleanup(cf_freep) char *join = cf_http_url_join("https://a.b/c/d?e", "../x?y=1");
	cf_cleanup(cf_freep) char *bad = cf_http_url_join("https://a.b/", "gopher://c/");
	cf_cleanup(cf_freep) char *esc = cf_http_escape("a/b c:é");

	EXPECT_STR(host, "ex.org:5000");
	EXPECT_STR(join, "https://a.b/x?y=1");
	EXPECT(!bad && !cf_http_url_host("mailto:x"));
	EXPECT_STR(esc, "a%2Fb%20c%3A%C3%A9");
	EXPECT_INT(cf_http_retry_after_ms(&resp, 9000), 0);
	cf_strv_add(&resp.headers, "retry-after: 3");
	EXPECT_INT(cf_http_retry_after_ms(&resp, 9000), 3000);
	EXPECT_INT(cf_http_retry_after_ms(&resp, 2000), 2000);
	cf_http_response_fini(&resp);
	EXPECT(cf_http_status_retry(503) && cf_http_status_retry(429) &&
	       !cf_http_status_retry(404));
	EXPECT(cf_http_status_code(404) == CF_NOT_FOUND &&
	       cf_http_status_code(502) == CF_UNAVAILABLE);
}
