/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The key service without its sockets: one call in, one answer out. A call goes through three steps:
 *
 *   kbs_call_begin()   on the loop: route, session, rate; may answer at once
 *   kbs_call_work()    on a worker: cryptography, store; touches no session
 *   kbs_call_end()     on the loop: what the session keeps, counters, the log line
 *
 * Requests are hostile; admin calls need a signed bearer token. Wire: proto/PROTOCOL-kbs.md.
 */
#include "kbs/config.h"
#include "kbs/policies.h"
#include "kbs/session.h"
#include "kbs/store.h"
#include "kbs/token.h"

struct kbs;

/* @config is taken, also on failure. Opens store and keys in its state directory. */
cf_must_use int kbs_open(struct kbs_config *config_take, struct kbs **ret, struct cf_err *err);
struct kbs *kbs_close(struct kbs *k); /* no call may be running */
CF_DEFINE_CLEANUP(struct kbs *, kbs_close);
const struct kbs_config *kbs_config(const struct kbs *k);
/* On the loop, now and then. */
void kbs_sweep(struct kbs *k);
/* Bytes of body that a route takes. Any thread. */
size_t kbs_body_max(const struct kbs *k, struct cf_view method, struct cf_view path);

struct kbs_reply {
	unsigned status; /* 0: none yet */
	const char *type;
	struct cf_strv headers; /* "Name: value" */
	struct cf_buf body;
};

struct kbs_route;

struct kbs_call {
	/* filled by the caller, borrowed until the end */
	struct cf_view method, path, query, body, authorization, cookie;
	const char *peer; /* address, or NULL */
	bool is_local;    /* the owner's own one-shot administration: no bearer needed */

	struct kbs *kbs;
	struct kbs_reply reply;

	/* between the steps */
	const struct kbs_route *route;
	struct cf_view rest; /* of the path, behind the route's own part */
	char session_id[SESSION_ID_SIZE];
	struct session *taken; /* content moved out of a session, owned by the call */
	char *tee;
	char *token; /* sent by the guest, or issued to it */
	char *actor; /* admin calls: who */
	struct cf_buf challenge_tpm;
	struct tpm_binding binding;
	bool has_binding;
	char *binding_error;
	struct policy_set *policies; /* as of the beginning */
	struct policy_set *fresh;    /* newer ones that this call read; its own until the end */
	bool policy_failed;          /* a policy gave no answer */
	const char *outcome;         /* static, for counters and the log line */
	char ref[16];
	char *why; /* for the log line */
	int64_t began_ms;
};

void kbs_call_begin(struct kbs *k, struct kbs_call *c);
void kbs_call_work(struct kbs_call *c);
void kbs_call_end(struct kbs_call *c);
void kbs_call_fini(struct kbs_call *c);
/* All three, for one-shot use. */
void kbs_call_run(struct kbs *k, struct kbs_call *c);
