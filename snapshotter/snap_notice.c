/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshotter/snap_notice.h"

#include "base/fd.h"
#include "base/json.h"
#include "base/str.h"

#include <sys/socket.h>
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

void snap_notice_layer(const char *path, const char *chain, const struct snap_labels *labels)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };

	if (!path || strlen(path) >= sizeof(to.sun_path) ||
	    !snap_labels_get(labels, SNAP_LABEL_IMAGE_REF))
		return;
	cf_cleanup(cf_buf_fini) struct cf_buf json = { .max = SNAP_NOTICE_MAX };
	cf_cleanup(cf_closep) int fd =
		socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	memcpy(to.sun_path, path, strlen(path));
	write_notice(chain, labels, &json);
	if (fd < 0 || json.bad)
		return;
	(void)!sendto(fd, json.data, json.size, MSG_NOSIGNAL, (const struct sockaddr *)&to,
	              sizeof(to));
}
