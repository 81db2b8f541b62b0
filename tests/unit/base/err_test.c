/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/harness/test.h"

#include <errno.h>

CF_TEST(err_wrap_puts_the_context_in_front)
{
	struct cf_err err;
	int r = cf_fail(&err, CF_DATA_LOSS, "digest differs");

	EXPECT_INT(cf_wrap(&err, r, "layer %d", 3), -CF_DATA_LOSS);
	EXPECT_STR(err.msg, "layer 3: digest differs");
	EXPECT(err.code == CF_DATA_LOSS);
}

CF_TEST(err_text_is_one_printable_line_cut_on_a_character)
{
	struct cf_err err;
	char big[2000];

	EXPECT(cf_fail(&err, CF_INTERNAL, "a\nb\x1b[0m") < 0);
	EXPECT_STR(err.msg, "a?b?[0m");
	for (size_t i = 0; i + 1 < sizeof(big); i += 2)
		memcpy(big + i, "\xc3\xa9", 2);
	big[sizeof(big) - 1] = '\0';
	for (size_t shift = 0; shift < 2; shift++) {
		EXPECT(cf_fail(&err, CF_INTERNAL, "%s%s", shift ? "x" : "", big) < 0);
		EXPECT(cf_view_is_utf8(cf_view_str(err.msg)));
	}
}

CF_TEST(err_from_errno_names_it)
{
	struct cf_err err;

	EXPECT_FAILS(cf_fail_errno(&err, ENOENT, "open %s", "/x"), CF_NOT_FOUND);
	EXPECT_STR(err.msg, "open /x: No such file or directory");
	EXPECT(err.sys == ENOENT);
}

CF_TEST(err_may_be_absent)
{
	EXPECT(cf_fail(NULL, CF_NOT_FOUND, "x") == -CF_NOT_FOUND);
	EXPECT(cf_wrap(NULL, -5, "y") == -5);
}
