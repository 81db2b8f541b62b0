/* SPDX-License-Identifier: Apache-2.0 */
/* What guests call: auth, attest, resource; and what anybody may ask. */
#include "kbs/api.h"
#include "kbs/policy_appraise.h"
#include "kbs/release.h"
#include "kbs/verifier.h"
#include "proto/initdata.h"
#include "proto/jose_jwe.h"
#include "proto/jose_jwk.h"
#include "proto/kbs_wire.h"

#include <time.h>

#define COOKIE "kbs-session-id"

static const char ATTESTATION_ERROR[] = "AttestationError";

static void set_cookie(struct kbs_call *c, const char *id, int64_t life_ms)
{
	const struct kbs_config *conf = &c->kbs->config;
	time_t end = time(NULL) + life_ms / 1000;
	char date[64];
	struct tm tm;

	gmtime_r(&end, &tm);
	strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
	cf_strv_addf(&c->reply.headers, "Set-Cookie: %s=%s; Expires=%s; Path=/kbs; HttpOnly%s",
	             COOKIE, id, date, conf->insecure_http ? "" : "; Secure");
}

/* ---- auth ---- */

static void auth_begin(struct kbs_call *c)
{
	c->kbs->counters.auth++;
	if (c->peer && !rate_limit_take(c->kbs->rate, c->peer))
		kbs_answer_error(c, 429, ATTESTATION_ERROR, "too many sessions from this address");
}

static int roots_of_store(const struct kbs *k, struct tpm_roots **ret, struct cf_err *err)
{
	cf_cleanup(cf_buf_fini) struct cf_buf text = { 0 };
	cf_cleanup(cf_json_freep) struct cf_json *rows = NULL;
	cf_cleanup(tpm_roots_freep) struct tpm_roots *roots = cf_zalloc(sizeof(*roots));
	int r = store_tpm_root_all(k->store, &text, err);

	if (r == 0)
		r = cf_json_parse(cf_buf_view(&text), 0, &rows, err);
	for (size_t i = 0; r == 0 && i < cf_json_len(rows); i++) {
		const struct cf_json *row = cf_json_at(rows, i);
		const struct cf_json *allow = cf_json_get(row, "ek_allow");
		cf_cleanup(cf_strv_fini) struct cf_strv list = { 0 };
		enum tpm_root_kind kind;

		for (size_t n = 0; n < cf_json_len(allow); n++)
			cf_strv_add_take(&list, cf_view_dup(cf_json_str(cf_json_at(allow, n))));
		r = tpm_root_kind_parse(cf_json_str(cf_json_get(row, "kind")), &kind, err);
		if (r == 0)
			r = tpm_roots_add(roots, cf_json_str(cf_json_get(row, "pem")), kind, &list,
			                  cf_json_is_true(cf_json_get(row, "accept")), err);
	}
	if (r == 0)
		*ret = cf_take(&roots);
	return r;
}

/* No binding is an answer too: then nothing proves where the key is, and the verdict says so. */
static void offer_credential(struct kbs_call *c, const struct cf_json *tpm)
{
	cf_cleanup(tpm_roots_freep) struct tpm_roots *stored = NULL;
	const struct tpm_roots *configured = c->kbs->config.tpm_roots;
	int64_t now = (int64_t)time(NULL);
	struct cf_err err;
	int r = roots_of_store(c->kbs, &stored, &err);

	if (r == 0 && configured->count + stored->count == 0)
		r = cf_fail(&err, CF_FAILED_PRECONDITION, "no TPM root is configured");
	if (r == 0)
		r = tpm_bind(configured, tpm, now, &c->binding, &c->challenge_tpm, &err);
	if (r < 0 && stored && stored->count)
		r = tpm_bind(stored, tpm, now, &c->binding, &c->challenge_tpm, &err);
	c->has_binding = r == 0;
	if (r < 0)
		c->binding_error = cf_strdup(err.msg);
}

static int judge_request(struct kbs_call *c, const struct kbs_request *req, struct cf_err *err)
{
	const struct verifier_ops *ops = verifier_find(cf_view_str(req->tee));

	if (!cf_view_eq_str(req->version, KBS_VERSION))
		return cf_fail(err, CF_UNAUTHENTICATED,
		               "protocol version %.*s is not spoken, %s is",
		               (int)CF_MIN(req->version.size, (size_t)32),
		               (const char *)req->version.data, KBS_VERSION);
	if (!ops)
		return cf_fail(err, CF_UNAUTHENTICATED, "no verifier for TEE \"%s\"", req->tee);
	if (ops->is_sample && !c->kbs->config.allow_sample)
		return cf_fail(err, CF_UNAUTHENTICATED,
		               "the sample TEE proves nothing and is not allowed here "
		               "(coffer.allow_sample)");
	return 0;
}

static void auth_work(struct kbs_call *c)
{
	cf_cleanup(kbs_request_fini) struct kbs_request req = { 0 };
	struct cf_err err;

	if (kbs_request_parse(c->body, &req, &err) < 0 || judge_request(c, &req, &err) < 0) {
		kbs_answer_err(c, ATTESTATION_ERROR, &err);
		return;
	}
	c->tee = cf_strdup(req.tee);
	if (req.tpm && !strcmp(req.tee, "tpm"))
		offer_credential(c, req.tpm);
	c->reply.status = 200;
}

static void auth_end(struct kbs_call *c)
{
	cf_cleanup(cf_buf_fini) struct cf_buf nonce = { 0 }, body = { 0 };
	struct session *s;

	if (c->reply.status != 200)
		return;
	s = sessions_add(c->kbs->sessions);
	s->tee = cf_strdup(c->tee);
	s->hash = CF_SHA384;
	s->has_binding = c->has_binding;
	s->binding = c->binding;
	s->binding_error = cf_strdup(c->binding_error);
	c->binding = (struct tpm_binding){ 0 };
	if (cf_b64_decode(CF_B64_STD, cf_view_str(s->nonce), &nonce, NULL) < 0)
		abort(); /* it was encoded a moment ago */
	kbs_challenge_print(cf_buf_view(&nonce), cf_buf_view(&c->challenge_tpm), &body);
	kbs_answer_json(c, cf_buf_view(&body));
	set_cookie(c, s->id, c->kbs->config.session_ms);
	c->outcome = c->has_binding ? "auth, credential offered" : "auth";
	if (c->binding_error)
		c->why = cf_strdup(c->binding_error);
}

/* ---- attest ---- */

static void answer_token(struct kbs_call *c, const char *token)
{
	cf_cleanup(cf_buf_fini) struct cf_buf body = { 0 };
	struct cf_jw w = { .out = &body };

	cf_jw_obj(&w);
	cf_jw_kstr(&w, "token", token);
	cf_jw_end_obj(&w);
	kbs_answer_json(c, cf_buf_view(&body));
}

/* Takes what the nonce was given with out of the session: whatever comes now, it is spent. */
static void attest_begin(struct kbs_call *c)
{
	struct session *s = sessions_find(c->kbs->sessions, kbs_cookie(c->cookie, COOKIE));

	c->kbs->counters.attest++;
	if (!s) {
		kbs_answer_error(c, 401, ATTESTATION_ERROR,
		                 "no such session, or it has expired: begin with auth");
		return;
	}
	memcpy(c->session_id, s->id, sizeof(c->session_id));
	if (s->state == SESSION_ATTESTED) {
		answer_token(c, s->token);
		set_cookie(c, s->id, s->expires_ms - cf_now_ms());
		return;
	}
	if (s->state == SESSION_CONSUMED) {
		kbs_answer_error(c, 401, ATTESTATION_ERROR,
		                 "this session's nonce was used already: begin again with auth");
		return;
	}
	s->state = SESSION_CONSUMED;
	c->tee = cf_strdup(s->tee);
	c->taken = cf_zalloc(sizeof(*c->taken));
	c->taken->tee = cf_take(&s->tee);
	c->taken->nonce = cf_take(&s->nonce);
	c->taken->hash = s->hash;
	c->taken->has_binding = s->has_binding;
	c->taken->binding = s->binding;
	c->taken->binding_error = cf_take(&s->binding_error);
	s->binding = (struct tpm_binding){ 0 };
}

struct appraisal {
	struct kbs_attestation att;
	struct verdict verdict;
	uint8_t digest[CF_HASH_SIZE_MAX];
	struct cf_json *references;
	struct cf_buf references_text, evidence, init_data_claims;
};

static void appraisal_fini(struct appraisal *a)
{
	kbs_attestation_fini(&a->att);
	verdict_fini(&a->verdict);
	cf_json_free(a->references);
	cf_buf_fini(&a->references_text);
	cf_buf_fini(&a->evidence);
	cf_buf_fini(&a->init_data_claims);
}

static int load_references(struct kbs_call *c, struct appraisal *a, struct cf_err *err)
{
	int r = store_reference_all(c->kbs->store, &a->references_text, err);

	return r < 0 ? r : cf_json_parse(cf_buf_view(&a->references_text), 0, &a->references, err);
}

static int read_attestation(struct kbs_call *c, struct appraisal *a, struct cf_err *err)
{
	const struct session *s = c->taken;
	cf_cleanup(jwk_freep) struct jwk *key = NULL;
	int r = kbs_attestation_parse(c->body, &a->att, err);

	if (r < 0)
		return r;
	if (!cf_equal_ct(a->att.nonce, cf_view_str(s->nonce)))
		return cf_fail(err, CF_UNAUTHENTICATED, "the nonce is not this session's");
	r = jwk_parse(a->att.tee_pubkey, &key, err);
	if (r < 0)
		return cf_wrap(err, r, "tee-pubkey");
	if (a->att.additional_evidence.size)
		return cf_fail(err, CF_UNIMPLEMENTED, "no verifier for additional devices");
	r = kbs_report_data(s->hash, true, a->att.additional_evidence, a->att.nonce,
	                    a->att.tee_pubkey, a->digest, err);
	if (r == 0 && a->att.init_data.data)
		r = token_initdata_claims(a->att.init_data, &a->init_data_claims, err);
	else
		cf_buf_add_str(&a->init_data_claims, "null");
	cf_json_print(a->att.primary_evidence, &a->evidence);
	return r < 0 ? r : cf_buf_check(&a->evidence, "evidence", err);
}

static struct token_subject subject_of(const struct kbs_call *c, const struct appraisal *a)
{
	return (struct token_subject){ .verdict = &a->verdict,
		                       .runtime_data = a->att.runtime_data,
		                       .additional_evidence = a->att.additional_evidence,
		                       .init_data_claims = cf_buf_view(&a->init_data_claims),
		                       .ref = c->ref[0] ? c->ref : NULL };
}

/* Genuine evidence is judged by the policy of its class, where one was uploaded. */
static int ask_policy(struct kbs_call *c, struct appraisal *a, struct cf_err *err)
{
	const struct token_subject subject = subject_of(c, a);
	const struct policy_set *set = NULL;
	const struct policy_entry *e;
	cf_cleanup(cf_buf_fini) struct cf_buf input = { 0 };
	struct cf_jw w = { .out = &input };
	int r = kbs_policies(c, &set, err);

	if (r < 0 || verdict_is_refused(&a->verdict))
		return r;
	e = policy_set_for_submod(set, a->verdict.submod);
	if (!e)
		return 0;
	token_write_evidence(&subject, &w);
	r = cf_buf_check(&input, "claims", err);
	if (r < 0)
		return r;
	policy_appraise(e, cf_buf_view(&input), cf_buf_view(&a->references_text), &a->verdict);
	c->policy_failed = verdict_is_refused(&a->verdict);
	return 0;
}

static int appraise(struct kbs_call *c, struct appraisal *a, struct cf_err *err)
{
	const struct session *s = c->taken;
	const struct verifier_ops *ops = verifier_find(cf_view_str(s->tee));
	struct verify_input in = {
		.init_data_known = true,
		.tpm_binding = s->has_binding ? &s->binding : NULL,
		.binding_error = s->binding_error,
		.now = (int64_t)time(NULL),
	};
	int r = load_references(c, a, err);

	if (r == 0)
		r = read_attestation(c, a, err);
	if (r < 0)
		return r;
	in.evidence = cf_buf_view(&a->evidence);
	in.report_data = cf_view(a->digest, cf_hash_size(s->hash));
	in.init_data = a->att.init_data;
	in.references = a->references;
	verdict_init(&a->verdict, ops->tee, ops->submod);
	r = ops->verify(&in, &a->verdict, err);
	return r < 0 ? r : ask_policy(c, a, err);
}

static void print_record(const struct kbs_call *c, const char *ref, const struct verdict *v,
                         struct cf_buf *out)
{
	struct cf_jw w = { .out = out };

	cf_jw_obj(&w);
	cf_jw_kstr(&w, "schema", c->ref[0] ? "coffer.denial/1" : "coffer.attestation/1");
	cf_jw_kstr(&w, "ref", ref);
	cf_jw_kint(&w, "time", (int64_t)time(NULL));
	cf_jw_kstr(&w, "stage", "attest");
	cf_jw_kstr(&w, "peer", c->peer);
	cf_jw_kstr(&w, "session", c->session_id);
	cf_jw_key(&w, "verdict");
	verdict_print_json(v, &w);
	cf_jw_end_obj(&w);
}

static int keep_verdict(struct kbs_call *c, const struct verdict *v, struct cf_err *err)
{
	const struct store_actor guest = { "guest", c->peer };
	cf_cleanup(cf_buf_fini) struct cf_buf record = { 0 };
	bool is_yes = verdict_status(v) == TIER_AFFIRMING;
	cf_cleanup(cf_freep) char *note =
		cf_asprintf("session %.8s, initdata %s, rule %s", c->session_id,
	                    v->initdata_digest ? v->initdata_digest : "not proven",
	                    v->policy ? v->policy : "built-in");

	/* A refusal is told its reference; a yes is found by its session, as the audit log names it. */
	cf_cleanup(cf_freep) char *session = cf_asprintf("%.8s", c->session_id);

	if (!is_yes)
		kbs_new_ref(c->ref);
	print_record(c, is_yes ? session : c->ref, v, &record);
	return store_attestation(c->kbs->store, &guest, v->tee,
	                         verdict_tier_name(verdict_status(v)), note,
	                         is_yes ? session : c->ref, cf_buf_view(&record), err);
}

static void refuse_evidence(struct kbs_call *c, const struct verdict *v)
{
	const struct verdict_check *why = verdict_reason(v);
	cf_cleanup(cf_freep) char *detail =
		cf_asprintf("the evidence is refused: check %s%s%s%s failed, ref %s", why->name,
	                    why->covers ? " (" : "", why->covers ? why->covers : "",
	                    why->covers ? ")" : "", c->ref);

	c->why = cf_asprintf("%s: %s", why->name, why->why);
	c->outcome = "attest refused";
	kbs_answer_error(c, 401, ATTESTATION_ERROR, detail);
}

static void attest_work(struct kbs_call *c)
{
	cf_cleanup(appraisal_fini) struct appraisal a = { 0 };
	cf_cleanup(cf_buf_fini) struct cf_buf token = { 0 };
	const struct verdict_check *why;
	struct cf_err err;

	if (appraise(c, &a, &err) < 0 || keep_verdict(c, &a.verdict, &err) < 0) {
		kbs_answer_err(c, ATTESTATION_ERROR, &err);
		return;
	}
	if (verdict_is_refused(&a.verdict)) {
		refuse_evidence(c, &a.verdict);
		return;
	}

	struct token_subject subject = subject_of(c, &a);

	if (token_issue(&c->kbs->signer, &subject, (int64_t)time(NULL), &token, &err) < 0) {
		kbs_answer_err(c, ATTESTATION_ERROR, &err);
		return;
	}
	c->token = cf_buf_take_str(&token);
	why = verdict_reason(&a.verdict);
	c->why = why ? cf_asprintf("%s: %s", why->name, why->why) : NULL;
	c->outcome = c->ref[0] ? "attested, not affirming" : "attested";
	answer_token(c, c->token);
}

static void attest_end(struct kbs_call *c)
{
	struct session *s = sessions_find(c->kbs->sessions, cf_view_str(c->session_id));

	if (c->token && !c->ref[0])
		c->kbs->counters.attest_yes++;
	else if (c->taken)
		c->kbs->counters.attest_no++;
	if (!c->token || !s)
		return;
	s->state = SESSION_ATTESTED;
	s->token = cf_strdup(c->token);
	set_cookie(c, s->id, s->expires_ms - cf_now_ms());
}

/* ---- resource ---- */

static void resource_begin(struct kbs_call *c)
{
	struct cf_view id = kbs_cookie(c->cookie, COOKIE);
	struct session *s = id.size ? sessions_find(c->kbs->sessions, id) : NULL;
	struct cf_view bearer = c->authorization;

	c->kbs->counters.reads++;
	if (s && s->state == SESSION_ATTESTED)
		c->token = cf_strdup(s->token);
	else if (cf_view_starts_with(bearer, "Bearer "))
		c->token = cf_view_dup(cf_view_sub(bearer, 7, bearer.size));
	else
		kbs_answer_error(c, 401, "TokenNotFound", "attest first: there is no token");
}

struct rule {
	const struct cf_json *claims;
	const char *path, *ref;
	const struct policy_entry *policy; /* NULL: the built-in rule */
	struct policy_answer answer;
};

static void rule_fini(struct rule *r)
{
	policy_answer_fini(&r->answer);
}

static int ask_rule(void *user, const struct cf_strv *listed, bool is_missing, struct cf_err *err)
{
	const struct rule *r = user;
	struct release_input in = { .claims = r->claims,
		                    .path = r->path,
		                    .listed = listed,
		                    .is_missing = is_missing,
		                    .policy = r->policy,
		                    .answer = &r->answer,
		                    .ref = r->ref };

	return release_decide(&in, err);
}

/* The policy is asked before the store is locked for the release: it may take its time. */
static int ask_resource_policy(struct kbs_call *c, struct rule *rule, struct cf_view claims,
                               struct cf_err *err)
{
	const struct policy_set *set = NULL;
	cf_cleanup(cf_buf_fini) struct cf_buf query = { 0 };
	struct cf_jw w = { .out = &query };
	int r = kbs_policies(c, &set, err);

	if (r < 0)
		return r;
	rule->policy = policy_set_for_path(set, rule->path);
	if (!rule->policy)
		return 0;
	kbs_query_object(c->query, &w);
	policy_ask_resource(rule->policy, claims, rule->path, cf_buf_view(&query), &rule->answer);
	c->policy_failed = rule->answer.kind == POLICY_FAILED;
	if (rule->answer.kind != POLICY_ALLOWED) {
		kbs_new_ref(c->ref);
		rule->ref = c->ref;
	}
	return 0;
}

/* coffer.denial/1 of a release: which policy, in which version, and which literals decided. */
static void print_refusal(const struct kbs_call *c, const struct rule *rule, struct cf_buf *out)
{
	struct cf_jw w = { .out = out };

	cf_jw_obj(&w);
	cf_jw_kstr(&w, "schema", "coffer.denial/1");
	cf_jw_kstr(&w, "ref", rule->ref);
	cf_jw_kint(&w, "time", (int64_t)time(NULL));
	cf_jw_kstr(&w, "stage", "release");
	cf_jw_kstr(&w, "peer", c->peer);
	cf_jw_kstr(&w, "object", rule->path);
	cf_jw_key(&w, "policy");
	cf_jw_obj(&w);
	cf_jw_kstr(&w, "id", rule->policy->id);
	cf_jw_kint(&w, "version", rule->policy->version);
	cf_jw_kstr(&w, "sha256", rule->policy->sha256);
	cf_jw_end_obj(&w);
	if (rule->answer.why)
		cf_jw_kstr(&w, "why", rule->answer.why);
	if (rule->answer.explain)
		cf_jw_kstr(&w, "policy_explain", rule->answer.explain);
	cf_jw_end_obj(&w);
}

static int encrypt_to_guest(const struct cf_json *claims, const struct cf_secret *value,
                            struct cf_buf *ret, struct cf_err *err)
{
	cf_cleanup(jwk_freep) struct jwk *key = NULL;
	struct jwe_recipient to = { 0 };
	int r = jwk_parse(token_tee_pubkey(claims), &key, err);

	if (r < 0 || !key->alg)
		return cf_fail(err, CF_UNAUTHENTICATED, "the token holds no key to encrypt to");
	r = jwe_alg_parse(cf_view_str(key->alg), &to.alg, err);
	if (r < 0 || (to.alg != JWE_ECDH_ES_A256KW && to.alg != JWE_RSA_OAEP_256))
		return cf_fail(err, CF_INVALID_ARGUMENT, "tee-pubkey: alg \"%s\" is not taken",
		               key->alg);
	to.key = key->key;
	return jwe_seal(JWE_FLATTENED, JWE_A256GCM, &to, 1, cf_secret_view(value), ret, err);
}

static char *release_note(const struct rule *rule)
{
	const struct cf_json *submods = cf_json_get(rule->claims, "submods");
	struct cf_view initdata = cf_json_str(
		cf_json_get(cf_json_get(cf_json_get(submods, "cpu0"), "coffer"), "initdata"));
	int size = (int)CF_MIN(initdata.size, (size_t)80);

	if (!rule->policy)
		return cf_asprintf("initdata %.*s, rule built-in", size,
		                   (const char *)initdata.data);
	return cf_asprintf("initdata %.*s, rule %s version %lld sha256:%.12s", size,
	                   (const char *)initdata.data, rule->policy->id,
	                   (long long)rule->policy->version, rule->policy->sha256);
}

static int read_resource(struct kbs_call *c, const struct rule *rule, struct cf_secret **value,
                         struct cf_err *err)
{
	const struct store_actor guest = { "guest", c->peer };
	cf_cleanup(cf_freep) char *note = release_note(rule);
	cf_cleanup(cf_buf_fini) struct cf_buf record = { 0 };
	struct store_release what = { .path = rule->path,
		                      .note = note,
		                      .decide = ask_rule,
		                      .user = (void *)(uintptr_t)rule,
		                      .ref = rule->ref };

	if (rule->ref)
		print_refusal(c, rule, &record);
	what.record = cf_buf_view(&record);
	return store_resource_release(c->kbs->store, &guest, &what, value, err);
}

static int release(struct kbs_call *c, const char *path, struct cf_json **claims,
                   struct cf_buf *jwe, struct cf_err *err)
{
	const struct kbs *k = c->kbs;
	const struct token_trust trust = { &k->signer, k->token_anchors, k->token_anchor_count };
	cf_cleanup(cf_secret_freep) struct cf_secret *value = NULL;
	cf_cleanup(cf_buf_fini) struct cf_buf text = { 0 };
	cf_cleanup(rule_fini) struct rule rule = { .path = path };
	int r = token_verify_text(&trust, cf_view_str(c->token), (int64_t)time(NULL), claims, &text,
	                          err);

	if (r == 0)
		r = cf_buf_check(&text, "token", err);
	if (r < 0)
		return r;
	rule.claims = *claims;
	r = ask_resource_policy(c, &rule, cf_buf_view(&text), err);
	if (r == 0)
		r = read_resource(c, &rule, &value, err);
	if (rule.answer.kind != POLICY_ALLOWED && rule.policy)
		c->why = cf_asprintf("%s version %lld: %.2000s", rule.policy->id,
		                     (long long)rule.policy->version,
		                     rule.answer.why       ? rule.answer.why
		                     : rule.answer.explain ? rule.answer.explain
		                                           : "no");
	return r < 0 ? r : encrypt_to_guest(*claims, value, jwe, err);
}

static const char *variant_of(const struct kbs_call *c, const struct cf_err *err, bool token_held)
{
	if (!token_held)
		return "TokenVerifierError";
	if (c->policy_failed)
		return "PolicyEngineError";
	return err->code == CF_PERMISSION_DENIED ? "PolicyDeny" : "PluginInternalError";
}

static void resource_work(struct kbs_call *c)
{
	cf_cleanup(cf_json_freep) struct cf_json *claims = NULL;
	cf_cleanup(cf_freep) char *path = NULL;
	cf_cleanup(cf_buf_fini) struct cf_buf jwe = { 0 };
	struct cf_err err;

	if (store_path_check(c->rest, &err) < 0) {
		kbs_answer_err(c, "InvalidRequestPath", &err);
		return;
	}
	path = cf_view_dup(c->rest);
	if (release(c, path, &claims, &jwe, &err) < 0) {
		c->outcome = err.code == CF_NOT_FOUND ? "resource missing" : "resource denied";
		kbs_answer_err(c, variant_of(c, &err, claims != NULL), &err);
		return;
	}
	c->outcome = "resource released";
	kbs_answer_json(c, cf_buf_view(&jwe));
}

static void resource_end(struct kbs_call *c)
{
	if (c->reply.status == 404)
		c->kbs->counters.missing++;
	else if (c->reply.status != 200)
		c->kbs->counters.denied++;
}

/* ---- anybody ---- */

static void health_begin(struct kbs_call *c)
{
	c->reply.status = 200;
}

static void metrics_begin(struct kbs_call *c)
{
	const struct kbs_counters *n = &c->kbs->counters;
	struct cf_buf *b = &c->reply.body;
	const struct {
		const char *name;
		uint64_t value;
	} rows[] = {
		{ "kbs_http_requests_total", n->requests },
		{ "kbs_auth_requests_total", n->auth },
		{ "kbs_attestation_requests_total", n->attest },
		{ "kbs_attestation_successes_total", n->attest_yes },
		{ "kbs_attestation_failures_total", n->attest_no },
		{ "kbs_policy_evaluations_total", n->reads },
		{ "kbs_policy_violations_total", n->denied },
		{ "kbs_policy_errors_total", n->policy_errors },
		{ "kbs_resource_reads_total", n->reads },
		{ "coffer_kbs_resource_missing_total", n->missing },
		{ "coffer_kbs_admin_requests_total", n->admin },
		{ "coffer_kbs_errors_total", n->errors },
	};

	cf_buf_add_str(b, "# TYPE kbs_build_info gauge\nkbs_build_info{version=\"" COFFER_VERSION
	                  "\"} 1\n# TYPE coffer_kbs_sessions gauge\n");
	cf_buf_printf(b, "coffer_kbs_sessions %zu\n", sessions_count(c->kbs->sessions));
	for (size_t i = 0; i < CF_ARRAY_LEN(rows); i++)
		cf_buf_printf(b, "# TYPE %s counter\n%s %llu\n", rows[i].name, rows[i].name,
		              (unsigned long long)rows[i].value);
	c->reply.status = 200;
	c->reply.type = "text/plain; version=0.0.4";
}

const struct kbs_route kbs_guest_routes[] = {
	{ "POST", "/kbs/v0/auth", false, KBS_BODY_SMALL, auth_begin, auth_work, auth_end },
	{ "POST", "/kbs/v0/attest", false, KBS_BODY_LARGE, attest_begin, attest_work, attest_end },
	{ "GET", "/kbs/v0/resource/", false, 0, resource_begin, resource_work, resource_end },
	{ "GET", "/healthz", false, 0, health_begin, NULL, NULL },
	{ "GET", "/metrics", false, 0, metrics_begin, NULL, NULL },
	{ 0 },
};
