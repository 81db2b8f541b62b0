/* SPDX-License-Identifier: Apache-2.0 */
/* `coffer attest explain`: why a guest was refused, in words, for the owner. */
#include "cli/cmds_kbs.h"
#include "cli/kbs_door.h"

static const char help[] =
	"usage: coffer attest explain REF [--json]\n"
	"       coffer attest explain --tee TEE --evidence FILE [options of attest verify]\n"
	"Why it was denied: REF stands in the refusal that the guest saw; FILE is evidence. The\n"
	"first eight letters of a session that the audit log names show what convinced.\n";

/* What the guest sent may hold control bytes. */
static void print_shown(struct cf_view v)
{
	for (size_t i = 0; i < v.size; i++) {
		if (v.data[i] < 0x20 || v.data[i] == 0x7f)
			printf("\\x%02x", v.data[i]);
		else
			putchar(v.data[i]);
	}
}

static void print_fact(const struct cf_json *check, const char *key, const char *label)
{
	struct cf_view v = cf_json_str(cf_json_get(check, key));

	if (v.size == 0)
		return;
	printf("      %-9s ", label);
	print_shown(v);
	putchar('\n');
}

static void print_check(const struct cf_json *check)
{
	const struct cf_json *ok = cf_json_get(check, "ok");
	bool is_known = cf_json_type(ok) == CF_JSON_BOOL;
	bool is_bad = is_known && !cf_json_is_true(ok);

	printf("  %s ", is_bad ? "BAD " : is_known ? "ok  " : "skip");
	print_shown(cf_json_str(cf_json_get(check, "name")));
	printf("  ");
	print_shown(cf_json_str(cf_json_get(check, "source")));
	putchar('\n');
	if (!is_bad)
		return;
	print_fact(check, "expected", "expected");
	print_fact(check, "actual", "actual");
	print_fact(check, "why", "why");
	print_fact(check, "fix", "fix");
}

/* At whom the chain of trust ends; a software TPM is called that. */
static void print_root(const struct cf_json *verdict)
{
	struct cf_view root = cf_json_str(cf_json_get(verdict, "root_of_trust"));
	struct cf_view kind = cf_json_str(cf_json_get(verdict, "root_kind"));

	if (root.size == 0)
		return;
	printf("  root of trust: ");
	print_shown(root);
	if (cf_view_eq_str(kind, "software"))
		printf(" (software TPM, memory not encrypted)");
	putchar('\n');
}

/* Which literals of a policy decided, indented. */
static void print_policy(struct cf_view policy, int64_t version, struct cf_view explain)
{
	cf_cleanup(cf_strv_fini) struct cf_strv lines = { 0 };

	if (policy.size == 0)
		return;
	printf("  policy ");
	print_shown(policy);
	if (version)
		printf(" version %lld", (long long)version);
	putchar('\n');
	if (explain.size)
		cf_strv_split(&lines, explain, '\n');
	for (size_t i = 0; i < lines.count; i++) {
		if (!lines.items[i][0])
			continue;
		printf("    ");
		print_shown(cf_view_str(lines.items[i]));
		putchar('\n');
	}
}

/* A policy did not let a token read a path. */
static void print_release(const struct cf_json *doc)
{
	const struct cf_json *policy = cf_json_get(doc, "policy");
	struct cf_view why = cf_json_str(cf_json_get(doc, "why"));

	printf("denied: guest ");
	print_shown(cf_json_str(cf_json_get(doc, "peer")));
	printf(" may not read kbs:///");
	print_shown(cf_json_str(cf_json_get(doc, "object")));
	putchar('\n');
	print_policy(cf_json_str(cf_json_get(policy, "id")),
	             cf_json_int(cf_json_get(policy, "version")),
	             cf_json_str(cf_json_get(doc, "policy_explain")));
	if (why.size == 0)
		return;
	printf("    it gave no answer: ");
	print_shown(why);
	putchar('\n');
}

static void print_record(const struct cf_json *doc)
{
	const struct cf_json *verdict = cf_json_get(doc, "verdict");
	const struct cf_json *checks = cf_json_get(verdict, "checks");

	bool is_yes = cf_view_eq_str(cf_json_str(cf_json_get(verdict, "result")), "affirming");

	printf("%s: guest ", is_yes ? "attested" : "denied");
	print_shown(cf_json_str(cf_json_get(doc, "peer")));
	printf(" (");
	print_shown(cf_json_str(cf_json_get(verdict, "tee")));
	printf(") is ");
	print_shown(cf_json_str(cf_json_get(verdict, "result")));
	putchar('\n');
	print_root(verdict);
	for (size_t i = 0; i < cf_json_len(checks); i++)
		print_check(cf_json_at(checks, i));
	print_policy(cf_json_str(cf_json_get(verdict, "policy")), 0,
	             cf_json_str(cf_json_get(verdict, "policy_explain")));
}

static int explain_ref(const struct kbs_door *door, const char *ref, bool json)
{
	cf_cleanup(cf_freep) char *target = cf_asprintf("/coffer/v1/denials/%s", ref);
	cf_cleanup(cf_buf_fini) struct cf_buf answer = { 0 };
	cf_cleanup(cf_json_freep) struct cf_json *doc = NULL;
	struct cf_err err;
	int r = kbs_door_call(door, "GET", target, (struct cf_view){ 0 }, &answer, &err);

	if (r == 0)
		r = cf_json_parse(cf_buf_view(&answer), 0, &doc, &err);
	if (r < 0)
		return cli_fail(&err);
	if (json)
		printf("%.*s\n", (int)answer.size, (const char *)answer.data);
	else if (cf_view_eq_str(cf_json_str(cf_json_get(doc, "stage")), "release"))
		print_release(doc);
	else
		print_record(doc);
	return CLI_OK;
}

int cli_attest_explain(int argc, char **argv)
{
	static const struct option options[] = { KBS_DOOR_OPTIONS, { NULL, 0, NULL, 0 } };
	static const struct kbs_door_command cmd = {
		.name = "attest explain",
		.help = help,
		.options = options,
		.letters = "h",
		.least = 1,
		.most = 1,
	};
	struct kbs_door_words words = { 0 };

	for (int i = 1; i < argc; i++)
		if (cf_starts_with(argv[i], "--tee"))
			return cli_attest_verify(argc, argv);
	int r = kbs_door_parse(&cmd, argc, argv, NULL, &words);

	return r >= 0 ? r : explain_ref(&words.door, words.rest[0], words.is_json);
}
