/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sprintf, as Go's fmt prints: integers as int or big.Int, other numbers as float64, strings, and
 * everything else as the string of its term. Mistakes are printed, never refused.
 */
#include "policy/sprintf.h"

#include "policy/number.h"

#include <math.h>
#include <stdio.h>

#define FIELD_MAX 1000000 /* width and precision, as in Go */

enum arg_kind { ARG_INT, ARG_FLOAT, ARG_STRING };

struct arg {
	enum arg_kind kind;
	bool is_big;
	bool is_neg;
	const struct pv *num;
	double f;
	struct cf_view s;
};

struct spec {
	bool plus, minus, sharp, space, zero;
	int width, prec; /* -1: not given */
	uint32_t verb;
};

struct printer {
	struct pv_sb *out;
	struct cf_view fmt;
	size_t pos;
	const struct pv *args;
	uint32_t arg;
	bool is_reordered, is_bad_index;
	struct spec s;
};

/* ---- arguments ---- */

static struct arg load(struct printer *p, const struct pv *v)
{
	struct pv_sb text = pv_sb(p->out->arena);

	if (v->type == PV_NUM) {
		bool digits = !v->is_text;

		if (v->is_text) {
			size_t i = v->num->text[0] == '-';

			while (v->num->text[i] >= '0' && v->num->text[i] <= '9')
				i++;
			digits = i == v->num->text_len;
		}
		if (digits)
			return (struct arg){ .kind = ARG_INT,
				             .num = v,
				             .is_big = v->is_text,
				             .is_neg = v->is_text ? v->num->is_neg : v->i < 0 };
		double f = number_to_double(v);
		if (isfinite(f))
			return (struct arg){ .kind = ARG_FLOAT, .f = f };
		number_write(&text, v);
	} else {
		pv_bare_write(&text, v);
	}
	return (struct arg){ .kind = ARG_STRING, .s = cf_view(text.data, text.size) };
}

static const char *type_of(const struct arg *a)
{
	if (a->kind == ARG_INT)
		return a->is_big ? "*big.Int" : "int";
	return a->kind == ARG_FLOAT ? "float64" : "string";
}

/* ---- padding ---- */

static void pad(struct printer *p, struct cf_view s, size_t runes)
{
	size_t gap = p->s.width > 0 && (size_t)p->s.width > runes ? (size_t)p->s.width - runes : 0;
	char fill = p->s.zero && !p->s.minus ? '0' : ' ';

	for (size_t i = 0; !p->s.minus && i < gap && !p->out->is_bad; i++)
		pv_sb_byte(p->out, fill);
	pv_sb_add(p->out, s);
	for (size_t i = 0; p->s.minus && i < gap && !p->out->is_bad; i++)
		pv_sb_byte(p->out, ' ');
}

static void pad_str(struct printer *p, struct cf_view s)
{
	pad(p, s, pv_rune_count(s));
}

/* ---- integers ---- */

static size_t int_digits(const struct arg *a, uint32_t base, bool upper, char *buf, size_t size)
{
	struct big b;
	size_t at = size;

	if (!number_to_big(a->num, &b) || big_bits(&b) + 8 > size)
		return size;
	do {
		uint32_t d = big_div_small(&b, base);

		buf[--at] = (upper ? "0123456789ABCDEF" : "0123456789abcdef")[d];
	} while (b.n);
	return at;
}

static const char *int_prefix(const struct spec *s)
{
	if (s->verb == 'O')
		return "0o";
	if (!s->sharp)
		return "";
	return s->verb == 'b'   ? "0b"
	       : s->verb == 'o' ? "0"
	       : s->verb == 'x' ? "0x"
	       : s->verb == 'X' ? "0X"
	                        : "";
}

static void print_int(struct printer *p, const struct arg *a, uint32_t base)
{
	static const size_t room = 36000;
	char *buf = cf_arena_alloc(p->out->arena, room);
	size_t at = int_digits(a, base, p->s.verb == 'X', buf, room);
	struct pv_sb text = pv_sb(p->out->arena);
	int digits = (int)(room - at), want = p->s.prec;
	const char *sign = a->is_neg ? "-" : p->s.plus ? "+" : p->s.space ? " " : "";
	const char *prefix = int_prefix(&p->s);

	if (p->s.prec < 0 && p->s.zero && !p->s.minus && p->s.width > 0)
		want = p->s.width - (int)strlen(sign);
	pv_sb_str(&text, sign);
	pv_sb_str(&text, prefix);
	for (int i = digits; i < want && !text.is_bad; i++)
		pv_sb_byte(&text, '0');
	pv_sb_add(&text, cf_view(buf + at, (size_t)digits));
	p->s.zero = false;
	pad(p, cf_view(text.data, text.size), text.size);
}

static void quote_rune(struct pv_sb *b, uint32_t r, char quote)
{
	static const char from[] = "\a\b\f\n\r\t\v\\", to[] = "abfnrtv\\";
	const char *hit = r && r < 0x80 ? strchr(from, (int)r) : NULL;

	if (hit)
		pv_sb_fmt(b, "\\%c", to[hit - from]);
	else if (r == (uint32_t)quote)
		pv_sb_fmt(b, "\\%c", quote);
	else if (r < 0x20 || r == 0x7f)
		pv_sb_fmt(b, "\\x%02x", r);
	else if ((r >= 0x80 && r < 0xa1) || r == 0xad || r == 0x2028 || r == 0x2029 || r == 0xfeff)
		pv_sb_fmt(b, "\\u%04x", r);
	else
		pv_sb_rune(b, r);
}

static void print_rune(struct printer *p, const struct arg *a)
{
	struct pv_sb b = pv_sb(p->out->arena);
	int64_t v = 0;
	bool fits = number_to_i64(a->num, &v) && v >= 0 && v <= 0x10ffff;
	uint32_t r = fits ? (uint32_t)v : 0xfffd;

	if (p->s.verb == 'U') {
		pv_sb_fmt(&b, "U+%04llX", (unsigned long long)v);
	} else if (p->s.verb == 'q') {
		pv_sb_byte(&b, '\'');
		quote_rune(&b, r, '\'');
		pv_sb_byte(&b, '\'');
	} else {
		pv_sb_rune(&b, r);
	}
	pad_str(p, cf_view(b.data, b.size));
}

/* ---- floats ---- */

/* The fewest digits that read back as @f; exponent below -4 or from 6 on in %e form, as %v. */
static void shortest(struct pv_sb *b, double f)
{
	char text[40] = "";
	int exp10;

	for (int n = 0; n < 17; n++) {
		snprintf(text, sizeof(text), "%.*e", n, f);
		if (strtod(text, NULL) == f)
			break;
	}
	const char *e = strchr(text, 'e');
	exp10 = e ? (int)strtol(e + 1, NULL, 10) : 0;
	int digits = e ? (int)(e - text) - (text[0] == '-') - (strchr(text, '.') ? 1 : 0) : 1;
	if (exp10 < -4 || exp10 >= 6)
		pv_sb_str(b, text);
	else
		pv_sb_fmt(b, "%.*f", CF_MAX(0, digits - 1 - exp10), f);
}

static void print_float(struct printer *p, const struct arg *a)
{
	char verb = p->s.verb == 'v' ? 'g' : p->s.verb == 'F' ? 'f' : (char)p->s.verb;
	struct pv_sb b = pv_sb(p->out->arena);
	char text[512];
	double f = fabs(a->f);
	bool is_neg = signbit(a->f);
	int prec = CF_MIN(p->s.prec, 400);

	if ((verb == 'g' || verb == 'G') && p->s.prec < 0) {
		shortest(&b, f);
	} else {
		snprintf(text, sizeof(text),
		         verb == 'e'   ? "%.*e"
		         : verb == 'E' ? "%.*E"
		         : verb == 'f' ? "%.*f"
		         : verb == 'G' ? "%.*G"
		                       : "%.*g",
		         prec < 0 ? 6 : prec, f);
		pv_sb_str(&b, text);
		for (int i = prec; i < p->s.prec && verb == 'f' && !b.is_bad; i++)
			pv_sb_byte(&b, '0');
	}
	if (verb == 'G' && b.data)
		for (size_t i = 0; i < b.size; i++)
			b.data[i] = b.data[i] == 'e' ? 'E' : b.data[i];
	const char *sign = is_neg ? "-" : p->s.plus ? "+" : p->s.space ? " " : "";
	if (p->s.zero && !p->s.minus && p->s.width > 0 && sign[0]) {
		pv_sb_str(p->out, sign);
		p->s.width--;
		pad(p, cf_view(b.data, b.size), b.size);
		return;
	}
	struct pv_sb all = pv_sb(p->out->arena);
	pv_sb_str(&all, sign);
	pv_sb_add(&all, cf_view(b.data, b.size));
	pad(p, cf_view(all.data, all.size), all.size);
}

/* ---- strings ---- */

static struct cf_view cut(const struct printer *p, struct cf_view s)
{
	size_t pos = 0;

	if (p->s.prec < 0)
		return s;
	for (int i = 0; i < p->s.prec && pos < s.size; i++)
		cf_utf8_next(s, &pos);
	return cf_view_sub(s, 0, pos);
}

static void print_string(struct printer *p, const struct arg *a)
{
	struct pv_sb b = pv_sb(p->out->arena);
	struct cf_view s = cut(p, a->s);

	if (p->s.verb == 'v' || p->s.verb == 's') {
		pad_str(p, s);
		return;
	}
	if (p->s.verb == 'q') {
		pv_sb_byte(&b, '"');
		for (size_t pos = 0; pos < s.size && !b.is_bad;)
			quote_rune(&b, cf_utf8_next(s, &pos), '"');
		pv_sb_byte(&b, '"');
	} else {
		for (size_t i = 0; i < s.size && !b.is_bad; i++) {
			if (p->s.space && i)
				pv_sb_byte(&b, ' ');
			if (p->s.sharp && (i == 0 || p->s.space))
				pv_sb_str(&b, p->s.verb == 'x' ? "0x" : "0X");
			pv_sb_fmt(&b, p->s.verb == 'x' ? "%02x" : "%02X", s.data[i]);
		}
	}
	pad_str(p, cf_view(b.data, b.size));
}

/* ---- one verb ---- */

static void print_plain(struct printer *p, const struct arg *a)
{
	p->s = (struct spec){ .width = -1, .prec = -1, .verb = 'v' };
	if (a->kind == ARG_INT)
		print_int(p, a, 10);
	else if (a->kind == ARG_FLOAT)
		print_float(p, a);
	else
		print_string(p, a);
}

static void bad_verb(struct printer *p, const struct arg *a)
{
	pv_sb_str(p->out, "%!");
	pv_sb_rune(p->out, p->s.verb);
	pv_sb_fmt(p->out, "(%s=", type_of(a));
	print_plain(p, a);
	pv_sb_byte(p->out, ')');
}

static bool print_int_verb(struct printer *p, const struct arg *a)
{
	switch (p->s.verb) {
	case 'v':
	case 'd':
		print_int(p, a, 10);
		return true;
	case 's':
		if (!a->is_big)
			return false;
		print_int(p, a, 10);
		return true;
	case 'b':
		print_int(p, a, 2);
		return true;
	case 'o':
	case 'O':
		print_int(p, a, 8);
		return true;
	case 'x':
	case 'X':
		print_int(p, a, 16);
		return true;
	case 'c':
	case 'q':
	case 'U':
		if (a->is_big)
			return false;
		print_rune(p, a);
		return true;
	default:
		return false;
	}
}

static void print_arg(struct printer *p, const struct arg *a)
{
	bool ok = false;

	if (p->s.verb == 'T') {
		pad_str(p, cf_view_str(type_of(a)));
		return;
	}
	if (a->kind == ARG_INT) {
		ok = print_int_verb(p, a);
	} else if (a->kind == ARG_FLOAT) {
		ok = p->s.verb < 0x80 && p->s.verb && strchr("veEfFgG", (int)p->s.verb);
		if (ok)
			print_float(p, a);
	} else {
		ok = p->s.verb < 0x80 && p->s.verb && strchr("vsxXq", (int)p->s.verb);
		if (ok)
			print_string(p, a);
	}
	if (!ok)
		bad_verb(p, a);
}

/* ---- the format ---- */

static int peek(const struct printer *p)
{
	return p->pos < p->fmt.size ? p->fmt.data[p->pos] : -1;
}

static bool read_int(struct printer *p, int *ret)
{
	int n = 0;
	bool any = false, is_big = false;

	for (int c; (c = peek(p)) >= '0' && c <= '9'; p->pos++) {
		n = n * 10 + (c - '0');
		any = true;
		if (n > FIELD_MAX) {
			is_big = true;
			n = FIELD_MAX;
		}
	}
	if (is_big) /* as Go: the rest of the format is given up */
		p->pos = p->fmt.size;
	*ret = n;
	return any && !is_big;
}

/* [n]: the next operand is the n-th. */
static bool read_index(struct printer *p)
{
	int n;

	if (peek(p) != '[')
		return false;
	p->is_reordered = true;
	ssize_t end = cf_view_find(cf_view_sub(p->fmt, p->pos, p->fmt.size), ']');
	if (end < 0) {
		p->is_bad_index = true;
		p->pos++;
		return false;
	}
	size_t past = p->pos + (size_t)end + 1;
	p->pos++;
	bool ok = read_int(p, &n) && p->pos + 1 == past && n >= 1 && (uint32_t)n <= p->args->len;
	p->pos = past;
	if (ok)
		p->arg = (uint32_t)n - 1;
	else
		p->is_bad_index = true;
	return ok;
}

/* "*": the operand says it. */
static bool star(struct printer *p, int *ret)
{
	int64_t v = 0;
	bool ok = p->arg < p->args->len && p->args->at[p->arg]->type == PV_NUM &&
	          number_is_int(p->args->at[p->arg]) && number_to_i64(p->args->at[p->arg], &v) &&
	          v >= -FIELD_MAX && v <= FIELD_MAX;

	p->pos++;
	if (p->arg < p->args->len)
		p->arg++;
	*ret = ok ? (int)v : -1;
	return ok;
}

static void read_flags(struct printer *p)
{
	for (;; p->pos++) {
		switch (peek(p)) {
		case '+':
			p->s.plus = true;
			break;
		case '-':
			p->s.minus = true;
			break;
		case '#':
			p->s.sharp = true;
			break;
		case ' ':
			p->s.space = true;
			break;
		case '0':
			p->s.zero = true;
			break;
		default:
			return;
		}
	}
}

static void read_width(struct printer *p)
{
	bool after_index = read_index(p);

	if (peek(p) == '*') {
		if (!star(p, &p->s.width))
			pv_sb_str(p->out, "%!(BADWIDTH)");
		if (p->s.width < -1) {
			p->s.width = -p->s.width;
			p->s.minus = true;
		}
		return;
	}
	int n;
	if (read_int(p, &n)) {
		p->s.width = n;
		if (after_index)
			p->is_bad_index = true;
	}
}

static void read_precision(struct printer *p)
{
	if (peek(p) != '.')
		return;
	p->pos++;
	read_index(p);
	if (peek(p) == '*') {
		if (!star(p, &p->s.prec) || p->s.prec < 0) {
			p->s.prec = -1;
			pv_sb_str(p->out, "%!(BADPREC)");
		}
		return;
	}
	int n;
	p->s.prec = read_int(p, &n) ? n : 0;
}

static void run_verb(struct printer *p)
{
	if (p->s.verb == '%') {
		pv_sb_byte(p->out, '%');
		return;
	}
	if (p->is_bad_index || p->arg >= p->args->len) {
		pv_sb_str(p->out, "%!");
		pv_sb_rune(p->out, p->s.verb);
		pv_sb_str(p->out, p->is_bad_index ? "(BADINDEX)" : "(MISSING)");
		return;
	}
	struct arg a = load(p, p->args->at[p->arg++]);
	print_arg(p, &a);
}

static void print_extra(struct printer *p)
{
	if (p->is_reordered || p->arg >= p->args->len)
		return;
	pv_sb_str(p->out, "%!(EXTRA ");
	for (uint32_t i = p->arg; i < p->args->len && !p->out->is_bad; i++) {
		struct arg a = load(p, p->args->at[i]);

		if (i > p->arg)
			pv_sb_str(p->out, ", ");
		pv_sb_fmt(p->out, "%s=", type_of(&a));
		print_plain(p, &a);
	}
	pv_sb_byte(p->out, ')');
}

void sprintf_write(struct pv_sb *out, struct cf_view fmt, const struct pv *args)
{
	struct printer p = { .out = out, .fmt = fmt, .args = args };

	while (p.pos < fmt.size && !out->is_bad) {
		struct cf_view rest = cf_view_sub(fmt, p.pos, fmt.size);
		ssize_t n = cf_view_find(rest, '%');

		pv_sb_add(out, n < 0 ? rest : cf_view_sub(rest, 0, (size_t)n));
		if (n < 0)
			break;
		p.pos += (size_t)n + 1;
		p.s = (struct spec){ .width = -1, .prec = -1 };
		p.is_bad_index = false;
		read_flags(&p);
		read_width(&p);
		read_precision(&p);
		read_index(&p);
		if (p.pos >= fmt.size) {
			pv_sb_str(out, "%!(NOVERB)");
			break;
		}
		p.s.verb = cf_utf8_next(fmt, &p.pos);
		run_verb(&p);
	}
	print_extra(&p);
}
