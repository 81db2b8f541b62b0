/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A real boot's evidence, and every way of changing it: each is refused, by the check that is meant
 * to see it.
 */
#include "tests/harness/test.h"

#include "base/crypto.h"
#include "kbs/tpm_binding.h"
#include "kbs/verifier.h"
#include "proto/pcr_predict.h"
#include "proto/tcg_log.h"

struct kit {
	struct cf_buf spki, sig, msg, ak, log, values, nonce, cmdline;
	uint8_t activation[32];
	bool with_activation;
};

static struct cf_buf vector(const char *name)
{
	cf_cleanup(cf_freep) char *rel = cf_asprintf("tests/vectors/tpm/%s", name);
	cf_cleanup(cf_freep) char *path = cf_test_source(rel);

	return cf_test_read(path);
}

static void kit_init(struct kit *k)
{
	cf_cleanup(cf_buf_fini) struct cf_buf hex = vector("nonce.hex");
	cf_cleanup(cf_pkey_freep) struct cf_pkey *key = NULL;
	struct tpm2_public pub;
	struct cf_err err;

	*k = (struct kit){ .sig = vector("quote-rsa.tpmt_signature"),
		           .msg = vector("quote-rsa.tpms_attest"),
		           .ak = vector("ak-rsa.tpm2b_public"),
		           .log = vector("eventlog.bin"),
		           .values = vector("quote-rsa.pcrs"),
		           .cmdline = vector("guest-cmdline.txt") };
	while (k->cmdline.size && k->cmdline.data[k->cmdline.size - 1] == '\n')
		k->cmdline.size--;
	EXPECT_OK(cf_hex_decode_buf(cf_view_sub(cf_buf_view(&hex), 0, 64), &k->nonce, &err), &err);
	EXPECT_OK(tpm2_public_parse(cf_buf_view(&k->ak), &pub, &err), &err);
	EXPECT_OK(tpm2_public_key(&pub, &key, &err), &err);
	EXPECT_OK(cf_pkey_to_spki_der(key, &k->spki, &err), &err);
}

static void kit_fini(struct kit *k)
{
	cf_buf_fini(&k->spki);
	cf_buf_fini(&k->sig);
	cf_buf_fini(&k->msg);
	cf_buf_fini(&k->ak);
	cf_buf_fini(&k->log);
	cf_buf_fini(&k->values);
	cf_buf_fini(&k->nonce);
	cf_buf_fini(&k->cmdline);
}

static void member_b64(struct cf_jw *w, const char *key, struct cf_view v)
{
	cf_jw_key(w, key);
	cf_jw_b64(w, CF_B64_STD, v);
}

static void print_kit(const struct kit *k, struct cf_buf *out)
{
	struct cf_jw w = { .out = out };

	cf_jw_obj(&w);
	member_b64(&w, "ak_public", cf_buf_view(&k->spki));
	cf_jw_key(&w, "tpm_quote");
	cf_jw_obj(&w);
	member_b64(&w, "signature", cf_buf_view(&k->sig));
	member_b64(&w, "message", cf_buf_view(&k->msg));
	cf_jw_key(&w, "pcrs");
	cf_jw_arr(&w);
	for (size_t i = 0; i + 32 <= k->values.size; i += 32)
		cf_jw_hex(&w, cf_view(k->values.data + i, 32));
	cf_jw_end_arr(&w);
	cf_jw_end_obj(&w);
	if (k->ak.size)
		member_b64(&w, "ak_tpm2b", cf_buf_view(&k->ak));
	if (k->log.size)
		member_b64(&w, "event_log", cf_buf_view(&k->log));
	cf_jw_kview(&w, "cmdline", cf_buf_view(&k->cmdline));
	if (k->with_activation)
		member_b64(&w, "activation", cf_view(k->activation, 32));
	cf_jw_end_obj(&w);
}

/* The name of the deciding check: "" when none is bad, "malformed" when there is no verdict. */
static const char *judge(const struct kit *k, struct verify_input in, struct verdict *v)
{
	cf_cleanup(cf_buf_fini) struct cf_buf text = { 0 };
	struct cf_err err;

	print_kit(k, &text);
	in.evidence = cf_buf_view(&text);
	if (!in.report_data.data)
		in.report_data = cf_buf_view(&k->nonce);
	verdict_init(v, "tpm", "cpu0");
	if (verifier_tpm.verify(&in, v, &err) < 0) {
		EXPECT_INT(err.code, CF_INVALID_ARGUMENT);
		return "malformed";
	}
	return verdict_reason(v) ? verdict_reason(v)->name : "";
}

static void expect_reason(const struct kit *k, struct verify_input in, const char *want)
{
	struct verdict v;

	EXPECT_STR(judge(k, in, &v), want);
	verdict_fini(&v);
}

static const struct verify_input offline = { .is_offline = true };

CF_TEST(verify_tpm_takes_a_real_boot)
{
	cf_cleanup(kit_fini) struct kit k;
	struct verdict v;

	kit_init(&k);
	EXPECT_STR(judge(&k, offline, &v), "");
	EXPECT_INT(verdict_status(&v), TIER_NONE); /* genuine; nothing was approved */
	EXPECT(strstr((const char *)v.claims.data, "\"cmdline\":\"console=ttyS0 panic=-1"));
	EXPECT(strstr((const char *)v.claims.data,
	              "\"initrd_digest\":\"bcfc721e0189ca036e0bf3ec43bfbf53e14c0ae4"));
	verdict_fini(&v);
}

CF_TEST(verify_tpm_refuses_every_flip_in_quote_and_signature)
{
	cf_cleanup(kit_fini) struct kit k;

	kit_init(&k);
	for (size_t i = 0; i < k.msg.size; i++) {
		struct verdict v;
		const char *reason;

		k.msg.data[i] ^= 1;
		reason = judge(&k, offline, &v);
		/* What still parses is caught by the signature. */
		EXPECT(!strcmp(reason, "quote-signature") || !strcmp(reason, "quote"));
		verdict_fini(&v);
		k.msg.data[i] ^= 1;
	}
	for (size_t i = 0; i < k.sig.size; i++) {
		k.sig.data[i] ^= 0x80;
		expect_reason(&k, offline, "quote-signature");
		k.sig.data[i] ^= 0x80;
	}
}

CF_TEST(verify_tpm_refuses_every_flip_in_nonce_and_pcr_list)
{
	cf_cleanup(kit_fini) struct kit k;

	kit_init(&k);
	for (size_t i = 0; i < k.nonce.size; i++) {
		k.nonce.data[i] ^= 4;
		expect_reason(&k, offline, "report-data");
		k.nonce.data[i] ^= 4;
	}
	for (size_t i = 0; i < k.values.size; i++) {
		k.values.data[i] ^= 2;
		expect_reason(&k, offline, "pcr-list");
		k.values.data[i] ^= 2;
	}
	k.values.size -= 32; /* a value too few */
	expect_reason(&k, offline, "pcr-list");
	k.values.size += 32;
	cf_buf_add_zero(&k.values, 32); /* … too many */
	expect_reason(&k, offline, "pcr-list");
}

CF_TEST(verify_tpm_refuses_every_flip_in_the_attestation_key)
{
	cf_cleanup(kit_fini) struct kit k;
	struct verdict v;

	kit_init(&k);
	for (size_t i = 0; i < k.spki.size; i++) {
		const char *reason;

		k.spki.data[i] ^= 1;
		reason = judge(&k, offline, &v);
		EXPECT(!strcmp(reason, "ak") || !strcmp(reason, "malformed"));
		verdict_fini(&v);
		k.spki.data[i] ^= 1;
	}
	/* Without ak_tpm2b beside it, a changed key fails the signature. */
	k.ak.size = 0;
	k.spki.data[100] ^= 1;
	expect_reason(&k, offline, "quote-signature");
}

/* Offline there is no session to compare with: the rules alone leave one bit free, noDA. */
CF_TEST(verify_tpm_refuses_every_bit_of_the_public_area_but_one)
{
	cf_cleanup(kit_fini) struct kit k;
	size_t taken = 0;

	kit_init(&k);
	for (size_t bit = 0; bit < k.ak.size * 8; bit++) {
		struct verdict v;

		k.ak.data[bit / 8] ^= 1 << bit % 8;
		if (!*judge(&k, offline, &v)) {
			taken++;
			EXPECT_INT(bit / 8, 8); /* the attributes' third byte … */
			EXPECT_INT(bit % 8, 2); /* … bit 10 of 32 */
		}
		verdict_fini(&v);
		k.ak.data[bit / 8] ^= 1 << bit % 8;
	}
	EXPECT_INT(taken, 1);
}

/* In a session every byte of ak_tpm2b counts: the credential was made for its name. */
CF_TEST(verify_tpm_refuses_every_flip_in_the_bound_public_area)
{
	cf_cleanup(kit_fini) struct kit k;
	char name[] = "CN = a CA";
	struct tpm_binding b = { .root_name = name, .kind = TPM_ROOT_OPERATOR_VTPM };
	struct verify_input in = { .tpm_binding = &b };

	kit_init(&k);
	cf_buf_add_view(&b.ak, cf_buf_view(&k.ak));
	for (size_t i = 0; i < k.ak.size; i++) {
		k.ak.data[i] ^= 0x10;
		expect_reason(&k, in, "ak");
		k.ak.data[i] ^= 0x10;
	}
	cf_buf_fini(&b.ak);
}

/* Each SHA-256 digest of the log, each byte; the header has none. */
CF_TEST(verify_tpm_refuses_every_flip_in_a_sha256_digest_of_the_log)
{
	cf_cleanup(kit_fini) struct kit k;
	cf_cleanup(tcg_log_freep) struct tcg_log *log = NULL;
	struct cf_err err;
	size_t flips = 0;

	kit_init(&k);
	EXPECT_OK(tcg_log_parse(cf_buf_view(&k.log), &log, &err), &err);
	for (size_t e = 0; e < tcg_log_count(log); e++) {
		struct cf_view d = tcg_event_digest(tcg_log_at(log, e), TCG_SHA256);
		size_t at = (size_t)(d.data - k.log.data);

		for (size_t i = 0; i < d.size; i++, flips++) {
			k.log.data[at + i] ^= 0x40;
			expect_reason(&k, offline, "event-log");
			k.log.data[at + i] ^= 0x40;
		}
	}
	EXPECT_INT(flips, 24 * 32);
}

/*
 * Two thirds of the log are covered by nothing. Flip each byte: the verdict is refused or doubtful, or
 * the claims stay word for word what they were.
 */
CF_TEST(verify_tpm_makes_no_claim_of_bytes_that_no_digest_covers)
{
	cf_cleanup(kit_fini) struct kit k;
	struct verdict good, v;
	size_t refused = 0, silent = 0;

	kit_init(&k);
	EXPECT_STR(judge(&k, offline, &good), "");
	for (size_t i = 0; i < k.log.size; i++) {
		const char *reason;

		k.log.data[i] ^= 1;
		reason = judge(&k, offline, &v);
		if (*reason) {
			refused++;
		} else {
			silent++;
			EXPECT(cf_view_eq(cf_buf_view(&v.claims), cf_buf_view(&good.claims)));
		}
		verdict_fini(&v);
		k.log.data[i] ^= 1;
	}
	print_message("of %zu log bytes %zu are refused when flipped; %zu are never claimed\n",
	              k.log.size, refused, silent);
	EXPECT(refused > 24 * 32 && silent > k.log.size / 2);
	verdict_fini(&good);
}

CF_TEST(verify_tpm_rehashes_the_command_line)
{
	cf_cleanup(kit_fini) struct kit k;

	kit_init(&k);
	for (size_t i = 0; i < k.cmdline.size; i++) {
		k.cmdline.data[i] ^= 1;
		expect_reason(&k, offline, "cmdline");
		k.cmdline.data[i] ^= 1;
	}
	cf_buf_add_str(&k.cmdline, " init=/bin/sh");
	expect_reason(&k, offline, "cmdline");
}

CF_TEST(verify_tpm_demands_that_a_log_is_uefis)
{
	cf_cleanup(kit_fini) struct kit k;
	struct verdict v;

	/* SeaBIOS's log does not fit these PCRs: refused before its events are looked at. */
	kit_init(&k);
	cf_buf_fini(&k.log);
	k.log = vector("eventlog-seabios.bin");
	expect_reason(&k, offline, "event-log");
	/* No log at all, in a session: nothing tells which kernel was started. */
	cf_buf_reset(&k.log);
	EXPECT(*judge(&k, (struct verify_input){ .is_offline = false }, &v));
	EXPECT(!verdict_is_refused(&v));
	EXPECT_INT(verdict_status(&v), TIER_CONTRAINDICATED);
	verdict_fini(&v);
}

CF_TEST(verify_tpm_asks_for_initdata_in_pcr8)
{
	cf_cleanup(kit_fini) struct kit k;
	struct verify_input in = offline;
	struct verdict v;

	kit_init(&k); /* this boot left PCR 8 at zero */
	in.init_data_known = true;
	EXPECT_STR(judge(&k, in, &v), "pcr08");
	EXPECT(strstr(verdict_reason(&v)->why, "never extended"));
	verdict_fini(&v);
	in.init_data = cf_view_str("version = \"0.1.0\"\n");
	expect_reason(&k, in, "pcr08");
}

/* ---- a session: binding, activation ---- */

static const char *bound_judge(struct kit *k, struct tpm_binding *b, struct cf_view digest,
                               struct verdict *v)
{
	struct verify_input in = { .tpm_binding = b, .report_data = digest };

	return judge(k, in, v);
}

struct bound {
	struct kit k;
	struct tpm_binding b;
	uint8_t digest[48];
	struct cf_view view;
};

static void bound_init(struct bound *s)
{
	kit_init(&s->k);
	s->b = (struct tpm_binding){ .root_name = cf_strdup("CN = a CA"),
		                     .kind = TPM_ROOT_OPERATOR_VTPM };
	memcpy(s->digest, s->k.nonce.data, 32); /* extraData is the digest's first 32 bytes */
	memset(s->digest + 32, 7, 16);
	s->view = cf_view(s->digest, sizeof(s->digest));
	cf_random(s->b.credential, sizeof(s->b.credential));
	cf_buf_add_view(&s->b.ak, cf_buf_view(&s->k.ak));
	s->k.with_activation = true;
	cf_hmac(CF_SHA256, cf_view(s->b.credential, 32), s->view, s->k.activation);
}

static void bound_fini(struct bound *s)
{
	kit_fini(&s->k);
	tpm_binding_fini(&s->b);
}

static void expect_bound(struct bound *s, const char *reason, bool refused)
{
	struct verdict v;

	EXPECT_STR(bound_judge(&s->k, &s->b, s->view, &v), reason);
	EXPECT_INT(verdict_is_refused(&v), refused);
	verdict_fini(&v);
}

/* In this boot everything is good but the UEFI check needs no reference; "" is the good answer. */
CF_TEST(verify_tpm_asks_for_the_credential_of_this_session)
{
	cf_cleanup(bound_fini) struct bound s;
	struct verdict v;

	bound_init(&s);
	EXPECT_STR(bound_judge(&s.k, &s.b, s.view, &v), "");
	EXPECT_INT(v.trust[VERDICT_HARDWARE], 2);
	EXPECT_STR(v.anchor, "CN = a CA");
	verdict_fini(&v);
	for (size_t i = 0; i < 32; i++) {
		s.k.activation[i] ^= 1;
		expect_bound(&s, "activation", true);
		s.k.activation[i] ^= 1;
	}
	s.digest[47] ^= 1; /* the digest's tail is not in the quote; the activation covers it */
	expect_bound(&s, "activation", true);
	s.digest[47] ^= 1;
	s.b.credential[0] ^= 1; /* another session's credential */
	expect_bound(&s, "activation", true);
	s.b.credential[0] ^= 1;
	s.k.with_activation =
		false; /* not answered: genuine quote, of a key that could be anywhere */
	EXPECT_STR(bound_judge(&s.k, &s.b, s.view, &v), "activation");
	EXPECT(!verdict_is_refused(&v));
	EXPECT_INT(v.trust[VERDICT_HARDWARE], 97);
	verdict_fini(&v);
}

CF_TEST(verify_tpm_never_calls_a_software_tpm_hardware)
{
	cf_cleanup(bound_fini) struct bound s;
	struct verdict v;

	bound_init(&s);
	s.b.kind = TPM_ROOT_SOFTWARE;
	EXPECT_STR(bound_judge(&s.k, &s.b, s.view, &v), "hardware");
	EXPECT_INT(v.trust[VERDICT_HARDWARE], 32);
	EXPECT_STR(v.warnings.items[0], "software TPM, memory not encrypted");
	verdict_fini(&v);
	s.b.is_accepted = true; /* the owner names this CA: accepted, and said all the same */
	EXPECT_STR(bound_judge(&s.k, &s.b, s.view, &v), "");
	EXPECT_INT(v.trust[VERDICT_HARDWARE], 2);
	EXPECT_STR(v.warnings.items[0], "software TPM, memory not encrypted");
	verdict_fini(&v);
}

/* ---- reference values ---- */

static const char references[] =
	"{\"tpm_pcr00\":[\"177e29c417b6b61c7cf46ed30b4468931f58642527a268b556254e39b941ec6a\"],"
	"\"tpm_pcr02\":[\"3d458cfe55cc03ea1f443f1562beec8df51c75e14a9fcf9a7234a13f198e7969\"],"
	"\"tpm_pcr04\":[\"a654597ef8228eccdd1b0d4aa27cfb01db758510288c568eecab4fbe104ac435\"],"
	"\"tpm_pcr09\":[\"f578c21ae50dc45ab01c820dd140322d70dc1325aa6a590ab5407b9f838c765d\"],"
	"\"tpm_cmdline\":[\"console=ttyS0 panic=-1 loglevel=4 coffer.test=A initrd=initrd\"]}";

static void judge_with(const char *from, const char *to, const char *want, const char *says)
{
	cf_cleanup(kit_fini) struct kit k;
	cf_cleanup(cf_freep) char *text = cf_strdup(references);
	cf_cleanup(cf_json_freep) struct cf_json *refs = NULL;
	struct verify_input in = offline;
	struct verdict v;
	struct cf_err err;

	if (from) {
		char *at = strstr(text, from);

		EXPECT(at && strlen(from) == strlen(to));
		memcpy(at, to, strlen(to));
	}
	EXPECT_OK(cf_json_parse(cf_view_str(text), 0, &refs, &err), &err);
	kit_init(&k);
	in.references = refs;
	EXPECT_STR(judge(&k, in, &v), want);
	EXPECT_INT(v.trust[VERDICT_EXECUTABLES], *want ? 33 : 3);
	if (says) {
		EXPECT(strstr(verdict_reason(&v)->why, says));
		EXPECT(verdict_reason(&v)->actual && verdict_reason(&v)->fix);
	}
	verdict_fini(&v);
}

CF_TEST(verify_tpm_names_the_measurement_that_differs)
{
	judge_with(NULL, NULL, "", NULL);
	judge_with("[\"177e", "[\"277e", "pcr00", "firmware");
	judge_with("[\"3d45", "[\"4d45", "pcr02", "option ROM");
	judge_with("[\"a654", "[\"b654", "pcr04", "kernel");
	judge_with("[\"f578", "[\"0578", "pcr09", "command line or the initrd");
	judge_with("tpm_pcr09", "tpm_pcr01", "pcr09", "no approved value of PCR 9");
}

CF_TEST(verify_tpm_says_which_words_of_the_command_line_changed)
{
	cf_cleanup(kit_fini) struct kit k;
	cf_cleanup(cf_json_freep) struct cf_json *refs = NULL;
	struct verify_input in = offline;
	struct verdict v;
	struct cf_err err;

	EXPECT_OK(cf_json_parse(cf_view_str("{\"tpm_pcr09\":[\"00\"],\"tpm_cmdline\":"
	                                    "\"console=ttyS0 panic=-1 quiet initrd=initrd\"}"),
	                        0, &refs, &err),
	          &err);
	kit_init(&k);
	in.references = refs;
	judge(&k, in, &v);
	EXPECT_STR(v.checks[v.count - 1].name, "pcr09");
	EXPECT_STR(v.checks[v.count - 1].why,
	           "the command line changed: - quiet + loglevel=4 + coffer.test=A");
	verdict_fini(&v);
}
