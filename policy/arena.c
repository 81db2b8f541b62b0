/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/arena.h"

#include <assert.h>

#define ARENA_ALIGN 16u

struct arena_chunk {
	struct arena_chunk *next;
	size_t size; /* bytes behind the header */
	_Alignas(ARENA_ALIGN) uint8_t data[];
};

static bool add_chunk(struct arena *a, size_t size)
{
	size_t want = CF_MAX(size, (size_t)ARENA_CHUNK_BYTES);
	struct arena_chunk *c = malloc(sizeof(*c) + want);

	if (!c) {
		a->is_over = true;
		return false;
	}
	*c = (struct arena_chunk){ .next = a->head, .size = want };
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

void *arena_try(struct arena *a, size_t n, size_t size)
{
	size_t total;

	if (__builtin_mul_overflow(n, size, &total) || total > SIZE_MAX / 2)
		total = SIZE_MAX / 2;
	total = padded(total ? total : 1);
	if ((size_t)(a->end - a->at) < total) {
		if (a->max && (total > a->max || a->used > a->max - total)) {
			a->is_over = true;
			if (total > ARENA_SMALL_MAX)
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

void *arena_alloc(struct arena *a, size_t size)
{
	assert(size <= ARENA_SMALL_MAX);
	void *p = arena_try(a, 1, size);
	if (!p)
		abort(); /* the system has no memory for a small request */
	return p;
}

char *arena_copy(struct arena *a, struct cf_view v)
{
	char *p = arena_try(a, v.size + 1, 1);

	if (p && v.size)
		memcpy(p, v.data, v.size);
	return p;
}

struct arena_mark arena_mark(const struct arena *a)
{
	return (struct arena_mark){ .head = a->head, .at = a->at };
}

void arena_release(struct arena *a, struct arena_mark m)
{
	while (a->head != m.head) {
		struct arena_chunk *c = a->head;

		a->head = c->next;
		a->used -= c->size;
		free(c);
	}
	a->at = m.at;
	a->end = a->head ? a->head->data + a->head->size : NULL;
}

void arena_reset(struct arena *a)
{
	struct arena_chunk *last = a->head;

	while (last && last->next)
		last = last->next;
	arena_release(a, (struct arena_mark){ .head = last, .at = last ? last->data : NULL });
	if (last && last->size > 4 * ARENA_CHUNK_BYTES)
		arena_fini(a);
	a->is_over = false;
}

void arena_fini(struct arena *a)
{
	arena_release(a, (struct arena_mark){ 0 });
	a->is_over = false;
}
