/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/shim/shim.h"

#include "tests/harness/test.h"

static const struct {
	enum proc_state from;
	enum proc_event ev;
	int to;
} steps[] = {
	{ PROC_CREATING, PROC_EV_CREATED, PROC_CREATED },
	{ PROC_CREATED, PROC_EV_START, PROC_STARTING },
	{ PROC_STARTING, PROC_EV_STARTED, PROC_RUNNING },
	{ PROC_STARTING, PROC_EV_START_FAILED, PROC_CREATED },
	{ PROC_RUNNING, PROC_EV_PAUSED, PROC_PAUSED },
	{ PROC_PAUSED, PROC_EV_RESUMED, PROC_RUNNING },
	{ PROC_RUNNING, PROC_EV_EXITED, PROC_STOPPED },
	{ PROC_CREATED, PROC_EV_EXITED, PROC_STOPPED },
};

CF_TEST(task_states_move_only_as_the_table_says)
{
	unsigned allowed = 0;

	for (size_t i = 0; i < CF_ARRAY_LEN(steps); i++)
		EXPECT_INT(proc_next_state(steps[i].from, steps[i].ev), steps[i].to);
	for (int s = 0; s < PROC_STATES; s++)
		for (int e = 0; e < PROC_EVENTS; e++)
			allowed += proc_next_state((enum proc_state)s, (enum proc_event)e) >= 0;
	/* the six above that are no exit, and an exit from each state but STOPPED */
	EXPECT_INT(allowed, 6 + 5);
	for (int e = 0; e < PROC_EVENTS; e++)
		EXPECT(proc_next_state(PROC_STOPPED, (enum proc_event)e) < 0);
}

CF_TEST(task_table_finds_init_and_execs)
{
	struct shim s = { .ns = NULL };
	struct task *t = task_add(&s, "c1", "/b");
	struct proc *e = proc_add(t, "e1");

	EXPECT(shim_find_task(&s, "c1") == t && !shim_find_task(&s, "c2"));
	EXPECT(task_find_proc(t, "") == task_init(t) && task_find_proc(t, "e1") == e);
	EXPECT_STR(task_init(t)->agent_id, "c1");
	EXPECT_STR(e->agent_id, "e1");
	proc_ref(e);
	task_remove(t);
	EXPECT(!s.tasks && !s.task_count && !e->task);
	proc_unref(e);
}
