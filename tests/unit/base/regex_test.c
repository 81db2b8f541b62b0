/* SPDX-License-Identifier: Apache-2.0 */
#include "base/regex.h"

#include "base/str.h"
#include "tests/harness/test.h"

#define STEPS 10000000u

static int compile(const char *pattern)
{
	cf_cleanup(cf_regex_freep) struct cf_regex *re = NULL;
	struct cf_err err;

	return cf_regex_new(cf_view_str(pattern), &re, &err);
}

static struct cf_regex *compiled(const char *pattern)
{
	struct cf_regex *re = NULL;
	struct cf_err err;

	EXPECT_OK(cf_regex_new(cf_view_str(pattern), &re, &err), &err);
	return re;
}

/* "1-3,2-3,-": the spans, the whole match first; "no": none. */
static void expect_spans(const char *pattern, const char *text, const char *wanted)
{
	cf_cleanup(cf_regex_freep) struct cf_regex *re = compiled(pattern);
	cf_cleanup(cf_buf_fini) struct cf_buf seen = { 0 };
	struct cf_regex_run run = { .steps_left = STEPS };
	struct cf_regex_span spans[8];

	EXPECT(cf_regex_groups(re) < CF_ARRAY_LEN(spans));
	bool found = cf_regex_match(re, &run, cf_view_str(text), 0, spans);

	for (uint32_t i = 0; found && i <= cf_regex_groups(re); i++)
		if (spans[i].start == SIZE_MAX)
			cf_buf_printf(&seen, "%s-", i ? "," : "");
		else
			cf_buf_printf(&seen, "%s%zu-%zu", i ? "," : "", spans[i].start,
			              spans[i].end);
	cf_buf_add_str(&seen, found ? "" : "no");
	if (!cf_view_eq_str(cf_buf_view(&seen), wanted))
		fail_msg("%s in %s: %.*s, expected %s", pattern, text, (int)seen.size,
		         (const char *)seen.data, wanted);
	EXPECT(!run.is_over && cf_regex_match(re, &run, cf_view_str(text), 0, NULL) == found);
	cf_regex_run_fini(&run);
}

CF_TEST(regex_finds_what_go_finds)
{
	static const char *const cases[][3] = {
		{ "", "abc", "0-0" },
		{ "b", "abc", "1-2" },
		{ "^b", "abc", "no" },
		{ "c$", "abc", "2-3" },
		{ "a.c", "xabc", "1-4" },
		{ "a.c", "a\nc", "no" },
		{ "(?s)a.c", "a\nc", "0-3" },
		{ "(?m)^b$", "a\nb\nc", "2-3" },
		{ "a|ab", "ab", "0-1" }, /* the first way, not the longest */
		{ "(a|ab)(c|bcd)", "abcd", "0-4,0-1,1-4" },
		{ "a*", "aaab", "0-3" },
		{ "a*?", "aaab", "0-0" },
		{ "a+?", "aaab", "0-1" },
		{ "(?U)a+", "aaab", "0-1" },
		{ "a{2}", "aaab", "0-2" },
		{ "a{2,}b", "aaab", "0-4" },
		{ "a{1,2}?", "aaab", "0-1" },
		{ "a{,2}", "a{,2}", "0-5" }, /* no repetition: text */
		{ "(a)|(b)", "b", "0-1,-,0-1" },
		{ "(?P<x>a)(?<y>b)(?:c)", "abc", "0-3,0-1,1-2" },
		{ "(a*)*", "b", "0-0,0-0" },
		{ "(a|b)*", "abx", "0-2,1-2" },
		{ "(x|)*", "a", "0-0,0-0" }, /* nothing is tried once, by its group */
		{ "(?:.*?\\B)+", "\xff", "0-0" },
		{ "a(?i)*b", "aab", "0-3" }, /* flags take no place */
		{ "ab\\Q\\E+", "abb", "0-3" },
		{ "(?i)straSSe", "STRASSE", "0-7" },
		{ "(?i)k", "\u212a", "0-3" }, /* KELVIN SIGN */
		{ "(?i)\u00df\u1f80", "\u1e9e\u1f88", "0-6" },
		{ "(?i)[\\x{100}-\\x{10000}]", "K", "0-1" }, /* KELVIN SIGN is in it */
		{ "[^a-c]", "abcd", "3-4" },
		{ "[]a]+", "]a]", "0-3" },
		{ "[[:digit:]x-]+", "a1x-", "1-4" },
		{ "\\bb", "ab b", "3-4" },
		{ "\\Bb", "ab b", "1-2" },
		{ "\\d+\\s\\w", "a12 b", "1-5" },
		{ "\\pL+", "1\u00e9\u03b1", "1-5" },
		{ "\\P{Lu}", "A\u00c9b", "3-4" },
		{ "\\p{Greek}", "a\u03b1", "1-3" },
		{ "\\Qa.b\\E+", "a.bb", "0-4" },
		{ "\\x{1F600}\\x41\\101", "\U0001f600AA", "0-6" },
		{ "\xef\xbf\xbd", "\xff", "0-1" }, /* bytes that are no text */
	};

	for (size_t i = 0; i < CF_ARRAY_LEN(cases); i++)
		expect_spans(cases[i][0], cases[i][1], cases[i][2]);
}

CF_TEST(regex_looks_from_where_it_is_told)
{
	cf_cleanup(cf_regex_freep) struct cf_regex *re = compiled("\\bb");
	cf_cleanup(cf_regex_freep) struct cf_regex *start = compiled("^b");
	struct cf_regex_run run = { .steps_left = STEPS };
	struct cf_view text = CF_VIEW_LIT("bb b");
	struct cf_regex_span s;

	EXPECT(cf_regex_match(re, &run, text, 1, &s) && s.start == 3 && s.end == 4);
	EXPECT(!cf_regex_match(re, &run, text, 4, &s));
	EXPECT(!cf_regex_match(start, &run, text, 1, &s)); /* the text starts at 0 all the same */
	cf_regex_run_fini(&run);
}

CF_TEST(regex_knows_its_groups)
{
	cf_cleanup(cf_regex_freep) struct cf_regex *re = compiled("(a)(?P<two>b)(?:c)(?<four>d)");

	EXPECT(cf_regex_groups(re) == 3 && cf_regex_group(re, cf_view_str("two")) == 2);
	EXPECT(cf_regex_group(re, cf_view_str("four")) == 3);
	EXPECT(!cf_regex_group(re, cf_view_str("")) && !cf_regex_group(re, cf_view_str("tw")));
	EXPECT(cf_regex_size(re) > 4 && cf_regex_bytes(re) >= cf_regex_size(re) * 12);
}

CF_TEST(regex_refuses_what_go_refuses)
{
	static const char *const bad[] = {
		"(",
		")",
		"a)",
		"(a",
		"(?",
		"(?a",
		"(?=a)",
		"(?!a)",
		"(?<=a)",
		"(?<!a)",
		"(?P=x)",
		"(?P<>a)",
		"(?P<x>a)(?P<x>b)",
		"(?P<a-b>x)",
		"(?i-)a",
		"*a",
		"a**",
		"(?i)*",
		"a|(?s){2}",
		"{2}",
		"a{2}{3}",
		"a|*",
		"a{2,1}",
		"a{1001}",
		"(a{100}){11}",
		"((a{10}){10}){11}",
		"[",
		"[a",
		"[]",
		"[b-a]",
		"[[:nosuch:]]",
		"[a-\\d]",
		"\\",
		"\\1",
		"\\8",
		"\\C",
		"\\Z",
		"\\G",
		"\\h",
		"\\x",
		"\\x{110000}",
		"\\x{",
		"\\p",
		"\\p{Nosuch}",
		"\\pX",
		"\xff",
		"a\xc3",
	};
	static const char *const good[] = { "((a{10}){10}){10}", "(a{1000}){1}",     "(a{0}){1000}",
		                            "(a*){1000}",        "(a{500}|b{999})?", "a{1000}" };

	for (size_t i = 0; i < CF_ARRAY_LEN(bad); i++)
		if (compile(bad[i]) != -CF_INVALID_ARGUMENT)
			fail_msg("taken: %s", bad[i]);
	for (size_t i = 0; i < CF_ARRAY_LEN(good); i++)
		EXPECT(compile(good[i]) == 0);
}

static char *repeated(const char *before, const char *what, unsigned count, const char *after)
{
	cf_cleanup(cf_buf_fini) struct cf_buf b = { 0 };

	cf_buf_add_str(&b, before);
	for (unsigned i = 0; i < count; i++)
		cf_buf_add_str(&b, what);
	cf_buf_add_str(&b, after);
	return cf_buf_take_str(&b);
}

static int compile_repeated(const char *before, const char *what, unsigned count, const char *after)
{
	cf_cleanup(cf_freep) char *pattern = repeated(before, what, count, after);

	return compile(pattern);
}

CF_TEST(regex_limits_patterns)
{
	cf_cleanup(cf_freep) char *open = repeated("", "(?:", CF_REGEX_NEST_MAX, "a");

	EXPECT(compile_repeated(open, ")", CF_REGEX_NEST_MAX, "") == 0);
	EXPECT_FAILS(compile_repeated("(?:", open, 1, ""), CF_INVALID_ARGUMENT);
	EXPECT(compile_repeated("", "()", CF_REGEX_GROUPS_MAX, "") == 0);
	EXPECT_FAILS(compile_repeated("", "()", CF_REGEX_GROUPS_MAX + 1, ""), CF_INVALID_ARGUMENT);
	EXPECT(compile_repeated("", "a", CF_REGEX_PROGRAM_MAX - 1, "") == 0);
	EXPECT_FAILS(compile_repeated("", "a", CF_REGEX_PROGRAM_MAX, ""), CF_RESOURCE_EXHAUSTED);
	EXPECT_FAILS(compile_repeated("", "a", CF_REGEX_PATTERN_MAX + 1, ""),
	             CF_RESOURCE_EXHAUSTED);
	EXPECT_FAILS(compile_repeated("", "\\pL", 20000, ""), CF_RESOURCE_EXHAUSTED); /* memory */
	EXPECT_FAILS(compile_repeated("(?i)", "\\pL", 20000, ""),
	             CF_RESOURCE_EXHAUSTED); /* folds */
}

CF_TEST(regex_time_is_linear_in_the_text)
{
	cf_cleanup(cf_regex_freep) struct cf_regex *re = compiled("(x+x+)+y");
	cf_cleanup(cf_freep) char *text = repeated("", "x", 100000, "");
	struct cf_regex_run run = { .steps_left = STEPS };

	EXPECT(!cf_regex_match(re, &run, cf_view_str(text), 0, NULL) && !run.is_over);
	EXPECT(STEPS - run.steps_left <= 100001 * (cf_regex_size(re) + 1));
	run.steps_left = 100000;
	EXPECT(!cf_regex_match(re, &run, cf_view_str(text), 0, NULL) && run.is_over);
	run.steps_left = STEPS;
	EXPECT(cf_regex_match(re, &run, cf_view_str("xxy"), 0, NULL) && !run.is_over);
	cf_regex_run_fini(&run);
}

CF_TEST(regex_limits_the_memory_of_a_match)
{
	cf_cleanup(cf_freep) char *pattern = repeated("", "(a)", 1000, "[^b]{1000}");
	cf_cleanup(cf_regex_freep) struct cf_regex *re = compiled(pattern);
	struct cf_regex_run run = { .steps_left = STEPS };
	struct cf_regex_span *spans = cf_zalloc_n(cf_regex_groups(re) + 1, sizeof(*spans));

	EXPECT(!cf_regex_match(re, &run, cf_view_str("b"), 0, spans) && run.is_over);
	EXPECT(run.arena.used <= CF_REGEX_RUN_MAX);
	EXPECT(!cf_regex_match(re, &run, cf_view_str("b"), 0, NULL) && !run.is_over);
	free(spans);
	cf_regex_run_fini(&run);
}
