/* SPDX-License-Identifier: Apache-2.0 */
/* The KBS client against a KBS of the test's own. */
#include "base/fd.h"
#include "proto/kbs_client.h"
#include "tests/harness/fake_kbs.h"
#include "tests/harness/test.h"

static int sample_evidence(void *arg, struct cf_view report_data, const struct cf_json *tpm,
                           struct cf_buf *ret, struct cf_err *err)
{
	(void)arg;
	(void)tpm;
	cf_buf_add_str(ret, "{\"svn\":\"1\",\"report_data\":\"");
	cf_b64_encode(CF_B64_STD, report_data, ret);
	cf_buf_add_str(ret, "\"}");
	return cf_buf_check(ret, "evidence", err);
}

static const struct kbs_evidence_source sample = { .tee = "sample", .evidence = sample_evidence };

struct rig {
	struct fake_kbs kbs;
	struct kbs_server *server;
	struct kbs_client *client;
	enum kbs_tee_key key;
	unsigned renewed;
	struct kbs_evidence_source source;
};

static int get_token(void *arg, bool renew, struct kbs_token *ret, struct cf_err *err)
{
	struct rig *rig = arg;

	rig->renewed += renew;
	return kbs_attest(rig->server, &rig->source, rig->key, ret, err);
}

static void rig_start(struct rig *rig, const struct fake_kbs_opts *opts)
{
	struct kbs_server_config config = { .timeout_ms = 10000 };
	struct cf_err err;

	rig->source = sample;
	rig->kbs = fake_kbs_start(opts);
	config.url = rig->kbs.url;
	EXPECT_OK(kbs_server_new(&config, &rig->server, &err), &err);
	rig->client = kbs_client_new(rig->server, get_token, rig);
}

static void rig_stop(struct rig *rig)
{
	kbs_client_free(rig->client);
	kbs_server_free(rig->server);
	fake_kbs_stop(&rig->kbs);
}

static void expect_resource(struct rig *rig, const char *want)
{
	struct cf_buf got = { 0 };
	struct cf_err err;

	EXPECT_OK(kbs_client_get(rig->client, cf_view_str("kbs:///default/key/1"), &got, &err),
	          &err);
	EXPECT(cf_view_eq_str(cf_buf_view(&got), want));
	cf_buf_wipe(&got);
}

static int get(struct rig *rig, const char *uri, struct cf_err *err)
{
	struct cf_buf got = { 0 };
	int r = kbs_client_get(rig->client, cf_view_str(uri), &got, err);

	EXPECT(r == 0 || !got.size);
	cf_buf_wipe(&got);
	return r;
}

CF_TEST(kbs_client_attests_once_and_reads_with_each_kind_of_key)
{
	for (int key = KBS_KEY_P256; key <= KBS_KEY_RSA; key++) {
		struct rig rig = { .key = (enum kbs_tee_key)key };

		rig_start(&rig, &(struct fake_kbs_opts){ .resource = "the key" });
		expect_resource(&rig, "the key");
		expect_resource(&rig, "the key");
		EXPECT(rig.kbs.seen->attests == 1 && rig.kbs.seen->gets == 2);
		EXPECT(!rig.kbs.seen->had_init_data);
		rig_stop(&rig);
	}
}

CF_TEST(kbs_client_sends_the_init_data)
{
	struct rig rig = { 0 };

	rig_start(&rig,
	          &(struct fake_kbs_opts){ .resource = "x", .init_data = "version = \"0.1.0\"\n" });
	rig.source.init_data = cf_view_str("version = \"0.1.0\"\n");
	expect_resource(&rig, "x");
	EXPECT(rig.kbs.seen->had_init_data);
	rig_stop(&rig);
}

CF_TEST(kbs_client_replaces_a_token_that_is_no_longer_taken)
{
	struct rig rig = { 0 };

	rig_start(&rig, &(struct fake_kbs_opts){ .resource = "x", .stale_tokens = 2 });
	expect_resource(&rig, "x");
	EXPECT(rig.kbs.seen->attests == 3 && rig.renewed == 2);
	rig_stop(&rig);
}

CF_TEST(kbs_client_gives_up_after_three_rounds_and_says_why)
{
	struct rig rig = { 0 };
	struct cf_err err;

	rig_start(&rig, &(struct fake_kbs_opts){ .resource = "x", .stale_tokens = 100 });
	EXPECT_FAILS(get(&rig, "kbs:///default/key/1", &err), CF_PERMISSION_DENIED);
	EXPECT(rig.kbs.seen->attests == KBS_ROUNDS_MAX);
	EXPECT(strstr(err.msg, rig.kbs.url) && strstr(err.msg, "default/key/1") &&
	       strstr(err.msg, "no longer valid"));
	rig_stop(&rig);
}

CF_TEST(kbs_client_asks_again_when_the_server_is_busy_or_cut_off)
{
	struct rig rig = { 0 };

	rig_start(&rig, &(struct fake_kbs_opts){ .resource = "x", .busy = 2, .drop_attests = 1 });
	expect_resource(&rig, "x");
	EXPECT(rig.kbs.seen->attests == 2); /* each with a nonce of its own */
	rig_stop(&rig);
}

CF_TEST(kbs_client_does_not_ask_again_what_does_not_exist_or_is_forbidden)
{
	struct rig rig = { 0 };
	struct cf_err err;

	rig_start(&rig, &(struct fake_kbs_opts){ .resource = "x", .deny_resource = 403 });
	EXPECT_FAILS(get(&rig, "kbs:///default/key/2", &err), CF_NOT_FOUND);
	EXPECT_FAILS(get(&rig, "kbs:///default/key/1", &err), CF_PERMISSION_DENIED);
	EXPECT(strstr(err.msg, "the policy says no"));
	EXPECT(rig.kbs.seen->attests == 1 && rig.kbs.seen->gets == 1);
	rig_stop(&rig);
}

CF_TEST(kbs_client_hands_on_the_words_of_a_refused_attestation)
{
	struct rig rig = { 0 };
	struct cf_err err;

	rig_start(&rig, &(struct fake_kbs_opts){ .resource = "x", .deny_attest = "PCR 9 differs" });
	EXPECT_FAILS(get(&rig, "kbs:///default/key/1", &err), CF_UNAUTHENTICATED);
	EXPECT(strstr(err.msg, "PCR 9 differs"));
	EXPECT(rig.kbs.seen->attests == 1); /* a verdict is not asked for twice */
	rig_stop(&rig);
}

CF_TEST(kbs_client_wants_a_session_cookie)
{
	struct rig rig = { 0 };
	struct cf_err err;

	rig_start(&rig, &(struct fake_kbs_opts){ .resource = "x", .no_cookie = true });
	EXPECT_FAILS(get(&rig, "kbs:///default/key/1", &err), CF_INVALID_ARGUMENT);
	rig_stop(&rig);
}

CF_TEST(kbs_client_says_when_nobody_is_there)
{
	struct kbs_server_config config = { .url = "http://127.0.0.1:9", .timeout_ms = 3000 };
	cf_cleanup(kbs_server_freep) struct kbs_server *server = NULL;
	struct kbs_token token = { 0 };
	struct cf_err err;

	EXPECT_OK(kbs_server_new(&config, &server, &err), &err);
	EXPECT_FAILS(kbs_attest(server, &sample, KBS_KEY_P256, &token, &err), CF_UNAVAILABLE);
	EXPECT(strstr(err.msg, "http://127.0.0.1:9"));
}

CF_TEST(kbs_server_refuses_urls_that_are_none)
{
	static const char *const urls[] = { "",         "kbs.example", "ftp://x",
		                            "https://", "http://h/?q", NULL };
	struct kbs_server *server = NULL;
	struct cf_err err;

	for (size_t i = 0; i < CF_ARRAY_LEN(urls); i++) {
		struct kbs_server_config config = { .url = urls[i] };

		EXPECT_FAILS(kbs_server_new(&config, &server, &err), CF_INVALID_ARGUMENT);
	}
	struct kbs_server_config config = { .url = "https://x", .ca_pem = CF_VIEW_LIT("junk") };

	EXPECT_FAILS(kbs_server_new(&config, &server, &err), CF_INVALID_ARGUMENT);
}

CF_TEST(kbs_tokens_pass_between_programs_and_bad_ones_do_not)
{
	struct rig rig = { 0 };
	struct kbs_token token = { 0 }, back = { 0 };
	struct cf_buf text = { 0 };
	struct cf_err err;

	rig_start(&rig, &(struct fake_kbs_opts){ .resource = "x" });
	EXPECT_OK(kbs_attest(rig.server, &sample, KBS_KEY_P256, &token, &err), &err);
	EXPECT(kbs_token_is_fresh(&token));
	EXPECT_OK(kbs_token_print(&token, &text, &err), &err);
	EXPECT_OK(kbs_token_read(cf_buf_view(&text), &back, &err), &err);
	EXPECT_STR(back.text, token.text);
	EXPECT(cf_pkey_equal_public(back.key, token.key) && cf_pkey_is_private(back.key));
	kbs_token_fini(&back);
	EXPECT_FAILS(kbs_token_read(cf_view_str("{\"token\":\"x\"}"), &back, &err),
	             CF_INVALID_ARGUMENT);
	EXPECT_FAILS(
		kbs_token_read(cf_view_str("{\"token\":\"x\",\"tee_keypair\":\"\"}"), &back, &err),
		CF_INVALID_ARGUMENT);
	kbs_token_fini(&token);
	cf_buf_wipe(&text);
	rig_stop(&rig);
}

CF_TEST(kbs_tokens_short_of_their_end_are_not_fresh)
{
	struct rig rig = { 0 };
	struct kbs_token token = { 0 };
	struct cf_err err;

	rig_start(&rig,
	          &(struct fake_kbs_opts){ .resource = "x", .token_life_s = KBS_TOKEN_MARGIN_S });
	EXPECT_OK(kbs_attest(rig.server, &sample, KBS_KEY_P256, &token, &err), &err);
	EXPECT(!kbs_token_is_fresh(&token));
	kbs_token_fini(&token);
	rig_stop(&rig);
}
