/* SPDX-License-Identifier: Apache-2.0 */
#include "kbs/tpm_evidence.h"

#include "kbs/tpm_binding.h"
#include "kbs/verifier.h"

#define SPKI_MAX 1024u

void tpm_evidence_fini(struct tpm_evidence *ev)
{
	cf_buf_fini(&ev->ak_spki);
	cf_pkey_free(ev->ak);
	cf_buf_fini(&ev->signature);
	cf_buf_fini(&ev->message);
	cf_buf_fini(&ev->ak_tpm2b);
	cf_buf_fini(&ev->event_log);
	cf_buf_fini(&ev->activation);
	cf_buf_fini(&ev->ek_cert);
	for (size_t i = 0; i < TPM_EVIDENCE_CHAIN; i++)
		cf_buf_fini(&ev->ek_chain[i]);
	cf_json_free(ev->doc);
	*ev = (struct tpm_evidence){ 0 };
}

static int opt_b64(const struct cf_json *obj, const char *key, size_t max, struct cf_buf *ret,
                   struct cf_err *err)
{
	const struct cf_json *v = cf_json_get(obj, key);

	ret->max = max;
	if (!v || cf_json_type(v) == CF_JSON_NULL)
		return 0;
	return cf_json_need_b64(obj, key, CF_B64_STD, ret, err);
}

/* One key, one encoding: a changed byte that OpenSSL would read over is refused here. */
static int parse_ak(struct tpm_evidence *ev, struct cf_err *err)
{
	cf_cleanup(cf_buf_fini) struct cf_buf canonical = { 0 };
	int r;

	ev->ak_spki.max = SPKI_MAX;
	r = cf_json_need_b64(ev->doc, "ak_public", CF_B64_STD, &ev->ak_spki, err);
	if (r == 0)
		r = cf_pkey_parse(cf_buf_view(&ev->ak_spki), &ev->ak, err);
	if (r == 0)
		r = cf_pkey_to_spki_der(ev->ak, &canonical, err);
	if (r < 0)
		return cf_wrap(err, r, "ak_public");
	if (!cf_view_eq(cf_buf_view(&canonical), cf_buf_view(&ev->ak_spki)))
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "ak_public: not the DER form of a SubjectPublicKeyInfo");
	return 0;
}

static int parse_values(const struct cf_json *list, struct tpm_evidence *ev, struct cf_err *err)
{
	int r = 0;

	if (cf_json_len(list) > TCG_PCR_COUNT)
		return cf_fail(err, CF_INVALID_ARGUMENT, "tpm_quote.pcrs: %zu values",
		               cf_json_len(list));
	for (size_t i = 0; r == 0 && i < cf_json_len(list); i++) {
		r = cf_hex_decode(cf_json_str(cf_json_at(list, i)), ev->values[i], TPM_PCR_VALUE,
		                  err);
		if (r == 0)
			ev->value_count++;
	}
	return r < 0 ? cf_wrap(err, r, "tpm_quote.pcrs") : 0;
}

static int parse_quote(struct tpm_evidence *ev, struct cf_err *err)
{
	const struct cf_json *quote = NULL, *pcrs = NULL;
	int r = cf_json_need(ev->doc, "tpm_quote", CF_JSON_OBJECT, &quote, err);

	ev->signature.max = TPM2_SIGNATURE_MAX;
	ev->message.max = TPM2_ATTEST_MAX;
	if (r == 0)
		r = cf_json_need_b64(quote, "signature", CF_B64_STD, &ev->signature, err);
	if (r == 0)
		r = cf_json_need_b64(quote, "message", CF_B64_STD, &ev->message, err);
	if (r == 0)
		r = cf_json_need(quote, "pcrs", CF_JSON_ARRAY, &pcrs, err);
	return r < 0 ? r : parse_values(pcrs, ev, err);
}

static int parse_chain(struct tpm_evidence *ev, struct cf_err *err)
{
	const struct cf_json *chain = cf_json_get(ev->doc, "ek_chain");
	int r = opt_b64(ev->doc, "ek_cert", TPM_EK_CERT_MAX, &ev->ek_cert, err);

	if (r == 0 && cf_json_len(chain) > TPM_EVIDENCE_CHAIN)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "ek_chain: %zu certificates",
		               cf_json_len(chain));
	for (; r == 0 && ev->ek_chain_count < cf_json_len(chain); ev->ek_chain_count++) {
		struct cf_buf *b = &ev->ek_chain[ev->ek_chain_count];

		b->max = TPM_EK_CERT_MAX;
		r = cf_b64_decode(CF_B64_STD, cf_json_str(cf_json_at(chain, ev->ek_chain_count)), b,
		                  err);
	}
	return r;
}

static int parse_all(struct cf_view text, struct tpm_evidence *ev, struct cf_err *err)
{
	int r = cf_json_parse(text, EVIDENCE_SIZE_MAX, &ev->doc, err);

	if (r == 0)
		r = parse_ak(ev, err);
	if (r == 0)
		r = parse_quote(ev, err);
	if (r == 0)
		r = opt_b64(ev->doc, "ak_tpm2b", TPM2_PUBLIC_MAX, &ev->ak_tpm2b, err);
	if (r == 0)
		r = opt_b64(ev->doc, "event_log", TCG_LOG_SIZE_MAX, &ev->event_log, err);
	if (r == 0)
		r = opt_b64(ev->doc, "activation", TPM_ACTIVATION, &ev->activation, err);
	if (r == 0)
		r = cf_json_opt_str(ev->doc, "cmdline", &ev->cmdline, err);
	if (r == 0)
		r = parse_chain(ev, err);
	if (r == 0 && ev->cmdline.size > TPM_CMDLINE_MAX)
		r = cf_fail(err, CF_RESOURCE_EXHAUSTED, "cmdline: %zu bytes", ev->cmdline.size);
	return r;
}

int tpm_evidence_parse(struct cf_view text, struct tpm_evidence *ret, struct cf_err *err)
{
	cf_cleanup(tpm_evidence_fini) struct tpm_evidence ev = { 0 };
	int r = parse_all(text, &ev, err);

	if (r < 0)
		return cf_wrap(err, r, "TPM evidence");
	*ret = ev;
	ev = (struct tpm_evidence){ 0 };
	return 0;
}
