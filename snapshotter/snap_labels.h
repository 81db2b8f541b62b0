/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Labels of a snapshot: a small sorted map of text to text. They come from containerd, and some of
 * them from whoever built the image: never commands, only hints.
 */
#include "base/bytes.h"

#define SNAP_LABELS_BYTES_MAX (256u << 10) /* keys and values of one snapshot */
#define SNAP_LABEL_KEY_MAX    4096u

/* Known keys. */
#define SNAP_LABEL_REF         "containerd.io/snapshot.ref"
#define SNAP_LABEL_PREFIX      "containerd.io/snapshot/"
#define SNAP_LABEL_IMAGE_REF   "containerd.io/snapshot/cri.image-ref"
#define SNAP_LABEL_LAYER       "containerd.io/snapshot/cri.layer-digest"
#define SNAP_LABEL_MANIFEST    "containerd.io/snapshot/cri.manifest-digest"
#define SNAP_LABEL_DIFF_ID     "containerd.io/snapshot/diff-id"
#define SNAP_LABEL_PROXY_MODE  "containerd.io/snapshot/nydus-proxy-mode"
#define SNAP_LABEL_UID_MAPPING "containerd.io/snapshot/uidmapping"
#define SNAP_LABEL_GID_MAPPING "containerd.io/snapshot/gidmapping"
#define SNAP_LABEL_TAKEN_UP    "coffer.resurrected"
#define SNAP_LABEL_OUR_MODE    "containerd.io/snapshot/coffer.mode"

struct snap_label {
	char *key, *value;
};

struct snap_labels { /* { 0 } is empty */
	struct snap_label *items;
	size_t count, cap;
	size_t bytes;
};

void snap_labels_fini(struct snap_labels *l);
/*
 * Copies both; the last value of a key wins; an empty value removes the key, as containerd has it.
 * Return: 0, -CF_INVALID_ARGUMENT (key empty or too long), -CF_RESOURCE_EXHAUSTED (too many bytes).
 */
cf_must_use int snap_labels_set(struct snap_labels *l, const char *key, const char *value,
                                struct cf_err *err);
void snap_labels_del(struct snap_labels *l, const char *key);
const char *snap_labels_get(const struct snap_labels *l, const char *key); /* or NULL; borrowed */

#define SNAP_NO_ID UINT32_MAX
/* The id on this host of root in a mapping "INSIDE:OUTSIDE:COUNT,…"; SNAP_NO_ID: none, malformed. */
uint32_t snap_labels_root_of(const char *mapping);

/*
 * As stored: key NUL value NUL …, in the order of keys. Texts that nearly all layers have are one byte
 * instead, and so is a text that is the snapshot's own name: there are thousands of layers on a node,
 * and a start reads them all.
 */
void snap_labels_encode(const struct snap_labels *l, const char *name, struct cf_buf *out);
void snap_labels_encode_text(const char *text, const char *name, struct cf_buf *out);
/* What a stored text says; it may be @name. */
const char *snap_labels_text(const char *stored, const char *name);
/* Reads what snap_labels_encode() wrote, onto an empty @ret. -CF_DATA_LOSS when it is none. */
cf_must_use int snap_labels_decode(struct cf_view in, const char *name, struct snap_labels *ret,
                                   struct cf_err *err);

/* Every request's labels are repeated { key, value } of a type of its own. */
#define SNAP_TAKE_LABELS(msg, to, e)                                                               \
	({                                                                                         \
		int take_r_ = 0;                                                                   \
		for (size_t i_ = 0; take_r_ == 0 && i_ < (msg)->n_labels; i_++)                    \
			take_r_ = snap_labels_set((to), (msg)->labels[i_]->key,                    \
			                          (msg)->labels[i_]->value, (e));                  \
		take_r_;                                                                           \
	})
