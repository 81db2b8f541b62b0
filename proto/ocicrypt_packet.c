/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/ocicrypt_packet.h"

#include "base/json.h"

#define KEK_SIZE     32u
#define GCM_IV_SIZE  12u
#define GCM_TAG_SIZE 16u
#define CTR_IV_SIZE  16u
#define CANDIDATES   256u /* KEKs tried for one packet */

struct packet {
	char *kid;
	struct cf_buf wrapped;
	struct cf_buf iv;
	bool is_ctr;
};

static void packet_fini(struct packet *p)
{
	free(p->kid);
	cf_buf_fini(&p->wrapped);
	cf_buf_fini(&p->iv);
}

/* ---- kids ---- */

static bool is_kid_text(struct cf_view v)
{
	for (size_t i = 0; i < v.size; i++) {
		if (v.data[i] <= ' ' || v.data[i] >= 0x7f)
			return false;
	}
	return v.size > 0 && v.size <= OCICRYPT_KID_MAX;
}

/* The path of host/path; the host is not looked at: the guest knows its KBS. */
static struct cf_view after_host(struct cf_view v)
{
	ssize_t slash = cf_view_find(v, '/');

	return slash < 0 ? cf_view(NULL, 0) : cf_view_sub(v, (size_t)slash + 1, SIZE_MAX);
}

static size_t count_slashes(struct cf_view v)
{
	size_t n = 0;

	for (size_t i = 0; i < v.size; i++)
		n += v.data[i] == '/';
	return n;
}

int ocicrypt_kid_normalise(struct cf_view kid, char **ret, struct cf_err *err)
{
	static const char kbs[] = "kbs://";
	struct cf_view path = kid;

	if (!is_kid_text(kid))
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "key id is empty, too long or not printable");
	if (cf_view_starts_with(kid,
	                        "kbs+")) { /* a plugin of the KBS: its path has its own rules */
		*ret = cf_view_dup(kid);
		return 0;
	}
	if (cf_view_starts_with(kid, kbs))
		path = after_host(cf_view_sub(kid, strlen(kbs), SIZE_MAX));
	else if (kid.data[0] == '/')
		path = cf_view_sub(kid, 1, SIZE_MAX);
	else if (count_slashes(kid) == 3)
		path = after_host(kid);
	if (count_slashes(path) < 2)
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "key id is not kbs:///repository/type/tag");
	cf_cleanup(cf_freep) char *text = cf_view_dup(path);

	*ret = cf_asprintf("kbs:///%s", text);
	return 0;
}

/* ---- reading ---- */

static int check_version(const struct cf_json *root, struct cf_err *err)
{
	struct cf_view version = CF_VIEW_LIT("0.1.0");
	struct cf_view provider = CF_VIEW_LIT("kbs");
	int r = cf_json_opt_str(root, "version", &version, err);

	if (r == 0)
		r = cf_json_opt_str(root, "provider", &provider, err);
	if (r < 0)
		return r;
	if (!cf_view_eq_str(provider, "kbs"))
		return cf_fail(err, CF_UNIMPLEMENTED, "packets of key services other than KBS");
	if (!cf_view_eq_str(version, "0.1.0"))
		return cf_fail(err, CF_INVALID_ARGUMENT, "packet version is not 0.1.0");
	return 0;
}

static int check_wrap(struct cf_view type, struct packet *p, struct cf_err *err)
{
	p->is_ctr = cf_view_eq_str(type, "A256CTR");
	if (!p->is_ctr && !cf_view_eq_str(type, "A256GCM"))
		return cf_fail(err, CF_INVALID_ARGUMENT, "wrap_type is not A256GCM or A256CTR");
	if (p->iv.size != (p->is_ctr ? CTR_IV_SIZE : GCM_IV_SIZE))
		return cf_fail(err, CF_INVALID_ARGUMENT, "iv of %zu bytes", p->iv.size);
	if (!p->is_ctr && p->wrapped.size < GCM_TAG_SIZE)
		return cf_fail(err, CF_INVALID_ARGUMENT, "wrapped_data is too short");
	return 0;
}

static int parse_packet(const struct cf_json *root, struct packet *p, struct cf_err *err)
{
	struct cf_view kid, type;

	if (cf_json_type(root) != CF_JSON_OBJECT)
		return cf_fail(err, CF_INVALID_ARGUMENT, "not a JSON object");
	int r = check_version(root, err);

	if (r == 0)
		r = cf_json_need_str(root, "kid", &kid, err);
	if (r == 0)
		r = ocicrypt_kid_normalise(kid, &p->kid, err);
	if (r == 0)
		r = cf_json_need_b64(root, "wrapped_data", CF_B64_STD, &p->wrapped, err);
	if (r == 0)
		r = cf_json_need_b64(root, "iv", CF_B64_STD, &p->iv, err);
	if (r == 0)
		r = cf_json_need_str(root, "wrap_type", &type, err);
	if (r == 0)
		r = check_wrap(type, p, err);
	return r;
}

static int read_packet(struct cf_view text, struct packet *ret, struct cf_err *err)
{
	cf_cleanup(cf_json_freep) struct cf_json *root = NULL;
	struct packet p = { .wrapped.max = OCICRYPT_OPTIONS_MAX, .iv.max = 64 };
	int r = cf_json_parse(text, OCICRYPT_VALUE_MAX, &root, err);

	if (r == 0)
		r = parse_packet(root, &p, err);
	if (r < 0) {
		packet_fini(&p);
		return cf_wrap(err, r, "key-provider packet");
	}
	*ret = p;
	return 0;
}

char *ocicrypt_packet_kid(struct cf_view packet)
{
	struct packet p = { 0 };
	char *kid = NULL;

	if (read_packet(packet, &p, NULL) == 0)
		kid = cf_take(&p.kid);
	packet_fini(&p);
	return kid;
}

/* ---- opening ---- */

static bool looks_like_options(struct cf_view plain)
{
	return cf_json_scan(plain, OCICRYPT_OPTIONS_MAX, NULL) == 0;
}

/* CTR authenticates nothing: the only sign of a wrong key is that no JSON comes out. */
static int open_ctr(const struct packet *p, struct cf_view kek, struct cf_buf *plain,
                    struct cf_err *err)
{
	struct cf_aes_ctr *cipher = NULL;
	struct cf_buf out = { .max = OCICRYPT_OPTIONS_MAX };
	int r = cf_aes_ctr_new(kek, cf_buf_view(&p->iv), &cipher, err);

	if (r < 0)
		return r;
	uint8_t *room = cf_buf_reserve(&out, p->wrapped.size + 1);

	if (room) {
		cf_aes_ctr_apply(cipher, cf_buf_view(&p->wrapped), room);
		out.size = p->wrapped.size;
	}
	cf_aes_ctr_free(cipher);
	if (!room || !looks_like_options(cf_buf_view(&out)))
		r = cf_fail(err, CF_DATA_LOSS, "wrong key");
	else
		cf_buf_add_view(plain, cf_buf_view(&out));
	cf_buf_wipe(&out);
	return r;
}

static int open_with(const struct packet *p, struct cf_view kek, struct cf_buf *plain,
                     struct cf_err *err)
{
	struct cf_view all = cf_buf_view(&p->wrapped);

	if (kek.size != KEK_SIZE)
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "key has %zu bytes, 32 are needed (raw, not base64)", kek.size);
	if (p->is_ctr)
		return open_ctr(p, kek, plain, err);
	return cf_aes_gcm_open(kek, cf_buf_view(&p->iv), cf_view(NULL, 0),
	                       cf_view_sub(all, 0, all.size - GCM_TAG_SIZE),
	                       cf_view_sub(all, all.size - GCM_TAG_SIZE, SIZE_MAX), plain, err);
}

static int open_parsed(const struct packet *p, const struct ocicrypt_keys *keys,
                       struct cf_buf *plain, struct cf_err *err)
{
	for (size_t i = 0; keys->kek && i < CANDIDATES; i++) {
		struct cf_secret *kek = NULL;
		int r = keys->kek(keys->arg, p->kid, i, &kek, err);

		if (r == -CF_NOT_FOUND && i > 0)
			break; /* there were some, none was right */
		if (r < 0)
			return r;
		r = open_with(p, cf_secret_view(kek), plain, err);
		cf_secret_free(kek);
		if (r == 0)
			return 0;
	}
	return cf_fail(err, CF_NOT_FOUND, "no key opens the packet of %s", p->kid);
}

int ocicrypt_packet_open(struct cf_view packet, const struct ocicrypt_keys *keys,
                         struct cf_buf *plain, struct cf_err *err)
{
	struct packet p = { 0 };
	int r = read_packet(packet, &p, err);

	if (r == 0)
		r = open_parsed(&p, keys, plain, err);
	packet_fini(&p);
	return r;
}

/* ---- making ---- */

int ocicrypt_packet_make(const char *kid, struct cf_view kek, struct cf_view plain,
                         struct cf_buf *ret, struct cf_err *err)
{
	struct cf_buf wrapped = { .max = OCICRYPT_OPTIONS_MAX + GCM_TAG_SIZE };
	cf_cleanup(cf_freep) char *normal = NULL;
	uint8_t iv[GCM_IV_SIZE], tag[GCM_TAG_SIZE];
	struct cf_jw w = { .out = ret };

	if (kek.size != KEK_SIZE)
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "image key has %zu bytes, 32 raw bytes are needed", kek.size);
	int r = ocicrypt_kid_normalise(cf_view_str(kid), &normal, err);

	if (r < 0)
		return r;
	cf_random(iv, sizeof(iv));
	r = cf_aes_gcm_seal(kek, cf_view(iv, sizeof(iv)), cf_view(NULL, 0), plain, &wrapped, tag,
	                    err);
	if (r < 0)
		return r;
	cf_buf_add(&wrapped, tag, sizeof(tag));
	cf_jw_obj(&w);
	cf_jw_kstr(&w, "kid", normal);
	cf_jw_key(&w, "wrapped_data");
	cf_jw_b64(&w, CF_B64_STD, cf_buf_view(&wrapped));
	cf_jw_key(&w, "iv");
	cf_jw_b64(&w, CF_B64_STD, cf_view(iv, sizeof(iv)));
	cf_jw_kstr(&w, "wrap_type", "A256GCM");
	cf_jw_end_obj(&w);
	cf_buf_fini(&wrapped);
	return cf_buf_check(ret, "key-provider packet", err);
}

/* ---- looking ---- */

static void list_add(struct ocicrypt_recipients *r, const char *scheme, char *key_id_take)
{
	cf_grow(&r->items, &r->cap, r->count + 1);
	r->items[r->count++] = (struct ocicrypt_recipient_info){ .scheme = cf_strdup(scheme),
		                                                 .key_id = key_id_take };
}

void ocicrypt_list(const struct oci_descriptor *layer, struct ocicrypt_recipients *ret)
{
	for (size_t i = 0; i < layer->annotations.count; i++) {
		const struct oci_pair *p = &layer->annotations.items[i];
		const char *scheme = cf_after(p->key, OCICRYPT_ANNOTATION_KEYS);
		struct cf_strv parts = { 0 };

		if (!scheme || strlen(p->value) > OCICRYPT_VALUE_MAX)
			continue;
		cf_strv_split(&parts, cf_view_str(p->value), ',');
		for (size_t k = 0; k < parts.count && k < OCICRYPT_PACKETS_MAX; k++) {
			struct cf_buf packet = { .max = OCICRYPT_VALUE_MAX };
			char *kid = NULL;

			if (cf_starts_with(scheme, "provider.") &&
			    cf_b64_decode(CF_B64_STD, cf_view_str(parts.items[k]), &packet, NULL) ==
			            0)
				kid = ocicrypt_packet_kid(cf_buf_view(&packet));
			list_add(ret, scheme, kid);
			cf_buf_fini(&packet);
		}
		cf_strv_fini(&parts);
	}
}

void ocicrypt_recipients_fini(struct ocicrypt_recipients *r)
{
	for (size_t i = 0; i < r->count; i++) {
		free(r->items[i].scheme);
		free(r->items[i].key_id);
	}
	free(r->items);
	*r = (struct ocicrypt_recipients){ 0 };
}
