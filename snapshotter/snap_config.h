/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Options of the snapshotter: defaults, then the file, then the command line. Started as
 * `containerd-nydus-grpc` it takes that program's flags, file and places, so that it can stand in
 * for it without any other change.
 */
#include "base/log.h"
#include "snapshotter/snap_service.h"

#define SNAP_CONFIG_SIZE_MAX (1u << 20)
#define SNAP_ROOT_BYTES_MAX  128u /* 128 lower directories must fit mount(2)'s page when shortened */

struct snap_config {
	char *root, *address, *helper, *file;
	enum snap_mode mode;
	bool is_minimal, is_volatile, is_sync_remove, is_relaxed, is_strict;
	enum cf_log_level level;
	bool has_level, has_driver;
};

void snap_config_fini(struct snap_config *c);
/*
 * Return: 0; SNAP_CONFIG_DONE when --help or --version was printed; -CF_INVALID_ARGUMENT and what
 * reading the file fails with.
 */
#define SNAP_CONFIG_DONE 1
cf_must_use int snap_config_read(int argc, char **argv, struct snap_config *ret,
                                 struct cf_err *err);
