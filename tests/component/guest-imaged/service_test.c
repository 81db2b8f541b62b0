/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The real coffer-imaged, spoken to over its socket, pulling from a small registry of ours. It runs
 * in a mount namespace of the test's own, so that nothing stays mounted.
 */
#include "base/crypto.h"
#include "base/json.h"
#include "base/proc.h"
#include "guest-imaged/pull_watch.h"
#include "guest-imaged/service.h"
#include "proto/cdh.pb-c.h"
#include "proto/oci_source.h"
#include "proto/ocicrypt.h"
#include "proto/pulls.pb-c.h"
#include "proto/ttrpc.h"
#include "tests/harness/fake_http.h"
#include "tests/harness/tar_make.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define ACCEPT "{\\\"default\\\":[{\\\"type\\\":\\\"insecureAcceptAnything\\\"}]}"
#define REJECT "{\\\"default\\\":[{\\\"type\\\":\\\"reject\\\"}]}"
#define KID    "kbs:///a/b/c"

/* ---- an image ---- */

struct image {
	struct cf_buf layer, config, manifest;
	struct oci_digest layer_digest, config_digest, manifest_digest, diff_id;
	struct cf_buf responses[3];
	char *paths[4];
	struct fake_route routes[8];
	size_t route_count;
};

static void add_response(struct image *im, size_t i, const char *type, const struct cf_buf *body)
{
	cf_buf_printf(&im->responses[i],
	              "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n", type,
	              body->size);
	cf_buf_add_view(&im->responses[i], cf_buf_view(body));
}

static void add_route(struct image *im, const char *path, size_t response)
{
	im->routes[im->route_count++] =
		(struct fake_route){ .path = path,
		                     .response = (const char *)im->responses[response].data,
		                     .size = im->responses[response].size };
}

static void encrypt(struct image *im, const uint8_t kek[32], struct oci_pairs *annotations)
{
	struct ocicrypt_recipient to = { .kid = KID, .kek = cf_view(kek, 32) };
	struct ocicrypt_options o = { 0 };
	struct ocicrypt_stream *s = NULL;
	struct cf_err err;

	EXPECT_OK(ocicrypt_options_new(&o, &err), &err);
	EXPECT_OK(ocicrypt_stream_new(&o, true, &s, &err), &err);
	ocicrypt_stream_apply(s, cf_buf_view(&im->layer), im->layer.data);
	ocicrypt_stream_seal(s, &o);
	EXPECT_OK(ocicrypt_wrap(&o, &to, 1, annotations, &err), &err);
	ocicrypt_stream_free(s);
	ocicrypt_options_fini(&o);
}

/* One layer, one file; @kek: encrypted by it, or NULL. */
static void image_make(struct image *im, const uint8_t *kek)
{
	struct oci_manifest m = { .layer_count = 1 };
	struct oci_descriptor layer = { 0 };

	*im = (struct image){ 0 };
	tar_add_file(&im->layer, "hello", "content");
	tar_add_file(&im->layer, "etc/passwd", "root:x:0:0::/:/x\napp:x:7:8::/:/x\n");
	tar_end(&im->layer);
	oci_digest_of(cf_buf_view(&im->layer), &im->diff_id);
	if (kek)
		encrypt(im, kek, &layer.annotations);
	oci_digest_of(cf_buf_view(&im->layer), &im->layer_digest);
	cf_buf_printf(&im->config,
	              "{\"os\":\"linux\",\"architecture\":\"amd64\",\"config\":{\"User\":\"app\","
	              "\"Entrypoint\":[\"/hello\"],\"Env\":[\"A=b\"],\"WorkingDir\":\"/w\"},"
	              "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"%s\"]}}",
	              im->diff_id.text);
	oci_digest_of(cf_buf_view(&im->config), &im->config_digest);
	layer.media_type = cf_strdup(kek ? OCI_MT_LAYER "+encrypted" : OCI_MT_LAYER);
	layer.digest = im->layer_digest;
	layer.size = im->layer.size;
	m.layers = &layer;
	m.config.media_type = cf_strdup(OCI_MT_CONFIG);
	m.config.digest = im->config_digest;
	m.config.size = im->config.size;
	oci_manifest_write(&m, &im->manifest);
	oci_digest_of(cf_buf_view(&im->manifest), &im->manifest_digest);
	oci_descriptor_fini(&layer);
	oci_descriptor_fini(&m.config);

	static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

	add_response(im, 0, OCI_MT_MANIFEST, &im->manifest);
	add_response(im, 1, "x/y", &im->config);
	add_response(im, 2, "x/y", &im->layer);
	im->paths[0] = cf_asprintf("/v2/app/blobs/%s", im->config_digest.text);
	im->paths[1] = cf_asprintf("/v2/app/blobs/%s", im->layer_digest.text);
	im->routes[im->route_count++] = (struct fake_route){ .path = "/v2/", .response = ok };
	add_route(im, "/v2/app/manifests/1", 0);
	add_route(im, im->paths[0], 1);
	add_route(im, im->paths[1], 2);
}

static void image_drop(struct image *im)
{
	cf_buf_fini(&im->layer);
	cf_buf_fini(&im->config);
	cf_buf_fini(&im->manifest);
	for (size_t i = 0; i < CF_ARRAY_LEN(im->responses); i++)
		cf_buf_fini(&im->responses[i]);
	free(im->paths[0]);
	free(im->paths[1]);
}

/* ---- the daemon ---- */

struct fixture {
	char *dir, *address, *ref;
	struct image image;
	struct fake_http web;
	pid_t daemon;
	struct ttrpc_client *client;
};

static char *write_file(const struct fixture *f, const char *name, const char *text)
{
	char *path = cf_asprintf("%s/%s", f->dir, name);
	struct cf_err err;

	EXPECT_OK(cf_write_file_atomic(path, cf_view_str(text), 0600, &err), &err);
	return path;
}

static void start_daemon(struct fixture *f, const char *policy, const uint8_t *kek)
{
	cf_cleanup(cf_freep) char *program = cf_test_bin("coffer-imaged");
	struct cf_buf b64 = { 0 };
	struct cf_err err;

	cf_b64_encode(CF_B64_STD, cf_view(kek, kek ? 32 : 0), &b64);
	cf_cleanup(cf_freep) char *map =
		cf_asprintf("{\"a/b/c\":\"%s\"}", b64.data ? (char *)b64.data : "");
	cf_cleanup(cf_freep) char *map_path = write_file(f, "keys.json", map);
	cf_cleanup(cf_freep) char *toml = cf_asprintf(
		"socket = \"%s\"\n[aa]\naa_socket = \"unix://%s/none.sock\"\n"
		"[kbc]\nname = \"offline_fs_kbc\"\n[image]\nwork_dir = \"%s/work\"\n%s%s%s",
		f->address, f->dir, f->dir, policy ? "image_security_policy = \"" : "",
		policy ? policy : "", policy ? "\"\n" : "");
	cf_cleanup(cf_freep) char *config = write_file(f, "cdh.toml", toml);
	const char *const argv[] = { program, "--config", config, NULL };
	struct cf_proc_opts opts = { .argv = argv,
		                     .stdin_fd = -1,
		                     .stdout_fd = -1,
		                     .stderr_fd = -1,
		                     .die_with_parent = true };

	cf_buf_fini(&b64);
	EXPECT(setenv("OFFLINE_FS_KBC_EXTRA_FILE_PATH", map_path, 1) == 0);
	EXPECT_OK(cf_proc_spawn(&opts, &f->daemon, &err), &err);
	EXPECT_OK(ttrpc_client_dial(f->address, 10000, &(struct ttrpc_client_opts){ 0 }, &f->client,
	                            &err),
	          &err);
}

static struct fixture start(const char *policy, const uint8_t *image_kek, const uint8_t *our_kek)
{
	struct fixture f = { .dir = cf_test_tmpdir() };

	if (geteuid() != 0)
		SKIP("mounting needs root");
	EXPECT(unshare(CLONE_NEWNS) == 0);
	EXPECT(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	f.address = cf_asprintf("unix://%s/cdh.sock", f.dir);
	image_make(&f.image, image_kek);
	f.web = fake_http_start(f.dir, f.image.routes, f.image.route_count);
	f.ref = cf_asprintf("127.0.0.1:%u/app:1", f.web.port);
	start_daemon(&f, policy, our_kek);
	return f;
}

static void stop(struct fixture *f)
{
	int status;
	struct cf_err err;

	ttrpc_client_free(f->client);
	kill(f->daemon, SIGTERM);
	EXPECT_OK(cf_proc_wait(f->daemon, &status, &err), &err);
	EXPECT_INT(status, 0);
	fake_http_stop(&f->web);
	for (int i = 0; i < 2; i++) {
		cf_cleanup(cf_freep) char *root = cf_asprintf("%s/b%d/rootfs", f->dir, i);
		cf_cleanup(cf_freep) char *lower = cf_asprintf("%s/b%d/.lower", f->dir, i);

		umount2(root, MNT_DETACH);
		umount2(lower, MNT_DETACH);
	}
	image_drop(&f->image);
	free(f->address);
	free(f->ref);
	free(f->dir);
}

/* The digest it answers (caller frees), or NULL and @err. */
static char *pull(struct fixture *f, int bundle, int64_t timeout_ms, struct cf_err *err)
{
	Api__ImagePullRequest req = API__IMAGE_PULL_REQUEST__INIT;
	Api__ImagePullResponse *resp = NULL;
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/b%d", f->dir, bundle);
	struct ttrpc_req call = { .service = "api.ImagePullService",
		                  .method = "PullImage",
		                  .msg = &req.base,
		                  .out = &api__image_pull_response__descriptor,
		                  .timeout_ms = timeout_ms };
	char *digest;

	req.image_url = f->ref;
	req.bundle_path = path;
	if (ttrpc_call(f->client, &call, (ProtobufCMessage **)&resp, err) < 0)
		return NULL;
	digest = cf_strdup(resp->manifest_digest);
	api__image_pull_response__free_unpacked(resp, NULL);
	return digest;
}

static int count_requests(struct fixture *f, const char *line)
{
	struct cf_buf log = fake_http_log(&f->web);
	int n = 0;

	for (char *p = (char *)log.data; (p = strstr(p, line)); p++)
		n++;
	cf_buf_fini(&log);
	return n;
}

static void expect_bundle(struct fixture *f, int bundle, const char *encrypted)
{
	cf_cleanup(cf_freep) char *hello = cf_asprintf("%s/b%d/rootfs/hello", f->dir, bundle);
	cf_cleanup(cf_freep) char *more = cf_asprintf("%s/b%d/rootfs/more", f->dir, bundle);
	cf_cleanup(cf_freep) char *config = cf_asprintf("%s/b%d/config.json", f->dir, bundle);
	cf_cleanup(cf_json_freep) struct cf_json *root = NULL;
	struct cf_buf content = cf_test_read(hello), text = cf_test_read(config);
	struct cf_err err;

	EXPECT_STR(content.data, "content");
	EXPECT_OK(cf_write_file_atomic(more, cf_view_str("x"), 0600, &err), &err); /* writable */
	EXPECT_OK(cf_json_parse(cf_buf_view(&text), 0, &root, &err), &err);
	const struct cf_json *process = cf_json_get(root, "process");

	EXPECT(cf_view_eq_str(cf_json_str(cf_json_at(cf_json_get(process, "args"), 0)), "/hello"));
	EXPECT(cf_view_eq_str(cf_json_str(cf_json_get(process, "cwd")), "/w"));
	EXPECT_INT(cf_json_int(cf_json_get(cf_json_get(process, "user"), "uid")), 7);
	EXPECT_INT(cf_json_int(cf_json_get(cf_json_get(process, "user"), "gid")), 8);
	EXPECT(cf_view_eq_str(cf_json_str(cf_json_get(cf_json_get(root, "annotations"),
	                                              "io.coffer.image.encrypted")),
	                      encrypted));
	cf_buf_fini(&content);
	cf_buf_fini(&text);
}

CF_TEST(service_pulls_an_image_into_two_bundles_and_downloads_once)
{
	struct fixture f = start(ACCEPT, NULL, NULL);
	cf_cleanup(cf_freep) char *get = cf_asprintf("GET %s ", f.image.paths[1]);
	struct cf_err err;

	for (int i = 0; i < 2; i++) {
		cf_cleanup(cf_freep) char *digest = pull(&f, i, 60000, &err);

		if (!digest)
			fail_msg("%s", err.msg);
		EXPECT_STR(digest, f.image.manifest_digest.text);
		expect_bundle(&f, i, "false");
	}
	/* the same bundle again: a caller that lost the answer */
	cf_cleanup(cf_freep) char *again = pull(&f, 0, 60000, &err);

	EXPECT(again);
	EXPECT_INT(count_requests(&f, get), 1);
	stop(&f);
}

struct caller {
	struct fixture *f;
	char *digest;
	struct cf_err err;
};

static void *call_thread(void *arg)
{
	struct caller *c = arg;

	c->digest = pull(c->f, 0, 60000, &c->err);
	return NULL;
}

CF_TEST(service_leaves_one_mount_and_frees_what_a_gone_container_wrote)
{
	struct fixture f = start(ACCEPT, NULL, NULL);
	cf_cleanup(cf_freep) char *bundle = cf_asprintf("%s/b0", f.dir);
	cf_cleanup(cf_freep) char *root = cf_asprintf("%s/b0/rootfs", f.dir);
	cf_cleanup(cf_freep) char *overlay = cf_asprintf("%s/work/overlay", f.dir);
	struct cf_err err;
	cf_cleanup(cf_freep) char *digest = pull(&f, 0, 60000, &err);
	struct stat st;

	EXPECT(digest);
	EXPECT(umount2(root, 0) == 0);
	EXPECT_OK(cf_rm_rf(bundle, &err), &err); /* nothing else is mounted below it */
	EXPECT(stat(overlay, &st) == 0 && st.st_nlink == 3);
	cf_cleanup(cf_freep) char *second = pull(&f, 1, 60000, &err);

	EXPECT(second);
	EXPECT(stat(overlay, &st) == 0 && st.st_nlink == 3); /* the new one alone */
	expect_bundle(&f, 1, "false");
	stop(&f);
}

CF_TEST(service_joins_requests_that_are_the_same_also_after_the_first_caller_left)
{
	struct fixture f = start(ACCEPT, NULL, NULL);
	cf_cleanup(cf_freep) char *get = cf_asprintf("GET %s ", f.image.paths[1]);
	struct caller callers[8];
	pthread_t threads[8];
	struct cf_err err;

	EXPECT(!pull(&f, 0, 1, &err)); /* gives up at once; the pull goes on */
	for (size_t i = 0; i < CF_ARRAY_LEN(callers); i++) {
		callers[i] = (struct caller){ .f = &f };
		EXPECT(pthread_create(&threads[i], NULL, call_thread, &callers[i]) == 0);
	}
	for (size_t i = 0; i < CF_ARRAY_LEN(callers); i++) {
		EXPECT(pthread_join(threads[i], NULL) == 0);
		EXPECT(callers[i].digest);
		free(callers[i].digest);
	}
	EXPECT_INT(count_requests(&f, get), 1);
	expect_bundle(&f, 0, "false");
	stop(&f);
}

static int prefetch(struct fixture *f, const char *ref, int64_t timeout_ms, struct cf_err *err)
{
	Coffer__PrefetchImageRequest req = COFFER__PREFETCH_IMAGE_REQUEST__INIT;
	cf_cleanup(cf_freep) char *image = cf_strdup(ref);
	struct ttrpc_req call = { .service = "coffer.Pulls",
		                  .method = "PrefetchImage",
		                  .msg = &req.base,
		                  .out = &coffer__prefetch_image_response__descriptor,
		                  .timeout_ms = timeout_ms };

	req.image = image;
	return ttrpc_call(f->client, &call, NULL, err);
}

CF_TEST(service_fetches_early_and_the_container_finds_it)
{
	static const uint8_t kek[32] = { 1, 2, 3 };
	struct fixture f = start(ACCEPT, kek, kek);
	cf_cleanup(cf_freep) char *get = cf_asprintf("GET %s ", f.image.paths[1]);
	cf_cleanup(cf_freep) char *overlay = cf_asprintf("%s/work/overlay", f.dir);
	struct cf_err err;

	EXPECT_OK(prefetch(&f, f.ref, 60000, &err), &err);
	EXPECT_INT(count_requests(&f, get), 1);
	EXPECT(access(overlay, F_OK) < 0); /* nothing is mounted by it */
	EXPECT_OK(prefetch(&f, f.ref, 60000, &err), &err);
	cf_cleanup(cf_freep) char *digest = pull(&f, 0, 60000, &err);

	if (!digest)
		fail_msg("%s", err.msg);
	EXPECT_INT(count_requests(&f, get), 1);
	expect_bundle(&f, 0, "true");
	stop(&f);
}

CF_TEST(service_joins_a_container_to_what_is_being_fetched_early)
{
	struct fixture f = start(ACCEPT, NULL, NULL);
	cf_cleanup(cf_freep) char *get = cf_asprintf("GET %s ", f.image.paths[1]);
	struct cf_err err;

	EXPECT(prefetch(&f, f.ref, 1, &err) < 0); /* gives up at once; the fetching goes on */
	cf_cleanup(cf_freep) char *digest = pull(&f, 0, 60000, &err);

	if (!digest)
		fail_msg("%s", err.msg);
	EXPECT_INT(count_requests(&f, get), 1);
	expect_bundle(&f, 0, "false");
	stop(&f);
}

/* A registry that takes a connection and never says a word. */
static char *mute_registry(int *ret_fd)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
		                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(sa);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	EXPECT(fd >= 0 && bind(fd, (struct sockaddr *)&sa, size) == 0 && listen(fd, 16) == 0);
	EXPECT(getsockname(fd, (struct sockaddr *)&sa, &size) == 0);
	*ret_fd = fd;
	return cf_asprintf("127.0.0.1:%u/mute", ntohs(sa.sin_port));
}

struct early_caller {
	struct fixture *f;
	char *ref;
	int r;
	struct cf_err err;
};

static void *early_thread(void *arg)
{
	struct early_caller *c = arg;

	c->r = prefetch(c->f, c->ref, 60000, &c->err);
	return NULL;
}

CF_TEST(service_gives_early_pulls_up_for_a_container_that_needs_another_image)
{
	struct fixture f = start(ACCEPT, NULL, NULL);
	struct early_caller callers[SERVICE_EARLY_PULLS];
	pthread_t threads[SERVICE_EARLY_PULLS];
	int connections[SERVICE_EARLY_PULLS], mute;
	cf_cleanup(cf_freep) char *base = mute_registry(&mute);
	struct cf_err err;

	for (size_t i = 0; i < CF_ARRAY_LEN(callers); i++) {
		callers[i] = (struct early_caller){ .f = &f };
		callers[i].ref = cf_asprintf("%s:%zu", base, i);
		EXPECT(pthread_create(&threads[i], NULL, early_thread, &callers[i]) == 0);
		/* it has begun when the registry is spoken to */
		connections[i] = accept4(mute, NULL, NULL, SOCK_CLOEXEC);
		EXPECT(connections[i] >= 0);
	}
	EXPECT(prefetch(&f, f.ref, 60000, &err) == -CF_RESOURCE_EXHAUSTED);
	cf_cleanup(cf_freep) char *digest = pull(&f, 0, 60000, &err);

	if (!digest)
		fail_msg("%s", err.msg);
	for (size_t i = 0; i < CF_ARRAY_LEN(callers); i++) {
		EXPECT(pthread_join(threads[i], NULL) == 0);
		EXPECT(callers[i].r == -CF_CANCELLED);
		free(callers[i].ref);
		close(connections[i]);
	}
	close(mute);
	stop(&f);
}

static Coffer__WatchPullsResponse *watch(struct fixture *f, uint64_t seen, int64_t timeout_ms)
{
	Coffer__WatchPullsRequest req = COFFER__WATCH_PULLS_REQUEST__INIT;
	Coffer__WatchPullsResponse *resp = NULL;
	struct ttrpc_req call = { .service = "coffer.Pulls",
		                  .method = "WatchPulls",
		                  .msg = &req.base,
		                  .out = &coffer__watch_pulls_response__descriptor,
		                  .timeout_ms = timeout_ms };
	struct cf_err err;

	req.seen = seen;
	if (ttrpc_call(f->client, &call, (ProtobufCMessage **)&resp, &err) < 0)
		return NULL;
	EXPECT(resp->serial && resp->serial != seen);
	return resp;
}

static uint64_t expect_pulls(Coffer__WatchPullsResponse *resp, size_t count, const char *image,
                             const char *container)
{
	uint64_t serial;

	EXPECT(resp);
	serial = resp->serial;
	EXPECT_INT(resp->n_pulls, count);
	for (size_t i = 0; i < count; i++) {
		EXPECT_STR(resp->pulls[i]->image, image);
		EXPECT_STR(resp->pulls[i]->container, container);
		EXPECT_INT(resp->pulls[i]->layers, 0); /* its manifest never came */
	}
	coffer__watch_pulls_response__free_unpacked(resp, NULL);
	return serial;
}

CF_TEST(service_tells_who_looks_on_how_far_pulls_are)
{
	struct fixture f = start(ACCEPT, NULL, NULL);
	struct early_caller caller = { .f = &f };
	pthread_t thread;
	int mute;
	cf_cleanup(cf_freep) char *ref = mute_registry(&mute);
	uint64_t serial = expect_pulls(watch(&f, 0, 60000), 0, NULL, NULL);
	struct cf_err err;

	EXPECT(!watch(&f, serial, 100)); /* nothing happens */
	caller.ref = ref;
	EXPECT(pthread_create(&thread, NULL, early_thread, &caller) == 0);
	serial = expect_pulls(watch(&f, serial, 60000), 1, ref, "");
	for (unsigned i = 0; i < 2 * PULL_WATCHERS; i++) /* callers that left take no place */
		EXPECT(!watch(&f, serial, 50));
	cf_cleanup(cf_freep) char *digest = pull(&f, 0, 60000, &err);

	EXPECT(digest);
	serial = expect_pulls(watch(&f, serial, 60000), 0, NULL, NULL);
	EXPECT(pthread_join(thread, NULL) == 0);
	close(mute);
	stop(&f);
}

CF_TEST(service_ends_while_something_is_fetched_early)
{
	struct fixture f = start(ACCEPT, NULL, NULL);
	int mute;
	cf_cleanup(cf_freep) char *ref = mute_registry(&mute);
	struct cf_err err;

	EXPECT(prefetch(&f, ref, 300, &err) < 0);
	EXPECT(prefetch(&f, "", 60000, &err) == -CF_INVALID_ARGUMENT);
	stop(&f); /* with status 0 */
	close(mute);
}

CF_TEST(service_judges_an_early_pull_as_any_other)
{
	struct fixture f = start(REJECT, NULL, NULL);
	cf_cleanup(cf_freep) char *get = cf_asprintf("GET %s ", f.image.paths[1]);
	struct cf_err err;

	EXPECT(prefetch(&f, f.ref, 60000, &err) == -CF_PERMISSION_DENIED);
	EXPECT(strstr(err.msg, "Image policy rejected"));
	EXPECT_INT(count_requests(&f, get), 0);
	stop(&f);
}

CF_TEST(service_decrypts_with_a_key_that_the_broker_gives)
{
	static const uint8_t kek[32] = { 1, 2, 3 };
	struct fixture f = start(ACCEPT, kek, kek);
	struct cf_err err;
	cf_cleanup(cf_freep) char *digest = pull(&f, 0, 60000, &err);

	if (!digest)
		fail_msg("%s", err.msg);
	expect_bundle(&f, 0, "true");
	stop(&f);
}

static void expect_nothing(struct fixture *f, const char *words)
{
	cf_cleanup(cf_freep) char *root = cf_asprintf("%s/b0/rootfs/hello", f->dir);
	struct cf_err err;

	EXPECT(!pull(f, 0, 60000, &err));
	if (!strstr(err.msg, words))
		fail_msg("not the words: %s", err.msg);
	EXPECT(err.code == CF_PERMISSION_DENIED);
	EXPECT(access(root, F_OK) != 0);
}

CF_TEST(service_refuses_without_the_right_key)
{
	static const uint8_t kek[32] = { 1, 2, 3 }, other[32] = { 4 };
	struct fixture f = start(ACCEPT, kek, other);
	cf_cleanup(cf_freep) char *get = cf_asprintf("GET %s ", f.image.paths[1]);

	expect_nothing(
		&f, "Failed to decrypt the image layer, please ensure that the decryption key is "
		    "placed and correct");
	EXPECT_INT(count_requests(&f, get), 0); /* keys come before bytes */
	stop(&f);
}

CF_TEST(service_refuses_by_policy_before_it_asks_for_a_layer)
{
	struct fixture f = start(REJECT, NULL, NULL);
	cf_cleanup(cf_freep) char *get = cf_asprintf("GET %s ", f.image.paths[1]);

	expect_nothing(&f, "Image policy rejected: Denied by policy");
	EXPECT_INT(count_requests(&f, get), 0);
	stop(&f);
}

CF_TEST(service_refuses_every_image_without_a_policy)
{
	struct fixture f = start(NULL, NULL, NULL);

	expect_nothing(&f, "Image policy rejected: Denied by policy: no image policy");
	stop(&f);
}

CF_TEST(service_gives_resources_and_says_what_it_does_not_do)
{
	static const uint8_t kek[32] = { 9, 8, 7 };
	struct fixture f = start(ACCEPT, NULL, kek);
	Api__GetResourceRequest req = API__GET_RESOURCE_REQUEST__INIT;
	Api__GetResourceResponse *resp = NULL;
	Api__UnsealSecretInput unseal = API__UNSEAL_SECRET_INPUT__INIT;
	struct ttrpc_req call = { .service = "api.GetResourceService",
		                  .method = "GetResource",
		                  .msg = &req.base,
		                  .out = &api__get_resource_response__descriptor,
		                  .timeout_ms = 10000 };
	char uri[] = KID, none[] = "kbs:///a/b/none";
	struct cf_err err;

	req.resourcepath = uri;
	EXPECT_OK(ttrpc_call(f.client, &call, (ProtobufCMessage **)&resp, &err), &err);
	EXPECT(cf_view_eq(cf_view(resp->resource.data, resp->resource.len), cf_view(kek, 32)));
	api__get_resource_response__free_unpacked(resp, NULL);
	req.resourcepath = none;
	EXPECT_FAILS(ttrpc_call(f.client, &call, NULL, &err), CF_NOT_FOUND);
	EXPECT(strstr(err.msg, "Get Resource failed"));
	call.service = "api.SealedSecretService";
	call.method = "UnsealSecret";
	call.msg = &unseal.base;
	EXPECT_FAILS(ttrpc_call(f.client, &call, NULL, &err), CF_UNIMPLEMENTED);
	stop(&f);
}
