/* SPDX-License-Identifier: Apache-2.0 */
#include "kbs/tpm_binding.h"

#define OID_SAN              "2.5.29.17"
#define OID_BASIC_CONSTRAINT "2.5.29.19"
#define OID_EKU              "2.5.29.37"
/* tcg-kp-EKCertificate 2.23.133.8.1, DER */
#define EKU_EK_CERTIFICATE "\x06\x05\x67\x81\x05\x08\x01"

static const char *const kind_names[] = {
	[TPM_ROOT_OPERATOR_VTPM] = "operator_vtpm",
	[TPM_ROOT_EK_ALLOW] = "ek_allow",
	[TPM_ROOT_SOFTWARE] = "software",
};

const char *tpm_root_kind_name(enum tpm_root_kind k)
{
	return kind_names[k];
}

int tpm_root_kind_parse(struct cf_view text, enum tpm_root_kind *ret, struct cf_err *err)
{
	for (size_t i = 0; i < CF_ARRAY_LEN(kind_names); i++)
		if (cf_view_eq_str(text, kind_names[i])) {
			*ret = (enum tpm_root_kind)i;
			return 0;
		}
	return cf_fail(err, CF_INVALID_ARGUMENT,
	               "a TPM root is one of operator_vtpm, ek_allow, software");
}

struct tpm_roots *tpm_roots_free(struct tpm_roots *roots)
{
	for (size_t i = 0; roots && i < roots->count; i++) {
		cf_cert_free(roots->items[i].cert);
		cf_strv_fini(&roots->items[i].ek_allow);
		free(roots->items[i].name);
	}
	for (size_t i = 0; roots && i < roots->extra_count; i++)
		cf_cert_free(roots->extra[i]);
	free(roots);
	return NULL;
}

int tpm_roots_add(struct tpm_roots *roots, struct cf_view cert, enum tpm_root_kind kind,
                  const struct cf_strv *ek_allow, bool is_accepted, struct cf_err *err)
{
	struct tpm_root *root = &roots->items[roots->count];
	uint8_t sum[32];
	int r;

	if (roots->count >= TPM_ROOTS_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "over %u TPM roots", TPM_ROOTS_MAX);
	if (kind == TPM_ROOT_EK_ALLOW && (!ek_allow || ek_allow->count == 0))
		return cf_fail(
			err, CF_INVALID_ARGUMENT,
			"a root of loose TPMs needs the list of endorsement keys (ek_allow)");
	*root = (struct tpm_root){ .kind = kind, .is_accepted = is_accepted };
	r = cf_cert_parse(cert, &root->cert, err);
	if (r < 0)
		return cf_wrap(err, r, "TPM root");
	for (size_t i = 0; ek_allow && i < ek_allow->count; i++)
		cf_strv_add(&root->ek_allow, ek_allow->items[i]);
	root->name = cf_cert_subject(root->cert);
	cf_cert_sha256(root->cert, sum);
	cf_hex_encode(cf_view(sum, sizeof(sum)), root->sha256);
	roots->count++;
	return 0;
}

void tpm_binding_fini(struct tpm_binding *b)
{
	explicit_bzero(b->credential, sizeof(b->credential));
	cf_buf_fini(&b->ak);
	free(b->root_name);
	b->root_name = NULL;
}

/* ---- the endorsement certificate ---- */

static bool has_bytes(struct cf_view in, struct cf_view want)
{
	for (size_t i = 0; i + want.size <= in.size; i++)
		if (cf_view_eq(cf_view_sub(in, i, want.size), want))
			return true;
	return false;
}

static int check_ek_extensions(const struct cf_cert *cert, struct cf_err *err)
{
	static const struct cf_view ca_true = CF_VIEW_LIT("\x01\x01\xff");
	static const struct cf_view eku_ek = CF_VIEW_LIT(EKU_EK_CERTIFICATE);
	cf_cleanup(cf_buf_fini) struct cf_buf basic = { 0 }, eku = { 0 };

	if (cf_cert_extension(cert, OID_BASIC_CONSTRAINT, &basic, NULL) == 0 &&
	    has_bytes(cf_buf_view(&basic), ca_true))
		return cf_fail(err, CF_PERMISSION_DENIED,
		               "EK certificate: it is a CA's, not a TPM's");
	if (cf_cert_extension(cert, OID_EKU, &eku, NULL) < 0 ||
	    !has_bytes(cf_buf_view(&eku), eku_ek))
		return cf_fail(err, CF_PERMISSION_DENIED,
		               "EK certificate: its key usage is not that of an endorsement key "
		               "(2.23.133.8.1)");
	return 0;
}

struct chain {
	struct cf_cert *certs[TPM_CHAIN_MAX + TPM_ROOTS_MAX];
	size_t count;
	size_t owned; /* the first ones are ours */
};

static void chain_fini(struct chain *c)
{
	for (size_t i = 0; i < c->owned; i++)
		cf_cert_free(c->certs[i]);
}

static int load_chain(const struct tpm_roots *roots, const struct cf_view *sent, size_t count,
                      struct chain *ret, struct cf_err *err)
{
	int r = 0;

	if (count > TPM_CHAIN_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "EK chain of %zu certificates", count);
	for (size_t i = 0; r == 0 && i < count; i++) {
		r = cf_cert_parse(sent[i], &ret->certs[ret->owned], err);
		if (r == 0)
			ret->owned++;
	}
	ret->count = ret->owned;
	for (size_t i = 0; i < roots->extra_count; i++)
		ret->certs[ret->count++] = roots->extra[i];
	return r < 0 ? cf_wrap(err, r, "EK chain") : 0;
}

int tpm_check_ek(const struct tpm_roots *roots, struct cf_view ek_cert, const struct cf_view *sent,
                 size_t sent_count, int64_t now, struct cf_pkey **ret_ek, size_t *ret_root,
                 char ek_sha256[65], struct cf_err *err)
{
	static const char *const understood[] = { OID_SAN, OID_EKU, NULL };
	cf_cleanup(cf_cert_freep) struct cf_cert *cert = NULL;
	cf_cleanup(cf_pkey_freep) struct cf_pkey *key = NULL;
	cf_cleanup(chain_fini) struct chain chain = { 0 };
	cf_cleanup(cf_buf_fini) struct cf_buf spki = { 0 };
	struct cf_cert *anchors[TPM_ROOTS_MAX];
	struct cf_chain_opts opts = { .roots = anchors,
		                      .root_count = roots->count,
		                      .at = now,
		                      .partial_chain = true,
		                      .known_critical = understood };
	const struct tpm_root *root;
	uint8_t sum[32];
	int r = cf_cert_parse(ek_cert, &cert, err);

	if (r == 0)
		r = load_chain(roots, sent, sent_count, &chain, err);
	if (r < 0)
		return cf_wrap(err, r, "EK certificate");
	for (size_t i = 0; i < roots->count; i++)
		anchors[i] = roots->items[i].cert;
	opts.intermediates = chain.certs;
	opts.intermediate_count = chain.count;
	r = cf_cert_verify(cert, &opts, ret_root, err);
	if (r < 0) {
		cf_cleanup(cf_freep) char *issuer = cf_cert_issuer(cert);

		return cf_wrap(err, r,
		               "the TPM's certificate was issued by \"%s\", which does not "
		               "end at a configured TPM root",
		               issuer);
	}
	r = check_ek_extensions(cert, err);
	if (r == 0)
		r = cf_cert_pkey(cert, &key, err);
	if (r == 0)
		r = cf_pkey_to_spki_der(key, &spki, err);
	if (r < 0)
		return r;
	cf_sha256(cf_buf_view(&spki), sum);
	cf_hex_encode(cf_view(sum, sizeof(sum)), ek_sha256);
	root = &roots->items[*ret_root];
	if (root->kind == TPM_ROOT_EK_ALLOW && !cf_strv_has(&root->ek_allow, ek_sha256))
		return cf_fail(err, CF_PERMISSION_DENIED,
		               "endorsement key %.16s… is not in the list of \"%s\"", ek_sha256,
		               root->name);
	*ret_ek = cf_take(&key);
	return 0;
}

/* ---- request and challenge ---- */

struct offered {
	struct cf_buf ek_cert;
	struct cf_buf ak;
	struct cf_buf chain[TPM_CHAIN_MAX];
	size_t chain_count;
};

static void offered_fini(struct offered *o)
{
	cf_buf_fini(&o->ek_cert);
	cf_buf_fini(&o->ak);
	for (size_t i = 0; i < TPM_CHAIN_MAX; i++)
		cf_buf_fini(&o->chain[i]);
}

static int parse_offered(const struct cf_json *request, struct offered *ret, struct cf_err *err)
{
	const struct cf_json *chain = cf_json_get(request, "ek_chain");
	int r;

	ret->ek_cert.max = TPM_EK_CERT_MAX;
	ret->ak.max = TPM2_PUBLIC_MAX;
	r = cf_json_need_b64(request, "ek_cert", CF_B64_STD, &ret->ek_cert, err);
	if (r == 0)
		r = cf_json_need_b64(request, "ak_public", CF_B64_STD, &ret->ak, err);
	if (r < 0)
		return cf_wrap(err, r, "coffer-tpm");
	if (cf_json_len(chain) > TPM_CHAIN_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED,
		               "coffer-tpm: ek_chain of %zu certificates", cf_json_len(chain));
	for (; ret->chain_count < cf_json_len(chain); ret->chain_count++) {
		struct cf_buf *b = &ret->chain[ret->chain_count];

		b->max = TPM_EK_CERT_MAX;
		r = cf_b64_decode(CF_B64_STD, cf_json_str(cf_json_at(chain, ret->chain_count)), b,
		                  err);
		if (r < 0)
			return cf_wrap(err, r, "coffer-tpm: ek_chain");
	}
	return 0;
}

static int make_challenge(const struct cf_pkey *ek, const struct tpm2_public *ak,
                          const uint8_t credential[TPM2_CREDENTIAL], struct cf_buf *answer,
                          struct cf_err *err)
{
	cf_cleanup(cf_buf_fini) struct cf_buf blob = { 0 }, secret = { 0 };
	struct cf_jw w = { .out = answer };
	uint8_t name[TPM2_NAME_SIZE];
	int r = tpm2_name(ak, name, err);

	if (r == 0)
		r = tpm2_make_credential(ek, cf_view(name, sizeof(name)),
		                         cf_view(credential, TPM2_CREDENTIAL), &blob, &secret, err);
	if (r < 0)
		return r;
	cf_jw_obj(&w);
	cf_jw_key(&w, "credential_blob");
	cf_jw_b64(&w, CF_B64_STD, cf_buf_view(&blob));
	cf_jw_key(&w, "secret");
	cf_jw_b64(&w, CF_B64_STD, cf_buf_view(&secret));
	cf_jw_end_obj(&w);
	return cf_buf_check(answer, "challenge", err);
}

int tpm_bind(const struct tpm_roots *roots, const struct cf_json *request, int64_t now,
             struct tpm_binding *ret, struct cf_buf *answer, struct cf_err *err)
{
	cf_cleanup(offered_fini) struct offered o = { 0 };
	cf_cleanup(cf_pkey_freep) struct cf_pkey *ek = NULL;
	cf_cleanup(tpm_binding_fini) struct tpm_binding b = { 0 };
	struct cf_view chain[TPM_CHAIN_MAX];
	struct tpm2_public ak;
	size_t root;
	int r = parse_offered(request, &o, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < o.chain_count; i++)
		chain[i] = cf_buf_view(&o.chain[i]);
	r = tpm_check_ek(roots, cf_buf_view(&o.ek_cert), chain, o.chain_count, now, &ek, &root,
	                 b.ek_sha256, err);
	if (r == 0)
		r = tpm2_public_parse(cf_buf_view(&o.ak), &ak, err);
	if (r == 0)
		r = tpm2_check_attestation_key(&ak, err);
	if (r < 0)
		return r;
	cf_random(b.credential, sizeof(b.credential));
	r = make_challenge(ek, &ak, b.credential, answer, err);
	if (r < 0)
		return r;
	b.ak.max = TPM2_PUBLIC_MAX;
	cf_buf_add_view(&b.ak, cf_buf_view(&o.ak));
	memcpy(b.root_sha256, roots->items[root].sha256, sizeof(b.root_sha256));
	b.root_name = cf_strdup(roots->items[root].name);
	b.kind = roots->items[root].kind;
	b.is_accepted = roots->items[root].is_accepted;
	*ret = b;
	b = (struct tpm_binding){ 0 };
	return 0;
}
