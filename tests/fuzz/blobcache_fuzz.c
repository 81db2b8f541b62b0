/* fuzz: blobcache */
/* SPDX-License-Identifier: Apache-2.0 */
/* What a guest may send: rows of frames to one connection over a small store. */
#include "base/fd.h"
#include "base/str.h"
#include "snapshotter/blobcache/blob_serve.h"

#include <assert.h>
#include <stdio.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct blob_store *store;
static char dir[] = "/tmp/coffer-fuzz-blobs.XXXXXX";

static void clean(void)
{
	struct cf_err err;

	blob_store_close(store);
	(void)!cf_rm_rf(dir, &err);
}

static struct blob_store *open_store(void)
{
	struct blob_store_opts opts = { dir, 1u << 16 };
	struct cf_err err;

	if (!store) {
		if (!mkdtemp(dir) || blob_store_open(&opts, &store, &err) < 0)
			abort();
		atexit(clean);
	}
	return store;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct blob_conn *c = blob_conn_new(&(struct blob_serve_opts){ open_store(), 1u << 20 });
	struct cf_rd rd = { .in = cf_view(data, size) };
	struct blobcache_head head, reply;
	struct cf_err err;

	while (cf_rd_left(&rd) >= BLOBCACHE_HEAD_BYTES &&
	       blobcache_head_parse(cf_rd_bytes(&rd, BLOBCACHE_HEAD_BYTES), &head, &err) == 0) {
		cf_cleanup(cf_buf_fini) struct cf_buf out = { 0 };
		size_t n = head.size < cf_rd_left(&rd) ? head.size : cf_rd_left(&rd);

		blob_conn_answer(c, &head, cf_rd_bytes(&rd, n), &out);
		struct cf_view said = cf_view_sub(cf_buf_view(&out), 0, BLOBCACHE_HEAD_BYTES);

		assert(blobcache_head_parse(said, &reply, &err) == 0);
		assert(reply.is_reply && reply.size == out.size - BLOBCACHE_HEAD_BYTES);
	}
	blob_conn_free(c);
	return 0;
}
