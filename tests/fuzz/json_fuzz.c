/* fuzz: base */
/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The strict scan in front of json-c: what it lets through json-c reads, what is printed from that is
 * read again as the same document, and what it refuses is never parsed.
 */
#include "base/json.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DEPTH_MAX 64 /* far above what the scan lets through */

static void walk(const struct cf_json *v, unsigned depth)
{
	const struct cf_json *member;
	const char *key;
	void *it = NULL;

	if (depth > DEPTH_MAX)
		abort();
	for (size_t i = 0; cf_json_type(v) == CF_JSON_ARRAY && i < cf_json_len(v); i++)
		walk(cf_json_at(v, i), depth + 1);
	while (cf_json_type(v) == CF_JSON_OBJECT && cf_json_next(v, &it, &key, &member)) {
		if (cf_json_get(v, key) != member)
			abort(); /* a name that stands twice */
		walk(member, depth + 1);
	}
	(void)cf_json_int(v);
	(void)cf_json_str(v);
}

static void comes_back(const struct cf_json *first)
{
	cf_cleanup(cf_json_freep) struct cf_json *second = NULL;
	cf_cleanup(cf_buf_fini) struct cf_buf a = { 0 }, b = { 0 };

	cf_json_print_sorted(first, &a);
	if (a.bad || cf_json_parse(cf_buf_view(&a), 0, &second, NULL) < 0)
		abort();
	cf_json_print_sorted(second, &b);
	if (!cf_view_eq(cf_buf_view(&a), cf_buf_view(&b)))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cf_cleanup(cf_json_freep) struct cf_json *root = NULL;
	struct cf_view text = { data, size };
	int scanned = cf_json_scan(text, 0, NULL), parsed = cf_json_parse(text, 0, &root, NULL);

	if (scanned < 0 && parsed >= 0)
		abort();
	if (parsed < 0)
		return 0;
	walk(root, 0);
	comes_back(root);
	return 0;
}
