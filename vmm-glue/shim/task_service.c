/* SPDX-License-Identifier: Apache-2.0 */
/*
 * containerd.task.v2.Task: every method but Create and Delete. Which request is allowed when is
 * decided by the process' state alone; State, Pids, Connect and Wait are answered from memory, since
 * containerd gives State two seconds and sends it before nearly every other call.
 */
#include "vmm-glue/shim/shim.h"

#include "base/log.h"
#include "base/str.h"
#include "vmm-glue/shim/bundle.h"
#include "vmm-glue/shim/stats.h"

#include <signal.h>
#include <unistd.h>

#define AGENT_SERVICE     "grpc.AgentService"
#define KILL_TIMEOUT_MS   5000 /* of SIGKILL to a pod, then the machine goes */
#define ANY_SPEC_SIZE_MAX (4u << 20)

/* ---- what all handlers share ---- */

void shim_reply_empty(struct rpc_call *call)
{
	Google__Protobuf__Empty res = GOOGLE__PROTOBUF__EMPTY__INIT;

	rpc_reply(call, &res);
}

/* The process meant; NULL after answering NOT_FOUND. */
static struct proc *need_proc(struct shim *s, struct rpc_call *call, const char *id,
                              const char *exec_id)
{
	struct task *t = shim_find_task(s, id);
	struct proc *p = t ? task_find_proc(t, exec_id) : NULL;

	if (!t)
		rpc_fail(call, CF_NOT_FOUND, "no container %s", id);
	else if (!p)
		rpc_fail(call, CF_NOT_FOUND, "no process %s in container %s", exec_id, id);
	return p;
}

void proc_call_start(struct proc *p, struct rpc_call *call, const char *method,
                     const ProtobufCMessage *msg, const ProtobufCMessageDescriptor *out,
                     int64_t timeout_ms, ttrpc_done *done)
{
	struct shim *s = p->task->shim;
	struct ttrpc_client *client = s->sandbox ? sandbox_client(s->sandbox) : NULL;
	struct ttrpc_req req = { .service = AGENT_SERVICE,
		                 .method = method,
		                 .msg = msg,
		                 .out = out,
		                 .timeout_ms =
		                         timeout_ms ? timeout_ms : s->config->request_timeout_ms };
	struct proc_call *c;
	struct cf_err err;

	if (!client) {
		rpc_fail(call, CF_UNAVAILABLE, "the pod's machine is gone");
		return;
	}
	c = cf_zalloc(sizeof(*c));
	*c = (struct proc_call){ .p = proc_ref(p), .call = call, .shim = s };
	if (ttrpc_start(client, &req, done, c, &err) < 0) {
		rpc_fail_err(call, &err);
		proc_call_free(c, NULL);
	}
}

void proc_call_free(struct proc_call *c, ProtobufCMessage *msg)
{
	if (msg)
		protobuf_c_message_free_unpacked(msg, NULL);
	proc_unref(c->p);
	free(c);
}

/* The common end: empty answer, or the agent's refusal. */
static void answer_empty(void *user, int r, ProtobufCMessage *msg, const struct cf_err *err)
{
	struct proc_call *c = user;

	if (r < 0)
		rpc_fail_err(c->call, err);
	else
		shim_reply_empty(c->call);
	proc_call_free(c, msg);
}

/* ---- State, Pids, Connect, Wait ---- */

static Containerd__Task__V2__Status status_of(enum proc_state state)
{
	static const Containerd__Task__V2__Status map[PROC_STATES] = {
		[PROC_CREATING] = CONTAINERD__TASK__V2__STATUS__CREATED,
		[PROC_CREATED] = CONTAINERD__TASK__V2__STATUS__CREATED,
		[PROC_STARTING] = CONTAINERD__TASK__V2__STATUS__CREATED,
		[PROC_RUNNING] = CONTAINERD__TASK__V2__STATUS__RUNNING,
		[PROC_PAUSED] = CONTAINERD__TASK__V2__STATUS__PAUSED,
		[PROC_STOPPED] = CONTAINERD__TASK__V2__STATUS__STOPPED,
	};

	return map[state];
}

/* protobuf-c wants char *: strings that are only sent. */
static char *sent(char *s)
{
	static char none[] = "";

	return s ? s : none;
}

static void on_state(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	const Containerd__Task__V2__StateRequest *req =
		(const Containerd__Task__V2__StateRequest *)msg;
	Containerd__Task__V2__StateResponse res = CONTAINERD__TASK__V2__STATE_RESPONSE__INIT;
	Google__Protobuf__Timestamp at;
	struct proc *p = need_proc(user, call, req->id, req->exec_id);

	if (!p)
		return;
	res.id = *p->exec_id ? p->exec_id : p->task->id;
	res.bundle = p->task->bundle;
	res.pid = shim_task_pid(user);
	res.status = status_of(p->state);
	res.stdin = sent(p->in);
	res.stdout = sent(p->out);
	res.stderr = sent(p->err);
	res.terminal = p->is_terminal;
	res.exit_status = p->exit_status;
	proc_timestamp(p, &at);
	if (p->state == PROC_STOPPED)
		res.exited_at = &at;
	rpc_reply(call, &res);
}

static void on_pids(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	const Containerd__Task__V2__PidsRequest *req =
		(const Containerd__Task__V2__PidsRequest *)msg;
	Containerd__Task__V2__PidsResponse res = CONTAINERD__TASK__V2__PIDS_RESPONSE__INIT;
	Containerd__Task__V2__ProcessInfo info = CONTAINERD__TASK__V2__PROCESS_INFO__INIT;
	Containerd__Task__V2__ProcessInfo *list[] = { &info };

	if (!need_proc(user, call, req->id, ""))
		return;
	info.pid = shim_task_pid(user);
	res.processes = list;
	res.n_processes = 1;
	rpc_reply(call, &res);
}

static void on_connect(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	Containerd__Task__V2__ConnectResponse res = CONTAINERD__TASK__V2__CONNECT_RESPONSE__INIT;

	(void)msg;
	res.shim_pid = (uint32_t)getpid();
	res.task_pid = shim_task_pid(user);
	rpc_reply(call, &res);
}

static void on_wait(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	const Containerd__Task__V2__WaitRequest *req =
		(const Containerd__Task__V2__WaitRequest *)msg;
	Containerd__Task__V2__WaitResponse res = CONTAINERD__TASK__V2__WAIT_RESPONSE__INIT;
	Google__Protobuf__Timestamp at;
	struct proc *p = need_proc(user, call, req->id, req->exec_id);

	if (!p)
		return;
	if (p->state != PROC_STOPPED) {
		if (p->waiter_count == SHIM_WAITERS_MAX)
			rpc_fail(call, CF_RESOURCE_EXHAUSTED, "too many waiters");
		else
			p->waiters[p->waiter_count++] = call;
		return;
	}
	proc_timestamp(p, &at);
	res.exit_status = p->exit_status;
	res.exited_at = &at;
	rpc_reply(call, &res);
}

/* ---- Start ---- */

static void on_waited(void *user, int r, ProtobufCMessage *msg, const struct cf_err *err)
{
	struct proc *p = user;
	uint32_t status = r == -CF_UNAVAILABLE || r == -CF_CANCELLED ? EXIT_KILLED : EXIT_UNKNOWN;

	(void)err;
	if (r == 0)
		status = (uint32_t)((Grpc__WaitProcessResponse *)msg)->status;
	if (msg)
		protobuf_c_message_free_unpacked(msg, NULL);
	if (p->task)
		proc_ended(p, status);
	proc_unref(p);
}

void proc_watch(struct proc *p)
{
	struct ttrpc_client *client = sandbox_client(p->task->shim->sandbox);
	Grpc__WaitProcessRequest req = GRPC__WAIT_PROCESS_REQUEST__INIT;
	struct ttrpc_req call = { .service = AGENT_SERVICE,
		                  .method = "WaitProcess",
		                  .msg = &req.base,
		                  .out = &grpc__wait_process_response__descriptor };
	struct cf_err err;

	req.container_id = p->task->id;
	req.exec_id = p->agent_id;
	proc_ref(p);
	if (!client || ttrpc_start(client, &call, on_waited, p, &err) < 0) {
		proc_ended(p, EXIT_KILLED);
		proc_unref(p);
	}
}

static void publish_started(struct proc *p)
{
	struct shim *s = p->task->shim;
	Containerd__Events__TaskStart start = CONTAINERD__EVENTS__TASK_START__INIT;
	Containerd__Events__TaskExecStarted exec = CONTAINERD__EVENTS__TASK_EXEC_STARTED__INIT;

	if (*p->exec_id) {
		exec.container_id = p->task->id;
		exec.exec_id = p->exec_id;
		exec.pid = shim_task_pid(s);
		events_publish(s->events, "/tasks/exec-started", &exec.base);
		return;
	}
	start.container_id = p->task->id;
	start.pid = shim_task_pid(s);
	events_publish(s->events, "/tasks/start", &start.base);
}

static void resize(struct proc *p, struct rpc_call *call);

static void on_started(void *user, int r, ProtobufCMessage *msg, const struct cf_err *err)
{
	struct proc_call *c = user;
	struct proc *p = c->p;
	Containerd__Task__V2__StartResponse res = CONTAINERD__TASK__V2__START_RESPONSE__INIT;
	struct cf_err gone;

	if (r == 0 && (!p->task || !proc_step(p, PROC_EV_STARTED)))
		r = cf_fail(&gone, CF_ABORTED, "ended while it was being started"), err = &gone;
	if (r < 0) {
		if (p->task)
			proc_step(p, PROC_EV_START_FAILED);
		rpc_fail_err(c->call, err);
		proc_call_free(c, msg);
		return;
	}
	/* the event first: an exit of the same process may be the very next thing that happens */
	publish_started(p);
	if (p->io)
		stdio_start(p->io, sandbox_client(c->shim->sandbox));
	proc_watch(p);
	if (p->width)
		resize(p, NULL);
	res.pid = shim_task_pid(c->shim);
	rpc_reply(c->call, &res);
	proc_call_free(c, msg);
}

static void start_init(struct proc *p, struct rpc_call *call)
{
	Grpc__StartContainerRequest req = GRPC__START_CONTAINER_REQUEST__INIT;

	req.container_id = p->task->id;
	proc_call_start(p, call, "StartContainer", &req.base, &google__protobuf__empty__descriptor,
	                0, on_started);
}

static void start_exec(struct proc *p, struct rpc_call *call)
{
	Grpc__ExecProcessRequest req = GRPC__EXEC_PROCESS_REQUEST__INIT;

	req.container_id = p->task->id;
	req.exec_id = p->agent_id;
	req.process = p->spec;
	proc_call_start(p, call, "ExecProcess", &req.base, &google__protobuf__empty__descriptor, 0,
	                on_started);
}

static void on_start(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	const Containerd__Task__V2__StartRequest *req =
		(const Containerd__Task__V2__StartRequest *)msg;
	struct proc *p = need_proc(user, call, req->id, req->exec_id);

	if (!p)
		return;
	if (*p->exec_id && task_init(p->task)->state != PROC_RUNNING) {
		rpc_fail(call, CF_FAILED_PRECONDITION, "container %s is not running", req->id);
		return;
	}
	if (!proc_step(p, PROC_EV_START)) {
		rpc_fail(call, CF_FAILED_PRECONDITION, "process was started before");
		return;
	}
	if (*p->exec_id)
		start_exec(p, call);
	else
		start_init(p, call);
}

/* ---- Exec ---- */

static int exec_open(struct proc *p, const Containerd__Task__V2__ExecProcessRequest *req,
                     struct cf_err *err)
{
	struct shim *s = p->task->shim;
	struct stdio_opts opts = {
		.loop = s->loop,
		.container_id = p->task->id,
		.exec_id = p->agent_id,
		.ns = s->ns,
		.in = req->stdin,
		.out = req->stdout,
		.err = req->stderr,
		.is_terminal = req->terminal,
		.read_max = sandbox_message_max(s->sandbox),
	};
	int r;

	if (!req->spec || req->spec->value.len > ANY_SPEC_SIZE_MAX)
		return cf_fail(err, CF_INVALID_ARGUMENT, "exec without a process");
	r = agent_process_new(cf_view(req->spec->value.data, req->spec->value.len), &p->spec, err);
	if (r < 0)
		return r;
	p->spec->terminal = req->terminal;
	p->is_terminal = req->terminal;
	p->in = cf_strdup(req->stdin);
	p->out = cf_strdup(req->stdout);
	p->err = cf_strdup(req->stderr);
	return stdio_open(&opts, &p->io, err);
}

static size_t proc_count(const struct task *t)
{
	size_t n = 0;

	for (const struct proc *p = t->procs; p; p = p->next)
		n++;
	return n;
}

static void on_exec(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	const Containerd__Task__V2__ExecProcessRequest *req =
		(const Containerd__Task__V2__ExecProcessRequest *)msg;
	Containerd__Events__TaskExecAdded ev = CONTAINERD__EVENTS__TASK_EXEC_ADDED__INIT;
	struct proc *init = need_proc(user, call, req->id, "");
	struct shim *s = user;
	struct cf_err err;
	struct proc *p;

	if (!init)
		return;
	if (shim_id_check("exec id", req->exec_id, &err) < 0) {
		rpc_fail_err(call, &err);
		return;
	}
	if (task_find_proc(init->task, req->exec_id)) {
		rpc_fail(call, CF_ALREADY_EXISTS, "process %s", req->exec_id);
		return;
	}
	if (init->state != PROC_RUNNING && init->state != PROC_CREATED) {
		rpc_fail(call, CF_FAILED_PRECONDITION, "container %s does not run", req->id);
		return;
	}
	if (proc_count(init->task) > SHIM_EXECS_MAX) {
		rpc_fail(call, CF_RESOURCE_EXHAUSTED, "too many processes in %s", req->id);
		return;
	}
	p = proc_add(init->task, req->exec_id);
	if (exec_open(p, req, &err) < 0) {
		proc_remove(p);
		rpc_fail_err(call, &err);
		return;
	}
	proc_step(p, PROC_EV_CREATED);
	ev.container_id = p->task->id;
	ev.exec_id = p->exec_id;
	events_publish(s->events, "/tasks/exec-added", &ev.base);
	shim_reply_empty(call);
}

/* ---- Kill ---- */

static void on_killed(void *user, int r, ProtobufCMessage *msg, const struct cf_err *err)
{
	struct proc_call *c = user;
	struct proc *p = c->p;
	bool is_init = p->task && !*p->exec_id;
	bool is_pod = is_init && p->task->kind != BUNDLE_CONTAINER;

	/* the end of a pod never depends on its guest's good will */
	if (r < 0 && is_pod && c->shim->sandbox) {
		cf_log_warn("guest does not take SIGKILL: ending the machine",
		            CF_F_STR("container", p->task->id), CF_F_STR("error", err->msg));
		sandbox_kill(c->shim->sandbox);
		r = 0;
	}
	/* nobody waits for an init that was never started */
	if (r == 0 && is_init && p->state == PROC_CREATED)
		proc_ended(p, EXIT_KILLED);
	if (r < 0 && r != -CF_NOT_FOUND)
		rpc_fail_err(c->call, err);
	else
		shim_reply_empty(c->call);
	proc_call_free(c, msg);
}

static void on_signalled(void *user, int r, ProtobufCMessage *msg, const struct cf_err *err)
{
	answer_empty(user, r == -CF_NOT_FOUND ? 0 : r, msg, err);
}

static void on_kill(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	const Containerd__Task__V2__KillRequest *req =
		(const Containerd__Task__V2__KillRequest *)msg;
	Grpc__SignalProcessRequest signal_req = GRPC__SIGNAL_PROCESS_REQUEST__INIT;
	struct proc *p = need_proc(user, call, req->id, req->exec_id);
	static char everything[] = "";
	bool is_kill = req->signal == SIGKILL;

	if (!p)
		return;
	if (p->has_ended || p->state == PROC_STOPPED) {
		if (*p->exec_id)
			rpc_fail(call, CF_NOT_FOUND, "process %s has ended", req->exec_id);
		else
			shim_reply_empty(call);
		return;
	}
	if (req->signal == 0) {
		shim_reply_empty(call);
		return;
	}
	if (p->state == PROC_CREATING || (*p->exec_id && p->state == PROC_CREATED)) {
		rpc_fail(call, CF_FAILED_PRECONDITION, "process was not started");
		return;
	}
	signal_req.container_id = p->task->id;
	signal_req.exec_id = is_kill && !*p->exec_id ? everything : p->agent_id;
	signal_req.signal = req->signal;
	proc_call_start(p, call, "SignalProcess", &signal_req.base,
	                &google__protobuf__empty__descriptor, is_kill ? KILL_TIMEOUT_MS : 0,
	                is_kill ? on_killed : on_signalled);
}

/* ---- terminals and streams ---- */

static void on_resized(void *user, int r, ProtobufCMessage *msg, const struct cf_err *err)
{
	(void)r;
	(void)err;
	if (msg)
		protobuf_c_message_free_unpacked(msg, NULL);
	proc_unref(user);
}

/* @call NULL: nobody waits for the answer. */
static void resize(struct proc *p, struct rpc_call *call)
{
	struct ttrpc_client *client = sandbox_client(p->task->shim->sandbox);
	Grpc__TtyWinResizeRequest req = GRPC__TTY_WIN_RESIZE_REQUEST__INIT;
	struct ttrpc_req out = { .service = AGENT_SERVICE,
		                 .method = "TtyWinResize",
		                 .msg = &req.base,
		                 .out = &google__protobuf__empty__descriptor };
	struct cf_err err;

	req.container_id = p->task->id;
	req.exec_id = p->agent_id;
	req.row = p->height;
	req.column = p->width;
	if (call) {
		proc_call_start(p, call, out.method, &req.base, out.out, 0, answer_empty);
		return;
	}
	proc_ref(p);
	if (!client || ttrpc_start(client, &out, on_resized, p, &err) < 0)
		proc_unref(p);
}

static void on_resize_pty(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	const Containerd__Task__V2__ResizePtyRequest *req =
		(const Containerd__Task__V2__ResizePtyRequest *)msg;
	struct proc *p = need_proc(user, call, req->id, req->exec_id);

	if (!p)
		return;
	p->width = req->width;
	p->height = req->height;
	if (p->state == PROC_RUNNING && !p->has_ended)
		resize(p, call);
	else
		shim_reply_empty(call);
}

static void on_close_io(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	const Containerd__Task__V2__CloseIORequest *req =
		(const Containerd__Task__V2__CloseIORequest *)msg;
	struct proc *p = need_proc(user, call, req->id, req->exec_id);

	if (!p)
		return;
	if (req->stdin && p->io && !p->has_ended)
		stdio_close_input(p->io);
	shim_reply_empty(call);
}

/* ---- Pause, Resume, Update, Stats ---- */

static void on_paused(void *user, int r, ProtobufCMessage *msg, const struct cf_err *err)
{
	struct proc_call *c = user;
	Containerd__Events__TaskPaused ev = CONTAINERD__EVENTS__TASK_PAUSED__INIT;

	if (r == 0 && c->p->task && proc_step(c->p, PROC_EV_PAUSED)) {
		ev.container_id = c->p->task->id;
		events_publish(c->shim->events, "/tasks/paused", &ev.base);
	}
	answer_empty(user, r, msg, err);
}

static void on_resumed(void *user, int r, ProtobufCMessage *msg, const struct cf_err *err)
{
	struct proc_call *c = user;
	Containerd__Events__TaskResumed ev = CONTAINERD__EVENTS__TASK_RESUMED__INIT;

	if (r == 0 && c->p->task && proc_step(c->p, PROC_EV_RESUMED)) {
		ev.container_id = c->p->task->id;
		events_publish(c->shim->events, "/tasks/resumed", &ev.base);
	}
	answer_empty(user, r, msg, err);
}

static void on_pause(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	const Containerd__Task__V2__PauseRequest *req =
		(const Containerd__Task__V2__PauseRequest *)msg;
	Grpc__PauseContainerRequest out = GRPC__PAUSE_CONTAINER_REQUEST__INIT;
	struct proc *p = need_proc(user, call, req->id, "");

	if (!p)
		return;
	if (proc_next_state(p->state, PROC_EV_PAUSED) < 0) {
		rpc_fail(call, CF_FAILED_PRECONDITION, "container %s does not run", req->id);
		return;
	}
	out.container_id = p->task->id;
	proc_call_start(p, call, "PauseContainer", &out.base, &google__protobuf__empty__descriptor,
	                0, on_paused);
}

static void on_resume(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	const Containerd__Task__V2__ResumeRequest *req =
		(const Containerd__Task__V2__ResumeRequest *)msg;
	Grpc__ResumeContainerRequest out = GRPC__RESUME_CONTAINER_REQUEST__INIT;
	struct proc *p = need_proc(user, call, req->id, "");

	if (!p)
		return;
	if (proc_next_state(p->state, PROC_EV_RESUMED) < 0) {
		rpc_fail(call, CF_FAILED_PRECONDITION, "container %s is not paused", req->id);
		return;
	}
	out.container_id = p->task->id;
	proc_call_start(p, call, "ResumeContainer", &out.base, &google__protobuf__empty__descriptor,
	                0, on_resumed);
}

static void on_update(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	const Containerd__Task__V2__UpdateTaskRequest *req =
		(const Containerd__Task__V2__UpdateTaskRequest *)msg;
	Grpc__UpdateContainerRequest out = GRPC__UPDATE_CONTAINER_REQUEST__INIT;
	struct proc *p = need_proc(user, call, req->id, "");
	struct cf_err err;

	if (!p)
		return;
	if (!req->resources) {
		rpc_fail(call, CF_INVALID_ARGUMENT, "update without resources");
		return;
	}
	if (agent_resources_new(cf_view(req->resources->value.data, req->resources->value.len),
	                        &out.resources, &err) < 0) {
		rpc_fail_err(call, &err);
		return;
	}
	out.container_id = p->task->id;
	proc_call_start(p, call, "UpdateContainer", &out.base, &google__protobuf__empty__descriptor,
	                0, answer_empty);
	grpc__linux_resources__free_unpacked(out.resources, NULL);
}

static void on_stats_read(void *user, int r, ProtobufCMessage *msg, const struct cf_err *err)
{
	struct proc_call *c = user;
	Containerd__Task__V2__StatsResponse res = CONTAINERD__TASK__V2__STATS_RESPONSE__INIT;
	Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
	struct cf_buf packed = { 0 };

	if (r < 0) {
		rpc_fail_err(c->call, err);
		proc_call_free(c, msg);
		return;
	}
	any.type_url =
		stats_pack((const Grpc__StatsContainerResponse *)msg, stats_host_is_v2(), &packed);
	any.value.data = packed.data;
	any.value.len = packed.size;
	res.stats = &any;
	rpc_reply(c->call, &res);
	cf_buf_fini(&packed);
	proc_call_free(c, msg);
}

static void on_stats(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	const Containerd__Task__V2__StatsRequest *req =
		(const Containerd__Task__V2__StatsRequest *)msg;
	Grpc__StatsContainerRequest out = GRPC__STATS_CONTAINER_REQUEST__INIT;
	struct proc *p = need_proc(user, call, req->id, "");

	if (!p)
		return;
	out.container_id = p->task->id;
	proc_call_start(p, call, "StatsContainer", &out.base,
	                &grpc__stats_container_response__descriptor, 0, on_stats_read);
}

/* ---- the rest ---- */

static void on_checkpoint(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	(void)msg;
	(void)user;
	rpc_fail(call, CF_UNIMPLEMENTED,
	         "checkpoint: the memory of a confidential guest cannot be saved by its host");
}

static void on_shutdown(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	const Containerd__Task__V2__ShutdownRequest *req =
		(const Containerd__Task__V2__ShutdownRequest *)msg;
	struct shim *s = user;

	shim_reply_empty(call);
	if (!s->tasks || req->now)
		shim_end(s);
}

#define METHOD(name, in, out, fn)                                                                  \
	{                                                                                          \
		name, &containerd__task__v2__##in##__descriptor, out, fn, RPC_INLINE               \
	}
#define EMPTY       &google__protobuf__empty__descriptor
#define ANSWER(msg) &containerd__task__v2__##msg##__descriptor

const struct rpc_method shim_task_methods[] = {
	METHOD("State", state_request, ANSWER(state_response), on_state),
	METHOD("Create", create_task_request, ANSWER(create_task_response), shim_on_create),
	METHOD("Start", start_request, ANSWER(start_response), on_start),
	METHOD("Delete", delete_request, ANSWER(delete_response), shim_on_delete),
	METHOD("Pids", pids_request, ANSWER(pids_response), on_pids),
	METHOD("Pause", pause_request, EMPTY, on_pause),
	METHOD("Resume", resume_request, EMPTY, on_resume),
	METHOD("Checkpoint", checkpoint_task_request, EMPTY, on_checkpoint),
	METHOD("Kill", kill_request, EMPTY, on_kill),
	METHOD("Exec", exec_process_request, EMPTY, on_exec),
	METHOD("ResizePty", resize_pty_request, EMPTY, on_resize_pty),
	METHOD("CloseIO", close_iorequest, EMPTY, on_close_io),
	METHOD("Update", update_task_request, EMPTY, on_update),
	METHOD("Wait", wait_request, ANSWER(wait_response), on_wait),
	METHOD("Stats", stats_request, ANSWER(stats_response), on_stats),
	METHOD("Connect", connect_request, ANSWER(connect_response), on_connect),
	METHOD("Shutdown", shutdown_request, EMPTY, on_shutdown),
};
const size_t shim_task_method_count = CF_ARRAY_LEN(shim_task_methods);
