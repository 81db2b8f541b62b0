/* SPDX-License-Identifier: Apache-2.0 */
/* coffer-attestd as a process, with a software TPM and a KBS of the test's own. */
#include "base/http.h"
#include "proto/aa_client.h"
#include "proto/attestation_agent.pb-c.h"
#include "proto/initdata.h"
#include "proto/kbs_client.h"
#include "proto/tcg_log.h"
#include "proto/ttrpc.h"
#include "tests/harness/fake_kbs.h"
#include "tests/harness/swtpm.h"

#include <pthread.h>

#define SERVICE "attestation_agent.AttestationAgentService"

struct rig {
	struct swtpm tpm; /* .dir NULL: none */
	struct fake_kbs kbs;
	char *dir, *socket, *address, *config, *initdata, *log;
	pid_t pid;
	struct ttrpc_client *client;
};

static void write_file(const char *path, const char *text)
{
	struct cf_err err;

	EXPECT_OK(cf_write_file_atomic(path, cf_view_str(text), 0600, &err), &err);
}

static void rig_init(struct rig *rig, bool with_tpm, const struct fake_kbs_opts *opts)
{
	*rig = (struct rig){ 0 };
	if (with_tpm)
		rig->tpm = swtpm_start();
	rig->kbs = fake_kbs_start(opts);
	rig->dir = cf_test_tmpdir();
	rig->socket = cf_asprintf("%s/run/aa.sock", rig->dir);
	rig->address = cf_asprintf("unix://%s", rig->socket);
	rig->config = cf_asprintf("%s/aa.toml", rig->dir);
	rig->initdata = cf_asprintf("%s/initdata.toml", rig->dir);
	rig->log = cf_asprintf("%s/log", rig->dir);
}

static void write_config(struct rig *rig, const char *more)
{
	cf_cleanup(cf_freep) char *text =
		cf_asprintf("[token_configs.kbs]\nurl = \"%s\"\n%s\n", rig->kbs.url, more);

	write_file(rig->config, text);
}

/* The text of an initdata whose aa.toml names the KBS. */
static char *make_initdata(struct rig *rig)
{
	cf_cleanup(cf_freep) char *aa =
		cf_asprintf("[token_configs.kbs]\nurl = \"%s\"\n", rig->kbs.url);
	const struct initdata_entry entries[] = { { "aa.toml", aa } };
	struct cf_buf text = { 0 };
	struct cf_err err;

	EXPECT_OK(initdata_build(CF_SHA256, entries, 1, &text, &err), &err);
	return cf_buf_take_str(&text);
}

/* Runs it with @args (NULL-ended) behind the paths of the rig. */
static void spawn(struct rig *rig, const char *const *args, int ready)
{
	cf_cleanup(cf_freep) char *program = cf_test_bin("coffer-attestd");
	cf_cleanup(cf_freep) char *state = cf_asprintf("%s/state", rig->dir);
	cf_cleanup(cf_freep) char *ready_text = cf_asprintf("%d", ready);
	struct cf_strv argv = { 0 };
	const char *fixed[] = { program, "--listen",   rig->address, "--state-dir",
		                state,   "--ready-fd", ready_text };

	for (size_t i = 0; i < CF_ARRAY_LEN(fixed); i++)
		cf_strv_add(&argv, fixed[i]);
	if (rig->tpm.address) {
		cf_strv_add(&argv, "--tpm-device");
		cf_strv_add(&argv, rig->tpm.address);
	}
	for (; *args; args++)
		cf_strv_add(&argv, *args);
	rig->pid = fork();
	if (rig->pid == 0) {
		int log = open(rig->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(log, STDERR_FILENO);
		fcntl(ready, F_SETFD, 0);
		/* It makes itself undumpable, so the leak checker could not look into it. */
		setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
		execv(program, argv.items);
		_exit(127);
	}
	cf_strv_fini(&argv);
}

static bool wait_ready(int fd)
{
	char byte;

	return read(fd, &byte, 1) == 1;
}

/* Starts it and connects. */
static void start(struct rig *rig, const char *const *args)
{
	struct ttrpc_client_opts opts = { 0 };
	struct cf_err err;
	int fds[2];

	EXPECT(pipe2(fds, O_CLOEXEC) == 0);
	spawn(rig, args, fds[1]);
	close(fds[1]);
	if (!wait_ready(fds[0])) {
		struct cf_buf log = cf_test_read(rig->log);

		print_message("%s\n", log.data);
		EXPECT(!"coffer-attestd did not start");
	}
	close(fds[0]);
	EXPECT_OK(ttrpc_client_dial(rig->address, 2000, &opts, &rig->client, &err), &err);
}

/* Runs it to its end, which must come at once; gives the exit code. Its log is in rig->log. */
static int run_to_end(struct rig *rig, const char *const *args)
{
	int fds[2], status;

	EXPECT(pipe2(fds, O_CLOEXEC) == 0);
	spawn(rig, args, fds[1]);
	close(fds[1]);
	EXPECT(!wait_ready(fds[0]));
	close(fds[0]);
	EXPECT(waitpid(rig->pid, &status, 0) == rig->pid && WIFEXITED(status));
	rig->pid = 0;
	return WEXITSTATUS(status);
}

static bool log_has(const struct rig *rig, const char *text)
{
	struct cf_buf log = cf_test_read(rig->log);
	bool has = strstr((const char *)log.data, text) != NULL;

	if (!has)
		print_message("log lacks \"%s\":\n%s\n", text, log.data);
	cf_buf_fini(&log);
	return has;
}

static void stop_daemon(struct rig *rig)
{
	int status;

	rig->client = ttrpc_client_free(rig->client);
	if (!rig->pid)
		return;
	kill(rig->pid, SIGTERM);
	EXPECT(waitpid(rig->pid, &status, 0) == rig->pid);
	rig->pid = 0;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		struct cf_buf log = cf_test_read(rig->log);

		print_message("%s\n", log.data);
		EXPECT(!"coffer-attestd did not end well");
	}
}

static void rig_fini(struct rig *rig)
{
	stop_daemon(rig);
	fake_kbs_stop(&rig->kbs);
	if (rig->tpm.dir)
		swtpm_stop(&rig->tpm);
	free(rig->dir);
	free(rig->socket);
	free(rig->address);
	free(rig->config);
	free(rig->initdata);
	free(rig->log);
}

/* ---- calls ---- */

static int call(struct rig *rig, const char *method, const void *msg,
                const ProtobufCMessageDescriptor *out, void *ret, struct cf_err *err)
{
	struct ttrpc_req req = {
		.service = SERVICE, .method = method, .msg = msg, .out = out, .timeout_ms = 20000
	};

	return ttrpc_call(rig->client, &req, ret, err);
}

static int get_token(struct rig *rig, const char *type, struct kbs_token *ret, struct cf_err *err)
{
	AttestationAgent__GetTokenRequest req;
	AttestationAgent__GetTokenResponse *res = NULL;
	cf_cleanup(cf_freep) char *copy = cf_strdup(type);

	attestation_agent__get_token_request__init(&req);
	req.tokentype = copy;
	int r = call(rig, "GetToken", &req, &attestation_agent__get_token_response__descriptor,
	             &res, err);
	if (r < 0)
		return r;
	r = kbs_token_read(cf_view(res->token.data, res->token.len), ret, err);
	attestation_agent__get_token_response__free_unpacked(res, NULL);
	return r;
}

/* What coffer-imaged does: a token from the agent, then the resource. */
static void expect_resource(struct rig *rig, const char *want)
{
	struct kbs_server_config config = { .url = rig->kbs.url };
	cf_cleanup(aa_client_freep) struct aa_client *agent = aa_client_new(rig->address);
	cf_cleanup(kbs_server_freep) struct kbs_server *server = NULL;
	cf_cleanup(kbs_client_freep) struct kbs_client *client = NULL;
	struct cf_buf got = { 0 };
	struct cf_err err;

	EXPECT_OK(kbs_server_new(&config, &server, &err), &err);
	client = kbs_client_new(server, aa_client_token, agent);
	EXPECT_OK(kbs_client_get(client, cf_view_str("kbs:///default/key/1"), &got, &err), &err);
	EXPECT(cf_view_eq_str(cf_buf_view(&got), want));
	cf_buf_wipe(&got);
}

static struct cf_json *get_evidence(struct rig *rig, struct cf_view data)
{
	AttestationAgent__GetEvidenceRequest req;
	AttestationAgent__GetEvidenceResponse *res = NULL;
	struct cf_json *j = NULL;
	struct cf_buf copy = { 0 };
	struct cf_err err;

	attestation_agent__get_evidence_request__init(&req);
	cf_buf_add_view(&copy, data);
	req.runtimedata = (ProtobufCBinaryData){ copy.size, copy.data };
	EXPECT_OK(call(rig, "GetEvidence", &req,
	               &attestation_agent__get_evidence_response__descriptor, &res, &err),
	          &err);
	EXPECT_OK(cf_json_parse(cf_view(res->evidence.data, res->evidence.len), 0, &j, &err), &err);
	attestation_agent__get_evidence_response__free_unpacked(res, NULL);
	cf_buf_fini(&copy);
	return j;
}

static int extend(struct rig *rig, const char *content, int reg, int *ret, struct cf_err *err)
{
	AttestationAgent__ExtendRuntimeMeasurementRequest req;
	AttestationAgent__ExtendRuntimeMeasurementResponse *res = NULL;
	cf_cleanup(cf_freep) char *domain = cf_strdup("example.org");
	cf_cleanup(cf_freep) char *operation = cf_strdup("PullImage");
	cf_cleanup(cf_freep) char *text = cf_strdup(content);

	attestation_agent__extend_runtime_measurement_request__init(&req);
	req.domain = domain;
	req.operation = operation;
	req.content = text;
	if (reg >= 0) {
		req.register_case =
			ATTESTATION_AGENT__EXTEND_RUNTIME_MEASUREMENT_REQUEST__REGISTER_REGISTER_INDEX;
		req.registerindex = (uint64_t)reg;
	}
	int r = call(rig, "ExtendRuntimeMeasurement", &req,
	             &attestation_agent__extend_runtime_measurement_response__descriptor, &res,
	             err);
	if (r < 0)
		return r;
	*ret = (int)res->result;
	attestation_agent__extend_runtime_measurement_response__free_unpacked(res, NULL);
	return 0;
}

/* ---- tests ---- */

CF_TEST(attestd_gets_a_resource_with_a_tpm_whose_key_is_bound)
{
	struct rig rig;

	rig_init(&rig, true, &(struct fake_kbs_opts){ .resource = "the key" });
	write_config(&rig, "");
	start(&rig, (const char *[]){ "-c", rig.config, NULL });
	expect_resource(&rig, "the key");
	expect_resource(&rig, "the key");
	EXPECT_STR(rig.kbs.seen->tee, "tpm");
	EXPECT(rig.kbs.seen->was_activated);
	EXPECT(rig.kbs.seen->attests == 1); /* the second came out of the cache */
	rig_fini(&rig);
}

CF_TEST(attestd_attests_without_activation_where_none_is_offered)
{
	struct rig rig;

	rig_init(&rig, true, &(struct fake_kbs_opts){ .resource = "x", .no_activation = true });
	write_config(&rig, "[coffer]\ntpm_ak = \"ecc\"\n");
	start(&rig, (const char *[]){ "-c", rig.config, NULL });
	expect_resource(&rig, "x");
	EXPECT(!rig.kbs.seen->was_activated);
	rig_fini(&rig);
}

CF_TEST(attestd_attests_anew_when_its_token_is_refused)
{
	struct rig rig;

	rig_init(&rig, true, &(struct fake_kbs_opts){ .resource = "x", .stale_tokens = 1 });
	write_config(&rig, "");
	start(&rig, (const char *[]){ "-c", rig.config, NULL });
	expect_resource(&rig, "x");
	EXPECT(rig.kbs.seen->attests == 2);
	rig_fini(&rig);
}

static void *ask_for_token(void *arg)
{
	struct kbs_token token = { 0 };
	struct cf_err err;

	if (get_token(arg, "kbs", &token, &err) < 0)
		return (void *)"failed";
	kbs_token_fini(&token);
	return NULL;
}

CF_TEST(attestd_attests_once_for_callers_at_the_same_time)
{
	pthread_t threads[6];
	struct rig rig;

	rig_init(&rig, true, &(struct fake_kbs_opts){ .resource = "x" });
	write_config(&rig, "");
	start(&rig, (const char *[]){ "-c", rig.config, NULL });
	for (size_t i = 0; i < CF_ARRAY_LEN(threads); i++)
		EXPECT(pthread_create(&threads[i], NULL, ask_for_token, &rig) == 0);
	for (size_t i = 0; i < CF_ARRAY_LEN(threads); i++) {
		void *failed;

		pthread_join(threads[i], &failed);
		EXPECT(!failed);
	}
	EXPECT(rig.kbs.seen->attests == 1);
	rig_fini(&rig);
}

CF_TEST(attestd_says_what_the_key_broker_said)
{
	struct kbs_token token = { 0 };
	struct rig rig;
	struct cf_err err;

	rig_init(&rig, true,
	         &(struct fake_kbs_opts){ .resource = "x", .deny_attest = "PCR 9 differs" });
	write_config(&rig, "");
	start(&rig, (const char *[]){ "-c", rig.config, NULL });
	EXPECT_FAILS(get_token(&rig, "kbs", &token, &err), CF_INTERNAL);
	EXPECT(strstr(err.msg, "[ERROR:attestation-agent] AA-KBC get token failed"));
	EXPECT(strstr(err.msg, "PCR 9 differs"));
	EXPECT_FAILS(get_token(&rig, "coco_as", &token, &err), CF_INTERNAL);
	EXPECT(strstr(err.msg, "coco_as"));
	rig_fini(&rig);
}

CF_TEST(attestd_comes_back_for_its_clients)
{
	struct rig rig;
	struct kbs_token token = { 0 };
	enum aa_measured measured;
	struct cf_err err;

	rig_init(&rig, true, &(struct fake_kbs_opts){ .resource = "x" });
	write_config(&rig, "");

	cf_cleanup(aa_client_freep) struct aa_client *agent = aa_client_new(rig.address);

	start(&rig, (const char *[]){ "-c", rig.config, NULL });
	EXPECT_OK(aa_client_token(agent, false, &token, &err), &err);
	kbs_token_fini(&token);
	EXPECT_OK(aa_client_measure(agent, "d", "o", "c", &measured, &err), &err);
	EXPECT_INT(measured, AA_NOT_ENABLED);
	stop_daemon(&rig);
	start(&rig, (const char *[]){ "-c", rig.config, NULL });
	EXPECT_OK(aa_client_token(agent, true, &token, &err), &err);
	kbs_token_fini(&token);
	rig_fini(&rig);
}

CF_TEST(attestd_gives_its_clients_the_reason)
{
	struct rig rig;
	struct kbs_token token = { 0 };
	struct cf_err err;

	rig_init(&rig, true,
	         &(struct fake_kbs_opts){ .resource = "x", .deny_attest = "PCR 9 differs" });
	write_config(&rig, "");

	cf_cleanup(aa_client_freep) struct aa_client *agent = aa_client_new(rig.address);

	start(&rig, (const char *[]){ "-c", rig.config, NULL });
	EXPECT_FAILS(aa_client_token(agent, true, &token, &err), CF_UNAUTHENTICATED);
	EXPECT(cf_starts_with(err.msg, "no attestation token: KBS") &&
	       strstr(err.msg, "PCR 9 differs"));
	rig_fini(&rig);
}

CF_TEST(attestd_lives_on_when_the_key_broker_is_not_there)
{
	struct kbs_token token = { 0 };
	struct rig rig;
	struct cf_err err;

	rig_init(&rig, true, &(struct fake_kbs_opts){ .resource = "x" });
	write_file(rig.config, "[token_configs.kbs]\nurl = \"http://127.0.0.1:9\"\n");
	start(&rig, (const char *[]){ "-c", rig.config, NULL });
	EXPECT_FAILS(get_token(&rig, "kbs", &token, &err), CF_INTERNAL);
	EXPECT(strstr(err.msg, "127.0.0.1:9"));
	cf_cleanup(cf_json_freep) struct cf_json *ev =
		get_evidence(&rig, cf_view_str("still here"));
	EXPECT(cf_json_get(ev, "tpm_quote"));
	rig_fini(&rig);
}

CF_TEST(attestd_evidence_over_a_callers_bytes_has_no_activation)
{
	struct rig rig;
	struct cf_buf msg = { 0 };
	struct tpm2_quote q;
	struct cf_err err;

	rig_init(&rig, true, &(struct fake_kbs_opts){ .resource = "x" });
	write_config(&rig, "");
	start(&rig, (const char *[]){ "-c", rig.config, NULL });
	expect_resource(&rig, "x"); /* a credential was opened before */
	cf_cleanup(cf_json_freep) struct cf_json *ev = get_evidence(&rig, cf_view_str("short"));
	EXPECT(!cf_json_get(ev, "activation"));
	EXPECT(cf_json_get(ev, "ak_tpm2b") && cf_json_get(ev, "cmdline"));
	EXPECT_OK(cf_json_need_b64(cf_json_get(ev, "tpm_quote"), "message", CF_B64_STD, &msg, &err),
	          &err);
	EXPECT_OK(tpm2_quote_parse(cf_buf_view(&msg), &q, &err), &err);
	/* padded with zeroes to the 32 bytes that a TPM quotes over */
	EXPECT(q.extra_data.size == 32 && memcmp(q.extra_data.data, "short\0\0\0", 8) == 0);
	cf_buf_fini(&msg);
	rig_fini(&rig);
}

CF_TEST(attestd_binds_initdata_once_and_refuses_another)
{
	struct rig rig;

	rig_init(&rig, true, &(struct fake_kbs_opts){ .resource = "x" });
	cf_cleanup(cf_freep) char *text = make_initdata(&rig);
	write_file(rig.initdata, text);
	/* A zero PCR 8 is written under the peers' way of starting … */
	start(&rig, (const char *[]){ "-t", rig.initdata, NULL });
	expect_resource(&rig, "x");
	EXPECT(rig.kbs.seen->had_init_data);
	stop_daemon(&rig);
	/* … and found to be right at the next start, in a measured guest too. */
	start(&rig, (const char *[]){ "--guest", "-t", rig.initdata, NULL });
	expect_resource(&rig, "x");
	stop_daemon(&rig);
	/* One byte more is other initdata. */
	cf_cleanup(cf_freep) char *other = cf_asprintf("%s#\n", text);
	write_file(rig.initdata, other);
	EXPECT_INT(run_to_end(&rig, (const char *[]){ "-t", rig.initdata, NULL }), 78);
	EXPECT(log_has(&rig, "initdata does not match PCR 8"));
	rig_fini(&rig);
}

CF_TEST(attestd_binds_a_digest_whose_text_it_does_not_know)
{
	struct rig rig;
	uint8_t digest[32];
	struct cf_buf b64 = { 0 };

	rig_init(&rig, true, &(struct fake_kbs_opts){ .resource = "x" });
	cf_cleanup(cf_freep) char *text = make_initdata(&rig);
	write_file(rig.initdata, text);
	write_config(&rig, "");
	cf_sha256(cf_view_str(text), digest);
	cf_b64_encode(CF_B64_STD, cf_view(digest, 32), &b64);
	start(&rig, (const char *[]){ "-c", rig.config, "-i", (const char *)b64.data, NULL });
	stop_daemon(&rig);
	/* It is what the text would have bound. */
	start(&rig, (const char *[]){ "--guest", "-t", rig.initdata, NULL });
	stop_daemon(&rig);
	EXPECT_INT(run_to_end(&rig, (const char *[]){ "-c", rig.config, "-i", "AAAA", NULL }), 78);
	EXPECT(log_has(&rig, "digest of 3 bytes"));
	digest[0] ^= 1;
	cf_buf_reset(&b64);
	cf_b64_encode(CF_B64_STD, cf_view(digest, 32), &b64);
	EXPECT_INT(run_to_end(&rig, (const char *[]){ "-c", rig.config, "-i",
	                                              (const char *)b64.data, NULL }),
	           78);
	EXPECT(log_has(&rig, "initdata does not match PCR 8"));
	cf_buf_fini(&b64);
	rig_fini(&rig);
}

CF_TEST(attestd_in_a_guest_never_binds_and_wants_initdata_alone)
{
	struct rig rig;

	rig_init(&rig, true, &(struct fake_kbs_opts){ .resource = "x" });
	cf_cleanup(cf_freep) char *text = make_initdata(&rig);
	write_file(rig.initdata, text);
	write_config(&rig, "");
	EXPECT_INT(run_to_end(&rig, (const char *[]){ "--guest", NULL }), 78);
	EXPECT(log_has(&rig, "without initdata"));
	EXPECT_INT(run_to_end(&rig, (const char *[]){ "--guest", "-t", rig.initdata, "-c",
	                                              rig.config, NULL }),
	           78);
	EXPECT(log_has(&rig, "from initdata alone"));
	/* PCR 8 is zero: coffer-init did not run, so this is no guest of ours. */
	EXPECT_INT(run_to_end(&rig, (const char *[]){ "--guest", "-t", rig.initdata, NULL }), 78);
	EXPECT(log_has(&rig, "initdata does not match PCR 8"));
	rig_fini(&rig);
}

static bool replay_has(const struct cf_json *ev, const char *pcr23_hex)
{
	cf_cleanup(tcg_log_freep) struct tcg_log *log = NULL;
	struct cf_buf bytes = { 0 };
	struct tcg_pcrs pcrs;
	struct cf_err err;

	EXPECT_OK(cf_json_need_b64(ev, "event_log", CF_B64_STD, &bytes, &err), &err);
	EXPECT_OK(tcg_log_parse(cf_buf_view(&bytes), &log, &err), &err);
	EXPECT_OK(tcg_log_replay(log, TCG_SHA256, &pcrs, &err), &err);
	cf_cleanup(cf_freep) char *hex = cf_hex_dup(cf_view(pcrs.pcr[23].value, 32));
	cf_buf_fini(&bytes);
	return cf_streq(hex, pcr23_hex);
}

static char *pcr23(const struct cf_json *ev)
{
	return cf_view_dup(
		cf_json_str(cf_json_at(cf_json_get(cf_json_get(ev, "tpm_quote"), "pcrs"), 23)));
}

/* A firmware log of nothing but the header, with SHA-256 in it. */
static void write_firmware_log(const char *path)
{
	struct cf_buf b = { 0 };
	struct cf_err err;

	cf_buf_add_u32le(&b, 0);
	cf_buf_add_u32le(&b, TCG_EV_NO_ACTION);
	cf_buf_add_zero(&b, 20);
	cf_buf_add_u32le(&b, 33);
	cf_buf_add(&b, "Spec ID Event03\0\0\0\0\0\0\2\0\2", 24);
	cf_buf_add_u32le(&b, 1);
	cf_buf_add_u16le(&b, TCG_SHA256);
	cf_buf_add_u16le(&b, 32);
	cf_buf_add_byte(&b, 0);
	EXPECT_OK(cf_write_file_atomic(path, cf_buf_view(&b), 0600, &err), &err);
	cf_buf_fini(&b);
}

CF_TEST(attestd_measures_events_that_a_verifier_can_replay)
{
	struct rig rig;
	struct cf_err err;
	int result = -1;

	rig_init(&rig, true, &(struct fake_kbs_opts){ .resource = "x" });
	cf_cleanup(cf_freep) char *firmware = cf_asprintf("%s/firmware-log", rig.dir);
	write_firmware_log(firmware);
	write_config(&rig, "[eventlog_config]\nenable_eventlog = true\n");
	start(&rig, (const char *[]){ "-c", rig.config, "--event-log", firmware, NULL });
	EXPECT_OK(
		extend(&rig, "{\"image\":\"a/b:1\", \"digest\":\"sha256:00\"}", -1, &result, &err),
		&err);
	EXPECT_INT(result, 0);
	EXPECT_OK(extend(&rig, "again", 23, &result, &err), &err);
	EXPECT_INT(result, 0);
	cf_cleanup(cf_json_freep) struct cf_json *ev = get_evidence(&rig, cf_view_str("x"));
	cf_cleanup(cf_freep) char *value = pcr23(ev);
	EXPECT(replay_has(ev, value) && !cf_starts_with(value, "00000000"));
	/* Registers of the boot are refused; those of other localities are not supported. */
	EXPECT_FAILS(extend(&rig, "x", 8, &result, &err), CF_INTERNAL);
	EXPECT(strstr(err.msg, "belongs to the boot"));
	EXPECT_FAILS(extend(&rig, "x", 15, &result, &err), CF_INTERNAL);
	EXPECT_OK(extend(&rig, "x", 17, &result, &err), &err);
	EXPECT_INT(result, 1);
	EXPECT_OK(extend(&rig, "x", 99, &result, &err), &err);
	EXPECT_INT(result, 1);
	EXPECT_FAILS(extend(&rig, "two\nlines", 23, &result, &err), CF_INTERNAL);
	cf_cleanup(cf_json_freep) struct cf_json *after = get_evidence(&rig, cf_view_str("x"));
	EXPECT(replay_has(after, value));
	rig_fini(&rig);
}

CF_TEST(attestd_without_an_event_log_says_not_enabled)
{
	struct rig rig;
	struct cf_err err;
	int result = -1;

	rig_init(&rig, true, &(struct fake_kbs_opts){ .resource = "x" });
	write_config(&rig, "");
	start(&rig, (const char *[]){ "-c", rig.config, NULL });
	EXPECT_OK(extend(&rig, "x", -1, &result, &err), &err);
	EXPECT_INT(result, 2);
	rig_fini(&rig);
}

CF_TEST(attestd_never_takes_the_sample_tee_unasked)
{
	struct rig rig;

	rig_init(&rig, false, &(struct fake_kbs_opts){ .resource = "x" });
	write_config(&rig, "");
	EXPECT_INT(run_to_end(&rig, (const char *[]){ "-c", rig.config, "--tpm-device",
	                                              "/nonexistent", NULL }),
	           78);
	EXPECT(log_has(&rig, "no TEE here") && log_has(&rig, "/nonexistent"));
	EXPECT_INT(run_to_end(&rig, (const char *[]){ "-c", rig.config, "--tee", "sample", NULL }),
	           78);
	EXPECT(log_has(&rig, "allow_sample"));
	write_config(&rig, "[coffer]\nallow_sample = true\n");
	start(&rig, (const char *[]){ "-c", rig.config, "--tee", "sample", NULL });
	expect_resource(&rig, "x");
	EXPECT_STR(rig.kbs.seen->tee, "sample");
	EXPECT(log_has(&rig, "proves nothing"));
	rig_fini(&rig);
}

CF_TEST(attestd_answers_the_small_questions)
{
	AttestationAgent__GetTeeTypeRequest q;
	AttestationAgent__GetTeeTypeResponse *res = NULL;
	AttestationAgent__BindInitDataRequest bind;
	AttestationAgent__BindInitDataResponse *bound = NULL;
	AttestationAgent__GetAdditionalEvidenceRequest more;
	AttestationAgent__GetEvidenceResponse *none = NULL;
	struct rig rig;
	struct cf_err err;

	attestation_agent__get_tee_type_request__init(&q);
	attestation_agent__bind_init_data_request__init(&bind);
	attestation_agent__get_additional_evidence_request__init(&more);
	rig_init(&rig, true, &(struct fake_kbs_opts){ .resource = "x" });
	write_config(&rig, "");
	start(&rig, (const char *[]){ "-c", rig.config, NULL });
	EXPECT_OK(call(&rig, "GetTeeType", &q,
	               &attestation_agent__get_tee_type_response__descriptor, &res, &err),
	          &err);
	EXPECT_STR(res->tee, "tpm");
	attestation_agent__get_tee_type_response__free_unpacked(res, NULL);
	EXPECT_OK(call(&rig, "GetAdditionalEvidence", &more,
	               &attestation_agent__get_evidence_response__descriptor, &none, &err),
	          &err);
	EXPECT(none->evidence.len == 0);
	attestation_agent__get_evidence_response__free_unpacked(none, NULL);
	EXPECT_FAILS(call(&rig, "BindInitData", &bind,
	                  &attestation_agent__bind_init_data_response__descriptor, &bound, &err),
	             CF_UNIMPLEMENTED);
	rig_fini(&rig);
}

/* ---- REST ---- */

static uint16_t rest_port_of(const struct rig *rig)
{
	struct cf_buf log = cf_test_read(rig->log);
	const char *at = strstr((char *)log.data, "serving REST");
	const char *port = at ? strstr(at, "port=") : NULL;
	uint16_t n = port ? (uint16_t)strtoul(port + 5, NULL, 10) : 0;

	cf_buf_fini(&log);
	EXPECT(n);
	return n;
}

static unsigned rest_ask(struct rig *rig, const char *method, const char *path, const char *body,
                         struct cf_http_response *resp)
{
	cf_cleanup(cf_http_freep) struct cf_http *http = NULL;
	cf_cleanup(cf_freep) char *url =
		cf_asprintf("http://127.0.0.1:%u%s", rest_port_of(rig), path);
	struct cf_http_config config = { .allow_http = true };
	struct cf_http_request req = { .method = method, .url = url, .body = cf_view_str(body) };
	struct cf_err err;

	EXPECT_OK(cf_http_new(&config, &http, &err), &err);
	EXPECT_OK(cf_http_do(http, &req, resp, &err), &err);
	return resp->status;
}

CF_TEST(attestd_serves_workloads_over_rest_when_told_to)
{
	static const struct {
		const char *method, *path, *body;
		unsigned status;
		const char *says;
	} cases[] = {
		{ "GET", "/info", NULL, 200, "\"tee\":\"tpm\"" },
		{ "POST", "/info", "", 405, "Method Not Allowed" },
		{ "GET", "/aa/evidence?runtime_data=abc", NULL, 200, "\"tpm_quote\":{" },
		{ "GET", "/aa/evidence?runtime_data=YWJj&encoding=base64", NULL, 200,
		  "\"tpm_quote\":{" },
		{ "GET", "/aa/evidence?runtime_data=YWJj&encoding=hex", NULL, 400, "BAD REQUEST" },
		{ "GET", "/aa/evidence?runtime_data=%zz", NULL, 400, "BAD REQUEST" },
		{ "GET", "/aa/evidence", NULL, 400, "BAD REQUEST" },
		{ "GET", "/aa/additional-evidence?runtime_data=x", NULL, 200, "" },
		{ "GET", "/aa/token?token_type=kbs", NULL, 404, "Attestation Feature Not Enabled" },
		{ "GET", "/aa/eventlog", NULL, 200, "" },
		{ "POST", "/aa/aael", "{\"domain\":\"d\",\"operation\":\"o\",\"content\":\"c\"}",
		  200, "{\"success\":\"true\"}" },
		{ "POST", "/aa/aael", "{\"domain\":\"d d\",\"operation\":\"o\",\"content\":\"c\"}",
		  400, "single words" },
		{ "POST", "/aa/aael", "{", 400, "" },
		{ "GET", "/aa/aael", NULL, 404, "URL NOT FOUND" },
		{ "GET", "/cdh/resource/a/b/c", NULL, 404, "URL NOT FOUND" },
	};
	struct rig rig;

	rig_init(&rig, true, &(struct fake_kbs_opts){ .resource = "x" });
	write_config(
		&rig,
		"[eventlog_config]\nenable_eventlog = true\n[coffer]\nrest = \"127.0.0.1:0\"\n");
	start(&rig, (const char *[]){ "-c", rig.config, NULL });
	for (size_t i = 0; i < CF_ARRAY_LEN(cases); i++) {
		struct cf_http_response resp = { 0 };
		unsigned got = rest_ask(&rig, cases[i].method, cases[i].path, cases[i].body, &resp);
		const char *text = resp.body.data ? (const char *)resp.body.data : "";

		if (got != cases[i].status || !strstr(text, cases[i].says))
			fail_msg("%s %s: %u %s", cases[i].method, cases[i].path, got, text);
		EXPECT(!strstr(text, "activation"));
		cf_http_response_fini(&resp);
	}
	EXPECT(rig.kbs.seen->auths == 0);
	rig_fini(&rig);
}

CF_TEST(attestd_gives_tokens_over_rest_only_where_the_owner_says_so)
{
	struct rig rig;
	struct cf_http_response resp = { 0 };
	struct kbs_token token = { 0 };
	struct cf_err err;

	rig_init(&rig, true, &(struct fake_kbs_opts){ .resource = "x" });
	write_config(&rig, "[coffer]\nrest = \"127.0.0.1:0\"\nrest_token = true\n");
	start(&rig, (const char *[]){ "-c", rig.config, NULL });
	EXPECT_INT(rest_ask(&rig, "GET", "/aa/token?token_type=kbs", NULL, &resp), 200);
	EXPECT_OK(kbs_token_read(cf_http_body(&resp), &token, &err), &err);
	kbs_token_fini(&token);
	EXPECT_INT(rest_ask(&rig, "GET", "/aa/token?token_type=other", NULL, &resp), 400);
	cf_http_response_fini(&resp);
	EXPECT(log_has(&rig, "any process of this pod"));
	stop_daemon(&rig);
	write_config(&rig, "[coffer]\nrest = \"0.0.0.0:0\"\n");
	EXPECT_INT(run_to_end(&rig, (const char *[]){ "-c", rig.config, NULL }), 78);
	EXPECT(log_has(&rig, "only a loopback address"));
	rig_fini(&rig);
}
