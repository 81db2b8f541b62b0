/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a fuzz target over every file of the corpus folders it is given: no fuzzer needed. */
#include "base/bytes.h"
#include "base/fd.h"
#include "base/str.h"

#include <dirent.h>
#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t replay_dir(const char *path)
{
	DIR *dir = opendir(path);
	size_t n = 0;

	if (!dir) {
		fprintf(stderr, "%s: no corpus\n", path);
		exit(1);
	}
	for (struct dirent *e; (e = readdir(dir));) {
		struct cf_buf b = { 0 };

		if (e->d_name[0] == '.')
			continue;
		cf_cleanup(cf_freep) char *file = cf_asprintf("%s/%s", path, e->d_name);
		if (cf_read_file(file, 64u << 20, &b, NULL) == 0) {
			/* An exact copy, so that a read past the end is seen. */
			uint8_t *copy = malloc(b.size ? b.size : 1);
			if (copy && b.size)
				memcpy(copy, b.data, b.size);
			LLVMFuzzerTestOneInput(copy, b.size);
			free(copy);
			n++;
		}
		cf_buf_fini(&b);
	}
	closedir(dir);
	return n;
}

int main(int argc, char **argv)
{
	size_t n = 0;

	for (int i = 1; i < argc; i++)
		n += replay_dir(argv[i]);
	printf("%zu inputs replayed\n", n);
	return n ? 0 : 1;
}
