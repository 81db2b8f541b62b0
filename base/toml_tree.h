/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The tree behind toml.h: for toml.c (walking), toml_parse.c and toml_scalar.c (building) alone. */
#include "base/toml.h"

/* How a table came to be; it decides who may still add to it. */
enum toml_origin {
	TOML_IMPLICIT, /* [a.b] made a: may still be headed by [a] */
	TOML_HEADER,   /* has had its [header] */
	TOML_DOTTED,   /* a.b = 1 made a: only dotted keys of the same table add to it */
	TOML_CLOSED,   /* inline table or plain array: complete */
	TOML_OF_TABLES /* array made by [[a]] */
};

struct cf_toml {
	enum cf_toml_kind kind;
	enum toml_origin origin;
	unsigned line;
	char *key; /* name in the table above; NULL for elements and the root */
	uint32_t key_hash;
	union {
		char *text;
		int64_t i;
		double f;
		bool b;
		struct {
			struct cf_toml **items;
			size_t count;
			size_t cap;
		};
	};
};

uint32_t toml_hash(const char *key);
struct cf_toml *toml_lookup(const struct cf_toml *table, const char *key);

int toml_hex_digit(int c); /* its value, or -1 */
/*
 * A number, date or boolean of @n characters into @v, which keeps key and line. False, with @v
 * untouched, when it is none.
 */
bool toml_scan_scalar(const char *s, size_t n, struct cf_toml *v);
