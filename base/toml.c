/* SPDX-License-Identifier: Apache-2.0 */
#include "base/toml.h"

#include "base/fd.h"
#include "base/toml_tree.h"

uint32_t toml_hash(const char *key)
{
	uint32_t h = 2166136261u; /* FNV-1a: only to make a table's duplicate check cheap */

	for (; *key; key++)
		h = (h ^ (uint8_t)*key) * 16777619u;
	return h;
}

struct cf_toml *toml_lookup(const struct cf_toml *table, const char *key)
{
	uint32_t hash = toml_hash(key);

	for (size_t i = 0; i < table->count; i++) {
		struct cf_toml *v = table->items[i];

		if (v->key_hash == hash && cf_streq(v->key, key))
			return v;
	}
	return NULL;
}

static bool is_container(const struct cf_toml *v)
{
	return v && (v->kind == CF_TOML_ARRAY || v->kind == CF_TOML_TABLE);
}

struct cf_toml *cf_toml_free(struct cf_toml *root)
{
	if (!root)
		return NULL;
	/* Recursion is bounded: the parser nests at most CF_TOML_DEPTH_MAX deep. */
	if (is_container(root)) {
		for (size_t i = 0; i < root->count; i++)
			cf_toml_free(root->items[i]);
		free(root->items);
	} else if (root->kind == CF_TOML_STRING || root->kind == CF_TOML_DATETIME) {
		free(root->text);
	}
	free(root->key);
	free(root);
	return NULL;
}

int cf_toml_read_file(const char *path, size_t max, struct cf_toml **ret, struct cf_err *err)
{
	struct cf_buf text = { .max = CF_MIN(max, (size_t)CF_TOML_SIZE_MAX) };
	int r = cf_read_file(path, text.max, &text, err);

	if (r == 0) {
		r = cf_toml_parse(cf_buf_view(&text), ret, err);
		if (r < 0)
			r = cf_wrap(err, r, "%s", path);
	}
	cf_buf_fini(&text);
	return r;
}

/* ---- walking ---- */

enum cf_toml_kind cf_toml_kind(const struct cf_toml *v)
{
	return v->kind;
}

const char *cf_toml_kind_name(enum cf_toml_kind kind)
{
	static const char *const names[] = {
		[CF_TOML_STRING] = "string", [CF_TOML_INT] = "integer",   [CF_TOML_FLOAT] = "float",
		[CF_TOML_BOOL] = "boolean",  [CF_TOML_DATETIME] = "date", [CF_TOML_ARRAY] = "array",
		[CF_TOML_TABLE] = "table",
	};

	return names[kind];
}

bool cf_toml_is(const struct cf_toml *v, enum cf_toml_kind kind)
{
	return v && v->kind == kind;
}

unsigned cf_toml_line(const struct cf_toml *v)
{
	return v ? v->line : 0;
}

const struct cf_toml *cf_toml_get(const struct cf_toml *table, const char *key)
{
	return cf_toml_is(table, CF_TOML_TABLE) ? toml_lookup(table, key) : NULL;
}

const struct cf_toml *cf_toml_find(const struct cf_toml *root, const char *path)
{
	struct cf_strv keys = { 0 };
	const struct cf_toml *v = root;

	cf_strv_split(&keys, cf_view_str(path), '.');
	for (size_t i = 0; v && i < keys.count; i++)
		v = cf_toml_get(v, keys.items[i]);
	cf_strv_fini(&keys);
	return v;
}

size_t cf_toml_count(const struct cf_toml *v)
{
	return is_container(v) ? v->count : 0;
}

const struct cf_toml *cf_toml_at(const struct cf_toml *v, size_t i)
{
	return i < cf_toml_count(v) ? v->items[i] : NULL;
}

const char *cf_toml_key_at(const struct cf_toml *table, size_t i)
{
	const struct cf_toml *v = cf_toml_at(table, i);

	return v ? v->key : NULL;
}

const char *cf_toml_str(const struct cf_toml *v)
{
	if (cf_toml_is(v, CF_TOML_STRING) || cf_toml_is(v, CF_TOML_DATETIME))
		return v->text;
	return NULL;
}

int64_t cf_toml_int(const struct cf_toml *v)
{
	return cf_toml_is(v, CF_TOML_INT) ? v->i : 0;
}

double cf_toml_float(const struct cf_toml *v)
{
	if (cf_toml_is(v, CF_TOML_INT))
		return (double)v->i;
	return cf_toml_is(v, CF_TOML_FLOAT) ? v->f : 0;
}

bool cf_toml_bool(const struct cf_toml *v)
{
	return cf_toml_is(v, CF_TOML_BOOL) && v->b;
}

/* ---- configuration ---- */

static int wrong_type(const struct cf_toml *v, const char *key, const char *want,
                      struct cf_err *err)
{
	return cf_fail(err, CF_INVALID_ARGUMENT, "line %u: %s is of type %s, want %s", v->line, key,
	               cf_toml_kind_name(v->kind), want);
}

int cf_toml_get_str(const struct cf_toml *table, const char *key, const char *fallback,
                    const char **ret, struct cf_err *err)
{
	const struct cf_toml *v = cf_toml_get(table, key);

	if (v && v->kind != CF_TOML_STRING)
		return wrong_type(v, key, "string", err);
	*ret = v ? v->text : fallback;
	return 0;
}

int cf_toml_get_bool(const struct cf_toml *table, const char *key, bool fallback, bool *ret,
                     struct cf_err *err)
{
	const struct cf_toml *v = cf_toml_get(table, key);

	if (v && v->kind != CF_TOML_BOOL)
		return wrong_type(v, key, "boolean", err);
	*ret = v ? v->b : fallback;
	return 0;
}

int cf_toml_get_int(const struct cf_toml *table, const char *key, int64_t min, int64_t max,
                    int64_t fallback, int64_t *ret, struct cf_err *err)
{
	const struct cf_toml *v = cf_toml_get(table, key);

	if (v && v->kind != CF_TOML_INT)
		return wrong_type(v, key, "integer", err);
	if (v && (v->i < min || v->i > max))
		return cf_fail(err, CF_OUT_OF_RANGE, "line %u: %s = %lld, want %lld to %lld",
		               v->line, key, (long long)v->i, (long long)min, (long long)max);
	*ret = v ? v->i : fallback;
	return 0;
}

int cf_toml_get_strv(const struct cf_toml *table, const char *key, struct cf_strv *ret,
                     struct cf_err *err)
{
	const struct cf_toml *v = cf_toml_get(table, key);

	if (v && v->kind != CF_TOML_ARRAY)
		return wrong_type(v, key, "array of strings", err);
	for (size_t i = 0; i < cf_toml_count(v); i++)
		if (v->items[i]->kind != CF_TOML_STRING)
			return wrong_type(v->items[i], key, "string in each place", err);
	for (size_t i = 0; i < cf_toml_count(v); i++)
		cf_strv_add(ret, v->items[i]->text);
	return 0;
}

int cf_toml_get_table(const struct cf_toml *table, const char *key, const struct cf_toml **ret,
                      struct cf_err *err)
{
	const struct cf_toml *v = cf_toml_get(table, key);

	if (v && v->kind != CF_TOML_TABLE)
		return wrong_type(v, key, "table", err);
	*ret = v;
	return 0;
}

static bool is_known(const char *const *known, const char *key)
{
	for (; *known; known++)
		if (cf_streq(*known, key))
			return true;
	return false;
}

int cf_toml_only(const struct cf_toml *table, const char *const *known, struct cf_err *err)
{
	for (size_t i = 0; i < cf_toml_count(table); i++)
		if (!is_known(known, table->items[i]->key))
			return cf_fail(err, CF_INVALID_ARGUMENT, "line %u: unknown key \"%s\"",
			               table->items[i]->line, table->items[i]->key);
	return 0;
}

/* ---- writing ---- */

static bool is_bare(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_' || c == '-';
}

void cf_toml_add_line(struct cf_buf *b, const char *text)
{
	cf_buf_add_byte(b, '"');
	for (; *text; text++) {
		uint8_t c = (uint8_t)*text;

		if (c == '"' || c == '\\')
			cf_buf_printf(b, "\\%c", c);
		else if (c == '\n')
			cf_buf_add_str(b, "\\n");
		else if (c == '\r')
			cf_buf_add_str(b, "\\r");
		else if (c == '\t')
			cf_buf_add_str(b, "\\t");
		else if (c < 0x20 || c == 0x7f)
			cf_buf_printf(b, "\\u%04x", c);
		else
			cf_buf_add_byte(b, c);
	}
	cf_buf_add_byte(b, '"');
}

void cf_toml_add_key(struct cf_buf *b, const char *key)
{
	const char *p = key;

	while (is_bare(*p))
		p++;
	if (*key && !*p)
		cf_buf_add_str(b, key);
	else
		cf_toml_add_line(b, key);
}

/* A literal block holds its text unchanged, so it must contain nothing that the reader would alter. */
static bool fits_literal(const char *text)
{
	size_t n = strlen(text);

	if (!strchr(text, '\n') || strstr(text, "'''") || (n && text[n - 1] == '\''))
		return false;
	for (; *text; text++) {
		uint8_t c = (uint8_t)*text;

		if ((c < 0x20 && c != '\t' && c != '\n') || c == 0x7f)
			return false;
	}
	return true;
}

void cf_toml_add_string(struct cf_buf *b, const char *text)
{
	if (!fits_literal(text)) {
		cf_toml_add_line(b, text);
		return;
	}
	cf_buf_add_str(b, "'''\n");
	cf_buf_add_str(b, text);
	cf_buf_add_str(b, "'''");
}
