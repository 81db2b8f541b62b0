/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SEV-SNP guests: {"attestation_report":{…},"cert_chain":[…]} as the peers send it, or the bare
 * report of 1184 bytes with its certificate among the given anchors (offline).
 */
#include "kbs/amd_certs.h"
#include "kbs/snp_check.h"
#include "proto/initdata.h"

#define CERT_MAX   4096u
#define CERTS_MAX  8u
#define OID_HWID   "1.3.6.1.4.1.3704.1.4"
#define OID_CSP_ID "1.3.6.1.4.1.3704.1.5"

struct snp_evidence {
	struct cf_buf raw;
	struct cf_cert *leaf;
	bool is_vlek;
};

static void snp_evidence_fini(struct snp_evidence *ev)
{
	cf_buf_fini(&ev->raw);
	cf_cert_free(ev->leaf);
}

static int take_cert(const struct cf_json *row, struct snp_evidence *ev, struct cf_err *err)
{
	struct cf_view type = cf_json_str(cf_json_get(row, "cert_type"));
	cf_cleanup(cf_buf_fini) struct cf_buf der = { .max = CERT_MAX };
	int r;

	if (ev->leaf || (!cf_view_eq_str(type, "VCEK") && !cf_view_eq_str(type, "VLEK")))
		return 0;
	r = snp_json_bytes(cf_json_get(row, "data"), 0, &der, err);
	if (r == 0)
		r = cf_cert_parse(cf_buf_view(&der), &ev->leaf, err);
	ev->is_vlek = cf_view_eq_str(type, "VLEK");
	return r < 0 ? cf_wrap(err, r, "cert_chain") : 0;
}

static int parse_json(struct cf_view text, struct snp_evidence *ev, struct cf_err *err)
{
	cf_cleanup(cf_json_freep) struct cf_json *doc = NULL;
	const struct cf_json *report = NULL, *chain;
	int r = cf_json_parse(text, EVIDENCE_SIZE_MAX, &doc, err);

	if (r == 0)
		r = cf_json_need(doc, "attestation_report", CF_JSON_OBJECT, &report, err);
	if (r == 0)
		r = snp_report_encode(report, &ev->raw, err);
	chain = cf_json_get(doc, "cert_chain");
	if (r == 0 && cf_json_len(chain) > CERTS_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "cert_chain of %zu", cf_json_len(chain));
	for (size_t i = 0; r == 0 && i < cf_json_len(chain); i++)
		r = take_cert(cf_json_at(chain, i), ev, err);
	return r;
}

/* Among the caller's certificates, the one of a chip (VCEK) or of a provider (VLEK). */
static int find_given_leaf(const struct verify_input *in, struct snp_evidence *ev,
                           struct cf_err *err)
{
	for (size_t i = 0; i < in->extra_root_count && !ev->leaf; i++) {
		cf_cleanup(cf_buf_fini) struct cf_buf ext = { 0 }, der = { 0 };
		struct cf_cert *c = in->extra_roots[i];
		bool is_vcek = cf_cert_extension(c, OID_HWID, &ext, NULL) == 0;
		bool is_vlek = !is_vcek && cf_cert_extension(c, OID_CSP_ID, &ext, NULL) == 0;
		int r;

		if (!is_vcek && !is_vlek)
			continue;
		r = cf_cert_to_der(c, &der, err);
		if (r == 0)
			r = cf_cert_parse(cf_buf_view(&der), &ev->leaf, err);
		if (r < 0)
			return r;
		ev->is_vlek = is_vlek;
	}
	return 0;
}

static int parse_evidence(const struct verify_input *in, struct snp_evidence *ev,
                          struct cf_err *err)
{
	int r = 0;

	if (in->evidence.size == SNP_REPORT_SIZE && in->evidence.data[0] != '{')
		cf_buf_add_view(&ev->raw, in->evidence);
	else
		r = parse_json(in->evidence, ev, err);
	if (r == 0 && !ev->leaf)
		r = find_given_leaf(in, ev, err);
	return r < 0 ? cf_wrap(err, r, "SNP evidence") : 0;
}

static bool check_host_data(const struct verify_input *in, const struct snp_report *r,
                            struct verdict *v)
{
	cf_cleanup(initdata_freep) struct initdata *d = NULL;
	uint8_t digest[CF_HASH_SIZE_MAX], want[32] = { 0 };
	cf_cleanup(cf_freep) char *hex = NULL;
	struct verdict_check *c;
	struct cf_err err = { 0 };

	v->init_data = cf_hex_dup(r->host_data);
	if (!in->init_data_known) {
		verdict_skip(v, "host-data", "no initdata was given to compare with")->covers =
			cf_strdup("initdata");
		return true;
	}
	if (in->init_data.data && initdata_parse(in->init_data, &d, &err) == 0) {
		initdata_digest(d, digest);
		initdata_field(cf_view(digest, cf_hash_size(d->alg)), want, sizeof(want));
	}
	if (!err.code && cf_view_eq(r->host_data, cf_view(want, sizeof(want)))) {
		cf_sha256(in->init_data, digest);
		hex = cf_hex_dup(cf_view(digest, 32));
		v->initdata_digest =
			in->init_data.data ? cf_asprintf("sha256:%s", hex) : cf_strdup("none");
		verdict_ok(v, "host-data")->covers = cf_strdup("initdata");
		return true;
	}
	c = verdict_refuse(v, "host-data", "%s",
	                   err.code ? err.msg
	                            : "the initdata sent is not the one that was measured");
	c->expected = cf_hex_dup(cf_view(want, sizeof(want)));
	c->actual = cf_hex_dup(r->host_data);
	c->covers = cf_strdup("initdata");
	return false;
}

static void write_claims(const struct snp_report *r, struct verdict *v)
{
	struct cf_jw w = { .out = &v->claims };

	cf_jw_obj(&w);
	snp_write_claims(r, false, &w);
	cf_jw_key(&w, "measurement");
	cf_jw_hex(&w, r->measurement);
	cf_jw_key(&w, "report_data");
	cf_jw_hex(&w, r->report_data);
	cf_jw_key(&w, "init_data");
	cf_jw_hex(&w, r->host_data);
	cf_jw_key(&w, "chip_id");
	cf_jw_hex(&w, r->chip_id);
	cf_jw_end_obj(&w);
}

static int verify_snp(const struct verify_input *in, struct verdict *v, struct cf_err *err)
{
	cf_cleanup(snp_evidence_fini) struct snp_evidence ev = { 0 };
	struct snp_certs certs;
	struct snp_report r;
	int res = parse_evidence(in, &ev, err);

	if (res == 0)
		res = snp_report_parse(cf_buf_view(&ev.raw), &r, err);
	if (res < 0)
		return res;
	if (!ev.leaf) {
		verdict_refuse(v, "amd-chain",
		               "the evidence brings no certificate of the chip (VCEK or "
		               "VLEK), and none was given");
		return 0;
	}
	certs = (struct snp_certs){ ev.leaf, ev.is_vlek };
	if (!snp_check_report(in, &r, &certs, v))
		return 0;
	v->report_data = cf_hex_dup(r.report_data);
	verifier_check_report_data(in, r.report_data, v);
	if (verdict_is_refused(v) || !check_host_data(in, &r, v))
		return 0;
	snp_appraise(in, &r, "snp_", v);
	write_claims(&r, v);
	return cf_buf_check(&v->claims, "claims", err);
}

const struct verifier_ops verifier_snp = {
	.tee = "snp",
	.submod = "cpu0",
	.verify = verify_snp,
};
