/* SPDX-License-Identifier: Apache-2.0 */
#include "base/secretbox.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

int cf_scrypt(struct cf_view password, struct cf_view salt, uint64_t n, uint32_t r, uint32_t p,
              struct cf_secret **ret, struct cf_err *err)
{
	cf_cleanup(cf_secret_freep) struct cf_secret *key = NULL;

	if (n < 2 || (n & (n - 1)) || !r || !p || p > 16)
		return cf_fail(err, CF_INVALID_ARGUMENT, "scrypt: no such parameters");
	if (r > 1024 || n > CF_SCRYPT_MEMORY_MAX / 128 / r)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "scrypt: over %llu MiB of memory",
		               CF_SCRYPT_MEMORY_MAX >> 20);
	int done = cf_secret_new(CF_SECRETBOX_KEY, &key, err);

	if (done < 0)
		return done;
	/* Above the limit's own: OpenSSL counts its working space too. */
	if (EVP_PBE_scrypt((const char *)(password.data ? password.data : (const uint8_t *)""),
	                   password.size, salt.data, salt.size, n, r, p, 2 * CF_SCRYPT_MEMORY_MAX,
	                   cf_secret_data(key), CF_SECRETBOX_KEY) != 1)
		return cf_fail(err, CF_INTERNAL, "scrypt failed");
	*ret = cf_take(&key);
	return 0;
}

/* ---- Salsa20. Source: D. J. Bernstein, "Salsa20 specification", "Extending the Salsa20 nonce" ---- */

struct salsa {
	uint32_t word[16];
};

static uint32_t load(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void store(uint8_t *p, uint32_t v)
{
	for (unsigned i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> 8 * i);
}

/* "expand 32-byte k", the key's halves around 16 bytes of nonce and counter */
static struct salsa start(const uint8_t key[32], const uint8_t middle[16])
{
	static const uint32_t sigma[4] = { 0x61707865, 0x3320646e, 0x79622d32, 0x6b206574 };
	struct salsa s;

	for (unsigned i = 0; i < 4; i++) {
		s.word[5 * i] = sigma[i];
		s.word[1 + i] = load(key + 4 * i);
		s.word[6 + i] = load(middle + 4 * i);
		s.word[11 + i] = load(key + 16 + 4 * i);
	}
	return s;
}

static void quarter(uint32_t *x, unsigned a, unsigned b, unsigned c, unsigned d)
{
#define ROTATE(v, n) ((v) << (n) | (v) >> (32 - (n)))
	x[b] ^= ROTATE(x[a] + x[d], 7);
	x[c] ^= ROTATE(x[b] + x[a], 9);
	x[d] ^= ROTATE(x[c] + x[b], 13);
	x[a] ^= ROTATE(x[d] + x[c], 18);
}

static void rounds(struct salsa *s)
{
	uint32_t *x = s->word;

	for (unsigned i = 0; i < 20; i += 2) {
		quarter(x, 0, 4, 8, 12);
		quarter(x, 5, 9, 13, 1);
		quarter(x, 10, 14, 2, 6);
		quarter(x, 15, 3, 7, 11);
		quarter(x, 0, 1, 2, 3);
		quarter(x, 5, 6, 7, 4);
		quarter(x, 10, 11, 8, 9);
		quarter(x, 15, 12, 13, 14);
	}
}

static void hsalsa(const uint8_t key[32], const uint8_t in[16], uint8_t out[32])
{
	static const uint8_t taken[8] = { 0, 5, 10, 15, 6, 7, 8, 9 };
	struct salsa s = start(key, in);

	rounds(&s);
	for (unsigned i = 0; i < 8; i++)
		store(out + 4 * i, s.word[taken[i]]);
	OPENSSL_cleanse(&s, sizeof(s));
}

/* The @n-th 64 bytes of the stream. */
static void block(const uint8_t key[32], const uint8_t nonce[8], uint64_t n, uint8_t out[64])
{
	uint8_t middle[16];

	memcpy(middle, nonce, 8);
	store(middle + 8, (uint32_t)n);
	store(middle + 12, (uint32_t)(n >> 32));
	struct salsa from = start(key, middle), s = from;

	rounds(&s);
	for (unsigned i = 0; i < 16; i++)
		store(out + 4 * i, s.word[i] + from.word[i]);
	OPENSSL_cleanse(&s, sizeof(s));
	OPENSSL_cleanse(&from, sizeof(from));
}

/* ---- the box ---- */

static bool tag_fits(const uint8_t key[32], struct cf_view sealed, const uint8_t *tag)
{
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "POLY1305", NULL);
	EVP_MAC_CTX *ctx = mac ? EVP_MAC_CTX_new(mac) : NULL;
	uint8_t got[CF_SECRETBOX_TAG];
	size_t size = 0;
	bool ok = ctx && EVP_MAC_init(ctx, key, 32, NULL) == 1 &&
	          EVP_MAC_update(ctx, sealed.data, sealed.size) == 1 &&
	          EVP_MAC_final(ctx, got, &size, sizeof(got)) == 1 && size == sizeof(got);

	EVP_MAC_CTX_free(ctx);
	EVP_MAC_free(mac);
	return ok && CRYPTO_memcmp(got, tag, sizeof(got)) == 0;
}

/* The stream's first 32 bytes are the tag's key, the rest hides the content. */
static void reveal(const uint8_t key[32], const uint8_t nonce[8], struct cf_view sealed,
                   uint8_t *out)
{
	uint8_t stream[64];

	for (size_t i = 0; i < sealed.size; i++) {
		size_t at = i + 32;

		if (i == 0 || at % 64 == 0)
			block(key, nonce, at / 64, stream);
		out[i] = sealed.data[i] ^ stream[at % 64];
	}
	OPENSSL_cleanse(stream, sizeof(stream));
}

int cf_secretbox_open(const struct cf_secret *key, struct cf_view nonce, struct cf_view box,
                      struct cf_secret **ret, struct cf_err *err)
{
	struct cf_view sealed = cf_view_sub(box, CF_SECRETBOX_TAG, box.size);
	uint8_t own[32], first[64];
	int r = 0;

	if (cf_secret_view(key).size != CF_SECRETBOX_KEY || nonce.size != CF_SECRETBOX_NONCE ||
	    box.size <= CF_SECRETBOX_TAG)
		return cf_fail(err, CF_INVALID_ARGUMENT, "secretbox: sizes");
	hsalsa(cf_secret_view(key).data, nonce.data, own);
	block(own, nonce.data + 16, 0, first);
	if (!tag_fits(first, sealed, box.data))
		r = cf_fail(err, CF_DATA_LOSS, "secretbox: another key, or changed");
	if (r == 0)
		r = cf_secret_new(sealed.size, ret, err);
	if (r == 0)
		reveal(own, nonce.data + 16, sealed, cf_secret_data(*ret));
	OPENSSL_cleanse(own, sizeof(own));
	OPENSSL_cleanse(first, sizeof(first));
	return r;
}
