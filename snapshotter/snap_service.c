/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshotter/snap_service.h"

#include "base/log.h"
#include "base/str.h"
#include "proto/containerd_snapshots.pb-c.h"
#include "proto/grpc_health.pb-c.h"
#include "snapshotter/snap_commit.h"
#include "snapshotter/snap_differ.h"
#include "snapshotter/snap_filter.h"
#include "snapshotter/snap_heal.h"
#include "snapshotter/snap_identity.h"
#include "snapshotter/snap_name.h"
#include "snapshotter/snap_notice.h"

typedef Containerd__Services__Snapshots__V1__PrepareSnapshotRequest PrepareRequest;
typedef Containerd__Services__Snapshots__V1__PrepareSnapshotResponse PrepareResponse;
typedef Containerd__Services__Snapshots__V1__ViewSnapshotRequest ViewRequest;
typedef Containerd__Services__Snapshots__V1__ViewSnapshotResponse ViewResponse;
typedef Containerd__Services__Snapshots__V1__MountsRequest MountsRequest;
typedef Containerd__Services__Snapshots__V1__MountsResponse MountsResponse;
typedef Containerd__Services__Snapshots__V1__RemoveSnapshotRequest RemoveRequest;
typedef Containerd__Services__Snapshots__V1__StatSnapshotRequest StatRequest;
typedef Containerd__Services__Snapshots__V1__StatSnapshotResponse StatResponse;
typedef Containerd__Services__Snapshots__V1__UpdateSnapshotRequest UpdateRequest;
typedef Containerd__Services__Snapshots__V1__UpdateSnapshotResponse UpdateResponse;
typedef Containerd__Services__Snapshots__V1__ListSnapshotsRequest ListRequest;
typedef Containerd__Services__Snapshots__V1__ListSnapshotsResponse ListResponse;
typedef Containerd__Services__Snapshots__V1__UsageRequest UsageRequest;
typedef Containerd__Services__Snapshots__V1__UsageResponse UsageResponse;
typedef Containerd__Services__Snapshots__V1__Info Info;
typedef Containerd__Services__Snapshots__V1__Info__LabelsEntry LabelsEntry;

#define LIST_THREADS  2u
#define LISTS_WAITING 64u

#define SNAP(x) containerd__services__snapshots__v1__##x##__descriptor

/* ---- messages ---- */

struct mount_msg {
	Containerd__Types__Mount mount;
	Containerd__Types__Mount *list[1];
};

static void mount_msg_init(struct mount_msg *m, const struct snap_mount *from)
{
	containerd__types__mount__init(&m->mount);
	m->mount.type = from->type;
	m->mount.source = from->source;
	m->mount.options = from->options.items;
	m->mount.n_options = from->options.count;
	m->list[0] = &m->mount;
}

/* An Info with all it points to; the texts stay the record's. */
struct info_msg {
	struct snap_record *rec;
	Info info;
	Google__Protobuf__Timestamp created, updated;
	LabelsEntry *entries;
	LabelsEntry **labels;
};

static void stamp(Google__Protobuf__Timestamp *t, int64_t ns)
{
	google__protobuf__timestamp__init(t);
	t->seconds = ns / 1000000000;
	t->nanos = (int32_t)(ns % 1000000000);
}

static void info_msg_init(struct info_msg *m, struct snap_record *rec)
{
	size_t count = snap_record_label_count(rec);
	const char *key, *value;

	m->rec = snap_record_ref(rec);
	containerd__services__snapshots__v1__info__init(&m->info);
	stamp(&m->created, rec->created_ns);
	stamp(&m->updated, rec->updated_ns);
	m->entries = cf_zalloc_n(count + 1, sizeof(m->entries[0]));
	m->labels = cf_zalloc_n(count + 1, sizeof(m->labels[0]));
	/* protobuf-c has no const; it only reads what it packs. */
	for (size_t i = 0, at = 0; snap_record_next_label(rec, &at, &key, &value); i++) {
		containerd__services__snapshots__v1__info__labels_entry__init(&m->entries[i]);
		m->entries[i].key = (char *)(uintptr_t)key;
		m->entries[i].value = (char *)(uintptr_t)value;
		m->labels[i] = &m->entries[i];
	}
	m->info.name = (char *)(uintptr_t)rec->name;
	m->info.parent = (char *)(uintptr_t)rec->parent;
	m->info.kind = (Containerd__Services__Snapshots__V1__Kind)rec->kind;
	m->info.created_at = &m->created;
	m->info.updated_at = &m->updated;
	m->info.n_labels = count;
	m->info.labels = m->labels;
}

static void info_msg_fini(struct info_msg *m)
{
	free(m->entries);
	free(m->labels);
	snap_record_unref(m->rec);
}

static void reply_empty(struct rpc_call *call)
{
	Google__Protobuf__Empty empty = GOOGLE__PROTOBUF__EMPTY__INIT;

	rpc_reply(call, &empty);
}

/* ---- prepare and view ---- */

/*
 * containerd asks for a layer by a name it has in its own database. When we do not know it, our
 * state was lost (wiped, restored, moved): every pod of that image would fail until somebody cleans
 * up by hand. The record holds nothing that is not in the name, so it can be made anew.
 */
static int take_up_layer(struct snap_service *s, const char *name, struct cf_err *err)
{
	bool is_new = false;

	if (s->is_strict || s->mode != SNAP_MODE_GUEST_PULL || !snap_name_is_layer(name))
		return 0;
	struct snap_record *rec = snap_store_get(s->store, name);

	if (rec) {
		snap_record_unref(rec);
		return 0;
	}
	int r = snap_store_take_up(s->store, name, &is_new, err);

	if (r < 0 || !is_new)
		return r;
	snap_count(&s->counters.resurrected, 1);
	cf_log_warn("a layer that containerd knows was not known here: taken up again",
	            CF_F_STR("name", name));
	return 0;
}

/* What the layers from @top down are, any of them. */
static unsigned flags_below(struct snap_service *s, const struct snap_record *top)
{
	cf_cleanup(snap_list_fini) struct snap_list chain = { 0 };
	unsigned flags = top->flags;

	/* What the guest pulls is looked for first: it is the common case, and the top tells. */
	if (flags & (SNAP_GUEST_PULL | SNAP_EROFS))
		return flags;
	snap_store_chain(s->store, top, &chain);
	for (size_t i = 0; i < chain.count; i++)
		flags |= chain.items[i]->flags;
	return flags;
}

/* @top and all below it, nearest first. */
static void chain_from(struct snap_service *s, const struct snap_record *top, struct snap_list *ret)
{
	const struct snap_record on_top = { .parent_id = top->id };

	snap_store_chain(s->store, &on_top, ret);
}

static unsigned identity_flag(struct snap_service *s, const struct snap_record *top)
{
	cf_cleanup(snap_list_fini) struct snap_list chain = { 0 };

	if (top)
		chain_from(s, top, &chain);
	return snap_identity_is_in(&chain) ? SNAP_HAS_IDENTITY : 0;
}

/* How a snapshot on @top (NULL: on nothing) is answered: by what lies below it. */
static unsigned flags_for(struct snap_service *s, const char *key, const struct snap_record *top,
                          enum snap_kind kind)
{
	unsigned below = top ? flags_below(s, top) : 0;

	if (s->mode == SNAP_MODE_GUEST_PULL && kind == SNAP_ACTIVE && snap_name_is_extract(key))
		return SNAP_HAS_DIR | SNAP_NULL_EXTRACT;
	if (s->mode == SNAP_MODE_GUEST_PULL && (!top || (below & SNAP_GUEST_PULL)))
		return SNAP_HAS_DIR | SNAP_KATA | identity_flag(s, top);
	if (top && (s->mode == SNAP_MODE_EROFS || (below & SNAP_EROFS)))
		return SNAP_HAS_DIR | SNAP_ON_EROFS;
	return SNAP_HAS_DIR;
}

static int mounts_of(struct snap_service *s, const struct snap_record *rec, struct snap_mount *ret,
                     struct cf_err *err)
{
	cf_cleanup(snap_list_fini) struct snap_list chain = { 0 };

	snap_store_chain(s->store, rec, &chain);
	return snap_mount_of(&s->mount, rec, &chain, ret, err);
}

static void undo_add(struct snap_service *s, const char *key)
{
	struct snap_record *rec = NULL;
	struct cf_err err;

	if (snap_store_remove(s->store, key, &rec, &err) < 0)
		return; /* containerd removes it when it finds it does not know it */
	(void)!snap_dirs_drop(s->dirs, rec->id, &err);
	snap_record_unref(rec);
}

/* The owner of a container's root, where its user namespace says so. */
static int give_away(struct snap_service *s, const struct snap_record *rec, struct cf_err *err)
{
	uid_t uid = snap_labels_root_of(snap_record_label(rec, SNAP_LABEL_UID_MAPPING));
	gid_t gid = snap_labels_root_of(snap_record_label(rec, SNAP_LABEL_GID_MAPPING));

	if (uid == SNAP_NO_ID || gid == SNAP_NO_ID)
		return 0;
	return snap_dirs_own(s->dirs, rec->id, uid, gid, err);
}

static int make_identity(struct snap_service *s, const struct snap_record *rec, struct cf_err *err)
{
	cf_cleanup(snap_list_fini) struct snap_list chain = { 0 };

	if (!(rec->flags & SNAP_HAS_IDENTITY) || rec->kind == SNAP_COMMITTED)
		return 0;
	snap_store_chain(s->store, rec, &chain);
	return snap_identity_make(s->mount.root, rec->id, &chain, err);
}

static int make_ready(struct snap_service *s, const struct snap_record *rec, struct snap_mount *ret,
                      struct cf_err *err)
{
	int64_t like = rec->flags & (SNAP_KATA | SNAP_NULL_EXTRACT) ? 0 : rec->parent_id;
	int r = snap_dirs_make(s->dirs, rec->id, like, err);

	if (r == 0)
		r = give_away(s, rec, err);
	if (r == 0)
		r = make_identity(s, rec, err);
	return r < 0 ? r : mounts_of(s, rec, ret, err);
}

static int add(struct snap_service *s, const char *key, const char *parent, enum snap_kind kind,
               const struct snap_labels *labels, struct snap_mount *ret, struct cf_err *err)
{
	cf_cleanup(snap_record_unrefp) struct snap_record *rec = NULL;
	cf_cleanup(snap_record_unrefp) struct snap_record *top = NULL;
	int r = take_up_layer(s, parent, err);

	if (r < 0)
		return r;
	top = parent[0] ? snap_store_get(s->store, parent) : NULL;
	struct snap_new in = { .key = key,
		               .parent = parent,
		               .kind = kind,
		               .flags = flags_for(s, key, top, kind),
		               .labels = labels };
	/* Before it is known to anybody: what is answered can be mounted. */
	bool holds = (in.flags & SNAP_ON_EROFS) && top->kind == SNAP_COMMITTED;

	if (holds)
		r = snap_erofs_hold(s->erofs, top, err);
	if (r < 0)
		return r;
	r = snap_store_add(s->store, &in, &rec, err);
	if (r == 0)
		r = make_ready(s, rec, ret, err);
	if (r < 0 && rec)
		undo_add(s, key);
	if (r < 0 && holds)
		snap_erofs_release(s->erofs, top->id, false);
	return r;
}

/*
 * containerd asks for a directory to unpack a layer into. The answer "it exists already" makes it
 * skip fetching and unpacking: the layer never comes here.
 */
static int provide_layer(struct snap_service *s, const char *ref, const char *parent,
                         struct snap_labels *labels, struct cf_err *err)
{
	struct snap_record *known = snap_store_find_ref(s->store, ref, parent);
	bool is_new;
	int r = known ? 0 : take_up_layer(s, parent, err);

	if (r == 0 && !known)
		r = snap_labels_set(labels, SNAP_LABEL_PROXY_MODE, "true", err);
	if (r == 0 && !known)
		r = snap_labels_set(labels, SNAP_LABEL_OUR_MODE, "guest-pull", err);
	if (r == 0 && !known)
		r = snap_store_add_layer(s->store, ref, parent, labels, &is_new, err);
	snap_record_unref(known);
	if (r == 0)
		snap_notice_layer(s->notify, ref, labels);
	return r < 0 ? r
	             : cf_fail(err, CF_ALREADY_EXISTS, "target snapshot \"%s\": already exists",
	                       ref);
}

/* Set once: a plugin's name does not change while its state directory is in use. */
static void remember_plugin(struct snap_service *s, const char *name)
{
	char *none = NULL;

	if (!name[0] || strlen(name) > SNAP_PLUGIN_MAX || s->plugin)
		return;
	char *copy = cf_strdup(name);

	if (!atomic_compare_exchange_strong(&s->plugin, &none, copy))
		free(copy);
}

char *snap_service_plugin(struct snap_service *s)
{
	return cf_strdup(atomic_load(&s->plugin));
}

static int prepare(struct snap_service *s, const PrepareRequest *req, struct snap_mount *ret,
                   struct cf_err *err)
{
	cf_cleanup(snap_labels_fini) struct snap_labels labels = { 0 };
	int r = SNAP_TAKE_LABELS(req, &labels, err);

	remember_plugin(s, req->snapshotter);
	if (r < 0)
		return r;
	const char *ref = snap_labels_get(&labels, SNAP_LABEL_REF);

	if (ref && s->mode == SNAP_MODE_GUEST_PULL) {
		cf_cleanup(cf_freep) char *target = cf_strdup(ref);

		return provide_layer(s, target, req->parent, &labels, err);
	}
	return add(s, req->key, req->parent, SNAP_ACTIVE, &labels, ret, err);
}

static void on_prepare(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	PrepareResponse res = CONTAINERD__SERVICES__SNAPSHOTS__V1__PREPARE_SNAPSHOT_RESPONSE__INIT;
	cf_cleanup(snap_mount_fini) struct snap_mount m = { 0 };
	struct mount_msg mm;
	struct cf_err err;

	if (prepare(user, (const PrepareRequest *)msg, &m, &err) < 0) {
		rpc_fail_err(call, &err);
		return;
	}
	mount_msg_init(&mm, &m);
	res.n_mounts = 1;
	res.mounts = mm.list;
	rpc_reply(call, &res);
}

static int view(struct snap_service *s, const ViewRequest *req, struct snap_mount *ret,
                struct cf_err *err)
{
	cf_cleanup(snap_labels_fini) struct snap_labels labels = { 0 };
	int r = SNAP_TAKE_LABELS(req, &labels, err);

	return r < 0 ? r : add(s, req->key, req->parent, SNAP_VIEW, &labels, ret, err);
}

static void on_view(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	ViewResponse res = CONTAINERD__SERVICES__SNAPSHOTS__V1__VIEW_SNAPSHOT_RESPONSE__INIT;
	cf_cleanup(snap_mount_fini) struct snap_mount m = { 0 };
	struct mount_msg mm;
	struct cf_err err;

	if (view(user, (const ViewRequest *)msg, &m, &err) < 0) {
		rpc_fail_err(call, &err);
		return;
	}
	mount_msg_init(&mm, &m);
	res.n_mounts = 1;
	res.mounts = mm.list;
	rpc_reply(call, &res);
}

/* ---- reading ---- */

static struct snap_record *find(struct snap_service *s, const char *key, struct cf_err *err)
{
	struct snap_record *rec = snap_store_get(s->store, key);

	if (!rec && take_up_layer(s, key, err) < 0)
		return NULL;
	if (!rec)
		rec = snap_store_get(s->store, key);

	if (!rec)
		(void)!cf_fail(err, CF_NOT_FOUND, "snapshot %s does not exist", key);
	return rec;
}

/* An empty directory must not stand in for the layers below. */
static int check_mount(struct snap_service *s, const struct snap_record *rec, struct cf_err *err)
{
	cf_cleanup(snap_record_unrefp) struct snap_record *below = NULL;

	/* Its directory may have been lost with the power; two look-ups tell. */
	if (rec->flags & SNAP_HAS_IDENTITY)
		return make_identity(s, rec, err);
	if (!(rec->flags & SNAP_ON_EROFS) || rec->kind == SNAP_COMMITTED)
		return 0;
	below = snap_store_get(s->store, rec->parent);
	if (!below)
		return cf_fail(err, CF_NOT_FOUND, "snapshot %s does not exist", rec->parent);
	return snap_erofs_check(s->erofs, below, err);
}

static void on_mounts(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	MountsResponse res = CONTAINERD__SERVICES__SNAPSHOTS__V1__MOUNTS_RESPONSE__INIT;
	cf_cleanup(snap_mount_fini) struct snap_mount m = { 0 };
	struct snap_service *s = user;
	struct mount_msg mm;
	struct cf_err err;
	cf_cleanup(snap_record_unrefp) struct snap_record *rec =
		find(s, ((const MountsRequest *)msg)->key, &err);

	if (!rec && err.code == CF_NOT_FOUND)
		rec = snap_heal_container(s, ((const MountsRequest *)msg)->key, &err);
	if (!rec || check_mount(s, rec, &err) < 0 || mounts_of(s, rec, &m, &err) < 0) {
		rpc_fail_err(call, &err);
		return;
	}
	mount_msg_init(&mm, &m);
	res.n_mounts = 1;
	res.mounts = mm.list;
	rpc_reply(call, &res);
}

static void reply_stat(struct rpc_call *call, struct snap_record *rec)
{
	StatResponse res = CONTAINERD__SERVICES__SNAPSHOTS__V1__STAT_SNAPSHOT_RESPONSE__INIT;
	cf_cleanup(info_msg_fini) struct info_msg im;

	info_msg_init(&im, rec);
	res.info = &im.info;
	rpc_reply(call, &res);
}

static void on_stat(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	struct cf_err err;
	cf_cleanup(snap_record_unrefp) struct snap_record *rec =
		find(user, ((const StatRequest *)msg)->key, &err);

	if (rec)
		reply_stat(call, rec);
	else
		rpc_fail_err(call, &err);
}

bool snap_service_stat_early(struct snap_service *s, struct rpc_call *call,
                             const ProtobufCMessage *req)
{
	if (req->descriptor != &SNAP(stat_snapshot_request))
		return false;
	cf_cleanup(snap_record_unrefp) struct snap_record *rec =
		snap_store_peek(s->store, ((const StatRequest *)req)->key);

	if (rec)
		reply_stat(call, rec);
	return rec != NULL;
}

static bool is_cancelled(void *user)
{
	return rpc_cancelled(user);
}

static int usage(struct snap_service *s, const char *key, struct rpc_call *call, UsageResponse *res,
                 struct cf_err *err)
{
	cf_cleanup(snap_record_unrefp) struct snap_record *rec = find(s, key, err);

	if (!rec)
		return -(int)err->code;
	if (rec->kind == SNAP_COMMITTED) {
		res->size = rec->size;
		res->inodes = rec->inodes;
	}
	if (rec->kind != SNAP_ACTIVE)
		return 0;
	return snap_dirs_usage(s->dirs, rec->id, is_cancelled, call, &res->size, &res->inodes, err);
}

static void on_usage(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	UsageResponse res = CONTAINERD__SERVICES__SNAPSHOTS__V1__USAGE_RESPONSE__INIT;
	struct cf_err err;

	if (usage(user, ((const UsageRequest *)msg)->key, call, &res, &err) < 0)
		rpc_fail_err(call, &err);
	else
		rpc_reply(call, &res);
}

/* ---- list ---- */

static void list_select(struct snap_service *s, struct snap_filter *f, struct snap_list *ret)
{
	cf_cleanup(snap_list_fini) struct snap_list all = { 0 };
	const char *ref, *parent;

	if (snap_filter_is_ref(f, &ref, &parent)) {
		struct snap_record *rec = snap_store_find_ref(s->store, ref, parent);

		if (rec) {
			cf_grow(&ret->items, &ret->cap, 1);
			ret->items[ret->count++] = rec;
		}
		return;
	}
	snap_store_list(s->store, &all);
	for (size_t i = 0; i < all.count; i++) {
		if (!snap_filter_match(f, all.items[i]))
			continue;
		cf_grow(&ret->items, &ret->cap, ret->count + 1);
		ret->items[ret->count++] = snap_record_ref(all.items[i]);
	}
}

static int send_page(struct rpc_call *call, struct snap_record **items, size_t count,
                     struct cf_err *err)
{
	ListResponse res = CONTAINERD__SERVICES__SNAPSHOTS__V1__LIST_SNAPSHOTS_RESPONSE__INIT;
	struct info_msg infos[SNAP_LIST_PAGE];
	Info *list[SNAP_LIST_PAGE];

	for (size_t i = 0; i < count; i++) {
		info_msg_init(&infos[i], items[i]);
		list[i] = &infos[i].info;
	}
	res.n_info = count;
	res.info = list;
	int r = rpc_send(call, &res, err);

	for (size_t i = 0; i < count; i++)
		info_msg_fini(&infos[i]);
	return r;
}

/* How many of @items fit one message: one at least, not more bytes than any client takes. */
static size_t page_of(struct snap_record *const *items, size_t count)
{
	size_t bytes = 0, n = 0;

	for (; n < CF_MIN(count, (size_t)SNAP_LIST_PAGE); n++) {
		const char *key, *value;

		for (size_t at = 0; snap_record_next_label(items[n], &at, &key, &value);)
			bytes += strlen(key) + strlen(value);
		bytes += strlen(items[n]->name) + strlen(items[n]->parent);
		if (n && bytes > SNAP_LIST_PAGE_BYTES)
			break;
	}
	return n;
}

/* Nothing is locked here: the reader may take its time, or call us while it reads. */
static void answer_list(struct rpc_call *call, const struct snap_list *found)
{
	struct cf_err err;
	size_t n;
	int r = 0;

	for (size_t i = 0; r == 0 && i < found->count; i += n) {
		n = page_of(found->items + i, found->count - i);
		r = send_page(call, found->items + i, n, &err);
	}
	if (r < 0)
		rpc_fail_err(call, &err);
	else
		rpc_reply(call, NULL);
}

struct list_job {
	struct rpc_call *call;
	struct snap_list found;
};

static void run_list(void *arg)
{
	struct list_job *job = arg;

	answer_list(job->call, &job->found);
	snap_list_fini(&job->found);
	free(job);
}

/*
 * A reader that takes its time with a long list keeps a thread: one of two that do nothing else, so
 * that the others serve. What fits one message, as every look-up of a layer does, is sent at once.
 */
static int list(struct snap_service *s, struct rpc_call *call, const ListRequest *req,
                struct cf_err *err)
{
	cf_cleanup(snap_filter_freep) struct snap_filter *f = NULL;
	cf_cleanup(snap_list_fini) struct snap_list found = { 0 };
	int r = snap_filter_new(req->filters, req->n_filters, &f, err);

	if (r < 0)
		return r;
	list_select(s, f, &found);
	r = snap_filter_check(f, err);
	if (r < 0)
		return r;
	if (page_of(found.items, found.count) == found.count) {
		answer_list(call, &found);
		return 0;
	}
	struct list_job *job = cf_zalloc(sizeof(*job));

	*job = (struct list_job){ call, found };
	r = cf_work_add(s->lists, run_list, job, err);
	if (r == 0)
		found = (struct snap_list){ 0 };
	else
		free(job);
	return r;
}

static void on_list(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	struct cf_err err;

	if (list(user, call, (const ListRequest *)msg, &err) < 0)
		rpc_fail_err(call, &err);
}

/* ---- update, remove, cleanup ---- */

static int update(struct snap_service *s, const UpdateRequest *req, struct snap_record **ret,
                  struct cf_err *err)
{
	cf_cleanup(snap_labels_fini) struct snap_labels labels = { 0 };

	if (!req->info)
		return cf_fail(err, CF_INVALID_ARGUMENT, "update of nothing");
	int r = SNAP_TAKE_LABELS(req->info, &labels, err);

	return r < 0 ? r
	             : snap_store_update(s->store, req->info->name, &labels,
	                                 req->update_mask ? req->update_mask->paths : NULL,
	                                 req->update_mask ? req->update_mask->n_paths : 0, ret,
	                                 err);
}

static void on_update(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	UpdateResponse res = CONTAINERD__SERVICES__SNAPSHOTS__V1__UPDATE_SNAPSHOT_RESPONSE__INIT;
	cf_cleanup(snap_record_unrefp) struct snap_record *rec = NULL;
	struct cf_err err;

	if (update(user, (const UpdateRequest *)msg, &rec, &err) < 0) {
		rpc_fail_err(call, &err);
		return;
	}
	cf_cleanup(info_msg_fini) struct info_msg im;

	info_msg_init(&im, rec);
	res.info = &im.info;
	rpc_reply(call, &res);
}

static int remove_key(struct snap_service *s, const char *key, struct cf_err *err)
{
	cf_cleanup(snap_record_unrefp) struct snap_record *rec = NULL;
	int r = snap_store_remove(s->store, key, &rec, err);

	if (r == 0 && (rec->flags & SNAP_ON_EROFS))
		snap_erofs_release(s->erofs, rec->parent_id, false);
	if (r < 0 || !(rec->flags & SNAP_HAS_DIR))
		return r;
	r = snap_dirs_drop(s->dirs, rec->id, err);
	return r == 0 && s->is_sync_remove ? snap_dirs_cleanup(s->dirs, s->store, err) : r;
}

static void on_remove(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	struct cf_err err;

	if (remove_key(user, ((const RemoveRequest *)msg)->key, &err) < 0)
		rpc_fail_err(call, &err);
	else
		reply_empty(call);
}

static void on_cleanup(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	struct snap_service *s = user;
	struct cf_err err;

	(void)msg;
	if (snap_dirs_cleanup(s->dirs, s->store, &err) < 0)
		rpc_fail_err(call, &err);
	else
		reply_empty(call);
}

/* ---- health ---- */

static void on_health(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	Grpc__Health__V1__HealthCheckResponse res = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
	const char *service = ((const Grpc__Health__V1__HealthCheckRequest *)msg)->service;
	struct snap_service *s = user;

	if (service[0] && !cf_streq(service, s->snapshots.name)) {
		rpc_fail(call, CF_NOT_FOUND, "no service %s here", service);
		return;
	}
	res.status = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
	rpc_reply(call, &res);
}

/* ---- tables ---- */

#define EMPTY  google__protobuf__empty__descriptor
#define MOUNTS "Mounts"

/* Stat and Mounts wait for the disk only when they take up a lost layer, once for each. */
static const struct rpc_method snapshots_methods[] = {
	{ "Prepare", &SNAP(prepare_snapshot_request), &SNAP(prepare_snapshot_response), on_prepare,
	  0 },
	{ "View", &SNAP(view_snapshot_request), &SNAP(view_snapshot_response), on_view, 0 },
	{ MOUNTS, &SNAP(mounts_request), &SNAP(mounts_response), on_mounts, RPC_INLINE },
	{ "Commit", &SNAP(commit_snapshot_request), &EMPTY, snap_on_commit, 0 },
	{ "Remove", &SNAP(remove_snapshot_request), &EMPTY, on_remove, 0 },
	{ "Stat", &SNAP(stat_snapshot_request), &SNAP(stat_snapshot_response), on_stat,
	  RPC_INLINE },
	{ "Update", &SNAP(update_snapshot_request), &SNAP(update_snapshot_response), on_update, 0 },
	{ "List", &SNAP(list_snapshots_request), &SNAP(list_snapshots_response), on_list,
	  RPC_STREAM },
	{ "Usage", &SNAP(usage_request), &SNAP(usage_response), on_usage, 0 },
	{ "Cleanup", &SNAP(cleanup_request), &EMPTY, on_cleanup, 0 },
};

static const struct rpc_method health_methods[] = {
	{ "Check", &grpc__health__v1__health_check_request__descriptor,
	  &grpc__health__v1__health_check_response__descriptor, on_health, RPC_INLINE },
};

int snap_service_init(struct snap_service *s, struct cf_err *err)
{
	_Static_assert(CF_ARRAY_LEN(snapshots_methods) == CF_ARRAY_LEN(s->methods), "all of them");
	memcpy(s->methods, snapshots_methods, sizeof(snapshots_methods));
	/* Where layers are mounted, Mounts may have to do it again: that is no work for I/O. */
	for (size_t i = 0; i < CF_ARRAY_LEN(s->methods); i++)
		if (s->mode != SNAP_MODE_GUEST_PULL && cf_streq(s->methods[i].name, MOUNTS))
			s->methods[i].flags &= ~(unsigned)RPC_INLINE;
	s->snapshots = (struct rpc_service){ "containerd.services.snapshots.v1.Snapshots",
		                             s->methods, CF_ARRAY_LEN(s->methods), s };
	s->health = (struct rpc_service){ "grpc.health.v1.Health", health_methods,
		                          CF_ARRAY_LEN(health_methods), s };
	s->services[0] = &s->snapshots;
	s->services[1] = &s->health;
	snap_differ_init(s, &s->diff);
	s->services[2] = &s->diff;
	return cf_work_new(LIST_THREADS, LISTS_WAITING, &s->lists, err);
}

void snap_service_fini(struct snap_service *s)
{
	s->lists = cf_work_free(s->lists);
	free(atomic_exchange(&s->plugin, NULL));
}
