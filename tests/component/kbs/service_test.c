/* SPDX-License-Identifier: Apache-2.0 */
/*
 * coffer-kbs as a process, over TLS: the honest way through, and what each kind of cheating is told.
 * TPM guests are a swtpm whose registers are extended as a recorded boot's log says, so that quote,
 * log and command line fit each other as after a real boot.
 */
#include "tests/component/kbs/service.h"

#include "proto/pcr_predict.h"
#include "proto/tcg_log.h"
#include "proto/tpm2.h"

#define INITDATA "version = \"0.1.0\"\nalgorithm = \"sha256\"\n[data]\n\"aa.toml\" = \"x = 1\"\n"

CF_TEST(kbs_releases_to_a_sample_guest_with_each_kind_of_key)
{
	static const enum kbs_tee_key keys[] = { KBS_KEY_P256, KBS_KEY_P521, KBS_KEY_RSA };
	struct service s;
	struct cf_err err;

	service_start(&s, true);
	admin_put(&s, "/coffer/v1/references", SAMPLE_REFERENCES);
	admin_put(&s, "/coffer/v1/resources/default/key/1?initdata=none", "the owl flies at noon");
	for (size_t i = 0; i < CF_ARRAY_LEN(keys); i++) {
		cf_cleanup(cf_buf_fini) struct cf_buf got = { 0 };

		EXPECT_OK(fetch(&s, &sample_guest, keys[i], "kbs:///default/key/1", &got, &err),
		          &err);
		EXPECT(cf_view_eq_str(cf_buf_view(&got), "the owl flies at noon"));
	}
	service_stop(&s);
}

CF_TEST(kbs_refuses_sample_guests_unless_told_otherwise)
{
	cf_cleanup(cf_buf_fini) struct cf_buf got = { 0 };
	struct service s;
	struct cf_err err;

	service_start(&s, false);
	EXPECT(fetch(&s, &sample_guest, KBS_KEY_P256, "kbs:///a/b/c", &got, &err) < 0);
	EXPECT(strstr(err.msg, "allow_sample"));
	service_stop(&s);
}

CF_TEST(kbs_tells_missing_denied_and_unapproved_apart)
{
	cf_cleanup(cf_buf_fini) struct cf_buf got = { 0 };
	cf_cleanup(cf_freep) char *audit = NULL;
	struct kbs_evidence_source with_initdata = sample_guest;
	struct service s;
	struct cf_err err;

	with_initdata.init_data = cf_view_str(INITDATA);
	service_start(&s, true);
	admin_put(&s, "/coffer/v1/resources/default/key/1?initdata=none", "secret");
	/* Not approved: the submodule is not affirming. */
	EXPECT_FAILS(fetch(&s, &sample_guest, KBS_KEY_P256, "kbs:///default/key/1", &got, &err),
	             CF_PERMISSION_DENIED);
	EXPECT(strstr(err.msg, "not affirming") && strstr(err.msg, "ref "));
	admin_put(&s, "/coffer/v1/references", SAMPLE_REFERENCES);
	EXPECT_OK(fetch(&s, &sample_guest, KBS_KEY_P256, "kbs:///default/key/1", &got, &err), &err);
	/* Approved, but it is for guests with other initdata. */
	EXPECT_FAILS(fetch(&s, &with_initdata, KBS_KEY_P256, "kbs:///default/key/1", &got, &err),
	             CF_PERMISSION_DENIED);
	EXPECT(strstr(err.msg, "is not for guests with initdata sha256:"));
	/* Approved, but there is no such thing: not found at once, no second attestation. */
	EXPECT_FAILS(fetch(&s, &sample_guest, KBS_KEY_P256, "kbs:///default/key/2", &got, &err),
	             CF_NOT_FOUND);
	audit = admin_get(&s, "/coffer/v1/audit");
	EXPECT(strstr(audit, "\"object\":\"default/key/1\",\"result\":\"denied\""));
	EXPECT(strstr(audit, "\"object\":\"default/key/1\",\"result\":\"released\""));
	service_stop(&s);
}

CF_TEST(kbs_lets_only_admins_administrate)
{
	struct cf_http_response resp = { 0 };
	struct service s;
	static const char *const paths[] = { "/coffer/v1/resources",  "/coffer/v1/audit",
		                             "/coffer/v1/references", "/coffer/v1/tpm-roots",
		                             "/coffer/v1/denials/x",  "/kbs/v0/reference-value/x" };

	service_start(&s, false);
	for (size_t i = 0; i < CF_ARRAY_LEN(paths); i++) {
		EXPECT_INT(ask(&s, "GET", paths[i], false, NULL, (struct cf_view){ 0 }, &resp),
		           401);
		EXPECT(strstr((char *)resp.body.data, "AdminAuthAccess"));
	}
	EXPECT_INT(ask(&s, "POST", "/kbs/v0/resource/a/b/c", false, NULL, cf_view_str("x"), &resp),
	           401);
	s.token[strlen(s.token) - 2] ^= 1;
	EXPECT_INT(ask(&s, "GET", paths[0], true, NULL, (struct cf_view){ 0 }, &resp), 401);
	s.token[strlen(s.token) - 2] ^= 1;
	EXPECT_INT(ask(&s, "POST", "/kbs/v0/resource/a/b/c", true, NULL, cf_view_str("x"), &resp),
	           200);
	EXPECT_INT(ask(&s, "POST", "/kbs/v0/resource/a/b", true, NULL, cf_view_str("x"), &resp),
	           400);
	EXPECT_INT(ask(&s, "GET", "/nowhere", true, NULL, (struct cf_view){ 0 }, &resp), 404);
	EXPECT_INT(ask(&s, "GET", "/kbs/v0/auth", true, NULL, (struct cf_view){ 0 }, &resp), 405);
	cf_http_response_fini(&resp);
	service_stop(&s);
}

/* ---- the handshake, by hand ---- */

struct session {
	char cookie[33];
	struct cf_json *challenge;
	struct cf_view nonce;
	struct cf_json *pubkey;
};

static void begin(struct service *s, const char *tee, struct cf_view tpm, struct session *ret)
{
	cf_cleanup(cf_buf_fini) struct cf_buf body = { 0 };
	struct cf_http_response resp = { 0 };
	const char *cookie;
	struct cf_err err;

	kbs_request_print(tee, tpm, &body);
	EXPECT_INT(ask(s, "POST", "/kbs/v0/auth", false, NULL, cf_buf_view(&body), &resp), 200);
	cookie = cf_http_header(&resp, "Set-Cookie");
	EXPECT(cookie && strstr(cookie, "HttpOnly; Secure"));
	snprintf(ret->cookie, sizeof(ret->cookie), "%s", cf_after(cookie, "kbs-session-id="));
	EXPECT_OK(cf_json_parse(cf_http_body(&resp), 0, &ret->challenge, &err), &err);
	ret->nonce = cf_json_str(cf_json_get(ret->challenge, "nonce"));
	EXPECT_OK(
		cf_json_parse(
			cf_view_str("{\"kty\":\"EC\",\"crv\":\"P-256\",\"alg\":\"ECDH-ES+A256KW\","
	                            "\"x\":\"weNJy2HscCSM6AEDTDg04biOvhFhyyWvOHQfeF_PxMQ\","
	                            "\"y\":\"e8lnCO-AlStT-NJVX-crhB7QRYhiix03illJOVAOyck\"}"),
			0, &ret->pubkey, &err),
		&err);
	cf_http_response_fini(&resp);
}

static void end(struct session *s)
{
	cf_json_free(s->challenge);
	cf_json_free(s->pubkey);
}

/* The Attestation of a sample guest that answers @nonce with a key whose JSON is @key. */
static void sample_attestation(const struct session *s, struct cf_view nonce, const char *key,
                               struct cf_buf *out)
{
	cf_cleanup(cf_buf_fini) struct cf_buf evidence = { 0 }, pubkey = { 0 };
	uint8_t digest[CF_HASH_SIZE_MAX];
	struct kbs_attestation_parts parts = { .nonce = nonce,
		                               .additional_evidence = cf_view_str("") };
	struct cf_err err;

	EXPECT_OK(kbs_report_data(CF_SHA384, true, cf_view_str(""), s->nonce, s->pubkey, digest,
	                          &err),
	          &err);
	EXPECT_OK(sample_evidence(NULL, cf_view(digest, 48), NULL, &evidence, &err), &err);
	if (key)
		cf_buf_add_str(&pubkey, key);
	else
		cf_json_print(s->pubkey, &pubkey);
	parts.tee_pubkey = cf_buf_view(&pubkey);
	parts.primary_evidence = cf_buf_view(&evidence);
	kbs_attestation_print(&parts, out);
}

static void expect_attest(struct service *s, const char *cookie, const struct cf_buf *body,
                          unsigned status, const char *says)
{
	struct cf_http_response resp = { 0 };

	if (ask(s, "POST", "/kbs/v0/attest", false, cookie, cf_buf_view(body), &resp) != status)
		fail_msg("wanted %u, got %u: %s", status, resp.status, (char *)resp.body.data);
	EXPECT(strstr((char *)resp.body.data, says));
	cf_http_response_fini(&resp);
}

CF_TEST(kbs_takes_a_nonce_once_and_only_in_its_session)
{
	static const char other_key[] =
		"{\"kty\":\"EC\",\"crv\":\"P-256\",\"alg\":\"ECDH-ES+A256KW\","
		"\"x\":\"gI0GAILBdu7T53akrFmMyGcsF3n5dO7MmwNBHKW5SV0\","
		"\"y\":\"SLW_xSffzlPWrHEVI30DHM_4egVwt3NQqeUD7nMFpps\"}";
	cf_cleanup(cf_buf_fini) struct cf_buf good = { 0 }, foreign = { 0 }, swapped = { 0 };
	struct session a = { 0 }, b = { 0 }, c = { 0 };
	struct cf_http_response resp = { 0 };
	struct service s;

	service_start(&s, true);
	begin(&s, "sample", (struct cf_view){ 0 }, &a);
	begin(&s, "sample", (struct cf_view){ 0 }, &b);
	begin(&s, "sample", (struct cf_view){ 0 }, &c);
	sample_attestation(&a, a.nonce, NULL, &good);
	sample_attestation(&a, b.nonce, NULL, &foreign); /* evidence of a under b's nonce */
	sample_attestation(&c, c.nonce, other_key, &swapped);
	expect_attest(&s, NULL, &good, 401, "no such session");
	expect_attest(&s, "00112233445566778899aabbccddeeff", &good, 401, "no such session");
	expect_attest(&s, a.cookie, &good, 200, "\"token\"");
	expect_attest(&s, a.cookie, &foreign, 200, "\"token\""); /* attested: its own token again */
	expect_attest(&s, b.cookie, &foreign, 401, "check report-data");
	expect_attest(&s, b.cookie, &foreign, 401, "used already");
	expect_attest(&s, c.cookie, &swapped, 401, "check report-data");
	expect_attest(&s, c.cookie, &good, 401, "used already");
	EXPECT_INT(ask(&s, "GET", "/kbs/v0/resource/a/b/c", false, b.cookie, (struct cf_view){ 0 },
	               &resp),
	           401);
	EXPECT(strstr((char *)resp.body.data, "TokenNotFound"));
	cf_http_response_fini(&resp);
	end(&a);
	end(&b);
	end(&c);
	service_stop(&s);
}

CF_TEST(kbs_answers_nonsense_with_an_error_object)
{
	static const struct {
		const char *path, *body;
		unsigned status;
	} bad[] = {
		{ "/kbs/v0/auth", "", 400 },
		{ "/kbs/v0/auth", "{", 400 },
		{ "/kbs/v0/auth", "[]", 400 },
		{ "/kbs/v0/auth", "{\"version\":\"0.4.0\"}", 400 },
		{ "/kbs/v0/auth",
		  "{\"version\":\"0.3.0\",\"tee\":\"sample\",\"extra-params\":\"\"}", 401 },
		{ "/kbs/v0/auth", "{\"version\":\"0.4.0\",\"tee\":\"vax\",\"extra-params\":\"\"}",
		  401 },
		{ "/kbs/v0/auth", "{\"version\":\"0.4.0\",\"tee\":\"tpm\",\"tee\":\"tpm\"}", 400 },
		{ "/kbs/v0/attest", "{}", 401 },
	};
	struct cf_http_response resp = { 0 };
	struct session a = { 0 };
	struct service s;
	cf_cleanup(cf_buf_fini) struct cf_buf body = { 0 };

	service_start(&s, true);
	for (size_t i = 0; i < CF_ARRAY_LEN(bad); i++) {
		unsigned got =
			ask(&s, "POST", bad[i].path, false, NULL, cf_view_str(bad[i].body), &resp);

		if (got != bad[i].status)
			fail_msg("%s: %u %s", bad[i].body, got, (char *)resp.body.data);
		EXPECT(strstr((char *)resp.body.data, "confidential-containers/kbs/errors/"));
	}
	begin(&s, "sample", (struct cf_view){ 0 }, &a);
	cf_buf_add_str(&body, "{\"runtime-data\":1}");
	expect_attest(&s, a.cookie, &body, 400, "errors/SerdeError");
	cf_http_response_fini(&resp);
	end(&a);
	service_stop(&s);
}

/* ---- TPM guests ---- */

struct vtpm {
	char *dir, *script, *log;
	struct cf_view init_data; /* what the guest binds and sends */
	/* ways to cheat */
	bool no_activation, wrong_activation, no_certificate, send_other_ak;
	const char *cmdline;       /* sent instead of the true one */
	struct cf_view other_init; /* sent instead of the bound one */
	bool withhold_init;
	struct cf_buf replay; /* evidence of an earlier session, when set */
	struct cf_buf last;   /* the evidence that was made last */
};

static struct cf_buf vector(const char *name)
{
	cf_cleanup(cf_freep) char *rel = cf_asprintf("tests/vectors/tpm/%s", name);
	cf_cleanup(cf_freep) char *path = cf_test_source(rel);

	return cf_test_read(path);
}

static int swtpm(struct vtpm *t, const char *verb, struct cf_strv *more)
{
	cf_cleanup(cf_strv_fini) struct cf_strv argv = { 0 };

	cf_strv_add(&argv, "bash");
	cf_strv_add(&argv, t->script);
	cf_strv_add(&argv, verb);
	cf_strv_add(&argv, t->dir);
	for (size_t i = 0; more && i < more->count; i++)
		cf_strv_add(&argv, more->items[i]);
	return run(argv.items, t->log);
}

static bool have(const char *program)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("/usr/bin/%s", program);

	return access(path, X_OK) == 0;
}

static void vtpm_make(struct vtpm *t, const char *name)
{
	cf_cleanup(cf_freep) char *tmp = cf_test_tmpdir();

	if (!have("swtpm") || !have("swtpm_setup") || !have("swtpm_localca") || !have("tpm2_quote"))
		SKIP("swtpm, swtpm-tools or tpm2-tools are not installed");
	*t = (struct vtpm){ .dir = cf_asprintf("%s/%s", tmp, name),
		            .script = cf_test_source("tests/component/kbs/swtpm.sh"),
		            .log = cf_asprintf("%s/%s.log", tmp, name) };
	EXPECT(mkdir(t->dir, 0700) == 0);
	EXPECT_INT(swtpm(t, "make", NULL), 0);
}

static void vtpm_free(struct vtpm *t)
{
	swtpm(t, "stop", NULL);
	free(t->dir);
	free(t->script);
	free(t->log);
	cf_buf_fini(&t->replay);
	cf_buf_fini(&t->last);
}

static void add_spec(struct cf_strv *specs, unsigned pcr, struct cf_view digest)
{
	cf_cleanup(cf_freep) char *hex = cf_hex_dup(digest);

	cf_strv_addf(specs, "%u:sha256=%s", pcr, hex);
}

/* What init extends into PCR 8. */
static void add_initdata_spec(struct cf_strv *specs, struct cf_view init_data)
{
	uint8_t digest[32];

	cf_sha256(init_data.data ? init_data : cf_view_str("no initdata"), digest);
	add_spec(specs, 8, cf_view(digest, 32));
}

/* Registers as after the recorded boot, then as @extra says. */
static void vtpm_boot(struct vtpm *t, struct cf_strv *extra)
{
	cf_cleanup(cf_buf_fini) struct cf_buf raw = vector("eventlog.bin");
	cf_cleanup(tcg_log_freep) struct tcg_log *log = NULL;
	cf_cleanup(cf_strv_fini) struct cf_strv specs = { 0 };
	struct cf_err err;

	EXPECT_OK(tcg_log_parse(cf_buf_view(&raw), &log, &err), &err);
	for (size_t i = 0; i < tcg_log_count(log); i++)
		add_spec(&specs, tcg_log_at(log, i)->pcr,
		         tcg_event_digest(tcg_log_at(log, i), TCG_SHA256));
	for (size_t i = 0; extra && i < extra->count; i++)
		cf_strv_add(&specs, extra->items[i]);
	EXPECT_INT(swtpm(t, "boot", &specs), 0);
}

/* An honest boot with this guest's initdata. */
static void vtpm_boot_bound(struct vtpm *t)
{
	cf_cleanup(cf_strv_fini) struct cf_strv extra = { 0 };

	add_initdata_spec(&extra, t->init_data);
	vtpm_boot(t, &extra);
}

static struct cf_buf file_of(const struct vtpm *t, const char *name)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/%s", t->dir, name);

	return cf_test_read(path);
}

static void b64_member(struct cf_jw *w, const char *key, struct cf_view v)
{
	cf_jw_key(w, key);
	cf_jw_b64(w, CF_B64_STD, v);
}

static int tpm_binding_text(void *arg, struct cf_buf *ret, struct cf_err *err)
{
	struct vtpm *t = arg;
	cf_cleanup(cf_buf_fini) struct cf_buf cert = file_of(t, "ekcert.der"),
					      ak = file_of(t, "ak.pub");
	cf_cleanup(cf_buf_fini) struct cf_buf pem = file_of(t, "ca/issuercert.pem"), der = { 0 };
	cf_cleanup(cf_cert_freep) struct cf_cert *issuer = NULL;
	struct cf_jw w = { .out = ret };

	if (t->no_certificate)
		return 0;
	EXPECT_OK(cf_cert_parse(cf_buf_view(&pem), &issuer, err), err);
	EXPECT_OK(cf_cert_to_der(issuer, &der, err), err);
	cf_jw_obj(&w);
	b64_member(&w, "ek_cert", cf_buf_view(&cert));
	cf_jw_key(&w, "ek_chain");
	cf_jw_arr(&w);
	cf_jw_b64(&w, CF_B64_STD, cf_buf_view(&der));
	cf_jw_end_arr(&w);
	b64_member(&w, "ak_public", cf_buf_view(&ak));
	cf_jw_end_obj(&w);
	return 0;
}

/* Opens the credential in the TPM and answers with it. False when the TPM would not. */
static bool activate(struct vtpm *t, const struct cf_json *tpm, struct cf_view report_data,
                     uint8_t out[32])
{
	cf_cleanup(cf_buf_fini) struct cf_buf cred = { 0 }, secret = { 0 };
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/cred.in", t->dir);
	struct cf_err err;

	cf_buf_add(&cred, "\xba\xdc\xc0\xde\0\0\0\1", 8); /* tpm2-tools' own head */
	EXPECT_OK(cf_json_need_b64(tpm, "credential_blob", CF_B64_STD, &cred, &err), &err);
	EXPECT_OK(cf_json_need_b64(tpm, "secret", CF_B64_STD, &cred, &err), &err);
	EXPECT_OK(cf_write_file_atomic(path, cf_buf_view(&cred), 0600, &err), &err);
	if (swtpm(t, "activate", NULL) != 0)
		return false;
	secret = file_of(t, "cred.out");
	cf_hmac(CF_SHA256, cf_buf_view(&secret), report_data, out);
	return true;
}

static void write_quote(struct vtpm *t, struct cf_jw *w)
{
	cf_cleanup(cf_buf_fini) struct cf_buf msg = file_of(t, "quote.msg"),
					      sig = file_of(t, "quote.sig");
	cf_cleanup(cf_buf_fini) struct cf_buf pcrs = file_of(t, "quote.pcrs");

	cf_jw_key(w, "tpm_quote");
	cf_jw_obj(w);
	b64_member(w, "signature", cf_buf_view(&sig));
	b64_member(w, "message", cf_buf_view(&msg));
	cf_jw_key(w, "pcrs");
	cf_jw_arr(w);
	EXPECT_INT(pcrs.size, 24 * 32);
	for (size_t i = 0; i < 24; i++)
		cf_jw_hex(w, cf_view(pcrs.data + 32 * i, 32));
	cf_jw_end_arr(w);
	cf_jw_end_obj(w);
}

static void write_ak(struct vtpm *t, struct cf_jw *w)
{
	cf_cleanup(cf_buf_fini) struct cf_buf ak = file_of(t, "ak.pub"), spki = { 0 };
	cf_cleanup(cf_pkey_freep) struct cf_pkey *key = NULL;
	struct tpm2_public pub;
	struct cf_err err;

	if (t->send_other_ak) { /* of the recorded boot: well-formed, certified by nobody here */
		cf_buf_fini(&ak);
		ak = vector("ak-ecc.tpm2b_public");
	}
	EXPECT_OK(tpm2_public_parse(cf_buf_view(&ak), &pub, &err), &err);
	EXPECT_OK(tpm2_public_key(&pub, &key, &err), &err);
	EXPECT_OK(cf_pkey_to_spki_der(key, &spki, &err), &err);
	b64_member(w, "ak_public", cf_buf_view(&spki));
	b64_member(w, "ak_tpm2b", cf_buf_view(&ak));
}

static int tpm_evidence(void *arg, struct cf_view report_data, const struct cf_json *tpm,
                        struct cf_buf *ret, struct cf_err *err)
{
	struct vtpm *t = arg;
	cf_cleanup(cf_buf_fini) struct cf_buf log = vector("eventlog.bin");
	cf_cleanup(cf_buf_fini) struct cf_buf cmdline = vector("guest-cmdline.txt");
	cf_cleanup(cf_strv_fini) struct cf_strv nonce = { 0 };
	struct cf_jw w = { .out = ret };
	uint8_t activation[32];

	(void)err;
	if (t->replay.size) {
		cf_buf_add_view(ret, cf_buf_view(&t->replay));
		return 0;
	}
	cf_strv_add_take(&nonce, cf_hex_dup(cf_view_sub(report_data, 0, 32)));
	EXPECT_INT(swtpm(t, "quote", &nonce), 0);
	while (cmdline.size && cmdline.data[cmdline.size - 1] == '\n')
		cmdline.size--;
	cf_jw_obj(&w);
	write_ak(t, &w);
	write_quote(t, &w);
	b64_member(&w, "event_log", cf_buf_view(&log));
	cf_jw_kview(&w, "cmdline", t->cmdline ? cf_view_str(t->cmdline) : cf_buf_view(&cmdline));
	if (tpm && !t->no_activation && activate(t, tpm, report_data, activation)) {
		activation[0] ^= t->wrong_activation;
		b64_member(&w, "activation", cf_view(activation, 32));
	}
	cf_jw_end_obj(&w);
	cf_buf_reset(&t->last);
	cf_buf_add_view(&t->last, cf_buf_view(ret));
	return 0;
}

static int tpm_fetch(struct service *s, struct vtpm *t, const char *uri, struct cf_err *err)
{
	cf_cleanup(cf_buf_fini) struct cf_buf got = { 0 };
	struct kbs_evidence_source guest = { .tee = "tpm",
		                             .arg = t,
		                             .binding = tpm_binding_text,
		                             .evidence = tpm_evidence,
		                             .init_data = t->init_data };
	int r;

	if (t->other_init.data)
		guest.init_data = t->other_init;
	if (t->withhold_init)
		guest.init_data = (struct cf_view){ 0 };
	r = fetch(s, &guest, KBS_KEY_P256, uri, &got, err);
	if (r == 0)
		EXPECT(cf_view_eq_str(cf_buf_view(&got), "tpm secret"));
	return r;
}

static void put_root(struct service *s, const struct vtpm *t, const char *kind, bool accept)
{
	cf_cleanup(cf_freep) char *path =
		cf_asprintf("%s/ca/swtpm-localca-rootca-cert.pem", t->dir);
	cf_cleanup(cf_buf_fini) struct cf_buf pem = cf_test_read(path), body = { 0 };
	struct cf_jw w = { .out = &body };

	cf_jw_obj(&w);
	cf_jw_kview(&w, "pem", cf_buf_view(&pem));
	cf_jw_kstr(&w, "kind", kind);
	cf_jw_kbool(&w, "accept", accept);
	cf_jw_end_obj(&w);
	admin_put(s, "/coffer/v1/tpm-roots", (char *)body.data);
}

#define PCR0 "177e29c417b6b61c7cf46ed30b4468931f58642527a268b556254e39b941ec6a"
#define PCR2 "3d458cfe55cc03ea1f443f1562beec8df51c75e14a9fcf9a7234a13f198e7969"
#define PCR4 "a654597ef8228eccdd1b0d4aa27cfb01db758510288c568eecab4fbe104ac435"
#define PCR9 "f578c21ae50dc45ab01c820dd140322d70dc1325aa6a590ab5407b9f838c765d"
#define TPM_REFERENCES(pcr9, cmdline)                                                              \
	"{\"reference\":{\"tpm_pcr00\":[\"" PCR0 "\"],\"tpm_pcr02\":[\"" PCR2                      \
	"\"],\"tpm_pcr04\":[\"" PCR4 "\"],\"tpm_pcr09\":[\"" pcr9                                  \
	"\"],\"tpm_cmdline\":[\"" cmdline "\"]}}"
#define CMDLINE "console=ttyS0 panic=-1 loglevel=4 coffer.test=A initrd=initrd"

static void prepare(struct service *s, struct vtpm *t)
{
	cf_cleanup(cf_freep) char *put = NULL;
	cf_cleanup(cf_freep) char *hex = NULL;
	uint8_t digest[32];

	vtpm_make(t, "tpm");
	t->init_data = cf_view_str(INITDATA);
	service_start(s, false);
	put_root(s, t, "software", true);
	admin_put(s, "/coffer/v1/references?reason=test", TPM_REFERENCES(PCR9, CMDLINE));
	cf_sha256(t->init_data, digest);
	hex = cf_hex_dup(cf_view(digest, 32));
	put = cf_asprintf("/coffer/v1/resources/default/key/tpm?initdata=sha256:%s", hex);
	admin_put(s, put, "tpm secret");
	admin_put(s, "/coffer/v1/resources/default/key/none?initdata=none", "tpm secret");
}

static void expect_refused(struct service *s, struct vtpm *t, const char *says)
{
	struct cf_err err;

	if (tpm_fetch(s, t, "kbs:///default/key/tpm", &err) == 0 || !strstr(err.msg, says))
		fail_msg("wanted a refusal that says \"%s\", got: %s", says, err.msg);
}

/* The record that the refusal's reference opens for the owner. */
static char *record_of(struct service *s, const struct cf_err *err)
{
	const char *at = strstr(err->msg, "ref ");
	cf_cleanup(cf_freep) char *path = NULL;

	EXPECT(at && strlen(at) >= 13);
	path = cf_asprintf("/coffer/v1/denials/%.9s", at + 4);
	return admin_get(s, path);
}

CF_TEST(kbs_releases_to_a_measured_tpm_guest_and_refuses_every_cheat_in_its_session)
{
	struct service s;
	struct vtpm t;
	struct cf_err err;
	cf_cleanup(cf_freep) char *audit = NULL;

	prepare(&s, &t);
	vtpm_boot_bound(&t);
	EXPECT_OK(tpm_fetch(&s, &t, "kbs:///default/key/tpm", &err), &err);
	/* What is not for its initdata it does not get. */
	EXPECT_FAILS(tpm_fetch(&s, &t, "kbs:///default/key/none", &err), CF_PERMISSION_DENIED);
	EXPECT(strstr(err.msg, "is not for guests with initdata"));
	cf_buf_add_view(&t.replay, cf_buf_view(&t.last)); /* recorded evidence, a fresh session */
	expect_refused(&s, &t, "check report-data");
	cf_buf_fini(&t.replay);
	t.wrong_activation = true;
	expect_refused(&s, &t, "check activation");
	t.wrong_activation = false;
	t.no_activation = true;
	expect_refused(&s, &t, "check activation (the key sits in a certified TPM)");
	t.no_activation = false;
	t.no_certificate = true;
	expect_refused(&s, &t, "check activation");
	t.no_certificate = false;
	t.send_other_ak = true;
	expect_refused(&s, &t, "check ak");
	t.send_other_ak = false;
	t.cmdline = CMDLINE " init=/bin/sh";
	expect_refused(&s, &t, "check cmdline");
	t.cmdline = NULL;
	t.other_init = cf_view_str("version = \"0.1.0\"\nalgorithm = \"sha256\"\n[data]\n");
	expect_refused(&s, &t, "check pcr08");
	t.other_init = (struct cf_view){ 0 };
	t.withhold_init = true;
	expect_refused(&s, &t, "check pcr08");
	t.withhold_init = false;
	EXPECT_OK(tpm_fetch(&s, &t, "kbs:///default/key/tpm", &err), &err);
	audit = admin_get(&s, "/coffer/v1/audit");
	EXPECT(strstr(audit, "\"action\":\"attest\",\"object\":\"tpm\",\"result\":\"affirming\""));
	EXPECT(strstr(audit, "\"object\":\"default/key/tpm\",\"result\":\"released\""));
	service_stop(&s);
	vtpm_free(&t);
}

CF_TEST(kbs_says_which_measurement_differed)
{
	cf_cleanup(cf_freep) char *record = NULL, *other = NULL;
	struct service s;
	struct vtpm t;
	struct cf_err err;

	prepare(&s, &t);
	vtpm_boot_bound(&t);
	admin_put(&s, "/coffer/v1/references",
	          TPM_REFERENCES("00000000000000000000000000000000000000000000000000000000000000ff",
	                         "console=ttyS0 panic=-1 loglevel=4 initrd=initrd"));
	EXPECT_FAILS(tpm_fetch(&s, &t, "kbs:///default/key/tpm", &err), CF_PERMISSION_DENIED);
	EXPECT(strstr(err.msg, "check pcr09 (command line, initrd) failed"));
	EXPECT(!strstr(err.msg, PCR9)); /* what is approved is for the owner to see */
	record = record_of(&s, &err);
	EXPECT(strstr(record, "\"actual\":\"" PCR9 "\""));
	EXPECT(strstr(record, "00000000000000ff"));
	EXPECT(strstr(record, "the command line changed: + coffer.test=A"));
	EXPECT(strstr(record, "coffer measure"));
	admin_put(&s, "/coffer/v1/references", TPM_REFERENCES(PCR9, CMDLINE));
	/* A TPM whose CA nobody knows. */
	struct vtpm stranger;

	vtpm_make(&stranger, "stranger");
	stranger.init_data = t.init_data;
	vtpm_boot_bound(&stranger);
	EXPECT(tpm_fetch(&s, &stranger, "kbs:///default/key/tpm", &err) < 0);
	other = record_of(&s, &err);
	EXPECT(strstr(other, "does not end at a configured TPM root"));
	/* A software TPM is not hardware unless its CA was accepted as one. */
	put_root(&s, &t, "software", false);
	EXPECT_FAILS(tpm_fetch(&s, &t, "kbs:///default/key/tpm", &err), CF_PERMISSION_DENIED);
	EXPECT(strstr(err.msg, "check hardware"));
	service_stop(&s);
	vtpm_free(&stranger);
	vtpm_free(&t);
}

CF_TEST(kbs_refuses_boots_that_bound_no_or_other_initdata_or_ran_something_else)
{
	struct service s;
	struct vtpm t;
	struct cf_err err;
	uint8_t evil[32];

	prepare(&s, &t);
	vtpm_boot(&t, NULL); /* PCR 8 zero */
	expect_refused(&s, &t, "check pcr08");

	cf_cleanup(cf_strv_fini) struct cf_strv twice = { 0 }, second = { 0 };

	add_initdata_spec(&twice, t.init_data);
	add_initdata_spec(&twice, t.init_data);
	vtpm_boot(&t, &twice);
	expect_refused(&s, &t, "check pcr08");
	/* Another program after the kernel was measured: the log that is sent does not know it. */
	cf_sha256(cf_view_str("evil.efi"), evil);
	add_initdata_spec(&second, t.init_data);
	add_spec(&second, 4, cf_view(evil, 32));
	vtpm_boot(&t, &second);
	expect_refused(&s, &t, "check event-log");
	/* A guest without initdata gets what is meant for such guests. */
	t.init_data = (struct cf_view){ 0 };
	vtpm_boot_bound(&t);
	EXPECT_OK(tpm_fetch(&s, &t, "kbs:///default/key/none", &err), &err);
	expect_refused(&s, &t, "is not for guests with initdata none");
	service_stop(&s);
	vtpm_free(&t);
}
