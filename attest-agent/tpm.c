/* SPDX-License-Identifier: Apache-2.0 */
#include "attest-agent/tpm.h"

#include "attest-agent/tpm_priv.h"
#include "base/str.h"
#include "proto/tpm2.h"

#include <errno.h>
#include <tss2/tss2_esys.h>
#include <tss2/tss2_mu.h>
#include <tss2/tss2_rc.h>
#include <tss2/tss2_tcti_device.h>
#include <tss2/tss2_tcti_swtpm.h>
#include <unistd.h>

int aa_tpm_fail(struct cf_err *err, uint32_t rc, const char *what)
{
	return cf_fail(err, CF_ABORTED, "TPM: %s: %s", what, Tss2_RC_Decode(rc));
}

/* ---- open, close ---- */

typedef TSS2_RC tcti_init(TSS2_TCTI_CONTEXT *ctx, size_t *size, const char *conf);

static int tcti_open(tcti_init *init, const char *conf, TSS2_TCTI_CONTEXT **ret, struct cf_err *err)
{
	size_t size = 0;
	TSS2_RC rc = init(NULL, &size, conf);
	TSS2_TCTI_CONTEXT *tcti;

	if (rc != TSS2_RC_SUCCESS)
		return aa_tpm_fail(err, rc, conf);
	tcti = cf_zalloc(size);
	rc = init(tcti, &size, conf);
	if (rc != TSS2_RC_SUCCESS) {
		free(tcti);
		return cf_fail(err, CF_UNAVAILABLE, "TPM %s: %s", conf, Tss2_RC_Decode(rc));
	}
	*ret = tcti;
	return 0;
}

static int tcti_for(const char *device, TSS2_TCTI_CONTEXT **ret, struct cf_err *err)
{
	const char *swtpm = cf_after(device, "swtpm:");
	const char *path = cf_after(device, "device:");

	if (swtpm)
		return tcti_open(Tss2_Tcti_Swtpm_Init, swtpm, ret, err);
	if (!path)
		path = device;
	if (*path != '/')
		return cf_fail(err, CF_INVALID_ARGUMENT, "TPM \"%s\": want a device's path",
		               device);
	if (access(path, R_OK | W_OK) < 0)
		return cf_fail_errno(err, errno, "TPM %s", path);
	return tcti_open(Tss2_Tcti_Device_Init, path, ret, err);
}

int aa_tpm_open(const char *device, enum aa_tpm_ak ak, struct aa_tpm **ret, struct cf_err *err)
{
	cf_cleanup(aa_tpm_closep) struct aa_tpm *t = cf_zalloc(sizeof(*t));
	int r;

	t->ak_kind = ak;
	t->ak = ESYS_TR_NONE;
	t->ek = ESYS_TR_NONE;
	r = tcti_for(device, &t->tcti, err);
	if (r < 0)
		return r;
	TSS2_RC rc = Esys_Initialize(&t->esys, t->tcti, NULL);
	if (rc != TSS2_RC_SUCCESS)
		return aa_tpm_fail(err, rc, device);
	*ret = cf_take(&t);
	return 0;
}

void aa_tpm_flush(struct aa_tpm *t, uint32_t *tr)
{
	if (*tr != ESYS_TR_NONE)
		Esys_FlushContext(t->esys, *tr);
	*tr = ESYS_TR_NONE;
}

struct aa_tpm *aa_tpm_close(struct aa_tpm *t)
{
	if (!t)
		return NULL;
	if (t->esys) {
		aa_tpm_flush(t, &t->ak);
		aa_tpm_flush(t, &t->ek);
		Esys_Finalize(&t->esys);
	}
	if (t->tcti) {
		Tss2_Tcti_Finalize(t->tcti);
		free(t->tcti);
	}
	aa_tpm_ek_fini(&t->known);
	cf_buf_fini(&t->ak_tpm2b);
	cf_buf_fini(&t->ak_spki);
	free(t);
	return NULL;
}

/* ---- public areas ---- */

int aa_tpm_public_bytes(const void *pub, struct cf_buf *ret, struct cf_err *err)
{
	uint8_t bytes[sizeof(TPM2B_PUBLIC)];
	size_t n = 0;
	TSS2_RC rc = Tss2_MU_TPM2B_PUBLIC_Marshal(pub, bytes, sizeof(bytes), &n);

	if (rc != TSS2_RC_SUCCESS)
		return aa_tpm_fail(err, rc, "public area");
	cf_buf_add(ret, bytes, n);
	return cf_buf_check(ret, "public area", err);
}

int aa_tpm_public_key(struct cf_view tpm2b, struct cf_pkey **ret, struct cf_err *err)
{
	struct tpm2_public pub;
	int r = tpm2_public_parse(tpm2b, &pub, err);

	return r < 0 ? r : tpm2_public_key(&pub, ret, err);
}

/* ---- the attestation key ---- */

/* noDA: the key has no password to guess, and a killed VM must not count as a guess. */
#define AK_ATTRIBUTES                                                                              \
	(TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_SENSITIVEDATAORIGIN |        \
	 TPMA_OBJECT_USERWITHAUTH | TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_SIGN_ENCRYPT |            \
	 TPMA_OBJECT_NODA)

static void ak_template_rsa(TPM2B_PUBLIC *p)
{
	TPMS_RSA_PARMS *rsa = &p->publicArea.parameters.rsaDetail;

	p->publicArea.type = TPM2_ALG_RSA;
	rsa->symmetric.algorithm = TPM2_ALG_NULL;
	rsa->scheme.scheme = TPM2_ALG_RSASSA;
	rsa->scheme.details.rsassa.hashAlg = TPM2_ALG_SHA256;
	rsa->keyBits = 2048;
	p->publicArea.unique.rsa.size = 32;
	cf_random(p->publicArea.unique.rsa.buffer, 32);
}

static void ak_template_ecc(TPM2B_PUBLIC *p)
{
	TPMS_ECC_PARMS *ecc = &p->publicArea.parameters.eccDetail;

	p->publicArea.type = TPM2_ALG_ECC;
	ecc->symmetric.algorithm = TPM2_ALG_NULL;
	ecc->scheme.scheme = TPM2_ALG_ECDSA;
	ecc->scheme.details.ecdsa.hashAlg = TPM2_ALG_SHA256;
	ecc->curveID = TPM2_ECC_NIST_P256;
	ecc->kdf.scheme = TPM2_ALG_NULL;
	p->publicArea.unique.ecc.x.size = 32;
	cf_random(p->publicArea.unique.ecc.x.buffer, 32);
}

/*
 * A primary key of the owner hierarchy with random bytes in its template: another key after each
 * start, nothing to store, nothing that links two runs of a guest.
 */
static int make_ak(struct aa_tpm *t, struct cf_err *err)
{
	TPM2B_PUBLIC in = { 0 }, *out = NULL;
	TPM2B_SENSITIVE_CREATE sensitive = { 0 };
	TPM2B_DATA outside = { 0 };
	TPML_PCR_SELECTION no_pcrs = { 0 };
	TSS2_RC rc;

	in.publicArea.nameAlg = TPM2_ALG_SHA256;
	in.publicArea.objectAttributes = AK_ATTRIBUTES;
	if (t->ak_kind == AA_TPM_AK_RSA)
		ak_template_rsa(&in);
	else
		ak_template_ecc(&in);
	rc = Esys_CreatePrimary(t->esys, ESYS_TR_RH_OWNER, ESYS_TR_PASSWORD, ESYS_TR_NONE,
	                        ESYS_TR_NONE, &sensitive, &in, &outside, &no_pcrs, &t->ak, &out,
	                        NULL, NULL, NULL);
	if (rc != TSS2_RC_SUCCESS) {
		t->ak = ESYS_TR_NONE;
		return aa_tpm_fail(err, rc, "make an attestation key");
	}
	int r = aa_tpm_public_bytes(out, &t->ak_tpm2b, err);
	Esys_Free(out);
	return r;
}

int aa_tpm_ak_public(struct aa_tpm *t, struct cf_view *ret_tpm2b, struct cf_view *ret_spki,
                     struct cf_err *err)
{
	cf_cleanup(cf_pkey_freep) struct cf_pkey *key = NULL;
	int r = 0;

	if (t->ak == ESYS_TR_NONE) {
		cf_buf_reset(&t->ak_tpm2b);
		cf_buf_reset(&t->ak_spki);
		r = make_ak(t, err);
		if (r == 0)
			r = aa_tpm_public_key(cf_buf_view(&t->ak_tpm2b), &key, err);
		if (r == 0)
			r = cf_pkey_to_spki_der(key, &t->ak_spki, err);
		if (r < 0) {
			aa_tpm_flush(t, &t->ak);
			return r;
		}
	}
	*ret_tpm2b = cf_buf_view(&t->ak_tpm2b);
	*ret_spki = cf_buf_view(&t->ak_spki);
	return 0;
}

/* ---- activation ---- */

static int endorsement_session(struct aa_tpm *t, uint32_t *ret, struct cf_err *err)
{
	const TPMT_SYM_DEF no_cipher = { .algorithm = TPM2_ALG_NULL };
	TSS2_RC rc = Esys_StartAuthSession(t->esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
	                                   ESYS_TR_NONE, ESYS_TR_NONE, NULL, TPM2_SE_POLICY,
	                                   &no_cipher, TPM2_ALG_SHA256, ret);

	if (rc != TSS2_RC_SUCCESS)
		return aa_tpm_fail(err, rc, "start a policy session");
	rc = Esys_PolicySecret(t->esys, ESYS_TR_RH_ENDORSEMENT, *ret, ESYS_TR_PASSWORD,
	                       ESYS_TR_NONE, ESYS_TR_NONE, NULL, NULL, NULL, 0, NULL, NULL);
	if (rc != TSS2_RC_SUCCESS) {
		aa_tpm_flush(t, ret);
		return aa_tpm_fail(err, rc, "authorise the endorsement key");
	}
	return 0;
}

static int parse_credential(struct cf_view blob, struct cf_view secret, TPM2B_ID_OBJECT *id,
                            TPM2B_ENCRYPTED_SECRET *enc, struct cf_err *err)
{
	size_t at = 0;

	if (Tss2_MU_TPM2B_ID_OBJECT_Unmarshal(blob.data, blob.size, &at, id) != TSS2_RC_SUCCESS ||
	    at != blob.size)
		return cf_fail(err, CF_INVALID_ARGUMENT, "credential_blob: no TPM2B_ID_OBJECT");
	at = 0;
	if (Tss2_MU_TPM2B_ENCRYPTED_SECRET_Unmarshal(secret.data, secret.size, &at, enc) !=
	            TSS2_RC_SUCCESS ||
	    at != secret.size)
		return cf_fail(err, CF_INVALID_ARGUMENT, "secret: no TPM2B_ENCRYPTED_SECRET");
	return 0;
}

static int activate(struct aa_tpm *t, uint32_t ek, const TPM2B_ID_OBJECT *id,
                    const TPM2B_ENCRYPTED_SECRET *enc, struct cf_secret **ret, struct cf_err *err)
{
	bool wants_policy = aa_tpm_ek_wants_policy(t->ek_index);
	uint32_t session = ESYS_TR_PASSWORD;
	TPM2B_DIGEST *info = NULL;
	int r = wants_policy ? endorsement_session(t, &session, err) : 0;

	if (r < 0)
		return r;
	TSS2_RC rc = Esys_ActivateCredential(t->esys, t->ak, ek, ESYS_TR_PASSWORD, session,
	                                     ESYS_TR_NONE, id, enc, &info);
	if (wants_policy)
		aa_tpm_flush(t, &session); /* the command leaves it open when it fails */
	if (rc != TSS2_RC_SUCCESS)
		return cf_fail(err, CF_PERMISSION_DENIED,
		               "TPM: the credential is not for this TPM's key: %s",
		               Tss2_RC_Decode(rc));
	r = cf_secret_copy(cf_view(info->buffer, info->size), ret, err);
	explicit_bzero(info, sizeof(*info));
	Esys_Free(info);
	return r;
}

int aa_tpm_activate(struct aa_tpm *t, struct cf_view blob, struct cf_view secret,
                    struct cf_secret **ret, struct cf_err *err)
{
	TPM2B_ID_OBJECT id = { 0 };
	TPM2B_ENCRYPTED_SECRET enc = { 0 };
	struct cf_buf ek_public = { 0 };
	int r = parse_credential(blob, secret, &id, &enc, err);

	if (r < 0)
		return r;
	if (!t->ek_index || t->ak == ESYS_TR_NONE)
		return cf_fail(err, CF_FAILED_PRECONDITION,
		               "TPM: no endorsement certificate was sent");
	if (t->ek == ESYS_TR_NONE)
		r = aa_tpm_make_ek(t, t->ek_index, &t->ek, &ek_public, err);
	if (r == 0)
		r = activate(t, t->ek, &id, &enc, ret, err);
	aa_tpm_flush(t, &t->ek);
	cf_buf_fini(&ek_public);
	return r;
}
