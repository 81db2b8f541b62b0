/* SPDX-License-Identifier: Apache-2.0 */
/* What a pod's shim hears of pulls on the host, and tells of the guest's. */
#include "tests/component/shim/shim_world.h"

/* ---- the early word of a pull ---- */

static bool tell(const struct world *w, const char *text)
{
	cf_cleanup(cf_freep) char *path = early_path(w);
	cf_cleanup(cf_closep) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un to = { .sun_family = AF_UNIX };

	snprintf(to.sun_path, sizeof(to.sun_path), "%s", path);
	return sendto(fd, text, strlen(text), 0, (struct sockaddr *)&to, sizeof(to)) >= 0;
}

static bool tell_image(const struct world *w, const char *image, int manifest)
{
	cf_cleanup(cf_freep) char *text =
		cf_asprintf("{\"version\":1,\"event\":\"layer\",\"image\":\"%s\","
	                    "\"manifest\":\"sha256:%064d\",\"chain\":\"sha256:cc\",\"above\":0}",
	                    image, manifest);

	return tell(w, text);
}

/* How often the agent's log holds @line, once it holds @last at all. */
static int times_after(const struct world *w, const char *line, const char *last)
{
	int n = -1;

	for (int i = 0; n < 0 && i < TIMEOUT / 10; i++) {
		struct cf_buf log = cf_test_read(w->agent_log);
		char *text = (char *)log.data;

		if (strstr(text, last))
			for (n = 0; (text = strstr(text, line)); text++)
				n++;
		cf_buf_fini(&log);
		(void)!poll(NULL, 0, n < 0 ? 10 : 0);
	}
	return n;
}

CF_TEST(shim_has_the_guest_fetch_what_a_waiting_pod_hears_of)
{
	struct world *w = world_new("sandbox", "\"wait\"");
	cf_cleanup(cf_freep) char *bundle2 = cf_asprintf("%s/ctr1", w->dir);
	char pod[] = "pod1", ctr[] = "ctr1";
	struct cf_err err = { .code = CF_OK };

	EXPECT(!tell_image(w, "reg/a:1", 1)); /* nobody listens for a pod that is not there */
	EXPECT_OK(create(w, pod, w->bundle, NULL, NULL, &err), &err);
	EXPECT(tell(w, "") && tell(w, "{}") && tell(w, "{\"version\":1,\"event\":\"layer\"}"));
	for (int i = 0; i < 3; i++) /* a notice a layer */
		EXPECT(tell_image(w, "reg/a:1", 1));
	EXPECT(tell_image(w, "reg/b:1", 1));
	EXPECT_INT(times_after(w, "PrefetchImage reg/a:1\n", "PrefetchImage reg/b:1\n"), 1);
	make_bundle(bundle2, "container", "pod1", "\"wait\"");
	EXPECT_OK(create(w, ctr, bundle2, NULL, NULL, &err), &err);
	/* it waits for another container now; what was fetched is not fetched again */
	EXPECT(tell_image(w, "reg/a:1", 1));
	EXPECT(tell_image(w, "reg/a:1", 2));
	EXPECT(tell_image(w, "reg/c:1", 1));
	EXPECT_INT(times_after(w, "PrefetchImage reg/a:1\n", "PrefetchImage reg/c:1"), 2);
	for (int i = 0; i < 10; i++)
		EXPECT(tell_image(w, "reg/many:1", i));
	EXPECT_OK(kill_task(w, ctr, NULL, SIGKILL, &err), &err);
	EXPECT_INT(wait_task(w, ctr, NULL, &err), 128 + SIGKILL);
	EXPECT_OK(delete_task(w, ctr, NULL, &err), &err);
	end_pod(w, pod);
	EXPECT_INT(times_after(w, "PrefetchImage", "DestroySandbox"), EARLY_PULL_MAX);
	world_free(w);
}

CF_TEST(shim_listens_no_longer_for_a_guest_that_cannot_fetch_early)
{
	EXPECT(setenv("FAKE_AGENT_IS_KATAS", "1", 1) == 0);
	struct world *w = world_new("sandbox", "\"wait\"");
	cf_cleanup(cf_freep) char *path = NULL;
	char pod[] = "pod1";
	struct cf_err err = { .code = CF_OK };

	path = early_path(w);
	EXPECT_OK(create(w, pod, w->bundle, NULL, NULL, &err), &err);
	EXPECT(tell_image(w, "reg/a:1", 1));
	for (int i = 0; access(path, F_OK) == 0 && i < TIMEOUT / 10; i++)
		(void)!poll(NULL, 0, 10);
	EXPECT(access(path, F_OK) < 0);
	end_pod(w, pod);
	world_free(w);
}

/* ---- reports of pulls ---- */

/* A snapshotter's control socket that takes what it is told. */
struct reports {
	int fd;
	pthread_t thread;
	struct cf_buf bodies; /* a line each; read after the thread's end */
	size_t want;
};

static bool take_report(struct reports *r)
{
	cf_cleanup(cf_closep) int fd = accept4(r->fd, NULL, NULL, SOCK_CLOEXEC);
	static const char ok[] = "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n";
	char text[4096] = "";
	size_t n = 0;
	const char *body = NULL;

	while (fd >= 0 && n < sizeof(text) - 1) {
		ssize_t got = recv(fd, text + n, sizeof(text) - 1 - n, 0);

		if (got <= 0)
			break;
		n += (size_t)got;
		body = strstr(text, "\r\n\r\n");
		if (body && strchr(body, '}'))
			break;
	}
	if (!body)
		return false;
	EXPECT(cf_starts_with(text, "POST /v1/pulls HTTP/1.1\r\n"));
	cf_buf_printf(&r->bodies, "%s\n", body + 4);
	return send(fd, ok, strlen(ok), MSG_NOSIGNAL) > 0;
}

static void *reports_run(void *arg)
{
	struct reports *r = arg;

	for (size_t i = 0; i < r->want && take_report(r);)
		i++;
	return NULL;
}

static void reports_start(struct reports *r, const struct world *w, size_t want)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/system.sock", w->dir);
	struct cf_err err = { .code = CF_OK };

	*r = (struct reports){ .want = want };
	r->fd = cf_listen_unix(path, &err);
	EXPECT(r->fd >= 0);
	EXPECT(pthread_create(&r->thread, NULL, reports_run, r) == 0);
}

static void expect_reports(struct reports *r, const char *want)
{
	EXPECT(pthread_join(r->thread, NULL) == 0);
	EXPECT_STR((char *)r->bodies.data, want);
	cf_buf_fini(&r->bodies);
	close(r->fd);
}

static int create_on(struct world *w, char *id, char *bundle, char *option, struct cf_err *err)
{
	Containerd__Task__V2__CreateTaskRequest req =
		CONTAINERD__TASK__V2__CREATE_TASK_REQUEST__INIT;
	Containerd__Types__Mount mount = CONTAINERD__TYPES__MOUNT__INIT, *mounts[] = { &mount };

	mount.options = &option;
	mount.n_options = 1;
	req.rootfs = mounts;
	req.n_rootfs = 1;
	req.id = id;
	req.bundle = bundle;
	return call(w, "Create", &req.base, &containerd__task__v2__create_task_response__descriptor,
	            NULL, err);
}

static void report_one(const char *mode, const char *want, size_t want_count)
{
	cf_cleanup(cf_freep) char *quoted = cf_asprintf("\"%s\"", mode);
	struct world *w = world_new("sandbox", "\"wait\"");
	cf_cleanup(cf_freep) char *bundle2 = cf_asprintf("%s/ctr1", w->dir);
	char pod[] = "pod1", ctr[] = "ctr1", option[] = "workdir=/r/snapshots/7/work";
	struct cf_err err = { .code = CF_OK };
	struct reports reports;

	EXPECT_OK(create(w, pod, w->bundle, NULL, NULL, &err), &err);
	reports_start(&reports, w, want_count);
	make_bundle(bundle2, "container", "pod1", quoted);
	bool is_created = create_on(w, ctr, bundle2, option, &err) == 0;

	EXPECT(is_created == !cf_streq(mode, "refuse"));
	expect_reports(&reports, want);
	if (is_created) /* else the shim stays for it */
		EXPECT_OK(delete_task(w, ctr, NULL, &err), &err);
	end_pod(w, pod);
	world_free(w);
}

#define REPORT(state, counts) "{\"snapshot_id\":7,\"root\":\"/r\",\"state\":\"" state "\"," counts
#define NONE                  "\"layers\":0,\"layers_done\":0,\"bytes\":0,\"bytes_done\":0"

CF_TEST(shim_reports_how_far_a_pull_is)
{
	report_one("pull",
	           REPORT("pulling", NONE "}\n") REPORT(
			   "pulling", "\"layers\":2,\"layers_done\":1,"
				      "\"bytes\":9223372036854775807,\"bytes_done\":5}\n")
	                   REPORT("done",
	                          "\"layers\":2,\"layers_done\":2,\"bytes\":9223372036854775807,"
	                          "\"bytes_done\":9223372036854775807}\n"),
	           3);
}

CF_TEST(shim_reports_why_a_pull_failed)
{
	report_one("refuse",
	           REPORT("pulling", NONE "}\n")
	                   REPORT("failed", NONE ",\"message\":\"blocked by policy\"}\n"),
	           2);
}

CF_TEST(shim_reports_beginning_and_end_of_a_guest_that_tells_nothing)
{
	EXPECT(setenv("FAKE_AGENT_IS_KATAS", "1", 1) == 0);
	report_one("wait", REPORT("pulling", NONE "}\n") REPORT("done", NONE "}\n"), 2);
}
