/* SPDX-License-Identifier: Apache-2.0 */
#include "kbs/service.h"

#include "base/fd.h"
#include "kbs/api.h"
#include "proto/jose_jws.h"
#include "proto/kbs_wire.h"

#include <time.h>

#define ADMIN_ALGS (JWS_BIT(JWS_EDDSA) | JWS_BIT(JWS_ES256) | JWS_BIT(JWS_ES384))
#define BEARER     "Bearer "

/* ---- life ---- */

static int load_anchors(struct kbs *k, struct cf_err *err)
{
	for (size_t i = 0; i < k->config.token_cas.count; i++) {
		int r;

		if (k->token_anchor_count >= TPM_ROOTS_MAX)
			return cf_fail(err, CF_RESOURCE_EXHAUSTED, "over %u token issuers",
			               TPM_ROOTS_MAX);
		r = cf_cert_parse(cf_view_str(k->config.token_cas.items[i]),
		                  &k->token_anchors[k->token_anchor_count], err);
		if (r < 0)
			return cf_wrap(err, r, "trusted_certs_paths");
		k->token_anchor_count++;
	}
	return 0;
}

static void warn_broken(const struct policy_set *s)
{
	for (size_t i = 0; i < policy_set_count(s); i++)
		if (policy_set_at(s, i)->broken)
			cf_log_error("a stored policy does not compile: what it guards is denied",
			             CF_F_STR("policy", policy_set_at(s, i)->id),
			             CF_F_STR("why", policy_set_at(s, i)->broken));
}

int kbs_open(struct kbs_config *config_take, struct kbs **ret, struct cf_err *err)
{
	cf_cleanup(kbs_closep) struct kbs *k = cf_zalloc(sizeof(*k));
	int r;

	k->config = *config_take;
	*config_take = (struct kbs_config){ 0 };
	r = cf_mkdir_p(k->config.state_dir, 0700, err);
	if (r == 0)
		r = store_open(k->config.state_dir, &k->store, err);
	if (r == 0)
		r = token_signer_open(k->config.state_dir, k->config.token_s, &k->signer, err);
	if (r == 0)
		r = load_anchors(k, err);
	if (r == 0)
		r = policy_set_load(k->store, &k->policies, err);
	if (r < 0)
		return r;
	warn_broken(k->policies);
	k->sessions = sessions_new(k->config.sessions_max, k->config.session_ms);
	k->rate = rate_limit_new(k->config.auth_rate, k->config.auth_burst);
	*ret = cf_take(&k);
	return 0;
}

struct kbs *kbs_close(struct kbs *k)
{
	if (!k)
		return NULL;
	sessions_free(k->sessions);
	rate_limit_free(k->rate);
	token_signer_fini(&k->signer);
	for (size_t i = 0; i < k->token_anchor_count; i++)
		cf_cert_free(k->token_anchors[i]);
	policy_set_unref(k->policies);
	store_close(k->store);
	kbs_config_fini(&k->config);
	free(k);
	return NULL;
}

const struct kbs_config *kbs_config(const struct kbs *k)
{
	return &k->config;
}

void kbs_sweep(struct kbs *k)
{
	sessions_sweep(k->sessions);
}

/* ---- answers ---- */

void kbs_answer_error(struct kbs_call *c, unsigned status, const char *variant, const char *detail)
{
	cf_buf_wipe(&c->reply.body);
	kbs_error_print(variant, detail, &c->reply.body);
	c->reply.status = status;
	c->reply.type = "application/json";
	if (status == 429)
		cf_strv_add(&c->reply.headers, "Retry-After: 1");
	if (!c->why)
		c->why = cf_strdup(detail);
}

static unsigned status_of(enum cf_code code)
{
	switch (code) {
	case CF_INVALID_ARGUMENT:
	case CF_OUT_OF_RANGE:
		return 400;
	case CF_PERMISSION_DENIED:
	case CF_UNAUTHENTICATED:
		return 401; /* clients attest again on it */
	case CF_NOT_FOUND:
		return 404;
	case CF_ALREADY_EXISTS:
		return 409;
	case CF_RESOURCE_EXHAUSTED:
		return 413;
	case CF_UNIMPLEMENTED:
		return 501;
	case CF_UNAVAILABLE:
		return 503;
	default:
		return 500;
	}
}

void kbs_answer_err(struct kbs_call *c, const char *variant, const struct cf_err *err)
{
	unsigned status = status_of(err->code);

	if (status == 400)
		variant = "SerdeError";
	/* Our own trouble is for the log, not for whoever asked. */
	if (status == 500 && !c->why)
		c->why = cf_strdup(err->msg);
	kbs_answer_error(c, status, variant, status == 500 ? "internal error" : err->msg);
}

void kbs_answer_json(struct kbs_call *c, struct cf_view json)
{
	cf_buf_add_view(&c->reply.body, json);
	c->reply.status = 200;
	c->reply.type = "application/json";
}

/* ---- small readers ---- */

static int hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static char *percent_decoded(struct cf_view v)
{
	cf_cleanup(cf_buf_fini) struct cf_buf b = { 0 };

	for (size_t i = 0; i < v.size; i++) {
		int hi = i + 2 < v.size ? hex_digit(v.data[i + 1]) : -1;
		int lo = i + 2 < v.size ? hex_digit(v.data[i + 2]) : -1;

		if (v.data[i] != '%' || hi < 0 || lo < 0 || (hi | lo) == 0) {
			cf_buf_add_byte(&b, v.data[i] == '+' ? ' ' : v.data[i]);
			continue;
		}
		cf_buf_add_byte(&b, (uint8_t)(hi << 4 | lo));
		i += 2;
	}
	return b.size ? cf_buf_take_str(&b) : cf_strdup("");
}

void kbs_query_values(struct cf_view query, const char *key, struct cf_strv *ret)
{
	cf_cleanup(cf_strv_fini) struct cf_strv pairs = { 0 };

	cf_strv_split(&pairs, query, '&');
	for (size_t i = 0; i < pairs.count; i++) {
		const char *value = cf_after(pairs.items[i], key);

		if (value && *value == '=')
			cf_strv_add_take(ret, percent_decoded(cf_view_str(value + 1)));
	}
}

void kbs_query_object(struct cf_view query, struct cf_jw *w)
{
	cf_cleanup(cf_strv_fini) struct cf_strv pairs = { 0 }, seen = { 0 };

	cf_jw_obj(w);
	if (query.size)
		cf_strv_split(&pairs, query, '&');
	for (size_t i = pairs.count; i-- > 0;) {
		const char *pair = pairs.items[i];
		size_t n = strcspn(pair, "=");
		cf_cleanup(cf_freep) char *name = percent_decoded(cf_view(pair, n));
		cf_cleanup(cf_freep) char *value =
			percent_decoded(cf_view_str(pair + n + (pair[n] == '=')));

		if (!name[0] || cf_strv_has(&seen, name))
			continue;
		cf_strv_add(&seen, name);
		cf_jw_kstr(w, name, value);
	}
	cf_jw_end_obj(w);
}

char *kbs_query_value(struct cf_view query, const char *key)
{
	cf_cleanup(cf_strv_fini) struct cf_strv values = { 0 };

	kbs_query_values(query, key, &values);
	return values.count ? cf_strdup(values.items[0]) : NULL;
}

void kbs_new_ref(char out[16])
{
	static const char alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";
	uint8_t random[8];

	cf_random(random, sizeof(random));
	for (size_t i = 0, at = 0; i < sizeof(random); i++) {
		if (i == 4)
			out[at++] = '-';
		out[at++] = alphabet[random[i] & 31];
		out[at] = '\0';
	}
}

struct cf_view kbs_cookie(struct cf_view header, const char *name)
{
	size_t size = strlen(name);

	for (size_t at = 0; at < header.size;) {
		struct cf_view rest = cf_view_sub(header, at, header.size);
		ssize_t end = cf_view_find(rest, ';');
		struct cf_view one = end < 0 ? rest : cf_view_sub(rest, 0, (size_t)end);

		while (one.size && one.data[0] == ' ')
			one = cf_view_sub(one, 1, one.size);
		if (one.size > size && cf_view_starts_with(one, name) && one.data[size] == '=')
			return cf_view_sub(one, size + 1, one.size);
		at = end < 0 ? header.size : at + (size_t)end + 1;
	}
	return (struct cf_view){ 0 };
}

/* ---- who may administer ---- */

static int check_claims(const struct jws *j, struct cf_err *err)
{
	cf_cleanup(cf_json_freep) struct cf_json *claims = NULL;
	int r = cf_json_parse(cf_buf_view(&j->payload), 0, &claims, err);

	if (r < 0)
		return r;
	if (cf_json_int(cf_json_get(claims, "exp")) <= (int64_t)time(NULL))
		return cf_fail(err, CF_UNAUTHENTICATED,
		               "the admin token has expired, or has no exp");
	return 0;
}

static int check_admin(struct kbs_call *c, struct cf_err *err)
{
	const struct kbs_config *conf = &c->kbs->config;
	cf_cleanup(jws_freep) struct jws *j = NULL;

	if (c->is_local || conf->admin_allow_all) {
		c->actor = cf_strdup(c->is_local ? "owner (local)" : "anybody");
		return 0;
	}
	if (!cf_view_starts_with(c->authorization, BEARER))
		return cf_fail(err, CF_UNAUTHENTICATED, "an admin token is needed");
	if (jws_parse(cf_view_sub(c->authorization, strlen(BEARER), c->authorization.size), &j,
	              err) < 0)
		return cf_fail(err, CF_UNAUTHENTICATED, "the admin token is malformed");
	for (size_t i = 0; i < conf->persona_count; i++) {
		if (jws_verify(j, conf->personas[i].key, ADMIN_ALGS, err) < 0)
			continue;
		c->actor = cf_strdup(conf->personas[i].id);
		return check_claims(j, err);
	}
	return cf_fail(err, CF_UNAUTHENTICATED, "the admin token is not of a known key");
}

/* ---- routing ---- */

static bool matches(const struct kbs_route *r, struct cf_view path, struct cf_view *rest)
{
	size_t size = strlen(r->path);

	if (r->path[size - 1] != '/')
		return cf_view_eq_str(path, r->path);
	if (path.size <= size || !cf_view_starts_with(path, r->path))
		return false;
	*rest = cf_view_sub(path, size, path.size);
	return true;
}

/* *ret_path: some route has this path, whatever the method. */
static const struct kbs_route *find_route(struct cf_view method, struct cf_view path,
                                          struct cf_view *rest, bool *ret_path)
{
	const struct kbs_route *const tables[] = { kbs_guest_routes, kbs_admin_routes,
		                                   kbs_policy_routes };

	*ret_path = false;
	for (size_t t = 0; t < CF_ARRAY_LEN(tables); t++)
		for (const struct kbs_route *r = tables[t]; r->method; r++) {
			if (!matches(r, path, rest))
				continue;
			*ret_path = true;
			if (cf_view_eq_str(method, r->method))
				return r;
		}
	return NULL;
}

size_t kbs_body_max(const struct kbs *k, struct cf_view method, struct cf_view path)
{
	struct cf_view rest;
	bool is_path;
	const struct kbs_route *r = find_route(method, path, &rest, &is_path);

	return r ? CF_MIN(r->body_max, k->config.payload_max) : 0;
}

void kbs_call_begin(struct kbs *k, struct kbs_call *c)
{
	struct cf_err err;
	bool is_path;

	c->kbs = k;
	c->policies = policy_set_ref(k->policies);
	c->began_ms = cf_now_ms();
	k->counters.requests++;
	c->route = find_route(c->method, c->path, &c->rest, &is_path);
	if (!c->route) {
		kbs_answer_error(c, is_path ? 405 : 404, "InvalidRequestPath",
		                 is_path ? "no such method here" : "no such path");
		return;
	}
	if (c->route->is_admin && check_admin(c, &err) < 0) {
		kbs_answer_error(c, 401, "AdminAuthAccess", err.msg);
		return;
	}
	if (c->route->begin)
		c->route->begin(c);
}

void kbs_call_work(struct kbs_call *c)
{
	if (c->reply.status == 0 && c->route->work)
		c->route->work(c);
}

/* ---- policies ---- */

int kbs_policies(struct kbs_call *c, const struct policy_set **ret, struct cf_err *err)
{
	struct policy_set *mine = c->fresh ? c->fresh : c->policies;
	int64_t epoch;
	int r = store_policy_epoch(c->kbs->store, &epoch, err);

	if (r == 0 && epoch != policy_set_epoch(mine)) {
		policy_set_unref(c->fresh);
		c->fresh = NULL;
		r = policy_set_load(c->kbs->store, &c->fresh, err);
		mine = c->fresh;
	}
	if (r == 0)
		*ret = mine;
	return r;
}

/* On the loop: what this call read is in force from now on, unless another one read later. */
static void install_policies(struct kbs_call *c)
{
	struct kbs *k = c->kbs;

	if (!c->fresh || policy_set_epoch(c->fresh) <= policy_set_epoch(k->policies))
		return;
	policy_set_unref(k->policies);
	k->policies = cf_take(&c->fresh);
	cf_log_info("policies in force", CF_F_INT("epoch", policy_set_epoch(k->policies)),
	            CF_F_UINT("count", policy_set_count(k->policies)));
	warn_broken(k->policies);
}

static void count(struct kbs_call *c)
{
	struct kbs_counters *n = &c->kbs->counters;

	if (c->reply.status >= 500)
		n->errors++;
	if (c->route && c->route->is_admin)
		n->admin++;
	n->policy_errors += c->policy_failed;
}

static void log_call(const struct kbs_call *c)
{
	cf_log(c->reply.status >= 500 ? CF_LOG_ERROR : CF_LOG_INFO,
	       c->outcome              ? c->outcome
	       : c->reply.status < 400 ? "request"
	                               : "refused",
	       CF_F_VIEW("method", c->method), CF_F_VIEW("path", c->path),
	       CF_F_UINT("status", c->reply.status), CF_F_STR("peer", c->peer),
	       CF_F_STR("tee", c->tee), CF_F_STR("actor", c->actor),
	       CF_F_STR("ref", c->ref[0] ? c->ref : NULL), CF_F_STR("why", c->why),
	       CF_F_INT("ms", cf_now_ms() - c->began_ms));
}

void kbs_call_end(struct kbs_call *c)
{
	install_policies(c);
	if (c->route && c->route->end)
		c->route->end(c);
	if (c->reply.status == 0)
		kbs_answer_error(c, 500, "PluginInternalError", "internal error");
	count(c);
	log_call(c);
}

void kbs_call_fini(struct kbs_call *c)
{
	cf_strv_fini(&c->reply.headers);
	cf_buf_wipe(&c->reply.body);
	if (c->taken) {
		free(c->taken->nonce);
		free(c->taken->tee);
		free(c->taken->binding_error);
		tpm_binding_fini(&c->taken->binding);
		free(c->taken);
	}
	free(c->tee);
	free(c->token);
	free(c->actor);
	cf_buf_fini(&c->challenge_tpm);
	tpm_binding_fini(&c->binding);
	free(c->binding_error);
	free(c->why);
	policy_set_unref(c->policies);
	policy_set_unref(c->fresh);
}

void kbs_call_run(struct kbs *k, struct kbs_call *c)
{
	kbs_call_begin(k, c);
	kbs_call_work(c);
	kbs_call_end(c);
}
