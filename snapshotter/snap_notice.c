/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshotter/snap_notice.h"

#include "base/fd.h"
#include "base/json.h"
#include "base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define LABEL_LAYERS "containerd.io/snapshot/cri.image-layers"

/* containerd lists the layers from this one to the topmost, as far as a label holds them. */
static size_t layers_left(const struct snap_labels *labels)
{
	const char *list = snap_labels_get(labels, LABEL_LAYERS);
	size_t commas = 0;

	for (const char *p = list; p && *p; p++)
		commas += *p == ',';
	return commas;
}

static void add(struct cf_jw *w, const char *key, const char *value)
{
	if (value)
		cf_jw_kstr(w, key, value);
}

static void write_notice(const char *chain, const struct snap_labels *labels, struct cf_buf *out)
{
	struct cf_jw w = { .out = out };

	cf_jw_obj(&w);
	cf_jw_kint(&w, "version", 1);
	cf_jw_kstr(&w, "event", "layer");
	add(&w, "image", snap_labels_get(labels, SNAP_LABEL_IMAGE_REF));
	add(&w, "manifest", snap_labels_get(labels, SNAP_LABEL_MANIFEST));
	add(&w, "layer", snap_labels_get(labels, SNAP_LABEL_LAYER));
	cf_jw_kstr(&w, "chain", chain);
	cf_jw_kint(&w, "above", (int64_t)layers_left(labels));
	cf_jw_end_obj(&w);
}

static int send_to(int fd, const char *path, struct cf_view text)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(to.sun_path))
		return -ENAMETOOLONG;
	memcpy(to.sun_path, path, strlen(path));
	return sendto(fd, text.data, text.size, MSG_NOSIGNAL, (const struct sockaddr *)&to,
	              sizeof(to)) < 0
	               ? -errno
	               : 0;
}

/* ---- a directory of listeners ---- */

struct listener {
	char *name;
	struct timespec bound; /* when it began to listen */
};

struct listeners {
	struct listener items[SNAP_NOTICE_LISTENERS]; /* newest first */
	size_t count;
};

static bool is_newer(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec != b->tv_sec ? a->tv_sec > b->tv_sec : a->tv_nsec > b->tv_nsec;
}

static void keep(struct listeners *l, const char *name, const struct stat *st)
{
	size_t at = l->count;

	while (at > 0 && is_newer(&st->st_mtim, &l->items[at - 1].bound))
		at--;
	if (at == CF_ARRAY_LEN(l->items))
		return;
	if (l->count == CF_ARRAY_LEN(l->items))
		free(l->items[--l->count].name);
	memmove(&l->items[at + 1], &l->items[at], (l->count - at) * sizeof(l->items[0]));
	l->items[at] = (struct listener){ .name = cf_strdup(name), .bound = st->st_mtim };
	l->count++;
}

static void find_listeners(DIR *dir, struct listeners *ret)
{
	struct dirent *e;
	struct stat st;

	for (size_t seen = 0; seen < SNAP_NOTICE_SCAN_MAX && (e = readdir(dir)); seen++)
		if (e->d_name[0] != '.' && cf_ends_with(e->d_name, SNAP_NOTICE_SUFFIX) &&
		    fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    S_ISSOCK(st.st_mode))
			keep(ret, e->d_name, &st);
}

/* The dead make room for the living: who was killed cannot take its socket away. */
static void send_to_all(int fd, const char *path, DIR *dir, struct cf_view text)
{
	struct listeners l = { 0 };

	find_listeners(dir, &l);
	for (size_t i = 0; i < l.count; i++) {
		cf_cleanup(cf_freep) char *name = l.items[i].name;
		cf_cleanup(cf_freep) char *socket_path = cf_asprintf("%s/%s", path, name);

		if (send_to(fd, socket_path, text) == -ECONNREFUSED)
			(void)!unlinkat(dirfd(dir), name, 0);
	}
}

void snap_notice_layer(const char *path, const char *chain, const struct snap_labels *labels)
{
	if (!path || !snap_labels_get(labels, SNAP_LABEL_IMAGE_REF))
		return;
	cf_cleanup(cf_buf_fini) struct cf_buf json = { .max = SNAP_NOTICE_MAX };
	cf_cleanup(cf_closep) int fd =
		socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	DIR *dir;

	write_notice(chain, labels, &json);
	if (fd < 0 || json.bad)
		return;
	dir = opendir(path);
	if (!dir) {
		(void)send_to(fd, path, cf_buf_view(&json));
		return;
	}
	send_to_all(fd, path, dir, cf_buf_view(&json));
	closedir(dir);
}
