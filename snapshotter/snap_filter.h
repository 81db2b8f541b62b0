/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * containerd's filter language (pkg/filters): selectors joined by commas must all match; several
 * filters are alternatives. `kind`, `name`, `parent`, `labels.KEY`; operators == != ~= or mere
 * presence. ~= takes an RE2 pattern, found anywhere in the value. The text comes from any client of
 * the socket.
 */
#include "snapshotter/snap_store.h"

#define SNAP_FILTERS_MAX   64u
#define SNAP_FILTER_BYTES  (16u << 10) /* of one filter */
#define SNAP_SELECTORS_MAX 64u         /* in one filter */
#define SNAP_PATTERN_BYTES (8u << 20)  /* of all compiled patterns; each takes at least 64 KiB */
#define SNAP_FILTER_STEPS  (1u << 26)  /* of all patterns over all records: about a second */

struct snap_filter;

/*
 * @texts alternatives; none, or an empty one, matches everything.
 * Return: 0, -CF_INVALID_ARGUMENT (malformed), -CF_RESOURCE_EXHAUSTED (a limit above).
 */
cf_must_use int snap_filter_new(char *const *texts, size_t count, struct snap_filter **ret,
                                struct cf_err *err);
struct snap_filter *snap_filter_free(struct snap_filter *f);
CF_DEFINE_CLEANUP(struct snap_filter *, snap_filter_free);
bool snap_filter_match(struct snap_filter *f, const struct snap_record *rec);
/* To be asked after the last match: 0, or -CF_RESOURCE_EXHAUSTED (SNAP_FILTER_STEPS): what did not
 * match says nothing. */
cf_must_use int snap_filter_check(const struct snap_filter *f, struct cf_err *err);
/*
 * Whether this is the one question containerd asks after each provided layer:
 * labels."containerd.io/snapshot.ref"==REF,parent==PARENT. Both borrowed from @f.
 */
bool snap_filter_is_ref(const struct snap_filter *f, const char **ret_ref, const char **ret_parent);
