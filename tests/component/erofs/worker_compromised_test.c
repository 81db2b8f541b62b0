/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The layer pipeline with sandboxed processes that belong to the attacker from their first
 * instruction on. They must reach nothing, publish nothing and change nobody else's image.
 *
 * This binary is its own helper: the rows below stand in for the honest ones. Which trick a builder
 * plays is told by its limit of entries (a number no honest caller gives), an inflater's by the
 * byte behind a zstd magic.
 */
#include "erofs/layer_ipc.h"
#include "erofs/layer_pipeline.h"
#include "erofs/layer_store.h"
#include "erofs/layer_worker.h"
#include "erofs/merge.h"
#include "tests/harness/erofs_tree.h"

#include "base/crypto.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>

#define TRICK_ENTRIES 990000u /* + the trick's number */

/* ---- what an attacker tries ---- */

static void try_open(void)
{
	syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY);
}
static void try_create(void)
{
	syscall(SYS_openat, AT_FDCWD, "/tmp/coffer-evil", O_WRONLY | O_CREAT, 0600);
}
static void try_old_open(void)
{
#ifdef SYS_open
	syscall(SYS_open, "/etc/passwd", O_RDONLY);
#else
	try_open();
#endif
}
static void try_socket(void)
{
	syscall(SYS_socket, AF_INET, SOCK_STREAM, 0);
}
static void try_unix_socket(void)
{
	syscall(SYS_socket, AF_UNIX, SOCK_STREAM, 0);
}
static void try_connect(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = "/run/x" };

	syscall(SYS_connect, LAYER_FD_CONTROL, &a, sizeof(a));
}
static void try_pass_fd(void)
{
	struct msghdr m = { 0 };

	syscall(SYS_sendmsg, LAYER_FD_CONTROL, &m, 0);
}
static void try_exec(void)
{
	char *argv[] = { (char[]){ "sh" }, NULL };

	syscall(SYS_execve, "/bin/sh", argv, argv + 1);
}
static void try_fork(void)
{
	syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}
static void try_ptrace(void)
{
	syscall(SYS_ptrace, PTRACE_ATTACH, getppid(), 0, 0);
}
static void try_read_parent(void)
{
	syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0);
}
static void try_kill_parent(void)
{
	syscall(SYS_kill, 1, SIGKILL);
}
static void try_tgkill_parent(void)
{
	syscall(SYS_tgkill, getppid(), getppid(), SIGKILL);
}
static void try_mount(void)
{
	syscall(SYS_mount, "none", "/tmp", "tmpfs", 0, NULL);
}
static void try_unlink(void)
{
	syscall(SYS_unlinkat, AT_FDCWD, "/tmp/coffer-evil", 0);
}
static void try_link(void)
{
	syscall(SYS_linkat, LAYER_FD_IMAGE, "", AT_FDCWD, "/tmp/coffer-evil", AT_EMPTY_PATH);
}
static void try_io_uring(void)
{
	struct io_uring_params p = { 0 };

	syscall(SYS_io_uring_setup, 1, &p);
}
static void try_bpf(void)
{
	syscall(SYS_bpf, 0, NULL, 0);
}
static void try_keys(void)
{
	syscall(SYS_keyctl, 0, 0, 0, 0, 0);
}

static void (*const forbidden[])(void) = {
	try_open,        try_create,      try_old_open, try_socket,        try_unix_socket,
	try_connect,     try_pass_fd,     try_exec,     try_fork,          try_ptrace,
	try_read_parent, try_kill_parent, try_mount,    try_unlink,        try_link,
	try_io_uring,    try_bpf,         try_keys,     try_tgkill_parent,
};

enum trick {
	/* below: an index into forbidden[] */
	TRICK_MEMORY = 50, /* writes to, unseals and shrinks the memory it shares */
	TRICK_DONE_EARLY,  /* says that the image is complete before the layer is */
	TRICK_OTHER_IMAGE, /* writes an image of its own making */
	TRICK_NO_IMAGE,    /* says done without an image */
	TRICK_HANG,
	TRICK_VANISH,
	TRICK_NONSENSE,    /* packets that mean nothing */
	TRICK_FREE_FLOOD,  /* frees slots it never had */
	TRICK_HUGE_SLOT,   /* announces more bytes than a slot has */
	TRICK_OTHER_BYTES, /* inflates to something else */
	TRICK_SCRIBBLE,    /* changes a slot after it handed it over */
	TRICK_ENDLESS,     /* inflates a few bytes for ever */
	TRICK_DEAF,        /* the same, and never reads what the pipeline says */
	TRICK_END_EARLY,   /* says that all is inflated before the blob ended */
};

static void say(enum layer_msg_kind kind, uint32_t size, const void *payload, size_t n)
{
	struct cf_err err;

	if (layer_msg_send(LAYER_FD_CONTROL, kind, size, cf_view(payload, n), &err) < 0)
		_exit(3);
}

static void hang(void)
{
	struct pollfd none = { .fd = -1 };

	for (;;)
		poll(&none, 1, 1000);
}

/* What is wrong with a ring that this side may only read; NULL: nothing. */
static const char *try_ring(int fd)
{
	uint8_t byte = 'E';
	void *p = mmap(NULL, LAYER_RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p != MAP_FAILED)
		return "the ring maps writable";
	if (pwrite(fd, &byte, 1, 0) == 1)
		return "the ring can be written";
	p = mmap(NULL, LAYER_RING_BYTES, PROT_READ, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED || mprotect(p, LAYER_RING_BYTES, PROT_READ | PROT_WRITE) == 0)
		return "the mapping turns writable";
	return ftruncate(fd, 0) == 0 ? "the ring can be shrunk" : NULL;
}

/* Reports what worked; nothing may. */
static void attack_memory(bool is_builder)
{
	const char *found = try_ring(is_builder ? LAYER_FD_RING : LAYER_FD_BLOB);

	if (!found && ftruncate(LAYER_FD_RING, 0) == 0)
		found = "the ring can be shrunk";
	if (!found)
		found = "held";
	say(LAYER_MSG_FAILED, CF_INVALID_ARGUMENT, found, strlen(found));
	_exit(1);
}

static int builder(int argc, char **argv)
{
	const char *entries = argc > 1 ? cf_after(argv[1], "entries=") : NULL;
	uint64_t n = 0;
	struct layer_stats claims = { 0 };
	struct layer_msg m;
	struct cf_err err;
	size_t payload;

	if (!entries || cf_parse_u64(cf_view_str(entries), UINT64_MAX, &n, NULL) < 0 ||
	    n < TRICK_ENTRIES)
		return layer_worker_build(argc, argv);
	n -= TRICK_ENTRIES;
	if (n < CF_ARRAY_LEN(forbidden))
		forbidden[n]();
	switch (n) {
	case TRICK_MEMORY:
		attack_memory(true);
		break;
	case TRICK_DONE_EARLY:
		say(LAYER_MSG_DONE, 0, &claims, sizeof(claims));
		hang();
		break;
	case TRICK_HANG:
		hang();
		break;
	case TRICK_VANISH:
		_exit(0);
	case TRICK_NONSENSE:
		say((enum layer_msg_kind)77, 1234, "?", 1);
		hang();
		break;
	case TRICK_FREE_FLOOD:
		for (unsigned i = 0; i < 50; i++)
			say(LAYER_MSG_FREE, 0, NULL, 0);
		hang();
		break;
	case TRICK_OTHER_IMAGE:
	case TRICK_NO_IMAGE:
		while (layer_msg_take(LAYER_FD_CONTROL, &m, &payload, &err) > 0 &&
		       m.kind != LAYER_MSG_END)
			say(LAYER_MSG_FREE, 0, NULL, 0);
		if (n == TRICK_OTHER_IMAGE && (ftruncate(LAYER_FD_IMAGE, 8192) < 0 ||
		                               pwrite(LAYER_FD_IMAGE, "forged", 6, 4096) != 6))
			_exit(4);
		say(LAYER_MSG_DONE, 0, &claims, sizeof(claims));
		hang();
		break;
	default:
		break;
	}
	static const char survived[] = "survived";
	say(LAYER_MSG_FAILED, CF_INVALID_ARGUMENT, survived, sizeof(survived));
	return 0;
}

/* The next bytes of the blob, as an honest inflater takes them; 0 at its end. */
static size_t read_blob(uint8_t *out, size_t cap)
{
	static const uint8_t *ring, *at;
	static size_t left, slot;
	struct layer_msg m = { 0 };
	struct cf_err err;
	size_t payload;

	if (!ring)
		ring = mmap(NULL, LAYER_RING_BYTES, PROT_READ, MAP_SHARED, LAYER_FD_BLOB, 0);
	while (!left) {
		if (layer_msg_take(LAYER_FD_CONTROL, &m, &payload, &err) <= 0)
			_exit(6);
		if (m.kind == LAYER_MSG_END)
			return 0;
		if (m.kind == LAYER_MSG_DATA) {
			at = ring + slot++ % LAYER_SLOTS * LAYER_SLOT_BYTES;
			left = m.size;
		}
	}
	size_t n = CF_MIN(left, cap);

	memcpy(out, at, n);
	at += n;
	left -= n;
	if (!left)
		say(LAYER_MSG_FREE, 0, NULL, 0);
	return n;
}

/* Sends the rest of the blob as if it were the inflated layer. */
static void pass_on(enum trick trick)
{
	uint8_t *ring =
		mmap(NULL, LAYER_RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, LAYER_FD_RING, 0);
	size_t n, have = 0;

	if (ring == MAP_FAILED)
		_exit(5);
	while (have < LAYER_SLOT_BYTES && (n = read_blob(ring + have, LAYER_SLOT_BYTES - have)))
		have += n;
	if (trick == TRICK_OTHER_BYTES)
		ring[1000] ^= 1;
	say(LAYER_MSG_DATA, (uint32_t)have, NULL, 0);
	for (unsigned i = 0; trick == TRICK_SCRIBBLE && i < 2000; i++)
		((volatile uint8_t *)ring)[512 + i % 64] = 'E'; /* the first file's content */
	say(LAYER_MSG_END, 0, NULL, 0);
	hang();
}

static int inflater(int argc, char **argv)
{
	uint8_t head[5] = { 0 };
	struct layer_msg m;
	struct cf_err err;
	size_t payload;

	if (argc < 2 || !cf_streq(argv[1], "zstd"))
		return layer_worker_inflate(argc, argv);
	for (size_t have = 0; have < sizeof(head);) {
		size_t n = read_blob(head + have, sizeof(head) - have);

		if (!n)
			_exit(6);
		have += n;
	}
	if (head[4] < CF_ARRAY_LEN(forbidden))
		forbidden[head[4]]();
	switch (head[4]) {
	case TRICK_MEMORY:
		attack_memory(false);
		break;
	case TRICK_HANG:
		hang();
		break;
	case TRICK_VANISH:
		_exit(0);
	case TRICK_NONSENSE:
		say((enum layer_msg_kind)77, 1234, "?", 1);
		hang();
		break;
	case TRICK_HUGE_SLOT:
		say(LAYER_MSG_DATA, LAYER_SLOT_BYTES + 1, NULL, 0);
		hang();
		break;
	case TRICK_ENDLESS:
		for (;;) {
			say(LAYER_MSG_DATA, LAYER_SLOT_BYTES, NULL, 0);
			if (layer_msg_take(LAYER_FD_CONTROL, &m, &payload, &err) <= 0)
				_exit(0);
		}
	case TRICK_DEAF:
		for (;;)
			say(LAYER_MSG_DATA, 1, NULL, 0);
	case TRICK_FREE_FLOOD:
		for (unsigned i = 0; i < 50; i++)
			say(LAYER_MSG_FREE, 0, NULL, 0);
		hang();
		break;
	case TRICK_END_EARLY:
		say(LAYER_MSG_END, 0, NULL, 0);
		hang();
		break;
	case TRICK_OTHER_BYTES:
	case TRICK_SCRIBBLE:
		pass_on((enum trick)head[4]);
		break;
	default:
		break;
	}
	static const char survived[] = "survived";
	say(LAYER_MSG_FAILED, CF_INVALID_ARGUMENT, survived, sizeof(survived));
	return 0;
}

/* Which trick a merge plays is told by the number behind "sha512:" in the second diffID. */
static int merger(int argc, char **argv)
{
	const char *hex = argc > 3 ? cf_after(argv[3], "sha512:") : NULL;
	unsigned long n;

	if (!hex)
		return layer_worker_merge(argc, argv);
	n = strtoul(hex + 120, NULL, 16);
	if (n < CF_ARRAY_LEN(forbidden))
		forbidden[n]();
	if (n == TRICK_NO_IMAGE)
		say(LAYER_MSG_DONE, 0, NULL, 0);
	if (n == TRICK_NONSENSE)
		say((enum layer_msg_kind)77, 1234, "?", 1);
	if (n == TRICK_OTHER_IMAGE) { /* the layers can only be read */
		uint8_t byte = 'E';
		bool wrote = pwrite(LAYER_FD_LAYERS, &byte, 1, 0) == 1 ||
		             ftruncate(LAYER_FD_LAYERS, 0) == 0 ||
		             mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, LAYER_FD_LAYERS,
		                  0) != MAP_FAILED;
		const char *text = wrote ? "a layer can be written" : "held";

		say(LAYER_MSG_FAILED, CF_INVALID_ARGUMENT, text, strlen(text));
	}
	return 0;
}

__attribute__((constructor)) static void become_helper(int argc, char **argv)
{
	static const struct cf_helper rows[] = {
		{ LAYER_HELPER_INFLATE, inflater },
		{ LAYER_HELPER_BUILD, builder },
		{ LAYER_HELPER_MERGE, merger },
	};

	cf_helper_main(argc, argv, rows, CF_ARRAY_LEN(rows));
}

/* ---- the pipeline around them ---- */

struct attempt {
	char *store;
	struct cf_buf tar;
	char diff_id[LAYER_DIFF_ID_MAX];
};

static struct attempt attempt_new(void)
{
	struct attempt a = { .store = cf_test_tmpdir() };
	struct mk_tar t = { 0 };
	uint8_t digest[32];

	mk_file(&t, "name", "the content of the first file, in the first data block");
	mk_end(&t);
	a.tar = t.b;
	cf_sha256(cf_buf_view(&a.tar), digest);
	memcpy(a.diff_id, "sha256:", 7);
	cf_hex_encode(cf_view(digest, sizeof(digest)), a.diff_id + 7);
	return a;
}

static void attempt_fini(struct attempt *a)
{
	cf_buf_fini(&a->tar);
	free(a->store);
}

static size_t files_in(const char *dir)
{
	DIR *d = opendir(dir);
	size_t n = 0;

	for (struct dirent *e; (e = readdir(d));)
		n += e->d_name[0] != '.' || cf_starts_with(e->d_name, ".building");
	closedir(d);
	return n;
}

/* Feeds the blob, finishes, publishes. @trick 0..: builder's; inflater's go into the blob. */
static int run(struct attempt *a, uint64_t builder_trick, int inflater_trick,
               struct layer_result *result, struct cf_err *err)
{
	cf_cleanup(layer_pipeline_freep) struct layer_pipeline *p = NULL;
	const struct layer_pipeline_opts opts = {
		.store_dir = a->store,
		.diff_id = cf_view_str(a->diff_id),
		.build.limits.entries_max = builder_trick ? TRICK_ENTRIES + builder_trick - 1 : 0,
		.stall_ms = 2000,
		.inflated_max = 300u << 20,
	};
	uint8_t head[5] = { 0x28, 0xb5, 0x2f, 0xfd, (uint8_t)inflater_trick };
	int r = layer_pipeline_new(&opts, &p, err);

	if (r == 0 && inflater_trick >= 0)
		r = layer_pipeline_feed(p, cf_view(head, sizeof(head)), err);
	if (r == 0)
		r = layer_pipeline_feed(p, cf_buf_view(&a->tar), err);
	if (r == 0)
		r = layer_pipeline_finish(p, result, err);
	return r < 0 ? r : layer_pipeline_publish(p, NULL, err);
}

static void expect_caught(uint64_t builder_trick, int inflater_trick, enum cf_code want,
                          const char *text)
{
	struct attempt a = attempt_new();
	struct cf_err err = { 0 };
	int r = run(&a, builder_trick, inflater_trick, NULL, &err);

	if (r != -(int)want || (text && !strstr(err.msg, text)))
		fail_msg("builder %llu inflater %d: %d %s", (unsigned long long)builder_trick,
		         inflater_trick, r, err.msg);
	EXPECT_INT(files_in(a.store), 0);
	attempt_fini(&a);
}

/* builder tricks are counted from 1 here, so that 0 is none */
#define BUILDER(n)  ((uint64_t)(n) + 1)
#define NO_INFLATER (-1)

CF_TEST(worker_honest_ones_publish_in_this_harness)
{
	struct attempt a = attempt_new();
	struct layer_result result;
	struct cf_err err = { 0 };

	EXPECT_OK(run(&a, 0, NO_INFLATER, &result, &err), &err);
	EXPECT_STR(result.diff_id, a.diff_id);
	EXPECT_INT(files_in(a.store), 1);
	attempt_fini(&a);
}

CF_TEST(worker_compromised_builder_reaches_nothing)
{
	for (size_t i = 0; i < CF_ARRAY_LEN(forbidden); i++)
		expect_caught(BUILDER(i), NO_INFLATER, CF_PERMISSION_DENIED, "sandbox");
}

CF_TEST(worker_compromised_inflater_reaches_nothing)
{
	for (size_t i = 0; i < CF_ARRAY_LEN(forbidden); i++)
		expect_caught(0, (int)i, CF_PERMISSION_DENIED, "sandbox");
}

CF_TEST(worker_compromised_ones_cannot_touch_the_pipelines_memory)
{
	expect_caught(BUILDER(TRICK_MEMORY), NO_INFLATER, CF_INVALID_ARGUMENT, "held");
	expect_caught(0, TRICK_MEMORY, CF_INVALID_ARGUMENT, "held");
}

CF_TEST(worker_compromised_builder_gets_no_image_published_by_lying)
{
	expect_caught(BUILDER(TRICK_DONE_EARLY), NO_INFLATER, CF_INTERNAL, NULL);
	expect_caught(BUILDER(TRICK_NO_IMAGE), NO_INFLATER, CF_INTERNAL, "cannot be");
	expect_caught(BUILDER(TRICK_NONSENSE), NO_INFLATER, CF_INTERNAL, "nonsense");
	expect_caught(BUILDER(TRICK_FREE_FLOOD), NO_INFLATER, CF_INTERNAL, "nonsense");
	expect_caught(BUILDER(TRICK_VANISH), NO_INFLATER, CF_INTERNAL, "ended");
	expect_caught(BUILDER(TRICK_HANG), NO_INFLATER, CF_DEADLINE_EXCEEDED, "builder");
}

CF_TEST(worker_compromised_inflater_gets_no_image_published_by_lying)
{
	expect_caught(0, TRICK_NONSENSE, CF_INTERNAL, "nonsense");
	expect_caught(0, TRICK_HUGE_SLOT, CF_INTERNAL, "nonsense");
	expect_caught(0, TRICK_FREE_FLOOD, CF_INTERNAL, "nonsense");
	expect_caught(0, TRICK_DEAF, CF_INTERNAL, "does not read");
	expect_caught(0, TRICK_VANISH, CF_INTERNAL, "ended");
	expect_caught(0, TRICK_HANG, CF_DEADLINE_EXCEEDED, "inflater");
	expect_caught(0, TRICK_OTHER_BYTES, CF_DATA_LOSS, "diffID");
}

/* Before the blob ended that is nonsense, after it the bytes are too few: which, is a race. */
CF_TEST(worker_inflater_that_ends_early_publishes_nothing)
{
	for (unsigned i = 0; i < 10; i++) {
		struct attempt a = attempt_new();
		struct cf_err err = { 0 };
		int r = run(&a, 0, TRICK_END_EARLY, NULL, &err);

		EXPECT(r == -CF_INTERNAL || r == -CF_DATA_LOSS);
		EXPECT_INT(files_in(a.store), 0);
		attempt_fini(&a);
	}
}

CF_TEST(worker_inflating_for_ever_meets_a_limit)
{
	expect_caught(0, TRICK_ENDLESS, CF_RESOURCE_EXHAUSTED, NULL);
}

CF_TEST(worker_changing_a_slot_later_changes_nothing_that_was_hashed)
{
	for (unsigned i = 0; i < 20; i++) {
		struct attempt a = attempt_new();
		struct layer_result result;
		struct cf_err err = { 0 };
		int r = run(&a, 0, TRICK_SCRIBBLE, &result, &err);
		cf_cleanup(cf_freep) char *name = layer_store_name(cf_view_str(a.diff_id));
		cf_cleanup(cf_freep) char *path = cf_asprintf("%s/%s", a.store, name);

		if (r < 0) { /* it changed what was then copied: the hash says so */
			EXPECT_FAILS(r, CF_DATA_LOSS);
			EXPECT_INT(files_in(a.store), 0);
			attempt_fini(&a);
			continue;
		}
		struct cf_buf image = cf_test_read(path);
		EXPECT(memmem(image.data, image.size, "the content of the first file", 29));
		cf_buf_fini(&image);
		EXPECT(unlink(path) == 0);
		attempt_fini(&a);
	}
}

/*
 * A compromised builder decides what the image of the layer it was fed looks like, and nothing else:
 * the image lies under the diffID of those bytes, which only images that name this layer use.
 */
CF_TEST(worker_compromised_builder_cannot_poison_another_layer)
{
	struct attempt good = attempt_new(), bad = attempt_new();
	struct cf_err err = { 0 };
	cf_cleanup(cf_freep) char *name = layer_store_name(cf_view_str(good.diff_id));
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/%s", good.store, name);
	uint8_t digest[32];

	EXPECT_OK(run(&good, 0, NO_INFLATER, NULL, &err), &err);
	struct cf_buf before = cf_test_read(path);

	/* Its bytes are promised to be the good layer's: refused by the diffID, whatever it wrote. */
	bad.tar.data[600] ^= 1;
	EXPECT_FAILS(run(&bad, BUILDER(TRICK_OTHER_IMAGE), NO_INFLATER, NULL, &err), CF_DATA_LOSS);
	/* Under its own diffID it gets its own image, beside the good one. */
	cf_sha256(cf_buf_view(&bad.tar), digest);
	cf_hex_encode(cf_view(digest, sizeof(digest)), bad.diff_id + 7);
	EXPECT_OK(run(&bad, BUILDER(TRICK_OTHER_IMAGE), NO_INFLATER, NULL, &err), &err);
	EXPECT_INT(files_in(good.store), 2);

	struct cf_buf after = cf_test_read(path);
	EXPECT(cf_view_eq(cf_buf_view(&before), cf_buf_view(&after)));
	cf_buf_fini(&before);
	cf_buf_fini(&after);
	attempt_fini(&good);
	attempt_fini(&bad);
}

static void expect_merge_caught(unsigned trick, enum cf_code want, const char *text)
{
	struct attempt a = attempt_new();
	cf_cleanup(cf_freep) char *second = cf_asprintf("sha512:%0128x", trick);
	cf_cleanup(cf_freep) char *name = layer_store_name(cf_view_str(second));
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/%s", a.store, name);
	const struct cf_view ids[] = { cf_view_str(a.diff_id), cf_view_str(second) };
	char *merged = NULL;
	struct cf_err err = { 0 };

	EXPECT_OK(run(&a, 0, NO_INFLATER, NULL, &err), &err);
	EXPECT_OK(cf_write_file_atomic(path, (struct cf_view)CF_VIEW_LIT("x"), 0600, &err), &err);
	int r = layer_merge_store(a.store, ids, 2, false, &merged, &err);
	if (r != -(int)want || (text && !strstr(err.msg, text)))
		fail_msg("merge %u: %d %s", trick, r, err.msg);
	EXPECT(!merged);
	EXPECT_INT(files_in(a.store), 2);
	unlink(path);
	attempt_fini(&a);
}

CF_TEST(worker_compromised_merge_reaches_and_publishes_nothing)
{
	for (unsigned i = 0; i < CF_ARRAY_LEN(forbidden); i++)
		expect_merge_caught(i, CF_PERMISSION_DENIED, "sandbox");
	expect_merge_caught(TRICK_NO_IMAGE, CF_INTERNAL, "cannot be");
	expect_merge_caught(TRICK_NONSENSE, CF_INTERNAL, "nonsense");
	expect_merge_caught(TRICK_VANISH, CF_INTERNAL, "ended");
	expect_merge_caught(TRICK_OTHER_IMAGE, CF_INVALID_ARGUMENT, "held");
}
