/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/guest/guest_boot.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "vmm-glue/guest/guest_net.h"

#include <dirent.h>
#include <errno.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define INITIAL_PID_NS 0xeffffffcu /* inode of the machine's own pid namespace (linux/proc_ns.h) */
#define MODULES_MAX    65536u

static const struct kernel_mount {
	const char *type, *path, *data;
	unsigned long flags;
	bool is_optional;
} kernel_mounts[] = {
	{ "proc", "/proc", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC, false },
	{ "sysfs", "/sys", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC, false },
	{ "devtmpfs", "/dev", "mode=0755", MS_NOSUID, false },
	{ "tmpfs", "/dev/shm", "mode=1777", MS_NOSUID | MS_NODEV | MS_NOEXEC, false },
	{ "devpts", "/dev/pts", "gid=5,mode=0620,ptmxmode=0666", MS_NOSUID | MS_NOEXEC, false },
	/* Images and their writable layers live here: it may take most of the memory. */
	{ "tmpfs", "/run", "mode=0755,size=80%", MS_NOSUID | MS_NODEV, false },
	{ "tmpfs", "/tmp", "mode=1777,size=20%", MS_NOSUID | MS_NODEV, false },
	{ "cgroup2", "/sys/fs/cgroup", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC, false },
	{ "securityfs", "/sys/kernel/security", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC, true },
};

static int mount_one(const struct kernel_mount *m, struct cf_err *err)
{
	int r;

	/* Below /sys the kernel makes the place; elsewhere we do. */
	r = cf_starts_with(m->path, "/sys/") ? 0 : cf_mkdir_p(m->path, 0755, err);
	if (r < 0)
		return r;
	if (mount(m->type, m->path, m->type, m->flags, m->data) == 0 || errno == EBUSY)
		return 0;
	r = cf_fail_errno(err, errno, "mount %s", m->path);
	if (!m->is_optional)
		return r;
	cf_log_info("not mounted", CF_F_STR("path", m->path), CF_F_STR("why", err->msg));
	return 0;
}

void guest_boot_stdio(void)
{
	int fd;

	if (fcntl(2, F_GETFD) >= 0)
		return;
	if (getpid() == 1)
		(void)mount_one(&kernel_mounts[2], NULL);
	fd = open("/dev/console", O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int std = 0; fd >= 0 && std < 3; std++) {
		if (fd != std && fcntl(std, F_GETFD) < 0)
			(void)dup2(fd, std);
		else if (fd == std)
			(void)fcntl(fd, F_SETFD, 0);
	}
	if (fd > 2)
		cf_close(&fd);
}

bool guest_boot_is_first(void)
{
	struct stat st;

	if (getpid() != 1)
		return false;
	if (stat("/proc/self/ns/pid", &st) < 0 && mount_one(&kernel_mounts[0], NULL) < 0)
		return false;
	return stat("/proc/self/ns/pid", &st) == 0 && st.st_ino == INITIAL_PID_NS;
}

/*
 * pivot_root fails while the root is the kernel's own rootfs, which has no parent. A bind mount of it
 * moved over it is a root like any other, and costs no copy.
 */
static int leave_rootfs(struct cf_err *err)
{
	if (mkdir("/.root", 0755) < 0 && errno != EEXIST)
		return cf_fail_errno(err, errno, "/.root");
	if (mount("/", "/.root", NULL, MS_BIND, NULL) < 0)
		return cf_fail_errno(err, errno, "bind of the root");
	if (chdir("/.root") < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0)
		return cf_fail_errno(err, errno, "move of the root");
	if (chroot(".") < 0 || chdir("/") < 0)
		return cf_fail_errno(err, errno, "new root");
	(void)rmdir("/.root");
	return 0;
}

static void load_module(const char *name)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("/lib/modules/%s", name);
	cf_cleanup(cf_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || syscall(SYS_finit_module, fd, "", 0) < 0) {
		/* ENODEV: the driver of a machine that this is not. */
		if (errno != ENODEV && errno != EEXIST)
			cf_log_warn("module not loaded", CF_F_STR("module", name),
			            CF_F_INT("errno", errno));
		return;
	}
	/* It is in the kernel now; its file only takes memory. */
	(void)unlink(path);
}

static void load_modules(void)
{
	struct cf_buf text = { .max = MODULES_MAX };
	struct cf_strv names = { 0 };

	if (cf_read_file(GUEST_MODULES_ORDER, MODULES_MAX - 1, &text, NULL) == 0)
		cf_strv_split(&names, cf_buf_view(&text), '\n');
	for (size_t i = 0; i < names.count; i++)
		if (*names.items[i] && !strchr(names.items[i], '/'))
			load_module(names.items[i]);
	cf_strv_fini(&names);
	cf_buf_fini(&text);
}

char *guest_boot_port(const char *name)
{
	DIR *dir = opendir("/sys/class/virtio-ports");
	char *found = NULL;
	struct dirent *e;

	while (dir && !found && (e = readdir(dir))) {
		cf_cleanup(cf_freep) char *path =
			cf_asprintf("/sys/class/virtio-ports/%s/name", e->d_name);
		struct cf_buf text = { .max = 256 };

		if (e->d_name[0] != '.' && cf_read_file(path, 255, &text, NULL) == 0) {
			while (text.size && text.data[text.size - 1] == '\n')
				text.size--;
			if (cf_view_eq_str(cf_buf_view(&text), name))
				found = cf_asprintf("/dev/%s", e->d_name);
		}
		cf_buf_fini(&text);
	}
	if (dir)
		closedir(dir);
	return found;
}

int guest_boot(struct cf_err *err)
{
	static const struct kernel_mount configfs = {
		"configfs", "/sys/kernel/config", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC, true,
	};
	int r;

	r = leave_rootfs(err);
	for (size_t i = 0; r == 0 && i < CF_ARRAY_LEN(kernel_mounts); i++)
		r = mount_one(&kernel_mounts[i], err);
	if (r < 0)
		return r;
	load_modules();
	r = mount_one(&configfs, err);
	if (r == 0)
		r = guest_net_loopback_up(err);
	if (r == 0 && sethostname("coffer", 6) < 0)
		r = cf_fail_errno(err, errno, "hostname");
	return r;
}

void guest_boot_end(void)
{
	sync();
	/* A reset, not a power-off: it needs no ACPI, and the launcher runs without reboot. */
	(void)reboot(RB_AUTOBOOT);
	_exit(0);
}
