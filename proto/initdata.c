/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/initdata.h"

#include "base/fd.h"
#include "base/gzip.h"

static int parse_alg(const char *name, enum cf_hash_alg *ret, struct cf_err *err)
{
	static const enum cf_hash_alg known[] = { CF_SHA256, CF_SHA384, CF_SHA512 };

	for (size_t i = 0; name && i < CF_ARRAY_LEN(known); i++) {
		if (cf_streq(name, cf_hash_name(known[i]))) {
			*ret = known[i];
			return 0;
		}
	}
	if (name && cf_streq(name, "sm3"))
		return cf_fail(err, CF_UNIMPLEMENTED, "initdata: algorithm sm3");
	return cf_fail(err, CF_INVALID_ARGUMENT,
	               "initdata: algorithm \"%s\", want sha256, sha384 or sha512",
	               name ? name : "");
}

static int check_data(const struct cf_toml *data, struct cf_err *err)
{
	for (size_t i = 0; i < cf_toml_count(data); i++)
		if (!cf_toml_is(cf_toml_at(data, i), CF_TOML_STRING))
			return cf_fail(err, CF_INVALID_ARGUMENT,
			               "initdata: line %u: data.\"%s\" is not a string",
			               cf_toml_line(cf_toml_at(data, i)), cf_toml_key_at(data, i));
	return 0;
}

static int read_members(struct initdata *d, struct cf_err *err)
{
	const char *version, *alg;
	int r = cf_toml_get_str(d->toml, "version", NULL, &version, err);

	if (r == 0)
		r = cf_toml_get_str(d->toml, "algorithm", NULL, &alg, err);
	if (r == 0)
		r = cf_toml_get_table(d->toml, "data", &d->data, err);
	if (r < 0)
		return cf_wrap(err, r, "initdata");
	if (!cf_streq(version, INITDATA_VERSION))
		return cf_fail(err, CF_INVALID_ARGUMENT, "initdata: version \"%s\", want \"%s\"",
		               version ? version : "", INITDATA_VERSION);
	if (!d->data)
		return cf_fail(err, CF_INVALID_ARGUMENT, "initdata: no [data] table");
	r = parse_alg(alg, &d->alg, err);
	return r < 0 ? r : check_data(d->data, err);
}

int initdata_parse(struct cf_view text, struct initdata **ret, struct cf_err *err)
{
	cf_cleanup(initdata_freep) struct initdata *d = cf_zalloc(sizeof(*d));
	int r;

	if (text.size > INITDATA_TEXT_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "initdata of %zu bytes, at most %u",
		               text.size, INITDATA_TEXT_MAX);
	r = cf_toml_parse(text, &d->toml, err);
	if (r < 0)
		return cf_wrap(err, r, "initdata");
	r = read_members(d, err);
	if (r < 0)
		return r;
	d->text.max = INITDATA_TEXT_MAX;
	cf_buf_add_view(&d->text, text);
	r = cf_buf_check(&d->text, "initdata", err);
	if (r < 0)
		return r;
	*ret = cf_take(&d);
	return 0;
}

struct initdata *initdata_free(struct initdata *d)
{
	if (!d)
		return NULL;
	cf_buf_fini(&d->text);
	cf_toml_free(d->toml);
	free(d);
	return NULL;
}

const char *initdata_get(const struct initdata *d, const char *key)
{
	return cf_toml_str(cf_toml_get(d->data, key));
}

void initdata_digest(const struct initdata *d, uint8_t out[CF_HASH_SIZE_MAX])
{
	cf_hash(d->alg, cf_buf_view(&d->text), out);
}

int initdata_build(enum cf_hash_alg alg, const struct initdata_entry *entries, size_t count,
                   struct cf_buf *ret, struct cf_err *err)
{
	struct initdata *check = NULL;
	size_t start = ret->size;
	int r;

	cf_buf_printf(ret, "version = \"%s\"\nalgorithm = \"%s\"\n\n[data]\n", INITDATA_VERSION,
	              cf_hash_name(alg));
	for (size_t i = 0; i < count; i++) {
		cf_toml_add_key(ret, entries[i].key);
		cf_buf_add_str(ret, " = ");
		cf_toml_add_string(ret, entries[i].text);
		cf_buf_add_byte(ret, '\n');
	}
	r = cf_buf_check(ret, "initdata", err);
	if (r < 0)
		return r;
	/* Reading it back is the cheapest proof that it says what was asked for. */
	r = initdata_parse(cf_view_sub(cf_buf_view(ret), start, ret->size), &check, err);
	initdata_free(check);
	return r;
}

/* ---- binding ---- */

void initdata_field(struct cf_view digest, uint8_t *out, size_t size)
{
	size_t n = CF_MIN(digest.size, size);

	memcpy(out, digest.data, n);
	memset(out + n, 0, size - n);
}

void initdata_pcr8_event(struct cf_view text, uint8_t out[32])
{
	cf_sha256(text.size ? text : cf_view_str(INITDATA_NONE), out);
}

void initdata_pcr8_value(struct cf_view text, uint8_t out[32])
{
	uint8_t both[64] = { 0 };

	initdata_pcr8_event(text, both + 32);
	cf_sha256(cf_view(both, sizeof(both)), out);
}

/* ---- carriers ---- */

static int inflate_text(struct cf_view gzip, struct cf_buf *ret, struct cf_err *err)
{
	if (ret->max < INITDATA_TEXT_MAX)
		ret->max = INITDATA_TEXT_MAX;
	int r = cf_gunzip(gzip, INITDATA_TEXT_MAX, ret, err);

	return r < 0 ? cf_wrap(err, r, "initdata") : 0;
}

static int deflate_text(struct cf_view text, struct cf_buf *ret, struct cf_err *err)
{
	int r;

	ret->max = INITDATA_GZIP_MAX;
	r = cf_gzip(text, ret, err);
	return r < 0 ? cf_wrap(err, r, "initdata") : 0;
}

int initdata_from_annotation(struct cf_view value, struct cf_buf *ret, struct cf_err *err)
{
	struct cf_buf gzip = { .max = INITDATA_GZIP_MAX };
	int r = cf_b64_decode(CF_B64_STD, value, &gzip, err);

	if (r < 0)
		r = cf_wrap(err, r, "initdata annotation");
	else if (!cf_is_gzip(cf_buf_view(&gzip)))
		r = cf_fail(err, CF_INVALID_ARGUMENT,
		            "initdata annotation: base64 without gzip inside; it wants "
		            "base64(gzip(TOML))");
	else
		r = inflate_text(cf_buf_view(&gzip), ret, err);
	cf_buf_fini(&gzip);
	return r;
}

int initdata_to_annotation(struct cf_view text, struct cf_buf *ret, struct cf_err *err)
{
	struct cf_buf gzip = { 0 };
	int r = deflate_text(text, &gzip, err);

	if (r == 0) {
		cf_b64_encode(CF_B64_STD, cf_buf_view(&gzip), ret);
		r = cf_buf_check(ret, "initdata annotation", err);
	}
	cf_buf_fini(&gzip);
	return r;
}

int initdata_disk_probe(struct cf_view header, uint64_t *ret_size, struct cf_err *err)
{
	struct cf_rd rd = { .in = header };
	struct cf_view magic = cf_rd_bytes(&rd, strlen(INITDATA_DISK_MAGIC));
	uint64_t size = cf_rd_u64le(&rd);

	if (rd.bad || !cf_view_eq_str(magic, INITDATA_DISK_MAGIC))
		return INITDATA_E_NO_DISK;
	if (size > INITDATA_GZIP_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED,
		               "initdata disk: %llu bytes of gzip, at most %u",
		               (unsigned long long)size, INITDATA_GZIP_MAX);
	*ret_size = size;
	return 0;
}

static bool is_zero(struct cf_view v)
{
	for (size_t i = 0; i < v.size; i++)
		if (v.data[i])
			return false;
	return true;
}

int initdata_from_disk(struct cf_view in, struct cf_buf *ret, struct cf_err *err)
{
	uint64_t size;
	int r = initdata_disk_probe(in, &size, err);

	if (r != 0)
		return r;
	in = cf_view_sub(in, INITDATA_DISK_HEADER, in.size);
	if (size > in.size)
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "initdata disk: ends after %zu of %llu bytes", in.size,
		               (unsigned long long)size);
	if (!is_zero(cf_view_sub(in, (size_t)size, in.size)))
		return cf_fail(err, CF_INVALID_ARGUMENT, "initdata disk: bytes after the text");
	return inflate_text(cf_view_sub(in, 0, (size_t)size), ret, err);
}

int initdata_read_disk(int fd, struct cf_buf *ret, struct cf_err *err)
{
	uint8_t header[INITDATA_DISK_HEADER];
	struct cf_buf gzip = { .max = INITDATA_GZIP_MAX };
	uint64_t size;
	int r = cf_pread_full(fd, header, sizeof(header), 0, err);

	if (r == -CF_DATA_LOSS)
		return INITDATA_E_NO_DISK; /* a disk of fewer bytes holds nothing */
	if (r == 0)
		r = initdata_disk_probe(cf_view(header, sizeof(header)), &size, err);
	if (r != 0)
		return r;
	uint8_t *room = cf_buf_reserve(&gzip, (size_t)size);
	r = cf_buf_check(&gzip, "initdata disk", err);
	if (r == 0)
		r = cf_pread_full(fd, room, (size_t)size, sizeof(header), err);
	if (r == 0) {
		gzip.size = (size_t)size;
		r = inflate_text(cf_buf_view(&gzip), ret, err);
	}
	cf_buf_fini(&gzip);
	return r;
}

int initdata_to_disk(struct cf_view text, struct cf_buf *ret, struct cf_err *err)
{
	struct cf_buf gzip = { 0 };
	int r = deflate_text(text, &gzip, err);

	if (ret->max < INITDATA_GZIP_MAX + 2 * INITDATA_DISK_ALIGN)
		ret->max = INITDATA_GZIP_MAX + 2 * INITDATA_DISK_ALIGN;
	if (r == 0) {
		cf_buf_add_str(ret, INITDATA_DISK_MAGIC);
		cf_buf_add_u64le(ret, gzip.size);
		cf_buf_add_view(ret, cf_buf_view(&gzip));
		cf_buf_add_zero(ret, (INITDATA_DISK_ALIGN - ret->size % INITDATA_DISK_ALIGN) %
		                             INITDATA_DISK_ALIGN);
		r = cf_buf_check(ret, "initdata disk", err);
	}
	cf_buf_fini(&gzip);
	return r;
}
