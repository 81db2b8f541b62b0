/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Sessions: what the service remembers between Request and evidence, and afterwards the token. In
 * memory, with a hard cap (the oldest unfinished one gives way), each nonce good for one evaluation.
 * On the loop's thread alone.
 */
#include "base/crypto.h"
#include "base/loop.h"
#include "kbs/tpm_binding.h"

#define SESSION_ID_SIZE 33u /* 32 hex digits and NUL */

enum session_state {
	SESSION_AUTHED,   /* the nonce waits for its evidence */
	SESSION_CONSUMED, /* evidence came: good or not, the nonce is spent */
	SESSION_ATTESTED,
};

struct session {
	char id[SESSION_ID_SIZE];
	enum session_state state;
	char *tee;
	char *nonce; /* text as sent */
	enum cf_hash_alg hash;
	bool has_binding;
	struct tpm_binding binding;
	char *binding_error; /* why no credential was offered; may be NULL */
	char *token;         /* SESSION_ATTESTED */
	int64_t expires_ms;
	struct session *newer, *older, *bucket_next;
};

struct sessions;

struct sessions *sessions_new(size_t max, int64_t life_ms);
struct sessions *sessions_free(struct sessions *t);
/* A fresh session, AUTHED, with id and nonce; owned by the table. */
struct session *sessions_add(struct sessions *t);
/* NULL: unknown or expired. */
struct session *sessions_find(struct sessions *t, struct cf_view id);
void sessions_remove(struct sessions *t, struct session *s);
void sessions_sweep(struct sessions *t); /* drops what has expired */
size_t sessions_count(const struct sessions *t);

/* ---- how often one address may begin ---- */

struct rate_limit;
struct rate_limit *rate_limit_new(unsigned per_second, unsigned burst);
struct rate_limit *rate_limit_free(struct rate_limit *r);
/* True when @address may go on now. */
bool rate_limit_take(struct rate_limit *r, const char *address);
