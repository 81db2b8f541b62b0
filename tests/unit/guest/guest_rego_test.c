/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/guest/guest_rego.h"

#include "base/json.h"
#include "tests/component/guest/guest_fixture.h"

static struct guest_rego *compile(const char *text)
{
	struct guest_rego *g = NULL;
	struct cf_err err;

	EXPECT_OK(guest_rego_new(cf_view_str(text), &g, &err), &err);
	return g;
}

static struct cf_json *json_of(const void *request)
{
	struct cf_buf text = { 0 };
	struct cf_json *json = NULL;
	struct cf_err err;

	guest_request_json(request, &text);
	EXPECT_OK(cf_json_parse(cf_buf_view(&text), 0, &json, &err), &err);
	cf_buf_fini(&text);
	return json;
}

CF_TEST(request_has_the_names_that_policies_know)
{
	struct fx_container *c = fx_container("app-1", "reg.example/app:1");
	Grpc__LinuxNamespace ns = GRPC__LINUX_NAMESPACE__INIT;
	Grpc__LinuxNamespace *list[] = { &ns };
	const struct cf_json *oci, *item;
	struct cf_buf text = { 0 };
	struct cf_json *json;

	fx_arg(c, "/app");
	fx_annotate(c, "a.b/c", "value");
	ns.type = fx_str(c, "mount");
	c->linux_spec.namespaces = list;
	c->linux_spec.n_namespaces = 1;
	json = json_of(&c->req);
	oci = cf_json_get(json, "OCI");
	EXPECT(cf_view_eq_str(cf_json_str(cf_json_get(json, "container_id")), "app-1"));
	EXPECT(cf_view_eq_str(cf_json_str(cf_json_get(cf_json_get(oci, "Annotations"), "a.b/c")),
	                      "value"));
	item = cf_json_at(cf_json_get(oci, "Mounts"), 0);
	EXPECT(cf_view_eq_str(cf_json_str(cf_json_get(item, "type_")), "proc"));
	EXPECT(!cf_json_get(item, "type"));
	item = cf_json_at(cf_json_get(cf_json_get(oci, "Linux"), "Namespaces"), 0);
	EXPECT(cf_view_eq_str(cf_json_str(cf_json_get(item, "Type")), "mount"));
	/* unset: messages are null, scalars their zero, lists empty, choices null */
	EXPECT(cf_json_type(cf_json_get(json, "sandbox_pidns")) == CF_JSON_BOOL);
	EXPECT(cf_json_type(cf_json_get(json, "devices")) == CF_JSON_ARRAY);
	EXPECT(cf_json_type(cf_json_get(json, "stdin_port")) == CF_JSON_NULL);
	EXPECT(cf_json_type(cf_json_get(json, "string_user")) == CF_JSON_NULL);
	cf_json_free(json);
	guest_request_json(&c->req.base, &text);
	EXPECT(strstr((const char *)text.data, "\"Hooks\":null"));
	EXPECT(strstr((const char *)text.data, "\"stdin_port\":null"));
	cf_buf_fini(&text);
	fx_container_free(c);
}

CF_TEST(copied_file_shows_its_place_and_kind)
{
	Grpc__CopyFileRequest req = GRPC__COPY_FILE_REQUEST__INIT;
	char path[] = "/run/x", target[] = "..data";
	struct cf_json *json;

	req.path = path;
	req.file_mode = S_IFLNK | 0777;
	req.data.data = (uint8_t *)target;
	req.data.len = strlen(target);
	json = json_of(&req);
	EXPECT(cf_view_eq_str(cf_json_str(cf_json_get(json, "file_type")), "Symlink"));
	EXPECT(cf_view_eq_str(cf_json_str(cf_json_get(json, "symlink_target")), "..data"));
	EXPECT(!cf_json_get(json, "data"));
	cf_json_free(json);
	req.file_mode = S_IFREG | 0644;
	json = json_of(&req);
	EXPECT(cf_view_eq_str(cf_json_str(cf_json_get(json, "file_type")), "Regular"));
	EXPECT(cf_json_type(cf_json_get(json, "symlink_target")) == CF_JSON_NULL);
	cf_json_free(json);
}

CF_TEST(nothing_but_a_clear_yes_lets_a_request_through)
{
	static const struct {
		const char *rules;
		bool ok;
	} rows[] = {
		{ "StartContainerRequest := true", true },
		{ "StartContainerRequest if input.container_id == \"app-1\"", true },
		{ "StartContainerRequest := {\"allowed\": true}", true },
		{ "default StartContainerRequest := false", false },
		{ "StartContainerRequest if input.container_id == \"other\"", false },
		{ "StopContainerRequest := true", false }, /* undefined */
		{ "StartContainerRequest := \"yes\"", false },
		{ "StartContainerRequest := {\"allowed\": \"true\"}", false },
		{ "StartContainerRequest := {\"allowed\": true, \"ops\": [{\"op\":\"add\",\"path\":"
		  "\"/agent_policy/x\",\"value\":1}]}",
		  false }, /* a state elsewhere */
		{ "StartContainerRequest := true\nStartContainerRequest := false", false },
		{ "AllowRequestsFailingPolicy := true", true },
		{ "AllowRequestsFailingPolicy := \"true\"", false },
	};
	Grpc__StartContainerRequest req = GRPC__START_CONTAINER_REQUEST__INIT;
	char id[] = "app-1";
	struct cf_err err;

	req.container_id = id;
	for (size_t i = 0; i < CF_ARRAY_LEN(rows); i++) {
		cf_cleanup(cf_freep) char *text =
			cf_asprintf("package agent_policy\n%s\n", rows[i].rules);
		struct guest_rego *g = NULL;
		int r = guest_rego_new(cf_view_str(text), &g, &err);

		if (r == 0)
			r = guest_rego_judge(g, &req.base, &err);
		if ((r == 0) != rows[i].ok)
			print_message("%s: %d %s\n", rows[i].rules, r, err.msg);
		EXPECT((r == 0) == rows[i].ok);
		guest_rego_free(g);
	}
}

CF_TEST(refusal_says_what_the_policy_printed)
{
	struct guest_rego *g = compile("package agent_policy\n"
	                               "StartContainerRequest if {\n"
	                               "  print(\"asked for\", input.container_id)\n"
	                               "  input.container_id == \"other\"\n}\n");
	Grpc__StartContainerRequest req = GRPC__START_CONTAINER_REQUEST__INIT;
	char id[] = "app-1";
	struct cf_err err;

	req.container_id = id;
	EXPECT_FAILS(guest_rego_judge(g, &req.base, &err), CF_PERMISSION_DENIED);
	EXPECT_STR(err.msg, "StartContainerRequest is blocked by policy: asked for app-1; "
	                    "policy.rego:4:3: input.container_id == \"other\" (no match)");
	guest_rego_free(g);
}

CF_TEST(refusal_names_the_expression_that_decided)
{
	struct guest_rego *g = compile("package agent_policy\n"
	                               "default StartContainerRequest := false\n"
	                               "StartContainerRequest if is_known(input.container_id)\n"
	                               "is_known(id) if {\n"
	                               "  some known in [\"app-1\", \"app-2\"]\n"
	                               "  id == known\n}\n");
	Grpc__StartContainerRequest req = GRPC__START_CONTAINER_REQUEST__INIT;
	char good[] = "app-2", bad[] = "app-3";
	struct cf_err err;

	req.container_id = good;
	EXPECT_OK(guest_rego_judge(g, &req.base, &err), &err);
	req.container_id = bad;
	EXPECT_FAILS(guest_rego_judge(g, &req.base, &err), CF_PERMISSION_DENIED);
	EXPECT_STR(err.msg, "StartContainerRequest is blocked by policy: "
	                    "policy.rego:6:3: id == known (no match)");
	guest_rego_free(g);
}

CF_TEST(state_moves_on_with_each_yes)
{
	struct guest_rego *g = compile(
		"package agent_policy\n"
		"StartContainerRequest := {\"allowed\": true, \"ops\": [{\"op\": \"add\", "
		"\"path\": \"/pstate/started\", \"value\": true}]} if not data.pstate.started\n");
	Grpc__StartContainerRequest req = GRPC__START_CONTAINER_REQUEST__INIT;
	struct cf_err err;

	EXPECT_OK(guest_rego_judge(g, &req.base, &err), &err);
	EXPECT_FAILS(guest_rego_judge(g, &req.base, &err), CF_PERMISSION_DENIED); /* once */
	guest_rego_free(g);
}

CF_TEST(names_given_twice_are_refused)
{
	struct guest_rego *g = compile("package agent_policy\n"
	                               "default CreateContainerRequest := true\n");
	struct fx_container *c = fx_container("app-1", "x");
	struct cf_err err;

	fx_annotate(c, "k", "seen by the policy");
	EXPECT_OK(guest_rego_judge(g, &c->req.base, &err), &err);
	fx_annotate(c, "k", "seen by the guest");
	EXPECT_FAILS(guest_rego_judge(g, &c->req.base, &err), CF_PERMISSION_DENIED);
	fx_container_free(c);
	guest_rego_free(g);
}

CF_TEST(policy_that_never_ends_is_a_no)
{
	struct guest_rego *g =
		compile("package agent_policy\n"
	                "StartContainerRequest if count([1 | some x in numbers.range(1, 100000); "
	                "some y in numbers.range(1, 100000); x + y == -1]) == 1\n");
	Grpc__StartContainerRequest req = GRPC__START_CONTAINER_REQUEST__INIT;
	struct cf_err err;

	EXPECT_FAILS(guest_rego_judge(g, &req.base, &err), CF_PERMISSION_DENIED);
	guest_rego_free(g);
}
