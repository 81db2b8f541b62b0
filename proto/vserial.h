/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * ttrpc over a virtio-serial port: how both ends find the same place in a byte stream that has no
 * connections. PROTOCOL-vserial.md is the whole of it. The bytes come from the other side of the
 * VM's wall and are hostile.
 *
 * Host: ttrpc_client_dial("virtio-serial:/path/of/qemu/chardev.sock", …).
 * Guest: ttrpc_server_listen(server, "virtio-serial:///dev/virtio-ports/agent.channel.0", …).
 */
#include "base/bytes.h"

#define VSERIAL_MARK       "CFRSYNC1"
#define VSERIAL_MARK_BYTES 8u
#define VSERIAL_CHUNK_MAX  (32u << 10) /* data per message that callers should keep to */
#define VSERIAL_REPEAT_MS  250         /* the host repeats its mark until it is answered */
#define VSERIAL_STALE_MS   1000 /* a mark at the end of an unfinished frame is one, after this */

/* Where in the mark we are. Starts zeroed. */
struct vserial_sync {
	unsigned matched;
};

/*
 * Takes bytes until the mark is complete. *ret_synced tells whether it is.
 * Return: how many bytes of @in are used up; what follows a complete mark is the session's.
 */
size_t vserial_sync_feed(struct vserial_sync *s, struct cf_view in, bool *ret_synced);

/*
 * Host end: connects to the unix socket of the port's chardev, waits until the guest answered the
 * mark, at most @timeout_ms. Return: an fd ≥ 0 whose next byte is ttrpc's, or negative
 * (-CF_DEADLINE_EXCEEDED, -CF_UNAVAILABLE).
 */
cf_must_use int vserial_dial_fd(const char *path, int64_t timeout_ms, struct cf_err *err);
