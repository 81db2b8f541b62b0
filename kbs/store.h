/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What the key service keeps: resources with their versions, which initdata may have them, reference
 * values, TPM roots, denials, and the audit log. One SQLite file; what was acknowledged survives a
 * power cut. Any thread.
 *
 * Resources are sealed at rest with AES-256-GCM under a key beside the database (storage.key); path
 * and version are authenticated with them, so rows cannot be swapped.
 *
 * The audit log is a chain: each line holds the SHA-256 of the line before it. It is written in the
 * transaction of what it records: nothing is released that is not in it.
 */
#include "base/db.h"
#include "base/json.h"
#include "base/secret.h"
#include "base/str.h"

#define STORE_RESOURCE_MAX  (1u << 20) /* bytes of one resource */
#define STORE_PATH_MAX      255u       /* characters of repository/type/tag */
#define STORE_RULES_MAX     256u       /* initdata digests listed for one path */
#define STORE_REFERENCE_MAX (256u << 10)
#define STORE_AUDIT_LINE    4096u
#define STORE_ANY_INITDATA  "any"

struct store;

/* @dir exists; the database and storage.key are made in it when absent. */
cf_must_use int store_open(const char *dir, struct store **ret, struct cf_err *err);
struct store *store_close(struct store *s);
CF_DEFINE_CLEANUP(struct store *, store_close);

/* Three parts of [A-Za-z0-9_-][A-Za-z0-9_.-]*. -CF_INVALID_ARGUMENT. */
cf_must_use int store_path_check(struct cf_view path, struct cf_err *err);
/* "sha256:" and 64 hex digits, "none", or "any". -CF_INVALID_ARGUMENT. */
cf_must_use int store_initdata_check(struct cf_view digest, struct cf_err *err);

/* Who does what, for the audit line. */
struct store_actor {
	const char *name; /* "admin", "guest", … */
	const char *peer; /* address; may be NULL */
};

/* ---- resources ---- */

/*
 * A new version of @path; @initdata lists who may have it (replaces the list when @count > 0).
 * *ret_version counts from 1.
 */
cf_must_use int store_resource_put(struct store *s, const struct store_actor *who, const char *path,
                                   struct cf_view value, const char *const *initdata, size_t count,
                                   int64_t *ret_version, struct cf_err *err);
/* -CF_NOT_FOUND. */
cf_must_use int store_resource_delete(struct store *s, const struct store_actor *who,
                                      const char *path, struct cf_err *err);
/* JSON list: path, version, size, time, initdata. */
cf_must_use int store_resource_list(struct store *s, struct cf_buf *ret, struct cf_err *err);

/* The decision over one release; see kbs/release.h. 0 or -CF_PERMISSION_DENIED. */
typedef int (*store_decide)(void *user, const struct cf_strv *listed, struct cf_err *err);
/*
 * Reads the newest version of @path when @decide says yes; both answers go into the audit log, with
 * @note (a session or token id, may be NULL) and @ref (of a denial, may be NULL).
 * Return: 0, -CF_NOT_FOUND, what @decide returned, -CF_DATA_LOSS (the sealed value does not open).
 */
cf_must_use int store_resource_release(struct store *s, const struct store_actor *who,
                                       const char *path, const char *note, store_decide decide,
                                       void *user, struct cf_secret **ret, struct cf_err *err);

/* ---- reference values ---- */

/* @values: a JSON object, id → value or list. Replaces each id named; the others stay. */
cf_must_use int store_reference_put(struct store *s, const struct store_actor *who,
                                    const struct cf_json *values, const char *reason,
                                    struct cf_err *err);
cf_must_use int store_reference_delete(struct store *s, const struct store_actor *who,
                                       const char *id, struct cf_err *err);
/* One JSON object of all values that have not expired. */
cf_must_use int store_reference_all(struct store *s, struct cf_buf *ret, struct cf_err *err);

/* ---- TPM roots ---- */

/* @row: {"pem","kind","ek_allow":[…],"accept":bool}, checked by the caller. @sha256: its key. */
cf_must_use int store_tpm_root_put(struct store *s, const struct store_actor *who,
                                   const char *sha256, struct cf_view row, struct cf_err *err);
/* JSON list of the rows. */
cf_must_use int store_tpm_root_all(struct store *s, struct cf_buf *ret, struct cf_err *err);
cf_must_use int store_tpm_root_delete(struct store *s, const struct store_actor *who,
                                      const char *sha256, struct cf_err *err);

/* ---- verdicts that were no ---- */

/*
 * Keeps a verdict's record under @ref (of a denial, or the beginning of a session's id when it was a
 * yes), the last DENIALS_KEPT of them, and writes the audit line of the attestation.
 */
cf_must_use int store_attestation(struct store *s, const struct store_actor *who, const char *tee,
                                  const char *result, const char *note, const char *ref,
                                  struct cf_view record, struct cf_err *err);
/* -CF_NOT_FOUND. */
cf_must_use int store_denial_get(struct store *s, const char *ref, struct cf_buf *ret,
                                 struct cf_err *err);

/* ---- audit ---- */

/* JSON lines from @from_seq on, at most @max. */
cf_must_use int store_audit_export(struct store *s, int64_t from_seq, size_t max,
                                   struct cf_buf *ret, struct cf_err *err);
struct store_audit_state {
	int64_t count;
	char head[65]; /* SHA-256 of the last line */
};
/*
 * Walks the whole chain. @known_head (may be NULL) must be in it.
 * Return: 0, -CF_DATA_LOSS naming the first line that does not fit.
 */
cf_must_use int store_audit_verify(struct store *s, const char *known_head,
                                   struct store_audit_state *ret, struct cf_err *err);
/* Any other administrative act. */
cf_must_use int store_audit_note(struct store *s, const struct store_actor *who, const char *action,
                                 const char *object, const char *result, struct cf_err *err);
