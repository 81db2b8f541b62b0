/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Create and Delete: the two calls that make and end things. Create of a pod's sandbox boots its
 * machine; each step either hands over to the next or takes back everything before it answers.
 *
 *   loop: bundle, task ─► worker: boot ─► loop: attach ─► worker: setup, copies ─► loop: streams,
 *   CreateContainer ─► answer
 */
#include "vmm-glue/shim/shim.h"

#include "base/fd.h"
#include "base/log.h"
#include "proto/containerd_options.pb-c.h"
#include "vmm-glue/shim/delete.h"
#include "vmm-glue/shim/upload.h"

#define REMOVE_TIMEOUT_MS 4000 /* within the 10 s that containerd's exit handler has for all */
#define OPTIONS_TYPE      "runtimeoptions.v1.Options"

struct create {
	struct shim *s;
	struct rpc_call *call;
	const Containerd__Task__V2__CreateTaskRequest *req; /* lives until the call is answered */
	struct task *t;
	struct bundle *b;
	struct sandbox *sb;
	bool is_new; /* this call makes the sandbox */
	struct agent_container *c;
	int r;
	struct cf_err err;
};

/* ---- the end of a Create ---- */

static void create_free(struct create *c)
{
	bundle_free(c->b);
	agent_container_free(c->c);
	free(c);
}

static bool is_pod_there(const struct shim *s)
{
	return s->sandbox && !s->is_sandbox_dead && sandbox_is_alive(s->sandbox);
}

/* The pod waits for its next container, or for its first. */
static void await_next(const struct create *c)
{
	if (c->t->kind != BUNDLE_SINGLE)
		early_pull_listen(c->s->early);
}

static void refuse(struct create *c)
{
	cf_log_error("create failed", CF_F_STR("container", c->t->id),
	             CF_F_STR("code", cf_code_name(c->err.code)), CF_F_STR("error", c->err.msg));
	task_remove(c->t);
	rpc_fail_err(c->call, &c->err);
	create_free(c);
}

static void on_undone(void *arg)
{
	struct create *c = arg;

	c->s->sandbox = NULL;
	c->s->is_sandbox_dead = false;
	sandbox_free(c->sb);
	refuse(c);
}

static void create_failed(struct create *c)
{
	c->r = sandbox_explain(c->sb, c->r, &c->err);
	if (c->is_new && c->s->sandbox == c->sb) {
		sandbox_stop(c->sb, true, on_undone, c);
		return;
	}
	if (is_pod_there(c->s))
		await_next(c);
	refuse(c);
}

static void publish_created(const struct create *c)
{
	Containerd__Events__TaskCreate ev = CONTAINERD__EVENTS__TASK_CREATE__INIT;
	Containerd__Events__TaskIO io = CONTAINERD__EVENTS__TASK_IO__INIT;

	io.stdin = c->req->stdin;
	io.stdout = c->req->stdout;
	io.stderr = c->req->stderr;
	io.terminal = c->req->terminal;
	ev.container_id = c->t->id;
	ev.bundle = c->t->bundle;
	ev.rootfs = c->req->rootfs;
	ev.n_rootfs = c->req->n_rootfs;
	ev.io = &io;
	ev.pid = shim_task_pid(c->s);
	events_publish(c->s->events, "/tasks/create", &ev.base);
}

static void on_created(void *user, int r, ProtobufCMessage *msg, const struct cf_err *err)
{
	struct create *c = user;
	Containerd__Task__V2__CreateTaskResponse res =
		CONTAINERD__TASK__V2__CREATE_TASK_RESPONSE__INIT;

	if (msg)
		protobuf_c_message_free_unpacked(msg, NULL);
	pull_reports_end(c->s->reports, c->t->id, r < 0 ? err : NULL);
	if (r < 0) {
		c->err = *err;
		c->r = cf_wrap(&c->err, r, "guest: CreateContainer");
		create_failed(c);
		return;
	}
	proc_step(task_init(c->t), PROC_EV_CREATED);
	publish_created(c);
	await_next(c);
	cf_log_info("created", CF_F_STR("container", c->t->id),
	            CF_F_STR("kind", bundle_kind_name(c->t->kind)));
	res.pid = shim_task_pid(c->s);
	rpc_reply(c->call, &res);
	create_free(c);
}

/* ---- steps ---- */

static int open_streams(struct create *c)
{
	struct proc *p = task_init(c->t);
	struct stdio_opts opts = {
		.loop = c->s->loop,
		.container_id = c->t->id,
		.exec_id = p->agent_id,
		.ns = c->s->ns,
		.in = c->req->stdin,
		.out = c->req->stdout,
		.err = c->req->stderr,
		.is_terminal = c->req->terminal,
		.read_max = sandbox_message_max(c->sb),
	};

	return stdio_open(&opts, &p->io, &c->err);
}

static void create_in_guest(struct create *c)
{
	struct ttrpc_client *client = sandbox_client(c->sb);
	struct ttrpc_req call = { .service = "grpc.AgentService",
		                  .method = "CreateContainer",
		                  .msg = &c->c->req->base,
		                  .out = &google__protobuf__empty__descriptor,
		                  .timeout_ms = c->s->config->create_timeout_ms };

	c->r = open_streams(c);
	if (c->r == 0 && !client)
		c->r = cf_fail(&c->err, CF_UNAVAILABLE, "the pod's machine is gone");
	if (c->r == 0)
		c->r = ttrpc_start(client, &call, on_created, c, &c->err);
	if (c->r < 0)
		create_failed(c);
	else
		pull_reports_begin(c->s->reports, c->t->id, c->req->rootfs, c->req->n_rootfs);
}

static void on_prepared(void *arg)
{
	struct create *c = arg;

	sandbox_job_end(c->sb);
	if (c->r < 0)
		create_failed(c);
	else
		create_in_guest(c);
}

static void prepare_job(void *arg)
{
	struct create *c = arg;
	struct agent_rootfs_opts opts = { .is_forced = c->s->config->is_force_guest_pull };

	if (c->is_new)
		c->r = sandbox_setup(c->sb, c->b, &c->err);
	if (c->r == 0)
		c->r = agent_container_new(c->b, c->t->id, c->t->bundle, c->req->rootfs,
		                           c->req->n_rootfs, &opts, &c->c, &c->err);
	if (c->r == 0)
		c->r = upload_all(sandbox_client(c->sb), c->c, sandbox_message_max(c->sb),
		                  c->s->config->request_timeout_ms, &c->err);
	cf_loop_post(c->s->loop, on_prepared, c);
}

static void start_prepare(struct create *c)
{
	sandbox_job_begin(c->sb);
	c->r = cf_work_add(c->s->work, prepare_job, c, &c->err);
	if (c->r < 0)
		on_prepared(c);
}

static void on_booted(void *arg)
{
	struct create *c = arg;

	if (c->r < 0) {
		c->sb = sandbox_free(c->sb);
		refuse(c);
		return;
	}
	c->s->sandbox = c->sb;
	c->s->is_sandbox_dead = false;
	c->r = sandbox_attach(c->sb, &c->err);
	if (c->r < 0)
		create_failed(c);
	else
		start_prepare(c);
}

static void boot_job(void *arg)
{
	struct create *c = arg;

	c->r = sandbox_boot(c->sb, c->b, &c->err);
	cf_loop_post(c->s->loop, on_booted, c);
}

static void on_dead(void *arg, const char *why)
{
	shim_sandbox_died(arg, why);
}

static void on_oom(void *arg, const char *container_id)
{
	struct shim *s = arg;
	Containerd__Events__TaskOOM ev = CONTAINERD__EVENTS__TASK_OOM__INIT;
	struct task *t = shim_find_task(s, container_id);

	if (!t)
		return;
	ev.container_id = t->id;
	events_publish(s->events, "/tasks/oom", &ev.base);
}

static struct ttrpc_client *agent_client(void *arg)
{
	struct shim *s = arg;

	return s->sandbox ? sandbox_client(s->sandbox) : NULL;
}

static void prepare_early_pulls(struct shim *s, const char *id)
{
	struct early_pull_opts opts = { .loop = s->loop,
		                        .dir = s->config->early_pull,
		                        .ns = s->ns,
		                        .id = id,
		                        .timeout_ms = s->config->create_timeout_ms,
		                        .client = agent_client,
		                        .arg = s };

	s->early = early_pull_free(s->early); /* of an earlier pod, whose client is gone */
	if (opts.dir)
		s->early = early_pull_new(&opts);
}

static void prepare_reports(struct shim *s)
{
	struct pull_reports_opts opts = {
		.loop = s->loop, .path = s->config->pull_reports, .client = agent_client, .arg = s
	};

	s->reports = pull_reports_free(s->reports);
	if (*opts.path)
		s->reports = pull_reports_new(&opts);
}

static void start_boot(struct create *c)
{
	struct sandbox_opts opts = {
		.loop = c->s->loop,
		.config = c->s->config,
		.ns = c->s->ns,
		.id = c->b->sandbox_id,
		.on_dead = on_dead,
		.on_oom = on_oom,
		.arg = c->s,
	};

	c->is_new = true;
	prepare_early_pulls(c->s, c->b->sandbox_id);
	prepare_reports(c->s);
	c->sb = sandbox_new(&opts);
	c->r = delete_leave_note(c->t->bundle, c->s->config, c->s->ns, c->b->sandbox_id, &c->err);
	if (c->r == 0)
		c->r = cf_work_add(c->s->work, boot_job, c, &c->err);
	if (c->r < 0)
		on_booted(c);
}

/* ---- the request ---- */

/* The configuration that the CRI handler's options name, for a new pod. */
static int use_options(struct shim *s, const Google__Protobuf__Any *any, struct cf_err *err)
{
	struct shim_config *config = NULL;
	ProtobufCMessage *msg = NULL;
	Runtimeoptions__V1__Options *o;
	int r;

	if (!any || !cf_ends_with(any->type_url, OPTIONS_TYPE))
		return 0;
	r = rpc_unpack(&runtimeoptions__v1__options__descriptor, any->value.data, any->value.len,
	               &msg, err);
	if (r < 0)
		return cf_wrap(err, r, "runtime options");
	o = (Runtimeoptions__V1__Options *)msg;
	if (*o->config_path)
		r = shim_config_load(o->config_path, &config, err);
	else if (o->config_body.len)
		r = shim_config_parse(cf_view(o->config_body.data, o->config_body.len), &config,
		                      err);
	protobuf_c_message_free_unpacked(msg, NULL);
	if (r == 0 && config) {
		shim_config_free(s->config);
		s->config = config;
	}
	return r;
}

/* Only one machine a shim: the first task that is no mere container brings it. */
static bool has_pod_task(const struct shim *s)
{
	for (const struct task *t = s->tasks; t; t = t->next)
		if (t->kind != BUNDLE_CONTAINER)
			return true;
	return s->sandbox != NULL;
}

static int admit(struct shim *s, const Containerd__Task__V2__CreateTaskRequest *req,
                 const struct bundle *b, struct cf_err *err)
{
	if (shim_find_task(s, req->id))
		return cf_fail(err, CF_ALREADY_EXISTS, "container %s", req->id);
	if (*req->checkpoint || *req->parent_checkpoint)
		return cf_fail(err, CF_UNIMPLEMENTED, "restoring a checkpoint");
	if (s->task_count >= SHIM_TASKS_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "%u containers in one pod",
		               SHIM_TASKS_MAX);
	if (b->kind == BUNDLE_CONTAINER && !is_pod_there(s))
		return cf_fail(err, CF_FAILED_PRECONDITION, "pod %s is not running", b->sandbox_id);
	if (b->kind != BUNDLE_CONTAINER && has_pod_task(s))
		return cf_fail(err, CF_FAILED_PRECONDITION, "this shim serves a pod already");
	return 0;
}

void shim_on_create(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	const Containerd__Task__V2__CreateTaskRequest *req =
		(const Containerd__Task__V2__CreateTaskRequest *)msg;
	struct shim *s = user;
	struct bundle *b = NULL;
	struct cf_err err;
	struct create *c;
	struct proc *p;
	int r = shim_id_check("container id", req->id, &err);

	if (r == 0)
		r = bundle_load(req->bundle, req->id, &b, &err);
	if (r == 0)
		r = admit(s, req, b, &err);
	if (r == 0 && b->kind != BUNDLE_CONTAINER)
		r = use_options(s, req->options, &err);
	if (r < 0) {
		bundle_free(b);
		rpc_fail_err(call, &err);
		return;
	}
	c = cf_zalloc(sizeof(*c));
	*c = (struct create){ .s = s, .call = call, .req = req, .b = b, .sb = s->sandbox };
	c->t = task_add(s, req->id, req->bundle);
	c->t->kind = b->kind;
	p = task_init(c->t);
	p->is_terminal = req->terminal;
	p->in = cf_strdup(req->stdin);
	p->out = cf_strdup(req->stdout);
	p->err = cf_strdup(req->stderr);
	early_pull_pause(s->early);
	if (b->kind == BUNDLE_CONTAINER)
		start_prepare(c);
	else
		start_boot(c);
}

/* ---- Delete ---- */

static void answer_delete(struct rpc_call *call, const struct proc *p)
{
	Containerd__Task__V2__DeleteResponse res = CONTAINERD__TASK__V2__DELETE_RESPONSE__INIT;
	Google__Protobuf__Timestamp at;

	proc_timestamp(p, &at);
	res.pid = shim_task_pid(p->task->shim);
	res.exit_status = p->exit_status;
	res.exited_at = &at;
	rpc_reply(call, &res);
}

static void publish_deleted(const struct proc *p)
{
	Containerd__Events__TaskDelete ev = CONTAINERD__EVENTS__TASK_DELETE__INIT;
	Google__Protobuf__Timestamp at;

	proc_timestamp(p, &at);
	ev.container_id = p->task->id;
	ev.pid = shim_task_pid(p->task->shim);
	ev.exit_status = p->exit_status;
	ev.exited_at = &at;
	events_publish(p->task->shim->events, "/tasks/delete", &ev.base);
}

static void finish_delete(struct proc_call *c)
{
	publish_deleted(c->p);
	answer_delete(c->call, c->p);
	cf_log_info("deleted", CF_F_STR("container", c->p->task->id),
	            CF_F_UINT("exit", c->p->exit_status));
	task_remove(c->p->task);
	proc_call_free(c, NULL);
}

static void on_pod_stopped(void *arg)
{
	struct proc_call *c = arg;
	struct shim *s = c->shim;

	finish_delete(c); /* still names the machine's pid */
	early_pull_pause(s->early);
	s->sandbox = sandbox_free(s->sandbox);
	s->is_sandbox_dead = false;
}

static void delete_pod(struct proc_call *c)
{
	struct shim *s = c->shim;

	early_pull_pause(s->early);
	if (s->sandbox)
		sandbox_stop(s->sandbox, s->is_sandbox_dead, on_pod_stopped, c);
	else
		finish_delete(c);
}

static void on_removed(void *user, int r, ProtobufCMessage *msg, const struct cf_err *err)
{
	struct proc_call *c = user;

	if (msg)
		protobuf_c_message_free_unpacked(msg, NULL);
	if (r < 0 && r != -CF_NOT_FOUND)
		cf_log_warn("guest did not remove the container",
		            CF_F_STR("container", c->p->task->id), CF_F_STR("error", err->msg));
	if (c->p->task->kind != BUNDLE_CONTAINER)
		delete_pod(c);
	else
		finish_delete(c);
}

static void delete_init(struct proc *p, struct rpc_call *call)
{
	struct shim *s = p->task->shim;
	struct ttrpc_client *client = s->sandbox ? sandbox_client(s->sandbox) : NULL;
	Grpc__RemoveContainerRequest req = GRPC__REMOVE_CONTAINER_REQUEST__INIT;
	struct ttrpc_req out = { .service = "grpc.AgentService",
		                 .method = "RemoveContainer",
		                 .msg = &req.base,
		                 .out = &google__protobuf__empty__descriptor,
		                 .timeout_ms = REMOVE_TIMEOUT_MS };
	struct proc_call *c = cf_zalloc(sizeof(*c));
	struct cf_err err;

	*c = (struct proc_call){ .p = proc_ref(p), .call = call, .shim = s };
	p->task->is_deleting = true;
	if (p->state == PROC_CREATED)
		clock_gettime(CLOCK_REALTIME, &p->exited_at);
	req.container_id = p->task->id;
	if (!client || ttrpc_start(client, &out, on_removed, c, &err) < 0)
		on_removed(c, 0, NULL, NULL);
}

void shim_on_delete(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	const Containerd__Task__V2__DeleteRequest *req =
		(const Containerd__Task__V2__DeleteRequest *)msg;
	struct task *t = shim_find_task(user, req->id);
	struct proc *p = t ? task_find_proc(t, req->exec_id) : NULL;

	if (!p) {
		rpc_fail(call, CF_NOT_FOUND, "no process \"%s\" in container %s", req->exec_id,
		         req->id);
		return;
	}
	if ((p->state != PROC_STOPPED && p->state != PROC_CREATED) || t->is_deleting) {
		rpc_fail(call, CF_FAILED_PRECONDITION, "container %s has not ended", req->id);
		return;
	}
	if (!*req->exec_id) {
		delete_init(p, call);
		return;
	}
	answer_delete(call, p);
	proc_remove(p);
}
