/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* IP addresses and CIDR prefixes, as Go reads and writes them. */
#include "base/bytes.h"

/* 16 bytes always; IPv4 in its mapped form, with .is_v4 set. */
struct ip {
	uint8_t b[16];
	bool is_v4;
};

struct cidr {
	struct ip ip;  /* as written, host bits and all */
	unsigned bits; /* prefix length: 0 to 32, or 0 to 128 */
};

#define IP_TEXT_MAX 48

bool ip_parse(struct cf_view text, struct ip *ret);
bool cidr_parse(struct cf_view text, struct cidr *ret);
void ip_write(const struct ip *ip, char out[IP_TEXT_MAX]);
/* First and last address. */
void cidr_range(const struct cidr *c, struct ip *first, struct ip *last);
int ip_cmp(const struct ip *a, const struct ip *b);
bool cidr_has(const struct cidr *c, const struct ip *ip);
/* false: it was the very last one. */
bool ip_next(struct ip *ip);
