/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/cosign_key.h"

#include "base/json.h"
#include "base/secretbox.h"
#include "base/str.h"

static const char *const kinds[] = { "SIGSTORE", "COSIGN" };

/* What lies between the lines of the PEM form; false when it is of another. */
static bool find_body(struct cf_view text, struct cf_view *ret)
{
	for (size_t i = 0; text.size && i < CF_ARRAY_LEN(kinds); i++) {
		cf_cleanup(cf_freep) char *begin =
			cf_asprintf("-----BEGIN ENCRYPTED %s PRIVATE KEY-----", kinds[i]);
		cf_cleanup(cf_freep) char *end =
			cf_asprintf("-----END ENCRYPTED %s PRIVATE KEY-----", kinds[i]);
		const uint8_t *from = memmem(text.data, text.size, begin, strlen(begin));
		size_t at = from ? (size_t)(from - text.data) + strlen(begin) : 0;
		struct cf_view rest = cf_view_sub(text, at, text.size);
		const uint8_t *to =
			from && rest.size ? memmem(rest.data, rest.size, end, strlen(end)) : NULL;

		if (!to)
			continue;
		*ret = cf_view_sub(rest, 0, (size_t)(to - rest.data));
		return true;
	}
	return false;
}

bool cosign_key_is(struct cf_view text)
{
	struct cf_view body;

	return text.size <= COSIGN_KEY_MAX && find_body(text, &body);
}

static int decode_body(struct cf_view body, struct cf_buf *ret, struct cf_err *err)
{
	struct cf_buf clean = { .max = COSIGN_KEY_MAX };

	for (size_t i = 0; i < body.size; i++) {
		if (!strchr("\r\n \t", body.data[i]) || !body.data[i])
			cf_buf_add_byte(&clean, body.data[i]);
	}
	int r = cf_b64_decode(CF_B64_STD, cf_buf_view(&clean), ret, err);

	cf_buf_fini(&clean);
	return r;
}

static int derive(const struct cf_json *root, struct cf_view password, struct cf_secret **ret,
                  struct cf_err *err)
{
	const struct cf_json *kdf, *params;
	struct cf_buf salt = { 0 };
	struct cf_view name, text;
	uint64_t n = 0, r = 0, p = 0;
	int ret_code = cf_json_need(root, "kdf", CF_JSON_OBJECT, &kdf, err);

	if (ret_code == 0)
		ret_code = cf_json_need_str(kdf, "name", &name, err);
	if (ret_code == 0 && !cf_view_eq_str(name, "scrypt"))
		ret_code = cf_fail(err, CF_INVALID_ARGUMENT, "its kdf is not scrypt");
	if (ret_code == 0)
		ret_code = cf_json_need(kdf, "params", CF_JSON_OBJECT, &params, err);
	if (ret_code == 0)
		ret_code = cf_json_need_u64(params, "N", &n, err);
	if (ret_code == 0)
		ret_code = cf_json_need_u64(params, "r", &r, err);
	if (ret_code == 0)
		ret_code = cf_json_need_u64(params, "p", &p, err);
	if (ret_code == 0)
		ret_code = cf_json_need_str(kdf, "salt", &text, err);
	if (ret_code == 0)
		ret_code = cf_b64_decode(CF_B64_STD, text, &salt, err);
	if (ret_code == 0 && (r > UINT32_MAX || p > UINT32_MAX))
		ret_code = cf_fail(err, CF_INVALID_ARGUMENT, "scrypt: no such parameters");
	if (ret_code == 0)
		ret_code = cf_scrypt(password, cf_buf_view(&salt), n, (uint32_t)r, (uint32_t)p, ret,
		                     err);
	cf_buf_fini(&salt);
	return ret_code;
}

static int open_box(const struct cf_json *root, const struct cf_secret *key, struct cf_secret **ret,
                    struct cf_err *err)
{
	const struct cf_json *cipher;
	struct cf_buf nonce = { 0 }, box = { 0 };
	struct cf_view name, text;
	int r = cf_json_need(root, "cipher", CF_JSON_OBJECT, &cipher, err);

	if (r == 0)
		r = cf_json_need_str(cipher, "name", &name, err);
	if (r == 0 && !cf_view_eq_str(name, "nacl/secretbox"))
		r = cf_fail(err, CF_INVALID_ARGUMENT, "its cipher is not nacl/secretbox");
	if (r == 0)
		r = cf_json_need_str(cipher, "nonce", &text, err);
	if (r == 0)
		r = cf_b64_decode(CF_B64_STD, text, &nonce, err);
	if (r == 0)
		r = cf_json_need_str(root, "ciphertext", &text, err);
	if (r == 0)
		r = cf_b64_decode(CF_B64_STD, text, &box, err);
	if (r == 0)
		r = cf_secretbox_open(key, cf_buf_view(&nonce), cf_buf_view(&box), ret, err);
	if (r == -CF_DATA_LOSS)
		r = cf_fail(err, CF_PERMISSION_DENIED, "the password does not open it");
	cf_buf_fini(&nonce);
	cf_buf_fini(&box);
	return r;
}

int cosign_key_open(struct cf_view text, struct cf_view password, struct cf_pkey **ret,
                    struct cf_err *err)
{
	cf_cleanup(cf_secret_freep) struct cf_secret *key = NULL;
	cf_cleanup(cf_secret_freep) struct cf_secret *plain = NULL;
	cf_cleanup(cf_json_freep) struct cf_json *root = NULL;
	struct cf_buf json = { .max = COSIGN_KEY_MAX };
	struct cf_view body;
	int r = 0;

	if (text.size > COSIGN_KEY_MAX || !find_body(text, &body))
		return cf_fail(err, CF_INVALID_ARGUMENT, "no key of cosign's");
	r = decode_body(body, &json, err);
	if (r == 0)
		r = cf_json_parse(cf_buf_view(&json), COSIGN_KEY_MAX, &root, err);
	if (r == 0)
		r = derive(root, password, &key, err);
	if (r == 0)
		r = open_box(root, key, &plain, err);
	if (r == 0)
		r = cf_pkey_parse(cf_secret_view(plain), ret, err);
	cf_buf_fini(&json);
	return r < 0 ? cf_wrap(err, r, "cosign key") : 0;
}
