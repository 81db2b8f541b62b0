/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Errors: one type, on the caller's stack, no allocation.
 *
 * A fallible function returns int and takes a struct cf_err last:
 *   0         success
 *   negative  failure: -code, @err filled; hand it on (cf_wrap adds context)
 *   positive  an outcome that the function's header names, @err untouched; the caller handles it
 *
 * enum cf_code is the canonical gRPC list, so gRPC and ttRPC need no translation.
 * House reading: malformed input 3; a limit reached 8; digest mismatch 15; signature or policy
 * refusal 7; attestation failed 16; network, try again 14; wrong order of calls 9; our bug 13.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define cf_must_use       __attribute__((warn_unused_result))
#define cf_printf(fmt, a) __attribute__((format(printf, fmt, a)))

enum cf_code {
	CF_OK = 0,
	CF_CANCELLED = 1,
	CF_UNKNOWN = 2,
	CF_INVALID_ARGUMENT = 3,
	CF_DEADLINE_EXCEEDED = 4,
	CF_NOT_FOUND = 5,
	CF_ALREADY_EXISTS = 6,
	CF_PERMISSION_DENIED = 7,
	CF_RESOURCE_EXHAUSTED = 8,
	CF_FAILED_PRECONDITION = 9,
	CF_ABORTED = 10,
	CF_OUT_OF_RANGE = 11,
	CF_UNIMPLEMENTED = 12,
	CF_INTERNAL = 13,
	CF_UNAVAILABLE = 14,
	CF_DATA_LOSS = 15,
	CF_UNAUTHENTICATED = 16,
	CF_CODE_MAX = CF_UNAUTHENTICATED,
};

struct cf_err {
	enum cf_code code;
	int sys; /* errno or 0 */
	char msg[1016];
};

#define CF_STR2(x) #x
#define CF_STR(x)  CF_STR2(x)
#define CF_WHERE   __FILE__ ":" CF_STR(__LINE__)

/* Tells the compiler what the three calls below promise, so that it sees which outputs are set. */
static inline int cf_negative(int r)
{
	if (r >= 0)
		__builtin_unreachable();
	return r;
}

/*
 * Start an error; returns -code. @err may be NULL. Text is cut at the buffer's end, on a UTF-8
 * boundary; control characters become '?', so a message is always one line.
 * COFFER_ERR_TRACE=1 prints file:line at each fail and wrap.
 */
int cf_fail(const char *where, struct cf_err *err, enum cf_code code, const char *fmt, ...)
	cf_printf(4, 5);
#define cf_fail(err, code, ...) cf_negative(cf_fail(CF_WHERE, err, code, __VA_ARGS__))

/* Start an error from @errnum: picks the code, appends ": " and strerror. Returns -code. */
int cf_fail_errno(const char *where, struct cf_err *err, int errnum, const char *fmt, ...)
	cf_printf(4, 5);
#define cf_fail_errno(err, errnum, ...)                                                            \
	cf_negative(cf_fail_errno(CF_WHERE, err, errnum, __VA_ARGS__))

/* "context: cause"; returns @r. The cause gives way when the buffer is too small, never the context. */
int cf_wrap(const char *where, struct cf_err *err, int r, const char *fmt, ...) cf_printf(4, 5);
#define cf_wrap(err, r, ...) cf_wrap(CF_WHERE, err, r, __VA_ARGS__)

/* "NOT_FOUND" for CF_NOT_FOUND, as gRPC spells it. */
const char *cf_code_name(enum cf_code code);

/* The code that an errno stands for: ENOENT → NOT_FOUND, ENOSPC → RESOURCE_EXHAUSTED, … */
enum cf_code cf_code_from_errno(int errnum);
