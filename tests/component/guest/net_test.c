/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses, routes and neighbours in a network namespace of the test's own. */
#include "vmm-glue/guest/guest_net.h"

#include "base/proc.h"
#include "tests/harness/test.h"

#include <sched.h>
#include <unistd.h>

static void ip(const char *const *args)
{
	struct cf_strv argv = { 0 };
	struct cf_proc_opts opts = { .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1 };
	struct cf_err err;

	cf_strv_add(&argv, "ip");
	for (; *args; args++)
		cf_strv_add(&argv, *args);
	opts.argv = (const char *const *)argv.items;
	EXPECT_OK(cf_proc_run(&opts, 0, 10000, NULL, &err), &err);
	cf_strv_fini(&argv);
}
#define IP(...) ip((const char *const[]){ __VA_ARGS__, NULL })

static const Grpc__Interface *find(const Grpc__Interfaces *list, const char *name)
{
	for (size_t i = 0; i < list->n_interfaces; i++)
		if (cf_streq(list->interfaces[i]->name, name))
			return list->interfaces[i];
	return NULL;
}

static const Grpc__Route *route_to(const Grpc__Routes *list, const char *dest)
{
	for (size_t i = 0; i < list->n_routes; i++)
		if (list->routes[i]->family == GRPC__IPFAMILY__v4 &&
		    cf_streq(list->routes[i]->dest, dest))
			return list->routes[i];
	return NULL;
}

static bool has_address(const Grpc__Interface *link, const char *address, const char *mask)
{
	for (size_t i = 0; i < link->n_ipaddresses; i++)
		if (cf_streq(link->ipaddresses[i]->address, address) &&
		    cf_streq(link->ipaddresses[i]->mask, mask))
			return true;
	return false;
}

CF_TEST(pod_network_is_set_up_as_asked)
{
	Grpc__Interface want = GRPC__INTERFACE__INIT;
	Grpc__IPAddress v4 = GRPC__IPADDRESS__INIT, v6 = GRPC__IPADDRESS__INIT;
	Grpc__IPAddress *addresses[] = { &v4, &v6 };
	Grpc__Route far = GRPC__ROUTE__INIT, near = GRPC__ROUTE__INIT;
	Grpc__Route *list[] = { &far, &near }; /* the one that needs the other comes first */
	Grpc__Routes routes = GRPC__ROUTES__INIT, got = GRPC__ROUTES__INIT;
	Grpc__Interfaces links = GRPC__INTERFACES__INIT;
	Grpc__ARPNeighbor neighbor = GRPC__ARPNEIGHBOR__INIT;
	Grpc__IPAddress to = GRPC__IPADDRESS__INIT;
	const Grpc__Interface *link;
	char a4[] = "10.9.0.2", m4[] = "24", a6[] = "fd00::2", m6[] = "64", eth0[] = "eth0",
	     hw[] = "02:00:00:00:09:02", gateway[] = "192.0.2.1", net[] = "192.0.2.0/24",
	     any[] = "", hop[] = "10.9.0.77", other[] = "02:00:00:00:09:77";
	struct cf_err err;

	if (getuid() != 0 || unshare(CLONE_NEWNET) < 0)
		SKIP("needs root");
	EXPECT_OK(guest_net_loopback_up(&err), &err);
	IP("link", "add", "v0", "address", hw, "type", "veth", "peer", "name", "eth0");
	IP("link", "set", "eth0", "up");
	want.name = eth0; /* held by the other end: that one moves aside */
	want.hwaddr = hw;
	want.mtu = 1400;
	want.ipaddresses = addresses;
	want.n_ipaddresses = 2;
	v4.address = a4;
	v4.mask = m4;
	v6.family = GRPC__IPFAMILY__v6;
	v6.address = a6;
	v6.mask = m6;
	EXPECT_OK(guest_net_update_interface(&want, &err), &err);
	EXPECT_OK(guest_net_list_interfaces(&links, &err), &err);
	link = find(&links, "eth0");
	EXPECT(link && cf_streq(link->hwaddr, hw) && link->mtu == 1400 && link->raw_flags & 1);
	EXPECT(has_address(link, "10.9.0.2", "24"));
	EXPECT(!find(&links, "v0"));
	guest_net_interfaces_fini(&links);
	/* the same again is fine */
	EXPECT_OK(guest_net_update_interface(&want, &err), &err);

	far.dest = any;
	far.gateway = gateway;
	far.device = eth0;
	near.dest = net;
	near.device = eth0;
	near.scope = 253;
	near.mtu = 1300;
	routes.routes = list;
	routes.n_routes = 2;
	EXPECT_OK(guest_net_update_routes(&routes, &err), &err);
	EXPECT_OK(guest_net_update_routes(&routes, &err), &err);
	EXPECT_OK(guest_net_list_routes(&got, &err), &err);
	EXPECT(route_to(&got, "") && cf_streq(route_to(&got, "")->gateway, "192.0.2.1"));
	EXPECT(route_to(&got, "192.0.2.0/24") && route_to(&got, "192.0.2.0/24")->scope == 253);
	EXPECT(route_to(&got, "10.9.0.0/24"));
	guest_net_routes_fini(&got);

	neighbor.toipaddress = &to;
	to.address = hop;
	neighbor.device = eth0;
	neighbor.lladdr = other;
	EXPECT_OK(guest_net_add_neighbor(&neighbor, &err), &err);
}

CF_TEST(network_requests_that_make_no_sense_are_refused)
{
	Grpc__Interface want = GRPC__INTERFACE__INIT;
	Grpc__Route route = GRPC__ROUTE__INIT;
	Grpc__Route *list[] = { &route };
	Grpc__Routes routes = GRPC__ROUTES__INIT;
	char none[] = "none0", bad[] = "02:00", dest[] = "1.2.3.4/33", lo[] = "lo",
	     strange[] = "02:ff:ff:ff:ff:ff";
	struct cf_err err;

	if (getuid() != 0 || unshare(CLONE_NEWNET) < 0)
		SKIP("needs root");
	want.name = none;
	EXPECT_FAILS(guest_net_update_interface(&want, &err), CF_NOT_FOUND);
	want.hwaddr = strange;
	EXPECT_FAILS(guest_net_update_interface(&want, &err), CF_NOT_FOUND);
	want.hwaddr = bad;
	EXPECT_FAILS(guest_net_update_interface(&want, &err), CF_INVALID_ARGUMENT);
	/* the loopback is not even found, should the rules ever let it through */
	want.name = lo;
	want.hwaddr = none + sizeof(none) - 1;
	EXPECT_FAILS(guest_net_update_interface(&want, &err), CF_NOT_FOUND);
	routes.routes = list;
	routes.n_routes = 1;
	route.device = none;
	EXPECT_FAILS(guest_net_update_routes(&routes, &err), CF_NOT_FOUND);
	route.device = lo;
	route.dest = dest;
	EXPECT_FAILS(guest_net_update_routes(&routes, &err), CF_INVALID_ARGUMENT);
}
