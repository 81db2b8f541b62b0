/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of runes: building, folding case, negating, and the sets with names. */
#include "base/regex_tree.h"
#include "base/unicode.h"

#define RUNE_MAX 0x10ffffu

struct re_set re_set_new(struct cf_arena *arena)
{
	return (struct re_set){ .arena = arena, .before = cf_arena_mark(arena) };
}

void re_set_add(struct re_set *s, uint32_t lo, uint32_t hi)
{
	if (lo > hi || !cf_arena_grow(s->arena, &s->ranges, &s->cap, s->count + 1))
		return;
	s->ranges[s->count][0] = lo;
	s->ranges[s->count++][1] = hi;
}

static int by_start(const void *a, const void *b)
{
	uint32_t x = ((const uint32_t *)a)[0], y = ((const uint32_t *)b)[0];

	return x < y ? -1 : x > y;
}

static bool is_sorted(const struct re_set *s)
{
	for (uint32_t i = 1; i < s->count; i++)
		if (s->ranges[i][0] < s->ranges[i - 1][0])
			return false;
	return true;
}

static void normalise(struct re_set *s)
{
	uint32_t n = 0;

	if (!is_sorted(s))
		qsort(s->ranges, s->count, sizeof(s->ranges[0]), by_start);
	for (uint32_t i = 0; i < s->count; i++) {
		if (n && s->ranges[i][0] <= s->ranges[n - 1][1] + 1) {
			s->ranges[n - 1][1] = CF_MAX(s->ranges[n - 1][1], s->ranges[i][1]);
			continue;
		}
		s->ranges[n][0] = s->ranges[i][0];
		s->ranges[n++][1] = s->ranges[i][1];
	}
	s->count = n;
}

uint32_t re_set_fold(struct re_set *s)
{
	uint32_t n, looked_at = 0;

	normalise(s);
	n = s->count;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t r = cf_unicode_next_folded(s->ranges[i][0]), hi = s->ranges[i][1];

		for (; r <= hi; r = cf_unicode_next_folded(r + 1), looked_at++)
			for (uint32_t f = cf_unicode_fold(r); f != r; f = cf_unicode_fold(f))
				re_set_add(s, f, f);
	}
	return looked_at + n;
}

void re_set_negate(struct re_set *s)
{
	struct re_set out = { .arena = s->arena, .before = s->before };
	uint32_t next = 0;

	normalise(s);
	for (uint32_t i = 0; i < s->count; i++) {
		if (s->ranges[i][0] > next)
			re_set_add(&out, next, s->ranges[i][0] - 1);
		next = s->ranges[i][1] + 1;
	}
	if (next <= RUNE_MAX)
		re_set_add(&out, next, RUNE_MAX);
	*s = out;
}

static void add_all(struct re_set *s, struct re_set *from, bool negated)
{
	if (negated)
		re_set_negate(from);
	for (uint32_t i = 0; i < from->count; i++)
		re_set_add(s, from->ranges[i][0], from->ranges[i][1]);
}

/* The commonest scripts. */
static const struct {
	const char *name;
	uint32_t ranges[12][2];
} scripts[] = {
	{ "Latin",
	  { { 'A', 'Z' },
	    { 'a', 'z' },
	    { 0xaa, 0xaa },
	    { 0xba, 0xba },
	    { 0xc0, 0xd6 },
	    { 0xd8, 0xf6 },
	    { 0xf8, 0x2b8 },
	    { 0x1e00, 0x1eff },
	    { 0x2c60, 0x2c7f },
	    { 0xa722, 0xa787 },
	    { 0xff21, 0xff3a },
	    { 0xff41, 0xff5a } } },
	{ "Greek",
	  { { 0x370, 0x373 },
	    { 0x375, 0x377 },
	    { 0x37a, 0x37d },
	    { 0x37f, 0x37f },
	    { 0x384, 0x384 },
	    { 0x386, 0x386 },
	    { 0x388, 0x3e1 },
	    { 0x3f0, 0x3ff },
	    { 0x1f00, 0x1ffe },
	    { 0x2126, 0x2126 } } },
	{ "Cyrillic",
	  { { 0x400, 0x484 },
	    { 0x487, 0x52f },
	    { 0x1c80, 0x1c88 },
	    { 0x2de0, 0x2dff },
	    { 0xa640, 0xa69f } } },
	{ "Han",
	  { { 0x2e80, 0x2fd5 },
	    { 0x3005, 0x3005 },
	    { 0x3007, 0x3007 },
	    { 0x3021, 0x3029 },
	    { 0x3038, 0x303b },
	    { 0x3400, 0x4dbf },
	    { 0x4e00, 0x9fff },
	    { 0xf900, 0xfad9 },
	    { 0x20000, 0x323af } } },
	{ "Hebrew", { { 0x591, 0x5f4 }, { 0xfb1d, 0xfb4f } } },
	{ "Arabic",
	  { { 0x600, 0x604 },
	    { 0x606, 0x60b },
	    { 0x60d, 0x61a },
	    { 0x61c, 0x61e },
	    { 0x620, 0x63f },
	    { 0x641, 0x64a },
	    { 0x656, 0x66f },
	    { 0x671, 0x6dc },
	    { 0x6de, 0x6ff },
	    { 0x750, 0x77f } } },
	{ "Hiragana", { { 0x3041, 0x3096 }, { 0x309d, 0x309f } } },
	{ "Katakana", { { 0x30a1, 0x30fa }, { 0x30fd, 0x30ff }, { 0x31f0, 0x31ff } } },
};

static void add_script(struct re_set *s, const char *name)
{
	for (size_t i = 0; i < CF_ARRAY_LEN(scripts); i++)
		for (size_t k = 0; !strcmp(scripts[i].name, name) && k < 12; k++)
			if (scripts[i].ranges[k][1])
				re_set_add(s, scripts[i].ranges[k][0], scripts[i].ranges[k][1]);
}

/* General categories by one or two letters, and the commonest scripts. */
bool re_set_named(struct re_set *s, struct cf_view name, bool negated)
{
	struct re_set found = { .arena = s->arena };
	char text[16] = { 0 };
	size_t n = 0;

	if (!name.size || name.size >= sizeof(text))
		return false;
	memcpy(text, name.data, name.size);
	if (strcmp(text, "Any") == 0)
		re_set_add(&found, 0, RUNE_MAX);
	const struct cf_unicode_range *r;
	for (size_t k = 0; (r = cf_unicode_category(text, k, &n)); k++)
		for (size_t i = 0; i < n; i++)
			re_set_add(&found, r[i].lo, r[i].hi);
	add_script(&found, text);
	if (!found.count)
		return false;
	add_all(s, &found, negated);
	return true;
}

bool re_set_posix(struct re_set *s, struct cf_view name, bool negated)
{
	static const struct {
		const char *name;
		uint8_t ranges[8];
	} sets[] = {
		{ "alnum", { '0', '9', 'A', 'Z', 'a', 'z' } },
		{ "alpha", { 'A', 'Z', 'a', 'z' } },
		{ "ascii", { 0, 0x7f } },
		{ "blank", { '\t', '\t', ' ', ' ' } },
		{ "cntrl", { 0, 0x1f, 0x7f, 0x7f } },
		{ "digit", { '0', '9' } },
		{ "graph", { '!', '~' } },
		{ "lower", { 'a', 'z' } },
		{ "print", { ' ', '~' } },
		{ "punct", { '!', '/', ':', '@', '[', '`', '{', '~' } },
		{ "space", { '\t', '\r', ' ', ' ' } },
		{ "upper", { 'A', 'Z' } },
		{ "word", { '0', '9', 'A', 'Z', 'a', 'z', '_', '_' } },
		{ "xdigit", { '0', '9', 'A', 'F', 'a', 'f' } },
	};
	struct re_set found = { .arena = s->arena };

	for (size_t i = 0; i < CF_ARRAY_LEN(sets); i++)
		for (size_t k = 0; cf_view_eq_str(name, sets[i].name) && k < 8; k += 2)
			if (sets[i].ranges[k + 1])
				re_set_add(&found, sets[i].ranges[k], sets[i].ranges[k + 1]);
	if (!found.count)
		return false;
	add_all(s, &found, negated);
	return true;
}

bool re_set_perl(struct re_set *s, uint8_t letter)
{
	static const uint8_t space[] = { '\t', '\n', '\f', '\r', ' ' };
	struct re_set found = { .arena = s->arena };

	switch (letter | 0x20) {
	case 'd':
		return re_set_posix(s, cf_view_str("digit"), letter == 'D');
	case 'w':
		return re_set_posix(s, cf_view_str("word"), letter == 'W');
	case 's':
		for (size_t i = 0; i < sizeof(space); i++)
			re_set_add(&found, space[i], space[i]);
		add_all(s, &found, letter == 'S');
		return true;
	default:
		return false;
	}
}

uint32_t re_set_done(struct re_set *s, struct cf_regex *re)
{
	normalise(s);
	if (!cf_arena_grow(&re->arena, &re->classes, &re->class_cap, re->class_count + 1))
		return 0;
	struct regex_class *k = &re->classes[re->class_count];
	*k = (struct regex_class){ .count = s->count };
	k->ranges = cf_arena_try(&re->arena, s->count + 1, sizeof(s->ranges[0]));
	if (!k->ranges)
		return 0;
	if (s->count)
		memcpy(k->ranges, s->ranges, s->count * sizeof(s->ranges[0]));
	for (uint32_t i = 0; i < s->count; i++)
		for (uint32_t r = s->ranges[i][0]; r <= s->ranges[i][1] && r < 128; r++)
			k->ascii[r / 8] |= (uint8_t)(1u << (r % 8));
	cf_arena_release(s->arena, s->before);
	return re->class_count++;
}
