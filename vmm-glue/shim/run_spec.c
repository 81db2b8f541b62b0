/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/shim/run_spec.h"

#include "base/str.h"

/* What containerd and docker give to a container that asks for nothing. */
static const char *const capabilities[] = {
	"CAP_CHOWN",   "CAP_DAC_OVERRIDE", "CAP_FSETID",           "CAP_FOWNER",
	"CAP_MKNOD",   "CAP_NET_RAW",      "CAP_SETGID",           "CAP_SETUID",
	"CAP_SETFCAP", "CAP_SETPCAP",      "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT",
	"CAP_KILL",    "CAP_AUDIT_WRITE",
};

static const struct {
	const char *destination, *type, *source;
	const char *options[7];
} mounts[] = {
	{ "/proc", "proc", "proc", { "nosuid", "noexec", "nodev" } },
	{ "/dev", "tmpfs", "tmpfs", { "nosuid", "strictatime", "mode=755", "size=65536k" } },
	{ "/dev/pts",
	  "devpts",
	  "devpts",
	  { "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5" } },
	{ "/dev/mqueue", "mqueue", "mqueue", { "nosuid", "noexec", "nodev" } },
	{ "/sys", "sysfs", "sysfs", { "nosuid", "noexec", "nodev", "ro" } },
	{ "/sys/fs/cgroup", "cgroup", "cgroup", { "nosuid", "noexec", "nodev", "relatime", "ro" } },
	{ "/dev/shm", "bind", "shm", { "rbind" } },
};

static const char *const namespaces[] = { "pid", "ipc", "uts", "mount" };

static const char *const masked[] = {
	"/proc/acpi",          "/proc/asound",     "/proc/kcore",       "/proc/keys",
	"/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug",
	"/sys/firmware",       "/proc/scsi",
};

static const char *const readonly[] = {
	"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
};

static void write_list(struct cf_jw *w, const char *key, const char *const *list, size_t n)
{
	cf_jw_key(w, key);
	cf_jw_arr(w);
	for (size_t i = 0; i < n; i++)
		cf_jw_str(w, list[i]);
	cf_jw_end_arr(w);
}

static void write_capabilities(struct cf_jw *w)
{
	static const char *const sets[] = { "bounding", "effective", "permitted" };

	cf_jw_key(w, "capabilities");
	cf_jw_obj(w);
	for (size_t i = 0; i < CF_ARRAY_LEN(sets); i++)
		write_list(w, sets[i], capabilities, CF_ARRAY_LEN(capabilities));
	cf_jw_end_obj(w);
}

/* The members given, and what a process needs beside them. */
static void write_process(struct cf_jw *w, const struct cf_json *given)
{
	static const char *const shell[] = { "/bin/sh" };
	const struct cf_json *value;
	const char *key;
	void *it = NULL;

	cf_jw_key(w, "process");
	cf_jw_obj(w);
	while (cf_json_next(given, &it, &key, &value)) {
		cf_jw_key(w, key);
		cf_jw_json(w, value);
	}
	if (!cf_json_get(given, "args"))
		write_list(w, "args", shell, 1);
	if (!cf_json_get(given, "cwd"))
		cf_jw_kstr(w, "cwd", "/");
	if (!cf_json_get(given, "capabilities"))
		write_capabilities(w);
	if (!cf_json_get(given, "noNewPrivileges"))
		cf_jw_kbool(w, "noNewPrivileges", true);
	cf_jw_end_obj(w);
}

static void write_mounts(struct cf_jw *w)
{
	cf_jw_key(w, "mounts");
	cf_jw_arr(w);
	for (size_t i = 0; i < CF_ARRAY_LEN(mounts); i++) {
		size_t n = 0;

		while (n < CF_ARRAY_LEN(mounts[i].options) && mounts[i].options[n])
			n++;
		cf_jw_obj(w);
		cf_jw_kstr(w, "destination", mounts[i].destination);
		cf_jw_kstr(w, "type", mounts[i].type);
		cf_jw_kstr(w, "source", mounts[i].source);
		write_list(w, "options", mounts[i].options, n);
		cf_jw_end_obj(w);
	}
	cf_jw_end_arr(w);
}

static void write_linux(struct cf_jw *w)
{
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
	write_list(w, "maskedPaths", masked, CF_ARRAY_LEN(masked));
	write_list(w, "readonlyPaths", readonly, CF_ARRAY_LEN(readonly));
	cf_jw_end_obj(w);
}

void run_spec_write(const struct run_spec *s, struct cf_buf *out)
{
	struct cf_jw w = { .out = out };

	cf_jw_obj(&w);
	cf_jw_kstr(&w, "ociVersion", "1.0.2");
	write_process(&w, s->process);
	cf_jw_key(&w, "root");
	cf_jw_obj(&w);
	cf_jw_kstr(&w, "path", "rootfs");
	cf_jw_end_obj(&w);
	cf_jw_kstr(&w, "hostname", s->name);
	write_mounts(&w);
	cf_jw_key(&w, "annotations");
	cf_jw_obj(&w);
	cf_jw_kstr(&w, "io.kubernetes.cri.image-name", s->image);
	cf_jw_kstr(&w, "io.kubernetes.cri.container-name", s->name);
	cf_jw_end_obj(&w);
	write_linux(&w);
	cf_jw_end_obj(&w);
}
