/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The daemon of one pod: containerd's task API in front, the pod's machine behind. Private to the
 * shim's own files; the loop's thread owns all of it. Calls that wait for the guest keep their
 * rpc_call and answer from a callback; what blocks runs as a job on the pool and posts its result.
 */
#include "base/loop.h"
#include "base/work.h"
#include "proto/agent.pb-c.h"
#include "proto/containerd_events.pb-c.h"
#include "proto/containerd_task.pb-c.h"
#include "proto/ttrpc.h"
#include "vmm-glue/shim/agent_spec.h"
#include "vmm-glue/shim/config.h"
#include "vmm-glue/shim/early_pull.h"
#include "vmm-glue/shim/events.h"
#include "vmm-glue/shim/pull_report.h"
#include "vmm-glue/shim/sandbox.h"
#include "vmm-glue/shim/stdio.h"

#include <time.h>

#define SHIM_TASKS_MAX   256u /* containers of one pod */
#define SHIM_EXECS_MAX   256u /* processes of one container */
#define SHIM_WAITERS_MAX 64u  /* Wait calls of one process */

#define EXIT_KILLED  137u /* the machine went away under a process */
#define EXIT_UNKNOWN 255u

enum proc_state {
	PROC_CREATING,
	PROC_CREATED,
	PROC_STARTING,
	PROC_RUNNING,
	PROC_PAUSED,
	PROC_STOPPED,
	PROC_STATES,
};

enum proc_event {
	PROC_EV_CREATED,
	PROC_EV_START,
	PROC_EV_STARTED,
	PROC_EV_START_FAILED,
	PROC_EV_PAUSED,
	PROC_EV_RESUMED,
	PROC_EV_EXITED,
	PROC_EVENTS,
};

struct shim;
struct task;

/* A container's init (exec_id "") or an exec. Freed when deleted and no callback needs it. */
struct proc {
	unsigned refs;
	struct task *task; /* NULL once deleted */
	char *exec_id;     /* containerd's; "" for init */
	char *agent_id;    /* the agent's exec_id: the container id for init */
	enum proc_state state;
	char *in, *out, *err;
	bool is_terminal;
	Grpc__Process *spec; /* exec, until it is started */
	struct stdio *io;
	uint32_t width, height; /* asked for before it ran; 0: not */
	bool has_ended;         /* the agent said so; output may still be drained */
	uint32_t exit_status;
	struct timespec exited_at;
	struct rpc_call *waiters[SHIM_WAITERS_MAX];
	size_t waiter_count;
	struct proc *next;
};

struct task {
	struct shim *shim;
	char *id, *bundle;
	enum bundle_kind kind;
	struct proc *procs; /* init first */
	bool is_deleting;
	struct task *next;
};

struct shim {
	struct cf_loop *loop;
	struct cf_work *work;
	struct shim_config *config;
	char *ns, *id, *socket_path;
	struct events *events;
	struct ttrpc_server *server;
	struct sandbox *sandbox;      /* NULL: none yet, or gone */
	struct early_pull *early;     /* NULL: off */
	struct pull_reports *reports; /* NULL: off */
	bool is_sandbox_dead;
	struct task *tasks;
	size_t task_count;
	struct cf_event *orphan;       /* ends a daemon that nobody ever spoke to */
	struct cf_event *bundle_watch; /* notices at once that the bundle goes */
	int bundle_fd;
	struct cf_event *ending, *term;
	bool is_ending;
	unsigned end_tries;
	void *services; /* the tables that the server borrows */
};

/* ---- table and state machine (task.c) ---- */

/* The state after @ev, or -1 when it is not allowed then. */
int proc_next_state(enum proc_state state, enum proc_event ev);
/* True and moved on, or false and left alone. */
bool proc_step(struct proc *p, enum proc_event ev);

struct task *shim_find_task(const struct shim *s, const char *id);
struct proc *task_find_proc(const struct task *t, const char *exec_id); /* "" is init */
struct proc *task_init(const struct task *t);
struct task *task_add(struct shim *s, const char *id, const char *bundle);
struct proc *proc_add(struct task *t, const char *exec_id);
struct proc *proc_ref(struct proc *p);
void proc_unref(struct proc *p);
void proc_remove(struct proc *p); /* out of its task; waiters are answered */
void task_remove(struct task *t); /* with all processes */

/* The process has ended with @status: drains output, then publishes the exit and answers waiters. */
void proc_ended(struct proc *p, uint32_t status);
/* The machine is gone: every process that has not ended gets EXIT_KILLED. */
void shim_sandbox_died(struct shim *s, const char *why);
void proc_timestamp(const struct proc *p, Google__Protobuf__Timestamp *ret);
uint32_t shim_task_pid(const struct shim *s);

/* ---- the service (task_service.c, task_create.c, task_io.c) ---- */

extern const struct rpc_method shim_task_methods[];
extern const size_t shim_task_method_count;

rpc_handler shim_on_create, shim_on_delete;
/* After Start: asks the agent for the process' end. */
void proc_watch(struct proc *p);

/* An agent call whose callback needs a process and an rpc_call; freed by the callback. */
struct proc_call {
	struct proc *p; /* a reference */
	struct rpc_call *call;
	struct shim *shim;
};
/*
 * Starts an agent call on behalf of @call; answers it with the failure when the agent cannot be
 * reached (then @done never runs). @timeout_ms 0: the configured one.
 */
void proc_call_start(struct proc *p, struct rpc_call *call, const char *method,
                     const ProtobufCMessage *msg, const ProtobufCMessageDescriptor *out,
                     int64_t timeout_ms, ttrpc_done *done);
/* In a callback: frees @c and @msg after use. */
void proc_call_free(struct proc_call *c, ProtobufCMessage *msg);
void shim_reply_empty(struct rpc_call *call);

/* ---- daemon (daemon.c) ---- */

struct shim_daemon_opts {
	const char *ns, *id, *socket_path;
	const char *events_address; /* or NULL */
	struct shim_config *config_take;
	int listen_fd_take;
};
cf_must_use int shim_new(const struct shim_daemon_opts *opts, struct shim **ret,
                         struct cf_err *err);
void shim_run(struct shim *s); /* until shim_end() */
/* After the answer to the call in hand has gone out. */
void shim_end(struct shim *s);
struct shim *shim_free(struct shim *s);
