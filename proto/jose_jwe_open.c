/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a JWE: the three forms become one struct of borrowed texts, then each recipient is tried
 * with each key that fits it.
 */
#include "base/str.h"
#include "proto/jose_jwe.h"
#include "proto/jose_jwe_priv.h"
#include "proto/jose_jwk.h"

struct message {
	struct cf_json *root;     /* JSON forms: owns the texts below */
	struct cf_view protected; /* b64url text as received */
	struct cf_json *header;   /* protected, parsed; NULL when there is none */
	const struct cf_json *unprotected;
	const struct cf_json *recipients; /* general form, else NULL */
	const struct cf_json *single;     /* flattened form: holds "header" */
	struct cf_view encrypted_key;     /* compact and flattened: b64url text */
	struct cf_view aad_text;          /* member "aad": b64url text as received */
	bool has_aad;
	struct cf_buf iv;
	struct cf_buf cipher;
	struct cf_buf tag;
};

static void message_fini(struct message *m)
{
	cf_json_free(m->header);
	cf_json_free(m->root);
	cf_buf_fini(&m->iv);
	cf_buf_fini(&m->cipher);
	cf_buf_fini(&m->tag);
}

static int decode(struct cf_view text, const char *what, struct cf_buf *ret, struct cf_err *err)
{
	ret->max = JWE_TEXT_MAX;
	int r = cf_b64_decode(CF_B64_URL, text, ret, err);

	return r < 0 ? cf_wrap(err, r, "%s", what) : 0;
}

static int parse_protected(struct message *m, struct cf_err *err)
{
	struct cf_buf text = { 0 };
	int r;

	if (!m->protected.size)
		return 0;
	r = decode(m->protected, "protected", &text, err);
	if (r == 0)
		r = cf_json_parse(cf_buf_view(&text), 0, &m->header, err);
	if (r == 0 && cf_json_type(m->header) != CF_JSON_OBJECT)
		r = cf_fail(err, CF_INVALID_ARGUMENT, "not an object");
	cf_buf_fini(&text);
	return r < 0 ? cf_wrap(err, r, "protected header") : 0;
}

static int parse_compact(struct message *m, struct cf_view text, struct cf_err *err)
{
	struct cf_view part[5] = { 0 };
	int r;

	for (int i = 0; i < 4; i++) {
		ssize_t dot = cf_view_find(text, '.');

		if (dot < 0)
			return cf_fail(err, CF_INVALID_ARGUMENT, "want five parts");
		part[i] = cf_view_sub(text, 0, (size_t)dot);
		text = cf_view_sub(text, (size_t)dot + 1, text.size);
	}
	part[4] = text;
	m->protected = part[0];
	m->encrypted_key = part[1];
	r = decode(part[2], "iv", &m->iv, err);
	if (r == 0)
		r = decode(part[3], "ciphertext", &m->cipher, err);
	if (r == 0)
		r = decode(part[4], "tag", &m->tag, err);
	return r;
}

static int opt_object(const struct cf_json *obj, const char *key, const struct cf_json **ret,
                      struct cf_err *err)
{
	*ret = cf_json_get(obj, key);
	if (*ret && cf_json_type(*ret) != CF_JSON_OBJECT)
		return cf_fail(err, CF_INVALID_ARGUMENT, "%s: not an object", key);
	return 0;
}

static int member_b64(const struct cf_json *obj, const char *key, struct cf_buf *ret,
                      struct cf_err *err)
{
	struct cf_view text = { 0 };
	int r = cf_json_opt_str(obj, key, &text, err);

	return r < 0 ? r : decode(text, key, ret, err);
}

/*
 * go-jose writes the first recipient's key once more beside the list of recipients: that, to the
 * letter, is no second opinion. Anything else is.
 */
static bool mixes_forms(const struct message *m)
{
	const struct cf_json *twice = cf_json_get(m->root, "encrypted_key");
	const struct cf_json *first = cf_json_get(cf_json_at(m->recipients, 0), "encrypted_key");

	if (cf_json_get(m->root, "header"))
		return true;
	return twice &&
	       (cf_json_type(twice) != CF_JSON_STRING || cf_json_type(first) != CF_JSON_STRING ||
	        !cf_view_eq(cf_json_str(twice), cf_json_str(first)));
}

static int parse_json(struct message *m, struct cf_view text, struct cf_err *err)
{
	int r = cf_json_parse(text, JWE_TEXT_MAX, &m->root, err);

	if (r < 0)
		return r;
	m->has_aad = cf_json_get(m->root, "aad") != NULL;
	m->recipients = cf_json_get(m->root, "recipients");
	if (m->recipients && mixes_forms(m))
		return cf_fail(err, CF_INVALID_ARGUMENT, "flattened and general form at once");
	if (m->recipients && (cf_json_type(m->recipients) != CF_JSON_ARRAY ||
	                      cf_json_len(m->recipients) > JWE_RECIPIENTS_MAX))
		return cf_fail(err, CF_INVALID_ARGUMENT, "recipients: want an array of at most %u",
		               JWE_RECIPIENTS_MAX);
	m->single = m->recipients ? NULL : m->root;
	r = cf_json_opt_str(m->root, "protected", &m->protected, err);
	if (r == 0)
		r = cf_json_opt_str(m->root, "encrypted_key", &m->encrypted_key, err);
	if (r == 0)
		r = cf_json_opt_str(m->root, "aad", &m->aad_text, err);
	if (r == 0)
		r = opt_object(m->root, "unprotected", &m->unprotected, err);
	if (r == 0)
		r = member_b64(m->root, "iv", &m->iv, err);
	if (r == 0)
		r = member_b64(m->root, "ciphertext", &m->cipher, err);
	if (r == 0)
		r = member_b64(m->root, "tag", &m->tag, err);
	return r;
}

static int message_parse(struct message *m, struct cf_view text, struct cf_err *err)
{
	size_t skip = 0;
	int r;

	while (skip < text.size && strchr(" \t\r\n", text.data[skip]) && text.data[skip])
		skip++;
	if (skip < text.size && text.data[skip] == '{')
		r = parse_json(m, text, err);
	else
		r = parse_compact(m, text, err);
	return r < 0 ? r : parse_protected(m, err);
}

/* ---- headers of one recipient: three objects whose names must not meet ---- */

struct joined {
	const struct cf_json *part[3]; /* protected, unprotected, per recipient; NULL when absent */
};

static const struct cf_json *joined_get(const struct joined *h, const char *key)
{
	const struct cf_json *found = NULL;

	for (size_t i = 0; i < 3 && !found; i++)
		found = h->part[i] ? cf_json_get(h->part[i], key) : NULL;
	return found;
}

static int check_disjoint(const struct cf_json *a, const struct cf_json *b, struct cf_err *err)
{
	const struct cf_json *v;
	const char *key;
	void *it = NULL;

	if (!a || !b)
		return 0;
	while (cf_json_next(a, &it, &key, &v))
		if (cf_json_get(b, key))
			return cf_fail(err, CF_INVALID_ARGUMENT, "header \"%s\" stands twice", key);
	return 0;
}

static int joined_check(const struct joined *h, struct cf_err *err)
{
	static const char *const refused[] = { "crit", "zip" };
	int r = check_disjoint(h->part[0], h->part[1], err);

	if (r == 0)
		r = check_disjoint(h->part[0], h->part[2], err);
	if (r == 0)
		r = check_disjoint(h->part[1], h->part[2], err);
	for (size_t i = 0; r == 0 && i < CF_ARRAY_LEN(refused); i++)
		if (joined_get(h, refused[i]))
			r = cf_fail(err, CF_UNIMPLEMENTED, "header \"%s\"", refused[i]);
	return r;
}

static int find_enc(const struct joined *h, const struct jwe_enc_row **ret, struct cf_err *err)
{
	struct cf_view name = cf_json_str(joined_get(h, "enc"));

	for (int i = 0; i < JWE_ENC_COUNT; i++) {
		if (cf_view_eq_str(name, jwe_enc_name((enum jwe_enc)i))) {
			*ret = jwe_enc_row((enum jwe_enc)i);
			return 0;
		}
	}
	return cf_fail(err, CF_UNIMPLEMENTED, "content encryption \"%.*s\"",
	               (int)CF_MIN(name.size, 32u), (const char *)name.data);
}

/* ---- the content key ---- */

static int party(const struct joined *h, const char *key, struct cf_buf *ret, struct cf_err *err)
{
	struct cf_view text = cf_json_str(joined_get(h, key));

	ret->max = JWE_PARTY_MAX;
	int r = cf_b64_decode(CF_B64_URL, text, ret, err);
	return r < 0 ? cf_wrap(err, r, "%s", key) : 0;
}

static int agree(const struct joined *h, const struct cf_pkey *key, const char *id, uint8_t *out,
                 size_t size, struct cf_err *err)
{
	cf_cleanup(jwk_freep) struct jwk *epk = NULL;
	struct cf_buf apu = { 0 }, apv = { 0 };
	int r = jwk_parse(joined_get(h, "epk"), &epk, err);

	if (r < 0)
		return cf_wrap(err, r, "epk");
	if (cf_pkey_kind(epk->key) != cf_pkey_kind(key))
		return cf_fail(err, CF_NOT_FOUND, "epk is on another curve than the key");
	r = party(h, "apu", &apu, err);
	if (r == 0)
		r = party(h, "apv", &apv, err);
	if (r == 0)
		r = jwe_agree(key, epk->key, id, cf_buf_view(&apu), cf_buf_view(&apv), out, size,
		              err);
	cf_buf_fini(&apu);
	cf_buf_fini(&apv);
	return r;
}

static int open_key_ecdh(const struct joined *h, const struct jwe_alg_row *alg,
                         const struct jwe_enc_row *enc, const struct cf_pkey *key,
                         struct cf_view wrapped, struct cf_buf *cek, struct cf_err *err)
{
	uint8_t agreed[JWE_KEY_SIZE_MAX];
	size_t size = alg->kek_size ? alg->kek_size : enc->key_size;
	int r = agree(h, key, alg->kek_size ? alg->name : enc->name, agreed, size, err);

	if (r == 0 && alg->kek_size) {
		r = cf_aes_unwrap(cf_view(agreed, size), wrapped, cek, err);
		if (r < 0)
			r = cf_fail(err, CF_DATA_LOSS,
			            "the wrapped key does not open with this key");
	} else if (r == 0 && wrapped.size) {
		r = cf_fail(err, CF_INVALID_ARGUMENT, "ECDH-ES with an encrypted key");
	} else if (r == 0) {
		cf_buf_add(cek, agreed, size);
	}
	explicit_bzero(agreed, sizeof(agreed));
	return r;
}

/*
 * With RSA1_5 whether the padding was right must not show: a random key takes the place of a bad one
 * and the content's tag decides (RFC 7516 §11.5).
 */
static int open_key_rsa15(const struct jwe_enc_row *enc, const struct cf_pkey *key,
                          struct cf_view wrapped, struct cf_buf *cek)
{
	uint8_t random[JWE_KEY_SIZE_MAX];
	int r = cf_rsa_decrypt(key, CF_RSA_PKCS1_V15, (struct cf_view){ 0 }, wrapped, cek, NULL);

	cf_random(random, sizeof(random));
	if (r < 0 || cek->size != enc->key_size) {
		cf_buf_wipe(cek);
		cf_buf_add(cek, random, enc->key_size);
	}
	return 0;
}

static int open_key(const struct joined *h, enum jwe_alg id, const struct jwe_enc_row *enc,
                    const struct cf_pkey *key, struct cf_view wrapped, struct cf_buf *cek,
                    struct cf_err *err)
{
	const struct jwe_alg_row *alg = jwe_alg_row(id);
	int r;

	if (alg->family == JWE_FAMILY_ECDH)
		r = open_key_ecdh(h, alg, enc, key, wrapped, cek, err);
	else if (id == JWE_RSA1_5)
		r = open_key_rsa15(enc, key, wrapped, cek);
	else if (cf_rsa_decrypt(key, alg->padding, (struct cf_view){ 0 }, wrapped, cek, NULL) < 0)
		r = cf_fail(err, CF_DATA_LOSS, "the wrapped key does not open with this key");
	else
		r = 0;
	if (r == 0 && cek->size != enc->key_size)
		r = cf_fail(err, CF_DATA_LOSS, "content key of %zu bytes, %s wants %zu", cek->size,
		            enc->name, enc->key_size);
	return r;
}

/* ---- the content ---- */

static void add_aad(const struct message *m, struct cf_view protected, struct cf_buf *aad)
{
	cf_buf_add_view(aad, protected);
	if (m->has_aad) {
		cf_buf_add_byte(aad, '.');
		cf_buf_add_view(aad, m->aad_text);
	}
}

static void print_member(struct cf_jw *w, const struct cf_json *header, const char *key)
{
	struct cf_buf text = { 0 };

	if (!cf_json_get(header, key))
		return;
	cf_json_print_sorted(cf_json_get(header, key), &text);
	cf_jw_key(w, key);
	cf_jw_raw(w, cf_buf_view(&text));
	cf_buf_fini(&text);
}

/* The protected header as one known server authenticates it: alg, enc, then the rest sorted. */
static void reorder(const struct cf_json *header, struct cf_buf *out)
{
	static const char *const rest[] = { "apu", "apv", "cty", "ek", "epk", "kid", "typ" };
	struct cf_buf text = { 0 };
	struct cf_jw w = { .out = &text };

	cf_jw_obj(&w);
	print_member(&w, header, "alg");
	print_member(&w, header, "enc");
	for (size_t i = 0; i < CF_ARRAY_LEN(rest); i++)
		print_member(&w, header, rest[i]);
	cf_jw_end_obj(&w);
	cf_b64_encode(CF_B64_URL, cf_buf_view(&text), out);
	cf_buf_fini(&text);
}

static int open_content(const struct message *m, const struct jwe_enc_row *enc, struct cf_view cek,
                        unsigned flags, struct cf_buf *plain, struct cf_err *err)
{
	struct cf_buf aad = { .max = JWE_TEXT_MAX }, again = { 0 };
	int r;

	add_aad(m, m->protected, &aad);
	r = jwe_decrypt_content(enc, cek, cf_buf_view(&m->iv), cf_buf_view(&aad),
	                        cf_buf_view(&m->cipher), cf_buf_view(&m->tag), plain, err);
	if (r == -CF_DATA_LOSS && (flags & JWE_RETRY_REORDERED) && m->header) {
		reorder(m->header, &again);
		cf_buf_reset(&aad);
		add_aad(m, cf_buf_view(&again), &aad);
		r = jwe_decrypt_content(enc, cek, cf_buf_view(&m->iv), cf_buf_view(&aad),
		                        cf_buf_view(&m->cipher), cf_buf_view(&m->tag), plain, err);
	}
	cf_buf_fini(&again);
	cf_buf_fini(&aad);
	return r;
}

static int check_sizes(const struct message *m, const struct jwe_enc_row *enc, struct cf_err *err)
{
	if (m->iv.size != enc->iv_size || m->tag.size != enc->tag_size)
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "iv of %zu and tag of %zu bytes, %s wants %zu "
		               "and %zu",
		               m->iv.size, m->tag.size, enc->name, enc->iv_size, enc->tag_size);
	return 0;
}

static int try_key(const struct message *m, const struct joined *h, enum jwe_alg alg,
                   struct cf_view wrapped, const struct cf_pkey *key, unsigned flags,
                   struct cf_buf *plain, struct cf_err *err)
{
	const struct jwe_enc_row *enc;
	struct cf_buf cek = { 0 };
	int r = find_enc(h, &enc, err);

	if (r == 0)
		r = check_sizes(m, enc, err);
	if (r == 0)
		r = open_key(h, alg, enc, key, wrapped, &cek, err);
	if (r == 0)
		r = open_content(m, enc, cf_buf_view(&cek), flags, plain, err);
	cf_buf_wipe(&cek);
	return r;
}

struct opening {
	const struct cf_pkey *const *keys;
	size_t key_count;
	unsigned flags;
	struct cf_buf *plain;
};

/* One recipient with every key that fits. -CF_NOT_FOUND: none did. */
static int try_recipient(const struct message *m, const struct cf_json *own_header,
                         struct cf_view encrypted_key, const struct opening *o, struct cf_err *err)
{
	struct joined h = { { m->header, m->unprotected, own_header } };
	struct cf_buf wrapped = { 0 };
	enum jwe_alg alg;
	int r = joined_check(&h, err);

	if (r == 0)
		r = jwe_alg_parse(cf_json_str(joined_get(&h, "alg")), &alg, err);
	if (r == 0 && alg == JWE_RSA1_5 && !(o->flags & JWE_ALLOW_RSA1_5))
		r = cf_fail(err, CF_UNIMPLEMENTED, "RSA1_5 is not accepted");
	if (r == 0)
		r = decode(encrypted_key, "encrypted_key", &wrapped, err);
	if (r == 0)
		r = cf_fail(err, CF_NOT_FOUND, "no key for %s here", jwe_alg_name(alg));
	for (size_t i = 0; (r == -CF_NOT_FOUND || r == -CF_DATA_LOSS) && i < o->key_count; i++)
		if (jwe_key_fits(alg, o->keys[i]))
			r = try_key(m, &h, alg, cf_buf_view(&wrapped), o->keys[i], o->flags,
			            o->plain, err);
	cf_buf_fini(&wrapped);
	return r;
}

/* The most telling of several failures: a key that fitted and did not open over one that was missing. */
static bool tells_more(int a, int b)
{
	return b == -CF_NOT_FOUND || (b == -CF_UNIMPLEMENTED && a == -CF_DATA_LOSS);
}

static int try_recipients(const struct message *m, const struct opening *o, struct cf_err *err)
{
	struct cf_err one;
	int r = cf_fail(err, CF_NOT_FOUND, "no recipient");

	for (size_t i = 0; r < 0 && i < cf_json_len(m->recipients); i++) {
		const struct cf_json *rec = cf_json_at(m->recipients, i), *header;
		struct cf_view encrypted_key = { 0 };
		int r1 = opt_object(rec, "header", &header, &one);

		if (r1 == 0)
			r1 = cf_json_opt_str(rec, "encrypted_key", &encrypted_key, &one);
		if (r1 == 0)
			r1 = try_recipient(m, header, encrypted_key, o, &one);
		if (r1 == 0)
			return 0;
		if (tells_more(r1, r)) {
			r = r1;
			if (err)
				*err = one;
		}
	}
	return r;
}

int jwe_open(struct cf_view text, const struct cf_pkey *const *keys, size_t key_count,
             unsigned flags, struct cf_buf *plain, struct cf_err *err)
{
	const struct opening o = { keys, key_count, flags, plain };
	const struct cf_json *header = NULL;
	struct message m = { 0 };
	int r;

	if (text.size > JWE_TEXT_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "JWE of %zu bytes, at most %u",
		               text.size, JWE_TEXT_MAX);
	r = message_parse(&m, text, err);
	if (r == 0 && m.recipients) {
		r = try_recipients(&m, &o, err);
	} else if (r == 0) {
		r = m.single ? opt_object(m.single, "header", &header, err) : 0;
		if (r == 0)
			r = try_recipient(&m, header, m.encrypted_key, &o, err);
	}
	message_fini(&m);
	return r < 0 ? cf_wrap(err, r, "JWE") : 0;
}
