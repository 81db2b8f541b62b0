/* SPDX-License-Identifier: Apache-2.0 */
/* The trace: what was entered, tried, failed and found, as it happens. Nothing is kept here. */
#include "policy/eval.h"

#define TRACE_TEXT_MAX 200u /* bytes of a literal shown */

static void tell(struct policy_eval *ev, enum policy_trace_kind kind, const struct clause *cl,
                 struct loc loc, struct cf_view text, const struct pv *value)
{
	const struct policy_trace t = { .kind = kind,
		                        .depth = ev->depth,
		                        .file = cl->module ? cl->module->file : "",
		                        .line = loc.line,
		                        .col = loc.col,
		                        .text = text,
		                        .value = value };

	ev->rq->trace(ev->rq->trace_user, &t);
}

static void tell_rule(struct policy_eval *ev, enum policy_trace_kind kind, const struct clause *cl,
                      const struct pv *value)
{
	struct cf_buf name = { 0 };

	if (!cl->group || !cl->group->tree)
		return;
	explain_rule_name(cl->group->tree, &name);
	tell(ev, kind, cl, cl->loc, cf_buf_view(&name), value);
	cf_buf_fini(&name);
}

void trace_enter(struct policy_eval *ev, const struct clause *cl)
{
	tell_rule(ev, POLICY_TRACE_ENTER, cl, NULL);
}

void trace_exit(struct policy_eval *ev, const struct clause *cl, const struct pv *value)
{
	ev->depth++; /* as deep as its entry */
	tell_rule(ev, POLICY_TRACE_EXIT, cl, value);
	ev->depth--;
}

static void tell_literal(struct policy_eval *ev, const struct frame *fr, const struct op *op,
                         enum policy_trace_kind kind)
{
	const struct module *m = fr->clause->module;

	if (m && op->span.size)
		tell(ev, kind, fr->clause, op->loc,
		     cf_view_sub(m->text, op->span.at, CF_MIN(op->span.size, TRACE_TEXT_MAX)),
		     NULL);
}

/* A literal may be several ops; it is told of once. */
void trace_try(struct policy_eval *ev, const struct frame *fr, const struct block *block,
               uint32_t pc)
{
	if (!pc || block->ops[pc - 1]->span.at != block->ops[pc]->span.at)
		tell_literal(ev, fr, block->ops[pc], POLICY_TRACE_TRY);
}

void trace_fail(struct policy_eval *ev, const struct frame *fr, const struct op *op)
{
	tell_literal(ev, fr, op, POLICY_TRACE_FAIL);
}
