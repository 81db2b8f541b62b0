/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * For tests of coffer-snapshotter: the real daemon in a directory of its own, asked over its socket
 * as containerd asks it.
 */
#include "base/fd.h"
#include "base/proc.h"
#include "base/str.h"
#include "proto/containerd_snapshots.pb-c.h"
#include "proto/rpc_grpc.h"
#include "snapshotter/snap_labels.h"
#include "tests/harness/test.h"

#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define T(x)    Containerd__Services__Snapshots__V1__##x
#define D(x)    &containerd__services__snapshots__v1__##x##__descriptor
#define INIT(x) containerd__services__snapshots__v1__##x##__init
#define SERVICE "containerd.services.snapshots.v1.Snapshots"
#define CHAIN_A "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define CHAIN_B "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

struct world {
	char *dir, *root, *sock;
	const char *driver;
	const char *containerd; /* its socket; NULL: none there */
	pid_t pid;
	struct rpc_grpc_client *c;
};

static inline char *text(const char *s)
{
	return (char *)(uintptr_t)s;
}

static inline void daemon_start(struct world *w)
{
	cf_cleanup(cf_freep) char *bin = cf_test_bin("coffer-snapshotter");
	char *argv[] = { bin,
		         text("--state-dir"),
		         w->root,
		         text("--listen"),
		         w->sock,
		         text("--fs-driver"),
		         text(w->driver),
		         text("--log-level"),
		         text("error"),
		         text("--containerd"),
		         text(w->containerd ? w->containerd : ""),
		         NULL };

	w->pid = fork(); /* before this process has a client of its own */
	if (w->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nothing behind */
		execv(bin, argv);
		_exit(127);
	}
	/* The socket's file is there a moment before anybody listens on it. */
	struct cf_err err;
	int fd;

	for (int i = 0; (fd = cf_connect_unix(w->sock, &err)) < 0; i++) {
		int status = 0;

		if (i >= 2000 || waitpid(w->pid, &status, WNOHANG) == w->pid)
			fail_msg("the daemon does not listen: %s, %x", err.msg, status);
		poll(NULL, 0, 5);
	}
	close(fd);
}

static inline int daemon_end(struct world *w, int signo)
{
	int status = 0;

	EXPECT(kill(w->pid, signo) == 0 && waitpid(w->pid, &status, 0) == w->pid);
	w->pid = 0;
	return status;
}

static inline void client_start(struct world *w)
{
	struct cf_err err;

	EXPECT_OK(rpc_grpc_client_new(w->sock, &w->c, &err), &err);
}

static inline struct world *world_new_with(const char *driver, const char *containerd)
{
	struct world *w = cf_zalloc(sizeof(*w));
	static int count;

	cf_test_library_keeps_fds(2);
	w->dir = cf_test_tmpdir();
	w->root = cf_asprintf("%s/root%d", w->dir, count++);
	w->sock = cf_asprintf("%s/sock", w->dir);
	w->driver = driver;
	w->containerd = containerd;
	daemon_start(w);
	client_start(w);
	return w;
}

static inline struct world *world_new(const char *driver)
{
	return world_new_with(driver, NULL);
}

/* Mounts outlive the daemon, for the containers that stand on them. */
static inline void world_unmount(const struct world *w)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/mounts", w->root);
	DIR *dir = opendir(path);

	for (struct dirent *e; dir && (e = readdir(dir));) {
		cf_cleanup(cf_freep) char *one = cf_asprintf("%s/%s", path, e->d_name);

		if (e->d_name[0] != '.')
			(void)!umount2(one, MNT_DETACH);
	}
	if (dir)
		closedir(dir);
}

static inline void world_free(struct world *w)
{
	rpc_grpc_client_free(w->c);
	if (w->pid) {
		int status = daemon_end(w, SIGTERM);

		EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
		EXPECT(access(w->sock, F_OK) < 0);
	}
	world_unmount(w);
	free(w->dir);
	free(w->root);
	free(w->sock);
	free(w);
}

/* ---- calls ---- */

static inline int call(struct world *w, const char *method, const ProtobufCMessage *msg,
                       const ProtobufCMessageDescriptor *out, void *ret, struct cf_err *err)
{
	struct rpc_grpc_req req = {
		.service = SERVICE, .method = method, .msg = msg, .out = out, .timeout_ms = 30000
	};

	return rpc_grpc_call(w->c, &req, ret, err);
}

/* Prepare; @labels key, value, …, NULL. *ret may be NULL. */
static inline int prepare(struct world *w, const char *key, const char *parent,
                          const char *const *labels, T(PrepareSnapshotResponse) * *ret,
                          struct cf_err *err)
{
	T(PrepareSnapshotRequest) req;
	T(PrepareSnapshotRequest__LabelsEntry) entries[16], *list[16];
	T(PrepareSnapshotResponse) *res = NULL;

	INIT(prepare_snapshot_request)(&req);
	req.snapshotter = text("coffer");
	req.key = text(key);
	req.parent = text(parent);
	for (; labels && labels[0]; labels += 2) {
		T(PrepareSnapshotRequest__LabelsEntry) *e = &entries[req.n_labels];

		INIT(prepare_snapshot_request__labels_entry)(e);
		e->key = text(labels[0]);
		e->value = text(labels[1]);
		list[req.n_labels++] = e;
	}
	req.labels = list;
	int r = call(w, "Prepare", &req.base, D(prepare_snapshot_response), &res, err);

	if (r == 0 && ret)
		*ret = res;
	else if (res)
		containerd__services__snapshots__v1__prepare_snapshot_response__free_unpacked(res,
		                                                                              NULL);
	return r;
}

static inline int view(struct world *w, const char *key, const char *parent, struct cf_err *err)
{
	T(ViewSnapshotRequest) req;

	INIT(view_snapshot_request)(&req);
	req.key = text(key);
	req.parent = text(parent);
	return call(w, "View", &req.base, D(view_snapshot_response), NULL, err);
}

static inline int commit(struct world *w, const char *name, const char *key, struct cf_err *err)
{
	T(CommitSnapshotRequest) req;

	INIT(commit_snapshot_request)(&req);
	req.name = text(name);
	req.key = text(key);
	return call(w, "Commit", &req.base, &google__protobuf__empty__descriptor, NULL, err);
}

static inline int drop(struct world *w, const char *key, struct cf_err *err)
{
	T(RemoveSnapshotRequest) req;

	INIT(remove_snapshot_request)(&req);
	req.key = text(key);
	return call(w, "Remove", &req.base, &google__protobuf__empty__descriptor, NULL, err);
}

static inline int stat_key(struct world *w, const char *key, T(StatSnapshotResponse) * *ret,
                           struct cf_err *err)
{
	T(StatSnapshotRequest) req;

	INIT(stat_snapshot_request)(&req);
	req.key = text(key);
	return call(w, "Stat", &req.base, D(stat_snapshot_response), ret, err);
}

static inline int kind_of(struct world *w, const char *key)
{
	T(StatSnapshotResponse) *res = NULL;
	struct cf_err err;

	if (stat_key(w, key, &res, &err) < 0)
		return err.code == CF_NOT_FOUND ? 0 : -1;
	int kind = (int)res->info->kind;

	containerd__services__snapshots__v1__stat_snapshot_response__free_unpacked(res, NULL);
	return kind;
}

/* The mount options joined by spaces, "TYPE SOURCE OPTION OPTION …"; the caller frees. */
static inline char *mounts(struct world *w, const char *key, struct cf_err *err)
{
	T(MountsRequest) req;
	T(MountsResponse) *res = NULL;
	struct cf_buf b = { 0 };

	INIT(mounts_request)(&req);
	req.key = text(key);
	if (call(w, "Mounts", &req.base, D(mounts_response), &res, err) < 0)
		return NULL;
	EXPECT(res->n_mounts == 1);
	cf_buf_printf(&b, "%s %s", res->mounts[0]->type, res->mounts[0]->source);
	for (size_t i = 0; i < res->mounts[0]->n_options; i++)
		cf_buf_printf(&b, " %s", res->mounts[0]->options[i]);
	containerd__services__snapshots__v1__mounts_response__free_unpacked(res, NULL);
	return cf_buf_take_str(&b);
}

struct walk {
	struct world *w;
	size_t infos, pages;
	char last[256];
};

static inline bool walk_page(void *user, const ProtobufCMessage *msg)
{
	const T(ListSnapshotsResponse) *res = (const T(ListSnapshotsResponse) *)msg;
	struct walk *x = user;

	EXPECT(res->n_info > 0 && res->n_info <= 100);
	x->pages++;
	x->infos += res->n_info;
	snprintf(x->last, sizeof(x->last), "%s", res->info[0]->name);
	/* containerd's suite asks Stat while it walks. */
	EXPECT(kind_of(x->w, res->info[0]->name) == (int)res->info[0]->kind);
	return true;
}

static inline int list(struct world *w, const char *filter, struct walk *ret, struct cf_err *err)
{
	T(ListSnapshotsRequest) req;
	char *filters[] = { text(filter) };
	struct rpc_grpc_req grpc = { .service = SERVICE,
		                     .method = "List",
		                     .msg = &req.base,
		                     .out = D(list_snapshots_response),
		                     .timeout_ms = 30000 };

	INIT(list_snapshots_request)(&req);
	req.filters = filters;
	req.n_filters = filter ? 1 : 0;
	*ret = (struct walk){ .w = w };
	return rpc_grpc_call_stream(w->c, &grpc, walk_page, ret, err);
}

/* 0 too where nothing is. */
static inline size_t files_below(const char *path)
{
	const char *const argv[] = { "find", path, "-mindepth", "1", "-printf", ".", NULL };
	struct cf_proc_opts opts = {
		.argv = argv, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1
	};
	struct cf_buf dots = { 0 };
	struct cf_err err;

	if (access(path, F_OK) < 0)
		return 0;
	EXPECT_OK(cf_proc_run(&opts, 1u << 20, 30000, &dots, &err), &err);
	size_t n = dots.size;

	cf_buf_fini(&dots);
	return n;
}
