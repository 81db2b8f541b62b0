/* SPDX-License-Identifier: Apache-2.0 */
/* What a pod is made of around its containers, at the real coffer-init. */
#include "tests/component/guest/guest_fixture.h"

#include "vmm-glue/guest/guest_rules.h"

#define NEED_ROOT()                                                                                \
	do {                                                                                       \
		if (!fx_can_run())                                                                 \
			SKIP("needs root, crun and a static busybox");                             \
	} while (0)

#define SCRIPT(script)                                                                             \
	"[[container]]\nimage = \"test/app\"\nmounts = [\"/data\", \"/cache\"]\n"                  \
	"args = [\"/bin/sh\", \"-c\", \"" script "\"]\n"

/* Runs @script in a fresh container; its output is the caller's. */
static char *run_script(struct fx *f, const char *id, const char *script,
                        void (*change)(struct fx_container *))
{
	struct fx_container *c = fx_container(id, "test/app");
	int status = -1;
	char *text;

	fx_shell(c, script);
	if (change)
		change(c);
	text = fx_run(f, c, &status);
	EXPECT_INT(status, 0);
	fx_container_free(c);
	return text;
}

static void start_pause(struct fx *f)
{
	struct fx_container *c = fx_container("sandbox-one", "pause");
	struct cf_err err;

	fx_arg(c, "/pause");
	fx_annotate(c, "io.katacontainers.pkg.oci.container_type", "pod_sandbox");
	EXPECT_OK(fx_create(f, c, &err), &err);
	EXPECT_OK(fx_start_container(f, "sandbox-one", &err), &err);
	fx_container_free(c);
}

CF_TEST(pause_container_is_built_in)
{
	struct cf_err err;
	struct fx *f;

	NEED_ROOT();
	f = fx_start("version = 1\n"); /* a policy that allows no image at all */
	EXPECT_OK(fx_sandbox(f, false, &err), &err);
	start_pause(f);
	EXPECT_INT(atomic_load(&f->pulls), 0);
	EXPECT_OK(fx_signal(f, "sandbox-one", "sandbox-one", SIGTERM, &err), &err);
	EXPECT_INT(fx_wait(f, "sandbox-one", "sandbox-one", &err), 0);
	EXPECT_OK(fx_remove(f, "sandbox-one", &err), &err);
	start_pause(f);
	EXPECT_OK(fx_remove(f, "sandbox-one", &err), &err);
	fx_stop(f);
}

static void with_shared_pids(struct fx_container *c)
{
	c->req.sandbox_pidns = true;
}

CF_TEST(pod_shares_its_pids_through_the_pause_process)
{
	struct fx_container *refused;
	struct cf_err err;
	struct fx *f;
	char *out;

	NEED_ROOT();
	f = fx_start("[[container]]\nimage = \"test/plain\"\n" SCRIPT(
		"ps -o pid,args; ls /proc/1/root/ 2>&1 | wc -l") "share_pids = true\n");
	EXPECT_OK(fx_sandbox(f, true, &err), &err);
	start_pause(f);
	out = run_script(f, "app-1", "ps -o pid,args; ls /proc/1/root/ 2>&1 | wc -l",
	                 with_shared_pids);
	refused = fx_container("app-2", "test/plain");
	fx_shell(refused, "echo hello");
	refused->req.sandbox_pidns = true;
	EXPECT_FAILS(fx_create(f, refused, &err), CF_PERMISSION_DENIED);
	EXPECT(strstr(err.msg, "line 1, share_pids"));
	fx_container_free(refused);
	EXPECT(strstr(out, "    1 /proc/self/exe pause-process"));
	EXPECT(!strstr(out, "coffer-init"));
	EXPECT_OK(fx_remove(f, "app-1", &err), &err);
	EXPECT_OK(fx_remove(f, "sandbox-one", &err), &err);
	free(out);
	fx_stop(f);
}

CF_TEST(pod_has_one_hostname_and_its_own_pids)
{
	struct cf_err err;
	struct fx *f;
	char *out;

	NEED_ROOT();
	f = fx_start(SCRIPT("hostname; echo $$"));
	EXPECT_OK(fx_sandbox(f, false, &err), &err);
	out = run_script(f, "app-1", "hostname; echo $$", NULL);
	EXPECT_STR(out, "pod-one\n1\n");
	free(out);
	out = run_script(f, "app-2", "hostname; echo $$", NULL);
	EXPECT_STR(out, "pod-one\n1\n");
	free(out);
	fx_stop(f);
}

static int copy_in(struct fx *f, const char *path, uint32_t mode, const char *data, int64_t offset,
                   int64_t size, struct cf_err *err)
{
	Grpc__CopyFileRequest req = GRPC__COPY_FILE_REQUEST__INIT;
	cf_cleanup(cf_freep) char *path_copy = cf_strdup(path);
	cf_cleanup(cf_freep) char *data_copy = cf_strdup(data);

	req.path = path_copy;
	req.file_mode = mode;
	req.dir_mode = 0755;
	req.data.data = (uint8_t *)data_copy;
	req.data.len = strlen(data_copy);
	req.offset = offset;
	req.file_size = size;
	return fx_empty(f, "CopyFile", &req, err);
}

#define VOLUME GUEST_WIRE_SHARE "/app-1-00-data"

static void with_volume(struct fx_container *c)
{
	fx_mount(c, "/data", "bind", VOLUME, "rbind");
}

CF_TEST(copied_files_are_seen_inside)
{
	struct cf_err err;
	struct fx *f;
	char *out;

	NEED_ROOT();
	f = fx_start(SCRIPT("cat /data/token; ls -l /data/plain | head -c 10"));
	EXPECT_OK(fx_sandbox(f, false, &err), &err);
	/* as a projected volume: a directory, files in pieces, links into it */
	EXPECT_OK(copy_in(f, VOLUME, S_IFDIR | 0755, "", 0, 0, &err), &err);
	EXPECT_OK(copy_in(f, VOLUME "/..v1/token", S_IFREG | 0644, "first ", 0, 13, &err), &err);
	EXPECT_OK(copy_in(f, VOLUME "/..v1/token", S_IFREG | 0644, "second\n", 6, 13, &err), &err);
	EXPECT_OK(copy_in(f, VOLUME "/..data", S_IFLNK | 0777, "..v1", 0, 0, &err), &err);
	EXPECT_OK(copy_in(f, VOLUME "/token", S_IFLNK | 0777, "..data/token", 0, 0, &err), &err);
	EXPECT_OK(copy_in(f, VOLUME "/plain", S_IFREG | 0640, "x", 0, 1, &err), &err);
	/* no write through a link, not even one that stays inside */
	EXPECT(copy_in(f, VOLUME "/..data/token", S_IFREG | 0644, "evil", 0, 4, &err) < 0);
	/* nothing at an offset that is not there yet */
	EXPECT_FAILS(copy_in(f, VOLUME "/late", S_IFREG | 0644, "x", 5, 6, &err), CF_NOT_FOUND);
	out = run_script(f, "app-1", "cat /data/token; ls -l /data/plain | head -c 10",
	                 with_volume);
	EXPECT_STR(out, "first second\n-rw-r-----");
	free(out);
	fx_stop(f);
}

static void with_cache(struct fx_container *c)
{
	static Grpc__Storage s;
	static char *options[1];

	grpc__storage__init(&s);
	options[0] = fx_str(c, "size=16m");
	s.driver = fx_str(c, "ephemeral");
	s.source = fx_str(c, "tmpfs");
	s.fstype = fx_str(c, "tmpfs");
	s.mount_point = fx_str(c, GUEST_WIRE_SANDBOX "/ephemeral/cache");
	s.options = options;
	s.n_options = 1;
	c->storages[1] = &s;
	c->req.n_storages = 2;
	fx_mount(c, "/cache", "bind", GUEST_WIRE_SANDBOX "/ephemeral/cache", "rbind");
}

CF_TEST(volume_in_memory_outlives_its_container)
{
	static const char script[] = "cat /cache/x; echo kept >/cache/x";
	struct cf_err err;
	struct fx *f;
	char *out;

	NEED_ROOT();
	f = fx_start(SCRIPT("cat /cache/x; echo kept >/cache/x"));
	EXPECT_OK(fx_sandbox(f, false, &err), &err);
	out = run_script(f, "app-1", script, with_cache);
	EXPECT_STR(out, "");
	free(out);
	EXPECT_OK(fx_remove(f, "app-1", &err), &err);
	out = run_script(f, "app-2", script, with_cache);
	EXPECT_STR(out, "kept\n");
	free(out);
	fx_stop(f);
}

CF_TEST(figures_and_machine_answers_come)
{
	Grpc__StatsContainerRequest stats = GRPC__STATS_CONTAINER_REQUEST__INIT;
	Grpc__GuestDetailsRequest details = GRPC__GUEST_DETAILS_REQUEST__INIT;
	Grpc__GetMetricsRequest metrics = GRPC__GET_METRICS_REQUEST__INIT;
	Grpc__VolumeStatsRequest volume = GRPC__VOLUME_STATS_REQUEST__INIT;
	Grpc__ReseedRandomDevRequest reseed = GRPC__RESEED_RANDOM_DEV_REQUEST__INIT;
	Grpc__StatsContainerResponse *got = NULL;
	Grpc__GuestDetailsResponse *about = NULL;
	Grpc__VolumeStatsResponse *usage = NULL;
	Grpc__Metrics *text = NULL;
	char share[] = GUEST_WIRE_SHARE, root[] = "/";
	struct fx_container *c;
	struct cf_err err;
	struct fx *f;

	NEED_ROOT();
	f = fx_start("[[container]]\nimage = \"test/app\"\nargs = [\"/bin/sleep\", \"1000\"]\n");
	EXPECT_OK(fx_sandbox(f, false, &err), &err);
	c = fx_container("app-1", "test/app");
	fx_arg(c, "/bin/sleep");
	fx_arg(c, "1000");
	EXPECT_OK(fx_create(f, c, &err), &err);
	EXPECT_OK(fx_start_container(f, "app-1", &err), &err);
	stats.container_id = c->req.container_id;
	EXPECT_OK(fx_call(f, "StatsContainer", &stats, &grpc__stats_container_response__descriptor,
	                  &got, &err),
	          &err);
	EXPECT(got->cgroup_stats->memory_stats->usage->usage > 0);
	EXPECT(got->cgroup_stats->pids_stats->current == 1);
	EXPECT(got->cgroup_stats->cpu_stats->cpu_usage->total_usage > 0);
	EXPECT_OK(fx_call(f, "GetGuestDetails", &details, &grpc__guest_details_response__descriptor,
	                  &about, &err),
	          &err);
	EXPECT_STR(about->agent_details->version, COFFER_VERSION);
	EXPECT_OK(fx_call(f, "GetMetrics", &metrics, &grpc__metrics__descriptor, &text, &err),
	          &err);
	EXPECT(strstr(text->metrics, "coffer_guest_memory_total_bytes "));
	volume.volume_guest_path = share;
	EXPECT_OK(fx_call(f, "GetVolumeStats", &volume, &grpc__volume_stats_response__descriptor,
	                  &usage, &err),
	          &err);
	EXPECT(usage->usage[0]->total == 256u << 20);
	volume.volume_guest_path = root;
	EXPECT_FAILS(fx_call(f, "GetVolumeStats", &volume, &grpc__volume_stats_response__descriptor,
	                     NULL, &err),
	             CF_INVALID_ARGUMENT);
	EXPECT_OK(fx_empty(f, "ReseedRandomDev", &reseed, &err), &err);
	EXPECT_OK(FX_BY_ID(f, "PauseContainer", PauseContainerRequest,
	                   GRPC__PAUSE_CONTAINER_REQUEST__INIT, "app-1", &err),
	          &err);
	/* a frozen container ends too */
	EXPECT_OK(fx_remove(f, "app-1", &err), &err);
	grpc__stats_container_response__free_unpacked(got, NULL);
	grpc__guest_details_response__free_unpacked(about, NULL);
	grpc__volume_stats_response__free_unpacked(usage, NULL);
	grpc__metrics__free_unpacked(text, NULL);
	fx_container_free(c);
	fx_stop(f);
}

CF_TEST(kill_for_want_of_memory_is_told)
{
	static const char script[] = "x=0123456789abcdef; while true; do x=$x$x; done";
	Grpc__GetOOMEventRequest req = GRPC__GET_OOMEVENT_REQUEST__INIT;
	Grpc__LinuxResources res = GRPC__LINUX_RESOURCES__INIT;
	Grpc__LinuxMemory memory = GRPC__LINUX_MEMORY__INIT;
	Grpc__OOMEvent *event = NULL;
	struct fx_container *c;
	struct cf_err err;
	struct fx *f;

	NEED_ROOT();
	f = fx_start(SCRIPT("x=0123456789abcdef; while true; do x=$x$x; done"));
	EXPECT_OK(fx_sandbox(f, false, &err), &err);
	c = fx_container("app-1", "test/app");
	fx_shell(c, script);
	memory.limit = 16 << 20;
	res.memory = &memory;
	c->linux_spec.resources = &res;
	EXPECT_OK(fx_create(f, c, &err), &err);
	EXPECT_OK(fx_start_container(f, "app-1", &err), &err);
	EXPECT_INT(fx_wait(f, "app-1", "app-1", &err), 137);
	EXPECT_OK(fx_call(f, "GetOOMEvent", &req, &grpc__oomevent__descriptor, &event, &err), &err);
	EXPECT_STR(event->container_id, "app-1");
	grpc__oomevent__free_unpacked(event, NULL);
	fx_container_free(c);
	fx_stop(f);
}
