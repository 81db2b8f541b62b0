/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/kbs_wire.h"

#include "proto/jcs.h"

#define ERROR_TYPE "https://github.com/confidential-containers/kbs/errors/"

static const char tpm_member[] = "coffer-tpm";

static int parse_object(struct cf_view text, size_t max, const char *what, struct cf_json **ret,
                        struct cf_err *err)
{
	cf_cleanup(cf_json_freep) struct cf_json *j = NULL;
	int r = cf_json_parse(text, max, &j, err);

	if (r < 0)
		return cf_wrap(err, r, "%s", what);
	if (cf_json_type(j) != CF_JSON_OBJECT)
		return cf_fail(err, CF_INVALID_ARGUMENT, "%s: not a JSON object", what);
	*ret = cf_take(&j);
	return 0;
}

/* extra-params may be anything: old clients and servers send a string. */
static int find_tpm(const struct cf_json *root, const struct cf_json **ret, struct cf_err *err)
{
	const struct cf_json *extra = cf_json_get(root, "extra-params");

	*ret = cf_json_type(extra) == CF_JSON_OBJECT ? cf_json_get(extra, tpm_member) : NULL;
	if (*ret && cf_json_type(*ret) != CF_JSON_OBJECT)
		return cf_fail(err, CF_INVALID_ARGUMENT, "extra-params.%s: not an object",
		               tpm_member);
	return 0;
}

/* ---- Request ---- */

static const char *tee_alias(const char *tee)
{
	static const char *const aliases[][2] = {
		{ "azsnpvtpm", "az-snp-vtpm" },
		{ "aztdxvtpm", "az-tdx-vtpm" },
		{ "dpu", "nvidia-dpu" },
	};

	for (size_t i = 0; i < CF_ARRAY_LEN(aliases); i++)
		if (cf_streq(tee, aliases[i][0]))
			return aliases[i][1];
	return tee;
}

static int take_tee(const struct cf_json *root, char **ret, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *tee = NULL;
	int r = cf_json_dup_str(root, "tee", &tee, err);

	if (r < 0)
		return r;
	if (!*tee || strlen(tee) > KBS_TEE_MAX)
		return cf_fail(err, CF_INVALID_ARGUMENT, "tee: empty or over %u bytes",
		               KBS_TEE_MAX);
	*ret = cf_strdup(tee_alias(tee));
	return 0;
}

static const enum cf_hash_alg hashes[] = { CF_SHA256, CF_SHA384, CF_SHA512 };

static bool find_hash(struct cf_view name, enum cf_hash_alg *ret)
{
	for (size_t i = 0; i < CF_ARRAY_LEN(hashes); i++) {
		if (cf_view_eq_str(name, cf_hash_name(hashes[i]))) {
			*ret = hashes[i];
			return true;
		}
	}
	return false;
}

static unsigned listed_hashes(const struct cf_json *root)
{
	const struct cf_json *list =
		cf_json_get(cf_json_get(root, "extra-params"), "supported-hash-algorithms");
	unsigned set = 0;

	for (size_t i = 0; i < cf_json_len(list); i++) {
		enum cf_hash_alg alg;

		if (find_hash(cf_json_str(cf_json_at(list, i)), &alg))
			set |= 1u << alg;
	}
	return set;
}

int kbs_request_parse(struct cf_view text, struct kbs_request *ret, struct cf_err *err)
{
	struct kbs_request q = { 0 };
	int r = parse_object(text, KBS_MESSAGE_MAX, "Request", &q.root, err);

	if (r < 0)
		return r;
	r = cf_json_need_str(q.root, "version", &q.version, err);
	if (r == 0)
		r = take_tee(q.root, &q.tee, err);
	if (r == 0)
		r = find_tpm(q.root, &q.tpm, err);
	if (r < 0) {
		kbs_request_fini(&q);
		return cf_wrap(err, r, "Request");
	}
	q.hashes = listed_hashes(q.root);
	*ret = q;
	return 0;
}

void kbs_request_fini(struct kbs_request *r)
{
	cf_json_free(r->root);
	free(r->tee);
	*r = (struct kbs_request){ 0 };
}

void kbs_request_print(const char *tee, struct cf_view tpm, struct cf_buf *ret)
{
	struct cf_jw w = { .out = ret };

	cf_jw_obj(&w);
	cf_jw_kstr(&w, "version", KBS_VERSION);
	cf_jw_kstr(&w, "tee", tee);
	cf_jw_key(&w, "extra-params");
	cf_jw_obj(&w);
	cf_jw_key(&w, "supported-hash-algorithms");
	cf_jw_arr(&w);
	for (size_t i = 0; i < CF_ARRAY_LEN(hashes); i++)
		cf_jw_str(&w, cf_hash_name(hashes[i]));
	cf_jw_end_arr(&w);
	if (tpm.size) {
		cf_jw_key(&w, tpm_member);
		cf_jw_raw(&w, tpm);
	}
	cf_jw_end_obj(&w);
	cf_jw_end_obj(&w);
}

/* ---- Challenge ---- */

static int selected_hash(const struct cf_json *root, enum cf_hash_alg *ret, struct cf_err *err)
{
	const struct cf_json *v =
		cf_json_get(cf_json_get(root, "extra-params"), "selected-hash-algorithm");

	*ret = CF_SHA384;
	if (v && !find_hash(cf_json_str(v), ret))
		return cf_fail(err, CF_INVALID_ARGUMENT, "selected-hash-algorithm: unknown");
	return 0;
}

static int check_nonce(struct cf_view nonce, struct cf_err *err)
{
	if (!nonce.size || nonce.size > KBS_NONCE_TEXT_MAX)
		return cf_fail(err, CF_INVALID_ARGUMENT, "nonce: empty or over %u characters",
		               KBS_NONCE_TEXT_MAX);
	return 0;
}

int kbs_challenge_parse(struct cf_view text, struct kbs_challenge *ret, struct cf_err *err)
{
	struct kbs_challenge c = { 0 };
	int r = parse_object(text, KBS_MESSAGE_MAX, "Challenge", &c.root, err);

	if (r < 0)
		return r;
	r = cf_json_need_str(c.root, "nonce", &c.nonce, err);
	if (r == 0)
		r = check_nonce(c.nonce, err);
	if (r == 0)
		r = selected_hash(c.root, &c.hash, err);
	if (r == 0)
		r = find_tpm(c.root, &c.tpm, err);
	if (r < 0) {
		kbs_challenge_fini(&c);
		return cf_wrap(err, r, "Challenge");
	}
	*ret = c;
	return 0;
}

void kbs_challenge_fini(struct kbs_challenge *c)
{
	cf_json_free(c->root);
	*c = (struct kbs_challenge){ 0 };
}

void kbs_challenge_print(struct cf_view nonce, struct cf_view tpm, struct cf_buf *ret)
{
	struct cf_jw w = { .out = ret };

	cf_jw_obj(&w);
	cf_jw_key(&w, "nonce");
	cf_jw_b64(&w, CF_B64_STD, nonce);
	cf_jw_key(&w, "extra-params");
	if (tpm.size) {
		cf_jw_obj(&w);
		cf_jw_key(&w, tpm_member);
		cf_jw_raw(&w, tpm);
		cf_jw_end_obj(&w);
	} else {
		cf_jw_str(&w, "");
	}
	cf_jw_end_obj(&w);
}

/* ---- Attestation ---- */

static int parse_init_data(const struct cf_json *root, struct cf_view *ret, struct cf_err *err)
{
	const struct cf_json *v = cf_json_get(root, "init-data");
	struct cf_view format;
	int r;

	if (cf_json_type(v) == CF_JSON_NULL)
		return 0;
	if (cf_json_type(v) != CF_JSON_OBJECT)
		return cf_fail(err, CF_INVALID_ARGUMENT, "init-data: neither null nor an object");
	r = cf_json_need_str(v, "format", &format, err);
	if (r == 0 && !cf_view_eq_str(format, "toml"))
		r = cf_fail(err, CF_INVALID_ARGUMENT, "format: only toml is known");
	if (r == 0)
		r = cf_json_need_str(v, "body", ret, err);
	if (r < 0)
		return cf_wrap(err, r, "init-data");
	if (!ret->data)
		*ret = cf_view("", 0); /* sent, and empty: not the same as not sent */
	return 0;
}

static int parse_runtime_data(struct kbs_attestation *a, struct cf_err *err)
{
	int r = cf_json_need(a->root, "runtime-data", CF_JSON_OBJECT, &a->runtime_data, err);

	if (r == 0)
		r = cf_json_need_str(a->runtime_data, "nonce", &a->nonce, err);
	if (r == 0)
		r = check_nonce(a->nonce, err);
	if (r == 0)
		r = cf_json_need(a->runtime_data, "tee-pubkey", CF_JSON_OBJECT, &a->tee_pubkey,
		                 err);
	return r;
}

static int parse_evidence(struct kbs_attestation *a, struct cf_err *err)
{
	const struct cf_json *e;
	int r = cf_json_need(a->root, "tee-evidence", CF_JSON_OBJECT, &e, err);

	if (r < 0)
		return r;
	a->primary_evidence = cf_json_get(e, "primary_evidence");
	if (cf_json_type(a->primary_evidence) == CF_JSON_NULL)
		return cf_fail(err, CF_INVALID_ARGUMENT, "primary_evidence: missing");
	return cf_json_need_str(e, "additional_evidence", &a->additional_evidence, err);
}

int kbs_attestation_parse(struct cf_view text, struct kbs_attestation *ret, struct cf_err *err)
{
	struct kbs_attestation a = { 0 };
	int r = parse_object(text, KBS_MESSAGE_MAX, "Attestation", &a.root, err);

	if (r < 0)
		return r;
	r = parse_init_data(a.root, &a.init_data, err);
	if (r == 0)
		r = parse_runtime_data(&a, err);
	if (r == 0)
		r = parse_evidence(&a, err);
	if (r < 0) {
		kbs_attestation_fini(&a);
		return cf_wrap(err, r, "Attestation");
	}
	*ret = a;
	return 0;
}

void kbs_attestation_fini(struct kbs_attestation *a)
{
	cf_json_free(a->root);
	*a = (struct kbs_attestation){ 0 };
}

void kbs_attestation_print(const struct kbs_attestation_parts *p, struct cf_buf *ret)
{
	struct cf_jw w = { .out = ret };

	cf_jw_obj(&w);
	cf_jw_key(&w, "init-data");
	if (p->init_data.data) {
		cf_jw_obj(&w);
		cf_jw_kstr(&w, "format", "toml");
		cf_jw_kview(&w, "body", p->init_data);
		cf_jw_end_obj(&w);
	} else {
		cf_jw_null(&w);
	}
	cf_jw_key(&w, "runtime-data");
	cf_jw_obj(&w);
	cf_jw_kview(&w, "nonce", p->nonce);
	cf_jw_key(&w, "tee-pubkey");
	cf_jw_raw(&w, p->tee_pubkey);
	cf_jw_end_obj(&w);
	cf_jw_key(&w, "tee-evidence");
	cf_jw_obj(&w);
	cf_jw_key(&w, "primary_evidence");
	cf_jw_raw(&w, p->primary_evidence);
	cf_jw_kview(&w, "additional_evidence", p->additional_evidence);
	cf_jw_end_obj(&w);
	cf_jw_end_obj(&w);
}

/* ---- runtime data ---- */

int kbs_runtime_data(bool is_primary, struct cf_view additional_evidence, struct cf_view nonce,
                     const struct cf_json *tee_pubkey, struct cf_buf *ret, struct cf_err *err)
{
	int r;

	/* The three names are in order already. */
	cf_buf_add_byte(ret, '{');
	if (is_primary) {
		cf_buf_add_str(ret, "\"additional-evidence\":");
		jcs_print_str(additional_evidence, ret);
		cf_buf_add_byte(ret, ',');
	}
	cf_buf_add_str(ret, "\"nonce\":");
	jcs_print_str(nonce, ret);
	cf_buf_add_str(ret, ",\"tee-pubkey\":");
	r = jcs_print(tee_pubkey, ret, err);
	cf_buf_add_byte(ret, '}');
	if (r == 0)
		r = cf_buf_check(ret, "runtime data", err);
	return r < 0 ? cf_wrap(err, r, "runtime data") : 0;
}

int kbs_report_data(enum cf_hash_alg alg, bool is_primary, struct cf_view additional_evidence,
                    struct cf_view nonce, const struct cf_json *tee_pubkey,
                    uint8_t out[CF_HASH_SIZE_MAX], struct cf_err *err)
{
	struct cf_buf text = { 0 };
	int r = kbs_runtime_data(is_primary, additional_evidence, nonce, tee_pubkey, &text, err);

	if (r == 0)
		cf_hash(alg, cf_buf_view(&text), out);
	cf_buf_fini(&text);
	return r;
}

/* ---- token, errors ---- */

int kbs_token_parse(struct cf_view text, char **ret, struct cf_err *err)
{
	cf_cleanup(cf_json_freep) struct cf_json *j = NULL;
	int r = parse_object(text, KBS_MESSAGE_MAX, "token answer", &j, err);

	if (r < 0)
		return r;
	r = cf_json_dup_str(j, "token", ret, err);
	return r < 0 ? cf_wrap(err, r, "token answer") : 0;
}

static int64_t lifetime(int64_t iat, int64_t exp)
{
	return iat > 0 && exp > iat ? exp - iat : 0;
}

int64_t kbs_token_lifetime(const char *token)
{
	struct cf_view text = cf_view_str(token);
	struct cf_buf payload = { .max = KBS_MESSAGE_MAX };
	cf_cleanup(cf_json_freep) struct cf_json *j = NULL;
	ssize_t dot = cf_view_find(text, '.');
	int64_t life = 0;

	if (dot < 0)
		return 0;
	text = cf_view_sub(text, (size_t)dot + 1, text.size);
	dot = cf_view_find(text, '.');
	if (dot >= 0)
		text = cf_view_sub(text, 0, (size_t)dot);
	if (cf_b64_decode(CF_B64_URL, text, &payload, NULL) == 0 &&
	    cf_json_parse(cf_buf_view(&payload), 0, &j, NULL) == 0)
		life = lifetime(cf_json_int(cf_json_get(j, "iat")),
		                cf_json_int(cf_json_get(j, "exp")));
	cf_buf_wipe(&payload);
	return life;
}

void kbs_error_print(const char *variant, const char *detail, struct cf_buf *ret)
{
	struct cf_jw w = { .out = ret };
	cf_cleanup(cf_freep) char *type = cf_asprintf("%s%s", ERROR_TYPE, variant);

	cf_jw_obj(&w);
	cf_jw_kstr(&w, "type", type);
	cf_jw_kstr(&w, "detail", detail);
	cf_jw_end_obj(&w);
}

#define ERROR_TEXT_MAX 400u

static char *quote_start(struct cf_view body)
{
	struct cf_buf text = { 0 };

	cf_buf_add_json_str(&text, cf_view_sub(body, 0, 120));
	return cf_buf_take_str(&text);
}

char *kbs_error_text(struct cf_view body)
{
	cf_cleanup(cf_json_freep) struct cf_json *j = NULL;
	struct cf_view type, detail;

	if (!body.size)
		return cf_strdup("no reason given");
	if (cf_json_parse(body, KBS_MESSAGE_MAX, &j, NULL) < 0)
		return quote_start(body);
	type = cf_json_str(cf_json_get(j, "type"));
	detail = cf_json_str(cf_json_get(j, "detail"));
	if (!detail.size)
		return quote_start(body);
	if (cf_view_starts_with(type, ERROR_TYPE))
		type = cf_view_sub(type, strlen(ERROR_TYPE), type.size);
	return cf_asprintf("%.*s: %.*s", (int)CF_MIN(type.size, 64u),
	                   type.size ? (const char *)type.data : "",
	                   (int)CF_MIN(detail.size, ERROR_TEXT_MAX), (const char *)detail.data);
}

/* ---- resource URIs ---- */

static bool is_good_part(const char *part)
{
	if (!*part || cf_streq(part, ".") || cf_streq(part, ".."))
		return false;
	for (; *part; part++)
		if ((uint8_t)*part < 0x21 || (uint8_t)*part == 0x7f || strchr("\\?#", *part))
			return false;
	return true;
}

static int check_path(const char *plugin, const char *path, struct cf_err *err)
{
	struct cf_strv parts = { 0 };
	bool good = true;

	cf_strv_split(&parts, cf_view_str(path), '/');
	for (size_t i = 0; i < parts.count; i++)
		good = good && is_good_part(parts.items[i]);
	if (cf_streq(plugin, "resource") && parts.count != 3)
		good = false;
	cf_strv_fini(&parts);
	if (!good)
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "resource \"%s\": want kbs:///<repository>/<type>/<tag>", path);
	return 0;
}

/* The scheme's plugin, and what stands behind "://host/" or behind a leading slash. */
static const char *split_scheme(const char *text, char **plugin)
{
	const char *rest = cf_after(text, "kbs://");
	const char *named = cf_after(text, "kbs+");

	if (named) {
		const char *end = strstr(named, "://");

		if (!end || end == named)
			return NULL;
		*plugin = cf_strndup(named, (size_t)(end - named));
		rest = end + 3;
	} else {
		*plugin = cf_strdup("resource");
	}
	if (!rest)
		return strstr(text, "://") ? NULL : text + (*text == '/');
	rest = strchr(rest, '/');
	return rest ? rest + 1 : NULL;
}

static bool is_plugin_name(const char *s)
{
	for (; *s; s++)
		if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789-_", *s))
			return false;
	return true;
}

int kbs_uri_parse(struct cf_view text, struct kbs_uri *ret, struct cf_err *err)
{
	struct kbs_uri u = { 0 };
	int r = 0;

	if (text.size > KBS_URI_MAX || cf_view_has_nul(text) || !cf_view_is_utf8(text))
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "resource URI: not a text of at most %u bytes", KBS_URI_MAX);

	cf_cleanup(cf_freep) char *copy = cf_view_dup(text);
	const char *rest = split_scheme(copy, &u.plugin);

	if (!rest || !is_plugin_name(u.plugin)) {
		r = cf_fail(err, CF_INVALID_ARGUMENT,
		            "resource \"%s\": want kbs:///<repository>/<type>/<tag>", copy);
	} else {
		const char *q = strchr(rest, '?');

		u.path = q ? cf_strndup(rest, (size_t)(q - rest)) : cf_strdup(rest);
		u.query = q && q[1] ? cf_strdup(q + 1) : NULL;
		r = check_path(u.plugin, u.path, err);
	}
	if (r < 0) {
		kbs_uri_fini(&u);
		return r;
	}
	*ret = u;
	return 0;
}

void kbs_uri_fini(struct kbs_uri *u)
{
	free(u->plugin);
	free(u->path);
	free(u->query);
	*u = (struct kbs_uri){ 0 };
}

void kbs_policy_data(const char *path, struct cf_view query_json, struct cf_buf *out)
{
	cf_cleanup(cf_strv_fini) struct cf_strv parts = { 0 };
	struct cf_jw w = { .out = out };

	cf_strv_split(&parts, cf_view_str(path), '/');
	cf_jw_obj(&w);
	cf_jw_kstr(&w, "plugin", "resource");
	cf_jw_key(&w, "resource-path");
	cf_jw_arr(&w);
	for (size_t i = 0; i < parts.count; i++)
		cf_jw_str(&w, parts.items[i]);
	cf_jw_end_arr(&w);
	cf_jw_key(&w, "query");
	cf_jw_raw(&w, query_json.size ? query_json : cf_view_str("{}"));
	cf_jw_end_obj(&w);
}
