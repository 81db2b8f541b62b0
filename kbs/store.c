/* SPDX-License-Identifier: Apache-2.0 */
#include "kbs/store.h"

#include "base/crypto.h"
#include "base/fd.h"
#include "kbs/audit.h"
#include "kbs/store_tx.h"

#include <sys/stat.h>
#include <time.h>

#define KEY_SIZE         32u
#define IV_SIZE          12u
#define TAG_SIZE         16u
#define REFERENCE_LIFE_S (365LL * 24 * 60 * 60)
#define DENIALS_KEPT     10000
#define DIGEST_TEXT_SIZE 71u /* "sha256:" and 64 digits */

struct store {
	struct cf_db *db;
	struct cf_secret *key;
};

static const char *const migrations[] = {
	"CREATE TABLE resource(path TEXT NOT NULL, version INTEGER NOT NULL, sealed BLOB NOT NULL,"
	" size INTEGER NOT NULL, time TEXT NOT NULL, deleted INTEGER NOT NULL DEFAULT 0,"
	" PRIMARY KEY(path, version)) WITHOUT ROWID;"
	"CREATE TABLE release_rule(path TEXT NOT NULL, initdata TEXT NOT NULL,"
	" PRIMARY KEY(path, initdata)) WITHOUT ROWID;"
	"CREATE TABLE reference(id TEXT PRIMARY KEY, version INTEGER NOT NULL, value TEXT NOT NULL,"
	" expires INTEGER NOT NULL, reason TEXT) WITHOUT ROWID;"
	"CREATE TABLE tpm_root(sha256 TEXT PRIMARY KEY, row TEXT NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE denial(id INTEGER PRIMARY KEY, ref TEXT UNIQUE NOT NULL, record TEXT NOT "
	"NULL);"
	"CREATE TABLE audit(seq INTEGER PRIMARY KEY, line TEXT NOT NULL, hash TEXT NOT NULL);",
	/* A removed policy keeps its row, without text: versions and epochs never go back. */
	"CREATE TABLE policy(kind TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL,"
	" epoch INTEGER NOT NULL, text TEXT, time TEXT NOT NULL, PRIMARY KEY(kind, id))"
	" WITHOUT ROWID;",
};

static int open_key(const char *dir, struct cf_secret **ret, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/storage.key", dir);
	uint8_t fresh[KEY_SIZE];
	struct stat st;
	int r;

	if (stat(path, &st) < 0) {
		cf_random(fresh, sizeof(fresh));
		r = cf_write_file_atomic(path, cf_view(fresh, sizeof(fresh)), 0600, err);
		explicit_bzero(fresh, sizeof(fresh));
		if (r < 0)
			return r;
	}
	r = cf_secret_read_file(path, ret, err);
	if (r == 0 && cf_secret_view(*ret).size != KEY_SIZE)
		return cf_fail(err, CF_DATA_LOSS, "%s: not a key of %u bytes", path, KEY_SIZE);
	return r;
}

int store_open(const char *dir, struct store **ret, struct cf_err *err)
{
	cf_cleanup(store_closep) struct store *s = cf_zalloc(sizeof(*s));
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/kbs.db", dir);
	struct cf_db_opts opts = { .path = path,
		                   .migrations = migrations,
		                   .migration_count = CF_ARRAY_LEN(migrations) };
	int r = open_key(dir, &s->key, err);

	if (r == 0)
		r = cf_db_open(&opts, &s->db, err);
	if (r < 0)
		return cf_wrap(err, r, "store %s", dir);
	*ret = cf_take(&s);
	return 0;
}

struct store *store_close(struct store *s)
{
	if (s) {
		cf_db_close(s->db);
		cf_secret_free(s->key);
	}
	free(s);
	return NULL;
}

struct cf_db *store_db(struct store *s)
{
	return s->db;
}

/* ---- names ---- */

static bool is_word(uint8_t c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
	       c == '_' || c == '-';
}

int store_path_check(struct cf_view path, struct cf_err *err)
{
	size_t parts = 1, at = 0;
	bool ok = path.size > 0 && path.size <= STORE_PATH_MAX;

	for (size_t i = 0; ok && i < path.size; i++) {
		uint8_t c = path.data[i];

		if (c == '/') {
			parts++;
			ok = i > at;
			at = i + 1;
		} else {
			ok = is_word(c) || (c == '.' && i > at);
		}
	}
	if (!ok || parts != 3 || at == path.size)
		return cf_fail(
			err, CF_INVALID_ARGUMENT,
			"a resource path is repository/type/tag, of letters, digits, '_', '-' "
			"and (not first) '.'");
	return 0;
}

int store_initdata_check(struct cf_view digest, struct cf_err *err)
{
	uint8_t sum[32];

	if (cf_view_eq_str(digest, STORE_ANY_INITDATA) || cf_view_eq_str(digest, "none"))
		return 0;
	if (digest.size == DIGEST_TEXT_SIZE && cf_view_starts_with(digest, "sha256:") &&
	    cf_hex_decode(cf_view_sub(digest, 7, 64), sum, 32, NULL) == 0)
		return 0;
	return cf_fail(err, CF_INVALID_ARGUMENT,
	               "an initdata digest is sha256: and 64 hex digits, or \"none\", or \"any\"");
}

/* ---- sealing ---- */

static char *seal_label(const char *path, int64_t version)
{
	return cf_asprintf("coffer resource %s %lld", path, (long long)version);
}

static int seal(const struct store *s, const char *path, int64_t version, struct cf_view plain,
                struct cf_buf *ret, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *label = seal_label(path, version);
	uint8_t iv[IV_SIZE], tag[TAG_SIZE];
	int r;

	cf_random(iv, sizeof(iv));
	cf_buf_add(ret, iv, sizeof(iv));
	r = cf_aes_gcm_seal(cf_secret_view(s->key), cf_view(iv, sizeof(iv)), cf_view_str(label),
	                    plain, ret, tag, err);
	cf_buf_add(ret, tag, sizeof(tag));
	return r < 0 ? r : cf_buf_check(ret, "resource", err);
}

static int unseal(const struct store *s, const char *path, int64_t version, struct cf_view sealed,
                  struct cf_secret **ret, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *label = seal_label(path, version);
	cf_cleanup(cf_buf_wipe) struct cf_buf plain = { .max = STORE_RESOURCE_MAX };
	size_t body;
	int r;

	if (sealed.size < IV_SIZE + TAG_SIZE)
		return cf_fail(err, CF_DATA_LOSS, "resource %s: too short", path);
	body = sealed.size - IV_SIZE - TAG_SIZE;
	r = cf_aes_gcm_open(cf_secret_view(s->key), cf_view_sub(sealed, 0, IV_SIZE),
	                    cf_view_str(label), cf_view_sub(sealed, IV_SIZE, body),
	                    cf_view_sub(sealed, IV_SIZE + body, TAG_SIZE), &plain, err);
	if (r < 0)
		return cf_wrap(err, r, "resource %s", path);
	return cf_secret_take_buf(&plain, ret, err);
}

/* ---- resources ---- */

struct put {
	struct store *s;
	const struct store_actor *who;
	const char *path;
	struct cf_view value;
	const char *const *initdata;
	size_t count;
	int64_t version;
};

static int one_int(struct cf_db_tx *tx, const char *sql, const char *arg, int64_t *ret,
                   struct cf_err *err)
{
	cf_cleanup(cf_db_rows_fini) struct cf_db_rows rows = { 0 };
	int r = cf_db_query(tx, &rows, err, sql, CF_DB_TEXT(arg));

	*ret = 0;
	if (r == 0)
		r = cf_db_next(&rows, err);
	if (r == CF_DB_ROW)
		*ret = cf_db_col_int(&rows, 0);
	return r < 0 ? r : 0;
}

int store_audit_by(struct cf_db_tx *tx, const struct store_actor *who, const char *action,
                   const char *object, const char *result, const char *note, struct cf_err *err)
{
	const struct audit_line line = { .actor = who->name,
		                         .peer = who->peer,
		                         .action = action,
		                         .object = object,
		                         .result = result,
		                         .note = note };

	return audit_append(tx, &line, err);
}

static int put_rules(struct cf_db_tx *tx, const struct put *p, struct cf_err *err)
{
	int r;

	if (p->count == 0)
		return 0;
	r = cf_db_exec(tx, err, "DELETE FROM release_rule WHERE path = ?", CF_DB_TEXT(p->path));
	for (size_t i = 0; r == 0 && i < p->count; i++)
		r = cf_db_exec(tx, err,
		               "INSERT OR IGNORE INTO release_rule(path, initdata) VALUES(?, ?)",
		               CF_DB_TEXT(p->path), CF_DB_TEXT(p->initdata[i]));
	return r;
}

static int do_put(struct cf_db_tx *tx, void *user, struct cf_err *err)
{
	struct put *p = user;
	cf_cleanup(cf_buf_fini) struct cf_buf sealed = { .max = STORE_RESOURCE_MAX + 64 };
	cf_cleanup(cf_freep) char *note = NULL;
	char now[32];
	int r = one_int(tx, "SELECT max(version) FROM resource WHERE path = ?", p->path,
	                &p->version, err);

	p->version++;
	audit_time(now);
	if (r == 0)
		r = seal(p->s, p->path, p->version, p->value, &sealed, err);
	if (r == 0)
		r = cf_db_exec(tx, err,
		               "INSERT INTO resource(path, version, sealed, size, time) "
		               "VALUES(?, ?, ?, ?, ?)",
		               CF_DB_TEXT(p->path), CF_DB_INT(p->version),
		               CF_DB_BLOB(cf_buf_view(&sealed)), CF_DB_INT((int64_t)p->value.size),
		               CF_DB_TEXT(now));
	if (r == 0)
		r = put_rules(tx, p, err);
	note = cf_asprintf("version %lld, %zu initdata digests", (long long)p->version, p->count);
	return r < 0 ? r : store_audit_by(tx, p->who, "resource-put", p->path, "ok", note, err);
}

int store_resource_put(struct store *s, const struct store_actor *who, const char *path,
                       struct cf_view value, const char *const *initdata, size_t count,
                       int64_t *ret_version, struct cf_err *err)
{
	struct put p = { .s = s,
		         .who = who,
		         .path = path,
		         .value = value,
		         .initdata = initdata,
		         .count = count };
	int r = store_path_check(cf_view_str(path), err);

	if (r == 0 && (value.size > STORE_RESOURCE_MAX || count > STORE_RULES_MAX))
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "resource of %zu bytes, %zu digests",
		               value.size, count);
	for (size_t i = 0; r == 0 && i < count; i++)
		r = store_initdata_check(cf_view_str(initdata[i]), err);
	if (r == 0)
		r = cf_db_write(s->db, do_put, &p, err);
	if (r == 0)
		*ret_version = p.version;
	return r;
}

struct named {
	const struct store_actor *who;
	const char *name;
};

static int do_delete(struct cf_db_tx *tx, void *user, struct cf_err *err)
{
	const struct named *n = user;
	int r = cf_db_exec(tx, err, "DELETE FROM resource WHERE path = ?", CF_DB_TEXT(n->name));

	if (r == 0 && cf_db_changes(tx) == 0)
		return cf_fail(err, CF_NOT_FOUND, "no resource %s", n->name);
	if (r == 0)
		r = cf_db_exec(tx, err, "DELETE FROM release_rule WHERE path = ?",
		               CF_DB_TEXT(n->name));
	return r < 0 ? r : store_audit_by(tx, n->who, "resource-delete", n->name, "ok", NULL, err);
}

int store_resource_delete(struct store *s, const struct store_actor *who, const char *path,
                          struct cf_err *err)
{
	struct named n = { who, path };

	return cf_db_write(s->db, do_delete, &n, err);
}

static int rules_of(struct cf_db_tx *tx, const char *path, struct cf_strv *ret, struct cf_err *err)
{
	cf_cleanup(cf_db_rows_fini) struct cf_db_rows rows = { 0 };
	int r = cf_db_query(tx, &rows, err,
	                    "SELECT initdata FROM release_rule WHERE path = ? ORDER BY initdata",
	                    CF_DB_TEXT(path));

	while (r == 0 && (r = cf_db_next(&rows, err)) == CF_DB_ROW) {
		cf_strv_add_take(ret, cf_db_col_dup(&rows, 0));
		r = 0;
	}
	return r;
}

static int print_row(struct cf_db_tx *tx, const struct cf_db_rows *rows, struct cf_jw *w,
                     struct cf_err *err)
{
	cf_cleanup(cf_freep) char *path = cf_db_col_dup(rows, 0);
	cf_cleanup(cf_strv_fini) struct cf_strv rules = { 0 };
	int r = rules_of(tx, path, &rules, err);

	cf_jw_obj(w);
	cf_jw_kstr(w, "path", path);
	cf_jw_kint(w, "version", cf_db_col_int(rows, 1));
	cf_jw_kint(w, "size", cf_db_col_int(rows, 2));
	cf_jw_kview(w, "time", cf_db_col_view(rows, 3));
	cf_jw_key(w, "initdata");
	cf_jw_arr(w);
	for (size_t i = 0; i < rules.count; i++)
		cf_jw_str(w, rules.items[i]);
	cf_jw_end_arr(w);
	cf_jw_end_obj(w);
	return r;
}

static int do_list(struct cf_db_tx *tx, void *user, struct cf_err *err)
{
	cf_cleanup(cf_db_rows_fini) struct cf_db_rows rows = { 0 };
	struct cf_jw w = { .out = user };
	int r = cf_db_query(tx, &rows, err,
	                    "SELECT path, max(version), size, time FROM resource GROUP BY path "
	                    "ORDER BY path");

	cf_jw_arr(&w);
	while (r == 0 && (r = cf_db_next(&rows, err)) == CF_DB_ROW)
		r = print_row(tx, &rows, &w, err);
	cf_jw_end_arr(&w);
	return r;
}

int store_resource_list(struct store *s, struct cf_buf *ret, struct cf_err *err)
{
	return cf_db_read(s->db, do_list, ret, err);
}

/* ---- release ---- */

struct release {
	struct store *s;
	const struct store_actor *who;
	const struct store_release *of;
	struct cf_secret *value;
	int decision; /* what is to be told to the guest; the transaction itself went well */
	struct cf_err refusal; /* of a decision < 0 */
};

static int newest(struct cf_db_tx *tx, struct release *rel, struct cf_err *err)
{
	const char *path = rel->of->path;
	cf_cleanup(cf_db_rows_fini) struct cf_db_rows rows = { 0 };
	int r = cf_db_query(tx, &rows, err,
	                    "SELECT version, sealed FROM resource WHERE path = ? "
	                    "ORDER BY version DESC LIMIT 1",
	                    CF_DB_TEXT(path));

	if (r == 0)
		r = cf_db_next(&rows, err);
	if (r == 0)
		return cf_fail(err, CF_NOT_FOUND, "no resource kbs:///%s", path);
	if (r < 0)
		return r;
	return unseal(rel->s, path, cf_db_col_int(&rows, 0), cf_db_col_view(&rows, 1), &rel->value,
	              err);
}

static int keep_record(struct cf_db_tx *tx, const char *ref, struct cf_view record,
                       struct cf_err *err)
{
	int r = cf_db_exec(tx, err, "INSERT OR REPLACE INTO denial(ref, record) VALUES(?, ?)",
	                   CF_DB_TEXT(ref), CF_DB_TEXT_VIEW(record));

	return r < 0 ? r
	             : cf_db_exec(tx, err,
	                          "DELETE FROM denial WHERE id <= (SELECT max(id) FROM denial) - ?",
	                          CF_DB_INT(DENIALS_KEPT));
}

static int note_release(struct cf_db_tx *tx, const struct release *rel, struct cf_err *err)
{
	const struct store_release *of = rel->of;
	bool is_recorded = rel->decision < 0 && of->ref && of->record.size;
	const struct audit_line line = { .actor = rel->who->name,
		                         .peer = rel->who->peer,
		                         .action = "resource-get",
		                         .object = of->path,
		                         .result = rel->decision == 0 ? "released" : "denied",
		                         .note = of->note,
		                         .ref = is_recorded ? of->ref : NULL };
	int r = is_recorded ? keep_record(tx, of->ref, of->record, err) : 0;

	return r < 0 ? r : audit_append(tx, &line, err);
}

static int do_release(struct cf_db_tx *tx, void *user, struct cf_err *err)
{
	struct release *rel = user;
	cf_cleanup(cf_strv_fini) struct cf_strv rules = { 0 };
	struct cf_err missing;
	int found = newest(tx, rel, &missing);
	int r = found < 0 && missing.code != CF_NOT_FOUND ? found : 0;

	if (r < 0) {
		*err = missing;
		return r;
	}
	if (found == 0)
		r = rules_of(tx, rel->of->path, &rules, err);
	if (r < 0)
		return r;
	rel->decision = rel->of->decide(rel->of->user, &rules, found < 0, &rel->refusal);
	if (found < 0 && rel->decision == 0) {
		rel->decision = found;
		rel->refusal = missing;
		return 0; /* nothing was released, nothing was refused */
	}
	return note_release(tx, rel, err);
}

int store_resource_release(struct store *s, const struct store_actor *who,
                           const struct store_release *release, struct cf_secret **ret,
                           struct cf_err *err)
{
	struct release rel = { .s = s, .who = who, .of = release };
	int r = cf_db_write(s->db, do_release, &rel, err);

	if (r == 0 && rel.decision < 0) {
		*err = rel.refusal;
		r = rel.decision;
	}
	if (r < 0) {
		cf_secret_free(rel.value);
		return r;
	}
	*ret = rel.value;
	return 0;
}

/* ---- reference values ---- */

struct references {
	const struct store_actor *who;
	const struct cf_json *values;
	const char *reason;
};

static int put_reference(struct cf_db_tx *tx, const char *id, const struct cf_json *value,
                         const struct references *p, struct cf_err *err)
{
	cf_cleanup(cf_buf_fini) struct cf_buf text = { .max = STORE_REFERENCE_MAX };
	int64_t version;
	int r = one_int(tx, "SELECT version FROM reference WHERE id = ?", id, &version, err);

	cf_json_print(value, &text);
	if (r == 0)
		r = cf_buf_check(&text, "reference value", err);
	if (r == 0)
		r = cf_db_exec(
			tx, err,
			"INSERT OR REPLACE INTO reference(id, version, value, expires, reason) "
			"VALUES(?, ?, ?, ?, ?)",
			CF_DB_TEXT(id), CF_DB_INT(version + 1), CF_DB_TEXT_VIEW(cf_buf_view(&text)),
			CF_DB_INT((int64_t)time(NULL) + REFERENCE_LIFE_S), CF_DB_TEXT(p->reason));
	return r < 0 ? r : store_audit_by(tx, p->who, "reference-put", id, "ok", p->reason, err);
}

static int do_put_references(struct cf_db_tx *tx, void *user, struct cf_err *err)
{
	const struct references *p = user;
	const struct cf_json *value;
	const char *id;
	void *it = NULL;
	int r = 0;

	while (r == 0 && cf_json_next(p->values, &it, &id, &value))
		r = put_reference(tx, id, value, p, err);
	return r;
}

int store_reference_put(struct store *s, const struct store_actor *who,
                        const struct cf_json *values, const char *reason, struct cf_err *err)
{
	struct references p = { who, values, reason };

	if (cf_json_type(values) != CF_JSON_OBJECT)
		return cf_fail(err, CF_INVALID_ARGUMENT, "reference values are an object of ids");
	return cf_db_write(s->db, do_put_references, &p, err);
}

static int do_delete_reference(struct cf_db_tx *tx, void *user, struct cf_err *err)
{
	const struct named *n = user;
	int r = cf_db_exec(tx, err, "DELETE FROM reference WHERE id = ?", CF_DB_TEXT(n->name));

	if (r == 0 && cf_db_changes(tx) == 0)
		return cf_fail(err, CF_NOT_FOUND, "no reference value %s", n->name);
	return r < 0 ? r : store_audit_by(tx, n->who, "reference-delete", n->name, "ok", NULL, err);
}

int store_reference_delete(struct store *s, const struct store_actor *who, const char *id,
                           struct cf_err *err)
{
	struct named n = { who, id };

	return cf_db_write(s->db, do_delete_reference, &n, err);
}

static int do_all_references(struct cf_db_tx *tx, void *user, struct cf_err *err)
{
	cf_cleanup(cf_db_rows_fini) struct cf_db_rows rows = { 0 };
	struct cf_jw w = { .out = user };
	int r = cf_db_query(tx, &rows, err,
	                    "SELECT id, value FROM reference WHERE expires > ? ORDER BY id",
	                    CF_DB_INT((int64_t)time(NULL)));

	cf_jw_obj(&w);
	while (r == 0 && (r = cf_db_next(&rows, err)) == CF_DB_ROW) {
		cf_cleanup(cf_freep) char *id = cf_db_col_dup(&rows, 0);

		cf_jw_key(&w, id);
		cf_jw_raw(&w, cf_db_col_view(&rows, 1));
		r = 0;
	}
	cf_jw_end_obj(&w);
	return r;
}

int store_reference_all(struct store *s, struct cf_buf *ret, struct cf_err *err)
{
	int r = cf_db_read(s->db, do_all_references, ret, err);

	return r < 0 ? r : cf_buf_check(ret, "reference values", err);
}

/* ---- TPM roots ---- */

struct root_row {
	const struct store_actor *who;
	const char *sha256;
	struct cf_view row;
};

static int do_put_root(struct cf_db_tx *tx, void *user, struct cf_err *err)
{
	const struct root_row *p = user;
	int r = cf_db_exec(tx, err, "INSERT OR REPLACE INTO tpm_root(sha256, row) VALUES(?, ?)",
	                   CF_DB_TEXT(p->sha256), CF_DB_TEXT_VIEW(p->row));

	return r < 0 ? r : store_audit_by(tx, p->who, "tpm-root-put", p->sha256, "ok", NULL, err);
}

int store_tpm_root_put(struct store *s, const struct store_actor *who, const char *sha256,
                       struct cf_view row, struct cf_err *err)
{
	struct root_row p = { who, sha256, row };

	return cf_db_write(s->db, do_put_root, &p, err);
}

static int do_delete_root(struct cf_db_tx *tx, void *user, struct cf_err *err)
{
	const struct named *n = user;
	int r = cf_db_exec(tx, err, "DELETE FROM tpm_root WHERE sha256 = ?", CF_DB_TEXT(n->name));

	if (r == 0 && cf_db_changes(tx) == 0)
		return cf_fail(err, CF_NOT_FOUND, "no TPM root %s", n->name);
	return r < 0 ? r : store_audit_by(tx, n->who, "tpm-root-delete", n->name, "ok", NULL, err);
}

int store_tpm_root_delete(struct store *s, const struct store_actor *who, const char *sha256,
                          struct cf_err *err)
{
	struct named n = { who, sha256 };

	return cf_db_write(s->db, do_delete_root, &n, err);
}

static int do_all_roots(struct cf_db_tx *tx, void *user, struct cf_err *err)
{
	cf_cleanup(cf_db_rows_fini) struct cf_db_rows rows = { 0 };
	struct cf_jw w = { .out = user };
	int r = cf_db_query(tx, &rows, err, "SELECT row FROM tpm_root ORDER BY sha256");

	cf_jw_arr(&w);
	while (r == 0 && (r = cf_db_next(&rows, err)) == CF_DB_ROW) {
		cf_jw_raw(&w, cf_db_col_view(&rows, 0));
		r = 0;
	}
	cf_jw_end_arr(&w);
	return r;
}

int store_tpm_root_all(struct store *s, struct cf_buf *ret, struct cf_err *err)
{
	int r = cf_db_read(s->db, do_all_roots, ret, err);

	return r < 0 ? r : cf_buf_check(ret, "TPM roots", err);
}

/* ---- verdicts ---- */

struct verdict_row {
	const struct store_actor *who;
	const char *tee, *result, *note, *ref;
	struct cf_view record;
};

static int do_attestation(struct cf_db_tx *tx, void *user, struct cf_err *err)
{
	const struct verdict_row *p = user;
	const struct audit_line line = { .actor = p->who->name,
		                         .peer = p->who->peer,
		                         .action = "attest",
		                         .object = p->tee,
		                         .result = p->result,
		                         .note = p->note,
		                         .ref = p->ref };
	int r = p->ref ? keep_record(tx, p->ref, p->record, err) : 0;

	return r < 0 ? r : audit_append(tx, &line, err);
}

int store_attestation(struct store *s, const struct store_actor *who, const char *tee,
                      const char *result, const char *note, const char *ref, struct cf_view record,
                      struct cf_err *err)
{
	struct verdict_row p = { who, tee, result, note, ref, record };

	return cf_db_write(s->db, do_attestation, &p, err);
}

struct wanted {
	const char *ref;
	struct cf_buf *ret;
};

static int do_denial(struct cf_db_tx *tx, void *user, struct cf_err *err)
{
	const struct wanted *p = user;
	cf_cleanup(cf_db_rows_fini) struct cf_db_rows rows = { 0 };
	int r = cf_db_query(tx, &rows, err, "SELECT record FROM denial WHERE ref = ?",
	                    CF_DB_TEXT(p->ref));

	if (r == 0)
		r = cf_db_next(&rows, err);
	if (r == 0)
		return cf_fail(err, CF_NOT_FOUND, "no denial and no session %s", p->ref);
	if (r < 0)
		return r;
	cf_buf_add_view(p->ret, cf_db_col_view(&rows, 0));
	return 0;
}

int store_denial_get(struct store *s, const char *ref, struct cf_buf *ret, struct cf_err *err)
{
	struct wanted p = { ref, ret };

	return cf_db_read(s->db, do_denial, &p, err);
}

/* ---- audit ---- */

struct audit_query {
	const char *known_head;
	int64_t from_seq;
	size_t max;
	struct cf_buf *out;
	struct store_audit_state *state;
};

static int do_export(struct cf_db_tx *tx, void *user, struct cf_err *err)
{
	const struct audit_query *q = user;

	return audit_export(tx, q->from_seq, q->max, q->out, err);
}

int store_audit_export(struct store *s, int64_t from_seq, size_t max, struct cf_buf *ret,
                       struct cf_err *err)
{
	struct audit_query q = { .from_seq = from_seq, .max = max, .out = ret };

	return cf_db_read(s->db, do_export, &q, err);
}

static int do_verify(struct cf_db_tx *tx, void *user, struct cf_err *err)
{
	const struct audit_query *q = user;

	return audit_verify(tx, q->known_head, &q->state->count, q->state->head, err);
}

int store_audit_verify(struct store *s, const char *known_head, struct store_audit_state *ret,
                       struct cf_err *err)
{
	struct audit_query q = { .known_head = known_head, .state = ret };

	return cf_db_read(s->db, do_verify, &q, err);
}

struct note {
	const struct store_actor *who;
	const char *action, *object, *result;
};

static int do_note(struct cf_db_tx *tx, void *user, struct cf_err *err)
{
	const struct note *n = user;

	return store_audit_by(tx, n->who, n->action, n->object, n->result, NULL, err);
}

int store_audit_note(struct store *s, const struct store_actor *who, const char *action,
                     const char *object, const char *result, struct cf_err *err)
{
	struct note n = { who, action, object, result };

	return cf_db_write(s->db, do_note, &n, err);
}
