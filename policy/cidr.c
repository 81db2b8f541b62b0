/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/cidr.h"

#include <arpa/inet.h>
#include <stdio.h>

/* inet_pton refuses leading zeros and odd forms, as Go does. */
bool ip_parse(struct cf_view text, struct ip *ret)
{
	char buf[IP_TEXT_MAX] = { 0 };
	struct ip ip = { .b = { [10] = 0xff, [11] = 0xff } };

	if (!text.size || text.size >= sizeof(buf) || cf_view_has_nul(text))
		return false;
	memcpy(buf, text.data, text.size);
	if (inet_pton(AF_INET, buf, ip.b + 12) == 1) {
		for (size_t i = 0; i + 1 < text.size; i++)
			if (buf[i] == '0' && buf[i + 1] >= '0' && buf[i + 1] <= '9' &&
			    (i == 0 || buf[i - 1] == '.'))
				return false;
		ip.is_v4 = true;
		*ret = ip;
		return true;
	}
	if (inet_pton(AF_INET6, buf, ip.b) != 1)
		return false;
	ip.is_v4 = false;
	*ret = ip;
	return true;
}

static bool prefix_bits(struct cf_view text, unsigned max, unsigned *ret)
{
	unsigned n = 0;

	if (!text.size || text.size > 3)
		return false;
	for (size_t i = 0; i < text.size; i++) {
		if (text.data[i] < '0' || text.data[i] > '9')
			return false;
		n = n * 10 + (unsigned)(text.data[i] - '0');
	}
	*ret = n;
	return n <= max;
}

bool cidr_parse(struct cf_view text, struct cidr *ret)
{
	ssize_t slash = cf_view_find(text, '/');

	if (slash < 0 || !ip_parse(cf_view_sub(text, 0, (size_t)slash), &ret->ip))
		return false;
	return prefix_bits(cf_view_sub(text, (size_t)slash + 1, text.size),
	                   ret->ip.is_v4 ? 32 : 128, &ret->bits);
}

void ip_write(const struct ip *ip, char out[IP_TEXT_MAX])
{
	if (!inet_ntop(ip->is_v4 ? AF_INET : AF_INET6, ip->is_v4 ? ip->b + 12 : ip->b, out,
	               IP_TEXT_MAX))
		out[0] = '\0';
}

void cidr_range(const struct cidr *c, struct ip *first, struct ip *last)
{
	unsigned fixed = c->bits + (c->ip.is_v4 ? 96 : 0);

	*first = *last = c->ip;
	for (unsigned i = fixed; i < 128; i++) {
		first->b[i / 8] &= (uint8_t) ~(0x80u >> (i % 8));
		last->b[i / 8] |= (uint8_t)(0x80u >> (i % 8));
	}
}

int ip_cmp(const struct ip *a, const struct ip *b)
{
	return memcmp(a->b, b->b, sizeof(a->b));
}

bool cidr_has(const struct cidr *c, const struct ip *ip)
{
	struct ip first, last;

	cidr_range(c, &first, &last);
	return ip_cmp(&first, ip) <= 0 && ip_cmp(ip, &last) <= 0;
}

bool ip_next(struct ip *ip)
{
	for (int i = 15; i >= (ip->is_v4 ? 12 : 0); i--)
		if (++ip->b[i])
			return true;
	return false;
}
