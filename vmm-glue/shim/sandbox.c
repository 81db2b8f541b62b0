/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/shim/sandbox.h"

#include "base/crypto.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/proc.h"
#include "vmm-glue/shim/agent_spec.h"
#include "vmm-glue/shim/early_pull.h"
#include "vmm-glue/shim/pod_initdata.h"
#include "vmm-glue/shim/pod_net.h"
#include "vmm-glue/shim/sizing.h"
#include "vmm-glue/shim/state_file.h"

#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#define AGENT_SERVICE      "grpc.AgentService"
#define HEALTH_SERVICE     "grpc.Health"
#define HEALTH_TIMEOUT_MS  30000
#define HOSTNAME_MAX       64u
#define RESOLV_CONF_MAX    (64u << 10)
#define SOCKET_NAME_MAX    8u /* longest socket name in a sandbox's directory, with its slash */
#define UNIX_PATH_MAX      107u
#define SHORT_ID_MAX       32u
#define SHORT_DIGEST_BYTES 6u

struct sandbox {
	struct sandbox_opts opts;
	char *ns, *id, *dir;
	struct vmm *vmm;
	pid_t pid;    /* kept after the machine's end */
	int agent_fd; /* between boot and attach */
	struct ttrpc_client *client;
	struct pod_net *net;
	struct cf_event *child, *deadline;
	bool has_ended; /* the machine's process was reaped */
	bool was_told;  /* on_dead was called */
	bool is_stopping;
	void (*done)(void *arg);
	void *done_arg;
	unsigned jobs; /* workers that are calling the agent */
	bool is_finishing;
};

/* ---- lifetime ---- */

/* A long id is cut and a piece of its digest added: sockets' paths have 107 bytes for everything. */
static char *short_id(const char *id)
{
	uint8_t digest[32];
	char hex[2 * SHORT_DIGEST_BYTES + 1];

	if (strlen(id) <= SHORT_ID_MAX)
		return cf_strdup(id);
	cf_sha256(cf_view_str(id), digest);
	cf_hex_encode(cf_view(digest, SHORT_DIGEST_BYTES), hex);
	return cf_asprintf("%.16s-%s", id, hex);
}

int sandbox_dir(const char *run_dir, const char *ns, const char *id, char **ret, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *name = short_id(id);
	cf_cleanup(cf_freep) char *dir = cf_asprintf("%s/%s/%s", run_dir, ns, name);

	if (strlen(dir) + SOCKET_NAME_MAX > UNIX_PATH_MAX)
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "run_dir and namespace are too long for a socket's path: %s", dir);
	*ret = cf_take(&dir);
	return 0;
}

struct sandbox *sandbox_new(const struct sandbox_opts *opts)
{
	struct sandbox *sb = cf_zalloc(sizeof(*sb));

	sb->opts = *opts;
	sb->ns = cf_strdup(opts->ns);
	sb->id = cf_strdup(opts->id);
	sb->agent_fd = -1;
	return sb;
}

struct sandbox *sandbox_free(struct sandbox *sb)
{
	if (!sb)
		return NULL;
	ttrpc_client_free(sb->client);
	cf_event_free(sb->child);
	cf_event_free(sb->deadline);
	cf_close(&sb->agent_fd);
	vmm_free(sb->vmm);
	pod_net_free(sb->net);
	free(sb->ns);
	free(sb->id);
	free(sb->dir);
	free(sb);
	return NULL;
}

struct ttrpc_client *sandbox_client(const struct sandbox *sb)
{
	return sb->has_ended ? NULL : sb->client;
}

pid_t sandbox_pid(const struct sandbox *sb)
{
	return sb->pid;
}

size_t sandbox_message_max(const struct sandbox *sb)
{
	return sb->vmm ? sb->vmm->message_max : STATE_FILE_MAX;
}

int sandbox_explain(const struct sandbox *sb, int r, struct cf_err *err)
{
	return sb->vmm && r == -CF_UNAVAILABLE ? vmm_explain(sb->vmm, r, err) : r;
}

bool sandbox_is_alive(const struct sandbox *sb)
{
	return sb->vmm && !sb->has_ended;
}

static void remove_dir(const char *dir)
{
	struct cf_err err;

	if (dir && cf_rm_rf(dir, &err) < 0)
		cf_log_warn("sandbox directory left behind", CF_F_STR("error", err.msg));
}

/* ---- boot: worker ---- */

static int write_state(const struct sandbox *sb, const char *netns, struct cf_err *err)
{
	struct state_file s = { .sandbox_id = sb->id };
	int r;

	s.driver = cf_strdup(sb->vmm->ops->name);
	s.netns = cf_strdup(netns);
	s.notice = early_pull_path(sb->opts.config->early_pull, sb->ns, sb->id);
	s.shim = state_pid_of(getpid());
	s.pids[s.pid_count++] = state_pid_of(sb->vmm->pid);
	for (size_t i = 0; i < sb->vmm->helper_count; i++)
		s.pids[s.pid_count++] = state_pid_of(sb->vmm->helpers[i]);
	pod_net_links(sb->net, &s.taps);
	r = state_file_write(sb->dir, &s, err);
	s.sandbox_id = NULL; /* borrowed */
	state_file_fini(&s);
	return r;
}

/* Ends a machine that never came to the loop. */
static void abandon(struct sandbox *sb)
{
	struct cf_err ignored;
	int status;

	cf_close(&sb->agent_fd);
	if (sb->vmm) {
		vmm_stop(sb->vmm, true);
		(void)!cf_proc_wait(sb->vmm->pid, &status, &ignored);
		sb->vmm = vmm_free(sb->vmm);
	}
	sb->net = pod_net_free(sb->net);
	remove_dir(sb->dir);
}

static int boot_machine(struct sandbox *sb, const struct bundle *b, const char *netns,
                        struct cf_err *err)
{
	const struct shim_config *config = sb->opts.config;
	struct pod_initdata disk = { .path = NULL };
	struct vmm_spec spec = {
		.config = config, .sandbox_id = sb->id, .dir = sb->dir, .netns = netns
	};
	int r = pod_initdata_prepare(b, config, sb->dir, &disk, err);

	if (r == 0) {
		spec.initdata = disk.path;
		spec.initdata_digest = cf_view(disk.digest, disk.digest_size);
		sizing_of_pod(b, config, &spec.vcpus, &spec.memory_mib);
		spec.nics = pod_net_nics(sb->net, &spec.nic_count);
		r = vmm_start(&spec, &sb->vmm, err);
	}
	pod_initdata_fini(&disk);
	if (r < 0)
		return r;
	sb->pid = sb->vmm->pid;
	r = write_state(sb, netns, err);
	if (r < 0)
		return r;
	sb->agent_fd = vmm_connect(sb->vmm, config->boot_timeout_ms, err);
	return sb->agent_fd < 0 ? sb->agent_fd : 0;
}

int sandbox_boot(struct sandbox *sb, const struct bundle *b, struct cf_err *err)
{
	const struct shim_config *config = sb->opts.config;
	const struct vmm_ops *ops = vmm_find(config->driver);
	struct cf_view ns_path = bundle_netns(b);
	cf_cleanup(cf_freep) char *netns = NULL;
	int r;

	if (cf_view_has_nul(ns_path))
		return cf_fail(err, CF_INVALID_ARGUMENT, "network namespace holds a NUL");
	if (ns_path.size)
		netns = cf_view_dup(ns_path);
	r = sandbox_dir(config->run_dir, sb->ns, sb->id, &sb->dir, err);
	if (r < 0)
		return r;
	r = sandbox_reap(sb->dir, err); /* of an earlier life of this id */
	if (r == 0)
		r = cf_mkdir_p(sb->dir, 0700, err);
	if (r == 0 && ops && ops->has_own_network)
		r = pod_net_open(netns, config->network, &sb->net, err);
	if (r == 0)
		r = boot_machine(sb, b, netns, err);
	if (r < 0)
		abandon(sb);
	return r;
}

/* ---- attach: loop ---- */

static void finish(void *arg)
{
	struct sandbox *sb = arg;
	void (*done)(void *arg) = sb->done;

	sb->deadline = cf_event_free(sb->deadline);
	sb->client = ttrpc_client_free(sb->client);
	sb->vmm = vmm_free(sb->vmm);
	sb->net = pod_net_free(sb->net);
	remove_dir(sb->dir);
	sb->done = NULL;
	if (done)
		done(sb->done_arg);
}

/*
 * The rest, once the machine has ended. Posted, since we may be inside a callback of the client
 * that is freed there; and not before the last worker has seen that its agent is gone.
 */
static void finish_stop(struct sandbox *sb)
{
	if (sb->is_finishing || sb->jobs)
		return;
	sb->is_finishing = true;
	cf_loop_post(sb->opts.loop, finish, sb);
}

void sandbox_job_begin(struct sandbox *sb)
{
	sb->jobs++;
}

void sandbox_job_end(struct sandbox *sb)
{
	sb->jobs--;
	if (sb->is_stopping && (sb->has_ended || !sb->vmm))
		finish_stop(sb);
}

static void tell_dead(struct sandbox *sb, const char *why)
{
	if (sb->was_told || sb->is_stopping)
		return;
	sb->was_told = true;
	sb->opts.on_dead(sb->opts.arg, why);
}

static void on_child(pid_t pid, int status, void *arg)
{
	struct sandbox *sb = arg;

	(void)pid;
	(void)status;
	sb->child = cf_event_free(sb->child);
	sb->has_ended = true;
	sb->vmm->pid = 0;
	if (sb->is_stopping) {
		finish_stop(sb);
		return;
	}
	tell_dead(sb, "the machine ended");
}

/* An agent that is lost for good cannot be told anything: what is left of the machine is ended. */
static void on_lost(void *user, const struct cf_err *why)
{
	struct sandbox *sb = user;

	if (sb->is_stopping || sb->has_ended)
		return;
	cf_log_warn("agent lost", CF_F_STR("sandbox", sb->id), CF_F_STR("error", why->msg));
	sandbox_kill(sb);
}

static void watch_oom(struct sandbox *sb);

static void on_oom(void *user, int r, ProtobufCMessage *msg, const struct cf_err *err)
{
	struct sandbox *sb = user;

	(void)err;
	if (r == 0 && !sb->is_stopping)
		sb->opts.on_oom(sb->opts.arg, ((Grpc__OOMEvent *)msg)->container_id);
	if (msg)
		protobuf_c_message_free_unpacked(msg, NULL);
	if (r == 0 && !sb->is_stopping)
		watch_oom(sb);
}

static void watch_oom(struct sandbox *sb)
{
	Grpc__GetOOMEventRequest req = GRPC__GET_OOMEVENT_REQUEST__INIT;
	struct ttrpc_req call = { .service = AGENT_SERVICE,
		                  .method = "GetOOMEvent",
		                  .msg = &req.base,
		                  .out = &grpc__oomevent__descriptor };
	struct cf_err err;

	(void)!ttrpc_start(sb->client, &call, on_oom, sb, &err);
}

int sandbox_attach(struct sandbox *sb, struct cf_err *err)
{
	struct ttrpc_client_opts opts = { .loop = sb->opts.loop, .lost = on_lost, .user = sb };

	sb->child = cf_loop_child(sb->opts.loop, sb->vmm->pid, on_child, sb);
	return ttrpc_client_new(&opts, cf_take_fd(&sb->agent_fd), &sb->client, err);
}

/* ---- setup: worker ---- */

static int call_agent(struct sandbox *sb, const char *service, const char *method,
                      const ProtobufCMessage *msg, const ProtobufCMessageDescriptor *out,
                      int64_t timeout_ms, struct cf_err *err)
{
	struct ttrpc_req call = { .service = service,
		                  .method = method,
		                  .msg = msg,
		                  .out = out,
		                  .timeout_ms = timeout_ms };
	int r = ttrpc_call(sb->client, &call, NULL, err);

	return r < 0 ? cf_wrap(err, r, "guest: %s", method) : 0;
}

static int check_health(struct sandbox *sb, struct cf_err *err)
{
	Grpc__CheckRequest req = GRPC__CHECK_REQUEST__INIT;

	return call_agent(sb, HEALTH_SERVICE, "Check", &req.base,
	                  &grpc__health_check_response__descriptor, HEALTH_TIMEOUT_MS, err);
}

static int setup_network(struct sandbox *sb, struct cf_err *err)
{
	int64_t timeout = sb->opts.config->request_timeout_ms;
	Grpc__UpdateRoutesRequest routes = GRPC__UPDATE_ROUTES_REQUEST__INIT;
	Grpc__AddARPNeighborsRequest arp = GRPC__ADD_ARPNEIGHBORS_REQUEST__INIT;
	size_t count;
	Grpc__Interface *const *links = pod_net_interfaces(sb->net, &count);
	int r = 0;

	for (size_t i = 0; r == 0 && i < count; i++) {
		Grpc__UpdateInterfaceRequest req = GRPC__UPDATE_INTERFACE_REQUEST__INIT;

		req.interface = links[i];
		r = call_agent(sb, AGENT_SERVICE, "UpdateInterface", &req.base,
		               &grpc__interface__descriptor, timeout, err);
	}
	routes.routes = pod_net_routes(sb->net);
	if (r == 0 && routes.routes)
		r = call_agent(sb, AGENT_SERVICE, "UpdateRoutes", &routes.base,
		               &grpc__routes__descriptor, timeout, err);
	arp.neighbors = pod_net_neighbors(sb->net);
	if (r == 0 && arp.neighbors && arp.neighbors->n_arpneighbors)
		r = call_agent(sb, AGENT_SERVICE, "AddARPNeighbors", &arp.base,
		               &google__protobuf__empty__descriptor, timeout, err);
	return r;
}

/* The file that the pod's containers see as /etc/resolv.conf, by its mount in the spec. */
static struct cf_view resolv_conf_path(const struct bundle *b)
{
	const struct cf_json *mounts = cf_json_get(b->config, "mounts");

	for (size_t i = 0; i < cf_json_len(mounts); i++) {
		const struct cf_json *m = cf_json_at(mounts, i);

		if (cf_view_eq_str(cf_json_str(cf_json_get(m, "destination")), "/etc/resolv.conf"))
			return cf_json_str(cf_json_get(m, "source"));
	}
	return cf_view(NULL, 0);
}

static void read_dns(const struct bundle *b, struct cf_strv *ret)
{
	struct cf_view v = resolv_conf_path(b);
	cf_cleanup(cf_freep) char *path = NULL;
	struct cf_buf text = { .max = RESOLV_CONF_MAX + 1 };
	struct cf_err ignored;

	if (!v.size || cf_view_has_nul(v))
		return;
	path = cf_view_dup(v);
	if (cf_read_file(path, RESOLV_CONF_MAX, &text, &ignored) == 0 &&
	    !cf_view_has_nul(cf_buf_view(&text)))
		cf_strv_split(ret, cf_buf_view(&text), '\n');
	cf_buf_fini(&text);
}

static int create_sandbox(struct sandbox *sb, const struct bundle *b, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *shm_size = cf_asprintf("size=%d", AGENT_SHM_BYTES);
	static char driver[] = "ephemeral", source[] = "shm", fstype[] = "tmpfs",
		    mount_point[] = AGENT_SANDBOX_SHM, noexec[] = "noexec", nosuid[] = "nosuid",
		    nodev[] = "nodev", mode[] = "mode=1777";
	char *options[] = { noexec, nosuid, nodev, mode, shm_size };
	Grpc__CreateSandboxRequest req = GRPC__CREATE_SANDBOX_REQUEST__INIT;
	Grpc__Storage shm = GRPC__STORAGE__INIT, *storages[] = { &shm };
	struct cf_view host = cf_json_str(cf_json_get(b->config, "hostname"));
	cf_cleanup(cf_freep) char *hostname = NULL;
	struct cf_strv dns = { 0 };
	int r;

	if (cf_view_has_nul(host))
		return cf_fail(err, CF_INVALID_ARGUMENT, "hostname holds a NUL");
	hostname = cf_view_dup(cf_view_sub(host, 0, HOSTNAME_MAX));
	read_dns(b, &dns);
	shm.driver = driver;
	shm.source = source;
	shm.fstype = fstype;
	shm.mount_point = mount_point;
	shm.options = options;
	shm.n_options = CF_ARRAY_LEN(options);
	req.hostname = hostname;
	req.dns = dns.items;
	req.n_dns = dns.count;
	req.storages = storages;
	req.n_storages = 1;
	req.sandbox_id = sb->id;
	r = call_agent(sb, AGENT_SERVICE, "CreateSandbox", &req.base,
	               &google__protobuf__empty__descriptor, sb->opts.config->request_timeout_ms,
	               err);
	cf_strv_fini(&dns);
	return r;
}

static void start_oom(void *arg)
{
	struct sandbox *sb = arg;

	if (!sb->is_stopping && sb->client)
		watch_oom(sb);
}

int sandbox_setup(struct sandbox *sb, const struct bundle *b, struct cf_err *err)
{
	int r = check_health(sb, err);

	if (r == 0)
		r = setup_network(sb, err);
	if (r == 0)
		r = create_sandbox(sb, b, err);
	if (r == 0)
		cf_loop_post(sb->opts.loop, start_oom, sb);
	return r;
}

/* ---- the end: loop ---- */

void sandbox_kill(struct sandbox *sb)
{
	if (sb->vmm && !sb->has_ended)
		vmm_stop(sb->vmm, true);
}

static void on_deadline(void *arg)
{
	struct sandbox *sb = arg;

	sb->deadline = cf_event_free(sb->deadline);
	sandbox_kill(sb);
}

static void end_machine(struct sandbox *sb, bool is_forced)
{
	if (sb->has_ended || !sb->vmm) {
		finish_stop(sb);
		return;
	}
	if (sb->deadline) /* asked already */
		return;
	vmm_stop(sb->vmm, is_forced);
	sb->deadline = cf_loop_timer(sb->opts.loop, sb->opts.config->stop_timeout_ms, false,
	                             on_deadline, sb);
}

static void on_destroyed(void *user, int r, ProtobufCMessage *msg, const struct cf_err *err)
{
	struct sandbox *sb = user;

	(void)r;
	(void)err;
	if (msg)
		protobuf_c_message_free_unpacked(msg, NULL);
	if (!sb->is_finishing)
		end_machine(sb, false);
}

void sandbox_stop(struct sandbox *sb, bool is_forced, void (*done)(void *arg), void *arg)
{
	Grpc__DestroySandboxRequest req = GRPC__DESTROY_SANDBOX_REQUEST__INIT;
	struct ttrpc_req call = { .service = AGENT_SERVICE,
		                  .method = "DestroySandbox",
		                  .msg = &req.base,
		                  .out = &google__protobuf__empty__descriptor,
		                  .timeout_ms = sb->opts.config->stop_timeout_ms };
	struct cf_err err;

	sb->is_stopping = true;
	sb->done = done;
	sb->done_arg = arg;
	if (!is_forced && sandbox_client(sb) &&
	    ttrpc_start(sb->client, &call, on_destroyed, sb, &err) == 0)
		return;
	end_machine(sb, true);
}

/* ---- what a killed shim left ---- */

int sandbox_reap(const char *dir, struct cf_err *err)
{
	struct state_file s = { .sandbox_id = NULL };
	struct cf_err ignored;

	if (state_file_read(dir, &s, &ignored) == 0) {
		for (size_t i = 0; i < s.pid_count; i++)
			state_kill(&s.pids[i], 1000);
		for (size_t i = 0; i < s.taps.count; i++)
			pod_net_remove_link(s.netns, s.taps.items[i]);
		early_pull_unlink(s.notice);
		state_file_fini(&s);
	}
	return cf_rm_rf(dir, err);
}
