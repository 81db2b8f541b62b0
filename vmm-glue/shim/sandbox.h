/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A pod's machine with the connection to its agent. It is made in three steps, because two of them
 * block: sandbox_boot() and sandbox_setup() on a worker, sandbox_attach() between them on the loop.
 * Whatever fails, sandbox_stop() ends the rest: machine, helpers, links, files.
 */
#include "base/loop.h"
#include "proto/ttrpc.h"
#include "vmm-glue/shim/bundle.h"
#include "vmm-glue/shim/config.h"
#include "vmm-glue/shim/vmm.h"

struct sandbox_opts {
	struct cf_loop *loop;
	const struct shim_config *config; /* borrowed; outlives the sandbox */
	const char *ns, *id;
	/* Loop thread, once: the machine ended or its agent was lost, without sandbox_stop(). */
	void (*on_dead)(void *arg, const char *why);
	void (*on_oom)(void *arg, const char *container_id);
	void *arg;
};

struct sandbox;

struct sandbox *sandbox_new(const struct sandbox_opts *opts);
/* Worker thread. Directory, network, initdata, machine, first byte. On failure nothing is left. */
cf_must_use int sandbox_boot(struct sandbox *sb, const struct bundle *b, struct cf_err *err);
/* Loop thread, after sandbox_boot(). */
cf_must_use int sandbox_attach(struct sandbox *sb, struct cf_err *err);
/* Worker thread, after sandbox_attach(): health, network, CreateSandbox. */
cf_must_use int sandbox_setup(struct sandbox *sb, const struct bundle *b, struct cf_err *err);

/* Loop thread: the agent's client; NULL before attach and after the machine's end. */
struct ttrpc_client *sandbox_client(const struct sandbox *sb);
pid_t sandbox_pid(const struct sandbox *sb); /* of the machine, also after its end */
size_t sandbox_message_max(const struct sandbox *sb);
bool sandbox_is_alive(const struct sandbox *sb);
/* When the machine went away under a call: adds what its log says last. Returns @r. */
int sandbox_explain(const struct sandbox *sb, int r, struct cf_err *err);

/* Loop thread: brackets a worker's calls to the agent; the client lives as long. */
void sandbox_job_begin(struct sandbox *sb);
void sandbox_job_end(struct sandbox *sb);

/*
 * Loop thread: DestroySandbox within the configured time, then the machine is ended (at once when
 * @is_forced), then everything of it is removed. @done(@arg) on the loop. Also after its end.
 */
void sandbox_stop(struct sandbox *sb, bool is_forced, void (*done)(void *arg), void *arg);
/* Loop thread: kills the machine; on_dead follows. */
void sandbox_kill(struct sandbox *sb);
/* After sandbox_stop() is done, or before sandbox_attach(). */
struct sandbox *sandbox_free(struct sandbox *sb);

/* RUN_DIR/NS/ID, a long ID shortened; the caller frees. -CF_INVALID_ARGUMENT when its sockets' paths would be too long. */
cf_must_use int sandbox_dir(const char *run_dir, const char *ns, const char *id, char **ret,
                            struct cf_err *err);
/* Removes what a dead sandbox left: processes, links, files. Idempotent; nothing there is fine. */
cf_must_use int sandbox_reap(const char *dir, struct cf_err *err);
