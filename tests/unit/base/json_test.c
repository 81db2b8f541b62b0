/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"
#include "tests/harness/test.h"

static const char *const good[] = {
	"{}",
	"[]",
	" [1, 2.5, -3e2, true, false, null, \"a\"] ",
	"{\"a\":{\"b\":[{}]}}",
	"7",
	"\"x\"",
	"{\"a\":1,\"A\":2}",
	"\"\\ud83d\\ude00\\n\"",
};

static const char *const refused[] = {
	"",                        /* nothing */
	"{\"a\":1,\"a\":2}",       /* duplicate key */
	"{\"a\":1,\"\\u0061\":2}", /* the same key in other letters */
	"{'a':1}",                 /* single quotes */
	"[NaN]",
	"[Infinity]",
	"\"\\u0000\"", /* NUL */
	"[1,]",        /* trailing comma */
	"[1] x",       /* trailing text */
	"[01]",
	"[1e4000]",
	"[.5]",
	"[+1]",
	"[1.]",
	"\"\\ud83d\"", /* half a pair */
	"\"\\udc00\"",
	"\"\\ud83d\\u0041\"",
	"\"a\tb\"", /* control character */
	"\"\xff\"", /* no UTF-8 */
	"{\"a\"}",
	"{\"a\":}",
	"{,}",
	"[,1]",
	"tru",
	"nul",
	"/* c */ 1",
	"\"\\x41\"",
	"\"",
	"null", /* a document that says nothing */
};

CF_TEST(json_takes_good_documents)
{
	for (size_t i = 0; i < CF_ARRAY_LEN(good); i++) {
		struct cf_json *j = NULL;
		struct cf_err err;

		EXPECT_OK(cf_json_parse(cf_view_str(good[i]), 0, &j, &err), &err);
		cf_json_free(j);
	}
}

CF_TEST(json_refuses_what_two_readers_could_read_differently)
{
	for (size_t i = 0; i < CF_ARRAY_LEN(refused); i++) {
		struct cf_json *j = NULL;
		struct cf_err err;

		if (cf_json_parse(cf_view_str(refused[i]), 0, &j, &err) != -CF_INVALID_ARGUMENT)
			fail_msg("accepted: %s", refused[i]);
		EXPECT(!j);
	}
}

CF_TEST(json_has_a_depth_and_a_size)
{
	char deep[2 * CF_JSON_DEPTH_MAX + 3];
	struct cf_json *j = NULL;
	struct cf_err err;

	memset(deep, '[', sizeof(deep));
	for (size_t n = CF_JSON_DEPTH_MAX; n <= CF_JSON_DEPTH_MAX + 1; n++) {
		memset(deep, '[', n);
		memset(deep + n, ']', n);
		int r = cf_json_parse(cf_view(deep, 2 * n), 0, &j, &err);
		EXPECT(n == CF_JSON_DEPTH_MAX ? r == 0 : r == -CF_RESOURCE_EXHAUSTED);
		j = r == 0 ? cf_json_free(j) : j;
	}
	EXPECT_FAILS(cf_json_parse(cf_view_str("[1,2]"), 4, &j, &err), CF_RESOURCE_EXHAUSTED);
}

CF_TEST(json_every_truncation_is_refused)
{
	static const char text[] = "{\"a\":[1.5e3,{\"b\":\"\\u00e9x\"}],\"c\":true}";
	struct cf_json *j = NULL;
	struct cf_err err;

	for (size_t n = 0; n < sizeof(text) - 1; n++)
		EXPECT(cf_json_parse(cf_view(text, n), 0, &j, &err) == -CF_INVALID_ARGUMENT);
}

CF_TEST(json_getters_name_what_is_wrong)
{
	struct cf_json *j = NULL;
	struct cf_err err;
	struct cf_view v;
	uint64_t n;

	EXPECT_OK(cf_json_parse(cf_view_str("{\"s\":\"t\",\"n\":-1,\"u\":18446744073709551615}"), 0,
	                        &j, &err),
	          &err);
	EXPECT_OK(cf_json_need_str(j, "s", &v, &err), &err);
	EXPECT(cf_view_eq_str(v, "t"));
	EXPECT_FAILS(cf_json_need_str(j, "x", &v, &err), CF_INVALID_ARGUMENT);
	EXPECT_STR(err.msg, "member 'x' is missing");
	EXPECT_FAILS(cf_json_need_u64(j, "n", &n, &err), CF_INVALID_ARGUMENT);
	EXPECT_OK(cf_json_need_u64(j, "u", &n, &err), &err);
	EXPECT(n == UINT64_MAX);
	cf_json_free(j);
}

CF_TEST(json_writer_puts_commas_and_sorts_on_demand)
{
	struct cf_buf out = { 0 };
	struct cf_jw w = { .out = &out };
	struct cf_json *j = NULL;
	struct cf_err err;

	cf_jw_obj(&w);
	cf_jw_kstr(&w, "b", "x\"y");
	cf_jw_key(&w, "a");
	cf_jw_arr(&w);
	cf_jw_int(&w, -1);
	cf_jw_bool(&w, true);
	cf_jw_null(&w);
	cf_jw_end_arr(&w);
	cf_jw_end_obj(&w);
	EXPECT_STR(out.data, "{\"b\":\"x\\\"y\",\"a\":[-1,true,null]}");
	EXPECT_OK(cf_json_parse(cf_buf_view(&out), 0, &j, &err), &err);
	cf_buf_reset(&out);
	cf_json_print_sorted(j, &out);
	EXPECT_STR(out.data, "{\"a\":[-1,true,null],\"b\":\"x\\\"y\"}");
	cf_buf_reset(&out);
	w = (struct cf_jw){ .out = &out, .pretty = true };
	cf_jw_json(&w, j);
	EXPECT_STR(out.data,
	           "{\n  \"b\": \"x\\\"y\",\n  \"a\": [\n    -1,\n    true,\n    null\n  ]\n}");
	cf_json_free(j);
	cf_buf_fini(&out);
}
