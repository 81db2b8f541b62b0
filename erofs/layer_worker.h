/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The sandboxed processes of the layer pipeline and of merging: the rows of coffer-layer-helper,
 * which lies beside the program that uses layer_pipeline.h or layer_merge_store(). A test can answer
 * for itself instead:
 *
 *   cf_helper_main(argc, argv, layer_helpers, layer_helper_count);
 */
#include "base/proc.h"

extern const struct cf_helper layer_helpers[];
extern const size_t layer_helper_count;

int layer_worker_inflate(int argc, char **argv);
int layer_worker_build(int argc, char **argv);
int layer_worker_merge(int argc, char **argv);
int layer_worker_users(int argc, char **argv);
