/* SPDX-License-Identifier: Apache-2.0 */
#include "attest-agent/rest.h"
#include "tests/harness/test.h"

CF_TEST(rest_query_decodes_the_value_of_a_key)
{
	static const struct {
		const char *query, *key, *want; /* NULL: absent or refused */
	} cases[] = {
		{ "a=1&b=2", "b", "2" }, { "a=1&b=2", "c", NULL },
		{ "ab=1", "a", NULL },   { "a", "a", NULL },
		{ "a=", "a", "" },       { "a=x%20y+z%2B", "a", "x y z+" },
		{ "a=%2", "a", NULL },   { "a=%", "a", NULL },
		{ "a=%gg", "a", NULL },  { "a=%61", "a", "a" },
		{ "&&a=1", "a", "1" },   { "a=1&a=2", "a", "1" },
		{ "", "a", NULL },
	};

	for (size_t i = 0; i < CF_ARRAY_LEN(cases); i++) {
		struct cf_buf got = { 0 };
		bool found = rest_query(cf_view_str(cases[i].query), cases[i].key, &got);

		EXPECT(found == (cases[i].want != NULL));
		if (found)
			EXPECT(cf_view_eq_str(cf_buf_view(&got), cases[i].want));
		cf_buf_fini(&got);
	}
}
