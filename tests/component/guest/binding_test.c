/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Initdata is bound to the TPM once, before anything is served. The TPM is the other end of a
 * pseudo-terminal, which like the real device takes a command in one write; a real (software) TPM
 * judges the very bytes.
 */
#include "tests/component/guest/guest_fixture.h"

#include "vmm-glue/guest/guest_trust.h"
#include "vmm-glue/guest/pcr_extend.h"

#include <poll.h>
#include <sys/socket.h>
#include <termios.h>

#define NEED_ROOT()                                                                                \
	do {                                                                                       \
		if (!fx_can_run())                                                                 \
			SKIP("needs root, crun and a static busybox");                             \
	} while (0)

#define COMMAND_BYTES 65
#define DIGEST_AT     33

/* A pseudo-terminal without any line discipline; *ret_slave keeps it open. */
static int open_device(char **ret_path, int *ret_slave)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	struct termios raw;

	EXPECT(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
	*ret_path = cf_strdup(ptsname(master));
	*ret_slave = open(*ret_path, O_RDWR | O_NOCTTY | O_CLOEXEC);
	EXPECT(*ret_slave >= 0 && tcgetattr(*ret_slave, &raw) == 0);
	cfmakeraw(&raw);
	EXPECT(tcsetattr(*ret_slave, TCSANOW, &raw) == 0);
	return master;
}

struct device {
	int master;
	uint32_t code; /* what to answer */
	uint8_t digest[32];
	int commands;
	pthread_t thread;
};

static void *answer_one(void *arg)
{
	struct device *d = arg;
	uint8_t in[COMMAND_BYTES];
	struct cf_buf out = { 0 };
	size_t n = 0;

	while (n < sizeof(in)) {
		ssize_t r = read(d->master, in + n, sizeof(in) - n);

		EXPECT(r > 0);
		n += (size_t)r;
	}
	d->commands++;
	memcpy(d->digest, in + DIGEST_AT, 32);
	cf_buf_add_u16be(&out, 0x8002);
	cf_buf_add_u32be(&out, d->code ? 10 : 19);
	cf_buf_add_u32be(&out, d->code);
	if (!d->code)
		cf_buf_add_zero(&out, 9);
	EXPECT(write(d->master, out.data, out.size) == (ssize_t)out.size);
	cf_buf_fini(&out);
	return NULL;
}

static struct fx *start_with(struct device *d, const char *path, bool with_initdata)
{
	struct fx *f = cf_zalloc(sizeof(*f));

	EXPECT(pthread_create(&d->thread, NULL, answer_one, d) == 0);
	f->dir = cf_test_tmpdir();
	fx_start_cdh(f);
	if (with_initdata)
		fx_write_initdata(f, "version = 1\n");
	fx_spawn(f, with_initdata, path);
	/* Its socket answers: so the TPM has been asked already. */
	EXPECT(pthread_join(d->thread, NULL) == 0);
	return f;
}

static bool is_silent(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 0;
}

CF_TEST(initdata_goes_into_the_tpm_once)
{
	struct device d = { 0 };
	cf_cleanup(cf_freep) char *path = NULL;
	struct cf_buf text = { 0 };
	uint8_t want[32];
	struct cf_err err;
	struct fx *f;
	char *image;
	int slave;

	NEED_ROOT();
	d.master = open_device(&path, &slave);
	f = start_with(&d, path, true);
	image = cf_asprintf("%s/initdata.img", f->dir);
	{
		struct cf_buf disk = cf_test_read(image);

		text.max = 1u << 20;
		EXPECT_OK(initdata_from_disk(cf_buf_view(&disk), &text, &err), &err);
		cf_buf_fini(&disk);
	}
	initdata_pcr8_event(cf_buf_view(&text), want);
	EXPECT(memcmp(d.digest, want, 32) == 0);
	EXPECT_OK(fx_sandbox(f, false, &err), &err);
	EXPECT(is_silent(d.master));
	cf_buf_fini(&text);
	free(image);
	cf_close(&slave);
	cf_close(&d.master);
	fx_stop(f);
}

CF_TEST(absence_of_initdata_goes_into_the_tpm_too)
{
	struct device d = { 0 };
	cf_cleanup(cf_freep) char *path = NULL;
	uint8_t want[32];
	struct cf_err err;
	struct fx *f;
	int slave;

	NEED_ROOT();
	d.master = open_device(&path, &slave);
	f = start_with(&d, path, false);
	cf_sha256(cf_view_str("no initdata"), want);
	EXPECT(memcmp(d.digest, want, 32) == 0);
	EXPECT_FAILS(fx_sandbox(f, false, &err), CF_UNAVAILABLE);
	EXPECT(is_silent(d.master));
	cf_close(&slave);
	cf_close(&d.master);
	fx_stop(f);
}

CF_TEST(machine_whose_tpm_refuses_does_not_go_on)
{
	struct device d = { .code = 0x101 };
	cf_cleanup(cf_freep) char *path = NULL;
	struct guest_trust_opts opts = { .disk = "/dev/null" };
	struct guest_policies policy;
	struct cf_err err;
	int slave;

	d.master = open_device(&path, &slave);
	opts.tpm = path;
	opts.run_dir = "/nonexistent";
	EXPECT(pthread_create(&d.thread, NULL, answer_one, &d) == 0);
	EXPECT_FAILS(guest_trust_bind(&opts, &policy, &err), CF_ABORTED);
	EXPECT(strstr(err.msg, "0x101"));
	EXPECT(pthread_join(d.thread, NULL) == 0);
	cf_close(&slave);
	cf_close(&d.master);
}

/* ---- a software TPM ---- */

static int swtpm_start(const char *dir, pid_t *ret_pid)
{
	cf_cleanup(cf_freep) char *server = cf_asprintf("type=unixio,path=%s/tpm.sock", dir);
	cf_cleanup(cf_freep) char *state = cf_asprintf("dir=%s", dir);
	cf_cleanup(cf_freep) char *path = cf_asprintf("unix://%s/tpm.sock", dir);
	const char *const argv[] = { "swtpm",      "socket", "--tpm2",  "--server",      server,
		                     "--tpmstate", state,    "--flags", "startup-clear", NULL };
	struct cf_proc_opts opts = { .argv = argv,
		                     .stdin_fd = -1,
		                     .stdout_fd = -1,
		                     .stderr_fd = -1,
		                     .die_with_parent = true };
	struct cf_err err;
	int fd;

	EXPECT_OK(cf_proc_spawn(&opts, ret_pid, &err), &err);
	fd = ttrpc_dial_fd(path, FX_WAIT_MS, &err);
	EXPECT(fd >= 0);
	(void)cf_set_nonblock(fd, false);
	return fd;
}

static struct cf_view ask(int fd, const struct cf_buf *command, uint8_t *in, size_t size)
{
	ssize_t n;

	EXPECT(write(fd, command->data, command->size) == (ssize_t)command->size);
	n = read(fd, in, size);
	EXPECT(n > 0);
	return cf_view(in, (size_t)n);
}

CF_TEST(real_tpm_ends_with_the_value_that_verifiers_expect)
{
	static const char text[] = "version = \"0.1.0\"\nalgorithm = \"sha256\"\n[data]\n";
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	struct cf_buf command = { 0 };
	uint8_t in[1024], event[32], want[32];
	struct cf_view answer;
	struct cf_err err;
	pid_t pid;
	int fd;

	if (access("/usr/bin/swtpm", X_OK) < 0)
		SKIP("needs swtpm");
	fd = swtpm_start(dir, &pid);
	initdata_pcr8_event(cf_view_str(text), event);
	initdata_pcr8_value(cf_view_str(text), want);
	pcr_extend_command(INITDATA_PCR, event, &command);
	EXPECT_OK(pcr_extend_response(ask(fd, &command, in, sizeof(in)), &err), &err);
	/* TPM2_PCR_Read of the SHA-256 bank's PCR 8: the digest ends the answer */
	cf_buf_reset(&command);
	cf_buf_add_u16be(&command, 0x8001);
	cf_buf_add_u32be(&command, 20);
	cf_buf_add_u32be(&command, 0x17e);
	cf_buf_add_u32be(&command, 1);
	cf_buf_add_u16be(&command, 0x000b);
	cf_buf_add(&command, "\3\0\1\0", 4);
	answer = ask(fd, &command, in, sizeof(in));
	EXPECT(answer.size > 32);
	EXPECT(cf_view_eq(cf_view_sub(answer, answer.size - 32, 32), cf_view(want, 32)));
	/* a PCR that does not exist */
	cf_buf_reset(&command);
	pcr_extend_command(99, event, &command);
	EXPECT_FAILS(pcr_extend_response(ask(fd, &command, in, sizeof(in)), &err), CF_ABORTED);
	cf_buf_fini(&command);
	cf_close(&fd);
	EXPECT(kill(pid, SIGTERM) == 0 && waitpid(pid, NULL, 0) == pid);
}

/* ---- parts ---- */

CF_TEST(response_of_a_tpm_is_whole_or_nothing)
{
	static const uint8_t good[] = {
		0x80, 2, 0, 0, 0, 19, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0
	};
	struct cf_err err;

	EXPECT_OK(pcr_extend_response(cf_view(good, sizeof(good)), &err), &err);
	for (size_t n = 0; n < sizeof(good); n++)
		EXPECT_FAILS(pcr_extend_response(cf_view(good, n), &err), CF_DATA_LOSS);
}

CF_TEST(report_must_carry_the_digest_of_the_initdata)
{
	uint8_t report[1184] = { 0 }, digest[48];
	struct cf_view field;
	struct cf_err err;

	memset(digest, 0xaa, sizeof(digest));
	/* none given at launch, none found: fine; one found: not */
	EXPECT_OK(guest_report_field(GUEST_TEE_SNP, cf_view(report, sizeof(report)), &field, &err),
	          &err);
	EXPECT_INT(field.size, 32);
	EXPECT_OK(guest_report_check(field, cf_view(NULL, 0), &err), &err);
	EXPECT_FAILS(guest_report_check(field, cf_view(digest, 48), &err), CF_UNAUTHENTICATED);
	/* SNP's field is cut, TDX's is not */
	memset(report + 192, 0xaa, 32);
	EXPECT_OK(guest_report_check(field, cf_view(digest, 48), &err), &err);
	EXPECT_FAILS(guest_report_check(field, cf_view(NULL, 0), &err), CF_UNAUTHENTICATED);
	report[192 + 31] ^= 1;
	EXPECT_FAILS(guest_report_check(field, cf_view(digest, 48), &err), CF_UNAUTHENTICATED);
	memset(report, 0, sizeof(report));
	memset(report + 232, 0xaa, 48);
	EXPECT_OK(guest_report_field(GUEST_TEE_TDX, cf_view(report, sizeof(report)), &field, &err),
	          &err);
	EXPECT_OK(guest_report_check(field, cf_view(digest, 48), &err), &err);
	EXPECT_FAILS(guest_report_check(field, cf_view(digest, 32), &err), CF_UNAUTHENTICATED);
	EXPECT_FAILS(guest_report_field(GUEST_TEE_TDX, cf_view(report, 279), &field, &err),
	             CF_DATA_LOSS);
}

CF_TEST(initdata_that_cannot_be_used_serves_nothing)
{
	static const struct {
		const char *key, *text;
	} rows[] = {
		{ "policy.toml", "verison = 1" },
		{ "policy.rego", "package agent_policy\nx := " },
	};
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/disk", dir);
	struct guest_trust_opts opts = { .disk = path, .run_dir = dir };
	struct cf_err err;

	for (size_t i = 0; i < CF_ARRAY_LEN(rows); i++) {
		struct initdata_entry e = { .key = rows[i].key, .text = rows[i].text };
		struct cf_buf text = { .max = 1u << 16 }, disk = { .max = 1u << 16 };
		struct guest_policies policy;

		EXPECT_OK(initdata_build(CF_SHA256, &e, 1, &text, &err), &err);
		EXPECT_OK(initdata_to_disk(cf_buf_view(&text), &disk, &err), &err);
		EXPECT_OK(cf_write_file_atomic(path, cf_buf_view(&disk), 0600, &err), &err);
		EXPECT_INT(guest_trust_bind(&opts, &policy, &err), GUEST_TRUST_NONE);
		EXPECT(strstr(err.msg, rows[i].key));
		EXPECT(!policy.native && !policy.rego);
		cf_buf_fini(&text);
		cf_buf_fini(&disk);
	}
}
