/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/shim/qemu_args.h"

#include "tests/harness/test.h"

static const uint8_t digest[32] = { 0xaa, 0xbb };

struct setup {
	struct shim_config *config;
	struct vmm_spec spec;
	struct qemu_args args;
};

static void setup_init(struct setup *s, const char *toml)
{
	struct cf_err err;

	EXPECT_OK(shim_config_parse(cf_view_str(toml), &s->config, &err), &err);
	s->spec = (struct vmm_spec){ .config = s->config,
		                     .sandbox_id = "pod1",
		                     .dir = "/run/x",
		                     .vcpus = 2,
		                     .memory_mib = 512 };
	s->args = (struct qemu_args){ .spec = &s->spec,
		                      .accel = QEMU_TCG,
		                      .cmdline = "console=hvc0 quiet",
		                      .vsock_fd = -1,
		                      .first_tap_fd = 3,
		                      .cbitpos = 51 };
}

static char *build(struct setup *s)
{
	struct cf_strv v = { 0 };
	struct cf_err err;
	char *text;

	EXPECT_OK(qemu_args_build(&s->args, &v, &err), &err);
	text = cf_strv_join(&v, "\n");
	cf_strv_fini(&v);
	return text;
}

#define COMMON                                                                                     \
	"qemu-system-x86_64\n-name\nsandbox-pod1,debug-threads=on\n-no-user-config\n-nodefaults\n" \
	"-nographic\n-no-reboot\n-vga\nnone\n-serial\nnone\n-parallel\nnone\n-monitor\nnone\n"     \
	"-sandbox\non,obsolete=deny,spawn=deny,resourcecontrol=deny\n-rtc\nbase=utc\n"             \
	"-object\nrng-random,id=rng0,filename=/dev/urandom\n"

CF_TEST(qemu_args_of_an_emulated_pod_are_these)
{
	struct setup s;
	cf_cleanup(cf_freep) char *got = NULL;

	setup_init(&s, "[guest]\nkernel = \"/k\"\ninitrd = \"/i\"\n");
	got = build(&s);
	EXPECT_STR(got,
	           COMMON "-machine\nq35,accel=tcg\n-cpu\nmax,-cx16\n-smp\n2\n-m\n512M\n"
	                  "-kernel\n/k\n-initrd\n/i\n-append\nconsole=hvc0 quiet\n"
	                  "-qmp\nunix:/run/x/qmp,server=on,wait=off\n"
	                  "-device\nvirtio-serial-pci,id=serial0,romfile=\n-chardev\nnull,id=con0\n"
	                  "-device\nvirtconsole,chardev=con0,id=console0\n"
	                  "-chardev\nsocket,id=agent,path=/run/x/agent,server=on,wait=off\n"
	                  "-device\nvirtserialport,chardev=agent,name=agent.channel.0\n"
	                  "-device\nvirtio-rng-pci,rng=rng0,romfile=");
	shim_config_free(s.config);
}

CF_TEST(qemu_args_carry_firmware_tpm_initdata_and_network)
{
	struct vmm_nic nics[] = { { .tap_fd = 9, .mac = "02:00:00:00:00:01" },
		                  { .tap_fd = -1, .mac = QEMU_USER_MAC } };
	struct setup s;
	cf_cleanup(cf_freep) char *got = NULL;

	setup_init(&s,
	           "[guest]\nkernel = \"/k\"\ninitrd = \"/i\"\n[qemu]\nfirmware = \"/code.fd\"\n"
	           "firmware_vars = \"/vars.fd\"\ntpm = \"swtpm\"\nconsole = true\n"
	           "memory_shared = true\n");
	s.args.accel = QEMU_KVM;
	s.args.has_tpm = true;
	s.args.vsock_fd = 3;
	s.args.vsock_cid = 4242;
	s.args.first_tap_fd = 4;
	s.spec.initdata = "/run/x/initdata.img";
	s.spec.nics = nics;
	s.spec.nic_count = 2;
	got = build(&s);
	EXPECT_STR(got, COMMON
	           "-machine\nq35,accel=kvm,memory-backend=ram0\n-cpu\nhost,pmu=off\n-smp\n2\n-m\n"
	           "512M\n-object\nmemory-backend-memfd,id=ram0,size=512M,share=on\n"
	           "-drive\nif=pflash,format=raw,unit=0,readonly=on,file=/code.fd\n"
	           "-drive\nif=pflash,format=raw,unit=1,file=/run/x/vars.fd\n"
	           "-kernel\n/k\n-initrd\n/i\n-append\nconsole=hvc0 quiet\n"
	           "-qmp\nunix:/run/x/qmp,server=on,wait=off\n"
	           "-chardev\nsocket,id=vtpm,path=/run/x/tpm\n-tpmdev\n"
	           "emulator,id=tpm0,chardev=vtpm\n-device\ntpm-crb,tpmdev=tpm0\n"
	           "-device\nvirtio-serial-pci,id=serial0,romfile=\n"
	           "-chardev\nfile,id=con0,path=/run/x/console.log\n"
	           "-device\nvirtconsole,chardev=con0,id=console0\n"
	           "-device\nvhost-vsock-pci,id=vsock0,guest-cid=4242,vhostfd=3,romfile=\n"
	           "-device\nvirtio-rng-pci,rng=rng0,romfile=\n"
	           "-drive\nid=initdata,file=/run/x/initdata.img,format=raw,if=none,readonly=on\n"
	           "-device\nvirtio-blk-pci,drive=initdata,serial=initdata,romfile=\n"
	           "-netdev\ntap,id=network-0,fd=4\n"
	           "-device\nvirtio-net-pci,netdev=network-0,mac=02:00:00:00:00:01,romfile=\n"
	           "-netdev\nuser,id=network-1\n"
	           "-device\nvirtio-net-pci,netdev=network-1,mac=" QEMU_USER_MAC ",romfile=");
	shim_config_free(s.config);
}

CF_TEST(qemu_args_of_snp_bind_the_initdata)
{
	struct setup s;
	cf_cleanup(cf_freep) char *got = NULL;

	setup_init(&s, "[guest]\nkernel = \"/k\"\n[qemu]\ntee = \"snp\"\nfirmware = \"/amd.fd\"\n");
	s.args.accel = QEMU_KVM;
	s.spec.initdata_digest = cf_view(digest, sizeof(digest));
	got = build(&s);
	EXPECT(strstr(got, "-machine\nq35,accel=kvm,kernel_irqchip=split,"
	                   "confidential-guest-support=snp\n-cpu\nEPYC-v4\n"));
	EXPECT(strstr(got, "-object\nsev-snp-guest,id=snp,cbitpos=51,reduced-phys-bits=1,"
	                   "kernel-hashes=on,policy=0x30000,"
	                   "host-data=qrsAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n-bios\n"
	                   "/amd.fd\n"));
	EXPECT(strstr(got, "virtio-rng-pci,rng=rng0,disable-legacy=on,iommu_platform=on,romfile="));
	shim_config_free(s.config);
}

CF_TEST(qemu_args_of_tdx_are_json)
{
	struct setup s;
	cf_cleanup(cf_freep) char *got = NULL;

	setup_init(&s, "[guest]\nkernel = \"/k\"\n[qemu]\ntee = \"tdx\"\nfirmware = \"/td.fd\"\n");
	s.args.accel = QEMU_KVM;
	s.args.quote_socket = "/q";
	s.spec.initdata_digest = cf_view(digest, sizeof(digest));
	got = build(&s);
	EXPECT(strstr(got, "-object\n{\"qom-type\":\"tdx-guest\",\"id\":\"tdx\","
	                   "\"sept-ve-disable\":true,\"mrconfigid\":"
	                   "\"qrsAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\","
	                   "\"quote-generation-socket\":{\"type\":\"unix\",\"path\":\"/q\"}}\n"));
	shim_config_free(s.config);
}

CF_TEST(qemu_args_refuse_a_tee_that_would_be_none_and_paths_with_commas)
{
	struct setup s;
	struct cf_strv v = { 0 };
	struct cf_err err;

	setup_init(&s, "[qemu]\ntee = \"snp\"\nfirmware = \"/f\"\n");
	EXPECT_FAILS(qemu_args_build(&s.args, &v, &err), CF_FAILED_PRECONDITION); /* emulated */
	shim_config_free(s.config);
	setup_init(&s, "[qemu]\ntee = \"tdx\"\n");
	s.args.accel = QEMU_KVM;
	EXPECT_FAILS(qemu_args_build(&s.args, &v, &err), CF_FAILED_PRECONDITION); /* no firmware */
	shim_config_free(s.config);
	setup_init(&s, "[guest]\nkernel = \"/k,x\"\n");
	EXPECT_FAILS(qemu_args_build(&s.args, &v, &err), CF_INVALID_ARGUMENT);
	s.spec.dir = "/run/a,b";
	EXPECT_FAILS(qemu_args_build(&s.args, &v, &err), CF_INVALID_ARGUMENT);
	shim_config_free(s.config);
	EXPECT(!v.count);
}
