/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshotter/snap_identity.h"

#include "base/fd.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
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

/* ---- a layer that was unpacked here ---- */

#define HIDES "-" /* no base64: nothing is shown, nor what lies below */

/* The first SNAP_IDENTITY_KEPT bytes, whole lines. @path_fd: of a regular file, not opened yet. */
static bool read_lines(int path_fd, off_t all, struct cf_buf *ret)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("/proc/self/fd/%d", path_fd);
	cf_cleanup(cf_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t text[SNAP_IDENTITY_KEPT];
	size_t size = (size_t)CF_MIN(all, (off_t)sizeof(text));
	struct cf_err ignored;

	if (fd < 0 || cf_pread_full(fd, text, size, 0, &ignored) < 0)
		return false;
	while ((off_t)size < all && size && text[size - 1] != '\n')
		size--;
	cf_buf_add(ret, text, size);
	return size > 0;
}

/* Only what is a file is opened: a stranger's device might do something when it is. */
static int keep_file(int dirfd, size_t i, struct snap_labels *labels, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("etc/%s", files[i].name);
	cf_cleanup(cf_buf_fini) struct cf_buf text = { 0 };
	cf_cleanup(cf_buf_fini) struct cf_buf encoded = { 0 };
	struct cf_err why;
	cf_cleanup(cf_closep) int fd =
		cf_open_beneath(dirfd, path, O_PATH, 0, CF_NO_SYMLINKS, &why);
	struct stat st;

	if (snap_labels_get(labels, files[i].label) || (fd < 0 && why.sys == ENOENT))
		return 0;
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    !read_lines(fd, st.st_size, &text))
		return snap_labels_set(labels, files[i].label, HIDES, err);
	cf_b64_encode(CF_B64_STD, cf_buf_view(&text), &encoded);
	return snap_labels_set(labels, files[i].label, (const char *)encoded.data, err);
}

int snap_identity_keep(const char *dir, struct snap_labels *labels, struct cf_err *err)
{
	cf_cleanup(cf_closep) int dirfd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r = 0;

	for (size_t i = 0; r == 0 && dirfd >= 0 && i < CF_ARRAY_LEN(files); i++)
		r = keep_file(dirfd, i, labels, err);
	return r;
}

/* ---- a container ---- */

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
