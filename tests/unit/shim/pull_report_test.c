/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/shim/pull_report.h"

#include "base/str.h"
#include "tests/harness/test.h"

CF_TEST(pull_report_finds_the_snapshot_in_its_mount)
{
	static const struct {
		const char *option, *root;
		uint64_t id;
	} good[] = {
		{ "workdir=/var/lib/coffer/snapshotter/snapshots/12/work",
		  "/var/lib/coffer/snapshotter", 12 },
		{ "workdir=/a/snapshots/1/x/snapshots/2/work", "/a/snapshots/1/x", 2 },
	};
	static const char *const others[] = {
		"",
		"workdir=",
		"ro",
		"upperdir=/a/snapshots/1/fs",
		"workdir=/snapshots/1/work",
		"workdir=/a/snapshots/1/fs",
		"workdir=/a/snapshots//work",
		"workdir=/a/snapshots/x/work",
		"workdir=/a/snapshots/1/b/work",
		"workdir=/a/snapshots/work",
		"workdir=/a/snapshots/-1/work",
		"workdir=/a/snapshots/99999999999999999999/work",
		"workdir=/a/snapshots/1/work/",
	};
	uint64_t id;

	for (size_t i = 0; i < CF_ARRAY_LEN(good); i++) {
		cf_cleanup(cf_freep) char *root = NULL;

		EXPECT(pull_report_place(good[i].option, &root, &id));
		EXPECT_STR(root, good[i].root);
		EXPECT_INT(id, good[i].id);
	}
	for (size_t i = 0; i < CF_ARRAY_LEN(others); i++) {
		char *root = NULL;

		EXPECT(!pull_report_place(others[i], &root, &id));
		EXPECT(!root);
	}
}
