/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Standard streams of one process: between the fifos that containerd made and the agent's
 * ReadStdout, ReadStderr and WriteStdin. One read is outstanding per stream; what was read is
 * written before the next is asked for, so a slow reader holds back the process, not the shim. An
 * output without a path is read and thrown away, since a full pipe would stop the process.
 *
 * Paths are fifos, "file:///path" (appended to), or a logging program (logger.h), which then takes
 * both outputs.
 */
#include "base/loop.h"
#include "proto/ttrpc.h"

#define STDIO_READ_MIN  (32u << 10) /* bytes asked for at first */
#define STDIO_READ_MAX  (1u << 20)  /* … when full reads repeat */
#define STDIO_WRITE_MAX (32u << 10) /* bytes of one WriteStdin */
#define STDIO_DRAIN_MS  500         /* after the process ended: without a byte for so long, stop */

struct stdio;

struct stdio_opts {
	struct cf_loop *loop;
	const char *container_id, *exec_id; /* as the agent knows them */
	const char *ns;                     /* containerd's, for a logger */
	const char *in, *out, *err;         /* paths; NULL or empty: none */
	bool is_terminal;                   /* stdout carries both, err is not used */
	size_t read_max; /* the transport's best message; at most STDIO_READ_MAX */
};

/*
 * Opens the fifos. Return: 0, -CF_UNIMPLEMENTED (another kind of address), -CF_INVALID_ARGUMENT (of
 * a logger), or what open() failed with.
 */
cf_must_use int stdio_open(const struct stdio_opts *opts, struct stdio **ret, struct cf_err *err);
/* The process runs: begin to pump. @client is borrowed until stdio_free(). */
void stdio_start(struct stdio *s, struct ttrpc_client *client);
/* containerd will write no more input: what lies in the fifo is still delivered. */
void stdio_close_input(struct stdio *s);
/*
 * The process has ended: @done(@arg) once both outputs are at their end, or when nothing has moved
 * for STDIO_DRAIN_MS. May be called at once. Input stops.
 */
void stdio_finish(struct stdio *s, void (*done)(void *arg), void *arg);
/* Closes; calls in flight end harmlessly. @done is not called any more. */
struct stdio *stdio_free(struct stdio *s);
