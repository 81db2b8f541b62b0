/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Published Rego cases and our own, by tier. Each prints passed / shown; a tier below its share
 * fails. The cases lie outside the tree; without them the tests say so and skip.
 */
#include "tests/conform/policy/suite.h"

#include <dirent.h>

#define MODULES_MAX 16

struct solutions {
	struct cf_arena *arena;
	struct pv_vec list;
};

/* What JSON makes of a value: sets become arrays, keys become text. */
static const struct pv *as_json(struct cf_arena *a, const struct pv *v)
{
	struct pv_sb b = pv_sb(a);
	const struct pv *ret = NULL;
	struct cf_err err;

	pv_json_write(&b, v, NULL);
	EXPECT_OK(pv_json_read(a, cf_view(b.data, b.size), NULL, &ret, &err), &err);
	return ret;
}

static int add_solution(void *user, const struct policy_solution *s)
{
	struct solutions *all = user;

	pv_vec_add(&all->list, as_json(all->arena, s->bindings));
	return 0;
}

static const struct pv *sorted_members(struct cf_arena *a, const struct pv *o)
{
	struct pv_vec v = pv_vec(a);

	for (uint32_t i = 0; i < o->len; i++) {
		const struct pv *x = pv_obj_val(o, i);
		struct pv_vec in = pv_vec(a);

		for (uint32_t k = 0; x->type == PV_ARR && k < x->len; k++)
			pv_vec_add(&in, x->at[k]);
		pv_vec_add_pair(&v, pv_obj_key(o, i), x->type == PV_ARR ? pv_vec_sorted(&in) : x);
	}
	return pv_vec_object(&v);
}

/* Solutions are compared as a collection: their order is not promised. */
static bool same_results(struct cf_arena *a, const struct pv *want, struct pv_vec *got, bool sorts)
{
	struct pv_vec w = pv_vec(a), g = pv_vec(a);

	for (uint32_t i = 0; i < want->len; i++)
		pv_vec_add(&w, sorts ? sorted_members(a, want->at[i]) : want->at[i]);
	for (size_t i = 0; i < got->count; i++)
		pv_vec_add(&g, sorts ? sorted_members(a, got->items[i]) : got->items[i]);
	return pv_eq(pv_vec_set(&w), pv_vec_set(&g));
}

static int first_value(void *user, const struct policy_solution *s)
{
	struct solutions *all = user;

	pv_vec_add(&all->list, pv_copy(all->arena, pv_obj_get_str(s->bindings, "term")));
	return 1;
}

/* A Rego term, as some inputs are written. */
static const struct pv *eval_term(struct suite *s, const struct policy *p, struct cf_arena *a,
                                  const char *term)
{
	struct solutions all = { .arena = a, .list = pv_vec(a) };
	cf_cleanup(cf_freep) char *query = cf_asprintf("term = %s", term);
	struct policy_request rq = { .query = query };
	struct cf_err err = { 0 };

	EXPECT_INT(policy_query(p, s->ev, &rq, first_value, &all, &err), 0);
	return all.list.items[0];
}

static void keep_code(void *user, const struct policy_message *m)
{
	char *code = user;

	if (!code[0] && strcmp(m->code, "warning") != 0)
		snprintf(code, 64, "%s", m->code);
}

struct outcome {
	int r;
	char code[64];
	struct cf_err err;
	struct solutions all;
};

static void run_query(struct suite *s, const struct pv *c, const struct policy *p,
                      struct outcome *o)
{
	const char *term = suite_str(c, "input_term");
	struct policy_request rq = { .query = suite_str(c, "query"),
		                     .input = pv_obj_get_str(c, "input"),
		                     .data = pv_obj_get_str(c, "data") };

	if (term)
		rq.input = eval_term(s, p, o->all.arena, term);
	o->r = policy_query(p, s->ev, &rq, add_solution, &o->all, &o->err);
	snprintf(o->code, sizeof(o->code), "%s", policy_eval_code(s->ev));
}

static void run_case(struct suite *s, const struct pv *c, bool is_v0, struct outcome *o)
{
	const struct pv *mods = pv_obj_get_str(c, "modules");
	struct policy_source src[MODULES_MAX];
	char names[MODULES_MAX][32];
	struct policy_options opt = { .version = is_v0 ? POLICY_REGO_V0 : POLICY_REGO_V1,
		                      .is_strict_builtins =
		                              pv_obj_get_str(c, "strict_error") != NULL,
		                      .message = keep_code,
		                      .message_user = o->code };
	cf_cleanup(policy_unrefp) struct policy *p = NULL;
	uint32_t n = mods ? mods->len : 0;

	EXPECT(n <= MODULES_MAX);
	for (uint32_t i = 0; i < n; i++) {
		snprintf(names[i], sizeof(names[i]), "test-%u.rego", i);
		src[i] = (struct policy_source){ .name = names[i], .text = pv_view(mods->at[i]) };
	}
	o->r = policy_compile(src, n, &opt, &p, &o->err);
	if (o->r == 0)
		run_query(s, c, p, o);
}

static bool judge(const struct pv *c, struct outcome *o, char **got)
{
	const struct pv *want = pv_obj_get_str(c, "want_result");
	const char *code = suite_str(c, "want_error_code"), *text = suite_str(c, "want_error");

	*got = NULL;
	if (code || text) {
		if (o->r < 0)
			*got = cf_asprintf("%s %s", o->code, o->err.msg);
		return o->r < 0 && (!code || strcmp(code, o->code) == 0) &&
		       (!text || strstr(o->err.msg, text));
	}
	if (o->r < 0) {
		*got = cf_strdup(o->err.msg);
		return false;
	}
	struct pv_vec copy = pv_vec(o->all.arena);
	for (size_t i = 0; i < o->all.list.count; i++)
		pv_vec_add(&copy, o->all.list.items[i]);
	*got = suite_json(pv_vec_array(&copy));
	return !want || same_results(o->all.arena, want, &o->all.list,
	                             pv_obj_get_str(c, "sort_bindings") != NULL);
}

static void run_one(struct suite *s, const char *file, const struct pv *c, bool is_v0)
{
	struct cf_arena a = { 0 };
	struct outcome o = { .all = { .arena = &a, .list = pv_vec(&a) } };
	const char *note = suite_str(c, "note");
	char *got;

	if (s->only && !strstr(note, s->only))
		return;

	run_case(s, c, is_v0, &o);
	bool ok = judge(c, &o, &got);
	suite_case(s, file, note, ok, got);
	free(got);
	cf_arena_fini(&a);
}

static void run_file(struct suite *s, const char *path, const char *tier)
{
	const struct pv *f = suite_load(s, path);
	const char *folder = suite_str(f, "folder");
	unsigned passed = s->passed, total = s->total;

	if (f->type != PV_OBJ || (tier && strcmp(suite_str(f, "tier"), tier) != 0))
		return;
	const struct pv *cases = pv_obj_get_str(f, "cases");
	for (uint32_t i = 0; i < cases->len; i++) {
		const char *v = suite_str(cases->at[i], "rego_version");

		v = v ? v : suite_str(f, "rego_version");
		run_one(s, folder ? folder : "own", cases->at[i], v && strcmp(v, "v0") == 0);
	}
	print_message("  %-28s %u / %u\n", folder ? folder : "own", s->passed - passed,
	              s->total - total);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void run_tier(const char *tier, unsigned percent)
{
	cf_cleanup(cf_freep) char *dir = cf_test_vector("rego/opa");
	struct suite s;
	struct dirent **list;

	suite_open(&s);
	int n = scandir(dir, &list, NULL, by_name);
	EXPECT(n > 0);
	for (int i = 0; i < n; i++) {
		cf_cleanup(cf_freep) char *path = cf_asprintf("%s/%s", dir, list[i]->d_name);

		if (cf_ends_with(path, ".json") && !cf_ends_with(path, "/counts.json"))
			run_file(&s, path, tier);
		free(list[i]);
	}
	free(list);
	print_message("%s: %u / %u = %.2f %%\n", tier, s.passed, s.total,
	              s.total ? 100.0 * s.passed / s.total : 100.0);
	EXPECT((uint64_t)s.passed * 100 >= (uint64_t)s.total * percent);
	suite_close(&s);
}

CF_TEST(vectors_of_the_language_all_pass)
{
	run_tier("language", 100);
}

CF_TEST(vectors_of_required_builtins_all_pass)
{
	run_tier("must", 100);
}

CF_TEST(vectors_of_useful_builtins_pass_but_few)
{
	run_tier("should", 97);
}

CF_TEST(vectors_of_later_builtins_are_counted)
{
	run_tier("later", 0);
}

CF_TEST(vectors_of_our_own_all_pass)
{
	cf_cleanup(cf_freep) char *path = cf_test_vector("rego/own/language.json");
	struct suite s;

	suite_open(&s);
	run_file(&s, path, NULL);
	print_message("own: %u / %u\n", s.passed, s.total);
	EXPECT(s.passed == s.total);
	suite_close(&s);
}
