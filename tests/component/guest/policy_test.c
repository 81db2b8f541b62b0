/* SPDX-License-Identifier: Apache-2.0 */
/* What the host asks and does not get, at the real coffer-init; and what it gets back after a break. */
#include "tests/component/guest/guest_fixture.h"
#include "vmm-glue/guest/guest.h"

#define NEED_ROOT()                                                                                \
	do {                                                                                       \
		if (!fx_can_run())                                                                 \
			SKIP("needs root, crun and a static busybox");                             \
	} while (0)

CF_TEST(guest_without_initdata_serves_health_alone)
{
	Grpc__CheckRequest check = GRPC__CHECK_REQUEST__INIT;
	Grpc__GuestDetailsRequest details = GRPC__GUEST_DETAILS_REQUEST__INIT;
	Grpc__SetPolicyRequest policy = GRPC__SET_POLICY_REQUEST__INIT;
	struct ttrpc_req call = {
		.service = "grpc.Health",
		.method = "Check",
		.msg = &check.base,
		.out = &grpc__health_check_response__descriptor,
		.timeout_ms = FX_WAIT_MS,
	};
	struct fx *f = cf_zalloc(sizeof(*f));
	struct cf_err err;

	NEED_ROOT();
	f->dir = cf_test_tmpdir();
	fx_start_cdh(f);
	fx_spawn(f, false, NULL);
	EXPECT_OK(ttrpc_call(f->client, &call, NULL, &err), &err);
	EXPECT_FAILS(fx_sandbox(f, false, &err), CF_UNAVAILABLE);
	EXPECT(strstr(err.msg, "no initdata"));
	EXPECT_FAILS(fx_call(f, "GetGuestDetails", &details,
	                     &grpc__guest_details_response__descriptor, NULL, &err),
	             CF_UNAVAILABLE);
	EXPECT_FAILS(fx_empty(f, "SetPolicy", &policy, &err), CF_UNAVAILABLE);
	fx_stop(f);
}

CF_TEST(guest_fetches_early_what_the_policy_names_and_nothing_comes_of_it)
{
	static const char policy[] = "[[container]]\nimage = \"test/app\"\n"
				     "args = [\"/bin/true\"]\n"
				     "[[container]]\nimage = \"test/missing\"\n";
	struct fx_container *c = fx_container("app-1", "test/app");
	Grpc__UpdateRoutesRequest routes = GRPC__UPDATE_ROUTES_REQUEST__INIT;
	struct cf_err err;
	struct fx *f;

	NEED_ROOT();
	f = fx_start(policy);
	EXPECT_FAILS(fx_fetch_early(f, "test/app", &err), CF_FAILED_PRECONDITION);
	EXPECT(!fx_look_on(f, 7, &err) && err.code == CF_FAILED_PRECONDITION);
	EXPECT_OK(fx_sandbox(f, false, &err), &err);
	EXPECT_FAILS(fx_fetch_early(f, "test/other", &err), CF_PERMISSION_DENIED);
	EXPECT_FAILS(fx_fetch_early(f, "", &err), CF_PERMISSION_DENIED);
	EXPECT_INT(atomic_load(&f->prefetches), 0);
	EXPECT_OK(fx_fetch_early(f, "test/app", &err), &err);
	EXPECT_FAILS(fx_fetch_early(f, "test/missing", &err), CF_NOT_FOUND);
	EXPECT(strstr(err.msg, "manifest unknown"));
	EXPECT_INT(atomic_load(&f->prefetches), 2);
	EXPECT_INT(fx_look_on(f, 7, &err), 8);
	/* It is still before the first container: the network may be set up (this has no routes). */
	EXPECT_FAILS(fx_empty(f, "UpdateRoutes", &routes, &err), CF_INVALID_ARGUMENT);
	EXPECT_FAILS(fx_start_container(f, "app-1", &err), CF_FAILED_PRECONDITION);
	/* Not without end. */
	for (unsigned i = 2; i < GUEST_PREFETCHES_MAX; i++)
		EXPECT_OK(fx_fetch_early(f, "test/app", &err), &err);
	EXPECT_FAILS(fx_fetch_early(f, "test/app", &err), CF_RESOURCE_EXHAUSTED);
	EXPECT_INT(atomic_load(&f->prefetches), GUEST_PREFETCHES_MAX);
	/* And the container is judged and pulled as ever. */
	fx_arg(c, "/bin/true");
	EXPECT_OK(fx_create(f, c, &err), &err);
	EXPECT_INT(atomic_load(&f->pulls), 1);
	EXPECT_OK(fx_remove(f, "app-1", &err), &err);
	fx_container_free(c);
	fx_stop(f);
}

CF_TEST(guest_fetches_nothing_early_that_a_rego_policy_does_not_name)
{
	static const char quiet[] = "package agent_policy\n"
				    "default CreateSandboxRequest := true\n"
				    "default CreateContainerRequest := true\n";
	static const char named[] = "package agent_policy\n"
				    "default CreateSandboxRequest := true\n"
				    "PrefetchImageRequest { input.image == \"test/app\" }\n";
	static const char *const texts[] = { quiet, named };

	NEED_ROOT();
	for (size_t i = 0; i < CF_ARRAY_LEN(texts); i++) {
		struct initdata_entry entry = { .key = "policy.rego", .text = texts[i] };
		struct fx *f = cf_zalloc(sizeof(*f));
		struct cf_err err;

		f->dir = cf_test_tmpdir();
		fx_start_cdh(f);
		fx_write_initdata_of(f, &entry, 1);
		fx_spawn(f, true, NULL);
		EXPECT_OK(fx_sandbox(f, false, &err), &err);
		EXPECT_FAILS(fx_fetch_early(f, "test/other", &err), CF_PERMISSION_DENIED);
		EXPECT(strstr(err.msg, "PrefetchImageRequest is blocked by policy"));
		EXPECT(!fx_look_on(f, 7, &err) && err.code == CF_PERMISSION_DENIED);
		if (i == 0)
			EXPECT_FAILS(fx_fetch_early(f, "test/app", &err), CF_PERMISSION_DENIED);
		else
			EXPECT_OK(fx_fetch_early(f, "test/app", &err), &err);
		EXPECT_INT(atomic_load(&f->prefetches), i);
		fx_stop(f);
	}
}

CF_TEST(policy_refusals_reach_the_caller)
{
	static const char policy[] = "[[container]]\nimage = \"test/app\"\n"
				     "args = [\"/bin/true\"]\n"
				     "[[container]]\nimage = \"test/secret\"\n"
				     "encrypted = \"required\"\nargs = [\"/bin/true\"]\n"
				     "[[container]]\nimage = \"test/twin\"\n"
				     "encrypted = \"required\"\nargs = [\"/bin/true\"]\n";
	struct fx_container *c;
	struct cf_err err;
	struct fx *f;

	NEED_ROOT();
	f = fx_start(policy);
	EXPECT_OK(fx_sandbox(f, false, &err), &err);

	/* another image: not even pulled */
	c = fx_container("app-1", "test/other");
	fx_arg(c, "/bin/true");
	EXPECT_FAILS(fx_create(f, c, &err), CF_PERMISSION_DENIED);
	EXPECT(strstr(err.msg, "test/other"));
	EXPECT_INT(atomic_load(&f->pulls), 0);
	fx_container_free(c);

	/* other arguments */
	c = fx_container("app-1", "test/app");
	fx_arg(c, "cat");
	fx_arg(c, "/secret");
	EXPECT_FAILS(fx_create(f, c, &err), CF_PERMISSION_DENIED);
	EXPECT(strstr(err.msg, "[\"cat\", \"/secret\"]"));
	fx_container_free(c);

	/* the plain twin of an encrypted image */
	c = fx_container("app-1", "test/twin");
	fx_arg(c, "/bin/true");
	EXPECT_FAILS(fx_create(f, c, &err), CF_PERMISSION_DENIED);
	EXPECT(strstr(err.msg, "encrypted"));
	fx_container_free(c);

	/* nothing is left of them, and the right ones run */
	c = fx_container("app-1", "test/secret");
	fx_arg(c, "/bin/true");
	EXPECT_OK(fx_create(f, c, &err), &err);
	fx_container_free(c);
	c = fx_container("app-2", "test/app");
	fx_arg(c, "/bin/true");
	EXPECT_OK(fx_create(f, c, &err), &err);
	fx_container_free(c);
	fx_stop(f);
}

CF_TEST(failed_pull_is_told_and_leaves_nothing)
{
	struct fx_container *c;
	struct cf_err err;
	struct fx *f;
	cf_cleanup(cf_freep) char *bundle = NULL;

	NEED_ROOT();
	f = fx_start(NULL);
	EXPECT_OK(fx_sandbox(f, false, &err), &err);
	c = fx_container("app-1", "test/missing");
	fx_arg(c, "/bin/true");
	EXPECT_FAILS(fx_create(f, c, &err), CF_NOT_FOUND);
	EXPECT_STR(err.msg, "image test/missing: manifest unknown");
	bundle = cf_asprintf("%s/state/app-1", f->dir);
	EXPECT(access(bundle, F_OK) < 0);
	fx_container_free(c);
	fx_stop(f);
}

CF_TEST(root_that_is_no_image_is_refused)
{
	struct fx_container *c;
	struct cf_err err;
	struct fx *f;

	NEED_ROOT();
	f = fx_start(NULL);
	EXPECT_OK(fx_sandbox(f, false, &err), &err);
	c = fx_container("app-1", "test/app");
	fx_arg(c, "/bin/true");
	c->req.n_storages = 0;
	EXPECT_FAILS(fx_create(f, c, &err), CF_PERMISSION_DENIED);
	fx_container_free(c);
	fx_stop(f);
}

/* A container whose pull takes its time, and a caller who does not wait for it. */
static struct fx_container *create_and_give_up(struct fx *f, struct ttrpc_req *call)
{
	struct fx_container *c = fx_container("app-1", "test/plain");
	struct cf_err err;

	*call = (struct ttrpc_req){
		.service = "grpc.AgentService",
		.method = "CreateContainer",
		.msg = &c->req.base,
		.out = &google__protobuf__empty__descriptor,
		.timeout_ms = 300,
	};
	EXPECT_OK(fx_sandbox(f, false, &err), &err);
	fx_shell(c, "echo hello");
	atomic_store(&f->is_slow, true);
	EXPECT_FAILS(ttrpc_call(f->client, call, NULL, &err), CF_DEADLINE_EXCEEDED);
	return c;
}

CF_TEST(creation_repeated_after_a_break_rejoins_the_running_pull)
{
	struct fx_container *c;
	struct ttrpc_req call;
	struct cf_err err;
	struct fx *f;

	NEED_ROOT();
	f = fx_start(NULL);
	c = create_and_give_up(f, &call);
	/* another one with other wishes does not get in between */
	c->args[2] = fx_str(c, "echo other");
	EXPECT_FAILS(fx_create(f, c, &err), CF_ALREADY_EXISTS);
	c->args[2] = fx_str(c, "echo hello");
	/* the connection breaks as well */
	ttrpc_client_free(f->client);
	fx_connect(f);
	cf_loop_post(f->loop, fx_release_now, f);
	EXPECT_OK(fx_create(f, c, &err), &err);
	EXPECT_INT(atomic_load(&f->pulls), 1);
	EXPECT_OK(fx_start_container(f, "app-1", &err), &err);
	EXPECT_INT(fx_wait(f, "app-1", "app-1", &err), 0);
	fx_container_free(c);
	fx_stop(f);
}

CF_TEST(removal_of_a_container_that_is_being_created_ends_it)
{
	struct fx_container *c;
	struct ttrpc_req call;
	struct cf_err err;
	struct fx *f;

	NEED_ROOT();
	f = fx_start(NULL);
	c = create_and_give_up(f, &call);
	/* its pull still runs: the answer comes when that ends */
	Grpc__RemoveContainerRequest req = GRPC__REMOVE_CONTAINER_REQUEST__INIT;
	req.container_id = c->req.container_id;
	call.method = "RemoveContainer";
	call.msg = &req.base;
	EXPECT_FAILS(ttrpc_call(f->client, &call, NULL, &err), CF_DEADLINE_EXCEEDED);
	cf_loop_post(f->loop, fx_release_now, f);
	call.timeout_ms = FX_WAIT_MS;
	if (ttrpc_call(f->client, &call, NULL, &err) < 0) /* gone already, or just going */
		EXPECT(err.code == CF_NOT_FOUND);
	EXPECT_OK(fx_create(f, c, &err), &err);
	fx_container_free(c);
	fx_stop(f);
}

/* ---- streams that the policy withholds ---- */

CF_TEST(withheld_output_looks_ended_and_does_not_hold_up_the_process)
{
	/* more than a pipe holds */
	static const char policy[] =
		"[[container]]\nimage = \"test/app\"\nlogs = false\n"
		"args = [\"/bin/sh\", \"-c\", \"yes | head -c 1000000; exit 3\"]\n";
	Grpc__WriteStreamRequest write = GRPC__WRITE_STREAM_REQUEST__INIT;
	struct fx_container *c;
	struct cf_err err;
	struct fx *f;
	char *out;

	NEED_ROOT();
	f = fx_start(policy);
	EXPECT_OK(fx_sandbox(f, false, &err), &err);
	c = fx_container("app-1", "test/app");
	fx_shell(c, "yes | head -c 1000000; exit 3");
	EXPECT_OK(fx_create(f, c, &err), &err);
	EXPECT_OK(fx_start_container(f, "app-1", &err), &err);
	out = fx_read_all(f, "ReadStdout", "app-1", "app-1");
	EXPECT_STR(out, "");
	EXPECT_INT(fx_wait(f, "app-1", "app-1", &err), 3);
	write.container_id = c->req.container_id;
	write.exec_id = c->req.container_id;
	EXPECT_FAILS(fx_call(f, "WriteStdin", &write, &grpc__write_stream_response__descriptor,
	                     NULL, &err),
	             CF_PERMISSION_DENIED);
	free(out);
	fx_container_free(c);
	fx_stop(f);
}

CF_TEST(much_output_comes_whole)
{
	static const char policy[] =
		"[[container]]\nimage = \"test/app\"\n"
		"args = [\"/bin/sh\", \"-c\", \"yes 0123456 | head -c 8000000\"]\n";
	struct fx_container *c;
	struct cf_err err;
	struct fx *f;
	char *out;

	NEED_ROOT();
	f = fx_start(policy);
	EXPECT_OK(fx_sandbox(f, false, &err), &err);
	c = fx_container("app-1", "test/app");
	fx_shell(c, "yes 0123456 | head -c 8000000");
	EXPECT_OK(fx_create(f, c, &err), &err);
	EXPECT_OK(fx_start_container(f, "app-1", &err), &err);
	out = fx_read_all(f, "ReadStdout", "app-1", "app-1");
	EXPECT_INT(strlen(out), 8000000);
	EXPECT_INT(fx_wait(f, "app-1", "app-1", &err), 0);
	free(out);
	fx_container_free(c);
	fx_stop(f);
}

CF_TEST(sealed_variables_are_opened_inside_or_end_the_creation)
{
	static const char policy[] = "[[container]]\nimage = \"test/app\"\n"
				     "env = [\"PASSWORD=*\"]\nexec = [[\"/bin/env\"]]\n"
				     "args = [\"/bin/sh\", \"-c\", \"echo $PASSWORD\"]\n";
	struct fx_container *c;
	struct cf_err err;
	struct fx *f;
	int status = -1;
	char *out;

	NEED_ROOT();
	f = fx_start(policy);
	EXPECT_OK(fx_sandbox(f, false, &err), &err);
	c = fx_container("app-1", "test/app");
	fx_shell(c, "echo $PASSWORD");
	fx_env(c, "PASSWORD=sealed.good");
	out = fx_run(f, c, &status);
	EXPECT_STR(out, "opened\n");
	EXPECT_INT(status, 0);
	free(out);
	fx_container_free(c);
	c = fx_container("app-2", "test/app");
	fx_shell(c, "echo $PASSWORD");
	fx_env(c, "PASSWORD=sealed.bad");
	EXPECT_FAILS(fx_create(f, c, &err), CF_PERMISSION_DENIED);
	EXPECT_STR(err.msg, "sealed variable PASSWORD: no key for this secret");
	fx_container_free(c);
	fx_stop(f);
}

/* ---- a policy in Rego ---- */

CF_TEST(rego_policy_judges_every_request)
{
	static const char text[] =
		"package agent_policy\n"
		"CreateSandboxRequest := true\n"
		"StartContainerRequest := true\n"
		"WaitProcessRequest := true\n"
		"ReadStreamRequest := true\n"
		"RemoveContainerRequest := true\n"
		"CreateContainerRequest if {\n"
		"  input.OCI.Process.Args == [\"/bin/sh\", \"-c\", \"echo judged\"]\n"
		"  some s in input.storages\n"
		"  s.driver == \"image_guest_pull\"\n"
		"  s.source == \"test/app\"\n"
		"}\n";
	struct initdata_entry entry = { .key = "policy.rego", .text = text };
	Grpc__GetMetricsRequest metrics = GRPC__GET_METRICS_REQUEST__INIT;
	struct fx *f = cf_zalloc(sizeof(*f));
	struct fx_container *c;
	struct cf_err err;
	int status = -1;
	char *out;

	NEED_ROOT();
	f->dir = cf_test_tmpdir();
	fx_start_cdh(f);
	fx_write_initdata_of(f, &entry, 1);
	fx_spawn(f, true, NULL);
	EXPECT_OK(fx_sandbox(f, false, &err), &err);
	c = fx_container("app-1", "test/app");
	fx_shell(c, "echo other");
	EXPECT_FAILS(fx_create(f, c, &err), CF_PERMISSION_DENIED);
	EXPECT(cf_starts_with(err.msg, "CreateContainerRequest is blocked by policy"));
	EXPECT_INT(atomic_load(&f->pulls), 0);
	c->args[2] = fx_str(c, "echo judged");
	out = fx_run(f, c, &status);
	EXPECT_STR(out, "judged\n");
	EXPECT_INT(status, 0);
	EXPECT_FAILS(fx_call(f, "GetMetrics", &metrics, &grpc__metrics__descriptor, NULL, &err),
	             CF_PERMISSION_DENIED);
	free(out);
	fx_container_free(c);
	fx_stop(f);
}
