/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Between httpd.c and httpd_tls.c: how a connection gets and ends its TLS. */

struct bufferevent;
struct event_base;

struct cf_httpd_tls {
	/* Takes @fd where it succeeds; NULL: no memory. */
	struct bufferevent *(*accept)(struct cf_httpd_tls *tls, struct event_base *base, int fd);
	/* Says the end of TLS on a connection whose answer is out. */
	void (*end)(struct bufferevent *bev);
	/* What OpenSSL noted of a connection's failure is not the next one's. */
	void (*forget)(void);
};
