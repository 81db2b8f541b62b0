/* SPDX-License-Identifier: Apache-2.0 */
#include "kbs/runtime_data.h"

#include "base/crypto.h"

#include <string.h>

/* "additional-evidence" sorts before every member that clients send. */
int runtime_data_digest(const struct cf_json *runtime, const struct cf_json *additional,
                        uint8_t ret[RUNTIME_DIGEST_SIZE], struct cf_err *err)
{
	cf_cleanup(cf_buf_fini) struct cf_buf object = { 0 }, canonical = { 0 };
	cf_cleanup(cf_json_freep) struct cf_json *doc = NULL;
	struct cf_jw w = { .out = &object };
	const struct cf_json *value;
	const char *key;
	void *it = NULL;
	int r;

	if (cf_json_type(runtime) != CF_JSON_OBJECT)
		return cf_fail(err, CF_INVALID_ARGUMENT, "runtime-data: no object");
	cf_jw_obj(&w);
	cf_jw_kview(&w, "additional-evidence", cf_json_str(additional));
	while (cf_json_next(runtime, &it, &key, &value)) {
		if (!strcmp(key, "additional-evidence"))
			continue;
		cf_jw_key(&w, key);
		cf_jw_json(&w, value);
	}
	cf_jw_end_obj(&w);
	r = cf_buf_check(&object, "runtime-data", err);
	if (r == 0)
		r = cf_json_parse(cf_buf_view(&object), 0, &doc, err);
	if (r < 0)
		return r;
	cf_json_print_sorted(doc, &canonical);
	cf_hash(CF_SHA384, cf_buf_view(&canonical), ret);
	return cf_buf_check(&canonical, "runtime-data", err);
}

int runtime_data_digest_text(struct cf_view text, uint8_t ret[RUNTIME_DIGEST_SIZE],
                             struct cf_err *err)
{
	cf_cleanup(cf_json_freep) struct cf_json *doc = NULL;
	cf_cleanup(cf_buf_fini) struct cf_buf canonical = { 0 };

	if (cf_json_parse(text, 0, &doc, NULL) < 0 || cf_json_type(doc) != CF_JSON_OBJECT) {
		cf_hash(CF_SHA384, text, ret);
		return 0;
	}
	if (cf_json_get(doc, "nonce") && cf_json_get(doc, "tee-pubkey"))
		return runtime_data_digest(doc, cf_json_get(doc, "additional-evidence"), ret, err);
	cf_json_print_sorted(doc, &canonical);
	cf_hash(CF_SHA384, cf_buf_view(&canonical), ret);
	return cf_buf_check(&canonical, "runtime-data", err);
}
