/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"
#include "base/json.h"
#include "guest-imaged/bundle.h"
#include "tests/harness/test.h"

#include <sys/stat.h>
#include <unistd.h>

struct fixture {
	char *dir;
	int root;
	struct pull_result image;
};

static void put(const struct fixture *f, const char *name, const char *text)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/%s", f->dir, name);
	struct cf_err err;

	EXPECT_OK(cf_write_file_atomic(path, cf_view_str(text), 0600, &err), &err);
}

static struct fixture start(void)
{
	struct fixture f = { .dir = cf_test_tmpdir() };
	cf_cleanup(cf_freep) char *etc = cf_asprintf("%s/etc", f.dir);
	struct cf_err err;

	EXPECT_OK(cf_mkdir_p(etc, 0755, &err), &err);
	put(&f, "etc/passwd", "root:x:0:0::/:/x\nbroken\napp:x:7:8::/:/x\nbad:x:seven:8::/:/x");
	put(&f, "etc/group", "root:x:0:\nteam:x:44:app\n");
	f.root = open(f.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	f.image.config.os = cf_strdup("linux");
	f.image.config.architecture = cf_strdup("amd64");
	return f;
}

static void stop(struct fixture *f)
{
	close(f->root);
	oci_config_fini(&f->image.config);
	free(f->dir);
}

/* uid × 1000 + gid, or the failure. */
static int64_t user_of(struct fixture *f, const char *user)
{
	cf_cleanup(cf_json_freep) struct cf_json *root = NULL;
	struct cf_buf text = { 0 };
	struct cf_err err;

	free(f->image.config.user);
	f->image.config.user = cf_strdup(user);
	int r = bundle_config(&f->image, f->root, &text, &err);

	if (r == 0)
		EXPECT_OK(cf_json_parse(cf_buf_view(&text), 0, &root, &err), &err);
	cf_buf_fini(&text);
	if (r < 0)
		return r;
	const struct cf_json *u = cf_json_get(cf_json_get(root, "process"), "user");

	return cf_json_int(cf_json_get(u, "uid")) * 1000 + cf_json_int(cf_json_get(u, "gid"));
}

CF_TEST(bundle_config_resolves_users_inside_the_image)
{
	static const struct {
		const char *user;
		int64_t want;
	} cases[] = {
		{ NULL, 0 },
		{ "", 0 },
		{ "app", 7008 },
		{ "7", 7008 },
		{ "9", 9000 },
		{ "9:10", 9010 },
		{ "app:team", 7044 },
		{ "9:team", 9044 },
		{ "app:3", 7003 },
		{ "nobody", -CF_INVALID_ARGUMENT },
		{ "bad", -CF_INVALID_ARGUMENT },
		{ "app:none", -CF_INVALID_ARGUMENT },
		{ "99999999999", -CF_INVALID_ARGUMENT },
	};
	struct fixture f = start();

	for (size_t i = 0; i < CF_ARRAY_LEN(cases); i++)
		EXPECT_INT(user_of(&f, cases[i].user), cases[i].want);
	stop(&f);
}

/* An image may put a link there: it leads inside the image, never into the guest. */
CF_TEST(bundle_config_does_not_follow_links_out_of_the_image)
{
	struct fixture f = start();
	cf_cleanup(cf_freep) char *passwd = cf_asprintf("%s/etc/passwd", f.dir);

	EXPECT(unlink(passwd) == 0 && symlink("/etc/passwd", passwd) == 0);
	EXPECT_INT(user_of(&f, "root"), -CF_INVALID_ARGUMENT);
	EXPECT(unlink(passwd) == 0 && mkfifo(passwd, 0600) == 0); /* must not hang either */
	EXPECT_INT(user_of(&f, "root"), -CF_INVALID_ARGUMENT);
	stop(&f);
}

CF_TEST(bundle_config_says_encrypted_only_when_every_layer_was)
{
	struct fixture f = start();
	struct pull_layer_info layers[2] = { { .is_encrypted = true }, { .is_encrypted = false } };
	struct cf_buf text = { 0 };
	struct cf_err err;

	/* the image may claim it in a label: that is not believed */
	oci_pairs_set(&f.image.config.labels, BUNDLE_ENCRYPTED, "true");
	f.image.layers = layers;
	f.image.layer_count = 2;
	EXPECT_OK(bundle_config(&f.image, -1, &text, &err), &err);
	EXPECT(strstr((char *)text.data, "\"" BUNDLE_ENCRYPTED "\":\"false\""));
	cf_buf_reset(&text);
	layers[1].is_encrypted = true;
	EXPECT_OK(bundle_config(&f.image, -1, &text, &err), &err);
	EXPECT(strstr((char *)text.data, "\"" BUNDLE_ENCRYPTED "\":\"true\""));
	cf_buf_fini(&text);
	f.image.layers = NULL;
	f.image.layer_count = 0;
	stop(&f);
}
