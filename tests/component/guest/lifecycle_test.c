/* SPDX-License-Identifier: Apache-2.0 */
/* A pod's life through the real coffer-init and the real crun. */
#include "tests/component/guest/guest_fixture.h"

#define NEED_ROOT()                                                                                \
	do {                                                                                       \
		if (!fx_can_run())                                                                 \
			SKIP("needs root, crun and a static busybox");                             \
	} while (0)

/* Any command for the image "test/app", with a terminal's worth of freedom. */
static const char policy[] = "version = 1\n"
			     "[[container]]\n"
			     "image = \"test/app\"\n"
			     "stdin = true\n"
			     "args = [\"/bin/sh\", \"-c\", \"cat; echo done >&2; exit 7\"]\n"
			     "exec = [[\"/bin/echo\", \"from exec\"], [\"/bin/false-program\"],\n"
			     "        [\"/bin/cat\"], [\"/bin/sleep\", \"1000\"]]\n"
			     "[[container]]\n"
			     "image = \"test/app\"\n"
			     "args = [\"/bin/sleep\", \"1000\"]\n"
			     "exec = [[\"/bin/echo\", \"from exec\"], [\"/bin/false-program\"],\n"
			     "        [\"/bin/cat\"], [\"/bin/sleep\", \"1000\"]]\n"
			     "stdin = true\n";

CF_TEST(health_is_served)
{
	Grpc__CheckRequest req = GRPC__CHECK_REQUEST__INIT;
	Grpc__HealthCheckResponse *health = NULL;
	Grpc__VersionCheckResponse *version = NULL;
	struct ttrpc_req call = {
		.service = "grpc.Health",
		.method = "Check",
		.msg = &req.base,
		.out = &grpc__health_check_response__descriptor,
		.timeout_ms = FX_WAIT_MS,
	};
	struct cf_err err;
	struct fx *f;

	NEED_ROOT();
	f = fx_start(NULL);
	EXPECT_OK(ttrpc_call(f->client, &call, (ProtobufCMessage **)&health, &err), &err);
	EXPECT(health->status == GRPC__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING);
	call.method = "Version";
	call.out = &grpc__version_check_response__descriptor;
	EXPECT_OK(ttrpc_call(f->client, &call, (ProtobufCMessage **)&version, &err), &err);
	EXPECT_STR(version->grpc_version, "0.0.1");
	EXPECT(strstr(version->agent_version, "coffer-init"));
	grpc__health_check_response__free_unpacked(health, NULL);
	grpc__version_check_response__free_unpacked(version, NULL);
	fx_stop(f);
}

CF_TEST(image_command_runs_and_its_output_comes_back)
{
	struct fx_container *c;
	struct cf_err err;
	struct fx *f;
	char *text;
	int status;

	NEED_ROOT();
	f = fx_start(NULL);
	EXPECT_OK(fx_sandbox(f, false, &err), &err);
	c = fx_container("app-1", "test/plain");
	fx_shell(c, "echo hello");
	text = fx_run(f, c, &status);
	EXPECT_STR(text, "hello\n");
	EXPECT_INT(status, 0);
	EXPECT_OK(fx_remove(f, "app-1", &err), &err);
	EXPECT_FAILS(fx_remove(f, "app-1", &err), CF_NOT_FOUND);
	free(text);
	fx_container_free(c);
	fx_stop(f);
}

static void write_stdin(struct fx *f, const char *id, const char *exec, const char *text,
                        struct cf_err *err)
{
	Grpc__WriteStreamRequest req = GRPC__WRITE_STREAM_REQUEST__INIT;
	Grpc__WriteStreamResponse *resp = NULL;
	cf_cleanup(cf_freep) char *id_copy = cf_strdup(id);
	cf_cleanup(cf_freep) char *exec_copy = cf_strdup(exec);
	cf_cleanup(cf_freep) char *copy = cf_strdup(text);

	req.container_id = id_copy;
	req.exec_id = exec_copy;
	req.data.data = (uint8_t *)copy;
	req.data.len = strlen(copy);
	EXPECT_OK(fx_call(f, "WriteStdin", &req, &grpc__write_stream_response__descriptor, &resp,
	                  err),
	          err);
	EXPECT_INT(resp->len, strlen(text));
	grpc__write_stream_response__free_unpacked(resp, NULL);
}

static void close_stdin(struct fx *f, const char *id, const char *exec, struct cf_err *err)
{
	Grpc__CloseStdinRequest req = GRPC__CLOSE_STDIN_REQUEST__INIT;
	cf_cleanup(cf_freep) char *id_copy = cf_strdup(id);
	cf_cleanup(cf_freep) char *exec_copy = cf_strdup(exec);

	req.container_id = id_copy;
	req.exec_id = exec_copy;
	EXPECT_OK(fx_empty(f, "CloseStdin", &req, err), err);
}

CF_TEST(standard_streams_and_exit_code_go_through)
{
	struct fx_container *c;
	struct cf_err err;
	struct fx *f;
	char *out, *errors;

	NEED_ROOT();
	f = fx_start(policy);
	EXPECT_OK(fx_sandbox(f, false, &err), &err);
	c = fx_container("app-1", "test/app");
	fx_shell(c, "cat; echo done >&2; exit 7");
	EXPECT_OK(fx_create(f, c, &err), &err);
	EXPECT_OK(fx_start_container(f, "app-1", &err), &err);
	write_stdin(f, "app-1", "app-1", "first\n", &err);
	write_stdin(f, "app-1", "app-1", "second\n", &err);
	close_stdin(f, "app-1", "app-1", &err);
	out = fx_read_all(f, "ReadStdout", "app-1", "app-1");
	errors = fx_read_all(f, "ReadStderr", "app-1", "app-1");
	EXPECT_STR(out, "first\nsecond\n");
	EXPECT_STR(errors, "done\n");
	EXPECT_INT(fx_wait(f, "app-1", "app-1", &err), 7);
	EXPECT_INT(fx_wait(f, "app-1", "", &err), 7);
	EXPECT_OK(fx_remove(f, "app-1", &err), &err);
	free(out);
	free(errors);
	fx_container_free(c);
	fx_stop(f);
}

static struct fx_container *start_sleeper(struct fx *f, const char *id)
{
	struct fx_container *c = fx_container(id, "test/app");
	struct cf_err err;

	fx_arg(c, "/bin/sleep");
	fx_arg(c, "1000");
	EXPECT_OK(fx_create(f, c, &err), &err);
	EXPECT_OK(fx_start_container(f, id, &err), &err);
	return c;
}

/* An exec of @args with what @c was granted. */
static int exec_in(struct fx *f, struct fx_container *c, const char *exec, const char *const *args,
                   bool terminal, struct cf_err *err)
{
	Grpc__ExecProcessRequest req = GRPC__EXEC_PROCESS_REQUEST__INIT;
	Grpc__Process process = c->process;
	cf_cleanup(cf_freep) char *exec_copy = cf_strdup(exec);
	struct cf_strv words = { 0 };
	int r;

	for (; *args; args++)
		cf_strv_add(&words, *args);
	process.args = words.items;
	process.n_args = words.count;
	process.terminal = terminal;
	req.container_id = c->req.container_id;
	req.exec_id = exec_copy;
	req.process = &process;
	r = fx_empty(f, "ExecProcess", &req, err);
	cf_strv_fini(&words);
	return r;
}

CF_TEST(exec_runs_what_the_policy_lists)
{
	const char *const echo[] = { "/bin/echo", "from exec", NULL };
	const char *const missing[] = { "/bin/false-program", NULL };
	const char *const secret[] = { "/bin/cat", "/secret", NULL };
	struct fx_container *c;
	struct cf_err err;
	struct fx *f;
	char *out;

	NEED_ROOT();
	f = fx_start(policy);
	EXPECT_OK(fx_sandbox(f, false, &err), &err);
	c = start_sleeper(f, "app-1");
	EXPECT_OK(exec_in(f, c, "exec-1", echo, false, &err), &err);
	out = fx_read_all(f, "ReadStdout", "app-1", "exec-1");
	EXPECT_STR(out, "from exec\n");
	EXPECT_INT(fx_wait(f, "app-1", "exec-1", &err), 0);
	EXPECT_FAILS(exec_in(f, c, "exec-2", secret, false, &err), CF_PERMISSION_DENIED);
	EXPECT(strstr(err.msg, "[\"/bin/cat\", \"/secret\"]"));
	EXPECT(strstr(err.msg, "policy.toml line 8, exec"));
	/* The zombie that a missing program leaves must not keep the container from dying. */
	EXPECT_FAILS(exec_in(f, c, "exec-3", missing, false, &err), CF_ABORTED);
	EXPECT_OK(fx_signal(f, "app-1", "app-1", SIGKILL, &err), &err);
	EXPECT_INT(fx_wait(f, "app-1", "app-1", &err), 137);
	EXPECT_OK(fx_remove(f, "app-1", &err), &err);
	free(out);
	fx_container_free(c);
	fx_stop(f);
}

CF_TEST(polite_signal_ends_an_init_without_handler)
{
	struct fx_container *c;
	struct cf_err err;
	struct fx *f;

	NEED_ROOT();
	f = fx_start(policy);
	EXPECT_OK(fx_sandbox(f, false, &err), &err);
	c = start_sleeper(f, "app-1");
	EXPECT_OK(fx_signal(f, "app-1", "app-1", SIGTERM, &err), &err);
	EXPECT_INT(fx_wait(f, "app-1", "app-1", &err), 137);
	EXPECT_OK(fx_signal(f, "app-1", "", SIGKILL, &err), &err);
	EXPECT_OK(fx_remove(f, "app-1", &err), &err);
	fx_container_free(c);
	fx_stop(f);
}

CF_TEST(removal_kills_what_runs)
{
	const char *const sleeper[] = { "/bin/sleep", "1000", NULL };
	struct fx_container *c;
	struct cf_err err;
	struct fx *f;

	NEED_ROOT();
	f = fx_start(policy);
	EXPECT_OK(fx_sandbox(f, false, &err), &err);
	c = start_sleeper(f, "app-1");
	EXPECT_OK(exec_in(f, c, "exec-1", sleeper, false, &err), &err);
	EXPECT_OK(fx_remove(f, "app-1", &err), &err);
	fx_container_free(c);
	/* … and the same id may come again */
	c = start_sleeper(f, "app-1");
	EXPECT_OK(fx_empty(f, "DestroySandbox",
	                   &(Grpc__DestroySandboxRequest)GRPC__DESTROY_SANDBOX_REQUEST__INIT, &err),
	          &err);
	fx_container_free(c);
	fx_stop(f);
}

CF_TEST(terminal_has_a_size_and_echoes)
{
	const char *const cat[] = { "/bin/cat", NULL };
	Grpc__TtyWinResizeRequest size = GRPC__TTY_WIN_RESIZE_REQUEST__INIT;
	char id[] = "app-1", exec[] = "exec-1";
	struct cf_buf out = { 0 };
	struct fx_container *c;
	struct cf_err err;
	struct fx *f;

	NEED_ROOT();
	f = fx_start(policy);
	EXPECT_OK(fx_sandbox(f, false, &err), &err);
	c = start_sleeper(f, "app-1");
	EXPECT_OK(exec_in(f, c, "exec-1", cat, true, &err), &err);
	size.container_id = id;
	size.exec_id = exec;
	size.row = 24;
	size.column = 80;
	EXPECT_OK(fx_empty(f, "TtyWinResize", &size, &err), &err);
	write_stdin(f, "app-1", "exec-1", "typed\n\004", &err);
	while (fx_read(f, "ReadStdout", "app-1", "exec-1", &out, &err) > 0)
		;
	EXPECT_STR(out.data, "typed\r\ntyped\r\n");
	EXPECT_INT(fx_wait(f, "app-1", "exec-1", &err), 0);
	cf_buf_fini(&out);
	fx_container_free(c);
	fx_stop(f);
}
