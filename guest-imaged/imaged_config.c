/* SPDX-License-Identifier: Apache-2.0 */
#include "guest-imaged/imaged_config.h"

#include "base/fd.h"
#include "base/toml.h"
#include "guest-imaged/image_pull.h"

void imaged_config_init(struct imaged_config *c)
{
	*c = (struct imaged_config){
		.socket = cf_strdup(IMAGED_SOCKET),
		.aa_socket = cf_strdup(IMAGED_AA_SOCKET),
		.kbc_name = cf_strdup("cc_kbc"),
		.work_dir = cf_strdup(IMAGED_WORK_DIR),
		.layers_at_once = IMAGED_LAYERS_AT_ONCE,
		.log_level = CF_LOG_INFO,
	};
}

void imaged_config_fini(struct imaged_config *c)
{
	free(c->socket);
	free(c->aa_socket);
	free(c->kbc_name);
	free(c->kbs_url);
	free(c->kbs_cert);
	free(c->work_dir);
	free(c->policy_uri);
	free(c->policy);
	free(c->auth_uri);
	cf_strv_fini(&c->ca);
	free(c->https_proxy);
	free(c->http_proxy);
	free(c->no_proxy);
	*c = (struct imaged_config){ 0 };
}

/* A string that is there replaces *field. */
static int take(const struct cf_toml *table, const char *key, char **field, struct cf_err *err)
{
	const char *text;
	int r = cf_toml_get_str(table, key, NULL, &text, err);

	if (r < 0 || !text)
		return r;
	free(*field);
	*field = cf_strdup(text);
	return 0;
}

struct field {
	const char *key;
	char **to;
};

static int take_all(const struct cf_toml *table, const struct field *fields, size_t count,
                    struct cf_err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && table && i < count; i++)
		r = take(table, fields[i].key, fields[i].to, err);
	return r;
}

static int read_kbc(const struct cf_toml *root, struct imaged_config *c, struct cf_err *err)
{
	const struct field fields[] = { { "name", &c->kbc_name },
		                        { "url", &c->kbs_url },
		                        { "kbs_cert", &c->kbs_cert } };
	const struct cf_toml *kbc;
	int r = cf_toml_get_table(root, "kbc", &kbc, err);

	if (r == 0)
		r = take_all(kbc, fields, CF_ARRAY_LEN(fields), err);
	if (r < 0)
		return r;
	if (!cf_streq(c->kbc_name, "cc_kbc") && !cf_streq(c->kbc_name, "offline_fs_kbc"))
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "[kbc] name is neither cc_kbc nor offline_fs_kbc");
	return 0;
}

static int read_proxy(const struct cf_toml *image, struct imaged_config *c, struct cf_err *err)
{
	const struct field fields[] = { { "https_proxy", &c->https_proxy },
		                        { "http_proxy", &c->http_proxy },
		                        { "no_proxy", &c->no_proxy } };
	const struct cf_toml *proxy;
	int r = cf_toml_get_table(image, "image_pull_proxy", &proxy, err);

	return r < 0 ? r : take_all(proxy, fields, CF_ARRAY_LEN(fields), err);
}

/* "on" or "off", "encrypted" or "all": a misspelt switch is no switch. */
static int read_choice(const struct cf_toml *table, const char *key, const char *usual,
                       const char *other, bool *ret, struct cf_err *err)
{
	const char *text;
	int r = cf_toml_get_str(table, key, usual, &text, err);

	if (r < 0)
		return r;
	*ret = cf_streq(text, other);
	if (!*ret && !cf_streq(text, usual))
		return cf_fail(err, CF_INVALID_ARGUMENT, "[image] %s is neither %s nor %s", key,
		               usual, other);
	return 0;
}

static int read_image(const struct cf_toml *root, struct imaged_config *c, struct cf_err *err)
{
	const struct field fields[] = {
		{ "work_dir", &c->work_dir },
		{ "image_security_policy_uri", &c->policy_uri },
		{ "image_security_policy", &c->policy },
		{ "authenticated_registry_credentials_uri", &c->auth_uri },
	};
	const struct cf_toml *image;
	int64_t at_once;
	int r = cf_toml_get_table(root, "image", &image, err);

	if (r < 0 || !image)
		return r;
	r = take_all(image, fields, CF_ARRAY_LEN(fields), err);
	if (r == 0)
		r = cf_toml_get_int(image, "max_concurrent_layer_downloads_per_image", 1,
		                    IMAGED_LAYERS_AT_ONCE_MAX, c->layers_at_once, &at_once, err);
	if (r == 0)
		r = cf_toml_get_strv(image, "extra_root_certificates", &c->ca, err);
	if (r == 0)
		r = read_choice(image, "blob_cache", "on", "off", &c->is_cache_off, err);
	if (r == 0)
		r = read_choice(image, "blob_cache_offer", "encrypted", "all", &c->is_plain_offered,
		                err);
	if (r == 0)
		r = read_proxy(image, c, err);
	if (r < 0)
		return r;
	c->layers_at_once = (unsigned)at_once;
	return 0;
}

static int read_rest(const struct cf_toml *root, struct imaged_config *c, struct cf_err *err)
{
	const struct cf_toml *aa, *log;
	const char *level = NULL;
	int r = take(root, "socket", &c->socket, err);

	if (r == 0)
		r = cf_toml_get_table(root, "aa", &aa, err);
	if (r == 0 && aa)
		r = take(aa, "aa_socket", &c->aa_socket, err);
	if (r == 0)
		r = cf_toml_get_table(root, "log", &log, err);
	if (r == 0 && log)
		r = cf_toml_get_str(log, "level", NULL, &level, err);
	if (r == 0 && level)
		r = cf_log_level_parse(level, &c->log_level, err);
	if (r < 0)
		return r;
	if (!cf_starts_with(c->socket, "unix://"))
		return cf_fail(err, CF_INVALID_ARGUMENT, "socket does not begin with unix://");
	if (cf_toml_get(root, "credentials"))
		return cf_fail(err, CF_UNIMPLEMENTED,
		               "[[credentials]]: files of resources are not written; name the "
		               "resource's kbs:// URI where it is used");
	return 0;
}

int imaged_config_parse(struct cf_view toml, struct imaged_config *c, struct cf_err *err)
{
	cf_cleanup(cf_toml_freep) struct cf_toml *root = NULL;
	struct imaged_config made;
	int r = cf_toml_parse(toml, &root, err);

	if (r < 0)
		return r;
	imaged_config_init(&made);
	r = read_rest(root, &made, err);
	if (r == 0)
		r = read_kbc(root, &made, err);
	if (r == 0)
		r = read_image(root, &made, err);
	if (r < 0) {
		imaged_config_fini(&made);
		return r;
	}
	imaged_config_fini(c);
	*c = made;
	return 0;
}

int imaged_config_read(const char *path, struct imaged_config *c, struct cf_err *err)
{
	struct cf_buf text = { 0 };
	int r = cf_read_file(path, IMAGED_CONFIG_MAX, &text, err);

	if (r == 0)
		r = imaged_config_parse(cf_buf_view(&text), c, err);
	cf_buf_wipe(&text);
	return r < 0 ? cf_wrap(err, r, "%s", path) : 0;
}
