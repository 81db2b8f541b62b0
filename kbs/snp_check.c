/* SPDX-License-Identifier: Apache-2.0 */
#include "kbs/snp_check.h"

#include "kbs/amd_certs.h"

#include <stdio.h>

#define OID_AMD       "1.3.6.1.4.1.3704.1."
#define SIG_P384      1u
#define VERSION_MIN   3u
#define VERSION_MAX   5u
#define POLICY_SMT    (1ull << 16)
#define POLICY_MA     (1ull << 18)
#define POLICY_DEBUG  (1ull << 19)
#define POLICY_SINGLE (1ull << 20)
#define PLAT_SMT      1ull
#define PLAT_TSME     2ull

static struct verdict_check *covering(struct verdict_check *c, const char *covers)
{
	c->covers = cf_strdup(covers);
	return c;
}

/* ---- the certificate ---- */

static void certs_free(struct cf_cert **certs)
{
	for (size_t i = 0; i < 3; i++)
		cf_cert_free(certs[i]);
}

struct amd_chain {
	struct cf_cert *certs[3]; /* ARK, ASK, ASVK */
};

static void amd_chain_fini(struct amd_chain *c)
{
	certs_free(c->certs);
}

static const char *const generation_names[] = { "Milan", "Genoa", "Turin", "unknown" };

static int load_chain(enum snp_generation g, struct amd_chain *ret, struct cf_err *err)
{
	const struct amd_product *p = &amd_products[g];
	const char *const texts[] = { p->ark, p->ask, p->asvk };
	int r = 0;

	for (size_t i = 0; r == 0 && i < 3; i++)
		r = cf_cert_parse(cf_view_str(texts[i]), &ret->certs[i], err);
	return r;
}

static bool check_chain(const struct verify_input *in, const struct snp_report *r,
                        const struct snp_certs *certs, struct verdict *v)
{
	cf_cleanup(amd_chain_fini) struct amd_chain chain = { 0 };
	struct cf_chain_opts opts = { .roots = chain.certs,
		                      .root_count = 1,
		                      .intermediates = chain.certs + (certs->is_vlek ? 2 : 1),
		                      .intermediate_count = 1,
		                      .at = in->now };
	struct cf_err err;

	if (load_chain(r->generation, &chain, &err) < 0 ||
	    cf_cert_verify(certs->leaf, &opts, NULL, &err) < 0) {
		covering(verdict_refuse(v, "amd-chain",
		                        "the chip's certificate does not end at AMD's "
		                        "root for %s: %s",
		                        generation_names[r->generation], err.msg),
		         "AMD's certificate of the chip");
		return false;
	}
	v->anchor = cf_cert_subject(chain.certs[0]);
	v->anchor_kind = cf_strdup(certs->is_vlek ? "AMD (VLEK)" : "AMD (VCEK)");
	covering(verdict_ok(v, "amd-chain"), "AMD's certificate of the chip");
	covering(verdict_skip(v, "amd-crl", "AMD's revocation list was not looked at"),
	         "AMD's certificate of the chip");
	return true;
}

/* A DER INTEGER below 256; -1: none. */
static int extension_byte(const struct cf_cert *cert, const char *oid)
{
	cf_cleanup(cf_buf_fini) struct cf_buf der = { 0 };

	if (cf_cert_extension(cert, oid, &der, NULL) < 0 || der.size < 3 || der.data[0] != 2)
		return -1;
	if (der.data[1] == 1 && der.size == 3)
		return der.data[2] & 0x80 ? -1 : der.data[2];
	return der.data[1] == 2 && der.size == 4 && der.data[2] == 0 ? der.data[3] : -1;
}

static bool check_tcb(const struct snp_report *r, const struct cf_cert *leaf, struct verdict *v)
{
	const struct {
		const char *oid, *name;
		uint8_t reported;
		bool only_turin;
	} parts[] = {
		{ OID_AMD "3.1", "bootloader", r->reported_tcb.bootloader, false },
		{ OID_AMD "3.2", "tee", r->reported_tcb.tee, false },
		{ OID_AMD "3.3", "snp", r->reported_tcb.snp, false },
		{ OID_AMD "3.8", "microcode", r->reported_tcb.microcode, false },
		{ OID_AMD "3.9", "fmc", r->reported_tcb.fmc, true },
	};

	for (size_t i = 0; i < CF_ARRAY_LEN(parts); i++) {
		int certified = extension_byte(leaf, parts[i].oid);
		struct verdict_check *c;

		if (certified == parts[i].reported ||
		    (parts[i].only_turin && r->generation != SNP_TURIN))
			continue;
		c = verdict_refuse(v, "tcb", "the certificate is of another firmware (%s)",
		                   parts[i].name);
		c->expected = cf_asprintf("%d", certified);
		c->actual = cf_asprintf("%u", parts[i].reported);
		covering(c, "firmware of the chip");
		return false;
	}
	covering(verdict_ok(v, "tcb"), "firmware of the chip");
	return true;
}

/* 64 raw bytes, or the same inside an OCTET STRING; Turin's are 8. A VLEK is of no chip. */
static bool check_chip(const struct snp_report *r, const struct snp_certs *certs, struct verdict *v)
{
	cf_cleanup(cf_buf_fini) struct cf_buf der = { 0 };
	struct cf_view id;

	if (certs->is_vlek)
		return true;
	if (cf_cert_extension(certs->leaf, OID_AMD "4", &der, NULL) == 0) {
		id = cf_buf_view(&der);
		if (id.size > 2 && id.data[0] == 4 && id.data[1] == id.size - 2)
			id = cf_view_sub(id, 2, id.size);
		if ((id.size == 64 || (id.size == 8 && r->generation == SNP_TURIN)) &&
		    cf_view_eq(id, cf_view_sub(r->chip_id, 0, id.size))) {
			covering(verdict_ok(v, "chip-id"), "chip");
			return true;
		}
	}
	covering(verdict_refuse(v, "chip-id", "the certificate is of another chip"), "chip");
	return false;
}

/* IA5String "Milan-B0"; compared up to the dash. */
static bool check_product(const struct snp_report *r, const struct cf_cert *leaf, struct verdict *v)
{
	cf_cleanup(cf_buf_fini) struct cf_buf der = { 0 };
	struct cf_view name = { 0 };
	ssize_t dash;

	if (cf_cert_extension(leaf, OID_AMD "2", &der, NULL) == 0 && der.size > 2)
		name = cf_view_sub(cf_buf_view(&der), 2, der.size);
	dash = cf_view_find(name, '-');
	if (dash >= 0)
		name = cf_view_sub(name, 0, (size_t)dash);
	if (cf_view_eq_str(name, generation_names[r->generation]))
		return true;
	covering(verdict_refuse(v, "product", "the certificate is of another product than %s",
	                        generation_names[r->generation]),
	         "chip");
	return false;
}

/* ---- the report ---- */

static bool check_shape(const struct snp_report *r, struct verdict *v)
{
	if (r->version < VERSION_MIN || r->version > VERSION_MAX)
		verdict_refuse(v, "version", "report version %u, %u to %u are taken", r->version,
		               VERSION_MIN, VERSION_MAX);
	else if (r->generation == SNP_UNKNOWN)
		verdict_refuse(v, "product", "no AMD root for CPU family 0x%02x model 0x%02x",
		               r->cpu_family, r->cpu_model);
	else if (r->sig_algo != SIG_P384)
		verdict_refuse(v, "report-signature", "signature algorithm %u", r->sig_algo);
	return !verdict_is_refused(v);
}

static bool check_signature(const struct snp_report *r, const struct cf_cert *leaf,
                            struct verdict *v)
{
	cf_cleanup(cf_pkey_freep) struct cf_pkey *key = NULL;
	uint8_t sig[96];
	struct cf_err err;

	if (cf_cert_pkey(leaf, &key, &err) == 0 && snp_report_signature(r, sig, &err) == 0 &&
	    cf_pkey_verify(key, CF_SIG_ECDSA_RAW, CF_SHA384,
	                   cf_view_sub(r->raw, 0, SNP_SIGNED_SIZE), cf_view(sig, sizeof(sig)),
	                   &err) == 0) {
		covering(verdict_ok(v, "report-signature"), "SNP report");
		return true;
	}
	covering(verdict_refuse(v, "report-signature", "the report is not signed by this chip (%s)",
	                        err.msg),
	         "SNP report");
	return false;
}

bool snp_check_report(const struct verify_input *in, const struct snp_report *r,
                      const struct snp_certs *certs, struct verdict *v)
{
	if (!check_shape(r, v) || !check_chain(in, r, certs, v) ||
	    !check_signature(r, certs->leaf, v) || !check_product(r, certs->leaf, v) ||
	    !check_tcb(r, certs->leaf, v) || !check_chip(r, certs, v))
		return false;
	if (r->vmpl != 0) {
		covering(
			verdict_refuse(v, "vmpl", "the report was made at VMPL %u, not 0", r->vmpl),
			"privilege level in the guest");
		return false;
	}
	covering(verdict_ok(v, "vmpl"), "privilege level in the guest");
	v->trust[VERDICT_HARDWARE] = 2;
	return true;
}

/* ---- claims and rules ---- */

static void number(struct cf_jw *w, const char *key, uint64_t value, bool as_text)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	if (as_text)
		cf_jw_kstr(w, key, text);
	else
		cf_jw_kuint(w, key, value);
}

static void boolean(struct cf_jw *w, const char *key, bool value, bool as_text)
{
	if (as_text)
		cf_jw_kstr(w, key, value ? "true" : "false");
	else
		cf_jw_kbool(w, key, value);
}

void snp_write_claims(const struct snp_report *r, bool as_text, struct cf_jw *w)
{
	number(w, "policy_abi_major", r->policy >> 8 & 0xff, as_text);
	number(w, "policy_abi_minor", r->policy & 0xff, as_text);
	boolean(w, "policy_smt_allowed", r->policy & POLICY_SMT, as_text);
	boolean(w, "policy_migrate_ma", r->policy & POLICY_MA, as_text);
	boolean(w, "policy_debug_allowed", r->policy & POLICY_DEBUG, as_text);
	boolean(w, "policy_single_socket", r->policy & POLICY_SINGLE, as_text);
	number(w, "reported_tcb_bootloader", r->reported_tcb.bootloader, as_text);
	number(w, "reported_tcb_tee", r->reported_tcb.tee, as_text);
	number(w, "reported_tcb_snp", r->reported_tcb.snp, as_text);
	number(w, "reported_tcb_microcode", r->reported_tcb.microcode, as_text);
	boolean(w, "platform_tsme_enabled", r->plat_info & PLAT_TSME, as_text);
	boolean(w, "platform_smt_enabled", r->plat_info & PLAT_SMT, as_text);
}

static bool judge_tcb(const struct verify_input *in, const struct snp_report *r, const char *prefix,
                      struct verdict *v)
{
	const struct {
		const char *name;
		uint8_t value;
	} parts[] = { { "bootloader", r->reported_tcb.bootloader },
		      { "microcode", r->reported_tcb.microcode },
		      { "snp_svn", r->reported_tcb.snp },
		      { "tee_svn", r->reported_tcb.tee } };
	bool all = true;

	for (size_t i = 0; i < CF_ARRAY_LEN(parts); i++) {
		cf_cleanup(cf_freep) char *id = cf_asprintf("%s%s", prefix, parts[i].name);
		cf_cleanup(cf_freep) char *value = cf_asprintf("%u", parts[i].value);
		struct verdict_check *c;

		if (reference_has(in->references, id, cf_view_str(value)))
			continue;
		all = false;
		c = verdict_differs(v, "firmware-version",
		                    "the chip's firmware (%s) is not approved", parts[i].name);
		c->expected = reference_text(in->references, id);
		c->actual = cf_take(&value);
		c->fix = cf_asprintf("coffer kbs reference put %s VALUE...", id);
	}
	return all;
}

void snp_appraise(const struct verify_input *in, const struct snp_report *r, const char *prefix,
                  struct verdict *v)
{
	bool closed = !(r->policy & (POLICY_DEBUG | POLICY_MA));
	cf_cleanup(cf_freep) char *id = cf_asprintf("%slaunch_measurement", prefix);
	cf_cleanup(cf_freep) char *hex = cf_hex_dup(r->measurement);
	struct verdict_check *c;

	if (!closed)
		verdict_warn(
			v, "the guest's policy allows debugging or a migration agent: others than "
			   "the guest can read its memory");
	if (!in->references) {
		verdict_skip(v, "measurement",
		             "no reference values were given: the boot was not judged");
		return;
	}
	if (!closed)
		verdict_differs(v, "guest-policy",
		                "the guest's policy allows debugging or a migration agent");
	v->trust[VERDICT_CONFIGURATION] = closed ? 3 : 36;
	v->trust[VERDICT_HARDWARE] = judge_tcb(in, r, prefix, v) ? 2 : 97;
	if (reference_has(in->references, id, cf_view_str(hex))) {
		covering(verdict_ok(v, "measurement"), "firmware, kernel, initrd, command line");
		v->trust[VERDICT_EXECUTABLES] = 3;
		return;
	}
	c = covering(verdict_differs(v, "measurement", "the guest did not boot what is approved"),
	             "firmware, kernel, initrd, command line");
	c->expected = reference_text(in->references, id);
	c->actual = cf_take(&hex);
	v->trust[VERDICT_EXECUTABLES] = 33;
}
