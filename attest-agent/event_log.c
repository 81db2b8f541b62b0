/* SPDX-License-Identifier: Apache-2.0 */
#include "attest-agent/event_log.h"

#include "base/fd.h"
#include "base/str.h"
#include "proto/tcg_log.h"

#include <errno.h>
#include <unistd.h>

#define TAG_ID     0x4141454cu /* "AAEL" */
#define NOTE_MAGIC "coffer-wal-1\n"

struct event_log {
	const struct attester *attester;
	char *records;
	char *note;
	int fd;
};

/* What the note says. */
struct note {
	uint64_t offset; /* of the record in the file */
	uint64_t reg;
	uint8_t expected[32];
	char *text;
};

void event_log_blob(const char *text, struct cf_buf *ret)
{
	cf_buf_add_u32le(ret, TAG_ID);
	cf_buf_add_u32le(ret, (uint32_t)strlen(text));
	cf_buf_add_str(ret, text);
}

static void event_digest(const char *text, uint8_t out[32])
{
	struct cf_buf blob = { 0 };

	event_log_blob(text, &blob);
	cf_sha256(cf_buf_view(&blob), out);
	cf_buf_fini(&blob);
}

static void extended(const uint8_t before[32], const uint8_t digest[32], uint8_t after[32])
{
	uint8_t both[64];

	memcpy(both, before, 32);
	memcpy(both + 32, digest, 32);
	cf_sha256(cf_view(both, sizeof(both)), after);
}

/* ---- note ---- */

static int note_write(const struct event_log *log, const struct note *n, struct cf_err *err)
{
	struct cf_buf b = { 0 };
	int r;

	cf_buf_add_str(&b, NOTE_MAGIC);
	cf_buf_add_u64be(&b, n->offset);
	cf_buf_add_u64be(&b, n->reg);
	cf_buf_add(&b, n->expected, sizeof(n->expected));
	cf_buf_add_str(&b, n->text);
	r = cf_write_file_atomic(log->note, cf_buf_view(&b), 0600, err);
	cf_buf_fini(&b);
	return r;
}

static int note_parse(struct cf_view in, struct note *ret, struct cf_err *err)
{
	struct cf_rd rd = { .in = in };
	struct cf_view magic = cf_rd_bytes(&rd, strlen(NOTE_MAGIC));
	struct cf_view expected, text;

	ret->offset = cf_rd_u64be(&rd);
	ret->reg = cf_rd_u64be(&rd);
	expected = cf_rd_bytes(&rd, sizeof(ret->expected));
	text = cf_rd_bytes(&rd, cf_rd_left(&rd));
	if (rd.bad || !cf_view_eq_str(magic, NOTE_MAGIC) || cf_view_has_nul(text))
		return cf_fail(err, CF_DATA_LOSS, "event log: its write-ahead note is damaged");
	memcpy(ret->expected, expected.data, sizeof(ret->expected));
	ret->text = cf_view_dup(text);
	return 0;
}

static int note_drop(const struct event_log *log, struct cf_err *err)
{
	if (unlink(log->note) < 0 && errno != ENOENT)
		return cf_fail_errno(err, errno, "event log: %s", log->note);
	return 0;
}

/* ---- records ---- */

static int append_record(const struct event_log *log, const struct note *n, struct cf_err *err)
{
	struct cf_buf rec = { 0 }, blob = { 0 };
	uint8_t digest[32];
	int r;

	event_digest(n->text, digest);
	event_log_blob(n->text, &blob);
	cf_buf_add_u32le(&rec, (uint32_t)n->reg);
	cf_buf_add_u32le(&rec, TCG_EV_EVENT_TAG);
	cf_buf_add_u32le(&rec, 1);
	cf_buf_add_u16le(&rec, TCG_SHA256);
	cf_buf_add(&rec, digest, sizeof(digest));
	cf_buf_add_u32le(&rec, (uint32_t)blob.size);
	cf_buf_add_view(&rec, cf_buf_view(&blob));
	/* Whatever a crash left behind the record's place is half a record. */
	if (ftruncate(log->fd, (off_t)n->offset) < 0)
		r = cf_fail_errno(err, errno, "event log");
	else
		r = cf_pwrite_full(log->fd, rec.data, rec.size, (off_t)n->offset, err);
	if (r == 0 && fdatasync(log->fd) < 0)
		r = cf_fail_errno(err, errno, "event log");
	cf_buf_fini(&rec);
	cf_buf_fini(&blob);
	return r;
}

/* ---- crash repair ---- */

static int redo(const struct event_log *log, const struct note *n, struct cf_err *err)
{
	const struct attester *a = log->attester;
	uint8_t now[32], digest[32], next[32];
	int r = a->ops->read_register(a->self, n->reg, now, err);

	if (r < 0)
		return r;
	event_digest(n->text, digest);
	extended(now, digest, next);
	if (memcmp(now, n->expected, sizeof(now)) != 0) {
		if (memcmp(next, n->expected, sizeof(next)) != 0)
			return cf_fail(err, CF_DATA_LOSS,
			               "event log: register %llu fits neither before nor after the "
			               "event that was being measured",
			               (unsigned long long)n->reg);
		r = a->ops->extend(a->self, n->reg, digest, err);
	}
	if (r == 0)
		r = append_record(log, n, err);
	return r < 0 ? r : note_drop(log, err);
}

static int repair(const struct event_log *log, struct cf_err *err)
{
	struct cf_buf text = { 0 };
	struct note n = { 0 };
	int r = cf_read_file(log->note, EVENT_TEXT_MAX + 256, &text, err);

	if (r == -CF_NOT_FOUND) {
		cf_buf_fini(&text);
		return 0;
	}
	if (r == 0)
		r = note_parse(cf_buf_view(&text), &n, err);
	if (r == 0)
		r = redo(log, &n, err);
	free(n.text);
	cf_buf_fini(&text);
	return r;
}

int event_log_open(const char *dir, const struct attester *attester, struct event_log **ret,
                   struct cf_err *err)
{
	cf_cleanup(event_log_freep) struct event_log *log = cf_zalloc(sizeof(*log));
	int r = cf_mkdir_p(dir, 0700, err);

	log->attester = attester;
	log->fd = -1;
	if (r < 0)
		return cf_wrap(err, r, "event log");
	log->records = cf_asprintf("%s/eventlog", dir);
	log->note = cf_asprintf("%s/.wal_event_entry", dir);
	log->fd = open(log->records, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (log->fd < 0)
		return cf_fail_errno(err, errno, "event log: %s", log->records);
	r = attester->ops->extend ? repair(log, err) : 0;
	if (r < 0)
		return r;
	*ret = cf_take(&log);
	return 0;
}

struct event_log *event_log_free(struct event_log *log)
{
	if (!log)
		return NULL;
	cf_close(&log->fd);
	free(log->records);
	free(log->note);
	free(log);
	return NULL;
}

const char *event_log_path(const struct event_log *log)
{
	return log->records;
}

/* ---- adding ---- */

/* The reader splits at the first two blanks; a line end would forge an entry in text logs. */
static int check_words(const char *domain, const char *operation, const char *content,
                       struct cf_err *err)
{
	if (!*domain || !*operation || strpbrk(domain, " \n\r") || strpbrk(operation, " \n\r") ||
	    strpbrk(content, "\n\r"))
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "event: domain and operation are single words, content one line");
	if (strlen(domain) + strlen(operation) + strlen(content) + 2 > EVENT_TEXT_MAX)
		return cf_fail(err, CF_INVALID_ARGUMENT, "event: over %u bytes", EVENT_TEXT_MAX);
	return 0;
}

static int measure(struct event_log *log, struct note *n, struct cf_err *err)
{
	const struct attester *a = log->attester;
	uint8_t before[32], digest[32], after[32];
	off_t end = lseek(log->fd, 0, SEEK_END);
	int r = a->ops->read_register(a->self, n->reg, before, err);

	if (r < 0)
		return r;
	if (end < 0)
		return cf_fail_errno(err, errno, "event log");
	n->offset = (uint64_t)end;
	event_digest(n->text, digest);
	extended(before, digest, n->expected);
	r = note_write(log, n, err);
	if (r == 0) {
		r = a->ops->extend(a->self, n->reg, digest, err);
		if (r < 0) {
			/* Nothing was extended: the note would only confuse the next start. */
			unlink(log->note);
			return r;
		}
	}
	if (r == 0)
		r = a->ops->read_register(a->self, n->reg, after, err);
	if (r == 0 && memcmp(after, n->expected, sizeof(after)) != 0)
		r = cf_fail(err, CF_ABORTED, "event log: register %llu changed by another hand",
		            (unsigned long long)n->reg);
	if (r == 0)
		r = append_record(log, n, err);
	return r < 0 ? r : note_drop(log, err);
}

int event_log_add(struct event_log *log, uint64_t reg, const char *domain, const char *operation,
                  const char *content, struct cf_err *err)
{
	struct note n = { .reg = reg };
	int r = check_words(domain, operation, content, err);

	if (r < 0)
		return r;
	if (!log->attester->ops->extend)
		return cf_fail(err, CF_UNIMPLEMENTED, "TEE %s has no runtime registers",
		               log->attester->ops->tee);
	n.text = cf_asprintf("%s %s %s", domain, operation, content);
	r = measure(log, &n, err);
	free(n.text);
	return r;
}
