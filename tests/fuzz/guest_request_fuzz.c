/* fuzz: guest */
/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests that the host makes of the guest, and what they become: the rules, the policy's input and
 * crun's configuration. The first byte picks the request, or the image's own configuration.
 */
#include "vmm-glue/guest/guest_rego.h"
#include "vmm-glue/guest/guest_rules.h"
#include "vmm-glue/guest/guest_spec.h"

#include "proto/rpc.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect_json(const struct cf_buf *text)
{
	struct cf_json *root = NULL;

	assert(text->bad || cf_json_parse(cf_buf_view(text), CF_BUF_MAX_DEFAULT, &root, NULL) == 0);
	cf_json_free(root);
}

/* Where a map of the request names a key twice, whoever reads its JSON refuses that. */
static void expect_input(const struct cf_buf *text)
{
	struct cf_json *root = NULL;
	struct cf_err err;

	if (text->bad)
		return;
	int r = cf_json_parse(cf_buf_view(text), CF_BUF_MAX_DEFAULT, &root, &err);

	assert(r == 0 || (r == -CF_INVALID_ARGUMENT && strstr(err.msg, "' twice in the object")));
	cf_json_free(root);
}

static void container(const Grpc__CreateContainerRequest *req)
{
	static const struct policy_user user = { .uid = 1, .gid = 1 };
	static const struct cf_strv unsealed = { 0 };
	struct guest_spec_opts opts = { .id = "c1",
		                        .rootfs = "/r",
		                        .ipc_ns = "/i",
		                        .uts_ns = "/u",
		                        .wire_root = "/w",
		                        .user = &user,
		                        .unsealed = &unsealed };
	struct cf_buf spec = { 0 };

	if (guest_rules_container(req, NULL) == 0) {
		guest_spec_write(req->oci, &opts, &spec);
		expect_json(&spec);
	}
	cf_buf_fini(&spec);
}

static void sandbox(const Grpc__CreateSandboxRequest *req)
{
	(void)!guest_rules_sandbox(req, NULL);
}

static void exec(const Grpc__ExecProcessRequest *req)
{
	(void)!guest_rules_exec(req, NULL);
}

static void copy(const Grpc__CopyFileRequest *req)
{
	struct guest_copy what;

	if (guest_rules_copy(req, &what, NULL) == 0)
		assert(what.path[0] && what.path[0] != '/');
}

static void interface(const Grpc__UpdateInterfaceRequest *req)
{
	if (req->interface)
		(void)!guest_rules_interface(req->interface, NULL);
}

static void routes(const Grpc__UpdateRoutesRequest *req)
{
	for (size_t i = 0; req->routes && i < req->routes->n_routes; i++)
		(void)!guest_rules_route(req->routes->routes[i], NULL);
}

#define ROW(name, fn)                                                                              \
	{                                                                                          \
		&grpc__##name##__descriptor, (void (*)(const ProtobufCMessage *))(fn)              \
	}

static const struct {
	const ProtobufCMessageDescriptor *type;
	void (*fn)(const ProtobufCMessage *);
} requests[] = {
	ROW(create_container_request, container), ROW(create_sandbox_request, sandbox),
	ROW(exec_process_request, exec),          ROW(copy_file_request, copy),
	ROW(update_interface_request, interface), ROW(update_routes_request, routes),
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct guest_image_config image = { 0 };
	ProtobufCMessage *msg = NULL;
	struct cf_buf json = { 0 };
	size_t which = size ? data[0] % (CF_ARRAY_LEN(requests) + 1) : 0;

	if (!size)
		return 0;
	if (which == CF_ARRAY_LEN(requests)) {
		if (guest_image_config_parse(cf_view(data + 1, size - 1), &image, NULL) == 0)
			guest_image_config_fini(&image);
		return 0;
	}
	if (rpc_unpack(requests[which].type, data + 1, size - 1, &msg, NULL) < 0)
		return 0;
	requests[which].fn(msg);
	guest_request_json(msg, &json);
	expect_input(&json);
	cf_buf_fini(&json);
	protobuf_c_message_free_unpacked(msg, NULL);
	return 0;
}
