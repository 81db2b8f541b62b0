/* SPDX-License-Identifier: Apache-2.0 */
/* Pattern text to tree. */
#include "base/regex_tree.h"
#include "base/unicode.h"

enum { FLAG_I = 1, FLAG_M = 2, FLAG_S = 4, FLAG_U = 8 };

struct re_parser {
	struct cf_regex *re;
	struct cf_arena *arena;
	struct cf_view in;
	size_t pos;
	unsigned flags, depth;
	uint32_t folded; /* work done on cases */
	int failed;
	struct cf_err *err;
};

static struct re_node *parse_alternatives(struct re_parser *p);

static void *bad(struct re_parser *p, const char *what)
{
	if (!p->failed)
		p->failed = cf_fail(p->err, CF_INVALID_ARGUMENT, "error parsing regexp: %s at %zu",
		                    what, p->pos);
	return NULL;
}

/* Nothing is decided from what did not fit. */
static void over(struct re_parser *p, const char *what)
{
	if (!p->failed)
		p->failed =
			cf_fail(p->err, CF_RESOURCE_EXHAUSTED, "regexp needs too much %s", what);
}

static int peek(const struct re_parser *p)
{
	return p->pos < p->in.size ? p->in.data[p->pos] : -1;
}

static bool take(struct re_parser *p, const char *s)
{
	size_t n = strlen(s);

	if (!cf_view_eq_str(cf_view_sub(p->in, p->pos, n), s))
		return false;
	p->pos += n;
	return true;
}

static struct re_node *node_new(struct re_parser *p, enum re_kind kind)
{
	struct re_node *n = CF_ARENA_NEW(p->arena, struct re_node);

	n->kind = (uint8_t)kind;
	n->copies = 1;
	return n;
}

static void add_kid(struct re_parser *p, struct re_node *n, struct re_node *kid)
{
	if (!kid || !cf_arena_grow(p->arena, &n->kids, &n->cap, n->count + 1))
		return;
	n->kids[n->count++] = kid;
	n->copies = CF_MAX(n->copies, kid->copies);
}

static struct re_node *class_node(struct re_parser *p, struct re_set *s)
{
	uint32_t klass = re_set_done(s, p->re); /* first: it gives memory back */
	struct re_node *n = node_new(p, RE_CLASS);

	n->klass = klass;
	return n;
}

static void fold(struct re_parser *p, struct re_set *s)
{
	p->folded += re_set_fold(s);
	if (p->folded > CF_REGEX_FOLDS_MAX)
		over(p, "folding of cases");
}

static struct re_node *char_node(struct re_parser *p, uint32_t r)
{
	if (p->flags & FLAG_I && cf_unicode_fold(r) != r) {
		struct re_set s = re_set_new(p->arena);

		re_set_add(&s, r, r);
		fold(p, &s);
		return class_node(p, &s);
	}
	struct re_node *n = node_new(p, RE_CHAR);
	n->rune = r;
	return n;
}

static struct re_node *assert_node(struct re_parser *p, enum regex_assert what)
{
	struct re_node *n = node_new(p, RE_ASSERT);

	n->rune = what;
	return n;
}

/* ---- escapes ---- */

static int hex_digit(int c)
{
	return c >= '0' && c <= '9'                     ? c - '0'
	       : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10
	                                                : -1;
}

static bool hex_escape(struct re_parser *p, uint32_t *ret)
{
	uint32_t v = 0;
	unsigned n = 0;

	if (take(p, "{")) {
		for (int h; (h = hex_digit(peek(p))) >= 0; n++, p->pos++) {
			v = v * 16 + (uint32_t)h;
			if (v > 0x10ffff)
				return false;
		}
		*ret = v;
		return n && take(p, "}");
	}
	for (int h; n < 2 && (h = hex_digit(peek(p))) >= 0; n++, p->pos++)
		v = v * 16 + (uint32_t)h;
	*ret = v;
	return n == 2;
}

/* A rune written with a backslash, which is behind us. */
static bool rune_escape(struct re_parser *p, uint32_t *ret)
{
	static const char from[] = "afnrtv", to[] = "\a\f\n\r\t\v";
	int c = peek(p);
	const char *hit = c > 0 ? strchr(from, c) : NULL;

	if (c < 0)
		return false;
	p->pos++;
	if (hit) {
		*ret = (uint8_t)to[hit - from];
		return true;
	}
	if (c == 'x')
		return hex_escape(p, ret);
	if (c >= '0' && c <= '7') {
		/* One digit but 0 would be a backreference. */
		if (c != '0' && (peek(p) < '0' || peek(p) > '7'))
			return false;
		*ret = (uint32_t)(c - '0');
		for (int i = 0; i < 2 && peek(p) >= '0' && peek(p) <= '7'; i++)
			*ret = *ret * 8 + (uint32_t)(p->in.data[p->pos++] - '0');
		return true;
	}
	bool is_word = c >= 0x80 || c == '_' || (c >= '0' && c <= '9') ||
	               ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
	*ret = (uint32_t)c;
	return !is_word || c == '_';
}

/* \pL \p{Greek} \P… ; the letter is behind us. */
static bool named_class(struct re_parser *p, struct re_set *s, bool negated)
{
	struct cf_view name;

	if (take(p, "{")) {
		if (take(p, "^"))
			negated = !negated;
		ssize_t n = cf_view_find(cf_view_sub(p->in, p->pos, p->in.size), '}');
		if (n < 0)
			return false;
		name = cf_view_sub(p->in, p->pos, (size_t)n);
		p->pos += (size_t)n + 1;
	} else {
		if (peek(p) < 0)
			return false;
		name = cf_view_sub(p->in, p->pos++, 1);
	}
	return re_set_named(s, name, negated);
}

/* A class written with a backslash at the cursor: \d, \pL. Moves on when it is one. */
static bool class_escape(struct re_parser *p, struct re_set *s)
{
	int c = p->pos + 1 < p->in.size ? p->in.data[p->pos + 1] : -1;

	if (c == 'p' || c == 'P') {
		p->pos += 2;
		if (!named_class(p, s, c == 'P'))
			bad(p, "invalid character class range");
		return true;
	}
	if (c < 0 || !strchr("dDsSwW", c))
		return false;
	p->pos += 2;
	return re_set_perl(s, (uint8_t)c);
}

static struct re_node *parse_escape(struct re_parser *p)
{
	struct re_set s = re_set_new(p->arena);
	uint32_t r;

	if (class_escape(p, &s)) {
		if (p->flags & FLAG_I)
			fold(p, &s);
		return class_node(p, &s);
	}
	if (take(p, "\\A"))
		return assert_node(p, REGEX_TEXT_START);
	if (take(p, "\\z"))
		return assert_node(p, REGEX_TEXT_END);
	if (take(p, "\\b"))
		return assert_node(p, REGEX_WORD);
	if (take(p, "\\B"))
		return assert_node(p, REGEX_NO_WORD);
	p->pos++;
	if (!rune_escape(p, &r))
		return bad(p, "invalid escape sequence");
	return char_node(p, r);
}

/* ---- classes ---- */

static bool class_rune(struct re_parser *p, uint32_t *ret)
{
	if (peek(p) < 0)
		return false;
	if (take(p, "\\"))
		return rune_escape(p, ret);
	*ret = cf_utf8_next(p->in, &p->pos);
	return true;
}

static bool posix_class(struct re_parser *p, struct re_set *s)
{
	if (!cf_view_eq_str(cf_view_sub(p->in, p->pos, 2), "[:"))
		return false;
	struct cf_view rest = cf_view_sub(p->in, p->pos + 2, p->in.size);
	const uint8_t *end = rest.size ? memmem(rest.data, rest.size, ":]", 2) : NULL;
	if (!end)
		return false;
	struct cf_view name = cf_view_sub(rest, 0, (size_t)(end - rest.data));
	p->pos += 2 + name.size + 2;
	bool negated = cf_view_starts_with(name, "^");
	if (!re_set_posix(s, cf_view_sub(name, negated, name.size), negated))
		bad(p, "invalid character class range");
	return true;
}

static bool class_range(struct re_parser *p, struct re_set *s)
{
	uint32_t lo, hi;

	if (!class_rune(p, &lo))
		return false;
	hi = lo;
	if (peek(p) == '-' && p->pos + 1 < p->in.size && p->in.data[p->pos + 1] != ']') {
		p->pos++;
		if (!class_rune(p, &hi) || hi < lo)
			return false;
	}
	re_set_add(s, lo, hi);
	return true;
}

static struct re_node *parse_class(struct re_parser *p)
{
	struct re_set s = re_set_new(p->arena);
	bool is_first = true, negated;

	p->pos++;
	negated = take(p, "^");
	while (peek(p) >= 0 && (peek(p) != ']' || is_first) && !p->failed) {
		is_first = false;
		if (posix_class(p, &s) || (peek(p) == '\\' && class_escape(p, &s)))
			continue;
		if (!class_range(p, &s))
			return bad(p, "invalid character class range");
	}
	if (!take(p, "]"))
		return bad(p, "missing closing ]");
	if (p->flags & FLAG_I)
		fold(p, &s);
	if (negated)
		re_set_negate(&s);
	return class_node(p, &s);
}

/* ---- groups ---- */

static bool is_name(struct cf_view v)
{
	for (size_t i = 0; i < v.size; i++) {
		uint8_t c = v.data[i];

		if (c != '_' && !(c >= '0' && c <= '9') &&
		    !((c | 0x20) >= 'a' && (c | 0x20) <= 'z'))
			return false;
	}
	return v.size > 0;
}

static bool add_group(struct re_parser *p, struct cf_view name, uint32_t *ret)
{
	struct cf_regex *re = p->re;

	if (re->group_count == CF_REGEX_GROUPS_MAX) {
		bad(p, "too many groups");
		return false;
	}
	for (uint32_t i = 0; name.size && i < re->group_count; i++)
		if (re->names[i] && cf_view_eq_str(name, re->names[i])) {
			bad(p, "duplicate capture group name");
			return false;
		}
	re->names[re->group_count] = name.size ? cf_arena_copy(&re->arena, name) : NULL;
	*ret = ++re->group_count;
	return true;
}

/* (?flags) or (?flags: ; true when a group follows. */
static bool parse_flags(struct re_parser *p, unsigned *flags)
{
	static const char letters[] = "imsU";
	bool clears = false, any = false;

	for (;; p->pos++) {
		int c = peek(p);
		const char *hit = c > 0 ? strchr(letters, c) : NULL;

		if (hit) {
			unsigned bit = 1u << (hit - letters);

			*flags = clears ? *flags & ~bit : *flags | bit;
			any = true;
		} else if (c == '-' && !clears) {
			clears = true;
			any = false;
		} else {
			break;
		}
	}
	if (clears && !any)
		bad(p, "missing argument to flag group");
	if (take(p, ":"))
		return true;
	if (!take(p, ")"))
		bad(p, "invalid or unsupported Perl syntax");
	return false;
}

static bool named_group(struct re_parser *p, uint32_t *ret)
{
	ssize_t n = cf_view_find(cf_view_sub(p->in, p->pos, p->in.size), '>');
	struct cf_view name = cf_view_sub(p->in, p->pos, n < 0 ? 0 : (size_t)n);

	if (!is_name(name)) {
		bad(p, "invalid named capture");
		return false;
	}
	p->pos += name.size + 1;
	return add_group(p, name, ret);
}

static struct re_node *parse_group(struct re_parser *p)
{
	unsigned saved = p->flags, flags = p->flags;
	uint32_t group = 0;

	p->pos++;
	if (take(p, "?P<") ||
	    (cf_view_eq_str(cf_view_sub(p->in, p->pos, 2), "?<") &&
	     !cf_view_eq_str(cf_view_sub(p->in, p->pos, 3), "?<=") &&
	     !cf_view_eq_str(cf_view_sub(p->in, p->pos, 3), "?<!") && take(p, "?<"))) {
		if (!named_group(p, &group))
			return NULL;
	} else if (take(p, "?")) {
		if (!parse_flags(p, &flags)) {
			p->flags = flags; /* for the rest of the group around it */
			return p->failed ? NULL : node_new(p, RE_EMPTY);
		}
	} else if (!add_group(p, (struct cf_view){ 0 }, &group)) {
		return NULL;
	}
	if (++p->depth > CF_REGEX_NEST_MAX)
		return bad(p, "expression nests too deeply");
	p->flags = flags;
	struct re_node *inner = parse_alternatives(p);
	p->flags = saved;
	p->depth--;
	if (!inner)
		return NULL;
	if (!take(p, ")"))
		return bad(p, "missing closing )");
	struct re_node *n = node_new(p, RE_GROUP);
	n->group = group;
	add_kid(p, n, inner);
	return n;
}

/* ---- atoms, repetition, concatenation ---- */

static bool read_count(struct re_parser *p, int *ret)
{
	int n = 0;
	size_t from = p->pos;

	while (peek(p) >= '0' && peek(p) <= '9') {
		n = n * 10 + (p->in.data[p->pos++] - '0');
		if (n > 100000)
			n = 100000;
	}
	*ret = n;
	return p->pos > from && (p->in.data[from] != '0' || p->pos - from == 1);
}

/* {n}, {n,} or {n,m}; anything else in braces is plain text. */
static bool read_braces(struct re_parser *p, int *min, int *max)
{
	size_t start = p->pos;

	p->pos++;
	if (read_count(p, min)) {
		*max = *min;
		if (!take(p, ",")) {
			if (take(p, "}"))
				return true;
		} else if (take(p, "}")) {
			*max = -1;
			return true;
		} else if (read_count(p, max) && take(p, "}")) {
			return true;
		}
	}
	p->pos = start;
	return false;
}

static bool read_repeat(struct re_parser *p, int *min, int *max)
{
	*min = 0;
	*max = -1;
	switch (peek(p)) {
	case '*':
		break;
	case '+':
		*min = 1;
		break;
	case '?':
		*max = 1;
		break;
	case '{':
		if (!read_braces(p, min, max))
			return false;
		if (*min > (int)CF_REGEX_REPEAT_MAX || *max > (int)CF_REGEX_REPEAT_MAX ||
		    (*max >= 0 && *max < *min))
			bad(p, "invalid repeat count");
		return true;
	default:
		return false;
	}
	p->pos++;
	return true;
}

static struct re_node *parse_atom(struct re_parser *p)
{
	struct re_set s = re_set_new(p->arena);
	int min, max;

	switch (peek(p)) {
	case '(':
		return parse_group(p);
	case '[':
		return parse_class(p);
	case '\\':
		return parse_escape(p);
	case '.':
		p->pos++;
		if (!(p->flags & FLAG_S))
			re_set_add(&s, '\n', '\n');
		re_set_negate(&s);
		return class_node(p, &s);
	case '^':
		p->pos++;
		return assert_node(p, p->flags & FLAG_M ? REGEX_LINE_START : REGEX_TEXT_START);
	case '$':
		p->pos++;
		return assert_node(p, p->flags & FLAG_M ? REGEX_LINE_END : REGEX_TEXT_END);
	case '*':
	case '+':
	case '?':
	case '{':
		if (read_repeat(p, &min, &max))
			return bad(p, "missing argument to repetition operator");
		break;
	}
	return char_node(p, cf_utf8_next(p->in, &p->pos));
}

static struct re_node *repeat_node(struct re_parser *p, struct re_node *inner, int min, int max)
{
	struct re_node *n = node_new(p, RE_REPEAT);

	n->min = min;
	n->max = max;
	n->is_lazy = take(p, "?") != ((p->flags & FLAG_U) != 0);
	add_kid(p, n, inner);
	/* As RE2 counts: x{0} is nothing, and * + ? make no copies. */
	n->copies = max == 0 ? 1 : inner->copies * (uint32_t)CF_MAX(max < 0 ? min : max, 1);
	return n->copies > CF_REGEX_REPEAT_MAX ? bad(p, "invalid repeat count") : n;
}

/* Behind \Q: all runes but the last go into @seq, because that one alone may be repeated. */
static struct re_node *parse_quoted(struct re_parser *p, struct re_node *seq)
{
	struct re_node *last = NULL;

	while (p->pos < p->in.size && !take(p, "\\E") && !p->failed) {
		add_kid(p, seq, last);
		last = char_node(p, cf_utf8_next(p->in, &p->pos));
	}
	return last ? last : node_new(p, RE_EMPTY);
}

static struct re_node *parse_repeat(struct re_parser *p, struct re_node *seq)
{
	struct re_node *n = take(p, "\\Q") ? parse_quoted(p, seq) : parse_atom(p);
	int min, max;
	bool was_repeated = false;

	/* (?i) and \Q\E are not there: what is repeated behind them stands before them. */
	if (n && n->kind == RE_EMPTY && seq->count)
		n = seq->kids[--seq->count];
	else if (n && n->kind == RE_EMPTY)
		return n;
	while (n && !p->failed && read_repeat(p, &min, &max)) {
		if (was_repeated)
			return bad(p, "invalid nested repetition operator");
		was_repeated = true;
		if (p->failed)
			return NULL;
		n = repeat_node(p, n, min, max);
	}
	return p->failed ? NULL : n;
}

static struct re_node *parse_sequence(struct re_parser *p)
{
	struct re_node *n = node_new(p, RE_CAT);

	while (peek(p) >= 0 && peek(p) != '|' && peek(p) != ')') {
		struct re_node *kid = parse_repeat(p, n);

		if (p->arena->is_over || p->re->arena.is_over)
			over(p, "memory");
		if (!kid || p->failed)
			return NULL;
		if (kid->kind != RE_EMPTY)
			add_kid(p, n, kid);
	}
	return n;
}

static struct re_node *parse_alternatives(struct re_parser *p)
{
	struct re_node *n = node_new(p, RE_ALT);

	do {
		struct re_node *kid = parse_sequence(p);

		if (!kid)
			return NULL;
		add_kid(p, n, kid);
	} while (take(p, "|"));
	return n->count == 1 ? n->kids[0] : n;
}

int re_parse(struct cf_regex *re, struct cf_view pattern, struct cf_arena *tree,
             struct re_node **ret, struct cf_err *err)
{
	struct re_parser p = { .re = re, .arena = tree, .in = pattern, .err = err };

	if (pattern.size > CF_REGEX_PATTERN_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "regexp of %zu bytes, limit %u",
		               pattern.size, CF_REGEX_PATTERN_MAX);
	if (!cf_view_is_utf8(pattern))
		return cf_fail(err, CF_INVALID_ARGUMENT, "error parsing regexp: invalid UTF-8");
	re->names = cf_arena_alloc(&re->arena, CF_REGEX_GROUPS_MAX * sizeof(*re->names));
	struct re_node *n = parse_alternatives(&p);
	if (n && p.pos < pattern.size)
		bad(&p, "unexpected )");
	if (p.failed)
		return p.failed;
	*ret = n;
	return 0;
}
