/* SPDX-License-Identifier: Apache-2.0 */
/* Modules: package, imports and rules. */
#include "policy/parse.h"

#include "policy/parser.h"

#include <stdarg.h>
#include <stdio.h>

/* ---- tokens ---- */

void *parser_bad_at(struct parser *p, struct loc loc, const char *text)
{
	if (!p->failed) {
		p->fault->loc = loc;
		p->failed = cf_fail(p->err, CF_INVALID_ARGUMENT, "%s", text);
	}
	return NULL;
}

void *parser_bad(struct parser *p, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return parser_bad_at(p, parser_tok(p)->loc, text);
}

bool parser_take(struct parser *p, enum tok kind)
{
	if (!parser_is(p, kind))
		return false;
	if (kind != TOK_EOF)
		p->at++;
	return true;
}

bool parser_expect(struct parser *p, enum tok kind, const char *what)
{
	if (parser_take(p, kind))
		return true;
	parser_bad(p, "unexpected token: expected %s", what);
	return false;
}

bool parser_is_word(const struct parser *p, const char *word)
{
	static const struct {
		const char *word;
		unsigned bit;
	} optional[] = { { "if", WORD_IF },
		         { "contains", WORD_CONTAINS },
		         { "in", WORD_IN },
		         { "every", WORD_EVERY } };
	const struct token *t = parser_tok(p);

	if (t->kind != TOK_IDENT || !cf_view_eq_str(t->text, word))
		return false;
	if (!t[1].is_spaced && (t[1].kind == TOK_DOT || t[1].kind == TOK_LBRACK))
		return false;
	for (size_t i = 0; i < CF_ARRAY_LEN(optional); i++)
		if (strcmp(optional[i].word, word) == 0)
			return p->words & optional[i].bit;
	return true;
}

bool parser_take_word(struct parser *p, const char *word)
{
	if (!parser_is_word(p, word))
		return false;
	p->at++;
	return true;
}

bool parser_is_reserved(const struct parser *p, struct cf_view word)
{
	static const char *const always[] = { "as",     "default", "else", "false",
		                              "import", "package", "not",  "null",
		                              "some",   "true",    "with" };

	for (size_t i = 0; i < CF_ARRAY_LEN(always); i++)
		if (cf_view_eq_str(word, always[i]))
			return true;
	return ((p->words & WORD_IF) && cf_view_eq_str(word, "if")) ||
	       ((p->words & WORD_IN) && cf_view_eq_str(word, "in")) ||
	       ((p->words & WORD_EVERY) && cf_view_eq_str(word, "every")) ||
	       ((p->words & WORD_CONTAINS) && cf_view_eq_str(word, "contains")) ||
	       (p->has_and && cf_view_eq_str(word, "and")) ||
	       (p->has_or && cf_view_eq_str(word, "or"));
}

struct term *parser_term_new(struct parser *p, enum term_kind kind)
{
	struct term *t = CF_ARENA_NEW(p->arena, struct term);

	t->kind = (uint8_t)kind;
	t->loc = parser_tok(p)->loc;
	t->span = (struct span){ .at = parser_tok(p)->at, .size = parser_tok(p)->size };
	return t;
}

void parser_span_end(const struct parser *p, struct span *span)
{
	const struct token *last = &p->toks[p->at ? p->at - 1 : 0];

	if (last->at + last->size > span->at)
		span->size = last->at + last->size - span->at;
}

/* ---- package and imports ---- */

/* A dotted path whose words may be keywords, at the cursor. */
static struct term *parse_path(struct parser *p)
{
	if (!parser_is(p, TOK_IDENT))
		return parser_bad(p, "expected a path");
	struct term *head = parser_term_new(p, TERM_VAR);
	head->name = parser_tok(p)->text;
	p->at++;
	struct term *t = parse_ref_tail(p, head);
	for (uint32_t i = 0; t && t->kind == TERM_REF && i < t->arg_count; i++)
		if (t->args[i]->kind != TERM_CONST || t->args[i]->value->type != PV_STR)
			return parser_bad_at(p, t->loc, "a path holds names and strings only");
	return t;
}

static bool parse_package(struct parser *p)
{
	struct module *m = p->module;

	if (!parser_take_word(p, "package")) {
		parser_bad(p, "package expected");
		return false;
	}
	m->loc = parser_tok(p)->loc;
	struct term *t = parse_path(p);
	if (!t)
		return false;
	uint32_t rest = t->kind == TERM_REF ? t->arg_count : 0;
	m->path = cf_arena_alloc(p->arena, (rest + 1) * sizeof(*m->path));
	const struct term *head = t->kind == TERM_REF ? t->head : t;
	m->path[m->path_count++] = pv_str_static(p->arena, head->name);
	for (uint32_t i = 0; i < rest; i++)
		m->path[m->path_count++] = t->args[i]->value;
	return true;
}

static const struct pv *path_word(const struct term *path, uint32_t i)
{
	return path->kind == TERM_REF && i < path->arg_count ? path->args[i]->value : NULL;
}

/* future.keywords[.word] */
static bool import_keyword(struct parser *p, const struct term *path)
{
	const struct pv *group = path_word(path, 0), *word = path_word(path, 1);
	static const struct {
		const char *word;
		unsigned bits;
	} words[] = { { "if", WORD_IF }, { "contains", WORD_CONTAINS },
		      { "in", WORD_IN }, { "every", WORD_EVERY | WORD_IN },
		      { "not", 0 },      { "and", 0 },
		      { "or", 0 } };

	if (!group || !pv_is_str(group, "keywords") || path->arg_count > 2) {
		parser_bad_at(p, path->loc, "invalid import, must be `future.keywords`");
		return false;
	}
	if (!word) {
		p->words |= WORD_ALL;
		return true;
	}
	for (size_t i = 0; i < CF_ARRAY_LEN(words); i++) {
		if (!pv_is_str(word, words[i].word))
			continue;
		p->words |= words[i].bits;
		p->has_not |= i == 4;
		p->has_and |= i == 5;
		p->has_or |= i == 6;
		p->module->has_future_not = p->has_not;
		return true;
	}
	parser_bad_at(p, path->loc,
	              "unexpected keyword, must be one of [and contains every if in not or]");
	return false;
}

static bool import_rego(struct parser *p, const struct term *path, bool is_aliased)
{
	const struct pv *version = path_word(path, 0);

	if (!version || !pv_is_str(version, "v1") || path->arg_count != 1 || is_aliased) {
		parser_bad_at(p, path->loc, "invalid import, must be `rego.v1`, without an alias");
		return false;
	}
	p->words = WORD_ALL;
	p->module->is_strict = true;
	return true;
}

static bool add_import(struct parser *p, struct term *path, struct cf_view alias)
{
	struct module *m = p->module;

	if (!cf_arena_grow(p->arena, &m->imports, &m->import_cap, m->import_count + 1))
		return false;
	m->imports[m->import_count++] =
		(struct import){ .loc = path->loc, .path = path, .alias = alias };
	return true;
}

static bool parse_import(struct parser *p)
{
	struct term *path = parse_path(p);
	struct cf_view alias = { 0 };

	if (!path)
		return false;
	if (parser_take_word(p, "as")) {
		if (!parser_is(p, TOK_IDENT) || parser_is_reserved(p, parser_tok(p)->text)) {
			parser_bad(p, "expected a name after as");
			return false;
		}
		alias = parser_tok(p)->text;
		p->at++;
	}
	const struct term *head = path->kind == TERM_REF ? path->head : path;
	if (cf_view_eq_str(head->name, "future"))
		return import_keyword(p, path);
	if (cf_view_eq_str(head->name, "rego"))
		return import_rego(p, path, alias.size > 0);
	if (!cf_view_eq_str(head->name, "data") && !cf_view_eq_str(head->name, "input")) {
		parser_bad_at(p, path->loc,
		              "unexpected import path, must begin with one of: {data, future, "
		              "input, rego}");
		return false;
	}
	if (!alias.size && path->kind == TERM_REF)
		alias = pv_view(path->args[path->arg_count - 1]->value);
	else if (!alias.size)
		alias = head->name;
	return add_import(p, path, alias);
}

/* ---- rules ---- */

static struct rule *rule_new(struct parser *p)
{
	struct rule *r = CF_ARENA_NEW(p->arena, struct rule);

	r->loc = parser_tok(p)->loc;
	r->span.at = parser_tok(p)->at;
	r->module = p->module;
	return r;
}

static bool parse_args(struct parser *p, struct rule *r)
{
	uint32_t cap = 0;

	r->is_function = true;
	while (!parser_is(p, TOK_RPAREN)) {
		struct term *t = parse_expr_in_list(p);

		if (!t || !cf_arena_grow(p->arena, &r->args, &cap, r->arg_count + 1))
			return false;
		r->args[r->arg_count++] = t;
		if (!parser_take(p, TOK_COMMA))
			break;
	}
	return parser_expect(p, TOK_RPAREN, "')'");
}

static bool parse_head_value(struct parser *p, struct rule *r)
{
	if (!parser_take(p, TOK_ASSIGN) && !parser_take(p, TOK_UNIFY))
		return true;
	r->value = parse_expr(p);
	return r->value != NULL;
}

static bool parse_head(struct parser *p, struct rule *r)
{
	const struct token *t = parser_tok(p);
	bool is_ref = !t[1].is_spaced && (t[1].kind == TOK_DOT || t[1].kind == TOK_LBRACK);

	if (t->kind != TOK_IDENT || (!is_ref && parser_is_reserved(p, t->text))) {
		parser_bad(p, "unexpected %s: rule name expected",
		           t->kind == TOK_IDENT ? "keyword" : "token");
		return false;
	}
	struct term *name = parser_term_new(p, TERM_VAR);
	name->name = t->text;
	p->at++;
	r->ref = parse_ref_tail(p, name);
	if (!r->ref)
		return false;
	if (parser_is(p, TOK_LPAREN) && !parser_tok(p)->is_spaced) {
		p->at++;
		if (!parse_args(p, r))
			return false;
	} else if (parser_take_word(p, "contains")) {
		r->is_set = true;
		r->key = parse_expr(p);
		return r->key != NULL;
	}
	return parse_head_value(p, r);
}

/* { } or { x }: not an expression where a body may stand. */
static bool is_brace_only(const struct lit *l)
{
	return l->kind == LIT_EXPR && !l->is_negated &&
	       (l->a->kind == TERM_SET || (l->a->kind == TERM_OBJECT && !l->a->arg_count));
}

/* { body }, or after "if" one literal: braces are a body unless they start an expression. */
static struct body *parse_rule_body(struct parser *p, bool after_if)
{
	uint32_t start = p->at;

	if (after_if) {
		struct lit *l = parse_literal(p);

		if (l && !is_brace_only(l)) {
			struct body *b = CF_ARENA_NEW(p->arena, struct body);

			if (cf_arena_grow(p->arena, &b->lits, &b->cap, 1))
				b->lits[b->count++] = l;
			return b;
		}
		if (p->toks[start].kind != TOK_LBRACE ||
		    (p->failed && p->failed != -CF_INVALID_ARGUMENT))
			return NULL;
		p->failed = 0;
		p->depth = 0;
		p->at = start;
	}
	if (!parser_expect(p, TOK_LBRACE, "'{'"))
		return NULL;
	return parse_body(p, TOK_RBRACE);
}

static bool is_else(const struct parser *p)
{
	return parser_is_word(p, "else");
}

static struct rule *parse_else(struct parser *p, const struct rule *first)
{
	struct rule *r = rule_new(p);

	p->at++;
	r->ref = first->ref;
	r->args = first->args;
	r->arg_count = first->arg_count;
	r->is_function = first->is_function;
	if (first->is_set) {
		parser_bad(p, "else keyword cannot be used on partial rules");
		return NULL;
	}
	bool has_value = parser_is(p, TOK_ASSIGN) || parser_is(p, TOK_UNIFY);
	if (!parse_head_value(p, r))
		return NULL;
	bool has_if = parser_take_word(p, "if");
	if (has_if || parser_is(p, TOK_LBRACE)) {
		if (!has_if && p->module->is_strict) {
			parser_bad(p, "`if` keyword is required before rule body");
			return NULL;
		}
		r->is_test_body = true;
		r->body = parse_rule_body(p, has_if);
		if (!r->body)
			return NULL;
	} else if (!has_value) {
		parser_bad(p, "expected a value or a body after else");
		return NULL;
	}
	parser_span_end(p, &r->span);
	return r;
}

static bool parse_elses(struct parser *p, struct rule *r)
{
	for (struct rule *last = r; is_else(p); last = last->els) {
		last->els = parse_else(p, r);
		if (!last->els)
			return false;
	}
	return true;
}

static bool add_rule(struct parser *p, struct rule *r)
{
	struct module *m = p->module;

	parser_span_end(p, &r->span);
	if (!cf_arena_grow(p->arena, &m->rules, &m->rule_cap, m->rule_count + 1))
		return false;
	m->rules[m->rule_count++] = r;
	return true;
}

/* name[x] without value or "if" is a partial set in v0, and a true member of an object in v1. */
static bool settle_kind(struct parser *p, struct rule *r, bool has_if, bool has_body)
{
	struct term *ref = r->ref;
	bool is_bracket = ref->kind == TERM_REF && !ref->args[ref->arg_count - 1]->is_dotted;

	if (has_body && !has_if && p->module->is_strict) {
		parser_bad_at(p, r->loc, "`if` keyword is required before rule body");
		return false;
	}
	if (r->is_set || r->is_function || r->value || has_if)
		return true;
	if (is_bracket && ref->arg_count == 1 && !p->module->is_strict) {
		r->is_set = true;
		r->key = ref->args[0];
		r->ref = ref->head;
		return true;
	}
	if (is_bracket && has_body && p->module->is_strict) {
		parser_bad_at(p, r->loc, "`contains` keyword is required for partial set rules");
		return false;
	}
	if (!has_body && ref->kind != TERM_REF) {
		parser_bad_at(p, r->loc, "var cannot be used for rule name");
		return false;
	}
	return true;
}

/* Further { bodies } after the first make rules of the same head. */
static bool parse_chain(struct parser *p, struct rule *r)
{
	while (parser_is(p, TOK_LBRACE)) {
		struct rule *next = CF_ARENA_NEW(p->arena, struct rule);

		*next = *r;
		next->loc = parser_tok(p)->loc;
		next->els = NULL;
		next->body = parse_rule_body(p, false);
		if (!next->body || !add_rule(p, next))
			return false;
	}
	return true;
}

static bool parse_rule(struct parser *p)
{
	struct rule *r = rule_new(p);

	if (!parse_head(p, r))
		return false;
	bool has_if = parser_take_word(p, "if");
	bool has_body = has_if || parser_is(p, TOK_LBRACE);
	if (!settle_kind(p, r, has_if, has_body))
		return false;
	if (!has_body)
		return add_rule(p, r);
	r->is_test_body = true;
	bool is_braced = parser_is(p, TOK_LBRACE);
	r->body = parse_rule_body(p, has_if);
	if (!r->body || !add_rule(p, r))
		return false;
	if (is_else(p))
		return parse_elses(p, r);
	return !is_braced || parse_chain(p, r);
}

/* Defaults are known before anything runs: no references, variables or calls. */
static bool is_ground(const struct term *t)
{
	switch ((enum term_kind)t->kind) {
	case TERM_CONST:
	case TERM_ARRAY_OF:
	case TERM_SET_OF:
	case TERM_OBJECT_OF:
		return true;
	case TERM_ARRAY:
	case TERM_SET:
	case TERM_OBJECT:
		for (uint32_t i = 0; i < t->arg_count; i++)
			if (!is_ground(t->args[i]))
				return false;
		return true;
	default:
		return false;
	}
}

static bool parse_default(struct parser *p)
{
	p->at++;
	struct rule *r = rule_new(p);

	r->is_default = true;
	if (!parse_head(p, r))
		return false;
	if (r->is_set || !r->value) {
		parser_bad_at(p, r->loc, "default rules must have a value");
		return false;
	}
	if (!is_ground(r->value)) {
		parser_bad_at(p, r->value->loc,
		              "illegal default rule (value cannot contain a ref, var or call)");
		return false;
	}
	for (uint32_t i = 0; i < r->arg_count; i++) {
		if (r->args[i]->kind != TERM_VAR) {
			parser_bad_at(p, r->args[i]->loc,
			              "illegal default rule (arguments must be plain variables)");
			return false;
		}
		for (uint32_t k = 0; k < i; k++)
			if (cf_view_eq(r->args[i]->name, r->args[k]->name) &&
			    !cf_view_eq_str(r->args[i]->name, "_")) {
				parser_bad_at(
					p, r->args[i]->loc,
					"illegal default rule (arguments cannot be repeated)");
				return false;
			}
	}
	if (parser_is_word(p, "if") || parser_is(p, TOK_LBRACE)) {
		parser_bad(p, "default rules have no body");
		return false;
	}
	return add_rule(p, r);
}

static bool parse_statements(struct parser *p)
{
	while (!parser_is(p, TOK_EOF) && !p->failed) {
		bool ok;

		if (parser_is_word(p, "import")) {
			p->at++;
			ok = parse_import(p);
		} else if (parser_is_word(p, "default")) {
			ok = parse_default(p);
		} else {
			ok = parse_rule(p);
		}
		if (!ok)
			return false;
	}
	return true;
}

static int parser_start(struct parser *p, struct cf_arena *a, struct module *m,
                        struct parse_fault *fault, struct cf_err *err)
{
	struct token_list toks;
	struct loc start = { .file = m->index, .line = 1, .col = 1 };

	fault->loc = start;
	*p = (struct parser){ .arena = a, .module = m, .fault = fault, .err = err };
	int r = lex(a, m->text, start, &toks, &fault->loc, err);
	if (r < 0)
		return r;
	p->toks = toks.items;
	if (m->syntax == SYNTAX_V1)
		p->words = WORD_ALL;
	m->is_strict = m->syntax == SYNTAX_V1;
	return 0;
}

/* The result of a reading that said @ok. */
static int parser_end(struct parser *p, bool ok)
{
	if (p->arena->is_over)
		return cf_fail(p->err, CF_RESOURCE_EXHAUSTED, "policy needs too much memory");
	if (!ok && !p->failed)
		parser_bad(p, "cannot be read");
	return p->failed;
}

int parse_module(struct cf_arena *a, struct module *m, struct parse_fault *fault,
                 struct cf_err *err)
{
	struct parser p;
	int r = parser_start(&p, a, m, fault, err);

	if (r < 0)
		return r;
	return parser_end(&p, parse_package(&p) && parse_statements(&p));
}

int parse_query(struct cf_arena *a, const struct module *m, struct body **ret,
                struct parse_fault *fault, struct cf_err *err)
{
	struct parser p;
	struct module copy = *m;
	int r = parser_start(&p, a, &copy, fault, err);

	if (r < 0)
		return r;
	p.has_not = m->has_future_not;
	struct body *b = parse_body(&p, TOK_EOF);
	r = parser_end(&p, b != NULL);
	if (r < 0)
		return r;
	*ret = b;
	return 0;
}
