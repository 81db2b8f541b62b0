/* SPDX-License-Identifier: Apache-2.0 */
#include "erofs/layer_map.h"

#include <assert.h>
#include <sys/auxv.h>

#define SIZE_MIN 64u

static size_t slot_of(const struct layer_map *m, uint32_t key)
{
	size_t i = (size_t)(((key ^ m->seed[0]) * m->seed[1]) >> 32) & (m->size - 1);

	while (m->slots[i][0] && m->slots[i][0] != key)
		i = (i + 1) & (m->size - 1);
	return i;
}

static void grow(struct layer_map *m)
{
	struct layer_map bigger = *m;

	if (!m->size) { /* 16 random bytes that the kernel gave this process */
		const void *random = (const void *)getauxval(AT_RANDOM);

		if (random)
			memcpy(bigger.seed, random, sizeof(bigger.seed));
		bigger.seed[1] |= 1;
	}
	bigger.size = m->size ? m->size * 2 : SIZE_MIN;
	bigger.slots = cf_zalloc_n(bigger.size, sizeof(*bigger.slots));
	for (size_t i = 0; i < m->size; i++)
		if (m->slots[i][0])
			memcpy(bigger.slots[slot_of(&bigger, m->slots[i][0])], m->slots[i],
			       sizeof(*m->slots));
	free(m->slots);
	*m = bigger;
}

void layer_map_fini(struct layer_map *m)
{
	free(m->slots);
	*m = (struct layer_map){ 0 };
}

void layer_map_clear(struct layer_map *m)
{
	m->used = 0;
	if (m->size)
		memset(m->slots, 0, m->size * sizeof(*m->slots));
}

uint32_t *layer_map_at(struct layer_map *m, uint32_t key)
{
	size_t i;

	assert(key);
	if (m->used * 2 >= m->size)
		grow(m);
	i = slot_of(m, key);
	m->used += m->slots[i][0] == 0;
	m->slots[i][0] = key;
	return &m->slots[i][1];
}
