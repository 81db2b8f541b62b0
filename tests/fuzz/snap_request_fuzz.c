/* fuzz: snapshotter */
/* SPDX-License-Identifier: Apache-2.0 */
/* Requests as they come off the wire, and what is made of their keys and labels. */
#include "base/str.h"
#include "proto/containerd_snapshots.pb-c.h"
#include "proto/rpc.h"
#include "snapshotter/snap_name.h"
#include "snapshotter/snap_record.h"
#include "snapshotter/snap_service.h"

#include <assert.h>

#define T(x) Containerd__Services__Snapshots__V1__##x
#define D(x) &containerd__services__snapshots__v1__##x##__descriptor

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const ProtobufCMessageDescriptor *const types[] = {
	D(prepare_snapshot_request), D(view_snapshot_request),   D(mounts_request),
	D(commit_snapshot_request),  D(remove_snapshot_request), D(stat_snapshot_request),
	D(update_snapshot_request),  D(list_snapshots_request),  D(usage_request),
	D(cleanup_request),
};

static void store_and_read(const struct snap_labels *labels, const char *name)
{
	cf_cleanup(cf_buf_fini) struct cf_buf encoded = { .max = SNAP_LABELS_BYTES_MAX };
	cf_cleanup(snap_labels_fini) struct snap_labels again = { 0 };
	struct snap_record head = { .id = 1, .kind = SNAP_COMMITTED };
	struct cf_err err;

	snap_labels_encode(labels, name, &encoded);
	assert(!encoded.bad);
	assert(snap_labels_decode(cf_buf_view(&encoded), name, &again, &err) == 0);
	cf_cleanup(snap_record_unrefp) struct snap_record *rec =
		snap_record_new(&head, cf_view_str(name), "", cf_buf_view(&encoded), NULL);

	assert(snap_record_label_count(rec) == labels->count && again.count == labels->count);
	for (size_t i = 0; i < labels->count; i++) {
		const char *key = labels->items[i].key;

		assert(cf_streq(snap_record_label(rec, key), labels->items[i].value));
		assert(cf_streq(snap_labels_get(&again, key), labels->items[i].value));
	}
}

static void prepare(const T(PrepareSnapshotRequest) * req)
{
	cf_cleanup(snap_labels_fini) struct snap_labels labels = { 0 };
	struct cf_err err;

	(void)snap_name_is_extract(req->key);
	(void)snap_name_is_layer(req->key);
	for (size_t i = 0; i < req->n_labels; i++)
		if (snap_labels_set(&labels, req->labels[i]->key, req->labels[i]->value, &err) < 0)
			return;
	assert(labels.bytes <= SNAP_LABELS_BYTES_MAX);
	store_and_read(&labels, req->key);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	ProtobufCMessage *msg = NULL;
	struct cf_err err;

	if (size < 1)
		return 0;
	const ProtobufCMessageDescriptor *type = types[data[0] % CF_ARRAY_LEN(types)];

	if (rpc_unpack(type, data + 1, size - 1, &msg, &err) < 0)
		return 0;
	if (type == types[0])
		prepare((const T(PrepareSnapshotRequest) *)msg);
	protobuf_c_message_free_unpacked(msg, NULL);
	return 0;
}
