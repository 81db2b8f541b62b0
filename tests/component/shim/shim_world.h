/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The shim's own binary with a fake agent (driver none), a fake containerd that listens to events, a
 * pod's bundle, and the calls of the task API.
 */
#include "tests/fakes/fake_agent.h"
#include "tests/harness/test.h"

#include "base/fd.h"
#include "base/proc.h"
#include "proto/containerd_events.pb-c.h"
#include "proto/containerd_task.pb-c.h"
#include "proto/containerd_ttrpc_events.pb-c.h"
#include "vmm-glue/shim/early_pull.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#define NS        "t"
#define TIMEOUT   30000
#define TASK_V2   "containerd.task.v2.Task"
#define EVENT_MAX 64

typedef Containerd__Services__Events__Ttrpc__V1__ForwardRequest forward_msg;

/* ---- a containerd that only listens to events ---- */

struct listener {
	struct cf_loop *loop;
	struct ttrpc_server *server;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t more;
	char topics[EVENT_MAX][64];
	size_t count;
};

static inline void on_forward(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	struct listener *l = user;
	const forward_msg *req = (const forward_msg *)msg;

	pthread_mutex_lock(&l->lock);
	if (l->count < EVENT_MAX)
		snprintf(l->topics[l->count++], sizeof(l->topics[0]), "%s", req->envelope->topic);
	pthread_cond_broadcast(&l->more);
	pthread_mutex_unlock(&l->lock);
	fake_empty(call);
}

static const struct rpc_method event_methods[] = {
	{ "Forward", &containerd__services__events__ttrpc__v1__forward_request__descriptor,
	  &google__protobuf__empty__descriptor, on_forward, RPC_INLINE },
};

static inline void *listener_run(void *arg)
{
	struct listener *l = arg;

	cf_loop_run(l->loop);
	return NULL;
}

static inline void listener_stop(void *arg)
{
	cf_loop_stop(arg);
}

/* ---- a pod's bundle and its shim ---- */

struct world {
	char *dir, *bundle, *address, *agent_log, *run_dir;
	struct listener listener;
	struct rpc_service events;
	const struct rpc_service *services[1];
	struct ttrpc_client *client;
};

static inline void write_text(const char *dir, const char *name, const char *text)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/%s", dir, name);
	struct cf_err err = { .code = CF_OK };

	EXPECT_OK(cf_write_file_atomic(path, cf_view_str(text), 0644, &err), &err);
}

static inline void make_bundle(const char *dir, const char *kind, const char *sandbox,
                               const char *args)
{
	cf_cleanup(cf_freep) char *json = cf_asprintf(
		"{\"ociVersion\":\"1.0.2\",\"process\":{\"args\":[%s],\"cwd\":\"/\"},"
		"\"root\":{\"path\":\"rootfs\"},\"hostname\":\"pod\",\"mounts\":[],"
		"\"annotations\":{\"io.kubernetes.cri.container-type\":\"%s\","
		"\"io.kubernetes.cri.sandbox-id\":\"%s\","
		"\"io.kubernetes.cri.image-name\":\"reg/a:1\"},\"linux\":{\"namespaces\":[]}}",
		args, kind, sandbox);
	struct cf_err err = { .code = CF_OK };

	EXPECT_OK(cf_mkdir_p(dir, 0700, &err), &err);
	write_text(dir, "config.json", json);
}

/* Runs the shim's binary in @bundle; its stdout. Fails the test when it fails. */
static inline char *run_shim(const struct world *w, const char *bundle, const char *id,
                             const char *action)
{
	cf_cleanup(cf_freep) char *program = cf_test_bin("containerd-shim-coffer-v2");
	cf_cleanup(cf_freep) char *grpc = cf_asprintf("%s/containerd.sock", w->dir);
	const char *argv[] = { program, "-namespace",      NS,           "-address",
		               grpc,    "-publish-binary", "/bin/false", "-id",
		               id,      "-bundle",         bundle,       action,
		               NULL };
	struct cf_proc_opts opts = {
		.argv = argv, .cwd = bundle, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1
	};
	struct cf_buf out = { 0 };
	struct cf_err err = { .code = CF_OK };

	EXPECT_OK(cf_proc_run(&opts, 4096, TIMEOUT, &out, &err), &err);
	return out.size ? cf_buf_take_str(&out) : cf_strdup("");
}

static inline void world_env(struct world *w)
{
	cf_cleanup(cf_freep) char *config = cf_asprintf("%s/shim.toml", w->dir);
	cf_cleanup(cf_freep) char *events = cf_asprintf("%s/events.sock", w->dir);
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	cf_cleanup(cf_freep) char *text = NULL;

	self[n] = 0;
	text = cf_asprintf("driver = \"none\"\nrun_dir = \"%s\"\nforce_guest_pull = true\n"
	                   "early_pull = \"%s/early\"\npull_reports = \"%s/system.sock\"\n"
	                   "[none]\ninit = \"%s\"\n[timeouts]\nboot_ms = 20000\nstop_ms = 1000\n",
	                   w->run_dir, w->dir, w->dir, self);
	write_text(w->dir, "shim.toml", text);
	setenv("COFFER_SHIM_CONFIG", config, 1);
	setenv("TTRPC_ADDRESS", events, 1);
	setenv("FAKE_AGENT_LOG", w->agent_log, 1);
}

static inline struct world *world_new(const char *kind, const char *args)
{
	struct world *w = cf_zalloc(sizeof(*w));
	struct ttrpc_server_opts opts = { .services = w->services, .service_count = 1 };
	struct ttrpc_client_opts client_opts = { .loop = NULL };
	cf_cleanup(cf_freep) char *events = NULL;
	struct cf_err err = { .code = CF_OK };

	if (geteuid() != 0) {
		free(w);
		SKIP("driver none needs root to make namespaces");
	}
	w->dir = cf_test_tmpdir();
	w->bundle = cf_asprintf("%s/bundle", w->dir);
	w->run_dir = cf_asprintf("%s/r", w->dir);
	w->agent_log = cf_asprintf("%s/agent.log", w->dir);
	events = cf_asprintf("unix://%s/events.sock", w->dir);
	pthread_mutex_init(&w->listener.lock, NULL);
	pthread_cond_init(&w->listener.more, NULL);
	w->events = (struct rpc_service){ "containerd.services.events.ttrpc.v1.Events",
		                          event_methods, 1, &w->listener };
	w->services[0] = &w->events;
	EXPECT_OK(cf_loop_new(&w->listener.loop, &err), &err);
	opts.loop = w->listener.loop;
	EXPECT_OK(ttrpc_server_new(&opts, &w->listener.server, &err), &err);
	EXPECT_OK(ttrpc_server_listen(w->listener.server, events, &err), &err);
	pthread_create(&w->listener.thread, NULL, listener_run, &w->listener);
	world_env(w);
	make_bundle(w->bundle, kind, "pod1", args);
	w->address = run_shim(w, w->bundle, "pod1", "start");
	EXPECT(cf_starts_with(w->address, "unix:///run/containerd/s/"));
	EXPECT_OK(ttrpc_client_dial(w->address, TIMEOUT, &client_opts, &w->client, &err), &err);
	return w;
}

static inline int call(struct world *w, const char *method, const void *msg,
                       const ProtobufCMessageDescriptor *out, void *ret, struct cf_err *err)
{
	struct ttrpc_req req = { .service = TASK_V2,
		                 .method = method,
		                 .msg = msg,
		                 .out = out ? out : &google__protobuf__empty__descriptor,
		                 .timeout_ms = TIMEOUT };

	return ttrpc_call(w->client, &req, ret, err);
}

static char empty[] = "";

static inline int create(struct world *w, char *id, char *bundle, char *in, char *out,
                         struct cf_err *err)
{
	Containerd__Task__V2__CreateTaskRequest req =
		CONTAINERD__TASK__V2__CREATE_TASK_REQUEST__INIT;

	req.id = id;
	req.bundle = bundle;
	req.stdin = in ? in : empty;
	req.stdout = out ? out : empty;
	return call(w, "Create", &req.base, &containerd__task__v2__create_task_response__descriptor,
	            NULL, err);
}

static inline int start(struct world *w, char *id, char *exec, struct cf_err *err)
{
	Containerd__Task__V2__StartRequest req = CONTAINERD__TASK__V2__START_REQUEST__INIT;

	req.id = id;
	req.exec_id = exec ? exec : empty;
	return call(w, "Start", &req.base, &containerd__task__v2__start_response__descriptor, NULL,
	            err);
}

static inline int kill_task(struct world *w, char *id, char *exec, uint32_t signo,
                            struct cf_err *err)
{
	Containerd__Task__V2__KillRequest req = CONTAINERD__TASK__V2__KILL_REQUEST__INIT;

	req.id = id;
	req.exec_id = exec ? exec : empty;
	req.signal = signo;
	return call(w, "Kill", &req.base, NULL, NULL, err);
}

static inline int wait_task(struct world *w, char *id, char *exec, struct cf_err *err)
{
	Containerd__Task__V2__WaitRequest req = CONTAINERD__TASK__V2__WAIT_REQUEST__INIT;
	Containerd__Task__V2__WaitResponse *res = NULL;
	int r, status;

	req.id = id;
	req.exec_id = exec ? exec : empty;
	r = call(w, "Wait", &req.base, &containerd__task__v2__wait_response__descriptor, &res, err);
	if (r < 0)
		return r;
	status = (int)res->exit_status;
	EXPECT(res->exited_at && res->exited_at->seconds > 0);
	containerd__task__v2__wait_response__free_unpacked(res, NULL);
	return status;
}

static inline int state_of(struct world *w, char *id, char *exec)
{
	Containerd__Task__V2__StateRequest req = CONTAINERD__TASK__V2__STATE_REQUEST__INIT;
	Containerd__Task__V2__StateResponse *res = NULL;
	struct cf_err err;
	int status;

	req.id = id;
	req.exec_id = exec ? exec : empty;
	if (call(w, "State", &req.base, &containerd__task__v2__state_response__descriptor, &res,
	         &err) < 0)
		return -1;
	status = (int)res->status;
	containerd__task__v2__state_response__free_unpacked(res, NULL);
	return status;
}

static inline int delete_task(struct world *w, char *id, char *exec, struct cf_err *err)
{
	Containerd__Task__V2__DeleteRequest req = CONTAINERD__TASK__V2__DELETE_REQUEST__INIT;

	req.id = id;
	req.exec_id = exec ? exec : empty;
	return call(w, "Delete", &req.base, &containerd__task__v2__delete_response__descriptor,
	            NULL, err);
}

static inline int shutdown_task(struct world *w, char *id, struct cf_err *err)
{
	Containerd__Task__V2__ShutdownRequest req = CONTAINERD__TASK__V2__SHUTDOWN_REQUEST__INIT;

	req.id = id;
	return call(w, "Shutdown", &req.base, NULL, NULL, err);
}

static inline int exec_add(struct world *w, char *id, char *exec, const char *args, char *in,
                           char *out, bool terminal, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *json = cf_asprintf("{\"args\":[%s],\"cwd\":\"/\"}", args);
	static char url[] = "types.containerd.io/opencontainers/runtime-spec/1/Process";
	Containerd__Task__V2__ExecProcessRequest req =
		CONTAINERD__TASK__V2__EXEC_PROCESS_REQUEST__INIT;
	Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;

	any.type_url = url;
	any.value.data = (uint8_t *)json;
	any.value.len = strlen(json);
	req.id = id;
	req.exec_id = exec;
	req.stdin = in ? in : empty;
	req.stdout = out ? out : empty;
	req.terminal = terminal;
	req.spec = &any;
	return call(w, "Exec", &req.base, NULL, NULL, err);
}

static inline bool wait_for_event(struct world *w, const char *topic)
{
	struct timespec until;
	bool is_there = false;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 10;
	pthread_mutex_lock(&w->listener.lock);
	for (;;) {
		for (size_t i = 0; i < w->listener.count; i++)
			is_there = is_there || cf_streq(w->listener.topics[i], topic);
		if (is_there ||
		    pthread_cond_timedwait(&w->listener.more, &w->listener.lock, &until))
			break;
	}
	pthread_mutex_unlock(&w->listener.lock);
	return is_there;
}

static inline char *early_path(const struct world *w)
{
	cf_cleanup(cf_freep) char *dir = cf_asprintf("%s/early", w->dir);

	return early_pull_path(dir, NS, "pod1");
}

/* Nothing of the pod may be there: no directory below run_dir, no socket. */
static inline void expect_nothing_left(const struct world *w)
{
	cf_cleanup(cf_freep) char *sandbox = cf_asprintf("%s/" NS "/pod1", w->run_dir);
	cf_cleanup(cf_freep) char *early = early_path(w);

	EXPECT(access(early, F_OK) < 0);
	EXPECT(access(sandbox, F_OK) < 0 && errno == ENOENT);
}

static inline void world_free(struct world *w)
{
	ttrpc_client_free(w->client);
	cf_loop_post(w->listener.loop, listener_stop, w->listener.loop);
	pthread_join(w->listener.thread, NULL);
	ttrpc_server_free(w->listener.server);
	cf_loop_free(w->listener.loop);
	free(w->dir);
	free(w->bundle);
	free(w->address);
	free(w->agent_log);
	free(w->run_dir);
	free(w);
}

/* ends a pod in the way that containerd does */
static inline void end_pod(struct world *w, char *id)
{
	struct cf_err err = { .code = CF_OK };

	EXPECT_OK(delete_task(w, id, NULL, &err), &err);
	EXPECT_OK(shutdown_task(w, id, &err), &err);
	free(run_shim(w, w->bundle, id, "delete"));
	expect_nothing_left(w);
}
