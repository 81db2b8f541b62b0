/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Memory and ownership. Small fixed sizes come from cf_zalloc(), which aborts when memory is gone;
 * a size that came from outside is first compared with a named limit and then goes through
 * cf_alloc_bounded(), which returns an error.
 */
#include "base/err.h"

#include <stdlib.h>

#define CF_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define CF_MIN(a, b)    ((a) < (b) ? (a) : (b))
#define CF_MAX(a, b)    ((a) > (b) ? (a) : (b))

#define cf_cleanup(fn) __attribute__((cleanup(fn)))

/* Defines fn##p(type *) for cf_cleanup(). @fn copes with NULL. */
#define CF_DEFINE_CLEANUP(type, fn)                                                                \
	static inline __attribute__((unused)) void fn##p(type *p)                                  \
	{                                                                                          \
		fn(*p);                                                                            \
	}                                                                                          \
	struct cf_semicolon

/* Gives away a local: returns the old value and leaves NULL behind. */
#define cf_take(pp)                                                                                \
	({                                                                                         \
		__typeof__(*(pp)) cf_taken_ = *(pp);                                               \
		*(pp) = NULL;                                                                      \
		cf_taken_;                                                                         \
	})

/* Zeroed memory; aborts when there is none. Never for a size that a stranger chose. */
void *cf_zalloc(size_t size) __attribute__((malloc, returns_nonnull));
/* Zeroed array of @n × @size bytes (overflow checked); aborts when there is none. */
void *cf_zalloc_n(size_t n, size_t size) __attribute__((malloc, returns_nonnull));
/* As realloc() for n × size bytes; aborts. New bytes are not zeroed. */
void *cf_realloc_n(void *p, size_t n, size_t size) __attribute__((returns_nonnull));

/*
 * Zeroed memory for a size from outside: @n × @size bytes, at most @max bytes.
 * Return: 0, -CF_RESOURCE_EXHAUSTED (over @max, or no memory).
 */
cf_must_use int cf_alloc_bounded(size_t n, size_t size, size_t max, void **ret, struct cf_err *err);

/* Grows *items to hold at least @want elements of @size bytes, doubling; for trusted counts. */
#define cf_grow(items, cap, want)                                                                  \
	do {                                                                                       \
		if ((want) > *(cap)) {                                                             \
			size_t cf_cap_ = *(cap) ? *(cap) : 8;                                      \
			while (cf_cap_ < (want))                                                   \
				cf_cap_ *= 2;                                                      \
			*(items) = cf_realloc_n(*(items), cf_cap_, sizeof(**(items)));             \
			*(cap) = cf_cap_;                                                          \
		}                                                                                  \
	} while (0)

/* For cf_cleanup(): frees what a plain malloc()ed pointer holds. */
static inline void cf_freep(void *pp)
{
	free(*(void **)pp);
}
