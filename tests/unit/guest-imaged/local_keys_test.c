/* SPDX-License-Identifier: Apache-2.0 */
#include "base/crypto.h"
#include "base/fd.h"
#include "guest-imaged/local_keys.h"
#include "proto/jose_jwk.h"
#include "tests/harness/test.h"

static void put(const char *dir, const char *name, struct cf_view content)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/%s", dir, name);
	struct cf_err err;

	EXPECT_OK(cf_write_file_atomic(path, content, 0600, &err), &err);
}

static void put_pkeys(const char *dir)
{
	cf_cleanup(cf_pkey_freep) struct cf_pkey *key = NULL;
	struct cf_buf pem = { 0 }, public = { 0 }, jwk = { 0 };
	struct cf_err err;

	EXPECT_OK(cf_pkey_generate(CF_PKEY_EC_P256, 0, &key, &err), &err);
	EXPECT_OK(cf_pkey_to_pem(key, true, &pem, &err), &err);
	EXPECT_OK(cf_pkey_to_pem(key, false, &public, &err), &err);
	EXPECT_OK(jwk_print_private(key, NULL, NULL, &jwk, &err), &err);
	put(dir, "key.pem", cf_buf_view(&pem));
	put(dir, "public.pem", cf_buf_view(&public));
	put(dir, "key.jwk", cf_buf_view(&jwk));
	cf_buf_fini(&pem);
	cf_buf_fini(&public);
	cf_buf_fini(&jwk);
}

CF_TEST(local_keys_takes_what_opens_images_and_names_the_rest)
{
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	cf_cleanup(local_keys_freep) struct local_keys *k = NULL;
	cf_cleanup(cf_secret_freep) struct cf_secret *first = NULL, *second = NULL, *third = NULL;
	struct cf_strv ignored = { 0 };
	struct cf_err err;

	put_pkeys(dir);
	put(dir, "raw.key", (struct cf_view)CF_VIEW_LIT("0123456789abcdef0123456789abcdef"));
	put(dir, "note.txt", (struct cf_view)CF_VIEW_LIT("not a key"));
	put(dir, "short.key", (struct cf_view)CF_VIEW_LIT("0123"));
	put(dir, ".hidden", (struct cf_view)CF_VIEW_LIT("0123456789abcdef0123456789abcdef"));
	put(dir, "map.json",
	    (struct cf_view)CF_VIEW_LIT(
		    "{\"a/b/c\":\"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\"}"));
	EXPECT_OK(local_keys_load(dir, &k, &ignored, &err), &err);
	struct ocicrypt_keys view = local_keys_view(k);

	EXPECT_INT(view.pkey_count, 2);
	EXPECT_INT(ignored.count, 3);
	EXPECT(cf_strv_has(&ignored, "public.pem") && cf_strv_has(&ignored, "note.txt"));
	/* the key that carries the name comes first, then those without one */
	EXPECT_OK(view.kek(view.arg, "kbs:///a/b/c", 0, &first, &err), &err);
	EXPECT_OK(view.kek(view.arg, "kbs:///a/b/c", 1, &second, &err), &err);
	EXPECT_FAILS(view.kek(view.arg, "kbs:///a/b/c", 2, &third, &err), CF_NOT_FOUND);
	EXPECT_FAILS(view.kek(view.arg, "kbs:///x/y/z", 1, &third, &err), CF_NOT_FOUND);
	struct cf_buf resource = { 0 };

	EXPECT_OK(local_keys_resource(k, "kbs:///a/b/c", &resource, &err), &err);
	EXPECT_INT(resource.size, 32);
	EXPECT_FAILS(local_keys_resource(k, "kbs:///a/b/d", &resource, &err), CF_NOT_FOUND);
	cf_buf_fini(&resource);
	cf_strv_fini(&ignored);
}

CF_TEST(local_keys_refuses_no_directory_broken_maps_and_too_many)
{
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	cf_cleanup(cf_freep) char *none = cf_asprintf("%s/none", dir);
	struct local_keys *k = NULL;
	struct cf_err err;

	EXPECT_FAILS(local_keys_load(none, &k, NULL, &err), CF_NOT_FOUND);
	put(dir, "map.json", (struct cf_view)CF_VIEW_LIT("{\"a/b/c\":\"not base64!\"}"));
	EXPECT_FAILS(local_keys_load(dir, &k, NULL, &err), CF_INVALID_ARGUMENT);
	put(dir, "map.json", (struct cf_view)CF_VIEW_LIT("{}"));
	for (unsigned i = 0; i <= LOCAL_KEYS_MAX; i++) {
		cf_cleanup(cf_freep) char *name = cf_asprintf("k%u", i);

		if (i == LOCAL_KEYS_MAX) {
			EXPECT_OK(local_keys_load(dir, &k, NULL, &err), &err);
			k = local_keys_free(k);
		}
		put(dir, name, (struct cf_view)CF_VIEW_LIT("0123456789abcdef0123456789abcdef"));
	}
	EXPECT_FAILS(local_keys_load(dir, &k, NULL, &err), CF_RESOURCE_EXHAUSTED);
	EXPECT(!k);
}
