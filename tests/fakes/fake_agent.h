/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A Kata agent without containers, for tests of the shim. A test program that includes this becomes
 * the agent when it is started as "PROGRAM --no-pid1 --listen unix:PATH": driver none then runs the
 * very test as its guest. Every call is appended to the file FAKE_AGENT_LOG. A process does what
 * its first argument says:
 *
 *   exit N    ends at once with N            spew N   writes N bytes, then ends with 0
 *   cat       copies stdin to stdout         wait     runs until a signal
 *   deaf      runs; never answers a signal   refuse   its CreateContainer is refused
 *   die       takes the whole agent with it when it is started
 *   pull      its CreateContainer is answered once its pull has been looked at twice
 */
#include "base/loop.h"
#include "base/str.h"
#include "proto/agent.pb-c.h"
#include "proto/pulls.pb-c.h"
#include "proto/ttrpc.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define FAKE_PROCS_MAX 64

struct fake_proc {
	char key[160]; /* container/exec */
	char mode[16];
	uint64_t arg, left;
	bool is_started, has_ended, is_input_closed;
	int status;
	struct cf_buf echo;
	struct rpc_call *reader, *errors, *waiter;
};

static struct fake_proc fake_procs[FAKE_PROCS_MAX];
static size_t fake_count;

static void fake_log(const char *what)
{
	const char *path = getenv("FAKE_AGENT_LOG");
	int fd = path ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644) : -1;

	if (fd >= 0) {
		dprintf(fd, "%s\n", what);
		close(fd);
	}
}

static struct fake_proc *fake_find(const char *container, const char *exec)
{
	char key[160];

	snprintf(key, sizeof(key), "%s/%s", container, *exec ? exec : container);
	for (size_t i = 0; i < fake_count; i++)
		if (cf_streq(fake_procs[i].key, key))
			return &fake_procs[i];
	return NULL;
}

static struct fake_proc *fake_add(const char *container, const char *exec,
                                  const Grpc__Process *process)
{
	struct fake_proc *p = &fake_procs[fake_count++];

	snprintf(p->key, sizeof(p->key), "%s/%s", container, exec);
	snprintf(p->mode, sizeof(p->mode), "%s", process->n_args ? process->args[0] : "");
	p->arg = process->n_args > 1 ? strtoull(process->args[1], NULL, 10) : 0;
	p->left = cf_streq(p->mode, "spew") ? p->arg : 0;
	return p;
}

static void fake_empty(struct rpc_call *call)
{
	Google__Protobuf__Empty e = GOOGLE__PROTOBUF__EMPTY__INIT;

	rpc_reply(call, &e);
}

static void fake_answer_read(struct rpc_call **call, const void *data, size_t n)
{
	Grpc__ReadStreamResponse res = GRPC__READ_STREAM_RESPONSE__INIT;
	cf_cleanup(cf_freep) uint8_t *copy = n ? malloc(n) : NULL;
	struct rpc_call *c = cf_take(call);

	if (n)
		memcpy(copy, data, n);
	res.data.data = copy;
	res.data.len = n;
	rpc_reply(c, &res);
}

/* Answers what can be answered now. */
static void fake_push(struct fake_proc *p)
{
	Grpc__WaitProcessResponse res = GRPC__WAIT_PROCESS_RESPONSE__INIT;

	if (p->reader && p->echo.size) {
		fake_answer_read(&p->reader, p->echo.data, p->echo.size);
		cf_buf_reset(&p->echo);
	}
	if (cf_streq(p->mode, "cat") && p->is_input_closed && !p->echo.size)
		p->has_ended = true;
	if (!p->has_ended)
		return;
	if (p->reader)
		fake_answer_read(&p->reader, NULL, 0);
	if (p->errors)
		fake_answer_read(&p->errors, NULL, 0);
	res.status = p->status;
	if (p->waiter)
		rpc_reply(cf_take(&p->waiter), &res);
}

static void fake_end(struct fake_proc *p, int status)
{
	if (!p->has_ended)
		p->status = status;
	p->has_ended = true;
	fake_push(p);
}

static void fake_start(struct fake_proc *p)
{
	p->is_started = true;
	if (cf_streq(p->mode, "die"))
		_exit(3);
	if (cf_streq(p->mode, "exit"))
		fake_end(p, (int)p->arg);
}

#define FAKE_HANDLER(name, type)                                                                   \
	static void fake_##name(struct rpc_call *call, const type *req);                           \
	static void fake_on_##name(struct rpc_call *call, const ProtobufCMessage *msg, void *user) \
	{                                                                                          \
		(void)user;                                                                        \
		fake_##name(call, (const type *)msg);                                              \
	}                                                                                          \
	static void fake_##name(struct rpc_call *call, const type *req)

FAKE_HANDLER(check, Grpc__CheckRequest)
{
	Grpc__HealthCheckResponse res = GRPC__HEALTH_CHECK_RESPONSE__INIT;

	(void)req;
	fake_log("Check");
	res.status = GRPC__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
	rpc_reply(call, &res);
}

FAKE_HANDLER(create_sandbox, Grpc__CreateSandboxRequest)
{
	cf_cleanup(cf_freep) char *line =
		cf_asprintf("CreateSandbox %s dns=%zu", req->sandbox_id, req->n_dns);

	fake_log(line);
	fake_empty(call);
}

FAKE_HANDLER(destroy_sandbox, Grpc__DestroySandboxRequest)
{
	(void)req;
	fake_log("DestroySandbox");
	fake_empty(call);
}

static struct rpc_call *fake_puller; /* of the container "ctr1" */

FAKE_HANDLER(create_container, Grpc__CreateContainerRequest)
{
	cf_cleanup(cf_freep) char *line =
		cf_asprintf("CreateContainer %s image=%s", req->container_id,
	                    req->n_storages ? req->storages[0]->source : "");

	fake_log(line);
	if (req->oci->process->n_args && cf_streq(req->oci->process->args[0], "refuse")) {
		rpc_fail(call, CF_PERMISSION_DENIED, "blocked by policy");
		return;
	}
	fake_add(req->container_id, req->exec_id, req->oci->process);
	if (req->oci->process->n_args && cf_streq(req->oci->process->args[0], "pull"))
		fake_puller = call;
	else
		fake_empty(call);
}

FAKE_HANDLER(start_container, Grpc__StartContainerRequest)
{
	cf_cleanup(cf_freep) char *line = cf_asprintf("StartContainer %s", req->container_id);
	struct fake_proc *p = fake_find(req->container_id, "");

	fake_log(line);
	if (!p) {
		rpc_fail(call, CF_NOT_FOUND, "no container");
		return;
	}
	fake_start(p);
	fake_empty(call);
}

FAKE_HANDLER(exec_process, Grpc__ExecProcessRequest)
{
	cf_cleanup(cf_freep) char *line =
		cf_asprintf("ExecProcess %s %s", req->container_id, req->exec_id);

	fake_log(line);
	fake_start(fake_add(req->container_id, req->exec_id, req->process));
	fake_empty(call);
}

FAKE_HANDLER(signal_process, Grpc__SignalProcessRequest)
{
	cf_cleanup(cf_freep) char *line = cf_asprintf("SignalProcess %s \"%s\" %u",
	                                              req->container_id, req->exec_id, req->signal);
	struct fake_proc *p = fake_find(req->container_id, req->exec_id);

	fake_log(line);
	if (!p) {
		rpc_fail(call, CF_NOT_FOUND, "no process");
		return;
	}
	if (cf_streq(p->mode, "deaf"))
		return; /* the call stays open for ever */
	fake_empty(call);
	fake_end(p, 128 + (int)req->signal);
}

FAKE_HANDLER(wait_process, Grpc__WaitProcessRequest)
{
	struct fake_proc *p = fake_find(req->container_id, req->exec_id);

	if (!p) {
		rpc_fail(call, CF_NOT_FOUND, "no process");
		return;
	}
	p->waiter = call;
	fake_push(p);
}

FAKE_HANDLER(read_stdout, Grpc__ReadStreamRequest)
{
	struct fake_proc *p = fake_find(req->container_id, req->exec_id);
	size_t n;

	if (!p) {
		rpc_fail(call, CF_NOT_FOUND, "cannot get stream reader");
		return;
	}
	p->reader = call;
	n = CF_MIN(p->left, (uint64_t)req->len);
	if (!n) {
		fake_push(p);
		return;
	}
	cf_cleanup(cf_freep) uint8_t *data = malloc(n);

	memset(data, 'y', n);
	p->left -= n;
	fake_answer_read(&p->reader, data, n);
	if (!p->left)
		fake_end(p, 0);
}

FAKE_HANDLER(read_stderr, Grpc__ReadStreamRequest)
{
	struct fake_proc *p = fake_find(req->container_id, req->exec_id);

	if (!p) {
		rpc_fail(call, CF_NOT_FOUND, "cannot get stream reader");
		return;
	}
	p->errors = call;
	fake_push(p);
}

FAKE_HANDLER(write_stdin, Grpc__WriteStreamRequest)
{
	struct fake_proc *p = fake_find(req->container_id, req->exec_id);
	Grpc__WriteStreamResponse res = GRPC__WRITE_STREAM_RESPONSE__INIT;

	cf_buf_add(&p->echo, req->data.data, req->data.len);
	res.len = (uint32_t)req->data.len;
	rpc_reply(call, &res);
	fake_push(p);
}

FAKE_HANDLER(close_stdin, Grpc__CloseStdinRequest)
{
	struct fake_proc *p = fake_find(req->container_id, req->exec_id);

	fake_log("CloseStdin");
	fake_empty(call);
	p->is_input_closed = true;
	fake_push(p);
}

FAKE_HANDLER(tty_win_resize, Grpc__TtyWinResizeRequest)
{
	cf_cleanup(cf_freep) char *line = cf_asprintf("TtyWinResize %ux%u", req->column, req->row);

	fake_log(line);
	fake_empty(call);
}

FAKE_HANDLER(remove_container, Grpc__RemoveContainerRequest)
{
	cf_cleanup(cf_freep) char *line = cf_asprintf("RemoveContainer %s", req->container_id);

	fake_log(line);
	fake_empty(call);
}

FAKE_HANDLER(copy_file, Grpc__CopyFileRequest)
{
	cf_cleanup(cf_freep) char *line = cf_asprintf("CopyFile %ld", (long)req->file_size);

	fake_log(line);
	fake_empty(call);
}

FAKE_HANDLER(prefetch_image, Coffer__PrefetchImageRequest)
{
	Coffer__PrefetchImageResponse res = COFFER__PREFETCH_IMAGE_RESPONSE__INIT;
	cf_cleanup(cf_freep) char *line = cf_asprintf("PrefetchImage %s", req->image);

	fake_log(line);
	if (getenv("FAKE_AGENT_IS_KATAS"))
		rpc_fail(call, CF_UNIMPLEMENTED, "/coffer.Pulls/PrefetchImage is not supported");
	else
		rpc_reply(call, &res);
}

FAKE_HANDLER(watch_pulls, Coffer__WatchPullsRequest)
{
	Coffer__WatchPullsResponse res = COFFER__WATCH_PULLS_RESPONSE__INIT;
	Coffer__Pull pull = COFFER__PULL__INIT, *pulls[] = { &pull };
	static char container[] = "ctr1", image[] = "reg/a:1";

	if (getenv("FAKE_AGENT_IS_KATAS")) {
		rpc_fail(call, CF_UNIMPLEMENTED, "/coffer.Pulls/WatchPulls is not supported");
		return;
	}
	res.serial = req->seen + 1;
	pull.container = container;
	pull.image = image;
	pull.layers = 2;
	pull.layers_done = 1;
	pull.bytes = UINT64_MAX; /* a guest may say anything */
	pull.bytes_done = 5;
	res.pulls = pulls;
	res.n_pulls = req->seen == 0;
	rpc_reply(call, &res);
	if (req->seen && fake_puller)
		fake_empty(cf_take(&fake_puller));
}

FAKE_HANDLER(stats_container, Grpc__StatsContainerRequest)
{
	Grpc__StatsContainerResponse res = GRPC__STATS_CONTAINER_RESPONSE__INIT;
	Grpc__CgroupStats cgroup = GRPC__CGROUP_STATS__INIT;
	Grpc__PidsStats pids = GRPC__PIDS_STATS__INIT;

	(void)req;
	pids.current = 3;
	cgroup.pids_stats = &pids;
	res.cgroup_stats = &cgroup;
	rpc_reply(call, &res);
}

#define FAKE_ROW(method, in, out, fn)                                                              \
	{                                                                                          \
		method, &grpc__##in##__descriptor, out, fake_on_##fn, RPC_INLINE                   \
	}
#define FAKE_NONE &google__protobuf__empty__descriptor

static const struct rpc_method fake_agent_methods[] = {
	FAKE_ROW("CreateSandbox", create_sandbox_request, FAKE_NONE, create_sandbox),
	FAKE_ROW("DestroySandbox", destroy_sandbox_request, FAKE_NONE, destroy_sandbox),
	FAKE_ROW("CreateContainer", create_container_request, FAKE_NONE, create_container),
	FAKE_ROW("StartContainer", start_container_request, FAKE_NONE, start_container),
	FAKE_ROW("ExecProcess", exec_process_request, FAKE_NONE, exec_process),
	FAKE_ROW("SignalProcess", signal_process_request, FAKE_NONE, signal_process),
	FAKE_ROW("WaitProcess", wait_process_request, &grpc__wait_process_response__descriptor,
	         wait_process),
	FAKE_ROW("ReadStdout", read_stream_request, &grpc__read_stream_response__descriptor,
	         read_stdout),
	FAKE_ROW("ReadStderr", read_stream_request, &grpc__read_stream_response__descriptor,
	         read_stderr),
	FAKE_ROW("WriteStdin", write_stream_request, &grpc__write_stream_response__descriptor,
	         write_stdin),
	FAKE_ROW("CloseStdin", close_stdin_request, FAKE_NONE, close_stdin),
	FAKE_ROW("TtyWinResize", tty_win_resize_request, FAKE_NONE, tty_win_resize),
	FAKE_ROW("RemoveContainer", remove_container_request, FAKE_NONE, remove_container),
	FAKE_ROW("CopyFile", copy_file_request, FAKE_NONE, copy_file),
	FAKE_ROW("StatsContainer", stats_container_request,
	         &grpc__stats_container_response__descriptor, stats_container),
};
static const struct rpc_method fake_health_methods[] = {
	FAKE_ROW("Check", check_request, &grpc__health_check_response__descriptor, check),
};

static const struct rpc_method fake_pulls_methods[] = {
	{ "PrefetchImage", &coffer__prefetch_image_request__descriptor,
	  &coffer__prefetch_image_response__descriptor, fake_on_prefetch_image, RPC_INLINE },
	{ "WatchPulls", &coffer__watch_pulls_request__descriptor,
	  &coffer__watch_pulls_response__descriptor, fake_on_watch_pulls, RPC_INLINE },
};

static void fake_agent_main(const char *address)
{
	const struct rpc_service agent = { "grpc.AgentService", fake_agent_methods,
		                           CF_ARRAY_LEN(fake_agent_methods), NULL };
	const struct rpc_service health = { "grpc.Health", fake_health_methods, 1, NULL };
	const struct rpc_service pulls = { "coffer.Pulls", fake_pulls_methods,
		                           CF_ARRAY_LEN(fake_pulls_methods), NULL };
	const struct rpc_service *services[] = { &agent, &health, &pulls };
	struct ttrpc_server_opts opts = { .services = services,
		                          .service_count = CF_ARRAY_LEN(services) };
	struct ttrpc_server *server = NULL;
	struct cf_loop *loop = NULL;
	struct cf_err err = { .code = CF_OK };
	cf_cleanup(cf_freep) char *full = cf_starts_with(address, "unix:///")
	                                          ? cf_strdup(address)
	                                          : cf_asprintf("unix://%s", address + 5);

	if (cf_loop_new(&loop, &err) < 0)
		_exit(90);
	opts.loop = loop;
	if (ttrpc_server_new(&opts, &server, &err) < 0 ||
	    ttrpc_server_listen(server, full, &err) < 0) {
		fprintf(stderr, "fake agent: %s\n", err.msg);
		_exit(91);
	}
	cf_loop_run(loop);
}

/* glibc hands argc and argv to constructors: this runs before the harness' main(). */
__attribute__((constructor)) static void fake_agent_entry(int argc, char **argv)
{
	for (int i = 1; i + 1 < argc; i++) {
		if (!cf_streq(argv[i], "--listen"))
			continue;
		fake_agent_main(argv[i + 1]);
		_exit(0);
	}
}
