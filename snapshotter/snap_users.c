/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshotter/snap_users.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "erofs/layer_users.h"
#include "snapshotter/snap_content.h"

struct feeding {
	struct layer_users *users;
	int r;
	struct cf_err err;
};

static bool feed(void *arg, struct cf_view piece)
{
	struct feeding *f = arg;

	f->r = layer_users_feed(f->users, piece, &f->err);
	return f->r == 0;
}

static int look_into(const struct snap_users_layer *layer, struct layer_users_found *ret,
                     struct cf_err *err)
{
	cf_cleanup(layer_users_freep) struct layer_users *users = NULL;
	struct feeding f = { .r = 0 };
	int r = layer_users_new(&users, err);

	if (r < 0)
		return r;
	f.users = users;
	r = snap_content_read(layer->containerd, layer->ns, layer->digest, SNAP_USERS_BLOB_MAX,
	                      feed, &f, err);
	if (r == 0 && f.r < 0) {
		*err = f.err;
		r = f.r;
	}
	return r == 0 ? layer_users_finish(users, ret, err) : r;
}

static int lay_down(const struct layer_users_found *found, const char *dir, struct cf_err *err)
{
	static const char *const names[LAYER_USERS_FILES] = { "passwd", "group" };
	cf_cleanup(cf_freep) char *etc = cf_asprintf("%s/etc", dir);
	int r = 0;

	for (size_t i = 0; r == 0 && i < LAYER_USERS_FILES; i++) {
		cf_cleanup(cf_freep) char *path = cf_asprintf("%s/%s", etc, names[i]);

		if (!found->is_there[i])
			continue;
		r = cf_mkdir_p(etc, 0755, err);
		if (r == 0)
			r = cf_write_file_atomic(path, cf_buf_view(&found->text[i]), 0644, err);
	}
	return r;
}

void snap_users_find(const struct snap_users_layer *layer, const char *dir)
{
	struct layer_users_found found = { 0 };
	struct cf_err err;
	int r;

	if (layer->size <= 0 || (uint64_t)layer->size > SNAP_USERS_BLOB_MAX ||
	    cf_ends_with(layer->media_type, "+encrypted"))
		return;
	r = look_into(layer, &found, &err);
	if (r == 0)
		r = lay_down(&found, dir, &err);
	if (r < 0)
		cf_log_info("no users of a layer", CF_F_STR("layer", layer->digest),
		            CF_F_STR("why", err.msg));
	layer_users_found_fini(&found);
}
