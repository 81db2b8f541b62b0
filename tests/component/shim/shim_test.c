/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shim's own binary against a fake agent (driver none) and a fake containerd: bootstrap, the
 * task API in the order in which containerd 1.6 calls it, streams, events, failures, and that
 * nothing is left of a pod.
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

static void on_forward(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
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

static void *listener_run(void *arg)
{
	struct listener *l = arg;

	cf_loop_run(l->loop);
	return NULL;
}

static void listener_stop(void *arg)
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

static void write_text(const char *dir, const char *name, const char *text)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/%s", dir, name);
	struct cf_err err = { .code = CF_OK };

	EXPECT_OK(cf_write_file_atomic(path, cf_view_str(text), 0644, &err), &err);
}

static void make_bundle(const char *dir, const char *kind, const char *sandbox, const char *args)
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
static char *run_shim(const struct world *w, const char *bundle, const char *id, const char *action)
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

static void world_env(struct world *w)
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

static struct world *world_new(const char *kind, const char *args)
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

static int call(struct world *w, const char *method, const void *msg,
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

static int create(struct world *w, char *id, char *bundle, char *in, char *out, struct cf_err *err)
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

static int start(struct world *w, char *id, char *exec, struct cf_err *err)
{
	Containerd__Task__V2__StartRequest req = CONTAINERD__TASK__V2__START_REQUEST__INIT;

	req.id = id;
	req.exec_id = exec ? exec : empty;
	return call(w, "Start", &req.base, &containerd__task__v2__start_response__descriptor, NULL,
	            err);
}

static int kill_task(struct world *w, char *id, char *exec, uint32_t signo, struct cf_err *err)
{
	Containerd__Task__V2__KillRequest req = CONTAINERD__TASK__V2__KILL_REQUEST__INIT;

	req.id = id;
	req.exec_id = exec ? exec : empty;
	req.signal = signo;
	return call(w, "Kill", &req.base, NULL, NULL, err);
}

static int wait_task(struct world *w, char *id, char *exec, struct cf_err *err)
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

static int state_of(struct world *w, char *id, char *exec)
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

static int delete_task(struct world *w, char *id, char *exec, struct cf_err *err)
{
	Containerd__Task__V2__DeleteRequest req = CONTAINERD__TASK__V2__DELETE_REQUEST__INIT;

	req.id = id;
	req.exec_id = exec ? exec : empty;
	return call(w, "Delete", &req.base, &containerd__task__v2__delete_response__descriptor,
	            NULL, err);
}

static int shutdown_task(struct world *w, char *id, struct cf_err *err)
{
	Containerd__Task__V2__ShutdownRequest req = CONTAINERD__TASK__V2__SHUTDOWN_REQUEST__INIT;

	req.id = id;
	return call(w, "Shutdown", &req.base, NULL, NULL, err);
}

static int exec_add(struct world *w, char *id, char *exec, const char *args, char *in, char *out,
                    bool terminal, struct cf_err *err)
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

static bool wait_for_event(struct world *w, const char *topic)
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

static char *early_path(const struct world *w)
{
	cf_cleanup(cf_freep) char *dir = cf_asprintf("%s/early", w->dir);

	return early_pull_path(dir, NS, "pod1");
}

/* Nothing of the pod may be there: no directory below run_dir, no socket. */
static void expect_nothing_left(const struct world *w)
{
	cf_cleanup(cf_freep) char *sandbox = cf_asprintf("%s/" NS "/pod1", w->run_dir);
	cf_cleanup(cf_freep) char *early = early_path(w);

	EXPECT(access(early, F_OK) < 0);
	EXPECT(access(sandbox, F_OK) < 0 && errno == ENOENT);
}

static void world_free(struct world *w)
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
static void end_pod(struct world *w, char *id)
{
	struct cf_err err = { .code = CF_OK };

	EXPECT_OK(delete_task(w, id, NULL, &err), &err);
	EXPECT_OK(shutdown_task(w, id, &err), &err);
	free(run_shim(w, w->bundle, id, "delete"));
	expect_nothing_left(w);
}

CF_TEST(shim_serves_a_pod_as_containerd_16_asks)
{
	struct world *w = world_new("sandbox", "\"wait\"");
	cf_cleanup(cf_freep) char *bundle2 = cf_asprintf("%s/ctr1", w->dir);
	cf_cleanup(cf_freep) char *address2 = NULL;
	char pod[] = "pod1", ctr[] = "ctr1", exec[] = "e1";
	struct cf_err err = { .code = CF_OK };
	struct cf_buf log;

	EXPECT_OK(create(w, pod, w->bundle, NULL, NULL, &err), &err);
	EXPECT_INT(state_of(w, pod, NULL), 1);
	EXPECT_OK(start(w, pod, NULL, &err), &err);
	EXPECT_INT(state_of(w, pod, NULL), 2);
	/* the pod's container: the same shim, found by its socket */
	make_bundle(bundle2, "container", "pod1", "\"wait\"");
	address2 = run_shim(w, bundle2, ctr, "start");
	EXPECT_STR(address2, w->address);
	EXPECT_OK(create(w, ctr, bundle2, NULL, NULL, &err), &err);
	EXPECT_FAILS(create(w, ctr, bundle2, NULL, NULL, &err), CF_ALREADY_EXISTS);
	EXPECT_OK(start(w, ctr, NULL, &err), &err);
	EXPECT_FAILS(start(w, ctr, NULL, &err), CF_FAILED_PRECONDITION);
	EXPECT_FAILS(delete_task(w, ctr, NULL, &err), CF_FAILED_PRECONDITION);
	/* an exec, ended, asked about again, deleted */
	EXPECT_OK(exec_add(w, ctr, exec, "\"exit\",\"7\"", NULL, NULL, false, &err), &err);
	EXPECT_FAILS(exec_add(w, ctr, exec, "\"x\"", NULL, NULL, false, &err), CF_ALREADY_EXISTS);
	EXPECT_OK(start(w, ctr, exec, &err), &err);
	EXPECT_INT(wait_task(w, ctr, exec, &err), 7);
	EXPECT_FAILS(kill_task(w, ctr, exec, SIGKILL, &err), CF_NOT_FOUND);
	EXPECT_OK(delete_task(w, ctr, exec, &err), &err);
	EXPECT_INT(state_of(w, ctr, exec), -1);
	/* the container, then the pod */
	EXPECT_OK(kill_task(w, ctr, NULL, SIGTERM, &err), &err);
	EXPECT_INT(wait_task(w, ctr, NULL, &err), 128 + SIGTERM);
	EXPECT_OK(kill_task(w, ctr, NULL, SIGKILL, &err), &err);
	EXPECT_OK(delete_task(w, ctr, NULL, &err), &err);
	EXPECT_OK(shutdown_task(w, ctr, &err), &err); /* a no-op: the pod runs on */
	free(run_shim(w, bundle2, ctr, "delete"));
	EXPECT_INT(state_of(w, pod, NULL), 2);
	EXPECT_OK(kill_task(w, pod, NULL, SIGKILL, &err), &err);
	EXPECT_INT(wait_task(w, pod, NULL, &err), 128 + SIGKILL);
	end_pod(w, pod);
	EXPECT(wait_for_event(w, "/tasks/delete"));
	log = cf_test_read(w->agent_log);
	EXPECT_STR((char *)log.data, "Check\nCreateSandbox pod1 dns=0\n"
	                             "CreateContainer pod1 image=pause\nStartContainer pod1\n"
	                             "CreateContainer ctr1 image=reg/a:1\nStartContainer ctr1\n"
	                             "ExecProcess ctr1 e1\nSignalProcess ctr1 \"ctr1\" 15\n"
	                             "RemoveContainer ctr1\nSignalProcess pod1 \"\" 9\n"
	                             "RemoveContainer pod1\nDestroySandbox\n");
	cf_buf_fini(&log);
	world_free(w);
}

CF_TEST(shim_publishes_events_in_order)
{
	static const char *const want[] = { "/tasks/create",     "/tasks/start",
		                            "/tasks/exec-added", "/tasks/exec-started",
		                            "/tasks/exit",       "/tasks/exit",
		                            "/tasks/delete" };
	struct world *w = world_new("sandbox", "\"wait\"");
	char pod[] = "pod1", exec[] = "e1";
	struct cf_err err = { .code = CF_OK };

	EXPECT_OK(create(w, pod, w->bundle, NULL, NULL, &err), &err);
	EXPECT_OK(start(w, pod, NULL, &err), &err);
	EXPECT_OK(exec_add(w, pod, exec, "\"exit\",\"0\"", NULL, NULL, false, &err), &err);
	EXPECT_OK(start(w, pod, exec, &err), &err);
	EXPECT_INT(wait_task(w, pod, exec, &err), 0);
	EXPECT_OK(delete_task(w, pod, exec, &err), &err);
	EXPECT_OK(kill_task(w, pod, NULL, SIGKILL, &err), &err);
	EXPECT_INT(wait_task(w, pod, NULL, &err), 137);
	end_pod(w, pod);
	EXPECT(wait_for_event(w, "/tasks/delete"));
	EXPECT_INT(w->listener.count, CF_ARRAY_LEN(want));
	for (size_t i = 0; i < CF_ARRAY_LEN(want); i++)
		EXPECT_STR(w->listener.topics[i], want[i]);
	world_free(w);
}

static char *make_fifo(const struct world *w, const char *name)
{
	char *path = cf_asprintf("%s/%s", w->dir, name);

	EXPECT(mkfifo(path, 0600) == 0);
	return path;
}

struct drain {
	int fd;
	uint64_t bytes;
};

static void *drain_run(void *arg)
{
	struct drain *d = arg;
	static uint8_t buf[1 << 16];
	ssize_t n;

	while ((n = read(d->fd, buf, sizeof(buf))) > 0)
		d->bytes += (uint64_t)n;
	return NULL;
}

#define GIB (1ull << 30)

CF_TEST(shim_passes_a_gibibyte_of_stdout_while_exec_runs)
{
	struct world *w = world_new("sandbox", "\"spew\",\"1073741824\"");
	char pod[] = "pod1", exec[] = "e1";
	cf_cleanup(cf_freep) char *out = make_fifo(w, "out");
	cf_cleanup(cf_freep) char *in2 = make_fifo(w, "in2");
	cf_cleanup(cf_freep) char *out2 = make_fifo(w, "out2");
	struct drain d = { .fd = open(out, O_RDONLY | O_NONBLOCK | O_CLOEXEC) };
	cf_cleanup(cf_closep) int echo = open(out2, O_RDWR | O_CLOEXEC);
	cf_cleanup(cf_closep) int typed = open(in2, O_RDWR | O_CLOEXEC);
	struct cf_err err = { .code = CF_OK };
	pthread_t thread;
	char buf[8] = "";

	cf_set_nonblock(d.fd, false);
	EXPECT_OK(create(w, pod, w->bundle, NULL, out, &err), &err);
	EXPECT_OK(start(w, pod, NULL, &err), &err);
	pthread_create(&thread, NULL, drain_run, &d);
	/* an exec is set up, typed at and answers while the flood runs */
	EXPECT_OK(exec_add(w, pod, exec, "\"cat\"", in2, out2, false, &err), &err);
	EXPECT_OK(start(w, pod, exec, &err), &err);
	EXPECT(write(typed, "hello", 5) == 5);
	EXPECT(read(echo, buf, sizeof(buf)) == 5);
	EXPECT_STR(buf, "hello");
	EXPECT_INT(wait_task(w, pod, NULL, &err), 0);
	EXPECT_OK(kill_task(w, pod, exec, SIGKILL, &err), &err);
	EXPECT_INT(wait_task(w, pod, exec, &err), 137);
	end_pod(w, pod);
	pthread_join(thread, NULL);
	close(d.fd);
	EXPECT(d.bytes == GIB);
	world_free(w);
}

CF_TEST(shim_hands_output_to_a_logging_program)
{
	struct world *w = world_new("sandbox", "\"spew\",\"100000\"");
	char pod[] = "pod1";
	cf_cleanup(cf_freep) char *program = cf_asprintf("%s/logger", w->dir);
	cf_cleanup(cf_freep) char *got = cf_asprintf("%s/got", w->dir);
	cf_cleanup(cf_freep) char *done = make_fifo(w, "done");
	cf_cleanup(cf_freep) char *out =
		cf_asprintf("binary://%s?into=%s%%2Fgot&done=%s&flag", program, w->dir, done);
	cf_cleanup(cf_closep) int ended = open(done, O_RDWR | O_CLOEXEC);
	static const char script[] =
		"#!/bin/sh\n"
		"echo \"$CONTAINER_NAMESPACE $CONTAINER_ID $1 $3 $5\" >\"$2\"\n"
		"exec 5>&-\n"
		"wc -c <&3 >>\"$2\"\n"
		"wc -c <&4 >>\"$2\"\n"
		"echo end >\"$4\"\n";
	char word[8] = "", bad[] = "binary:///x?a=%zz", other[] = "https://x";
	struct cf_err err = { .code = CF_OK };

	EXPECT_OK(cf_write_file_atomic(program, cf_view_str(script), 0700, &err), &err);
	EXPECT_FAILS(create(w, pod, w->bundle, NULL, bad, &err), CF_INVALID_ARGUMENT);
	EXPECT_FAILS(create(w, pod, w->bundle, NULL, other, &err), CF_UNIMPLEMENTED);
	EXPECT_OK(create(w, pod, w->bundle, NULL, out, &err), &err);
	EXPECT_OK(start(w, pod, NULL, &err), &err);
	EXPECT_INT(wait_task(w, pod, NULL, &err), 0);
	EXPECT(read(ended, word, sizeof(word)) == 4);

	struct cf_buf text = cf_test_read(got);

	EXPECT(cf_view_eq_str(cf_buf_view(&text), NS " pod1 into done flag\n100000\n0\n"));
	cf_buf_fini(&text);
	end_pod(w, pod);
	world_free(w);
}

CF_TEST(shim_delivers_stdin_and_closes_it)
{
	struct world *w = world_new("sandbox", "\"cat\"");
	char pod[] = "pod1";
	cf_cleanup(cf_freep) char *in = make_fifo(w, "in");
	cf_cleanup(cf_freep) char *out = make_fifo(w, "out");
	cf_cleanup(cf_closep) int echo = open(out, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	int typed = -1;
	Containerd__Task__V2__CloseIORequest req = CONTAINERD__TASK__V2__CLOSE_IOREQUEST__INIT;
	struct cf_err err = { .code = CF_OK };
	char buf[8] = "";

	EXPECT_OK(create(w, pod, w->bundle, in, out, &err), &err);
	EXPECT_OK(start(w, pod, NULL, &err), &err);
	typed = open(in, O_WRONLY | O_CLOEXEC);
	EXPECT(write(typed, "last", 4) == 4);
	req.id = pod;
	req.stdin = true;
	close(typed);
	EXPECT_OK(call(w, "CloseIO", &req.base, NULL, NULL, &err), &err);
	EXPECT_INT(wait_task(w, pod, NULL, &err), 0);
	EXPECT(read(echo, buf, sizeof(buf)) == 4);
	EXPECT_STR(buf, "last");
	end_pod(w, pod);
	world_free(w);
}

CF_TEST(shim_takes_back_everything_when_create_is_refused)
{
	struct world *w = world_new("sandbox", "\"refuse\"");
	char pod[] = "pod1";
	struct cf_err err = { .code = CF_OK };

	EXPECT_FAILS(create(w, pod, w->bundle, NULL, NULL, &err), CF_PERMISSION_DENIED);
	EXPECT(strstr(err.msg, "blocked by policy"));
	EXPECT_INT(state_of(w, pod, NULL), -1);
	expect_nothing_left(w);
	/* the same shim takes a pod that is allowed */
	make_bundle(w->bundle, "sandbox", "pod1", "\"wait\"");
	EXPECT_OK(create(w, pod, w->bundle, NULL, NULL, &err), &err);
	EXPECT_OK(kill_task(w, pod, NULL, SIGKILL, &err), &err); /* never started */
	EXPECT_INT(wait_task(w, pod, NULL, &err), 137);
	end_pod(w, pod);
	world_free(w);
}

CF_TEST(shim_reports_137_when_the_machine_dies)
{
	struct world *w = world_new("sandbox", "\"wait\"");
	char pod[] = "pod1", exec[] = "e1";
	struct cf_err err = { .code = CF_OK };

	EXPECT_OK(create(w, pod, w->bundle, NULL, NULL, &err), &err);
	EXPECT_OK(start(w, pod, NULL, &err), &err);
	EXPECT_OK(exec_add(w, pod, exec, "\"die\"", NULL, NULL, false, &err), &err);
	EXPECT_FAILS(start(w, pod, exec, &err), CF_UNAVAILABLE);
	EXPECT_INT(wait_task(w, pod, NULL, &err), 137);
	EXPECT_INT(state_of(w, pod, NULL), 3);
	EXPECT_OK(kill_task(w, pod, NULL, SIGKILL, &err), &err);
	end_pod(w, pod);
	world_free(w);
}

CF_TEST(shim_ends_a_pod_whose_guest_is_deaf)
{
	struct world *w = world_new("sandbox", "\"deaf\"");
	char pod[] = "pod1";
	struct cf_err err = { .code = CF_OK };

	EXPECT_OK(create(w, pod, w->bundle, NULL, NULL, &err), &err);
	EXPECT_OK(start(w, pod, NULL, &err), &err);
	EXPECT_OK(kill_task(w, pod, NULL, SIGKILL, &err), &err);
	EXPECT_INT(wait_task(w, pod, NULL, &err), 137);
	end_pod(w, pod);
	world_free(w);
}

/* The pid of the shim, as Connect says. */
static pid_t shim_pid(struct world *w, char *id)
{
	Containerd__Task__V2__ConnectRequest req = CONTAINERD__TASK__V2__CONNECT_REQUEST__INIT;
	Containerd__Task__V2__ConnectResponse *res = NULL;
	struct cf_err err = { .code = CF_OK };
	pid_t pid;

	req.id = id;
	EXPECT_OK(call(w, "Connect", &req.base, &containerd__task__v2__connect_response__descriptor,
	               &res, &err),
	          &err);
	pid = (pid_t)res->shim_pid;
	EXPECT(res->task_pid > 1);
	containerd__task__v2__connect_response__free_unpacked(res, NULL);
	return pid;
}

CF_TEST(shim_killed_leaves_nothing_behind_delete)
{
	struct world *w = world_new("sandbox", "\"wait\"");
	cf_cleanup(cf_freep) char *sandbox = cf_asprintf("%s/" NS "/pod1", w->run_dir);
	cf_cleanup(cf_freep) char *answer = NULL;
	char pod[] = "pod1";
	struct cf_err err = { .code = CF_OK };

	EXPECT_OK(create(w, pod, w->bundle, NULL, NULL, &err), &err);
	EXPECT_OK(start(w, pod, NULL, &err), &err);
	EXPECT(access(sandbox, F_OK) == 0);
	EXPECT(kill(shim_pid(w, pod), SIGKILL) == 0);
	EXPECT_FAILS(wait_task(w, pod, NULL, &err), CF_UNAVAILABLE);
	answer = run_shim(w, w->bundle, pod, "delete");
	EXPECT(answer[0] == 0x10 && (uint8_t)answer[1] == 137); /* exit_status = 2: 137 */
	expect_nothing_left(w);
	free(run_shim(w, w->bundle, pod, "delete")); /* twice is fine */
	world_free(w);
}

static int resize(struct world *w, char *id, char *exec, uint32_t width, struct cf_err *err)
{
	Containerd__Task__V2__ResizePtyRequest req = CONTAINERD__TASK__V2__RESIZE_PTY_REQUEST__INIT;

	req.id = id;
	req.exec_id = exec;
	req.width = width;
	req.height = 24;
	return call(w, "ResizePty", &req.base, NULL, NULL, err);
}

CF_TEST(shim_remembers_a_terminals_size_until_it_runs)
{
	struct world *w = world_new("sandbox", "\"wait\"");
	char pod[] = "pod1", exec[] = "e1";
	struct cf_err err = { .code = CF_OK };
	struct cf_buf log;

	EXPECT_OK(create(w, pod, w->bundle, NULL, NULL, &err), &err);
	EXPECT_OK(start(w, pod, NULL, &err), &err);
	EXPECT_OK(exec_add(w, pod, exec, "\"wait\"", NULL, NULL, true, &err), &err);
	EXPECT_OK(resize(w, pod, exec, 80, &err), &err); /* asked for before Start */
	EXPECT_OK(start(w, pod, exec, &err), &err);
	EXPECT_OK(resize(w, pod, exec, 132, &err), &err);
	EXPECT_OK(kill_task(w, pod, exec, SIGKILL, &err), &err);
	EXPECT_INT(wait_task(w, pod, exec, &err), 137);
	EXPECT_OK(kill_task(w, pod, NULL, SIGKILL, &err), &err);
	EXPECT_INT(wait_task(w, pod, NULL, &err), 137);
	log = cf_test_read(w->agent_log);
	EXPECT(strstr((char *)log.data, "TtyWinResize 80x24\nTtyWinResize 132x24\n"));
	cf_buf_fini(&log);
	end_pod(w, pod);
	world_free(w);
}

CF_TEST(shim_reports_statistics_in_the_hosts_form)
{
	struct world *w = world_new("sandbox", "\"wait\"");
	Containerd__Task__V2__StatsRequest req = CONTAINERD__TASK__V2__STATS_REQUEST__INIT;
	Containerd__Task__V2__StatsResponse *res = NULL;
	char pod[] = "pod1";
	struct cf_err err = { .code = CF_OK };

	EXPECT_OK(create(w, pod, w->bundle, NULL, NULL, &err), &err);
	req.id = pod;
	EXPECT_OK(call(w, "Stats", &req.base, &containerd__task__v2__stats_response__descriptor,
	               &res, &err),
	          &err);
	EXPECT(cf_starts_with(res->stats->type_url, "io.containerd.cgroups.v"));
	EXPECT(res->stats->value.len > 0);
	containerd__task__v2__stats_response__free_unpacked(res, NULL);
	EXPECT_OK(kill_task(w, pod, NULL, SIGKILL, &err), &err);
	EXPECT_INT(wait_task(w, pod, NULL, &err), 137);
	end_pod(w, pod);
	world_free(w);
}

CF_TEST(shim_refuses_what_it_cannot_do_with_a_text)
{
	struct world *w = world_new("sandbox", "\"wait\"");
	Containerd__Task__V2__CheckpointTaskRequest checkpoint =
		CONTAINERD__TASK__V2__CHECKPOINT_TASK_REQUEST__INIT;
	cf_cleanup(cf_freep) char *bundle2 = cf_asprintf("%s/ctr1", w->dir);
	char pod[] = "pod1", ctr[] = "ctr1", bad[] = "../x";
	struct cf_err err = { .code = CF_OK };
	struct ttrpc_req unknown = { .service = "containerd.task.v2.Task",
		                     .method = "Nonsense",
		                     .msg = &checkpoint.base,
		                     .out = &google__protobuf__empty__descriptor,
		                     .timeout_ms = TIMEOUT };

	/* a container before its pod */
	make_bundle(bundle2, "container", "pod1", "\"wait\"");
	EXPECT_FAILS(create(w, ctr, bundle2, NULL, NULL, &err), CF_FAILED_PRECONDITION);
	EXPECT_FAILS(create(w, bad, w->bundle, NULL, NULL, &err), CF_INVALID_ARGUMENT);
	checkpoint.id = pod;
	EXPECT_FAILS(call(w, "Checkpoint", &checkpoint.base, NULL, NULL, &err), CF_UNIMPLEMENTED);
	EXPECT_FAILS(ttrpc_call(w->client, &unknown, NULL, &err), CF_UNIMPLEMENTED);
	unknown.service = "containerd.runtime.sandbox.v1.Sandbox";
	EXPECT_FAILS(ttrpc_call(w->client, &unknown, NULL, &err), CF_UNIMPLEMENTED);
	EXPECT_OK(shutdown_task(w, pod, &err), &err);
	world_free(w);
}

/* ---- the early word of a pull ---- */

static bool tell(const struct world *w, const char *text)
{
	cf_cleanup(cf_freep) char *path = early_path(w);
	cf_cleanup(cf_closep) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un to = { .sun_family = AF_UNIX };

	snprintf(to.sun_path, sizeof(to.sun_path), "%s", path);
	return sendto(fd, text, strlen(text), 0, (struct sockaddr *)&to, sizeof(to)) >= 0;
}

static bool tell_image(const struct world *w, const char *image, int manifest)
{
	cf_cleanup(cf_freep) char *text =
		cf_asprintf("{\"version\":1,\"event\":\"layer\",\"image\":\"%s\","
	                    "\"manifest\":\"sha256:%064d\",\"chain\":\"sha256:cc\",\"above\":0}",
	                    image, manifest);

	return tell(w, text);
}

/* How often the agent's log holds @line, once it holds @last at all. */
static int times_after(const struct world *w, const char *line, const char *last)
{
	int n = -1;

	for (int i = 0; n < 0 && i < TIMEOUT / 10; i++) {
		struct cf_buf log = cf_test_read(w->agent_log);
		char *text = (char *)log.data;

		if (strstr(text, last))
			for (n = 0; (text = strstr(text, line)); text++)
				n++;
		cf_buf_fini(&log);
		(void)!poll(NULL, 0, n < 0 ? 10 : 0);
	}
	return n;
}

CF_TEST(shim_has_the_guest_fetch_what_a_waiting_pod_hears_of)
{
	struct world *w = world_new("sandbox", "\"wait\"");
	cf_cleanup(cf_freep) char *bundle2 = cf_asprintf("%s/ctr1", w->dir);
	char pod[] = "pod1", ctr[] = "ctr1";
	struct cf_err err = { .code = CF_OK };

	EXPECT(!tell_image(w, "reg/a:1", 1)); /* nobody listens for a pod that is not there */
	EXPECT_OK(create(w, pod, w->bundle, NULL, NULL, &err), &err);
	EXPECT(tell(w, "") && tell(w, "{}") && tell(w, "{\"version\":1,\"event\":\"layer\"}"));
	for (int i = 0; i < 3; i++) /* a notice a layer */
		EXPECT(tell_image(w, "reg/a:1", 1));
	EXPECT(tell_image(w, "reg/b:1", 1));
	EXPECT_INT(times_after(w, "PrefetchImage reg/a:1\n", "PrefetchImage reg/b:1\n"), 1);
	make_bundle(bundle2, "container", "pod1", "\"wait\"");
	EXPECT_OK(create(w, ctr, bundle2, NULL, NULL, &err), &err);
	/* it waits for another container now; what was fetched is not fetched again */
	EXPECT(tell_image(w, "reg/a:1", 1));
	EXPECT(tell_image(w, "reg/a:1", 2));
	EXPECT(tell_image(w, "reg/c:1", 1));
	EXPECT_INT(times_after(w, "PrefetchImage reg/a:1\n", "PrefetchImage reg/c:1"), 2);
	for (int i = 0; i < 10; i++)
		EXPECT(tell_image(w, "reg/many:1", i));
	EXPECT_OK(kill_task(w, ctr, NULL, SIGKILL, &err), &err);
	EXPECT_INT(wait_task(w, ctr, NULL, &err), 128 + SIGKILL);
	EXPECT_OK(delete_task(w, ctr, NULL, &err), &err);
	end_pod(w, pod);
	EXPECT_INT(times_after(w, "PrefetchImage", "DestroySandbox"), EARLY_PULL_MAX);
	world_free(w);
}

CF_TEST(shim_listens_no_longer_for_a_guest_that_cannot_fetch_early)
{
	EXPECT(setenv("FAKE_AGENT_IS_KATAS", "1", 1) == 0);
	struct world *w = world_new("sandbox", "\"wait\"");
	cf_cleanup(cf_freep) char *path = NULL;
	char pod[] = "pod1";
	struct cf_err err = { .code = CF_OK };

	path = early_path(w);
	EXPECT_OK(create(w, pod, w->bundle, NULL, NULL, &err), &err);
	EXPECT(tell_image(w, "reg/a:1", 1));
	for (int i = 0; access(path, F_OK) == 0 && i < TIMEOUT / 10; i++)
		(void)!poll(NULL, 0, 10);
	EXPECT(access(path, F_OK) < 0);
	end_pod(w, pod);
	world_free(w);
}

/* ---- reports of pulls ---- */

/* A snapshotter's control socket that takes what it is told. */
struct reports {
	int fd;
	pthread_t thread;
	struct cf_buf bodies; /* a line each; read after the thread's end */
	size_t want;
};

static bool take_report(struct reports *r)
{
	cf_cleanup(cf_closep) int fd = accept4(r->fd, NULL, NULL, SOCK_CLOEXEC);
	static const char ok[] = "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n";
	char text[4096] = "";
	size_t n = 0;
	const char *body = NULL;

	while (fd >= 0 && n < sizeof(text) - 1) {
		ssize_t got = recv(fd, text + n, sizeof(text) - 1 - n, 0);

		if (got <= 0)
			break;
		n += (size_t)got;
		body = strstr(text, "\r\n\r\n");
		if (body && strchr(body, '}'))
			break;
	}
	if (!body)
		return false;
	EXPECT(cf_starts_with(text, "POST /v1/pulls HTTP/1.1\r\n"));
	cf_buf_printf(&r->bodies, "%s\n", body + 4);
	return send(fd, ok, strlen(ok), MSG_NOSIGNAL) > 0;
}

static void *reports_run(void *arg)
{
	struct reports *r = arg;

	for (size_t i = 0; i < r->want && take_report(r);)
		i++;
	return NULL;
}

static void reports_start(struct reports *r, const struct world *w, size_t want)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/system.sock", w->dir);
	struct cf_err err = { .code = CF_OK };

	*r = (struct reports){ .want = want };
	r->fd = cf_listen_unix(path, &err);
	EXPECT(r->fd >= 0);
	EXPECT(pthread_create(&r->thread, NULL, reports_run, r) == 0);
}

static void expect_reports(struct reports *r, const char *want)
{
	EXPECT(pthread_join(r->thread, NULL) == 0);
	EXPECT_STR((char *)r->bodies.data, want);
	cf_buf_fini(&r->bodies);
	close(r->fd);
}

static int create_on(struct world *w, char *id, char *bundle, char *option, struct cf_err *err)
{
	Containerd__Task__V2__CreateTaskRequest req =
		CONTAINERD__TASK__V2__CREATE_TASK_REQUEST__INIT;
	Containerd__Types__Mount mount = CONTAINERD__TYPES__MOUNT__INIT, *mounts[] = { &mount };

	mount.options = &option;
	mount.n_options = 1;
	req.rootfs = mounts;
	req.n_rootfs = 1;
	req.id = id;
	req.bundle = bundle;
	return call(w, "Create", &req.base, &containerd__task__v2__create_task_response__descriptor,
	            NULL, err);
}

static void report_one(const char *mode, const char *want, size_t want_count)
{
	cf_cleanup(cf_freep) char *quoted = cf_asprintf("\"%s\"", mode);
	struct world *w = world_new("sandbox", "\"wait\"");
	cf_cleanup(cf_freep) char *bundle2 = cf_asprintf("%s/ctr1", w->dir);
	char pod[] = "pod1", ctr[] = "ctr1", option[] = "workdir=/r/snapshots/7/work";
	struct cf_err err = { .code = CF_OK };
	struct reports reports;

	EXPECT_OK(create(w, pod, w->bundle, NULL, NULL, &err), &err);
	reports_start(&reports, w, want_count);
	make_bundle(bundle2, "container", "pod1", quoted);
	EXPECT((create_on(w, ctr, bundle2, option, &err) == 0) == !cf_streq(mode, "refuse"));
	expect_reports(&reports, want);
	end_pod(w, pod);
	world_free(w);
}

#define REPORT(state, counts) "{\"snapshot_id\":7,\"root\":\"/r\",\"state\":\"" state "\"," counts
#define NONE                  "\"layers\":0,\"layers_done\":0,\"bytes\":0,\"bytes_done\":0"

CF_TEST(shim_reports_how_far_a_pull_is)
{
	report_one("pull",
	           REPORT("pulling", NONE "}\n") REPORT(
			   "pulling", "\"layers\":2,\"layers_done\":1,"
				      "\"bytes\":9223372036854775807,\"bytes_done\":5}\n")
	                   REPORT("done",
	                          "\"layers\":2,\"layers_done\":2,\"bytes\":9223372036854775807,"
	                          "\"bytes_done\":9223372036854775807}\n"),
	           3);
}

CF_TEST(shim_reports_why_a_pull_failed)
{
	report_one("refuse",
	           REPORT("pulling", NONE "}\n")
	                   REPORT("failed", NONE ",\"message\":\"blocked by policy\"}\n"),
	           2);
}

CF_TEST(shim_reports_beginning_and_end_of_a_guest_that_tells_nothing)
{
	EXPECT(setenv("FAKE_AGENT_IS_KATAS", "1", 1) == 0);
	report_one("wait", REPORT("pulling", NONE "}\n") REPORT("done", NONE "}\n"), 2);
}
