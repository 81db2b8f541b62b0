/* SPDX-License-Identifier: Apache-2.0 */
/* Apart from the store: who tidies need not hash. */
#include "erofs/layer_store.h"

#include "base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

int layer_store_tidy(const char *dir, struct cf_err *err)
{
	DIR *d = opendir(dir);
	int r = 0;

	if (!d)
		return cf_fail_errno(err, errno, "%s", dir);
	for (struct dirent *e; r == 0 && (e = readdir(d));)
		if (cf_starts_with(e->d_name, LAYER_DRAFT_PREFIX) &&
		    unlinkat(dirfd(d), e->d_name, 0) < 0)
			r = cf_fail_errno(err, errno, "%s/%s", dir, e->d_name);
	closedir(d);
	return r;
}
