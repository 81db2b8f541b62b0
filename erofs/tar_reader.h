/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Tar reader: a push parser for the layers of container images. Bytes in, members out; it does no
 * I/O, never seeks and never recurses. Every byte is hostile: the layer's digest is known only
 * after its last byte was parsed.
 *
 * Read: v7, ustar, pax (x and g), GNU long names, GNU sparse (old, 0.0, 0.1, 1.0), base-256
 * numbers. Types it does not know are skipped with their content. The archive ends at two zero
 * blocks or at the end of input between members; bytes after the end are ignored.
 */
#include "base/bytes.h"

#define TAR_BLOCK_BYTES     512u
#define TAR_COMPONENT_MAX   255u          /* bytes of one name */
#define TAR_PATH_MAX        4096u         /* bytes of a cleaned path or of a link target */
#define TAR_DEPTH_MAX       256u          /* components of a path */
#define TAR_PAX_BYTES_MAX   (1u << 20)    /* one extended header */
#define TAR_LONG_NAME_MAX   (8u << 10)    /* a GNU L or K member */
#define TAR_SPARSE_MAX      (64u << 10)   /* extents of one sparse file */
#define TAR_ENTRIES_DEFAULT 2000000u      /* members of one layer */
#define TAR_BYTES_DEFAULT   (64ull << 30) /* content bytes of one layer, holes included */
#define TAR_MTIME_LIMIT     (1ll << 60)   /* seconds from 1970, either way */
#define TAR_DEV_MAJOR_MAX   0xfffu
#define TAR_DEV_MINOR_MAX   0xfffffu

struct tar_limits {
	uint64_t entries_max; /* 0: TAR_ENTRIES_DEFAULT */
	uint64_t bytes_max;   /* 0: TAR_BYTES_DEFAULT */
};

enum tar_type {
	TAR_FILE,
	TAR_HARDLINK,
	TAR_SYMLINK,
	TAR_CHAR,
	TAR_BLOCK,
	TAR_DIR,
	TAR_FIFO,
};

struct tar_xattr {
	struct cf_view name;  /* with its namespace, "user.mime"; no NUL, may be empty */
	struct cf_view value; /* any bytes */
};

/* One member. All views are borrowed for the call. */
struct tar_entry {
	enum tar_type type;
	struct cf_view path; /* cleaned: "a/b", no "." or ".." components; empty: the root */
	struct cf_view link; /* hard link: a cleaned path; symlink: as written, never empty */
	uint16_t mode;       /* permission bits, 07777 */
	uint32_t uid, gid;
	int64_t mtime; /* seconds since 1970 */
	uint32_t mtime_nsec;
	uint64_t size; /* TAR_FILE: bytes, holes included; 0 otherwise */
	uint32_t dev_major, dev_minor;
	bool is_socket; /* TAR_FIFO: the extended header says it was one (SCHILY.filetype) */
	const struct tar_xattr *xattrs; /* in the archive's order; a later one of a name wins */
	size_t xattr_count;
};

/*
 * What the reader calls, in this order: entry, then for TAR_FILE data and hole calls that add up to
 * size, then done. An error ends the reading and comes back from tar_reader_feed().
 */
struct tar_sink {
	int (*entry)(void *ctx, const struct tar_entry *e, struct cf_err *err);
	int (*data)(void *ctx, struct cf_view v, struct cf_err *err);
	int (*hole)(void *ctx, uint64_t n, struct cf_err *err); /* n zero bytes */
	int (*done)(void *ctx, struct cf_err *err);
};

struct tar_stats {
	uint64_t entries;   /* members handed to the sink */
	uint64_t skipped;   /* members of unknown types */
	uint64_t bytes;     /* content bytes, holes included */
	bool no_end_marker; /* the archive just stopped between two members */
};

struct tar_reader;

/* @limits (may be NULL) is copied; @sink and @ctx are borrowed until tar_reader_free(). */
struct tar_reader *tar_reader_new(const struct tar_limits *limits, const struct tar_sink *sink,
                                  void *ctx);
struct tar_reader *tar_reader_free(struct tar_reader *t);
CF_DEFINE_CLEANUP(struct tar_reader *, tar_reader_free);

/*
 * The next bytes of the archive, cut anywhere. Return: 0, -CF_INVALID_ARGUMENT (malformed, the
 * message names the member), -CF_RESOURCE_EXHAUSTED (a limit), or the sink's error. After an error
 * every further call returns -CF_FAILED_PRECONDITION.
 */
cf_must_use int tar_reader_feed(struct tar_reader *t, struct cf_view in, struct cf_err *err);
/* The input ended. -CF_INVALID_ARGUMENT when it ended inside a member. */
cf_must_use int tar_reader_finish(struct tar_reader *t, struct cf_err *err);

const struct tar_stats *tar_reader_stats(const struct tar_reader *t); /* borrowed */

/*
 * Cleans @raw into @out (TAR_PATH_MAX + 1 bytes, NUL-terminated): drops empty and "." components.
 * Return: 0 and the length, -CF_INVALID_ARGUMENT ("..", a NUL, a component or the path too long, too deep).
 */
cf_must_use int tar_clean_path(struct cf_view raw, char *out, size_t *ret_size, struct cf_err *err);
