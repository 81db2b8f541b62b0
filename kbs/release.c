/* SPDX-License-Identifier: Apache-2.0 */
#include "kbs/release.h"

#include "kbs/store.h"

static struct cf_view text_of(const struct cf_json *submod, const char *key)
{
	return cf_json_str(cf_json_get(cf_json_get(submod, "coffer"), key));
}

static int deny_status(const char *name, const struct cf_json *submod, struct cf_view status,
                       struct cf_err *err)
{
	struct cf_view check = text_of(submod, "check"), covers = text_of(submod, "covers");
	struct cf_view ref = text_of(submod, "ref");

	return cf_fail(err, CF_PERMISSION_DENIED, "%s is %.*s, not affirming%s%.*s%s%.*s%s%s%.*s",
	               name, (int)status.size, (const char *)status.data,
	               check.size ? ": check " : "", (int)check.size, (const char *)check.data,
	               covers.size ? " (" : "", (int)covers.size, (const char *)covers.data,
	               covers.size ? ")" : "", ref.size ? " failed, ref " : "", (int)ref.size,
	               (const char *)ref.data);
}

static int all_affirming(const struct cf_json *submods, struct cf_err *err)
{
	const struct cf_json *submod;
	const char *name;
	void *it = NULL;

	if (cf_json_len(submods) == 0)
		return cf_fail(err, CF_PERMISSION_DENIED, "the token speaks of no submodule");
	while (cf_json_next(submods, &it, &name, &submod)) {
		struct cf_view status = cf_json_str(cf_json_get(submod, "ear.status"));

		if (!cf_view_eq_str(status, "affirming"))
			return deny_status(name, submod, status, err);
	}
	return 0;
}

/* The guest learns which policy, not what it says; the record under @ref is for the owner. */
static int by_policy(const struct release_input *in, struct cf_err *err)
{
	const char *ref = in->ref ? in->ref : "none";

	if (in->answer->kind == POLICY_ALLOWED)
		return 0;
	if (in->answer->kind == POLICY_FAILED)
		return cf_fail(
			err, CF_PERMISSION_DENIED,
			"kbs:///%s: the policy \"%s\" gave no answer, so it is not released, "
			"ref %s",
			in->path, in->policy->id, ref);
	return cf_fail(err, CF_PERMISSION_DENIED, "kbs:///%s: denied by the policy \"%s\", ref %s",
	               in->path, in->policy->id, ref);
}

static int by_list(const struct release_input *in, struct cf_view digest, struct cf_err *err)
{
	for (size_t i = 0; i < in->listed->count; i++)
		if (!strcmp(in->listed->items[i], STORE_ANY_INITDATA) ||
		    (digest.size && cf_view_eq_str(digest, in->listed->items[i])))
			return 0;
	if (digest.size == 0)
		return cf_fail(err, CF_PERMISSION_DENIED,
		               "kbs:///%s: the guest did not prove which initdata it booted with",
		               in->path);
	return cf_fail(err, CF_PERMISSION_DENIED,
	               "kbs:///%s is not for guests with initdata %.*s (%zu digests are listed)",
	               in->path, (int)digest.size, (const char *)digest.data, in->listed->count);
}

int release_decide(const struct release_input *in, struct cf_err *err)
{
	const struct cf_json *submods = cf_json_get(in->claims, "submods");
	struct cf_view digest = text_of(cf_json_get(submods, "cpu0"), "initdata");
	int r = in->policy ? by_policy(in, err) : all_affirming(submods, err);

	if (r < 0 || in->is_missing)
		return r;
	if (in->policy && in->listed->count == 0)
		return 0;
	return by_list(in, digest, err);
}
