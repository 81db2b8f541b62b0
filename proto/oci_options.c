/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/oci_options.h"

#include "base/fd.h"
#include "proto/registry_auth.h"

#include <dirent.h>
#include <errno.h>
#include <unistd.h>

#define CA_FILE_MAX (1u << 20)

void oci_options_init(struct oci_options *o)
{
	*o = (struct oci_options){ .platform = oci_platform_own() };
}

void oci_options_fini(struct oci_options *o)
{
	free(o->auth_used);
	free(o->platform_text);
	cf_buf_wipe(&o->auth);
	for (size_t i = 0; i < o->ca_count; i++)
		cf_buf_fini(&o->ca[i]);
	oci_options_init(o);
}

const char *oci_option_value(const char *name, int argc, char **argv, int *i)
{
	const char *rest = cf_after(argv[*i], name);

	if (rest && *rest == '=')
		return rest + 1;
	if (rest && !*rest && *i + 1 < argc)
		return argv[++*i];
	return NULL;
}

static int take_value(struct oci_options *o, const char *name, const char *value,
                      struct cf_err *err)
{
	uint64_t n;

	if (cf_streq(name, "--authfile"))
		o->auth_path = value;
	else if (cf_streq(name, "--cert-dir"))
		o->cert_dir = value;
	else if (cf_streq(name, "--platform")) {
		free(o->platform_text);
		o->platform_text = NULL;
		return oci_platform_parse(value, &o->platform_text, &o->platform, err);
	} else {
		int r = cf_parse_u64(cf_view_str(value), 100, &n, err);

		if (r < 0)
			return cf_wrap(err, r, "--retry");
		o->attempts = (unsigned)n + 1;
	}
	return 0;
}

int oci_options_take(struct oci_options *o, int argc, char **argv, int *i, struct cf_err *err)
{
	static const char *const names[] = { "--authfile", "--cert-dir", "--platform", "--retry" };

	if (cf_streq(argv[*i], "--tls-verify=false") || cf_streq(argv[*i], "--tls-verify=true") ||
	    cf_streq(argv[*i], "--tls-verify")) {
		o->tls_verify_off = cf_ends_with(argv[*i], "=false");
		return 1;
	}
	for (size_t n = 0; n < CF_ARRAY_LEN(names); n++) {
		const char *value = oci_option_value(names[n], argc, argv, i);

		if (!value && cf_streq(argv[*i], names[n]))
			return cf_fail(err, CF_INVALID_ARGUMENT, "%s needs a value", names[n]);
		if (!value)
			continue;
		int r = take_value(o, names[n], value, err);

		return r < 0 ? r : 1;
	}
	return 0;
}

static int load_ca_file(struct oci_options *o, const char *name, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/%s", o->cert_dir, name);

	if (!cf_ends_with(name, ".crt") && !cf_ends_with(name, ".pem"))
		return 0;
	if (o->ca_count == OCI_OPTIONS_CA_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "over %u certificate files",
		               OCI_OPTIONS_CA_MAX);
	int r = cf_read_file(path, CA_FILE_MAX, &o->ca[o->ca_count], err);

	if (r < 0)
		return r;
	o->ca_views[o->ca_count] = cf_buf_view(&o->ca[o->ca_count]);
	o->ca_count++;
	return 0;
}

static int load_cert_dir(struct oci_options *o, struct cf_err *err)
{
	DIR *d = opendir(o->cert_dir);
	struct dirent *e;
	int r = 0;

	if (!d)
		return cf_fail_errno(err, errno, "--cert-dir %s", o->cert_dir);
	while (r == 0 && (e = readdir(d)))
		r = load_ca_file(o, e->d_name, err);
	closedir(d);
	if (r == 0 && o->ca_count == 0)
		r = cf_fail(err, CF_NOT_FOUND, "--cert-dir %s: no .crt or .pem file", o->cert_dir);
	return r;
}

/* The first of the usual places that is there. */
static char *find_auth(void)
{
	const char *named = getenv("REGISTRY_AUTH_FILE");
	static const struct {
		const char *variable, *rest;
	} places[] = {
		{ "XDG_RUNTIME_DIR", "containers/auth.json" },
		{ "HOME", ".config/containers/auth.json" },
		{ "DOCKER_CONFIG", "config.json" },
		{ "HOME", ".docker/config.json" },
	};

	if (named && *named)
		return cf_strdup(named);
	for (size_t i = 0; i < CF_ARRAY_LEN(places); i++) {
		const char *base = getenv(places[i].variable);
		cf_cleanup(cf_freep) char *path =
			base ? cf_asprintf("%s/%s", base, places[i].rest) : NULL;

		if (path && access(path, R_OK) == 0)
			return cf_take(&path);
	}
	return NULL;
}

int oci_options_load(struct oci_options *o, struct cf_err *err)
{
	int r = 0;

	o->auth_used = o->auth_path ? cf_strdup(o->auth_path) : find_auth();
	if (o->auth_used)
		r = cf_read_file(o->auth_used, REGISTRY_AUTH_FILE_MAX, &o->auth, err);
	if (r < 0)
		return cf_wrap(err, r, "credentials");
	return o->cert_dir ? load_cert_dir(o, err) : 0;
}

struct oci_source_config oci_options_config(const struct oci_options *o)
{
	return (struct oci_source_config){
		.auth_json = cf_buf_view(&o->auth),
		.ca_pem = o->ca_views,
		.ca_count = o->ca_count,
		.tls_verify_off = o->tls_verify_off,
		.attempts = o->attempts,
	};
}
