/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshotter/snap_differ.h"

#include "base/log.h"
#include "base/str.h"
#include "proto/containerd_diff.pb-c.h"
#include "snapshotter/snap_content.h"
#include "snapshotter/snap_identity.h"
#include "snapshotter/snap_name.h"
#include "snapshotter/snap_service.h"
#include "snapshotter/snap_users.h"

typedef Containerd__Services__Diff__V1__ApplyRequest ApplyRequest;
typedef Containerd__Services__Diff__V1__ApplyResponse ApplyResponse;

#define LAYER_TAR "application/vnd.oci.image.layer.v1.tar"

/* ---- whose snapshot it is ---- */

/* The id in "ROOT/snapshots/ID/fs"; 0: it is none. */
static int64_t id_of(const char *root, const char *source)
{
	cf_cleanup(cf_freep) char *prefix = cf_asprintf("%s/snapshots/", root);
	const char *rest = cf_after(source, prefix);
	const char *end = rest ? strchr(rest, '/') : NULL;
	struct cf_err ignored;
	uint64_t id = 0;

	if (!end || !cf_streq(end, "/fs") ||
	    cf_parse_u64(cf_view(rest, (size_t)(end - rest)), INT64_MAX, &id, &ignored) < 0)
		return 0;
	return (int64_t)id;
}

/* The snapshot that is being unpacked into, when it is one that keeps nothing; a reference or NULL. */
static struct snap_record *target_of(struct snap_service *first, const ApplyRequest *req,
                                     struct snap_service **ret)
{
	if (req->n_mounts != 1 || !cf_streq(req->mounts[0]->type, "bind"))
		return NULL;
	for (struct snap_service *s = first; s; s = s->next) {
		int64_t id = id_of(s->mount.root, req->mounts[0]->source);
		struct snap_record *rec = id ? snap_store_get_id(s->store, id) : NULL;

		if (rec && rec->kind == SNAP_ACTIVE && (rec->flags & SNAP_NULL_EXTRACT)) {
			*ret = s;
			return rec;
		}
		snap_record_unref(rec);
	}
	return NULL;
}

/* ---- what it would become ---- */

/* The chainID at the end of a layer's name, without what we append to it; the caller frees. */
static char *chain_of_name(const char *name)
{
	const char *slash = strrchr(name, '/');
	const char *last = slash ? slash + 1 : name;

	return snap_name_is_layer(name) ? cf_strndup(last, strcspn(last, "#")) : NULL;
}

static const char *chain_of_key(const char *key)
{
	return snap_name_is_extract(key) ? strrchr(key, ' ') + 1 : NULL;
}

/* containerd calls each snapshot NAMESPACE/NUMBER/KEY here, and its diff service tells no namespace. */
static char *namespace_of(const char *name, const char *said)
{
	const char *slash = strchr(name, '/');

	if (said)
		return cf_strdup(said);
	return slash && slash != name ? cf_strndup(name, (size_t)(slash - name)) : NULL;
}

struct layer {
	const char *chain; /* borrowed from the record */
	char *parent;      /* chainID; NULL: the lowest */
	char *diff_id;
	char *config; /* digest of the configuration it was proven by; NULL: not looked at */
};

static void layer_fini(struct layer *l)
{
	free(l->parent);
	free(l->diff_id);
	free(l->config);
}

static int prove(const struct snap_service *s, const struct snap_record *rec, const char *ns,
                 const char *blob, struct layer *l, struct cf_err *err)
{
	const char *label = snap_record_label(rec, SNAP_LABEL_DIFF_ID);
	const struct snap_content_layer in = { blob, l->parent, l->chain };
	cf_cleanup(cf_strv_fini) struct cf_strv labels = { 0 };

	if (label)
		cf_strv_add(&labels, label);

	/* The lowest layer's chainID is its diffID. */
	if (!l->parent)
		l->diff_id = cf_strdup(l->chain);
	else if (label)
		l->diff_id = snap_content_on_top(l->parent, l->chain, &labels);
	if (l->diff_id)
		return 0;
	if (!s->containerd || !ns)
		return cf_fail(err, CF_NOT_FOUND, "containerd's content cannot be looked at");
	return snap_content_diff_id(s->containerd, ns, &in, &l->diff_id, &l->config, err);
}

/*
 * When the layer's blob is not here, containerd fails after us, once for each: it labels the blob
 * it believes to have. It tries again, and then the snapshot must still be there: a label on the
 * image's configuration keeps it from being collected. Without it there is one more round.
 */
static void keep(struct snap_service *s, const char *ns, const char *blob, struct layer *l)
{
	cf_cleanup(cf_freep) char *plugin = snap_service_plugin(s);
	struct cf_err err = { 0 };
	int r = 0;

	if (!s->containerd || !ns || !plugin)
		return;
	if (!l->config)
		r = snap_content_config_of(s->containerd, ns, blob, l->diff_id, &l->config, &err);
	if (r < 0 || !l->config)
		return;
	cf_cleanup(cf_freep) char *key =
		cf_asprintf("containerd.io/gc.ref.snapshot.%s/coffer", plugin);

	if (snap_content_label(s->containerd, ns, l->config, key, l->chain, &err) < 0)
		cf_log_info("an image's configuration could not be labelled",
		            CF_F_STR("why", err.msg));
}

static void find_users(const struct snap_service *s, const struct snap_record *rec, const char *ns,
                       const Containerd__Types__Descriptor *diff)
{
	cf_cleanup(cf_freep) char *dir = cf_asprintf("%s/snapshots/%lld/" SNAP_IDENTITY_DIR,
	                                             s->mount.root, (long long)rec->id);
	const struct snap_users_layer layer = { .containerd = s->containerd,
		                                .ns = ns,
		                                .digest = diff->digest,
		                                .media_type = diff->media_type,
		                                .size = diff->size };

	if (s->containerd && ns)
		snap_users_find(&layer, dir);
}

static int apply(struct snap_service *first, const char *said_ns, const ApplyRequest *req,
                 struct layer *l, struct cf_err *err)
{
	struct snap_service *s = NULL;
	cf_cleanup(snap_record_unrefp) struct snap_record *rec = target_of(first, req, &s);

	if (!rec || !req->diff)
		return cf_fail(err, CF_UNIMPLEMENTED, "not for this differ");
	cf_cleanup(cf_freep) char *ns = namespace_of(rec->name, said_ns);
	const char *chain = chain_of_key(rec->name);

	if (chain)
		l->chain = chain;
	if (rec->parent[0])
		l->parent = chain_of_name(rec->parent);
	if (!chain || (rec->parent[0] && !l->parent))
		return cf_fail(err, CF_UNIMPLEMENTED, "not a layer that is known by its content");
	if (prove(s, rec, ns, req->diff->digest, l, err) < 0) {
		cf_log_info("a layer is unpacked in vain: its diffID is not known",
		            CF_F_STR("chain", l->chain), CF_F_STR("why", err->msg));
		return cf_fail(err, CF_UNIMPLEMENTED, "the diffID of %s is not known", l->chain);
	}
	keep(s, ns, req->diff->digest, l);
	find_users(s, rec, ns, req->diff);
	snap_count(&s->counters.null_applied, 1);
	return 0;
}

static void on_apply(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	const ApplyRequest *req = (const ApplyRequest *)msg;
	ApplyResponse res = CONTAINERD__SERVICES__DIFF__V1__APPLY_RESPONSE__INIT;
	Containerd__Types__Descriptor applied = CONTAINERD__TYPES__DESCRIPTOR__INIT;
	cf_cleanup(layer_fini) struct layer l = { 0 };
	struct cf_err err;

	if (apply(user, call->ns, req, &l, &err) < 0) {
		rpc_fail_err(call, &err);
		return;
	}
	applied.media_type = (char *)(uintptr_t)LAYER_TAR;
	applied.digest = l.diff_id;
	applied.size = CF_MAX(req->diff->size, 0);
	res.applied = &applied;
	rpc_reply(call, &res);
}

/* Diff has no row: making layers of containers is not for us, and UNIMPLEMENTED says so. */
static const struct rpc_method methods[] = {
	{ "Apply", &containerd__services__diff__v1__apply_request__descriptor,
	  &containerd__services__diff__v1__apply_response__descriptor, on_apply, 0 },
};

void snap_differ_init(struct snap_service *s, struct rpc_service *ret)
{
	*ret = (struct rpc_service){ "containerd.services.diff.v1.Diff", methods,
		                     CF_ARRAY_LEN(methods), s };
}
