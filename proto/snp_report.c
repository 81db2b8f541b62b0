/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/snp_report.h"

#define AT_REPORTED_TCB 0x180u
#define AT_SIG_R        0x2a0u
#define AT_SIG_S        0x2e8u

static uint64_t le(struct cf_view raw, size_t at, size_t bytes)
{
	uint64_t v = 0;

	for (size_t i = bytes; i-- > 0;)
		v = v << 8 | raw.data[at + i];
	return v;
}

static enum snp_generation generation_of(uint8_t family, uint8_t model)
{
	if (family == 0x19 && model <= 0x0f)
		return SNP_MILAN;
	if (family == 0x19 &&
	    ((model >= 0x10 && model <= 0x1f) || (model >= 0xa0 && model <= 0xaf)))
		return SNP_GENOA;
	return family == 0x1a && model <= 0x11 ? SNP_TURIN : SNP_UNKNOWN;
}

static struct snp_tcb read_tcb(struct cf_view raw, size_t at, enum snp_generation g)
{
	const uint8_t *b = raw.data + at;

	if (g == SNP_TURIN)
		return (struct snp_tcb){
			.fmc = b[0], .bootloader = b[1], .tee = b[2], .snp = b[3], .microcode = b[7]
		};
	return (struct snp_tcb){ .bootloader = b[0], .tee = b[1], .snp = b[6], .microcode = b[7] };
}

int snp_report_parse(struct cf_view raw, struct snp_report *ret, struct cf_err *err)
{
	struct snp_report r = { .raw = raw };

	if (raw.size != SNP_REPORT_SIZE)
		return cf_fail(err, CF_INVALID_ARGUMENT, "SNP report of %zu bytes, not %u",
		               raw.size, SNP_REPORT_SIZE);
	r.version = (uint32_t)le(raw, 0x00, 4);
	r.guest_svn = (uint32_t)le(raw, 0x04, 4);
	r.policy = le(raw, 0x08, 8);
	r.vmpl = (uint32_t)le(raw, 0x30, 4);
	r.sig_algo = (uint32_t)le(raw, 0x34, 4);
	r.plat_info = le(raw, 0x40, 8);
	r.report_data = cf_view_sub(raw, 0x50, 64);
	r.measurement = cf_view_sub(raw, 0x90, 48);
	r.host_data = cf_view_sub(raw, 0xc0, 32);
	r.chip_id = cf_view_sub(raw, 0x1a0, 64);
	if (r.version >= 3) {
		r.cpu_family = raw.data[0x188];
		r.cpu_model = raw.data[0x189];
	}
	r.generation = generation_of(r.cpu_family, r.cpu_model);
	r.reported_tcb = read_tcb(raw, AT_REPORTED_TCB, r.generation);
	*ret = r;
	return 0;
}

int snp_report_signature(const struct snp_report *r, uint8_t ret[96], struct cf_err *err)
{
	static const size_t parts[] = { AT_SIG_R, AT_SIG_S };

	for (size_t p = 0; p < 2; p++) {
		const uint8_t *le_part = r->raw.data + parts[p];

		for (size_t i = 48; i < SNP_SIG_PART; i++)
			if (le_part[i])
				return cf_fail(err, CF_INVALID_ARGUMENT,
				               "SNP report: a signature beyond P-384");
		for (size_t i = 0; i < 48; i++)
			ret[48 * p + i] = le_part[47 - i];
	}
	return 0;
}

/* ---- JSON ---- */

int snp_json_bytes(const struct cf_json *arr, size_t size, struct cf_buf *ret, struct cf_err *err)
{
	size_t n = cf_json_len(arr);

	if (cf_json_type(arr) != CF_JSON_ARRAY || (size && n != size))
		return cf_fail(err, CF_INVALID_ARGUMENT, "not an array of %zu bytes", size);
	for (size_t i = 0; i < n; i++) {
		const struct cf_json *v = cf_json_at(arr, i);
		int64_t b = cf_json_int(v);

		if (cf_json_type(v) != CF_JSON_INT || b < 0 || b > 255)
			return cf_fail(err, CF_INVALID_ARGUMENT, "element %zu is no byte", i);
		cf_buf_add_byte(ret, (uint8_t)b);
	}
	return cf_buf_check(ret, "bytes", err);
}

struct number_field {
	const char *key;
	size_t at, bytes;
	bool optional; /* null or absent in older versions */
};

static const struct number_field numbers[] = {
	{ "version", 0x00, 4, false },
	{ "guest_svn", 0x04, 4, false },
	{ "policy", 0x08, 8, false },
	{ "vmpl", 0x30, 4, false },
	{ "sig_algo", 0x34, 4, false },
	{ "plat_info", 0x40, 8, false },
	{ "key_info", 0x48, 4, false },
	{ "cpuid_fam_id", 0x188, 1, true },
	{ "cpuid_mod_id", 0x189, 1, true },
	{ "cpuid_step", 0x18a, 1, true },
	{ "launch_mit_vector", 0x1f8, 8, true },
	{ "current_mit_vector", 0x200, 8, true },
};

static const struct number_field arrays[] = {
	{ "family_id", 0x10, 16, false },          { "image_id", 0x20, 16, false },
	{ "report_data", 0x50, 64, false },        { "measurement", 0x90, 48, false },
	{ "host_data", 0xc0, 32, false },          { "id_key_digest", 0xe0, 48, false },
	{ "author_key_digest", 0x110, 48, false }, { "report_id", 0x140, 32, false },
	{ "report_id_ma", 0x160, 32, false },      { "chip_id", 0x1a0, 64, false },
};

static int put_number(const struct cf_json *obj, const struct number_field *f, uint8_t *raw,
                      struct cf_err *err)
{
	uint64_t v = 0;
	int r = f->optional ? cf_json_opt_u64(obj, f->key, &v, err)
	                    : cf_json_need_u64(obj, f->key, &v, err);

	if (r < 0)
		return r;
	if (f->bytes < 8 && v >> (8 * f->bytes))
		return cf_fail(err, CF_INVALID_ARGUMENT, "%s is too large", f->key);
	for (size_t i = 0; i < f->bytes; i++)
		raw[f->at + i] = (uint8_t)(v >> (8 * i));
	return 0;
}

static int put_array(const struct cf_json *obj, const char *key, size_t at, size_t bytes,
                     uint8_t *raw, struct cf_err *err)
{
	cf_cleanup(cf_buf_fini) struct cf_buf b = { .max = 128 };
	int r = snp_json_bytes(cf_json_get(obj, key), bytes, &b, err);

	if (r < 0)
		return cf_wrap(err, r, "%s", key);
	memcpy(raw + at, b.data, bytes);
	return 0;
}

static int put_tcb(const struct cf_json *obj, const char *key, size_t at, uint8_t *raw,
                   struct cf_err *err)
{
	const struct cf_json *t = NULL;
	bool is_turin = generation_of(raw[0x188], raw[0x189]) == SNP_TURIN;
	const struct number_field parts[] = {
		{ "fmc", at + 0, 1, true },
		{ "bootloader", at + is_turin, 1, false },
		{ "tee", at + 1 + is_turin, 1, false },
		{ "snp", at + (is_turin ? 3 : 6), 1, false },
		{ "microcode", at + 7, 1, false },
	};
	int r = cf_json_need(obj, key, CF_JSON_OBJECT, &t, err);

	for (size_t i = is_turin ? 0 : 1; r == 0 && i < CF_ARRAY_LEN(parts); i++)
		r = put_number(t, &parts[i], raw, err);
	return r;
}

static int put_build(const struct cf_json *obj, const char *key, size_t at, uint8_t *raw,
                     struct cf_err *err)
{
	const struct number_field parts[] = { { "build", at, 1, false },
		                              { "minor", at + 1, 1, false },
		                              { "major", at + 2, 1, false } };
	const struct cf_json *v = NULL;
	int r = cf_json_need(obj, key, CF_JSON_OBJECT, &v, err);

	for (size_t i = 0; r == 0 && i < CF_ARRAY_LEN(parts); i++)
		r = put_number(v, &parts[i], raw, err);
	return r;
}

static int encode(const struct cf_json *obj, uint8_t *raw, struct cf_err *err)
{
	const struct cf_json *sig = cf_json_get(obj, "signature");
	int r = 0;

	for (size_t i = 0; r == 0 && i < CF_ARRAY_LEN(numbers); i++)
		r = put_number(obj, &numbers[i], raw, err);
	for (size_t i = 0; r == 0 && i < CF_ARRAY_LEN(arrays); i++)
		r = put_array(obj, arrays[i].key, arrays[i].at, arrays[i].bytes, raw, err);
	if (r == 0)
		r = put_tcb(obj, "current_tcb", 0x38, raw, err);
	if (r == 0)
		r = put_tcb(obj, "reported_tcb", AT_REPORTED_TCB, raw, err);
	if (r == 0)
		r = put_tcb(obj, "committed_tcb", 0x1e0, raw, err);
	if (r == 0)
		r = put_tcb(obj, "launch_tcb", 0x1f0, raw, err);
	if (r == 0)
		r = put_build(obj, "current", 0x1e8, raw, err);
	if (r == 0)
		r = put_build(obj, "committed", 0x1ec, raw, err);
	if (r == 0)
		r = put_array(sig, "r", AT_SIG_R, SNP_SIG_PART, raw, err);
	return r < 0 ? r : put_array(sig, "s", AT_SIG_S, SNP_SIG_PART, raw, err);
}

int snp_report_encode(const struct cf_json *obj, struct cf_buf *ret, struct cf_err *err)
{
	uint8_t raw[SNP_REPORT_SIZE] = { 0 };
	int r = encode(obj, raw, err);

	if (r < 0)
		return cf_wrap(err, r, "attestation_report");
	cf_buf_add(ret, raw, sizeof(raw));
	return cf_buf_check(ret, "report", err);
}
