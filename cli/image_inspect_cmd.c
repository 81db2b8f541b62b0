/* SPDX-License-Identifier: Apache-2.0 */
/* coffer image inspect: what an image is, who can open it, who signed it; needs no key. */
#include "cli/cmds_image.h"
#include "cli/image_args.h"
#include "proto/ocicrypt.h"
#include "proto/sig_cosign.h"

static const char usage[] =
	"usage: coffer image inspect IMAGE [OPTION...]\n"
	"\n"
	"Shows layers, sizes, types, whether each is encrypted and to whom, and signatures found.\n"
	"Nothing is verified but digests.\n";

struct image {
	struct oci_source *src;
	struct oci_digest digest, index;
	struct oci_manifest manifest;
	struct sig_list signatures;
};

static void image_fini(struct image *im)
{
	oci_source_free(im->src);
	oci_manifest_fini(&im->manifest);
	sig_list_fini(&im->signatures);
}

static int choose(const struct image_args *a, struct image *im, struct oci_document_bytes *doc,
                  struct cf_err *err)
{
	const struct oci_descriptor *entry;
	struct oci_document_bytes next = { 0 };
	struct oci_index x = { 0 };
	enum oci_document kind;
	int r = oci_document_kind(cf_buf_view(&doc->bytes), doc->media_type, &kind, err);

	if (r < 0 || kind == OCI_IS_MANIFEST)
		return r;
	im->index = doc->digest;
	r = oci_index_parse(cf_buf_view(&doc->bytes), &x, err);
	if (r == 0)
		r = oci_index_choose(&x, &a->registry.platform, &entry, err);
	if (r == 0)
		r = oci_source_document(im->src, entry->digest.text, &next, err);
	oci_index_fini(&x);
	oci_document_bytes_fini(doc);
	*doc = next;
	return r;
}

static int load(const struct image_args *a, struct image *im, struct cf_err *err)
{
	struct oci_document_bytes doc = { 0 };
	int r = image_args_open(a, 0, &im->src, err);

	if (r == 0)
		r = oci_source_document(im->src, NULL, &doc, err);
	if (r == 0)
		r = choose(a, im, &doc, err);
	if (r == 0)
		r = oci_manifest_parse(cf_buf_view(&doc.bytes), &im->manifest, err);
	im->digest = doc.digest;
	oci_document_bytes_fini(&doc);
	if (r == 0)
		r = sig_collect(im->src, &im->digest, &im->signatures, err);
	if (r == 0 && oci_digest_is_set(&im->index))
		r = sig_collect(im->src, &im->index, &im->signatures, err);
	return r;
}

static bool is_encrypted(const struct oci_descriptor *d)
{
	return cf_ends_with(d->media_type, "+encrypted");
}

static void json_layer(struct cf_jw *w, const struct oci_descriptor *d)
{
	struct ocicrypt_recipients r = { 0 };

	ocicrypt_list(d, &r);
	cf_jw_obj(w);
	cf_jw_kstr(w, "digest", d->digest.text);
	cf_jw_kuint(w, "size", d->size);
	cf_jw_kstr(w, "media_type", d->media_type);
	cf_jw_kbool(w, "encrypted", is_encrypted(d));
	cf_jw_key(w, "recipients");
	cf_jw_arr(w);
	for (size_t i = 0; i < r.count; i++) {
		cf_jw_obj(w);
		cf_jw_kstr(w, "scheme", r.items[i].scheme);
		if (r.items[i].key_id)
			cf_jw_kstr(w, "key_id", r.items[i].key_id);
		cf_jw_end_obj(w);
	}
	cf_jw_end_arr(w);
	cf_jw_end_obj(w);
	ocicrypt_recipients_fini(&r);
}

static void json_signatures(struct cf_jw *w, const struct sig_list *list)
{
	cf_jw_key(w, "signatures");
	cf_jw_arr(w);
	for (size_t i = 0; i < list->count; i++) {
		struct sig_payload p = { 0 };

		if (sig_payload_parse(cf_buf_view(&list->items[i].payload), &p, NULL) < 0)
			continue;
		cf_jw_obj(w);
		cf_jw_kstr(w, "identity", p.reference);
		cf_jw_kstr(w, "digest", p.digest.text);
		cf_jw_end_obj(w);
		sig_payload_fini(&p);
	}
	cf_jw_end_arr(w);
}

static void print_json(const struct image_args *a, const struct image *im)
{
	struct cf_buf out = { 0 };
	struct cf_jw w = { .out = &out };
	uint64_t size = 0;

	cf_jw_obj(&w);
	cf_jw_kstr(&w, "schema", "coffer.image/1");
	cf_jw_kstr(&w, "ref", a->places[0]);
	cf_jw_kstr(&w, "digest", im->digest.text);
	if (oci_digest_is_set(&im->index))
		cf_jw_kstr(&w, "index_digest", im->index.text);
	cf_jw_kstr(&w, "config_digest", im->manifest.config.digest.text);
	cf_jw_key(&w, "layers");
	cf_jw_arr(&w);
	for (size_t i = 0; i < im->manifest.layer_count; i++) {
		json_layer(&w, &im->manifest.layers[i]);
		size += im->manifest.layers[i].size;
	}
	cf_jw_end_arr(&w);
	cf_jw_kuint(&w, "size", size);
	json_signatures(&w, &im->signatures);
	cf_jw_end_obj(&w);
	printf("%s\n", (const char *)out.data);
	cf_buf_fini(&out);
}

/* A stranger's text for a terminal: control bytes shown, not sent. */
static void print_safe(const char *text)
{
	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		if (*p < ' ' || *p >= 0x7f)
			printf("\\x%02x", *p);
		else
			putchar(*p);
	}
}

static void print_layer(const struct oci_descriptor *d)
{
	struct ocicrypt_recipients r = { 0 };

	ocicrypt_list(d, &r);
	printf("%s\t%llu\t%s\t", d->digest.text, (unsigned long long)d->size,
	       is_encrypted(d) ? "encrypted" : "in clear");
	print_safe(d->media_type);
	for (size_t i = 0; i < r.count; i++) {
		printf("%s", i ? ", " : "\t");
		print_safe(r.items[i].scheme);
		if (r.items[i].key_id) {
			putchar(' ');
			print_safe(r.items[i].key_id);
		}
	}
	putchar('\n');
	ocicrypt_recipients_fini(&r);
}

static void print_table(const struct image *im)
{
	printf("DIGEST\tSIZE\tLAYER\tTYPE\tRECIPIENTS\n");
	for (size_t i = 0; i < im->manifest.layer_count; i++)
		print_layer(&im->manifest.layers[i]);
	printf("\nmanifest %s\nsignatures %zu\n", im->digest.text, im->signatures.count);
}

int cli_image_inspect(int argc, char **argv)
{
	struct image_args a = { .command = "image inspect", .usage = usage, .place_count = 1 };
	struct image im = { 0 };
	struct cf_err err;
	int code = CLI_OK;

	if (image_args_parse(&a, argc, argv, &code) == 0) {
		if (load(&a, &im, &err) < 0)
			code = cli_fail(&err);
		else if (a.json)
			print_json(&a, &im);
		else
			print_table(&im);
	}
	image_fini(&im);
	image_args_fini(&a);
	return code;
}
