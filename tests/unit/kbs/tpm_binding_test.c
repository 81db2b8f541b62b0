/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/harness/test.h"

#include "kbs/tpm_binding.h"

static struct cf_buf vector(const char *name)
{
	cf_cleanup(cf_freep) char *rel = cf_asprintf("tests/vectors/tpm/%s", name);
	cf_cleanup(cf_freep) char *path = cf_test_source(rel);

	return cf_test_read(path);
}

static struct tpm_roots *roots_of(const char *ca, enum tpm_root_kind kind, const char *ek)
{
	struct tpm_roots *roots = cf_zalloc(sizeof(*roots));
	cf_cleanup(cf_buf_fini) struct cf_buf pem = vector(ca);
	cf_cleanup(cf_strv_fini) struct cf_strv allow = { 0 };
	struct cf_err err;

	if (ek)
		cf_strv_add(&allow, ek);
	EXPECT_OK(tpm_roots_add(roots, cf_buf_view(&pem), kind, &allow, false, &err), &err);
	return roots;
}

static void offer(struct cf_buf *out, const char *ek_cert, const char *issuer, const char *ak)
{
	cf_cleanup(cf_buf_fini) struct cf_buf cert = vector(ek_cert), key = vector(ak);
	cf_cleanup(cf_buf_fini) struct cf_buf pem = { 0 }, der = { 0 };
	cf_cleanup(cf_cert_freep) struct cf_cert *mid = NULL;
	struct cf_jw w = { .out = out };
	struct cf_err err;

	cf_jw_obj(&w);
	cf_jw_key(&w, "ek_cert");
	cf_jw_b64(&w, CF_B64_STD, cf_buf_view(&cert));
	cf_jw_key(&w, "ek_chain");
	cf_jw_arr(&w);
	if (issuer) {
		pem = vector(issuer);
		EXPECT_OK(cf_cert_parse(cf_buf_view(&pem), &mid, &err), &err);
		EXPECT_OK(cf_cert_to_der(mid, &der, &err), &err);
		cf_jw_b64(&w, CF_B64_STD, cf_buf_view(&der));
	}
	cf_jw_end_arr(&w);
	cf_jw_key(&w, "ak_public");
	cf_jw_b64(&w, CF_B64_STD, cf_buf_view(&key));
	cf_jw_end_obj(&w);
}

static int bind_offer(const struct tpm_roots *roots, const char *ek_cert, const char *issuer,
                      const char *ak, int64_t now, struct tpm_binding *ret, struct cf_err *err)
{
	cf_cleanup(cf_buf_fini) struct cf_buf text = { 0 }, answer = { 0 };
	cf_cleanup(cf_json_freep) struct cf_json *doc = NULL, *challenge = NULL;
	int r;

	offer(&text, ek_cert, issuer, ak);
	EXPECT_OK(cf_json_parse(cf_buf_view(&text), 0, &doc, err), err);
	r = tpm_bind(roots, doc, now, ret, &answer, err);
	if (r == 0) {
		EXPECT_OK(cf_json_parse(cf_buf_view(&answer), 0, &challenge, err), err);
		EXPECT(cf_json_get(challenge, "credential_blob") &&
		       cf_json_get(challenge, "secret"));
	}
	return r;
}

#define EK  "ekcert-rsa2048-nv01c00002.der"
#define MID "ca-issuer.pem"
#define AK  "ak-rsa.tpm2b_public"

CF_TEST(tpm_binding_makes_a_credential_for_a_certified_tpm)
{
	cf_cleanup(tpm_roots_freep) struct tpm_roots *roots =
		roots_of("ca-root.pem", TPM_ROOT_SOFTWARE, NULL);
	cf_cleanup(tpm_binding_fini) struct tpm_binding b = { 0 }, again = { 0 };
	cf_cleanup(cf_buf_fini) struct cf_buf ak = vector(AK);
	struct cf_err err;

	EXPECT_OK(bind_offer(roots, EK, MID, AK, -1, &b, &err), &err);
	EXPECT(cf_view_eq(cf_buf_view(&b.ak), cf_buf_view(&ak)));
	EXPECT(strstr(b.root_name, "swtpm-localca-rootca"));
	EXPECT_INT(strlen(b.ek_sha256), 64);
	EXPECT_INT(b.kind, TPM_ROOT_SOFTWARE);
	EXPECT_OK(bind_offer(roots, "ekcert-p384-nv01c00016.der", MID, "ak-ecc.tpm2b_public", -1,
	                     &again, &err),
	          &err);
	EXPECT(memcmp(b.credential, again.credential, sizeof(b.credential)));
	EXPECT(strcmp(b.ek_sha256, again.ek_sha256));
}

CF_TEST(tpm_binding_refuses_what_no_root_stands_for)
{
	cf_cleanup(tpm_roots_freep) struct tpm_roots *roots =
		roots_of("ca-root.pem", TPM_ROOT_OPERATOR_VTPM, NULL);
	cf_cleanup(tpm_roots_freep) struct tpm_roots *none = cf_zalloc(sizeof(*none));
	struct tpm_binding b = { 0 };
	struct cf_err err;

	/* No root at all; the intermediate is missing; the intermediate offered as a TPM. */
	EXPECT_FAILS(bind_offer(none, EK, MID, AK, -1, &b, &err), CF_PERMISSION_DENIED);
	EXPECT(strstr(err.msg, "swtpm-localca"));
	EXPECT_FAILS(bind_offer(roots, EK, NULL, AK, -1, &b, &err), CF_PERMISSION_DENIED);
	EXPECT_FAILS(bind_offer(roots, MID, NULL, AK, -1, &b, &err), CF_PERMISSION_DENIED);
	/* Not valid yet in 1971. */
	EXPECT_FAILS(bind_offer(roots, EK, MID, AK, 31556952, &b, &err), CF_PERMISSION_DENIED);
	/* An endorsement key where the attestation key belongs. */
	EXPECT_FAILS(bind_offer(roots, EK, MID, "ek-rsa.pub", -1, &b, &err), CF_PERMISSION_DENIED);
	EXPECT(strstr(err.msg, "attestation key"));
}

CF_TEST(tpm_binding_takes_no_ca_for_a_tpm)
{
	cf_cleanup(tpm_roots_freep) struct tpm_roots *roots =
		roots_of("ca-root.pem", TPM_ROOT_OPERATOR_VTPM, NULL);
	cf_cleanup(cf_buf_fini) struct cf_buf pem = vector(MID);
	cf_cleanup(cf_pkey_freep) struct cf_pkey *ek = NULL;
	char ek_sha256[65];
	struct cf_err err;
	size_t root;

	EXPECT_FAILS(
		tpm_check_ek(roots, cf_buf_view(&pem), NULL, 0, -1, &ek, &root, ek_sha256, &err),
		CF_PERMISSION_DENIED);
	EXPECT(strstr(err.msg, "it is a CA's"));
}

CF_TEST(tpm_binding_knows_loose_chips_by_their_key)
{
	cf_cleanup(tpm_roots_freep) struct tpm_roots *any =
		roots_of("ca-root.pem", TPM_ROOT_OPERATOR_VTPM, NULL);
	cf_cleanup(tpm_roots_freep) struct tpm_roots *other =
		roots_of("ca-root.pem", TPM_ROOT_EK_ALLOW, "00");
	cf_cleanup(tpm_roots_freep) struct tpm_roots *listed = NULL;
	cf_cleanup(tpm_binding_fini) struct tpm_binding b = { 0 }, again = { 0 };
	struct cf_err err;

	EXPECT_OK(bind_offer(any, EK, MID, AK, -1, &b, &err), &err);
	EXPECT_FAILS(bind_offer(other, EK, MID, AK, -1, &again, &err), CF_PERMISSION_DENIED);
	EXPECT(strstr(err.msg, "not in the list"));
	listed = roots_of("ca-root.pem", TPM_ROOT_EK_ALLOW, b.ek_sha256);
	EXPECT_OK(bind_offer(listed, EK, MID, AK, -1, &again, &err), &err);
}

CF_TEST(tpm_binding_wants_roots_to_say_what_they_are)
{
	cf_cleanup(tpm_roots_freep) struct tpm_roots *roots = cf_zalloc(sizeof(*roots));
	cf_cleanup(cf_buf_fini) struct cf_buf pem = vector("ca-root.pem");
	enum tpm_root_kind kind;
	struct cf_err err;

	EXPECT_FAILS(tpm_roots_add(roots, cf_buf_view(&pem), TPM_ROOT_EK_ALLOW, NULL, false, &err),
	             CF_INVALID_ARGUMENT);
	EXPECT_FAILS(tpm_root_kind_parse(cf_view_str("any"), &kind, &err), CF_INVALID_ARGUMENT);
	for (unsigned i = 0; i < TPM_ROOTS_MAX; i++)
		EXPECT_OK(tpm_roots_add(roots, cf_buf_view(&pem), TPM_ROOT_SOFTWARE, NULL, false,
		                        &err),
		          &err);
	EXPECT_FAILS(tpm_roots_add(roots, cf_buf_view(&pem), TPM_ROOT_SOFTWARE, NULL, false, &err),
	             CF_RESOURCE_EXHAUSTED);
}
