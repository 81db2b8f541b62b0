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

/*
 * The decision over one release; see kbs/release.h. @is_missing: there is no such resource, and
 * nothing is listed. 0 or -CF_PERMISSION_DENIED.
 */
typedef int (*store_decide)(void *user, const struct cf_strv *listed, bool is_missing,
                            struct cf_err *err);
struct store_release {
	const char *path;
	const char *note; /* for the audit line: a session or token, the rule; may be NULL */
	store_decide decide;
	void *user;
	/* Of a refusal: its reference in the audit line, and the record kept under it; may be empty. */
	const char *ref;
	struct cf_view record;
};
/*
 * Reads the newest version of a path when it is decided so; both answers go into the audit log.
 * Return: 0, -CF_NOT_FOUND, what .decide returned, -CF_DATA_LOSS (the sealed value does not open).
 */
cf_must_use int store_resource_release(struct store *s, const struct store_actor *who,
                                       const struct store_release *release, struct cf_secret **ret,
                                       struct cf_err *err);

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

/* ---- policies ---- */

#define STORE_POLICY_MAX   (1u << 20) /* bytes of one policy's text */
#define STORE_POLICIES_MAX 256u

enum store_policy_kind { STORE_POLICY_RESOURCE, STORE_POLICY_ATTESTATION };
const char *store_policy_kind_name(enum store_policy_kind kind); /* "resource", "attestation" */
/* -CF_NOT_FOUND: no such kind. */
cf_must_use int store_policy_kind_parse(struct cf_view text, enum store_policy_kind *ret,
                                        struct cf_err *err);
/* 1 to 64 of [A-Za-z0-9_-][A-Za-z0-9_.-]*. -CF_INVALID_ARGUMENT. */
cf_must_use int store_policy_id_check(struct cf_view id, struct cf_err *err);

/* Replaces the policy of this name; the caller has compiled it. *ret_version counts from 1. */
cf_must_use int store_policy_put(struct store *s, const struct store_actor *who,
                                 enum store_policy_kind kind, const char *id, struct cf_view text,
                                 int64_t *ret_version, struct cf_err *err);
/* -CF_NOT_FOUND. */
cf_must_use int store_policy_delete(struct store *s, const struct store_actor *who,
                                    enum store_policy_kind kind, const char *id,
                                    struct cf_err *err);

struct store_policy { /* borrowed for the call */
	enum store_policy_kind kind;
	struct cf_view id, text, time;
	int64_t version;
};
/*
 * All of them in one view of the store, ordered by kind and id; *ret_epoch as below. @each returns 0
 * to go on.
 */
cf_must_use int store_policy_all(struct store *s, int64_t *ret_epoch,
                                 int (*each)(void *user, const struct store_policy *p,
                                             struct cf_err *err),
                                 void *user, struct cf_err *err);
/* Grows with every change of a policy, whichever process made it; 0: there never was one. */
cf_must_use int store_policy_epoch(struct store *s, int64_t *ret, struct cf_err *err);

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
