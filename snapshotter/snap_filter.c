/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshotter/snap_filter.h"

#include "base/regex.h"
#include "base/str.h"

#include <ctype.h>

enum op { OP_PRESENT, OP_EQUAL, OP_NOT_EQUAL, OP_MATCH };

struct selector {
	char *field; /* "kind", "name", "parent", "labels", or something else */
	char *rest;  /* of the path, joined by dots; NULL: the path has one element */
	enum op op;
	char *value;
	struct cf_regex *re; /* NULL: no pattern, or one that does not compile */
};

struct alternative {
	struct selector *items;
	size_t count, cap;
};

struct snap_filter {
	struct alternative *items;
	size_t count;
	size_t pattern_bytes; /* memory of all patterns */
	struct cf_regex_run run;
	bool is_over; /* a match did not come to its end */
};

/* ---- the scanner ---- */

struct scan {
	struct cf_view in;
	size_t pos;
};

static int peek(const struct scan *s)
{
	return s->pos < s->in.size ? s->in.data[s->pos] : -1;
}

static int next(struct scan *s)
{
	return s->pos < s->in.size ? s->in.data[s->pos++] : -1;
}

static void skip_space(struct scan *s)
{
	while (peek(s) >= 0 && isspace(peek(s)))
		s->pos++;
}

static int bad(const struct scan *s, const char *what, struct cf_err *err)
{
	return cf_fail(err, CF_INVALID_ARGUMENT, "filter, at byte %zu: %s", s->pos, what);
}

static int digit_of(int c, unsigned base)
{
	int v = c >= '0' && c <= '9'   ? c - '0'
	        : c >= 'a' && c <= 'f' ? c - 'a' + 10
	        : c >= 'A' && c <= 'F' ? c - 'A' + 10
	                               : 99;

	return v < (int)base ? v : -1;
}

/* @count digits; the first may have been read already as @value. */
static int numeric_escape(struct scan *s, unsigned base, unsigned count, uint32_t value,
                          uint32_t *ret, struct cf_err *err)
{
	for (unsigned i = 0; i < count; i++) {
		int d = digit_of(next(s), base);

		if (d < 0)
			return bad(s, "malformed escape", err);
		value = value * base + (uint32_t)d;
	}
	*ret = value;
	return 0;
}

static int bytes_escape(struct scan *s, int c, struct cf_buf *out, struct cf_err *err)
{
	uint32_t v;
	bool octal = digit_of(c, 8) >= 0;
	int r = octal ? numeric_escape(s, 8, 2, (uint32_t)digit_of(c, 8), &v, err)
	              : numeric_escape(s, 16, 2, 0, &v, err);

	if (r < 0)
		return r;
	if (v > 0xff || v == 0)
		return bad(s, "escape is no byte of text", err);
	cf_buf_add_byte(out, (uint8_t)v);
	return 0;
}

static int rune_escape(struct scan *s, unsigned count, struct cf_buf *out, struct cf_err *err)
{
	uint32_t v;
	int r = numeric_escape(s, 16, count, 0, &v, err);

	if (r < 0)
		return r;
	if (v == 0 || v > 0x10ffff || (v >= 0xd800 && v < 0xe000))
		return bad(s, "escape is no character", err);
	cf_buf_add_rune(out, v);
	return 0;
}

/* Behind a backslash, as in Go's string literals. */
static int escape(struct scan *s, int quote, struct cf_buf *out, struct cf_err *err)
{
	static const char names[] = "abfnrtv\\", values[] = "\a\b\f\n\r\t\v\\";
	int c = next(s);
	const char *name = c > 0 ? strchr(names, c) : NULL;

	if (name || c == quote) {
		cf_buf_add_byte(out, (uint8_t)(name ? values[name - names] : quote));
		return 0;
	}
	if (c == 'x' || digit_of(c, 8) >= 0)
		return bytes_escape(s, c, out, err);
	if (c == 'u' || c == 'U')
		return rune_escape(s, c == 'u' ? 4 : 8, out, err);
	return bad(s, "unknown escape", err);
}

/* At the opening quote. */
static int quoted(struct scan *s, char **ret, struct cf_err *err)
{
	cf_cleanup(cf_buf_fini) struct cf_buf out = { .max = SNAP_FILTER_BYTES * 2 };
	int quote = next(s);

	for (int c; (c = next(s)) != quote;) {
		if (c < 0 || c == '\n')
			return bad(s, "quote is not closed", err);
		int r = 0;

		if (c == '\\')
			r = escape(s, quote, &out, err);
		else
			cf_buf_add_byte(&out, (uint8_t)c);
		if (r < 0)
			return r;
	}
	cf_buf_add_byte(&out, 0);
	out.size--;
	*ret = cf_buf_take_str(&out);
	return 0;
}

static bool is_field_byte(int c)
{
	return c >= 0 && (isalnum(c) || c == '_');
}

static int field(struct scan *s, char **ret, struct cf_err *err)
{
	skip_space(s);
	if (peek(s) == '"')
		return quoted(s, ret, err);
	size_t from = s->pos;

	while (is_field_byte(peek(s)))
		s->pos++;
	if (s->pos == from)
		return bad(s, "a field is expected", err);
	*ret = cf_view_dup(cf_view_sub(s->in, from, s->pos - from));
	return 0;
}

static bool is_bare_byte(int c)
{
	return c >= 0x80 || (c > ' ' && c < 0x7f && c != ',');
}

static int value(struct scan *s, bool is_regex, char **ret, struct cf_err *err)
{
	skip_space(s);
	int c = peek(s);

	if (c == '"' || (is_regex && (c == '/' || c == '|')))
		return quoted(s, ret, err);
	if (!is_bare_byte(c) || strchr("/|\".,=!~", c))
		return bad(s, "a value is expected", err);
	size_t from = s->pos;

	while (is_bare_byte(peek(s)))
		s->pos++;
	*ret = cf_view_dup(cf_view_sub(s->in, from, s->pos - from));
	return 0;
}

static int operator(struct scan *s, enum op *ret, struct cf_err *err)
{
	skip_space(s);
	int a = next(s), b = next(s);

	if (b != '=' || (a != '=' && a != '!' && a != '~'))
		return bad(s, "== != or ~= is expected", err);
	*ret = a == '=' ? OP_EQUAL : a == '!' ? OP_NOT_EQUAL : OP_MATCH;
	return 0;
}

/* ---- the parser ---- */

static void selector_fini(struct selector *sel)
{
	cf_regex_free(sel->re);
	free(sel->field);
	free(sel->rest);
	free(sel->value);
}

/* The parser looks at the raw next byte for the path's end: no space before a dot or a comma. */
static int path(struct scan *s, struct selector *sel, struct cf_err *err)
{
	int r = field(s, &sel->field, err);

	while (r == 0 && peek(s) == '.') {
		cf_cleanup(cf_freep) char *part = NULL;

		s->pos++;
		r = field(s, &part, err);
		if (r < 0)
			break;
		char *joined = sel->rest ? cf_asprintf("%s.%s", sel->rest, part) : cf_strdup(part);

		free(sel->rest);
		sel->rest = joined;
	}
	return r;
}

/* A pattern that does not compile matches nothing. */
static int compile(struct snap_filter *f, struct selector *sel, struct cf_err *err)
{
	int r = cf_regex_new(cf_view_str(sel->value), &sel->re, err);

	if (r == -CF_INVALID_ARGUMENT)
		return 0;
	if (r < 0)
		return cf_wrap(err, r, "filter");
	f->pattern_bytes += cf_regex_bytes(sel->re);
	return f->pattern_bytes <= SNAP_PATTERN_BYTES
	               ? 0
	               : cf_fail(err, CF_RESOURCE_EXHAUSTED,
	                         "filter: patterns need more than %u bytes", SNAP_PATTERN_BYTES);
}

static int selector(struct snap_filter *f, struct scan *s, struct selector *sel, struct cf_err *err)
{
	int r = path(s, sel, err);

	if (r < 0 || peek(s) == ',' || peek(s) < 0)
		return r;
	r = operator(s, &sel->op, err);
	if (r == 0)
		r = value(s, sel->op == OP_MATCH, &sel->value, err);
	return r == 0 && sel->op == OP_MATCH ? compile(f, sel, err) : r;
}

static int alternative(struct snap_filter *f, struct scan *s, struct alternative *alt,
                       struct cf_err *err)
{
	for (;;) {
		if (alt->count == SNAP_SELECTORS_MAX)
			return cf_fail(err, CF_RESOURCE_EXHAUSTED, "filter: more than %u selectors",
			               SNAP_SELECTORS_MAX);
		cf_grow(&alt->items, &alt->cap, alt->count + 1);
		alt->items[alt->count] = (struct selector){ 0 };
		int r = selector(f, s, &alt->items[alt->count++], err);

		if (r < 0)
			return r;
		if (peek(s) < 0)
			return 0;
		if (next(s) != ',')
			return bad(s, "a comma is expected", err);
	}
}

struct snap_filter *snap_filter_free(struct snap_filter *f)
{
	if (!f)
		return NULL;
	for (size_t i = 0; i < f->count; i++) {
		for (size_t j = 0; j < f->items[i].count; j++)
			selector_fini(&f->items[i].items[j]);
		free(f->items[i].items);
	}
	free(f->items);
	cf_regex_run_fini(&f->run);
	free(f);
	return NULL;
}

int snap_filter_new(char *const *texts, size_t count, struct snap_filter **ret, struct cf_err *err)
{
	cf_cleanup(snap_filter_freep) struct snap_filter *f = cf_zalloc(sizeof(*f));

	if (count > SNAP_FILTERS_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "more than %u filters",
		               SNAP_FILTERS_MAX);
	f->items = cf_zalloc_n(count + 1, sizeof(f->items[0]));
	f->run.steps_left = SNAP_FILTER_STEPS;
	for (size_t i = 0; i < count; i++) {
		struct scan s = { .in = cf_view_str(texts[i]) };

		if (s.in.size > SNAP_FILTER_BYTES)
			return cf_fail(err, CF_RESOURCE_EXHAUSTED, "a filter of more than %u bytes",
			               SNAP_FILTER_BYTES);
		f->count++;
		int r = s.in.size ? alternative(f, &s, &f->items[i], err) : 0;

		if (r < 0)
			return r;
	}
	*ret = cf_take(&f);
	return 0;
}

/* ---- matching ---- */

static const char *kind_name(enum snap_kind kind)
{
	return kind == SNAP_VIEW ? "view" : kind == SNAP_ACTIVE ? "active" : "committed";
}

/* NULL: not present. */
static const char *field_of(const struct snap_record *rec, const struct selector *sel)
{
	if (cf_streq(sel->field, "labels"))
		return sel->rest ? snap_record_label(rec, sel->rest) : NULL;
	if (sel->rest)
		return NULL;
	if (cf_streq(sel->field, "kind"))
		return kind_name(rec->kind);
	if (cf_streq(sel->field, "name"))
		return rec->name;
	if (cf_streq(sel->field, "parent"))
		return rec->parent;
	return NULL;
}

static bool selects(struct snap_filter *f, const struct selector *sel,
                    const struct snap_record *rec)
{
	const char *has = field_of(rec, sel);

	switch (sel->op) {
	case OP_PRESENT:
		return has;
	case OP_EQUAL:
		return has && cf_streq(has, sel->value);
	case OP_NOT_EQUAL:
		return !cf_streq(has ? has : "", sel->value);
	case OP_MATCH:
		break;
	}
	if (!sel->re)
		return false;
	bool found = cf_regex_match(sel->re, &f->run, cf_view_str(has), 0, NULL);

	f->is_over |= f->run.is_over;
	return found;
}

static bool all_select(struct snap_filter *f, const struct alternative *alt,
                       const struct snap_record *rec)
{
	for (size_t i = 0; i < alt->count; i++)
		if (!selects(f, &alt->items[i], rec))
			return false;
	return true;
}

bool snap_filter_match(struct snap_filter *f, const struct snap_record *rec)
{
	for (size_t i = 0; i < f->count; i++)
		if (all_select(f, &f->items[i], rec))
			return true;
	return f->count == 0;
}

int snap_filter_check(const struct snap_filter *f, struct cf_err *err)
{
	if (!f->is_over)
		return 0;
	return cf_fail(err, CF_RESOURCE_EXHAUSTED, "filter: patterns took more than %u steps",
	               SNAP_FILTER_STEPS);
}

bool snap_filter_is_ref(const struct snap_filter *f, const char **ret_ref, const char **ret_parent)
{
	if (f->count != 1 || f->items[0].count != 2)
		return false;
	const struct selector *a = &f->items[0].items[0], *b = &f->items[0].items[1];

	if (a->op != OP_EQUAL || b->op != OP_EQUAL || !cf_streq(a->field, "labels") ||
	    !cf_streq(a->rest, SNAP_LABEL_REF) || !cf_streq(b->field, "parent") || b->rest)
		return false;
	*ret_ref = a->value;
	*ret_parent = b->value;
	return true;
}
