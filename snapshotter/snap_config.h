/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Options of the snapshotter: defaults, then the file, then the command line. Started as
 * `containerd-nydus-grpc` it takes that program's flags, file and places, so that it can stand in
 * for it without any other change. What the file says comes from the node's administrator; a
 * mistake in it is named with file and line.
 */
#include "base/log.h"
#include "snapshotter/snap_service.h"

#define SNAP_CONFIG_SIZE_MAX   (1u << 20)
#define SNAP_ROOT_BYTES_MAX    128u /* 128 lower directories must fit mount(2)'s page when shortened */
#define SNAP_INSTANCES_MAX     16u
#define SNAP_INSTANCE_NAME_MAX 76u /* bytes; containerd's plugin ids are no longer */

struct snap_config_instance {
	char *name; /* "" for the first */
	char *root;
	enum snap_mode mode;
	bool has_driver;
};

struct snap_config {
	char *root, *address, *helper, *file;
	char *notify;     /* a datagram socket that is told of pulls early; NULL: none */
	char *containerd; /* its socket, which the differ asks what layers are made of; "" none */
	enum snap_mode mode;
	bool is_minimal, is_volatile, is_sync_remove, is_relaxed, is_strict;
	enum cf_log_level level;
	bool has_level, has_driver;
	bool has_driver_option; /* the command line says it, so the file's is not looked at */
	uid_t uid;              /* owner of the socket, let in beside root and ourselves */
	gid_t gid;

	/* The control socket; NULL: beside the main one, unless it is off. */
	char *control;
	bool is_control_off;
	uid_t control_uid;
	gid_t control_gid;
	char *metrics; /* "ADDRESS:PORT" of Prometheus' listener; NULL: none */

	/* Filled by snap_config_read(): [0] is what root and mode say. */
	struct snap_config_instance *instances;
	size_t instance_count;
};

void snap_config_fini(struct snap_config *c);
/*
 * Return: 0; SNAP_CONFIG_DONE when --help or --version was printed; -CF_INVALID_ARGUMENT and what
 * reading the file fails with.
 */
#define SNAP_CONFIG_DONE 1
cf_must_use int snap_config_read(int argc, char **argv, struct snap_config *ret,
                                 struct cf_err *err);

/* ---- the file ---- */

/*
 * Reads @c->file into @c. Keys that mean nothing here are named in one line of log; those that
 * would be unsafe to pass over are refused.
 */
cf_must_use int snap_config_read_file(struct snap_config *c, struct cf_err *err);
/* The same of @text; @name stands before the line in messages. */
cf_must_use int snap_config_read_text(struct snap_config *c, const char *name, struct cf_view text,
                                      struct cf_err *err);

/* Values that the file and the command line share. */
cf_must_use int snap_config_set_driver(const char *text, enum snap_mode *ret, struct cf_err *err);
cf_must_use int snap_config_set_level(struct snap_config *c, const char *text, struct cf_err *err);
const char *snap_config_mode_name(enum snap_mode mode);
