/* SPDX-License-Identifier: Apache-2.0 */
#include "erofs/tar_pax.h"

#include "base/str.h"

void tar_pax_fini(struct tar_pax *p)
{
	cf_buf_fini(&p->path);
	cf_buf_fini(&p->link);
	cf_buf_fini(&p->arena);
	cf_buf_fini(&p->sparse_name);
	tar_sparse_fini(&p->sparse);
	free(p->xattrs);
	*p = (struct tar_pax){ 0 };
}

void tar_pax_reset(struct tar_pax *p)
{
	tar_pax_fini(p);
}

static int bad(struct cf_view key, const char *why, struct cf_err *err)
{
	return cf_fail(err, CF_INVALID_ARGUMENT, "tar: extended header: %.*s: %s",
	               (int)CF_MIN(key.size, (size_t)80), (const char *)key.data, why);
}

static int number(struct cf_view key, struct cf_view value, uint64_t max, uint64_t *ret,
                  struct cf_err *err)
{
	if (cf_parse_u64(value, max, ret, NULL) < 0)
		return bad(key, "not a number we can use", err);
	return 0;
}

static int take_id(struct cf_view key, struct cf_view value, bool *has, uint32_t *ret,
                   struct cf_err *err)
{
	uint64_t n = 0;
	int r = value.size ? number(key, value, UINT32_MAX - 1, &n, err) : 0;

	if (r < 0)
		return r;
	*has = value.size > 0;
	*ret = (uint32_t)n;
	return 0;
}

static int take_name(struct cf_view key, struct cf_view value, struct cf_buf *to,
                     struct cf_err *err)
{
	if (cf_view_has_nul(value))
		return bad(key, "holds a NUL", err);
	cf_buf_reset(to);
	cf_buf_add_view(to, value);
	return cf_buf_check(to, "tar: extended header", err);
}

/* [-]seconds[.fraction]; digits beyond nanoseconds are cut, as pax readers do. */
static int take_mtime(struct tar_pax *p, struct cf_view key, struct cf_view value,
                      struct cf_err *err)
{
	bool negative = cf_view_starts_with(value, "-");
	struct cf_view rest = cf_view_sub(value, negative ? 1 : 0, value.size);
	ssize_t dot = cf_view_find(rest, '.');
	struct cf_view whole = dot < 0 ? rest : cf_view_sub(rest, 0, (size_t)dot);
	struct cf_view part =
		dot < 0 ? cf_view(NULL, 0) : cf_view_sub(rest, (size_t)dot + 1, rest.size);
	uint64_t seconds = 0;
	uint32_t nsec = 0;

	p->has_mtime = value.size > 0;
	if (!p->has_mtime)
		return 0;
	int r = number(key, whole, TAR_MTIME_LIMIT, &seconds, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < part.size; i++)
		if (part.data[i] < '0' || part.data[i] > '9')
			return bad(key, "malformed fraction", err);
	for (size_t i = 0; i < 9; i++)
		nsec = nsec * 10 + (i < part.size ? (uint32_t)(part.data[i] - '0') : 0);
	p->mtime = negative ? -(int64_t)seconds : (int64_t)seconds;
	p->mtime_nsec = nsec;
	if (negative && nsec) {
		/* -1.25 is one and a quarter before the epoch: second -2, 0.75 into it. */
		p->mtime -= 1;
		p->mtime_nsec = 1000000000u - nsec;
	}
	return 0;
}

static int hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* libarchive writes %XX for bytes that are no plain text; anything else stands for itself. */
static void add_percent_decoded(struct cf_buf *to, struct cf_view v)
{
	for (size_t i = 0; i < v.size; i++) {
		bool room = v.size - i > 2;
		int high = room ? hex_digit(v.data[i + 1]) : -1;
		int low = room ? hex_digit(v.data[i + 2]) : -1;

		if (v.data[i] == '%' && high >= 0 && low >= 0) {
			cf_buf_add_byte(to, (uint8_t)(high << 4 | low));
			i += 2;
		} else {
			cf_buf_add_byte(to, v.data[i]);
		}
	}
}

static int take_xattr(struct tar_pax *p, struct cf_view key, struct cf_view name,
                      struct cf_view value, bool is_libarchive, struct cf_err *err)
{
	struct pax_xattr x = { .name_at = p->arena.size };
	int r = 0;

	if (is_libarchive)
		add_percent_decoded(&p->arena, name);
	else
		cf_buf_add_view(&p->arena, name);
	x.name_size = p->arena.size - x.name_at;
	if (cf_view_has_nul(cf_view_sub(cf_buf_view(&p->arena), x.name_at, x.name_size)))
		return bad(key, "the attribute's name holds a NUL", err);
	x.value_at = p->arena.size;
	if (is_libarchive)
		r = cf_b64_decode(CF_B64_STD, value, &p->arena, err);
	else
		cf_buf_add_view(&p->arena, value);
	if (r < 0)
		return bad(key, "not base64", err);
	x.value_size = p->arena.size - x.value_at;
	cf_grow(&p->xattrs, &p->xattr_cap, p->xattr_count + 1);
	p->xattrs[p->xattr_count++] = x;
	return cf_buf_check(&p->arena, "tar: extended attributes", err);
}

/* GNU.sparse.map=offset,size,offset,size,… */
static int take_sparse_map(struct tar_pax *p, struct cf_view key, struct cf_view value,
                           struct cf_err *err)
{
	p->has_sparse_map = true;
	p->sparse.count = 0;
	while (value.size) {
		uint64_t pair[2];

		for (size_t i = 0; i < 2; i++) {
			ssize_t comma = cf_view_find(value, ',');
			size_t n = comma < 0 ? value.size : (size_t)comma;
			int r = number(key, cf_view_sub(value, 0, n), INT64_MAX, &pair[i], err);

			if (r < 0)
				return r;
			value = cf_view_sub(value, n + 1, value.size);
		}
		int r = tar_sparse_add(&p->sparse, pair[0], pair[1], err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int take_sparse(struct tar_pax *p, struct cf_view key, struct cf_view name,
                       struct cf_view value, struct cf_err *err)
{
	uint64_t n;
	int r;

	if (cf_view_eq_str(name, "name"))
		return take_name(key, value, &p->sparse_name, err);
	if (cf_view_eq_str(name, "map"))
		return take_sparse_map(p, key, value, err);
	r = number(key, value, INT64_MAX, &n, err);
	if (r < 0)
		return r;
	if (cf_view_eq_str(name, "major")) {
		p->has_sparse_major = true;
		p->sparse_major = n;
	} else if (cf_view_eq_str(name, "minor")) {
		p->sparse_minor = n;
	} else if (cf_view_eq_str(name, "size") || cf_view_eq_str(name, "realsize")) {
		p->has_sparse_size = true;
		p->sparse_size = n;
	} else if (cf_view_eq_str(name, "numblocks")) {
		p->has_sparse_map = true;
	} else if (cf_view_eq_str(name, "offset")) {
		if (p->sparse_wants_bytes)
			return bad(key, "two offsets in a row", err);
		p->sparse_wants_bytes = true;
		p->sparse_offset = n;
	} else if (cf_view_eq_str(name, "numbytes")) {
		if (!p->sparse_wants_bytes)
			return bad(key, "no offset before it", err);
		p->has_sparse_map = true;
		p->sparse_wants_bytes = false;
		return tar_sparse_add(&p->sparse, p->sparse_offset, n, err);
	}
	return 0;
}

/* What says which bytes belong to which file is never taken from a global header. */
static bool refused_in_global(struct cf_view key)
{
	return cf_view_eq_str(key, "path") || cf_view_eq_str(key, "linkpath") ||
	       cf_view_eq_str(key, "size") || cf_view_starts_with(key, "GNU.sparse.");
}

static int take_record(struct tar_pax *p, struct cf_view key, struct cf_view value, bool is_global,
                       struct cf_err *err)
{
	static const char *const prefixes[] = { "SCHILY.xattr.", "LIBARCHIVE.xattr.",
		                                "GNU.sparse." };
	struct cf_view tail[CF_ARRAY_LEN(prefixes)];

	if (is_global && refused_in_global(key))
		return bad(key, "not allowed in a global header", err);
	for (size_t i = 0; i < CF_ARRAY_LEN(prefixes); i++)
		tail[i] = cf_view_sub(key, strlen(prefixes[i]), key.size);
	if (cf_view_starts_with(key, prefixes[0]))
		return take_xattr(p, key, tail[0], value, false, err);
	if (cf_view_starts_with(key, prefixes[1]))
		return take_xattr(p, key, tail[1], value, true, err);
	if (cf_view_starts_with(key, prefixes[2]))
		return take_sparse(p, key, tail[2], value, err);
	if (cf_view_eq_str(key, "path"))
		return take_name(key, value, &p->path, err);
	if (cf_view_eq_str(key, "linkpath"))
		return take_name(key, value, &p->link, err);
	if (cf_view_eq_str(key, "uid"))
		return take_id(key, value, &p->has_uid, &p->uid, err);
	if (cf_view_eq_str(key, "gid"))
		return take_id(key, value, &p->has_gid, &p->gid, err);
	if (cf_view_eq_str(key, "mtime"))
		return take_mtime(p, key, value, err);
	/* A type that tar itself does not have. Source: star(5), "SCHILY.filetype". */
	if (cf_view_eq_str(key, "SCHILY.filetype") && !is_global)
		p->is_socket = cf_view_eq_str(value, "socket");
	if (!cf_view_eq_str(key, "size"))
		return 0; /* comment, atime, uname, … */
	p->has_size = value.size > 0;
	return p->has_size ? number(key, value, INT64_MAX, &p->size, err) : 0;
}

/* "LENGTH KEYWORD=VALUE\n"; LENGTH counts the whole record. */
static int next_record(struct cf_view *in, struct cf_view *key, struct cf_view *value,
                       struct cf_err *err)
{
	ssize_t blank = cf_view_find(cf_view_sub(*in, 0, 20), ' ');
	uint64_t size;

	if (blank < 1 ||
	    cf_parse_u64(cf_view_sub(*in, 0, (size_t)blank), in->size, &size, NULL) < 0 ||
	    size < (uint64_t)blank + 3 || in->data[size - 1] != '\n')
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "tar: extended header: a record's length is wrong");
	struct cf_view body = cf_view_sub(*in, (size_t)blank + 1, (size_t)size - (size_t)blank - 2);
	ssize_t equals = cf_view_find(body, '=');
	if (equals < 1)
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "tar: extended header: a record has no keyword");
	*key = cf_view_sub(body, 0, (size_t)equals);
	*value = cf_view_sub(body, (size_t)equals + 1, body.size);
	if (cf_view_has_nul(*key))
		return cf_fail(err, CF_INVALID_ARGUMENT, "tar: extended header: NUL in a keyword");
	*in = cf_view_sub(*in, (size_t)size, in->size);
	return 0;
}

int tar_pax_parse(struct tar_pax *p, struct cf_view records, bool is_global, struct cf_err *err)
{
	tar_pax_reset(p);
	while (records.size) {
		struct cf_view key, value;
		int r = next_record(&records, &key, &value, err);

		if (r == 0)
			r = take_record(p, key, value, is_global, err);
		if (r < 0)
			return r;
	}
	if (p->sparse_wants_bytes)
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "tar: sparse map: an offset without a size");
	return 0;
}
