/* SPDX-License-Identifier: Apache-2.0 */
#include "kbs/dcap_check.h"

#include "kbs/intel_root.h"

#include <string.h>

#define PCK_CERTS_MAX 6u
#define PEM_BEGIN     "-----BEGIN CERTIFICATE-----"
#define PEM_END       "-----END CERTIFICATE-----"

struct pck {
	struct cf_cert *certs[PCK_CERTS_MAX]; /* leaf first */
	size_t count;
	struct cf_cert *root;
};

static void pck_fini(struct pck *p)
{
	for (size_t i = 0; i < p->count; i++)
		cf_cert_free(p->certs[i]);
	cf_cert_free(p->root);
}

static struct verdict_check *covering(struct verdict_check *c, const char *covers)
{
	c->covers = cf_strdup(covers);
	return c;
}

static int parse_chain(struct cf_view pem, struct pck *p, struct cf_err *err)
{
	cf_cleanup(cf_buf_fini) struct cf_buf text = { 0 };
	const char *at;
	int r = 0;

	cf_buf_add_view(&text, pem);
	for (at = text.data ? strstr((char *)text.data, PEM_BEGIN) : NULL; r == 0 && at;
	     at = strstr(at + 1, PEM_BEGIN)) {
		const char *end = strstr(at, PEM_END);

		if (!end || p->count >= PCK_CERTS_MAX)
			return cf_fail(err, CF_INVALID_ARGUMENT, "malformed certificates");
		r = cf_cert_parse(cf_view(at, (size_t)(end - at) + strlen(PEM_END)),
		                  &p->certs[p->count], err);
		if (r == 0)
			p->count++;
	}
	if (r == 0 && p->count == 0)
		return cf_fail(err, CF_INVALID_ARGUMENT, "no certificate");
	return r < 0 ? r : cf_cert_parse(cf_view_str(intel_sgx_root), &p->root, err);
}

static bool check_chain(const struct verify_input *in, const struct dcap_quote *q, struct pck *p,
                        struct verdict *v)
{
	struct cf_chain_opts opts = { .roots = &p->root, .root_count = 1, .at = in->now };
	struct cf_err err;
	int r = parse_chain(q->pck_chain, p, &err);

	if (r == 0) {
		opts.intermediates = p->certs + 1;
		opts.intermediate_count = p->count - 1;
		r = cf_cert_verify(p->certs[0], &opts, NULL, &err);
	}
	if (r < 0) {
		covering(verdict_refuse(
				 v, "pck-chain",
				 "the platform's certificate does not end at Intel's root: %s",
				 err.msg),
		         "Intel's certificate of the platform");
		return false;
	}
	v->anchor = cf_cert_subject(p->root);
	v->anchor_kind = cf_strdup("Intel");
	covering(verdict_ok(v, "pck-chain"), "Intel's certificate of the platform");
	return true;
}

static bool signature_fits(const struct cf_pkey *key, struct cf_view data, struct cf_view sig)
{
	return cf_pkey_verify(key, CF_SIG_ECDSA_RAW, CF_SHA256, data, sig, NULL) == 0;
}

/* The quoting enclave vouches for the attestation key in its report data. */
static bool check_enclave(const struct dcap_quote *q, const struct pck *p, struct verdict *v)
{
	cf_cleanup(cf_pkey_freep) struct cf_pkey *key = NULL;
	cf_cleanup(cf_hasher_freep) struct cf_hasher *h = cf_hasher_new(CF_SHA256);
	uint8_t want[64] = { 0 };

	if (cf_cert_pkey(p->certs[0], &key, NULL) < 0 ||
	    !signature_fits(key, q->qe_report, q->qe_signature)) {
		covering(verdict_refuse(
				 v, "qe-signature",
				 "the quoting enclave's report is not signed by this platform"),
		         "quoting enclave");
		return false;
	}
	cf_hasher_add(h, q->attestation_key);
	cf_hasher_add(h, q->qe_auth);
	cf_hasher_final(h, want);
	if (!cf_view_eq(cf_view_sub(q->qe_report, 320, 64), cf_view(want, sizeof(want)))) {
		covering(verdict_refuse(v, "qe-binding",
		                        "the quoting enclave vouches for another attestation key"),
		         "quoting enclave");
		return false;
	}
	covering(verdict_ok(v, "qe-signature"), "quoting enclave");
	return true;
}

static bool check_quote_signature(const struct dcap_quote *q, struct verdict *v)
{
	cf_cleanup(cf_pkey_freep) struct cf_pkey *key = NULL;
	struct cf_view none = { 0 };

	if (cf_pkey_from_ec(CF_PKEY_EC_P256, cf_view_sub(q->attestation_key, 0, 32),
	                    cf_view_sub(q->attestation_key, 32, 32), none, &key, NULL) == 0 &&
	    signature_fits(key, q->signed_part, q->signature)) {
		covering(verdict_ok(v, "quote-signature"), "quote");
		return true;
	}
	covering(verdict_refuse(v, "quote-signature",
	                        "the quote is not signed by its attestation key"),
	         "quote");
	return false;
}

bool dcap_check_quote(const struct verify_input *in, const struct dcap_quote *q, struct verdict *v)
{
	cf_cleanup(pck_fini) struct pck p = { 0 };

	if (!check_chain(in, q, &p, v) || !check_enclave(q, &p, v) || !check_quote_signature(q, v))
		return false;
	covering(verdict_skip(v, "collateral",
	                      "Intel's TCB information and revocation lists were not "
	                      "looked at: the platform may be out of date"),
	         "firmware of the platform");
	v->trust[VERDICT_HARDWARE] = in->is_offline ? 2 : 32;
	return true;
}

/* ---- claims ---- */

struct field {
	const char *name;
	size_t at, size;
};

static const struct field header_fields[] = {
	{ "version", 0, 2 },  { "att_key_type", 2, 2 }, { "tee_type", 4, 4 },
	{ "reserved", 8, 4 }, { "vendor_id", 12, 16 },  { "user_data", 28, 20 },
};
static const struct field tdx_fields[] = {
	{ "tcb_svn", 0, 16 },           { "mr_seam", 16, 48 },       { "mrsigner_seam", 64, 48 },
	{ "seam_attributes", 112, 8 },  { "td_attributes", 120, 8 }, { "xfam", 128, 8 },
	{ "mr_td", 136, 48 },           { "mr_config_id", 184, 48 }, { "mr_owner", 232, 48 },
	{ "mr_owner_config", 280, 48 }, { "rtmr_0", 328, 48 },       { "rtmr_1", 376, 48 },
	{ "rtmr_2", 424, 48 },          { "rtmr_3", 472, 48 },       { "report_data", 520, 64 },
	{ "tee_tcb_svn2", 584, 16 },    { "mr_servicetd", 600, 48 },
};
static const struct field sgx_fields[] = {
	{ "cpu_svn", 0, 16 },     { "misc_select", 16, 4 },     { "isv_ext_prod_id", 32, 16 },
	{ "attributes", 48, 16 }, { "mr_enclave", 64, 32 },     { "mr_signer", 128, 32 },
	{ "config_id", 192, 64 }, { "isv_prod_id", 256, 2 },    { "isv_svn", 258, 2 },
	{ "config_svn", 260, 2 }, { "isv_family_id", 304, 16 }, { "report_data", 320, 64 },
};

static void write_fields(const struct field *f, size_t count, struct cf_view in, struct cf_jw *w)
{
	cf_jw_obj(w);
	for (size_t i = 0; i < count; i++) {
		struct cf_view v = cf_view_sub(in, f[i].at, f[i].size);

		if (v.size != f[i].size)
			continue;
		cf_jw_key(w, f[i].name);
		cf_jw_hex(w, v);
	}
	cf_jw_end_obj(w);
}

void dcap_write_quote(const struct dcap_quote *q, struct cf_jw *w)
{
	cf_jw_key(w, "quote");
	cf_jw_obj(w);
	cf_jw_key(w, "header");
	write_fields(header_fields, CF_ARRAY_LEN(header_fields), q->header, w);
	cf_jw_key(w, "body");
	if (dcap_quote_is_tdx(q))
		write_fields(tdx_fields, CF_ARRAY_LEN(tdx_fields), q->body, w);
	else
		write_fields(sgx_fields, CF_ARRAY_LEN(sgx_fields), q->body, w);
	cf_jw_end_obj(w);
}
