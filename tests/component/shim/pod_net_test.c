/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pod's network without a VM: the test is the guest's NIC at the tap's end, and the pod's
 * neighbour at the veth's other end.
 */
#include "vmm-glue/shim/pod_net.h"

#include "base/fd.h"
#include "base/proc.h"
#include "tests/harness/test.h"
#include "vmm-glue/shim/netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define OWN_PROTOCOL 0x88b5 /* IEEE 802: local experiments */
#define VNET_HEADER  10u    /* struct virtio_net_hdr that a tap puts before each frame */

static int run(const char *text)
{
	struct cf_strv argv = { 0 };
	struct cf_proc_opts opts = { .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1 };
	struct cf_err err;
	int r;

	cf_strv_split(&argv, cf_view_str(text), ' ');
	opts.argv = (const char *const *)argv.items;
	r = cf_proc_run(&opts, 65536, 10000, NULL, &err);
	if (r < 0)
		print_message("%s: %s\n", text, err.msg);
	cf_strv_fini(&argv);
	return r;
}

static cf_printf(1, 2) int runf(const char *fmt, ...)
{
	cf_cleanup(cf_freep) char *text = NULL;
	va_list args;

	va_start(args, fmt);
	if (vasprintf(&text, fmt, args) < 0)
		abort();
	va_end(args);
	return run(text);
}

struct pair {
	char pod[40], peer[40], path[60];
};

static void pair_open(struct pair *p)
{
	if (geteuid() != 0)
		SKIP("needs root to make network namespaces");
	snprintf(p->pod, sizeof(p->pod), "cfshim-a-%d", (int)getpid());
	snprintf(p->peer, sizeof(p->peer), "cfshim-b-%d", (int)getpid());
	snprintf(p->path, sizeof(p->path), "/run/netns/%s", p->pod);
	if (runf("ip netns add %s", p->pod) < 0)
		SKIP("ip cannot make network namespaces here");
	EXPECT(runf("ip netns add %s", p->peer) == 0);
	EXPECT(runf("ip -n %s link add eth0 type veth peer name out0 netns %s", p->pod, p->peer) ==
	       0);
	EXPECT(runf("ip -n %s link set eth0 mtu 1400 up address 02:11:22:33:44:55", p->pod) == 0);
	EXPECT(runf("ip -n %s link set lo up", p->pod) == 0);
	EXPECT(runf("ip -n %s link set out0 mtu 1400 up", p->peer) == 0);
	EXPECT(runf("ip -n %s addr add 10.9.8.7/24 dev eth0", p->pod) == 0);
	EXPECT(runf("ip -n %s route add default via 10.9.8.1 dev eth0", p->pod) == 0);
	EXPECT(runf("ip -n %s route add 10.77.0.0/16 via 10.9.8.2 dev eth0", p->pod) == 0);
	EXPECT(runf("ip -n %s neigh add 10.9.8.3 lladdr 02:00:00:00:00:03 dev eth0 nud permanent",
	            p->pod) == 0);
}

static void pair_close(const struct pair *p)
{
	EXPECT(runf("ip netns del %s", p->pod) == 0);
	EXPECT(runf("ip netns del %s", p->peer) == 0);
}

/* A packet socket on @link of namespace @name. */
static int open_packets(const char *name, const char *link)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("/run/netns/%s", name);
	cf_cleanup(cf_closep) int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	cf_cleanup(cf_closep) int there = open(path, O_RDONLY | O_CLOEXEC);
	cf_cleanup(netlink_closep) struct netlink *nl = NULL;
	struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_protocol = htons(OWN_PROTOCOL) };
	struct cf_err err;
	int fd;

	EXPECT(setns(there, CLONE_NEWNET) == 0);
	EXPECT_OK(netlink_open(&nl, &err), &err);
	at.sll_ifindex = (int)netlink_index(nl, link);
	fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(OWN_PROTOCOL));
	EXPECT(fd >= 0 && bind(fd, (const struct sockaddr *)&at, sizeof(at)) == 0);
	EXPECT(setns(home, CLONE_NEWNET) == 0);
	return fd;
}

static void make_frame(uint8_t frame[60], uint8_t mark)
{
	static const uint8_t to[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	static const uint8_t from[6] = { 0x02, 0x99, 0, 0, 0, 1 };

	memset(frame, mark, 60);
	memcpy(frame, to, 6);
	memcpy(frame + 6, from, 6);
	frame[12] = OWN_PROTOCOL >> 8;
	frame[13] = OWN_PROTOCOL & 0xff;
}

/* Reads until our own frame with @mark comes by; other traffic (IPv6's hello) is passed over. */
static bool saw_frame(int fd, size_t skip, uint8_t mark)
{
	uint8_t buf[2048];
	struct pollfd p = { .fd = fd, .events = POLLIN };

	while (poll(&p, 1, 3000) > 0) {
		ssize_t n = read(fd, buf, sizeof(buf));

		if (n >= (ssize_t)skip + 60 && buf[skip + 12] == OWN_PROTOCOL >> 8 &&
		    buf[skip + 20] == mark)
			return true;
	}
	return false;
}

static void expect_traffic(const char *mode)
{
	struct pair p;
	struct pod_net *n = NULL;
	uint8_t out[VNET_HEADER + 60] = { 0 };
	const struct vmm_nic *nics;
	size_t count;
	struct cf_err err;
	int packets;

	pair_open(&p);
	EXPECT_OK(pod_net_open(p.path, mode, &n, &err), &err);
	nics = pod_net_nics(n, &count);
	EXPECT_INT(count, 1);
	EXPECT_STR(nics[0].mac, "02:11:22:33:44:55");
	EXPECT_INT(nics[0].mtu, 1400);
	packets = open_packets(p.peer, "out0");
	make_frame(out + VNET_HEADER, 0x41);
	EXPECT(write(packets, out + VNET_HEADER, 60) == 60);
	EXPECT(saw_frame(nics[0].tap_fd, VNET_HEADER, 0x41));
	make_frame(out + VNET_HEADER, 0x42);
	EXPECT(write(nics[0].tap_fd, out, sizeof(out)) == (ssize_t)sizeof(out));
	EXPECT(saw_frame(packets, 0, 0x42));
	close(packets);
	pod_net_free(n);
	EXPECT(runf("ip -n %s link show cftap0", p.pod) < 0); /* nothing of ours is left */
	EXPECT(runf("ip -n %s link show cfbr0", p.pod) < 0);
	pair_close(&p);
}

CF_TEST(pod_net_joins_tap_and_veth_by_tc)
{
	expect_traffic("tc");
}

CF_TEST(pod_net_joins_tap_and_veth_by_a_bridge)
{
	expect_traffic("bridge");
}

CF_TEST(pod_net_tells_the_guest_what_cni_made)
{
	struct pair p;
	struct pod_net *n = NULL;
	Grpc__Interface *const *links;
	struct cf_strv names = { 0 };
	struct cf_err err;
	size_t count;

	pair_open(&p);
	EXPECT_OK(pod_net_open(p.path, "tc", &n, &err), &err);
	links = pod_net_interfaces(n, &count);
	EXPECT_INT(count, 1);
	EXPECT_STR(links[0]->name, "eth0");
	EXPECT_STR(links[0]->hwaddr, "02:11:22:33:44:55");
	EXPECT_INT(links[0]->mtu, 1400);
	EXPECT_INT(links[0]->n_ipaddresses, 1);
	EXPECT_STR(links[0]->ipaddresses[0]->address, "10.9.8.7");
	EXPECT_STR(links[0]->ipaddresses[0]->mask, "24");
	EXPECT_INT(pod_net_routes(n)->n_routes, 2);
	EXPECT_STR(pod_net_routes(n)->routes[0]->dest, "");
	EXPECT_STR(pod_net_routes(n)->routes[0]->gateway, "10.9.8.1");
	EXPECT_STR(pod_net_routes(n)->routes[1]->dest, "10.77.0.0/16");
	EXPECT_INT(pod_net_neighbors(n)->n_arpneighbors, 1);
	EXPECT_STR(pod_net_neighbors(n)->arpneighbors[0]->lladdr, "02:00:00:00:00:03");
	pod_net_links(n, &names);
	EXPECT_STR(names.items[0], "cftap0");
	cf_strv_fini(&names);
	pod_net_free(n);
	pair_close(&p);
}

CF_TEST(pod_net_copes_with_a_namespace_that_vanished)
{
	struct pair p;
	struct pod_net *n = NULL;
	struct cf_err err;

	pair_open(&p);
	EXPECT_OK(pod_net_open(p.path, "tc", &n, &err), &err);
	pair_close(&p);
	pod_net_free(n);
	n = NULL;
	pod_net_remove_link(p.path, "cftap0");
	EXPECT_FAILS(pod_net_open(p.path, "tc", &n, &err), CF_NOT_FOUND);
	EXPECT(!n);
}

CF_TEST(pod_net_of_user_mode_needs_no_namespace)
{
	struct pod_net *n = NULL;
	struct cf_err err;
	size_t count;

	EXPECT_OK(pod_net_open(NULL, "user", &n, &err), &err);
	EXPECT(pod_net_nics(n, &count)[0].tap_fd == -1 && count == 1);
	EXPECT_STR(pod_net_interfaces(n, &count)[0]->ipaddresses[0]->address, "10.0.2.15");
	EXPECT_STR(pod_net_routes(n)->routes[0]->gateway, "10.0.2.2");
	pod_net_free(n);
	n = NULL;
	EXPECT_OK(pod_net_open(NULL, "tc", &n, &err), &err);
	EXPECT(!n && !pod_net_nics(n, &count) && !pod_net_routes(n));
}
