/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/shim/config.h"

#include "base/fd.h"
#include "base/toml.h"

#include <limits.h>
#include <stddef.h>
#include <unistd.h>

enum key_kind { KEY_STR, KEY_BOOL, KEY_INT };

struct config_key {
	const char *table; /* NULL: top level */
	const char *name;
	enum key_kind kind;
	size_t offset;
	int64_t min, max; /* KEY_INT */
	const char *fallback;
	int64_t number;            /* default of KEY_INT and KEY_BOOL */
	const char *const *choice; /* NULL-ended list of the texts allowed, or NULL */
};

#define AT(member) .offset = offsetof(struct shim_config, member)

static const char *const drivers[] = { "qemu", "none", NULL };
static const char *const accels[] = { "auto", "kvm", "tcg", NULL };
static const char *const tees[] = { "none", "snp", "tdx", NULL };
static const char *const transports[] = { "virtio-serial", "vsock", NULL };
static const char *const networks[] = { "tc", "bridge", "user", "none", NULL };
static const char *const tpms[] = { "none", "swtpm", NULL };

static const struct config_key keys[] = {
	{ NULL, "driver", KEY_STR, AT(driver), .fallback = "qemu", .choice = drivers },
	{ NULL, "run_dir", KEY_STR, AT(run_dir), .fallback = SHIM_RUN_DIR },
	{ NULL, "force_guest_pull", KEY_BOOL, AT(is_force_guest_pull) },
	{ NULL, "bench", KEY_BOOL, AT(is_bench) },
	{ NULL, "blob_cache", KEY_STR, AT(blob_cache) },
	{ NULL, "early_pull", KEY_STR, AT(early_pull) },
	{ NULL, "pull_reports", KEY_STR, AT(pull_reports), .fallback = SHIM_PULL_REPORTS },
	{ "timeouts", "boot_ms", KEY_INT, AT(boot_timeout_ms), 100, 3600000, .number = 90000 },
	{ "timeouts", "request_ms", KEY_INT, AT(request_timeout_ms), 100, 3600000,
	  .number = 60000 },
	{ "timeouts", "create_ms", KEY_INT, AT(create_timeout_ms), 100, 7200000,
	  .number = 1200000 },
	{ "timeouts", "stop_ms", KEY_INT, AT(stop_timeout_ms), 10, 60000, .number = 3000 },
	{ "none", "init", KEY_STR, AT(init), .fallback = "coffer-init" },
	{ "guest", "kernel", KEY_STR, AT(kernel), .fallback = SHIM_GUEST_KERNEL },
	{ "guest", "initrd", KEY_STR, AT(initrd), .fallback = SHIM_GUEST_INITRD },
	{ "guest", "cmdline", KEY_STR, AT(cmdline), .fallback = SHIM_GUEST_CMDLINE },
	{ "guest", "kernel_params", KEY_STR, AT(kernel_params), .fallback = "" },
	{ "guest", "initdata", KEY_STR, AT(initdata) },
	{ "guest", "initdata_annotation", KEY_BOOL, AT(has_annotation_initdata), .number = 1 },
	{ "qemu", "path", KEY_STR, AT(qemu), .fallback = "qemu-system-x86_64" },
	{ "qemu", "accel", KEY_STR, AT(accel), .fallback = "auto", .choice = accels },
	{ "qemu", "tee", KEY_STR, AT(machine_tee), .fallback = "none", .choice = tees },
	{ "qemu", "transport", KEY_STR, AT(transport), .fallback = "virtio-serial",
	  .choice = transports },
	{ "qemu", "network", KEY_STR, AT(network), .fallback = "tc", .choice = networks },
	{ "qemu", "firmware", KEY_STR, AT(firmware) },
	{ "qemu", "firmware_vars", KEY_STR, AT(firmware_vars) },
	{ "qemu", "tpm", KEY_STR, AT(tpm), .fallback = "none", .choice = tpms },
	{ "qemu", "tpm_state", KEY_STR, AT(tpm_state) },
	{ "qemu", "tpm_setup_config", KEY_STR, AT(tpm_setup_config) },
	{ "qemu", "memory_shared", KEY_BOOL, AT(has_memory_shared) },
	{ "qemu", "console", KEY_BOOL, AT(has_console) },
	{ "qemu", "vcpus", KEY_INT, AT(vcpus), 1, 256, .number = 1 },
	{ "qemu", "vcpus_max", KEY_INT, AT(vcpus_max), 1, 256, .number = 32 },
	{ "qemu", "memory_mib", KEY_INT, AT(memory_mib), 128, 1 << 20, .number = 512 },
	{ "qemu", "memory_overhead_mib", KEY_INT, AT(memory_overhead_mib), 0, 1 << 20,
	  .number = 256 },
	{ "qemu", "memory_max_mib", KEY_INT, AT(memory_max_mib), 128, 1 << 24, .number = 1 << 18 },
};

static const char *const tables[] = { "timeouts", "none", "guest", "qemu" };

static bool is_chosen(const char *const *choice, const char *value)
{
	for (; *choice; choice++)
		if (cf_streq(*choice, value))
			return true;
	return false;
}

static int take_str(const struct config_key *key, const struct cf_toml *table,
                    struct shim_config *c, struct cf_err *err)
{
	char **slot = (char **)(void *)((char *)c + key->offset);
	const char *value = NULL;
	int r = cf_toml_get_str(table, key->name, key->fallback, &value, err);

	if (r < 0)
		return r;
	if (key->choice && !is_chosen(key->choice, value))
		return cf_fail(err, CF_INVALID_ARGUMENT, "%s: \"%s\" is none of the known values",
		               key->name, value);
	*slot = value && (*value || key->fallback) ? cf_strdup(value) : NULL;
	return 0;
}

static int take(const struct config_key *key, const struct cf_toml *table, struct shim_config *c,
                struct cf_err *err)
{
	void *slot = (char *)c + key->offset;

	if (key->kind == KEY_STR)
		return take_str(key, table, c, err);
	if (key->kind == KEY_BOOL)
		return cf_toml_get_bool(table, key->name, key->number, slot, err);
	return cf_toml_get_int(table, key->name, key->min, key->max, key->number, slot, err);
}

/* @table, of the name @name (NULL: the root), holds nothing but its keys. */
static int check_names(const struct cf_toml *table, const char *name, struct cf_err *err)
{
	const char *known[CF_ARRAY_LEN(keys) + CF_ARRAY_LEN(tables) + 2] = { NULL };
	size_t n = 0;

	for (size_t i = 0; i < CF_ARRAY_LEN(keys); i++)
		if (cf_streq(keys[i].table, name))
			known[n++] = keys[i].name;
	for (size_t i = 0; !name && i < CF_ARRAY_LEN(tables); i++)
		known[n++] = tables[i];
	if (cf_streq(name, "none"))
		known[n++] = "init_args";
	return table ? cf_toml_only(table, known, err) : 0;
}

static int config_fill(struct shim_config *c, const struct cf_toml *root, struct cf_err *err)
{
	const struct cf_toml *table = NULL;
	int r = check_names(root, NULL, err);

	for (size_t i = 0; r == 0 && i < CF_ARRAY_LEN(tables); i++) {
		r = cf_toml_get_table(root, tables[i], &table, err);
		if (r == 0)
			r = check_names(table, tables[i], err);
	}
	for (size_t i = 0; r == 0 && i < CF_ARRAY_LEN(keys); i++) {
		table = root;
		if (keys[i].table)
			r = cf_toml_get_table(root, keys[i].table, &table, err);
		if (r == 0)
			r = take(&keys[i], table, c, err);
	}
	if (r == 0)
		r = cf_toml_get_table(root, "none", &table, err);
	if (r == 0)
		r = cf_toml_get_strv(table, "init_args", &c->init_args, err);
	return r;
}

int shim_config_parse(struct cf_view text, struct shim_config **ret, struct cf_err *err)
{
	cf_cleanup(shim_config_freep) struct shim_config *c = cf_zalloc(sizeof(*c));
	cf_cleanup(cf_toml_freep) struct cf_toml *root = NULL;
	int r = cf_toml_parse(text, &root, err);

	if (r == 0)
		r = config_fill(c, root, err);
	if (r < 0)
		return r;
	*ret = cf_take(&c);
	return 0;
}

struct shim_config *shim_config_default(void)
{
	struct shim_config *c = NULL;
	struct cf_err err;

	if (shim_config_parse(cf_view(NULL, 0), &c, &err) < 0)
		abort(); /* the defaults are a constant of this file */
	return c;
}

int shim_config_load(const char *path, struct shim_config **ret, struct cf_err *err)
{
	struct cf_buf text = { .max = SHIM_CONFIG_MAX + 1 };
	bool is_default;
	int r;

	if (!path)
		path = getenv("COFFER_SHIM_CONFIG");
	is_default = !path;
	if (!path)
		path = SHIM_CONFIG_PATH;
	r = cf_read_file(path, SHIM_CONFIG_MAX, &text, err);
	if (r == -CF_NOT_FOUND && is_default) {
		*ret = shim_config_default();
		return 0;
	}
	if (r == 0)
		r = shim_config_parse(cf_buf_view(&text), ret, err);
	cf_buf_fini(&text);
	return r < 0 ? cf_wrap(err, r, "%s", path) : 0;
}

struct shim_config *shim_config_free(struct shim_config *c)
{
	if (!c)
		return NULL;
	for (size_t i = 0; i < CF_ARRAY_LEN(keys); i++)
		if (keys[i].kind == KEY_STR)
			free(*(char **)(void *)((char *)c + keys[i].offset));
	cf_strv_fini(&c->init_args);
	free(c);
	return NULL;
}
