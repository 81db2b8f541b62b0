/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The strict scanner in front of json-c: RFC 8259 to the letter, and no duplicate keys, which two
 * readers could understand differently. A key is compared by its decoded bytes, so "\u0061" and "a"
 * are the same key.
 */
#include "base/json.h"

#define KEY_COUNT_MAX 65536u /* members of one object */

struct scan {
	struct cf_view in;
	size_t pos;
	int depth;
	struct cf_err *err;
};

static int bad(struct scan *s, const char *what)
{
	return cf_fail(s->err, CF_INVALID_ARGUMENT, "JSON: %s at byte %zu", what, s->pos);
}

static int peek(const struct scan *s)
{
	return s->pos < s->in.size ? s->in.data[s->pos] : -1;
}

static void skip_space(struct scan *s)
{
	int c;

	while ((c = peek(s)) == ' ' || c == '\t' || c == '\n' || c == '\r')
		s->pos++;
}

static int scan_hex4(struct scan *s, uint32_t *ret)
{
	uint8_t two[2];

	if (cf_hex_decode(cf_view_sub(s->in, s->pos, 4), two, 2, NULL) < 0)
		return bad(s, "\\u without four hex digits");
	s->pos += 4;
	*ret = (uint32_t)two[0] << 8 | two[1];
	return 0;
}

static int scan_unicode(struct scan *s, struct cf_buf *key)
{
	uint32_t c, low;
	int r = scan_hex4(s, &c);

	if (r < 0)
		return r;
	if (c == 0)
		return bad(s, "NUL in a string");
	if (c >= 0xdc00 && c <= 0xdfff)
		return bad(s, "half of a surrogate pair");
	if (c >= 0xd800 && c <= 0xdbff) {
		if (!cf_view_starts_with(cf_view_sub(s->in, s->pos, 2), "\\u"))
			return bad(s, "half of a surrogate pair");
		s->pos += 2;
		r = scan_hex4(s, &low);
		if (r < 0)
			return r;
		if (low < 0xdc00 || low > 0xdfff)
			return bad(s, "half of a surrogate pair");
		c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
	}
	if (key)
		cf_buf_add_rune(key, c);
	return 0;
}

static int scan_escape(struct scan *s, struct cf_buf *key)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	int c = peek(s);
	const char *at = c > 0 ? strchr(from, c) : NULL;

	s->pos++;
	if (c == 'u')
		return scan_unicode(s, key);
	if (!at)
		return bad(s, "unknown escape");
	if (key)
		cf_buf_add_byte(key, (uint8_t)to[at - from]);
	return 0;
}

/* @key: NULL, or takes the decoded bytes. */
static int scan_string(struct scan *s, struct cf_buf *key)
{
	if (peek(s) != '"')
		return bad(s, "a string is due");
	s->pos++;
	for (;;) {
		int c = peek(s), r;

		if (c < 0)
			return bad(s, "a string without end");
		s->pos++;
		if (c == '"')
			return 0;
		if (c < 0x20)
			return bad(s, "a control character in a string");
		if (c != '\\') {
			if (key)
				cf_buf_add_byte(key, (uint8_t)c);
			continue;
		}
		r = scan_escape(s, key);
		if (r < 0)
			return r;
	}
}

static size_t scan_digits(struct scan *s)
{
	size_t n = 0;

	while (peek(s) >= '0' && peek(s) <= '9') {
		s->pos++;
		n++;
	}
	return n;
}

static int scan_number(struct scan *s)
{
	if (peek(s) == '-')
		s->pos++;
	bool zero = peek(s) == '0';
	size_t n = scan_digits(s);
	if (n == 0 || (zero && n > 1))
		return bad(s, "not a number");
	if (peek(s) == '.') {
		s->pos++;
		if (scan_digits(s) == 0)
			return bad(s, "a digit is due");
	}
	if ((peek(s) | 0x20) != 'e')
		return 0;
	s->pos++;
	if (peek(s) == '+' || peek(s) == '-')
		s->pos++;
	n = scan_digits(s);
	if (n == 0 || n > 3)
		return bad(s, "an exponent of one to three digits is due");
	return 0;
}

static int scan_value(struct scan *s);

static int scan_array(struct scan *s)
{
	s->pos++;
	skip_space(s);
	if (peek(s) == ']') {
		s->pos++;
		return 0;
	}
	for (;;) {
		int r = scan_value(s);

		if (r < 0)
			return r;
		int c = peek(s);
		s->pos++;
		if (c == ']')
			return 0;
		if (c != ',')
			return bad(s, "',' or ']' is due");
	}
}

/* The keys of one object: their bytes one after the other, and where each begins. */
struct keys {
	struct cf_buf bytes;
	size_t *start;
	size_t count, cap;
};

static void keys_finip(struct keys *k)
{
	cf_buf_fini(&k->bytes);
	free(k->start);
}

static struct cf_view key_at(const struct keys *k, size_t i)
{
	return cf_view_sub(cf_buf_view(&k->bytes), k->start[i], k->start[i + 1] - k->start[i]);
}

static int compare_key(const void *a, const void *b)
{
	const struct cf_view *x = a, *y = b;
	size_t n = CF_MIN(x->size, y->size);
	int r = n ? memcmp(x->data, y->data, n) : 0;

	return r ? r : (x->size > y->size) - (x->size < y->size);
}

static int check_unique(struct scan *s, const struct keys *k)
{
	if (k->count < 2)
		return 0;
	cf_cleanup(cf_freep) struct cf_view *sorted = cf_zalloc_n(k->count, sizeof(*sorted));
	for (size_t i = 0; i < k->count; i++)
		sorted[i] = key_at(k, i);
	qsort(sorted, k->count, sizeof(*sorted), compare_key);
	for (size_t i = 1; i < k->count; i++)
		if (cf_view_eq(sorted[i - 1], sorted[i]))
			return cf_fail(s->err, CF_INVALID_ARGUMENT,
			               "JSON: key '%.*s' twice in the object that ends at byte %zu",
			               (int)CF_MIN(sorted[i].size, 64),
			               (const char *)sorted[i].data, s->pos);
	return 0;
}

static int scan_member(struct scan *s, struct keys *k)
{
	if (k->count == KEY_COUNT_MAX)
		return cf_fail(s->err, CF_RESOURCE_EXHAUSTED, "JSON: over %u members in an object",
		               KEY_COUNT_MAX);
	cf_grow(&k->start, &k->cap, k->count + 2);
	k->start[k->count] = k->bytes.size;
	int r = scan_string(s, &k->bytes);
	if (r < 0)
		return r;
	k->start[++k->count] = k->bytes.size;
	skip_space(s);
	if (peek(s) != ':')
		return bad(s, "':' is due");
	s->pos++;
	return scan_value(s);
}

static int scan_object(struct scan *s)
{
	cf_cleanup(keys_finip) struct keys k = { 0 };

	s->pos++;
	skip_space(s);
	if (peek(s) == '}') {
		s->pos++;
		return 0;
	}
	for (;;) {
		skip_space(s);
		int r = scan_member(s, &k);
		if (r < 0)
			return r;
		int c = peek(s);
		s->pos++;
		if (c == '}')
			return check_unique(s, &k);
		if (c != ',')
			return bad(s, "',' or '}' is due");
	}
}

static int scan_word(struct scan *s, const char *word)
{
	if (!cf_view_starts_with(cf_view_sub(s->in, s->pos, strlen(word)), word))
		return bad(s, "not a value");
	s->pos += strlen(word);
	return 0;
}

static int scan_bare(struct scan *s)
{
	switch (peek(s)) {
	case '{':
		return scan_object(s);
	case '[':
		return scan_array(s);
	case '"':
		return scan_string(s, NULL);
	case 't':
		return scan_word(s, "true");
	case 'f':
		return scan_word(s, "false");
	case 'n':
		return scan_word(s, "null");
	default:
		return scan_number(s);
	}
}

static int scan_value(struct scan *s)
{
	if (s->depth == CF_JSON_DEPTH_MAX)
		return cf_fail(s->err, CF_RESOURCE_EXHAUSTED,
		               "JSON: nested deeper than %d at byte %zu", CF_JSON_DEPTH_MAX,
		               s->pos);
	s->depth++;
	skip_space(s);
	int r = scan_bare(s);
	skip_space(s);
	s->depth--;
	return r;
}

int cf_json_scan(struct cf_view text, size_t max, struct cf_err *err)
{
	struct scan s = { .in = text, .err = err };
	int r;

	if (max == 0)
		max = CF_JSON_SIZE_MAX;
	if (text.size > max)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "JSON: %zu bytes, limit %zu", text.size,
		               max);
	if (!cf_view_is_utf8(text))
		return cf_fail(err, CF_INVALID_ARGUMENT, "JSON: not UTF-8");
	r = scan_value(&s);
	if (r < 0)
		return r;
	return s.pos == text.size ? 0 : bad(&s, "text behind the document");
}
