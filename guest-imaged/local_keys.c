/* SPDX-License-Identifier: Apache-2.0 */
#include "guest-imaged/local_keys.h"

#include "base/fd.h"
#include "base/json.h"
#include "proto/jose_jwk.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

struct named_key {
	char *kid; /* NULL: stands for any */
	struct cf_secret *key;
};

struct local_keys {
	struct cf_pkey *pkeys[LOCAL_KEYS_MAX];
	size_t pkey_count;
	struct named_key keks[LOCAL_KEYS_MAX];
	size_t kek_count;
};

struct local_keys *local_keys_free(struct local_keys *k)
{
	for (size_t i = 0; k && i < k->pkey_count; i++)
		cf_pkey_free(k->pkeys[i]);
	for (size_t i = 0; k && i < k->kek_count; i++) {
		free(k->keks[i].kid);
		cf_secret_free(k->keks[i].key);
	}
	free(k);
	return NULL;
}

/* ---- loading ---- */

static int add_kek(struct local_keys *k, char *kid_take, struct cf_secret *key_take,
                   struct cf_err *err)
{
	if (k->kek_count == LOCAL_KEYS_MAX) {
		free(kid_take);
		cf_secret_free(key_take);
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "over %u keys", LOCAL_KEYS_MAX);
	}
	k->keks[k->kek_count++] = (struct named_key){ kid_take, key_take };
	return 0;
}

static int add_pkey(struct local_keys *k, struct cf_pkey *key_take, struct cf_err *err)
{
	if (k->pkey_count == LOCAL_KEYS_MAX) {
		cf_pkey_free(key_take);
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "over %u keys", LOCAL_KEYS_MAX);
	}
	k->pkeys[k->pkey_count++] = key_take;
	return 0;
}

static int add_map(struct local_keys *k, const struct cf_json *map, struct cf_err *err)
{
	const struct cf_json *value;
	const char *name;
	void *it = NULL;

	while (cf_json_next(map, &it, &name, &value)) {
		struct cf_buf b = { .max = LOCAL_KEYS_FILE_MAX };
		struct cf_secret *key = NULL;
		int r = cf_b64_decode(CF_B64_STD, cf_json_str(value), &b, err);

		if (r == 0)
			r = cf_secret_take_buf(&b, &key, err);
		else
			cf_buf_wipe(&b);
		if (r == 0)
			r = add_kek(k, cf_asprintf("kbs:///%s", name), key, err);
		if (r < 0)
			return cf_wrap(err, r, "%s", name);
	}
	return 0;
}

/* Positive: @text is JSON, but no key and no map of keys. */
#define NO_KEY 1

static int add_json(struct local_keys *k, struct cf_view text, struct cf_err *err)
{
	cf_cleanup(cf_json_freep) struct cf_json *root = NULL;
	cf_cleanup(jwk_freep) struct jwk *jwk = NULL;

	if (cf_json_parse(text, LOCAL_KEYS_FILE_MAX, &root, NULL) < 0 ||
	    cf_json_type(root) != CF_JSON_OBJECT)
		return NO_KEY;
	if (!cf_json_get(root, "kty"))
		return add_map(k, root, err);
	if (jwk_parse(root, &jwk, NULL) < 0 || !cf_pkey_is_private(jwk->key))
		return NO_KEY;
	return add_pkey(k, cf_pkey_ref(jwk->key), err);
}

static int add_file(struct local_keys *k, const char *path, struct cf_err *err)
{
	cf_cleanup(cf_secret_freep) struct cf_secret *file = NULL;
	struct cf_pkey *pkey = NULL;
	int r = cf_secret_read_file(path, &file, err);

	if (r < 0)
		return r;
	struct cf_view text = cf_secret_view(file);

	if (text.size == OCICRYPT_KEY_SIZE)
		return add_kek(k, NULL, cf_take(&file), err);
	if (text.size > 0 && text.data[0] == '{')
		return add_json(k, text, err);
	if (cf_pkey_parse(text, &pkey, NULL) < 0)
		return NO_KEY;
	if (cf_pkey_is_private(pkey))
		return add_pkey(k, pkey, err);
	cf_pkey_free(pkey);
	return NO_KEY;
}

static int load_entry(struct local_keys *k, const char *dir, const char *name,
                      struct cf_strv *ret_ignored, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/%s", dir, name);
	struct stat st;

	if (stat(path, &st) != 0 || !S_ISREG(st.st_mode) || name[0] == '.')
		return 0;
	int r = st.st_size > (off_t)LOCAL_KEYS_FILE_MAX ? NO_KEY : add_file(k, path, err);

	if (r < 0)
		return cf_wrap(err, r, "key file %s", name);
	if (r > 0 && ret_ignored)
		cf_strv_add(ret_ignored, name);
	return 0;
}

int local_keys_load(const char *dir, struct local_keys **ret, struct cf_strv *ret_ignored,
                    struct cf_err *err)
{
	cf_cleanup(local_keys_freep) struct local_keys *k = cf_zalloc(sizeof(*k));
	DIR *d = opendir(dir);
	struct dirent *e;
	int r = 0;

	if (!d)
		return cf_fail_errno(err, errno, "keys %s", dir);
	while (r == 0 && (e = readdir(d)))
		r = load_entry(k, dir, e->d_name, ret_ignored, err);
	closedir(d);
	if (r < 0)
		return r;
	*ret = cf_take(&k);
	return 0;
}

/* ---- use ---- */

/* Keys that carry the name first, then those without one. */
static const struct named_key *nth_kek(const struct local_keys *k, const char *kid, size_t n)
{
	for (int with_name = 1; with_name >= 0; with_name--) {
		for (size_t i = 0; i < k->kek_count; i++) {
			const struct named_key *key = &k->keks[i];
			bool fits = with_name ? cf_streq(key->kid, kid) : !key->kid;

			if (fits && n-- == 0)
				return key;
		}
	}
	return NULL;
}

static int give_kek(void *arg, const char *kid, size_t i, struct cf_secret **ret,
                    struct cf_err *err)
{
	const struct named_key *key = nth_kek(arg, kid, i);

	if (!key)
		return cf_fail(err, CF_NOT_FOUND, "no key for %s was given", kid);
	return cf_secret_copy(cf_secret_view(key->key), ret, err);
}

struct ocicrypt_keys local_keys_view(struct local_keys *k)
{
	return (struct ocicrypt_keys){
		.pkeys = (const struct cf_pkey *const *)k->pkeys,
		.pkey_count = k->pkey_count,
		.kek = give_kek,
		.arg = k,
	};
}

int local_keys_resource(const struct local_keys *k, const char *uri, struct cf_buf *ret,
                        struct cf_err *err)
{
	for (size_t i = 0; i < k->kek_count; i++) {
		if (!cf_streq(k->keks[i].kid, uri))
			continue;
		cf_buf_add_view(ret, cf_secret_view(k->keks[i].key));
		return cf_buf_check(ret, "resource", err);
	}
	return cf_fail(err, CF_NOT_FOUND, "no resource %s", uri);
}
