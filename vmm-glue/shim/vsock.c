/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/shim/vsock.h"

#include "base/crypto.h"
#include "base/fd.h"
#include "base/loop.h"
#include "proto/ttrpc.h"

#include <errno.h>
#include <linux/vhost.h>
#include <sys/ioctl.h>

#define DEVICE        "/dev/vhost-vsock"
#define DIAL_SLICE_MS 200 /* between looks at whether the machine still lives */

static int claim_device(uint64_t cid, void *arg)
{
	return ioctl(*(int *)arg, VHOST_VSOCK_SET_GUEST_CID, &cid) < 0 ? errno : 0;
}

int vsock_pick_cid(int (*claim)(uint64_t cid, void *arg), void *arg, uint32_t *ret,
                   struct cf_err *err)
{
	for (unsigned i = 0; i < VSOCK_TRIES_MAX; i++) {
		uint32_t cid;
		int e;

		cf_random((uint8_t *)&cid, sizeof(cid));
		cid = VSOCK_CID_MIN + cid % (UINT32_MAX - VSOCK_CID_MIN);
		e = claim(cid, arg);
		if (e == EADDRINUSE)
			continue;
		if (e)
			return cf_fail_errno(err, e, "vsock context id");
		*ret = cid;
		return 0;
	}
	return cf_fail(err, CF_RESOURCE_EXHAUSTED, "no free vsock context id in %u tries",
	               VSOCK_TRIES_MAX);
}

int vsock_claim_cid(uint32_t *ret, struct cf_err *err)
{
	cf_cleanup(cf_closep) int fd = open(DEVICE, O_RDWR | O_CLOEXEC);
	int r;

	if (fd < 0)
		return cf_fail_errno(err, errno,
		                     DEVICE " (qemu.transport = \"virtio-serial\" needs none)");
	r = vsock_pick_cid(claim_device, &fd, ret, err);
	return r < 0 ? r : cf_take_fd(&fd);
}

int vsock_dial(struct vmm *v, int64_t deadline_ms, struct cf_err *err)
{
	do {
		int fd = ttrpc_dial_fd(v->agent, DIAL_SLICE_MS, err);

		if (fd >= 0)
			return fd;
		if (!vmm_is_alive(v))
			return cf_fail(err, CF_UNAVAILABLE, "the machine ended");
	} while (cf_now_ms() < deadline_ms);
	return cf_fail(err, CF_DEADLINE_EXCEEDED, "the guest does not listen on vsock");
}
