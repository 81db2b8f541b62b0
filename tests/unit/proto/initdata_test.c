/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"
#include "base/gzip.h"
#include "proto/initdata.h"
#include "tests/harness/test.h"

#include <unistd.h>

static const char good[] =
	"version = \"0.1.0\"\nalgorithm = \"sha256\"\n[data]\n\"aa.toml\" = 'x = 1'\n";

CF_TEST(initdata_gives_its_texts_and_digest)
{
	cf_cleanup(initdata_freep) struct initdata *d = NULL;
	uint8_t got[CF_HASH_SIZE_MAX], want[32];
	struct cf_err err;

	EXPECT_OK(initdata_parse(cf_view_str(good), &d, &err), &err);
	EXPECT_STR(initdata_get(d, "aa.toml"), "x = 1");
	EXPECT(!initdata_get(d, "cdh.toml"));
	initdata_digest(d, got);
	cf_sha256(cf_view_str(good), want);
	EXPECT(d->alg == CF_SHA256 && memcmp(got, want, 32) == 0);
}

CF_TEST(initdata_refuses_other_documents)
{
	static const struct {
		const char *text;
		enum cf_code code;
	} cases[] = {
		{ "", CF_INVALID_ARGUMENT },
		{ "version = \"0.2.0\"\nalgorithm = \"sha256\"\n[data]\n", CF_INVALID_ARGUMENT },
		{ "version = 1\nalgorithm = \"sha256\"\n[data]\n", CF_INVALID_ARGUMENT },
		{ "algorithm = \"sha256\"\n[data]\n", CF_INVALID_ARGUMENT },
		{ "version = \"0.1.0\"\n[data]\n", CF_INVALID_ARGUMENT },
		{ "version = \"0.1.0\"\nalgorithm = \"sha1\"\n[data]\n", CF_INVALID_ARGUMENT },
		{ "version = \"0.1.0\"\nalgorithm = \"SHA256\"\n[data]\n", CF_INVALID_ARGUMENT },
		{ "version = \"0.1.0\"\nalgorithm = \"sm3\"\n[data]\n", CF_UNIMPLEMENTED },
		{ "version = \"0.1.0\"\nalgorithm = \"sha256\"\n", CF_INVALID_ARGUMENT },
		{ "version = \"0.1.0\"\nalgorithm = \"sha256\"\ndata = 1\n", CF_INVALID_ARGUMENT },
		{ "version = \"0.1.0\"\nalgorithm = \"sha256\"\n[data]\na = 1\n",
		  CF_INVALID_ARGUMENT },
		{ "version = \"0.1.0\"\nalgorithm = \"sha256\"\n[data.a]\nb = ''\n",
		  CF_INVALID_ARGUMENT },
	};

	for (size_t i = 0; i < CF_ARRAY_LEN(cases); i++) {
		struct initdata *d = NULL;
		struct cf_err err;

		EXPECT_FAILS(initdata_parse(cf_view_str(cases[i].text), &d, &err), cases[i].code);
		EXPECT(!d);
	}
}

CF_TEST(initdata_builds_what_it_reads)
{
	static const struct initdata_entry entries[] = {
		{ "aa.toml", "[a]\nb = '''x'''\n" },
		{ "policy.rego", "package p\n\ndefault allow := false\n" },
		{ "odd key", "\"\\" },
	};
	cf_cleanup(initdata_freep) struct initdata *d = NULL;
	struct cf_buf text = { 0 };
	struct cf_err err;

	EXPECT_OK(initdata_build(CF_SHA384, entries, 3, &text, &err), &err);
	EXPECT_OK(initdata_parse(cf_buf_view(&text), &d, &err), &err);
	for (size_t i = 0; i < 3; i++)
		EXPECT_STR(initdata_get(d, entries[i].key), entries[i].text);
	EXPECT(d->alg == CF_SHA384);
	cf_buf_fini(&text);

	const struct initdata_entry twice[] = { { "a", "" }, { "a", "" } };
	const struct initdata_entry not_text[] = { { "a", "\xff" } };

	EXPECT_FAILS(initdata_build(CF_SHA384, twice, 2, &text, &err), CF_INVALID_ARGUMENT);
	cf_buf_reset(&text);
	EXPECT_FAILS(initdata_build(CF_SHA384, not_text, 1, &text, &err), CF_INVALID_ARGUMENT);
	cf_buf_fini(&text);
}

CF_TEST(initdata_passes_through_annotation_and_disk)
{
	struct cf_buf ann = { 0 }, disk = { 0 }, back = { 0 };
	struct cf_err err;

	EXPECT_OK(initdata_to_annotation(cf_view_str(good), &ann, &err), &err);
	EXPECT_OK(initdata_from_annotation(cf_buf_view(&ann), &back, &err), &err);
	EXPECT(cf_view_eq_str(cf_buf_view(&back), good));
	cf_buf_fini(&back);
	EXPECT_OK(initdata_to_disk(cf_view_str(good), &disk, &err), &err);
	EXPECT(disk.size % 512 == 0 && cf_view_starts_with(cf_buf_view(&disk), "initdata"));
	EXPECT_OK(initdata_from_disk(cf_buf_view(&disk), &back, &err), &err);
	EXPECT(cf_view_eq_str(cf_buf_view(&back), good));
	cf_buf_fini(&back);
	cf_buf_fini(&ann);
	cf_buf_fini(&disk);
}

CF_TEST(initdata_annotation_without_gzip_is_refused_in_words)
{
	struct cf_buf ann = { 0 }, back = { 0 };
	struct cf_err err;

	cf_b64_encode(CF_B64_STD, cf_view_str(good), &ann);
	EXPECT_FAILS(initdata_from_annotation(cf_buf_view(&ann), &back, &err), CF_INVALID_ARGUMENT);
	EXPECT(strstr(err.msg, "without gzip"));
	EXPECT_FAILS(initdata_from_annotation(cf_view_str("%%%"), &back, &err),
	             CF_INVALID_ARGUMENT);
	cf_buf_fini(&ann);
}

CF_TEST(initdata_disk_is_read_from_a_file_and_other_disks_are_passed_over)
{
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/disk", dir);
	struct cf_buf disk = { 0 }, back = { 0 };
	struct cf_err err;

	EXPECT_OK(initdata_to_disk(cf_view_str(good), &disk, &err), &err);
	EXPECT_OK(cf_write_file_atomic(path, cf_buf_view(&disk), 0600, &err), &err);

	int fd = open(path, O_RDWR | O_CLOEXEC);

	EXPECT_OK(initdata_read_disk(fd, &back, &err), &err);
	EXPECT(cf_view_eq_str(cf_buf_view(&back), good));
	EXPECT(pwrite(fd, "x", 1, 0) == 1);
	EXPECT_INT(initdata_read_disk(fd, &back, &err), INITDATA_E_NO_DISK);
	EXPECT(ftruncate(fd, 8) == 0);
	EXPECT_INT(initdata_read_disk(fd, &back, &err), INITDATA_E_NO_DISK);
	close(fd);
	cf_buf_fini(&disk);
	cf_buf_fini(&back);
}

static void set_length(struct cf_buf *disk, uint64_t n)
{
	for (int i = 0; i < 8; i++)
		disk->data[8 + i] = (uint8_t)(n >> 8 * i);
}

CF_TEST(initdata_disk_refuses_lengths_and_bytes_that_the_host_made_up)
{
	struct cf_buf disk = { 0 }, back = { 0 };
	struct cf_err err;

	EXPECT_OK(initdata_to_disk(cf_view_str(good), &disk, &err), &err);
	size_t size = disk.data[8];

	set_length(&disk, INITDATA_GZIP_MAX + 1ull);
	EXPECT_FAILS(initdata_from_disk(cf_buf_view(&disk), &back, &err), CF_RESOURCE_EXHAUSTED);
	set_length(&disk, UINT64_MAX);
	EXPECT_FAILS(initdata_from_disk(cf_buf_view(&disk), &back, &err), CF_RESOURCE_EXHAUSTED);
	set_length(&disk, disk.size);
	EXPECT_FAILS(initdata_from_disk(cf_buf_view(&disk), &back, &err), CF_INVALID_ARGUMENT);
	set_length(&disk, size - 1);
	EXPECT_FAILS(initdata_from_disk(cf_buf_view(&disk), &back, &err), CF_INVALID_ARGUMENT);
	set_length(&disk, size + 1);
	EXPECT_FAILS(initdata_from_disk(cf_buf_view(&disk), &back, &err), CF_INVALID_ARGUMENT);
	set_length(&disk, 0);
	EXPECT_FAILS(initdata_from_disk(cf_buf_view(&disk), &back, &err), CF_INVALID_ARGUMENT);
	set_length(&disk, size);
	disk.data[disk.size - 1] = 1;
	EXPECT_FAILS(initdata_from_disk(cf_buf_view(&disk), &back, &err), CF_INVALID_ARGUMENT);
	disk.data[disk.size - 1] = 0;
	for (size_t n = 0; n < 16 + size; n++)
		EXPECT(initdata_from_disk(cf_view(disk.data, n), &back, &err) != 0);
	EXPECT(initdata_from_disk(cf_view(disk.data, 16 + size), &back, &err) == 0);
	cf_buf_fini(&disk);
	cf_buf_fini(&back);
}

/* A gigabyte of zeroes in a megabyte of gzip must not become a gigabyte of memory. */
CF_TEST(initdata_that_inflates_beyond_the_limit_is_refused)
{
	struct cf_buf big = { .max = INITDATA_TEXT_MAX + 1 }, disk = { 0 }, back = { 0 };
	struct cf_err err;

	cf_buf_add_zero(&big, INITDATA_TEXT_MAX + 1);
	EXPECT_OK(initdata_to_disk(cf_buf_view(&big), &disk, &err), &err);
	EXPECT_FAILS(initdata_from_disk(cf_buf_view(&disk), &back, &err), CF_RESOURCE_EXHAUSTED);
	cf_buf_fini(&big);
	cf_buf_fini(&disk);
	cf_buf_fini(&back);
}

CF_TEST(initdata_pcr8_is_one_extend_of_the_text_or_of_its_absence)
{
	uint8_t value[32], both[64] = { 0 }, want[32];

	cf_sha256(cf_view_str("no initdata"), both + 32);
	cf_sha256(cf_view(both, 64), want);
	initdata_pcr8_value(cf_view_str(""), value);
	EXPECT(memcmp(value, want, 32) == 0);
	initdata_pcr8_value(cf_view_str(good), value);
	EXPECT(memcmp(value, want, 32) != 0);
}
