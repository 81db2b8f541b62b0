/* SPDX-License-Identifier: Apache-2.0 */
/* Tree to program; the life of a compiled pattern. */
#include "base/regex_tree.h"

struct emitter {
	struct cf_regex *re;
	struct cf_err *err;
	int failed;
};

static uint32_t emit(struct emitter *e, enum regex_op op, uint32_t x, uint32_t y)
{
	struct cf_regex *re = e->re;

	if (re->count >= CF_REGEX_PROGRAM_MAX ||
	    !cf_arena_grow(&re->arena, &re->prog, &re->cap, re->count + 1)) {
		if (!e->failed)
			e->failed = cf_fail(e->err, CF_RESOURCE_EXHAUSTED,
			                    "regexp needs more than %u instructions",
			                    CF_REGEX_PROGRAM_MAX);
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

/* Whether @n can match nothing. */
static bool is_nullable(const struct re_node *n)
{
	if (n->kind == RE_EMPTY || n->kind == RE_ASSERT)
		return true;
	if (n->kind == RE_REPEAT && n->min == 0)
		return true;
	uint32_t nullable = 0;

	for (uint32_t i = 0; i < n->count; i++)
		nullable += is_nullable(n->kids[i]);
	if (n->kind == RE_ALT)
		return nullable > 0;
	return n->kind != RE_CHAR && n->kind != RE_CLASS && nullable == n->count;
}

/* x+ */
static void emit_plus(struct emitter *e, const struct re_node *n)
{
	uint32_t start = e->re->count;

	emit_node(e, n->kids[0]);
	uint32_t split = emit_split(e);

	point_split(e, split, split + 1, n->is_lazy);
	if (!e->failed)
		*(n->is_lazy ? &e->re->prog[split].y : &e->re->prog[split].x) = start;
}

/* x*; as (x+)? where x can match nothing, because only so the ways are tried in the right order. */
static void emit_star(struct emitter *e, const struct re_node *n)
{
	uint32_t split = emit_split(e);

	if (is_nullable(n->kids[0])) {
		emit_plus(e, n);
	} else {
		emit_node(e, n->kids[0]);
		emit(e, REGEX_JUMP, split, 0);
	}
	point_split(e, split, e->re->count, n->is_lazy);
}

static void emit_repeat(struct emitter *e, const struct re_node *n)
{
	int copies = n->max < 0 ? CF_MAX(n->min - 1, 0) : n->min;

	for (int i = 0; i < copies && !e->failed; i++)
		emit_node(e, n->kids[0]);
	if (n->max < 0) {
		if (n->min)
			emit_plus(e, n);
		else
			emit_star(e, n);
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

/* Bytes that are no UTF-8 match U+FFFD too: it stands for no bytes in particular. */
static bool is_literal(const struct regex_inst *i)
{
	return i->op == REGEX_CHAR && i->x != 0xfffd;
}

/* Runes at the program's start that every match has to begin with. */
static void find_prefix(struct cf_regex *re)
{
	uint32_t end = 0;
	size_t size = 0;

	re->is_anchored = re->prog[0].op == REGEX_ASSERT && re->prog[0].x == REGEX_TEXT_START;
	while (is_literal(&re->prog[end]) || re->prog[end].op == REGEX_SAVE)
		end++;
	uint8_t *bytes = cf_arena_try(&re->arena, end, 4);

	for (uint32_t at = 0; bytes && at < end; at++)
		if (re->prog[at].op == REGEX_CHAR)
			size += cf_utf8_encode(re->prog[at].x, bytes + size);
	re->prefix = cf_view(bytes, size);
}

int re_compile(struct cf_regex *re, const struct re_node *tree, struct cf_err *err)
{
	struct emitter e = { .re = re, .err = err };

	emit_node(&e, tree);
	emit(&e, REGEX_MATCH, 0, 0);
	if (e.failed)
		return e.failed;
	find_prefix(re);
	return 0;
}

int cf_regex_new(struct cf_view pattern, struct cf_regex **ret, struct cf_err *err)
{
	struct cf_arena tree = { .max = CF_REGEX_MEMORY_MAX };
	struct cf_regex *re = cf_zalloc(sizeof(*re));
	struct re_node *n;

	re->arena.max = CF_REGEX_MEMORY_MAX;
	int r = re_parse(re, pattern, &tree, &n, err);
	if (r >= 0)
		r = re_compile(re, n, err);
	cf_arena_fini(&tree);
	if (r < 0) {
		cf_regex_free(re);
		return r;
	}
	*ret = re;
	return 0;
}

struct cf_regex *cf_regex_free(struct cf_regex *re)
{
	if (re) {
		cf_arena_fini(&re->arena);
		free(re);
	}
	return NULL;
}

uint32_t cf_regex_size(const struct cf_regex *re)
{
	return re->count;
}

size_t cf_regex_bytes(const struct cf_regex *re)
{
	return re->arena.used;
}

uint32_t cf_regex_groups(const struct cf_regex *re)
{
	return re->group_count;
}

uint32_t cf_regex_group(const struct cf_regex *re, struct cf_view name)
{
	for (uint32_t i = 0; i < re->group_count; i++)
		if (re->names[i] && cf_view_eq_str(name, re->names[i]))
			return i + 1;
	return 0;
}
