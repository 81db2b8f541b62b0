/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Inside the service: its state, its routes, and how a call is answered. For kbs/ alone. */
#include "base/log.h"
#include "kbs/service.h"

struct kbs_counters { /* loop only */
	uint64_t requests, auth, attest, attest_yes, attest_no, reads, denied, missing, admin,
		errors, policy_errors;
};

struct kbs {
	struct kbs_config config;
	struct store *store;
	struct token_signer signer;
	struct cf_cert *token_anchors[TPM_ROOTS_MAX];
	size_t token_anchor_count;
	struct policy_set *policies; /* loop only; calls hold theirs */
	struct sessions *sessions;   /* loop only */
	struct rate_limit *rate;     /* loop only */
	struct kbs_counters counters;
};

#define KBS_BODY_SMALL (256u << 10) /* a Request with its certificates */
#define KBS_BODY_LARGE SIZE_MAX     /* as configured */

struct kbs_route {
	const char *method, *path; /* a path that ends in '/' is a prefix */
	bool is_admin;
	size_t body_max; /* bytes; 0: takes none; never over the configured payload limit */
	void (*begin)(struct kbs_call *c); /* each may be NULL */
	void (*work)(struct kbs_call *c);
	void (*end)(struct kbs_call *c);
};
/* Tables ended by a row without method. */
extern const struct kbs_route kbs_guest_routes[];
extern const struct kbs_route kbs_admin_routes[];
extern const struct kbs_route kbs_policy_routes[];

/*
 * On a worker: the policies in force now. They are read again when this process or another one
 * changed them; the others see what this call read when it ends.
 */
cf_must_use int kbs_policies(struct kbs_call *c, const struct policy_set **ret, struct cf_err *err);

/* The protocol's error object. @variant is static. */
void kbs_answer_error(struct kbs_call *c, unsigned status, const char *variant, const char *detail);
/* The same from an error: status by its code, 401 for refusals. */
void kbs_answer_err(struct kbs_call *c, const char *variant, const struct cf_err *err);
void kbs_answer_json(struct kbs_call *c, struct cf_view json);
/* "?key=value&…": the percent-decoded value of each @key, appended. */
void kbs_query_values(struct cf_view query, const char *key, struct cf_strv *ret);
char *kbs_query_value(struct cf_view query, const char *key); /* the first, or NULL; free it */
/* "a=1&b=2" as an object; of a name that comes twice the last one counts, as with the peers. */
void kbs_query_object(struct cf_view query, struct cf_jw *w);
/* "k7q2-9fxt": 40 random bits. */
void kbs_new_ref(char out[16]);
/* Value of one cookie in a Cookie header. */
struct cf_view kbs_cookie(struct cf_view header, const char *name);
