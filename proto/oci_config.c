/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"
#include "proto/oci_manifest.h"

#define STRINGS_MAX 4096 /* entries of one list: arguments, environment, volumes */

static int opt_text(const struct cf_json *obj, const char *key, char **ret, struct cf_err *err)
{
	struct cf_view v = { 0 };
	int r = cf_json_opt_str(obj, key, &v, err);

	if (r < 0 || !v.data)
		return r;
	if (cf_view_has_nul(v))
		return cf_fail(err, CF_INVALID_ARGUMENT, "%s holds a NUL", key);
	*ret = cf_view_dup(v);
	return 0;
}

static int parse_strings(const struct cf_json *obj, const char *key, struct cf_strv *ret,
                         struct cf_err *err)
{
	const struct cf_json *list = cf_json_get(obj, key);

	if (cf_json_type(list) == CF_JSON_NULL)
		return 0;
	if (cf_json_type(list) != CF_JSON_ARRAY)
		return cf_fail(err, CF_INVALID_ARGUMENT, "%s is no list", key);
	if (cf_json_len(list) > STRINGS_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "%s: over %d entries", key, STRINGS_MAX);
	for (size_t i = 0; i < cf_json_len(list); i++) {
		const struct cf_json *item = cf_json_at(list, i);

		if (cf_json_type(item) != CF_JSON_STRING || cf_view_has_nul(cf_json_str(item)))
			return cf_fail(err, CF_INVALID_ARGUMENT, "%s %zu is no string", key, i);
		cf_strv_add_take(ret, cf_view_dup(cf_json_str(item)));
	}
	return 0;
}

/* Sets are written as objects with empty objects as values. */
static int parse_set(const struct cf_json *obj, const char *key, struct cf_strv *ret,
                     struct cf_err *err)
{
	const struct cf_json *map = cf_json_get(obj, key);
	const struct cf_json *value;
	const char *name;
	void *it = NULL;

	if (cf_json_type(map) == CF_JSON_NULL)
		return 0;
	if (cf_json_type(map) != CF_JSON_OBJECT)
		return cf_fail(err, CF_INVALID_ARGUMENT, "%s is no object", key);
	if (cf_json_len(map) > STRINGS_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "%s: over %d entries", key, STRINGS_MAX);
	while (cf_json_next(map, &it, &name, &value))
		cf_strv_add(ret, name);
	return 0;
}

static int parse_labels(const struct cf_json *obj, struct oci_pairs *ret, struct cf_err *err)
{
	const struct cf_json *map = cf_json_get(obj, "Labels");
	const struct cf_json *value;
	const char *name;
	void *it = NULL;

	if (cf_json_type(map) == CF_JSON_NULL)
		return 0;
	if (cf_json_type(map) != CF_JSON_OBJECT)
		return cf_fail(err, CF_INVALID_ARGUMENT, "Labels is no object");
	if (cf_json_len(map) > OCI_ANNOTATIONS_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "Labels: over %d entries",
		               OCI_ANNOTATIONS_MAX);
	while (cf_json_next(map, &it, &name, &value)) {
		if (cf_json_type(value) != CF_JSON_STRING || cf_view_has_nul(cf_json_str(value)))
			return cf_fail(err, CF_INVALID_ARGUMENT, "a label is no string");
		cf_cleanup(cf_freep) char *text = cf_view_dup(cf_json_str(value));

		oci_pairs_set(ret, name, text);
	}
	return 0;
}

static int parse_run(const struct cf_json *run, struct oci_config *c, struct cf_err *err)
{
	if (cf_json_type(run) == CF_JSON_NULL)
		return 0;
	if (cf_json_type(run) != CF_JSON_OBJECT)
		return cf_fail(err, CF_INVALID_ARGUMENT, "config is no object");
	int r = opt_text(run, "User", &c->user, err);

	if (r == 0)
		r = opt_text(run, "WorkingDir", &c->working_dir, err);
	if (r == 0)
		r = opt_text(run, "StopSignal", &c->stop_signal, err);
	if (r == 0)
		r = parse_strings(run, "Env", &c->env, err);
	if (r == 0)
		r = parse_strings(run, "Entrypoint", &c->entrypoint, err);
	if (r == 0)
		r = parse_strings(run, "Cmd", &c->cmd, err);
	if (r == 0)
		r = parse_set(run, "Volumes", &c->volumes, err);
	if (r == 0)
		r = parse_set(run, "ExposedPorts", &c->exposed_ports, err);
	if (r == 0)
		r = parse_labels(run, &c->labels, err);
	return r;
}

static int parse_diff_ids(const struct cf_json *root, struct oci_config *c, struct cf_err *err)
{
	const struct cf_json *rootfs, *list;
	int r = cf_json_need(root, "rootfs", CF_JSON_OBJECT, &rootfs, err);

	if (r == 0)
		r = cf_json_need(rootfs, "diff_ids", CF_JSON_ARRAY, &list, err);
	if (r < 0)
		return r;
	if (cf_json_len(list) > OCI_LAYERS_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "diff_ids: over %d entries",
		               OCI_LAYERS_MAX);
	c->diff_ids = cf_zalloc_n(cf_json_len(list) + 1, sizeof(*c->diff_ids));
	for (; c->diff_id_count < cf_json_len(list); c->diff_id_count++) {
		r = oci_digest_parse(cf_json_str(cf_json_at(list, c->diff_id_count)),
		                     &c->diff_ids[c->diff_id_count], err);
		if (r < 0)
			return cf_wrap(err, r, "diff_id %zu", c->diff_id_count);
	}
	return 0;
}

static int parse_config(const struct cf_json *root, struct oci_config *c, struct cf_err *err)
{
	if (cf_json_type(root) != CF_JSON_OBJECT)
		return cf_fail(err, CF_INVALID_ARGUMENT, "not a JSON object");
	int r = opt_text(root, "os", &c->os, err);

	if (r == 0)
		r = opt_text(root, "architecture", &c->architecture, err);
	if (r == 0)
		r = opt_text(root, "variant", &c->variant, err);
	if (r == 0)
		r = opt_text(root, "os.version", &c->os_version, err);
	if (r == 0)
		r = opt_text(root, "author", &c->author, err);
	if (r == 0)
		r = opt_text(root, "created", &c->created, err);
	if (r == 0)
		r = parse_strings(root, "os.features", &c->os_features, err);
	if (r == 0)
		r = parse_diff_ids(root, c, err);
	if (r == 0)
		r = parse_run(cf_json_get(root, "config"), c, err);
	if (r == 0 && (!c->os || !c->architecture))
		r = cf_fail(err, CF_INVALID_ARGUMENT, "os or architecture is missing");
	return r;
}

int oci_config_parse(struct cf_view text, struct oci_config *ret, struct cf_err *err)
{
	cf_cleanup(cf_json_freep) struct cf_json *root = NULL;
	struct oci_config c = { 0 };
	int r = cf_json_parse(text, OCI_CONFIG_SIZE_MAX, &root, err);

	if (r == 0)
		r = parse_config(root, &c, err);
	if (r < 0) {
		oci_config_fini(&c);
		return cf_wrap(err, r, "image config");
	}
	*ret = c;
	return 0;
}

void oci_config_fini(struct oci_config *c)
{
	free(c->os);
	free(c->architecture);
	free(c->variant);
	free(c->os_version);
	free(c->author);
	free(c->created);
	free(c->user);
	free(c->working_dir);
	free(c->stop_signal);
	free(c->diff_ids);
	cf_strv_fini(&c->os_features);
	cf_strv_fini(&c->env);
	cf_strv_fini(&c->entrypoint);
	cf_strv_fini(&c->cmd);
	cf_strv_fini(&c->volumes);
	cf_strv_fini(&c->exposed_ports);
	oci_pairs_fini(&c->labels);
	*c = (struct oci_config){ 0 };
}

/* ---- one label more ---- */

static void write_labels(struct cf_jw *w, const struct cf_json *labels, const char *key,
                         const char *value)
{
	const struct cf_json *v;
	const char *name;
	void *it = NULL;

	cf_jw_obj(w);
	while (cf_json_next(labels, &it, &name, &v)) {
		if (strcmp(name, key) == 0)
			continue;
		cf_jw_key(w, name);
		cf_jw_json(w, v);
	}
	cf_jw_kstr(w, key, value);
	cf_jw_end_obj(w);
}

static void write_run(struct cf_jw *w, const struct cf_json *run, const char *key,
                      const char *value)
{
	const struct cf_json *v;
	const char *name;
	void *it = NULL;

	cf_jw_obj(w);
	while (cf_json_next(run, &it, &name, &v)) {
		if (strcmp(name, "Labels") == 0)
			continue;
		cf_jw_key(w, name);
		cf_jw_json(w, v);
	}
	cf_jw_key(w, "Labels");
	write_labels(w, cf_json_get(run, "Labels"), key, value);
	cf_jw_end_obj(w);
}

int oci_config_add_label(struct cf_view text, const char *key, const char *value,
                         struct cf_buf *ret, struct cf_err *err)
{
	cf_cleanup(cf_json_freep) struct cf_json *root = NULL;
	struct oci_config check = { 0 };
	struct cf_jw w = { .out = ret };
	const struct cf_json *v;
	const char *name;
	void *it = NULL;
	int r = oci_config_parse(text, &check, err); /* refuses shapes that we would lose */

	if (r < 0)
		return r;
	oci_config_fini(&check);
	r = cf_json_parse(text, OCI_CONFIG_SIZE_MAX, &root, err);
	if (r < 0)
		return r;
	cf_jw_obj(&w);
	while (cf_json_next(root, &it, &name, &v)) {
		if (strcmp(name, "config") == 0)
			continue;
		cf_jw_key(&w, name);
		cf_jw_json(&w, v);
	}
	cf_jw_key(&w, "config");
	write_run(&w, cf_json_get(root, "config"), key, value);
	cf_jw_end_obj(&w);
	return cf_buf_check(ret, "image config", err);
}
