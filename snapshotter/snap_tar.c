/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshotter/snap_tar.h"

#include "base/str.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>

/* Where ustar keeps what. Source: POSIX.1-2017 pax, "ustar Interchange Format". */
#define AT_NAME  0u
#define AT_MODE  100u
#define AT_UID   108u
#define AT_GID   116u
#define AT_SIZE  124u
#define AT_MTIME 136u
#define AT_SUM   148u
#define AT_TYPE  156u
#define AT_LINK  157u
#define AT_MAGIC 257u
#define AT_MAJOR 329u
#define AT_MINOR 337u

#define NAME_BYTES  100u
#define SMALL_BYTES 8u
#define BIG_BYTES   12u
#define SMALL_MAX   07777777u
#define BIG_MAX     077777777777ull

/* ---- extended headers ---- */

/* "LENGTH KEY=VALUE\n", where LENGTH counts itself. */
static void add_record(struct cf_buf *to, const char *key, struct cf_view value)
{
	size_t body = strlen(key) + value.size + 3, size = body + 1;
	char digits[24];

	while (size != body + (size_t)snprintf(digits, sizeof(digits), "%zu", size))
		size = body + strlen(digits);
	cf_buf_printf(to, "%zu %s=", size, key);
	cf_buf_add_view(to, value);
	cf_buf_add_byte(to, '\n');
}

static void add_number(struct cf_buf *to, const char *key, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, value);
	add_record(to, key, cf_view_str(text));
}

/* A time before 1970 counts backwards from it: second -2 and 0.75 into it is -1.25. */
static void add_mtime(struct cf_buf *to, int64_t seconds, uint32_t nsec)
{
	bool is_negative = seconds < 0;
	char text[40];

	if (is_negative && nsec) {
		seconds++;
		nsec = 1000000000u - nsec;
	}
	snprintf(text, sizeof(text), "%s%" PRIu64 ".%09u", is_negative ? "-" : "",
	         is_negative ? 0 - (uint64_t)seconds : (uint64_t)seconds, nsec);
	add_record(to, "mtime", cf_view_str(text));
}

static bool is_plain_keyword(struct cf_view name)
{
	for (size_t i = 0; i < name.size; i++)
		if (!isalnum(name.data[i]) && !strchr("._-", name.data[i]))
			return false;
	return true;
}

/* Names that no keyword can hold go percent-encoded, as libarchive has it. */
static void add_encoded(struct cf_buf *to, const struct snap_tar_xattr *x)
{
	cf_cleanup(cf_buf_fini) struct cf_buf key = { 0 };
	cf_cleanup(cf_buf_fini) struct cf_buf value = { 0 };

	cf_buf_add_str(&key, "LIBARCHIVE.xattr.");
	for (size_t i = 0; i < x->name.size; i++)
		cf_buf_printf(&key, "%%%02X", x->name.data[i]);
	cf_b64_encode(CF_B64_STD, x->value, &value);
	add_record(to, (const char *)key.data, cf_buf_view(&value));
}

static void add_xattr(struct cf_buf *to, const struct snap_tar_xattr *x)
{
	cf_cleanup(cf_buf_fini) struct cf_buf key = { 0 };

	if (!is_plain_keyword(x->name)) {
		add_encoded(to, x);
		return;
	}
	cf_buf_add_str(&key, "SCHILY.xattr.");
	cf_buf_add_view(&key, x->name);
	add_record(to, (const char *)key.data, x->value);
}

static void add_records(const struct snap_tar_member *m, uint64_t stored, struct cf_buf *to)
{
	if (m->is_sparse) {
		add_record(to, "GNU.sparse.major", (struct cf_view)CF_VIEW_LIT("1"));
		add_record(to, "GNU.sparse.minor", (struct cf_view)CF_VIEW_LIT("0"));
		add_record(to, "GNU.sparse.name", cf_view_str(m->path));
		add_number(to, "GNU.sparse.realsize", m->size);
	}
	if (strlen(m->path) > NAME_BYTES)
		add_record(to, "path", cf_view_str(m->path));
	if (m->link && strlen(m->link) > NAME_BYTES)
		add_record(to, "linkpath", cf_view_str(m->link));
	if (m->uid > SMALL_MAX)
		add_number(to, "uid", m->uid);
	if (m->gid > SMALL_MAX)
		add_number(to, "gid", m->gid);
	if (stored > BIG_MAX)
		add_number(to, "size", stored);
	if (m->mtime_nsec || m->mtime < 0 || (uint64_t)m->mtime > BIG_MAX)
		add_mtime(to, m->mtime, m->mtime_nsec);
	if (m->is_socket)
		add_record(to, "SCHILY.filetype", (struct cf_view)CF_VIEW_LIT("socket"));
	for (size_t i = 0; i < m->xattr_count; i++)
		add_xattr(to, &m->xattrs[i]);
}

/* ---- blocks ---- */

static void octal(uint8_t *at, size_t bytes, uint64_t value)
{
	for (size_t i = bytes - 1; i > 0; i--, value >>= 3)
		at[i - 1] = (uint8_t)('0' + (value & 7));
}

static void text(uint8_t *at, const char *from)
{
	if (from)
		memcpy(at, from, CF_MIN(strlen(from), (size_t)NAME_BYTES));
}

static void add_block(struct cf_buf *out, const struct snap_tar_member *m, uint64_t stored)
{
	uint8_t h[SNAP_TAR_BLOCK] = { 0 };
	unsigned sum = 0;

	text(h + AT_NAME, m->path);
	text(h + AT_LINK, m->link);
	octal(h + AT_MODE, SMALL_BYTES, m->mode & 07777);
	octal(h + AT_UID, SMALL_BYTES, m->uid > SMALL_MAX ? 0 : m->uid);
	octal(h + AT_GID, SMALL_BYTES, m->gid > SMALL_MAX ? 0 : m->gid);
	octal(h + AT_SIZE, BIG_BYTES, stored > BIG_MAX ? 0 : stored);
	octal(h + AT_MTIME, BIG_BYTES,
	      m->mtime < 0 || (uint64_t)m->mtime > BIG_MAX ? 0 : (uint64_t)m->mtime);
	octal(h + AT_MAJOR, SMALL_BYTES, m->dev_major);
	octal(h + AT_MINOR, SMALL_BYTES, m->dev_minor);
	h[AT_TYPE] = (uint8_t)m->type;
	memcpy(h + AT_MAGIC, "ustar\00000", 8);
	memset(h + AT_SUM, ' ', SMALL_BYTES);
	for (size_t i = 0; i < sizeof(h); i++)
		sum += h[i];
	octal(h + AT_SUM, SMALL_BYTES - 1, sum);
	cf_buf_add(out, h, sizeof(h));
}

static void add_sparse_map(const struct snap_tar_member *m, struct cf_buf *map)
{
	cf_buf_printf(map, "%zu\n", m->extent_count);
	for (size_t i = 0; i < m->extent_count; i++)
		cf_buf_printf(map, "%" PRIu64 "\n%" PRIu64 "\n", m->extents[i].offset,
		              m->extents[i].size);
	cf_buf_add_zero(map, snap_tar_padding(map->size));
}

int snap_tar_header(const struct snap_tar_member *m, struct cf_buf *out, uint64_t *ret_stored,
                    struct cf_err *err)
{
	cf_cleanup(cf_buf_fini) struct cf_buf map = { 0 };
	cf_cleanup(cf_buf_fini) struct cf_buf pax = { .max = SNAP_TAR_PAX_MAX };
	uint64_t stored = m->type == '0' ? m->size : 0;

	if (m->is_sparse) {
		add_sparse_map(m, &map);
		stored = map.size;
		for (size_t i = 0; i < m->extent_count; i++)
			stored += m->extents[i].size;
	}
	add_records(m, stored, &pax);
	int r = cf_buf_check(&pax, "attributes", err);

	if (r < 0)
		return cf_wrap(err, r, "%s", m->path);
	if (pax.size) {
		const struct snap_tar_member x = { .type = 'x', .path = "pax", .mode = 0644 };

		add_block(out, &x, pax.size);
		cf_buf_add_view(out, cf_buf_view(&pax));
		cf_buf_add_zero(out, snap_tar_padding(pax.size));
	}
	add_block(out, m, stored);
	cf_buf_add_view(out, cf_buf_view(&map));
	*ret_stored = stored;
	return cf_buf_check(out, "tar", err);
}

void snap_tar_end(struct cf_buf *out)
{
	cf_buf_add_zero(out, (size_t)2 * SNAP_TAR_BLOCK);
}
