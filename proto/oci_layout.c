/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"
#include "base/json.h"
#include "proto/oci_source_ops.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define REF_NAME   "org.opencontainers.image.ref.name"
#define KIND       "kind" /* cosign's own annotation in layouts it saves */
#define CHUNK_SIZE (256u << 10)
#define MARKER     "{\"imageLayoutVersion\":\"1.0.0\"}"

struct layout {
	struct oci_source base;
};

static const struct oci_source_ops layout_ops;

static struct oci_source *layout_new(const char *dir, const char *tag)
{
	struct layout *l = cf_zalloc(sizeof(*l));

	l->base.ops = &layout_ops;
	l->base.dir = cf_strdup(dir);
	l->base.tag = cf_strdup(tag);
	return &l->base;
}

static bool is_dir(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static int make_layout(const char *dir, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *blobs = cf_asprintf("%s/blobs/sha256", dir);
	cf_cleanup(cf_freep) char *marker = cf_asprintf("%s/oci-layout", dir);
	int r = cf_mkdir_p(blobs, 0755, err);

	if (r == 0 && access(marker, F_OK) != 0)
		r = cf_write_file_atomic(marker, cf_view_str(MARKER), 0644, err);
	return r;
}

/* DIR or DIR:TAG. A directory whose name holds a colon wins over a tag. */
int oci_layout_open(const char *text, bool create, struct oci_source **ret, struct cf_err *err)
{
	const char *colon = is_dir(text) ? NULL : strrchr(text, ':');
	cf_cleanup(cf_freep) char *dir =
		colon ? cf_strndup(text, (size_t)(colon - text)) : cf_strdup(text);
	cf_cleanup(cf_freep) char *index = cf_asprintf("%s/index.json", dir);

	if (create) {
		int r = make_layout(dir, err);

		if (r < 0)
			return r;
	} else if (access(index, R_OK) != 0) {
		return cf_fail(err, CF_NOT_FOUND, "%s is no OCI image layout (no index.json)", dir);
	}
	*ret = layout_new(dir, colon ? colon + 1 : "");
	return 0;
}

static int layout_dup(const struct oci_source *src, struct oci_source **ret,
                      struct cf_err *err __attribute__((unused)))
{
	*ret = layout_new(src->dir, src->tag);
	return 0;
}

static void layout_free(struct oci_source *src)
{
	free(src);
}

/* ---- reading ---- */

static char *blob_path(const struct oci_source *src, const struct oci_digest *d)
{
	return cf_asprintf("%s/blobs/%s/%s", src->dir, oci_digest_alg_name(d->alg),
	                   oci_digest_hex(d));
}

static int open_blob(const struct oci_source *src, const struct oci_digest *d, int *ret,
                     struct cf_err *err)
{
	cf_cleanup(cf_freep) char *path = blob_path(src, d);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return cf_fail_errno(err, errno, "blob %s", d->text);
	*ret = fd;
	return 0;
}

static int read_index(const struct oci_source *src, struct oci_index *ret, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/index.json", src->dir);
	struct cf_buf text = { 0 };
	int r = cf_read_file(path, OCI_MANIFEST_SIZE_MAX, &text, err);

	if (r == 0)
		r = oci_index_parse(cf_buf_view(&text), ret, err);
	cf_buf_fini(&text);
	return r;
}

/* A layout may hold signatures beside the one image: cosign marks them. */
static bool is_image(const struct oci_descriptor *d)
{
	const char *kind = oci_pairs_get(&d->annotations, KIND);
	const char *name = oci_pairs_get(&d->annotations, REF_NAME);

	if (kind && !cf_ends_with(kind, "image") && !cf_ends_with(kind, "imageIndex"))
		return false;
	return !name || !cf_ends_with(name, ".sig");
}

/* "cosign save" gives the signatures a kind and no name. */
static bool is_signature_set(const struct oci_descriptor *d)
{
	const char *kind = oci_pairs_get(&d->annotations, KIND);

	return kind && cf_ends_with(kind, "/sigs");
}

static const struct oci_descriptor *find_tag(const struct oci_index *x, const char *tag)
{
	const struct oci_descriptor *only = NULL;
	size_t images = 0;

	for (size_t i = 0; i < x->count; i++) {
		const struct oci_descriptor *d = &x->manifests[i];

		if (tag[0] && cf_streq(oci_pairs_get(&d->annotations, REF_NAME), tag))
			return d;
		if (cf_ends_with(tag, ".sig") && is_signature_set(d))
			return d;
		if (!tag[0] && is_image(d)) {
			only = d;
			images++;
		}
	}
	return images == 1 ? only : NULL;
}

/* A layout with one entry per platform and nothing above them is an index itself. */
static bool is_per_platform(const struct oci_index *x)
{
	size_t with = 0;

	for (size_t i = 0; i < x->count; i++)
		with += x->manifests[i].architecture != NULL;
	return with > 1;
}

static int read_document(struct oci_source *src, const struct oci_descriptor *d,
                         struct oci_document_bytes *ret, struct cf_err *err)
{
	cf_cleanup(cf_closep) int fd = -1;
	int r = open_blob(src, &d->digest, &fd, err);

	if (r == 0)
		r = cf_read_all(fd, OCI_MANIFEST_SIZE_MAX, &ret->bytes, err);
	if (r < 0)
		return r;
	ret->media_type = cf_strdup(d->media_type);
	ret->digest = d->digest;
	return 0;
}

static int named_document(struct oci_source *src, const char *tag, struct oci_document_bytes *ret,
                          struct cf_err *err)
{
	struct oci_index x = { 0 };
	int r = read_index(src, &x, err);

	if (r < 0)
		return r;
	const struct oci_descriptor *d = find_tag(&x, tag);

	if (d) {
		r = read_document(src, d, ret, err);
	} else if (!tag[0] && is_per_platform(&x)) {
		oci_index_write(&x, &ret->bytes);
		ret->media_type = cf_strdup(OCI_MT_INDEX);
	} else {
		r = cf_fail(err, CF_NOT_FOUND,
		            tag[0] ? "layout %s has no image tagged %s"
		                   : "layout %s holds several images%s; name one as oci:DIR:TAG",
		            src->dir, tag);
	}
	oci_index_fini(&x);
	return r;
}

static int layout_document(struct oci_source *src, const char *target,
                           struct oci_document_bytes *ret, struct cf_err *err)
{
	struct oci_descriptor d = { 0 };

	if (!target)
		return named_document(src, src->tag, ret, err);
	if (oci_digest_parse(cf_view_str(target), &d.digest, NULL) == 0)
		return read_document(src, &d, ret, err);
	return named_document(src, target, ret, err);
}

static int layout_blob(struct oci_source *src, const struct oci_descriptor *d, oci_sink *sink,
                       void *arg, struct cf_err *err)
{
	cf_cleanup(cf_closep) int fd = -1;
	cf_cleanup(cf_freep) uint8_t *chunk = cf_zalloc(CHUNK_SIZE);
	int r = open_blob(src, &d->digest, &fd, err);

	while (r == 0) {
		ssize_t n = read(fd, chunk, CHUNK_SIZE);

		if (n == 0)
			return 0;
		if (n < 0)
			return cf_fail_errno(err, errno, "read");
		r = sink(arg, cf_view(chunk, (size_t)n), err);
	}
	return r;
}

/* ---- writing ---- */

static int layout_has_blob(struct oci_source *src, const struct oci_descriptor *d, bool *ret,
                           struct cf_err *err __attribute__((unused)))
{
	cf_cleanup(cf_freep) char *path = blob_path(src, &d->digest);
	struct stat st;

	*ret = stat(path, &st) == 0 && (uint64_t)st.st_size == d->size;
	return 0;
}

static int copy_fd(int from, int to, struct cf_err *err)
{
	cf_cleanup(cf_freep) uint8_t *chunk = cf_zalloc(CHUNK_SIZE);

	for (;;) {
		ssize_t n = read(from, chunk, CHUNK_SIZE);

		if (n == 0)
			return 0;
		if (n < 0)
			return cf_fail_errno(err, errno, "read blob");
		int r = cf_write_all(to, cf_view(chunk, (size_t)n), err);

		if (r < 0)
			return r;
	}
}

static int layout_put_blob(struct oci_source *src, const struct oci_descriptor *d, int fd,
                           struct cf_err *err)
{
	cf_cleanup(cf_freep) char *path = blob_path(src, &d->digest);
	cf_cleanup(cf_freep) char *dir =
		cf_asprintf("%s/blobs/%s", src->dir, oci_digest_alg_name(d->digest.alg));
	cf_cleanup(cf_freep) char *part = cf_asprintf("%s.part-%d", path, getpid());
	int r = cf_mkdir_p(dir, 0755, err);

	if (r < 0)
		return r;
	cf_cleanup(cf_closep) int out = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (out < 0)
		return cf_fail_errno(err, errno, "create %s", part);
	r = copy_fd(fd, out, err);
	if (r == 0 && rename(part, path) != 0)
		r = cf_fail_errno(err, errno, "rename %s", part);
	if (r < 0)
		unlink(part);
	return r;
}

static int write_index(struct oci_source *src, const struct oci_index *x, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/index.json", src->dir);
	struct cf_buf text = { 0 };

	oci_index_write(x, &text);
	int r = cf_buf_check(&text, "index.json", err);

	if (r == 0)
		r = cf_write_file_atomic(path, cf_buf_view(&text), 0644, err);
	cf_buf_fini(&text);
	return r;
}

static void replace_entry(struct oci_index *x, const struct oci_descriptor *d, const char *tag)
{
	size_t keep = 0;

	for (size_t i = 0; i < x->count; i++) {
		const char *name = oci_pairs_get(&x->manifests[i].annotations, REF_NAME);
		bool same = tag && tag[0]
		                    ? cf_streq(name, tag)
		                    : !name && oci_digest_eq(&x->manifests[i].digest, &d->digest);

		if (same)
			oci_descriptor_fini(&x->manifests[i]);
		else
			x->manifests[keep++] = x->manifests[i];
	}
	x->count = keep;
	x->manifests = cf_realloc_n(x->manifests, x->count + 1, sizeof(*x->manifests));
	oci_descriptor_copy(&x->manifests[x->count++], d);
}

static int layout_put_document(struct oci_source *src, const char *media_type, struct cf_view bytes,
                               const struct oci_digest *digest, const char *tag, struct cf_err *err)
{
	struct oci_descriptor d = { .digest = *digest, .size = bytes.size };
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/index.json", src->dir);
	cf_cleanup(cf_freep) char *blob = blob_path(src, digest);
	struct oci_index x = { 0 };
	int r = cf_write_file_atomic(blob, bytes, 0644, err);

	if (r < 0 || !tag)
		return r; /* found by its digest alone */
	if (access(path, F_OK) == 0)
		r = read_index(src, &x, err);
	if (r < 0)
		return r;
	d.media_type = cf_strdup(media_type);
	if (tag[0])
		oci_pairs_set(&d.annotations, REF_NAME, tag);
	replace_entry(&x, &d, tag);
	r = write_index(src, &x, err);
	oci_descriptor_fini(&d);
	oci_index_fini(&x);
	return r;
}

static const struct oci_source_ops layout_ops = {
	.dup = layout_dup,
	.free = layout_free,
	.document = layout_document,
	.blob = layout_blob,
	.has_blob = layout_has_blob,
	.put_blob = layout_put_blob,
	.put_document = layout_put_document,
};
