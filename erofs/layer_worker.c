/* SPDX-License-Identifier: Apache-2.0 */
#include "erofs/layer_worker.h"

#include "erofs/inflate.h"
#include "erofs/layer_build.h"
#include "erofs/layer_ipc.h"
#include "erofs/layer_out.h"
#include "erofs/layer_users.h"
#include "erofs/merge.h"

#include "base/fd.h"
#include "base/str.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

const struct cf_helper layer_helpers[] = {
	{ LAYER_HELPER_INFLATE, layer_worker_inflate },
	{ LAYER_HELPER_BUILD, layer_worker_build },
	{ LAYER_HELPER_MERGE, layer_worker_merge },
	{ LAYER_HELPER_USERS, layer_worker_users },
};
const size_t layer_helper_count = CF_ARRAY_LEN(layer_helpers);

static void report(int r, const struct cf_err *err)
{
	size_t n = CF_MIN(strlen(err->msg), (size_t)LAYER_MSG_PAYLOAD_MAX - 1);
	struct cf_err ignored;

	if (layer_msg_send(LAYER_FD_CONTROL, LAYER_MSG_FAILED, (uint32_t)-r, cf_view(err->msg, n),
	                   &ignored) < 0)
		return; /* nobody listens any more */
}

static int map_ring(int fd, int prot, uint8_t **ret, struct cf_err *err)
{
	void *p = mmap(NULL, LAYER_RING_BYTES, prot, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		return cf_fail_errno(err, errno, "layer: ring");
	*ret = p;
	return 0;
}

/* ---- inflate ---- */

struct inflater {
	struct inflate *z;
	uint8_t *ring;
	unsigned slot, free_slots;

	uint8_t *blob;
	unsigned blob_slot;          /* being read, or the next one */
	uint32_t sizes[LAYER_SLOTS]; /* of the slots that wait behind it, from blob_slot on */
	unsigned waiting;
	struct cf_view in; /* what is left of the slot being read */
	bool is_reading, at_end;
};

/* The pipeline is believed: it is the one that decides what is right. */
static int await_packet(struct inflater *w, struct cf_err *err)
{
	struct layer_msg m;
	size_t payload;
	int r = layer_msg_take(LAYER_FD_CONTROL, &m, &payload, err);

	if (r <= 0)
		return r < 0 ? r : cf_fail(err, CF_CANCELLED, "inflate: nobody listens");
	w->free_slots += m.kind == LAYER_MSG_FREE;
	w->at_end |= m.kind == LAYER_MSG_END;
	if (m.kind == LAYER_MSG_DATA && w->waiting < LAYER_SLOTS) {
		unsigned at = w->blob_slot + w->is_reading + w->waiting++;

		w->sizes[at % LAYER_SLOTS] = CF_MIN(m.size, LAYER_SLOT_BYTES);
	}
	return 0;
}

static int give_back(struct inflater *w, struct cf_err *err)
{
	w->is_reading = false;
	w->blob_slot = (w->blob_slot + 1) % LAYER_SLOTS;
	return layer_msg_send(LAYER_FD_CONTROL, LAYER_MSG_FREE, 0, cf_view(NULL, 0), err);
}

static int more_input(struct inflater *w, struct cf_err *err)
{
	int r = 0;

	if (w->in.size)
		return 0;
	if (w->is_reading)
		r = give_back(w, err);
	while (r == 0 && !w->waiting && !w->at_end)
		r = await_packet(w, err);
	if (r < 0 || !w->waiting)
		return r;
	w->is_reading = true;
	w->waiting--;
	w->in = cf_view(w->blob + (size_t)w->blob_slot * LAYER_SLOT_BYTES, w->sizes[w->blob_slot]);
	return 0;
}

static int await_free_slot(struct inflater *w, struct cf_err *err)
{
	int r = 0;

	while (r == 0 && !w->free_slots)
		r = await_packet(w, err);
	return r;
}

/* One slot full of content, less at the end only. */
static int fill_slot(struct inflater *w, uint8_t *slot, size_t *ret_size, struct cf_err *err)
{
	size_t size = 0;

	while (size < LAYER_SLOT_BYTES) {
		size_t produced = 0;
		int r = more_input(w, err);

		if (r == 0)
			r = inflate_step(w->z, &w->in, slot + size, LAYER_SLOT_BYTES - size,
			                 &produced, err);
		if (r < 0)
			return r;
		size += produced;
		if (!produced && w->at_end && !w->in.size && !w->waiting)
			break;
	}
	*ret_size = size;
	return 0;
}

static int inflate_all(struct inflater *w, struct cf_err *err)
{
	for (;;) {
		size_t size = 0;
		int r = await_free_slot(w, err);

		if (r == 0)
			r = fill_slot(w, w->ring + (size_t)w->slot * LAYER_SLOT_BYTES, &size, err);
		if (r < 0)
			return r;
		if (!size)
			break;
		r = layer_msg_send(LAYER_FD_CONTROL, LAYER_MSG_DATA, (uint32_t)size,
		                   cf_view(NULL, 0), err);
		if (r < 0)
			return r;
		w->free_slots--;
		w->slot = (w->slot + 1) % LAYER_SLOTS;
	}
	int r = inflate_finish(w->z, err);
	return r < 0 ? r
	             : layer_msg_send(LAYER_FD_CONTROL, LAYER_MSG_END, 0, cf_view(NULL, 0), err);
}

/* argv[1]: "gzip" or "zstd" */
int layer_worker_inflate(int argc, char **argv)
{
	enum inflate_format format =
		argc > 1 && cf_streq(argv[1], "zstd") ? INFLATE_ZSTD : INFLATE_GZIP;
	struct inflater w = { .free_slots = LAYER_SLOTS };
	struct cf_err err = { 0 };
	int r = map_ring(LAYER_FD_RING, PROT_READ | PROT_WRITE, &w.ring, &err);

	if (r == 0)
		r = map_ring(LAYER_FD_BLOB, PROT_READ, &w.blob, &err);
	if (r == 0)
		r = inflate_new(format, &w.z, &err);
	if (r == 0)
		r = inflate_all(&w, &err);
	if (r < 0)
		report(r, &err);
	inflate_free(w.z);
	return r < 0;
}

/* ---- build ---- */

static int build_all(struct layer_build *b, const uint8_t *ring, struct cf_err *err)
{
	unsigned slot = 0;

	for (;;) {
		struct layer_msg m;
		struct layer_stats stats;
		size_t payload;
		int r = layer_msg_take(LAYER_FD_CONTROL, &m, &payload, err);

		if (r <= 0)
			return r < 0 ? r : cf_fail(err, CF_CANCELLED, "layer: nobody listens");
		if (m.kind == LAYER_MSG_END) {
			r = layer_build_finish(b, m.payload, &stats, err);
			return r < 0 ? r
			             : layer_msg_send(LAYER_FD_CONTROL, LAYER_MSG_DONE, 0,
			                              cf_view(&stats, sizeof(stats)), err);
		}
		r = layer_build_feed(b, cf_view(ring + (size_t)slot * LAYER_SLOT_BYTES, m.size),
		                     err);
		if (r == 0)
			r = layer_msg_send(LAYER_FD_CONTROL, LAYER_MSG_FREE, 0, cf_view(NULL, 0),
			                   err);
		if (r < 0)
			return r;
		slot = (slot + 1) % LAYER_SLOTS;
	}
}

/* Options as words behind argv[0]: strict, merge, upper, entries=N, bytes=N. */
static struct layer_build_opts build_opts(int argc, char **argv)
{
	struct layer_build_opts opts = { 0 };

	for (int i = 1; i < argc; i++) {
		const char *entries = cf_after(argv[i], "entries="),
			   *bytes = cf_after(argv[i], "bytes=");
		uint64_t n = 0;

		opts.strict |= cf_streq(argv[i], "strict");
		opts.for_merge |= cf_streq(argv[i], "merge");
		opts.is_upper |= cf_streq(argv[i], "upper");
		if (entries && cf_parse_u64(cf_view_str(entries), UINT64_MAX, &n, NULL) == 0)
			opts.limits.entries_max = n;
		if (bytes && cf_parse_u64(cf_view_str(bytes), UINT64_MAX, &n, NULL) == 0)
			opts.limits.bytes_max = n;
	}
	return opts;
}

int layer_worker_build(int argc, char **argv)
{
	const struct layer_build_opts opts = build_opts(argc, argv);
	struct layer_build *b = layer_build_new(LAYER_FD_IMAGE, &opts);
	struct cf_err err = { 0 };
	uint8_t *ring;
	int r = map_ring(LAYER_FD_RING, PROT_READ, &ring, &err);

	if (r == 0)
		r = build_all(b, ring, &err);
	if (r < 0)
		report(r, &err);
	layer_build_free(b);
	return r < 0;
}

/* ---- merge ---- */

/* Published images are never written again, so a mapping of one does not change under us. */
static int map_layer(int fd, struct cf_view *ret, struct cf_err *err)
{
	struct stat st;
	void *p;

	if (fstat(fd, &st) < 0)
		return cf_fail_errno(err, errno, "merge: layer");
	if (st.st_size <= 0 || (uint64_t)st.st_size > LAYER_IMAGE_MAX)
		return cf_fail(err, CF_INVALID_ARGUMENT, "merge: a layer of %lld bytes",
		               (long long)st.st_size);
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		return cf_fail_errno(err, errno, "merge: layer");
	*ret = cf_view(p, (size_t)st.st_size);
	return 0;
}

/* argv[1]: the id in hex; argv[2…]: the diffIDs, bottom first, images at LAYER_FD_LAYERS and on. */
int layer_worker_merge(int argc, char **argv)
{
	size_t count = argc > 2 ? (size_t)argc - 2 : 0;
	struct layer_merge_input *in = cf_zalloc_n(count + 1, sizeof(*in));
	uint8_t uuid[LAYER_UUID_SIZE];
	struct cf_err err = { 0 };
	int r = cf_hex_decode(cf_view_str(argc > 1 ? argv[1] : ""), uuid, sizeof(uuid), &err);

	for (size_t i = 0; r == 0 && i < count; i++) {
		in[i].diff_id = cf_view_str(argv[2 + i]);
		in[i].is_mapped = true;
		r = map_layer(LAYER_FD_LAYERS + (int)i, &in[i].image, &err);
	}
	if (r == 0)
		r = layer_merge(in, count, uuid, LAYER_FD_MERGED, NULL, &err);
	if (r == 0)
		r = layer_msg_send(LAYER_FD_CONTROL, LAYER_MSG_DONE, 0, cf_view(NULL, 0), &err);
	if (r < 0)
		report(r, &err);
	free(in);
	return r < 0;
}

/* ---- users ---- */

static int find_users(struct layer_users_reader *reader, struct cf_err *err)
{
	cf_cleanup(cf_freep) uint8_t *piece = cf_zalloc(LAYER_SLOT_BYTES);
	int r = 0;

	while (r == 0) {
		ssize_t n = read(LAYER_FD_STREAM, piece, LAYER_SLOT_BYTES);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? cf_fail_errno(err, errno, "users: read") : 0;
		r = layer_users_read(reader, cf_view(piece, (size_t)n), err);
	}
	return r < 0 ? r : 0;
}

/* An empty packet for a file that hides others; the text of one in pieces. */
static int tell_users(const struct layer_users_found *found, struct cf_err *err)
{
	int r = 0;

	for (uint32_t i = 0; i < LAYER_USERS_FILES; i++) {
		struct cf_view text = cf_buf_view(&found->text[i]);

		if (r == 0 && found->is_there[i])
			r = layer_msg_send(LAYER_FD_CONTROL, LAYER_MSG_DATA, i, cf_view(NULL, 0),
			                   err);
		for (size_t at = 0; r == 0 && at < text.size; at += LAYER_MSG_PAYLOAD_MAX)
			r = layer_msg_send(LAYER_FD_CONTROL, LAYER_MSG_DATA, i,
			                   cf_view_sub(text, at, LAYER_MSG_PAYLOAD_MAX), err);
	}
	return r == 0 ? layer_msg_send(LAYER_FD_CONTROL, LAYER_MSG_DONE, 0, cf_view(NULL, 0), err)
	              : r;
}

int layer_worker_users(int argc, char **argv)
{
	struct layer_users_reader *reader = layer_users_reader_new();
	struct layer_users_found found = { 0 };
	struct cf_err err = { 0 };
	int r = find_users(reader, &err);

	(void)argc;
	(void)argv;
	layer_users_take(reader, &found);
	if (r == 0)
		r = tell_users(&found, &err);
	if (r < 0)
		report(r, &err);
	layer_users_found_fini(&found);
	layer_users_reader_free(reader);
	return r < 0;
}
