/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Safety and order. Groups of ops keep their author's order as far as every variable is bound before
 * it is read; then each occurrence is told whether it binds or reads, and closures are ordered with
 * what is bound where they stand.
 */
#include "policy/compile.h"

struct bitset bitset_new(struct lower *l)
{
	struct bitset b = { .count = l->slot_count / 64 + 1 };

	b.words = cf_arena_alloc(l->c->arena, b.count * sizeof(uint64_t));
	return b;
}

static void copy_bits(struct bitset *to, const struct bitset *from)
{
	memcpy(to->words, from->words, to->count * sizeof(uint64_t));
}

/* ---- nodes ---- */

static bool is_ground(const struct node *n, const struct bitset *bound)
{
	if (n->kind == NODE_SLOT)
		return bitset_has(bound, n->slot);
	for (uint32_t i = 0; i < n->count; i++)
		if (!is_ground(n->kids[i], bound))
			return false;
	return true;
}

static bool is_pattern(const struct node *n, const struct bitset *bound)
{
	if (n->kind == NODE_SET)
		return is_ground(n, bound);
	for (uint32_t i = 0; i < n->count; i++) {
		bool is_key = n->kind == NODE_OBJECT && i % 2 == 0;

		if (is_key ? !is_ground(n->kids[i], bound) : !is_pattern(n->kids[i], bound))
			return false;
	}
	return true;
}

static void outputs(const struct node *n, struct bitset *bound)
{
	if (n->kind == NODE_SLOT)
		bitset_add(bound, n->slot);
	for (uint32_t i = 0; i < n->count; i++)
		outputs(n->kids[i], bound);
}

static void bind(struct node *n, struct bitset *bound)
{
	if (n->kind == NODE_SLOT) {
		n->is_binding = !bitset_has(bound, n->slot);
		bitset_add(bound, n->slot);
		return;
	}
	n->is_binding = false;
	for (uint32_t i = 0; i < n->count; i++) {
		bind(n->kids[i], bound);
		n->is_binding |= n->kids[i]->is_binding;
	}
}

/* ---- ops ---- */

static bool schedule(struct lower *l, const struct op_list *list, struct bitset *bound,
                     struct block *block);

static const struct op_list *closure_list(const struct op *op, uint32_t i)
{
	return &((const struct closure *)(const void *)op->blocks[i])->list;
}

static bool are_bound(const uint32_t *slots, uint32_t n, const struct bitset *bound)
{
	for (uint32_t i = 0; i < n; i++)
		if (!bitset_has(bound, slots[i]))
			return false;
	return true;
}

static bool is_match_ready(const struct op *op, const struct bitset *bound)
{
	bool dst = is_ground(op->dst, bound), src = is_ground(op->src, bound);

	if (op->is_strict)
		return dst && src;
	return (src && is_pattern(op->dst, bound)) || (dst && is_pattern(op->src, bound));
}

static bool are_args_ready(const struct op *op, const struct bitset *bound)
{
	for (uint32_t i = 0; i < op->arg_count; i++)
		if (op->kind == OP_REF ? !is_pattern(op->args[i], bound)
		                       : !is_ground(op->args[i], bound))
			return false;
	return true;
}

/* The result is matched last: what the path of a reference binds is known by then. */
static bool is_dst_ready(struct lower *l, const struct op *op, const struct bitset *bound)
{
	struct bitset then = bitset_new(l);

	copy_bits(&then, bound);
	for (uint32_t i = 0; op->kind == OP_REF && i < op->arg_count; i++)
		outputs(op->args[i], &then);
	return op->is_strict ? is_ground(op->dst, &then) : is_pattern(op->dst, &then);
}

/* Can @op run now? If so, its outputs are added to @bound. */
static bool try_op(struct lower *l, const struct op *op, struct bitset *bound)
{
	if (op->kind == OP_MATCH && !is_match_ready(op, bound))
		return false;
	if (op->kind != OP_MATCH && op->src && !is_ground(op->src, bound))
		return false;
	if (!are_args_ready(op, bound) || !are_bound(op->frees, op->free_count, bound))
		return false;
	for (uint32_t i = 0; i < op->mod_count; i++)
		if (op->mods[i].value && !is_ground(op->mods[i].value, bound))
			return false;
	if (op->dst && op->kind != OP_MATCH && !is_dst_ready(l, op, bound))
		return false;
	if (op->kind == OP_WITH) {
		struct bitset inner = bitset_new(l);

		copy_bits(&inner, bound);
		if (!schedule(l, closure_list(op, 0), &inner, NULL))
			return false;
		copy_bits(bound, &inner);
	}
	if (op->kind == OP_MATCH)
		outputs(op->src, bound);
	for (uint32_t i = 0; op->kind == OP_REF && i < op->arg_count; i++)
		outputs(op->args[i], bound);
	if (op->dst)
		outputs(op->dst, bound);
	return true;
}

static void append(struct lower *l, struct block *block, struct op *op)
{
	if (cf_arena_grow(l->c->arena, &block->ops, &block->cap, block->count + 1)) {
		op->index = block->count;
		block->ops[block->count++] = op;
	}
}

static void unsafe(struct lower *l, struct loc loc, uint32_t slot)
{
	compile_error(l->c, l->module, loc, "rego_unsafe_var_error", "var %s is unsafe",
	              l->slot_names[slot] ? l->slot_names[slot] : "_");
}

static void expect_ground(struct lower *l, const struct op *op, const struct node *n,
                          const struct bitset *bound)
{
	if (!n)
		return;
	if (n->kind == NODE_SLOT && !bitset_has(bound, n->slot))
		unsafe(l, op->loc, n->slot);
	for (uint32_t i = 0; i < n->count; i++)
		expect_ground(l, op, n->kids[i], bound);
}

static void order_closures(struct lower *l, struct op *op, const struct bitset *bound)
{
	for (uint32_t i = 0; i < op->block_count; i++) {
		struct bitset inner = bitset_new(l);

		copy_bits(&inner, bound);
		if (op->kind == OP_EVERY) {
			bind(op->key, &inner);
			bind(op->value, &inner);
		}
		if (!order_block(l, closure_list(op, i), op->blocks[i], &inner))
			return;
		expect_ground(l, op, op->blocks[i]->result, &inner);
		if (op->kind == OP_COLLECT) {
			expect_ground(l, op, op->key, &inner);
			expect_ground(l, op, op->value, &inner);
		}
	}
}

/* Tells @op's occurrences what they are, and appends it. */
static void settle_op(struct lower *l, struct op *op, struct bitset *bound, struct block *block)
{
	if (op->kind == OP_MATCH && !is_ground(op->src, bound)) {
		struct node *n = op->src;

		op->src = op->dst;
		op->dst = n;
	}
	for (uint32_t i = 0; i < op->arg_count; i++) {
		bind(op->args[i], bound);
		op->is_scan |= op->args[i]->is_binding;
	}
	append(l, block, op);
	if (op->kind == OP_WITH) {
		schedule(l, closure_list(op, 0), bound, block);
		struct op *end = CF_ARENA_NEW(l->c->arena, struct op);
		end->kind = OP_WITH_END;
		end->loc = op->loc;
		append(l, block, end);
		op->skip = end->index;
	} else {
		order_closures(l, op, bound);
	}
	if (op->dst)
		bind(op->dst, bound);
}

/* All of @g in some order, or nothing. With @block the order is made real. */
static bool place_group(struct lower *l, const struct op_group *g, struct bitset *bound,
                        struct block *block)
{
	struct bitset sim = bitset_new(l);
	struct op **order = cf_arena_try(l->c->arena, g->count + 1, sizeof(*order));
	bool *done = cf_arena_try(l->c->arena, g->count + 1, 1);
	uint32_t n = 0;
	bool moved = true;

	if (!order || !done)
		return false;
	copy_bits(&sim, bound);
	while (n < g->count && moved) {
		moved = false;
		for (uint32_t i = 0; i < g->count; i++) {
			if (done[i] || !try_op(l, g->ops[i], &sim))
				continue;
			done[i] = moved = true;
			order[n++] = g->ops[i];
		}
	}
	if (n < g->count)
		return false;
	if (!block) {
		copy_bits(bound, &sim);
		return true;
	}
	for (uint32_t i = 0; i < n; i++)
		settle_op(l, order[i], bound, block);
	return true;
}

/* A failed or merely asked attempt leaves no memory behind. */
static bool try_group(struct lower *l, const struct op_group *g, struct bitset *bound,
                      struct block *block)
{
	struct cf_arena_mark mark = cf_arena_mark(l->c->arena);
	bool ok = false;

	if (are_bound(g->needs, g->need_count, bound))
		ok = place_group(l, g, bound, block);
	if (!ok || !block)
		cf_arena_release(l->c->arena, mark);
	return ok;
}

/*
 * The groups of @list in source order as far as possible; false when some can never run. Without
 * @block it is only a question.
 */
static bool schedule_groups(struct lower *l, const struct op_list *list, struct bitset *bound,
                            struct block *block, bool *done)
{
	uint32_t left = list->count, first = 0;

	while (left) {
		uint32_t i = first;

		while (i < list->count && (done[i] || !try_group(l, list->groups[i], bound, block)))
			i++;
		if (i == list->count)
			return false;
		done[i] = true;
		left--;
		while (first < list->count && done[first])
			first++;
	}
	return true;
}

static bool schedule(struct lower *l, const struct op_list *list, struct bitset *bound,
                     struct block *block)
{
	bool *done = cf_arena_try(l->c->arena, list->count + 1, 1);

	return done && schedule_groups(l, list, bound, block, done);
}

/* ---- what is left over is unsafe ---- */

static bool report_node(struct lower *l, const struct op *op, const struct node *n,
                        const struct bitset *bound)
{
	bool any = false;

	if (!n)
		return false;
	if (n->kind == NODE_SLOT && !bitset_has(bound, n->slot) && l->slot_names[n->slot]) {
		unsafe(l, op->loc, n->slot);
		return true;
	}
	for (uint32_t i = 0; i < n->count && !any; i++)
		any = report_node(l, op, n->kids[i], bound);
	return any;
}

static bool report_slots(struct lower *l, struct loc loc, const uint32_t *slots, uint32_t n,
                         const struct bitset *bound)
{
	for (uint32_t i = 0; i < n; i++)
		if (!bitset_has(bound, slots[i])) {
			unsafe(l, loc, slots[i]);
			return true;
		}
	return false;
}

static bool report_op(struct lower *l, const struct op *op, const struct bitset *bound)
{
	for (uint32_t i = 0; op->kind == OP_CALL && i < op->arg_count; i++)
		if (report_node(l, op, op->args[i], bound))
			return true;
	return report_slots(l, op->loc, op->frees, op->free_count, bound) ||
	       report_node(l, op, op->src, bound) || report_node(l, op, op->dst, bound);
}

static void report(struct lower *l, const struct op_list *list, const bool *done,
                   const struct bitset *bound)
{
	bool any = false;

	for (uint32_t i = 0; i < list->count; i++) {
		const struct op_group *g = list->groups[i];

		if (done[i])
			continue;
		if (report_slots(l, g->loc, g->needs, g->need_count, bound)) {
			any = true;
			continue;
		}
		for (uint32_t k = 0; k < g->count; k++) {
			struct bitset sim = bitset_new(l);

			copy_bits(&sim, bound);
			if (!try_op(l, g->ops[k], &sim) && report_op(l, g->ops[k], bound)) {
				any = true;
				break;
			}
		}
	}
	if (!any)
		compile_error(l->c, l->module,
		              list->count ? list->groups[0]->loc : (struct loc){ 0 },
		              "rego_unsafe_var_error", "var _ is unsafe");
}

bool order_block(struct lower *l, const struct op_list *list, struct block *block,
                 struct bitset *bound)
{
	bool *done = cf_arena_try(l->c->arena, list->count + 1, 1);

	if (!done)
		return false;
	if (!schedule_groups(l, list, bound, block, done)) {
		if (!l->c->arena->is_over)
			report(l, list, done, bound);
		return false;
	}
	return !l->c->failed;
}
