/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container's creation, start and end. Creation is a chain: storages, pull, judgement, crun; each
 * link runs when the one before has answered, and any failure undoes everything.
 */
#include "vmm-glue/guest/guest_container.h"
#include "base/crypto.h"
#include "base/fd.h"
#include "base/log.h"
#include "vmm-glue/guest/guest.h"
#include "vmm-glue/guest/guest_pause.h"
#include "vmm-glue/guest/guest_rules.h"
#include "vmm-glue/guest/guest_spec.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define CONTAINER_TYPE "io.katacontainers.pkg.oci.container_type"
#define CRI_TYPE       "io.kubernetes.cri.container-type"
#define CRI_NAME       "io.kubernetes.cri.container-name"

/* ---- the table ---- */

struct guest_container *guest_find(struct guest *g, const char *id)
{
	for (struct guest_container *c = g->containers; c; c = c->next)
		if (cf_streq(c->id, id))
			return c;
	return NULL;
}

int guest_find_process(struct guest *g, const char *id, const char *exec_id,
                       struct guest_container **ret_container, struct guest_process **ret,
                       struct cf_err *err)
{
	struct guest_container *c = guest_find(g, id);
	struct guest_process *found = NULL;

	if (!c)
		return cf_fail(err, CF_NOT_FOUND, "container %.60s", id);
	if (!*exec_id || cf_streq(exec_id, c->id))
		found = c->init;
	for (size_t i = 0; i < c->exec_count && !found; i++)
		if (cf_streq(c->execs[i]->id, exec_id))
			found = c->execs[i];
	if (!found || !found->pid)
		return cf_fail(err, CF_NOT_FOUND, "process %.60s of container %.60s", exec_id, id);
	*ret_container = c;
	*ret = found;
	return 0;
}

static const char *annotation(const Grpc__Spec *spec, const char *key)
{
	for (size_t i = 0; spec && i < spec->n_annotations; i++)
		if (cf_streq(spec->annotations[i]->key, key))
			return spec->annotations[i]->value;
	return NULL;
}

static bool asks_for_pause(const Grpc__CreateContainerRequest *req)
{
	return cf_streq(annotation(req->oci, CONTAINER_TYPE), "pod_sandbox") ||
	       cf_streq(annotation(req->oci, CRI_TYPE), "sandbox");
}

static void hash_request(const Grpc__CreateContainerRequest *req, uint8_t out[32])
{
	size_t size = grpc__create_container_request__get_packed_size(req);
	cf_cleanup(cf_freep) uint8_t *packed = cf_zalloc(size + 1);

	(void)grpc__create_container_request__pack(req, packed);
	cf_sha256(cf_view(packed, size), out);
}

void guest_container_answer(struct rpc_call **slot, const struct cf_err *err)
{
	struct rpc_call *call = cf_take(slot);

	if (!call)
		return;
	if (err)
		rpc_fail_err(call, err);
	else
		guest_reply_empty(call);
}

/* creators[0] last: its request is what c->req points into. */
static void answer_creators(struct guest_container *c, const struct cf_err *err)
{
	c->req = NULL;
	while (c->creator_count)
		guest_container_answer(&c->creators[--c->creator_count], err);
}

static void answer_removers(struct guest_container *c, const struct cf_err *err)
{
	while (c->remover_count)
		guest_container_answer(&c->removers[--c->remover_count], err);
}

/* ---- the end ---- */

static void end_pause_watch(struct guest_container *c)
{
	if (!c->pause_watch)
		return;
	c->pause_watch = cf_event_free(c->pause_watch);
	cf_close(&c->pause_fd);
}

static void container_free(struct guest_container *c)
{
	struct guest *g = c->guest;
	struct guest_container **at = &g->containers;
	cf_cleanup(cf_freep) char *rootfs = cf_asprintf("%s/rootfs", c->bundle);

	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	cf_event_free(c->remove_timer);
	end_pause_watch(c);
	guest_oom_free(c->oom);
	guest_process_free(c->init);
	for (size_t i = 0; i < c->exec_count; i++)
		guest_process_free(c->execs[i]);
	guest_unmount(rootfs);
	if (cf_rm_rf(c->bundle, NULL) < 0)
		cf_log_warn("bundle not removed", CF_F_STR("path", c->bundle));
	/* Only now: whoever hears of the end finds nothing left. */
	answer_creators(c, &c->failure);
	answer_removers(c, NULL);
	cf_strv_fini(&c->env);
	cf_strv_fini(&c->caps);
	policy_user_fini(&c->user);
	for (size_t i = 0; i < c->unsealed.count; i++)
		explicit_bzero(c->unsealed.items[i], strlen(c->unsealed.items[i]));
	cf_strv_fini(&c->unsealed);
	free(c->termination_log);
	free(c->cwd);
	free(c->image);
	free(c->name);
	free(c->bundle);
	free(c->id);
	free(c);
	guest_container_gone(g);
}

static void on_deleted(const struct cf_err *err, void *arg)
{
	struct guest_container *c = arg;

	if (err)
		cf_log_warn("crun delete failed", CF_F_STR("container", c->id),
		            CF_F_STR("why", err->msg));
	container_free(c);
}

/* Its processes have ended, or there never were any. */
static void delete_container(struct guest_container *c)
{
	struct cf_strv args = { 0 };
	struct guest_crun_call call = { .bundle = c->bundle, .args = &args, .fds = { -1, -1, -1 } };
	struct cf_err err;
	int r;

	c->state = GUEST_REMOVING;
	c->remove_timer = cf_event_free(c->remove_timer);
	if (!c->crun_knows) {
		on_deleted(NULL, c);
		return;
	}
	c->crun_knows = false;
	cf_strv_add(&args, "delete");
	cf_strv_add(&args, "--force");
	cf_strv_add(&args, c->id);
	r = guest_crun_start(c->guest->crun, &call, on_deleted, c, &err);
	cf_strv_fini(&args);
	if (r < 0)
		on_deleted(&err, c);
}

static void on_killed(const struct cf_err *err, void *arg)
{
	(void)arg;
	/* An ended container is no failure; the init's own end tells what happened. */
	if (err)
		cf_log_debug("crun kill", CF_F_STR("why", err->msg));
}

int guest_container_kill_all(struct guest_container *c, guest_crun_done *done, void *arg,
                             struct cf_err *err)
{
	struct cf_strv args = { 0 };
	struct guest_crun_call call = { .bundle = c->bundle, .args = &args, .fds = { -1, -1, -1 } };
	int r;

	cf_strv_add(&args, "kill");
	cf_strv_add(&args, "--all");
	cf_strv_add(&args, c->id);
	cf_strv_add(&args, "KILL");
	r = guest_crun_start(c->guest->crun, &call, done, arg, err);
	cf_strv_fini(&args);
	return r;
}

bool guest_container_runs(const struct guest_container *c)
{
	return c->init && c->init->pid && !c->init->has_ended;
}

void guest_container_discard(struct guest_container *c)
{
	struct cf_err err;

	if (c->state == GUEST_CREATING || c->state == GUEST_STARTING) {
		c->is_doomed = true; /* whoever runs for it brings it here again */
		return;
	}
	if (c->state == GUEST_REMOVING)
		return;
	if (!guest_container_runs(c)) {
		delete_container(c);
		return;
	}
	/* on_init_end() goes on from here. */
	c->is_doomed = true;
	if (guest_process_signal(c->init, SIGKILL, &err) < 0)
		cf_log_warn("kill failed", CF_F_STR("why", err.msg));
	/* A paused container cannot die before it is thawed; crun kill sees to that. */
	if (!c->is_pause && guest_container_kill_all(c, on_killed, NULL, &err) < 0)
		cf_log_warn("crun kill failed", CF_F_STR("why", err.msg));
}

static void on_init_end(struct guest_process *p, void *arg)
{
	struct guest_container *c = arg;

	cf_log_info("container ended", CF_F_STR("container", c->id), CF_F_INT("status", p->status));
	if (c->state == GUEST_CREATED || c->state == GUEST_RUNNING)
		c->state = GUEST_STOPPED;
	if (c->is_doomed && c->state == GUEST_STOPPED)
		delete_container(c);
}

static void on_remove_late(void *arg)
{
	struct guest_container *c = arg;
	struct cf_err err;

	c->remove_timer = cf_event_free(c->remove_timer);
	(void)cf_fail(&err, CF_DEADLINE_EXCEEDED, "container %s does not end", c->id);
	answer_removers(c, &err);
}

void guest_remove_container(struct guest *g, struct rpc_call *call,
                            const Grpc__RemoveContainerRequest *req)
{
	struct guest_container *c = guest_find(g, req->container_id);

	if (!c) {
		rpc_fail(call, CF_NOT_FOUND, "container %.60s", req->container_id);
		return;
	}
	if (c->remover_count == GUEST_CREATORS_MAX) {
		rpc_fail(call, CF_RESOURCE_EXHAUSTED, "%u calls remove container %s already",
		         GUEST_CREATORS_MAX, c->id);
		return;
	}
	c->removers[c->remover_count++] = call;
	if (req->timeout && !c->remove_timer)
		c->remove_timer = cf_loop_timer(g->loop, (int64_t)req->timeout * 1000, false,
		                                on_remove_late, c);
	guest_container_discard(c);
}

void guest_containers_abandon(struct guest *g)
{
	struct cf_err err;

	(void)cf_fail(&err, CF_UNAVAILABLE, "the guest ends");
	while (g->containers) {
		struct guest_container *c = g->containers;

		answer_creators(c, &err);
		guest_container_answer(&c->starter, &err);
		answer_removers(c, &err);
		if (guest_container_runs(c) && guest_process_signal(c->init, SIGKILL, &err) < 0)
			cf_log_warn("kill failed", CF_F_STR("container", c->id));
		container_free(c);
	}
}

/* ---- creation ---- */

static void fail_creation(struct guest_container *c, const struct cf_err *err)
{
	cf_log_warn("container refused", CF_F_STR("container", c->id), CF_F_STR("why", err->msg));
	c->failure = *err;
	c->req = NULL;
	c->state = GUEST_STOPPED;
	/* A process that exists already ends first; then its end leads to the removal. */
	guest_container_discard(c);
}

/* Doomed while something ran for it: nobody wants it any more. */
static bool give_up(struct guest_container *c)
{
	struct cf_err err;

	if (!c->is_doomed)
		return false;
	(void)cf_fail(&err, CF_CANCELLED, "container %s was removed while it was created", c->id);
	fail_creation(c, &err);
	return true;
}

/* A kill by the kernel: told to whoever waits, or kept for the next one who asks. */
static void on_oom(void *arg)
{
	struct guest_container *c = arg;
	struct guest *g = c->guest;
	Grpc__OOMEvent event = GRPC__OOMEVENT__INIT;

	cf_log_warn("out of memory", CF_F_STR("container", c->id));
	if (g->oom_waiter) {
		event.container_id = c->id;
		rpc_reply(cf_take(&g->oom_waiter), &event);
	} else if (g->ooms.count < GUEST_OOMS_MAX) {
		cf_strv_add(&g->ooms, c->id);
	}
}

static void watch_memory(struct guest_container *c)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("/coffer/%s", c->id);

	c->oom = guest_oom_watch(c->guest->loop, c->guest->opts.cgroup_root, path, on_oom, c);
}

static void created(struct guest_container *c)
{
	if (!c->is_pause)
		watch_memory(c);
	c->state = c->init->has_ended ? GUEST_STOPPED : GUEST_CREATED;
	answer_creators(c, NULL);
	if (c->is_doomed)
		guest_container_discard(c);
}

static int adopt(struct guest_container *c, struct guest_process *p, const char *pid_file,
                 struct cf_err *err)
{
	pid_t pid = 0;
	int r;

	r = guest_crun_read_pid(pid_file, &pid, err);
	if (r == 0)
		r = guest_process_adopt(p, pid, err);
	(void)unlink(pid_file);
	return r < 0 ? cf_wrap(err, r, "container %s", c->id) : 0;
}

static void on_created(const struct cf_err *failure, void *arg)
{
	struct guest_container *c = arg;
	cf_cleanup(cf_freep) char *pid_file = cf_asprintf("%s/init.pid", c->bundle);
	struct cf_err err;

	if (failure) {
		fail_creation(c, failure);
		return;
	}
	if (adopt(c, c->init, pid_file, &err) < 0) {
		fail_creation(c, &err);
		return;
	}
	created(c);
}

static int run_crun_create(struct guest_container *c, struct cf_err *err)
{
	struct cf_strv args = { 0 };
	cf_cleanup(cf_freep) char *pid_file = cf_asprintf("%s/init.pid", c->bundle);
	struct guest_crun_call call = { .bundle = c->bundle, .args = &args, .pid_file = pid_file };
	int r;

	r = guest_process_prepare(c->init, c->req->oci->process->terminal,
	                          native_policy_read(c->policy, NULL) == 0, c->bundle, err);
	if (r < 0)
		return r;
	cf_strv_add(&args, "create");
	cf_strv_addf(&args, "--bundle=%s", c->bundle);
	cf_strv_addf(&args, "--pid-file=%s", pid_file);
	if (c->init->console_path)
		cf_strv_addf(&args, "--console-socket=%s", c->init->console_path);
	cf_strv_add(&args, c->id);
	for (size_t i = 0; i < 3; i++)
		call.fds[i] = c->init->far[i];
	c->crun_knows = true;
	r = guest_crun_start(c->guest->crun, &call, on_created, c, err);
	cf_strv_fini(&args);
	return r;
}

/* A node's numbers are what our own /dev says, never what the host says. */
static int resolve_devices(const Grpc__Linux *l, struct cf_err *err)
{
	for (size_t i = 0; l && i < l->n_devices; i++) {
		Grpc__LinuxDevice *d = l->devices[i];
		struct stat st;

		if (policy_device_is_default(d->path))
			continue;
		if (lstat(d->path, &st) < 0)
			return cf_fail_errno(err, errno, "device %.120s", d->path);
		if (!cf_streq(d->type, S_ISCHR(st.st_mode)   ? "c"
		                       : S_ISBLK(st.st_mode) ? "b"
		                                             : NULL))
			return cf_fail(err, CF_INVALID_ARGUMENT, "%.120s is no device of type %.8s",
			               d->path, d->type);
		d->major = major(st.st_rdev);
		d->minor = minor(st.st_rdev);
	}
	return 0;
}

/* *ret: the caller's; NULL for a namespace of its own. */
static int pid_namespace(const struct guest_container *c, char **ret, struct cf_err *err)
{
	*ret = NULL;
	if (!c->req->sandbox_pidns)
		return 0;
	for (const struct guest_container *p = c->guest->containers; p; p = p->next) {
		if (!p->is_pause || !guest_container_runs(p))
			continue;
		*ret = cf_asprintf("/proc/%d/ns/pid", (int)p->init->pid);
		return 0;
	}
	return cf_fail(err, CF_FAILED_PRECONDITION, "no pause process whose pids %s could share",
	               c->id);
}

static int write_config(struct guest_container *c, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/config.json", c->bundle);
	cf_cleanup(cf_freep) char *rootfs = cf_asprintf("%s/rootfs", c->bundle);
	cf_cleanup(cf_freep) char *ipc = guest_namespace_path(c->guest, "ipc");
	cf_cleanup(cf_freep) char *uts = guest_namespace_path(c->guest, "uts");
	cf_cleanup(cf_freep) char *pids = NULL;
	struct guest_spec_opts opts = {
		.id = c->id,
		.rootfs = rootfs,
		.ipc_ns = ipc,
		.uts_ns = uts,
		.wire_root = c->guest->opts.state_dir,
		.is_privileged = policy_container_is_privileged(c->policy),
		.user = &c->user,
		.unsealed = &c->unsealed,
	};
	struct cf_buf text = { 0 };
	int r;

	r = resolve_devices(c->req->oci->linux_, err);
	if (r == 0)
		r = pid_namespace(c, &pids, err);
	if (r < 0)
		return r;
	opts.pid_ns = pids;
	guest_spec_write(c->req->oci, &opts, &text);
	r = cf_buf_check(&text, "config.json", err);
	if (r == 0)
		r = cf_write_file_atomic(path, cf_buf_view(&text), 0600, err);
	cf_buf_wipe(&text);
	return r;
}

static void remember_grant(struct guest_container *c)
{
	const Grpc__Spec *spec = c->req->oci;
	const Grpc__Process *p = spec->process;

	for (size_t i = 0; i < spec->n_mounts && !c->termination_log; i++)
		if (cf_streq(spec->mounts[i]->destination, "/dev/termination-log"))
			c->termination_log = guest_path(c->guest, spec->mounts[i]->source);
	for (size_t i = 0; i < p->n_env; i++)
		cf_strv_add(&c->env, p->env[i]);
	for (size_t i = 0; p->capabilities && i < p->capabilities->n_bounding; i++)
		cf_strv_add(&c->caps, p->capabilities->bounding[i]);
	c->cwd = cf_strdup(p->cwd);
	c->asked_uid = p->user ? p->user->uid : 0;
	c->asked_gid = p->user ? p->user->gid : 0;
}

/* The image is there: now its own configuration is known, and the whole request can be judged. */
static int judge(struct guest_container *c, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/config.json", c->bundle);
	struct cf_buf text = { .max = GUEST_IMAGE_CONFIG_MAX };
	struct guest_image_config config;
	struct native_policy_request req = {
		.image = c->image,
		.name = c->name,
		.shares_pids = c->req->sandbox_pidns,
		.config = &config.image,
		.spec = c->req->oci,
	};
	int r;

	r = cf_read_file(path, GUEST_IMAGE_CONFIG_MAX, &text, err);
	if (r == 0)
		r = guest_image_config_parse(cf_buf_view(&text), &config, err);
	cf_buf_fini(&text);
	if (r < 0)
		return r;
	if (c->guest->rego && !c->guest->policy)
		c->policy = native_policy_open(); /* the Rego policy has let the request through */
	else
		r = native_policy_container(c->guest->policy, &req, &c->policy, err);
	if (r == 0) {
		native_policy_user(c->policy, &config.image, c->req->oci->process, &c->user);
		remember_grant(c);
	}
	guest_image_config_fini(&config);
	return r;
}

static void unseal_next(struct guest_container *c);

/* A secret that does not open ends the creation: nobody is served with a seal for a password. */
static void on_unsealed(void *arg, const struct cf_err *failure, struct cf_view plain)
{
	struct guest_container *c = arg;
	const char *entry;
	struct cf_err err;

	if (give_up(c))
		return;
	entry = c->req->oci->process->env[c->env_at];
	if (failure || cf_view_has_nul(plain)) {
		if (failure)
			err = *failure;
		else
			(void)cf_fail(&err, CF_INVALID_ARGUMENT, "a NUL in the secret");
		(void)cf_wrap(&err, -(int)err.code, "sealed variable %.*s",
		              (int)strcspn(entry, "="), entry);
		fail_creation(c, &err);
		return;
	}
	cf_strv_addf(&c->unsealed, "%.*s=%.*s", (int)strcspn(entry, "="), entry, (int)plain.size,
	             plain.size ? (const char *)plain.data : "");
	c->env_at++;
	unseal_next(c);
}

static void unseal_next(struct guest_container *c)
{
	const Grpc__Process *process = c->req->oci->process;
	struct cf_err err;
	int r = 0;

	for (; c->env_at < process->n_env; c->env_at++) {
		const char *value = strchr(process->env[c->env_at], '=');

		if (!value || !cf_starts_with(value + 1, "sealed."))
			continue;
		r = guest_unseal(c->guest, value + 1, on_unsealed, c, &err);
		if (r < 0)
			fail_creation(c, &err);
		return;
	}
	r = write_config(c, &err);
	if (r == 0)
		r = run_crun_create(c, &err);
	if (r < 0)
		fail_creation(c, &err);
}

static void on_pull_end(void *arg, const struct cf_err *failure)
{
	struct guest_container *c = arg;
	struct cf_err err;

	if (failure) {
		err = *failure;
		(void)cf_wrap(&err, -(int)err.code, "image %s", c->image);
		fail_creation(c, &err);
		return;
	}
	if (give_up(c))
		return;
	if (judge(c, &err) < 0)
		fail_creation(c, &err);
	else
		unseal_next(c);
}

static void on_pause_ready(int fd, unsigned what, void *arg)
{
	struct guest_container *c = arg;
	struct cf_err err;
	char byte;
	bool ready = read(fd, &byte, 1) == 1;

	(void)what;
	end_pause_watch(c);
	if (ready) {
		created(c);
		return;
	}
	(void)cf_fail(&err, CF_INTERNAL, "the pause process of %s did not get ready", c->id);
	fail_creation(c, &err);
}

static int create_pause(struct guest_container *c, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *root = cf_asprintf("%s/rootfs", c->bundle);
	pid_t pid;
	int r;

	r = cf_mkdir_p(root, 0700, err);
	if (r == 0)
		r = guest_pause_spawn(root, &pid, &c->pause_fd, err);
	if (r < 0)
		return r;
	c->pause_watch = cf_loop_fd(c->guest->loop, c->pause_fd, CF_LOOP_READ, on_pause_ready, c);
	return guest_process_adopt(c->init, pid, err);
}

static int create_from_image(struct guest_container *c, struct cf_err *err)
{
	const Grpc__CreateContainerRequest *req = c->req;
	int r = 0;

	for (size_t i = 0; i < req->n_storages; i++)
		if (cf_streq(req->storages[i]->driver, "image_guest_pull"))
			c->image = c->image ? c->image : cf_strdup(req->storages[i]->source);
	if (!c->image || !*c->image)
		return cf_fail(err, CF_PERMISSION_DENIED,
		               "container %s: a root file system that is not an image", c->id);
	r = native_policy_image(c->guest->policy, c->image, err);
	for (size_t i = 0; r == 0 && i < req->n_storages; i++)
		if (!cf_streq(req->storages[i]->driver, "image_guest_pull"))
			r = guest_storage_apply(c->guest, req->storages[i], err);
	if (r == 0)
		r = guest_pull(c->guest, c->image, c->bundle, on_pull_end, c, err);
	return r;
}

/* True: @call now waits for a creation that runs already, or was answered. */
static bool rejoin(struct guest *g, struct rpc_call *call, const Grpc__CreateContainerRequest *req)
{
	struct guest_container *c = guest_find(g, req->container_id);
	uint8_t hash[32];

	if (!c)
		return false;
	hash_request(req, hash);
	if (!cf_equal_ct(cf_view(hash, 32), cf_view(c->request, 32)) || c->is_doomed)
		rpc_fail(call, CF_ALREADY_EXISTS, "container %s", c->id);
	else if (c->state == GUEST_CREATED)
		guest_reply_empty(call);
	else if (c->state != GUEST_CREATING)
		rpc_fail(call, CF_ALREADY_EXISTS, "container %s", c->id);
	else if (c->creator_count == GUEST_CREATORS_MAX)
		rpc_fail(call, CF_RESOURCE_EXHAUSTED, "%u calls create container %s already",
		         GUEST_CREATORS_MAX, c->id);
	else
		c->creators[c->creator_count++] = call;
	return true;
}

static size_t count_containers(const struct guest *g)
{
	size_t n = 0;

	for (const struct guest_container *c = g->containers; c; c = c->next)
		n++;
	return n;
}

static struct guest_container *container_new(struct guest *g, struct rpc_call *call,
                                             const Grpc__CreateContainerRequest *req)
{
	struct guest_container *c = cf_zalloc(sizeof(*c));

	c->guest = g;
	c->id = cf_strdup(req->container_id);
	c->bundle = cf_asprintf("%s/%s", g->opts.state_dir, c->id);
	c->name = cf_strdup(annotation(req->oci, CRI_NAME));
	c->is_pause = asks_for_pause(req);
	c->creators[c->creator_count++] = call;
	c->req = req;
	hash_request(req, c->request);
	c->init = guest_process_new(g->loop, g->reaper, c->id);
	c->init->on_end = on_init_end;
	c->init->arg = c;
	c->next = g->containers;
	g->containers = c;
	return c;
}

void guest_create_container(struct guest *g, struct rpc_call *call,
                            const Grpc__CreateContainerRequest *req)
{
	struct guest_container *c;
	struct cf_err err;
	int r;

	r = guest_rules_container(req, &err);
	if (r < 0) {
		rpc_fail_err(call, &err);
		return;
	}
	if (rejoin(g, call, req))
		return;
	if (g->is_destroying || count_containers(g) == GUEST_CONTAINERS_MAX) {
		rpc_fail(call, CF_RESOURCE_EXHAUSTED, "%u containers", GUEST_CONTAINERS_MAX);
		return;
	}
	c = container_new(g, call, req);
	r = cf_mkdir_p(c->bundle, 0700, &err);
	if (r == 0)
		r = c->is_pause ? create_pause(c, &err) : create_from_image(c, &err);
	if (r < 0)
		fail_creation(c, &err);
}

/* ---- start ---- */

static void on_started(const struct cf_err *err, void *arg)
{
	struct guest_container *c = arg;

	c->state = !c->init->has_ended ? (err ? GUEST_CREATED : GUEST_RUNNING) : GUEST_STOPPED;
	guest_container_answer(&c->starter, err);
	if (c->is_doomed)
		guest_container_discard(c);
}

void guest_start_container(struct guest *g, struct rpc_call *call, const char *id)
{
	struct guest_container *c = guest_find(g, id);
	struct cf_strv args = { 0 };
	struct guest_crun_call start = { .args = &args, .fds = { -1, -1, -1 } };
	struct cf_err err;

	if (!c || c->state != GUEST_CREATED) {
		rpc_fail(call, c ? CF_FAILED_PRECONDITION : CF_NOT_FOUND, "container %.60s%s", id,
		         c ? " is not waiting to be started" : "");
		return;
	}
	c->starter = call;
	c->state = GUEST_STARTING;
	if (c->is_pause) {
		on_started(NULL, c);
		return;
	}
	start.bundle = c->bundle;
	cf_strv_add(&args, "start");
	cf_strv_add(&args, c->id);
	if (guest_crun_start(g->crun, &start, on_started, c, &err) < 0)
		on_started(&err, c);
	cf_strv_fini(&args);
}
