/* SPDX-License-Identifier: Apache-2.0 */
#include "guest-imaged/oneshot_layer.h"

#include "base/crypto.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/str.h"
#include "erofs/layer_pipeline.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

static const char usage[] =
	"usage: coffer-imaged --oneshot layer TAR[.gz|.zst]|- --out IMG.erofs [OPTION...]\n"
	"\n"
	"Builds an EROFS image from one layer, in one pass, in sandboxed processes.\n"
	"\n"
	"  --out FILE        where the image goes; appears whole or not at all\n"
	"  --diff-id DIGEST  refuse the layer when its uncompressed bytes have another digest\n"
	"  --strict          refuse entries below something that is no directory\n"
	"  --no-sync         do not wait until the disk has it\n"
	"  --json            print what was done as one JSON object\n";

#define EXIT_USAGE 2

struct options {
	const char *blob, *out, *diff_id;
	bool strict, no_sync, json, help;
};

static bool parse(int argc, char **argv, struct options *o)
{
	for (int i = 1; i < argc; i++) {
		const char **value = cf_streq(argv[i], "--out")       ? &o->out
		                     : cf_streq(argv[i], "--diff-id") ? &o->diff_id
		                                                      : NULL;

		if (value && i + 1 < argc)
			*value = argv[++i];
		else if (cf_streq(argv[i], "--strict"))
			o->strict = true;
		else if (cf_streq(argv[i], "--no-sync"))
			o->no_sync = true;
		else if (cf_streq(argv[i], "--json"))
			o->json = true;
		else if (cf_streq(argv[i], "--help"))
			o->help = true;
		else if ((argv[i][0] != '-' || cf_streq(argv[i], "-")) && !o->blob)
			o->blob = argv[i];
		else
			return false;
	}
	return o->help || (o->blob && o->out);
}

static int exit_code(enum cf_code code)
{
	static const int codes[] = {
		[CF_CANCELLED] = 130,         [CF_INVALID_ARGUMENT] = 9,
		[CF_DEADLINE_EXCEEDED] = 8,   [CF_NOT_FOUND] = 4,
		[CF_ALREADY_EXISTS] = 5,      [CF_PERMISSION_DENIED] = 7,
		[CF_RESOURCE_EXHAUSTED] = 20, [CF_FAILED_PRECONDITION] = 22,
		[CF_OUT_OF_RANGE] = 9,        [CF_UNIMPLEMENTED] = 21,
		[CF_UNAVAILABLE] = 8,         [CF_DATA_LOSS] = 9,
		[CF_UNAUTHENTICATED] = 7,
	};

	return (size_t)code < CF_ARRAY_LEN(codes) && codes[code] ? codes[code] : 1;
}

struct blob {
	int fd;
	struct cf_hasher *hasher;
};

static int read_blob(void *ctx, uint8_t *buf, size_t cap, size_t *ret_size, struct cf_err *err)
{
	struct blob *b = ctx;
	ssize_t n;

	do
		n = read(b->fd, buf, cap);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return cf_fail_errno(err, errno, "layer blob");
	cf_hasher_add(b->hasher, cf_view(buf, (size_t)n));
	*ret_size = (size_t)n;
	return 0;
}

static void print_json(const struct layer_result *r, const char *blob_digest)
{
	struct cf_buf out = { 0 };
	struct cf_jw w = { .out = &out };

	cf_jw_obj(&w);
	cf_jw_kstr(&w, "schema", "coffer.layer/1");
	cf_jw_kstr(&w, "digest", blob_digest);
	cf_jw_kstr(&w, "diff_id", r->diff_id);
	cf_jw_kuint(&w, "blob_bytes", r->blob_bytes);
	cf_jw_kuint(&w, "inflated_bytes", r->inflated_bytes);
	cf_jw_kuint(&w, "image_bytes", r->image_bytes);
	cf_jw_kuint(&w, "entries", r->claimed.tar.entries);
	cf_jw_kuint(&w, "skipped", r->claimed.tar.skipped);
	cf_jw_kuint(&w, "inodes", r->claimed.inodes);
	cf_jw_kuint(&w, "whiteouts", r->claimed.whiteouts);
	cf_jw_kuint(&w, "opaque", r->claimed.opaque);
	cf_jw_kuint(&w, "dropped_xattrs", r->claimed.dropped_xattrs);
	cf_jw_kuint(&w, "replaced_parents", r->claimed.replaced_parents);
	cf_jw_kuint(&w, "dead_bytes", r->claimed.dead_bytes);
	cf_jw_end_obj(&w);
	printf("%s\n", (const char *)out.data);
	cf_buf_fini(&out);
}

static void warn(const struct options *o, const struct layer_result *r)
{
	const struct layer_stats *s = &r->claimed;

	if (s->replaced_parents)
		fprintf(stderr,
		        "coffer-imaged: %s: %llu entries lie below something that was no "
		        "directory; "
		        "it was replaced\n",
		        o->blob, (unsigned long long)s->replaced_parents);
	if (s->dropped_xattrs)
		fprintf(stderr, "coffer-imaged: %s: %llu extended attributes were left out\n",
		        o->blob, (unsigned long long)s->dropped_xattrs);
	if (s->tar.no_end_marker)
		fprintf(stderr, "coffer-imaged: %s: the archive has no end marker\n", o->blob);
}

static int build(const struct options *o, struct layer_result *result, char digest[7 + 64 + 1],
                 struct cf_err *err)
{
	const char *slash = strrchr(o->out, '/');
	cf_cleanup(cf_freep) char *dir =
		slash ? cf_strndup(o->out, (size_t)(slash - o->out) + 1) : cf_strdup(".");
	cf_cleanup(cf_closep) int fd =
		cf_streq(o->blob, "-") ? dup(0) : open(o->blob, O_RDONLY | O_CLOEXEC);
	cf_cleanup(cf_hasher_freep) struct cf_hasher *hasher = cf_hasher_new(CF_SHA256);
	cf_cleanup(layer_pipeline_freep) struct layer_pipeline *p = NULL;
	struct blob blob = { fd, hasher };
	uint8_t raw[32];
	int r;

	if (fd < 0)
		return cf_fail_errno(err, errno, "%s", o->blob);
	r = layer_pipeline_new(&(struct layer_pipeline_opts){ .store_dir = dir,
	                                                      .diff_id = cf_view_str(o->diff_id),
	                                                      .build.strict = o->strict,
	                                                      .not_durable = o->no_sync },
	                       &p, err);
	if (r == 0)
		r = layer_pipeline_run(p, read_blob, &blob, result, err);
	if (r == 0)
		r = layer_pipeline_publish(p, slash ? slash + 1 : o->out, err);
	if (r < 0)
		return r;
	cf_hasher_final(hasher, raw);
	memcpy(digest, "sha256:", 7);
	cf_hex_encode(cf_view(raw, sizeof(raw)), digest + 7);
	return 0;
}

int imaged_oneshot_layer(int argc, char **argv)
{
	struct options o = { 0 };
	struct layer_result result;
	char digest[7 + 64 + 1];
	struct cf_err err;

	if (!parse(argc, argv, &o)) {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	if (o.help) {
		fputs(usage, stdout);
		return 0;
	}
	if (build(&o, &result, digest, &err) < 0) {
		fprintf(stderr, "coffer-imaged: %s: %s\n", o.blob, err.msg);
		return exit_code(err.code);
	}
	warn(&o, &result);
	if (o.json)
		print_json(&result, digest);
	else
		printf("%s\n", result.diff_id);
	return 0;
}
