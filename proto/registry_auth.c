/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/registry_auth.h"

#include "base/json.h"
#include "base/str.h"

#include <strings.h>

#define CHALLENGE_MAX 4096

static void free_secret(char **s)
{
	if (*s)
		explicit_bzero(*s, strlen(*s));
	free(*s);
	*s = NULL;
}

void registry_credentials_fini(struct registry_credentials *c)
{
	free(c->user);
	free_secret(&c->password);
	free_secret(&c->identity_token);
	free_secret(&c->registry_token);
	*c = (struct registry_credentials){ 0 };
}

/* ---- the file ---- */

static const char *canonical_host(const char *host)
{
	if (strcmp(host, "index.docker.io") == 0 || strcmp(host, "registry-1.docker.io") == 0)
		return "docker.io";
	return host;
}

/* True when @key names the registry @host and nothing below it. */
static bool key_is_host(const char *key, const char *host)
{
	const char *rest = cf_after(key, "https://");

	if (!rest)
		rest = cf_after(key, "http://");
	if (!rest && strchr(key, '/'))
		return false; /* host/path serves that path alone */
	rest = rest ? rest : key;
	cf_cleanup(cf_freep) char *name = cf_strndup(rest, strcspn(rest, "/"));

	return strcmp(canonical_host(name), canonical_host(host)) == 0;
}

static const struct cf_json *find_entry(const struct cf_json *auths, const struct oci_ref *ref)
{
	cf_cleanup(cf_freep) char *name = oci_ref_name(ref);
	const struct cf_json *value;
	const char *key;
	void *it = NULL;

	for (char *cut = name + strlen(name); cut; cut = strrchr(name, '/')) {
		*cut = '\0';
		value = cf_json_get(auths, name);
		if (value)
			return value;
	}
	while (cf_json_next(auths, &it, &key, &value)) {
		if (key_is_host(key, ref->host))
			return value;
	}
	return NULL;
}

static void set_text(const struct cf_json *entry, const char *key, char **ret)
{
	struct cf_view v = cf_json_str(cf_json_get(entry, key));

	if (v.size > 0 && v.size <= REGISTRY_AUTH_VALUE_MAX && !cf_view_has_nul(v))
		*ret = cf_view_dup(v);
}

static bool is_newline(uint8_t c)
{
	return c == '\n' || c == '\r';
}

/* People write `echo pass | base64`: newlines around the password are theirs, not its. */
static struct cf_view trim_newlines(struct cf_view v)
{
	while (v.size > 0 && is_newline(v.data[v.size - 1]))
		v.size--;
	while (v.size > 0 && is_newline(v.data[0]))
		v = cf_view_sub(v, 1, SIZE_MAX);
	return v;
}

static int split_auth(struct cf_view encoded, struct registry_credentials *ret, struct cf_err *err)
{
	struct cf_buf plain = { .max = REGISTRY_AUTH_VALUE_MAX };
	int r = cf_b64_decode(CF_B64_STD, encoded, &plain, err);
	struct cf_view v = cf_buf_view(&plain);
	ssize_t colon = r < 0 ? -1 : cf_view_find(v, ':');

	if (colon >= 0 && !cf_view_has_nul(v)) {
		ret->user = cf_view_dup(cf_view_sub(v, 0, (size_t)colon));
		ret->password =
			cf_view_dup(trim_newlines(cf_view_sub(v, (size_t)colon + 1, SIZE_MAX)));
	}
	cf_buf_wipe(&plain);
	if (!ret->user)
		return cf_fail(err, CF_INVALID_ARGUMENT, "auth is not base64 of user:password");
	return 0;
}

int registry_auth_find(struct cf_view json, const struct oci_ref *ref,
                       struct registry_credentials *ret, struct cf_err *err)
{
	cf_cleanup(cf_json_freep) struct cf_json *root = NULL;
	struct registry_credentials c = { 0 };

	if (json.size == 0) {
		*ret = c;
		return 0;
	}
	int r = cf_json_parse(json, REGISTRY_AUTH_FILE_MAX, &root, err);

	if (r < 0)
		return cf_wrap(err, r, "registry credentials");
	const struct cf_json *entry = find_entry(cf_json_get(root, "auths"), ref);
	struct cf_view auth = cf_json_str(cf_json_get(entry, "auth"));

	if (auth.size > 0)
		r = split_auth(auth, &c, err);
	if (r < 0)
		return cf_wrap(err, r, "registry credentials for %s", ref->host);
	if (!c.user) {
		set_text(entry, "username", &c.user);
		set_text(entry, "password", &c.password);
	}
	set_text(entry, "identitytoken", &c.identity_token);
	set_text(entry, "registrytoken", &c.registry_token);
	*ret = c;
	return 0;
}

/* ---- the challenge ---- */

void registry_challenge_fini(struct registry_challenge *c)
{
	free(c->realm);
	free(c->service);
	free(c->scope);
	*c = (struct registry_challenge){ 0 };
}

static bool is_token_char(uint8_t c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c != 0 && strchr("!#$%&'*+-.^_`|~", c));
}

static void skip(struct cf_rd *rd, const char *set)
{
	while (cf_rd_left(rd) > 0 && rd->in.data[rd->pos] && strchr(set, rd->in.data[rd->pos]))
		rd->pos++;
}

static struct cf_view read_token(struct cf_rd *rd)
{
	size_t start = rd->pos;

	while (cf_rd_left(rd) > 0 && is_token_char(rd->in.data[rd->pos]))
		rd->pos++;
	return cf_view_sub(rd->in, start, rd->pos - start);
}

/* A quoted string with its escapes resolved, or a bare token. -1: malformed. */
static int read_value(struct cf_rd *rd, struct cf_buf *ret)
{
	if (cf_rd_left(rd) == 0 || rd->in.data[rd->pos] != '"') {
		struct cf_view v = read_token(rd);

		cf_buf_add_view(ret, v);
		return v.size > 0 ? 0 : -1;
	}
	cf_rd_skip(rd, 1);
	while (cf_rd_left(rd) > 0) {
		uint8_t c = cf_rd_u8(rd);

		if (c == '"')
			return 0;
		if (c == '\\')
			c = cf_rd_u8(rd);
		if (c < ' ')
			return -1;
		cf_buf_add_byte(ret, c);
	}
	return -1;
}

static void keep(struct registry_challenge *c, struct cf_view name, struct cf_buf *value)
{
	static const char *const names[] = { "realm", "service", "scope" };
	char **const fields[] = { &c->realm, &c->service, &c->scope };

	for (size_t i = 0; i < CF_ARRAY_LEN(names); i++) {
		bool same = name.size == strlen(names[i]) &&
		            strncasecmp((const char *)name.data, names[i], name.size) == 0;

		if (same && !*fields[i])
			*fields[i] = cf_buf_take_str(value);
	}
}

static int read_params(struct cf_rd *rd, struct registry_challenge *c, struct cf_err *err)
{
	while (cf_rd_left(rd) > 0) {
		skip(rd, " \t,");
		if (cf_rd_left(rd) == 0)
			return 0;
		struct cf_view name = read_token(rd);

		skip(rd, " \t");
		if (name.size == 0)
			return cf_fail(err, CF_INVALID_ARGUMENT, "WWW-Authenticate: malformed");
		if (cf_rd_left(rd) == 0 || rd->in.data[rd->pos] != '=')
			return 0; /* the next challenge begins; ours is the first */
		cf_rd_skip(rd, 1);
		skip(rd, " \t");
		struct cf_buf value = { 0 };
		int r = read_value(rd, &value);

		if (r == 0)
			keep(c, name, &value);
		cf_buf_fini(&value);
		if (r < 0)
			return cf_fail(err, CF_INVALID_ARGUMENT, "WWW-Authenticate: malformed");
	}
	return 0;
}

int registry_challenge_parse(struct cf_view header, struct registry_challenge *ret,
                             struct cf_err *err)
{
	struct registry_challenge c = { 0 };
	struct cf_rd rd = { .in = header };

	if (header.size > CHALLENGE_MAX || cf_view_has_nul(header))
		return cf_fail(err, CF_INVALID_ARGUMENT, "WWW-Authenticate: over %d bytes",
		               CHALLENGE_MAX);
	skip(&rd, " \t,");
	struct cf_view scheme = read_token(&rd);
	bool basic = scheme.size == 5 && strncasecmp((const char *)scheme.data, "basic", 5) == 0;

	c.bearer = scheme.size == 6 && strncasecmp((const char *)scheme.data, "bearer", 6) == 0;
	if (!basic && !c.bearer)
		return cf_fail(err, CF_INVALID_ARGUMENT, "WWW-Authenticate: scheme is not known");
	int r = read_params(&rd, &c, err);

	if (r == 0 && c.bearer && !c.realm)
		r = cf_fail(err, CF_INVALID_ARGUMENT, "WWW-Authenticate: Bearer without a realm");
	if (r < 0) {
		registry_challenge_fini(&c);
		return r;
	}
	*ret = c;
	return 0;
}

/* ---- the token ---- */

static bool is_header_text(struct cf_view v)
{
	for (size_t i = 0; i < v.size; i++) {
		if (v.data[i] <= ' ' || v.data[i] >= 0x7f)
			return false;
	}
	return v.size > 0 && v.size <= REGISTRY_AUTH_VALUE_MAX;
}

int registry_token_parse(struct cf_view json, char **ret_token, uint64_t *ret_ttl_s,
                         struct cf_err *err)
{
	cf_cleanup(cf_json_freep) struct cf_json *root = NULL;
	uint64_t ttl = REGISTRY_TOKEN_TTL_MIN_S;
	int r = cf_json_parse(json, 0, &root, err);

	if (r < 0)
		return cf_wrap(err, r, "token service");
	struct cf_view token = cf_json_str(cf_json_get(root, "token"));

	if (token.size == 0)
		token = cf_json_str(cf_json_get(root, "access_token"));
	if (!is_header_text(token))
		return cf_fail(err, CF_INVALID_ARGUMENT, "token service: no usable token");
	r = cf_json_opt_u64(root, "expires_in", &ttl, NULL);
	*ret_ttl_s = r < 0 ? REGISTRY_TOKEN_TTL_MIN_S : CF_MAX(ttl, REGISTRY_TOKEN_TTL_MIN_S);
	*ret_token = cf_view_dup(token);
	return 0;
}
