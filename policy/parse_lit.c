/* SPDX-License-Identifier: Apache-2.0 */
/* Literals and bodies: what may stand between ";" and newlines. */
#include "policy/parser.h"

static struct lit *lit_new(struct parser *p, enum lit_kind kind)
{
	struct lit *l = CF_ARENA_NEW(p->arena, struct lit);

	l->kind = (uint8_t)kind;
	l->loc = parser_tok(p)->loc;
	l->span.at = parser_tok(p)->at;
	return l;
}

static bool add_var(struct parser *p, struct lit *l, struct term *t, uint32_t *cap)
{
	if (t->kind != TERM_VAR) {
		parser_bad(p, "expected a variable after some");
		return false;
	}
	if (cf_arena_grow(p->arena, &l->vars, cap, l->var_count + 1))
		l->vars[l->var_count++] = t;
	return true;
}

/* some x, y   some x in xs   some k, v in xs */
static bool parse_some(struct parser *p, struct lit *l)
{
	uint32_t cap = 0;

	p->at++;
	l->kind = LIT_SOME;
	struct term *first = parse_term(p);
	if (!first)
		return false;
	struct term *second = NULL;
	if (parser_is(p, TOK_COMMA)) {
		p->at++;
		second = parse_term(p);
		if (!second)
			return false;
	}
	if (parser_take_word(p, "in")) {
		l->kind = LIT_SOME_IN;
		l->key = second ? first : NULL;
		l->a = second ? second : first;
		l->b = parse_expr(p);
		return l->b != NULL;
	}
	if (!add_var(p, l, first, &cap) || (second && !add_var(p, l, second, &cap)))
		return false;
	while (parser_take(p, TOK_COMMA)) {
		struct term *t = parse_term(p);

		if (!t || !add_var(p, l, t, &cap))
			return false;
	}
	return true;
}

static bool parse_every(struct parser *p, struct lit *l)
{
	p->at++;
	l->kind = LIT_EVERY;
	l->a = parse_term(p);
	if (!l->a)
		return false;
	if (parser_take(p, TOK_COMMA)) {
		l->key = l->a;
		l->a = parse_term(p);
	}
	if (!l->a || l->a->kind != TERM_VAR || (l->key && l->key->kind != TERM_VAR)) {
		parser_bad(p, "expected a variable after every");
		return false;
	}
	if (!parser_take_word(p, "in")) {
		parser_bad(p, "expected in after every");
		return false;
	}
	l->b = parse_expr_in_list(p);
	if (!l->b || !parser_expect(p, TOK_LBRACE, "'{' of every"))
		return false;
	l->body = parse_body(p, TOK_RBRACE);
	return l->body != NULL;
}

static bool parse_statement(struct parser *p, struct lit *l)
{
	l->kind = LIT_EXPR;
	l->a = parse_expr(p);
	if (!l->a)
		return false;
	if (parser_is(p, TOK_ASSIGN) || parser_is(p, TOK_UNIFY)) {
		l->kind = parser_is(p, TOK_ASSIGN) ? LIT_ASSIGN : LIT_UNIFY;
		p->at++;
		l->b = parse_expr(p);
		return l->b != NULL;
	}
	return true;
}

static bool is_with_target(const struct term *t)
{
	const struct term *head = t->kind == TERM_REF ? t->head : t;

	if (head->kind != TERM_VAR)
		return false;
	for (uint32_t i = 0; t->kind == TERM_REF && i < t->arg_count; i++)
		if (t->args[i]->kind != TERM_CONST)
			return false;
	return true;
}

static bool parse_withs(struct parser *p, struct lit *l)
{
	uint32_t cap = 0;

	while (parser_take_word(p, "with")) {
		struct with w = { 0 };

		w.target = parse_term(p);
		if (!w.target)
			return false;
		if (!is_with_target(w.target)) {
			parser_bad(p,
			           "with target must be a reference to input, data or a function");
			return false;
		}
		if (!parser_take_word(p, "as")) {
			parser_bad(p, "expected as");
			return false;
		}
		w.value = parse_expr(p);
		if (!w.value)
			return false;
		if (cf_arena_grow(p->arena, &l->withs, &cap, l->with_count + 1))
			l->withs[l->with_count++] = w;
	}
	return true;
}

static bool parse_negated(struct parser *p, struct lit *l)
{
	p->at++;
	l->is_negated = true;
	if (parser_is_word(p, "not") || parser_is_word(p, "some")) {
		parser_bad(p, "unexpected keyword after not");
		return false;
	}
	if (p->has_not && parser_is(p, TOK_LBRACE)) {
		uint32_t start = p->at;

		p->at++;
		l->kind = LIT_BODY;
		l->body = parse_body(p, TOK_RBRACE);
		if (l->body && !parser_is(p, TOK_EQ) && !parser_is(p, TOK_UNIFY))
			return true;
		if (p->failed && p->failed != -CF_INVALID_ARGUMENT)
			return false;
		if (++p->backtracks > POLICY_BACKTRACKS_MAX) {
			parser_bad(p, "too many ambiguous braces");
			return false;
		}
		p->failed = 0;
		p->at = start;
	}
	if (p->has_not && parser_is_word(p, "every"))
		return parse_every(p, l);
	return parse_statement(p, l);
}

static bool parse_plain(struct parser *p, struct lit *l)
{
	if (parser_is_word(p, "some"))
		return parse_some(p, l);
	if (parser_is_word(p, "every"))
		return parse_every(p, l);
	if (parser_is_word(p, "not"))
		return parse_negated(p, l);
	return parse_statement(p, l);
}

static struct lit *parse_single(struct parser *p)
{
	struct lit *l = lit_new(p, LIT_EXPR);

	if (!parse_plain(p, l) || !parse_withs(p, l))
		return NULL;
	parser_span_end(p, &l->span);
	return l;
}

static struct body *body_of(struct parser *p, struct lit *l)
{
	struct body *b = CF_ARENA_NEW(p->arena, struct body);

	if (cf_arena_grow(p->arena, &b->lits, &b->cap, 1))
		b->lits[b->count++] = l;
	return b;
}

/* One side of "and" and "or": a literal or a body in braces. */
static struct lit *parse_operand(struct parser *p)
{
	if ((p->has_and || p->has_or) && parser_is(p, TOK_LBRACE)) {
		uint32_t start = p->at;
		struct lit *l = lit_new(p, LIT_BODY);

		p->at++;
		l->body = parse_body(p, TOK_RBRACE);
		if (l->body && (parser_is_word(p, "and") || parser_is_word(p, "or") ||
		                parser_tok(p)->is_newline || parser_is(p, TOK_RBRACE))) {
			parser_span_end(p, &l->span);
			return l;
		}
		if (p->failed && p->failed != -CF_INVALID_ARGUMENT)
			return NULL;
		if (++p->backtracks > POLICY_BACKTRACKS_MAX)
			return parser_bad(p, "too many ambiguous braces");
		p->failed = 0;
		p->at = start;
	}
	return parse_single(p);
}

static struct lit *join(struct parser *p, enum lit_kind kind, struct lit *a, struct lit *b)
{
	if (++p->joins > POLICY_NEST_MAX)
		return parser_bad(p, "more than %u and, or", POLICY_NEST_MAX);
	struct lit *l = CF_ARENA_NEW(p->arena, struct lit);

	l->kind = (uint8_t)kind;
	l->loc = a->loc;
	l->span = a->span;
	l->body = body_of(p, a);
	l->body2 = body_of(p, b);
	parser_span_end(p, &l->span);
	return l;
}

static struct lit *parse_and(struct parser *p)
{
	struct lit *l = parse_operand(p);

	while (l && p->has_and && parser_take_word(p, "and")) {
		struct lit *right = parse_operand(p);

		l = right ? join(p, LIT_AND, l, right) : NULL;
	}
	return l;
}

struct lit *parse_literal(struct parser *p)
{
	unsigned joins = p->joins;
	struct lit *l = parse_and(p);

	while (l && p->has_or && parser_take_word(p, "or")) {
		struct lit *right = parse_and(p);

		l = right ? join(p, LIT_OR, l, right) : NULL;
	}
	p->joins = joins;
	return p->failed ? NULL : l;
}

static struct body *parse_body_inner(struct parser *p, enum tok end)
{
	struct body *b = CF_ARENA_NEW(p->arena, struct body);

	if (parser_is(p, end))
		return parser_bad(p, "found empty body");
	for (;;) {
		struct lit *l = parse_literal(p);

		if (!l)
			return NULL;
		if (cf_arena_grow(p->arena, &b->lits, &b->cap, b->count + 1))
			b->lits[b->count++] = l;
		bool is_separated = parser_tok(p)->is_newline;
		if (parser_take(p, TOK_SEMI))
			is_separated = true;
		else if (parser_take(p, end))
			return b;
		if (!is_separated || parser_is(p, TOK_EOF))
			return parser_bad(
				p, "unexpected token: expected \\n or ; or the end of the body");
	}
}

struct body *parse_body(struct parser *p, enum tok end)
{
	if (++p->depth > POLICY_NEST_MAX)
		return parser_bad(p, "expressions nested more than %u deep", POLICY_NEST_MAX);
	struct body *b = parse_body_inner(p, end);
	p->depth--;
	return b;
}

/* ---- template strings ---- */

static void add_part(struct parser *p, struct term *t, struct term *part, uint32_t *cap)
{
	if (part && cf_arena_grow(p->arena, &t->args, cap, t->arg_count + 1))
		t->args[t->arg_count++] = part;
}

static struct loc loc_inside(struct loc l, struct cf_view text, size_t at)
{
	for (size_t i = 0; i < at; i++) {
		l.col++;
		if (text.data[i] == '\n') {
			l.line++;
			l.col = 1;
		}
	}
	return l;
}

/* A run of literal text: escapes as in strings, and \{ for a brace. */
static struct term *parse_template_text(struct parser *p, struct cf_view text, bool is_raw)
{
	struct term *t = parser_term_new(p, TERM_CONST);
	struct pv_sb b = pv_sb(p->arena);

	t->is_text = true;
	if (!is_raw)
		pv_sb_byte(&b, '"');
	for (size_t i = 0; i < text.size; i++) {
		char c = (char)text.data[i];
		bool is_escape = c == '\\' && i + 1 < text.size;

		if (is_escape && text.data[i + 1] == '{')
			c = (char)text.data[++i];
		else if (is_escape && !is_raw)
			pv_sb_byte(&b, (char)text.data[i++]), c = (char)text.data[i];
		if (c == '\t' && !is_raw)
			pv_sb_str(&b, "\\t");
		else
			pv_sb_byte(&b, c);
	}
	if (is_raw) {
		t->value = pv_sb_done(&b);
		return t->value ? t : parser_bad(p, "template too long");
	}
	pv_sb_byte(&b, '"');
	if (b.is_bad || pv_json_read(p->arena, cf_view(b.data, b.size), NULL, &t->value, NULL) < 0)
		return parser_bad(p, "illegal string escape or character in a template");
	return t;
}

static struct term *parse_template_expr(struct parser *p, struct cf_view text, struct loc loc)
{
	struct parser inner = *p;
	struct token_list toks;

	int r = lex(p->arena, text, loc, &toks, &p->fault->loc, p->err);
	if (r < 0) {
		p->failed = r;
		return NULL;
	}
	inner.toks = toks.items;
	inner.at = 0;
	struct term *t = parse_expr(&inner);
	if (t && !parser_is(&inner, TOK_EOF))
		t = parser_bad(&inner, "a template expression holds one term");
	p->failed = inner.failed;
	p->backtracks = inner.backtracks;
	return t;
}

struct term *parse_template(struct parser *p)
{
	const struct token *tok = parser_tok(p);
	struct term *t = parser_term_new(p, TERM_TEMPLATE);
	struct cf_view text = tok->text;
	size_t from = 0, at = 0;
	uint32_t cap = 0;
	struct loc start = tok->loc;

	start.col += 2;
	if (++p->depth > POLICY_NEST_MAX)
		return parser_bad(p, "expressions nested more than %u deep", POLICY_NEST_MAX);
	while (at <= text.size && !p->failed) {
		if (at < text.size && text.data[at] == '\\') {
			at += 2;
			continue;
		}
		if (at < text.size && text.data[at] != '{') {
			at++;
			continue;
		}
		if (at > from)
			add_part(p, t,
			         parse_template_text(p, cf_view_sub(text, from, at - from),
			                             tok->is_raw),
			         &cap);
		if (at >= text.size)
			break;
		size_t n = lex_template_expr(cf_view_sub(text, at + 1, text.size));
		if (n == SIZE_MAX)
			return parser_bad(p, "unfinished template expression");
		add_part(p, t,
		         parse_template_expr(p, cf_view_sub(text, at + 1, n),
		                             loc_inside(start, text, at + 1)),
		         &cap);
		at += n + 2;
		from = at;
	}
	p->depth--;
	p->at++;
	return p->failed ? NULL : t;
}
