/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The early word that an image is about to be used: containerd asks for its layers seconds before it
 * creates a container. One datagram for each layer, to whoever listens at a path; nobody there, or too
 * slow, is fine. The wire is proto/PROTOCOL-pull-notice.md.
 */
#include "snapshotter/snap_labels.h"

#define SNAP_NOTICE_MAX 16384u /* bytes of one datagram; what would be longer is not sent */

/* @path: of a datagram socket, NULL: nobody is told. @chain: the layer's chainID. Never blocks. */
void snap_notice_layer(const char *path, const char *chain, const struct snap_labels *labels);
