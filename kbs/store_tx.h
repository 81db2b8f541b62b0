/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The store's inside, shared by the files that keep a part of it each; for kbs/store*.c alone. */
#include "base/db.h"
#include "kbs/store.h"

struct cf_db *store_db(struct store *s);
/* One line of the audit log, in the transaction of what it records. @note may be NULL. */
cf_must_use int store_audit_by(struct cf_db_tx *tx, const struct store_actor *who,
                               const char *action, const char *object, const char *result,
                               const char *note, struct cf_err *err);
