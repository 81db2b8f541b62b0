/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/lex.h"

#include "policy/value.h"

#define LEX_TEMPLATE_DEPTH 32u /* templates in expressions of templates */

struct lexer {
	struct cf_arena *arena;
	struct cf_view in;
	size_t pos;
	struct loc loc;
	size_t line_at;     /* offset at which the column is 1 … */
	uint32_t first_col; /* … plus this, on the first line */
	struct token_list *out;
	struct loc *bad_loc;
	struct cf_err *err;
};

static int peek_at(const struct lexer *x, size_t ahead)
{
	return x->pos + ahead < x->in.size ? x->in.data[x->pos + ahead] : -1;
}

static struct loc here(const struct lexer *x, size_t at)
{
	struct loc l = x->loc;

	l.col = (uint32_t)(at - x->line_at) + 1 + x->first_col;
	return l;
}

static int bad(struct lexer *x, size_t at, const char *what)
{
	*x->bad_loc = here(x, at);
	return cf_fail(x->err, CF_INVALID_ARGUMENT, "%s", what);
}

static bool is_letter(int c)
{
	return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(int c)
{
	return c >= '0' && c <= '9';
}

static void next_line(struct lexer *x)
{
	x->pos++;
	x->loc.line++;
	x->line_at = x->pos;
	x->first_col = 0;
}

/* Skips white space and comments; says in @t what was there. */
static void skip_blank(struct lexer *x, struct token *t)
{
	for (;;) {
		int c = peek_at(x, 0);

		if (c == '\n') {
			next_line(x);
			t->is_newline = true;
		} else if (c == ' ' || c == '\t' || c == '\r') {
			x->pos++;
		} else if (c == '#') {
			while (peek_at(x, 0) >= 0 && peek_at(x, 0) != '\n')
				x->pos++;
		} else {
			return;
		}
		t->is_spaced = true;
	}
}

static int lex_number(struct lexer *x, struct token *t)
{
	size_t from = x->pos;

	if (peek_at(x, 0) == '0' && is_digit(peek_at(x, 1)))
		return bad(x, from, "illegal number format: expected no leading zero");
	while (is_digit(peek_at(x, 0)))
		x->pos++;
	if (peek_at(x, 0) == '.') {
		x->pos++;
		if (!is_digit(peek_at(x, 0)))
			return bad(x, from, "illegal number format: expected fraction");
		while (is_digit(peek_at(x, 0)))
			x->pos++;
	}
	if ((peek_at(x, 0) | 0x20) == 'e') {
		x->pos++;
		if (peek_at(x, 0) == '+' || peek_at(x, 0) == '-')
			x->pos++;
		if (!is_digit(peek_at(x, 0)))
			return bad(x, from, "illegal number format: expected exponent");
		while (is_digit(peek_at(x, 0)))
			x->pos++;
	}
	if (is_letter(peek_at(x, 0)))
		return bad(x, from, "illegal number format");
	t->kind = TOK_NUMBER;
	t->text = cf_view_sub(x->in, from, x->pos - from);
	if (t->text.data[0] == '.') { /* .5 stands for 0.5 */
		char *copy = cf_arena_alloc(x->arena, t->text.size + 2);

		copy[0] = '0';
		memcpy(copy + 1, t->text.data, t->text.size);
		t->text = cf_view(copy, t->text.size + 1);
	}
	return 0;
}

/* A string's end: the offset of the quote that closes it, or SIZE_MAX. No newline inside. */
static size_t string_end(struct cf_view in, size_t pos)
{
	for (; pos < in.size && in.data[pos] != '\n'; pos++) {
		if (in.data[pos] == '\\')
			pos++;
		else if (in.data[pos] == '"')
			return pos;
	}
	return SIZE_MAX;
}

static int lex_string(struct lexer *x, struct token *t)
{
	size_t from = x->pos, end = string_end(x->in, from + 1);
	const struct pv *v;

	if (end == SIZE_MAX)
		return bad(x, from, "non-terminated string");
	struct cf_view text = cf_view_sub(x->in, from, end + 1 - from);
	if (text.size > POLICY_INPUT_MAX)
		return bad(x, from, "string too long");
	/* Tabs are allowed here though JSON refuses them. */
	if (cf_view_find(text, '\t') >= 0) {
		struct pv_sb b = pv_sb(x->arena);

		for (size_t i = 0; i < text.size; i++)
			pv_sb_str(&b,
			          text.data[i] == '\t' ? "\\t" : (char[]){ (char)text.data[i], 0 });
		text = cf_view(b.data, b.size);
	}
	if (pv_json_read(x->arena, text, NULL, &v, NULL) < 0)
		return bad(x, from, "illegal string escape or character");
	t->kind = TOK_STRING;
	t->text = pv_view(v);
	x->pos = end + 1;
	return 0;
}

static void advance_to(struct lexer *x, size_t end)
{
	while (x->pos < end) {
		if (x->in.data[x->pos] == '\n')
			next_line(x);
		else
			x->pos++;
	}
}

static int lex_raw(struct lexer *x, struct token *t)
{
	size_t from = x->pos;
	ssize_t n = cf_view_find(cf_view_sub(x->in, from + 1, SIZE_MAX), '`');

	if (n < 0)
		return bad(x, from, "non-terminated string");
	t->kind = TOK_STRING;
	t->text = cf_view_sub(x->in, from + 1, (size_t)n);
	advance_to(x, from + 2 + (size_t)n);
	return 0;
}

static size_t expr_end(struct cf_view text, unsigned depth);

/* The offset of the quote that ends a template whose text starts at @pos. */
static size_t template_end(struct cf_view in, size_t pos, bool is_raw, unsigned depth)
{
	for (; pos < in.size; pos++) {
		uint8_t c = in.data[pos];

		if (c == (is_raw ? '`' : '"'))
			return pos;
		if (c == '\n' && !is_raw)
			return SIZE_MAX;
		if (c == '\\' && (!is_raw || (pos + 1 < in.size && in.data[pos + 1] == '{')))
			pos++;
		else if (c == '{') {
			size_t n = expr_end(cf_view_sub(in, pos + 1, SIZE_MAX), depth + 1);

			if (n == SIZE_MAX)
				return SIZE_MAX;
			pos += n + 1;
		}
	}
	return SIZE_MAX;
}

static size_t skip_quoted(struct cf_view in, size_t pos)
{
	uint8_t c = in.data[pos];

	if (c == '"')
		return string_end(in, pos + 1);
	if (c == '`') {
		ssize_t n = cf_view_find(cf_view_sub(in, pos + 1, SIZE_MAX), '`');

		return n < 0 ? SIZE_MAX : pos + 1 + (size_t)n;
	}
	return pos;
}

/*
 * Templates nest through their expressions; each level is one call, so the depth is counted. A
 * template in a template costs at least four bytes.
 */
static size_t expr_end(struct cf_view text, unsigned depth)
{
	unsigned open = 0;

	if (depth > LEX_TEMPLATE_DEPTH)
		return SIZE_MAX;
	for (size_t pos = 0; pos < text.size; pos++) {
		uint8_t c = text.data[pos];

		if (c == '}' && !open--)
			return pos;
		if (c == '{')
			open++;
		if (c == '#')
			while (pos + 1 < text.size && text.data[pos + 1] != '\n')
				pos++;
		if (c == '$' && pos + 1 < text.size &&
		    (text.data[pos + 1] == '"' || text.data[pos + 1] == '`')) {
			bool is_raw = text.data[pos + 1] == '`';

			pos = template_end(text, pos + 2, is_raw, depth);
		} else {
			pos = skip_quoted(text, pos);
		}
		if (pos == SIZE_MAX)
			return SIZE_MAX;
	}
	return SIZE_MAX;
}

size_t lex_template_expr(struct cf_view text)
{
	return expr_end(text, 0);
}

static int lex_template(struct lexer *x, struct token *t)
{
	bool is_raw = peek_at(x, 1) == '`';
	size_t from = x->pos;

	if (!is_raw && peek_at(x, 1) != '"')
		return bad(x, from, "illegal $ character");
	size_t end = template_end(x->in, from + 2, is_raw, 0);
	if (end == SIZE_MAX)
		return bad(x, from, "non-terminated template string");
	t->kind = TOK_TEMPLATE;
	t->is_raw = is_raw;
	t->text = cf_view_sub(x->in, from + 2, end - from - 2);
	advance_to(x, end + 1);
	return 0;
}

static const struct {
	char text[3];
	uint8_t kind;
} operators[] = {
	{ ":=", TOK_ASSIGN }, { "==", TOK_EQ },    { "!=", TOK_NEQ },   { "<=", TOK_LE },
	{ ">=", TOK_GE },     { "=", TOK_UNIFY },  { "<", TOK_LT },     { ">", TOK_GT },
	{ "+", TOK_PLUS },    { "-", TOK_MINUS },  { "*", TOK_MUL },    { "/", TOK_DIV },
	{ "%", TOK_REM },     { "&", TOK_AND },    { "|", TOK_OR },     { ",", TOK_COMMA },
	{ ":", TOK_COLON },   { ";", TOK_SEMI },   { ".", TOK_DOT },    { "(", TOK_LPAREN },
	{ ")", TOK_RPAREN },  { "[", TOK_LBRACK }, { "]", TOK_RBRACK }, { "{", TOK_LBRACE },
	{ "}", TOK_RBRACE },
};

static int lex_operator(struct lexer *x, struct token *t)
{
	for (size_t i = 0; i < CF_ARRAY_LEN(operators); i++) {
		size_t n = strlen(operators[i].text);

		if (cf_view_eq_str(cf_view_sub(x->in, x->pos, n), operators[i].text)) {
			t->kind = operators[i].kind;
			x->pos += n;
			return 0;
		}
	}
	return bad(x, x->pos, peek_at(x, 0) == '!' ? "illegal ! character" : "illegal token");
}

static int lex_one(struct lexer *x, struct token *t)
{
	int c = peek_at(x, 0);
	size_t from = x->pos;

	if (is_letter(c)) {
		while (is_letter(peek_at(x, 0)) || is_digit(peek_at(x, 0)))
			x->pos++;
		t->kind = TOK_IDENT;
		t->text = cf_view_sub(x->in, from, x->pos - from);
		return 0;
	}
	if (is_digit(c) || (c == '.' && is_digit(peek_at(x, 1))))
		return lex_number(x, t);
	if (c == '"')
		return lex_string(x, t);
	if (c == '`')
		return lex_raw(x, t);
	if (c == '$')
		return lex_template(x, t);
	return lex_operator(x, t);
}

/* What holds for the whole text: UTF-8, no NUL, no byte order mark but the first, line limits. */
static int check_text(struct lexer *x)
{
	size_t lines = 1, line_at = 0;

	if (x->in.size > POLICY_TEXT_MAX)
		return cf_fail(x->err, CF_RESOURCE_EXHAUSTED, "policy text of %zu bytes, limit %u",
		               x->in.size, POLICY_TEXT_MAX);
	if (cf_view_has_nul(x->in) || !cf_view_is_utf8(x->in))
		return bad(x, 0, "policy text is not UTF-8, or holds a NUL");
	for (size_t i = 0; i <= x->in.size; i++) {
		if (i < x->in.size && x->in.data[i] != '\n')
			continue;
		if (i - line_at > POLICY_LINE_MAX || lines > POLICY_LINES_MAX)
			return cf_fail(x->err, CF_RESOURCE_EXHAUSTED,
			               "line %zu: over the limit of %u bytes a line or %u lines",
			               lines, POLICY_LINE_MAX, POLICY_LINES_MAX);
		line_at = i + 1;
		lines++;
	}
	return 0;
}

int lex(struct cf_arena *a, struct cf_view text, struct loc start, struct token_list *ret,
        struct loc *ret_loc, struct cf_err *err)
{
	struct lexer x = { .arena = a,
		           .in = text,
		           .loc = start,
		           .first_col = start.col - 1,
		           .out = ret,
		           .bad_loc = ret_loc,
		           .err = err };
	int r = check_text(&x);

	if (r < 0)
		return r;
	if (cf_view_starts_with(text, "\xef\xbb\xbf"))
		x.pos = 3;
	*ret = (struct token_list){ 0 };
	for (;;) {
		if (ret->count == POLICY_TOKENS_MAX ||
		    !cf_arena_grow(a, &ret->items, &ret->cap, ret->count + 1))
			return cf_fail(err, CF_RESOURCE_EXHAUSTED, "policy has too many tokens");
		struct token *t = &ret->items[ret->count++];
		*t = (struct token){ .kind = TOK_EOF };
		skip_blank(&x, t);
		t->loc = here(&x, x.pos);
		t->at = (uint32_t)x.pos;
		if (x.pos >= text.size)
			return 0;
		r = lex_one(&x, t);
		if (r < 0)
			return r;
		t->size = (uint32_t)x.pos - t->at;
	}
}
