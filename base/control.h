/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A daemon's control socket: HTTP/1.1 for the node's administrator and for monitoring, on a unix socket
 * of mode 0600 whose peers are asked for their uid, and, where configured, what is public (the metrics)
 * alone on TCP. The daemon gives a table of routes. Errors are {"code": …, "message": …}. All calls on
 * the loop's thread.
 */
#include "base/httpd.h"

#define CF_CONTROL_CONNECTIONS 64u
#define CF_CONTROL_ANSWER_MAX  (64u << 20) /* bytes */

struct cf_control_answer {
	unsigned
		status; /* 200 unless changed; 0: the request is kept, cf_control_reply() comes later */
	const char *type; /* JSON unless changed */
	struct cf_buf body;
};

typedef void cf_control_fn(struct cf_httpd_req *req, struct cf_control_answer *a, void *user);

struct cf_control_route {
	const char *method, *path; /* a path that ends in '/' stands for all below it */
	cf_control_fn *fn;
	bool is_public;  /* also on the metrics' address */
	size_t body_max; /* bytes */
};

struct cf_control_opts {
	const char *path;                      /* of the socket to make; NULL: none */
	int listen_fd;                         /* or one that was passed, when > 0; taken */
	const char *metrics;                   /* "ADDRESS:PORT" for what is public; NULL: none */
	uid_t uid;                             /* may connect, besides root and our own */
	const struct cf_control_route *routes; /* borrowed */
	size_t routes_count;
	void *user;
};

struct cf_control;

cf_must_use int cf_control_new(struct cf_loop *loop, const struct cf_control_opts *opts,
                               struct cf_control **ret, struct cf_err *err);
struct cf_control *cf_control_free(struct cf_control *c); /* NULL is fine; returns NULL */

/* An answer that says what is wrong, instead of what @a held. */
void cf_control_fail(struct cf_control_answer *a, unsigned status, const char *code,
                     const char *message);
void cf_control_fail_err(struct cf_control_answer *a, const struct cf_err *err);
/* For a request that was kept: begin with cf_control_answer(), end with this; @req is gone then. */
struct cf_control_answer cf_control_answer(void);
void cf_control_reply(struct cf_httpd_req *req, struct cf_control_answer *a);
/* The answer as Prometheus' text. */
void cf_control_is_metrics(struct cf_control_answer *a);
/* One sample with its HELP and TYPE; a name that ends in "_total" is a counter, others are gauges. */
void cf_control_metric(struct cf_control_answer *a, const char *name, const char *help,
                       double value);

/* "ADDRESS:PORT", where ADDRESS may be empty (all), or an IPv6 literal in brackets. */
cf_must_use int cf_control_parse_address(const char *text, char **ret_address, uint16_t *ret_port,
                                         struct cf_err *err);
