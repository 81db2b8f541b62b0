/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * containerd's snapshots.v1 and gRPC health, over the store. Requests come from whoever may open
 * the socket: containerd, as root; their texts and labels reach it from registries and pods.
 */
#include "proto/rpc.h"
#include "snapshotter/snap_counters.h"
#include "snapshotter/snap_dirs.h"
#include "snapshotter/snap_erofs.h"
#include "snapshotter/snap_mount.h"

#define SNAP_LIST_PAGE 100 /* records in one message of List */
#define SNAP_METHODS   10

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
	bool is_relaxed; /* content that was committed may be lost with the power */
	struct rpc_method methods[SNAP_METHODS];
	struct rpc_service snapshots, health;
	const struct rpc_service *services[2]; /* for the server */
};

/* Fills the tables; store, dirs, erofs, mount and mode are set before. @s stays where it is. */
void snap_service_init(struct snap_service *s);

/* Whether @key is that of an unpacking: ".../extract-… sha256:<64 hex>". */
bool snap_service_is_extract_key(const char *key);
/* Whether @name is one a layer has: "[NS/NUMBER/]sha256:<64 hex>[#NUMBER]". */
bool snap_service_is_layer_name(const char *name);
