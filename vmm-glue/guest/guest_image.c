/* SPDX-License-Identifier: Apache-2.0 */
/* Calls to the image service (CDH API), which is a process of its own in this machine. */
#include "base/log.h"
#include "proto/cdh.pb-c.h"
#include "proto/pulls.pb-c.h"
#include "vmm-glue/guest/guest.h"

#define DIAL_MS 1000 /* it has said that it is ready before we serve: this is no wait for it */

struct pull {
	guest_pull_done *done;
	void *arg;
};

static void on_lost(void *user, const struct cf_err *why)
{
	struct guest *g = user;

	cf_log_warn("image service lost", CF_F_STR("why", why->msg));
	g->cdh = ttrpc_client_free(g->cdh);
}

static int connect_cdh(struct guest *g, struct cf_err *err)
{
	struct ttrpc_client_opts opts = { .loop = g->loop, .lost = on_lost, .user = g };
	int r;

	if (g->cdh)
		return 0;
	r = ttrpc_client_dial(g->opts.cdh, DIAL_MS, &opts, &g->cdh, err);
	return r < 0 ? cf_wrap(err, r, "image service") : 0;
}

int guest_cdh_start(struct guest *g, const struct ttrpc_req *req, ttrpc_done *done, void *arg,
                    struct cf_err *err)
{
	int r = connect_cdh(g, err);

	return r < 0 ? r : ttrpc_start(g->cdh, req, done, arg, err);
}

static void on_pulled(void *user, int r, ProtobufCMessage *msg, const struct cf_err *err)
{
	struct pull *p = user;
	const struct cf_err *why = r < 0 ? err : NULL;

	if (msg)
		protobuf_c_message_free_unpacked(msg, NULL);
	p->done(p->arg, why);
	free(p);
}

static int start_pull(struct guest *g, const struct ttrpc_req *req, guest_pull_done *done,
                      void *arg, struct cf_err *err)
{
	struct pull *p = cf_zalloc(sizeof(*p));
	int r;

	p->done = done;
	p->arg = arg;
	r = guest_cdh_start(g, req, on_pulled, p, err);
	if (r < 0)
		free(p);
	return r;
}

int guest_pull(struct guest *g, const char *image, const char *bundle, guest_pull_done *done,
               void *arg, struct cf_err *err)
{
	Api__ImagePullRequest msg = API__IMAGE_PULL_REQUEST__INIT;
	cf_cleanup(cf_freep) char *image_copy = cf_strdup(image);
	cf_cleanup(cf_freep) char *bundle_copy = cf_strdup(bundle);
	struct ttrpc_req req = {
		.service = "api.ImagePullService",
		.method = "PullImage",
		.msg = &msg.base,
		.out = &api__image_pull_response__descriptor,
		.timeout_ms = GUEST_PULL_TIMEOUT_MS,
	};

	msg.image_url = image_copy;
	msg.bundle_path = bundle_copy;
	return start_pull(g, &req, done, arg, err);
}

int guest_prefetch(struct guest *g, const char *image, guest_pull_done *done, void *arg,
                   struct cf_err *err)
{
	Coffer__PrefetchImageRequest msg = COFFER__PREFETCH_IMAGE_REQUEST__INIT;
	cf_cleanup(cf_freep) char *image_copy = cf_strdup(image);
	struct ttrpc_req req = {
		.service = "coffer.Pulls",
		.method = "PrefetchImage",
		.msg = &msg.base,
		.out = &coffer__prefetch_image_response__descriptor,
		.timeout_ms = GUEST_PULL_TIMEOUT_MS,
	};

	msg.image = image_copy;
	return start_pull(g, &req, done, arg, err);
}

struct unseal {
	guest_unseal_done *done;
	void *arg;
};

static void on_unsealed(void *user, int r, ProtobufCMessage *msg, const struct cf_err *err)
{
	Api__UnsealSecretOutput *out = (Api__UnsealSecretOutput *)msg;
	struct unseal *u = user;
	struct cf_view plain = { 0 };

	if (r == 0)
		plain = cf_view(out->plaintext.data, out->plaintext.len);
	u->done(u->arg, r < 0 ? err : NULL, plain);
	if (out && out->plaintext.len)
		explicit_bzero(out->plaintext.data, out->plaintext.len);
	if (msg)
		protobuf_c_message_free_unpacked(msg, NULL);
	free(u);
}

int guest_unseal(struct guest *g, const char *secret, guest_unseal_done *done, void *arg,
                 struct cf_err *err)
{
	Api__UnsealSecretInput msg = API__UNSEAL_SECRET_INPUT__INIT;
	cf_cleanup(cf_freep) char *copy = cf_strdup(secret);
	struct ttrpc_req req = {
		.service = "api.SealedSecretService",
		.method = "UnsealSecret",
		.msg = &msg.base,
		.out = &api__unseal_secret_output__descriptor,
		.timeout_ms = GUEST_CDH_TIMEOUT_MS,
	};
	struct unseal *u;
	int r;

	r = connect_cdh(g, err);
	if (r < 0)
		return r;
	msg.secret.data = (uint8_t *)copy;
	msg.secret.len = strlen(copy);
	u = cf_zalloc(sizeof(*u));
	u->done = done;
	u->arg = arg;
	r = ttrpc_start(g->cdh, &req, on_unsealed, u, err);
	if (r < 0)
		free(u);
	return r;
}
