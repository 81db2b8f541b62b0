/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Configuration of coffer-attestd: the peers' attestation-agent.conf (TOML or JSON) and a table
 * [coffer] of our own. In a measured guest the text comes from initdata ("aa.toml") alone.
 * Keys that we do not know are left alone: peers add some.
 */
#include "base/log.h"
#include "base/str.h"
#include "proto/kbs_client.h"

#define AA_CONFIG_MAX (1u << 20) /* bytes */

struct aa_config {
	char *kbs_url;            /* token_configs.kbs.url, or NULL */
	char *kbs_cert;           /* PEM, or NULL */
	enum kbs_tee_key tee_key; /* token_configs.kbs.tee_key_algorithm */
	char *as_url;             /* token_configs.coco_as.url, or NULL */
	int64_t init_pcr;         /* eventlog_config.init_pcr; -1: the TEE's default */
	bool enable_eventlog;
	enum cf_log_level log_level;
	bool allow_sample;      /* coffer.allow_sample */
	bool token_cache;       /* coffer.token_cache, default true */
	bool initdata_required; /* coffer.initdata_required */
	char *rest;             /* coffer.rest, loopback ADDRESS:PORT, or NULL */
	bool rest_token;        /* coffer.rest_token: give tokens out there */
	bool tpm_ak_ecc;        /* coffer.tpm_ak = "ecc" */
};

void aa_config_init(struct aa_config *c); /* defaults */
void aa_config_fini(struct aa_config *c);
/* Over what is there already. A text beginning with "{" is JSON. -CF_INVALID_ARGUMENT. */
cf_must_use int aa_config_parse(struct aa_config *c, struct cf_view text, struct cf_err *err);
cf_must_use int aa_config_read_file(struct aa_config *c, const char *path, struct cf_err *err);
/* "cc_kbc::<url>", as AA_KBC_PARAMS and agent.aa_kbc_params say it; other forms are left alone. */
void aa_config_kbc_params(struct aa_config *c, const char *text);
