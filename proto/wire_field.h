/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * protobuf's wire form field by field, for who looks at a message without unpacking it. The bytes may
 * be hostile.
 *
 * Source: protobuf.dev, "Encoding".
 */
#include "base/bytes.h"

enum wire_type { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

struct wire_field {
	uint64_t no;
	unsigned type;
	uint64_t number;      /* WIRE_VARINT */
	struct cf_view bytes; /* WIRE_BYTES; borrowed */
};

/* The next field; false at the end, or when the input is malformed (@rd->bad). */
bool wire_field_next(struct cf_rd *rd, struct wire_field *f);
