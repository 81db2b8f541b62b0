/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/guest/guest_trust.h"

#include "base/fd.h"
#include "base/log.h"
#include "vmm-glue/guest/pcr_extend.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#define SNP_HOST_DATA_AT    192u /* SEV-SNP ABI, ATTESTATION_REPORT */
#define SNP_HOST_DATA_SIZE  32u
#define TDX_MRCONFIGID_AT   232u /* quote header 48, then TD report body at 184 */
#define TDX_MRCONFIGID_SIZE 48u
#define REPORT_DATA_SIZE    64u

/* ---- finding ---- */

static bool is_disk_name(const char *name)
{
	return cf_starts_with(name, "vd") || cf_starts_with(name, "sd");
}

/* Appends the text. Return: 0, INITDATA_E_NO_DISK, negative. */
static int read_disk(const char *path, struct cf_buf *text, struct cf_err *err)
{
	cf_cleanup(cf_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	int r;

	if (fd < 0)
		return cf_fail_errno(err, errno, "%s", path);
	r = initdata_read_disk(fd, text, err);
	return r < 0 ? cf_wrap(err, r, "%s", path) : r;
}

/* The one disk with the magic; a second would let the host choose later which is meant. */
static int scan_disks(struct cf_buf *text, struct cf_err *err)
{
	DIR *dir = opendir("/sys/class/block");
	struct dirent *e;
	unsigned found = 0;
	int r = 0;

	if (!dir)
		return INITDATA_E_NO_DISK;
	while (r >= 0 && (e = readdir(dir))) {
		cf_cleanup(cf_freep) char *path = NULL;

		if (!is_disk_name(e->d_name))
			continue;
		path = cf_asprintf("/dev/%s", e->d_name);
		r = read_disk(path, text, err);
		if (r == 0 && ++found > 1)
			r = cf_fail(err, CF_INVALID_ARGUMENT, "more than one initdata disk");
	}
	closedir(dir);
	if (r < 0)
		return r;
	return found ? 0 : INITDATA_E_NO_DISK;
}

static int find_initdata(const struct guest_trust_opts *opts, struct initdata **ret,
                         struct cf_err *err)
{
	struct cf_buf text = { .max = INITDATA_TEXT_MAX };
	int r;

	r = opts->disk ? read_disk(opts->disk, &text, err) : scan_disks(&text, err);
	if (r == INITDATA_E_NO_DISK)
		r = cf_fail(err, CF_NOT_FOUND, "no initdata disk");
	if (r == 0)
		r = initdata_parse(cf_buf_view(&text), ret, err);
	cf_buf_fini(&text);
	return r;
}

/* ---- binding ---- */

int guest_report_field(enum guest_tee tee, struct cf_view report, struct cf_view *ret,
                       struct cf_err *err)
{
	size_t at = tee == GUEST_TEE_SNP ? SNP_HOST_DATA_AT : TDX_MRCONFIGID_AT;
	size_t size = tee == GUEST_TEE_SNP ? SNP_HOST_DATA_SIZE : TDX_MRCONFIGID_SIZE;

	*ret = cf_view_sub(report, at, size);
	if (ret->size != size)
		return cf_fail(err, CF_DATA_LOSS, "a report of %zu bytes", report.size);
	return 0;
}

int guest_report_check(struct cf_view field, struct cf_view digest, struct cf_err *err)
{
	uint8_t want[CF_HASH_SIZE_MAX] = { 0 };

	if (digest.size)
		initdata_field(digest, want, field.size);
	if (cf_equal_ct(field, cf_view(want, field.size)))
		return 0;
	return cf_fail(err, CF_UNAUTHENTICATED,
	               "the initdata is not what this machine was launched with");
}

/* Needs: tee. Asks the kernel for a report of our own, whose nonce does not matter. */
static int read_report(const char *tsm, struct cf_buf *ret, enum guest_tee *ret_tee,
                       struct cf_err *err)
{
	static const uint8_t nonce[REPORT_DATA_SIZE];
	cf_cleanup(cf_freep) char *dir = cf_asprintf("%s/coffer-init", tsm);
	cf_cleanup(cf_freep) char *in = cf_asprintf("%s/inblob", dir);
	cf_cleanup(cf_freep) char *out = cf_asprintf("%s/outblob", dir);
	cf_cleanup(cf_freep) char *provider = cf_asprintf("%s/provider", dir);
	cf_cleanup(cf_closep) int fd = -1;
	struct cf_buf name = { .max = 64 };
	int r;

	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return cf_fail_errno(err, errno, "%s", dir);
	fd = open(in, O_WRONLY | O_CLOEXEC);
	r = fd < 0 ? cf_fail_errno(err, errno, "%s", in)
	           : cf_write_all(fd, cf_view(nonce, sizeof(nonce)), err);
	if (r == 0)
		r = cf_read_file(out, GUEST_REPORT_MAX, ret, err);
	if (r == 0)
		r = cf_read_file(provider, 63, &name, err);
	if (r == 0 && cf_view_starts_with(cf_buf_view(&name), "sev_guest"))
		*ret_tee = GUEST_TEE_SNP;
	else if (r == 0 && cf_view_starts_with(cf_buf_view(&name), "tdx_guest"))
		*ret_tee = GUEST_TEE_TDX;
	else if (r == 0)
		r = cf_fail(err, CF_UNIMPLEMENTED, "TEE of an unknown kind");
	cf_buf_fini(&name);
	(void)rmdir(dir);
	return r;
}

static int bind_report(const char *tsm, struct cf_view digest, struct cf_err *err)
{
	struct cf_buf report = { .max = GUEST_REPORT_MAX };
	struct cf_view field;
	enum guest_tee tee = GUEST_TEE_SNP;
	int r;

	r = read_report(tsm, &report, &tee, err);
	if (r == 0)
		r = guest_report_field(tee, cf_buf_view(&report), &field, err);
	if (r == 0)
		r = guest_report_check(field, digest, err);
	cf_buf_fini(&report);
	return r;
}

/*
 * Kernels offer the report folder whether or not a TEE's driver found its hardware; without one a
 * report cannot even be begun. Any other failure counts as a TEE, so that binding fails, not passes.
 */
static bool has_tee_driver(const char *tsm)
{
	cf_cleanup(cf_freep) char *dir = cf_asprintf("%s/coffer-init", tsm);

	return mkdir(dir, 0700) == 0 || errno != ENXIO;
}

/* @d NULL: there is none. */
static int bind(const struct guest_trust_opts *opts, const struct initdata *d, struct cf_err *err)
{
	uint8_t event[32], digest[CF_HASH_SIZE_MAX];
	struct cf_view bound = { 0 };
	bool has_tee = opts->tsm && access(opts->tsm, F_OK) == 0 && has_tee_driver(opts->tsm);
	bool has_tpm = opts->tpm && access(opts->tpm, F_OK) == 0;
	int r = 0;

	if (d) {
		initdata_digest(d, digest);
		bound = cf_view(digest, cf_hash_size(d->alg));
	}
	initdata_pcr8_event(d ? cf_buf_view(&d->text) : (struct cf_view){ 0 }, event);
	if (has_tee)
		r = bind_report(opts->tsm, bound, err);
	if (r == 0 && has_tpm)
		r = pcr_extend(opts->tpm, INITDATA_PCR, event, err);
	if (r == 0 && !has_tee && !has_tpm)
		cf_log_warn("no TEE and no TPM: initdata is bound to nothing");
	return r < 0 ? cf_wrap(err, r, "initdata") : 0;
}

/* ---- using ---- */

static int write_part(const char *dir, const char *name, struct cf_view text, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/%s", dir, name);

	return cf_write_file_atomic(path, text, 0600, err);
}

static int write_parts(const char *run_dir, const struct initdata *d, struct cf_err *err)
{
	static const char *const parts[] = { "aa.toml", "cdh.toml" };
	cf_cleanup(cf_freep) char *dir = cf_asprintf("%s/initdata", run_dir);
	int r;

	r = cf_mkdir_p(dir, 0700, err);
	if (r == 0)
		r = write_part(dir, "initdata.toml", cf_buf_view(&d->text), err);
	for (size_t i = 0; r == 0 && i < CF_ARRAY_LEN(parts); i++)
		if (initdata_get(d, parts[i]))
			r = write_part(dir, parts[i], cf_view_str(initdata_get(d, parts[i])), err);
	return r;
}

static int read_policies(const struct initdata *d, struct guest_policies *ret, struct cf_err *err)
{
	const char *text = initdata_get(d, "policy.toml");
	const char *rego = initdata_get(d, "policy.rego");
	int r = 0;

	if (text)
		r = native_policy_parse(cf_view_str(text), &ret->native, err);
	if (r == 0 && rego)
		r = guest_rego_new(cf_view_str(rego), &ret->rego, err);
	if (r < 0) {
		ret->native = native_policy_free(ret->native);
		return r;
	}
	return 0;
}

int guest_trust_bind(const struct guest_trust_opts *opts, struct guest_policies *ret,
                     struct cf_err *err)
{
	cf_cleanup(initdata_freep) struct initdata *d = NULL;
	struct cf_err bind_err;
	int found, r;

	*ret = (struct guest_policies){ 0 };
	found = find_initdata(opts, &d, err);
	r = bind(opts, found == 0 ? d : NULL, &bind_err);
	if (r < 0) {
		*err = bind_err;
		return r;
	}
	if (found < 0)
		return GUEST_TRUST_NONE;
	/* Bound, but unusable: the guest shows what it was given and serves nothing. */
	if (write_parts(opts->run_dir, d, err) < 0 || read_policies(d, ret, err) < 0)
		return GUEST_TRUST_NONE;
	return 0;
}
