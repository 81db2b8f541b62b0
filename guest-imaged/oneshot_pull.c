/* SPDX-License-Identifier: Apache-2.0 */
#include "guest-imaged/oneshot_pull.h"

#include "base/fd.h"
#include "base/http.h"
#include "base/json.h"
#include "erofs/extract.h"
#include "erofs/mount.h"
#include "guest-imaged/blob_cache.h"
#include "guest-imaged/image_pull.h"
#include "guest-imaged/local_keys.h"
#include "guest-imaged/tree_copy.h"
#include "proto/oci_options.h"
#include "proto/sig_policy.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <time.h>
#include <unistd.h>

static const char usage[] =
	"usage: coffer image pull IMAGE --out DIR [OPTION...]\n"
	"\n"
	"Pulls an image as a guest would: checks digests and signatures, decrypts, and puts the "
	"tree\n"
	"into DIR/rootfs. IMAGE is docker://REF, REF or oci:DIR[:TAG].\n"
	"\n"
	"  --out DIR             where rootfs appears, whole or not at all\n"
	"  --keys DIR            private keys (PEM, DER, JWK) and raw 32-byte image keys\n"
	"  --policy FILE         policy.json: whose signatures are needed\n"
	"  --json                print digests and diffIDs as one JSON object\n"
	"  --quiet, -q           no progress on stderr\n"
	"  --authfile FILE       registry credentials\n"
	"  --cert-dir DIR        more trust anchors (*.crt, *.pem)\n"
	"  --tls-verify=false    do not check certificates; plain HTTP where there is no TLS\n"
	"  --platform OS/ARCH    choose this one of a multi-platform image\n"
	"  --retry N             how often a failed request is repeated\n";

#define EXIT_USAGE 2

struct options {
	const char *image, *out, *keys, *policy;
	bool json, help, quiet;
	struct oci_options registry;
};

int imaged_exit_code(int code)
{
	static const int codes[] = {
		[CF_CANCELLED] = 130,         [CF_INVALID_ARGUMENT] = 9,
		[CF_DEADLINE_EXCEEDED] = 8,   [CF_NOT_FOUND] = 4,
		[CF_ALREADY_EXISTS] = 5,      [CF_PERMISSION_DENIED] = 7,
		[CF_RESOURCE_EXHAUSTED] = 20, [CF_FAILED_PRECONDITION] = 22,
		[CF_OUT_OF_RANGE] = 9,        [CF_UNIMPLEMENTED] = 21,
		[CF_UNAVAILABLE] = 8,         [CF_DATA_LOSS] = 9,
		[CF_UNAUTHENTICATED] = 6, /* a registry's login: ours is not asked for here */
	};

	return code > 0 && (size_t)code < CF_ARRAY_LEN(codes) && codes[code] ? codes[code] : 1;
}

/* ---- options ---- */

static int parse_one(struct options *o, int argc, char **argv, int *i, struct cf_err *err)
{
	static const char *const names[] = { "--out", "--keys", "--policy" };
	const char **const fields[] = { &o->out, &o->keys, &o->policy };
	int r = oci_options_take(&o->registry, argc, argv, i, err);

	if (r != 0)
		return r < 0 ? r : 0;
	for (size_t n = 0; n < CF_ARRAY_LEN(names); n++) {
		const char *value = oci_option_value(names[n], argc, argv, i);

		if (value) {
			*fields[n] = value;
			return 0;
		}
	}
	if (cf_streq(argv[*i], "--json"))
		o->json = true;
	else if (cf_streq(argv[*i], "--quiet") || cf_streq(argv[*i], "-q"))
		o->quiet = true;
	else if (cf_streq(argv[*i], "--help") || cf_streq(argv[*i], "-h"))
		o->help = true;
	else if (argv[*i][0] != '-' && !o->image)
		o->image = argv[*i];
	else
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "%s: not an option, or its value is missing", argv[*i]);
	return 0;
}

static int parse(int argc, char **argv, struct options *o, struct cf_err *err)
{
	for (int i = 1; i < argc; i++) {
		int r = parse_one(o, argc, argv, &i, err);

		if (r < 0)
			return r;
	}
	if (!o->help && (!o->image || !o->out))
		return cf_fail(err, CF_INVALID_ARGUMENT, "IMAGE and --out DIR are needed");
	return 0;
}

/* ---- the tree ---- */

/* Mounts the merged image where only we see it, and copies it. */
static int copy_mounted(const struct pull_result *res, const struct cf_strv *devices,
                        const char *mnt, const char *part, struct cf_err *err)
{
	struct layer_mount_opts opts = { .image = res->merged,
		                         .devices = (const char *const *)devices->items,
		                         .device_count = devices->count,
		                         .nosuid = true,
		                         .nodev = true,
		                         .noexec = true };
	int r = cf_mkdir_p(mnt, 0700, err);

	if (r < 0)
		return r;
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return cf_fail(err, CF_UNIMPLEMENTED, "nothing can be mounted here: %s",
		               strerror(errno));
	r = layer_mount(&opts, mnt, err);
	if (r < 0)
		return r;
	r = tree_copy(mnt, part, err);
	int un = layer_unmount(mnt, r < 0 ? NULL : err);
	return r < 0 ? r : un;
}

/* Without mounting: no privilege, or no EROFS in this kernel. */
static int copy_unmounted(const struct pull_result *res, const struct cf_strv *devices,
                          const char *part, struct cf_err *err)
{
	struct layer_extract_stats stats;
	int r = layer_extract(res->merged, (const char *const *)devices->items, devices->count,
	                      part, &stats, err);

	if (r == 0 && stats.left_out)
		fprintf(stderr,
		        "coffer-imaged: %llu owners, devices or attributes need root and were left "
		        "out\n",
		        (unsigned long long)stats.left_out);
	return r;
}

/* The tree is made beside its place and then gets its name. */
static int copy_out(const struct pull_result *res, const char *out, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *mnt = cf_asprintf("%s/.pull/mnt", out);
	cf_cleanup(cf_freep) char *part = cf_asprintf("%s/.pull/rootfs", out);
	cf_cleanup(cf_freep) char *final = cf_asprintf("%s/rootfs", out);
	struct cf_strv devices = { 0 };
	int r;

	pull_result_devices(res, &devices);
	r = copy_mounted(res, &devices, mnt, part, err);
	if (r == -CF_UNIMPLEMENTED || r == -CF_PERMISSION_DENIED)
		r = copy_unmounted(res, &devices, part, err);
	cf_strv_fini(&devices);
	if (r == 0 && rename(part, final) < 0)
		r = cf_fail_errno(err, errno, "%s", final);
	return r;
}

/* ---- answers ---- */

static void print_layer(struct cf_jw *w, const struct pull_layer_info *l)
{
	cf_jw_obj(w);
	cf_jw_kstr(w, "digest", l->digest.text);
	cf_jw_kuint(w, "size", l->size);
	cf_jw_kstr(w, "media_type", l->media_type);
	cf_jw_kstr(w, "diff_id", l->diff_id.text);
	cf_jw_kbool(w, "encrypted", l->is_encrypted);
	cf_jw_kuint(w, "image_bytes", l->image_bytes);
	cf_jw_end_obj(w);
}

static void print_json(const struct pull_result *res, const char *rootfs)
{
	struct cf_buf out = { 0 };
	struct cf_jw w = { .out = &out };

	cf_jw_obj(&w);
	cf_jw_kstr(&w, "schema", "coffer.pull/1");
	cf_jw_kstr(&w, "ref", res->reference);
	cf_jw_kstr(&w, "digest", res->manifest.text);
	if (oci_digest_is_set(&res->index))
		cf_jw_kstr(&w, "index_digest", res->index.text);
	cf_jw_kstr(&w, "config_digest", res->config_digest.text);
	cf_jw_key(&w, "diff_ids");
	cf_jw_arr(&w);
	for (size_t i = 0; i < res->layer_count; i++)
		cf_jw_str(&w, res->layers[i].diff_id.text);
	cf_jw_end_arr(&w);
	cf_jw_key(&w, "layers");
	cf_jw_arr(&w);
	for (size_t i = 0; i < res->layer_count; i++)
		print_layer(&w, &res->layers[i]);
	cf_jw_end_arr(&w);
	cf_jw_kstr(&w, "rootfs", rootfs);
	cf_jw_kbool(&w, "signature_verified", res->is_verified);
	if (res->judgement)
		cf_jw_kstr(&w, "policy", res->judgement);
	cf_jw_kbool(&w, "tls", !res->is_weak);
	cf_jw_end_obj(&w);
	printf("%s\n", (const char *)out.data);
	cf_buf_fini(&out);
}

static void warn(const struct options *o, const struct pull_result *res)
{
	if (!o->policy)
		fprintf(stderr, "coffer-imaged: no --policy: signatures were not looked at\n");
	if (res->is_weak)
		fprintf(stderr, "coffer-imaged: the registry was spoken to without checked TLS\n");
}

/* ---- the command ---- */

static int load_keys(const struct options *o, struct local_keys **ret, struct cf_err *err)
{
	struct cf_strv ignored = { 0 };

	if (!o->keys)
		return 0;
	int r = local_keys_load(o->keys, ret, &ignored, err);

	for (size_t i = 0; i < ignored.count; i++)
		fprintf(stderr, "coffer-imaged: %s/%s is no key that opens images; left out\n",
		        o->keys, ignored.items[i]);
	cf_strv_fini(&ignored);
	return r;
}

static int load_policy(const struct options *o, struct sig_policy **ret, struct cf_err *err)
{
	struct cf_buf text = { 0 };

	if (!o->policy)
		return 0;
	int r = cf_read_file(o->policy, SIG_POLICY_SIZE_MAX, &text, err);

	if (r == 0)
		r = sig_policy_parse(cf_buf_view(&text), ret, err);
	cf_buf_fini(&text);
	return r < 0 ? cf_wrap(err, r, "%s", o->policy) : 0;
}

/* Keys that the policy names: files, and kbs:// from the key directory's maps. */
static int fetch(void *arg, const char *uri, struct cf_buf *ret, struct cf_err *err)
{
	const char *path = cf_after(uri, "file://");

	if (!cf_starts_with(uri, "kbs"))
		return cf_read_file(path ? path : uri, LOCAL_KEYS_FILE_MAX, ret, err);
	if (!arg)
		return cf_fail(err, CF_NOT_FOUND, "no resource %s (no --keys)", uri);
	return local_keys_resource(arg, uri, ret, err);
}

/* "12:00:07 pull layer=3/5 sha256:9ab774fcf3a8 118 MiB"; one write a line: jobs tell it side by side. */
static void show_progress(void *arg, size_t i, size_t count, const struct oci_descriptor *layer,
                          bool is_done)
{
	time_t now = time(NULL);
	struct tm tm;
	char clock[16];

	(void)arg;
	localtime_r(&now, &tm);
	strftime(clock, sizeof(clock), "%H:%M:%S", &tm);
	fprintf(stderr, "%s pull layer=%zu/%zu %.19s %llu KiB%s\n", clock, i + 1, count,
	        layer->digest.text, (unsigned long long)(layer->size + 1023) / 1024,
	        is_done ? " done" : "");
}

static int pull(const struct options *o, struct local_keys *keys, struct pull_result *res,
                struct cf_err *err)
{
	cf_cleanup(cf_freep) char *work = cf_asprintf("%s/.pull", o->out);
	cf_cleanup(sig_policy_freep) struct sig_policy *policy = NULL;
	struct pull_env env = {
		.work_dir = work,
		.source = oci_options_config(&o->registry),
		.platform = o->registry.platform,
		.fetch = fetch,
		.fetch_arg = keys,
		.not_durable = true,
		.progress = o->quiet ? NULL : show_progress,
	};
	int r = load_policy(o, &policy, err);

	env.policy = policy;
	if (r == 0)
		r = cf_work_new(IMAGED_LAYERS_AT_ONCE, OCI_LAYERS_MAX, &env.layers, err);
	if (r < 0)
		return r;
	if (keys)
		env.keys = local_keys_view(keys);
	cf_cleanup(cf_freep) char *cache = blob_cache_path();

	if (cache)
		env.cache = blob_cache_new(cache, false);
	r = pull_image(&env, o->image, res, err);
	blob_cache_free(env.cache);
	cf_work_free(env.layers);
	return r;
}

static int run(const struct options *o, struct pull_result *res, struct cf_err *err)
{
	cf_cleanup(local_keys_freep) struct local_keys *keys = NULL;
	cf_cleanup(cf_freep) char *work = cf_asprintf("%s/.pull", o->out);
	cf_cleanup(cf_freep) char *rootfs = cf_asprintf("%s/rootfs", o->out);
	int r = load_keys(o, &keys, err);

	if (r == 0 && access(rootfs, F_OK) == 0)
		r = cf_fail(err, CF_ALREADY_EXISTS, "%s is there already", rootfs);
	if (r == 0)
		r = cf_mkdir_p(work, 0700, err);
	if (r < 0)
		return r;
	r = pull(o, keys, res, err);
	if (r == 0)
		r = copy_out(res, o->out, err);
	(void)!cf_rm_rf(work, NULL);
	return r;
}

int imaged_oneshot_pull(int argc, char **argv)
{
	struct options o = { 0 };
	struct pull_result res = { 0 };
	struct cf_err err;

	oci_options_init(&o.registry);
	if (parse(argc, argv, &o, &err) < 0) {
		fprintf(stderr, "coffer image pull: %s\n\n%s", err.msg, usage);
		return EXIT_USAGE;
	}
	if (o.help) {
		fputs(usage, stdout);
		return 0;
	}
	cf_http_global_init();
	int r = oci_options_load(&o.registry, &err);

	if (r == 0)
		r = run(&o, &res, &err);
	oci_options_fini(&o.registry);
	if (r < 0) {
		fprintf(stderr, "coffer-imaged: %s: %s\n", o.image, err.msg);
		pull_result_fini(&res);
		return imaged_exit_code(-r);
	}
	cf_cleanup(cf_freep) char *rootfs = cf_asprintf("%s/rootfs", o.out);

	warn(&o, &res);
	if (o.json)
		print_json(&res, rootfs);
	else
		printf("%s\n", res.manifest.text);
	pull_result_fini(&res);
	return 0;
}
