/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's end of a virtio-serial port; PROTOCOL-vserial.md. */
#include "base/fd.h"
#include "proto/ttrpc_session.h"
#include "proto/vserial.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* A virtio-serial port: either it waits for the host's mark itself, or a session has it. */
struct port {
	struct ttrpc_server *srv;
	int fd;
	int edge_fd;         /* while waiting */
	struct cf_event *ev; /* while waiting */
	struct vserial_sync sync;
	struct sconn *session;
	struct port *next;
};

/* A session of its own for each mark: what the one before left behind cannot reach it. */
static int port_serve(struct port *p, struct cf_view rest, struct cf_err *err)
{
	cf_cleanup(cf_closep) int fd = fcntl(p->fd, F_DUPFD_CLOEXEC, 3);

	if (fd < 0)
		return cf_fail_errno(err, errno, "virtio-serial");
	struct sconn *conn = cf_zalloc(sizeof(*conn));

	conn->peer = RPC_PEER_UNKNOWN;
	conn->payload_max = p->srv->opts.payload_max;
	conn->port = p;
	int r = ttrpc_conn_init(&conn->conn, &ttrpc_session_ops, p->srv->opts.loop, cf_take_fd(&fd),
	                        true, conn->payload_max, err);

	if (r < 0) {
		free(conn);
		return r;
	}
	conn->conn.reader.has_marks = true;
	ttrpc_reader_put(&conn->conn.reader, rest);
	cf_buf_add_str(&conn->conn.pending, VSERIAL_MARK);
	p->session = conn;
	ttrpc_session_add(p->srv, conn);
	ttrpc_conn_resume(&conn->conn);
	return 0;
}

static void port_rest(struct port *p)
{
	p->ev = cf_event_free(p->ev);
	cf_close(&p->edge_fd);
}

/* One read while waiting. 1: a session began or more may come; 0: nothing for now. */
static int port_read_some(struct port *p, struct cf_err *err)
{
	uint8_t buf[4096];
	bool is_synced;
	ssize_t n = read(p->fd, buf, sizeof(buf));

	if (n < 0 && errno == EINTR)
		return 1;
	/* 0 or EIO: nobody has the host's end open. */
	if (n == 0 || (n < 0 && (errno == EAGAIN || errno == EIO)))
		return 0;
	if (n < 0)
		return cf_fail_errno(err, errno, "virtio-serial");
	struct cf_view in = cf_view(buf, (size_t)n);
	size_t used = vserial_sync_feed(&p->sync, in, &is_synced);

	if (!is_synced)
		return 1;
	port_rest(p);
	int r = port_serve(p, cf_view_sub(in, used, in.size), err);

	return r < 0 ? r : 1;
}

static int port_read(struct port *p, struct cf_err *err)
{
	int r = 1;

	while (r == 1 && !p->session)
		r = port_read_some(p, err);
	return r;
}

static void on_port(int fd, unsigned what, void *arg)
{
	struct port *p = arg;
	struct cf_err err;

	(void)what;
	ttrpc_edge_clear(fd);
	/* A port that is gone stays silent: its owner ends with its machine. */
	if (port_read(p, &err) < 0)
		port_rest(p);
}

void ttrpc_port_wait(struct port *p)
{
	struct cf_err err;

	p->session = NULL;
	p->sync = (struct vserial_sync){ 0 };
	p->edge_fd = ttrpc_edge_new(p->fd, &err);
	if (p->edge_fd >= 0)
		p->ev = cf_loop_fd(p->srv->opts.loop, p->edge_fd, CF_LOOP_READ, on_port, p);
}

/* The host began anew within a session: its calls are nobody's any more. */
void ttrpc_port_on_mark(struct ttrpc_conn *c)
{
	struct sconn *conn = sconn_of(c);
	struct port *p = conn->port;
	struct cf_err err;

	if (!p)
		return;
	struct cf_buf rest = { .max = 2 * TTRPC_PAYLOAD_MAX + (1u << 20) };

	cf_buf_add_view(&rest, ttrpc_reader_pending(&c->reader));
	ttrpc_conn_close(c);
	ttrpc_session_detach(conn);
	if (port_serve(p, cf_buf_view(&rest), &err) < 0)
		ttrpc_port_wait(p);
	cf_buf_fini(&rest);
}

int ttrpc_server_add_port(struct ttrpc_server *srv, int fd_take, struct cf_err *err)
{
	cf_cleanup(cf_closep) int fd = fd_take;
	int e = cf_set_nonblock(fd, true);

	if (e < 0)
		return cf_fail_errno(err, -e, "virtio-serial");
	struct port *p = cf_zalloc(sizeof(*p));

	*p = (struct port){ .srv = srv, .fd = cf_take_fd(&fd), .edge_fd = -1, .next = srv->ports };
	srv->ports = p;
	ttrpc_port_wait(p);
	return 0;
}

void ttrpc_port_close_all(struct ttrpc_server *srv)
{
	while (srv->ports) {
		struct port *p = srv->ports;

		srv->ports = p->next;
		port_rest(p);
		cf_close(&p->fd);
		free(p);
	}
}
