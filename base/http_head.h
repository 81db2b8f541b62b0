/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The head of an HTTP/1.1 request, read strictly: what two readers could understand differently is
 * refused, so that a proxy in front and we never disagree where a request ends. Hostile input.
 *
 * Refused: bare CR or LF, folded lines, white space around names, control bytes, a target that does
 * not begin with '/', two Host or Content-Length fields, Content-Length lists, any Transfer-Encoding
 * (bodies come with their length), other versions than 1.0 and 1.1.
 * Source: RFC 9110, RFC 9112.
 */
#include "base/bytes.h"

#define HTTP_HEAD_FIELDS_MAX 64u
#define HTTP_METHOD_MAX      16u
#define HTTP_TARGET_MAX      8192u

struct http_field {
	struct cf_view name;  /* as sent; names compare without case */
	struct cf_view value; /* without white space around it */
};

struct http_head { /* views borrow from the text */
	struct cf_view method;
	struct cf_view path;  /* up to '?', not decoded; begins with '/' */
	struct cf_view query; /* behind '?'; .data NULL: none */
	size_t field_count;
	struct http_field fields[HTTP_HEAD_FIELDS_MAX];
	uint64_t content_length; /* 0 when absent */
	bool keep_alive;
	bool expects_continue;
};

/**
 * http_head_parse() - decode one request's head
 * @text:       from the request line through the empty line
 * @ret_status: on failure the HTTP status that says why: 400, 414, 417, 431, 501, 505
 *
 * Return: 0, -CF_INVALID_ARGUMENT, -CF_RESOURCE_EXHAUSTED (414, 431), -CF_UNIMPLEMENTED (501, 505).
 */
cf_must_use int http_head_parse(struct cf_view text, struct http_head *ret, unsigned *ret_status,
                                struct cf_err *err);
/* The only or first field of this name, any case; .data NULL: absent. */
struct cf_view http_head_field(const struct http_head *h, const char *name);
