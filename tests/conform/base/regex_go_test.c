/* SPDX-License-Identifier: Apache-2.0 */
/* Generated patterns and texts: the spans that Go's regexp finds (tests/conform/go/regex_cases.go). */
#include "base/regex.h"

#include "base/proc.h"
#include "base/str.h"
#include "tests/harness/test.h"

#define CASES    "20000"
#define SEED     "1" /* COFFER_SEED chooses others */
#define TEXT_MAX (64u << 20)
#define STEPS    100000000u

static bool has_go(void)
{
	const char *const argv[] = { "go", "version", NULL };
	struct cf_proc_opts opts = {
		.argv = argv, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1
	};
	struct cf_err err;

	return cf_proc_run(&opts, 4096, 20000, NULL, &err) == 0;
}

static void ask_go(struct cf_buf *ret)
{
	cf_cleanup(cf_freep) char *source = cf_test_source("tests/conform/go/regex_cases.go");
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	cf_cleanup(cf_freep) char *cache = cf_asprintf("%s/cache", dir);
	const char *seed = getenv("COFFER_SEED");
	const char *const argv[] = { "go", "run", source, seed ? seed : SEED, CASES, NULL };
	struct cf_proc_opts opts = {
		.argv = argv, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1
	};
	struct cf_err err;

	setenv("GO111MODULE", "off", 1);
	setenv("GOFLAGS", "", 1);
	if (!getenv("HOME"))
		setenv("GOCACHE", cache, 0);
	ret->max = TEXT_MAX;
	EXPECT_OK(cf_proc_run(&opts, TEXT_MAX, 250000, ret, &err), &err);
}

/* "HEX." up to the next space. */
static struct cf_buf field_of(const char *word)
{
	struct cf_buf b = { 0 };
	struct cf_err err;
	size_t size = strlen(word);

	EXPECT(size && word[size - 1] == '.');
	EXPECT_OK(cf_hex_decode_buf(cf_view(word, size - 1), &b, &err), &err);
	return b;
}

static void find(const struct cf_regex *re, struct cf_regex_run *run, struct cf_view text,
                 struct cf_buf *says)
{
	struct cf_regex_span *spans = cf_zalloc_n(cf_regex_groups(re) + 1, sizeof(*spans));

	run->steps_left = STEPS;
	if (!cf_regex_match(re, run, text, 0, spans))
		cf_buf_add_str(says, "no");
	else
		for (uint32_t i = 0; i <= cf_regex_groups(re); i++)
			cf_buf_printf(says, "%zd-%zd,", (ssize_t)spans[i].start,
			              (ssize_t)spans[i].end);
	free(spans);
}

static bool agrees(struct cf_regex_run *run, const struct cf_strv *words)
{
	struct cf_buf pattern = field_of(words->items[0]), text = field_of(words->items[1]);
	struct cf_buf says = { 0 };
	cf_cleanup(cf_regex_freep) struct cf_regex *re = NULL;
	struct cf_err err;

	if (cf_regex_new(cf_buf_view(&pattern), &re, &err) < 0)
		cf_buf_add_str(&says, "bad");
	else
		find(re, run, cf_buf_view(&text), &says);
	bool same = cf_view_eq_str(cf_buf_view(&says), words->items[2]);

	if (!same)
		print_message("%s %s: Go says %s, here %.*s\n", words->items[0], words->items[1],
		              words->items[2], (int)says.size, (const char *)says.data);
	cf_buf_fini(&pattern);
	cf_buf_fini(&text);
	cf_buf_fini(&says);
	return same;
}

CF_TEST(regex_finds_what_go_finds_in_generated_cases)
{
	struct cf_buf cases = { 0 };
	struct cf_regex_run run = { 0 };
	cf_cleanup(cf_strv_fini) struct cf_strv lines = { 0 };
	size_t wrong = 0, seen = 0;

	if (!has_go())
		SKIP("no Go (golang-go)");
	ask_go(&cases);
	cf_strv_split(&lines, cf_buf_view(&cases), '\n');
	for (size_t i = 0; i < lines.count; i++) {
		cf_cleanup(cf_strv_fini) struct cf_strv words = { 0 };

		cf_strv_split(&words, cf_view_str(lines.items[i]), ' ');
		if (words.count != 3)
			continue;
		seen++;
		wrong += !agrees(&run, &words);
	}
	EXPECT(seen == strtoul(CASES, NULL, 10));
	EXPECT_INT(wrong, 0);
	cf_regex_run_fini(&run);
	cf_buf_fini(&cases);
}
