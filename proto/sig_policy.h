/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Signature policy: whose signature an image needs before it may run, in the words of
 * containers-policy.json(5). The policy is the owner's; references, manifests, signatures and their
 * payloads are a stranger's. What is judged is the reference that was written, with the digests that
 * it resolved to: mirrors change nothing here.
 *
 * Done: insecureAcceptAnything, reject, sigstoreSigned with keys. Other kinds parse and refuse.
 * Fail closed: unknown members refuse the policy, an empty list of requirements refuses the image.
 * Deviations: proto/PROTOCOL-image.md.
 */
#include "proto/oci_source.h"

#define SIG_POLICY_SIZE_MAX  (1u << 20) /* bytes */
#define SIG_RULES_MAX        1024u
#define SIG_REQUIREMENTS_MAX 64u /* in one list */
#define SIG_KEYS_MAX         64u /* of one requirement */

enum sig_kind {
	SIG_ACCEPT,
	SIG_REJECT,
	SIG_SIGSTORE,
	SIG_FOREIGN, /* known to the grammar, not to us: refuses */
};

enum sig_identity_kind {
	SIG_ID_DEFAULT, /* none was written: repo digest or exact; without a tag in the signature: repo */
	SIG_ID_EXACT,
	SIG_ID_REPO_DIGEST_OR_EXACT,
	SIG_ID_REPOSITORY,
	SIG_ID_EXACT_REFERENCE,
	SIG_ID_EXACT_REPOSITORY,
	SIG_ID_REMAP,
	SIG_ID_DIGEST, /* ours, "digestOnly": no name is asked for, as sigstore bundles carry none */
};

struct sig_identity {
	enum sig_identity_kind kind;
	char *a; /* dockerReference, dockerRepository, prefix */
	char *b; /* signedPrefix */
};

struct sig_requirement {
	enum sig_kind kind;
	struct cf_strv key_paths; /* files or URIs */
	struct cf_strv key_data;  /* PEM */
	struct sig_identity identity;
	char *foreign; /* what we do not speak */
};

struct sig_requirements {
	struct sig_requirement *items;
	size_t count;
};

struct sig_policy;

/* -CF_INVALID_ARGUMENT (says where), -CF_RESOURCE_EXHAUSTED. */
cf_must_use int sig_policy_parse(struct cf_view json, struct sig_policy **ret, struct cf_err *err);
struct sig_policy *sig_policy_free(struct sig_policy *p);
CF_DEFINE_CLEANUP(struct sig_policy *, sig_policy_free);

/*
 * The requirements for an image of a registry: the most telling scope, else the transport's "", else
 * the default. @ret_scope (may be NULL): what matched, borrowed. Never NULL.
 */
const struct sig_requirements *sig_policy_find(const struct sig_policy *p,
                                               const struct oci_ref *ref, const char **ret_scope);
/* The same for a layout at @dir with @tag. */
const struct sig_requirements *sig_policy_find_layout(const struct sig_policy *p, const char *dir,
                                                      const char *tag, const char **ret_scope);

/*
 * Does a signature that names @signed_ref (empty: it names nothing) hold for an image asked for as
 * @ref (NULL: a layout)?
 */
bool sig_identity_matches(const struct sig_identity *id, const struct oci_ref *ref,
                          struct cf_view signed_ref);

/* ---- judging ---- */

struct sig_image {
	struct oci_source *src;            /* where the image came from: signatures lie beside it */
	const struct oci_digest *manifest; /* of the platform */
	const struct oci_digest *index;    /* or NULL */
};

typedef int sig_fetch_fn(void *arg, const char *uri, struct cf_buf *ret, struct cf_err *err);

enum sig_reason {
	SIG_FINE,
	SIG_REFUSED,      /* the policy says no, whatever is signed */
	SIG_NO_SIGNATURE, /* none was found */
	SIG_NO_MATCH,     /* some were found, none fits */
};

struct sig_verdict {
	enum sig_reason reason;
	bool is_verified; /* a signature was checked and fits */
	char *text;       /* for people: which rule, which key or why not */
};
void sig_verdict_fini(struct sig_verdict *v);

/*
 * sig_policy_judge() - may this image be used?
 * @fetch: reads keys that the policy names by file or URI
 * @ret: filled on success and with -CF_PERMISSION_DENIED
 *
 * Return: 0; -CF_PERMISSION_DENIED, the message beginning "Image policy rejected: Denied by policy";
 * or why the question has no answer: -CF_UNAVAILABLE, -CF_INVALID_ARGUMENT (a key) …
 */
cf_must_use int sig_policy_judge(const struct sig_policy *p, const struct sig_image *image,
                                 sig_fetch_fn *fetch, void *fetch_arg, struct sig_verdict *ret,
                                 struct cf_err *err);
