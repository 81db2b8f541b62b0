/* SPDX-License-Identifier: Apache-2.0 */
#include "erofs/layer_hash.h"

#include "base/fd.h"
#include "base/work.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct job {
	struct layer_hash *h;
	struct cf_view slot;
};

struct layer_hash {
	struct cf_work *thread;   /* one, so that jobs run in their order */
	struct cf_hasher *hasher; /* the thread's as long as jobs wait */
	int done_fd;              /* eventfd: jobs that ended */
	struct job jobs[LAYER_SLOTS];
	unsigned next, waiting;
};

int layer_hash_new(enum cf_hash_alg alg, struct layer_hash **ret, struct cf_err *err)
{
	struct layer_hash *h = cf_zalloc(sizeof(*h));
	int r = 0;

	h->hasher = cf_hasher_new(alg);
	h->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (h->done_fd < 0)
		r = cf_fail_errno(err, errno, "layer: eventfd");
	if (r == 0)
		r = cf_work_new(1, LAYER_SLOTS, &h->thread, err);
	if (r < 0) {
		layer_hash_free(h);
		return r;
	}
	*ret = h;
	return 0;
}

struct layer_hash *layer_hash_free(struct layer_hash *h)
{
	if (!h)
		return NULL;
	if (h->thread)
		cf_work_free(h->thread);
	cf_hasher_free(h->hasher);
	cf_close(&h->done_fd);
	free(h);
	return NULL;
}

static void hash_slot(void *arg)
{
	const struct job *j = arg;
	const uint64_t one = 1;
	int done_fd = j->h->done_fd;

	cf_hasher_add(j->h->hasher, j->slot);
	/* From here on the job belongs to whoever waits. */
	(void)!write(done_fd, &one, sizeof(one));
}

int layer_hash_add(struct layer_hash *h, struct cf_view slot, struct cf_err *err)
{
	struct job *j = &h->jobs[h->next];
	int r;

	*j = (struct job){ h, slot };
	r = cf_work_add(h->thread, hash_slot, j, err);
	if (r < 0)
		return r;
	h->next = (h->next + 1) % LAYER_SLOTS;
	h->waiting++;
	return 0;
}

static void collect(struct layer_hash *h)
{
	uint64_t ended = 0;

	if (read(h->done_fd, &ended, sizeof(ended)) == sizeof(ended))
		h->waiting -= (unsigned)ended;
}

bool layer_hash_is_full(struct layer_hash *h)
{
	if (h->waiting == LAYER_SLOTS)
		collect(h);
	return h->waiting == LAYER_SLOTS;
}

int layer_hash_fd(const struct layer_hash *h)
{
	return h->done_fd;
}

void layer_hash_final(struct layer_hash *h, uint8_t *out)
{
	struct pollfd p = { .fd = h->done_fd, .events = POLLIN };

	while (h->waiting) {
		while (poll(&p, 1, -1) < 0 && errno == EINTR)
			continue;
		collect(h);
	}
	cf_hasher_final(h->hasher, out);
}
