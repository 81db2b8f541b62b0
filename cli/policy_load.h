/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the policy commands share: policies from files and folders, and documents. */
#include "cli/cli.h"
#include "policy/policy.h"

#define POLICY_FILES_MAX POLICY_MODULES_MAX

struct policy_job {
	enum policy_version version;
	bool is_strict, is_json, is_quiet, wants_trace;
	unsigned trace_lines; /* printed so far */
	struct cf_strv files; /* policies */
	const char *data, *input, *input_term, *query, *references;
	struct cf_buf texts[POLICY_FILES_MAX], data_text, input_text;
	struct policy_document *reference_table;
	struct policy *policy;
	struct cf_buf errors; /* JSON array members, as OPA lists them */
	unsigned error_count;
};

/* Adds a .rego file, or all of them below a folder; JSON files become data. */
cf_must_use int policy_job_add(struct policy_job *job, const char *path, struct cf_err *err);
/* Reads everything and compiles. Messages went to stderr, unless is_quiet, and to .errors. */
cf_must_use int policy_job_load(struct policy_job *job, struct cf_err *err);
/* Compiles .texts[0] alone, called @name in messages. */
cf_must_use int policy_job_compile_text(struct policy_job *job, const char *name,
                                        struct cf_err *err);
void policy_job_fini(struct policy_job *job);
/* {"errors": [..]} on stdout for the messages so far, or for @err. */
void policy_job_print_errors(struct policy_job *job, const struct policy_message *m,
                             const struct cf_err *err);
/* The request for this job; borrowed from it. */
struct policy_request policy_job_request(struct policy_job *job);
#define POLICY_TRACE_LINES_MAX 100000u /* on stderr; more are counted in silence */

/*
 * A policy's fault is bad data (9), also a conflict that shows when it is evaluated; a budget that ran
 * out is a limit (20): trying again does not help.
 */
int policy_job_exit(const struct cf_err *err);
