/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Secrets: bytes that are wiped when freed, kept out of core dumps and of swap where the system
 * lets us, and compared in constant time. No formatter exists for them: they cannot be logged by
 * mistake.
 */
#include "base/bytes.h"

#define CF_SECRET_MAX (1u << 20)

struct cf_secret; /* opaque; its bytes never move */

/* Zero-filled secret of @size bytes, to be filled through cf_secret_data(). */
cf_must_use int cf_secret_new(size_t size, struct cf_secret **ret, struct cf_err *err);
/* A copy of @v. Wipe the source yourself. */
cf_must_use int cf_secret_copy(struct cf_view v, struct cf_secret **ret, struct cf_err *err);
/* Moves what @b holds into a secret and wipes @b, on failure too. */
cf_must_use int cf_secret_take_buf(struct cf_buf *b, struct cf_secret **ret, struct cf_err *err);
/* A file's whole content, at most CF_SECRET_MAX; no intermediate copy is left behind. */
cf_must_use int cf_secret_read_file(const char *path, struct cf_secret **ret, struct cf_err *err);
struct cf_secret *cf_secret_free(struct cf_secret *s); /* wipes; NULL is fine; returns NULL */
CF_DEFINE_CLEANUP(struct cf_secret *, cf_secret_free);

struct cf_view cf_secret_view(const struct cf_secret *s); /* borrowed; empty for NULL */
uint8_t *cf_secret_data(struct cf_secret *s);
void cf_secret_truncate(struct cf_secret *s, size_t size); /* only shrinks; wipes the tail */

/* For main() of a program that holds keys: no core dumps, not ptraceable by its own uid. */
void cf_secret_harden_process(void);
