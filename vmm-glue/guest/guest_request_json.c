/* SPDX-License-Identifier: Apache-2.0 */
/* Requests as JSON, driven by protobuf-c's descriptors. */
#include "base/json.h"
#include "base/str.h"
#include "vmm-glue/guest/guest_rego.h"

#include <sys/stat.h>

static void write_message(struct cf_jw *w, const ProtobufCMessage *m);

/* protobuf-c stores fields as bytes of a struct; this is the one place that reads them so. */
static const void *member(const ProtobufCMessage *m, unsigned offset)
{
	return (const char *)m + offset;
}

static bool is_map_entry(const ProtobufCMessageDescriptor *d)
{
	return d->n_fields == 2 && cf_ends_with(d->name, "Entry") &&
	       cf_streq(d->fields[0].name, "key") && cf_streq(d->fields[1].name, "value");
}

/* Names as policies know them: a keyword of the peers' language gets an underscore. */
static void write_key(struct cf_jw *w, const ProtobufCMessageDescriptor *d, const char *name)
{
	static const char *const owners[] = { "Mount", "Device", "Interface" };
	cf_cleanup(cf_freep) char *plain = NULL;

	for (size_t i = 0; cf_streq(name, "type") && i < CF_ARRAY_LEN(owners); i++)
		if (cf_streq(d->short_name, owners[i]))
			name = "type_";
	if (cf_ends_with(name, "_") && !cf_streq(name, "type_"))
		name = plain = cf_strndup(name, strlen(name) - 1);
	cf_jw_key(w, name);
}

static void write_value(struct cf_jw *w, const ProtobufCFieldDescriptor *f, const void *at)
{
	switch (f->type) {
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
	case PROTOBUF_C_TYPE_ENUM:
		cf_jw_int(w, *(const int32_t *)at);
		break;
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
		cf_jw_uint(w, *(const uint32_t *)at);
		break;
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
		cf_jw_int(w, *(const int64_t *)at);
		break;
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		cf_jw_uint(w, *(const uint64_t *)at);
		break;
	case PROTOBUF_C_TYPE_BOOL:
		cf_jw_bool(w, *(const protobuf_c_boolean *)at);
		break;
	case PROTOBUF_C_TYPE_STRING:
		cf_jw_str(w, *(char *const *)at);
		break;
	case PROTOBUF_C_TYPE_BYTES: {
		const ProtobufCBinaryData *b = at;

		cf_jw_arr(w);
		for (size_t i = 0; i < b->len; i++)
			cf_jw_uint(w, b->data[i]);
		cf_jw_end_arr(w);
		break;
	}
	case PROTOBUF_C_TYPE_MESSAGE:
		if (*(const ProtobufCMessage *const *)at)
			write_message(w, *(const ProtobufCMessage *const *)at);
		else
			cf_jw_null(w);
		break;
	default: /* the protocol has no floating point */
		cf_jw_null(w);
		break;
	}
}

static size_t element_size(ProtobufCType type)
{
	switch (type) {
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		return sizeof(uint64_t);
	case PROTOBUF_C_TYPE_BOOL:
		return sizeof(protobuf_c_boolean);
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return sizeof(void *);
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	default:
		return sizeof(uint32_t);
	}
}

static void write_map(struct cf_jw *w, ProtobufCMessage *const *entries, size_t count)
{
	cf_jw_obj(w);
	for (size_t i = 0; i < count; i++) {
		const ProtobufCFieldDescriptor *fields = entries[i]->descriptor->fields;

		cf_jw_key(w, *(char *const *)member(entries[i], fields[0].offset));
		write_value(w, &fields[1], member(entries[i], fields[1].offset));
	}
	cf_jw_end_obj(w);
}

static void write_repeated(struct cf_jw *w, const ProtobufCMessage *m,
                           const ProtobufCFieldDescriptor *f)
{
	size_t count = *(const size_t *)member(m, f->quantifier_offset);
	const char *items = *(const char *const *)member(m, f->offset);

	if (f->type == PROTOBUF_C_TYPE_MESSAGE && is_map_entry(f->descriptor)) {
		write_map(w, (ProtobufCMessage *const *)(const void *)items, count);
		return;
	}
	cf_jw_arr(w);
	for (size_t i = 0; i < count; i++)
		write_value(w, f, items + i * element_size(f->type));
	cf_jw_end_arr(w);
}

static void write_field(struct cf_jw *w, const ProtobufCMessage *m,
                        const ProtobufCFieldDescriptor *f)
{
	bool is_choice = f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF;

	write_key(w, m->descriptor, f->name);
	if (f->label == PROTOBUF_C_LABEL_REPEATED)
		write_repeated(w, m, f);
	else if (is_choice && *(const uint32_t *)member(m, f->quantifier_offset) != f->id)
		cf_jw_null(w);
	else
		write_value(w, f, member(m, f->offset));
}

static void write_message(struct cf_jw *w, const ProtobufCMessage *m)
{
	cf_jw_obj(w);
	for (unsigned i = 0; i < m->descriptor->n_fields; i++)
		write_field(w, m, &m->descriptor->fields[i]);
	cf_jw_end_obj(w);
}

/* What a policy judges of a file is its place and kind, not megabytes of numbers. */
static void write_copy(struct cf_jw *w, const Grpc__CopyFileRequest *req)
{
	struct cf_view target = cf_view(req->data.data, req->data.len);
	mode_t kind = req->file_mode & S_IFMT;

	cf_jw_obj(w);
	cf_jw_kstr(w, "path", req->path);
	cf_jw_kstr(w, "file_type",
	           S_ISREG(kind)   ? "Regular"
	           : S_ISDIR(kind) ? "Directory"
	           : S_ISLNK(kind) ? "Symlink"
	                           : "Unknown");
	cf_jw_key(w, "symlink_target");
	/* With a NUL it is no link's; the rules refuse it too. */
	if (S_ISLNK(kind) && !cf_view_has_nul(target))
		cf_jw_view(w, target);
	else
		cf_jw_null(w);
	cf_jw_kint(w, "file_size", req->file_size);
	cf_jw_kuint(w, "file_mode", req->file_mode);
	cf_jw_kuint(w, "dir_mode", req->dir_mode);
	cf_jw_kint(w, "uid", req->uid);
	cf_jw_kint(w, "gid", req->gid);
	cf_jw_kint(w, "offset", req->offset);
	cf_jw_end_obj(w);
}

void guest_request_json(const ProtobufCMessage *request, struct cf_buf *out)
{
	struct cf_jw w = { .out = out };

	if (request->descriptor == &grpc__copy_file_request__descriptor)
		write_copy(&w, (const Grpc__CopyFileRequest *)request);
	else
		write_message(&w, request);
}
