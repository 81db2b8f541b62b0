/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * containerd's filter language (pkg/filters): selectors joined by commas must all match; several
 * filters are alternatives. `kind`, `name`, `parent`, `labels.KEY`; operators == != ~= or mere
 * presence. ~= takes a POSIX extended regular expression where containerd takes RE2. The text comes
 * from any client of the socket.
 */
#include "snapshotter/snap_store.h"

#define SNAP_FILTERS_MAX   64u
#define SNAP_FILTER_BYTES  (16u << 10) /* of one filter */
#define SNAP_SELECTORS_MAX 64u         /* in one filter */
#define SNAP_PATTERN_MAX   256u        /* bytes of a regular expression */
#define SNAP_WAYS_MAX      8u          /* of * + ? | in it; {} is not taken */

struct snap_filter;

/*
 * @texts alternatives; none, or an empty one, matches everything.
 * Return: 0, -CF_INVALID_ARGUMENT (malformed), -CF_RESOURCE_EXHAUSTED (a limit above).
 */
cf_must_use int snap_filter_new(char *const *texts, size_t count, struct snap_filter **ret,
                                struct cf_err *err);
struct snap_filter *snap_filter_free(struct snap_filter *f);
CF_DEFINE_CLEANUP(struct snap_filter *, snap_filter_free);
bool snap_filter_match(const struct snap_filter *f, const struct snap_record *rec);
/*
 * Whether this is the one question containerd asks after each provided layer:
 * labels."containerd.io/snapshot.ref"==REF,parent==PARENT. Both borrowed from @f.
 */
bool snap_filter_is_ref(const struct snap_filter *f, const char **ret_ref, const char **ret_parent);
