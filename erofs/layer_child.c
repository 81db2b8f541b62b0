/* SPDX-License-Identifier: Apache-2.0 */
#include "erofs/layer_child.h"

#include "base/fd.h"
#include "base/proc.h"

#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define CPU_S_MAX 3600

int layer_child_start(struct layer_child *c, const char *helper, const char *const *args,
                      const int *fds, size_t fd_count, uint64_t memory_max, struct cf_err *err)
{
	const struct cf_helper_limits limits = { .memory_max = memory_max, .cpu_s_max = CPU_S_MAX };
	cf_cleanup(cf_freep) int *all = cf_zalloc_n(fd_count + 1, sizeof(*all));
	int pair[2];
	int r = cf_socketpair(SOCK_SEQPACKET, pair, err);

	if (r < 0)
		return r;
	all[0] = pair[1];
	for (size_t i = 0; i < fd_count; i++)
		all[1 + i] = fds[i];
	r = cf_helper_spawn(LAYER_HELPER_PROGRAM, helper, args, all, fd_count + 1, &limits, &c->pid,
	                    err);
	cf_close(&pair[1]);
	if (r < 0)
		cf_close(&pair[0]);
	c->control = pair[0];
	return r < 0 ? cf_wrap(err, r, "%s", c->what) : 0;
}

void layer_child_reap(struct layer_child *c, int *ret_status)
{
	int status = 0;

	if (c->pid) {
		kill(c->pid, SIGKILL); /* one that already died keeps its own status */
		while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
			continue;
	}
	c->pid = 0;
	cf_close(&c->control);
	if (ret_status)
		*ret_status = status;
}

int layer_child_post(const struct layer_child *c, enum layer_msg_kind kind, uint32_t size,
                     struct cf_view payload, struct cf_err *err)
{
	struct cf_err why;
	int r = layer_msg_post(c->control, kind, size, payload, &why);

	if (r < 0 && (why.sys == EPIPE || why.sys == ECONNRESET))
		return 0;
	if (r < 0)
		*err = why;
	return r;
}

int layer_child_gone(struct layer_child *c, struct cf_err *err)
{
	int status;

	layer_child_reap(c, &status);
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
		return cf_fail(err, CF_PERMISSION_DENIED,
		               "%s: it tried what its sandbox forbids, and was killed", c->what);
	if (WIFSIGNALED(status))
		return cf_fail(err, CF_INTERNAL, "%s: it was killed by signal %d", c->what,
		               WTERMSIG(status));
	return cf_fail(err, CF_INTERNAL, "%s: it ended with status %d", c->what,
	               WEXITSTATUS(status));
}

int layer_child_failed(const struct layer_child *c, const struct layer_msg *m, size_t payload,
                       struct cf_err *err)
{
	enum cf_code code = CF_INTERNAL;

	if (m->size == CF_INVALID_ARGUMENT || m->size == CF_RESOURCE_EXHAUSTED)
		code = (enum cf_code)m->size;
	return cf_fail(err, code, "%s: %.*s", c->what, (int)payload, (const char *)m->payload);
}

int layer_child_nonsense(const struct layer_child *c, struct cf_err *err)
{
	return cf_fail(err, CF_INTERNAL, "%s: it spoke nonsense", c->what);
}
