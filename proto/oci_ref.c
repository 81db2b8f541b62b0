/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/oci_ref.h"

#include "base/str.h"

#include <stdio.h>

static const struct {
	const char *name;
	size_t hex_size;
} algs[] = {
	[OCI_SHA256] = { "sha256", 64 },
	[OCI_SHA384] = { "sha384", 96 },
	[OCI_SHA512] = { "sha512", 128 },
};

/* ---- characters ---- */

static bool is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

static bool is_lower_alnum(uint8_t c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z');
}

static bool is_alnum(uint8_t c)
{
	return is_lower_alnum(c) || (c >= 'A' && c <= 'Z');
}

static void copy_text(char *dst, size_t cap, struct cf_view v)
{
	size_t n = CF_MIN(v.size, cap - 1);

	if (n > 0)
		memcpy(dst, v.data, n);
	dst[n] = '\0';
}

/* ---- digests ---- */

const char *oci_digest_alg_name(enum oci_digest_alg alg)
{
	return algs[alg].name;
}

const char *oci_digest_hex(const struct oci_digest *d)
{
	const char *colon = strchr(d->text, ':');

	return colon ? colon + 1 : d->text;
}

bool oci_digest_eq(const struct oci_digest *a, const struct oci_digest *b)
{
	return oci_digest_is_set(a) && strcmp(a->text, b->text) == 0;
}

static bool is_lower_hex(struct cf_view v)
{
	for (size_t i = 0; i < v.size; i++) {
		uint8_t c = v.data[i];

		if (!is_digit(c) && !(c >= 'a' && c <= 'f'))
			return false;
	}
	return true;
}

int oci_digest_parse(struct cf_view text, struct oci_digest *ret, struct cf_err *err)
{
	ssize_t colon = cf_view_find(text, ':');

	if (colon < 0)
		return cf_fail(err, CF_INVALID_ARGUMENT, "digest has no algorithm");
	struct cf_view alg = cf_view_sub(text, 0, (size_t)colon);
	struct cf_view hex = cf_view_sub(text, (size_t)colon + 1, SIZE_MAX);

	for (size_t i = 0; i < CF_ARRAY_LEN(algs); i++) {
		if (!cf_view_eq_str(alg, algs[i].name))
			continue;
		if (hex.size != algs[i].hex_size || !is_lower_hex(hex))
			return cf_fail(err, CF_INVALID_ARGUMENT, "digest is not %zu hex digits",
			               algs[i].hex_size);
		ret->alg = (enum oci_digest_alg)i;
		copy_text(ret->text, sizeof(ret->text), text);
		return 0;
	}
	return cf_fail(err, CF_INVALID_ARGUMENT, "digest algorithm is not known");
}

/* ---- the parts of a name ---- */

static bool is_port(struct cf_view v)
{
	for (size_t i = 0; i < v.size; i++) {
		if (!is_digit(v.data[i]))
			return false;
	}
	return v.size > 0 && v.size <= 5;
}

static bool is_domain_label(struct cf_view v)
{
	if (v.size == 0 || !is_alnum(v.data[0]) || !is_alnum(v.data[v.size - 1]))
		return false;
	for (size_t i = 0; i < v.size; i++) {
		if (!is_alnum(v.data[i]) && v.data[i] != '-')
			return false;
	}
	return true;
}

static bool is_ipv6(struct cf_view v)
{
	for (size_t i = 0; i < v.size; i++) {
		uint8_t c = v.data[i];

		if (!is_digit(c) && !(c >= 'a' && c <= 'f') && !(c >= 'A' && c <= 'F') && c != ':')
			return false;
	}
	return v.size > 1;
}

static bool is_domain_name(struct cf_view v)
{
	for (;;) {
		ssize_t dot = cf_view_find(v, '.');

		if (!is_domain_label(cf_view_sub(v, 0, dot < 0 ? v.size : (size_t)dot)))
			return false;
		if (dot < 0)
			return true;
		v = cf_view_sub(v, (size_t)dot + 1, SIZE_MAX);
	}
}

static bool is_host(struct cf_view v)
{
	struct cf_view name = v;
	struct cf_view rest;

	if (v.size > 0 && v.data[0] == '[') {
		ssize_t end = cf_view_find(v, ']');

		if (end < 0 || !is_ipv6(cf_view_sub(v, 1, (size_t)end - 1)))
			return false;
		rest = cf_view_sub(v, (size_t)end + 1, SIZE_MAX);
		return rest.size == 0 ||
		       (rest.data[0] == ':' && is_port(cf_view_sub(rest, 1, SIZE_MAX)));
	}
	ssize_t colon = cf_view_find(v, ':');

	if (colon >= 0) {
		name = cf_view_sub(v, 0, (size_t)colon);
		if (!is_port(cf_view_sub(v, (size_t)colon + 1, SIZE_MAX)))
			return false;
	}
	return is_domain_name(name);
}

/* [a-z0-9]+, joined by '.', '_', '__' or any run of '-'. */
static bool is_path_component(struct cf_view v)
{
	size_t i = 0;

	while (i < v.size) {
		size_t start = i;

		while (i < v.size && is_lower_alnum(v.data[i]))
			i++;
		if (i == start)
			return false;
		if (i == v.size)
			return true;
		start = i;
		while (i < v.size && v.data[i] == v.data[start] && !is_lower_alnum(v.data[i]))
			i++;
		uint8_t c = v.data[start];
		size_t run = i - start;
		bool fits = (c == '.' && run == 1) || (c == '_' && run <= 2) || c == '-';

		if (!fits)
			return false;
	}
	return false; /* empty, or ends in a separator */
}

static bool is_path(struct cf_view v)
{
	for (;;) {
		ssize_t slash = cf_view_find(v, '/');

		if (!is_path_component(cf_view_sub(v, 0, slash < 0 ? v.size : (size_t)slash)))
			return false;
		if (slash < 0)
			return true;
		v = cf_view_sub(v, (size_t)slash + 1, SIZE_MAX);
	}
}

static bool is_tag(struct cf_view v)
{
	if (v.size == 0 || v.size > OCI_REF_TAG_MAX)
		return false;
	if (!is_alnum(v.data[0]) && v.data[0] != '_')
		return false;
	for (size_t i = 0; i < v.size; i++) {
		if (!is_alnum(v.data[i]) && !strchr("_.-", v.data[i]))
			return false;
	}
	return !cf_view_has_nul(v);
}

/* ---- references ---- */

/* Cuts @v at its last @byte; the part behind it, or an empty view without data when there is none. */
static struct cf_view cut_last(struct cf_view *v, uint8_t byte, uint8_t stop)
{
	for (size_t i = v->size; i > 0; i--) {
		uint8_t c = v->data[i - 1];

		if (c == stop)
			break;
		if (c == byte) {
			struct cf_view tail = cf_view(v->data + i, v->size - i);

			v->size = i - 1;
			return tail;
		}
	}
	return cf_view(NULL, 0);
}

static bool names_a_registry(struct cf_view first)
{
	return cf_view_find(first, '.') >= 0 || cf_view_find(first, ':') >= 0 ||
	       cf_view_eq_str(first, "localhost");
}

static int set_name(struct oci_ref *ref, struct cf_view name, struct cf_err *err)
{
	ssize_t slash = cf_view_find(name, '/');
	struct cf_view host = CF_VIEW_LIT("docker.io");

	ref->is_short = slash < 0 || !names_a_registry(cf_view_sub(name, 0, (size_t)slash));
	if (!ref->is_short) {
		host = cf_view_sub(name, 0, (size_t)slash);
		name = cf_view_sub(name, (size_t)slash + 1, SIZE_MAX);
	}
	if (!is_host(host))
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "image reference: registry is no host name");
	if (!is_path(name))
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "image reference: repository is not in lower-case path form");
	if (cf_view_eq_str(host, "index.docker.io"))
		host = (struct cf_view)CF_VIEW_LIT("docker.io");
	bool library = cf_view_eq_str(host, "docker.io") && cf_view_find(name, '/') < 0;

	if (host.size + 1 + name.size + (library ? strlen("library/") : 0) > OCI_REF_NAME_MAX)
		return cf_fail(err, CF_INVALID_ARGUMENT, "image reference: name over %d bytes",
		               OCI_REF_NAME_MAX);
	copy_text(ref->host, sizeof(ref->host), host);
	if (library)
		copy_text(ref->repo, sizeof(ref->repo), cf_view_str("library/"));
	copy_text(ref->repo + strlen(ref->repo), sizeof(ref->repo) - strlen(ref->repo), name);
	return 0;
}

int oci_ref_parse(struct cf_view text, struct oci_ref *ret, struct cf_err *err)
{
	struct oci_ref ref = { 0 };
	struct cf_view name = text;

	if (text.size == 0 || text.size > OCI_REF_TEXT_MAX || cf_view_has_nul(text))
		return cf_fail(err, CF_INVALID_ARGUMENT, "image reference: empty or over %d bytes",
		               OCI_REF_TEXT_MAX);
	struct cf_view digest = cut_last(&name, '@', '\0');
	struct cf_view tag = cut_last(&name, ':', '/');

	if (digest.data) {
		int r = oci_digest_parse(digest, &ref.digest, err);

		if (r < 0)
			return cf_wrap(err, r, "image reference");
	}
	if (tag.data && !is_tag(tag))
		return cf_fail(err, CF_INVALID_ARGUMENT, "image reference: not a tag");
	copy_text(ref.tag, sizeof(ref.tag), tag);
	int r = set_name(&ref, name, err);

	if (r < 0)
		return r;
	ref.is_bare = !tag.data && !digest.data;
	if (ref.is_bare)
		copy_text(ref.tag, sizeof(ref.tag), cf_view_str("latest"));
	*ret = ref;
	return 0;
}

char *oci_ref_name(const struct oci_ref *ref)
{
	return cf_asprintf("%s/%s", ref->host, ref->repo);
}

char *oci_ref_text(const struct oci_ref *ref)
{
	return cf_asprintf("%s/%s%s%s%s%s", ref->host, ref->repo, ref->tag[0] ? ":" : "", ref->tag,
	                   oci_digest_is_set(&ref->digest) ? "@" : "", ref->digest.text);
}

const char *oci_ref_target(const struct oci_ref *ref)
{
	return oci_digest_is_set(&ref->digest) ? ref->digest.text : ref->tag;
}

const char *oci_ref_api_host(const struct oci_ref *ref)
{
	return strcmp(ref->host, "docker.io") == 0 ? "registry-1.docker.io" : ref->host;
}
