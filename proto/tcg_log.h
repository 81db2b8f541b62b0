/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * TCG event log, crypto-agile form: what the firmware says it measured, and the replay that tells
 * how much of it a quote vouches for. Serves the TPM's log and the CC log (CCEL) of TDX and CSV,
 * where "pcr" is the measurement register index (1 is RTMR0).
 *
 * The bytes come from the attested machine and stay hostile even after tcg_log_parse(): parsing
 * proves nothing. A replay that equals quoted registers vouches for the *digests of that bank*, in
 * their order per register; event types, event data and other banks' digests are covered by
 * nothing. tcg_event_covered() gives the part of an event's data that hashes to its digest: only
 * that may become a claim.
 *
 * Source: TCG PC Client Platform Firmware Profile 1.06, chapters 10 and 3.3.4 (PCR0 start value).
 */
#include "base/bytes.h"

#define TCG_LOG_SIZE_MAX   (1u << 20)
#define TCG_LOG_EVENTS_MAX 4096u
#define TCG_LOG_ALGS_MAX   8u /* algorithms in the header */
#define TCG_PCR_COUNT      24u
#define TCG_DIGEST_MAX     64u

/* Algorithm ids as TPM 2.0 Part 2 gives them. */
enum tcg_alg {
	TCG_SHA1 = 0x0004,
	TCG_SHA256 = 0x000b,
	TCG_SHA384 = 0x000c,
	TCG_SHA512 = 0x000d,
	TCG_SM3 = 0x0012,
};

#define TCG_BANK_COUNT 5u

/* Event types: 32 bits on the wire, the upper half of the range among them: no enum. */
#define TCG_EV_NO_ACTION                     0x00000003u
#define TCG_EV_SEPARATOR                     0x00000004u
#define TCG_EV_EVENT_TAG                     0x00000006u
#define TCG_EV_EFI_VARIABLE_DRIVER_CONFIG    0x80000001u
#define TCG_EV_EFI_VARIABLE_BOOT             0x80000002u
#define TCG_EV_EFI_BOOT_SERVICES_APPLICATION 0x80000003u
#define TCG_EV_EFI_BOOT_SERVICES_DRIVER      0x80000004u
#define TCG_EV_EFI_ACTION                    0x80000007u
#define TCG_EV_EFI_PLATFORM_FIRMWARE_BLOB    0x80000008u
#define TCG_EV_EFI_PLATFORM_FIRMWARE_BLOB2   0x8000000au
#define TCG_EV_EFI_VARIABLE_AUTHORITY        0x800000e0u

struct tcg_event {
	uint32_t pcr;  /* below TCG_PCR_COUNT */
	uint32_t type; /* TCG_EV_*, or unknown */
	struct cf_view
		digests[TCG_BANK_COUNT]; /* empty where the event has none; tcg_event_digest() */
	struct cf_view data;
};

struct tcg_log; /* never changes once parsed; borrows the bytes it was parsed from */

struct tcg_pcr {
	uint8_t value[TCG_DIGEST_MAX];
	unsigned extends; /* how many events went in; 0: the register keeps its start value */
};

struct tcg_pcrs {
	size_t size; /* bytes of a value in this bank */
	struct tcg_pcr pcr[TCG_PCR_COUNT];
};

/**
 * tcg_log_parse() - decode a log, up to its end or its fill bytes
 * @in:  raw bytes, borrowed for the life of the log
 * @ret: set on success only; tcg_log_free()
 *
 * A log ends at the end of @in, or at 8 bytes of 0xff or 0x00 where a record would begin.
 *
 * Return: 0, -CF_INVALID_ARGUMENT (no log, a record cut short, an algorithm that the header does
 * not name, a digest twice), -CF_RESOURCE_EXHAUSTED (over a limit above).
 */
cf_must_use int tcg_log_parse(struct cf_view in, struct tcg_log **ret, struct cf_err *err);
struct tcg_log *tcg_log_free(struct tcg_log *log); /* NULL is fine; returns NULL */
CF_DEFINE_CLEANUP(struct tcg_log *, tcg_log_free);

size_t tcg_log_count(const struct tcg_log *log);
/* Borrowed; NULL past the end. The header record is not counted. */
const struct tcg_event *tcg_log_at(const struct tcg_log *log, size_t i);

size_t tcg_alg_size(enum tcg_alg alg);      /* digest bytes, 0 for an unknown algorithm */
const char *tcg_alg_name(enum tcg_alg alg); /* "SHA-384" */
const char *tcg_type_name(uint32_t type);   /* "EV_SEPARATOR"; "EV_UNKNOWN" otherwise */
/* Empty when the event carries no digest of @alg. */
struct cf_view tcg_event_digest(const struct tcg_event *ev, enum tcg_alg alg);

/*
 * What the registers of one bank hold after these events. EV_NO_ACTION extends nothing, except that
 * a StartupLocality event sets the last byte of PCR 0's start value.
 *
 * Return: 0, -CF_INVALID_ARGUMENT (an event without a digest of @alg: then a replay would lie),
 * -CF_UNIMPLEMENTED (a bank that we cannot compute, also when no event extends).
 */
cf_must_use int tcg_log_replay(const struct tcg_log *log, enum tcg_alg alg, struct tcg_pcrs *ret,
                               struct cf_err *err);
/* One extend: pcr = H(pcr ‖ digest). @digest has the bank's size. */
cf_must_use int tcg_pcr_extend(enum tcg_alg alg, struct tcg_pcr *pcr, struct cf_view digest,
                               struct cf_err *err);

/*
 * The part of the event's data that hashes to its digest of @alg: all of it, or the variable's value
 * of an EV_EFI_VARIABLE_* event (some firmware measures only that). Empty with *ret_covered false
 * when the digest is over something that the log does not hold (a kernel, a firmware volume).
 */
cf_must_use int tcg_event_covered(const struct tcg_event *ev, enum tcg_alg alg, struct cf_view *ret,
                                  bool *ret_covered, struct cf_err *err);

/* Text of an EV_EVENT_TAG without its final NUL ("Linux initrd"); empty when it is none. Not covered. */
struct cf_view tcg_event_tag_text(const struct tcg_event *ev, uint32_t *ret_id);
