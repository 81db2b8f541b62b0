/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/shim/bundle.h"

#include "base/fd.h"
#include "base/str.h"

#include <string.h>

/* Annotations of containerd's CRI plugin first, then CRI-O's. */
static const char *const kind_keys[] = { "io.kubernetes.cri.container-type",
	                                 "io.kubernetes.cri-o.ContainerType" };
static const char *const sandbox_keys[] = { "io.kubernetes.cri.sandbox-id",
	                                    "io.kubernetes.cri-o.SandboxID" };
static const char *const image_keys[] = { "io.kubernetes.cri.image-name",
	                                  "io.kubernetes.cri-o.ImageName", "io.coffer.image" };

static bool is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

int shim_id_check(const char *what, const char *id, struct cf_err *err)
{
	size_t n = id ? strlen(id) : 0;

	if (!n || n > SHIM_ID_MAX)
		return cf_fail(err, CF_INVALID_ARGUMENT, "%s: 1 to %u characters", what,
		               SHIM_ID_MAX);
	for (size_t i = 0; i < n; i++) {
		bool is_inner = i && i + 1 < n && is_alnum(id[i - 1]) && strchr("._-", id[i]);

		/* two separators in a row occur in real pod names ("a--b"); ".." never may */
		if (i && i + 1 < n && (id[i] == '-' || id[i] == '_'))
			is_inner = true;
		if (!is_alnum(id[i]) && !is_inner)
			return cf_fail(err, CF_INVALID_ARGUMENT, "%s \"%s\": not an identifier",
			               what, id);
	}
	return 0;
}

struct cf_view bundle_annotation(const struct bundle *b, const char *key)
{
	return cf_json_str(cf_json_get(cf_json_get(b->config, "annotations"), key));
}

static struct cf_view first_annotation(const struct bundle *b, const char *const *keys, size_t n)
{
	struct cf_view v = { NULL, 0 };

	for (size_t i = 0; i < n && !v.size; i++)
		v = bundle_annotation(b, keys[i]);
	return v;
}

struct cf_view bundle_image(const struct bundle *b)
{
	return first_annotation(b, image_keys, CF_ARRAY_LEN(image_keys));
}

struct cf_view bundle_netns(const struct bundle *b)
{
	const struct cf_json *list = cf_json_get(cf_json_get(b->config, "linux"), "namespaces");

	for (size_t i = 0; i < cf_json_len(list); i++) {
		const struct cf_json *ns = cf_json_at(list, i);

		if (cf_view_eq_str(cf_json_str(cf_json_get(ns, "type")), "network"))
			return cf_json_str(cf_json_get(ns, "path"));
	}
	return cf_view(NULL, 0);
}

const char *bundle_kind_name(enum bundle_kind kind)
{
	static const char *const names[] = { "pod_sandbox", "pod_container", "single_container" };

	return names[kind];
}

static int classify(struct bundle *b, const char *id, struct cf_err *err)
{
	struct cf_view kind = first_annotation(b, kind_keys, CF_ARRAY_LEN(kind_keys));
	struct cf_view sandbox = first_annotation(b, sandbox_keys, CF_ARRAY_LEN(sandbox_keys));

	if (cf_view_has_nul(sandbox))
		return cf_fail(err, CF_INVALID_ARGUMENT, "sandbox id holds a NUL");
	b->kind = BUNDLE_SINGLE;
	if (cf_view_eq_str(kind, "sandbox"))
		b->kind = BUNDLE_SANDBOX;
	if (cf_view_eq_str(kind, "container"))
		b->kind = BUNDLE_CONTAINER;
	if (b->kind == BUNDLE_CONTAINER && !sandbox.size)
		return cf_fail(err, CF_INVALID_ARGUMENT, "container of a pod without a sandbox id");
	b->sandbox_id = sandbox.size ? cf_view_dup(sandbox) : cf_strdup(id);
	return shim_id_check("sandbox id", b->sandbox_id, err);
}

int bundle_parse(struct cf_view text, const char *id, struct bundle **ret, struct cf_err *err)
{
	cf_cleanup(bundle_freep) struct bundle *b = cf_zalloc(sizeof(*b));
	int r;

	if (text.size) {
		r = cf_json_parse(text, BUNDLE_CONFIG_MAX, &b->config, err);
		if (r < 0)
			return cf_wrap(err, r, "config.json");
	}
	r = classify(b, id, err);
	if (r < 0)
		return cf_wrap(err, r, "config.json");
	*ret = cf_take(&b);
	return 0;
}

int bundle_load(const char *dir, const char *id, struct bundle **ret, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/config.json", dir);
	struct cf_buf text = { .max = BUNDLE_CONFIG_MAX + 1 };
	int r = cf_read_file(path, BUNDLE_CONFIG_MAX, &text, err);

	if (r == 0)
		r = bundle_parse(cf_buf_view(&text), id, ret, err);
	cf_buf_fini(&text);
	return r;
}

struct bundle *bundle_free(struct bundle *b)
{
	if (!b)
		return NULL;
	cf_json_free(b->config);
	free(b->sandbox_id);
	free(b);
	return NULL;
}
