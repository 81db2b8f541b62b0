/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Arena: memory that is given back all at once, with a cap. Values, syntax trees and compiled
 * policies live in one.
 *
 * Small requests always succeed; the first one past the cap sets .is_over, which is sticky and which
 * every loop of the evaluator looks at: nothing is decided from an arena that is over. Requests whose
 * size a stranger chose go through cf_arena_try(), which refuses instead.
 */
#include "base/bytes.h"

#define CF_ARENA_CHUNK_BYTES (64u << 10)
#define CF_ARENA_SMALL_MAX   (256u << 10) /* requests up to this size may overdraw the cap */

struct cf_arena_chunk;

struct cf_arena {
	struct cf_arena_chunk *head; /* newest first */
	uint8_t *at, *end;           /* free part of the newest chunk */
	size_t used;                 /* bytes held from the system */
	size_t max;                  /* 0: no cap */
	bool is_over;
};

struct cf_arena_mark {
	struct cf_arena_chunk *head;
	uint8_t *at;
};

/* Zeroed memory aligned to 16 bytes. @size is at most CF_ARENA_SMALL_MAX (asserted). */
void *cf_arena_alloc(struct cf_arena *a, size_t size) __attribute__((returns_nonnull));
/* As cf_arena_alloc() for any size; NULL, with .is_over set, when it does not fit under the cap. */
void *cf_arena_try(struct cf_arena *a, size_t n, size_t size);
/* A NUL-terminated copy, or NULL when it does not fit. */
char *cf_arena_copy(struct cf_arena *a, struct cf_view v);

struct cf_arena_mark cf_arena_mark(const struct cf_arena *a);
/* Gives back everything allocated since @m. */
void cf_arena_release(struct cf_arena *a, struct cf_arena_mark m);
/* Gives back all but one chunk; .is_over is cleared. */
void cf_arena_reset(struct cf_arena *a);
void cf_arena_fini(struct cf_arena *a);

#define CF_ARENA_NEW(a, type) ((type *)cf_arena_alloc((a), sizeof(type)))

/* Grows *items (an arena array of @cap elements) to hold @want; false when over. */
#define cf_arena_grow(a, items, cap, want)                                                         \
	({                                                                                         \
		bool ag_ok_ = true;                                                                \
		if ((size_t)(want) > (size_t) * (cap)) {                                           \
			size_t ag_cap_ = *(cap) ? (size_t) * (cap)*2 : 4;                          \
			while (ag_cap_ < (size_t)(want))                                           \
				ag_cap_ *= 2;                                                      \
			void *ag_new_ = cf_arena_try((a), ag_cap_, sizeof(**(items)));             \
			ag_ok_ = ag_new_ != NULL;                                                  \
			if (ag_ok_) {                                                              \
				if (*(cap))                                                        \
					memcpy(ag_new_, *(items), *(cap) * sizeof(**(items)));     \
				*(items) = ag_new_;                                                \
				*(cap) = (__typeof__(*(cap)))ag_cap_;                              \
			}                                                                          \
		}                                                                                  \
		ag_ok_;                                                                            \
	})
