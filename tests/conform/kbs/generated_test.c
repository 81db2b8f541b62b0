/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Thousands of generated questions to the shipped policies. The oracle is the same decision written
 * once more in C, over the same JSON, by hand; with COFFER_GENERATED=DIR the cases are written out,
 * so that another engine can be asked too (tests/long/policy_differential.sh). COFFER_SEED and
 * COFFER_CASES choose other ones; the seed is printed.
 */
#include "tests/harness/test.h"

#include "base/fd.h"
#include "kbs/policies.h"

#include <stdio.h>

#define EVIDENCE "ear.veraison.annotated-evidence"

/* ---- chance ---- */

struct chance {
	uint64_t state;
};

static unsigned draw(struct chance *c, unsigned n)
{
	c->state ^= c->state << 13;
	c->state ^= c->state >> 7;
	c->state ^= c->state << 17;
	return (unsigned)(c->state >> 33) % n;
}

/* One of @texts, each a piece of JSON. */
#define PICK(c, ...)                                                                               \
	pick_of((c), (const char *const[]){ __VA_ARGS__ },                                         \
	        sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(const char *))

static const char *pick_of(struct chance *c, const char *const *texts, size_t n)
{
	return texts[draw(c, (unsigned)n)];
}

static struct cf_json *parsed(const struct cf_buf *b)
{
	struct cf_json *doc = NULL;
	struct cf_err err;

	EXPECT_OK(cf_json_parse(cf_buf_view(b), 0, &doc, &err), &err);
	return doc;
}

/* ---- JSON, by hand ---- */

static bool same(const struct cf_json *a, const struct cf_json *b)
{
	cf_cleanup(cf_buf_fini) struct cf_buf x = { 0 }, y = { 0 };

	cf_json_print_sorted(a, &x);
	cf_json_print_sorted(b, &y);
	return cf_view_eq(cf_buf_view(&x), cf_buf_view(&y));
}

static bool is_text(const struct cf_json *v, const char *text)
{
	return cf_json_type(v) == CF_JSON_STRING && cf_view_eq_str(cf_json_str(v), text);
}

static bool is_in(const struct cf_json *v, const struct cf_json *list)
{
	for (size_t i = 0; cf_json_type(list) == CF_JSON_ARRAY && i < cf_json_len(list); i++)
		if (same(v, cf_json_at(list, i)))
			return true;
	return false;
}

/* A member that is there, also as null. */
static bool has(const struct cf_json *o, const char *key, const struct cf_json **ret)
{
	const struct cf_json *v;
	const char *name;
	void *it = NULL;

	*ret = NULL;
	while (cf_json_type(o) == CF_JSON_OBJECT && cf_json_next(o, &it, &name, &v))
		if (!strcmp(name, key)) {
			*ret = v;
			return true;
		}
	return false;
}

/* null < booleans < numbers < texts; the table holds nothing else. */
static int order(const struct cf_json *a, const struct cf_json *b)
{
	int ta = (int)cf_json_type(a), tb = (int)cf_json_type(b);
	cf_cleanup(cf_freep) char *x = NULL, *y = NULL;

	if (ta != tb)
		return ta < tb ? -1 : 1;
	if (ta == CF_JSON_BOOL)
		return (int)cf_json_is_true(a) - (int)cf_json_is_true(b);
	if (ta == CF_JSON_INT)
		return cf_json_int(a) < cf_json_int(b) ? -1 : cf_json_int(a) > cf_json_int(b);
	x = cf_view_dup(cf_json_str(a));
	y = cf_view_dup(cf_json_str(b));
	return ta == CF_JSON_NULL ? 0 : strcmp(x, y);
}

/* ---- resources ---- */

struct question {
	struct cf_json *input, *data, *references;
};

static void question_fini(struct question *q)
{
	cf_json_free(q->input);
	cf_json_free(q->data);
	cf_json_free(q->references);
}

static void add_part(struct chance *c, struct cf_buf *b)
{
	if (draw(c, 8) == 0) {
		cf_buf_add_str(b, PICK(c, "null", "\"affirming\"", "[]", "{}", "1"));
		return;
	}
	cf_buf_add_str(b, "{\"x\":0");
	if (draw(c, 10))
		cf_buf_printf(b, ",\"ear.status\":%s",
		              PICK(c, "\"affirming\"", "\"affirming\"", "\"affirming\"",
		                   "\"affirming\"", "\"warning\"", "\"contraindicated\"",
		                   "\"Affirming\"", "null", "2"));
	if (draw(c, 3))
		cf_buf_printf(b, ",\"" EVIDENCE "\":%s",
		              PICK(c, "{}", "{\"snp\":{}}", "{\"sample\":{}}",
		                   "{\"sample\":{\"svn\":1}}", "{\"sample\":false}",
		                   "{\"sample\":null}", "null", "\"sample\"", "[\"sample\"]"));
	cf_buf_add_byte(b, '}');
}

static void make_resource(struct chance *c, struct question *q)
{
	static const char *const names[] = { "cpu0", "gpu0", "switch0" };
	cf_cleanup(cf_buf_fini) struct cf_buf input = { 0 }, data = { 0 };
	unsigned count = draw(c, 4);

	if (draw(c, 12) == 0) {
		cf_buf_printf(&input, "{%s}",
		              PICK(c, "", "\"submods\":null", "\"submods\":[]",
		                   "\"submods\":\"cpu0\"", "\"submods\":1",
		                   "\"submods\":[{\"ear.status\":\"affirming\"}]"));
	} else {
		cf_buf_add_str(&input, "{\"submods\":{");
		for (unsigned i = 0; i < count; i++) {
			cf_buf_printf(&input, "%s\"%s\":", i ? "," : "", names[i]);
			add_part(c, &input);
		}
		cf_buf_add_str(&input, "}}");
	}
	cf_buf_printf(&data, "{\"plugin\":%s,\"resource-path\":[\"a\",\"b\",\"c\"],\"query\":{}}",
	              PICK(c, "\"resource\"", "\"resource\"", "\"resource\"", "\"resource\"",
	                   "\"external\"", "\"Resource\"", "null"));
	q->input = parsed(&input);
	q->data = parsed(&data);
}

static bool has_sample(const struct cf_json *part)
{
	const struct cf_json *evidence, *sample;

	if (!has(part, EVIDENCE, &evidence) || !has(evidence, "sample", &sample))
		return false;
	return cf_json_type(sample) != CF_JSON_BOOL || cf_json_is_true(sample);
}

static bool is_fine(const struct cf_json *part, bool takes_samples)
{
	const struct cf_json *status;

	return has(part, "ear.status", &status) && is_text(status, "affirming") &&
	       (takes_samples || !has_sample(part));
}

static bool all_fine(const struct cf_json *input, bool takes_samples)
{
	const struct cf_json *submods, *part;
	const char *name;
	void *it = NULL;

	if (!has(input, "submods", &submods) || cf_json_len(submods) == 0)
		return false;
	if (cf_json_type(submods) == CF_JSON_ARRAY) {
		for (size_t i = 0; i < cf_json_len(submods); i++)
			if (!is_fine(cf_json_at(submods, i), takes_samples))
				return false;
		return true;
	}
	while (cf_json_type(submods) == CF_JSON_OBJECT && cf_json_next(submods, &it, &name, &part))
		if (!is_fine(part, takes_samples))
			return false;
	return cf_json_type(submods) == CF_JSON_OBJECT;
}

static bool oracle_allow(const char *policy, const struct question *q)
{
	const struct cf_json *submods, *cpu0;

	if (!is_text(cf_json_get(q->data, "plugin"), "resource") || !strcmp(policy, "deny_all"))
		return false;
	if (!strcmp(policy, "allow_all"))
		return true;
	if (strcmp(policy, "default"))
		return all_fine(q->input, !strcmp(policy, "affirming"));
	return !has(q->input, "submods", &submods) || !has(submods, "cpu0", &cpu0) ||
	       !has_sample(cpu0);
}

/* ---- attestation: the sample TEE, SEV-SNP and a TPM ---- */

static const char *scalar(struct chance *c)
{
	return PICK(c, "1", "2", "\"1\"", "\"2\"", "true", "false", "null");
}

static const char *const snp_fields[] = {
	"measurement",        "reported_tcb_bootloader", "reported_tcb_microcode",
	"reported_tcb_snp",   "reported_tcb_tee",        "policy_debug_allowed",
	"policy_migrate_ma",  "platform_smt_enabled",    "platform_tsme_enabled",
	"policy_abi_major",   "policy_abi_minor",        "policy_single_socket",
	"policy_smt_allowed",
};
static const char *const reference_ids[] = {
	"launch_digest",
	"svn",
	"major_version",
	"minimum_minor_version",
	"snp_launch_measurement",
	"snp_bootloader",
	"snp_microcode",
	"snp_snp_svn",
	"snp_tee_svn",
	"snp_smt_enabled",
	"snp_tsme_enabled",
	"snp_guest_abi_major",
	"snp_guest_abi_minor",
	"snp_single_socket",
	"snp_smt_allowed",
	"tpm_pcr11",
	"trusted_aks",
	"tpm_pcr00",
	"tpm_pcr02",
	"tpm_pcr04",
	"tpm_pcr09",
};

static void add_member(struct cf_buf *b, const char *key, const char *json)
{
	bool is_first = b->size && b->data[b->size - 1] == '{';

	cf_buf_printf(b, "%s\"%s\":%s", is_first ? "" : ",", key, json);
}

static void add_references(struct chance *c, struct cf_buf *b)
{
	cf_buf_add_byte(b, '{');
	for (size_t i = 0; i < CF_ARRAY_LEN(reference_ids); i++) {
		cf_cleanup(cf_freep) char *list =
			cf_asprintf("[%s,%s,\"1\"]", scalar(c), scalar(c));

		if (draw(c, 12))
			add_member(b, reference_ids[i], draw(c, 4) ? list : scalar(c));
	}
	cf_buf_add_byte(b, '}');
}

static void add_claims(struct chance *c, struct cf_buf *b)
{
	static const char *const sample[] = { "launch_digest", "svn", "debug" };
	static const char *const tpm[] = { "pcr11", "ak_public", "ak_bound", "pcr00",
		                           "pcr02", "pcr04",     "pcr09",    "cmdline" };
	unsigned kind = draw(c, 3);
	const char *const *fields = kind == 0 ? sample : kind == 1 ? snp_fields : tpm;
	size_t n = kind == 0   ? CF_ARRAY_LEN(sample)
	           : kind == 1 ? CF_ARRAY_LEN(snp_fields)
	                       : CF_ARRAY_LEN(tpm);

	cf_buf_printf(b, "{\"%s\":{", kind == 0 ? "sample" : kind == 1 ? "snp" : "tpm");
	for (size_t i = 0; i < n; i++)
		if (draw(c, 15))
			add_member(b, fields[i],
			           draw(c, 3) ? PICK(c, "\"1\"", "false", "true") : scalar(c));
	if (kind == 0) {
		cf_cleanup(cf_freep) char *version =
			cf_asprintf("{\"major\":%s,\"minor\":%s}", scalar(c), scalar(c));

		add_member(b, "platform_version", version);
	}
	cf_buf_add_str(b, "},\"init_data_claims\":null}");
}

static void make_attestation(struct chance *c, struct question *q)
{
	cf_cleanup(cf_buf_fini) struct cf_buf input = { 0 }, references = { 0 };

	add_claims(c, &input);
	add_references(c, &references);
	q->input = parsed(&input);
	q->references = parsed(&references);
}

static bool listed(const struct question *q, const struct cf_json *claims, const char *field,
                   const char *id)
{
	const struct cf_json *v, *list;

	return has(claims, field, &v) && has(q->references, id, &list) && is_in(v, list);
}

/* Equality with the stored value; what is not stored is null. */
static bool exactly(const struct question *q, const struct cf_json *claims, const char *field,
                    const char *id)
{
	const struct cf_json *v, *want;

	if (!has(claims, field, &v))
		return false;
	return has(q->references, id, &want) ? same(v, want) : cf_json_type(v) == CF_JSON_NULL;
}

static bool is_false(const struct cf_json *claims, const char *field)
{
	const struct cf_json *v;

	return has(claims, field, &v) && cf_json_type(v) == CF_JSON_BOOL && !cf_json_is_true(v);
}

static bool is_true(const struct cf_json *claims, const char *field)
{
	return cf_json_is_true(cf_json_get(claims, field));
}

struct trust {
	int executables, hardware, configuration;
};

static void judge_sample(const struct question *q, const struct cf_json *s, struct trust *t)
{
	const struct cf_json *version, *minor, *least;

	if (listed(q, s, "launch_digest", "launch_digest"))
		t->executables = 3;
	if (is_false(s, "debug"))
		t->configuration = 2;
	if (!listed(q, s, "svn", "svn") || !has(s, "platform_version", &version) ||
	    !exactly(q, version, "major", "major_version") || !has(version, "minor", &minor))
		return;
	has(q->references, "minimum_minor_version", &least);
	/* Lists are beyond every scalar. */
	if (cf_json_type(least) != CF_JSON_ARRAY && order(minor, least) >= 0)
		t->hardware = 2;
}

static void judge_snp(const struct question *q, const struct cf_json *s, struct trust *t)
{
	if (listed(q, s, "measurement", "snp_launch_measurement"))
		t->executables = 3;
	if (listed(q, s, "reported_tcb_bootloader", "snp_bootloader") &&
	    listed(q, s, "reported_tcb_microcode", "snp_microcode") &&
	    listed(q, s, "reported_tcb_snp", "snp_snp_svn") &&
	    listed(q, s, "reported_tcb_tee", "snp_tee_svn"))
		t->hardware = 2;
	if (!is_false(s, "policy_debug_allowed") || !is_false(s, "policy_migrate_ma"))
		return;
	t->configuration = 3;
	if (exactly(q, s, "platform_smt_enabled", "snp_smt_enabled") &&
	    exactly(q, s, "platform_tsme_enabled", "snp_tsme_enabled") &&
	    exactly(q, s, "policy_abi_major", "snp_guest_abi_major") &&
	    exactly(q, s, "policy_abi_minor", "snp_guest_abi_minor") &&
	    exactly(q, s, "policy_single_socket", "snp_single_socket") &&
	    exactly(q, s, "policy_smt_allowed", "snp_smt_allowed"))
		t->configuration = 2;
}

static void judge_tpm(const struct question *q, const struct cf_json *s, struct trust *t)
{
	const struct cf_json *cmdline;
	bool has_cmdline = has(s, "cmdline", &cmdline) && !is_false(s, "cmdline");

	t->hardware = 2;
	if (listed(q, s, "pcr11", "tpm_pcr11") && listed(q, s, "ak_public", "trusted_aks"))
		t->executables = 3;
	if (is_true(s, "ak_bound") && listed(q, s, "pcr00", "tpm_pcr00") &&
	    listed(q, s, "pcr02", "tpm_pcr02") && listed(q, s, "pcr04", "tpm_pcr04") &&
	    listed(q, s, "pcr09", "tpm_pcr09"))
		t->executables = 3;
	t->configuration = is_true(s, "ak_bound") && has_cmdline ? 2 : 0;
}

static struct trust oracle_trust(const struct question *q)
{
	struct trust t = { 33, 97, 36 };
	const struct cf_json *s;

	if (has(q->input, "sample", &s))
		judge_sample(q, s, &t);
	else if (has(q->input, "snp", &s))
		judge_snp(q, s, &t);
	else if (has(q->input, "tpm", &s))
		judge_tpm(q, s, &t);
	return t;
}

/* ---- running ---- */

static const struct store_actor owner = { "owner", NULL };

static struct policy_set *shipped_set(struct store **store)
{
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	struct policy_set *set = NULL;
	struct cf_err err;
	int64_t version;

	EXPECT_OK(store_open(dir, store, &err), &err);
	for (const struct policies_shipped *p = policies_shipped; p->name; p++)
		EXPECT_OK(store_policy_put(*store, &owner, p->kind, p->name,
		                           cf_view(p->text, p->size), &version, &err),
		          &err);
	EXPECT_OK(policy_set_load(*store, &set, &err), &err);
	return set;
}

static uint64_t number_of(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);
	uint64_t n = otherwise;
	struct cf_err err;

	if (text)
		EXPECT_OK(cf_parse_u64(cf_view_str(text), INT64_MAX, &n, &err), &err);
	return n;
}

static struct cf_buf shown(const struct cf_json *v)
{
	struct cf_buf b = { 0 };

	if (v)
		cf_json_print(v, &b);
	return b;
}

/* One case for another engine; the file is a JSON list, ended by write_out(). */
static void keep(struct cf_buf *out, const struct question *q, const char *want)
{
	struct cf_jw w = { .out = out };

	cf_buf_add_str(out, out->size ? "," : "[");
	cf_jw_obj(&w);
	cf_jw_key(&w, "input");
	cf_jw_json(&w, q->input);
	if (q->data) {
		cf_jw_key(&w, "plugin");
		cf_jw_json(&w, cf_json_get(q->data, "plugin"));
	}
	if (q->references) {
		cf_jw_key(&w, "references");
		cf_jw_json(&w, q->references);
	}
	cf_jw_key(&w, "want");
	cf_jw_raw(&w, cf_view_str(want));
	cf_jw_end_obj(&w);
}

static void write_out(struct cf_buf *out, const char *policy)
{
	const char *dir = getenv("COFFER_GENERATED");
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/%s.json", dir ? dir : "", policy);
	struct cf_err err;

	cf_buf_add_byte(out, ']');
	if (dir)
		EXPECT_OK(cf_write_file_atomic(path, cf_buf_view(out), 0644, &err), &err);
	cf_buf_fini(out);
}

static void ask_one(const struct policy_entry *e, struct chance *c, struct cf_buf *out,
                    unsigned *yes)
{
	cf_cleanup(question_fini) struct question q = { 0 };
	cf_cleanup(cf_buf_fini) struct cf_buf input = { 0 }, data = { 0 };
	cf_cleanup(policy_answer_fini) struct policy_answer a = { 0 };
	bool want;

	make_resource(c, &q);
	want = oracle_allow(e->id, &q);
	input = shown(q.input);
	data = shown(q.data);
	policy_ask_allow(e, cf_buf_view(&input), cf_buf_view(&data), &a);
	if (a.kind != (want ? POLICY_ALLOWED : POLICY_DENIED))
		fail_msg("%s: wanted %d, got %d: %s with %s", e->id, want, a.kind,
		         (char *)input.data, (char *)data.data);
	*yes += want;
	keep(out, &q, want ? "true" : "false");
}

CF_TEST(generated_resource_questions_are_answered_as_a_reader_would)
{
	struct chance c = { number_of("COFFER_SEED", 20260921) };
	unsigned cases = (unsigned)number_of("COFFER_CASES", 600);
	struct store *store = NULL;
	struct policy_set *set = shipped_set(&store);

	for (size_t i = 0; i < policy_set_count(set); i++) {
		const struct policy_entry *e = policy_set_at(set, i);
		struct cf_buf out = { .max = 256u << 20 };
		unsigned yes = 0;

		if (e->kind != STORE_POLICY_RESOURCE)
			continue;
		for (unsigned k = 0; k < cases; k++)
			ask_one(e, &c, &out, &yes);
		print_message("%s: %u cases, %u allowed\n", e->id, cases, yes);
		EXPECT(!strcmp(e->id, "deny_all") || yes > cases / 50);
		write_out(&out, e->id);
	}
	policy_set_unref(set);
	store_close(store);
}

static int claim(const struct policy_trust *t, const char *name)
{
	for (size_t i = 0; i < t->count; i++)
		if (!strcmp(t->claims[i].name, name))
			return t->claims[i].value;
	return -1000;
}

static void judge_one(const struct policy_entry *e, struct chance *c, struct cf_buf *out,
                      unsigned *good)
{
	cf_cleanup(question_fini) struct question q = { 0 };
	cf_cleanup(cf_buf_fini) struct cf_buf input = { 0 }, references = { 0 };
	cf_cleanup(policy_trust_fini) struct policy_trust t = { 0 };
	cf_cleanup(cf_freep) char *text = NULL;
	struct trust want;
	struct cf_err err;

	make_attestation(c, &q);
	want = oracle_trust(&q);
	input = shown(q.input);
	references = shown(q.references);
	EXPECT_OK(policy_ask_trust(e, cf_buf_view(&input), cf_buf_view(&references), &t, &err),
	          &err);
	if (claim(&t, "executables") != want.executables ||
	    claim(&t, "hardware") != want.hardware ||
	    claim(&t, "configuration") != want.configuration)
		fail_msg("wanted %d %d %d, got %d %d %d: %s with %s", want.executables,
		         want.hardware, want.configuration, claim(&t, "executables"),
		         claim(&t, "hardware"), claim(&t, "configuration"), (char *)input.data,
		         (char *)references.data);
	*good += (want.executables == 3) + (want.hardware == 2) + (want.configuration <= 3);
	text = cf_asprintf("[%d,%d,%d]", want.executables, want.hardware, want.configuration);
	keep(out, &q, text);
}

CF_TEST(generated_evidence_is_judged_as_a_reader_would)
{
	struct chance c = { number_of("COFFER_SEED", 20260921) };
	unsigned cases = (unsigned)number_of("COFFER_CASES", 600), good = 0;
	struct store *store = NULL;
	struct policy_set *set = shipped_set(&store);
	const struct policy_entry *e =
		policy_set_find(set, STORE_POLICY_ATTESTATION, "default_cpu");
	struct cf_buf out = { .max = 256u << 20 };

	EXPECT(e);
	for (unsigned i = 0; i < cases; i++)
		judge_one(e, &c, &out, &good);
	print_message("%u cases, %u claims affirmed\n", cases, good);
	EXPECT(good > cases / 10);
	write_out(&out, e->id);
	policy_set_unref(set);
	store_close(store);
}
