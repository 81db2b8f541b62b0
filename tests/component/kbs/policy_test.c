/* SPDX-License-Identifier: Apache-2.0 */
/* Policies in Rego through the daemon: uploaded, in force, replaced, explained, over TLS. */
#include "tests/component/kbs/service.h"

#include "kbs/token.h"
#include "proto/jose_jws.h"

#include <pthread.h>
#include <time.h>

#define INITDATA "version = \"0.1.0\"\nalgorithm = \"sha256\"\n[data]\n\"aa.toml\" = \"x = 1\"\n"

#define GOOD "package policy\nimport rego.v1\ndefault allow := false\n"

static unsigned send(struct service *s, const char *method, const char *path, const char *body,
                     struct cf_http_response *resp)
{
	return ask(s, method, path, true, NULL, cf_view_str(body), resp);
}

/* The peers' message around a policy's text. */
static unsigned upload(struct service *s, const char *path, const char *id, const char *text,
                       struct cf_http_response *resp)
{
	cf_cleanup(cf_buf_fini) struct cf_buf body = { 0 };
	struct cf_jw w = { .out = &body };

	cf_jw_obj(&w);
	if (id) {
		cf_jw_kstr(&w, "type", "rego");
		cf_jw_kstr(&w, "policy_id", id);
	}
	cf_jw_key(&w, "policy");
	cf_jw_b64(&w, CF_B64_URL, cf_view_str(text));
	cf_jw_end_obj(&w);
	return ask(s, "POST", path, true, NULL, cf_buf_view(&body), resp);
}

static void expect_upload(struct service *s, const char *path, const char *id, const char *text)
{
	struct cf_http_response resp = { 0 };

	if (upload(s, path, id, text, &resp) != 200)
		fail_msg("%s: %u %s", path, resp.status, (char *)resp.body.data);
	cf_http_response_fini(&resp);
}

static void expect_fetch(struct service *s, const char *uri, enum cf_code code, const char *says)
{
	cf_cleanup(cf_buf_fini) struct cf_buf got = { 0 };
	struct cf_err err = { 0 };
	int r = fetch(s, &sample_guest, KBS_KEY_P256, uri, &got, &err);

	if (r != -(int)code || (says && !strstr(err.msg, says)))
		fail_msg("%s: %d %s", uri, r, err.msg);
}

CF_TEST(policy_decides_over_releases_and_the_built_in_rule_without_one)
{
	cf_cleanup(cf_freep) char *audit = NULL, *text = NULL;
	struct cf_http_response resp = { 0 };
	struct service s;

	service_start(&s, true);
	admin_put(&s, "/coffer/v1/resources/default/key/1?initdata=none", "listed");
	admin_put(&s, "/coffer/v1/resources/default/key/2", "not listed");
	expect_fetch(&s, "kbs:///default/key/1", CF_PERMISSION_DENIED, "not affirming");

	/* A sample guest that nobody approved is no obstacle for this one. */
	expect_upload(&s, "/kbs/v0/resource-policy", NULL,
	              GOOD "allow if data[\"resource-path\"][0] == \"default\"\n");
	expect_fetch(&s, "kbs:///default/key/1", CF_OK, NULL);
	expect_fetch(&s, "kbs:///default/key/2", CF_OK, NULL);
	expect_fetch(&s, "kbs:///other/key/1", CF_PERMISSION_DENIED,
	             "denied by the policy \"resource-policy\", ref ");
	expect_fetch(&s, "kbs:///default/key/3", CF_NOT_FOUND, NULL);
	text = admin_get(&s, "/coffer/v1/policies/resource");
	EXPECT(strstr(text, "resource-path"));

	/* What does not compile is refused with its place, and the one before stays. */
	EXPECT_INT(upload(&s, "/kbs/v0/resource-policy", NULL,
	                  "package policy\n\nallow if nosuch(input)\n", &resp),
	           400);
	EXPECT(strstr((char *)resp.body.data, "ParsePolicyError"));
	EXPECT(strstr((char *)resp.body.data, "resource-policy.rego:3:"));
	expect_fetch(&s, "kbs:///default/key/1", CF_OK, NULL);

	EXPECT_INT(send(&s, "DELETE", "/coffer/v1/policies/resource", "", &resp), 200);
	EXPECT_INT(send(&s, "DELETE", "/coffer/v1/policies/resource", "", &resp), 404);
	expect_fetch(&s, "kbs:///default/key/1", CF_PERMISSION_DENIED, "not affirming");
	cf_http_response_fini(&resp);
	audit = admin_get(&s, "/coffer/v1/audit");
	EXPECT(strstr(audit, "rule resource-policy version 1 sha256:"));
	EXPECT(strstr(audit, "rule built-in"));
	EXPECT(strstr(audit, "\"action\":\"policy-put\",\"object\":\"resource/resource-policy\""));
	EXPECT(strstr(audit, "\"action\":\"policy-delete\""));
	service_stop(&s);
}

CF_TEST(policy_does_not_overrule_a_list_of_initdata)
{
	struct kbs_evidence_source with_initdata = sample_guest;
	cf_cleanup(cf_buf_fini) struct cf_buf got = { 0 };
	struct service s;
	struct cf_err err;

	with_initdata.init_data = cf_view_str(INITDATA);
	service_start(&s, true);
	admin_put(&s, "/coffer/v1/resources/default/key/1?initdata=none", "for none");
	admin_put(&s, "/coffer/v1/policies/resource?shipped=allow_all", "");
	expect_fetch(&s, "kbs:///default/key/1", CF_OK, NULL);
	EXPECT_FAILS(fetch(&s, &with_initdata, KBS_KEY_P256, "kbs:///default/key/1", &got, &err),
	             CF_PERMISSION_DENIED);
	EXPECT(strstr(err.msg, "is not for guests with initdata"));
	service_stop(&s);
}

CF_TEST(policy_of_a_repository_goes_before_the_global_one)
{
	struct service s;

	service_start(&s, true);
	admin_put(&s, "/coffer/v1/resources/team-a/key/1", "a");
	admin_put(&s, "/coffer/v1/resources/team-b/key/1", "b");
	admin_put(&s, "/coffer/v1/policies/resource?shipped=deny_all", "");
	admin_put(&s, "/coffer/v1/policies/resource/team-a?shipped=allow_all", "");
	expect_fetch(&s, "kbs:///team-a/key/1", CF_OK, NULL);
	expect_fetch(&s, "kbs:///team-b/key/1", CF_PERMISSION_DENIED, "resource-policy");
	service_stop(&s);
}

/* The reference of a refusal, as the guest is told it. */
static char *denied_ref(struct service *s, const char *uri)
{
	cf_cleanup(cf_buf_fini) struct cf_buf got = { 0 };
	struct cf_err err = { 0 };
	const char *ref;

	EXPECT(fetch(s, &sample_guest, KBS_KEY_P256, uri, &got, &err) < 0);
	ref = strstr(err.msg, "ref ");
	EXPECT(ref && strlen(ref) >= 13);
	return cf_strndup(ref + 4, 9);
}

static char *record_of(struct service *s, const char *uri)
{
	cf_cleanup(cf_freep) char *ref = denied_ref(s, uri);
	cf_cleanup(cf_freep) char *path = cf_asprintf("/coffer/v1/denials/%s", ref);

	return admin_get(s, path);
}

CF_TEST(policy_refusals_are_explained_to_the_owner)
{
	cf_cleanup(cf_freep) char *denied = NULL, *failed = NULL, *metrics = NULL;
	struct service s;

	service_start(&s, true);
	admin_put(&s, "/coffer/v1/resources/default/key/1", "x");
	expect_upload(&s, "/kbs/v0/resource-policy", NULL,
	              GOOD "allow if input.submods.cpu0[\"ear.status\"] == \"affirming\"\n");
	denied = record_of(&s, "kbs:///default/key/1");
	EXPECT(strstr(denied, "\"stage\":\"release\""));
	EXPECT(strstr(denied, "\"object\":\"default/key/1\""));
	EXPECT(strstr(denied, "\"id\":\"resource-policy\",\"version\":1"));
	EXPECT(strstr(denied, "is \\\"contraindicated\\\""));

	/* A policy that runs out of its budget says nothing, and nothing is no yes. */
	expect_upload(&s, "/kbs/v0/resource-policy", NULL,
	              GOOD "allow if not slow\nslow if { some a in numbers.range(1, 90000)\n"
	                   "some b in numbers.range(1, 90000)\na + b < 0 }\n");
	expect_fetch(&s, "kbs:///default/key/1", CF_PERMISSION_DENIED, "gave no answer");
	failed = record_of(&s, "kbs:///default/key/1");
	EXPECT(strstr(failed, "\"why\":\""));
	metrics = admin_get(&s, "/metrics");
	EXPECT(strstr(metrics, "kbs_policy_errors_total ") &&
	       !strstr(metrics, "kbs_policy_errors_total 0\n"));
	service_stop(&s);
}

CF_TEST(policy_must_say_true_and_nothing_else)
{
	static const char *const texts[] = {
		"package policy\nallow := 1\n",
		"package policy\nallow := \"true\"\n",
		"package policy\nallow := [true]\n",
		"package policy\nallow if input.nosuch\n",
		"package policy\nallowed := true\n",
		"package other\nallow := true\n",
		"package policy\nallow := true\nallow := false\n",
	};
	struct service s;

	service_start(&s, true);
	admin_put(&s, "/coffer/v1/resources/default/key/1", "x");
	for (size_t i = 0; i < CF_ARRAY_LEN(texts); i++) {
		struct cf_http_response resp = { 0 };

		if (upload(&s, "/kbs/v0/resource-policy", NULL, texts[i], &resp) == 200)
			expect_fetch(&s, "kbs:///default/key/1", CF_PERMISSION_DENIED,
			             "resource-policy");
		cf_http_response_fini(&resp);
	}
	service_stop(&s);
}

CF_TEST(policy_uploads_need_an_admin_and_sense)
{
	static const struct {
		const char *path, *body;
		unsigned status;
	} bad[] = {
		{ "/kbs/v0/resource-policy", "", 400 },
		{ "/kbs/v0/resource-policy", "{}", 400 },
		{ "/kbs/v0/resource-policy", "{\"policy\":1}", 400 },
		{ "/kbs/v0/resource-policy", "{\"policy\":\"***\"}", 400 },
		{ "/kbs/v0/resource-policy", "{\"policy\":\"\"}", 400 },
		{ "/kbs/v0/resource-policy", "{\"policy\":\"_w\"}", 400 },
		{ "/kbs/v0/attestation-policy", "{\"policy\":\"cGFja2FnZSBw\"}", 400 },
		{ "/kbs/v0/attestation-policy",
		  "{\"policy_id\":\"../x\",\"policy\":\"cGFja2FnZSBw\"}", 400 },
		{ "/kbs/v0/attestation-policy", "{\"policy_id\":\"\",\"policy\":\"cGFja2FnZSBw\"}",
		  400 },
	};
	struct cf_http_response resp = { 0 };
	struct service s;

	service_start(&s, false);
	for (size_t i = 0; i < CF_ARRAY_LEN(bad); i++) {
		if (send(&s, "POST", bad[i].path, bad[i].body, &resp) != bad[i].status)
			fail_msg("%s: %u %s", bad[i].body, resp.status, (char *)resp.body.data);
		EXPECT_INT(
			ask(&s, "POST", bad[i].path, false, NULL, cf_view_str(bad[i].body), &resp),
			401);
	}
	EXPECT_INT(send(&s, "PUT", "/coffer/v1/policies/nosuch/x", "package p", &resp), 404);
	EXPECT_INT(send(&s, "PUT", "/coffer/v1/policies/resource?shipped=nosuch", "", &resp), 404);
	EXPECT_INT(send(&s, "GET", "/coffer/v1/policies/attestation", "", &resp), 400);
	EXPECT_INT(send(&s, "GET", "/kbs/v0/attestation-policy/x", "", &resp), 404);
	EXPECT_INT(ask(&s, "GET", "/coffer/v1/policies", false, NULL, (struct cf_view){ 0 }, &resp),
	           401);
	EXPECT_INT(send(&s, "GET", "/kbs/v0/resource-policy", "", &resp), 200);
	EXPECT(!strncmp((char *)resp.body.data, "[]", 2));
	cf_http_response_fini(&resp);
	service_stop(&s);
}

/* ---- attestation ---- */

CF_TEST(policy_judges_evidence_in_place_of_the_verifier)
{
	cf_cleanup(cf_freep) char *record = NULL, *list = NULL;
	struct service s;

	service_start(&s, true);
	admin_put(&s, "/coffer/v1/resources/default/key/1?initdata=any", "x");
	admin_put(&s, "/coffer/v1/policies/attestation/default_cpu?shipped=default_cpu", "");
	expect_fetch(&s, "kbs:///default/key/1", CF_PERMISSION_DENIED,
	             "check attestation-policy (default_cpu) failed, ref ");
	record = record_of(&s, "kbs:///default/key/1");
	EXPECT(strstr(record, "\"policy\":\"default_cpu version 1\""));
	EXPECT(strstr(record, "data.policy.executables is 33"));
	EXPECT(strstr(record, "listed(input.sample.launch_digest"));
	admin_put(&s, "/coffer/v1/references",
	          "{\"launch_digest\":[\"abcde\"],\"svn\":[\"1\"],\"major_version\":1,"
	          "\"minimum_minor_version\":4}");
	expect_fetch(&s, "kbs:///default/key/1", CF_OK, NULL);

	/* Another policy that asks for more. */
	expect_upload(&s, "/kbs/v0/attestation-policy", "default_cpu",
	              "package policy\nimport rego.v1\n"
	              "trust_claims := {\"hardware\": 2, \"configuration\": c}\n"
	              "default c := 97\n"
	              "c := 2 if input.init_data_claims[\"aa.toml\"].x == 1\n");
	expect_fetch(&s, "kbs:///default/key/1", CF_PERMISSION_DENIED, "contraindicated");
	/* No usable answer is a refusal of the evidence. */
	expect_upload(&s, "/kbs/v0/attestation-policy", "default_cpu",
	              "package policy\ntrust_claims := {\"hardware\": \"fine\"}\n");
	expect_fetch(&s, "kbs:///default/key/1", CF_UNAUTHENTICATED,
	             "check attestation-policy (default_cpu) failed");
	list = admin_get(&s, "/kbs/v0/attestation-policy");
	EXPECT(!strncmp(list, "[\"default_cpu\"]", 15));
	service_stop(&s);
}

/* ---- the decision table, each through a token of the service's own key ---- */

static char *signed_token(const struct token_signer *signer, const struct cf_json *input)
{
	static const char key[] = "{\"kty\":\"EC\",\"crv\":\"P-256\",\"alg\":\"ECDH-ES+A256KW\","
				  "\"x\":\"weNJy2HscCSM6AEDTDg04biOvhFhyyWvOHQfeF_PxMQ\","
				  "\"y\":\"e8lnCO-AlStT-NJVX-crhB7QRYhiix03illJOVAOyck\"}";
	cf_cleanup(cf_buf_fini) struct cf_buf claims = { 0 }, token = { 0 };
	struct cf_jw w = { .out = &claims };
	const struct cf_json *value;
	const char *name;
	void *it = NULL;
	struct cf_err err;

	cf_jw_obj(&w);
	while (cf_json_next(input, &it, &name, &value)) {
		cf_jw_key(&w, name);
		cf_jw_json(&w, value);
	}
	cf_jw_kint(&w, "exp", (int64_t)time(NULL) + 300);
	cf_jw_key(&w, "tee-pubkey");
	cf_jw_raw(&w, cf_view_str(key));
	cf_jw_end_obj(&w);
	EXPECT_OK(jws_sign(cf_view_str("{\"typ\":\"JWT\",\"alg\":\"ES256\"}"), JWS_ES256,
	                   signer->key, cf_buf_view(&claims), &token, &err),
	          &err);
	return cf_buf_take_str(&token);
}

static char *case_path(const struct cf_json *c)
{
	const struct cf_json *data = cf_json_get(c, "data");
	const struct cf_json *parts = cf_json_get(data, "resource-path");
	cf_cleanup(cf_strv_fini) struct cf_strv v = { 0 };

	if (!cf_view_eq_str(cf_json_str(cf_json_get(data, "plugin")), "resource") ||
	    cf_json_len(parts) != 3 || cf_json_type(cf_json_get(c, "input")) != CF_JSON_OBJECT)
		return NULL;
	for (size_t i = 0; i < 3; i++)
		cf_strv_add_take(&v, cf_view_dup(cf_json_str(cf_json_at(parts, i))));
	return cf_strv_join(&v, "/");
}

static void put_policy_file(struct service *s, struct cf_view name)
{
	cf_cleanup(cf_freep) char *rel =
		cf_asprintf("rego/policies/%.*s.rego", (int)name.size, (const char *)name.data);
	cf_cleanup(cf_freep) char *path = cf_test_vector(rel);
	struct cf_buf text = cf_test_read(path);

	expect_upload(s, "/kbs/v0/resource-policy", NULL, (char *)text.data);
	cf_buf_fini(&text);
}

/* Status of GET with a Bearer token. */
static unsigned get_with(struct service *s, const char *path, const char *token)
{
	cf_cleanup(cf_freep) char *url = cf_asprintf("%s/kbs/v0/resource/%s", s->url, path);
	cf_cleanup(cf_freep) char *bearer = cf_asprintf("Bearer %s", token);
	struct cf_http_request req = { .method = "GET", .url = url, .authorization = bearer };
	struct cf_http_response resp = { 0 };
	struct cf_err err;
	unsigned status;

	EXPECT_OK(cf_http_do(s->http, &req, &resp, &err), &err);
	status = resp.status;
	cf_http_response_fini(&resp);
	return status;
}

static bool run_case(struct service *s, const struct token_signer *signer, const struct cf_json *c,
                     const char *path)
{
	cf_cleanup(cf_freep) char *put = cf_asprintf("/coffer/v1/resources/%s", path);
	cf_cleanup(cf_freep) char *token = signed_token(signer, cf_json_get(c, "input"));
	struct cf_view name = cf_json_str(cf_json_get(c, "name"));
	unsigned want = cf_json_is_true(cf_json_get(c, "want")) ? 200 : 401, got;

	put_policy_file(s, cf_json_str(cf_json_get(c, "policy")));
	admin_put(s, put, "x");
	got = get_with(s, path, token);
	if (got != want)
		print_message("WRONG %.*s: %u\n", (int)name.size, (const char *)name.data, got);
	return got == want;
}

CF_TEST(policy_decisions_of_the_tables_over_https)
{
	cf_cleanup(cf_freep) char *path = cf_test_vector("rego/kbs/decisions.json");
	cf_cleanup(cf_json_freep) struct cf_json *doc = NULL;
	struct cf_buf text = cf_test_read(path);
	cf_cleanup(cf_freep) char *state = NULL;
	struct token_signer signer = { 0 };
	const struct cf_json *cases;
	unsigned asked = 0, right = 0;
	struct service s;
	struct cf_err err;

	EXPECT_OK(cf_json_parse(cf_buf_view(&text), 0, &doc, &err), &err);
	cf_buf_fini(&text);
	service_start(&s, true);
	state = cf_asprintf("%s/state", s.dir);
	EXPECT_OK(token_signer_open(state, 300, &signer, &err), &err);
	cases = cf_json_get(doc, "cases");
	for (size_t i = 0; i < cf_json_len(cases); i++) {
		const struct cf_json *c = cf_json_at(cases, i);
		cf_cleanup(cf_freep) char *where = case_path(c);

		if (!where ||
		    !cf_view_eq_str(cf_json_str(cf_json_get(c, "query")), "data.policy.allow"))
			continue;
		asked++;
		right += run_case(&s, &signer, c, where);
	}
	print_message("%u decisions over HTTPS, %u right\n", asked, right);
	EXPECT(asked >= 30 && right == asked);
	token_signer_fini(&signer);
	service_stop(&s);
}

/* ---- policies replaced while they judge ---- */

struct reader {
	struct service *s;
	const char *token;
	unsigned yes, no, other;
};

static void *read_on(void *arg)
{
	struct reader *r = arg;
	struct cf_view pem = cf_buf_view(&r->s->ca);
	struct cf_http_config config = { .ca_pem = &pem, .ca_count = 1, .no_system_ca = true };
	struct service own = { .url = r->s->url };
	struct cf_err err;

	if (cf_http_new(&config, &own.http, &err) < 0)
		return NULL;
	for (int i = 0; i < 40; i++) {
		unsigned status = get_with(&own, "default/key/1", r->token);

		*(status == 200 ? &r->yes : status == 401 ? &r->no : &r->other) += 1;
	}
	cf_http_free(own.http);
	return NULL;
}

CF_TEST(policy_is_replaced_while_it_judges)
{
	cf_cleanup(cf_json_freep) struct cf_json *claims = NULL;
	cf_cleanup(cf_freep) char *state = NULL, *token = NULL;
	struct token_signer signer = { 0 };
	struct reader readers[3];
	pthread_t threads[3];
	struct service s;
	struct cf_err err;

	service_start(&s, true);
	admin_put(&s, "/coffer/v1/resources/default/key/1", "x");
	admin_put(&s, "/coffer/v1/policies/resource?shipped=deny_all", "");
	state = cf_asprintf("%s/state", s.dir);
	EXPECT_OK(token_signer_open(state, 300, &signer, &err), &err);
	EXPECT_OK(cf_json_parse(cf_view_str("{\"submods\":{}}"), 0, &claims, &err), &err);
	token = signed_token(&signer, claims);
	for (size_t i = 0; i < CF_ARRAY_LEN(readers); i++) {
		readers[i] = (struct reader){ .s = &s, .token = token };
		EXPECT(pthread_create(&threads[i], NULL, read_on, &readers[i]) == 0);
	}
	for (int i = 0; i < 20; i++)
		admin_put(&s,
		          i % 2 ? "/coffer/v1/policies/resource?shipped=deny_all"
		                : "/coffer/v1/policies/resource?shipped=allow_all",
		          "");
	for (size_t i = 0; i < CF_ARRAY_LEN(readers); i++) {
		EXPECT(pthread_join(threads[i], NULL) == 0);
		EXPECT_INT(readers[i].yes + readers[i].no, 40);
	}
	EXPECT_INT(get_with(&s, "default/key/1", token), 401); /* the last one put */
	token_signer_fini(&signer);
	service_stop(&s);
}

/* ---- what another process changes ---- */

CF_TEST(policy_put_by_the_owner_on_the_files_is_in_force_at_once_and_after_a_restart)
{
	cf_cleanup(cf_freep) char *bin = cf_test_bin("coffer-kbs");
	cf_cleanup(cf_freep) char *script = NULL;
	char sh[] = "sh", dash_c[] = "-c";
	struct service s;

	service_start(&s, true);
	admin_put(&s, "/coffer/v1/resources/default/key/1", "x");
	expect_fetch(&s, "kbs:///default/key/1", CF_PERMISSION_DENIED, "not affirming");
	script = cf_asprintf("%s call --config %s/kbs.toml PUT "
	                     "'/coffer/v1/policies/resource?shipped=allow_all' </dev/null",
	                     bin, s.dir);
	char *const argv[] = { sh, dash_c, script, NULL };

	EXPECT_INT(run(argv, s.log), 0);
	expect_fetch(&s, "kbs:///default/key/1", CF_OK, NULL);
	service_restart(&s);
	expect_fetch(&s, "kbs:///default/key/1", CF_OK, NULL);
	service_stop(&s);
}
