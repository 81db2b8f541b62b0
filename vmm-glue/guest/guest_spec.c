/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/guest/guest_spec.h"

#include "vmm-glue/guest/guest_rules.h"

#define OOM_SCORE_MAX 1000

static const char *const masked_paths[] = {
	"/proc/acpi",
	"/proc/asound",
	"/proc/kcore",
	"/proc/keys",
	"/proc/latency_stats",
	"/proc/timer_list",
	"/proc/timer_stats",
	"/proc/sched_debug",
	"/proc/scsi",
	"/sys/firmware",
	"/sys/devices/virtual/powercap",
};
static const char *const readonly_paths[] = {
	"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
};

static void write_list(struct cf_jw *w, const char *key, char *const *items, size_t count)
{
	cf_jw_key(w, key);
	cf_jw_arr(w);
	for (size_t i = 0; i < count; i++)
		cf_jw_str(w, items[i]);
	cf_jw_end_arr(w);
}

static void write_user(struct cf_jw *w, const struct policy_user *user)
{
	cf_jw_key(w, "user");
	cf_jw_obj(w);
	cf_jw_kuint(w, "uid", user->uid);
	cf_jw_kuint(w, "gid", user->gid);
	if (user->group_count) {
		cf_jw_key(w, "additionalGids");
		cf_jw_arr(w);
		for (size_t i = 0; i < user->group_count; i++)
			cf_jw_uint(w, user->groups[i]);
		cf_jw_end_arr(w);
	}
	cf_jw_end_obj(w);
}

static void write_caps(struct cf_jw *w, const Grpc__LinuxCapabilities *caps)
{
	/* Always written: an exec without the key would get the container's. */
	static const Grpc__LinuxCapabilities none = GRPC__LINUX_CAPABILITIES__INIT;

	if (!caps)
		caps = &none;
	cf_jw_key(w, "capabilities");
	cf_jw_obj(w);
	write_list(w, "bounding", caps->bounding, caps->n_bounding);
	write_list(w, "effective", caps->effective, caps->n_effective);
	write_list(w, "inheritable", caps->inheritable, caps->n_inheritable);
	write_list(w, "permitted", caps->permitted, caps->n_permitted);
	write_list(w, "ambient", caps->ambient, caps->n_ambient);
	cf_jw_end_obj(w);
}

static void write_rlimits(struct cf_jw *w, const Grpc__Process *p)
{
	if (!p->n_rlimits)
		return;
	cf_jw_key(w, "rlimits");
	cf_jw_arr(w);
	for (size_t i = 0; i < p->n_rlimits; i++) {
		cf_jw_obj(w);
		cf_jw_kstr(w, "type", p->rlimits[i]->type);
		cf_jw_kuint(w, "hard", p->rlimits[i]->hard);
		cf_jw_kuint(w, "soft", p->rlimits[i]->soft);
		cf_jw_end_obj(w);
	}
	cf_jw_end_arr(w);
}

/* A sealed value gives way to what it seals. */
static const char *env_entry(const char *entry, const struct cf_strv *unsealed)
{
	size_t key_size = strcspn(entry, "=") + 1;

	for (size_t i = 0; i < unsealed->count; i++)
		if (strncmp(unsealed->items[i], entry, key_size) == 0)
			return unsealed->items[i];
	return entry;
}

static void write_process(struct cf_jw *w, const Grpc__Process *p, const struct policy_user *user,
                          const struct cf_strv *unsealed)
{
	cf_jw_obj(w);
	cf_jw_kbool(w, "terminal", p->terminal);
	if (p->terminal && p->consolesize) {
		cf_jw_key(w, "consoleSize");
		cf_jw_obj(w);
		cf_jw_kuint(w, "height", p->consolesize->height);
		cf_jw_kuint(w, "width", p->consolesize->width);
		cf_jw_end_obj(w);
	}
	write_user(w, user);
	write_list(w, "args", p->args, p->n_args);
	cf_jw_key(w, "env");
	cf_jw_arr(w);
	for (size_t i = 0; i < p->n_env; i++)
		cf_jw_str(w, env_entry(p->env[i], unsealed));
	cf_jw_end_arr(w);
	cf_jw_kstr(w, "cwd", *p->cwd ? p->cwd : "/");
	write_caps(w, p->capabilities);
	write_rlimits(w, p);
	cf_jw_kbool(w, "noNewPrivileges", p->nonewprivileges);
	/* Never below us and our helpers: the host may only make a container an earlier victim. */
	cf_jw_kint(w, "oomScoreAdj", CF_MAX(0, CF_MIN(p->oomscoreadj, OOM_SCORE_MAX)));
	cf_jw_end_obj(w);
}

void guest_spec_write_process(const Grpc__Process *process, const struct policy_user *user,
                              const struct cf_strv *unsealed, struct cf_buf *out)
{
	struct cf_jw w = { .out = out };

	write_process(&w, process, user, unsealed);
}

/* ---- mounts ---- */

static void write_mount(struct cf_jw *w, const Grpc__Mount *m, const struct guest_spec_opts *opts)
{
	const char *rest = cf_after(m->source, GUEST_WIRE_ROOT);
	cf_cleanup(cf_freep) char *moved = rest ? cf_asprintf("%s%s", opts->wire_root, rest) : NULL;

	cf_jw_obj(w);
	cf_jw_kstr(w, "destination", m->destination);
	cf_jw_kstr(w, "type", m->type);
	cf_jw_kstr(w, "source", moved ? moved : m->source);
	write_list(w, "options", m->options, m->n_options);
	cf_jw_end_obj(w);
}

static void write_mounts(struct cf_jw *w, const Grpc__Spec *spec,
                         const struct guest_spec_opts *opts)
{
	cf_jw_key(w, "mounts");
	cf_jw_arr(w);
	for (size_t i = 0; i < spec->n_mounts; i++)
		write_mount(w, spec->mounts[i], opts);
	cf_jw_end_arr(w);
}

/* ---- linux ---- */

static void write_namespace(struct cf_jw *w, const char *type, const char *path)
{
	cf_jw_obj(w);
	cf_jw_kstr(w, "type", type);
	if (path)
		cf_jw_kstr(w, "path", path);
	cf_jw_end_obj(w);
}

static void write_namespaces(struct cf_jw *w, const struct guest_spec_opts *opts)
{
	cf_jw_key(w, "namespaces");
	cf_jw_arr(w);
	write_namespace(w, "mount", NULL);
	write_namespace(w, "cgroup", NULL);
	write_namespace(w, "pid", opts->pid_ns);
	write_namespace(w, "ipc", opts->ipc_ns);
	write_namespace(w, "uts", opts->uts_ns);
	cf_jw_end_arr(w); /* without a network namespace it shares ours, which is the pod's */
}

static void write_memory(struct cf_jw *w, const Grpc__LinuxMemory *m)
{
	if (!m || (!m->limit && !m->reservation && !m->swap))
		return;
	cf_jw_key(w, "memory");
	cf_jw_obj(w);
	if (m->limit)
		cf_jw_kint(w, "limit", m->limit);
	if (m->reservation)
		cf_jw_kint(w, "reservation", m->reservation);
	if (m->swap)
		cf_jw_kint(w, "swap", m->swap);
	cf_jw_end_obj(w);
}

static void write_cpu(struct cf_jw *w, const Grpc__LinuxCPU *c)
{
	if (!c || (!c->shares && !c->quota && !c->period))
		return;
	cf_jw_key(w, "cpu");
	cf_jw_obj(w);
	if (c->shares)
		cf_jw_kuint(w, "shares", c->shares);
	if (c->quota)
		cf_jw_kint(w, "quota", c->quota);
	if (c->period)
		cf_jw_kuint(w, "period", c->period);
	cf_jw_end_obj(w);
}

static void write_limits(struct cf_jw *w, const Grpc__LinuxResources *res)
{
	if (!res)
		return;
	write_memory(w, res->memory);
	write_cpu(w, res->cpu);
	if (res->pids && res->pids->limit) {
		cf_jw_key(w, "pids");
		cf_jw_obj(w);
		cf_jw_kint(w, "limit", res->pids->limit);
		cf_jw_end_obj(w);
	}
}

void guest_spec_write_resources(const Grpc__LinuxResources *res, struct cf_buf *out)
{
	struct cf_jw w = { .out = out };

	cf_jw_obj(&w);
	write_limits(&w, res);
	cf_jw_end_obj(&w);
}

static void write_device_rule(struct cf_jw *w, bool allow, const Grpc__LinuxDevice *d)
{
	cf_jw_obj(w);
	cf_jw_kbool(w, "allow", allow);
	if (d) {
		cf_jw_kstr(w, "type", d->type);
		cf_jw_kint(w, "major", d->major);
		cf_jw_kint(w, "minor", d->minor);
	}
	cf_jw_kstr(w, "access", "rwm");
	cf_jw_end_obj(w);
}

static void write_resources(struct cf_jw *w, const Grpc__Linux *l)
{
	cf_jw_key(w, "resources");
	cf_jw_obj(w);
	write_limits(w, l ? l->resources : NULL);
	cf_jw_key(w, "devices");
	cf_jw_arr(w);
	write_device_rule(w, false, NULL); /* crun adds the usual nodes itself */
	for (size_t i = 0; l && i < l->n_devices; i++)
		if (!policy_device_is_default(l->devices[i]->path))
			write_device_rule(w, true, l->devices[i]);
	cf_jw_end_arr(w);
	cf_jw_end_obj(w);
}

static void write_devices(struct cf_jw *w, const Grpc__Linux *l)
{
	if (!l || !l->n_devices)
		return;
	cf_jw_key(w, "devices");
	cf_jw_arr(w);
	for (size_t i = 0; i < l->n_devices; i++) {
		const Grpc__LinuxDevice *d = l->devices[i];

		if (policy_device_is_default(d->path))
			continue;
		cf_jw_obj(w);
		cf_jw_kstr(w, "path", d->path);
		cf_jw_kstr(w, "type", d->type);
		cf_jw_kint(w, "major", d->major);
		cf_jw_kint(w, "minor", d->minor);
		cf_jw_kuint(w, "fileMode", d->filemode);
		cf_jw_kuint(w, "uid", d->uid);
		cf_jw_kuint(w, "gid", d->gid);
		cf_jw_end_obj(w);
	}
	cf_jw_end_arr(w);
}

static void write_paths(struct cf_jw *w, const char *key, const char *const *ours, size_t our_count,
                        char *const *theirs, size_t count)
{
	cf_jw_key(w, key);
	cf_jw_arr(w);
	for (size_t i = 0; i < our_count; i++)
		cf_jw_str(w, ours[i]);
	for (size_t i = 0; i < count; i++)
		cf_jw_str(w, theirs[i]);
	cf_jw_end_arr(w);
}

static void write_sysctl(struct cf_jw *w, const Grpc__Linux *l)
{
	if (!l || !l->n_sysctl)
		return;
	cf_jw_key(w, "sysctl");
	cf_jw_obj(w);
	for (size_t i = 0; i < l->n_sysctl; i++)
		cf_jw_kstr(w, l->sysctl[i]->key, l->sysctl[i]->value);
	cf_jw_end_obj(w);
}

static void write_linux(struct cf_jw *w, const Grpc__Linux *l, const struct guest_spec_opts *opts)
{
	cf_cleanup(cf_freep) char *cgroup = cf_asprintf("/coffer/%s", opts->id);
	size_t masked = opts->is_privileged ? 0 : CF_ARRAY_LEN(masked_paths);
	size_t readonly = opts->is_privileged ? 0 : CF_ARRAY_LEN(readonly_paths);

	cf_jw_key(w, "linux");
	cf_jw_obj(w);
	cf_jw_kstr(w, "cgroupsPath", cgroup);
	write_namespaces(w, opts);
	write_resources(w, l);
	write_devices(w, l);
	write_sysctl(w, l);
	write_paths(w, "maskedPaths", masked_paths, masked, l ? l->maskedpaths : NULL,
	            l ? l->n_maskedpaths : 0);
	write_paths(w, "readonlyPaths", readonly_paths, readonly, l ? l->readonlypaths : NULL,
	            l ? l->n_readonlypaths : 0);
	cf_jw_end_obj(w);
}

void guest_spec_write(const Grpc__Spec *spec, const struct guest_spec_opts *opts,
                      struct cf_buf *out)
{
	struct cf_jw w = { .out = out };

	cf_jw_obj(&w);
	cf_jw_kstr(&w, "ociVersion", "1.0.2");
	cf_jw_key(&w, "process");
	write_process(&w, spec->process, opts->user, opts->unsealed);
	cf_jw_key(&w, "root");
	cf_jw_obj(&w);
	cf_jw_kstr(&w, "path", opts->rootfs);
	cf_jw_kbool(&w, "readonly", spec->root && spec->root->readonly);
	cf_jw_end_obj(&w);
	write_mounts(&w, spec, opts);
	write_linux(&w, spec->linux_, opts);
	cf_jw_end_obj(&w);
}

/* ---- the image's configuration ---- */

static int copy_strings(const struct cf_json *list, struct cf_strv *ret, struct cf_err *err)
{
	if (cf_json_len(list) > NATIVE_POLICY_ITEMS_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "image configuration: %zu entries",
		               cf_json_len(list));
	for (size_t i = 0; i < cf_json_len(list); i++)
		cf_strv_add_take(ret, cf_view_dup(cf_json_str(cf_json_at(list, i))));
	return 0;
}

int guest_image_config_parse(struct cf_view text, struct guest_image_config *ret,
                             struct cf_err *err)
{
	const struct cf_json *process, *user, *annotations;
	int r;

	*ret = (struct guest_image_config){ 0 };
	r = cf_json_parse(text, GUEST_IMAGE_CONFIG_MAX, &ret->json, err);
	if (r < 0)
		return cf_wrap(err, r, "image configuration");
	process = cf_json_get(ret->json, "process");
	user = cf_json_get(process, "user");
	annotations = cf_json_get(ret->json, "annotations");
	r = copy_strings(cf_json_get(process, "args"), &ret->image.args, err);
	if (r == 0)
		r = copy_strings(cf_json_get(process, "env"), &ret->image.env, err);
	if (r < 0) {
		guest_image_config_fini(ret);
		return r;
	}
	ret->cwd = cf_view_dup(cf_json_str(cf_json_get(process, "cwd")));
	ret->image.cwd = *ret->cwd ? ret->cwd : "/";
	ret->image.uid = (uint32_t)cf_json_int(cf_json_get(user, "uid"));
	ret->image.gid = (uint32_t)cf_json_int(cf_json_get(user, "gid"));
	ret->image.is_encrypted = cf_view_eq_str(
		cf_json_str(cf_json_get(annotations, GUEST_IMAGE_ENCRYPTED)), "true");
	return 0;
}

void guest_image_config_fini(struct guest_image_config *c)
{
	cf_strv_fini(&c->image.args);
	cf_strv_fini(&c->image.env);
	free(c->cwd);
	cf_json_free(c->json);
	*c = (struct guest_image_config){ 0 };
}
