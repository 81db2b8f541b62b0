/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Verifiers: one row per TEE, each turning evidence into a verdict. They do no I/O: what they may
 * believe (roots, reference values, the session's binding) is handed in. Evidence is hostile.
 */
#include "base/crypto.h"
#include "base/json.h"
#include "kbs/verdict.h"

#define EVIDENCE_SIZE_MAX (2u << 20) /* bytes of one TEE's evidence */

struct tpm_roots;
struct tpm_binding;

struct verify_input {
	struct cf_view evidence; /* JSON, or for some TEEs the bare report */
	/* The digest of the runtime data, whole: each verifier cuts or pads it to its field. .data NULL:
	   not compared. */
	struct cf_view report_data;
	struct cf_view init_data; /* the text; .data NULL: none was sent */
	bool init_data_known; /* false: nobody said whether there is any (offline): not judged */
	/* {"id": value or [values]}; NULL: no reference values, measurements are not judged */
	const struct cf_json *references;
	const struct tpm_roots *tpm_roots; /* may be NULL */
	const struct tpm_binding
		*tpm_binding;      /* of this session; NULL: no activation was offered */
	const char *binding_error; /* why none was offered; may be NULL */
	/* Offline: nobody holds the session's credential, and anchors are what the caller points at. */
	bool is_offline;
	/* SubjectPublicKeyInfo, DER, of attestation keys that the caller trusts by name. */
	const struct cf_view *trusted_aks;
	size_t trusted_ak_count;
	struct cf_cert *const *extra_roots; /* vendor roots given by the caller */
	size_t extra_root_count;
	int64_t now; /* seconds since 1970 */
};

struct verifier_ops {
	const char *tee;
	const char *submod; /* class and index: "cpu0" */
	bool is_sample;     /* proves nothing: refused unless configured */
	/*
	 * Fills @ret (initialised by the caller) with checks, claims and trust vector.
	 * Return: 0 with any verdict, -CF_INVALID_ARGUMENT (malformed evidence), -CF_RESOURCE_EXHAUSTED.
	 */
	int (*verify)(const struct verify_input *in, struct verdict *ret, struct cf_err *err);
};

/* NULL when nobody verifies @tee. */
const struct verifier_ops *verifier_find(struct cf_view tee);
/* All rows, ended by one without tee. */
extern const struct verifier_ops *const verifier_table[];

extern const struct verifier_ops verifier_sample;
extern const struct verifier_ops verifier_tpm;
extern const struct verifier_ops verifier_snp;
extern const struct verifier_ops verifier_tdx;
extern const struct verifier_ops verifier_sgx;
extern const struct verifier_ops verifier_az_snp;
extern const struct verifier_ops verifier_az_tdx;

/* ---- helpers for verifiers ---- */

/* Is @value among the reference values of @id? A stored scalar counts as a list of one. */
bool reference_has(const struct cf_json *references, const char *id, struct cf_view value);
/* The stored values, joined by " or ", for messages; NULL when there is none. The caller frees. */
char *reference_text(const struct cf_json *references, const char *id);
bool reference_exists(const struct cf_json *references, const char *id);
/* @v cut to @size or padded with zeroes on the right. */
void verifier_regularize(struct cf_view v, uint8_t *out, size_t size);
/*
 * The check that every TEE has: does the evidence answer this session? Adds "report-data".
 * @got is the TEE's field, @size bytes.
 */
void verifier_check_report_data(const struct verify_input *in, struct cf_view got,
                                struct verdict *v);
