/* SPDX-License-Identifier: Apache-2.0 */
/* Hashes, ciphers and randomness of base/crypto.h. */
#include "base/crypto.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/rand.h>

static const struct {
	const char *name;
	size_t size;
	const EVP_MD *(*md)(void);
} hashes[CF_HASH_COUNT] = {
	[CF_SHA1] = { "sha1", 20, EVP_sha1 },
	[CF_SHA256] = { "sha256", 32, EVP_sha256 },
	[CF_SHA384] = { "sha384", 48, EVP_sha384 },
	[CF_SHA512] = { "sha512", 64, EVP_sha512 },
};

size_t cf_hash_size(enum cf_hash_alg alg)
{
	return hashes[alg].size;
}

const char *cf_hash_name(enum cf_hash_alg alg)
{
	return hashes[alg].name;
}

/* The library cannot fail at these unless it is broken; going on would hash nothing. */
static void must(bool ok)
{
	if (!ok) {
		ERR_print_errors_fp(stderr);
		abort();
	}
}

void cf_hash(enum cf_hash_alg alg, struct cf_view in, uint8_t *out)
{
	must(EVP_Digest(in.data ? in.data : (const uint8_t *)"", in.size, out, NULL,
	                hashes[alg].md(), NULL) == 1);
}

struct cf_hasher {
	enum cf_hash_alg alg;
	EVP_MD_CTX *md;
	EVP_MAC_CTX *mac;
};

struct cf_hasher *cf_hasher_new(enum cf_hash_alg alg)
{
	struct cf_hasher *h = cf_zalloc(sizeof(*h));

	h->alg = alg;
	h->md = EVP_MD_CTX_new();
	must(h->md && EVP_DigestInit_ex(h->md, hashes[alg].md(), NULL) == 1);
	return h;
}

struct cf_hasher *cf_hmac_new(enum cf_hash_alg alg, struct cf_view key)
{
	struct cf_hasher *h = cf_zalloc(sizeof(*h));
	char name[16] = "";
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0),
		OSSL_PARAM_construct_end(),
	};

	memcpy(name, hashes[alg].name, strlen(hashes[alg].name));
	params[0] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0);
	h->alg = alg;
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	h->mac = EVP_MAC_CTX_new(mac);
	EVP_MAC_free(mac);
	must(h->mac && EVP_MAC_init(h->mac, key.data ? key.data : (const uint8_t *)"", key.size,
	                            params) == 1);
	return h;
}

void cf_hasher_add(struct cf_hasher *h, struct cf_view v)
{
	if (v.size == 0)
		return;
	if (h->md)
		must(EVP_DigestUpdate(h->md, v.data, v.size) == 1);
	else
		must(EVP_MAC_update(h->mac, v.data, v.size) == 1);
}

void cf_hasher_final(struct cf_hasher *h, uint8_t *out)
{
	size_t n = 0;

	if (h->md)
		must(EVP_DigestFinal_ex(h->md, out, NULL) == 1);
	else
		must(EVP_MAC_final(h->mac, out, &n, hashes[h->alg].size) == 1);
}

void cf_hasher_reset(struct cf_hasher *h)
{
	must(h->md && EVP_DigestInit_ex(h->md, hashes[h->alg].md(), NULL) == 1);
}

struct cf_hasher *cf_hasher_free(struct cf_hasher *h)
{
	if (!h)
		return NULL;
	EVP_MD_CTX_free(h->md);
	EVP_MAC_CTX_free(h->mac);
	free(h);
	return NULL;
}

void cf_hmac(enum cf_hash_alg alg, struct cf_view key, struct cf_view in, uint8_t *out)
{
	cf_cleanup(cf_hasher_freep) struct cf_hasher *h = cf_hmac_new(alg, key);

	cf_hasher_add(h, in);
	cf_hasher_final(h, out);
}

int cf_hkdf(enum cf_hash_alg alg, struct cf_view key, struct cf_view salt, struct cf_view info,
            uint8_t *out, size_t size, struct cf_err *err)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, NULL);
	bool ok = ctx && EVP_PKEY_derive_init(ctx) == 1 &&
	          EVP_PKEY_CTX_set_hkdf_md(ctx, hashes[alg].md()) == 1 &&
	          EVP_PKEY_CTX_set1_hkdf_salt(ctx, salt.data, (int)salt.size) == 1 &&
	          EVP_PKEY_CTX_set1_hkdf_key(ctx, key.data, (int)key.size) == 1 &&
	          EVP_PKEY_CTX_add1_hkdf_info(ctx, info.data, (int)info.size) == 1 &&
	          EVP_PKEY_derive(ctx, out, &size) == 1;

	EVP_PKEY_CTX_free(ctx);
	ERR_clear_error();
	return ok ? 0 : cf_fail(err, CF_INVALID_ARGUMENT, "HKDF: refused by the library");
}

void cf_random(uint8_t *out, size_t size)
{
	must(size <= INT32_MAX && RAND_bytes(out, (int)size) == 1);
}

/* ---- ciphers ---- */

static void cipher_ctx_freep(EVP_CIPHER_CTX **ctx)
{
	EVP_CIPHER_CTX_free(*ctx);
}

/* @which: one of the three sizes' ciphers, or NULL for a key of another size. */
static const EVP_CIPHER *by_key_size(size_t size, const EVP_CIPHER *k16, const EVP_CIPHER *k24,
                                     const EVP_CIPHER *k32)
{
	return size == 16 ? k16 : size == 24 ? k24 : size == 32 ? k32 : NULL;
}

static int bad_cipher(struct cf_err *err, const char *what, struct cf_view key, struct cf_view iv)
{
	ERR_clear_error();
	return cf_fail(err, CF_INVALID_ARGUMENT, "%s: key of %zu bytes, IV of %zu bytes", what,
	               key.size, iv.size);
}

struct cf_aes_ctr {
	EVP_CIPHER_CTX *ctx;
};

int cf_aes_ctr_new(struct cf_view key, struct cf_view iv, struct cf_aes_ctr **ret,
                   struct cf_err *err)
{
	const EVP_CIPHER *c =
		by_key_size(key.size, EVP_aes_128_ctr(), EVP_aes_192_ctr(), EVP_aes_256_ctr());
	cf_cleanup(cipher_ctx_freep) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();

	if (!c || iv.size != 16 || !ctx || EVP_EncryptInit_ex(ctx, c, NULL, key.data, iv.data) != 1)
		return bad_cipher(err, "AES-CTR", key, iv);
	struct cf_aes_ctr *out = cf_zalloc(sizeof(*out));
	out->ctx = cf_take(&ctx);
	*ret = out;
	return 0;
}

void cf_aes_ctr_apply(struct cf_aes_ctr *c, struct cf_view in, uint8_t *out)
{
	while (in.size) {
		int n = (int)CF_MIN(in.size, (size_t)1 << 30), got = 0;

		must(EVP_EncryptUpdate(c->ctx, out, &got, in.data, n) == 1 && got == n);
		out += n;
		in = cf_view_sub(in, (size_t)n, in.size);
	}
}

struct cf_aes_ctr *cf_aes_ctr_free(struct cf_aes_ctr *c)
{
	if (c)
		EVP_CIPHER_CTX_free(c->ctx);
	free(c);
	return NULL;
}

static bool gcm_start(EVP_CIPHER_CTX *ctx, bool seal, struct cf_view key, struct cf_view iv,
                      struct cf_view aad)
{
	const EVP_CIPHER *c =
		by_key_size(key.size, EVP_aes_128_gcm(), EVP_aes_192_gcm(), EVP_aes_256_gcm());
	int n;

	if (!ctx || !c || iv.size == 0 || iv.size > 4096 || aad.size > INT32_MAX)
		return false;
	return EVP_CipherInit_ex(ctx, c, NULL, NULL, NULL, seal) == 1 &&
	       EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_IVLEN, (int)iv.size, NULL) == 1 &&
	       EVP_CipherInit_ex(ctx, NULL, NULL, key.data, iv.data, seal) == 1 &&
	       (aad.size == 0 || EVP_CipherUpdate(ctx, NULL, &n, aad.data, (int)aad.size) == 1);
}

int cf_aes_gcm_seal(struct cf_view key, struct cf_view iv, struct cf_view aad, struct cf_view plain,
                    struct cf_buf *cipher, uint8_t tag[16], struct cf_err *err)
{
	cf_cleanup(cipher_ctx_freep) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	uint8_t *out = plain.size > INT32_MAX ? NULL : cf_buf_reserve(cipher, plain.size);
	int n = 0, last = 0;

	if (!out)
		return cf_buf_check(cipher, "ciphertext", err);
	if (!gcm_start(ctx, true, key, iv, aad))
		return bad_cipher(err, "AES-GCM", key, iv);
	must((plain.size == 0 ||
	      EVP_CipherUpdate(ctx, out, &n, plain.data, (int)plain.size) == 1) &&
	     EVP_CipherFinal_ex(ctx, out + n, &last) == 1 &&
	     EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, tag) == 1);
	cipher->size += plain.size;
	return 0;
}

int cf_aes_gcm_open(struct cf_view key, struct cf_view iv, struct cf_view aad,
                    struct cf_view cipher, struct cf_view tag, struct cf_buf *plain,
                    struct cf_err *err)
{
	cf_cleanup(cipher_ctx_freep) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	uint8_t *out, want[16];
	int n = 0, last = 0;

	if (tag.size != 16)
		return cf_fail(err, CF_INVALID_ARGUMENT, "AES-GCM: tag of %zu bytes, 16 are due",
		               tag.size);
	out = cipher.size > INT32_MAX ? NULL : cf_buf_reserve(plain, cipher.size);
	if (!out)
		return cf_buf_check(plain, "plaintext", err);
	if (!gcm_start(ctx, false, key, iv, aad))
		return bad_cipher(err, "AES-GCM", key, iv);
	memcpy(want, tag.data, sizeof(want));
	bool ok = (cipher.size == 0 ||
	           EVP_CipherUpdate(ctx, out, &n, cipher.data, (int)cipher.size) == 1) &&
	          EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, 16, want) == 1 &&
	          EVP_CipherFinal_ex(ctx, out + n, &last) == 1;
	ERR_clear_error();
	if (!ok) {
		explicit_bzero(out, cipher.size);
		return cf_fail(err, CF_DATA_LOSS,
		               "AES-GCM: the tag does not fit: wrong key, or the data was changed");
	}
	plain->size += cipher.size;
	return 0;
}

int cf_aes_cbc(bool encrypt, struct cf_view key, struct cf_view iv, struct cf_view in,
               struct cf_buf *out, struct cf_err *err)
{
	const EVP_CIPHER *c =
		by_key_size(key.size, EVP_aes_128_cbc(), EVP_aes_192_cbc(), EVP_aes_256_cbc());
	cf_cleanup(cipher_ctx_freep) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	uint8_t *p = in.size > INT32_MAX - 32 ? NULL : cf_buf_reserve(out, in.size + 16);
	int n = 0, last = 0;

	if (!p)
		return cf_buf_check(out, "AES-CBC output", err);
	if (!c || iv.size != 16 || !ctx ||
	    EVP_CipherInit_ex(ctx, c, NULL, key.data, iv.data, encrypt) != 1)
		return bad_cipher(err, "AES-CBC", key, iv);
	bool ok = (in.size == 0 || EVP_CipherUpdate(ctx, p, &n, in.data, (int)in.size) == 1) &&
	          EVP_CipherFinal_ex(ctx, p + n, &last) == 1;
	ERR_clear_error();
	if (!ok) {
		explicit_bzero(p, in.size + 16);
		return cf_fail(err, CF_DATA_LOSS, "AES-CBC: wrong key, or the data was changed");
	}
	out->size += (size_t)(n + last);
	out->data[out->size] = 0;
	return 0;
}

int cf_aes_cfb(bool encrypt, struct cf_view key, struct cf_view iv, struct cf_view in, uint8_t *out,
               struct cf_err *err)
{
	const EVP_CIPHER *c = by_key_size(key.size, EVP_aes_128_cfb128(), EVP_aes_192_cfb128(),
	                                  EVP_aes_256_cfb128());
	cf_cleanup(cipher_ctx_freep) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int n = 0;

	if (!c || iv.size != 16 || !ctx || in.size > INT32_MAX ||
	    EVP_CipherInit_ex(ctx, c, NULL, key.data, iv.data, encrypt) != 1)
		return bad_cipher(err, "AES-CFB", key, iv);
	must(in.size == 0 || EVP_CipherUpdate(ctx, out, &n, in.data, (int)in.size) == 1);
	return 0;
}

static int key_wrap(bool wrap, struct cf_view kek, struct cf_view in, struct cf_buf *ret,
                    struct cf_err *err)
{
	const EVP_CIPHER *c =
		by_key_size(kek.size, EVP_aes_128_wrap(), EVP_aes_192_wrap(), EVP_aes_256_wrap());
	cf_cleanup(cipher_ctx_freep) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int n = 0, last = 0;

	if (!c || !ctx || in.size < 16 || in.size > 4096 || in.size % 8)
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "AES key wrap: key of %zu bytes, data of %zu bytes", kek.size,
		               in.size);
	uint8_t *p = cf_buf_reserve(ret, in.size + 16);
	if (!p)
		return cf_buf_check(ret, "wrapped key", err);
	EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
	bool ok = EVP_CipherInit_ex(ctx, c, NULL, kek.data, NULL, wrap) == 1 &&
	          EVP_CipherUpdate(ctx, p, &n, in.data, (int)in.size) == 1 &&
	          EVP_CipherFinal_ex(ctx, p + n, &last) == 1;
	ERR_clear_error();
	if (!ok)
		return cf_fail(err, CF_DATA_LOSS,
		               "AES key wrap: wrong key, or the wrapped key was changed");
	ret->size += (size_t)(n + last);
	ret->data[ret->size] = 0;
	return 0;
}

int cf_aes_wrap(struct cf_view kek, struct cf_view key, struct cf_buf *ret, struct cf_err *err)
{
	return key_wrap(true, kek, key, ret, err);
}

int cf_aes_unwrap(struct cf_view kek, struct cf_view wrapped, struct cf_buf *ret,
                  struct cf_err *err)
{
	return key_wrap(false, kek, wrapped, ret, err);
}
