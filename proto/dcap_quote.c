/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/dcap_quote.h"

#define HEADER_SIZE   48u
#define KEY_P256      2u
#define TEE_TDX       0x81u
#define CERTS_QE      6u /* QE report and its certificates inside */
#define CERTS_PCK_PEM 5u

static int parse_body(struct dcap_quote *q, struct cf_rd *rd, struct cf_err *err)
{
	static const uint32_t sizes[] = { 0, DCAP_SGX_BODY, DCAP_TDX10_BODY, DCAP_TDX15_BODY };
	uint32_t size;

	if (q->version == 3 || q->version == 4) {
		q->body_type = q->tee_type == TEE_TDX ? 2 : 1;
		size = sizes[q->body_type];
	} else {
		q->body_type = cf_rd_u16le(rd);
		size = cf_rd_u32le(rd);
		if (q->body_type == 0 || q->body_type > 3 || size != sizes[q->body_type])
			return cf_fail(err, CF_INVALID_ARGUMENT, "quote: body type %u of %u bytes",
			               q->body_type, size);
	}
	if ((q->body_type == 1) != (q->tee_type == 0))
		return cf_fail(err, CF_INVALID_ARGUMENT, "quote: body type %u for TEE type 0x%x",
		               q->body_type, q->tee_type);
	q->body = cf_rd_bytes(rd, size);
	return 0;
}

static int parse_qe(struct dcap_quote *q, struct cf_rd *rd, struct cf_err *err)
{
	uint16_t type;

	q->qe_report = cf_rd_bytes(rd, DCAP_SGX_BODY);
	q->qe_signature = cf_rd_bytes(rd, 64);
	q->qe_auth = cf_rd_bytes(rd, cf_rd_u16le(rd));
	type = cf_rd_u16le(rd);
	q->pck_chain = cf_rd_bytes(rd, cf_rd_u32le(rd));
	if (rd->bad)
		return cf_fail(err, CF_INVALID_ARGUMENT, "quote: cut short");
	if (type != CERTS_PCK_PEM)
		return cf_fail(err, CF_UNIMPLEMENTED, "quote: certification data of type %u", type);
	return 0;
}

static int parse_signature(struct dcap_quote *q, struct cf_view data, struct cf_err *err)
{
	struct cf_rd rd = { .in = data }, inner = { 0 };
	uint16_t type;
	int r;

	q->signature = cf_rd_bytes(&rd, 64);
	q->attestation_key = cf_rd_bytes(&rd, 64);
	if (q->version == 3) {
		r = parse_qe(q, &rd, err);
	} else {
		type = cf_rd_u16le(&rd);
		inner.in = cf_rd_bytes(&rd, cf_rd_u32le(&rd));
		if (!rd.bad && type != CERTS_QE)
			return cf_fail(err, CF_UNIMPLEMENTED,
			               "quote: certification data of type %u", type);
		r = parse_qe(q, &inner, err);
		if (r == 0 && cf_rd_left(&inner))
			r = cf_fail(err, CF_INVALID_ARGUMENT,
			            "quote: bytes behind the certificates");
	}
	if (r == 0 && (rd.bad || cf_rd_left(&rd)))
		r = cf_fail(err, CF_INVALID_ARGUMENT, "quote: malformed signature data");
	return r;
}

/* Firmware pads the buffer that it hands out. */
static bool only_zeroes(struct cf_view v)
{
	for (size_t i = 0; i < v.size; i++)
		if (v.data[i])
			return false;
	return true;
}

int dcap_quote_parse(struct cf_view raw, struct dcap_quote *ret, struct cf_err *err)
{
	struct cf_rd rd = { .in = raw };
	struct dcap_quote q = { 0 };
	struct cf_view signature;
	int r;

	if (raw.size > DCAP_QUOTE_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "quote of %zu bytes", raw.size);
	q.version = cf_rd_u16le(&rd);
	q.key_type = cf_rd_u16le(&rd);
	q.tee_type = cf_rd_u32le(&rd);
	cf_rd_skip(&rd, HEADER_SIZE - 8);
	q.header = cf_view_sub(raw, 0, HEADER_SIZE);
	if (rd.bad)
		return cf_fail(err, CF_INVALID_ARGUMENT, "quote: cut short");
	if (q.version < 3 || q.version > 5 || q.key_type != KEY_P256 ||
	    (q.tee_type != 0 && q.tee_type != TEE_TDX) || (q.version == 3 && q.tee_type))
		return cf_fail(err, CF_UNIMPLEMENTED,
		               "quote: version %u, key type %u, TEE type 0x%x", q.version,
		               q.key_type, q.tee_type);
	r = parse_body(&q, &rd, err);
	if (r < 0)
		return r;
	q.signed_part = cf_view_sub(raw, 0, rd.pos);
	signature = cf_rd_bytes(&rd, cf_rd_u32le(&rd));
	if (rd.bad || !only_zeroes(cf_view_sub(raw, rd.pos, raw.size)))
		return cf_fail(err, CF_INVALID_ARGUMENT, "quote: cut short, or bytes behind it");
	r = parse_signature(&q, signature, err);
	if (r == 0)
		*ret = q;
	return r;
}

bool dcap_quote_is_tdx(const struct dcap_quote *q)
{
	return q->body_type != 1;
}

struct cf_view dcap_quote_report_data(const struct dcap_quote *q)
{
	return cf_view_sub(q->body, dcap_quote_is_tdx(q) ? 520 : 320, 64);
}

struct cf_view dcap_quote_field(const struct dcap_quote *q, size_t at, size_t size)
{
	struct cf_view v = cf_view_sub(q->body, at, size);

	return v.size == size ? v : (struct cf_view){ 0 };
}
