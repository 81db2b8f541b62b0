/* SPDX-License-Identifier: Apache-2.0 */
/* What the owner calls, with an admin token: resources, reference values, TPM roots, the audit log. */
#include "kbs/api.h"

#define AUDIT_LINES_MAX 10000u

static const char PLUGIN_ERROR[] = "PluginInternalError";

static struct store_actor actor_of(const struct kbs_call *c)
{
	return (struct store_actor){ c->actor, c->peer };
}

/* The rest of the path as text; it holds no NUL: heads are checked. */
static char *rest_text(const struct kbs_call *c)
{
	return cf_view_dup(c->rest);
}

static void answer(struct kbs_call *c, int r, const struct cf_err *err, struct cf_view json)
{
	if (r < 0)
		kbs_answer_err(c, PLUGIN_ERROR, err);
	else
		kbs_answer_json(c, json);
}

/* ---- resources ---- */

static void resource_put(struct kbs_call *c)
{
	const struct store_actor who = actor_of(c);
	cf_cleanup(cf_strv_fini) struct cf_strv digests = { 0 };
	cf_cleanup(cf_freep) char *path = rest_text(c);
	cf_cleanup(cf_buf_fini) struct cf_buf json = { 0 };
	struct cf_jw w = { .out = &json };
	int64_t version = 0;
	struct cf_err err;
	int r;

	kbs_query_values(c->query, "initdata", &digests);
	r = store_resource_put(c->kbs->store, &who, path, c->body,
	                       (const char *const *)digests.items, digests.count, &version, &err);
	cf_jw_obj(&w);
	cf_jw_kstr(&w, "path", path);
	cf_jw_kint(&w, "version", version);
	cf_jw_kuint(&w, "size", c->body.size);
	cf_jw_end_obj(&w);
	answer(c, r, &err, cf_buf_view(&json));
}

static void resource_delete(struct kbs_call *c)
{
	const struct store_actor who = actor_of(c);
	cf_cleanup(cf_freep) char *path = rest_text(c);
	struct cf_err err;
	int r = store_resource_delete(c->kbs->store, &who, path, &err);

	answer(c, r, &err, cf_view_str("{}"));
}

static void resource_list(struct kbs_call *c)
{
	cf_cleanup(cf_buf_fini) struct cf_buf json = { 0 };
	struct cf_err err;
	int r = store_resource_list(c->kbs->store, &json, &err);

	answer(c, r, &err, cf_buf_view(&json));
}

/* ---- reference values ---- */

/* Ours: {"reference":{…}} as coffer measure prints it, or the bare object. */
static void reference_put(struct kbs_call *c)
{
	const struct store_actor who = actor_of(c);
	cf_cleanup(cf_freep) char *reason = kbs_query_value(c->query, "reason");
	cf_cleanup(cf_json_freep) struct cf_json *doc = NULL;
	const struct cf_json *inner;
	struct cf_err err;
	int r = cf_json_parse(c->body, 0, &doc, &err);

	inner = cf_json_get(doc, "reference");
	if (r == 0)
		r = store_reference_put(c->kbs->store, &who, inner ? inner : doc, reason, &err);
	answer(c, r, &err, cf_view_str("{}"));
}

/* The peers' message: {"version":"0.1.0","type":"sample","payload":base64 of the object}. */
static void reference_message(struct kbs_call *c)
{
	const struct store_actor who = actor_of(c);
	cf_cleanup(cf_json_freep) struct cf_json *message = NULL, *values = NULL;
	cf_cleanup(cf_buf_fini) struct cf_buf payload = { 0 };
	struct cf_view type = { 0 };
	struct cf_err err;
	int r = cf_json_parse(c->body, 0, &message, &err);

	if (r == 0)
		r = cf_json_need_str(message, "type", &type, &err);
	if (r == 0 && !cf_view_eq_str(type, "sample"))
		r = cf_fail(&err, CF_UNIMPLEMENTED, "reference values of type \"%.*s\"",
		            (int)CF_MIN(type.size, (size_t)32), (const char *)type.data);
	if (r == 0)
		r = cf_json_need_b64(message, "payload", CF_B64_STD, &payload, &err);
	if (r == 0)
		r = cf_json_parse(cf_buf_view(&payload), 0, &values, &err);
	if (r == 0)
		r = store_reference_put(c->kbs->store, &who, values, NULL, &err);
	if (r < 0)
		kbs_answer_err(c, "RvpsError", &err);
	else
		c->reply.status = 200;
}

static int all_references(struct kbs_call *c, struct cf_json **ret, struct cf_err *err)
{
	cf_cleanup(cf_buf_fini) struct cf_buf text = { 0 };
	int r = store_reference_all(c->kbs->store, &text, err);

	return r < 0 ? r : cf_json_parse(cf_buf_view(&text), 0, ret, err);
}

static void reference_get(struct kbs_call *c)
{
	cf_cleanup(cf_freep) char *id = rest_text(c);
	cf_cleanup(cf_json_freep) struct cf_json *all = NULL;
	cf_cleanup(cf_buf_fini) struct cf_buf json = { 0 };
	struct cf_err err;
	int r = all_references(c, &all, &err);

	if (r == 0 && !cf_json_get(all, id))
		r = cf_fail(&err, CF_NOT_FOUND, "no reference value %s", id);
	if (r == 0)
		cf_json_print(cf_json_get(all, id), &json);
	answer(c, r, &err, cf_buf_view(&json));
}

static void reference_list(struct kbs_call *c)
{
	cf_cleanup(cf_buf_fini) struct cf_buf json = { 0 };
	struct cf_err err;
	int r = store_reference_all(c->kbs->store, &json, &err);

	answer(c, r, &err, cf_buf_view(&json));
}

static void reference_delete(struct kbs_call *c)
{
	const struct store_actor who = actor_of(c);
	cf_cleanup(cf_freep) char *id = rest_text(c);
	struct cf_err err;
	int r = store_reference_delete(c->kbs->store, &who, id, &err);

	answer(c, r, &err, cf_view_str("{}"));
}

/* ---- TPM roots ---- */

/* Checked by making a root of it; stored as sent, with the certificate's name beside. */
static int check_root(const struct cf_json *doc, struct tpm_roots *roots, struct cf_err *err)
{
	const struct cf_json *allow = cf_json_get(doc, "ek_allow");
	cf_cleanup(cf_strv_fini) struct cf_strv list = { 0 };
	struct cf_view pem = { 0 }, kind_text = { 0 };
	enum tpm_root_kind kind;
	uint8_t sum[32];
	int r = cf_json_need_str(doc, "pem", &pem, err);

	if (r == 0)
		r = cf_json_need_str(doc, "kind", &kind_text, err);
	if (r == 0)
		r = tpm_root_kind_parse(kind_text, &kind, err);
	for (size_t i = 0; r == 0 && i < cf_json_len(allow); i++) {
		struct cf_view one = cf_json_str(cf_json_at(allow, i));

		r = cf_hex_decode(one, sum, sizeof(sum), err);
		if (r == 0)
			cf_strv_add_take(&list, cf_view_dup(one));
	}
	return r < 0 ? r : tpm_roots_add(roots, pem, kind, &list, false, err);
}

static void root_put(struct kbs_call *c)
{
	const struct store_actor who = actor_of(c);
	cf_cleanup(cf_json_freep) struct cf_json *doc = NULL;
	cf_cleanup(tpm_roots_freep) struct tpm_roots *roots = cf_zalloc(sizeof(*roots));
	cf_cleanup(cf_buf_fini) struct cf_buf row = { 0 }, json = { 0 };
	struct cf_jw w = { .out = &json };
	struct cf_err err;
	int r = cf_json_parse(c->body, 0, &doc, &err);

	if (r == 0)
		r = check_root(doc, roots, &err);
	if (r == 0) {
		cf_json_print(doc, &row);
		r = store_tpm_root_put(c->kbs->store, &who, roots->items[0].sha256,
		                       cf_buf_view(&row), &err);
	}
	if (r == 0) {
		cf_jw_obj(&w);
		cf_jw_kstr(&w, "sha256", roots->items[0].sha256);
		cf_jw_kstr(&w, "name", roots->items[0].name);
		cf_jw_kstr(&w, "kind", tpm_root_kind_name(roots->items[0].kind));
		cf_jw_end_obj(&w);
	}
	answer(c, r, &err, cf_buf_view(&json));
}

static void root_list(struct kbs_call *c)
{
	cf_cleanup(cf_buf_fini) struct cf_buf json = { 0 };
	struct cf_err err;
	int r = store_tpm_root_all(c->kbs->store, &json, &err);

	answer(c, r, &err, cf_buf_view(&json));
}

static void root_delete(struct kbs_call *c)
{
	const struct store_actor who = actor_of(c);
	cf_cleanup(cf_freep) char *sha256 = rest_text(c);
	struct cf_err err;
	int r = store_tpm_root_delete(c->kbs->store, &who, sha256, &err);

	answer(c, r, &err, cf_view_str("{}"));
}

/* ---- audit and denials ---- */

static void audit_lines(struct kbs_call *c)
{
	cf_cleanup(cf_freep) char *from = kbs_query_value(c->query, "from");
	cf_cleanup(cf_buf_fini) struct cf_buf lines = { 0 };
	uint64_t seq = 1;
	struct cf_err err;
	int r = from ? cf_parse_u64(cf_view_str(from), INT64_MAX, &seq, &err) : 0;

	if (r == 0)
		r = store_audit_export(c->kbs->store, (int64_t)seq, AUDIT_LINES_MAX, &lines, &err);
	answer(c, r, &err, cf_buf_view(&lines));
	if (r == 0)
		c->reply.type = "application/jsonl";
}

static void audit_verify_now(struct kbs_call *c)
{
	cf_cleanup(cf_freep) char *head = kbs_query_value(c->query, "head");
	cf_cleanup(cf_buf_fini) struct cf_buf json = { 0 };
	struct cf_jw w = { .out = &json };
	struct store_audit_state state = { 0 };
	struct cf_err err;
	int r = store_audit_verify(c->kbs->store, head, &state, &err);

	if (r < 0 && err.code != CF_DATA_LOSS) {
		kbs_answer_err(c, PLUGIN_ERROR, &err);
		return;
	}
	/* A broken chain is an answer: the owner must see where. */
	cf_jw_obj(&w);
	cf_jw_kstr(&w, "schema", "coffer.audit-chain/1");
	cf_jw_kbool(&w, "ok", r == 0);
	if (r == 0) {
		cf_jw_kint(&w, "lines", state.count);
		cf_jw_kstr(&w, "head", state.head);
	} else {
		cf_jw_kstr(&w, "why", err.msg);
	}
	cf_jw_end_obj(&w);
	kbs_answer_json(c, cf_buf_view(&json));
}

static void denial_get(struct kbs_call *c)
{
	cf_cleanup(cf_freep) char *ref = rest_text(c);
	cf_cleanup(cf_buf_fini) struct cf_buf json = { 0 };
	struct cf_err err;
	int r = store_denial_get(c->kbs->store, ref, &json, &err);

	answer(c, r, &err, cf_buf_view(&json));
}

const struct kbs_route kbs_admin_routes[] = {
	/* the peers' */
	{ "POST", "/kbs/v0/resource/", true, KBS_BODY_LARGE, NULL, resource_put, NULL },
	{ "DELETE", "/kbs/v0/resource/", true, 0, NULL, resource_delete, NULL },
	{ "POST", "/kbs/v0/reference-value", true, KBS_BODY_LARGE, NULL, reference_message, NULL },
	{ "GET", "/kbs/v0/reference-value/", true, 0, NULL, reference_get, NULL },
	/* ours */
	{ "PUT", "/coffer/v1/resources/", true, KBS_BODY_LARGE, NULL, resource_put, NULL },
	{ "DELETE", "/coffer/v1/resources/", true, 0, NULL, resource_delete, NULL },
	{ "GET", "/coffer/v1/resources", true, 0, NULL, resource_list, NULL },
	{ "PUT", "/coffer/v1/references", true, KBS_BODY_LARGE, NULL, reference_put, NULL },
	{ "GET", "/coffer/v1/references", true, 0, NULL, reference_list, NULL },
	{ "DELETE", "/coffer/v1/references/", true, 0, NULL, reference_delete, NULL },
	{ "PUT", "/coffer/v1/tpm-roots", true, KBS_BODY_LARGE, NULL, root_put, NULL },
	{ "GET", "/coffer/v1/tpm-roots", true, 0, NULL, root_list, NULL },
	{ "DELETE", "/coffer/v1/tpm-roots/", true, 0, NULL, root_delete, NULL },
	{ "GET", "/coffer/v1/audit", true, 0, NULL, audit_lines, NULL },
	{ "GET", "/coffer/v1/audit/verify", true, 0, NULL, audit_verify_now, NULL },
	{ "GET", "/coffer/v1/denials/", true, 0, NULL, denial_get, NULL },
	{ 0 },
};
