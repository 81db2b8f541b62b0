/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/shim/qemu_args.h"

#include "proto/blobcache.h"
#include "proto/initdata.h"

#define SNP_HOST_DATA_SIZE  32u
#define TDX_MRCONFIGID_SIZE 48u
#define SNP_POLICY          "0x30000" /* SMT allowed, reserved bit 17 set, no debugging */

/* Under TCG of QEMU 7.2 a kernel that uses CMPXCHG16B dies in a third of its boots. */
#define TCG_CPU "max,-cx16"

static bool is_tee(const struct shim_config *c, const char *tee)
{
	return cf_streq(c->machine_tee, tee);
}

static bool has_tee(const struct shim_config *c)
{
	return !is_tee(c, "none");
}

/* ",disable-legacy=on,iommu_platform=on" where memory is encrypted; never an option ROM. */
static const char *virtio_opts(const struct shim_config *c)
{
	return has_tee(c) ? ",disable-legacy=on,iommu_platform=on,romfile=" : ",romfile=";
}

static int check_path(const char *path, struct cf_err *err)
{
	for (const char *p = path; p && *p; p++)
		if (*p == ',' || (unsigned char)*p < 0x20)
			return cf_fail(err, CF_INVALID_ARGUMENT,
			               "path %s: QEMU cannot be given a comma", path);
	return 0;
}

static int check(const struct qemu_args *a, struct cf_err *err)
{
	const struct shim_config *c = a->spec->config;
	const char *const paths[] = { a->spec->dir, c->firmware, a->spec->initdata,
		                      c->kernel,    c->initrd,   c->blob_cache };

	for (size_t i = 0; i < CF_ARRAY_LEN(paths); i++) {
		int r = check_path(paths[i], err);

		if (r < 0)
			return r;
	}
	if (has_tee(c) && !c->firmware)
		return cf_fail(err, CF_FAILED_PRECONDITION,
		               "a TEE needs firmware: qemu.firmware is not set");
	if (has_tee(c) && a->accel != QEMU_KVM)
		return cf_fail(err, CF_FAILED_PRECONDITION, "a TEE never runs under emulation");
	return 0;
}

/* ---- the parts ---- */

static void add_machine(const struct qemu_args *a, struct cf_strv *v)
{
	const struct shim_config *c = a->spec->config;
	struct cf_buf m = { 0 };

	cf_buf_add_str(&m, "q35");
	cf_buf_add_str(&m, a->accel == QEMU_KVM ? ",accel=kvm" : ",accel=tcg");
	if (has_tee(c))
		cf_buf_printf(&m, ",kernel_irqchip=split,confidential-guest-support=%s",
		              c->machine_tee);
	if (c->has_memory_shared)
		cf_buf_add_str(&m, ",memory-backend=ram0");
	cf_strv_add(v, "-machine");
	cf_strv_add_take(v, cf_buf_take_str(&m));
	cf_strv_add(v, "-cpu");
	if (a->accel == QEMU_TCG)
		cf_strv_add(v, TCG_CPU);
	else
		cf_strv_add(v, is_tee(c, "snp") ? "EPYC-v4" : "host,pmu=off");
	cf_strv_add(v, "-smp");
	cf_strv_addf(v, "%u", a->spec->vcpus);
	cf_strv_add(v, "-m");
	cf_strv_addf(v, "%uM", a->spec->memory_mib);
	if (c->has_memory_shared) {
		cf_strv_add(v, "-object");
		cf_strv_addf(v, "memory-backend-memfd,id=ram0,size=%uM,share=on",
		             a->spec->memory_mib);
	}
}

static char *host_data(const struct qemu_args *a, size_t size)
{
	uint8_t field[TDX_MRCONFIGID_SIZE];
	struct cf_buf out = { 0 };

	initdata_field(a->spec->initdata_digest, field, size);
	cf_b64_encode(CF_B64_STD, cf_view(field, size), &out);
	return cf_buf_take_str(&out);
}

static void add_snp(const struct qemu_args *a, struct cf_strv *v)
{
	cf_cleanup(cf_freep) char *data = host_data(a, SNP_HOST_DATA_SIZE);

	cf_strv_add(v, "-object");
	cf_strv_addf(v,
	             "sev-snp-guest,id=snp,cbitpos=%u,reduced-phys-bits=1,kernel-hashes=on,"
	             "policy=" SNP_POLICY "%s%s",
	             a->cbitpos, a->spec->initdata_digest.size ? ",host-data=" : "",
	             a->spec->initdata_digest.size ? data : "");
}

/* The object has members that are objects themselves: QEMU takes it as JSON alone. */
static void add_tdx(const struct qemu_args *a, struct cf_strv *v)
{
	cf_cleanup(cf_freep) char *data = host_data(a, TDX_MRCONFIGID_SIZE);
	cf_cleanup(cf_freep) char *id = a->spec->initdata_digest.size
	                                        ? cf_asprintf(",\"mrconfigid\":\"%s\"", data)
	                                        : cf_strdup("");
	cf_cleanup(cf_freep) char *socket =
		a->quote_socket
			? cf_asprintf("{\"type\":\"unix\",\"path\":\"%s\"}", a->quote_socket)
			: cf_strdup("{\"type\":\"vsock\",\"cid\":\"2\",\"port\":\"4050\"}");

	cf_strv_add(v, "-object");
	cf_strv_addf(v,
	             "{\"qom-type\":\"tdx-guest\",\"id\":\"tdx\",\"sept-ve-disable\":true%s,"
	             "\"quote-generation-socket\":%s}",
	             id, socket);
}

static void add_firmware(const struct qemu_args *a, struct cf_strv *v)
{
	const struct shim_config *c = a->spec->config;

	if (!c->firmware)
		return;
	if (has_tee(c)) { /* one read-only image, measured as the initial memory */
		cf_strv_add(v, "-bios");
		cf_strv_add(v, c->firmware);
		return;
	}
	cf_strv_add(v, "-drive");
	cf_strv_addf(v, "if=pflash,format=raw,unit=0,readonly=on,file=%s", c->firmware);
	if (c->firmware_vars) {
		cf_strv_add(v, "-drive");
		cf_strv_addf(v, "if=pflash,format=raw,unit=1,file=%s/" QEMU_VARS_FILE,
		             a->spec->dir);
	}
}

static void add_kernel(const struct qemu_args *a, struct cf_strv *v)
{
	const struct shim_config *c = a->spec->config;

	cf_strv_add(v, "-kernel");
	cf_strv_add(v, c->kernel);
	if (*c->initrd) {
		cf_strv_add(v, "-initrd");
		cf_strv_add(v, c->initrd);
	}
	cf_strv_add(v, "-append");
	cf_strv_add(v, a->cmdline);
}

static void add_tpm(const struct qemu_args *a, struct cf_strv *v)
{
	if (!a->has_tpm)
		return;
	cf_strv_add(v, "-chardev");
	cf_strv_addf(v, "socket,id=vtpm,path=%s/" QEMU_TPM_SOCKET, a->spec->dir);
	cf_strv_add(v, "-tpmdev");
	cf_strv_add(v, "emulator,id=tpm0,chardev=vtpm");
	cf_strv_add(v, "-device");
	cf_strv_add(v, "tpm-crb,tpmdev=tpm0");
}

/* The console and, without vsock, the agent's port, on one virtio-serial device. */
static void add_serial(const struct qemu_args *a, struct cf_strv *v)
{
	const struct shim_config *c = a->spec->config;

	cf_strv_add(v, "-device");
	cf_strv_addf(v, "virtio-serial-pci,id=serial0%s", virtio_opts(c));
	cf_strv_add(v, "-chardev");
	if (c->has_console)
		cf_strv_addf(v, "file,id=con0,path=%s/" QEMU_CONSOLE_LOG, a->spec->dir);
	else
		cf_strv_add(v, "null,id=con0");
	cf_strv_add(v, "-device");
	cf_strv_add(v, "virtconsole,chardev=con0,id=console0");
	/* QEMU connects, again and again: the cache may come, go and come back while the guest runs. */
	if (c->blob_cache) {
		cf_strv_add(v, "-chardev");
		cf_strv_addf(v, "socket,id=blobcache,path=%s,server=off,reconnect=1",
		             c->blob_cache);
		cf_strv_add(v, "-device");
		cf_strv_add(v, "virtserialport,chardev=blobcache,name=" BLOBCACHE_PORT);
	}
	if (a->vsock_fd >= 0) {
		cf_strv_add(v, "-device");
		cf_strv_addf(v, "vhost-vsock-pci,id=vsock0,guest-cid=%u,vhostfd=%d%s", a->vsock_cid,
		             a->vsock_fd, virtio_opts(c));
		return;
	}
	cf_strv_add(v, "-chardev");
	cf_strv_addf(v, "socket,id=agent,path=%s/" QEMU_AGENT_SOCKET ",server=on,wait=off",
	             a->spec->dir);
	cf_strv_add(v, "-device");
	cf_strv_add(v, "virtserialport,chardev=agent,name=" QEMU_AGENT_PORT);
}

static void add_disks(const struct qemu_args *a, struct cf_strv *v)
{
	if (!a->spec->initdata)
		return;
	cf_strv_add(v, "-drive");
	cf_strv_addf(v, "id=initdata,file=%s,format=raw,if=none,readonly=on", a->spec->initdata);
	cf_strv_add(v, "-device");
	cf_strv_addf(v, "virtio-blk-pci,drive=initdata,serial=initdata%s",
	             virtio_opts(a->spec->config));
}

static void add_network(const struct qemu_args *a, struct cf_strv *v)
{
	const struct shim_config *c = a->spec->config;

	for (size_t i = 0; i < a->spec->nic_count; i++) {
		const struct vmm_nic *nic = &a->spec->nics[i];

		cf_strv_add(v, "-netdev");
		if (nic->tap_fd < 0)
			cf_strv_addf(v, "user,id=network-%zu", i);
		else
			cf_strv_addf(v, "tap,id=network-%zu,fd=%zu", i,
			             (size_t)a->first_tap_fd + i);
		cf_strv_add(v, "-device");
		cf_strv_addf(v, "virtio-net-pci,netdev=network-%zu,mac=%s%s", i, nic->mac,
		             virtio_opts(c));
	}
}

int qemu_args_build(const struct qemu_args *a, struct cf_strv *ret, struct cf_err *err)
{
	static const char *const fixed[] = {
		"-no-user-config",
		"-nodefaults",
		"-nographic",
		"-no-reboot",
		"-vga",
		"none",
		"-serial",
		"none",
		"-parallel",
		"none",
		"-monitor",
		"none",
		"-sandbox",
		"on,obsolete=deny,spawn=deny,resourcecontrol=deny",
		"-rtc",
		"base=utc",
		"-object",
		"rng-random,id=rng0,filename=/dev/urandom",
	};
	const struct shim_config *c = a->spec->config;
	int r = check(a, err);

	if (r < 0)
		return r;
	cf_strv_add(ret, c->qemu);
	cf_strv_add(ret, "-name");
	cf_strv_addf(ret, "sandbox-%s,debug-threads=on", a->spec->sandbox_id);
	for (size_t i = 0; i < CF_ARRAY_LEN(fixed); i++)
		cf_strv_add(ret, fixed[i]);
	add_machine(a, ret);
	if (is_tee(c, "snp"))
		add_snp(a, ret);
	if (is_tee(c, "tdx"))
		add_tdx(a, ret);
	add_firmware(a, ret);
	add_kernel(a, ret);
	cf_strv_add(ret, "-qmp");
	cf_strv_addf(ret, "unix:%s/" QEMU_QMP_SOCKET ",server=on,wait=off", a->spec->dir);
	add_tpm(a, ret);
	add_serial(a, ret);
	cf_strv_add(ret, "-device");
	cf_strv_addf(ret, "virtio-rng-pci,rng=rng0%s", virtio_opts(c));
	add_disks(a, ret);
	add_network(a, ret);
	return 0;
}
