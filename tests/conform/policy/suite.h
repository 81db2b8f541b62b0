/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Runs files of Rego cases (a policy, a query, what it has to give) against the engine. */
#include "policy/policy.h"
#include "policy/value.h"
#include "tests/harness/test.h"

#include <stdio.h>

struct suite {
	struct cf_arena arena; /* the case files */
	struct policy_eval *ev;
	unsigned passed, total;
	bool is_verbose;  /* COFFER_POLICY_VERBOSE=1: say what failed */
	const char *only; /* COFFER_POLICY_CASE: notes that contain this */
};

static inline const struct pv *suite_load(struct suite *s, const char *path)
{
	struct cf_buf b = cf_test_read(path);
	const struct pv *v = NULL;
	struct cf_err err;

	EXPECT_OK(pv_json_read(&s->arena, cf_buf_view(&b), NULL, &v, &err), &err);
	cf_buf_fini(&b);
	return v;
}

static inline const char *suite_str(const struct pv *o, const char *key)
{
	const struct pv *v = pv_obj_get_str(o, key);

	return v && v->type == PV_STR ? v->s : NULL;
}

static inline char *suite_json(const struct pv *v)
{
	struct cf_buf b = { 0 };
	struct cf_err err;

	EXPECT_OK(policy_value_json(v, &b, &err), &err);
	return cf_buf_take_str(&b);
}

static inline bool suite_case(struct suite *s, const char *file, const char *note, bool ok,
                              const char *got)
{
	s->total++;
	s->passed += ok;
	if (!ok && s->is_verbose)
		print_message("FAIL %s: %s: %.300s\n", file, note, got ? got : "");
	return ok;
}

static inline void suite_open(struct suite *s)
{
	struct cf_err err;

	*s = (struct suite){ .is_verbose = getenv("COFFER_POLICY_VERBOSE") != NULL,
		             .only = getenv("COFFER_POLICY_CASE") };
	EXPECT_OK(policy_eval_new(&(struct policy_budget){ .wall_ms = 60000 }, &s->ev, &err), &err);
}

static inline void suite_close(struct suite *s)
{
	policy_eval_free(s->ev);
	cf_arena_fini(&s->arena);
}
