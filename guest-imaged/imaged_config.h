/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The image service's configuration: the peers' cdh.toml. In a measured guest it arrives in initdata
 * and was checked before we start, so it is the owner's word; without a file the built-in values
 * stand. Unknown keys are ignored, as the peers do; wrong types are errors with their line.
 */
#include "base/bytes.h"
#include "base/log.h"
#include "base/str.h"

#define IMAGED_CONFIG_MAX (1u << 20) /* bytes of the file */

#define IMAGED_SOCKET "unix:///run/confidential-containers/cdh.sock"
#define IMAGED_AA_SOCKET                                                                           \
	"unix:///run/confidential-containers/attestation-agent/attestation-agent.sock"
#define IMAGED_WORK_DIR "/run/kata-containers/image"

struct imaged_config {
	char *socket;    /* "socket" */
	char *aa_socket; /* [aa] aa_socket */
	char *kbc_name;  /* [kbc] name: cc_kbc or offline_fs_kbc */
	char *kbs_url;   /* [kbc] url */
	char *kbs_cert;  /* [kbc] kbs_cert: PEM, or NULL */
	char *work_dir;  /* [image] work_dir */
	char *policy_uri,
		*policy; /* [image] image_security_policy_uri (wins), image_security_policy */
	char *auth_uri;  /* [image] authenticated_registry_credentials_uri */
	unsigned layers_at_once; /* [image] max_concurrent_layer_downloads_per_image */
	struct cf_strv ca;       /* [image] extra_root_certificates, PEM */
	bool is_cache_off; /* [image] blob_cache = "off": the node's cache of layers is not asked */
	bool is_plain_offered; /* [image] blob_cache_offer = "all": layers in clear go there too */
	char *https_proxy, *http_proxy, *no_proxy; /* [image.image_pull_proxy] */
	enum cf_log_level log_level;               /* [log] level */
};

/* The built-in values. */
void imaged_config_init(struct imaged_config *c);
/* -CF_INVALID_ARGUMENT, -CF_OUT_OF_RANGE, -CF_RESOURCE_EXHAUSTED: @c is unchanged then. */
cf_must_use int imaged_config_parse(struct cf_view toml, struct imaged_config *c,
                                    struct cf_err *err);
cf_must_use int imaged_config_read(const char *path, struct imaged_config *c, struct cf_err *err);
void imaged_config_fini(struct imaged_config *c);
