/* SPDX-License-Identifier: Apache-2.0 */
#include "kbs/policy_appraise.h"

#include "base/json.h"

#define CHECK              "attestation-policy"
#define HARDWARE_UNTRUSTED 97

/* Members of a submodule that are not the policy's to write. */
static const char *const reserved[] = {
	"ear.status",
	"ear.trustworthiness-vector",
	"ear.appraisal-policy-id",
	"ear.veraison.annotated-evidence",
	"coffer",
};

static int check_extension(const struct cf_json *one, struct cf_err *err)
{
	const struct cf_json *key = cf_json_get(one, "key");
	struct cf_view name = { 0 };
	int64_t number = cf_json_int(key);
	int r = cf_json_need_str(one, "name", &name, err);

	if (r < 0)
		return cf_wrap(err, r, "extensions");
	for (size_t i = 0; i < CF_ARRAY_LEN(reserved); i++)
		if (cf_view_eq_str(name, reserved[i]))
			return cf_fail(err, CF_INVALID_ARGUMENT,
			               "extensions: %s is not for policies", reserved[i]);
	if (!name.size || cf_json_type(key) != CF_JSON_INT || number < INT32_MIN ||
	    number > INT32_MAX || !cf_json_get(one, "value"))
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "extensions: each is {\"name\", \"key\" (32 bits), \"value\"}");
	return 0;
}

static int check_extensions(struct cf_view json, struct cf_err *err)
{
	cf_cleanup(cf_json_freep) struct cf_json *list = NULL;
	int r = json.size ? cf_json_parse(json, 0, &list, err) : 0;

	if (r == 0 && list && cf_json_type(list) != CF_JSON_ARRAY)
		r = cf_fail(err, CF_INVALID_ARGUMENT, "extensions is no array");
	for (size_t i = 0; r == 0 && i < cf_json_len(list); i++)
		r = check_extension(cf_json_at(list, i), err);
	return r;
}

/* The verifier's own opinion on measurements stays readable and stops to count. */
static void demote_appraisal(struct verdict *v)
{
	for (size_t i = 0; i < v->count; i++)
		if (v->checks[i].state == CHECK_BAD && !v->checks[i].is_evidence)
			v->checks[i].state = CHECK_SKIPPED;
}

static void take_trust(const struct policy_trust *t, struct verdict *v)
{
	memset(v->trust, 0, sizeof(v->trust));
	for (size_t i = 0; i < t->count; i++)
		for (int a = 0; a < VERDICT_ASPECTS; a++)
			if (t->claims[i].name == verdict_aspect_name((enum verdict_aspect)a))
				v->trust[a] = t->claims[i].value;
}

static bool names_anchor(const struct policy_entry *e, const struct verdict *v)
{
	return v->anchor_sha256[0] &&
	       memmem(e->text.data, e->text.size, v->anchor_sha256, strlen(v->anchor_sha256));
}

/* Where nothing proves the hardware, a policy may trust it only by naming the root it trusts. */
static bool doubts_hardware(const struct policy_entry *e, struct verdict *v)
{
	if (!v->hardware_doubt || names_anchor(e, v) ||
	    verdict_tier_of(v->trust[VERDICT_HARDWARE]) != TIER_AFFIRMING)
		return false;
	v->trust[VERDICT_HARDWARE] = HARDWARE_UNTRUSTED;
	return true;
}

/* "executables 33, hardware 97" */
static char *bad_claims(const struct verdict *v)
{
	cf_cleanup(cf_buf_fini) struct cf_buf b = { 0 };

	for (int a = 0; a < VERDICT_ASPECTS; a++)
		if (verdict_tier_of(v->trust[a]) > TIER_AFFIRMING)
			cf_buf_printf(&b, "%s%s %d", b.size ? ", " : "",
			              verdict_aspect_name((enum verdict_aspect)a), v->trust[a]);
	return b.size ? cf_buf_take_str(&b) : cf_strdup("it affirms nothing");
}

static void conclude(const struct policy_entry *e, struct verdict *v)
{
	bool is_doubted = doubts_hardware(e, v);
	cf_cleanup(cf_freep) char *claims = bad_claims(v);
	struct verdict_check *c;

	if (verdict_status(v) == TIER_AFFIRMING) {
		verdict_ok(v, CHECK)->covers = cf_strdup(e->id);
		return;
	}
	c = verdict_differs(v, CHECK, "%s%s%s", claims, is_doubted ? ": " : "",
	                    is_doubted ? v->hardware_doubt : "");
	c->covers = cf_strdup(e->id);
	c->fix = is_doubted ? cf_strdup("a policy that names the root's SHA-256 may trust it")
	                    : cf_asprintf("coffer kbs policy get attestation/%s", e->id);
}

void policy_appraise(const struct policy_entry *e, struct cf_view input, struct cf_view references,
                     struct verdict *v)
{
	cf_cleanup(policy_trust_fini) struct policy_trust t = { 0 };
	struct cf_err err;
	int r = policy_ask_trust(e, input, references, &t, &err);

	if (r == 0)
		r = check_extensions(cf_buf_view(&t.extensions), &err);
	demote_appraisal(v);
	v->policy = cf_asprintf("%s version %lld", e->id, (long long)e->version);
	if (r < 0) {
		verdict_refuse(v, CHECK, "the policy gave no answer: %s", err.msg)->covers =
			cf_strdup(e->id);
		return;
	}
	take_trust(&t, v);
	v->extensions = t.extensions;
	t.extensions = (struct cf_buf){ 0 };
	v->policy_explain = cf_take(&t.explain);
	conclude(e, v);
}
