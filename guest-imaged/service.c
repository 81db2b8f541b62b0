/* SPDX-License-Identifier: Apache-2.0 */
#include "guest-imaged/service.h"

#include "base/fd.h"
#include "base/json.h"
#include "guest-imaged/blob_cache.h"
#include "guest-imaged/bundle.h"
#include "guest-imaged/image_pull.h"
#include "guest-imaged/pull_meter.h"
#include "guest-imaged/pull_watch.h"
#include "proto/cdh.pb-c.h"
#include "proto/sig_policy.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define POLICY_MAX (1u << 20)
#define AUTH_MAX   (1u << 20)

/* One pull under way, and everybody who waits for it. Loop thread, but for what the job owns. */
struct pull_job {
	struct service *service;
	struct pull_job *next;
	char *image, *bundle; /* "": into the store alone, ahead of a container */
	int cancel_fd;        /* eventfd of its own when it is early, the service's otherwise */
	struct pull_meter meter;
	struct rpc_call **waiting;
	size_t waiting_count, waiting_cap;
	int64_t began_ms;
	/* the job's, until it posts its end */
	int result;
	struct cf_err err;
	struct oci_digest digest;
	uint64_t bytes;
	size_t layers;
	char *judgement;
	bool is_unchecked; /* no policy at all */
};

struct service {
	struct service_opts opts;
	struct cf_work *pulls, *layers;
	struct blob_cache *cache; /* the node's; NULL: none, or switched off */
	struct pull_job *jobs;
	struct pull_watch *watch;
	int cancel_fd;
	struct rpc_service services[5];
	const struct rpc_service *table[5];
};

static bool is_early(const struct pull_job *j)
{
	return !j->bundle[0];
}

/* ---- one pull, on a worker ---- */

static int load(struct service *s, const char *uri, size_t max, const char *what,
                struct cf_buf *ret, struct cf_err *err)
{
	ret->max = RESOURCE_SIZE_MAX + 1;
	int r = resource_get_configured(s->opts.resource, uri, ret, err);

	if (r == 0 && ret->size > max)
		r = cf_fail(err, CF_RESOURCE_EXHAUSTED, "over %zu bytes", max);
	return r < 0 ? cf_wrap(err, r, "%s", what) : 0;
}

/* Read anew for each pull: a policy that was withdrawn at the broker must not live on here. */
static int load_policy(struct service *s, struct sig_policy **ret, struct cf_err *err)
{
	const struct imaged_config *c = s->opts.config;
	struct cf_buf text = { 0 };
	int r = 0;

	if (c->policy_uri)
		r = load(s, c->policy_uri, POLICY_MAX, "image policy", &text, err);
	else if (c->policy)
		cf_buf_add_str(&text, c->policy);
	else if (s->opts.accept_without_policy)
		return 0;
	else
		r = cf_fail(err, CF_PERMISSION_DENIED,
		            "Image policy rejected: Denied by policy: no image policy is "
		            "configured ([image] image_security_policy)");
	if (r == 0)
		r = sig_policy_parse(cf_buf_view(&text), ret, err);
	cf_buf_fini(&text);
	return r;
}

static int fetch(void *arg, const char *uri, struct cf_buf *ret, struct cf_err *err)
{
	return resource_get_configured(arg, uri, ret, err);
}

static int give_kek(void *arg, const char *kid, size_t i, struct cf_secret **ret,
                    struct cf_err *err)
{
	struct cf_buf key = { 0 };

	if (i > 0)
		return cf_fail(err, CF_NOT_FOUND, "%s does not open it", kid);
	int r = resource_get(arg, kid, &key, err);

	if (r == 0)
		return cf_secret_take_buf(&key, ret, err);
	cf_buf_wipe(&key);
	/* To the caller of the unwrapping "not found" means "that was the last one". */
	if (r == -CF_NOT_FOUND)
		return cf_fail(err, CF_NOT_FOUND, "the key broker has no %s", kid);
	return r;
}

/* The peers' exact text: it is measured, byte for byte. Quotes are escaped so that it stays JSON. */
static void pull_event(const struct pull_job *j, struct cf_buf *out)
{
	cf_buf_add_str(out, "{\"image\":");
	cf_buf_add_json_str(out, cf_view_str(j->image));
	cf_buf_printf(out, ", \"digest\":\"%s\"}", j->digest.text);
}

static int measure(struct pull_job *j, struct cf_err *err)
{
	struct cf_buf event = { 0 };
	bool noted;

	pull_event(j, &event);
	int r = resource_extend(j->service->opts.resource, "PullImage", (const char *)event.data,
	                        &noted, err);

	cf_buf_fini(&event);
	return r;
}

static int finish(struct pull_job *j, const struct pull_result *image, struct cf_err *err)
{
	int r = bundle_make(image, j->bundle, j->service->opts.config->work_dir, err);

	if (r < 0)
		return r;
	r = measure(j, err);
	if (r < 0)
		bundle_unmake(j->bundle);
	return r;
}

static void note(struct pull_job *j, struct pull_result *image)
{
	j->digest = image->manifest;
	j->layers = image->layer_count;
	for (size_t i = 0; i < image->layer_count; i++)
		j->bytes += image->layers[i].is_reused ? 0 : image->layers[i].size;
	j->judgement = cf_take(&image->judgement);
}

static int pull_with(struct pull_job *j, const struct sig_policy *policy, struct cf_view auth,
                     struct cf_err *err)
{
	struct service *s = j->service;
	const struct imaged_config *c = s->opts.config;
	cf_cleanup(cf_freep) struct cf_view *ca = cf_zalloc_n(c->ca.count + 1, sizeof(*ca));
	struct pull_result image = { 0 };
	struct pull_env env = {
		.work_dir = c->work_dir,
		.layers = s->layers,
		.layers_at_once = c->layers_at_once,
		.source = { .auth_json = auth,
		            .ca_pem = ca,
		            .ca_count = c->ca.count,
		            .clock_untrusted = s->opts.clock_untrusted,
		            .https_proxy = c->https_proxy,
		            .http_proxy = c->http_proxy,
		            .no_proxy = c->no_proxy,
		            .cancel_fd = j->cancel_fd },
		.platform = oci_platform_own(),
		.policy = policy,
		.keys = { .kek = give_kek, .arg = s->opts.resource },
		.fetch = fetch,
		.fetch_arg = s->opts.resource,
		.cache = s->cache,
		.meter = &j->meter,
		.not_durable = true, /* a guest's store goes with the guest */
	};

	for (size_t i = 0; i < c->ca.count; i++)
		ca[i] = cf_view_str(c->ca.items[i]);
	int r = pull_image(&env, j->image, &image, err);

	if (r < 0)
		return r;
	note(j, &image);
	/* What is fetched early is neither mounted nor measured: that is its container's to cause. */
	if (!is_early(j))
		r = finish(j, &image, err);
	pull_result_fini(&image);
	return r;
}

static int run_pull(struct pull_job *j, struct cf_err *err)
{
	cf_cleanup(sig_policy_freep) struct sig_policy *policy = NULL;
	const char *auth_uri = j->service->opts.config->auth_uri;
	struct cf_buf auth = { 0 };
	int r = 0;

	if (cf_starts_with(j->image, "oci:"))
		r = cf_fail(err, CF_INVALID_ARGUMENT, "images come from a registry here");
	if (r == 0)
		r = load_policy(j->service, &policy, err);
	j->is_unchecked = !policy;
	if (r == 0 && auth_uri)
		r = load(j->service, auth_uri, AUTH_MAX, "registry credentials", &auth, err);
	if (r == 0)
		r = pull_with(j, policy, cf_buf_view(&auth), err);
	cf_buf_wipe(&auth);
	return r;
}

static void on_end(void *arg);

static void pull_run(void *arg)
{
	struct pull_job *j = arg;

	j->result = run_pull(j, &j->err);
	cf_loop_post(j->service->opts.loop, on_end, j);
}

/* ---- the loop's side ---- */

static void log_failure(const struct pull_job *j)
{
	int64_t ms = cf_now_ms() - j->began_ms;

	/* A wrong guess is nobody's concern. */
	if (is_early(j))
		cf_log_info("not fetched early", CF_F_STR("image", j->image),
		            CF_F_STR("why", j->err.msg), CF_F_INT("ms", ms));
	else
		cf_log_error("pull failed", CF_F_STR("image", j->image),
		             CF_F_STR("code", cf_code_name((enum cf_code) - j->result)),
		             CF_F_STR("why", j->err.msg), CF_F_INT("ms", ms));
}

static void log_end(const struct pull_job *j)
{
	int64_t ms = cf_now_ms() - j->began_ms;

	if (j->result < 0) {
		log_failure(j);
		return;
	}
	if (j->is_unchecked)
		cf_log_warn("no image policy: nobody's signature was asked for",
		            CF_F_STR("image", j->image));
	cf_log_info(is_early(j) ? "fetched early" : "pull done", CF_F_STR("image", j->image),
	            CF_F_STR("digest", j->digest.text), CF_F_UINT("layers", j->layers),
	            CF_F_UINT("bytes", j->bytes), CF_F_STR("policy", j->judgement),
	            CF_F_INT("ms", ms));
}

static void answer(const struct pull_job *j, struct rpc_call *call)
{
	Api__ImagePullResponse resp = API__IMAGE_PULL_RESPONSE__INIT;

	if (j->result < 0) {
		rpc_fail(call, (enum cf_code) - j->result,
		         "[CDH] [ERROR]: Image Pull error: Failed to pull image %s: %s", j->image,
		         j->err.msg);
		return;
	}
	if (is_early(j)) {
		Coffer__PrefetchImageResponse early = COFFER__PREFETCH_IMAGE_RESPONSE__INIT;

		rpc_reply(call, &early);
		return;
	}
	cf_cleanup(cf_freep) char *digest = cf_strdup(j->digest.text);

	resp.manifest_digest = digest;
	rpc_reply(call, &resp);
}

static void job_free(struct pull_job *j)
{
	if (is_early(j))
		cf_close(&j->cancel_fd);
	free(j->image);
	free(j->bundle);
	free(j->judgement);
	free(j->waiting);
	free(j);
}

static void job_unlink(struct pull_job *j)
{
	for (struct pull_job **p = &j->service->jobs; *p; p = &(*p)->next) {
		if (*p == j) {
			*p = j->next;
			return;
		}
	}
}

static void on_end(void *arg)
{
	struct pull_job *j = arg;

	log_end(j);
	job_unlink(j);
	pull_watch_changed(j->service->watch);
	for (size_t i = 0; i < j->waiting_count; i++)
		answer(j, j->waiting[i]);
	job_free(j);
}

static void wait_for(struct pull_job *j, struct rpc_call *call)
{
	cf_grow(&j->waiting, &j->waiting_cap, j->waiting_count + 1);
	j->waiting[j->waiting_count++] = call;
}

static struct pull_job *find_job(const struct service *s, const char *image, const char *bundle)
{
	for (struct pull_job *j = s->jobs; j; j = j->next) {
		if (strcmp(j->image, image) == 0 && strcmp(j->bundle, bundle) == 0)
			return j;
	}
	return NULL;
}

/* Takes the call; @cancel_fd_take belongs to the job when it is early. */
static void begin_pull(struct service *s, const char *image, const char *bundle, int cancel_fd_take,
                       struct rpc_call *call)
{
	struct pull_job *j = cf_zalloc(sizeof(*j));
	struct cf_err err;

	*j = (struct pull_job){ .service = s,
		                .next = s->jobs,
		                .image = cf_strdup(image),
		                .bundle = cf_strdup(bundle),
		                .cancel_fd = cancel_fd_take,
		                .began_ms = cf_now_ms() };
	int r = cf_work_add(s->pulls, pull_run, j, &err);

	if (r < 0) {
		job_free(j);
		rpc_fail_err(call, &err);
		return;
	}
	s->jobs = j;
	wait_for(j, call);
	pull_watch_changed(s->watch);
}

/* NULL: all of them. */
static void cancel_early(const struct service *s, const char *but_of_image)
{
	const uint64_t one = 1;

	for (const struct pull_job *j = s->jobs; j; j = j->next)
		if (is_early(j) && !cf_streq(j->image, but_of_image))
			(void)!write(j->cancel_fd, &one, sizeof(one));
}

/*
 * A caller that gave up does not end its pull: it comes back with the same request, and joins what is
 * running. What was only guessed to be needed makes room for what is; of the same image it goes on,
 * and this pull finds its layers in the store or waits for them there.
 */
static void pull_image_call(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	const Api__ImagePullRequest *req = (const Api__ImagePullRequest *)msg;
	struct service *s = user;

	if (!req->image_url[0] || req->bundle_path[0] != '/') {
		rpc_fail(call, CF_INVALID_ARGUMENT,
		         "[CDH] [ERROR]: Image Pull error: an image and an absolute bundle path "
		         "are needed");
		return;
	}
	struct pull_job *j = find_job(s, req->image_url, req->bundle_path);

	if (j) {
		wait_for(j, call);
		return;
	}
	cancel_early(s, req->image_url);
	begin_pull(s, req->image_url, req->bundle_path, s->cancel_fd, call);
}

static size_t count_early(const struct service *s)
{
	size_t n = 0;

	for (const struct pull_job *j = s->jobs; j; j = j->next)
		n += is_early(j);
	return n;
}

static void prefetch_call(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	const Coffer__PrefetchImageRequest *req = (const Coffer__PrefetchImageRequest *)msg;
	struct service *s = user;
	struct pull_job *j = find_job(s, req->image, "");

	if (!req->image[0]) {
		rpc_fail(call, CF_INVALID_ARGUMENT, "an image is needed");
		return;
	}
	if (j) {
		wait_for(j, call);
		return;
	}
	if (count_early(s) == SERVICE_EARLY_PULLS) {
		rpc_fail(call, CF_RESOURCE_EXHAUSTED, "%u images are fetched early already",
		         SERVICE_EARLY_PULLS);
		return;
	}
	int cancel_fd = eventfd(0, EFD_CLOEXEC);

	if (cancel_fd < 0) {
		rpc_fail(call, CF_RESOURCE_EXHAUSTED, "eventfd: %s", strerror(errno));
		return;
	}
	begin_pull(s, req->image, "", cancel_fd, call);
}

/* Runs on the server's pool: it may wait for the key broker. */
static void get_resource_call(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	const Api__GetResourceRequest *req = (const Api__GetResourceRequest *)msg;
	Api__GetResourceResponse resp = API__GET_RESOURCE_RESPONSE__INIT;
	struct service *s = user;
	struct cf_buf value = { 0 };
	struct cf_err err;
	int r = resource_get(s->opts.resource, req->resourcepath, &value, &err);

	if (r < 0) {
		cf_log_error("resource refused", CF_F_STR("uri", req->resourcepath),
		             CF_F_STR("why", err.msg));
		rpc_fail(call, (enum cf_code) - r, "[CDH] [ERROR]: Get Resource failed: %s",
		         err.msg);
	} else {
		cf_log_info("resource given", CF_F_STR("uri", req->resourcepath),
		            CF_F_UINT("bytes", value.size));
		resp.resource.data = value.data;
		resp.resource.len = value.size;
		rpc_reply(call, &resp);
	}
	cf_buf_wipe(&value);
}

static void unseal_call(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	(void)msg;
	(void)user;
	rpc_fail(call, CF_UNIMPLEMENTED,
	         "[CDH] [ERROR]: Unseal Secret failed: sealed secrets are not opened here");
}

static void mount_call(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	(void)msg;
	(void)user;
	rpc_fail(call, CF_UNIMPLEMENTED,
	         "[CDH] [ERROR]: Secure Mount failed: volumes are not opened here");
}

static const struct rpc_method pull_methods[] = {
	{ "PullImage", &api__image_pull_request__descriptor, &api__image_pull_response__descriptor,
	  pull_image_call, RPC_INLINE },
};
static const struct rpc_method resource_methods[] = {
	{ "GetResource", &api__get_resource_request__descriptor,
	  &api__get_resource_response__descriptor, get_resource_call, 0 },
};
static const struct rpc_method sealed_methods[] = {
	{ "UnsealSecret", &api__unseal_secret_input__descriptor,
	  &api__unseal_secret_output__descriptor, unseal_call, RPC_INLINE },
};
static const struct rpc_method mount_methods[] = {
	{ "SecureMount", &api__secure_mount_request__descriptor,
	  &api__secure_mount_response__descriptor, mount_call, RPC_INLINE },
};

/* ---- who looks on ---- */

static char *container_of(const struct pull_job *j)
{
	char *slash = strrchr(j->bundle, '/');

	return slash ? slash + 1 : j->bundle;
}

static size_t list_pulls(void *arg, Coffer__Pull *pulls)
{
	struct service *s = arg;
	size_t n = 0;

	for (struct pull_job *j = s->jobs; j && n < PULL_WATCH_PULLS; j = j->next) {
		struct pull_meter_view v = pull_meter_read(&j->meter);
		Coffer__Pull *p = &pulls[n++];

		p->container = container_of(j);
		p->image = j->image;
		p->layers = v.layers;
		p->layers_done = v.layers_done;
		p->bytes = v.bytes;
		p->bytes_done = v.bytes_done;
	}
	return n;
}

static void watch_call(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	struct service *s = user;

	pull_watch_call(s->watch, call, ((const Coffer__WatchPullsRequest *)msg)->seen);
}

static const struct rpc_method pulls_methods[] = {
	{ "PrefetchImage", &coffer__prefetch_image_request__descriptor,
	  &coffer__prefetch_image_response__descriptor, prefetch_call, RPC_INLINE },
	{ "WatchPulls", &coffer__watch_pulls_request__descriptor,
	  &coffer__watch_pulls_response__descriptor, watch_call, RPC_INLINE },
};

const struct rpc_service *const *service_table(struct service *s, size_t *ret_count)
{
	*ret_count = CF_ARRAY_LEN(s->table);
	return s->table;
}

static struct blob_cache *find_cache(const struct imaged_config *c)
{
	cf_cleanup(cf_freep) char *path = c->is_cache_off ? NULL : blob_cache_path();

	return path ? blob_cache_new(path, c->is_plain_offered) : NULL;
}

int service_new(const struct service_opts *opts, struct service **ret, struct cf_err *err)
{
	cf_cleanup(service_freep) struct service *s = cf_zalloc(sizeof(*s));
	int r;

	s->opts = *opts;
	s->services[0] = (struct rpc_service){ "api.ImagePullService", pull_methods, 1, s };
	s->services[1] = (struct rpc_service){ "api.GetResourceService", resource_methods, 1, s };
	s->services[2] = (struct rpc_service){ "api.SealedSecretService", sealed_methods, 1, s };
	s->services[3] = (struct rpc_service){ "api.SecureMountService", mount_methods, 1, s };
	s->services[4] = (struct rpc_service){ "coffer.Pulls", pulls_methods,
		                               CF_ARRAY_LEN(pulls_methods), s };
	for (size_t i = 0; i < CF_ARRAY_LEN(s->table); i++)
		s->table[i] = &s->services[i];
	s->cache = find_cache(opts->config);
	s->watch = pull_watch_new(opts->loop, list_pulls, s);
	s->cancel_fd = eventfd(0, EFD_CLOEXEC);
	if (s->cancel_fd < 0)
		return cf_fail_errno(err, errno, "eventfd");
	r = cf_work_new(SERVICE_PULLS_AT_ONCE, SERVICE_PULLS_WAITING, &s->pulls, err);
	if (r == 0)
		r = cf_work_new(opts->config->layers_at_once + 1,
		                SERVICE_PULLS_AT_ONCE * IMAGED_LAYERS_AT_ONCE_MAX, &s->layers, err);
	if (r < 0)
		return r;
	*ret = cf_take(&s);
	return 0;
}

struct service *service_free(struct service *s)
{
	const uint64_t one = 1;

	if (!s)
		return NULL;
	if (s->cancel_fd > 0)
		(void)!write(s->cancel_fd, &one, sizeof(one));
	cancel_early(s, NULL);
	if (s->pulls)
		cf_work_free(s->pulls);
	while (s->jobs) /* their ends were posted; let them be answered */
		cf_loop_run_once(s->opts.loop, 0);
	pull_watch_free(s->watch);
	if (s->layers)
		cf_work_free(s->layers);
	if (s->cancel_fd > 0)
		close(s->cancel_fd);
	blob_cache_free(s->cache);
	free(s);
	return NULL;
}
