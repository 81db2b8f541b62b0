/* SPDX-License-Identifier: Apache-2.0 */
/* The stages in order, and the life of a compiled policy. */
#include "policy/compile.h"

#include "base/str.h"
#include "policy/index.h"
#include "policy/parse.h"

#include <stdarg.h>
#include <stdio.h>

/* ---- messages ---- */

static const char *file_of(const struct compiler *c, const struct module *m)
{
	(void)c;
	return m && m->file ? m->file : "query";
}

static void tell(struct compiler *c, const struct module *m, struct loc loc, const char *code,
                 const char *text)
{
	struct policy_message msg = {
		.file = file_of(c, m), .line = loc.line, .col = loc.col, .code = code, .text = text
	};

	if (c->opt->message)
		c->opt->message(c->opt->message_user, &msg);
}

void compile_error(struct compiler *c, const struct module *m, struct loc loc, const char *code,
                   const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (!c->failed) {
		snprintf(c->code, sizeof(c->code), "%s", code);
		snprintf(c->text, sizeof(c->text), "%s", text);
		c->loc = loc;
		c->failed = cf_fail(c->err, CF_INVALID_ARGUMENT, "%s:%u:%u: %s: %s", file_of(c, m),
		                    loc.line, loc.col, code, text);
	}
	if (c->error_count++ < POLICY_ERRORS_MAX)
		tell(c, m, loc, code, text);
}

void compile_warning(struct compiler *c, const struct module *m, struct loc loc, const char *fmt,
                     ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	tell(c, m, loc, "warning", text);
}

/* ---- stages ---- */

static void parse_failed(struct compiler *c, const struct module *m,
                         const struct parse_fault *fault, int r, const struct cf_err *err)
{
	if (r == -CF_INVALID_ARGUMENT) {
		compile_error(c, m, fault->loc, "rego_parse_error", "%s", err->msg);
	} else if (!c->failed) {
		if (c->err)
			*c->err = *err;
		c->failed = cf_wrap(c->err, r, "%s", m->file);
	}
}

static struct module *module_new(struct compiler *c, const struct policy_source *src,
                                 uint16_t index, enum policy_syntax syntax)
{
	struct module *m = CF_ARENA_NEW(c->arena, struct module);

	m->file = cf_arena_copy(c->arena, cf_view_str(src->name ? src->name : "policy.rego"));
	m->index = index;
	m->syntax = syntax;
	const char *text = cf_arena_copy(c->arena, src->text);
	m->text = cf_view(text, text ? src->text.size : 0);
	return m;
}

static struct module *parse_source(struct compiler *c, const struct policy_source *src,
                                   uint16_t index)
{
	enum policy_version v = c->opt->version;
	struct parse_fault fault, fault0;
	struct cf_err err, err0;
	struct module *m = module_new(c, src, index, v == POLICY_REGO_V0 ? SYNTAX_V0 : SYNTAX_V1);

	int r = parse_module(c->arena, m, &fault, &err);
	if (r == -CF_INVALID_ARGUMENT && v == POLICY_REGO_AUTO) {
		struct module *old = module_new(c, src, index, SYNTAX_V0);

		if (parse_module(c->arena, old, &fault0, &err0) == 0) {
			compile_warning(c, m, fault.loc, "read as Rego v0, since as v1: %s",
			                err.msg);
			return old;
		}
	}
	if (r < 0)
		parse_failed(c, m, &fault, r, &err);
	return m;
}

static void parse_all(struct compiler *c, const struct policy_source *sources, size_t count)
{
	struct policy *p = c->policy;

	p->modules = cf_arena_alloc(c->arena, (count + 1) * sizeof(*p->modules));
	for (size_t i = 0; i < count; i++)
		p->modules[p->module_count++] = parse_source(c, &sources[i], (uint16_t)i);
}

static void lower_all(struct compiler *c, const struct pending_list *list)
{
	for (uint32_t i = 0; i < list->count; i++) {
		int before = c->failed;

		c->failed = 0; /* go on, to find more errors */
		lower_rule(c, &list->items[i]);
		c->failed = before ? before : c->failed;
		if (c->error_count >= POLICY_ERRORS_MAX || c->arena->is_over)
			return;
	}
}

/* One and the same constant from every clause: the first success decides. */
static bool is_constant(const struct group *g)
{
	const struct pv *v = g->clause_count ? g->clauses[0]->const_value : NULL;

	for (uint32_t i = 0; v && i < g->clause_count; i++)
		if (g->clauses[i]->els || !g->clauses[i]->const_value ||
		    !pv_eq(v, g->clauses[i]->const_value))
			v = NULL;
	return v && !g->is_partial;
}

static void finish_groups(struct compiler *c, const struct pending_list *list)
{
	for (uint32_t i = 0; i < list->count; i++) {
		struct group *g = list->items[i].group;

		if (g->is_finished)
			continue;
		g->is_finished = true;
		g->is_constant = is_constant(g);
		if (!g->is_partial)
			index_build(c->arena, g);
	}
}

static int compile_stages(struct compiler *c, const struct policy_source *sources, size_t count)
{
	struct pending_list list = { 0 };

	parse_all(c, sources, count);
	if (!c->failed && tree_build(c, &list)) {
		if (list.count > POLICY_RULES_MAX)
			return cf_fail(c->err, CF_RESOURCE_EXHAUSTED, "more than %u rules",
			               POLICY_RULES_MAX);
		for (uint32_t i = 0; i < c->policy->module_count; i++)
			check_imports(c, c->policy->modules[i]);
		check_tree(c, &list);
	}
	if (!c->failed)
		lower_all(c, &list);
	if (!c->failed && !c->arena->is_over)
		check_recursion(c);
	if (!c->failed)
		finish_groups(c, &list);
	if (c->arena->is_over)
		return cf_fail(c->err, CF_RESOURCE_EXHAUSTED,
		               "policy needs more than %u MiB to compile",
		               POLICY_COMPILE_MEMORY_MAX >> 20);
	return c->failed;
}

/* ---- life ---- */

int policy_compile(const struct policy_source *sources, size_t count,
                   const struct policy_options *opt, struct policy **ret, struct cf_err *err)
{
	static const struct policy_options defaults = { 0 };
	cf_cleanup(policy_unrefp) struct policy *p = cf_zalloc(sizeof(*p));

	p->refs = 1;
	p->arena.max = POLICY_COMPILE_MEMORY_MAX;
	if (!opt)
		opt = &defaults;
	if (count > POLICY_MODULES_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "%zu policy files, limit %u", count,
		               POLICY_MODULES_MAX);
	p->hooks = opt->hooks;
	p->hook_count = opt->hook_count;
	p->is_strict_builtins = opt->is_strict_builtins;
	struct compiler c = { .policy = p, .arena = &p->arena, .opt = opt, .err = err };
	int r = compile_stages(&c, sources, count);
	if (r < 0)
		return r;
	*ret = cf_take(&p);
	return 0;
}

struct policy *policy_ref(struct policy *p)
{
	p->refs++;
	return p;
}

struct policy *policy_unref(struct policy *p)
{
	if (p && --p->refs == 0) {
		cf_arena_fini(&p->arena);
		free(p);
	}
	return NULL;
}

/* ---- questions about a policy ---- */

bool policy_has_rule(const struct policy *p, const char *path)
{
	const struct tree *t = &p->root;
	struct cf_strv words = { 0 };

	cf_strv_split(&words, cf_view_str(path), '.');
	bool ok = words.count > 1 && strcmp(words.items[0], "data") == 0;
	for (size_t i = 1; ok && t && i < words.count; i++) {
		const struct pv key = { .type = PV_STR,
			                .weight = 1,
			                .len = (uint32_t)strlen(words.items[i]),
			                .s = words.items[i] };

		t = tree_find(t, &key);
	}
	cf_strv_fini(&words);
	return ok && t && t->group;
}

struct rule_visit {
	const char *prefix;
	void (*each)(void *user, const char *path);
	void *user;
};

static void each_rule(const struct rule_visit *v, const struct tree *t, const char *path)
{
	for (uint32_t i = 0; i < t->kid_count; i++) {
		const struct tree *kid = t->kids[i];

		if (kid->key->type != PV_STR)
			continue;
		cf_cleanup(cf_freep) char *full =
			cf_asprintf("%s.%.*s", path, (int)kid->key->len, kid->key->s);
		if (kid->group && !kid->group->is_function &&
		    cf_view_starts_with(pv_view(kid->key), v->prefix))
			v->each(v->user, full);
		each_rule(v, kid, full);
	}
}

void policy_each_rule(const struct policy *p, const char *prefix,
                      void (*each)(void *user, const char *path), void *user)
{
	struct rule_visit v = { .prefix = prefix, .each = each, .user = user };

	each_rule(&v, &p->root, "data");
}

struct constant_visit {
	const char *hook;
	void (*each)(void *user, struct cf_view json);
	void *user;
	struct cf_arena arena;
};

static void block_constants(struct constant_visit *v, const struct block *b)
{
	for (uint32_t i = 0; i < b->count; i++) {
		const struct op *op = b->ops[i];

		if (op->kind == OP_CALL && op->fn.hook && strcmp(op->fn.hook->name, v->hook) == 0 &&
		    op->arg_count && op->args[0]->kind == NODE_CONST) {
			struct pv_sb json = pv_sb(&v->arena);

			pv_json_write(&json, op->args[0]->value, NULL);
			v->each(v->user, cf_view(json.data, json.size));
			cf_arena_reset(&v->arena);
		}
		for (uint32_t k = 0; op->kind != OP_WITH && k < op->block_count; k++)
			block_constants(v, op->blocks[k]);
	}
}

static void tree_constants(struct constant_visit *v, const struct tree *t)
{
	for (uint32_t i = 0; t->group && i < t->group->clause_count; i++)
		for (const struct clause *cl = t->group->clauses[i]; cl; cl = cl->els)
			block_constants(v, &cl->block);
	for (uint32_t i = 0; i < t->kid_count; i++)
		tree_constants(v, t->kids[i]);
}

void policy_hook_constants(const struct policy *p, const char *hook,
                           void (*each)(void *user, struct cf_view json), void *user)
{
	struct constant_visit v = { .hook = hook, .each = each, .user = user };

	tree_constants(&v, &p->root);
	cf_arena_fini(&v.arena);
}
