/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/guest/native_policy.h"

#include "vmm-glue/guest/native_policy_tree.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>

const char *const policy_all_caps[] = {
	"CAP_CHOWN",
	"CAP_DAC_OVERRIDE",
	"CAP_DAC_READ_SEARCH",
	"CAP_FOWNER",
	"CAP_FSETID",
	"CAP_KILL",
	"CAP_SETGID",
	"CAP_SETUID",
	"CAP_SETPCAP",
	"CAP_LINUX_IMMUTABLE",
	"CAP_NET_BIND_SERVICE",
	"CAP_NET_BROADCAST",
	"CAP_NET_ADMIN",
	"CAP_NET_RAW",
	"CAP_IPC_LOCK",
	"CAP_IPC_OWNER",
	"CAP_SYS_MODULE",
	"CAP_SYS_RAWIO",
	"CAP_SYS_CHROOT",
	"CAP_SYS_PTRACE",
	"CAP_SYS_PACCT",
	"CAP_SYS_ADMIN",
	"CAP_SYS_BOOT",
	"CAP_SYS_NICE",
	"CAP_SYS_RESOURCE",
	"CAP_SYS_TIME",
	"CAP_SYS_TTY_CONFIG",
	"CAP_MKNOD",
	"CAP_LEASE",
	"CAP_AUDIT_WRITE",
	"CAP_AUDIT_CONTROL",
	"CAP_SETFCAP",
	"CAP_MAC_OVERRIDE",
	"CAP_MAC_ADMIN",
	"CAP_SYSLOG",
	"CAP_WAKE_ALARM",
	"CAP_BLOCK_SUSPEND",
	"CAP_AUDIT_READ",
	"CAP_PERFMON",
	"CAP_BPF",
	"CAP_CHECKPOINT_RESTORE",
	NULL,
};

/* What container engines give by default. */
static const char *const default_caps[] = {
	"CAP_CHOWN",
	"CAP_DAC_OVERRIDE",
	"CAP_FSETID",
	"CAP_FOWNER",
	"CAP_MKNOD",
	"CAP_NET_RAW",
	"CAP_SETGID",
	"CAP_SETUID",
	"CAP_SETFCAP",
	"CAP_SETPCAP",
	"CAP_NET_BIND_SERVICE",
	"CAP_SYS_CHROOT",
	"CAP_KILL",
	"CAP_AUDIT_WRITE",
	NULL,
};

/* Destinations that every pod has; their sources are checked elsewhere. */
static const char *const pod_mounts[] = {
	"/etc/hosts",
	"/etc/hostname",
	"/etc/resolv.conf",
	"/dev/termination-log",
	"/dev/shm",
	"/var/run/secrets/kubernetes.io/serviceaccount",
	NULL,
};

static const struct {
	const char *destination, *type;
} system_mounts[] = {
	{ "/proc", "proc" },
	{ "/dev", "tmpfs" },
	{ "/dev/pts", "devpts" },
	{ "/dev/mqueue", "mqueue" },
	{ "/dev/shm", "tmpfs" },
	{ "/sys", "sysfs" },
	{ "/sys/fs/cgroup", "cgroup" },
	{ "/run", "tmpfs" },
};

static const char *const system_mount_options[] = {
	"nosuid", "noexec", "nodev", "ro", "rw", "relatime", "strictatime", "newinstance", NULL,
};
static const char *const system_mount_prefixes[] = { "mode=", "size=", "ptmxmode=", "gid=", NULL };

/* Nodes that crun makes in every container. */
static const char *const default_devices[] = {
	"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", NULL,
};

static const char default_path[] =
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/* What holds when initdata has no policy.toml. */
static const struct policy_container no_policy = { .may_read = true };

static const struct policy_container open_policy = {
	.is_open = true,
	.may_read = true,
	.may_write = true,
};

const struct policy_container *native_policy_open(void)
{
	return &open_policy;
}

static bool in_list(const char *const *list, const char *s)
{
	for (; *list; list++)
		if (cf_streq(*list, s))
			return true;
	return false;
}

bool policy_cap_is_known(const char *name)
{
	return in_list(policy_all_caps, name);
}

/* Starts a refusal: "policy.toml line 3, exec: …". */
static int refuse(const struct policy_container *c, const char *rule, struct cf_err *err,
                  const char *fmt, ...) cf_printf(4, 5);
static int refuse(const struct policy_container *c, const char *rule, struct cf_err *err,
                  const char *fmt, ...)
{
	va_list ap;
	char msg[400];

	va_start(ap, fmt);
	(void)vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	if (c->line)
		return cf_fail(err, CF_PERMISSION_DENIED, "policy.toml line %u, %s: %s", c->line,
		               rule, msg);
	return cf_fail(err, CF_PERMISSION_DENIED, "no policy.toml in initdata, %s: %s", rule, msg);
}

/* ["cat", "/secret"], cut when long; the caller frees. */
static char *words(char *const *items, size_t count)
{
	struct cf_buf out = { .max = 1u << 20 };

	cf_buf_add_byte(&out, '[');
	for (size_t i = 0; i < count && out.size < 160; i++) {
		if (i)
			cf_buf_add_str(&out, ", ");
		cf_buf_add_json_str(&out, cf_view_sub(cf_view_str(items[i]), 0, 120));
		if (out.size >= 160 && i + 1 < count)
			cf_buf_add_str(&out, ", …");
	}
	cf_buf_add_byte(&out, ']');
	return cf_buf_take_str(&out);
}

static bool same_words(char *const *a, size_t a_count, const struct cf_strv *b)
{
	if (a_count != b->count)
		return false;
	for (size_t i = 0; i < a_count; i++)
		if (!cf_streq(a[i], b->items[i]))
			return false;
	return true;
}

/* ---- image ---- */

/* "NAME@sha256:…" of an allowed "NAME" is that name with what it was resolved to. */
static bool image_fits(const char *allowed, const char *ref)
{
	const char *rest = cf_after(ref, allowed);
	uint8_t digest[32];

	if (!rest)
		return false;
	if (!*rest)
		return true;
	rest = cf_after(rest, "@sha256:");
	return rest && !strchr(allowed, '@') &&
	       cf_hex_decode(cf_view_str(rest), digest, sizeof(digest), NULL) == 0;
}

int native_policy_image(const struct native_policy *p, const char *ref, struct cf_err *err)
{
	if (!p)
		return 0;
	for (size_t i = 0; i < p->count; i++)
		if (image_fits(p->containers[i].image, ref))
			return 0;
	return cf_fail(err, CF_PERMISSION_DENIED,
	               "policy.toml: image \"%s\" is in none of its %zu [[container]]", ref,
	               p->count);
}

/* ---- process ---- */

static int check_args(const struct policy_container *c, const struct policy_image *image,
                      const Grpc__Process *process, struct cf_err *err)
{
	const struct cf_strv *want = c->has_args ? &c->args : &image->args;
	cf_cleanup(cf_freep) char *got = NULL;
	cf_cleanup(cf_freep) char *allowed = NULL;

	if (process->n_args && same_words(process->args, process->n_args, want))
		return 0;
	got = words(process->args, process->n_args);
	allowed = words(want->items, want->count);
	return refuse(c, "args", err, "%s is not %s%s", got,
	              c->has_args ? "" : "what the image says, ", allowed);
}

static bool all_of(const char *s, const char *extra)
{
	if (!*s)
		return false;
	for (; *s; s++)
		if (!isdigit((unsigned char)*s) && !strchr(extra, *s))
			return false;
	return true;
}

/* "tcp://10.0.0.1:443" */
static bool is_endpoint(const char *s)
{
	const char *rest = cf_after(s, "tcp://");

	if (!rest)
		rest = cf_after(s, "udp://");
	if (!rest)
		rest = cf_after(s, "sctp://");
	return rest && all_of(rest, ".:[]abcdef");
}

static bool is_protocol(const char *s)
{
	return cf_streq(s, "tcp") || cf_streq(s, "udp") || cf_streq(s, "sctp");
}

/* The variables that kubelet makes of services: the name's shape and the value's must both fit. */
static bool is_service_variable(const char *name, const char *value)
{
	const char *port;

	for (const char *s = name; *s; s++)
		if (!isupper((unsigned char)*s) && !isdigit((unsigned char)*s) && *s != '_')
			return false;
	if (cf_ends_with(name, "_SERVICE_HOST"))
		return all_of(value, ".:abcdef");
	if (strstr(name, "_SERVICE_PORT"))
		return all_of(value, "");
	if (cf_ends_with(name, "_PORT") && is_endpoint(value))
		return true;
	port = strstr(name, "_PORT_");
	if (!port || (!strstr(port, "_TCP") && !strstr(port, "_UDP") && !strstr(port, "_SCTP")))
		return false;
	if (cf_ends_with(name, "_PROTO"))
		return is_protocol(value);
	if (cf_ends_with(name, "_ADDR"))
		return all_of(value, ".:abcdef");
	if (cf_ends_with(name, "_PORT"))
		return all_of(value, "");
	return is_endpoint(value);
}

static bool has_key(const struct cf_strv *list, const char *entry, size_t key_size)
{
	for (size_t i = 0; i < list->count; i++)
		if (strncmp(list->items[i], entry, key_size) == 0)
			return true;
	return false;
}

/* "NAME=*" in the policy, for NAME of @entry ("NAME=…", @key_size with the '='). */
static bool is_free_key(const struct cf_strv *list, const char *entry, size_t key_size)
{
	for (size_t i = 0; i < list->count; i++)
		if (strncmp(list->items[i], entry, key_size) == 0 &&
		    cf_streq(list->items[i] + key_size, "*"))
			return true;
	return false;
}

static bool env_is_allowed(const struct policy_container *c, const struct policy_image *image,
                           const char *entry, size_t key_size)
{
	cf_cleanup(cf_freep) char *name = cf_strndup(entry, key_size - 1);
	const char *value = entry + key_size;

	if (has_key(&c->env, entry, key_size)) /* the policy has the last word on its names */
		return cf_strv_has(&c->env, entry) || is_free_key(&c->env, entry, key_size);
	if (has_key(&image->env, entry, key_size))
		return cf_strv_has(&image->env, entry);
	if (cf_streq(name, "HOSTNAME") || cf_streq(name, "TERM"))
		return true;
	return cf_streq(entry, default_path) || is_service_variable(name, value);
}

static bool process_has_env(const Grpc__Process *process, const char *entry, size_t size)
{
	for (size_t i = 0; i < process->n_env; i++)
		if (strncmp(process->env[i], entry, size) == 0)
			return true;
	return false;
}

static int check_env_entry(const struct policy_container *c, const struct policy_image *image,
                           const Grpc__Process *process, size_t i, struct cf_err *err)
{
	const char *entry = process->env[i];
	const char *equals = strchr(entry, '=');
	size_t key_size;

	if (!equals || equals == entry)
		return refuse(c, "env", err, "\"%.80s\" is not NAME=value", entry);
	key_size = (size_t)(equals - entry) + 1;
	for (size_t j = 0; j < i; j++)
		if (strncmp(process->env[j], entry, key_size) == 0)
			return refuse(c, "env", err, "%.*s is there twice", (int)key_size - 1,
			              entry);
	if (!env_is_allowed(c, image, entry, key_size))
		return refuse(c, "env", err, "\"%.120s\" is neither the image's nor allowed",
		              entry);
	return 0;
}

/* The host may not leave out what the image or the policy sets. */
static int check_env_left_out(const struct policy_container *c, const struct policy_image *image,
                              const Grpc__Process *process, struct cf_err *err)
{
	for (size_t i = 0; i < c->env.count; i++) {
		const char *entry = c->env.items[i];
		size_t key_size = (size_t)(strchr(entry, '=') - entry) + 1;

		if (!cf_streq(entry + key_size, "*") && !is_free_key(&c->env, entry, key_size) &&
		    !process_has_env(process, entry, key_size))
			return refuse(c, "env", err, "\"%.120s\" was left out", entry);
	}
	for (size_t i = 0; i < image->env.count; i++) {
		const char *entry = image->env.items[i];
		const char *equals = strchr(entry, '=');

		if (equals && !process_has_env(process, entry, (size_t)(equals - entry) + 1))
			return refuse(c, "env", err, "the image's \"%.120s\" was left out", entry);
	}
	return 0;
}

static int check_env(const struct policy_container *c, const struct policy_image *image,
                     const Grpc__Process *process, struct cf_err *err)
{
	int r = 0;

	if (process->n_env > NATIVE_POLICY_ITEMS_MAX)
		return refuse(c, "env", err, "%zu variables", process->n_env);
	for (size_t i = 0; r == 0 && i < process->n_env; i++)
		r = check_env_entry(c, image, process, i, err);
	if (r == 0)
		r = check_env_left_out(c, image, process, err);
	return r;
}

static bool has_group(const struct policy_container *c, uint32_t gid)
{
	for (size_t i = 0; i < c->group_count; i++)
		if (c->groups[i] == gid)
			return true;
	return false;
}

static uint32_t wanted_uid(const struct policy_container *c, const struct policy_image *image)
{
	return c->has_user ? c->uid : image->uid;
}

static uint32_t wanted_gid(const struct policy_container *c, const struct policy_image *image)
{
	return c->has_gid ? c->gid : image->gid;
}

static int check_user(const struct policy_container *c, const struct policy_image *image,
                      const Grpc__Process *process, struct cf_err *err)
{
	static const Grpc__User root = GRPC__USER__INIT;
	const Grpc__User *user = process->user ? process->user : &root;
	uint32_t uid = wanted_uid(c, image), gid = wanted_gid(c, image);

	/* Zero is what a host sends that cannot know: native_policy_user() fills it in. */
	if (user->uid && user->uid != uid)
		return refuse(c, "user", err, "uid %u is not %u", user->uid, uid);
	if (user->gid && user->gid != gid)
		return refuse(c, "user", err, "gid %u is not %u", user->gid, gid);
	if (user->username && *user->username)
		return refuse(c, "user", err, "a user by name (\"%.60s\")", user->username);
	if (user->n_additionalgids > NATIVE_POLICY_ITEMS_MAX)
		return refuse(c, "groups", err, "%zu groups", user->n_additionalgids);
	/* To root, groups give nothing that it lacks. */
	for (size_t i = 0; uid && i < user->n_additionalgids; i++) {
		uint32_t extra = user->additionalgids[i];

		if (extra && extra != gid && !has_group(c, extra))
			return refuse(c, "groups", err, "additional group %u", extra);
	}
	return 0;
}

void native_policy_user(const struct policy_container *c, const struct policy_image *image,
                        const Grpc__Process *process, struct policy_user *ret)
{
	const Grpc__User *user = process->user;

	*ret = (struct policy_user){ .uid = wanted_uid(c, image), .gid = wanted_gid(c, image) };
	if (c->is_open && user) {
		ret->uid = user->uid;
		ret->gid = user->gid;
	}
	if (!user || !user->n_additionalgids)
		return;
	ret->groups = cf_zalloc_n(user->n_additionalgids, sizeof(*ret->groups));
	for (size_t i = 0; i < user->n_additionalgids; i++) {
		uint32_t extra = user->additionalgids[i];

		/* A zero that stands for "unknown" must not become root's group. */
		if (c->is_open || !ret->uid || extra == ret->gid || has_group(c, extra))
			ret->groups[ret->group_count++] = extra;
	}
}

void policy_user_fini(struct policy_user *u)
{
	free(u->groups);
	*u = (struct policy_user){ 0 };
}

static bool cap_is_allowed(const struct policy_container *c, const char *cap)
{
	if (c->is_privileged)
		return policy_cap_is_known(cap);
	return c->has_caps ? cf_strv_has(&c->caps, cap) : in_list(default_caps, cap);
}

static int check_cap_set(const struct policy_container *c, char *const *caps, size_t count,
                         const char *set, struct cf_err *err)
{
	for (size_t i = 0; i < count; i++)
		if (!cap_is_allowed(c, caps[i]))
			return refuse(c, "capabilities", err, "%.60s (%s) is not allowed", caps[i],
			              set);
	return 0;
}

static int check_caps(const struct policy_container *c, const Grpc__LinuxCapabilities *caps,
                      struct cf_err *err)
{
	int r;

	if (!caps)
		return 0;
	r = check_cap_set(c, caps->bounding, caps->n_bounding, "bounding", err);
	if (r == 0)
		r = check_cap_set(c, caps->effective, caps->n_effective, "effective", err);
	if (r == 0)
		r = check_cap_set(c, caps->permitted, caps->n_permitted, "permitted", err);
	if (r == 0)
		r = check_cap_set(c, caps->inheritable, caps->n_inheritable, "inheritable", err);
	if (r == 0 && caps->n_ambient && !c->has_caps && !c->is_privileged)
		return refuse(c, "capabilities", err, "%.60s (ambient) is not allowed",
		              caps->ambient[0]);
	if (r == 0)
		r = check_cap_set(c, caps->ambient, caps->n_ambient, "ambient", err);
	return r;
}

static int check_process(const struct policy_container *c, const struct policy_image *image,
                         const Grpc__Process *process, struct cf_err *err)
{
	const char *cwd = c->cwd ? c->cwd : image->cwd;
	int r;

	if (!process)
		return refuse(c, "args", err, "no process");
	r = check_args(c, image, process, err);
	if (r == 0)
		r = check_env(c, image, process, err);
	if (r == 0 && !cf_streq(process->cwd, cwd))
		return refuse(c, "cwd", err, "\"%.120s\" is not \"%.120s\"", process->cwd, cwd);
	if (r == 0)
		r = check_user(c, image, process, err);
	if (r == 0)
		r = check_caps(c, process->capabilities, err);
	if (r == 0 && c->must_not_gain && !process->nonewprivileges)
		return refuse(c, "no_new_privileges", err, "it is not set");
	return r;
}

/* ---- file system ---- */

static bool is_system_option(const char *option)
{
	if (in_list(system_mount_options, option))
		return true;
	for (size_t i = 0; system_mount_prefixes[i]; i++)
		if (cf_starts_with(option, system_mount_prefixes[i]))
			return true;
	return false;
}

static bool mount_has(const Grpc__Mount *m, const char *option)
{
	for (size_t i = 0; i < m->n_options; i++)
		if (cf_streq(m->options[i], option))
			return true;
	return false;
}

/* True: a mount of the kernel's own file systems that every container has. */
static bool is_system_mount(const struct policy_container *c, const Grpc__Mount *m)
{
	bool is_sys = cf_starts_with(m->destination, "/sys");

	for (size_t i = 0; i < m->n_options; i++)
		if (!is_system_option(m->options[i]))
			return false;
	if (is_sys && !c->is_privileged && !mount_has(m, "ro"))
		return false;
	for (size_t i = 0; i < CF_ARRAY_LEN(system_mounts); i++)
		if (cf_streq(m->destination, system_mounts[i].destination) &&
		    cf_streq(m->type, system_mounts[i].type))
			return true;
	return false;
}

static int check_mount(const struct policy_container *c, const Grpc__Mount *m, struct cf_err *err)
{
	bool is_bind = cf_streq(m->type, "bind") || mount_has(m, "bind") || mount_has(m, "rbind");

	if (!is_bind && is_system_mount(c, m))
		return 0;
	if (!is_bind)
		return refuse(c, "mounts", err, "\"%.120s\" of type \"%.40s\"", m->destination,
		              m->type);
	if (in_list(pod_mounts, m->destination) || cf_strv_has(&c->mounts, m->destination))
		return 0;
	for (size_t i = 0; i < c->mounts.count; i++) {
		const char *rest = cf_after(c->mounts.items[i], m->destination);

		if (!rest || !cf_streq(rest, ":ro"))
			continue;
		if (mount_has(m, "ro"))
			return 0;
		return refuse(c, "mounts", err, "\"%.120s\" is to be read-only", m->destination);
	}
	return refuse(c, "mounts", err, "\"%.120s\" is not allowed", m->destination);
}

static int check_linux(const struct policy_container *c, const Grpc__Linux *linux_spec,
                       struct cf_err *err)
{
	for (size_t i = 0; linux_spec && i < linux_spec->n_devices; i++) {
		const char *path = linux_spec->devices[i]->path;

		if (!in_list(default_devices, path) && !cf_strv_has(&c->devices, path))
			return refuse(c, "devices", err, "\"%.120s\" is not allowed", path);
	}
	return 0;
}

static int check_container(const struct policy_container *c,
                           const struct native_policy_request *req, struct cf_err *err)
{
	const Grpc__Spec *spec = req->spec;
	int r;

	if (c->must_be_encrypted && !req->config->is_encrypted)
		return refuse(c, "encrypted", err, "image \"%.160s\" came with a plain layer",
		              req->image);
	r = check_process(c, req->config, spec->process, err);
	for (size_t i = 0; r == 0 && i < spec->n_mounts; i++)
		r = check_mount(c, spec->mounts[i], err);
	if (r == 0)
		r = check_linux(c, spec->linux_, err);
	if (r == 0 && req->shares_pids && !c->may_share_pids)
		return refuse(c, "share_pids", err, "the pod's pid namespace is not allowed");
	if (r == 0 && c->must_be_readonly && !(spec->root && spec->root->readonly))
		return refuse(c, "readonly_rootfs", err, "the root file system is writable");
	return r;
}

int native_policy_container(const struct native_policy *p, const struct native_policy_request *req,
                            const struct policy_container **ret, struct cf_err *err)
{
	int r = -CF_PERMISSION_DENIED;
	bool is_named = false;

	if (!p) {
		r = check_container(&no_policy, req, err);
		if (r == 0)
			*ret = &no_policy;
		return r;
	}
	r = native_policy_image(p, req->image, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < p->count; i++) {
		const struct policy_container *c = &p->containers[i];

		if (!image_fits(c->image, req->image) || (c->name && !cf_streq(c->name, req->name)))
			continue;
		is_named = true;
		r = check_container(c, req, err);
		if (r == 0) {
			*ret = c;
			return 0;
		}
	}
	if (!is_named)
		return cf_fail(err, CF_PERMISSION_DENIED,
		               "policy.toml: no [[container]] named \"%.80s\" has image \"%.160s\"",
		               req->name ? req->name : "", req->image);
	return r;
}

/* ---- later requests ---- */

static int check_exec_words(const struct policy_container *c, const Grpc__Process *process,
                            struct cf_err *err)
{
	cf_cleanup(cf_freep) char *got = NULL;

	for (size_t i = 0; i < c->exec_count; i++)
		if (same_words(process->args, process->n_args, &c->exec[i].argv))
			return 0;
	got = words(process->args, process->n_args);
	return refuse(c, "exec", err, "%s is not allowed", got);
}

static int check_exec_env(const struct policy_container *c, const Grpc__Process *process,
                          const struct policy_granted *granted, struct cf_err *err)
{
	for (size_t i = 0; i < process->n_env; i++) {
		const char *entry = process->env[i];

		if (!cf_strv_has(granted->env, entry) && !cf_starts_with(entry, "TERM="))
			return refuse(c, "exec", err, "\"%.120s\" is not in the container's env",
			              entry);
	}
	return 0;
}

static int check_exec_caps(const struct policy_container *c, char *const *caps, size_t count,
                           const struct policy_granted *granted, struct cf_err *err)
{
	for (size_t i = 0; i < count; i++)
		if (!cf_strv_has(granted->caps, caps[i]))
			return refuse(c, "exec", err, "%.60s is not the container's", caps[i]);
	return 0;
}

int native_policy_exec(const struct policy_container *c, const Grpc__Process *process,
                       const struct policy_granted *granted, struct cf_err *err)
{
	const Grpc__LinuxCapabilities *caps = process->capabilities;
	uint32_t uid = process->user ? process->user->uid : 0;
	uint32_t gid = process->user ? process->user->gid : 0;
	int r;

	if (c->is_open)
		return 0;
	r = check_exec_words(c, process, err);
	if (r == 0)
		r = check_exec_env(c, process, granted, err);
	if (r < 0)
		return r;
	if (!cf_streq(process->cwd, granted->cwd))
		return refuse(c, "exec", err, "cwd \"%.120s\" is not the container's \"%.120s\"",
		              process->cwd, granted->cwd);
	if ((uid != granted->uid && uid != granted->asked_uid) ||
	    (gid != granted->gid && gid != granted->asked_gid))
		return refuse(c, "exec", err, "user %u:%u is not the container's %u:%u", uid, gid,
		              granted->uid, granted->gid);
	if (!caps)
		return 0;
	r = check_exec_caps(c, caps->bounding, caps->n_bounding, granted, err);
	if (r == 0)
		r = check_exec_caps(c, caps->effective, caps->n_effective, granted, err);
	if (r == 0)
		r = check_exec_caps(c, caps->permitted, caps->n_permitted, granted, err);
	if (r == 0)
		r = check_exec_caps(c, caps->inheritable, caps->n_inheritable, granted, err);
	if (r == 0)
		r = check_exec_caps(c, caps->ambient, caps->n_ambient, granted, err);
	return r;
}

int native_policy_read(const struct policy_container *c, struct cf_err *err)
{
	return c->may_read ? 0 : refuse(c, "logs", err, "the host may not read them");
}

int native_policy_write(const struct policy_container *c, struct cf_err *err)
{
	return c->may_write ? 0 : refuse(c, "stdin", err, "the host may not write to it");
}

bool policy_container_is_privileged(const struct policy_container *c)
{
	return c->is_privileged;
}

bool policy_device_is_default(const char *path)
{
	return in_list(default_devices, path);
}
