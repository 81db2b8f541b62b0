/* SPDX-License-Identifier: Apache-2.0 */
#include "erofs/layer_ring.h"

#include "base/fd.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

int layer_ring_open(struct layer_ring *ring, bool read_only, int *ret_fd, struct cf_err *err)
{
	int fd = memfd_create("layer-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int seals = F_SEAL_SHRINK | F_SEAL_GROW | (read_only ? F_SEAL_FUTURE_WRITE : 0);
	void *p = MAP_FAILED;

	if (fd >= 0 && ftruncate(fd, (off_t)LAYER_RING_BYTES) == 0)
		p = mmap(NULL, LAYER_RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED || fcntl(fd, F_ADD_SEALS, seals | F_SEAL_SEAL) < 0) {
		int r = cf_fail_errno(err, errno, "layer: ring");

		if (p != MAP_FAILED)
			munmap(p, LAYER_RING_BYTES);
		cf_close(&fd);
		return r;
	}
	*ring = (struct layer_ring){ .slots = p, .free = LAYER_SLOTS };
	*ret_fd = fd;
	return 0;
}

void layer_ring_close(struct layer_ring *ring)
{
	if (ring->slots)
		munmap(ring->slots, LAYER_RING_BYTES);
	ring->slots = NULL;
}

bool layer_ring_fill(struct layer_ring *ring, struct cf_view *in)
{
	size_t n = CF_MIN(in->size, LAYER_SLOT_BYTES - ring->fill);

	if (n)
		memcpy(layer_ring_slot(ring) + ring->fill, in->data, n);
	ring->fill += n;
	*in = cf_view_sub(*in, n, in->size);
	return ring->fill == LAYER_SLOT_BYTES;
}
