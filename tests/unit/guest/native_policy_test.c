/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/guest/native_policy.h"

#include "tests/component/guest/guest_fixture.h"

#define DIGEST "@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static struct native_policy *parse(const char *text)
{
	struct native_policy *p = NULL;
	struct cf_err err;

	EXPECT_OK(native_policy_parse(cf_view_str(text), &p, &err), &err);
	return p;
}

/* The image of most tests: `/app serve`, one variable, root. */
static void image_init(struct policy_image *image)
{
	*image = (struct policy_image){ .cwd = "/" };
	cf_strv_add(&image->args, "/app");
	cf_strv_add(&image->args, "serve");
	cf_strv_add(&image->env, "PATH=/bin");
	cf_strv_add(&image->env, "IMAGE=1");
}

static void image_fini(struct policy_image *image)
{
	cf_strv_fini(&image->args);
	cf_strv_fini(&image->env);
}

static struct fx_container *request(void)
{
	struct fx_container *c = fx_container("app-1", "reg.example/app:1");

	fx_arg(c, "/app");
	fx_arg(c, "serve");
	return c;
}

static int judge(const char *policy_text, struct fx_container *c, const char *name,
                 bool is_encrypted, struct cf_err *err)
{
	struct native_policy *p = policy_text ? parse(policy_text) : NULL;
	const struct policy_container *found = NULL;
	struct policy_image image;
	struct native_policy_request req = {
		.image = c->image.source, .name = name, .config = &image, .spec = &c->spec
	};
	int r;

	image_init(&image);
	image.is_encrypted = is_encrypted;
	r = native_policy_container(p, &req, &found, err);
	EXPECT((r == 0) == (found != NULL));
	image_fini(&image);
	native_policy_free(p);
	return r;
}

#define HEAD "version = 1\n[[container]]\nimage = \"reg.example/app:1\"\n"

/* ---- reading ---- */

CF_TEST(policy_refuses_what_it_does_not_understand)
{
	static const char *const refused[] = {
		"verison = 1\n",                              /* a slip of the pen is not ignored */
		"[[container]]\nname = \"x\"\n",              /* no image */
		"[[container]]\nimage = \"\"\n",              /* an empty one */
		"[container]\nimage = \"a\"\n",               /* no list */
		"container = [1]\n",                          /* no table */
		HEAD "arg = [\"a\"]\n",                       /* unknown key */
		HEAD "args = \"a\"\n",                        /* no list */
		HEAD "args = [1]\n",                          /* no text */
		HEAD "env = [\"NOEQUALS\"]\n",                /* no NAME=… */
		HEAD "env = [\"=x\"]\n",                      /* no name */
		HEAD "encrypted = \"yes\"\n",                 /* neither word */
		HEAD "user = \"root\"\n",                     /* names are the image's business */
		HEAD "user = \"1:\"\n",                       /* no group */
		HEAD "user = \"-1\"\n",                       /* no number */
		HEAD "groups = [-1]\n",                       /* no id */
		HEAD "capabilities = [\"CAP_EVERYTHING\"]\n", /* unknown */
		HEAD "devices = [\"/etc/passwd\"]\n",         /* not below /dev */
		HEAD "mounts = [\"data\"]\n",                 /* not absolute */
		HEAD "exec = [\"ls\"]\n",                     /* a text is no list of words */
		HEAD "exec = [[]]\n",                         /* an empty command */
		HEAD "exec = [[1]]\n",                        /* no word */
		HEAD "privileged = \"no\"\n",                 /* no bool */
	};
	struct native_policy *p = NULL;
	struct cf_err err;

	for (size_t i = 0; i < CF_ARRAY_LEN(refused); i++) {
		EXPECT_FAILS(native_policy_parse(cf_view_str(refused[i]), &p, &err),
		             CF_INVALID_ARGUMENT);
		EXPECT(!p);
		EXPECT(cf_starts_with(err.msg, "policy.toml: "));
	}
}

CF_TEST(policy_of_another_version_is_refused)
{
	struct native_policy *p = NULL;
	struct cf_err err;

	EXPECT_FAILS(native_policy_parse(cf_view_str("version = 2\n"), &p, &err), CF_UNIMPLEMENTED);
}

CF_TEST(policy_has_limits)
{
	struct native_policy *p = NULL;
	struct cf_buf text = { .max = 4u << 20 };
	struct cf_err err;

	for (unsigned i = 0; i <= NATIVE_POLICY_CONTAINERS_MAX; i++)
		cf_buf_add_str(&text, "[[container]]\nimage = \"a\"\n");
	EXPECT_FAILS(native_policy_parse(cf_buf_view(&text), &p, &err), CF_RESOURCE_EXHAUSTED);
	cf_buf_reset(&text);
	cf_buf_add_str(&text, HEAD "args = [");
	for (unsigned i = 0; i <= NATIVE_POLICY_ITEMS_MAX; i++)
		cf_buf_add_str(&text, "\"a\",");
	cf_buf_add_str(&text, "]\n");
	EXPECT_FAILS(native_policy_parse(cf_buf_view(&text), &p, &err), CF_RESOURCE_EXHAUSTED);
	cf_buf_reset(&text);
	cf_buf_add_str(&text, "# ");
	cf_buf_add_zero(&text, NATIVE_POLICY_SIZE_MAX);
	EXPECT_FAILS(native_policy_parse(cf_buf_view(&text), &p, &err), CF_RESOURCE_EXHAUSTED);
	cf_buf_fini(&text);
}

CF_TEST(policy_survives_every_truncation)
{
	static const char text[] = HEAD
		"name = \"web\"\nencrypted = \"required\"\nargs = [\"a\"]\nenv = [\"A=*\"]\n"
		"cwd = \"/\"\nuser = \"1:2\"\ngroups = [3]\ncapabilities = [\"KILL\"]\n"
		"devices = [\"/dev/fuse\"]\nmounts = [\"/data:ro\"]\nexec = [[\"ls\", \"-l\"]]\n";
	struct cf_err err;

	for (size_t n = 0; n < sizeof(text); n++) {
		struct native_policy *p = NULL;

		if (native_policy_parse(cf_view(text, n), &p, &err) < 0)
			EXPECT(!p);
		native_policy_free(p);
	}
}

/* ---- images ---- */

CF_TEST(image_must_be_named)
{
	static const struct {
		const char *allowed, *asked;
		bool ok;
	} rows[] = {
		{ "reg.example/app:1", "reg.example/app:1", true },
		{ "reg.example/app:1", "reg.example/app:1" DIGEST, true },
		{ "reg.example/app:1", "reg.example/app:10", false },
		{ "reg.example/app:1", "reg.example/app:2", false },
		{ "reg.example/app:1", "reg.example/app:1@sha256:00", false },
		{ "reg.example/app:1", "reg.example/app", false },
		{ "reg.example/app" DIGEST, "reg.example/app" DIGEST, true },
		{ "reg.example/app" DIGEST, "reg.example/app" DIGEST DIGEST, false },
		{ "reg.example/app" DIGEST, "reg.example/app:1", false },
	};
	struct cf_err err;

	for (size_t i = 0; i < CF_ARRAY_LEN(rows); i++) {
		cf_cleanup(cf_freep) char *text =
			cf_asprintf("[[container]]\nimage = \"%s\"\n", rows[i].allowed);
		struct native_policy *p = parse(text);
		int r = native_policy_image(p, rows[i].asked, &err);

		EXPECT(r == (rows[i].ok ? 0 : -CF_PERMISSION_DENIED));
		if (r < 0)
			EXPECT(strstr(err.msg, rows[i].asked));
		native_policy_free(p);
	}
	EXPECT_OK(native_policy_image(NULL, "anything", &err), &err);
}

CF_TEST(policy_without_containers_allows_none)
{
	struct native_policy *p = parse("version = 1\n");
	struct cf_err err;

	EXPECT_FAILS(native_policy_image(p, "reg.example/app:1", &err), CF_PERMISSION_DENIED);
	native_policy_free(p);
}

CF_TEST(encrypted_required_refuses_the_plain_twin)
{
	struct fx_container *c = request();
	struct cf_err err;

	EXPECT_OK(judge(HEAD "encrypted = \"required\"\n", c, NULL, true, &err), &err);
	EXPECT_FAILS(judge(HEAD "encrypted = \"required\"\n", c, NULL, false, &err),
	             CF_PERMISSION_DENIED);
	EXPECT_STR(err.msg,
	           "policy.toml line 2, encrypted: image \"reg.example/app:1\" came with a "
	           "plain layer");
	EXPECT_OK(judge(HEAD, c, NULL, false, &err), &err);
	fx_container_free(c);
}

CF_TEST(name_narrows_the_choice)
{
	static const char two[] =
		HEAD "name = \"web\"\n[[container]]\n"
		     "image = \"reg.example/app:1\"\nname = \"job\"\nargs = [\"/job\"]\n";
	struct fx_container *c = request();
	struct cf_err err;

	EXPECT_OK(judge(two, c, "web", false, &err), &err);
	EXPECT_FAILS(judge(two, c, "job", false, &err), CF_PERMISSION_DENIED);
	EXPECT(strstr(err.msg,
	              "policy.toml line 5, args: [\"/app\", \"serve\"] is not [\"/job\"]"));
	EXPECT_FAILS(judge(two, c, "other", false, &err), CF_PERMISSION_DENIED);
	EXPECT_FAILS(judge(two, c, NULL, false, &err), CF_PERMISSION_DENIED);
	fx_container_free(c);
}

/* ---- processes ---- */

CF_TEST(without_policy_the_image_decides)
{
	struct fx_container *c = request();
	struct cf_err err;

	EXPECT_OK(judge(NULL, c, NULL, false, &err), &err);
	c->args[1] = fx_str(c, "dump");
	EXPECT_FAILS(judge(NULL, c, NULL, false, &err), CF_PERMISSION_DENIED);
	EXPECT_STR(err.msg,
	           "no policy.toml in initdata, args: [\"/app\", \"dump\"] is not what the "
	           "image says, [\"/app\", \"serve\"]");
	fx_container_free(c);
}

CF_TEST(args_are_compared_word_by_word)
{
	struct fx_container *c = request();
	struct cf_err err;

	EXPECT_OK(judge(HEAD "args = [\"/app\", \"serve\"]\n", c, NULL, false, &err), &err);
	EXPECT_FAILS(judge(HEAD "args = [\"/app serve\"]\n", c, NULL, false, &err),
	             CF_PERMISSION_DENIED);
	EXPECT_FAILS(judge(HEAD "args = [\"/app\"]\n", c, NULL, false, &err), CF_PERMISSION_DENIED);
	EXPECT_FAILS(judge(HEAD "args = []\n", c, NULL, false, &err), CF_PERMISSION_DENIED);
	c->process.n_args = 0;
	EXPECT_FAILS(judge(HEAD "args = []\n", c, NULL, false, &err), CF_PERMISSION_DENIED);
	fx_container_free(c);
}

CF_TEST(env_is_the_image_the_policy_and_what_every_pod_has)
{
	static const struct {
		const char *entry;
		bool ok;
	} rows[] = {
		{ "HOSTNAME=web-0", true },
		{ "TERM=xterm", true },
		{ "LEVEL=debug", true }, /* the policy's LEVEL=* */
		{ "KUBERNETES_SERVICE_HOST=10.0.0.1", true },
		{ "KUBERNETES_SERVICE_PORT=443", true },
		{ "KUBERNETES_SERVICE_PORT_HTTPS=443", true },
		{ "KUBERNETES_PORT=tcp://10.0.0.1:443", true },
		{ "KUBERNETES_PORT_443_TCP=tcp://10.0.0.1:443", true },
		{ "KUBERNETES_PORT_443_TCP_PROTO=tcp", true },
		{ "KUBERNETES_PORT_443_TCP_PORT=443", true },
		{ "KUBERNETES_PORT_443_TCP_ADDR=10.0.0.1", true },
		{ "KUBERNETES_SERVICE_HOST=evil.example", false }, /* names are no addresses */
		{ "KUBERNETES_PORT=file:///etc", false },
		{ "lower_SERVICE_PORT=443", false },
		{ "LD_PRELOAD=/evil.so", false },
		{ "LD_LIBRARY_PATH=/evil", false },
		{ "APP_PORT=80", false },
		{ "IMAGE=2", false }, /* another value than the image's; also twice */
		{ "PATH=/evil", false },
		{ "=x", false },
		{ "NOEQUALS", false },
	};
	struct cf_err err;

	for (size_t i = 0; i < CF_ARRAY_LEN(rows); i++) {
		struct fx_container *c = request();
		int r;

		fx_env(c, "MODE=strict");
		fx_env(c, rows[i].entry);
		r = judge(HEAD "env = [\"MODE=strict\", \"LEVEL=*\"]\n", c, NULL, false, &err);
		if ((r == 0) != rows[i].ok)
			print_message("%s: %d %s\n", rows[i].entry, r, err.msg);
		EXPECT((r == 0) == rows[i].ok);
		fx_container_free(c);
	}
}

CF_TEST(env_may_not_be_left_out_or_repeated)
{
	struct fx_container *c = request();
	struct cf_err err;

	EXPECT_FAILS(judge(HEAD "env = [\"MODE=strict\"]\n", c, NULL, false, &err),
	             CF_PERMISSION_DENIED);
	EXPECT(strstr(err.msg, "\"MODE=strict\" was left out"));
	c->process.n_env = 1; /* IMAGE=1 is gone */
	EXPECT_FAILS(judge(HEAD, c, NULL, false, &err), CF_PERMISSION_DENIED);
	EXPECT(strstr(err.msg, "the image's \"IMAGE=1\" was left out"));
	c->process.n_env = 2;
	fx_env(c, "IMAGE=1");
	EXPECT_FAILS(judge(HEAD, c, NULL, false, &err), CF_PERMISSION_DENIED);
	EXPECT(strstr(err.msg, "IMAGE is there twice"));
	fx_container_free(c);
}

CF_TEST(policy_overrides_the_image_in_env_cwd_and_user)
{
	static const char text[] =
		HEAD "env = [\"IMAGE=2\"]\ncwd = \"/srv\"\nuser = \"1000:100\"\ngroups = [7]\n";
	struct fx_container *c = request();
	uint32_t groups[2] = { 100, 7 };
	struct cf_err err;

	c->env[1] = fx_str(c, "IMAGE=2");
	c->process.cwd = fx_str(c, "/srv");
	c->user.uid = 1000;
	c->user.gid = 100;
	c->user.additionalgids = groups;
	c->user.n_additionalgids = 2;
	EXPECT_OK(judge(text, c, NULL, false, &err), &err);
	groups[1] = 8;
	EXPECT_FAILS(judge(text, c, NULL, false, &err), CF_PERMISSION_DENIED);
	EXPECT(strstr(err.msg, "groups: additional group 8"));
	groups[1] = 7;
	c->user.gid = 101;
	EXPECT_FAILS(judge(text, c, NULL, false, &err), CF_PERMISSION_DENIED);
	EXPECT(strstr(err.msg, "user: gid 101 is not 100"));
	c->user.gid = 100;
	c->user.uid = 1001;
	EXPECT_FAILS(judge(text, c, NULL, false, &err), CF_PERMISSION_DENIED);
	EXPECT(strstr(err.msg, "user: uid 1001 is not 1000"));
	c->user.uid = 1000;
	c->process.cwd = fx_str(c, "/");
	EXPECT_FAILS(judge(text, c, NULL, false, &err), CF_PERMISSION_DENIED);
	EXPECT(strstr(err.msg, "cwd: \"/\" is not \"/srv\""));
	fx_container_free(c);
}

CF_TEST(unknown_user_becomes_the_policys_or_the_images_never_root)
{
	struct native_policy *p = parse(HEAD "user = \"1000:100\"\ngroups = [7]\n");
	struct fx_container *c = request();
	uint32_t groups[3] = { 0, 100, 7 };
	const struct policy_container *found = NULL;
	struct policy_image image;
	struct native_policy_request req = { .image = c->image.source,
		                             .config = &image,
		                             .spec = &c->spec };
	struct policy_user user;
	struct cf_err err;

	image_init(&image);
	c->user.additionalgids = groups;
	c->user.n_additionalgids = 3;
	EXPECT_OK(native_policy_container(p, &req, &found, &err), &err);
	native_policy_user(found, &image, &c->process, &user);
	EXPECT(user.uid == 1000 && user.gid == 100);
	EXPECT(user.group_count == 2 && user.groups[0] == 100 && user.groups[1] == 7);
	policy_user_fini(&user);
	image.uid = 5;
	image.gid = 6;
	EXPECT_FAILS(native_policy_container(NULL, &req, &found, &err), CF_PERMISSION_DENIED);
	c->user.n_additionalgids = 1;
	EXPECT_OK(native_policy_container(NULL, &req, &found, &err), &err);
	native_policy_user(found, &image, &c->process, &user);
	EXPECT(user.uid == 5 && user.gid == 6 && user.group_count == 0);
	policy_user_fini(&user);
	image_fini(&image);
	native_policy_free(p);
	fx_container_free(c);
}

static int judge_cap(const char *text, const char *cap, int set, struct cf_err *err)
{
	struct fx_container *c = request();
	char *list[1] = { fx_str(c, cap) };
	size_t *counts[] = { &c->caps.n_bounding, &c->caps.n_effective, &c->caps.n_permitted,
		             &c->caps.n_inheritable, &c->caps.n_ambient };
	char ***sets[] = { &c->caps.bounding, &c->caps.effective, &c->caps.permitted,
		           &c->caps.inheritable, &c->caps.ambient };
	int r;

	*counts[set] = 1;
	*sets[set] = list;
	r = judge(text, c, NULL, false, err);
	fx_container_free(c);
	return r;
}

CF_TEST(capabilities_are_the_usual_ones_or_the_named_ones)
{
	struct cf_err err;

	for (int set = 0; set < 5; set++) {
		EXPECT_FAILS(judge_cap(HEAD, "CAP_SYS_ADMIN", set, &err), CF_PERMISSION_DENIED);
		EXPECT(strstr(err.msg, "capabilities: CAP_SYS_ADMIN"));
		EXPECT_OK(judge_cap(HEAD "capabilities = [\"SYS_ADMIN\"]\n", "CAP_SYS_ADMIN", set,
		                    &err),
		          &err);
		EXPECT_FAILS(
			judge_cap(HEAD "capabilities = [\"SYS_ADMIN\"]\n", "CAP_CHOWN", set, &err),
			CF_PERMISSION_DENIED);
		EXPECT_OK(judge_cap(HEAD "privileged = true\n", "CAP_SYS_ADMIN", set, &err), &err);
		EXPECT_FAILS(judge_cap(HEAD "privileged = true\n", "CAP_MADE_UP", set, &err),
		             CF_PERMISSION_DENIED);
	}
	for (int set = 0; set < 4; set++)
		EXPECT_OK(judge_cap(HEAD, "CAP_CHOWN", set, &err), &err);
	EXPECT_FAILS(judge_cap(HEAD, "CAP_CHOWN", 4, &err), CF_PERMISSION_DENIED);
}

CF_TEST(pids_are_shared_only_where_the_policy_says_so)
{
	static const char *const texts[] = { HEAD "share_pids = true\n", HEAD };

	for (size_t i = 0; i < CF_ARRAY_LEN(texts); i++) {
		struct native_policy *p = parse(texts[i]);
		struct fx_container *c = request();
		const struct policy_container *found = NULL;
		struct policy_image image;
		struct native_policy_request req = { .image = c->image.source,
			                             .shares_pids = true,
			                             .config = &image,
			                             .spec = &c->spec };
		struct cf_err err;

		image_init(&image);
		EXPECT_INT(native_policy_container(p, &req, &found, &err),
		           i ? -CF_PERMISSION_DENIED : 0);
		image_fini(&image);
		native_policy_free(p);
		fx_container_free(c);
	}
}

CF_TEST(demands_on_root_and_privileges_hold)
{
	struct fx_container *c = request();
	struct cf_err err;

	EXPECT_FAILS(judge(HEAD "readonly_rootfs = true\n", c, NULL, false, &err),
	             CF_PERMISSION_DENIED);
	c->root.readonly = true;
	EXPECT_OK(judge(HEAD "readonly_rootfs = true\n", c, NULL, false, &err), &err);
	EXPECT_FAILS(judge(HEAD "no_new_privileges = true\n", c, NULL, false, &err),
	             CF_PERMISSION_DENIED);
	c->process.nonewprivileges = true;
	EXPECT_OK(judge(HEAD "no_new_privileges = true\n", c, NULL, false, &err), &err);
	c->user.username = fx_str(c, "root");
	EXPECT_FAILS(judge(HEAD, c, NULL, false, &err), CF_PERMISSION_DENIED);
	fx_container_free(c);
}

/* ---- file system ---- */

static int judge_mount(const char *text, const char *destination, const char *type,
                       const char *option, struct cf_err *err)
{
	struct fx_container *c = request();
	int r;

	fx_mount(c, destination, type, "/source", option);
	r = judge(text, c, NULL, false, err);
	fx_container_free(c);
	return r;
}

CF_TEST(mounts_are_every_pods_or_the_named_ones)
{
	static const char named[] = HEAD "mounts = [\"/data\", \"/conf:ro\"]\n";
	struct cf_err err;

	EXPECT_OK(judge_mount(HEAD, "/etc/hosts", "bind", "rbind", &err), &err);
	EXPECT_OK(judge_mount(HEAD, "/dev/shm", "tmpfs", "size=64m", &err), &err);
	EXPECT_FAILS(judge_mount(HEAD, "/data", "bind", "rw", &err), CF_PERMISSION_DENIED);
	EXPECT_STR(err.msg, "policy.toml line 2, mounts: \"/data\" is not allowed");
	EXPECT_OK(judge_mount(named, "/data", "bind", "rw", &err), &err);
	EXPECT_FAILS(judge_mount(named, "/data/below", "bind", "rw", &err), CF_PERMISSION_DENIED);
	EXPECT_OK(judge_mount(named, "/conf", "bind", "ro", &err), &err);
	EXPECT_FAILS(judge_mount(named, "/conf", "bind", "rw", &err), CF_PERMISSION_DENIED);
	EXPECT(strstr(err.msg, "is to be read-only"));
	/* the kernel's file systems: only where they belong, only with harmless options */
	EXPECT_FAILS(judge_mount(HEAD, "/data", "proc", NULL, &err), CF_PERMISSION_DENIED);
	EXPECT_FAILS(judge_mount(HEAD, "/proc", "proc", "hidepid=2", &err), CF_PERMISSION_DENIED);
	EXPECT_FAILS(judge_mount(HEAD, "/sys", "sysfs", "rw", &err), CF_PERMISSION_DENIED);
	EXPECT_OK(judge_mount(HEAD "privileged = true\n", "/sys", "sysfs", "rw", &err), &err);
	EXPECT_FAILS(judge_mount(HEAD, "/mnt", "ext4", NULL, &err), CF_PERMISSION_DENIED);
}

CF_TEST(devices_are_the_usual_or_the_named_ones)
{
	Grpc__LinuxDevice device = GRPC__LINUX_DEVICE__INIT;
	Grpc__LinuxDevice *list[] = { &device };
	struct fx_container *c = request();
	struct cf_err err;

	c->linux_spec.devices = list;
	c->linux_spec.n_devices = 1;
	device.path = fx_str(c, "/dev/null");
	EXPECT_OK(judge(HEAD, c, NULL, false, &err), &err);
	EXPECT(policy_device_is_default("/dev/null"));
	device.path = fx_str(c, "/dev/fuse");
	EXPECT_FAILS(judge(HEAD, c, NULL, false, &err), CF_PERMISSION_DENIED);
	EXPECT(strstr(err.msg, "devices: \"/dev/fuse\" is not allowed"));
	EXPECT_OK(judge(HEAD "devices = [\"/dev/fuse\"]\n", c, NULL, false, &err), &err);
	fx_container_free(c);
}

/* ---- later requests ---- */

static const struct policy_container *granted_by(const char *text, struct native_policy **ret)
{
	const struct policy_container *found = NULL;
	struct fx_container *c = request();
	struct policy_image image;
	struct native_policy_request req = { .image = c->image.source,
		                             .config = &image,
		                             .spec = &c->spec };
	struct cf_err err;

	*ret = text ? parse(text) : NULL;
	image_init(&image);
	EXPECT_OK(native_policy_container(*ret, &req, &found, &err), &err);
	image_fini(&image);
	fx_container_free(c);
	return found;
}

CF_TEST(exec_is_word_for_word_and_has_no_more_than_the_container)
{
	struct native_policy *p;
	const struct policy_container *allowed = granted_by(HEAD "exec = [[\"ls\", \"-l\"]]\n", &p);
	struct cf_strv env = { 0 }, caps = { 0 };
	struct policy_granted granted = { .env = &env, .caps = &caps, .cwd = "/" };
	struct fx_container *c = fx_container("app-1", "x");
	char *cap[1] = { fx_str(c, "CAP_CHOWN") };
	struct cf_err err;

	cf_strv_add(&env, "PATH=/bin");
	cf_strv_add(&env, "IMAGE=1");
	fx_arg(c, "ls");
	EXPECT_FAILS(native_policy_exec(allowed, &c->process, &granted, &err),
	             CF_PERMISSION_DENIED);
	EXPECT_STR(err.msg, "policy.toml line 2, exec: [\"ls\"] is not allowed");
	fx_arg(c, "-l");
	EXPECT_OK(native_policy_exec(allowed, &c->process, &granted, &err), &err);
	fx_env(c, "TERM=xterm");
	EXPECT_OK(native_policy_exec(allowed, &c->process, &granted, &err), &err);
	fx_env(c, "LD_PRELOAD=/x");
	EXPECT_FAILS(native_policy_exec(allowed, &c->process, &granted, &err),
	             CF_PERMISSION_DENIED);
	c->process.n_env--;
	c->user.uid = 1;
	EXPECT_FAILS(native_policy_exec(allowed, &c->process, &granted, &err),
	             CF_PERMISSION_DENIED);
	c->user.uid = 0;
	c->process.cwd = fx_str(c, "/tmp");
	EXPECT_FAILS(native_policy_exec(allowed, &c->process, &granted, &err),
	             CF_PERMISSION_DENIED);
	c->process.cwd = fx_str(c, "/");
	c->caps.ambient = cap;
	c->caps.n_ambient = 1;
	EXPECT_FAILS(native_policy_exec(allowed, &c->process, &granted, &err),
	             CF_PERMISSION_DENIED);
	cf_strv_add(&caps, "CAP_CHOWN");
	EXPECT_OK(native_policy_exec(allowed, &c->process, &granted, &err), &err);
	fx_container_free(c);
	cf_strv_fini(&env);
	cf_strv_fini(&caps);
	native_policy_free(p);
}

CF_TEST(without_policy_there_is_no_exec_no_stdin_but_logs)
{
	struct native_policy *p;
	const struct policy_container *none = granted_by(NULL, &p);
	struct cf_strv empty = { 0 };
	struct policy_granted granted = { .env = &empty, .caps = &empty, .cwd = "/" };
	struct fx_container *c = fx_container("app-1", "x");
	struct cf_err err;

	fx_arg(c, "ls");
	EXPECT_FAILS(native_policy_exec(none, &c->process, &granted, &err), CF_PERMISSION_DENIED);
	EXPECT_OK(native_policy_read(none, &err), &err);
	EXPECT_FAILS(native_policy_write(none, &err), CF_PERMISSION_DENIED);
	EXPECT(!policy_container_is_privileged(none));
	fx_container_free(c);
}

CF_TEST(switches_open_and_close_the_streams)
{
	struct native_policy *p;
	const struct policy_container *c = granted_by(HEAD "logs = false\nstdin = true\n", &p);
	struct cf_err err;

	EXPECT_FAILS(native_policy_read(c, &err), CF_PERMISSION_DENIED);
	EXPECT_STR(err.msg, "policy.toml line 2, logs: the host may not read them");
	EXPECT_OK(native_policy_write(c, &err), &err);
	native_policy_free(p);
}
