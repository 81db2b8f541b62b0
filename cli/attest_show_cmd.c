/* SPDX-License-Identifier: Apache-2.0 */
/* `coffer attest show|evidence`: the agent's own code, run once, and its answer for a person. */
#include "cli/attest_show_cmd.h"

#include "base/crypto.h"
#include "base/fd.h"

#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

static const char help[] = "usage: coffer attest show [--json] [AGENT OPTION...]\n"
			   "What TEE this machine is, and what it can show: certificate authority "
			   "of the endorsement key,\n"
			   "registers, initdata. Asks no server.\n"
			   "\n"
			   "  --json                  the document as coffer-attestd gives it\n"
			   "  --tpm-device DEVICE     default /dev/tpmrm0\n"
			   "  --initdata_toml FILE    must be what the TEE holds\n"
			   "  other options           those of coffer-attestd(8)\n";

#define SHOW_MAX (4u << 20)

static const char help_evidence[] =
	"usage: coffer attest evidence [--nonce HEX] [-o FILE] [AGENT OPTION...]\n"
	"What this machine can prove, over the nonce: JSON for coffer attest verify. Without "
	"--nonce one\n"
	"is drawn and printed on standard error.\n";

/* Runs coffer-attestd with @args; its answer is appended to @ret. The child's exit code. */
static int run_agent(struct cf_strv *args, struct cf_buf *ret, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *path = cli_program("coffer-attestd");
	int fds[2], status = -1, r;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return cf_fail_errno(err, errno, "pipe");
	fflush(NULL);

	pid_t pid = fork();

	if (pid == 0) {
		dup2(fds[1], STDOUT_FILENO);
		execvp(path, args->items);
		_exit(127);
	}
	cf_close(&fds[1]);
	r = pid < 0 ? cf_fail_errno(err, errno, "fork") : cf_read_all(fds[0], SHOW_MAX, ret, err);
	cf_close(&fds[0]);
	if (pid > 0 && waitpid(pid, &status, 0) == pid && r == 0)
		return WIFEXITED(status) ? WEXITSTATUS(status) : CLI_FAILED;
	return r < 0 ? r : cf_fail(err, CF_INTERNAL, "coffer-attestd: no exit status");
}

/* What a register is for, by the TCG's PC Client profile and by coffer's own use. */
static const char *meaning(size_t pcr)
{
	static const char *const text[] = {
		[0] = "firmware",      [1] = "firmware settings",
		[2] = "option ROMs",   [3] = "option ROM settings",
		[4] = "kernel",        [5] = "boot settings",
		[6] = "resume events", [7] = "secure boot",
		[8] = "initdata",      [9] = "command line, initrd",
		[10] = "kernel's IMA", [23] = "run-time events",
	};

	return pcr < CF_ARRAY_LEN(text) && text[pcr] ? text[pcr] : "";
}

/* Nothing was measured: zeroes, or the ones of a register that waits for a late launch. */
static bool is_unused(struct cf_view hex)
{
	for (size_t i = 0; i < hex.size; i++)
		if (hex.data[i] != hex.data[0] || !strchr("0f", hex.data[i]))
			return false;
	return true;
}

static void print_field(const struct cf_json *doc, const char *key, const char *label)
{
	struct cf_view v = cf_json_str(cf_json_get(doc, key));

	if (v.size)
		printf("%-12s%.*s\n", label, (int)v.size, (const char *)v.data);
}

static void print_doc(const struct cf_json *doc)
{
	const struct cf_json *initdata = cf_json_get(doc, "initdata");
	const struct cf_json *pcrs = cf_json_get(doc, "pcrs");

	print_field(doc, "tee", "tee");
	print_field(doc, "ek_issuer", "EK CA");
	print_field(doc, "ek_cert_sha256", "EK cert");
	print_field(doc, "kbs", "key broker");
	print_field(initdata, "digest", "initdata");
	if (cf_json_len(pcrs))
		printf("PCR  %-64s  COVERS\n", "SHA-256");
	for (size_t i = 0; i < cf_json_len(pcrs); i++) {
		struct cf_view v = cf_json_str(cf_json_at(pcrs, i));

		if (!is_unused(v))
			printf("%3zu  %.*s  %s\n", i, (int)v.size, (const char *)v.data,
			       meaning(i));
	}
}

/* The child's exit code as ours, and what it could not say itself. */
static int judge_exit(int r, struct cf_err *err)
{
	if (r == 127)
		return cf_fail(err, CF_FAILED_PRECONDITION, "coffer-attestd is not installed");
	return r == 78 ? CLI_LACKING : r; /* 78: it has said why */
}

int cli_attest_show(int argc, char **argv)
{
	cf_cleanup(cf_strv_fini) struct cf_strv args = { 0 };
	cf_cleanup(cf_json_freep) struct cf_json *doc = NULL;
	struct cf_buf out = { .max = SHOW_MAX };
	bool json = false;
	struct cf_err err;
	int r;

	cf_strv_add(&args, "coffer-attestd");
	cf_strv_add(&args, "--show");
	for (int i = 1; i < argc; i++) {
		if (cf_streq(argv[i], "--help") || cf_streq(argv[i], "-h")) {
			fputs(help, stdout);
			return CLI_OK;
		}
		if (cf_streq(argv[i], "--json"))
			json = true;
		else
			cf_strv_add(&args, argv[i]);
	}
	r = judge_exit(run_agent(&args, &out, &err), &err);
	if (r == 0 && !json)
		r = cf_json_parse(cf_buf_view(&out), SHOW_MAX, &doc, &err);
	if (r == 0 && json)
		fwrite(out.data, 1, out.size, stdout);
	else if (r == 0)
		print_doc(doc);
	cf_buf_fini(&out);
	return r < 0 ? cli_fail(&err) : r;
}

static int write_evidence(struct cf_view evidence, const char *path, struct cf_err *err)
{
	return path ? cf_write_file_atomic(path, evidence, 0644, err)
	            : cf_write_all(STDOUT_FILENO, evidence, err);
}

int cli_attest_evidence(int argc, char **argv)
{
	cf_cleanup(cf_strv_fini) struct cf_strv args = { 0 };
	cf_cleanup(cf_freep) char *drawn = NULL;
	const char *nonce = NULL, *path = NULL;
	struct cf_buf out = { .max = SHOW_MAX };
	struct cf_err err;
	uint8_t random[32];
	int r;

	cf_strv_add(&args, "coffer-attestd");
	for (int i = 1; i < argc; i++) {
		bool has_value = i + 1 < argc;

		if (cf_streq(argv[i], "--help") || cf_streq(argv[i], "-h")) {
			fputs(help_evidence, stdout);
			return CLI_OK;
		}
		if (cf_streq(argv[i], "--nonce") && has_value)
			nonce = argv[++i];
		else if ((cf_streq(argv[i], "-o") || cf_streq(argv[i], "--output")) && has_value)
			path = argv[++i];
		else
			cf_strv_add(&args, argv[i]);
	}
	if (!nonce) {
		cf_random(random, sizeof(random));
		nonce = drawn = cf_hex_dup(cf_view(random, sizeof(random)));
		fprintf(stderr, "nonce %s\n", nonce);
	}
	cf_strv_add(&args, "--evidence");
	cf_strv_add(&args, nonce);
	r = judge_exit(run_agent(&args, &out, &err), &err);
	if (r == 0)
		r = write_evidence(cf_buf_view(&out), path, &err);
	cf_buf_fini(&out);
	return r < 0 ? cli_fail(&err) : r;
}
