/* SPDX-License-Identifier: Apache-2.0 */
#include "base/http_head.h"

#include "base/str.h"

#include <strings.h>

struct refusal {
	unsigned status;
	enum cf_code code;
};

static const struct refusal bad_request = { 400, CF_INVALID_ARGUMENT };
static const struct refusal uri_too_long = { 414, CF_RESOURCE_EXHAUSTED };
static const struct refusal no_expectation = { 417, CF_INVALID_ARGUMENT };
static const struct refusal too_many_fields = { 431, CF_RESOURCE_EXHAUSTED };
static const struct refusal not_implemented = { 501, CF_UNIMPLEMENTED };
static const struct refusal other_version = { 505, CF_UNIMPLEMENTED };

#define REFUSE(st, err, how, ...) (*(st) = (how).status, cf_fail(err, (how).code, __VA_ARGS__))

/* RFC 9110 5.6.2 */
static bool is_token_char(uint8_t c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
	       (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_token(struct cf_view v)
{
	for (size_t i = 0; i < v.size; i++)
		if (!is_token_char(v.data[i]))
			return false;
	return v.size > 0;
}

static bool same_name(struct cf_view a, const char *b)
{
	return a.size == strlen(b) && strncasecmp((const char *)a.data, b, a.size) == 0;
}

/* The next line without its CRLF; false when a CR or LF stands alone or the text ends. */
static bool next_line(struct cf_view text, size_t *pos, struct cf_view *ret)
{
	struct cf_view rest = cf_view_sub(text, *pos, text.size);
	ssize_t lf = cf_view_find(rest, '\n');

	if (lf < 1 || rest.data[lf - 1] != '\r')
		return false;
	*ret = cf_view_sub(rest, 0, (size_t)lf - 1);
	*pos += (size_t)lf + 1;
	return cf_view_find(*ret, '\r') < 0;
}

static int parse_target(struct cf_view target, struct http_head *h, unsigned *st,
                        struct cf_err *err)
{
	ssize_t mark = cf_view_find(target, '?');

	if (target.size > HTTP_TARGET_MAX)
		return REFUSE(st, err, uri_too_long, "target of %zu bytes", target.size);
	if (target.size == 0 || target.data[0] != '/')
		return REFUSE(st, err, bad_request, "the target does not begin with '/'");
	for (size_t i = 0; i < target.size; i++)
		if (target.data[i] <= 0x20 || target.data[i] >= 0x7f || target.data[i] == '#')
			return REFUSE(st, err, bad_request, "byte 0x%02x in the target",
			              target.data[i]);
	h->path = mark < 0 ? target : cf_view_sub(target, 0, (size_t)mark);
	if (mark >= 0)
		h->query = cf_view_sub(target, (size_t)mark + 1, target.size);
	return 0;
}

static int parse_request_line(struct cf_view line, struct http_head *h, unsigned *st,
                              struct cf_err *err)
{
	ssize_t sp = cf_view_find(line, ' '), sp2;
	struct cf_view rest, version;

	if (sp < 1)
		return REFUSE(st, err, bad_request, "no request line");
	h->method = cf_view_sub(line, 0, (size_t)sp);
	rest = cf_view_sub(line, (size_t)sp + 1, line.size);
	sp2 = cf_view_find(rest, ' ');
	if (sp2 < 1 || !is_token(h->method) || h->method.size > HTTP_METHOD_MAX)
		return REFUSE(st, err, bad_request, "malformed request line");
	version = cf_view_sub(rest, (size_t)sp2 + 1, rest.size);
	if (version.size != 8 || !cf_view_starts_with(version, "HTTP/"))
		return REFUSE(st, err, bad_request, "malformed request line");
	if (!cf_view_eq_str(version, "HTTP/1.1") && !cf_view_eq_str(version, "HTTP/1.0"))
		return REFUSE(st, err, other_version, "HTTP version");
	h->keep_alive = cf_view_eq_str(version, "HTTP/1.1");
	return parse_target(cf_view_sub(rest, 0, (size_t)sp2), h, st, err);
}

static struct cf_view trimmed(struct cf_view v)
{
	while (v.size && (v.data[0] == ' ' || v.data[0] == '\t'))
		v = cf_view_sub(v, 1, v.size);
	while (v.size && (v.data[v.size - 1] == ' ' || v.data[v.size - 1] == '\t'))
		v.size--;
	return v;
}

static int parse_field(struct cf_view line, struct http_head *h, unsigned *st, struct cf_err *err)
{
	ssize_t colon = cf_view_find(line, ':');
	struct http_field f;

	if (h->field_count >= HTTP_HEAD_FIELDS_MAX)
		return REFUSE(st, err, too_many_fields, "over %u header fields",
		              HTTP_HEAD_FIELDS_MAX);
	if (line.data[0] == ' ' || line.data[0] == '\t')
		return REFUSE(st, err, bad_request, "a folded header line");
	if (colon < 1)
		return REFUSE(st, err, bad_request, "a header line without a name");
	f.name = cf_view_sub(line, 0, (size_t)colon);
	f.value = trimmed(cf_view_sub(line, (size_t)colon + 1, line.size));
	if (!is_token(f.name))
		return REFUSE(st, err, bad_request, "a malformed header name");
	for (size_t i = 0; i < f.value.size; i++)
		if ((f.value.data[i] < 0x20 && f.value.data[i] != '\t') || f.value.data[i] == 0x7f)
			return REFUSE(st, err, bad_request, "byte 0x%02x in a header value",
			              f.value.data[i]);
	h->fields[h->field_count++] = f;
	return 0;
}

static size_t count_fields(const struct http_head *h, const char *name)
{
	size_t n = 0;

	for (size_t i = 0; i < h->field_count; i++)
		n += same_name(h->fields[i].name, name);
	return n;
}

struct cf_view http_head_field(const struct http_head *h, const char *name)
{
	for (size_t i = 0; i < h->field_count; i++)
		if (same_name(h->fields[i].name, name))
			return h->fields[i].value;
	return (struct cf_view){ 0 };
}

/* Does a comma list hold @token? */
static bool lists(struct cf_view value, const char *token)
{
	cf_cleanup(cf_strv_fini) struct cf_strv items = { 0 };

	cf_strv_split(&items, value, ',');
	for (size_t i = 0; i < items.count; i++)
		if (same_name(trimmed(cf_view_str(items.items[i])), token))
			return true;
	return false;
}

static int check_length(struct http_head *h, unsigned *st, struct cf_err *err)
{
	struct cf_view v = http_head_field(h, "Content-Length");

	if (count_fields(h, "Content-Length") > 1)
		return REFUSE(st, err, bad_request, "two Content-Length fields");
	if (count_fields(h, "Transfer-Encoding") && v.data)
		return REFUSE(st, err, bad_request, "Content-Length and Transfer-Encoding");
	if (count_fields(h, "Transfer-Encoding"))
		return REFUSE(st, err, not_implemented,
		              "Transfer-Encoding is not taken: send Content-Length");
	if (v.data && cf_parse_u64(v, INT64_MAX, &h->content_length, err) < 0)
		return REFUSE(st, err, bad_request, "malformed Content-Length");
	return 0;
}

static int check_fields(struct http_head *h, unsigned *st, struct cf_err *err)
{
	struct cf_view connection = http_head_field(h, "Connection");
	struct cf_view expect = http_head_field(h, "Expect");
	size_t hosts = count_fields(h, "Host");

	if (hosts > 1 || (hosts == 0 && h->keep_alive))
		return REFUSE(st, err, bad_request, "%zu Host fields", hosts);
	if (expect.data && !same_name(expect, "100-continue"))
		return REFUSE(st, err, no_expectation, "an Expect that is not 100-continue");
	h->expects_continue = expect.data != NULL;
	if (lists(connection, "close"))
		h->keep_alive = false;
	return check_length(h, st, err);
}

int http_head_parse(struct cf_view text, struct http_head *ret, unsigned *ret_status,
                    struct cf_err *err)
{
	struct http_head h = { 0 };
	struct cf_view line;
	size_t pos = 0;
	int r;

	if (!next_line(text, &pos, &line))
		return REFUSE(ret_status, err, bad_request, "a line without CR LF");
	r = parse_request_line(line, &h, ret_status, err);
	while (r == 0) {
		if (!next_line(text, &pos, &line))
			return REFUSE(ret_status, err, bad_request, "a line without CR LF");
		if (line.size == 0)
			break;
		r = parse_field(line, &h, ret_status, err);
	}
	if (r == 0 && pos != text.size)
		return REFUSE(ret_status, err, bad_request, "bytes behind the head");
	if (r == 0)
		r = check_fields(&h, ret_status, err);
	if (r < 0)
		return r;
	*ret = h;
	return 0;
}
