/* SPDX-License-Identifier: Apache-2.0 */
#include "base/loop.h"
#include "base/work.h"
#include "tests/harness/test.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

struct seen {
	struct cf_loop *loop;
	int count, status;
	pthread_t thread;
};

static void on_child(pid_t pid, int status, void *arg)
{
	struct seen *s = arg;

	(void)pid;
	s->status = status;
	cf_loop_stop(s->loop);
}

CF_TEST(loop_reports_the_end_of_a_child_once)
{
	struct seen s = { 0 };
	struct cf_err err;

	EXPECT_OK(cf_loop_new(&s.loop, &err), &err);
	pid_t pid = fork();
	if (pid == 0)
		_exit(7);
	struct cf_event *ev = cf_loop_child(s.loop, pid, on_child, &s);
	cf_loop_run(s.loop);
	EXPECT(WIFEXITED(s.status) && WEXITSTATUS(s.status) == 7);
	cf_event_free(ev);
	cf_loop_free(s.loop);
}

static void done(void *arg)
{
	struct seen *s = arg;

	EXPECT(pthread_equal(s->thread, pthread_self()));
	if (++s->count == 100)
		cf_loop_stop(s->loop);
}

static void job(void *arg)
{
	struct seen *s = arg;

	cf_loop_post(s->loop, done, s);
}

CF_TEST(work_posts_results_back_to_the_loop)
{
	struct seen s = { .thread = pthread_self() };
	struct cf_work *work = NULL;
	struct cf_err err;

	EXPECT_OK(cf_loop_new(&s.loop, &err), &err);
	EXPECT_OK(cf_work_new(3, 100, &work, &err), &err);
	for (int i = 0; i < 100; i++)
		EXPECT_OK(cf_work_add(work, job, &s, &err), &err);
	cf_loop_run(s.loop);
	EXPECT_INT(s.count, 100);
	cf_work_free(work);
	cf_loop_free(s.loop);
}

static void wait_for(void *arg)
{
	pthread_mutex_lock(arg);
	pthread_mutex_unlock(arg);
}

CF_TEST(work_refuses_what_its_queue_cannot_hold)
{
	pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
	struct cf_work *work = NULL;
	struct cf_err err;
	int r = 0;

	pthread_mutex_lock(&gate);
	EXPECT_OK(cf_work_new(1, 2, &work, &err), &err);
	for (int i = 0; i < 4 && r == 0; i++) /* one runs, two wait */
		r = cf_work_add(work, wait_for, &gate, &err);
	EXPECT_INT(r, -CF_RESOURCE_EXHAUSTED);
	pthread_mutex_unlock(&gate);
	cf_work_free(work);
}

static void tick(void *arg)
{
	struct seen *s = arg;

	if (++s->count == 3)
		cf_loop_stop(s->loop);
}

CF_TEST(loop_timers_repeat_and_signals_arrive)
{
	struct seen s = { 0 };
	struct cf_err err;

	EXPECT_OK(cf_loop_new(&s.loop, &err), &err);
	struct cf_event *ev = cf_loop_timer(s.loop, 1, true, tick, &s);
	cf_loop_run(s.loop);
	EXPECT_INT(s.count, 3);
	cf_event_free(ev);
	cf_loop_free(s.loop);
}
