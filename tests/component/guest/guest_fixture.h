/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A real coffer-init as an ordinary process, a stand-in for the image service, and a client that
 * speaks the agent protocol. An "image" is a directory with a static busybox; its name chooses the
 * configuration that the stand-in writes beside it.
 */
#include "base/fd.h"
#include "base/loop.h"
#include "base/proc.h"
#include "proto/agent.pb-c.h"
#include "proto/cdh.pb-c.h"
#include "proto/initdata.h"
#include "proto/pulls.pb-c.h"
#include "proto/ttrpc.h"
#include "tests/harness/test.h"

#include "google/protobuf/empty.pb-c.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define FX_BUSYBOX "/bin/busybox"
#define FX_WAIT_MS 20000

struct fx {
	char *dir;
	pid_t pid;
	struct ttrpc_client *client;
	/* the image service's stand-in */
	struct cf_loop *loop;
	struct ttrpc_server *cdh;
	struct rpc_service service, sealed, early;
	const struct rpc_service *services[3];
	pthread_t thread;
	atomic_int pulls, prefetches;
	atomic_bool is_slow; /* keep the next pull until fx_release() */
	struct rpc_call *kept;
	char *kept_bundle;
};

/* ---- image service ---- */

static inline void fx_make_rootfs(const char *bundle)
{
	static const char *const applets[] = {
		"sh",    "cat",      "echo", "sleep", "id",   "env", "true", "kill", "pwd",
		"mount", "hostname", "ls",   "stty",  "head", "yes", "wc",   "ps",   "touch"
	};
	cf_cleanup(cf_freep) char *bin = cf_asprintf("%s/rootfs/bin", bundle);
	cf_cleanup(cf_freep) char *busybox = cf_asprintf("%s/busybox", bin);
	struct cf_buf text = { 0 };
	struct cf_err err;

	EXPECT_OK(cf_mkdir_p(bin, 0755, &err), &err);
	EXPECT_OK(cf_read_file(FX_BUSYBOX, 8u << 20, &text, &err), &err);
	EXPECT_OK(cf_write_file_atomic(busybox, cf_buf_view(&text), 0755, &err), &err);
	cf_buf_fini(&text);
	for (size_t i = 0; i < CF_ARRAY_LEN(applets); i++) {
		cf_cleanup(cf_freep) char *link = cf_asprintf("%s/%s", bin, applets[i]);

		EXPECT(symlink("busybox", link) == 0);
	}
}

/* "test/IMAGE": its command is `sh -c` of what the environment FX_CMD_IMAGE of this test holds. */
static inline void fx_write_config(const char *bundle, bool encrypted)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/config.json", bundle);
	cf_cleanup(cf_freep) char *text = cf_asprintf(
		"{\"process\":{\"args\":[\"/bin/sh\",\"-c\",\"echo hello\"],"
		"\"env\":[\"PATH=/bin\",\"IMAGE=1\"],\"cwd\":\"/\",\"user\":{\"uid\":0,\"gid\":0}},"
		"\"annotations\":{\"io.coffer.image.encrypted\":\"%s\"}}",
		encrypted ? "true" : "false");
	struct cf_err err;

	EXPECT_OK(cf_write_file_atomic(path, cf_view_str(text), 0600, &err), &err);
}

static inline void fx_finish_pull(struct rpc_call *call, const char *bundle, bool encrypted)
{
	Api__ImagePullResponse resp = API__IMAGE_PULL_RESPONSE__INIT;

	fx_make_rootfs(bundle);
	fx_write_config(bundle, encrypted);
	rpc_reply(call, &resp);
}

static inline void fx_pull(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	const Api__ImagePullRequest *req = (const Api__ImagePullRequest *)msg;
	struct fx *f = user;

	atomic_fetch_add(&f->pulls, 1);
	if (strstr(req->image_url, "missing")) {
		rpc_fail(call, CF_NOT_FOUND, "manifest unknown");
		return;
	}
	if (atomic_load(&f->is_slow)) {
		f->kept_bundle = cf_strdup(req->bundle_path);
		f->kept = call;
		return;
	}
	fx_finish_pull(call, req->bundle_path, strstr(req->image_url, "secret"));
}

static inline void fx_prefetch(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	const Coffer__PrefetchImageRequest *req = (const Coffer__PrefetchImageRequest *)msg;
	Coffer__PrefetchImageResponse resp = COFFER__PREFETCH_IMAGE_RESPONSE__INIT;
	struct fx *f = user;

	atomic_fetch_add(&f->prefetches, 1);
	if (strstr(req->image, "missing"))
		rpc_fail(call, CF_NOT_FOUND, "manifest unknown");
	else
		rpc_reply(call, &resp);
}

static inline void fx_watch(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	Coffer__WatchPullsResponse resp = COFFER__WATCH_PULLS_RESPONSE__INIT;

	(void)user;
	resp.serial = ((const Coffer__WatchPullsRequest *)msg)->seen + 1;
	rpc_reply(call, &resp);
}

/* "sealed.good" opens, others do not. */
static inline void fx_unseal(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	const Api__UnsealSecretInput *req = (const Api__UnsealSecretInput *)msg;
	Api__UnsealSecretOutput resp = API__UNSEAL_SECRET_OUTPUT__INIT;
	static uint8_t plain[] = "opened";

	(void)user;
	if (!cf_view_eq_str(cf_view(req->secret.data, req->secret.len), "sealed.good")) {
		rpc_fail(call, CF_PERMISSION_DENIED, "no key for this secret");
		return;
	}
	resp.plaintext.data = plain;
	resp.plaintext.len = sizeof(plain) - 1;
	rpc_reply(call, &resp);
}

static inline void fx_release_now(void *arg)
{
	struct fx *f = arg;

	atomic_store(&f->is_slow, false);
	if (f->kept)
		fx_finish_pull(cf_take(&f->kept), f->kept_bundle, false);
	free(cf_take(&f->kept_bundle));
}

static inline void fx_stop_now(void *arg)
{
	struct fx *f = arg;

	if (f->kept)
		fx_release_now(f);
	f->cdh = ttrpc_server_free(f->cdh);
	cf_loop_stop(f->loop);
}

static inline void *fx_thread(void *arg)
{
	struct fx *f = arg;

	cf_loop_run(f->loop);
	return NULL;
}

static inline void fx_start_cdh(struct fx *f)
{
	static const struct rpc_method methods[] = {
		{ "PullImage", &api__image_pull_request__descriptor,
		  &api__image_pull_response__descriptor, fx_pull, RPC_INLINE },
	};
	static const struct rpc_method sealed_methods[] = {
		{ "UnsealSecret", &api__unseal_secret_input__descriptor,
		  &api__unseal_secret_output__descriptor, fx_unseal, RPC_INLINE },
	};
	static const struct rpc_method early_methods[] = {
		{ "PrefetchImage", &coffer__prefetch_image_request__descriptor,
		  &coffer__prefetch_image_response__descriptor, fx_prefetch, RPC_INLINE },
		{ "WatchPulls", &coffer__watch_pulls_request__descriptor,
		  &coffer__watch_pulls_response__descriptor, fx_watch, RPC_INLINE },
	};
	cf_cleanup(cf_freep) char *address = cf_asprintf("unix://%s/cdh.sock", f->dir);
	struct ttrpc_server_opts opts = { .service_count = CF_ARRAY_LEN(f->services) };
	struct cf_err err;

	f->service = (struct rpc_service){
		.name = "api.ImagePullService",
		.methods = methods,
		.method_count = CF_ARRAY_LEN(methods),
		.user = f,
	};
	f->sealed = (struct rpc_service){
		.name = "api.SealedSecretService",
		.methods = sealed_methods,
		.method_count = 1,
	};
	f->services[0] = &f->service;
	f->services[1] = &f->sealed;
	f->early = (struct rpc_service){ "coffer.Pulls", early_methods, 2, f };
	f->services[2] = &f->early;
	EXPECT_OK(cf_loop_new(&f->loop, &err), &err);
	opts.loop = f->loop;
	opts.services = f->services;
	EXPECT_OK(ttrpc_server_new(&opts, &f->cdh, &err), &err);
	EXPECT_OK(ttrpc_server_listen(f->cdh, address, &err), &err);
	EXPECT(pthread_create(&f->thread, NULL, fx_thread, f) == 0);
}

/* ---- coffer-init ---- */

static inline void fx_write_initdata_of(struct fx *f, const struct initdata_entry *entries,
                                        size_t count)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/initdata.img", f->dir);
	struct cf_buf text = { .max = 1u << 20 }, disk = { .max = 1u << 20 };
	struct cf_err err;

	EXPECT_OK(initdata_build(CF_SHA256, entries, count, &text, &err), &err);
	EXPECT_OK(initdata_to_disk(cf_buf_view(&text), &disk, &err), &err);
	EXPECT_OK(cf_write_file_atomic(path, cf_buf_view(&disk), 0600, &err), &err);
	cf_buf_fini(&text);
	cf_buf_fini(&disk);
}

/* @policy NULL: none. */
static inline void fx_write_initdata(struct fx *f, const char *policy)
{
	struct initdata_entry entry = { .key = "policy.toml", .text = policy };

	fx_write_initdata_of(f, &entry, policy ? 1 : 0);
}

static inline void fx_connect(struct fx *f)
{
	cf_cleanup(cf_freep) char *address = cf_asprintf("unix://%s/agent.sock", f->dir);
	struct ttrpc_client_opts opts = { .loop = NULL };
	struct cf_err err;

	EXPECT_OK(ttrpc_client_dial(address, FX_WAIT_MS, &opts, &f->client, &err), &err);
}

static inline void fx_spawn(struct fx *f, bool with_initdata, const char *tpm)
{
	cf_cleanup(cf_freep) char *bin = cf_test_bin("coffer-init");
	cf_cleanup(cf_freep) char *log = cf_asprintf("%s/init.log", f->dir);
	cf_cleanup(cf_closep) int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	struct cf_strv argv = { 0 };
	struct cf_proc_opts opts = {
		.stdin_fd = -1,
		.stdout_fd = fd,
		.stderr_fd = fd,
		.die_with_parent = true,
	};
	struct cf_err err;

	cf_strv_add(&argv, bin);
	cf_strv_add(&argv, "--no-pid1");
	cf_strv_addf(&argv, "--listen=unix:%s/agent.sock", f->dir);
	if (f->cdh) {
		cf_strv_add(&argv, "--no-helpers");
		cf_strv_addf(&argv, "--cdh=unix:%s/cdh.sock", f->dir);
	}
	cf_strv_addf(&argv, "--state-dir=%s/state", f->dir);
	cf_strv_addf(&argv, "--run-dir=%s/run", f->dir);
	if (with_initdata)
		cf_strv_addf(&argv, "--initdata=%s/initdata.img", f->dir);
	if (tpm)
		cf_strv_addf(&argv, "--tpm=%s", tpm);
	opts.argv = (const char *const *)argv.items;
	EXPECT_OK(cf_proc_spawn(&opts, &f->pid, &err), &err);
	cf_strv_fini(&argv);
	fx_connect(f);
}

static inline bool fx_can_run(void)
{
	return getuid() == 0 && access(FX_BUSYBOX, X_OK) == 0 && access("/usr/bin/crun", X_OK) == 0;
}

static inline struct fx *fx_start(const char *policy)
{
	struct fx *f = cf_zalloc(sizeof(*f));

	f->dir = cf_test_tmpdir();
	fx_start_cdh(f);
	fx_write_initdata(f, policy);
	fx_spawn(f, true, NULL);
	return f;
}

static inline void fx_stop(struct fx *f)
{
	int status = 0;

	ttrpc_client_free(f->client);
	EXPECT(kill(f->pid, SIGTERM) == 0);
	EXPECT(waitpid(f->pid, &status, 0) == f->pid);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		cf_cleanup(cf_freep) char *log = cf_asprintf("%s/init.log", f->dir);
		struct cf_buf text = cf_test_read(log);

		print_message("%s\n", (const char *)text.data);
		cf_buf_fini(&text);
	}
	EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	if (f->cdh) {
		cf_loop_post(f->loop, fx_stop_now, f);
		EXPECT(pthread_join(f->thread, NULL) == 0);
		cf_loop_free(f->loop);
	}
	free(f->dir);
	free(f);
}

/* ---- calls ---- */

static inline int fx_call(struct fx *f, const char *method, const void *msg,
                          const ProtobufCMessageDescriptor *out, void *ret, struct cf_err *err)
{
	struct ttrpc_req req = {
		.service = "grpc.AgentService",
		.method = method,
		.msg = msg,
		.out = out,
		.timeout_ms = FX_WAIT_MS,
	};
	ProtobufCMessage *answer = NULL;
	int r = ttrpc_call(f->client, &req, &answer, err);

	if (r == 0 && ret)
		*(ProtobufCMessage **)ret = answer;
	else if (answer)
		protobuf_c_message_free_unpacked(answer, NULL);
	return r;
}

static inline int fx_fetch_early(struct fx *f, const char *ref, struct cf_err *err)
{
	Coffer__PrefetchImageRequest msg = COFFER__PREFETCH_IMAGE_REQUEST__INIT;
	cf_cleanup(cf_freep) char *image = cf_strdup(ref);
	struct ttrpc_req req = {
		.service = "coffer.Pulls",
		.method = "PrefetchImage",
		.msg = &msg.base,
		.out = &coffer__prefetch_image_response__descriptor,
		.timeout_ms = FX_WAIT_MS,
	};

	msg.image = image;
	return ttrpc_call(f->client, &req, NULL, err);
}

/* The serial after @seen, 0 when it is refused. */
static inline uint64_t fx_look_on(struct fx *f, uint64_t seen, struct cf_err *err)
{
	Coffer__WatchPullsRequest msg = COFFER__WATCH_PULLS_REQUEST__INIT;
	Coffer__WatchPullsResponse *resp = NULL;
	struct ttrpc_req req = {
		.service = "coffer.Pulls",
		.method = "WatchPulls",
		.msg = &msg.base,
		.out = &coffer__watch_pulls_response__descriptor,
		.timeout_ms = FX_WAIT_MS,
	};
	uint64_t serial;

	msg.seen = seen;
	if (ttrpc_call(f->client, &req, (ProtobufCMessage **)&resp, err) < 0)
		return 0;
	serial = resp->serial;
	coffer__watch_pulls_response__free_unpacked(resp, NULL);
	return serial;
}

static inline int fx_empty(struct fx *f, const char *method, const void *msg, struct cf_err *err)
{
	return fx_call(f, method, msg, &google__protobuf__empty__descriptor, NULL, err);
}

static inline int fx_sandbox(struct fx *f, bool shared_pids, struct cf_err *err)
{
	Grpc__CreateSandboxRequest req = GRPC__CREATE_SANDBOX_REQUEST__INIT;
	char host[] = "pod-one", id[] = "sandbox-one", line[] = "nameserver 192.0.2.53";
	char *dns[] = { line };

	req.hostname = host;
	req.sandbox_id = id;
	req.dns = dns;
	req.n_dns = 1;
	req.sandbox_pidns = shared_pids;
	return fx_empty(f, "CreateSandbox", &req, err);
}

/* ---- requests: a builder whose parts the test may change before it is sent ---- */

#define FX_ITEMS_MAX 32

struct fx_container {
	Grpc__CreateContainerRequest req;
	Grpc__Spec spec;
	Grpc__Process process;
	Grpc__User user;
	Grpc__LinuxCapabilities caps;
	Grpc__Root root;
	Grpc__Linux linux_spec;
	Grpc__Storage image;
	Grpc__Storage *storages[4];
	char *args[FX_ITEMS_MAX];
	char *env[FX_ITEMS_MAX];
	Grpc__Mount mounts[FX_ITEMS_MAX];
	Grpc__Mount *mount_list[FX_ITEMS_MAX];
	char *mount_options[FX_ITEMS_MAX][4];
	Grpc__Spec__AnnotationsEntry annotations[4];
	Grpc__Spec__AnnotationsEntry *annotation_list[4];
	struct cf_strv strings; /* what the pointers above point to */
};

static inline char *fx_str(struct fx_container *c, const char *s)
{
	cf_strv_add(&c->strings, s);
	return c->strings.items[c->strings.count - 1];
}

static inline void fx_arg(struct fx_container *c, const char *s)
{
	c->args[c->process.n_args++] = fx_str(c, s);
}

static inline void fx_env(struct fx_container *c, const char *s)
{
	c->env[c->process.n_env++] = fx_str(c, s);
}

static inline void fx_annotate(struct fx_container *c, const char *key, const char *value)
{
	Grpc__Spec__AnnotationsEntry *e = &c->annotations[c->spec.n_annotations];

	grpc__spec__annotations_entry__init(e);
	e->key = fx_str(c, key);
	e->value = fx_str(c, value);
	c->annotation_list[c->spec.n_annotations++] = e;
}

static inline void fx_mount(struct fx_container *c, const char *destination, const char *type,
                            const char *source, const char *option)
{
	size_t n = c->spec.n_mounts++;
	Grpc__Mount *m = &c->mounts[n];

	grpc__mount__init(m);
	m->destination = fx_str(c, destination);
	m->type = fx_str(c, type);
	m->source = fx_str(c, source);
	m->options = c->mount_options[n];
	if (option)
		m->options[m->n_options++] = fx_str(c, option);
	c->mount_list[n] = m;
}

/* A container of @image with the image's own environment; arguments are the caller's. */
static inline struct fx_container *fx_container(const char *id, const char *image)
{
	struct fx_container *c = cf_zalloc(sizeof(*c));
	cf_cleanup(cf_freep) char *point = cf_asprintf("/run/kata-containers/%s/rootfs", id);

	grpc__create_container_request__init(&c->req);
	grpc__spec__init(&c->spec);
	grpc__process__init(&c->process);
	grpc__user__init(&c->user);
	grpc__linux_capabilities__init(&c->caps);
	grpc__root__init(&c->root);
	grpc__linux__init(&c->linux_spec);
	grpc__storage__init(&c->image);
	c->req.container_id = fx_str(c, id);
	c->req.exec_id = c->req.container_id;
	c->req.oci = &c->spec;
	c->spec.process = &c->process;
	c->spec.root = &c->root;
	c->spec.linux_ = &c->linux_spec;
	c->spec.annotations = c->annotation_list;
	c->spec.mounts = c->mount_list;
	c->process.user = &c->user;
	c->process.capabilities = &c->caps;
	c->process.args = c->args;
	c->process.env = c->env;
	c->process.cwd = fx_str(c, "/");
	c->image.driver = fx_str(c, "image_guest_pull");
	c->image.fstype = fx_str(c, "overlay");
	c->image.source = fx_str(c, image);
	c->image.mount_point = fx_str(c, point);
	c->storages[0] = &c->image;
	c->req.storages = c->storages;
	c->req.n_storages = 1;
	fx_env(c, "PATH=/bin");
	fx_env(c, "IMAGE=1");
	fx_mount(c, "/proc", "proc", "proc", "nosuid");
	fx_mount(c, "/dev", "tmpfs", "tmpfs", "nosuid");
	fx_mount(c, "/dev/pts", "devpts", "devpts", "newinstance");
	fx_mount(c, "/sys", "sysfs", "sysfs", "ro");
	return c;
}

static inline void fx_shell(struct fx_container *c, const char *script)
{
	fx_arg(c, "/bin/sh");
	fx_arg(c, "-c");
	fx_arg(c, script);
}

static inline void fx_container_free(struct fx_container *c)
{
	cf_strv_fini(&c->strings);
	free(c);
}

static inline int fx_create(struct fx *f, const struct fx_container *c, struct cf_err *err)
{
	return fx_empty(f, "CreateContainer", &c->req, err);
}

#define FX_BY_ID(f, method, Type, INIT, id, err)                                                   \
	({                                                                                         \
		Grpc__##Type fx_req_ = INIT;                                                       \
		cf_cleanup(cf_freep) char *fx_id_ = cf_strdup(id);                                 \
		fx_req_.container_id = fx_id_;                                                     \
		fx_empty(f, method, &fx_req_, err);                                                \
	})

static inline int fx_start_container(struct fx *f, const char *id, struct cf_err *err)
{
	return FX_BY_ID(f, "StartContainer", StartContainerRequest,
	                GRPC__START_CONTAINER_REQUEST__INIT, id, err);
}

static inline int fx_remove(struct fx *f, const char *id, struct cf_err *err)
{
	return FX_BY_ID(f, "RemoveContainer", RemoveContainerRequest,
	                GRPC__REMOVE_CONTAINER_REQUEST__INIT, id, err);
}

static inline int fx_signal(struct fx *f, const char *id, const char *exec, unsigned signo,
                            struct cf_err *err)
{
	Grpc__SignalProcessRequest req = GRPC__SIGNAL_PROCESS_REQUEST__INIT;
	cf_cleanup(cf_freep) char *id_copy = cf_strdup(id);
	cf_cleanup(cf_freep) char *exec_copy = cf_strdup(exec);

	req.container_id = id_copy;
	req.exec_id = exec_copy;
	req.signal = signo;
	return fx_empty(f, "SignalProcess", &req, err);
}

/* Exit status, or negative. */
static inline int fx_wait(struct fx *f, const char *id, const char *exec, struct cf_err *err)
{
	Grpc__WaitProcessRequest req = GRPC__WAIT_PROCESS_REQUEST__INIT;
	Grpc__WaitProcessResponse *resp = NULL;
	cf_cleanup(cf_freep) char *id_copy = cf_strdup(id);
	cf_cleanup(cf_freep) char *exec_copy = cf_strdup(exec);
	int r;

	req.container_id = id_copy;
	req.exec_id = exec_copy;
	r = fx_call(f, "WaitProcess", &req, &grpc__wait_process_response__descriptor, &resp, err);
	if (r < 0)
		return r;
	r = resp->status;
	grpc__wait_process_response__free_unpacked(resp, NULL);
	return r;
}

/* One read; the number of bytes, 0 at the end, or negative. */
static inline int fx_read(struct fx *f, const char *method, const char *id, const char *exec,
                          struct cf_buf *out, struct cf_err *err)
{
	Grpc__ReadStreamRequest req = GRPC__READ_STREAM_REQUEST__INIT;
	Grpc__ReadStreamResponse *resp = NULL;
	cf_cleanup(cf_freep) char *id_copy = cf_strdup(id);
	cf_cleanup(cf_freep) char *exec_copy = cf_strdup(exec);
	int r;

	req.container_id = id_copy;
	req.exec_id = exec_copy;
	req.len = 32768;
	r = fx_call(f, method, &req, &grpc__read_stream_response__descriptor, &resp, err);
	if (r < 0)
		return r;
	cf_buf_add(out, resp->data.data, resp->data.len);
	r = (int)resp->data.len;
	grpc__read_stream_response__free_unpacked(resp, NULL);
	return r;
}

/* A stream to its end; the caller frees. */
static inline char *fx_read_all(struct fx *f, const char *method, const char *id, const char *exec)
{
	struct cf_buf out = { 0 };
	struct cf_err err = { 0 };
	int r;

	do {
		r = fx_read(f, method, id, exec, &out, &err);
	} while (r > 0);
	if (r < 0)
		print_message("%s: %s\n", method, err.msg);
	EXPECT(r == 0);
	return cf_buf_take_str(&out);
}

/* Creates, starts, reads stdout to the end, waits. The text is the caller's. */
static inline char *fx_run(struct fx *f, const struct fx_container *c, int *ret_status)
{
	struct cf_err err;
	char *text;

	EXPECT_OK(fx_create(f, c, &err), &err);
	EXPECT_OK(fx_start_container(f, c->req.container_id, &err), &err);
	text = fx_read_all(f, "ReadStdout", c->req.container_id, c->req.container_id);
	*ret_status = fx_wait(f, c->req.container_id, c->req.container_id, &err);
	return text;
}
