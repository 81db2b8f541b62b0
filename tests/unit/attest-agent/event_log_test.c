/* SPDX-License-Identifier: Apache-2.0 */
/* The event log over a register that lives in the test, with crashes at each step. */
#include "attest-agent/event_log.h"
#include "base/fd.h"
#include "tests/harness/test.h"

#include <unistd.h>

struct fake {
	uint8_t value[32];
	bool fails;
};

static int fake_read(void *self, uint64_t reg, uint8_t ret[32], struct cf_err *err)
{
	struct fake *f = self;

	if (reg != 23)
		return cf_fail(err, CF_UNIMPLEMENTED, "register");
	memcpy(ret, f->value, 32);
	return 0;
}

static void fake_apply(struct fake *f, const uint8_t digest[32])
{
	uint8_t both[64];

	memcpy(both, f->value, 32);
	memcpy(both + 32, digest, 32);
	cf_sha256(cf_view(both, 64), f->value);
}

static int fake_extend(void *self, uint64_t reg, const uint8_t digest[32], struct cf_err *err)
{
	struct fake *f = self;

	(void)reg;
	if (f->fails)
		return cf_fail(err, CF_ABORTED, "the TPM says no");
	fake_apply(f, digest);
	return 0;
}

static const struct attester_ops fake_ops = {
	.tee = "fake",
	.read_register = fake_read,
	.extend = fake_extend,
};

CF_TEST(event_blob_and_digest_are_those_of_the_peers)
{
	cf_cleanup(cf_freep) char *path = cf_test_source("tests/data/eventlog/aael-digest.json");
	struct cf_buf text = cf_test_read(path), blob = { 0 };
	cf_cleanup(cf_json_freep) struct cf_json *want = NULL;
	uint8_t sum[32];
	struct cf_err err;

	EXPECT_OK(cf_json_parse(cf_buf_view(&text), 0, &want, &err), &err);
	cf_cleanup(cf_freep) char *event = cf_view_dup(cf_json_str(cf_json_get(want, "event")));
	event_log_blob(event, &blob);
	cf_cleanup(cf_freep) char *hex = cf_hex_dup(cf_buf_view(&blob));
	EXPECT(cf_view_eq_str(cf_json_str(cf_json_get(want, "tagged_hex")), hex));
	cf_sha256(cf_buf_view(&blob), sum);
	cf_cleanup(cf_freep) char *sum_hex = cf_hex_dup(cf_view(sum, 32));
	EXPECT(cf_view_eq_str(cf_json_str(cf_json_get(want, "sha256")), sum_hex));
	cf_buf_fini(&blob);
	cf_buf_fini(&text);
}

static struct event_log *open_log(const char *dir, struct attester *a)
{
	struct event_log *log = NULL;
	struct cf_err err;

	EXPECT_OK(event_log_open(dir, a, &log, &err), &err);
	return log;
}

static size_t log_size(const struct event_log *log)
{
	struct cf_buf b = cf_test_read(event_log_path(log));
	size_t n = b.size;

	cf_buf_fini(&b);
	return n;
}

CF_TEST(event_log_refuses_what_a_reader_would_split_otherwise)
{
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	struct fake fake = { 0 };
	struct attester a = { &fake_ops, &fake };
	cf_cleanup(event_log_freep) struct event_log *log = open_log(dir, &a);
	static const char *const words[][3] = {
		{ "", "op", "c" },    { "d", "", "c" },      { "d d", "op", "c" },
		{ "d", "o p", "c" },  { "d", "op", "c\nc" }, { "d\n", "op", "c" },
		{ "d", "op", "c\r" },
	};
	struct cf_err err;

	for (size_t i = 0; i < CF_ARRAY_LEN(words); i++)
		EXPECT_FAILS(event_log_add(log, 23, words[i][0], words[i][1], words[i][2], &err),
		             CF_INVALID_ARGUMENT);
	EXPECT_FAILS(event_log_add(log, 24, "d", "op", "c", &err), CF_UNIMPLEMENTED);
	EXPECT(log_size(log) == 0);
	EXPECT_OK(event_log_add(log, 23, "d", "op", "c c", &err), &err);
	EXPECT(log_size(log) > 0);
}

CF_TEST(event_log_writes_nothing_when_the_register_was_not_extended)
{
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	struct fake fake = { .fails = true };
	struct attester a = { &fake_ops, &fake };
	cf_cleanup(event_log_freep) struct event_log *log = open_log(dir, &a);
	struct cf_err err;

	EXPECT_FAILS(event_log_add(log, 23, "d", "op", "c", &err), CF_ABORTED);
	EXPECT(log_size(log) == 0);
	log = event_log_free(log);
	log = open_log(dir, &a); /* no note is left behind */
	EXPECT(log_size(log) == 0);
}

/* The note as the daemon writes it before it extends. */
static void leave_note(const char *dir, uint64_t offset, const uint8_t expected[32],
                       const char *text)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/.wal_event_entry", dir);
	struct cf_buf b = { 0 };
	struct cf_err err;

	cf_buf_add_str(&b, "coffer-wal-1\n");
	cf_buf_add_u64be(&b, offset);
	cf_buf_add_u64be(&b, 23);
	cf_buf_add(&b, expected, 32);
	cf_buf_add_str(&b, text);
	EXPECT_OK(cf_write_file_atomic(path, cf_buf_view(&b), 0600, &err), &err);
	cf_buf_fini(&b);
}

static void digest_of(const char *text, uint8_t out[32])
{
	struct cf_buf blob = { 0 };

	event_log_blob(text, &blob);
	cf_sha256(cf_buf_view(&blob), out);
	cf_buf_fini(&blob);
}

CF_TEST(event_log_repairs_a_crash_before_and_after_the_extend)
{
	for (int extended = 0; extended <= 1; extended++) {
		cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
		struct fake fake = { .value = { 1 } }, after = fake;
		struct attester a = { &fake_ops, &fake };
		uint8_t digest[32];

		digest_of("d op c", digest);
		fake_apply(&after, digest);
		leave_note(dir, 0, after.value, "d op c");
		if (extended)
			fake = after;
		cf_cleanup(event_log_freep) struct event_log *log = open_log(dir, &a);
		EXPECT(memcmp(fake.value, after.value, 32) == 0); /* extended exactly once */
		size_t size = log_size(log);
		EXPECT(size > 0);
		log = event_log_free(log);
		log = open_log(dir, &a);
		EXPECT(log_size(log) == size && memcmp(fake.value, after.value, 32) == 0);
	}
}

CF_TEST(event_log_cuts_half_a_record_that_a_crash_left)
{
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	struct fake fake = { 0 };
	struct attester a = { &fake_ops, &fake };
	cf_cleanup(event_log_freep) struct event_log *log = open_log(dir, &a);
	uint8_t digest[32];
	struct cf_err err;

	EXPECT_OK(event_log_add(log, 23, "d", "op", "one", &err), &err);
	size_t one = log_size(log);
	EXPECT_OK(event_log_add(log, 23, "d", "op", "two", &err), &err);
	size_t two = log_size(log);
	EXPECT(truncate(event_log_path(log), (off_t)(one + 5)) == 0);
	digest_of("d op two", digest);
	leave_note(dir, one, fake.value, "d op two"); /* extended already */
	log = event_log_free(log);
	log = open_log(dir, &a);
	EXPECT(log_size(log) == two);
}

CF_TEST(event_log_refuses_to_guess)
{
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	struct fake fake = { 0 };
	struct attester a = { &fake_ops, &fake };
	struct event_log *log = NULL;
	uint8_t other[32] = { 9 };
	struct cf_err err;

	leave_note(dir, 0, other, "d op c");
	EXPECT_FAILS(event_log_open(dir, &a, &log, &err), CF_DATA_LOSS);
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/.wal_event_entry", dir);
	EXPECT(truncate(path, 20) == 0);
	EXPECT_FAILS(event_log_open(dir, &a, &log, &err), CF_DATA_LOSS);
}
