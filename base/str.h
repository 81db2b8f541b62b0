/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Text: char * that is known to be terminated, and lists of it. Allocating calls abort when memory
 * is gone; the caller frees.
 */
#include "base/bytes.h"

char *cf_strdup(const char *s); /* NULL gives NULL */
char *cf_strndup(const char *s, size_t n);
char *cf_asprintf(const char *fmt, ...) cf_printf(1, 2);
bool cf_streq(const char *a, const char *b); /* NULL equals NULL only */
bool cf_starts_with(const char *s, const char *prefix);
bool cf_ends_with(const char *s, const char *suffix);
const char *cf_after(const char *s, const char *prefix); /* rest behind @prefix, or NULL */

/* Decimal digits only, no sign, no space, whole text, at most @max. -CF_INVALID_ARGUMENT otherwise. */
cf_must_use int cf_parse_u64(struct cf_view text, uint64_t max, uint64_t *ret, struct cf_err *err);
/* "512", "64k", "16M", "2G": powers of 1024. */
cf_must_use int cf_parse_size(struct cf_view text, uint64_t max, uint64_t *ret, struct cf_err *err);

/* A NULL-terminated list of strings, as execve takes it. { 0 } is an empty list. */
struct cf_strv {
	char **items; /* NULL while empty */
	size_t count;
	size_t cap;
};

void cf_strv_add(struct cf_strv *v, const char *s); /* copies */
void cf_strv_add_take(struct cf_strv *v, char *s);  /* owns @s from now on */
void cf_strv_addf(struct cf_strv *v, const char *fmt, ...) cf_printf(2, 3);
bool cf_strv_has(const struct cf_strv *v, const char *s);
void cf_strv_fini(struct cf_strv *v);
/* Splits @text at each @sep; keeps empty pieces. */
void cf_strv_split(struct cf_strv *v, struct cf_view text, char sep);
char *cf_strv_join(const struct cf_strv *v, const char *sep);
