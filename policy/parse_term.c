/* SPDX-License-Identifier: Apache-2.0 */
/* Terms and expressions: precedence from the weakest, "in", down to a term with its tail. */
#include "policy/number.h"
#include "policy/parser.h"

/* Where "|" ends the expression because a comprehension may follow. */
enum stop { STOP_NOWHERE, STOP_AT_OR };

static struct term *parse_relation(struct parser *p, enum stop stop);

static bool enter(struct parser *p)
{
	if (++p->depth <= POLICY_NEST_MAX)
		return true;
	parser_bad(p, "expressions nested more than %u deep", POLICY_NEST_MAX);
	return false;
}

void parser_arg_add(struct parser *p, struct term *t, struct term *arg, uint32_t *cap)
{
	if (arg && cf_arena_grow(p->arena, &t->args, cap, t->arg_count + 1))
		t->args[t->arg_count++] = arg;
}

static struct term *call2(struct parser *p, const char *name, struct term *a, struct term *b)
{
	uint32_t cap = 0;

	if (!a || !b)
		return NULL;
	if (CF_MAX(a->height, b->height) >= POLICY_NEST_MAX)
		return parser_bad(p, "more than %u operators in a row", POLICY_NEST_MAX);
	struct term *t = parser_term_new(p, TERM_CALL);
	t->height = (uint16_t)(1 + CF_MAX(a->height, b->height));
	t->name = cf_view_str(name);
	t->loc = a->loc;
	t->is_infix = true;
	t->span.at = a->span.at;
	parser_span_end(p, &t->span);
	parser_arg_add(p, t, a, &cap);
	parser_arg_add(p, t, b, &cap);
	return t;
}

/* ---- operators, tightest last ---- */

static const struct {
	uint8_t tok, level;
	const char *name;
} operators[] = {
	{ TOK_EQ, 0, "equal" },    { TOK_NEQ, 0, "neq" }, { TOK_LT, 0, "lt" },
	{ TOK_LE, 0, "lte" },      { TOK_GT, 0, "gt" },   { TOK_GE, 0, "gte" },
	{ TOK_OR, 1, "or" },       { TOK_AND, 2, "and" }, { TOK_PLUS, 3, "plus" },
	{ TOK_MINUS, 3, "minus" }, { TOK_MUL, 4, "mul" }, { TOK_DIV, 4, "div" },
	{ TOK_REM, 4, "rem" },
};

static const char *operator_here(const struct parser *p, unsigned level)
{
	for (size_t i = 0; i < CF_ARRAY_LEN(operators); i++)
		if (operators[i].level == level && parser_is(p, operators[i].tok))
			return operators[i].name;
	return NULL;
}

static struct term *parse_level(struct parser *p, unsigned level, enum stop stop)
{
	const char *name;

	if (level == 5)
		return parse_term(p);
	struct term *left = parse_level(p, level + 1, stop);
	while (left && (name = operator_here(p, level))) {
		if (stop == STOP_AT_OR && parser_is(p, TOK_OR))
			break;
		p->at++;
		left = call2(p, name, left, parse_level(p, level + 1, stop));
	}
	return left;
}

static struct term *parse_relation(struct parser *p, enum stop stop)
{
	if (!enter(p))
		return NULL;
	struct term *t = parse_level(p, 0, stop);
	p->depth--;
	return t;
}

static struct term *parse_membership(struct parser *p, struct term *left, enum stop stop)
{
	while (left && parser_is_word(p, "in")) {
		p->at++;
		left = call2(p, "internal.member_2", left, parse_relation(p, stop));
	}
	return left;
}

struct term *parse_expr_in_list(struct parser *p)
{
	return parse_membership(p, parse_relation(p, STOP_NOWHERE), STOP_NOWHERE);
}

/* key, value in xs */
static struct term *parse_member_3(struct parser *p, struct term *key)
{
	uint32_t cap = 2;

	struct term *val = parse_relation(p, STOP_NOWHERE);
	if (!val || !parser_take_word(p, "in"))
		return parser_bad(p, "unexpected comma");
	struct term *t = call2(p, "internal.member_3", key, val);
	cap = t ? 4 : 0;
	struct term *xs = parse_relation(p, STOP_NOWHERE);
	if (!t || !xs)
		return NULL;
	parser_arg_add(p, t, xs, &cap);
	parser_span_end(p, &t->span);
	return parse_membership(p, t, STOP_NOWHERE);
}

struct term *parse_expr(struct parser *p)
{
	struct term *t = parse_relation(p, STOP_NOWHERE);

	if (t && (p->words & WORD_IN) && parser_is(p, TOK_COMMA)) {
		p->at++;
		return parse_member_3(p, t);
	}
	return parse_membership(p, t, STOP_NOWHERE);
}

/* ---- collections and comprehensions ---- */

/* Second readings are counted: nested ones multiply. */
static bool may_backtrack(struct parser *p)
{
	if (p->failed && p->failed != -CF_INVALID_ARGUMENT)
		return false;
	if (++p->backtracks > POLICY_BACKTRACKS_MAX) {
		parser_bad(p, "too many ambiguous braces");
		return false;
	}
	p->failed = 0;
	return true;
}

static struct term *parse_comprehension(struct parser *p, enum term_kind kind, struct term *head,
                                        struct term *value, enum tok end)
{
	struct term *t = parser_term_new(p, kind);

	t->loc = head->loc;
	t->head = head;
	t->value_term = value;
	p->at++; /* the bar */
	t->body = parse_body(p, end);
	return t->body ? t : NULL;
}

/* Elements up to @end, the first already read or NULL. */
static bool parse_elements(struct parser *p, struct term *t, struct term *first, enum tok end)
{
	uint32_t cap = 0;

	if (first) {
		parser_arg_add(p, t, first, &cap);
		if (!parser_take(p, TOK_COMMA))
			return parser_expect(p, end, "',' or the closing bracket");
	}
	while (!parser_is(p, end)) {
		struct term *x = parse_expr_in_list(p);

		if (!x)
			return false;
		parser_arg_add(p, t, x, &cap);
		if (!parser_take(p, TOK_COMMA))
			break;
	}
	return parser_expect(p, end, "',' or the closing bracket");
}

/*
 * "[a | …" and "{a | …" are comprehensions if they can be: the first element is read up to a bar;
 * if what follows is no body, all is read again with the bar as an operator.
 */
static struct term *first_element(struct parser *p, enum term_kind compr, enum tok end,
                                  bool *ret_is_compr)
{
	uint32_t start = p->at;

	*ret_is_compr = false;
	struct term *x = parse_membership(p, parse_relation(p, STOP_AT_OR), STOP_AT_OR);
	if (!x || !parser_is(p, TOK_OR))
		return x;
	if (!x->is_infix) {
		struct term *c = parse_comprehension(p, compr, x, NULL, end);

		*ret_is_compr = true;
		if (c)
			return c;
		struct cf_err first = p->err ? *p->err : (struct cf_err){ 0 };
		struct loc loc = p->fault->loc;
		if (!may_backtrack(p))
			return NULL;
		p->at = start;
		*ret_is_compr = false;
		x = parse_expr_in_list(p);
		if (x && (parser_is(p, TOK_COMMA) || parser_is(p, TOK_COLON)))
			return x;
		p->failed = -CF_INVALID_ARGUMENT;
		p->fault->loc = loc;
		if (p->err)
			*p->err = first;
		return NULL;
	}
	if (!may_backtrack(p))
		return NULL;
	p->at = start;
	return parse_expr_in_list(p);
}

static struct term *parse_array(struct parser *p, struct term *t)
{
	bool is_compr;

	if (parser_take(p, TOK_RBRACK))
		return t;
	struct term *x = first_element(p, TERM_ARRAY_OF, TOK_RBRACK, &is_compr);
	if (!x || is_compr)
		return x;
	return parse_elements(p, t, x, TOK_RBRACK) ? t : NULL;
}

static struct term *parse_object(struct parser *p, struct term *t, struct term *key)
{
	uint32_t cap = 0;

	t->kind = TERM_OBJECT;
	for (;;) {
		if (!parser_expect(p, TOK_COLON, "':'"))
			return NULL;
		uint32_t start = p->at;
		struct term *val = parse_membership(p, parse_relation(p, STOP_AT_OR), STOP_AT_OR);
		if (!val)
			return NULL;
		if (parser_is(p, TOK_OR) && !t->arg_count && !val->is_infix)
			return parse_comprehension(p, TERM_OBJECT_OF, key, val, TOK_RBRACE);
		if (parser_is(p, TOK_OR)) {
			if (!may_backtrack(p))
				return NULL;
			p->at = start;
			val = parse_expr_in_list(p);
		}
		parser_arg_add(p, t, key, &cap);
		parser_arg_add(p, t, val, &cap);
		if (!parser_take(p, TOK_COMMA) || parser_is(p, TOK_RBRACE))
			break;
		key = parse_expr_in_list(p);
		if (!key)
			return NULL;
	}
	return parser_expect(p, TOK_RBRACE, "',' or '}'") ? t : NULL;
}

static struct term *parse_braces(struct parser *p, struct term *t)
{
	bool is_compr;

	if (parser_take(p, TOK_RBRACE)) {
		t->kind = TERM_OBJECT;
		return t;
	}
	struct term *x = first_element(p, TERM_SET_OF, TOK_RBRACE, &is_compr);
	if (!x || is_compr)
		return x;
	if (parser_is(p, TOK_COLON))
		return parse_object(p, t, x);
	t->kind = TERM_SET;
	return parse_elements(p, t, x, TOK_RBRACE) ? t : NULL;
}

/* ---- terms ---- */

static struct term *parse_number(struct parser *p, bool is_neg)
{
	struct term *t = parser_term_new(p, TERM_CONST);
	struct cf_view text = parser_tok(p)->text;

	if (is_neg) {
		char *copy = cf_arena_alloc(p->arena, text.size + 2);

		copy[0] = '-';
		memcpy(copy + 1, text.data, text.size);
		text = cf_view(copy, text.size + 1);
	}
	t->value = number_parse(p->arena, text);
	if (!t->value)
		return parser_bad(p, "number beyond the limits");
	p->at++;
	return t;
}

static struct term *parse_name(struct parser *p)
{
	const struct token *tok = parser_tok(p);
	static const struct {
		const char *word;
		const struct pv *value;
	} words[] = { { "true", &pv_true }, { "false", &pv_false }, { "null", &pv_null } };
	bool is_ref_head = !p->toks[p->at + 1].is_spaced && (p->toks[p->at + 1].kind == TOK_DOT ||
	                                                     p->toks[p->at + 1].kind == TOK_LBRACK);

	for (size_t i = 0; i < CF_ARRAY_LEN(words) && !is_ref_head; i++)
		if (cf_view_eq_str(tok->text, words[i].word)) {
			struct term *t = parser_term_new(p, TERM_CONST);

			t->value = words[i].value;
			p->at++;
			return t;
		}
	if (cf_view_eq_str(tok->text, "set") && tok[1].kind == TOK_LPAREN && !tok[1].is_spaced &&
	    tok[2].kind == TOK_RPAREN) {
		struct term *t = parser_term_new(p, TERM_SET);

		p->at += 3;
		return t;
	}
	bool is_call = cf_view_eq_str(tok->text, "contains") && tok[1].kind == TOK_LPAREN &&
	               !tok[1].is_spaced;
	if (!is_ref_head && !is_call && parser_is_reserved(p, tok->text))
		return parser_bad(p, "unexpected %.*s keyword", (int)tok->text.size,
		                  (const char *)tok->text.data);
	struct term *t = parser_term_new(p, TERM_VAR);
	t->name = tok->text;
	p->at++;
	return t;
}

static struct term *parse_parenthesis(struct parser *p)
{
	struct term *t = parse_expr(p);

	if (!t || !parser_expect(p, TOK_RPAREN, "')'"))
		return NULL;
	t->is_infix = false;
	return t;
}

static struct term *parse_primary(struct parser *p)
{
	const struct token *tok = parser_tok(p);
	struct term *t;

	switch (tok->kind) {
	case TOK_IDENT:
		return parse_name(p);
	case TOK_NUMBER:
		return parse_number(p, false);
	case TOK_MINUS:
		p->at++;
		if (!parser_is(p, TOK_NUMBER))
			return parser_bad(p, "expected number");
		return parse_number(p, true);
	case TOK_STRING:
		t = parser_term_new(p, TERM_CONST);
		t->value = pv_str_static(p->arena, tok->text);
		p->at++;
		return t;
	case TOK_TEMPLATE:
		return parse_template(p);
	case TOK_LPAREN:
		p->at++;
		return parse_parenthesis(p);
	case TOK_LBRACK:
		t = parser_term_new(p, TERM_ARRAY);
		p->at++;
		return parse_array(p, t);
	case TOK_LBRACE:
		t = parser_term_new(p, TERM_SET);
		p->at++;
		return parse_braces(p, t);
	default:
		return parser_bad(p, "unexpected %s",
		                  tok->kind == TOK_EOF ? "end of text" : "token");
	}
}

static struct term *as_ref(struct parser *p, struct term *t)
{
	if (t->kind == TERM_REF)
		return t;
	struct term *ref = parser_term_new(p, TERM_REF);
	ref->loc = t->loc;
	ref->span = t->span;
	ref->head = t;
	return ref;
}

/* One .word or [expr] behind @t. */
static struct term *parse_ref_step(struct parser *p, struct term *t, uint32_t *cap)
{
	struct term *ref = as_ref(p, t), *arg;
	bool is_dot = parser_is(p, TOK_DOT);

	p->at++;
	if (is_dot) {
		if (!parser_is(p, TOK_IDENT) || parser_tok(p)->is_spaced)
			return parser_bad(p, "expected a name after the dot");
		arg = parser_term_new(p, TERM_CONST);
		arg->value = pv_str_static(p->arena, parser_tok(p)->text);
		arg->is_dotted = true;
		p->at++;
	} else {
		arg = parse_expr(p);
		if (!arg || !parser_expect(p, TOK_RBRACK, "']'"))
			return NULL;
	}
	parser_arg_add(p, ref, arg, cap);
	parser_span_end(p, &ref->span);
	return ref;
}

struct term *parse_ref_tail(struct parser *p, struct term *head)
{
	struct term *t = head;
	uint32_t cap = 0;

	while (t && !parser_tok(p)->is_spaced &&
	       (parser_is(p, TOK_DOT) || parser_is(p, TOK_LBRACK)))
		t = parse_ref_step(p, t, &cap);
	return t;
}

static struct term *parse_call(struct parser *p, struct term *fn)
{
	struct term *t = parser_term_new(p, TERM_CALL);

	t->loc = fn->loc;
	t->span = fn->span;
	t->head = fn;
	p->at++;
	if (!parse_elements(p, t, NULL, TOK_RPAREN))
		return NULL;
	parser_span_end(p, &t->span);
	return t;
}

static bool is_callable(const struct term *t)
{
	if (t->kind == TERM_VAR)
		return true;
	if (t->kind != TERM_REF || t->head->kind != TERM_VAR)
		return false;
	for (uint32_t i = 0; i < t->arg_count; i++)
		if (t->args[i]->kind != TERM_CONST || t->args[i]->value->type != PV_STR)
			return false;
	return true;
}

static struct term *parse_term_inner(struct parser *p)
{
	struct term *t = parse_primary(p);

	while (t && !p->failed && !parser_tok(p)->is_spaced) {
		if (parser_is(p, TOK_DOT) || parser_is(p, TOK_LBRACK)) {
			if (t->kind == TERM_CONST || t->kind == TERM_TEMPLATE)
				return parser_bad(p, "a reference cannot start with a constant");
			t = parse_ref_tail(p, t);
		} else if (parser_is(p, TOK_LPAREN)) {
			if (!is_callable(t))
				return parser_bad(p, "only a name can be called");
			t = parse_call(p, t);
		} else {
			break;
		}
	}
	return t;
}

struct term *parse_term(struct parser *p)
{
	if (!enter(p))
		return NULL;
	struct term *t = parse_term_inner(p);
	p->depth--;
	return p->failed ? NULL : t;
}
