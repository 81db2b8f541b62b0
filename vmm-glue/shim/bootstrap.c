/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/shim/bootstrap.h"

#include "base/crypto.h"
#include "base/fd.h"
#include "base/proc.h"
#include "base/str.h"
#include "proto/containerd_bootstrap.pb-c.h"
#include "proto/rpc.h"
#include "vmm-glue/shim/bundle.h"
#include "vmm-glue/shim/socket_lease.h"
#include "vmm-glue/shim/vmm.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STDIN_GUARD_MS 2000 /* a person at a terminal who started us by hand */

typedef Containerd__Runtime__Bootstrap__V1__BootstrapParams params_msg;
typedef Containerd__Runtime__Bootstrap__V1__BootstrapResult result_msg;

void bootstrap_parse(struct cf_view in, const char *id, const char *ns, struct bootstrap_input *ret)
{
	ProtobufCMessage *msg = NULL;
	struct cf_err err;
	params_msg *p;

	*ret = (struct bootstrap_input){ .is_v3 = false };
	if (!in.size ||
	    rpc_unpack(&containerd__runtime__bootstrap__v1__bootstrap_params__descriptor, in.data,
	               in.size, &msg, &err) < 0)
		return;
	p = (params_msg *)msg;
	if (cf_streq(p->instance_id, id) && cf_streq(p->namespace_, ns)) {
		ret->is_v3 = true;
		ret->log_level = p->log_level;
		if (*p->containerd_ttrpc_address)
			ret->ttrpc_address = cf_strdup(p->containerd_ttrpc_address);
		if (p->_socket_dir_case && *p->socket_dir)
			ret->socket_dir = cf_strdup(p->socket_dir);
	}
	protobuf_c_message_free_unpacked(msg, NULL);
}

void bootstrap_input_fini(struct bootstrap_input *in)
{
	free(in->socket_dir);
	free(in->ttrpc_address);
	*in = (struct bootstrap_input){ .is_v3 = false };
}

void bootstrap_answer(bool is_v3, const char *address, struct cf_buf *out)
{
	cf_cleanup(cf_freep) char *copy = cf_strdup(address);
	result_msg msg = CONTAINERD__RUNTIME__BOOTSTRAP__V1__BOOTSTRAP_RESULT__INIT;
	static char protocol[] = "ttrpc";
	uint8_t *at;

	if (!is_v3) {
		cf_buf_add_str(out, address);
		return;
	}
	msg.version = 3;
	msg.address = copy;
	msg.protocol = protocol;
	at = cf_buf_reserve(out, protobuf_c_message_get_packed_size(&msg.base));
	if (at)
		out->size += protobuf_c_message_pack(&msg.base, at);
}

char *bootstrap_join(const char *a, const char *b, const char *c)
{
	cf_cleanup(cf_freep) char *raw = cf_asprintf("%s/%s/%s", a, b, c);
	bool is_rooted = a[0] == '/';
	struct cf_strv in = { 0 }, out = { 0 };
	cf_cleanup(cf_freep) char *joined = NULL;

	cf_strv_split(&in, cf_view_str(raw), '/');
	for (size_t i = 0; i < in.count; i++) {
		const char *e = in.items[i];

		if (!*e || cf_streq(e, "."))
			continue;
		if (!cf_streq(e, "..")) {
			cf_strv_add(&out, e);
			continue;
		}
		if (out.count) {
			free(out.items[--out.count]);
			out.items[out.count] = NULL;
		}
	}
	joined = cf_strv_join(&out, "/");
	cf_strv_fini(&in);
	cf_strv_fini(&out);
	return cf_asprintf("%s%s", is_rooted ? "/" : "", joined);
}

int bootstrap_socket_path(const char *dir, const char *grpc_address, const char *ns,
                          const char *group, char **ret, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *joined = bootstrap_join(grpc_address, ns, group);
	uint8_t digest[32];
	char hex[65];

	cf_sha256(cf_view_str(joined), digest);
	cf_hex_encode(cf_view(digest, sizeof(digest)), hex);
	if (strlen(dir) + 1 + strlen(hex) > SHIM_SOCKET_PATH_MAX)
		return cf_fail(err, CF_INVALID_ARGUMENT, "socket directory %s: path too long", dir);
	*ret = cf_asprintf("%s/%s", dir, hex);
	return 0;
}

/* Standard input to its end, but a terminal gets only STDIN_GUARD_MS. */
static int read_input(struct cf_buf *ret, struct cf_err *err)
{
	struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };

	if (isatty(STDIN_FILENO) && poll(&p, 1, STDIN_GUARD_MS) <= 0)
		return 0;
	return cf_read_all(STDIN_FILENO, BOOTSTRAP_INPUT_MAX, ret, err);
}

/*
 * The daemon: this binary again, without an action, with the listener as its fd 3, and the lease, if
 * there is one, as its fd 4.
 */
static int spawn_daemon(const struct shim_args *args, const char *group, const char *socket_path,
                        int listener, int lease, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *self = vmm_self();
	const char *argv[] = { self,
		               "-namespace",
		               args->ns,
		               "-id",
		               group,
		               "-address",
		               args->address ? args->address : "",
		               "-publish-binary",
		               args->publish_binary ? args->publish_binary : "",
		               "-socket",
		               socket_path,
		               args->is_debug ? "-debug" : NULL,
		               NULL };
	int fds[] = { listener, lease };
	struct cf_proc_opts opts = {
		.argv = argv,
		.stdin_fd = -1,
		.stdout_fd = -1,
		.stderr_fd = -1,
		.fds = fds,
		.fd_count = lease < 0 ? 1 : 2,
		.new_session = true,
	};
	cf_cleanup(cf_closep) int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	pid_t pid;

	/* containerd reads our stdout and stderr to their end: the daemon must not hold them */
	if (null < 0)
		return cf_fail_errno(err, errno, "/dev/null");
	opts.stderr_fd = null;
	return cf_proc_spawn(&opts, &pid, err);
}

/*
 * The listener of the pod's daemon. Positive (BOOTSTRAP_RUNS): the pod's shim is there already.
 */
#define BOOTSTRAP_RUNS 1
static int claim_socket(const char *path, int *ret, struct cf_err *err)
{
	int fd = cf_listen_unix(path, err);

	if (fd == -CF_ALREADY_EXISTS)
		return BOOTSTRAP_RUNS;
	if (fd < 0)
		return cf_wrap(err, fd, "shim socket %s", path);
	*ret = fd;
	return 0;
}

static int write_address_file(const char *address, struct cf_err *err)
{
	return cf_write_file_atomic("address", cf_view_str(address), 0644, err);
}

static int start_in_bundle(const struct shim_args *args, const struct bootstrap_input *in,
                           struct cf_err *err)
{
	const char *dir = in->socket_dir ? in->socket_dir : SHIM_SOCKET_DIR;
	cf_cleanup(bundle_freep) struct bundle *bundle = NULL;
	cf_cleanup(cf_freep) char *path = NULL;
	cf_cleanup(cf_freep) char *address = NULL;
	cf_cleanup(cf_closep) int listener = -1;
	cf_cleanup(cf_closep) int lease = -1;
	struct cf_buf out = { 0 };
	int r;

	r = bundle_load(".", args->id, &bundle, err);
	if (r == -CF_NOT_FOUND) /* a sandbox without a spec (sandbox API) */
		r = bundle_parse(cf_view(NULL, 0), args->id, &bundle, err);
	if (r < 0)
		return r;
	r = cf_mkdir_p(dir, 0700, err);
	if (r < 0)
		return r;
	r = bootstrap_socket_path(dir, args->address ? args->address : "", args->ns,
	                          bundle->sandbox_id, &path, err);
	if (r < 0)
		return r;
	socket_lease_sweep(SOCKET_LEASE_DIR);
	lease = socket_lease_take(SOCKET_LEASE_DIR, path, NULL);
	r = claim_socket(path, &listener, err);
	if (r < 0)
		return r;
	address = cf_asprintf("unix://%s", path);
	if (r == 0) {
		if (in->socket_dir && symlink(in->socket_dir, "s") < 0 && errno != EEXIST)
			return cf_fail_errno(err, errno, "link to the socket directory");
		r = spawn_daemon(args, bundle->sandbox_id, path, listener, lease, err);
		if (r < 0)
			return r;
	}
	r = write_address_file(address, err);
	if (r < 0)
		return r;
	bootstrap_answer(in->is_v3, address, &out);
	r = cf_write_all(STDOUT_FILENO, cf_buf_view(&out), err);
	cf_buf_fini(&out);
	return r;
}

int bootstrap_start(const struct shim_args *args, struct cf_err *err)
{
	struct cf_buf text = { .max = BOOTSTRAP_INPUT_MAX + 1 };
	struct bootstrap_input in = { .is_v3 = false };
	int r;

	r = shim_id_check("-id", args->id, err);
	if (r == 0)
		r = shim_id_check("-namespace", args->ns, err);
	if (r == 0)
		r = read_input(&text, err);
	if (r == 0) {
		bootstrap_parse(cf_buf_view(&text), args->id, args->ns, &in);
		if (in.ttrpc_address && setenv("TTRPC_ADDRESS", in.ttrpc_address, 1) < 0)
			r = cf_fail_errno(err, errno, "environment");
	}
	if (r == 0)
		r = start_in_bundle(args, &in, err);
	cf_buf_fini(&text);
	bootstrap_input_fini(&in);
	return r;
}
