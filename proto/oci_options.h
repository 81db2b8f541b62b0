/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The options with which every command names its way to a registry, as skopeo and podman spell them:
 *
 *   --authfile FILE       credentials; otherwise $REGISTRY_AUTH_FILE, $XDG_RUNTIME_DIR/containers/
 *                         auth.json, ~/.config/containers/auth.json, ~/.docker/config.json
 *   --cert-dir DIR        more trust anchors: its *.crt and *.pem files
 *   --tls-verify=false    no check of certificates, plain HTTP where there is no TLS
 *   --retry N             attempts of a request
 *   --platform OS/ARCH[/VARIANT]
 */
#include "proto/oci_source.h"

#define OCI_OPTIONS_CA_MAX 64u

struct oci_options {
	const char *auth_path, *cert_dir; /* as given, borrowed */
	bool tls_verify_off;
	unsigned attempts;
	struct oci_platform platform; /* our own unless given */
	/* filled by oci_options_load() */
	char *auth_used; /* which file it was; NULL: none */
	struct cf_buf auth;
	struct cf_buf ca[OCI_OPTIONS_CA_MAX];
	struct cf_view ca_views[OCI_OPTIONS_CA_MAX];
	size_t ca_count;
	char *platform_text;
};

void oci_options_init(struct oci_options *o);
/*
 * Looks at argv[*i]; when it is one of ours, takes it (and its value: *i moves on).
 * Return: 1 taken, 0 not ours, -CF_INVALID_ARGUMENT.
 */
cf_must_use int oci_options_take(struct oci_options *o, int argc, char **argv, int *i,
                                 struct cf_err *err);
/* Reads the files. A file that was named must be there; the ones of the search need not. */
cf_must_use int oci_options_load(struct oci_options *o, struct cf_err *err);
/* Borrowed from @o. */
struct oci_source_config oci_options_config(const struct oci_options *o);
void oci_options_fini(struct oci_options *o);

/* The value of --NAME VALUE or --NAME=VALUE at argv[*i], *i moved on; NULL: another option, or no value. */
const char *oci_option_value(const char *name, int argc, char **argv, int *i);
