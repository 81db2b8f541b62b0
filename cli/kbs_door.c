/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/kbs_door.h"

#include "base/fd.h"
#include "base/http.h"
#include "base/proc.h"
#include "cli/cli.h"
#include "proto/kbs_wire.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define ANSWER_MAX (16u << 20)
#define TOKEN_MAX  (64u << 10)
#define CALL_MS    60000

/* -CF_FAILED_PRECONDITION: nothing names a service. */
static int complete(struct kbs_door *d, struct cf_err *err)
{
	if (!d->dir && !d->url)
		d->dir = getenv("COFFER_KBS_DIR");
	if (!d->dir && !d->url)
		d->url = getenv("COFFER_KBS_URL");
	if (!d->ca_path)
		d->ca_path = getenv("COFFER_KBS_CA");
	if (!d->token_path)
		d->token_path = getenv("COFFER_KBS_TOKEN_FILE");
	if (!d->dir && !d->url)
		return cf_fail(
			err, CF_FAILED_PRECONDITION,
			"which key service? Give --dir DIR, or --kbs URL --ca FILE --token-file "
			"FILE");
	return 0;
}

static void take_own(struct kbs_door_words *w, int option, const char *value)
{
	const char **const places[] = { &w->door.dir, &w->door.url, &w->door.ca_path,
		                        &w->door.token_path };

	if (option - 256 < (int)CF_ARRAY_LEN(places))
		*places[option - 256] = value;
	else
		w->is_json = true;
}

int kbs_door_parse(const struct kbs_door_command *cmd, int argc, char **argv, void *user,
                   struct kbs_door_words *ret)
{
	struct cf_err err;
	int c;

	optind = 1;
	while ((c = getopt_long(argc, argv, cmd->letters, cmd->options, NULL)) != -1) {
		if (c == 'h') {
			printf("%s\n%s", cmd->help, KBS_DOOR_HELP);
			return CLI_OK;
		}
		if (c == '?')
			return CLI_USAGE;
		if (c > 255)
			take_own(ret, c, optarg);
		else
			cmd->take(user, c, optarg);
	}
	ret->rest = argv + optind;
	ret->count = argc - optind;
	if (ret->count < cmd->least || ret->count > cmd->most)
		return cli_usage(cmd->name, "%d arguments", ret->count);
	return complete(&ret->door, &err) < 0 ? cli_fail(&err) : -1;
}

void kbs_door_query(struct cf_buf *target, const char *key, const char *value)
{
	cf_buf_printf(target, "%c%s=", memchr(target->data, '?', target->size) ? '&' : '?', key);
	for (const char *p = value; *p; p++) {
		bool plain = (*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'z') ||
		             (*p >= 'A' && *p <= 'Z') || strchr("-_.:~", *p);

		if (plain)
			cf_buf_add_byte(target, (uint8_t)*p);
		else
			cf_buf_printf(target, "%%%02X", (unsigned char)*p);
	}
}

/* ---- on this machine ---- */

static int body_fd(struct cf_view body, struct cf_err *err)
{
	int fd = memfd_create("body", MFD_CLOEXEC); /* never a file: the body may be a secret */
	int r;

	if (fd < 0)
		return cf_fail_errno(err, errno, "memfd");
	r = cf_write_all(fd, body, err);
	if (r == 0 && lseek(fd, 0, SEEK_SET) < 0)
		r = cf_fail_errno(err, errno, "memfd");
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}

static enum cf_code code_of_exit(int status)
{
	switch (status) {
	case CLI_NOT_FOUND:
		return CF_NOT_FOUND;
	case CLI_EXISTS:
		return CF_ALREADY_EXISTS;
	case CLI_BAD_DATA:
		return CF_INVALID_ARGUMENT;
	case CLI_LOGIN:
		return CF_UNAUTHENTICATED;
	default:
		return CF_INTERNAL;
	}
}

static int run_local(const char *program, const char *config, const char *method,
                     const char *target, int in, int out, int errs, struct cf_err *err)
{
	const char *const argv[] = { program, "call", "--config", config, method, target, NULL };
	struct cf_proc_opts opts = {
		.argv = argv, .stdin_fd = in, .stdout_fd = out, .stderr_fd = errs
	};
	int status = 0;
	pid_t pid;
	int r = cf_proc_spawn(&opts, &pid, err);

	if (r == 0)
		r = cf_proc_wait(pid, &status, err);
	if (r < 0)
		return r;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static int take_output(int fd, struct cf_buf *ret, struct cf_err *err)
{
	if (lseek(fd, 0, SEEK_SET) < 0)
		return cf_fail_errno(err, errno, "memfd");
	return cf_read_all(fd, ANSWER_MAX, ret, err);
}

static int call_local(const struct kbs_door *d, const char *method, const char *target,
                      struct cf_view body, struct cf_buf *ret, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *program = cli_program("coffer-kbs");
	cf_cleanup(cf_freep) char *config = cf_asprintf("%s/kbs.toml", d->dir);
	cf_cleanup(cf_freep) char *said = NULL;
	cf_cleanup(cf_buf_fini) struct cf_buf words = { 0 };
	cf_cleanup(cf_closep) int in = body_fd(body, err);
	cf_cleanup(cf_closep) int out = memfd_create("answer", MFD_CLOEXEC);
	cf_cleanup(cf_closep) int errs = memfd_create("errors", MFD_CLOEXEC);
	int r;

	if (in < 0)
		return in;
	if (out < 0 || errs < 0)
		return cf_fail_errno(err, errno, "memfd");
	r = run_local(program, config, method, target, in, out, errs, err);
	if (r < 0)
		return r;
	if (r == 0)
		return take_output(out, ret, err);

	enum cf_code code = code_of_exit(r);

	if (take_output(errs, &words, err) < 0)
		return cf_fail(err, code, "coffer-kbs ended with %d", r);
	said = kbs_error_text(cf_buf_view(&words));
	return cf_fail(err, code, "%s", said);
}

/* ---- over the network ---- */

static int read_token(const struct kbs_door *d, struct cf_buf *ret, struct cf_err *err)
{
	int r;

	if (!d->token_path)
		return cf_fail(err, CF_FAILED_PRECONDITION,
		               "--token-file: an admin token is needed");
	cf_buf_add_str(ret, "Bearer ");
	r = cf_read_file(d->token_path, TOKEN_MAX, ret, err);
	while (ret->size && ret->data[ret->size - 1] == '\n')
		ret->data[--ret->size] = '\0';
	return r;
}

static int call_remote(const struct kbs_door *d, const char *method, const char *target,
                       struct cf_view body, struct cf_buf *ret, struct cf_err *err)
{
	cf_cleanup(cf_buf_wipe) struct cf_buf bearer = { .max = TOKEN_MAX };
	cf_cleanup(cf_buf_fini) struct cf_buf ca = { 0 };
	cf_cleanup(cf_http_freep) struct cf_http *http = NULL;
	cf_cleanup(cf_http_response_fini) struct cf_http_response resp = { 0 };
	size_t size = strlen(d->url);
	cf_cleanup(cf_freep) char *url =
		cf_asprintf("%.*s%s", (int)(size - cf_ends_with(d->url, "/")), d->url, target);
	struct cf_view pem;
	struct cf_http_config config = { .allow_http = true };
	struct cf_http_request req = { .method = method,
		                       .url = url,
		                       .body = body,
		                       .body_max = ANSWER_MAX,
		                       .timeout_ms = CALL_MS };
	int r = read_token(d, &bearer, err);

	if (r == 0 && d->ca_path)
		r = cf_read_file(d->ca_path, TOKEN_MAX, &ca, err);
	if (r < 0)
		return r;
	pem = cf_buf_view(&ca);
	if (d->ca_path) {
		config.ca_pem = &pem;
		config.ca_count = 1;
		config.no_system_ca = true;
	}
	cf_http_global_init();
	r = cf_http_new(&config, &http, err);
	req.authorization = (const char *)bearer.data;
	if (r == 0)
		r = cf_http_do(http, &req, &resp, err);
	if (r < 0)
		return r;
	if (resp.status >= 400) {
		cf_cleanup(cf_freep) char *said = kbs_error_text(cf_http_body(&resp));

		return cf_fail(err, cf_http_status_code(resp.status), "%s: %s", d->url, said);
	}
	cf_buf_add_view(ret, cf_http_body(&resp));
	return cf_buf_check(ret, "answer", err);
}

int kbs_door_call(const struct kbs_door *d, const char *method, const char *target,
                  struct cf_view body, struct cf_buf *ret, struct cf_err *err)
{
	return d->dir ? call_local(d, method, target, body, ret, err)
	              : call_remote(d, method, target, body, ret, err);
}
