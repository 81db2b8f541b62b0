/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What containerd's keys and names say; nothing else is read out of them. */
#include <stdbool.h>

/* Whether @key is that of an unpacking: ".../extract-… sha256:<64 hex>". */
bool snap_name_is_extract(const char *key);
/* Whether @name is one a layer has: "[NS/NUMBER/]sha256:<64 hex>[#NUMBER]". */
bool snap_name_is_layer(const char *name);
