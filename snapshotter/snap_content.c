/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshotter/snap_content.h"

#include "base/log.h"
#include "base/str.h"
#include "proto/containerd_content.pb-c.h"
#include "proto/oci_manifest.h"
#include "proto/rpc_grpc.h"
#include "snapshotter/snap_worker.h"

#define C(x)     Containerd__Services__Content__V1__##x
#define INIT(x)  containerd__services__content__v1__##x##__init
#define D(x)     &containerd__services__content__v1__##x##__descriptor
#define SERVICE  "containerd.services.content.v1.Content"
#define GC_LABEL "containerd.io/gc.ref.content."

struct asker {
	struct rpc_grpc_client *client;
	const char *meta[3]; /* containerd-namespace, its value, NULL */
};

static int asker_open(struct asker *a, const char *socket, const char *ns, struct cf_err *err)
{
	a->meta[0] = "containerd-namespace";
	a->meta[1] = ns;
	return rpc_grpc_client_new(socket, &a->client, err);
}

static void asker_close(struct asker *a)
{
	rpc_grpc_client_free(a->client);
}

static struct rpc_grpc_req request(const struct asker *a, const char *method,
                                   const ProtobufCMessage *msg,
                                   const ProtobufCMessageDescriptor *out)
{
	return (struct rpc_grpc_req){ .service = SERVICE,
		                      .method = method,
		                      .msg = msg,
		                      .out = out,
		                      .timeout_ms = SNAP_CONTENT_TIMEOUT_MS,
		                      .meta = a->meta };
}

static char *text(const char *s)
{
	return (char *)(uintptr_t)s; /* protobuf-c only reads what it packs */
}

/* ---- which images have this layer ---- */

struct manifests {
	const char *layer;
	struct cf_strv configs;
};

/* containerd labels a manifest with all that it refers to: "….config", "….l.0", "….l.1". */
static void take_manifest(struct manifests *m, const C(Info) * info)
{
	const char *config = NULL;
	bool has_layer = false;

	for (size_t i = 0; i < info->n_labels; i++) {
		const char *rest = cf_after(info->labels[i]->key, GC_LABEL);

		if (!rest)
			continue;
		if (cf_starts_with(rest, "config"))
			config = info->labels[i]->value;
		else
			has_layer |= cf_streq(info->labels[i]->value, m->layer);
	}
	if (config && has_layer && m->configs.count < SNAP_CONTENT_IMAGES_MAX &&
	    !cf_strv_has(&m->configs, config))
		cf_strv_add(&m->configs, config);
}

static bool take_manifests(void *user, const ProtobufCMessage *msg)
{
	const C(ListContentResponse) *res = (const C(ListContentResponse) *)msg;

	for (size_t i = 0; i < res->n_info; i++)
		take_manifest(user, res->info[i]);
	return true;
}

static int list_configs(const struct asker *a, const char *layer, struct cf_strv *ret,
                        struct cf_err *err)
{
	char *filter = text("labels.\"" GC_LABEL "config\"");
	struct manifests m = { .layer = layer };
	C(ListContentRequest) req;

	INIT(list_content_request)(&req);
	req.filters = &filter;
	req.n_filters = 1;
	struct rpc_grpc_req grpc = request(a, "List", &req.base, D(list_content_response));
	int r = rpc_grpc_call_stream(a->client, &grpc, take_manifests, &m, err);

	*ret = m.configs;
	return r;
}

/* ---- what their configurations say ---- */

static bool take_bytes(void *user, const ProtobufCMessage *msg)
{
	const C(ReadContentResponse) *res = (const C(ReadContentResponse) *)msg;
	struct cf_buf *to = user;

	cf_buf_add(to, res->data.data, res->data.len);
	return !to->bad;
}

static int read_config(const struct asker *a, const char *digest, struct oci_config *ret,
                       struct cf_err *err)
{
	cf_cleanup(cf_buf_fini) struct cf_buf json = { .max = SNAP_CONTENT_CONFIG_MAX };
	C(ReadContentRequest) req;

	INIT(read_content_request)(&req);
	req.digest = text(digest);
	struct rpc_grpc_req grpc = request(a, "Read", &req.base, D(read_content_response));
	int r = rpc_grpc_call_stream(a->client, &grpc, take_bytes, &json, err);

	if (json.bad)
		r = cf_buf_check(&json, "an image's configuration", err);
	return r < 0 ? r : oci_config_parse(cf_buf_view(&json), ret, err);
}

char *snap_content_on_top(const char *parent, const char *chain, const struct cf_strv *diff_ids)
{
	cf_cleanup(cf_strv_fini) struct cf_strv args = { 0 };
	cf_cleanup(cf_buf_fini) struct cf_buf out = { .max = SNAP_WORKER_ANSWER_MAX };
	struct cf_err err;

	cf_strv_add(&args, "diff-id");
	cf_strv_add(&args, parent);
	cf_strv_add(&args, chain);
	for (size_t i = 0; i < diff_ids->count; i++)
		cf_strv_add(&args, diff_ids->items[i]);
	int r = snap_worker_run((const char *const *)args.items, NULL, NULL, &out, &err);

	if (r < 0 && r != -CF_NOT_FOUND)
		cf_log_warn("a layer cannot be looked up", CF_F_STR("why", err.msg));
	return r < 0 ? NULL : cf_view_dup(cf_buf_view(&out));
}

/* @parent NULL: the lowest layer, whose diffID is the chain itself. */
static bool find_diff_id(const struct oci_config *c, const struct snap_content_layer *in,
                         char **ret)
{
	cf_cleanup(cf_strv_fini) struct cf_strv ids = { 0 };

	if (!in->parent)
		*ret = c->diff_id_count && cf_streq(c->diff_ids[0].text, in->chain)
		               ? cf_strdup(in->chain)
		               : NULL;
	for (size_t i = 0; in->parent && i < c->diff_id_count; i++)
		cf_strv_add(&ids, c->diff_ids[i].text);
	if (ids.count)
		*ret = snap_content_on_top(in->parent, in->chain, &ids);
	return *ret;
}

static int search(const struct asker *a, const struct snap_content_layer *in, char **ret_diff_id,
                  char **ret_config, struct cf_err *err)
{
	cf_cleanup(cf_strv_fini) struct cf_strv configs = { 0 };
	int r = list_configs(a, in->layer, &configs, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < configs.count; i++) {
		cf_cleanup(oci_config_fini) struct oci_config c = { 0 };
		struct cf_err ignored;

		/* One that is broken or gone must not hide the next. */
		if (read_config(a, configs.items[i], &c, &ignored) < 0 ||
		    !find_diff_id(&c, in, ret_diff_id))
			continue;
		*ret_config = cf_strdup(configs.items[i]);
		return 0;
	}
	return cf_fail(err, CF_NOT_FOUND, "no image here says what %s is made of", in->chain);
}

int snap_content_diff_id(const char *socket, const char *ns, const struct snap_content_layer *in,
                         char **ret_diff_id, char **ret_config, struct cf_err *err)
{
	cf_cleanup(asker_close) struct asker a = { 0 };
	int r = asker_open(&a, socket, ns, err);

	return r < 0 ? r : search(&a, in, ret_diff_id, ret_config, err);
}

int snap_content_config_of(const char *socket, const char *ns, const char *layer,
                           const char *diff_id, char **ret_config, struct cf_err *err)
{
	const struct snap_content_layer in = { layer, NULL, diff_id };
	cf_cleanup(cf_freep) char *same = NULL;

	return snap_content_diff_id(socket, ns, &in, &same, ret_config, err);
}

/* ---- a blob ---- */

struct reading {
	bool (*take)(void *arg, struct cf_view piece);
	void *arg;
	uint64_t left;
	bool is_over, is_enough;
};

static bool take_piece(void *user, const ProtobufCMessage *msg)
{
	const C(ReadContentResponse) *res = (const C(ReadContentResponse) *)msg;
	struct reading *to = user;

	to->is_over = res->data.len > to->left;
	to->left -= CF_MIN(to->left, (uint64_t)res->data.len);
	if (!to->is_over)
		to->is_enough = !to->take(to->arg, cf_view(res->data.data, res->data.len));
	return !to->is_over && !to->is_enough;
}

int snap_content_read(const char *socket, const char *ns, const char *digest, uint64_t size_max,
                      bool (*take)(void *arg, struct cf_view piece), void *arg, struct cf_err *err)
{
	struct reading to = { .take = take, .arg = arg, .left = size_max };
	cf_cleanup(asker_close) struct asker a = { 0 };
	C(ReadContentRequest) req;
	int r = asker_open(&a, socket, ns, err);

	if (r < 0)
		return r;
	INIT(read_content_request)(&req);
	req.digest = text(digest);
	struct rpc_grpc_req grpc = request(&a, "Read", &req.base, D(read_content_response));

	grpc.timeout_ms = SNAP_CONTENT_READ_MS;
	r = rpc_grpc_call_stream(a.client, &grpc, take_piece, &to, err);
	if (to.is_over)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "a blob of over %llu bytes",
		               (unsigned long long)size_max);
	return to.is_enough ? 0 : r;
}

int snap_content_label(const char *socket, const char *ns, const char *digest, const char *key,
                       const char *value, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("labels.%s", key);
	Google__Protobuf__FieldMask mask = GOOGLE__PROTOBUF__FIELD_MASK__INIT;
	cf_cleanup(asker_close) struct asker a = { 0 };
	C(Info__LabelsEntry) entry, *entries[] = { &entry };
	C(UpdateRequest) req;
	C(Info) info;

	INIT(update_request)(&req);
	INIT(info)(&info);
	INIT(info__labels_entry)(&entry);
	entry.key = text(key);
	entry.value = text(value);
	info.digest = text(digest);
	info.labels = entries;
	info.n_labels = 1;
	mask.paths = &path;
	mask.n_paths = 1;
	req.info = &info;
	req.update_mask = &mask;
	int r = asker_open(&a, socket, ns, err);
	struct rpc_grpc_req grpc = request(&a, "Update", &req.base, D(update_response));

	return r < 0 ? r : rpc_grpc_call(a.client, &grpc, NULL, err);
}
