/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * JSON into a protobuf message by its descriptor. The Kata agent's OCI messages carry the OCI
 * runtime-spec's own names in other capitals ("noNewPrivileges" is NoNewPrivileges), so names are
 * compared without case and without a trailing underscore; keys without a field are left out.
 * Objects become map entries where the field is a map.
 */
#include "base/json.h"

#include "proto/rpc.h"

/**
 * json_message_new() - build a message of @type from @obj
 * @obj:  the JSON object; borrowed for the call
 * @ret:  free with protobuf_c_message_free_unpacked(msg, NULL)
 *
 * Return: 0, -CF_INVALID_ARGUMENT (a member of another type than its field, a number out of range).
 */
cf_must_use int json_message_new(const ProtobufCMessageDescriptor *type, const struct cf_json *obj,
                                 ProtobufCMessage **ret, struct cf_err *err);
