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

static bool matches(const char *text)
{
	static const struct cf_view labels = CF_VIEW_LIT("a.b\0dot\0l\0"
	                                                 "1\0");
	cf_cleanup(snap_filter_freep) struct snap_filter *f = NULL;
	struct snap_record head = { .id = 1, .kind = SNAP_VIEW };
	struct snap_record *rec = snap_record_new(&head, "k8s.io/1/x", "sha256:aa", labels);
	char *texts[] = { (char *)(uintptr_t)text };
	struct cf_err err;

	EXPECT_OK(snap_filter_new(texts, 1, &f, &err), &err);
	bool yes = snap_filter_match(f, rec);

	snap_record_unref(rec);
	return yes;
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

	EXPECT_FAILS(parse("name~=/a{1,255}/"), CF_RESOURCE_EXHAUSTED);
	EXPECT_OK(parse("name~=a++++++++"), &err);
	EXPECT_FAILS(parse("name~=a+++++++++"), CF_RESOURCE_EXHAUSTED);
	EXPECT_FAILS(parse("name~=\"(a)\\\\1\""), CF_RESOURCE_EXHAUSTED);
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
