/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A pod's network namespace, brought into its VM: for each veth-like link a tap beside it, traffic
 * redirected both ways (tc: ingress qdisc, u32 filter and mirred; or a bridge of the two), and the
 * link's addresses, routes and permanent neighbours for the guest. The namespace's content was made
 * by CNI and is only read, but for our taps, filters and bridge.
 */
#include "base/str.h"
#include "proto/agent.pb-c.h"
#include "vmm-glue/shim/vmm.h"

#define POD_NET_LINKS_MAX  8u /* NICs of one pod */
#define POD_NET_TAP_PREFIX "cftap"

struct pod_net;

/*
 * Blocks; the calling thread is in the namespace meanwhile. @mode: "tc", "bridge", "user" or "none".
 * "user" reads nothing and gives the one NIC of QEMU's user networking; "none", and the first two
 * without a namespace, give none: *ret stays NULL.
 * Return: 0, -CF_NOT_FOUND (no such namespace), -CF_RESOURCE_EXHAUSTED, …
 */
cf_must_use int pod_net_open(const char *netns, const char *mode, struct pod_net **ret,
                             struct cf_err *err);
/* Closes the taps and removes what was made; a vanished namespace is fine. */
struct pod_net *pod_net_free(struct pod_net *n);

/* All of these take NULL: no network of its own. Borrowed. */
const struct vmm_nic *pod_net_nics(const struct pod_net *n, size_t *ret_count);
Grpc__Interface *const *pod_net_interfaces(const struct pod_net *n, size_t *ret_count);
Grpc__Routes *pod_net_routes(const struct pod_net *n);
Grpc__ARPNeighbors *pod_net_neighbors(const struct pod_net *n);
/* Names of the links that we made, for the state file. */
void pod_net_links(const struct pod_net *n, struct cf_strv *ret);
/* Removes one such link; NULL and errors are nothing to be done about. */
void pod_net_remove_link(const char *netns, const char *name);
