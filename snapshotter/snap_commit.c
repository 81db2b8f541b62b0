/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshotter/snap_commit.h"

#include "base/log.h"
#include "proto/containerd_snapshots.pb-c.h"
#include "snapshotter/snap_identity.h"

typedef Containerd__Services__Snapshots__V1__CommitSnapshotRequest CommitRequest;

static bool is_cancelled(void *user)
{
	return rpc_cancelled(user);
}

/* Under guest pull no layer should come here: one that did can be seen in the metrics. */
static void count_host_bytes(struct snap_service *s, int64_t size, int64_t inodes)
{
	bool is_empty = inodes <= 1; /* the directory alone */

	if (s->mode == SNAP_MODE_GUEST_PULL && !is_empty)
		snap_count(&s->counters.host_layer_bytes, (uint64_t)size);
}

static bool name_is_free(struct snap_service *s, const char *name)
{
	cf_cleanup(snap_record_unrefp) struct snap_record *rec = snap_store_get(s->store, name);

	return !rec;
}

static bool keeps_image(const struct snap_service *s, const struct snap_record *rec)
{
	return rec && rec->kind == SNAP_ACTIVE && !(rec->flags & (SNAP_NULL_EXTRACT | SNAP_KATA)) &&
	       (s->mode == SNAP_MODE_EROFS || (rec->flags & SNAP_ON_EROFS));
}

/* The directory becomes an image. What the store will refuse anyway is not built first. */
static int commit_image(struct snap_service *s, struct rpc_call *call,
                        const struct snap_record *rec, struct snap_commit *in, struct cf_err *err)
{
	bool is_base = rec->parent_id == 0 && !in->parent[0];
	struct snap_erofs_usage used = { 0 };
	int r = 0;

	if (name_is_free(s, in->name))
		r = snap_erofs_build(s->erofs, rec->id, is_base, is_cancelled, call, &used, err);
	in->size = used.size;
	in->inodes = used.inodes;
	in->flags_add = SNAP_EROFS;
	in->flags_del |= SNAP_ON_EROFS;
	return r;
}

/* What is kept of an unpacking that brought no labels: that the layer exists, who its users are. */
static int commit_nothing(struct snap_service *s, const struct snap_record *rec,
                          struct snap_commit *in, struct snap_labels *labels, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *dir =
		cf_asprintf("%s/snapshots/%lld/fs", s->mount.root, (long long)rec->id);
	cf_cleanup(cf_freep) char *found = cf_asprintf("%s/snapshots/%lld/" SNAP_IDENTITY_DIR,
	                                               s->mount.root, (long long)rec->id);
	int r = snap_labels_set(labels, SNAP_LABEL_PROXY_MODE, "true", err);

	if (r == 0)
		r = snap_identity_keep(found, labels, err); /* by the differ */
	if (r == 0 && in->inodes > 1)
		r = snap_identity_keep(dir, labels, err);
	if (r == 0)
		r = snap_labels_set(labels, SNAP_LABEL_OUR_MODE, "guest-pull", err);
	in->flags_add = SNAP_GUEST_PULL;
	in->flags_del = SNAP_NULL_EXTRACT | SNAP_HAS_DIR;
	in->size = in->inodes = 0;
	return r;
}

/* The directory stays; what was acknowledged is on disk. An empty one (one inode) has nothing. */
static int commit_dir(struct snap_service *s, struct rpc_call *call, const struct snap_record *rec,
                      struct snap_commit *in, struct snap_labels *labels, struct cf_err *err)
{
	int r = snap_dirs_usage(s->dirs, rec->id, is_cancelled, call, &in->size, &in->inodes, err);

	if (r < 0)
		return r;
	count_host_bytes(s, in->size, in->inodes);
	if (rec->flags & SNAP_NULL_EXTRACT)
		return commit_nothing(s, rec, in, labels, err);
	return in->inodes > 1 && !s->is_relaxed ? snap_dirs_sync(s->dirs, rec->id, err) : 0;
}

static int commit_content(struct snap_service *s, struct rpc_call *call,
                          const struct snap_record *rec, struct snap_commit *in,
                          struct snap_labels *labels, struct cf_err *err)
{
	return keeps_image(s, rec) ? commit_image(s, call, rec, in, err)
	                           : commit_dir(s, call, rec, in, labels, err);
}

/* The commit is durable: nothing that fails here is the caller's concern. */
static void after_commit(struct snap_service *s, const struct snap_record *rec,
                         const struct snap_commit *in)
{
	struct cf_err err;
	int r = 0;

	if (in->flags_del & SNAP_HAS_DIR)
		r = snap_dirs_drop(s->dirs, rec->id, &err);
	else if (in->flags_add & SNAP_EROFS)
		r = snap_dirs_clear(s->dirs, rec->id, &err);
	if (r < 0)
		cf_log_warn("a committed directory stays", CF_F_STR("why", err.msg));
	if (rec->flags & SNAP_ON_EROFS)
		snap_erofs_release(s->erofs, rec->parent_id, true);
}

static int commit(struct snap_service *s, struct rpc_call *call, const CommitRequest *req,
                  struct cf_err *err)
{
	cf_cleanup(snap_labels_fini) struct snap_labels labels = { 0 };
	struct snap_commit in = { .key = req->key,
		                  .name = req->name,
		                  .parent = req->parent,
		                  .labels = &labels,
		                  .flags_del = SNAP_KATA | SNAP_HAS_IDENTITY };
	cf_cleanup(snap_record_unrefp) struct snap_record *rec = snap_store_get(s->store, req->key);
	int r = SNAP_TAKE_LABELS(req, &labels, err);

	if (r == 0 && rec && rec->kind == SNAP_ACTIVE)
		r = commit_content(s, call, rec, &in, &labels, err);
	if (r == 0)
		r = snap_store_commit(s->store, &in, err);
	if (r == 0 && rec)
		after_commit(s, rec, &in);
	return r;
}

struct commit_job {
	struct snap_service *s;
	struct rpc_call *call;
	const CommitRequest *req; /* valid until the call is answered */
};

static void run_commit(void *arg)
{
	Google__Protobuf__Empty empty = GOOGLE__PROTOBUF__EMPTY__INIT;
	struct commit_job *job = arg;
	struct cf_err err;

	if (commit(job->s, job->call, job->req, &err) < 0)
		rpc_fail_err(job->call, &err);
	else
		rpc_reply(job->call, &empty);
	free(job);
}

void snap_on_commit(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	struct snap_service *s = user;
	const CommitRequest *req = (const CommitRequest *)msg;
	cf_cleanup(snap_record_unrefp) struct snap_record *rec = snap_store_get(s->store, req->key);
	struct commit_job *job = cf_zalloc(sizeof(*job));
	struct cf_err err;

	*job = (struct commit_job){ s, call, req };
	if (!keeps_image(s, rec)) {
		run_commit(job);
		return;
	}
	if (snap_erofs_later(s->erofs, run_commit, job, &err) == 0)
		return;
	rpc_fail_err(call, &err);
	free(job);
}
