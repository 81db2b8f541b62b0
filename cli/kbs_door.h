/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The way to a key service's administration: over HTTPS with an admin token, or, on the owner's own
 * machine, by coffer-kbs itself on the service's folder.
 */
#include "base/bytes.h"
#include "base/json.h"

#include <getopt.h>

struct kbs_door {
	const char *dir; /* the folder that `coffer kbs init` made; or these: */
	const char *url;
	const char *ca_path;    /* PEM; NULL: the system's roots */
	const char *token_path; /* file with the admin token */
};

/* Options that every administrative command takes; codes above 255. */
#define KBS_DOOR_OPTIONS                                                                           \
	{ "dir", required_argument, NULL, 256 }, { "kbs", required_argument, NULL, 257 },          \
		{ "ca", required_argument, NULL, 258 },                                            \
	{                                                                                          \
		"token-file", required_argument, NULL, 259                                         \
	}
#define KBS_DOOR_HELP                                                                              \
	"  --dir DIR          the service's folder on this machine (coffer kbs init made it)\n"    \
	"  --kbs URL          … or the service's address, with\n"                                \
	"  --ca FILE          its certificate or CA, PEM\n"                                        \
	"  --token-file FILE  the admin token\n"                                                   \
	"                     (else COFFER_KBS_DIR, COFFER_KBS_URL, COFFER_KBS_CA,\n"              \
	"                     COFFER_KBS_TOKEN_FILE)\n"

/* True when @code was one of them. */
bool kbs_door_option(struct kbs_door *d, int code, const char *value);
/* Fills what was not given from the environment. -CF_FAILED_PRECONDITION: nothing names a service. */
cf_must_use int kbs_door_ready(struct kbs_door *d, struct cf_err *err);
/*
 * One call; appends the answer's body. Return: 0, or the code that the answer stands for, with the
 * service's words.
 */
cf_must_use int kbs_door_call(const struct kbs_door *d, const char *method, const char *target,
                              struct cf_view body, struct cf_buf *ret, struct cf_err *err);
/* "?key=value" or "&key=value", percent-encoded, appended to @target. */
void kbs_door_query(struct cf_buf *target, const char *key, const char *value);
