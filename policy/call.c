/* SPDX-License-Identifier: Apache-2.0 */
/* Calls of builtins, functions and hooks; print and template strings. */
#include "policy/eval.h"

#include <stdarg.h>
#include <stdio.h>

#define ARGS_ON_STACK 8u

/* ---- what builtins report ---- */

const struct pv *builtin_bad_type(struct bcall *c, unsigned operand, const char *want,
                                  const struct pv *got)
{
	c->fault = BUILTIN_TYPE;
	snprintf(c->msg, sizeof(c->msg), "%s: operand %u must be %s but got %s", c->name, operand,
	         want, pv_type_name(got));
	return NULL;
}

static void cf_printf(3, 0) report(struct bcall *c, uint8_t fault, const char *fmt, va_list ap)
{
	int n = snprintf(c->msg, sizeof(c->msg), "%s: ", c->name);

	c->fault = fault;
	vsnprintf(c->msg + n, sizeof(c->msg) - (size_t)n, fmt, ap);
}

const struct pv *builtin_bad(struct bcall *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	report(c, BUILTIN_ERROR, fmt, ap);
	va_end(ap);
	return NULL;
}

const struct pv *builtin_abort(struct bcall *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	report(c, BUILTIN_ABORT, fmt, ap);
	va_end(ap);
	return NULL;
}

void builtin_charge(struct bcall *c, size_t bytes)
{
	c->ev->steps += bytes / 64;
}

bool builtin_is(struct bcall *c, const struct pv *const *args, unsigned operand, enum pv_type type)
{
	const struct pv want = { .type = (uint8_t)type };

	if (args[operand - 1]->type == type)
		return true;
	builtin_bad_type(c, operand, pv_type_name(&want), args[operand - 1]);
	return false;
}

bool builtin_is_string(struct bcall *c, const struct pv *const *args, unsigned operand,
                       struct cf_view *ret)
{
	if (!builtin_is(c, args, operand, PV_STR))
		return false;
	*ret = pv_view(args[operand - 1]);
	builtin_charge(c, ret->size);
	return true;
}

/* Written as an integer: 2.0 and 2e0 are numbers of the same value, but OPA takes them for floats. */
static bool is_plain_int(const struct pv *v)
{
	size_t i = v->is_text && v->num->text[0] == '-';

	while (v->is_text && i < v->num->text_len && v->num->text[i] >= '0' &&
	       v->num->text[i] <= '9')
		i++;
	return !v->is_text || i == v->num->text_len;
}

bool builtin_is_int(struct bcall *c, const struct pv *const *args, unsigned operand, int64_t *ret)
{
	const struct pv *v = args[operand - 1];

	if (!builtin_is(c, args, operand, PV_NUM))
		return false;
	if (!is_plain_int(v)) {
		c->fault = BUILTIN_TYPE;
		snprintf(c->msg, sizeof(c->msg),
		         "%s: operand %u must be integer number but got floating-point number",
		         c->name, operand);
		return false;
	}
	if (number_to_i64(v, ret))
		return true;
	builtin_bad(c, "operand %u is out of range", operand);
	return false;
}

bool builtin_is_list(struct bcall *c, const struct pv *const *args, unsigned operand)
{
	if (args[operand - 1]->type == PV_ARR || args[operand - 1]->type == PV_SET)
		return true;
	builtin_bad_type(c, operand, "one of {array, set}", args[operand - 1]);
	return false;
}

/* ---- calls ---- */

static int builtin_result(struct policy_eval *ev, const struct op *op, const struct bcall *c)
{
	switch ((enum builtin_fault)c->fault) {
	case BUILTIN_FINE:
		return eval_charge(ev, 0);
	case BUILTIN_ABORT:
		return eval_abort(ev, CF_RESOURCE_EXHAUSTED, "eval_budget_error", "%s", c->msg);
	case BUILTIN_TYPE:
	case BUILTIN_ERROR:
		break;
	}
	if (ev->explain)
		explain_builtin_error(ev, op, c->msg);
	if (!ev->policy->is_strict_builtins)
		return EVAL_GO;
	return eval_abort(ev, CF_FAILED_PRECONDITION,
	                  c->fault == BUILTIN_TYPE ? "eval_type_error" : "eval_builtin_error", "%s",
	                  c->msg);
}

static int call_hook(struct policy_eval *ev, const struct policy_hook *hook,
                     const struct pv *const *args, const struct pv **ret)
{
	struct cf_err err = { 0 };
	int r = hook->call(ev->rq->hook_user, ev, args, ret, &err);

	if (r < 0) {
		snprintf(ev->code, sizeof(ev->code), "%s", "eval_hook_error");
		if (ev->err)
			*ev->err = err;
		return cf_wrap(ev->err, r, "%s", hook->name);
	}
	if (r == POLICY_E_UNDEFINED)
		*ret = NULL;
	ev->kept++;
	return EVAL_GO;
}

static int call_callee(struct policy_eval *ev, const struct op *op, const struct callee *fn,
                       const struct pv *const *args, const struct pv **ret)
{
	if (fn->group)
		return rule_call(ev, fn->group, args, ret);
	if (fn->hook)
		return call_hook(ev, fn->hook, args, ret);
	struct bcall c = { .arena = &ev->arena, .ev = ev, .name = fn->builtin->name };
	*ret = fn->builtin->fn(&c, args);
	if (c.fault)
		*ret = NULL;
	return builtin_result(ev, op, &c);
}

static int call_mocked(struct policy_eval *ev, const struct op *op, const struct mock *mock,
                       const struct pv *const *args, const struct pv **ret)
{
	struct world *saved = ev->world, room;

	if (!mock->by_function) {
		*ret = mock->value;
		return EVAL_GO;
	}
	world_unmock(ev, &room);
	int r = call_callee(ev, op, &mock->by, args, ret);
	ev->world = saved;
	return r;
}

int call_value(struct policy_eval *ev, struct frame *fr, const struct op *op, const struct pv **ret)
{
	const struct pv *few[ARGS_ON_STACK];
	const struct pv **args = few;

	*ret = NULL;
	if (op->arg_count > ARGS_ON_STACK)
		args = cf_arena_try(&ev->arena, op->arg_count, sizeof(*args));
	for (uint32_t i = 0; args && i < op->arg_count; i++) {
		args[i] = node_value(ev, fr, op->args[i]);
		if (!args[i])
			return eval_tick(ev);
	}
	if (!args)
		return eval_tick(ev);
	const struct mock *mock = ev->world->mocks ? world_mock(ev, &op->fn) : NULL;
	int r = mock ? call_mocked(ev, op, mock, args, ret)
	             : call_callee(ev, op, &op->fn, args, ret);
	ev->op = op;
	ev->frame = fr;
	return r;
}

/* ---- print ---- */

struct print_sink {
	struct sink sink;
	const struct op *op;
	uint32_t index; /* the operand whose values come in */
	bool found;
	const struct print_sink *before;
	const struct pv *value;
};

static int print_from(struct policy_eval *ev, struct frame *fr, const struct op *op, uint32_t index,
                      const struct print_sink *before);

static void write_operands(struct pv_sb *b, const struct print_sink *last)
{
	if (!last)
		return;
	write_operands(b, last->before);
	if (last->index)
		pv_sb_byte(b, ' ');
	if (last->value)
		pv_bare_write(b, last->value);
	else
		pv_sb_str(b, "<undefined>");
}

static int print_line(struct policy_eval *ev, const struct frame *fr, const struct op *op,
                      const struct print_sink *last)
{
	struct cf_arena_mark mark = cf_arena_mark(&ev->arena);
	struct pv_sb b = pv_sb(&ev->arena);
	const char *file = fr->clause->module ? fr->clause->module->file : "query";

	write_operands(&b, last);
	struct cf_view text = cf_view(b.data, b.size);
	builtin_charge(&(struct bcall){ .ev = ev }, text.size);
	if (ev->print_bytes + text.size > ev->budget.print_bytes) {
		text = (struct cf_view)CF_VIEW_LIT("… truncated");
		if (ev->prints_cut)
			text.data = NULL;
		ev->prints_cut = true;
	}
	ev->print_bytes += text.size;
	if (text.data || !text.size)
		ev->rq->print(ev->rq->print_user, file, op->loc.line, text);
	if (!ev->arena.is_over)
		cf_arena_release(&ev->arena, mark);
	return eval_tick(ev);
}

static int print_solution(struct policy_eval *ev, struct frame *fr, struct sink *sink)
{
	struct print_sink *s = (struct print_sink *)sink;

	s->found = true;
	s->value = node_value(ev, fr, s->op->blocks[s->index]->result);
	return print_from(ev, fr, s->op, s->index + 1, s);
}

static int print_from(struct policy_eval *ev, struct frame *fr, const struct op *op, uint32_t index,
                      const struct print_sink *before)
{
	struct print_sink s = {
		.sink.solution = print_solution, .op = op, .index = index, .before = before
	};

	if (index == op->block_count)
		return print_line(ev, fr, op, before);
	int r = eval_block(ev, fr, op->blocks[index], 0, &s.sink);
	if (r < 0 || s.found)
		return r;
	return print_from(ev, fr, op, index + 1, &s);
}

int call_print(struct policy_eval *ev, struct frame *fr, const struct op *op)
{
	if (!ev->rq->print || ev->prints_cut)
		return EVAL_GO;
	int r = print_from(ev, fr, op, 0, NULL);
	return r < 0 ? r : EVAL_GO;
}

/* ---- template strings ---- */

struct template_sink {
	struct sink sink;
	const struct block *block;
	const struct pv *value;
};

static int template_solution(struct policy_eval *ev, struct frame *fr, struct sink *sink)
{
	struct template_sink *s = (struct template_sink *)sink;
	const struct pv *v = node_value(ev, fr, s->block->result);

	ev->kept++;
	if (v && s->value && !pv_eq(v, s->value))
		return eval_abort(ev, CF_FAILED_PRECONDITION, "eval_conflict_error",
		                  "template-strings must not produce multiple outputs");
	s->value = v;
	return EVAL_GO;
}

int call_template(struct policy_eval *ev, struct frame *fr, const struct op *op,
                  const struct pv **ret)
{
	struct pv_sb b = pv_sb(&ev->arena);

	for (uint32_t i = 0; i <= op->block_count; i++) {
		if (op->texts[i])
			pv_sb_add(&b, pv_view(op->texts[i]));
		if (i == op->block_count)
			break;
		struct template_sink s = { .sink.solution = template_solution,
			                   .block = op->blocks[i] };
		int r = eval_block(ev, fr, op->blocks[i], 0, &s.sink);
		if (r < 0)
			return r;
		if (s.value)
			pv_bare_write(&b, s.value);
		else
			pv_sb_str(&b, "<undefined>");
	}
	*ret = pv_sb_done(&b);
	return eval_tick(ev);
}
