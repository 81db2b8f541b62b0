/* SPDX-License-Identifier: Apache-2.0 */
#include "kbs/session.h"

#include "proto/kbs_wire.h"

#define BUCKETS      8192u
#define RATE_SLOTS   8192u
#define MILLI_TOKENS 1000

struct sessions {
	size_t max, count;
	int64_t life_ms;
	struct session *oldest, *newest;
	struct session *buckets[BUCKETS];
};

struct sessions *sessions_new(size_t max, int64_t life_ms)
{
	struct sessions *t = cf_zalloc(sizeof(*t));

	t->max = max;
	t->life_ms = life_ms;
	return t;
}

struct sessions *sessions_free(struct sessions *t)
{
	while (t && t->oldest)
		sessions_remove(t, t->oldest);
	free(t);
	return NULL;
}

static size_t bucket_of(struct cf_view id)
{
	size_t h = 0;

	/* Ids are random: their first characters spread well. */
	for (size_t i = 0; i < 8 && i < id.size; i++)
		h = h * 31 + id.data[i];
	return h % BUCKETS;
}

void sessions_remove(struct sessions *t, struct session *s)
{
	struct session **at = &t->buckets[bucket_of(cf_view_str(s->id))];

	while (*at != s)
		at = &(*at)->bucket_next;
	*at = s->bucket_next;
	if (s->older)
		s->older->newer = s->newer;
	else
		t->oldest = s->newer;
	if (s->newer)
		s->newer->older = s->older;
	else
		t->newest = s->older;
	t->count--;
	free(s->tee);
	free(s->nonce);
	free(s->binding_error);
	free(s->token);
	tpm_binding_fini(&s->binding);
	free(s);
}

/* The oldest one that has no token yet; one with a token only when all have. */
static void make_room(struct sessions *t)
{
	struct session *victim = t->oldest;

	while (victim && victim->state == SESSION_ATTESTED)
		victim = victim->newer;
	sessions_remove(t, victim ? victim : t->oldest);
}

struct session *sessions_add(struct sessions *t)
{
	struct session *s = cf_zalloc(sizeof(*s));
	cf_cleanup(cf_buf_fini) struct cf_buf nonce = { 0 };
	uint8_t id[16], random[KBS_NONCE_SIZE];
	struct session **bucket;

	sessions_sweep(t);
	if (t->count >= t->max)
		make_room(t);
	cf_random(id, sizeof(id));
	cf_random(random, sizeof(random));
	cf_hex_encode(cf_view(id, sizeof(id)), s->id);
	cf_b64_encode(CF_B64_STD, cf_view(random, sizeof(random)), &nonce);
	s->nonce = cf_buf_take_str(&nonce);
	s->expires_ms = cf_now_ms() + t->life_ms;
	bucket = &t->buckets[bucket_of(cf_view_str(s->id))];
	s->bucket_next = *bucket;
	*bucket = s;
	s->older = t->newest;
	if (t->newest)
		t->newest->newer = s;
	else
		t->oldest = s;
	t->newest = s;
	t->count++;
	return s;
}

struct session *sessions_find(struct sessions *t, struct cf_view id)
{
	struct session *s = t->buckets[bucket_of(id)];

	while (s && !cf_equal_ct(cf_view_str(s->id), id))
		s = s->bucket_next;
	if (s && s->expires_ms <= cf_now_ms()) {
		sessions_remove(t, s);
		return NULL;
	}
	return s;
}

/* All live equally long, so the oldest expire first. */
void sessions_sweep(struct sessions *t)
{
	int64_t now = cf_now_ms();

	while (t->oldest && t->oldest->expires_ms <= now)
		sessions_remove(t, t->oldest);
}

size_t sessions_count(const struct sessions *t)
{
	return t->count;
}

/* ---- rate ---- */

struct rate_slot {
	uint64_t key;
	int64_t milli; /* tokens × 1000 */
	int64_t at_ms;
};

struct rate_limit {
	unsigned per_second, burst;
	struct rate_slot slots[RATE_SLOTS];
};

struct rate_limit *rate_limit_new(unsigned per_second, unsigned burst)
{
	struct rate_limit *r = cf_zalloc(sizeof(*r));

	r->per_second = per_second;
	r->burst = burst;
	return r;
}

struct rate_limit *rate_limit_free(struct rate_limit *r)
{
	free(r);
	return NULL;
}

/* FNV-1a. Two addresses in one slot push each other out: the limit is then looser, never tighter. */
static uint64_t key_of(const char *address)
{
	uint64_t h = 14695981039346656037ull;

	for (; *address; address++)
		h = (h ^ (uint8_t)*address) * 1099511628211ull;
	return h | 1;
}

bool rate_limit_take(struct rate_limit *r, const char *address)
{
	uint64_t key = key_of(address);
	struct rate_slot *slot = &r->slots[(key >> 16) % RATE_SLOTS];
	int64_t now = cf_now_ms(), full = (int64_t)r->burst * MILLI_TOKENS;

	if (slot->key != key)
		*slot = (struct rate_slot){ .key = key, .milli = full, .at_ms = now };
	/* per_second tokens a second are per_second thousandths a millisecond */
	slot->milli = CF_MIN(full, slot->milli + (now - slot->at_ms) * r->per_second);
	slot->at_ms = now;
	if (slot->milli < MILLI_TOKENS)
		return false;
	slot->milli -= MILLI_TOKENS;
	return true;
}
