/* fuzz: snapshotter */
/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A database file that another program left. The checksums of both meta pages are made right first,
 * or nothing behind them would be reached.
 */
#include "snapshotter/snap_fsck.h"
#include "snapshotter/snap_import.h"

#define META_SUM 72u /* bytes in front of the checksum in a meta page, with the page's header */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void mend(uint8_t *page)
{
	uint64_t h = 14695981039346656037ull;

	for (size_t i = 16; i < META_SUM; i++)
		h = (h ^ page[i]) * 1099511628211ull;
	for (size_t i = 0; i < 8; i++)
		page[META_SUM + i] = (uint8_t)(h >> (8 * i));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cf_cleanup(snap_import_rows_fini) struct snap_import_rows rows = { 0 };
	cf_cleanup(snap_fsck_rows_fini) struct snap_fsck_rows known = { 0 };
	struct bolt db;
	struct cf_err err;

	if (size > 1u << 20)
		return 0;
	cf_cleanup(cf_freep) uint8_t *copy = cf_zalloc(size + 1);

	if (size)
		memcpy(copy, data, size);
	for (size_t at = 0; at <= 4096 && size >= at + META_SUM + 8; at += 512)
		if (copy[at + 8] & 4) /* says that it is a meta page */
			mend(copy + at);
	if (bolt_open(cf_view(copy, size), &db, &err) == 0)
		(void)!snap_import_read(&db, &rows, &err);
	if (bolt_open(cf_view(copy, size), &db, &err) == 0)
		(void)!snap_fsck_read(&db, "nydus", &known, &err);
	return 0;
}
