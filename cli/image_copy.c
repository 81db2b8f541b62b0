/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/image_copy.h"

#include "base/fd.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define PIECE_MAX (256u << 10)

/* ---- one blob through a temporary file ---- */

static int open_temp(int *ret, struct cf_err *err)
{
	const char *dir = getenv("TMPDIR");
	int fd = open(dir ? dir : "/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0)
		return cf_fail_errno(err, errno, "temporary file");
	*ret = fd;
	return 0;
}

struct spool {
	int fd;
	struct ocicrypt_stream *cipher; /* NULL: as it is */
	struct cf_hasher *hash;         /* of what is written */
	uint8_t *room;                  /* PIECE_MAX bytes when there is a cipher */
	uint64_t size;
};

static int spool_write(struct spool *s, struct cf_view piece, struct cf_err *err)
{
	cf_hasher_add(s->hash, piece);
	s->size += piece.size;
	return cf_write_all(s->fd, piece, err);
}

static int spool_piece(void *arg, struct cf_view piece, struct cf_err *err)
{
	struct spool *s = arg;

	if (!s->cipher)
		return spool_write(s, piece, err);
	for (size_t at = 0; at < piece.size; at += PIECE_MAX) {
		struct cf_view part = cf_view_sub(piece, at, PIECE_MAX);

		ocicrypt_stream_apply(s->cipher, part, s->room);
		int r = spool_write(s, cf_view(s->room, part.size), err);

		if (r < 0)
			return r;
	}
	return 0;
}

/* @d: the blob that was; becomes the one that is. @crypt: NULL, or how to encrypt (completed). */
static int move_blob(struct image_copy *c, struct oci_descriptor *d, struct ocicrypt_options *crypt,
                     struct cf_err *err)
{
	cf_cleanup(cf_closep) int fd = -1;
	cf_cleanup(cf_hasher_freep) struct cf_hasher *hash = oci_hasher_new(OCI_SHA256);
	cf_cleanup(ocicrypt_stream_freep) struct ocicrypt_stream *cipher = NULL;
	cf_cleanup(cf_freep) uint8_t *room = cf_zalloc(PIECE_MAX);
	int r = open_temp(&fd, err);

	if (r == 0 && crypt)
		r = ocicrypt_stream_new(crypt, true, &cipher, err);
	if (r < 0)
		return r;
	struct spool s = { .fd = fd, .cipher = cipher, .hash = hash, .room = room };

	r = oci_source_blob(c->from, d, spool_piece, &s, err);
	if (r < 0)
		return r;
	if (crypt) {
		ocicrypt_stream_seal(cipher, crypt);
		oci_hasher_final(hash, OCI_SHA256, &d->digest);
	}
	return oci_source_put_blob(c->to, d, fd, err);
}

static int copy_blob(struct image_copy *c, struct oci_descriptor *d, struct cf_err *err)
{
	bool there = false;
	int r = oci_source_has_blob(c->to, d, &there, err);

	if (r < 0 || there)
		return r;
	return move_blob(c, d, NULL, err);
}

/* ---- layers and configuration ---- */

static int encrypt_layer(struct image_copy *c, struct oci_descriptor *d, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *type = cf_asprintf("%s+encrypted", d->media_type);
	struct ocicrypt_options crypt = { 0 };
	struct oci_layer_type known;
	int r = oci_layer_type_parse(d->media_type, &known, err);

	if (r == 0 && known.encrypted)
		r = cf_fail(err, CF_FAILED_PRECONDITION, "it is encrypted already");
	if (r == 0)
		r = ocicrypt_options_new(&crypt, err);
	if (r == 0)
		r = move_blob(c, d, &crypt, err);
	if (r == 0)
		r = ocicrypt_wrap(&crypt, c->recipients, c->recipient_count, &d->annotations, err);
	ocicrypt_options_fini(&crypt);
	if (r < 0)
		return r;
	free(d->media_type);
	d->media_type = cf_take(&type);
	c->encrypted++;
	return 0;
}

static int copy_layer(struct image_copy *c, struct oci_descriptor *d, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *name = cf_strdup(d->digest.text);
	int r = c->recipient_count > 0 ? encrypt_layer(c, d, err) : copy_blob(c, d, err);

	c->layers++;
	return r < 0 ? cf_wrap(err, r, "layer %s", name) : 0;
}

/*
 * Runtimes name an image by its configuration's digest. An encrypted image made over the unchanged
 * configuration would have the plain one's name, and whichever came first would stand for both.
 */
static int label_config(struct image_copy *c, struct oci_descriptor *d, struct cf_err *err)
{
	struct cf_buf text = { 0 }, labelled = { 0 };
	uint8_t id[16];
	char hex[33];
	int r = oci_source_blob_read(c->from, d, OCI_CONFIG_SIZE_MAX, &text, err);

	cf_random(id, sizeof(id));
	cf_hex_encode(cf_view(id, sizeof(id)), hex);
	if (r == 0)
		r = oci_config_add_label(cf_buf_view(&text), IMAGE_ENCRYPTION_LABEL, hex, &labelled,
		                         err);
	if (r == 0)
		r = oci_source_put_bytes(c->to, cf_buf_view(&labelled), &d->digest, err);
	d->size = labelled.size;
	cf_buf_fini(&text);
	cf_buf_fini(&labelled);
	return r < 0 ? cf_wrap(err, r, "configuration") : 0;
}

/* ---- looking at what was written ---- */

static int check_written(struct image_copy *c, const struct oci_digest *digest, struct cf_err *err)
{
	struct oci_document_bytes doc = { 0 };
	struct oci_manifest m = { 0 };
	int r = oci_source_document(c->to, digest->text, &doc, err);

	if (r == 0)
		r = oci_manifest_parse(cf_buf_view(&doc.bytes), &m, err);
	for (size_t i = 0; r == 0 && i < m.layer_count; i++) {
		struct oci_layer_type type;

		r = oci_layer_type_parse(m.layers[i].media_type, &type, err);
		if (r == 0 && c->recipient_count > 0 &&
		    (!type.encrypted ||
		     !oci_pairs_get(&m.layers[i].annotations, OCICRYPT_ANNOTATION_PUBOPTS)))
			r = cf_fail(err, CF_DATA_LOSS,
			            "the target kept no encryption of layer %s: delete it there",
			            m.layers[i].digest.text);
	}
	oci_manifest_fini(&m);
	oci_document_bytes_fini(&doc);
	return r;
}

/* ---- documents ---- */

static const char *manifest_type(const struct oci_manifest *m)
{
	return m->media_type ? m->media_type : OCI_MT_MANIFEST;
}

/* What encryption needs in the manifest: OCI's types, since Docker's know no encrypted layers. */
static void make_oci(struct oci_manifest *m)
{
	static const char *const from[] = { "application/vnd.docker.image.rootfs.diff.tar.gzip",
		                            "application/vnd.docker.image.rootfs.diff.tar.zstd",
		                            "application/vnd.docker.image.rootfs.diff.tar" };
	static const char *const to[] = { OCI_MT_LAYER "+gzip", OCI_MT_LAYER "+zstd",
		                          OCI_MT_LAYER };

	free(m->media_type);
	m->media_type = cf_strdup(OCI_MT_MANIFEST);
	free(m->config.media_type);
	m->config.media_type = cf_strdup(OCI_MT_CONFIG);
	for (size_t i = 0; i < m->layer_count; i++) {
		for (size_t k = 0; k < CF_ARRAY_LEN(from); k++) {
			if (strcmp(m->layers[i].media_type, from[k]) != 0)
				continue;
			free(m->layers[i].media_type);
			m->layers[i].media_type = cf_strdup(to[k]);
			break;
		}
	}
}

static int copy_parts(struct image_copy *c, struct oci_manifest *m, struct cf_err *err)
{
	int r = 0;

	if (c->recipient_count > 0)
		make_oci(m);
	for (size_t i = 0; r == 0 && i < m->layer_count; i++)
		r = copy_layer(c, &m->layers[i], err);
	for (size_t i = 0; r == 0 && c->top && m->layer_count && i < c->top->count; i++)
		oci_pairs_set(&m->layers[m->layer_count - 1].annotations, c->top->items[i].key,
		              c->top->items[i].value);
	if (r == 0)
		r = c->recipient_count > 0 ? label_config(c, &m->config, err)
		                           : copy_blob(c, &m->config, err);
	return r;
}

/* @ret: descriptor of what was written: digest, size, type. */
static int copy_manifest(struct image_copy *c, struct cf_view text, const char *tag,
                         struct oci_descriptor *ret, struct cf_err *err)
{
	struct oci_manifest m = { 0 };
	struct cf_buf made = { 0 };
	int r = oci_manifest_parse(text, &m, err);

	if (r == 0)
		r = copy_parts(c, &m, err);
	if (r == 0 && c->recipient_count > 0)
		oci_manifest_write(&m, &made);
	else if (r == 0)
		cf_buf_add_view(&made, text); /* byte for byte: its digest is signed */
	if (r == 0)
		r = cf_buf_check(&made, "manifest", err);
	if (r == 0)
		r = oci_source_put_document(c->to, manifest_type(&m), cf_buf_view(&made), tag,
		                            &ret->digest, err);
	if (r == 0)
		r = check_written(c, &ret->digest, err);
	if (r == 0) {
		ret->size = made.size;
		free(ret->media_type);
		ret->media_type = cf_strdup(manifest_type(&m));
	}
	oci_manifest_fini(&m);
	cf_buf_fini(&made);
	return r;
}

static int copy_entry(struct image_copy *c, struct oci_descriptor *entry, struct cf_err *err)
{
	struct oci_document_bytes doc = { 0 };
	int r = oci_source_document(c->from, entry->digest.text, &doc, err);

	if (r == 0)
		r = copy_manifest(c, cf_buf_view(&doc.bytes), NULL, entry, err);
	oci_document_bytes_fini(&doc);
	return r;
}

/* Attestations are about the plain manifests: an encrypted image has none of its own. */
static void drop_attestations(struct oci_index *x)
{
	size_t keep = 0;

	for (size_t i = 0; i < x->count; i++) {
		if (cf_streq(x->manifests[i].architecture, "unknown"))
			oci_descriptor_fini(&x->manifests[i]);
		else
			x->manifests[keep++] = x->manifests[i];
	}
	x->count = keep;
}

static int copy_index(struct image_copy *c, struct cf_view text, struct cf_err *err)
{
	struct oci_index x = { 0 };
	struct cf_buf made = { 0 };
	int r = oci_index_parse(text, &x, err);

	if (r == 0 && c->recipient_count > 0)
		drop_attestations(&x);
	for (size_t i = 0; r == 0 && i < x.count; i++)
		r = copy_entry(c, &x.manifests[i], err);
	if (r == 0 && c->recipient_count > 0) {
		free(x.media_type);
		x.media_type = cf_strdup(OCI_MT_INDEX);
		oci_index_write(&x, &made);
	} else if (r == 0) {
		cf_buf_add_view(&made, text);
	}
	if (r == 0)
		r = cf_buf_check(&made, "index", err);
	if (r == 0)
		r = oci_source_put_document(c->to, x.media_type ? x.media_type : OCI_MT_INDEX,
		                            cf_buf_view(&made), c->tag, &c->digest, err);
	oci_index_fini(&x);
	cf_buf_fini(&made);
	return r;
}

int image_copy(struct image_copy *c, struct cf_err *err)
{
	struct oci_document_bytes doc = { 0 };
	struct oci_descriptor made = { 0 };
	enum oci_document kind;
	int r = oci_source_document(c->from, NULL, &doc, err);

	if (r == 0)
		r = oci_document_kind(cf_buf_view(&doc.bytes), doc.media_type, &kind, err);
	if (r == 0 && kind == OCI_IS_INDEX) {
		r = copy_index(c, cf_buf_view(&doc.bytes), err);
	} else if (r == 0) {
		r = copy_manifest(c, cf_buf_view(&doc.bytes), c->tag, &made, err);
		c->digest = made.digest;
	}
	oci_descriptor_fini(&made);
	oci_document_bytes_fini(&doc);
	return r;
}
