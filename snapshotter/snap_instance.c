/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshotter/snap_instance.h"

#include "base/fd.h"
#include "base/log.h"
#include "snapshotter/snap_heal.h"
#include "snapshotter/snap_import.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <sys/file.h>

/* Before anything is opened or bound: else the socket of a running instance would be taken away. */
static int take_lock(struct snap_instance *in, const char *root, struct cf_err *err)
{
	int r = cf_mkdir_p(root, 0700, err);
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/lock", root);

	if (r < 0)
		return r;
	in->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (in->lock_fd < 0)
		return cf_fail_errno(err, errno, "%s", path);
	if (flock(in->lock_fd, LOCK_EX | LOCK_NB) < 0)
		return cf_fail(err, CF_ALREADY_EXISTS, "another instance uses %s", root);
	return 0;
}

/* Before the directories are reconciled with the records: they are the other snapshotter's. */
static int take_over(const struct snap_config_instance *ci, struct snap_store *st,
                     struct cf_err *err)
{
	struct snap_imported done;
	int r = snap_import(ci->root, ci->mode, st, &done, err);

	if (r == -CF_UNAVAILABLE)
		return cf_wrap(err, r, "stop nydus-snapshotter first");
	if (r < 0)
		return cf_wrap(err, r, "cannot take over nydus-snapshotter's state");
	if (done.records)
		cf_log_info("took over nydus-snapshotter's state", CF_F_STR("root", ci->root),
		            CF_F_UINT("snapshots", done.records),
		            CF_F_UINT("without_parent", done.orphans));
	return 0;
}

static int open_content(struct snap_instance *in, struct cf_err *err)
{
	const char *root = in->own->root;
	struct snap_service *s = &in->service;
	int r = take_over(in->own, s->store, err);

	if (r == 0 && in->own->mode != SNAP_MODE_GUEST_PULL)
		r = snap_heal_keep_dirs(root, s->store, err);
	if (r == 0)
		r = snap_dirs_open(root, s->store, &s->dirs, err);
	if (r < 0)
		return r;
	struct snap_erofs_opts erofs = { root, s->store, s->dirs, in->config->is_relaxed };

	return snap_erofs_open(&erofs, &s->erofs, err);
}

/* The first to come does it, the others wait. */
static int settle(struct snap_instance *in, struct cf_err *err)
{
	if (!atomic_load(&in->is_settled)) {
		pthread_mutex_lock(&in->settling);
		if (!atomic_load(&in->is_settled)) {
			in->settled = snap_store_load(in->service.store, &in->why);
			if (in->settled == 0)
				in->settled = open_content(in, &in->why);
			atomic_store(&in->is_settled, true);
		}
		pthread_mutex_unlock(&in->settling);
	}
	if (in->settled < 0)
		*err = in->why;
	return in->settled;
}

int snap_instances_settle(struct snap_instances *in, struct cf_err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < in->count; i++)
		r = settle(&in->items[i], err);
	return r;
}

bool snap_instances_are_settled(struct snap_instances *in)
{
	for (size_t i = 0; i < in->count; i++)
		if (!atomic_load(&in->items[i].is_settled))
			return false;
	return true;
}

/* What may refuse to start, or mounts, is done before anybody calls. */
static int settle_now(struct snap_instance *in, struct cf_err *err)
{
	bool is_new = false;
	int r = snap_store_is_new(in->service.store, &is_new, err);

	return r == 0 && (is_new || in->own->mode != SNAP_MODE_GUEST_PULL) ? settle(in, err) : r;
}

static int open_state(struct snap_instance *in, struct cf_err *err)
{
	const struct snap_config *c = in->config;
	const char *root = in->own->root;
	cf_cleanup(cf_freep) char *db = cf_asprintf("%s/metadata.sqlite", root);
	struct snap_service *s = &in->service;
	int r = snap_store_begin(db, c->is_relaxed, &s->store, err);

	if (r < 0)
		return r;
	s->mode = in->own->mode;
	s->is_sync_remove = c->is_sync_remove;
	s->is_strict = c->is_strict;
	s->is_relaxed = c->is_relaxed;
	s->notify = c->notify;
	s->containerd = c->containerd[0] ? c->containerd : NULL;
	s->mount = (struct snap_mount_opts){ .root = root,
		                             .helper = c->helper,
		                             .is_minimal = c->is_minimal,
		                             .is_volatile = c->is_volatile };
	r = snap_service_init(s, err);
	return r < 0 ? r : settle_now(in, err);
}

/* ---- routing ---- */

/* How each of containerd's requests begins; checked against its descriptor before it is relied on. */
struct named_request {
	ProtobufCMessage base;
	char *snapshotter;
};

static bool is_named(const ProtobufCMessageDescriptor *type)
{
	const ProtobufCFieldDescriptor *f =
		protobuf_c_message_descriptor_get_field_by_name(type, "snapshotter");

	return f && f->type == PROTOBUF_C_TYPE_STRING &&
	       f->offset == offsetof(struct named_request, snapshotter);
}

struct snap_instance *snap_instances_find(struct snap_instances *in, const char *name)
{
	for (size_t i = 1; name && i < in->count; i++)
		if (cf_streq(in->items[i].name, name))
			return &in->items[i];
	return &in->items[0];
}

static const struct rpc_service *service_named(const struct snap_service *s, const char *name)
{
	for (size_t i = 0; i < CF_ARRAY_LEN(s->services); i++)
		if (s->services[i] && cf_streq(s->services[i]->name, name))
			return s->services[i];
	return NULL;
}

/* Whether the call can be left to its handler: else it is answered. */
static bool make_ready(struct snap_instance *to, struct rpc_call *call, const ProtobufCMessage *req)
{
	bool is_settled = atomic_load(&to->is_settled);
	struct cf_err err;

	if (is_settled && to->settled == 0)
		return true;
	if (cf_streq(call->service, to->service.health.name))
		return true;
	if (!is_settled && snap_service_stat_early(&to->service, call, req))
		return false;
	if (settle(to, &err) == 0)
		return true;
	rpc_fail_err(call, &err);
	return false;
}

static void route(struct rpc_call *call, const ProtobufCMessage *req, void *user)
{
	struct snap_instances *in = user;
	const char *name = in->count > 1 && is_named(req->descriptor)
	                           ? ((const struct named_request *)(const void *)req)->snapshotter
	                           : NULL;
	struct snap_instance *to = snap_instances_find(in, name);
	const struct rpc_service *s = service_named(&to->service, call->service);

	if (!make_ready(to, call, req))
		return;
	for (size_t i = 0; s && i < s->method_count; i++) {
		if (!cf_streq(s->methods[i].name, call->method))
			continue;
		s->methods[i].fn(call, req, s->user);
		return;
	}
	rpc_fail(call, CF_UNIMPLEMENTED, "%s is not served for %s", call->method, name ? name : "");
}

static bool all_pull(const struct snap_instances *in)
{
	for (size_t i = 0; i < in->count; i++)
		if (in->items[i].service.mode != SNAP_MODE_GUEST_PULL)
			return false;
	return true;
}

static void make_routed(struct snap_instances *in, size_t at, const struct rpc_service *from)
{
	struct rpc_method *copy = cf_zalloc_n(from->method_count, sizeof(copy[0]));

	for (size_t i = 0; i < from->method_count; i++) {
		copy[i] = from->methods[i];
		copy[i].fn = route;
		/* One of them may have to mount something first: none is answered on the I/O thread. */
		if (!all_pull(in))
			copy[i].flags &= ~(unsigned)RPC_INLINE;
	}
	in->routed[at] = (struct rpc_service){ from->name, copy, from->method_count, in };
	in->services[at] = &in->routed[at];
}

static void make_tables(struct snap_instances *in)
{
	struct snap_service *first = &in->items[0].service;

	for (size_t i = 0; i < CF_ARRAY_LEN(first->services); i++) {
		if (!first->services[i])
			continue;
		assert(in->service_count < SNAP_SERVICES_MAX);
		make_routed(in, in->service_count++, first->services[i]);
	}
}

/* ---- life ---- */

int snap_instances_open(const struct snap_config *c, struct snap_instances *ret, struct cf_err *err)
{
	int r = 0;

	*ret = (struct snap_instances){ .items = cf_zalloc_n(c->instance_count,
		                                             sizeof(ret->items[0])) };
	for (size_t i = 0; r == 0 && i < c->instance_count; i++) {
		struct snap_instance *in = &ret->items[i];

		*in = (struct snap_instance){ .name = c->instances[i].name,
			                      .lock_fd = -1,
			                      .config = c,
			                      .own = &c->instances[i] };
		pthread_mutex_init(&in->settling, NULL);
		ret->count++;
		r = take_lock(in, c->instances[i].root, err);
		if (r == 0)
			r = open_state(in, err);
	}
	for (size_t i = 1; i < ret->count; i++)
		ret->items[i - 1].service.next = &ret->items[i].service;
	if (r == 0)
		make_tables(ret);
	else
		snap_instances_fini(ret);
	return r;
}

void snap_instances_close(struct snap_instances *in)
{
	for (size_t i = 0; i < in->count; i++) {
		struct snap_instance *x = &in->items[i];

		x->service.erofs = snap_erofs_close(x->service.erofs);
		x->service.dirs = snap_dirs_close(x->service.dirs);
		x->service.store = snap_store_close(x->service.store);
		snap_service_fini(&x->service);
		cf_close(&x->lock_fd);
	}
}

void snap_instances_fini(struct snap_instances *in)
{
	snap_instances_close(in);
	for (size_t i = 0; i < SNAP_SERVICES_MAX; i++)
		free((void *)(uintptr_t)in->routed[i].methods);
	for (size_t i = 0; i < in->count; i++)
		pthread_mutex_destroy(&in->items[i].settling);
	free(in->items);
	*in = (struct snap_instances){ 0 };
}
