/* SPDX-License-Identifier: Apache-2.0 */
/* Documents: values with memory of their own, such as a guest's state between two requests. */
#include "policy/patch.h"
#include "policy/policy.h"

struct policy_document {
	struct cf_arena arena;
	const struct pv *value;
};

#define DOCUMENT_MEMORY_MAX (128u << 20)

int policy_document_read(struct cf_view json, struct policy_document **ret, struct cf_err *err)
{
	struct policy_document *d = cf_zalloc(sizeof(*d));

	d->arena.max = DOCUMENT_MEMORY_MAX;
	int r = pv_json_read(&d->arena, json, NULL, &d->value, err);
	if (r < 0) {
		policy_document_free(d);
		return r;
	}
	*ret = d;
	return 0;
}

struct policy_document *policy_document_free(struct policy_document *d)
{
	if (d) {
		cf_arena_fini(&d->arena);
		free(d);
	}
	return NULL;
}

const struct pv *policy_document_value(const struct policy_document *d)
{
	return d->value;
}

int policy_document_lookup(void *user, struct policy_eval *ev, const struct pv *const *args,
                           const struct pv **ret, struct cf_err *err)
{
	const struct policy_document *d = user;
	const struct pv *v = NULL;
	struct cf_view key;

	if (!policy_value_string(args[0], &key))
		return cf_fail(err, CF_INVALID_ARGUMENT, "the identifier has to be a string");
	if (d && !cf_view_has_nul(key)) {
		cf_cleanup(cf_freep) char *name = cf_view_dup(key);

		v = policy_value_get(d->value, name);
	}
	if (!v)
		return policy_value_read(ev, cf_view_str("null"), ret, err);
	*ret = v;
	return 0;
}

static int check_path(const struct pv *op, const char *key, const char *prefix, struct cf_err *err)
{
	const struct pv *path = pv_obj_get_str(op, key);

	if (!path)
		return 0;
	if (path->type != PV_STR || !cf_view_starts_with(pv_view(path), prefix))
		return cf_fail(err, CF_PERMISSION_DENIED, "patch reaches outside %s", prefix);
	return 0;
}

static int check_paths(const struct pv *ops, const char *prefix, struct cf_err *err)
{
	for (uint32_t i = 0; i < ops->len; i++) {
		int r = check_path(ops->at[i], "path", prefix, err);

		if (r >= 0)
			r = check_path(ops->at[i], "from", prefix, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Operations of null stand for nothing to do: generated policies give them. */
static const struct pv *without_nulls(struct cf_arena *a, const struct pv *ops)
{
	struct pv_vec v = pv_vec(a);

	for (uint32_t i = 0; i < ops->len; i++)
		if (ops->at[i]->type != PV_NULL)
			pv_vec_add(&v, ops->at[i]);
	return pv_vec_array(&v);
}

int policy_document_patch(struct policy_document *d, const struct pv *ops, const char *prefix,
                          struct cf_err *err)
{
	struct cf_arena next = { .max = DOCUMENT_MEMORY_MAX };
	const char *why = "it needs too much memory";
	const struct pv *v;

	if (!ops)
		return 0;
	ops = without_nulls(&next, ops);
	int r = ops && prefix ? check_paths(ops, prefix, err) : 0;
	if (r < 0) {
		cf_arena_fini(&next);
		return r;
	}
	/* The new value is copied whole, so that the old memory can go. */
	v = ops ? patch_apply(&next, d->value, ops, &why) : NULL;
	struct cf_arena kept = { .max = DOCUMENT_MEMORY_MAX };
	v = v ? pv_copy(&kept, v) : NULL;
	bool is_over = next.is_over || kept.is_over;
	cf_arena_fini(&next);
	if (!v || is_over) {
		cf_arena_fini(&kept);
		return cf_fail(err, is_over ? CF_RESOURCE_EXHAUSTED : CF_INVALID_ARGUMENT,
		               "patch refused: %s", why);
	}
	cf_arena_fini(&d->arena);
	d->arena = kept;
	d->value = v;
	return 0;
}
