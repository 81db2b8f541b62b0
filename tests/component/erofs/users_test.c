/* SPDX-License-Identifier: Apache-2.0 */
/* The sandboxed process that looks for an image's users, and processes that are not honest. */
#include "erofs/layer_ipc.h"
#include "erofs/layer_users.h"
#include "erofs/layer_worker.h"

#include "base/str.h"
#include "tests/harness/tar_make.h"
#include "tests/harness/test.h"

#include <stdlib.h>
#include <unistd.h>

#define PASSWD "root:x:0:0::/:/bin/sh\n"

/* ---- instead of the honest one, as LIE says ---- */

static int tell(enum layer_msg_kind kind, uint32_t size, size_t payload)
{
	static const uint8_t zeros[LAYER_MSG_PAYLOAD_MAX];
	struct cf_err err;

	return layer_msg_send(LAYER_FD_CONTROL, kind, size, cf_view(zeros, payload), &err);
}

static int liar(int argc, char **argv)
{
	const char *lie = getenv("LIE");

	if (!lie)
		return layer_worker_users(argc, argv);
	if (cf_streq(lie, "index"))
		return tell(LAYER_MSG_DATA, LAYER_USERS_FILES, 1);
	if (cf_streq(lie, "kind"))
		return tell(LAYER_MSG_FREE, 0, 0);
	for (int i = 0; cf_streq(lie, "size") && i < 6; i++)
		(void)!tell(LAYER_MSG_DATA, 0, LAYER_MSG_PAYLOAD_MAX);
	for (int i = 0; cf_streq(lie, "endless") && i < 100; i++)
		(void)!tell(LAYER_MSG_DATA, 0, 0);
	if (cf_streq(lie, "forbidden"))
		return (int)getppid();
	return 0; /* and "silent" */
}

static const struct cf_helper rows[] = { { LAYER_HELPER_USERS, liar } };

__attribute__((constructor)) static void become_helper(int argc, char **argv)
{
	cf_helper_main(argc, argv, rows, CF_ARRAY_LEN(rows));
}

/* ---- tests ---- */

CF_TEST(users_of_a_layer_are_found_in_a_process_of_its_own)
{
	struct layer_users_found found = { 0 };
	struct layer_users *u = NULL;
	struct cf_buf tar = { 0 };
	struct cf_err err;

	tar_add_file(&tar, "etc/passwd", PASSWD);
	tar_add_file(&tar, "etc/.wh.group", "");
	tar_end(&tar);
	EXPECT_OK(layer_users_new(&u, &err), &err);
	EXPECT_OK(layer_users_feed(u, cf_buf_view(&tar), &err), &err);
	EXPECT_OK(layer_users_finish(u, &found, &err), &err);
	EXPECT(cf_view_eq_str(cf_buf_view(&found.text[0]), PASSWD));
	EXPECT(found.is_there[1] && !found.text[1].size);
	layer_users_found_fini(&found);
	layer_users_free(u);
	cf_buf_fini(&tar);
}

CF_TEST(users_of_a_layer_are_enough_before_its_end)
{
	cf_cleanup(cf_freep) uint8_t *rest = cf_zalloc(4u << 20);
	struct layer_users_found found = { 0 };
	struct layer_users *u = NULL;
	struct cf_buf tar = { 0 };
	struct cf_err err;
	int r = 0;

	tar_add_file(&tar, "etc/passwd", PASSWD);
	tar_add_file(&tar, "etc/group", "root:x:0:\n");
	EXPECT_OK(layer_users_new(&u, &err), &err);
	EXPECT_OK(layer_users_feed(u, cf_buf_view(&tar), &err), &err);
	while (r == 0) /* as far as sockets hold it, then it is gone */
		r = layer_users_feed(u, cf_view(rest, 4u << 20), &err);
	EXPECT_INT(r, LAYER_USERS_E_ENOUGH);
	EXPECT_OK(layer_users_finish(u, &found, &err), &err);
	EXPECT(found.text[0].size && found.text[1].size);
	layer_users_found_fini(&found);
	layer_users_free(u);
	cf_buf_fini(&tar);
}

CF_TEST(users_of_what_is_no_layer_are_an_error)
{
	static const char junk[1024] = "no archive";
	struct layer_users_found found = { 0 };
	struct layer_users *u = NULL;
	struct cf_err err;

	EXPECT_OK(layer_users_new(&u, &err), &err);
	EXPECT(layer_users_feed(u, cf_view(junk, sizeof(junk)), &err) >= 0);
	EXPECT_FAILS(layer_users_finish(u, &found, &err), CF_INVALID_ARGUMENT);
	layer_users_free(u);
}

CF_TEST(users_of_a_process_that_lies_are_an_error)
{
	static const struct {
		const char *lie;
		enum cf_code code;
	} cases[] = {
		{ "index", CF_INTERNAL },  { "kind", CF_INTERNAL },
		{ "size", CF_INTERNAL },   { "endless", CF_INTERNAL },
		{ "silent", CF_INTERNAL }, { "forbidden", CF_PERMISSION_DENIED },
	};

	for (size_t i = 0; i < CF_ARRAY_LEN(cases); i++) {
		struct layer_users_found found = { 0 };
		struct layer_users *u = NULL;
		struct cf_err err;

		EXPECT(setenv("LIE", cases[i].lie, 1) == 0);
		EXPECT_OK(layer_users_new(&u, &err), &err);
		EXPECT_FAILS(layer_users_finish(u, &found, &err), cases[i].code);
		EXPECT(!found.text[0].size);
		layer_users_free(u);
	}
}
