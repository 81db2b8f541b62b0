/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Notices when somebody takes a state directory away from under the daemon: wiped, moved, unmounted.
 * What is answered after that would be kept nowhere, and new directories have no place; who starts anew
 * takes layers up again as they are asked for. Loop thread.
 */
#include "base/loop.h"

struct snap_watch;

/*
 * @lost(@root, @what, @user) once for each directory; @what is the entry that went, or "" for the
 * directory itself. Fails as inotify does: -CF_RESOURCE_EXHAUSTED, -CF_NOT_FOUND, ….
 */
cf_must_use int snap_watch_new(struct cf_loop *loop,
                               void (*lost)(const char *root, const char *what, void *user),
                               void *user, struct snap_watch **ret, struct cf_err *err);
/* After its database and directories were opened. @root is borrowed until snap_watch_free(). */
cf_must_use int snap_watch_add(struct snap_watch *w, const char *root, struct cf_err *err);
struct snap_watch *snap_watch_free(struct snap_watch *w); /* NULL is fine; returns NULL */
