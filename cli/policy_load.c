/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/policy_load.h"

#include "base/fd.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#define POLICY_FILE_MAX (16u << 20)
#define POLICY_DIR_NEST 16u

static int read_text(const char *path, struct cf_buf *ret, struct cf_err *err)
{
	int r;

	ret->max = POLICY_FILE_MAX + 1;
	r = strcmp(path, "-") == 0 ? cf_read_all(STDIN_FILENO, POLICY_FILE_MAX, ret, err)
	                           : cf_read_file(path, POLICY_FILE_MAX, ret, err);
	return r < 0 ? cf_wrap(err, r, "%s", path) : 0;
}

static int is_file(const struct dirent *e)
{
	return e->d_name[0] != '.';
}

static int add_dir(struct policy_job *job, const char *path, unsigned nest, struct cf_err *err)
{
	struct dirent **list;
	struct stat st;
	int r = 0, n = scandir(path, &list, is_file, alphasort);

	if (n < 0)
		return cf_fail_errno(err, errno, "%s", path);
	for (int i = 0; i < n; i++) {
		cf_cleanup(cf_freep) char *full = cf_asprintf("%s/%s", path, list[i]->d_name);

		if (r >= 0 && stat(full, &st) == 0) {
			if (S_ISDIR(st.st_mode) && nest < POLICY_DIR_NEST)
				r = add_dir(job, full, nest + 1, err);
			else if (cf_ends_with(full, ".rego"))
				cf_strv_add(&job->files, full);
		}
		free(list[i]);
	}
	free(list);
	return r;
}

int policy_job_add(struct policy_job *job, const char *path, struct cf_err *err)
{
	struct stat st;

	if (strcmp(path, "-") != 0 && stat(path, &st) < 0)
		return cf_fail_errno(err, errno, "%s", path);
	if (strcmp(path, "-") != 0 && S_ISDIR(st.st_mode))
		return add_dir(job, path, 0, err);
	if (cf_ends_with(path, ".json")) {
		if (job->data)
			return cf_fail(err, CF_INVALID_ARGUMENT, "%s: one data file is enough",
			               path);
		job->data = path;
		return 0;
	}
	cf_strv_add(&job->files, path);
	return 0;
}

static void add_error(struct policy_job *job, const struct policy_message *m)
{
	struct cf_buf *b = &job->errors;

	cf_buf_add_str(b, job->error_count++ ? ",\n    {\"message\": " : "\n    {\"message\": ");
	cf_buf_add_json_str(b, cf_view_str(m->text));
	cf_buf_add_str(b, ", \"code\": ");
	cf_buf_add_json_str(b, cf_view_str(m->code));
	cf_buf_add_str(b, ", \"location\": {\"file\": ");
	cf_buf_add_json_str(b, cf_view_str(m->file));
	cf_buf_printf(b, ", \"row\": %u, \"col\": %u}}", m->line, m->col);
}

static void on_message(void *user, const struct policy_message *m)
{
	struct policy_job *job = user;

	if (!job->is_quiet)
		fprintf(stderr, "%s:%u:%u: %s: %s\n", m->file, m->line, m->col, m->code, m->text);
	if (strcmp(m->code, "warning") != 0)
		add_error(job, m);
}

/* query_reference_value(id) from a file of id → value; null when it is not there. */
static const struct policy_hook hooks[] = {
	{ .name = "query_reference_value", .arity = 1, .call = policy_document_lookup },
};

static int load_documents(struct policy_job *job, struct cf_err *err)
{
	int r = 0;

	if (job->data)
		r = read_text(job->data, &job->data_text, err);
	if (r >= 0 && job->input)
		r = read_text(job->input, &job->input_text, err);
	if (r >= 0 && job->references) {
		struct cf_buf b = { 0 };

		r = read_text(job->references, &b, err);
		if (r >= 0)
			r = policy_document_read(cf_buf_view(&b), &job->reference_table, err);
		cf_buf_fini(&b);
	}
	return r;
}

static int compile(struct policy_job *job, const struct policy_source *src, size_t count,
                   struct cf_err *err)
{
	struct policy_options opt = { .version = job->version,
		                      .is_strict_builtins = job->is_strict,
		                      .hooks = hooks,
		                      .hook_count = CF_ARRAY_LEN(hooks),
		                      .message = on_message,
		                      .message_user = job };

	return policy_compile(src, count, &opt, &job->policy, err);
}

int policy_job_compile_text(struct policy_job *job, const char *name, struct cf_err *err)
{
	const struct policy_source src = { .name = name, .text = cf_buf_view(&job->texts[0]) };

	return compile(job, &src, 1, err);
}

int policy_job_load(struct policy_job *job, struct cf_err *err)
{
	struct policy_source src[POLICY_FILES_MAX];
	int r;

	if (job->files.count > POLICY_FILES_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "%zu policy files, limit %u",
		               job->files.count, POLICY_FILES_MAX);
	for (size_t i = 0; i < job->files.count; i++) {
		r = read_text(job->files.items[i], &job->texts[i], err);
		if (r < 0)
			return r;
		src[i] = (struct policy_source){ .name = job->files.items[i],
			                         .text = cf_buf_view(&job->texts[i]) };
	}
	r = load_documents(job, err);
	return r < 0 ? r : compile(job, src, job->files.count, err);
}

void policy_job_fini(struct policy_job *job)
{
	for (size_t i = 0; i < POLICY_FILES_MAX; i++)
		cf_buf_fini(&job->texts[i]);
	cf_buf_fini(&job->data_text);
	cf_buf_fini(&job->input_text);
	cf_buf_fini(&job->errors);
	cf_strv_fini(&job->files);
	policy_document_free(job->reference_table);
	policy_unref(job->policy);
}

void policy_job_print_errors(struct policy_job *job, const struct policy_message *m,
                             const struct cf_err *err)
{
	if (!job->error_count) {
		struct policy_message own = {
			.file = m && m->file ? m->file : "",
			.line = m ? m->line : 0,
			.col = m ? m->col : 0,
			.code = m && m->code && m->code[0] ? m->code : "error",
			.text = m && m->text && m->text[0] ? m->text : err->msg
		};
		add_error(job, &own);
	}
	printf("{\n  \"errors\": [%s\n  ]\n}\n", job->errors.data ? (char *)job->errors.data : "");
}

static void print_trace(void *user, const struct policy_trace *t)
{
	static const char *const words[] = { "enter", "try", "fail", "exit" };
	struct policy_job *job = user;
	struct cf_buf value = { .max = 4096 };

	if (job->trace_lines++ >= POLICY_TRACE_LINES_MAX)
		return;
	fprintf(stderr, "%*s%-5s %s:%u:%u  ", (int)CF_MIN(t->depth, 20u) * 2, "", words[t->kind],
	        t->file, t->line, t->col);
	for (size_t i = 0; i < t->text.size; i++)
		fputc(t->text.data[i] < ' ' ? ' ' : t->text.data[i], stderr);
	if (t->kind == POLICY_TRACE_EXIT && t->value &&
	    policy_value_json(t->value, &value, NULL) == 0)
		fprintf(stderr, " = %.200s", (const char *)value.data);
	else if (t->kind == POLICY_TRACE_EXIT)
		fputs(" has no value here", stderr);
	fputc('\n', stderr);
	cf_buf_fini(&value);
}

struct policy_request policy_job_request(struct policy_job *job)
{
	return (struct policy_request){ .trace = job->wants_trace ? print_trace : NULL,
		                        .trace_user = job,
		                        .query = job->query,
		                        .input_json = cf_buf_view(&job->input_text),
		                        .data_json = cf_buf_view(&job->data_text),
		                        .hook_user = job->reference_table };
}

int policy_job_exit(const struct cf_err *err)
{
	if (err->code == CF_FAILED_PRECONDITION)
		return CLI_BAD_DATA;
	if (err->code == CF_DEADLINE_EXCEEDED)
		return CLI_LIMIT;
	return cli_exit_code(err->code);
}
