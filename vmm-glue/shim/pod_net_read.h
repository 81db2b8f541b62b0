/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What CNI made in a pod's network namespace, as the agent protocol's messages. Private to pod_net.
 */
#include "proto/agent.pb-c.h"
#include "vmm-glue/shim/netlink.h"
#include "vmm-glue/shim/vmm.h"

#define POD_NET_ROUTES_MAX    256u
#define POD_NET_NEIGHBORS_MAX 256u
#define POD_NET_ADDRESSES_MAX 32u /* of one link */

struct pod_link {
	uint32_t index, mtu;
	uint8_t mac[6];
	Grpc__Interface *message;
};

struct pod_view {
	struct pod_link links[VMM_NICS_MAX];
	size_t link_count;
	Grpc__Routes *routes;
	Grpc__ARPNeighbors *neighbors;
	bool is_over; /* a limit above was reached */
};

/* Return: 0, -CF_RESOURCE_EXHAUSTED, or what rtnetlink failed with. */
cf_must_use int pod_view_read(struct netlink *nl, struct pod_view *ret, struct cf_err *err);
void pod_view_fini(struct pod_view *v);
/* The one link of QEMU's user networking: 10.0.2.15/24 behind 10.0.2.2. */
void pod_view_user(struct pod_view *ret);
