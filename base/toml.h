/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * TOML 1.0: configuration files, native policies and initdata. The text may be hostile.
 *
 * The whole language is read; two things are refused on purpose: a NUL character in a string
 * (\u0000), so that every text is a C string, and what exceeds the limits below. Dates and times
 * are checked and kept as text. Source: toml.io, v1.0.0.
 */
#include "base/bytes.h"
#include "base/str.h"

#define CF_TOML_SIZE_MAX  (64u << 20) /* bytes of text */
#define CF_TOML_DEPTH_MAX 32u         /* tables, arrays and dotted keys inside each other */
#define CF_TOML_NODES_MAX 65536u      /* values, tables and arrays in one document */
#define CF_TOML_KEYS_MAX  4096u       /* keys in one table */

enum cf_toml_kind {
	CF_TOML_STRING,
	CF_TOML_INT,
	CF_TOML_FLOAT,
	CF_TOML_BOOL,
	CF_TOML_DATETIME, /* offset or local, date or time: the text as written */
	CF_TOML_ARRAY,
	CF_TOML_TABLE,
};

struct cf_toml; /* a value; all values of a document are owned by its root */

/**
 * cf_toml_parse() - read a document
 * @text:  the document, borrowed for the call
 * @ret:   the root, a table; the caller frees it
 *
 * Return: 0, -CF_INVALID_ARGUMENT ("line N: …"), -CF_RESOURCE_EXHAUSTED (a limit above).
 */
cf_must_use int cf_toml_parse(struct cf_view text, struct cf_toml **ret, struct cf_err *err);
/* As cf_toml_parse() of a file's content, at most @max bytes; the message names the file. */
cf_must_use int cf_toml_read_file(const char *path, size_t max, struct cf_toml **ret,
                                  struct cf_err *err);
struct cf_toml *cf_toml_free(struct cf_toml *root); /* roots only; NULL is fine; returns NULL */
CF_DEFINE_CLEANUP(struct cf_toml *, cf_toml_free);

/* ---- walking: everything returned is borrowed from the root; NULL in, NULL or 0 out ---- */

enum cf_toml_kind cf_toml_kind(const struct cf_toml *v);
const char *cf_toml_kind_name(enum cf_toml_kind kind);            /* "string", "table", … */
bool cf_toml_is(const struct cf_toml *v, enum cf_toml_kind kind); /* false for NULL */
unsigned cf_toml_line(const struct cf_toml *v);                   /* from 1 */

/* The value of @key, or NULL when @table is no table or has none. */
const struct cf_toml *cf_toml_get(const struct cf_toml *table, const char *key);
/* Walks "token_configs.kbs.url"; for keys without a dot in them. */
const struct cf_toml *cf_toml_find(const struct cf_toml *root, const char *path);
/* Members of a table, in the order they were written, or elements of an array. */
size_t cf_toml_count(const struct cf_toml *v);
const struct cf_toml *cf_toml_at(const struct cf_toml *v, size_t i);
const char *cf_toml_key_at(const struct cf_toml *table, size_t i);

/* The text of a string or datetime; NULL for other kinds. */
const char *cf_toml_str(const struct cf_toml *v);
int64_t cf_toml_int(const struct cf_toml *v);  /* 0 for other kinds */
double cf_toml_float(const struct cf_toml *v); /* ints too */
bool cf_toml_bool(const struct cf_toml *v);

/* ---- configuration: a missing key gives the default, a wrong type an error with its line ---- */

/* *ret borrowed from the root (or @fallback). */
cf_must_use int cf_toml_get_str(const struct cf_toml *table, const char *key, const char *fallback,
                                const char **ret, struct cf_err *err);
cf_must_use int cf_toml_get_bool(const struct cf_toml *table, const char *key, bool fallback,
                                 bool *ret, struct cf_err *err);
/* Outside @min…@max is -CF_OUT_OF_RANGE. */
cf_must_use int cf_toml_get_int(const struct cf_toml *table, const char *key, int64_t min,
                                int64_t max, int64_t fallback, int64_t *ret, struct cf_err *err);
/* Copies an array of strings to the end of @ret. */
cf_must_use int cf_toml_get_strv(const struct cf_toml *table, const char *key, struct cf_strv *ret,
                                 struct cf_err *err);
/* *ret is NULL when missing. */
cf_must_use int cf_toml_get_table(const struct cf_toml *table, const char *key,
                                  const struct cf_toml **ret, struct cf_err *err);
/* -CF_INVALID_ARGUMENT naming the first key of @table that is not in @known (NULL-terminated). */
cf_must_use int cf_toml_only(const struct cf_toml *table, const char *const *known,
                             struct cf_err *err);

/* ---- writing ---- */

/* @key bare where it can be, quoted otherwise. */
void cf_toml_add_key(struct cf_buf *b, const char *key);
/*
 * @text as a TOML string: several lines become a '''literal''' when that gives the text back
 * exactly, everything else a "basic" string with escapes. @text must be UTF-8 without NUL.
 */
void cf_toml_add_string(struct cf_buf *b, const char *text);
/* As a "basic" string on one line, whatever it holds: for a document that goes into another. */
void cf_toml_add_line(struct cf_buf *b, const char *text);
