/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nydus-overlayfs-coffer: the mount helper that `mount.fuse` runs for mounts of type
 * fuse.nydus-overlayfs-coffer. containerd mounts a container's root once for a moment, to look up
 * users in it; the Kata volume among the options is for the guest and means nothing here.
 *
 *   nydus-overlayfs-coffer overlay TARGET -o OPTION[,OPTION...] [-o ...]
 *
 * It runs as root on what containerd passes. It uses libc alone and starts no other program.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#define OPTIONS_MAX 4096u      /* words in all -o together */
#define DATA_MAX    (1u << 20) /* bytes of overlay's own options */
#define PAGE_SLACK  512u       /* mount(2) takes a page of options; the kernel wants some of it */

struct flag {
	const char *word;
	unsigned long bit;
	bool clears;
};

static const struct flag flags[] = {
	{ "ro", MS_RDONLY, false },
	{ "rw", MS_RDONLY, true },
	{ "nodev", MS_NODEV, false },
	{ "dev", MS_NODEV, true },
	{ "nosuid", MS_NOSUID, false },
	{ "suid", MS_NOSUID, true },
	{ "noexec", MS_NOEXEC, false },
	{ "exec", MS_NOEXEC, true },
	{ "sync", MS_SYNCHRONOUS, false },
	{ "async", MS_SYNCHRONOUS, true },
	{ "dirsync", MS_DIRSYNC, false },
	{ "remount", MS_REMOUNT, false },
	{ "bind", MS_BIND, false },
	{ "rbind", MS_BIND | MS_REC, false },
	{ "noatime", MS_NOATIME, false },
	{ "atime", MS_NOATIME, true },
	{ "nodiratime", MS_NODIRATIME, false },
	{ "diratime", MS_NODIRATIME, true },
	{ "relatime", MS_RELATIME, false },
	{ "norelatime", MS_RELATIME, true },
	{ "strictatime", MS_STRICTATIME, false },
	{ "nostrictatime", MS_STRICTATIME, true },
	{ "mand", MS_MANDLOCK, false },
	{ "nomand", MS_MANDLOCK, true },
	{ "defaults", 0, false },
};

static const char *const not_for_us[] = { "extraoption=", "io.katacontainers.volume=" };

struct mount_args {
	unsigned long bits;
	char *words[OPTIONS_MAX]; /* overlay's own, into argv */
	size_t count;
};

static int die(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static int die(const char *fmt, ...)
{
	va_list ap;

	fputs("nydus-overlayfs-coffer: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return 1;
}

static bool starts_with(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

static bool take_flag(struct mount_args *a, const char *word)
{
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		if (strcmp(word, flags[i].word) != 0)
			continue;
		/* The later word wins: mount.fuse appends "dev,suid" to what it was given. */
		a->bits = flags[i].clears ? a->bits & ~flags[i].bit : a->bits | flags[i].bit;
		return true;
	}
	return false;
}

static bool is_for_us(const char *word)
{
	for (size_t i = 0; i < sizeof(not_for_us) / sizeof(not_for_us[0]); i++)
		if (starts_with(word, not_for_us[i]))
			return false;
	return word[0] != '\0';
}

static int take_words(struct mount_args *a, char *list)
{
	for (char *word = list, *end; word; word = end) {
		end = strchr(word, ',');
		if (end)
			*end++ = '\0';
		if (take_flag(a, word) || !is_for_us(word))
			continue;
		if (a->count == OPTIONS_MAX)
			return die("more than %u options", OPTIONS_MAX);
		a->words[a->count++] = word;
	}
	return 0;
}

/* ---- long lists of directories: paths relative to what they have in common ---- */

static const char *const dir_options[] = { "lowerdir=", "upperdir=", "workdir=" };

static char *dirs_of(char *word)
{
	for (size_t i = 0; i < sizeof(dir_options) / sizeof(dir_options[0]); i++)
		if (starts_with(word, dir_options[i]))
			return word + strlen(dir_options[i]);
	return NULL;
}

static size_t common_of(const char *common, size_t size, const char *path, size_t path_size)
{
	size_t n = 0;

	while (n < size && n < path_size && common[n] == path[n])
		n++;
	while (n > 0 && common[n - 1] != '/')
		n--;
	return n;
}

/* The longest directory, with its slash, that all paths of all directory options begin with. */
static size_t common_dir(const struct mount_args *a, const char **ret)
{
	const char *first = NULL;
	size_t size = 0;

	for (size_t i = 0; i < a->count; i++) {
		for (const char *p = dirs_of(a->words[i]), *end; p; p = end) {
			size_t n = strcspn(p, ":");

			end = p[n] ? p + n + 1 : NULL;
			size = first ? common_of(first, size, p, n) : n;
			if (!first)
				first = p;
		}
	}
	*ret = first;
	while (size > 0 && first[size - 1] != '/')
		size--;
	return size;
}

static void add(char *data, size_t *size, const char *text, size_t n)
{
	if (*size + n < DATA_MAX)
		memcpy(data + *size, text, n);
	*size += n;
}

static void add_dirs(char *data, size_t *size, char *word, size_t cut)
{
	char *dirs = dirs_of(word);

	add(data, size, word, (size_t)(dirs - word));
	for (const char *p = dirs, *end; p; p = end) {
		size_t n = strcspn(p, ":");

		end = p[n] ? p + n + 1 : NULL;
		add(data, size, p + cut, n - cut);
		if (end)
			add(data, size, ":", 1);
	}
}

/* Joins the options, each path without its first @cut bytes. NULL when they are too long. */
static char *join(const struct mount_args *a, size_t cut)
{
	char *data = calloc(1, DATA_MAX);
	size_t size = 0;

	for (size_t i = 0; data && i < a->count; i++) {
		if (i)
			add(data, &size, ",", 1);
		if (cut && dirs_of(a->words[i]))
			add_dirs(data, &size, a->words[i], cut);
		else
			add(data, &size, a->words[i], strlen(a->words[i]));
	}
	if (data && size < DATA_MAX)
		return data;
	free(data);
	return NULL;
}

static int go_to(const char *dir, size_t size)
{
	char *copy = strndup(dir, size);
	int r = copy ? chdir(copy) : -1;

	free(copy);
	return r;
}

static char *data_of(const struct mount_args *a)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *data = join(a, 0);

	if (data && strlen(data) < page - PAGE_SLACK)
		return data;
	free(data);
	const char *dir = NULL;
	size_t cut = common_dir(a, &dir);

	if (cut == 0 || go_to(dir, cut) < 0)
		return NULL;
	return join(a, cut);
}

int main(int argc, char **argv)
{
	static struct mount_args a;

	if (argc == 2 && strcmp(argv[1], "--version") == 0)
		return printf("nydus-overlayfs-coffer %s\n", COFFER_VERSION) < 0;
	if (argc < 3 || argc % 2 == 0 || strcmp(argv[1], "overlay") != 0)
		return die("usage: nydus-overlayfs-coffer overlay TARGET [-o OPTIONS]...");
	for (int i = 3; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "-o") != 0)
			return die("unexpected argument %s", argv[i]);
		if (take_words(&a, argv[i + 1]) != 0)
			return 1;
	}
	/* The target is looked up before the directory changes. */
	char *target = realpath(argv[2], NULL);

	if (!target)
		return die("%s: %s", argv[2], strerror(errno));
	char *data = data_of(&a);

	if (!data)
		return die("the options do not fit into a page");
	if (mount("overlay", target, "overlay", a.bits, data) < 0)
		return die("mount on %s: %s", target, strerror(errno));
	free(data);
	free(target);
	return 0;
}
