/* SPDX-License-Identifier: Apache-2.0 */
#include "erofs/layer_store.h"

#include "base/crypto.h"
#include "base/fd.h"
#include "base/str.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

char *layer_store_name(struct cf_view diff_id)
{
	static const enum cf_hash_alg algs[] = { CF_SHA256, CF_SHA384, CF_SHA512 };

	for (size_t i = 0; i < CF_ARRAY_LEN(algs); i++) {
		const char *name = cf_hash_name(algs[i]);
		struct cf_view hex = cf_view_sub(diff_id, strlen(name) + 1, diff_id.size);
		uint8_t raw[CF_HASH_SIZE_MAX];

		if (!cf_view_starts_with(diff_id, name) || diff_id.size <= strlen(name) ||
		    diff_id.data[strlen(name)] != ':')
			continue;
		if (cf_hex_decode(hex, raw, cf_hash_size(algs[i]), NULL) < 0)
			return NULL;
		return cf_asprintf("%s-%.*s.erofs", name, (int)hex.size, (const char *)hex.data);
	}
	return NULL;
}

int layer_store_find(const char *dir, struct cf_view diff_id, int *ret_fd, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *name = layer_store_name(diff_id);
	int fd;

	if (!name)
		return cf_fail(err, CF_INVALID_ARGUMENT, "'%.*s' is no diffID we know",
		               (int)CF_MIN(diff_id.size, 100u), (const char *)diff_id.data);
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/%s", dir, name);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 && errno == ENOENT)
		return LAYER_E_MISSING;
	if (fd < 0)
		return cf_fail_errno(err, errno, "%s", path);
	*ret_fd = fd;
	return 0;
}

int layer_draft_open(const char *dir, struct layer_draft *ret, struct cf_err *err)
{
	uint8_t random[8];
	char hex[2 * sizeof(random) + 1];
	struct layer_draft d = { .fd = -1 };

	cf_random(random, sizeof(random));
	cf_hex_encode(cf_view(random, sizeof(random)), hex);
	d.path = cf_asprintf("%s/" LAYER_DRAFT_PREFIX "%s", dir, hex);
	d.fd = open(d.path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (d.fd < 0) {
		int r = cf_fail_errno(err, errno, "%s", d.path);

		free(d.path);
		return r;
	}
	d.dir = cf_strdup(dir);
	*ret = d;
	return 0;
}

int layer_draft_publish(struct layer_draft *d, const char *name, bool durable, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *to = cf_asprintf("%s/%s", d->dir, name);

	if (fchmod(d->fd, 0444) < 0)
		return cf_fail_errno(err, errno, "%s", d->path);
	if (durable && fsync(d->fd) < 0)
		return cf_fail_errno(err, errno, "%s", d->path);
	if (rename(d->path, to) < 0)
		return cf_fail_errno(err, errno, "%s", to);
	free(d->path);
	d->path = NULL;
	return durable ? cf_fsync_dir(d->dir, err) : 0;
}

void layer_draft_fini(struct layer_draft *d)
{
	if (d->path)
		unlink(d->path);
	free(d->path);
	free(d->dir);
	cf_close(&d->fd);
	*d = (struct layer_draft){ .fd = -1 };
}
