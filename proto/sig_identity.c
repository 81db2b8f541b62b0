/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/sig_policy.h"

static bool same_repository(const struct oci_ref *a, const struct oci_ref *b)
{
	return strcmp(a->host, b->host) == 0 && strcmp(a->repo, b->repo) == 0;
}

static bool has_tag(const struct oci_ref *ref)
{
	return !oci_digest_is_set(&ref->digest);
}

/* Both by tag, both written out in the signature, and the same. */
static bool same_tagged(const struct oci_ref *ref, const struct oci_ref *sig)
{
	return has_tag(ref) && has_tag(sig) && !sig->is_bare && same_repository(ref, sig) &&
	       strcmp(ref->tag, sig->tag) == 0;
}

static bool repo_digest_or_exact(const struct oci_ref *ref, const struct oci_ref *sig)
{
	if (!has_tag(ref)) /* that the digests are equal is checked elsewhere, always */
		return same_repository(ref, sig);
	return same_tagged(ref, sig);
}

/* @text is @prefix, or goes on behind it at the border of a component. */
static const char *after_border(const char *text, const char *prefix)
{
	const char *rest = cf_after(text, prefix);

	return rest && (!*rest || strchr("/:@", *rest)) ? rest : NULL;
}

static bool remapped(const struct sig_identity *id, const struct oci_ref *ref,
                     const struct oci_ref *sig)
{
	cf_cleanup(cf_freep) char *text = oci_ref_text(ref);
	const char *rest = after_border(text, id->a);
	cf_cleanup(cf_freep) char *mapped = rest ? cf_asprintf("%s%s", id->b, rest) : NULL;
	struct oci_ref other;

	if (!rest)
		return repo_digest_or_exact(ref, sig);
	return oci_ref_parse(cf_view_str(mapped), &other, NULL) == 0 &&
	       repo_digest_or_exact(&other, sig);
}

/* What the policy wrote down, against what the signature names; whole forms on both sides. */
static bool exact_reference(const char *wanted, const struct oci_ref *sig)
{
	struct oci_ref want;

	if (oci_ref_parse(cf_view_str(wanted), &want, NULL) < 0 || want.is_bare != sig->is_bare)
		return false;
	return same_repository(&want, sig) && strcmp(want.tag, sig->tag) == 0 &&
	       strcmp(want.digest.text, sig->digest.text) == 0;
}

static bool exact_repository(const char *wanted, const struct oci_ref *sig)
{
	struct oci_ref want;

	return oci_ref_parse(cf_view_str(wanted), &want, NULL) == 0 && same_repository(&want, sig);
}

bool sig_identity_matches(const struct sig_identity *id, const struct oci_ref *ref,
                          struct cf_view signed_ref)
{
	struct oci_ref sig;

	if (id->kind == SIG_ID_DIGEST)
		return true;
	if (oci_ref_parse(signed_ref, &sig, NULL) < 0)
		return false;
	if (id->kind == SIG_ID_EXACT_REFERENCE)
		return exact_reference(id->a, &sig);
	if (id->kind == SIG_ID_EXACT_REPOSITORY)
		return exact_repository(id->a, &sig);
	if (!ref)
		return false; /* a layout has no name that a signature could be for */
	switch (id->kind) {
	case SIG_ID_EXACT:
		return same_tagged(ref, &sig);
	case SIG_ID_REPOSITORY:
		return same_repository(ref, &sig);
	case SIG_ID_REMAP:
		return remapped(id, ref, &sig);
	case SIG_ID_DEFAULT: /* cosign's signatures name no tag */
		return sig.is_bare ? same_repository(ref, &sig) : repo_digest_or_exact(ref, &sig);
	default:
		return repo_digest_or_exact(ref, &sig);
	}
}
