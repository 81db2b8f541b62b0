/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/ocicrypt.h"

#include "base/json.h"
#include "proto/jose_jwe.h"
#include "proto/ocicrypt_packet.h"

#define CIPHER "AES_256_CTR_HMAC_SHA256"

#define NO_KEY                                                                                     \
	"Failed to decrypt the image layer, please ensure that the decryption key is placed and "  \
	"correct"

/* ---- options ---- */

static int need_bytes(const struct cf_json *obj, const char *key, uint8_t *out, size_t size,
                      struct cf_err *err)
{
	struct cf_buf b = { .max = OCICRYPT_OPTIONS_MAX };
	int r = cf_json_need_b64(obj, key, CF_B64_STD, &b, err);

	if (r == 0 && b.size != size)
		r = cf_fail(err, CF_INVALID_ARGUMENT, "%s is not %zu bytes", key, size);
	if (r == 0)
		memcpy(out, b.data, size);
	cf_buf_wipe(&b);
	return r;
}

/* cipheroptions may be null or absent; nonce may stand in either document, but only one of it. */
static int read_nonce(const struct cf_json *obj, uint8_t out[OCICRYPT_NONCE_SIZE], bool *found,
                      struct cf_err *err)
{
	const struct cf_json *options = cf_json_get(obj, "cipheroptions");
	uint8_t nonce[OCICRYPT_NONCE_SIZE];

	if (!cf_json_get(options, "nonce"))
		return 0;
	int r = need_bytes(options, "nonce", nonce, sizeof(nonce), err);

	if (r < 0)
		return r;
	if (*found && memcmp(out, nonce, sizeof(nonce)) != 0)
		return cf_fail(err, CF_INVALID_ARGUMENT, "two nonces that differ");
	memcpy(out, nonce, sizeof(nonce));
	*found = true;
	return 0;
}

static int read_private(const struct cf_json *root, struct ocicrypt_options *o, bool *has_nonce,
                        struct cf_err *err)
{
	struct cf_view digest = { 0 };
	int r = cf_secret_new(OCICRYPT_KEY_SIZE, &o->key, err);

	if (r == 0)
		r = need_bytes(root, "symkey", cf_secret_data(o->key), OCICRYPT_KEY_SIZE, err);
	if (r == 0)
		r = cf_json_opt_str(root, "digest", &digest, err);
	if (r == 0 && digest.size > 0)
		r = oci_digest_parse(digest, &o->plain_digest, err);
	if (r == 0)
		r = read_nonce(root, o->nonce, has_nonce, err);
	return r;
}

/* @text: private options as they came out of a packet. */
static int parse_private(struct cf_view text, struct ocicrypt_options *o, bool *has_nonce,
                         struct cf_err *err)
{
	cf_cleanup(cf_json_freep) struct cf_json *root = NULL;
	int r = cf_json_parse(text, OCICRYPT_OPTIONS_MAX, &root, err);

	if (r == 0)
		r = read_private(root, o, has_nonce, err);
	return r < 0 ? cf_wrap(err, r, "private options") : 0;
}

static int parse_public(const char *annotation, struct ocicrypt_options *o, bool *has_nonce,
                        struct cf_err *err)
{
	cf_cleanup(cf_json_freep) struct cf_json *root = NULL;
	struct cf_buf text = { .max = OCICRYPT_OPTIONS_MAX };
	struct cf_view cipher = { 0 };
	int r = cf_b64_decode(CF_B64_STD, cf_view_str(annotation), &text, err);

	if (r == 0)
		r = cf_json_parse(cf_buf_view(&text), OCICRYPT_OPTIONS_MAX, &root, err);
	if (r == 0)
		r = cf_json_need_str(root, "cipher", &cipher, err);
	if (r == 0 && !cf_view_eq_str(cipher, CIPHER))
		r = cf_fail(err, CF_INVALID_ARGUMENT, "cipher is not " CIPHER);
	if (r == 0)
		r = need_bytes(root, "hmac", o->hmac, sizeof(o->hmac), err);
	if (r == 0)
		r = read_nonce(root, o->nonce, has_nonce, err);
	cf_buf_fini(&text);
	return r < 0 ? cf_wrap(err, r, "public options") : 0;
}

/* ---- unwrapping ---- */

struct attempt {
	const struct ocicrypt_keys *keys;
	struct ocicrypt_options *ret;
	bool has_nonce;
	bool opened;
	/* why it did not work, the most telling reason kept */
	int worst;
	struct cf_err why;
	const char *foreign; /* a scheme we do not speak, when one was seen; borrowed */
};

/* A key that could not be fetched says more than a packet that was not for us. */
static void remember(struct attempt *a, int r, const struct cf_err *err)
{
	bool from_source = r != -CF_NOT_FOUND && r != -CF_DATA_LOSS && r != -CF_PERMISSION_DENIED &&
	                   r != -CF_INVALID_ARGUMENT;

	if (a->worst == 0 || from_source) {
		a->worst = r;
		a->why = *err;
	}
}

static int open_packet(struct attempt *a, bool is_jwe, struct cf_view packet, struct cf_buf *plain,
                       struct cf_err *err)
{
	if (!is_jwe)
		return ocicrypt_packet_open(packet, a->keys, plain, err);
	if (a->keys->pkey_count == 0)
		return cf_fail(err, CF_NOT_FOUND, "no private key was given");
	return jwe_open(packet, a->keys->pkeys, a->keys->pkey_count, 0, plain, err);
}

static void try_packet(struct attempt *a, bool is_jwe, struct cf_view encoded)
{
	struct cf_buf packet = { .max = OCICRYPT_VALUE_MAX };
	struct cf_buf plain = { .max = OCICRYPT_OPTIONS_MAX };
	struct ocicrypt_options o = { 0 };
	bool has_nonce = a->has_nonce;
	struct cf_err err;

	memcpy(o.nonce, a->ret->nonce, sizeof(o.nonce));
	int r = cf_b64_decode(CF_B64_STD, encoded, &packet, &err);

	if (r == 0)
		r = open_packet(a, is_jwe, cf_buf_view(&packet), &plain, &err);
	if (r == 0)
		r = parse_private(cf_buf_view(&plain), &o, &has_nonce, &err);
	if (r == 0 && !has_nonce)
		r = cf_fail(&err, CF_INVALID_ARGUMENT, "no nonce");
	cf_buf_fini(&packet);
	cf_buf_wipe(&plain);
	if (r < 0) {
		remember(a, r, &err);
		ocicrypt_options_fini(&o);
		return;
	}
	memcpy(o.hmac, a->ret->hmac, sizeof(o.hmac));
	*a->ret = o;
	a->opened = true;
}

static void try_annotation(struct attempt *a, const char *scheme, const char *value)
{
	struct cf_view rest = cf_view_str(value);
	bool is_jwe = strcmp(scheme, "jwe") == 0;

	if (!is_jwe && !cf_starts_with(scheme, "provider.")) {
		a->foreign = scheme;
		return;
	}
	for (unsigned n = 0; n < OCICRYPT_PACKETS_MAX && !a->opened; n++) {
		ssize_t comma = cf_view_find(rest, ',');

		try_packet(a, is_jwe, cf_view_sub(rest, 0, comma < 0 ? rest.size : (size_t)comma));
		if (comma < 0)
			return;
		rest = cf_view_sub(rest, (size_t)comma + 1, SIZE_MAX);
	}
}

/* Local keys first: they cost nothing and tell nobody. Then our provider, then any other. */
static void try_all(struct attempt *a, const struct oci_pairs *annotations)
{
	static const char *const first[] = { "jwe", OCICRYPT_COCO_PROVIDER };

	for (size_t i = 0; i < CF_ARRAY_LEN(first) && !a->opened; i++) {
		cf_cleanup(cf_freep) char *key =
			cf_asprintf(OCICRYPT_ANNOTATION_KEYS "%s", first[i]);
		const char *value = oci_pairs_get(annotations, key);

		if (value)
			try_annotation(a, first[i], value);
	}
	for (size_t i = 0; i < annotations->count && !a->opened; i++) {
		const char *scheme = cf_after(annotations->items[i].key, OCICRYPT_ANNOTATION_KEYS);

		if (scheme && strcmp(scheme, first[0]) != 0 && strcmp(scheme, first[1]) != 0)
			try_annotation(a, scheme, annotations->items[i].value);
	}
}

static int check_sizes(const struct oci_pairs *annotations, struct cf_err *err)
{
	for (size_t i = 0; i < annotations->count; i++) {
		const struct oci_pair *p = &annotations->items[i];

		if (cf_starts_with(p->key, OCICRYPT_ANNOTATION_KEYS) &&
		    strlen(p->value) > OCICRYPT_VALUE_MAX)
			return cf_fail(err, CF_RESOURCE_EXHAUSTED, "annotation over %u bytes",
			               OCICRYPT_VALUE_MAX);
	}
	return 0;
}

static int why_not(const struct attempt *a, struct cf_err *err)
{
	if (a->worst == 0 && a->foreign)
		return cf_fail(err, CF_UNIMPLEMENTED,
		               NO_KEY ": %s packets are not read here; add a JWE or key-provider "
		                      "recipient",
		               a->foreign);
	if (a->worst == 0)
		return cf_fail(err, CF_INVALID_ARGUMENT, NO_KEY ": the layer names no recipient");
	enum cf_code code = (enum cf_code) - a->worst;

	/* Not one of our keys, or not a packet for them: the answer to both is another key. */
	if (code == CF_NOT_FOUND || code == CF_DATA_LOSS || code == CF_INVALID_ARGUMENT)
		code = CF_PERMISSION_DENIED;
	return cf_fail(err, code, NO_KEY ": %s", a->why.msg);
}

int ocicrypt_unwrap(const struct oci_descriptor *layer, const struct ocicrypt_keys *keys,
                    struct ocicrypt_options *ret, struct cf_err *err)
{
	const char *pubopts = oci_pairs_get(&layer->annotations, OCICRYPT_ANNOTATION_PUBOPTS);
	struct ocicrypt_options o = { 0 };
	struct attempt a = { .keys = keys, .ret = &o };
	int r = check_sizes(&layer->annotations, err);

	if (r == 0 && !pubopts)
		r = cf_fail(err, CF_INVALID_ARGUMENT, "encrypted layer without public options");
	if (r == 0)
		r = parse_public(pubopts, &o, &a.has_nonce, err);
	if (r < 0)
		return r;
	try_all(&a, &layer->annotations);
	if (!a.opened)
		return why_not(&a, err);
	*ret = o;
	return 0;
}

/* ---- wrapping ---- */

static void print_private(const struct ocicrypt_options *o, struct cf_buf *out)
{
	struct cf_jw w = { .out = out };

	cf_jw_obj(&w);
	cf_jw_key(&w, "symkey");
	cf_jw_b64(&w, CF_B64_STD, cf_secret_view(o->key));
	cf_jw_kstr(&w, "digest", o->plain_digest.text);
	cf_jw_key(&w, "cipheroptions");
	cf_jw_obj(&w);
	cf_jw_key(&w, "nonce");
	cf_jw_b64(&w, CF_B64_STD, cf_view(o->nonce, sizeof(o->nonce)));
	cf_jw_end_obj(&w);
	cf_jw_end_obj(&w);
}

static void set_public(const struct ocicrypt_options *o, struct oci_pairs *annotations)
{
	struct cf_buf text = { 0 }, encoded = { 0 };
	struct cf_jw w = { .out = &text };

	cf_jw_obj(&w);
	cf_jw_kstr(&w, "cipher", CIPHER);
	cf_jw_key(&w, "hmac");
	cf_jw_b64(&w, CF_B64_STD, cf_view(o->hmac, sizeof(o->hmac)));
	cf_jw_key(&w, "cipheroptions");
	cf_jw_obj(&w);
	cf_jw_end_obj(&w);
	cf_jw_end_obj(&w);
	cf_b64_encode(CF_B64_STD, cf_buf_view(&text), &encoded);
	oci_pairs_set(annotations, OCICRYPT_ANNOTATION_PUBOPTS, (const char *)encoded.data);
	cf_buf_fini(&text);
	cf_buf_fini(&encoded);
}

static int wrap_jwe(struct cf_view plain, const struct ocicrypt_recipient *to, size_t count,
                    struct cf_buf *ret, size_t *ret_count, struct cf_err *err)
{
	cf_cleanup(cf_freep) struct jwe_recipient *jwe = cf_zalloc_n(count + 1, sizeof(*jwe));
	size_t n = 0;

	for (size_t i = 0; i < count; i++) {
		if (!to[i].pkey)
			continue;
		bool rsa = cf_pkey_kind(to[i].pkey) == CF_PKEY_RSA;

		jwe[n++] = (struct jwe_recipient){ .alg = rsa ? JWE_RSA_OAEP : JWE_ECDH_ES_A256KW,
			                           .key = to[i].pkey };
	}
	*ret_count = n;
	if (n == 0)
		return 0;
	return jwe_seal(n == 1 ? JWE_FLATTENED : JWE_GENERAL, JWE_A256GCM, jwe, n, plain, ret, err);
}

/* base64 of @packet, behind a comma when there is one already. */
static void add_packet(struct cf_buf *value, struct cf_view packet)
{
	if (value->size > 0)
		cf_buf_add_byte(value, ',');
	cf_b64_encode(CF_B64_STD, packet, value);
}

static int wrap_keks(struct cf_view plain, const struct ocicrypt_recipient *to, size_t count,
                     struct cf_buf *value, struct cf_err *err)
{
	for (size_t i = 0; i < count; i++) {
		struct cf_buf packet = { 0 };

		if (to[i].pkey)
			continue;
		int r = ocicrypt_packet_make(to[i].kid, to[i].kek, plain, &packet, err);

		if (r == 0)
			add_packet(value, cf_buf_view(&packet));
		cf_buf_fini(&packet);
		if (r < 0)
			return r;
	}
	return 0;
}

static int wrap_plain(struct cf_view plain, const struct ocicrypt_recipient *to, size_t count,
                      struct oci_pairs *annotations, struct cf_err *err)
{
	struct cf_buf jwe = { 0 }, jwe_value = { 0 }, coco_value = { 0 };
	size_t jwe_count = 0;
	int r = wrap_jwe(plain, to, count, &jwe, &jwe_count, err);

	if (r == 0)
		r = wrap_keks(plain, to, count, &coco_value, err);
	if (r == 0 && jwe_count > 0) {
		add_packet(&jwe_value, cf_buf_view(&jwe));
		oci_pairs_set(annotations, OCICRYPT_ANNOTATION_KEYS "jwe",
		              (const char *)jwe_value.data);
	}
	if (r == 0 && coco_value.size > 0)
		oci_pairs_set(annotations, OCICRYPT_ANNOTATION_KEYS OCICRYPT_COCO_PROVIDER,
		              (const char *)coco_value.data);
	cf_buf_fini(&jwe);
	cf_buf_fini(&jwe_value);
	cf_buf_fini(&coco_value);
	return r;
}

int ocicrypt_wrap(const struct ocicrypt_options *o, const struct ocicrypt_recipient *to,
                  size_t count, struct oci_pairs *annotations, struct cf_err *err)
{
	struct cf_buf plain = { .max = OCICRYPT_OPTIONS_MAX };

	if (count == 0)
		return cf_fail(err, CF_INVALID_ARGUMENT, "nobody to encrypt to");
	print_private(o, &plain);
	int r = wrap_plain(cf_buf_view(&plain), to, count, annotations, err);

	cf_buf_wipe(&plain);
	if (r == 0)
		set_public(o, annotations);
	return r;
}
