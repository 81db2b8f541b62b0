/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshotter/snap_config.h"

#include "base/fd.h"
#include "base/toml.h"

#define LIST_MAX 4096u /* bytes of keys named in one line of log */

enum kind {
	KEY_STRING,
	KEY_BOOL,
	KEY_OWNER, /* a uid or gid */
	KEY_DRIVER,
	KEY_LEVEL,
	KEY_METADATA,
	KEY_DURABILITY,
};

/* What becomes of each key that we know. Everything else is named as unknown. */
static const struct taken {
	const char *path;
	enum kind kind;
	size_t at;    /* of the field, where the kind is STRING, BOOL or OWNER */
	bool negated; /* BOOL: the field says the opposite */
} taken_keys[] = {
#define AT(field) offsetof(struct snap_config, field)
	{ "root", KEY_STRING, AT(root), false },
	{ "address", KEY_STRING, AT(address), false },
	{ "uid", KEY_OWNER, AT(uid), false },
	{ "gid", KEY_OWNER, AT(gid), false },
	{ "daemon.fs_driver", KEY_DRIVER, 0, false },
	{ "snapshot.nydus_overlayfs_path", KEY_STRING, AT(helper), false },
	{ "snapshot.sync_remove", KEY_BOOL, AT(is_sync_remove), false },
	{ "snapshot.enable_overlayfs_volatile", KEY_BOOL, AT(is_volatile), false },
	{ "log.level", KEY_LEVEL, 0, false },
	{ "metrics.address", KEY_STRING, AT(metrics), false },
	{ "system.enable", KEY_BOOL, AT(is_control_off), true },
	{ "system.address", KEY_STRING, AT(control), false },
	{ "system.uid", KEY_OWNER, AT(control_uid), false },
	{ "system.gid", KEY_OWNER, AT(control_gid), false },
	/* Ours. */
	{ "metadata", KEY_METADATA, 0, false },
	{ "durability", KEY_DURABILITY, 0, false },
	{ "containerd.address", KEY_STRING, AT(containerd), false },
	{ "notify.address", KEY_STRING, AT(notify), false },
	{ "resurrect", KEY_BOOL, AT(is_strict), true },
#undef AT
};

/* nydus-snapshotter's, which mean nothing where nothing is mounted, fetched or unpacked. */
static const char *const ignored_keys[] = {
	"daemon_mode",
	"cleanup_on_close",
	"snapshot.enable_kata_volume",
	"snapshot.enable_nydus_overlayfs",
	"system.debug.",
	"daemon.",
	"cgroup.",
	"log.",
	"metrics.",
	"remote.",
	"cache_manager.",
	"image.",
	"experimental.",
};

/* What an operator would miss without noticing, if it were passed over. */
static const struct refused {
	const char *path, *why;
} refused_keys[] = {
	{ "image.validate_signature", "nydus bootstraps are not used: signatures are verified in "
	                              "the guest, by its image policy" },
	{ "remote.auth.enable_cri_keychain",
	  "this socket serves no image service: point the kubelet's image endpoint at containerd, "
	  "and"
	  " give the guest its credentials through the key broker" },
};

/* ---- values ---- */

int snap_config_set_driver(const char *text, enum snap_mode *ret, struct cf_err *err)
{
	static const char *const elsewhere[] = { "fusedev", "fscache", "blockdev" };

	if (cf_streq(text, "proxy")) {
		*ret = SNAP_MODE_GUEST_PULL;
		return 0;
	}
	if (cf_streq(text, "erofs")) {
		*ret = SNAP_MODE_EROFS;
		return 0;
	}
	if (cf_streq(text, "overlay") || cf_streq(text, "nodev")) {
		*ret = SNAP_MODE_OVERLAY;
		return 0;
	}
	for (size_t i = 0; i < CF_ARRAY_LEN(elsewhere); i++)
		if (cf_streq(text, elsewhere[i]))
			return cf_fail(err, CF_INVALID_ARGUMENT,
			               "fs_driver \"%s\" needs nydusd, which is not used here: say "
			               "\"proxy\""
			               " (the guest pulls), \"overlay\" or \"erofs\" (layers on "
			               "this host), or stay"
			               " with nydus-snapshotter for it",
			               text);
	return cf_fail(err, CF_INVALID_ARGUMENT,
	               "fs_driver \"%s\" is not known: use \"proxy\" (the guest pulls),"
	               " \"overlay\" or \"erofs\" (layers on this host)",
	               text);
}

const char *snap_config_mode_name(enum snap_mode mode)
{
	static const char *const names[] = { [SNAP_MODE_GUEST_PULL] = "proxy",
		                             [SNAP_MODE_OVERLAY] = "overlay",
		                             [SNAP_MODE_EROFS] = "erofs" };

	return names[mode];
}

int snap_config_set_level(struct snap_config *c, const char *text, struct cf_err *err)
{
	if (cf_streq(text, "trace"))
		text = "debug";
	if (cf_streq(text, "warning"))
		text = "warn";
	c->has_level = true;
	return cf_log_level_parse(text, &c->level, err);
}

static int set_one_of(const char *text, const char *no, const char *yes, bool *ret,
                      struct cf_err *err)
{
	if (!cf_streq(text, no) && !cf_streq(text, yes))
		return cf_fail(err, CF_INVALID_ARGUMENT, "want \"%s\" or \"%s\", not \"%s\"", no,
		               yes, text);
	*ret = cf_streq(text, yes);
	return 0;
}

static int want(const struct cf_toml *v, enum cf_toml_kind kind, struct cf_err *err)
{
	if (cf_toml_is(v, kind))
		return 0;
	return cf_fail(err, CF_INVALID_ARGUMENT, "want a %s, not a %s", cf_toml_kind_name(kind),
	               cf_toml_kind_name(cf_toml_kind(v)));
}

static void *field(struct snap_config *c, size_t at)
{
	return (char *)c + at;
}

/* As nydus-snapshotter has it, an empty text is none. */
static void take_string(struct snap_config *c, size_t at, const char *text)
{
	char **to = field(c, at);

	if (!text[0])
		return;
	free(*to);
	*to = cf_strdup(text);
}

static int take_owner(struct snap_config *c, size_t at, const struct cf_toml *v, struct cf_err *err)
{
	int64_t n = cf_toml_int(v);

	if (n < 0 || n > INT32_MAX)
		return cf_fail(err, CF_INVALID_ARGUMENT, "%lld is no id", (long long)n);
	*(unsigned *)field(c, at) = (unsigned)n;
	return 0;
}

static int take_text(struct snap_config *c, const struct taken *k, const char *text,
                     struct cf_err *err)
{
	switch (k->kind) {
	case KEY_STRING:
		take_string(c, k->at, text);
		return 0;
	case KEY_DRIVER:
		if (c->has_driver_option)
			return 0;
		c->has_driver = text[0] != '\0';
		return text[0] ? snap_config_set_driver(text, &c->mode, err) : 0;
	case KEY_LEVEL:
		return text[0] ? snap_config_set_level(c, text, err) : 0;
	case KEY_METADATA:
		return set_one_of(text, "full", "minimal", &c->is_minimal, err);
	case KEY_DURABILITY:
		return set_one_of(text, "strict", "relaxed", &c->is_relaxed, err);
	default:
		return cf_fail(err, CF_INTERNAL, "not a text");
	}
}

static int take(struct snap_config *c, const struct taken *k, const struct cf_toml *v,
                struct cf_err *err)
{
	enum cf_toml_kind kind = k->kind == KEY_BOOL    ? CF_TOML_BOOL
	                         : k->kind == KEY_OWNER ? CF_TOML_INT
	                                                : CF_TOML_STRING;
	int r = want(v, kind, err);

	if (r < 0)
		return r;
	if (k->kind == KEY_OWNER)
		return take_owner(c, k->at, v, err);
	if (k->kind != KEY_BOOL)
		return take_text(c, k, cf_toml_str(v), err);
	*(bool *)field(c, k->at) = cf_toml_bool(v) != k->negated;
	return 0;
}

/* ---- keys ---- */

struct reading {
	struct snap_config *c;
	struct cf_buf ignored, unknown; /* for one line of log each */
};

static void note(struct cf_buf *list, const char *path)
{
	if (list->size)
		cf_buf_add_str(list, " ");
	cf_buf_add_str(list, path);
}

static bool is_ignored(const char *path)
{
	for (size_t i = 0; i < CF_ARRAY_LEN(ignored_keys); i++) {
		const char *key = ignored_keys[i];

		if (cf_ends_with(key, ".") ? cf_starts_with(path, key) : cf_streq(path, key))
			return true;
	}
	return false;
}

static int pass_over(struct reading *rd, const char *path, const struct cf_toml *v,
                     struct cf_err *err)
{
	for (size_t i = 0; i < CF_ARRAY_LEN(refused_keys); i++)
		if (cf_streq(path, refused_keys[i].path) && cf_toml_bool(v))
			return cf_fail(err, CF_INVALID_ARGUMENT, "%s", refused_keys[i].why);
	if (cf_streq(path, "version")) {
		if (cf_toml_int(v) != 1)
			return cf_fail(err, CF_INVALID_ARGUMENT, "want 1");
		return 0;
	}
	note(is_ignored(path) ? &rd->ignored : &rd->unknown, path);
	return 0;
}

static int take_key(struct reading *rd, const char *path, const struct cf_toml *v,
                    struct cf_err *err)
{
	for (size_t i = 0; i < CF_ARRAY_LEN(taken_keys); i++)
		if (cf_streq(path, taken_keys[i].path))
			return take(rd->c, &taken_keys[i], v, err);
	return pass_over(rd, path, v, err);
}

/* ---- [[instance]] ---- */

static int instance_name(const struct snap_config *c, const char *name, struct cf_err *err)
{
	static const char plain[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

	if (!name[0] || strlen(name) > SNAP_INSTANCE_NAME_MAX ||
	    strspn(name, plain) != strlen(name))
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "name: want the plugin's name in containerd's configuration");
	for (size_t i = 0; i < c->instance_count; i++)
		if (cf_streq(c->instances[i].name, name))
			return cf_fail(err, CF_INVALID_ARGUMENT, "two instances named %s", name);
	return 0;
}

static int read_instance(struct snap_config *c, const struct cf_toml *t, struct cf_err *err)
{
	static const char *const known[] = { "name", "root", "fs_driver", NULL };
	const char *name, *root, *driver;
	int r = cf_toml_only(t, known, err);

	if (r == 0)
		r = cf_toml_get_str(t, "name", "", &name, err);
	if (r == 0)
		r = cf_toml_get_str(t, "root", "", &root, err);
	if (r == 0)
		r = cf_toml_get_str(t, "fs_driver", "", &driver, err);
	if (r == 0)
		r = instance_name(c, name, err);
	if (r < 0)
		return r;
	if (!root[0])
		return cf_fail(err, CF_INVALID_ARGUMENT, "instance %s needs a root of its own",
		               name);
	if (c->instance_count == SNAP_INSTANCES_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "over %u instances", SNAP_INSTANCES_MAX);
	struct snap_config_instance *in = &c->instances[c->instance_count++];

	*in = (struct snap_config_instance){ .name = cf_strdup(name),
		                             .root = cf_strdup(root),
		                             .has_driver = driver[0] != '\0' };
	return in->has_driver ? snap_config_set_driver(driver, &in->mode, err) : 0;
}

static int fail_at(const char *name, unsigned line, const char *path, struct cf_err *err, int r)
{
	struct cf_err inner = *err;

	return cf_fail(err, (enum cf_code) - r, "%s:%u: %s: %s", name, line, path, inner.msg);
}

static int read_instances(struct snap_config *c, const char *name, const struct cf_toml *list,
                          struct cf_err *err)
{
	int r = want(list, CF_TOML_ARRAY, err);

	if (r < 0)
		return fail_at(name, cf_toml_line(list), "instance", err, r);
	for (size_t i = 0; i < cf_toml_count(list); i++) {
		const struct cf_toml *t = cf_toml_at(list, i);

		r = want(t, CF_TOML_TABLE, err);
		if (r == 0)
			r = read_instance(c, t, err);
		if (r < 0)
			return fail_at(name, cf_toml_line(t), "instance", err, r);
	}
	return 0;
}

/* ---- the document ---- */

static int read_table(struct reading *rd, const char *name, const struct cf_toml *table,
                      const char *prefix, struct cf_err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < cf_toml_count(table); i++) {
		const struct cf_toml *v = cf_toml_at(table, i);
		cf_cleanup(cf_freep) char *path =
			cf_asprintf("%s%s", prefix, cf_toml_key_at(table, i));

		if (cf_toml_is(v, CF_TOML_TABLE)) {
			cf_cleanup(cf_freep) char *inner = cf_asprintf("%s.", path);

			r = read_table(rd, name, v, inner, err);
		} else if (cf_streq(path, "instance")) {
			r = read_instances(rd->c, name, v, err);
		} else {
			r = take_key(rd, path, v, err);
			if (r < 0)
				return fail_at(name, cf_toml_line(v), path, err, r);
		}
	}
	return r;
}

static void say(const char *what, struct cf_buf *keys)
{
	if (keys->size)
		cf_log_warn(what, CF_F_VIEW("keys", cf_buf_view(keys)));
	cf_buf_fini(keys);
}

/* The parser says "line N: …"; editors and people look for FILE:N. */
static int name_line(const char *name, struct cf_err *err, int r)
{
	struct cf_err inner = *err;
	const char *rest = cf_after(inner.msg, "line ");

	if (!rest)
		return cf_wrap(err, r, "%s", name);
	return cf_fail(err, (enum cf_code) - r, "%s:%s", name, rest);
}

int snap_config_read_text(struct snap_config *c, const char *name, struct cf_view text,
                          struct cf_err *err)
{
	cf_cleanup(cf_toml_freep) struct cf_toml *root = NULL;
	struct reading rd = { .c = c,
		              .ignored = { .max = LIST_MAX },
		              .unknown = { .max = LIST_MAX } };
	int r = cf_toml_parse(text, &root, err);

	if (r < 0)
		return name_line(name, err, r);
	r = read_table(&rd, name, root, "", err);
	say("settings of nydus-snapshotter that mean nothing here", &rd.ignored);
	say("unknown settings", &rd.unknown);
	return r;
}

int snap_config_read_file(struct snap_config *c, struct cf_err *err)
{
	cf_cleanup(cf_buf_fini) struct cf_buf text = { .max = SNAP_CONFIG_SIZE_MAX };
	int r = cf_read_file(c->file, SNAP_CONFIG_SIZE_MAX, &text, err);

	if (r < 0)
		return cf_wrap(err, r, "%s", c->file);
	return snap_config_read_text(c, c->file, cf_buf_view(&text), err);
}
