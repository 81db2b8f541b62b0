/* SPDX-License-Identifier: Apache-2.0 */
#include "erofs/layer_users.h"

#include "erofs/inflate.h"
#include "erofs/tar_reader.h"

#define PIECE_BYTES (64u << 10)

static const struct {
	const char *path, *whiteout;
} files[LAYER_USERS_FILES] = {
	{ "etc/passwd", "etc/.wh.passwd" },
	{ "etc/group", "etc/.wh.group" },
};

struct layer_users_reader {
	struct tar_reader *tar;
	struct inflate *inflate;
	struct cf_buf head; /* too few bytes yet to know the format by */
	bool is_known;
	uint8_t *piece;
	struct layer_users_found found;
	struct cf_buf *into; /* the file that is being read, or NULL */
	bool is_cut;
	bool is_complete; /* both were met */
};

/* ---- members of the archive ---- */

static void hide(struct layer_users_reader *r, size_t i)
{
	r->found.is_there[i] = true;
	cf_buf_reset(&r->found.text[i]);
}

/* /etc is something else in this layer, or begins anew: what lies below is not seen any more. */
static bool hides_all(const struct tar_entry *e)
{
	return cf_view_eq_str(e->path, ".wh..wh..opq") || cf_view_eq_str(e->path, ".wh.etc") ||
	       cf_view_eq_str(e->path, "etc/.wh..wh..opq") ||
	       (cf_view_eq_str(e->path, "etc") && e->type != TAR_DIR);
}

static int on_entry(void *ctx, const struct tar_entry *e, struct cf_err *err)
{
	struct layer_users_reader *r = ctx;

	(void)err;
	for (size_t i = 0; i < LAYER_USERS_FILES; i++) {
		bool is_it = cf_view_eq_str(e->path, files[i].path);

		if (is_it || cf_view_eq_str(e->path, files[i].whiteout) ||
		    (hides_all(e) && !r->found.is_there[i]))
			hide(r, i);
		if (is_it && e->type == TAR_FILE)
			r->into = &r->found.text[i];
	}
	r->is_cut = false;
	return 0;
}

static int on_data(void *ctx, struct cf_view v, struct cf_err *err)
{
	struct layer_users_reader *r = ctx;

	(void)err;
	if (!r->into)
		return 0;
	size_t room = LAYER_USERS_TEXT_MAX - r->into->size;

	r->is_cut |= v.size > room;
	cf_buf_add_view(r->into, cf_view_sub(v, 0, room));
	return 0;
}

/* No text has holes. */
static int on_hole(void *ctx, uint64_t n, struct cf_err *err)
{
	struct layer_users_reader *r = ctx;

	(void)n;
	(void)err;
	if (r->into)
		cf_buf_reset(r->into);
	r->into = NULL;
	return 0;
}

static int on_done(void *ctx, struct cf_err *err)
{
	struct layer_users_reader *r = ctx;
	struct cf_buf *text = r->into;

	(void)err;
	r->into = NULL;
	while (text && r->is_cut && text->size && text->data[text->size - 1] != '\n')
		text->size--;
	r->is_complete = r->found.text[0].size && r->found.text[1].size;
	return 0;
}

static const struct tar_sink sink = { on_entry, on_data, on_hole, on_done };

/* ---- bytes of the blob ---- */

static int feed(struct layer_users_reader *r, struct cf_view in, struct cf_err *err)
{
	int rc = tar_reader_feed(r->tar, in, err);

	return rc == 0 && r->is_complete ? LAYER_USERS_E_ENOUGH : rc;
}

static int inflate_and_feed(struct layer_users_reader *r, struct cf_view in, struct cf_err *err)
{
	for (;;) {
		size_t produced = 0;
		int rc = inflate_step(r->inflate, &in, r->piece, PIECE_BYTES, &produced, err);

		if (rc == 0 && produced)
			rc = feed(r, cf_view(r->piece, produced), err);
		if (rc != 0 || (!produced && !in.size))
			return rc;
	}
}

static int find_format(struct layer_users_reader *r, struct cf_err *err)
{
	enum inflate_format format = inflate_sniff(cf_buf_view(&r->head));

	r->is_known = true;
	return format == INFLATE_PLAIN ? 0 : inflate_new(format, &r->inflate, err);
}

static int read_known(struct layer_users_reader *r, struct cf_view in, struct cf_err *err)
{
	return r->inflate ? inflate_and_feed(r, in, err) : feed(r, in, err);
}

int layer_users_read(struct layer_users_reader *r, struct cf_view in, struct cf_err *err)
{
	int rc = 0;

	if (r->is_known)
		return read_known(r, in, err);
	cf_buf_add_view(&r->head, in);
	if (r->head.size < INFLATE_MAGIC_BYTES)
		return 0;
	rc = find_format(r, err);
	return rc < 0 ? rc : read_known(r, cf_buf_view(&r->head), err);
}

void layer_users_take(struct layer_users_reader *r, struct layer_users_found *ret)
{
	/* A file that was being read when the bytes ended is no file. */
	if (r->into)
		cf_buf_reset(r->into);
	r->into = NULL;
	*ret = r->found;
	r->found = (struct layer_users_found){ 0 };
}

struct layer_users_reader *layer_users_reader_new(void)
{
	struct layer_users_reader *r = cf_zalloc(sizeof(*r));

	r->tar = tar_reader_new(NULL, &sink, r);
	r->piece = cf_zalloc(PIECE_BYTES);
	return r;
}

struct layer_users_reader *layer_users_reader_free(struct layer_users_reader *r)
{
	if (!r)
		return NULL;
	tar_reader_free(r->tar);
	inflate_free(r->inflate);
	layer_users_found_fini(&r->found);
	cf_buf_fini(&r->head);
	free(r->piece);
	free(r);
	return NULL;
}
