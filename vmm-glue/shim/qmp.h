/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * QMP, QEMU's monitor: one JSON object a line, both ways. The parser is pure; what it reads comes
 * from a process that a guest may have taken over, so it is limited and refuses by type.
 */
#include "base/json.h"

#define QMP_LINE_MAX (1u << 20) /* bytes of one message */

enum qmp_kind {
	QMP_GREETING,
	QMP_RETURN,
	QMP_ERROR,
	QMP_EVENT,
};

struct qmp_message {
	struct cf_json *root;
	enum qmp_kind kind;
	uint64_t id;          /* of a return or error; 0 when it has none */
	const char *event;    /* borrowed from @root: "SHUTDOWN", or NULL */
	struct cf_view error; /* borrowed: the description */
};

/* One line without its end. Return: 0, -CF_INVALID_ARGUMENT, -CF_RESOURCE_EXHAUSTED. */
cf_must_use int qmp_parse(struct cf_view line, struct qmp_message *ret, struct cf_err *err);
void qmp_message_fini(struct qmp_message *m);

/* ---- client: blocking, for worker threads ---- */

struct qmp;

/* Connects, reads the greeting, negotiates. */
cf_must_use int qmp_open(const char *path, int64_t timeout_ms, struct qmp **ret,
                         struct cf_err *err);
struct qmp *qmp_close(struct qmp *q);
CF_DEFINE_CLEANUP(struct qmp *, qmp_close);
/*
 * Runs @command; @arguments is JSON of an object, or NULL. Events that arrive meanwhile are passed
 * over, but for SHUTDOWN and GUEST_PANICKED: -CF_UNAVAILABLE. @ret (may be NULL) gets the answer.
 */
cf_must_use int qmp_call(struct qmp *q, const char *command, const char *arguments,
                         struct cf_buf *ret, struct cf_err *err);
/* Without waiting: tells QEMU at @path to end. Failure means that it is gone already. */
void qmp_quit(const char *path);
