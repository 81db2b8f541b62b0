/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/sig_cosign.h"
#include "proto/sig_policy.h"

#include <stdlib.h>

#define KEY_FILE_MAX (64u << 10)

#define DENIED "Image policy rejected: Denied by policy: "

void sig_verdict_fini(struct sig_verdict *v)
{
	free(v->text);
	*v = (struct sig_verdict){ 0 };
}

/* One judgement under way. */
struct judge {
	const struct sig_image *image;
	sig_fetch_fn *fetch;
	void *fetch_arg;
	const char *scope;
	struct sig_list found;
	bool collected;
	struct sig_verdict *ret;
};

static int deny(struct judge *j, enum sig_reason reason, const char *why, struct cf_err *err)
{
	free(j->ret->text);
	j->ret->text = cf_asprintf("%s (rule for \"%s\")", why, j->scope);
	j->ret->reason = reason;
	return cf_fail(err, CF_PERMISSION_DENIED, DENIED "%s", j->ret->text);
}

/* ---- keys ---- */

struct keys {
	struct cf_pkey *items[SIG_KEYS_MAX];
	size_t count;
};

static void keys_fini(struct keys *k)
{
	for (size_t i = 0; i < k->count; i++)
		cf_pkey_free(k->items[i]);
	*k = (struct keys){ 0 };
}

static int add_key(struct keys *k, struct cf_view pem, const char *name, struct cf_err *err)
{
	if (k->count == SIG_KEYS_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "over %u keys", SIG_KEYS_MAX);
	int r = cf_pkey_parse(pem, &k->items[k->count], err);

	if (r < 0)
		return cf_wrap(err, r, "key %s of the image policy", name);
	k->count++;
	return 0;
}

static int load_key(struct judge *j, const char *uri, struct keys *k, struct cf_err *err)
{
	struct cf_buf pem = { .max = KEY_FILE_MAX };
	int r;

	if (!j->fetch)
		return cf_fail(err, CF_FAILED_PRECONDITION, "key %s cannot be fetched here", uri);
	r = j->fetch(j->fetch_arg, uri, &pem, err);
	if (r == 0)
		r = add_key(k, cf_buf_view(&pem), uri, err);
	else
		r = cf_wrap(err, r, "key %s of the image policy", uri);
	cf_buf_fini(&pem);
	return r;
}

static int load_keys(struct judge *j, const struct sig_requirement *q, struct keys *k,
                     struct cf_err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < q->key_data.count; i++)
		r = add_key(k, cf_view_str(q->key_data.items[i]), "in keyData", err);
	for (size_t i = 0; r == 0 && i < q->key_paths.count; i++)
		r = load_key(j, q->key_paths.items[i], k, err);
	return r;
}

/* ---- signatures ---- */

static int collect(struct judge *j, struct cf_err *err)
{
	int r;

	if (j->collected)
		return 0;
	r = sig_collect(j->image->src, j->image->manifest, &j->found, err);
	if (r == 0 && j->image->index && oci_digest_is_set(j->image->index))
		r = sig_collect(j->image->src, j->image->index, &j->found, err);
	j->collected = r == 0;
	return r;
}

static bool is_about_image(const struct sig_payload *p, const struct sig_image *image)
{
	return oci_digest_eq(&p->digest, image->manifest) ||
	       (image->index && oci_digest_eq(&p->digest, image->index));
}

enum fit {
	FITS,
	WRONG_KEY,
	WRONG_IMAGE,
	WRONG_IDENTITY,
	NO_IDENTITY,
	NO_PAYLOAD,
};

/* All checks on the same signature: what one proves is worth nothing for another. */
static enum fit check(struct judge *j, const struct sig_requirement *q, const struct keys *keys,
                      const struct sig_found *f)
{
	struct sig_payload payload = { 0 };
	enum fit fit = WRONG_KEY;

	for (size_t i = 0; i < keys->count && fit == WRONG_KEY; i++) {
		if (sig_verify(keys->items[i], cf_buf_view(&f->payload), cf_buf_view(&f->signature),
		               NULL) == 0)
			fit = FITS;
	}
	if (fit != FITS)
		return fit;
	if (sig_payload_parse(cf_buf_view(&f->payload), &payload, NULL) < 0)
		return NO_PAYLOAD;
	if (!is_about_image(&payload, j->image))
		fit = WRONG_IMAGE;
	else if (!sig_identity_matches(&q->identity, oci_source_ref(j->image->src),
	                               cf_view_str(payload.reference ? payload.reference : "")))
		fit = payload.reference ? WRONG_IDENTITY : NO_IDENTITY;
	sig_payload_fini(&payload);
	return fit;
}

static int check_all(struct judge *j, const struct sig_requirement *q, const struct keys *keys,
                     struct cf_err *err)
{
	static const char *const why[] = {
		[WRONG_KEY] = "no signature is by a key of the policy",
		[WRONG_IMAGE] = "the signature is for another image",
		[WRONG_IDENTITY] = "the signature is for another name than the one asked for",
		[NO_IDENTITY] = "the signature names no repository, as sigstore bundles do; "
				"signedIdentity of type digestOnly asks for none",
		[NO_PAYLOAD] = "the signature says nothing about an image",
	};
	enum fit best = WRONG_KEY;

	for (size_t i = 0; i < j->found.count; i++) {
		enum fit fit = check(j, q, keys, &j->found.items[i]);

		if (fit == FITS)
			return 0;
		best = CF_MAX(best, fit);
	}
	if (j->found.count == 0)
		return deny(j, SIG_NO_SIGNATURE, "the image has no signature", err);
	return deny(j, SIG_NO_MATCH, why[best], err);
}

static int need_signature(struct judge *j, const struct sig_requirement *q, struct cf_err *err)
{
	struct keys keys = { 0 };
	int r = load_keys(j, q, &keys, err);

	if (r == 0)
		r = collect(j, err);
	if (r == 0)
		r = check_all(j, q, &keys, err);
	keys_fini(&keys);
	if (r == 0)
		j->ret->is_verified = true;
	return r;
}

static int meet(struct judge *j, const struct sig_requirement *q, struct cf_err *err)
{
	switch (q->kind) {
	case SIG_ACCEPT:
		return 0;
	case SIG_SIGSTORE:
		return need_signature(j, q, err);
	case SIG_FOREIGN: {
		cf_cleanup(cf_freep) char *why = cf_asprintf("%s is not checked here", q->foreign);

		return deny(j, SIG_REFUSED, why, err);
	}
	default:
		return deny(j, SIG_REFUSED, "the rule is to reject", err);
	}
}

static const struct sig_requirements *find(const struct sig_policy *p, const struct oci_source *src,
                                           const char **ret_scope)
{
	const struct oci_ref *ref = oci_source_ref(src);

	if (ref)
		return sig_policy_find(p, ref, ret_scope);
	cf_cleanup(cf_freep) char *dir = realpath(oci_source_layout_dir(src), NULL);

	return sig_policy_find_layout(p, dir ? dir : oci_source_layout_dir(src),
	                              oci_source_layout_tag(src), ret_scope);
}

int sig_policy_judge(const struct sig_policy *p, const struct sig_image *image, sig_fetch_fn *fetch,
                     void *fetch_arg, struct sig_verdict *ret, struct cf_err *err)
{
	struct judge j = { .image = image, .fetch = fetch, .fetch_arg = fetch_arg, .ret = ret };
	int r = 0;

	*ret = (struct sig_verdict){ 0 };
	const struct sig_requirements *need = find(p, image->src, &j.scope);

	if (need->count == 0)
		r = deny(&j, SIG_REFUSED, "the list of requirements is empty", err);
	for (size_t i = 0; r == 0 && i < need->count; i++)
		r = meet(&j, &need->items[i], err);
	sig_list_fini(&j.found);
	if (r == 0)
		ret->text = cf_asprintf("%s by the rule for \"%s\"",
		                        ret->is_verified ? "signature verified"
		                                         : "accepted without a signature",
		                        j.scope);
	else if (r != -CF_PERMISSION_DENIED)
		sig_verdict_fini(ret);
	return r;
}
