/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"
#include "base/proc.h"
#include "tests/harness/test.h"

static struct cf_json *doctor(void)
{
	cf_cleanup(cf_freep) char *program = cf_test_bin("coffer");
	const char *argv[] = { program, "doctor", "--json", NULL };
	struct cf_proc_opts opts = {
		.argv = argv, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1
	};
	struct cf_buf out = { 0 };
	struct cf_json *root = NULL;
	struct cf_err err = { .code = CF_OK };
	int r = cf_proc_run(&opts, 1u << 20, 30000, &out, &err);

	if (r < 0) /* 3: a check failed here, which is an answer too */
		SKIP(err.msg);
	EXPECT_OK(cf_json_parse(cf_buf_view(&out), 0, &root, &err), &err);
	cf_buf_fini(&out);
	return root;
}

CF_TEST(doctor_gives_each_check_an_id_a_result_and_a_text)
{
	cf_cleanup(cf_json_freep) struct cf_json *root = doctor();
	const struct cf_json *checks = cf_json_get(root, "checks");

	EXPECT(cf_json_len(checks) >= 18 && cf_json_is_true(cf_json_get(root, "ok")));
	for (size_t i = 0; i < cf_json_len(checks); i++) {
		const struct cf_json *c = cf_json_at(checks, i);
		struct cf_view result = cf_json_str(cf_json_get(c, "result"));

		EXPECT(cf_json_str(cf_json_get(c, "id")).size);
		EXPECT(cf_json_str(cf_json_get(c, "text")).size);
		EXPECT(cf_view_eq_str(result, "ok") || cf_view_eq_str(result, "warn") ||
		       cf_view_eq_str(result, "skip"));
	}
}
