/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/md5.h"

static const uint8_t shifts[4][4] = {
	{ 7, 12, 17, 22 }, { 5, 9, 14, 20 }, { 4, 11, 16, 23 }, { 6, 10, 15, 21 }
};

/* floor(2^32 × |sin(i + 1)|) */
static const uint32_t sines[64] = {
	0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613,
	0xfd469501, 0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193,
	0xa679438e, 0x49b40821, 0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d,
	0x02441453, 0xd8a1e681, 0xe7d3fbc8, 0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed,
	0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a, 0xfffa3942, 0x8771f681, 0x6d9d6122,
	0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70, 0x289b7ec6, 0xeaa127fa,
	0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665, 0xf4292244,
	0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
	0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb,
	0xeb86d391,
};

static uint32_t rotate(uint32_t v, unsigned n)
{
	return v << n | v >> (32 - n);
}

static void block(uint32_t h[4], const uint8_t in[64])
{
	uint32_t a = h[0], b = h[1], c = h[2], d = h[3], w[16];

	for (unsigned i = 0; i < 16; i++)
		w[i] = (uint32_t)in[4 * i] | (uint32_t)in[4 * i + 1] << 8 |
		       (uint32_t)in[4 * i + 2] << 16 | (uint32_t)in[4 * i + 3] << 24;
	for (unsigned i = 0; i < 64; i++) {
		uint32_t f;
		unsigned g;

		if (i < 16) {
			f = (b & c) | (~b & d);
			g = i;
		} else if (i < 32) {
			f = (d & b) | (~d & c);
			g = (5 * i + 1) % 16;
		} else if (i < 48) {
			f = b ^ c ^ d;
			g = (3 * i + 5) % 16;
		} else {
			f = c ^ (b | ~d);
			g = 7 * i % 16;
		}
		uint32_t t = d;

		d = c;
		c = b;
		b += rotate(a + f + sines[i] + w[g], shifts[i / 16][i % 4]);
		a = t;
	}
	h[0] += a;
	h[1] += b;
	h[2] += c;
	h[3] += d;
}

static uint8_t byte_at(struct cf_view a, struct cf_view b, uint64_t i)
{
	uint64_t size = a.size + b.size, padded = (size + 8) / 64 * 64 + 64;

	if (i < a.size)
		return a.data[i];
	if (i < size)
		return b.data[i - a.size];
	if (i == size)
		return 0x80;
	return i < padded - 8 ? 0 : (uint8_t)(size * 8 >> (8 * (i - (padded - 8))));
}

void md5(struct cf_view a, struct cf_view b, uint8_t out[MD5_SIZE])
{
	uint32_t h[4] = { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476 };
	uint64_t padded = ((uint64_t)a.size + b.size + 8) / 64 * 64 + 64;
	uint8_t in[64];

	for (uint64_t i = 0; i < padded; i++) {
		in[i % 64] = byte_at(a, b, i);
		if (i % 64 == 63)
			block(h, in);
	}
	for (unsigned i = 0; i < MD5_SIZE; i++)
		out[i] = (uint8_t)(h[i / 4] >> (8 * (i % 4)));
}
