/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The OCI configuration of a container that nobody's runtime made one for: the shape that
 * containerd gives to a container, since owners' policies are written against it.
 */
#include "base/json.h"

struct run_spec {
	const char *image;
	const char *name;              /* hostname too */
	const struct cf_json *process; /* OCI process object, or NULL: /bin/sh */
};

/* Appends config.json's text. */
void run_spec_write(const struct run_spec *s, struct cf_buf *out);
