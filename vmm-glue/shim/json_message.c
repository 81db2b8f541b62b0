/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/shim/json_message.h"

#include "base/str.h"

#include <assert.h>
#include <string.h>
#include <strings.h>

static int message_fill(ProtobufCMessage *msg, const struct cf_json *obj, struct cf_err *err);

/* A value of an enum or map never occurs in the messages that this serves, but for string maps. */
static size_t value_size(ProtobufCType type)
{
	switch (type) {
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_ENUM:
		return sizeof(uint32_t);
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_UINT64:
		return sizeof(uint64_t);
	case PROTOBUF_C_TYPE_BOOL:
		return sizeof(protobuf_c_boolean);
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return sizeof(void *);
	default:
		return 0;
	}
}

static int fill_string(const struct cf_json *v, char **ret, struct cf_err *err)
{
	if (cf_json_type(v) != CF_JSON_STRING)
		return cf_fail(err, CF_INVALID_ARGUMENT, "not a string");
	*ret = cf_view_dup(cf_json_str(v));
	return 0;
}

static int fill_number(ProtobufCType type, const struct cf_json *v, void *at, struct cf_err *err)
{
	int64_t n = cf_json_int(v);
	enum cf_json_type kind = cf_json_type(v);
	bool is_64 = type == PROTOBUF_C_TYPE_INT64 || type == PROTOBUF_C_TYPE_UINT64;
	bool is_signed = type == PROTOBUF_C_TYPE_INT64 || type == PROTOBUF_C_TYPE_INT32;

	if (kind != CF_JSON_INT && kind != CF_JSON_DOUBLE)
		return cf_fail(err, CF_INVALID_ARGUMENT, "not a number");
	if (is_64) {
		memcpy(at, &n, sizeof(n));
		return 0;
	}
	if (n > UINT32_MAX || n < INT32_MIN || (n < 0 && !is_signed))
		return cf_fail(err, CF_INVALID_ARGUMENT, "number out of range");
	memcpy(at, &(uint32_t){ (uint32_t)n }, sizeof(uint32_t));
	return 0;
}

static int fill_message(const ProtobufCMessageDescriptor *type, const struct cf_json *v,
                        ProtobufCMessage **ret, struct cf_err *err)
{
	if (cf_json_type(v) != CF_JSON_OBJECT)
		return cf_fail(err, CF_INVALID_ARGUMENT, "not an object");
	return json_message_new(type, v, ret, err);
}

/* One value of @field's type at @at, which holds zeroes or the field's default. */
static int fill_value(const ProtobufCFieldDescriptor *field, const struct cf_json *v, void *at,
                      struct cf_err *err)
{
	switch (field->type) {
	case PROTOBUF_C_TYPE_STRING:
		return fill_string(v, at, err);
	case PROTOBUF_C_TYPE_BOOL:
		if (cf_json_type(v) != CF_JSON_BOOL)
			return cf_fail(err, CF_INVALID_ARGUMENT, "not true or false");
		*(protobuf_c_boolean *)at = cf_json_is_true(v);
		return 0;
	case PROTOBUF_C_TYPE_MESSAGE:
		return fill_message(field->descriptor, v, at, err);
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_UINT64:
		return fill_number(field->type, v, at, err);
	default:
		return cf_fail(err, CF_INTERNAL, "field type %d", (int)field->type);
	}
}

static int fill_array(const ProtobufCFieldDescriptor *field, const struct cf_json *arr,
                      size_t *count, void **items, struct cf_err *err)
{
	size_t n = cf_json_len(arr);
	size_t size = value_size(field->type);

	if (!n || !size)
		return 0;
	*items = cf_zalloc_n(n, size);
	for (size_t i = 0; i < n; i++) {
		int r = fill_value(field, cf_json_at(arr, i), (uint8_t *)*items + i * size, err);

		if (r < 0)
			return r;
		*count = i + 1;
	}
	return 0;
}

/* { "k": v } into repeated …Entry { key = 1, value = 2 }. */
static int fill_map(const ProtobufCFieldDescriptor *field, const struct cf_json *obj, size_t *count,
                    void **items, struct cf_err *err)
{
	const ProtobufCMessageDescriptor *type = field->descriptor;
	ProtobufCMessage **entries;
	const struct cf_json *value;
	const char *key;
	void *it = NULL;

	if (field->type != PROTOBUF_C_TYPE_MESSAGE || type->n_fields != 2 ||
	    strcmp(type->fields[0].name, "key"))
		return cf_fail(err, CF_INVALID_ARGUMENT, "not an array");
	if (!cf_json_len(obj))
		return 0;
	entries = cf_zalloc_n(cf_json_len(obj), sizeof(*entries));
	*items = entries;
	while (cf_json_next(obj, &it, &key, &value)) {
		ProtobufCMessage *entry = cf_zalloc(type->sizeof_message);
		uint8_t *base = (uint8_t *)entry;
		int r;

		protobuf_c_message_init(type, entry);
		entries[(*count)++] = entry;
		*(char **)(void *)(base + type->fields[0].offset) = cf_strdup(key);
		r = fill_value(&type->fields[1], value, base + type->fields[1].offset, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int fill_field(ProtobufCMessage *msg, const ProtobufCFieldDescriptor *field,
                      const struct cf_json *v, struct cf_err *err)
{
	uint8_t *base = (uint8_t *)msg;
	void *at = base + field->offset;
	size_t *count = (size_t *)(void *)(base + field->quantifier_offset);

	if (field->label == PROTOBUF_C_LABEL_REPEATED && cf_json_type(v) == CF_JSON_OBJECT)
		return fill_map(field, v, count, at, err);
	if (field->label == PROTOBUF_C_LABEL_REPEATED && cf_json_type(v) != CF_JSON_ARRAY)
		return cf_fail(err, CF_INVALID_ARGUMENT, "not an array");
	if (field->label == PROTOBUF_C_LABEL_REPEATED)
		return fill_array(field, v, count, at, err);
	if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
		*(uint32_t *)(void *)(base + field->quantifier_offset) = field->id;
	return fill_value(field, v, at, err);
}

static bool name_matches(const char *field, const char *key)
{
	size_t n = strlen(field);

	if (n && field[n - 1] == '_')
		n--;
	return strlen(key) == n && !strncasecmp(field, key, n);
}

static int find_field(const ProtobufCMessageDescriptor *type, const char *key)
{
	for (unsigned i = 0; i < type->n_fields; i++)
		if (name_matches(type->fields[i].name, key))
			return (int)i;
	return -1;
}

static int message_fill(ProtobufCMessage *msg, const struct cf_json *obj, struct cf_err *err)
{
	const struct cf_json *value;
	const char *key;
	uint64_t filled = 0; /* "type" and "Type" are one field: only one of them may be there */
	void *it = NULL;

	assert(msg->descriptor->n_fields <= 64);
	while (cf_json_next(obj, &it, &key, &value)) {
		int i = find_field(msg->descriptor, key);
		int r;

		if (i < 0 || cf_json_type(value) == CF_JSON_NULL)
			continue;
		if (filled & (1ull << i))
			return cf_fail(err, CF_INVALID_ARGUMENT, "%s is there twice", key);
		filled |= 1ull << i;
		r = fill_field(msg, &msg->descriptor->fields[i], value, err);
		if (r < 0)
			return cf_wrap(err, r, "%s", key);
	}
	return 0;
}

int json_message_new(const ProtobufCMessageDescriptor *type, const struct cf_json *obj,
                     ProtobufCMessage **ret, struct cf_err *err)
{
	ProtobufCMessage *msg = cf_zalloc(type->sizeof_message);
	int r;

	protobuf_c_message_init(type, msg);
	r = message_fill(msg, obj, err);
	if (r < 0) {
		protobuf_c_message_free_unpacked(msg, NULL);
		return r;
	}
	*ret = msg;
	return 0;
}
