/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Values: what Rego computes with. A value never changes once made; it lives in an arena and may
 * share its parts with other values of the same or a longer-living arena.
 *
 * Sets and objects are sorted arrays, so enumeration order, equality and printed order are one thing.
 * The order of types: null < boolean < number < string < array < object < set.
 */
#include "base/arena.h"

#define POLICY_VALUE_DEPTH_MAX 512 /* nesting of a composite */
#define POLICY_VALUE_WEIGHT_MAX                                                                    \
	(1u << 26)                    /* nodes of a composite, shared parts counted each time */
#define POLICY_STRING_MAX (16u << 20) /* bytes of a string that a builtin makes */

enum pv_type { PV_NULL, PV_BOOL, PV_NUM, PV_STR, PV_ARR, PV_OBJ, PV_SET };

struct pv {
	uint8_t type;
	bool is_text;    /* numbers: .num is set, the value is not a plain int64 */
	uint16_t depth;  /* composites: 1 + the deepest member */
	uint32_t len;    /* bytes, elements, or pairs */
	uint32_t weight; /* nodes in here, saturating */
	union {
		bool b;
		int64_t i;
		const char *s;              /* NUL-terminated beyond .len for convenience */
		const struct pv *const *at; /* elements; objects: key, value, key, value */
		const struct pv_num *num;
	};
};

/* A number that is no int64, or whose text differs from the int64's. */
struct pv_num {
	const char *text; /* as it was written; printed again */
	uint32_t text_len;
	bool is_neg;
	uint32_t digit_count; /* significant digits; 0: zero */
	int32_t exp;          /* value = 0.d1d2d3… × 10^exp */
	const char *digits;
};

extern const struct pv pv_null, pv_true, pv_false, pv_empty_str, pv_empty_arr, pv_empty_obj,
	pv_empty_set;

static inline const struct pv *pv_bool(bool b)
{
	return b ? &pv_true : &pv_false;
}
const struct pv *pv_int(struct cf_arena *a, int64_t i);
/* A copy of the bytes. NULL when they do not fit into the arena (which is over then). */
const struct pv *pv_str(struct cf_arena *a, struct cf_view v);
const struct pv *pv_cstr(struct cf_arena *a, const char *s);
/* @s stays where it is and outlives the value. */
const struct pv *pv_str_static(struct cf_arena *a, struct cf_view v);

static inline struct cf_view pv_view(const struct pv *v)
{
	return cf_view(v->s, v->len);
}
static inline bool pv_is_str(const struct pv *v, const char *s)
{
	return v->type == PV_STR && cf_view_eq_str(pv_view(v), s);
}
static inline bool pv_is_composite(const struct pv *v)
{
	return v->type >= PV_ARR;
}
static inline const struct pv *pv_obj_key(const struct pv *o, uint32_t i)
{
	return o->at[2 * (size_t)i];
}
static inline const struct pv *pv_obj_val(const struct pv *o, uint32_t i)
{
	return o->at[2 * (size_t)i + 1];
}

/* ---- vec: collects values, then becomes an array, set or object ---- */

struct pv_vec {
	struct cf_arena *arena;
	const struct pv **items;
	size_t count, cap;
};

static inline struct pv_vec pv_vec(struct cf_arena *a)
{
	return (struct pv_vec){ .arena = a };
}
/* A NULL value is not added: the arena is over then. */
void pv_vec_add(struct pv_vec *v, const struct pv *x);
void pv_vec_add_pair(struct pv_vec *v, const struct pv *key, const struct pv *val);
/* All take the vector's memory. */
const struct pv *pv_vec_array(struct pv_vec *v);
const struct pv *pv_vec_sorted(struct pv_vec *v); /* an array, in order */
/* An array of a relation's solutions, which may share parts so often that it weighs too much. */
const struct pv *pv_vec_solutions(struct pv_vec *v);
const struct pv *pv_vec_set(struct pv_vec *v);    /* sorts, drops duplicates */
const struct pv *pv_vec_object(struct pv_vec *v); /* sorts by key; the last of equal keys wins */
/* As pv_vec_object(), but two different values under one key: NULL and *ret_key is that key. */
const struct pv *pv_vec_object_unique(struct pv_vec *v, const struct pv **ret_key);

/* ---- reading ---- */

int pv_cmp(const struct pv *a, const struct pv *b); /* total order over all values */
bool pv_eq(const struct pv *a, const struct pv *b);
/* Value under @key, or NULL. */
const struct pv *pv_obj_get(const struct pv *o, const struct pv *key);
const struct pv *pv_obj_get_str(const struct pv *o, const char *key);
bool pv_set_has(const struct pv *s, const struct pv *x);
/* Array element by an integer number in range, object member, set element; NULL: undefined. */
const struct pv *pv_get(const struct pv *v, const struct pv *key);
/* Index of the first member ≥ @key in the sorted @v (object or set); *found says whether it is equal. */
uint32_t pv_find(const struct pv *v, const struct pv *key, bool *found);
const char *pv_type_name(const struct pv *v);
/* Copies @v into @a, all of it. NULL when over. */
const struct pv *pv_copy(struct cf_arena *a, const struct pv *v);

/* ---- writing ---- */

const struct pv *pv_obj_put(struct cf_arena *a, const struct pv *o, const struct pv *key,
                            const struct pv *val);
const struct pv *pv_obj_drop(struct cf_arena *a, const struct pv *o, const struct pv *key);

/* ---- str: builds a string value; over POLICY_STRING_MAX the arena is marked over ---- */

struct pv_sb {
	struct cf_arena *arena;
	char *data;
	size_t size, cap;
	bool is_bad;
};

static inline struct pv_sb pv_sb(struct cf_arena *a)
{
	return (struct pv_sb){ .arena = a };
}
void pv_sb_add(struct pv_sb *b, struct cf_view v);
void pv_sb_str(struct pv_sb *b, const char *s);
void pv_sb_byte(struct pv_sb *b, char c);
void pv_sb_rune(struct pv_sb *b, uint32_t rune); /* UTF-8; surrogates become U+FFFD */
void pv_sb_fmt(struct pv_sb *b, const char *fmt, ...) cf_printf(2, 3); /* short texts */
const struct pv *pv_sb_done(struct pv_sb *b);                          /* NULL when over */

size_t pv_rune_count(struct cf_view v); /* of UTF-8 */

/* ---- JSON and term text ---- */

#define POLICY_INPUT_MAX   (16u << 20) /* bytes of JSON */
#define POLICY_INPUT_DEPTH 128

struct pv_json_options {
	bool refuses_duplicates; /* of object keys; otherwise the last wins */
};
/* RFC 8259, whole text. Return: 0, -CF_INVALID_ARGUMENT, -CF_RESOURCE_EXHAUSTED. */
cf_must_use int pv_json_read(struct cf_arena *a, struct cf_view text,
                             const struct pv_json_options *opt, const struct pv **ret,
                             struct cf_err *err);

struct pv_json_style {
	bool is_html_safe; /* < > & U+2028 U+2029 as \uXXXX, as Go does */
	bool is_pretty;
	struct cf_view indent, prefix;
};
/* Sorted keys, sets as arrays. Goes bad in the buffer when over its max. */
void pv_json_write(struct pv_sb *b, const struct pv *v, const struct pv_json_style *style);
/* Rego's own notation: [1, "a"], {1, 2}, set(). */
void pv_term_write(struct pv_sb *b, const struct pv *v);
/* A string bare, anything else as term text. */
void pv_bare_write(struct pv_sb *b, const struct pv *v);
