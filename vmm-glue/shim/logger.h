/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A program that takes a container's output: "binary:///PATH?KEY=VALUE&…" (containerd's logging
 * binaries). It is run with KEY VALUE … as arguments, CONTAINER_ID and CONTAINER_NAMESPACE in its
 * environment, the container's output as fds 3 and 4, and fd 5 to close (or, as "binary-v2:", to write
 * a byte to) when it is ready. Nobody waits for that: its pipes hold what comes before. The address is
 * containerd's word, trusted as containerd is.
 */
#include "base/err.h"
#include "base/loop.h"

#define LOGGER_ARGS_MAX 64u

struct logger_fds {
	int out, err; /* to write to; never block */
	int ready;    /* its fd 5's other end: to be held as long as the others */
};

bool logger_is_address(const char *address);
/*
 * The program's end is seen to on @loop, whatever becomes of the streams. The caller closes @ret.
 * Return: 0, -CF_INVALID_ARGUMENT, or what pipes and the program's start failed with.
 */
cf_must_use int logger_start(struct cf_loop *loop, const char *address, const char *ns,
                             const char *container_id, struct logger_fds *ret, struct cf_err *err);
