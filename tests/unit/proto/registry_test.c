/* SPDX-License-Identifier: Apache-2.0 */
#include "base/http.h"
#include "proto/oci_source.h"
#include "tests/harness/fake_http.h"

#define V2 "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
/* sha256 of "hello world" */
#define HELLO       "sha256:b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9"
#define BLOB        "/v2/a/b/blobs/" HELLO
#define EMPTY_INDEX "{\"schemaVersion\":2,\"manifests\":[]}"

struct fixture {
	struct fake_http web;
	struct oci_source *src;
	struct cf_buf got;
	char *dir;
};

static struct fixture start(const struct fake_route *routes, size_t count, const char *auth)
{
	struct fixture f = { .dir = cf_test_tmpdir() };
	struct oci_source_config config = { .auth_json = cf_view_str(auth), .backoff_ms = 1 };
	struct cf_err err;

	cf_http_global_init();
	f.web = fake_http_start(f.dir, routes, count);
	cf_cleanup(cf_freep) char *place = cf_asprintf("docker://127.0.0.1:%u/a/b:t", f.web.port);

	EXPECT_OK(oci_source_open(place, &config, &f.src, &err), &err);
	return f;
}

static void stop(struct fixture *f)
{
	oci_source_free(f->src);
	cf_buf_fini(&f->got);
	fake_http_stop(&f->web);
	free(f->dir);
}

static int add(void *arg, struct cf_view piece, struct cf_err *err)
{
	cf_buf_add_view(arg, piece);
	return cf_buf_check(arg, "x", err);
}

static int get_blob(struct fixture *f, uint64_t size, struct cf_err *err)
{
	struct oci_descriptor d = { .size = size };

	EXPECT(oci_digest_parse(cf_view_str(HELLO), &d.digest, NULL) == 0);
	cf_buf_reset(&f->got);
	return oci_source_blob(f->src, &d, add, &f->got, err);
}

static bool asked(struct fixture *f, const char *text)
{
	struct cf_buf log = fake_http_log(&f->web);
	bool found = strstr((char *)log.data, text) != NULL;

	cf_buf_fini(&log);
	return found;
}

#define WHOLE "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world"

CF_TEST(registry_hands_out_a_checked_blob)
{
	static const struct fake_route routes[] = { { .path = "/v2/", .response = V2 },
		                                    { .path = BLOB, .response = WHOLE } };
	struct fixture f = start(routes, CF_ARRAY_LEN(routes), NULL);
	struct cf_err err;

	EXPECT_OK(get_blob(&f, 11, &err), &err);
	EXPECT(cf_view_eq_str(cf_buf_view(&f.got), "hello world"));
	EXPECT(oci_source_is_weak(f.src)); /* plain HTTP on loopback */
	EXPECT_FAILS(get_blob(&f, 10, &err), CF_DATA_LOSS);
	EXPECT_FAILS(get_blob(&f, 12, &err), CF_DATA_LOSS);
	stop(&f);
}

CF_TEST(registry_refuses_a_changed_blob)
{
	static const struct fake_route routes[] = {
		{ .path = "/v2/", .response = V2 },
		{ .path = BLOB,
		  .response = "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello_world" }
	};
	struct fixture f = start(routes, CF_ARRAY_LEN(routes), NULL);
	struct cf_err err;

	EXPECT_FAILS(get_blob(&f, 11, &err), CF_DATA_LOSS);
	stop(&f);
}

CF_TEST(registry_goes_on_where_a_connection_broke)
{
	static const struct fake_route routes[] = {
		{ .path = "/v2/", .response = V2 },
		{ .path = BLOB, .response = "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhel" },
		{ .path = BLOB,
		  .response = "HTTP/1.1 503 Later\r\nRetry-After: 0\r\n"
		              "Content-Length: 0\r\n\r\n" },
		{ .path = BLOB,
		  .response = "HTTP/1.1 206 Part\r\nContent-Range: bytes 3-10/11\r\n"
		              "Content-Length: 8\r\n\r\nlo w" },
		/* this one does not know Range */
		{ .path = BLOB, .response = WHOLE },
	};
	struct fixture f = start(routes, CF_ARRAY_LEN(routes), NULL);
	struct cf_err err;

	EXPECT_OK(get_blob(&f, 11, &err), &err);
	EXPECT(cf_view_eq_str(cf_buf_view(&f.got), "hello world"));
	EXPECT(asked(&f, "Range: bytes=3-\r\n") && asked(&f, "Range: bytes=7-\r\n"));
	stop(&f);
}

CF_TEST(registry_refuses_another_range_than_it_asked_for)
{
	static const struct fake_route routes[] = {
		{ .path = "/v2/", .response = V2 },
		{ .path = BLOB, .response = "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhel" },
		{ .path = BLOB,
		  .response = "HTTP/1.1 206 Part\r\nContent-Range: bytes 4-10/11\r\n"
		              "Content-Length: 7\r\n\r\no world" },
	};
	struct fixture f = start(routes, CF_ARRAY_LEN(routes), NULL);
	struct cf_err err;

	EXPECT_FAILS(get_blob(&f, 11, &err), CF_DATA_LOSS);
	stop(&f);
}

CF_TEST(registry_gives_up_after_its_attempts)
{
	static const struct fake_route routes[] = {
		{ .path = "/v2/", .response = V2 },
		{ .path = BLOB, .response = "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n" }
	};
	struct fixture f = start(routes, CF_ARRAY_LEN(routes), NULL);
	struct cf_err err;

	EXPECT_FAILS(get_blob(&f, 11, &err), CF_UNAVAILABLE);
	struct cf_buf log = fake_http_log(&f.web);
	int n = 0;

	for (char *p = (char *)log.data; (p = strstr(p, "GET " BLOB)); p++)
		n++;
	EXPECT_INT(n, OCI_SOURCE_ATTEMPTS);
	cf_buf_fini(&log);
	stop(&f);
}

CF_TEST(registry_checks_the_digest_of_a_manifest)
{
	static const struct fake_route routes[] = {
		{ .path = "/v2/", .response = V2 },
		{ .path = "/v2/a/b/manifests/t",
		  .response = "HTTP/1.1 200 OK\r\nContent-Type: " OCI_MT_INDEX "; charset=x\r\n"
		              "Content-Length: 34\r\n\r\n" EMPTY_INDEX },
		{ .path = "/v2/a/b/manifests/lie",
		  .response = "HTTP/1.1 200 OK\r\nDocker-Content-Digest: " HELLO "\r\n"
		              "Content-Length: 34\r\n\r\n" EMPTY_INDEX },
		{ .path = "/v2/a/b/manifests/" HELLO,
		  .response = "HTTP/1.1 200 OK\r\nContent-Length: 34\r\n\r\n" EMPTY_INDEX },
	};
	struct fixture f = start(routes, CF_ARRAY_LEN(routes), NULL);
	struct oci_document_bytes doc = { 0 };
	struct cf_err err;

	EXPECT_INT(strlen(EMPTY_INDEX), 34);
	EXPECT_OK(oci_source_document(f.src, NULL, &doc, &err), &err);
	EXPECT_STR(doc.media_type, OCI_MT_INDEX);
	EXPECT(cf_starts_with(doc.digest.text, "sha256:"));
	oci_document_bytes_fini(&doc);
	EXPECT_FAILS(oci_source_document(f.src, "lie", &doc, &err), CF_DATA_LOSS);
	EXPECT_FAILS(oci_source_document(f.src, HELLO, &doc, &err), CF_DATA_LOSS);
	EXPECT_FAILS(oci_source_document(f.src, "none", &doc, &err), CF_NOT_FOUND);
	stop(&f);
}

#define LOGIN "{\"auths\":{\"127.0.0.1:%u\":{\"auth\":\"dXNlcjpwYXNz\"}}}"

CF_TEST(registry_logs_in_with_basic)
{
	static const struct fake_route routes[] = {
		{ .path = "/v2/", .response = V2 },
		{ .path = BLOB,
		  .response = "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"x\"\r\n"
		              "Content-Length: 0\r\n\r\n" },
		{ .path = BLOB, .response = WHOLE },
		{ .path = BLOB,
		  .response = "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"x\"\r\n"
		              "Content-Length: 0\r\n\r\n" },
	};
	struct fixture f = start(routes, CF_ARRAY_LEN(routes), NULL);
	cf_cleanup(cf_freep) char *auth = cf_asprintf(LOGIN, f.web.port);
	cf_cleanup(cf_freep) char *place = cf_asprintf("127.0.0.1:%u/a/b:t", f.web.port);
	struct oci_source_config config = { .auth_json = cf_view_str(auth), .backoff_ms = 1 };
	struct cf_err err;

	oci_source_free(f.src);
	EXPECT_OK(oci_source_open(place, &config, &f.src, &err), &err);
	EXPECT_OK(get_blob(&f, 11, &err), &err);
	EXPECT(asked(&f, "Authorization: Basic dXNlcjpwYXNz\r\n"));
	/* the same credentials refused: say so, do not loop */
	EXPECT_FAILS(get_blob(&f, 11, &err), CF_UNAUTHENTICATED);
	EXPECT(strstr(err.msg, "Not authorized: url http://127.0.0.1:"));
	stop(&f);
}

CF_TEST(registry_logs_in_with_a_token_and_again_when_it_ran_out)
{
	char *dir = cf_test_tmpdir();
	struct fake_route tokens[] = {
		{ .path = "/token?scope=repository%3Aa%2Fb%3Apull&service=s",
		  .response = "HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{\"token\":\"tok1\"}" },
		{ .path = "/token?scope=repository%3Aa%2Fb%3Apull&service=s",
		  .response = "HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{\"token\":\"tok2\"}" },
	};
	struct fake_http issuer = fake_http_start(dir, tokens, 2);
	char *challenge = cf_asprintf("HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer "
	                              "realm=\"http://127.0.0.1:%u/token\",service=\"s\"\r\n"
	                              "Content-Length: 0\r\n\r\n",
	                              issuer.port);
	struct fake_route routes[] = {
		{ .path = "/v2/", .response = V2 },
		{ .path = BLOB, .response = challenge },
		{ .path = BLOB, .response = "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhel" },
		{ .path = BLOB, .response = challenge }, /* the token has run out in the middle */
		{ .path = BLOB,
		  .response = "HTTP/1.1 206 OK\r\nContent-Range: bytes 3-10/11\r\n"
		              "Content-Length: 8\r\n\r\nlo world" },
	};
	struct fixture f = { .dir = cf_asprintf("%s/x", dir) };
	struct oci_source_config config = { .backoff_ms = 1 };
	struct cf_err err;

	cf_http_global_init();
	EXPECT_OK(cf_mkdir_p(f.dir, 0700, &err), &err);
	f.web = fake_http_start(f.dir, routes, CF_ARRAY_LEN(routes));
	cf_cleanup(cf_freep) char *place = cf_asprintf("127.0.0.1:%u/a/b:t", f.web.port);

	EXPECT_OK(oci_source_open(place, &config, &f.src, &err), &err);
	EXPECT_OK(get_blob(&f, 11, &err), &err);
	EXPECT(cf_view_eq_str(cf_buf_view(&f.got), "hello world"));
	EXPECT(asked(&f, "Authorization: Bearer tok1\r\n"));
	EXPECT(asked(&f, "Authorization: Bearer tok2\r\n"));
	stop(&f);
	fake_http_stop(&issuer);
	free(challenge);
	free(dir);
}

CF_TEST(registry_elsewhere_is_never_spoken_to_in_clear)
{
	struct oci_source_config config = { .attempts = 1, .backoff_ms = 1 };
	cf_cleanup(oci_source_freep) struct oci_source *src = NULL;
	struct oci_document_bytes doc = { 0 };
	struct cf_err err;

	cf_http_global_init();
	/* ends in .invalid: no such host; the point is that no http:// is tried and no flag is set */
	EXPECT_OK(oci_source_open("registry.invalid/a", &config, &src, &err), &err);
	EXPECT_FAILS(oci_source_document(src, NULL, &doc, &err), CF_UNAVAILABLE);
	EXPECT(!oci_source_is_weak(src));
}
