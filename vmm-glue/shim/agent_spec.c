/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/shim/agent_spec.h"

#include "base/crypto.h"
#include "vmm-glue/shim/json_message.h"
#include "vmm-glue/shim/volume.h"

#include <string.h>
#include <sys/stat.h>

/* ---- small editing of malloc()ed protobuf-c messages ---- */

void agent_set_str(char **field, const char *s)
{
	if (*field != (const char *)protobuf_c_empty_string)
		free(*field);
	*field = cf_strdup(s);
}

static void clear_str(char **field)
{
	agent_set_str(field, "");
}

void agent_add_item(size_t *count, void *items, void *item)
{
	void ***list = items;

	*list = cf_realloc_n(*list, *count + 1, sizeof(void *));
	(*list)[(*count)++] = item;
}

void agent_add_str(size_t *count, char ***items, const char *s)
{
	agent_add_item(count, items, cf_strdup(s));
}

/* Frees the message at *@slot and leaves NULL. */
#define DROP(slot)                                                                                 \
	do {                                                                                       \
		if (*(slot))                                                                       \
			protobuf_c_message_free_unpacked(&(*(slot))->base, NULL);                  \
		*(slot) = NULL;                                                                    \
	} while (0)

#define DROP_ALL(count, items)                                                                     \
	do {                                                                                       \
		for (size_t drop_ = 0; drop_ < *(count); drop_++)                                  \
			protobuf_c_message_free_unpacked(&(*(items))[drop_]->base, NULL);          \
		free(*(items));                                                                    \
		*(items) = NULL;                                                                   \
		*(count) = 0;                                                                      \
	} while (0)

/* ---- constraining ---- */

static void constrain_resources(Grpc__LinuxResources *res)
{
	if (!res)
		return;
	DROP_ALL(&res->n_devices, &res->devices);
	DROP(&res->pids);
	DROP(&res->blockio);
	DROP(&res->network);
	if (res->cpu) {
		clear_str(&res->cpu->cpus);
		clear_str(&res->cpu->mems);
	}
}

/* The guest has its own network and cgroup namespaces; pid is said by sandbox_pidns. */
static bool is_host_namespace(const char *type)
{
	return cf_streq(type, "network") || cf_streq(type, "cgroup") || cf_streq(type, "time") ||
	       cf_streq(type, "pid");
}

static void constrain_namespaces(Grpc__Linux *l)
{
	size_t kept = 0;

	for (size_t i = 0; i < l->n_namespaces; i++) {
		Grpc__LinuxNamespace *ns = l->namespaces[i];

		if (is_host_namespace(ns->type)) {
			grpc__linux_namespace__free_unpacked(ns, NULL);
			continue;
		}
		clear_str(&ns->path);
		l->namespaces[kept++] = ns;
	}
	l->n_namespaces = kept;
}

static void constrain_spec(Grpc__Spec *spec)
{
	DROP(&spec->hooks);
	DROP(&spec->solaris);
	DROP(&spec->windows);
	if (spec->process)
		clear_str(&spec->process->selinuxlabel);
	if (spec->process)
		clear_str(&spec->process->apparmorprofile);
	if (!spec->linux_)
		return;
	DROP(&spec->linux_->seccomp);
	DROP(&spec->linux_->intelrdt);
	clear_str(&spec->linux_->mountlabel);
	constrain_resources(spec->linux_->resources);
	constrain_namespaces(spec->linux_);
}

static void set_annotation(Grpc__Spec *spec, const char *key, const char *value)
{
	Grpc__Spec__AnnotationsEntry *e;

	for (size_t i = 0; i < spec->n_annotations; i++) {
		if (!cf_streq(spec->annotations[i]->key, key))
			continue;
		agent_set_str(&spec->annotations[i]->value, value);
		return;
	}
	e = cf_zalloc(sizeof(*e));
	grpc__spec__annotations_entry__init(e);
	e->key = cf_strdup(key);
	e->value = cf_strdup(value);
	agent_add_item(&spec->n_annotations, &spec->annotations, e);
}

/* "pid" with a path joins the pod's, as shareProcessNamespace asks. */
static bool wants_sandbox_pidns(const Grpc__Spec *spec)
{
	for (size_t i = 0; spec->linux_ && i < spec->linux_->n_namespaces; i++) {
		const Grpc__LinuxNamespace *ns = spec->linux_->namespaces[i];

		if (cf_streq(ns->type, "pid"))
			return *ns->path != 0;
	}
	return false;
}

/* ---- mounts ---- */

static bool is_below(const char *path, const char *dir)
{
	const char *rest = cf_after(path, dir);

	return rest && (!*rest || *rest == '/');
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static void replace_options(Grpc__Mount *m, const char *option)
{
	for (size_t i = 0; i < m->n_options; i++)
		free(m->options[i]);
	m->n_options = 0;
	agent_add_str(&m->n_options, &m->options, option);
}

static void add_upload(struct agent_container *c, const char *host, const char *guest)
{
	cf_grow(&c->uploads, &c->upload_cap, c->upload_count + 1);
	c->uploads[c->upload_count++] =
		(struct agent_upload){ .host = cf_strdup(host), .guest = cf_strdup(guest) };
}

/* CID-HEX16-BASENAME in the guest's share; the content follows by CopyFile. */
static int share_mount(struct agent_container *c, const char *id, Grpc__Mount *m,
                       struct cf_err *err)
{
	cf_cleanup(cf_freep) char *guest = NULL;
	uint8_t random[8];
	char hex[17];
	struct stat st;

	if (stat(m->source, &st) < 0)
		return cf_fail(err, CF_NOT_FOUND, "mount of %s: no such file on the host",
		               m->source);
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return cf_fail(err, CF_UNIMPLEMENTED,
		               "mount of %s: only files and directories can be copied to the guest",
		               m->source);
	cf_random(random, sizeof(random));
	cf_hex_encode(cf_view(random, sizeof(random)), hex);
	guest = cf_asprintf("%s/%s-%s-%s", AGENT_SHARE_DIR, id, hex, base_name(m->destination));
	add_upload(c, m->source, guest);
	agent_set_str(&m->source, guest);
	return 0;
}

/* emptyDir of medium Memory: a tmpfs of the pod in the guest, shared by its containers. */
static bool is_memory_volume(const char *source)
{
	return strstr(source, "/volumes/kubernetes.io~empty-dir/") != NULL &&
	       volume_is_tmpfs(source);
}

static void ephemeral_mount(struct agent_container *c, Grpc__Mount *m)
{
	cf_cleanup(cf_freep) char *guest =
		cf_asprintf("%s/%s", AGENT_EPHEMERAL, base_name(m->source));
	Grpc__Storage *s = cf_zalloc(sizeof(*s));

	grpc__storage__init(s);
	s->driver = cf_strdup("ephemeral");
	s->source = cf_strdup("tmpfs");
	s->fstype = cf_strdup("tmpfs");
	s->mount_point = cf_strdup(guest);
	s->shared = true;
	agent_add_item(&c->req->n_storages, &c->req->storages, s);
	agent_set_str(&m->source, guest);
}

static bool is_bind(const Grpc__Mount *m)
{
	for (size_t i = 0; i < m->n_options; i++)
		if (cf_streq(m->options[i], "bind") || cf_streq(m->options[i], "rbind"))
			return true;
	return cf_streq(m->type, "bind");
}

static int rewrite_mount(struct agent_container *c, const char *id, Grpc__Mount *m,
                         struct cf_err *err)
{
	if (!is_bind(m))
		return 0;
	if (cf_streq(m->destination, "/dev/shm")) {
		agent_set_str(&m->source, AGENT_SANDBOX_SHM);
		agent_set_str(&m->type, "bind");
		replace_options(m, "rbind");
		return 0;
	}
	if (is_below(m->source, "/dev") || is_below(m->source, "/sys") ||
	    is_below(m->source, "/proc"))
		return 0;
	if (is_memory_volume(m->source)) {
		ephemeral_mount(c, m);
		return 0;
	}
	return share_mount(c, id, m, err);
}

static int rewrite_mounts(struct agent_container *c, const char *id, Grpc__Spec *spec,
                          struct cf_err *err)
{
	for (size_t i = 0; i < spec->n_mounts; i++) {
		int r = rewrite_mount(c, id, spec->mounts[i], err);

		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- the whole request ---- */

static int rootfs_storage(struct agent_container *c, const struct bundle *b, const char *id,
                          Containerd__Types__Mount *const *mounts, size_t mount_count,
                          const struct agent_rootfs_opts *opts, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *root = cf_asprintf("/run/kata-containers/%s/rootfs", id);
	struct cf_strv options = { 0 };
	Grpc__Storage *s = NULL;
	int r;

	for (size_t i = 0; i < mount_count; i++)
		for (size_t k = 0; k < mounts[i]->n_options; k++)
			cf_strv_add(&options, mounts[i]->options[k]);
	r = volume_guest_pull(b, &options, opts->is_forced, root, &s, err);
	cf_strv_fini(&options);
	if (r < 0)
		return r;
	agent_add_item(&c->req->n_storages, &c->req->storages, s);
	if (!c->req->oci->root) {
		c->req->oci->root = cf_zalloc(sizeof(*c->req->oci->root));
		grpc__root__init(c->req->oci->root);
	}
	agent_set_str(&c->req->oci->root->path, root);
	return 0;
}

int agent_container_new(const struct bundle *b, const char *id, const char *dir,
                        Containerd__Types__Mount *const *mounts, size_t mount_count,
                        const struct agent_rootfs_opts *opts, struct agent_container **ret,
                        struct cf_err *err)
{
	cf_cleanup(agent_container_freep) struct agent_container *c = cf_zalloc(sizeof(*c));
	ProtobufCMessage *msg = NULL;
	Grpc__Spec *spec;
	int r;

	if (!b->config)
		return cf_fail(err, CF_INVALID_ARGUMENT, "bundle %s has no config.json", dir);
	r = json_message_new(&grpc__spec__descriptor, b->config, &msg, err);
	if (r < 0)
		return cf_wrap(err, r, "config.json");
	c->req = cf_zalloc(sizeof(*c->req));
	grpc__create_container_request__init(c->req);
	c->req->oci = spec = (Grpc__Spec *)msg;
	c->req->container_id = cf_strdup(id);
	c->req->exec_id = cf_strdup(id);
	if (!spec->process)
		return cf_fail(err, CF_INVALID_ARGUMENT, "config.json: no process");
	agent_set_str(&spec->version, "1.0.2");
	c->is_terminal = spec->process->terminal;
	c->req->sandbox_pidns = b->kind == BUNDLE_CONTAINER && wants_sandbox_pidns(spec);
	constrain_spec(spec);
	set_annotation(spec, "io.katacontainers.pkg.oci.bundle_path", dir);
	set_annotation(spec, "io.katacontainers.pkg.oci.container_type", bundle_kind_name(b->kind));
	r = rootfs_storage(c, b, id, mounts, mount_count, opts, err);
	if (r == 0)
		r = rewrite_mounts(c, id, spec, err);
	if (r < 0)
		return r;
	*ret = cf_take(&c);
	return 0;
}

struct agent_container *agent_container_free(struct agent_container *c)
{
	if (!c)
		return NULL;
	for (size_t i = 0; i < c->upload_count; i++) {
		free(c->uploads[i].host);
		free(c->uploads[i].guest);
	}
	free(c->uploads);
	if (c->req)
		grpc__create_container_request__free_unpacked(c->req, NULL);
	free(c);
	return NULL;
}

/* ---- exec and update ---- */

static int parse_message(struct cf_view json, const ProtobufCMessageDescriptor *type,
                         const char *what, ProtobufCMessage **ret, struct cf_err *err)
{
	cf_cleanup(cf_json_freep) struct cf_json *root = NULL;
	int r = cf_json_parse(json, BUNDLE_CONFIG_MAX, &root, err);

	if (r == 0)
		r = json_message_new(type, root, ret, err);
	return r < 0 ? cf_wrap(err, r, "%s", what) : 0;
}

int agent_process_new(struct cf_view json, Grpc__Process **ret, struct cf_err *err)
{
	ProtobufCMessage *msg = NULL;
	Grpc__Process *p;
	int r = parse_message(json, &grpc__process__descriptor, "process", &msg, err);

	if (r < 0)
		return r;
	p = (Grpc__Process *)msg;
	if (!p->n_args) {
		grpc__process__free_unpacked(p, NULL);
		return cf_fail(err, CF_INVALID_ARGUMENT, "process: no args");
	}
	clear_str(&p->selinuxlabel);
	clear_str(&p->apparmorprofile);
	*ret = p;
	return 0;
}

int agent_resources_new(struct cf_view json, Grpc__LinuxResources **ret, struct cf_err *err)
{
	ProtobufCMessage *msg = NULL;
	int r = parse_message(json, &grpc__linux_resources__descriptor, "resources", &msg, err);

	if (r < 0)
		return r;
	*ret = (Grpc__LinuxResources *)msg;
	constrain_resources(*ret);
	return 0;
}
