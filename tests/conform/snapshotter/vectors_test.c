/* SPDX-License-Identifier: Apache-2.0 */
/* What containerd's filters select, what its messages look like, what Kata takes: recorded answers. */
#include "base/json.h"
#include "base/str.h"
#include "proto/containerd_snapshots.pb-c.h"
#include "proto/rpc.h"
#include "snapshotter/snap_filter.h"
#include "snapshotter/snap_mount.h"
#include "snapshotter/snap_record.h"
#include "tests/harness/test.h"

static struct cf_json *vector(const char *name)
{
	cf_cleanup(cf_freep) char *path = cf_test_vector(name);
	struct cf_buf text = cf_test_read(path);
	struct cf_json *doc = NULL;
	struct cf_err err;

	EXPECT_OK(cf_json_parse(cf_buf_view(&text), 0, &doc, &err), &err);
	cf_buf_fini(&text);
	return doc;
}

static char *text_of(const struct cf_json *v)
{
	return cf_view_dup(cf_json_str(v));
}

static struct snap_record *record(const struct cf_json *info)
{
	cf_cleanup(snap_labels_fini) struct snap_labels labels = { 0 };
	cf_cleanup(cf_buf_fini) struct cf_buf encoded = { 0 };
	cf_cleanup(cf_freep) char *name = text_of(cf_json_get(info, "name"));
	cf_cleanup(cf_freep) char *parent = text_of(cf_json_get(info, "parent"));
	cf_cleanup(cf_freep) char *kind = text_of(cf_json_get(info, "kind"));
	struct snap_record head = { .kind = cf_streq(kind, "active") ? SNAP_ACTIVE
		                            : cf_streq(kind, "view") ? SNAP_VIEW
		                                                     : SNAP_COMMITTED };
	const char *key;
	const struct cf_json *value;
	struct cf_err err;

	for (void *it = NULL; cf_json_next(cf_json_get(info, "labels"), &it, &key, &value);) {
		cf_cleanup(cf_freep) char *text = text_of(value);

		EXPECT_OK(snap_labels_set(&labels, key, text, &err), &err);
	}
	snap_labels_encode(&labels, name, &encoded);
	return snap_record_new(&head, cf_view_str(name), parent, cf_buf_view(&encoded), NULL);
}

static bool names(const struct cf_json *match, const char *name)
{
	for (size_t i = 0; i < cf_json_len(match); i++)
		if (cf_view_eq_str(cf_json_str(cf_json_at(match, i)), name))
			return true;
	return false;
}

CF_TEST(filters_select_what_containerd_selects)
{
	struct cf_json *doc = vector("snapshotter/snapshot-filters.json");
	const struct cf_json *cases = cf_json_get(doc, "cases"), *infos = cf_json_get(doc, "infos");
	size_t checked = 0;

	for (size_t i = 0; i < cf_json_len(cases); i++) {
		const struct cf_json *c = cf_json_at(cases, i);
		cf_cleanup(cf_strv_fini) struct cf_strv texts = { 0 };
		cf_cleanup(snap_filter_freep) struct snap_filter *f = NULL;
		struct cf_err err;

		for (size_t j = 0; j < cf_json_len(cf_json_get(c, "filters")); j++)
			cf_strv_add_take(&texts, text_of(cf_json_at(cf_json_get(c, "filters"), j)));
		int r = snap_filter_new(texts.items, texts.count, &f, &err);
		bool must_fail = cf_json_type(cf_json_get(c, "error")) != CF_JSON_NULL;

		if (must_fail != (r == -CF_INVALID_ARGUMENT))
			print_message("case %zu: %s\n", i, texts.items[0]);
		EXPECT(must_fail == (r == -CF_INVALID_ARGUMENT));
		for (size_t j = 0; r == 0 && j < cf_json_len(infos); j++, checked++) {
			struct snap_record *rec = record(cf_json_at(infos, j));

			if (snap_filter_match(f, rec) != names(cf_json_get(c, "match"), rec->name))
				fail_msg("case %zu, filter %s, record %s", i,
				         texts.count ? texts.items[0] : "", rec->name);
			snap_record_unref(rec);
		}
	}
	EXPECT(checked > 100);
	cf_json_free(doc);
}

static const ProtobufCMessageDescriptor *type_of(const char *name)
{
#define SNAP(x) &containerd__services__snapshots__v1__##x##__descriptor
	static const struct {
		const char *name;
		const ProtobufCMessageDescriptor *type;
	} types[] = {
		{ "PrepareSnapshotRequest", SNAP(prepare_snapshot_request) },
		{ "PrepareSnapshotResponse", SNAP(prepare_snapshot_response) },
		{ "CommitSnapshotRequest", SNAP(commit_snapshot_request) },
		{ "StatSnapshotResponse", SNAP(stat_snapshot_response) },
		{ "UpdateSnapshotRequest", SNAP(update_snapshot_request) },
		{ "ListSnapshotsRequest", SNAP(list_snapshots_request) },
		{ "ListSnapshotsResponse", SNAP(list_snapshots_response) },
		{ "UsageResponse", SNAP(usage_response) },
	};

	for (size_t i = 0; i < CF_ARRAY_LEN(types); i++)
		if (cf_streq(types[i].name, name))
			return types[i].type;
	return NULL;
}

CF_TEST(messages_are_the_bytes_containerd_writes)
{
	struct cf_json *doc = vector("snapshotter/snapshots-wire.json");

	EXPECT(cf_json_len(doc) >= 8);
	for (size_t i = 0; i < cf_json_len(doc); i++) {
		const struct cf_json *c = cf_json_at(doc, i);
		cf_cleanup(cf_freep) char *name = text_of(cf_json_get(c, "message"));
		cf_cleanup(cf_buf_fini) struct cf_buf wire = { 0 }, again = { 0 };
		ProtobufCMessage *msg = NULL;
		struct cf_err err;

		EXPECT(type_of(name));
		EXPECT_OK(cf_hex_decode_buf(cf_json_str(cf_json_get(c, "hex")), &wire, &err), &err);
		EXPECT_OK(rpc_unpack(type_of(name), wire.data, wire.size, &msg, &err), &err);
		uint8_t *p = cf_buf_reserve(&again, protobuf_c_message_get_packed_size(msg));

		again.size = protobuf_c_message_pack(msg, p);
		EXPECT(cf_view_eq(cf_buf_view(&wire), cf_buf_view(&again)));
		protobuf_c_message_free_unpacked(msg, NULL);
	}
	cf_json_free(doc);
}

/* The options string of a snapshot over one layer with these labels. */
static char *volume_option(const char *const *labels, bool is_minimal)
{
	struct snap_mount_opts opts = { .root = "/r",
		                        .helper = "nydus-overlayfs",
		                        .is_minimal = is_minimal };
	cf_cleanup(snap_labels_fini) struct snap_labels l = { 0 };
	cf_cleanup(cf_buf_fini) struct cf_buf encoded = { 0 };
	struct snap_record active = { .id = 2,
		                      .parent_id = 1,
		                      .kind = SNAP_ACTIVE,
		                      .flags = SNAP_KATA | SNAP_HAS_DIR,
		                      .name = "a",
		                      .parent = "p" };
	struct snap_record layer_head = { .id = 1,
		                          .kind = SNAP_COMMITTED,
		                          .flags = SNAP_GUEST_PULL };
	struct snap_list chain = { 0 };
	struct snap_mount m = { 0 };
	struct cf_err err;

	for (; labels && labels[0]; labels += 2)
		EXPECT_OK(snap_labels_set(&l, labels[0], labels[1], &err), &err);
	snap_labels_encode(&l, "p", &encoded);
	cf_grow(&chain.items, &chain.cap, 1);
	chain.items[chain.count++] =
		snap_record_new(&layer_head, cf_view_str("p"), "", cf_buf_view(&encoded), NULL);
	EXPECT_OK(snap_mount_of(&opts, &active, &chain, &m, &err), &err);
	EXPECT_STR(m.type, "fuse.nydus-overlayfs");
	EXPECT_STR(m.source, "overlay");
	EXPECT(m.options.count == 4);
	EXPECT_STR(m.options.items[0], "workdir=/r/snapshots/2/work");
	EXPECT_STR(m.options.items[1], "upperdir=/r/snapshots/2/fs");
	EXPECT_STR(m.options.items[2], "lowerdir=/r/empty");
	char *option = cf_strdup(m.options.items[3]);

	snap_mount_fini(&m);
	snap_list_fini(&chain);
	return option;
}

static char *volume_json(const char *option)
{
	cf_cleanup(cf_buf_fini) struct cf_buf json = { .max = 1u << 20 };
	const char *b64 = cf_after(option, SNAP_VOLUME_PREFIX);
	struct cf_err err;

	EXPECT(b64);
	EXPECT_OK(cf_b64_decode(CF_B64_STD, cf_view_str(b64), &json, &err), &err);
	return cf_buf_take_str(&json);
}

CF_TEST(kata_volumes_are_those_every_kata_takes)
{
	static const char *const one[] = {
		SNAP_LABEL_LAYER,
		"sha256:1111111111111111111111111111111111111111111111111111111111111111",
		SNAP_LABEL_PROXY_MODE, "true", NULL
	};
	struct cf_json *doc = vector("snapshotter/kata-virtual-volume.json");
	cf_cleanup(cf_freep) char *want0 = text_of(cf_json_get(cf_json_at(doc, 0), "option"));
	cf_cleanup(cf_freep) char *want1 = text_of(cf_json_get(cf_json_at(doc, 1), "json"));
	cf_cleanup(cf_freep) char *got0 = volume_option(NULL, false);
	cf_cleanup(cf_freep) char *option1 = volume_option(one, true);
	cf_cleanup(cf_freep) char *got1 = volume_json(option1);

	EXPECT_STR(got0, want0);
	/* The recorded one names its image; ours, told to say little, does not. */
	const char *from = strstr(want1, "\"options\""), *ours = strstr(got1, "\"options\"");

	EXPECT(from && ours);
	EXPECT_STR(ours, from);
	cf_json_free(doc);
}

CF_TEST(kata_volumes_tell_what_is_known_in_one_order)
{
	static const char *const labels[] = { SNAP_LABEL_LAYER,
		                              "sha256:aa",
		                              SNAP_LABEL_IMAGE_REF,
		                              "docker.io/library/x:1",
		                              SNAP_LABEL_MANIFEST,
		                              "sha256:mm",
		                              SNAP_LABEL_DIFF_ID,
		                              "sha256:dd",
		                              SNAP_LABEL_PROXY_MODE,
		                              "true",
		                              "containerd.io/snapshot/evil",
		                              "x",
		                              NULL };
	cf_cleanup(cf_freep) char *option = volume_option(labels, false);
	cf_cleanup(cf_freep) char *json = volume_json(option);

	EXPECT_STR(json,
	           "{\"volume_type\":\"image_guest_pull\",\"source\":\"docker.io/library/x:1\","
	           "\"options\":[\"containerd.io/snapshot/cri.image-ref=docker.io/library/x:1\","
	           "\"containerd.io/snapshot/cri.layer-digest=sha256:aa\","
	           "\"containerd.io/snapshot/cri.manifest-digest=sha256:mm\","
	           "\"containerd.io/snapshot/nydus-proxy-mode=true\","
	           "\"io.coffer.diff-ids=sha256:dd\",\"io.coffer.layers=sha256:aa\","
	           "\"io.coffer.snapshot-id=2\"],\"image_pull\":{\"metadata\":{"
	           "\"containerd.io/snapshot/cri.image-ref\":\"docker.io/library/x:1\","
	           "\"containerd.io/snapshot/cri.layer-digest\":\"sha256:aa\","
	           "\"containerd.io/snapshot/cri.manifest-digest\":\"sha256:mm\","
	           "\"containerd.io/snapshot/nydus-proxy-mode\":\"true\","
	           "\"io.coffer.diff-ids\":\"sha256:dd\",\"io.coffer.layers\":\"sha256:aa\","
	           "\"io.coffer.snapshot-id\":\"2\"}}}");
}
