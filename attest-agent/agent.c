/* SPDX-License-Identifier: Apache-2.0 */
#include "attest-agent/agent.h"

#include "base/fd.h"

#define STATE_DIR "/run/attestation-agent"

struct agent {
	struct aa_config config;
	struct attester_config attester_config;
	struct attester attester;
	struct initdata *initdata; /* or NULL */
	struct cf_buf digest;      /* of initdata whose text is not known */
	struct event_log *log;
	struct kbs_server *server; /* or NULL: no KBS set */
	struct kbs_token token;
	char *state_dir, *tpm_device, *event_log, *cmdline;
	char *aael;
	bool is_guest;
};

/* ---- configuration ---- */

static int read_initdata(struct agent *a, const char *path, struct cf_err *err)
{
	struct cf_buf text = { .max = INITDATA_TEXT_MAX };
	int r = cf_read_file(path, INITDATA_TEXT_MAX, &text, err);

	if (r == 0)
		r = initdata_parse(cf_buf_view(&text), &a->initdata, err);
	cf_buf_fini(&text);
	return r < 0 ? cf_wrap(err, r, "%s", path) : 0;
}

/* agent.aa_kbc_params=… of the kernel command line: the peers' last resort outside a measured guest. */
static void config_from_cmdline(struct agent *a)
{
	struct cf_buf text = { .max = ATTESTER_CMDLINE_MAX };
	struct cf_strv words = { 0 };
	const char *path = a->cmdline ? a->cmdline : ATTESTER_CMDLINE;

	if (cf_read_file(path, ATTESTER_CMDLINE_MAX, &text, NULL) == 0 &&
	    !cf_view_has_nul(cf_buf_view(&text)))
		cf_strv_split(&words, cf_buf_view(&text), ' ');
	for (size_t i = 0; i < words.count; i++) {
		char *line_end = strchr(words.items[i], '\n');

		if (line_end)
			*line_end = '\0';
		aa_config_kbc_params(&a->config, cf_after(words.items[i], "agent.aa_kbc_params="));
	}
	cf_strv_fini(&words);
	cf_buf_fini(&text);
}

static int load_config(struct agent *a, const struct agent_opts *opts, struct cf_err *err)
{
	const char *text = a->initdata ? initdata_get(a->initdata, "aa.toml") : NULL;
	int r = 0;

	if (opts->is_guest && opts->config_path)
		return cf_fail(err, CF_FAILED_PRECONDITION,
		               "in a guest the configuration comes from initdata alone");
	if (opts->config_path)
		r = aa_config_read_file(&a->config, opts->config_path, err);
	else if (text)
		r = aa_config_parse(&a->config, cf_view_str(text), err);
	if (r < 0)
		return cf_wrap(err, r, "%s",
		               opts->config_path ? opts->config_path : "initdata aa.toml");
	if (opts->is_guest)
		return 0;
	aa_config_kbc_params(&a->config, getenv("AA_KBC_PARAMS"));
	config_from_cmdline(a);
	if (cf_streq(getenv("COFFER_ALLOW_SAMPLE"), "1"))
		a->config.allow_sample = true;
	return 0;
}

/* ---- start ---- */

static int check_initdata(struct agent *a, struct cf_err *err)
{
	const struct attester_ops *ops = a->attester.ops;
	uint8_t digest[CF_HASH_SIZE_MAX];
	struct attester_initdata initdata = { .digest = cf_buf_view(&a->digest) };

	if (a->initdata) {
		initdata_digest(a->initdata, digest);
		initdata.text = cf_buf_view(&a->initdata->text);
		initdata.digest = cf_view(digest, cf_hash_size(a->initdata->alg));
	}
	if (!initdata.digest.size)
		return a->config.initdata_required
		               ? cf_fail(err, CF_FAILED_PRECONDITION, "initdata is required")
		               : 0;
	if (ops->check_initdata)
		return ops->check_initdata(a->attester.self, &initdata, !a->is_guest, err);
	if (a->config.initdata_required)
		return cf_fail(err, CF_FAILED_PRECONDITION, "TEE %s cannot bind initdata",
		               ops->tee);
	return 0;
}

static int open_server(struct agent *a, struct cf_err *err)
{
	struct kbs_server_config config = {
		.url = a->config.kbs_url,
		.ca_pem = cf_view_str(a->config.kbs_cert),
		.clock_untrusted = a->is_guest,
	};

	return a->config.kbs_url ? kbs_server_new(&config, &a->server, err) : 0;
}

static int open_tee(struct agent *a, const char *tee, struct cf_err *err)
{
	a->attester_config = (struct attester_config){
		.tpm_device = a->tpm_device,
		.tpm_ak_ecc = a->config.tpm_ak_ecc,
		.event_log = a->event_log,
		.cmdline = a->cmdline,
		.aael = a->aael,
		.allow_sample = a->config.allow_sample,
	};
	return attester_open(tee, &a->attester_config, &a->attester, err);
}

static int start(struct agent *a, const struct agent_opts *opts, struct cf_err *err)
{
	int r = 0;

	if (opts->is_guest && !opts->initdata_path)
		return cf_fail(err, CF_FAILED_PRECONDITION, "a guest without initdata is refused");
	if (opts->initdata_path)
		r = read_initdata(a, opts->initdata_path, err);
	else if (opts->initdata_digest)
		r = cf_b64_decode(CF_B64_STD, cf_view_str(opts->initdata_digest), &a->digest, err);
	if (r == 0)
		r = load_config(a, opts, err);
	if (r == 0)
		r = open_tee(a, opts->tee, err);
	if (r == 0)
		r = check_initdata(a, err);
	if (r == 0)
		r = open_server(a, err);
	if (r == 0 && a->config.enable_eventlog)
		r = event_log_open(a->state_dir, &a->attester, &a->log, err);
	return r;
}

int agent_new(const struct agent_opts *opts, struct agent **ret, struct cf_err *err)
{
	cf_cleanup(agent_freep) struct agent *a = cf_zalloc(sizeof(*a));
	int r;

	aa_config_init(&a->config);
	a->is_guest = opts->is_guest;
	a->state_dir = cf_strdup(opts->state_dir ? opts->state_dir : STATE_DIR);
	a->aael = cf_asprintf("%s/eventlog", a->state_dir);
	a->tpm_device = cf_strdup(opts->tpm_device);
	a->event_log = cf_strdup(opts->event_log);
	a->cmdline = cf_strdup(opts->cmdline);
	r = start(a, opts, err);
	if (r < 0)
		return r;
	*ret = cf_take(&a);
	return 0;
}

struct agent *agent_free(struct agent *a)
{
	if (!a)
		return NULL;
	kbs_token_fini(&a->token);
	kbs_server_free(a->server);
	event_log_free(a->log);
	attester_close(&a->attester);
	initdata_free(a->initdata);
	cf_buf_fini(&a->digest);
	aa_config_fini(&a->config);
	free(a->state_dir);
	free(a->tpm_device);
	free(a->event_log);
	free(a->cmdline);
	free(a->aael);
	free(a);
	return NULL;
}

const char *agent_tee(const struct agent *a)
{
	return a->attester.ops->tee;
}

enum cf_log_level agent_log_level(const struct agent *a)
{
	return a->config.log_level;
}

const char *agent_kbs_url(const struct agent *a)
{
	return a->config.kbs_url;
}

void agent_warm(struct agent *a)
{
	const struct attester_ops *ops = a->attester.ops;
	struct cf_buf binding = { 0 };
	struct cf_err err;

	if (a->server && ops->binding && ops->binding(a->attester.self, &binding, &err) < 0)
		cf_log_debug("not warmed up", CF_F_STR("error", err.msg));
	cf_buf_fini(&binding);
}

/* ---- evidence ---- */

int agent_evidence(struct agent *a, struct cf_view runtime_data, struct cf_buf *ret,
                   struct cf_err *err)
{
	if (runtime_data.size > AA_RUNTIME_DATA_MAX)
		return cf_fail(err, CF_INVALID_ARGUMENT, "runtime data of %zu bytes, at most %u",
		               runtime_data.size, AA_RUNTIME_DATA_MAX);
	return a->attester.ops->evidence(a->attester.self, runtime_data, NULL, ret, err);
}

int agent_event_log(struct agent *a, struct cf_buf *ret, struct cf_err *err)
{
	const struct attester_ops *ops = a->attester.ops;

	return ops->event_log ? ops->event_log(a->attester.self, ret, err) : 0;
}

const char *agent_rest(const struct agent *a)
{
	return a->config.rest;
}

bool agent_rest_gives_token(const struct agent *a)
{
	return a->config.rest_token;
}

/* ---- token ---- */

static int attest(struct agent *a, struct cf_err *err)
{
	const struct kbs_evidence_source source = {
		.tee = a->attester.ops->tee,
		.arg = a->attester.self,
		.binding = a->attester.ops->binding,
		.evidence = a->attester.ops->evidence,
		.init_data = a->initdata ? cf_buf_view(&a->initdata->text) : (struct cf_view){ 0 },
	};
	struct kbs_token token = { 0 };
	int r = kbs_attest(a->server, &source, a->config.tee_key, &token, err);

	if (r < 0)
		return r;
	kbs_token_fini(&a->token);
	a->token = token;
	return 0;
}

int agent_token(struct agent *a, const char *type, struct cf_buf *ret, struct cf_err *err)
{
	bool fresh = cf_streq(type, "kbs+fresh") || !a->config.token_cache;
	int r = 0;

	if (!cf_streq(type, "kbs") && !cf_streq(type, "kbs+fresh"))
		return cf_fail(err, CF_UNIMPLEMENTED, "token type \"%s\": only kbs is known", type);
	if (!a->server)
		return cf_fail(err, CF_FAILED_PRECONDITION,
		               "no key broker is set: token_configs.kbs.url");
	if (fresh || !kbs_token_is_fresh(&a->token))
		r = attest(a, err);
	return r < 0 ? r : kbs_token_print(&a->token, ret, err);
}

/* ---- runtime measurement ---- */

int agent_measure(struct agent *a, const char *domain, const char *operation, const char *content,
                  int64_t reg, enum agent_measured *ret, struct cf_err *err)
{
	const struct attester_ops *ops = a->attester.ops;
	int r;

	if (!ops->extend) {
		*ret = AGENT_NOT_SUPPORTED;
		return 0;
	}
	if (!a->log) {
		*ret = AGENT_NOT_ENABLED;
		return 0;
	}
	if (reg < 0)
		reg = a->config.init_pcr >= 0 ? a->config.init_pcr : ops->default_register;
	r = event_log_add(a->log, (uint64_t)reg, domain, operation, content, err);
	*ret = r == -CF_UNIMPLEMENTED ? AGENT_NOT_SUPPORTED : AGENT_MEASURED;
	return r == -CF_UNIMPLEMENTED ? 0 : r;
}

/* ---- show ---- */

static void show_initdata(const struct agent *a, struct cf_jw *w)
{
	uint8_t digest[CF_HASH_SIZE_MAX];

	if (!a->initdata)
		return;
	initdata_digest(a->initdata, digest);
	cf_jw_key(w, "initdata");
	cf_jw_obj(w);
	cf_jw_kstr(w, "algorithm", cf_hash_name(a->initdata->alg));
	cf_jw_key(w, "digest");
	cf_jw_hex(w, cf_view(digest, cf_hash_size(a->initdata->alg)));
	cf_jw_kbool(w, "bound", a->attester.ops->check_initdata != NULL);
	cf_jw_end_obj(w);
}

int agent_show(struct agent *a, struct cf_buf *ret, struct cf_err *err)
{
	struct cf_jw w = { .out = ret };
	int r = 0;

	cf_jw_obj(&w);
	cf_jw_kstr(&w, "schema", "coffer.tee/1");
	cf_jw_kstr(&w, "tee", agent_tee(a));
	if (a->config.kbs_url)
		cf_jw_kstr(&w, "kbs", a->config.kbs_url);
	show_initdata(a, &w);
	if (a->attester.ops->describe)
		r = a->attester.ops->describe(a->attester.self, &w, err);
	cf_jw_end_obj(&w);
	return r < 0 ? r : cf_buf_check(ret, "show", err);
}
