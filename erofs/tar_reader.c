/* SPDX-License-Identifier: Apache-2.0 */
#include "erofs/tar_reader.h"

#include "erofs/tar_field.h"
#include "erofs/tar_pax.h"
#include "erofs/tar_sparse.h"

#include "base/str.h"

#include <assert.h>

enum tar_state {
	AT_HEADER,      /* a header block is due */
	AT_META,        /* the content of an x, g, L or K member */
	AT_SPARSE_MORE, /* further map blocks of an old GNU sparse header */
	AT_SPARSE_TEXT, /* map blocks in front of the data, form 1.0 */
	AT_DATA,
	AT_SKIP, /* padding, or content of a member nobody wants */
	AT_END,
	AT_FAILED,
};

struct tar_reader {
	struct tar_limits limits;
	const struct tar_sink *sink;
	void *ctx;
	struct tar_stats stats;
	enum tar_state state;
	unsigned zero_blocks;
	uint64_t described; /* x, g, L and K members */

	uint8_t block[TAR_BLOCK_BYTES]; /* the header of the member at hand */
	uint8_t more[TAR_BLOCK_BYTES];  /* sparse maps behind it */
	size_t block_fill;
	struct tar_header header; /* borrows from block */

	struct cf_buf meta;
	char meta_type;
	uint64_t left; /* stored bytes that the state still wants */
	uint64_t pad;  /* bytes up to the next block, after left */
	bool pad_only; /* AT_SKIP: nothing but padding is missing */

	struct tar_pax global, local;
	bool has_local;
	struct cf_buf long_name, long_link; /* GNU L and K; empty: none came */
	bool has_long_name, has_long_link;

	struct tar_sparse sparse;
	struct tar_sparse_text sparse_text;
	bool is_sparse;
	size_t extent;        /* the one being read */
	uint64_t extent_done; /* bytes of it */
	uint64_t position;    /* in the file, holes included */
	uint64_t file_size;

	struct tar_xattr *xattrs;
	size_t xattr_cap;
	char path[TAR_PATH_MAX + 1], link[TAR_PATH_MAX + 1];
};

struct tar_reader *tar_reader_new(const struct tar_limits *limits, const struct tar_sink *sink,
                                  void *ctx)
{
	struct tar_reader *t = cf_zalloc(sizeof(*t));

	if (limits)
		t->limits = *limits;
	if (!t->limits.entries_max)
		t->limits.entries_max = TAR_ENTRIES_DEFAULT;
	if (!t->limits.bytes_max)
		t->limits.bytes_max = TAR_BYTES_DEFAULT;
	t->meta.max = TAR_PAX_BYTES_MAX;
	t->sink = sink;
	t->ctx = ctx;
	return t;
}

struct tar_reader *tar_reader_free(struct tar_reader *t)
{
	if (!t)
		return NULL;
	tar_pax_fini(&t->global);
	tar_pax_fini(&t->local);
	tar_sparse_fini(&t->sparse);
	cf_buf_fini(&t->meta);
	cf_buf_fini(&t->long_name);
	cf_buf_fini(&t->long_link);
	free(t->xattrs);
	free(t);
	return NULL;
}

const struct tar_stats *tar_reader_stats(const struct tar_reader *t)
{
	return &t->stats;
}

/* ---- names ---- */

static int bad_name(struct cf_view raw, const char *why, struct cf_err *err)
{
	return cf_fail(err, CF_INVALID_ARGUMENT, "tar: '%.*s': %s",
	               (int)CF_MIN(raw.size, (size_t)200), (const char *)raw.data, why);
}

int tar_clean_path(struct cf_view raw, char *out, size_t *ret_size, struct cf_err *err)
{
	size_t size = 0, depth = 0;
	struct cf_view rest = raw;

	if (cf_view_has_nul(raw))
		return bad_name(raw, "the name holds a NUL", err);
	while (rest.size) {
		ssize_t slash = cf_view_find(rest, '/');
		struct cf_view part = cf_view_sub(rest, 0, slash < 0 ? rest.size : (size_t)slash);

		rest = cf_view_sub(rest, part.size + 1, rest.size);
		if (part.size == 0 || cf_view_eq_str(part, "."))
			continue;
		if (cf_view_eq_str(part, ".."))
			return bad_name(raw, "'..' in a name", err);
		if (part.size > TAR_COMPONENT_MAX)
			return bad_name(raw, "a component is longer than 255 bytes", err);
		if (++depth > TAR_DEPTH_MAX)
			return bad_name(raw, "more than 256 components", err);
		if (size + (size > 0) + part.size > TAR_PATH_MAX)
			return bad_name(raw, "longer than 4096 bytes", err);
		if (size)
			out[size++] = '/';
		memcpy(out + size, part.data, part.size);
		size += part.size;
	}
	out[size] = '\0';
	*ret_size = size;
	return 0;
}

/* prefix/name of a ustar header, in @joined. */
static struct cf_view header_name(const struct tar_reader *t, char joined[256 + 1])
{
	const struct tar_header *h = &t->header;

	if (!h->prefix.size)
		return h->name;
	memcpy(joined, h->prefix.data, h->prefix.size); /* 155 + 1 + 100 at most */
	joined[h->prefix.size] = '/';
	memcpy(joined + h->prefix.size + 1, h->name.data, h->name.size);
	return cf_view(joined, h->prefix.size + 1 + h->name.size);
}

static int member_path(struct tar_reader *t, enum tar_type type, struct tar_entry *e,
                       struct cf_err *err)
{
	char joined[256 + 1];
	struct cf_view raw = header_name(t, joined);
	size_t size;
	int r;

	if (t->has_local && t->local.path.size)
		raw = cf_buf_view(&t->local.path);
	if (t->has_local && t->local.sparse_name.size)
		raw = cf_buf_view(&t->local.sparse_name);
	if (t->has_long_name)
		raw = cf_buf_view(&t->long_name);
	r = tar_clean_path(raw, t->path, &size, err);
	if (r < 0)
		return r;
	if (size == 0 && type != TAR_DIR)
		return bad_name(raw, "the root is a directory", err);
	e->path = cf_view(t->path, size);
	return 0;
}

static int member_link(struct tar_reader *t, struct tar_entry *e, struct cf_err *err)
{
	struct cf_view raw = t->header.link;
	size_t size;
	int r;

	if (t->has_local && t->local.link.size)
		raw = cf_buf_view(&t->local.link);
	if (t->has_long_link)
		raw = cf_buf_view(&t->long_link);
	if (e->type == TAR_HARDLINK) {
		r = tar_clean_path(raw, t->link, &size, err);
		e->link = cf_view(t->link, r < 0 ? 0 : size);
		if (r == 0 && size == 0)
			r = bad_name(e->path, "a hard link to nothing", err);
		return r < 0 ? cf_wrap(err, r, "hard link") : 0;
	}
	if (raw.size == 0)
		return bad_name(e->path, "a symbolic link to nothing", err);
	if (raw.size >= TAR_PATH_MAX)
		return bad_name(e->path, "the target of the symbolic link is too long", err);
	e->link = raw;
	return 0;
}

/* ---- attributes ---- */

static int member_ids(const struct tar_reader *t, struct tar_entry *e, struct cf_err *err)
{
	const struct tar_header *h = &t->header;
	const struct tar_pax *layers[] = { &t->global, t->has_local ? &t->local : &t->global };
	int64_t uid = h->uid, gid = h->gid;

	e->mtime = h->mtime;
	for (size_t i = 0; i < CF_ARRAY_LEN(layers); i++) {
		if (layers[i]->has_uid)
			uid = layers[i]->uid;
		if (layers[i]->has_gid)
			gid = layers[i]->gid;
		if (layers[i]->has_mtime) {
			e->mtime = layers[i]->mtime;
			e->mtime_nsec = layers[i]->mtime_nsec;
		}
	}
	if (uid < 0 || uid >= UINT32_MAX || gid < 0 || gid >= UINT32_MAX)
		return bad_name(e->path, "no such uid or gid can be", err);
	if (h->mode < 0)
		return bad_name(e->path, "negative mode", err);
	if (e->mtime > TAR_MTIME_LIMIT || e->mtime < -TAR_MTIME_LIMIT)
		return bad_name(e->path, "no such time can be", err);
	e->uid = (uint32_t)uid;
	e->gid = (uint32_t)gid;
	e->mode = (uint16_t)(h->mode & 07777);
	return 0;
}

static int member_device(const struct tar_header *h, struct tar_entry *e, struct cf_err *err)
{
	if (h->dev_major < 0 || h->dev_major > TAR_DEV_MAJOR_MAX || h->dev_minor < 0 ||
	    h->dev_minor > TAR_DEV_MINOR_MAX)
		return bad_name(e->path, "no such device number can be", err);
	e->dev_major = (uint32_t)h->dev_major;
	e->dev_minor = (uint32_t)h->dev_minor;
	return 0;
}

static void add_xattrs(struct tar_reader *t, const struct tar_pax *p, size_t *count)
{
	struct cf_view arena = cf_buf_view(&p->arena);

	cf_grow(&t->xattrs, &t->xattr_cap, *count + p->xattr_count);
	for (size_t i = 0; i < p->xattr_count; i++) {
		const struct pax_xattr *x = &p->xattrs[i];

		t->xattrs[(*count)++] = (struct tar_xattr){
			cf_view_sub(arena, x->name_at, x->name_size),
			cf_view_sub(arena, x->value_at, x->value_size),
		};
	}
}

/* Global ones first: a later one of the same name wins. */
static void member_xattrs(struct tar_reader *t, struct tar_entry *e)
{
	size_t count = 0;

	add_xattrs(t, &t->global, &count);
	if (t->has_local)
		add_xattrs(t, &t->local, &count);
	e->xattrs = t->xattrs;
	e->xattr_count = count;
}

/* ---- members ---- */

static void forget_member_headers(struct tar_reader *t)
{
	if (t->has_local)
		tar_pax_reset(&t->local);
	t->has_local = t->has_long_name = t->has_long_link = false;
	cf_buf_reset(&t->long_name);
	cf_buf_reset(&t->long_link);
}

static void skip(struct tar_reader *t, uint64_t bytes, bool pad_only)
{
	t->left = bytes;
	t->pad_only = pad_only;
	t->state = bytes ? AT_SKIP : AT_HEADER;
}

static uint64_t padding(uint64_t size)
{
	return -size & (TAR_BLOCK_BYTES - 1);
}

static int finish_file(struct tar_reader *t, struct cf_err *err)
{
	int r = 0;

	if (t->position < t->file_size)
		r = t->sink->hole(t->ctx, t->file_size - t->position, err);
	if (r == 0)
		r = t->sink->done(t->ctx, err);
	if (r < 0)
		return r;
	forget_member_headers(t);
	t->sparse.count = 0;
	skip(t, t->pad, true);
	return 0;
}

/* Everything about the member is known; t->left stored bytes follow. */
static int start_file(struct tar_reader *t, struct tar_entry *e, struct cf_err *err)
{
	int r = 0;

	if (t->is_sparse)
		r = tar_sparse_check(&t->sparse, t->file_size, t->left, err);
	if (r < 0)
		return cf_wrap(err, r, "%s", t->path);
	if (t->file_size > t->limits.bytes_max - t->stats.bytes)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED,
		               "tar: %s: the layer holds more than %llu bytes", t->path,
		               (unsigned long long)t->limits.bytes_max);
	t->stats.bytes += t->file_size;
	t->position = t->extent_done = 0;
	t->extent = 0;
	e->size = t->file_size;
	r = t->sink->entry(t->ctx, e, err);
	if (r < 0)
		return r;
	t->state = AT_DATA;
	return t->left ? 0 : finish_file(t, err);
}

static int build_entry(struct tar_reader *t, enum tar_type type, struct tar_entry *e,
                       struct cf_err *err)
{
	int r = member_path(t, type, e, err);

	e->type = type;
	e->is_socket = type == TAR_FIFO && t->has_local && t->local.is_socket;
	if (r == 0 && (type == TAR_HARDLINK || type == TAR_SYMLINK))
		r = member_link(t, e, err);
	if (r == 0 && (type == TAR_CHAR || type == TAR_BLOCK))
		r = member_device(&t->header, e, err);
	if (r == 0)
		r = member_ids(t, e, err);
	if (r == 0)
		member_xattrs(t, e);
	return r;
}

static int start_sparse_or_file(struct tar_reader *t, struct cf_err *err)
{
	struct tar_entry e = { 0 };
	int r = build_entry(t, TAR_FILE, &e, err);

	return r < 0 ? r : start_file(t, &e, err);
}

/* GNU.sparse.* in the extended header: decides where the map is. */
static int plan_pax_sparse(struct tar_reader *t, struct cf_err *err)
{
	const struct tar_pax *p = &t->local;

	if (!t->has_local || (!p->has_sparse_major && !p->has_sparse_map && !p->has_sparse_size))
		return 0;
	if (!p->has_sparse_size)
		return bad_name(t->header.name, "a sparse file without a size", err);
	t->is_sparse = true;
	t->file_size = p->sparse_size;
	if (p->has_sparse_major && p->sparse_major == 1 && p->sparse_minor == 0) {
		t->sparse_text = (struct tar_sparse_text){ 0 };
		t->state = AT_SPARSE_TEXT;
		return 0;
	}
	if (p->has_sparse_major && p->sparse_major != 0)
		return bad_name(t->header.name, "an unknown form of sparse file", err);
	for (size_t i = 0; i < p->sparse.count; i++) {
		int r = tar_sparse_add(&t->sparse, p->sparse.items[i].offset,
		                       p->sparse.items[i].size, err);
		if (r < 0)
			return r;
	}
	return 0;
}

#define GNU_SPARSE_AT      386u
#define GNU_SPARSE_PAIRS   4u
#define GNU_EXTENDED_AT    482u
#define GNU_REALSIZE_AT    483u
#define GNU_MORE_PAIRS     21u
#define GNU_MORE_EXTENDED  504u
#define GNU_REALSIZE_BYTES 12u

static int plan_gnu_sparse(struct tar_reader *t, struct cf_err *err)
{
	struct cf_view block = cf_view(t->block, TAR_BLOCK_BYTES);
	int64_t size;
	int r;

	if (t->header.format != TAR_GNU)
		return bad_name(t->header.name, "a sparse file outside the GNU format", err);
	if (!tar_field_number(cf_view_sub(block, GNU_REALSIZE_AT, GNU_REALSIZE_BYTES), &size) ||
	    size < 0)
		return bad_name(t->header.name, "a sparse file of malformed size", err);
	r = tar_sparse_add_pairs(&t->sparse, block, GNU_SPARSE_AT, GNU_SPARSE_PAIRS, err);
	if (r < 0)
		return r;
	t->is_sparse = true;
	t->file_size = (uint64_t)size;
	if (t->block[GNU_EXTENDED_AT])
		t->state = AT_SPARSE_MORE;
	return 0;
}

static int plan_file(struct tar_reader *t, struct cf_err *err)
{
	uint64_t size = (uint64_t)t->header.size;
	int r;

	if (t->has_local && t->local.has_size)
		size = t->local.size;
	else if (t->global.has_size)
		size = t->global.size;
	else if (t->header.size < 0)
		return bad_name(t->header.name, "negative size", err);
	if (size > t->limits.bytes_max)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "tar: '%.*s': %llu bytes, at most %llu",
		               (int)t->header.name.size, (const char *)t->header.name.data,
		               (unsigned long long)size, (unsigned long long)t->limits.bytes_max);
	t->left = t->file_size = size;
	t->pad = padding(size);
	t->is_sparse = false;
	t->sparse.count = 0;
	t->state = AT_DATA;
	r = t->header.type == 'S' ? plan_gnu_sparse(t, err) : plan_pax_sparse(t, err);
	if (r < 0 || t->state != AT_DATA)
		return r;
	return start_sparse_or_file(t, err);
}

/* Links, directories, devices: whatever their size field says, no content follows. */
static int plain_member(struct tar_reader *t, enum tar_type type, struct cf_err *err)
{
	struct tar_entry e = { 0 };
	int r = build_entry(t, type, &e, err);

	if (r == 0)
		r = t->sink->entry(t->ctx, &e, err);
	if (r == 0)
		r = t->sink->done(t->ctx, err);
	if (r < 0)
		return r;
	forget_member_headers(t);
	t->state = AT_HEADER;
	return 0;
}

static int skip_member(struct tar_reader *t, struct cf_err *err)
{
	uint64_t size = (uint64_t)t->header.size;

	if (t->has_local && t->local.has_size)
		size = t->local.size;
	else if (t->header.size < 0)
		return bad_name(t->header.name, "negative size", err);
	if (size > t->limits.bytes_max)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "tar: '%.*s': %llu bytes, at most %llu",
		               (int)t->header.name.size, (const char *)t->header.name.data,
		               (unsigned long long)size, (unsigned long long)t->limits.bytes_max);
	t->stats.skipped++;
	forget_member_headers(t);
	skip(t, size + padding(size), false);
	return 0;
}

static int count_member(struct tar_reader *t, struct cf_err *err)
{
	if (t->stats.entries + t->stats.skipped >= t->limits.entries_max)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "tar: more than %llu entries",
		               (unsigned long long)t->limits.entries_max);
	return 0;
}

/* A regular file of old archives is a directory when its name ends in a slash. */
static bool names_directory(const struct tar_reader *t)
{
	char joined[256 + 1];
	struct cf_view raw = header_name(t, joined);

	if (t->has_local && t->local.path.size)
		raw = cf_buf_view(&t->local.path);
	if (t->has_long_name)
		raw = cf_buf_view(&t->long_name);
	return raw.size && raw.data[raw.size - 1] == '/';
}

static int on_member(struct tar_reader *t, struct cf_err *err)
{
	int r = count_member(t, err);

	if (r < 0)
		return r;
	switch (t->header.type) {
	case '\0':
		t->stats.entries++;
		return names_directory(t) ? plain_member(t, TAR_DIR, err) : plan_file(t, err);
	case '0':
	case '7':
	case 'S':
		t->stats.entries++;
		return plan_file(t, err);
	case '1':
	case '2':
	case '3':
	case '4':
	case '5':
	case '6':
		t->stats.entries++;
		return plain_member(t, TAR_HARDLINK + (enum tar_type)(t->header.type - '1'), err);
	default:
		return skip_member(t, err);
	}
}

/* ---- extended headers ---- */

static int take_long_name(struct tar_reader *t, struct cf_buf *to, bool *has, struct cf_err *err)
{
	struct cf_view v = cf_buf_view(&t->meta);

	while (v.size && v.data[v.size - 1] == '\0')
		v.size--;
	if (cf_view_has_nul(v))
		return cf_fail(err, CF_INVALID_ARGUMENT, "tar: NUL in a long name");
	cf_buf_reset(to);
	cf_buf_add_view(to, v);
	*has = v.size > 0;
	return cf_buf_check(to, "tar: long name", err);
}

static int on_meta(struct tar_reader *t, struct cf_err *err)
{
	int r;

	switch (t->meta_type) {
	case 'L':
		r = take_long_name(t, &t->long_name, &t->has_long_name, err);
		break;
	case 'K':
		r = take_long_name(t, &t->long_link, &t->has_long_link, err);
		break;
	case 'g':
		r = tar_pax_parse(&t->global, cf_buf_view(&t->meta), true, err);
		break;
	default:
		t->has_local = true;
		r = tar_pax_parse(&t->local, cf_buf_view(&t->meta), false, err);
	}
	if (r < 0)
		return r;
	if (t->meta.cap > TAR_LONG_NAME_MAX)
		cf_buf_fini(&t->meta);
	cf_buf_reset(&t->meta);
	t->meta.max = TAR_PAX_BYTES_MAX;
	skip(t, t->pad, false);
	return 0;
}

static int begin_meta(struct tar_reader *t, struct cf_err *err)
{
	bool is_name = t->header.type == 'L' || t->header.type == 'K';
	uint64_t max = is_name ? TAR_LONG_NAME_MAX : TAR_PAX_BYTES_MAX;

	if (t->header.size < 0 || (uint64_t)t->header.size > max)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "tar: %s of %lld bytes, at most %llu",
		               is_name ? "a long name" : "an extended header",
		               (long long)t->header.size, (unsigned long long)max);
	/* Members that only describe others must end too. */
	if (t->described++ > 3 * t->limits.entries_max)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "tar: too many extended headers");
	t->meta_type = t->header.type;
	t->left = (uint64_t)t->header.size;
	t->pad = padding(t->left);
	t->state = AT_META;
	cf_buf_reset(&t->meta);
	return t->left ? 0 : on_meta(t, err);
}

static int on_header(struct tar_reader *t, struct cf_err *err)
{
	struct cf_view block = cf_view(t->block, TAR_BLOCK_BYTES);
	int r;

	if (tar_block_is_zero(block)) {
		if (++t->zero_blocks == 2)
			t->state = AT_END;
		return 0;
	}
	t->zero_blocks = 0;
	r = tar_header_parse(block, &t->header, err);
	if (r < 0)
		return r;
	switch (t->header.type) {
	case 'x':
	case 'g':
	case 'L':
	case 'K':
		return begin_meta(t, err);
	default:
		return on_member(t, err);
	}
}

static int on_sparse_more(struct tar_reader *t, struct cf_err *err)
{
	struct cf_view block = cf_view(t->more, TAR_BLOCK_BYTES);
	int r = tar_sparse_add_pairs(&t->sparse, block, 0, GNU_MORE_PAIRS, err);

	if (r < 0)
		return r;
	/* A chain of blocks that hold nothing would otherwise never end. */
	if (t->more[GNU_MORE_EXTENDED] && !t->more[0])
		return bad_name(t->header.name, "sparse map: an empty block in the middle", err);
	return t->more[GNU_MORE_EXTENDED] ? 0 : start_sparse_or_file(t, err);
}

static int on_sparse_text(struct tar_reader *t, struct cf_err *err)
{
	int r;

	if (t->left < TAR_BLOCK_BYTES)
		return bad_name(t->header.name, "sparse map: longer than the member", err);
	t->left -= TAR_BLOCK_BYTES;
	r = tar_sparse_text_feed(&t->sparse_text, &t->sparse, cf_view(t->more, TAR_BLOCK_BYTES),
	                         err);
	if (r < 0 || !t->sparse_text.complete)
		return r;
	return start_sparse_or_file(t, err);
}

/* ---- the steps of each state: each eats some of @in ---- */

static struct cf_view eat(struct cf_view *in, uint64_t n)
{
	struct cf_view v = cf_view_sub(*in, 0, (size_t)CF_MIN((uint64_t)in->size, n));

	*in = cf_view_sub(*in, v.size, in->size);
	return v;
}

/* True when @block is full. */
static bool fill_block(struct tar_reader *t, uint8_t *block, struct cf_view *in)
{
	struct cf_view v = eat(in, TAR_BLOCK_BYTES - t->block_fill);

	memcpy(block + t->block_fill, v.data, v.size);
	t->block_fill += v.size;
	if (t->block_fill < TAR_BLOCK_BYTES)
		return false;
	t->block_fill = 0;
	return true;
}

static int step_header(struct tar_reader *t, struct cf_view *in, struct cf_err *err)
{
	return fill_block(t, t->block, in) ? on_header(t, err) : 0;
}

static int step_sparse_more(struct tar_reader *t, struct cf_view *in, struct cf_err *err)
{
	return fill_block(t, t->more, in) ? on_sparse_more(t, err) : 0;
}

static int step_sparse_text(struct tar_reader *t, struct cf_view *in, struct cf_err *err)
{
	return fill_block(t, t->more, in) ? on_sparse_text(t, err) : 0;
}

static int step_meta(struct tar_reader *t, struct cf_view *in, struct cf_err *err)
{
	struct cf_view v = eat(in, t->left);
	int r;

	cf_buf_add_view(&t->meta, v);
	r = cf_buf_check(&t->meta, "tar: extended header", err);
	if (r < 0)
		return r;
	t->left -= v.size;
	return t->left ? 0 : on_meta(t, err);
}

static int step_skip(struct tar_reader *t, struct cf_view *in, struct cf_err *err)
{
	(void)err;
	t->left -= eat(in, t->left).size;
	if (!t->left)
		t->state = AT_HEADER;
	return 0;
}

/* How many stored bytes come now without a hole between them; reports the hole before them. */
static int next_run(struct tar_reader *t, uint64_t *ret, struct cf_err *err)
{
	*ret = t->left;
	if (!t->is_sparse)
		return 0;
	while (t->extent_done == t->sparse.items[t->extent].size) {
		t->extent++; /* tar_sparse_check: the extents add up to what is left */
		t->extent_done = 0;
		assert(t->extent < t->sparse.count);
	}
	const struct tar_extent *e = &t->sparse.items[t->extent];
	uint64_t at = e->offset + t->extent_done;

	*ret = e->size - t->extent_done;
	if (at == t->position)
		return 0;
	int r = t->sink->hole(t->ctx, at - t->position, err);
	t->position = at;
	return r;
}

static int step_data(struct tar_reader *t, struct cf_view *in, struct cf_err *err)
{
	uint64_t run;
	int r = next_run(t, &run, err);

	if (r < 0)
		return r;
	struct cf_view v = eat(in, run);
	r = t->sink->data(t->ctx, v, err);
	if (r < 0)
		return r;
	t->left -= v.size;
	t->position += v.size;
	t->extent_done += v.size;
	return t->left ? 0 : finish_file(t, err);
}

static int step_end(struct tar_reader *t, struct cf_view *in, struct cf_err *err)
{
	(void)t;
	(void)err;
	*in = cf_view(NULL, 0);
	return 0;
}

static int step_failed(struct tar_reader *t, struct cf_view *in, struct cf_err *err)
{
	(void)t;
	(void)in;
	return cf_fail(err, CF_FAILED_PRECONDITION, "tar: the reader already failed");
}

static int (*const steps[])(struct tar_reader *, struct cf_view *, struct cf_err *) = {
	[AT_HEADER] = step_header,
	[AT_META] = step_meta,
	[AT_SPARSE_MORE] = step_sparse_more,
	[AT_SPARSE_TEXT] = step_sparse_text,
	[AT_DATA] = step_data,
	[AT_SKIP] = step_skip,
	[AT_END] = step_end,
	[AT_FAILED] = step_failed,
};

int tar_reader_feed(struct tar_reader *t, struct cf_view in, struct cf_err *err)
{
	while (in.size) {
		int r = steps[t->state](t, &in, err);

		if (r < 0) {
			t->state = AT_FAILED;
			return r;
		}
	}
	return 0;
}

int tar_reader_finish(struct tar_reader *t, struct cf_err *err)
{
	enum tar_state state = t->state;
	bool pending = t->has_local || t->has_long_name || t->has_long_link;

	t->state = AT_FAILED;
	if (state == AT_END)
		return 0;
	if (state == AT_FAILED)
		return cf_fail(err, CF_FAILED_PRECONDITION, "tar: the reader already failed");
	/* Some writers leave out the last padding, some the end marker. */
	if ((state == AT_HEADER && !t->block_fill && !pending) ||
	    (state == AT_SKIP && t->pad_only)) {
		t->stats.no_end_marker = true;
		return 0;
	}
	return cf_fail(err, CF_INVALID_ARGUMENT, "tar: the archive ends inside a member");
}
