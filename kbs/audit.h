/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The audit chain inside a transaction; for kbs/store.c alone. */
#include "base/db.h"

struct audit_line {
	const char *actor, *peer, *action, *object, *result, *note, *ref; /* any may be NULL */
};

/* Appends one line behind the last one, with its hash. */
cf_must_use int audit_append(struct cf_db_tx *tx, const struct audit_line *l, struct cf_err *err);
/* As store_audit_verify() says. */
cf_must_use int audit_verify(struct cf_db_tx *tx, const char *known_head, int64_t *ret_count,
                             char ret_head[65], struct cf_err *err);
cf_must_use int audit_export(struct cf_db_tx *tx, int64_t from_seq, size_t max, struct cf_buf *ret,
                             struct cf_err *err);
/* "2026-11-20T23:30:43Z" */
void audit_time(char out[32]);
