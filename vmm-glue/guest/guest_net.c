/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/guest/guest_net.h"

#include "base/bytes.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdio.h>

#define BUF_BYTES                                                                                  \
	16384u /* libmnl's advice: at least a page, at most what the kernel sends at once */
#define HW_BYTES 6u

/* ---- one conversation with the kernel ---- */

struct talk {
	struct mnl_socket *sock;
	uint32_t seq;
	uint8_t buf[BUF_BYTES];
};

static void talk_close(struct talk *t)
{
	if (t->sock)
		mnl_socket_close(t->sock);
}

static int talk_open(struct talk *t, struct cf_err *err)
{
	t->seq = 1;
	t->sock = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	if (!t->sock || mnl_socket_bind(t->sock, 0, MNL_SOCKET_AUTOPID) < 0)
		return cf_fail_errno(err, errno, "rtnetlink");
	return 0;
}

static struct nlmsghdr *talk_begin(struct talk *t, uint16_t type, uint16_t flags)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(t->buf);

	h->nlmsg_type = type;
	h->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags);
	h->nlmsg_seq = ++t->seq;
	return h;
}

/* Return: 0 or -errno. */
static int talk_run(struct talk *t, struct nlmsghdr *h, mnl_cb_t cb, void *arg)
{
	uint8_t in[BUF_BYTES];
	ssize_t n;
	int r = MNL_CB_OK;

	if (mnl_socket_sendto(t->sock, h, h->nlmsg_len) < 0)
		return -errno;
	while (r > MNL_CB_STOP) {
		n = mnl_socket_recvfrom(t->sock, in, sizeof(in));
		if (n < 0)
			return -errno;
		r = mnl_cb_run(in, (size_t)n, t->seq, mnl_socket_get_portid(t->sock), cb, arg);
	}
	return r < 0 ? -errno : 0;
}

/* ---- values ---- */

struct address {
	int family;
	size_t size;
	uint8_t bytes[16];
};

static int parse_address(const char *text, struct address *ret, struct cf_err *err)
{
	*ret = (struct address){ .family = AF_INET, .size = 4 };
	if (inet_pton(AF_INET, text, ret->bytes) == 1)
		return 0;
	*ret = (struct address){ .family = AF_INET6, .size = 16 };
	if (inet_pton(AF_INET6, text, ret->bytes) == 1)
		return 0;
	return cf_fail(err, CF_INVALID_ARGUMENT, "address \"%.60s\"", text);
}

static int parse_prefix(const char *text, const struct address *a, uint8_t *ret, struct cf_err *err)
{
	uint64_t v = 0;
	int r = cf_parse_u64(cf_view_str(text), a->size * 8, &v, err);

	if (r < 0)
		return cf_wrap(err, r, "prefix length");
	*ret = (uint8_t)v;
	return 0;
}

/* "10.0.0.0/8"; without a slash a host's; "" or "default" or "0.0.0.0/0" leave *has at false. */
static int parse_network(const char *text, struct address *ret, uint8_t *ret_prefix, bool *has,
                         struct cf_err *err)
{
	cf_cleanup(cf_freep) char *copy = cf_strdup(text);
	char *slash = strchr(copy, '/');
	int r;

	*has = false;
	*ret_prefix = 0;
	if (!*text || cf_streq(text, "default"))
		return 0;
	if (slash)
		*slash = '\0';
	r = parse_address(copy, ret, err);
	if (r < 0)
		return r;
	*ret_prefix = (uint8_t)(ret->size * 8);
	if (slash)
		r = parse_prefix(slash + 1, ret, ret_prefix, err);
	*has = *ret_prefix > 0;
	return r;
}

static int parse_hw(const char *text, uint8_t ret[HW_BYTES], struct cf_err *err)
{
	struct cf_buf hex = { .max = 64 };
	int r;

	for (const char *s = text; *s; s++)
		if (*s != ':')
			cf_buf_add_byte(&hex, (uint8_t)*s);
	r = cf_hex_decode(cf_buf_view(&hex), ret, HW_BYTES, err);
	cf_buf_fini(&hex);
	return r < 0 ? cf_wrap(err, r, "hardware address \"%.40s\"", text) : 0;
}

static char *print_address(int family, const void *bytes)
{
	char text[INET6_ADDRSTRLEN] = "";

	(void)inet_ntop(family, bytes, text, sizeof(text));
	return cf_strdup(text);
}

/* ---- links ---- */

struct link {
	int index;
	unsigned flags;
	unsigned mtu;
	char name[IFNAMSIZ];
	bool has_hw;
	uint8_t hw[HW_BYTES];
};

struct link_list {
	struct link items[GUEST_NET_LINKS_MAX];
	size_t count;
};

static int on_link_attr(const struct nlattr *a, void *arg)
{
	struct link *l = arg;

	switch (mnl_attr_get_type(a)) {
	case IFLA_IFNAME:
		(void)snprintf(l->name, sizeof(l->name), "%s", mnl_attr_get_str(a));
		break;
	case IFLA_MTU:
		l->mtu = mnl_attr_get_u32(a);
		break;
	case IFLA_ADDRESS:
		l->has_hw = mnl_attr_get_payload_len(a) == HW_BYTES;
		if (l->has_hw)
			memcpy(l->hw, mnl_attr_get_payload(a), HW_BYTES);
		break;
	default:
		break;
	}
	return MNL_CB_OK;
}

static int on_link(const struct nlmsghdr *h, void *arg)
{
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(h);
	struct link_list *list = arg;
	struct link *l = &list->items[list->count];

	if (list->count == GUEST_NET_LINKS_MAX)
		return MNL_CB_OK;
	*l = (struct link){ .index = info->ifi_index, .flags = info->ifi_flags };
	list->count++;
	return mnl_attr_parse(h, sizeof(*info), on_link_attr, l);
}

static int list_links(struct talk *t, struct link_list *ret, struct cf_err *err)
{
	struct nlmsghdr *h = talk_begin(t, RTM_GETLINK, NLM_F_DUMP);
	struct rtgenmsg *gen = mnl_nlmsg_put_extra_header(h, sizeof(*gen));
	int r;

	gen->rtgen_family = AF_UNSPEC;
	ret->count = 0;
	r = talk_run(t, h, on_link, ret);
	return r < 0 ? cf_fail_errno(err, -r, "list of links") : 0;
}

static const struct link *link_by_name(const struct link_list *list, const char *name)
{
	for (size_t i = 0; i < list->count; i++)
		if (cf_streq(list->items[i].name, name))
			return &list->items[i];
	return NULL;
}

static int find_link(const struct link_list *list, const Grpc__Interface *want,
                     const struct link **ret, struct cf_err *err)
{
	uint8_t hw[HW_BYTES];
	int r;

	*ret = NULL;
	if (*want->hwaddr) {
		r = parse_hw(want->hwaddr, hw, err);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < list->count && *want->hwaddr && !*ret; i++)
		if (list->items[i].has_hw && !(list->items[i].flags & IFF_LOOPBACK) &&
		    memcmp(list->items[i].hw, hw, HW_BYTES) == 0)
			*ret = &list->items[i];
	if (!*ret)
		*ret = link_by_name(list, want->name);
	if (!*ret || (*ret)->flags & IFF_LOOPBACK)
		return cf_fail(err, CF_NOT_FOUND, "no link has address %.40s or name %.20s",
		               want->hwaddr, want->name);
	return 0;
}

/* Flags under @mask, and when not NULL or 0 a new name and MTU. */
static int set_link(struct talk *t, int index, unsigned flags, unsigned mask, const char *name,
                    uint64_t mtu, struct cf_err *err)
{
	struct nlmsghdr *h = talk_begin(t, RTM_NEWLINK, 0);
	struct ifinfomsg *info = mnl_nlmsg_put_extra_header(h, sizeof(*info));
	int r;

	info->ifi_family = AF_UNSPEC;
	info->ifi_index = index;
	info->ifi_flags = flags;
	info->ifi_change = mask;
	if (name)
		mnl_attr_put_strz(h, IFLA_IFNAME, name);
	if (mtu)
		mnl_attr_put_u32(h, IFLA_MTU, (uint32_t)mtu);
	r = talk_run(t, h, NULL, NULL);
	return r < 0 ? cf_fail_errno(err, -r, "link %d", index) : 0;
}

static int add_address(struct talk *t, int index, const Grpc__IPAddress *ip, struct cf_err *err)
{
	struct nlmsghdr *h = talk_begin(t, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE);
	struct ifaddrmsg *msg = mnl_nlmsg_put_extra_header(h, sizeof(*msg));
	struct address a;
	int r;

	r = parse_address(ip->address, &a, err);
	if (r == 0)
		r = parse_prefix(ip->mask, &a, &msg->ifa_prefixlen, err);
	if (r < 0)
		return r;
	msg->ifa_family = (uint8_t)a.family;
	msg->ifa_index = (uint32_t)index;
	msg->ifa_flags = a.family == AF_INET6 ? IFA_F_NODAD : 0;
	mnl_attr_put(h, IFA_LOCAL, a.size, a.bytes);
	mnl_attr_put(h, IFA_ADDRESS, a.size, a.bytes);
	r = talk_run(t, h, NULL, NULL);
	/* IPv6 may be switched off in this guest: then there is nothing to add to. */
	if (r < 0 && a.family == AF_INET6 && (r == -EACCES || r == -EPERM || r == -EOPNOTSUPP))
		return 0;
	return r < 0 ? cf_fail_errno(err, -r, "address %s", ip->address) : 0;
}

/* Whoever has the name that is wanted moves aside. */
static int free_name(struct talk *t, const struct link_list *list, const struct link *l,
                     const char *name, struct cf_err *err)
{
	const struct link *holder = link_by_name(list, name);
	char aside[IFNAMSIZ];
	int r;

	if (!holder || holder->index == l->index)
		return 0;
	(void)snprintf(aside, sizeof(aside), "aside%d", holder->index);
	r = set_link(t, holder->index, 0, IFF_UP, NULL, 0, err);
	return r < 0 ? r : set_link(t, holder->index, 0, 0, aside, 0, err);
}

static int update_interface(struct talk *t, struct link_list *list, const Grpc__Interface *want,
                            struct cf_err *err)
{
	const struct link *l = NULL;
	const char *name;
	int r;

	r = list_links(t, list, err);
	if (r == 0)
		r = find_link(list, want, &l, err);
	if (r < 0)
		return r;
	name = *want->name ? want->name : want->device;
	name = *name && !cf_streq(name, l->name) ? name : NULL;
	r = set_link(t, l->index, 0, IFF_UP, NULL, 0, err);
	if (r == 0 && name)
		r = free_name(t, list, l, name, err);
	if (r == 0)
		r = set_link(t, l->index, want->raw_flags & IFF_NOARP, IFF_NOARP, name, want->mtu,
		             err);
	for (size_t i = 0; r == 0 && i < want->n_ipaddresses; i++)
		r = add_address(t, l->index, want->ipaddresses[i], err);
	return r < 0 ? r : set_link(t, l->index, IFF_UP, IFF_UP, NULL, 0, err);
}

int guest_net_update_interface(const Grpc__Interface *link, struct cf_err *err)
{
	struct talk *t = cf_zalloc(sizeof(*t));
	struct link_list *list = cf_zalloc(sizeof(*list));
	int r;

	r = talk_open(t, err);
	if (r == 0)
		r = update_interface(t, list, link, err);
	talk_close(t);
	free(t);
	free(list);
	return r < 0 ? cf_wrap(err, r, "interface %.20s", link->name) : 0;
}

int guest_net_loopback_up(struct cf_err *err)
{
	struct talk *t = cf_zalloc(sizeof(*t));
	int r;

	r = talk_open(t, err);
	if (r == 0)
		r = set_link(t, 1, IFF_UP, IFF_UP, NULL, 0, err);
	talk_close(t);
	free(t);
	return r < 0 ? cf_wrap(err, r, "loopback") : 0;
}

/* ---- routes ---- */

static int put_network(struct nlmsghdr *h, struct rtmsg *msg, const Grpc__Route *route,
                       struct cf_err *err)
{
	struct address a;
	uint8_t prefix;
	bool has;
	int r;

	r = parse_network(route->dest, &a, &prefix, &has, err);
	if (r < 0 || !has)
		return r;
	msg->rtm_family = (uint8_t)a.family;
	msg->rtm_dst_len = prefix;
	mnl_attr_put(h, RTA_DST, a.size, a.bytes);
	return 0;
}

static int put_host(struct nlmsghdr *h, struct rtmsg *msg, uint16_t type, const char *text,
                    struct cf_err *err)
{
	cf_cleanup(cf_freep) char *copy = cf_strdup(text);
	char *slash = strchr(copy, '/');
	struct address a;
	int r;

	if (!*text)
		return 0;
	if (slash)
		*slash = '\0';
	r = parse_address(copy, &a, err);
	if (r < 0)
		return r;
	msg->rtm_family = (uint8_t)a.family;
	mnl_attr_put(h, type, a.size, a.bytes);
	return 0;
}

static int add_route(struct talk *t, const struct link_list *links, const Grpc__Route *route,
                     struct cf_err *err)
{
	struct nlmsghdr *h = talk_begin(t, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL);
	struct rtmsg *msg = mnl_nlmsg_put_extra_header(h, sizeof(*msg));
	const struct link *l = link_by_name(links, route->device);
	int r;

	if (!l)
		return cf_fail(err, CF_NOT_FOUND, "no link %.20s", route->device);
	msg->rtm_family = route->family == GRPC__IPFAMILY__v6 ? AF_INET6 : AF_INET;
	msg->rtm_table = RT_TABLE_MAIN;
	msg->rtm_protocol = RTPROT_BOOT;
	msg->rtm_scope = (uint8_t)route->scope;
	msg->rtm_type = RTN_UNICAST;
	msg->rtm_flags = route->flags & RTNH_F_ONLINK;
	r = put_network(h, msg, route, err);
	if (r == 0)
		r = put_host(h, msg, RTA_GATEWAY, route->gateway, err);
	if (r == 0)
		r = put_host(h, msg, RTA_PREFSRC, route->source, err);
	if (r < 0)
		return r;
	mnl_attr_put_u32(h, RTA_OIF, (uint32_t)l->index);
	if (route->mtu) {
		struct nlattr *metrics = mnl_attr_nest_start(h, RTA_METRICS);

		mnl_attr_put_u32(h, RTAX_MTU, route->mtu);
		mnl_attr_nest_end(h, metrics);
	}
	r = talk_run(t, h, NULL, NULL);
	if (r < 0 && r != -EEXIST)
		return cf_fail_errno(err, -r, "route to %.60s", route->dest);
	return 0;
}

static int update_routes(struct talk *t, struct link_list *links, const Grpc__Routes *routes,
                         struct cf_err *err)
{
	int r = list_links(t, links, err);

	for (int with_gateway = 0; with_gateway < 2; with_gateway++)
		for (size_t i = 0; r == 0 && i < routes->n_routes; i++)
			if (!!*routes->routes[i]->gateway == with_gateway)
				r = add_route(t, links, routes->routes[i], err);
	return r;
}

int guest_net_update_routes(const Grpc__Routes *routes, struct cf_err *err)
{
	struct talk *t = cf_zalloc(sizeof(*t));
	struct link_list *links = cf_zalloc(sizeof(*links));
	int r;

	r = talk_open(t, err);
	if (r == 0)
		r = update_routes(t, links, routes, err);
	talk_close(t);
	free(t);
	free(links);
	return r;
}

int guest_net_add_neighbor(const Grpc__ARPNeighbor *n, struct cf_err *err)
{
	struct talk *t = cf_zalloc(sizeof(*t));
	struct link_list *links = cf_zalloc(sizeof(*links));
	const struct link *l = NULL;
	uint8_t hw[HW_BYTES];
	struct address a;
	int r;

	r = parse_address(n->toipaddress->address, &a, err);
	if (r == 0)
		r = parse_hw(n->lladdr, hw, err);
	if (r == 0)
		r = talk_open(t, err);
	if (r == 0)
		r = list_links(t, links, err);
	if (r == 0)
		l = link_by_name(links, n->device);
	if (r == 0 && !l)
		r = cf_fail(err, CF_NOT_FOUND, "no link %.20s", n->device);
	if (r == 0) {
		struct nlmsghdr *h = talk_begin(t, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE);
		struct ndmsg *msg = mnl_nlmsg_put_extra_header(h, sizeof(*msg));

		msg->ndm_family = (uint8_t)a.family;
		msg->ndm_ifindex = l->index;
		msg->ndm_state = n->state ? (uint16_t)n->state : NUD_PERMANENT;
		msg->ndm_flags = (uint8_t)n->flags;
		mnl_attr_put(h, NDA_DST, a.size, a.bytes);
		mnl_attr_put(h, NDA_LLADDR, HW_BYTES, hw);
		r = talk_run(t, h, NULL, NULL);
		if (r < 0)
			r = cf_fail_errno(err, -r, "neighbour %.40s", n->toipaddress->address);
	}
	talk_close(t);
	free(t);
	free(links);
	return r;
}

/* ---- lists ---- */

struct address_list {
	const struct link_list *links;
	Grpc__Interfaces *out; /* one entry per link, in the same order */
};

static int on_address_attr(const struct nlattr *a, void *arg)
{
	const struct nlattr **ret = arg;
	uint16_t type = mnl_attr_get_type(a);

	if (type == IFA_LOCAL || (type == IFA_ADDRESS && !*ret))
		*ret = a;
	return MNL_CB_OK;
}

static int on_address(const struct nlmsghdr *h, void *arg)
{
	const struct ifaddrmsg *msg = mnl_nlmsg_get_payload(h);
	struct address_list *list = arg;
	const struct nlattr *found = NULL;
	Grpc__Interface *link = NULL;
	Grpc__IPAddress *ip;

	(void)mnl_attr_parse(h, sizeof(*msg), on_address_attr, &found);
	for (size_t i = 0; i < list->links->count; i++)
		if (list->links->items[i].index == (int)msg->ifa_index)
			link = list->out->interfaces[i];
	if (!link || !found || (msg->ifa_family != AF_INET && msg->ifa_family != AF_INET6))
		return MNL_CB_OK;
	ip = cf_zalloc(sizeof(*ip));
	grpc__ipaddress__init(ip);
	ip->family = msg->ifa_family == AF_INET6 ? GRPC__IPFAMILY__v6 : GRPC__IPFAMILY__v4;
	ip->address = print_address(msg->ifa_family, mnl_attr_get_payload(found));
	ip->mask = cf_asprintf("%u", msg->ifa_prefixlen);
	link->ipaddresses = cf_realloc_n(link->ipaddresses, link->n_ipaddresses + 1,
	                                 sizeof(*link->ipaddresses));
	link->ipaddresses[link->n_ipaddresses++] = ip;
	return MNL_CB_OK;
}

static Grpc__Interface *link_message(const struct link *l)
{
	Grpc__Interface *m = cf_zalloc(sizeof(*m));

	grpc__interface__init(m);
	m->device = cf_strdup(l->name);
	m->name = cf_strdup(l->name);
	m->mtu = l->mtu;
	m->raw_flags = l->flags;
	m->hwaddr = l->has_hw ? cf_asprintf("%02x:%02x:%02x:%02x:%02x:%02x", l->hw[0], l->hw[1],
	                                    l->hw[2], l->hw[3], l->hw[4], l->hw[5])
	                      : cf_strdup("");
	m->devicepath = cf_strdup("");
	m->type = cf_strdup("");
	return m;
}

static int list_interfaces(struct talk *t, struct link_list *links, Grpc__Interfaces *ret,
                           struct cf_err *err)
{
	struct address_list list = { .links = links, .out = ret };
	struct rtgenmsg *gen;
	struct nlmsghdr *h;
	int r;

	r = list_links(t, links, err);
	if (r < 0)
		return r;
	ret->interfaces = cf_zalloc_n(links->count + 1, sizeof(*ret->interfaces));
	for (; ret->n_interfaces < links->count; ret->n_interfaces++)
		ret->interfaces[ret->n_interfaces] = link_message(&links->items[ret->n_interfaces]);
	h = talk_begin(t, RTM_GETADDR, NLM_F_DUMP);
	gen = mnl_nlmsg_put_extra_header(h, sizeof(*gen));
	gen->rtgen_family = AF_UNSPEC;
	r = talk_run(t, h, on_address, &list);
	return r < 0 ? cf_fail_errno(err, -r, "list of addresses") : 0;
}

int guest_net_list_interfaces(Grpc__Interfaces *ret, struct cf_err *err)
{
	struct talk *t = cf_zalloc(sizeof(*t));
	struct link_list *links = cf_zalloc(sizeof(*links));
	int r;

	r = talk_open(t, err);
	if (r == 0)
		r = list_interfaces(t, links, ret, err);
	talk_close(t);
	free(t);
	free(links);
	return r;
}

void guest_net_interfaces_fini(Grpc__Interfaces *list)
{
	for (size_t i = 0; i < list->n_interfaces; i++) {
		Grpc__Interface *m = list->interfaces[i];

		for (size_t j = 0; j < m->n_ipaddresses; j++) {
			free(m->ipaddresses[j]->address);
			free(m->ipaddresses[j]->mask);
			free(m->ipaddresses[j]);
		}
		free(m->ipaddresses);
		free(m->device);
		free(m->name);
		free(m->hwaddr);
		free(m->devicepath);
		free(m->type);
		free(m);
	}
	free(list->interfaces);
	list->interfaces = NULL;
	list->n_interfaces = 0;
}

struct route_list {
	const struct link_list *links;
	Grpc__Routes *out;
};

static int on_route_attr(const struct nlattr *a, void *arg)
{
	const struct nlattr **attrs = arg;
	uint16_t type = mnl_attr_get_type(a);

	if (type <= RTA_MAX)
		attrs[type] = a;
	return MNL_CB_OK;
}

static char *print_attr(int family, const struct nlattr *a)
{
	return a ? print_address(family, mnl_attr_get_payload(a)) : cf_strdup("");
}

static int on_route(const struct nlmsghdr *h, void *arg)
{
	const struct rtmsg *msg = mnl_nlmsg_get_payload(h);
	const struct nlattr *attrs[RTA_MAX + 1] = { NULL };
	struct route_list *list = arg;
	const char *device = "";
	cf_cleanup(cf_freep) char *dest = NULL;
	Grpc__Route *m;

	if (msg->rtm_table != RT_TABLE_MAIN || list->out->n_routes == GUEST_NET_ROUTES_MAX ||
	    (msg->rtm_family != AF_INET && msg->rtm_family != AF_INET6))
		return MNL_CB_OK;
	(void)mnl_attr_parse(h, sizeof(*msg), on_route_attr, attrs);
	for (size_t i = 0; attrs[RTA_OIF] && i < list->links->count; i++)
		if (list->links->items[i].index == (int)mnl_attr_get_u32(attrs[RTA_OIF]))
			device = list->links->items[i].name;
	m = cf_zalloc(sizeof(*m));
	grpc__route__init(m);
	dest = print_attr(msg->rtm_family, attrs[RTA_DST]);
	m->dest = *dest ? cf_asprintf("%s/%u", dest, msg->rtm_dst_len) : cf_strdup("");
	m->gateway = print_attr(msg->rtm_family, attrs[RTA_GATEWAY]);
	m->source = print_attr(msg->rtm_family, attrs[RTA_PREFSRC]);
	m->device = cf_strdup(device);
	m->scope = msg->rtm_scope;
	m->flags = msg->rtm_flags;
	m->family = msg->rtm_family == AF_INET6 ? GRPC__IPFAMILY__v6 : GRPC__IPFAMILY__v4;
	list->out->routes = cf_realloc_n(list->out->routes, list->out->n_routes + 1,
	                                 sizeof(*list->out->routes));
	list->out->routes[list->out->n_routes++] = m;
	return MNL_CB_OK;
}

int guest_net_list_routes(Grpc__Routes *ret, struct cf_err *err)
{
	struct talk *t = cf_zalloc(sizeof(*t));
	struct link_list *links = cf_zalloc(sizeof(*links));
	struct route_list list = { .links = links, .out = ret };
	int r;

	r = talk_open(t, err);
	if (r == 0)
		r = list_links(t, links, err);
	if (r == 0) {
		struct nlmsghdr *h = talk_begin(t, RTM_GETROUTE, NLM_F_DUMP);
		struct rtmsg *msg = mnl_nlmsg_put_extra_header(h, sizeof(*msg));

		msg->rtm_family = AF_UNSPEC;
		r = talk_run(t, h, on_route, &list);
		if (r < 0)
			r = cf_fail_errno(err, -r, "list of routes");
	}
	talk_close(t);
	free(t);
	free(links);
	return r;
}

void guest_net_routes_fini(Grpc__Routes *list)
{
	for (size_t i = 0; i < list->n_routes; i++) {
		Grpc__Route *m = list->routes[i];

		free(m->dest);
		free(m->gateway);
		free(m->source);
		free(m->device);
		free(m);
	}
	free(list->routes);
	list->routes = NULL;
	list->n_routes = 0;
}
