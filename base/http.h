/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The HTTP client: the one door to libcurl. A call blocks its thread until the exchange is over, is
 * cancelled through a file descriptor, or runs out of time; a daemon calls it from a worker. Every
 * byte of a response is hostile: header block and body are limited, redirects are followed by our
 * own rules (http and https only, never from https to http, credentials never to another host).
 *
 * A client keeps its connections for the next call. It belongs to one thread at a time.
 */
#include "base/bytes.h"
#include "base/str.h"

#define CF_HTTP_HEADERS_MAX     (64u << 10) /* bytes of one response's header block */
#define CF_HTTP_REDIRECTS_MAX   5
#define CF_HTTP_BODY_MAX        (1u << 20) /* of a collected body, when the request names no limit */
#define CF_HTTP_CONNECT_MS      30000
#define CF_HTTP_LOW_SPEED_BYTES 1000 /* a transfer slower than this … */
#define CF_HTTP_LOW_SPEED_S     60   /* … for so long is given up */
#define CF_HTTP_URL_MAX         8192

/* Once, in main(), before any thread starts. */
void cf_http_global_init(void);

struct cf_http_config { /* borrowed for cf_http_new() alone */
	const struct cf_view
		*ca_pem; /* PEM texts, each one or more certificates: extra trust anchors */
	size_t ca_count;
	bool no_system_ca; /* trust @ca_pem alone */
	/*
	 * Validity periods of certificates are not looked at: for guests, whose clock is the host's
	 * word, and that pin the KBS's own CA. Only together with @no_system_ca and a @ca_pem.
	 */
	bool no_cert_times;
	bool allow_http;         /* http:// URLs may be asked for; without it only https:// */
	bool skip_tls_verify;    /* for those who asked for it in words */
	const char *https_proxy; /* URLs or NULL; proxies of the environment are ignored */
	const char *http_proxy;
	const char *no_proxy;             /* comma list: hosts, suffixes, addresses, networks */
	const char *client_cert_pem_path; /* mutual TLS, or NULL */
	const char *client_key_pem_path;
	unsigned connect_timeout_ms; /* 0: CF_HTTP_CONNECT_MS */
	unsigned low_speed_s;        /* 0: CF_HTTP_LOW_SPEED_S */
};

struct cf_http; /* opaque */

/* Return: 0, -CF_INVALID_ARGUMENT (no certificate in a PEM text; no_cert_times unpinned), -CF_INTERNAL. */
cf_must_use int cf_http_new(const struct cf_http_config *config, struct cf_http **ret,
                            struct cf_err *err);
struct cf_http *cf_http_free(struct cf_http *http); /* NULL is fine; returns NULL */
CF_DEFINE_CLEANUP(struct cf_http *, cf_http_free);

struct cf_http_response {
	unsigned status;        /* 100 … 599; 0 while there is none */
	struct cf_strv headers; /* "Name: value" of the last response, in order */
	struct cf_buf body;  /* whole body; with a sink only that of a response that is not 2xx */
	char *url;           /* where the answer came from, after redirects */
	uint64_t body_bytes; /* bytes of body received, handed to a sink or collected */
};

void cf_http_response_fini(struct cf_http_response *r);
/* The first header of this name (any case), its value borrowed; NULL when absent. */
const char *cf_http_header(const struct cf_http_response *r, const char *name);
/* The body, as a view. */
static inline struct cf_view cf_http_body(const struct cf_http_response *r)
{
	return cf_buf_view(&r->body);
}

struct cf_http_request {               /* borrowed for the call */
	const char *method;            /* NULL: GET */
	const char *url;               /* absolute, http:// or https:// */
	const struct cf_strv *headers; /* "Name: value" each, or NULL; never credentials */
	const char *authorization; /* value of Authorization, or NULL; left out on another host */
	struct cf_view body;       /* sent when .data is set, or by POST, PUT, PATCH */
	/*
	 * Instead of @body: an upload of @upload_size bytes. Gives at most @size bytes, 0 at the end,
	 * negative with @err filled to give up.
	 */
	ssize_t (*upload)(void *arg, uint8_t *buf, size_t size, struct cf_err *err);
	uint64_t upload_size;
	uint64_t
		range_from; /* > 0: asks for the bytes from here on; a 200 answer then is up to @head */
	/*
	 * Called once per 2xx response before its body, status and headers are filled in; negative
	 * (with @err filled) ends the call. NULL: nothing to check.
	 */
	int (*head)(void *arg, const struct cf_http_response *resp, struct cf_err *err);
	/*
	 * Takes the body of a 2xx response piece by piece; negative (with @err filled) ends the call.
	 * NULL: the body is collected in the response.
	 */
	int (*sink)(void *arg, struct cf_view piece, struct cf_err *err);
	void *arg;           /* of upload, head and sink */
	size_t body_max;     /* of a collected body; 0: CF_HTTP_BODY_MAX */
	unsigned timeout_ms; /* for the whole call; 0: none but the low-speed guard */
	int cancel_fd; /* readable or hung up: the call ends with -CF_CANCELLED. 0 stands for none */
	bool no_redirects; /* a 3xx is the answer */
};

/*
 * cf_http_do() - one exchange, redirects followed
 * @ret: an initialised (zeroed) or used response; overwritten; the caller ends with _fini. Filled as
 *       far as it came on failure too: .status tells whether an answer had begun.
 *
 * Any status is success: the caller judges it. A body cut short (Content-Length, chunking) is a
 * failure even if every byte so far went to the sink.
 * Return: 0, -CF_UNAVAILABLE (resolve, connect, reset, cut short; try again), -CF_DEADLINE_EXCEEDED,
 * -CF_CANCELLED, -CF_PERMISSION_DENIED (TLS: certificate not trusted; a redirect that the rules
 * forbid), -CF_RESOURCE_EXHAUSTED (a limit), -CF_INVALID_ARGUMENT (URL), or what a callback returned.
 */
cf_must_use int cf_http_do(struct cf_http *http, const struct cf_http_request *req,
                           struct cf_http_response *ret, struct cf_err *err);

/* The code that stands for a status ≥ 400: 401 UNAUTHENTICATED, 403 PERMISSION_DENIED, 404 NOT_FOUND … */
enum cf_code cf_http_status_code(unsigned status);
/* 408, 429 and 5xx but 501: the same request may work later. */
bool cf_http_status_retry(unsigned status);
/* Milliseconds that a Retry-After asks for (seconds or an HTTP date), at most @max_ms; 0 when absent. */
uint64_t cf_http_retry_after_ms(const struct cf_http_response *resp, uint64_t max_ms);

/* Host and port as they stand in a URL ("[::1]:5000"), lower case; NULL when it is none. Caller frees. */
char *cf_http_url_host(const char *url);
/* Resolves @location against @base. NULL when the result is no http(s) URL. The caller frees. */
char *cf_http_url_join(const char *base, const char *location);
/* @text percent-encoded for a path segment or a query value. The caller frees. */
char *cf_http_escape(const char *text);
