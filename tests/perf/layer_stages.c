/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For layer.sh: one stage of the layer pipeline alone, in one thread, over a file that is in the
 * page cache. Prints seconds of wall time.
 *
 *   layer_stages inflate FILE.gz     inflating, the output thrown away: the limit for one gzip layer
 *   layer_stages dummy FILE.gz       the same through two further processes and the copies between
 *                                    them, with nothing done to the bytes
 */
#include "erofs/inflate.h"
#include "erofs/layer_ipc.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int die(const char *what)
{
	perror(what);
	exit(1);
}

/* Inflates @fd slot by slot; @full is called for each. */
static uint64_t inflate_file(int fd, uint8_t *ring, void (*full)(void *, unsigned, size_t),
                             void *ctx)
{
	static uint8_t buf[64 << 10];
	struct inflate *z;
	struct cf_view in = { 0 };
	struct cf_err err;
	uint64_t total = 0;
	unsigned slot = 0;
	bool end = false;

	if (inflate_new(INFLATE_GZIP, &z, &err) < 0)
		die("inflate_new");
	for (size_t have = 0;;) {
		size_t produced = 0;

		if (!in.size && !end) {
			ssize_t n = read(fd, buf, sizeof(buf));

			end = n <= 0;
			in = cf_view(buf, n > 0 ? (size_t)n : 0);
		}
		if (inflate_step(z, &in, ring + (size_t)slot * LAYER_SLOT_BYTES + have,
		                 LAYER_SLOT_BYTES - have, &produced, &err) < 0) {
			fprintf(stderr, "%s\n", err.msg);
			exit(1);
		}
		have += produced;
		total += produced;
		if (have == LAYER_SLOT_BYTES || (end && !produced)) {
			if (have && full)
				full(ctx, slot, have);
			slot = (slot + 1) % LAYER_SLOTS;
			have = 0;
			if (end && !produced)
				break;
		}
	}
	inflate_free(z);
	return total;
}

struct dummy {
	int up, free_slots;
};

static void hand_up(void *ctx, unsigned slot, size_t size)
{
	struct dummy *d = ctx;
	struct layer_msg m;
	struct cf_err err;
	size_t payload;

	(void)slot;
	if (layer_msg_send(d->up, LAYER_MSG_DATA, (uint32_t)size, cf_view(NULL, 0), &err) < 0)
		die("send");
	if (--d->free_slots == 0) {
		if (layer_msg_take(d->up, &m, &payload, &err) <= 0)
			die("take");
		d->free_slots++;
	}
}

static uint8_t *shared_ring(void)
{
	void *p = mmap(NULL, LAYER_RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
	               -1, 0);

	return p == MAP_FAILED ? (die("mmap"), NULL) : p;
}

/* The reader at the end only takes slots. */
static void swallow(int control)
{
	struct layer_msg m;
	struct cf_err err;
	size_t payload;

	while (layer_msg_take(control, &m, &payload, &err) > 0)
		if (layer_msg_send(control, LAYER_MSG_FREE, 0, cf_view(NULL, 0), &err) < 0)
			break;
	_exit(0);
}

static void dummy_pipeline(int fd)
{
	uint8_t *in = shared_ring(), *out = shared_ring();
	int a[2], b[2];
	unsigned slot = 0, out_free = LAYER_SLOTS;
	struct layer_msg m;
	struct cf_err err;
	size_t payload;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, a) < 0 ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET, 0, b) < 0)
		die("socketpair");
	if (fork() == 0) {
		struct dummy d = { a[1], LAYER_SLOTS };

		close(a[0]);
		inflate_file(fd, in, hand_up, &d);
		_exit(0);
	}
	close(a[1]);
	if (fork() == 0) {
		close(a[0]);
		close(b[0]);
		swallow(b[1]);
	}
	close(b[1]);
	while (layer_msg_take(a[0], &m, &payload, &err) > 0) {
		size_t at = (size_t)slot * LAYER_SLOT_BYTES;

		if (!out_free) {
			struct layer_msg freed;

			if (layer_msg_take(b[0], &freed, &payload, &err) <= 0)
				die("take");
			out_free++;
		}
		memcpy(out + at, in + at, m.size);
		if (layer_msg_post(a[0], LAYER_MSG_FREE, 0, cf_view(NULL, 0), &err) < 0 &&
		    err.sys != EPIPE)
			die("post");
		if (layer_msg_post(b[0], LAYER_MSG_DATA, m.size, cf_view(NULL, 0), &err) < 0)
			die("post");
		out_free--;
		slot = (slot + 1) % LAYER_SLOTS;
	}
	close(a[0]);
	close(b[0]);
	while (wait(NULL) > 0)
		continue;
}

int main(int argc, char **argv)
{
	int fd = argc == 3 ? open(argv[2], O_RDONLY | O_CLOEXEC) : -1;
	double from = now();

	if (fd < 0)
		die("usage: layer_stages inflate|dummy FILE.gz");
	if (strcmp(argv[1], "dummy") == 0)
		dummy_pipeline(fd);
	else
		inflate_file(fd, shared_ring(), NULL, NULL);
	printf("%.3f\n", now() - from);
	return 0;
}
