/* SPDX-License-Identifier: Apache-2.0 */
/* Asking a policy: the documents it sees, the budget it has, and how its answer is read. */
#include "kbs/policy_ask.h"

#include "kbs/verdict.h"
#include "proto/kbs_wire.h"

#define ALLOW      "data.policy.allow"
#define TRUST      "data.policy.trust_claims"
#define EXTENSIONS "data.policy.extensions"

/* ---- what policies may call ---- */

/* query_reference_value(id): the stored value, or null. */
const struct policy_hook policy_ask_hooks[POLICY_ASK_HOOKS] = {
	{ .name = "query_reference_value", .arity = 1, .call = policy_document_lookup },
};

/* ---- running ---- */

static int new_eval(struct policy_eval **ret, struct cf_err *err)
{
	const struct policy_budget budget = { .steps = POLICIES_STEPS,
		                              .memory_bytes = POLICIES_MEMORY,
		                              .wall_ms = POLICIES_WALL_MS };

	return policy_eval_new(&budget, ret, err);
}

static int need_policy(const struct policy_entry *e, struct cf_err *err)
{
	return e->policy
	               ? 0
	               : cf_fail(err, CF_FAILED_PRECONDITION, "it does not compile: %s", e->broken);
}

/* Evaluation is pure: the run is repeated, this time with records. Appends; silent when it fails. */
static void add_explanation(const struct policy_entry *e, struct policy_eval *ev,
                            const struct policy_request *asked, struct cf_buf *out)
{
	struct policy_request rq = *asked;
	const struct pv *v;

	rq.wants_explain = true;
	if (policy_run(e->policy, ev, &rq, &v, NULL) < 0 ||
	    policy_explain(ev, false, out, NULL) < 0)
		cf_buf_add_str(out, "(no explanation could be made)\n");
}

/* As text, cut on purpose: what is kept of a guest's claims is bounded. */
static char *explanation_text(struct cf_buf *b)
{
	if (b->size > POLICIES_EXPLAIN_MAX) {
		b->size = POLICIES_EXPLAIN_MAX;
		while (b->size && (b->data[b->size] & 0xc0) == 0x80)
			b->size--;
		cf_buf_add_str(b, "…\n");
	}
	return b->size ? cf_buf_take_str(b) : NULL;
}

/* ---- resources ---- */

void policy_answer_fini(struct policy_answer *a)
{
	free(a->why);
	free(a->explain);
}

void policy_ask_allow(const struct policy_entry *e, struct cf_view input, struct cf_view data,
                      struct policy_answer *ret)
{
	cf_cleanup(policy_eval_freep) struct policy_eval *ev = NULL;
	cf_cleanup(cf_buf_fini) struct cf_buf explain = { 0 };
	struct policy_request rq = { .query = ALLOW, .input_json = input, .data_json = data };
	const struct pv *v = NULL;
	struct cf_err err;
	int r = need_policy(e, &err);

	*ret = (struct policy_answer){ .kind = POLICY_DENIED };
	if (r == 0)
		r = new_eval(&ev, &err);
	if (r == 0)
		r = policy_run(e->policy, ev, &rq, &v, &err);
	if (r == 0 && policy_value_is_true(v)) {
		ret->kind = POLICY_ALLOWED;
		return;
	}
	if (r < 0) {
		ret->kind = POLICY_FAILED;
		ret->why = cf_strdup(err.msg);
		return;
	}
	add_explanation(e, ev, &rq, &explain);
	ret->explain = explanation_text(&explain);
}

void policy_ask_resource(const struct policy_entry *e, struct cf_view claims, const char *path,
                         struct cf_view query_json, struct policy_answer *ret)
{
	cf_cleanup(cf_buf_fini) struct cf_buf data = { 0 };

	kbs_policy_data(path, query_json, &data);
	policy_ask_allow(e, claims, cf_buf_view(&data), ret);
}

/* ---- attestation ---- */

void policy_trust_fini(struct policy_trust *t)
{
	cf_buf_fini(&t->extensions);
	free(t->explain);
	*t = (struct policy_trust){ 0 };
}

struct reading {
	struct policy_trust *trust;
	bool is_bad;
	struct cf_err *err;
};

static const char *aspect_of(struct cf_view key)
{
	for (int a = 0; a < VERDICT_ASPECTS; a++)
		if (cf_view_eq_str(key, verdict_aspect_name((enum verdict_aspect)a)))
			return verdict_aspect_name((enum verdict_aspect)a);
	return NULL;
}

static void take_claim(void *user, const struct pv *key, const struct pv *val)
{
	struct reading *rd = user;
	struct policy_trust *t = rd->trust;
	struct cf_view name = { 0 };
	const char *aspect;
	int64_t value;

	if (rd->is_bad)
		return;
	rd->is_bad = true;
	if (!key || !policy_value_string(key, &name) || !(aspect = aspect_of(name))) {
		cf_fail(rd->err, CF_INVALID_ARGUMENT, "trust_claims: \"%.*s\" is no trust claim",
		        (int)CF_MIN(name.size, (size_t)64), (const char *)name.data);
		return;
	}
	if (!policy_value_int(val, &value) || value < INT8_MIN || value > INT8_MAX) {
		cf_fail(rd->err, CF_INVALID_ARGUMENT,
		        "trust_claims: %s is no integer from -128 to 127", aspect);
		return;
	}
	rd->is_bad = t->count >= POLICY_TRUST_MAX;
	if (rd->is_bad)
		return;
	t->claims[t->count].name = aspect;
	t->claims[t->count++].value = (int)value;
}

static int read_claims(const struct pv *v, struct policy_trust *t, struct cf_err *err)
{
	struct reading rd = { .trust = t, .err = err };
	cf_cleanup(cf_buf_fini) struct cf_buf json = { 0 };
	int r = policy_value_json(v, &json, err);

	if (r < 0)
		return r;
	if (json.size == 0 || json.data[0] != '{')
		return cf_fail(err, CF_INVALID_ARGUMENT, "trust_claims is no object");
	policy_value_each(v, take_claim, &rd);
	if (rd.is_bad)
		return -(int)err->code;
	if (t->count == 0)
		return cf_fail(err, CF_INVALID_ARGUMENT, "trust_claims sets no claim");
	return 0;
}

/* A policy without the rule claims nothing: all of them are 0. One whose rule has no value is wrong. */
static int ask_claims(const struct policy_entry *e, struct policy_eval *ev,
                      struct policy_request *rq, struct policy_trust *t, struct cf_err *err)
{
	const struct pv *v = NULL;
	int r;

	if (!policy_has_rule(e->policy, TRUST))
		return 0;
	rq->query = TRUST;
	r = policy_run(e->policy, ev, rq, &v, err);
	if (r == POLICY_E_UNDEFINED)
		return cf_fail(err, CF_INVALID_ARGUMENT, "trust_claims has no value");
	return r < 0 ? r : read_claims(v, t, err);
}

static int ask_extensions(const struct policy_entry *e, struct policy_eval *ev,
                          struct policy_request *rq, struct policy_trust *t, struct cf_err *err)
{
	const struct pv *v = NULL;
	int r;

	if (!policy_has_rule(e->policy, EXTENSIONS))
		return 0;
	rq->query = EXTENSIONS;
	r = policy_run(e->policy, ev, rq, &v, err);
	return r ? CF_MIN(r, 0) : policy_value_json(v, &t->extensions, err);
}

/* By habit the rule behind a claim has the claim's name, with underscores. */
static void explain_claims(const struct policy_entry *e, struct policy_eval *ev,
                           struct policy_request *rq, struct policy_trust *t)
{
	cf_cleanup(cf_buf_fini) struct cf_buf out = { 0 };

	for (size_t i = 0; i < t->count; i++) {
		cf_cleanup(cf_freep) char *rule = cf_asprintf("data.policy.%s", t->claims[i].name);

		for (char *p = rule; *p; p++)
			*p = *p == '-' ? '_' : *p;
		if (verdict_tier_of(t->claims[i].value) <= TIER_AFFIRMING ||
		    !policy_has_rule(e->policy, rule))
			continue;
		rq->query = rule;
		add_explanation(e, ev, rq, &out);
	}
	t->explain = explanation_text(&out);
}

int policy_ask_trust(const struct policy_entry *e, struct cf_view input, struct cf_view references,
                     struct policy_trust *ret, struct cf_err *err)
{
	cf_cleanup(policy_eval_freep) struct policy_eval *ev = NULL;
	cf_cleanup(policy_document_freep) struct policy_document *table = NULL;
	cf_cleanup(policy_trust_fini) struct policy_trust t = { 0 };
	struct policy_request rq = { .input_json = input };
	int r = need_policy(e, err);

	if (r == 0 && references.size)
		r = policy_document_read(references, &table, err);
	if (r == 0)
		r = new_eval(&ev, err);
	rq.hook_user = table;
	if (r == 0)
		r = ask_claims(e, ev, &rq, &t, err);
	if (r == 0)
		r = ask_extensions(e, ev, &rq, &t, err);
	if (r < 0)
		return r;
	explain_claims(e, ev, &rq, &t);
	*ret = t;
	t = (struct policy_trust){ 0 };
	return 0;
}
