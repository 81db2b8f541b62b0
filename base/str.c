/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"

#include <stdarg.h>
#include <stdio.h>

char *cf_strdup(const char *s)
{
	return s ? cf_strndup(s, strlen(s)) : NULL;
}

char *cf_strndup(const char *s, size_t n)
{
	size_t len = strnlen(s, n);
	char *copy = cf_zalloc(len + 1);

	memcpy(copy, s, len);
	return copy;
}

static cf_printf(1, 0) char *vformat(const char *fmt, va_list ap)
{
	char *s = NULL;

	if (vasprintf(&s, fmt, ap) < 0)
		abort();
	return s;
}

char *cf_asprintf(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	char *s = vformat(fmt, ap);
	va_end(ap);
	return s;
}

bool cf_streq(const char *a, const char *b)
{
	if (!a || !b)
		return a == b;
	return strcmp(a, b) == 0;
}

const char *cf_after(const char *s, const char *prefix)
{
	size_t n = strlen(prefix);

	return strncmp(s, prefix, n) == 0 ? s + n : NULL;
}

bool cf_starts_with(const char *s, const char *prefix)
{
	return cf_after(s, prefix) != NULL;
}

bool cf_ends_with(const char *s, const char *suffix)
{
	size_t n = strlen(s), m = strlen(suffix);

	return n >= m && strcmp(s + n - m, suffix) == 0;
}

int cf_parse_u64(struct cf_view text, uint64_t max, uint64_t *ret, struct cf_err *err)
{
	uint64_t v = 0;

	if (text.size == 0)
		return cf_fail(err, CF_INVALID_ARGUMENT, "a number is due, nothing is there");
	for (size_t i = 0; i < text.size; i++) {
		uint8_t c = text.data[i];

		if (c < '0' || c > '9')
			return cf_fail(err, CF_INVALID_ARGUMENT, "'%.*s' is no number",
			               (int)CF_MIN(text.size, 32), (const char *)text.data);
		if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, c - '0', &v) ||
		    v > max)
			return cf_fail(err, CF_INVALID_ARGUMENT, "%.*s is over the limit %llu",
			               (int)CF_MIN(text.size, 32), (const char *)text.data,
			               (unsigned long long)max);
	}
	*ret = v;
	return 0;
}

int cf_parse_size(struct cf_view text, uint64_t max, uint64_t *ret, struct cf_err *err)
{
	static const char units[] = "kmgt";
	uint64_t scale = 1, v;
	const char *unit = NULL;

	if (text.size > 1)
		unit = strchr(units, text.data[text.size - 1] | 0x20);
	if (unit && *unit) {
		scale = 1ull << (10 * (unit - units + 1));
		text.size--;
	}
	int r = cf_parse_u64(text, max / scale, &v, err);
	if (r < 0)
		return r;
	*ret = v * scale;
	return 0;
}

void cf_strv_add_take(struct cf_strv *v, char *s)
{
	cf_grow(&v->items, &v->cap, v->count + 2);
	v->items[v->count++] = s;
	v->items[v->count] = NULL;
}

void cf_strv_add(struct cf_strv *v, const char *s)
{
	cf_strv_add_take(v, cf_strdup(s));
}

void cf_strv_addf(struct cf_strv *v, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	cf_strv_add_take(v, vformat(fmt, ap));
	va_end(ap);
}

bool cf_strv_has(const struct cf_strv *v, const char *s)
{
	for (size_t i = 0; i < v->count; i++)
		if (strcmp(v->items[i], s) == 0)
			return true;
	return false;
}

void cf_strv_fini(struct cf_strv *v)
{
	for (size_t i = 0; i < v->count; i++)
		free(v->items[i]);
	free(v->items);
	*v = (struct cf_strv){ 0 };
}

void cf_strv_split(struct cf_strv *v, struct cf_view text, char sep)
{
	for (;;) {
		ssize_t at = cf_view_find(text, (uint8_t)sep);
		struct cf_view piece = cf_view_sub(text, 0, at < 0 ? text.size : (size_t)at);

		cf_strv_add_take(
			v, cf_strndup(piece.size ? (const char *)piece.data : "", piece.size));
		if (at < 0)
			return;
		text = cf_view_sub(text, (size_t)at + 1, text.size);
	}
}

char *cf_strv_join(const struct cf_strv *v, const char *sep)
{
	struct cf_buf b = { 0 };

	for (size_t i = 0; i < v->count; i++) {
		if (i)
			cf_buf_add_str(&b, sep);
		cf_buf_add_str(&b, v->items[i]);
	}
	char *s = cf_buf_take_str(&b);
	return s ? s : cf_strdup("");
}
