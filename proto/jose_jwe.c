/* SPDX-License-Identifier: Apache-2.0 */
/* Algorithms of JWE, and writing. Reading is jose_jwe_open.c. */
#include "proto/jose_jwe.h"

#include "base/str.h"
#include "proto/jose_jwe_priv.h"
#include "proto/jose_jwk.h"

static const struct jwe_alg_row algs[JWE_ALG_COUNT] = {
	[JWE_RSA_OAEP] = { "RSA-OAEP", JWE_FAMILY_RSA, CF_RSA_OAEP_SHA1, 0 },
	[JWE_RSA_OAEP_256] = { "RSA-OAEP-256", JWE_FAMILY_RSA, CF_RSA_OAEP_SHA256, 0 },
	[JWE_RSA1_5] = { "RSA1_5", JWE_FAMILY_RSA, CF_RSA_PKCS1_V15, 0 },
	[JWE_ECDH_ES] = { "ECDH-ES", JWE_FAMILY_ECDH, 0, 0 },
	[JWE_ECDH_ES_A128KW] = { "ECDH-ES+A128KW", JWE_FAMILY_ECDH, 0, 16 },
	[JWE_ECDH_ES_A192KW] = { "ECDH-ES+A192KW", JWE_FAMILY_ECDH, 0, 24 },
	[JWE_ECDH_ES_A256KW] = { "ECDH-ES+A256KW", JWE_FAMILY_ECDH, 0, 32 },
};

static const struct jwe_enc_row encs[JWE_ENC_COUNT] = {
	[JWE_A128GCM] = { "A128GCM", 16, 12, 16, true, 0 },
	[JWE_A192GCM] = { "A192GCM", 24, 12, 16, true, 0 },
	[JWE_A256GCM] = { "A256GCM", 32, 12, 16, true, 0 },
	[JWE_A128CBC_HS256] = { "A128CBC-HS256", 32, 16, 16, false, CF_SHA256 },
	[JWE_A192CBC_HS384] = { "A192CBC-HS384", 48, 16, 24, false, CF_SHA384 },
	[JWE_A256CBC_HS512] = { "A256CBC-HS512", 64, 16, 32, false, CF_SHA512 },
};

const struct jwe_alg_row *jwe_alg_row(enum jwe_alg alg)
{
	return &algs[alg];
}

const struct jwe_enc_row *jwe_enc_row(enum jwe_enc enc)
{
	return &encs[enc];
}

const char *jwe_alg_name(enum jwe_alg alg)
{
	return algs[alg].name;
}

const char *jwe_enc_name(enum jwe_enc enc)
{
	return encs[enc].name;
}

int jwe_alg_parse(struct cf_view name, enum jwe_alg *ret, struct cf_err *err)
{
	for (int i = 0; i < JWE_ALG_COUNT; i++) {
		if (cf_view_eq_str(name, algs[i].name)) {
			*ret = (enum jwe_alg)i;
			return 0;
		}
	}
	return cf_fail(err, CF_UNIMPLEMENTED, "JWE: key algorithm \"%.*s\"",
	               (int)CF_MIN(name.size, 32u), (const char *)name.data);
}

bool jwe_key_fits(enum jwe_alg alg, const struct cf_pkey *key)
{
	enum cf_pkey_kind kind = cf_pkey_kind(key);

	if (algs[alg].family == JWE_FAMILY_RSA)
		return kind == CF_PKEY_RSA;
	return kind == CF_PKEY_EC_P256 || kind == CF_PKEY_EC_P384 || kind == CF_PKEY_EC_P521 ||
	       kind == CF_PKEY_X25519;
}

/* ---- key agreement ---- */

static void add_sized(struct cf_buf *b, struct cf_view v)
{
	cf_buf_add_u32be(b, (uint32_t)v.size);
	cf_buf_add_view(b, v);
}

static void concat_kdf(struct cf_view z, struct cf_view other, uint8_t *out, size_t size)
{
	uint8_t block[32];

	for (uint32_t round = 1; size; round++) {
		struct cf_buf in = { 0 };
		size_t n = CF_MIN(size, sizeof(block));

		cf_buf_add_u32be(&in, round);
		cf_buf_add_view(&in, z);
		cf_buf_add_view(&in, other);
		cf_sha256(cf_buf_view(&in), block);
		memcpy(out, block, n);
		cf_buf_wipe(&in);
		out += n;
		size -= n;
	}
	explicit_bzero(block, sizeof(block));
}

int jwe_agree(const struct cf_pkey *own, const struct cf_pkey *peer, const char *id,
              struct cf_view apu, struct cf_view apv, uint8_t *out, size_t size, struct cf_err *err)
{
	struct cf_buf z = { 0 }, other = { 0 };
	int r = cf_ecdh(own, peer, &z, err);

	if (r == 0) {
		add_sized(&other, cf_view_str(id));
		add_sized(&other, apu);
		add_sized(&other, apv);
		cf_buf_add_u32be(&other, (uint32_t)size * 8);
		r = cf_buf_check(&other, "JWE key agreement", err);
	}
	if (r == 0)
		concat_kdf(cf_buf_view(&z), cf_buf_view(&other), out, size);
	cf_buf_wipe(&z);
	cf_buf_fini(&other);
	return r;
}

/* ---- content ---- */

/* HMAC over aad ‖ iv ‖ cipher ‖ bits of aad; the first half is the tag (RFC 7518 §5.2). */
static void cbc_tag(const struct jwe_enc_row *enc, struct cf_view cek, struct cf_view iv,
                    struct cf_view aad, struct cf_view cipher, uint8_t *tag)
{
	cf_cleanup(cf_hasher_freep) struct cf_hasher *h =
		cf_hmac_new(enc->mac, cf_view_sub(cek, 0, enc->key_size / 2));
	struct cf_buf bits = { 0 };
	uint8_t full[CF_HASH_SIZE_MAX];

	cf_buf_add_u64be(&bits, (uint64_t)aad.size * 8);
	cf_hasher_add(h, aad);
	cf_hasher_add(h, iv);
	cf_hasher_add(h, cipher);
	cf_hasher_add(h, cf_buf_view(&bits));
	cf_hasher_final(h, full);
	memcpy(tag, full, enc->tag_size);
	cf_buf_fini(&bits);
}

int jwe_encrypt_content(const struct jwe_enc_row *enc, struct cf_view cek, struct cf_view iv,
                        struct cf_view aad, struct cf_view plain, struct cf_buf *cipher,
                        uint8_t *tag, struct cf_err *err)
{
	if (enc->is_gcm)
		return cf_aes_gcm_seal(cek, iv, aad, plain, cipher, tag, err);
	int r = cf_aes_cbc(true, cf_view_sub(cek, enc->key_size / 2, enc->key_size), iv, plain,
	                   cipher, err);
	if (r == 0)
		cbc_tag(enc, cek, iv, aad, cf_buf_view(cipher), tag);
	return r;
}

int jwe_decrypt_content(const struct jwe_enc_row *enc, struct cf_view cek, struct cf_view iv,
                        struct cf_view aad, struct cf_view cipher, struct cf_view tag,
                        struct cf_buf *plain, struct cf_err *err)
{
	uint8_t want[CF_HASH_SIZE_MAX];

	if (enc->is_gcm)
		return cf_aes_gcm_open(cek, iv, aad, cipher, tag, plain, err);
	cbc_tag(enc, cek, iv, aad, cipher, want);
	if (!cf_equal_ct(cf_view(want, enc->tag_size), tag))
		return cf_fail(err, CF_DATA_LOSS, "the tag does not fit");
	return cf_aes_cbc(false, cf_view_sub(cek, enc->key_size / 2, enc->key_size), iv, cipher,
	                  plain, err);
}

/* ---- sealing ---- */

struct sealed_key {
	struct cf_buf epk;     /* JSON, empty for RSA */
	struct cf_buf wrapped; /* empty for JWE_ECDH_ES */
};

static void sealed_key_fini(struct sealed_key *s)
{
	cf_buf_fini(&s->epk);
	cf_buf_fini(&s->wrapped);
}

/* @cek: in for key wrapping, out for direct agreement. */
static int seal_key_ecdh(const struct jwe_recipient *to, const struct jwe_enc_row *enc,
                         uint8_t *cek, struct sealed_key *s, struct cf_err *err)
{
	const struct jwe_alg_row *alg = &algs[to->alg];
	cf_cleanup(cf_pkey_freep) struct cf_pkey *eph = NULL;
	uint8_t kek[JWE_KEY_SIZE_MAX];
	struct cf_view none = { 0 };
	int r = cf_pkey_generate(cf_pkey_kind(to->key), 0, &eph, err);

	if (r == 0)
		r = jwk_print_sorted(eph, &s->epk, err);
	if (r < 0)
		return r;
	if (!alg->kek_size)
		return jwe_agree(eph, to->key, enc->name, none, none, cek, enc->key_size, err);
	r = jwe_agree(eph, to->key, alg->name, none, none, kek, alg->kek_size, err);
	if (r == 0)
		r = cf_aes_wrap(cf_view(kek, alg->kek_size), cf_view(cek, enc->key_size),
		                &s->wrapped, err);
	explicit_bzero(kek, sizeof(kek));
	return r;
}

static int seal_key(const struct jwe_recipient *to, const struct jwe_enc_row *enc, uint8_t *cek,
                    struct sealed_key *s, struct cf_err *err)
{
	const struct jwe_alg_row *alg = &algs[to->alg];

	if (!jwe_key_fits(to->alg, to->key))
		return cf_fail(err, CF_INVALID_ARGUMENT, "JWE: the key is not one for %s",
		               alg->name);
	if (to->alg == JWE_RSA1_5)
		return cf_fail(err, CF_INVALID_ARGUMENT, "JWE: RSA1_5 is never written");
	if (alg->family == JWE_FAMILY_ECDH)
		return seal_key_ecdh(to, enc, cek, s, err);
	if (cf_pkey_bits(to->key) < JWK_RSA_BITS_MIN)
		return cf_fail(err, CF_INVALID_ARGUMENT, "JWE: RSA key of %zu bits, want %u",
		               cf_pkey_bits(to->key), JWK_RSA_BITS_MIN);
	return cf_rsa_encrypt(to->key, alg->padding, (struct cf_view){ 0 },
	                      cf_view(cek, enc->key_size), &s->wrapped, err);
}

/* {"alg","enc","epk","kid"}, each only where given. */
static void print_header(struct cf_buf *b, const struct jwe_recipient *to, const char *enc,
                         const struct sealed_key *s)
{
	struct cf_jw w = { .out = b };

	cf_jw_obj(&w);
	if (to)
		cf_jw_kstr(&w, "alg", jwe_alg_name(to->alg));
	if (enc)
		cf_jw_kstr(&w, "enc", enc);
	if (s && s->epk.size) {
		cf_jw_key(&w, "epk");
		cf_jw_raw(&w, cf_buf_view(&s->epk));
	}
	if (to && to->kid)
		cf_jw_kstr(&w, "kid", to->kid);
	cf_jw_end_obj(&w);
}

struct sealing {
	const struct jwe_enc_row *enc;
	const struct jwe_recipient *to;
	size_t count;
	struct sealed_key *keys;
	uint8_t cek[JWE_KEY_SIZE_MAX];
	uint8_t iv[16];
	uint8_t tag[CF_HASH_SIZE_MAX];
	struct cf_buf protected; /* b64url text: also the additional data */
	struct cf_buf cipher;
};

static void sealing_fini(struct sealing *s)
{
	for (size_t i = 0; s->keys && i < s->count; i++)
		sealed_key_fini(&s->keys[i]);
	free(s->keys);
	explicit_bzero(s->cek, sizeof(s->cek));
	cf_buf_fini(&s->protected);
	cf_buf_fini(&s->cipher);
}

static void kb64(struct cf_jw *w, const char *key, struct cf_view v)
{
	cf_jw_key(w, key);
	cf_jw_b64(w, CF_B64_URL, v);
}

static void print_recipients(struct cf_jw *w, const struct sealing *s)
{
	cf_jw_key(w, "recipients");
	cf_jw_arr(w);
	for (size_t i = 0; i < s->count; i++) {
		struct cf_buf header = { 0 };

		print_header(&header, &s->to[i], NULL, &s->keys[i]);
		cf_jw_obj(w);
		cf_jw_key(w, "header");
		cf_jw_raw(w, cf_buf_view(&header));
		if (s->keys[i].wrapped.size)
			kb64(w, "encrypted_key", cf_buf_view(&s->keys[i].wrapped));
		cf_jw_end_obj(w);
		cf_buf_fini(&header);
	}
	cf_jw_end_arr(w);
}

static void print_json(const struct sealing *s, enum jwe_form form, struct cf_buf *out)
{
	struct cf_jw w = { .out = out };

	cf_jw_obj(&w);
	cf_jw_kview(&w, "protected", cf_buf_view(&s->protected));
	if (form == JWE_GENERAL)
		print_recipients(&w, s);
	else if (s->keys[0].wrapped.size)
		kb64(&w, "encrypted_key", cf_buf_view(&s->keys[0].wrapped));
	kb64(&w, "iv", cf_view(s->iv, s->enc->iv_size));
	kb64(&w, "ciphertext", cf_buf_view(&s->cipher));
	kb64(&w, "tag", cf_view(s->tag, s->enc->tag_size));
	cf_jw_end_obj(&w);
}

static void print_compact(const struct sealing *s, struct cf_buf *out)
{
	const struct cf_view parts[] = {
		cf_buf_view(&s->keys[0].wrapped),
		cf_view(s->iv, s->enc->iv_size),
		cf_buf_view(&s->cipher),
		cf_view(s->tag, s->enc->tag_size),
	};

	cf_buf_add_view(out, cf_buf_view(&s->protected));
	for (size_t i = 0; i < CF_ARRAY_LEN(parts); i++) {
		cf_buf_add_byte(out, '.');
		cf_b64_encode(CF_B64_URL, parts[i], out);
	}
}

static int seal_all(struct sealing *s, enum jwe_form form, struct cf_view plain, struct cf_err *err)
{
	struct cf_buf header = { 0 };
	int r = 0;

	cf_random(s->cek, s->enc->key_size);
	cf_random(s->iv, s->enc->iv_size);
	for (size_t i = 0; r == 0 && i < s->count; i++)
		r = seal_key(&s->to[i], s->enc, s->cek, &s->keys[i], err);
	if (r < 0)
		return r;
	if (form == JWE_GENERAL)
		print_header(&header, NULL, s->enc->name, NULL);
	else
		print_header(&header, &s->to[0], s->enc->name, &s->keys[0]);
	cf_b64_encode(CF_B64_URL, cf_buf_view(&header), &s->protected);
	cf_buf_fini(&header);
	return jwe_encrypt_content(s->enc, cf_view(s->cek, s->enc->key_size),
	                           cf_view(s->iv, s->enc->iv_size), cf_buf_view(&s->protected),
	                           plain, &s->cipher, s->tag, err);
}

int jwe_seal(enum jwe_form form, enum jwe_enc enc, const struct jwe_recipient *to, size_t count,
             struct cf_view plain, struct cf_buf *ret, struct cf_err *err)
{
	struct sealing s = { .enc = &encs[enc], .to = to, .count = count };
	int r;

	if (count == 0 || count > JWE_RECIPIENTS_MAX || (form != JWE_GENERAL && count != 1))
		return cf_fail(err, CF_INVALID_ARGUMENT, "JWE: %zu recipients", count);
	for (size_t i = 0; i < count; i++)
		if (to[i].alg == JWE_ECDH_ES && count > 1)
			return cf_fail(err, CF_INVALID_ARGUMENT,
			               "JWE: ECDH-ES stands alone or not at all");
	if (plain.size > JWE_TEXT_MAX / 2)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED,
		               "JWE: %zu bytes of plaintext, at most %u", plain.size,
		               JWE_TEXT_MAX / 2);
	s.keys = cf_zalloc_n(count, sizeof(s.keys[0]));
	r = seal_all(&s, form, plain, err);
	if (r == 0 && form == JWE_COMPACT)
		print_compact(&s, ret);
	else if (r == 0)
		print_json(&s, form, ret);
	if (r == 0)
		r = cf_buf_check(ret, "JWE", err);
	sealing_fini(&s);
	return r < 0 ? cf_wrap(err, r, "JWE") : 0;
}
