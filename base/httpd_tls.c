/* SPDX-License-Identifier: Apache-2.0 */
#include "base/httpd_tls.h"
#include "base/httpd_conn.h"

#include <event2/bufferevent_ssl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

struct tls {
	struct cf_httpd_tls base; /* first: what the server sees */
	SSL_CTX *ctx;
	char *cert_path, *key_path;
};

static int fail(struct cf_err *err, const char *what)
{
	char text[160];

	ERR_error_string_n(ERR_get_error(), text, sizeof(text));
	ERR_clear_error();
	return cf_fail(err, CF_INVALID_ARGUMENT, "TLS: %s: %s", what, text);
}

static int choose_http11(SSL *ssl, const unsigned char **out, unsigned char *outlen,
                         const unsigned char *in, unsigned int inlen, void *arg)
{
	static const unsigned char ours[] = "\x08http/1.1";
	unsigned char *pick = NULL;

	(void)ssl;
	(void)arg;
	if (SSL_select_next_proto(&pick, outlen, ours, sizeof(ours) - 1, in, inlen) !=
	    OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_NOACK;
	*out = pick;
	return SSL_TLSEXT_ERR_OK;
}

static int read_files(const struct tls *t, SSL_CTX **ret, struct cf_err *err)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	int r = 0;

	if (!ctx)
		return fail(err, "no context");
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
	                                 SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_alpn_select_cb(ctx, choose_http11, NULL);
	if (SSL_CTX_use_certificate_chain_file(ctx, t->cert_path) != 1)
		r = fail(err, t->cert_path);
	else if (SSL_CTX_use_PrivateKey_file(ctx, t->key_path, SSL_FILETYPE_PEM) != 1)
		r = fail(err, t->key_path);
	else if (SSL_CTX_check_private_key(ctx) != 1)
		r = fail(err, "certificate and key differ");
	if (r < 0) {
		SSL_CTX_free(ctx);
		return r;
	}
	*ret = ctx;
	return 0;
}

static struct bufferevent *accept_tls(struct cf_httpd_tls *tls, struct event_base *base, int fd)
{
	struct tls *t = (struct tls *)tls;
	SSL *ssl = SSL_new(t->ctx);

	if (!ssl)
		return NULL;
	struct bufferevent *bev = bufferevent_openssl_socket_new(
		base, fd, ssl, BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE);

	if (bev)
		bufferevent_openssl_set_allow_dirty_shutdown(bev, 1);
	else
		SSL_free(ssl);
	return bev;
}

static void end_tls(struct bufferevent *bev)
{
	SSL *ssl = bufferevent_openssl_get_ssl(bev);

	if (ssl)
		SSL_shutdown(ssl);
	ERR_clear_error();
}

int cf_httpd_tls_new(const char *cert_path, const char *key_path, struct cf_httpd_tls **ret,
                     struct cf_err *err)
{
	struct tls *t = cf_zalloc(sizeof(*t));

	t->base = (struct cf_httpd_tls){ .accept = accept_tls,
		                         .end = end_tls,
		                         .forget = ERR_clear_error };
	t->cert_path = cf_strdup(cert_path);
	t->key_path = cf_strdup(key_path);
	int r = read_files(t, &t->ctx, err);

	if (r < 0)
		cf_httpd_tls_free(&t->base);
	else
		*ret = &t->base;
	return r;
}

struct cf_httpd_tls *cf_httpd_tls_free(struct cf_httpd_tls *tls)
{
	struct tls *t = (struct tls *)tls;

	if (!t)
		return NULL;
	SSL_CTX_free(t->ctx);
	free(t->cert_path);
	free(t->key_path);
	free(t);
	return NULL;
}

int cf_httpd_tls_reload(struct cf_httpd_tls *tls, struct cf_err *err)
{
	struct tls *t = (struct tls *)tls;
	SSL_CTX *fresh = NULL;
	int r = read_files(t, &fresh, err);

	if (r < 0)
		return r;
	SSL_CTX_free(t->ctx); /* living connections hold it */
	t->ctx = fresh;
	return 0;
}
