/* SPDX-License-Identifier: Apache-2.0 */
/* The registry: every builtin by name, and the names that are known and refused. */
#include "policy/builtin.h"

/* Policies here do no I/O, draw no random numbers and do not sign. */
static const struct builtin builtins_never[] = {
	{ .name = "http.send", .arity = 1, .flags = BUILTIN_NEVER },
	{ .name = "opa.runtime", .arity = 0, .flags = BUILTIN_NEVER },
	{ .name = "net.lookup_ip_addr", .arity = 1, .flags = BUILTIN_NEVER },
	{ .name = "rand.intn", .arity = 2, .flags = BUILTIN_NEVER },
	{ .name = "uuid.rfc4122", .arity = 1, .flags = BUILTIN_NEVER },
	{ .name = "rego.parse_module", .arity = 2, .flags = BUILTIN_NEVER },
	{ .name = "io.jwt.encode_sign", .arity = 3, .flags = BUILTIN_NEVER },
	{ .name = "io.jwt.encode_sign_raw", .arity = 3, .flags = BUILTIN_NEVER },
	{ .name = "providers.aws.sign_req", .arity = 3, .flags = BUILTIN_NEVER },
	{ .name = "graphql.parse", .arity = 2, .flags = BUILTIN_NEVER },
	{ .name = "graphql.parse_and_verify", .arity = 2, .flags = BUILTIN_NEVER },
	{ .name = "graphql.parse_query", .arity = 1, .flags = BUILTIN_NEVER },
	{ .name = "graphql.parse_schema", .arity = 1, .flags = BUILTIN_NEVER },
	{ .name = "graphql.is_valid", .arity = 2, .flags = BUILTIN_NEVER },
	{ .name = "graphql.schema_is_valid", .arity = 1, .flags = BUILTIN_NEVER },
	{ .name = "crypto.parse_private_keys", .arity = 1, .flags = BUILTIN_NEVER },
	{ .name = "crypto.x509.parse_rsa_private_key", .arity = 1, .flags = BUILTIN_NEVER },
	{ .name = "crypto.x509.parse_keypair", .arity = 2, .flags = BUILTIN_NEVER },
	{ .name = NULL },
};

static const struct builtin *const tables[] = {
	builtins_core, builtins_number, builtins_string, builtins_collection, builtins_object,
	builtins_json, builtins_encode, builtins_regex,  builtins_time,       builtins_misc,
	builtins_net,  builtins_digest, builtins_jwt,    builtins_jwt_verify, builtins_never,
};

const struct builtin *builtin_find(struct cf_view name)
{
	for (size_t i = 0; i < CF_ARRAY_LEN(tables); i++)
		for (const struct builtin *b = tables[i]; b->name; b++)
			if (cf_view_eq_str(name, b->name))
				return b;
	return NULL;
}
