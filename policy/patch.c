/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/patch.h"

#include "policy/number.h"

/* "~1" stands for "/", "~0" for "~". */
static const struct pv *segment(struct cf_arena *a, struct cf_view s)
{
	struct pv_sb b = pv_sb(a);

	if (cf_view_find(s, '~') < 0)
		return pv_str_static(a, s);
	for (size_t i = 0; i < s.size; i++) {
		bool is_escape = s.data[i] == '~' && i + 1 < s.size &&
		                 (s.data[i + 1] == '0' || s.data[i + 1] == '1');

		pv_sb_byte(&b, !is_escape ? (char)s.data[i] : s.data[i + 1] == '0' ? '~' : '/');
		i += is_escape;
	}
	return pv_sb_done(&b);
}

const struct pv *patch_path(struct cf_arena *a, const struct pv *path)
{
	struct pv_vec v = pv_vec(a);

	if (path->type == PV_ARR)
		return path;
	if (path->type != PV_STR)
		return NULL;
	struct cf_view s = pv_view(path);
	if (!s.size)
		return &pv_empty_arr;
	size_t from = s.data[0] == '/';
	for (;;) {
		struct cf_view rest = cf_view_sub(s, from, s.size - from);
		ssize_t n = cf_view_find(rest, '/');

		pv_vec_add(&v, segment(a, n < 0 ? rest : cf_view_sub(rest, 0, (size_t)n)));
		if (n < 0)
			return pv_vec_array(&v);
		from += (size_t)n + 1;
	}
}

/* An array index from a number or its plain text; -1: none. "-" is @end. */
static int64_t index_of(const struct pv *seg, int64_t end)
{
	int64_t i = 0;

	if (seg->type == PV_NUM)
		return number_is_int(seg) && number_to_i64(seg, &i) && i >= 0 ? i : -1;
	if (seg->type != PV_STR || !seg->len || seg->len > 9)
		return -1;
	if (pv_is_str(seg, "-"))
		return end;
	for (uint32_t k = 0; k < seg->len; k++) {
		if (seg->s[k] < '0' || seg->s[k] > '9' ||
		    (k == 0 && seg->s[0] == '0' && seg->len > 1))
			return -1;
		i = i * 10 + (seg->s[k] - '0');
	}
	return i;
}

static const struct pv *child(const struct pv *v, const struct pv *seg)
{
	if (v->type == PV_ARR) {
		int64_t i = index_of(seg, -1);

		return i >= 0 && i < v->len ? v->at[i] : NULL;
	}
	return v->type == PV_OBJ || v->type == PV_SET ? pv_get(v, seg) : NULL;
}

static const struct pv *lookup(const struct pv *v, const struct pv *path)
{
	for (uint32_t i = 0; v && i < path->len; i++)
		v = child(v, path->at[i]);
	return v;
}

enum edit { EDIT_ADD, EDIT_REMOVE, EDIT_REPLACE, EDIT_CHILD };

static const struct pv *edit_array(struct cf_arena *a, const struct pv *v, enum edit how,
                                   int64_t at, const struct pv *val)
{
	struct pv_vec out = pv_vec(a);

	for (int64_t i = 0; i <= v->len; i++) {
		if (i == at && how != EDIT_REMOVE)
			pv_vec_add(&out, val);
		if (i < v->len && (i != at || how == EDIT_ADD))
			pv_vec_add(&out, v->at[i]);
	}
	return pv_vec_array(&out);
}

static const struct pv *edit_set(struct cf_arena *a, const struct pv *v, enum edit how,
                                 const struct pv *old, const struct pv *val)
{
	struct pv_vec out = pv_vec(a);

	for (uint32_t i = 0; i < v->len; i++)
		if (how == EDIT_ADD || !pv_eq(v->at[i], old))
			pv_vec_add(&out, v->at[i]);
	if (how != EDIT_REMOVE)
		pv_vec_add(&out, val);
	return pv_vec_set(&out);
}

/* One member of @v changed; what must exist is checked here. */
static const struct pv *edit_member(struct cf_arena *a, const struct pv *v, enum edit how,
                                    const struct pv *seg, const struct pv *val)
{
	bool exists = child(v, seg) != NULL;

	if (how != EDIT_ADD && !exists)
		return NULL;
	switch ((enum pv_type)v->type) {
	case PV_ARR: {
		int64_t i = index_of(seg, v->len);

		if (i < 0 || i > v->len)
			return NULL;
		return edit_array(a, v, how, i, val);
	}
	case PV_OBJ:
		return how == EDIT_REMOVE ? pv_obj_drop(a, v, seg) : pv_obj_put(a, v, seg, val);
	case PV_SET:
		if (how == EDIT_ADD && !pv_eq(seg, val))
			return NULL;
		return edit_set(a, v, how, seg, val);
	default:
		return NULL;
	}
}

static const struct pv *edit_path(struct cf_arena *a, const struct pv *v, enum edit how,
                                  const struct pv *const *path, uint32_t n, const struct pv *val)
{
	if (!n)
		return how == EDIT_REMOVE ? &pv_null : val;
	if (n == 1)
		return edit_member(a, v, how, path[0], val);
	const struct pv *kid = child(v, path[0]);
	kid = kid ? edit_path(a, kid, how, path + 1, n - 1, val) : NULL;
	return kid ? edit_member(a, v, EDIT_CHILD, path[0], kid) : NULL;
}

struct patch_op {
	const struct pv *name, *path, *from, *value;
};

static const struct pv *move_or_copy(struct cf_arena *a, const struct pv *doc,
                                     const struct patch_op *op, bool moves)
{
	const struct pv *v = op->from ? lookup(doc, op->from) : NULL;

	if (!v)
		return NULL;
	if (moves) {
		doc = edit_path(a, doc, EDIT_REMOVE, op->from->at, op->from->len, NULL);
		if (!doc)
			return NULL;
	}
	return edit_path(a, doc, EDIT_ADD, op->path->at, op->path->len, v);
}

static const struct pv *apply_one(struct cf_arena *a, const struct pv *doc,
                                  const struct patch_op *op)
{
	bool is_add = pv_is_str(op->name, "add"), is_test = pv_is_str(op->name, "test");
	const struct pv *v;

	if (pv_is_str(op->name, "remove"))
		return edit_path(a, doc, EDIT_REMOVE, op->path->at, op->path->len, NULL);
	if (pv_is_str(op->name, "move") || pv_is_str(op->name, "copy"))
		return move_or_copy(a, doc, op, pv_is_str(op->name, "move"));
	if (!op->value)
		return NULL;
	if (is_add || pv_is_str(op->name, "replace"))
		return edit_path(a, doc, is_add ? EDIT_ADD : EDIT_REPLACE, op->path->at,
		                 op->path->len, op->value);
	v = is_test ? lookup(doc, op->path) : NULL;
	return v && pv_eq(v, op->value) ? doc : NULL;
}

const struct pv *patch_apply(struct cf_arena *a, const struct pv *doc, const struct pv *ops,
                             const char **why)
{
	for (uint32_t i = 0; i < ops->len; i++) {
		const struct pv *o = ops->at[i], *name = pv_obj_get_str(o, "op");
		const struct pv *path = pv_obj_get_str(o, "path");
		const struct pv *from = pv_obj_get_str(o, "from");
		struct patch_op op = { .path = path ? patch_path(a, path) : NULL,
			               .from = from ? patch_path(a, from) : NULL,
			               .value = pv_obj_get_str(o, "value") };

		if (!name || name->type != PV_STR || !op.path) {
			*why = "operation without \"op\" or \"path\"";
			return NULL;
		}
		op.name = name;
		doc = apply_one(a, doc, &op);
		if (!doc) {
			*why = "an operation does not apply";
			return NULL;
		}
	}
	return doc;
}
