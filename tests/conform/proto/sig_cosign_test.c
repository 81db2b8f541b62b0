/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signatures that cosign made (tag scheme, OCI 1.1 referrers), and RSA ones by openssl over a cosign
 * payload, judged by policies over a layout that holds them as a registry would.
 */
#include "base/fd.h"
#include "base/json.h"
#include "proto/sig_cosign.h"
#include "proto/sig_policy.h"
#include "tests/harness/test.h"

#define IMAGE_HEX "08b151e3b6a2a15576def210010df0a632b2198d3ffbddd2c6b9490ef5184e43"

struct fixture {
	char *vectors, *dir;
	struct oci_source *src;
	struct oci_digest manifest;
	const char *repository; /* that the signatures name */
};

static struct cf_buf read_vector(const struct fixture *f, const char *rel)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/%s", f->vectors, rel);

	return cf_test_read(path);
}

static void put_blobs(const struct fixture *f, const struct oci_manifest *m, bool tamper)
{
	for (size_t i = 0; i < m->layer_count; i++) {
		cf_cleanup(cf_freep) char *rel =
			cf_asprintf("cosign/blobs/%s", oci_digest_hex(&m->layers[i].digest));
		cf_cleanup(cf_freep) char *path = cf_asprintf("%s/blobs/sha256/%s", f->dir,
		                                              oci_digest_hex(&m->layers[i].digest));
		struct cf_buf blob = read_vector(f, rel);
		struct cf_err err;

		if (tamper)
			blob.data[blob.size / 2] ^= 1;
		EXPECT_OK(cf_write_file_atomic(path, cf_buf_view(&blob), 0600, &err), &err);
		cf_buf_fini(&blob);
	}
}

/* A layout with one signature manifest, under @tag or (NULL) to be found by its digest. */
static void put_signature(const struct fixture *f, const char *rel, const char *tag, bool tamper)
{
	struct cf_buf text = read_vector(f, rel);
	struct oci_manifest m = { 0 };
	struct cf_err err;

	EXPECT_OK(oci_manifest_parse(cf_buf_view(&text), &m, &err), &err);
	put_blobs(f, &m, tamper);
	EXPECT_OK(oci_source_put_document(f->src, OCI_MT_MANIFEST, cf_buf_view(&text), tag, NULL,
	                                  &err),
	          &err);
	oci_manifest_fini(&m);
	cf_buf_fini(&text);
}

static struct fixture start(void)
{
	struct fixture f = { .vectors = cf_test_vector("signatures") };
	struct oci_source_config config = { 0 };
	struct cf_err err;

	f.dir = cf_test_tmpdir();
	cf_cleanup(cf_freep) char *place = cf_asprintf("oci:%s", f.dir);

	EXPECT_OK(oci_source_create(place, &config, &f.src, &err), &err);
	EXPECT_OK(oci_digest_parse(cf_view_str("sha256:" IMAGE_HEX), &f.manifest, &err), &err);
	return f;
}

static void stop(struct fixture *f)
{
	oci_source_free(f->src);
	free(f->vectors);
	free(f->dir);
}

static int fetch_file(void *arg, const char *uri, struct cf_buf *ret, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/%s", (const char *)arg, uri);

	return cf_read_file(path, 65536, ret, err);
}

static int judge(const struct fixture *f, const char *key, const char *repository,
                 const struct oci_digest *manifest, enum sig_reason *reason)
{
	cf_cleanup(cf_freep) char *text = cf_asprintf(
		"{\"default\":[{\"type\":\"sigstoreSigned\",\"keyPath\":\"%s\",\"signedIdentity\":"
		"{\"type\":\"exactRepository\",\"dockerRepository\":\"%s\"}}]}",
		key, repository);
	cf_cleanup(sig_policy_freep) struct sig_policy *p = NULL;
	struct sig_image image = { .src = f->src, .manifest = manifest };
	struct sig_verdict v = { 0 };
	struct cf_err err;

	EXPECT_OK(sig_policy_parse(cf_view_str(text), &p, &err), &err);
	int r = sig_policy_judge(p, &image, fetch_file, f->vectors, &v, &err);

	*reason = v.reason;
	EXPECT(r == 0 ? v.is_verified : v.text != NULL);
	if (r < 0)
		EXPECT(cf_starts_with(err.msg, "Image policy rejected: Denied by policy: "));
	sig_verdict_fini(&v);
	return r;
}

static void expect_all(struct fixture *f, const char *key, const char *other_key, const char *repo)
{
	struct oci_digest other;
	enum sig_reason reason;

	EXPECT_INT(judge(f, key, repo, &f->manifest, &reason), 0);
	EXPECT_INT(judge(f, other_key, repo, &f->manifest, &reason), -CF_PERMISSION_DENIED);
	EXPECT(reason == SIG_NO_MATCH);
	EXPECT_INT(judge(f, key, "127.0.0.1:5055/sig/other", &f->manifest, &reason),
	           -CF_PERMISSION_DENIED);
	EXPECT(reason == SIG_NO_MATCH);
	oci_digest_of(cf_view_str("another image"), &other);
	EXPECT_INT(judge(f, key, repo, &other, &reason), -CF_PERMISSION_DENIED);
	EXPECT(reason == SIG_NO_SIGNATURE);
}

CF_TEST(sig_cosign_accepts_ecdsa_under_the_tag)
{
	struct fixture f = start();

	put_signature(&f, "cosign/sig-manifest-ec.json", "sha256-" IMAGE_HEX ".sig", false);
	expect_all(&f, "cosign/keys/cosign-ec.pub", "openssl/rsa2048.pub", "127.0.0.1:5055/sig/ec");
	stop(&f);
}

CF_TEST(sig_cosign_accepts_ed25519)
{
	struct fixture f = start();

	put_signature(&f, "cosign/sig-manifest-ed25519.json", "sha256-" IMAGE_HEX ".sig", false);
	expect_all(&f, "cosign/keys/cosign-ed25519.pub", "cosign/keys/cosign-ec.pub",
	           "127.0.0.1:5055/sig/ed25519");
	stop(&f);
}

CF_TEST(sig_cosign_refuses_a_tampered_payload)
{
	struct fixture f = start();
	enum sig_reason reason;

	put_signature(&f, "cosign/sig-manifest-ec.json", "sha256-" IMAGE_HEX ".sig", true);
	EXPECT_INT(judge(&f, "cosign/keys/cosign-ec.pub", "127.0.0.1:5055/sig/ec", &f.manifest,
	                 &reason),
	           -CF_PERMISSION_DENIED);
	stop(&f);
}

/* The registry serves the right payload for another image's tag: the payload names its own image. */
CF_TEST(sig_cosign_refuses_a_signature_moved_to_another_image)
{
	struct fixture f = start();
	struct oci_digest other;
	enum sig_reason reason;

	oci_digest_of(cf_view_str("another image"), &other);
	cf_cleanup(cf_freep) char *tag = cf_asprintf("sha256-%s.sig", oci_digest_hex(&other));

	put_signature(&f, "cosign/sig-manifest-ec.json", tag, false);
	EXPECT_INT(judge(&f, "cosign/keys/cosign-ec.pub", "127.0.0.1:5055/sig/ec", &other, &reason),
	           -CF_PERMISSION_DENIED);
	EXPECT(reason == SIG_NO_MATCH);
	stop(&f);
}

CF_TEST(sig_cosign_finds_referrers_by_the_fallback_tag)
{
	struct fixture f = start();
	struct cf_buf index = read_vector(&f, "cosign/referrers-index.json");
	enum sig_reason reason;
	struct cf_err err;

	put_signature(&f, "cosign/sig-manifest-referrer.json", NULL, false);
	EXPECT_OK(oci_source_put_document(f.src, OCI_MT_INDEX, cf_buf_view(&index),
	                                  "sha256-" IMAGE_HEX, NULL, &err),
	          &err);
	struct sig_list list = { 0 };

	EXPECT_OK(sig_collect(f.src, &f.manifest, &list, &err), &err);
	EXPECT_INT(list.count, 1);
	struct sig_payload p = { 0 };

	EXPECT_OK(sig_payload_parse(cf_buf_view(&list.items[0].payload), &p, &err), &err);
	int r = judge(&f, "cosign/keys/cosign-ec.pub", p.reference, &f.manifest, &reason);

	EXPECT_INT(r, 0);
	sig_payload_fini(&p);
	sig_list_fini(&list);
	cf_buf_fini(&index);
	stop(&f);
}

CF_TEST(sig_verify_takes_both_rsa_paddings)
{
	struct fixture f = start();
	static const char *const sigs[] = { "openssl/rsa-pkcs1v15-sha256.sig",
		                            "openssl/rsa-pss-sha256.sig" };
	struct cf_buf pem = read_vector(&f, "openssl/rsa2048.pub");
	struct cf_buf payload = read_vector(&f, "openssl/payload-ec.json");
	cf_cleanup(cf_pkey_freep) struct cf_pkey *key = NULL;
	struct cf_err err;

	EXPECT_OK(cf_pkey_parse(cf_buf_view(&pem), &key, &err), &err);
	for (size_t i = 0; i < CF_ARRAY_LEN(sigs); i++) {
		struct cf_buf sig = read_vector(&f, sigs[i]);

		EXPECT_OK(sig_verify(key, cf_buf_view(&payload), cf_buf_view(&sig), &err), &err);
		for (size_t k = 0; k < sig.size; k += 17) {
			sig.data[k] ^= 0x20;
			EXPECT(sig_verify(key, cf_buf_view(&payload), cf_buf_view(&sig), &err) < 0);
			sig.data[k] ^= 0x20;
		}
		cf_buf_fini(&sig);
	}
	cf_buf_fini(&pem);
	cf_buf_fini(&payload);
	stop(&f);
}
