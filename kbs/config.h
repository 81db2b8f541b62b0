/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The key service's configuration: the peers' TOML keys, and our own under [coffer]. The file is the
 * owner's; relative paths in it are relative to its folder. Unknown keys are reported, not refused.
 */
#include "base/str.h"
#include "base/toml.h"
#include "kbs/tpm_binding.h"

#define KBS_LISTEN_MAX   4u
#define KBS_PERSONAS_MAX 16u

struct kbs_listen {
	char *address;
	uint16_t port;
};

struct kbs_persona {
	char *id;
	struct cf_pkey *key; /* public */
};

struct kbs_config {
	size_t listen_count;
	struct kbs_listen listen[KBS_LISTEN_MAX];
	bool insecure_http;
	char *cert_path, *key_path;
	size_t payload_max; /* bytes */
	char *state_dir;
	int64_t session_ms;
	int64_t token_s;
	size_t persona_count;
	struct kbs_persona personas[KBS_PERSONAS_MAX];
	bool admin_allow_all; /* InsecureAllowAll */
	bool allow_sample;
	size_t sessions_max;
	unsigned auth_rate, auth_burst; /* per address: a second, at once */
	size_t head_max;                /* bytes */
	unsigned workers;
	struct tpm_roots *tpm_roots; /* of the file; more may be in the store */
	struct cf_strv token_cas;    /* PEM texts: issuers of other services' tokens */
	struct cf_strv warnings;     /* unknown keys, risky settings */
};

/* Return: 0, -CF_NOT_FOUND, -CF_INVALID_ARGUMENT (with the line), -CF_OUT_OF_RANGE. */
cf_must_use int kbs_config_read(const char *path, struct kbs_config *ret, struct cf_err *err);
/* "127.0.0.1:8080" or "[::1]:8080"; replaces what the file said. */
cf_must_use int kbs_config_listen(struct kbs_config *c, const char *text, struct cf_err *err);
void kbs_config_fini(struct kbs_config *c);
