/* SPDX-License-Identifier: Apache-2.0 */
#include "guest-imaged/pull_watch.h"

#include "base/bytes.h"
#include "base/crypto.h"

struct pull_watch {
	struct cf_loop *loop;
	pull_watch_list *list;
	void *arg;
	uint64_t serial;
	uint8_t told[32]; /* SHA-256 of what @serial stands for */
	struct rpc_call *waiting[PULL_WATCHERS];
	size_t waiting_count;
	struct cf_event *tick;
};

/* All of one answer; what it points to is the owner's. */
struct answer {
	Coffer__WatchPullsResponse resp;
	Coffer__Pull pulls[PULL_WATCH_PULLS];
	Coffer__Pull *list[PULL_WATCH_PULLS];
};

static void fill(struct pull_watch *w, struct answer *a)
{
	coffer__watch_pulls_response__init(&a->resp);
	for (size_t i = 0; i < PULL_WATCH_PULLS; i++) {
		coffer__pull__init(&a->pulls[i]);
		a->list[i] = &a->pulls[i];
	}
	a->resp.n_pulls = w->list(w->arg, a->pulls);
	a->resp.pulls = a->list;
}

/* True when this differs from what the serial stood for, which moves on. */
static bool is_news(struct pull_watch *w, struct answer *a)
{
	size_t size = coffer__watch_pulls_response__get_packed_size(&a->resp);
	cf_cleanup(cf_freep) uint8_t *packed = cf_zalloc(size + 1);
	uint8_t digest[32];

	coffer__watch_pulls_response__pack(&a->resp, packed);
	cf_sha256(cf_view(packed, size), digest);
	if (w->serial && memcmp(digest, w->told, sizeof(digest)) == 0)
		return false;
	memcpy(w->told, digest, sizeof(digest));
	w->serial++;
	return true;
}

static void answer_all(struct pull_watch *w, struct answer *a)
{
	a->resp.serial = w->serial;
	while (w->waiting_count)
		rpc_reply(w->waiting[--w->waiting_count], &a->resp);
}

static void look(void *arg)
{
	cf_cleanup(cf_freep) struct answer *a = cf_zalloc(sizeof(*a));
	struct pull_watch *w = arg;

	fill(w, a);
	if (is_news(w, a))
		answer_all(w, a);
	/* With no pull there is nothing to look at before pull_watch_changed(). */
	if (!w->waiting_count || !a->resp.n_pulls)
		w->tick = cf_event_free(w->tick);
}

static void keep_looking(struct pull_watch *w)
{
	if (w->waiting_count && !w->tick)
		w->tick = cf_loop_timer(w->loop, PULL_WATCH_MS, true, look, w);
}

/* Callers whose time is over wait no longer. */
static void drop_cancelled(struct pull_watch *w)
{
	size_t kept = 0;

	for (size_t i = 0; i < w->waiting_count; i++) {
		if (rpc_cancelled(w->waiting[i]))
			rpc_fail(w->waiting[i], CF_CANCELLED, "nobody waits");
		else
			w->waiting[kept++] = w->waiting[i];
	}
	w->waiting_count = kept;
}

void pull_watch_call(struct pull_watch *w, struct rpc_call *call, uint64_t seen)
{
	cf_cleanup(cf_freep) struct answer *a = NULL;

	drop_cancelled(w);
	if (!seen || seen != w->serial) {
		a = cf_zalloc(sizeof(*a));
		fill(w, a);
		(void)is_news(w, a);
		a->resp.serial = w->serial;
		rpc_reply(call, &a->resp);
		return;
	}
	if (w->waiting_count == PULL_WATCHERS) {
		rpc_fail(call, CF_RESOURCE_EXHAUSTED, "%u callers look on already", PULL_WATCHERS);
		return;
	}
	w->waiting[w->waiting_count++] = call;
	keep_looking(w);
}

void pull_watch_changed(struct pull_watch *w)
{
	keep_looking(w);
}

struct pull_watch *pull_watch_new(struct cf_loop *loop, pull_watch_list *list, void *arg)
{
	struct pull_watch *w = cf_zalloc(sizeof(*w));

	*w = (struct pull_watch){ .loop = loop, .list = list, .arg = arg };
	return w;
}

struct pull_watch *pull_watch_free(struct pull_watch *w)
{
	if (!w)
		return NULL;
	cf_event_free(w->tick);
	while (w->waiting_count)
		rpc_fail(w->waiting[--w->waiting_count], CF_UNAVAILABLE, "the service ends");
	free(w);
	return NULL;
}
