/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One pass, recursive only for arrays and inline tables, whose depth is limited. Every value is
 * linked into the tree as soon as it is made, so a refusal anywhere frees everything with the root.
 */
#include "base/toml.h"
#include "base/toml_tree.h"

struct parser {
	const char *p;
	const char *end;
	unsigned line;
	unsigned depth;
	size_t nodes;
	struct cf_err *err;
};

#define bad(ps, ...)            bad_at((ps)->line, (ps)->err, __VA_ARGS__)
#define bad_at(at, e, fmt, ...) cf_fail(e, CF_INVALID_ARGUMENT, "line %u: " fmt, at, ##__VA_ARGS__)

static int parse_value(struct parser *ps, struct cf_toml *v);

/* ---- characters ---- */

static int peek(const struct parser *ps)
{
	return ps->p < ps->end ? (uint8_t)*ps->p : -1;
}

static int peek_at(const struct parser *ps, size_t n)
{
	return n < (size_t)(ps->end - ps->p) ? (uint8_t)ps->p[n] : -1;
}

static bool looking_at(const struct parser *ps, const char *s)
{
	size_t n = strlen(s);

	return (size_t)(ps->end - ps->p) >= n && memcmp(ps->p, s, n) == 0;
}

static bool accept(struct parser *ps, const char *s)
{
	if (!looking_at(ps, s))
		return false;
	ps->p += strlen(s);
	return true;
}

static void skip_blank(struct parser *ps)
{
	while (peek(ps) == ' ' || peek(ps) == '\t')
		ps->p++;
}

static bool accept_newline(struct parser *ps)
{
	if (!accept(ps, "\n") && !accept(ps, "\r\n"))
		return false;
	ps->line++;
	return true;
}

/* In strings and comments: no control character but the tab. UTF-8 was checked for the whole text. */
static bool is_control(int c)
{
	return (c >= 0 && c < 0x20 && c != '\t') || c == 0x7f;
}

static int skip_comment(struct parser *ps)
{
	if (peek(ps) != '#')
		return 0;
	while (peek(ps) >= 0 && !looking_at(ps, "\n") && !looking_at(ps, "\r\n")) {
		if (is_control(peek(ps)))
			return bad(ps, "control character in a comment");
		ps->p++;
	}
	return 0;
}

/* Blanks, comments and newlines, as arrays and the top level allow between things. */
static int skip_lines(struct parser *ps)
{
	do {
		skip_blank(ps);
		int r = skip_comment(ps);
		if (r < 0)
			return r;
	} while (accept_newline(ps));
	return 0;
}

static int end_of_line(struct parser *ps)
{
	skip_blank(ps);
	int r = skip_comment(ps);
	if (r < 0)
		return r;
	if (peek(ps) >= 0 && !accept_newline(ps))
		return bad(ps, "more text after the value");
	return 0;
}

/* ---- the tree ---- */

static int container_add(struct parser *ps, struct cf_toml *to, enum cf_toml_kind kind,
                         char *key_take, struct cf_toml **ret)
{
	cf_cleanup(cf_freep) char *key = key_take;

	if (++ps->nodes > CF_TOML_NODES_MAX)
		return cf_fail(ps->err, CF_RESOURCE_EXHAUSTED, "line %u: over %u values", ps->line,
		               CF_TOML_NODES_MAX);
	if (key && to->count >= CF_TOML_KEYS_MAX)
		return cf_fail(ps->err, CF_RESOURCE_EXHAUSTED, "line %u: over %u keys in a table",
		               ps->line, CF_TOML_KEYS_MAX);

	struct cf_toml *v = cf_zalloc(sizeof(*v));

	v->kind = kind;
	v->line = ps->line;
	v->key_hash = key ? toml_hash(key) : 0;
	v->key = cf_take(&key);
	cf_grow(&to->items, &to->cap, to->count + 1);
	to->items[to->count++] = v;
	*ret = v;
	return 0;
}

static int deeper(struct parser *ps)
{
	if (++ps->depth > CF_TOML_DEPTH_MAX)
		return cf_fail(ps->err, CF_RESOURCE_EXHAUSTED, "line %u: over %u levels deep",
		               ps->line, CF_TOML_DEPTH_MAX);
	return 0;
}

/* ---- strings ---- */

static int parse_code_point(struct parser *ps, int digits, struct cf_buf *out)
{
	uint32_t c = 0;

	for (int i = 0; i < digits; i++) {
		int d = toml_hex_digit(peek(ps));

		if (d < 0)
			return bad(ps, "\\u wants %d hex digits", digits);
		c = c << 4 | (uint32_t)d;
		ps->p++;
	}
	if (c == 0)
		return bad(ps, "a NUL character in a string is not supported");
	if (c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return bad(ps, "\\u%x is no character", c);
	cf_buf_add_rune(out, c);
	return 0;
}

static int parse_escape(struct parser *ps, struct cf_buf *out)
{
	static const char from[] = "btnfr\"\\";
	static const char to[] = "\b\t\n\f\r\"\\";
	int c = peek(ps);
	const char *at = c > 0 ? strchr(from, c) : NULL;

	ps->p++;
	if (at) {
		cf_buf_add_byte(out, (uint8_t)to[at - from]);
		return 0;
	}
	if (c == 'u' || c == 'U')
		return parse_code_point(ps, c == 'u' ? 4 : 8, out);
	ps->p--;
	return bad(ps, "unknown escape in a string");
}

/* A backslash before the line's end swallows all white space up to the next character. */
static bool skip_line_continuation(struct parser *ps)
{
	const char *start = ps->p;

	skip_blank(ps);
	if (!accept_newline(ps)) {
		ps->p = start;
		return false;
	}
	do
		skip_blank(ps);
	while (accept_newline(ps));
	return true;
}

static int parse_line_string(struct parser *ps, char quote, struct cf_buf *out)
{
	for (;;) {
		int c = peek(ps);
		int r = 0;

		if (c < 0 || is_control(c))
			return bad(ps, "a string is not closed on its line");
		ps->p++;
		if (c == quote)
			return 0;
		if (c == '\\' && quote == '"')
			r = parse_escape(ps, out);
		else
			cf_buf_add_byte(out, (uint8_t)c);
		if (r < 0)
			return r;
	}
}

/* At a quote inside a long string: up to two may stand before the closing three. True: it ended. */
static bool take_quotes(struct parser *ps, char quote, struct cf_buf *out)
{
	size_t n = 0;

	while (n < 5 && peek_at(ps, n) == quote)
		n++;
	ps->p += n;
	for (size_t i = 0; i < (n >= 3 ? n - 3 : n); i++)
		cf_buf_add_byte(out, (uint8_t)quote);
	return n >= 3;
}

static int parse_long_string(struct parser *ps, char quote, struct cf_buf *out)
{
	unsigned from = ps->line;

	accept_newline(ps); /* one directly after the opening quotes does not count */
	for (;;) {
		int c = peek(ps);
		int r = 0;

		if (c < 0)
			return bad_at(from, ps->err, "a long string is never closed");
		if (c == quote) {
			if (take_quotes(ps, quote, out))
				return 0;
			continue;
		}
		if (accept_newline(ps)) {
			cf_buf_add_byte(out, '\n');
			continue;
		}
		if (is_control(c))
			return bad(ps, "control character in a string");
		ps->p++;
		if (c == '\\' && quote == '"')
			r = skip_line_continuation(ps) ? 0 : parse_escape(ps, out);
		else
			cf_buf_add_byte(out, (uint8_t)c);
		if (r < 0)
			return r;
	}
}

/* At a quote. @allow_long: keys may not be long strings. */
static int parse_string(struct parser *ps, bool allow_long, char **ret)
{
	struct cf_buf out = { .max = CF_TOML_SIZE_MAX };
	char quote = *ps->p;
	const char *three = quote == '"' ? "\"\"\"" : "'''";
	int r;

	if (allow_long && accept(ps, three)) {
		r = parse_long_string(ps, quote, &out);
	} else {
		ps->p++;
		r = parse_line_string(ps, quote, &out);
	}
	if (r == 0)
		r = cf_buf_check(&out, "string", ps->err);
	if (r == 0)
		*ret = out.size ? cf_buf_take_str(&out) : cf_strdup("");
	cf_buf_fini(&out);
	return r;
}

/* ---- keys and tables ---- */

static bool is_bare(int c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_' || c == '-';
}

static int parse_simple_key(struct parser *ps, char **ret)
{
	const char *start = ps->p;

	if (peek(ps) == '"' || peek(ps) == '\'')
		return parse_string(ps, false, ret);
	while (is_bare(peek(ps)))
		ps->p++;
	if (ps->p == start)
		return bad(ps, "a key is missing");
	*ret = cf_strndup(start, (size_t)(ps->p - start));
	return 0;
}

static int parse_key(struct parser *ps, struct cf_strv *ret)
{
	for (;;) {
		char *part = NULL;

		skip_blank(ps);
		int r = parse_simple_key(ps, &part);
		if (r < 0)
			return r;
		cf_strv_add_take(ret, part);
		if (ret->count > CF_TOML_DEPTH_MAX)
			return cf_fail(ps->err, CF_RESOURCE_EXHAUSTED,
			               "line %u: over %u dots in a key", ps->line,
			               CF_TOML_DEPTH_MAX);
		skip_blank(ps);
		if (!accept(ps, "."))
			return 0;
	}
}

static int redefined(struct parser *ps, const char *key)
{
	return bad(ps, "\"%s\" is defined twice", key);
}

/* One step of a dotted key: only tables that dotted keys made may be added to in this way. */
static int step_dotted(struct parser *ps, struct cf_toml **at, const char *key)
{
	struct cf_toml *next = toml_lookup(*at, key);

	if (!next) {
		int r = container_add(ps, *at, CF_TOML_TABLE, cf_strdup(key), &next);
		if (r < 0)
			return r;
		next->origin = TOML_DOTTED;
	} else if (next->kind != CF_TOML_TABLE || next->origin != TOML_DOTTED) {
		return redefined(ps, key);
	}
	*at = next;
	return 0;
}

/* One step of a [header] before its last part. */
static int step_header(struct parser *ps, struct cf_toml **at, const char *key)
{
	struct cf_toml *next = toml_lookup(*at, key);

	if (!next) {
		int r = container_add(ps, *at, CF_TOML_TABLE, cf_strdup(key), &next);
		if (r < 0)
			return r;
		next->origin = TOML_IMPLICIT;
	} else if (next->origin == TOML_OF_TABLES && next->kind == CF_TOML_ARRAY) {
		next = next->items[next->count - 1];
	} else if (next->kind != CF_TOML_TABLE || next->origin == TOML_CLOSED) {
		return redefined(ps, key);
	}
	*at = next;
	return 0;
}

static int parse_keyval(struct parser *ps, struct cf_toml *table)
{
	struct cf_strv keys = { 0 };
	struct cf_toml *v = NULL;
	int r = parse_key(ps, &keys);

	for (size_t i = 0; r == 0 && i + 1 < keys.count; i++)
		r = step_dotted(ps, &table, keys.items[i]);
	if (r == 0) {
		const char *last = keys.items[keys.count - 1];

		if (toml_lookup(table, last))
			r = redefined(ps, last);
		else if (!accept(ps, "="))
			r = bad(ps, "\"=\" is missing after a key");
		else
			r = container_add(ps, table, CF_TOML_BOOL, cf_strdup(last), &v);
	}
	cf_strv_fini(&keys);
	if (r < 0)
		return r;
	skip_blank(ps);
	return parse_value(ps, v);
}

static int open_table(struct parser *ps, struct cf_toml *in, const char *key, struct cf_toml **ret)
{
	struct cf_toml *t = toml_lookup(in, key);
	int r = 0;

	if (!t)
		r = container_add(ps, in, CF_TOML_TABLE, cf_strdup(key), &t);
	else if (t->kind != CF_TOML_TABLE || t->origin != TOML_IMPLICIT)
		r = redefined(ps, key);
	if (r < 0)
		return r;
	t->origin = TOML_HEADER;
	*ret = t;
	return 0;
}

static int open_array_table(struct parser *ps, struct cf_toml *in, const char *key,
                            struct cf_toml **ret)
{
	struct cf_toml *arr = toml_lookup(in, key);
	int r = 0;

	if (!arr) {
		r = container_add(ps, in, CF_TOML_ARRAY, cf_strdup(key), &arr);
		if (r == 0)
			arr->origin = TOML_OF_TABLES;
	} else if (arr->kind != CF_TOML_ARRAY || arr->origin != TOML_OF_TABLES) {
		r = redefined(ps, key);
	}
	if (r == 0)
		r = container_add(ps, arr, CF_TOML_TABLE, NULL, ret);
	if (r == 0)
		(*ret)->origin = TOML_HEADER;
	return r;
}

/* At '['. @ret: the table that the following lines fill. */
static int parse_header(struct parser *ps, struct cf_toml *root, struct cf_toml **ret)
{
	bool is_array = accept(ps, "[[");
	struct cf_strv keys = { 0 };
	struct cf_toml *at = root;

	if (!is_array)
		ps->p++;
	int r = parse_key(ps, &keys);
	for (size_t i = 0; r == 0 && i + 1 < keys.count; i++)
		r = step_header(ps, &at, keys.items[i]);
	if (r == 0 && !accept(ps, is_array ? "]]" : "]"))
		r = bad(ps, "a table header is not closed");
	if (r == 0 && is_array)
		r = open_array_table(ps, at, keys.items[keys.count - 1], ret);
	else if (r == 0)
		r = open_table(ps, at, keys.items[keys.count - 1], ret);
	cf_strv_fini(&keys);
	return r < 0 ? r : end_of_line(ps);
}

/* ---- numbers, dates, words ---- */

static bool ends_scalar(int c)
{
	return c < 0 || c == ',' || c == ']' || c == '}' || c == '#' || c == ' ' || c == '\t' ||
	       c == '\r' || c == '\n';
}

static int parse_scalar(struct parser *ps, struct cf_toml *v)
{
	const char *start = ps->p;
	size_t n = 0;

	while (!ends_scalar(peek_at(ps, n)))
		n++;
	/* A date may be followed by one blank and a time. */
	if (n == 10 && start[4] == '-' && peek_at(ps, n) == ' ' && peek_at(ps, n + 1) >= '0' &&
	    peek_at(ps, n + 1) <= '9')
		for (n++; !ends_scalar(peek_at(ps, n));)
			n++;
	if (n == 0)
		return bad(ps, "a value is missing");
	if (!toml_scan_scalar(start, n, v))
		return bad(ps, "\"%.*s\" is no value", (int)CF_MIN(n, 40u), start);
	ps->p += n;
	return 0;
}

/* ---- values ---- */

static int parse_array(struct parser *ps, struct cf_toml *arr)
{
	int r;

	for (;;) {
		struct cf_toml *v = NULL;

		r = skip_lines(ps);
		if (r < 0)
			return r;
		if (accept(ps, "]"))
			return 0;
		r = container_add(ps, arr, CF_TOML_BOOL, NULL, &v);
		if (r < 0)
			return r;
		r = parse_value(ps, v);
		if (r < 0)
			return r;
		r = skip_lines(ps);
		if (r < 0)
			return r;
		if (accept(ps, "]"))
			return 0;
		if (!accept(ps, ","))
			return bad(ps, "an array wants \",\" or \"]\"");
	}
}

/* After an inline table is complete nobody may add to it or to the tables its dotted keys made. */
static void close_inline(struct cf_toml *t)
{
	t->origin = TOML_CLOSED;
	for (size_t i = 0; i < t->count; i++)
		if (t->items[i]->kind == CF_TOML_TABLE)
			close_inline(t->items[i]);
}

static int parse_inline_table(struct parser *ps, struct cf_toml *table)
{
	skip_blank(ps);
	if (accept(ps, "}"))
		return 0;
	for (;;) {
		skip_blank(ps);
		int r = parse_keyval(ps, table);
		if (r < 0)
			return r;
		skip_blank(ps);
		if (accept(ps, "}"))
			return 0;
		if (!accept(ps, ","))
			return bad(ps, "an inline table wants \",\" or \"}\"");
	}
}

static int parse_container(struct parser *ps, struct cf_toml *v)
{
	bool is_array = peek(ps) == '[';

	v->kind = is_array ? CF_TOML_ARRAY : CF_TOML_TABLE;
	ps->p++;
	int r = deeper(ps);
	if (r < 0)
		return r;
	r = is_array ? parse_array(ps, v) : parse_inline_table(ps, v);
	ps->depth--;
	if (r < 0)
		return r;
	v->origin = TOML_CLOSED;
	if (!is_array)
		close_inline(v);
	return 0;
}

/* @v is an empty boolean, already in the tree. */
static int parse_value(struct parser *ps, struct cf_toml *v)
{
	int c = peek(ps);

	if (c == '[' || c == '{')
		return parse_container(ps, v);
	if (c == '"' || c == '\'') {
		char *text = NULL;
		int r = parse_string(ps, true, &text);

		if (r < 0)
			return r;
		v->kind = CF_TOML_STRING;
		v->text = text;
		return 0;
	}
	return parse_scalar(ps, v);
}

static int parse_document(struct parser *ps, struct cf_toml *root)
{
	struct cf_toml *at = root;

	for (;;) {
		int r = skip_lines(ps);
		if (r < 0)
			return r;
		if (peek(ps) < 0)
			return 0;
		if (peek(ps) == '[') {
			r = parse_header(ps, root, &at);
		} else {
			r = parse_keyval(ps, at);
			if (r == 0)
				r = end_of_line(ps);
		}
		if (r < 0)
			return r;
	}
}

int cf_toml_parse(struct cf_view text, struct cf_toml **ret, struct cf_err *err)
{
	if (text.size > CF_TOML_SIZE_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "TOML of %zu bytes, at most %u",
		               text.size, CF_TOML_SIZE_MAX);
	if (!cf_view_is_utf8(text) || cf_view_has_nul(text))
		return cf_fail(err, CF_INVALID_ARGUMENT, "TOML is not UTF-8 text");
	if (cf_view_starts_with(text, "\xef\xbb\xbf"))
		text = cf_view_sub(text, 3, text.size);

	struct parser ps = { .p = text.size ? (const char *)text.data : "", .line = 1, .err = err };
	cf_cleanup(cf_toml_freep) struct cf_toml *root = cf_zalloc(sizeof(*root));

	ps.end = ps.p + text.size;
	root->kind = CF_TOML_TABLE;
	root->origin = TOML_HEADER;
	root->line = 1;
	int r = parse_document(&ps, root);
	if (r < 0)
		return r;
	*ret = cf_take(&root);
	return 0;
}
