/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Explanations: which literal of which body decided, and on what values. A record is kept for each
 * body that had no solution, with the literal it got furthest to; bodies of rules asked on the way
 * hang below the literal that asked. What succeeded explains nothing and is dropped.
 */
#include "policy/eval.h"

#include <stdio.h>

#define EXPLAIN_RECORDS_MAX  256u
#define EXPLAIN_VALUE_MAX    120u /* bytes of a value shown */
#define EXPLAIN_OPERANDS_MAX 4u
#define EXPLAIN_NEST_MAX     8u

enum why { WHY_UNDEFINED, WHY_FALSE, WHY_NOT, WHY_NO_MATCH, WHY_BUILTIN, WHY_EVERY };

static const char *const why_names[] = { "undefined", "false",         "not",
	                                 "no match",  "builtin_error", "every" };

struct operand_text {
	char text[EXPLAIN_VALUE_MAX + 8], value[EXPLAIN_VALUE_MAX + 8];
};

struct operands {
	unsigned count;
	struct operand_text items[EXPLAIN_OPERANDS_MAX];
};

struct attempt {
	struct attempt *parent, *next;
	struct attempt *best, *now; /* below: of the furthest try, of the one under way */
	const struct clause *clause;
	const struct op *asked_by; /* the parent's op */
	const struct op *failed;
	const struct op *inner; /* of an every: the literal in it at which the element failed */
	enum why why;
	unsigned tried;
	struct operands operands, inner_operands;
	char builtin[200];
};

struct explain {
	struct attempt *tops;
	unsigned records;
	const struct group *group; /* the rule that was asked for */
	char value[EXPLAIN_VALUE_MAX + 8];
	bool is_defined, is_default, has_result;
	const struct clause *fallback;
};

static void drop(struct explain *x, struct attempt *a)
{
	while (a) {
		struct attempt *next = a->next;

		drop(x, a->best);
		drop(x, a->now);
		free(a);
		x->records--;
		a = next;
	}
}

void explain_begin(struct policy_eval *ev)
{
	ev->explain = cf_zalloc(sizeof(*ev->explain));
}

void explain_drop(struct policy_eval *ev)
{
	if (!ev->explain)
		return;
	drop(ev->explain, ev->explain->tops);
	free(ev->explain);
	ev->explain = NULL;
	ev->attempt = NULL;
}

/* ---- recording ---- */

struct attempt *explain_open(struct policy_eval *ev, const struct clause *cl)
{
	struct explain *x = ev->explain;
	struct attempt *a;

	if (x->records >= EXPLAIN_RECORDS_MAX || (cl->is_default && !cl->block.count))
		return NULL;
	a = cf_zalloc(sizeof(*a));
	x->records++;
	a->parent = ev->attempt;
	a->clause = cl;
	a->asked_by = ev->op;
	struct attempt **tail = a->parent ? &a->parent->now : &x->tops;
	while (*tail)
		tail = &(*tail)->next;
	*tail = a;
	ev->attempt = a;
	return a;
}

static void unlink_attempt(struct explain *x, struct attempt *a)
{
	struct attempt **p = a->parent ? &a->parent->now : &x->tops;

	while (*p && *p != a)
		p = &(*p)->next;
	if (*p) {
		*p = a->next;
		a->next = NULL;
		drop(x, a);
	}
}

void explain_close(struct policy_eval *ev, struct attempt *at, bool has_solution)
{
	if (at && has_solution)
		unlink_attempt(ev->explain, at);
}

static void show(struct policy_eval *ev, const struct pv *v, char out[EXPLAIN_VALUE_MAX + 8])
{
	struct cf_arena room = { 0 };
	struct pv_sb b = pv_sb(&room);

	(void)ev;
	if (!v) {
		snprintf(out, EXPLAIN_VALUE_MAX + 8, "undefined");
		return;
	}
	if (v->weight < 100000)
		pv_term_write(&b, v);
	else
		pv_sb_fmt(&b, "(%s of %u members)", pv_type_name(v), v->len);
	size_t n = CF_MIN(b.size, (size_t)EXPLAIN_VALUE_MAX);
	while (n < b.size && n && ((uint8_t)b.data[n] & 0xc0) == 0x80)
		n--;
	snprintf(out, EXPLAIN_VALUE_MAX + 8, "%.*s%s", (int)n, b.data ? b.data : "",
	         n < b.size ? "…" : "");
	cf_arena_fini(&room);
}

static void add_operand(struct policy_eval *ev, struct operands *all, const char *text,
                        const struct pv *v)
{
	if (all->count == EXPLAIN_OPERANDS_MAX)
		return;
	struct operand_text *o = &all->items[all->count++];
	snprintf(o->text, sizeof(o->text), "%s", text);
	show(ev, v, o->value);
}

/* The op that put a value into a slot, if it stands in this block: its text names the operand. */
static const struct op *maker_of(const struct block *b, uint32_t slot)
{
	for (uint32_t i = 0; i < b->count; i++)
		if (b->ops[i]->dst && b->ops[i]->dst->kind == NODE_SLOT &&
		    b->ops[i]->dst->slot == slot && b->ops[i]->dst->is_binding)
			return b->ops[i];
	return NULL;
}

static void ref_text(struct policy_eval *ev, const struct frame *fr, const struct op *op,
                     struct pv_sb *b)
{
	pv_sb_str(b, op->base == BASE_INPUT ? "input" : op->base == BASE_DATA ? "data" : "…");
	for (uint32_t i = 0; i < op->arg_count; i++) {
		const struct node *n = op->args[i];
		const struct pv *v = n->is_binding ? NULL : node_value(ev, fr, n);

		if (n->kind == NODE_CONST && v->type == PV_STR) {
			pv_sb_byte(b, '.');
			pv_sb_add(b, pv_view(v));
		} else if (v && v->weight < EXPLAIN_VALUE_MAX) {
			pv_sb_byte(b, '[');
			pv_term_write(b, v);
			pv_sb_byte(b, ']');
		} else {
			pv_sb_str(b, "[_]");
		}
	}
}

static void node_operand(struct policy_eval *ev, struct frame *fr, struct operands *all,
                         const struct node *n)
{
	struct cf_arena room = { 0 };
	struct pv_sb b = pv_sb(&room);

	if (n->kind == NODE_CONST || n->is_binding)
		return;
	const struct op *maker =
		n->kind == NODE_SLOT ? maker_of(&fr->clause->block, n->slot) : NULL;
	if (maker && maker->kind == OP_REF)
		ref_text(ev, fr, maker, &b);
	add_operand(ev, all, b.data ? b.data : "", node_value(ev, fr, n));
	cf_arena_fini(&room);
}

static void record_operands(struct policy_eval *ev, struct frame *fr, struct operands *all,
                            const struct op *op)
{
	all->count = 0;
	for (uint32_t i = 0; op->kind == OP_CALL && i < op->arg_count; i++)
		node_operand(ev, fr, all, op->args[i]);
	if (op->kind == OP_REF && !op->is_scan) {
		struct cf_arena room = { 0 };
		struct pv_sb b = pv_sb(&room);
		const struct pv *v = NULL;

		ref_text(ev, fr, op, &b);
		if (doc_value(ev, fr, op, &v) >= 0)
			add_operand(ev, all, b.data ? b.data : "", v);
		cf_arena_fini(&room);
	}
	if (op->kind == OP_MATCH || op->kind == OP_EVERY || op->kind == OP_TEST)
		if (op->src)
			node_operand(ev, fr, all, op->src);
	if (op->dst)
		node_operand(ev, fr, all, op->dst);
	if (op->kind == OP_EVERY) { /* the element it broke at is still in its slots */
		const struct pv *last = fr->slots[op->value->slot];

		add_operand(ev, all, "element", last);
	}
	const struct block *inner = op->kind == OP_NOT ? op->blocks[0] : NULL;
	for (uint32_t i = 0; inner && i < inner->count; i++)
		record_operands(ev, fr, all, inner->ops[i]);
}

static enum why why_of(const struct op *op, const struct attempt *at)
{
	switch ((enum op_kind)op->kind) {
	case OP_NOT:
		return WHY_NOT;
	case OP_EVERY:
		return WHY_EVERY;
	case OP_MATCH:
		return WHY_NO_MATCH;
	case OP_TEST:
		return WHY_FALSE;
	case OP_CALL:
		if (at->builtin[0])
			return WHY_BUILTIN;
		return op->fn.builtin && !op->dst ? WHY_FALSE : WHY_UNDEFINED;
	default:
		break;
	}
	if (op->kind != OP_REF || !at->operands.count ||
	    strcmp(at->operands.items[0].value, "undefined") == 0)
		return WHY_UNDEFINED;
	return op->dst ? WHY_NO_MATCH : WHY_FALSE;
}

static bool holds_op(const struct op *op, const struct op *wanted)
{
	if (op == wanted)
		return true;
	for (uint32_t i = 0; i < op->block_count; i++)
		for (uint32_t k = 0; k < op->blocks[i]->count; k++)
			if (holds_op(op->blocks[i]->ops[k], wanted))
				return true;
	return false;
}

/* Of an every: the literal in its body that ran last, which is where its element failed. */
static const struct op *inner_of(const struct policy_eval *ev, const struct op *every)
{
	const struct block *body = every->kind == OP_EVERY ? every->blocks[0] : NULL;

	for (uint32_t i = 0; body && i < body->count; i++)
		if (body->ops[i]->span.size && holds_op(body->ops[i], ev->op))
			return body->ops[i];
	return NULL;
}

void explain_failure(struct policy_eval *ev, struct frame *fr, const struct op *op)
{
	struct explain *x = ev->explain;
	struct attempt *at = fr->attempt;
	bool is_own =
		at && op->index < fr->clause->block.count && fr->clause->block.ops[op->index] == op;

	if (!is_own)
		return;
	at->tried++;
	if (at->failed && op->index < at->failed->index) {
		drop(x, at->now);
		at->now = NULL;
		return;
	}
	bool is_further = !at->failed || op->index > at->failed->index;
	if (!is_further) {
		drop(x, at->now);
		at->now = NULL;
		return;
	}
	drop(x, at->best);
	at->best = at->now;
	at->now = NULL;
	at->failed = op;
	at->inner = inner_of(ev, op);
	/* Looking at operands must neither be explained itself nor spend what it decides on. */
	ev->explain = NULL;
	record_operands(ev, fr, &at->operands, op);
	if (at->inner)
		record_operands(ev, fr, &at->inner_operands, at->inner);
	ev->explain = x;
	at->why = why_of(op, at);
}

void explain_builtin_error(struct policy_eval *ev, const struct op *op, const char *text)
{
	struct attempt *at = ev->frame ? ev->frame->attempt : NULL;

	if (at && (!at->failed || op->index >= at->failed->index))
		snprintf(at->builtin, sizeof(at->builtin), "%s", text);
}

void explain_result(struct policy_eval *ev, const struct group *g, const struct pv *value,
                    bool by_default)
{
	struct explain *x = ev->explain;

	if (ev->attempt)
		return;
	x->group = g;
	x->has_result = true;
	x->is_defined = value != NULL;
	x->is_default = by_default;
	x->fallback = by_default ? g->fallback : NULL;
	show(ev, value, x->value);
}

/* ---- telling ---- */

void explain_rule_name(const struct tree *t, struct cf_buf *out)
{
	if (!t->parent) {
		cf_buf_add_str(out, "data");
		return;
	}
	explain_rule_name(t->parent, out);
	cf_buf_add_byte(out, '.');
	if (t->key->type == PV_STR)
		cf_buf_add_view(out, pv_view(t->key));
	else
		cf_buf_add_str(out, pv_type_name(t->key));
}

/* The literal's own text, on one line. */
static void literal_text(const struct attempt *at, const struct op *op, struct cf_buf *out)
{
	const struct module *m = at->clause->module;
	struct span s = op ? op->span : at->clause->span;
	struct cf_view text = cf_view_sub(m->text, s.at, CF_MIN(s.size, 200u));
	bool was_space = false;

	if (!s.size) {
		cf_buf_add_str(out, "(the rule's head)");
		return;
	}
	for (size_t i = 0; i < text.size; i++) {
		bool is_space = text.data[i] == ' ' || text.data[i] == '\t' || text.data[i] == '\n';

		if (!is_space || !was_space)
			cf_buf_add_byte(out, is_space ? ' ' : text.data[i]);
		was_space = is_space;
	}
	if (s.size > 200)
		cf_buf_add_str(out, "…");
}

static void indent(struct cf_buf *out, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		cf_buf_add_str(out, "  ");
}

static void list_operands(const struct operands *all, unsigned nest, struct cf_buf *out)
{
	for (unsigned i = 0; i < all->count; i++) {
		const struct operand_text *o = &all->items[i];

		indent(out, nest);
		if (o->text[0])
			cf_buf_printf(out, "%s is %s\n", o->text, o->value);
		else
			cf_buf_printf(out, "the value is %s\n", o->value);
	}
}

static void text_inner(const struct attempt *at, unsigned nest, struct cf_buf *out)
{
	indent(out, nest);
	cf_buf_printf(out, "it failed at %u:%u:  ", at->inner->loc.line, at->inner->loc.col);
	literal_text(at, at->inner, out);
	cf_buf_add_byte(out, '\n');
	list_operands(&at->inner_operands, nest + 1, out);
}

static void text_operands(const struct attempt *at, unsigned nest, struct cf_buf *out)
{
	list_operands(&at->operands, nest + 2, out);
	if (at->inner)
		text_inner(at, nest + 2, out);
	if (at->why == WHY_NOT) {
		indent(out, nest + 2);
		cf_buf_add_str(out, "\"not\" needs it missing or false\n");
	}
	if (at->why == WHY_BUILTIN) {
		indent(out, nest + 2);
		cf_buf_printf(out, "%s\n", at->builtin);
	}
}

/* Was @kid asked by the literal that failed, and not by one before it? */
static bool is_asked_here(const struct attempt *at, const struct attempt *kid)
{
	return at->failed && kid->asked_by && kid->asked_by->span.at == at->failed->span.at;
}

static void text_attempt(const struct attempt *at, unsigned nest, struct cf_buf *out)
{
	const struct loc loc = at->failed ? at->failed->loc : at->clause->loc;

	indent(out, nest + 1);
	cf_buf_printf(out, "body %s:%u:%u ", at->clause->module->file, at->clause->loc.line,
	              at->clause->loc.col);
	if (at->tried > 1)
		cf_buf_printf(out, "tried %u ways; the furthest ", at->tried);
	cf_buf_printf(out, "failed at %u:%u:  ", loc.line, loc.col);
	literal_text(at, at->failed, out);
	cf_buf_printf(out, "   (%s)\n", why_names[at->why]);
	text_operands(at, nest, out);
	for (const struct attempt *k = at->best; k && nest < EXPLAIN_NEST_MAX; k = k->next) {
		if (!is_asked_here(at, k))
			continue;
		indent(out, nest + 2);
		cf_buf_add_str(out, "asked ");
		explain_rule_name(k->clause->group->tree, out);
		cf_buf_add_str(out, ":\n");
		text_attempt(k, nest + 2, out);
	}
}

static void explain_text(const struct explain *x, struct cf_buf *out)
{
	if (!x->has_result) {
		cf_buf_add_str(out, "no rule was asked for\n");
		return;
	}
	explain_rule_name(x->group->tree, out);
	cf_buf_printf(out, " is %s", x->value);
	if (x->is_default && x->fallback->module)
		cf_buf_printf(out, " (default, %s:%u:%u)", x->fallback->module->file,
		              x->fallback->loc.line, x->fallback->loc.col);
	cf_buf_add_byte(out, '\n');
	for (const struct attempt *a = x->tops; a; a = a->next)
		text_attempt(a, 0, out);
}

static void json_str(struct cf_buf *out, const char *key, const char *value)
{
	cf_buf_printf(out, "\"%s\":", key);
	cf_buf_add_json_str(out, cf_view_str(value));
}

static void json_operands(const struct operands *all, struct cf_buf *out)
{
	cf_buf_add_str(out, ",\"operands\":[");
	for (unsigned i = 0; i < all->count; i++) {
		cf_buf_add_str(out, i ? ",{" : "{");
		json_str(out, "text", all->items[i].text);
		cf_buf_add_byte(out, ',');
		json_str(out, "value", all->items[i].value);
		cf_buf_add_byte(out, '}');
	}
	cf_buf_add_byte(out, ']');
}

static void json_inner(const struct attempt *at, struct cf_buf *out)
{
	struct cf_buf text = { 0 };

	literal_text(at, at->inner, &text);
	cf_buf_printf(out, ",\"inner\":{\"line\":%u,\"col\":%u,", at->inner->loc.line,
	              at->inner->loc.col);
	json_str(out, "text", text.data ? (const char *)text.data : "");
	json_operands(&at->inner_operands, out);
	cf_buf_add_byte(out, '}');
	cf_buf_fini(&text);
}

static void json_attempt(const struct attempt *at, unsigned nest, struct cf_buf *out)
{
	const struct loc loc = at->failed ? at->failed->loc : at->clause->loc;
	struct cf_buf name = { 0 }, text = { 0 };

	explain_rule_name(at->clause->group->tree, &name);
	literal_text(at, at->failed, &text);
	cf_buf_add_byte(out, '{');
	json_str(out, "rule", name.data ? (const char *)name.data : "");
	cf_buf_add_byte(out, ',');
	json_str(out, "file", at->clause->module->file);
	cf_buf_printf(out, ",\"line\":%u,\"col\":%u,\"failed\":{\"line\":%u,\"col\":%u,",
	              at->clause->loc.line, at->clause->loc.col, loc.line, loc.col);
	json_str(out, "text", text.data ? (const char *)text.data : "");
	cf_buf_add_byte(out, ',');
	json_str(out, "why", why_names[at->why]);
	json_operands(&at->operands, out);
	if (at->inner)
		json_inner(at, out);
	cf_buf_printf(out, "},\"tried\":%u,\"asked\":[", at->tried);
	bool is_first = true;
	for (const struct attempt *k = at->best; k && nest < EXPLAIN_NEST_MAX; k = k->next) {
		if (!is_asked_here(at, k))
			continue;
		if (!is_first)
			cf_buf_add_byte(out, ',');
		is_first = false;
		json_attempt(k, nest + 1, out);
	}
	cf_buf_add_str(out, "]}");
	cf_buf_fini(&name);
	cf_buf_fini(&text);
}

static void explain_json(const struct explain *x, struct cf_buf *out)
{
	struct cf_buf name = { 0 };

	if (x->has_result)
		explain_rule_name(x->group->tree, &name);
	cf_buf_add_byte(out, '{');
	json_str(out, "query", name.data ? (const char *)name.data : "");
	cf_buf_add_byte(out, ',');
	json_str(out, "result", x->has_result ? x->value : "undefined");
	cf_buf_printf(out, ",\"default\":%s,\"bodies\":[", x->is_default ? "true" : "false");
	for (const struct attempt *a = x->tops; a; a = a->next) {
		if (a != x->tops)
			cf_buf_add_byte(out, ',');
		json_attempt(a, 0, out);
	}
	cf_buf_add_str(out, "]}\n");
	cf_buf_fini(&name);
}

int policy_explain(const struct policy_eval *ev, bool as_json, struct cf_buf *out,
                   struct cf_err *err)
{
	if (!ev->explain)
		return cf_fail(err, CF_FAILED_PRECONDITION, "the last run kept no explanation");
	if (as_json)
		explain_json(ev->explain, out);
	else
		explain_text(ev->explain, out);
	return cf_buf_check(out, "explanation", err);
}
