/* SPDX-License-Identifier: Apache-2.0 */
/* What the owner calls about policies: the peers' two routes, and ours by kind and id. */
#include "kbs/api.h"

static const char POLICY_ERROR[] = "ParsePolicyError";
static const char NO_POLICY[] = "no such policy: the built-in rule decides";

/* kind/id behind the route's own path. */
struct name {
	enum store_policy_kind kind;
	char *id;
};

static void name_fini(struct name *n)
{
	free(n->id);
}

static int parse_name(struct cf_view text, struct name *ret, struct cf_err *err)
{
	ssize_t slash = cf_view_find(text, '/');
	size_t size = slash < 0 ? text.size : (size_t)slash;
	struct cf_view id = slash < 0 ? (struct cf_view){ 0 }
	                              : cf_view_sub(text, size + 1, text.size - size - 1);
	int r = store_policy_kind_parse(cf_view_sub(text, 0, size), &ret->kind, err);

	if (r == 0 && slash < 0 && ret->kind == STORE_POLICY_RESOURCE)
		id = cf_view_str(POLICIES_GLOBAL_ID);
	if (r == 0)
		r = store_policy_id_check(id, err);
	if (r == 0)
		ret->id = cf_view_dup(id);
	return r;
}

/* ---- putting ---- */

struct stored {
	int64_t version;
	struct cf_buf warnings;
};

static void stored_fini(struct stored *s)
{
	cf_buf_fini(&s->warnings);
}

/* Nothing is stored that does not compile; what is stored is in force before the answer goes out. */
static int put(struct kbs_call *c, const struct name *n, struct cf_view text, struct stored *ret,
               struct cf_err *err)
{
	const struct store_actor who = { c->actor, c->peer };
	cf_cleanup(cf_freep) char *file = cf_asprintf("%s.rego", n->id);
	cf_cleanup(policy_unrefp) struct policy *p = NULL;
	const struct policy_set *set;
	int r = 0;

	if (text.size == 0 || text.size > STORE_POLICY_MAX)
		return cf_fail(err, text.size ? CF_RESOURCE_EXHAUSTED : CF_INVALID_ARGUMENT,
		               "a policy of %zu bytes; 1 to %u are taken", text.size,
		               STORE_POLICY_MAX);
	r = policies_compile(file, text, &p, &ret->warnings, err);
	if (r == 0)
		r = store_policy_put(c->kbs->store, &who, n->kind, n->id, text, &ret->version, err);
	return r < 0 ? r : kbs_policies(c, &set, err);
}

static void answer_stored(struct kbs_call *c, const struct name *n, const struct stored *s)
{
	cf_cleanup(cf_buf_fini) struct cf_buf json = { 0 };
	struct cf_jw w = { .out = &json };

	cf_jw_obj(&w);
	cf_jw_kstr(&w, "kind", store_policy_kind_name(n->kind));
	cf_jw_kstr(&w, "id", n->id);
	cf_jw_kint(&w, "version", s->version);
	cf_jw_kview(&w, "warnings", cf_buf_view(&s->warnings));
	cf_jw_end_obj(&w);
	kbs_answer_json(c, cf_buf_view(&json));
}

/* What is wrong with a policy is the client's to mend: 400, with the peers' word for it. */
static void refuse(struct kbs_call *c, const struct cf_err *err)
{
	if (err->code == CF_INVALID_ARGUMENT || err->code == CF_RESOURCE_EXHAUSTED)
		kbs_answer_error(c, 400, POLICY_ERROR, err->msg);
	else
		kbs_answer_err(c, "PluginInternalError", err);
}

static int shipped_text(struct kbs_call *c, const struct name *n, struct cf_view *ret,
                        struct cf_err *err)
{
	cf_cleanup(cf_freep) char *name = kbs_query_value(c->query, "shipped");
	const struct policies_shipped *p;

	*ret = c->body;
	if (!name)
		return 0;
	p = policies_find_shipped(n->kind, name);
	if (!p)
		return cf_fail(err, CF_NOT_FOUND, "no %s policy \"%s\" comes with the program",
		               store_policy_kind_name(n->kind), name);
	*ret = cf_view(p->text, p->size);
	return 0;
}

static void policy_put(struct kbs_call *c)
{
	cf_cleanup(name_fini) struct name n = { 0 };
	cf_cleanup(stored_fini) struct stored s = { 0 };
	struct cf_view text = { 0 };
	struct cf_err err;
	int r = parse_name(c->rest, &n, &err);

	if (r == 0)
		r = shipped_text(c, &n, &text, &err);
	if (r == 0)
		r = put(c, &n, text, &s, &err);
	if (r < 0)
		refuse(c, &err);
	else
		answer_stored(c, &n, &s);
}

/* The peers' form: the text is base64url without padding in member "policy". */
static void put_message(struct kbs_call *c, bool names_itself)
{
	cf_cleanup(cf_json_freep) struct cf_json *doc = NULL;
	cf_cleanup(cf_buf_fini) struct cf_buf text = { .max = STORE_POLICY_MAX };
	cf_cleanup(name_fini) struct name n = { .kind = STORE_POLICY_RESOURCE };
	cf_cleanup(stored_fini) struct stored s = { 0 };
	struct cf_view id = cf_view_str(POLICIES_GLOBAL_ID);
	struct cf_err err;
	int r = cf_json_parse(c->body, 0, &doc, &err);

	if (r == 0 && names_itself) {
		n.kind = STORE_POLICY_ATTESTATION;
		r = cf_json_need_str(doc, "policy_id", &id, &err);
	}
	if (r == 0)
		r = store_policy_id_check(id, &err);
	if (r == 0)
		r = cf_json_need_b64(doc, "policy", CF_B64_URL, &text, &err);
	if (r == 0) {
		n.id = cf_view_dup(id);
		r = put(c, &n, cf_buf_view(&text), &s, &err);
	}
	if (r < 0)
		refuse(c, &err);
	else
		c->reply.status = 200;
}

static void resource_policy_put(struct kbs_call *c)
{
	put_message(c, false);
}

static void attestation_policy_put(struct kbs_call *c)
{
	put_message(c, true);
}

/* ---- reading ---- */

static void list_ids(struct kbs_call *c, enum store_policy_kind kind)
{
	cf_cleanup(cf_buf_fini) struct cf_buf json = { 0 };
	struct cf_jw w = { .out = &json };
	const struct policy_set *set = NULL;
	struct cf_err err;

	if (kbs_policies(c, &set, &err) < 0) {
		kbs_answer_err(c, "PluginInternalError", &err);
		return;
	}
	cf_jw_arr(&w);
	for (size_t i = 0; i < policy_set_count(set); i++)
		if (policy_set_at(set, i)->kind == kind)
			cf_jw_str(&w, policy_set_at(set, i)->id);
	cf_jw_end_arr(&w);
	kbs_answer_json(c, cf_buf_view(&json));
}

static void resource_policy_list(struct kbs_call *c)
{
	list_ids(c, STORE_POLICY_RESOURCE);
}

static void attestation_policy_list(struct kbs_call *c)
{
	list_ids(c, STORE_POLICY_ATTESTATION);
}

static void answer_text(struct kbs_call *c, enum store_policy_kind kind, const char *id)
{
	const struct policy_set *set = NULL;
	const struct policy_entry *e;
	struct cf_err err;

	if (kbs_policies(c, &set, &err) < 0) {
		kbs_answer_err(c, "PluginInternalError", &err);
		return;
	}
	e = policy_set_find(set, kind, id);
	if (!e) {
		kbs_answer_error(c, 404, "PluginInternalError", NO_POLICY);
		return;
	}
	cf_buf_add_view(&c->reply.body, cf_buf_view(&e->text));
	c->reply.status = 200;
	c->reply.type = "text/plain; charset=utf-8";
}

static void attestation_policy_get(struct kbs_call *c)
{
	cf_cleanup(cf_freep) char *id = cf_view_dup(c->rest);

	answer_text(c, STORE_POLICY_ATTESTATION, id);
}

static void policy_get(struct kbs_call *c)
{
	cf_cleanup(name_fini) struct name n = { 0 };
	struct cf_err err;

	if (parse_name(c->rest, &n, &err) < 0)
		kbs_answer_err(c, "InvalidRequestPath", &err);
	else
		answer_text(c, n.kind, n.id);
}

static void write_entry(const struct policy_entry *e, struct cf_jw *w)
{
	cf_jw_obj(w);
	cf_jw_kstr(w, "kind", store_policy_kind_name(e->kind));
	cf_jw_kstr(w, "id", e->id);
	cf_jw_kint(w, "version", e->version);
	cf_jw_kstr(w, "time", e->time);
	cf_jw_kuint(w, "size", e->text.size);
	cf_jw_kstr(w, "sha256", e->sha256);
	if (e->broken)
		cf_jw_kstr(w, "broken", e->broken);
	cf_jw_end_obj(w);
}

static void policy_list(struct kbs_call *c)
{
	cf_cleanup(cf_buf_fini) struct cf_buf json = { 0 };
	struct cf_jw w = { .out = &json };
	const struct policy_set *set = NULL;
	struct cf_err err;

	if (kbs_policies(c, &set, &err) < 0) {
		kbs_answer_err(c, "PluginInternalError", &err);
		return;
	}
	cf_jw_obj(&w);
	cf_jw_kstr(&w, "schema", "coffer.policy-list/1");
	cf_jw_key(&w, "items");
	cf_jw_arr(&w);
	for (size_t i = 0; i < policy_set_count(set); i++)
		write_entry(policy_set_at(set, i), &w);
	cf_jw_end_arr(&w);
	cf_jw_key(&w, "shipped");
	cf_jw_arr(&w);
	for (const struct policies_shipped *p = policies_shipped; p->name; p++) {
		cf_cleanup(cf_freep) char *name =
			cf_asprintf("%s/%s", store_policy_kind_name(p->kind), p->name);

		cf_jw_str(&w, name);
	}
	cf_jw_end_arr(&w);
	cf_jw_end_obj(&w);
	kbs_answer_json(c, cf_buf_view(&json));
}

static void policy_delete(struct kbs_call *c)
{
	const struct store_actor who = { c->actor, c->peer };
	cf_cleanup(name_fini) struct name n = { 0 };
	const struct policy_set *set;
	struct cf_err err;
	int r = parse_name(c->rest, &n, &err);

	if (r == 0)
		r = store_policy_delete(c->kbs->store, &who, n.kind, n.id, &err);
	if (r == 0)
		r = kbs_policies(c, &set, &err);
	if (r < 0)
		kbs_answer_err(c, "PluginInternalError", &err);
	else
		kbs_answer_json(c, cf_view_str("{}"));
}

const struct kbs_route kbs_policy_routes[] = {
	/* the peers' */
	{ "POST", "/kbs/v0/resource-policy", true, KBS_BODY_LARGE, NULL, resource_policy_put,
	  NULL },
	{ "GET", "/kbs/v0/resource-policy", true, 0, NULL, resource_policy_list, NULL },
	{ "POST", "/kbs/v0/attestation-policy", true, KBS_BODY_LARGE, NULL, attestation_policy_put,
	  NULL },
	{ "GET", "/kbs/v0/attestation-policy", true, 0, NULL, attestation_policy_list, NULL },
	{ "GET", "/kbs/v0/attestation-policy/", true, 0, NULL, attestation_policy_get, NULL },
	/* ours */
	{ "PUT", "/coffer/v1/policies/", true, KBS_BODY_LARGE, NULL, policy_put, NULL },
	{ "GET", "/coffer/v1/policies/", true, 0, NULL, policy_get, NULL },
	{ "DELETE", "/coffer/v1/policies/", true, 0, NULL, policy_delete, NULL },
	{ "GET", "/coffer/v1/policies", true, 0, NULL, policy_list, NULL },
	{ 0 },
};
