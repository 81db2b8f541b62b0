/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshotter/snap_identity.h"

#include "base/fd.h"
#include "base/str.h"

#include <unistd.h>

static const struct {
	const char *label, *name;
} files[] = {
	{ SNAP_LABEL_PASSWD, "passwd" },
	{ SNAP_LABEL_GROUP, "group" },
};

/* The nearest layer that has it says it, as the nearest layer's file is the one that is seen. */
static bool decode(const struct snap_list *chain, const char *label, struct cf_buf *ret)
{
	const char *text = NULL;
	struct cf_err ignored;

	for (size_t i = 0; !text && i < chain->count; i++)
		text = snap_record_label(chain->items[i], label);
	ret->max = SNAP_IDENTITY_MAX;
	return text && cf_b64_decode(CF_B64_STD, cf_view_str(text), ret, &ignored) == 0 &&
	       ret->size && !cf_view_has_nul(cf_buf_view(ret)) && cf_view_is_utf8(cf_buf_view(ret));
}

bool snap_identity_is_in(const struct snap_list *chain)
{
	bool found = false;

	for (size_t i = 0; !found && i < CF_ARRAY_LEN(files); i++) {
		cf_cleanup(cf_buf_fini) struct cf_buf content = { 0 };

		found = decode(chain, files[i].label, &content);
	}
	return found;
}

int snap_identity_make(const char *root, int64_t id, const struct snap_list *chain,
                       struct cf_err *err)
{
	cf_cleanup(cf_freep) char *etc =
		cf_asprintf("%s/snapshots/%lld/" SNAP_IDENTITY_DIR "/etc", root, (long long)id);
	int r = cf_mkdir_p(etc, 0755, err);

	for (size_t i = 0; r == 0 && i < CF_ARRAY_LEN(files); i++) {
		cf_cleanup(cf_buf_fini) struct cf_buf content = { 0 };
		cf_cleanup(cf_freep) char *path = cf_asprintf("%s/%s", etc, files[i].name);

		if (access(path, F_OK) < 0 && decode(chain, files[i].label, &content))
			r = cf_write_file_atomic(path, cf_buf_view(&content), 0644, err);
	}
	return r < 0 ? cf_wrap(err, r, "users of an image") : 0;
}
