/* SPDX-License-Identifier: Apache-2.0 */
/* The TPM door against a software TPM: quotes, certificates, credentials, PCRs. */
#include "attest-agent/tpm_priv.h"
#include "proto/tpm2.h"
#include "tests/harness/swtpm.h"

static struct aa_tpm *open_tpm(const struct swtpm *sw, enum aa_tpm_ak ak)
{
	struct aa_tpm *t = NULL;
	struct cf_err err;

	EXPECT_OK(aa_tpm_open(sw->address, ak, &t, &err), &err);
	return t;
}

static void check_quote(const struct swtpm *sw, enum aa_tpm_ak kind)
{
	cf_cleanup(aa_tpm_closep) struct aa_tpm *t = open_tpm(sw, kind);
	cf_cleanup(cf_pkey_freep) struct cf_pkey *key = NULL;
	struct cf_view tpm2b, spki, nonce = cf_view_str("0123456789abcdef0123456789abcdef");
	struct aa_tpm_quote q = { 0 };
	struct tpm2_public pub;
	struct tpm2_quote parsed;
	uint8_t digest[32];
	struct cf_err err;

	EXPECT_OK(aa_tpm_ak_public(t, &tpm2b, &spki, &err), &err);
	EXPECT_OK(tpm2_public_parse(tpm2b, &pub, &err), &err);
	EXPECT_OK(tpm2_check_attestation_key(&pub, &err), &err);
	EXPECT_OK(cf_pkey_parse(spki, &key, &err), &err);
	EXPECT_OK(aa_tpm_quote(t, nonce, &q, &err), &err);
	EXPECT_OK(tpm2_signature_verify(key, cf_buf_view(&q.message), cf_buf_view(&q.signature),
	                                &err),
	          &err);
	EXPECT_OK(tpm2_quote_parse(cf_buf_view(&q.message), &parsed, &err), &err);
	EXPECT(parsed.pcr_mask == 0xffffff && cf_view_eq(parsed.extra_data, nonce));
	cf_sha256(cf_view(q.pcr, sizeof(q.pcr)), digest);
	EXPECT(cf_view_eq(parsed.pcr_digest, cf_view(digest, 32)));
	aa_tpm_quote_fini(&q);
}

CF_TEST(tpm_quotes_with_either_kind_of_key)
{
	struct swtpm sw = swtpm_start();

	check_quote(&sw, AA_TPM_AK_RSA);
	check_quote(&sw, AA_TPM_AK_ECC);
	swtpm_stop(&sw);
}

CF_TEST(tpm_makes_another_attestation_key_at_each_start)
{
	struct swtpm sw = swtpm_start();
	cf_cleanup(aa_tpm_closep) struct aa_tpm *a = open_tpm(&sw, AA_TPM_AK_ECC);
	struct cf_buf first = { 0 };
	struct cf_view tpm2b, spki;
	struct cf_err err;

	EXPECT_OK(aa_tpm_ak_public(a, &tpm2b, &spki, &err), &err);
	cf_buf_add_view(&first, tpm2b);
	EXPECT_OK(aa_tpm_ak_public(a, &tpm2b, &spki, &err), &err);
	EXPECT(cf_view_eq(tpm2b, cf_buf_view(&first)));
	a = aa_tpm_close(a);
	a = open_tpm(&sw, AA_TPM_AK_ECC);
	EXPECT_OK(aa_tpm_ak_public(a, &tpm2b, &spki, &err), &err);
	EXPECT(!cf_view_eq(tpm2b, cf_buf_view(&first)));
	cf_buf_fini(&first);
	swtpm_stop(&sw);
}

static struct cf_cert *read_cert(const struct swtpm *sw, const char *rel)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/%s", sw->dir, rel);
	struct cf_buf pem = cf_test_read(path);
	struct cf_cert *cert = NULL;
	struct cf_err err;

	EXPECT_OK(cf_cert_parse(cf_buf_view(&pem), &cert, &err), &err);
	cf_buf_fini(&pem);
	return cert;
}

CF_TEST(tpm_shows_the_certificate_of_its_own_endorsement_key)
{
	static const char *const known[] = { "2.5.29.17", NULL };
	struct swtpm sw = swtpm_start();
	cf_cleanup(aa_tpm_closep) struct aa_tpm *t = open_tpm(&sw, AA_TPM_AK_RSA);
	cf_cleanup(cf_cert_freep) struct cf_cert *issuer = read_cert(&sw, "ca/issuercert.pem");
	cf_cleanup(cf_cert_freep) struct cf_cert *leaf = NULL;
	struct cf_chain_opts opts = {
		.roots = &issuer, .root_count = 1, .partial_chain = true, .known_critical = known
	};
	struct aa_tpm_ek ek = { 0 };
	struct cf_err err;

	EXPECT_INT(aa_tpm_ek(t, &ek, &err), 0);
	EXPECT_OK(cf_cert_parse(cf_buf_view(&ek.cert), &leaf, &err), &err);
	EXPECT_OK(cf_cert_verify(leaf, &opts, NULL, &err), &err);
	aa_tpm_ek_fini(&ek);
	swtpm_stop(&sw);
}

/* A credential for the EK in @cert and the AK of @t; returns what was put in. */
static void make_credential(const struct aa_tpm_ek *ek, struct cf_view ak, const char *text,
                            struct cf_buf *blob, struct cf_buf *secret)
{
	cf_cleanup(cf_cert_freep) struct cf_cert *cert = NULL;
	cf_cleanup(cf_pkey_freep) struct cf_pkey *key = NULL;
	struct tpm2_public pub;
	uint8_t name[TPM2_NAME_SIZE];
	struct cf_err err;

	EXPECT_OK(cf_cert_parse(cf_buf_view(&ek->cert), &cert, &err), &err);
	EXPECT_OK(cf_cert_pkey(cert, &key, &err), &err);
	EXPECT_OK(tpm2_public_parse(ak, &pub, &err), &err);
	EXPECT_OK(tpm2_name(&pub, name, &err), &err);
	EXPECT_OK(tpm2_make_credential(key, cf_view(name, sizeof(name)), cf_view_str(text), blob,
	                               secret, &err),
	          &err);
}

CF_TEST(tpm_opens_a_credential_for_its_key_and_no_other)
{
	struct swtpm sw = swtpm_start();
	cf_cleanup(aa_tpm_closep) struct aa_tpm *t = open_tpm(&sw, AA_TPM_AK_RSA);
	cf_cleanup(cf_secret_freep) struct cf_secret *got = NULL;
	struct cf_buf blob = { 0 }, secret = { 0 };
	struct aa_tpm_ek ek = { 0 };
	struct cf_view ak, spki;
	struct cf_err err;

	EXPECT_OK(aa_tpm_ak_public(t, &ak, &spki, &err), &err);
	EXPECT_FAILS(aa_tpm_activate(t, cf_view_str(""), cf_view_str(""), &got, &err),
	             CF_INVALID_ARGUMENT);
	EXPECT_INT(aa_tpm_ek(t, &ek, &err), 0);
	make_credential(&ek, ak, "the credential", &blob, &secret);
	for (int i = 0; i < 5; i++) { /* nothing is left behind in the TPM's few slots */
		EXPECT_OK(aa_tpm_activate(t, cf_buf_view(&blob), cf_buf_view(&secret), &got, &err),
		          &err);
		EXPECT(cf_view_eq_str(cf_secret_view(got), "the credential"));
		got = cf_secret_free(got);
	}
	blob.data[blob.size - 1] ^= 1;
	for (int i = 0; i < 5; i++)
		EXPECT_FAILS(
			aa_tpm_activate(t, cf_buf_view(&blob), cf_buf_view(&secret), &got, &err),
			CF_PERMISSION_DENIED);
	blob.data[blob.size - 1] ^= 1;
	EXPECT_FAILS(aa_tpm_activate(t, cf_view(blob.data, blob.size - 1), cf_buf_view(&secret),
	                             &got, &err),
	             CF_INVALID_ARGUMENT);
	cf_buf_add_byte(&secret, 0);
	EXPECT_FAILS(aa_tpm_activate(t, cf_buf_view(&blob), cf_buf_view(&secret), &got, &err),
	             CF_INVALID_ARGUMENT);
	secret.size--;
	/* Another start has another key: what was made for the first does not open. */
	t = aa_tpm_close(t);
	t = open_tpm(&sw, AA_TPM_AK_RSA);
	EXPECT_FAILS(aa_tpm_activate(t, cf_buf_view(&blob), cf_buf_view(&secret), &got, &err),
	             CF_FAILED_PRECONDITION);
	aa_tpm_ek_fini(&ek);
	EXPECT_OK(aa_tpm_ak_public(t, &ak, &spki, &err), &err);
	EXPECT_INT(aa_tpm_ek(t, &ek, &err), 0);
	EXPECT_FAILS(aa_tpm_activate(t, cf_buf_view(&blob), cf_buf_view(&secret), &got, &err),
	             CF_PERMISSION_DENIED);
	aa_tpm_ek_fini(&ek);
	cf_buf_fini(&blob);
	cf_buf_fini(&secret);
	swtpm_stop(&sw);
}

/*
 * A VM that is killed ends its TPM without a shutdown. Where a key with dictionary-attack protection
 * was used before, that counts as a wrong guess, and after a few the TPM refuses to work.
 */
CF_TEST(tpm_still_quotes_after_its_machine_was_killed_often)
{
	struct swtpm sw = swtpm_start();

	for (int i = 0; i < 8; i++) {
		cf_cleanup(aa_tpm_closep) struct aa_tpm *t = open_tpm(&sw, AA_TPM_AK_ECC);
		struct aa_tpm_quote q = { 0 };
		struct aa_tpm_ek ek = { 0 };
		struct cf_err err;

		EXPECT_INT(aa_tpm_ek(t, &ek, &err), 0);
		EXPECT_OK(aa_tpm_quote(t, cf_view_str("x"), &q, &err), &err);
		aa_tpm_ek_fini(&ek);
		aa_tpm_quote_fini(&q);
		kill(sw.pid, SIGKILL);
		waitpid(sw.pid, NULL, 0);
		swtpm_power_on(&sw);
	}
	swtpm_stop(&sw);
}

/* swtpm certifies an RSA and a P-384 key: the second's template takes a password instead of a policy. */
CF_TEST(tpm_opens_credentials_with_each_kind_of_certified_key)
{
	static const uint32_t indices[] = { 0x01c00002, 0x01c00016 };
	struct swtpm sw = swtpm_start();

	for (size_t i = 0; i < CF_ARRAY_LEN(indices); i++) {
		cf_cleanup(aa_tpm_closep) struct aa_tpm *t = open_tpm(&sw, AA_TPM_AK_RSA);
		cf_cleanup(cf_secret_freep) struct cf_secret *got = NULL;
		struct cf_buf blob = { 0 }, secret = { 0 };
		struct aa_tpm_ek ek = { 0 };
		struct cf_view ak, spki;
		struct cf_err err;

		EXPECT_OK(aa_tpm_ak_public(t, &ak, &spki, &err), &err);
		EXPECT_INT(aa_tpm_ek_at(t, indices[i], &ek, &err), 0);
		make_credential(&ek, ak, "a credential of thirty-two bytes", &blob, &secret);
		EXPECT_OK(aa_tpm_activate(t, cf_buf_view(&blob), cf_buf_view(&secret), &got, &err),
		          &err);
		EXPECT(cf_view_eq_str(cf_secret_view(got), "a credential of thirty-two bytes"));
		blob.data[10] ^= 1;
		got = cf_secret_free(got);
		EXPECT_FAILS(
			aa_tpm_activate(t, cf_buf_view(&blob), cf_buf_view(&secret), &got, &err),
			CF_PERMISSION_DENIED);
		aa_tpm_ek_fini(&ek);
		cf_buf_fini(&blob);
		cf_buf_fini(&secret);
	}
	swtpm_stop(&sw);
}

CF_TEST(tpm_without_a_certificate_says_so_and_still_quotes)
{
	struct swtpm sw = swtpm_start();

	swtpm_power_off(&sw);
	cf_cleanup(cf_freep) char *state = cf_asprintf("%s/state", sw.dir);
	char *argv[] = { "swtpm_setup", "--tpm2", "--tpmstate", state,       "--overwrite",
		         "--pcr-banks", "sha256", "--logfile",  "/dev/null", NULL };
	EXPECT_INT(swtpm_run(argv), 0);
	swtpm_power_on(&sw);

	cf_cleanup(aa_tpm_closep) struct aa_tpm *t = open_tpm(&sw, AA_TPM_AK_ECC);
	struct aa_tpm_quote q = { 0 };
	struct aa_tpm_ek ek = { 0 };
	struct cf_err err;

	EXPECT_INT(aa_tpm_ek(t, &ek, &err), AA_TPM_E_NO_EK);
	EXPECT_OK(aa_tpm_quote(t, cf_view_str("x"), &q, &err), &err);
	aa_tpm_quote_fini(&q);
	t = aa_tpm_close(t);
	swtpm_stop(&sw);
}

CF_TEST(tpm_extends_what_its_locality_may)
{
	struct swtpm sw = swtpm_start();
	cf_cleanup(aa_tpm_closep) struct aa_tpm *t = open_tpm(&sw, AA_TPM_AK_ECC);
	uint8_t digest[32] = { 7 }, both[64] = { 0 }, want[32], got[32];
	struct cf_err err;

	EXPECT_OK(aa_tpm_pcr_extend(t, 23, digest, &err), &err);
	EXPECT_OK(aa_tpm_pcr_read(t, 23, got, &err), &err);
	memcpy(both + 32, digest, 32);
	cf_sha256(cf_view(both, 64), want);
	EXPECT(memcmp(got, want, 32) == 0);
	EXPECT_FAILS(aa_tpm_pcr_extend(t, 18, digest, &err), CF_UNIMPLEMENTED);
	EXPECT_FAILS(aa_tpm_pcr_extend(t, 24, digest, &err), CF_OUT_OF_RANGE);
	EXPECT_FAILS(aa_tpm_pcr_read(t, 24, got, &err), CF_OUT_OF_RANGE);
	swtpm_stop(&sw);
}

CF_TEST(tpm_that_is_not_there_is_named)
{
	struct aa_tpm *t = NULL;
	struct cf_err err;

	EXPECT_FAILS(aa_tpm_open("/nonexistent/tpm", AA_TPM_AK_RSA, &t, &err), CF_NOT_FOUND);
	EXPECT(strstr(err.msg, "/nonexistent/tpm"));
	EXPECT_FAILS(aa_tpm_open("tabrmd:", AA_TPM_AK_RSA, &t, &err), CF_INVALID_ARGUMENT);
	EXPECT_FAILS(aa_tpm_open("swtpm:host=127.0.0.1,port=1", AA_TPM_AK_RSA, &t, &err),
	             CF_UNAVAILABLE);
}
