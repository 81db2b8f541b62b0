/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A pull: reference → manifest → policy → keys → layers → one merged image in the store. It blocks;
 * a daemon runs it on a worker. Several may run over one store at a time, in one process or many.
 *
 * Order matters: the policy is asked for every pull, also when everything is in the store, and
 * before a byte of a layer or of the configuration is asked for.
 */
#include "base/work.h"
#include "proto/oci_source.h"
#include "proto/ocicrypt.h"

#define IMAGED_LAYERS_AT_ONCE     3u
#define IMAGED_LAYERS_AT_ONCE_MAX 16u

struct blob_cache;
struct pull_meter;
struct sig_policy;

/* What all pulls share; never changes while one runs. Everything is borrowed. */
struct pull_env {
	const char *work_dir;    /* store, locks below it */
	struct cf_work *layers;  /* pool for layer jobs; never the one this pull runs on */
	unsigned layers_at_once; /* 0: IMAGED_LAYERS_AT_ONCE */
	struct oci_source_config source;
	struct oci_platform platform;
	const struct sig_policy *policy; /* NULL: nothing is checked */
	struct ocicrypt_keys keys;       /* .kek: any thread */
	/* Fetches what a policy names by URI (keys); any thread. NULL: files only. */
	int (*fetch)(void *arg, const char *uri, struct cf_buf *ret, struct cf_err *err);
	void *fetch_arg;
	struct blob_cache *cache; /* the node's, or NULL */
	bool not_durable;         /* the store does not outlive this machine's memory */
	/* Told when layer @i (from 0) of @count begins and when it is there. Any thread. May be NULL. */
	void (*progress)(void *arg, size_t i, size_t count, const struct oci_descriptor *layer,
	                 bool is_done);
	void *progress_arg;
	struct pull_meter *meter; /* or NULL */
};

struct pull_layer_info {
	struct oci_digest digest, diff_id;
	char *media_type;
	uint64_t size, image_bytes;
	bool is_encrypted, is_reused, is_cached;
};

struct pull_result {
	char *reference;            /* expanded, or oci:DIR */
	struct oci_digest manifest; /* of the platform's manifest */
	struct oci_digest index;    /* unset when the reference named a manifest */
	struct oci_digest config_digest;
	struct oci_config config;
	struct pull_layer_info *layers;
	size_t layer_count;
	char *merged;     /* path of the merged image */
	char *store_dir;  /* where the layer images lie */
	char *judgement;  /* what the policy said, for people; NULL without a policy */
	bool is_verified; /* a signature was checked */
	bool is_weak;     /* plain HTTP or unchecked TLS */
};
void pull_result_fini(struct pull_result *r);

/*
 * Return: 0; -CF_PERMISSION_DENIED (policy, or no key opens a layer); -CF_DATA_LOSS (a digest, an
 * HMAC or a diffID differs); -CF_NOT_FOUND; -CF_UNAVAILABLE; -CF_UNAUTHENTICATED (registry login);
 * -CF_INVALID_ARGUMENT (malformed image); -CF_RESOURCE_EXHAUSTED; -CF_CANCELLED.
 */
cf_must_use int pull_image(const struct pull_env *env, const char *place, struct pull_result *ret,
                           struct cf_err *err);

/* Paths of the layer images, bottom first, as layer_mount() takes them. */
void pull_result_devices(const struct pull_result *r, struct cf_strv *ret);
