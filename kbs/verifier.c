/* SPDX-License-Identifier: Apache-2.0 */
#include "kbs/verifier.h"

const struct verifier_ops *const verifier_table[] = {
	&verifier_sample, &verifier_tpm,    &verifier_snp,    &verifier_tdx,
	&verifier_sgx,    &verifier_az_snp, &verifier_az_tdx, NULL,
};

const struct verifier_ops *verifier_find(struct cf_view tee)
{
	for (size_t i = 0; verifier_table[i]; i++)
		if (cf_view_eq_str(tee, verifier_table[i]->tee))
			return verifier_table[i];
	return NULL;
}

/* Reference values are texts, numbers or booleans; evidence is compared in text form. */
static bool value_is(const struct cf_json *v, struct cf_view text)
{
	cf_cleanup(cf_buf_fini) struct cf_buf printed = { 0 };

	if (cf_json_type(v) == CF_JSON_STRING)
		return cf_view_eq(cf_json_str(v), text);
	cf_json_print(v, &printed);
	return cf_view_eq(cf_buf_view(&printed), text);
}

bool reference_has(const struct cf_json *references, const char *id, struct cf_view value)
{
	const struct cf_json *ref = cf_json_get(references, id);

	if (!ref)
		return false;
	if (cf_json_type(ref) != CF_JSON_ARRAY)
		return value_is(ref, value);
	for (size_t i = 0; i < cf_json_len(ref); i++)
		if (value_is(cf_json_at(ref, i), value))
			return true;
	return false;
}

bool reference_exists(const struct cf_json *references, const char *id)
{
	const struct cf_json *ref = cf_json_get(references, id);

	return ref && (cf_json_type(ref) != CF_JSON_ARRAY || cf_json_len(ref) > 0);
}

static void add_value(struct cf_buf *b, const struct cf_json *v)
{
	if (b->size)
		cf_buf_add_str(b, " or ");
	if (cf_json_type(v) == CF_JSON_STRING)
		cf_buf_add_view(b, cf_json_str(v));
	else
		cf_json_print(v, b);
}

char *reference_text(const struct cf_json *references, const char *id)
{
	const struct cf_json *ref = cf_json_get(references, id);
	cf_cleanup(cf_buf_fini) struct cf_buf b = { 0 };

	if (!reference_exists(references, id))
		return NULL;
	if (cf_json_type(ref) != CF_JSON_ARRAY)
		add_value(&b, ref);
	for (size_t i = 0; cf_json_type(ref) == CF_JSON_ARRAY && i < cf_json_len(ref); i++)
		add_value(&b, cf_json_at(ref, i));
	return cf_buf_take_str(&b);
}

void verifier_regularize(struct cf_view v, uint8_t *out, size_t size)
{
	memset(out, 0, size);
	if (v.size)
		memcpy(out, v.data, CF_MIN(v.size, size));
}

void verifier_check_report_data(const struct verify_input *in, struct cf_view got,
                                struct verdict *v)
{
	static const char covers[] = "nonce and TEE key";
	uint8_t want[64];
	struct verdict_check *c;

	if (!in->report_data.data) {
		c = verdict_skip(
			v, "report-data",
			"no report data was given to compare with: the evidence may be old");
		c->covers = cf_strdup(covers);
		return;
	}
	verifier_regularize(in->report_data, want, CF_MIN(got.size, sizeof(want)));
	if (got.size <= sizeof(want) && got.size &&
	    cf_equal_ct(got, cf_view(want, CF_MIN(got.size, sizeof(want))))) {
		c = verdict_ok(v, "report-data");
	} else {
		c = verdict_refuse(v, "report-data",
		                   "the evidence answers another nonce or another TEE key: it is "
		                   "replayed, or it was made for somebody else");
		c->expected = cf_hex_dup(cf_view(want, CF_MIN(got.size, sizeof(want))));
		c->actual = cf_hex_dup(got);
		c->fix = cf_strdup("let the guest attest again in a session of its own");
	}
	c->covers = cf_strdup(covers);
}
