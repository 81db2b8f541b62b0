/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The guest's state: one sandbox, its containers, and what they stand on. One loop thread owns it
 * all. Requests come from the host and are hostile; what may be asked when is guest_gate's business,
 * what may be asked at all is guest_rules' and native_policy's.
 */
#include "base/loop.h"
#include "base/str.h"
#include "proto/agent.pb-c.h"
#include "proto/rpc.h"
#include "proto/ttrpc.h"
#include "vmm-glue/guest/guest_crun.h"
#include "vmm-glue/guest/guest_gate.h"
#include "vmm-glue/guest/guest_oom.h"
#include "vmm-glue/guest/guest_process.h"
#include "vmm-glue/guest/guest_rego.h"
#include "vmm-glue/guest/native_policy.h"

#define GUEST_CONTAINERS_MAX   256u
#define GUEST_EXECS_MAX        256u /* of one container; finished ones make room */
#define GUEST_CREATORS_MAX     8u   /* calls that wait for one creation, or removal */
#define GUEST_OOMS_MAX         256u /* not yet told */
#define GUEST_PULL_TIMEOUT_MS  1200000
#define GUEST_CDH_TIMEOUT_MS   50000
#define GUEST_WATCH_TIMEOUT_MS 60000
#define GUEST_PREFETCHES_MAX   8u /* of one sandbox, ahead of its containers */

struct guest_options {
	const char *state_dir;   /* what the wire calls GUEST_WIRE_ROOT */
	const char *crun;        /* path or name */
	const char *cdh;         /* ttrpc address of the image service */
	const char *cgroup_root; /* where cgroups are mounted */
	bool is_init;            /* PID 1 of a machine: the network and the files of / are ours */
};

enum guest_container_state {
	GUEST_CREATING,
	GUEST_CREATED,
	GUEST_STARTING,
	GUEST_RUNNING,
	GUEST_STOPPED,
	GUEST_REMOVING,
};

struct guest;

struct guest_container {
	struct guest *guest;
	struct guest_container *next;
	enum guest_container_state state;
	char *id;
	char *bundle; /* directory here */
	char *image;  /* reference; NULL for the pause container */
	char *name;   /* as the host calls it, or NULL */
	bool is_pause;
	bool is_doomed;      /* to be removed as soon as its creation has ended */
	bool crun_knows;     /* crun create was tried */
	uint8_t request[32]; /* SHA-256 of the packed request: a repeated one rejoins */
	struct rpc_call *creators[GUEST_CREATORS_MAX];
	size_t creator_count;
	const Grpc__CreateContainerRequest *req; /* while creating: that of creators[0] */
	struct cf_err failure; /* of a failed creation: told once everything is undone */
	struct rpc_call *starter;
	struct rpc_call *removers[GUEST_CREATORS_MAX];
	size_t remover_count;
	struct cf_event *remove_timer;
	struct guest_oom *oom;
	struct cf_event *pause_watch; /* while a pause process gets ready */
	int pause_fd;                 /* valid with pause_watch */
	struct guest_process *init;
	struct guest_process *execs[GUEST_EXECS_MAX];
	size_t exec_count;
	const struct policy_container *policy;
	struct cf_strv env, caps; /* what it was granted */
	char *cwd;
	char *termination_log;   /* path here, or NULL */
	size_t env_at;           /* while creating: the variable that is looked at for a seal */
	struct cf_strv unsealed; /* "NAME=plaintext"; wiped at the end */
	struct policy_user user;
	uint32_t asked_uid, asked_gid;
};

struct guest {
	struct cf_loop *loop;
	struct guest_options opts;
	struct guest_gate gate;
	struct guest_reaper *reaper;
	struct guest_crun *crun;
	struct native_policy *policy; /* NULL: none was given */
	struct guest_rego *rego;      /* NULL: none was given */
	struct ttrpc_client *cdh;     /* NULL until first used, and after it was lost */
	struct cf_strv storages;      /* mount points here, in order */
	struct guest_container *containers;
	char *sandbox_id;
	bool is_destroying;
	struct rpc_call *destroyer;
	struct rpc_call *oom_waiter;
	struct cf_strv ooms;   /* containers, not yet told */
	size_t prefetch_count; /* begun so far */
	struct rpc_service agent, health, pulls;
	const struct rpc_service *services[3];
	void (*on_destroyed)(void *arg);
	void *arg;
};

/* @opts' strings are borrowed. Answers nothing but Health until guest_trust(). */
cf_must_use int guest_new(struct cf_loop *loop, const struct guest_options *opts,
                          struct guest **ret, struct cf_err *err);
struct guest *guest_free(struct guest *g);
/* Initdata is bound; the policies are ours from now on and may be NULL. Both must allow. */
void guest_trust(struct guest *g, struct native_policy *policy_take, struct guest_rego *rego_take);
/* The services to register; borrowed from @g. */
const struct rpc_service *const *guest_services(struct guest *g, size_t *ret_count);

/* ---- inside the guest's own files ---- */

/* The path here of a path below GUEST_WIRE_ROOT; the caller frees. */
char *guest_path(const struct guest *g, const char *wire_path);
struct guest_container *guest_find(struct guest *g, const char *id);
/* -CF_NOT_FOUND. An empty @exec_id means the init. */
cf_must_use int guest_find_process(struct guest *g, const char *id, const char *exec_id,
                                   struct guest_container **ret_container,
                                   struct guest_process **ret, struct cf_err *err);
void guest_reply_empty(struct rpc_call *call);
/* The gate, then the Rego policy if there is one. False: the call has been answered. */
bool guest_pass(struct guest *g, struct rpc_call *call, const ProtobufCMessage *msg);

/* Each takes the call. */
void guest_create_sandbox(struct guest *g, struct rpc_call *call,
                          const Grpc__CreateSandboxRequest *req);
/* @call may be NULL: nobody waits for it. on_destroyed() follows. */
void guest_destroy_sandbox(struct guest *g, struct rpc_call *call);
void guest_create_container(struct guest *g, struct rpc_call *call,
                            const Grpc__CreateContainerRequest *req);
void guest_start_container(struct guest *g, struct rpc_call *call, const char *id);
void guest_remove_container(struct guest *g, struct rpc_call *call,
                            const Grpc__RemoveContainerRequest *req);
void guest_exec_process(struct guest *g, struct rpc_call *call,
                        const Grpc__ExecProcessRequest *req);
void guest_signal_process(struct guest *g, struct rpc_call *call,
                          const Grpc__SignalProcessRequest *req);
/* One crun command without a process: pause, resume, update. */
void guest_crun_command(struct guest *g, struct rpc_call *call, const char *id,
                        const struct cf_strv *args);
/* Ends it and forgets it, now or as soon as what runs for it has ended. */
void guest_container_discard(struct guest_container *c);
void guest_container_gone(struct guest *g); /* a container has just been forgotten */
/* Forgets all containers at once, killing their inits: the end of this process. */
void guest_containers_abandon(struct guest *g);

/* ---- the sandbox's parts ---- */

cf_must_use int guest_namespaces_make(struct guest *g, const char *hostname, struct cf_err *err);
void guest_namespaces_drop(struct guest *g);
char *guest_namespace_path(const struct guest *g, const char *kind); /* "ipc", "uts" */

cf_must_use int guest_storage_apply(struct guest *g, const Grpc__Storage *s, struct cf_err *err);
void guest_storage_drop_all(struct guest *g);
/* Unmounts whatever lies on @path, never following a link. */
void guest_unmount(const char *path);

/* ---- the image service ---- */

typedef void guest_pull_done(void *arg, const struct cf_err *err); /* @err NULL: it is there */
cf_must_use int guest_pull(struct guest *g, const char *image, const char *bundle,
                           guest_pull_done *done, void *arg, struct cf_err *err);

/* As guest_pull(), into the store alone: no container comes of it. */
cf_must_use int guest_prefetch(struct guest *g, const char *image, guest_pull_done *done, void *arg,
                               struct cf_err *err);
/* Any call to the image service. */
cf_must_use int guest_cdh_start(struct guest *g, const struct ttrpc_req *req, ttrpc_done *done,
                                void *arg, struct cf_err *err);
/* The service coffer.Pulls. */
struct rpc_service guest_pulls_service(struct guest *g);

/* @plain is borrowed, and empty with an error. */
typedef void guest_unseal_done(void *arg, const struct cf_err *err, struct cf_view plain);
/* @secret: "sealed.…". */
cf_must_use int guest_unseal(struct guest *g, const char *secret, guest_unseal_done *done,
                             void *arg, struct cf_err *err);
