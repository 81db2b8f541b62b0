/* SPDX-License-Identifier: Apache-2.0 */
/* Digests and HMAC, in lower-case hex. MD5 is here because policies compare against old lists. */
#include "base/crypto.h"
#include "policy/builtin.h"
#include "policy/md5.h"

static const struct pv *hex(struct bcall *c, const uint8_t *digest, size_t size)
{
	char text[2 * CF_HASH_SIZE_MAX + 1];

	cf_hex_encode(cf_view(digest, size), text);
	return pv_cstr(c->arena, text);
}

static const struct pv *digest(struct bcall *c, const struct pv *const *a, enum cf_hash_alg alg)
{
	uint8_t out[CF_HASH_SIZE_MAX];
	struct cf_view s;

	if (!builtin_is_string(c, a, 1, &s))
		return NULL;
	cf_hash(alg, s, out);
	return hex(c, out, cf_hash_size(alg));
}

static const struct pv *bi_sha1(struct bcall *c, const struct pv *const *a)
{
	return digest(c, a, CF_SHA1);
}

static const struct pv *bi_sha256(struct bcall *c, const struct pv *const *a)
{
	return digest(c, a, CF_SHA256);
}

static const struct pv *bi_md5(struct bcall *c, const struct pv *const *a)
{
	uint8_t out[MD5_SIZE];
	struct cf_view s;

	if (!builtin_is_string(c, a, 1, &s))
		return NULL;
	md5(s, (struct cf_view){ 0 }, out);
	return hex(c, out, sizeof(out));
}

static const struct pv *hmac(struct bcall *c, const struct pv *const *a, enum cf_hash_alg alg)
{
	uint8_t out[CF_HASH_SIZE_MAX];
	struct cf_view s, key;

	if (!builtin_is_string(c, a, 1, &s) || !builtin_is_string(c, a, 2, &key))
		return NULL;
	cf_hmac(alg, key, s, out);
	return hex(c, out, cf_hash_size(alg));
}

static const struct pv *bi_hmac_sha1(struct bcall *c, const struct pv *const *a)
{
	return hmac(c, a, CF_SHA1);
}

static const struct pv *bi_hmac_sha256(struct bcall *c, const struct pv *const *a)
{
	return hmac(c, a, CF_SHA256);
}

static const struct pv *bi_hmac_sha512(struct bcall *c, const struct pv *const *a)
{
	return hmac(c, a, CF_SHA512);
}

static const struct pv *bi_hmac_md5(struct bcall *c, const struct pv *const *a)
{
	uint8_t key[64] = { 0 }, pad[64], inner[MD5_SIZE], out[MD5_SIZE];
	struct cf_view s, k;

	if (!builtin_is_string(c, a, 1, &s) || !builtin_is_string(c, a, 2, &k))
		return NULL;
	if (k.size > sizeof(key))
		md5(k, (struct cf_view){ 0 }, key);
	else if (k.size)
		memcpy(key, k.data, k.size);
	for (size_t i = 0; i < sizeof(pad); i++)
		pad[i] = key[i] ^ 0x36;
	md5(cf_view(pad, sizeof(pad)), s, inner);
	for (size_t i = 0; i < sizeof(pad); i++)
		pad[i] = key[i] ^ 0x5c;
	md5(cf_view(pad, sizeof(pad)), cf_view(inner, sizeof(inner)), out);
	return hex(c, out, sizeof(out));
}

static const struct pv *bi_hmac_equal(struct bcall *c, const struct pv *const *a)
{
	struct cf_view x, y;

	if (!builtin_is_string(c, a, 1, &x) || !builtin_is_string(c, a, 2, &y))
		return NULL;
	return pv_bool(cf_equal_ct(x, y));
}

const struct builtin builtins_digest[] = {
	{ "crypto.md5", 1, 0, bi_md5, "s" },
	{ "crypto.sha1", 1, 0, bi_sha1, "s" },
	{ "crypto.sha256", 1, 0, bi_sha256, "s" },
	{ "crypto.hmac.md5", 2, 0, bi_hmac_md5, "ss" },
	{ "crypto.hmac.sha1", 2, 0, bi_hmac_sha1, "ss" },
	{ "crypto.hmac.sha256", 2, 0, bi_hmac_sha256, "ss" },
	{ "crypto.hmac.sha512", 2, 0, bi_hmac_sha512, "ss" },
	{ "crypto.hmac.equal", 2, 0, bi_hmac_equal, "ss" },
	{ .name = NULL },
};
