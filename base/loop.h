/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The event loop: the door to libevent's core. One thread runs it and owns all of a daemon's state;
 * cf_loop_post() is the only call that other threads may make.
 */
#include "base/err.h"

#include <pthread.h>
#include <stdint.h>
#include <sys/types.h>

struct cf_loop;
struct cf_event; /* a watch on an fd, a timer, a signal or a process */

enum {
	CF_LOOP_READ = 1u << 0,
	CF_LOOP_WRITE = 1u << 1,
};

cf_must_use int cf_loop_new(struct cf_loop **ret, struct cf_err *err);
struct cf_loop *cf_loop_free(struct cf_loop *loop);          /* events must be freed before */
void cf_loop_run(struct cf_loop *loop);                      /* until cf_loop_stop() */
void cf_loop_run_once(struct cf_loop *loop, int timeout_ms); /* -1 waits for ever */
void cf_loop_stop(struct cf_loop *loop);                     /* from the loop's thread */
/* The libevent base, for base/httpd.c alone. */
void *cf_loop_base(struct cf_loop *loop);

/* Runs @fn(@arg) on the loop's thread, in the order of posting. Any thread; wakes the loop. */
void cf_loop_post(struct cf_loop *loop, void (*fn)(void *arg), void *arg);

/* Level-triggered, until freed. @fd is borrowed. */
struct cf_event *cf_loop_fd(struct cf_loop *loop, int fd, unsigned what,
                            void (*fn)(int fd, unsigned what, void *arg), void *arg);
void cf_event_set(struct cf_event *ev, unsigned what); /* 0 pauses */
/* Once after @ms, or each @ms when @repeat. */
struct cf_event *cf_loop_timer(struct cf_loop *loop, int64_t ms, bool repeat, void (*fn)(void *arg),
                               void *arg);
void cf_event_rearm(struct cf_event *ev, int64_t ms); /* timers */
struct cf_event *cf_loop_signal(struct cf_loop *loop, int signo, void (*fn)(int signo, void *arg),
                                void *arg);
/* When child @pid ended: @status as waitpid gives it. Reaps it. Fires once. */
struct cf_event *cf_loop_child(struct cf_loop *loop, pid_t pid,
                               void (*fn)(pid_t pid, int status, void *arg), void *arg);
struct cf_event *cf_event_free(struct cf_event *ev); /* also from its own callback; returns NULL */

int64_t cf_now_ms(void); /* CLOCK_MONOTONIC */
int64_t cf_now_us(void);
/* pthread_cond_wait() until @deadline_ms of cf_now_ms() (INT64_MAX: for ever); false: that passed. */
bool cf_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t deadline_ms);
