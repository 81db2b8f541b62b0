/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TDX and SGX guests: {"quote":base64,"cc_eventlog":base64|null} as the peers send it, or the bare
 * quote.
 */
#include "kbs/dcap_check.h"
#include "proto/initdata.h"
#include "proto/tcg_log.h"

#define TDX_RTMR_AT    328u
#define TDX_CONFIG_AT  184u
#define TDX_CONFIG     48u
#define SGX_CONFIG_AT  192u
#define SGX_CONFIG     64u
#define RTMR_SIZE      48u
#define RTMR_COUNT     4u
#define TD_ATTR_DEBUG  1u
#define SGX_ATTR_DEBUG 2u

struct dcap_evidence {
	struct cf_buf quote, log;
};

static void dcap_evidence_fini(struct dcap_evidence *ev)
{
	cf_buf_fini(&ev->quote);
	cf_buf_fini(&ev->log);
}

static int parse_evidence(struct cf_view in, struct dcap_evidence *ev, struct cf_err *err)
{
	cf_cleanup(cf_json_freep) struct cf_json *doc = NULL;
	const struct cf_json *log;
	int r;

	ev->quote.max = DCAP_QUOTE_MAX;
	ev->log.max = TCG_LOG_SIZE_MAX;
	if (in.size && in.data[0] != '{') {
		cf_buf_add_view(&ev->quote, in);
		return cf_buf_check(&ev->quote, "quote", err);
	}
	r = cf_json_parse(in, EVIDENCE_SIZE_MAX, &doc, err);
	if (r == 0)
		r = cf_json_need_b64(doc, "quote", CF_B64_STD, &ev->quote, err);
	log = cf_json_get(doc, "cc_eventlog");
	if (r == 0 && cf_json_type(log) == CF_JSON_STRING)
		r = cf_json_need_b64(doc, "cc_eventlog", CF_B64_STD, &ev->log, err);
	return r;
}

/* The TEE's field holds the digest by the initdata's own algorithm, cut or padded. */
static bool check_initdata(const struct verify_input *in, struct cf_view field, struct verdict *v)
{
	cf_cleanup(initdata_freep) struct initdata *d = NULL;
	uint8_t digest[CF_HASH_SIZE_MAX], want[SGX_CONFIG] = { 0 };
	cf_cleanup(cf_freep) char *hex = NULL;
	struct cf_err err = { 0 };
	struct verdict_check *c;

	v->init_data = cf_hex_dup(field);
	if (!in->init_data_known) {
		verdict_skip(v, "config-id", "no initdata was given to compare with")->covers =
			cf_strdup("initdata");
		return true;
	}
	if (in->init_data.data && initdata_parse(in->init_data, &d, &err) == 0) {
		initdata_digest(d, digest);
		initdata_field(cf_view(digest, cf_hash_size(d->alg)), want, field.size);
	}
	if (!err.code && cf_view_eq(field, cf_view(want, field.size))) {
		cf_sha256(in->init_data, digest);
		hex = cf_hex_dup(cf_view(digest, 32));
		v->initdata_digest =
			in->init_data.data ? cf_asprintf("sha256:%s", hex) : cf_strdup("none");
		verdict_ok(v, "config-id")->covers = cf_strdup("initdata");
		return true;
	}
	c = verdict_refuse(v, "config-id", "%s",
	                   err.code ? err.msg
	                            : "the initdata sent is not the one that was measured");
	c->expected = cf_hex_dup(cf_view(want, field.size));
	c->actual = cf_hex_dup(field);
	c->covers = cf_strdup("initdata");
	return false;
}

/* Index 1 of a CC log is RTMR 0. */
static bool check_log(const struct dcap_evidence *ev, const struct dcap_quote *q, struct verdict *v)
{
	cf_cleanup(tcg_log_freep) struct tcg_log *log = NULL;
	struct tcg_pcrs pcrs;
	struct cf_err err;

	if (ev->log.size == 0) {
		verdict_skip(v, "event-log", "the evidence holds no event log");
		return true;
	}
	if (tcg_log_parse(cf_buf_view(&ev->log), &log, &err) < 0 ||
	    tcg_log_replay(log, TCG_SHA384, &pcrs, &err) < 0) {
		verdict_refuse(v, "event-log", "%s", err.msg);
		return false;
	}
	for (unsigned i = 0; i < RTMR_COUNT; i++) {
		struct cf_view want = dcap_quote_field(q, TDX_RTMR_AT + RTMR_SIZE * i, RTMR_SIZE);
		struct cf_view got = cf_view(pcrs.pcr[i + 1].value, RTMR_SIZE);
		struct verdict_check *c;

		if (pcrs.pcr[i + 1].extends == 0 || cf_view_eq(want, got))
			continue;
		c = verdict_refuse(v, "event-log", "the log does not give RTMR %u", i);
		c->expected = cf_hex_dup(want);
		c->actual = cf_hex_dup(got);
		return false;
	}
	verdict_ok(v, "event-log");
	return true;
}

static bool judge(const struct verify_input *in, const char *id, struct cf_view value,
                  const char *covers, struct verdict *v)
{
	cf_cleanup(cf_freep) char *hex = cf_hex_dup(value);
	struct verdict_check *c;

	if (reference_has(in->references, id, cf_view_str(hex))) {
		verdict_ok(v, "measurement")->covers = cf_strdup(covers);
		return true;
	}
	c = verdict_differs(v, "measurement", "%s is not approved", id);
	c->expected = reference_text(in->references, id);
	c->actual = cf_take(&hex);
	c->covers = cf_strdup(covers);
	return false;
}

static void appraise_tdx(const struct verify_input *in, const struct dcap_quote *q,
                         struct verdict *v)
{
	bool debug = dcap_quote_field(q, 120, 8).data[0] & TD_ATTR_DEBUG;
	bool good;

	if (debug)
		verdict_warn(v, "debug: the host can read this guest's memory");
	if (!in->references) {
		verdict_skip(v, "measurement",
		             "no reference values were given: the boot was not judged");
		return;
	}
	if (debug)
		verdict_differs(v, "debug", "the guest can be debugged by its host");
	v->trust[VERDICT_CONFIGURATION] = debug ? 36 : 2;
	if (!judge(in, "mr_td", dcap_quote_field(q, 136, 48), "firmware", v))
		v->trust[VERDICT_HARDWARE] = 97;
	good = judge(in, "rtmr_1", dcap_quote_field(q, 376, 48), "kernel", v);
	good &= judge(in, "rtmr_2", dcap_quote_field(q, 424, 48), "command line, initrd", v);
	v->trust[VERDICT_EXECUTABLES] = good ? 3 : 33;
}

static void appraise_sgx(const struct verify_input *in, const struct dcap_quote *q,
                         struct verdict *v)
{
	bool debug = dcap_quote_field(q, 48, 16).data[0] & SGX_ATTR_DEBUG;
	bool good;

	if (debug)
		verdict_warn(v, "debug: the host can read this enclave's memory");
	if (!in->references) {
		verdict_skip(v, "measurement",
		             "no reference values were given: the enclave was not judged");
		return;
	}
	if (debug)
		verdict_differs(v, "debug", "the enclave can be debugged by its host");
	v->trust[VERDICT_CONFIGURATION] = debug ? 36 : 2;
	good = judge(in, "mr_enclave", dcap_quote_field(q, 64, 32), "enclave", v);
	v->trust[VERDICT_EXECUTABLES] = good ? 3 : 33;
}

static void write_claims(const struct dcap_quote *q, struct cf_view config, struct verdict *v)
{
	static const struct {
		const char *name;
		unsigned bit;
	} bits[] = { { "debug", 0 },
		     { "septve_disable", 28 },
		     { "protection_keys", 30 },
		     { "key_locker", 31 },
		     { "perfmon", 63 } };
	struct cf_jw w = { .out = &v->claims };

	cf_jw_obj(&w);
	dcap_write_quote(q, &w);
	if (dcap_quote_is_tdx(q)) {
		struct cf_view attr = dcap_quote_field(q, 120, 8);

		cf_jw_key(&w, "td_attributes");
		cf_jw_obj(&w);
		for (size_t i = 0; i < CF_ARRAY_LEN(bits); i++)
			cf_jw_kbool(&w, bits[i].name,
			            attr.data[bits[i].bit / 8] >> bits[i].bit % 8 & 1);
		cf_jw_end_obj(&w);
	}
	cf_jw_key(&w, "report_data");
	cf_jw_hex(&w, dcap_quote_report_data(q));
	cf_jw_key(&w, "init_data");
	cf_jw_hex(&w, config);
	cf_jw_end_obj(&w);
}

static int verify_dcap(const struct verify_input *in, bool want_tdx, struct verdict *v,
                       struct cf_err *err)
{
	cf_cleanup(dcap_evidence_fini) struct dcap_evidence ev = { 0 };
	struct dcap_quote q;
	struct cf_view config;
	int r = parse_evidence(in->evidence, &ev, err);

	if (r == 0)
		r = dcap_quote_parse(cf_buf_view(&ev.quote), &q, err);
	if (r == 0 && dcap_quote_is_tdx(&q) != want_tdx)
		r = cf_fail(err, CF_INVALID_ARGUMENT, "a quote of the other kind (SGX, TDX)");
	if (r < 0)
		return r;
	if (!dcap_check_quote(in, &q, v))
		return 0;
	v->report_data = cf_hex_dup(dcap_quote_report_data(&q));
	verifier_check_report_data(in, dcap_quote_report_data(&q), v);
	config = want_tdx ? dcap_quote_field(&q, TDX_CONFIG_AT, TDX_CONFIG)
	                  : dcap_quote_field(&q, SGX_CONFIG_AT, SGX_CONFIG);
	if (verdict_is_refused(v) || !check_initdata(in, config, v))
		return 0;
	if (want_tdx && !check_log(&ev, &q, v))
		return 0;
	if (want_tdx)
		appraise_tdx(in, &q, v);
	else
		appraise_sgx(in, &q, v);
	write_claims(&q, config, v);
	return cf_buf_check(&v->claims, "claims", err);
}

static int verify_tdx(const struct verify_input *in, struct verdict *v, struct cf_err *err)
{
	return verify_dcap(in, true, v, err);
}

static int verify_sgx(const struct verify_input *in, struct verdict *v, struct cf_err *err)
{
	return verify_dcap(in, false, v, err);
}

const struct verifier_ops verifier_tdx = {
	.tee = "tdx",
	.submod = "cpu0",
	.verify = verify_tdx,
};

const struct verifier_ops verifier_sgx = {
	.tee = "sgx",
	.submod = "cpu0",
	.verify = verify_sgx,
};
