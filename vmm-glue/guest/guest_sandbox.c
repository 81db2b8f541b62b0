/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"
#include "base/log.h"
#include "vmm-glue/guest/guest.h"
#include "vmm-glue/guest/guest_rules.h"

#include <errno.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define DNS_MAX 64u /* lines of resolv.conf */

char *guest_path(const struct guest *g, const char *wire_path)
{
	const char *rest = cf_after(wire_path, GUEST_WIRE_ROOT);

	return cf_asprintf("%s%s", g->opts.state_dir, rest ? rest : wire_path);
}

/* ---- namespaces that the pod's containers share ---- */

char *guest_namespace_path(const struct guest *g, const char *kind)
{
	return cf_asprintf("%s/sandbox-ns/%s", g->opts.state_dir, kind);
}

static int pin_namespace(struct guest *g, const char *kind, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *path = guest_namespace_path(g, kind);
	cf_cleanup(cf_freep) char *source = cf_asprintf("/proc/thread-self/ns/%s", kind);
	cf_cleanup(cf_closep) int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

	if (fd < 0)
		return cf_fail_errno(err, errno, "%s", path);
	if (mount(source, path, NULL, MS_BIND, NULL) < 0)
		return cf_fail_errno(err, errno, "namespace file %s", path);
	return 0;
}

/* Enters new namespaces for a moment, leaves bind-mounted handles to them, and returns. */
int guest_namespaces_make(struct guest *g, const char *hostname, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *dir = guest_namespace_path(g, "");
	cf_cleanup(cf_closep) int ipc = open("/proc/thread-self/ns/ipc", O_RDONLY | O_CLOEXEC);
	cf_cleanup(cf_closep) int uts = open("/proc/thread-self/ns/uts", O_RDONLY | O_CLOEXEC);
	int r;

	if (ipc < 0 || uts < 0)
		return cf_fail_errno(err, errno, "/proc/thread-self/ns");
	r = cf_mkdir_p(dir, 0700, err);
	if (r < 0)
		return r;
	if (unshare(CLONE_NEWIPC | CLONE_NEWUTS) < 0)
		return cf_fail_errno(err, errno, "new namespaces");
	if (*hostname && sethostname(hostname, strlen(hostname)) < 0)
		r = cf_fail_errno(err, errno, "hostname");
	if (r == 0)
		r = pin_namespace(g, "ipc", err);
	if (r == 0)
		r = pin_namespace(g, "uts", err);
	if (setns(ipc, CLONE_NEWIPC) < 0 || setns(uts, CLONE_NEWUTS) < 0)
		return cf_fail_errno(err, errno, "back to our namespaces");
	return r;
}

void guest_namespaces_drop(struct guest *g)
{
	static const char *const kinds[] = { "ipc", "uts" };

	for (size_t i = 0; i < CF_ARRAY_LEN(kinds); i++) {
		cf_cleanup(cf_freep) char *path = guest_namespace_path(g, kinds[i]);

		guest_unmount(path);
		(void)unlink(path);
	}
}

/* ---- sandbox ---- */

static int write_dns(struct guest *g, const Grpc__CreateSandboxRequest *req, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *dir = guest_path(g, GUEST_WIRE_SANDBOX);
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/resolv.conf", dir);
	struct cf_buf text = { .max = 1u << 16 };
	int r;

	if (!req->n_dns)
		return 0;
	for (size_t i = 0; i < req->n_dns && i < DNS_MAX; i++) {
		cf_buf_add_str(&text, req->dns[i]);
		cf_buf_add_byte(&text, '\n');
	}
	r = cf_buf_check(&text, "resolv.conf", err);
	if (r == 0)
		r = cf_write_file_atomic(path, cf_buf_view(&text), 0644, err);
	/* The image service in this machine resolves names too. */
	if (r == 0 && g->opts.is_init)
		r = cf_write_file_atomic("/etc/resolv.conf", cf_buf_view(&text), 0644, err);
	cf_buf_fini(&text);
	return r;
}

static int create_sandbox(struct guest *g, const Grpc__CreateSandboxRequest *req,
                          struct cf_err *err)
{
	cf_cleanup(cf_freep) char *dir = guest_path(g, GUEST_WIRE_SANDBOX);
	cf_cleanup(cf_freep) char *share = guest_path(g, GUEST_WIRE_SHARE);
	int r;

	r = cf_mkdir_p(dir, 0755, err);
	if (r == 0)
		r = cf_mkdir_p(share, 0755, err);
	if (r == 0 && mount("tmpfs", share, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
	                    "mode=0755,size=256m") < 0)
		r = cf_fail_errno(err, errno, "share");
	if (r == 0)
		cf_strv_add(&g->storages, share);
	if (r == 0)
		r = guest_namespaces_make(g, req->hostname, err);
	if (r == 0)
		r = write_dns(g, req, err);
	for (size_t i = 0; r == 0 && i < req->n_storages; i++)
		r = guest_storage_apply(g, req->storages[i], err);
	return r;
}

void guest_create_sandbox(struct guest *g, struct rpc_call *call,
                          const Grpc__CreateSandboxRequest *req)
{
	struct cf_err err;
	int r;

	r = guest_rules_sandbox(req, &err);
	if (r == 0)
		r = create_sandbox(g, req, &err);
	if (r < 0) {
		guest_storage_drop_all(g);
		guest_namespaces_drop(g);
		g->gate.phase = GUEST_READY;
		rpc_fail_err(call, &err);
		return;
	}
	g->sandbox_id = cf_strdup(req->sandbox_id);
	guest_reply_empty(call);
}

static void finish_destroy(struct guest *g)
{
	struct rpc_call *call = cf_take(&g->destroyer);

	g->is_destroying = false;
	guest_storage_drop_all(g);
	guest_namespaces_drop(g);
	if (call)
		guest_reply_empty(call);
	if (g->on_destroyed)
		g->on_destroyed(g->arg);
}

void guest_container_gone(struct guest *g)
{
	if (g->is_destroying && !g->containers)
		finish_destroy(g);
}

void guest_destroy_sandbox(struct guest *g, struct rpc_call *call)
{
	struct guest_container *next;

	if (g->is_destroying && call) {
		rpc_fail(call, CF_FAILED_PRECONDITION, "the sandbox is being destroyed");
		return;
	}
	g->is_destroying = true;
	g->gate.phase = GUEST_GONE;
	g->destroyer = call;
	/* Pulls that still run end as cancelled, and their containers with them. */
	g->cdh = ttrpc_client_free(g->cdh);
	/* Containers first: they stand on what is unmounted at the end. */
	for (struct guest_container *c = g->containers; c; c = next) {
		next = c->next;
		guest_container_discard(c);
	}
	guest_container_gone(g);
}
