/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The server's insides, shared by ttrpc_server.c and ttrpc_port.c alone. */
#include "proto/ttrpc.h"
#include "proto/ttrpc_conn.h"

struct port;
struct cf_listener;

/*
 * Who owns a call: the handler until it answers, then the loop, which frees it in on_woken(). When
 * its connection goes first ("detached"), whoever answers frees it.
 */
struct scall {
	struct rpc_call head; /* first: handlers see only this */
	struct sconn *conn;   /* a reference */
	const struct rpc_method *method;
	void *user;
	ProtobufCMessage *req;
	struct ttrpc_meta *meta; /* owned texts */
	size_t meta_count;
	uint32_t id;
	int64_t started_us;
	struct cf_event *deadline;  /* loop thread */
	struct scall *next, **link; /* of conn->calls; loop thread */
	_Atomic bool is_expired;

	/* under the connection's lock */
	bool is_answered;
	enum cf_code code;
	struct scall *next_ended;
};

struct sconn {
	struct ttrpc_conn conn;   /* first */
	struct ttrpc_server *srv; /* loop thread; NULL once detached */
	struct sconn *next, **link;
	struct port *port; /* NULL over sockets */
	size_t payload_max;
	struct rpc_peer peer;
	uint32_t last_id;
	struct scall *calls;
	size_t call_count;

	/* under the connection's lock */
	struct scall *ended;
	bool is_detached;
};

struct ttrpc_server {
	struct ttrpc_server_opts opts;
	struct cf_listener *listeners;
	struct port *ports;
	struct sconn *conns;
	size_t conn_count;
	size_t call_count;
	bool is_draining;
};

extern const struct ttrpc_conn_ops ttrpc_session_ops;

static inline struct sconn *sconn_of(struct ttrpc_conn *c)
{
	return (struct sconn *)c;
}

/* Loop thread: a connection that was initialised joins its server and starts. */
void ttrpc_session_add(struct ttrpc_server *srv, struct sconn *conn);
/* Loop thread: a closed connection leaves its server; calls still running keep its memory. */
void ttrpc_session_detach(struct sconn *conn);

/* Ports: wait for the host's mark; serve the session a mark began; close. Loop thread. */
void ttrpc_port_wait(struct port *p);
void ttrpc_port_on_mark(struct ttrpc_conn *c);
void ttrpc_port_close_all(struct ttrpc_server *srv);
