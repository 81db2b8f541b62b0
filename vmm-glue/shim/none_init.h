/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The process between the shim and driver none's guest init: "none-init DIR NETNS INITDATA CACHE
 * INIT ARGS…". It enters the pod's network namespace, makes the others, and starts INIT as the first
 * process of the new pid namespace; when it dies, the kernel ends everything in there.
 */
#define NONE_AGENT_SOCKET "agent" /* in the sandbox's directory */

/* The action "none-init"; @argv from DIR on. The exit status of INIT, 128 + signal, or 125. */
int none_init_main(int argc, char **argv);
