/* SPDX-License-Identifier: Apache-2.0 */
/*
 * coffer-init as PID 1 of an emulated machine: the initramfs root, modules, cgroups, the virtio-serial
 * port, the initdata disk. COFFER_GUEST_KERNEL names a directory with vmlinuz, modules/ and
 * modules.dep; without it these tests are skipped (the end-to-end tests boot the real guest image).
 */
#include "tests/component/guest/guest_fixture.h"

#include <sys/socket.h>

#define BOOT_MS 60000

/* In the guest: this very program plays the image service, on the listener that it inherits. */
CF_TEST(image_service_stand_in)
{
	static const struct rpc_method methods[] = {
		{ "PullImage", &api__image_pull_request__descriptor,
		  &api__image_pull_response__descriptor, fx_pull, RPC_INLINE },
	};
	struct fx f = { 0 };
	struct ttrpc_server_opts opts = { .service_count = 1 };
	struct cf_err err;

	if (!getenv("FX_SERVE"))
		return;
	f.service = (struct rpc_service){
		.name = "api.ImagePullService", .methods = methods, .method_count = 1, .user = &f
	};
	f.services[0] = &f.service;
	EXPECT_OK(cf_loop_new(&f.loop, &err), &err);
	opts.loop = f.loop;
	opts.services = f.services;
	EXPECT_OK(ttrpc_server_new(&opts, &f.cdh, &err), &err);
	EXPECT_OK(ttrpc_server_listen(f.cdh, "fd://3", &err), &err);
	cf_loop_run(f.loop);
}

static void pack(const struct fx *f, const char *kernel)
{
	cf_cleanup(cf_freep) char *script = cf_test_source("tests/component/guest/pack_initrd.sh");
	cf_cleanup(cf_freep) char *init = cf_test_bin("coffer-init");
	cf_cleanup(cf_freep) char *out = cf_asprintf("%s/initrd", f->dir);
	const char *const argv[] = { "bash", script, out, kernel, init, "/proc/self/exe", NULL };
	char self[4096];
	const char *full[CF_ARRAY_LEN(argv)];
	struct cf_proc_opts opts = {
		.argv = full, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1
	};
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	struct cf_err err;

	EXPECT(n > 0);
	self[n] = '\0';
	memcpy(full, argv, sizeof(argv));
	full[5] = self;
	EXPECT_OK(cf_proc_run(&opts, 0, BOOT_MS, NULL, &err), &err);
}

static void boot(struct fx *f, const char *kernel)
{
	cf_cleanup(cf_freep) char *vmlinuz = cf_asprintf("%s/vmlinuz", kernel);
	cf_cleanup(cf_freep) char *initrd = cf_asprintf("%s/initrd", f->dir);
	cf_cleanup(cf_freep) char *port =
		cf_asprintf("socket,id=agent,path=%s/port,server=on,wait=off", f->dir);
	cf_cleanup(cf_freep) char *disk =
		cf_asprintf("file=%s/initdata.img,if=virtio,format=raw,readonly=on", f->dir);
	cf_cleanup(cf_freep) char *serial = cf_asprintf("file:%s/console", f->dir);
	cf_cleanup(cf_freep) char *address = cf_asprintf("virtio-serial:%s/port", f->dir);
	const char *const argv[] = {
		"qemu-system-x86_64",
		"-accel",
		"tcg,thread=multi",
		"-cpu",
		"max,-cx16",
		"-smp",
		"1",
		"-m",
		"768",
		"-display",
		"none",
		"-nodefaults",
		"-no-user-config",
		"-no-reboot",
		"-machine",
		"q35",
		"-serial",
		serial,
		"-kernel",
		vmlinuz,
		"-initrd",
		initrd,
		"-append",
		"console=ttyS0 panic=-1 mitigations=off tsc=reliable no_timer_check "
		"cryptomgr.notests random.trust_cpu=on -- --no-pid1 --listen unix:/x",
		"-device",
		"virtio-serial-pci",
		"-chardev",
		port,
		"-device",
		"virtserialport,chardev=agent,name=agent.channel.0",
		"-drive",
		disk,
		NULL,
	};
	struct cf_proc_opts opts = { .argv = argv,
		                     .stdin_fd = -1,
		                     .stdout_fd = -1,
		                     .stderr_fd = -1,
		                     .die_with_parent = true };
	struct ttrpc_client_opts client = { .loop = NULL };
	struct cf_err err;

	EXPECT_OK(cf_proc_spawn(&opts, &f->pid, &err), &err);
	EXPECT_OK(ttrpc_client_dial(address, BOOT_MS, &client, &f->client, &err), &err);
}

CF_TEST(machine_boots_runs_a_container_and_resets)
{
	const char *kernel = getenv("COFFER_GUEST_KERNEL");
	Grpc__DestroySandboxRequest destroy = GRPC__DESTROY_SANDBOX_REQUEST__INIT;
	struct fx_container *c;
	struct fx f = { 0 };
	struct cf_err err;
	int status;
	char *text;

	if (!kernel || access("/usr/bin/qemu-system-x86_64", X_OK) < 0)
		SKIP("COFFER_GUEST_KERNEL is not set, or there is no QEMU");
	f.dir = cf_test_tmpdir();
	fx_write_initdata(&f, NULL);
	pack(&f, kernel);
	boot(&f, kernel);
	EXPECT_OK(fx_sandbox(&f, false, &err), &err);
	c = fx_container("app-1", "test/plain");
	fx_shell(c, "echo hello");
	text = fx_run(&f, c, &status);
	EXPECT_STR(text, "hello\n");
	EXPECT_INT(status, 0);
	EXPECT_OK(fx_remove(&f, "app-1", &err), &err);
	EXPECT_OK(fx_empty(&f, "DestroySandbox", &destroy, &err), &err);
	ttrpc_client_free(f.client);
	EXPECT(waitpid(f.pid, &status, 0) == f.pid);
	EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	free(text);
	fx_container_free(c);
	free(f.dir);
}
