/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What containerd expects of a snapshotter that holds content, case by case, in both of our modes
 * that do: over the real socket, with what is answered really mounted. The cases are those of
 * containerd's core/snapshots/testsuite, told in our own words (tests/conform/snapshotter_suite.sh
 * runs the original).
 */
#include "tests/harness/snap_tree.h"

#include <time.h>

#define IN_BOTH_MODES(name)                                                                        \
	static void name(struct world *w);                                                         \
	CF_TEST(suite_overlay_##name)                                                              \
	{                                                                                          \
		run_in("overlay", name);                                                           \
	}                                                                                          \
	CF_TEST(suite_erofs_##name)                                                                \
	{                                                                                          \
		run_in("erofs", name);                                                             \
	}                                                                                          \
	static void name(struct world *w)

static void run_in(const char *driver, void (*fn)(struct world *w))
{
	tree_namespace();
	struct world *w = world_new(driver);

	fn(w);
	world_free(w);
}

/* ---- steps ---- */

static const char *const rooted[] = { "containerd.io/gc.root", "2020-01-01T00:00:00Z", NULL };

static char *at(const struct world *w, const char *name)
{
	return cf_asprintf("%s/m-%s", w->dir, name);
}

/* Prepares @name's key on @parent, fills it by @fill, commits it. */
static void layer(struct world *w, const char *name, const char *parent,
                  void (*fill)(const char *dir))
{
	cf_cleanup(cf_freep) char *key = cf_asprintf("/some/long/path/key of %s", name);
	cf_cleanup(cf_freep) char *target = at(w, "fill");
	struct cf_err err;

	EXPECT_OK(prepare(w, key, parent, rooted, NULL, &err), &err);
	tree_mount(w, key, target);
	fill(target);
	tree_unmount(target);
	EXPECT_OK(commit(w, name, key, &err), &err);
}

/* What a view of @name shows; the caller frees. */
static char *shown(struct world *w, const char *name)
{
	cf_cleanup(cf_freep) char *key = cf_asprintf("view of %s", name);
	cf_cleanup(cf_freep) char *target = at(w, "view");
	struct cf_err err;

	EXPECT_OK(view(w, key, name, &err), &err);
	tree_mount(w, key, target);
	char *tree = tree_tell(target, 0);

	tree_unmount(target);
	EXPECT_OK(drop(w, key, &err), &err);
	return tree;
}

static void expect_shown(struct world *w, const char *name, const char *want)
{
	cf_cleanup(cf_freep) char *got = shown(w, name);

	EXPECT_STR(got, want);
}

#define ROOT "/ 40755 0:0\n"

struct info {
	int kind;
	char parent[256];
	int64_t created, updated;
	char labels[1024]; /* "key=value key=value" in order */
};

static void read_info(const T(Info) * i, struct info *ret)
{
	struct cf_buf labels = { 0 };

	for (size_t k = 0; k < i->n_labels; k++)
		cf_buf_printf(&labels, "%s%s=%s", k ? " " : "", i->labels[k]->key,
		              i->labels[k]->value);
	*ret = (struct info){ .kind = (int)i->kind,
		              .created = i->created_at->seconds * 1000000000 + i->created_at->nanos,
		              .updated =
		                      i->updated_at->seconds * 1000000000 + i->updated_at->nanos };
	snprintf(ret->parent, sizeof(ret->parent), "%s", i->parent);
	snprintf(ret->labels, sizeof(ret->labels), "%s",
	         labels.data ? (const char *)labels.data : "");
	cf_buf_fini(&labels);
}

static struct info info_of(struct world *w, const char *key)
{
	T(StatSnapshotResponse) *res = NULL;
	struct cf_err err;
	struct info i;

	EXPECT_OK(stat_key(w, key, &res, &err), &err);
	EXPECT_STR(res->info->name, key);
	read_info(res->info, &i);
	containerd__services__snapshots__v1__stat_snapshot_response__free_unpacked(res, NULL);
	return i;
}

static void expect_info(struct world *w, const char *key, int kind, const char *parent)
{
	struct info i = info_of(w, key);

	EXPECT_INT(i.kind, kind);
	EXPECT_STR(i.parent, parent);
}

enum { VIEW = 1, ACTIVE = 2, COMMITTED = 3 };

/* ---- the cases ---- */

static void fill_basic_1(const char *dir)
{
	tree_file(dir, "foo", "foo\n", 0777);
	tree_dir(dir, "a", 0755);
	tree_dir(dir, "a/b", 0755);
	tree_dir(dir, "a/b/c", 0755);
}

static void fill_basic_2(const char *dir)
{
	cf_cleanup(cf_freep) char *before = tree_tell(dir, 0);

	EXPECT_STR(before, ROOT "/a 40755 0:0\n/a/b 40755 0:0\n/a/b/c 40755 0:0\n"
	                        "/foo 100777 0:0 4 'foo\n'\n");
	tree_file(dir, "bar", "bar\n", 0777);
	tree_file(dir, "foo", "foo again\n", 0777);
	tree_remove(dir, "a/b");
}

IN_BOTH_MODES(basic)
{
	struct cf_err err;
	struct walk x;

	layer(w, "base", "", fill_basic_1);
	expect_info(w, "base", COMMITTED, "");
	EXPECT(kind_of(w, "/some/long/path/key of base") == 0);
	EXPECT_OK(prepare(w, "next", "base", rooted, NULL, &err), &err);
	expect_info(w, "next", ACTIVE, "base");
	cf_cleanup(cf_freep) char *target = at(w, "next");

	tree_mount(w, "next", target);
	fill_basic_2(target);
	tree_unmount(target);
	EXPECT_OK(commit(w, "top", "next", &err), &err);
	expect_info(w, "top", COMMITTED, "base");
	EXPECT_OK(list(w, NULL, &x, &err), &err); /* asks Stat of each while it lists */
	EXPECT_INT(x.infos, 2);
	expect_shown(w, "base",
	             ROOT "/a 40755 0:0\n/a/b 40755 0:0\n/a/b/c 40755 0:0\n/foo 100777 0:0 4 "
	                  "'foo\n'\n");
	EXPECT_OK(view(w, "looking", "top", &err), &err);
	tree_mount(w, "looking", target);
	cf_cleanup(cf_freep) char *merged = tree_tell(target, 0);

	EXPECT_STR(merged, ROOT "/a 40755 0:0\n/bar 100777 0:0 4 'bar\n'\n/foo 100777 0:0 10 'foo "
	                        "again\n'\n");
	tree_unmount(target);
	EXPECT_OK(drop(w, "looking", &err), &err);
	EXPECT_FAILS(drop(w, "base", &err), CF_FAILED_PRECONDITION);
	EXPECT(strstr(err.msg, "remove"));
	EXPECT_OK(drop(w, "top", &err), &err);
	EXPECT_OK(drop(w, "base", &err), &err);
	EXPECT_OK(list(w, NULL, &x, &err), &err);
	EXPECT_INT(x.infos, 0);
}

IN_BOTH_MODES(stat_of_active_and_committed)
{
	cf_cleanup(cf_freep) char *target = at(w, "a");
	struct cf_err err;

	EXPECT_OK(prepare(w, "/an/active one", "", rooted, NULL, &err), &err);
	tree_mount(w, "/an/active one", target);
	expect_info(w, "/an/active one", ACTIVE, "");
	tree_unmount(target);
	EXPECT_OK(commit(w, "/a/committed one", "/an/active one", &err), &err);
	expect_info(w, "/a/committed one", COMMITTED, "");
}

static void fill_nothing(const char *dir)
{
	(void)dir;
}

IN_BOTH_MODES(parents_are_told)
{
	layer(w, "a", "", fill_nothing);
	layer(w, "b", "a", fill_nothing);
	expect_info(w, "a", COMMITTED, "");
	expect_info(w, "b", COMMITTED, "a");
}

IN_BOTH_MODES(a_key_is_used_once)
{
	struct cf_err err;

	layer(w, "base", "", fill_nothing);
	EXPECT_OK(prepare(w, "p", "base", rooted, NULL, &err), &err);
	EXPECT_FAILS(view(w, "p", "base", &err), CF_ALREADY_EXISTS);
	EXPECT_FAILS(prepare(w, "p", "base", rooted, NULL, &err), CF_ALREADY_EXISTS);
	EXPECT_FAILS(prepare(w, "p", "", rooted, NULL, &err), CF_ALREADY_EXISTS);
	EXPECT_OK(view(w, "v", "base", &err), &err);
	EXPECT_FAILS(view(w, "v", "base", &err), CF_ALREADY_EXISTS);
	EXPECT_FAILS(prepare(w, "v", "base", rooted, NULL, &err), CF_ALREADY_EXISTS);
	EXPECT_FAILS(prepare(w, "x", "p", rooted, NULL, &err), CF_INVALID_ARGUMENT);
	EXPECT_FAILS(prepare(w, "x", "nobody", rooted, NULL, &err), CF_NOT_FOUND);
	EXPECT_FAILS(view(w, "x", "v", &err), CF_INVALID_ARGUMENT);
}

/* ---- update ---- */

/* @labels key, value, … NULL; @paths NULL: no mask. */
static int update(struct world *w, const char *name, const char *const *labels,
                  const char *const *paths, struct info *ret, struct cf_err *err)
{
	T(UpdateSnapshotRequest) req;
	T(Info) info;
	T(Info__LabelsEntry) entries[8], *list_of[8];
	Google__Protobuf__FieldMask mask = GOOGLE__PROTOBUF__FIELD_MASK__INIT;
	char *mask_paths[8];
	T(UpdateSnapshotResponse) *res = NULL;

	INIT(update_snapshot_request)(&req);
	INIT(info)(&info);
	info.name = text(name);
	info.parent = text("a parent that is none");
	info.kind = CONTAINERD__SERVICES__SNAPSHOTS__V1__KIND__VIEW;
	for (; labels && labels[0]; labels += 2) {
		INIT(info__labels_entry)(&entries[info.n_labels]);
		entries[info.n_labels].key = text(labels[0]);
		entries[info.n_labels].value = text(labels[1]);
		list_of[info.n_labels] = &entries[info.n_labels];
		info.n_labels++;
	}
	info.labels = list_of;
	for (; paths && paths[0]; paths++)
		mask_paths[mask.n_paths++] = text(paths[0]);
	mask.paths = mask_paths;
	req.info = &info;
	req.update_mask = mask.n_paths ? &mask : NULL;
	int r = call(w, "Update", &req.base, D(update_snapshot_response), &res, err);

	if (r == 0)
		read_info(res->info, ret);
	if (res)
		containerd__services__snapshots__v1__update_snapshot_response__free_unpacked(res,
		                                                                             NULL);
	return r;
}

static int64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void updates_of(struct world *w, const char *name, int kind, const char *parent)
{
	static const char *const all[] = { "l1", "v1", "l2", "v2", "l3", "v3", NULL };
	static const char *const some[] = {
		"l1", "updated", "l4", "v4", "l.dots/slashes", "x", NULL
	};
	static const char *const two[] = { "labels.l1", "labels.l2", NULL };
	static const char *const dotted[] = { "labels.l.dots/slashes", NULL };
	static const char *const whole[] = { "labels", NULL };
	static const char *const wrong[][3] = { { "parent" },  { "labels.l1", "kind" }, { "name" },
		                                { "labels." }, { "created_at" },        { "" } };
	struct info before = info_of(w, name), i;
	int64_t start = now();
	struct cf_err err;

	EXPECT_INT(before.created, before.updated);
	EXPECT(before.created <= start && before.created > start - 60000000000);
	EXPECT_OK(update(w, name, all, NULL, &i, &err), &err);
	EXPECT_STR(i.labels, "l1=v1 l2=v2 l3=v3");
	EXPECT(i.created == before.created && i.updated >= start && i.updated <= now());
	EXPECT_INT(i.kind, kind);
	EXPECT_STR(i.parent, parent);
	EXPECT_OK(update(w, name, some, two, &i, &err), &err);
	EXPECT_STR(i.labels, "l1=updated l3=v3");
	EXPECT_OK(update(w, name, some, dotted, &i, &err), &err);
	EXPECT_STR(i.labels, "l.dots/slashes=x l1=updated l3=v3");
	for (size_t k = 0; k < CF_ARRAY_LEN(wrong); k++)
		EXPECT_FAILS(update(w, name, all, wrong[k], &i, &err), CF_INVALID_ARGUMENT);
	i = info_of(w, name);
	EXPECT_STR(i.labels, "l.dots/slashes=x l1=updated l3=v3");
	EXPECT_OK(update(w, name, some, whole, &i, &err), &err);
	EXPECT_STR(i.labels, "l.dots/slashes=x l1=updated l4=v4");
	EXPECT_OK(update(w, name, NULL, whole, &i, &err), &err);
	EXPECT_STR(i.labels, "");
}

IN_BOTH_MODES(update_changes_labels_alone)
{
	struct info i;
	struct cf_err err;

	layer(w, "c1", "", fill_nothing);
	layer(w, "c2", "c1", fill_nothing);
	EXPECT_OK(prepare(w, "a1", "c2", rooted, NULL, &err), &err);
	EXPECT_OK(prepare(w, "a2", "", rooted, NULL, &err), &err);
	EXPECT_OK(view(w, "v1", "c2", &err), &err);
	EXPECT_OK(view(w, "v2", "", &err), &err);
	updates_of(w, "c1", COMMITTED, "");
	updates_of(w, "c2", COMMITTED, "c1");
	updates_of(w, "a1", ACTIVE, "c2");
	updates_of(w, "a2", ACTIVE, "");
	updates_of(w, "v1", VIEW, "c2");
	updates_of(w, "v2", VIEW, "");
	EXPECT_FAILS(update(w, "nobody", NULL, NULL, &i, &err), CF_NOT_FOUND);
}

IN_BOTH_MODES(labels_of_the_commit_replace_those_before)
{
	static const char *const labels[] = { "old", "label", "empty", "", NULL };
	T(CommitSnapshotRequest) req;
	T(CommitSnapshotRequest__LabelsEntry) entry, *entries[] = { &entry };
	struct cf_err err;

	EXPECT_OK(prepare(w, "a", "", labels, NULL, &err), &err);
	struct info i = info_of(w, "a");

	EXPECT_STR(i.labels, "old=label");
	INIT(commit_snapshot_request)(&req);
	INIT(commit_snapshot_request__labels_entry)(&entry);
	entry.key = text("new");
	entry.value = text("one");
	req.name = text("c");
	req.key = text("a");
	req.n_labels = 1;
	req.labels = entries;
	EXPECT_OK(call(w, "Commit", &req.base, &google__protobuf__empty__descriptor, NULL, &err),
	          &err);
	i = info_of(w, "c");
	EXPECT_STR(i.labels, "new=one");
	EXPECT_INT(i.created, i.updated);
}

/* ---- remove ---- */

IN_BOTH_MODES(names_are_free_again_after_remove)
{
	struct cf_err err;

	layer(w, "committed-1", "", fill_nothing);
	for (int round = 0; round < 2; round++) {
		EXPECT_OK(prepare(w, "reuse-1", "committed-1", rooted, NULL, &err), &err);
		EXPECT_OK(drop(w, "reuse-1", &err), &err);
		EXPECT_OK(view(w, "reuse-1", "committed-1", &err), &err);
		EXPECT_OK(drop(w, "reuse-1", &err), &err);
	}
	EXPECT_OK(prepare(w, "reuse-1", "", rooted, NULL, &err), &err);
	EXPECT_OK(drop(w, "committed-1", &err), &err);
	EXPECT_OK(commit(w, "committed-1", "reuse-1", &err), &err);
	EXPECT_FAILS(drop(w, "reuse-1", &err), CF_NOT_FOUND);
	expect_info(w, "committed-1", COMMITTED, "");
}

IN_BOTH_MODES(a_layer_in_the_middle_stays)
{
	struct cf_err err;

	layer(w, "base", "", fill_nothing);
	layer(w, "inter", "base", fill_nothing);
	EXPECT_OK(prepare(w, "top", "inter", rooted, NULL, &err), &err);
	EXPECT_FAILS(drop(w, "inter", &err), CF_FAILED_PRECONDITION);
	EXPECT_FAILS(drop(w, "base", &err), CF_FAILED_PRECONDITION);
	EXPECT_OK(drop(w, "top", &err), &err);
	EXPECT_OK(drop(w, "inter", &err), &err);
	EXPECT_OK(drop(w, "base", &err), &err);
}

/* ---- walk ---- */

struct names {
	struct world *w;
	struct cf_strv list;
};

static bool take_names(void *user, const ProtobufCMessage *msg)
{
	const T(ListSnapshotsResponse) *res = (const T(ListSnapshotsResponse) *)msg;
	struct names *x = user;

	for (size_t i = 0; i < res->n_info; i++) {
		/* Asked in the middle of the walk, Stat says the same. */
		struct info stat = info_of(x->w, res->info[i]->name), walked;

		read_info(res->info[i], &walked);
		EXPECT(memcmp(&stat, &walked, sizeof(stat)) == 0);
		cf_strv_add(&x->list, res->info[i]->name);
	}
	return true;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void expect_walk(struct world *w, const char *filter, const char *other, const char *want)
{
	T(ListSnapshotsRequest) req;
	char *filters[] = { text(filter), text(other) };
	struct rpc_grpc_req grpc = { .service = SERVICE,
		                     .method = "List",
		                     .msg = &req.base,
		                     .out = D(list_snapshots_response),
		                     .timeout_ms = 30000 };
	cf_cleanup(cf_freep) char *got = NULL;
	struct names x = { .w = w };
	struct cf_err err;

	INIT(list_snapshots_request)(&req);
	req.filters = filters;
	req.n_filters = !filter ? 0 : other ? 2 : 1;
	EXPECT_OK(rpc_grpc_call_stream(w->c, &grpc, take_names, &x, &err), &err);
	if (x.list.count)
		qsort(x.list.items, x.list.count, sizeof(x.list.items[0]), by_text);
	got = x.list.count ? cf_strv_join(&x.list, " ") : cf_strdup("");
	EXPECT_STR(got, want);
	cf_strv_fini(&x.list);
}

IN_BOTH_MODES(walk_takes_filters)
{
	static const char *const l1[] = { "label", "value", "a.dotted/one", "x", NULL };
	struct info i;
	struct cf_err err;

	layer(w, "p1", "", fill_nothing);
	layer(w, "p2", "p1", fill_nothing);
	EXPECT_OK(update(w, "p1", l1, NULL, &i, &err), &err);
	EXPECT_OK(prepare(w, "a1", "p2", l1, NULL, &err), &err);
	EXPECT_OK(prepare(w, "a2", "p2", NULL, NULL, &err), &err);
	EXPECT_OK(prepare(w, "a3", "", l1, NULL, &err), &err);
	EXPECT_OK(view(w, "v1", "p2", &err), &err);
	EXPECT_OK(view(w, "v2", "p1", &err), &err);
	EXPECT_OK(view(w, "v3", "", &err), &err);
	EXPECT_OK(update(w, "v1", l1, NULL, &i, &err), &err);
	expect_walk(w, NULL, NULL, "a1 a2 a3 p1 p2 v1 v2 v3");
	expect_walk(w, "", NULL, "a1 a2 a3 p1 p2 v1 v2 v3");
	expect_walk(w, "labels.\"label\"==value", NULL, "a1 a3 p1 v1");
	expect_walk(w, "labels.label", NULL, "a1 a3 p1 v1");
	expect_walk(w, "labels.\"a.dotted/one\"==x", NULL, "a1 a3 p1 v1");
	expect_walk(w, "kind==active,labels.label", NULL, "a1 a3");
	expect_walk(w, "kind==view,labels.label", NULL, "v1");
	expect_walk(w, "kind==committed,labels.label==value", NULL, "p1");
	expect_walk(w, "name==a1", "name==v3", "a1 v3");
	expect_walk(w, "parent==p2", NULL, "a1 a2 v1");
	expect_walk(w, "parent!=\"\"", NULL, "a1 a2 p2 v1 v2");
	expect_walk(w, "parent==\"\",kind!=committed", NULL, "a3 v3");
	expect_walk(w, "name~=/^v[12]$/", NULL, "v1 v2");
	expect_walk(w, "name==nobody", NULL, "");
}

/* ---- content ---- */

static void fill_update_1(const char *dir)
{
	for (char c = 'a'; c <= 'f'; c++)
		tree_file(dir, (char[]){ c, '\0' }, "first", 0644);
}

static void fill_update_2(const char *dir)
{
	for (char c = 'a'; c <= 'c'; c++)
		tree_file(dir, (char[]){ c, '\0' }, "other", 0644);
	tree_file(dir, "d", "longer than before", 0600);
}

IN_BOTH_MODES(files_of_one_second_and_size_are_told_apart)
{
	for (int round = 0; round < 5; round++) {
		cf_cleanup(cf_freep) char *lower = cf_asprintf("low %d", round);
		cf_cleanup(cf_freep) char *upper = cf_asprintf("up %d", round);

		layer(w, lower, "", fill_update_1);
		layer(w, upper, lower, fill_update_2);
		expect_shown(w, lower,
		             ROOT "/a 100644 0:0 5 'first'\n/b 100644 0:0 5 'first'\n"
		                  "/c 100644 0:0 5 'first'\n/d 100644 0:0 5 'first'\n"
		                  "/e 100644 0:0 5 'first'\n/f 100644 0:0 5 'first'\n");
		expect_shown(w, upper,
		             ROOT "/a 100644 0:0 5 'other'\n/b 100644 0:0 5 'other'\n"
		                  "/c 100644 0:0 5 'other'\n/d 100600 0:0 18 'longer than before'\n"
		                  "/e 100644 0:0 5 'first'\n/f 100644 0:0 5 'first'\n");
	}
}

static void fill_dir_1(const char *dir)
{
	tree_dir(dir, "dir1", 0700);
	tree_file(dir, "dir1/f1", "1", 0644);
	tree_file(dir, "dir1/f2", "2", 0644);
}

static void fill_dir_2(const char *dir)
{
	tree_remove(dir, "dir1");
	tree_dir(dir, "dir1", 0711);
	tree_file(dir, "dir1/f2", "new", 0644);
}

static void fill_dir_3(const char *dir)
{
	tree_file(dir, "dir1/f3", "3", 0644);
}

IN_BOTH_MODES(a_directory_made_anew_hides_the_old_one)
{
	layer(w, "1", "", fill_dir_1);
	layer(w, "2", "1", fill_dir_2);
	layer(w, "3", "2", fill_dir_3);
	expect_shown(w, "2", ROOT "/dir1 40711 0:0\n/dir1/f2 100644 0:0 3 'new'\n");
	expect_shown(w, "3",
	             ROOT "/dir1 40711 0:0\n/dir1/f2 100644 0:0 3 'new'\n/dir1/f3 100644 0:0 1 "
	                  "'3'\n");
}

static void own(const char *dir, const char *name, uid_t uid, gid_t gid)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/%s", dir, name);

	EXPECT(lchown(path, uid, gid) == 0);
}

static void fill_own_1(const char *dir)
{
	tree_dir(dir, "opt", 0755);
	tree_dir(dir, "opt/a", 0755);
	tree_file(dir, "opt/a/f", "x", 0644);
}

static void fill_own_2(const char *dir)
{
	own(dir, "opt", 1, 1);
	own(dir, "opt/a/f", 1234567, 7654321);
}

IN_BOTH_MODES(owners_change)
{
	layer(w, "1", "", fill_own_1);
	layer(w, "2", "1", fill_own_2);
	expect_shown(w, "2",
	             ROOT "/opt 40755 1:1\n/opt/a 40755 0:0\n/opt/a/f 100644 1234567:7654321 1 "
	                  "'x'\n");
}

static void fill_mode_1(const char *dir)
{
	tree_dir(dir, "dir1", 0700);
	tree_dir(dir, "dir2", 0700);
	tree_dir(dir, "dir3", 0700);
	tree_dir(dir, "dir4", 0700);
	tree_file(dir, "dir4/f", "x", 0600);
	own(dir, "dir1", 1, 1);
	own(dir, "dir3", 2, 2);
}

static void fill_mode_2(const char *dir)
{
	cf_cleanup(cf_freep) char *dir2 = cf_asprintf("%s/dir2", dir);

	tree_file(dir, "dir1/f", "in a copied-up directory", 0644);
	EXPECT(chmod(dir2, 01777) == 0);
	tree_remove(dir, "dir3");
	tree_dir(dir, "dir3", 0755);
	tree_remove(dir, "dir4");
}

static void fill_mode_3(const char *dir)
{
	tree_dir(dir, "dir4", 02750);
	own(dir, "dir2", 1, 1);
}

IN_BOTH_MODES(modes_and_owners_of_directories_are_kept)
{
	layer(w, "1", "", fill_mode_1);
	layer(w, "2", "1", fill_mode_2);
	layer(w, "3", "2", fill_mode_3);
	expect_shown(w, "3",
	             ROOT "/dir1 40700 1:1\n/dir1/f 100644 0:0 24 'in a copied-up directory'\n"
	                  "/dir2 41777 1:1\n/dir3 40755 0:0\n/dir4 42750 0:0\n");
}

static void fill_deleted_1(const char *dir)
{
	tree_file(dir, "foo", "foo", 0777);
	tree_file(dir, "stays", "stays", 0777);
	tree_dir(dir, "dir", 0755);
	tree_file(dir, "dir/bar", "bar", 0777);
}

static void fill_deleted_2(const char *dir)
{
	tree_remove(dir, "foo");
	tree_remove(dir, "dir");
}

IN_BOTH_MODES(deleted_files_stay_deleted)
{
	layer(w, "1", "", fill_deleted_1);
	layer(w, "2", "1", fill_deleted_2);
	layer(w, "3", "2", fill_nothing);
	expect_shown(w, "2", ROOT "/stays 100777 0:0 5 'stays'\n");
	expect_shown(w, "3", ROOT "/stays 100777 0:0 5 'stays'\n");
}

static void move(const char *dir, const char *from, const char *to)
{
	cf_cleanup(cf_freep) char *a = cf_asprintf("%s/%s", dir, from);
	cf_cleanup(cf_freep) char *b = cf_asprintf("%s/%s", dir, to);

	EXPECT(rename(a, b) == 0);
}

static void hard_link(const char *dir, const char *from, const char *to)
{
	cf_cleanup(cf_freep) char *a = cf_asprintf("%s/%s", dir, from);
	cf_cleanup(cf_freep) char *b = cf_asprintf("%s/%s", dir, to);

	EXPECT(link(a, b) == 0);
}

static void fill_move_1(const char *dir)
{
	tree_dir(dir, "dir1", 0700);
	tree_file(dir, "dir1/f1", "1", 0644);
	tree_dir(dir, "dir2", 0700);
	tree_file(dir, "dir2/f2", "2", 0644);
}

static void fill_move_2(const char *dir)
{
	tree_dir(dir, "dir3", 0700);
	move(dir, "dir1/f1", "dir3/f1");
	tree_remove(dir, "dir1");
	hard_link(dir, "dir2/f2", "dir3/f2");
	tree_remove(dir, "dir2/f2");
}

IN_BOTH_MODES(files_move_between_directories)
{
	layer(w, "1", "", fill_move_1);
	layer(w, "2", "1", fill_move_2);
	expect_shown(w, "2",
	             ROOT "/dir2 40700 0:0\n/dir3 40700 0:0\n/dir3/f1 100644 0:0 1 '1'\n"
	                  "/dir3/f2 100644 0:0 1 '2'\n");
}

static void fill_rename_2(const char *dir)
{
	cf_cleanup(cf_freep) char *from = cf_asprintf("%s/dir1", dir);
	cf_cleanup(cf_freep) char *to = cf_asprintf("%s/dir5", dir);

	move(dir, "dir2/f2", "dir2/f3");
	/* A directory of a lower layer is not renamed: programs copy it then, as across disks. */
	EXPECT(rename(from, to) < 0 && errno == EXDEV);
	tree_dir(dir, "dir4", 0755);
	tree_file(dir, "dir4/f4", "4", 0644);
	move(dir, "dir4", "dir6");
}

IN_BOTH_MODES(files_are_renamed_and_new_directories_are)
{
	layer(w, "1", "", fill_move_1);
	layer(w, "2", "1", fill_rename_2);
	expect_shown(w, "2",
	             ROOT "/dir1 40700 0:0\n/dir1/f1 100644 0:0 1 '1'\n/dir2 40700 0:0\n"
	                  "/dir2/f3 100644 0:0 1 '2'\n/dir6 40755 0:0\n/dir6/f4 100644 0:0 1 "
	                  "'4'\n");
}

IN_BOTH_MODES(views_cannot_be_written)
{
	static const char *const names[] = { "v0", "v1", "v2" }, *const parents[] = { "", "1",
		                                                                      "2" };
	cf_cleanup(cf_freep) char *target = at(w, "v");
	cf_cleanup(cf_freep) char *file = cf_asprintf("%s/new", target);
	struct cf_err err;

	layer(w, "1", "", fill_move_1);
	layer(w, "2", "1", fill_move_2);
	for (size_t i = 0; i < CF_ARRAY_LEN(names); i++) {
		EXPECT_OK(view(w, names[i], parents[i], &err), &err);
		tree_mount(w, names[i], target);
		EXPECT(open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0644) < 0 && errno == EROFS);
		tree_unmount(target);
		EXPECT_FAILS(commit(w, "x", names[i], &err), CF_FAILED_PRECONDITION);
	}
}

IN_BOTH_MODES(clients_come_and_go)
{
	struct cf_err err;

	EXPECT_OK(prepare(w, "a", "", rooted, NULL, &err), &err);
	for (int i = 0; i < 2; i++) {
		w->c = rpc_grpc_client_free(w->c);
		client_start(w);
		EXPECT(kind_of(w, "a") == ACTIVE);
	}
}

IN_BOTH_MODES(the_root_is_0755)
{
	cf_cleanup(cf_freep) char *target = at(w, "r");
	struct stat st;
	struct cf_err err;

	umask(077);
	EXPECT_OK(prepare(w, "a", "", rooted, NULL, &err), &err);
	tree_mount(w, "a", target);
	EXPECT(stat(target, &st) == 0);
	EXPECT_INT(st.st_mode & 07777, 0755);
	tree_unmount(target);
	EXPECT_OK(commit(w, "c", "a", &err), &err);
	EXPECT_OK(prepare(w, "b", "c", rooted, NULL, &err), &err);
	tree_mount(w, "b", target);
	EXPECT(stat(target, &st) == 0);
	EXPECT_INT(st.st_mode & 07777, 0755);
	tree_unmount(target);
}

static char layer_name[32];

static void fill_numbered(const char *dir)
{
	tree_file(dir, layer_name, layer_name, 0644);
	tree_file(dir, "last", layer_name, 0644);
}

IN_BOTH_MODES(a_hundred_and_twenty_eight_layers)
{
	char below[32] = "";
	struct cf_buf want = { 0 };

	for (int i = 0; i < 128; i++) {
		snprintf(layer_name, sizeof(layer_name), "l%03d", i);
		layer(w, layer_name, below, fill_numbered);
		memcpy(below, layer_name, sizeof(below));
	}
	cf_buf_add_str(&want, ROOT);
	for (int i = 0; i < 128; i++) {
		if (i == 0)
			cf_buf_add_str(&want, "/l000 100644 0:0 4 'l000'\n");
		else
			cf_buf_printf(&want, "/l%03d 100644 0:0 4 'l%03d'\n", i, i);
	}
	cf_cleanup(cf_freep) char *got = shown(w, "l127");
	char *last = strstr(got, "/last 100644 0:0 4 'l127'\n");

	EXPECT(last);
	memmove(last, last + strlen("/last 100644 0:0 4 'l127'\n"),
	        strlen(last + strlen("/last 100644 0:0 4 'l127'\n")) + 1);
	EXPECT_STR(got, (const char *)want.data);
	cf_buf_fini(&want);
}
