/* fuzz: snapshotter */
/* SPDX-License-Identifier: Apache-2.0 */
/* Filters are text from any client of the socket; each that parses is tried on a record. */
#include "base/str.h"
#include "snapshotter/snap_filter.h"
#include "snapshotter/snap_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct cf_view labels = CF_VIEW_LIT("a.b\0dot\0l\0"
	                                                 "1\0");
	struct snap_record head = { .id = 1, .kind = SNAP_VIEW };
	cf_cleanup(snap_filter_freep) struct snap_filter *f = NULL;
	const char *ref, *parent;
	struct cf_err err;

	if (cf_view_has_nul(cf_view(data, size)) || size > 4096)
		return 0;
	char *text = cf_strndup((const char *)data, size);
	char *texts[] = { text };

	if (snap_filter_new(texts, 1, &f, &err) == 0) {
		struct snap_record *rec = snap_record_new(&head, cf_view_str("k8s.io/1/x"),
		                                          "sha256:aa", labels, NULL);

		(void)snap_filter_match(f, rec);
		(void)snap_filter_is_ref(f, &ref, &parent);
		snap_record_unref(rec);
	}
	free(text);
	return 0;
}
