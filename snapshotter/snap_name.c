/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshotter/snap_name.h"

#include "base/str.h"

#include <ctype.h>
#include <string.h>

#define DIGEST_HEX 64u

bool snap_name_is_extract(const char *key)
{
	const char *slash = strrchr(key, '/');
	const char *last = slash ? slash + 1 : key;
	const char *digest = strstr(last, " sha256:");

	if (!cf_starts_with(last, "extract-") || !digest)
		return false;
	digest += strlen(" sha256:");
	for (const char *p = digest; *p; p++)
		if (!isxdigit((unsigned char)*p))
			return false;
	return strlen(digest) == DIGEST_HEX;
}

static size_t hex_digits(const char *s)
{
	size_t n = 0;

	while (isxdigit((unsigned char)s[n]))
		n++;
	return n;
}

bool snap_name_is_layer(const char *name)
{
	const char *slash = strrchr(name, '/');
	const char *hex = cf_after(slash ? slash + 1 : name, "sha256:");

	if (!hex || hex_digits(hex) != DIGEST_HEX)
		return false;
	const char *rest = hex + DIGEST_HEX;

	return !rest[0] || (rest[0] == '#' && strspn(rest + 1, "0123456789") == strlen(rest + 1));
}
