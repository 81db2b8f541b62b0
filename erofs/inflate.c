/* SPDX-License-Identifier: Apache-2.0 */
#include "erofs/inflate_ops.h"

struct inflate {
	const struct inflate_ops *ops;
	void *state;
};

static const struct inflate_ops *const formats[] = {
	[INFLATE_GZIP] = &inflate_gzip_ops,
	[INFLATE_ZSTD] = &inflate_zstd_ops,
};

int inflate_new(enum inflate_format format, struct inflate **ret, struct cf_err *err)
{
	struct inflate *z;
	void *state;

	if (format != INFLATE_GZIP && format != INFLATE_ZSTD)
		return cf_fail(err, CF_INVALID_ARGUMENT, "inflate: no such format");
	state = formats[format]->open();
	if (!state)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "inflate: no memory");
	z = cf_zalloc(sizeof(*z));
	z->ops = formats[format];
	z->state = state;
	*ret = z;
	return 0;
}

struct inflate *inflate_free(struct inflate *z)
{
	if (!z)
		return NULL;
	z->ops->close(z->state);
	free(z);
	return NULL;
}

int inflate_step(struct inflate *z, struct cf_view *in, uint8_t *out, size_t cap,
                 size_t *ret_produced, struct cf_err *err)
{
	return z->ops->step(z->state, in, out, cap, ret_produced, err);
}

int inflate_finish(struct inflate *z, struct cf_err *err)
{
	if (!z->ops->at_end(z->state))
		return cf_fail(err, CF_INVALID_ARGUMENT, "inflate: the blob ends early");
	return 0;
}

const char *inflate_engine(enum inflate_format format)
{
	return format == INFLATE_PLAIN ? "none" : formats[format]->engine;
}
