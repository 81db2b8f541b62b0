/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The differ that writes nothing, asked as containerd asks it, with a content store that says what
 * an image is made of: a process of its own, because gRPC does not survive a fork.
 */
#include "base/crypto.h"
#include "base/loop.h"
#include "proto/containerd_content.pb-c.h"
#include "proto/containerd_diff.pb-c.h"
#include "tests/harness/snap_daemon.h"
#include "tests/harness/tar_make.h"

#include <sys/stat.h>

#define A(x)  Containerd__Services__Diff__V1__##x
#define AD(x) &containerd__services__diff__v1__##x##__descriptor
#define C(x)  Containerd__Services__Content__V1__##x
#define CD(x) &containerd__services__content__v1__##x##__descriptor
#define DIFF  "containerd.services.diff.v1.Diff"
#define HEX(c)                                                                                     \
	c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c  \
		c c c c c c c c c c c c c c c c c c c
#define ID_A   "sha256:" HEX("a")
#define ID_B   "sha256:" HEX("b")
#define ID_C   "sha256:" HEX("c")
#define BLOB_0 "sha256:" HEX("0")
#define BLOB_1 "sha256:" HEX("1")
#define BLOB_2 "sha256:" HEX("2")
#define CONFIG "sha256:" HEX("e")
#define PASSWD "root:x:0:0::/:/bin/sh\n"
#define BROKEN "sha256:" HEX("f")

static const char config[] = "{\"os\":\"linux\",\"architecture\":\"amd64\",\"config\":{},"
			     "\"rootfs\":{\"type\":\"layers\","
			     "\"diff_ids\":[\"" ID_A "\",\"" ID_B "\"]}}";

/* ---- the content store ---- */

static char *updates_path; /* where it notes what it was told to label */

static void on_list(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	static const char *const labels[][6] = {
		{ "containerd.io/gc.ref.content.config", BROKEN, "containerd.io/gc.ref.content.l.0",
		  BLOB_0, "containerd.io/gc.ref.content.l.1", BLOB_1 },
		{ "containerd.io/gc.ref.content.config", CONFIG, "containerd.io/gc.ref.content.l.0",
		  BLOB_0, "containerd.io/gc.ref.content.l.1", BLOB_1 },
	};
	C(ListContentResponse) res = CONTAINERD__SERVICES__CONTENT__V1__LIST_CONTENT_RESPONSE__INIT;
	C(Info) infos[2], *list_of[] = { &infos[0], &infos[1] };
	C(Info__LabelsEntry) entries[2][3], *lists[2][3];
	struct cf_err err;

	(void)user;
	EXPECT_STR(call->ns, "k8s.io");
	EXPECT_STR(((const C(ListContentRequest) *)msg)->filters[0],
	           "labels.\"containerd.io/gc.ref.content.config\"");
	for (size_t i = 0; i < 2; i++) {
		containerd__services__content__v1__info__init(&infos[i]);
		for (size_t k = 0; k < 3; k++) {
			containerd__services__content__v1__info__labels_entry__init(&entries[i][k]);
			entries[i][k].key = text(labels[i][2 * k]);
			entries[i][k].value = text(labels[i][2 * k + 1]);
			lists[i][k] = &entries[i][k];
		}
		infos[i].n_labels = 3;
		infos[i].labels = lists[i];
	}
	res.n_info = 2;
	res.info = list_of;
	EXPECT_OK(rpc_send(call, &res, &err), &err);
	rpc_reply(call, NULL);
}

/* A layer with users. */
static struct cf_view layer_blob(struct cf_buf *tar)
{
	tar_add_file(tar, "etc/passwd", PASSWD);
	tar_end(tar);
	return cf_buf_view(tar);
}

static void on_read(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	C(ReadContentResponse) res = CONTAINERD__SERVICES__CONTENT__V1__READ_CONTENT_RESPONSE__INIT;
	const char *digest = ((const C(ReadContentRequest) *)msg)->digest;
	cf_cleanup(cf_buf_fini) struct cf_buf tar = { 0 };
	struct cf_view said = cf_streq(digest, CONFIG)   ? cf_view_str(config)
	                      : cf_streq(digest, BLOB_0) ? layer_blob(&tar)
	                                                 : cf_view_str("{ no configuration");
	struct cf_err err;

	(void)user;
	/* In two pieces, as a large one comes. */
	for (size_t at = 0; at < said.size; at += said.size / 2 + 1) {
		struct cf_view piece = cf_view_sub(said, at, said.size / 2 + 1);

		res.offset = (int64_t)at;
		res.data.data = (uint8_t *)(uintptr_t)piece.data;
		res.data.len = piece.size;
		EXPECT_OK(rpc_send(call, &res, &err), &err);
	}
	rpc_reply(call, NULL);
}

static void on_update(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	const C(UpdateRequest) *req = (const C(UpdateRequest) *)msg;
	C(UpdateResponse) res = CONTAINERD__SERVICES__CONTENT__V1__UPDATE_RESPONSE__INIT;
	cf_cleanup(cf_freep) char *said =
		cf_asprintf("%s %s %s=%s", req->info->digest, req->update_mask->paths[0],
	                    req->info->labels[0]->key, req->info->labels[0]->value);
	struct cf_err err;

	(void)user;
	EXPECT_OK(cf_write_file_atomic(updates_path, cf_view_str(said), 0600, &err), &err);
	rpc_reply(call, &res);
}

static const struct rpc_method content_methods[] = {
	{ "List", CD(list_content_request), CD(list_content_response), on_list, RPC_STREAM },
	{ "Read", CD(read_content_request), CD(read_content_response), on_read, RPC_STREAM },
	{ "Update", CD(update_request), CD(update_response), on_update, 0 },
};

static void serve_content(const char *sock)
{
	const struct rpc_service service = { "containerd.services.content.v1.Content",
		                             content_methods, CF_ARRAY_LEN(content_methods), NULL };
	const struct rpc_service *services[] = { &service };
	struct rpc_grpc_server_opts opts = { .threads = 2,
		                             .services = services,
		                             .service_count = 1 };
	struct rpc_grpc_server *srv;
	struct cf_loop *loop;
	struct cf_err err;

	if (cf_loop_new(&loop, &err) < 0)
		_exit(1);
	opts.loop = loop;
	if (rpc_grpc_server_new(&opts, &srv, &err) < 0 ||
	    rpc_grpc_server_listen(srv, sock, &err) < 0)
		_exit(1);
	cf_loop_run(loop);
	_exit(0);
}

/* ---- the world ---- */

struct diff_world {
	struct world *w;
	char *content;
	pid_t pid;
};

static struct diff_world diff_world_new(bool has_content)
{
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	struct diff_world d = { .content = cf_asprintf("%s/content.sock", dir) };
	struct cf_err err;
	int fd;

	updates_path = cf_asprintf("%s/updates", dir);
	if (has_content) {
		d.pid = fork();
		if (d.pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			serve_content(d.content);
		}
		while ((fd = cf_connect_unix(d.content, &err)) < 0)
			poll(NULL, 0, 5);
		close(fd);
	}
	d.w = world_new_with("proxy", d.content);
	return d;
}

static void diff_world_free(struct diff_world *d)
{
	world_free(d->w);
	if (d->pid)
		EXPECT(kill(d->pid, SIGKILL) == 0 && waitpid(d->pid, NULL, 0) == d->pid);
	free(d->content);
	free(updates_path);
}

static char *chain_of(const char *parent, const char *diff_id)
{
	cf_cleanup(cf_freep) char *both = cf_asprintf("%s %s", parent, diff_id);
	uint8_t digest[32];
	char hex[65];

	cf_sha256(cf_view_str(both), digest);
	cf_hex_encode(cf_view(digest, 32), hex);
	return cf_asprintf("sha256:%s", hex);
}

/* Prepares as an unpacking without labels does; the mount's source, which the caller frees. */
static char *extract(struct world *w, const char *key, const char *parent,
                     const char *const *labels)
{
	T(PrepareSnapshotResponse) *res = NULL;
	struct cf_err err;

	EXPECT_OK(prepare(w, key, parent, labels, &res, &err), &err);
	EXPECT(res->n_mounts == 1);
	EXPECT_STR(res->mounts[0]->type, "bind");
	char *source = cf_strdup(res->mounts[0]->source);

	containerd__services__snapshots__v1__prepare_snapshot_response__free_unpacked(res, NULL);
	return source;
}

/* Apply of @blob; *ret_digest is the caller's. @ns NULL: none is said. */
static int apply_to(struct world *w, const char *ns, const char *type, const char *source,
                    size_t mount_count, const char *blob, char **ret_digest, struct cf_err *err)
{
	const char *const meta[] = { "containerd-namespace", ns, NULL };
	A(ApplyRequest) req = CONTAINERD__SERVICES__DIFF__V1__APPLY_REQUEST__INIT;
	A(ApplyResponse) *res = NULL;
	Containerd__Types__Descriptor diff = CONTAINERD__TYPES__DESCRIPTOR__INIT;
	Containerd__Types__Mount m = CONTAINERD__TYPES__MOUNT__INIT, *list_of[] = { &m, &m };
	struct rpc_grpc_req grpc = { .service = DIFF,
		                     .method = "Apply",
		                     .msg = &req.base,
		                     .out = AD(apply_response),
		                     .timeout_ms = 30000,
		                     .meta = ns ? meta : NULL };

	diff.media_type = text("application/vnd.oci.image.layer.v1.tar+gzip");
	diff.digest = text(blob);
	diff.size = 4711;
	m.type = text(type);
	m.source = text(source);
	req.diff = &diff;
	req.n_mounts = mount_count;
	req.mounts = list_of;
	int r = rpc_grpc_call(w->c, &grpc, (void *)&res, err);

	if (r < 0)
		return r;
	EXPECT_STR(res->applied->media_type, "application/vnd.oci.image.layer.v1.tar");
	EXPECT_INT(res->applied->size, 4711);
	*ret_digest = cf_strdup(res->applied->digest);
	containerd__services__diff__v1__apply_response__free_unpacked(res, NULL);
	return 0;
}

static int apply(struct world *w, const char *source, const char *blob, char **ret,
                 struct cf_err *err)
{
	return apply_to(w, "k8s.io", "bind", source, 1, blob, ret, err);
}

/* ---- tests ---- */

CF_TEST(differ_proves_an_image_layer_by_layer_and_writes_nothing)
{
	struct diff_world d = diff_world_new(true);
	cf_cleanup(cf_freep) char *chain_b = chain_of(ID_A, ID_B);
	cf_cleanup(cf_freep) char *key_b = cf_asprintf("k8s.io/3/extract-22 %s", chain_b);
	cf_cleanup(cf_freep) char *name_b = cf_asprintf("k8s.io/4/%s", chain_b);
	cf_cleanup(cf_freep) char *dirs = cf_asprintf("%s/snapshots", d.w->root);
	cf_cleanup(cf_freep) char *a = NULL, *b = NULL, *source_a = NULL, *source_b = NULL;
	struct cf_err err;

	source_a = extract(d.w, "k8s.io/1/extract-11 " ID_A, "", NULL);
	EXPECT_OK(apply(d.w, source_a, BLOB_0, &a, &err), &err);
	EXPECT_STR(a, ID_A);
	EXPECT_INT(files_below(source_a), 0);
	struct cf_buf told = cf_test_read(updates_path);

	EXPECT_STR((const char *)told.data,
	           CONFIG " labels.containerd.io/gc.ref.snapshot.coffer/coffer "
	                  "containerd.io/gc.ref.snapshot.coffer/coffer=" ID_A);
	cf_buf_fini(&told);
	EXPECT_OK(commit(d.w, "k8s.io/2/" ID_A, "k8s.io/1/extract-11 " ID_A, &err), &err);
	source_b = extract(d.w, key_b, "k8s.io/2/" ID_A, NULL);
	/* containerd 1.7 tells its differs no namespace: the key does. */
	EXPECT_OK(apply_to(d.w, NULL, "bind", source_b, 1, BLOB_1, &b, &err), &err);
	EXPECT_STR(b, ID_B);
	EXPECT_OK(commit(d.w, name_b, key_b, &err), &err);
	EXPECT_INT(files_below(dirs), 0);
	EXPECT_OK(prepare(d.w, "k8s.io/5/container", name_b, NULL, NULL, &err), &err);
	cf_cleanup(cf_freep) char *m = mounts(d.w, "k8s.io/5/container", &err);

	EXPECT(strstr(m, "io.katacontainers.volume="));
	/* Its users were found in the blob of the lower layer; that the upper one is none does not matter. */
	EXPECT(strstr(m, "/identity:"));
	cf_cleanup(cf_freep) char *passwd =
		cf_asprintf("%s/snapshots/3/identity/etc/passwd", d.w->root);
	struct cf_buf shown = cf_test_read(passwd);

	EXPECT_STR((const char *)shown.data, PASSWD);
	cf_buf_fini(&shown);
	diff_world_free(&d);
}

CF_TEST(differ_takes_a_label_that_is_proven)
{
	static const char *const right[] = { SNAP_LABEL_DIFF_ID, ID_B, NULL };
	static const char *const wrong[] = { SNAP_LABEL_DIFF_ID, ID_C, NULL };
	struct diff_world d = diff_world_new(false);
	cf_cleanup(cf_freep) char *chain_b = chain_of(ID_A, ID_B);
	cf_cleanup(cf_freep) char *key1 = cf_asprintf("k8s.io/3/extract-1 %s", chain_b);
	cf_cleanup(cf_freep) char *key2 = cf_asprintf("k8s.io/3/extract-2 %s", chain_b);
	cf_cleanup(cf_freep) char *a = NULL, *b = NULL, *sa = NULL, *s1 = NULL, *s2 = NULL;
	struct cf_err err;

	sa = extract(d.w, "k8s.io/1/extract-0 " ID_A, "", NULL);
	EXPECT_OK(apply(d.w, sa, BLOB_0, &a, &err), &err); /* nobody to ask: the chainID says it */
	EXPECT_OK(commit(d.w, ID_A, "k8s.io/1/extract-0 " ID_A, &err), &err);
	s1 = extract(d.w, key1, ID_A, right);
	EXPECT_OK(apply(d.w, s1, BLOB_1, &b, &err), &err);
	EXPECT_STR(b, ID_B);
	s2 = extract(d.w, key2, ID_A, wrong);
	EXPECT_FAILS(apply(d.w, s2, BLOB_1, &b, &err), CF_UNIMPLEMENTED);
	diff_world_free(&d);
}

/* UNIMPLEMENTED is what makes containerd go on to the next differ; any other code fails the pull. */
CF_TEST(differ_leaves_everything_else_to_others)
{
	struct diff_world d = diff_world_new(true);
	cf_cleanup(cf_freep) char *other = chain_of(ID_A, ID_C);
	cf_cleanup(cf_freep) char *key = cf_asprintf("k8s.io/3/extract-1 %s", other);
	cf_cleanup(cf_freep) char *sa = NULL, *s1 = NULL, *said = NULL;
	cf_cleanup(cf_freep) char *above = NULL, *below = NULL, *plain = NULL;
	A(ApplyRequest) empty = CONTAINERD__SERVICES__DIFF__V1__APPLY_REQUEST__INIT;
	struct rpc_grpc_req grpc = {
		.service = DIFF, .method = "Apply", .msg = &empty.base, .timeout_ms = 30000
	};
	struct cf_err err;

	sa = extract(d.w, "k8s.io/1/extract-0 " ID_A, "", NULL);
	above = cf_asprintf("%s/..", sa);
	below = cf_asprintf("%s/x", sa);
	plain = cf_asprintf("%s/snapshots/2/fs", d.w->root);
	EXPECT_FAILS(apply_to(d.w, "k8s.io", "overlay", sa, 1, BLOB_0, &said, &err),
	             CF_UNIMPLEMENTED);
	EXPECT_FAILS(apply_to(d.w, "k8s.io", "bind", sa, 2, BLOB_0, &said, &err), CF_UNIMPLEMENTED);
	EXPECT_FAILS(apply_to(d.w, "k8s.io", "bind", sa, 0, BLOB_0, &said, &err), CF_UNIMPLEMENTED);
	EXPECT_FAILS(apply(d.w, above, BLOB_0, &said, &err), CF_UNIMPLEMENTED);
	EXPECT_FAILS(apply(d.w, below, BLOB_0, &said, &err), CF_UNIMPLEMENTED);
	EXPECT_FAILS(apply(d.w, "/somewhere/snapshots/1/fs", BLOB_0, &said, &err),
	             CF_UNIMPLEMENTED);
	EXPECT_FAILS(apply(d.w, "", BLOB_0, &said, &err), CF_UNIMPLEMENTED);
	/* A container's own directory, and one that does not exist. */
	EXPECT_OK(prepare(d.w, "k8s.io/2/container", "", NULL, NULL, &err), &err);
	EXPECT_FAILS(apply(d.w, plain, BLOB_0, &said, &err), CF_UNIMPLEMENTED);
	EXPECT_OK(commit(d.w, ID_A, "k8s.io/1/extract-0 " ID_A, &err), &err);
	EXPECT_FAILS(apply(d.w, sa, BLOB_0, &said, &err), CF_UNIMPLEMENTED);
	/* No image says what it is made of; the layer is in none. */
	s1 = extract(d.w, key, ID_A, NULL);
	EXPECT_FAILS(apply(d.w, s1, BLOB_1, &said, &err), CF_UNIMPLEMENTED);
	EXPECT_FAILS(apply(d.w, s1, BLOB_2, &said, &err), CF_UNIMPLEMENTED);
	grpc.out = AD(apply_response);
	EXPECT_FAILS(rpc_grpc_call(d.w->c, &grpc, NULL, &err), CF_UNIMPLEMENTED);
	grpc.method = "Diff";
	EXPECT_FAILS(rpc_grpc_call(d.w->c, &grpc, NULL, &err), CF_UNIMPLEMENTED);
	diff_world_free(&d);
}

CF_TEST(differ_goes_on_when_containerd_is_gone)
{
	struct diff_world d = diff_world_new(true);
	cf_cleanup(cf_freep) char *chain_b = chain_of(ID_A, ID_B);
	cf_cleanup(cf_freep) char *key = cf_asprintf("k8s.io/3/extract-1 %s", chain_b);
	cf_cleanup(cf_freep) char *a = NULL, *b = NULL, *sa = NULL, *s1 = NULL;
	struct cf_err err;

	EXPECT(kill(d.pid, SIGKILL) == 0 && waitpid(d.pid, NULL, 0) == d.pid);
	d.pid = 0;
	sa = extract(d.w, "k8s.io/1/extract-0 " ID_A, "", NULL);
	EXPECT_OK(apply(d.w, sa, BLOB_0, &a, &err), &err);
	EXPECT_OK(commit(d.w, ID_A, "k8s.io/1/extract-0 " ID_A, &err), &err);
	s1 = extract(d.w, key, ID_A, NULL);
	EXPECT_FAILS(apply(d.w, s1, BLOB_1, &b, &err), CF_UNIMPLEMENTED);
	diff_world_free(&d);
}
