/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/shim/logger.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/proc.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* Programs that run: each is reaped when it ends, mostly after its container. */
struct logger {
	struct cf_event *child;
	struct logger *next;
};
static struct logger *running; /* of the loop's thread */

static const char *behind_scheme(const char *address)
{
	const char *rest = cf_after(address, "binary://");

	return rest ? rest : cf_after(address, "binary-v2://");
}

bool logger_is_address(const char *address)
{
	return address && behind_scheme(address);
}

/* ---- the address ---- */

/* A key or value of the query, decoded; NULL when it is malformed or holds a NUL. */
static char *decode(struct cf_view in)
{
	char *out = cf_zalloc(in.size + 1);
	size_t n = 0;

	for (size_t i = 0; i < in.size; i++, n++) {
		uint8_t byte = in.data[i] == '+' ? ' ' : in.data[i];

		if (byte == '%') {
			struct cf_view digits = cf_view(in.data + i + 1, 2);

			if (in.size - i < 3 || cf_hex_decode(digits, &byte, 1, NULL) < 0)
				byte = 0;
			i += 2;
		}
		if (!byte) {
			free(out);
			return NULL;
		}
		out[n] = (char)byte;
	}
	return out;
}

static bool add_decoded(struct cf_strv *argv, struct cf_view text)
{
	char *word = decode(text);

	if (word)
		cf_strv_add_take(argv, word);
	return word;
}

/* "PATH?KEY=VALUE&KEY": PATH and each KEY and VALUE are a word. */
static int read_address(const char *address, struct cf_strv *argv, struct cf_err *err)
{
	const char *path = behind_scheme(address);
	const char *query = strchr(path, '?');
	struct cf_strv pairs = { 0 };
	bool is_good = path[0] == '/';

	is_good = is_good &&
	          add_decoded(argv, cf_view(path, query ? (size_t)(query - path) : strlen(path)));
	if (query && query[1])
		cf_strv_split(&pairs, cf_view_str(query + 1), '&');
	for (size_t i = 0; is_good && i < pairs.count; i++) {
		struct cf_view pair = cf_view_str(pairs.items[i]);
		ssize_t at = cf_view_find(pair, '=');
		size_t key_size = at < 0 ? pair.size : (size_t)at;

		is_good = add_decoded(argv, cf_view(pair.data, key_size)) &&
		          argv->count <= LOGGER_ARGS_MAX;
		if (is_good && at >= 0)
			is_good = add_decoded(
				argv, cf_view(pair.data + at + 1, pair.size - key_size - 1));
	}
	cf_strv_fini(&pairs);
	return is_good ? 0 : cf_fail(err, CF_INVALID_ARGUMENT, "logger \"%s\"", address);
}

/* ---- the program ---- */

static void on_ended(pid_t pid, int status, void *arg)
{
	struct logger *l = arg, **at = &running;

	cf_log_debug("logger ended", CF_F_INT("pid", pid), CF_F_INT("status", status));
	while (*at != l)
		at = &(*at)->next;
	*at = l->next;
	cf_event_free(l->child);
	free(l);
}

static void reap_later(struct cf_loop *loop, pid_t pid)
{
	struct logger *l = cf_zalloc(sizeof(*l));

	l->next = running;
	running = l;
	l->child = cf_loop_child(loop, pid, on_ended, l);
}

static void environment(const char *ns, const char *container_id, struct cf_strv *ret)
{
	for (char **e = environ; *e; e++)
		if (!cf_starts_with(*e, "CONTAINER_ID=") &&
		    !cf_starts_with(*e, "CONTAINER_NAMESPACE="))
			cf_strv_add(ret, *e);
	cf_strv_addf(ret, "CONTAINER_ID=%s", container_id);
	cf_strv_addf(ret, "CONTAINER_NAMESPACE=%s", ns);
}

/* @mine and @theirs: three ends each, -1 at first; what was opened is there also on failure. */
static int open_pipes(int mine[3], int theirs[3], struct cf_err *err)
{
	for (int i = 0; i < 3; i++) {
		int ends[2];
		bool writes = i < 2; /* we write the output, they say that they are ready */

		if (pipe2(ends, O_CLOEXEC) < 0)
			return cf_fail_errno(err, errno, "pipe");
		mine[i] = ends[writes];
		theirs[i] = ends[!writes];
		cf_set_nonblock(mine[i], true);
	}
	return 0;
}

static int run(const struct cf_strv *argv, const struct cf_strv *env, const int fds[3], pid_t *ret,
               struct cf_err *err)
{
	struct cf_proc_opts opts = {
		.argv = (const char *const *)argv->items,
		.env = (const char *const *)env->items,
		.stdin_fd = -1,
		.stdout_fd = -1,
		.stderr_fd = -1,
		.fds = fds,
		.fd_count = 3,
		.new_session = true,
	};

	return cf_proc_spawn(&opts, ret, err);
}

int logger_start(struct cf_loop *loop, const char *address, const char *ns,
                 const char *container_id, struct logger_fds *ret, struct cf_err *err)
{
	struct cf_strv argv = { 0 }, env = { 0 };
	int mine[3] = { -1, -1, -1 }, theirs[3] = { -1, -1, -1 };
	pid_t pid;
	int r = read_address(address, &argv, err);

	environment(ns, container_id, &env);
	if (r == 0)
		r = open_pipes(mine, theirs, err);
	if (r == 0)
		r = run(&argv, &env, theirs, &pid, err);
	if (r == 0) {
		reap_later(loop, pid);
		*ret = (struct logger_fds){ mine[0], mine[1], mine[2] };
	}
	for (int i = 0; i < 3; i++) {
		cf_close(&theirs[i]);
		if (r < 0)
			cf_close(&mine[i]);
	}
	cf_strv_fini(&argv);
	cf_strv_fini(&env);
	return r < 0 ? cf_wrap(err, r, "logger") : 0;
}
