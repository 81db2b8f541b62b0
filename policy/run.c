/* SPDX-License-Identifier: Apache-2.0 */
/* The door's evaluating half: budgets, requests, queries. */
#include "policy/compile.h"
#include "policy/eval.h"
#include "policy/parse.h"

#include "base/str.h"

#include <stdio.h>
#include <time.h>

int policy_eval_new(const struct policy_budget *budget, struct policy_eval **ret,
                    struct cf_err *err)
{
	struct policy_eval *ev = cf_zalloc(sizeof(*ev));
	struct policy_budget b = budget ? *budget : (struct policy_budget){ 0 };

	(void)err;
	ev->budget = (struct policy_budget){
		.steps = b.steps ? b.steps : POLICY_STEPS_DEFAULT,
		.memory_bytes = b.memory_bytes ? b.memory_bytes : POLICY_MEMORY_DEFAULT,
		.depth = b.depth ? b.depth : POLICY_DEPTH_MAX,
		.wall_ms = b.wall_ms ? b.wall_ms : POLICY_WALL_DEFAULT,
		.print_bytes = b.print_bytes ? b.print_bytes : POLICY_PRINT_MAX,
	};
	ev->arena.max = ev->budget.memory_bytes;
	ev->scratch.max = ev->budget.memory_bytes;
	ev->frames = cf_zalloc_n(POLICY_FRAMES_MAX, sizeof(*ev->frames));
	*ret = ev;
	return 0;
}

struct policy_eval *policy_eval_free(struct policy_eval *ev)
{
	if (ev) {
		eval_regex_drop(ev);
		explain_drop(ev);
		cf_arena_fini(&ev->arena);
		cf_arena_fini(&ev->scratch);
		free(ev->frames);
		free(ev);
	}
	return NULL;
}

void policy_eval_cancel(struct policy_eval *ev)
{
	ev->is_cancelled = true;
}

const char *policy_eval_code(const struct policy_eval *ev)
{
	return ev->code;
}

struct policy_message policy_eval_message(const struct policy_eval *ev)
{
	return (struct policy_message){ .file = ev->file ? ev->file : "query",
		                        .line = ev->loc.line,
		                        .col = ev->loc.col,
		                        .code = ev->code,
		                        .text = ev->text };
}

static int64_t clock_ms(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int read_documents(struct policy_eval *ev, const struct policy_request *rq, struct world *w)
{
	const struct pv_json_options strict = { .refuses_duplicates = rq->refuses_duplicate_keys };
	int r = 0;

	w->input = rq->input;
	w->base = rq->data ? rq->data : &pv_empty_obj;
	if (!rq->input && rq->input_json.size) {
		r = pv_json_read(&ev->arena, rq->input_json, &strict, &w->input, ev->err);
		if (r < 0)
			return cf_wrap(ev->err, r, "input");
	}
	if (!rq->data && rq->data_json.size) {
		r = pv_json_read(&ev->arena, rq->data_json, NULL, &w->base, ev->err);
		if (r < 0)
			return cf_wrap(ev->err, r, "data");
	}
	return 0;
}

/* Everything of the last run goes; the budgets are full again. */
static int begin(struct policy_eval *ev, const struct policy *p, const struct policy_request *rq,
                 struct world *w, struct cf_err *err)
{
	struct timespec now;

	cf_arena_reset(&ev->arena);
	cf_arena_reset(&ev->scratch);
	explain_drop(ev);
	ev->policy = p;
	ev->rq = rq;
	ev->err = err;
	ev->code[0] = ev->text[0] = '\0';
	ev->file = NULL;
	ev->loc = (struct loc){ 0 };
	ev->steps = ev->clock_at = ev->kept = 0;
	ev->depth = 0;
	ev->frame_top = 0;
	ev->print_bytes = 0;
	ev->prints_cut = false;
	ev->is_cancelled = false;
	ev->op = NULL;
	ev->frame = NULL;
	ev->attempt = NULL;
	ev->deadline_ms = clock_ms(CLOCK_MONOTONIC) + ev->budget.wall_ms;
	clock_gettime(CLOCK_REALTIME, &now);
	ev->now_ns = rq->now_ns ? rq->now_ns : (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
	*w = (struct world){ 0 };
	ev->world = w;
	if (rq->wants_explain)
		explain_begin(ev);
	return read_documents(ev, rq, w);
}

static int finish(struct policy_eval *ev, int r)
{
	if (r >= 0)
		r = eval_charge(ev, 0);
	ev->world = NULL;
	ev->rq = NULL;
	ev->err = NULL;
	return r;
}

/* ---- one rule ---- */

/* "data.a.b" as a reference. */
static struct op *path_op(struct policy_eval *ev, const char *path)
{
	struct op *op = CF_ARENA_NEW(&ev->arena, struct op);
	size_t n = strlen(path), count = 1;

	for (size_t i = 0; i < n; i++)
		count += path[i] == '.';
	op->kind = OP_REF;
	op->base = BASE_DATA;
	op->tree = (struct tree *)(uintptr_t)&ev->policy->root;
	op->args = cf_arena_alloc(&ev->arena, CF_MIN(count, 256u) * sizeof(*op->args));
	const char *at = strchr(path, '.');
	while (at && op->arg_count < 256) {
		const char *end = strchr(++at, '.');
		struct node *node = CF_ARENA_NEW(&ev->arena, struct node);

		node->kind = NODE_CONST;
		node->value =
			pv_str(&ev->arena, cf_view(at, end ? (size_t)(end - at) : strlen(at)));
		op->args[op->arg_count++] = node;
		at = end;
	}
	return op;
}

static bool is_path(const char *query)
{
	if (strncmp(query, "data", 4) != 0 || (query[4] && query[4] != '.'))
		return false;
	for (const char *s = query; *s; s++)
		if (!(*s == '_' || *s == '.' || (*s >= '0' && *s <= '9') ||
		      ((*s | 0x20) >= 'a' && (*s | 0x20) <= 'z')))
			return false;
	return strlen(query) < 4096;
}

int policy_run(const struct policy *p, struct policy_eval *ev, const struct policy_request *rq,
               const struct pv **ret, struct cf_err *err)
{
	struct world w;
	const struct pv *v = NULL;
	struct frame fr = { .clause = &(struct clause){ 0 } };
	int r = begin(ev, p, rq, &w, err);

	if (r >= 0 && (!rq->query || !is_path(rq->query)))
		r = cf_fail(err, CF_INVALID_ARGUMENT, "query \"%s\" is no rule path",
		            rq->query ? rq->query : "");
	ev->stack_base = __builtin_frame_address(0);
	if (r >= 0)
		r = doc_value(ev, &fr, path_op(ev, rq->query), &v);
	r = finish(ev, r);
	if (r < 0)
		return r;
	if (!v)
		return POLICY_E_UNDEFINED;
	*ret = v;
	return 0;
}

/* ---- queries ---- */

struct query_sink {
	struct sink sink;
	const struct lower *lower;
	int (*each)(void *user, const struct policy_solution *s);
	void *user;
	bool found;
};

static bool is_shown(const struct scope_var *v)
{
	return v->name.size && v->name.data[0] != '_';
}

static int query_solution(struct policy_eval *ev, struct frame *fr, struct sink *sink)
{
	struct query_sink *s = (struct query_sink *)sink;
	const struct lower *l = s->lower;
	struct pv_vec vars = pv_vec(&ev->arena), exprs = pv_vec(&ev->arena);
	struct policy_solution sol;

	ev->kept++;
	s->found = true;
	for (uint32_t i = 0; i < l->scope->count; i++) {
		const struct scope_var *v = &l->scope->vars[i];

		if (is_shown(v) && fr->slots[v->slot])
			pv_vec_add_pair(&vars, pv_str(&ev->arena, v->name), fr->slots[v->slot]);
	}
	for (uint32_t i = 0; i < l->captured_count; i++)
		pv_vec_add(&exprs, node_value(ev, fr, l->captured[i]));
	sol.bindings = pv_vec_object(&vars);
	sol.expressions = pv_vec_array(&exprs);
	if (!sol.bindings || !sol.expressions)
		return eval_tick(ev);
	return s->each(s->user, &sol) ? EVAL_STOP : EVAL_GO;
}

static int compile_query(struct policy_eval *ev, const struct policy *p,
                         const struct policy_request *rq, struct lower *l, struct clause **ret)
{
	static const struct policy_options no_options = { 0 };
	struct module *m = CF_ARENA_NEW(&ev->scratch, struct module);
	struct parse_fault fault;
	struct body *body;

	m->file = "query";
	m->text = cf_view_str(rq->query);
	struct compiler *c = CF_ARENA_NEW(&ev->scratch, struct compiler);
	*c = (struct compiler){ .policy = (struct policy *)(uintptr_t)p,
		                .arena = &ev->scratch,
		                .opt = &no_options,
		                .err = ev->err };
	int r = parse_query(&ev->scratch, m, &body, &fault, ev->err);
	if (r < 0) {
		snprintf(ev->code, sizeof(ev->code), "rego_parse_error");
		snprintf(ev->text, sizeof(ev->text), "%.*s", (int)sizeof(ev->text) - 1,
		         ev->err ? ev->err->msg : "");
		ev->loc = fault.loc;
		return cf_wrap(ev->err, r, "query:%u:%u: rego_parse_error", fault.loc.line,
		               fault.loc.col);
	}
	m->is_strict = true;
	*ret = lower_query(c, m, body, rq->captures, l);
	if (ev->scratch.is_over)
		return cf_fail(ev->err, CF_RESOURCE_EXHAUSTED, "query too big");
	if (!*ret) {
		snprintf(ev->code, sizeof(ev->code), "%s", c->code);
		snprintf(ev->text, sizeof(ev->text), "%s", c->text);
		ev->loc = c->loc;
	}
	return *ret ? 0 : c->failed;
}

int policy_query(const struct policy *p, struct policy_eval *ev, const struct policy_request *rq,
                 int (*each)(void *user, const struct policy_solution *s), void *user,
                 struct cf_err *err)
{
	struct world w;
	struct lower l;
	struct clause *cl;
	struct frame fr = { 0 };
	struct query_sink s = {
		.sink.solution = query_solution, .lower = &l, .each = each, .user = user
	};
	int r = begin(ev, p, rq, &w, err);

	if (r >= 0)
		r = compile_query(ev, p, rq, &l, &cl);
	ev->stack_base = __builtin_frame_address(0);
	if (r >= 0 && !eval_frame_push(ev, &fr, cl))
		r = cf_fail(err, CF_RESOURCE_EXHAUSTED, "query has too many variables");
	if (r >= 0) {
		memset(fr.slots, 0, cl->slot_count * sizeof(*fr.slots));
		r = eval_block(ev, &fr, &cl->block, 0, &s.sink);
	}
	r = finish(ev, r);
	if (r < 0)
		return r;
	return s.found ? 0 : POLICY_E_UNDEFINED;
}

/* ---- values ---- */

bool policy_value_is_true(const struct pv *v)
{
	return v && v->type == PV_BOOL && v->b;
}

int policy_value_json(const struct pv *v, struct cf_buf *out, struct cf_err *err)
{
	struct cf_arena a = { .max = 4 * POLICY_STRING_MAX };
	struct pv_sb b = pv_sb(&a);
	int r = 0;

	pv_json_write(&b, v, NULL);
	if (b.is_bad)
		r = cf_fail(err, CF_RESOURCE_EXHAUSTED, "value of more than %u bytes as JSON",
		            POLICY_STRING_MAX);
	else
		cf_buf_add(out, b.data, b.size);
	cf_arena_fini(&a);
	return r < 0 ? r : cf_buf_check(out, "JSON", err);
}

int policy_value_read(struct policy_eval *ev, struct cf_view json, const struct pv **ret,
                      struct cf_err *err)
{
	return pv_json_read(&ev->arena, json, NULL, ret, err);
}

bool policy_value_string(const struct pv *v, struct cf_view *ret)
{
	*ret = v && v->type == PV_STR ? pv_view(v) : (struct cf_view){ 0 };
	return v && v->type == PV_STR;
}

const struct pv *policy_value_get(const struct pv *v, const char *key)
{
	return v ? pv_obj_get_str(v, key) : NULL;
}

bool policy_value_int(const struct pv *v, int64_t *ret)
{
	return v && v->type == PV_NUM && number_is_int(v) && number_to_i64(v, ret);
}

void policy_value_each(const struct pv *v,
                       void (*each)(void *user, const struct pv *key, const struct pv *val),
                       void *user)
{
	for (uint32_t i = 0; v && pv_is_composite(v) && i < v->len; i++)
		each(user, v->type == PV_OBJ ? pv_obj_key(v, i) : NULL,
		     v->type == PV_OBJ ? pv_obj_val(v, i) : v->at[i]);
}

int policy_value_verdict(const struct pv *v, bool *ret_allowed, const struct pv **ret_ops,
                         struct cf_err *err)
{
	const struct pv *allowed = v->type == PV_OBJ ? policy_value_get(v, "allowed") : v;
	const struct pv *ops = v->type == PV_OBJ ? policy_value_get(v, "ops") : NULL;

	if (!allowed || allowed->type != PV_BOOL || (ops && ops->type != PV_ARR))
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "policy answered neither a boolean nor {\"allowed\", \"ops\"}");
	*ret_allowed = allowed->b;
	*ret_ops = ops;
	return 0;
}
