/* SPDX-License-Identifier: Apache-2.0 */
#include "base/self_signed.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#define SERIAL_BITS 127
#define DAY_SECONDS (24L * 60 * 60)

static void x509_freep(X509 **x)
{
	X509_free(*x);
}

static void evp_freep(EVP_PKEY **k)
{
	EVP_PKEY_free(*k);
}

static void bio_freep(BIO **b)
{
	BIO_free(*b);
}

static int private_key(const struct cf_pkey *key, EVP_PKEY **ret, struct cf_err *err)
{
	cf_cleanup(cf_buf_wipe) struct cf_buf pem = { 0 };
	cf_cleanup(bio_freep) BIO *bio = NULL;
	int r = cf_pkey_to_pem(key, true, &pem, err);

	if (r < 0)
		return r;
	bio = BIO_new_mem_buf(pem.data, (int)pem.size);
	*ret = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;
	if (!*ret)
		return cf_fail(err, CF_INVALID_ARGUMENT, "certificate: no private key");
	return 0;
}

static bool add_extension(X509 *cert, int nid, const char *value)
{
	X509_EXTENSION *ext;
	X509V3_CTX ctx;
	bool ok;

	X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	ok = ext && X509_add_ext(cert, ext, -1) == 1;
	X509_EXTENSION_free(ext);
	return ok;
}

static bool set_serial(X509 *cert)
{
	BIGNUM *n = BN_new();
	bool ok = n && BN_rand(n, SERIAL_BITS, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
	          BN_to_ASN1_INTEGER(n, X509_get_serialNumber(cert));

	BN_free(n);
	return ok;
}

static bool fill(X509 *cert, EVP_PKEY *key, const char *cn, const char *names, unsigned days)
{
	X509_NAME *name = X509_get_subject_name(cert);
	int kind = EVP_PKEY_get_id(key);

	return X509_set_version(cert, 2) == 1 && set_serial(cert) &&
	       X509_gmtime_adj(X509_getm_notBefore(cert), -3600) &&
	       X509_gmtime_adj(X509_getm_notAfter(cert), (long)days * DAY_SECONDS) &&
	       X509_set_pubkey(cert, key) == 1 &&
	       X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1,
	                                  -1, 0) == 1 &&
	       X509_set_issuer_name(cert, name) == 1 &&
	       add_extension(cert, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
	       add_extension(cert, NID_subject_key_identifier, "hash") &&
	       add_extension(cert, NID_key_usage, "critical,digitalSignature,keyCertSign") &&
	       add_extension(cert, NID_ext_key_usage, "serverAuth") &&
	       add_extension(cert, NID_subject_alt_name, names) &&
	       X509_sign(cert, key, kind == EVP_PKEY_ED25519 ? NULL : EVP_sha256()) > 0;
}

int cf_self_signed(const struct cf_pkey *key, const char *cn, const struct cf_strv *names,
                   unsigned days, struct cf_buf *ret, struct cf_err *err)
{
	cf_cleanup(x509_freep) X509 *cert = X509_new();
	cf_cleanup(evp_freep) EVP_PKEY *pkey = NULL;
	cf_cleanup(bio_freep) BIO *bio = BIO_new(BIO_s_mem());
	cf_cleanup(cf_freep) char *list = cf_strv_join(names, ",");
	char *text = NULL;
	long size;
	int r = private_key(key, &pkey, err);

	if (r < 0)
		return r;
	if (!cert || !bio || !fill(cert, pkey, cn, list, days) ||
	    PEM_write_bio_X509(bio, cert) != 1) {
		ERR_clear_error();
		return cf_fail(err, CF_INVALID_ARGUMENT, "no certificate for \"%s\"", list);
	}
	size = BIO_get_mem_data(bio, &text);
	cf_buf_add(ret, text, (size_t)size);
	return cf_buf_check(ret, "certificate", err);
}
