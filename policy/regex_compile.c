/* SPDX-License-Identifier: Apache-2.0 */
/* Tree to program; the life of a compiled pattern. */
#include "policy/regex_tree.h"
#include "policy/value.h"

struct emitter {
	struct regex *re;
	struct cf_err *err;
	int failed;
};

static uint32_t emit(struct emitter *e, enum regex_op op, uint32_t x, uint32_t y)
{
	struct regex *re = e->re;

	if (re->count >= REGEX_PROGRAM_MAX ||
	    !arena_grow(&re->arena, &re->prog, &re->cap, re->count + 1)) {
		if (!e->failed)
			e->failed = cf_fail(e->err, CF_RESOURCE_EXHAUSTED,
			                    "regexp needs more than %u instructions",
			                    REGEX_PROGRAM_MAX);
		return 0;
	}
	re->prog[re->count] = (struct regex_inst){ .op = (uint8_t)op, .x = x, .y = y };
	return re->count++;
}

/* A split whose first way is the next instruction, or for lazy loops the last. */
static uint32_t emit_split(struct emitter *e)
{
	return emit(e, REGEX_SPLIT, e->re->count + 1, e->re->count + 1);
}

static void point_split(struct emitter *e, uint32_t at, uint32_t past, bool is_lazy)
{
	if (e->failed)
		return;
	struct regex_inst *i = &e->re->prog[at];
	i->x = is_lazy ? past : at + 1;
	i->y = is_lazy ? at + 1 : past;
}

static void emit_node(struct emitter *e, const struct re_node *n);

static void emit_loop(struct emitter *e, const struct re_node *n)
{
	uint32_t split = emit_split(e);

	emit_node(e, n->kids[0]);
	emit(e, REGEX_JUMP, split, 0);
	point_split(e, split, e->re->count, n->is_lazy);
}

static void emit_repeat(struct emitter *e, const struct re_node *n)
{
	for (int i = 0; i < n->min && !e->failed; i++)
		emit_node(e, n->kids[0]);
	if (n->max < 0) {
		emit_loop(e, n);
		return;
	}
	/* Optional copies nest: each one is tried only after the one before. */
	uint32_t first = e->re->count;
	for (int i = n->min; i < n->max && !e->failed; i++) {
		emit_split(e);
		emit_node(e, n->kids[0]);
	}
	uint32_t each = n->max > n->min ? (e->re->count - first) / (uint32_t)(n->max - n->min) : 0;
	for (int i = n->min; i < n->max && !e->failed; i++)
		point_split(e, first + each * (uint32_t)(i - n->min), e->re->count, n->is_lazy);
}

static void emit_alt(struct emitter *e, const struct re_node *n)
{
	uint32_t last_jump = UINT32_MAX;

	for (uint32_t i = 0; i + 1 < n->count && !e->failed; i++) {
		uint32_t split = emit_split(e);

		emit_node(e, n->kids[i]);
		last_jump = emit(e, REGEX_JUMP, last_jump, 0); /* a chain, resolved below */
		point_split(e, split, e->re->count, false);
	}
	emit_node(e, n->kids[n->count - 1]);
	while (last_jump != UINT32_MAX && !e->failed) {
		uint32_t next = e->re->prog[last_jump].x;

		e->re->prog[last_jump].x = e->re->count;
		last_jump = next;
	}
}

static void emit_node(struct emitter *e, const struct re_node *n)
{
	if (e->failed)
		return;
	switch ((enum re_kind)n->kind) {
	case RE_EMPTY:
		return;
	case RE_CHAR:
		emit(e, REGEX_CHAR, n->rune, 0);
		return;
	case RE_CLASS:
		emit(e, REGEX_CLASS, n->klass, 0);
		return;
	case RE_ASSERT:
		emit(e, REGEX_ASSERT, n->rune, 0);
		return;
	case RE_CAT:
		for (uint32_t i = 0; i < n->count; i++)
			emit_node(e, n->kids[i]);
		return;
	case RE_ALT:
		emit_alt(e, n);
		return;
	case RE_REPEAT:
		emit_repeat(e, n);
		return;
	case RE_GROUP:
		if (n->group)
			emit(e, REGEX_SAVE, 2 * n->group, 0);
		emit_node(e, n->kids[0]);
		if (n->group)
			emit(e, REGEX_SAVE, 2 * n->group + 1, 0);
		return;
	}
}

/* Runes at the program's start that every match has to begin with. */
static void find_prefix(struct regex *re)
{
	struct pv_sb b = pv_sb(&re->arena);
	uint32_t at = 0;

	re->is_anchored = re->prog[0].op == REGEX_ASSERT && re->prog[0].x == REGEX_TEXT_START;
	while (re->prog[at].op == REGEX_CHAR || re->prog[at].op == REGEX_SAVE) {
		if (re->prog[at].op == REGEX_CHAR)
			pv_sb_rune(&b, re->prog[at].x);
		at++;
	}
	if (!b.is_bad)
		re->prefix = cf_view(b.data, b.size);
}

int regex_compile(struct regex *re, const struct re_node *tree, struct cf_err *err)
{
	struct emitter e = { .re = re, .err = err };

	emit_node(&e, tree);
	emit(&e, REGEX_MATCH, 0, 0);
	if (e.failed)
		return e.failed;
	find_prefix(re);
	return 0;
}

#define REGEX_MEMORY_MAX (32u << 20)

int regex_new(struct cf_view pattern, struct regex **ret, struct cf_err *err)
{
	struct arena tree = { .max = REGEX_MEMORY_MAX };
	struct regex *re = cf_zalloc(sizeof(*re));
	struct re_node *n;

	re->arena.max = REGEX_MEMORY_MAX;
	int r = regex_parse(re, pattern, &tree, &n, err);
	if (r >= 0 && (tree.is_over || re->arena.is_over))
		r = cf_fail(err, CF_RESOURCE_EXHAUSTED, "regexp needs too much memory");
	if (r >= 0)
		r = regex_compile(re, n, err);
	arena_fini(&tree);
	if (r < 0) {
		regex_free(re);
		return r;
	}
	*ret = re;
	return 0;
}

struct regex *regex_free(struct regex *re)
{
	if (re) {
		arena_fini(&re->arena);
		free(re);
	}
	return NULL;
}
