/* SPDX-License-Identifier: Apache-2.0 */
/* One test for each thing that a host must not have. */
#include "vmm-glue/guest/guest_rules.h"

#include "tests/component/guest/guest_fixture.h"
#include "vmm-glue/guest/guest_gate.h"

#define SHARE GUEST_WIRE_SHARE

CF_TEST(ids_are_plain_names)
{
	static const char *const good[] = { "ab", "0a", "a.b-c_d" };
	static const char *const bad[] = { "",    "a",    ".a", "-a",       "a/b",
		                           "a b", "a\nb", "..", "a\xc3\xa4" };
	cf_cleanup(cf_freep) char *longest = cf_asprintf("%0*d", (int)GUEST_ID_MAX, 0);
	cf_cleanup(cf_freep) char *longer = cf_asprintf("%0*d", (int)GUEST_ID_MAX + 1, 0);
	struct cf_err err;

	for (size_t i = 0; i < CF_ARRAY_LEN(good); i++)
		EXPECT_OK(guest_rules_id(good[i], "container", &err), &err);
	for (size_t i = 0; i < CF_ARRAY_LEN(bad); i++)
		EXPECT_FAILS(guest_rules_id(bad[i], "container", &err), CF_INVALID_ARGUMENT);
	EXPECT_OK(guest_rules_id(longest, "container", &err), &err);
	EXPECT_FAILS(guest_rules_id(longer, "container", &err), CF_INVALID_ARGUMENT);
}

CF_TEST(paths_are_canonical_or_nothing)
{
	EXPECT(guest_path_is_canonical("/a/b"));
	EXPECT(guest_path_is_canonical("/a/..b"));
	EXPECT(!guest_path_is_canonical("/"));
	EXPECT(!guest_path_is_canonical("a"));
	EXPECT(!guest_path_is_canonical("/a/../b"));
	EXPECT(!guest_path_is_canonical("/a//b"));
	EXPECT(!guest_path_is_canonical("/a/./b"));
	EXPECT(!guest_path_is_canonical("/a/"));
	EXPECT(!guest_path_is_canonical(NULL));
	EXPECT(guest_path_is_below("/a/b", "/a"));
	EXPECT(guest_path_is_below("/a", "/a"));
	EXPECT(!guest_path_is_below("/ab", "/a"));
}

/* ---- order ---- */

CF_TEST(gate_serves_nothing_before_initdata)
{
	struct guest_gate g = { .phase = GUEST_UNTRUSTED };
	struct cf_err err;

	EXPECT_FAILS(guest_gate_pass(&g, "CreateSandbox", &err), CF_UNAVAILABLE);
	EXPECT_FAILS(guest_gate_pass(&g, "GetGuestDetails", &err), CF_UNAVAILABLE);
	EXPECT_FAILS(guest_gate_pass(&g, "SetPolicy", &err), CF_UNAVAILABLE);
	EXPECT(g.phase == GUEST_UNTRUSTED);
}

CF_TEST(gate_keeps_the_order_of_a_pod)
{
	struct guest_gate g = { .phase = GUEST_READY };
	struct cf_err err;

	EXPECT_FAILS(guest_gate_pass(&g, "CreateContainer", &err), CF_FAILED_PRECONDITION);
	EXPECT_OK(guest_gate_pass(&g, "UpdateInterface", &err), &err);
	EXPECT_OK(guest_gate_pass(&g, "CreateSandbox", &err), &err);
	EXPECT_FAILS(guest_gate_pass(&g, "CreateSandbox", &err), CF_FAILED_PRECONDITION);
	EXPECT_OK(guest_gate_pass(&g, "UpdateRoutes", &err), &err);
	EXPECT_OK(guest_gate_pass(&g, "CreateContainer", &err), &err);
	EXPECT_FAILS(guest_gate_pass(&g, "UpdateInterface", &err), CF_FAILED_PRECONDITION);
	EXPECT_FAILS(guest_gate_pass(&g, "UpdateRoutes", &err), CF_FAILED_PRECONDITION);
	EXPECT_FAILS(guest_gate_pass(&g, "AddARPNeighbors", &err), CF_FAILED_PRECONDITION);
	EXPECT_OK(guest_gate_pass(&g, "CreateContainer", &err), &err);
	EXPECT_OK(guest_gate_pass(&g, "DestroySandbox", &err), &err);
	EXPECT_FAILS(guest_gate_pass(&g, "CreateContainer", &err), CF_FAILED_PRECONDITION);
	EXPECT_FAILS(guest_gate_pass(&g, "CreateSandbox", &err), CF_FAILED_PRECONDITION);
}

CF_TEST(gate_never_lets_the_host_set_policy_time_or_memory)
{
	static const char *const never[] = { "SetPolicy", "SetGuestDateTime", "MemHotplugByProbe",
		                             "UpdateEphemeralMounts" };
	static const enum guest_phase phases[] = { GUEST_READY, GUEST_SANDBOX, GUEST_POD };
	struct cf_err err;

	for (size_t i = 0; i < CF_ARRAY_LEN(never); i++)
		for (size_t j = 0; j < CF_ARRAY_LEN(phases); j++) {
			struct guest_gate g = { .phase = phases[j] };

			EXPECT_FAILS(guest_gate_pass(&g, never[i], &err), CF_PERMISSION_DENIED);
		}
	struct guest_gate g = { .phase = GUEST_READY };
	EXPECT_FAILS(guest_gate_pass(&g, "AddSwap", &err), CF_UNIMPLEMENTED);
	EXPECT_FAILS(guest_gate_pass(&g, "SetIPTables", &err), CF_UNIMPLEMENTED);
}

/* ---- sandbox ---- */

CF_TEST(sandbox_brings_no_hooks_and_no_modules)
{
	Grpc__CreateSandboxRequest req = GRPC__CREATE_SANDBOX_REQUEST__INIT;
	Grpc__KernelModule module = GRPC__KERNEL_MODULE__INIT;
	Grpc__KernelModule *modules[] = { &module };
	char hook[] = "/hooks", name[] = "evil", host[80];
	struct cf_err err;

	EXPECT_OK(guest_rules_sandbox(&req, &err), &err);
	req.guest_hook_path = hook;
	EXPECT_FAILS(guest_rules_sandbox(&req, &err), CF_PERMISSION_DENIED);
	grpc__create_sandbox_request__init(&req);
	module.name = name;
	req.kernel_modules = modules;
	req.n_kernel_modules = 1;
	EXPECT_FAILS(guest_rules_sandbox(&req, &err), CF_PERMISSION_DENIED);
	grpc__create_sandbox_request__init(&req);
	memset(host, 'h', sizeof(host));
	host[79] = '\0';
	req.hostname = host;
	EXPECT_FAILS(guest_rules_sandbox(&req, &err), CF_INVALID_ARGUMENT);
}

/* ---- storages ---- */

static int storage(const char *driver, const char *fstype, const char *point, const char *option,
                   struct cf_err *err)
{
	struct fx_container *c = fx_container("app-1", "reg.example/app:1");
	Grpc__Storage s = GRPC__STORAGE__INIT;
	char *options[1] = { fx_str(c, option ? option : "") };
	int r;

	s.driver = fx_str(c, driver);
	s.fstype = fx_str(c, fstype);
	s.mount_point = fx_str(c, point);
	s.options = options;
	s.n_options = option ? 1 : 0;
	fx_arg(c, "/app");
	c->storages[1] = &s;
	c->req.n_storages = 2;
	r = guest_rules_container(&c->req, err);
	fx_container_free(c);
	return r;
}

CF_TEST(storages_are_memory_or_images)
{
	static const char *const never[] = { "virtio-fs", "9p",     "blk",       "mmioblk",
		                             "scsi",      "nvdimm", "overlayfs", "watchable-bind",
		                             "bind",      "" };
	static const char point[] = GUEST_WIRE_SANDBOX "/ephemeral/v";
	struct cf_err err;

	EXPECT_OK(storage("ephemeral", "tmpfs", point, "size=64m", &err), &err);
	EXPECT_OK(storage("local", "local", SHARE "/s/rootfs/local/v", "mode=0777", &err), &err);
	EXPECT_OK(storage("ephemeral", "tmpfs", GUEST_WIRE_SANDBOX "/shm", "noexec", &err), &err);
	for (size_t i = 0; i < CF_ARRAY_LEN(never); i++)
		EXPECT_FAILS(storage(never[i], "tmpfs", point, NULL, &err), CF_PERMISSION_DENIED);
	EXPECT_FAILS(storage("ephemeral", "ext4", point, NULL, &err), CF_PERMISSION_DENIED);
	EXPECT_FAILS(storage("ephemeral", "tmpfs", "/run", NULL, &err), CF_PERMISSION_DENIED);
	EXPECT_FAILS(storage("ephemeral", "tmpfs", "/etc", NULL, &err), CF_PERMISSION_DENIED);
	EXPECT_FAILS(storage("ephemeral", "tmpfs", GUEST_WIRE_ROOT "/app-1", NULL, &err),
	             CF_PERMISSION_DENIED);
	EXPECT_FAILS(
		storage("ephemeral", "tmpfs", GUEST_WIRE_SANDBOX "/ephemeral/../../x", NULL, &err),
		CF_INVALID_ARGUMENT);
	EXPECT_FAILS(storage("ephemeral", "tmpfs", point, "exec", &err), CF_PERMISSION_DENIED);
	EXPECT_FAILS(storage("ephemeral", "tmpfs", point, "mode=0777,suid", &err),
	             CF_PERMISSION_DENIED);
	EXPECT_FAILS(
		storage("image_guest_pull", "overlay", GUEST_WIRE_ROOT "/other/rootfs", NULL, &err),
		CF_PERMISSION_DENIED);
}

/* ---- containers ---- */

/* Changes one thing of an acceptable request and judges it. */
static int judge(void (*change)(struct fx_container *c), struct cf_err *err)
{
	struct fx_container *c = fx_container("app-1", "reg.example/app:1");
	int r;

	fx_arg(c, "/app");
	if (change)
		change(c);
	r = guest_rules_container(&c->req, err);
	fx_container_free(c);
	return r;
}

static char text[] = "evil";
static char *texts[] = { text };

static void with_apparmor(struct fx_container *c)
{
	c->process.apparmorprofile = text;
}
static void with_selinux(struct fx_container *c)
{
	c->process.selinuxlabel = text;
}
static void with_mount_label(struct fx_container *c)
{
	c->linux_spec.mountlabel = text;
}
static void with_propagation(struct fx_container *c)
{
	c->linux_spec.rootfspropagation = text;
}
static void with_hook(struct fx_container *c)
{
	static Grpc__Hook hook;
	static Grpc__Hook *hooks[] = { &hook };
	static Grpc__Hooks list;

	grpc__hook__init(&hook);
	grpc__hooks__init(&list);
	list.createcontainer = hooks;
	list.n_createcontainer = 1;
	c->spec.hooks = &list;
}
static void with_seccomp(struct fx_container *c)
{
	static Grpc__LinuxSeccomp filter;

	grpc__linux_seccomp__init(&filter);
	c->linux_spec.seccomp = &filter;
}
static void with_id_map(struct fx_container *c)
{
	static Grpc__LinuxIDMapping map;
	static Grpc__LinuxIDMapping *maps[] = { &map };

	grpc__linux_idmapping__init(&map);
	c->linux_spec.uidmappings = maps;
	c->linux_spec.n_uidmappings = 1;
}
static void with_rdt(struct fx_container *c)
{
	static Grpc__LinuxIntelRdt rdt;

	grpc__linux_intel_rdt__init(&rdt);
	rdt.l3cacheschema = text;
	c->linux_spec.intelrdt = &rdt;
}
static void with_sysctl(struct fx_container *c)
{
	static Grpc__Linux__SysctlEntry entry;
	static Grpc__Linux__SysctlEntry *list[] = { &entry };
	static char key[] = "kernel.core_pattern";

	grpc__linux__sysctl_entry__init(&entry);
	entry.key = key;
	entry.value = text;
	c->linux_spec.sysctl = list;
	c->linux_spec.n_sysctl = 1;
}
static void with_sysctl_twice(struct fx_container *c)
{
	static char key[] = "net.ipv4.ip_unprivileged_port_start";
	static Grpc__Linux__SysctlEntry entry;
	static Grpc__Linux__SysctlEntry *list[] = { &entry, &entry };

	grpc__linux__sysctl_entry__init(&entry);
	entry.key = key;
	entry.value = text;
	c->linux_spec.sysctl = list;
	c->linux_spec.n_sysctl = 2;
}
static void with_annotation_twice(struct fx_container *c)
{
	fx_annotate(c, "io.kubernetes.cri.container-type", "container");
	fx_annotate(c, "io.kubernetes.cri.container-type", "sandbox");
}
static void with_too_many_annotations(struct fx_container *c)
{
	static Grpc__Spec__AnnotationsEntry *list[GUEST_ANNOTATIONS_MAX + 1];

	c->spec.annotations = list;
	c->spec.n_annotations = CF_ARRAY_LEN(list);
}
static void with_device_rule(struct fx_container *c)
{
	static Grpc__LinuxDeviceCgroup rule;
	static Grpc__LinuxDeviceCgroup *rules[] = { &rule };
	static Grpc__LinuxResources res;

	grpc__linux_device_cgroup__init(&rule);
	grpc__linux_resources__init(&res);
	res.devices = rules;
	res.n_devices = 1;
	c->linux_spec.resources = &res;
}
static void with_agent_device(struct fx_container *c)
{
	static Grpc__Device device;
	static Grpc__Device *list[] = { &device };

	grpc__device__init(&device);
	c->req.devices = list;
	c->req.n_devices = 1;
}
static void with_shared_mount(struct fx_container *c)
{
	static Grpc__SharedMount mount;
	static Grpc__SharedMount *list[] = { &mount };

	grpc__shared_mount__init(&mount);
	c->req.shared_mounts = list;
	c->req.n_shared_mounts = 1;
}
static void with_string_user(struct fx_container *c)
{
	static Grpc__StringUser user;

	grpc__string_user__init(&user);
	user.uid = text;
	user.additionalgids = texts;
	c->req.string_user = &user;
}
static void with_other_exec_id(struct fx_container *c)
{
	c->req.exec_id = text;
}

CF_TEST(container_carries_nothing_that_is_ours_to_decide)
{
	static void (*const denied[])(struct fx_container *) = {
		with_apparmor,    with_selinux,      with_mount_label,      with_propagation,
		with_hook,        with_seccomp,      with_id_map,           with_rdt,
		with_sysctl,      with_device_rule,  with_agent_device,     with_shared_mount,
		with_string_user, with_sysctl_twice, with_annotation_twice,
	};
	struct cf_err err;

	EXPECT_OK(judge(NULL, &err), &err);
	for (size_t i = 0; i < CF_ARRAY_LEN(denied); i++)
		EXPECT_FAILS(judge(denied[i], &err), CF_PERMISSION_DENIED);
	EXPECT_FAILS(judge(with_other_exec_id, &err), CF_INVALID_ARGUMENT);
	EXPECT_FAILS(judge(with_too_many_annotations, &err), CF_RESOURCE_EXHAUSTED);
}

static int mount_rule(const char *destination, const char *type, const char *source,
                      const char *option, struct cf_err *err)
{
	struct fx_container *c = fx_container("app-1", "reg.example/app:1");
	int r;

	fx_arg(c, "/app");
	fx_mount(c, destination, type, source, option);
	r = guest_rules_container(&c->req, err);
	fx_container_free(c);
	return r;
}

CF_TEST(mounts_come_from_the_share_and_stay_off_the_kernel)
{
	struct cf_err err;

	EXPECT_OK(mount_rule("/etc/hosts", "bind", SHARE "/app-1-00-hosts", "ro", &err), &err);
	EXPECT_OK(mount_rule("/dev/shm", "bind", GUEST_WIRE_SANDBOX "/shm", "rbind", &err), &err);
	/* sources */
	EXPECT_FAILS(mount_rule("/x", "bind", "/", "ro", &err), CF_PERMISSION_DENIED);
	EXPECT_FAILS(mount_rule("/x", "bind", "/run", "ro", &err), CF_PERMISSION_DENIED);
	EXPECT_FAILS(mount_rule("/x", "bind", "/dev/vda", "ro", &err), CF_PERMISSION_DENIED);
	EXPECT_FAILS(mount_rule("/x", "bind", SHARE, "ro", &err), CF_PERMISSION_DENIED);
	EXPECT_FAILS(mount_rule("/x", "bind", SHARE "/../../image", "ro", &err),
	             CF_PERMISSION_DENIED);
	EXPECT_FAILS(mount_rule("/x", "bind", GUEST_WIRE_ROOT "/other/rootfs", "ro", &err),
	             CF_PERMISSION_DENIED);
	EXPECT_FAILS(mount_rule("/x", "bind", "/run/confidential-containers/cdh.sock", "ro", &err),
	             CF_PERMISSION_DENIED);
	EXPECT_FAILS(mount_rule("/x", "none", "/", "rbind", &err), CF_PERMISSION_DENIED);
	/* destinations */
	EXPECT_FAILS(mount_rule("/proc", "bind", SHARE "/a", "ro", &err), CF_PERMISSION_DENIED);
	EXPECT_FAILS(mount_rule("/proc/self", "bind", SHARE "/a", "ro", &err),
	             CF_PERMISSION_DENIED);
	EXPECT_FAILS(mount_rule("/sys/kernel", "bind", SHARE "/a", "ro", &err),
	             CF_PERMISSION_DENIED);
	EXPECT_FAILS(mount_rule("/dev", "bind", SHARE "/a", "ro", &err), CF_PERMISSION_DENIED);
	EXPECT_FAILS(mount_rule("/dev/vda", "bind", SHARE "/a", "ro", &err), CF_PERMISSION_DENIED);
	EXPECT_FAILS(mount_rule("/proc/sys", "tmpfs", "tmpfs", NULL, &err), CF_PERMISSION_DENIED);
	EXPECT_FAILS(mount_rule("/a/../proc", "bind", SHARE "/a", "ro", &err), CF_INVALID_ARGUMENT);
	EXPECT_FAILS(mount_rule("relative", "bind", SHARE "/a", "ro", &err), CF_INVALID_ARGUMENT);
	/* options */
	EXPECT_FAILS(mount_rule("/x", "bind", SHARE "/a", "shared", &err), CF_PERMISSION_DENIED);
	EXPECT_FAILS(mount_rule("/x", "bind", SHARE "/a", "suid", &err), CF_PERMISSION_DENIED);
}

CF_TEST(exec_carries_no_label_and_no_named_user)
{
	Grpc__ExecProcessRequest req = GRPC__EXEC_PROCESS_REQUEST__INIT;
	Grpc__Process process = GRPC__PROCESS__INIT;
	Grpc__StringUser user = GRPC__STRING_USER__INIT;
	char id[] = "exec-1";
	struct cf_err err;

	req.exec_id = id;
	EXPECT_FAILS(guest_rules_exec(&req, &err), CF_INVALID_ARGUMENT);
	req.process = &process;
	EXPECT_FAILS(guest_rules_exec(&req, &err), CF_INVALID_ARGUMENT); /* of nothing */
	process.args = texts;
	process.n_args = 1;
	EXPECT_OK(guest_rules_exec(&req, &err), &err);
	process.selinuxlabel = text;
	EXPECT_FAILS(guest_rules_exec(&req, &err), CF_PERMISSION_DENIED);
	grpc__process__init(&process);
	process.args = texts;
	process.n_args = 1;
	req.string_user = &user;
	EXPECT_FAILS(guest_rules_exec(&req, &err), CF_PERMISSION_DENIED);
}

/* ---- files ---- */

static int copy(const char *path, uint32_t mode, const char *data, int64_t offset, int64_t size,
                struct cf_err *err)
{
	Grpc__CopyFileRequest req = GRPC__COPY_FILE_REQUEST__INIT;
	cf_cleanup(cf_freep) char *path_copy = cf_strdup(path);
	cf_cleanup(cf_freep) char *data_copy = cf_strdup(data);
	struct guest_copy ret;

	req.path = path_copy;
	req.file_mode = mode;
	req.data.data = (uint8_t *)data_copy;
	req.data.len = strlen(data_copy);
	req.offset = offset;
	req.file_size = size;
	return guest_rules_copy(&req, &ret, err);
}

CF_TEST(files_go_into_the_share_only)
{
	struct cf_err err;

	EXPECT_OK(copy(SHARE "/a", S_IFREG | 0644, "data", 0, 4, &err), &err);
	EXPECT_OK(copy(SHARE "/a/b", 0644, "data", 0, 4, &err), &err);
	EXPECT_OK(copy(SHARE "/a", S_IFDIR | 02755, "", 0, 0, &err), &err);
	EXPECT_FAILS(copy(SHARE, 0644, "", 0, 0, &err), CF_PERMISSION_DENIED);
	EXPECT_FAILS(copy(SHARE "/", 0644, "", 0, 0, &err), CF_PERMISSION_DENIED);
	EXPECT_FAILS(copy(SHARE "x/a", 0644, "", 0, 0, &err), CF_PERMISSION_DENIED);
	EXPECT_FAILS(copy(SHARE "/../x", 0644, "", 0, 0, &err), CF_PERMISSION_DENIED);
	EXPECT_FAILS(copy("/etc/passwd", 0644, "", 0, 0, &err), CF_PERMISSION_DENIED);
	EXPECT_FAILS(copy(SHARE "/a", S_IFREG | 04755, "", 0, 0, &err), CF_PERMISSION_DENIED);
	EXPECT_FAILS(copy(SHARE "/a", S_IFREG | 02755, "", 0, 0, &err), CF_PERMISSION_DENIED);
	EXPECT_FAILS(copy(SHARE "/a", S_IFCHR | 0644, "", 0, 0, &err), CF_PERMISSION_DENIED);
	EXPECT_FAILS(copy(SHARE "/a", S_IFIFO | 0644, "", 0, 0, &err), CF_PERMISSION_DENIED);
	EXPECT_FAILS(copy(SHARE "/a", 0644, "data", 0, 3, &err), CF_INVALID_ARGUMENT);
	EXPECT_FAILS(copy(SHARE "/a", 0644, "data", 1, 4, &err), CF_INVALID_ARGUMENT);
	EXPECT_FAILS(copy(SHARE "/a", 0644, "data", -1, 4, &err), CF_INVALID_ARGUMENT);
	EXPECT_FAILS(copy(SHARE "/a", 0644, "", 0, GUEST_FILE_MAX + 1LL, &err),
	             CF_RESOURCE_EXHAUSTED);
}

CF_TEST(links_stay_inside)
{
	struct cf_err err;

	EXPECT_OK(copy(SHARE "/v/token", S_IFLNK | 0777, "..data/token", 0, 0, &err), &err);
	EXPECT_FAILS(copy(SHARE "/v", S_IFLNK | 0777, "other", 0, 0, &err), CF_PERMISSION_DENIED);
	EXPECT_FAILS(copy(SHARE "/v/x", S_IFLNK | 0777, "/etc", 0, 0, &err), CF_PERMISSION_DENIED);
	EXPECT_FAILS(copy(SHARE "/v/x", S_IFLNK | 0777, "../x", 0, 0, &err), CF_PERMISSION_DENIED);
	EXPECT_FAILS(copy(SHARE "/v/x", S_IFLNK | 0777, "a/../../x", 0, 0, &err),
	             CF_PERMISSION_DENIED);
	EXPECT_FAILS(copy(SHARE "/v/x", S_IFLNK | 0777, "", 0, 0, &err), CF_INVALID_ARGUMENT);
}

/* ---- network ---- */

CF_TEST(loopback_is_not_the_hosts)
{
	Grpc__Interface link = GRPC__INTERFACE__INIT;
	Grpc__IPAddress ip = GRPC__IPADDRESS__INIT;
	Grpc__IPAddress *ips[] = { &ip };
	Grpc__Route route = GRPC__ROUTE__INIT;
	Grpc__ARPNeighbor neighbor = GRPC__ARPNEIGHBOR__INIT;
	char lo[] = "lo", eth[] = "eth0", good[] = "10.0.0.2", v4[] = "127.0.0.2", v6[] = "::1",
	     mapped[] = "::ffff:127.0.0.1", net[] = "127.0.0.0/8";
	char *bad[] = { v4, v6, mapped };
	struct cf_err err;

	link.name = eth;
	link.ipaddresses = ips;
	link.n_ipaddresses = 1;
	ip.address = good;
	EXPECT_OK(guest_rules_interface(&link, &err), &err);
	for (size_t i = 0; i < CF_ARRAY_LEN(bad); i++) {
		ip.address = bad[i];
		EXPECT_FAILS(guest_rules_interface(&link, &err), CF_PERMISSION_DENIED);
	}
	ip.address = good;
	link.raw_flags = 0x80; /* IFF_NOARP */
	EXPECT_OK(guest_rules_interface(&link, &err), &err);
	link.raw_flags = 0x100; /* IFF_PROMISC */
	EXPECT_FAILS(guest_rules_interface(&link, &err), CF_PERMISSION_DENIED);
	link.raw_flags = 0;
	link.name = lo;
	EXPECT_FAILS(guest_rules_interface(&link, &err), CF_PERMISSION_DENIED);

	route.device = eth;
	EXPECT_OK(guest_rules_route(&route, &err), &err);
	route.dest = net;
	EXPECT_FAILS(guest_rules_route(&route, &err), CF_PERMISSION_DENIED);
	route.dest = good;
	route.source = v4;
	EXPECT_FAILS(guest_rules_route(&route, &err), CF_PERMISSION_DENIED);
	route.source = good;
	route.device = lo;
	EXPECT_FAILS(guest_rules_route(&route, &err), CF_PERMISSION_DENIED);

	neighbor.device = eth;
	EXPECT_FAILS(guest_rules_neighbor(&neighbor, &err), CF_INVALID_ARGUMENT);
	neighbor.toipaddress = &ip;
	EXPECT_OK(guest_rules_neighbor(&neighbor, &err), &err);
	ip.address = v4;
	EXPECT_FAILS(guest_rules_neighbor(&neighbor, &err), CF_PERMISSION_DENIED);
}
