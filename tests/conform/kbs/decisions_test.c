/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decision tables of resource and attestation policies, through what the daemon asks: a policy
 * is stored, compiled into a set as after an upload, and judged by policy_ask_*(). The shipped
 * policies have to decide as the ones that they stand for.
 */
#include "tests/harness/test.h"

#include "kbs/policies.h"

static const struct store_actor owner = { "owner", NULL };

/* Policies of the tables that have a shipped twin. Ours of the name "affirming" has none: it wants a
 * status where the peers' is content without one. */
static const struct {
	const char *policy, *shipped;
} twins[] = {
	{ "kbs_default", "default" },     { "kbs_coffer", "strict" },
	{ "kbs_allow_all", "allow_all" }, { "kbs_deny_all", "deny_all" },
	{ "as_cpu", "default_cpu" },
};

static const char *twin_of(const char *policy)
{
	for (size_t i = 0; i < CF_ARRAY_LEN(twins); i++)
		if (!strcmp(twins[i].policy, policy))
			return twins[i].shipped;
	return NULL;
}

struct table {
	struct cf_json *doc;
	const struct cf_json *cases;
	struct store *store;
	struct policy_set *set;
	bool uses_shipped;
	unsigned asked, wrong;
};

static struct cf_view member(const struct cf_json *c, const char *key)
{
	return cf_json_str(cf_json_get(c, key));
}

static bool is_trust(const struct cf_json *c)
{
	return !cf_view_eq_str(member(c, "query"), "data.policy.allow");
}

/* Under the case's own policy name, so that all of them are in one set. */
static void store_text(struct table *t, const struct cf_json *c)
{
	cf_cleanup(cf_freep) char *name = cf_view_dup(member(c, "policy"));
	cf_cleanup(cf_freep) char *rel = cf_asprintf("rego/policies/%s.rego", name);
	cf_cleanup(cf_freep) char *path = cf_test_vector(rel);
	struct cf_buf file = cf_test_read(path);
	struct cf_view text = cf_buf_view(&file);
	enum store_policy_kind kind =
		is_trust(c) ? STORE_POLICY_ATTESTATION : STORE_POLICY_RESOURCE;
	int64_t version;
	struct cf_err err;

	if (t->uses_shipped) {
		const struct policies_shipped *p = policies_find_shipped(kind, twin_of(name));

		EXPECT(p);
		text = cf_view(p->text, p->size);
	}
	EXPECT_OK(store_policy_put(t->store, &owner, kind, name, text, &version, &err), &err);
	cf_buf_fini(&file);
}

static bool is_ours(const struct table *t, const struct cf_json *c)
{
	cf_cleanup(cf_freep) char *name = cf_view_dup(member(c, "policy"));

	return !t->uses_shipped || twin_of(name);
}

static void table_open(struct table *t, bool uses_shipped)
{
	cf_cleanup(cf_freep) char *path = cf_test_vector("rego/kbs/decisions.json");
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	struct cf_buf text = cf_test_read(path);
	struct cf_err err;

	*t = (struct table){ .uses_shipped = uses_shipped };
	EXPECT_OK(cf_json_parse(cf_buf_view(&text), 0, &t->doc, &err), &err);
	cf_buf_fini(&text);
	t->cases = cf_json_get(t->doc, "cases");
	EXPECT_OK(store_open(dir, &t->store, &err), &err);
	for (size_t i = 0; i < cf_json_len(t->cases); i++)
		if (is_ours(t, cf_json_at(t->cases, i)))
			store_text(t, cf_json_at(t->cases, i));
	EXPECT_OK(policy_set_load(t->store, &t->set, &err), &err);
}

static void table_close(struct table *t)
{
	policy_set_unref(t->set);
	store_close(t->store);
	cf_json_free(t->doc);
}

static struct cf_buf printed(const struct cf_json *v)
{
	struct cf_buf b = { 0 };

	if (v)
		cf_json_print_sorted(v, &b);
	return b;
}

static void judge(struct table *t, const struct cf_json *c, bool ok, const char *got)
{
	struct cf_view name = member(c, "name");

	t->asked++;
	t->wrong += !ok;
	if (!ok)
		print_message("WRONG %.*s: %s\n", (int)name.size, (const char *)name.data, got);
}

static void ask_allow(struct table *t, const struct policy_entry *e, const struct cf_json *c)
{
	cf_cleanup(cf_buf_fini) struct cf_buf input = printed(cf_json_get(c, "input"));
	cf_cleanup(cf_buf_fini) struct cf_buf data = printed(cf_json_get(c, "data"));
	static const char *const names[] = { "denied", "allowed", "failed" };
	enum policy_answer_kind want = cf_json_is_true(cf_json_get(c, "want")) ? POLICY_ALLOWED
	                               : member(c, "want_error_code").size     ? POLICY_FAILED
	                                                                       : POLICY_DENIED;
	cf_cleanup(policy_answer_fini) struct policy_answer a = { 0 };

	policy_ask_allow(e, cf_buf_view(&input), cf_buf_view(&data), &a);
	judge(t, c, a.kind == want, names[a.kind]);
	EXPECT(a.kind != POLICY_DENIED || a.explain);
}

static char *claims_text(const struct policy_trust *trust)
{
	cf_cleanup(cf_buf_fini) struct cf_buf b = { 0 };
	cf_cleanup(cf_json_freep) struct cf_json *doc = NULL;
	struct cf_jw w = { .out = &b };
	struct cf_buf sorted;
	struct cf_err err;

	cf_jw_obj(&w);
	for (size_t i = 0; i < trust->count; i++)
		cf_jw_kint(&w, trust->claims[i].name, trust->claims[i].value);
	cf_jw_end_obj(&w);
	EXPECT_OK(cf_json_parse(cf_buf_view(&b), 0, &doc, &err), &err);
	sorted = printed(doc);
	return cf_buf_take_str(&sorted);
}

static char *extensions_text(const struct policy_trust *trust)
{
	cf_cleanup(cf_json_freep) struct cf_json *doc = NULL;
	struct cf_buf sorted;
	struct cf_err err;

	EXPECT_OK(cf_json_parse(cf_buf_view(&trust->extensions), 0, &doc, &err), &err);
	sorted = printed(doc);
	return cf_buf_take_str(&sorted);
}

static void ask_trust(struct table *t, const struct policy_entry *e, const struct cf_json *c)
{
	cf_cleanup(cf_buf_fini) struct cf_buf input = printed(cf_json_get(c, "input"));
	cf_cleanup(cf_buf_fini) struct cf_buf refs = printed(cf_json_get(c, "reference_values"));
	cf_cleanup(cf_buf_fini) struct cf_buf want = printed(cf_json_get(c, "want"));
	cf_cleanup(policy_trust_fini) struct policy_trust trust = { 0 };
	cf_cleanup(cf_freep) char *got = NULL;
	struct cf_err err;
	int r = policy_ask_trust(e, cf_buf_view(&input), cf_buf_view(&refs), &trust, &err);

	if (r < 0) {
		judge(t, c, member(c, "want_error_code").size, err.msg);
		return;
	}
	got = cf_view_eq_str(member(c, "query"), "data.policy.extensions") ? extensions_text(&trust)
	                                                                   : claims_text(&trust);
	judge(t, c, cf_view_eq_str(cf_buf_view(&want), got), got);
}

static void run_table(bool uses_shipped)
{
	struct table t;

	table_open(&t, uses_shipped);
	for (size_t i = 0; i < cf_json_len(t.cases); i++) {
		const struct cf_json *c = cf_json_at(t.cases, i);
		cf_cleanup(cf_freep) char *name = cf_view_dup(member(c, "policy"));
		const struct policy_entry *e;

		if (!is_ours(&t, c))
			continue;
		e = policy_set_find(t.set,
		                    is_trust(c) ? STORE_POLICY_ATTESTATION : STORE_POLICY_RESOURCE,
		                    name);
		EXPECT(e && e->policy);
		if (is_trust(c))
			ask_trust(&t, e, c);
		else
			ask_allow(&t, e, c);
	}
	print_message("%u decisions, %u wrong\n", t.asked, t.wrong);
	EXPECT(t.asked >= 85 && t.wrong == 0);
	table_close(&t);
}

CF_TEST(decisions_are_the_tables)
{
	run_table(false);
}

CF_TEST(decisions_of_shipped_policies_are_those_of_the_policies_they_stand_for)
{
	run_table(true);
}
