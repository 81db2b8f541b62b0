/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Whom a gRPC server lets in, whatever it speaks HTTP/2 with. Private to proto/rpc_*_server.c. */
#include "base/listener.h"
#include "proto/rpc_grpc.h"

/*
 * Asks opts->allow who is at the other end of @fd, a connected socket that does not block afterwards.
 * Return: 0, -CF_PERMISSION_DENIED.
 */
cf_must_use int rpc_grpc_admit(const struct rpc_grpc_server_opts *opts, int fd,
                               struct rpc_peer *ret, struct cf_err *err);
/* rpc_grpc_server_listen() of a server with this @list. */
cf_must_use int rpc_grpc_listen(struct cf_listener **list, struct cf_loop *loop,
                                const char *address, cf_listener_conn_fn *fn, void *user,
                                struct cf_err *err);
