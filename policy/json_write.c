/* SPDX-License-Identifier: Apache-2.0 */
/* Values to JSON and to Rego's own notation. Strings may hold any bytes; bad UTF-8 becomes U+FFFD. */
#include "policy/number.h"
#include "policy/value.h"

static const struct pv_json_style plain_style = { 0 };

static bool needs_escape(uint32_t r, bool is_html_safe)
{
	if (r < 0x20 || r == '"' || r == '\\')
		return true;
	return is_html_safe && (r == '<' || r == '>' || r == '&' || r == 0x2028 || r == 0x2029);
}

static void write_rune_escaped(struct pv_sb *b, uint32_t r)
{
	static const char from[] = "\"\\\n\r\t\b\f", to[] = "\"\\nrtbf";
	const char *hit = r && r < 0x80 ? strchr(from, (int)r) : NULL;

	if (hit)
		pv_sb_fmt(b, "\\%c", to[hit - from]);
	else
		pv_sb_fmt(b, "\\u%04x", r);
}

static void write_string(struct pv_sb *b, struct cf_view v, bool is_html_safe)
{
	size_t from = 0, pos = 0;

	pv_sb_byte(b, '"');
	while (pos < v.size && !b->is_bad) {
		size_t at = pos;
		uint32_t r = cf_utf8_next(v, &pos);
		bool is_broken = r == 0xfffd && pos - at != 3;

		if (!needs_escape(r, is_html_safe) && !is_broken)
			continue;
		pv_sb_add(b, cf_view_sub(v, from, at - from));
		if (is_broken)
			pv_sb_rune(b, r);
		else
			write_rune_escaped(b, r);
		from = pos;
	}
	pv_sb_add(b, cf_view_sub(v, from, v.size - from));
	pv_sb_byte(b, '"');
}

static void newline(struct pv_sb *b, const struct pv_json_style *style, unsigned depth)
{
	if (!style->is_pretty)
		return;
	pv_sb_byte(b, '\n');
	pv_sb_add(b, style->prefix);
	for (unsigned i = 0; i < depth; i++)
		pv_sb_add(b, style->indent);
}

static void write_json(struct pv_sb *b, const struct pv *v, const struct pv_json_style *style,
                       unsigned depth);

/* An object's key is a string in JSON, whatever it is in Rego. */
static void write_key(struct pv_sb *b, const struct pv *key, const struct pv_json_style *style)
{
	if (key->type == PV_STR) {
		write_string(b, pv_view(key), style->is_html_safe);
		return;
	}
	struct pv_sb text = pv_sb(b->arena);
	pv_json_write(&text, key, NULL);
	write_string(b, cf_view(text.data, text.size), style->is_html_safe);
}

static void write_members(struct pv_sb *b, const struct pv *v, const struct pv_json_style *style,
                          unsigned depth)
{
	for (uint32_t i = 0; i < v->len && !b->is_bad; i++) {
		if (i)
			pv_sb_byte(b, ',');
		newline(b, style, depth + 1);
		if (v->type == PV_OBJ) {
			write_key(b, pv_obj_key(v, i), style);
			pv_sb_str(b, style->is_pretty ? ": " : ":");
		}
		write_json(b, v->type == PV_OBJ ? pv_obj_val(v, i) : v->at[i], style, depth + 1);
	}
	if (v->len)
		newline(b, style, depth);
}

static void write_json(struct pv_sb *b, const struct pv *v, const struct pv_json_style *style,
                       unsigned depth)
{
	switch ((enum pv_type)v->type) {
	case PV_NULL:
		pv_sb_str(b, "null");
		return;
	case PV_BOOL:
		pv_sb_str(b, v->b ? "true" : "false");
		return;
	case PV_NUM:
		number_write(b, v);
		return;
	case PV_STR:
		write_string(b, pv_view(v), style->is_html_safe);
		return;
	case PV_ARR:
	case PV_SET:
	case PV_OBJ:
		pv_sb_byte(b, v->type == PV_OBJ ? '{' : '[');
		write_members(b, v, style, depth);
		pv_sb_byte(b, v->type == PV_OBJ ? '}' : ']');
		return;
	}
}

void pv_json_write(struct pv_sb *b, const struct pv *v, const struct pv_json_style *style)
{
	if (!style)
		style = &plain_style;
	if (style->is_pretty)
		pv_sb_add(b, style->prefix);
	write_json(b, v, style, 0);
}

void pv_term_write(struct pv_sb *b, const struct pv *v)
{
	if (v->type == PV_SET && !v->len) {
		pv_sb_str(b, "set()");
		return;
	}
	if (!pv_is_composite(v)) {
		write_json(b, v, &plain_style, 0);
		return;
	}
	pv_sb_byte(b, v->type == PV_ARR ? '[' : '{');
	for (uint32_t i = 0; i < v->len && !b->is_bad; i++) {
		if (i)
			pv_sb_str(b, ", ");
		if (v->type == PV_OBJ) {
			pv_term_write(b, pv_obj_key(v, i));
			pv_sb_str(b, ": ");
		}
		pv_term_write(b, v->type == PV_OBJ ? pv_obj_val(v, i) : v->at[i]);
	}
	pv_sb_byte(b, v->type == PV_ARR ? ']' : '}');
}

void pv_bare_write(struct pv_sb *b, const struct pv *v)
{
	if (v->type == PV_STR)
		pv_sb_add(b, pv_view(v));
	else
		pv_term_write(b, v);
}
