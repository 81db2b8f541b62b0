/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/shim/shim.h"

#include "base/log.h"
#include "base/str.h"

/* ---- the life of a process ---- */

#define NO (-1)

/* clang-format off */
static const int8_t next_state[PROC_STATES][PROC_EVENTS] = {
	/*                  CREATED       START          STARTED       START_FAILED  PAUSED       RESUMED       EXITED */
	[PROC_CREATING] = { PROC_CREATED, NO,            NO,           NO,           NO,          NO,           PROC_STOPPED },
	[PROC_CREATED]  = { NO,           PROC_STARTING, NO,           NO,           NO,          NO,           PROC_STOPPED },
	[PROC_STARTING] = { NO,           NO,            PROC_RUNNING, PROC_CREATED, NO,          NO,           PROC_STOPPED },
	[PROC_RUNNING]  = { NO,           NO,            NO,           NO,           PROC_PAUSED, NO,           PROC_STOPPED },
	[PROC_PAUSED]   = { NO,           NO,            NO,           NO,           NO,          PROC_RUNNING, PROC_STOPPED },
	[PROC_STOPPED]  = { NO,           NO,            NO,           NO,           NO,          NO,           NO },
};
/* clang-format on */

int proc_next_state(enum proc_state state, enum proc_event ev)
{
	return next_state[state][ev];
}

bool proc_step(struct proc *p, enum proc_event ev)
{
	int next = proc_next_state(p->state, ev);

	if (next == NO)
		return false;
	p->state = (enum proc_state)next;
	return true;
}

/* ---- the table ---- */

struct task *shim_find_task(const struct shim *s, const char *id)
{
	struct task *t = s->tasks;

	while (t && !cf_streq(t->id, id))
		t = t->next;
	return t;
}

struct proc *task_find_proc(const struct task *t, const char *exec_id)
{
	struct proc *p = t->procs;

	while (p && !cf_streq(p->exec_id, exec_id))
		p = p->next;
	return p;
}

struct proc *task_init(const struct task *t)
{
	return t->procs;
}

struct task *task_add(struct shim *s, const char *id, const char *bundle)
{
	struct task *t = cf_zalloc(sizeof(*t));

	t->shim = s;
	t->id = cf_strdup(id);
	t->bundle = cf_strdup(bundle);
	t->next = s->tasks;
	s->tasks = t;
	s->task_count++;
	proc_add(t, "");
	return t;
}

struct proc *proc_add(struct task *t, const char *exec_id)
{
	struct proc *p = cf_zalloc(sizeof(*p));
	struct proc **at = &t->procs;

	p->refs = 1;
	p->task = t;
	p->exec_id = cf_strdup(exec_id);
	p->agent_id = cf_strdup(*exec_id ? exec_id : t->id);
	while (*at)
		at = &(*at)->next;
	*at = p;
	return p;
}

struct proc *proc_ref(struct proc *p)
{
	p->refs++;
	return p;
}

void proc_unref(struct proc *p)
{
	if (--p->refs)
		return;
	stdio_free(p->io);
	if (p->spec)
		grpc__process__free_unpacked(p->spec, NULL);
	free(p->exec_id);
	free(p->agent_id);
	free(p->in);
	free(p->out);
	free(p->err);
	free(p);
}

/* ---- answers and events ---- */

void proc_timestamp(const struct proc *p, Google__Protobuf__Timestamp *ret)
{
	google__protobuf__timestamp__init(ret);
	ret->seconds = p->exited_at.tv_sec;
	ret->nanos = (int32_t)p->exited_at.tv_nsec;
}

uint32_t shim_task_pid(const struct shim *s)
{
	return s->sandbox ? (uint32_t)sandbox_pid(s->sandbox) : 0;
}

static void answer_waiters(struct proc *p)
{
	Containerd__Task__V2__WaitResponse res = CONTAINERD__TASK__V2__WAIT_RESPONSE__INIT;
	Google__Protobuf__Timestamp at;

	proc_timestamp(p, &at);
	res.exit_status = p->exit_status;
	res.exited_at = &at;
	for (size_t i = 0; i < p->waiter_count; i++)
		rpc_reply(p->waiters[i], &res);
	p->waiter_count = 0;
}

static void publish_exit(const struct proc *p)
{
	Containerd__Events__TaskExit ev = CONTAINERD__EVENTS__TASK_EXIT__INIT;
	Google__Protobuf__Timestamp at;
	struct task *t = p->task;

	proc_timestamp(p, &at);
	ev.container_id = t->id;
	ev.id = *p->exec_id ? p->exec_id : t->id;
	ev.pid = shim_task_pid(t->shim);
	ev.exit_status = p->exit_status;
	ev.exited_at = &at;
	events_publish(t->shim->events, "/tasks/exit", &ev.base);
}

/* Output is drained: now the world may know. */
static void settle(struct proc *p)
{
	bool has_run = p->state == PROC_RUNNING || p->state == PROC_PAUSED;

	if (!p->task || !proc_step(p, PROC_EV_EXITED))
		return;
	clock_gettime(CLOCK_REALTIME, &p->exited_at);
	p->io = stdio_free(p->io);
	if (has_run || !*p->exec_id)
		publish_exit(p);
	answer_waiters(p);
}

static void on_drained(void *arg)
{
	settle(arg);
}

void proc_ended(struct proc *p, uint32_t status)
{
	if (p->has_ended)
		return;
	p->has_ended = true;
	p->exit_status = status;
	if (p->io)
		stdio_finish(p->io, on_drained, p);
	else
		settle(p);
}

void shim_sandbox_died(struct shim *s, const char *why)
{
	cf_log_warn("sandbox died", CF_F_STR("sandbox", s->id), CF_F_STR("why", why));
	s->is_sandbox_dead = true;
	early_pull_pause(s->early);
	for (struct task *t = s->tasks; t; t = t->next)
		for (struct proc *p = t->procs; p; p = p->next)
			if (p->state != PROC_CREATING)
				proc_ended(p, EXIT_KILLED);
}

/* ---- removal ---- */

void proc_remove(struct proc *p)
{
	struct proc **at = &p->task->procs;

	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	answer_waiters(p);
	p->io = stdio_free(p->io);
	p->task = NULL;
	proc_unref(p);
}

void task_remove(struct task *t)
{
	struct task **at = &t->shim->tasks;

	while (*at != t)
		at = &(*at)->next;
	*at = t->next;
	t->shim->task_count--;
	while (t->procs)
		proc_remove(t->procs);
	free(t->id);
	free(t->bundle);
	free(t);
}
