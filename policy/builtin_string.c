/* SPDX-License-Identifier: Apache-2.0 */
/* Strings. Positions count code points, comparison is by byte. */
#include "base/unicode.h"
#include "policy/builtin.h"

#include <stdio.h>

/* Index in bytes of @needle in @s from @from on, or -1. */
static ssize_t find(struct cf_view s, struct cf_view needle, size_t from)
{
	if (needle.size > s.size || from > s.size - needle.size)
		return -1;
	if (!needle.size)
		return (ssize_t)from;
	const uint8_t *hit = memmem(s.data + from, s.size - from, needle.data, needle.size);
	return hit ? hit - s.data : -1;
}

static bool ends_with(struct cf_view s, struct cf_view tail)
{
	return tail.size <= s.size &&
	       cf_view_eq(cf_view_sub(s, s.size - tail.size, tail.size), tail);
}

static bool begins_with(struct cf_view s, struct cf_view head)
{
	return head.size <= s.size && cf_view_eq(cf_view_sub(s, 0, head.size), head);
}

static bool two(struct bcall *c, const struct pv *const *a, struct cf_view *x, struct cf_view *y)
{
	return builtin_is_string(c, a, 1, x) && builtin_is_string(c, a, 2, y);
}

static const struct pv *part(struct bcall *c, struct cf_view v)
{
	return pv_str_static(c->arena, v);
}

static const struct pv *bi_contains(struct bcall *c, const struct pv *const *a)
{
	struct cf_view s, t;

	return two(c, a, &s, &t) ? pv_bool(find(s, t, 0) >= 0) : NULL;
}

static const struct pv *bi_startswith(struct bcall *c, const struct pv *const *a)
{
	struct cf_view s, t;

	return two(c, a, &s, &t) ? pv_bool(begins_with(s, t)) : NULL;
}

static const struct pv *bi_endswith(struct bcall *c, const struct pv *const *a)
{
	struct cf_view s, t;

	return two(c, a, &s, &t) ? pv_bool(ends_with(s, t)) : NULL;
}

static const struct pv *mapped(struct bcall *c, const struct pv *const *a,
                               uint32_t (*map)(uint32_t))
{
	struct pv_sb b = pv_sb(c->arena);
	struct cf_view s;

	if (!builtin_is_string(c, a, 1, &s))
		return NULL;
	for (size_t pos = 0; pos < s.size && !b.is_bad;)
		pv_sb_rune(&b, map(cf_utf8_next(s, &pos)));
	return pv_sb_done(&b);
}

static const struct pv *bi_lower(struct bcall *c, const struct pv *const *a)
{
	return mapped(c, a, cf_unicode_lower);
}

static const struct pv *bi_upper(struct bcall *c, const struct pv *const *a)
{
	return mapped(c, a, cf_unicode_upper);
}

static const struct pv *bi_split(struct bcall *c, const struct pv *const *a)
{
	struct pv_vec v = pv_vec(c->arena);
	struct cf_view s, d;
	size_t from = 0;

	if (!two(c, a, &s, &d))
		return NULL;
	if (!d.size) {
		for (size_t pos = 0; pos < s.size; from = pos) {
			cf_utf8_next(s, &pos);
			pv_vec_add(&v, part(c, cf_view_sub(s, from, pos - from)));
		}
	} else {
		for (ssize_t at; (at = find(s, d, from)) >= 0; from = (size_t)at + d.size)
			pv_vec_add(&v, part(c, cf_view_sub(s, from, (size_t)at - from)));
		pv_vec_add(&v, part(c, cf_view_sub(s, from, s.size - from)));
	}
	builtin_charge(c, 32 * v.count);
	return pv_vec_array(&v);
}

static const struct pv *bad_member(struct bcall *c, unsigned operand, const char *what,
                                   const struct pv *list, const struct pv *x)
{
	c->fault = BUILTIN_TYPE;
	snprintf(c->msg, sizeof(c->msg), "%s: operand %u must be %s of %s but got %s containing %s",
	         c->name, operand, pv_type_name(list), what, pv_type_name(list), pv_type_name(x));
	return NULL;
}

static const struct pv *bi_concat(struct bcall *c, const struct pv *const *a)
{
	struct pv_sb b = pv_sb(c->arena);
	struct cf_view d;

	if (!builtin_is_string(c, a, 1, &d) || !builtin_is_list(c, a, 2))
		return NULL;
	for (uint32_t i = 0; i < a[1]->len && !b.is_bad; i++) {
		if (a[1]->at[i]->type != PV_STR)
			return bad_member(c, 2, "strings", a[1], a[1]->at[i]);
		if (i)
			pv_sb_add(&b, d);
		pv_sb_add(&b, pv_view(a[1]->at[i]));
	}
	builtin_charge(c, b.size + 16 * (size_t)a[1]->len);
	return pv_sb_done(&b);
}

static const struct pv *bi_replace(struct bcall *c, const struct pv *const *a)
{
	struct pv_sb b = pv_sb(c->arena);
	struct cf_view s, old, with;
	size_t from = 0;

	if (!two(c, a, &s, &old) || !builtin_is_string(c, a, 3, &with))
		return NULL;
	if (!old.size) {
		pv_sb_add(&b, with);
		for (size_t pos = 0; pos < s.size && !b.is_bad; from = pos) {
			cf_utf8_next(s, &pos);
			pv_sb_add(&b, cf_view_sub(s, from, pos - from));
			pv_sb_add(&b, with);
		}
	} else {
		for (ssize_t at; (at = find(s, old, from)) >= 0 && !b.is_bad;
		     from = (size_t)at + old.size) {
			pv_sb_add(&b, cf_view_sub(s, from, (size_t)at - from));
			pv_sb_add(&b, with);
		}
		pv_sb_add(&b, cf_view_sub(s, from, s.size - from));
	}
	builtin_charge(c, b.size);
	return pv_sb_done(&b);
}

/* The first key, in sorted order, that stands at @s's start; NULL: none. */
static const struct pv *key_at(const struct pv *o, struct cf_view s, struct cf_view *key)
{
	for (uint32_t i = 0; i < o->len; i++) {
		*key = pv_view(pv_obj_key(o, i));
		if (begins_with(s, *key))
			return pv_obj_val(o, i);
	}
	return NULL;
}

static const struct pv *bad_pattern(struct bcall *c, const char *what)
{
	c->fault = BUILTIN_TYPE;
	snprintf(c->msg, sizeof(c->msg), "%s: operand 1 non-string %s found in pattern object",
	         c->name, what);
	return NULL;
}

static const struct pv *bi_replace_n(struct bcall *c, const struct pv *const *a)
{
	struct pv_sb b = pv_sb(c->arena);
	struct cf_view s, key;
	bool was_empty_hit = false;

	if (!builtin_is(c, a, 1, PV_OBJ) || !builtin_is_string(c, a, 2, &s))
		return NULL;
	for (uint32_t i = 0; i < a[0]->len; i++) {
		if (pv_obj_key(a[0], i)->type != PV_STR)
			return bad_pattern(c, "key");
		if (pv_obj_val(a[0], i)->type != PV_STR)
			return bad_pattern(c, "value");
	}
	for (size_t pos = 0; pos <= s.size && !b.is_bad;) {
		const struct pv *val =
			was_empty_hit ? NULL : key_at(a[0], cf_view_sub(s, pos, s.size), &key);

		builtin_charge(c, 32 * (size_t)a[0]->len);
		was_empty_hit = false;
		if (val) {
			pv_sb_add(&b, pv_view(val));
			pos += key.size;
			was_empty_hit = !key.size;
			if (pos < s.size || was_empty_hit)
				continue;
			break;
		}
		if (pos < s.size)
			pv_sb_byte(&b, (char)s.data[pos]);
		pos++;
	}
	return pv_sb_done(&b);
}

static size_t rune_offset(struct cf_view s, int64_t runes)
{
	size_t pos = 0;

	for (; runes > 0 && pos < s.size; runes--)
		cf_utf8_next(s, &pos);
	return pos;
}

static const struct pv *bi_substring(struct bcall *c, const struct pv *const *a)
{
	struct cf_view s;
	int64_t off, len;

	if (!builtin_is_string(c, a, 1, &s) || !builtin_is_int(c, a, 2, &off) ||
	    !builtin_is_int(c, a, 3, &len))
		return NULL;
	if (off < 0)
		return builtin_bad(c, "negative offset");
	size_t from = rune_offset(s, off);
	struct cf_view rest = cf_view_sub(s, from, s.size - from);
	return part(c, len < 0 ? rest : cf_view_sub(rest, 0, rune_offset(rest, len)));
}

static const struct pv *bi_indexof(struct bcall *c, const struct pv *const *a)
{
	struct cf_view s, t;

	if (!two(c, a, &s, &t))
		return NULL;
	if (!t.size)
		return builtin_bad(c, "empty search character");
	ssize_t at = find(s, t, 0);
	return pv_int(c->arena,
	              at < 0 ? -1 : (int64_t)pv_rune_count(cf_view_sub(s, 0, (size_t)at)));
}

static const struct pv *bi_indexof_n(struct bcall *c, const struct pv *const *a)
{
	struct pv_vec v = pv_vec(c->arena);
	struct cf_view s, t;
	int64_t index = 0;

	if (!two(c, a, &s, &t))
		return NULL;
	if (!t.size)
		return builtin_bad(c, "empty search character");
	for (size_t pos = 0; pos < s.size; index++) {
		if (begins_with(cf_view_sub(s, pos, s.size), t))
			pv_vec_add(&v, pv_int(c->arena, index));
		cf_utf8_next(s, &pos);
	}
	return pv_vec_array(&v);
}

/* ---- trimming ---- */

static bool in_cutset(struct cf_view set, uint32_t r)
{
	for (size_t pos = 0; pos < set.size;)
		if (cf_utf8_next(set, &pos) == r)
			return true;
	return false;
}

/* Bytes at the start made of runes that @is_cut takes. */
static size_t head_size(struct cf_view s, struct cf_view set, bool spaces)
{
	size_t pos = 0, keep = 0;

	while (pos < s.size) {
		uint32_t r = cf_utf8_next(s, &pos);

		if (!(spaces ? cf_unicode_is_space(r) : in_cutset(set, r)))
			return keep;
		keep = pos;
	}
	return keep;
}

static size_t tail_start(struct cf_view s, struct cf_view set, bool spaces)
{
	size_t end = s.size;

	while (end) {
		size_t at = end - 1;

		while (at && (s.data[at] & 0xc0) == 0x80 && end - at < 4)
			at--;
		size_t pos = at;
		uint32_t r = cf_utf8_next(s, &pos);
		if (pos != end || !(spaces ? cf_unicode_is_space(r) : in_cutset(set, r)))
			return end;
		end = at;
	}
	return end;
}

static struct cf_view trim(struct bcall *c, struct cf_view s, struct cf_view set, bool left,
                           bool right, bool spaces)
{
	builtin_charge(c, s.size * (set.size / 8 + 1));
	if (left) {
		size_t n = head_size(s, set, spaces);

		s = cf_view_sub(s, n, s.size - n);
	}
	return right ? cf_view_sub(s, 0, tail_start(s, set, spaces)) : s;
}

static const struct pv *bi_trim(struct bcall *c, const struct pv *const *a)
{
	struct cf_view s, set;

	return two(c, a, &s, &set) ? part(c, trim(c, s, set, true, true, false)) : NULL;
}

static const struct pv *bi_trim_left(struct bcall *c, const struct pv *const *a)
{
	struct cf_view s, set;

	return two(c, a, &s, &set) ? part(c, trim(c, s, set, true, false, false)) : NULL;
}

static const struct pv *bi_trim_right(struct bcall *c, const struct pv *const *a)
{
	struct cf_view s, set;

	return two(c, a, &s, &set) ? part(c, trim(c, s, set, false, true, false)) : NULL;
}

static const struct pv *bi_trim_space(struct bcall *c, const struct pv *const *a)
{
	struct cf_view s, none = { 0 };

	return builtin_is_string(c, a, 1, &s) ? part(c, trim(c, s, none, true, true, true)) : NULL;
}

static const struct pv *bi_trim_prefix(struct bcall *c, const struct pv *const *a)
{
	struct cf_view s, t;

	if (!two(c, a, &s, &t))
		return NULL;
	return begins_with(s, t) ? part(c, cf_view_sub(s, t.size, s.size - t.size)) : a[0];
}

static const struct pv *bi_trim_suffix(struct bcall *c, const struct pv *const *a)
{
	struct cf_view s, t;

	if (!two(c, a, &s, &t))
		return NULL;
	return ends_with(s, t) ? part(c, cf_view_sub(s, 0, s.size - t.size)) : a[0];
}

/* ---- strings.* ---- */

static const struct pv *bi_reverse(struct bcall *c, const struct pv *const *a)
{
	struct pv_sb b = pv_sb(c->arena);
	struct cf_view s;

	if (!builtin_is_string(c, a, 1, &s))
		return NULL;
	for (size_t end = s.size; end && !b.is_bad;) {
		size_t at = end - 1;

		while (at && (s.data[at] & 0xc0) == 0x80 && end - at < 4)
			at--;
		pv_sb_add(&b, cf_view_sub(s, at, end - at));
		end = at;
	}
	return pv_sb_done(&b);
}

static const struct pv *bi_strings_count(struct bcall *c, const struct pv *const *a)
{
	struct cf_view s, t;
	int64_t n = 0;
	size_t from = 0;

	if (!two(c, a, &s, &t))
		return NULL;
	if (!t.size)
		return pv_int(c->arena, (int64_t)pv_rune_count(s) + 1);
	for (ssize_t at; (at = find(s, t, from)) >= 0; n++)
		from = (size_t)at + t.size;
	return pv_int(c->arena, n);
}

/* A string, or an array or set of strings, as a list. */
static bool string_list(struct bcall *c, const struct pv *const *a, unsigned operand,
                        const struct pv *const **items, uint32_t *n)
{
	const struct pv *v = a[operand - 1];

	*items = v->type == PV_STR ? &a[operand - 1] : v->at;
	*n = v->type == PV_STR ? 1 : v->len;
	if (v->type != PV_STR && v->type != PV_ARR && v->type != PV_SET) {
		builtin_bad_type(c, operand, "one of {string, set, array}", v);
		return false;
	}
	for (uint32_t i = 0; i < *n; i++)
		if ((*items)[i]->type != PV_STR) {
			bad_member(c, operand, "strings", v, (*items)[i]);
			return false;
		}
	return true;
}

static const struct pv *any_match(struct bcall *c, const struct pv *const *a,
                                  bool (*test)(struct cf_view, struct cf_view))
{
	const struct pv *const *xs, *const *ys;
	uint32_t nx, ny;

	if (!string_list(c, a, 1, &xs, &nx) || !string_list(c, a, 2, &ys, &ny))
		return NULL;
	builtin_charge(c, 16 * (size_t)nx * ny);
	if ((uint64_t)nx * ny > 100000000)
		return builtin_abort(c, "too many strings");
	for (uint32_t i = 0; i < nx; i++)
		for (uint32_t k = 0; k < ny; k++)
			if (test(pv_view(xs[i]), pv_view(ys[k])))
				return &pv_true;
	return &pv_false;
}

static const struct pv *bi_any_prefix(struct bcall *c, const struct pv *const *a)
{
	return any_match(c, a, begins_with);
}

static const struct pv *bi_any_suffix(struct bcall *c, const struct pv *const *a)
{
	return any_match(c, a, ends_with);
}

const struct builtin builtins_string[] = {
	{ "contains", 2, 0, bi_contains, "ss" },
	{ "startswith", 2, 0, bi_startswith, "ss" },
	{ "endswith", 2, 0, bi_endswith, "ss" },
	{ "lower", 1, 0, bi_lower, "s" },
	{ "upper", 1, 0, bi_upper, "s" },
	{ "split", 2, 0, bi_split, "ss" },
	{ "concat", 2, 0, bi_concat, "sl" },
	{ "replace", 3, 0, bi_replace, "sss" },
	{ "strings.replace_n", 2, 0, bi_replace_n, "os" },
	{ "substring", 3, 0, bi_substring, "snn" },
	{ "indexof", 2, 0, bi_indexof, "ss" },
	{ "indexof_n", 2, 0, bi_indexof_n, "ss" },
	{ "trim", 2, 0, bi_trim, "ss" },
	{ "trim_left", 2, 0, bi_trim_left, "ss" },
	{ "trim_right", 2, 0, bi_trim_right, "ss" },
	{ "trim_space", 1, 0, bi_trim_space, "s" },
	{ "trim_prefix", 2, 0, bi_trim_prefix, "ss" },
	{ "trim_suffix", 2, 0, bi_trim_suffix, "ss" },
	{ "strings.reverse", 1, 0, bi_reverse, "s" },
	{ "strings.count", 2, 0, bi_strings_count, "ss" },
	{ "strings.any_prefix_match", 2, 0, bi_any_prefix, NULL },
	{ "strings.any_suffix_match", 2, 0, bi_any_suffix, NULL },
	{ .name = NULL },
};
