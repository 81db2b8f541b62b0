/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/guest/guest_reaper.h"

#include "base/bytes.h"

#include <assert.h>
#include <signal.h>
#include <sys/wait.h>

struct watch {
	pid_t pid;
	guest_exit_fn *fn;
	void *arg;
};

struct kept {
	pid_t pid;
	int status;
};

struct guest_reaper {
	struct cf_event *ev;
	struct watch *watches;
	size_t watch_count, watch_cap;
	struct kept *kept;
	size_t kept_count, kept_cap;
	unsigned holds;
};

int guest_exit_status(int wait_status)
{
	if (WIFSIGNALED(wait_status))
		return 128 + WTERMSIG(wait_status);
	return WEXITSTATUS(wait_status);
}

static bool take_watch(struct guest_reaper *r, pid_t pid, struct watch *ret)
{
	for (size_t i = 0; i < r->watch_count; i++) {
		if (r->watches[i].pid != pid)
			continue;
		*ret = r->watches[i];
		r->watches[i] = r->watches[--r->watch_count];
		return true;
	}
	return false;
}

static void keep(struct guest_reaper *r, pid_t pid, int status)
{
	if (!r->holds)
		return;
	if (r->kept_count == GUEST_REAPER_KEPT_MAX)
		memmove(r->kept, r->kept + 1, --r->kept_count * sizeof(*r->kept));
	cf_grow(&r->kept, &r->kept_cap, r->kept_count + 1);
	r->kept[r->kept_count++] = (struct kept){ .pid = pid, .status = status };
}

static void on_sigchld(int signo, void *arg)
{
	struct guest_reaper *r = arg;
	struct watch w;
	int status;
	pid_t pid;

	(void)signo;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		status = guest_exit_status(status);
		if (take_watch(r, pid, &w))
			w.fn(pid, status, w.arg);
		else
			keep(r, pid, status);
	}
}

int guest_reaper_new(struct cf_loop *loop, struct guest_reaper **ret, struct cf_err *err)
{
	struct guest_reaper *r = cf_zalloc(sizeof(*r));

	r->ev = cf_loop_signal(loop, SIGCHLD, on_sigchld, r);
	if (!r->ev) {
		free(r);
		return cf_fail(err, CF_INTERNAL, "SIGCHLD cannot be watched");
	}
	*ret = r;
	return 0;
}

struct guest_reaper *guest_reaper_free(struct guest_reaper *r)
{
	if (!r)
		return NULL;
	cf_event_free(r->ev);
	free(r->watches);
	free(r->kept);
	free(r);
	return NULL;
}

int guest_reaper_watch(struct guest_reaper *r, pid_t pid, guest_exit_fn *fn, void *arg,
                       int *ret_status)
{
	for (size_t i = 0; i < r->kept_count; i++) {
		if (r->kept[i].pid != pid)
			continue;
		*ret_status = r->kept[i].status;
		r->kept[i] = r->kept[--r->kept_count];
		return GUEST_REAPER_ENDED;
	}
	cf_grow(&r->watches, &r->watch_cap, r->watch_count + 1);
	r->watches[r->watch_count++] = (struct watch){ .pid = pid, .fn = fn, .arg = arg };
	return 0;
}

void guest_reaper_forget(struct guest_reaper *r, pid_t pid)
{
	struct watch w;

	(void)take_watch(r, pid, &w);
}

void guest_reaper_hold(struct guest_reaper *r)
{
	r->holds++;
}

void guest_reaper_release(struct guest_reaper *r)
{
	assert(r->holds > 0);
	if (--r->holds == 0)
		r->kept_count = 0;
}
