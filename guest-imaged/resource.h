/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Resources of the owner: image keys, policies, credentials, by URI. kbs:// comes from the key broker
 * (through a token of the attestation agent) or, for tests and offline use, from JSON files; file://
 * from this machine. One thread of its own speaks to the broker, so one connection and one token
 * serve all pulls; nothing is kept on disk.
 */
#include "base/bytes.h"
#include "base/str.h"

#define RESOURCE_SIZE_MAX  (3900u << 10) /* what one ttrpc answer can carry */
#define RESOURCE_WAITING   256u          /* requests that may queue */
#define RESOURCE_EXTEND_MS 10000         /* for it to write down a measurement */

struct resource_config {                  /* copied */
	const char *agent;                /* ttrpc address of the attestation agent */
	const char *kbs_url;              /* NULL or "": there is no broker */
	const char *kbs_ca;               /* PEM: the only trust anchors then; NULL: the system's */
	const char *const *offline_files; /* NULL-ended; JSON maps instead of a broker; or NULL */
};

struct resource;

cf_must_use int resource_new(const struct resource_config *config, struct resource **ret,
                             struct cf_err *err);
struct resource *resource_free(struct resource *res); /* nobody may be waiting */
CF_DEFINE_CLEANUP(struct resource *, resource_free);

/*
 * resource_get() - fetch; appends to @ret, whose owner wipes it. Blocks. Any thread.
 * @uri: kbs:///repository/type/tag or kbs+plugin://…
 *
 * Return: 0, -CF_NOT_FOUND, -CF_PERMISSION_DENIED, -CF_UNAUTHENTICATED (attestation), -CF_UNAVAILABLE,
 * -CF_FAILED_PRECONDITION (no broker is configured), -CF_RESOURCE_EXHAUSTED, -CF_INVALID_ARGUMENT.
 */
cf_must_use int resource_get(struct resource *res, const char *uri, struct cf_buf *ret,
                             struct cf_err *err);
/* As resource_get(), also for file:// URIs and bare paths: for what our own configuration names. */
cf_must_use int resource_get_configured(struct resource *res, const char *uri, struct cf_buf *ret,
                                        struct cf_err *err);

/*
 * Tells the attestation agent what was pulled. No agent: a warning's worth, *ret_noted is false.
 * An agent that fails is a failure.
 */
cf_must_use int resource_extend(struct resource *res, const char *operation, const char *content,
                                bool *ret_noted, struct cf_err *err);
