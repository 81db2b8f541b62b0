/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/sig_bundle.h"

#include "base/json.h"
#include "base/str.h"

#define PAE_START "DSSEv1 "

/* ---- envelope ---- */

static int decode(const struct cf_json *obj, const char *key, size_t max, struct cf_buf *ret,
                  struct cf_err *err)
{
	struct cf_view text;
	int r = cf_json_need_str(obj, key, &text, err);

	if (r < 0)
		return r;
	if (text.size > max / 3 * 4 + 4)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "%s: over %zu bytes", key, max);
	r = cf_b64_decode(CF_B64_STD, text, ret, err);
	return r < 0 ? cf_wrap(err, r, "%s", key) : 0;
}

static int read_envelope(const struct cf_json *envelope, struct cf_buf *body,
                         struct cf_buf *signature, struct cf_err *err)
{
	const struct cf_json *list;
	struct cf_view type;
	int r = cf_json_need_str(envelope, "payloadType", &type, err);

	if (r == 0 && !cf_view_eq_str(type, SIG_STATEMENT_TYPE))
		r = cf_fail(err, CF_INVALID_ARGUMENT, "payloadType is no statement's");
	if (r == 0)
		r = cf_json_need(envelope, "signatures", CF_JSON_ARRAY, &list, err);
	if (r == 0 && cf_json_len(list) != 1)
		r = cf_fail(err, CF_INVALID_ARGUMENT, "%zu signatures, one is due",
		            cf_json_len(list));
	if (r == 0)
		r = decode(cf_json_at(list, 0), "sig", SIG_BUNDLE_BODY_MAX, signature, err);
	if (r == 0)
		r = decode(envelope, "payload", SIG_BUNDLE_BODY_MAX, body, err);
	return r;
}

int sig_bundle_parse(struct cf_view json, struct cf_buf *ret_signed, struct cf_buf *ret_signature,
                     struct cf_err *err)
{
	cf_cleanup(cf_json_freep) struct cf_json *root = NULL;
	const struct cf_json *envelope;
	struct cf_buf body = { 0 }, signature = { 0 };
	struct cf_view type;
	int r = cf_json_parse(json, SIG_BUNDLE_MAX, &root, err);

	if (r == 0)
		r = cf_json_need_str(root, "mediaType", &type, err);
	if (r == 0 && !cf_view_eq_str(type, SIG_MT_BUNDLE))
		r = cf_fail(err, CF_INVALID_ARGUMENT, "mediaType is not %s", SIG_MT_BUNDLE);
	if (r == 0)
		r = cf_json_need(root, "dsseEnvelope", CF_JSON_OBJECT, &envelope, err);
	if (r == 0)
		r = read_envelope(envelope, &body, &signature, err);
	if (r == 0) {
		cf_buf_printf(ret_signed, PAE_START "%zu %s %zu ", strlen(SIG_STATEMENT_TYPE),
		              SIG_STATEMENT_TYPE, body.size);
		cf_buf_add_view(ret_signed, cf_buf_view(&body));
		cf_buf_add_view(ret_signature, cf_buf_view(&signature));
	}
	cf_buf_fini(&body);
	cf_buf_fini(&signature);
	return r < 0 ? cf_wrap(err, r, "sigstore bundle") : 0;
}

/* ---- statement ---- */

bool sig_is_statement(struct cf_view signed_bytes)
{
	return cf_view_starts_with(signed_bytes, PAE_START);
}

/* The body behind the encoding's head, whose every byte must be as we would write it. */
static int body_of(struct cf_view in, struct cf_view *ret, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *type =
		cf_asprintf(PAE_START "%zu %s ", strlen(SIG_STATEMENT_TYPE), SIG_STATEMENT_TYPE);
	struct cf_view rest = cf_view_sub(in, strlen(type), in.size);
	ssize_t space = cf_view_find(rest, ' ');
	uint64_t size;

	if (!cf_view_starts_with(in, type) || space < 0 ||
	    cf_parse_u64(cf_view_sub(rest, 0, (size_t)space), SIG_BUNDLE_BODY_MAX, &size, NULL) < 0)
		return cf_fail(err, CF_INVALID_ARGUMENT, "no DSSE encoding of a statement");
	*ret = cf_view_sub(rest, (size_t)space + 1, rest.size);
	if (ret->size != size)
		return cf_fail(err, CF_INVALID_ARGUMENT, "no DSSE encoding of a statement");
	return 0;
}

static int read_subject(const struct cf_json *root, struct oci_digest *ret, struct cf_err *err)
{
	const struct cf_json *subjects, *digest;
	struct cf_view hex;
	int r = cf_json_need(root, "subject", CF_JSON_ARRAY, &subjects, err);

	if (r == 0 && cf_json_len(subjects) != 1)
		r = cf_fail(err, CF_INVALID_ARGUMENT, "%zu subjects, one is due",
		            cf_json_len(subjects));
	if (r == 0)
		r = cf_json_need(cf_json_at(subjects, 0), "digest", CF_JSON_OBJECT, &digest, err);
	if (r == 0)
		r = cf_json_need_str(digest, "sha256", &hex, err);
	if (r < 0)
		return r;
	if (hex.size != 64)
		return cf_fail(err, CF_INVALID_ARGUMENT, "subject: no SHA-256");
	cf_cleanup(cf_freep) char *text = cf_asprintf("sha256:%.*s", 64, (const char *)hex.data);

	return oci_digest_parse(cf_view_str(text), ret, err);
}

static int check_kind(const struct cf_json *root, struct cf_err *err)
{
	struct cf_view type, predicate;
	int r = cf_json_need_str(root, "_type", &type, err);

	if (r == 0)
		r = cf_json_need_str(root, "predicateType", &predicate, err);
	if (r < 0)
		return r;
	if (!cf_view_eq_str(type, "https://in-toto.io/Statement/v1"))
		return cf_fail(err, CF_INVALID_ARGUMENT, "_type is no statement's");
	/* The same key may stand under test reports and bills of material: they approve nothing. */
	if (!cf_view_eq_str(predicate, SIG_SIGN_PREDICATE))
		return cf_fail(err, CF_INVALID_ARGUMENT, "predicateType is no signature's");
	return 0;
}

int sig_statement_parse(struct cf_view signed_bytes, struct oci_digest *ret, struct cf_err *err)
{
	cf_cleanup(cf_json_freep) struct cf_json *root = NULL;
	struct cf_view body;
	int r = body_of(signed_bytes, &body, err);

	if (r == 0)
		r = cf_json_parse(body, SIG_BUNDLE_BODY_MAX, &root, err);
	if (r == 0)
		r = check_kind(root, err);
	if (r == 0)
		r = read_subject(root, ret, err);
	return r < 0 ? cf_wrap(err, r, "signed statement") : 0;
}
