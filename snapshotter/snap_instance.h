/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Instances: one daemon may stand for several snapshotters, each with a state directory of its own.
 * containerd's garbage collection removes whatever it does not know, so two containerds, or two
 * entries of one containerd's proxy_plugins, must never share a state directory; with an instance
 * for each they share a process and a socket. A request's field `snapshotter`, which holds the name
 * of the plugin in containerd's configuration, says which one is meant; the first instance stands
 * for every name that no other has.
 */
#include "snapshotter/snap_config.h"

#include <pthread.h>

struct snap_instance {
	const char *name; /* borrowed from the configuration; "" for the first */
	int lock_fd;
	struct snap_service service;

	const struct snap_config *config; /* borrowed */
	const struct snap_config_instance *own;
	pthread_mutex_t settling;
	_Atomic bool is_settled; /* or tried: then @settled and @why say how it went */
	int settled;
	struct cf_err why;
};

#define SNAP_SERVICES_MAX 4u

struct snap_instances {
	struct snap_instance *items;
	size_t count;
	/* What the server serves: finds the instance, and sees that it is ready. */
	struct rpc_service routed[SNAP_SERVICES_MAX];
	const struct rpc_service *services[SNAP_SERVICES_MAX];
	size_t service_count;
};

/*
 * Locks and opens the state of all that @c names, which stays. @ret stays where it is.
 * -CF_ALREADY_EXISTS: another process uses a state directory; else what the store fails with.
 */
cf_must_use int snap_instances_open(const struct snap_config *c, struct snap_instances *ret,
                                    struct cf_err *err);
/*
 * What opening left: the records of instances that guests pull for are brought to memory, and their
 * directories follow them. A call that needs them does it, or waits for whoever does; Stat of what is
 * there, and health, do not. Any thread, any number of times. Fails as the store does; calls fail so too,
 * from then on.
 */
cf_must_use int snap_instances_settle(struct snap_instances *in, struct cf_err *err);
bool snap_instances_are_settled(struct snap_instances *in);
/* Closes the state; the server must have stopped. The tables stay until snap_instances_fini(). */
void snap_instances_close(struct snap_instances *in);
void snap_instances_fini(struct snap_instances *in); /* after the server is gone */
/* Never NULL. */
struct snap_instance *snap_instances_find(struct snap_instances *in, const char *name);
