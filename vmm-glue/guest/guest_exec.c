/* SPDX-License-Identifier: Apache-2.0 */
/* A process more in a running container. */
#include "base/fd.h"
#include "base/log.h"
#include "vmm-glue/guest/guest.h"
#include "vmm-glue/guest/guest_rules.h"
#include "vmm-glue/guest/guest_spec.h"

#include <unistd.h>

/* What a crun exec call in flight stands on; the container outlives it (it cannot be freed while
 * its crun call runs, because the exec is looked up again by id). */
struct start {
	struct guest *guest;
	struct rpc_call *call;
	char *container;
	char *exec;
	char *pid_file;
	char *process_file;
};

static void start_free(struct start *s)
{
	(void)unlink(s->process_file);
	free(s->container);
	free(s->exec);
	free(s->pid_file);
	free(s->process_file);
	free(s);
}

static void forget_exec(struct guest_container *c, const char *id)
{
	for (size_t i = 0; i < c->exec_count; i++) {
		if (!cf_streq(c->execs[i]->id, id))
			continue;
		guest_process_free(c->execs[i]);
		c->execs[i] = c->execs[--c->exec_count];
		return;
	}
}

static struct guest_process *find_exec(const struct guest_container *c, const char *id)
{
	for (size_t i = 0; c && i < c->exec_count; i++)
		if (cf_streq(c->execs[i]->id, id))
			return c->execs[i];
	return NULL;
}

static int take_process(struct start *s, struct guest_process *p, struct cf_err *err)
{
	pid_t pid = 0;
	int r;

	if (!p)
		return cf_fail(err, CF_NOT_FOUND, "container %s has been removed", s->container);
	r = guest_crun_read_pid(s->pid_file, &pid, err);
	if (r == 0)
		r = guest_process_adopt(p, pid, err);
	return r;
}

static void on_exec(const struct cf_err *failure, void *arg)
{
	struct start *s = arg;
	struct guest_container *c = guest_find(s->guest, s->container);
	struct guest_process *p = find_exec(c, s->exec);
	struct cf_err err;
	int r = 0;

	if (failure) {
		err = *failure;
		r = -(int)err.code;
	}
	if (r == 0)
		r = take_process(s, p, &err);
	(void)unlink(s->pid_file);
	if (r < 0) {
		if (p)
			forget_exec(c, s->exec);
		rpc_fail_err(s->call, &err);
	} else {
		guest_reply_empty(s->call);
	}
	start_free(s);
}

static int write_process(const struct start *s, const Grpc__Process *process,
                         const struct guest_container *c, struct cf_err *err)
{
	struct cf_buf text = { 0 };
	int r;

	guest_spec_write_process(process, &c->user, &c->unsealed, &text);
	r = cf_buf_check(&text, "process", err);
	if (r == 0)
		r = cf_write_file_atomic(s->process_file, cf_buf_view(&text), 0600, err);
	cf_buf_wipe(&text);
	return r;
}

static int run_crun_exec(struct start *s, struct guest_container *c, struct guest_process *p,
                         struct cf_err *err)
{
	struct cf_strv args = { 0 };
	struct guest_crun_call call = {
		.bundle = c->bundle,
		.args = &args,
		.pid_file = s->pid_file,
	};
	int r;

	cf_strv_add(&args, "exec");
	cf_strv_add(&args, "--detach");
	cf_strv_addf(&args, "--process=%s", s->process_file);
	cf_strv_addf(&args, "--pid-file=%s", s->pid_file);
	if (p->console_path)
		cf_strv_addf(&args, "--console-socket=%s", p->console_path);
	cf_strv_add(&args, c->id);
	for (size_t i = 0; i < 3; i++)
		call.fds[i] = p->far[i];
	r = guest_crun_start(s->guest->crun, &call, on_exec, s, err);
	cf_strv_fini(&args);
	return r;
}

/* Finished execs make room for new ones. */
static void sweep(struct guest_container *c)
{
	size_t i = 0;

	while (i < c->exec_count) {
		if (guest_process_is_done(c->execs[i])) {
			guest_process_free(c->execs[i]);
			c->execs[i] = c->execs[--c->exec_count];
		} else {
			i++;
		}
	}
}

static int judge(struct guest *g, const Grpc__ExecProcessRequest *req, struct guest_container **ret,
                 struct cf_err *err)
{
	struct guest_container *c;
	struct policy_granted granted;
	int r;

	r = guest_rules_exec(req, err);
	if (r < 0)
		return r;
	c = guest_find(g, req->container_id);
	if (!c)
		return cf_fail(err, CF_NOT_FOUND, "container %.60s", req->container_id);
	if (c->is_pause)
		return cf_fail(err, CF_PERMISSION_DENIED, "no exec in the pause container");
	if (c->state != GUEST_RUNNING)
		return cf_fail(err, CF_FAILED_PRECONDITION, "container %s does not run", c->id);
	granted = (struct policy_granted){
		.env = &c->env,
		.caps = &c->caps,
		.cwd = c->cwd,
		.uid = c->user.uid,
		.gid = c->user.gid,
		.asked_uid = c->asked_uid,
		.asked_gid = c->asked_gid,
	};
	r = native_policy_exec(c->policy, req->process, &granted, err);
	if (r < 0)
		return r;
	sweep(c);
	if (cf_streq(req->exec_id, c->id) || find_exec(c, req->exec_id))
		return cf_fail(err, CF_ALREADY_EXISTS, "process %s", req->exec_id);
	if (c->exec_count == GUEST_EXECS_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "%u processes", GUEST_EXECS_MAX);
	*ret = c;
	return 0;
}

static int begin(struct guest *g, struct rpc_call *call, const Grpc__ExecProcessRequest *req,
                 struct guest_container *c, struct cf_err *err)
{
	struct guest_process *p = guest_process_new(g->loop, g->reaper, req->exec_id);
	struct start *s = cf_zalloc(sizeof(*s));
	int r;

	c->execs[c->exec_count++] = p;
	s->guest = g;
	s->call = call;
	s->container = cf_strdup(c->id);
	s->exec = cf_strdup(req->exec_id);
	s->pid_file = cf_asprintf("%s/exec-%s.pid", c->bundle, req->exec_id);
	s->process_file = cf_asprintf("%s/exec-%s.json", c->bundle, req->exec_id);
	r = guest_process_prepare(p, req->process->terminal,
	                          native_policy_read(c->policy, NULL) == 0, c->bundle, err);
	if (r == 0)
		r = write_process(s, req->process, c, err);
	if (r == 0)
		r = run_crun_exec(s, c, p, err);
	if (r < 0) {
		forget_exec(c, req->exec_id);
		start_free(s);
	}
	return r;
}

void guest_exec_process(struct guest *g, struct rpc_call *call, const Grpc__ExecProcessRequest *req)
{
	struct guest_container *c = NULL;
	struct cf_err err;
	int r;

	r = judge(g, req, &c, &err);
	if (r == 0)
		r = begin(g, call, req, c, &err);
	if (r < 0)
		rpc_fail_err(call, &err);
}
