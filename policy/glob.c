/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/glob.h"

static void add_quoted(struct pv_sb *b, uint32_t r)
{
	if (r && r < 0x80 && strchr("\\.+*?()|[]{}^$-", (int)r))
		pv_sb_byte(b, '\\');
	pv_sb_rune(b, r);
}

/* One rune that is no delimiter, or any. */
static void add_any(struct pv_sb *b, struct cf_view delimiters)
{
	if (!delimiters.size) {
		pv_sb_byte(b, '.');
		return;
	}
	pv_sb_str(b, "[^");
	for (size_t pos = 0; pos < delimiters.size;)
		add_quoted(b, cf_utf8_next(delimiters, &pos));
	pv_sb_byte(b, ']');
}

/* [abc] [!a-z]; the bracket is behind us. */
static bool add_class(struct pv_sb *b, struct cf_view p, size_t *pos)
{
	pv_sb_byte(b, '[');
	if (*pos < p.size && p.data[*pos] == '!') {
		pv_sb_byte(b, '^');
		(*pos)++;
	}
	size_t from = *pos;
	while (*pos < p.size && p.data[*pos] != ']') {
		uint32_t r = cf_utf8_next(p, pos);

		if (r == '\\' && *pos < p.size)
			r = cf_utf8_next(p, pos);
		else if (r == '-' && *pos - 1 > from && *pos < p.size && p.data[*pos] != ']') {
			pv_sb_byte(b, '-');
			continue;
		}
		add_quoted(b, r);
	}
	if (*pos == from || *pos >= p.size)
		return false;
	(*pos)++;
	pv_sb_byte(b, ']');
	return true;
}

bool glob_to_regex(struct pv_sb *b, struct cf_view p, struct cf_view delimiters)
{
	unsigned depth = 0;

	pv_sb_str(b, "(?s)^(?:");
	for (size_t pos = 0; pos < p.size;) {
		uint32_t r = cf_utf8_next(p, &pos);

		if (r == '*') {
			bool is_super = pos < p.size && p.data[pos] == '*';

			pos += is_super;
			add_any(b, is_super ? (struct cf_view){ 0 } : delimiters);
			pv_sb_byte(b, '*');
		} else if (r == '?') {
			add_any(b, delimiters);
		} else if (r == '[') {
			if (!add_class(b, p, &pos))
				return false;
		} else if (r == '{') {
			pv_sb_str(b, "(?:");
			depth++;
		} else if (r == '}' && depth) {
			pv_sb_byte(b, ')');
			depth--;
		} else if (r == ',' && depth) {
			pv_sb_byte(b, '|');
		} else {
			if (r == '\\' && pos < p.size)
				r = cf_utf8_next(p, &pos);
			add_quoted(b, r);
		}
	}
	pv_sb_str(b, ")$");
	return !depth;
}
