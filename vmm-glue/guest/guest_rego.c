/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/guest/guest_rego.h"

#include "base/json.h"
#include "base/str.h"
#include "policy/policy.h"

#define PRINTS_MAX 240u /* bytes of what a policy printed, in a refusal */
#define REASON_MAX 160u /* bytes of the expression that decided */

struct guest_rego {
	struct policy *policy;
	struct policy_eval *eval;
	struct policy_document *state; /* {"pstate": …} */
	bool allows_failures;          /* AllowRequestsFailingPolicy: the owner is only watching */
};

static void keep_print(void *user, const char *file, unsigned line, struct cf_view text)
{
	struct cf_buf *prints = user;

	(void)file;
	(void)line;
	if (prints->size)
		cf_buf_add_str(prints, "; ");
	cf_buf_add_view(prints, cf_view_sub(text, 0, PRINTS_MAX));
}

static struct policy_request question(const struct guest_rego *g, const char *query,
                                      struct cf_view input)
{
	return (struct policy_request){
		.input_json = input,
		.data = policy_document_value(g->state),
		.query = query,
		/* Two keys of one name would let the host show the policy one and crun the other. */
		.refuses_duplicate_keys = true,
	};
}

static int run(struct guest_rego *g, const char *query, struct cf_view input, struct cf_buf *prints,
               const struct pv **ret, struct cf_err *err)
{
	struct policy_request rq = question(g, query, input);

	rq.print = keep_print;
	rq.print_user = prints;
	return policy_run(g->policy, g->eval, &rq, ret, err);
}

static int read_switch(struct guest_rego *g, struct cf_err *err)
{
	struct cf_buf prints = { .max = 1u << 16 };
	const struct pv *value = NULL;
	int r;

	r = run(g, GUEST_REGO_PACKAGE "AllowRequestsFailingPolicy", (struct cf_view){ 0 }, &prints,
	        &value, err);
	g->allows_failures = r == 0 && policy_value_is_true(value);
	cf_buf_fini(&prints);
	return r == POLICY_E_UNDEFINED ? 0 : r;
}

int guest_rego_new(struct cf_view text, struct guest_rego **ret, struct cf_err *err)
{
	cf_cleanup(guest_rego_freep) struct guest_rego *g = cf_zalloc(sizeof(*g));
	struct policy_source source = { .name = "policy.rego", .text = text };
	int r;

	r = policy_compile(&source, 1, NULL, &g->policy, err);
	if (r == 0)
		r = policy_eval_new(NULL, &g->eval, err);
	if (r == 0)
		r = policy_document_read(cf_view_str("{\"pstate\":{}}"), &g->state, err);
	if (r == 0)
		r = read_switch(g, err);
	if (r < 0)
		return r;
	*ret = cf_take(&g);
	return 0;
}

struct guest_rego *guest_rego_free(struct guest_rego *g)
{
	if (!g)
		return NULL;
	policy_document_free(g->state);
	policy_eval_free(g->eval);
	policy_unref(g->policy);
	free(g);
	return NULL;
}

/* 0 with the verdict, or negative; the state moves on with a yes. */
static int ask(struct guest_rego *g, const char *query, struct cf_view input, struct cf_buf *prints,
               bool *ret_allowed, struct cf_err *err)
{
	const struct pv *value = NULL, *ops = NULL;
	int r;

	*ret_allowed = false;
	r = run(g, query, input, prints, &value, err);
	if (r == POLICY_E_UNDEFINED)
		return 0;
	if (r == 0)
		r = policy_value_verdict(value, ret_allowed, &ops, err);
	if (r == 0 && *ret_allowed && ops)
		r = policy_document_patch(g->state, ops, "/pstate/", err);
	if (r < 0)
		*ret_allowed = false;
	return r;
}

/* ---- why ---- */

/* The body that was tried last, of the rule that was asked last: there it was decided. */
static const struct cf_json *deciding_body(const struct cf_json *explanation)
{
	const struct cf_json *body = NULL;
	const struct cf_json *next = cf_json_at(cf_json_get(explanation, "bodies"), 0);

	while (next && cf_json_get(next, "failed")) {
		body = next;
		next = cf_json_at(cf_json_get(body, "asked"), 0);
	}
	return body;
}

/* Asks again, with records: evaluation is pure. Adds "policy.rego:LINE:COL: expression (what it was)". */
static void add_reason(struct guest_rego *g, const char *query, struct cf_view input,
                       struct cf_buf *out)
{
	cf_cleanup(cf_json_freep) struct cf_json *explanation = NULL;
	cf_cleanup(cf_buf_fini) struct cf_buf json = { 0 };
	struct policy_request rq = question(g, query, input);
	const struct pv *value;

	rq.wants_explain = true;
	if (policy_run(g->policy, g->eval, &rq, &value, NULL) < 0 ||
	    policy_explain(g->eval, true, &json, NULL) < 0 ||
	    cf_json_parse(cf_buf_view(&json), json.size, &explanation, NULL) < 0)
		return;
	const struct cf_json *body = deciding_body(explanation);
	const struct cf_json *failed = cf_json_get(body, "failed");

	if (!failed)
		return;
	struct cf_view file = cf_json_str(cf_json_get(body, "file"));
	struct cf_view text = cf_json_str(cf_json_get(failed, "text"));
	struct cf_view what = cf_json_str(cf_json_get(failed, "why"));

	cf_buf_printf(out, "%s%.*s:%lld:%lld: %.*s (%.*s)", out->size ? "; " : "", (int)file.size,
	              (const char *)file.data, (long long)cf_json_int(cf_json_get(failed, "line")),
	              (long long)cf_json_int(cf_json_get(failed, "col")),
	              (int)CF_MIN(text.size, (size_t)REASON_MAX), (const char *)text.data,
	              (int)what.size, (const char *)what.data);
}

static int refuse(struct guest_rego *g, const char *name, const char *query, struct cf_view input,
                  struct cf_view prints, const struct cf_err *why, struct cf_err *err)
{
	cf_cleanup(cf_buf_fini) struct cf_buf text = { 0 };

	cf_buf_add_str(&text, why->msg);
	if (text.size && prints.size)
		cf_buf_add_str(&text, "; ");
	cf_buf_add_view(&text, cf_view_sub(prints, 0, PRINTS_MAX));
	if (!*why->msg)
		add_reason(g, query, input, &text);
	return cf_fail(err, CF_PERMISSION_DENIED, "%s is blocked by policy: %.*s", name,
	               (int)text.size, text.size ? (const char *)text.data : "");
}

int guest_rego_judge(struct guest_rego *g, const ProtobufCMessage *request, struct cf_err *err)
{
	const char *name = request->descriptor->short_name;
	cf_cleanup(cf_freep) char *query = cf_asprintf(GUEST_REGO_PACKAGE "%s", name);
	struct cf_buf input = { 0 }, prints = { .max = 1u << 16 };
	struct cf_err why = { .msg = "" };
	bool allowed = false;
	int r;

	guest_request_json(request, &input);
	r = cf_buf_check(&input, name, &why);
	if (r == 0)
		r = ask(g, query, cf_buf_view(&input), &prints, &allowed, &why);
	if (r < 0)
		allowed = false;
	if (allowed || g->allows_failures)
		r = 0;
	else
		r = refuse(g, name, query, cf_buf_view(&input), cf_buf_view(&prints), &why, err);
	cf_buf_fini(&input);
	cf_buf_fini(&prints);
	return r;
}
