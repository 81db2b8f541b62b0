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

/* What every administrative command takes; codes above 255. */
#define KBS_DOOR_OPTIONS                                                                           \
	{ "dir", required_argument, NULL, 256 }, { "kbs", required_argument, NULL, 257 },          \
		{ "ca", required_argument, NULL, 258 },                                            \
		{ "token-file", required_argument, NULL, 259 },                                    \
		{ "json", no_argument, NULL, 260 },                                                \
	{                                                                                          \
		"help", no_argument, NULL, 'h'                                                     \
	}
#define KBS_DOOR_HELP                                                                              \
	"  --dir DIR          the service's folder on this machine (coffer kbs init made it)\n"    \
	"  --kbs URL          … or the service's address, with\n"                                \
	"  --ca FILE          its certificate or CA, PEM\n"                                        \
	"  --token-file FILE  the admin token\n"                                                   \
	"                     (else COFFER_KBS_DIR, COFFER_KBS_URL, COFFER_KBS_CA,\n"              \
	"                     COFFER_KBS_TOKEN_FILE)\n"

struct kbs_door_command {
	const char *name, *help;
	const struct option *options; /* KBS_DOOR_OPTIONS, its own with codes up to 255, zeroes */
	const char *letters;          /* short ones, "h" among them */
	int least, most;              /* words that are no options */
	void (*take)(void *user, int option, const char *value); /* one of its own, if any */
};
struct kbs_door_words {
	struct kbs_door door; /* completed from the environment */
	bool is_json;
	char **rest; /* the words that are no options */
	int count;
};
/* Return: -1: go on; else the exit code, and all has been said. */
int kbs_door_parse(const struct kbs_door_command *cmd, int argc, char **argv, void *user,
                   struct kbs_door_words *ret);
/*
 * One call; appends the answer's body. Return: 0, or the code that the answer stands for, with the
 * service's words.
 */
cf_must_use int kbs_door_call(const struct kbs_door *d, const char *method, const char *target,
                              struct cf_view body, struct cf_buf *ret, struct cf_err *err);
/* "?key=value" or "&key=value", percent-encoded, appended to @target. */
void kbs_door_query(struct cf_buf *target, const char *key, const char *value);
