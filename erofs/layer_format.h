/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The part of the EROFS disk format that we write and read back: uncompressed, 4 KiB blocks,
 * extended inodes. Little endian throughout. Internal to this folder.
 * Source: Linux, Documentation/filesystems/erofs.rst and fs/erofs/erofs_fs.h (a frozen format).
 */
#include "base/bytes.h"

#define LAYER_BLOCK_BITS  12u
#define LAYER_BLOCK_BYTES (1u << LAYER_BLOCK_BITS)
#define LAYER_NID_BYTES   32u /* inodes lie at multiples of this; nid = byte offset / 32 */

#define LAYER_SB_AT          1024u
#define LAYER_SB_BYTES       128u
#define LAYER_SB_MAGIC       0xE0F5E1E2u
#define LAYER_COMPAT         3u /* SB_CHKSUM | MTIME */
#define LAYER_INCOMPAT_CHUNK 4u
#define LAYER_INCOMPAT_DEVS  8u
#define LAYER_ROOT_AT        2048u /* the root inode's place in block 0 */
#define LAYER_ROOT_NID       (LAYER_ROOT_AT / LAYER_NID_BYTES)
#define LAYER_DEVICE_BYTES   128u
#define LAYER_DEVICES_MAX    512u
#define LAYER_UUID_BYTES     16u

/* Offsets in the superblock. */
enum {
	SB_MAGIC = 0,
	SB_CHECKSUM = 4,
	SB_COMPAT = 8,
	SB_BLOCK_BITS = 12,
	SB_EXTSLOTS = 13,
	SB_ROOT_NID = 14,
	SB_INODES = 16,
	SB_BLOCKS = 36,
	SB_META_BLOCK = 40,
	SB_UUID = 48,
	SB_VOLUME_NAME = 64, /* 16 bytes; "pending" when there are XATTR_PENDING marks */
	SB_INCOMPAT = 80,
	SB_DEVICES = 86,
	SB_DEVICE_SLOT = 88,
	SB_DIR_BITS = 90,
};

#define LAYER_INODE_BYTES 64u
/* Offsets in an extended inode. */
enum {
	INODE_FORMAT = 0,
	INODE_XATTRS = 2,
	INODE_MODE = 4,
	INODE_SIZE = 8,
	INODE_START = 16, /* first block, device number or chunk format */
	INODE_INO = 20,
	INODE_UID = 24,
	INODE_GID = 28,
	INODE_MTIME = 32,
	INODE_NSEC = 40,
	INODE_NLINK = 44,
};
#define INODE_EXTENDED 1u
enum inode_layout {
	LAYOUT_PLAIN = 0,
	LAYOUT_INLINE = 2,
	LAYOUT_CHUNKS = 4,
};
#define INODE_NO_START    0xFFFFFFFFu
#define CHUNK_INDEXES     0x20u
#define CHUNK_BITS_MAX    31u /* in blocks, over the block size */
#define CHUNK_INDEX_BYTES 8u

#define XATTR_HEADER_BYTES 12u
#define XATTR_ENTRY_BYTES  4u
enum xattr_index {
	XATTR_USER = 1,
	XATTR_ACL_ACCESS = 2,
	XATTR_ACL_DEFAULT = 3,
	XATTR_TRUSTED = 4,
	XATTR_SECURITY = 6,
};

#define DIRENT_BYTES 12u
enum file_kind { /* the type byte of a directory entry */
	         KIND_NONE = 0,
	         KIND_FILE = 1,
	         KIND_DIR = 2,
	         KIND_CHAR = 3,
	         KIND_BLOCK = 4,
	         KIND_FIFO = 5,
	         KIND_SOCKET = 6,
	         KIND_SYMLINK = 7,
};

/* A small file lies behind its inode up to this size; beyond, it has blocks of its own. */
#define LAYER_INLINE_MAX 2048u

/* Overlayfs' own names; a layer image speaks them, a merged image never. */
#define XATTR_OPAQUE "overlay.opaque" /* in the trusted namespace, value "y" */
#define XATTR_ORIGIN "overlay.origin" /* empty: listing this directory, look for whiteouts */
/* Marks that only our merge reads, trusted namespace. */
#define XATTR_IMPLICIT "coffer.implicit" /* a parent that no member named: attributes are made up */
#define XATTR_PENDING  "coffer.link"     /* a hard link to a lower layer's file; value: its path */

static inline void put_u16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}
static inline void put_u32(uint8_t *p, uint32_t v)
{
	put_u16(p, (uint16_t)v);
	put_u16(p + 2, (uint16_t)(v >> 16));
}
static inline void put_u64(uint8_t *p, uint64_t v)
{
	put_u32(p, (uint32_t)v);
	put_u32(p + 4, (uint32_t)(v >> 32));
}
static inline uint16_t get_u16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}
static inline uint32_t get_u32(const uint8_t *p)
{
	return (uint32_t)get_u16(p) | (uint32_t)get_u16(p + 2) << 16;
}
static inline uint64_t get_u64(const uint8_t *p)
{
	return (uint64_t)get_u32(p) | (uint64_t)get_u32(p + 4) << 32;
}

/* What an inode says. */
struct layer_inode {
	enum inode_layout layout;
	uint16_t mode; /* with the file type bits */
	uint64_t size;
	uint32_t start; /* block, device number, chunk format; INODE_NO_START */
	uint32_t ino;
	uint32_t uid, gid;
	int64_t mtime;
	uint32_t mtime_nsec;
	uint32_t nlink;
	uint32_t
		xattr_bytes; /* the whole attribute area, 0 or ≥ XATTR_HEADER_BYTES, multiple of 4 */
};

void layer_inode_put(const struct layer_inode *inode, uint8_t out[LAYER_INODE_BYTES]);
uint32_t layer_device_number(uint32_t major, uint32_t minor);
enum file_kind layer_kind_of(uint16_t mode);
uint32_t layer_crc32c(uint32_t crc, struct cf_view v);
/* The sizes an image announces, and its id. */
struct layer_super {
	uint64_t inodes;
	uint32_t blocks;
	uint8_t uuid[LAYER_UUID_BYTES];
	bool has_pending;
	uint16_t devices;
	uint16_t device_slot; /* the device table's place, in units of LAYER_DEVICE_BYTES */
};
/* Fills the superblock inside block 0, checksum last. @block has LAYER_BLOCK_BYTES. */
void layer_super_put(const struct layer_super *s, uint8_t *block);
