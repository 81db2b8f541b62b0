/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#undef cf_fail
#undef cf_fail_errno
#undef cf_wrap

static void trace(const char *where, const char *what, const char *msg)
{
	const char *on = getenv("COFFER_ERR_TRACE");

	if (on && *on && *on != '0')
		fprintf(stderr, "%s: %s: %s\n", where, what, msg);
}

/* One printable line: no control characters, no half UTF-8 sequence at the cut. */
static void tidy(char *msg, size_t cap)
{
	size_t n = strlen(msg);

	for (size_t i = 0; i < n; i++)
		if ((unsigned char)msg[i] < 0x20 || msg[i] == 0x7f)
			msg[i] = '?';
	if (n < cap - 1)
		return;
	size_t cut = n;
	while (cut > 0 && n - cut < 3 && ((unsigned char)msg[cut - 1] & 0xc0) == 0x80)
		cut--;
	if (cut > 0 && (unsigned char)msg[cut - 1] >= 0xc0)
		msg[cut - 1] = '\0';
}

int cf_fail(const char *where, struct cf_err *err, enum cf_code code, const char *fmt, ...)
{
	struct cf_err local;
	va_list ap;

	assert(code > CF_OK && code <= CF_UNAUTHENTICATED);
	if (!err)
		err = &local;
	err->code = code;
	err->sys = 0;
	va_start(ap, fmt);
	vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
	va_end(ap);
	tidy(err->msg, sizeof(err->msg));
	trace(where, "fail", err->msg);
	return -(int)code;
}

int cf_fail_errno(const char *where, struct cf_err *err, int errnum, const char *fmt, ...)
{
	struct cf_err local;
	va_list ap;
	size_t n;

	if (!err)
		err = &local;
	err->code = cf_code_from_errno(errnum);
	err->sys = errnum;
	va_start(ap, fmt);
	vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
	va_end(ap);
	n = strlen(err->msg);
	snprintf(err->msg + n, sizeof(err->msg) - n, ": %s",
	         strerrordesc_np(errnum) ?: "unknown error");
	tidy(err->msg, sizeof(err->msg));
	trace(where, "fail", err->msg);
	return -(int)err->code;
}

int cf_wrap(const char *where, struct cf_err *err, int r, const char *fmt, ...)
{
	char cause[sizeof(err->msg)];
	va_list ap;
	size_t n;

	if (!err)
		return r;
	memcpy(cause, err->msg, sizeof(cause));
	va_start(ap, fmt);
	vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
	va_end(ap);
	n = strlen(err->msg);
	snprintf(err->msg + n, sizeof(err->msg) - n, ": %s", cause);
	tidy(err->msg, sizeof(err->msg));
	trace(where, "wrap", err->msg);
	return r;
}

static const char *const code_names[] = {
	[CF_OK] = "OK",
	[CF_CANCELLED] = "CANCELLED",
	[CF_UNKNOWN] = "UNKNOWN",
	[CF_INVALID_ARGUMENT] = "INVALID_ARGUMENT",
	[CF_DEADLINE_EXCEEDED] = "DEADLINE_EXCEEDED",
	[CF_NOT_FOUND] = "NOT_FOUND",
	[CF_ALREADY_EXISTS] = "ALREADY_EXISTS",
	[CF_PERMISSION_DENIED] = "PERMISSION_DENIED",
	[CF_RESOURCE_EXHAUSTED] = "RESOURCE_EXHAUSTED",
	[CF_FAILED_PRECONDITION] = "FAILED_PRECONDITION",
	[CF_ABORTED] = "ABORTED",
	[CF_OUT_OF_RANGE] = "OUT_OF_RANGE",
	[CF_UNIMPLEMENTED] = "UNIMPLEMENTED",
	[CF_INTERNAL] = "INTERNAL",
	[CF_UNAVAILABLE] = "UNAVAILABLE",
	[CF_DATA_LOSS] = "DATA_LOSS",
	[CF_UNAUTHENTICATED] = "UNAUTHENTICATED",
};

const char *cf_code_name(enum cf_code code)
{
	if ((size_t)code >= sizeof(code_names) / sizeof(code_names[0]))
		return "UNKNOWN";
	return code_names[code];
}

enum cf_code cf_code_from_errno(int errnum)
{
	switch (errnum) {
	case ENOENT:
	case ENOTDIR:
	case ENODEV:
	case ESRCH:
		return CF_NOT_FOUND;
	case EEXIST:
		return CF_ALREADY_EXISTS;
	case EACCES:
	case EPERM:
	case EROFS:
		return CF_PERMISSION_DENIED;
	case ENOSPC:
	case EDQUOT:
	case ENOMEM:
	case EMFILE:
	case ENFILE:
	case EFBIG:
		return CF_RESOURCE_EXHAUSTED;
	case EINVAL:
	case ENAMETOOLONG:
	case ELOOP:
		return CF_INVALID_ARGUMENT;
	case EBUSY:
	case ENOTEMPTY:
		return CF_FAILED_PRECONDITION;
	case ETIMEDOUT:
		return CF_DEADLINE_EXCEEDED;
	case ECANCELED:
		return CF_CANCELLED;
	case ENOSYS:
	case EOPNOTSUPP:
		return CF_UNIMPLEMENTED;
	case EAGAIN:
	case ECONNREFUSED:
	case ECONNRESET:
	case EPIPE:
	case EHOSTUNREACH:
	case ENETUNREACH:
		return CF_UNAVAILABLE;
	case EIO:
	case EBADMSG:
		return CF_DATA_LOSS;
	default:
		return CF_UNKNOWN;
	}
}
