/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/wire_field.h"

static uint64_t rd_varint(struct cf_rd *rd)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 64; shift += 7) {
		uint8_t b = cf_rd_u8(rd);

		v |= (uint64_t)(b & 0x7f) << shift;
		if (!(b & 0x80))
			return v;
	}
	rd->bad = true;
	return 0;
}

bool wire_field_next(struct cf_rd *rd, struct wire_field *f)
{
	if (rd->bad || !cf_rd_left(rd))
		return false;
	uint64_t key = rd_varint(rd);

	*f = (struct wire_field){ .no = key >> 3, .type = key & 7 };
	switch (f->type) {
	case WIRE_VARINT:
		f->number = rd_varint(rd);
		break;
	case WIRE_64:
		cf_rd_skip(rd, 8);
		break;
	case WIRE_32:
		cf_rd_skip(rd, 4);
		break;
	case WIRE_BYTES: {
		uint64_t n = rd_varint(rd);

		rd->bad |= n > cf_rd_left(rd);
		if (!rd->bad)
			f->bytes = cf_rd_bytes(rd, (size_t)n);
		break;
	}
	default:
		rd->bad = true;
	}
	rd->bad |= f->no == 0;
	return !rd->bad;
}
