/* SPDX-License-Identifier: Apache-2.0 */
/* Small parts without I/O of their own: signals, crun's log, figures, config.json, copied files. */
#include "tests/component/guest/guest_fixture.h"
#include "vmm-glue/guest/guest_copy.h"
#include "vmm-glue/guest/guest_crun.h"
#include "vmm-glue/guest/guest_process.h"
#include "vmm-glue/guest/guest_rules.h"
#include "vmm-glue/guest/guest_spec.h"
#include "vmm-glue/guest/guest_stats.h"

#include "base/json.h"

/* ---- signals ---- */

static unsigned term_with(const char *caught, const char *blocked, const char *ignored)
{
	cf_cleanup(cf_freep) char *text = cf_asprintf(
		"Name:\tx\nSigBlk:\t%s\nSigIgn:\t%s\nSigCgt:\t%s\n", blocked, ignored, caught);

	return guest_signal_for_init(cf_view_str(text), SIGTERM);
}

CF_TEST(term_becomes_kill_only_where_it_would_be_lost)
{
	static const char none[] = "0000000000000000", term[] = "0000000000004000",
			  other[] = "0000000000002000";

	EXPECT_INT(term_with(none, none, none), SIGKILL);
	EXPECT_INT(term_with(other, other, other), SIGKILL);
	EXPECT_INT(term_with(term, none, none), SIGTERM);
	EXPECT_INT(term_with(none, term, none), SIGTERM);
	EXPECT_INT(term_with(none, none, term), SIGTERM);
	EXPECT_INT(guest_signal_for_init(cf_view_str(""), SIGTERM), SIGTERM);
	EXPECT_INT(guest_signal_for_init(cf_view_str("SigCgt:\tzz\n"), SIGTERM), SIGTERM);
	EXPECT_INT(guest_signal_for_init(cf_view_str(""), SIGHUP), SIGHUP);
}

/* ---- crun ---- */

CF_TEST(reason_is_the_last_message_of_cruns_log)
{
	char *reason = guest_crun_log_reason(
		cf_view_str("{\"msg\":\"first\",\"level\":\"warning\"}\nnot json\n"
	                    "{\"msg\":\"executable not found\"}\n{\"level\":\"error\"}\n"));

	EXPECT_STR(reason, "executable not found");
	free(reason);
	EXPECT(!guest_crun_log_reason(cf_view_str("")));
	EXPECT(!guest_crun_log_reason(cf_view_str("{\"msg\":1}")));
}

CF_TEST(pid_files_hold_a_pid)
{
	static const char *const bad[] = { "", "0", "1", "-5", "12x", "99999999999", "5\n" };
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/pid", dir);
	struct cf_err err;
	pid_t pid = 0;

	for (size_t i = 0; i < CF_ARRAY_LEN(bad); i++) {
		EXPECT_OK(cf_write_file_atomic(path, cf_view_str(bad[i]), 0600, &err), &err);
		EXPECT(guest_crun_read_pid(path, &pid, &err) < 0 && pid == 0);
	}
	EXPECT_OK(cf_write_file_atomic(path, cf_view_str("4321"), 0600, &err), &err);
	EXPECT_OK(guest_crun_read_pid(path, &pid, &err), &err);
	EXPECT_INT(pid, 4321);
}

/* ---- figures ---- */

static void put(const char *dir, const char *name, const char *text)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/%s", dir, name);
	cf_cleanup(cf_freep) char *parent = cf_strdup(path);
	struct cf_err err;

	*strrchr(parent, '/') = '\0';
	EXPECT_OK(cf_mkdir_p(parent, 0755, &err), &err);
	EXPECT_OK(cf_write_file_atomic(path, cf_view_str(text), 0644, &err), &err);
}

CF_TEST(figures_of_version_2_cgroups)
{
	cf_cleanup(cf_freep) char *root = cf_test_tmpdir();
	const Grpc__StatsContainerResponse *m;
	struct guest_stats *s;

	put(root, "cgroup.controllers", "cpu memory pids\n");
	put(root, "coffer/a/cpu.stat",
	    "usage_usec 1500\nuser_usec 1000\nsystem_usec 500\n"
	    "nr_periods 3\nnr_throttled 2\nthrottled_usec 7\n");
	put(root, "coffer/a/memory.current", "4096\n");
	put(root, "coffer/a/memory.max", "max\n");
	put(root, "coffer/a/memory.stat", "anon 100\nfile 200\nkernel 300\n");
	put(root, "coffer/a/pids.current", "5\n");
	put(root, "coffer/a/pids.max", "100\n");
	s = guest_stats_read(root, "/coffer/a");
	m = guest_stats_message(s);
	EXPECT(m->cgroup_stats->cpu_stats->cpu_usage->total_usage == 1500000);
	EXPECT(m->cgroup_stats->cpu_stats->throttling_data->throttled_time == 7000);
	EXPECT(m->cgroup_stats->memory_stats->usage->usage == 4096);
	EXPECT(m->cgroup_stats->memory_stats->usage->limit == 0);
	EXPECT(m->cgroup_stats->memory_stats->cache == 200);
	EXPECT(m->cgroup_stats->memory_stats->kernel_usage->usage == 300);
	EXPECT_INT(m->cgroup_stats->memory_stats->n_stats, 3);
	EXPECT_STR(m->cgroup_stats->memory_stats->stats[1]->key, "file");
	EXPECT(m->cgroup_stats->pids_stats->current == 5 &&
	       m->cgroup_stats->pids_stats->limit == 100);
	EXPECT(grpc__stats_container_response__get_packed_size(m) > 0);
	guest_stats_free(s);
	s = guest_stats_read(root, "/coffer/none"); /* zeroes */
	EXPECT(guest_stats_message(s)->cgroup_stats->memory_stats->usage->usage == 0);
	guest_stats_free(s);
}

CF_TEST(figures_of_version_1_cgroups)
{
	cf_cleanup(cf_freep) char *root = cf_test_tmpdir();
	const Grpc__StatsContainerResponse *m;
	struct guest_stats *s;

	put(root, "cpuacct/coffer/a/cpuacct.usage", "99\n");
	put(root, "cpuacct/coffer/a/cpuacct.stat", "user 100\nsystem 50\n");
	put(root, "memory/coffer/a/memory.usage_in_bytes", "1\n");
	put(root, "memory/coffer/a/memory.failcnt", "2\n");
	put(root, "memory/coffer/a/memory.stat", "cache 3\nrss 4\n");
	s = guest_stats_read(root, "/coffer/a");
	m = guest_stats_message(s);
	EXPECT(m->cgroup_stats->cpu_stats->cpu_usage->total_usage == 99);
	EXPECT(m->cgroup_stats->cpu_stats->cpu_usage->usage_in_usermode ==
	       100 * (1000000000ull / (unsigned long long)sysconf(_SC_CLK_TCK)));
	EXPECT(m->cgroup_stats->memory_stats->usage->failcnt == 2);
	EXPECT(m->cgroup_stats->memory_stats->cache == 3);
	guest_stats_free(s);
}

CF_TEST(figures_of_links_leave_the_loopback_out)
{
	static const char text[] =
		"Inter-|   Receive      |  Transmit\n face |bytes packets|bytes packets\n"
		"    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n"
		"  eth0:10 11 12 13 0 0 0 0 20 21 22 23 0 0 0 0\n"
		" short: 1 2 3\n";
	Grpc__NetworkStats out[4];

	EXPECT_INT(guest_stats_links(cf_view_str(text), out, 4), 1);
	EXPECT_STR(out[0].name, "eth0");
	EXPECT(out[0].rx_dropped == 13 && out[0].tx_errors == 22);
	free(out[0].name);
	EXPECT_INT(guest_stats_links(cf_view_str(text), out, 0), 0);
}

/* ---- config.json ---- */

static struct cf_json *write_config(struct fx_container *c, bool privileged)
{
	uint32_t groups[1] = { 7 };
	struct policy_user user = { .uid = 5, .gid = 6, .groups = groups, .group_count = 1 };
	struct cf_strv unsealed = { 0 };
	struct guest_spec_opts opts = { .id = "app-1",
		                        .rootfs = "/state/app-1/rootfs",
		                        .ipc_ns = "/ns/ipc",
		                        .uts_ns = "/ns/uts",
		                        .wire_root = "/state",
		                        .is_privileged = privileged,
		                        .user = &user,
		                        .unsealed = &unsealed };
	struct cf_buf text = { 0 };
	struct cf_json *json = NULL;
	struct cf_err err;

	cf_strv_add(&unsealed, "PASSWORD=opened");
	guest_spec_write(&c->spec, &opts, &text);
	cf_strv_fini(&unsealed);
	EXPECT_OK(cf_json_parse(cf_buf_view(&text), 0, &json, &err), &err);
	cf_buf_fini(&text);
	return json;
}

static bool list_has(const struct cf_json *list, const char *text)
{
	for (size_t i = 0; i < cf_json_len(list); i++)
		if (cf_view_eq_str(cf_json_str(cf_json_at(list, i)), text))
			return true;
	return false;
}

CF_TEST(config_keeps_what_is_ours_to_say)
{
	struct fx_container *c = fx_container("app-1", "x");
	Grpc__LinuxDevice null_device = GRPC__LINUX_DEVICE__INIT, fuse = GRPC__LINUX_DEVICE__INIT;
	Grpc__LinuxDevice *devices[] = { &null_device, &fuse };
	const struct cf_json *process, *linux_part, *user, *item;
	struct cf_json *json;

	fx_arg(c, "a \"quoted\"\nword");
	fx_mount(c, "/data", "bind", GUEST_WIRE_SHARE "/v", "rbind");
	fx_env(c, "PASSWORD=sealed.x");
	fx_env(c, "PASSWORD2=sealed.y");
	c->user.uid = 999; /* not heard */
	c->process.oomscoreadj = -998;
	c->root.path = fx_str(c, "/host/says/otherwise");
	c->linux_spec.cgroupspath = fx_str(c, "/system.slice");
	null_device.path = fx_str(c, "/dev/null");
	null_device.type = fx_str(c, "b"); /* a disk under that name */
	null_device.major = 254;
	fuse.path = fx_str(c, "/dev/fuse");
	fuse.type = fx_str(c, "c");
	fuse.major = 10;
	fuse.minor = 229;
	c->linux_spec.devices = devices;
	c->linux_spec.n_devices = 2;
	json = write_config(c, false);
	process = cf_json_get(json, "process");
	user = cf_json_get(process, "user");
	linux_part = cf_json_get(json, "linux");
	EXPECT(cf_view_eq_str(cf_json_str(cf_json_at(cf_json_get(process, "args"), 0)),
	                      "a \"quoted\"\nword"));
	EXPECT(list_has(cf_json_get(process, "env"), "PASSWORD=opened"));
	EXPECT(list_has(cf_json_get(process, "env"), "PASSWORD2=sealed.y"));
	EXPECT(cf_json_int(cf_json_get(user, "uid")) == 5);
	EXPECT(cf_json_int(cf_json_get(user, "gid")) == 6);
	EXPECT_INT(cf_json_len(cf_json_get(user, "additionalGids")), 1);
	EXPECT_INT(cf_json_int(cf_json_get(process, "oomScoreAdj")), 0);
	EXPECT(cf_view_eq_str(cf_json_str(cf_json_get(cf_json_get(json, "root"), "path")),
	                      "/state/app-1/rootfs"));
	item = cf_json_at(cf_json_get(json, "mounts"), c->spec.n_mounts - 1);
	EXPECT(cf_view_eq_str(cf_json_str(cf_json_get(item, "source")),
	                      "/state/shared/containers/v"));
	EXPECT(cf_view_eq_str(cf_json_str(cf_json_get(linux_part, "cgroupsPath")),
	                      "/coffer/app-1"));
	EXPECT(list_has(cf_json_get(linux_part, "maskedPaths"), "/proc/kcore"));
	EXPECT(list_has(cf_json_get(linux_part, "readonlyPaths"), "/proc/sys"));
	/* the disk that called itself null is nowhere; deny comes first */
	EXPECT_INT(cf_json_len(cf_json_get(linux_part, "devices")), 1);
	item = cf_json_get(cf_json_get(linux_part, "resources"), "devices");
	EXPECT_INT(cf_json_len(item), 2);
	EXPECT(!cf_json_is_true(cf_json_get(cf_json_at(item, 0), "allow")));
	/* no network namespace: the pod's network is the guest's */
	item = cf_json_get(linux_part, "namespaces");
	for (size_t i = 0; i < cf_json_len(item); i++)
		EXPECT(!cf_view_eq_str(cf_json_str(cf_json_get(cf_json_at(item, i), "type")),
		                       "network"));
	cf_json_free(json);
	json = write_config(c, true);
	EXPECT(!list_has(cf_json_get(cf_json_get(json, "linux"), "maskedPaths"), "/proc/kcore"));
	cf_json_free(json);
	fx_container_free(c);
}

CF_TEST(image_configuration_is_read_or_refused)
{
	static const char good[] =
		"{\"process\":{\"args\":[\"/app\"],\"env\":[\"A=1\"],\"cwd\":\"/srv\","
		"\"user\":{\"uid\":7,\"gid\":8}},\"annotations\":{\"" GUEST_IMAGE_ENCRYPTED
		"\":\"true\"}}";
	struct guest_image_config c;
	struct cf_err err;

	EXPECT_OK(guest_image_config_parse(cf_view_str(good), &c, &err), &err);
	EXPECT(c.image.is_encrypted && c.image.uid == 7 && c.image.gid == 8);
	EXPECT_STR(c.image.args.items[0], "/app");
	EXPECT_STR(c.image.cwd, "/srv");
	guest_image_config_fini(&c);
	EXPECT_OK(guest_image_config_parse(cf_view_str("{}"), &c, &err), &err);
	EXPECT(!c.image.is_encrypted && cf_streq(c.image.cwd, "/"));
	guest_image_config_fini(&c);
	EXPECT_FAILS(guest_image_config_parse(cf_view_str("{"), &c, &err), CF_INVALID_ARGUMENT);
}

/* ---- copied files ---- */

static int copy(const char *share, const char *path, uint32_t mode, const char *data,
                int64_t offset, int64_t size, struct cf_err *err)
{
	Grpc__CopyFileRequest req = GRPC__COPY_FILE_REQUEST__INIT;
	cf_cleanup(cf_freep) char *full = cf_asprintf(GUEST_WIRE_SHARE "/%s", path);
	cf_cleanup(cf_freep) char *data_copy = cf_strdup(data);

	req.path = full;
	req.file_mode = mode;
	req.dir_mode = 0755;
	req.uid = (int32_t)getuid();
	req.gid = (int32_t)getgid();
	req.data.data = (uint8_t *)data_copy;
	req.data.len = strlen(data_copy);
	req.offset = offset;
	req.file_size = size;
	return guest_copy_file(share, &req, err);
}

CF_TEST(copies_never_follow_a_link)
{
	cf_cleanup(cf_freep) char *share = cf_test_tmpdir();
	cf_cleanup(cf_freep) char *outside = cf_test_tmpdir();
	cf_cleanup(cf_freep) char *link = cf_asprintf("%s/v/out", share);
	cf_cleanup(cf_freep) char *seen = cf_asprintf("%s/v/file", share);
	cf_cleanup(cf_freep) char *missed = cf_asprintf("%s/file", outside);
	struct cf_buf text;
	struct cf_err err;

	EXPECT_OK(copy(share, "v/file", S_IFREG | 0600, "one", 0, 3, &err), &err);
	/* a link that got there otherwise, as from a compromised volume */
	EXPECT(symlink(outside, link) == 0);
	EXPECT(copy(share, "v/out/file", S_IFREG | 0600, "evil", 0, 4, &err) < 0);
	EXPECT(copy(share, "v/out", S_IFDIR | 0755, "", 0, 0, &err) < 0);
	EXPECT(access(missed, F_OK) < 0);
	/* a file replaces a link instead of writing through it */
	EXPECT_OK(copy(share, "v/out", S_IFREG | 0600, "two", 0, 3, &err), &err);
	EXPECT(access(missed, F_OK) < 0);
	/* pieces in order, whole or not at all */
	EXPECT_OK(copy(share, "v/file", S_IFREG | 0600, "new ", 0, 8, &err), &err);
	text = cf_test_read(seen);
	EXPECT_STR(text.data, "one");
	cf_buf_fini(&text);
	EXPECT_FAILS(copy(share, "v/file", S_IFREG | 0600, "x", 7, 8, &err),
	             CF_FAILED_PRECONDITION);
	EXPECT_OK(copy(share, "v/file", S_IFREG | 0600, "text", 4, 8, &err), &err);
	text = cf_test_read(seen);
	EXPECT_STR(text.data, "new text");
	cf_buf_fini(&text);
}
