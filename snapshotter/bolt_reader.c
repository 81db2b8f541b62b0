/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshotter/bolt_reader.h"

#include "base/fd.h"

#include <errno.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC       0xED0CDAEDu
#define VERSION     2u
#define HEADER      16u /* of a page */
#define ELEMENT     16u /* of a page's table */
#define META        64u /* bytes of a meta, its checksum last */
#define BUCKET      16u /* root page and sequence, in front of an inline page */
#define PAGE_MIN    512u
#define PAGE_MAX    65536u
#define FLAG_BRANCH 0x01u
#define FLAG_LEAF   0x02u
#define FLAG_META   0x04u
#define LEAF_BUCKET 0x01u /* of an element */
#define BUDGET_OF   8u    /* each element may be looked at so often, on the average */

/* ---- opening ---- */

static uint64_t fnv1a(struct cf_view v)
{
	uint64_t h = 14695981039346656037ull;

	for (size_t i = 0; i < v.size; i++)
		h = (h ^ v.data[i]) * 1099511628211ull;
	return h;
}

struct meta {
	uint32_t page_size;
	uint64_t root, high_water, txid;
};

static bool read_meta(struct cf_view page, struct meta *ret)
{
	struct cf_rd rd = { .in = page };

	cf_rd_skip(&rd, 8);
	uint16_t flags = cf_rd_u16le(&rd);

	cf_rd_skip(&rd, 6);
	size_t start = rd.pos;
	uint32_t magic = cf_rd_u32le(&rd);
	uint32_t version = cf_rd_u32le(&rd);

	ret->page_size = cf_rd_u32le(&rd);
	cf_rd_skip(&rd, 4);
	ret->root = cf_rd_u64le(&rd);
	cf_rd_skip(&rd, 16); /* the root bucket's sequence, the free list */
	ret->high_water = cf_rd_u64le(&rd);
	ret->txid = cf_rd_u64le(&rd);
	uint64_t sum = cf_rd_u64le(&rd);

	return !rd.bad && (flags & FLAG_META) && magic == MAGIC && version == VERSION &&
	       ret->page_size >= PAGE_MIN && ret->page_size <= PAGE_MAX &&
	       (ret->page_size & (ret->page_size - 1)) == 0 &&
	       sum == fnv1a(cf_view_sub(page, start, META - 8));
}

/* The first meta is at 0, the second one page further, and only the first says how long that is. */
static bool newest_meta(struct cf_view file, struct meta *ret)
{
	struct meta one, two;
	bool first = read_meta(file, &one);

	for (size_t size = first ? one.page_size : PAGE_MIN; size <= PAGE_MAX; size *= 2) {
		bool second = read_meta(cf_view_sub(file, size, HEADER + META), &two) &&
		              two.page_size == size;

		if (second && (!first || two.txid > one.txid)) {
			*ret = two;
			return true;
		}
		if (first)
			break;
	}
	if (first)
		*ret = one;
	return first;
}

int bolt_open(struct cf_view file, struct bolt *ret, struct cf_err *err)
{
	struct meta m;

	if (file.size > BOLT_SIZE_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "bolt: over %llu bytes",
		               (unsigned long long)BOLT_SIZE_MAX);
	if (!newest_meta(file, &m))
		return cf_fail(err, CF_DATA_LOSS, "bolt: no sound meta page");
	*ret = (struct bolt){ .file = file,
		              .page_size = m.page_size,
		              .page_count = CF_MIN(m.high_water, file.size / m.page_size),
		              .root = m.root,
		              .budget = BUDGET_OF * (file.size / ELEMENT) };
	return 0;
}

struct bolt_bucket bolt_root(struct bolt *db)
{
	return (struct bolt_bucket){ .db = db, .root = db->root };
}

/* ---- pages ---- */

struct page {
	struct cf_view bytes; /* with its overflow */
	uint16_t flags, count;
};

static int read_header(struct cf_view bytes, struct page *ret, uint32_t *ret_overflow,
                       struct cf_err *err)
{
	struct cf_rd rd = { .in = bytes };

	cf_rd_skip(&rd, 8);
	ret->flags = cf_rd_u16le(&rd);
	ret->count = cf_rd_u16le(&rd);
	*ret_overflow = cf_rd_u32le(&rd);
	ret->bytes = bytes;
	if (rd.bad || cf_rd_left(&rd) / ELEMENT < ret->count)
		return cf_fail(err, CF_DATA_LOSS, "bolt: a page is cut off");
	return 0;
}

static int page_at(const struct bolt *db, uint64_t id, struct page *ret, struct cf_err *err)
{
	uint32_t overflow = 0;

	if (id < 2 || id >= db->page_count)
		return cf_fail(err, CF_DATA_LOSS, "bolt: page %llu is not in the file",
		               (unsigned long long)id);
	size_t at = (size_t)id * db->page_size;
	int r = read_header(cf_view_sub(db->file, at, db->page_size), ret, &overflow, err);

	if (r < 0 && !overflow)
		return r;
	if (overflow >= db->page_count - id)
		return cf_fail(err, CF_DATA_LOSS, "bolt: page %llu ends behind the file",
		               (unsigned long long)id);
	return read_header(cf_view_sub(db->file, at, ((size_t)overflow + 1) * db->page_size), ret,
	                   &overflow, err);
}

/* @n bytes at @offset from element @i. */
static bool piece(const struct page *p, size_t i, uint64_t offset, uint64_t n, struct cf_view *ret)
{
	uint64_t at = HEADER + (uint64_t)i * ELEMENT + offset;

	if (at > p->bytes.size || n > p->bytes.size - at)
		return false;
	*ret = cf_view_sub(p->bytes, (size_t)at, (size_t)n);
	return true;
}

/* ---- walking ---- */

struct walk {
	struct bolt *db;
	int (*fn)(const struct bolt_item *item, void *user, struct cf_err *err);
	void *user;
	struct cf_view last; /* the key before; .data NULL: none yet */
	bool stopped;
};

static int spend(struct bolt *db, struct cf_err *err)
{
	if (!db->budget)
		return cf_fail(err, CF_DATA_LOSS, "bolt: pages refer to each other in circles");
	db->budget--;
	return 0;
}

static int compare(struct cf_view a, struct cf_view b)
{
	int c = memcmp(a.data, b.data, CF_MIN(a.size, b.size));

	return c ? c : (a.size > b.size) - (a.size < b.size);
}

static int check_key(struct walk *w, struct cf_view key, struct cf_err *err)
{
	if (key.size == 0 || key.size > BOLT_KEY_MAX)
		return cf_fail(err, CF_DATA_LOSS, "bolt: a key of %zu bytes", key.size);
	if (w->last.data && compare(w->last, key) >= 0)
		return cf_fail(err, CF_DATA_LOSS, "bolt: keys out of order");
	w->last = key;
	return 0;
}

static int open_bucket(struct bolt *db, struct cf_view value, struct bolt_bucket *ret,
                       struct cf_err *err)
{
	struct cf_rd rd = { .in = value };

	*ret = (struct bolt_bucket){ .db = db, .root = cf_rd_u64le(&rd) };
	ret->sequence = cf_rd_u64le(&rd);
	if (rd.bad)
		return cf_fail(err, CF_DATA_LOSS, "bolt: a bucket is cut off");
	if (ret->root == 0)
		ret->inline_page = cf_view_sub(value, BUCKET, value.size);
	return 0;
}

static int leaf_item(struct walk *w, const struct page *p, size_t i, struct cf_err *err)
{
	struct cf_rd rd = { .in = p->bytes, .pos = HEADER + i * ELEMENT };
	uint32_t flags = cf_rd_u32le(&rd);
	uint32_t pos = cf_rd_u32le(&rd);
	uint32_t key_size = cf_rd_u32le(&rd);
	uint32_t value_size = cf_rd_u32le(&rd);
	struct bolt_item item = { .is_bucket = flags & LEAF_BUCKET };

	if (rd.bad || !piece(p, i, pos, key_size, &item.key) ||
	    !piece(p, i, (uint64_t)pos + key_size, value_size, &item.value))
		return cf_fail(err, CF_DATA_LOSS, "bolt: an element points out of its page");
	int r = check_key(w, item.key, err);

	if (r == 0 && item.is_bucket) {
		r = open_bucket(w->db, item.value, &item.bucket, err);
		item.value = (struct cf_view){ 0 };
	}
	return r < 0 ? r : w->fn(&item, w->user, err);
}

static int walk_leaf(struct walk *w, const struct page *p, struct cf_err *err)
{
	for (size_t i = 0; i < p->count; i++) {
		int r = spend(w->db, err);

		if (r == 0)
			r = leaf_item(w, p, i, err);
		if (r < 0)
			return r;
		if (r > 0) {
			w->stopped = true;
			return 0;
		}
	}
	return 0;
}

static int walk_page(struct walk *w, uint64_t id, unsigned depth, struct cf_err *err);

static int walk_branch(struct walk *w, const struct page *p, unsigned depth, struct cf_err *err)
{
	int r = 0;

	if (p->count == 0 || depth == BOLT_DEPTH_MAX)
		return cf_fail(err, CF_DATA_LOSS, "bolt: a branch that cannot be");
	for (size_t i = 0; r == 0 && i < p->count && !w->stopped; i++) {
		/* Position and size of the key, which the leaf below repeats, then the page. */
		struct cf_rd rd = { .in = p->bytes, .pos = HEADER + i * ELEMENT + 8 };
		uint64_t child = cf_rd_u64le(&rd);

		r = rd.bad ? cf_fail(err, CF_DATA_LOSS, "bolt: a branch is cut off")
		           : spend(w->db, err);
		if (r == 0)
			r = walk_page(w, child, depth + 1, err);
	}
	return r;
}

static int walk_page(struct walk *w, uint64_t id, unsigned depth, struct cf_err *err)
{
	struct page p;
	int r = page_at(w->db, id, &p, err);

	if (r < 0)
		return r;
	if (p.flags & FLAG_BRANCH)
		return walk_branch(w, &p, depth, err);
	if (!(p.flags & FLAG_LEAF))
		return cf_fail(err, CF_DATA_LOSS, "bolt: page %llu is of another kind",
		               (unsigned long long)id);
	return walk_leaf(w, &p, err);
}

static int walk_inline(struct walk *w, struct cf_view bytes, struct cf_err *err)
{
	uint32_t overflow;
	struct page p;
	int r = read_header(bytes, &p, &overflow, err);

	if (r < 0)
		return r;
	if (!(p.flags & FLAG_LEAF))
		return cf_fail(err, CF_DATA_LOSS, "bolt: an inline page is no leaf");
	return walk_leaf(w, &p, err);
}

int bolt_each(const struct bolt_bucket *b,
              int (*fn)(const struct bolt_item *item, void *user, struct cf_err *err), void *user,
              struct cf_err *err)
{
	struct walk w = { .db = b->db, .fn = fn, .user = user };

	return b->root ? walk_page(&w, b->root, 0, err) : walk_inline(&w, b->inline_page, err);
}

/* ---- looking up ---- */

struct lookup {
	const char *name;
	struct bolt_item *ret;
	bool found;
};

static int is_it(const struct bolt_item *item, void *user, struct cf_err *err)
{
	struct lookup *l = user;

	(void)err;
	if (!cf_view_eq_str(item->key, l->name))
		return 0;
	*l->ret = *item;
	l->found = true;
	return 1;
}

static int look_up(const struct bolt_bucket *b, const char *name, struct bolt_item *ret,
                   struct cf_err *err)
{
	struct lookup l = { name, ret, false };
	int r = bolt_each(b, is_it, &l, err);

	if (r == 0 && !l.found)
		return cf_fail(err, CF_NOT_FOUND, "bolt: no %s", name);
	return r;
}

int bolt_bucket_in(const struct bolt_bucket *b, const char *name, struct bolt_bucket *ret,
                   struct cf_err *err)
{
	struct bolt_item item;
	int r = look_up(b, name, &item, err);

	if (r < 0)
		return r;
	if (!item.is_bucket)
		return cf_fail(err, CF_FAILED_PRECONDITION, "bolt: %s is no bucket", name);
	*ret = item.bucket;
	return 0;
}

int bolt_value(const struct bolt_bucket *b, const char *name, struct cf_view *ret,
               struct cf_err *err)
{
	struct bolt_item item;
	int r = look_up(b, name, &item, err);

	if (r < 0)
		return r;
	if (item.is_bucket)
		return cf_fail(err, CF_FAILED_PRECONDITION, "bolt: %s is a bucket", name);
	*ret = item.value;
	return 0;
}

/* ---- values ---- */

int bolt_uvarint(struct cf_view v, uint64_t *ret, struct cf_err *err)
{
	uint64_t n = 0;

	for (size_t i = 0; i < v.size && i < 10; i++) {
		uint8_t b = v.data[i];

		if (i == 9 && b > 1)
			break;
		n |= (uint64_t)(b & 0x7f) << (7 * i);
		if (b & 0x80)
			continue;
		*ret = n;
		return 0;
	}
	return cf_fail(err, CF_DATA_LOSS, "bolt: no number");
}

int bolt_varint(struct cf_view v, int64_t *ret, struct cf_err *err)
{
	uint64_t n = 0;
	int r = bolt_uvarint(v, &n, err);

	if (r < 0)
		return r;
	*ret = (int64_t)(n >> 1) ^ -(int64_t)(n & 1);
	return 0;
}

int bolt_time(struct cf_view v, int64_t *ret, struct cf_err *err)
{
	static const int64_t year_1 = 62135596800; /* seconds from there to 1970 */
	struct cf_rd rd = { .in = v };
	uint8_t version = cf_rd_u8(&rd);
	uint64_t seconds = cf_rd_u64be(&rd);
	uint32_t nanos = cf_rd_u32be(&rd);

	cf_rd_skip(&rd, 2); /* minutes off UTC, for showing alone */
	if (rd.bad || (version != 1 && version != 2) || nanos >= 1000000000)
		return cf_fail(err, CF_DATA_LOSS, "bolt: no time");
	int64_t s = seconds > INT64_MAX ? 0 : (int64_t)seconds - year_1;

	s = CF_MAX(s, 0);
	s = CF_MIN(s, INT64_MAX / 1000000000 - 1);
	*ret = s * 1000000000 + nanos;
	return 0;
}

/* ---- files ---- */

static int map(struct bolt_file *f, const char *path, struct cf_err *err)
{
	struct stat st;

	f->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (f->fd < 0)
		return cf_fail_errno(err, errno, "%s", path);
	if (flock(f->fd, LOCK_SH | LOCK_NB) < 0)
		return cf_fail(err, CF_UNAVAILABLE, "%s: another process has it open", path);
	if (fstat(f->fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size < (off_t)(HEADER + META))
		return cf_fail(err, CF_DATA_LOSS, "%s: no database", path);
	if ((uint64_t)st.st_size > BOLT_SIZE_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "%s: over %llu bytes", path,
		               (unsigned long long)BOLT_SIZE_MAX);
	f->size = (size_t)st.st_size;
	f->map = mmap(NULL, f->size, PROT_READ, MAP_PRIVATE, f->fd, 0);
	if (f->map == MAP_FAILED) {
		f->map = NULL;
		return cf_fail_errno(err, errno, "map %s", path);
	}
	return 0;
}

int bolt_file_open(const char *path, struct bolt_file *ret, struct cf_err *err)
{
	*ret = (struct bolt_file){ .fd = -1 };
	int r = map(ret, path, err);

	if (r == 0) {
		r = bolt_open(cf_view(ret->map, ret->size), &ret->db, err);
		if (r < 0)
			r = cf_wrap(err, r, "%s", path);
	}
	if (r < 0)
		bolt_file_close(ret);
	return r;
}

void bolt_file_close(struct bolt_file *f)
{
	if (f->map)
		munmap(f->map, f->size);
	cf_close(&f->fd);
	*f = (struct bolt_file){ .fd = -1 };
}
