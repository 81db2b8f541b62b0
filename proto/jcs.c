/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/jcs.h"

#include "base/str.h"

#define SAFE_INT (1ll << 53) /* integers up to here have one text only */

void jcs_print_str(struct cf_view text, struct cf_buf *out)
{
	static const char from[] = "\b\t\n\f\r\"\\";
	static const char to[] = "btnfr\"\\";

	cf_buf_add_byte(out, '"');
	for (size_t i = 0; i < text.size; i++) {
		uint8_t c = text.data[i];
		const char *at = c ? strchr(from, c) : NULL;

		if (at)
			cf_buf_printf(out, "\\%c", to[at - from]);
		else if (c < 0x20)
			cf_buf_printf(out, "\\u%04x", c);
		else
			cf_buf_add_byte(out, c);
	}
	cf_buf_add_byte(out, '"');
}

/*
 * UTF-16 orders as UTF-8 does, but for surrogates: code points from U+10000 on (lead byte f0 and up)
 * come before U+E000…U+FFFF (lead bytes ee and ef).
 */
static int compare_names(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}

	uint8_t x = (uint8_t)*a, y = (uint8_t)*b;

	if (x >= 0xf0 && (y == 0xee || y == 0xef))
		return -1;
	if (y >= 0xf0 && (x == 0xee || x == 0xef))
		return 1;
	return (x > y) - (x < y);
}

struct member {
	const char *name;
	const struct cf_json *value;
};

static int compare_members(const void *a, const void *b)
{
	return compare_names(((const struct member *)a)->name, ((const struct member *)b)->name);
}

static int print_object(const struct cf_json *v, struct cf_buf *out, struct cf_err *err)
{
	size_t n = cf_json_len(v);
	cf_cleanup(cf_freep) struct member *m = cf_zalloc_n(n + 1, sizeof(*m));
	void *it = NULL;
	int r = 0;

	for (size_t i = 0; i < n && cf_json_next(v, &it, &m[i].name, &m[i].value);)
		i++;
	qsort(m, n, sizeof(*m), compare_members);
	cf_buf_add_byte(out, '{');
	for (size_t i = 0; r == 0 && i < n; i++) {
		if (i)
			cf_buf_add_byte(out, ',');
		jcs_print_str(cf_view_str(m[i].name), out);
		cf_buf_add_byte(out, ':');
		r = jcs_print(m[i].value, out, err);
	}
	cf_buf_add_byte(out, '}');
	return r;
}

static int print_array(const struct cf_json *v, struct cf_buf *out, struct cf_err *err)
{
	int r = 0;

	cf_buf_add_byte(out, '[');
	for (size_t i = 0; r == 0 && i < cf_json_len(v); i++) {
		if (i)
			cf_buf_add_byte(out, ',');
		r = jcs_print(cf_json_at(v, i), out, err);
	}
	cf_buf_add_byte(out, ']');
	return r;
}

static int print_int(int64_t n, struct cf_buf *out, struct cf_err *err)
{
	if (n > SAFE_INT || n < -SAFE_INT)
		return cf_fail(err, CF_INVALID_ARGUMENT, "JCS: a number beyond 2^53");
	cf_buf_printf(out, "%lld", (long long)n);
	return 0;
}

int jcs_print(const struct cf_json *v, struct cf_buf *out, struct cf_err *err)
{
	int r = 0;

	switch (cf_json_type(v)) {
	case CF_JSON_NULL:
		cf_buf_add_str(out, "null");
		break;
	case CF_JSON_BOOL:
		cf_buf_add_str(out, cf_json_is_true(v) ? "true" : "false");
		break;
	case CF_JSON_INT:
		r = print_int(cf_json_int(v), out, err);
		break;
	case CF_JSON_DOUBLE:
		return cf_fail(err, CF_INVALID_ARGUMENT, "JCS: a number with a fraction");
	case CF_JSON_STRING:
		jcs_print_str(cf_json_str(v), out);
		break;
	case CF_JSON_ARRAY:
		r = print_array(v, out, err);
		break;
	case CF_JSON_OBJECT:
		r = print_object(v, out, err);
		break;
	}
	return r < 0 ? r : cf_buf_check(out, "JCS", err);
}
