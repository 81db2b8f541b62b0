/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * JSON: the door to json-c. A document is first read by our own strict scanner, which refuses what
 * json-c lets through (duplicate keys, single quotes, NaN and Infinity, NUL in strings, bad UTF-8,
 * trailing text, depth over CF_JSON_DEPTH_MAX); only then json-c builds the tree. A tree never
 * changes once parsed. Signed or hashed documents: hash the raw bytes, never a re-serialisation.
 */
#include "base/bytes.h"

#define CF_JSON_DEPTH_MAX 32
#define CF_JSON_SIZE_MAX  (4u << 20)

struct cf_json; /* a parsed document or a value inside it; values are borrowed from the root */

/*
 * @max: bytes, 0 stands for CF_JSON_SIZE_MAX. @ret is freed with cf_json_free().
 * Return: 0, -CF_INVALID_ARGUMENT (says the offset), -CF_RESOURCE_EXHAUSTED (size, depth).
 */
cf_must_use int cf_json_parse(struct cf_view text, size_t max, struct cf_json **ret,
                              struct cf_err *err);
/* The scanner alone (also a fuzz target). */
cf_must_use int cf_json_scan(struct cf_view text, size_t max, struct cf_err *err);
struct cf_json *cf_json_free(struct cf_json *root);
CF_DEFINE_CLEANUP(struct cf_json *, cf_json_free);

enum cf_json_type {
	CF_JSON_NULL,
	CF_JSON_BOOL,
	CF_JSON_INT,
	CF_JSON_DOUBLE,
	CF_JSON_STRING,
	CF_JSON_ARRAY,
	CF_JSON_OBJECT,
};
enum cf_json_type cf_json_type(const struct cf_json *v); /* NULL counts as CF_JSON_NULL */

/* Lenient getters: NULL, 0 or an empty view when @v is absent or of another type. */
const struct cf_json *cf_json_get(const struct cf_json *obj, const char *key);
size_t cf_json_len(const struct cf_json *v); /* members of an array or object */
const struct cf_json *cf_json_at(const struct cf_json *arr, size_t i);
struct cf_view cf_json_str(const struct cf_json *v);
bool cf_json_is_true(const struct cf_json *v);
/* Walks an object's members in document order: start with *it = NULL; false at the end. */
bool cf_json_next(const struct cf_json *obj, void **it, const char **ret_key,
                  const struct cf_json **ret_value);

/*
 * Typed getters for members of @obj: -CF_INVALID_ARGUMENT names the key when it is absent or of
 * another type. The _opt forms leave *ret alone when the key is absent or null.
 */
cf_must_use int cf_json_need_str(const struct cf_json *obj, const char *key, struct cf_view *ret,
                                 struct cf_err *err);
cf_must_use int cf_json_opt_str(const struct cf_json *obj, const char *key, struct cf_view *ret,
                                struct cf_err *err);
/* A NUL-terminated copy; the caller frees. */
cf_must_use int cf_json_dup_str(const struct cf_json *obj, const char *key, char **ret,
                                struct cf_err *err);
cf_must_use int cf_json_need_u64(const struct cf_json *obj, const char *key, uint64_t *ret,
                                 struct cf_err *err);
cf_must_use int cf_json_opt_u64(const struct cf_json *obj, const char *key, uint64_t *ret,
                                struct cf_err *err);
cf_must_use int cf_json_need(const struct cf_json *obj, const char *key, enum cf_json_type type,
                             const struct cf_json **ret, struct cf_err *err);
/* String member, base64 of @kind, decoded and appended to @ret. */
cf_must_use int cf_json_need_b64(const struct cf_json *obj, const char *key, int kind,
                                 struct cf_buf *ret, struct cf_err *err);
int64_t cf_json_int(const struct cf_json *v); /* 0 when it is none; saturates */

/* Serialises a value compactly, keys in document order (for messages and for building new ones). */
void cf_json_print(const struct cf_json *v, struct cf_buf *out);
/* The same with keys sorted bytewise at every level. */
void cf_json_print_sorted(const struct cf_json *v, struct cf_buf *out);

/* ---- writing: a small emitter that puts the commas ---- */

struct cf_jw {
	struct cf_buf *out;
	bool need_comma;
	bool pretty; /* two spaces of indent, one member a line */
	int depth;
};
void cf_jw_obj(struct cf_jw *w);     /* { */
void cf_jw_end_obj(struct cf_jw *w); /* } */
void cf_jw_arr(struct cf_jw *w);
void cf_jw_end_arr(struct cf_jw *w);
void cf_jw_key(struct cf_jw *w, const char *key);
void cf_jw_str(struct cf_jw *w, const char *s); /* NULL writes null */
void cf_jw_view(struct cf_jw *w, struct cf_view v);
void cf_jw_int(struct cf_jw *w, int64_t v);
void cf_jw_uint(struct cf_jw *w, uint64_t v);
void cf_jw_bool(struct cf_jw *w, bool v);
void cf_jw_null(struct cf_jw *w);
void cf_jw_b64(struct cf_jw *w, int kind, struct cf_view v);
void cf_jw_hex(struct cf_jw *w, struct cf_view v);
void cf_jw_raw(struct cf_jw *w, struct cf_view json); /* ready JSON, unchecked */
void cf_jw_json(struct cf_jw *w, const struct cf_json *v);
/* key and value in one call */
void cf_jw_kstr(struct cf_jw *w, const char *key, const char *s);
void cf_jw_kview(struct cf_jw *w, const char *key, struct cf_view v);
void cf_jw_kuint(struct cf_jw *w, const char *key, uint64_t v);
void cf_jw_kint(struct cf_jw *w, const char *key, int64_t v);
void cf_jw_kbool(struct cf_jw *w, const char *key, bool v);
