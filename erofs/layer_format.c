/* SPDX-License-Identifier: Apache-2.0 */
#include "erofs/layer_format.h"

#include <sys/stat.h>

void layer_inode_put(const struct layer_inode *n, uint8_t out[LAYER_INODE_BYTES])
{
	uint32_t icount = n->xattr_bytes ? 1 + (n->xattr_bytes - XATTR_HEADER_BYTES) / 4 : 0;

	memset(out, 0, LAYER_INODE_BYTES);
	put_u16(out + INODE_FORMAT, (uint16_t)(INODE_EXTENDED | (unsigned)n->layout << 1));
	put_u16(out + INODE_XATTRS, (uint16_t)icount);
	put_u16(out + INODE_MODE, n->mode);
	put_u64(out + INODE_SIZE, n->size);
	put_u32(out + INODE_START, n->start);
	put_u32(out + INODE_INO, n->ino);
	put_u32(out + INODE_UID, n->uid);
	put_u32(out + INODE_GID, n->gid);
	put_u64(out + INODE_MTIME, (uint64_t)n->mtime);
	put_u32(out + INODE_NSEC, n->mtime_nsec);
	put_u32(out + INODE_NLINK, n->nlink);
}

/* The kernel's new_encode_dev(). */
uint32_t layer_device_number(uint32_t major, uint32_t minor)
{
	return (minor & 0xff) | major << 8 | (minor & ~0xffu) << 12;
}

enum file_kind layer_kind_of(uint16_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return KIND_FILE;
	case S_IFDIR:
		return KIND_DIR;
	case S_IFCHR:
		return KIND_CHAR;
	case S_IFBLK:
		return KIND_BLOCK;
	case S_IFIFO:
		return KIND_FIFO;
	case S_IFSOCK:
		return KIND_SOCKET;
	case S_IFLNK:
		return KIND_SYMLINK;
	default:
		return KIND_NONE;
	}
}

/* One block per image: a table would be longer than the time it saves. */
uint32_t layer_crc32c(uint32_t crc, struct cf_view v)
{
	for (size_t i = 0; i < v.size; i++) {
		crc ^= v.data[i];
		for (unsigned bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78u : 0);
	}
	return crc;
}

void layer_super_put(const struct layer_super *s, uint8_t *block)
{
	uint8_t *sb = block + LAYER_SB_AT;

	memset(sb, 0, LAYER_SB_BYTES);
	put_u32(sb + SB_MAGIC, LAYER_SB_MAGIC);
	put_u32(sb + SB_COMPAT, LAYER_COMPAT);
	sb[SB_BLOCK_BITS] = LAYER_BLOCK_BITS;
	put_u16(sb + SB_ROOT_NID, LAYER_ROOT_NID);
	put_u64(sb + SB_INODES, s->inodes);
	put_u32(sb + SB_BLOCKS, s->blocks);
	memcpy(sb + SB_UUID, s->uuid, LAYER_UUID_BYTES);
	if (s->has_pending)
		memcpy(sb + SB_VOLUME_NAME, "pending", 7);
	if (s->devices) {
		put_u32(sb + SB_INCOMPAT, LAYER_INCOMPAT_CHUNK | LAYER_INCOMPAT_DEVS);
		put_u16(sb + SB_DEVICES, s->devices);
		put_u16(sb + SB_DEVICE_SLOT, s->device_slot);
	}
	put_u32(sb + SB_CHECKSUM,
	        layer_crc32c(0xFFFFFFFFu, cf_view(sb, LAYER_BLOCK_BYTES - LAYER_SB_AT)));
}
