/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshotter/snap_view.h"

#include <stdio.h>
#include <time.h>

const char *snap_view_kind(enum snap_kind kind)
{
	static const char *const names[] = {
		[SNAP_VIEW] = "view", [SNAP_ACTIVE] = "active", [SNAP_COMMITTED] = "committed"
	};

	return names[kind];
}

static void put_time(struct cf_jw *w, const char *key, int64_t ns)
{
	time_t t = (time_t)(ns / 1000000000);
	char text[64], whole[32];
	struct tm tm;

	gmtime_r(&t, &tm);
	strftime(whole, sizeof(whole), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text, sizeof(text), "%s.%09dZ", whole, (int)(ns % 1000000000));
	cf_jw_kstr(w, key, text);
}

static void put_flags(struct cf_jw *w, unsigned flags)
{
	static const struct {
		unsigned flag;
		const char *name;
	} names[] = { { SNAP_GUEST_PULL, "guest-pull" },
		      { SNAP_NULL_EXTRACT, "null-extract" },
		      { SNAP_HAS_DIR, "directory" },
		      { SNAP_KATA, "kata-volume" } };

	cf_jw_key(w, "flags");
	cf_jw_arr(w);
	for (size_t i = 0; i < CF_ARRAY_LEN(names); i++)
		if (flags & names[i].flag)
			cf_jw_str(w, names[i].name);
	cf_jw_end_arr(w);
}

static void put_record(struct cf_jw *w, const struct snap_instance *in,
                       const struct snap_record *rec)
{
	const char *key, *value;

	cf_jw_kint(w, "id", rec->id);
	cf_jw_kstr(w, "name", rec->name);
	cf_jw_kstr(w, "instance", in->name);
	cf_jw_kstr(w, "kind", snap_view_kind(rec->kind));
	cf_jw_kstr(w, "parent", rec->parent);
	put_time(w, "created", rec->created_ns);
	put_time(w, "updated", rec->updated_ns);
	cf_jw_kint(w, "size", rec->size);
	cf_jw_kint(w, "inodes", rec->inodes);
	put_flags(w, rec->flags);
	cf_jw_key(w, "labels");
	cf_jw_obj(w);
	for (size_t at = 0; snap_record_next_label(rec, &at, &key, &value);)
		cf_jw_kstr(w, key, value);
	cf_jw_end_obj(w);
}

void snap_view_record(struct cf_jw *w, const struct snap_instance *in,
                      const struct snap_record *rec)
{
	cf_jw_obj(w);
	put_record(w, in, rec);
	cf_jw_end_obj(w);
}

static void put_mount(struct cf_jw *w, const struct snap_mount *m)
{
	cf_jw_key(w, "mounts");
	cf_jw_arr(w);
	cf_jw_obj(w);
	cf_jw_kstr(w, "type", m->type);
	cf_jw_kstr(w, "source", m->source);
	cf_jw_key(w, "options");
	cf_jw_arr(w);
	for (size_t i = 0; i < m->options.count; i++)
		cf_jw_str(w, m->options.items[i]);
	cf_jw_end_arr(w);
	cf_jw_end_obj(w);
	cf_jw_end_arr(w);
}

int snap_view_record_full(struct cf_jw *w, struct snap_instance *in, const struct snap_record *rec,
                          struct cf_err *err)
{
	cf_cleanup(snap_list_fini) struct snap_list chain = { 0 };
	cf_cleanup(snap_mount_fini) struct snap_mount m = { 0 };
	int r = 0;

	snap_store_chain(in->service.store, rec, &chain);
	if (rec->kind != SNAP_COMMITTED)
		r = snap_mount_of(&in->service.mount, rec, &chain, &m, err);
	if (r < 0)
		return r;
	cf_jw_obj(w);
	put_record(w, in, rec);
	cf_jw_key(w, "chain");
	cf_jw_arr(w);
	for (size_t i = 0; i < chain.count; i++)
		cf_jw_str(w, chain.items[i]->name);
	cf_jw_end_arr(w);
	if (m.type)
		put_mount(w, &m);
	cf_jw_end_obj(w);
	return 0;
}

/* ---- lists ---- */

struct found {
	struct snap_instance *in;
	struct snap_record *rec;
};

static int by_id(const void *a, const void *b)
{
	const struct found *x = a, *y = b;

	if (x->in != y->in)
		return x->in < y->in ? -1 : 1;
	return (x->rec->id > y->rec->id) - (x->rec->id < y->rec->id);
}

static bool is_wanted(const struct snap_view_query *q, const struct snap_record *rec)
{
	return (!q->kind || rec->kind == q->kind) && rec->id > q->after;
}

static size_t collect(struct snap_instance *in, const struct snap_view_query *q,
                      struct snap_list *list, struct found *out)
{
	size_t n = 0;

	for (size_t i = 0; i < list->count; i++)
		if (is_wanted(q, list->items[i]))
			out[n++] = (struct found){ in, list->items[i] };
	return n;
}

/* @return how many were written; @ret_more: there are others, behind *@ret_last. */
static size_t list_one(struct cf_jw *w, struct snap_instance *in, const struct snap_view_query *q,
                       size_t room, bool *ret_more, int64_t *ret_last)
{
	cf_cleanup(snap_list_fini) struct snap_list list = { 0 };

	snap_store_list(in->service.store, &list);
	cf_cleanup(cf_freep) struct found *found = cf_zalloc_n(list.count + 1, sizeof(found[0]));
	size_t n = collect(in, q, &list, found);

	qsort(found, n, sizeof(found[0]), by_id);
	*ret_more = n > room;
	n = CF_MIN(n, room);
	for (size_t i = 0; i < n; i++) {
		snap_view_record(w, in, found[i].rec);
		*ret_last = found[i].rec->id;
	}
	return n;
}

void snap_view_list(struct cf_jw *w, struct snap_instances *all, const struct snap_view_query *q)
{
	size_t room = q->limit;
	bool more = false;
	int64_t last = 0;

	cf_jw_obj(w);
	cf_jw_key(w, "snapshots");
	cf_jw_arr(w);
	for (size_t i = 0; i < all->count && !more; i++)
		if (!q->instance || cf_streq(q->instance, all->items[i].name))
			room -= list_one(w, &all->items[i], q, room, &more, &last);
	cf_jw_end_arr(w);
	/* Ids belong to an instance: with several, ask for one after the other. */
	if (more)
		cf_jw_kint(w, "next_after", last);
	cf_jw_end_obj(w);
}

/* ---- settings ---- */

static void put_instance(struct cf_jw *w, const struct snap_config_instance *in)
{
	cf_jw_obj(w);
	cf_jw_kstr(w, "name", in->name);
	cf_jw_kstr(w, "root", in->root);
	cf_jw_kstr(w, "fs_driver", snap_config_mode_name(in->mode));
	cf_jw_end_obj(w);
}

void snap_view_config(struct cf_jw *w, const struct snap_config *c, const char *control)
{
	cf_jw_obj(w);
	cf_jw_kstr(w, "file", c->file);
	cf_jw_kstr(w, "address", c->address);
	cf_jw_kstr(w, "control", control);
	cf_jw_kstr(w, "metrics_address", c->metrics);
	cf_jw_kuint(w, "uid", c->uid);
	cf_jw_kuint(w, "gid", c->gid);
	cf_jw_kstr(w, "nydus_overlayfs_path", c->helper);
	cf_jw_kstr(w, "metadata", c->is_minimal ? "minimal" : "full");
	cf_jw_kstr(w, "durability", c->is_relaxed ? "relaxed" : "strict");
	cf_jw_kbool(w, "resurrect", !c->is_strict);
	cf_jw_kbool(w, "sync_remove", c->is_sync_remove);
	cf_jw_kbool(w, "enable_overlayfs_volatile", c->is_volatile);
	cf_jw_key(w, "instances");
	cf_jw_arr(w);
	for (size_t i = 0; i < c->instance_count; i++)
		put_instance(w, &c->instances[i]);
	cf_jw_end_arr(w);
	cf_jw_end_obj(w);
}

/* ---- metrics ---- */

static void count_kinds(struct snap_instance *in, uint64_t out[SNAP_COMMITTED + 1])
{
	cf_cleanup(snap_list_fini) struct snap_list list = { 0 };

	snap_store_list(in->service.store, &list);
	for (size_t i = 0; i < list.count; i++)
		out[list.items[i]->kind]++;
}

static void put_snapshots(struct snap_instances *all, struct cf_buf *out)
{
	cf_buf_add_str(out, "# HELP coffer_snapshots Snapshots that are known.\n"
	                    "# TYPE coffer_snapshots gauge\n");
	for (size_t i = 0; i < all->count; i++) {
		uint64_t n[SNAP_COMMITTED + 1] = { 0 };

		count_kinds(&all->items[i], n);
		for (int k = SNAP_VIEW; k <= SNAP_COMMITTED; k++)
			cf_buf_printf(out, "coffer_snapshots{instance=\"%s\",kind=\"%s\"} %llu\n",
			              all->items[i].name, snap_view_kind((enum snap_kind)k),
			              (unsigned long long)n[k]);
	}
}

static void put_counter(struct cf_buf *out, const char *name, const char *help, uint64_t n)
{
	cf_buf_printf(out, "# HELP %s %s\n# TYPE %s counter\n%s %llu\n", name, help, name, name,
	              (unsigned long long)n);
}

void snap_view_metrics(struct snap_instances *all, struct cf_buf *out)
{
	uint64_t resurrected = 0, applied = 0, bytes = 0;
	struct cf_db_stats sum = { 0 };

	for (size_t i = 0; i < all->count; i++) {
		struct snap_service *s = &all->items[i].service;
		struct cf_db_stats one;

		snap_store_stats(s->store, &one);
		sum.commits += one.commits;
		sum.mutations += one.mutations;
		sum.commit_us += one.commit_us;
		resurrected += snap_counted(&s->counters.resurrected);
		applied += snap_counted(&s->counters.null_applied);
		bytes += snap_counted(&s->counters.host_layer_bytes);
	}
	put_snapshots(all, out);
	put_counter(out, "coffer_resurrected_total",
	            "Layers that containerd knew, taken up again after our state was lost.",
	            resurrected);
	put_counter(out, "coffer_null_applied_total",
	            "Unpackings that were answered without a byte of a layer.", applied);
	put_counter(out, "coffer_host_layer_bytes_total",
	            "Bytes of layers that reached this host in guest-pull mode.", bytes);
	put_counter(out, "coffer_store_mutations_total", "Changes that were made durable.",
	            sum.mutations);
	cf_buf_printf(
		out,
		"# HELP coffer_store_fsync_seconds Time spent making changes durable.\n"
		"# TYPE coffer_store_fsync_seconds summary\n"
		"coffer_store_fsync_seconds_sum %.9g\ncoffer_store_fsync_seconds_count %llu\n",
		(double)sum.commit_us / 1e6, (unsigned long long)sum.commits);
}
