/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * How containerd starts a shim: "start" is run in the bundle, makes (or finds) the pod's daemon and
 * prints where it listens. Daemons up to 2.2 read a plain address; 2.3 and later write
 * BootstrapParams to our standard input and read a BootstrapResult. Everything the caller sends is
 * checked before it becomes a path.
 */
#include "base/bytes.h"
#include "vmm-glue/shim/args.h"

#define BOOTSTRAP_INPUT_MAX  (10u << 20)
#define SHIM_SOCKET_PATH_MAX 106u
#define SHIM_SOCKET_DIR      "/run/containerd/s"
#define SHIM_LISTEN_FD       3 /* where the daemon inherits its listening socket */

/* What "start" was told on standard input. */
struct bootstrap_input {
	bool is_v3;          /* BootstrapParams of this very -id and -namespace; else legacy */
	char *socket_dir;    /* or NULL */
	char *ttrpc_address; /* or NULL */
	int log_level;
};

/*
 * Decides the dialect: BootstrapParams only when instance_id and namespace equal ours, since a
 * runtime options Any parses as BootstrapParams as well. Never fails: anything else is legacy.
 */
void bootstrap_parse(struct cf_view in, const char *id, const char *ns,
                     struct bootstrap_input *ret);
void bootstrap_input_fini(struct bootstrap_input *in);

/* What "start" prints: the plain address, or a BootstrapResult when @is_v3. Appends to @out. */
void bootstrap_answer(bool is_v3, const char *address, struct cf_buf *out);

/* DIR/HEX of SHA-256 over the joined path; the caller frees. -CF_INVALID_ARGUMENT: too long. */
cf_must_use int bootstrap_socket_path(const char *dir, const char *grpc_address, const char *ns,
                                      const char *group, char **ret, struct cf_err *err);

/*
 * filepath.Join of Go: joined with "/", cleaned of empty, "." and ".." elements. The caller frees.
 */
char *bootstrap_join(const char *a, const char *b, const char *c);

/* The action "start": answers on stdout. */
cf_must_use int bootstrap_start(const struct shim_args *args, struct cf_err *err);
