/* SPDX-License-Identifier: Apache-2.0 */
/* The emitting half of base/json.h. */
#include "base/json.h"

static void new_line(struct cf_jw *w)
{
	cf_buf_add_byte(w->out, '\n');
	for (int i = 0; i < w->depth; i++)
		cf_buf_add_str(w->out, "  ");
}

/* What stands before a value or a key. */
static void lead(struct cf_jw *w)
{
	bool first = !w->need_comma;

	if (w->need_comma)
		cf_buf_add_byte(w->out, ',');
	if (w->pretty && w->depth && (w->need_comma || first) && w->out->size &&
	    w->out->data[w->out->size - 1] != ' ')
		new_line(w);
	w->need_comma = true;
}

static void open_group(struct cf_jw *w, char c)
{
	lead(w);
	cf_buf_add_byte(w->out, (uint8_t)c);
	w->depth++;
	w->need_comma = false;
}

static void close_group(struct cf_jw *w, char c)
{
	bool empty = !w->need_comma;

	w->depth--;
	if (w->pretty && !empty)
		new_line(w);
	cf_buf_add_byte(w->out, (uint8_t)c);
	w->need_comma = true;
}

void cf_jw_obj(struct cf_jw *w)
{
	open_group(w, '{');
}

void cf_jw_end_obj(struct cf_jw *w)
{
	close_group(w, '}');
}

void cf_jw_arr(struct cf_jw *w)
{
	open_group(w, '[');
}

void cf_jw_end_arr(struct cf_jw *w)
{
	close_group(w, ']');
}

void cf_jw_key(struct cf_jw *w, const char *key)
{
	lead(w);
	cf_buf_add_json_str(w->out, cf_view_str(key));
	cf_buf_add_str(w->out, w->pretty ? ": " : ":");
	w->need_comma = false;
}

void cf_jw_view(struct cf_jw *w, struct cf_view v)
{
	lead(w);
	cf_buf_add_json_str(w->out, v);
}

void cf_jw_str(struct cf_jw *w, const char *s)
{
	if (s)
		cf_jw_view(w, cf_view_str(s));
	else
		cf_jw_null(w);
}

void cf_jw_int(struct cf_jw *w, int64_t v)
{
	lead(w);
	cf_buf_printf(w->out, "%lld", (long long)v);
}

void cf_jw_uint(struct cf_jw *w, uint64_t v)
{
	lead(w);
	cf_buf_printf(w->out, "%llu", (unsigned long long)v);
}

void cf_jw_bool(struct cf_jw *w, bool v)
{
	cf_jw_raw(w, cf_view_str(v ? "true" : "false"));
}

void cf_jw_null(struct cf_jw *w)
{
	cf_jw_raw(w, cf_view_str("null"));
}

void cf_jw_raw(struct cf_jw *w, struct cf_view json)
{
	lead(w);
	cf_buf_add_view(w->out, json);
}

void cf_jw_b64(struct cf_jw *w, int kind, struct cf_view v)
{
	lead(w);
	cf_buf_add_byte(w->out, '"');
	cf_b64_encode((enum cf_b64)kind, v, w->out);
	cf_buf_add_byte(w->out, '"');
}

void cf_jw_hex(struct cf_jw *w, struct cf_view v)
{
	cf_cleanup(cf_freep) char *hex = cf_hex_dup(v);

	cf_jw_str(w, hex);
}

void cf_jw_kstr(struct cf_jw *w, const char *key, const char *s)
{
	cf_jw_key(w, key);
	cf_jw_str(w, s);
}

void cf_jw_kview(struct cf_jw *w, const char *key, struct cf_view v)
{
	cf_jw_key(w, key);
	cf_jw_view(w, v);
}

void cf_jw_kuint(struct cf_jw *w, const char *key, uint64_t v)
{
	cf_jw_key(w, key);
	cf_jw_uint(w, v);
}

void cf_jw_kint(struct cf_jw *w, const char *key, int64_t v)
{
	cf_jw_key(w, key);
	cf_jw_int(w, v);
}

void cf_jw_kbool(struct cf_jw *w, const char *key, bool v)
{
	cf_jw_key(w, key);
	cf_jw_bool(w, v);
}
