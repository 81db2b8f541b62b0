/* SPDX-License-Identifier: Apache-2.0 */
/* `coffer kbs …`: the owner's hand on the key service. */
#include "base/crypto.h"
#include "base/fd.h"
#include "cli/cmds_kbs.h"
#include "cli/kbs_door.h"

#define RESOURCE_MAX (1u << 20)
#define TEXT_MAX     (4u << 20)

/* ---- what all of them do ---- */

struct args {
	struct kbs_door_words words;
	const char *reason, *kind, *head, *from;
	struct cf_strv initdata, ek;
	bool accept;
};

static void args_fini(struct args *a)
{
	cf_strv_fini(&a->initdata);
	cf_strv_fini(&a->ek);
}

static void take(void *user, int option, const char *value)
{
	struct args *a = user;

	if (option == 'i')
		cf_strv_add(&a->initdata, value);
	else if (option == 'e')
		cf_strv_add(&a->ek, value);
	else if (option == 'a')
		a->accept = true;
	else
		*(option == 'r'   ? &a->reason
		  : option == 'k' ? &a->kind
		  : option == 'H' ? &a->head
		                  : &a->from) = value;
}

/* -1: go on; else the exit code. */
static int parse(const char *command, const char *help, int argc, char **argv, int least, int most,
                 struct args *a)
{
	static const struct option options[] = {
		KBS_DOOR_OPTIONS,
		{ "initdata", required_argument, NULL, 'i' },
		{ "reason", required_argument, NULL, 'r' },
		{ "kind", required_argument, NULL, 'k' },
		{ "ek", required_argument, NULL, 'e' },
		{ "head", required_argument, NULL, 'H' },
		{ "from", required_argument, NULL, 'f' },
		{ "accept", no_argument, NULL, 'a' },
		{ NULL, 0, NULL, 0 },
	};
	const struct kbs_door_command cmd = { command, help, options, "h", least, most, take };

	return kbs_door_parse(&cmd, argc, argv, a, &a->words);
}

static int read_input(const char *path, size_t max, struct cf_buf *ret, struct cf_err *err)
{
	ret->max = max + 1;
	return cf_streq(path, "-") ? cf_read_all(0, max, ret, err)
	                           : cf_read_file(path, max, ret, err);
}

/* Calls and prints the answer as it is. */
static int call_print(const struct args *a, const char *method, const char *target,
                      struct cf_view body)
{
	cf_cleanup(cf_buf_fini) struct cf_buf answer = { 0 };
	struct cf_err err;

	if (kbs_door_call(&a->words.door, method, target, body, &answer, &err) < 0)
		return cli_fail(&err);
	while (answer.size && answer.data[answer.size - 1] == '\n')
		answer.size--;
	printf("%.*s\n", (int)answer.size, (const char *)answer.data);
	return CLI_OK;
}

/* Calls; on success prints one line of our own, or the answer under --json. */
static int call_say(const struct args *a, const char *method, const char *target,
                    struct cf_view body, const char *say)
{
	cf_cleanup(cf_buf_fini) struct cf_buf answer = { 0 };
	struct cf_err err;

	if (a->words.is_json)
		return call_print(a, method, target, body);
	if (kbs_door_call(&a->words.door, method, target, body, &answer, &err) < 0)
		return cli_fail(&err);
	printf("%s\n", say);
	return CLI_OK;
}

/* ---- init, serve ---- */

int cli_kbs_init(int argc, char **argv)
{
	cf_cleanup(cf_strv_fini) struct cf_strv args = { 0 };

	cf_strv_add(&args, "coffer-kbs");
	cf_strv_add(&args, "init");
	for (int i = 1; i < argc; i++)
		cf_strv_add(&args, argv[i]);
	return cli_exec("coffer-kbs", args.items);
}

int cli_kbs_serve(int argc, char **argv)
{
	cf_cleanup(cf_strv_fini) struct cf_strv args = { 0 };
	int from = 1;

	cf_strv_add(&args, "coffer-kbs");
	cf_strv_add(&args, "serve");
	if (argc > 1 && argv[1][0] != '-') { /* the folder that init made */
		cf_strv_add(&args, "--config");
		cf_strv_addf(&args, "%s/kbs.toml", argv[1]);
		from = 2;
	}
	for (int i = from; i < argc; i++)
		cf_strv_add(&args, argv[i]);
	return cli_exec("coffer-kbs", args.items);
}

/* ---- resources ---- */

static const char help_resource_put[] =
	"usage: coffer kbs resource put REPOSITORY/TYPE/TAG FILE|- --initdata I...\n"
	"A new version of a secret, and which guests may have it.\n"
	"\n"
	"  --initdata I       a file with initdata, or sha256:HEX of one, or none, or any; may be\n"
	"                     repeated; the list replaces the one before. Without any, a new "
	"secret\n"
	"                     is released to nobody\n";

/* The digest that a rule lists. */
static int add_rule(struct cf_buf *target, const char *what, struct cf_err *err)
{
	cf_cleanup(cf_buf_fini) struct cf_buf text = { 0 };
	cf_cleanup(cf_freep) char *hex = NULL, *digest = NULL;
	uint8_t sum[32];
	int r;

	if (cf_streq(what, "none") || cf_streq(what, "any") || cf_starts_with(what, "sha256:")) {
		kbs_door_query(target, "initdata", what);
		return 0;
	}
	r = read_input(what, TEXT_MAX, &text, err);
	if (r < 0)
		return r;
	cf_sha256(cf_buf_view(&text), sum);
	hex = cf_hex_dup(cf_view(sum, sizeof(sum)));
	digest = cf_asprintf("sha256:%s", hex);
	kbs_door_query(target, "initdata", digest);
	return 0;
}

int cli_kbs_resource_put(int argc, char **argv)
{
	cf_cleanup(args_fini) struct args a = { 0 };
	cf_cleanup(cf_buf_wipe) struct cf_buf value = { 0 };
	cf_cleanup(cf_buf_fini) struct cf_buf target = { 0 };
	cf_cleanup(cf_freep) char *say = NULL;
	struct cf_err err;
	const char *path;
	int r = parse("kbs resource put", help_resource_put, argc, argv, 2, 2, &a);

	if (r >= 0)
		return r;
	path = cf_after(a.words.rest[0], "kbs:///");
	path = path ? path : a.words.rest[0];
	cf_buf_printf(&target, "/coffer/v1/resources/%s", path);
	r = read_input(a.words.rest[1], RESOURCE_MAX, &value, &err);
	for (size_t i = 0; r == 0 && i < a.initdata.count; i++)
		r = add_rule(&target, a.initdata.items[i], &err);
	if (r < 0)
		return cli_fail(&err);
	if (a.initdata.count == 0)
		fprintf(stderr, "note: without --initdata the list of guests stays as it is; a new "
		                "secret is released to nobody\n");
	say = cf_asprintf("kbs:///%s  %zu bytes  %zu initdata digests", path, value.size,
	                  a.initdata.count);
	return call_say(&a, "PUT", (const char *)target.data, cf_buf_view(&value), say);
}

int cli_kbs_resource_rm(int argc, char **argv)
{
	cf_cleanup(args_fini) struct args a = { 0 };
	cf_cleanup(cf_freep) char *target = NULL, *say = NULL;
	int r = parse("kbs resource rm", "usage: coffer kbs resource rm REPOSITORY/TYPE/TAG\n",
	              argc, argv, 1, 1, &a);

	if (r >= 0)
		return r;
	target = cf_asprintf("/coffer/v1/resources/%s", a.words.rest[0]);
	say = cf_asprintf("removed kbs:///%s", a.words.rest[0]);
	return call_say(&a, "DELETE", target, (struct cf_view){ 0 }, say);
}

static int list(const char *command, const char *help, const char *target, int argc, char **argv)
{
	cf_cleanup(args_fini) struct args a = { 0 };
	int r = parse(command, help, argc, argv, 0, 0, &a);

	return r >= 0 ? r : call_print(&a, "GET", target, (struct cf_view){ 0 });
}

int cli_kbs_resource_ls(int argc, char **argv)
{
	return list("kbs resource ls", "usage: coffer kbs resource ls\n", "/coffer/v1/resources",
	            argc, argv);
}

/* ---- reference values ---- */

static const char help_reference_put[] =
	"usage: coffer kbs reference put FILE|- [--reason TEXT]\n"
	"       coffer kbs reference put ID VALUE...\n"
	"What a good boot measures: the document of `coffer measure --json`, an object of ids and\n"
	"values, or one id with its values.\n";

static void print_values(char **values, int count, struct cf_buf *out)
{
	struct cf_jw w = { .out = out };

	cf_jw_obj(&w);
	cf_jw_key(&w, values[0]);
	cf_jw_arr(&w);
	for (int i = 1; i < count; i++)
		cf_jw_str(&w, values[i]);
	cf_jw_end_arr(&w);
	cf_jw_end_obj(&w);
}

int cli_kbs_reference_put(int argc, char **argv)
{
	cf_cleanup(args_fini) struct args a = { 0 };
	cf_cleanup(cf_buf_fini) struct cf_buf body = { 0 }, target = { 0 };
	struct cf_err err;
	int r = parse("kbs reference put", help_reference_put, argc, argv, 1, 64, &a);

	if (r >= 0)
		return r;
	if (a.words.count > 1)
		print_values(a.words.rest, a.words.count, &body);
	else if (read_input(a.words.rest[0], TEXT_MAX, &body, &err) < 0)
		return cli_fail(&err);
	cf_buf_add_str(&target, "/coffer/v1/references");
	if (a.reason)
		kbs_door_query(&target, "reason", a.reason);
	return call_say(&a, "PUT", (const char *)target.data, cf_buf_view(&body),
	                "reference values stored");
}

int cli_kbs_reference_ls(int argc, char **argv)
{
	return list("kbs reference ls", "usage: coffer kbs reference ls\n", "/coffer/v1/references",
	            argc, argv);
}

int cli_kbs_reference_rm(int argc, char **argv)
{
	cf_cleanup(args_fini) struct args a = { 0 };
	cf_cleanup(cf_freep) char *target = NULL;
	int r = parse("kbs reference rm", "usage: coffer kbs reference rm ID\n", argc, argv, 1, 1,
	              &a);

	if (r >= 0)
		return r;
	target = cf_asprintf("/coffer/v1/references/%s", a.words.rest[0]);
	return call_say(&a, "DELETE", target, (struct cf_view){ 0 }, "removed");
}

/* ---- TPM roots ---- */

static const char help_root_add[] =
	"usage: coffer kbs tpm-root add CA.pem --kind KIND\n"
	"A CA whose TPMs may prove what they booted, and what its TPMs are:\n"
	"\n"
	"  --kind operator_vtpm   vTPMs of an operator whom you trust: a tenant cannot choose his "
	"firmware\n"
	"  --kind ek_allow        loose chips: only the machines listed with --ek (SHA-256 of the\n"
	"                         endorsement key)\n"
	"  --kind software        software TPM, memory not encrypted: for trying things out\n"
	"  --accept               software: count it as hardware all the same\n";

int cli_kbs_tpm_root_add(int argc, char **argv)
{
	cf_cleanup(args_fini) struct args a = { 0 };
	cf_cleanup(cf_buf_fini) struct cf_buf pem = { 0 }, body = { 0 };
	struct cf_jw w = { .out = &body };
	struct cf_err err;
	int r = parse("kbs tpm-root add", help_root_add, argc, argv, 1, 1, &a);

	if (r >= 0)
		return r;
	if (!a.kind)
		return cli_usage("kbs tpm-root add", "--kind says what the CA's TPMs are");
	if (read_input(a.words.rest[0], TEXT_MAX, &pem, &err) < 0)
		return cli_fail(&err);
	cf_jw_obj(&w);
	cf_jw_kview(&w, "pem", cf_buf_view(&pem));
	cf_jw_kstr(&w, "kind", a.kind);
	cf_jw_kbool(&w, "accept", a.accept);
	cf_jw_key(&w, "ek_allow");
	cf_jw_arr(&w);
	for (size_t i = 0; i < a.ek.count; i++)
		cf_jw_str(&w, a.ek.items[i]);
	cf_jw_end_arr(&w);
	cf_jw_end_obj(&w);
	if (cf_streq(a.kind, "software"))
		fprintf(stderr, "warning: software TPM, memory not encrypted%s\n",
		        a.accept ? "" : "; its guests will not be affirming without --accept");
	return call_print(&a, "PUT", "/coffer/v1/tpm-roots", cf_buf_view(&body));
}

int cli_kbs_tpm_root_ls(int argc, char **argv)
{
	return list("kbs tpm-root ls", "usage: coffer kbs tpm-root ls\n", "/coffer/v1/tpm-roots",
	            argc, argv);
}

/* ---- audit ---- */

static const char help_audit_verify[] = "usage: coffer kbs audit verify [--head SHA256] [--json]\n"
					"Walks the audit log's chain. Keep the head that it "
					"prints: with --head a log that was cut or\n"
					"written anew is noticed too.\n";

int cli_kbs_audit_verify(int argc, char **argv)
{
	cf_cleanup(args_fini) struct args a = { 0 };
	cf_cleanup(cf_buf_fini) struct cf_buf answer = { 0 }, target = { 0 };
	cf_cleanup(cf_json_freep) struct cf_json *doc = NULL;
	struct cf_err err;
	bool ok;
	int r = parse("kbs audit verify", help_audit_verify, argc, argv, 0, 0, &a);

	if (r >= 0)
		return r;
	cf_buf_add_str(&target, "/coffer/v1/audit/verify");
	if (a.head)
		kbs_door_query(&target, "head", a.head);
	r = kbs_door_call(&a.words.door, "GET", (const char *)target.data, (struct cf_view){ 0 },
	                  &answer, &err);
	if (r == 0)
		r = cf_json_parse(cf_buf_view(&answer), 0, &doc, &err);
	if (r < 0)
		return cli_fail(&err);
	ok = cf_json_is_true(cf_json_get(doc, "ok"));
	if (a.words.is_json)
		printf("%.*s\n", (int)answer.size, (const char *)answer.data);
	else if (ok)
		printf("chain of %lld lines holds, head %.*s\n",
		       (long long)cf_json_int(cf_json_get(doc, "lines")), 64,
		       (const char *)cf_json_str(cf_json_get(doc, "head")).data);
	else
		printf("BROKEN: %.*s\n", (int)cf_json_str(cf_json_get(doc, "why")).size,
		       (const char *)cf_json_str(cf_json_get(doc, "why")).data);
	return ok ? CLI_OK : CLI_NO;
}

int cli_kbs_audit_ls(int argc, char **argv)
{
	cf_cleanup(args_fini) struct args a = { 0 };
	cf_cleanup(cf_buf_fini) struct cf_buf target = { 0 };
	int r = parse("kbs audit ls",
	              "usage: coffer kbs audit ls [--from SEQ]\nOne JSON line an event.\n", argc,
	              argv, 0, 0, &a);

	if (r >= 0)
		return r;
	cf_buf_add_str(&target, "/coffer/v1/audit");
	if (a.from)
		kbs_door_query(&target, "from", a.from);
	return call_print(&a, "GET", (const char *)target.data, (struct cf_view){ 0 });
}
