/* SPDX-License-Identifier: Apache-2.0 */
/* coffer image sign, coffer image verify. */
#include "base/fd.h"
#include "cli/cmds_image.h"
#include "cli/image_args.h"
#include "cli/image_sign.h"
#include "proto/sig_policy.h"

static const char sign_usage[] =
	"usage: coffer image sign IMAGE --key FILE [OPTION...]\n"
	"\n"
	"Signs the digest that IMAGE stands for now, in the form of cosign, and prints it.\n"
	"\n"
	"  --key FILE            private key: PEM, or cosign's (COSIGN_PASSWORD opens it)\n"
	"  --identity NAME       registry/repository to sign for [that of IMAGE]\n";

static const char verify_usage[] =
	"usage: coffer image verify IMAGE (--policy FILE | --key FILE) [OPTION...]\n"
	"\n"
	"Asks what a guest would be told: the same policy code, the same signatures.\n"
	"Exit codes: 0 may be used, 7 refused by the policy, 10 no signature, 11 no such tag,\n"
	"12 no signature fits.\n"
	"\n"
	"  --policy FILE         policy.json\n"
	"  --key FILE            public key: a signature by it for this repository is needed\n";

/* The digest that the place stands for: of an index where there is one. */
static int resolve(struct oci_source *src, struct oci_document_bytes *ret, struct cf_err *err)
{
	return oci_source_document(src, NULL, ret, err);
}

static int sign(const struct image_args *a, const char *key, const char *identity,
                struct cf_err *err)
{
	cf_cleanup(oci_source_freep) struct oci_source *src = NULL;
	struct oci_document_bytes doc = { 0 };
	int r = image_args_create(a, 0, &src, err);

	if (r == 0)
		r = resolve(src, &doc, err);
	if (r == 0)
		r = image_sign(src, &doc.digest, identity, key, err);
	if (r == 0) {
		cf_cleanup(cf_freep) char *name = image_pinned(src, &doc.digest);

		printf("%s\n", name);
	}
	oci_document_bytes_fini(&doc);
	return r;
}

int cli_image_sign(int argc, char **argv)
{
	const char *key[1], *identity[1] = { NULL };
	size_t keys = 0, identities = 0;
	const struct image_option options[] = { { "--key", key, 1, &keys },
		                                { "--identity", identity, 1, &identities } };
	struct image_args a = { .command = "image sign",
		                .usage = sign_usage,
		                .place_count = 1,
		                .options = options,
		                .option_count = CF_ARRAY_LEN(options) };
	struct cf_err err;
	int code = CLI_OK;

	if (image_args_parse(&a, argc, argv, &code) == 0) {
		if (keys == 0)
			code = cli_usage(a.command, "--key is missing");
		else if (sign(&a, key[0], identity[0], &err) < 0)
			code = cli_fail(&err);
	}
	image_args_fini(&a);
	return code;
}

/* ---- verify ---- */

/* The policy that --key stands for. */
static char *policy_of_key(const char *key)
{
	struct cf_buf text = { 0 };

	cf_buf_add_str(&text, "{\"default\":[{\"type\":\"sigstoreSigned\",\"keyPath\":");
	cf_buf_add_json_str(&text, cf_view_str(key));
	cf_buf_add_str(&text, ",\"signedIdentity\":{\"type\":\"matchRepository\"}}]}");
	return cf_buf_take_str(&text);
}

static int load_policy(const char *path, const char *key, struct sig_policy **ret,
                       struct cf_err *err)
{
	cf_cleanup(cf_freep) char *made = key ? policy_of_key(key) : NULL;
	struct cf_buf text = { 0 };
	int r = 0;

	if (!key)
		r = cf_read_file(path, SIG_POLICY_SIZE_MAX, &text, err);
	if (r == 0)
		r = sig_policy_parse(key ? cf_view_str(made) : cf_buf_view(&text), ret, err);
	cf_buf_fini(&text);
	return r;
}

static int fetch_file(void *arg __attribute__((unused)), const char *uri, struct cf_buf *ret,
                      struct cf_err *err)
{
	const char *path = cf_after(uri, "file://");

	if (cf_starts_with(uri, "kbs"))
		return cf_fail(err, CF_FAILED_PRECONDITION,
		               "%s lies at the key broker; verify with --key FILE here", uri);
	return cf_read_file(path ? path : uri, 1u << 20, ret, err);
}

/* The platform's manifest, when the place stands for an index. */
static int find_manifest(const struct image_args *a, const struct oci_document_bytes *doc,
                         struct oci_digest *manifest, struct oci_digest *index, struct cf_err *err)
{
	const struct oci_descriptor *entry;
	struct oci_index x = { 0 };
	enum oci_document kind;
	int r = oci_document_kind(cf_buf_view(&doc->bytes), doc->media_type, &kind, err);

	*manifest = doc->digest;
	*index = (struct oci_digest){ 0 };
	if (r < 0 || kind == OCI_IS_MANIFEST)
		return r;
	r = oci_index_parse(cf_buf_view(&doc->bytes), &x, err);
	if (r == 0)
		r = oci_index_choose(&x, &a->registry.platform, &entry, err);
	if (r == 0) {
		*manifest = entry->digest;
		*index = doc->digest;
	}
	oci_index_fini(&x);
	return r;
}

static int exit_of(enum sig_reason reason, const struct cf_err *err)
{
	fprintf(stderr, "coffer: %s\n", err->msg);
	switch (reason) {
	case SIG_NO_SIGNATURE:
		return CLI_NO_SIGNATURE;
	case SIG_NO_MATCH:
		return CLI_BAD_SIGNATURE;
	default:
		return CLI_REFUSED;
	}
}

static void print_verdict(const struct image_args *a, const struct oci_source *src,
                          const struct oci_digest *manifest, const struct sig_verdict *v, bool ok)
{
	cf_cleanup(cf_freep) char *name = image_pinned(src, manifest);
	struct cf_buf out = { 0 };
	struct cf_jw w = { .out = &out };

	if (!a->json) {
		if (ok)
			printf("%s: %s\n", name, v->text);
		return;
	}
	cf_jw_obj(&w);
	cf_jw_kstr(&w, "schema", "coffer.image-verdict/1");
	cf_jw_kstr(&w, "ref", name);
	cf_jw_kbool(&w, "ok", ok);
	cf_jw_kbool(&w, "signature_verified", v->is_verified);
	cf_jw_kstr(&w, "text", v->text);
	cf_jw_end_obj(&w);
	printf("%s\n", (const char *)out.data);
	cf_buf_fini(&out);
}

static int verify(const struct image_args *a, const struct sig_policy *policy, struct cf_err *err)
{
	cf_cleanup(oci_source_freep) struct oci_source *src = NULL;
	struct oci_document_bytes doc = { 0 };
	struct oci_digest manifest, index;
	struct sig_verdict v = { 0 };
	int code = CLI_OK;
	int r = image_args_open(a, 0, &src, err);

	if (r == 0)
		r = resolve(src, &doc, err);
	if (r == 0)
		r = find_manifest(a, &doc, &manifest, &index, err);
	oci_document_bytes_fini(&doc);
	if (r < 0)
		return r == -CF_NOT_FOUND ? (cli_fail(err), CLI_NO_TAG) : cli_fail(err);
	struct sig_image image = { .src = src, .manifest = &manifest, .index = &index };

	r = sig_policy_judge(policy, &image, fetch_file, NULL, &v, err);
	if (r == 0 || r == -CF_PERMISSION_DENIED)
		print_verdict(a, src, &manifest, &v, r == 0);
	if (r == -CF_PERMISSION_DENIED)
		code = exit_of(v.reason, err);
	else if (r < 0)
		code = cli_fail(err);
	sig_verdict_fini(&v);
	return code;
}

int cli_image_verify(int argc, char **argv)
{
	const char *policy_path[1] = { NULL }, *key[1] = { NULL };
	size_t policies = 0, keys = 0;
	const struct image_option options[] = { { "--policy", policy_path, 1, &policies },
		                                { "--key", key, 1, &keys } };
	struct image_args a = { .command = "image verify",
		                .usage = verify_usage,
		                .place_count = 1,
		                .options = options,
		                .option_count = CF_ARRAY_LEN(options) };
	cf_cleanup(sig_policy_freep) struct sig_policy *policy = NULL;
	struct cf_err err;
	int code = CLI_OK;

	if (image_args_parse(&a, argc, argv, &code) == 0) {
		if (policies + keys != 1)
			code = cli_usage(a.command, "one of --policy and --key is needed");
		else if (load_policy(policy_path[0], key[0], &policy, &err) < 0)
			code = cli_fail(&err);
		else
			code = verify(&a, policy, &err);
	}
	image_args_fini(&a);
	return code;
}
