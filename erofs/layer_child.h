/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * One sandboxed process, as its parent sees it. Nothing it says is believed: its words are text for
 * people, its death is looked at. Internal to this folder.
 */
#include "erofs/layer_ipc.h"

#include <sys/types.h>

struct layer_child {
	const char *what; /* for messages; static */
	pid_t pid;        /* 0: none */
	int control;      /* -1: none */
};

/* @fds (borrowed) become 4, 5, … there, behind the control socket. */
cf_must_use int layer_child_start(struct layer_child *c, const char *helper,
                                  const char *const *args, const int *fds, size_t fd_count,
                                  uint64_t memory_max, struct cf_err *err);
/* Kills it when it still runs, and waits until it is gone. @ret_status may be NULL. */
void layer_child_reap(struct layer_child *c, int *ret_status);

/* One packet to it; that it is gone is found out by reading, where its last word may be. */
cf_must_use int layer_child_post(const struct layer_child *c, enum layer_msg_kind kind,
                                 uint32_t size, struct cf_view payload, struct cf_err *err);

/*
 * The error that its end without a last word stands for: -CF_PERMISSION_DENIED when it tried what
 * the sandbox forbids, -CF_INTERNAL otherwise.
 */
int layer_child_gone(struct layer_child *c, struct cf_err *err);
/* The error that a LAYER_MSG_FAILED stands for: malformed, a limit, or ours. */
int layer_child_failed(const struct layer_child *c, const struct layer_msg *m, size_t payload,
                       struct cf_err *err);
int layer_child_nonsense(const struct layer_child *c, struct cf_err *err);
