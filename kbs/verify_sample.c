/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sample TEE: no hardware, no root, no proof. It exists so that protocol and policies can be
 * tried on a laptop; coffer-kbs refuses it unless it was told otherwise.
 */
#include "kbs/verifier.h"

#define SAMPLE_REPORT_MAX 64u

static void sample_claims(struct cf_view svn, struct cf_view report_data, struct verdict *v)
{
	struct cf_jw w = { .out = &v->claims };

	cf_jw_obj(&w);
	cf_jw_kview(&w, "svn", svn);
	cf_jw_key(&w, "report_data");
	cf_jw_b64(&w, CF_B64_STD, report_data);
	cf_jw_kstr(&w, "launch_digest", "abcde");
	cf_jw_key(&w, "platform_version");
	cf_jw_obj(&w);
	cf_jw_kint(&w, "major", 1);
	cf_jw_kint(&w, "minor", 4);
	cf_jw_end_obj(&w);
	cf_jw_kbool(&w, "debug", false);
	cf_jw_end_obj(&w);
}

/* The peers' default rules for the sample TEE, over its fixed claims. */
static void appraise(const struct verify_input *in, struct cf_view svn, struct verdict *v)
{
	struct verdict_check *c;

	if (!in->references) {
		verdict_skip(v, "launch_digest", "no reference values given");
		return;
	}
	if (reference_has(in->references, "launch_digest", cf_view_str("abcde"))) {
		verdict_ok(v, "launch_digest");
		v->trust[VERDICT_EXECUTABLES] = 3;
	} else {
		c = verdict_differs(v, "launch_digest", "the sample's digest is not approved");
		c->expected = reference_text(in->references, "launch_digest");
		c->actual = cf_strdup("abcde");
		c->fix = cf_strdup("coffer kbs reference put launch_digest abcde");
		v->trust[VERDICT_EXECUTABLES] = 33;
	}
	if (reference_has(in->references, "svn", svn)) {
		verdict_ok(v, "svn");
		v->trust[VERDICT_HARDWARE] = 2;
	} else {
		c = verdict_differs(v, "svn", "the sample's svn is not approved");
		c->expected = reference_text(in->references, "svn");
		c->actual = cf_view_has_nul(svn) ? NULL : cf_view_dup(svn);
		c->fix = cf_strdup("coffer kbs reference put svn 1");
		v->trust[VERDICT_HARDWARE] = 97;
	}
	v->trust[VERDICT_CONFIGURATION] = 2;
}

static void check_exact(const struct verify_input *in, struct cf_view got, struct verdict *v)
{
	struct verdict_check *c;

	/* The sample's field has no size of its own: the digest must stand there as it is. */
	if (!in->report_data.data || got.size == in->report_data.size) {
		verifier_check_report_data(in, got, v);
		return;
	}
	c = verdict_refuse(v, "report-data", "report data of %zu bytes, the session's has %zu",
	                   got.size, in->report_data.size);
	c->expected = cf_hex_dup(in->report_data);
	c->actual = cf_hex_dup(got);
}

static int verify_sample(const struct verify_input *in, struct verdict *v, struct cf_err *err)
{
	cf_cleanup(cf_json_freep) struct cf_json *doc = NULL;
	cf_cleanup(cf_buf_fini) struct cf_buf got = { .max = SAMPLE_REPORT_MAX };
	struct cf_view svn = { 0 };
	int r = cf_json_parse(in->evidence, EVIDENCE_SIZE_MAX, &doc, err);

	if (r == 0)
		r = cf_json_need_str(doc, "svn", &svn, err);
	if (r == 0)
		r = cf_json_need_b64(doc, "report_data", CF_B64_STD, &got, err);
	if (r < 0)
		return cf_wrap(err, r, "sample evidence");
	verdict_warn(v, "sample TEE: this proves nothing about the guest");
	check_exact(in, cf_buf_view(&got), v);
	appraise(in, svn, v);
	sample_claims(svn, cf_buf_view(&got), v);
	v->anchor = cf_strdup("none (sample)");
	v->anchor_kind = cf_strdup("sample");
	v->report_data = cf_hex_dup(cf_buf_view(&got));
	if (in->init_data_known) {
		uint8_t digest[32];
		cf_cleanup(cf_freep) char *hex = NULL;

		cf_sha256(in->init_data, digest);
		hex = cf_hex_dup(cf_view(digest, sizeof(digest)));
		v->initdata_digest =
			in->init_data.data ? cf_asprintf("sha256:%s", hex) : cf_strdup("none");
		verdict_warn(
			v, "the initdata of a sample guest is what it says, not what was measured");
	}
	return cf_buf_check(&v->claims, "claims", err);
}

const struct verifier_ops verifier_sample = {
	.tee = "sample",
	.submod = "cpu0",
	.is_sample = true,
	.verify = verify_sample,
};
