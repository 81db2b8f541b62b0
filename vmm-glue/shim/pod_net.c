/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/shim/pod_net.h"

#include "base/crypto.h"
#include "base/fd.h"
#include "base/log.h"
#include "vmm-glue/shim/pod_net_read.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if.h>
#include <linux/if_ether.h>
#include <linux/if_tun.h>
#include <linux/pkt_cls.h>
#include <linux/tc_act/tc_mirred.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define BRIDGE_PREFIX  "cfbr"
#define FILTER_PRIO    1u
#define INGRESS_HANDLE 0xffff0000u

struct pod_net {
	struct pod_view view;
	struct vmm_nic nics[VMM_NICS_MAX];
	size_t nic_count;
	Grpc__Interface *interfaces[VMM_NICS_MAX];
	char *netns;
	struct cf_strv links; /* what we made, by name */
	bool has_qdiscs;      /* on the pod's own links */
};

/* ---- being in the pod's namespace: this thread alone, and back again ---- */

struct stay {
	int home; /* our own namespace */
};

static int enter(const char *netns, struct stay *s, struct cf_err *err)
{
	cf_cleanup(cf_closep) int fd = open(netns, O_RDONLY | O_CLOEXEC);

	s->home = -1;
	if (fd < 0)
		return cf_fail_errno(err, errno, "network namespace %s", netns);
	s->home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (s->home < 0)
		return cf_fail_errno(err, errno, "own network namespace");
	if (setns(fd, CLONE_NEWNET) < 0) {
		int e = errno;

		cf_close(&s->home);
		return cf_fail_errno(err, e, "network namespace %s", netns);
	}
	return 0;
}

/* A thread that cannot go home would do its next job in a pod's network: stop rather. */
static void leave(struct stay *s)
{
	if (s->home >= 0 && setns(s->home, CLONE_NEWNET) < 0)
		abort();
	cf_close(&s->home);
}

/* ---- one NIC ---- */

static int open_tap(const char *name, int *ret, struct cf_err *err)
{
	cf_cleanup(cf_closep) int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	struct ifreq req = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };

	if (fd < 0)
		return cf_fail_errno(err, errno, "/dev/net/tun");
	snprintf(req.ifr_name, sizeof(req.ifr_name), "%s", name);
	if (ioctl(fd, TUNSETIFF, &req) < 0)
		return cf_fail_errno(err, errno, "tap %s", name);
	*ret = cf_take_fd(&fd);
	return 0;
}

static int add_ingress(struct netlink *nl, uint32_t index, struct cf_err *err)
{
	struct tcmsg tc = { .tcm_ifindex = (int)index,
		            .tcm_handle = INGRESS_HANDLE,
		            .tcm_parent = TC_H_INGRESS };
	struct cf_buf m = { 0 };
	int r;

	netlink_begin(&m, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, &tc, sizeof(tc));
	netlink_attr_str(&m, TCA_KIND, "ingress");
	r = netlink_request(nl, &m, err);
	cf_buf_fini(&m);
	if (r < 0 && err->sys == EEXIST)
		return 0;
	return r < 0 ? cf_wrap(err, r, "ingress qdisc") : 0;
}

static void remove_ingress(struct netlink *nl, uint32_t index)
{
	struct tcmsg tc = { .tcm_ifindex = (int)index,
		            .tcm_handle = INGRESS_HANDLE,
		            .tcm_parent = TC_H_INGRESS };
	struct cf_buf m = { 0 };
	struct cf_err ignored;

	netlink_begin(&m, RTM_DELQDISC, 0, &tc, sizeof(tc));
	(void)!netlink_request(nl, &m, &ignored);
	cf_buf_fini(&m);
}

/* Everything that comes in at @from goes out at @to: u32 with a key that always matches. */
static int add_redirect(struct netlink *nl, uint32_t from, uint32_t to, struct cf_err *err)
{
	struct tcmsg tc = { .tcm_ifindex = (int)from,
		            .tcm_parent = INGRESS_HANDLE,
		            .tcm_info = TC_H_MAKE(FILTER_PRIO << 16, htons(ETH_P_ALL)) };
	uint8_t match[sizeof(struct tc_u32_sel) + sizeof(struct tc_u32_key)] = { 0 };
	struct tc_u32_sel sel = { .flags = TC_U32_TERMINAL, .nkeys = 1 };
	struct tc_mirred mirred = { .action = TC_ACT_STOLEN,
		                    .eaction = TCA_EGRESS_REDIR,
		                    .ifindex = to };
	struct cf_buf m = { 0 };
	size_t options, actions, first, parameters;
	int r;

	netlink_begin(&m, RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, &tc, sizeof(tc));
	netlink_attr_str(&m, TCA_KIND, "u32");
	options = netlink_nest(&m, TCA_OPTIONS);
	memcpy(match, &sel, sizeof(sel)); /* its one key is all zeroes: no bit has to match */
	netlink_attr(&m, TCA_U32_SEL, match, sizeof(match));
	actions = netlink_nest(&m, TCA_U32_ACT);
	first = netlink_nest(&m, 1);
	netlink_attr_str(&m, TCA_ACT_KIND, "mirred");
	parameters = netlink_nest(&m, TCA_ACT_OPTIONS);
	netlink_attr(&m, TCA_MIRRED_PARMS, &mirred, sizeof(mirred));
	netlink_unnest(&m, parameters);
	netlink_unnest(&m, first);
	netlink_unnest(&m, actions);
	netlink_unnest(&m, options);
	r = netlink_request(nl, &m, err);
	cf_buf_fini(&m);
	return r < 0 ? cf_wrap(err, r, "redirection") : 0;
}

static int join_by_tc(struct pod_net *n, struct netlink *nl, uint32_t link, uint32_t tap,
                      struct cf_err *err)
{
	int r = add_ingress(nl, link, err);

	n->has_qdiscs = true;
	if (r == 0)
		r = add_ingress(nl, tap, err);
	if (r == 0)
		r = add_redirect(nl, link, tap, err);
	if (r == 0)
		r = add_redirect(nl, tap, link, err);
	return r;
}

static int set_master(struct netlink *nl, uint32_t index, uint32_t master, struct cf_err *err)
{
	struct ifinfomsg info = { .ifi_index = (int)index };
	struct cf_buf m = { 0 };
	int r;

	netlink_begin(&m, RTM_NEWLINK, 0, &info, sizeof(info));
	netlink_attr_u32(&m, IFLA_MASTER, master);
	r = netlink_request(nl, &m, err);
	cf_buf_fini(&m);
	return r < 0 ? cf_wrap(err, r, "bridge port") : 0;
}

/*
 * The guest's NIC answers to the link's address, so the link itself must have another one: a bridge
 * keeps frames for its ports' own addresses.
 */
static int change_mac(struct netlink *nl, uint32_t index, struct cf_err *err)
{
	struct ifinfomsg info = { .ifi_index = (int)index };
	struct cf_buf m = { 0 };
	uint8_t mac[6];
	int r;

	cf_random(mac, sizeof(mac));
	mac[0] = (uint8_t)((mac[0] & 0xfe) | 0x02); /* unicast, locally administered */
	netlink_begin(&m, RTM_NEWLINK, 0, &info, sizeof(info));
	netlink_attr(&m, IFLA_ADDRESS, mac, sizeof(mac));
	r = netlink_request(nl, &m, err);
	cf_buf_fini(&m);
	return r < 0 ? cf_wrap(err, r, "address of the pod's link") : 0;
}

static int add_bridge(struct netlink *nl, const char *name, struct cf_err *err)
{
	struct ifinfomsg info = { .ifi_family = AF_UNSPEC };
	struct cf_buf m = { 0 };
	size_t mark;
	int r;

	netlink_begin(&m, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &info, sizeof(info));
	netlink_attr_str(&m, IFLA_IFNAME, name);
	mark = netlink_nest(&m, IFLA_LINKINFO);
	netlink_attr_str(&m, IFLA_INFO_KIND, "bridge");
	netlink_unnest(&m, mark);
	r = netlink_request(nl, &m, err);
	cf_buf_fini(&m);
	return r < 0 ? cf_wrap(err, r, "bridge %s", name) : 0;
}

static int join_by_bridge(struct pod_net *n, struct netlink *nl, size_t i, uint32_t link,
                          uint32_t tap, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *name = cf_asprintf(BRIDGE_PREFIX "%zu", i);
	uint32_t bridge;
	int r = add_bridge(nl, name, err);

	if (r < 0)
		return r;
	cf_strv_add(&n->links, name);
	bridge = netlink_index(nl, name);
	r = change_mac(nl, link, err);
	if (r == 0)
		r = set_master(nl, link, bridge, err);
	if (r == 0)
		r = set_master(nl, tap, bridge, err);
	return r < 0 ? r : netlink_link_up(nl, bridge, 0, err);
}

static int add_nic(struct pod_net *n, struct netlink *nl, const char *mode, size_t i,
                   struct cf_err *err)
{
	struct pod_link *l = &n->view.links[i];
	struct vmm_nic *nic = &n->nics[i];
	cf_cleanup(cf_freep) char *name = cf_asprintf(POD_NET_TAP_PREFIX "%zu", i);
	uint32_t tap;
	int r;

	nic->tap_fd = -1;
	nic->mtu = l->mtu;
	snprintf(nic->mac, sizeof(nic->mac), "%s", l->message->hwaddr);
	r = open_tap(name, &nic->tap_fd, err);
	if (r < 0)
		return r;
	n->nic_count = i + 1;
	cf_strv_add(&n->links, name);
	tap = netlink_index(nl, name);
	r = netlink_link_up(nl, tap, l->mtu, err);
	if (r < 0)
		return cf_wrap(err, r, "tap %s", name);
	if (cf_streq(mode, "bridge"))
		return join_by_bridge(n, nl, i, l->index, tap, err);
	return join_by_tc(n, nl, l->index, tap, err);
}

static int open_inside(struct pod_net *n, const char *mode, struct cf_err *err)
{
	cf_cleanup(netlink_closep) struct netlink *nl = NULL;
	int r = netlink_open(&nl, err);

	if (r == 0)
		r = pod_view_read(nl, &n->view, err);
	for (size_t i = 0; r == 0 && i < n->view.link_count; i++)
		r = add_nic(n, nl, mode, i, err);
	return r;
}

/* ---- the door ---- */

static void list_interfaces(struct pod_net *n)
{
	for (size_t i = 0; i < n->view.link_count; i++)
		n->interfaces[i] = n->view.links[i].message;
}

static struct pod_net *open_user(void)
{
	struct pod_net *n = cf_zalloc(sizeof(*n));

	pod_view_user(&n->view);
	n->nic_count = 1;
	n->nics[0].tap_fd = -1;
	snprintf(n->nics[0].mac, sizeof(n->nics[0].mac), "%s", n->view.links[0].message->hwaddr);
	list_interfaces(n);
	return n;
}

int pod_net_open(const char *netns, const char *mode, struct pod_net **ret, struct cf_err *err)
{
	struct pod_net *n;
	struct stay stay;
	int r;

	if (cf_streq(mode, "user")) {
		*ret = open_user();
		return 0;
	}
	if (cf_streq(mode, "none") || !netns)
		return 0;
	r = enter(netns, &stay, err);
	if (r < 0)
		return r;
	n = cf_zalloc(sizeof(*n));
	n->netns = cf_strdup(netns);
	r = open_inside(n, mode, err);
	leave(&stay);
	if (r < 0) {
		pod_net_free(n);
		return cf_wrap(err, r, "the pod's network");
	}
	list_interfaces(n);
	*ret = n;
	return 0;
}

static void undo_inside(struct pod_net *n, struct netlink *nl)
{
	for (size_t i = 0; n->has_qdiscs && i < n->view.link_count; i++)
		remove_ingress(nl, n->view.links[i].index);
	for (size_t i = n->links.count; i-- > 0;) {
		uint32_t index = netlink_index(nl, n->links.items[i]);
		struct cf_err ignored;

		if (index)
			(void)!netlink_link_delete(nl, index, &ignored);
	}
}

/* Runs on the loop as well: a few netlink messages, no waiting. */
static void undo(struct pod_net *n)
{
	cf_cleanup(netlink_closep) struct netlink *nl = NULL;
	struct cf_err ignored;
	struct stay stay;

	if (!n->netns || enter(n->netns, &stay, &ignored) < 0)
		return;
	if (netlink_open(&nl, &ignored) == 0)
		undo_inside(n, nl);
	leave(&stay);
}

struct pod_net *pod_net_free(struct pod_net *n)
{
	if (!n)
		return NULL;
	for (size_t i = 0; i < n->nic_count; i++)
		cf_close(&n->nics[i].tap_fd);
	undo(n);
	pod_view_fini(&n->view);
	free(n->netns);
	cf_strv_fini(&n->links);
	free(n);
	return NULL;
}

const struct vmm_nic *pod_net_nics(const struct pod_net *n, size_t *ret_count)
{
	*ret_count = n ? n->nic_count : 0;
	return n ? n->nics : NULL;
}

Grpc__Interface *const *pod_net_interfaces(const struct pod_net *n, size_t *ret_count)
{
	*ret_count = n ? n->nic_count : 0;
	return n ? n->interfaces : NULL;
}

Grpc__Routes *pod_net_routes(const struct pod_net *n)
{
	return n && n->view.routes->n_routes ? n->view.routes : NULL;
}

Grpc__ARPNeighbors *pod_net_neighbors(const struct pod_net *n)
{
	return n ? n->view.neighbors : NULL;
}

void pod_net_links(const struct pod_net *n, struct cf_strv *ret)
{
	for (size_t i = 0; n && i < n->links.count; i++)
		cf_strv_add(ret, n->links.items[i]);
}

void pod_net_remove_link(const char *netns, const char *name)
{
	struct pod_net n = { .netns = cf_strdup(netns) };

	cf_strv_add(&n.links, name);
	undo(&n);
	cf_strv_fini(&n.links);
	free(n.netns);
}
