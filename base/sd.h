/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What a daemon says to its service manager, and the sockets it is given: systemd's protocol
 * (sd_notify(3), sd_listen_fds(3)) without its library. Everywhere else these do nothing.
 */
#include "base/err.h"
#include "base/str.h"

/* "READY=1", "STOPPING=1", "STATUS=…"; lines joined by \n. Without NOTIFY_SOCKET, or on error: nothing. */
void cf_sd_notify(const char *state);

#define CF_SD_FIRST_FD 3

/*
 * How many listening sockets were passed, from CF_SD_FIRST_FD on; 0 when none were meant for this
 * process. Sets close-on-exec on them and forgets the environment, so call it once.
 */
int cf_sd_listen_fds(void);
/* The same; @names gets one entry for each socket, as the units name them ("" where none was given). */
int cf_sd_listen_named(struct cf_strv *names);
