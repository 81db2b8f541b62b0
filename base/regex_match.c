/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine: a list of threads in order of preference, all of them at the same place of the text.
 * Each instruction is on the list at most once, so a step costs at most one program length.
 */
#include "base/regex_tree.h"

#define NO_RUNE 0xffffffffu

struct thread_list {
	uint32_t *dense;  /* instructions in order of preference */
	uint32_t *sparse; /* instruction → place in dense */
	size_t *caps;     /* per place */
	uint32_t count;
};

struct machine {
	const struct cf_regex *re;
	struct cf_regex_run *run;
	struct cf_view text;
	uint32_t cap_count; /* positions per thread; 0: only yes or no */
	struct thread_list now, next;
	struct {
		uint32_t pc;  /* UINT32_MAX: put back … */
		uint32_t cap; /* … this capture … */
		size_t old;   /* … to this */
	} * stack;
	size_t *work; /* captures of the thread being added */
	size_t *best;
	bool found;
};

static bool is_word(uint32_t r)
{
	return r == '_' || (r >= '0' && r <= '9') || ((r | 0x20) >= 'a' && (r | 0x20) <= 'z');
}

static bool holds(uint32_t what, uint32_t before, uint32_t after)
{
	switch ((enum regex_assert)what) {
	case REGEX_LINE_START:
		return before == NO_RUNE || before == '\n';
	case REGEX_LINE_END:
		return after == NO_RUNE || after == '\n';
	case REGEX_TEXT_START:
		return before == NO_RUNE;
	case REGEX_TEXT_END:
		return after == NO_RUNE;
	case REGEX_WORD:
	case REGEX_NO_WORD:
		break;
	}
	bool edge = (before != NO_RUNE && is_word(before)) != (after != NO_RUNE && is_word(after));
	return edge == (what == REGEX_WORD);
}

static bool in_class(const struct regex_class *k, uint32_t r)
{
	uint32_t lo = 0, hi = k->count;

	if (r < 128)
		return k->ascii[r / 8] >> (r % 8) & 1;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (r < k->ranges[mid][0])
			hi = mid;
		else if (r > k->ranges[mid][1])
			lo = mid + 1;
		else
			return true;
	}
	return false;
}

static bool has_thread(const struct thread_list *l, uint32_t pc)
{
	return l->sparse[pc] < l->count && l->dense[l->sparse[pc]] == pc;
}

/* Puts @pc on the list; a thread that waits for a rune keeps its captures. */
static void put_thread(struct machine *m, struct thread_list *l, uint32_t pc)
{
	l->sparse[pc] = l->count;
	l->dense[l->count] = pc;
	if (m->cap_count)
		memcpy(l->caps + (size_t)l->count * m->cap_count, m->work,
		       m->cap_count * sizeof(size_t));
	l->count++;
}

/* Follows everything that takes no rune from @pc on. */
static void add_thread(struct machine *m, struct thread_list *l, uint32_t pc, size_t pos,
                       uint32_t before, uint32_t after)
{
	uint32_t depth = 0;

	m->stack[depth++].pc = pc;
	while (depth) {
		pc = m->stack[--depth].pc;
		if (pc == UINT32_MAX) {
			m->work[m->stack[depth].cap] = m->stack[depth].old;
			continue;
		}
		if (has_thread(l, pc))
			continue;
		put_thread(m, l, pc);
		m->run->steps_left -= m->run->steps_left > 0;
		const struct regex_inst *i = &m->re->prog[pc];
		switch ((enum regex_op)i->op) {
		case REGEX_SPLIT:
			m->stack[depth++].pc = i->y;
			m->stack[depth++].pc = i->x;
			break;
		case REGEX_JUMP:
			m->stack[depth++].pc = i->x;
			break;
		case REGEX_SAVE:
			if (i->x < m->cap_count) {
				m->stack[depth].pc = UINT32_MAX;
				m->stack[depth].cap = i->x;
				m->stack[depth++].old = m->work[i->x];
				m->work[i->x] = pos;
			}
			m->stack[depth++].pc = pc + 1;
			break;
		case REGEX_ASSERT:
			if (holds(i->x, before, after))
				m->stack[depth++].pc = pc + 1;
			break;
		case REGEX_CHAR:
		case REGEX_CLASS:
		case REGEX_MATCH:
			break;
		}
	}
}

/* All threads over one rune. A match ends the threads of lower preference. */
static void step(struct machine *m, uint32_t rune, size_t pos, size_t next_pos, uint32_t after)
{
	for (uint32_t t = 0; t < m->now.count; t++) {
		uint32_t pc = m->now.dense[t];
		const struct regex_inst *i = &m->re->prog[pc];
		size_t *caps = m->now.caps + (size_t)t * m->cap_count;

		if (i->op == REGEX_MATCH) {
			m->found = true;
			if (m->cap_count) {
				memcpy(m->best, caps, m->cap_count * sizeof(size_t));
				m->best[1] = pos;
			}
			return;
		}
		bool takes = rune != NO_RUNE &&
		             ((i->op == REGEX_CHAR && i->x == rune) ||
		              (i->op == REGEX_CLASS && in_class(&m->re->classes[i->x], rune)));
		if (!takes)
			continue;
		if (m->cap_count)
			memcpy(m->work, caps, m->cap_count * sizeof(size_t));
		add_thread(m, &m->next, pc + 1, next_pos, rune, after);
	}
}

static uint32_t rune_at(struct cf_view text, size_t pos, size_t *next)
{
	*next = pos;
	if (pos >= text.size)
		return NO_RUNE;
	return cf_utf8_next(text, next);
}

static uint32_t rune_before(struct cf_view text, size_t pos)
{
	size_t at = pos;

	if (!pos)
		return NO_RUNE;
	do {
		at--;
	} while (at && (text.data[at] & 0xc0) == 0x80 && pos - at < 4);
	return cf_utf8_next(text, &at);
}

/* The next place where a match may start, or SIZE_MAX. */
static size_t next_start(const struct machine *m, size_t pos)
{
	struct cf_view p = m->re->prefix;

	if (m->re->is_anchored)
		return pos ? SIZE_MAX : 0;
	if (!p.size)
		return pos;
	if (pos + p.size > m->text.size)
		return SIZE_MAX;
	const uint8_t *hit = memmem(m->text.data + pos, m->text.size - pos, p.data, p.size);
	return hit ? (size_t)(hit - m->text.data) : SIZE_MAX;
}

static void start_thread(struct machine *m, size_t pos, uint32_t before, uint32_t rune)
{
	for (uint32_t i = 0; i < m->cap_count; i++)
		m->work[i] = SIZE_MAX;
	if (m->cap_count)
		m->work[0] = pos;
	add_thread(m, &m->now, 0, pos, before, rune);
}

static void run_machine(struct machine *m, size_t pos)
{
	uint32_t before = rune_before(m->text, pos);

	for (;;) {
		size_t next_pos, after_pos;

		if (!m->now.count) {
			size_t start = m->found ? SIZE_MAX : next_start(m, pos);

			if (start == SIZE_MAX)
				return;
			if (start != pos)
				before = rune_before(m->text, start);
			pos = start;
		}
		uint32_t rune = rune_at(m->text, pos, &next_pos);
		if (!m->found && (!m->re->is_anchored || pos == 0))
			start_thread(m, pos, before, rune);
		m->next.count = 0;
		step(m, rune, pos, next_pos, rune_at(m->text, next_pos, &after_pos));
		struct thread_list spent = m->now;
		m->now = m->next;
		m->next = spent;
		if (!m->run->steps_left) {
			m->run->is_over = true;
			return;
		}
		if (rune == NO_RUNE || (m->found && !m->cap_count))
			return;
		m->run->steps_left--;
		before = rune;
		pos = next_pos;
	}
}

static bool list_init(struct machine *m, struct thread_list *l)
{
	uint32_t n = m->re->count;

	l->dense = cf_arena_try(&m->run->arena, n, sizeof(*l->dense));
	l->sparse = cf_arena_try(&m->run->arena, n, sizeof(*l->sparse));
	l->caps = cf_arena_try(&m->run->arena, (size_t)n * m->cap_count + 1, sizeof(*l->caps));
	return l->dense && l->sparse && l->caps;
}

bool cf_regex_match(const struct cf_regex *re, struct cf_regex_run *run, struct cf_view text,
                    size_t from, struct cf_regex_span *spans)
{
	struct machine m = { .re = re, .run = run, .text = text };

	m.cap_count = spans ? 2 * (re->group_count + 1) : 0;
	cf_arena_reset(&run->arena);
	run->arena.max = CF_REGEX_RUN_MAX;
	run->is_over = false;
	m.work = cf_arena_try(&run->arena, m.cap_count + 1, sizeof(*m.work));
	m.best = cf_arena_try(&run->arena, m.cap_count + 1, sizeof(*m.best));
	m.stack = cf_arena_try(&run->arena, 2 * (size_t)re->count + 2, sizeof(*m.stack));
	if (!list_init(&m, &m.now) || !list_init(&m, &m.next) || !m.work || !m.best || !m.stack) {
		run->is_over = true;
		return false;
	}
	run_machine(&m, from);
	for (uint32_t i = 0; m.found && spans && i <= re->group_count; i++) {
		bool is_open = m.best[2 * i] == SIZE_MAX || m.best[2 * i + 1] == SIZE_MAX;

		spans[i].start = is_open ? SIZE_MAX : m.best[2 * i];
		spans[i].end = is_open ? SIZE_MAX : m.best[2 * i + 1];
	}
	return m.found && !run->is_over;
}

void cf_regex_run_fini(struct cf_regex_run *run)
{
	cf_arena_fini(&run->arena);
}
