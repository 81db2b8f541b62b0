/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * containerd's snapshots.v1 and gRPC health, over the store. Requests come from whoever may open
 * the socket: containerd, as root; their texts and labels reach it from registries and pods.
 */
#include "base/work.h"
#include "proto/rpc.h"
#include "snapshotter/snap_counters.h"
#include "snapshotter/snap_dirs.h"
#include "snapshotter/snap_erofs.h"
#include "snapshotter/snap_mount.h"

#define SNAP_LIST_PAGE       100        /* records in one message of List */
#define SNAP_LIST_PAGE_BYTES (1u << 20) /* of names and labels in one message, about */
#define SNAP_METHODS         10
#define SNAP_PLUGIN_MAX      76u /* bytes; containerd's plugin ids are no longer */

enum snap_mode {
	SNAP_MODE_GUEST_PULL, /* layers stay in the registry, the guest pulls */
	SNAP_MODE_OVERLAY,    /* an ordinary overlay snapshotter */
	SNAP_MODE_EROFS,      /* the same, committed layers are EROFS images */
};

struct snap_service {
	struct snap_store *store;
	struct snap_dirs *dirs;
	struct snap_erofs *erofs;
	struct snap_mount_opts mount;
	enum snap_mode mode;
	bool is_strict; /* a layer we do not know is NOT_FOUND, even if containerd seems to know it */
	bool is_sync_remove; /* directories are gone when Remove answers */
	struct snap_counters counters;
	bool is_relaxed;       /* content that was committed may be lost with the power */
	struct cf_work *lists; /* sends what is longer than one message */
	struct rpc_method methods[SNAP_METHODS];
	const char *containerd;    /* its socket, for the differ; NULL: not asked */
	const char *notify;        /* who is told early of a pull (snap_notice.h); NULL: nobody */
	struct snap_service *next; /* the next instance's, or NULL */
	_Atomic(char *) plugin;    /* as containerd calls us; see snap_service_plugin() */
	struct rpc_service snapshots, health, diff;
	const struct rpc_service *services[3]; /* for the server */
};

/* Fills the tables; mount and mode are set before, store, dirs and erofs before a call. @s stays where it is. */
cf_must_use int snap_service_init(struct snap_service *s, struct cf_err *err);
/* Whether @call asks for a record (Stat) that the disk has: answered then, before the store is loaded. */
bool snap_service_stat_early(struct snap_service *s, struct rpc_call *call,
                             const ProtobufCMessage *req);

void snap_service_fini(struct snap_service *s); /* the server must have stopped */
/* The name of the plugin in containerd's configuration, once it asked for anything; caller frees. */
char *snap_service_plugin(struct snap_service *s);
