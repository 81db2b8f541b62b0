/* SPDX-License-Identifier: Apache-2.0 */
/* Evidence of a TPM guest: proto/PROTOCOL-tpm-evidence.md says what and why. */
#include "attest-agent/attester.h"
#include "attest-agent/tpm.h"
#include "base/fd.h"
#include "proto/initdata.h"

#define FIRST_FREE_PCR 16u /* below: boot, and what coffer-init bound */

struct tpm_attester {
	const struct attester_config *config;
	struct aa_tpm *tpm;
};

static void tpm_close(void *self)
{
	struct tpm_attester *a = self;

	if (!a)
		return;
	aa_tpm_close(a->tpm);
	free(a);
}

static int tpm_open(const struct attester_config *config, void **ret, struct cf_err *err)
{
	struct tpm_attester *a = cf_zalloc(sizeof(*a));
	const char *device = config->tpm_device ? config->tpm_device : AA_TPM_DEVICE;
	int r;

	a->config = config;
	r = aa_tpm_open(device, config->tpm_ak_ecc ? AA_TPM_AK_ECC : AA_TPM_AK_RSA, &a->tpm, err);
	if (r < 0) {
		tpm_close(a);
		return r;
	}
	*ret = a;
	return 0;
}

/* ---- Request ---- */

static void write_binding(const struct aa_tpm_ek *ek, struct cf_view ak, struct cf_buf *ret)
{
	struct cf_jw w = { .out = ret };

	cf_jw_obj(&w);
	cf_jw_key(&w, "ek_cert");
	cf_jw_b64(&w, CF_B64_STD, cf_buf_view(&ek->cert));
	cf_jw_key(&w, "ek_chain");
	cf_jw_arr(&w);
	for (size_t i = 0; i < ek->chain_count; i++)
		cf_jw_b64(&w, CF_B64_STD, cf_buf_view(&ek->chain[i]));
	cf_jw_end_arr(&w);
	cf_jw_key(&w, "ak_public");
	cf_jw_b64(&w, CF_B64_STD, ak);
	cf_jw_end_obj(&w);
}

static int tpm_binding(void *self, struct cf_buf *ret, struct cf_err *err)
{
	struct tpm_attester *a = self;
	struct aa_tpm_ek ek = { 0 };
	struct cf_view ak, spki;
	int r = aa_tpm_ak_public(a->tpm, &ak, &spki, err);

	if (r == 0)
		r = aa_tpm_ek(a->tpm, &ek, err);
	if (r == 0) {
		write_binding(&ek, ak, ret);
		r = cf_buf_check(ret, "TPM binding", err);
	}
	aa_tpm_ek_fini(&ek);
	return r == AA_TPM_E_NO_EK ? 0 : r;
}

/* ---- evidence ---- */

/* HMAC-SHA-256(credential, report data): only the TPM of the EK certificate could open the credential. */
static int activation(struct tpm_attester *a, const struct cf_json *challenge,
                      struct cf_view report_data, uint8_t out[32], struct cf_err *err)
{
	cf_cleanup(cf_secret_freep) struct cf_secret *credential = NULL;
	struct cf_buf blob = { 0 }, secret = { 0 };
	int r = cf_json_need_b64(challenge, "credential_blob", CF_B64_STD, &blob, err);

	if (r == 0)
		r = cf_json_need_b64(challenge, "secret", CF_B64_STD, &secret, err);
	if (r == 0)
		r = aa_tpm_activate(a->tpm, cf_buf_view(&blob), cf_buf_view(&secret), &credential,
		                    err);
	if (r == 0)
		cf_hmac(CF_SHA256, cf_secret_view(credential), report_data, out);
	cf_buf_fini(&blob);
	cf_buf_fini(&secret);
	return r;
}

static int read_optional(const char *path, size_t max, struct cf_buf *ret, struct cf_err *err)
{
	int r = cf_read_file(path, max, ret, err);

	return r == -CF_NOT_FOUND ? 0 : r;
}

/* The firmware's log, and behind it the records of what was measured since. */
static int read_log(const struct attester_config *config, struct cf_buf *ret, struct cf_err *err)
{
	const char *path = config->event_log ? config->event_log : ATTESTER_EVENT_LOG;
	int r;

	ret->max = ATTESTER_EVENT_LOG_MAX;
	r = read_optional(path, ATTESTER_EVENT_LOG_MAX, ret, err);
	if (r == 0 && ret->size && config->aael)
		r = read_optional(config->aael, ATTESTER_EVENT_LOG_MAX - ret->size, ret, err);
	return r < 0 ? cf_wrap(err, r, "event log") : 0;
}

static int read_cmdline(const struct attester_config *config, struct cf_buf *ret,
                        struct cf_err *err)
{
	const char *path = config->cmdline ? config->cmdline : ATTESTER_CMDLINE;
	int r = cf_read_file(path, ATTESTER_CMDLINE_MAX, ret, err);

	if (r < 0)
		return cf_wrap(err, r, "command line");
	if (ret->size && ret->data[ret->size - 1] == '\n')
		ret->data[--ret->size] = '\0';
	if (!cf_view_is_utf8(cf_buf_view(ret)) || cf_view_has_nul(cf_buf_view(ret)))
		return cf_fail(err, CF_INVALID_ARGUMENT, "command line: not a UTF-8 text");
	return 0;
}

struct parts {
	struct cf_view tpm2b, spki; /* borrowed from the TPM */
	struct aa_tpm_quote quote;
	struct cf_buf log, cmdline;
	uint8_t activation[32];
	bool is_activated;
};

static void parts_fini(struct parts *p)
{
	aa_tpm_quote_fini(&p->quote);
	cf_buf_fini(&p->log);
	cf_buf_fini(&p->cmdline);
}

static void kb64(struct cf_jw *w, const char *key, struct cf_view v)
{
	cf_jw_key(w, key);
	cf_jw_b64(w, CF_B64_STD, v);
}

static void write_parts(const struct parts *p, struct cf_buf *ret)
{
	struct cf_jw w = { .out = ret };

	cf_jw_obj(&w);
	kb64(&w, "ak_public", p->spki);
	cf_jw_key(&w, "tpm_quote");
	cf_jw_obj(&w);
	kb64(&w, "signature", cf_buf_view(&p->quote.signature));
	kb64(&w, "message", cf_buf_view(&p->quote.message));
	cf_jw_key(&w, "pcrs");
	cf_jw_arr(&w);
	for (size_t i = 0; i < AA_TPM_PCR_COUNT; i++)
		cf_jw_hex(&w, cf_view(p->quote.pcr[i], 32));
	cf_jw_end_arr(&w);
	cf_jw_end_obj(&w);
	kb64(&w, "ak_tpm2b", p->tpm2b);
	kb64(&w, "event_log", cf_buf_view(&p->log));
	cf_jw_kview(&w, "cmdline", cf_buf_view(&p->cmdline));
	if (p->is_activated)
		kb64(&w, "activation", cf_view(p->activation, sizeof(p->activation)));
	cf_jw_end_obj(&w);
}

static int tpm_evidence(void *self, struct cf_view report_data, const struct cf_json *challenge,
                        struct cf_buf *ret, struct cf_err *err)
{
	struct tpm_attester *a = self;
	struct parts p = { 0 };
	uint8_t nonce[32] = { 0 };
	int r = aa_tpm_ak_public(a->tpm, &p.tpm2b, &p.spki, err);

	/* A TPM quotes over 32 bytes: longer report data is cut, shorter gets zeroes. */
	initdata_field(report_data, nonce, sizeof(nonce));
	if (r == 0 && challenge) {
		r = activation(a, challenge, report_data, p.activation, err);
		p.is_activated = r == 0;
	}
	if (r == 0)
		r = read_log(a->config, &p.log, err);
	if (r == 0)
		r = read_cmdline(a->config, &p.cmdline, err);
	if (r == 0)
		r = aa_tpm_quote(a->tpm, cf_view(nonce, sizeof(nonce)), &p.quote, err);
	if (r == 0) {
		write_parts(&p, ret);
		r = cf_buf_check(ret, "evidence", err);
	}
	parts_fini(&p);
	return r;
}

/* ---- initdata, runtime measurement ---- */

/* The 32 bytes that PCR 8 is extended with: SHA-256 of the text, or a digest of that size. */
static int initdata_event(const struct attester_initdata *initdata, uint8_t out[32],
                          struct cf_err *err)
{
	if (initdata->text.data)
		initdata_pcr8_event(initdata->text, out);
	else if (initdata->digest.size == 32)
		memcpy(out, initdata->digest.data, 32);
	else
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "initdata digest of %zu bytes: a TPM binds 32",
		               initdata->digest.size);
	return 0;
}

static void pcr_after(const uint8_t event[32], uint8_t out[32])
{
	uint8_t both[64] = { 0 };

	memcpy(both + 32, event, 32);
	cf_sha256(cf_view(both, sizeof(both)), out);
}

static int tpm_check_initdata(void *self, const struct attester_initdata *initdata, bool may_bind,
                              struct cf_err *err)
{
	static const uint8_t zero[32] = { 0 };
	struct tpm_attester *a = self;
	uint8_t want[32], got[32], event[32];
	int r = initdata_event(initdata, event, err);

	if (r == 0)
		r = aa_tpm_pcr_read(a->tpm, INITDATA_PCR, got, err);
	if (r < 0)
		return r;
	pcr_after(event, want);
	if (may_bind && memcmp(got, zero, sizeof(got)) == 0)
		return aa_tpm_pcr_extend(a->tpm, INITDATA_PCR, event, err);
	if (memcmp(got, want, sizeof(got)) == 0)
		return 0;

	cf_cleanup(cf_freep) char *got_hex = cf_hex_dup(cf_view(got, sizeof(got)));
	cf_cleanup(cf_freep) char *want_hex = cf_hex_dup(cf_view(want, sizeof(want)));

	return cf_fail(err, CF_PERMISSION_DENIED,
	               "initdata does not match PCR %u: expected %s, actual %s", INITDATA_PCR,
	               want_hex, got_hex);
}

static int check_register(uint64_t reg, struct cf_err *err)
{
	if (reg < FIRST_FREE_PCR)
		return cf_fail(err, CF_PERMISSION_DENIED,
		               "PCR %llu belongs to the boot: events go to PCR %u or above",
		               (unsigned long long)reg, FIRST_FREE_PCR);
	if (reg >= AA_TPM_PCR_COUNT)
		return cf_fail(err, CF_UNIMPLEMENTED, "there is no PCR %llu",
		               (unsigned long long)reg);
	return 0;
}

static int tpm_read_register(void *self, uint64_t reg, uint8_t ret[32], struct cf_err *err)
{
	struct tpm_attester *a = self;
	int r = check_register(reg, err);

	return r < 0 ? r : aa_tpm_pcr_read(a->tpm, (unsigned)reg, ret, err);
}

static int tpm_extend(void *self, uint64_t reg, const uint8_t digest[32], struct cf_err *err)
{
	struct tpm_attester *a = self;
	int r = check_register(reg, err);

	return r < 0 ? r : aa_tpm_pcr_extend(a->tpm, (unsigned)reg, digest, err);
}

static int tpm_event_log(void *self, struct cf_buf *ret, struct cf_err *err)
{
	struct tpm_attester *a = self;

	return read_log(a->config, ret, err);
}

/* ---- show ---- */

static void describe_ek(const struct aa_tpm_ek *ek, struct cf_jw *w)
{
	cf_cleanup(cf_cert_freep) struct cf_cert *cert = NULL;

	if (cf_cert_parse(cf_buf_view(&ek->cert), &cert, NULL) < 0)
		return;
	cf_cleanup(cf_freep) char *issuer = cf_cert_issuer(cert);
	uint8_t sum[32];

	cf_cert_sha256(cert, sum);
	cf_jw_kstr(w, "ek_issuer", issuer);
	cf_jw_key(w, "ek_cert_sha256");
	cf_jw_hex(w, cf_view(sum, sizeof(sum)));
}

static int tpm_describe(void *self, struct cf_jw *w, struct cf_err *err)
{
	struct tpm_attester *a = self;
	struct aa_tpm_ek ek = { 0 };
	struct aa_tpm_quote q = { 0 };
	int r = aa_tpm_ek(a->tpm, &ek, err);

	if (r == 0)
		describe_ek(&ek, w);
	aa_tpm_ek_fini(&ek);
	if (r >= 0)
		r = aa_tpm_quote(a->tpm, cf_view_str("attest show"), &q, err);
	if (r == 0) {
		cf_jw_key(w, "pcrs");
		cf_jw_arr(w);
		for (size_t i = 0; i < AA_TPM_PCR_COUNT; i++)
			cf_jw_hex(w, cf_view(q.pcr[i], 32));
		cf_jw_end_arr(w);
	}
	aa_tpm_quote_fini(&q);
	return r;
}

const struct attester_ops attester_tpm = {
	.tee = "tpm",
	.open = tpm_open,
	.close = tpm_close,
	.binding = tpm_binding,
	.evidence = tpm_evidence,
	.check_initdata = tpm_check_initdata,
	.default_register = 23,
	.read_register = tpm_read_register,
	.extend = tpm_extend,
	.event_log = tpm_event_log,
	.describe = tpm_describe,
};
