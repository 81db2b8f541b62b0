/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include "base/str.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static const char *const level_names[] = {
	[CF_LOG_ERROR] = "error",
	[CF_LOG_WARN] = "warn",
	[CF_LOG_INFO] = "info",
	[CF_LOG_DEBUG] = "debug",
};

static _Atomic int log_level = CF_LOG_INFO;
static _Atomic int log_fd = 2;
static const char *log_component = "coffer"; /* written once, in main() */

int cf_log_level_parse(const char *text, enum cf_log_level *ret, struct cf_err *err)
{
	for (size_t i = 0; i < CF_ARRAY_LEN(level_names); i++)
		if (cf_streq(text, level_names[i])) {
			*ret = (enum cf_log_level)i;
			return 0;
		}
	return cf_fail(err, CF_INVALID_ARGUMENT, "log level '%s': use error, warn, info or debug",
	               text);
}

void cf_log_set_level(enum cf_log_level level)
{
	atomic_store(&log_level, (int)level);
}

void cf_log_set_fd(int fd)
{
	atomic_store(&log_fd, fd);
}

void cf_log_init(const char *component)
{
	const char *env = getenv("COFFER_LOG");
	enum cf_log_level level;

	log_component = component;
	if (env && cf_log_level_parse(env, &level, NULL) == 0)
		cf_log_set_level(level);
}

static bool is_plain(struct cf_view v)
{
	for (size_t i = 0; i < v.size; i++)
		if (v.data[i] <= 0x20 || v.data[i] >= 0x7f || v.data[i] == '"' ||
		    v.data[i] == '=' || v.data[i] == '\\')
			return false;
	return v.size > 0;
}

static void add_value(struct cf_buf *b, struct cf_view v)
{
	if (is_plain(v))
		cf_buf_add_view(b, v);
	else
		cf_buf_add_json_str(b, v);
}

static void add_field(struct cf_buf *b, const struct cf_log_field *f)
{
	if (f->kind == CF_LF_STR && !f->s)
		return;
	cf_buf_printf(b, " %s=", f->key);
	switch (f->kind) {
	case CF_LF_STR:
		add_value(b, cf_view_str(f->s));
		return;
	case CF_LF_VIEW:
		add_value(b, f->v);
		return;
	case CF_LF_INT:
		cf_buf_printf(b, "%lld", (long long)f->i);
		return;
	case CF_LF_UINT:
		cf_buf_printf(b, "%llu", (unsigned long long)f->u);
		return;
	}
}

void cf_log_write(enum cf_log_level level, const char *msg, const struct cf_log_field *fields,
                  size_t count)
{
	struct cf_buf b = { .max = 64 << 10 };
	struct timespec now;
	struct tm tm;

	if ((int)level > atomic_load(&log_level))
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	cf_buf_printf(&b, "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ %s %s: ", tm.tm_year + 1900,
	              tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
	              now.tv_nsec / 1000000, level_names[level], log_component);
	for (const char *p = msg; *p; p++)
		cf_buf_add_byte(&b, (uint8_t)*p < 0x20 ? '?' : (uint8_t)*p);
	for (size_t i = 0; i < count; i++)
		add_field(&b, &fields[i]);
	if (!b.bad)
		cf_buf_add_byte(&b, '\n');
	/* One write per line, so that lines of several threads never mix. A full log is no reason to stop. */
	ssize_t n = b.size ? write(atomic_load(&log_fd), b.data, b.size) : 0;
	(void)n;
	cf_buf_fini(&b);
}
