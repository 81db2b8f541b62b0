/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/shim/early_pull.h"

#include "base/crypto.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "proto/pulls.pb-c.h"
#include "vmm-glue/shim/pull_notice.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define NAME_BYTES 8u /* of a digest: sockets' paths have 107 bytes for everything */

struct early_pull {
	struct early_pull_opts opts;
	char *dir, *path;
	int fd;
	struct cf_event *watch, *until;
	struct cf_strv begun; /* "IMAGE MANIFEST" */
	bool is_refused;      /* this guest does not know how */
};

/* ---- the call ---- */

struct fetch {
	struct early_pull *early;
	char *image;
};

static void on_fetched(void *user, int r, ProtobufCMessage *msg, const struct cf_err *err)
{
	struct fetch *f = user;

	if (msg)
		protobuf_c_message_free_unpacked(msg, NULL);
	if (r == 0)
		cf_log_info("fetched early", CF_F_STR("image", f->image));
	else
		cf_log_info("not fetched early", CF_F_STR("image", f->image),
		            CF_F_STR("why", err->msg));
	if (r == -CF_UNIMPLEMENTED) {
		f->early->is_refused = true;
		early_pull_pause(f->early);
	}
	free(f->image);
	free(f);
}

static void fetch(struct early_pull *e, const struct pull_notice *n)
{
	Coffer__PrefetchImageRequest msg = COFFER__PREFETCH_IMAGE_REQUEST__INIT;
	struct ttrpc_client *client = e->opts.client(e->opts.arg);
	struct ttrpc_req call = { .service = "coffer.Pulls",
		                  .method = "PrefetchImage",
		                  .msg = &msg.base,
		                  .out = &coffer__prefetch_image_response__descriptor,
		                  .timeout_ms = e->opts.timeout_ms };
	struct fetch *f;
	struct cf_err err;

	if (!client)
		return;
	msg.image = n->image;
	f = cf_zalloc(sizeof(*f));
	*f = (struct fetch){ .early = e, .image = cf_strdup(n->image) };
	if (ttrpc_start(client, &call, on_fetched, f, &err) == 0)
		return;
	on_fetched(f, -(int)err.code, NULL, &err);
}

/* ---- what is said ---- */

static bool is_begun(const struct early_pull *e, const char *key)
{
	for (size_t i = 0; i < e->begun.count; i++)
		if (cf_streq(e->begun.items[i], key))
			return true;
	return false;
}

/* There is one notice for each layer: the first counts. */
static void hear(struct early_pull *e, struct cf_view text)
{
	cf_cleanup(pull_notice_fini) struct pull_notice n = { .image = NULL };
	cf_cleanup(cf_freep) char *key = NULL;
	struct cf_err err;

	if (pull_notice_parse(text, &n, &err) < 0) {
		cf_log_debug("notice ignored", CF_F_STR("why", err.msg));
		return;
	}
	key = cf_asprintf("%s %s", n.image, n.manifest ?: "");
	if (is_begun(e, key) || e->begun.count == EARLY_PULL_MAX)
		return;
	cf_strv_add(&e->begun, key);
	cf_log_info("fetching early", CF_F_STR("image", n.image));
	fetch(e, &n);
}

static void on_notice(int fd, unsigned what, void *arg)
{
	cf_cleanup(cf_freep) uint8_t *text = cf_zalloc(PULL_NOTICE_MAX + 1);
	struct early_pull *e = arg;

	(void)what;
	for (size_t i = 0; i < EARLY_PULL_BURST && e->fd == fd; i++) {
		ssize_t n = recv(fd, text, PULL_NOTICE_MAX + 1, MSG_DONTWAIT);

		if (n < 0)
			return;
		hear(e, cf_view(text, (size_t)n));
	}
}

/* ---- the socket ---- */

char *early_pull_path(const char *dir, const char *ns, const char *id)
{
	cf_cleanup(cf_freep) char *name = cf_asprintf("%s/%s", ns, id);
	uint8_t digest[32];
	char hex[2 * NAME_BYTES + 1];

	cf_sha256(cf_view_str(name), digest);
	cf_hex_encode(cf_view(digest, NAME_BYTES), hex);
	return dir ? cf_asprintf("%s/%s.sock", dir, hex) : NULL;
}

void early_pull_unlink(const char *path)
{
	struct stat st;

	if (path && lstat(path, &st) == 0 && S_ISSOCK(st.st_mode))
		(void)!unlink(path);
}

static int bind_socket(const struct early_pull *e, struct cf_err *err)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	cf_cleanup(cf_closep) int fd = -1;
	int r = cf_mkdir_p(e->dir, 0700, err);

	if (r < 0)
		return r;
	if (strlen(e->path) >= sizeof(at.sun_path))
		return cf_fail(err, CF_INVALID_ARGUMENT, "too long for a socket: %s", e->path);
	memcpy(at.sun_path, e->path, strlen(e->path));
	early_pull_unlink(e->path);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return cf_fail_errno(err, errno, "socket");
	/* The file takes the socket's mode. */
	if (fchmod(fd, 0600) < 0 || bind(fd, (const struct sockaddr *)&at, sizeof(at)) < 0)
		return cf_fail_errno(err, errno, "bind %s", e->path);
	return cf_take_fd(&fd);
}

static void on_waited(void *arg)
{
	early_pull_pause(arg);
}

void early_pull_listen(struct early_pull *e)
{
	struct cf_err err;

	if (!e || e->is_refused)
		return;
	early_pull_pause(e); /* the new socket is the newest */
	e->fd = bind_socket(e, &err);
	if (e->fd < 0) {
		cf_log_warn("no early pulls", CF_F_STR("error", err.msg));
		return;
	}
	e->watch = cf_loop_fd(e->opts.loop, e->fd, CF_LOOP_READ, on_notice, e);
	e->until = cf_loop_timer(e->opts.loop, EARLY_PULL_WAIT_MS, false, on_waited, e);
}

void early_pull_pause(struct early_pull *e)
{
	if (!e || e->fd < 0)
		return;
	e->watch = cf_event_free(e->watch);
	e->until = cf_event_free(e->until);
	early_pull_unlink(e->path);
	cf_close(&e->fd);
}

/* ---- life ---- */

struct early_pull *early_pull_new(const struct early_pull_opts *opts)
{
	struct early_pull *e = cf_zalloc(sizeof(*e));

	e->opts = *opts;
	e->dir = cf_strdup(opts->dir);
	e->path = early_pull_path(opts->dir, opts->ns, opts->id);
	e->fd = -1;
	return e;
}

struct early_pull *early_pull_free(struct early_pull *e)
{
	if (!e)
		return NULL;
	early_pull_pause(e);
	cf_strv_fini(&e->begun);
	free(e->dir);
	free(e->path);
	free(e);
	return NULL;
}
