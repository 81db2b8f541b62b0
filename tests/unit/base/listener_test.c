/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"
#include "base/listener.h"
#include "base/str.h"
#include "tests/harness/test.h"

#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

struct seen {
	struct cf_loop *loop;
	int taken[64];
	size_t count, until;
};

static void on_conn(void *user, int fd_take)
{
	struct seen *s = user;

	s->taken[s->count++] = fd_take;
	if (s->count == s->until)
		cf_loop_stop(s->loop);
}

static void on_peer_closed(int fd, unsigned what, void *arg)
{
	char byte;

	(void)what;
	EXPECT(read(fd, &byte, 1) == 0);
	cf_loop_stop(arg);
}

struct server {
	struct cf_listener *list;
	struct seen seen;
	char *dir, *path;
};

static void server_open(struct server *s, size_t until)
{
	struct cf_err err;

	s->dir = cf_test_tmpdir();
	s->path = cf_asprintf("%s/s.sock", s->dir);
	s->seen.until = until;
	EXPECT_OK(cf_loop_new(&s->seen.loop, &err), &err);
	int fd = cf_listen_unix(s->path, &err);
	EXPECT(fd >= 0);
	EXPECT_OK(cf_listener_add(&s->list, s->seen.loop, fd, s->path, on_conn, &s->seen, &err),
	          &err);
}

static void server_close(struct server *s)
{
	for (size_t i = 0; i < s->seen.count; i++)
		close(s->seen.taken[i]);
	cf_listeners_close(&s->list);
	EXPECT(access(s->path, F_OK) < 0);
	cf_loop_free(s->seen.loop);
	free(s->path);
	free(s->dir);
}

CF_TEST(every_connection_of_a_burst_is_taken)
{
	struct server s = { 0 };
	struct cf_err err;
	int clients[40];

	server_open(&s, CF_ARRAY_LEN(clients));
	for (size_t i = 0; i < CF_ARRAY_LEN(clients); i++)
		EXPECT((clients[i] = cf_connect_unix(s.path, &err)) >= 0);
	cf_loop_run(s.seen.loop);
	EXPECT(s.seen.count == CF_ARRAY_LEN(clients));
	for (size_t i = 0; i < CF_ARRAY_LEN(clients); i++)
		close(clients[i]);
	server_close(&s);
}

CF_TEST(without_a_descriptor_left_a_peer_is_closed_and_the_loop_does_not_spin)
{
	struct server s = { 0 };
	struct cf_err err;
	struct rlimit old, full;

	server_open(&s, 1);
	int client = cf_connect_unix(s.path, &err);
	struct cf_event *ev =
		cf_loop_fd(s.seen.loop, client, CF_LOOP_READ, on_peer_closed, s.seen.loop);

	EXPECT(getrlimit(RLIMIT_NOFILE, &old) == 0);
	int highest = dup(client);
	close(highest);
	full = (struct rlimit){ (rlim_t)highest, old.rlim_max };
	EXPECT(setrlimit(RLIMIT_NOFILE, &full) == 0);
	cf_loop_run(s.seen.loop);
	EXPECT(setrlimit(RLIMIT_NOFILE, &old) == 0);
	EXPECT(s.seen.count == 0);
	cf_event_free(ev);
	close(client);

	client = cf_connect_unix(s.path, &err);
	cf_loop_run(s.seen.loop);
	EXPECT(s.seen.count == 1);
	close(client);
	server_close(&s);
}
