/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Azure's confidential guests: a vTPM inside the guest's own trust boundary. The hardware report
 * (SNP or TDX) covers the "runtime data" in which the paravisor names the vTPM's attestation key; the
 * key's quote covers nonce and PCRs. Three generations of JSON.
 */
#include "kbs/dcap_check.h"
#include "kbs/snp_check.h"
#include "proto/pcr_predict.h"
#include "proto/tpm2.h"

#include <stdio.h>

#define HCL_SIZE_MAX      (64u << 10)
#define HCL_HW_AT         32u
#define HCL_VAR_HEADER_AT 1216u
#define HCL_VAR_AT        1236u
#define HCL_TYPE_SNP      2u
#define HCL_TYPE_TDX      4u
#define HCL_HASH_SHA256   1u
#define TDREPORT_DATA_AT  128u
#define AZ_PCRS           24u
#define AZ_MASK           0xffffffu
#define SIG_MAX           1024u
#define CERT_MAX          8192u

struct az_evidence {
	unsigned version;
	struct cf_buf hcl, message, signature, vcek, td_quote;
	uint8_t pcrs[AZ_PCRS][32];
	struct cf_view var; /* the runtime data's JSON, inside hcl */
	struct cf_json *var_doc;
	uint32_t report_type;
};

static void az_evidence_fini(struct az_evidence *ev)
{
	cf_buf_fini(&ev->hcl);
	cf_buf_fini(&ev->message);
	cf_buf_fini(&ev->signature);
	cf_buf_fini(&ev->vcek);
	cf_buf_fini(&ev->td_quote);
	cf_json_free(ev->var_doc);
}

/* ---- decoding: numbers in version 0, hex and base64url later ---- */

static int need_bytes(const struct cf_json *v, bool as_hex, size_t max, struct cf_buf *ret,
                      const char *what, struct cf_err *err)
{
	int r;

	ret->max = max;
	if (cf_json_type(v) == CF_JSON_ARRAY)
		r = snp_json_bytes(v, 0, ret, err);
	else if (cf_json_type(v) != CF_JSON_STRING)
		r = cf_fail(err, CF_INVALID_ARGUMENT, "missing");
	else if (as_hex)
		r = cf_hex_decode_buf(cf_json_str(v), ret, err);
	else if (cf_b64_decode(CF_B64_URL_PAD, cf_json_str(v), ret, err) == 0)
		r = 0;
	else
		r = cf_b64_decode(CF_B64_URL, cf_json_str(v), ret, err);
	return r < 0 ? cf_wrap(err, r, "%s", what) : 0;
}

static int parse_pcrs(const struct cf_json *list, struct az_evidence *ev, struct cf_err *err)
{
	if (cf_json_len(list) != AZ_PCRS)
		return cf_fail(err, CF_INVALID_ARGUMENT, "pcrs: %zu values", cf_json_len(list));
	for (size_t i = 0; i < AZ_PCRS; i++) {
		cf_cleanup(cf_buf_fini) struct cf_buf b = { 0 };
		int r = need_bytes(cf_json_at(list, i), true, 32, &b, "pcrs", err);

		if (r < 0)
			return r;
		if (b.size != 32)
			return cf_fail(err, CF_INVALID_ARGUMENT, "pcrs: a value of %zu bytes",
			               b.size);
		memcpy(ev->pcrs[i], b.data, 32);
	}
	return 0;
}

static int parse_vcek(const struct cf_json *v, struct az_evidence *ev, struct cf_err *err)
{
	ev->vcek.max = CERT_MAX;
	if (cf_view_starts_with(cf_json_str(v), "-----BEGIN")) {
		cf_buf_add_view(&ev->vcek, cf_json_str(v));
		return cf_buf_check(&ev->vcek, "vcek", err);
	}
	return need_bytes(v, false, CERT_MAX, &ev->vcek, "vcek", err);
}

static int parse_json(const struct cf_json *doc, bool is_snp, struct az_evidence *ev,
                      struct cf_err *err)
{
	const struct cf_json *quote = cf_json_get(doc, "tpm_quote");
	const struct cf_json *hcl = cf_json_get(doc, "hcl_report");
	uint64_t version = 0;
	int r = cf_json_opt_u64(doc, "version", &version, err);

	if (r < 0 || version > 2)
		return cf_fail(err, CF_INVALID_ARGUMENT, "version");
	ev->version = (unsigned)version;
	quote = quote ? quote : cf_json_get(doc, "quote");
	hcl = hcl ? hcl : cf_json_get(doc, "report");
	r = need_bytes(hcl, false, HCL_SIZE_MAX, &ev->hcl, "hcl_report", err);
	if (r == 0)
		r = need_bytes(cf_json_get(quote, "message"), true, TPM2_ATTEST_MAX, &ev->message,
		               "message", err);
	if (r == 0)
		r = need_bytes(cf_json_get(quote, "signature"), true, SIG_MAX, &ev->signature,
		               "signature", err);
	if (r == 0)
		r = parse_pcrs(cf_json_get(quote, "pcrs"), ev, err);
	if (r < 0)
		return r;
	return is_snp ? parse_vcek(cf_json_get(doc, "vcek"), ev, err)
	              : need_bytes(cf_json_get(doc, "td_quote"), false, DCAP_QUOTE_MAX,
	                           &ev->td_quote, "td_quote", err);
}

static int parse_hcl(struct az_evidence *ev, bool is_snp, struct cf_err *err)
{
	struct cf_view raw = cf_buf_view(&ev->hcl);
	struct cf_rd rd = { .in = raw, .pos = CF_MIN((size_t)HCL_VAR_HEADER_AT, raw.size) };
	uint32_t hash, size;
	int r;

	cf_rd_skip(&rd, 8); /* size, version */
	ev->report_type = cf_rd_u32le(&rd);
	hash = cf_rd_u32le(&rd);
	size = cf_rd_u32le(&rd);
	ev->var = cf_rd_bytes(&rd, size);
	if (rd.bad || !cf_view_starts_with(raw, "HCLA") || hash != HCL_HASH_SHA256 ||
	    ev->report_type != (is_snp ? HCL_TYPE_SNP : HCL_TYPE_TDX))
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "hcl_report: malformed, or of another TEE");
	r = cf_json_parse(ev->var, HCL_SIZE_MAX, &ev->var_doc, err);
	return r < 0 ? cf_wrap(err, r, "hcl_report") : 0;
}

static int parse_evidence(struct cf_view text, bool is_snp, struct az_evidence *ev,
                          struct cf_err *err)
{
	cf_cleanup(cf_json_freep) struct cf_json *doc = NULL;
	int r = cf_json_parse(text, EVIDENCE_SIZE_MAX, &doc, err);

	if (r == 0)
		r = parse_json(doc, is_snp, ev, err);
	if (r == 0)
		r = parse_hcl(ev, is_snp, err);
	return r < 0 ? cf_wrap(err, r, "Azure evidence") : 0;
}

/* ---- checks ---- */

static struct verdict_check *covering(struct verdict_check *c, const char *covers)
{
	c->covers = cf_strdup(covers);
	return c;
}

static int attestation_key(const struct az_evidence *ev, struct cf_pkey **ret, struct cf_err *err)
{
	const struct cf_json *keys = cf_json_get(ev->var_doc, "keys");

	for (size_t i = 0; i < cf_json_len(keys); i++) {
		const struct cf_json *k = cf_json_at(keys, i);
		cf_cleanup(cf_buf_fini) struct cf_buf n = { .max = 1024 }, e = { .max = 16 };
		int r;

		if (!cf_view_eq_str(cf_json_str(cf_json_get(k, "kid")), "HCLAkPub"))
			continue;
		r = cf_json_need_b64(k, "n", CF_B64_URL, &n, err);
		if (r == 0)
			r = cf_json_need_b64(k, "e", CF_B64_URL, &e, err);
		return r < 0 ? r : cf_pkey_from_rsa(cf_buf_view(&n), cf_buf_view(&e), ret, err);
	}
	return cf_fail(err, CF_INVALID_ARGUMENT, "no HCLAkPub");
}

static bool check_quote(const struct verify_input *in, const struct az_evidence *ev,
                        struct tpm2_quote *q, struct verdict *v)
{
	cf_cleanup(cf_pkey_freep) struct cf_pkey *key = NULL;
	struct verdict_check *c;
	uint8_t sum[32];
	struct cf_err err;

	if (tpm2_quote_parse(cf_buf_view(&ev->message), q, &err) < 0 ||
	    attestation_key(ev, &key, &err) < 0 ||
	    cf_pkey_verify(key, CF_SIG_RSA_PKCS1, CF_SHA256, cf_buf_view(&ev->message),
	                   cf_buf_view(&ev->signature), &err) < 0) {
		covering(verdict_refuse(v, "quote-signature",
		                        "the quote is not signed by the vTPM's key (%s)", err.msg),
		         "TPM quote");
		return false;
	}
	covering(verdict_ok(v, "quote-signature"), "TPM quote");
	v->report_data = cf_hex_dup(q->extra_data);
	/* Here the quote holds the report data whole, whatever its length. */
	if (in->report_data.data && !cf_view_eq(q->extra_data, in->report_data)) {
		c = covering(
			verdict_refuse(v, "report-data",
		                       "the evidence answers another nonce or another TEE key"),
			"nonce and TEE key");
		c->expected = cf_hex_dup(in->report_data);
		c->actual = cf_hex_dup(q->extra_data);
		return false;
	}
	if (in->report_data.data)
		covering(verdict_ok(v, "report-data"), "nonce and TEE key");
	else
		covering(verdict_skip(v, "report-data", "no report data was given to compare with"),
		         "nonce and TEE key");
	cf_sha256(cf_view(ev->pcrs, sizeof(ev->pcrs)), sum);
	if (q->pcr_mask != AZ_MASK || !cf_view_eq(q->pcr_digest, cf_view(sum, sizeof(sum)))) {
		covering(
			verdict_refuse(v, "pcr-list",
		                       "the PCR values are not the quoted ones, or not all 24 are"),
			"PCR values");
		return false;
	}
	covering(verdict_ok(v, "pcr-list"), "PCR values");
	return true;
}

/* The hardware report names the runtime data, and with it the vTPM's key. */
static bool check_var(struct cf_view report_data, const struct az_evidence *ev, struct verdict *v)
{
	uint8_t sum[32];

	cf_sha256(ev->var, sum);
	if (cf_view_eq(cf_view_sub(report_data, 0, 32), cf_view(sum, sizeof(sum)))) {
		covering(verdict_ok(v, "vtpm-binding"), "the vTPM belongs to this guest");
		return true;
	}
	covering(verdict_refuse(v, "vtpm-binding",
	                        "the hardware report does not name this vTPM's key"),
	         "the vTPM belongs to this guest");
	return false;
}

/* Version 2 repeats the report data in the hardware's own report (upper-case hex, 64 bytes). */
static bool check_user_data(const struct az_evidence *ev, const struct tpm2_quote *q,
                            struct verdict *v)
{
	struct cf_view text = cf_json_str(cf_json_get(ev->var_doc, "user-data"));
	uint8_t data[64];

	if (ev->version < 2)
		return true;
	if (cf_hex_decode(text, data, sizeof(data), NULL) == 0 &&
	    q->extra_data.size <= sizeof(data) &&
	    cf_view_eq(cf_view(data, q->extra_data.size), q->extra_data)) {
		covering(verdict_ok(v, "user-data"), "nonce and TEE key");
		return true;
	}
	covering(verdict_refuse(v, "user-data",
	                        "the hardware report's user data is not this session's"),
	         "nonce and TEE key");
	return false;
}

static bool check_initdata(const struct verify_input *in, const struct az_evidence *ev,
                           struct verdict *v)
{
	cf_cleanup(cf_freep) char *hex = NULL;
	uint8_t digest[32], want[32];
	struct verdict_check *c;

	v->init_data = cf_hex_dup(cf_view(ev->pcrs[8], 32));
	if (!in->init_data_known || !in->init_data.data) {
		covering(verdict_skip(v, "pcr08", "no initdata was given to compare with"),
		         "initdata");
		return true;
	}
	cf_sha256(in->init_data, digest);
	pcr_initdata_register(digest, want);
	if (cf_view_eq(cf_view(ev->pcrs[8], 32), cf_view(want, 32))) {
		hex = cf_hex_dup(cf_view(digest, 32));
		v->initdata_digest = cf_asprintf("sha256:%s", hex);
		covering(verdict_ok(v, "pcr08"), "initdata");
		return true;
	}
	c = covering(
		verdict_refuse(v, "pcr08", "the initdata sent is not the one that was measured"),
		"initdata");
	c->expected = cf_hex_dup(cf_view(want, 32));
	c->actual = cf_hex_dup(cf_view(ev->pcrs[8], 32));
	return false;
}

static void write_pcrs(const struct az_evidence *ev, struct cf_jw *w)
{
	cf_jw_key(w, "tpm");
	cf_jw_obj(w);
	for (unsigned i = 0; i < AZ_PCRS; i++) {
		char name[8];

		snprintf(name, sizeof(name), "pcr%02u", i);
		cf_jw_key(w, name);
		cf_jw_hex(w, cf_view(ev->pcrs[i], 32));
	}
	cf_jw_end_obj(w);
}

static void write_common(const struct verdict *v, const struct az_evidence *ev, struct cf_jw *w)
{
	write_pcrs(ev, w);
	cf_jw_kstr(w, "report_data", v->report_data);
	cf_jw_kstr(w, "init_data", v->init_data);
}

/* PCR 11 is what the peers' rules look at: the unified kernel image's own measurement. */
static void judge_pcr11(const struct verify_input *in, const struct az_evidence *ev, const char *id,
                        struct verdict *v)
{
	cf_cleanup(cf_freep) char *hex = cf_hex_dup(cf_view(ev->pcrs[11], 32));
	struct verdict_check *c;

	if (!in->references) {
		verdict_skip(v, "measurement",
		             "no reference values were given: the boot was not judged");
		return;
	}
	if (reference_has(in->references, id, cf_view_str(hex))) {
		verdict_ok(v, "pcr11");
		v->trust[VERDICT_EXECUTABLES] = 3;
		return;
	}
	c = verdict_differs(v, "pcr11", "the guest did not boot what is approved");
	c->expected = reference_text(in->references, id);
	c->actual = cf_take(&hex);
	v->trust[VERDICT_EXECUTABLES] = 33;
}

static int verify_az_snp(const struct verify_input *in, struct verdict *v, struct cf_err *err)
{
	cf_cleanup(az_evidence_fini) struct az_evidence ev = { 0 };
	cf_cleanup(cf_cert_freep) struct cf_cert *vcek = NULL;
	struct snp_certs certs = { 0 };
	struct snp_report report;
	struct tpm2_quote q;
	struct cf_jw w = { .out = &v->claims };
	int r = parse_evidence(in->evidence, true, &ev, err);

	if (r == 0)
		r = cf_cert_parse(cf_buf_view(&ev.vcek), &vcek, err);
	if (r == 0)
		r = snp_report_parse(cf_view_sub(cf_buf_view(&ev.hcl), HCL_HW_AT, SNP_REPORT_SIZE),
		                     &report, err);
	if (r < 0)
		return r;
	certs.leaf = vcek;
	if (!check_quote(in, &ev, &q, v) || !check_var(report.report_data, &ev, v) ||
	    !check_user_data(&ev, &q, v) || !snp_check_report(in, &report, &certs, v) ||
	    !check_initdata(in, &ev, v))
		return 0;
	judge_pcr11(in, &ev, "snp_pcr11", v);
	cf_jw_obj(&w);
	snp_write_claims(&report, true, &w);
	cf_jw_key(&w, "measurement");
	cf_jw_b64(&w, CF_B64_STD, report.measurement);
	write_common(v, &ev, &w);
	cf_jw_end_obj(&w);
	return cf_buf_check(&v->claims, "claims", err);
}

static int verify_az_tdx(const struct verify_input *in, struct verdict *v, struct cf_err *err)
{
	cf_cleanup(az_evidence_fini) struct az_evidence ev = { 0 };
	struct dcap_quote quote;
	struct tpm2_quote q;
	struct cf_jw w = { .out = &v->claims };
	int r = parse_evidence(in->evidence, false, &ev, err);

	if (r == 0)
		r = dcap_quote_parse(cf_buf_view(&ev.td_quote), &quote, err);
	if (r == 0 && !dcap_quote_is_tdx(&quote))
		r = cf_fail(err, CF_INVALID_ARGUMENT, "td_quote: not of TDX");
	if (r < 0)
		return r;
	if (!check_quote(in, &ev, &q, v) ||
	    !check_var(cf_view_sub(cf_buf_view(&ev.hcl), HCL_HW_AT + TDREPORT_DATA_AT, 64), &ev,
	               v) ||
	    !check_var(dcap_quote_report_data(&quote), &ev, v) || !check_user_data(&ev, &q, v) ||
	    !dcap_check_quote(in, &quote, v) || !check_initdata(in, &ev, v))
		return 0;
	judge_pcr11(in, &ev, "tdx_pcr11", v);
	cf_jw_obj(&w);
	dcap_write_quote(&quote, &w);
	write_common(v, &ev, &w);
	cf_jw_end_obj(&w);
	return cf_buf_check(&v->claims, "claims", err);
}

const struct verifier_ops verifier_az_snp = {
	.tee = "az-snp-vtpm",
	.submod = "cpu0",
	.verify = verify_az_snp,
};

const struct verifier_ops verifier_az_tdx = {
	.tee = "az-tdx-vtpm",
	.submod = "cpu0",
	.verify = verify_az_tdx,
};
