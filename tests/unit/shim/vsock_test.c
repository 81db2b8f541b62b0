/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/shim/vsock.h"

#include "tests/harness/test.h"

#include <errno.h>

struct claims {
	unsigned busy; /* so many are taken */
	int fatal;     /* or this errno */
	unsigned seen;
	uint64_t last;
};

static int claim(uint64_t cid, void *arg)
{
	struct claims *c = arg;

	c->seen++;
	c->last = cid;
	if (c->fatal)
		return c->fatal;
	return c->seen <= c->busy ? EADDRINUSE : 0;
}

CF_TEST(vsock_takes_the_first_free_context_id)
{
	struct claims c = { .busy = 3 };
	struct cf_err err;
	uint32_t cid = 0;

	EXPECT_OK(vsock_pick_cid(claim, &c, &cid, &err), &err);
	EXPECT_INT(c.seen, 4);
	EXPECT(cid == c.last && cid >= VSOCK_CID_MIN && cid < UINT32_MAX);
}

CF_TEST(vsock_gives_up_and_says_why)
{
	struct claims full = { .busy = 1000 }, broken = { .fatal = EPERM };
	struct cf_err err;
	uint32_t cid = 7;

	EXPECT_FAILS(vsock_pick_cid(claim, &full, &cid, &err), CF_RESOURCE_EXHAUSTED);
	EXPECT_INT(full.seen, VSOCK_TRIES_MAX);
	EXPECT_FAILS(vsock_pick_cid(claim, &broken, &cid, &err), CF_PERMISSION_DENIED);
	EXPECT_INT(broken.seen, 1);
	EXPECT_INT(cid, 7);
}
