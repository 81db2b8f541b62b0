/* SPDX-License-Identifier: Apache-2.0 */
/* regex.*, as Go's regexp answers. */
#include "base/str.h"
#include "policy/builtin.h"
#include "policy/regex_cache.h"

#include <stdio.h>

static const struct pv *bi_match(struct bcall *c, const struct pv *const *a)
{
	struct cf_view pattern, s;
	bool ok;

	if (!builtin_is_string(c, a, 1, &pattern) || !builtin_is_string(c, a, 2, &s))
		return NULL;
	const struct cf_regex *re = regex_cached(c, pattern);
	if (!re)
		return NULL;
	bool found = regex_cached_match(c, re, s, 0, NULL, &ok);
	return ok ? pv_bool(found) : NULL;
}

static const struct pv *bi_is_valid(struct bcall *c, const struct pv *const *a)
{
	if (a[0]->type != PV_STR)
		return &pv_false;
	const struct cf_regex *re = regex_cached(c, pv_view(a[0]));
	if (!re && c->fault == BUILTIN_ERROR)
		c->fault = BUILTIN_FINE;
	return c->fault ? NULL : pv_bool(re != NULL);
}

/* ---- one match after another ---- */

struct finder {
	struct bcall *c;
	const struct cf_regex *re;
	struct cf_view text;
	size_t pos, last_end; /* SIZE_MAX: none yet */
	struct cf_regex_span *spans;
	bool ok;
};

static bool finder_init(struct finder *f, struct bcall *c, const struct pv *pattern,
                        const struct pv *text)
{
	*f = (struct finder){ .c = c, .text = pv_view(text), .last_end = SIZE_MAX, .ok = true };
	f->re = regex_cached(c, pv_view(pattern));
	if (!f->re)
		return false;
	f->spans = cf_arena_alloc(c->arena, (cf_regex_groups(f->re) + 1) * sizeof(*f->spans));
	return true;
}

/* The next match; an empty one right behind the match before does not count. */
static bool finder_next(struct finder *f)
{
	while (f->pos <= f->text.size) {
		if (!regex_cached_match(f->c, f->re, f->text, f->pos, f->spans, &f->ok))
			return false;
		struct cf_regex_span m = f->spans[0];
		bool counts = m.end > m.start || m.start != f->last_end;
		if (m.end > m.start) {
			f->pos = m.end;
		} else {
			f->pos = m.end;
			if (f->pos < f->text.size)
				cf_utf8_next(f->text, &f->pos);
			else
				f->pos++;
		}
		f->last_end = m.end;
		if (counts)
			return true;
	}
	return false;
}

static const struct pv *span_str(const struct finder *f, struct cf_regex_span s)
{
	if (s.start == SIZE_MAX)
		return &pv_empty_str;
	return pv_str_static(f->c->arena, cf_view_sub(f->text, s.start, s.end - s.start));
}

static bool strings_and_count(struct bcall *c, const struct pv *const *a, int64_t *n)
{
	return builtin_is(c, a, 1, PV_STR) && builtin_is(c, a, 2, PV_STR) &&
	       builtin_is_int(c, a, 3, n);
}

static const struct pv *bi_find_n(struct bcall *c, const struct pv *const *a)
{
	struct pv_vec v = pv_vec(c->arena);
	struct finder f;
	int64_t n;

	if (!strings_and_count(c, a, &n) || !finder_init(&f, c, a[0], a[1]))
		return NULL;
	while ((n < 0 || (int64_t)v.count < n) && finder_next(&f))
		pv_vec_add(&v, span_str(&f, f.spans[0]));
	return f.ok ? pv_vec_array(&v) : NULL;
}

static const struct pv *bi_find_all(struct bcall *c, const struct pv *const *a)
{
	struct pv_vec v = pv_vec(c->arena);
	struct finder f;
	int64_t n;

	if (!strings_and_count(c, a, &n) || !finder_init(&f, c, a[0], a[1]))
		return NULL;
	while ((n < 0 || (int64_t)v.count < n) && finder_next(&f)) {
		struct pv_vec groups = pv_vec(c->arena);

		for (uint32_t i = 0; i <= cf_regex_groups(f.re); i++)
			pv_vec_add(&groups, span_str(&f, f.spans[i]));
		pv_vec_add(&v, pv_vec_array(&groups));
	}
	return f.ok ? pv_vec_array(&v) : NULL;
}

static const struct pv *bi_split(struct bcall *c, const struct pv *const *a)
{
	struct pv_vec v = pv_vec(c->arena);
	struct finder f;
	size_t from = 0;

	if (!builtin_is(c, a, 1, PV_STR) || !builtin_is(c, a, 2, PV_STR) ||
	    !finder_init(&f, c, a[0], a[1]))
		return NULL;
	if (a[0]->len && !a[1]->len)
		return pv_vec_add(&v, &pv_empty_str), pv_vec_array(&v);
	while (finder_next(&f)) {
		struct cf_regex_span m = f.spans[0];

		if (m.end == m.start && (m.start == 0 || m.start == f.text.size)) {
			if (m.start == f.text.size)
				break;
			continue;
		}
		if (m.end == 0)
			continue;
		pv_vec_add(&v, span_str(&f, (struct cf_regex_span){ from, m.start }));
		from = m.end;
	}
	if (f.ok && (from != f.text.size || v.count || !f.text.size) &&
	    (f.text.size || a[0]->len || v.count))
		pv_vec_add(&v, span_str(&f, (struct cf_regex_span){ from, f.text.size }));
	return f.ok ? pv_vec_array(&v) : NULL;
}

/* ---- replace ---- */

static bool is_name_byte(uint8_t b)
{
	return b == '_' || (b >= '0' && b <= '9') || ((b | 0x20) >= 'a' && (b | 0x20) <= 'z');
}

/* The group that a name or a number means; -1: none, which stands for nothing. */
static int64_t group_named(const struct cf_regex *re, struct cf_view name)
{
	uint64_t n;

	if (cf_parse_u64(name, 100000000, &n, NULL) == 0)
		return n <= cf_regex_groups(re) ? (int64_t)n : -1;
	uint32_t group = cf_regex_group(re, name);
	return group ? (int64_t)group : -1;
}

/* $1 ${1} $name at @t's start behind the dollar: its size, 0 when it is no reference. */
static size_t reference(struct cf_view t, struct cf_view *name)
{
	size_t n = 0, from = t.size && t.data[0] == '{';

	while (from + n < t.size && is_name_byte(t.data[from + n]))
		n++;
	*name = cf_view_sub(t, from, n);
	if (!n || (from && (from + n >= t.size || t.data[from + n] != '}')))
		return 0;
	return n + 2 * from;
}

static void expand(const struct finder *f, struct cf_view t, struct pv_sb *b)
{
	struct cf_view name;

	for (size_t i = 0; i < t.size && !b->is_bad; i++) {
		if (t.data[i] != '$') {
			pv_sb_byte(b, (char)t.data[i]);
			continue;
		}
		if (i + 1 < t.size && t.data[i + 1] == '$') {
			pv_sb_byte(b, '$');
			i++;
			continue;
		}
		size_t n = reference(cf_view_sub(t, i + 1, t.size), &name);
		if (!n) {
			pv_sb_byte(b, '$');
			continue;
		}
		int64_t g = group_named(f->re, name);
		if (g >= 0)
			pv_sb_add(b, pv_view(span_str(f, f->spans[g])));
		i += n;
	}
}

static const struct pv *bi_replace(struct bcall *c, const struct pv *const *a)
{
	struct pv_sb b = pv_sb(c->arena);
	struct finder f;
	size_t from = 0;

	if (!builtin_is(c, a, 1, PV_STR) || !builtin_is(c, a, 2, PV_STR) ||
	    !builtin_is(c, a, 3, PV_STR) || !finder_init(&f, c, a[1], a[0]))
		return NULL;
	while (!b.is_bad && finder_next(&f)) {
		pv_sb_add(&b, cf_view_sub(f.text, from, f.spans[0].start - from));
		expand(&f, pv_view(a[2]), &b);
		from = f.spans[0].end;
	}
	pv_sb_add(&b, cf_view_sub(f.text, from, f.text.size - from));
	builtin_charge(c, b.size);
	return f.ok ? pv_sb_done(&b) : NULL;
}

/* ---- templates ---- */

static void quote(struct pv_sb *b, struct cf_view s)
{
	for (size_t i = 0; i < s.size; i++) {
		if (s.data[i] < 0x80 && strchr("\\.+*?()|[]{}^$", s.data[i]) && s.data[i])
			pv_sb_byte(b, '\\');
		pv_sb_byte(b, (char)s.data[i]);
	}
}

/* The place of the delimiter that closes the one before @pos; SIZE_MAX: none. */
static size_t closing(struct cf_view t, size_t pos, uint8_t open, uint8_t close)
{
	unsigned depth = 1;

	for (; pos < t.size; pos++) {
		if (t.data[pos] == close && --depth == 0)
			return pos;
		if (t.data[pos] == open && open != close)
			depth++;
	}
	return SIZE_MAX;
}

static bool template_pattern(struct bcall *c, struct cf_view t, uint8_t open, uint8_t close,
                             struct pv_sb *b)
{
	size_t from = 0;

	pv_sb_byte(b, '^');
	for (size_t i = 0; i < t.size; i++) {
		if (t.data[i] == close && close != open) {
			builtin_bad(c, "unbalanced braces in \"%.*s\"", (int)t.size,
			            (const char *)t.data);
			return false;
		}
		if (t.data[i] != open)
			continue;
		size_t end = closing(t, i + 1, open, close);
		if (end == SIZE_MAX) {
			builtin_bad(c, "unbalanced braces in \"%.*s\"", (int)t.size,
			            (const char *)t.data);
			return false;
		}
		quote(b, cf_view_sub(t, from, i - from));
		pv_sb_byte(b, '(');
		pv_sb_add(b, cf_view_sub(t, i + 1, end - i - 1));
		pv_sb_byte(b, ')');
		i = end;
		from = end + 1;
	}
	quote(b, cf_view_sub(t, from, t.size - from));
	pv_sb_byte(b, '$');
	return true;
}

static const struct pv *bi_template_match(struct bcall *c, const struct pv *const *a)
{
	struct pv_sb b = pv_sb(c->arena);
	bool ok;

	for (unsigned i = 1; i <= 4; i++)
		if (!builtin_is(c, a, i, PV_STR))
			return NULL;
	if (a[2]->len != 1)
		return builtin_bad(
			c, "start delimiter has to be exactly one character long but is %u long",
			a[2]->len);
	if (a[3]->len != 1)
		return builtin_bad(
			c, "end delimiter has to be exactly one character long but is %u long",
			a[3]->len);
	if (!template_pattern(c, pv_view(a[0]), (uint8_t)a[2]->s[0], (uint8_t)a[3]->s[0], &b))
		return NULL;
	const struct cf_regex *re = b.is_bad ? NULL : regex_cached(c, cf_view(b.data, b.size));
	if (!re)
		return NULL;
	bool found = regex_cached_match(c, re, pv_view(a[1]), 0, NULL, &ok);
	return ok ? pv_bool(found) : NULL;
}

const struct builtin builtins_regex[] = {
	{ "regex.match", 2, 0, bi_match, "ss" },
	{ "re_match", 2, BUILTIN_V0_ONLY, bi_match, "ss" },
	{ "regex.is_valid", 1, 0, bi_is_valid, NULL },
	{ "regex.find_n", 3, 0, bi_find_n, "ssn" },
	{ "regex.find_all_string_submatch_n", 3, 0, bi_find_all, "ssn" },
	{ "regex.split", 2, 0, bi_split, "ss" },
	{ "regex.replace", 3, 0, bi_replace, "sss" },
	{ "regex.template_match", 4, 0, bi_template_match, "ssss" },
	{ .name = NULL },
};
