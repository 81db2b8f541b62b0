/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Logging in at a registry: the docker-style file of credentials (the owner's), and the challenge of
 * a 401 and the answer of a token service (a stranger's).
 */
#include "base/bytes.h"
#include "proto/oci_ref.h"

#define REGISTRY_AUTH_FILE_MAX  (1u << 20)
#define REGISTRY_AUTH_VALUE_MAX (64u << 10) /* bytes of a user, password or token */

struct registry_credentials {
	char *user; /* NULL: anonymous */
	char *password;
	char *identity_token; /* for the token service, or NULL */
	char *registry_token; /* to be sent as it is, or NULL */
};
void registry_credentials_fini(struct registry_credentials *c); /* wipes */

/*
 * registry_auth_find() - who to be for @ref
 * @json: {"auths":{"<key>":{"auth":base64(user:password)}}}; also username and password,
 *        identitytoken, registrytoken. Empty: anonymous
 *
 * Key: host/repo, each parent of it, host; then any key that comes down to the host alone (a scheme
 * and, only with a scheme, a path are dropped; docker.io, index.docker.io and registry-1.docker.io
 * are one). Nothing found is success with an empty @ret. -CF_INVALID_ARGUMENT: not such a file.
 */
cf_must_use int registry_auth_find(struct cf_view json, const struct oci_ref *ref,
                                   struct registry_credentials *ret, struct cf_err *err);

struct registry_challenge {
	bool bearer; /* else Basic */
	char *realm; /* bearer: URL of the token service */
	char *service;
	char *scope;
};
void registry_challenge_fini(struct registry_challenge *c);
/* A WWW-Authenticate value, its first challenge. -CF_INVALID_ARGUMENT. Source: RFC 9110 11.6.1. */
cf_must_use int registry_challenge_parse(struct cf_view header, struct registry_challenge *ret,
                                         struct cf_err *err);

#define REGISTRY_TOKEN_TTL_MIN_S 60
/* A token service's answer: the token (caller wipes and frees) and the seconds it lives. */
cf_must_use int registry_token_parse(struct cf_view json, char **ret_token, uint64_t *ret_ttl_s,
                                     struct cf_err *err);
