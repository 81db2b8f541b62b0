/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"

#include <stdio.h>

static void *or_die(void *p, size_t size)
{
	if (!p) {
		fprintf(stderr, "out of memory (%zu bytes)\n", size);
		abort();
	}
	return p;
}

static size_t mul_or_die(size_t n, size_t size)
{
	size_t total;

	if (__builtin_mul_overflow(n, size, &total))
		abort();
	return total;
}

void *cf_zalloc(size_t size)
{
	return or_die(calloc(1, size ? size : 1), size);
}

void *cf_zalloc_n(size_t n, size_t size)
{
	return cf_zalloc(mul_or_die(n, size));
}

void *cf_realloc_n(void *p, size_t n, size_t size)
{
	size_t total = mul_or_die(n, size);

	return or_die(realloc(p, total ? total : 1), total);
}

int cf_alloc_bounded(size_t n, size_t size, size_t max, void **ret, struct cf_err *err)
{
	size_t total;

	if (__builtin_mul_overflow(n, size, &total) || total > max)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "%zu × %zu bytes asked for, limit %zu",
		               n, size, max);
	void *p = calloc(1, total ? total : 1);
	if (!p)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "no memory for %zu bytes", total);
	*ret = p;
	return 0;
}
