/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates of base/crypto.h. struct cf_cert is OpenSSL's X509 under another name. */
#include "base/crypto.h"
#include "base/str.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <time.h>

#define CERT_TEXT_MAX (64u << 10)

static X509 *raw(const struct cf_cert *c)
{
	return (X509 *)(uintptr_t)c;
}

int cf_cert_parse(struct cf_view text, struct cf_cert **ret, struct cf_err *err)
{
	X509 *x = NULL;

	if (text.size > CERT_TEXT_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "certificate of %zu bytes, limit %u",
		               text.size, CERT_TEXT_MAX);
	if (text.size && memmem(text.data, text.size, "-----BEGIN", 10)) {
		BIO *bio = BIO_new_mem_buf(text.data, (int)text.size);

		x = PEM_read_bio_X509(bio, NULL, NULL, NULL);
		BIO_free(bio);
	} else if (text.size) {
		const unsigned char *p = text.data;

		x = d2i_X509(NULL, &p, (long)text.size);
		/* NV indices of TPMs pad certificates with zeroes or 0xff; other text behind is refused. */
		for (; x && p < text.data + text.size; p++)
			if (*p != 0 && *p != 0xff) {
				X509_free(x);
				x = NULL;
			}
	}
	ERR_clear_error();
	if (!x)
		return cf_fail(err, CF_INVALID_ARGUMENT, "not an X.509 certificate (PEM or DER)");
	*ret = (struct cf_cert *)x;
	return 0;
}

struct cf_cert *cf_cert_free(struct cf_cert *c)
{
	X509_free(raw(c));
	return NULL;
}

static char *name_line(X509_NAME *name)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *p;

	X509_NAME_print_ex(bio, name, 0, XN_FLAG_ONELINE & ~ASN1_STRFLGS_ESC_MSB);
	long n = BIO_get_mem_data(bio, &p);
	char *line = cf_strndup(n > 0 ? p : "", n > 0 ? (size_t)n : 0);
	BIO_free(bio);
	return line;
}

char *cf_cert_subject(const struct cf_cert *c)
{
	return name_line(X509_get_subject_name(raw(c)));
}

char *cf_cert_issuer(const struct cf_cert *c)
{
	return name_line(X509_get_issuer_name(raw(c)));
}

int cf_cert_pkey(const struct cf_cert *c, struct cf_pkey **ret, struct cf_err *err)
{
	EVP_PKEY *k = X509_get_pubkey(raw(c));

	ERR_clear_error();
	if (!k)
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "the certificate's key is of an unknown kind");
	*ret = (struct cf_pkey *)k;
	return 0;
}

void cf_cert_sha256(const struct cf_cert *c, uint8_t out[32])
{
	unsigned n = 0;

	if (X509_digest(raw(c), EVP_sha256(), out, &n) != 1 || n != 32)
		abort();
}

int cf_cert_to_der(const struct cf_cert *c, struct cf_buf *ret, struct cf_err *err)
{
	unsigned char *der = NULL;
	int n = i2d_X509(raw(c), &der);

	if (n < 0)
		return cf_fail(err, CF_INTERNAL, "write a certificate");
	cf_buf_add(ret, der, (size_t)n);
	OPENSSL_free(der);
	return cf_buf_check(ret, "certificate", err);
}

int cf_cert_extension(const struct cf_cert *c, const char *oid, struct cf_buf *ret,
                      struct cf_err *err)
{
	ASN1_OBJECT *obj = OBJ_txt2obj(oid, 1);
	int at = obj ? X509_get_ext_by_OBJ(raw(c), obj, -1) : -1;

	ASN1_OBJECT_free(obj);
	if (at < 0)
		return cf_fail(err, CF_NOT_FOUND, "the certificate has no extension %s", oid);
	ASN1_OCTET_STRING *v = X509_EXTENSION_get_data(X509_get_ext(raw(c), at));
	cf_buf_add(ret, ASN1_STRING_get0_data(v), (size_t)ASN1_STRING_length(v));
	return cf_buf_check(ret, "certificate extension", err);
}

static bool to_seconds(const ASN1_TIME *t, int64_t *ret)
{
	struct tm tm;

	if (ASN1_TIME_to_tm(t, &tm) != 1)
		return false;
	*ret = timegm(&tm);
	return true;
}

int cf_cert_validity(const struct cf_cert *c, int64_t *ret_from, int64_t *ret_until,
                     struct cf_err *err)
{
	int64_t from, until;

	if (!to_seconds(X509_get0_notBefore(raw(c)), &from) ||
	    !to_seconds(X509_get0_notAfter(raw(c)), &until))
		return cf_fail(err, CF_INVALID_ARGUMENT, "the certificate's validity is malformed");
	*ret_from = from;
	*ret_until = until;
	return 0;
}

static bool critical_is_known(const struct cf_chain_opts *opts, X509 *cert)
{
	for (int i = 0; i < X509_get_ext_count(cert); i++) {
		X509_EXTENSION *ext = X509_get_ext(cert, i);
		char oid[128];
		bool known = false;

		if (!X509_EXTENSION_get_critical(ext) || X509_supported_extension(ext))
			continue;
		OBJ_obj2txt(oid, sizeof(oid), X509_EXTENSION_get_object(ext), 1);
		for (const char *const *k = opts->known_critical; k && *k; k++)
			known = known || cf_streq(*k, oid);
		if (!known)
			return false;
	}
	return true;
}

static int on_verify(int ok, X509_STORE_CTX *ctx)
{
	const struct cf_chain_opts *opts = X509_STORE_CTX_get_app_data(ctx);

	if (!ok && X509_STORE_CTX_get_error(ctx) == X509_V_ERR_UNHANDLED_CRITICAL_EXTENSION &&
	    critical_is_known(opts, X509_STORE_CTX_get_current_cert(ctx)))
		return 1;
	return ok;
}

static size_t find_root(const struct cf_chain_opts *opts, X509 *anchor)
{
	for (size_t i = 0; i < opts->root_count; i++)
		if (X509_cmp(raw(opts->roots[i]), anchor) == 0)
			return i;
	return opts->root_count;
}

static int judge(X509_STORE_CTX *ctx, const struct cf_chain_opts *opts, size_t *ret_root,
                 struct cf_err *err)
{
	if (X509_verify_cert(ctx) != 1) {
		int e = X509_STORE_CTX_get_error(ctx);
		X509 *at = X509_STORE_CTX_get_current_cert(ctx);
		cf_cleanup(cf_freep) char *who = at ? name_line(X509_get_subject_name(at)) : NULL;

		ERR_clear_error();
		return cf_fail(err, CF_PERMISSION_DENIED, "certificate '%s': %s", who ? who : "?",
		               X509_verify_cert_error_string(e));
	}
	STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(ctx);
	size_t root = find_root(opts, sk_X509_value(chain, sk_X509_num(chain) - 1));
	if (root == opts->root_count)
		return cf_fail(err, CF_INTERNAL, "the chain ends at no configured root");
	if (ret_root)
		*ret_root = root;
	return 0;
}

int cf_cert_verify(const struct cf_cert *leaf, const struct cf_chain_opts *opts, size_t *ret_root,
                   struct cf_err *err)
{
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	STACK_OF(X509) *others = sk_X509_new_null();
	unsigned long flags = 0;
	int r;

	for (size_t i = 0; i < opts->root_count; i++)
		X509_STORE_add_cert(store, raw(opts->roots[i]));
	for (size_t i = 0; i < opts->intermediate_count; i++)
		sk_X509_push(others, raw(opts->intermediates[i]));
	if (opts->partial_chain)
		flags |= X509_V_FLAG_PARTIAL_CHAIN;
	if (opts->at < 0)
		flags |= X509_V_FLAG_NO_CHECK_TIME;
	X509_STORE_set_flags(store, flags);
	if (X509_STORE_CTX_init(ctx, store, raw(leaf), others) != 1) {
		r = cf_fail(err, CF_INTERNAL, "certificate chain");
	} else {
		if (opts->at > 0)
			X509_STORE_CTX_set_time(ctx, 0, (time_t)opts->at);
		X509_STORE_CTX_set_app_data(ctx, (void *)(uintptr_t)opts);
		X509_STORE_CTX_set_verify_cb(ctx, on_verify);
		r = judge(ctx, opts, ret_root, err);
	}
	sk_X509_free(others);
	X509_STORE_CTX_free(ctx);
	X509_STORE_free(store);
	return r;
}
