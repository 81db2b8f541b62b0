/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/image_users.h"

#include "base/fd.h"
#include "tests/harness/test.h"

static int add(const char *key, const char *text, struct oci_pairs *pairs, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/file", dir);

	EXPECT_OK(cf_write_file_atomic(path, cf_view_str(text), 0600, err), err);
	return image_users_add(pairs, key, path, err);
}

CF_TEST(users_become_annotations)
{
	static const char passwd[] = "root:x:0:0::/:/bin/sh\n\nalice:!:1000:1000:A:/:\n";
	struct oci_pairs pairs = { 0 };
	struct cf_buf back = { 0 };
	struct cf_err err;

	EXPECT_OK(add(IMAGE_USERS_PASSWD, passwd, &pairs, &err), &err);
	EXPECT_OK(add(IMAGE_USERS_GROUP, "wheel:x:10:alice,bob\nnone::11:", &pairs, &err), &err);
	EXPECT_INT(pairs.count, 2);
	EXPECT_OK(cf_b64_decode(CF_B64_STD, cf_view_str(oci_pairs_get(&pairs, IMAGE_USERS_PASSWD)),
	                        &back, &err),
	          &err);
	EXPECT(cf_view_eq_str(cf_buf_view(&back), passwd));
	cf_buf_fini(&back);
	oci_pairs_fini(&pairs);
}

CF_TEST(users_fit_a_label_of_containerds)
{
	cf_cleanup(cf_freep) char *name = cf_asprintf("%0*d", (int)IMAGE_USERS_MAX - 5, 0);
	cf_cleanup(cf_freep) char *fits = cf_asprintf("%s:x:1:", name);
	cf_cleanup(cf_freep) char *over = cf_asprintf("%s:x:1:a", name);
	struct oci_pairs pairs = { 0 };
	struct cf_err err;

	EXPECT_INT(strlen(fits), IMAGE_USERS_MAX);
	EXPECT_OK(add(IMAGE_USERS_GROUP, fits, &pairs, &err), &err);
	EXPECT(strlen(IMAGE_USERS_PASSWD) + strlen(pairs.items[0].value) <= 4096);
	oci_pairs_fini(&pairs);
	EXPECT_FAILS(add(IMAGE_USERS_GROUP, over, &pairs, &err), CF_RESOURCE_EXHAUSTED);
}

CF_TEST(users_are_refused_when_they_are_none_or_say_too_much)
{
	static const struct {
		const char *key, *text;
	} refused[] = {
		{ IMAGE_USERS_PASSWD, "" },
		{ IMAGE_USERS_PASSWD, "root:x:0:0::/\n" },                  /* a field is missing */
		{ IMAGE_USERS_PASSWD, "wheel:x:10:alice\n" },               /* the other file */
		{ IMAGE_USERS_PASSWD, ":x:0:0::/:/bin/sh\n" },              /* nobody */
		{ IMAGE_USERS_PASSWD, "root:$6$salt$hash:0:0::/:/bin/sh" }, /* a secret */
		{ IMAGE_USERS_GROUP, "wheel:x:10:alice\nadm:$1$x:4:" },
		{ IMAGE_USERS_GROUP, "wheel:x:10:al\xffice" },
		{ IMAGE_USERS_GROUP, "# a comment" },
	};
	struct oci_pairs pairs = { 0 };
	struct cf_err err;

	for (size_t i = 0; i < CF_ARRAY_LEN(refused); i++)
		EXPECT_FAILS(add(refused[i].key, refused[i].text, &pairs, &err),
		             CF_INVALID_ARGUMENT);
	EXPECT_FAILS(image_users_add(&pairs, IMAGE_USERS_GROUP, "/nowhere", &err), CF_NOT_FOUND);
	EXPECT_INT(pairs.count, 0);
}
