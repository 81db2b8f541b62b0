/* SPDX-License-Identifier: Apache-2.0 */
#include "kbs/setup.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/self_signed.h"
#include "kbs/service.h"
#include "proto/jose_jws.h"

#include <getopt.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#define CERT_DAYS    3650u
#define TOKEN_LIFE_S (365LL * 24 * 60 * 60)

static int complain(const struct cf_err *err)
{
	fprintf(stderr, "coffer-kbs: %s\n", err->msg);
	return err->code == CF_ALREADY_EXISTS ? 5 : err->code == CF_NOT_FOUND ? 4 : 1;
}

/* ---- init ---- */

static const char init_help[] =
	"usage: coffer-kbs init DIR [--listen ADDR:PORT] [--name NAME]... [--allow-sample]\n"
	"\n"
	"Writes DIR/kbs.toml, a TLS key with a self-signed certificate (tls.pem is what clients "
	"and\n"
	"initdata pin), an admin key and its token (admin.token). Refuses a DIR that has them "
	"already.\n"
	"\n"
	"  --listen ADDR:PORT  default 127.0.0.1:8080\n"
	"  --name NAME         a DNS name or IP address for the certificate; localhost, 127.0.0.1 "
	"and the\n"
	"                      listening address are always in it\n"
	"  --allow-sample      guests without any TEE may attest: for trying things out\n";

struct setup {
	const char *dir, *listen;
	struct cf_strv names;
	bool allow_sample;
};

static int write_in(const struct setup *s, const char *name, struct cf_view text, mode_t mode,
                    struct cf_err *err)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/%s", s->dir, name);

	return cf_write_file_atomic(path, text, mode, err);
}

static bool is_address(const char *name)
{
	return strchr(name, ':') || strspn(name, "0123456789.") == strlen(name);
}

static int make_tls(struct setup *s, struct cf_err *err)
{
	cf_cleanup(cf_pkey_freep) struct cf_pkey *key = NULL;
	cf_cleanup(cf_strv_fini) struct cf_strv sans = { 0 };
	cf_cleanup(cf_buf_fini) struct cf_buf cert = { 0 };
	cf_cleanup(cf_buf_wipe) struct cf_buf pem = { 0 };
	int r = cf_pkey_generate(CF_PKEY_EC_P256, 0, &key, err);

	for (size_t i = 0; i < s->names.count; i++)
		cf_strv_addf(&sans, "%s:%s", is_address(s->names.items[i]) ? "IP" : "DNS",
		             s->names.items[i]);
	if (r == 0)
		r = cf_self_signed(key, "coffer-kbs", &sans, CERT_DAYS, &cert, err);
	if (r == 0)
		r = cf_pkey_to_pem(key, true, &pem, err);
	if (r == 0)
		r = write_in(s, "tls.key", cf_buf_view(&pem), 0600, err);
	if (r == 0)
		r = write_in(s, "tls.pem", cf_buf_view(&cert), 0644, err);
	return r;
}

static int make_admin(const struct setup *s, struct cf_err *err)
{
	static const struct cf_view header = CF_VIEW_LIT("{\"typ\":\"JWT\",\"alg\":\"EdDSA\"}");
	cf_cleanup(cf_pkey_freep) struct cf_pkey *key = NULL;
	cf_cleanup(cf_buf_wipe) struct cf_buf secret = { 0 }, token = { 0 };
	cf_cleanup(cf_buf_fini) struct cf_buf public = { 0 }, claims = { 0 };
	int64_t now = (int64_t)time(NULL);
	struct cf_jw w = { .out = &claims };
	int r = cf_pkey_generate(CF_PKEY_ED25519, 0, &key, err);

	cf_jw_obj(&w);
	cf_jw_kstr(&w, "role", "admin");
	cf_jw_kint(&w, "iat", now);
	cf_jw_kint(&w, "exp", now + TOKEN_LIFE_S);
	cf_jw_end_obj(&w);
	if (r == 0)
		r = jws_sign(header, JWS_EDDSA, key, cf_buf_view(&claims), &token, err);
	if (r == 0)
		r = cf_pkey_to_pem(key, true, &secret, err);
	if (r == 0)
		r = cf_pkey_to_pem(key, false, &public, err);
	if (r == 0)
		r = write_in(s, "admin.key", cf_buf_view(&secret), 0600, err);
	if (r == 0)
		r = write_in(s, "admin.pub.pem", cf_buf_view(&public), 0644, err);
	if (r == 0)
		r = write_in(s, "admin.token", cf_buf_view(&token), 0600, err);
	return r;
}

static int write_config(const struct setup *s, struct cf_err *err)
{
	cf_cleanup(cf_buf_fini) struct cf_buf b = { 0 };

	cf_buf_add_str(&b, "[http_server]\nsockets = [");
	cf_toml_add_string(&b, s->listen);
	cf_buf_add_str(&b,
	               "]\nprivate_key = \"tls.key\"\ncertificate = \"tls.pem\"\n\n"
	               "[admin]\ntype = \"Simple\"\n\n"
	               "[[admin.personas]]\nid = \"admin\"\npublic_key_path = \"admin.pub.pem\"\n\n"
	               "[attestation_service]\ntype = \"coco_as_builtin\"\ntimeout = 5\n\n"
	               "[coffer]\nstate_dir = \"state\"\n");
	cf_buf_printf(&b, "allow_sample = %s\n", s->allow_sample ? "true" : "false");
	return write_in(s, "kbs.toml", cf_buf_view(&b), 0644, err);
}

static int parse_init(int argc, char **argv, struct setup *s)
{
	static const struct option options[] = {
		{ "listen", required_argument, NULL, 'l' },
		{ "name", required_argument, NULL, 'n' },
		{ "allow-sample", no_argument, NULL, 's' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	optind = 1;
	s->listen = "127.0.0.1:8080";
	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (c == 'h') {
			fputs(init_help, stdout);
			return 0;
		}
		if (c == '?')
			return 2;
		if (c == 'l')
			s->listen = optarg;
		else if (c == 'n')
			cf_strv_add(&s->names, optarg);
		else
			s->allow_sample = true;
	}
	if (optind + 1 != argc) {
		fputs("usage: coffer-kbs init DIR [options]; see --help\n", stderr);
		return 2;
	}
	s->dir = argv[optind];
	return -1;
}

static void add_own_names(struct setup *s)
{
	const char *colon = strrchr(s->listen, ':');
	cf_cleanup(cf_freep) char *host =
		cf_strndup(s->listen, colon ? (size_t)(colon - s->listen) : strlen(s->listen));
	static const char *const always[] = { "localhost", "127.0.0.1" };

	for (size_t i = 0; i < CF_ARRAY_LEN(always); i++)
		if (!cf_strv_has(&s->names, always[i]))
			cf_strv_add(&s->names, always[i]);
	if (host[0] && host[0] != '[' && strcmp(host, "0.0.0.0") && !cf_strv_has(&s->names, host))
		cf_strv_add(&s->names, host);
}

static int make_all(struct setup *s, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *config = cf_asprintf("%s/kbs.toml", s->dir);
	struct stat st;
	int r;

	if (stat(config, &st) == 0)
		return cf_fail(err, CF_ALREADY_EXISTS, "%s is there already", config);
	add_own_names(s);
	r = cf_mkdir_p(s->dir, 0700, err);
	if (r == 0)
		r = make_tls(s, err);
	if (r == 0)
		r = make_admin(s, err);
	return r < 0 ? r : write_config(s, err);
}

int init_cmd(int argc, char **argv)
{
	struct setup s = { 0 };
	struct cf_err err;
	int r = parse_init(argc, argv, &s);

	if (r < 0) {
		r = make_all(&s, &err) < 0 ? complain(&err) : 0;
		if (r == 0)
			printf("%s/kbs.toml\n", s.dir);
		if (r == 0)
			fprintf(stderr,
			        "wrote kbs.toml, tls.pem, tls.key, admin.key, admin.token; start "
			        "it with: coffer-kbs serve --config %s/kbs.toml\n",
			        s.dir);
	}
	cf_strv_fini(&s.names);
	return r;
}

/* ---- call ---- */

static const char call_help[] = "usage: coffer-kbs call --config FILE METHOD PATH [?QUERY] < BODY\n"
				"\n"
				"One administrative call on the service's own files, with or "
				"without it running. The body is read\n"
				"from stdin for PUT and POST.\n";

static int split_target(char *target, struct kbs_call *c)
{
	char *mark = strchr(target, '?');

	if (mark) {
		*mark = '\0';
		c->query = cf_view_str(mark + 1);
	}
	c->path = cf_view_str(target);
	return target[0] == '/' ? 0 : -1;
}

static int exit_of(unsigned status)
{
	if (status < 300)
		return 0;
	return status == 404 ? 4 : status == 409 ? 5 : status == 401 ? 6 : status == 400 ? 9 : 1;
}

static int run_call(const char *config_path, struct kbs_call *c, struct cf_err *err)
{
	cf_cleanup(kbs_config_fini) struct kbs_config config = { 0 };
	cf_cleanup(kbs_closep) struct kbs *k = NULL;
	int r = kbs_config_read(config_path, &config, err);

	if (r == 0)
		r = kbs_open(&config, &k, err);
	if (r < 0)
		return r;
	kbs_call_run(k, c);
	return 0;
}

int call_cmd(int argc, char **argv)
{
	cf_cleanup(cf_buf_wipe) struct cf_buf body = { .max = 64u << 20 };
	struct kbs_call c = { .is_local = true };
	struct cf_err err;
	int r, status;

	if (argc > 1 && !strcmp(argv[1], "--help")) {
		fputs(call_help, stdout);
		return 0;
	}
	if (argc != 5 || strcmp(argv[1], "--config") || split_target(argv[4], &c) < 0) {
		fputs(call_help, stderr);
		return 2;
	}
	cf_log_set_level(CF_LOG_WARN); /* the answer is on stdout */
	c.method = cf_view_str(argv[3]);
	r = argv[3][0] == 'P' ? cf_read_all(0, body.max, &body, &err) : 0;
	c.body = cf_buf_view(&body);
	if (r == 0)
		r = run_call(argv[2], &c, &err);
	if (r < 0)
		return complain(&err);
	status = exit_of(c.reply.status);
	if (c.reply.body.size)
		fprintf(status ? stderr : stdout, "%.*s\n", (int)c.reply.body.size,
		        (const char *)c.reply.body.data);
	kbs_call_fini(&c);
	return status;
}
