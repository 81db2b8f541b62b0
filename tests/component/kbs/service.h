/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* coffer-kbs as a process in a folder of its own, its owner's calls over TLS, and a sample guest. */
#include "tests/harness/test.h"

#include "base/crypto.h"
#include "base/fd.h"
#include "base/http.h"
#include "base/loop.h"
#include "proto/kbs_client.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- processes ---- */

static inline pid_t spawn(char *const argv[], const char *log)
{
	pid_t pid = fork();

	if (pid == 0) {
		int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

		dup2(fd, 1);
		dup2(fd, 2);
		execvp(argv[0], argv);
		_exit(127);
	}
	EXPECT(pid > 0);
	return pid;
}

static inline int run(char *const argv[], const char *log)
{
	int status = 0;

	EXPECT(waitpid(spawn(argv, log), &status, 0) > 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

struct service {
	char *dir, *log, *url, *token;
	pid_t pid;
	struct cf_buf ca;
	struct cf_http *http;
	struct kbs_server *server;
};

/* The daemon over its folder, and clients of it. */
static inline void service_launch(struct service *s)
{
	cf_cleanup(cf_freep) char *bin = cf_test_bin("coffer-kbs");
	cf_cleanup(cf_freep) char *config = cf_asprintf("%s/kbs.toml", s->dir);
	cf_cleanup(cf_freep) char *url_file = cf_asprintf("%s/url", s->dir);
	char serve[] = "serve", config_opt[] = "--config", port_opt[] = "--port-file";
	char *const argv[] = { bin, serve, config_opt, config, port_opt, url_file, NULL };
	int64_t until = cf_now_ms() + 20000;
	struct cf_buf url;
	struct cf_err err;

	unlink(url_file);
	s->pid = spawn(argv, s->log);
	while (access(url_file, R_OK) < 0 && cf_now_ms() < until)
		EXPECT(waitpid(s->pid, NULL, WNOHANG) == 0);
	url = cf_test_read(url_file);
	s->url = cf_buf_take_str(&url);

	struct cf_view pem = cf_buf_view(&s->ca);
	struct cf_http_config http = { .ca_pem = &pem, .ca_count = 1, .no_system_ca = true };
	struct kbs_server_config server = { .url = s->url, .ca_pem = pem };

	cf_http_global_init();
	EXPECT_OK(cf_http_new(&http, &s->http, &err), &err);
	EXPECT_OK(kbs_server_new(&server, &s->server, &err), &err);
}

static inline void service_start(struct service *s, bool allow_sample)
{
	cf_cleanup(cf_freep) char *bin = cf_test_bin("coffer-kbs");
	cf_cleanup(cf_freep) char *tmp = cf_test_tmpdir();
	cf_cleanup(cf_freep) char *ca = NULL, *token_file = NULL;
	char init[] = "init", listen[] = "--listen", any[] = "127.0.0.1:0";
	char sample[] = "--allow-sample";
	struct cf_buf token;

	*s = (struct service){ .dir = cf_asprintf("%s/kbs", tmp),
		               .log = cf_asprintf("%s/kbs.log", tmp) };
	ca = cf_asprintf("%s/tls.pem", s->dir);
	token_file = cf_asprintf("%s/admin.token", s->dir);
	char *const argv[] = { bin, init, s->dir, listen, any, allow_sample ? sample : NULL, NULL };

	EXPECT_INT(run(argv, s->log), 0);
	token = cf_test_read(token_file);
	s->token = cf_buf_take_str(&token);
	s->ca = cf_test_read(ca);
	service_launch(s);
}

static inline void service_end(struct service *s)
{
	int status = 1;

	s->server = kbs_server_free(s->server);
	s->http = cf_http_free(s->http);
	kill(s->pid, SIGTERM);
	EXPECT(waitpid(s->pid, &status, 0) == s->pid);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		struct cf_buf log = cf_test_read(s->log);

		fail_msg("coffer-kbs ended badly:\n%s", (char *)log.data);
	}
	free(s->url);
	s->url = NULL;
}

static inline void service_restart(struct service *s)
{
	service_end(s);
	service_launch(s);
}

static inline void service_stop(struct service *s)
{
	service_end(s);
	free(s->dir);
	free(s->log);
	free(s->token);
	cf_buf_fini(&s->ca);
}

/* One exchange; with @cookie a guest's, with none of both an anonymous one. */
static inline unsigned ask(struct service *s, const char *method, const char *path, bool as_admin,
                           const char *cookie, struct cf_view body, struct cf_http_response *resp)
{
	cf_cleanup(cf_freep) char *url = cf_asprintf("%s%s", s->url, path);
	cf_cleanup(cf_freep) char *bearer = cf_asprintf("Bearer %s", s->token);
	cf_cleanup(cf_strv_fini) struct cf_strv headers = { 0 };
	struct cf_err err;

	if (cookie)
		cf_strv_addf(&headers, "Cookie: kbs-session-id=%s", cookie);

	struct cf_http_request req = { .method = method,
		                       .url = url,
		                       .headers = &headers,
		                       .authorization = as_admin ? bearer : NULL,
		                       .body = body };

	EXPECT_OK(cf_http_do(s->http, &req, resp, &err), &err);
	return resp->status;
}

static inline void admin_put(struct service *s, const char *path, const char *body)
{
	struct cf_http_response resp = { 0 };

	if (ask(s, "PUT", path, true, NULL, cf_view_str(body), &resp) != 200)
		fail_msg("PUT %s: %u %s", path, resp.status, (char *)resp.body.data);
	cf_http_response_fini(&resp);
}

static inline char *admin_get(struct service *s, const char *path)
{
	struct cf_http_response resp = { 0 };
	char *text;

	EXPECT_INT(ask(s, "GET", path, true, NULL, (struct cf_view){ 0 }, &resp), 200);
	text = cf_strndup((char *)resp.body.data, resp.body.size);
	cf_http_response_fini(&resp);
	return text;
}

/* ---- guests ---- */

struct token_box {
	struct kbs_token token;
};

static inline int give_token(void *arg, bool renew, struct kbs_token *ret, struct cf_err *err)
{
	struct token_box *box = arg;

	(void)renew;
	ret->text = cf_strdup(box->token.text);
	ret->key = cf_pkey_ref(box->token.key);
	ret->expires_ms = box->token.expires_ms;
	(void)err;
	return 0;
}

/* The whole way of a guest: handshake, then one resource. */
static inline int fetch(struct service *s, const struct kbs_evidence_source *guest,
                        enum kbs_tee_key key, const char *uri, struct cf_buf *out,
                        struct cf_err *err)
{
	struct token_box box = { 0 };
	cf_cleanup(kbs_client_freep) struct kbs_client *client = NULL;
	int r = kbs_attest(s->server, guest, key, &box.token, err);

	if (r == 0) {
		client = kbs_client_new(s->server, give_token, &box);
		r = kbs_client_get(client, cf_view_str(uri), out, err);
	}
	kbs_token_fini(&box.token);
	return r;
}

static inline int sample_evidence(void *arg, struct cf_view report_data, const struct cf_json *tpm,
                                  struct cf_buf *ret, struct cf_err *err)
{
	struct cf_jw w = { .out = ret };

	(void)arg;
	(void)tpm;
	(void)err;
	cf_jw_obj(&w);
	cf_jw_kstr(&w, "svn", "1");
	cf_jw_key(&w, "report_data");
	cf_jw_b64(&w, CF_B64_STD, report_data);
	cf_jw_end_obj(&w);
	return 0;
}

static const struct kbs_evidence_source sample_guest = { .tee = "sample",
	                                                 .evidence = sample_evidence };

#define SAMPLE_REFERENCES "{\"launch_digest\":[\"abcde\"],\"svn\":[\"1\"]}"
