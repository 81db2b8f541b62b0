/* SPDX-License-Identifier: Apache-2.0 */
#include "kbs/policies.h"

#include "base/crypto.h"
#include "kbs/policy_ask.h"

struct policy_set {
	unsigned refs; /* of the loop */
	int64_t epoch;
	size_t count;
	struct policy_entry *entries;
};

/* ---- compiling ---- */

struct messages {
	struct cf_buf errors;
	struct cf_buf *warnings;
};

static void keep_message(void *user, const struct policy_message *m)
{
	struct messages *all = user;
	bool is_warning = !strcmp(m->code, "warning");
	struct cf_buf *out = is_warning ? all->warnings : &all->errors;

	if (!out || out->size > POLICIES_MESSAGES_MAX)
		return;
	cf_buf_printf(out, "%s%s:%u:%u: %s: %s", out->size ? "\n" : "", m->file, m->line, m->col,
	              m->code, m->text);
}

int policies_compile(const char *file, struct cf_view text, struct policy **ret,
                     struct cf_buf *ret_warnings, struct cf_err *err)
{
	struct policy_source source = { .name = file, .text = text };
	struct messages all = { .warnings = ret_warnings };
	struct policy_options opt = { .hooks = policy_ask_hooks,
		                      .hook_count = POLICY_ASK_HOOKS,
		                      .message = keep_message,
		                      .message_user = &all };
	int r = policy_compile(&source, 1, &opt, ret, err);

	if (r < 0 && all.errors.size)
		r = cf_fail(err, err->code, "%.*s", (int)all.errors.size,
		            (const char *)all.errors.data);
	cf_buf_fini(&all.errors);
	return r;
}

/* ---- the set ---- */

static void entry_fini(struct policy_entry *e)
{
	free(e->id);
	free(e->file);
	free(e->time);
	cf_buf_fini(&e->text);
	policy_unref(e->policy);
	free(e->broken);
}

static struct policy_set *set_free(struct policy_set *s)
{
	for (size_t i = 0; i < s->count; i++)
		entry_fini(&s->entries[i]);
	free(s->entries);
	free(s);
	return NULL;
}

static int add_entry(void *user, const struct store_policy *p, struct cf_err *err)
{
	struct policy_set *s = user;
	struct policy_entry *e;
	uint8_t sum[32];
	struct cf_err why;

	if (s->count >= STORE_POLICIES_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "over %u policies", STORE_POLICIES_MAX);
	e = &s->entries[s->count++];
	e->kind = p->kind;
	e->id = cf_view_dup(p->id);
	e->file = cf_asprintf("%s.rego", e->id);
	e->version = p->version;
	e->time = cf_view_dup(p->time);
	e->text.max = STORE_POLICY_MAX;
	cf_buf_add_view(&e->text, p->text);
	cf_sha256(p->text, sum);
	cf_hex_encode(cf_view(sum, sizeof(sum)), e->sha256);
	if (policies_compile(e->file, p->text, &e->policy, NULL, &why) < 0)
		e->broken = cf_strdup(why.msg);
	return 0;
}

int policy_set_load(struct store *store, struct policy_set **ret, struct cf_err *err)
{
	cf_cleanup(policy_set_unrefp) struct policy_set *s = cf_zalloc(sizeof(*s));
	int r;

	s->refs = 1;
	s->entries = cf_zalloc(STORE_POLICIES_MAX * sizeof(*s->entries));
	r = store_policy_all(store, &s->epoch, add_entry, s, err);
	if (r < 0)
		return cf_wrap(err, r, "policies");
	*ret = cf_take(&s);
	return 0;
}

struct policy_set *policy_set_ref(struct policy_set *s)
{
	s->refs++;
	return s;
}

struct policy_set *policy_set_unref(struct policy_set *s)
{
	if (s && --s->refs == 0)
		set_free(s);
	return NULL;
}

int64_t policy_set_epoch(const struct policy_set *s)
{
	return s->epoch;
}

size_t policy_set_count(const struct policy_set *s)
{
	return s->count;
}

const struct policy_entry *policy_set_at(const struct policy_set *s, size_t i)
{
	return i < s->count ? &s->entries[i] : NULL;
}

const struct policy_entry *policy_set_find(const struct policy_set *s, enum store_policy_kind kind,
                                           const char *id)
{
	for (size_t i = 0; i < s->count; i++)
		if (s->entries[i].kind == kind && !strcmp(s->entries[i].id, id))
			return &s->entries[i];
	return NULL;
}

const struct policy_entry *policy_set_for_path(const struct policy_set *s, const char *path)
{
	cf_cleanup(cf_freep) char *repository = cf_strndup(path, strcspn(path, "/"));
	const struct policy_entry *own = policy_set_find(s, STORE_POLICY_RESOURCE, repository);

	return own ? own : policy_set_find(s, STORE_POLICY_RESOURCE, POLICIES_GLOBAL_ID);
}

const struct policy_entry *policy_set_for_submod(const struct policy_set *s, const char *submod)
{
	size_t size = strlen(submod);
	cf_cleanup(cf_freep) char *id = NULL;

	while (size && submod[size - 1] >= '0' && submod[size - 1] <= '9')
		size--;
	id = cf_asprintf(POLICIES_DEFAULT_ID "_%.*s", (int)size, submod);
	return policy_set_find(s, STORE_POLICY_ATTESTATION, id);
}

const struct policies_shipped *policies_find_shipped(enum store_policy_kind kind, const char *name)
{
	for (const struct policies_shipped *p = policies_shipped; p->name; p++)
		if (p->kind == kind && !strcmp(p->name, name))
			return p;
	return NULL;
}
