/* SPDX-License-Identifier: Apache-2.0 */
#include "base/toml.h"
#include "vmm-glue/guest/native_policy_tree.h"

static const char *const document_keys[] = { "version", "container", NULL };
static const char *const container_keys[] = {
	"image",
	"name",
	"encrypted",
	"args",
	"env",
	"cwd",
	"user",
	"exec",
	"readonly_rootfs",
	"no_new_privileges",
	"logs",
	"capabilities",
	"privileged",
	"stdin",
	"devices",
	"mounts",
	"groups",
	"share_pids",
	NULL,
};

static unsigned line_of(const struct cf_toml *table, const char *key)
{
	return cf_toml_line(cf_toml_get(table, key));
}

static int parse_list(const struct cf_toml *table, const char *key, struct cf_strv *ret,
                      struct cf_err *err)
{
	const struct cf_toml *v = cf_toml_get(table, key);

	if (cf_toml_is(v, CF_TOML_ARRAY) && cf_toml_count(v) > NATIVE_POLICY_ITEMS_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "line %u: %s: more than %u entries",
		               cf_toml_line(v), key, NATIVE_POLICY_ITEMS_MAX);
	return cf_toml_get_strv(table, key, ret, err);
}

static int parse_id(struct cf_view text, uint32_t *ret, unsigned line, struct cf_err *err)
{
	uint64_t id = 0;
	int r;

	r = cf_parse_u64(text, UINT32_MAX - 1, &id, err);
	if (r < 0)
		return cf_wrap(err, r, "line %u: user", line);
	*ret = (uint32_t)id;
	return 0;
}

/* "1000" or "1000:1000". */
static int parse_user(struct policy_container *c, const struct cf_toml *table, struct cf_err *err)
{
	const char *text = NULL;
	struct cf_view v;
	ssize_t colon;
	int r;

	r = cf_toml_get_str(table, "user", NULL, &text, err);
	if (r < 0 || !text)
		return r;
	v = cf_view_str(text);
	colon = cf_view_find(v, ':');
	c->has_user = true;
	c->has_gid = colon >= 0;
	r = parse_id(cf_view_sub(v, 0, colon < 0 ? v.size : (size_t)colon), &c->uid,
	             line_of(table, "user"), err);
	if (r < 0 || !c->has_gid)
		return r;
	return parse_id(cf_view_sub(v, (size_t)colon + 1, v.size), &c->gid, line_of(table, "user"),
	                err);
}

static int parse_caps(struct policy_container *c, const struct cf_toml *table, struct cf_err *err)
{
	struct cf_strv names = { 0 };
	int r;

	c->has_caps = cf_toml_get(table, "capabilities") != NULL;
	r = parse_list(table, "capabilities", &names, err);
	for (size_t i = 0; r == 0 && i < names.count; i++) {
		const char *name = names.items[i];

		cf_strv_addf(&c->caps, "%s%s", cf_starts_with(name, "CAP_") ? "" : "CAP_", name);
		if (!policy_cap_is_known(c->caps.items[i]))
			r = cf_fail(err, CF_INVALID_ARGUMENT, "line %u: capability %s is unknown",
			            line_of(table, "capabilities"), name);
	}
	cf_strv_fini(&names);
	return r;
}

static int parse_groups(struct policy_container *c, const struct cf_toml *table, struct cf_err *err)
{
	const struct cf_toml *list = cf_toml_get(table, "groups");

	if (!list)
		return 0;
	if (!cf_toml_is(list, CF_TOML_ARRAY) || cf_toml_count(list) > NATIVE_POLICY_ITEMS_MAX)
		return cf_fail(err, CF_INVALID_ARGUMENT, "line %u: groups is a list of numbers",
		               cf_toml_line(list));
	c->groups = cf_zalloc_n(cf_toml_count(list) + 1, sizeof(*c->groups));
	for (size_t i = 0; i < cf_toml_count(list); i++) {
		const struct cf_toml *v = cf_toml_at(list, i);

		if (!cf_toml_is(v, CF_TOML_INT) || cf_toml_int(v) < 0 ||
		    cf_toml_int(v) >= UINT32_MAX)
			return cf_fail(err, CF_INVALID_ARGUMENT,
			               "line %u: groups is a list of numbers", cf_toml_line(v));
		c->groups[c->group_count++] = (uint32_t)cf_toml_int(v);
	}
	return 0;
}

static int parse_command(struct policy_container *c, const struct cf_toml *words,
                         struct cf_err *err)
{
	struct policy_command *cmd = &c->exec[c->exec_count++];

	cmd->line = cf_toml_line(words);
	if (!cf_toml_is(words, CF_TOML_ARRAY) || cf_toml_count(words) == 0 ||
	    cf_toml_count(words) > NATIVE_POLICY_ITEMS_MAX)
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "line %u: exec: each command is a list of its words", cmd->line);
	for (size_t i = 0; i < cf_toml_count(words); i++) {
		const char *word = cf_toml_str(cf_toml_at(words, i));

		if (!cf_toml_is(cf_toml_at(words, i), CF_TOML_STRING))
			return cf_fail(err, CF_INVALID_ARGUMENT,
			               "line %u: exec: word %zu is no string", cmd->line, i + 1);
		cf_strv_add(&cmd->argv, word);
	}
	return 0;
}

static int parse_exec(struct policy_container *c, const struct cf_toml *table, struct cf_err *err)
{
	const struct cf_toml *list = cf_toml_get(table, "exec");
	int r = 0;

	if (!list)
		return 0;
	if (!cf_toml_is(list, CF_TOML_ARRAY))
		return cf_fail(err, CF_INVALID_ARGUMENT, "line %u: exec is no list of commands",
		               cf_toml_line(list));
	if (cf_toml_count(list) > NATIVE_POLICY_ITEMS_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "line %u: exec: more than %u commands",
		               cf_toml_line(list), NATIVE_POLICY_ITEMS_MAX);
	c->exec = cf_zalloc_n(cf_toml_count(list) + 1, sizeof(*c->exec));
	for (size_t i = 0; r == 0 && i < cf_toml_count(list); i++)
		r = parse_command(c, cf_toml_at(list, i), err);
	return r;
}

static int parse_encrypted(struct policy_container *c, const struct cf_toml *table,
                           struct cf_err *err)
{
	const char *text = NULL;
	int r;

	r = cf_toml_get_str(table, "encrypted", "optional", &text, err);
	if (r < 0)
		return r;
	c->must_be_encrypted = cf_streq(text, "required");
	if (!c->must_be_encrypted && !cf_streq(text, "optional"))
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "line %u: encrypted is \"required\" or \"optional\"",
		               line_of(table, "encrypted"));
	return 0;
}

static int parse_text(const struct cf_toml *table, const char *key, char **ret, struct cf_err *err)
{
	const char *text = NULL;
	int r;

	r = cf_toml_get_str(table, key, NULL, &text, err);
	if (r < 0)
		return r;
	if (text && !*text)
		return cf_fail(err, CF_INVALID_ARGUMENT, "line %u: %s is empty",
		               line_of(table, key), key);
	*ret = cf_strdup(text);
	return 0;
}

static int parse_switches(struct policy_container *c, const struct cf_toml *table,
                          struct cf_err *err)
{
	const struct {
		const char *key;
		bool fallback;
		bool *ret;
	} rows[] = {
		{ "privileged", false, &c->is_privileged },
		{ "share_pids", false, &c->may_share_pids },
		{ "readonly_rootfs", false, &c->must_be_readonly },
		{ "no_new_privileges", false, &c->must_not_gain },
		{ "logs", true, &c->may_read },
		{ "stdin", false, &c->may_write },
	};
	int r = 0;

	for (size_t i = 0; r == 0 && i < CF_ARRAY_LEN(rows); i++)
		r = cf_toml_get_bool(table, rows[i].key, rows[i].fallback, rows[i].ret, err);
	return r;
}

static int check_items(const struct cf_toml *table, const struct policy_container *c,
                       struct cf_err *err)
{
	for (size_t i = 0; i < c->env.count; i++)
		if (c->env.items[i][0] == '=' || !strchr(c->env.items[i], '='))
			return cf_fail(err, CF_INVALID_ARGUMENT,
			               "line %u: env: \"%s\" is not NAME=value or NAME=*",
			               line_of(table, "env"), c->env.items[i]);
	for (size_t i = 0; i < c->mounts.count; i++)
		if (c->mounts.items[i][0] != '/')
			return cf_fail(err, CF_INVALID_ARGUMENT,
			               "line %u: mounts: \"%s\" is no absolute path",
			               line_of(table, "mounts"), c->mounts.items[i]);
	for (size_t i = 0; i < c->devices.count; i++)
		if (!cf_starts_with(c->devices.items[i], "/dev/"))
			return cf_fail(err, CF_INVALID_ARGUMENT,
			               "line %u: devices: \"%s\" is not below /dev",
			               line_of(table, "devices"), c->devices.items[i]);
	return 0;
}

static int parse_container(struct policy_container *c, const struct cf_toml *table,
                           struct cf_err *err)
{
	int r;

	c->line = cf_toml_line(table);
	if (!cf_toml_is(table, CF_TOML_TABLE))
		return cf_fail(err, CF_INVALID_ARGUMENT, "line %u: container is no table", c->line);
	r = cf_toml_only(table, container_keys, err);
	if (r == 0)
		r = parse_text(table, "image", &c->image, err);
	if (r == 0 && !c->image)
		return cf_fail(err, CF_INVALID_ARGUMENT, "line %u: a container needs an image",
		               c->line);
	c->has_args = cf_toml_get(table, "args") != NULL;
	if (r == 0)
		r = parse_text(table, "name", &c->name, err);
	if (r == 0)
		r = parse_text(table, "cwd", &c->cwd, err);
	if (r == 0)
		r = parse_encrypted(c, table, err);
	if (r == 0)
		r = parse_list(table, "args", &c->args, err);
	if (r == 0)
		r = parse_list(table, "env", &c->env, err);
	if (r == 0)
		r = parse_list(table, "devices", &c->devices, err);
	if (r == 0)
		r = parse_list(table, "mounts", &c->mounts, err);
	if (r == 0)
		r = parse_user(c, table, err);
	if (r == 0)
		r = parse_groups(c, table, err);
	if (r == 0)
		r = parse_caps(c, table, err);
	if (r == 0)
		r = parse_exec(c, table, err);
	if (r == 0)
		r = parse_switches(c, table, err);
	if (r == 0)
		r = check_items(table, c, err);
	return r;
}

static int parse_document(struct native_policy *p, const struct cf_toml *root, struct cf_err *err)
{
	const struct cf_toml *list = cf_toml_get(root, "container");
	int64_t version = 0;
	int r;

	r = cf_toml_only(root, document_keys, err);
	if (r == 0)
		r = cf_toml_get_int(root, "version", 1, INT32_MAX, 1, &version, err);
	if (r < 0)
		return r;
	if (version != 1)
		return cf_fail(err, CF_UNIMPLEMENTED, "line %u: version %d, where 1 is known",
		               line_of(root, "version"), (int)version);
	if (!list)
		return 0; /* a policy that names no container allows none */
	if (!cf_toml_is(list, CF_TOML_ARRAY))
		return cf_fail(err, CF_INVALID_ARGUMENT, "line %u: write [[container]]",
		               cf_toml_line(list));
	if (cf_toml_count(list) > NATIVE_POLICY_CONTAINERS_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "more than %u containers",
		               NATIVE_POLICY_CONTAINERS_MAX);
	p->containers = cf_zalloc_n(cf_toml_count(list) + 1, sizeof(*p->containers));
	for (; r == 0 && p->count < cf_toml_count(list); p->count++)
		r = parse_container(&p->containers[p->count], cf_toml_at(list, p->count), err);
	return r;
}

int native_policy_parse(struct cf_view text, struct native_policy **ret, struct cf_err *err)
{
	cf_cleanup(native_policy_freep) struct native_policy *p = NULL;
	cf_cleanup(cf_toml_freep) struct cf_toml *root = NULL;
	int r;

	if (text.size > NATIVE_POLICY_SIZE_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "policy.toml: more than %u bytes",
		               NATIVE_POLICY_SIZE_MAX);
	r = cf_toml_parse(text, &root, err);
	if (r < 0)
		return cf_wrap(err, r, "policy.toml");
	p = cf_zalloc(sizeof(*p));
	r = parse_document(p, root, err);
	if (r < 0)
		return cf_wrap(err, r, "policy.toml");
	*ret = cf_take(&p);
	return 0;
}

static void container_fini(struct policy_container *c)
{
	free(c->name);
	free(c->image);
	free(c->cwd);
	free(c->groups);
	cf_strv_fini(&c->args);
	cf_strv_fini(&c->env);
	cf_strv_fini(&c->caps);
	cf_strv_fini(&c->devices);
	cf_strv_fini(&c->mounts);
	for (size_t i = 0; i < c->exec_count; i++)
		cf_strv_fini(&c->exec[i].argv);
	free(c->exec);
}

struct native_policy *native_policy_free(struct native_policy *p)
{
	if (!p)
		return NULL;
	/* One beyond the count: an entry that failed half way; calloc'ed either way. */
	for (size_t i = 0; p->containers && i <= p->count; i++)
		container_fini(&p->containers[i]);
	free(p->containers);
	free(p);
	return NULL;
}
