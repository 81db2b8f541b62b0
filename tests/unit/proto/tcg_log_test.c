/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/harness/test.h"

#include "base/crypto.h"
#include "base/fd.h"
#include "proto/tcg_log.h"

static struct cf_buf vector(const char *name)
{
	cf_cleanup(cf_freep) char *rel = cf_asprintf("tests/vectors/tpm/%s", name);
	cf_cleanup(cf_freep) char *path = cf_test_source(rel);

	return cf_test_read(path);
}

static void expect_register(const struct tcg_pcrs *pcrs, unsigned pcr, const char *hex)
{
	cf_cleanup(cf_freep) char *got = cf_hex_dup(cf_view(pcrs->pcr[pcr].value, pcrs->size));

	EXPECT_STR(got, hex);
}

/* A log of one SHA-256 algorithm; records are added behind it. */
static void begin_log(struct cf_buf *b)
{
	cf_buf_add_u32le(b, 0);
	cf_buf_add_u32le(b, TCG_EV_NO_ACTION);
	cf_buf_add_zero(b, 20);
	cf_buf_add_u32le(b, 33);
	cf_buf_add(b, "Spec ID Event03", 16);
	cf_buf_add(b, "\0\0\0\0\0\2\0\2", 8);
	cf_buf_add_u32le(b, 1);
	cf_buf_add_u16le(b, TCG_SHA256);
	cf_buf_add_u16le(b, 32);
	cf_buf_add_byte(b, 0);
}

static void add_event(struct cf_buf *b, uint32_t pcr, uint32_t type, struct cf_view data)
{
	uint8_t digest[32];

	cf_sha256(data, digest);
	cf_buf_add_u32le(b, pcr);
	cf_buf_add_u32le(b, type);
	cf_buf_add_u32le(b, 1);
	cf_buf_add_u16le(b, TCG_SHA256);
	cf_buf_add(b, digest, 32);
	cf_buf_add_u32le(b, (uint32_t)data.size);
	cf_buf_add_view(b, data);
}

CF_TEST(tcg_log_replays_a_real_boot_in_every_bank)
{
	cf_cleanup(cf_buf_fini) struct cf_buf raw = vector("eventlog.bin");
	cf_cleanup(tcg_log_freep) struct tcg_log *log = NULL;
	struct tcg_pcrs pcrs;
	struct cf_err err;

	EXPECT_OK(tcg_log_parse(cf_buf_view(&raw), &log, &err), &err);
	EXPECT_INT(tcg_log_count(log), 24);
	EXPECT_OK(tcg_log_replay(log, TCG_SHA256, &pcrs, &err), &err);
	expect_register(&pcrs, 0,
	                "177e29c417b6b61c7cf46ed30b4468931f58642527a268b556254e39b941ec6a");
	expect_register(&pcrs, 4,
	                "a654597ef8228eccdd1b0d4aa27cfb01db758510288c568eecab4fbe104ac435");
	expect_register(&pcrs, 9,
	                "f578c21ae50dc45ab01c820dd140322d70dc1325aa6a590ab5407b9f838c765d");
	EXPECT_INT(pcrs.pcr[8].extends, 0);
	EXPECT_INT(pcrs.pcr[9].extends, 2);
	EXPECT_OK(tcg_log_replay(log, TCG_SHA1, &pcrs, &err), &err);
	expect_register(&pcrs, 9, "32b8d07d2ab6cc93039ba2bc4b9461fe647d0b10");
	EXPECT_OK(tcg_log_replay(log, TCG_SHA384, &pcrs, &err), &err);
	expect_register(&pcrs, 9,
	                "7f61f0aaf1a7cf8e7d5c85e40a8aa7ca57cfa57781ff786d29cf6db7f131af76"
	                "2c7b14552b92b073b5b8b23d3f48c8c9");
	EXPECT_FAILS(tcg_log_replay(log, TCG_SHA512, &pcrs, &err), CF_INVALID_ARGUMENT);
}

/* Which bytes of a real log may become claims: the table is the whole answer. */
CF_TEST(tcg_log_covers_only_what_hashes_to_its_digest)
{
	static const struct {
		size_t event;
		size_t bytes; /* 0: covered by nothing */
	} covered[] = {
		{ 0, 2 },   /* EV_S_CRTM_VERSION */
		{ 1, 0 },   /* PEI volume: its bytes are not in the log */
		{ 2, 0 },   /* DXE volume */
		{ 3, 53 },  /* SecureBoot, the whole variable structure */
		{ 4, 36 },  /* PK */
		{ 5, 38 },  /* KEK */
		{ 6, 36 },  /* db */
		{ 7, 38 },  /* dbx */
		{ 8, 4 },   /* separator */
		{ 9, 0 },   /* the kernel */
		{ 10, 2 },  /* BootOrder: the value alone */
		{ 11, 62 }, /* Boot0000: the value alone */
		{ 12, 40 }, /* the boot manager's action */
		{ 13, 4 },  { 14, 4 }, { 15, 4 }, { 16, 4 }, { 17, 4 },
		{ 18, 4 },  { 19, 4 }, { 20, 0 }, /* the command line is not in the log in clear */
		{ 21, 0 },                        /* nor the initrd */
		{ 22, 29 },                       /* exit boot services */
		{ 23, 40 },
	};
	cf_cleanup(cf_buf_fini) struct cf_buf raw = vector("eventlog.bin");
	cf_cleanup(tcg_log_freep) struct tcg_log *log = NULL;
	struct cf_view part;
	struct cf_err err;
	bool is_covered;

	EXPECT_OK(tcg_log_parse(cf_buf_view(&raw), &log, &err), &err);
	EXPECT_INT(tcg_log_count(log), CF_ARRAY_LEN(covered));
	for (size_t i = 0; i < CF_ARRAY_LEN(covered); i++) {
		const struct tcg_event *ev = tcg_log_at(log, covered[i].event);

		EXPECT_OK(tcg_event_covered(ev, TCG_SHA256, &part, &is_covered, &err), &err);
		EXPECT_INT(is_covered, covered[i].bytes != 0);
		EXPECT_INT(part.size, covered[i].bytes);
	}
}

CF_TEST(tcg_log_names_tags_and_types)
{
	cf_cleanup(cf_buf_fini) struct cf_buf raw = vector("eventlog.bin");
	cf_cleanup(tcg_log_freep) struct tcg_log *log = NULL;
	struct cf_err err;
	uint32_t id;

	EXPECT_OK(tcg_log_parse(cf_buf_view(&raw), &log, &err), &err);
	EXPECT(cf_view_eq_str(tcg_event_tag_text(tcg_log_at(log, 20), &id),
	                      "LOADED_IMAGE::LoadOptions"));
	EXPECT_INT(id, 0x8f3b22ed);
	EXPECT(cf_view_eq_str(tcg_event_tag_text(tcg_log_at(log, 21), &id), "Linux initrd"));
	EXPECT(tcg_event_tag_text(tcg_log_at(log, 0), &id).size == 0);
	EXPECT_STR(tcg_type_name(tcg_log_at(log, 9)->type), "EV_EFI_BOOT_SERVICES_APPLICATION");
	EXPECT_STR(tcg_type_name(77), "EV_UNKNOWN");
	EXPECT(!tcg_log_at(log, 24));
}

CF_TEST(tcg_log_replays_no_action_and_startup_locality_as_the_firmware_does)
{
	cf_cleanup(cf_buf_fini) struct cf_buf b = { 0 };
	cf_cleanup(tcg_log_freep) struct tcg_log *log = NULL;
	struct tcg_pcrs pcrs;
	struct tcg_pcr want = { 0 };
	uint8_t digest[32];
	struct cf_err err;

	begin_log(&b);
	add_event(&b, 0, TCG_EV_NO_ACTION, cf_view("StartupLocality\0\3", 17));
	add_event(&b, 0, TCG_EV_SEPARATOR, cf_view("\0\0\0\0", 4));
	add_event(&b, 1, TCG_EV_NO_ACTION, cf_view("whatever", 8));
	cf_buf_add(&b, "\xff\xff\xff\xff\xff\xff\xff\xff then anything", 22);
	EXPECT_OK(tcg_log_parse(cf_buf_view(&b), &log, &err), &err);
	EXPECT_INT(tcg_log_count(log), 3);
	EXPECT_OK(tcg_log_replay(log, TCG_SHA256, &pcrs, &err), &err);
	want.value[31] = 3;
	cf_sha256(cf_view("\0\0\0\0", 4), digest);
	EXPECT_OK(tcg_pcr_extend(TCG_SHA256, &want, cf_view(digest, 32), &err), &err);
	EXPECT(!memcmp(want.value, pcrs.pcr[0].value, 32));
	EXPECT_INT(pcrs.pcr[1].extends, 0);
}

CF_TEST(tcg_log_refuses_every_truncation_that_cuts_a_record)
{
	cf_cleanup(cf_buf_fini) struct cf_buf raw = vector("eventlog.bin");
	size_t whole = 0;

	for (size_t n = 0; n < raw.size; n++) {
		cf_cleanup(cf_freep) uint8_t *copy = cf_zalloc(n + 1); /* ASan sees a read past n */
		cf_cleanup(cf_freep) uint8_t *exact = n ? malloc(n) : NULL;
		cf_cleanup(tcg_log_freep) struct tcg_log *log = NULL;
		struct cf_err err;
		int r;

		if (n)
			memcpy(exact, raw.data, n);
		r = tcg_log_parse(cf_view(n ? exact : copy, n), &log, &err);
		if (r == 0)
			whole++; /* cut exactly between two records */
		else
			EXPECT(r == -CF_INVALID_ARGUMENT && !log);
	}
	EXPECT_INT(whole, 24);
}

CF_TEST(tcg_log_refuses_what_is_malformed)
{
	static const struct {
		size_t at; /* byte to change in a good log */
		uint8_t to;
		int want;
	} refused[] = {
		{ 4, 4, CF_INVALID_ARGUMENT },      /* first record is no EV_NO_ACTION */
		{ 0, 24, CF_INVALID_ARGUMENT },     /* header register */
		{ 32, 'X', CF_INVALID_ARGUMENT },   /* other signature */
		{ 56, 0, CF_RESOURCE_EXHAUSTED },   /* no algorithm */
		{ 56, 9, CF_RESOURCE_EXHAUSTED },   /* over TCG_LOG_ALGS_MAX */
		{ 62, 31, CF_INVALID_ARGUMENT },    /* SHA-256 of 31 bytes */
		{ 65, 24, CF_INVALID_ARGUMENT },    /* register 24 */
		{ 73, 2, CF_INVALID_ARGUMENT },     /* two digests of one algorithm */
		{ 77, 0x0c, CF_INVALID_ARGUMENT },  /* digest of an unknown algorithm */
		{ 111, 5, CF_INVALID_ARGUMENT },    /* data longer than the log */
		{ 114, 0xff, CF_INVALID_ARGUMENT }, /* … by far */
	};
	cf_cleanup(cf_buf_fini) struct cf_buf b = { 0 };
	struct tcg_log *log = NULL;
	struct cf_err err;

	begin_log(&b);
	add_event(&b, 0, TCG_EV_SEPARATOR, cf_view("\0\0\0\0", 4));
	EXPECT_INT(b.size, 119);
	EXPECT_OK(tcg_log_parse(cf_buf_view(&b), &log, &err), &err);
	log = tcg_log_free(log);
	for (size_t i = 0; i < CF_ARRAY_LEN(refused); i++) {
		uint8_t old = b.data[refused[i].at];

		b.data[refused[i].at] = refused[i].to;
		EXPECT_FAILS(tcg_log_parse(cf_buf_view(&b), &log, &err),
		             (enum cf_code)refused[i].want);
		b.data[refused[i].at] = old;
	}
	EXPECT(!log);
}

CF_TEST(tcg_log_holds_its_limits)
{
	cf_cleanup(cf_buf_fini) struct cf_buf b = { 0 };
	struct tcg_log *log = NULL;
	struct cf_err err;
	size_t head;

	begin_log(&b);
	head = b.size;
	for (unsigned i = 0; i < TCG_LOG_EVENTS_MAX; i++)
		add_event(&b, 1, TCG_EV_SEPARATOR, cf_view("\0\0\0\0", 4));
	EXPECT_OK(tcg_log_parse(cf_buf_view(&b), &log, &err), &err);
	log = tcg_log_free(log);
	add_event(&b, 1, TCG_EV_SEPARATOR, cf_view("\0\0\0\0", 4));
	EXPECT_FAILS(tcg_log_parse(cf_buf_view(&b), &log, &err), CF_RESOURCE_EXHAUSTED);
	b.size = head;
	cf_buf_add_zero(&b, TCG_LOG_SIZE_MAX - head);
	EXPECT_OK(tcg_log_parse(cf_buf_view(&b), &log, &err), &err);
	log = tcg_log_free(log);
	cf_buf_add_byte(&b, 0);
	EXPECT_FAILS(tcg_log_parse(cf_buf_view(&b), &log, &err), CF_RESOURCE_EXHAUSTED);
}
