/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/shim/netlink.h"

#include "base/fd.h"

#include <errno.h>
#include <linux/if.h>
#include <sys/socket.h>
#include <unistd.h>

#define ANSWER_MAX (64u << 10) /* bytes of one datagram */

struct netlink {
	int fd;
	uint32_t seq;
	uint8_t answer[ANSWER_MAX];
};

int netlink_open(struct netlink **ret, struct cf_err *err)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	struct netlink *n;

	if (fd < 0)
		return cf_fail_errno(err, errno, "rtnetlink");
	n = cf_zalloc(sizeof(*n));
	n->fd = fd;
	*ret = n;
	return 0;
}

struct netlink *netlink_close(struct netlink *n)
{
	if (!n)
		return NULL;
	cf_close(&n->fd);
	free(n);
	return NULL;
}

/* ---- building ---- */

static void align(struct cf_buf *m)
{
	cf_buf_add_zero(m, NLMSG_ALIGN(m->size) - m->size);
}

void netlink_begin(struct cf_buf *m, uint16_t type, uint16_t flags, const void *header, size_t size)
{
	struct nlmsghdr h = { .nlmsg_type = type, .nlmsg_flags = flags | NLM_F_REQUEST };

	cf_buf_reset(m);
	cf_buf_add(m, &h, sizeof(h));
	cf_buf_add(m, header, size);
	align(m);
}

void netlink_attr(struct cf_buf *m, uint16_t type, const void *data, size_t size)
{
	struct rtattr a = { .rta_type = type, .rta_len = (uint16_t)(RTA_LENGTH(0) + size) };

	cf_buf_add(m, &a, sizeof(a));
	cf_buf_add(m, data, size);
	align(m);
}

void netlink_attr_str(struct cf_buf *m, uint16_t type, const char *s)
{
	netlink_attr(m, type, s, strlen(s) + 1);
}

void netlink_attr_u32(struct cf_buf *m, uint16_t type, uint32_t v)
{
	netlink_attr(m, type, &v, sizeof(v));
}

size_t netlink_nest(struct cf_buf *m, uint16_t type)
{
	size_t mark = m->size;

	netlink_attr(m, type, NULL, 0);
	return mark;
}

void netlink_unnest(struct cf_buf *m, size_t mark)
{
	struct rtattr *a = (struct rtattr *)(void *)(m->data + mark);

	a->rta_len = (uint16_t)(m->size - mark);
}

/* ---- talking ---- */

static int send_message(struct netlink *n, struct cf_buf *m, struct cf_err *err)
{
	struct nlmsghdr *h = (struct nlmsghdr *)(void *)m->data;
	int r = cf_buf_check(m, "rtnetlink message", err);

	if (r < 0)
		return r;
	h->nlmsg_len = (uint32_t)m->size;
	h->nlmsg_seq = ++n->seq;
	if (send(n->fd, m->data, m->size, 0) < 0)
		return cf_fail_errno(err, errno, "rtnetlink");
	return 0;
}

/* Positive: more follows. */
static int take_message(struct netlink *n, const struct nlmsghdr *h, size_t header_size,
                        netlink_item *item, void *arg, struct cf_err *err)
{
	const struct nlmsgerr *e = NLMSG_DATA(h);
	size_t skip = NLMSG_LENGTH(NLMSG_ALIGN(header_size));

	if (h->nlmsg_seq != n->seq)
		return 1;
	if (h->nlmsg_type == NLMSG_DONE)
		return 0;
	if (h->nlmsg_type == NLMSG_ERROR) {
		if (h->nlmsg_len < NLMSG_LENGTH(sizeof(*e)))
			return cf_fail(err, CF_INTERNAL, "rtnetlink: short answer");
		return e->error ? cf_fail_errno(err, -e->error, "rtnetlink") : 0;
	}
	if (item && h->nlmsg_len >= skip)
		item(NLMSG_DATA(h), cf_view((const uint8_t *)h + skip, h->nlmsg_len - skip),
		     h->nlmsg_type, arg);
	return 1;
}

static int receive(struct netlink *n, size_t header_size, netlink_item *item, void *arg,
                   struct cf_err *err)
{
	int r = 1;

	while (r > 0) {
		ssize_t got = recv(n->fd, n->answer, sizeof(n->answer), 0);
		const struct nlmsghdr *h = (const struct nlmsghdr *)(const void *)n->answer;

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return cf_fail_errno(err, errno, "rtnetlink");
		for (size_t left = (size_t)got; r > 0 && NLMSG_OK(h, left); h = NLMSG_NEXT(h, left))
			r = take_message(n, h, header_size, item, arg, err);
	}
	return r;
}

int netlink_request(struct netlink *n, struct cf_buf *m, struct cf_err *err)
{
	struct nlmsghdr *h = (struct nlmsghdr *)(void *)m->data;
	int r;

	if (h)
		h->nlmsg_flags |= NLM_F_ACK;
	r = send_message(n, m, err);
	return r < 0 ? r : receive(n, 0, NULL, NULL, err);
}

int netlink_dump(struct netlink *n, struct cf_buf *m, size_t header_size, netlink_item *item,
                 void *arg, struct cf_err *err)
{
	struct nlmsghdr *h = (struct nlmsghdr *)(void *)m->data;
	int r;

	if (h)
		h->nlmsg_flags |= NLM_F_DUMP;
	r = send_message(n, m, err);
	return r < 0 ? r : receive(n, header_size, item, arg, err);
}

struct cf_view netlink_find(struct cf_view attrs, uint16_t type)
{
	const struct rtattr *a = (const struct rtattr *)(const void *)attrs.data;
	size_t left = attrs.size;

	for (; RTA_OK(a, left); a = RTA_NEXT(a, left))
		if ((a->rta_type & NLA_TYPE_MASK) == type)
			return cf_view(RTA_DATA(a), RTA_PAYLOAD(a));
	return cf_view(NULL, 0);
}

uint32_t netlink_u32(struct cf_view v)
{
	uint32_t n = 0;

	if (v.size == sizeof(n))
		memcpy(&n, v.data, sizeof(n));
	return n;
}

/* ---- links ---- */

static void take_index(const void *header, struct cf_view attrs, uint16_t type, void *arg)
{
	const struct ifinfomsg *info = header;

	(void)attrs;
	(void)type;
	*(uint32_t *)arg = (uint32_t)info->ifi_index;
}

uint32_t netlink_index(struct netlink *n, const char *name)
{
	struct ifinfomsg info = { .ifi_family = AF_UNSPEC };
	struct cf_buf m = { 0 };
	struct cf_err ignored;
	uint32_t index = 0;

	netlink_begin(&m, RTM_GETLINK, NLM_F_ACK, &info, sizeof(info));
	netlink_attr_str(&m, IFLA_IFNAME, name);
	if (send_message(n, &m, &ignored) == 0 &&
	    receive(n, sizeof(info), take_index, &index, &ignored) < 0)
		index = 0;
	cf_buf_fini(&m);
	return index;
}

int netlink_link_up(struct netlink *n, uint32_t index, uint32_t mtu, struct cf_err *err)
{
	struct ifinfomsg info = { .ifi_index = (int)index,
		                  .ifi_flags = IFF_UP,
		                  .ifi_change = IFF_UP };
	struct cf_buf m = { 0 };
	int r;

	netlink_begin(&m, RTM_NEWLINK, 0, &info, sizeof(info));
	if (mtu)
		netlink_attr_u32(&m, IFLA_MTU, mtu);
	r = netlink_request(n, &m, err);
	cf_buf_fini(&m);
	return r;
}

int netlink_link_delete(struct netlink *n, uint32_t index, struct cf_err *err)
{
	struct ifinfomsg info = { .ifi_index = (int)index };
	struct cf_buf m = { 0 };
	int r;

	netlink_begin(&m, RTM_DELLINK, 0, &info, sizeof(info));
	r = netlink_request(n, &m, err);
	cf_buf_fini(&m);
	return r;
}
