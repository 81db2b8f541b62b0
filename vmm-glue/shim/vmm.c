/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/shim/vmm.h"

#include "base/fd.h"
#include "base/proc.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct vmm_ops *const drivers[] = { &vmm_qemu_ops, &vmm_none_ops };

const struct vmm_ops *vmm_find(const char *name)
{
	for (size_t i = 0; i < CF_ARRAY_LEN(drivers); i++)
		if (cf_streq(drivers[i]->name, name))
			return drivers[i];
	return NULL;
}

char *vmm_self(void)
{
	char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);

	return n > 0 ? cf_strndup(path, (size_t)n) : cf_strdup("/proc/self/exe");
}

int vmm_start(const struct vmm_spec *spec, struct vmm **ret, struct cf_err *err)
{
	struct vmm *v = cf_zalloc(sizeof(*v));
	int r;

	v->ops = vmm_find(spec->config->driver);
	v->dir = cf_strdup(spec->dir);
	v->log = cf_asprintf("%s/vmm.log", spec->dir);
	v->message_max = 32u << 10;
	if (!v->ops)
		r = cf_fail(err, CF_INVALID_ARGUMENT, "driver \"%s\"", spec->config->driver);
	else
		r = v->ops->start(spec, v, err);
	if (r < 0) {
		r = vmm_explain(v, r, err);
		if (v->pid > 0) {
			int status;
			struct cf_err ignored;

			kill(v->pid, SIGKILL);
			(void)!cf_proc_wait(v->pid, &status, &ignored);
		}
		vmm_free(v);
		return r;
	}
	*ret = v;
	return 0;
}

int vmm_connect(struct vmm *v, int64_t timeout_ms, struct cf_err *err)
{
	int r = v->ops->connect(v, timeout_ms, err);

	return r < 0 ? vmm_explain(v, cf_wrap(err, r, "the guest did not answer"), err) : r;
}

void vmm_stop(struct vmm *v, bool is_forced)
{
	if (v->pid <= 0)
		return;
	if (is_forced)
		kill(v->pid, SIGKILL);
	else
		v->ops->stop(v);
}

struct vmm *vmm_free(struct vmm *v)
{
	if (!v)
		return NULL;
	for (size_t i = 0; i < v->helper_count; i++) {
		struct cf_err ignored;
		int status;

		kill(v->helpers[i], SIGKILL);
		(void)!cf_proc_wait(v->helpers[i], &status, &ignored);
	}
	free(v->dir);
	free(v->log);
	free(v->console);
	free(v->agent);
	free(v);
	return NULL;
}

bool vmm_is_alive(const struct vmm *v)
{
	siginfo_t info = { .si_pid = 0 };

	return v->pid > 0 && waitid(P_PID, (id_t)v->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
	       info.si_pid == 0;
}

/* The end of a log, without its last line ends; 0 when there is none. */
static size_t read_tail(const char *path, char out[VMM_LOG_TAIL])
{
	cf_cleanup(cf_closep) int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	off_t end = fd >= 0 ? lseek(fd, 0, SEEK_END) : 0;
	ssize_t n = 0;

	if (end > 0)
		n = pread(fd, out, VMM_LOG_TAIL, CF_MAX(end - VMM_LOG_TAIL, (off_t)0));
	while (n > 0 && (out[n - 1] == '\n' || out[n - 1] == '\r'))
		n--;
	return n > 0 ? (size_t)n : 0;
}

int vmm_explain(const struct vmm *v, int r, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *why = cf_strdup(err->msg);
	char tail[VMM_LOG_TAIL];
	size_t n = read_tail(v->log, tail);

	if (!n)
		n = read_tail(v->console, tail);
	if (!n)
		return r;
	return cf_fail(err, err->code, "%s; its log ends: %.*s", why, (int)n, tail);
}
