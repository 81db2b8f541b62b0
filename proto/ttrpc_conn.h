/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * One ttrpc connection on a loop: what server and client have in common. Private to proto/ttrpc_*.c.
 *
 * The loop's thread reads, cuts frames, writes and closes. Other threads only append whole frames
 * to the send queue, under the connection's lock, and wake the loop through an eventfd. The lock is
 * a leaf: nothing blocks and nothing is called back while it is held, except waiting for room.
 */
#include "base/loop.h"
#include "proto/ttrpc_frame.h"

#include <pthread.h>
#include <stdatomic.h>

#define TTRPC_OUT_PAUSE (8u << 20)  /* bytes waiting to be sent: stop reading requests */
#define TTRPC_OUT_ROOM  (1u << 20)  /* … : a stream's sender waits */
#define TTRPC_OUT_MAX   (64u << 20) /* … : further frames are refused */

struct ttrpc_conn;

struct ttrpc_conn_ops {
	/* Loop thread: one frame; borrowed. May close the connection. */
	void (*frame)(struct ttrpc_conn *c, const struct ttrpc_frame *f);
	/* Loop thread, after each wake-up: ended calls can be tidied up. */
	void (*woken)(struct ttrpc_conn *c);
	/* Loop thread: may more frames be read? */
	bool (*wants)(struct ttrpc_conn *c);
	/* Loop thread, once: the peer is gone or broke the protocol. */
	void (*lost)(struct ttrpc_conn *c, const struct cf_err *why);
	/* Loop thread: a virtio-serial mark came; .reader holds what follows. Skipped when NULL. */
	void (*mark)(struct ttrpc_conn *c);
	/* Any thread: the last reference is gone. */
	void (*destroy)(struct ttrpc_conn *c);
};

struct ttrpc_conn {
	const struct ttrpc_conn_ops *ops;
	struct cf_loop *loop;
	bool is_port; /* a virtio-serial port or the like: no socket, watched through .edge_fd */
	int fd, wake_fd;
	int edge_fd; /* an epoll of its own that watches .fd by edges; -1 for sockets */
	struct cf_event *io, *wake;
	struct cf_event *stale; /* ports: an unfinished frame ends in a mark */
	unsigned io_mask;
	struct ttrpc_reader reader;
	struct cf_buf writing; /* loop thread: being sent from .written on */
	size_t written;
	_Atomic pthread_t loop_thread;
	_Atomic bool is_dead; /* closed; set on the loop thread, under the lock */
	_Atomic unsigned refs;

	pthread_mutex_t lock;
	pthread_cond_t room; /* the send queue shrank, the connection died, a call was cancelled */
	struct cf_buf pending; /* frames waiting behind .writing */
	size_t unsent;         /* bytes of .writing not sent yet, as the other threads see it */
	bool is_woken;         /* the eventfd was written and not read yet */
};

/*
 * Takes @fd, also on failure. Starts with one reference. Call on the loop's thread. A port's fd is
 * non-blocking and may read as closed while nobody has the other end open.
 */
cf_must_use int ttrpc_conn_init(struct ttrpc_conn *c, const struct ttrpc_conn_ops *ops,
                                struct cf_loop *loop, int fd_take, bool is_port, size_t payload_max,
                                struct cf_err *err);
/*
 * Watches @fd by edges through an epoll of its own, whose fd (≥ 0) is readable after a change: a
 * port nobody has open on the other side is "hung up" all the time, which would spin a loop that
 * looks at levels.
 */
cf_must_use int ttrpc_edge_new(int fd, struct cf_err *err);
void ttrpc_edge_clear(int edge_fd);
/* Begins to read and write; separate from init, so that an owner can run on another thread first. */
void ttrpc_conn_start(struct ttrpc_conn *c);
/* Loop thread: ends I/O for good; idempotent. Does not call ops->lost. Keeps the references. */
void ttrpc_conn_close(struct ttrpc_conn *c);
/* Loop thread: closes and calls ops->lost once. */
void ttrpc_conn_lose(struct ttrpc_conn *c, const struct cf_err *why);
void ttrpc_conn_ref(struct ttrpc_conn *c);
void ttrpc_conn_unref(struct ttrpc_conn *c);
/* For ops->destroy. */
void ttrpc_conn_fini(struct ttrpc_conn *c);

/* With .lock held: wakes the loop, so that .pending gets sent and ops->woken runs. */
void ttrpc_conn_wake_locked(struct ttrpc_conn *c);
/* With .lock held: bytes that wait. */
size_t ttrpc_conn_unsent_locked(const struct ttrpc_conn *c);
bool ttrpc_conn_on_loop(const struct ttrpc_conn *c);
/* Loop thread: look again at ops->wants and what is buffered. */
void ttrpc_conn_resume(struct ttrpc_conn *c);
