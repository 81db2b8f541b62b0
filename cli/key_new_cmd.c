/* SPDX-License-Identifier: Apache-2.0 */
/* coffer key new: keys for images, signatures, sealed secrets and administrators. */
#include "base/crypto.h"
#include "base/fd.h"
#include "cli/cli.h"
#include "cli/cmds_image.h"
#include "proto/jose_jwk.h"

#include <unistd.h>

static const char usage[] =
	"usage: coffer key new KIND -o FILE\n"
	"\n"
	"  image   32 random bytes: an image key\n"
	"  sign    P-256, PEM; the public half goes to FILE.pub\n"
	"  seal    P-256, JWK; the public half goes to FILE.pub\n"
	"  admin   Ed25519, PEM; the public half goes to FILE.pub\n"
	"\n"
	"Files are readable by you alone; nothing is overwritten. The answer is the file's name.\n";

struct key_kind {
	const char *name;
	int (*make)(struct cf_buf *secret, struct cf_buf *public, struct cf_err *err);
};

static int make_image(struct cf_buf *secret, struct cf_buf *public, struct cf_err *err)
{
	uint8_t *room = cf_buf_reserve(secret, 32);

	(void)public;
	cf_random(room, 32);
	secret->size = 32;
	return cf_buf_check(secret, "key", err);
}

static int make_pem(enum cf_pkey_kind kind, struct cf_buf *secret, struct cf_buf *public,
                    struct cf_err *err)
{
	cf_cleanup(cf_pkey_freep) struct cf_pkey *key = NULL;
	int r = cf_pkey_generate(kind, 0, &key, err);

	if (r == 0)
		r = cf_pkey_to_pem(key, true, secret, err);
	if (r == 0)
		r = cf_pkey_to_pem(key, false, public, err);
	return r;
}

static int make_sign(struct cf_buf *secret, struct cf_buf *public, struct cf_err *err)
{
	return make_pem(CF_PKEY_EC_P256, secret, public, err);
}

static int make_admin(struct cf_buf *secret, struct cf_buf *public, struct cf_err *err)
{
	return make_pem(CF_PKEY_ED25519, secret, public, err);
}

static int make_seal(struct cf_buf *secret, struct cf_buf *public, struct cf_err *err)
{
	cf_cleanup(cf_pkey_freep) struct cf_pkey *key = NULL;
	struct cf_jw w = { .out = public };
	int r = cf_pkey_generate(CF_PKEY_EC_P256, 0, &key, err);

	if (r == 0)
		r = jwk_print_private(key, "ES256", NULL, secret, err);
	if (r < 0)
		return r;
	cf_jw_obj(&w);
	r = jwk_write_public(&w, key, "ES256", err);
	cf_jw_end_obj(&w);
	return r;
}

static const struct key_kind kinds[] = {
	{ "image", make_image },
	{ "sign", make_sign },
	{ "seal", make_seal },
	{ "admin", make_admin },
};

static int write_new(const char *path, struct cf_view text, mode_t mode, struct cf_err *err)
{
	if (access(path, F_OK) == 0)
		return cf_fail(err, CF_ALREADY_EXISTS, "%s is there already; it is not overwritten",
		               path);
	return cf_write_file_atomic(path, text, mode, err);
}

static int make(const struct key_kind *kind, const char *path, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *public_path = cf_asprintf("%s.pub", path);
	struct cf_buf secret = { 0 }, public = { 0 };
	int r = kind->make(&secret, &public, err);

	if (r == 0 && public.size > 0 && access(public_path, F_OK) == 0)
		r = cf_fail(err, CF_ALREADY_EXISTS, "%s is there already", public_path);
	if (r == 0)
		r = write_new(path, cf_buf_view(&secret), 0600, err);
	if (r == 0 && public.size > 0)
		r = write_new(public_path, cf_buf_view(&public), 0644, err);
	cf_buf_wipe(&secret);
	cf_buf_fini(&public);
	return r;
}

static const struct key_kind *find_kind(const char *name)
{
	for (size_t i = 0; i < CF_ARRAY_LEN(kinds); i++) {
		if (cf_streq(kinds[i].name, name))
			return &kinds[i];
	}
	return NULL;
}

int cli_key_new(int argc, char **argv)
{
	const char *path = NULL, *kind_name = NULL;
	struct cf_err err;

	for (int i = 1; i < argc; i++) {
		if (cf_streq(argv[i], "--help") || cf_streq(argv[i], "-h")) {
			fputs(usage, stdout);
			return CLI_OK;
		}
		if ((cf_streq(argv[i], "-o") || cf_streq(argv[i], "--out")) && i + 1 < argc)
			path = argv[++i];
		else if (argv[i][0] != '-' && !kind_name)
			kind_name = argv[i];
		else
			return cli_usage("key new", "%s: not an option, or its value is missing",
			                 argv[i]);
	}
	const struct key_kind *kind = kind_name ? find_kind(kind_name) : NULL;

	if (!kind || !path)
		return cli_usage("key new",
		                 "a kind (image, sign, seal, admin) and -o FILE are needed");
	if (make(kind, path, &err) < 0)
		return cli_fail(&err);
	printf("%s\n", path);
	return CLI_OK;
}
