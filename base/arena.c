/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include <assert.h>

#define ARENA_ALIGN 16u

struct cf_arena_chunk {
	struct cf_arena_chunk *next;
	size_t size; /* bytes behind the header */
	_Alignas(ARENA_ALIGN) uint8_t data[];
};

static bool add_chunk(struct cf_arena *a, size_t size)
{
	size_t want = CF_MAX(size, (size_t)CF_ARENA_CHUNK_BYTES);
	struct cf_arena_chunk *c = malloc(sizeof(*c) + want);

	if (!c) {
		a->is_over = true;
		return false;
	}
	*c = (struct cf_arena_chunk){ .next = a->head, .size = want };
	a->head = c;
	a->at = c->data;
	a->end = c->data + want;
	a->used += want;
	return true;
}

static size_t padded(size_t size)
{
	return (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
}

void *cf_arena_try(struct cf_arena *a, size_t n, size_t size)
{
	size_t total;

	if (__builtin_mul_overflow(n, size, &total) || total > SIZE_MAX / 2)
		total = SIZE_MAX / 2;
	total = padded(total ? total : 1);
	if ((size_t)(a->end - a->at) < total) {
		if (a->max && (total > a->max || a->used > a->max - total)) {
			a->is_over = true;
			if (total > CF_ARENA_SMALL_MAX)
				return NULL;
		}
		if (total >= SIZE_MAX / 2 || !add_chunk(a, total))
			return NULL;
	}
	void *p = a->at;
	a->at += total;
	memset(p, 0, total);
	return p;
}

void *cf_arena_alloc(struct cf_arena *a, size_t size)
{
	assert(size <= CF_ARENA_SMALL_MAX);
	void *p = cf_arena_try(a, 1, size);
	if (!p)
		abort(); /* the system has no memory for a small request */
	return p;
}

char *cf_arena_copy(struct cf_arena *a, struct cf_view v)
{
	char *p = cf_arena_try(a, v.size + 1, 1);

	if (p && v.size)
		memcpy(p, v.data, v.size);
	return p;
}

struct cf_arena_mark cf_arena_mark(const struct cf_arena *a)
{
	return (struct cf_arena_mark){ .head = a->head, .at = a->at };
}

void cf_arena_release(struct cf_arena *a, struct cf_arena_mark m)
{
	while (a->head != m.head) {
		struct cf_arena_chunk *c = a->head;

		a->head = c->next;
		a->used -= c->size;
		free(c);
	}
	a->at = m.at;
	a->end = a->head ? a->head->data + a->head->size : NULL;
}

void cf_arena_reset(struct cf_arena *a)
{
	struct cf_arena_chunk *last = a->head;

	while (last && last->next)
		last = last->next;
	cf_arena_release(a, (struct cf_arena_mark){ .head = last, .at = last ? last->data : NULL });
	if (last && last->size > 4 * CF_ARENA_CHUNK_BYTES)
		cf_arena_fini(a);
	a->is_over = false;
}

void cf_arena_fini(struct cf_arena *a)
{
	cf_arena_release(a, (struct cf_arena_mark){ 0 });
	a->is_over = false;
}
