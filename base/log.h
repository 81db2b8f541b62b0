/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Logging for programs; libraries return errors and never log. One line per event on stderr:
 *
 *   2026-11-20T23:30:43.120Z info pull done image=docker.io/a/b:1 bytes=123 ms=40
 *
 * Values from outside are quoted and escaped. Levels: error (someone must act), warn (we went on),
 * info (one line per request), debug. COFFER_LOG chooses the level.
 */
#include "base/bytes.h"

enum cf_log_level {
	CF_LOG_ERROR,
	CF_LOG_WARN,
	CF_LOG_INFO,
	CF_LOG_DEBUG,
};

/* Call once in main(). @component is printed in each line. Reads COFFER_LOG. */
void cf_log_init(const char *component);
void cf_log_set_level(enum cf_log_level level);
/* "error" … "debug"; -CF_INVALID_ARGUMENT otherwise. */
cf_must_use int cf_log_level_parse(const char *text, enum cf_log_level *ret, struct cf_err *err);
void cf_log_set_fd(int fd); /* default 2 */

/* One key=value of a line. Make them with the CF_F_* macros. */
struct cf_log_field {
	const char *key;
	enum { CF_LF_STR, CF_LF_VIEW, CF_LF_INT, CF_LF_UINT } kind;
	union {
		const char *s;
		struct cf_view v;
		int64_t i;
		uint64_t u;
	};
};
#define CF_F_STR(k, x)                                                                             \
	{                                                                                          \
		.key = (k), .kind = CF_LF_STR, .s = (x)                                            \
	}
#define CF_F_VIEW(k, x)                                                                            \
	{                                                                                          \
		.key = (k), .kind = CF_LF_VIEW, .v = (x)                                           \
	}
#define CF_F_INT(k, x)                                                                             \
	{                                                                                          \
		.key = (k), .kind = CF_LF_INT, .i = (x)                                            \
	}
#define CF_F_UINT(k, x)                                                                            \
	{                                                                                          \
		.key = (k), .kind = CF_LF_UINT, .u = (x)                                           \
	}

void cf_log_write(enum cf_log_level level, const char *msg, const struct cf_log_field *fields,
                  size_t count);

/* cf_log(CF_LOG_INFO, "pull done", CF_F_STR("image", ref), CF_F_UINT("ms", ms)); NULL strings are left out */
#define cf_log(level, msg, ...)                                                                    \
	do {                                                                                       \
		const struct cf_log_field cf_fields_[] = { { .key = NULL }, ##__VA_ARGS__ };       \
		cf_log_write(level, msg, cf_fields_ + 1, CF_ARRAY_LEN(cf_fields_) - 1);            \
	} while (0)
#define cf_log_error(msg, ...) cf_log(CF_LOG_ERROR, msg, ##__VA_ARGS__)
#define cf_log_warn(msg, ...)  cf_log(CF_LOG_WARN, msg, ##__VA_ARGS__)
#define cf_log_info(msg, ...)  cf_log(CF_LOG_INFO, msg, ##__VA_ARGS__)
#define cf_log_debug(msg, ...) cf_log(CF_LOG_DEBUG, msg, ##__VA_ARGS__)
