/* SPDX-License-Identifier: Apache-2.0 */
#include "kbs/serve.h"

#include "base/fd.h"
#include "base/httpd_tls.h"
#include "base/log.h"
#include "base/sd.h"
#include "base/work.h"
#include "kbs/service.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define QUEUE_MAX     1024u
#define SWEEP_MS      60000
#define DRAIN_MS      5000
#define DRAIN_STEP_MS 20

static const char help[] =
	"usage: coffer-kbs serve --config FILE [options]\n"
	"\n"
	"Serves keys and secrets to guests that proved what they booted.\n"
	"\n"
	"  --config FILE       configuration, TOML (coffer kbs init DIR writes one)\n"
	"  --listen ADDR:PORT  instead of http_server.sockets; port 0 is a free one\n"
	"  --state-dir DIR     instead of coffer.state_dir\n"
	"  --port-file FILE    written when ready: the URL that is served\n";

struct daemon {
	struct cf_loop *loop;
	struct cf_work *work;
	struct kbs *kbs;
	struct cf_httpd_tls *tls; /* NULL: plain HTTP was asked for */
	struct cf_httpd *httpds[KBS_LISTEN_MAX];
	size_t httpd_count;
	struct cf_event *events[6];
	size_t event_count;
	unsigned running; /* calls that a worker has */
	int64_t drain_until_ms;
};

struct job {
	struct daemon *d;
	struct cf_httpd_req *req;
	struct kbs_call call;
};

/* ---- requests ---- */

static void reply(struct job *j)
{
	const struct kbs_reply *r = &j->call.reply;

	kbs_call_end(&j->call);
	cf_httpd_reply(j->req, r->status, r->body.size ? r->type : NULL, &r->headers,
	               cf_buf_view(&r->body));
	kbs_call_fini(&j->call);
	free(j);
}

static void worked(void *arg)
{
	struct job *j = arg;

	j->d->running--;
	reply(j);
}

static void work(void *arg)
{
	struct job *j = arg;

	kbs_call_work(&j->call);
	cf_loop_post(j->d->loop, worked, j);
}

static void handle(struct cf_httpd_req *req, void *user)
{
	struct daemon *d = user;
	const struct http_head *head = cf_httpd_head(req);
	struct job *j = cf_zalloc(sizeof(*j));
	struct cf_err err;

	j->d = d;
	j->req = req;
	j->call = (struct kbs_call){ .method = head->method,
		                     .path = head->path,
		                     .query = head->query,
		                     .body = cf_httpd_body(req),
		                     .authorization = http_head_field(head, "Authorization"),
		                     .cookie = http_head_field(head, "Cookie"),
		                     .peer = cf_httpd_peer(req) };
	kbs_call_begin(d->kbs, &j->call);
	if (j->call.reply.status) {
		reply(j);
		return;
	}
	d->running++;
	if (cf_work_add(d->work, work, j, &err) < 0) {
		d->running--;
		cf_strv_add(&j->call.reply.headers, "Retry-After: 1");
		j->call.reply.status = 503;
		reply(j);
	}
}

static size_t body_max(struct cf_view method, struct cf_view path, void *user)
{
	const struct daemon *d = user;

	return kbs_body_max(d->kbs, method, path);
}

/* ---- life ---- */

static void on_sweep(void *arg)
{
	struct daemon *d = arg;

	kbs_sweep(d->kbs);
}

static bool is_idle(const struct daemon *d)
{
	for (size_t i = 0; i < d->httpd_count; i++)
		if (cf_httpd_connections(d->httpds[i]))
			return false;
	return d->running == 0;
}

static void on_drain_step(void *arg)
{
	struct daemon *d = arg;

	if (is_idle(d) || cf_now_ms() > d->drain_until_ms)
		cf_loop_stop(d->loop);
}

static void on_stop(int signo, void *arg)
{
	struct daemon *d = arg;

	(void)signo;
	if (d->drain_until_ms)
		return;
	cf_log_info("draining");
	d->drain_until_ms = cf_now_ms() + DRAIN_MS;
	for (size_t i = 0; i < d->httpd_count; i++)
		cf_httpd_drain(d->httpds[i]);
	d->events[d->event_count++] = cf_loop_timer(d->loop, DRAIN_STEP_MS, true, on_drain_step, d);
}

static void on_reload(int signo, void *arg)
{
	struct daemon *d = arg;
	struct cf_err err;

	(void)signo;
	if (!d->tls)
		return;
	if (cf_httpd_tls_reload(d->tls, &err) < 0)
		cf_log_error("certificate not read again", CF_F_STR("why", err.msg));
	else
		cf_log_info("certificate read again");
}

static int listen_all(struct daemon *d, char **ret_url, struct cf_err *err)
{
	const struct kbs_config *conf = kbs_config(d->kbs);
	int r = 0;

	if (!conf->insecure_http)
		r = cf_httpd_tls_new(conf->cert_path, conf->key_path, &d->tls, err);
	for (size_t i = 0; r == 0 && i < conf->listen_count; i++) {
		struct cf_httpd_opts opts = {
			.address = conf->listen[i].address,
			.port = conf->listen[i].port,
			.tls = d->tls,
			.head_max = conf->head_max,
			.body_max = body_max,
			.handle = handle,
			.user = d,
		};
		bool v6 = strchr(opts.address, ':') != NULL;

		r = cf_httpd_new(d->loop, &opts, &d->httpds[i], err);
		if (r < 0)
			return r;
		d->httpd_count++;
		free(*ret_url);
		*ret_url = cf_asprintf("http%s://%s%s%s:%u", conf->insecure_http ? "" : "s",
		                       v6 ? "[" : "", opts.address, v6 ? "]" : "",
		                       cf_httpd_port(d->httpds[i]));
		cf_log_info("listening", CF_F_STR("url", *ret_url));
	}
	return r;
}

static void daemon_fini(struct daemon *d)
{
	cf_work_free(d->work); /* waits for its jobs; their posts run below */
	if (d->loop)
		cf_loop_run_once(d->loop, 0);
	for (size_t i = 0; i < d->httpd_count; i++)
		cf_httpd_free(d->httpds[i]);
	cf_httpd_tls_free(d->tls);
	for (size_t i = 0; i < d->event_count; i++)
		cf_event_free(d->events[i]);
	kbs_close(d->kbs);
	cf_loop_free(d->loop);
}

static int start(struct daemon *d, struct kbs_config *config, const char *port_file,
                 struct cf_err *err)
{
	cf_cleanup(cf_freep) char *url = NULL;
	unsigned workers = config->workers;
	int r;

	for (size_t i = 0; i < config->warnings.count; i++)
		cf_log_warn(config->warnings.items[i]);
	r = kbs_open(config, &d->kbs, err);
	if (r == 0)
		r = cf_loop_new(&d->loop, err);
	if (r == 0)
		r = cf_work_new(workers, QUEUE_MAX, &d->work, err);
	if (r == 0)
		r = listen_all(d, &url, err);
	if (r < 0)
		return r;
	d->events[d->event_count++] = cf_loop_signal(d->loop, SIGTERM, on_stop, d);
	d->events[d->event_count++] = cf_loop_signal(d->loop, SIGINT, on_stop, d);
	d->events[d->event_count++] = cf_loop_signal(d->loop, SIGHUP, on_reload, d);
	d->events[d->event_count++] = cf_loop_timer(d->loop, SWEEP_MS, true, on_sweep, d);
	if (port_file)
		r = cf_write_file_atomic(port_file, cf_view_str(url), 0644, err);
	cf_sd_notify("READY=1");
	return r;
}

struct options {
	const char *config, *listen, *state_dir, *port_file;
};

static int parse_options(int argc, char **argv, struct options *o)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "config-file", required_argument, NULL, 'c' },
		{ "listen", required_argument, NULL, 'l' },
		{ "state-dir", required_argument, NULL, 's' },
		{ "port-file", required_argument, NULL, 'p' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	o->config = getenv("KBS_CONFIG_FILE");
	optind = 1;
	while ((c = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		if (c == 'h') {
			fputs(help, stdout);
			return 0;
		}
		if (c == '?')
			return 2;
		*(c == 'c'   ? &o->config
		  : c == 'l' ? &o->listen
		  : c == 's' ? &o->state_dir
		             : &o->port_file) = optarg;
	}
	if (o->config && optind == argc)
		return -1;
	fputs("usage: coffer-kbs serve --config FILE [options]; see --help\n", stderr);
	return 2;
}

int serve_cmd(int argc, char **argv)
{
	cf_cleanup(daemon_fini) struct daemon d = { 0 };
	cf_cleanup(kbs_config_fini) struct kbs_config config = { 0 };
	struct options o = { 0 };
	struct cf_err err;
	int r = parse_options(argc, argv, &o);

	if (r >= 0)
		return r;
	cf_secret_harden_process();
	r = kbs_config_read(o.config, &config, &err);
	if (r == 0 && o.listen)
		r = kbs_config_listen(&config, o.listen, &err);
	if (r == 0 && o.state_dir) {
		free(config.state_dir);
		config.state_dir = cf_strdup(o.state_dir);
	}
	if (r == 0)
		r = start(&d, &config, o.port_file, &err);
	if (r < 0) {
		cf_log_error("cannot start", CF_F_STR("why", err.msg));
		return 1;
	}
	cf_loop_run(d.loop);
	cf_log_info("stopped");
	return 0;
}
