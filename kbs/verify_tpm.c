/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TPM guests. The order is the argument: the key is the TPM's (binding), the quote is the key's
 * (signature) and this session's (report data, activation), the values are the quote's (digest), the
 * log is the values' (replay), and only then anything the log says is looked at.
 */
#include "kbs/tpm_binding.h"
#include "kbs/tpm_evidence.h"
#include "kbs/verifier.h"
#include "proto/pcr_predict.h"

#include <stdio.h>

#define EXTRA_DATA_SIZE 32u
#define EFI_BOOT_ACTION "Calling EFI Application from Boot Option"
/* PCR 10 gets the kernel's IMA aggregate after the firmware's log ended. */
#define PCR_IMA                 10u
#define PCRS_NEEDED             (1u << 0 | 1u << 2 | 1u << 4 | 1u << 8 | 1u << 9)
#define DIRECT_BOOT_PCR9_EVENTS 2u

struct facts {
	const struct verify_input *in;
	struct tpm_evidence ev;
	struct tpm2_quote quote;
	uint8_t pcr[TCG_PCR_COUNT]
		   [TPM_PCR_VALUE]; /* by register, where quote.pcr_mask has its bit */
	struct tcg_log *log;
	struct tcg_pcrs replay;
	struct cf_view kernel; /* digests out of the replayed log; empty: not known */
	struct cf_view initrd;
	bool cmdline_is_proven;
	bool is_uefi;
	bool is_bound;  /* activation held */
	bool is_listed; /* the key is trusted by name */
	bool is_initdata_proven;
	char ek_sha256[65];
	char root_sha256[65];
};

static void facts_fini(struct facts *f)
{
	tcg_log_free(f->log);
	tpm_evidence_fini(&f->ev);
}

static struct verdict_check *covering(struct verdict_check *c, const char *covers)
{
	c->covers = cf_strdup(covers);
	return c;
}

/* ---- the key ---- */

static bool check_ak_structure(struct facts *f, struct verdict *v)
{
	static const char covers[] = "attestation key";
	cf_cleanup(cf_pkey_freep) struct cf_pkey *key = NULL;
	struct tpm2_public pub;
	struct cf_err err;

	if (f->ev.ak_tpm2b.size == 0) {
		covering(verdict_skip(v, "ak",
		                      "the evidence holds no ak_tpm2b: the key's attributes "
		                      "are not known"),
		         covers);
		return true;
	}
	if (tpm2_public_parse(cf_buf_view(&f->ev.ak_tpm2b), &pub, &err) < 0 ||
	    tpm2_public_key(&pub, &key, &err) < 0) {
		covering(verdict_refuse(v, "ak", "ak_tpm2b: %s", err.msg), covers);
		return false;
	}
	if (!cf_pkey_equal_public(key, f->ev.ak)) {
		covering(verdict_refuse(v, "ak", "ak_tpm2b and ak_public are different keys"),
		         covers);
		return false;
	}
	if (tpm2_check_attestation_key(&pub, &err) < 0) {
		covering(verdict_refuse(v, "ak", "%s", err.msg), covers);
		return false;
	}
	if (f->in->tpm_binding &&
	    !cf_view_eq(cf_buf_view(&f->in->tpm_binding->ak), cf_buf_view(&f->ev.ak_tpm2b))) {
		covering(verdict_refuse(v, "ak",
		                        "the attestation key is not the one that this "
		                        "session's credential was made for"),
		         covers);
		return false;
	}
	covering(verdict_ok(v, "ak"), covers);
	return true;
}

static bool key_is_listed(const struct facts *f)
{
	cf_cleanup(cf_buf_fini) struct cf_buf b64 = { 0 };

	for (size_t i = 0; i < f->in->trusted_ak_count; i++)
		if (cf_view_eq(f->in->trusted_aks[i], cf_buf_view(&f->ev.ak_spki)))
			return true;
	cf_b64_encode(CF_B64_STD, cf_buf_view(&f->ev.ak_spki), &b64);
	return reference_has(f->in->references, "trusted_aks", cf_buf_view(&b64));
}

/* HMAC over the whole digest with the secret that only the certified TPM could open. */
static bool activation_holds(const struct facts *f)
{
	uint8_t want[32];

	cf_hmac(CF_SHA256, cf_view(f->in->tpm_binding->credential, TPM2_CREDENTIAL),
	        f->in->report_data, want);
	return cf_equal_ct(cf_view(want, sizeof(want)), cf_buf_view(&f->ev.activation));
}

static void take_binding(struct facts *f, struct verdict *v)
{
	const struct tpm_binding *b = f->in->tpm_binding;

	f->is_bound = true;
	memcpy(f->ek_sha256, b->ek_sha256, sizeof(f->ek_sha256));
	memcpy(f->root_sha256, b->root_sha256, sizeof(f->root_sha256));
	v->anchor = cf_strdup(b->root_name);
	v->anchor_kind = cf_strdup(tpm_root_kind_name(b->kind));
	if (b->kind == TPM_ROOT_SOFTWARE)
		verdict_warn(v, "software TPM, memory not encrypted");
	covering(verdict_ok(v, "activation"), "the key sits in a certified TPM")->actual =
		cf_asprintf("endorsement key sha256:%s, certified by %s", b->ek_sha256,
	                    b->root_name);
}

static bool check_activation(struct facts *f, struct verdict *v)
{
	static const char covers[] = "the key sits in a certified TPM";
	struct verdict_check *c;
	const char *why;

	f->is_listed = key_is_listed(f);
	if (f->in->is_offline && f->in->trusted_ak_count) {
		if (!f->is_listed) {
			covering(verdict_refuse(v, "ak-trusted",
			                        "this attestation key is not among those given"),
			         "attestation key");
			return false;
		}
		covering(verdict_ok(v, "ak-trusted"), "attestation key");
		return true;
	}
	if (f->in->is_offline) {
		covering(verdict_skip(v, "activation",
		                      "only the key service of that session holds the "
		                      "credential: nothing here says in which TPM the "
		                      "key is"),
		         covers);
		return true;
	}
	if (f->in->tpm_binding && f->ev.activation.size && activation_holds(f)) {
		take_binding(f, v);
		return true;
	}
	if (f->in->tpm_binding && f->ev.activation.size) {
		covering(verdict_refuse(
				 v, "activation",
				 "the credential was not opened by the TPM it was made for, or "
				 "the answer belongs to another session"),
		         covers);
		return false;
	}
	if (f->is_listed) {
		covering(verdict_ok(v, "ak-trusted"), "attestation key");
		return true;
	}
	why = f->in->tpm_binding ? "the guest did not answer the credential" : f->in->binding_error;
	c = verdict_differs(v, "activation", "%s", why ? why : "the guest sent no TPM certificate");
	c->fix = cf_strdup("coffer kbs tpm-root add CA.pem --kind operator_vtpm|ek_allow|software");
	covering(c, covers);
	return true;
}

/* A bundle for offline use may hold the EK certificate: then its CA is judged too. */
static bool check_bundled_ek(struct facts *f, struct verdict *v)
{
	cf_cleanup(cf_pkey_freep) struct cf_pkey *ek = NULL;
	struct cf_view chain[TPM_EVIDENCE_CHAIN];
	struct cf_err err;
	size_t root;

	if (!f->in->is_offline || f->ev.ek_cert.size == 0)
		return true;
	if (!f->in->tpm_roots || f->in->tpm_roots->count == 0) {
		verdict_skip(v, "ek-certificate", "no CA was given to check it with");
		return true;
	}
	for (size_t i = 0; i < f->ev.ek_chain_count; i++)
		chain[i] = cf_buf_view(&f->ev.ek_chain[i]);
	if (tpm_check_ek(f->in->tpm_roots, cf_buf_view(&f->ev.ek_cert), chain, f->ev.ek_chain_count,
	                 f->in->now, &ek, &root, f->ek_sha256, &err) < 0) {
		verdict_refuse(v, "ek-certificate", "%s", err.msg);
		return false;
	}
	memcpy(f->root_sha256, f->in->tpm_roots->items[root].sha256, sizeof(f->root_sha256));
	v->anchor = cf_strdup(f->in->tpm_roots->items[root].name);
	verdict_ok(v, "ek-certificate")->actual = cf_strdup(v->anchor);
	return true;
}

/* ---- the quote ---- */

static bool check_quote(struct facts *f, struct verdict *v)
{
	struct cf_err err;

	if (tpm2_quote_parse(cf_buf_view(&f->ev.message), &f->quote, &err) < 0) {
		covering(verdict_refuse(v, "quote", "%s", err.msg), "TPM quote");
		return false;
	}
	if (tpm2_signature_verify(f->ev.ak, cf_buf_view(&f->ev.message),
	                          cf_buf_view(&f->ev.signature), &err) < 0) {
		covering(verdict_refuse(v, "quote-signature",
		                        "the quote is not signed by the attestation key (%s)",
		                        err.msg),
		         "TPM quote");
		return false;
	}
	covering(verdict_ok(v, "quote-signature"), "TPM quote");
	return true;
}

/* extraData is at most the TPM's 32 bytes of the digest. */
static bool check_report_data(struct facts *f, struct verdict *v)
{
	struct verdict_check *c;

	v->report_data = cf_hex_dup(f->quote.extra_data);
	if (!f->in->report_data.data || f->quote.extra_data.size == EXTRA_DATA_SIZE) {
		verifier_check_report_data(f->in, f->quote.extra_data, v);
		return !verdict_is_refused(v);
	}
	c = verdict_refuse(v, "report-data", "the quote's extraData has %zu bytes, not %u",
	                   f->quote.extra_data.size, EXTRA_DATA_SIZE);
	c->actual = cf_hex_dup(f->quote.extra_data);
	return false;
}

/* Values stand in rising order of the selected registers, and nothing else stands there. */
static bool check_pcr_list(struct facts *f, struct verdict *v)
{
	size_t want = (size_t)__builtin_popcount(f->quote.pcr_mask & 0xffffffu), n = 0;
	struct verdict_check *c;
	uint8_t sum[32];

	if (f->quote.pcr_mask >> TCG_PCR_COUNT || f->ev.value_count != want) {
		c = verdict_refuse(v, "pcr-list",
		                   "the quote selects %zu registers, the list has %zu", want,
		                   f->ev.value_count);
		covering(c, "PCR values");
		return false;
	}
	cf_sha256(cf_view(f->ev.values, want * TPM_PCR_VALUE), sum);
	if (!cf_view_eq(cf_view(sum, sizeof(sum)), f->quote.pcr_digest)) {
		c = verdict_refuse(v, "pcr-list", "the PCR values are not the quoted ones");
		c->expected = cf_hex_dup(f->quote.pcr_digest);
		c->actual = cf_hex_dup(cf_view(sum, sizeof(sum)));
		covering(c, "PCR values");
		return false;
	}
	for (unsigned i = 0; i < TCG_PCR_COUNT; i++)
		if (f->quote.pcr_mask & 1u << i)
			memcpy(f->pcr[i], f->ev.values[n++], TPM_PCR_VALUE);
	covering(verdict_ok(v, "pcr-list"), "PCR values");
	if ((f->quote.pcr_mask & PCRS_NEEDED) == PCRS_NEEDED)
		return true;
	verdict_refuse(v, "pcr-selection",
	               "the quote leaves out one of PCR 0, 2, 4, 8, 9 "
	               "(selection 0x%06x)",
	               f->quote.pcr_mask);
	return false;
}

/* ---- the log ---- */

static bool replay_log(struct facts *f, struct verdict *v)
{
	static const uint8_t zero[TPM_PCR_VALUE];
	struct cf_err err;

	if (tcg_log_parse(cf_buf_view(&f->ev.event_log), &f->log, &err) < 0 ||
	    tcg_log_replay(f->log, TCG_SHA256, &f->replay, &err) < 0) {
		covering(verdict_refuse(v, "event-log", "%s", err.msg), "event log");
		return false;
	}
	/* A record that extends nothing has no digest (PC Client PFP, EV_NO_ACTION). */
	for (size_t i = 0; i < tcg_log_count(f->log); i++) {
		const struct tcg_event *ev = tcg_log_at(f->log, i);
		struct cf_view d = tcg_event_digest(ev, TCG_SHA256);

		if (ev->type == TCG_EV_NO_ACTION && d.size &&
		    !cf_view_eq(d, cf_view(zero, sizeof(zero)))) {
			covering(verdict_refuse(v, "event-log",
			                        "event %zu extends nothing and has a digest", i),
			         "event log");
			return false;
		}
	}
	return true;
}

static bool check_event_log(struct facts *f, struct verdict *v)
{
	struct verdict_check *c;

	if (f->ev.event_log.size == 0) {
		covering(verdict_skip(v, "event-log", "the evidence holds no event log"),
		         "event log");
		return true;
	}
	if (!replay_log(f, v))
		return false;
	for (unsigned i = 0; i < TCG_PCR_COUNT; i++) {
		struct cf_view replayed = cf_view(f->replay.pcr[i].value, TPM_PCR_VALUE);

		if (f->replay.pcr[i].extends == 0 || i == PCR_IMA)
			continue;
		if (!(f->quote.pcr_mask & 1u << i)) {
			covering(verdict_refuse(v, "event-log",
			                        "the log extends PCR %u, which is not quoted", i),
			         "event log");
			return false;
		}
		if (cf_view_eq(replayed, cf_view(f->pcr[i], TPM_PCR_VALUE)))
			continue;
		c = verdict_refuse(
			v, "event-log",
			"the log does not give PCR %u: an event was changed, left out or "
			"added",
			i);
		c->expected = cf_hex_dup(cf_view(f->pcr[i], TPM_PCR_VALUE));
		c->actual = cf_hex_dup(replayed);
		covering(c, "event log");
		return false;
	}
	covering(verdict_ok(v, "event-log"), "event log");
	return true;
}

/* The @n-th event that extends @pcr. */
static const struct tcg_event *nth_event(const struct facts *f, uint32_t pcr, unsigned n)
{
	for (size_t i = 0; f->log && i < tcg_log_count(f->log); i++) {
		const struct tcg_event *ev = tcg_log_at(f->log, i);

		if (ev->pcr == pcr && ev->type != TCG_EV_NO_ACTION && n-- == 0)
			return ev;
	}
	return NULL;
}

static bool event_says(const struct tcg_event *ev, const char *text)
{
	struct cf_view part;
	bool is_covered;

	return ev && tcg_event_covered(ev, TCG_SHA256, &part, &is_covered, NULL) == 0 &&
	       is_covered && cf_view_eq_str(part, text);
}

/*
 * A BIOS measures the boot path and not the kernel's content: without the boot manager's own event,
 * re-hashed, the log is no UEFI firmware's and PCR 4 and 9 say nothing.
 */
static void check_uefi(struct facts *f, struct verdict *v)
{
	struct verdict_check *c;

	for (unsigned n = 0; n < f->replay.pcr[4].extends && !f->is_uefi; n++)
		f->is_uefi = event_says(nth_event(f, 4, n), EFI_BOOT_ACTION);
	if (f->is_uefi) {
		covering(verdict_ok(v, "uefi-events"), "firmware");
		return;
	}
	if (!f->log && f->in->is_offline) {
		covering(verdict_skip(v, "uefi-events", "no event log"), "firmware");
		return;
	}
	c = verdict_differs(v, "uefi-events",
	                    "the firmware did not measure as UEFI does: its registers do not tell "
	                    "which kernel was started");
	c->fix = cf_strdup("boot through UEFI firmware with a TPM (OVMF), not SeaBIOS");
	covering(c, "firmware");
}

static bool check_cmdline(struct facts *f, struct verdict *v)
{
	const struct tcg_event *first = nth_event(f, 9, 0), *second = nth_event(f, 9, 1);
	struct verdict_check *c;
	uint8_t sum[32];
	struct cf_err err;

	/* Direct boot: PCR 4 is kernel, action, separator; PCR 9 is command line, initrd. */
	if (f->is_uefi && f->replay.pcr[4].extends == 3 &&
	    event_says(nth_event(f, 4, 1), EFI_BOOT_ACTION))
		f->kernel = tcg_event_digest(nth_event(f, 4, 0), TCG_SHA256);
	if (second && f->replay.pcr[9].extends == DIRECT_BOOT_PCR9_EVENTS)
		f->initrd = tcg_event_digest(second, TCG_SHA256);
	if (!f->ev.cmdline.data || !first) {
		covering(verdict_skip(v, "cmdline",
		                      "the evidence holds no command line, or no event "
		                      "measured one"),
		         "command line");
		return true;
	}
	if (pcr_cmdline_digest(f->ev.cmdline, sum, &err) == 0 &&
	    cf_view_eq(cf_view(sum, sizeof(sum)), tcg_event_digest(first, TCG_SHA256))) {
		f->cmdline_is_proven = true;
		covering(verdict_ok(v, "cmdline"), "command line");
		return true;
	}
	c = verdict_refuse(v, "cmdline", "the command line sent is not the one that was measured");
	c->expected = cf_hex_dup(tcg_event_digest(first, TCG_SHA256));
	c->actual = cf_hex_dup(cf_view(sum, sizeof(sum)));
	covering(c, "command line");
	return false;
}

/* ---- initdata ---- */

static bool check_initdata(struct facts *f, struct verdict *v)
{
	static const uint8_t zero[TPM_PCR_VALUE];
	struct cf_view got = cf_view(f->pcr[8], TPM_PCR_VALUE);
	uint8_t want[TPM_PCR_VALUE], digest[32];
	cf_cleanup(cf_freep) char *hex = NULL;
	struct verdict_check *c;

	v->init_data = cf_hex_dup(got);
	if (!f->in->init_data_known) {
		covering(verdict_skip(v, "pcr08", "no initdata was given to compare with"),
		         "initdata");
		return true;
	}
	pcr_initdata_text_register(f->in->init_data, want);
	if (cf_view_eq(got, cf_view(want, sizeof(want)))) {
		cf_sha256(f->in->init_data, digest);
		hex = cf_hex_dup(cf_view(digest, sizeof(digest)));
		v->initdata_digest =
			f->in->init_data.data ? cf_asprintf("sha256:%s", hex) : cf_strdup("none");
		f->is_initdata_proven = true;
		covering(verdict_ok(v, "pcr08"), "initdata");
		return true;
	}
	if (cf_view_eq(got, cf_view(zero, sizeof(zero))))
		c = verdict_refuse(v, "pcr08",
		                   "the guest bound no initdata: PCR 8 was never extended");
	else if (!f->in->init_data.data)
		c = verdict_refuse(v, "pcr08",
		                   "the guest booted with initdata and did not send it");
	else
		c = verdict_refuse(v, "pcr08",
		                   "the initdata sent is not the one the guest booted with, "
		                   "or PCR 8 was extended more than once");
	c->expected = cf_hex_dup(cf_view(want, sizeof(want)));
	c->actual = cf_hex_dup(got);
	covering(c, "initdata");
	return false;
}

/* ---- appraisal ---- */

static void note_words(struct cf_buf *out, char sign, const struct cf_strv *of,
                       const struct cf_strv *but)
{
	for (size_t i = 0; i < of->count; i++)
		if (!cf_strv_has(but, of->items[i]))
			cf_buf_printf(out, " %c %s", sign, of->items[i]);
}

/* "command line changed: + init=/bin/sh" */
static char *explain_cmdline(const struct facts *f)
{
	const struct cf_json *ref = cf_json_get(f->in->references, "tpm_cmdline");
	struct cf_view want = cf_json_type(ref) == CF_JSON_ARRAY ? cf_json_str(cf_json_at(ref, 0))
	                                                         : cf_json_str(ref);
	cf_cleanup(cf_strv_fini) struct cf_strv have = { 0 }, approved = { 0 };
	cf_cleanup(cf_buf_fini) struct cf_buf b = { 0 };

	if (!f->cmdline_is_proven || !want.data ||
	    reference_has(f->in->references, "tpm_cmdline", f->ev.cmdline))
		return NULL;
	cf_strv_split(&have, f->ev.cmdline, ' ');
	cf_strv_split(&approved, want, ' ');
	cf_buf_add_str(&b, "the command line changed:");
	note_words(&b, '-', &approved, &have);
	note_words(&b, '+', &have, &approved);
	return cf_buf_take_str(&b);
}

static char *explain_pcr9(const struct facts *f)
{
	char *text = explain_cmdline(f);
	cf_cleanup(cf_freep) char *initrd = NULL;

	if (text)
		return text;
	if (f->initrd.size && reference_exists(f->in->references, "tpm_initrd")) {
		initrd = cf_hex_dup(f->initrd);
		if (!reference_has(f->in->references, "tpm_initrd", cf_view_str(initrd)))
			return cf_asprintf("the initrd changed: its SHA-256 is %s", initrd);
	}
	return cf_strdup("the command line or the initrd changed");
}

static char *explain_pcr4(const struct facts *f)
{
	cf_cleanup(cf_freep) char *kernel = NULL;

	if (f->log && f->is_uefi && f->replay.pcr[4].extends != 3)
		return cf_asprintf(
			"PCR 4 holds %u events instead of 3: another program was started "
			"besides the kernel",
			f->replay.pcr[4].extends);
	if (f->kernel.size && reference_exists(f->in->references, "tpm_kernel")) {
		kernel = cf_hex_dup(f->kernel);
		if (!reference_has(f->in->references, "tpm_kernel", cf_view_str(kernel)))
			return cf_asprintf(
				"the kernel changed (or memory size or initrd size, which "
				"QEMU writes into its header): measured as %s",
				kernel);
	}
	return cf_strdup("the kernel, the memory size or the initrd's size changed");
}

static char *explain_pcr0(const struct facts *f)
{
	(void)f;
	return cf_strdup("the firmware, the number of vCPUs or the memory size changed");
}

static char *explain_pcr2(const struct facts *f)
{
	(void)f;
	return cf_strdup("an option ROM of a device ran before the kernel");
}

static const struct judged {
	unsigned pcr;
	const char *name, *id, *covers;
	char *(*explain)(const struct facts *f);
} judged[] = {
	{ 0, "pcr00", "tpm_pcr00", "firmware, vCPUs, memory", explain_pcr0 },
	{ 2, "pcr02", "tpm_pcr02", "option ROMs", explain_pcr2 },
	{ 4, "pcr04", "tpm_pcr04", "kernel", explain_pcr4 },
	{ 9, "pcr09", "tpm_pcr09", "command line, initrd", explain_pcr9 },
};

static bool judge_register(const struct facts *f, const struct judged *j, struct verdict *v)
{
	cf_cleanup(cf_freep) char *hex = cf_hex_dup(cf_view(f->pcr[j->pcr], TPM_PCR_VALUE));
	cf_cleanup(cf_freep) char *why = NULL;
	struct verdict_check *c;

	if (reference_has(f->in->references, j->id, cf_view_str(hex))) {
		c = covering(verdict_ok(v, j->name), j->covers);
		c->actual = cf_take(&hex);
		return true;
	}
	if (!reference_exists(f->in->references, j->id)) {
		c = verdict_differs(v, j->name, "there is no approved value of PCR %u", j->pcr);
		c->fix = cf_strdup("coffer measure … | coffer kbs reference put -");
	} else {
		why = j->explain(f);
		c = verdict_differs(v, j->name, "%s", why);
		c->expected = reference_text(f->in->references, j->id);
		c->fix = cf_strdup("if you did not do this, treat the node as hostile; if you did: "
		                   "coffer measure … | coffer kbs reference put -");
	}
	c->actual = cf_take(&hex);
	covering(c, j->covers);
	return false;
}

static void judge_boot(const struct facts *f, struct verdict *v)
{
	bool all = f->is_uefi;

	if (!f->in->references) {
		verdict_skip(v, "measurements",
		             "no reference values were given: the boot was not judged");
		return;
	}
	for (size_t i = 0; i < CF_ARRAY_LEN(judged); i++)
		all &= judge_register(f, &judged[i], v);
	v->trust[VERDICT_EXECUTABLES] = all ? 3 : 33;
	if (f->is_initdata_proven)
		v->trust[VERDICT_CONFIGURATION] = 2;
}

/* What an attestation policy may not wave through without naming the root itself. */
static void note_doubt(const struct facts *f, struct verdict *v)
{
	const struct tpm_binding *b = f->in->tpm_binding;

	if (f->is_listed)
		return;
	if (!f->is_bound)
		v->hardware_doubt =
			cf_strdup("nothing proves that the attestation key is in a TPM");
	else if (b->kind == TPM_ROOT_SOFTWARE && !b->is_accepted)
		v->hardware_doubt =
			cf_asprintf("the TPM is a software one, of \"%s\"", b->root_name);
	if (f->is_bound)
		snprintf(v->anchor_sha256, sizeof(v->anchor_sha256), "%s", f->root_sha256);
}

static void judge_hardware(const struct facts *f, struct verdict *v)
{
	const struct tpm_binding *b = f->in->tpm_binding;

	if (f->is_bound)
		v->trust[VERDICT_HARDWARE] =
			b->kind != TPM_ROOT_SOFTWARE || b->is_accepted ? 2 : 32;
	else if (f->is_listed)
		v->trust[VERDICT_HARDWARE] = 2;
	else if (!f->in->is_offline)
		v->trust[VERDICT_HARDWARE] = 97;
	if (f->is_bound && b->kind == TPM_ROOT_SOFTWARE && !b->is_accepted)
		verdict_differs(
			v, "hardware",
			"the TPM is a software one and its CA (%s) is not accepted as a root",
			b->root_name)
			->fix =
			cf_strdup("coffer kbs tpm-root add CA.pem --kind software --accept, if "
		                  "this is a test");
	note_doubt(f, v);
	if (f->is_listed && !f->is_bound && !v->anchor)
		v->anchor = cf_strdup("attestation key trusted by name");
}

static void write_claims(const struct facts *f, struct verdict *v)
{
	struct cf_jw w = { .out = &v->claims };

	cf_jw_obj(&w);
	cf_jw_key(&w, "ak_public");
	cf_jw_b64(&w, CF_B64_STD, cf_buf_view(&f->ev.ak_spki));
	cf_jw_kbool(&w, "ak_bound", f->is_bound);
	cf_jw_kbool(&w, "software", f->is_bound && f->in->tpm_binding->kind == TPM_ROOT_SOFTWARE);
	if (f->ek_sha256[0])
		cf_jw_kstr(&w, "ek_sha256", f->ek_sha256);
	if (f->root_sha256[0])
		cf_jw_kstr(&w, "ek_root_sha256", f->root_sha256);
	for (unsigned i = 0; i < TCG_PCR_COUNT; i++) {
		char name[8];

		if (!(f->quote.pcr_mask & 1u << i))
			continue;
		snprintf(name, sizeof(name), "pcr%02u", i);
		cf_jw_key(&w, name);
		cf_jw_hex(&w, cf_view(f->pcr[i], TPM_PCR_VALUE));
	}
	if (f->cmdline_is_proven)
		cf_jw_kview(&w, "cmdline", f->ev.cmdline);
	if (f->kernel.size) {
		cf_jw_key(&w, "kernel_digest");
		cf_jw_hex(&w, f->kernel);
	}
	if (f->initrd.size) {
		cf_jw_key(&w, "initrd_digest");
		cf_jw_hex(&w, f->initrd);
	}
	cf_jw_end_obj(&w);
}

static int verify_tpm(const struct verify_input *in, struct verdict *v, struct cf_err *err)
{
	cf_cleanup(facts_fini) struct facts f = { .in = in };
	int r = tpm_evidence_parse(in->evidence, &f.ev, err);

	if (r < 0)
		return r;
	/* The first broken link ends the argument: what hangs below it is nobody's word. */
	if (!check_ak_structure(&f, v) || !check_quote(&f, v) || !check_report_data(&f, v) ||
	    !check_activation(&f, v) || !check_bundled_ek(&f, v) || !check_pcr_list(&f, v) ||
	    !check_event_log(&f, v))
		return 0;
	check_uefi(&f, v);
	if (!check_cmdline(&f, v) || !check_initdata(&f, v))
		return 0;
	judge_boot(&f, v);
	judge_hardware(&f, v);
	write_claims(&f, v);
	return cf_buf_check(&v->claims, "claims", err);
}

const struct verifier_ops verifier_tpm = {
	.tee = "tpm",
	.submod = "cpu0",
	.verify = verify_tpm,
};
