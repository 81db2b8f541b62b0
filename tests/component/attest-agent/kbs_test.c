/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's side whole: coffer-attestd with a software TPM whose registers are extended as a
 * recorded boot's log says, and coffer-kbs over TLS, both as processes. Then the same with the
 * guest's clock at 2020, and the boots that must not get the key.
 */
#include "attest-agent/tpm.h"
#include "base/http.h"
#include "base/loop.h"
#include "proto/aa_client.h"
#include "proto/cdh.pb-c.h"
#include "proto/initdata.h"
#include "proto/tcg_log.h"
#include "proto/ttrpc.h"
#include "tests/harness/swtpm.h"

#define FAKETIME "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"
#define PCR0     "177e29c417b6b61c7cf46ed30b4468931f58642527a268b556254e39b941ec6a"
#define PCR2     "3d458cfe55cc03ea1f443f1562beec8df51c75e14a9fcf9a7234a13f198e7969"
#define PCR4     "a654597ef8228eccdd1b0d4aa27cfb01db758510288c568eecab4fbe104ac435"
#define PCR9     "f578c21ae50dc45ab01c820dd140322d70dc1325aa6a590ab5407b9f838c765d"
#define CMDLINE  "console=ttyS0 panic=-1 loglevel=4 coffer.test=A initrd=initrd"
#define REFERENCES                                                                                 \
	"{\"reference\":{\"tpm_pcr00\":[\"" PCR0 "\"],\"tpm_pcr02\":[\"" PCR2                      \
	"\"],\"tpm_pcr04\":[\"" PCR4 "\"],\"tpm_pcr09\":[\"" PCR9                                  \
	"\"],\"tpm_cmdline\":[\"" CMDLINE "\"]}}"

struct rig {
	struct swtpm tpm;
	char *dir, *url, *admin, *initdata_path, *initdata, *cmdline_path, *socket, *log;
	struct cf_buf ca;
	struct cf_http *http;
	pid_t kbs, agent, imaged;
};

static pid_t spawn(const struct rig *rig, struct cf_strv *argv, bool in_2020)
{
	pid_t pid = fork();

	if (pid == 0) {
		int fd = open(rig->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(fd, 1);
		dup2(fd, 2);
		setenv("ASAN_OPTIONS", "detect_leaks=0:verify_asan_link_order=0", 1);
		if (in_2020) {
			setenv("LD_PRELOAD", FAKETIME, 1);
			setenv("FAKETIME", "@2020-01-01 00:00:00", 1);
			setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1", 1);
		}
		execv(argv->items[0], argv->items);
		_exit(127);
	}
	return pid;
}

static void wait_for(const struct rig *rig, pid_t pid, const char *path)
{
	int64_t until = cf_now_ms() + 20000;

	while (access(path, F_OK) < 0) {
		if (cf_now_ms() > until || waitpid(pid, NULL, WNOHANG) != 0) {
			struct cf_buf log = cf_test_read(rig->log);

			fail_msg("not started:\n%s", (char *)log.data);
		}
		poll(NULL, 0, 10);
	}
}

static void strv_add_all(struct cf_strv *v, const char *const *items)
{
	for (; *items; items++)
		cf_strv_add(v, *items);
}

static void stop(pid_t *pid)
{
	if (*pid <= 0)
		return;
	kill(*pid, SIGTERM);
	waitpid(*pid, NULL, 0);
	*pid = 0;
}

/* ---- the key service ---- */

static void kbs_start(struct rig *rig)
{
	cf_cleanup(cf_freep) char *bin = cf_test_bin("coffer-kbs");
	cf_cleanup(cf_freep) char *dir = cf_asprintf("%s/kbs", rig->dir);
	cf_cleanup(cf_freep) char *config = cf_asprintf("%s/kbs.toml", dir);
	cf_cleanup(cf_freep) char *url_file = cf_asprintf("%s/url", dir);
	cf_cleanup(cf_freep) char *token_file = cf_asprintf("%s/admin.token", dir);
	cf_cleanup(cf_freep) char *ca_file = cf_asprintf("%s/tls.pem", dir);
	cf_cleanup(cf_strv_fini) struct cf_strv init = { 0 }, serve = { 0 };
	int status;

	strv_add_all(&init, (const char *[]){ bin, "init", dir, "--listen", "127.0.0.1:0", NULL });
	EXPECT(waitpid(spawn(rig, &init, false), &status, 0) > 0 && status == 0);
	strv_add_all(&serve, (const char *[]){ bin, "serve", "--config", config, "--port-file",
	                                       url_file, NULL });
	rig->kbs = spawn(rig, &serve, false);
	wait_for(rig, rig->kbs, url_file);

	struct cf_buf url = cf_test_read(url_file), token = cf_test_read(token_file);

	rig->url = cf_buf_take_str(&url);
	rig->admin = cf_buf_take_str(&token);
	rig->ca = cf_test_read(ca_file);

	struct cf_view pem = cf_buf_view(&rig->ca);
	struct cf_http_config http = { .ca_pem = &pem, .ca_count = 1, .no_system_ca = true };
	struct cf_err err;

	cf_http_global_init();
	EXPECT_OK(cf_http_new(&http, &rig->http, &err), &err);
}

static void admin_put(struct rig *rig, const char *path, struct cf_view body)
{
	cf_cleanup(cf_freep) char *url = cf_asprintf("%s%s", rig->url, path);
	cf_cleanup(cf_freep) char *bearer = cf_asprintf("Bearer %s", rig->admin);
	struct cf_http_request req = {
		.method = "PUT", .url = url, .authorization = bearer, .body = body
	};
	struct cf_http_response resp = { 0 };
	struct cf_err err;

	EXPECT_OK(cf_http_do(rig->http, &req, &resp, &err), &err);
	if (resp.status != 200)
		fail_msg("PUT %s: %u %s", path, resp.status, (char *)resp.body.data);
	cf_http_response_fini(&resp);
}

/* What the owner says before anything boots. */
static void kbs_configure(struct rig *rig)
{
	cf_cleanup(cf_freep) char *ca = cf_asprintf("%s/ca/issuercert.pem", rig->tpm.dir);
	struct cf_buf pem = cf_test_read(ca), body = { 0 };
	struct cf_jw w = { .out = &body };
	uint8_t digest[32];

	cf_jw_obj(&w);
	cf_jw_kview(&w, "pem", cf_buf_view(&pem));
	cf_jw_kstr(&w, "kind", "software");
	cf_jw_kbool(&w, "accept", true);
	cf_jw_end_obj(&w);
	admin_put(rig, "/coffer/v1/tpm-roots", cf_buf_view(&body));
	admin_put(rig, "/coffer/v1/references?reason=test", cf_view_str(REFERENCES));
	cf_sha256(cf_view_str(rig->initdata), digest);
	cf_cleanup(cf_freep) char *hex = cf_hex_dup(cf_view(digest, 32));
	cf_cleanup(cf_freep) char *path =
		cf_asprintf("/coffer/v1/resources/default/key/web?initdata=sha256:%s", hex);
	admin_put(rig, path, cf_view_str("the image key"));
	cf_buf_fini(&pem);
	cf_buf_fini(&body);
}

/* ---- the guest ---- */

static void write_text(const char *path, const char *text)
{
	struct cf_err err;

	EXPECT_OK(cf_write_file_atomic(path, cf_view_str(text), 0600, &err), &err);
}

static void make_initdata(struct rig *rig)
{
	struct cf_buf aa = { 0 }, text = { 0 };
	struct cf_err err;

	cf_buf_printf(&aa, "[token_configs.kbs]\nurl = \"%s\"\ncert = ", rig->url);
	cf_toml_add_line(&aa, (const char *)rig->ca.data);
	cf_buf_add_byte(&aa, '\n');
	const struct initdata_entry entries[] = { { "aa.toml", (const char *)aa.data } };
	EXPECT_OK(initdata_build(CF_SHA256, entries, 1, &text, &err), &err);
	cf_buf_fini(&aa);
	rig->initdata = cf_buf_take_str(&text);
	write_text(rig->initdata_path, rig->initdata);
}

/* The registers after the recorded boot and coffer-init's one extend. */
static void boot(struct rig *rig, const char *bound)
{
	cf_cleanup(cf_freep) char *path = cf_test_source("tests/vectors/tpm/eventlog.bin");
	cf_cleanup(aa_tpm_closep) struct aa_tpm *tpm = NULL;
	cf_cleanup(tcg_log_freep) struct tcg_log *log = NULL;
	struct cf_buf raw = cf_test_read(path);
	uint8_t event[32];
	struct cf_err err;

	EXPECT_OK(aa_tpm_open(rig->tpm.address, AA_TPM_AK_ECC, &tpm, &err), &err);
	EXPECT_OK(tcg_log_parse(cf_buf_view(&raw), &log, &err), &err);
	for (size_t i = 0; i < tcg_log_count(log); i++) {
		const struct tcg_event *ev = tcg_log_at(log, i);

		if (ev->type != TCG_EV_NO_ACTION)
			EXPECT_OK(aa_tpm_pcr_extend(tpm, ev->pcr,
			                            tcg_event_digest(ev, TCG_SHA256).data, &err),
			          &err);
	}
	if (bound) {
		initdata_pcr8_event(cf_view_str(bound), event);
		EXPECT_OK(aa_tpm_pcr_extend(tpm, 8, event, &err), &err);
	}
	cf_buf_fini(&raw);
}

static void agent_start(struct rig *rig, bool is_guest, bool in_2020)
{
	cf_cleanup(cf_freep) char *bin = cf_test_bin("coffer-attestd");
	cf_cleanup(cf_freep) char *log = cf_test_source("tests/vectors/tpm/eventlog.bin");
	cf_cleanup(cf_freep) char *state = cf_asprintf("%s/state", rig->dir);
	cf_cleanup(cf_freep) char *address = cf_asprintf("unix://%s", rig->socket);
	cf_cleanup(cf_strv_fini) struct cf_strv argv = { 0 };

	strv_add_all(&argv, (const char *[]){ bin, "-t", rig->initdata_path, "--listen", address,
	                                      "--tpm-device", rig->tpm.address, "--event-log", log,
	                                      "--cmdline", rig->cmdline_path, "--state-dir", state,
	                                      NULL });
	if (is_guest)
		cf_strv_add(&argv, "--guest");
	rig->agent = spawn(rig, &argv, in_2020);
	wait_for(rig, rig->agent, rig->socket);
}

static void rig_start(struct rig *rig)
{
	*rig = (struct rig){ .tpm = swtpm_start() };
	rig->dir = cf_test_tmpdir();
	rig->log = cf_asprintf("%s/log", rig->dir);
	rig->initdata_path = cf_asprintf("%s/initdata.toml", rig->dir);
	rig->cmdline_path = cf_asprintf("%s/cmdline", rig->dir);
	rig->socket = cf_asprintf("%s/aa.sock", rig->dir);
	write_text(rig->cmdline_path, CMDLINE "\n");
	kbs_start(rig);
	make_initdata(rig);
	kbs_configure(rig);
}

static void rig_stop(struct rig *rig)
{
	stop(&rig->imaged);
	stop(&rig->agent);
	stop(&rig->kbs);
	swtpm_stop(&rig->tpm);
	cf_http_free(rig->http);
	cf_buf_fini(&rig->ca);
	free(rig->dir);
	free(rig->url);
	free(rig->admin);
	free(rig->initdata_path);
	free(rig->initdata);
	free(rig->cmdline_path);
	free(rig->socket);
	free(rig->log);
}

/* What coffer-imaged does. */
static int fetch(struct rig *rig, const char *uri, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *address = cf_asprintf("unix://%s", rig->socket);
	cf_cleanup(aa_client_freep) struct aa_client *agent = aa_client_new(address);
	cf_cleanup(kbs_server_freep) struct kbs_server *server = NULL;
	cf_cleanup(kbs_client_freep) struct kbs_client *client = NULL;
	struct kbs_server_config config = { .url = rig->url,
		                            .ca_pem = cf_buf_view(&rig->ca),
		                            .clock_untrusted = true };
	struct cf_buf got = { 0 };
	int r = kbs_server_new(&config, &server, err);

	if (r == 0) {
		client = kbs_client_new(server, aa_client_token, agent);
		r = kbs_client_get(client, cf_view_str(uri), &got, err);
	}
	if (r == 0)
		EXPECT(cf_view_eq_str(cf_buf_view(&got), "the image key"));
	cf_buf_wipe(&got);
	return r;
}

/* The guest's image service, configured by the owner's cdh.toml, on its own socket. */
static char *imaged_start(struct rig *rig)
{
	cf_cleanup(cf_freep) char *bin = cf_test_bin("coffer-imaged");
	cf_cleanup(cf_freep) char *config = cf_asprintf("%s/cdh.toml", rig->dir);
	cf_cleanup(cf_freep) char *work = cf_asprintf("%s/work", rig->dir);
	cf_cleanup(cf_freep) char *socket = cf_asprintf("%s/cdh.sock", rig->dir);
	cf_cleanup(cf_freep) char *aa = cf_asprintf("unix://%s", rig->socket);
	char *address = cf_asprintf("unix://%s", socket);
	cf_cleanup(cf_strv_fini) struct cf_strv argv = { 0 };
	struct cf_buf toml = { 0 };

	cf_buf_printf(&toml, "[kbc]\nname = \"cc_kbc\"\nurl = \"%s\"\nkbs_cert = ", rig->url);
	cf_toml_add_line(&toml, (const char *)rig->ca.data);
	cf_buf_add_byte(&toml, '\n');
	write_text(config, (const char *)toml.data);
	cf_buf_fini(&toml);
	strv_add_all(&argv, (const char *[]){ bin, "--config", config, "--listen", address, "--aa",
	                                      aa, "--work-dir", work, NULL });
	rig->imaged = spawn(rig, &argv, false);
	wait_for(rig, rig->imaged, socket);
	return address;
}

static int get_resource(const char *address, const char *uri, struct cf_buf *ret,
                        struct cf_err *err)
{
	cf_cleanup(ttrpc_client_freep) struct ttrpc_client *client = NULL;
	cf_cleanup(cf_freep) char *copy = cf_strdup(uri);
	struct ttrpc_client_opts opts = { 0 };
	Api__GetResourceRequest msg;
	Api__GetResourceResponse *res = NULL;

	api__get_resource_request__init(&msg);
	msg.resourcepath = copy;

	struct ttrpc_req req = { .service = "api.GetResourceService",
		                 .method = "GetResource",
		                 .msg = &msg.base,
		                 .out = &api__get_resource_response__descriptor,
		                 .timeout_ms = 30000 };

	EXPECT_OK(ttrpc_client_dial(address, 5000, &opts, &client, err), err);
	int r = ttrpc_call(client, &req, (ProtobufCMessage **)&res, err);
	if (r < 0)
		return r;
	cf_buf_add(ret, res->resource.data, res->resource.len);
	api__get_resource_response__free_unpacked(res, NULL);
	return 0;
}

/* ---- tests ---- */

/* The guest's two daemons and the owner's service, wire to wire, as in a pod. */
CF_TEST(guest_image_service_gets_the_key_through_the_agent)
{
	struct cf_buf got = { 0 };
	struct rig rig;
	struct cf_err err;

	rig_start(&rig);
	boot(&rig, rig.initdata);
	agent_start(&rig, true, false);
	cf_cleanup(cf_freep) char *address = imaged_start(&rig);
	EXPECT_OK(get_resource(address, "kbs:///default/key/web", &got, &err), &err);
	EXPECT(cf_view_eq_str(cf_buf_view(&got), "the image key"));
	cf_buf_wipe(&got);
	EXPECT(get_resource(address, "kbs:///default/key/other", &got, &err) < 0);
	rig_stop(&rig);
}

CF_TEST(guest_that_booted_as_approved_gets_its_key)
{
	struct rig rig;
	struct cf_err err;

	rig_start(&rig);
	boot(&rig, rig.initdata);
	agent_start(&rig, true, false);
	EXPECT_OK(fetch(&rig, "kbs:///default/key/web", &err), &err);
	EXPECT_FAILS(fetch(&rig, "kbs:///default/key/other", &err), CF_NOT_FOUND);
	EXPECT(strstr(err.msg, rig.url) && strstr(err.msg, "default/key/other"));
	rig_stop(&rig);
}

CF_TEST(guest_whose_clock_is_at_2020_gets_its_key)
{
	struct rig rig;
	struct cf_err err;

	if (access(FAKETIME, R_OK) < 0)
		SKIP("faketime is not installed");
	rig_start(&rig);
	boot(&rig, rig.initdata);
	agent_start(&rig, true, true);
	EXPECT_OK(fetch(&rig, "kbs:///default/key/web", &err), &err);
	stop(&rig.agent);
	unlink(rig.socket);
	/* Outside a measured guest the clock is believed, and the certificate is from the future. */
	agent_start(&rig, false, true);
	EXPECT_FAILS(fetch(&rig, "kbs:///default/key/web", &err), CF_UNAUTHENTICATED);
	EXPECT(strstr(err.msg, "not yet valid"));
	rig_stop(&rig);
}

CF_TEST(guest_that_ran_something_else_before_is_told_so)
{
	cf_cleanup(aa_tpm_closep) struct aa_tpm *tpm = NULL;
	uint8_t other[32] = { 1 };
	struct rig rig;
	struct cf_err err;

	rig_start(&rig);
	boot(&rig, rig.initdata);
	EXPECT_OK(aa_tpm_open(rig.tpm.address, AA_TPM_AK_ECC, &tpm, &err), &err);
	EXPECT_OK(aa_tpm_pcr_extend(tpm, 4, other, &err), &err);
	tpm = aa_tpm_close(tpm);
	agent_start(&rig, true, false);
	EXPECT(fetch(&rig, "kbs:///default/key/web", &err) < 0);
	EXPECT(strstr(err.msg, "pcr04") || strstr(err.msg, "event-log") ||
	       strstr(err.msg, "event log"));
	rig_stop(&rig);
}

/* The host swaps the initdata: the daemon does not start, and a daemon that lied would not get the key. */
CF_TEST(guest_with_other_initdata_than_was_bound_does_not_start)
{
	struct rig rig;
	int status = 0;

	rig_start(&rig);
	boot(&rig, "version = \"0.1.0\"\nalgorithm = \"sha256\"\n[data]\n");

	cf_cleanup(cf_freep) char *bin = cf_test_bin("coffer-attestd");
	cf_cleanup(cf_strv_fini) struct cf_strv argv = { 0 };

	strv_add_all(&argv, (const char *[]){ bin, "--guest", "-t", rig.initdata_path, "--listen",
	                                      "unix:///nonexistent/x", "--tpm-device",
	                                      rig.tpm.address, NULL });
	EXPECT(waitpid(spawn(&rig, &argv, false), &status, 0) > 0);
	EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 78);
	struct cf_buf log = cf_test_read(rig.log);
	EXPECT(strstr((char *)log.data, "initdata does not match PCR 8: expected"));
	cf_buf_fini(&log);
	rig_stop(&rig);
}
