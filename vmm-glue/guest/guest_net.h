/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The pod's network inside the guest, over rtnetlink (the door to libmnl). Requests have passed
 * guest_rules; addresses are parsed here.
 */
#include "base/err.h"
#include "proto/agent.pb-c.h"

#define GUEST_NET_LINKS_MAX  256u
#define GUEST_NET_ROUTES_MAX 1024u

/*
 * Finds the link by its hardware address (or its name, when none is given), sets it down, replaces
 * its addresses, renames it, sets MTU and flags, and sets it up. -CF_NOT_FOUND: no such link.
 */
cf_must_use int guest_net_update_interface(const Grpc__Interface *link, struct cf_err *err);
/* Those without gateway first; one that exists already is fine. */
cf_must_use int guest_net_update_routes(const Grpc__Routes *routes, struct cf_err *err);
cf_must_use int guest_net_add_neighbor(const Grpc__ARPNeighbor *neighbor, struct cf_err *err);

/* Fill @ret; free with the _fini call, also after a failure. */
cf_must_use int guest_net_list_interfaces(Grpc__Interfaces *ret, struct cf_err *err);
void guest_net_interfaces_fini(Grpc__Interfaces *list);
cf_must_use int guest_net_list_routes(Grpc__Routes *ret, struct cf_err *err);
void guest_net_routes_fini(Grpc__Routes *list);

cf_must_use int guest_net_loopback_up(struct cf_err *err);
