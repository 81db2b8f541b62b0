/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A little rtnetlink: build a message in a cf_buf, send it, wait for the kernel's word. The kernel
 * is trusted; lengths are checked all the same.
 */
#include "base/bytes.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>

struct netlink;

/* In the calling thread's network namespace; the socket stays in it. */
cf_must_use int netlink_open(struct netlink **ret, struct cf_err *err);
struct netlink *netlink_close(struct netlink *n);
CF_DEFINE_CLEANUP(struct netlink *, netlink_close);

/* Starts a message in the empty @m: @header is the family's own (struct ifinfomsg, tcmsg, …). */
void netlink_begin(struct cf_buf *m, uint16_t type, uint16_t flags, const void *header,
                   size_t size);
void netlink_attr(struct cf_buf *m, uint16_t type, const void *data, size_t size);
void netlink_attr_str(struct cf_buf *m, uint16_t type, const char *s);
void netlink_attr_u32(struct cf_buf *m, uint16_t type, uint32_t v);
/* Attributes until netlink_unnest() lie inside; returns what that wants. */
size_t netlink_nest(struct cf_buf *m, uint16_t type);
void netlink_unnest(struct cf_buf *m, size_t mark);

/* Sends and waits for the acknowledgement. Fails with the kernel's errno in err->sys. */
cf_must_use int netlink_request(struct netlink *n, struct cf_buf *m, struct cf_err *err);

/* One answer of a dump: the family's header and the attributes behind it. */
typedef void netlink_item(const void *header, struct cf_view attrs, uint16_t type, void *arg);
/* @header_size: bytes of the family's header in the answers. */
cf_must_use int netlink_dump(struct netlink *n, struct cf_buf *m, size_t header_size,
                             netlink_item *item, void *arg, struct cf_err *err);
/* The attribute of @type among @attrs; an empty view when absent. */
struct cf_view netlink_find(struct cf_view attrs, uint16_t type);
uint32_t netlink_u32(struct cf_view v); /* 0 unless 4 bytes */

/* ---- links ---- */

/* Index of a link by name; 0 when there is none. */
uint32_t netlink_index(struct netlink *n, const char *name);
cf_must_use int netlink_link_up(struct netlink *n, uint32_t index, uint32_t mtu,
                                struct cf_err *err);
cf_must_use int netlink_link_delete(struct netlink *n, uint32_t index, struct cf_err *err);
