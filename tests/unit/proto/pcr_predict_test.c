/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/harness/test.h"

#include "base/crypto.h"
#include "proto/pcr_predict.h"

#define OVMF "b157d97b1f69729514feb7f201d2cbe4957f23ab77920e361fe9f822ba49ca4c"

static void expect_hex(const uint8_t got[32], const char *want)
{
	cf_cleanup(cf_freep) char *hex = cf_hex_dup(cf_view(got, 32));

	EXPECT_STR(hex, want);
}

static void put32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

/*
 * A bzImage as small as can be: setup header, PE header at 0x300, two sections written in the wrong
 * order, bytes behind the last one, no certificate.
 */
static struct cf_buf little_kernel(void)
{
	struct cf_buf b = { 0 };
	uint8_t *p, *opt;

	cf_buf_add_zero(&b, 0x1000);
	p = b.data;
	for (size_t i = 0x600; i < b.size; i++)
		p[i] = (uint8_t)(i * 7);
	memcpy(p, "MZ", 2);
	put32(p + 0x3c, 0x300);
	memcpy(p + 0x202, "HdrS", 4);
	p[0x206] = 0x0f;
	p[0x207] = 0x02;
	put32(p + 0x22c, 0x7fffffff);
	p[0x236] = 2;
	memcpy(p + 0x300, "PE\0\0", 4);
	p[0x306] = 2;    /* sections */
	p[0x314] = 0xa0; /* optional header size */
	opt = p + 0x318;
	opt[0] = 0x0b;
	opt[1] = 0x02;          /* PE32+ */
	put32(opt + 60, 0x600); /* headers */
	put32(opt + 108, 6);    /* directories */
	put32(p + 0x318 + 0xa0 + 16, 0x400);
	put32(p + 0x318 + 0xa0 + 20, 0xa00);
	put32(p + 0x318 + 0xa0 + 40 + 16, 0x400);
	put32(p + 0x318 + 0xa0 + 40 + 20, 0x600);
	return b;
}

CF_TEST(pcr_predict_hashes_the_command_line_as_the_firmware_does)
{
	uint8_t digest[32];
	struct cf_err err;

	EXPECT_OK(pcr_cmdline_digest(
			  cf_view_str(
				  "console=ttyS0 panic=-1 loglevel=4 coffer.test=A initrd=initrd"),
			  digest, &err),
	          &err);
	expect_hex(digest, "d77c5a0cae7a89a494b0afd98efef67c1d29555265e2a0fb075aa5f0cefa6c06");
	EXPECT_FAILS(pcr_cmdline_digest(cf_view("a\0b", 3), digest, &err), CF_INVALID_ARGUMENT);
}

CF_TEST(pcr_predict_gives_pcr8_of_initdata_and_of_none)
{
	uint8_t digest[32], pcr[32], again[32];
	struct cf_err err;

	EXPECT_OK(
		cf_hex_decode(
			cf_view_str(
				"4241d63f64d1ac5d7caf30d9c462d2cad0147b02e444492a2bc79c012e61e2d8"),
			digest, 32, &err),
		&err);
	pcr_initdata_register(digest, pcr);
	expect_hex(pcr, "e9d866a88cccb4d25664a015945d2a305f4efcabd6c0bf220ff77528a75259a5");
	cf_sha256(cf_view_str("no initdata"), digest);
	pcr_initdata_register(digest, pcr);
	pcr_initdata_text_register((struct cf_view){ 0 }, again);
	EXPECT(!memcmp(pcr, again, 32));
	pcr_initdata_text_register(cf_view("", 0), again); /* an empty text is not none */
	EXPECT(memcmp(pcr, again, 32));
}

CF_TEST(pcr_predict_hashes_pe_images_without_checksum_and_certificate)
{
	cf_cleanup(cf_buf_fini) struct cf_buf k = little_kernel();
	uint8_t want[32], got[32];
	struct cf_err err;

	EXPECT_OK(pcr_authenticode(cf_buf_view(&k), want, &err), &err);
	put32(k.data + 0x318 + 64, 0x12345678); /* checksum */
	EXPECT_OK(pcr_authenticode(cf_buf_view(&k), got, &err), &err);
	EXPECT(!memcmp(want, got, 32));
	k.data[0xfff] ^= 1; /* behind the sections */
	EXPECT_OK(pcr_authenticode(cf_buf_view(&k), got, &err), &err);
	EXPECT(memcmp(want, got, 32));
	k.data[0xfff] ^= 1;
	k.data[0x601] ^= 1; /* in a section */
	EXPECT_OK(pcr_authenticode(cf_buf_view(&k), got, &err), &err);
	EXPECT(memcmp(want, got, 32));
	k.data[0x601] ^= 1;
	/* A signature behind it changes nothing. */
	put32(k.data + 0x318 + 112 + 32, 0x1000);
	put32(k.data + 0x318 + 112 + 36, 8);
	cf_buf_add(&k, "SIGNED!!", 8);
	EXPECT_OK(pcr_authenticode(cf_buf_view(&k), got, &err), &err);
	EXPECT(!memcmp(want, got, 32));
}

CF_TEST(pcr_predict_refuses_images_that_lie_about_their_sizes)
{
	static const struct {
		size_t at;
		uint32_t to;
	} lies[] = {
		{ 0x3c, 0xfffffff0u },              /* PE header far away */
		{ 0x300, 0 },                       /* no PE */
		{ 0x318 + 60, 0x2000 },             /* headers longer than the file */
		{ 0x318 + 60, 8 },                  /* headers that end before the directories */
		{ 0x318 + 0xa0 + 20, 0xfff },       /* section past the end */
		{ 0x318 + 0xa0 + 16, 0xffffffffu }, /* section too long */
		{ 0x304, 0x00618664 },              /* 97 sections */
		{ 0x318 + 112 + 36, 0xffffff00u },  /* certificates longer than the file */
	};
	uint8_t got[32];
	struct cf_err err;

	for (size_t i = 0; i < CF_ARRAY_LEN(lies); i++) {
		cf_cleanup(cf_buf_fini) struct cf_buf k = little_kernel();

		put32(k.data + lies[i].at, lies[i].to);
		EXPECT_FAILS(pcr_authenticode(cf_buf_view(&k), got, &err), CF_INVALID_ARGUMENT);
	}
	for (size_t n = 0; n < 0xe00; n += 13) { /* where the last section ends */
		cf_cleanup(cf_buf_fini) struct cf_buf k = little_kernel();
		cf_cleanup(cf_freep) uint8_t *exact = malloc(n + 1);

		memcpy(exact, k.data, n);
		EXPECT(pcr_authenticode(cf_view(exact, n), got, &err) < 0);
	}
}

CF_TEST(pcr_predict_follows_memory_initrd_kernel_and_command_line)
{
	cf_cleanup(cf_buf_fini) struct cf_buf k = little_kernel();
	struct pcr_boot boot = { .kernel = cf_buf_view(&k),
		                 .has_initrd = true,
		                 .initrd_size = 5000,
		                 .cmdline = "quiet",
		                 .memory_bytes = 512ull << 20,
		                 .vcpus = 1 };
	struct pcr_values a, b;
	struct cf_err err;

	EXPECT_OK(cf_hex_decode(cf_view_str(OVMF), boot.firmware_sha256, 32, &err), &err);
	EXPECT_OK(pcr_predict(&boot, &a, &err), &err);
	EXPECT_INT(a.known, 1 << 0 | 1 << 2 | 1 << 4 | 1 << 8 | 1 << 9);
	expect_hex(a.pcr[0], "177e29c417b6b61c7cf46ed30b4468931f58642527a268b556254e39b941ec6a");
	expect_hex(a.pcr[2], "3d458cfe55cc03ea1f443f1562beec8df51c75e14a9fcf9a7234a13f198e7969");
	boot.memory_bytes = 1024ull << 20; /* moves the initrd: 4; and PCR 0 is unknown */
	boot.vcpus = 63;
	EXPECT_OK(pcr_predict(&boot, &b, &err), &err);
	EXPECT(memcmp(a.pcr[4], b.pcr[4], 32) && !memcmp(a.pcr[9], b.pcr[9], 32));
	EXPECT_INT(b.known, 1 << 2 | 1 << 4 | 1 << 8 | 1 << 9);
	boot.memory_bytes = 512ull << 20;
	boot.cmdline = "quieT";
	EXPECT_OK(pcr_predict(&boot, &b, &err), &err);
	EXPECT(!memcmp(a.pcr[4], b.pcr[4], 32) && memcmp(a.pcr[9], b.pcr[9], 32));
	boot.cmdline = "quiet";
	boot.initrd_sha256[3] = 1;
	EXPECT_OK(pcr_predict(&boot, &b, &err), &err);
	EXPECT(!memcmp(a.pcr[4], b.pcr[4], 32) && memcmp(a.pcr[9], b.pcr[9], 32));
	boot.initrd_sha256[3] = 0;
	boot.initrd_size = 5001; /* its size stands in the header that the firmware hashes */
	EXPECT_OK(pcr_predict(&boot, &b, &err), &err);
	EXPECT(memcmp(a.pcr[4], b.pcr[4], 32));
	boot.initrd_size = 1ull << 40;
	EXPECT_FAILS(pcr_predict(&boot, &b, &err), CF_INVALID_ARGUMENT);
}
