/* SPDX-License-Identifier: Apache-2.0 */
#include "attest-agent/config.h"

#include "base/fd.h"
#include "base/json.h"
#include "base/toml.h"

void aa_config_init(struct aa_config *c)
{
	*c = (struct aa_config){
		.init_pcr = -1,
		.log_level = CF_LOG_INFO,
		.token_cache = true,
	};
}

void aa_config_fini(struct aa_config *c)
{
	free(c->kbs_url);
	free(c->kbs_cert);
	free(c->as_url);
	free(c->rest);
	aa_config_init(c);
}

/* One document of either language; exactly one of the two is set. */
struct doc {
	struct cf_toml *toml;
	struct cf_json *json;
};

static void doc_fini(struct doc *d)
{
	cf_toml_free(d->toml);
	cf_json_free(d->json);
}

static int doc_parse(struct cf_view text, struct doc *d, struct cf_err *err)
{
	size_t skip = 0;

	while (skip < text.size && (text.data[skip] == ' ' || text.data[skip] == '\n' ||
	                            text.data[skip] == '\t' || text.data[skip] == '\r'))
		skip++;
	if (skip < text.size && text.data[skip] == '{')
		return cf_json_parse(text, AA_CONFIG_MAX, &d->json, err);
	return cf_toml_parse(text, &d->toml, err);
}

static const struct cf_json *json_find(const struct cf_json *root, const char *path)
{
	struct cf_strv keys = { 0 };

	cf_strv_split(&keys, cf_view_str(path), '.');
	for (size_t i = 0; root && i < keys.count; i++)
		root = cf_json_get(root, keys.items[i]);
	cf_strv_fini(&keys);
	return root;
}

static int wrong(const char *path, const char *want, struct cf_err *err)
{
	return cf_fail(err, CF_INVALID_ARGUMENT, "%s: want a %s", path, want);
}

/* *ret (owned) is replaced when the key is there. */
static int get_text(const struct doc *d, const char *path, char **ret, struct cf_err *err)
{
	const struct cf_toml *t = cf_toml_find(d->toml, path);
	const struct cf_json *j = json_find(d->json, path);

	if (!t && !j)
		return 0;
	if (t ? !cf_toml_is(t, CF_TOML_STRING) : cf_json_type(j) != CF_JSON_STRING)
		return wrong(path, "string", err);
	free(*ret);
	*ret = t ? cf_strdup(cf_toml_str(t)) : cf_view_dup(cf_json_str(j));
	return 0;
}

static int get_bool(const struct doc *d, const char *path, bool *ret, struct cf_err *err)
{
	const struct cf_toml *t = cf_toml_find(d->toml, path);
	const struct cf_json *j = json_find(d->json, path);

	if (!t && !j)
		return 0;
	if (t ? !cf_toml_is(t, CF_TOML_BOOL) : cf_json_type(j) != CF_JSON_BOOL)
		return wrong(path, "boolean", err);
	*ret = t ? cf_toml_bool(t) : cf_json_is_true(j);
	return 0;
}

static int get_register(const struct doc *d, const char *path, int64_t *ret, struct cf_err *err)
{
	const struct cf_toml *t = cf_toml_find(d->toml, path);
	const struct cf_json *j = json_find(d->json, path);
	int64_t n = t ? cf_toml_int(t) : cf_json_int(j);

	if (!t && !j)
		return 0;
	if ((t ? !cf_toml_is(t, CF_TOML_INT) : cf_json_type(j) != CF_JSON_INT) || n < 0 || n > 255)
		return wrong(path, "register number", err);
	*ret = n;
	return 0;
}

static int get_choices(const struct doc *d, struct aa_config *c, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *key = NULL;
	cf_cleanup(cf_freep) char *level = NULL;
	cf_cleanup(cf_freep) char *ak = NULL;
	int r = get_text(d, "token_configs.kbs.tee_key_algorithm", &key, err);

	if (r == 0 && key)
		r = kbs_tee_key_parse(key, &c->tee_key, err);
	if (r == 0)
		r = get_text(d, "log.level", &level, err);
	if (r == 0 && level)
		r = cf_log_level_parse(level, &c->log_level, err);
	if (r == 0)
		r = get_text(d, "coffer.tpm_ak", &ak, err);
	if (r == 0 && ak && !cf_streq(ak, "rsa") && !cf_streq(ak, "ecc"))
		r = cf_fail(err, CF_INVALID_ARGUMENT, "coffer.tpm_ak: want \"rsa\" or \"ecc\"");
	if (r == 0 && ak)
		c->tpm_ak_ecc = cf_streq(ak, "ecc");
	return r;
}

static int get_all(const struct doc *d, struct aa_config *c, struct cf_err *err)
{
	int r = get_text(d, "token_configs.kbs.url", &c->kbs_url, err);

	if (r == 0)
		r = get_text(d, "token_configs.kbs.cert", &c->kbs_cert, err);
	if (r == 0)
		r = get_text(d, "token_configs.coco_as.url", &c->as_url, err);
	if (r == 0)
		r = get_register(d, "eventlog_config.init_pcr", &c->init_pcr, err);
	if (r == 0)
		r = get_bool(d, "eventlog_config.enable_eventlog", &c->enable_eventlog, err);
	if (r == 0)
		r = get_bool(d, "coffer.allow_sample", &c->allow_sample, err);
	if (r == 0)
		r = get_bool(d, "coffer.token_cache", &c->token_cache, err);
	if (r == 0)
		r = get_bool(d, "coffer.initdata_required", &c->initdata_required, err);
	if (r == 0)
		r = get_text(d, "coffer.rest", &c->rest, err);
	if (r == 0)
		r = get_bool(d, "coffer.rest_token", &c->rest_token, err);
	return r < 0 ? r : get_choices(d, c, err);
}

int aa_config_parse(struct aa_config *c, struct cf_view text, struct cf_err *err)
{
	struct doc d = { 0 };
	int r = doc_parse(text, &d, err);

	if (r == 0)
		r = get_all(&d, c, err);
	doc_fini(&d);
	return r < 0 ? cf_wrap(err, r, "configuration") : 0;
}

int aa_config_read_file(struct aa_config *c, const char *path, struct cf_err *err)
{
	struct cf_buf text = { 0 };
	int r = cf_read_file(path, AA_CONFIG_MAX, &text, err);

	if (r == 0)
		r = aa_config_parse(c, cf_buf_view(&text), err);
	cf_buf_fini(&text);
	return r;
}

void aa_config_kbc_params(struct aa_config *c, const char *text)
{
	const char *url = text ? cf_after(text, "cc_kbc::") : NULL;

	if (!url || !*url || c->kbs_url)
		return;
	c->kbs_url = cf_strdup(url);
}
