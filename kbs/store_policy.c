/* SPDX-License-Identifier: Apache-2.0 */
#include "base/crypto.h"
#include "kbs/audit.h"
#include "kbs/store_tx.h"

#define ID_MAX 64u

static const char *const kind_names[] = { "resource", "attestation" };

const char *store_policy_kind_name(enum store_policy_kind kind)
{
	return kind_names[kind];
}

int store_policy_kind_parse(struct cf_view text, enum store_policy_kind *ret, struct cf_err *err)
{
	for (size_t i = 0; i < CF_ARRAY_LEN(kind_names); i++) {
		if (!cf_view_eq_str(text, kind_names[i]))
			continue;
		*ret = (enum store_policy_kind)i;
		return 0;
	}
	return cf_fail(err, CF_NOT_FOUND, "a policy is resource/ID or attestation/ID");
}

static bool is_word(uint8_t c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
	       c == '_' || c == '-';
}

int store_policy_id_check(struct cf_view id, struct cf_err *err)
{
	bool ok = id.size > 0 && id.size <= ID_MAX;

	for (size_t i = 0; ok && i < id.size; i++)
		ok = is_word(id.data[i]) || (id.data[i] == '.' && i > 0);
	return ok ? 0
	          : cf_fail(err, CF_INVALID_ARGUMENT,
	                    "a policy's id is 1 to %u letters, digits, '_', '-' and (not first) "
	                    "'.'",
	                    ID_MAX);
}

/* ---- changing ---- */

struct change {
	const struct store_actor *who;
	enum store_policy_kind kind;
	const char *id;
	struct cf_view text; /* .data NULL: removed */
	int64_t version;
};

/* The version before this change, whether it had a text, and how many there are. */
static int look(struct cf_db_tx *tx, const struct change *c, int64_t *version, bool *has_text,
                int64_t *count, struct cf_err *err)
{
	cf_cleanup(cf_db_rows_fini) struct cf_db_rows rows = { 0 }, all = { 0 };
	int r = cf_db_query(
		tx, &rows, err,
		"SELECT version, text IS NOT NULL FROM policy WHERE kind = ? AND id = ?",
		CF_DB_TEXT(kind_names[c->kind]), CF_DB_TEXT(c->id));

	*version = *count = 0;
	*has_text = false;
	if (r == 0)
		r = cf_db_next(&rows, err);
	if (r == CF_DB_ROW) {
		*version = cf_db_col_int(&rows, 0);
		*has_text = cf_db_col_int(&rows, 1) != 0;
	}
	if (r >= 0)
		r = cf_db_query(tx, &all, err,
		                "SELECT count(*) FROM policy WHERE text IS NOT NULL");
	if (r == 0)
		r = cf_db_next(&all, err);
	if (r == CF_DB_ROW)
		*count = cf_db_col_int(&all, 0);
	return r < 0 ? r : 0;
}

static int write_change(struct cf_db_tx *tx, const struct change *c, struct cf_err *err)
{
	char now[32];

	audit_time(now);
	return cf_db_exec(tx, err,
	                  "INSERT OR REPLACE INTO policy(kind, id, version, epoch, text, time) "
	                  "VALUES(?, ?, ?, (SELECT coalesce(max(epoch), 0) + 1 FROM policy), ?, ?)",
	                  CF_DB_TEXT(kind_names[c->kind]), CF_DB_TEXT(c->id), CF_DB_INT(c->version),
	                  c->text.data ? CF_DB_TEXT_VIEW(c->text) : CF_DB_NULL, CF_DB_TEXT(now));
}

static int do_change(struct cf_db_tx *tx, void *user, struct cf_err *err)
{
	struct change *c = user;
	cf_cleanup(cf_freep) char *object = cf_asprintf("%s/%s", kind_names[c->kind], c->id);
	cf_cleanup(cf_freep) char *note = NULL, *hex = NULL;
	uint8_t sum[32];
	int64_t before, count;
	bool has_text;
	int r = look(tx, c, &before, &has_text, &count, err);

	if (r < 0)
		return r;
	if (!c->text.data && !has_text)
		return cf_fail(err, CF_NOT_FOUND, "no policy %s", object);
	if (before == 0 && count >= STORE_POLICIES_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "over %u policies", STORE_POLICIES_MAX);
	c->version = before + 1;
	r = write_change(tx, c, err);
	if (r < 0)
		return r;
	cf_sha256(c->text, sum);
	hex = cf_hex_dup(cf_view(sum, sizeof(sum)));
	note = c->text.data ? cf_asprintf("version %lld, sha256:%s", (long long)c->version, hex)
	                    : NULL;
	return store_audit_by(tx, c->who, c->text.data ? "policy-put" : "policy-delete", object,
	                      "ok", note, err);
}

int store_policy_put(struct store *s, const struct store_actor *who, enum store_policy_kind kind,
                     const char *id, struct cf_view text, int64_t *ret_version, struct cf_err *err)
{
	struct change c = { .who = who, .kind = kind, .id = id, .text = text };
	int r = store_policy_id_check(cf_view_str(id), err);

	if (r == 0 && (text.size == 0 || text.size > STORE_POLICY_MAX))
		r = cf_fail(err, text.size ? CF_RESOURCE_EXHAUSTED : CF_INVALID_ARGUMENT,
		            "a policy of %zu bytes; at most %u", text.size, STORE_POLICY_MAX);
	if (r == 0)
		r = cf_db_write(store_db(s), do_change, &c, err);
	if (r == 0)
		*ret_version = c.version;
	return r;
}

int store_policy_delete(struct store *s, const struct store_actor *who, enum store_policy_kind kind,
                        const char *id, struct cf_err *err)
{
	struct change c = { .who = who, .kind = kind, .id = id };

	return cf_db_write(store_db(s), do_change, &c, err);
}

/* ---- reading ---- */

struct all {
	int (*each)(void *user, const struct store_policy *p, struct cf_err *err);
	void *user;
	int64_t epoch;
};

static int read_epoch(struct cf_db_tx *tx, void *user, struct cf_err *err)
{
	cf_cleanup(cf_db_rows_fini) struct cf_db_rows rows = { 0 };
	int64_t *ret = user;
	int r = cf_db_query(tx, &rows, err, "SELECT coalesce(max(epoch), 0) FROM policy");

	if (r == 0)
		r = cf_db_next(&rows, err);
	*ret = r == CF_DB_ROW ? cf_db_col_int(&rows, 0) : 0;
	return r < 0 ? r : 0;
}

static int do_all(struct cf_db_tx *tx, void *user, struct cf_err *err)
{
	cf_cleanup(cf_db_rows_fini) struct cf_db_rows rows = { 0 };
	struct all *a = user;
	int r = read_epoch(tx, &a->epoch, err);

	if (r == 0)
		r = cf_db_query(tx, &rows, err,
		                "SELECT kind, id, version, text, time FROM policy "
		                "WHERE text IS NOT NULL ORDER BY kind, id");
	while (r == 0 && (r = cf_db_next(&rows, err)) == CF_DB_ROW) {
		struct store_policy p = { .id = cf_db_col_view(&rows, 1),
			                  .version = cf_db_col_int(&rows, 2),
			                  .text = cf_db_col_view(&rows, 3),
			                  .time = cf_db_col_view(&rows, 4) };

		r = store_policy_kind_parse(cf_db_col_view(&rows, 0), &p.kind, err);
		if (r == 0)
			r = a->each(a->user, &p, err);
	}
	return r;
}

int store_policy_all(struct store *s, int64_t *ret_epoch,
                     int (*each)(void *user, const struct store_policy *p, struct cf_err *err),
                     void *user, struct cf_err *err)
{
	struct all a = { .each = each, .user = user };
	int r = cf_db_read(store_db(s), do_all, &a, err);

	if (r == 0)
		*ret_epoch = a.epoch;
	return r;
}

int store_policy_epoch(struct store *s, int64_t *ret, struct cf_err *err)
{
	return cf_db_read(store_db(s), read_epoch, ret, err);
}
