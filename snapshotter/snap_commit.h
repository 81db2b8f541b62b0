/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The call Commit: what becomes of a snapshot's directory. Under guest pull it is thrown away; in
 * overlay mode it stays, synced; in erofs mode it becomes an image, on a thread kept for that. A
 * handler of snap_service.h's table: @user is the service.
 */
#include "snapshotter/snap_service.h"

void snap_on_commit(struct rpc_call *call, const ProtobufCMessage *msg, void *user);
