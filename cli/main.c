/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/attest_show_cmd.h"
#include "cli/cli.h"
#include "cli/cmds_image.h"
#include "cli/cmds_kbs.h"
#include "cli/completion_cmd.h"
#include "cli/doctor_cmd.h"
#include "cli/image_layer_cmd.h"
#include "cli/initdata_cmd.h"
#include "cli/pod_cmd.h"
#include "cli/policy_cmd.h"

#include <signal.h>

static const struct cli_command attest[] = {
	{ "show", "what TEE is here, and what it can show", cli_attest_show, NULL },
	{ "evidence", "what this machine can prove, into a file", cli_attest_evidence, NULL },
	{ "verify", "judge evidence in a file, offline", cli_attest_verify, NULL },
	{ "explain", "why a guest was refused, in words", cli_attest_explain, NULL },
	{ 0 },
};

static const struct cli_command kbs_resource[] = {
	{ "put", "store a secret and say which guests may have it", cli_kbs_resource_put, NULL },
	{ "ls", "what is stored, for whom", cli_kbs_resource_ls, NULL },
	{ "rm", "remove one", cli_kbs_resource_rm, NULL },
	{ 0 },
};

static const struct cli_command kbs_reference[] = {
	{ "put", "what a good boot measures", cli_kbs_reference_put, NULL },
	{ "ls", "all reference values", cli_kbs_reference_ls, NULL },
	{ "rm", "remove one", cli_kbs_reference_rm, NULL },
	{ 0 },
};

static const struct cli_command kbs_policy[] = {
	{ "put", "put a policy into force", cli_kbs_policy_put, NULL },
	{ "ls", "which are in force, which come with the program", cli_kbs_policy_ls, NULL },
	{ "get", "the text of one", cli_kbs_policy_get, NULL },
	{ "show", "the same", cli_kbs_policy_get, NULL },
	{ "rm", "remove one: the built-in rule decides again", cli_kbs_policy_rm, NULL },
	{ "check", "does a file compile?", cli_policy_check, NULL },
	{ "test", "ask one with claims of a file, and why", cli_kbs_policy_test, NULL },
	{ 0 },
};

static const struct cli_command kbs_tpm_root[] = {
	{ "add", "a CA whose TPMs may attest", cli_kbs_tpm_root_add, NULL },
	{ "ls", "all of them", cli_kbs_tpm_root_ls, NULL },
	{ 0 },
};

static const struct cli_command kbs_audit[] = {
	{ "verify", "does the log's chain hold?", cli_kbs_audit_verify, NULL },
	{ "ls", "what was released, refused and changed", cli_kbs_audit_ls, NULL },
	{ 0 },
};

static const struct cli_command kbs[] = {
	{ "init", "configuration and keys for a key service", cli_kbs_init, NULL },
	{ "serve", "run it in the foreground", cli_kbs_serve, NULL },
	{ "resource", "secrets", NULL, kbs_resource },
	{ "reference", "reference values", NULL, kbs_reference },
	{ "policy", "rules in Rego over evidence and releases", NULL, kbs_policy },
	{ "tpm-root", "CAs of TPMs", NULL, kbs_tpm_root },
	{ "audit", "the audit log", NULL, kbs_audit },
	{ 0 },
};

static const struct cli_command key[] = {
	{ "new", "make a key: image, sign, seal, admin", cli_key_new, NULL },
	{ 0 },
};

static const struct cli_command image[] = {
	{ "encrypt", "copy an image with its layers encrypted", cli_image_encrypt, NULL },
	{ "sign", "sign an image as cosign does", cli_image_sign, NULL },
	{ "push", "copy an image as it is", cli_image_push, NULL },
	{ "inspect", "layers, recipients, signatures; needs no key", cli_image_inspect, NULL },
	{ "verify", "ask a signature policy as a guest would", cli_image_verify, NULL },
	{ "layer", "build an EROFS image from one layer", cli_image_layer, NULL },
	{ "pull", "check, decrypt and unpack an image as a guest would", cli_image_pull, NULL },
	{ 0 },
};

static const struct cli_command initdata[] = {
	{ "new", "write the measured configuration of a guest", cli_initdata_new, NULL },
	{ "digest", "the digest under which a key broker lists it", cli_initdata_digest, NULL },
	{ 0 },
};

static const struct cli_command policy[] = {
	{ "eval", "evaluate a query over Rego policies", cli_policy_eval, NULL },
	{ "explain", "why a rule is what it is", cli_policy_explain, NULL },
	{ "check", "parse and compile; errors and warnings", cli_policy_check, NULL },
	{ "test", "run the test_ rules", cli_policy_test, NULL },
	{ 0 },
};

static const struct cli_command pod[] = {
	{ "run", "boot a VM for one container, without containerd", cli_pod_run, NULL },
	{ 0 },
};

/* One row a command; a helper table for commands with subcommands. */
static const struct cli_command root[] = {
	{ "attest", "evidence: what it proves, and why it was refused", NULL, attest },
	{ "completion", "complete commands in bash, zsh, fish", cli_completion, NULL },
	{ "doctor", "what this machine has, and what it lacks", cli_doctor, NULL },
	{ "image", "images and their layers", NULL, image },
	{ "initdata", "the measured configuration of a guest", NULL, initdata },
	{ "kbs", "the key service and what it holds", NULL, kbs },
	{ "key", "keys for images, signatures, secrets, administrators", NULL, key },
	{ "measure", "what a good boot measures, from files", cli_measure, NULL },
	{ "pod", "pods on this machine", NULL, pod },
	{ "policy", "Rego: evaluate, explain, check, test", NULL, policy },
	{ "version", "what this is and what it was built with", cli_version, NULL },
	{ 0 },
};

static void print_help(FILE *f, const char *prefix, const struct cli_command *list)
{
	fprintf(f, "usage: %s COMMAND [ARGUMENT...]\n\ncommands:\n", prefix);
	for (const struct cli_command *c = list; c->name; c++)
		fprintf(f, "  %-12s %s\n", c->name, c->summary);
	fprintf(f, "\n'%s COMMAND --help' tells more about one of them.\n", prefix);
}

static size_t distance(const char *a, const char *b)
{
	size_t row[64], n = strlen(b);

	if (n >= CF_ARRAY_LEN(row) || strlen(a) >= CF_ARRAY_LEN(row))
		return SIZE_MAX;
	for (size_t j = 0; j <= n; j++)
		row[j] = j;
	for (size_t i = 1; a[i - 1]; i++) {
		size_t corner = row[0];

		row[0] = i;
		for (size_t j = 1; j <= n; j++) {
			size_t keep = corner + (a[i - 1] != b[j - 1]);

			corner = row[j];
			row[j] = CF_MIN(keep, CF_MIN(row[j], row[j - 1]) + 1);
		}
	}
	return row[n];
}

static int unknown(const char *prefix, const char *name, const struct cli_command *list)
{
	fprintf(stderr, "%s: no command '%s'", prefix, name);
	for (const struct cli_command *c = list; c->name; c++)
		if (distance(name, c->name) <= 2) {
			fprintf(stderr, "; did you mean '%s'?", c->name);
			break;
		}
	fprintf(stderr, "\ntry: %s --help\n", prefix);
	return CLI_USAGE;
}

static int dispatch(const char *prefix, int argc, char **argv, const struct cli_command *list)
{
	if (argc < 2 || cf_streq(argv[1], "--help") || cf_streq(argv[1], "-h") ||
	    cf_streq(argv[1], "help")) {
		print_help(argc < 2 ? stderr : stdout, prefix, list);
		return argc < 2 ? CLI_USAGE : CLI_OK;
	}
	for (const struct cli_command *c = list; c->name; c++) {
		if (!cf_streq(argv[1], c->name))
			continue;
		if (!c->subs)
			return c->fn(argc - 1, argv + 1);
		cf_cleanup(cf_freep) char *deeper = cf_asprintf("%s %s", prefix, c->name);
		return dispatch(deeper, argc - 1, argv + 1, c->subs);
	}
	return unknown(prefix, argv[1], list);
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_DFL);
	if (argc > 1 && cf_streq(argv[1], "--version"))
		return cli_version(1, argv + 1);
	return dispatch("coffer", argc, argv, root);
}
