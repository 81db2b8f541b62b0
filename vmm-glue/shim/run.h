/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * "run": one pod with one container, without containerd; what "coffer pod run" executes. The very
 * daemon serves it, on a socket in a directory of its own, and this process is its only caller: what
 * it prints on standard output and error is the container's.
 */

/*
 * The action "run"; @argv behind the word. The container's exit status; when it never ran a code of
 * the coffer command: 1 failed, 2 usage, 4 not found, 7 refused, 8 no answer, 9 bad data, 20 a limit,
 * 21 lacking here, 22 not set up, 130 interrupted.
 */
int run_main(int argc, char **argv);
