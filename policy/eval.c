/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running blocks. An op with one solution at most is done in the loop; one with several runs the
 * rest of the block once for each and returns. The end of a block is the sink's.
 */
#include "policy/eval.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STACK_FACTOR 4u
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define STACK_FACTOR 4u
#endif
#endif
#ifndef STACK_FACTOR
#define STACK_FACTOR 1u
#endif

/* ---- budgets ---- */

int eval_abort(struct policy_eval *ev, enum cf_code code, const char *name, const char *fmt, ...)
{
	va_list ap;
	const struct clause *cl = ev->frame ? ev->frame->clause : NULL;

	ev->file = cl && cl->module && cl->module->file ? cl->module->file : "query";
	ev->loc = ev->op ? ev->op->loc : (struct loc){ 0 };
	va_start(ap, fmt);
	vsnprintf(ev->text, sizeof(ev->text), fmt, ap);
	va_end(ap);
	snprintf(ev->code, sizeof(ev->code), "%s", name);
	return cf_fail(ev->err, code, "%s:%u: %s: %s", ev->file, ev->loc.line, name, ev->text);
}

static int64_t monotonic_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int look_around(struct policy_eval *ev)
{
	ev->clock_at = ev->steps + POLICY_CLOCK_STEPS;
	if (ev->is_cancelled)
		return eval_abort(ev, CF_CANCELLED, "eval_cancel_error", "cancelled");
	if (monotonic_ms() > ev->deadline_ms)
		return eval_abort(ev, CF_DEADLINE_EXCEEDED, "eval_cancel_error",
		                  "deadline of %u ms exceeded", ev->budget.wall_ms);
	return 0;
}

int eval_charge(struct policy_eval *ev, uint64_t steps)
{
	ev->steps += steps;
	if (ev->steps > ev->budget.steps)
		return eval_abort(ev, CF_RESOURCE_EXHAUSTED, "eval_budget_error",
		                  "budget of %llu steps used up",
		                  (unsigned long long)ev->budget.steps);
	if (ev->arena.is_over)
		return eval_abort(ev, CF_RESOURCE_EXHAUSTED, "eval_budget_error",
		                  "budget of %zu bytes used up, or a value beyond the limits",
		                  ev->budget.memory_bytes);
	return ev->steps >= ev->clock_at ? look_around(ev) : 0;
}

int eval_tick(struct policy_eval *ev)
{
	return eval_charge(ev, 1);
}

static int check_stack(struct policy_eval *ev)
{
	const char *here = __builtin_frame_address(0);
	size_t used =
		(size_t)(here < ev->stack_base ? ev->stack_base - here : here - ev->stack_base);

	if (used > (size_t)POLICY_STACK_MAX * STACK_FACTOR)
		return eval_abort(ev, CF_RESOURCE_EXHAUSTED, "eval_budget_error",
		                  "rules and loops nested too deep");
	return 0;
}

bool eval_frame_push(struct policy_eval *ev, struct frame *fr, const struct clause *cl)
{
	if (cl->slot_count > POLICY_FRAMES_MAX - ev->frame_top)
		return false;
	fr->clause = cl;
	fr->slots = ev->frames + ev->frame_top;
	ev->frame_top += cl->slot_count;
	return true;
}

void eval_frame_pop(struct policy_eval *ev, struct frame *fr)
{
	ev->frame_top -= fr->clause->slot_count;
}

/* ---- single solutions ---- */

static bool is_true(const struct pv *v)
{
	return v->type != PV_BOOL || v->b;
}

/* A value for an op: matched with its pattern, or tested. */
static bool accepts(struct policy_eval *ev, struct frame *fr, const struct op *op,
                    const struct pv *v)
{
	return op->dst ? node_match(ev, fr, op->dst, v) : is_true(v);
}

struct any_sink {
	struct sink sink;
	bool found;
};

static int any_solution(struct policy_eval *ev, struct frame *fr, struct sink *sink)
{
	(void)ev;
	(void)fr;
	((struct any_sink *)sink)->found = true;
	return EVAL_STOP;
}

int eval_any(struct policy_eval *ev, struct frame *fr, const struct block *block, bool *ret)
{
	struct any_sink s = { .sink.solution = any_solution };
	int r = eval_block(ev, fr, block, 0, &s.sink);

	*ret = s.found;
	return r < 0 ? r : EVAL_GO;
}

static int run_every(struct policy_eval *ev, struct frame *fr, const struct op *op, bool *ret)
{
	const struct pv *xs = node_value(ev, fr, op->src);

	*ret = false;
	if (!xs || !pv_is_composite(xs))
		return eval_tick(ev);
	for (uint32_t i = 0; i < xs->len; i++) {
		const struct pv *key = xs->type == PV_OBJ   ? pv_obj_key(xs, i)
		                       : xs->type == PV_SET ? xs->at[i]
		                                            : pv_int(&ev->arena, i);
		const struct pv *val = xs->type == PV_OBJ ? pv_obj_val(xs, i) : xs->at[i];
		bool found;
		int r = eval_tick(ev);

		if (r < 0)
			return r;
		node_match(ev, fr, op->key, key);
		node_match(ev, fr, op->value, val);
		r = eval_any(ev, fr, op->blocks[0], &found);
		if (r < 0 || !found)
			return r;
	}
	*ret = true;
	return EVAL_GO;
}

struct collect_sink {
	struct sink sink;
	const struct op *op;
	struct pv_vec vec;
};

static int collect_solution(struct policy_eval *ev, struct frame *fr, struct sink *sink)
{
	struct collect_sink *s = (struct collect_sink *)sink;

	ev->kept++;
	if (s->op->key)
		pv_vec_add_pair(&s->vec, node_value(ev, fr, s->op->key),
		                node_value(ev, fr, s->op->value));
	else
		pv_vec_add(&s->vec, node_value(ev, fr, s->op->value));
	return EVAL_GO;
}

static int run_collect(struct policy_eval *ev, struct frame *fr, const struct op *op,
                       const struct pv **ret)
{
	struct collect_sink s = { .sink.solution = collect_solution,
		                  .op = op,
		                  .vec = pv_vec(&ev->arena) };
	const struct pv *key = NULL;
	int r = eval_block(ev, fr, op->blocks[0], 0, &s.sink);

	if (r < 0)
		return r;
	if (op->collect == PV_ARR)
		*ret = pv_vec_array(&s.vec);
	else if (op->collect == PV_SET)
		*ret = pv_vec_set(&s.vec);
	else
		*ret = pv_vec_object_unique(&s.vec, &key);
	ev->op = op;
	if (key)
		return eval_abort(ev, CF_FAILED_PRECONDITION, "eval_conflict_error",
		                  "object keys must be unique");
	return *ret ? EVAL_GO : eval_tick(ev);
}

static int run_closures(struct policy_eval *ev, struct frame *fr, const struct op *op, bool *ret)
{
	bool found = false;
	int r = EVAL_GO;
	struct cf_arena_mark mark = cf_arena_mark(&ev->arena);
	uint64_t kept = ev->kept;

	if (op->kind == OP_EVERY) {
		r = run_every(ev, fr, op, &found);
	} else {
		for (uint32_t i = 0; r >= 0 && !found && i < op->block_count; i++)
			r = eval_any(ev, fr, op->blocks[i], &found);
	}
	if (kept == ev->kept)
		cf_arena_release(&ev->arena, mark);
	*ret = op->kind == OP_NOT ? !found : found;
	return r;
}

/* Ops with one value at most. *ok: go on with the next op. */
static int run_single(struct policy_eval *ev, struct frame *fr, const struct op *op, bool *ok)
{
	const struct pv *v = NULL;
	int r = EVAL_GO;

	switch ((enum op_kind)op->kind) {
	case OP_MATCH:
		v = node_value(ev, fr, op->src);
		*ok = v && node_match(ev, fr, op->dst, v);
		return EVAL_GO;
	case OP_TEST:
		*ok = !op->src || ((v = node_value(ev, fr, op->src)) && is_true(v));
		return EVAL_GO;
	case OP_REF:
		r = doc_value(ev, fr, op, &v);
		break;
	case OP_CALL:
		r = call_value(ev, fr, op, &v);
		break;
	case OP_COLLECT:
		r = run_collect(ev, fr, op, &v);
		break;
	case OP_TEMPLATE:
		r = call_template(ev, fr, op, &v);
		break;
	case OP_NOT:
	case OP_EVERY:
	case OP_OR:
		return run_closures(ev, fr, op, ok);
	case OP_PRINT:
		*ok = true;
		return call_print(ev, fr, op);
	case OP_WITH:
	case OP_WITH_END:
	case OP_FAIL:
		break;
	}
	*ok = r >= 0 && v && accepts(ev, fr, op, v);
	return r;
}

/* ---- several solutions ---- */

static int run_with(struct policy_eval *ev, struct frame *fr, const struct block *block,
                    uint32_t pc, struct sink *sink)
{
	struct world *saved = ev->world;
	bool is_defined = true;
	int r = EVAL_GO;

	if (block->ops[pc]->kind == OP_WITH)
		r = world_push(ev, fr, block->ops[pc], &is_defined);
	else
		ev->world = ev->world->outer;
	if (r >= 0 && is_defined)
		r = eval_block(ev, fr, block, pc + 1, sink);
	ev->world = saved;
	return r;
}

/* A relation gave an array of solutions. */
static int run_relation(struct policy_eval *ev, struct frame *fr, const struct block *block,
                        uint32_t pc, struct sink *sink)
{
	const struct op *op = block->ops[pc];
	const struct pv *all = NULL;
	int r = call_value(ev, fr, op, &all);

	for (uint32_t i = 0; r == EVAL_GO && all && i < all->len; i++) {
		r = eval_tick(ev);
		if (r == EVAL_GO && accepts(ev, fr, op, all->at[i]))
			r = eval_block(ev, fr, block, pc + 1, sink);
	}
	return r;
}

static bool is_relation(const struct policy_eval *ev, const struct op *op)
{
	return op->kind == OP_CALL && op->fn.builtin &&
	       (op->fn.builtin->flags & BUILTIN_RELATION) && !world_mock(ev, &op->fn);
}

int eval_block(struct policy_eval *ev, struct frame *fr, const struct block *block, uint32_t pc,
               struct sink *sink)
{
	int r = check_stack(ev);

	for (; r >= 0 && pc < block->count; pc++) {
		const struct op *op = block->ops[pc];
		bool ok = false;

		ev->op = op;
		ev->frame = fr;
		r = eval_tick(ev);
		if (r < 0)
			return r;
		if (trace_is_on(ev))
			trace_try(ev, fr, block, pc);
		if (op->kind == OP_WITH || op->kind == OP_WITH_END)
			return run_with(ev, fr, block, pc, sink);
		if (op->kind == OP_REF && op->is_scan)
			return doc_scan(ev, fr, block, pc, sink);
		if (is_relation(ev, op))
			return run_relation(ev, fr, block, pc, sink);
		r = run_single(ev, fr, op, &ok);
		if (r < 0)
			return r;
		if (!ok) {
			if (trace_is_on(ev))
				trace_fail(ev, fr, op);
			if (ev->explain)
				explain_failure(ev, fr, op);
			return EVAL_GO;
		}
	}
	return r < 0 ? r : sink->solution(ev, fr, sink);
}
