/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What all image commands share on their command lines: places, registry options, one usage text. */
#include "base/crypto.h"
#include "cli/cli.h"
#include "proto/oci_options.h"

#define IMAGE_PLACES_MAX 2
#define IMAGE_VALUES_MAX 16 /* of one option that may be repeated */

/* An option with a value: --NAME VALUE or --NAME=VALUE; may be repeated when it has room. */
struct image_option {
	const char *name;
	const char **values; /* room for max values */
	size_t max;
	size_t *count;
};

struct image_args {
	const char *command; /* "image sign" */
	const char *usage;
	size_t place_count; /* that are needed */
	const struct image_option *options;
	size_t option_count;
	/* out */
	const char *places[IMAGE_PLACES_MAX];
	bool json;
	struct oci_options registry;
};

#define IMAGE_ARGS_DONE 1
/*
 * Parses, and reads the registry's files. Return: 0; IMAGE_ARGS_DONE: everything was said, *ret_exit
 * is the exit code. End with image_args_fini() in both cases.
 */
int image_args_parse(struct image_args *a, int argc, char **argv, int *ret_exit);
void image_args_fini(struct image_args *a);

/* Opens place @i for reading (or writing). @ret is freed by the caller. */
cf_must_use int image_args_open(const struct image_args *a, size_t i, struct oci_source **ret,
                                struct cf_err *err);
cf_must_use int image_args_create(const struct image_args *a, size_t i, struct oci_source **ret,
                                  struct cf_err *err);
/* The tag to write at a place; "" for a layout without one. Borrowed from @src. */
const char *image_target_tag(const struct oci_source *src);
/* "host/repo@sha256:…" or "oci:DIR@sha256:…"; the caller frees. */
char *image_pinned(const struct oci_source *src, const struct oci_digest *digest);

/* A key file as it is; the message names it. */
cf_must_use int image_read_pkey(const char *path, bool need_private, struct cf_pkey **ret,
                                struct cf_err *err);
