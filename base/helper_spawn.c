/* SPDX-License-Identifier: Apache-2.0 */
/* The parent's half of a sandboxed helper. */
#include "base/fd.h"
#include "base/helper.h"
#include "base/proc.h"

#define MEMORY_DEFAULT (512ull << 20)
#define CPU_DEFAULT    600ull

static bool is_own_helper; /* set once, first thing in main() */

void cf_helper_set_own(void)
{
	is_own_helper = true;
}

int cf_helper_spawn(const char *program, const char *name, const char *const *args, const int *fds,
                    size_t fd_count, const struct cf_helper_limits *limits, pid_t *ret,
                    struct cf_err *err)
{
	static const char *const no_env[] = { "LC_ALL=C", NULL };
	uint64_t memory_max = limits && limits->memory_max ? limits->memory_max : MEMORY_DEFAULT;
	uint64_t cpu_s_max = limits && limits->cpu_s_max ? limits->cpu_s_max : CPU_DEFAULT;
	struct cf_strv argv = { 0 };
	char *path = NULL;
	int r = 0;

	if (program && !is_own_helper)
		r = cf_proc_beside(program, &path, err);
	if (r < 0)
		return r;
	cf_strv_add_take(&argv, path ? path : cf_strdup("/proc/self/exe"));
	cf_strv_add(&argv, CF_HELPER_FLAG);
	cf_strv_add(&argv, name);
	cf_strv_addf(&argv, "%llu", (unsigned long long)memory_max);
	cf_strv_addf(&argv, "%llu", (unsigned long long)cpu_s_max);
	for (; args && *args; args++)
		cf_strv_add(&argv, *args);
	r = cf_proc_spawn(
		&(struct cf_proc_opts){
			.argv = (const char *const *)argv.items,
#ifdef CF_SANITIZED
			.env = NULL,
#else
			.env = no_env,
#endif
			.cwd = "/",
			.stdin_fd = -1,
			.stdout_fd = -1,
			.stderr_fd = -1,
			.fds = fds,
			.fd_count = fd_count,
			.die_with_parent = true,
			.new_session = true,
		},
		ret, err);
	(void)no_env;
	cf_strv_fini(&argv);
	return r;
}
