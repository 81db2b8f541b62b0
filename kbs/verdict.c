/* SPDX-License-Identifier: Apache-2.0 */
#include "kbs/verdict.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

static const char *const aspect_names[VERDICT_ASPECTS] = {
	[VERDICT_INSTANCE] = "instance-identity", [VERDICT_CONFIGURATION] = "configuration",
	[VERDICT_EXECUTABLES] = "executables",    [VERDICT_FILE_SYSTEM] = "file-system",
	[VERDICT_HARDWARE] = "hardware",          [VERDICT_RUNTIME] = "runtime-opaque",
	[VERDICT_STORAGE] = "storage-opaque",     [VERDICT_SOURCED] = "sourced-data",
};

const char *verdict_aspect_name(enum verdict_aspect a)
{
	return aspect_names[a];
}

enum verdict_tier verdict_tier_of(int value)
{
	if (value >= -1 && value <= 1)
		return TIER_NONE;
	if (value >= -32 && value <= 31)
		return TIER_AFFIRMING;
	return value >= -96 && value <= 95 ? TIER_WARNING : TIER_CONTRAINDICATED;
}

const char *verdict_tier_name(enum verdict_tier t)
{
	switch (t) {
	case TIER_NONE:
		return "none";
	case TIER_AFFIRMING:
		return "affirming";
	case TIER_WARNING:
		return "warning";
	case TIER_CONTRAINDICATED:
		break;
	}
	return "contraindicated";
}

void verdict_init(struct verdict *v, const char *tee, const char *submod)
{
	*v = (struct verdict){ .tee = tee, .submod = submod };
}

void verdict_fini(struct verdict *v)
{
	for (size_t i = 0; i < v->count; i++) {
		free(v->checks[i].covers);
		free(v->checks[i].expected);
		free(v->checks[i].actual);
		free(v->checks[i].why);
		free(v->checks[i].fix);
	}
	cf_buf_fini(&v->claims);
	free(v->init_data);
	free(v->report_data);
	free(v->initdata_digest);
	free(v->anchor);
	free(v->anchor_kind);
	cf_strv_fini(&v->warnings);
	free(v->hardware_doubt);
	free(v->policy);
	free(v->policy_explain);
	cf_buf_fini(&v->extensions);
	verdict_init(v, NULL, NULL);
}

static struct verdict_check *add(struct verdict *v, const char *name, enum verdict_state state)
{
	struct verdict_check *c = &v->checks[v->count];

	assert(v->count < VERDICT_CHECKS_MAX); /* verifiers have a fixed list of checks */
	v->count++;
	c->name = name;
	c->state = state;
	return c;
}

static cf_printf(1, 0) char *format(const char *fmt, va_list ap)
{
	char *text = NULL;

	if (vasprintf(&text, fmt, ap) < 0)
		abort();
	return text;
}

struct verdict_check *verdict_ok(struct verdict *v, const char *name)
{
	return add(v, name, CHECK_OK);
}

struct verdict_check *verdict_refuse(struct verdict *v, const char *name, const char *fmt, ...)
{
	struct verdict_check *c = add(v, name, CHECK_BAD);
	va_list ap;

	va_start(ap, fmt);
	c->why = format(fmt, ap);
	va_end(ap);
	c->is_evidence = true;
	return c;
}

struct verdict_check *verdict_differs(struct verdict *v, const char *name, const char *fmt, ...)
{
	struct verdict_check *c = add(v, name, CHECK_BAD);
	va_list ap;

	va_start(ap, fmt);
	c->why = format(fmt, ap);
	va_end(ap);
	return c;
}

struct verdict_check *verdict_skip(struct verdict *v, const char *name, const char *fmt, ...)
{
	struct verdict_check *c = add(v, name, CHECK_SKIPPED);
	va_list ap;

	va_start(ap, fmt);
	c->why = format(fmt, ap);
	va_end(ap);
	return c;
}

void verdict_warn(struct verdict *v, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	cf_strv_add_take(&v->warnings, format(fmt, ap));
	va_end(ap);
}

static const struct verdict_check *first_bad(const struct verdict *v, bool is_evidence)
{
	for (size_t i = 0; i < v->count; i++)
		if (v->checks[i].state == CHECK_BAD && v->checks[i].is_evidence == is_evidence)
			return &v->checks[i];
	return NULL;
}

bool verdict_is_refused(const struct verdict *v)
{
	return first_bad(v, true) != NULL;
}

const struct verdict_check *verdict_reason(const struct verdict *v)
{
	const struct verdict_check *c = first_bad(v, true);

	return c ? c : first_bad(v, false);
}

enum verdict_tier verdict_status(const struct verdict *v)
{
	enum verdict_tier worst = TIER_NONE;

	if (verdict_is_refused(v))
		return TIER_CONTRAINDICATED;
	for (size_t a = 0; a < VERDICT_ASPECTS; a++)
		worst = CF_MAX(worst, verdict_tier_of(v->trust[a]));
	return worst;
}

/* ---- printing ---- */

static void opt_str(struct cf_jw *w, const char *key, const char *s)
{
	if (s)
		cf_jw_kstr(w, key, s);
}

static void check_json(const struct verdict_check *c, struct cf_jw *w)
{
	cf_jw_obj(w);
	cf_jw_kstr(w, "name", c->name);
	cf_jw_key(w, "ok");
	if (c->state == CHECK_SKIPPED)
		cf_jw_null(w);
	else
		cf_jw_bool(w, c->state == CHECK_OK);
	opt_str(w, "expected", c->expected);
	opt_str(w, "actual", c->actual);
	opt_str(w, "source", c->covers);
	opt_str(w, "why", c->why);
	opt_str(w, "fix", c->fix);
	cf_jw_end_obj(w);
}

static void submod_json(const struct verdict *v, struct cf_jw *w)
{
	cf_jw_obj(w);
	cf_jw_kstr(w, "status", verdict_tier_name(verdict_status(v)));
	cf_jw_key(w, "trust");
	cf_jw_obj(w);
	for (size_t a = 0; a < VERDICT_ASPECTS; a++)
		cf_jw_kint(w, aspect_names[a], v->trust[a]);
	cf_jw_end_obj(w);
	if (v->claims.size) {
		cf_jw_key(w, "claims");
		cf_jw_raw(w, cf_buf_view(&v->claims));
	}
	cf_jw_end_obj(w);
}

void verdict_print_json(const struct verdict *v, struct cf_jw *w)
{
	const struct verdict_check *reason = verdict_reason(v);

	cf_jw_obj(w);
	cf_jw_kstr(w, "schema", "coffer.verdict/1");
	cf_jw_kstr(w, "result", verdict_tier_name(verdict_status(v)));
	cf_jw_kstr(w, "tee", v->tee);
	cf_jw_kstr(w, "evidence", verdict_is_refused(v) ? "refused" : "genuine");
	if (reason) {
		cf_jw_kstr(w, "reason", reason->name);
		opt_str(w, "why", reason->why);
	}
	opt_str(w, "root_of_trust", v->anchor);
	opt_str(w, "root_kind", v->anchor_kind);
	opt_str(w, "initdata_digest", v->initdata_digest);
	opt_str(w, "policy", v->policy);
	opt_str(w, "policy_explain", v->policy_explain);
	cf_jw_key(w, "submods");
	cf_jw_obj(w);
	cf_jw_key(w, v->submod);
	submod_json(v, w);
	cf_jw_end_obj(w);
	cf_jw_key(w, "checks");
	cf_jw_arr(w);
	for (size_t i = 0; i < v->count; i++)
		check_json(&v->checks[i], w);
	cf_jw_end_arr(w);
	cf_jw_key(w, "warnings");
	cf_jw_arr(w);
	for (size_t i = 0; i < v->warnings.count; i++)
		cf_jw_str(w, v->warnings.items[i]);
	cf_jw_end_arr(w);
	cf_jw_end_obj(w);
}

/* What the guest sent may hold control bytes: they never reach a terminal raw. */
static void add_shown(struct cf_buf *out, const char *text)
{
	for (const char *p = text; *p; p++) {
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			cf_buf_printf(out, "\\x%02x", (unsigned char)*p);
		else
			cf_buf_add_byte(out, (uint8_t)*p);
	}
}

static void fact(struct cf_buf *out, const char *label, const char *text)
{
	if (!text)
		return;
	cf_buf_printf(out, "      %-9s ", label);
	add_shown(out, text);
	cf_buf_add_byte(out, '\n');
}

static void add_lines(struct cf_buf *out, const char *text)
{
	cf_cleanup(cf_strv_fini) struct cf_strv lines = { 0 };

	cf_strv_split(&lines, cf_view_str(text), '\n');
	for (size_t i = 0; i < lines.count; i++) {
		if (!lines.items[i][0])
			continue;
		cf_buf_add_str(out, "    ");
		add_shown(out, lines.items[i]);
		cf_buf_add_byte(out, '\n');
	}
}

void verdict_print_text(const struct verdict *v, struct cf_buf *out)
{
	static const char *const words[] = { "ok  ", "BAD ", "skip" };

	cf_buf_printf(out, "%s: %s (%s)\n", v->tee, verdict_tier_name(verdict_status(v)),
	              verdict_is_refused(v) ? "evidence refused" : "evidence genuine");
	if (v->anchor) {
		cf_buf_add_str(out, "  root of trust: ");
		add_shown(out, v->anchor);
		cf_buf_printf(out, "%s%s\n", v->anchor_kind ? ", " : "",
		              v->anchor_kind ? v->anchor_kind : "");
	}
	for (size_t i = 0; i < v->count; i++) {
		const struct verdict_check *c = &v->checks[i];

		cf_buf_printf(out, "  %s %-16s %s\n", words[c->state], c->name,
		              c->covers ? c->covers : "");
		if (c->state == CHECK_OK)
			continue;
		fact(out, "expected", c->expected);
		fact(out, "actual", c->actual);
		fact(out, "why", c->why);
		fact(out, "fix", c->fix);
	}
	if (v->policy_explain) {
		cf_buf_printf(out, "  policy %s:\n", v->policy);
		add_lines(out, v->policy_explain);
	}
	for (size_t i = 0; i < v->warnings.count; i++) {
		cf_buf_add_str(out, "  warning: ");
		add_shown(out, v->warnings.items[i]);
		cf_buf_add_byte(out, '\n');
	}
}
