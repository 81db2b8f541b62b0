/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/guest/guest_rules.h"

#include "base/str.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <net/if.h>
#include <sys/stat.h>

#define HOST_MAX 64u

static int deny(struct cf_err *err, const char *what, const char *value)
{
	return cf_fail(err, CF_PERMISSION_DENIED, "%s is not the host's to set: \"%.160s\"", what,
	               value);
}

static bool is_set(const char *s)
{
	return s && *s;
}

int guest_rules_id(const char *id, const char *what, struct cf_err *err)
{
	size_t n = strlen(id);

	if (n < 2 || n > GUEST_ID_MAX || !isalnum((unsigned char)id[0]))
		return cf_fail(err, CF_INVALID_ARGUMENT, "%s \"%.60s\" is no id", what, id);
	for (size_t i = 1; i < n; i++)
		if (!isalnum((unsigned char)id[i]) && !strchr("._-", id[i]))
			return cf_fail(err, CF_INVALID_ARGUMENT, "%s \"%.60s\" is no id", what, id);
	return 0;
}

static bool is_dots(struct cf_view v)
{
	return v.size == 0 || cf_view_eq_str(v, ".") || cf_view_eq_str(v, "..");
}

/* No component of @path (relative) is empty, "." or "..". */
static bool components_are_plain(const char *path)
{
	struct cf_strv parts = { 0 };
	bool ok = true;

	cf_strv_split(&parts, cf_view_str(path), '/');
	for (size_t i = 0; i < parts.count; i++)
		ok = ok && !is_dots(cf_view_str(parts.items[i]));
	cf_strv_fini(&parts);
	return ok;
}

bool guest_path_is_canonical(const char *path)
{
	return path && path[0] == '/' && strlen(path) <= GUEST_PATH_MAX &&
	       components_are_plain(path + 1);
}

bool guest_path_is_below(const char *path, const char *root)
{
	const char *rest = cf_after(path, root);

	return rest && (!*rest || *rest == '/');
}

/* ---- storages ---- */

static bool is_tmpfs_option(const char *o)
{
	static const char *const plain[] = { "noexec", "nosuid", "nodev", "ro", "rw" };
	static const char *const prefixes[] = { "mode=", "size=", "fsgid=", "nr_inodes=" };

	for (size_t i = 0; i < CF_ARRAY_LEN(plain); i++)
		if (cf_streq(o, plain[i]))
			return true;
	for (size_t i = 0; i < CF_ARRAY_LEN(prefixes); i++)
		if (cf_starts_with(o, prefixes[i]) && !strpbrk(o, ", "))
			return true;
	return false;
}

static int check_memory_storage(const Grpc__Storage *s, struct cf_err *err)
{
	bool is_local = cf_streq(s->driver, "local");

	if (!is_local && !cf_streq(s->fstype, "tmpfs"))
		return deny(err, "an ephemeral storage of this type", s->fstype);
	for (size_t i = 0; i < s->n_options; i++)
		if (!is_tmpfs_option(s->options[i]))
			return deny(err, "this option of a storage", s->options[i]);
	if (guest_path_is_below(s->mount_point, GUEST_WIRE_SANDBOX "/shm") ||
	    guest_path_is_below(s->mount_point, GUEST_WIRE_SANDBOX "/ephemeral") ||
	    guest_path_is_below(s->mount_point, GUEST_WIRE_SHARE))
		return 0;
	return deny(err, "a storage here", s->mount_point);
}

/* @cid: NULL for the sandbox's own storages. */
static int check_storage(const Grpc__Storage *s, const char *cid, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *rootfs = NULL;

	if (!guest_path_is_canonical(s->mount_point))
		return cf_fail(err, CF_INVALID_ARGUMENT, "mount point \"%.160s\"", s->mount_point);
	if (cf_streq(s->driver, "ephemeral") || cf_streq(s->driver, "local"))
		return check_memory_storage(s, err);
	if (!cf_streq(s->driver, "image_guest_pull") || !cid)
		return deny(err, "a storage of this driver", s->driver);
	rootfs = cf_asprintf(GUEST_WIRE_ROOT "/%s/rootfs", cid);
	if (!cf_streq(s->mount_point, rootfs))
		return deny(err, "an image mounted here", s->mount_point);
	return 0;
}

static int check_storages(Grpc__Storage *const *storages, size_t count, const char *cid,
                          struct cf_err *err)
{
	int r = 0;

	if (count > GUEST_STORAGES_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "%zu storages", count);
	for (size_t i = 0; r == 0 && i < count; i++)
		r = check_storage(storages[i], cid, err);
	return r;
}

int guest_rules_sandbox(const Grpc__CreateSandboxRequest *req, struct cf_err *err)
{
	if (is_set(req->guest_hook_path))
		return deny(err, "a hook path", req->guest_hook_path);
	if (req->n_kernel_modules)
		return deny(err, "a kernel module", req->kernel_modules[0]->name);
	if (strlen(req->hostname) > HOST_MAX)
		return cf_fail(err, CF_INVALID_ARGUMENT, "hostname of %zu bytes",
		               strlen(req->hostname));
	return check_storages(req->storages, req->n_storages, NULL, err);
}

/* ---- containers ---- */

/* Sysctls that live in the container's own namespaces. */
static bool is_safe_sysctl(const char *key)
{
	static const char *const names[] = {
		"kernel.shm_rmid_forced",
		"net.ipv4.ip_local_port_range",
		"net.ipv4.tcp_syncookies",
		"net.ipv4.ping_group_range",
		"net.ipv4.ip_unprivileged_port_start",
		"net.ipv4.ip_local_reserved_ports",
		"net.ipv4.tcp_keepalive_time",
		"net.ipv4.tcp_fin_timeout",
		"net.ipv4.tcp_keepalive_intvl",
		"net.ipv4.tcp_keepalive_probes",
	};

	for (size_t i = 0; i < CF_ARRAY_LEN(names); i++)
		if (cf_streq(key, names[i]))
			return true;
	return false;
}

static int check_hooks(const Grpc__Hooks *h, struct cf_err *err)
{
	if (h && (h->n_prestart || h->n_poststart || h->n_poststop || h->n_createruntime ||
	          h->n_createcontainer || h->n_startcontainer))
		return deny(err, "a hook", "hooks");
	return 0;
}

static int check_linux(const Grpc__Linux *l, struct cf_err *err)
{
	if (!l)
		return 0;
	if (l->n_uidmappings || l->n_gidmappings)
		return deny(err, "an id mapping", "uidMappings, gidMappings");
	if (l->seccomp)
		return deny(err, "a seccomp filter", l->seccomp->defaultaction);
	if (l->intelrdt && is_set(l->intelrdt->l3cacheschema))
		return deny(err, "intelRdt", l->intelrdt->l3cacheschema);
	if (is_set(l->mountlabel))
		return deny(err, "a mount label", l->mountlabel);
	if (is_set(l->rootfspropagation))
		return deny(err, "the root's propagation", l->rootfspropagation);
	if (l->resources && l->resources->n_devices)
		return deny(err, "a device rule", l->resources->devices[0]->access);
	for (size_t i = 0; i < l->n_sysctl; i++) {
		if (!is_safe_sysctl(l->sysctl[i]->key))
			return deny(err, "this sysctl", l->sysctl[i]->key);
		for (size_t j = 0; j < i; j++)
			if (cf_streq(l->sysctl[i]->key, l->sysctl[j]->key))
				return deny(err, "a sysctl twice", l->sysctl[i]->key);
	}
	return 0;
}

static int check_annotations(const Grpc__Spec *spec, struct cf_err *err)
{
	if (spec->n_annotations > GUEST_ANNOTATIONS_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "%zu annotations", spec->n_annotations);
	for (size_t i = 0; i < spec->n_annotations; i++)
		for (size_t j = 0; j < i; j++)
			if (cf_streq(spec->annotations[i]->key, spec->annotations[j]->key))
				return deny(err, "an annotation twice", spec->annotations[i]->key);
	return 0;
}

static bool is_bind(const Grpc__Mount *m)
{
	if (cf_streq(m->type, "bind"))
		return true;
	for (size_t i = 0; i < m->n_options; i++)
		if (cf_streq(m->options[i], "bind") || cf_streq(m->options[i], "rbind"))
			return true;
	return false;
}

static bool is_bind_option(const char *o)
{
	static const char *const known[] = {
		"bind",   "rbind",    "ro",      "rw",       "nosuid", "nodev",
		"noexec", "rprivate", "private", "relatime", "rslave", "slave",
	};

	for (size_t i = 0; i < CF_ARRAY_LEN(known); i++)
		if (cf_streq(o, known[i]))
			return true;
	return false;
}

/* Sources: what was copied into the share, the pod's own storages, a storage of this request. */
static bool source_is_ours(const Grpc__CreateContainerRequest *req, const char *source)
{
	if (guest_path_is_below(source, GUEST_WIRE_SHARE))
		return strlen(source) > sizeof(GUEST_WIRE_SHARE);
	if (guest_path_is_below(source, GUEST_WIRE_SANDBOX "/shm") ||
	    guest_path_is_below(source, GUEST_WIRE_SANDBOX "/ephemeral") ||
	    guest_path_is_below(source, GUEST_WIRE_SANDBOX "/storage"))
		return true;
	for (size_t i = 0; i < req->n_storages; i++)
		if (!cf_streq(req->storages[i]->driver, "image_guest_pull") &&
		    guest_path_is_below(source, req->storages[i]->mount_point))
			return true;
	return false;
}

static int check_destination(const Grpc__Mount *m, struct cf_err *err)
{
	static const char *const kernel[] = { "/proc", "/sys", "/dev" };
	static const char *const below[] = { "/dev/shm", "/dev/termination-log", "/dev/pts",
		                             "/dev/mqueue", "/sys/fs/cgroup" };

	if (!guest_path_is_canonical(m->destination))
		return cf_fail(err, CF_INVALID_ARGUMENT, "mount destination \"%.160s\"",
		               m->destination);
	for (size_t i = 0; i < CF_ARRAY_LEN(below); i++)
		if (cf_streq(m->destination, below[i]))
			return 0;
	for (size_t i = 0; i < CF_ARRAY_LEN(kernel); i++)
		if (guest_path_is_below(m->destination, kernel[i]) &&
		    (is_bind(m) || !cf_streq(m->destination, kernel[i])))
			return deny(err, "a mount here", m->destination);
	return 0;
}

static int check_mount(const Grpc__CreateContainerRequest *req, const Grpc__Mount *m,
                       struct cf_err *err)
{
	int r;

	r = check_destination(m, err);
	if (r < 0 || !is_bind(m))
		return r;
	if (!guest_path_is_canonical(m->source) || !source_is_ours(req, m->source))
		return deny(err, "a mount from here", m->source);
	for (size_t i = 0; i < m->n_options; i++)
		if (!is_bind_option(m->options[i]))
			return deny(err, "this mount option", m->options[i]);
	return 0;
}

static int check_process(const Grpc__Process *p, struct cf_err *err)
{
	if (!p)
		return cf_fail(err, CF_INVALID_ARGUMENT, "no process");
	if (is_set(p->apparmorprofile))
		return deny(err, "an AppArmor profile", p->apparmorprofile);
	if (is_set(p->selinuxlabel))
		return deny(err, "an SELinux label", p->selinuxlabel);
	return 0;
}

static int check_spec(const Grpc__CreateContainerRequest *req, struct cf_err *err)
{
	const Grpc__Spec *spec = req->oci;
	int r;

	if (!spec)
		return cf_fail(err, CF_INVALID_ARGUMENT, "no OCI spec");
	r = check_process(spec->process, err);
	if (r == 0)
		r = check_hooks(spec->hooks, err);
	if (r == 0)
		r = check_linux(spec->linux_, err);
	if (r == 0)
		r = check_annotations(spec, err);
	if (r == 0 && spec->n_mounts > GUEST_MOUNTS_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "%zu mounts", spec->n_mounts);
	for (size_t i = 0; r == 0 && i < spec->n_mounts; i++)
		r = check_mount(req, spec->mounts[i], err);
	return r;
}

int guest_rules_container(const Grpc__CreateContainerRequest *req, struct cf_err *err)
{
	int r;

	r = guest_rules_id(req->container_id, "container", err);
	if (r < 0)
		return r;
	if (is_set(req->exec_id) && !cf_streq(req->exec_id, req->container_id))
		return cf_fail(err, CF_INVALID_ARGUMENT, "exec id \"%.60s\" of an init",
		               req->exec_id);
	if (req->string_user)
		return deny(err, "a user by name", req->string_user->uid);
	if (req->n_devices)
		return deny(err, "a device", req->devices[0]->container_path);
	if (req->n_shared_mounts)
		return deny(err, "a shared mount", req->shared_mounts[0]->name);
	r = check_storages(req->storages, req->n_storages, req->container_id, err);
	if (r == 0)
		r = check_spec(req, err);
	return r;
}

int guest_rules_exec(const Grpc__ExecProcessRequest *req, struct cf_err *err)
{
	int r;

	r = guest_rules_id(req->exec_id, "exec", err);
	if (r < 0)
		return r;
	if (req->string_user)
		return deny(err, "a user by name", req->string_user->uid);
	r = check_process(req->process, err);
	if (r == 0 && !req->process->n_args)
		return cf_fail(err, CF_INVALID_ARGUMENT, "exec of nothing");
	return r;
}

/* ---- files ---- */

static int check_link(const Grpc__CopyFileRequest *req, const char *path, struct cf_err *err)
{
	cf_cleanup(cf_freep) char *target = NULL;

	if (cf_view_has_nul(cf_view(req->data.data, req->data.len)) || !req->data.len ||
	    req->data.len > GUEST_PATH_MAX)
		return cf_fail(err, CF_INVALID_ARGUMENT, "link \"%.120s\": no target", path);
	target = cf_view_dup(cf_view(req->data.data, req->data.len));
	if (!strchr(path, '/'))
		return deny(err, "a link in the share's root", path);
	if (target[0] == '/' || !components_are_plain(target))
		return deny(err, "a link that leads away", target);
	return 0;
}

int guest_rules_copy(const Grpc__CopyFileRequest *req, struct guest_copy *ret, struct cf_err *err)
{
	const char *path = cf_after(req->path, GUEST_WIRE_SHARE "/");

	if (!path || !guest_path_is_canonical(req->path))
		return deny(err, "a file outside the share", req->path);
	if (req->file_mode & (S_ISUID | S_ISGID) && !S_ISDIR(req->file_mode))
		return deny(err, "a set-id bit", req->path);
	if (req->uid < 0 || req->gid < 0)
		return cf_fail(err, CF_INVALID_ARGUMENT, "owner %d:%d", req->uid, req->gid);
	ret->path = path;
	if (S_ISDIR(req->file_mode)) {
		ret->kind = GUEST_FILE_DIRECTORY;
		return 0;
	}
	if (S_ISLNK(req->file_mode)) {
		ret->kind = GUEST_FILE_SYMLINK;
		return check_link(req, path, err);
	}
	if ((req->file_mode & S_IFMT) && !S_ISREG(req->file_mode))
		return deny(err, "a special file", req->path);
	ret->kind = GUEST_FILE_REGULAR;
	if (req->file_size < 0 || req->file_size > GUEST_FILE_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "a file of %lld bytes",
		               (long long)req->file_size);
	if (req->offset < 0 || req->offset > req->file_size ||
	    req->data.len > (uint64_t)(req->file_size - req->offset))
		return cf_fail(err, CF_INVALID_ARGUMENT, "%zu bytes at %lld of %lld", req->data.len,
		               (long long)req->offset, (long long)req->file_size);
	return 0;
}

/* ---- network ---- */

static bool is_loopback(const char *address)
{
	struct in6_addr six;
	struct in_addr four;
	cf_cleanup(cf_freep) char *host = cf_strdup(address);
	char *slash = strchr(host, '/');

	if (slash)
		*slash = '\0';
	if (inet_pton(AF_INET, host, &four) == 1)
		return ntohl(four.s_addr) >> 24 == 127;
	if (inet_pton(AF_INET6, host, &six) != 1)
		return false;
	if (IN6_IS_ADDR_V4MAPPED(&six))
		return six.s6_addr[12] == 127;
	return IN6_IS_ADDR_LOOPBACK(&six);
}

static int check_link_name(const char *name, const char *what, struct cf_err *err)
{
	size_t n = strlen(name);

	if (cf_streq(name, "lo"))
		return deny(err, "the loopback device", what);
	if (n >= IFNAMSIZ || strpbrk(name, "/ \t\n") || cf_streq(name, ".") || cf_streq(name, ".."))
		return cf_fail(err, CF_INVALID_ARGUMENT, "%s \"%.40s\"", what, name);
	return 0;
}

int guest_rules_interface(const Grpc__Interface *link, struct cf_err *err)
{
	int r;

	if (!link)
		return cf_fail(err, CF_INVALID_ARGUMENT, "no interface");
	r = check_link_name(link->name, "interface name", err);
	if (r == 0)
		r = check_link_name(link->device, "interface device", err);
	if (r < 0)
		return r;
	if (link->raw_flags & ~(uint32_t)IFF_NOARP)
		return cf_fail(err, CF_PERMISSION_DENIED,
		               "interface flags are not the host's to set: 0x%x", link->raw_flags);
	for (size_t i = 0; i < link->n_ipaddresses; i++)
		if (is_loopback(link->ipaddresses[i]->address))
			return deny(err, "a loopback address", link->ipaddresses[i]->address);
	return 0;
}

int guest_rules_route(const Grpc__Route *route, struct cf_err *err)
{
	if (is_loopback(route->source) || is_loopback(route->dest) || is_loopback(route->gateway))
		return deny(err, "a route of the loopback", route->dest);
	return check_link_name(route->device, "route device", err);
}

int guest_rules_neighbor(const Grpc__ARPNeighbor *n, struct cf_err *err)
{
	if (!n->toipaddress)
		return cf_fail(err, CF_INVALID_ARGUMENT, "a neighbour without address");
	if (is_loopback(n->toipaddress->address))
		return deny(err, "a loopback address", n->toipaddress->address);
	return check_link_name(n->device, "neighbour device", err);
}
