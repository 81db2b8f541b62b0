/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/regex_cache.h"

#include "policy/eval.h"

#define MACHINE_STEPS 16u /* machine steps for one step of the budget */

static struct regex_cache *cache_of(struct policy_eval *ev)
{
	if (!ev->regexes)
		ev->regexes = cf_zalloc(sizeof(*ev->regexes));
	return ev->regexes;
}

static size_t oldest(const struct regex_cache *k)
{
	size_t at = 0;

	for (size_t i = 1; i < REGEX_CACHE_MAX; i++)
		if (k->items[i].used < k->items[at].used)
			at = i;
	return at;
}

const struct cf_regex *regex_cached(struct bcall *c, struct cf_view pattern)
{
	struct regex_cache *k = cache_of(c->ev);
	struct cf_regex *re = NULL;
	struct cf_err err;

	for (size_t i = 0; i < REGEX_CACHE_MAX; i++)
		if (k->items[i].re && k->items[i].size == pattern.size &&
		    memcmp(k->items[i].pattern, pattern.data, pattern.size) == 0) {
			k->items[i].used = ++k->clock;
			return k->items[i].re;
		}
	builtin_charge(c, 256 * pattern.size);
	int r = cf_regex_new(pattern, &re, &err);
	if (r == -CF_RESOURCE_EXHAUSTED) {
		builtin_abort(c, "%s", err.msg);
		return NULL;
	}
	if (r < 0) {
		builtin_bad(c, "%s", err.msg);
		return NULL;
	}
	builtin_charge(c, 64 * (size_t)cf_regex_size(re));
	size_t at = oldest(k);
	cf_regex_free(k->items[at].re);
	free(k->items[at].pattern);
	k->items[at].re = re;
	k->items[at].size = pattern.size;
	k->items[at].pattern = cf_zalloc(pattern.size + 1);
	if (pattern.size)
		memcpy(k->items[at].pattern, pattern.data, pattern.size);
	k->items[at].used = ++k->clock;
	return re;
}

bool regex_cached_match(struct bcall *c, const struct cf_regex *re, struct cf_view text,
                        size_t from, struct cf_regex_span *spans, bool *ok)
{
	struct policy_eval *ev = c->ev;
	struct cf_regex_run *run = &cache_of(ev)->run;
	uint64_t left = ev->budget.steps > ev->steps ? ev->budget.steps - ev->steps : 0;

	run->steps_left = left * MACHINE_STEPS + 1;
	uint64_t before = run->steps_left;
	bool found = cf_regex_match(re, run, text, from, spans);
	ev->steps += (before - run->steps_left) / MACHINE_STEPS + 1;
	*ok = !run->is_over;
	if (run->is_over)
		builtin_abort(c, "budget of steps used up by a regular expression");
	return found;
}

void eval_regex_drop(struct policy_eval *ev)
{
	struct regex_cache *k = ev->regexes;

	if (!k)
		return;
	for (size_t i = 0; i < REGEX_CACHE_MAX; i++) {
		cf_regex_free(k->items[i].re);
		free(k->items[i].pattern);
	}
	cf_regex_run_fini(&k->run);
	free(k);
	ev->regexes = NULL;
}
