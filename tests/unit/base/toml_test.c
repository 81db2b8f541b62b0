/* SPDX-License-Identifier: Apache-2.0 */
#include "base/toml.h"
#include "tests/harness/test.h"

#include <math.h>

static struct cf_toml *parse(const char *text)
{
	struct cf_toml *root = NULL;
	struct cf_err err;

	EXPECT_OK(cf_toml_parse(cf_view_str(text), &root, &err), &err);
	return root;
}

CF_TEST(toml_reads_every_kind_of_value)
{
	cf_cleanup(cf_toml_freep) struct cf_toml *t =
		parse("# comment\r\n"
	              "name = \"a\\tb\\u00e9\\U0001F600\" # behind\n"
	              "raw = 'C:\\x'\n"
	              "ml = \"\"\"\nfirst \\\n   second\n\"quoted\"\"\"\"\n"
	              "lit = '''\nline 'one'\nline two'''\n"
	              "int = +1_000\nneg = -9223372036854775808\nhex = 0xdead_BEEF\noct = "
	              "0o755\nbin = 0b101\n"
	              "f = 6.626e-34\nf2 = 1e6\ninf = -inf\nnan = nan\n"
	              "t = true\nf3 = false\n"
	              "dt = 1979-05-27T07:32:00.999-07:00\nld = 1979-05-27 07:32:00\nd = "
	              "2024-02-29\nlt = 23:59:60\n"
	              "arr = [ 1, 'two', [3.0,], # c\n { x = 4 },\n ]\n"
	              "\"quoted key\" = 1\n'lit.key' = 2\n1234 = 3\n");

	EXPECT_STR(cf_toml_str(cf_toml_get(t, "name")), "a\tb\xc3\xa9\xf0\x9f\x98\x80");
	EXPECT_STR(cf_toml_str(cf_toml_get(t, "raw")), "C:\\x");
	EXPECT_STR(cf_toml_str(cf_toml_get(t, "ml")), "first second\n\"quoted\"");
	EXPECT_STR(cf_toml_str(cf_toml_get(t, "lit")), "line 'one'\nline two");
	EXPECT(cf_toml_int(cf_toml_get(t, "int")) == 1000);
	EXPECT(cf_toml_int(cf_toml_get(t, "neg")) == INT64_MIN);
	EXPECT(cf_toml_int(cf_toml_get(t, "hex")) == 0xdeadbeef);
	EXPECT(cf_toml_int(cf_toml_get(t, "oct")) == 0755);
	EXPECT(cf_toml_int(cf_toml_get(t, "bin")) == 5);
	EXPECT(cf_toml_float(cf_toml_get(t, "f")) == 6.626e-34);
	EXPECT(cf_toml_float(cf_toml_get(t, "f2")) == 1e6);
	EXPECT(isinf(cf_toml_float(cf_toml_get(t, "inf"))));
	EXPECT(isnan(cf_toml_float(cf_toml_get(t, "nan"))));
	EXPECT(cf_toml_bool(cf_toml_get(t, "t")) && !cf_toml_bool(cf_toml_get(t, "f3")));
	EXPECT_STR(cf_toml_str(cf_toml_get(t, "dt")), "1979-05-27T07:32:00.999-07:00");
	EXPECT_STR(cf_toml_str(cf_toml_get(t, "ld")), "1979-05-27 07:32:00");
	EXPECT(cf_toml_is(cf_toml_get(t, "d"), CF_TOML_DATETIME));
	EXPECT(cf_toml_is(cf_toml_get(t, "lt"), CF_TOML_DATETIME));

	const struct cf_toml *arr = cf_toml_get(t, "arr");

	EXPECT_INT(cf_toml_count(arr), 4);
	EXPECT_STR(cf_toml_str(cf_toml_at(arr, 1)), "two");
	EXPECT(cf_toml_float(cf_toml_at(cf_toml_at(arr, 2), 0)) == 3);
	EXPECT(cf_toml_int(cf_toml_get(cf_toml_at(arr, 3), "x")) == 4);
	EXPECT(!cf_toml_at(arr, 4));
	EXPECT(cf_toml_int(cf_toml_get(t, "quoted key")) == 1);
	EXPECT(cf_toml_int(cf_toml_get(t, "lit.key")) == 2);
	EXPECT(cf_toml_int(cf_toml_get(t, "1234")) == 3);
}

CF_TEST(toml_builds_tables_from_headers_dots_and_arrays)
{
	cf_cleanup(cf_toml_freep) struct cf_toml *t =
		parse("a.b.c = 1\na.b.d = 2\n"
	              "[x.y]\nz = 1\n[x]\nw = 2\n"
	              "[fruit]\napple.color = 'red'\n[fruit.apple.taste]\nsweet = true\n"
	              "[[p]]\nn = 1\n[p.sub]\nk = 1\n[[p.list]]\n[[p.list]]\n[[p]]\nn = "
	              "2\n[p.sub]\nk = 2\n");

	EXPECT(cf_toml_int(cf_toml_find(t, "a.b.d")) == 2);
	EXPECT(cf_toml_int(cf_toml_find(t, "x.y.z")) == 1);
	EXPECT(cf_toml_int(cf_toml_find(t, "x.w")) == 2);
	EXPECT(cf_toml_bool(cf_toml_find(t, "fruit.apple.taste.sweet")));
	EXPECT(!cf_toml_find(t, "fruit.pear.taste"));

	const struct cf_toml *p = cf_toml_get(t, "p");

	EXPECT_INT(cf_toml_count(p), 2);
	EXPECT(cf_toml_int(cf_toml_find(cf_toml_at(p, 1), "sub.k")) == 2);
	EXPECT_INT(cf_toml_count(cf_toml_get(cf_toml_at(p, 0), "list")), 2);
	EXPECT_STR(cf_toml_key_at(t, 0), "a");
}

static const char *const refused[] = {
	"a",
	"= 1",
	"a = ",
	"a == 1",
	"a = 1 b = 2",
	"a = 1\na = 2",
	"a = 1\n\"a\" = 2",
	"a.b = 1\na = 2",
	"a = 1\na.b = 2",
	"[a]\n[a]",
	"[a]\nb = 1\n[a.b]",
	"[a.b]\n[a]\nb.c = 1",
	"[fruit]\napple.color = 1\n[fruit.apple]",
	"t = { a = 1 }\n[t.b]",
	"t = { a = 1 }\nt.b = 2",
	"t = { a.b = 1, a = 2 }",
	"t = { a = { b = 1 }, a.c = 2 }",
	"t = { a = 1, }",
	"t = { a = 1\n}",
	"a = [1]\n[[a]]",
	"[[a]]\n[a]",
	"[a]\n[[a]]",
	"[a]]",
	"[[a]",
	"[]",
	"[a] b = 1",
	"a.b.\nc = 1",
	"a = [1 2]",
	"a = [1,,2]",
	"a = [,]",
	"a = \"x\ny\"",
	"a = \"\\q\"",
	"a = \"\\u12\"",
	"a = \"\\ud800\"",
	"a = \"\\u0000\"",
	"a = \"x",
	"a = 'x",
	"a = \"\"\"x",
	"a = '''x",
	"a = \"\x01\"",
	"# \x7f\na = 1",
	"a = 1\rb = 2",
	"a = \"\"\"x\ry\"\"\"",
	"\"\"\"a\"\"\" = 1",
	"a = 01",
	"a = 1__0",
	"a = _1",
	"a = 1_",
	"a = 1_e5",
	"a = 0x_1",
	"a = +0x1",
	"a = 0xg",
	"a = 0b2",
	"a = 9223372036854775808",
	"a = 0x8000000000000000",
	"a = 1.",
	"a = .5",
	"a = 1.e5",
	"a = 01.5",
	"a = 0x1p3",
	"a = infinity",
	"a = True",
	"a = truex",
	"a = 2023-02-29",
	"a = 2023-13-01",
	"a = 2023-01-01T",
	"a = 2023-01-01T25:00:00",
	"a = 2023-01-01T00:00:00+24:00",
	"a = 12:00",
	"a = 12:00:00.",
	"a = \"\xff\"",
	"\xff",
};

CF_TEST(toml_refuses_what_the_language_refuses)
{
	for (size_t i = 0; i < CF_ARRAY_LEN(refused); i++) {
		struct cf_toml *t = NULL;
		struct cf_err err;
		int r = cf_toml_parse(cf_view_str(refused[i]), &t, &err);

		if (r != -CF_INVALID_ARGUMENT)
			print_message("case %zu: %s\n", i, refused[i]);
		EXPECT_INT(r, -CF_INVALID_ARGUMENT);
		EXPECT(!t);
	}
}

CF_TEST(toml_refuses_a_nul_byte)
{
	struct cf_toml *t = NULL;
	struct cf_err err;

	EXPECT_FAILS(cf_toml_parse(cf_view("a = '\0'", 8), &t, &err), CF_INVALID_ARGUMENT);
	EXPECT_FAILS(cf_toml_parse(cf_view("a = 1\0", 6), &t, &err), CF_INVALID_ARGUMENT);
}

CF_TEST(toml_survives_every_truncation)
{
	static const char text[] = "a = { b = [1, 2.5, 'x', \"\\u00e9\"], c.d = 2024-01-01 }\n"
				   "[[t.u]]\nk = '''\nlong'''\n";

	for (size_t n = 0; n < sizeof(text); n++) {
		struct cf_toml *t = NULL;
		char *copy = cf_strndup(text, n);
		int r = cf_toml_parse(cf_view(copy, n), &t, NULL);

		EXPECT(r == 0 || r == -CF_INVALID_ARGUMENT);
		cf_toml_free(t);
		free(copy);
	}
}

static int parse_repeated(const char *unit, size_t times, const char *tail)
{
	struct cf_buf b = { 0 };
	struct cf_toml *t = NULL;

	for (size_t i = 0; i < times; i++)
		cf_buf_add_str(&b, unit);
	cf_buf_add_str(&b, tail);
	int r = cf_toml_parse(cf_buf_view(&b), &t, NULL);
	cf_toml_free(t);
	cf_buf_fini(&b);
	return r;
}

CF_TEST(toml_has_limits)
{
	struct cf_buf b = { 0 };
	struct cf_toml *t = NULL;

	cf_buf_add_str(&b, "a = ");
	for (unsigned i = 0; i < CF_TOML_DEPTH_MAX; i++)
		cf_buf_add_byte(&b, '[');
	for (unsigned i = 0; i < CF_TOML_DEPTH_MAX; i++)
		cf_buf_add_byte(&b, ']');
	EXPECT(cf_toml_parse(cf_buf_view(&b), &t, NULL) == 0);
	t = cf_toml_free(t);
	cf_buf_fini(&b);
	EXPECT_INT(parse_repeated("a.", CF_TOML_DEPTH_MAX - 1, "a = 1"), 0);
	EXPECT_INT(parse_repeated("a.", CF_TOML_DEPTH_MAX, "a = 1"), -CF_RESOURCE_EXHAUSTED);
	EXPECT_INT(parse_repeated("[[a]]\n", CF_TOML_NODES_MAX - 1, ""), 0);
	EXPECT_INT(parse_repeated("[[a]]\n", CF_TOML_NODES_MAX, ""), -CF_RESOURCE_EXHAUSTED);
	for (unsigned i = 0; i <= CF_TOML_KEYS_MAX; i++)
		cf_buf_printf(&b, "k%u = 1\n", i);
	EXPECT_INT(cf_toml_parse(cf_buf_view(&b), &t, NULL), -CF_RESOURCE_EXHAUSTED);
	cf_buf_fini(&b);

	char deep[CF_TOML_DEPTH_MAX + 8] = "a = ";

	memset(deep + 4, '[', CF_TOML_DEPTH_MAX + 1);
	EXPECT_INT(cf_toml_parse(cf_view(deep, CF_TOML_DEPTH_MAX + 5), &t, NULL),
	           -CF_RESOURCE_EXHAUSTED);
}

CF_TEST(toml_getters_say_what_is_wrong)
{
	cf_cleanup(cf_toml_freep) struct cf_toml *t =
		parse("s = 'x'\ni = 5\nb = true\nl = ['p', 'q']\nm = ['p', 1]\n[t]\n");
	static const char *const known[] = { "s", "i", "b", "l", "m", NULL };
	const char *s = NULL;
	int64_t i = 0;
	bool b = false;
	struct cf_strv l = { 0 };
	const struct cf_toml *sub = NULL;
	struct cf_err err;

	EXPECT_OK(cf_toml_get_str(t, "s", NULL, &s, &err), &err);
	EXPECT_STR(s, "x");
	EXPECT_OK(cf_toml_get_str(t, "none", "dflt", &s, &err), &err);
	EXPECT_STR(s, "dflt");
	EXPECT_FAILS(cf_toml_get_str(t, "i", NULL, &s, &err), CF_INVALID_ARGUMENT);
	EXPECT_STR(err.msg, "line 2: i is of type integer, want string");
	EXPECT_OK(cf_toml_get_int(t, "i", 0, 5, 1, &i, &err), &err);
	EXPECT(i == 5);
	EXPECT_FAILS(cf_toml_get_int(t, "i", 0, 4, 1, &i, &err), CF_OUT_OF_RANGE);
	EXPECT_OK(cf_toml_get_bool(t, "b", false, &b, &err), &err);
	EXPECT(b);
	EXPECT_OK(cf_toml_get_strv(t, "l", &l, &err), &err);
	EXPECT(l.count == 2 && cf_streq(l.items[1], "q"));
	EXPECT_FAILS(cf_toml_get_strv(t, "m", &l, &err), CF_INVALID_ARGUMENT);
	EXPECT_INT(l.count, 2);
	EXPECT_OK(cf_toml_get_table(t, "t", &sub, &err), &err);
	EXPECT(sub);
	EXPECT_FAILS(cf_toml_get_table(t, "s", &sub, &err), CF_INVALID_ARGUMENT);
	EXPECT_FAILS(cf_toml_only(t, known, &err), CF_INVALID_ARGUMENT);
	EXPECT_STR(err.msg, "line 6: unknown key \"t\"");
	cf_strv_fini(&l);
}

CF_TEST(toml_writes_strings_that_read_back)
{
	static const char *const texts[] = {
		"",
		"plain",
		"a\nb\n",
		"tab\tnl\n",
		"quote'''s\n",
		"ends with quote\n'",
		"\\ \" \x01\x7f\n",
		"\xc3\xa9\n",
		"\r\n",
		"\nleading",
	};
	static const char *const keys[] = { "bare-key_1", "a.b", "", "\"q\"", "\n" };

	for (size_t i = 0; i < CF_ARRAY_LEN(texts); i++) {
		const char *key = keys[i % CF_ARRAY_LEN(keys)];
		struct cf_buf b = { 0 };

		cf_toml_add_key(&b, key);
		cf_buf_add_str(&b, " = ");
		cf_toml_add_string(&b, texts[i]);
		cf_buf_add_byte(&b, '\n');
		cf_cleanup(cf_toml_freep) struct cf_toml *t = parse((const char *)b.data);
		EXPECT_STR(cf_toml_str(cf_toml_get(t, key)), texts[i]);
		cf_buf_fini(&b);
	}
}
