/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* How the store makes records; readers need snap_store.h alone. */
#include "snapshotter/snap_store.h"

/* Memory for many records that are made at one time; it is given back with the last of them. */
struct snap_slab;
struct snap_slab *snap_slab_unref(struct snap_slab *slab); /* NULL is fine; returns NULL */

/*
 * A record with one reference. Numbers, kind and flags come from @head; @labels is as
 * snap_labels_encode() writes it. Everything is copied, into *slab_at unless it is NULL: the slab in use,
 * of which the caller has a reference, and which is followed by another when it is full.
 */
struct snap_record *snap_record_new(const struct snap_record *head, struct cf_view name,
                                    const char *parent, struct cf_view labels,
                                    struct snap_slab **slab_at);
/* Before anybody else sees @rec, which has no parent yet: takes a reference to @below instead of its name. */
void snap_record_put_on(struct snap_record *rec, struct snap_record *below);
