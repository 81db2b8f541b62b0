/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"

#include <json-c/json.h>

/*
 * struct cf_json is json-c's object under another name: the only cast between them is here, so that
 * nobody else sees json-c.
 */
static struct json_object *raw(const struct cf_json *v)
{
	return (struct json_object *)(uintptr_t)v;
}

static const struct cf_json *val(struct json_object *o)
{
	return (const struct cf_json *)o;
}

int cf_json_parse(struct cf_view text, size_t max, struct cf_json **ret, struct cf_err *err)
{
	int r = cf_json_scan(text, max, err);

	if (r < 0)
		return r;
	struct json_tokener *tok = json_tokener_new_ex(CF_JSON_DEPTH_MAX + 1);
	if (!tok)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "JSON: no memory");
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	struct json_object *root =
		json_tokener_parse_ex(tok, (const char *)text.data, (int)text.size);
	enum json_tokener_error e = json_tokener_get_error(tok);
	/* A bare number at the top has no end of its own: a space tells json-c that it is over. */
	if (!root && e == json_tokener_continue) {
		root = json_tokener_parse_ex(tok, " ", 1);
		e = json_tokener_get_error(tok);
	}
	json_tokener_free(tok);
	if (e != json_tokener_success) {
		json_object_put(root);
		return cf_fail(err, CF_INVALID_ARGUMENT, "JSON: %s", json_tokener_error_desc(e));
	}
	if (!root)
		return cf_fail(err, CF_INVALID_ARGUMENT, "JSON: the document is null");
	*ret = (struct cf_json *)root;
	return 0;
}

struct cf_json *cf_json_free(struct cf_json *root)
{
	json_object_put(raw(root));
	return NULL;
}

enum cf_json_type cf_json_type(const struct cf_json *v)
{
	switch (json_object_get_type(raw(v))) {
	case json_type_boolean:
		return CF_JSON_BOOL;
	case json_type_int:
		return CF_JSON_INT;
	case json_type_double:
		return CF_JSON_DOUBLE;
	case json_type_string:
		return CF_JSON_STRING;
	case json_type_array:
		return CF_JSON_ARRAY;
	case json_type_object:
		return CF_JSON_OBJECT;
	case json_type_null:
		break;
	}
	return CF_JSON_NULL;
}

const struct cf_json *cf_json_get(const struct cf_json *obj, const char *key)
{
	struct json_object *o = NULL;

	if (cf_json_type(obj) == CF_JSON_OBJECT)
		json_object_object_get_ex(raw(obj), key, &o);
	return val(o);
}

size_t cf_json_len(const struct cf_json *v)
{
	if (cf_json_type(v) == CF_JSON_ARRAY)
		return json_object_array_length(raw(v));
	if (cf_json_type(v) == CF_JSON_OBJECT)
		return (size_t)json_object_object_length(raw(v));
	return 0;
}

const struct cf_json *cf_json_at(const struct cf_json *arr, size_t i)
{
	if (cf_json_type(arr) != CF_JSON_ARRAY || i >= cf_json_len(arr))
		return NULL;
	return val(json_object_array_get_idx(raw(arr), i));
}

struct cf_view cf_json_str(const struct cf_json *v)
{
	if (cf_json_type(v) != CF_JSON_STRING)
		return cf_view(NULL, 0);
	return cf_view(json_object_get_string(raw(v)), (size_t)json_object_get_string_len(raw(v)));
}

bool cf_json_is_true(const struct cf_json *v)
{
	return cf_json_type(v) == CF_JSON_BOOL && json_object_get_boolean(raw(v));
}

int64_t cf_json_int(const struct cf_json *v)
{
	return cf_json_type(v) == CF_JSON_INT ? json_object_get_int64(raw(v)) : 0;
}

bool cf_json_next(const struct cf_json *obj, void **it, const char **ret_key,
                  const struct cf_json **ret_value)
{
	struct lh_entry *e = *it;

	if (cf_json_type(obj) != CF_JSON_OBJECT)
		return false;
	e = e ? lh_entry_next(e) : lh_table_head(json_object_get_object(raw(obj)));
	if (!e)
		return false;
	*it = e;
	*ret_key = lh_entry_k(e);
	*ret_value = val(lh_entry_v(e));
	return true;
}

static const char *const type_names[] = {
	[CF_JSON_NULL] = "null",        [CF_JSON_BOOL] = "a boolean",  [CF_JSON_INT] = "an integer",
	[CF_JSON_DOUBLE] = "a number",  [CF_JSON_STRING] = "a string", [CF_JSON_ARRAY] = "an array",
	[CF_JSON_OBJECT] = "an object",
};

int cf_json_need(const struct cf_json *obj, const char *key, enum cf_json_type type,
                 const struct cf_json **ret, struct cf_err *err)
{
	const struct cf_json *v = cf_json_get(obj, key);

	if (!v)
		return cf_fail(err, CF_INVALID_ARGUMENT, "member '%s' is missing", key);
	if (cf_json_type(v) != type)
		return cf_fail(err, CF_INVALID_ARGUMENT, "member '%s' is %s where %s is due", key,
		               type_names[cf_json_type(v)], type_names[type]);
	*ret = v;
	return 0;
}

int cf_json_need_str(const struct cf_json *obj, const char *key, struct cf_view *ret,
                     struct cf_err *err)
{
	const struct cf_json *v;
	int r = cf_json_need(obj, key, CF_JSON_STRING, &v, err);

	if (r == 0)
		*ret = cf_json_str(v);
	return r;
}

int cf_json_opt_str(const struct cf_json *obj, const char *key, struct cf_view *ret,
                    struct cf_err *err)
{
	return cf_json_get(obj, key) ? cf_json_need_str(obj, key, ret, err) : 0;
}

int cf_json_dup_str(const struct cf_json *obj, const char *key, char **ret, struct cf_err *err)
{
	struct cf_view v;
	int r = cf_json_need_str(obj, key, &v, err);

	if (r == 0)
		*ret = cf_view_dup(v);
	return r;
}

int cf_json_need_u64(const struct cf_json *obj, const char *key, uint64_t *ret, struct cf_err *err)
{
	const struct cf_json *v;
	int r = cf_json_need(obj, key, CF_JSON_INT, &v, err);

	if (r < 0)
		return r;
	if (json_object_get_int64(raw(v)) < 0)
		return cf_fail(err, CF_INVALID_ARGUMENT, "member '%s' is negative", key);
	*ret = json_object_get_uint64(raw(v));
	return 0;
}

int cf_json_opt_u64(const struct cf_json *obj, const char *key, uint64_t *ret, struct cf_err *err)
{
	return cf_json_get(obj, key) ? cf_json_need_u64(obj, key, ret, err) : 0;
}

int cf_json_need_b64(const struct cf_json *obj, const char *key, int kind, struct cf_buf *ret,
                     struct cf_err *err)
{
	struct cf_view v;
	int r = cf_json_need_str(obj, key, &v, err);

	if (r < 0)
		return r;
	r = cf_b64_decode((enum cf_b64)kind, v, ret, err);
	return r < 0 ? cf_wrap(err, r, "member '%s'", key) : 0;
}

static int compare_keys(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void print_object(const struct cf_json *v, bool sorted, struct cf_jw *w);

static void print_value(const struct cf_json *v, bool sorted, struct cf_jw *w)
{
	switch (cf_json_type(v)) {
	case CF_JSON_OBJECT:
		print_object(v, sorted, w);
		return;
	case CF_JSON_ARRAY:
		cf_jw_arr(w);
		for (size_t i = 0; i < cf_json_len(v); i++)
			print_value(cf_json_at(v, i), sorted, w);
		cf_jw_end_arr(w);
		return;
	case CF_JSON_STRING:
		cf_jw_view(w, cf_json_str(v));
		return;
	case CF_JSON_NULL:
	case CF_JSON_BOOL:
	case CF_JSON_INT:
	case CF_JSON_DOUBLE:
		cf_jw_raw(w, cf_view_str(json_object_to_json_string_ext(raw(v),
		                                                        JSON_C_TO_STRING_PLAIN)));
	}
}

static void print_object(const struct cf_json *v, bool sorted, struct cf_jw *w)
{
	size_t n = cf_json_len(v), i = 0;
	cf_cleanup(cf_freep) const char **keys = cf_zalloc_n(n, sizeof(*keys));
	const struct cf_json *ignored;

	for (void *it = NULL; i < n && cf_json_next(v, &it, &keys[i], &ignored);)
		i++;
	if (sorted)
		qsort(keys, n, sizeof(*keys), compare_keys);
	cf_jw_obj(w);
	for (i = 0; i < n; i++) {
		cf_jw_key(w, keys[i]);
		print_value(cf_json_get(v, keys[i]), sorted, w);
	}
	cf_jw_end_obj(w);
}

void cf_json_print(const struct cf_json *v, struct cf_buf *out)
{
	print_value(v, false, &(struct cf_jw){ .out = out });
}

void cf_json_print_sorted(const struct cf_json *v, struct cf_buf *out)
{
	print_value(v, true, &(struct cf_jw){ .out = out });
}

void cf_jw_json(struct cf_jw *w, const struct cf_json *v)
{
	print_value(v, false, w);
}
