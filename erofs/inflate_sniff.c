/* SPDX-License-Identifier: Apache-2.0 */
/* Of inflate.h, apart from it: who only asks what a blob is links no decompressor. */
#include "erofs/inflate.h"

enum inflate_format inflate_sniff(struct cf_view head)
{
	struct cf_view four = cf_view_sub(head, 0, 4);

	if (cf_view_starts_with(head, "\x1f\x8b"))
		return INFLATE_GZIP;
	/* Source: RFC 8878 §3.1: a frame, or a skippable frame 0x184D2A50 to 5F. */
	if (four.size == 4 && (cf_view_eq(four, cf_view("\x28\xb5\x2f\xfd", 4)) ||
	                       ((four.data[0] & 0xf0) == 0x50 &&
	                        cf_view_eq(cf_view_sub(four, 1, 3), cf_view("\x2a\x4d\x18", 3)))))
		return INFLATE_ZSTD;
	return INFLATE_PLAIN;
}
