/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/pcr_predict.h"

#include "base/crypto.h"

/* Linux boot protocol, setup header offsets (Documentation/arch/x86/boot.rst). */
#define SETUP_MAGIC       0x202u /* "HdrS" */
#define SETUP_VERSION     0x206u
#define SETUP_LOADER      0x210u
#define SETUP_FLAGS       0x211u
#define SETUP_INITRD_ADDR 0x218u
#define SETUP_INITRD_SIZE 0x21cu
#define SETUP_HEAP_END    0x224u
#define SETUP_CMDLINE     0x228u
#define SETUP_INITRD_MAX  0x22cu
#define SETUP_XLOADFLAGS  0x236u
#define SETUP_END         0x264u

#define QEMU_LOADER       0xb0u
#define QEMU_HEAP_END     (0x20000u - 0x10000u - 0x200u)
#define QEMU_CMDLINE_ADDR 0x20000u
#define QEMU_ACPI_RESERVE 0x28000u
/* q35: RAM below 4 GiB ends at 2.75 GiB, or at 2 GiB when there is more than that. */
#define Q35_LOW_SPLIT 0xb0000000u
#define Q35_LOW_BIG   0x80000000u

#define PE_OFFSET_AT     0x3cu
#define PE_SECTION_SIZE  40u
#define PE_SECTIONS_MAX  96u
#define PE_DIRECTORY_SEC 4u /* certificate table */

static void extend(uint8_t pcr[PCR_SIZE], const uint8_t digest[32])
{
	uint8_t both[2 * PCR_SIZE];

	memcpy(both, pcr, PCR_SIZE);
	memcpy(both + PCR_SIZE, digest, PCR_SIZE);
	cf_sha256(cf_view(both, sizeof(both)), pcr);
}

static void extend_bytes(uint8_t pcr[PCR_SIZE], struct cf_view measured)
{
	uint8_t digest[32];

	cf_sha256(measured, digest);
	extend(pcr, digest);
}

static void extend_separator(uint8_t pcr[PCR_SIZE])
{
	static const uint8_t separator[4];

	extend_bytes(pcr, cf_view(separator, sizeof(separator)));
}

/* ---- Authenticode ---- */

struct span {
	uint32_t offset;
	uint32_t size;
};

struct pe {
	uint32_t optional; /* offset of the optional header */
	uint32_t cert_dir; /* offset of the certificate table's directory entry */
	uint32_t cert_size;
	uint32_t headers_size;
	size_t section_count;
	struct span sections[PE_SECTIONS_MAX];
};

static uint32_t u16_at(struct cf_view v, size_t at)
{
	struct cf_rd rd = { .in = cf_view_sub(v, at, 2) };

	return cf_rd_u16le(&rd);
}

static uint32_t u32_at(struct cf_view v, size_t at)
{
	struct cf_rd rd = { .in = cf_view_sub(v, at, 4) };

	return cf_rd_u32le(&rd);
}

/* Insertion by file offset: Authenticode hashes sections in that order. */
static void add_section(struct pe *pe, struct span s)
{
	size_t i = pe->section_count++;

	for (; i > 0 && pe->sections[i - 1].offset > s.offset; i--)
		pe->sections[i] = pe->sections[i - 1];
	pe->sections[i] = s;
}

static int pe_sections(struct cf_view image, uint32_t at, uint32_t count, struct pe *pe,
                       struct cf_err *err)
{
	for (uint32_t i = 0; i < count; i++) {
		size_t head = (size_t)at + (size_t)i * PE_SECTION_SIZE;
		struct span s = { .offset = u32_at(image, head + 20),
			          .size = u32_at(image, head + 16) };

		if (s.size == 0)
			continue;
		if (s.offset > image.size || s.size > image.size - s.offset)
			return cf_fail(err, CF_INVALID_ARGUMENT,
			               "PE image: section %u lies outside the file", i);
		add_section(pe, s);
	}
	return 0;
}

static int pe_parse(struct cf_view image, struct pe *ret, struct cf_err *err)
{
	uint32_t pe_at = u32_at(image, PE_OFFSET_AT);
	uint32_t count, directories;
	struct pe pe = { 0 };

	if (pe_at > image.size || image.size - pe_at < 0x100 || !cf_view_starts_with(image, "MZ") ||
	    !cf_view_starts_with(cf_view_sub(image, pe_at, 2), "PE"))
		return cf_fail(
			err, CF_INVALID_ARGUMENT,
			"not a PE/COFF image (a kernel needs its EFI stub: use the bzImage)");
	pe.optional = pe_at + 24;
	directories = pe.optional + (u16_at(image, pe.optional) == 0x20b ? 112 : 96);
	pe.cert_dir = directories + 8 * PE_DIRECTORY_SEC;
	if (u32_at(image, directories - 4) > PE_DIRECTORY_SEC)
		pe.cert_size = u32_at(image, pe.cert_dir + 4);
	pe.headers_size = u32_at(image, pe.optional + 60);
	count = u16_at(image, pe_at + 6);
	if (count > PE_SECTIONS_MAX || pe.headers_size > image.size ||
	    pe.headers_size < pe.cert_dir + 8 || pe.cert_size > image.size - pe.headers_size)
		return cf_fail(err, CF_INVALID_ARGUMENT, "PE image: malformed headers");
	*ret = pe;
	return pe_sections(image, pe.optional + u16_at(image, pe_at + 20), count, ret, err);
}

int pcr_authenticode(struct cf_view image, uint8_t ret[32], struct cf_err *err)
{
	uint64_t total;
	struct pe pe;
	int r = pe_parse(image, &pe, err);

	if (r < 0)
		return r;

	cf_cleanup(cf_hasher_freep) struct cf_hasher *h = cf_hasher_new(CF_SHA256);

	/* All but the checksum, the certificate table's entry and the certificates. */
	cf_hasher_add(h, cf_view_sub(image, 0, pe.optional + 64));
	cf_hasher_add(h, cf_view_sub(image, pe.optional + 68, pe.cert_dir - pe.optional - 68));
	cf_hasher_add(h, cf_view_sub(image, pe.cert_dir + 8, pe.headers_size - pe.cert_dir - 8));
	total = pe.headers_size;
	for (size_t i = 0; i < pe.section_count; i++) {
		cf_hasher_add(h, cf_view_sub(image, pe.sections[i].offset, pe.sections[i].size));
		total += pe.sections[i].size;
	}
	if (image.size - pe.cert_size > total)
		cf_hasher_add(h, cf_view_sub(image, (size_t)total,
		                             image.size - pe.cert_size - (size_t)total));
	cf_hasher_final(h, ret);
	return 0;
}

/* ---- the kernel as QEMU hands it over ---- */

static void put_u16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

static void put_u32(uint8_t *p, uint32_t v)
{
	put_u16(p, v);
	put_u16(p + 2, v >> 16);
}

static int initrd_address(const struct pcr_boot *boot, uint32_t *ret, struct cf_err *err)
{
	uint64_t low = CF_MIN(boot->memory_bytes, boot->memory_bytes >= Q35_LOW_SPLIT
	                                                  ? (uint64_t)Q35_LOW_BIG
	                                                  : (uint64_t)Q35_LOW_SPLIT);
	/* xloadflags, CAN_BE_LOADED_ABOVE_4G: from protocol 2.12 on */
	bool above_4g = u16_at(boot->kernel, SETUP_VERSION) >= 0x20c &&
	                (u16_at(boot->kernel, SETUP_XLOADFLAGS) & 2);
	uint64_t top = above_4g ? UINT32_MAX : u32_at(boot->kernel, SETUP_INITRD_MAX);

	if (low < QEMU_ACPI_RESERVE + (16u << 20))
		return cf_fail(err, CF_INVALID_ARGUMENT, "%llu bytes of memory are too few",
		               (unsigned long long)boot->memory_bytes);
	if (top >= low - QEMU_ACPI_RESERVE)
		top = low - QEMU_ACPI_RESERVE - 1;
	if (boot->initrd_size >= top)
		return cf_fail(err, CF_INVALID_ARGUMENT, "the initrd does not fit into the memory");
	*ret = (uint32_t)((top - boot->initrd_size) & ~(uint64_t)0xfff);
	return 0;
}

static int patch_setup(const struct pcr_boot *boot, uint8_t *image, struct cf_err *err)
{
	uint32_t address;
	int r;

	image[SETUP_LOADER] = QEMU_LOADER;
	image[SETUP_FLAGS] |= 0x80; /* CAN_USE_HEAP */
	put_u16(image + SETUP_HEAP_END, QEMU_HEAP_END);
	put_u32(image + SETUP_CMDLINE, QEMU_CMDLINE_ADDR);
	if (!boot->has_initrd)
		return 0;
	r = initrd_address(boot, &address, err);
	if (r < 0)
		return r;
	put_u32(image + SETUP_INITRD_ADDR, address);
	put_u32(image + SETUP_INITRD_SIZE, (uint32_t)boot->initrd_size);
	return 0;
}

static int kernel_digest(const struct pcr_boot *boot, uint8_t ret[32], struct cf_err *err)
{
	cf_cleanup(cf_buf_fini) struct cf_buf image = { .max = PCR_KERNEL_SIZE_MAX };
	int r;

	if (boot->kernel.size < SETUP_END ||
	    !cf_view_eq_str(cf_view_sub(boot->kernel, SETUP_MAGIC, 4), "HdrS") ||
	    u16_at(boot->kernel, SETUP_VERSION) < 0x202)
		return cf_fail(err, CF_INVALID_ARGUMENT, "kernel: not a Linux bzImage");
	cf_buf_add_view(&image, boot->kernel);
	r = cf_buf_check(&image, "kernel", err);
	if (r == 0)
		r = patch_setup(boot, image.data, err);
	return r < 0 ? r : pcr_authenticode(cf_buf_view(&image), ret, err);
}

/* ---- command line and initdata ---- */

int pcr_cmdline_digest(struct cf_view cmdline, uint8_t ret[32], struct cf_err *err)
{
	cf_cleanup(cf_buf_fini) struct cf_buf wide = { .max = 2 * PCR_CMDLINE_SIZE_MAX + 2 };

	if (cmdline.size > PCR_CMDLINE_SIZE_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "command line: %zu bytes", cmdline.size);
	/* The firmware widens bytes; it knows no UTF-8. */
	for (size_t i = 0; i < cmdline.size; i++) {
		if (cmdline.data[i] == 0)
			return cf_fail(err, CF_INVALID_ARGUMENT, "command line: a NUL inside");
		cf_buf_add_u16le(&wide, cmdline.data[i]);
	}
	cf_buf_add_u16le(&wide, 0);
	cf_sha256(cf_buf_view(&wide), ret);
	return cf_buf_check(&wide, "command line", err);
}

void pcr_initdata_register(const uint8_t digest[32], uint8_t ret[PCR_SIZE])
{
	memset(ret, 0, PCR_SIZE);
	extend(ret, digest);
}

void pcr_initdata_text_register(struct cf_view text, uint8_t ret[PCR_SIZE])
{
	uint8_t digest[32];

	cf_sha256(text.data ? text : cf_view_str(PCR_NO_INITDATA), digest);
	pcr_initdata_register(digest, ret);
}

/* ---- firmware ---- */

static const struct {
	const char *firmware_sha256;
	uint32_t vcpus;
	uint32_t memory_mib;
	const char *pcr0;
} shapes[] = {
#include "proto/pcr_shapes.def"
};

int pcr_firmware_register(const uint8_t firmware_sha256[32], uint32_t vcpus, uint64_t memory_bytes,
                          uint8_t ret[PCR_SIZE], struct cf_err *err)
{
	char hex[65];

	cf_hex_encode(cf_view(firmware_sha256, 32), hex);
	for (size_t i = 0; i < CF_ARRAY_LEN(shapes); i++)
		if (!strcmp(shapes[i].firmware_sha256, hex) && shapes[i].vcpus == vcpus &&
		    (uint64_t)shapes[i].memory_mib << 20 == memory_bytes)
			return cf_hex_decode(cf_view_str(shapes[i].pcr0), ret, PCR_SIZE, err);
	return cf_fail(err, CF_NOT_FOUND,
	               "PCR 0 of firmware %.16s… with %u vCPUs and %llu MiB was never measured",
	               hex, vcpus, (unsigned long long)(memory_bytes >> 20));
}

int pcr_predict(const struct pcr_boot *boot, struct pcr_values *ret, struct cf_err *err)
{
	cf_cleanup(cf_buf_fini) struct cf_buf line = { .max = PCR_CMDLINE_SIZE_MAX };
	struct pcr_values v = { .known = 1u << 2 | 1u << 4 | 1u << 8 | 1u << 9 };
	int r = kernel_digest(boot, v.kernel_authenticode, err);

	if (r < 0)
		return r;
	extend(v.pcr[4], v.kernel_authenticode);
	extend_bytes(v.pcr[4], cf_view_str("Calling EFI Application from Boot Option"));
	extend_separator(v.pcr[4]);
	extend_separator(v.pcr[2]);
	cf_buf_add_str(&line, boot->cmdline);
	cf_buf_add_str(&line, boot->has_initrd ? PCR_INITRD_ARGUMENT : "");
	r = cf_buf_check(&line, "command line", err);
	if (r == 0)
		r = pcr_cmdline_digest(cf_buf_view(&line), v.cmdline_sha256, err);
	if (r < 0)
		return r;
	extend(v.pcr[9], v.cmdline_sha256);
	if (boot->has_initrd)
		extend(v.pcr[9], boot->initrd_sha256);
	pcr_initdata_text_register(boot->initdata, v.pcr[8]);
	r = pcr_firmware_register(boot->firmware_sha256, boot->vcpus, boot->memory_bytes, v.pcr[0],
	                          NULL);
	if (r == 0)
		v.known |= 1u << 0;
	*ret = v;
	return 0;
}
