/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/guest/guest_helpers.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/proc.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

#define LISTEN_AT "fd://3"

struct guest_helper {
	struct guest_reaper *reaper;
	struct cf_strv argv;
	char *socket;
	int listener;
	pid_t pid;
	unsigned starts;
};

static int start(struct guest_helper *h, struct cf_err *err);

static void on_end(pid_t pid, int status, void *arg)
{
	struct guest_helper *h = arg;
	struct cf_err err;

	(void)pid;
	h->pid = 0;
	cf_log_error("helper ended", CF_F_STR("program", h->argv.items[0]),
	             CF_F_INT("status", status));
	if (h->starts < GUEST_HELPER_STARTS_MAX && start(h, &err) == 0)
		return;
	cf_close(&h->listener);
	(void)unlink(h->socket);
}

static int start(struct guest_helper *h, struct cf_err *err)
{
	struct cf_proc_opts opts = {
		.argv = (const char *const *)h->argv.items,
		.stdin_fd = -1,
		.stdout_fd = 2,
		.stderr_fd = -1,
		.fds = &h->listener,
		.fd_count = 1,
	};
	int status, r;

	h->starts++;
	r = cf_proc_spawn(&opts, &h->pid, err);
	if (r == 0)
		(void)guest_reaper_watch(h->reaper, h->pid, on_end, h, &status);
	return r;
}

int guest_helper_start(struct guest_reaper *reaper, const struct guest_helper_opts *opts,
                       struct guest_helper **ret, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *dir = cf_strdup(opts->socket);
	struct guest_helper *h;
	char *slash = strrchr(dir, '/');
	int r = 0;

	if (access(opts->program, X_OK) < 0)
		return cf_fail_errno(err, errno, "%s", opts->program);
	if (slash && slash != dir) {
		*slash = '\0';
		r = cf_mkdir_p(dir, 0755, err);
	}
	if (r < 0)
		return r;
	h = cf_zalloc(sizeof(*h));
	h->reaper = reaper;
	h->socket = cf_strdup(opts->socket);
	cf_strv_add(&h->argv, opts->program);
	cf_strv_add(&h->argv, "--listen");
	cf_strv_add(&h->argv, LISTEN_AT);
	for (size_t i = 0; opts->args && opts->args[i]; i++)
		cf_strv_add(&h->argv, opts->args[i]);
	h->listener = cf_listen_unix(opts->socket, err);
	r = h->listener < 0 ? h->listener : start(h, err);
	if (r < 0) {
		guest_helper_free(h);
		return r;
	}
	*ret = h;
	return 0;
}

struct guest_helper *guest_helper_free(struct guest_helper *h)
{
	if (!h)
		return NULL;
	if (h->pid) {
		guest_reaper_forget(h->reaper, h->pid);
		(void)kill(h->pid, SIGTERM);
	}
	if (h->listener >= 0) {
		cf_close(&h->listener);
		(void)unlink(h->socket);
	}
	cf_strv_fini(&h->argv);
	free(h->socket);
	free(h);
	return NULL;
}
