/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `coffer pod run`: one VM without containerd. What the image says about its process is read here,
 * as containerd would; the shim's one-shot form boots the machine and runs it.
 */
#include "cli/pod_cmd.h"

#include "base/fd.h"
#include "proto/oci_options.h"

#include <unistd.h>

#define DEFAULT_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define SHIM_PROGRAM "containerd-shim-coffer-v2"

static const char help[] =
	"usage: coffer pod run [options] IMAGE [-- ARG...]\n"
	"Boots a VM of its own for one container: the guest pulls IMAGE, checks and decrypts it "
	"as\n"
	"its initdata says, and runs it. Prints what the container prints; ends with its status.\n"
	"\n"
	"  --initdata FILE    what the guest is measured with (coffer initdata new)\n"
	"  --config FILE      the shim's configuration [/etc/coffer/shim.toml]\n"
	"  --env KEY=VALUE    one variable more; may be repeated\n"
	"  --name NAME        of the pod\n"
	"  --accel NAME       auto, kvm or tcg\n"
	"  --network NAME     user (default) or none\n"
	"  --driver NAME      qemu, or none: processes instead of a VM, for tests\n"
	"  --console          quote the guest's console when it fails\n"
	"  --verbose, -v      say what happens\n"
	"  --authfile FILE, --cert-dir DIR, --tls-verify=false, --platform OS/ARCH\n"
	"                     how this command reads the image's configuration; the guest has its\n"
	"                     own ways in initdata\n"
	"\n"
	"A guest without initdata refuses everything.\n";

struct wish {
	const char *image;
	struct cf_strv pass; /* options for the shim, as given */
	struct cf_strv env, args;
	bool has_args;
	struct oci_options oci;
};

/* ---- the process ---- */

static int parse_user(const char *user, uint64_t *ret_uid, uint64_t *ret_gid, struct cf_err *err)
{
	const char *colon = user ? strchr(user, ':') : NULL;
	struct cf_view uid = cf_view_str(user), gid = cf_view_str(colon ? colon + 1 : "0");

	*ret_uid = *ret_gid = 0;
	if (!user || !*user)
		return 0;
	if (colon)
		uid.size = (size_t)(colon - user);
	if (cf_parse_u64(uid, UINT32_MAX, ret_uid, err) < 0 ||
	    cf_parse_u64(gid, UINT32_MAX, ret_gid, err) < 0)
		return cf_fail(
			err, CF_UNIMPLEMENTED,
			"the image's user is \"%s\": only numbers can be resolved before the "
			"image is in the guest",
			user);
	return 0;
}

static void write_strings(struct cf_jw *w, const struct cf_strv *list)
{
	for (size_t i = 0; i < list->count; i++)
		cf_jw_str(w, list->items[i]);
}

static bool has_path(const struct cf_strv *env)
{
	for (size_t i = 0; i < env->count; i++)
		if (cf_starts_with(env->items[i], "PATH="))
			return true;
	return false;
}

int pod_process_write(const struct oci_config *config, const struct cf_strv *args,
                      const struct cf_strv *env, struct cf_buf *out, struct cf_err *err)
{
	struct cf_jw w = { .out = out };
	uint64_t uid, gid;
	int r = parse_user(config->user, &uid, &gid, err);

	if (r < 0)
		return r;
	if (!config->entrypoint.count && !(args ? args : &config->cmd)->count)
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "the image names no command: give one behind --");
	cf_jw_obj(&w);
	cf_jw_key(&w, "args");
	cf_jw_arr(&w);
	write_strings(&w, &config->entrypoint);
	write_strings(&w, args ? args : &config->cmd);
	cf_jw_end_arr(&w);
	cf_jw_key(&w, "env");
	cf_jw_arr(&w);
	if (!has_path(&config->env))
		cf_jw_str(&w, DEFAULT_PATH);
	write_strings(&w, &config->env);
	write_strings(&w, env);
	cf_jw_end_arr(&w);
	cf_jw_kstr(&w, "cwd",
	           config->working_dir && *config->working_dir ? config->working_dir : "/");
	cf_jw_key(&w, "user");
	cf_jw_obj(&w);
	cf_jw_kuint(&w, "uid", uid);
	cf_jw_kuint(&w, "gid", gid);
	cf_jw_end_obj(&w);
	cf_jw_end_obj(&w);
	return 0;
}

/* ---- the image's configuration ---- */

static int read_config(struct oci_source *src, struct cf_view manifest, struct oci_config *ret,
                       struct cf_err *err)
{
	struct cf_buf text = { .max = OCI_CONFIG_SIZE_MAX + 1 };
	struct oci_manifest m;
	int r = oci_manifest_parse(manifest, &m, err);

	if (r < 0)
		return r;
	r = oci_source_blob_read(src, &m.config, OCI_CONFIG_SIZE_MAX, &text, err);
	if (r == 0)
		r = oci_config_parse(cf_buf_view(&text), ret, err);
	oci_manifest_fini(&m);
	cf_buf_fini(&text);
	return r;
}

/* The entry of an index for our platform, then its manifest. */
static int follow_index(struct oci_source *src, const struct wish *wish, struct cf_view index,
                        struct oci_config *ret, struct cf_err *err)
{
	struct oci_document_bytes doc = { .media_type = NULL };
	const struct oci_descriptor *entry;
	struct oci_index x;
	int r = oci_index_parse(index, &x, err);

	if (r < 0)
		return r;
	r = oci_index_choose(&x, &wish->oci.platform, &entry, err);
	if (r == 0) {
		r = oci_source_document(src, entry->digest.text, &doc, err);
	}
	if (r == 0)
		r = read_config(src, cf_buf_view(&doc.bytes), ret, err);
	oci_document_bytes_fini(&doc);
	oci_index_fini(&x);
	return r;
}

static int image_config(const struct wish *wish, struct oci_config *ret, struct cf_err *err)
{
	struct oci_source_config config = oci_options_config(&wish->oci);
	cf_cleanup(oci_source_freep) struct oci_source *src = NULL;
	struct oci_document_bytes doc = { .media_type = NULL };
	enum oci_document kind;
	int r = oci_source_open(wish->image, &config, &src, err);

	if (r == 0)
		r = oci_source_document(src, NULL, &doc, err);
	if (r == 0)
		r = oci_document_kind(cf_buf_view(&doc.bytes), doc.media_type, &kind, err);
	if (r == 0 && kind == OCI_IS_INDEX)
		r = follow_index(src, wish, cf_buf_view(&doc.bytes), ret, err);
	else if (r == 0)
		r = read_config(src, cf_buf_view(&doc.bytes), ret, err);
	oci_document_bytes_fini(&doc);
	return r < 0 ? cf_wrap(err, r, "%s", wish->image) : 0;
}

/* ---- the command ---- */

static bool pass_option(struct wish *w, int argc, char **argv, int *i)
{
	static const char *const names[] = { "--initdata", "--config",  "--name",
		                             "--accel",    "--network", "--driver" };

	for (size_t k = 0; k < CF_ARRAY_LEN(names); k++) {
		const char *value = oci_option_value(names[k], argc, argv, i);

		if (!value)
			continue;
		cf_strv_add(&w->pass, names[k]);
		cf_strv_add(&w->pass, value);
		return true;
	}
	if (!cf_streq(argv[*i], "--console") && !cf_streq(argv[*i], "--verbose") &&
	    !cf_streq(argv[*i], "-v"))
		return false;
	cf_strv_add(&w->pass, argv[*i]);
	return true;
}

/* Positive: the exit code plus one. */
static int take_options(struct wish *w, int argc, char **argv, struct cf_err *err)
{
	for (int i = 1; i < argc; i++) {
		const char *value;
		int r;

		if (cf_streq(argv[i], "--help") || cf_streq(argv[i], "-h")) {
			fputs(help, stdout);
			return 1 + CLI_OK;
		}
		if (cf_streq(argv[i], "--")) {
			w->has_args = i + 1 < argc;
			while (++i < argc)
				cf_strv_add(&w->args, argv[i]);
			break;
		}
		if (argv[i][0] != '-' && !w->image) {
			w->image = argv[i];
			continue;
		}
		value = oci_option_value("--env", argc, argv, &i);
		if (value) {
			cf_strv_add(&w->env, value);
			continue;
		}
		if (pass_option(w, argc, argv, &i))
			continue;
		r = oci_options_take(&w->oci, argc, argv, &i, err);
		if (r < 0)
			return r;
		if (r == 0)
			return 1 + cli_usage("pod run", "unknown argument %s", argv[i]);
	}
	return w->image ? 0 : 1 + cli_usage("pod run", "which image?");
}

/* The reference without the place's prefix: the guest knows registries alone. */
static const char *reference(const char *image)
{
	const char *rest = cf_after(image, "docker://");

	return rest ? rest : image;
}

/* The process goes by a file without a name, which the shim inherits. */
static int process_file(struct cf_view text, char **ret_path, struct cf_err *err)
{
	cf_cleanup(cf_closep) int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	int r;

	if (fd < 0 || fcntl(fd, F_SETFD, 0) < 0)
		return cf_fail(err, CF_INTERNAL, "no temporary file");
	r = cf_write_all(fd, text, err);
	if (r < 0)
		return r;
	*ret_path = cf_asprintf("/proc/self/fd/%d", cf_take_fd(&fd));
	return 0;
}

static int run(struct wish *w, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *path = NULL;
	struct oci_config config;
	struct cf_buf process = { 0 };
	struct cf_strv argv = { 0 };
	int r = oci_options_load(&w->oci, err);

	if (r == 0)
		r = image_config(w, &config, err);
	if (r < 0)
		return r;
	r = pod_process_write(&config, w->has_args ? &w->args : NULL, &w->env, &process, err);
	oci_config_fini(&config);
	if (r == 0)
		r = process_file(cf_buf_view(&process), &path, err);
	cf_buf_fini(&process);
	if (r < 0)
		return r;
	cf_strv_add(&argv, SHIM_PROGRAM);
	cf_strv_add(&argv, "run");
	cf_strv_add(&argv, "--image");
	cf_strv_add(&argv, reference(w->image));
	cf_strv_add(&argv, "--process");
	cf_strv_add(&argv, path);
	for (size_t i = 0; i < w->pass.count; i++)
		cf_strv_add(&argv, w->pass.items[i]);
	r = cli_exec(SHIM_PROGRAM, argv.items); /* returns an exit code, never 0 */
	cf_strv_fini(&argv);
	return r;
}

int cli_pod_run(int argc, char **argv)
{
	struct wish w = { .image = NULL };
	struct cf_err err;
	int r;

	oci_options_init(&w.oci);
	r = take_options(&w, argc, argv, &err);
	if (r > 0)
		r--;
	else if (r == 0)
		r = run(&w, &err);
	if (r < 0)
		r = cli_fail(&err);
	oci_options_fini(&w.oci);
	cf_strv_fini(&w.pass);
	cf_strv_fini(&w.env);
	cf_strv_fini(&w.args);
	return r;
}
