/* SPDX-License-Identifier: Apache-2.0 */
#include "kbs/trust_dir.h"

#include "base/fd.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

#define PEM_CERT_BEGIN "-----BEGIN CERTIFICATE-----"
#define PEM_CERT_END   "-----END CERTIFICATE-----"

void trust_dir_fini(struct trust_dir *t)
{
	t->tpm_roots = tpm_roots_free(t->tpm_roots);
	for (size_t i = 0; i < t->root_count; i++)
		cf_cert_free(t->roots[i]);
	for (size_t i = 0; i < t->ak_count; i++)
		cf_buf_fini(&t->aks[i]);
	cf_json_free(t->measurement);
	*t = (struct trust_dir){ 0 };
}

static int add_cert(struct trust_dir *t, struct cf_view text, struct cf_err *err)
{
	int r;

	if (t->root_count >= TPM_ROOTS_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "over %u certificates", TPM_ROOTS_MAX);
	r = cf_cert_parse(text, &t->roots[t->root_count], err);
	if (r == 0)
		t->root_count++;
	return r;
}

/* Each certificate of a PEM file. */
static int add_pem_certs(struct trust_dir *t, const char *text, struct cf_err *err)
{
	int r = 0;

	for (const char *at = strstr(text, PEM_CERT_BEGIN); r == 0 && at;
	     at = strstr(at + 1, PEM_CERT_BEGIN)) {
		const char *end = strstr(at, PEM_CERT_END);

		if (!end)
			return cf_fail(err, CF_INVALID_ARGUMENT, "a certificate without its end");
		r = add_cert(t, cf_view(at, (size_t)(end - at) + strlen(PEM_CERT_END)), err);
	}
	return r;
}

static int add_ak(struct trust_dir *t, struct cf_view text, struct cf_err *err)
{
	cf_cleanup(cf_pkey_freep) struct cf_pkey *key = NULL;
	int r;

	if (t->ak_count >= TPM_ROOTS_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "over %u keys", TPM_ROOTS_MAX);
	r = cf_pkey_parse(text, &key, err);
	if (r == 0)
		r = cf_pkey_to_spki_der(key, &t->aks[t->ak_count], err);
	if (r == 0)
		t->ak_count++;
	return r;
}

static int add_json(struct trust_dir *t, struct cf_view text, struct cf_err *err)
{
	cf_cleanup(cf_json_freep) struct cf_json *doc = NULL;
	int r = cf_json_parse(text, TRUST_FILE_SIZE_MAX, &doc, err);

	if (r < 0 || cf_json_type(cf_json_get(doc, "reference")) != CF_JSON_OBJECT)
		return 0; /* somebody else's file */
	if (t->measurement)
		return cf_fail(err, CF_INVALID_ARGUMENT, "two files with reference values");
	t->measurement = cf_take(&doc);
	return 0;
}

static bool has_suffix(const char *name, const char *const *list)
{
	for (; *list; list++)
		if (cf_ends_with(name, *list))
			return true;
	return false;
}

static int add_file(struct trust_dir *t, const char *dir, const char *name, struct cf_err *err)
{
	static const char *const certs[] = { ".pem", ".crt", ".cer", ".der", NULL };
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/%s", dir, name);
	cf_cleanup(cf_buf_fini) struct cf_buf text = { .max = TRUST_FILE_SIZE_MAX };
	bool is_json = cf_ends_with(name, ".json");
	struct stat st;
	int r;

	if (stat(path, &st) < 0 || !S_ISREG(st.st_mode) || (!is_json && !has_suffix(name, certs)))
		return 0;
	r = cf_read_file(path, TRUST_FILE_SIZE_MAX, &text, err);
	if (r < 0)
		return r;
	if (is_json)
		r = add_json(t, cf_buf_view(&text), err);
	else if (cf_view_has_nul(cf_buf_view(&text)) || text.size == 0)
		r = cf_starts_with(name, "ak") ? add_ak(t, cf_buf_view(&text), err)
		                               : add_cert(t, cf_buf_view(&text), err);
	else if (strstr((const char *)text.data, PEM_CERT_BEGIN))
		r = add_pem_certs(t, (const char *)text.data, err);
	else if (cf_starts_with(name, "ak"))
		r = add_ak(t, cf_buf_view(&text), err);
	return r < 0 ? cf_wrap(err, r, "%s", path) : 0;
}

static bool is_self_signed(const struct cf_cert *c)
{
	cf_cleanup(cf_freep) char *subject = cf_cert_subject(c);
	cf_cleanup(cf_freep) char *issuer = cf_cert_issuer(c);

	return cf_streq(subject, issuer);
}

static int make_tpm_roots(struct trust_dir *t, struct cf_err *err)
{
	bool any = false;
	int r = 0;

	t->tpm_roots = cf_zalloc(sizeof(*t->tpm_roots));
	for (size_t i = 0; i < t->root_count; i++)
		any |= is_self_signed(t->roots[i]);
	for (size_t i = 0; r == 0 && i < t->root_count; i++) {
		cf_cleanup(cf_buf_fini) struct cf_buf der = { 0 };

		r = cf_cert_to_der(t->roots[i], &der, err);
		if (r == 0 && any && !is_self_signed(t->roots[i]))
			r = cf_cert_parse(cf_buf_view(&der),
			                  &t->tpm_roots->extra[t->tpm_roots->extra_count++], err);
		else if (r == 0)
			r = tpm_roots_add(t->tpm_roots, cf_buf_view(&der), TPM_ROOT_OPERATOR_VTPM,
			                  NULL, false, err);
	}
	return r;
}

static void closedirp(DIR **d)
{
	if (*d)
		closedir(*d);
}

int trust_dir_read(const char *path, struct trust_dir *ret, struct cf_err *err)
{
	cf_cleanup(closedirp) DIR *dir = opendir(path);
	cf_cleanup(trust_dir_fini) struct trust_dir t = { 0 };
	const struct dirent *entry;
	size_t files = 0;
	int r = 0;

	if (!dir)
		return cf_fail_errno(err, errno, "%s", path);
	while (r == 0 && (entry = readdir(dir))) {
		if (++files > TRUST_FILES_MAX)
			return cf_fail(err, CF_RESOURCE_EXHAUSTED, "%s: over %u files", path,
			               TRUST_FILES_MAX);
		r = add_file(&t, path, entry->d_name, err);
	}
	if (r == 0)
		r = make_tpm_roots(&t, err);
	if (r < 0)
		return r;
	*ret = t;
	t = (struct trust_dir){ 0 };
	return 0;
}
