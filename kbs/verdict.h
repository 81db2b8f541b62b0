/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A verdict: what a verifier found out about one piece of evidence, check by check, so that a "no"
 * can say which measurement differed, what was expected, what was seen and what to do next.
 *
 * Checks come in two weights. A bad *evidence* check (signature, nonce, replay, binding) means that
 * the evidence proves nothing: the verdict is refused. A bad *appraisal* check (a measurement that is
 * not approved) leaves genuine evidence of an unwanted machine: the trust vector says so.
 * Strings here may hold what the guest sent: hostile, printed escaped.
 */
#include "base/bytes.h"
#include "base/json.h"
#include "base/str.h"

/* The trust vector of an EAR (draft-ietf-rats-ar4si): one small number per aspect. */
enum verdict_aspect {
	VERDICT_INSTANCE,
	VERDICT_CONFIGURATION,
	VERDICT_EXECUTABLES,
	VERDICT_FILE_SYSTEM,
	VERDICT_HARDWARE,
	VERDICT_RUNTIME,
	VERDICT_STORAGE,
	VERDICT_SOURCED,
	VERDICT_ASPECTS,
};
const char *verdict_aspect_name(enum verdict_aspect a); /* "instance-identity" */

enum verdict_tier {
	TIER_NONE = 0,
	TIER_AFFIRMING = 2,
	TIER_WARNING = 32,
	TIER_CONTRAINDICATED = 96,
};
enum verdict_tier verdict_tier_of(int value);
const char *verdict_tier_name(enum verdict_tier t); /* "affirming" */

enum verdict_state {
	CHECK_OK,
	CHECK_BAD,
	CHECK_SKIPPED, /* could not be judged here; .why says what it would need */
};

struct verdict_check {
	const char *name; /* static: "pcr09" */
	enum verdict_state state;
	bool is_evidence;
	char *covers;   /* what it speaks for: "command line, initrd"; may be NULL */
	char *expected; /* may be NULL */
	char *actual;   /* may be NULL */
	char *why;      /* for BAD and SKIPPED */
	char *fix;      /* what to do next; may be NULL */
};

#define VERDICT_CHECKS_MAX 64

struct verdict {
	const char *tee;    /* static */
	const char *submod; /* static: "cpu0" */
	size_t count;
	struct verdict_check checks[VERDICT_CHECKS_MAX];
	int trust[VERDICT_ASPECTS];
	struct cf_buf claims; /* JSON object: the TEE's claims */
	char *init_data;      /* measured value, as the claim writes it; may be NULL */
	char *report_data;    /* the same */
	char *initdata_digest; /* "sha256:HEX" of the text that was proven, "none" when proven to be none,
	                            NULL: not bound */
	char *anchor;          /* name of the root of trust; may be NULL */
	char *anchor_kind;      /* "operator_vtpm", "software", …; may be NULL */
	char anchor_sha256[65]; /* of the root's certificate, where policies may name it; or "" */
	char *hardware_doubt; /* why a policy that does not name the root cannot trust it; or NULL */
	struct cf_strv warnings; /* sentences that must be shown */
	/* Of an attestation policy that judged; all NULL or empty without one. */
	char *policy;             /* "default_cpu version 3" */
	char *policy_explain;     /* which literals decided */
	struct cf_buf extensions; /* JSON array of {"name","key","value"} for the token */
};

void verdict_init(struct verdict *v, const char *tee, const char *submod);
void verdict_fini(struct verdict *v);

/* Each appends one check and returns it, to be filled further. @name is static. */
struct verdict_check *verdict_ok(struct verdict *v, const char *name);
struct verdict_check *verdict_refuse(struct verdict *v, const char *name, const char *fmt, ...)
	cf_printf(3, 4); /* evidence check, bad */
struct verdict_check *verdict_differs(struct verdict *v, const char *name, const char *fmt, ...)
	cf_printf(3, 4); /* appraisal check, bad */
struct verdict_check *verdict_skip(struct verdict *v, const char *name, const char *fmt, ...)
	cf_printf(3, 4);
void verdict_warn(struct verdict *v, const char *fmt, ...) cf_printf(2, 3);

bool verdict_is_refused(const struct verdict *v); /* a bad evidence check */
/* First bad check, evidence before appraisal; NULL: none. */
const struct verdict_check *verdict_reason(const struct verdict *v);
/* Refused is contraindicated; else the greatest tier of the vector. */
enum verdict_tier verdict_status(const struct verdict *v);

/* coffer.verdict/1 */
void verdict_print_json(const struct verdict *v, struct cf_jw *w);
/* For people: one line a check, then why and fix. */
void verdict_print_text(const struct verdict *v, struct cf_buf *out);
