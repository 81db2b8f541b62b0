/* SPDX-License-Identifier: Apache-2.0 */
/* Asymmetric keys of base/crypto.h. struct cf_pkey is OpenSSL's EVP_PKEY under another name. */
#include "base/crypto.h"
#include "base/str.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#define KEY_TEXT_MAX (64u << 10)
#define RSA_BITS_MIN 1024
#define RSA_BITS_MAX 16384

static EVP_PKEY *raw(const struct cf_pkey *k)
{
	return (EVP_PKEY *)(uintptr_t)k;
}

static struct cf_pkey *wrap(EVP_PKEY *k)
{
	return (struct cf_pkey *)k;
}

static void bio_freep(BIO **b)
{
	BIO_free(*b);
}

static void ctx_freep(EVP_PKEY_CTX **c)
{
	EVP_PKEY_CTX_free(*c);
}

static void bn_freep(BIGNUM **b)
{
	BN_clear_free(*b);
}

static const EVP_MD *md_of(enum cf_hash_alg alg)
{
	return alg == CF_SHA1     ? EVP_sha1()
	       : alg == CF_SHA256 ? EVP_sha256()
	       : alg == CF_SHA384 ? EVP_sha384()
	                          : EVP_sha512();
}

/* "what: OpenSSL's reason"; clears the library's queue. */
static int lib_fail(struct cf_err *err, enum cf_code code, const char *what)
{
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());

	ERR_clear_error();
	return cf_fail(err, code, "%s%s%s", what, reason ? ": " : "", reason ? reason : "");
}

/* A PEM password prompt must never come up in a daemon. */
static int no_password(char *buf, int size, int rwflag, void *arg)
{
	(void)buf;
	(void)size;
	(void)rwflag;
	(void)arg;
	return -1;
}

static EVP_PKEY *cert_key(X509 *cert)
{
	EVP_PKEY *k = cert ? X509_get_pubkey(cert) : NULL;

	X509_free(cert);
	return k;
}

static EVP_PKEY *parse_pem(struct cf_view text)
{
	EVP_PKEY *k = NULL;

	for (int kind = 0; !k && kind < 3; kind++) {
		cf_cleanup(bio_freep) BIO *bio = BIO_new_mem_buf(text.data, (int)text.size);

		if (kind == 0)
			k = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
		else if (kind == 1)
			k = PEM_read_bio_PUBKEY(bio, NULL, no_password, NULL);
		else
			k = cert_key(PEM_read_bio_X509(bio, NULL, no_password, NULL));
	}
	return k;
}

static EVP_PKEY *parse_der(struct cf_view text)
{
	const unsigned char *p = text.data;
	EVP_PKEY *k = d2i_AutoPrivateKey(NULL, &p, (long)text.size);

	if (!k) {
		p = text.data;
		k = d2i_PUBKEY(NULL, &p, (long)text.size);
	}
	if (!k) {
		p = text.data;
		k = cert_key(d2i_X509(NULL, &p, (long)text.size));
	}
	return k;
}

int cf_pkey_parse(struct cf_view text, struct cf_pkey **ret, struct cf_err *err)
{
	if (text.size > KEY_TEXT_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "key of %zu bytes, limit %u", text.size,
		               KEY_TEXT_MAX);
	bool is_pem = text.size && memmem(text.data, text.size, "-----BEGIN", 10);
	EVP_PKEY *k = text.size == 0 ? NULL : is_pem ? parse_pem(text) : parse_der(text);
	ERR_clear_error();
	if (!k)
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "no key that this reader knows (PEM or DER; private, public or "
		               "certificate; "
		               "not encrypted)");
	if (EVP_PKEY_get_base_id(k) == EVP_PKEY_RSA && EVP_PKEY_get_bits(k) > RSA_BITS_MAX) {
		EVP_PKEY_free(k);
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "RSA key over %d bits", RSA_BITS_MAX);
	}
	*ret = wrap(k);
	return 0;
}

static const char *curve_name(enum cf_pkey_kind kind)
{
	return kind == CF_PKEY_EC_P256   ? "P-256"
	       : kind == CF_PKEY_EC_P384 ? "P-384"
	       : kind == CF_PKEY_EC_P521 ? "P-521"
	                                 : NULL;
}

static size_t field_size(enum cf_pkey_kind kind)
{
	return kind == CF_PKEY_EC_P256 ? 32 : kind == CF_PKEY_EC_P384 ? 48 : 66;
}

int cf_pkey_generate(enum cf_pkey_kind kind, unsigned rsa_bits, struct cf_pkey **ret,
                     struct cf_err *err)
{
	EVP_PKEY *k = NULL;

	if (kind == CF_PKEY_RSA)
		k = EVP_RSA_gen(rsa_bits);
	else if (curve_name(kind))
		k = EVP_EC_gen(curve_name(kind));
	else if (kind == CF_PKEY_ED25519 || kind == CF_PKEY_X25519)
		k = EVP_PKEY_Q_keygen(NULL, NULL, kind == CF_PKEY_ED25519 ? "ED25519" : "X25519");
	if (!k)
		return lib_fail(err, CF_INVALID_ARGUMENT, "generate a key");
	*ret = wrap(k);
	return 0;
}

static int from_params(const char *type, bool is_private, OSSL_PARAM_BLD *bld, struct cf_pkey **ret,
                       struct cf_err *err)
{
	OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(bld);
	cf_cleanup(ctx_freep) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
	EVP_PKEY *k = NULL;
	bool ok = params && ctx && EVP_PKEY_fromdata_init(ctx) == 1 &&
	          EVP_PKEY_fromdata(ctx, &k, is_private ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY,
	                            params) == 1;

	OSSL_PARAM_free(params);
	if (!ok)
		return lib_fail(err, CF_INVALID_ARGUMENT, "key numbers");
	*ret = wrap(k);
	return 0;
}

int cf_pkey_from_rsa_private(struct cf_view n, struct cf_view e, struct cf_view d, struct cf_view p,
                             struct cf_view q, struct cf_view dp, struct cf_view dq,
                             struct cf_view qi, struct cf_pkey **ret, struct cf_err *err)
{
	const struct {
		const char *name;
		struct cf_view v;
	} parts[] = {
		{ OSSL_PKEY_PARAM_RSA_N, n },          { OSSL_PKEY_PARAM_RSA_E, e },
		{ OSSL_PKEY_PARAM_RSA_D, d },          { OSSL_PKEY_PARAM_RSA_FACTOR1, p },
		{ OSSL_PKEY_PARAM_RSA_FACTOR2, q },    { OSSL_PKEY_PARAM_RSA_EXPONENT1, dp },
		{ OSSL_PKEY_PARAM_RSA_EXPONENT2, dq }, { OSSL_PKEY_PARAM_RSA_COEFFICIENT1, qi },
	};
	BIGNUM *nums[CF_ARRAY_LEN(parts)] = { 0 };
	OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
	int r = 0;

	for (size_t i = 0; i < CF_ARRAY_LEN(parts); i++)
		if (parts[i].v.size > RSA_BITS_MAX / 8)
			r = cf_fail(err, CF_RESOURCE_EXHAUSTED, "RSA number of %zu bytes",
			            parts[i].v.size);
	for (size_t i = 0; r == 0 && i < CF_ARRAY_LEN(parts); i++) {
		if (parts[i].v.size == 0)
			continue;
		nums[i] = BN_secure_new();
		if (!BN_bin2bn(parts[i].v.data, (int)parts[i].v.size, nums[i]) ||
		    !OSSL_PARAM_BLD_push_BN(bld, parts[i].name, nums[i]))
			r = lib_fail(err, CF_RESOURCE_EXHAUSTED, "RSA numbers");
	}
	if (r == 0 && (n.size == 0 || e.size == 0 || BN_num_bits(nums[0]) < RSA_BITS_MIN))
		r = cf_fail(err, CF_INVALID_ARGUMENT, "RSA modulus under %d bits", RSA_BITS_MIN);
	if (r == 0)
		r = from_params("RSA", d.size > 0, bld, ret, err);
	for (size_t i = 0; i < CF_ARRAY_LEN(nums); i++)
		BN_clear_free(nums[i]);
	OSSL_PARAM_BLD_free(bld);
	return r;
}

int cf_pkey_from_rsa(struct cf_view n, struct cf_view e, struct cf_pkey **ret, struct cf_err *err)
{
	struct cf_view none = { 0 };

	return cf_pkey_from_rsa_private(n, e, none, none, none, none, none, none, ret, err);
}

int cf_pkey_from_ec(enum cf_pkey_kind kind, struct cf_view x, struct cf_view y, struct cf_view d,
                    struct cf_pkey **ret, struct cf_err *err)
{
	uint8_t point[1 + 2 * 66];
	size_t n = field_size(kind);
	struct cf_pkey *k = NULL;
	BIGNUM *scalar = NULL;
	int r;

	if (!curve_name(kind) || x.size > n || y.size > n || d.size > n || x.size == 0 ||
	    y.size == 0)
		return cf_fail(err, CF_INVALID_ARGUMENT, "EC key: wrong curve or coordinate size");
	memset(point, 0, sizeof(point));
	point[0] = 4;
	memcpy(point + 1 + n - x.size, x.data, x.size);
	memcpy(point + 1 + 2 * n - y.size, y.data, y.size);
	OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
	bool ok = OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME, curve_name(kind),
	                                          0) &&
	          OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY, point, 1 + 2 * n);
	if (ok && d.size) {
		scalar = BN_secure_new();
		ok = BN_bin2bn(d.data, (int)d.size, scalar) &&
		     OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_PRIV_KEY, scalar);
	}
	r = ok ? from_params("EC", d.size > 0, bld, &k, err) : lib_fail(err, CF_INTERNAL, "EC key");
	OSSL_PARAM_BLD_free(bld);
	BN_clear_free(scalar);
	if (r < 0)
		return r;
	cf_cleanup(ctx_freep) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, raw(k), NULL);
	if (EVP_PKEY_public_check(ctx) != 1 || (d.size && EVP_PKEY_pairwise_check(ctx) != 1)) {
		cf_pkey_free(k);
		return lib_fail(err, CF_INVALID_ARGUMENT, "EC key: the point is not on the curve");
	}
	*ret = k;
	return 0;
}

int cf_pkey_from_raw(enum cf_pkey_kind kind, bool is_private, struct cf_view bytes,
                     struct cf_pkey **ret, struct cf_err *err)
{
	int id = kind == CF_PKEY_ED25519 ? EVP_PKEY_ED25519 : EVP_PKEY_X25519;
	EVP_PKEY *k = NULL;

	if (bytes.size == 32)
		k = is_private ? EVP_PKEY_new_raw_private_key(id, NULL, bytes.data, bytes.size)
		               : EVP_PKEY_new_raw_public_key(id, NULL, bytes.data, bytes.size);
	if (!k)
		return lib_fail(err, CF_INVALID_ARGUMENT, "raw key of 32 bytes is due");
	*ret = wrap(k);
	return 0;
}

struct cf_pkey *cf_pkey_free(struct cf_pkey *k)
{
	EVP_PKEY_free(raw(k));
	return NULL;
}

struct cf_pkey *cf_pkey_ref(struct cf_pkey *k)
{
	EVP_PKEY_up_ref(raw(k));
	return k;
}

enum cf_pkey_kind cf_pkey_kind(const struct cf_pkey *k)
{
	char group[32];
	size_t n;

	switch (EVP_PKEY_get_base_id(raw(k))) {
	case EVP_PKEY_RSA:
	case EVP_PKEY_RSA_PSS:
		return CF_PKEY_RSA;
	case EVP_PKEY_ED25519:
		return CF_PKEY_ED25519;
	case EVP_PKEY_X25519:
		return CF_PKEY_X25519;
	case EVP_PKEY_EC:
		break;
	default:
		return CF_PKEY_OTHER;
	}
	if (EVP_PKEY_get_group_name(raw(k), group, sizeof(group), &n) != 1)
		return CF_PKEY_OTHER;
	if (cf_streq(group, "prime256v1") || cf_streq(group, "P-256"))
		return CF_PKEY_EC_P256;
	if (cf_streq(group, "secp384r1") || cf_streq(group, "P-384"))
		return CF_PKEY_EC_P384;
	if (cf_streq(group, "secp521r1") || cf_streq(group, "P-521"))
		return CF_PKEY_EC_P521;
	return CF_PKEY_OTHER;
}

size_t cf_pkey_bits(const struct cf_pkey *k)
{
	return (size_t)EVP_PKEY_get_bits(raw(k));
}

static int add_number(const struct cf_pkey *k, const char *name, size_t width, struct cf_buf *out,
                      struct cf_err *err)
{
	cf_cleanup(bn_freep) BIGNUM *bn = NULL;

	if (EVP_PKEY_get_bn_param(raw(k), name, &bn) != 1)
		return lib_fail(err, CF_INVALID_ARGUMENT, "the key lacks a number that is due");
	size_t n = width ? width : (size_t)BN_num_bytes(bn);
	uint8_t *p = cf_buf_reserve(out, n);
	if (!p || BN_bn2binpad(bn, p, (int)n) < 0)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "key number");
	out->size += n;
	return 0;
}

bool cf_pkey_is_private(const struct cf_pkey *k)
{
	cf_cleanup(bn_freep) BIGNUM *bn = NULL;
	size_t n = 0;
	bool has;

	switch (cf_pkey_kind(k)) {
	case CF_PKEY_RSA:
		has = EVP_PKEY_get_bn_param(raw(k), OSSL_PKEY_PARAM_RSA_D, &bn) == 1;
		break;
	case CF_PKEY_ED25519:
	case CF_PKEY_X25519:
		has = EVP_PKEY_get_raw_private_key(raw(k), NULL, &n) == 1;
		break;
	default:
		has = EVP_PKEY_get_bn_param(raw(k), OSSL_PKEY_PARAM_PRIV_KEY, &bn) == 1;
	}
	ERR_clear_error();
	return has;
}

bool cf_pkey_equal_public(const struct cf_pkey *a, const struct cf_pkey *b)
{
	return EVP_PKEY_eq(raw(a), raw(b)) == 1;
}

int cf_pkey_rsa_numbers(const struct cf_pkey *k, struct cf_buf *n, struct cf_buf *e,
                        struct cf_err *err)
{
	int r = add_number(k, OSSL_PKEY_PARAM_RSA_N, 0, n, err);

	return r < 0 ? r : add_number(k, OSSL_PKEY_PARAM_RSA_E, 0, e, err);
}

int cf_pkey_ec_point(const struct cf_pkey *k, struct cf_buf *x, struct cf_buf *y,
                     struct cf_err *err)
{
	enum cf_pkey_kind kind = cf_pkey_kind(k);
	size_t n = 32;

	if (kind == CF_PKEY_ED25519 || kind == CF_PKEY_X25519) {
		uint8_t *p = cf_buf_reserve(x, n);

		if (!p || EVP_PKEY_get_raw_public_key(raw(k), p, &n) != 1)
			return lib_fail(err, CF_INVALID_ARGUMENT, "public key");
		x->size += n;
		return 0;
	}
	if (!curve_name(kind))
		return cf_fail(err, CF_INVALID_ARGUMENT, "not a key of a curve this code knows");
	int r = add_number(k, OSSL_PKEY_PARAM_EC_PUB_X, field_size(kind), x, err);
	return r < 0 ? r : add_number(k, OSSL_PKEY_PARAM_EC_PUB_Y, field_size(kind), y, err);
}

int cf_pkey_private_number(const struct cf_pkey *k, struct cf_buf *d, struct cf_err *err)
{
	enum cf_pkey_kind kind = cf_pkey_kind(k);
	size_t n = 32;

	if (kind == CF_PKEY_RSA)
		return add_number(k, OSSL_PKEY_PARAM_RSA_D, 0, d, err);
	if (curve_name(kind))
		return add_number(k, OSSL_PKEY_PARAM_PRIV_KEY, field_size(kind), d, err);
	uint8_t *p = cf_buf_reserve(d, n);
	if (!p || EVP_PKEY_get_raw_private_key(raw(k), p, &n) != 1)
		return lib_fail(err, CF_INVALID_ARGUMENT, "private key");
	d->size += n;
	return 0;
}

int cf_pkey_to_pem(const struct cf_pkey *k, bool with_private, struct cf_buf *ret,
                   struct cf_err *err)
{
	cf_cleanup(bio_freep) BIO *bio = BIO_new(BIO_s_secmem());
	int ok = with_private ? PEM_write_bio_PrivateKey(bio, raw(k), NULL, NULL, 0, NULL, NULL)
	                      : PEM_write_bio_PUBKEY(bio, raw(k));
	char *p;

	if (ok != 1)
		return lib_fail(err, CF_INVALID_ARGUMENT, "write the key");
	long n = BIO_get_mem_data(bio, &p);
	cf_buf_add(ret, p, (size_t)n);
	return cf_buf_check(ret, "key", err);
}

int cf_pkey_to_spki_der(const struct cf_pkey *k, struct cf_buf *ret, struct cf_err *err)
{
	unsigned char *der = NULL;
	int n = i2d_PUBKEY(raw(k), &der);

	if (n < 0)
		return lib_fail(err, CF_INVALID_ARGUMENT, "write the key");
	cf_buf_add(ret, der, (size_t)n);
	OPENSSL_free(der);
	return cf_buf_check(ret, "key", err);
}

/* ---- signatures ---- */

static bool scheme_fits(enum cf_pkey_kind kind, enum cf_sig_scheme scheme)
{
	switch (scheme) {
	case CF_SIG_RSA_PKCS1:
	case CF_SIG_RSA_PSS:
		return kind == CF_PKEY_RSA;
	case CF_SIG_ECDSA_DER:
	case CF_SIG_ECDSA_RAW:
		return curve_name(kind) != NULL;
	case CF_SIG_ED25519:
		return kind == CF_PKEY_ED25519;
	}
	return false;
}

static int raw_to_der(struct cf_view sig, size_t n, struct cf_buf *der, struct cf_err *err)
{
	ECDSA_SIG *s = ECDSA_SIG_new();
	unsigned char *out = NULL;
	int size = -1;

	if (sig.size == 2 * n && ECDSA_SIG_set0(s, BN_bin2bn(sig.data, (int)n, NULL),
	                                        BN_bin2bn(sig.data + n, (int)n, NULL)))
		size = i2d_ECDSA_SIG(s, &out);
	ECDSA_SIG_free(s);
	if (size < 0)
		return cf_fail(err, CF_PERMISSION_DENIED, "signature of %zu bytes, %zu are due",
		               sig.size, 2 * n);
	cf_buf_add(der, out, (size_t)size);
	OPENSSL_free(out);
	return 0;
}

static int der_to_raw(struct cf_view der, size_t n, struct cf_buf *out, struct cf_err *err)
{
	const unsigned char *p = der.data;
	ECDSA_SIG *s = d2i_ECDSA_SIG(NULL, &p, (long)der.size);
	uint8_t *to = cf_buf_reserve(out, 2 * n);
	bool ok = s && to && BN_bn2binpad(ECDSA_SIG_get0_r(s), to, (int)n) >= 0 &&
	          BN_bn2binpad(ECDSA_SIG_get0_s(s), to + n, (int)n) >= 0;

	ECDSA_SIG_free(s);
	if (!ok)
		return lib_fail(err, CF_INTERNAL, "ECDSA signature");
	out->size += 2 * n;
	return 0;
}

/* Starts signing or verifying with the padding that the scheme wants. */
static bool digest_start(EVP_MD_CTX *ctx, const struct cf_pkey *k, enum cf_sig_scheme scheme,
                         enum cf_hash_alg alg, bool sign)
{
	const EVP_MD *md = scheme == CF_SIG_ED25519 ? NULL : md_of(alg);
	EVP_PKEY_CTX *pctx = NULL;
	int ok = sign ? EVP_DigestSignInit(ctx, &pctx, md, NULL, raw(k))
	              : EVP_DigestVerifyInit(ctx, &pctx, md, NULL, raw(k));

	if (ok != 1)
		return false;
	if (scheme != CF_SIG_RSA_PSS)
		return true;
	return EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) == 1 &&
	       EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, sign ? RSA_PSS_SALTLEN_DIGEST
	                                                   : RSA_PSS_SALTLEN_AUTO) == 1;
}

int cf_pkey_sign(const struct cf_pkey *k, enum cf_sig_scheme scheme, enum cf_hash_alg alg,
                 struct cf_view data, struct cf_buf *sig, struct cf_err *err)
{
	struct cf_buf der = { 0 };
	size_t n = 0;

	if (!scheme_fits(cf_pkey_kind(k), scheme))
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "the key is of another kind than the scheme");
	struct cf_buf *to = scheme == CF_SIG_ECDSA_RAW ? &der : sig;
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool ok = digest_start(ctx, k, scheme, alg, true) &&
	          EVP_DigestSign(ctx, NULL, &n, data.data, data.size) == 1;
	uint8_t *p = ok ? cf_buf_reserve(to, n) : NULL;
	ok = p && EVP_DigestSign(ctx, p, &n, data.data, data.size) == 1;
	EVP_MD_CTX_free(ctx);
	if (!ok)
		return lib_fail(err, CF_INTERNAL, "sign");
	to->size += n;
	int r = 0;
	if (scheme == CF_SIG_ECDSA_RAW)
		r = der_to_raw(cf_buf_view(&der), field_size(cf_pkey_kind(k)), sig, err);
	cf_buf_fini(&der);
	return r;
}

int cf_pkey_verify(const struct cf_pkey *k, enum cf_sig_scheme scheme, enum cf_hash_alg alg,
                   struct cf_view data, struct cf_view sig, struct cf_err *err)
{
	struct cf_buf der = { 0 };

	if (!scheme_fits(cf_pkey_kind(k), scheme))
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "the key is of another kind than the scheme");
	if (scheme == CF_SIG_ECDSA_RAW) {
		int r = raw_to_der(sig, field_size(cf_pkey_kind(k)), &der, err);

		if (r < 0)
			return r;
		sig = cf_buf_view(&der);
	}
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool ok = digest_start(ctx, k, scheme, alg, false) &&
	          EVP_DigestVerify(ctx, sig.data, sig.size, data.data, data.size) == 1;
	EVP_MD_CTX_free(ctx);
	ERR_clear_error();
	cf_buf_fini(&der);
	return ok ? 0 : cf_fail(err, CF_PERMISSION_DENIED, "the signature does not match");
}

/* ---- RSA encryption, ECDH ---- */

static bool rsa_start(EVP_PKEY_CTX *ctx, enum cf_rsa_padding pad, struct cf_view label,
                      bool encrypt)
{
	static const EVP_MD *(*const md[])(void) = {
		[CF_RSA_OAEP_SHA1] = EVP_sha1,
		[CF_RSA_OAEP_SHA256] = EVP_sha256,
		[CF_RSA_OAEP_SHA384] = EVP_sha384,
		[CF_RSA_OAEP_SHA512] = EVP_sha512,
	};

	if (!ctx || (encrypt ? EVP_PKEY_encrypt_init(ctx) : EVP_PKEY_decrypt_init(ctx)) != 1)
		return false;
	if (pad == CF_RSA_PKCS1_V15)
		return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1;
	if (EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) != 1 ||
	    EVP_PKEY_CTX_set_rsa_oaep_md(ctx, md[pad]()) != 1 ||
	    EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, md[pad]()) != 1)
		return false;
	if (label.size == 0)
		return true;
	uint8_t *copy = OPENSSL_memdup(label.data, label.size);
	if (copy && EVP_PKEY_CTX_set0_rsa_oaep_label(ctx, copy, (int)label.size) == 1)
		return true;
	OPENSSL_free(copy);
	return false;
}

int cf_rsa_encrypt(const struct cf_pkey *k, enum cf_rsa_padding pad, struct cf_view label,
                   struct cf_view in, struct cf_buf *ret, struct cf_err *err)
{
	cf_cleanup(ctx_freep) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(raw(k), NULL);
	size_t n = 0;

	if (cf_pkey_kind(k) != CF_PKEY_RSA || !rsa_start(ctx, pad, label, true) ||
	    EVP_PKEY_encrypt(ctx, NULL, &n, in.data, in.size) != 1)
		return lib_fail(err, CF_INVALID_ARGUMENT, "RSA encryption");
	uint8_t *p = cf_buf_reserve(ret, n);
	if (!p || EVP_PKEY_encrypt(ctx, p, &n, in.data, in.size) != 1)
		return lib_fail(err, CF_INVALID_ARGUMENT, "RSA encryption");
	ret->size += n;
	return 0;
}

int cf_rsa_decrypt(const struct cf_pkey *k, enum cf_rsa_padding pad, struct cf_view label,
                   struct cf_view in, struct cf_buf *ret, struct cf_err *err)
{
	cf_cleanup(ctx_freep) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(raw(k), NULL);
	size_t n = 0;

	if (cf_pkey_kind(k) != CF_PKEY_RSA || !rsa_start(ctx, pad, label, false) ||
	    EVP_PKEY_decrypt(ctx, NULL, &n, in.data, in.size) != 1)
		return lib_fail(err, CF_INVALID_ARGUMENT, "RSA decryption: the key cannot do it");
	uint8_t *p = cf_buf_reserve(ret, n);
	bool ok = p && EVP_PKEY_decrypt(ctx, p, &n, in.data, in.size) == 1;
	ERR_clear_error();
	if (!ok)
		return cf_fail(err, CF_DATA_LOSS,
		               "RSA decryption: wrong key, or the data was changed");
	ret->size += n;
	ret->data[ret->size] = 0;
	return 0;
}

int cf_ecdh(const struct cf_pkey *own, const struct cf_pkey *peer, struct cf_buf *ret,
            struct cf_err *err)
{
	cf_cleanup(ctx_freep) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(raw(own), NULL);
	size_t n = 0;

	if (!ctx || EVP_PKEY_derive_init(ctx) != 1 ||
	    EVP_PKEY_derive_set_peer(ctx, raw(peer)) != 1 || EVP_PKEY_derive(ctx, NULL, &n) != 1)
		return lib_fail(err, CF_INVALID_ARGUMENT, "ECDH: keys of different kinds");
	uint8_t *p = cf_buf_reserve(ret, n);
	if (!p || EVP_PKEY_derive(ctx, p, &n) != 1)
		return lib_fail(err, CF_INVALID_ARGUMENT, "ECDH");
	ret->size += n;
	return 0;
}
