/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/harness/test.h"

#include "base/db.h"
#include "kbs/store.h"

static const struct store_actor admin = { "admin", "192.0.2.1" };
static const struct store_actor guest = { "guest", NULL };
static const char *const any[] = { "any" };

static int yes(void *user, const struct cf_strv *listed, bool is_missing, struct cf_err *err)
{
	(void)user;
	(void)err;
	return is_missing || listed->count > 0
	               ? 0
	               : cf_fail(err, CF_PERMISSION_DENIED, "nothing is listed");
}

static int no(void *user, const struct cf_strv *listed, bool is_missing, struct cf_err *err)
{
	(void)user;
	(void)listed;
	(void)is_missing;
	return cf_fail(err, CF_PERMISSION_DENIED, "no");
}

static struct store *opened(const char *dir)
{
	struct store *s = NULL;
	struct cf_err err;

	EXPECT_OK(store_open(dir, &s, &err), &err);
	return s;
}

static int release(struct store *s, const char *path, const char *note, store_decide decide,
                   struct cf_secret **ret, struct cf_err *err)
{
	const struct store_release what = { .path = path,
		                            .note = note,
		                            .decide = decide,
		                            .ref = "k7q2-9fxt",
		                            .record = CF_VIEW_LIT("{}") };

	return store_resource_release(s, &guest, &what, ret, err);
}

static void put(struct store *s, const char *path, const char *value)
{
	struct cf_err err;
	int64_t version;

	EXPECT_OK(store_resource_put(s, &admin, path, cf_view_str(value), any, 1, &version, &err),
	          &err);
}

CF_TEST(store_keeps_resources_sealed_and_versioned_over_a_restart)
{
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	cf_cleanup(cf_freep) char *file = cf_asprintf("%s/kbs.db", dir);
	cf_cleanup(cf_secret_freep) struct cf_secret *got = NULL;
	cf_cleanup(store_closep) struct store *s = opened(dir);
	cf_cleanup(cf_buf_fini) struct cf_buf list = { 0 };
	struct cf_err err;

	put(s, "default/key/1", "the-owl-flies-at-noon");
	put(s, "default/key/1", "the-owl-flies-at-dusk");
	s = store_close(s);
	s = opened(dir);
	EXPECT_OK(release(s, "default/key/1", NULL, yes, &got, &err), &err);
	EXPECT(cf_view_eq_str(cf_secret_view(got), "the-owl-flies-at-dusk"));
	EXPECT_OK(store_resource_list(s, &list, &err), &err);
	EXPECT(strstr((char *)list.data, "\"version\":2,\"size\":21"));
	s = store_close(s);

	cf_cleanup(cf_buf_fini) struct cf_buf raw = cf_test_read(file);

	EXPECT(!memmem(raw.data, raw.size, "the-owl", 7));
}

CF_TEST(store_gives_nothing_that_was_not_decided_and_audits_both)
{
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	cf_cleanup(store_closep) struct store *s = opened(dir);
	cf_cleanup(cf_buf_fini) struct cf_buf lines = { 0 };
	struct cf_secret *got = NULL;
	struct store_audit_state state;
	struct cf_err err;

	put(s, "a/b/c", "x");
	EXPECT_FAILS(release(s, "a/b/c", "s1", no, &got, &err), CF_PERMISSION_DENIED);
	EXPECT_FAILS(release(s, "a/b/d", NULL, yes, &got, &err), CF_NOT_FOUND);
	EXPECT(!got);
	EXPECT_OK(release(s, "a/b/c", "s2", yes, &got, &err), &err);
	cf_secret_free(got);
	EXPECT_OK(store_audit_export(s, 1, 100, &lines, &err), &err);
	EXPECT(strstr((char *)lines.data, "\"action\":\"resource-get\",\"object\":\"a/b/c\","
	                                  "\"result\":\"denied\",\"note\":\"s1\""));
	EXPECT(strstr((char *)lines.data, "\"result\":\"released\",\"note\":\"s2\""));
	EXPECT_OK(store_audit_verify(s, NULL, &state, &err), &err);
	EXPECT_INT(state.count, 3);
	EXPECT_OK(store_resource_delete(s, &admin, "a/b/c", &err), &err);
	EXPECT_FAILS(store_resource_delete(s, &admin, "a/b/c", &err), CF_NOT_FOUND);
}

CF_TEST(store_refuses_paths_and_digests_that_are_none)
{
	static const char *const bad[] = { "",      "a",       "a/b",    "a/b/c/d", "a//c",
		                           "a/b/",  "/a/b",    "a/./c",  "a/../c",  "a/b/.c",
		                           "a/b/%", "a b/c/d", "a/b/c\n" };
	struct cf_err err;

	for (size_t i = 0; i < CF_ARRAY_LEN(bad); i++)
		EXPECT_FAILS(store_path_check(cf_view_str(bad[i]), &err), CF_INVALID_ARGUMENT);
	EXPECT_OK(store_path_check(cf_view_str("default/image_key/v1.2-x"), &err), &err);
	EXPECT_FAILS(store_initdata_check(cf_view_str("sha256:00"), &err), CF_INVALID_ARGUMENT);
	EXPECT_FAILS(store_initdata_check(cf_view_str("ANY"), &err), CF_INVALID_ARGUMENT);
	EXPECT_OK(store_initdata_check(cf_view_str("none"), &err), &err);
}

CF_TEST(store_replaces_reference_values_by_id)
{
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	cf_cleanup(store_closep) struct store *s = opened(dir);
	cf_cleanup(cf_json_freep) struct cf_json *a = NULL, *b = NULL;
	cf_cleanup(cf_buf_fini) struct cf_buf all = { 0 };
	struct cf_err err;

	EXPECT_OK(cf_json_parse(cf_view_str("{\"x\":[\"1\",\"2\"],\"y\":true}"), 0, &a, &err),
	          &err);
	EXPECT_OK(cf_json_parse(cf_view_str("{\"x\":[\"3\"]}"), 0, &b, &err), &err);
	EXPECT_OK(store_reference_put(s, &admin, a, "first", &err), &err);
	EXPECT_OK(store_reference_put(s, &admin, b, NULL, &err), &err);
	EXPECT_OK(store_reference_all(s, &all, &err), &err);
	EXPECT_STR((char *)all.data, "{\"x\":[\"3\"],\"y\":true}");
	EXPECT_OK(store_reference_delete(s, &admin, "x", &err), &err);
	EXPECT_FAILS(store_reference_delete(s, &admin, "x", &err), CF_NOT_FOUND);
}

/* ---- the audit chain against somebody who holds the file ---- */

static int tamper(struct cf_db_tx *tx, void *user, struct cf_err *err)
{
	return cf_db_exec_args(tx, user, NULL, 0, err);
}

static void expect_noticed(const char *sql, const char *known_head_of, const char *says)
{
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	cf_cleanup(cf_freep) char *file = cf_asprintf("%s/kbs.db", dir);
	cf_cleanup(cf_freep) char *statement = cf_strdup(sql);
	struct store *s = opened(dir);
	struct cf_db_opts opts = { .path = file };
	struct store_audit_state before, after;
	struct cf_db *db = NULL;
	struct cf_err err;

	for (int i = 0; i < 5; i++)
		EXPECT_OK(store_audit_note(s, &admin, "test", "thing", "ok", &err), &err);
	EXPECT_OK(store_audit_verify(s, NULL, &before, &err), &err);
	EXPECT_OK(store_audit_verify(s, before.head, &after, &err), &err);
	store_close(s);
	opts.migration_count = 2; /* the version that the file has; nothing is run */
	opts.migrations = (const char *const[]){ "", "" };
	EXPECT_OK(cf_db_open(&opts, &db, &err), &err);
	EXPECT_OK(cf_db_write(db, tamper, statement, &err), &err);
	cf_db_close(db);
	s = opened(dir);
	EXPECT_FAILS(store_audit_verify(s, known_head_of ? before.head : NULL, &after, &err),
	             CF_DATA_LOSS);
	EXPECT(strstr(err.msg, says));
	store_close(s);
}

CF_TEST(store_audit_notices_a_changed_line)
{
	expect_noticed("UPDATE audit SET line = replace(line, '\"ok\"', '\"no\"') WHERE seq = 3",
	               NULL, "audit line 3");
}

CF_TEST(store_audit_notices_a_removed_line)
{
	expect_noticed("DELETE FROM audit WHERE seq = 2", NULL, "audit line 2 is missing");
}

CF_TEST(store_audit_notices_two_lines_that_changed_places)
{
	expect_noticed("UPDATE audit SET line = (SELECT b.line FROM audit b WHERE b.seq = 3 - "
	               "(audit.seq - 2)) WHERE seq IN (2, 3)",
	               NULL, "audit line 2");
}

/* Cutting the end off leaves a good chain: only a head that somebody wrote down shows it. */
CF_TEST(store_audit_notices_a_cut_end_when_the_head_is_known)
{
	expect_noticed("DELETE FROM audit WHERE seq = 5", "head", "cut off");
}
