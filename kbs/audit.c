/* SPDX-License-Identifier: Apache-2.0 */
#include "kbs/audit.h"

#include "base/crypto.h"
#include "base/json.h"

#include <stdio.h>
#include <time.h>

/* What the first line names as the line before it. */
#define AUDIT_GENESIS "0000000000000000000000000000000000000000000000000000000000000000"

void audit_time(char out[32])
{
	time_t now = time(NULL);
	struct tm tm;

	gmtime_r(&now, &tm);
	strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

static void line_hash(struct cf_view line, char out[65])
{
	uint8_t sum[32];

	cf_sha256(line, sum);
	cf_hex_encode(cf_view(sum, sizeof(sum)), out);
}

static int last(struct cf_db_tx *tx, int64_t *seq, char hash[65], struct cf_err *err)
{
	cf_cleanup(cf_db_rows_fini) struct cf_db_rows rows = { 0 };
	int r = cf_db_query(tx, &rows, err,
	                    "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1");

	*seq = 0;
	snprintf(hash, 65, "%s", AUDIT_GENESIS);
	if (r == 0)
		r = cf_db_next(&rows, err);
	if (r == CF_DB_ROW) {
		struct cf_view h = cf_db_col_view(&rows, 1);

		*seq = cf_db_col_int(&rows, 0);
		snprintf(hash, 65, "%.*s", (int)CF_MIN(h.size, (size_t)64), (const char *)h.data);
		return 0;
	}
	return r;
}

static void opt(struct cf_jw *w, const char *key, const char *value)
{
	if (value)
		cf_jw_kstr(w, key, value);
}

int audit_append(struct cf_db_tx *tx, const struct audit_line *l, struct cf_err *err)
{
	cf_cleanup(cf_buf_fini) struct cf_buf line = { 0 };
	struct cf_jw w = { .out = &line };
	char prev[65], hash[65], now[32];
	int64_t seq;
	int r = last(tx, &seq, prev, err);

	if (r < 0)
		return r;
	audit_time(now);
	cf_jw_obj(&w);
	cf_jw_kint(&w, "seq", seq + 1);
	cf_jw_kstr(&w, "time", now);
	cf_jw_kstr(&w, "prev", prev);
	opt(&w, "actor", l->actor);
	opt(&w, "peer", l->peer);
	opt(&w, "action", l->action);
	opt(&w, "object", l->object);
	opt(&w, "result", l->result);
	opt(&w, "note", l->note);
	opt(&w, "ref", l->ref);
	cf_jw_end_obj(&w);
	r = cf_buf_check(&line, "audit line", err);
	if (r < 0)
		return r;
	line_hash(cf_buf_view(&line), hash);
	return cf_db_exec(tx, err, "INSERT INTO audit(seq, line, hash) VALUES(?, ?, ?)",
	                  CF_DB_INT(seq + 1), CF_DB_TEXT_VIEW(cf_buf_view(&line)),
	                  CF_DB_TEXT(hash));
}

/* Does this row follow the one before? The hash column is a convenience and is not believed. */
static int check_row(const struct cf_db_rows *rows, int64_t want_seq, char prev[65],
                     struct cf_err *err)
{
	struct cf_view line = cf_db_col_view(rows, 1);
	cf_cleanup(cf_json_freep) struct cf_json *doc = NULL;
	int64_t seq = cf_db_col_int(rows, 0);
	struct cf_err cause;

	if (seq != want_seq)
		return cf_fail(err, CF_DATA_LOSS, "audit line %lld is missing",
		               (long long)want_seq);
	if (cf_json_parse(line, 0, &doc, &cause) < 0)
		return cf_fail(err, CF_DATA_LOSS, "audit line %lld: %s", (long long)seq, cause.msg);
	if (cf_json_int(cf_json_get(doc, "seq")) != seq ||
	    !cf_view_eq_str(cf_json_str(cf_json_get(doc, "prev")), prev))
		return cf_fail(err, CF_DATA_LOSS,
		               "audit line %lld does not follow the line before it: one of the two "
		               "was changed",
		               (long long)seq);
	line_hash(line, prev);
	if (!cf_view_eq_str(cf_db_col_view(rows, 2), prev))
		return cf_fail(err, CF_DATA_LOSS, "audit line %lld was changed", (long long)seq);
	return 0;
}

int audit_verify(struct cf_db_tx *tx, const char *known_head, int64_t *ret_count, char ret_head[65],
                 struct cf_err *err)
{
	cf_cleanup(cf_db_rows_fini) struct cf_db_rows rows = { 0 };
	bool seen = !known_head;
	int64_t count = 0;
	int r = cf_db_query(tx, &rows, err, "SELECT seq, line, hash FROM audit ORDER BY seq");

	snprintf(ret_head, 65, "%s", AUDIT_GENESIS);
	while (r == 0 && (r = cf_db_next(&rows, err)) == CF_DB_ROW) {
		r = check_row(&rows, ++count, ret_head, err);
		seen = seen || !strcmp(ret_head, known_head);
	}
	if (r < 0)
		return r;
	if (!seen)
		return cf_fail(
			err, CF_DATA_LOSS,
			"the audit log does not hold the line with SHA-256 %.64s: it was cut off "
			"or written anew",
			known_head);
	*ret_count = count;
	return 0;
}

int audit_export(struct cf_db_tx *tx, int64_t from_seq, size_t max, struct cf_buf *ret,
                 struct cf_err *err)
{
	cf_cleanup(cf_db_rows_fini) struct cf_db_rows rows = { 0 };
	int r = cf_db_query(tx, &rows, err,
	                    "SELECT line FROM audit WHERE seq >= ? ORDER BY seq LIMIT ?",
	                    CF_DB_INT(from_seq), CF_DB_INT((int64_t)max));

	while (r == 0 && (r = cf_db_next(&rows, err)) == CF_DB_ROW) {
		cf_buf_add_view(ret, cf_db_col_view(&rows, 0));
		cf_buf_add_byte(ret, '\n');
		r = 0;
	}
	return r < 0 ? r : cf_buf_check(ret, "audit log", err);
}
