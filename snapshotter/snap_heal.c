/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshotter/snap_heal.h"

#include "base/log.h"
#include "snapshotter/snap_name.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <time.h>

bool snap_heal_is_backend_key(const char *key)
{
	const char *number = strchr(key, '/');
	size_t digits = number ? strspn(number + 1, "0123456789") : 0;

	return number && number != key && digits && number[1 + digits] == '/' && number[2 + digits];
}

struct snap_record *snap_heal_container(struct snap_service *s, const char *key, struct cf_err *err)
{
	struct snap_labels none = { 0 };
	struct snap_new in = { .key = key,
		               .parent = "",
		               .kind = SNAP_ACTIVE,
		               .flags = SNAP_HAS_DIR | SNAP_KATA,
		               .labels = &none };
	struct snap_record *rec = NULL;

	if (s->is_strict || s->mode != SNAP_MODE_GUEST_PULL || !snap_heal_is_backend_key(key) ||
	    snap_name_is_extract(key))
		return NULL;
	int r = snap_store_add(s->store, &in, &rec, err);

	if (r == -CF_ALREADY_EXISTS) /* another call was first */
		return snap_store_get(s->store, key);
	if (r < 0 || snap_dirs_make(s->dirs, rec->id, 0, err) < 0)
		return snap_record_unref(rec);
	snap_count(&s->counters.resurrected, 1);
	cf_log_warn("a container that containerd knows was not known here: taken up again",
	            CF_F_STR("key", key));
	return rec;
}

static bool has_entries(const char *path)
{
	DIR *dir = opendir(path);
	unsigned n = 0;

	while (dir && n < 3 && readdir(dir))
		n++;
	if (dir)
		closedir(dir);
	return n > 2; /* more than "." and ".." */
}

int snap_heal_keep_dirs(const char *root, struct snap_store *st, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *dirs = cf_asprintf("%s/snapshots", root);
	cf_cleanup(cf_freep) char *aside = cf_asprintf("%s.lost.%lld", dirs, (long long)time(NULL));
	bool is_new = false;
	int r = snap_store_is_new(st, &is_new, err);

	if (r < 0 || !is_new || !has_entries(dirs))
		return r;
	if (rename(dirs, aside) < 0)
		return cf_fail_errno(err, errno, "put %s aside", dirs);
	cf_log_warn("the records were lost: directories of snapshots are put aside",
	            CF_F_STR("as", aside));
	return 0;
}
