/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config.json of a bundle. Source: OCI runtime-spec; the values are those of the peers' image
 * service: a default specification with what the image says filled in.
 */
#include "base/fd.h"
#include "base/json.h"
#include "guest-imaged/bundle.h"

#define ACCOUNT_FILE_MAX (1u << 20)
#define ID_MAX           UINT32_MAX

/* ---- the user ---- */

/* Field @n (from 0) of a line of passwd or group. */
static struct cf_view field(struct cf_view line, size_t n)
{
	for (; n > 0; n--) {
		ssize_t colon = cf_view_find(line, ':');

		if (colon < 0)
			return cf_view(NULL, 0);
		line = cf_view_sub(line, (size_t)colon + 1, SIZE_MAX);
	}
	ssize_t colon = cf_view_find(line, ':');

	return cf_view_sub(line, 0, colon < 0 ? line.size : (size_t)colon);
}

static bool to_id(struct cf_view text, uint32_t *ret)
{
	uint64_t id;

	if (text.size == 0 || cf_parse_u64(text, ID_MAX - 1, &id, NULL) < 0)
		return false;
	*ret = (uint32_t)id;
	return true;
}

/* The line of @file whose field @n is @key. */
static bool find_line(struct cf_view file, size_t n, struct cf_view key, struct cf_view *ret)
{
	while (file.size > 0) {
		ssize_t end = cf_view_find(file, '\n');
		struct cf_view line = cf_view_sub(file, 0, end < 0 ? file.size : (size_t)end);

		if (cf_view_eq(field(line, n), key)) {
			*ret = line;
			return true;
		}
		if (end < 0)
			return false;
		file = cf_view_sub(file, (size_t)end + 1, SIZE_MAX);
	}
	return false;
}

static void read_account_file(int rootfs_fd, const char *path, struct cf_buf *ret)
{
	cf_cleanup(cf_closep) int fd = -1;

	if (rootfs_fd >= 0)
		fd = cf_open_beneath(rootfs_fd, path, O_RDONLY | O_NONBLOCK, 0, 0, NULL);
	if (fd >= 0 && cf_read_all(fd, ACCOUNT_FILE_MAX, ret, NULL) < 0)
		cf_buf_reset(ret);
}

static int lookup_user(int rootfs_fd, struct cf_view user, uint32_t *uid, uint32_t *gid,
                       struct cf_err *err)
{
	struct cf_buf passwd = { .max = ACCOUNT_FILE_MAX };
	struct cf_view line;
	bool is_number = to_id(user, uid);

	read_account_file(rootfs_fd, "etc/passwd", &passwd);
	bool found = find_line(cf_buf_view(&passwd), is_number ? 2 : 0, user, &line);

	if (found)
		found = to_id(field(line, 2), uid) && to_id(field(line, 3), gid);
	cf_buf_fini(&passwd);
	if (!found && !is_number)
		return cf_fail(err, CF_INVALID_ARGUMENT, "image names a user it does not have");
	return 0;
}

static int lookup_group(int rootfs_fd, struct cf_view group, uint32_t *gid, struct cf_err *err)
{
	struct cf_buf file = { .max = ACCOUNT_FILE_MAX };
	struct cf_view line;

	if (to_id(group, gid))
		return 0;
	read_account_file(rootfs_fd, "etc/group", &file);
	bool found = find_line(cf_buf_view(&file), 0, group, &line) && to_id(field(line, 2), gid);

	cf_buf_fini(&file);
	if (!found)
		return cf_fail(err, CF_INVALID_ARGUMENT, "image names a group it does not have");
	return 0;
}

/* "user", "uid", "user:group", "uid:gid" … */
static int resolve_user(int rootfs_fd, const char *text, uint32_t *uid, uint32_t *gid,
                        struct cf_err *err)
{
	struct cf_view user = field(cf_view_str(text), 0);
	struct cf_view group = field(cf_view_str(text), 1);
	int r = 0;

	*uid = *gid = 0;
	if (user.size > 0)
		r = lookup_user(rootfs_fd, user, uid, gid, err);
	if (r == 0 && group.size > 0)
		r = lookup_group(rootfs_fd, group, gid, err);
	return r;
}

/* ---- the document ---- */

static void write_strings(struct cf_jw *w, const char *key, const char *const *items, size_t count)
{
	cf_jw_key(w, key);
	cf_jw_arr(w);
	for (size_t i = 0; i < count; i++)
		cf_jw_str(w, items[i]);
	cf_jw_end_arr(w);
}

static void write_capabilities(struct cf_jw *w)
{
	static const char *const caps[] = { "CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE" };
	static const char *const sets[] = { "bounding", "effective", "inheritable", "permitted",
		                            "ambient" };

	cf_jw_key(w, "capabilities");
	cf_jw_obj(w);
	for (size_t i = 0; i < CF_ARRAY_LEN(sets); i++)
		write_strings(w, sets[i], caps, CF_ARRAY_LEN(caps));
	cf_jw_end_obj(w);
}

static void write_args(struct cf_jw *w, const struct oci_config *c)
{
	cf_jw_key(w, "args");
	cf_jw_arr(w);
	for (size_t i = 0; i < c->entrypoint.count; i++)
		cf_jw_str(w, c->entrypoint.items[i]);
	for (size_t i = 0; i < c->cmd.count; i++)
		cf_jw_str(w, c->cmd.items[i]);
	cf_jw_end_arr(w);
}

static void write_process(struct cf_jw *w, const struct oci_config *c, uint32_t uid, uint32_t gid)
{
	bool has_dir = c->working_dir && c->working_dir[0];

	cf_jw_key(w, "process");
	cf_jw_obj(w);
	cf_jw_kbool(w, "terminal", false);
	cf_jw_key(w, "user");
	cf_jw_obj(w);
	cf_jw_kuint(w, "uid", uid);
	cf_jw_kuint(w, "gid", gid);
	cf_jw_end_obj(w);
	write_args(w, c);
	write_strings(w, "env", (const char *const *)c->env.items, c->env.count);
	cf_jw_kstr(w, "cwd", has_dir ? c->working_dir : "/");
	write_capabilities(w);
	cf_jw_kbool(w, "noNewPrivileges", true);
	cf_jw_end_obj(w);
}

static void write_mount(struct cf_jw *w, const char *destination, const char *type,
                        const char *source, const char *options)
{
	struct cf_strv list = { 0 };

	cf_strv_split(&list, cf_view_str(options), ',');
	cf_jw_obj(w);
	cf_jw_kstr(w, "destination", destination);
	cf_jw_kstr(w, "type", type);
	cf_jw_kstr(w, "source", source);
	write_strings(w, "options", (const char *const *)list.items, list.count);
	cf_jw_end_obj(w);
	cf_strv_fini(&list);
}

static void write_mounts(struct cf_jw *w, const struct oci_config *c)
{
	static const struct {
		const char *destination, *type, *source, *options;
	} usual[] = {
		{ "/proc", "proc", "proc", "nosuid,noexec,nodev" },
		{ "/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k" },
		{ "/dev/pts", "devpts", "devpts",
		  "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5" },
		{ "/dev/shm", "tmpfs", "shm", "nosuid,noexec,nodev,mode=1777,size=65536k" },
		{ "/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev" },
		{ "/sys", "sysfs", "sysfs", "nosuid,noexec,nodev,ro" },
		{ "/sys/fs/cgroup", "cgroup", "cgroup", "nosuid,noexec,nodev,relatime,ro" },
	};

	cf_jw_key(w, "mounts");
	cf_jw_arr(w);
	for (size_t i = 0; i < CF_ARRAY_LEN(usual); i++)
		write_mount(w, usual[i].destination, usual[i].type, usual[i].source,
		            usual[i].options);
	for (size_t i = 0; i < c->volumes.count; i++)
		write_mount(w, c->volumes.items[i], "tmpfs", "tmpfs",
		            "nosuid,noexec,nodev,relatime,rw");
	cf_jw_end_arr(w);
}

static void write_linux(struct cf_jw *w)
{
	static const char *const namespaces[] = { "pid", "network", "ipc", "uts", "mount" };
	static const char *const masked[] = { "/proc/acpi",        "/proc/kcore",
		                              "/proc/keys",        "/proc/latency_stats",
		                              "/proc/timer_list",  "/proc/timer_stats",
		                              "/proc/sched_debug", "/sys/firmware",
		                              "/proc/scsi" };
	static const char *const readonly[] = { "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
		                                "/proc/sysrq-trigger" };

	cf_jw_key(w, "linux");
	cf_jw_obj(w);
	cf_jw_key(w, "namespaces");
	cf_jw_arr(w);
	for (size_t i = 0; i < CF_ARRAY_LEN(namespaces); i++) {
		cf_jw_obj(w);
		cf_jw_kstr(w, "type", namespaces[i]);
		cf_jw_end_obj(w);
	}
	cf_jw_end_arr(w);
	write_strings(w, "maskedPaths", masked, CF_ARRAY_LEN(masked));
	write_strings(w, "readonlyPaths", readonly, CF_ARRAY_LEN(readonly));
	cf_jw_end_obj(w);
}

static bool all_encrypted(const struct pull_result *image)
{
	for (size_t i = 0; i < image->layer_count; i++) {
		if (!image->layers[i].is_encrypted)
			return false;
	}
	return image->layer_count > 0;
}

/* What the image claims, then its labels (which win), then what we know ourselves (which wins over all). */
static void write_annotations(struct cf_jw *w, const struct pull_result *image)
{
	const struct oci_config *c = &image->config;
	cf_cleanup(cf_freep) char *features = cf_strv_join(&c->os_features, ",");
	cf_cleanup(cf_freep) char *ports = cf_strv_join(&c->exposed_ports, ",");
	const char *const known[][2] = {
		{ "org.opencontainers.image.os", c->os },
		{ "org.opencontainers.image.os.version", c->os_version },
		{ "org.opencontainers.image.os.features", features },
		{ "org.opencontainers.image.architecture", c->architecture },
		{ "org.opencontainers.image.variant", c->variant },
		{ "org.opencontainers.image.author", c->author },
		{ "org.opencontainers.image.created", c->created },
		{ "org.opencontainers.image.stopSignal", c->stop_signal },
		{ "org.opencontainers.image.exposedPorts", ports },
	};
	struct oci_pairs all = { 0 };

	for (size_t i = 0; i < CF_ARRAY_LEN(known); i++) {
		if (known[i][1] && known[i][1][0])
			oci_pairs_set(&all, known[i][0], known[i][1]);
	}
	for (size_t i = 0; i < c->labels.count; i++)
		oci_pairs_set(&all, c->labels.items[i].key, c->labels.items[i].value);
	oci_pairs_set(&all, BUNDLE_ENCRYPTED, all_encrypted(image) ? "true" : "false");
	cf_jw_key(w, "annotations");
	cf_jw_obj(w);
	for (size_t i = 0; i < all.count; i++)
		cf_jw_kstr(w, all.items[i].key, all.items[i].value);
	cf_jw_end_obj(w);
	oci_pairs_fini(&all);
}

int bundle_config(const struct pull_result *image, int rootfs_fd, struct cf_buf *ret,
                  struct cf_err *err)
{
	struct cf_jw w = { .out = ret };
	uint32_t uid, gid;
	int r = resolve_user(rootfs_fd, image->config.user, &uid, &gid, err);

	if (r < 0)
		return r;
	cf_jw_obj(&w);
	cf_jw_kstr(&w, "ociVersion", "1.0.2");
	cf_jw_key(&w, "root");
	cf_jw_obj(&w);
	cf_jw_kstr(&w, "path", "rootfs");
	cf_jw_kbool(&w, "readonly", false);
	cf_jw_end_obj(&w);
	cf_jw_kstr(&w, "hostname", "image-rs");
	write_process(&w, &image->config, uid, gid);
	write_mounts(&w, &image->config);
	write_linux(&w);
	write_annotations(&w, image);
	cf_jw_end_obj(&w);
	return cf_buf_check(ret, "config.json", err);
}
