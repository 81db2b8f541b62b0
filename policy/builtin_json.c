/* SPDX-License-Identifier: Apache-2.0 */
/* JSON text, and changes to values by paths. */
#include "policy/builtin.h"
#include "policy/patch.h"

#include <stdio.h>

static const struct pv_json_style marshal_style = { .is_html_safe = true };

static const struct pv *bi_marshal(struct bcall *c, const struct pv *const *a)
{
	struct pv_sb b = pv_sb(c->arena);

	pv_json_write(&b, a[0], &marshal_style);
	builtin_charge(c, b.size);
	return pv_sb_done(&b);
}

static const struct pv *option_error(struct bcall *c, const char *what, const struct pv *key)
{
	c->fault = BUILTIN_TYPE;
	int n = snprintf(c->msg, sizeof(c->msg), "%s: operand 2 ", c->name);

	if (n > 0)
		snprintf(c->msg + n, sizeof(c->msg) - (size_t)n, "%s \"%.*s\"", what,
		         key->type == PV_STR ? (int)key->len : 0,
		         key->type == PV_STR ? key->s : "");
	return NULL;
}

static const struct pv *bi_marshal_options(struct bcall *c, const struct pv *const *a)
{
	struct pv_json_style style = { .is_html_safe = true, .indent = CF_VIEW_LIT("\t") };
	struct pv_sb b = pv_sb(c->arena);
	bool is_set = false;

	if (!builtin_is(c, a, 2, PV_OBJ))
		return NULL;
	for (uint32_t i = 0; i < a[1]->len; i++) {
		const struct pv *key = pv_obj_key(a[1], i), *val = pv_obj_val(a[1], i);
		bool is_pretty = pv_is_str(key, "pretty"), is_indent = pv_is_str(key, "indent");

		if (!is_pretty && !is_indent && !pv_is_str(key, "prefix"))
			return option_error(c, "object contained unknown key", key);
		if (val->type != (is_pretty ? PV_BOOL : PV_STR))
			return option_error(c, "has a wrong type under", key);
		if (is_pretty)
			style.is_pretty = val->b;
		else if (is_indent)
			style.indent = pv_view(val);
		else
			style.prefix = pv_view(val);
		is_set |= is_pretty;
		style.is_pretty |= !is_set && !is_pretty;
	}
	const struct pv *pretty = pv_obj_get_str(a[1], "pretty");
	if (pretty)
		style.is_pretty = pretty->b;
	pv_json_write(&b, a[0], &style);
	builtin_charge(c, b.size);
	return pv_sb_done(&b);
}

static const struct pv *bi_unmarshal(struct bcall *c, const struct pv *const *a)
{
	const struct pv *v = NULL;
	struct cf_err err;
	struct cf_view s;

	if (!builtin_is_string(c, a, 1, &s))
		return NULL;
	if (pv_json_read(c->arena, s, NULL, &v, &err) < 0)
		return builtin_bad(c, "%s", err.msg);
	return v;
}

static const struct pv *bi_is_valid(struct bcall *c, const struct pv *const *a)
{
	const struct pv *v = NULL;

	if (a[0]->type != PV_STR)
		return &pv_false;
	builtin_charge(c, a[0]->len);
	return pv_bool(pv_json_read(c->arena, pv_view(a[0]), NULL, &v, NULL) == 0);
}

/* ---- filter and remove ---- */

/* The paths as one tree of objects; a leaf is null and stands for all below it. */
static const struct pv *path_tree(struct bcall *c, const struct pv *tree,
                                  const struct pv *const *path, uint32_t n)
{
	const struct pv *o = tree && tree->type == PV_OBJ ? tree : &pv_empty_obj;

	if (!n || (tree && tree->type == PV_NULL))
		return &pv_null;
	const struct pv *kid = path_tree(c, pv_obj_get(o, path[0]), path + 1, n - 1);
	return kid ? pv_obj_put(c->arena, o, path[0], kid) : NULL;
}

static const struct pv *all_paths(struct bcall *c, const struct pv *const *a)
{
	const struct pv *tree = &pv_empty_obj;

	if (a[1]->type != PV_ARR && a[1]->type != PV_SET)
		return builtin_bad_type(c, 2, "one of {set, array}", a[1]);
	for (uint32_t i = 0; tree && i < a[1]->len; i++) {
		const struct pv *path = patch_path(c->arena, a[1]->at[i]);

		if (!path) {
			c->fault = BUILTIN_TYPE;
			snprintf(c->msg, sizeof(c->msg),
			         "%s: operand 2 must be one of {set, array} containing string "
			         "paths or array of path segments but got %s",
			         c->name, pv_type_name(a[1]->at[i]));
			return NULL;
		}
		builtin_charge(c, 64 * (size_t)path->len + 16 * (size_t)tree->weight);
		if (path->len)
			tree = path_tree(c, tree, path->at, path->len);
	}
	return tree;
}

/* Array members are addressed by the text of their index. */
static const struct pv *branch(struct bcall *c, const struct pv *tree, const struct pv *v,
                               uint32_t i)
{
	const struct pv *key = v->type == PV_OBJ ? pv_obj_key(v, i) : NULL;

	if (v->type == PV_SET)
		key = v->at[i];
	if (key)
		return pv_obj_get(tree, key);
	const struct pv index = { .type = PV_NUM, .weight = 1, .i = i };
	struct pv_sb text = pv_sb(c->arena);
	number_write(&text, &index);
	const struct pv *name = pv_sb_done(&text);
	const struct pv *hit = name ? pv_obj_get(tree, name) : NULL;
	return hit ? hit : pv_obj_get(tree, &index);
}

static const struct pv *pruned(struct bcall *c, const struct pv *v, const struct pv *tree,
                               bool keeps)
{
	struct pv_vec out = pv_vec(c->arena);

	builtin_charge(c, 64);
	if (!pv_is_composite(v) || tree->type != PV_OBJ)
		return v;
	for (uint32_t i = 0; i < v->len; i++) {
		const struct pv *sub = branch(c, tree, v, i);
		const struct pv *x = v->type == PV_OBJ ? pv_obj_val(v, i) : v->at[i];

		if (sub ? sub->type == PV_NULL && !keeps : keeps)
			continue;
		if (sub && sub->type == PV_OBJ)
			x = pruned(c, x, sub, keeps);
		if (v->type == PV_OBJ)
			pv_vec_add_pair(&out, pv_obj_key(v, i), x);
		else
			pv_vec_add(&out, x);
	}
	return v->type == PV_OBJ   ? pv_vec_object(&out)
	       : v->type == PV_ARR ? pv_vec_array(&out)
	                           : pv_vec_set(&out);
}

static const struct pv *bi_filter(struct bcall *c, const struct pv *const *a)
{
	const struct pv *tree = builtin_is(c, a, 1, PV_OBJ) ? all_paths(c, a) : NULL;

	return tree ? pruned(c, a[0], tree, true) : NULL;
}

static const struct pv *bi_remove(struct bcall *c, const struct pv *const *a)
{
	const struct pv *tree = builtin_is(c, a, 1, PV_OBJ) ? all_paths(c, a) : NULL;

	return tree ? pruned(c, a[0], tree, false) : NULL;
}

static const struct pv *bi_patch(struct bcall *c, const struct pv *const *a)
{
	const char *why = NULL;

	if (!builtin_is(c, a, 2, PV_ARR))
		return NULL;
	builtin_charge(c, 64 * (size_t)a[1]->len * (1 + (size_t)a[0]->weight / 64));
	return patch_apply(c->arena, a[0], a[1], &why); /* a patch that fails is undefined */
}

const struct builtin builtins_json[] = {
	{ "json.marshal", 1, 0, bi_marshal, NULL },
	{ "json.marshal_with_options", 2, 0, bi_marshal_options, "*o" },
	{ "json.unmarshal", 1, 0, bi_unmarshal, "s" },
	{ "json.is_valid", 1, 0, bi_is_valid, NULL },
	{ "json.filter", 2, 0, bi_filter, "ol" },
	{ "json.remove", 2, 0, bi_remove, "ol" },
	{ "json.patch", 2, 0, bi_patch, "*a" },
	{ .name = NULL },
};
