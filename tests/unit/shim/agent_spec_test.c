/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/shim/agent_spec.h"

#include "base/fd.h"
#include "tests/harness/test.h"

static char *config_json(const char *kind, const char *source)
{
	return cf_asprintf(
		"{\"ociVersion\":\"1.0.2-dev\",\"process\":{\"terminal\":false,"
		"\"user\":{\"uid\":7,\"gid\":8,\"additionalGids\":[9,10]},"
		"\"args\":[\"/bin/sh\",\"-c\",\"x\"],\"env\":[\"A=b\"],\"cwd\":\"/\","
		"\"capabilities\":{\"bounding\":[\"CAP_CHOWN\"]},"
		"\"rlimits\":[{\"type\":\"RLIMIT_NOFILE\",\"hard\":1024,\"soft\":1000}],"
		"\"noNewPrivileges\":true,\"oomScoreAdj\":-998,\"apparmorProfile\":\"x\"},"
		"\"root\":{\"path\":\"rootfs\",\"readonly\":true},\"hostname\":\"h\","
		"\"mounts\":[{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\"},"
		"{\"destination\":\"/etc/hosts\",\"type\":\"bind\",\"source\":\"%s\","
		"\"options\":[\"rbind\",\"ro\"]},"
		"{\"destination\":\"/dev/shm\",\"type\":\"bind\",\"source\":\"/run/x/shm\","
		"\"options\":[\"rbind\"]}],"
		"\"hooks\":{\"prestart\":[{\"path\":\"/bin/evil\"}]},"
		"\"annotations\":{\"io.kubernetes.cri.container-type\":\"%s\","
		"\"io.kubernetes.cri.sandbox-id\":\"abc\","
		"\"io.kubernetes.cri.image-name\":\"reg/a:1\"},"
		"\"linux\":{\"sysctl\":{\"net.ipv4.ip_forward\":\"0\"},"
		"\"resources\":{\"devices\":[{\"allow\":false}],\"memory\":{\"limit\":1000},"
		"\"cpu\":{\"shares\":2,\"cpus\":\"0\"},\"pids\":{\"limit\":3}},"
		"\"cgroupsPath\":\"/k\",\"namespaces\":[{\"type\":\"pid\"},"
		"{\"type\":\"network\",\"path\":\"/x\"},{\"type\":\"ipc\",\"path\":\"/proc/1/ns/"
		"ipc\"},"
		"{\"type\":\"mount\"}],\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ERRNO\"},"
		"\"maskedPaths\":[\"/proc/kcore\"]}}",
		source, kind);
}

static char *pull_volume(void)
{
	struct cf_buf out = { 0 };

	cf_buf_add_str(&out, "io.katacontainers.volume=");
	cf_b64_encode(CF_B64_STD,
	              cf_view_str("{\"volume_type\":\"image_guest_pull\",\"source\":\"x\","
	                          "\"image_pull\":{\"metadata\":{\"k\":\"v\"}}}"),
	              &out);
	return cf_buf_take_str(&out);
}

static int build(const char *kind, const char *volume, struct agent_container **ret,
                 struct cf_err *err)
{
	cf_cleanup(cf_freep) char *dir = cf_test_tmpdir();
	cf_cleanup(cf_freep) char *hosts = cf_asprintf("%s/hosts", dir);
	cf_cleanup(cf_freep) char *json = config_json(kind, hosts);
	cf_cleanup(cf_freep) char *option = cf_strdup(volume);
	cf_cleanup(bundle_freep) struct bundle *b = NULL;
	Containerd__Types__Mount mount = CONTAINERD__TYPES__MOUNT__INIT, *mounts = &mount;
	struct agent_rootfs_opts opts = { .is_forced = false };

	mount.n_options = option ? 1 : 0;
	mount.options = &option;
	EXPECT_OK(cf_write_file_atomic(hosts, cf_view_str("127.0.0.1 localhost\n"), 0644, err),
	          err);
	EXPECT_OK(bundle_parse(cf_view_str(json), "ctr1", &b, err), err);
	return agent_container_new(b, "ctr1", "/bundle", &mounts, 1, &opts, ret, err);
}

CF_TEST(agent_spec_is_constrained_as_kata_does)
{
	cf_cleanup(agent_container_freep) struct agent_container *c = NULL;
	cf_cleanup(cf_freep) char *volume = pull_volume();
	struct cf_err err;
	Grpc__Spec *s;

	EXPECT_OK(build("container", volume, &c, &err), &err);
	s = c->req->oci;
	EXPECT_STR(s->process->args[2], "x");
	EXPECT_INT(s->process->user->uid, 7);
	EXPECT_INT(s->process->user->additionalgids[1], 10);
	EXPECT(s->process->nonewprivileges && s->process->oomscoreadj == -998);
	EXPECT_STR(s->process->apparmorprofile, "");
	EXPECT_INT(s->process->rlimits[0]->soft, 1000);
	EXPECT_STR(s->process->capabilities->bounding[0], "CAP_CHOWN");
	EXPECT(!s->hooks && !s->linux_->seccomp && s->root->readonly);
	EXPECT_STR(s->root->path, "/run/kata-containers/ctr1/rootfs");
	EXPECT_INT(s->linux_->n_namespaces, 2);
	EXPECT_STR(s->linux_->namespaces[0]->type, "ipc");
	EXPECT_STR(s->linux_->namespaces[0]->path, "");
	EXPECT(!s->linux_->resources->pids && !s->linux_->resources->n_devices);
	EXPECT_INT(s->linux_->resources->memory->limit, 1000);
	EXPECT_STR(s->linux_->resources->cpu->cpus, "");
	EXPECT_STR(s->linux_->sysctl[0]->key, "net.ipv4.ip_forward");
	EXPECT_INT(s->n_annotations, 5);
	EXPECT_STR(s->annotations[4]->value, "pod_container");
}

CF_TEST(agent_spec_turns_host_mounts_into_copies)
{
	cf_cleanup(agent_container_freep) struct agent_container *c = NULL;
	cf_cleanup(cf_freep) char *volume = pull_volume();
	struct cf_err err;
	Grpc__Mount **m;

	EXPECT_OK(build("container", volume, &c, &err), &err);
	m = c->req->oci->mounts;
	EXPECT_STR(m[0]->source, "proc");
	EXPECT(cf_starts_with(m[1]->source, AGENT_SHARE_DIR "/ctr1-"));
	EXPECT(cf_ends_with(m[1]->source, "-hosts"));
	EXPECT_INT(c->upload_count, 1);
	EXPECT_STR(c->uploads[0].guest, m[1]->source);
	EXPECT_STR(m[2]->source, AGENT_SANDBOX_SHM);
	EXPECT_STR(m[2]->options[0], "rbind");
}

CF_TEST(agent_rootfs_is_pulled_in_the_guest)
{
	cf_cleanup(agent_container_freep) struct agent_container *c = NULL;
	cf_cleanup(agent_container_freep) struct agent_container *pause = NULL;
	struct agent_container *none = NULL;
	cf_cleanup(cf_freep) char *volume = pull_volume();
	struct cf_err err;
	Grpc__Storage *s;

	EXPECT_OK(build("container", volume, &c, &err), &err);
	s = c->req->storages[0];
	EXPECT_STR(s->driver, "image_guest_pull");
	EXPECT_STR(s->source, "reg/a:1"); /* the annotation, never the mount's own word */
	EXPECT_STR(s->mount_point, "/run/kata-containers/ctr1/rootfs");
	EXPECT(cf_starts_with(s->driver_options[0],
	                      "image_guest_pull={\"metadata\":{\"k\":\"v\",\"io.kubernetes.cri."
	                      "container-type\":\"container\""));
	EXPECT_OK(build("sandbox", NULL, &pause, &err), &err);
	EXPECT_STR(pause->req->storages[0]->source, "pause");
	EXPECT_FAILS(build("container", NULL, &none, &err), CF_UNIMPLEMENTED);
	EXPECT_FAILS(build("container", "io.katacontainers.volume=!!", &none, &err),
	             CF_INVALID_ARGUMENT);
	EXPECT_FAILS(build("container", "io.katacontainers.volume=e30=", &none, &err),
	             CF_INVALID_ARGUMENT);
	EXPECT(!none);
}

CF_TEST(agent_process_needs_args_and_right_types)
{
	Grpc__Process *p = NULL;
	struct cf_err err;

	EXPECT_OK(agent_process_new(cf_view_str("{\"args\":[\"id\"],\"terminal\":true}"), &p, &err),
	          &err);
	EXPECT(p->terminal && p->n_args == 1);
	grpc__process__free_unpacked(p, NULL);
	p = NULL;
	EXPECT_FAILS(agent_process_new(cf_view_str("{}"), &p, &err), CF_INVALID_ARGUMENT);
	EXPECT_FAILS(agent_process_new(cf_view_str("{\"args\":\"id\"}"), &p, &err),
	             CF_INVALID_ARGUMENT);
	EXPECT_FAILS(agent_process_new(cf_view_str("{\"args\":[\"a\"],\"cwd\":\"/\","
	                                           "\"CWD\":\"/x\"}"),
	                               &p, &err),
	             CF_INVALID_ARGUMENT); /* one field by two names */
	EXPECT_FAILS(agent_process_new(cf_view_str("{\"args\":{\"a\":\"b\"}}"), &p, &err),
	             CF_INVALID_ARGUMENT);
	EXPECT_FAILS(agent_process_new(cf_view_str("{\"args\":[1]}"), &p, &err),
	             CF_INVALID_ARGUMENT);
	EXPECT_FAILS(agent_process_new(cf_view_str("{\"args\":[\"a\"],\"user\":{\"uid\":-1}}"), &p,
	                               &err),
	             CF_INVALID_ARGUMENT);
	EXPECT(!p);
}
