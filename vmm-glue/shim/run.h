/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * "run": one pod with one container, without containerd; what "coffer pod run" executes. The very
 * daemon serves it, on a socket in a directory of its own, and this process is its only caller: what
 * it prints on standard output and error is the container's.
 */

/* The action "run"; @argv behind the word. The container's exit status, or a code of its own when
 * it never ran: 1 failed, 2 usage, 3 not found, 4 refused, 5 no answer, 130 interrupted. */
int run_main(int argc, char **argv);
