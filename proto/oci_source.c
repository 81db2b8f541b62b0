/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/oci_source.h"

#include "base/crypto.h"
#include "base/fd.h"
#include "proto/oci_source_ops.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- hashing ---- */

static enum cf_hash_alg hash_alg(enum oci_digest_alg alg)
{
	switch (alg) {
	case OCI_SHA384:
		return CF_SHA384;
	case OCI_SHA512:
		return CF_SHA512;
	default:
		return CF_SHA256;
	}
}

struct cf_hasher *oci_hasher_new(enum oci_digest_alg alg)
{
	return cf_hasher_new(hash_alg(alg));
}

static void set_digest(enum oci_digest_alg alg, const uint8_t *hash, struct oci_digest *ret)
{
	size_t n = strlen(oci_digest_alg_name(alg));

	ret->alg = alg;
	memcpy(ret->text, oci_digest_alg_name(alg), n);
	ret->text[n] = ':';
	cf_hex_encode(cf_view(hash, cf_hash_size(hash_alg(alg))), ret->text + n + 1);
}

void oci_hasher_final(struct cf_hasher *h, enum oci_digest_alg alg, struct oci_digest *ret)
{
	uint8_t hash[CF_HASH_SIZE_MAX];

	cf_hasher_final(h, hash);
	set_digest(alg, hash, ret);
}

static void digest_with(enum oci_digest_alg alg, struct cf_view bytes, struct oci_digest *ret)
{
	uint8_t hash[CF_HASH_SIZE_MAX];

	cf_hash(hash_alg(alg), bytes, hash);
	set_digest(alg, hash, ret);
}

void oci_digest_of(struct cf_view bytes, struct oci_digest *ret)
{
	digest_with(OCI_SHA256, bytes, ret);
}

/* ---- opening ---- */

static int open_place(const char *place, const struct oci_source_config *config, bool create,
                      struct oci_source **ret, struct cf_err *err)
{
	const char *layout = cf_after(place, "oci:");
	const char *ref = cf_after(place, "docker://");
	static const char *const others[] = { "oci-archive:", "dir:", "docker-archive:",
		                              "docker-daemon:", "containerd:" };

	if (layout)
		return oci_layout_open(layout, create, ret, err);
	for (size_t i = 0; i < CF_ARRAY_LEN(others); i++) {
		if (cf_starts_with(place, others[i]))
			return cf_fail(err, CF_UNIMPLEMENTED,
			               "images in %s are not read; use oci:DIR or a registry",
			               others[i]);
	}
	return registry_open(ref ? ref : place, config, ret, err);
}

int oci_source_open(const char *place, const struct oci_source_config *config,
                    struct oci_source **ret, struct cf_err *err)
{
	return open_place(place, config, false, ret, err);
}

int oci_source_create(const char *place, const struct oci_source_config *config,
                      struct oci_source **ret, struct cf_err *err)
{
	return open_place(place, config, true, ret, err);
}

int oci_source_dup(const struct oci_source *src, struct oci_source **ret, struct cf_err *err)
{
	return src->ops->dup(src, ret, err);
}

struct oci_source *oci_source_free(struct oci_source *src)
{
	if (src) {
		free(src->dir);
		free(src->tag);
		src->ops->free(src);
	}
	return NULL;
}

void oci_source_set_cancel(struct oci_source *src, int fd)
{
	if (src->ops->set_cancel)
		src->ops->set_cancel(src, fd);
}

const struct oci_ref *oci_source_ref(const struct oci_source *src)
{
	return src->is_registry ? &src->ref : NULL;
}

const char *oci_source_layout_dir(const struct oci_source *src)
{
	return src->dir;
}

const char *oci_source_layout_tag(const struct oci_source *src)
{
	return src->tag;
}

bool oci_source_is_weak(const struct oci_source *src)
{
	return src->is_weak;
}

/* ---- documents ---- */

void oci_document_bytes_fini(struct oci_document_bytes *d)
{
	cf_buf_fini(&d->bytes);
	free(d->media_type);
	*d = (struct oci_document_bytes){ 0 };
}

/* @wanted: the digest asked for, or NULL. The place may have named one of its own in doc->digest. */
static int check_document(struct oci_document_bytes *doc, const struct oci_digest *wanted,
                          struct cf_err *err)
{
	struct oci_digest got;
	const struct oci_digest *said = wanted ? wanted : &doc->digest;

	if (oci_digest_is_set(said)) {
		digest_with(said->alg, cf_buf_view(&doc->bytes), &got);
		if (!oci_digest_eq(said, &got))
			return cf_fail(err, CF_DATA_LOSS, "manifest is %s, expected %s", got.text,
			               said->text);
		doc->digest = got;
		return 0;
	}
	oci_digest_of(cf_buf_view(&doc->bytes), &doc->digest);
	return 0;
}

int oci_source_document(struct oci_source *src, const char *target, struct oci_document_bytes *ret,
                        struct cf_err *err)
{
	struct oci_document_bytes doc = { 0 };
	struct oci_digest wanted = { 0 };
	const char *name = target;

	if (!name && src->is_registry)
		name = oci_ref_target(&src->ref);
	bool by_digest = name && oci_digest_parse(cf_view_str(name), &wanted, NULL) == 0;
	int r = src->ops->document(src, name, &doc, err);

	if (r == 0)
		r = check_document(&doc, by_digest ? &wanted : NULL, err);
	if (r < 0) {
		oci_document_bytes_fini(&doc);
		return r;
	}
	*ret = doc;
	return 0;
}

int oci_source_referrers(struct oci_source *src, const struct oci_digest *digest,
                         struct oci_document_bytes *ret, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *tag =
		cf_asprintf("%s-%s", oci_digest_alg_name(digest->alg), oci_digest_hex(digest));
	int r = -CF_NOT_FOUND;

	if (src->ops->referrers)
		r = src->ops->referrers(src, digest, ret, err);
	if (r == -CF_NOT_FOUND)
		r = oci_source_document(src, tag, ret, err);
	return r;
}

/* ---- blobs ---- */

struct checked {
	oci_sink *sink;
	void *arg;
	struct cf_hasher *hash;
	uint64_t left;
};

static int checked_piece(void *arg, struct cf_view piece, struct cf_err *err)
{
	struct checked *c = arg;

	if (piece.size > c->left)
		return cf_fail(err, CF_DATA_LOSS, "blob is longer than its descriptor says");
	c->left -= piece.size;
	cf_hasher_add(c->hash, piece);
	return c->sink(c->arg, piece, err);
}

int oci_source_blob(struct oci_source *src, const struct oci_descriptor *d, oci_sink *sink,
                    void *arg, struct cf_err *err)
{
	cf_cleanup(cf_hasher_freep) struct cf_hasher *hash = oci_hasher_new(d->digest.alg);
	struct checked c = { .sink = sink, .arg = arg, .hash = hash, .left = d->size };
	struct oci_digest got;
	int r = src->ops->blob(src, d, checked_piece, &c, err);

	if (r < 0)
		return cf_wrap(err, r, "blob %s", d->digest.text);
	if (c.left > 0)
		return cf_fail(err, CF_DATA_LOSS, "blob %s: %llu bytes are missing", d->digest.text,
		               (unsigned long long)c.left);
	oci_hasher_final(hash, d->digest.alg, &got);
	if (!oci_digest_eq(&d->digest, &got))
		return cf_fail(err, CF_DATA_LOSS, "blob %s: content has digest %s", d->digest.text,
		               got.text);
	return 0;
}

static int add_piece(void *arg, struct cf_view piece, struct cf_err *err)
{
	cf_buf_add_view(arg, piece);
	return cf_buf_check(arg, "blob", err);
}

int oci_source_blob_read(struct oci_source *src, const struct oci_descriptor *d, size_t max,
                         struct cf_buf *ret, struct cf_err *err)
{
	struct cf_buf b = { .max = max + 1 };

	if (d->size > max)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "blob %s: over %zu bytes",
		               d->digest.text, max);
	int r = oci_source_blob(src, d, add_piece, &b, err);

	if (r < 0) {
		cf_buf_fini(&b);
		return r;
	}
	*ret = b;
	return 0;
}

/* ---- writing ---- */

int oci_source_has_blob(struct oci_source *src, const struct oci_descriptor *d, bool *ret,
                        struct cf_err *err)
{
	return src->ops->has_blob(src, d, ret, err);
}

int oci_source_put_blob(struct oci_source *src, const struct oci_descriptor *d, int fd,
                        struct cf_err *err)
{
	bool there = false;
	int r = src->ops->has_blob(src, d, &there, err);

	if (r < 0 || there)
		return r;
	if (lseek(fd, 0, SEEK_SET) < 0)
		return cf_fail_errno(err, errno, "rewind blob");
	return src->ops->put_blob(src, d, fd, err);
}

int oci_source_put_bytes(struct oci_source *src, struct cf_view bytes,
                         struct oci_digest *ret_digest, struct cf_err *err)
{
	struct oci_descriptor d = { .size = bytes.size };
	cf_cleanup(cf_closep) int fd = memfd_create("blob", MFD_CLOEXEC);

	if (fd < 0)
		return cf_fail_errno(err, errno, "memfd");
	oci_digest_of(bytes, &d.digest);
	int r = cf_write_all(fd, bytes, err);

	if (r == 0)
		r = oci_source_put_blob(src, &d, fd, err);
	if (r < 0)
		return r;
	*ret_digest = d.digest;
	return 0;
}

int oci_source_put_document(struct oci_source *src, const char *media_type, struct cf_view bytes,
                            const char *tag, struct oci_digest *ret_digest, struct cf_err *err)
{
	struct oci_digest digest;

	oci_digest_of(bytes, &digest);
	int r = src->ops->put_document(src, media_type, bytes, &digest, tag, err);

	if (r == 0 && ret_digest)
		*ret_digest = digest;
	return r;
}
