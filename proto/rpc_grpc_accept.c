/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/rpc_grpc_accept.h"

#include "base/fd.h"
#include "base/str.h"

int rpc_grpc_admit(const struct rpc_grpc_server_opts *opts, int fd, struct rpc_peer *ret,
                   struct cf_err *err)
{
	*ret = rpc_peer_of(fd);
	bool is_allowed = opts->allow ? opts->allow(ret, opts->user) : rpc_peer_is_ours(ret);

	if (!is_allowed)
		return cf_fail(err, CF_PERMISSION_DENIED, "grpc: uid %u may not connect",
		               (unsigned)ret->uid);
	int e = cf_set_nonblock(fd, true);

	return e < 0 ? cf_fail_errno(err, -e, "grpc: connection") : 0;
}

int rpc_grpc_listen(struct cf_listener **list, struct cf_loop *loop, const char *address,
                    cf_listener_conn_fn *fn, void *user, struct cf_err *err)
{
	const char *path = cf_after(address, "unix://") ?: address;
	int fd = cf_listen_unix(path, err);

	return fd < 0 ? fd : cf_listener_add(list, loop, fd, path, fn, user, err);
}
