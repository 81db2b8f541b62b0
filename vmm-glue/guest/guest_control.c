/* SPDX-License-Identifier: Apache-2.0 */
/* Commands to a container that exists: crun's pause, resume, update, and signals. */
#include "base/fd.h"
#include "base/log.h"
#include "vmm-glue/guest/guest.h"
#include "vmm-glue/guest/guest_container.h"

#include <signal.h>

static void on_command(const struct cf_err *err, void *arg)
{
	struct rpc_call *call = arg;

	guest_container_answer(&call, err);
}

void guest_crun_command(struct guest *g, struct rpc_call *call, const char *id,
                        const struct cf_strv *args)
{
	struct guest_container *c = guest_find(g, id);
	struct guest_crun_call cmd = { .args = args, .fds = { -1, -1, -1 } };
	struct cf_err err;

	if (!c || c->is_pause || !guest_container_runs(c)) {
		rpc_fail(call, c ? CF_FAILED_PRECONDITION : CF_NOT_FOUND, "container %.60s%s", id,
		         c ? " does not run" : "");
		return;
	}
	cmd.bundle = c->bundle;
	if (guest_crun_start(g->crun, &cmd, on_command, call, &err) < 0)
		rpc_fail_err(call, &err);
}

static void on_all_killed(const struct cf_err *err, void *arg)
{
	struct rpc_call *call = arg;

	/* An ended container is no failure. */
	if (err)
		cf_log_debug("crun kill", CF_F_STR("why", err->msg));
	guest_reply_empty(call); /* a container that had ended is as good */
}

static unsigned init_signal(const struct guest_process *p, unsigned signo)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("/proc/%d/status", (int)p->pid);
	struct cf_buf text = { .max = 16384 };
	int r = cf_read_file(path, 16384, &text, NULL);

	if (r == 0)
		signo = guest_signal_for_init(cf_buf_view(&text), signo);
	cf_buf_fini(&text);
	return signo;
}

void guest_signal_process(struct guest *g, struct rpc_call *call,
                          const Grpc__SignalProcessRequest *req)
{
	struct guest_container *c;
	struct guest_process *p;
	unsigned signo = req->signal;
	struct cf_err err;
	int r;

	r = guest_find_process(g, req->container_id, req->exec_id, &c, &p, &err);
	if (r == 0 && signo > (unsigned)SIGRTMAX)
		r = cf_fail(&err, CF_INVALID_ARGUMENT, "signal %u", signo);
	if (r == 0 && !*req->exec_id && signo == SIGKILL && !c->is_pause) {
		r = guest_container_kill_all(c, on_all_killed, call, &err);
		if (r == 0)
			return;
	}
	if (r == 0 && p == c->init && !p->has_ended && !c->is_pause)
		signo = init_signal(p, signo);
	if (r == 0)
		r = guest_process_signal(p, signo, &err);
	if (r < 0)
		rpc_fail_err(call, &err);
	else
		guest_reply_empty(call);
}
