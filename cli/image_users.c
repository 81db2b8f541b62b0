/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/image_users.h"

#include "base/fd.h"

#define PASSWD_FIELDS 7u
#define GROUP_FIELDS  4u

/* Where accounts are locked, or the hash is in the shadow file. */
static bool is_no_password(const char *field)
{
	return !*field || cf_streq(field, "x") || cf_streq(field, "*") || cf_streq(field, "!");
}

static int check_line(const char *line, size_t want, struct cf_err *err)
{
	cf_cleanup(cf_strv_fini) struct cf_strv fields = { 0 };

	if (!*line)
		return 0;
	cf_strv_split(&fields, cf_view_str(line), ':');
	if (fields.count != want || !*fields.items[0])
		return cf_fail(err, CF_INVALID_ARGUMENT, "line \"%.60s\" has not %zu fields", line,
		               want);
	if (!is_no_password(fields.items[1]))
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "the line of \"%.60s\" holds a password; everybody could read it",
		               fields.items[0]);
	return 0;
}

static int check(struct cf_view text, size_t fields, struct cf_err *err)
{
	cf_cleanup(cf_strv_fini) struct cf_strv lines = { 0 };
	int r = 0;

	if (!text.size || cf_view_has_nul(text) || !cf_view_is_utf8(text))
		return cf_fail(err, CF_INVALID_ARGUMENT, "no text");
	cf_strv_split(&lines, text, '\n');
	for (size_t i = 0; r == 0 && i < lines.count; i++)
		r = check_line(lines.items[i], fields, err);
	return r;
}

int image_users_add(struct oci_pairs *annotations, const char *key, const char *path,
                    struct cf_err *err)
{
	cf_cleanup(cf_buf_fini) struct cf_buf text = { .max = IMAGE_USERS_MAX + 1 };
	cf_cleanup(cf_buf_fini) struct cf_buf encoded = { 0 };
	int r = cf_read_file(path, IMAGE_USERS_MAX, &text, err);

	if (r == -CF_RESOURCE_EXHAUSTED)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED,
		               "%s: over %u bytes; keep the lines that are needed", path,
		               IMAGE_USERS_MAX);
	if (r < 0)
		return r;
	r = check(cf_buf_view(&text),
	          cf_streq(key, IMAGE_USERS_PASSWD) ? PASSWD_FIELDS : GROUP_FIELDS, err);
	if (r < 0)
		return cf_wrap(err, r, "%s", path);
	cf_b64_encode(CF_B64_STD, cf_buf_view(&text), &encoded);
	oci_pairs_set(annotations, key, (const char *)encoded.data);
	return 0;
}
