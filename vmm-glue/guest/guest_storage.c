/* SPDX-License-Identifier: Apache-2.0 */
/* A pod's storages. They live until the sandbox is destroyed, as an emptyDir does. */
#include "base/fd.h"
#include "vmm-glue/guest/guest.h"

#include <errno.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define UNMOUNTS_MAX 64 /* mounts on top of each other */

void guest_unmount(const char *path)
{
	for (int i = 0; i < UNMOUNTS_MAX; i++)
		if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) < 0)
			return;
}

static unsigned long mount_flag(const char *option)
{
	static const struct {
		const char *name;
		unsigned long flag;
	} rows[] = {
		{ "noexec", MS_NOEXEC },
		{ "nosuid", MS_NOSUID },
		{ "nodev", MS_NODEV },
		{ "ro", MS_RDONLY },
	};

	for (size_t i = 0; i < CF_ARRAY_LEN(rows); i++)
		if (cf_streq(rows[i].name, option))
			return rows[i].flag;
	return 0;
}

struct plan {
	unsigned long flags;
	struct cf_strv data; /* for the file system */
	bool has_group;
	uint64_t group;
	uint64_t mode;
};

static int parse_octal(const char *text, uint64_t *ret, struct cf_err *err)
{
	uint64_t v = 0;

	if (!*text || strlen(text) > 5)
		return cf_fail(err, CF_INVALID_ARGUMENT, "mode \"%.20s\"", text);
	for (; *text; text++) {
		if (*text < '0' || *text > '7')
			return cf_fail(err, CF_INVALID_ARGUMENT, "mode: \"%.20s\"", text);
		v = v * 8 + (uint64_t)(*text - '0');
	}
	if (v > 01777)
		return cf_fail(err, CF_INVALID_ARGUMENT, "mode: set-id bits");
	*ret = v;
	return 0;
}

/* The rules have let through flags, mode=, size=, nr_inodes= and fsgid= only. */
static int plan_option(struct plan *p, const char *option, struct cf_err *err)
{
	const char *value;

	value = cf_after(option, "fsgid=");
	if (value) {
		p->has_group = true;
		return cf_parse_u64(cf_view_str(value), UINT32_MAX - 1, &p->group, err);
	}
	value = cf_after(option, "mode=");
	if (value)
		return parse_octal(value, &p->mode, err);
	if (strchr(option, '='))
		cf_strv_add(&p->data, option);
	p->flags |= mount_flag(option);
	return 0;
}

static int make_storage(const Grpc__Storage *s, const char *path, struct plan *p,
                        struct cf_err *err)
{
	int r;

	r = cf_mkdir_p(path, 0755, err);
	if (r < 0)
		return r;
	if (cf_streq(s->driver, "ephemeral")) {
		cf_cleanup(cf_freep) char *data = cf_strv_join(&p->data, ",");

		if (mount("tmpfs", path, "tmpfs", p->flags | MS_NOSUID | MS_NODEV, data) < 0)
			return cf_fail_errno(err, errno, "storage %s", path);
	}
	if (p->has_group && chown(path, (uid_t)-1, (gid_t)p->group) < 0)
		return cf_fail_errno(err, errno, "storage %s", path);
	if (chmod(path, (mode_t)p->mode | (p->has_group ? S_ISGID | 0070u : 0)) < 0)
		return cf_fail_errno(err, errno, "storage %s", path);
	return 0;
}

int guest_storage_apply(struct guest *g, const Grpc__Storage *s, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *path = guest_path(g, s->mount_point);
	struct plan p = { .mode = 0777 };
	int r = 0;

	if (cf_strv_has(&g->storages, path))
		return 0; /* another container of the pod brought it */
	for (size_t i = 0; r == 0 && i < s->n_options; i++)
		r = plan_option(&p, s->options[i], err);
	if (r == 0)
		r = make_storage(s, path, &p, err);
	if (r == 0)
		cf_strv_add(&g->storages, path);
	cf_strv_fini(&p.data);
	return r;
}

void guest_storage_drop_all(struct guest *g)
{
	for (size_t i = g->storages.count; i > 0; i--)
		guest_unmount(g->storages.items[i - 1]);
	cf_strv_fini(&g->storages);
	g->storages = (struct cf_strv){ 0 };
}
