/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Pulls that begin before their container is asked for. While a pod waits for its next container, its
 * shim listens for the snapshotter's early word that containerd pulls an image, and asks the guest to
 * fetch that image. The word may be wrong, and may be meant for another pod: the guest's policy says
 * what may be pulled at all, and the bounds below what a mistake costs.
 *
 * A pod's socket is in the directory exactly while a hint is of use: from when its sandbox is created,
 * and again from when a container has been created, for EARLY_PULL_WAIT_MS, and not while one is being
 * created. So a sender that tells the newest sockets of the directory tells the pods that most likely
 * want the image: containerd pulls one just after it has started the pod, or the container before.
 */
#include "base/loop.h"
#include "proto/ttrpc.h"

#define EARLY_PULL_MAX     8u    /* images fetched early for one pod */
#define EARLY_PULL_WAIT_MS 60000 /* an image is pulled soon after its pod was started, or never */
#define EARLY_PULL_BURST   64u   /* notices read before others have their turn */

struct early_pull;

struct early_pull_opts {
	struct cf_loop *loop;
	const char *dir, *ns, *id;                 /* of listeners; namespace and sandbox */
	int64_t timeout_ms;                        /* of one pull */
	struct ttrpc_client *(*client)(void *arg); /* the guest's agent, or NULL when it is gone */
	void *arg;
};

/* Loop thread, as all of it. Listens when told to. */
struct early_pull *early_pull_new(const struct early_pull_opts *opts);
/* After the agent's client: its calls end in here. NULL is fine; returns NULL. */
struct early_pull *early_pull_free(struct early_pull *e);
/* Both take NULL: early pulls are off. */
void early_pull_listen(struct early_pull *e);
void early_pull_pause(struct early_pull *e);

/* Of the sandbox's socket, whether it is there or not; the caller frees. NULL when @dir is NULL. */
char *early_pull_path(const char *dir, const char *ns, const char *id);
/* Removes the socket of a shim that was killed. @path may be NULL. */
void early_pull_unlink(const char *path);
