/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Looks for /etc/passwd and /etc/group in one layer, for hosts that keep no layer: the blob goes in,
 * two short texts come out. Inflating and reading the tar happen in a sandboxed process; what it says
 * is as hostile as the layer itself.
 */
#include "base/bytes.h"

#define LAYER_USERS_FILES    2u    /* passwd, group */
#define LAYER_USERS_TEXT_MAX 3000u /* bytes of one; a longer file is cut at the end of a line */
#define LAYER_USERS_WAIT_MS  5000  /* for the process to take or to say something */

struct layer_users_found {
	bool is_there[LAYER_USERS_FILES];      /* the layer says something about the file */
	struct cf_buf text[LAYER_USERS_FILES]; /* empty: it hides those of the layers below */
};
void layer_users_found_fini(struct layer_users_found *f);

struct layer_users;

/* Starts coffer-layer-helper, which lies beside this program. */
cf_must_use int layer_users_new(struct layer_users **ret, struct cf_err *err);
struct layer_users *layer_users_free(struct layer_users *u); /* NULL is fine; returns NULL */
CF_DEFINE_CLEANUP(struct layer_users *, layer_users_free);

#define LAYER_USERS_E_ENOUGH 1 /* it needs no more: go on to layer_users_finish() */
/* The next bytes of the blob. Return: 0, LAYER_USERS_E_ENOUGH, -CF_DEADLINE_EXCEEDED. */
cf_must_use int layer_users_feed(struct layer_users *u, struct cf_view blob, struct cf_err *err);
/*
 * No more bytes come. Return: 0; -CF_INVALID_ARGUMENT, -CF_RESOURCE_EXHAUSTED (the layer is no
 * layer), -CF_INTERNAL, -CF_PERMISSION_DENIED (the process failed), -CF_DEADLINE_EXCEEDED.
 */
cf_must_use int layer_users_finish(struct layer_users *u, struct layer_users_found *ret,
                                   struct cf_err *err);

/* What the process does with @in, bytes of a blob in order: for tests and fuzzing; no I/O. */
struct layer_users_reader;
struct layer_users_reader *layer_users_reader_new(void);
struct layer_users_reader *layer_users_reader_free(struct layer_users_reader *r);
/* Return: 0, LAYER_USERS_E_ENOUGH, -CF_INVALID_ARGUMENT, -CF_RESOURCE_EXHAUSTED. */
cf_must_use int layer_users_read(struct layer_users_reader *r, struct cf_view in,
                                 struct cf_err *err);
/* Moves what was found. */
void layer_users_take(struct layer_users_reader *r, struct layer_users_found *ret);
