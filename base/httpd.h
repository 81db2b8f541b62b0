/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The HTTP/1.1 server: the door to libevent's bufferevents (TLS: httpd_tls.h). Heads are read by
 * base/http_head.h; everything a client causes us to hold is limited and has a deadline. All calls on
 * the loop's thread.
 *
 * Why not evhttp: 2.1.12 takes bare LF, folded lines, two different lengths and unknown transfer
 * codings for good, and gives no place to look at the bytes before it does
 * (tests/component/base/httpd_test.c holds the list).
 */
#include "base/http_head.h"
#include "base/loop.h"
#include "base/str.h"

#include <sys/types.h>

#define CF_HTTPD_HEAD_MAX        (256u << 10) /* bytes; tokens with event logs are long */
#define CF_HTTPD_BODY_MAX        (2u << 20)   /* where the handler's limit function says nothing */
#define CF_HTTPD_BODIES_MAX      (256u << 20) /* bytes of all bodies that are being read or handled */
#define CF_HTTPD_CONNECTIONS_MAX 4096u
#define CF_HTTPD_HEAD_MS         10000 /* from a request's first byte to its empty line, TLS included */
#define CF_HTTPD_BODY_MS         60000
#define CF_HTTPD_IDLE_MS         60000 /* between two requests */
#define CF_HTTPD_WRITE_MS        60000
#define CF_HTTPD_LINGER_MS       1000 /* after a refusal: so that the client can read why */

struct cf_httpd;
struct cf_httpd_tls; /* base/httpd_tls.h */
struct cf_httpd_req; /* one request; valid until it is answered, which must happen exactly once */

struct cf_httpd_opts {
	const char *address; /* IPv4 or IPv6 literal */
	uint16_t port;       /* 0: a free one */
	/* Instead of an address: a unix socket of mode 0600 that is made here and removed at the end … */
	const char *unix_path;
	/* … or one that was inherited, when it is > 0; taken, its file is left alone. */
	int listen_fd;
	/* Who may connect to a unix socket; NULL: our own uid and root. Others are closed unread. */
	bool (*allow)(uid_t uid, void *user);
	struct cf_httpd_tls *tls;  /* borrowed; NULL: plain HTTP */
	size_t head_max;           /* 0: CF_HTTPD_HEAD_MAX */
	size_t bodies_max;         /* 0: CF_HTTPD_BODIES_MAX */
	unsigned connections_max;  /* 0: CF_HTTPD_CONNECTIONS_MAX */
	unsigned head_ms, idle_ms; /* 0: the limits above */
	/* Bytes a body may have on this route; NULL: CF_HTTPD_BODY_MAX. Asked before it is read. */
	size_t (*body_max)(struct cf_view method, struct cf_view path, void *user);
	/* Answers now, or keeps @req and answers later. */
	void (*handle)(struct cf_httpd_req *req, void *user);
	void *user;
};

/* Binds and listens. Return: 0, -CF_ALREADY_EXISTS (address in use), -CF_INVALID_ARGUMENT (address), … */
cf_must_use int cf_httpd_new(struct cf_loop *loop, const struct cf_httpd_opts *opts,
                             struct cf_httpd **ret, struct cf_err *err);
/* Closes all connections; requests that are still kept may be answered afterwards, into nothing. */
struct cf_httpd *cf_httpd_free(struct cf_httpd *h);
uint16_t cf_httpd_port(const struct cf_httpd *h);
/* No new connections; those that are idle are closed, the others after their answer. */
void cf_httpd_drain(struct cf_httpd *h);
unsigned cf_httpd_connections(const struct cf_httpd *h);

const struct http_head *cf_httpd_head(const struct cf_httpd_req *req);
struct cf_view cf_httpd_body(const struct cf_httpd_req *req);
const char *cf_httpd_peer(const struct cf_httpd_req *req); /* "192.0.2.1", without port */

/*
 * Sends the answer; @req is gone. @headers: "Name: value" each, ours, or NULL. @type may be NULL when
 * the body is empty.
 */
void cf_httpd_reply(struct cf_httpd_req *req, unsigned status, const char *type,
                    const struct cf_strv *headers, struct cf_view body);
