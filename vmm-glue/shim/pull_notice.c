/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/shim/pull_notice.h"

#include "base/json.h"
#include "base/str.h"

#define VERSION    1u
#define SHA256_HEX 64u

static bool is_sha256(struct cf_view text)
{
	uint8_t digest[SHA256_HEX / 2];
	size_t prefix = strlen("sha256:");

	return cf_view_starts_with(text, "sha256:") && text.size == prefix + SHA256_HEX &&
	       cf_hex_decode(cf_view_sub(text, prefix, SHA256_HEX), digest, sizeof(digest), NULL) ==
	               0;
}

static int read_notice(const struct cf_json *root, struct pull_notice *ret, struct cf_err *err)
{
	struct cf_view event = { 0 }, image = { 0 }, manifest = { 0 };
	uint64_t version = 0;
	int r = cf_json_need_u64(root, "version", &version, err);

	if (r == 0)
		r = cf_json_need_str(root, "event", &event, err);
	if (r == 0 && (version != VERSION || !cf_view_eq_str(event, "layer")))
		r = cf_fail(err, CF_UNIMPLEMENTED, "a notice of another kind");
	if (r == 0)
		r = cf_json_need_str(root, "image", &image, err);
	if (r == 0)
		r = cf_json_opt_str(root, "manifest", &manifest, err);
	if (r < 0)
		return r;
	if (!image.size || image.size > PULL_NOTICE_IMAGE_MAX)
		return cf_fail(err, CF_INVALID_ARGUMENT, "a reference of %zu bytes", image.size);
	if (manifest.size && !is_sha256(manifest))
		return cf_fail(err, CF_INVALID_ARGUMENT, "the manifest's digest is none");
	ret->image = cf_view_dup(image);
	ret->manifest = manifest.size ? cf_view_dup(manifest) : NULL;
	return 0;
}

int pull_notice_parse(struct cf_view text, struct pull_notice *ret, struct cf_err *err)
{
	cf_cleanup(cf_json_freep) struct cf_json *root = NULL;
	int r = cf_json_parse(text, PULL_NOTICE_MAX, &root, err);

	if (r == 0)
		r = read_notice(root, ret, err);
	return r < 0 ? cf_wrap(err, r, "notice of a pull") : 0;
}

void pull_notice_fini(struct pull_notice *n)
{
	free(n->image);
	free(n->manifest);
	*n = (struct pull_notice){ .image = NULL };
}
