/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Initdata: the measured configuration that a pod's owner gives to a guest. A TOML text with
 * version, algorithm and a [data] table of named texts; it reaches the guest through the untrusted
 * host, as a pod annotation and then as a small disk, and is bound to the TEE by a digest of its
 * exact bytes. Everything here reads hostile bytes.
 *
 * Source: Kata Containers, src/libs/kata-types/src/initdata.rs and src/agent/src/initdata.rs;
 * Confidential Containers, initdata specification 0.1.0.
 */
#include "base/crypto.h"
#include "base/toml.h"

#define INITDATA_VERSION     "0.1.0"
#define INITDATA_TEXT_MAX    (64u << 20) /* bytes of TOML, inflated */
#define INITDATA_GZIP_MAX    (16u << 20) /* bytes of gzip on disk or in an annotation */
#define INITDATA_DISK_MAGIC  "initdata"
#define INITDATA_DISK_HEADER 16u  /* magic, u64 little-endian length of the gzip that follows */
#define INITDATA_DISK_ALIGN  512u /* the image is padded with zeroes to this */
#define INITDATA_PCR         8u   /* where coffer-init binds it on a vTPM */

/* What a vTPM guest without initdata binds in its place, as 11 ASCII bytes. */
#define INITDATA_NONE "no initdata"

#define INITDATA_ANNOTATION       "io.katacontainers.config.hypervisor.cc_init_data"
#define INITDATA_ANNOTATION_ALIAS "io.coffer.initdata"

struct initdata {
	struct cf_buf text; /* the exact bytes: these are hashed and sent to the KBS */
	struct cf_toml *toml;
	enum cf_hash_alg alg;
	const struct cf_toml *data; /* the [data] table, inside @toml */
};

/*
 * Return: 0, -CF_INVALID_ARGUMENT (not initdata, or another version), -CF_UNIMPLEMENTED (sm3),
 * -CF_RESOURCE_EXHAUSTED.
 */
cf_must_use int initdata_parse(struct cf_view text, struct initdata **ret, struct cf_err *err);
struct initdata *initdata_free(struct initdata *d); /* NULL is fine; returns NULL */
CF_DEFINE_CLEANUP(struct initdata *, initdata_free);

/* The text of [data] entry @key ("aa.toml"), borrowed, or NULL. */
const char *initdata_get(const struct initdata *d, const char *key);
/* By the algorithm it names, over its exact bytes; cf_hash_size(d->alg) bytes. */
void initdata_digest(const struct initdata *d, uint8_t out[CF_HASH_SIZE_MAX]);

struct initdata_entry {
	const char *key;
	const char *text; /* UTF-8 */
};
/* Writes the TOML text. -CF_INVALID_ARGUMENT when a text is not UTF-8 or a key stands twice. */
cf_must_use int initdata_build(enum cf_hash_alg alg, const struct initdata_entry *entries,
                               size_t count, struct cf_buf *ret, struct cf_err *err);

/* ---- binding ---- */

/* A digest as a TEE's field of @size bytes holds it: cut at the end, or zeroes to the right. */
void initdata_field(struct cf_view digest, uint8_t *out, size_t size);
/*
 * What coffer-init extends into PCR 8 of a vTPM: the SHA-256 of the text whatever algorithm it
 * names, or of INITDATA_NONE when @text is empty.
 */
void initdata_pcr8_event(struct cf_view text, uint8_t out[32]);
/* The value of PCR 8 after exactly that one extend: SHA-256(32 zero bytes ‖ event). */
void initdata_pcr8_value(struct cf_view text, uint8_t out[32]);

/* ---- carriers; @ret gets the TOML text ---- */

/* base64(gzip(text)). Refusals say what is wrong: plain base64 without gzip, not base64, too large. */
cf_must_use int initdata_from_annotation(struct cf_view value, struct cf_buf *ret,
                                         struct cf_err *err);
cf_must_use int initdata_to_annotation(struct cf_view text, struct cf_buf *ret, struct cf_err *err);

#define INITDATA_E_NO_DISK 1 /* the magic is absent: some other disk */
/*
 * The length of the gzip behind the first INITDATA_DISK_HEADER bytes of a disk.
 * Return: 0, INITDATA_E_NO_DISK, -CF_RESOURCE_EXHAUSTED (over INITDATA_GZIP_MAX).
 */
cf_must_use int initdata_disk_probe(struct cf_view header, uint64_t *ret_size, struct cf_err *err);
/*
 * Reads the whole image @in. Bytes behind the gzip must be zero.
 * Return: 0, INITDATA_E_NO_DISK, -CF_INVALID_ARGUMENT, -CF_RESOURCE_EXHAUSTED.
 */
cf_must_use int initdata_from_disk(struct cf_view in, struct cf_buf *ret, struct cf_err *err);
/* The same from a block device or file, reading no more than the header says. */
cf_must_use int initdata_read_disk(int fd, struct cf_buf *ret, struct cf_err *err);
cf_must_use int initdata_to_disk(struct cf_view text, struct cf_buf *ret, struct cf_err *err);
