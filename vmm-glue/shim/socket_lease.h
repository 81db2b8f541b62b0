/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Whose a shim's socket is. The file of a unix socket outlives its process, and containerd asks for no
 * "delete" when "start" itself was killed. So a lease is written before a socket is bound: a file of
 * the socket's name that holds its path, locked for as long as the starter, or the daemon that
 * inherits the descriptor, lives. Whoever comes next takes away what nobody holds any more.
 *
 * A lease is a convenience: without one a pod runs as well, only its socket's file may stay behind.
 */
#include "base/err.h"

#define SOCKET_LEASE_DIR "/run/coffer/shims"
#define SOCKET_LEASE_FD  4 /* where the daemon inherits the lock */

/*
 * The descriptor that holds the lease of @socket, to be closed by the caller.
 * Return: it, -CF_INVALID_ARGUMENT, -CF_ALREADY_EXISTS (held by somebody who lives), of the files.
 */
cf_must_use int socket_lease_take(const char *dir, const char *socket, struct cf_err *err);
/* The holder's, when it removes its socket itself. */
void socket_lease_drop(const char *dir, const char *socket);
/* Removes the sockets and leases in @dir that nobody holds. */
void socket_lease_sweep(const char *dir);
