/* SPDX-License-Identifier: Apache-2.0 */
#include "erofs/merge.h"

#include "erofs/layer_child.h"
#include "erofs/layer_out.h"
#include "erofs/layer_store.h"

#include "base/crypto.h"
#include "base/fd.h"
#include "base/str.h"

#include <errno.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define TREE_MEMORY_MAX                                                                            \
	(3ull << 30)          /* address space beside the layers; the tree's limits are tighter */
#define STALL_MS       120000 /* a merge of any size is done by then */
#define FDS_ENOUGH_FOR 400u   /* layers, within the usual limit of 1024 fds */

struct layers {
	const struct cf_view *diff_ids;
	size_t count;
	int *fds; /* the merged image's, then the layers' */
	uint64_t bytes;
};

static int take_layer(struct layers *l, size_t i, int fd, struct cf_err *err)
{
	struct stat st;

	l->fds[1 + i] = fd;
	if (fstat(fd, &st) < 0)
		return cf_fail_errno(err, errno, "merge: layer");
	l->bytes += (uint64_t)st.st_size;
	return 0;
}

static int open_layers(const char *dir, struct layers *l, struct cf_err *err)
{
	for (size_t i = 0; i < l->count; i++) {
		int fd = -1;
		int r = layer_store_find(dir, l->diff_ids[i], &fd, err);

		if (r == LAYER_E_MISSING)
			return cf_fail(err, CF_NOT_FOUND, "merge: the store has no layer %.*s",
			               (int)CF_MIN(l->diff_ids[i].size, 100u),
			               (const char *)l->diff_ids[i].data);
		if (r == 0)
			r = take_layer(l, i, fd, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int open_files(const struct layer_merge_file *files, struct layers *l, struct cf_err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < l->count; i++) {
		int fd = open(files[i].path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

		r = fd < 0 ? cf_fail_errno(err, errno, "merge: %s", files[i].path)
		           : take_layer(l, i, fd, err);
	}
	return r;
}

/* Every layer is an fd there and, while they are moved into place, twice one. */
static void allow_more_fds(size_t layers)
{
	struct rlimit r;

	if (layers <= FDS_ENOUGH_FOR || getrlimit(RLIMIT_NOFILE, &r) < 0)
		return;
	r.rlim_cur = CF_MAX(r.rlim_cur, CF_MIN(r.rlim_max, (rlim_t)4096));
	setrlimit(RLIMIT_NOFILE, &r);
}

static int await_merged(struct layer_child *child, struct cf_err *err)
{
	struct pollfd fd = { .fd = child->control, .events = POLLIN };
	struct layer_msg m;
	size_t payload;
	int r;

	do
		r = poll(&fd, 1, STALL_MS);
	while (r < 0 && errno == EINTR);
	if (r <= 0)
		return r < 0 ? cf_fail_errno(err, errno, "merge: poll")
		             : cf_fail(err, CF_DEADLINE_EXCEEDED, "merge: it does not end");
	r = layer_msg_take(child->control, &m, &payload, err);
	if (r <= 0)
		return r < 0 ? r : layer_child_gone(child, err);
	if (m.kind == LAYER_MSG_FAILED)
		return layer_child_failed(child, &m, payload, err);
	return m.kind == LAYER_MSG_DONE ? 0 : layer_child_nonsense(child, err);
}

static int check_size(int fd, struct cf_err *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return cf_fail_errno(err, errno, "merge: image");
	if (st.st_size < LAYER_BLOCK_BYTES || (uint64_t)st.st_size > LAYER_IMAGE_MAX ||
	    st.st_size % LAYER_BLOCK_BYTES)
		return cf_fail(err, CF_INTERNAL, "merge: an image of %lld bytes cannot be",
		               (long long)st.st_size);
	return 0;
}

/* In a sandboxed process: the layers' bytes come from one that parsed a stranger's tar. */
static int merge_in_child(const struct layers *l, struct cf_err *err)
{
	struct layer_child child = { .what = "merge", .control = -1 };
	struct cf_strv args = { 0 };
	uint8_t uuid[LAYER_UUID_SIZE];
	int r;

	layer_merge_uuid(l->diff_ids, l->count, uuid);
	cf_strv_add_take(&args, cf_hex_dup(cf_view(uuid, sizeof(uuid))));
	for (size_t i = 0; i < l->count; i++)
		cf_strv_add_take(&args, cf_view_dup(l->diff_ids[i]));
	allow_more_fds(l->count);
	r = layer_child_start(&child, LAYER_HELPER_MERGE, (const char *const *)args.items, l->fds,
	                      l->count + 1, l->bytes + TREE_MEMORY_MAX, err);
	cf_strv_fini(&args);
	if (r == 0)
		r = await_merged(&child, err);
	layer_child_reap(&child, NULL);
	return r < 0 ? r : check_size(l->fds[0], err);
}

void layer_merge_uuid(const struct cf_view *diff_ids, size_t count, uint8_t out[LAYER_UUID_SIZE])
{
	struct cf_buf ids = { .max = LAYER_MERGE_LAYERS_MAX * 256 };

	for (size_t i = 0; i < count; i++) {
		cf_buf_add_view(&ids, diff_ids[i]);
		cf_buf_add_byte(&ids, '\n');
	}
	layer_uuid(cf_buf_view(&ids), out);
	cf_buf_fini(&ids);
}

static char *merged_path(const char *dir, const struct cf_view *diff_ids, size_t count,
                         const char **ret_name)
{
	struct cf_hasher *h = cf_hasher_new(CF_SHA256);
	uint8_t digest[32];
	char hex[65], *path;

	for (size_t i = 0; i < count; i++) {
		cf_hasher_add(h, diff_ids[i]);
		cf_hasher_add(h, cf_view("\n", 1));
	}
	cf_hasher_final(h, digest);
	cf_hasher_free(h);
	cf_hex_encode(cf_view(digest, sizeof(digest)), hex);
	path = cf_asprintf("%s/merged-%s.erofs", dir, hex);
	*ret_name = path + strlen(dir) + 1;
	return path;
}

static int publish(const char *dir, struct layers *l, const char *name, bool durable,
                   struct cf_err *err)
{
	struct layer_draft draft;
	int r = layer_draft_open(dir, &draft, err);

	if (r < 0)
		return r;
	l->fds[0] = draft.fd;
	r = merge_in_child(l, err);
	if (r == 0)
		r = layer_draft_publish(&draft, name, durable, err);
	l->fds[0] = -1;
	layer_draft_fini(&draft);
	return r;
}

static int layers_init(struct layers *l, struct cf_err *err)
{
	if (l->count == 0 || l->count > LAYER_MERGE_LAYERS_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "merge: %zu layers, 1 to %u can be",
		               l->count, LAYER_MERGE_LAYERS_MAX);
	l->fds = cf_zalloc_n(l->count + 1, sizeof(*l->fds));
	for (size_t i = 0; i <= l->count; i++)
		l->fds[i] = -1;
	return 0;
}

static void layers_fini(struct layers *l)
{
	for (size_t i = 0; l->fds && i <= l->count; i++)
		cf_close(&l->fds[i]);
	free(l->fds);
}

int layer_merge_store(const char *dir, const struct cf_view *diff_ids, size_t count, bool durable,
                      char **ret_path, struct cf_err *err)
{
	cf_cleanup(layers_fini) struct layers l = { .diff_ids = diff_ids, .count = count };
	const char *name;
	int r = layers_init(&l, err);

	if (r < 0)
		return r;
	cf_cleanup(cf_freep) char *path = merged_path(dir, diff_ids, count, &name);

	if (access(path, F_OK) < 0) {
		r = open_layers(dir, &l, err);
		if (r == 0)
			r = publish(dir, &l, name, durable, err);
	}
	if (r == 0)
		*ret_path = cf_take(&path);
	return r;
}

int layer_merge_files(const struct layer_merge_file *files, size_t count, const char *dir,
                      const char *name, bool durable, struct cf_err *err)
{
	cf_cleanup(cf_freep) struct cf_view *ids = cf_zalloc_n(count + 1, sizeof(*ids));
	cf_cleanup(layers_fini) struct layers l = { .diff_ids = ids, .count = count };
	int r = layers_init(&l, err);

	for (size_t i = 0; r == 0 && i < count; i++)
		ids[i] = files[i].diff_id;
	if (r == 0)
		r = open_files(files, &l, err);
	return r < 0 ? r : publish(dir, &l, name, durable, err);
}
