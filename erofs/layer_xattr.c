/* SPDX-License-Identifier: Apache-2.0 */
#include "erofs/layer_xattr.h"

static const struct {
	const char *prefix;
	uint8_t index;
	bool is_whole; /* the prefix is the whole name */
} namespaces[] = {
	{ "user.", XATTR_USER, false },
	{ "trusted.", XATTR_TRUSTED, false },
	{ "security.", XATTR_SECURITY, false },
	{ "system.posix_acl_access", XATTR_ACL_ACCESS, true },
	{ "system.posix_acl_default", XATTR_ACL_DEFAULT, true },
};

static bool is_control(const struct layer_xattr *x)
{
	bool speaks_overlay = x->index == XATTR_TRUSTED || x->index == XATTR_USER;

	return (speaks_overlay && cf_view_starts_with(x->name, "overlay.")) ||
	       (x->index == XATTR_TRUSTED && cf_view_starts_with(x->name, "coffer."));
}

bool layer_xattr_from_tar(const struct tar_xattr *from, struct layer_xattr *ret)
{
	for (size_t i = 0; i < CF_ARRAY_LEN(namespaces); i++) {
		struct layer_xattr x = { .index = namespaces[i].index, .value = from->value };

		if (!cf_view_starts_with(from->name, namespaces[i].prefix))
			continue;
		x.name = cf_view_sub(from->name, strlen(namespaces[i].prefix), from->name.size);
		if ((x.name.size == 0) != namespaces[i].is_whole ||
		    x.name.size > LAYER_XATTR_NAME_MAX || x.value.size > LAYER_XATTR_VALUE_MAX ||
		    is_control(&x))
			return false;
		*ret = x;
		return true;
	}
	return false;
}

static int compare_names(const struct layer_xattr *a, const struct layer_xattr *b)
{
	size_t n = CF_MIN(a->name.size, b->name.size);
	int r = (int)a->index - (int)b->index;

	if (r == 0 && n)
		r = memcmp(a->name.data, b->name.data, n);
	return r ? r : (int)a->name.size - (int)b->name.size;
}

/* qsort is not stable by itself. */
static int compare(const void *pa, const void *pb)
{
	const struct layer_xattr *a = pa, *b = pb;
	int r = compare_names(a, b);

	if (r)
		return r;
	return a->order < b->order ? -1 : a->order > b->order;
}

static size_t entry_size(const struct layer_xattr *x)
{
	return (XATTR_ENTRY_BYTES + x->name.size + x->value.size + 3) & ~(size_t)3;
}

static void add_entry(struct cf_buf *area, const struct layer_xattr *x)
{
	size_t end = area->size + entry_size(x);

	cf_buf_add_byte(area, (uint8_t)x->name.size);
	cf_buf_add_byte(area, x->index);
	cf_buf_add_u16le(area, (uint16_t)x->value.size);
	cf_buf_add_view(area, x->name);
	cf_buf_add_view(area, x->value);
	cf_buf_add_zero(area, end - area->size);
}

void layer_xattr_encode(struct layer_xattr *items, size_t count, struct cf_buf *area,
                        uint64_t *dropped)
{
	cf_buf_reset(area);
	for (size_t i = 0; i < count; i++)
		items[i].order = i;
	if (count)
		qsort(items, count, sizeof(*items), compare);
	for (size_t i = 0; i < count; i++) {
		if (i + 1 < count && compare_names(&items[i], &items[i + 1]) == 0)
			continue;
		if (!area->size)
			cf_buf_add_zero(area, XATTR_HEADER_BYTES);
		if (entry_size(&items[i]) > LAYER_XATTR_AREA_MAX - area->size) {
			if (dropped)
				++*dropped;
			continue;
		}
		add_entry(area, &items[i]);
	}
	if (area->size == XATTR_HEADER_BYTES)
		cf_buf_reset(area);
}

bool layer_xattr_next(struct cf_view area, size_t *at, struct layer_xattr *ret, bool *bad)
{
	struct cf_rd rd = { .in = cf_view_sub(area, *at, area.size) };
	uint8_t name_size;
	uint16_t value_size;

	if (*at >= area.size)
		return false;
	name_size = cf_rd_u8(&rd);
	ret->index = cf_rd_u8(&rd);
	value_size = cf_rd_u16le(&rd);
	ret->name = cf_rd_bytes(&rd, name_size);
	ret->value = cf_rd_bytes(&rd, value_size);
	*bad = rd.bad;
	*at += (rd.pos + 3) & ~(size_t)3;
	return !rd.bad;
}
