/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shim's own binary against a fake agent (driver none) and a fake containerd: bootstrap, the
 * task API in the order in which containerd 1.6 calls it, streams, events, failures, and that
 * nothing is left of a pod.
 */
#include "tests/component/shim/shim_world.h"

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
