/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/blobcache.h"

#define MAGIC     0x43464243u /* "CFBC" */
#define REPLY_BIT 0x80u

int blobcache_head_parse(struct cf_view in, struct blobcache_head *ret, struct cf_err *err)
{
	struct cf_rd rd = { .in = in };
	uint32_t magic = cf_rd_u32be(&rd);
	uint8_t op = cf_rd_u8(&rd);
	struct blobcache_head h = { .op = op & ~REPLY_BIT, .is_reply = op & REPLY_BIT };

	h.status = cf_rd_u8(&rd);
	uint16_t zero = cf_rd_u16be(&rd);

	h.id = cf_rd_u32be(&rd);
	h.size = cf_rd_u32be(&rd);
	if (rd.bad || cf_rd_left(&rd) || magic != MAGIC || zero)
		return cf_fail(err, CF_INVALID_ARGUMENT, "blob cache: not a frame");
	if (h.size > BLOBCACHE_BODY_MAX)
		return cf_fail(err, CF_INVALID_ARGUMENT, "blob cache: a frame of %u bytes", h.size);
	*ret = h;
	return 0;
}

void blobcache_head_put(const struct blobcache_head *h, struct cf_buf *out)
{
	cf_buf_add_u32be(out, MAGIC);
	cf_buf_add_byte(out, (uint8_t)(h->op | (h->is_reply ? REPLY_BIT : 0)));
	cf_buf_add_byte(out, h->status);
	cf_buf_add_u16be(out, 0);
	cf_buf_add_u32be(out, h->id);
	cf_buf_add_u32be(out, h->size);
}

bool blobcache_is_digest(struct cf_view text)
{
	if (text.size != BLOBCACHE_DIGEST || !cf_view_starts_with(text, "sha256:"))
		return false;
	for (size_t i = strlen("sha256:"); i < text.size; i++) {
		uint8_t c = text.data[i];

		if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f'))
			return false;
	}
	return true;
}

static bool take_digest(struct cf_rd *rd, struct blobcache_request *r)
{
	struct cf_view text = cf_rd_bytes(rd, BLOBCACHE_DIGEST);

	if (rd->bad || !blobcache_is_digest(text))
		return false;
	memcpy(r->digest, text.data, text.size);
	return true;
}

static bool take_fields(struct cf_rd *rd, struct blobcache_request *r)
{
	struct cf_view nonce;

	switch (r->op) {
	case BLOBCACHE_HELLO:
		nonce = cf_rd_bytes(rd, BLOBCACHE_NONCE);
		if (!rd->bad)
			memcpy(r->nonce, nonce.data, nonce.size);
		return true;
	case BLOBCACHE_STAT:
		return take_digest(rd, r);
	case BLOBCACHE_READ:
		r->offset = cf_rd_u64be(rd);
		r->length = cf_rd_u32be(rd);
		return r->length <= BLOBCACHE_DATA_MAX && take_digest(rd, r);
	case BLOBCACHE_OFFER:
		r->offset = cf_rd_u64be(rd);
		return take_digest(rd, r);
	case BLOBCACHE_WRITE:
		r->handle = cf_rd_u32be(rd);
		r->offset = cf_rd_u64be(rd);
		r->data = cf_rd_bytes(rd, rd->bad ? 0 : cf_rd_left(rd));
		return r->data.size <= BLOBCACHE_DATA_MAX;
	case BLOBCACHE_FINISH:
	case BLOBCACHE_ABORT:
		r->handle = cf_rd_u32be(rd);
		return true;
	default:
		return false;
	}
}

int blobcache_request_parse(const struct blobcache_head *h, struct cf_view body,
                            struct blobcache_request *ret, struct cf_err *err)
{
	struct cf_rd rd = { .in = body };
	struct blobcache_request r = { .op = h->op };

	if (h->is_reply || h->status || !take_fields(&rd, &r) || rd.bad || cf_rd_left(&rd))
		return cf_fail(err, CF_INVALID_ARGUMENT, "blob cache: malformed request %u", h->op);
	*ret = r;
	return 0;
}

static void put_fields(const struct blobcache_request *r, struct cf_buf *out)
{
	switch (r->op) {
	case BLOBCACHE_HELLO:
		cf_buf_add(out, r->nonce, sizeof(r->nonce));
		break;
	case BLOBCACHE_STAT:
		cf_buf_add(out, r->digest, BLOBCACHE_DIGEST);
		break;
	case BLOBCACHE_READ:
		cf_buf_add_u64be(out, r->offset);
		cf_buf_add_u32be(out, r->length);
		cf_buf_add(out, r->digest, BLOBCACHE_DIGEST);
		break;
	case BLOBCACHE_OFFER:
		cf_buf_add_u64be(out, r->offset);
		cf_buf_add(out, r->digest, BLOBCACHE_DIGEST);
		break;
	case BLOBCACHE_WRITE:
		cf_buf_add_u32be(out, r->handle);
		cf_buf_add_u64be(out, r->offset);
		cf_buf_add_view(out, r->data);
		break;
	default:
		cf_buf_add_u32be(out, r->handle);
	}
}

void blobcache_request_put(const struct blobcache_request *r, uint32_t id, struct cf_buf *out)
{
	cf_cleanup(cf_buf_fini) struct cf_buf body = { .max = BLOBCACHE_BODY_MAX };

	put_fields(r, &body);
	struct blobcache_head h = { .op = r->op, .id = id, .size = (uint32_t)body.size };

	blobcache_head_put(&h, out);
	cf_buf_add_view(out, cf_buf_view(&body));
}
