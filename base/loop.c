/* SPDX-License-Identifier: Apache-2.0 */
#include "base/loop.h"

#include "base/fd.h"
#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct post {
	void (*fn)(void *arg);
	void *arg;
	struct post *next;
};

struct cf_loop {
	struct event_base *base;
	int wake_fd;
	struct event *wake;
	pthread_mutex_t lock; /* guards the posts; never held while one runs */
	struct post *first, **last;
};

enum event_kind {
	EV_KIND_FD,
	EV_KIND_TIMER,
	EV_KIND_SIGNAL,
	EV_KIND_CHILD,
};

struct cf_event {
	enum event_kind kind;
	struct cf_loop *loop;
	struct event *ev;
	int fd; /* watched, or a pidfd of ours */
	bool repeat;
	pid_t pid;
	void *arg;
	union {
		void (*on_fd)(int fd, unsigned what, void *arg);
		void (*on_timer)(void *arg);
		void (*on_signal)(int signo, void *arg);
		void (*on_child)(pid_t pid, int status, void *arg);
	} fn;
};

int64_t cf_now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

bool cf_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t deadline_ms)
{
	if (deadline_ms == INT64_MAX)
		return pthread_cond_wait(cond, lock) == 0;
	struct timespec t = { .tv_sec = deadline_ms / 1000,
		              .tv_nsec = deadline_ms % 1000 * 1000000 };

	return pthread_cond_clockwait(cond, lock, CLOCK_MONOTONIC, &t) != ETIMEDOUT;
}

int64_t cf_now_ms(void)
{
	return cf_now_us() / 1000;
}

static struct post *take_posts(struct cf_loop *loop)
{
	pthread_mutex_lock(&loop->lock);
	struct post *list = loop->first;
	loop->first = NULL;
	loop->last = &loop->first;
	pthread_mutex_unlock(&loop->lock);
	return list;
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
	struct cf_loop *loop = arg;
	uint64_t ignored;

	(void)what;
	if (read(fd, &ignored, sizeof(ignored)) < 0 && errno != EAGAIN)
		return;
	for (struct post *p = take_posts(loop), *next; p; p = next) {
		next = p->next;
		p->fn(p->arg);
		free(p);
	}
}

int cf_loop_new(struct cf_loop **ret, struct cf_err *err)
{
	struct cf_loop *loop = cf_zalloc(sizeof(*loop));

	loop->last = &loop->first;
	pthread_mutex_init(&loop->lock, NULL);
	loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	loop->base = event_base_new();
	if (loop->wake_fd < 0 || !loop->base) {
		int r = cf_fail_errno(err, errno, "event loop");
		cf_loop_free(loop);
		return r;
	}
	loop->wake = event_new(loop->base, loop->wake_fd, EV_READ | EV_PERSIST, on_wake, loop);
	event_add(loop->wake, NULL);
	*ret = loop;
	return 0;
}

struct cf_loop *cf_loop_free(struct cf_loop *loop)
{
	if (!loop)
		return NULL;
	for (struct post *p = take_posts(loop), *next; p; p = next) {
		next = p->next;
		free(p);
	}
	if (loop->wake)
		event_free(loop->wake);
	if (loop->base)
		event_base_free(loop->base);
	cf_close(&loop->wake_fd);
	pthread_mutex_destroy(&loop->lock);
	free(loop);
	return NULL;
}

void cf_loop_run(struct cf_loop *loop)
{
	event_base_loop(loop->base, EVLOOP_NO_EXIT_ON_EMPTY);
}

void cf_loop_run_once(struct cf_loop *loop, int timeout_ms)
{
	struct timeval tv = { timeout_ms / 1000, timeout_ms % 1000 * 1000 };

	if (timeout_ms > 0)
		event_base_loopexit(loop->base, &tv);
	event_base_loop(loop->base, timeout_ms == 0 ? EVLOOP_NONBLOCK : EVLOOP_ONCE);
}

void cf_loop_stop(struct cf_loop *loop)
{
	event_base_loopbreak(loop->base);
}

void *cf_loop_base(struct cf_loop *loop)
{
	return loop->base;
}

void cf_loop_post(struct cf_loop *loop, void (*fn)(void *arg), void *arg)
{
	struct post *p = cf_zalloc(sizeof(*p));
	uint64_t one = 1;

	p->fn = fn;
	p->arg = arg;
	pthread_mutex_lock(&loop->lock);
	*loop->last = p;
	loop->last = &p->next;
	/* Under the lock: the loop may be freed by what we post, but not before it took the post. */
	ssize_t n = write(loop->wake_fd, &one, sizeof(one));
	pthread_mutex_unlock(&loop->lock);
	(void)n;
}

static struct cf_event *event_make(struct cf_loop *loop, enum event_kind kind, void *arg)
{
	struct cf_event *ev = cf_zalloc(sizeof(*ev));

	ev->kind = kind;
	ev->loop = loop;
	ev->fd = -1;
	ev->arg = arg;
	return ev;
}

static void event_arm(struct cf_event *ev, int fd, short what, event_callback_fn fn)
{
	ev->ev = event_new(ev->loop->base, fd, what, fn, ev);
	if (!ev->ev || event_add(ev->ev, NULL) < 0)
		abort(); /* no memory, or an fd that epoll refuses: a bug of the caller */
}

static void on_fd(evutil_socket_t fd, short what, void *arg)
{
	struct cf_event *ev = arg;
	unsigned got =
		(what & EV_READ ? CF_LOOP_READ : 0u) | (what & EV_WRITE ? CF_LOOP_WRITE : 0u);

	ev->fn.on_fd(fd, got, ev->arg);
}

static short event_bits(unsigned what)
{
	return (short)((what & CF_LOOP_READ ? EV_READ : 0) | (what & CF_LOOP_WRITE ? EV_WRITE : 0) |
	               EV_PERSIST);
}

struct cf_event *cf_loop_fd(struct cf_loop *loop, int fd, unsigned what,
                            void (*fn)(int fd, unsigned what, void *arg), void *arg)
{
	struct cf_event *ev = event_make(loop, EV_KIND_FD, arg);

	ev->fn.on_fd = fn;
	ev->fd = fd;
	ev->ev = event_new(loop->base, fd, event_bits(what), on_fd, ev);
	if (!ev->ev)
		abort();
	if (what)
		event_add(ev->ev, NULL);
	return ev;
}

void cf_event_set(struct cf_event *ev, unsigned what)
{
	assert(ev->kind == EV_KIND_FD);
	event_del(ev->ev);
	event_assign(ev->ev, ev->loop->base, ev->fd, event_bits(what), on_fd, ev);
	if (what)
		event_add(ev->ev, NULL);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct cf_event *ev = arg;

	(void)fd;
	(void)what;
	ev->fn.on_timer(ev->arg);
}

struct cf_event *cf_loop_timer(struct cf_loop *loop, int64_t ms, bool repeat, void (*fn)(void *arg),
                               void *arg)
{
	struct cf_event *ev = event_make(loop, EV_KIND_TIMER, arg);

	ev->fn.on_timer = fn;
	ev->repeat = repeat;
	ev->ev = event_new(loop->base, -1, (short)(repeat ? EV_PERSIST : 0), on_timer, ev);
	if (!ev->ev)
		abort();
	cf_event_rearm(ev, ms);
	return ev;
}

void cf_event_rearm(struct cf_event *ev, int64_t ms)
{
	struct timeval tv = { ms / 1000, ms % 1000 * 1000 };

	assert(ev->kind == EV_KIND_TIMER);
	event_add(ev->ev, &tv);
}

static void on_signal(evutil_socket_t signo, short what, void *arg)
{
	struct cf_event *ev = arg;

	(void)what;
	ev->fn.on_signal(signo, ev->arg);
}

struct cf_event *cf_loop_signal(struct cf_loop *loop, int signo, void (*fn)(int signo, void *arg),
                                void *arg)
{
	struct cf_event *ev = event_make(loop, EV_KIND_SIGNAL, arg);

	ev->fn.on_signal = fn;
	event_arm(ev, signo, EV_SIGNAL | EV_PERSIST, on_signal);
	return ev;
}

static void on_child(evutil_socket_t fd, short what, void *arg)
{
	struct cf_event *ev = arg;
	int status = 0;

	(void)fd;
	(void)what;
	pid_t pid = waitpid(ev->pid, &status, WNOHANG);
	if (pid == 0)
		return;
	event_del(ev->ev);
	/* Somebody else reaped it (ECHILD): its status is gone, its end is not. */
	ev->fn.on_child(ev->pid, pid > 0 ? status : 0xff00, ev->arg);
}

struct cf_event *cf_loop_child(struct cf_loop *loop, pid_t pid,
                               void (*fn)(pid_t pid, int status, void *arg), void *arg)
{
	struct cf_event *ev = event_make(loop, EV_KIND_CHILD, arg);

	ev->fn.on_child = fn;
	ev->pid = pid;
	ev->fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (ev->fd < 0) /* reaped already: report it on the next turn */
		ev->fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
	else
		fcntl(ev->fd, F_SETFD, FD_CLOEXEC);
	event_arm(ev, ev->fd, EV_READ | EV_PERSIST, on_child);
	return ev;
}

struct cf_event *cf_event_free(struct cf_event *ev)
{
	if (!ev)
		return NULL;
	event_free(ev->ev);
	if (ev->kind == EV_KIND_CHILD)
		cf_close(&ev->fd);
	free(ev);
	return NULL;
}
