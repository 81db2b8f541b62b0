/* SPDX-License-Identifier: Apache-2.0 */
#include "kbs/config.h"

#include "base/fd.h"

#define CONFIG_SIZE_MAX (1u << 20)
#define PEM_SIZE_MAX    (64u << 10)

void kbs_config_fini(struct kbs_config *c)
{
	for (size_t i = 0; i < c->listen_count; i++)
		free(c->listen[i].address);
	for (size_t i = 0; i < c->persona_count; i++) {
		free(c->personas[i].id);
		cf_pkey_free(c->personas[i].key);
	}
	free(c->cert_path);
	free(c->key_path);
	free(c->state_dir);
	tpm_roots_free(c->tpm_roots);
	cf_strv_fini(&c->token_cas);
	cf_strv_fini(&c->warnings);
	*c = (struct kbs_config){ 0 };
}

/* ---- places ---- */

static char *beside(const char *config_path, const char *path)
{
	const char *slash = strrchr(config_path, '/');

	if (!path)
		return NULL;
	if (path[0] == '/' || !slash)
		return cf_strdup(path);
	return cf_asprintf("%.*s/%s", (int)(slash - config_path), config_path, path);
}

static int read_text(const char *config_path, const char *name, struct cf_buf *ret,
                     struct cf_err *err)
{
	cf_cleanup(cf_freep) char *path = beside(config_path, name);

	ret->max = PEM_SIZE_MAX;
	return cf_read_file(path, PEM_SIZE_MAX, ret, err);
}

static int add_listen(struct kbs_config *c, const char *text, struct cf_err *err)
{
	const char *colon = strrchr(text, ':');
	size_t size = colon ? (size_t)(colon - text) : 0;
	uint64_t port;

	if (!colon || size == 0 || c->listen_count >= KBS_LISTEN_MAX ||
	    cf_parse_u64(cf_view_str(colon + 1), 65535, &port, err) < 0)
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "\"%s\" is no ADDRESS:PORT, or one too many (%u)", text,
		               KBS_LISTEN_MAX);
	if (text[0] == '[' && text[size - 1] == ']')
		c->listen[c->listen_count].address = cf_strndup(text + 1, size - 2);
	else
		c->listen[c->listen_count].address = cf_strndup(text, size);
	c->listen[c->listen_count++].port = (uint16_t)port;
	return 0;
}

int kbs_config_listen(struct kbs_config *c, const char *text, struct cf_err *err)
{
	while (c->listen_count)
		free(c->listen[--c->listen_count].address);
	return add_listen(c, text, err);
}

/* ---- sections ---- */

static int read_http(const struct cf_toml *root, const char *file, struct kbs_config *c,
                     struct cf_err *err)
{
	const struct cf_toml *t = NULL;
	cf_cleanup(cf_strv_fini) struct cf_strv sockets = { 0 };
	const char *cert = NULL, *key = NULL;
	int64_t mib = 2;
	int r = cf_toml_get_table(root, "http_server", &t, err);

	if (r == 0)
		r = cf_toml_get_strv(t, "sockets", &sockets, err);
	if (r == 0 && sockets.count == 0)
		cf_strv_add(&sockets, "127.0.0.1:8080");
	for (size_t i = 0; r == 0 && i < sockets.count; i++)
		r = add_listen(c, sockets.items[i], err);
	if (r == 0)
		r = cf_toml_get_bool(t, "insecure_http", false, &c->insecure_http, err);
	if (r == 0)
		r = cf_toml_get_str(t, "certificate", NULL, &cert, err);
	if (r == 0)
		r = cf_toml_get_str(t, "private_key", NULL, &key, err);
	if (r == 0)
		r = cf_toml_get_int(t, "payload_request_size", 1, 64, 2, &mib, err);
	if (r < 0)
		return r;
	c->payload_max = (size_t)mib << 20;
	c->cert_path = beside(file, cert);
	c->key_path = beside(file, key);
	if (!c->insecure_http && (!cert || !key))
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "http_server: certificate and private_key are needed (or "
		               "insecure_http = true, which sends tokens in clear)");
	if (c->insecure_http)
		cf_strv_add(&c->warnings, "insecure_http: tokens and admin keys travel in clear");
	return 0;
}

static int add_persona(const struct cf_toml *row, const char *file, struct kbs_config *c,
                       struct cf_err *err)
{
	cf_cleanup(cf_buf_fini) struct cf_buf pem = { 0 };
	struct kbs_persona *p = &c->personas[c->persona_count];
	const char *id = NULL, *path = NULL;
	int r = cf_toml_get_str(row, "id", NULL, &id, err);

	if (r == 0)
		r = cf_toml_get_str(row, "public_key_path", NULL, &path, err);
	if (r == 0 && (!id || !path || c->persona_count >= KBS_PERSONAS_MAX))
		r = cf_fail(err, CF_INVALID_ARGUMENT,
		            "admin.personas: id and public_key_path are needed");
	if (r == 0)
		r = read_text(file, path, &pem, err);
	if (r == 0)
		r = cf_pkey_parse(cf_buf_view(&pem), &p->key, err);
	if (r < 0)
		return cf_wrap(err, r, "admin.personas");
	p->id = cf_strdup(id);
	c->persona_count++;
	return 0;
}

/* Three generations of the peers' configuration; the default is to let nobody in. */
static int read_admin(const struct cf_toml *root, const char *file, struct kbs_config *c,
                      struct cf_err *err)
{
	const struct cf_toml *t = NULL, *personas;
	const char *kind = NULL, *mode = NULL;
	int r = cf_toml_get_table(root, "admin", &t, err);

	if (r == 0)
		r = cf_toml_get_str(t, "type", NULL, &kind, err);
	if (r == 0)
		r = cf_toml_get_str(t, "authorization_mode", kind ? kind : "DenyAll", &mode, err);
	if (r < 0)
		return r;
	if (!strcmp(mode, "InsecureAllowAll")) {
		c->admin_allow_all = true;
		cf_strv_add(&c->warnings, "admin: InsecureAllowAll: anybody may put resources");
		return 0;
	}
	personas = cf_toml_get(t, "personas");
	for (size_t i = 0; r == 0 && i < cf_toml_count(personas); i++)
		r = add_persona(cf_toml_at(personas, i), file, c, err);
	if (r == 0 && strcmp(mode, "Simple") && strcmp(mode, "DenyAll"))
		return cf_fail(err, CF_UNIMPLEMENTED,
		               "admin: \"%s\" is not spoken; use type = \"Simple\" with personas",
		               mode);
	return r;
}

static int add_root(const struct cf_toml *row, const char *file, struct kbs_config *c,
                    struct cf_err *err)
{
	cf_cleanup(cf_buf_fini) struct cf_buf pem = { 0 };
	cf_cleanup(cf_strv_fini) struct cf_strv allow = { 0 };
	bool vtpm = false, software = false, accept = false;
	const char *path = NULL;
	enum tpm_root_kind kind;
	int r = cf_toml_get_str(row, "pem", NULL, &path, err);

	if (r == 0)
		r = cf_toml_get_bool(row, "operator_vtpm", false, &vtpm, err);
	if (r == 0)
		r = cf_toml_get_bool(row, "software", false, &software, err);
	if (r == 0)
		r = cf_toml_get_bool(row, "accept", false, &accept, err);
	if (r == 0)
		r = cf_toml_get_strv(row, "ek_allow", &allow, err);
	if (r < 0)
		return r;
	if (!path || vtpm + software + (allow.count > 0) != 1)
		return cf_fail(
			err, CF_INVALID_ARGUMENT,
			"coffer.tpm.ek_roots, line %u: pem, and exactly one of operator_vtpm, "
			"ek_allow, software",
			cf_toml_line(row));
	kind = vtpm ? TPM_ROOT_OPERATOR_VTPM : software ? TPM_ROOT_SOFTWARE : TPM_ROOT_EK_ALLOW;
	if (strstr(path, "-----BEGIN"))
		cf_buf_add_str(&pem, path);
	else
		r = read_text(file, path, &pem, err);
	return r < 0 ? r
	             : tpm_roots_add(c->tpm_roots, cf_buf_view(&pem), kind, &allow, accept, err);
}

static int read_limits(const struct cf_toml *t, struct kbs_config *c, struct cf_err *err)
{
	int64_t sessions = 0, rate = 0, burst = 0, head = 0, workers = 0;
	int r = cf_toml_get_int(t, "max_sessions", 1, 10000000, 100000, &sessions, err);

	if (r == 0)
		r = cf_toml_get_int(t, "auth_rate_per_ip", 1, 1000000, 20, &rate, err);
	if (r == 0)
		r = cf_toml_get_int(t, "auth_burst_per_ip", 1, 1000000, 40, &burst, err);
	if (r == 0)
		r = cf_toml_get_int(t, "head_limit_kib", 8, 4096, 256, &head, err);
	if (r == 0)
		r = cf_toml_get_int(t, "workers", 1, 64, 4, &workers, err);
	c->sessions_max = (size_t)sessions;
	c->auth_rate = (unsigned)rate;
	c->auth_burst = (unsigned)burst;
	c->head_max = (size_t)head << 10;
	c->workers = (unsigned)workers;
	return r;
}

static int read_coffer(const struct cf_toml *root, const char *file, struct kbs_config *c,
                       struct cf_err *err)
{
	const struct cf_toml *t = NULL, *roots = cf_toml_find(root, "coffer.tpm.ek_roots");
	const char *state = NULL;
	int r = cf_toml_get_table(root, "coffer", &t, err);

	if (r == 0)
		r = cf_toml_get_str(t, "state_dir", "/var/lib/coffer/kbs", &state, err);
	if (r == 0)
		r = cf_toml_get_bool(t, "allow_sample", false, &c->allow_sample, err);
	if (r == 0)
		r = read_limits(t, c, err);
	c->tpm_roots = cf_zalloc(sizeof(*c->tpm_roots));
	for (size_t i = 0; r == 0 && i < cf_toml_count(roots); i++)
		r = add_root(cf_toml_at(roots, i), file, c, err);
	if (r < 0)
		return r;
	c->state_dir = beside(file, state);
	if (c->allow_sample)
		cf_strv_add(&c->warnings, "allow_sample: guests without any TEE may attest");
	return 0;
}

static int read_attestation(const struct cf_toml *root, const char *file, struct kbs_config *c,
                            struct cf_err *err)
{
	const struct cf_toml *service = NULL, *token = NULL, *broker;
	cf_cleanup(cf_strv_fini) struct cf_strv cas = { 0 };
	int64_t minutes = 5, token_minutes = 5;
	int r = cf_toml_get_table(root, "attestation_service", &service, err);

	if (r == 0)
		r = cf_toml_get_table(root, "attestation_token", &token, err);
	broker = cf_toml_find(root, "attestation_service.attestation_token_broker");
	if (r == 0)
		r = cf_toml_get_int(service, "timeout", 1, 60, 5, &minutes, err);
	if (r == 0)
		r = cf_toml_get_int(broker, "duration_min", 1, 1440, 5, &token_minutes, err);
	if (r == 0)
		r = cf_toml_get_strv(token, "trusted_certs_paths", &cas, err);
	for (size_t i = 0; r == 0 && i < cas.count; i++) {
		cf_cleanup(cf_buf_fini) struct cf_buf pem = { 0 };

		r = read_text(file, cas.items[i], &pem, err);
		if (r == 0)
			cf_strv_add_take(&c->token_cas, cf_buf_take_str(&pem));
	}
	c->session_ms = minutes * 60 * 1000;
	c->token_s = token_minutes * 60;
	return r;
}

static void note_unknown(const struct cf_toml *root, struct kbs_config *c)
{
	static const char *const known[] = { "http_server",       "admin",  "attestation_service",
		                             "attestation_token", "coffer", "storage_backend",
		                             "plugins",           NULL };
	struct cf_err err;

	if (cf_toml_only(root, known, &err) < 0)
		cf_strv_addf(&c->warnings, "configuration: %s", err.msg);
	if (cf_toml_get(root, "storage_backend") || cf_toml_get(root, "plugins"))
		cf_strv_add(&c->warnings,
		            "storage_backend and plugins are not used: resources are in state_dir");
}

int kbs_config_read(const char *path, struct kbs_config *ret, struct cf_err *err)
{
	cf_cleanup(kbs_config_fini) struct kbs_config c = { 0 };
	cf_cleanup(cf_toml_freep) struct cf_toml *root = NULL;
	int r = cf_toml_read_file(path, CONFIG_SIZE_MAX, &root, err);

	if (r < 0)
		return r;
	r = read_http(root, path, &c, err);
	if (r == 0)
		r = read_admin(root, path, &c, err);
	if (r == 0)
		r = read_attestation(root, path, &c, err);
	if (r == 0)
		r = read_coffer(root, path, &c, err);
	if (r < 0)
		return cf_wrap(err, r, "%s", path);
	note_unknown(root, &c);
	*ret = c;
	c = (struct kbs_config){ 0 };
	return 0;
}
