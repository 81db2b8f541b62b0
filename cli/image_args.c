/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/image_args.h"

#include "base/http.h"
#include "proto/cosign_key.h"

static const char registry_usage[] =
	"\n"
	"IMAGE is REF or docker://REF (a registry) or oci:DIR[:TAG].\n"
	"\n"
	"  --authfile FILE       registry credentials\n"
	"  --cert-dir DIR        more trust anchors (*.crt, *.pem)\n"
	"  --tls-verify=false    do not check certificates; plain HTTP where there is no TLS\n"
	"  --platform OS/ARCH    choose this one of a multi-platform image\n"
	"  --retry N             how often a failed request is repeated\n"
	"  --json                the answer as one JSON object\n";

/* 1: taken. */
static int take_option(struct image_args *a, int argc, char **argv, int *i, struct cf_err *err)
{
	for (size_t n = 0; n < a->option_count; n++) {
		const struct image_option *o = &a->options[n];
		const char *value = oci_option_value(o->name, argc, argv, i);

		if (!value && cf_streq(argv[*i], o->name))
			return cf_fail(err, CF_INVALID_ARGUMENT, "%s needs a value", o->name);
		if (!value)
			continue;
		if (*o->count == o->max)
			return cf_fail(err, CF_INVALID_ARGUMENT, "%s: too often", o->name);
		o->values[(*o->count)++] = value;
		return 1;
	}
	return oci_options_take(&a->registry, argc, argv, i, err);
}

static int take_place(struct image_args *a, const char *text, struct cf_err *err)
{
	for (size_t i = 0; i < a->place_count; i++) {
		if (!a->places[i]) {
			a->places[i] = text;
			return 0;
		}
	}
	return cf_fail(err, CF_INVALID_ARGUMENT, "%s: one argument too many", text);
}

static int take(struct image_args *a, int argc, char **argv, int *i, struct cf_err *err)
{
	int r = take_option(a, argc, argv, i, err);

	if (r != 0)
		return r < 0 ? r : 0;
	if (cf_streq(argv[*i], "--json")) {
		a->json = true;
		return 0;
	}
	if (argv[*i][0] == '-')
		return cf_fail(err, CF_INVALID_ARGUMENT, "%s: no such option", argv[*i]);
	return take_place(a, argv[*i], err);
}

static int parse(struct image_args *a, int argc, char **argv, struct cf_err *err)
{
	for (int i = 1; i < argc; i++) {
		int r = take(a, argc, argv, &i, err);

		if (r < 0)
			return r;
	}
	if (!a->places[a->place_count - 1])
		return cf_fail(err, CF_INVALID_ARGUMENT, "an image is missing");
	return 0;
}

int image_args_parse(struct image_args *a, int argc, char **argv, int *ret_exit)
{
	struct cf_err err;

	oci_options_init(&a->registry);
	for (int i = 1; i < argc; i++) {
		if (cf_streq(argv[i], "--help") || cf_streq(argv[i], "-h")) {
			printf("%s%s", a->usage, registry_usage);
			*ret_exit = CLI_OK;
			return IMAGE_ARGS_DONE;
		}
	}
	if (parse(a, argc, argv, &err) < 0) {
		*ret_exit = cli_usage(a->command, "%s", err.msg);
		return IMAGE_ARGS_DONE;
	}
	cf_http_global_init();
	if (oci_options_load(&a->registry, &err) < 0) {
		*ret_exit = cli_fail(&err);
		return IMAGE_ARGS_DONE;
	}
	return 0;
}

void image_args_fini(struct image_args *a)
{
	oci_options_fini(&a->registry);
}

int image_args_open(const struct image_args *a, size_t i, struct oci_source **ret,
                    struct cf_err *err)
{
	const struct oci_source_config config = oci_options_config(&a->registry);

	return oci_source_open(a->places[i], &config, ret, err);
}

int image_args_create(const struct image_args *a, size_t i, struct oci_source **ret,
                      struct cf_err *err)
{
	const struct oci_source_config config = oci_options_config(&a->registry);

	return oci_source_create(a->places[i], &config, ret, err);
}

const char *image_target_tag(const struct oci_source *src)
{
	const struct oci_ref *ref = oci_source_ref(src);

	return ref ? ref->tag : oci_source_layout_tag(src);
}

char *image_pinned(const struct oci_source *src, const struct oci_digest *digest)
{
	const struct oci_ref *ref = oci_source_ref(src);

	if (!ref)
		return cf_asprintf("oci:%s@%s", oci_source_layout_dir(src), digest->text);
	cf_cleanup(cf_freep) char *name = oci_ref_name(ref);

	return cf_asprintf("%s@%s", name, digest->text);
}

/* With the password where cosign looks for it. */
static int open_cosign_key(struct cf_view text, struct cf_pkey **ret, struct cf_err *err)
{
	const char *password = getenv("COSIGN_PASSWORD");

	if (!password)
		return cf_fail(err, CF_FAILED_PRECONDITION,
		               "it is encrypted; COSIGN_PASSWORD is not set");
	return cosign_key_open(text, cf_view_str(password), ret, err);
}

int image_read_pkey(const char *path, bool need_private, struct cf_pkey **ret, struct cf_err *err)
{
	cf_cleanup(cf_secret_freep) struct cf_secret *text = NULL;
	cf_cleanup(cf_pkey_freep) struct cf_pkey *key = NULL;
	int r = cf_secret_read_file(path, &text, err);

	if (r < 0)
		return cf_wrap(err, r, "key %s", path);
	if (cosign_key_is(cf_secret_view(text)))
		r = open_cosign_key(cf_secret_view(text), &key, err);
	else
		r = cf_pkey_parse(cf_secret_view(text), &key, err);
	if (r == 0 && need_private && !cf_pkey_is_private(key))
		r = cf_fail(err, CF_INVALID_ARGUMENT,
		            "it is a public key; the private one is needed");
	if (r < 0)
		return cf_wrap(err, r, "key %s", path);
	*ret = cf_take(&key);
	return 0;
}
