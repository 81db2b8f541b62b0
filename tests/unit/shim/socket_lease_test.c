/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/shim/socket_lease.h"

#include "base/fd.h"
#include "base/str.h"
#include "tests/harness/test.h"

#include <unistd.h>

#define NAME "0123abcd"

struct place {
	char *dir, *leases, *socket, *lease;
	struct cf_err err;
};

static struct place place_make(void)
{
	struct place p = { .dir = cf_test_tmpdir() };

	p.leases = cf_asprintf("%s/leases", p.dir);
	p.socket = cf_asprintf("%s/" NAME, p.dir);
	p.lease = cf_asprintf("%s/" NAME, p.leases);
	return p;
}

static void place_fini(struct place *p)
{
	free(p->dir);
	free(p->leases);
	free(p->socket);
	free(p->lease);
}

static bool exists(const char *path)
{
	return access(path, F_OK) == 0;
}

CF_TEST(socket_lease_keeps_what_somebody_holds_and_removes_what_nobody_does)
{
	struct place p = place_make();
	int lease = socket_lease_take(p.leases, p.socket, &p.err);
	int listener = cf_listen_unix(p.socket, &p.err);

	EXPECT(lease >= 0 && listener >= 0);
	close(listener);
	socket_lease_sweep(p.leases);
	EXPECT(exists(p.socket) && exists(p.lease));
	EXPECT(socket_lease_take(p.leases, p.socket, &p.err) == -CF_ALREADY_EXISTS);
	close(lease);
	socket_lease_sweep(p.leases);
	EXPECT(!exists(p.socket) && !exists(p.lease));
	lease = socket_lease_take(p.leases, p.socket, &p.err);
	EXPECT(lease >= 0 && exists(p.lease));
	socket_lease_drop(p.leases, p.socket);
	EXPECT(!exists(p.lease));
	close(lease);
	place_fini(&p);
}

CF_TEST(socket_lease_leaves_a_socket_that_answers)
{
	struct place p = place_make();
	int lease = socket_lease_take(p.leases, p.socket, &p.err);
	int listener = cf_listen_unix(p.socket, &p.err);

	EXPECT(lease >= 0 && listener >= 0);
	close(lease);
	socket_lease_sweep(p.leases);
	EXPECT(exists(p.socket));
	close(listener);
	place_fini(&p);
}

CF_TEST(socket_lease_touches_only_a_socket_of_its_own_name)
{
	struct place p = place_make();
	cf_cleanup(cf_freep) char *other = cf_asprintf("%s/other", p.dir);
	int listener = cf_listen_unix(other, &p.err);
	int r = cf_mkdir_p(p.leases, 0700, &p.err);

	EXPECT(listener >= 0 && r == 0);
	close(listener);
	EXPECT_OK(cf_write_file_atomic(p.lease, cf_view_str(other), 0600, &p.err), &p.err);
	socket_lease_sweep(p.leases);
	EXPECT(exists(other) && !exists(p.lease));
	/* a file is no socket, a lease without a word is nobody's */
	EXPECT_OK(cf_write_file_atomic(p.socket, cf_view_str("x"), 0600, &p.err), &p.err);
	EXPECT_OK(cf_write_file_atomic(p.lease, cf_view_str(p.socket), 0600, &p.err), &p.err);
	socket_lease_sweep(p.leases);
	EXPECT(exists(p.socket) && !exists(p.lease));
	EXPECT_OK(cf_write_file_atomic(p.lease, cf_view_str(""), 0600, &p.err), &p.err);
	socket_lease_sweep(p.leases);
	EXPECT(!exists(p.lease));
	socket_lease_sweep("/nowhere");
	EXPECT(socket_lease_take(p.leases, "name", &p.err) == -CF_INVALID_ARGUMENT);
	EXPECT(socket_lease_take(p.leases, "/a/", &p.err) == -CF_INVALID_ARGUMENT);
	place_fini(&p);
}
