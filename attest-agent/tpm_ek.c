/* SPDX-License-Identifier: Apache-2.0 */
/* Endorsement keys: default templates, certificates in NV, and which of them belong together. */
#include "attest-agent/tpm.h"
#include "attest-agent/tpm_priv.h"

#include <tss2/tss2_esys.h>

#define NV_CHUNK       512u /* every TPM reads so much at once */
#define NV_CHAIN_FIRST 0x01c00100u
#define NV_CHAIN_LAST  0x01c001ffu
#define HANDLES_MAX    64u

/* PolicySecret(endorsement): what the low-range templates carry. */
static const uint8_t policy_a_sha256[32] = {
	0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc,
	0x8d, 0x46, 0xa5, 0xd7, 0x24, 0xfd, 0x52, 0xd7, 0x6e, 0x06, 0x52,
	0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa,
};
/* PolicyOR of several: the high range also takes the empty password. */
static const uint8_t policy_b_sha384[48] = {
	0xb2, 0x6e, 0x7d, 0x28, 0xd1, 0x1a, 0x50, 0xbc, 0x53, 0xd8, 0x82, 0xbc,
	0xf5, 0xfd, 0x3a, 0x1a, 0x07, 0x41, 0x48, 0xbb, 0x35, 0xd3, 0xb4, 0xe4,
	0xcb, 0x1c, 0x0a, 0xd9, 0xbd, 0xe4, 0x19, 0xca, 0xcb, 0x47, 0xba, 0x09,
	0x69, 0x96, 0x46, 0x15, 0x0f, 0x9f, 0xc0, 0x00, 0xf3, 0xf8, 0x0e, 0x12,
};

#define EK_ATTRIBUTES                                                                              \
	(TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_SENSITIVEDATAORIGIN |        \
	 TPMA_OBJECT_ADMINWITHPOLICY | TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT)

static void template_rsa2048(TPM2B_PUBLIC *p)
{
	TPMS_RSA_PARMS *rsa = &p->publicArea.parameters.rsaDetail;

	p->publicArea.type = TPM2_ALG_RSA;
	rsa->symmetric.algorithm = TPM2_ALG_AES;
	rsa->symmetric.keyBits.aes = 128;
	rsa->symmetric.mode.aes = TPM2_ALG_CFB;
	rsa->scheme.scheme = TPM2_ALG_NULL;
	rsa->keyBits = 2048;
	p->publicArea.unique.rsa.size = 256;
}

static void template_ecc(TPM2B_PUBLIC *p, TPMI_ECC_CURVE curve, uint16_t aes_bits, uint16_t unique)
{
	TPMS_ECC_PARMS *ecc = &p->publicArea.parameters.eccDetail;

	p->publicArea.type = TPM2_ALG_ECC;
	ecc->symmetric.algorithm = TPM2_ALG_AES;
	ecc->symmetric.keyBits.aes = aes_bits;
	ecc->symmetric.mode.aes = TPM2_ALG_CFB;
	ecc->scheme.scheme = TPM2_ALG_NULL;
	ecc->curveID = curve;
	ecc->kdf.scheme = TPM2_ALG_NULL;
	p->publicArea.unique.ecc.x.size = unique;
	p->publicArea.unique.ecc.y.size = unique;
}

static void template_p256(TPM2B_PUBLIC *p)
{
	template_ecc(p, TPM2_ECC_NIST_P256, 128, 32);
}

static void template_p384(TPM2B_PUBLIC *p)
{
	template_ecc(p, TPM2_ECC_NIST_P384, 256, 0);
}

static const struct ek_row {
	uint32_t index;
	TPMI_ALG_HASH name_alg;
	const uint8_t *policy;
	uint16_t policy_size;
	uint32_t more_attributes;
	bool wants_policy;
	void (*fill)(TPM2B_PUBLIC *p);
} rows[] = {
	{ 0x01c00002, TPM2_ALG_SHA256, policy_a_sha256, 32, 0, true, template_rsa2048 },
	{ 0x01c0000a, TPM2_ALG_SHA256, policy_a_sha256, 32, 0, true, template_p256 },
	{ 0x01c00016, TPM2_ALG_SHA384, policy_b_sha384, 48, TPMA_OBJECT_USERWITHAUTH, false,
	  template_p384 },
};

static const struct ek_row *row_of(uint32_t index)
{
	for (size_t i = 0; i < CF_ARRAY_LEN(rows); i++)
		if (rows[i].index == index)
			return &rows[i];
	return NULL;
}

bool aa_tpm_ek_wants_policy(uint32_t index)
{
	const struct ek_row *row = row_of(index);

	return !row || row->wants_policy;
}

int aa_tpm_make_ek(struct aa_tpm *t, uint32_t index, uint32_t *ret_tr, struct cf_buf *ret_public,
                   struct cf_err *err)
{
	const struct ek_row *row = row_of(index);
	TPM2B_PUBLIC in = { 0 }, *out = NULL;
	TPM2B_SENSITIVE_CREATE sensitive = { 0 };
	TPM2B_DATA outside = { 0 };
	TPML_PCR_SELECTION no_pcrs = { 0 };

	in.publicArea.nameAlg = row->name_alg;
	in.publicArea.objectAttributes = EK_ATTRIBUTES | row->more_attributes;
	in.publicArea.authPolicy.size = row->policy_size;
	memcpy(in.publicArea.authPolicy.buffer, row->policy, row->policy_size);
	row->fill(&in);
	TSS2_RC rc = Esys_CreatePrimary(t->esys, ESYS_TR_RH_ENDORSEMENT, ESYS_TR_PASSWORD,
	                                ESYS_TR_NONE, ESYS_TR_NONE, &sensitive, &in, &outside,
	                                &no_pcrs, ret_tr, &out, NULL, NULL, NULL);
	if (rc != TSS2_RC_SUCCESS) {
		*ret_tr = ESYS_TR_NONE;
		return aa_tpm_fail(err, rc, "make the endorsement key");
	}
	int r = aa_tpm_public_bytes(out, ret_public, err);
	Esys_Free(out);
	if (r < 0)
		aa_tpm_flush(t, ret_tr);
	return r;
}

/* ---- NV ---- */

static int nv_size(struct aa_tpm *t, ESYS_TR nv, size_t *ret, struct cf_err *err)
{
	TPM2B_NV_PUBLIC *pub = NULL;
	TSS2_RC rc = Esys_NV_ReadPublic(t->esys, nv, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &pub,
	                                NULL);

	if (rc != TSS2_RC_SUCCESS)
		return aa_tpm_fail(err, rc, "read an NV index's description");
	*ret = pub->nvPublic.dataSize;
	Esys_Free(pub);
	return 0;
}

static int nv_read_all(struct aa_tpm *t, ESYS_TR nv, size_t size, struct cf_buf *ret,
                       struct cf_err *err)
{
	for (size_t at = 0; at < size;) {
		TPM2B_MAX_NV_BUFFER *part = NULL;
		uint16_t n = (uint16_t)CF_MIN(size - at, (size_t)NV_CHUNK);
		TSS2_RC rc = Esys_NV_Read(t->esys, nv, nv, ESYS_TR_PASSWORD, ESYS_TR_NONE,
		                          ESYS_TR_NONE, n, (uint16_t)at, &part);

		if (rc != TSS2_RC_SUCCESS)
			return aa_tpm_fail(err, rc, "read an NV index");
		size_t got = part->size;
		cf_buf_add(ret, part->buffer, got);
		Esys_Free(part);
		if (got == 0)
			return cf_fail(err, CF_DATA_LOSS, "TPM: an NV index ends early");
		at += got;
	}
	return cf_buf_check(ret, "NV index", err);
}

/* The content of an NV index. -CF_NOT_FOUND when there is none. */
static int nv_read(struct aa_tpm *t, uint32_t index, struct cf_buf *ret, struct cf_err *err)
{
	ESYS_TR nv = ESYS_TR_NONE;
	size_t size = 0;
	TSS2_RC rc = Esys_TR_FromTPMPublic(t->esys, index, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
	                                   &nv);
	int r;

	if (rc != TSS2_RC_SUCCESS)
		return cf_fail(err, CF_NOT_FOUND, "TPM: no NV index 0x%08x", index);
	r = nv_size(t, nv, &size, err);
	if (r == 0 && size > AA_TPM_CERT_MAX)
		r = cf_fail(err, CF_RESOURCE_EXHAUSTED, "TPM: NV index 0x%08x has %zu bytes", index,
		            size);
	if (r == 0)
		r = nv_read_all(t, nv, size, ret, err);
	Esys_TR_Close(t->esys, &nv);
	return r;
}

/* Length of the DER SEQUENCE at the start of @v; 0 when there is none. Indices may be padded. */
static size_t der_size(struct cf_view v)
{
	if (v.size < 4 || v.data[0] != 0x30)
		return 0;
	if (v.data[1] < 0x80)
		return CF_MIN(v.size, (size_t)v.data[1] + 2);
	if (v.data[1] != 0x82)
		return 0;
	size_t n = ((size_t)v.data[2] << 8 | v.data[3]) + 4;
	return n <= v.size ? n : 0;
}

/* ---- certificate and key ---- */

static bool cert_fits_key(struct cf_view der, struct cf_view tpm2b, struct cf_err *err)
{
	cf_cleanup(cf_cert_freep) struct cf_cert *cert = NULL;
	cf_cleanup(cf_pkey_freep) struct cf_pkey *of_cert = NULL;
	cf_cleanup(cf_pkey_freep) struct cf_pkey *of_tpm = NULL;

	return cf_cert_parse(der, &cert, err) == 0 && cf_cert_pkey(cert, &of_cert, err) == 0 &&
	       aa_tpm_public_key(tpm2b, &of_tpm, err) == 0 && cf_pkey_equal_public(of_cert, of_tpm);
}

/* True with @cert filled when this index's certificate is of this TPM's key. */
static bool try_index(struct aa_tpm *t, uint32_t index, struct cf_buf *cert, struct cf_err *err)
{
	struct cf_buf nv = { .max = AA_TPM_CERT_MAX }, pub = { 0 };
	bool fits = false;

	aa_tpm_flush(t, &t->ek);
	if (nv_read(t, index, &nv, err) == 0 && der_size(cf_buf_view(&nv)) > 0 &&
	    aa_tpm_make_ek(t, index, &t->ek, &pub, err) == 0) {
		struct cf_view der = cf_view_sub(cf_buf_view(&nv), 0, der_size(cf_buf_view(&nv)));

		fits = cert_fits_key(der, cf_buf_view(&pub), err);
		if (fits)
			cf_buf_add_view(cert, der);
	}
	if (!fits)
		aa_tpm_flush(t, &t->ek);
	cf_buf_fini(&nv);
	cf_buf_fini(&pub);
	return fits;
}

/* Every DER certificate that lies in an index of the chain range, one after the other. */
static void add_chain(struct aa_tpm_ek *ek, struct cf_view bytes)
{
	size_t n;

	while ((n = der_size(bytes)) > 0 && ek->chain_count < AA_TPM_CHAIN_MAX) {
		cf_buf_add_view(&ek->chain[ek->chain_count++], cf_view_sub(bytes, 0, n));
		bytes = cf_view_sub(bytes, n, bytes.size);
	}
}

static void read_chain(struct aa_tpm *t, struct aa_tpm_ek *ek)
{
	TPMS_CAPABILITY_DATA *caps = NULL;
	TPMI_YES_NO more;
	TSS2_RC rc =
		Esys_GetCapability(t->esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
	                           TPM2_CAP_HANDLES, NV_CHAIN_FIRST, HANDLES_MAX, &more, &caps);

	if (rc != TSS2_RC_SUCCESS)
		return;
	for (size_t i = 0; i < caps->data.handles.count; i++) {
		uint32_t index = caps->data.handles.handle[i];
		struct cf_buf nv = { .max = AA_TPM_CERT_MAX };

		if (index <= NV_CHAIN_LAST && nv_read(t, index, &nv, NULL) == 0)
			add_chain(ek, cf_buf_view(&nv));
		cf_buf_fini(&nv);
	}
	Esys_Free(caps);
}

void aa_tpm_ek_fini(struct aa_tpm_ek *ek)
{
	cf_buf_fini(&ek->cert);
	for (size_t i = 0; i < AA_TPM_CHAIN_MAX; i++)
		cf_buf_fini(&ek->chain[i]);
	*ek = (struct aa_tpm_ek){ 0 };
}

int aa_tpm_ek_at(struct aa_tpm *t, uint32_t index, struct aa_tpm_ek *ret, struct cf_err *err)
{
	struct aa_tpm_ek ek = { 0 };

	t->ek_index = 0;
	if (!row_of(index) || !try_index(t, index, &ek.cert, err))
		return AA_TPM_E_NO_EK;
	t->ek_index = index;
	read_chain(t, &ek);
	*ret = ek;
	return 0;
}

static void copy_ek(const struct aa_tpm_ek *from, struct aa_tpm_ek *to)
{
	*to = (struct aa_tpm_ek){ .chain_count = from->chain_count };
	cf_buf_add_view(&to->cert, cf_buf_view(&from->cert));
	for (size_t i = 0; i < from->chain_count; i++)
		cf_buf_add_view(&to->chain[i], cf_buf_view(&from->chain[i]));
}

int aa_tpm_ek(struct aa_tpm *t, struct aa_tpm_ek *ret, struct cf_err *err)
{
	int r = t->known.cert.size ? 0 : AA_TPM_E_NO_EK;

	for (size_t i = 0; r == AA_TPM_E_NO_EK && i < CF_ARRAY_LEN(rows); i++)
		r = aa_tpm_ek_at(t, rows[i].index, &t->known, err);
	if (r == 0)
		copy_ek(&t->known, ret);
	return r;
}
