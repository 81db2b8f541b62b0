/* SPDX-License-Identifier: Apache-2.0 */
/* coffer image encrypt, coffer image push. */
#include "base/fd.h"
#include "cli/cmds_image.h"
#include "cli/image_args.h"
#include "cli/image_copy.h"
#include "cli/image_sign.h"
#include "cli/image_users.h"

#include <errno.h>
#include <unistd.h>

static const char encrypt_usage[] =
	"usage: coffer image encrypt SOURCE TARGET [OPTION...]\n"
	"\n"
	"Copies an image with every layer encrypted, and prints the new image's name with its "
	"digest.\n"
	"\n"
	"  --key kbs:///r/t/n    where the guest finds the image key at its key broker\n"
	"  --key-file FILE       that key, 32 raw bytes; made when it is not there\n"
	"  --recipient jwe:FILE  a public key or certificate; may be repeated\n"
	"  --sign FILE           sign the result with this private key\n"
	"  --passwd FILE         the image's /etc/passwd, for everybody to read: a node that does "
	"not\n"
	"                        see the image's files looks up `USER name` there\n"
	"  --group FILE          the same of its /etc/group\n";

static const char push_usage[] = "usage: coffer image push SOURCE TARGET [OPTION...]\n"
				 "\n"
				 "Copies an image as it is, byte for byte.\n";

struct encrypt {
	const char *kid[1], *key_file[1], *recipient[IMAGE_VALUES_MAX], *sign[1];
	const char *passwd[1], *group[1];
	size_t kids, key_files, recipients, signs, passwds, groups;
	struct oci_pairs users;
	struct cf_secret *kek;
	struct cf_pkey *pkeys[IMAGE_VALUES_MAX];
	struct ocicrypt_recipient to[IMAGE_VALUES_MAX + 1];
	size_t to_count;
};

static void encrypt_fini(struct encrypt *e)
{
	oci_pairs_fini(&e->users);
	cf_secret_free(e->kek);
	for (size_t i = 0; i < CF_ARRAY_LEN(e->pkeys); i++)
		cf_pkey_free(e->pkeys[i]);
}

/* ---- recipients ---- */

static int make_key_file(const char *path, struct cf_err *err)
{
	uint8_t key[OCICRYPT_KEY_SIZE];

	cf_random(key, sizeof(key));
	int r = cf_write_file_atomic(path, cf_view(key, sizeof(key)), 0600, err);

	explicit_bzero(key, sizeof(key));
	if (r == 0)
		fprintf(stderr, "coffer: made a new image key: %s\n", path);
	return r;
}

static int add_kek(struct encrypt *e, struct cf_err *err)
{
	if (e->kids == 0 && e->key_files == 0)
		return 0;
	if (e->kids == 0 || e->key_files == 0)
		return cf_fail(err, CF_INVALID_ARGUMENT, "--key and --key-file belong together");
	int r = access(e->key_file[0], F_OK) == 0 ? 0 : make_key_file(e->key_file[0], err);

	if (r == 0)
		r = cf_secret_read_file(e->key_file[0], &e->kek, err);
	if (r < 0)
		return r;
	size_t size = cf_secret_view(e->kek).size;

	if (size != OCICRYPT_KEY_SIZE)
		return cf_fail(err, CF_INVALID_ARGUMENT, "key file %s has %zu bytes, not 32%s",
		               e->key_file[0], size,
		               size == 44 || size == 45 ? "; this looks like base64 of 32" : "");
	e->to[e->to_count++] =
		(struct ocicrypt_recipient){ .kid = e->kid[0], .kek = cf_secret_view(e->kek) };
	return 0;
}

static int add_recipient(struct encrypt *e, size_t i, struct cf_err *err)
{
	const char *path = cf_after(e->recipient[i], "jwe:");

	if (!path)
		return cf_fail(err, CF_UNIMPLEMENTED, "recipient %s: only jwe:FILE is written here",
		               e->recipient[i]);
	int r = image_read_pkey(path, false, &e->pkeys[i], err);

	if (r == 0)
		e->to[e->to_count++] = (struct ocicrypt_recipient){ .pkey = e->pkeys[i] };
	return r;
}

static int find_recipients(struct encrypt *e, struct cf_err *err)
{
	int r = add_kek(e, err);

	for (size_t i = 0; r == 0 && i < e->recipients; i++)
		r = add_recipient(e, i, err);
	if (r == 0 && e->to_count == 0)
		r = cf_fail(err, CF_INVALID_ARGUMENT,
		            "nobody to encrypt to: give --key with --key-file, or --recipient");
	return r;
}

static int read_users(struct encrypt *e, struct cf_err *err)
{
	int r = 0;

	if (e->passwds)
		r = image_users_add(&e->users, IMAGE_USERS_PASSWD, e->passwd[0], err);
	if (r == 0 && e->groups)
		r = image_users_add(&e->users, IMAGE_USERS_GROUP, e->group[0], err);
	return r;
}

/* ---- the commands ---- */

static int copy(const struct image_args *a, struct image_copy *c, struct oci_source **ret_to,
                struct cf_err *err)
{
	cf_cleanup(oci_source_freep) struct oci_source *from = NULL, *to = NULL;
	int r = image_args_open(a, 0, &from, err);

	if (r == 0)
		r = image_args_create(a, 1, &to, err);
	if (r < 0)
		return r;
	if (oci_source_ref(to) && oci_digest_is_set(&oci_source_ref(to)->digest))
		return cf_fail(err, CF_INVALID_ARGUMENT, "the target is a digest; give it a tag");
	c->from = from;
	c->to = to;
	c->tag = image_target_tag(to);
	r = image_copy(c, err);
	if (r == 0 && oci_source_is_weak(to))
		fprintf(stderr, "coffer: the registry was spoken to without checked TLS\n");
	if (r == 0)
		*ret_to = cf_take(&to);
	return r;
}

static void print_answer(const struct image_args *a, const struct image_copy *c,
                         const struct oci_source *to)
{
	cf_cleanup(cf_freep) char *name = image_pinned(to, &c->digest);
	struct cf_buf out = { 0 };
	struct cf_jw w = { .out = &out };

	if (!a->json) {
		printf("%s\n", name);
		return;
	}
	cf_jw_obj(&w);
	cf_jw_kstr(&w, "schema", "coffer.image-copy/1");
	cf_jw_kstr(&w, "ref", name);
	cf_jw_kstr(&w, "digest", c->digest.text);
	cf_jw_kuint(&w, "layers", c->layers);
	cf_jw_kuint(&w, "encrypted", c->encrypted);
	cf_jw_end_obj(&w);
	printf("%s\n", (const char *)out.data);
	cf_buf_fini(&out);
}

static int encrypt(const struct image_args *a, struct encrypt *e, struct cf_err *err)
{
	cf_cleanup(oci_source_freep) struct oci_source *to = NULL;
	struct image_copy c = { 0 };
	int r = find_recipients(e, err);

	if (r == 0)
		r = read_users(e, err);
	c.top = &e->users;
	c.recipients = e->to;
	c.recipient_count = e->to_count;
	if (r == 0)
		r = copy(a, &c, &to, err);
	if (r == 0)
		fprintf(stderr, "coffer: %zu of %zu layers encrypted\n", c.encrypted, c.layers);
	if (r == 0 && e->signs > 0)
		r = image_sign(to, &c.digest, NULL, e->sign[0], err);
	if (r == 0)
		print_answer(a, &c, to);
	return r;
}

int cli_image_encrypt(int argc, char **argv)
{
	struct encrypt e = { 0 };
	const struct image_option options[] = {
		{ "--key-file", e.key_file, 1, &e.key_files },
		{ "--key", e.kid, 1, &e.kids },
		{ "--recipient", e.recipient, IMAGE_VALUES_MAX, &e.recipients },
		{ "--sign", e.sign, 1, &e.signs },
		{ "--passwd", e.passwd, 1, &e.passwds },
		{ "--group", e.group, 1, &e.groups },
	};
	struct image_args a = { .command = "image encrypt",
		                .usage = encrypt_usage,
		                .place_count = 2,
		                .options = options,
		                .option_count = CF_ARRAY_LEN(options) };
	struct cf_err err;
	int code = CLI_OK;

	if (image_args_parse(&a, argc, argv, &code) == 0 && encrypt(&a, &e, &err) < 0)
		code = cli_fail(&err);
	encrypt_fini(&e);
	image_args_fini(&a);
	return code;
}

static int push(const struct image_args *a, struct cf_err *err)
{
	cf_cleanup(oci_source_freep) struct oci_source *to = NULL;
	struct image_copy c = { 0 };
	int r = copy(a, &c, &to, err);

	if (r == 0)
		print_answer(a, &c, to);
	return r;
}

int cli_image_push(int argc, char **argv)
{
	struct image_args a = { .command = "image push", .usage = push_usage, .place_count = 2 };
	struct cf_err err;
	int code = CLI_OK;

	if (image_args_parse(&a, argc, argv, &code) == 0 && push(&a, &err) < 0)
		code = cli_fail(&err);
	image_args_fini(&a);
	return code;
}
