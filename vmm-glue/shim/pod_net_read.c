/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/shim/pod_net_read.h"

#include "vmm-glue/shim/agent_spec.h"
#include "vmm-glue/shim/qemu_args.h"

#include <arpa/inet.h>
#include <linux/if.h>
#include <linux/if_arp.h>
#include <linux/neighbour.h>

static char *mac_text(const uint8_t *m)
{
	return cf_asprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
}

/* Text of an address of its family's size; NULL otherwise. The caller frees. */
static char *address_text(int family, struct cf_view v)
{
	char text[INET6_ADDRSTRLEN];

	if (v.size != (family == AF_INET ? 4u : 16u) ||
	    !inet_ntop(family, v.data, text, sizeof(text)))
		return NULL;
	return cf_strdup(text);
}

static Grpc__IPFamily family_of(int family)
{
	return family == AF_INET6 ? GRPC__IPFAMILY__v6 : GRPC__IPFAMILY__v4;
}

static struct pod_link *find_link(struct pod_view *v, uint32_t index)
{
	for (size_t i = 0; i < v->link_count; i++)
		if (v->links[i].index == index)
			return &v->links[i];
	return NULL;
}

/* ---- links ---- */

/* Kinds that are ours, or that are nothing a pod's traffic comes in by. */
static bool is_other_kind(struct cf_view info)
{
	struct cf_view kind = netlink_find(info, IFLA_INFO_KIND);

	return cf_view_starts_with(kind, "tun") || cf_view_starts_with(kind, "bridge") ||
	       cf_view_starts_with(kind, "dummy");
}

static void add_link(const void *header, struct cf_view attrs, uint16_t type, void *arg)
{
	const struct ifinfomsg *info = header;
	struct cf_view name = netlink_find(attrs, IFLA_IFNAME);
	struct cf_view mac = netlink_find(attrs, IFLA_ADDRESS);
	struct pod_view *v = arg;
	struct pod_link *l;

	(void)type;
	if (info->ifi_type != ARPHRD_ETHER || (info->ifi_flags & IFF_LOOPBACK) ||
	    !(info->ifi_flags & IFF_UP) || mac.size != 6 || name.size < 2 ||
	    is_other_kind(netlink_find(attrs, IFLA_LINKINFO)))
		return;
	if (v->link_count == VMM_NICS_MAX) {
		v->is_over = true;
		return;
	}
	l = &v->links[v->link_count++];
	l->index = (uint32_t)info->ifi_index;
	l->mtu = netlink_u32(netlink_find(attrs, IFLA_MTU));
	memcpy(l->mac, mac.data, 6);
	l->message = cf_zalloc(sizeof(*l->message));
	grpc__interface__init(l->message);
	l->message->name =
		cf_view_dup(cf_view(name.data, strnlen((const char *)name.data, name.size)));
	l->message->device = cf_strdup(l->message->name);
	l->message->hwaddr = mac_text(l->mac);
	l->message->mtu = l->mtu;
}

static void add_address(const void *header, struct cf_view attrs, uint16_t type, void *arg)
{
	const struct ifaddrmsg *a = header;
	struct pod_link *l = find_link(arg, a->ifa_index);
	struct cf_view local = netlink_find(attrs, IFA_LOCAL);
	Grpc__IPAddress *ip;
	char *text;

	(void)type;
	if (!l || a->ifa_scope != RT_SCOPE_UNIVERSE)
		return;
	if (l->message->n_ipaddresses == POD_NET_ADDRESSES_MAX) {
		((struct pod_view *)arg)->is_over = true;
		return;
	}
	text = address_text(a->ifa_family, local.size ? local : netlink_find(attrs, IFA_ADDRESS));
	if (!text)
		return;
	ip = cf_zalloc(sizeof(*ip));
	grpc__ipaddress__init(ip);
	ip->family = family_of(a->ifa_family);
	ip->address = text;
	ip->mask = cf_asprintf("%u", a->ifa_prefixlen);
	agent_add_item(&l->message->n_ipaddresses, &l->message->ipaddresses, ip);
}

/* ---- routes and neighbours ---- */

static void set_or_free(char **field, char *text)
{
	if (text)
		*field = text;
}

static void add_route(const void *header, struct cf_view attrs, uint16_t type, void *arg)
{
	const struct rtmsg *m = header;
	struct pod_view *v = arg;
	struct pod_link *l = find_link(v, netlink_u32(netlink_find(attrs, RTA_OIF)));
	Grpc__Route *r;
	char *dest;

	(void)type;
	/* the kernel's own routes come with the addresses, in the guest as here */
	if (!l || m->rtm_table != RT_TABLE_MAIN || m->rtm_type != RTN_UNICAST ||
	    m->rtm_protocol == RTPROT_KERNEL || (m->rtm_flags & RTM_F_CLONED))
		return;
	if (v->routes->n_routes == POD_NET_ROUTES_MAX) {
		v->is_over = true;
		return;
	}
	r = cf_zalloc(sizeof(*r));
	grpc__route__init(r);
	dest = address_text(m->rtm_family, netlink_find(attrs, RTA_DST));
	if (dest && m->rtm_dst_len)
		r->dest = cf_asprintf("%s/%u", dest, m->rtm_dst_len);
	free(dest);
	set_or_free(&r->gateway, address_text(m->rtm_family, netlink_find(attrs, RTA_GATEWAY)));
	set_or_free(&r->source, address_text(m->rtm_family, netlink_find(attrs, RTA_PREFSRC)));
	r->device = cf_strdup(l->message->name);
	r->scope = m->rtm_scope;
	r->family = family_of(m->rtm_family);
	agent_add_item(&v->routes->n_routes, &v->routes->routes, r);
}

static void add_neighbor(const void *header, struct cf_view attrs, uint16_t type, void *arg)
{
	const struct ndmsg *m = header;
	struct pod_view *v = arg;
	struct pod_link *l = find_link(v, (uint32_t)m->ndm_ifindex);
	struct cf_view mac = netlink_find(attrs, NDA_LLADDR);
	Grpc__ARPNeighbor *n;
	char *text;

	(void)type;
	if (!l || !(m->ndm_state & NUD_PERMANENT) || mac.size != 6)
		return;
	text = address_text(m->ndm_family, netlink_find(attrs, NDA_DST));
	if (!text)
		return;
	if (v->neighbors->n_arpneighbors == POD_NET_NEIGHBORS_MAX) {
		v->is_over = true;
		free(text);
		return;
	}
	n = cf_zalloc(sizeof(*n));
	grpc__arpneighbor__init(n);
	n->toipaddress = cf_zalloc(sizeof(*n->toipaddress));
	grpc__ipaddress__init(n->toipaddress);
	n->toipaddress->family = family_of(m->ndm_family);
	n->toipaddress->address = text;
	n->device = cf_strdup(l->message->name);
	n->lladdr = mac_text(mac.data);
	n->state = m->ndm_state;
	n->flags = m->ndm_flags;
	agent_add_item(&v->neighbors->n_arpneighbors, &v->neighbors->arpneighbors, n);
}

/* ---- the whole ---- */

static int dump(struct netlink *nl, uint16_t type, const void *header, size_t size,
                netlink_item *item, struct pod_view *v, struct cf_err *err)
{
	struct cf_buf m = { 0 };
	int r;

	netlink_begin(&m, type, 0, header, size);
	r = netlink_dump(nl, &m, size, item, v, err);
	cf_buf_fini(&m);
	return r;
}

static void view_init(struct pod_view *v)
{
	*v = (struct pod_view){ .link_count = 0 };
	v->routes = cf_zalloc(sizeof(*v->routes));
	grpc__routes__init(v->routes);
	v->neighbors = cf_zalloc(sizeof(*v->neighbors));
	grpc__arpneighbors__init(v->neighbors);
}

int pod_view_read(struct netlink *nl, struct pod_view *ret, struct cf_err *err)
{
	static const int families[] = { AF_INET, AF_INET6 };
	struct ifinfomsg link = { .ifi_family = AF_UNSPEC };
	struct ifaddrmsg address = { .ifa_family = AF_UNSPEC };
	struct ndmsg neighbor = { .ndm_family = AF_UNSPEC };
	struct pod_view v;
	int r;

	view_init(&v);
	r = dump(nl, RTM_GETLINK, &link, sizeof(link), add_link, &v, err);
	if (r == 0)
		r = dump(nl, RTM_GETADDR, &address, sizeof(address), add_address, &v, err);
	for (size_t i = 0; r == 0 && i < CF_ARRAY_LEN(families); i++) {
		struct rtmsg route = { .rtm_family = (unsigned char)families[i] };

		r = dump(nl, RTM_GETROUTE, &route, sizeof(route), add_route, &v, err);
	}
	if (r == 0)
		r = dump(nl, RTM_GETNEIGH, &neighbor, sizeof(neighbor), add_neighbor, &v, err);
	if (r == 0 && v.is_over)
		r = cf_fail(err, CF_RESOURCE_EXHAUSTED,
		            "the pod's network has more links, addresses, routes or neighbours "
		            "than a guest is given");
	if (r < 0) {
		pod_view_fini(&v);
		return r;
	}
	*ret = v;
	return 0;
}

void pod_view_user(struct pod_view *ret)
{
	static const uint8_t mac[6] = { 0x52, 0x54, 0x00, 0x12, 0x34, 0x56 };
	Grpc__IPAddress *ip = cf_zalloc(sizeof(*ip));
	Grpc__Route *r = cf_zalloc(sizeof(*r));
	struct pod_link *l;

	view_init(ret);
	l = &ret->links[ret->link_count++];
	memcpy(l->mac, mac, sizeof(mac));
	l->message = cf_zalloc(sizeof(*l->message));
	grpc__interface__init(l->message);
	l->message->device = cf_strdup("eth0");
	l->message->name = cf_strdup("eth0");
	l->message->hwaddr = mac_text(mac);
	grpc__ipaddress__init(ip);
	ip->address = cf_strdup("10.0.2.15");
	ip->mask = cf_strdup("24");
	agent_add_item(&l->message->n_ipaddresses, &l->message->ipaddresses, ip);
	grpc__route__init(r);
	r->gateway = cf_strdup("10.0.2.2");
	r->device = cf_strdup("eth0");
	agent_add_item(&ret->routes->n_routes, &ret->routes->routes, r);
}

void pod_view_fini(struct pod_view *v)
{
	for (size_t i = 0; i < v->link_count; i++)
		grpc__interface__free_unpacked(v->links[i].message, NULL);
	if (v->routes)
		grpc__routes__free_unpacked(v->routes, NULL);
	if (v->neighbors)
		grpc__arpneighbors__free_unpacked(v->neighbors, NULL);
	*v = (struct pod_view){ .link_count = 0 };
}
