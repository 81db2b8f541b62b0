/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The early word that an image is about to be used: containerd asks for its layers seconds before it
 * creates a container. One datagram for each layer, to whoever listens; nobody there, or too slow, is
 * fine. The wire is proto/PROTOCOL-pull-notice.md.
 */
#include "snapshotter/snap_labels.h"

#define SNAP_NOTICE_MAX       16384u /* bytes of one datagram; what would be longer is not sent */
#define SNAP_NOTICE_LISTENERS 4u     /* sockets of a directory that are told: the newest */
#define SNAP_NOTICE_SCAN_MAX  1024u  /* entries of a directory that are looked at */
#define SNAP_NOTICE_SUFFIX    ".sock"

/*
 * @path: a datagram socket, or a directory in which each listener binds NAME.sock; NULL: nobody is
 * told. A socket of that directory behind which nobody is any more is removed. @chain: the layer's
 * chainID. Never blocks.
 */
void snap_notice_layer(const char *path, const char *chain, const struct snap_labels *labels);
