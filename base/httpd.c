/* SPDX-License-Identifier: Apache-2.0 */
#include "base/httpd.h"

#include "base/fd.h"
#include "base/httpd_conn.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <event2/util.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#define LISTEN_BACKLOG 512
#define LINGER_BYTES   (64u << 10)

enum conn_state {
	CONN_IDLE,   /* between requests, nothing received */
	CONN_HEAD,   /* part of a head is there */
	CONN_BODY,   /* head read, body not whole */
	CONN_BUSY,   /* the handler has the request */
	CONN_WRITE,  /* the answer is on its way */
	CONN_LINGER, /* answered and shut down; reads until the client closes */
};

struct conn {
	struct cf_httpd *h;
	struct bufferevent *bev;
	struct cf_event *deadline;
	struct conn *prev, *next;
	enum conn_state state;
	size_t scanned; /* bytes of input that were searched for the head's end */
	bool closes;    /* after the answer that is being written */
	struct cf_httpd_req *req;
	char peer[INET6_ADDRSTRLEN];
};

struct cf_httpd_req {
	struct conn *conn; /* NULL: the connection is gone */
	struct cf_buf head_text;
	struct cf_buf body;
	struct http_head head;
	char peer[INET6_ADDRSTRLEN];
};

struct cf_httpd {
	struct cf_loop *loop;
	struct cf_httpd_opts opts;
	char *socket_path; /* ours to remove */
	bool is_unix;
	struct evconnlistener *listener;
	struct conn *conns;
	unsigned count;
	size_t bodies; /* bytes promised by the requests that connections hold */
	uint16_t port;
	bool draining;
};

/* ---- connections ---- */

static void advance(struct conn *c);

static void req_free(struct cf_httpd_req *req)
{
	cf_buf_fini(&req->head_text);
	cf_buf_wipe(&req->body); /* a resource may be in it */
	free(req);
}

/* Takes the request off its connection, and its body off the budget. */
static struct cf_httpd_req *detach(struct conn *c)
{
	struct cf_httpd_req *req = c->req;

	if (req)
		c->h->bodies -= (size_t)req->head.content_length;
	c->req = NULL;
	return req;
}

static void conn_free(struct conn *c)
{
	struct cf_httpd *h = c->h;
	struct cf_httpd_req *req = detach(c);

	if (req && c->state == CONN_BODY)
		req_free(req); /* no handler has it yet */
	else if (req)
		req->conn = NULL; /* its handler answers into nothing */
	if (c->prev)
		c->prev->next = c->next;
	else
		h->conns = c->next;
	if (c->next)
		c->next->prev = c->prev;
	cf_event_free(c->deadline);
	bufferevent_free(c->bev);
	h->count--;
	free(c);
}

static void set_state(struct conn *c, enum conn_state state)
{
	const struct cf_httpd_opts *o = &c->h->opts;
	int64_t ms[] = {
		[CONN_IDLE] = o->idle_ms,         [CONN_HEAD] = o->head_ms,
		[CONN_BODY] = CF_HTTPD_BODY_MS,   [CONN_BUSY] = INT32_MAX, /* the handler's own */
		[CONN_WRITE] = CF_HTTPD_WRITE_MS, [CONN_LINGER] = CF_HTTPD_LINGER_MS,
	};

	c->state = state;
	cf_event_rearm(c->deadline, ms[state]);
}

static const char *reason(unsigned status)
{
	static const struct {
		unsigned status;
		const char *text;
	} known[] = { { 200, "OK" },
		      { 201, "Created" },
		      { 204, "No Content" },
		      { 400, "Bad Request" },
		      { 401, "Unauthorized" },
		      { 403, "Forbidden" },
		      { 404, "Not Found" },
		      { 405, "Method Not Allowed" },
		      { 408, "Request Timeout" },
		      { 409, "Conflict" },
		      { 413, "Content Too Large" },
		      { 414, "URI Too Long" },
		      { 417, "Expectation Failed" },
		      { 429, "Too Many Requests" },
		      { 431, "Request Header Fields Too Large" },
		      { 500, "Internal Server Error" },
		      { 501, "Not Implemented" },
		      { 503, "Service Unavailable" },
		      { 505, "HTTP Version Not Supported" } };

	for (size_t i = 0; i < CF_ARRAY_LEN(known); i++)
		if (known[i].status == status)
			return known[i].text;
	return "Status";
}

static void write_answer(struct conn *c, unsigned status, const char *type,
                         const struct cf_strv *headers, struct cf_view body, bool without_body)
{
	struct evbuffer *out = bufferevent_get_output(c->bev);

	evbuffer_add_printf(out, "HTTP/1.1 %u %s\r\nContent-Length: %zu\r\n", status,
	                    reason(status), body.size);
	if (type)
		evbuffer_add_printf(out, "Content-Type: %s\r\n", type);
	for (size_t i = 0; headers && i < headers->count; i++)
		evbuffer_add_printf(out, "%s\r\n", headers->items[i]);
	evbuffer_add_printf(out, "%s\r\n", c->closes ? "Connection: close\r\n" : "");
	if (!without_body)
		evbuffer_add(out, body.data, body.size);
	set_state(c, CONN_WRITE);
}

/* A head that nobody will handle. What follows it cannot be told apart: the connection ends. */
static void refuse(struct conn *c, unsigned status, const char *why)
{
	cf_cleanup(cf_buf_fini) struct cf_buf text = { 0 };

	cf_buf_printf(&text, "%u %s: %s\n", status, reason(status), why);
	c->closes = true;
	bufferevent_disable(c->bev, EV_READ);
	write_answer(c, status, "text/plain", NULL, cf_buf_view(&text), false);
}

/* ---- reading ---- */

static bool bare_lf(struct evbuffer *in, size_t from)
{
	struct evbuffer_ptr at;

	for (evbuffer_ptr_set(in, &at, from, EVBUFFER_PTR_SET);;) {
		char before = 0;
		struct evbuffer_ptr prev;

		at = evbuffer_search(in, "\n", 1, &at);
		if (at.pos < 0)
			return false;
		if (at.pos == 0)
			return true;
		evbuffer_ptr_set(in, &prev, (size_t)at.pos - 1, EVBUFFER_PTR_SET);
		if (evbuffer_copyout_from(in, &prev, &before, 1) != 1 || before != '\r')
			return true;
		if (evbuffer_ptr_set(in, &at, 1, EVBUFFER_PTR_ADD) < 0)
			return false;
	}
}

/* Bytes of the head through its empty line; 0: not whole yet; refuses what can never become one. */
static size_t find_head(struct conn *c, struct evbuffer *in)
{
	size_t have = evbuffer_get_length(in);
	size_t from = c->scanned > 3 ? c->scanned - 3 : 0;
	struct evbuffer_ptr start, end;

	evbuffer_ptr_set(in, &start, from, EVBUFFER_PTR_SET);
	end = evbuffer_search(in, "\r\n\r\n", 4, &start);
	if (end.pos >= 0 && (size_t)end.pos + 4 <= c->h->opts.head_max)
		return (size_t)end.pos + 4;
	if (end.pos >= 0 || have > c->h->opts.head_max)
		refuse(c, 431, "the head is too long");
	else if (bare_lf(in, c->scanned))
		refuse(c, 400, "a line without CR LF");
	c->scanned = have;
	return 0;
}

static size_t body_limit(const struct conn *c, const struct http_head *head)
{
	const struct cf_httpd_opts *o = &c->h->opts;

	return o->body_max ? o->body_max(head->method, head->path, o->user) : CF_HTTPD_BODY_MAX;
}

static void read_head(struct conn *c)
{
	struct evbuffer *in = bufferevent_get_input(c->bev);
	size_t size = find_head(c, in), limit;
	struct cf_httpd_req *req;
	unsigned status = 400;
	struct cf_err err;

	if (size == 0)
		return;
	req = cf_zalloc(sizeof(*req));
	c->scanned = 0;
	req->head_text.max = c->h->opts.head_max + 1;
	evbuffer_remove(in, cf_buf_reserve(&req->head_text, size), size);
	req->head_text.size = size;
	if (http_head_parse(cf_buf_view(&req->head_text), &req->head, &status, &err) < 0) {
		req_free(req);
		refuse(c, status, err.msg);
		return;
	}
	limit = body_limit(c, &req->head);
	if (req->head.content_length > limit) {
		req_free(req);
		refuse(c, 413, "the body is too long for this path");
		return;
	}
	if (req->head.content_length > c->h->opts.bodies_max - c->h->bodies) {
		req_free(req);
		refuse(c, 503, "too many bodies at once: try again");
		return;
	}
	c->h->bodies += (size_t)req->head.content_length;
	bufferevent_setwatermark(c->bev, EV_READ, 0,
	                         (size_t)req->head.content_length + c->h->opts.head_max + 1);
	memcpy(req->peer, c->peer, sizeof(req->peer));
	req->body.max = limit + 1;
	req->conn = c;
	c->req = req;
	c->closes = !req->head.keep_alive || c->h->draining;
	if (req->head.expects_continue && req->head.content_length > evbuffer_get_length(in))
		evbuffer_add_printf(bufferevent_get_output(c->bev),
		                    "HTTP/1.1 100 Continue\r\n\r\n");
	set_state(c, CONN_BODY);
}

static void read_body(struct conn *c)
{
	struct evbuffer *in = bufferevent_get_input(c->bev);
	struct cf_httpd_req *req = c->req;
	size_t want = (size_t)req->head.content_length;

	if (evbuffer_get_length(in) < want)
		return;
	if (want) {
		evbuffer_remove(in, cf_buf_reserve(&req->body, want), want);
		req->body.size = want;
	}
	set_state(c, CONN_BUSY);
	bufferevent_disable(c->bev, EV_READ); /* what comes next waits in the kernel */
	c->h->opts.handle(req, c->h->opts.user);
}

/* As far as the input allows. The handler may have answered, and the connection moved on, inside. */
static void advance(struct conn *c)
{
	struct evbuffer *in = bufferevent_get_input(c->bev);

	if (c->state == CONN_IDLE && evbuffer_get_length(in))
		set_state(c, CONN_HEAD);
	if (c->state == CONN_HEAD)
		read_head(c);
	if (c->state == CONN_BODY)
		read_body(c);
	if (c->state == CONN_LINGER && evbuffer_get_length(in)) {
		c->scanned += evbuffer_get_length(in);
		evbuffer_drain(in, evbuffer_get_length(in));
		if (c->scanned > LINGER_BYTES)
			conn_free(c);
	}
}

static void on_read(struct bufferevent *bev, void *arg)
{
	(void)bev;
	advance(arg);
}

/* All of the answer went to the kernel. */
static void on_written(struct bufferevent *bev, void *arg)
{
	struct conn *c = arg;

	if (c->state != CONN_WRITE || evbuffer_get_length(bufferevent_get_output(bev)))
		return;
	if (!c->closes) {
		set_state(c, CONN_IDLE);
		bufferevent_enable(bev, EV_READ);
		advance(c);
		return;
	}
	if (c->h->opts.tls)
		c->h->opts.tls->end(bev);
	shutdown(bufferevent_getfd(bev), SHUT_WR);
	c->scanned = 0;
	set_state(c, CONN_LINGER);
	bufferevent_enable(bev, EV_READ);
	advance(c);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	struct conn *c = arg;

	(void)bev;
	if (c->h->opts.tls)
		c->h->opts.tls->forget();
	if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR | BEV_EVENT_TIMEOUT))
		conn_free(c);
}

static void on_deadline(void *arg)
{
	struct conn *c = arg;

	if (c->state == CONN_HEAD || c->state == CONN_BODY) {
		struct cf_httpd_req *req = detach(c);

		if (req)
			req_free(req);
		refuse(c, 408, "the request did not come to its end");
		return;
	}
	conn_free(c);
}

/* ---- accepting ---- */

static void name_peer(const struct sockaddr *sa, char out[INET6_ADDRSTRLEN])
{
	union {
		const struct sockaddr *sa;
		const struct sockaddr_in *in;
		const struct sockaddr_in6 *in6;
	} u = { .sa = sa };

	out[0] = '\0';
	if (sa->sa_family == AF_INET)
		inet_ntop(AF_INET, &u.in->sin_addr, out, INET6_ADDRSTRLEN);
	else if (sa->sa_family == AF_INET6)
		inet_ntop(AF_INET6, &u.in6->sin6_addr, out, INET6_ADDRSTRLEN);
}

static struct bufferevent *make_bev(struct cf_httpd *h, evutil_socket_t fd)
{
	struct event_base *base = cf_loop_base(h->loop);

	if (h->opts.tls)
		return h->opts.tls->accept(h->opts.tls, base, fd);
	return bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
}

static bool is_allowed(const struct cf_httpd *h, int fd)
{
	struct ucred peer = { .uid = (uid_t)-1 };
	socklen_t len = sizeof(peer);

	if (!h->is_unix)
		return true;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return false;
	if (h->opts.allow)
		return h->opts.allow(peer.uid, h->opts.user);
	return peer.uid == 0 || peer.uid == geteuid();
}

static void on_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *sa, int len,
                      void *arg)
{
	struct cf_httpd *h = arg;
	struct bufferevent *bev;
	struct conn *c;
	int one = 1;

	(void)l;
	(void)len;
	bev = h->count < h->opts.connections_max && is_allowed(h, fd) ? make_bev(h, fd) : NULL;
	if (!bev) {
		evutil_closesocket(fd);
		return;
	}
	if (!h->is_unix)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	c = cf_zalloc(sizeof(*c));
	c->h = h;
	c->bev = bev;
	name_peer(sa, c->peer);
	c->next = h->conns;
	if (c->next)
		c->next->prev = c;
	h->conns = c;
	h->count++;
	/* The handshake counts as the head's time. */
	c->deadline = cf_loop_timer(h->loop, h->opts.head_ms, false, on_deadline, c);
	bufferevent_setcb(bev, on_read, on_written, on_event, c);
	bufferevent_setwatermark(bev, EV_READ, 0, h->opts.head_max + 1);
	bufferevent_enable(bev, EV_READ | EV_WRITE);
}

union any_address {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

static int parse_address(const char *text, uint16_t port, union any_address *a, socklen_t *len,
                         struct cf_err *err)
{
	*a = (union any_address){ 0 };
	if (inet_pton(AF_INET, text, &a->in.sin_addr) == 1) {
		a->in.sin_family = AF_INET;
		a->in.sin_port = htons(port);
		*len = sizeof(a->in);
		return 0;
	}
	if (inet_pton(AF_INET6, text, &a->in6.sin6_addr) != 1)
		return cf_fail(err, CF_INVALID_ARGUMENT, "\"%s\" is no IP address", text);
	a->in6.sin6_family = AF_INET6;
	a->in6.sin6_port = htons(port);
	*len = sizeof(a->in6);
	return 0;
}

/* A listening socket that is there already. */
static int listen_on_fd(struct cf_httpd *h, int fd_take, struct cf_err *err)
{
	cf_cleanup(cf_closep) int fd = fd_take;
	struct sockaddr_storage sa = { 0 };
	socklen_t len = sizeof(sa);

	if (getsockname(fd, (struct sockaddr *)&sa, &len) < 0 || cf_set_nonblock(fd, true) < 0)
		return cf_fail(err, CF_INVALID_ARGUMENT, "fd %d is no listening socket", fd);
	h->is_unix = sa.ss_family == AF_UNIX;
	h->listener = evconnlistener_new(cf_loop_base(h->loop), on_accept, h,
	                                 LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_CLOSE_ON_FREE, 0, fd);
	if (!h->listener)
		return cf_fail(err, CF_INTERNAL, "listen on fd %d", fd);
	(void)cf_take_fd(&fd);
	return 0;
}

static int listen_unix(struct cf_httpd *h, struct cf_err *err)
{
	int fd = cf_listen_unix(h->opts.unix_path, err);

	if (fd < 0)
		return fd;
	h->socket_path = cf_strdup(h->opts.unix_path);
	return listen_on_fd(h, fd, err);
}

static void stop_listening(struct cf_httpd *h)
{
	if (h->listener)
		evconnlistener_free(h->listener);
	h->listener = NULL;
	if (h->socket_path)
		unlink(h->socket_path);
	free(h->socket_path);
	h->socket_path = NULL;
}

static int listen_tcp(struct cf_httpd *h, struct cf_err *err)
{
	union any_address a;
	socklen_t len;
	int r = parse_address(h->opts.address, h->opts.port, &a, &len, err);

	if (r < 0)
		return r;
	h->listener = evconnlistener_new_bind(cf_loop_base(h->loop), on_accept, h,
	                                      LEV_OPT_REUSEABLE | LEV_OPT_CLOSE_ON_EXEC |
	                                              LEV_OPT_CLOSE_ON_FREE,
	                                      LISTEN_BACKLOG, &a.sa, (int)len);
	if (!h->listener)
		return cf_fail_errno(err, errno, "listen on %s port %u", h->opts.address,
		                     h->opts.port);
	if (getsockname(evconnlistener_get_fd(h->listener), &a.sa, &len) < 0)
		return cf_fail_errno(err, errno, "getsockname");
	h->port = ntohs(a.sa.sa_family == AF_INET ? a.in.sin_port : a.in6.sin6_port);
	return 0;
}

static int start_listening(struct cf_httpd *h, struct cf_err *err)
{
	if (h->opts.listen_fd > 0)
		return listen_on_fd(h, h->opts.listen_fd, err);
	return h->opts.unix_path ? listen_unix(h, err) : listen_tcp(h, err);
}

int cf_httpd_new(struct cf_loop *loop, const struct cf_httpd_opts *opts, struct cf_httpd **ret,
                 struct cf_err *err)
{
	struct cf_httpd *h = cf_zalloc(sizeof(*h));

	signal(SIGPIPE, SIG_IGN);
	h->loop = loop;
	h->opts = *opts;
	if (!h->opts.head_max)
		h->opts.head_max = CF_HTTPD_HEAD_MAX;
	if (!h->opts.bodies_max)
		h->opts.bodies_max = CF_HTTPD_BODIES_MAX;
	if (!h->opts.connections_max)
		h->opts.connections_max = CF_HTTPD_CONNECTIONS_MAX;
	if (!h->opts.head_ms)
		h->opts.head_ms = CF_HTTPD_HEAD_MS;
	if (!h->opts.idle_ms)
		h->opts.idle_ms = CF_HTTPD_IDLE_MS;
	int r = start_listening(h, err);

	if (r < 0) {
		cf_httpd_free(h);
		return r;
	}
	*ret = h;
	return 0;
}

struct cf_httpd *cf_httpd_free(struct cf_httpd *h)
{
	if (!h)
		return NULL;
	while (h->conns)
		conn_free(h->conns);
	stop_listening(h);
	free(h);
	return NULL;
}

uint16_t cf_httpd_port(const struct cf_httpd *h)
{
	return h->port;
}

unsigned cf_httpd_connections(const struct cf_httpd *h)
{
	return h->count;
}

void cf_httpd_drain(struct cf_httpd *h)
{
	struct conn *next;

	h->draining = true;
	stop_listening(h);
	for (struct conn *c = h->conns; c; c = next) {
		next = c->next;
		c->closes = true;
		if (c->state == CONN_IDLE)
			conn_free(c);
	}
}

/* ---- the handler's side ---- */

const struct http_head *cf_httpd_head(const struct cf_httpd_req *req)
{
	return &req->head;
}

struct cf_view cf_httpd_body(const struct cf_httpd_req *req)
{
	return cf_buf_view(&req->body);
}

const char *cf_httpd_peer(const struct cf_httpd_req *req)
{
	return req->peer;
}

void cf_httpd_reply(struct cf_httpd_req *req, unsigned status, const char *type,
                    const struct cf_strv *headers, struct cf_view body)
{
	struct conn *c = req->conn;

	if (c) {
		detach(c);
		write_answer(c, status, type, headers, body,
		             cf_view_eq_str(req->head.method, "HEAD"));
	}
	req_free(req);
}
