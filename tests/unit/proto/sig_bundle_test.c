/* SPDX-License-Identifier: Apache-2.0 */
/* Bundles of cosign 3.1.1 (tests/data/sigstore: a signature and an attestation by the same key). */
#include "proto/sig_bundle.h"

#include "base/fd.h"
#include "proto/sig_cosign.h"
#include "proto/sig_policy.h"
#include "tests/harness/test.h"

#define SIGNED "sha256:08b151e3b6a2a15576def210010df0a632b2198d3ffbddd2c6b9490ef5184e43"
#define HEX64  "08b151e3b6a2a15576def210010df0a632b2198d3ffbddd2c6b9490ef5184e43"

static struct cf_buf data(const char *name)
{
	cf_cleanup(cf_freep) char *rel = cf_asprintf("tests/data/sigstore/%s", name);
	cf_cleanup(cf_freep) char *path = cf_test_source(rel);

	return cf_test_read(path);
}

static struct cf_pkey *public_key(void)
{
	struct cf_buf pem = data("cosign.pub");
	struct cf_pkey *key = NULL;
	struct cf_err err;

	EXPECT_OK(cf_pkey_parse(cf_buf_view(&pem), &key, &err), &err);
	cf_buf_fini(&pem);
	return key;
}

struct parsed {
	struct cf_buf bytes, signature;
	int r;
};

static struct parsed parse(struct cf_view json)
{
	struct parsed p = { 0 };

	p.r = sig_bundle_parse(json, &p.bytes, &p.signature, NULL);
	return p;
}

static void parsed_fini(struct parsed *p)
{
	cf_buf_fini(&p->bytes);
	cf_buf_fini(&p->signature);
}

CF_TEST(sig_bundle_of_cosign_verifies_and_names_the_image)
{
	cf_cleanup(cf_pkey_freep) struct cf_pkey *key = public_key();
	struct cf_buf json = data("sign.json");
	struct parsed p = parse(cf_buf_view(&json));
	struct sig_payload payload;
	struct cf_err err;

	EXPECT_INT(p.r, 0);
	EXPECT_OK(sig_verify(key, cf_buf_view(&p.bytes), cf_buf_view(&p.signature), &err), &err);
	EXPECT_OK(sig_payload_parse(cf_buf_view(&p.bytes), &payload, &err), &err);
	EXPECT_STR(payload.digest.text, SIGNED);
	EXPECT(!payload.reference);
	sig_payload_fini(&payload);
	parsed_fini(&p);
	cf_buf_fini(&json);
}

CF_TEST(sig_bundle_of_an_attestation_approves_nothing)
{
	cf_cleanup(cf_pkey_freep) struct cf_pkey *key = public_key();
	struct cf_buf json = data("attest.json");
	struct parsed p = parse(cf_buf_view(&json));
	struct sig_payload payload;
	struct cf_err err;

	EXPECT_INT(p.r, 0);
	EXPECT_OK(sig_verify(key, cf_buf_view(&p.bytes), cf_buf_view(&p.signature), &err), &err);
	EXPECT_FAILS(sig_payload_parse(cf_buf_view(&p.bytes), &payload, &err), CF_INVALID_ARGUMENT);
	parsed_fini(&p);
	cf_buf_fini(&json);
}

/* What still verifies after a change is what was signed. */
CF_TEST(sig_bundle_with_any_byte_changed_proves_nothing_else)
{
	cf_cleanup(cf_pkey_freep) struct cf_pkey *key = public_key();
	struct cf_buf json = data("sign.json");
	struct parsed good = parse(cf_buf_view(&json));

	for (size_t i = 0; i < json.size; i++) {
		uint8_t was = json.data[i];

		json.data[i] ^= (uint8_t)(1u << i % 7);
		struct parsed p = parse(cf_buf_view(&json));

		if (p.r == 0 &&
		    sig_verify(key, cf_buf_view(&p.bytes), cf_buf_view(&p.signature), NULL) == 0)
			EXPECT(cf_view_eq(cf_buf_view(&p.bytes), cf_buf_view(&good.bytes)));
		parsed_fini(&p);
		json.data[i] = was;
	}
	for (size_t n = 0; n + 1 < json.size; n++) { /* its last byte may be a line's end */
		struct parsed p = parse(cf_view(json.data, n));

		EXPECT(p.r < 0);
		parsed_fini(&p);
	}
	parsed_fini(&good);
	cf_buf_fini(&json);
}

CF_TEST(sig_bundle_refuses_other_kinds)
{
#define ENVELOPE(type, sigs)                                                                       \
	"\"dsseEnvelope\":{\"payload\":\"e30=\",\"payloadType\":\"" type                           \
	"\",\"signatures\":[" sigs "]}"
#define KIND "{\"mediaType\":\"" SIG_MT_BUNDLE "\","
	static const char *const refused[] = {
		"{}",
		"[]",
		"{\"mediaType\":\"application/vnd.dev.sigstore.bundle.v0.2+json\"," ENVELOPE(
			SIG_STATEMENT_TYPE, "{\"sig\":\"AA==\"}") "}",
		KIND ENVELOPE("text/plain", "{\"sig\":\"AA==\"}") "}",
		KIND ENVELOPE(SIG_STATEMENT_TYPE, "") "}",
		KIND ENVELOPE(SIG_STATEMENT_TYPE, "\"AA==\"") "}",
		KIND ENVELOPE(SIG_STATEMENT_TYPE, "{\"sig\":\"?\"}") "}",
		KIND ENVELOPE(SIG_STATEMENT_TYPE, "{\"sig\":\"AA==\"},{\"sig\":\"AA==\"}") "}",
		KIND "\"messageSignature\":{\"signature\":\"AA==\"}}",
	};
	struct parsed p =
		parse(cf_view_str(KIND ENVELOPE(SIG_STATEMENT_TYPE, "{\"sig\":\"AA==\"}") "}"));

	EXPECT_INT(p.r, 0);
	EXPECT(cf_view_eq_str(cf_buf_view(&p.bytes), "DSSEv1 28 " SIG_STATEMENT_TYPE " 2 {}"));
	parsed_fini(&p);
	for (size_t i = 0; i < CF_ARRAY_LEN(refused); i++) {
		p = parse(cf_view_str(refused[i]));
		EXPECT(p.r < 0 && p.bytes.size == 0 && p.signature.size == 0);
		parsed_fini(&p);
	}
}

/* @body in the encoding that is signed; the caller frees. */
static char *encoded(const char *body)
{
	return cf_asprintf("DSSEv1 28 " SIG_STATEMENT_TYPE " %zu %s", strlen(body), body);
}

CF_TEST(sig_statement_refuses_what_is_no_signature_of_one_image)
{
#define HEAD    "{\"_type\":\"https://in-toto.io/Statement/v1\",\"predicateType\":\""
#define SUBJECT "{\"digest\":{\"sha256\":\"" HEX64 "\"}}"
	static const char good[] = HEAD SIG_SIGN_PREDICATE "\",\"subject\":[" SUBJECT "]}";
	static const char *const refused[] = {
		"{}",
		HEAD "https://slsa.dev/provenance/v1\",\"subject\":[" SUBJECT "]}",
		HEAD SIG_SIGN_PREDICATE "\",\"subject\":[]}",
		HEAD SIG_SIGN_PREDICATE "\",\"subject\":[" SUBJECT "," SUBJECT "]}",
		HEAD SIG_SIGN_PREDICATE "\",\"subject\":[{\"digest\":{\"sha512\":\"00\"}}]}",
		HEAD SIG_SIGN_PREDICATE "\",\"subject\":[{\"digest\":{\"sha256\":\"00\"}}]}",
		HEAD SIG_SIGN_PREDICATE "\",\"subject\":[{\"name\":\"x\"}]}",
		"{\"_type\":\"other\",\"predicateType\":\"" SIG_SIGN_PREDICATE
		"\",\"subject\":[" SUBJECT "]}",
	};
	static const char *const heads[] = {
		"DSSEv1 28 " SIG_STATEMENT_TYPE " 3 {}",
		"DSSEv1 28 " SIG_STATEMENT_TYPE " 1 {}",
		"DSSEv1 28 " SIG_STATEMENT_TYPE " {}",
		"DSSEv1 4 text 2 {}",
		"DSSEv1 ",
	};
	cf_cleanup(cf_freep) char *fine = encoded(good);
	struct oci_digest digest;
	struct cf_err err;

	EXPECT_OK(sig_statement_parse(cf_view_str(fine), &digest, &err), &err);
	EXPECT_STR(digest.text, SIGNED);
	for (size_t i = 0; i < CF_ARRAY_LEN(refused); i++) {
		cf_cleanup(cf_freep) char *text = encoded(refused[i]);

		EXPECT(sig_statement_parse(cf_view_str(text), &digest, &err) < 0);
	}
	for (size_t i = 0; i < CF_ARRAY_LEN(heads); i++)
		EXPECT(sig_statement_parse(cf_view_str(heads[i]), &digest, &err) < 0);
	for (size_t n = 0; n < strlen(fine); n++)
		EXPECT(sig_statement_parse(cf_view(fine, n), &digest, &err) < 0);
}

/* ---- through the policy ---- */

static void put(struct oci_source *to, const char *type, const char *text, const char *tag,
                struct oci_digest *ret)
{
	struct cf_err err;

	EXPECT_OK(oci_source_put_document(to, type, cf_view_str(text), tag, NULL, &err), &err);
	oci_digest_of(cf_view_str(text), ret);
}

/* A layout in which the bundle refers to @subject, as cosign leaves it without a referrers API. */
static char *layout(const char *subject)
{
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	char *place = cf_asprintf("oci:%s/l", dir);
	cf_cleanup(oci_source_freep) struct oci_source *to = NULL;
	struct oci_source_config none = { 0 };
	struct oci_digest blob, empty, referrer, index;
	struct cf_buf json = data("sign.json");
	struct cf_err err;

	EXPECT_OK(oci_source_create(place, &none, &to, &err), &err);
	EXPECT_OK(oci_source_put_bytes(to, cf_buf_view(&json), &blob, &err), &err);
	EXPECT_OK(oci_source_put_bytes(to, cf_view_str("{}"), &empty, &err), &err);
	cf_cleanup(cf_freep) char *manifest = cf_asprintf(
		"{\"schemaVersion\":2,\"mediaType\":\"" OCI_MT_MANIFEST
		"\",\"artifactType\":\"" SIG_MT_BUNDLE
		"\",\"config\":{\"mediaType\":\"" OCI_MT_EMPTY "\",\"size\":2,"
		"\"digest\":\"%s\"},\"layers\":[{\"mediaType\":\"" SIG_MT_BUNDLE "\",\"size\":%zu,"
		"\"digest\":\"%s\"}],\"subject\":{\"mediaType\":\"" OCI_MT_MANIFEST
		"\",\"size\":711,"
		"\"digest\":\"%s\"}}",
		empty.text, json.size, blob.text, subject);
	put(to, OCI_MT_MANIFEST, manifest, "sig", &referrer);
	cf_cleanup(cf_freep) char *list = cf_asprintf(
		"{\"schemaVersion\":2,\"mediaType\":\"" OCI_MT_INDEX
		"\",\"manifests\":[{\"mediaType\":"
		"\"" OCI_MT_MANIFEST
		"\",\"size\":%zu,\"digest\":\"%s\",\"artifactType\":\"" OCI_MT_EMPTY "\"}]}",
		strlen(manifest), referrer.text);
	cf_cleanup(cf_freep) char *tag = cf_asprintf("sha256-%s", subject + strlen("sha256:"));
	put(to, OCI_MT_INDEX, list, tag, &index);
	cf_buf_fini(&json);
	return place;
}

static int judge(const char *place, const char *digest, const char *identity, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *key = cf_test_source("tests/data/sigstore/cosign.pub");
	struct cf_buf pem = cf_test_read(key), policy = { 0 };
	cf_cleanup(sig_policy_freep) struct sig_policy *p = NULL;
	cf_cleanup(oci_source_freep) struct oci_source *src = NULL;
	struct oci_source_config none = { 0 };
	struct sig_verdict v;
	struct oci_digest d;

	cf_buf_add_str(&policy, "{\"default\":[{\"type\":\"sigstoreSigned\",\"keyData\":\"");
	cf_b64_encode(CF_B64_STD, cf_buf_view(&pem), &policy);
	cf_buf_printf(&policy, "\"%s}]}", identity);
	EXPECT_OK(sig_policy_parse(cf_buf_view(&policy), &p, err), err);
	EXPECT_OK(oci_source_open(place, &none, &src, err), err);
	EXPECT_OK(oci_digest_parse(cf_view_str(digest), &d, err), err);
	int r = sig_policy_judge(p, &(struct sig_image){ .src = src, .manifest = &d }, NULL, NULL,
	                         &v, err);

	EXPECT(r < 0 || v.is_verified);
	sig_verdict_fini(&v);
	cf_buf_fini(&pem);
	cf_buf_fini(&policy);
	return r;
}

CF_TEST(sig_policy_takes_a_bundle_when_it_asks_for_no_name)
{
	static const char any[] = ",\"signedIdentity\":{\"type\":\"digestOnly\"}";
	static const char other[] =
		"sha256:0000000000000000000000000000000000000000000000000000000000000001";
	cf_cleanup(cf_freep) char *place = layout(SIGNED);
	cf_cleanup(cf_freep) char *moved = layout(other);
	struct cf_err err = { 0 };

	EXPECT_OK(judge(place, SIGNED, any, &err), &err);
	EXPECT_FAILS(judge(place, SIGNED, "", &err), CF_PERMISSION_DENIED);
	EXPECT(strstr(err.msg, "names no repository"));
	/* the same bundle beside another image */
	EXPECT_FAILS(judge(moved, other, any, &err), CF_PERMISSION_DENIED);
	EXPECT(strstr(err.msg, "for another image"));
}
