/* SPDX-License-Identifier: Apache-2.0 */
#include "base/sd.h"

#include "base/bytes.h"
#include "base/fd.h"
#include "base/str.h"

#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define FDS_MAX 64

void cf_sd_notify(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	size_t n = path ? strlen(path) : 0;

	if (n < 2 || n >= sizeof(sa.sun_path) || (path[0] != '/' && path[0] != '@'))
		return;
	memcpy(sa.sun_path, path, n);
	if (sa.sun_path[0] == '@')
		sa.sun_path[0] = '\0';
	cf_cleanup(cf_closep) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);

	if (fd >= 0)
		(void)!sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&sa, len);
}

static uint64_t env_number(const char *name, uint64_t max)
{
	const char *text = getenv(name);
	uint64_t v = 0;
	struct cf_err err;

	if (!text || cf_parse_u64(cf_view_str(text), max, &v, &err) < 0)
		return 0;
	return v;
}

/* systemd writes "unknown" where a unit gives no name. */
static void take_names(const char *text, int count, struct cf_strv *ret)
{
	cf_cleanup(cf_strv_fini) struct cf_strv given = { 0 };

	cf_strv_split(&given, cf_view_str(text), ':');
	for (size_t i = 0; i < (size_t)count; i++) {
		const char *name = i < given.count ? given.items[i] : "";

		cf_strv_add(ret, cf_streq(name, "unknown") ? "" : name);
	}
}

int cf_sd_listen_named(struct cf_strv *names)
{
	uint64_t pid = env_number("LISTEN_PID", INT32_MAX);
	int n = (int)env_number("LISTEN_FDS", FDS_MAX);
	cf_cleanup(cf_freep) char *text = cf_strdup(getenv("LISTEN_FDNAMES"));

	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	if (pid != (uint64_t)getpid())
		return 0;
	for (int fd = CF_SD_FIRST_FD; fd < CF_SD_FIRST_FD + n; fd++)
		if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
			return 0;
	if (names)
		take_names(text, n, names);
	return n;
}

int cf_sd_listen_fds(void)
{
	return cf_sd_listen_named(NULL);
}
