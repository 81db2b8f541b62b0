/* SPDX-License-Identifier: Apache-2.0 */
#include "base/secret.h"

#include "base/fd.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

struct cf_secret {
	size_t map_size;
	size_t size;
	uint8_t data[];
};

int cf_secret_new(size_t size, struct cf_secret **ret, struct cf_err *err)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	if (size > CF_SECRET_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "secret of %zu bytes, limit %u", size,
		               CF_SECRET_MAX);
	size_t map_size = (sizeof(struct cf_secret) + size + page - 1) / page * page;
	struct cf_secret *s =
		mmap(NULL, map_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (s == MAP_FAILED)
		return cf_fail_errno(err, errno, "memory for a secret");
	madvise(s, map_size, MADV_DONTDUMP);
	madvise(s, map_size, MADV_WIPEONFORK);
	mlock(s, map_size); /* best effort: RLIMIT_MEMLOCK may be small */
	s->map_size = map_size;
	s->size = size;
	*ret = s;
	return 0;
}

int cf_secret_copy(struct cf_view v, struct cf_secret **ret, struct cf_err *err)
{
	int r = cf_secret_new(v.size, ret, err);

	if (r < 0)
		return r;
	if (v.size)
		memcpy((*ret)->data, v.data, v.size);
	return 0;
}

int cf_secret_take_buf(struct cf_buf *b, struct cf_secret **ret, struct cf_err *err)
{
	int r = cf_buf_check(b, "secret", err);

	if (r == 0)
		r = cf_secret_copy(cf_buf_view(b), ret, err);
	cf_buf_wipe(b);
	return r;
}

int cf_secret_read_file(const char *path, struct cf_secret **ret, struct cf_err *err)
{
	cf_cleanup(cf_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	cf_cleanup(cf_secret_freep) struct cf_secret *s = NULL;
	size_t have = 0;
	int r;

	if (fd < 0)
		return cf_fail_errno(err, errno, "%s", path);
	r = cf_secret_new(CF_SECRET_MAX, &s, err);
	if (r < 0)
		return r;
	for (;;) {
		ssize_t n = read(fd, s->data + have, CF_SECRET_MAX - have);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return cf_fail_errno(err, errno, "%s", path);
		if (n == 0)
			break;
		have += (size_t)n;
		if (have == CF_SECRET_MAX)
			return cf_fail(err, CF_RESOURCE_EXHAUSTED, "%s: over %u bytes", path,
			               CF_SECRET_MAX);
	}
	return cf_secret_copy(cf_view(s->data, have), ret, err);
}

struct cf_secret *cf_secret_free(struct cf_secret *s)
{
	if (!s)
		return NULL;
	size_t map_size = s->map_size;
	explicit_bzero(s, map_size);
	munmap(s, map_size);
	return NULL;
}

struct cf_view cf_secret_view(const struct cf_secret *s)
{
	return s ? cf_view(s->data, s->size) : cf_view(NULL, 0);
}

uint8_t *cf_secret_data(struct cf_secret *s)
{
	return s->data;
}

void cf_secret_truncate(struct cf_secret *s, size_t size)
{
	assert(size <= s->size);
	explicit_bzero(s->data + size, s->size - size);
	s->size = size;
}

void cf_secret_harden_process(void)
{
	struct rlimit none = { 0, 0 };

	prctl(PR_SET_DUMPABLE, 0);
	setrlimit(RLIMIT_CORE, &none);
}
