/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* How the store makes records; readers need snap_store.h alone. */
#include "snapshotter/snap_store.h"

/*
 * A record with one reference. Numbers, kind and flags come from @head; @labels is as
 * snap_labels_encode() writes it. Everything is copied.
 */
struct snap_record *snap_record_new(const struct snap_record *head, struct cf_view name,
                                    const char *parent, struct cf_view labels);
