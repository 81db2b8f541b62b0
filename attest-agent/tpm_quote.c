/* SPDX-License-Identifier: Apache-2.0 */
/* Quotes with the PCR values that they cover, and single PCRs. */
#include "attest-agent/tpm.h"
#include "attest-agent/tpm_priv.h"
#include "proto/tpm2.h"

#include <tss2/tss2_esys.h>
#include <tss2/tss2_mu.h>

#define ALL_PCRS 0xffffffu

static TPML_PCR_SELECTION select_pcrs(uint32_t mask)
{
	TPML_PCR_SELECTION s = { .count = 1 };

	s.pcrSelections[0].hash = TPM2_ALG_SHA256;
	s.pcrSelections[0].sizeofSelect = 3;
	for (unsigned i = 0; i < 3; i++)
		s.pcrSelections[0].pcrSelect[i] = (uint8_t)(mask >> 8 * i);
	return s;
}

static uint32_t selected(const TPML_PCR_SELECTION *s)
{
	uint32_t mask = 0;

	if (s->count != 1 || s->pcrSelections[0].hash != TPM2_ALG_SHA256)
		return 0;
	for (unsigned i = 0; i < 3 && i < s->pcrSelections[0].sizeofSelect; i++)
		mask |= (uint32_t)s->pcrSelections[0].pcrSelect[i] << 8 * i;
	return mask;
}

/* A TPM gives at most eight values at once and says which. *mask: those still wanted. */
static int read_some(struct aa_tpm *t, uint32_t *mask, uint8_t pcr[][32], struct cf_err *err)
{
	TPML_PCR_SELECTION in = select_pcrs(*mask), *out = NULL;
	TPML_DIGEST *values = NULL;
	TSS2_RC rc = Esys_PCR_Read(t->esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &in, NULL,
	                           &out, &values);
	size_t k = 0;
	int r = 0;

	if (rc != TSS2_RC_SUCCESS)
		return aa_tpm_fail(err, rc, "read PCRs");

	uint32_t got = selected(out) & *mask;

	for (unsigned i = 0; r == 0 && i < AA_TPM_PCR_COUNT; i++) {
		if (!(got & 1u << i))
			continue;
		if (k >= values->count || values->digests[k].size != 32)
			r = cf_fail(err, CF_DATA_LOSS, "TPM: PCR values are missing");
		else
			memcpy(pcr[i], values->digests[k++].buffer, 32);
	}
	if (r == 0 && !got)
		r = cf_fail(err, CF_UNIMPLEMENTED, "TPM: no SHA-256 PCR bank");
	*mask &= ~got;
	Esys_Free(out);
	Esys_Free(values);
	return r;
}

static int read_pcrs(struct aa_tpm *t, uint32_t mask, uint8_t pcr[][32], struct cf_err *err)
{
	int r = 0;

	while (r == 0 && mask)
		r = read_some(t, &mask, pcr, err);
	return r;
}

int aa_tpm_pcr_read(struct aa_tpm *t, unsigned pcr, uint8_t ret[32], struct cf_err *err)
{
	uint8_t all[AA_TPM_PCR_COUNT][32] = { { 0 } };
	int r;

	if (pcr >= AA_TPM_PCR_COUNT)
		return cf_fail(err, CF_OUT_OF_RANGE, "PCR %u", pcr);
	r = read_pcrs(t, 1u << pcr, all, err);
	if (r == 0)
		memcpy(ret, all[pcr], 32);
	return r;
}

int aa_tpm_pcr_extend(struct aa_tpm *t, unsigned pcr, const uint8_t sha256[32], struct cf_err *err)
{
	TPML_DIGEST_VALUES values = { .count = 1 };

	if (pcr >= AA_TPM_PCR_COUNT)
		return cf_fail(err, CF_OUT_OF_RANGE, "PCR %u", pcr);
	values.digests[0].hashAlg = TPM2_ALG_SHA256;
	memcpy(values.digests[0].digest.sha256, sha256, 32);
	TSS2_RC rc = Esys_PCR_Extend(t->esys, ESYS_TR_PCR0 + pcr, ESYS_TR_PASSWORD, ESYS_TR_NONE,
	                             ESYS_TR_NONE, &values);
	if ((rc & 0xfffu) == TPM2_RC_LOCALITY)
		return cf_fail(err, CF_UNIMPLEMENTED,
		               "PCR %u cannot be extended from this locality", pcr);
	return rc == TSS2_RC_SUCCESS ? 0 : aa_tpm_fail(err, rc, "extend a PCR");
}

/* ---- quotes ---- */

void aa_tpm_quote_fini(struct aa_tpm_quote *q)
{
	cf_buf_fini(&q->message);
	cf_buf_fini(&q->signature);
}

static int sign_quote(struct aa_tpm *t, struct cf_view nonce, struct aa_tpm_quote *q,
                      struct cf_err *err)
{
	const TPMT_SIG_SCHEME of_the_key = { .scheme = TPM2_ALG_NULL };
	const TPML_PCR_SELECTION all = select_pcrs(ALL_PCRS);
	TPM2B_DATA data = { .size = (uint16_t)nonce.size };
	TPM2B_ATTEST *message = NULL;
	TPMT_SIGNATURE *signature = NULL;
	uint8_t bytes[sizeof(TPMT_SIGNATURE)];
	size_t n = 0;

	memcpy(data.buffer, nonce.data, nonce.size);
	TSS2_RC rc = Esys_Quote(t->esys, t->ak, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, &data,
	                        &of_the_key, &all, &message, &signature);
	if (rc != TSS2_RC_SUCCESS)
		return aa_tpm_fail(err, rc, "quote");
	rc = Tss2_MU_TPMT_SIGNATURE_Marshal(signature, bytes, sizeof(bytes), &n);
	cf_buf_reset(&q->message);
	cf_buf_reset(&q->signature);
	cf_buf_add(&q->message, message->attestationData, message->size);
	cf_buf_add(&q->signature, bytes, n);
	Esys_Free(message);
	Esys_Free(signature);
	return rc == TSS2_RC_SUCCESS ? 0 : aa_tpm_fail(err, rc, "signature");
}

/* Do the values read afterwards hash to what was signed? */
static bool covers(const struct aa_tpm_quote *q, struct cf_err *err)
{
	struct tpm2_quote parsed;
	uint8_t digest[32];

	cf_sha256(cf_view(q->pcr, sizeof(q->pcr)), digest);
	return tpm2_quote_parse(cf_buf_view(&q->message), &parsed, err) == 0 &&
	       parsed.pcr_mask == ALL_PCRS &&
	       cf_view_eq(parsed.pcr_digest, cf_view(digest, sizeof(digest)));
}

int aa_tpm_quote(struct aa_tpm *t, struct cf_view nonce, struct aa_tpm_quote *ret,
                 struct cf_err *err)
{
	struct aa_tpm_quote q = { 0 };
	struct cf_view tpm2b, spki;
	int r;

	if (nonce.size > 32)
		return cf_fail(err, CF_INVALID_ARGUMENT, "TPM: %zu bytes to quote over, at most 32",
		               nonce.size);
	r = aa_tpm_ak_public(t, &tpm2b, &spki, err);
	for (int try = 0; r == 0 && try < AA_TPM_QUOTE_RETRIES; try++) {
		r = sign_quote(t, nonce, &q, err);
		if (r == 0)
			r = read_pcrs(t, ALL_PCRS, q.pcr, err);
		if (r == 0 && covers(&q, err)) {
			*ret = q;
			return 0;
		}
	}
	if (r == 0)
		r = cf_fail(err, CF_ABORTED, "TPM: the PCRs changed under each of %d quotes",
		            AA_TPM_QUOTE_RETRIES);
	aa_tpm_quote_fini(&q);
	return r;
}
