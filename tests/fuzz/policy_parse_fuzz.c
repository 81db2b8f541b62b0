/* fuzz: policy */
/* SPDX-License-Identifier: Apache-2.0 */
/* Lexer and parser alone, as a module of either version and as a query. */
#include "policy/parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum policy_syntax versions[] = { SYNTAX_V1, SYNTAX_V0 };

	for (size_t i = 0; i < CF_ARRAY_LEN(versions); i++) {
		struct cf_arena a = { .max = 64u << 20 };
		struct module m = { .file = "f", .text = { data, size }, .syntax = versions[i] };
		struct parse_fault fault;
		struct body *body;
		struct cf_err err;
		int r = parse_module(&a, &m, &fault, &err);

		m = (struct module){ .file = "f", .text = { data, size }, .syntax = versions[i] };
		if (parse_query(&a, &m, &body, &fault, &err) == 0 && r == 0)
			abort(); /* no text is both */
		cf_arena_fini(&a);
	}
	return 0;
}
