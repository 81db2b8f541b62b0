/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshotter/snap_filter.h"

#include "base/str.h"
#include "snapshotter/snap_record.h"
#include "tests/harness/test.h"

static int parse(const char *text)
{
	cf_cleanup(snap_filter_freep) struct snap_filter *f = NULL;
	char *texts[] = { (char *)(uintptr_t)text };
	struct cf_err err;

	return snap_filter_new(texts, 1, &f, &err);
}

static bool matches_name(const char *text, const char *name)
{
	static const struct cf_view labels = CF_VIEW_LIT("a.b\0dot\0l\0"
	                                                 "1\0");
	cf_cleanup(snap_filter_freep) struct snap_filter *f = NULL;
	struct snap_record head = { .id = 1, .kind = SNAP_VIEW };
	struct snap_record *rec =
		snap_record_new(&head, cf_view_str(name), "sha256:aa", labels, NULL);
	char *texts[] = { (char *)(uintptr_t)text };
	struct cf_err err;

	EXPECT_OK(snap_filter_new(texts, 1, &f, &err), &err);
	bool yes = snap_filter_match(f, rec);

	EXPECT_OK(snap_filter_check(f, &err), &err);
	snap_record_unref(rec);
	return yes;
}

static bool matches(const char *text)
{
	return matches_name(text, "k8s.io/1/x");
}

CF_TEST(filter_matches_fields)
{
	EXPECT(matches("") && matches("kind==view") && !matches("kind==active"));
	EXPECT(matches("name==k8s.io/1/x,parent==sha256:aa"));
	EXPECT(matches("labels.a.b==dot") && matches("labels.\"a.b\"==dot") && matches("labels.l"));
	EXPECT(!matches("labels.x") && matches("labels.x!=y") && !matches("nosuch"));
	EXPECT(matches("name~=^k8s") && matches("name~=/x$/") && !matches("name~=^x"));
	EXPECT(!matches("name~=[")); /* one that does not compile */
	EXPECT(matches("name == k8s.io/1/x"));
}

CF_TEST(filter_patterns_are_go_s)
{
	EXPECT(matches("name~=\\d/x") && !matches("name~=\\d\\d"));
	EXPECT(matches("name~=/^\\\\w+\\\\.io\\/1/") && matches("name~=(?i)K8S"));
	EXPECT(matches("name~=/^k8s[.]io.[0-9]{1,255}/") && !matches("name~=o{2}"));
	EXPECT(matches("name~=(?:a|b|c|d|e|f|g|h|i|j|k)8s") && matches("name~=^k.*?/x$"));
	EXPECT(matches("name~=\\bio\\b") && !matches("name~=\\Bio\\b"));
	EXPECT(matches("name~=\\pL\\pN") && matches("name~=[[:alpha:]][[:digit:]]"));
	EXPECT(matches("name~=\\Ak8s") && matches("parent~=a\\z"));
	EXPECT(matches_name("name~=^.$", "\u00e9") && !matches_name("name~=^..$", "\u00e9"));
	EXPECT(matches_name("name~=^.$", "\xff")); /* U+FFFD */
	EXPECT(matches("nosuch~=^$") && !matches("nosuch~=/./"));
}

CF_TEST(filter_pattern_that_go_does_not_take_matches_nothing)
{
	static const char *const bad[] = { "name~=/k8s(?=.io)/",       /* look-ahead */
		                           "name~=\"(k)\\\\1|k8s\"",   /* backreference */
		                           "name~=k8s\\Z",             /* not Go's */
		                           "name~=k++",                /* nested repetition */
		                           "name~=/k{1001}|k8s/",      /* over the limit of {} */
		                           "name~=/(k{100}){11}|k8s/", /* … also multiplied */
		                           "name~=/(((k8s)/",          /* not closed */
		                           "name~=\"k8s|\\xff\"" };    /* no UTF-8 */

	for (size_t i = 0; i < CF_ARRAY_LEN(bad); i++)
		EXPECT(!matches(bad[i]));
}

CF_TEST(filter_refuses_what_containerd_refuses)
{
	static const char *const bad[] = { "name=",
		                           "name==",
		                           "name==a b",
		                           "==",
		                           ",",
		                           "kind==active,",
		                           "labels.",
		                           ".name",
		                           "name==\"open",
		                           "name~~x",
		                           "name=~x",
		                           "labels.\"x\\y\"",
		                           "name==|v|",
		                           "labels.'l'",
		                           "name=!x",
		                           " kind==view , labels.l==2 ",
		                           "name==\"\\u12\"",
		                           "name==\"\\ud800\"",
		                           "name==\"\\000\"",
		                           "name==\"\\xg0\"" };

	for (size_t i = 0; i < CF_ARRAY_LEN(bad); i++)
		EXPECT_FAILS(parse(bad[i]), CF_INVALID_ARGUMENT);
}

CF_TEST(filter_limits_what_it_takes)
{
	cf_cleanup(cf_buf_fini) struct cf_buf b = { 0 };
	char *many[SNAP_FILTERS_MAX + 1];
	cf_cleanup(snap_filter_freep) struct snap_filter *f = NULL;
	struct cf_err err;

	for (unsigned i = 0; i < SNAP_SELECTORS_MAX; i++)
		cf_buf_add_str(&b, "name,");
	cf_cleanup(cf_freep) char *just_enough = cf_buf_take_str(&b);

	just_enough[strlen(just_enough) - 1] = '\0'; /* the last comma */
	EXPECT_OK(parse(just_enough), &err);
	for (unsigned i = 0; i <= SNAP_SELECTORS_MAX; i++)
		cf_buf_add_str(&b, "name,");
	cf_cleanup(cf_freep) char *too_many = cf_buf_take_str(&b);

	EXPECT_FAILS(parse(too_many), CF_RESOURCE_EXHAUSTED);
	cf_buf_add_str(&b, "name==");
	for (unsigned i = 0; i < SNAP_FILTER_BYTES; i++)
		cf_buf_add_byte(&b, 'x');
	cf_cleanup(cf_freep) char *too_long = cf_buf_take_str(&b);

	EXPECT_FAILS(parse(too_long), CF_RESOURCE_EXHAUSTED);
	for (size_t i = 0; i < CF_ARRAY_LEN(many); i++)
		many[i] = (char *)(uintptr_t) "name";
	EXPECT_FAILS(snap_filter_new(many, CF_ARRAY_LEN(many), &f, &err), CF_RESOURCE_EXHAUSTED);
}

CF_TEST(filter_limits_the_memory_of_patterns)
{
	cf_cleanup(cf_buf_fini) struct cf_buf b = { 0 };
	cf_cleanup(snap_filter_freep) struct snap_filter *f = NULL;
	char *texts[SNAP_FILTERS_MAX];
	struct cf_err err;

	/* One program over its limit; then many small ones. */
	EXPECT_FAILS(parse("name~=/(abcdefghijklmnopqrstuvwxyz0123456789){1000}/"),
	             CF_RESOURCE_EXHAUSTED);
	for (unsigned i = 0; i < 3; i++)
		cf_buf_add_str(&b, "name~=x,");
	cf_buf_add_str(&b, "kind");
	cf_cleanup(cf_freep) char *three = cf_buf_take_str(&b);

	for (size_t i = 0; i < CF_ARRAY_LEN(texts); i++)
		texts[i] = three;
	EXPECT_FAILS(snap_filter_new(texts, CF_ARRAY_LEN(texts), &f, &err), CF_RESOURCE_EXHAUSTED);
	EXPECT(!f);
	EXPECT_OK(snap_filter_new(texts, CF_ARRAY_LEN(texts) / 2, &f, &err), &err);
}

CF_TEST(filter_limits_the_steps_of_patterns)
{
	cf_cleanup(snap_filter_freep) struct snap_filter *f = NULL;
	cf_cleanup(cf_buf_fini) struct cf_buf b = { 0 };
	struct snap_record head = { .id = 1, .kind = SNAP_VIEW };
	char *texts[] = { (char *)(uintptr_t) "name~=/(x?){500}(x+x+){20}y/" };
	struct cf_err err;

	for (unsigned i = 0; i < 200000; i++)
		cf_buf_add_byte(&b, 'x');
	cf_cleanup(cf_freep) char *name = cf_buf_take_str(&b);
	struct snap_record *rec =
		snap_record_new(&head, cf_view_str(name), "", (struct cf_view){ 0 }, NULL);

	EXPECT_OK(snap_filter_new(texts, 1, &f, &err), &err);
	EXPECT_OK(snap_filter_check(f, &err), &err);
	EXPECT(!snap_filter_match(f, rec));
	EXPECT_FAILS(snap_filter_check(f, &err), CF_RESOURCE_EXHAUSTED);
	snap_record_unref(rec);
}
