/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * One early word of a pull, as the snapshotter sends it (proto/PROTOCOL-pull-notice.md). What it says
 * comes from labels, which a registry can write.
 */
#include "base/bytes.h"

#define PULL_NOTICE_MAX       16384u /* bytes of one datagram */
#define PULL_NOTICE_IMAGE_MAX 1024u  /* bytes of a reference */

struct pull_notice {
	char *image;    /* never empty */
	char *manifest; /* "sha256:…", or NULL: containerd did not tell */
};

/* -CF_INVALID_ARGUMENT, -CF_RESOURCE_EXHAUSTED, -CF_UNIMPLEMENTED (another version or event). */
cf_must_use int pull_notice_parse(struct cf_view text, struct pull_notice *ret, struct cf_err *err);
void pull_notice_fini(struct pull_notice *n);
