/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Runtime events: an event is measured into a register and then written down, so that a verifier can
 * replay it. The file holds TCG2 records only (EV_EVENT_TAG, one SHA-256 digest), without header or
 * end mark; they are appended to the firmware's log in evidence.
 *
 * A write-ahead note names the register, the value it will have, and where the record will stand: a
 * crash between the two steps is repaired at the next start, or refused when neither fits.
 *
 * Source: guest-components, attestation-agent eventlog (AAEL); the note's format is ours.
 */
#include "attest-agent/attester.h"

#define EVENT_TEXT_MAX (64u << 10) /* bytes of "domain operation content" */

struct event_log;

/*
 * Opens (and repairs) the log of @attester below @dir, which is made when missing.
 * -CF_DATA_LOSS: a note of a crash that neither the old nor the new register value explains.
 */
cf_must_use int event_log_open(const char *dir, const struct attester *attester,
                               struct event_log **ret, struct cf_err *err);
struct event_log *event_log_free(struct event_log *log);
CF_DEFINE_CLEANUP(struct event_log *, event_log_free);

/* Path of the records. */
const char *event_log_path(const struct event_log *log);

/*
 * Measures "@domain @operation @content" into @reg.
 * Return: 0, -CF_INVALID_ARGUMENT (a blank or line end where the reader would split, too long),
 * -CF_UNIMPLEMENTED (no such register), -CF_PERMISSION_DENIED (a register of the boot), -CF_ABORTED.
 */
cf_must_use int event_log_add(struct event_log *log, uint64_t reg, const char *domain,
                              const char *operation, const char *content, struct cf_err *err);

/* The tagged blob that is hashed and logged. */
void event_log_blob(const char *text, struct cf_buf *ret);
