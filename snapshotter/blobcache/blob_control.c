/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshotter/blobcache/blob_control.h"

#include "base/json.h"

#include <stddef.h>

struct blob_control {
	struct blob_control_opts opts;
	struct cf_control *control;
	int64_t started_ms;
};

struct counters {
	struct blob_store_stats store;
	struct blob_serve_stats serve;
	uint64_t size_max;
};

static struct counters count(struct blob_control *c)
{
	struct counters n = { .size_max = c->opts.size_max };

	blob_store_stats(c->opts.store, &n.store);
	blob_serve_stats(c->opts.serve, &n.serve);
	return n;
}

static void on_health(struct cf_httpd_req *req, struct cf_control_answer *a, void *user)
{
	struct blob_control *c = user;
	struct cf_jw w = { .out = &a->body, .pretty = true };
	struct counters n = count(c);

	(void)req;
	cf_jw_obj(&w);
	cf_jw_kstr(&w, "status", "ok");
	cf_jw_kstr(&w, "version", COFFER_VERSION);
	cf_jw_kint(&w, "uptime_seconds", (cf_now_ms() - c->started_ms) / 1000);
	cf_jw_kuint(&w, "connections", n.serve.connections);
	cf_jw_kuint(&w, "blobs", n.store.blobs);
	cf_jw_kuint(&w, "bytes", n.store.bytes);
	cf_jw_kuint(&w, "size_max", n.size_max);
	cf_jw_end_obj(&w);
}

#define STORE(field) offsetof(struct counters, store.field)
#define SERVE(field) offsetof(struct counters, serve.field)

static const struct metric {
	const char *name, *help;
	size_t offset;
} metrics[] = {
	{ "coffer_blobcache_blobs", "Layers in the cache.", STORE(blobs) },
	{ "coffer_blobcache_bytes", "Their bytes.", STORE(bytes) },
	{ "coffer_blobcache_size_max_bytes", "What they may be.",
	  offsetof(struct counters, size_max) },
	{ "coffer_blobcache_connections", "Guests that are connected.", SERVE(connections) },
	{ "coffer_blobcache_uploads", "Layers on their way here.", STORE(uploads) },
	{ "coffer_blobcache_hits_total", "Layers that a guest looked for and found.", STORE(hits) },
	{ "coffer_blobcache_misses_total", "Layers that were not there, or still being hashed.",
	  STORE(misses) },
	{ "coffer_blobcache_served_bytes_total", "Bytes that no registry was asked for.",
	  STORE(bytes_served) },
	{ "coffer_blobcache_stored_total", "Layers that guests brought.", STORE(stored) },
	{ "coffer_blobcache_written_bytes_total", "Bytes that guests brought, also in vain.",
	  STORE(bytes_written) },
	{ "coffer_blobcache_evicted_total", "Layers let go of for others.", STORE(evicted) },
	{ "coffer_blobcache_damaged_total", "Layers whose bytes had changed on the disk.",
	  STORE(damaged) },
	{ "coffer_blobcache_refused_total",
	  "Offers without room, uploads that were something else.", STORE(refused) },
	{ "coffer_blobcache_stale_uploads_total", "Uploads that stood still or crawled.",
	  SERVE(stale) },
	{ "coffer_blobcache_over_share_total", "Offers beyond a guest's share.",
	  SERVE(over_share) },
	{ "coffer_blobcache_turned_away_total", "Connections beyond what may be.",
	  SERVE(turned_away) },
};

static void on_metrics(struct cf_httpd_req *req, struct cf_control_answer *a, void *user)
{
	struct counters n = count(user);

	(void)req;
	cf_control_is_metrics(a);
	for (size_t i = 0; i < CF_ARRAY_LEN(metrics); i++) {
		uint64_t value;

		memcpy(&value, (const char *)&n + metrics[i].offset, sizeof(value));
		cf_control_metric(a, metrics[i].name, metrics[i].help, (double)value);
	}
}

static const struct cf_control_route routes[] = {
	{ "GET", "/v1/health", on_health, false, 0 },
	{ "GET", "/metrics", on_metrics, true, 0 },
	{ "GET", "/v1/metrics", on_metrics, true, 0 },
};

int blob_control_new(struct cf_loop *loop, const struct blob_control_opts *opts,
                     struct blob_control **ret, struct cf_err *err)
{
	struct blob_control *c = cf_zalloc(sizeof(*c));
	struct cf_control_opts o = { .path = opts->path,
		                     .metrics = opts->metrics,
		                     .routes = routes,
		                     .routes_count = CF_ARRAY_LEN(routes),
		                     .user = c };

	c->opts = *opts;
	c->started_ms = cf_now_ms();
	int r = cf_control_new(loop, &o, &c->control, err);

	if (r < 0) {
		free(c);
		return r;
	}
	*ret = c;
	return 0;
}

struct blob_control *blob_control_free(struct blob_control *c)
{
	if (!c)
		return NULL;
	cf_control_free(c->control);
	free(c);
	return NULL;
}
