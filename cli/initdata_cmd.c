/* SPDX-License-Identifier: Apache-2.0 */
/* `coffer initdata new|digest`: what a pod's owner gives a guest to be measured with. */
#include "cli/initdata_cmd.h"

#include "base/fd.h"
#include "base/gzip.h"
#include "proto/initdata.h"

#include <getopt.h>
#include <unistd.h>

#define ENTRIES_MAX    64u
#define ENTRY_TEXT_MAX (4u << 20) /* bytes of one file that goes in */

static const char help_new[] =
	"usage: coffer initdata new [options]\n"
	"Writes initdata: the configuration and policy of a guest, measured before it runs "
	"anything.\n"
	"\n"
	"  --kbs URL             key broker that the guest asks (aa.toml, cdh.toml)\n"
	"  --kbs-ca FILE         its CA, PEM; the guest then trusts no other for it\n"
	"  --registry-ca FILE    CA of a registry, PEM; may be repeated\n"
	"  --image-policy FILE   policy.json: whose signatures are needed; or kbs:///r/t/n\n"
	"  --registry-auth URI   kbs:///r/t/n of a docker auth file\n"
	"  --policy FILE         what the guest may run: FILE.toml (native) or FILE.rego\n"
	"  --data KEY=FILE       any other entry; may be repeated\n"
	"  --algorithm ALG       sha256 (default), sha384, sha512\n"
	"  --allow-sample        let the guest use the TEE that proves nothing; for tests\n"
	"  --format FORM         toml (default), annotation (base64 of gzip), disk\n"
	"  -o, --output FILE     default standard output\n"
	"\n"
	"The digest, on standard error, is what a key broker lists (coffer initdata digest).\n";

static const char help_digest[] =
	"usage: coffer initdata digest [--json] FILE\n"
	"The digest under which a key broker lists this initdata: SHA-256 of its text. FILE (or -) "
	"may be\n"
	"the TOML text, the pod annotation's value, gzip, or an initdata disk.\n"
	"\n"
	"  --json   also the digest by its own algorithm and the value in each TEE's field\n";

/* ---- new ---- */

struct wish {
	const char *kbs, *kbs_ca, *image_policy, *registry_auth, *policy, *output;
	struct cf_strv registry_ca;
	struct cf_strv data; /* KEY=FILE */
	enum cf_hash_alg alg;
	enum { FORM_TOML, FORM_ANNOTATION, FORM_DISK } form;
	bool allow_sample;
};

struct entries {
	struct initdata_entry list[ENTRIES_MAX];
	struct cf_strv owned; /* keys and texts */
	size_t count;
};

static int read_text(const char *path, char **ret, struct cf_err *err)
{
	struct cf_buf b = { .max = ENTRY_TEXT_MAX };
	int r = cf_read_file(path, ENTRY_TEXT_MAX, &b, err);

	if (r == 0 && (!cf_view_is_utf8(cf_buf_view(&b)) || cf_view_has_nul(cf_buf_view(&b))))
		r = cf_fail(err, CF_INVALID_ARGUMENT, "%s: not a text", path);
	if (r == 0)
		*ret = b.size ? cf_buf_take_str(&b) : cf_strdup("");
	cf_buf_fini(&b);
	return r;
}

static int add_entry(struct entries *e, const char *key, char *text_take, struct cf_err *err)
{
	cf_strv_add_take(&e->owned, text_take);
	if (e->count >= ENTRIES_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "more than %u entries", ENTRIES_MAX);
	cf_strv_add(&e->owned, key);
	e->list[e->count++] = (struct initdata_entry){
		.key = e->owned.items[e->owned.count - 1],
		.text = text_take,
	};
	return 0;
}

static int add_file(struct entries *e, const char *key, const char *path, struct cf_err *err)
{
	char *text = NULL;
	int r = read_text(path, &text, err);

	return r < 0 ? r : add_entry(e, key, text, err);
}

static void add_pair(struct cf_buf *b, const char *key, const char *text)
{
	cf_buf_printf(b, "%s = ", key);
	cf_toml_add_line(b, text);
	cf_buf_add_byte(b, '\n');
}

/* A PEM file, checked now rather than in the guest. */
static int read_ca(const char *path, char **ret, struct cf_err *err)
{
	cf_cleanup(cf_cert_freep) struct cf_cert *cert = NULL;
	int r = read_text(path, ret, err);

	if (r == 0)
		r = cf_cert_parse(cf_view_str(*ret), &cert, err);
	return r < 0 ? cf_wrap(err, r, "%s", path) : 0;
}

static int make_aa(const struct wish *w, const char *ca, struct entries *e, struct cf_err *err)
{
	struct cf_buf b = { 0 };

	if (!w->kbs && !w->allow_sample)
		return 0;
	if (w->kbs) {
		cf_buf_add_str(&b, "[token_configs.kbs]\n");
		add_pair(&b, "url", w->kbs);
	}
	if (ca)
		add_pair(&b, "cert", ca);
	if (w->allow_sample)
		cf_buf_add_str(&b, "[coffer]\nallow_sample = true\n");
	return add_entry(e, "aa.toml", cf_buf_take_str(&b), err);
}

static int add_registry_cas(const struct wish *w, struct cf_buf *b, struct cf_err *err)
{
	if (!w->registry_ca.count)
		return 0;
	cf_buf_add_str(b, "extra_root_certificates = [");
	for (size_t i = 0; i < w->registry_ca.count; i++) {
		cf_cleanup(cf_freep) char *pem = NULL;
		int r = read_ca(w->registry_ca.items[i], &pem, err);

		if (r < 0)
			return r;
		cf_buf_add_str(b, i ? ", " : "");
		cf_toml_add_line(b, pem);
	}
	cf_buf_add_str(b, "]\n");
	return 0;
}

static int add_image_policy(const struct wish *w, struct cf_buf *b, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *text = NULL;
	cf_cleanup(cf_json_freep) struct cf_json *json = NULL;
	int r;

	if (!w->image_policy)
		return 0;
	if (strstr(w->image_policy, "://")) {
		add_pair(b, "image_security_policy_uri", w->image_policy);
		return 0;
	}
	r = read_text(w->image_policy, &text, err);
	if (r == 0)
		r = cf_json_parse(cf_view_str(text), 0, &json, err);
	if (r < 0)
		return cf_wrap(err, r, "%s", w->image_policy);
	add_pair(b, "image_security_policy", text);
	return 0;
}

static int make_cdh(const struct wish *w, const char *ca, struct entries *e, struct cf_err *err)
{
	struct cf_buf b = { .max = ENTRY_TEXT_MAX };
	int r;

	if (!w->kbs && !w->registry_ca.count && !w->image_policy && !w->registry_auth)
		return 0;
	cf_buf_add_str(&b, "[kbc]\n");
	add_pair(&b, "name", w->kbs ? "cc_kbc" : "offline_fs_kbc");
	add_pair(&b, "url", w->kbs ? w->kbs : "");
	if (ca)
		add_pair(&b, "kbs_cert", ca);
	cf_buf_add_str(&b, "[image]\n");
	if (w->registry_auth)
		add_pair(&b, "authenticated_registry_credentials_uri", w->registry_auth);
	r = add_image_policy(w, &b, err);
	if (r == 0)
		r = add_registry_cas(w, &b, err);
	if (r == 0)
		r = cf_buf_check(&b, "cdh.toml", err);
	if (r < 0) {
		cf_buf_fini(&b);
		return r;
	}
	return add_entry(e, "cdh.toml", cf_buf_take_str(&b), err);
}

/* The native policy must at least be TOML: a typo found here is one not found in a pod that hangs. */
static int add_policy(const struct wish *w, struct entries *e, struct cf_err *err)
{
	cf_cleanup(cf_toml_freep) struct cf_toml *doc = NULL;

	if (!w->policy)
		return 0;
	if (cf_ends_with(w->policy, ".rego"))
		return add_file(e, "policy.rego", w->policy, err);
	if (!cf_ends_with(w->policy, ".toml"))
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "%s: a policy is a .toml (native) or a .rego file", w->policy);
	int r = cf_toml_read_file(w->policy, ENTRY_TEXT_MAX, &doc, err);
	return r < 0 ? r : add_file(e, "policy.toml", w->policy, err);
}

static int add_data(const struct wish *w, struct entries *e, struct cf_err *err)
{
	for (size_t i = 0; i < w->data.count; i++) {
		const char *eq = strchr(w->data.items[i], '=');

		if (!eq || eq == w->data.items[i])
			return cf_fail(err, CF_INVALID_ARGUMENT, "--data %s: want KEY=FILE",
			               w->data.items[i]);
		cf_cleanup(cf_freep) char *key =
			cf_strndup(w->data.items[i], (size_t)(eq - w->data.items[i]));
		int r = add_file(e, key, eq + 1, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int build(const struct wish *w, struct cf_buf *text, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *ca = NULL;
	struct entries e = { 0 };
	int r = w->kbs_ca ? read_ca(w->kbs_ca, &ca, err) : 0;

	if (r == 0)
		r = make_aa(w, ca, &e, err);
	if (r == 0)
		r = make_cdh(w, ca, &e, err);
	if (r == 0)
		r = add_policy(w, &e, err);
	if (r == 0)
		r = add_data(w, &e, err);
	if (r == 0)
		r = initdata_build(w->alg, e.list, e.count, text, err);
	cf_strv_fini(&e.owned);
	return r;
}

static int write_out(const struct wish *w, struct cf_view text, struct cf_err *err)
{
	struct cf_buf form = { 0 };
	int r = 0;

	if (w->form == FORM_ANNOTATION)
		r = initdata_to_annotation(text, &form, err);
	else if (w->form == FORM_DISK)
		r = initdata_to_disk(text, &form, err);
	if (r == 0 && w->form == FORM_ANNOTATION && !w->output)
		cf_buf_add_byte(&form, '\n');

	struct cf_view out = w->form == FORM_TOML ? text : cf_buf_view(&form);

	if (r == 0)
		r = w->output ? cf_write_file_atomic(w->output, out, 0644, err)
		              : cf_write_all(STDOUT_FILENO, out, err);
	cf_buf_fini(&form);
	return r;
}

static void print_digest(FILE *f, struct cf_view text)
{
	uint8_t sum[32];

	cf_sha256(text, sum);
	cf_cleanup(cf_freep) char *hex = cf_hex_dup(cf_view(sum, sizeof(sum)));
	fprintf(f, "sha256:%s\n", hex);
}

static bool choose(const char *arg, const char *const *names, size_t count, int *ret)
{
	for (size_t i = 0; i < count; i++) {
		if (cf_streq(arg, names[i])) {
			*ret = (int)i;
			return true;
		}
	}
	return false;
}

enum {
	OPT_KBS = 256,
	OPT_KBS_CA,
	OPT_REGISTRY_CA,
	OPT_IMAGE_POLICY,
	OPT_REGISTRY_AUTH,
	OPT_POLICY,
	OPT_DATA,
	OPT_ALGORITHM,
	OPT_SAMPLE,
	OPT_FORMAT
};

static const struct option new_rows[] = {
	{ "kbs", required_argument, NULL, OPT_KBS },
	{ "kbs-ca", required_argument, NULL, OPT_KBS_CA },
	{ "registry-ca", required_argument, NULL, OPT_REGISTRY_CA },
	{ "image-policy", required_argument, NULL, OPT_IMAGE_POLICY },
	{ "registry-auth", required_argument, NULL, OPT_REGISTRY_AUTH },
	{ "policy", required_argument, NULL, OPT_POLICY },
	{ "data", required_argument, NULL, OPT_DATA },
	{ "algorithm", required_argument, NULL, OPT_ALGORITHM },
	{ "allow-sample", no_argument, NULL, OPT_SAMPLE },
	{ "format", required_argument, NULL, OPT_FORMAT },
	{ "output", required_argument, NULL, 'o' },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

static bool take_choice(struct wish *w, int c, const char *arg)
{
	static const char *const algs[] = { "sha256", "sha384", "sha512" };
	static const enum cf_hash_alg values[] = { CF_SHA256, CF_SHA384, CF_SHA512 };
	static const char *const forms[] = { "toml", "annotation", "disk" };
	int n = 0;

	if (c == OPT_ALGORITHM && choose(arg, algs, CF_ARRAY_LEN(algs), &n)) {
		w->alg = values[n];
		return true;
	}
	if (c == OPT_FORMAT && choose(arg, forms, CF_ARRAY_LEN(forms), &n)) {
		w->form = n;
		return true;
	}
	return false;
}

static bool take_option(struct wish *w, int c, const char *arg)
{
	switch (c) {
	case OPT_KBS:
		w->kbs = arg;
		return true;
	case OPT_KBS_CA:
		w->kbs_ca = arg;
		return true;
	case OPT_REGISTRY_CA:
		cf_strv_add(&w->registry_ca, arg);
		return true;
	case OPT_IMAGE_POLICY:
		w->image_policy = arg;
		return true;
	case OPT_REGISTRY_AUTH:
		w->registry_auth = arg;
		return true;
	case OPT_POLICY:
		w->policy = arg;
		return true;
	case OPT_DATA:
		cf_strv_add(&w->data, arg);
		return true;
	case OPT_SAMPLE:
		w->allow_sample = true;
		return true;
	case 'o':
		w->output = arg;
		return true;
	default:
		return take_choice(w, c, arg);
	}
}

/* -1: go on; else the exit code. */
static int parse_wish(int argc, char **argv, struct wish *w)
{
	int c;

	optind = 1;
	while ((c = getopt_long(argc, argv, "o:h", new_rows, NULL)) >= 0) {
		if (c == 'h') {
			fputs(help_new, stdout);
			return CLI_OK;
		}
		if (!take_option(w, c, optarg))
			return cli_usage("initdata new", "wrong option or value: %s",
			                 argv[optind - 1]);
	}
	if (optind < argc)
		return cli_usage("initdata new", "unexpected \"%s\"", argv[optind]);
	if (w->kbs && !cf_starts_with(w->kbs, "http://") && !cf_starts_with(w->kbs, "https://"))
		return cli_usage("initdata new", "--kbs %s: want http(s)://HOST[:PORT]", w->kbs);
	return -1;
}

int cli_initdata_new(int argc, char **argv)
{
	struct wish w = { .alg = CF_SHA256 };
	struct cf_buf text = { .max = INITDATA_TEXT_MAX };
	struct cf_err err;
	int code = parse_wish(argc, argv, &w);

	if (code < 0) {
		code = CLI_OK;
		if (build(&w, &text, &err) < 0 || write_out(&w, cf_buf_view(&text), &err) < 0)
			code = cli_fail(&err);
		else if (w.output || w.form == FORM_TOML)
			print_digest(stderr, cf_buf_view(&text));
	}
	cf_buf_fini(&text);
	cf_strv_fini(&w.registry_ca);
	cf_strv_fini(&w.data);
	return code;
}

/* ---- digest ---- */

static bool is_base64(struct cf_view v)
{
	for (size_t i = 0; i < v.size; i++)
		if (!strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=",
		            v.data[i]) ||
		    !v.data[i])
			return false;
	return v.size > 0;
}

/* The text in @in, whichever carrier it is in. */
static int unwrap(struct cf_view in, struct cf_buf *ret, struct cf_err *err)
{
	struct cf_view trimmed = in;
	int r = initdata_from_disk(in, ret, err);

	if (r != INITDATA_E_NO_DISK)
		return r;
	if (cf_is_gzip(in)) {
		ret->max = INITDATA_TEXT_MAX;
		return cf_gunzip(in, INITDATA_TEXT_MAX, ret, err);
	}
	while (trimmed.size && strchr("\r\n ", trimmed.data[trimmed.size - 1]))
		trimmed.size--;
	if (is_base64(trimmed))
		return initdata_from_annotation(trimmed, ret, err);
	ret->max = INITDATA_TEXT_MAX;
	cf_buf_add_view(ret, in);
	return cf_buf_check(ret, "initdata", err);
}

static void khex(struct cf_jw *w, const char *key, const uint8_t *data, size_t size)
{
	cf_jw_key(w, key);
	cf_jw_hex(w, cf_view(data, size));
}

static void print_json(const struct initdata *d)
{
	struct cf_buf out = { 0 };
	struct cf_jw w = { .out = &out, .pretty = true };
	struct cf_view text = cf_buf_view(&d->text);
	uint8_t digest[CF_HASH_SIZE_MAX], field[64];
	size_t size = cf_hash_size(d->alg);

	initdata_digest(d, digest);
	cf_jw_obj(&w);
	cf_jw_kstr(&w, "schema", "coffer.initdata/1");
	cf_jw_kstr(&w, "algorithm", cf_hash_name(d->alg));
	khex(&w, "digest", digest, size);
	initdata_pcr8_event(text, field);
	khex(&w, "sha256", field, 32);
	initdata_pcr8_value(text, field);
	khex(&w, "pcr8", field, 32);
	initdata_field(cf_view(digest, size), field, 32);
	khex(&w, "host_data", field, 32);
	initdata_field(cf_view(digest, size), field, 48);
	khex(&w, "mr_config_id", field, 48);
	initdata_field(cf_view(digest, size), field, 64);
	khex(&w, "personalization", field, 64);
	cf_jw_key(&w, "entries");
	cf_jw_arr(&w);
	for (size_t i = 0; i < cf_toml_count(d->data); i++)
		cf_jw_str(&w, cf_toml_key_at(d->data, i));
	cf_jw_end_arr(&w);
	cf_jw_end_obj(&w);
	printf("%s\n", (const char *)out.data);
	cf_buf_fini(&out);
}

static int digest_file(const char *path, bool json, struct cf_err *err)
{
	cf_cleanup(initdata_freep) struct initdata *d = NULL;
	struct cf_buf in = { .max = INITDATA_TEXT_MAX }, text = { 0 };
	int r = cf_streq(path, "-") ? cf_read_all(STDIN_FILENO, in.max, &in, err)
	                            : cf_read_file(path, in.max, &in, err);

	if (r == 0)
		r = unwrap(cf_buf_view(&in), &text, err);
	if (r == 0)
		r = initdata_parse(cf_buf_view(&text), &d, err);
	if (r == 0 && json)
		print_json(d);
	else if (r == 0)
		print_digest(stdout, cf_buf_view(&text));
	cf_buf_fini(&in);
	cf_buf_fini(&text);
	return r < 0 ? cf_wrap(err, r, "%s", path) : 0;
}

int cli_initdata_digest(int argc, char **argv)
{
	const char *path = NULL;
	bool json = false;
	struct cf_err err;

	for (int i = 1; i < argc; i++) {
		if (cf_streq(argv[i], "--help") || cf_streq(argv[i], "-h")) {
			fputs(help_digest, stdout);
			return CLI_OK;
		}
		if (cf_streq(argv[i], "--json"))
			json = true;
		else if (!path && (argv[i][0] != '-' || !argv[i][1]))
			path = argv[i];
		else
			return cli_usage("initdata digest", "unexpected \"%s\"", argv[i]);
	}
	if (!path)
		return cli_usage("initdata digest", "FILE is missing");
	return digest_file(path, json, &err) < 0 ? cli_fail(&err) : CLI_OK;
}
