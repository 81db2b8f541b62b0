/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* For tests and fuzzing: a client whose connection is there already. */
#include "proto/rpc_grpc.h"

cf_must_use int rpc_h2_client_attach(struct rpc_grpc_client *client, int fd_take,
                                     struct cf_err *err);
