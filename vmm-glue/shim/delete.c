/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/shim/delete.h"

#include "base/fd.h"
#include "proto/containerd_task.pb-c.h"
#include "vmm-glue/shim/bundle.h"
#include "vmm-glue/shim/sandbox.h"
#include "vmm-glue/shim/shim.h"
#include "vmm-glue/shim/socket_lease.h"
#include "vmm-glue/shim/state_file.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define CGROUP_ROOT "/sys/fs/cgroup"

int delete_leave_note(const char *bundle, const struct shim_config *config, const char *ns,
                      const char *id, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/" DELETE_NOTE, bundle);
	cf_cleanup(cf_freep) char *dir = NULL;
	int r = sandbox_dir(config->run_dir, ns, id, &dir, err);

	return r < 0 ? r : cf_write_file_atomic(path, cf_view_str(dir), 0600, err);
}

/* The sandbox' directory when this bundle is a sandbox'; NULL otherwise. */
static char *read_note(const char *bundle)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/" DELETE_NOTE, bundle);
	struct cf_buf text = { .max = PATH_MAX + 1 };
	struct cf_err ignored;
	char *dir = NULL;

	if (cf_read_file(path, PATH_MAX, &text, &ignored) == 0 && text.size &&
	    !cf_view_has_nul(cf_buf_view(&text)))
		dir = cf_view_dup(cf_buf_view(&text));
	cf_buf_fini(&text);
	return dir;
}

/* A shim that is still there after its daemon let go of it was disowned: its pod ends with it. */
static void end_shim(const char *dir)
{
	struct state_file s = { .sandbox_id = NULL };
	struct cf_err ignored;

	if (state_file_read(dir, &s, &ignored) < 0)
		return;
	if (state_is_alive(&s.shim)) {
		cf_cleanup(cf_closep) int fd = (int)syscall(SYS_pidfd_open, s.shim.pid, 0);
		struct pollfd p = { .fd = fd, .events = POLLIN };

		if (fd >= 0 && poll(&p, 1, DELETE_SHIM_WAIT_MS) == 0)
			state_kill(&s.shim, DELETE_SHIM_WAIT_MS);
	}
	state_file_fini(&s);
}

static void unmount_rootfs(const char *bundle)
{
	cf_cleanup(cf_freep) char *root = cf_asprintf("%s/rootfs", bundle);

	/* one mount a time until there is none; a name of the guest's making is never followed */
	while (umount2(root, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		;
}

/*
 * Under driver none the guest's cgroups are this machine's, and a guest that was killed leaves them.
 * Only empty ones can be removed, so a container that still runs keeps its own.
 */
static void remove_cgroups(const char *id)
{
	cf_cleanup(cf_freep) char *unified = cf_asprintf(CGROUP_ROOT "/coffer/%s", id);
	DIR *dir = opendir(CGROUP_ROOT);
	struct dirent *e;

	(void)!rmdir(unified);
	while (dir && (e = readdir(dir))) {
		cf_cleanup(cf_freep) char *parent =
			cf_asprintf(CGROUP_ROOT "/%s/coffer", e->d_name);
		cf_cleanup(cf_freep) char *path = cf_asprintf("%s/%s", parent, id);

		if (e->d_name[0] != '.' && rmdir(path) == 0)
			(void)!rmdir(parent);
	}
	if (dir)
		closedir(dir);
}

/* The socket of a shim that is gone; one that answers serves other containers of the pod. */
static void unlink_socket(const char *bundle)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/address", bundle);
	struct cf_buf text = { .max = PATH_MAX + 1 };
	struct cf_err ignored;
	const char *socket = NULL;

	if (cf_read_file(path, PATH_MAX, &text, &ignored) == 0 && text.size &&
	    !cf_view_has_nul(cf_buf_view(&text)))
		socket = cf_after((const char *)text.data, "unix://");
	if (socket) {
		cf_cleanup(cf_closep) int fd = cf_connect_unix(socket, &ignored);

		if (fd < 0)
			(void)!unlink(socket);
	}
	cf_buf_fini(&text);
}

static int answer(struct cf_err *err)
{
	Containerd__Task__V2__DeleteResponse res = CONTAINERD__TASK__V2__DELETE_RESPONSE__INIT;
	Google__Protobuf__Timestamp at = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
	uint8_t out[64];
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	at.seconds = now.tv_sec;
	at.nanos = (int32_t)now.tv_nsec;
	res.exit_status = EXIT_KILLED;
	res.exited_at = &at;
	if (protobuf_c_message_get_packed_size(&res.base) > sizeof(out))
		return cf_fail(err, CF_INTERNAL, "delete response");
	return cf_write_all(STDOUT_FILENO, cf_view(out, protobuf_c_message_pack(&res.base, out)),
	                    err);
}

int delete_run(const struct shim_args *args, struct cf_err *err)
{
	const char *bundle = args->bundle && *args->bundle ? args->bundle : ".";
	cf_cleanup(cf_freep) char *dir = NULL;
	int r = shim_id_check("-id", args->id, err);

	if (r == 0)
		r = shim_id_check("-namespace", args->ns, err);
	if (r < 0)
		return r;
	dir = read_note(bundle);
	if (dir) {
		end_shim(dir);
		r = sandbox_reap(dir, err);
		if (r < 0)
			return r;
	}
	unlink_socket(bundle);
	socket_lease_sweep(SOCKET_LEASE_DIR);
	unmount_rootfs(bundle);
	remove_cgroups(args->id);
	return answer(err);
}
