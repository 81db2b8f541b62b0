/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The service behind the socket: the peers' confidential data hub API. PullImage and GetResource are
 * done; UnsealSecret, SecureMount and the key provider answer UNIMPLEMENTED. Beside it coffer.Pulls:
 * an image may be fetched into the store before its container is asked for, under the same policy,
 * neither mounted nor measured, and given up when a container needs another image.
 *
 * Whoever can reach the socket may pull; callers are processes of this guest. Texts of failures cross
 * to the untrusted host: they never hold keys, tokens, policies or plaintext.
 */
#include "base/loop.h"
#include "base/work.h"
#include "guest-imaged/imaged_config.h"
#include "guest-imaged/resource.h"
#include "proto/rpc.h"

#define SERVICE_PULLS_AT_ONCE 4u
#define SERVICE_PULLS_WAITING 64u
#define SERVICE_EARLY_PULLS   2u /* at once, ahead of their containers; more are refused */

struct service;

struct service_opts { /* borrowed; all outlive the service */
	struct cf_loop *loop;
	const struct imaged_config *config;
	struct resource *resource;
	/*
	 * No policy at all: under the peers' names images are accepted with a warning, as theirs are;
	 * otherwise they are refused.
	 */
	bool accept_without_policy;
	/* extra_root_certificates, when there are any, count alone, and whatever the date is. */
	bool clock_untrusted;
};

cf_must_use int service_new(const struct service_opts *opts, struct service **ret,
                            struct cf_err *err);
/* Stops pulls that run, waits for them. Their calls are answered CANCELLED. */
struct service *service_free(struct service *s);
CF_DEFINE_CLEANUP(struct service *, service_free);

/* For ttrpc_server_opts; borrowed from @s. */
const struct rpc_service *const *service_table(struct service *s, size_t *ret_count);
