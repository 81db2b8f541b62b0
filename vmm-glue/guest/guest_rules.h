/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Rules for what the host may ask of a guest, whatever a policy says: they hold before and
 * independent of it. No I/O; everything looked at is hostile.
 *
 * Refusals are PERMISSION_DENIED when the host asked for something it must not have, and
 * INVALID_ARGUMENT when the request makes no sense.
 */
#include "base/bytes.h"
#include "proto/agent.pb-c.h"

#define GUEST_ID_MAX          255u       /* bytes of a container or exec id */
#define GUEST_PATH_MAX        4095u      /* bytes of a path from the host */
#define GUEST_FILE_MAX        (64 << 20) /* bytes of one copied file */
#define GUEST_MOUNTS_MAX      256u
#define GUEST_STORAGES_MAX    64u
#define GUEST_ANNOTATIONS_MAX 4096u

/* What the wire calls things, whatever the directory is here. */
#define GUEST_WIRE_ROOT    "/run/kata-containers"
#define GUEST_WIRE_SHARE   "/run/kata-containers/shared/containers"
#define GUEST_WIRE_SANDBOX "/run/kata-containers/sandbox"

/* [a-zA-Z0-9][a-zA-Z0-9._-]+, at most GUEST_ID_MAX. */
cf_must_use int guest_rules_id(const char *id, const char *what, struct cf_err *err);

/* Absolute, no empty, "." or ".." component, no trailing slash. "/" alone is not canonical here. */
bool guest_path_is_canonical(const char *path);
/* @path is @root or lies below it; both canonical. */
bool guest_path_is_below(const char *path, const char *root);

cf_must_use int guest_rules_sandbox(const Grpc__CreateSandboxRequest *req, struct cf_err *err);

/*
 * The request without its process (that is the policy's): hooks, devices, seccomp, sysctl, id maps,
 * labels, propagation, mounts, storages, and no name twice in what protobuf calls a map: whoever judged
 * the one value would have run the other.
 */
cf_must_use int guest_rules_container(const Grpc__CreateContainerRequest *req, struct cf_err *err);
/* Things no exec may carry: users by name, labels. The words are the policy's. */
cf_must_use int guest_rules_exec(const Grpc__ExecProcessRequest *req, struct cf_err *err);

enum guest_file {
	GUEST_FILE_REGULAR,
	GUEST_FILE_DIRECTORY,
	GUEST_FILE_SYMLINK,
};
struct guest_copy {
	enum guest_file kind;
	const char *path; /* below the share, without a leading slash; borrowed from the request */
};
/*
 * CopyFile: only below the share; a link only to a relative target without "..", and never directly
 * in the share's root, where the names of whole volumes lie (CVE-2026-41326).
 */
cf_must_use int guest_rules_copy(const Grpc__CopyFileRequest *req, struct guest_copy *ret,
                                 struct cf_err *err);

/* Network changes before the first container alone; never the loopback device or its addresses. */
cf_must_use int guest_rules_interface(const Grpc__Interface *link, struct cf_err *err);
cf_must_use int guest_rules_route(const Grpc__Route *route, struct cf_err *err);
cf_must_use int guest_rules_neighbor(const Grpc__ARPNeighbor *neighbor, struct cf_err *err);
