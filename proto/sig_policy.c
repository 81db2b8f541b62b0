/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/sig_policy.h"

#include "base/json.h"

struct sig_rule {
	char *transport, *scope;
	struct sig_requirements need;
};

struct sig_policy {
	struct sig_requirements fallback;
	struct sig_rule *rules;
	size_t rule_count;
};

static void requirements_fini(struct sig_requirements *list)
{
	for (size_t i = 0; i < list->count; i++) {
		struct sig_requirement *q = &list->items[i];

		cf_strv_fini(&q->key_paths);
		cf_strv_fini(&q->key_data);
		free(q->identity.a);
		free(q->identity.b);
		free(q->foreign);
	}
	free(list->items);
	*list = (struct sig_requirements){ 0 };
}

struct sig_policy *sig_policy_free(struct sig_policy *p)
{
	if (!p)
		return NULL;
	requirements_fini(&p->fallback);
	for (size_t i = 0; i < p->rule_count; i++) {
		free(p->rules[i].transport);
		free(p->rules[i].scope);
		requirements_fini(&p->rules[i].need);
	}
	free(p->rules);
	free(p);
	return NULL;
}

/* ---- small readers ---- */

/* A member that nobody knows may be the one that its author meant to protect them. */
static int only(const struct cf_json *obj, const char *const *known, struct cf_err *err)
{
	const struct cf_json *value;
	const char *key;
	void *it = NULL;

	while (cf_json_next(obj, &it, &key, &value)) {
		bool found = false;

		for (size_t i = 0; known[i] && !found; i++)
			found = strcmp(known[i], key) == 0;
		if (!found)
			return cf_fail(err, CF_INVALID_ARGUMENT, "\"%s\" is not known here", key);
	}
	return 0;
}

static int take_text(const struct cf_json *obj, const char *key, char **ret, struct cf_err *err)
{
	struct cf_view v;
	int r = cf_json_need_str(obj, key, &v, err);

	if (r < 0)
		return r;
	if (v.size == 0 || cf_view_has_nul(v))
		return cf_fail(err, CF_INVALID_ARGUMENT, "%s is empty", key);
	*ret = cf_view_dup(v);
	return 0;
}

/* ---- identities ---- */

static int parse_identity(const struct cf_json *obj, struct sig_identity *ret, struct cf_err *err)
{
	static const struct {
		const char *type;
		enum sig_identity_kind kind;
		const char *a, *b;
	} table[] = {
		{ "matchExact", SIG_ID_EXACT, NULL, NULL },
		{ "matchRepoDigestOrExact", SIG_ID_REPO_DIGEST_OR_EXACT, NULL, NULL },
		{ "matchRepository", SIG_ID_REPOSITORY, NULL, NULL },
		{ "exactReference", SIG_ID_EXACT_REFERENCE, "dockerReference", NULL },
		{ "exactRepository", SIG_ID_EXACT_REPOSITORY, "dockerRepository", NULL },
		{ "remapIdentity", SIG_ID_REMAP, "prefix", "signedPrefix" },
		{ "digestOnly", SIG_ID_DIGEST, NULL, NULL },
	};
	struct cf_view type;
	int r = cf_json_need_str(obj, "type", &type, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < CF_ARRAY_LEN(table); i++) {
		const char *const known[] = { "type", table[i].a ? table[i].a : NULL, table[i].b,
			                      NULL };

		if (!cf_view_eq_str(type, table[i].type))
			continue;
		ret->kind = table[i].kind;
		r = only(obj, known, err);
		if (r == 0 && table[i].a)
			r = take_text(obj, table[i].a, &ret->a, err);
		if (r == 0 && table[i].b)
			r = take_text(obj, table[i].b, &ret->b, err);
		return r;
	}
	return cf_fail(err, CF_INVALID_ARGUMENT, "type of signedIdentity is not known");
}

/* ---- keys ---- */

/* PEM as it is, or base64 of it: both are found in the field. */
static int add_key_data(struct sig_requirement *q, struct cf_view text, struct cf_err *err)
{
	struct cf_buf pem = { .max = SIG_POLICY_SIZE_MAX };

	if (cf_view_starts_with(text, "-----BEGIN")) {
		cf_strv_add_take(&q->key_data, cf_view_dup(text));
		return 0;
	}
	int r = cf_b64_decode(CF_B64_STD, text, &pem, err);

	if (r == 0 && cf_view_has_nul(cf_buf_view(&pem)))
		r = cf_fail(err, CF_INVALID_ARGUMENT, "not a PEM text");
	if (r == 0)
		cf_strv_add_take(&q->key_data, cf_view_dup(cf_buf_view(&pem)));
	cf_buf_fini(&pem);
	return r < 0 ? cf_wrap(err, r, "keyData") : 0;
}

static int add_key(struct sig_requirement *q, bool is_path, const struct cf_json *v,
                   struct cf_err *err)
{
	struct cf_view text = cf_json_str(v);

	if (text.size == 0 || cf_view_has_nul(text))
		return cf_fail(err, CF_INVALID_ARGUMENT, "a key is no text");
	if (q->key_paths.count + q->key_data.count == SIG_KEYS_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "over %u keys", SIG_KEYS_MAX);
	if (!is_path)
		return add_key_data(q, text, err);
	cf_strv_add_take(&q->key_paths, cf_view_dup(text));
	return 0;
}

static int add_keys(struct sig_requirement *q, bool is_path, const struct cf_json *v,
                    struct cf_err *err)
{
	if (cf_json_type(v) != CF_JSON_ARRAY)
		return add_key(q, is_path, v, err);
	for (size_t i = 0; i < cf_json_len(v); i++) {
		int r = add_key(q, is_path, cf_json_at(v, i), err);

		if (r < 0)
			return r;
	}
	return 0;
}

/* Exactly one way of saying whose keys; the ways that we cannot follow refuse when they are asked. */
static int parse_keys(const struct cf_json *obj, struct sig_requirement *q, struct cf_err *err)
{
	static const struct {
		const char *key;
		bool is_list, is_path;
	} ways[] = {
		{ "keyPath", false, true },
		{ "keyPaths", true, true },
		{ "keyData", false, false },
		{ "keyDatas", true, false },
	};
	size_t found = 0;

	for (size_t i = 0; i < CF_ARRAY_LEN(ways); i++) {
		const struct cf_json *v = cf_json_get(obj, ways[i].key);

		if (!v)
			continue;
		found++;
		if (ways[i].is_list != (cf_json_type(v) == CF_JSON_ARRAY))
			return cf_fail(err, CF_INVALID_ARGUMENT, "%s has another type",
			               ways[i].key);
		int r = add_keys(q, ways[i].is_path, v, err);

		if (r < 0)
			return r;
	}
	found += cf_json_get(obj, "fulcio") != NULL;
	found += cf_json_get(obj, "pki") != NULL;
	if (found != 1)
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "exactly one of keyPath, keyPaths, keyData, keyDatas, fulcio, pki "
		               "is needed");
	return 0;
}

static int parse_sigstore(const struct cf_json *obj, struct sig_requirement *q, struct cf_err *err)
{
	static const char *const known[] = {
		"type",
		"keyPath",
		"keyPaths",
		"keyData",
		"keyDatas",
		"fulcio",
		"pki",
		"rekorPublicKeyPath",
		"rekorPublicKeyPaths",
		"rekorPublicKeyData",
		"rekorPublicKeyDatas",
		"signedIdentity",
		NULL,
	};
	static const char *const foreign[] = { "fulcio",
		                               "pki",
		                               "rekorPublicKeyPath",
		                               "rekorPublicKeyPaths",
		                               "rekorPublicKeyData",
		                               "rekorPublicKeyDatas" };
	const struct cf_json *identity = cf_json_get(obj, "signedIdentity");
	int r = only(obj, known, err);

	if (r == 0)
		r = parse_keys(obj, q, err);
	if (r == 0 && identity)
		r = parse_identity(identity, &q->identity, err);
	for (size_t i = 0; r == 0 && i < CF_ARRAY_LEN(foreign); i++) {
		if (cf_json_get(obj, foreign[i]) && !q->foreign)
			q->foreign = cf_asprintf("sigstoreSigned with %s", foreign[i]);
	}
	if (r == 0 && q->foreign)
		q->kind = SIG_FOREIGN;
	return r;
}

/* ---- requirements ---- */

static int parse_requirement(const struct cf_json *obj, struct sig_requirement *q,
                             struct cf_err *err)
{
	static const char *const bare[] = { "type", NULL };
	struct cf_view type;
	int r = cf_json_need_str(obj, "type", &type, err);

	if (r < 0)
		return r;
	if (cf_view_eq_str(type, "insecureAcceptAnything")) {
		q->kind = SIG_ACCEPT;
		return only(obj, bare, err);
	}
	if (cf_view_eq_str(type, "reject")) {
		q->kind = SIG_REJECT;
		return only(obj, bare, err);
	}
	if (cf_view_eq_str(type, "sigstoreSigned")) {
		q->kind = SIG_SIGSTORE;
		return parse_sigstore(obj, q, err);
	}
	if (!cf_view_eq_str(type, "signedBy") && !cf_view_eq_str(type, "signedBaseLayer"))
		return cf_fail(err, CF_INVALID_ARGUMENT, "type of a requirement is not known");
	q->kind = SIG_FOREIGN;
	q->foreign = cf_view_dup(type);
	return 0;
}

static int parse_requirements(const struct cf_json *list, struct sig_requirements *ret,
                              struct cf_err *err)
{
	if (cf_json_type(list) != CF_JSON_ARRAY)
		return cf_fail(err, CF_INVALID_ARGUMENT, "not a list of requirements");
	if (cf_json_len(list) > SIG_REQUIREMENTS_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "over %u requirements",
		               SIG_REQUIREMENTS_MAX);
	ret->items = cf_zalloc_n(cf_json_len(list) + 1, sizeof(*ret->items));
	for (size_t i = 0; i < cf_json_len(list); i++) {
		int r = parse_requirement(cf_json_at(list, i), &ret->items[ret->count++], err);

		if (r < 0)
			return r;
	}
	return 0;
}

static int parse_scopes(struct sig_policy *p, const char *transport, const struct cf_json *scopes,
                        struct cf_err *err)
{
	const struct cf_json *list;
	const char *scope;
	void *it = NULL;

	if (cf_json_type(scopes) != CF_JSON_OBJECT)
		return cf_fail(err, CF_INVALID_ARGUMENT, "transport %s is no object", transport);
	while (cf_json_next(scopes, &it, &scope, &list)) {
		if (p->rule_count == SIG_RULES_MAX)
			return cf_fail(err, CF_RESOURCE_EXHAUSTED, "over %u scopes", SIG_RULES_MAX);
		struct sig_rule *rule = &p->rules[p->rule_count++];

		rule->transport = cf_strdup(transport);
		rule->scope = cf_strdup(scope);
		int r = parse_requirements(list, &rule->need, err);

		if (r < 0)
			return cf_wrap(err, r, "%s scope \"%s\"", transport, scope);
	}
	return 0;
}

static int parse_transports(struct sig_policy *p, const struct cf_json *root, struct cf_err *err)
{
	const struct cf_json *transports = cf_json_get(root, "transports");
	const struct cf_json *scopes;
	const char *name;
	void *it = NULL;

	if (!transports)
		return 0;
	if (cf_json_type(transports) != CF_JSON_OBJECT)
		return cf_fail(err, CF_INVALID_ARGUMENT, "transports is no object");
	p->rules = cf_zalloc_n(SIG_RULES_MAX, sizeof(*p->rules));
	while (cf_json_next(transports, &it, &name, &scopes)) {
		int r = parse_scopes(p, name, scopes, err);

		if (r < 0)
			return r;
	}
	return 0;
}

static int parse_root(struct sig_policy *p, const struct cf_json *root, struct cf_err *err)
{
	static const char *const known[] = { "default", "transports", NULL };

	if (cf_json_type(root) != CF_JSON_OBJECT)
		return cf_fail(err, CF_INVALID_ARGUMENT, "not a JSON object");
	int r = only(root, known, err);

	if (r == 0 && !cf_json_get(root, "default"))
		r = cf_fail(err, CF_INVALID_ARGUMENT, "\"default\" is missing");
	if (r == 0)
		r = parse_requirements(cf_json_get(root, "default"), &p->fallback, err);
	if (r == 0)
		r = parse_transports(p, root, err);
	return r;
}

int sig_policy_parse(struct cf_view json, struct sig_policy **ret, struct cf_err *err)
{
	cf_cleanup(sig_policy_freep) struct sig_policy *p = cf_zalloc(sizeof(*p));
	cf_cleanup(cf_json_freep) struct cf_json *root = NULL;
	int r = cf_json_parse(json, SIG_POLICY_SIZE_MAX, &root, err);

	if (r == 0)
		r = parse_root(p, root, err);
	if (r < 0)
		return cf_wrap(err, r, "image policy");
	*ret = cf_take(&p);
	return 0;
}

/* ---- scopes ---- */

static const struct sig_rule *find_rule(const struct sig_policy *p, const char *transport,
                                        const char *scope)
{
	for (size_t i = 0; i < p->rule_count; i++) {
		if (strcmp(p->rules[i].transport, transport) == 0 &&
		    strcmp(p->rules[i].scope, scope) == 0)
			return &p->rules[i];
	}
	return NULL;
}

/* @name (cut up on the way), each parent of it, down to its first component. */
static const struct sig_rule *find_parents(const struct sig_policy *p, const char *transport,
                                           char *name)
{
	for (char *cut = name + strlen(name); cut; cut = strrchr(name, '/')) {
		*cut = '\0';
		const struct sig_rule *rule = name[0] ? find_rule(p, transport, name) : NULL;

		if (rule)
			return rule;
	}
	return NULL;
}

/* *.b.example.com, *.example.com, *.com for a.b.example.com:5000 */
static const struct sig_rule *find_wildcard(const struct sig_policy *p, const char *host)
{
	cf_cleanup(cf_freep) char *name = cf_strndup(host, strcspn(host, ":"));

	for (const char *dot = strchr(name, '.'); dot; dot = strchr(dot + 1, '.')) {
		cf_cleanup(cf_freep) char *scope = cf_asprintf("*%s", dot);
		const struct sig_rule *rule = find_rule(p, "docker", scope);

		if (rule)
			return rule;
	}
	return NULL;
}

static const struct sig_requirements *answer(const struct sig_policy *p,
                                             const struct sig_rule *rule, const char **ret_scope)
{
	if (ret_scope)
		*ret_scope = rule ? rule->scope : "default";
	return rule ? &rule->need : &p->fallback;
}

const struct sig_requirements *sig_policy_find(const struct sig_policy *p,
                                               const struct oci_ref *ref, const char **ret_scope)
{
	cf_cleanup(cf_freep) char *name = oci_ref_name(ref);
	bool by_digest = oci_digest_is_set(&ref->digest);
	/* With a digest the tag chose nothing: it must not choose the rule either. */
	cf_cleanup(cf_freep) char *full =
		cf_asprintf("%s%c%s", name, by_digest ? '@' : ':', oci_ref_target(ref));
	const struct sig_rule *rule = find_rule(p, "docker", full);

	if (!rule)
		rule = find_parents(p, "docker", name);
	if (!rule)
		rule = find_wildcard(p, ref->host);
	if (!rule)
		rule = find_rule(p, "docker", "");
	return answer(p, rule, ret_scope);
}

const struct sig_requirements *sig_policy_find_layout(const struct sig_policy *p, const char *dir,
                                                      const char *tag, const char **ret_scope)
{
	cf_cleanup(cf_freep) char *path = cf_strdup(dir);
	cf_cleanup(cf_freep) char *full = cf_asprintf("%s:%s", dir, tag);
	const struct sig_rule *rule = tag[0] ? find_rule(p, "oci", full) : NULL;

	if (!rule)
		rule = find_parents(p, "oci", path);
	if (!rule)
		rule = find_rule(p, "oci", "");
	return answer(p, rule, ret_scope);
}
