/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON text to values. A reader of its own because numbers keep their text and integers their size.
 * Everything in here is hostile: depth, sizes and UTF-8 are checked, nothing is read past the end.
 */
#include "policy/number.h"
#include "policy/value.h"

struct reader {
	struct cf_arena *arena;
	struct cf_view in;
	size_t pos;
	unsigned depth;
	bool refuses_duplicates;
	struct cf_err *err;
	int failed; /* negative once something was wrong */
};

static const struct pv *read_value(struct reader *r);

static const struct pv *bad(struct reader *r, const char *what)
{
	if (!r->failed)
		r->failed =
			cf_fail(r->err, CF_INVALID_ARGUMENT, "JSON at byte %zu: %s", r->pos, what);
	return NULL;
}

static int peek(const struct reader *r)
{
	return r->pos < r->in.size ? r->in.data[r->pos] : -1;
}

static void skip_space(struct reader *r)
{
	int c;

	while ((c = peek(r)) == ' ' || c == '\t' || c == '\n' || c == '\r')
		r->pos++;
}

static bool take(struct reader *r, int c)
{
	skip_space(r);
	if (peek(r) != c)
		return false;
	r->pos++;
	return true;
}

static bool read_word(struct reader *r, const char *word)
{
	struct cf_view rest = cf_view_sub(r->in, r->pos, strlen(word));

	if (!cf_view_eq_str(rest, word))
		return false;
	r->pos += rest.size;
	return true;
}

static bool read_hex4(struct reader *r, uint32_t *ret)
{
	uint8_t two[2];

	if (cf_hex_decode(cf_view_sub(r->in, r->pos, 4), two, 2, NULL) < 0)
		return false;
	r->pos += 4;
	*ret = (uint32_t)two[0] << 8 | two[1];
	return true;
}

static bool read_unicode_escape(struct reader *r, struct pv_sb *b)
{
	uint32_t hi, lo;

	if (!read_hex4(r, &hi))
		return false;
	if (hi >= 0xd800 && hi < 0xdc00 && cf_view_eq_str(cf_view_sub(r->in, r->pos, 2), "\\u")) {
		size_t back = r->pos;

		r->pos += 2;
		if (!read_hex4(r, &lo))
			return false;
		if (lo >= 0xdc00 && lo < 0xe000)
			hi = 0x10000 + ((hi - 0xd800) << 10) + (lo - 0xdc00);
		else
			r->pos = back;
	}
	pv_sb_rune(b, hi);
	return true;
}

static bool read_escape(struct reader *r, struct pv_sb *b)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	int c = peek(r);
	const char *hit = c > 0 ? strchr(from, c) : NULL;

	r->pos++;
	if (c == 'u')
		return read_unicode_escape(r, b);
	if (!hit)
		return false;
	pv_sb_byte(b, to[hit - from]);
	return true;
}

/* The opening quote is behind us. */
static const struct pv *read_string(struct reader *r)
{
	struct pv_sb b = pv_sb(r->arena);
	size_t from = r->pos;

	for (;;) {
		int c = peek(r);

		if (c < 0x20)
			return bad(r,
			           c < 0 ? "unfinished string" : "control character in a string");
		if (c != '"' && c != '\\') {
			r->pos++;
			continue;
		}
		struct cf_view run = cf_view_sub(r->in, from, r->pos - from);
		if (!cf_view_is_utf8(run))
			return bad(r, "string is not UTF-8");
		r->pos++;
		if (c == '"' && !b.size)
			return pv_str(r->arena, run);
		pv_sb_add(&b, run);
		if (c == '"')
			return pv_sb_done(&b);
		if (!read_escape(r, &b))
			return bad(r, "bad escape in a string");
		from = r->pos;
	}
}

static const struct pv *read_number(struct reader *r)
{
	size_t from = r->pos;
	int c;

	while ((c = peek(r)) == '-' || c == '+' || c == '.' || (c | 0x20) == 'e' ||
	       (c >= '0' && c <= '9'))
		r->pos++;
	const struct pv *v = number_parse(r->arena, cf_view_sub(r->in, from, r->pos - from));
	return v ? v : bad(r, "not a number, or beyond the limits of one");
}

static const struct pv *read_array(struct reader *r)
{
	struct pv_vec v = pv_vec(r->arena);

	if (take(r, ']'))
		return &pv_empty_arr;
	do {
		const struct pv *x = read_value(r);

		if (!x)
			return NULL;
		pv_vec_add(&v, x);
	} while (take(r, ','));
	if (!take(r, ']'))
		return bad(r, "',' or ']' expected");
	return pv_vec_array(&v);
}

static const struct pv *read_object(struct reader *r)
{
	struct pv_vec v = pv_vec(r->arena);

	if (take(r, '}'))
		return &pv_empty_obj;
	do {
		if (!take(r, '"'))
			return bad(r, "member name expected");
		const struct pv *key = read_string(r);
		if (!key)
			return NULL;
		if (!take(r, ':'))
			return bad(r, "':' expected");
		const struct pv *val = read_value(r);
		if (!val)
			return NULL;
		pv_vec_add_pair(&v, key, val);
	} while (take(r, ','));
	if (!take(r, '}'))
		return bad(r, "',' or '}' expected");
	size_t pairs = v.count / 2;
	const struct pv *o = pv_vec_object(&v);
	if (o && r->refuses_duplicates && o->len != pairs)
		return bad(r, "a member name occurs twice in one object");
	return o;
}

static const struct pv *read_nested(struct reader *r, int open)
{
	if (r->depth == POLICY_INPUT_DEPTH)
		return bad(r, "nested too deep");
	r->depth++;
	const struct pv *v = open == '[' ? read_array(r) : read_object(r);
	r->depth--;
	return v;
}

static const struct pv *read_value(struct reader *r)
{
	skip_space(r);
	int c = peek(r);

	if (r->arena->is_over)
		return NULL;
	switch (c) {
	case '"':
		r->pos++;
		return read_string(r);
	case '[':
	case '{':
		r->pos++;
		return read_nested(r, c);
	case 't':
		return read_word(r, "true") ? &pv_true : bad(r, "unknown word");
	case 'f':
		return read_word(r, "false") ? &pv_false : bad(r, "unknown word");
	case 'n':
		return read_word(r, "null") ? &pv_null : bad(r, "unknown word");
	case -1:
		return bad(r, "value expected, but the text ends");
	default:
		return read_number(r);
	}
}

int pv_json_read(struct cf_arena *a, struct cf_view text, const struct pv_json_options *opt,
                 const struct pv **ret, struct cf_err *err)
{
	struct reader r = { .arena = a,
		            .in = text,
		            .err = err,
		            .refuses_duplicates = opt && opt->refuses_duplicates };

	if (text.size > POLICY_INPUT_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "JSON of %zu bytes, limit %u", text.size,
		               POLICY_INPUT_MAX);
	const struct pv *v = read_value(&r);
	skip_space(&r);
	if (v && r.pos != text.size)
		v = bad(&r, "something follows the value");
	if (a->is_over)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "JSON needs more memory than allowed");
	if (!v)
		return r.failed ? r.failed : cf_fail(err, CF_INTERNAL, "JSON reader");
	*ret = v;
	return 0;
}
