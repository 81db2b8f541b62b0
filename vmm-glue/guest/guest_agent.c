/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Kata agent protocol's services: every request passes the gate first, then the rules and the
 * policy, then its handler. All handlers run on the loop's thread and never block.
 */
#include "base/fd.h"
#include "base/log.h"
#include "google/protobuf/empty.pb-c.h"
#include "vmm-glue/guest/guest.h"
#include "vmm-glue/guest/guest_copy.h"
#include "vmm-glue/guest/guest_net.h"
#include "vmm-glue/guest/guest_rules.h"
#include "vmm-glue/guest/guest_spec.h"
#include "vmm-glue/guest/guest_stats.h"

#include <dirent.h>
#include <errno.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define API_VERSION    "0.0.1" /* as all known peers report it */
#define DIAGNOSTIC_MAX 4096u

void guest_reply_empty(struct rpc_call *call)
{
	Google__Protobuf__Empty empty = GOOGLE__PROTOBUF__EMPTY__INIT;

	rpc_reply(call, &empty);
}

static void finish(struct rpc_call *call, int r, const struct cf_err *err)
{
	if (r < 0)
		rpc_fail_err(call, err);
	else
		guest_reply_empty(call);
}

bool guest_pass(struct guest *g, struct rpc_call *call, const ProtobufCMessage *msg)
{
	enum guest_phase before = g->gate.phase;
	struct cf_err err;
	int r;

	r = guest_gate_pass(&g->gate, call->method, &err);
	if (r == 0 && g->rego)
		r = guest_rego_judge(g->rego, msg, &err);
	if (r == 0)
		return true;
	g->gate.phase = before;
	rpc_fail_err(call, &err);
	return false;
}

/* Opens a handler: its request type, the guest, and the gate. */
#define HANDLER(name, Type)                                                                        \
	static void name##_gated(struct guest *g, struct rpc_call *call, const Grpc__##Type *req); \
	static void name(struct rpc_call *call, const ProtobufCMessage *msg, void *user)           \
	{                                                                                          \
		if (guest_pass(user, call, msg))                                                   \
			name##_gated(user, call, (const Grpc__##Type *)msg);                       \
	}                                                                                          \
	static void name##_gated(__attribute__((unused)) struct guest *g, struct rpc_call *call,   \
	                         __attribute__((unused)) const Grpc__##Type *req)

/* ---- sandbox and containers ---- */

HANDLER(create_sandbox, CreateSandboxRequest)
{
	guest_create_sandbox(g, call, req);
}

HANDLER(destroy_sandbox, DestroySandboxRequest)
{
	guest_destroy_sandbox(g, call);
}

HANDLER(create_container, CreateContainerRequest)
{
	guest_create_container(g, call, req);
}

HANDLER(start_container, StartContainerRequest)
{
	guest_start_container(g, call, req->container_id);
}

HANDLER(remove_container, RemoveContainerRequest)
{
	guest_remove_container(g, call, req);
}

HANDLER(exec_process, ExecProcessRequest)
{
	guest_exec_process(g, call, req);
}

HANDLER(signal_process, SignalProcessRequest)
{
	guest_signal_process(g, call, req);
}

static void container_command(struct guest *g, struct rpc_call *call, const char *verb,
                              const char *id)
{
	struct cf_strv args = { 0 };

	cf_strv_add(&args, verb);
	cf_strv_add(&args, id);
	guest_crun_command(g, call, id, &args);
	cf_strv_fini(&args);
}

HANDLER(pause_container, PauseContainerRequest)
{
	container_command(g, call, "pause", req->container_id);
}

HANDLER(resume_container, ResumeContainerRequest)
{
	container_command(g, call, "resume", req->container_id);
}

HANDLER(update_container, UpdateContainerRequest)
{
	struct guest_container *c = guest_find(g, req->container_id);
	cf_cleanup(cf_freep) char *path = NULL;
	struct cf_strv args = { 0 };
	struct cf_buf text = { 0 };
	struct cf_err err;
	int r;

	if (!c || !req->resources) {
		rpc_fail(call, c ? CF_INVALID_ARGUMENT : CF_NOT_FOUND, "container %.60s%s",
		         req->container_id, c ? ": no resources" : "");
		return;
	}
	path = cf_asprintf("%s/resources.json", c->bundle);
	guest_spec_write_resources(req->resources, &text);
	r = cf_write_file_atomic(path, cf_buf_view(&text), 0600, &err);
	cf_buf_fini(&text);
	if (r < 0) {
		rpc_fail_err(call, &err);
		return;
	}
	cf_strv_add(&args, "update");
	cf_strv_addf(&args, "--resources=%s", path);
	cf_strv_add(&args, c->id);
	guest_crun_command(g, call, c->id, &args);
	cf_strv_fini(&args);
}

HANDLER(stats_container, StatsContainerRequest)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("/coffer/%s", req->container_id);
	struct guest_stats *s;

	if (!guest_find(g, req->container_id)) {
		rpc_fail(call, CF_NOT_FOUND, "container %.60s", req->container_id);
		return;
	}
	s = guest_stats_read(g->opts.cgroup_root, path);
	rpc_reply(call, guest_stats_message(s));
	guest_stats_free(s);
}

/* ---- processes ---- */

HANDLER(wait_process, WaitProcessRequest)
{
	struct guest_container *c;
	struct guest_process *p;
	struct cf_err err;

	if (guest_find_process(g, req->container_id, req->exec_id, &c, &p, &err) < 0)
		rpc_fail_err(call, &err);
	else
		guest_process_wait(p, call);
}

HANDLER(tty_win_resize, TtyWinResizeRequest)
{
	struct guest_container *c;
	struct guest_process *p;
	struct cf_err err;
	int r;

	r = guest_find_process(g, req->container_id, req->exec_id, &c, &p, &err);
	if (r == 0)
		r = guest_process_resize(p, req->row, req->column, &err);
	finish(call, r, &err);
}

HANDLER(write_stdin, WriteStreamRequest)
{
	struct guest_container *c;
	struct guest_process *p;
	struct cf_err err;
	int r;

	r = guest_find_process(g, req->container_id, req->exec_id, &c, &p, &err);
	if (r == 0 && c->policy)
		r = native_policy_write(c->policy, &err);
	if (r == 0 && !p->in)
		r = cf_fail(&err, CF_FAILED_PRECONDITION, "standard input is closed");
	if (r < 0)
		rpc_fail_err(call, &err);
	else
		guest_input_write(p->in, call, cf_view(req->data.data, req->data.len));
}

HANDLER(close_stdin, CloseStdinRequest)
{
	struct guest_container *c;
	struct guest_process *p;
	struct cf_err err;
	int r;

	r = guest_find_process(g, req->container_id, req->exec_id, &c, &p, &err);
	/* A terminal's input ends with its other side. */
	if (r == 0 && p->in && !p->has_terminal)
		guest_input_finish(p->in);
	finish(call, r, &err);
}

static void read_stream(struct guest *g, struct rpc_call *call, const Grpc__ReadStreamRequest *req,
                        bool wants_errors)
{
	Grpc__ReadStreamResponse end = GRPC__READ_STREAM_RESPONSE__INIT;
	struct guest_stream *s;
	struct guest_container *c;
	struct guest_process *p;
	struct cf_err err;

	if (guest_find_process(g, req->container_id, req->exec_id, &c, &p, &err) < 0) {
		rpc_fail_err(call, &err);
		return;
	}
	s = wants_errors && !p->has_terminal ? p->errors : p->out;
	/* What the policy withholds looks like an end; the guest goes on draining it. */
	if (!s || !p->may_read)
		rpc_reply(call, &end);
	else
		guest_stream_read(s, call, req->len);
}

HANDLER(read_stdout, ReadStreamRequest)
{
	read_stream(g, call, req, false);
}

HANDLER(read_stderr, ReadStreamRequest)
{
	read_stream(g, call, req, true);
}

/* ---- network ---- */

HANDLER(update_interface, UpdateInterfaceRequest)
{
	struct cf_err err;
	int r;

	r = guest_rules_interface(req->interface, &err);
	if (r == 0)
		r = guest_net_update_interface(req->interface, &err);
	if (r < 0)
		rpc_fail_err(call, &err);
	else
		rpc_reply(call, req->interface);
}

static void reply_routes(struct rpc_call *call)
{
	Grpc__Routes routes = GRPC__ROUTES__INIT;
	struct cf_err err;

	if (guest_net_list_routes(&routes, &err) < 0)
		rpc_fail_err(call, &err);
	else
		rpc_reply(call, &routes);
	guest_net_routes_fini(&routes);
}

HANDLER(update_routes, UpdateRoutesRequest)
{
	const Grpc__Routes *routes = req->routes;
	struct cf_err err;
	int r = routes ? 0 : cf_fail(&err, CF_INVALID_ARGUMENT, "no routes");

	for (size_t i = 0; r == 0 && i < routes->n_routes; i++)
		r = guest_rules_route(routes->routes[i], &err);
	if (r == 0)
		r = guest_net_update_routes(routes, &err);
	if (r < 0)
		rpc_fail_err(call, &err);
	else
		reply_routes(call);
}

HANDLER(list_routes, ListRoutesRequest)
{
	reply_routes(call);
}

HANDLER(list_interfaces, ListInterfacesRequest)
{
	Grpc__Interfaces links = GRPC__INTERFACES__INIT;
	struct cf_err err;

	if (guest_net_list_interfaces(&links, &err) < 0)
		rpc_fail_err(call, &err);
	else
		rpc_reply(call, &links);
	guest_net_interfaces_fini(&links);
}

HANDLER(add_arp_neighbors, AddARPNeighborsRequest)
{
	const Grpc__ARPNeighbors *list = req->neighbors;
	struct cf_err err;
	int r = 0;

	for (size_t i = 0; r == 0 && list && i < list->n_arpneighbors; i++)
		r = guest_rules_neighbor(list->arpneighbors[i], &err);
	for (size_t i = 0; r == 0 && list && i < list->n_arpneighbors; i++)
		r = guest_net_add_neighbor(list->arpneighbors[i], &err);
	finish(call, r, &err);
}

/* ---- the machine ---- */

HANDLER(copy_file, CopyFileRequest)
{
	cf_cleanup(cf_freep) char *share = guest_path(g, GUEST_WIRE_SHARE);
	struct cf_err err;
	int r = guest_copy_file(share, req, &err);

	finish(call, r, &err);
}

HANDLER(get_guest_details, GuestDetailsRequest)
{
	static char blk[] = "ephemeral", local[] = "local", image[] = "image_guest_pull";
	char *storages[] = { blk, local, image };
	Grpc__AgentDetails details = GRPC__AGENT_DETAILS__INIT;
	Grpc__GuestDetailsResponse resp = GRPC__GUEST_DETAILS_RESPONSE__INIT;
	cf_cleanup(cf_freep) char *version = cf_strdup(COFFER_VERSION);
	struct cf_buf text = { .max = 64 };

	details.version = version;
	details.init_daemon = g->opts.is_init;
	details.storage_handlers = storages;
	details.n_storage_handlers = CF_ARRAY_LEN(storages);
	resp.agent_details = &details;
	if (req->mem_block_size &&
	    cf_read_file("/sys/devices/system/memory/block_size_bytes", 63, &text, NULL) == 0)
		resp.mem_block_size_bytes = strtoull((const char *)text.data, NULL, 16);
	cf_buf_fini(&text);
	rpc_reply(call, &resp);
}

HANDLER(get_oom_event, GetOOMEventRequest)
{
	Grpc__OOMEvent event = GRPC__OOMEVENT__INIT;

	if (g->oom_waiter)
		rpc_fail(cf_take(&g->oom_waiter), CF_CANCELLED, "another call waits");
	if (!g->ooms.count) {
		g->oom_waiter = call;
		return;
	}
	event.container_id = g->ooms.items[--g->ooms.count];
	rpc_reply(call, &event);
	free(event.container_id);
	g->ooms.items[g->ooms.count] = NULL;
}

HANDLER(get_metrics, GetMetricsRequest)
{
	Grpc__Metrics resp = GRPC__METRICS__INIT;
	struct cf_buf text = { .max = 65536 };

	guest_metrics(&text);
	resp.metrics = cf_buf_take_str(&text);
	rpc_reply(call, &resp);
	free(resp.metrics);
}

/* Figures of a volume below the guest's own directories, not of any path the host likes. */
HANDLER(get_volume_stats, VolumeStatsRequest)
{
	Grpc__VolumeUsage bytes = GRPC__VOLUME_USAGE__INIT, inodes = GRPC__VOLUME_USAGE__INIT;
	Grpc__VolumeUsage *usage[] = { &bytes, &inodes };
	Grpc__VolumeCondition condition = GRPC__VOLUME_CONDITION__INIT;
	Grpc__VolumeStatsResponse resp = GRPC__VOLUME_STATS_RESPONSE__INIT;
	cf_cleanup(cf_freep) char *path = NULL;
	struct statvfs st;

	if (!guest_path_is_canonical(req->volume_guest_path) ||
	    !guest_path_is_below(req->volume_guest_path, GUEST_WIRE_ROOT)) {
		rpc_fail(call, CF_INVALID_ARGUMENT, "volume \"%.120s\"", req->volume_guest_path);
		return;
	}
	path = guest_path(g, req->volume_guest_path);
	if (statvfs(path, &st) < 0) {
		rpc_fail(call, cf_code_from_errno(errno), "volume \"%.120s\"",
		         req->volume_guest_path);
		return;
	}
	bytes.unit = GRPC__VOLUME_USAGE__UNIT__BYTES;
	bytes.total = (uint64_t)st.f_blocks * st.f_frsize;
	bytes.available = (uint64_t)st.f_bavail * st.f_frsize;
	bytes.used = (uint64_t)(st.f_blocks - st.f_bfree) * st.f_frsize;
	inodes.unit = GRPC__VOLUME_USAGE__UNIT__INODES;
	inodes.total = st.f_files;
	inodes.available = st.f_favail;
	inodes.used = st.f_files - st.f_ffree;
	resp.usage = usage;
	resp.n_usage = CF_ARRAY_LEN(usage);
	resp.volume_condition = &condition;
	rpc_reply(call, &resp);
}

/* The termination log, whose content the workload wrote for its host to read. */
HANDLER(get_diagnostic_data, GetDiagnosticDataRequest)
{
	Grpc__GetDiagnosticDataResponse resp = GRPC__GET_DIAGNOSTIC_DATA_RESPONSE__INIT;
	struct guest_container *c = guest_find(g, req->container_id);
	cf_cleanup(cf_closep) int fd = -1;
	uint8_t data[DIAGNOSTIC_MAX];
	struct cf_err err;
	ssize_t n;

	if (!c || c->is_pause || !c->policy || !cf_streq(req->log_type, "termination_log")) {
		rpc_fail(call, CF_NOT_FOUND, "\"%.40s\" of container %.60s", req->log_type,
		         req->container_id);
		return;
	}
	if (native_policy_read(c->policy, &err) < 0) {
		rpc_fail_err(call, &err);
		return;
	}
	if (c->termination_log)
		fd = open(c->termination_log, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	n = fd >= 0 ? read(fd, data, sizeof(data)) : 0;
	resp.data.data = data;
	resp.data.len = n > 0 ? (size_t)n : 0;
	rpc_reply(call, &resp);
}

/* Mixed into the kernel's pool without being credited as entropy. */
HANDLER(reseed_random_dev, ReseedRandomDevRequest)
{
	cf_cleanup(cf_closep) int fd = open("/dev/urandom", O_WRONLY | O_CLOEXEC);
	struct cf_err err;
	int r;

	r = fd < 0 ? cf_fail_errno(&err, errno, "/dev/urandom")
	           : cf_write_all(fd, cf_view(req->data.data, req->data.len), &err);
	finish(call, r, &err);
}

/* Linux brings hot-plugged CPUs and memory online itself (auto_online); nothing is left to do. */
HANDLER(online_cpu_mem, OnlineCPUMemRequest)
{
	guest_reply_empty(call);
}

/* Rows that the gate never lets through; here so that the refusal says why. */
#define REFUSED(name, Type)                                                                        \
	HANDLER(name, Type)                                                                        \
	{                                                                                          \
		rpc_fail(call, CF_PERMISSION_DENIED, "%s", call->method);                          \
	}
REFUSED(set_policy, SetPolicyRequest)
REFUSED(set_guest_date_time, SetGuestDateTimeRequest)
REFUSED(mem_hotplug_by_probe, MemHotplugByProbeRequest)
REFUSED(update_ephemeral_mounts, UpdateEphemeralMountsRequest)

/* ---- health: served always ---- */

static void check(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	Grpc__HealthCheckResponse resp = GRPC__HEALTH_CHECK_RESPONSE__INIT;

	(void)msg;
	(void)user;
	resp.status = GRPC__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
	rpc_reply(call, &resp);
}

static void version(struct rpc_call *call, const ProtobufCMessage *msg, void *user)
{
	Grpc__VersionCheckResponse resp = GRPC__VERSION_CHECK_RESPONSE__INIT;
	cf_cleanup(cf_freep) char *api = cf_strdup(API_VERSION);
	cf_cleanup(cf_freep) char *own = cf_strdup("coffer-init " COFFER_VERSION);

	(void)msg;
	(void)user;
	resp.grpc_version = api;
	resp.agent_version = own;
	rpc_reply(call, &resp);
}

/* ---- tables ---- */

#define EMPTY &google__protobuf__empty__descriptor
#define ROW(method, in_type, out_desc, fn)                                                         \
	{                                                                                          \
		method, &grpc__##in_type##__descriptor, out_desc, fn, RPC_INLINE                   \
	}

static const struct rpc_method agent_methods[] = {
	ROW("CreateSandbox", create_sandbox_request, EMPTY, create_sandbox),
	ROW("DestroySandbox", destroy_sandbox_request, EMPTY, destroy_sandbox),
	ROW("CreateContainer", create_container_request, EMPTY, create_container),
	ROW("StartContainer", start_container_request, EMPTY, start_container),
	ROW("RemoveContainer", remove_container_request, EMPTY, remove_container),
	ROW("ExecProcess", exec_process_request, EMPTY, exec_process),
	ROW("SignalProcess", signal_process_request, EMPTY, signal_process),
	ROW("WaitProcess", wait_process_request, &grpc__wait_process_response__descriptor,
	    wait_process),
	ROW("UpdateContainer", update_container_request, EMPTY, update_container),
	ROW("UpdateEphemeralMounts", update_ephemeral_mounts_request, EMPTY,
	    update_ephemeral_mounts),
	ROW("StatsContainer", stats_container_request, &grpc__stats_container_response__descriptor,
	    stats_container),
	ROW("PauseContainer", pause_container_request, EMPTY, pause_container),
	ROW("ResumeContainer", resume_container_request, EMPTY, resume_container),
	ROW("WriteStdin", write_stream_request, &grpc__write_stream_response__descriptor,
	    write_stdin),
	ROW("ReadStdout", read_stream_request, &grpc__read_stream_response__descriptor,
	    read_stdout),
	ROW("ReadStderr", read_stream_request, &grpc__read_stream_response__descriptor,
	    read_stderr),
	ROW("CloseStdin", close_stdin_request, EMPTY, close_stdin),
	ROW("TtyWinResize", tty_win_resize_request, EMPTY, tty_win_resize),
	ROW("UpdateInterface", update_interface_request, &grpc__interface__descriptor,
	    update_interface),
	ROW("UpdateRoutes", update_routes_request, &grpc__routes__descriptor, update_routes),
	ROW("ListInterfaces", list_interfaces_request, &grpc__interfaces__descriptor,
	    list_interfaces),
	ROW("ListRoutes", list_routes_request, &grpc__routes__descriptor, list_routes),
	ROW("AddARPNeighbors", add_arpneighbors_request, EMPTY, add_arp_neighbors),
	ROW("OnlineCPUMem", online_cpumem_request, EMPTY, online_cpu_mem),
	ROW("ReseedRandomDev", reseed_random_dev_request, EMPTY, reseed_random_dev),
	ROW("GetGuestDetails", guest_details_request, &grpc__guest_details_response__descriptor,
	    get_guest_details),
	ROW("MemHotplugByProbe", mem_hotplug_by_probe_request, EMPTY, mem_hotplug_by_probe),
	ROW("SetGuestDateTime", set_guest_date_time_request, EMPTY, set_guest_date_time),
	ROW("CopyFile", copy_file_request, EMPTY, copy_file),
	ROW("GetOOMEvent", get_oomevent_request, &grpc__oomevent__descriptor, get_oom_event),
	ROW("GetMetrics", get_metrics_request, &grpc__metrics__descriptor, get_metrics),
	ROW("GetVolumeStats", volume_stats_request, &grpc__volume_stats_response__descriptor,
	    get_volume_stats),
	ROW("GetDiagnosticData", get_diagnostic_data_request,
	    &grpc__get_diagnostic_data_response__descriptor, get_diagnostic_data),
	ROW("SetPolicy", set_policy_request, EMPTY, set_policy),
};

static const struct rpc_method health_methods[] = {
	ROW("Check", check_request, &grpc__health_check_response__descriptor, check),
	ROW("Version", check_request, &grpc__version_check_response__descriptor, version),
};

const struct rpc_service *const *guest_services(struct guest *g, size_t *ret_count)
{
	g->agent = (struct rpc_service){
		.name = "grpc.AgentService",
		.methods = agent_methods,
		.method_count = CF_ARRAY_LEN(agent_methods),
		.user = g,
	};
	g->health = (struct rpc_service){
		.name = "grpc.Health",
		.methods = health_methods,
		.method_count = CF_ARRAY_LEN(health_methods),
		.user = g,
	};
	g->services[0] = &g->agent;
	g->pulls = guest_pulls_service(g);
	g->services[1] = &g->health;
	g->services[2] = &g->pulls;
	*ret_count = CF_ARRAY_LEN(g->services);
	return g->services;
}

/* ---- life ---- */

int guest_new(struct cf_loop *loop, const struct guest_options *opts, struct guest **ret,
              struct cf_err *err)
{
	struct guest *g = cf_zalloc(sizeof(*g));
	cf_cleanup(cf_freep) char *root = cf_asprintf("%s/crun", opts->state_dir);
	int r;

	g->loop = loop;
	g->opts = *opts;
	g->gate.phase = GUEST_UNTRUSTED;
	r = cf_mkdir_p(root, 0700, err);
	if (r == 0)
		r = guest_reaper_new(loop, &g->reaper, err);
	if (r < 0) {
		free(g);
		return r;
	}
	g->crun = guest_crun_new(loop, g->reaper, opts->crun, root);
	*ret = g;
	return 0;
}

/* crun leaves the parents of its cgroups behind; ours go when no other guest's are below them. */
static void drop_cgroup_parents(const char *root)
{
	cf_cleanup(cf_freep) char *unified = cf_asprintf("%s/coffer", root);
	DIR *dir = opendir(root);
	struct dirent *e;

	(void)rmdir(unified);
	while (dir && (e = readdir(dir))) {
		cf_cleanup(cf_freep) char *path = cf_asprintf("%s/%s/coffer", root, e->d_name);

		if (e->d_name[0] != '.')
			(void)rmdir(path);
	}
	if (dir)
		closedir(dir);
}

struct guest *guest_free(struct guest *g)
{
	if (!g)
		return NULL;
	g->cdh = ttrpc_client_free(g->cdh);
	g->crun = guest_crun_free(g->crun);
	guest_containers_abandon(g);
	if (g->oom_waiter)
		rpc_fail(cf_take(&g->oom_waiter), CF_UNAVAILABLE, "the guest ends");
	if (g->destroyer)
		rpc_fail(cf_take(&g->destroyer), CF_UNAVAILABLE, "the guest ends");
	guest_storage_drop_all(g);
	guest_namespaces_drop(g);
	if (!g->opts.is_init)
		drop_cgroup_parents(g->opts.cgroup_root);
	guest_reaper_free(g->reaper);
	native_policy_free(g->policy);
	guest_rego_free(g->rego);
	cf_strv_fini(&g->ooms);
	free(g->sandbox_id);
	free(g);
	return NULL;
}

void guest_trust(struct guest *g, struct native_policy *policy_take, struct guest_rego *rego_take)
{
	g->policy = policy_take;
	g->rego = rego_take;
	g->gate.phase = GUEST_READY;
}
