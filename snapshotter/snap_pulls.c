/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshotter/snap_pulls.h"

#include "snapshotter/snap_control.h"

#define MESSAGE_MAX 512u

struct report {
	const struct snap_instance *in; /* NULL: a free place */
	int64_t id;
	char *state, *message;
	uint64_t layers, layers_done, bytes, bytes_done;
	int64_t when_ms;
};

struct snap_pulls {
	struct report items[SNAP_CONTROL_PULLS_MAX];
};

struct snap_pulls *snap_pulls_new(void)
{
	return cf_zalloc(sizeof(struct snap_pulls));
}

static void report_fini(struct report *r)
{
	free(r->state);
	free(r->message);
	*r = (struct report){ 0 };
}

struct snap_pulls *snap_pulls_free(struct snap_pulls *p)
{
	for (size_t i = 0; p && i < CF_ARRAY_LEN(p->items); i++)
		report_fini(&p->items[i]);
	free(p);
	return NULL;
}

static struct report *find(struct snap_pulls *p, const struct snap_instance *in, int64_t id)
{
	for (size_t i = 0; i < CF_ARRAY_LEN(p->items); i++)
		if (p->items[i].in == in && p->items[i].id == id)
			return &p->items[i];
	return NULL;
}

static struct report *oldest(struct snap_pulls *p)
{
	struct report *old = &p->items[0];

	for (size_t i = 0; i < CF_ARRAY_LEN(p->items); i++) {
		if (!p->items[i].in)
			return &p->items[i];
		if (p->items[i].when_ms < old->when_ms)
			old = &p->items[i];
	}
	return old;
}

static bool is_state(struct cf_view v)
{
	return cf_view_eq_str(v, "pulling") || cf_view_eq_str(v, "done") ||
	       cf_view_eq_str(v, "failed");
}

static int read_report(const struct cf_json *j, struct report *ret, struct cf_err *err)
{
	struct cf_view state = { 0 }, message = { 0 };
	uint64_t id = 0;
	int r = cf_json_need_u64(j, "snapshot_id", &id, err);

	if (r == 0)
		r = cf_json_need_str(j, "state", &state, err);
	if (r == 0)
		r = cf_json_opt_str(j, "message", &message, err);
	if (r == 0)
		r = cf_json_opt_u64(j, "layers", &ret->layers, err);
	if (r == 0)
		r = cf_json_opt_u64(j, "layers_done", &ret->layers_done, err);
	if (r == 0)
		r = cf_json_opt_u64(j, "bytes", &ret->bytes, err);
	if (r == 0)
		r = cf_json_opt_u64(j, "bytes_done", &ret->bytes_done, err);
	if (r < 0)
		return r;
	if (!is_state(state))
		return cf_fail(err, CF_INVALID_ARGUMENT, "state is pulling, done or failed");
	if (id > INT64_MAX || message.size > MESSAGE_MAX)
		return cf_fail(err, CF_INVALID_ARGUMENT, "a report out of bounds");
	ret->id = (int64_t)id;
	ret->state = cf_view_dup(state);
	ret->message = message.size ? cf_view_dup(message) : NULL;
	return 0;
}

/* A reporter knows the mount that it was given better than our names. */
static struct snap_instance *find_root(struct snap_instances *all, struct cf_view root)
{
	for (size_t i = 0; i < all->count; i++)
		if (cf_view_eq_str(root, all->items[i].service.mount.root))
			return &all->items[i];
	return NULL;
}

static int find_instance(struct snap_instances *all, const struct cf_json *j,
                         const struct snap_instance **ret, struct cf_err *err)
{
	struct cf_view instance = { 0 }, root = { 0 };
	cf_cleanup(cf_freep) char *name = NULL;
	int r = cf_json_opt_str(j, "instance", &instance, err);

	if (r == 0)
		r = cf_json_opt_str(j, "root", &root, err);
	if (r < 0)
		return r;
	name = instance.size ? cf_view_dup(instance) : NULL;
	*ret = root.size ? find_root(all, root) : snap_instances_find(all, name);
	return *ret ? 0 : cf_fail(err, CF_NOT_FOUND, "no state directory of that name");
}

int snap_pulls_report(struct snap_pulls *p, struct snap_instances *all, struct cf_view body,
                      struct cf_err *err)
{
	cf_cleanup(cf_json_freep) struct cf_json *j = NULL;
	cf_cleanup(report_fini) struct report fresh = { 0 };
	int r = cf_json_parse(body, SNAP_CONTROL_BODY_MAX, &j, err);

	if (r == 0)
		r = read_report(j, &fresh, err);
	if (r == 0)
		r = find_instance(all, j, &fresh.in, err);
	if (r < 0)
		return r;
	if (!snap_store_has_id(fresh.in->service.store, fresh.id))
		return cf_fail(err, CF_NOT_FOUND, "no snapshot has the id %lld",
		               (long long)fresh.id);
	struct report *at = find(p, fresh.in, fresh.id);

	if (!at)
		at = oldest(p);
	report_fini(at);
	*at = fresh;
	at->when_ms = cf_now_ms();
	fresh = (struct report){ 0 };
	return 0;
}

/* ---- the list ---- */

static void put_report(const struct report *r, struct cf_jw *w)
{
	/* Nobody said anything: the guest may be pulling, or be done long ago. */
	cf_jw_kstr(w, "state", r ? r->state : "handed-over");
	if (!r)
		return;
	cf_jw_kuint(w, "layers_done", r->layers_done);
	cf_jw_kuint(w, "layers_total", r->layers);
	cf_jw_kuint(w, "bytes_done", r->bytes_done);
	cf_jw_kuint(w, "bytes_total", r->bytes);
	cf_jw_kint(w, "reported_ms_ago", cf_now_ms() - r->when_ms);
	if (r->message)
		cf_jw_kstr(w, "message", r->message);
}

static const char *label_below(const struct snap_list *chain, const char *key)
{
	for (size_t i = 0; i < chain->count; i++) {
		const char *value = snap_record_label(chain->items[i], key);

		if (value)
			return value;
	}
	return NULL;
}

static void put_pull(struct snap_pulls *p, struct snap_instance *in, const struct snap_record *rec,
                     struct cf_jw *w)
{
	cf_cleanup(snap_list_fini) struct snap_list chain = { 0 };

	snap_store_chain(in->service.store, rec, &chain);
	cf_jw_obj(w);
	cf_jw_kint(w, "snapshot_id", rec->id);
	cf_jw_kstr(w, "instance", in->name);
	cf_jw_kstr(w, "key", rec->name);
	cf_jw_kstr(w, "image", label_below(&chain, SNAP_LABEL_IMAGE_REF));
	cf_jw_kstr(w, "manifest", label_below(&chain, SNAP_LABEL_MANIFEST));
	cf_jw_kuint(w, "layers", chain.count);
	cf_jw_kint(w, "since_unix", rec->created_ns / 1000000000);
	put_report(find(p, in, rec->id), w);
	cf_jw_end_obj(w);
}

void snap_pulls_view(struct snap_pulls *p, struct snap_instances *all, struct cf_jw *w)
{
	size_t room = SNAP_CONTROL_LIST_MAX;

	cf_jw_obj(w);
	cf_jw_key(w, "pulls");
	cf_jw_arr(w);
	for (size_t i = 0; i < all->count; i++) {
		cf_cleanup(snap_list_fini) struct snap_list list = { 0 };

		snap_store_list(all->items[i].service.store, &list);
		for (size_t k = 0; k < list.count && room; k++) {
			const struct snap_record *rec = list.items[k];

			if (rec->kind != SNAP_ACTIVE || !(rec->flags & SNAP_KATA))
				continue;
			put_pull(p, &all->items[i], rec, w);
			room--;
		}
	}
	cf_jw_end_arr(w);
	cf_jw_end_obj(w);
}
