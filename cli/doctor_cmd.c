/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `coffer doctor`: what this machine has for running confidential pods, and what it lacks. Read
 * only; a check that cannot look says skip, never ok. Each check has an id that does not change.
 */
#include "cli/doctor_cmd.h"

#include "base/fd.h"
#include "base/loop.h"
#include "base/proc.h"
#include "base/toml.h"

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <sys/utsname.h>
#include <unistd.h>

#define CHECK_MS    2000 /* a program that a check runs */
#define PROBE_MS    15000
#define OUTPUT_MAX  65536u
#define KERNEL_MIN  "5.10"
#define SHIM_CONFIG "/etc/coffer/shim.toml"
#define CTD_CONFIG  "/etc/containerd/config.toml"
#define SNAP_SOCKET "/run/coffer/snapshotter.sock"
#define GUEST_DIR   "/usr/share/coffer/guest"
#define OVMF_CODE   "/usr/share/OVMF/OVMF_CODE_4M.fd"
#define RUN_DIR     "/run/coffer/s"

static const char help[] =
	"usage: coffer doctor [host] [options]\n"
	"Looks whether this machine can run confidential pods. Changes nothing.\n"
	"\n"
	"  --deep     also boot a probe, to see whether virtualisation works\n"
	"  --json     one object: {\"checks\":[{\"id\",\"result\",\"text\",\"fix\"}],\"ok\"}\n"
	"\n"
	"Results: ok, warn (works, but), fail (will not work), skip (could not look). Ends with 3 "
	"when\n"
	"a check failed.\n";

enum result {
	CHECK_OK,
	CHECK_WARN,
	CHECK_FAIL,
	CHECK_SKIP,
	CHECK_RESULTS,
};

static const char *const result_names[CHECK_RESULTS] = { "ok", "warn", "fail", "skip" };

struct finding {
	enum result result;
	char *text;      /* owned */
	const char *fix; /* static, or NULL */
};

struct doctor {
	bool is_deep, is_json;
	unsigned counts[CHECK_RESULTS];
};

static struct finding found(enum result result, const char *fix, const char *fmt, ...)
	cf_printf(3, 4);
static struct finding found(enum result result, const char *fix, const char *fmt, ...)
{
	struct finding f = { .result = result, .fix = fix };
	va_list args;

	va_start(args, fmt);
	if (vasprintf(&f.text, fmt, args) < 0)
		f.text = cf_strdup(fmt);
	va_end(args);
	return f;
}

/* ---- looking ---- */

/* First line that a program prints; NULL when it cannot be run. The caller frees. */
static char *first_line(const char *const *argv)
{
	struct cf_proc_opts opts = {
		.argv = argv, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1
	};
	struct cf_buf out = { .max = OUTPUT_MAX };
	struct cf_err ignored;
	ssize_t end;
	char *line = NULL;

	if (cf_proc_run(&opts, OUTPUT_MAX, CHECK_MS, &out, &ignored) == 0 && out.size &&
	    !cf_view_has_nul(cf_buf_view(&out))) {
		end = cf_view_find(cf_buf_view(&out), '\n');
		line = cf_view_dup(cf_view(out.data, end < 0 ? out.size : (size_t)end));
	}
	cf_buf_fini(&out);
	return line;
}

/* A file's text without its last line end; NULL when it cannot be read. The caller frees. */
static char *file_text(const char *path)
{
	struct cf_buf text = { .max = OUTPUT_MAX + 1 };
	struct cf_err ignored;
	char *s = NULL;

	if (cf_read_file(path, OUTPUT_MAX, &text, &ignored) == 0 &&
	    !cf_view_has_nul(cf_buf_view(&text))) {
		while (text.size && text.data[text.size - 1] == '\n')
			text.size--;
		s = cf_view_dup(cf_buf_view(&text));
	}
	cf_buf_fini(&text);
	return s;
}

static bool is_there(const char *path)
{
	return access(path, F_OK) == 0;
}

/* ---- the checks ---- */

static struct finding check_cpu(const struct doctor *d)
{
	cf_cleanup(cf_freep) char *info = file_text("/proc/cpuinfo");

	(void)d;
	if (!info)
		return found(CHECK_SKIP, NULL, "/proc/cpuinfo cannot be read");
	if (strstr(info, " svm"))
		return found(CHECK_OK, NULL, "svm");
	if (strstr(info, " vmx"))
		return found(CHECK_OK, NULL, "vmx");
	return found(CHECK_WARN, "use a machine (or a VM with nested virtualisation) that has it",
	             "no virtualisation: pods are emulated, some ten times slower");
}

static struct finding check_kvm_open(const struct doctor *d)
{
	(void)d;
	if (!is_there("/dev/kvm"))
		return found(CHECK_WARN, NULL, "no /dev/kvm: pods are emulated");
	if (access("/dev/kvm", R_OK | W_OK) < 0)
		return found(CHECK_SKIP, NULL, "/dev/kvm is not ours to open (needs root)");
	return found(CHECK_OK, NULL, "/dev/kvm opens (which alone proves nothing)");
}

/* The shim's own probe, so that both say the same. */
static struct finding check_kvm_boots(const struct doctor *d)
{
	cf_cleanup(cf_freep) char *shim = cli_program("containerd-shim-coffer-v2");
	const char *argv[] = { shim, "probe", NULL };
	struct cf_proc_opts opts = {
		.argv = argv, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1
	};
	struct cf_buf out = { .max = OUTPUT_MAX };
	struct cf_err err;
	struct finding f;

	if (!d->is_deep)
		return found(CHECK_SKIP, NULL, "not tried (use --deep)");
	if (cf_proc_run(&opts, OUTPUT_MAX, PROBE_MS, &out, &err) < 0)
		f = found(CHECK_SKIP, NULL, "%s", err.msg);
	else if (cf_view_starts_with(cf_buf_view(&out), "kvm"))
		f = found(CHECK_OK, NULL, "a probe booted under KVM");
	else
		f = found(CHECK_WARN, NULL, "no guest boots under KVM here: pods are emulated");
	cf_buf_fini(&out);
	return f;
}

static struct finding check_parameter(const char *path, const char *what)
{
	cf_cleanup(cf_freep) char *value = file_text(path);

	if (value && (*value == 'Y' || *value == '1'))
		return found(CHECK_OK, NULL, "%s is on", what);
	return found(CHECK_SKIP, NULL, "no %s here", what);
}

static struct finding check_snp(const struct doctor *d)
{
	(void)d;
	return check_parameter("/sys/module/kvm_amd/parameters/sev_snp", "SEV-SNP");
}

static struct finding check_tdx(const struct doctor *d)
{
	(void)d;
	return check_parameter("/sys/module/kvm_intel/parameters/tdx", "TDX");
}

/* "5.10" as a number that compares. */
static unsigned version_number(const char *text)
{
	char *end;
	unsigned long major = strtoul(text, &end, 10);

	return (unsigned)major * 1000 + (*end == '.' ? (unsigned)strtoul(end + 1, NULL, 10) : 0);
}

static struct finding check_kernel(const struct doctor *d)
{
	struct utsname u;

	(void)d;
	if (uname(&u) < 0)
		return found(CHECK_SKIP, NULL, "uname: %s", strerror(errno));
	if (version_number(u.release) < version_number(KERNEL_MIN))
		return found(CHECK_FAIL, "install a newer kernel", "%s is older than " KERNEL_MIN,
		             u.release);
	return found(CHECK_OK, NULL, "%s", u.release);
}

static struct finding check_tun(const struct doctor *d)
{
	(void)d;
	if (!is_there("/dev/net/tun"))
		return found(CHECK_FAIL, "modprobe tun",
		             "no /dev/net/tun: a pod's VM gets no network");
	return found(CHECK_OK, NULL, "/dev/net/tun");
}

static struct finding check_channel(const struct doctor *d)
{
	(void)d;
	if (is_there("/dev/vhost-vsock"))
		return found(CHECK_OK, NULL, "vsock and virtio-serial");
	return found(CHECK_OK, NULL, "virtio-serial (no /dev/vhost-vsock, and none is needed)");
}

static struct finding check_program(const char *name, const char *flag, enum result missing,
                                    const char *fix)
{
	const char *argv[] = { name, flag, NULL };
	cf_cleanup(cf_freep) char *line = first_line(argv);

	if (!line)
		return found(missing, fix, "%s cannot be run", name);
	return found(CHECK_OK, NULL, "%.100s", line);
}

static struct finding check_qemu(const struct doctor *d)
{
	(void)d;
	return check_program("qemu-system-x86_64", "--version", CHECK_FAIL,
	                     "apt-get install qemu-system-x86");
}

static struct finding check_ovmf(const struct doctor *d)
{
	(void)d;
	if (!is_there(OVMF_CODE))
		return found(CHECK_WARN, "apt-get install ovmf",
		             "no " OVMF_CODE ": nothing measures a guest's boot");
	return found(CHECK_OK, NULL, OVMF_CODE);
}

static struct finding check_swtpm(const struct doctor *d)
{
	(void)d;
	return check_program("swtpm", "--version", CHECK_WARN, "apt-get install swtpm swtpm-tools");
}

static struct finding check_guest(const struct doctor *d)
{
	static const char *const files[] = { "vmlinuz", "initrd.img", "cmdline" };

	(void)d;
	for (size_t i = 0; i < CF_ARRAY_LEN(files); i++) {
		cf_cleanup(cf_freep) char *path = cf_asprintf(GUEST_DIR "/%s", files[i]);

		if (!is_there(path))
			return found(CHECK_WARN,
			             "deploy/guest-image/build --bin … --out " GUEST_DIR,
			             "no %s (a shim.toml may name another place)", path);
	}
	return found(CHECK_OK, NULL, GUEST_DIR);
}

static struct finding check_shim(const struct doctor *d)
{
	cf_cleanup(cf_freep) char *shim = cli_program("containerd-shim-coffer-v2");

	(void)d;
	return check_program(shim, "-v", CHECK_FAIL, "install it beside this program, or on PATH");
}

static struct finding check_shim_config(const struct doctor *d)
{
	cf_cleanup(cf_toml_freep) struct cf_toml *root = NULL;
	struct cf_err err;
	int r = cf_toml_read_file(SHIM_CONFIG, 1u << 20, &root, &err);

	(void)d;
	if (r == -CF_NOT_FOUND)
		return found(CHECK_OK, NULL, "no " SHIM_CONFIG ": defaults");
	if (r == -CF_PERMISSION_DENIED)
		return found(CHECK_SKIP, NULL, "%s (needs root)", err.msg);
	if (r < 0)
		return found(CHECK_FAIL, "mend that line", "%s", err.msg);
	return found(CHECK_OK, NULL, SHIM_CONFIG);
}

static struct finding check_containerd(const struct doctor *d)
{
	(void)d;
	return check_program("containerd", "--version", CHECK_WARN,
	                     "apt-get install containerd (not needed for coffer pod run)");
}

/* True when some table below @t holds a handler of ours. */
static bool has_handler(const struct cf_toml *t)
{
	const char *type = cf_toml_str(cf_toml_get(t, "runtime_type"));

	if (cf_streq(type, "io.containerd.coffer.v2"))
		return true;
	for (size_t i = 0; cf_toml_is(t, CF_TOML_TABLE) && i < cf_toml_count(t); i++)
		if (has_handler(cf_toml_at(t, i)))
			return true;
	return false;
}

static struct finding check_containerd_config(const struct doctor *d)
{
	cf_cleanup(cf_toml_freep) struct cf_toml *root = NULL;
	struct cf_err err;
	int r = cf_toml_read_file(CTD_CONFIG, 1u << 20, &root, &err);

	(void)d;
	if (r == -CF_NOT_FOUND)
		return found(CHECK_SKIP, NULL, "no " CTD_CONFIG);
	if (r < 0)
		return found(CHECK_SKIP, NULL, "%s", err.msg);
	if (!has_handler(root))
		return found(CHECK_WARN, "add a runtime handler of type io.containerd.coffer.v2",
		             CTD_CONFIG " has no handler for coffer");
	return found(CHECK_OK, NULL, "a handler for coffer in " CTD_CONFIG);
}

static struct finding check_snapshotter(const struct doctor *d)
{
	struct cf_err err;
	int64_t start = cf_now_ms();
	cf_cleanup(cf_closep) int fd = cf_connect_unix(SNAP_SOCKET, &err);

	(void)d;
	if (fd == -CF_PERMISSION_DENIED)
		return found(CHECK_SKIP, NULL, SNAP_SOCKET " is not ours to open (needs root)");
	if (fd < 0)
		return found(CHECK_WARN, "start coffer-snapshotter",
		             SNAP_SOCKET " does not answer: layers would come to this host");
	return found(CHECK_OK, NULL, SNAP_SOCKET " answers in %lld ms",
	             (long long)(cf_now_ms() - start));
}

/* True when the pod at @dir has a shim that lives. */
static bool is_served(const char *dir)
{
	cf_cleanup(cf_freep) char *path = cf_asprintf("%s/state.json", dir);
	cf_cleanup(cf_freep) char *text = file_text(path);
	cf_cleanup(cf_freep) char *proc = NULL;
	cf_cleanup(cf_json_freep) struct cf_json *root = NULL;
	struct cf_err ignored;
	uint64_t pid;

	if (!text || cf_json_parse(cf_view_str(text), OUTPUT_MAX, &root, &ignored) < 0 ||
	    cf_json_need_u64(cf_json_get(root, "shim"), "pid", &pid, &ignored) < 0)
		return false;
	proc = cf_asprintf("/proc/%llu", (unsigned long long)pid);
	return is_there(proc);
}

static unsigned count_orphans(const char *dir, unsigned depth)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	unsigned n = 0;

	while (d && (e = readdir(d))) {
		cf_cleanup(cf_freep) char *path = cf_asprintf("%s/%s", dir, e->d_name);

		if (e->d_type != DT_DIR || e->d_name[0] == '.')
			continue;
		n += depth ? count_orphans(path, depth - 1) : !is_served(path);
	}
	if (d)
		closedir(d);
	return n;
}

/* Pods whose shim is gone: RUN_DIR/NAMESPACE/ID. */
static struct finding check_leftovers(const struct doctor *d)
{
	unsigned n;

	(void)d;
	if (geteuid() != 0)
		return found(CHECK_SKIP, NULL, "needs root");
	n = count_orphans(RUN_DIR, 1);
	if (n)
		return found(CHECK_WARN, "restart containerd: it has the shim clean up",
		             "%u pods below " RUN_DIR " have no shim any more", n);
	return found(CHECK_OK, NULL, "none");
}

static const struct {
	const char *id;
	struct finding (*fn)(const struct doctor *d);
} checks[] = {
	{ "cpu-virt", check_cpu },
	{ "kvm-open", check_kvm_open },
	{ "kvm-boots", check_kvm_boots },
	{ "tee-snp", check_snp },
	{ "tee-tdx", check_tdx },
	{ "kernel", check_kernel },
	{ "tun", check_tun },
	{ "vsock", check_channel },
	{ "qemu", check_qemu },
	{ "ovmf", check_ovmf },
	{ "swtpm", check_swtpm },
	{ "guest-assets", check_guest },
	{ "shim", check_shim },
	{ "shim-config", check_shim_config },
	{ "containerd", check_containerd },
	{ "containerd-config", check_containerd_config },
	{ "snapshotter-sock", check_snapshotter },
	{ "leftovers", check_leftovers },
};

/* ---- telling ---- */

static void print_finding(const char *id, const struct finding *f)
{
	printf(" %-5s %-18s %s\n", result_names[f->result], id, f->text);
	if (f->fix && f->result != CHECK_OK)
		printf("       %-18s fix: %s\n", "", f->fix);
}

static void add_json(struct cf_jw *w, const char *id, const struct finding *f)
{
	cf_jw_obj(w);
	cf_jw_kstr(w, "id", id);
	cf_jw_kstr(w, "result", result_names[f->result]);
	cf_jw_kstr(w, "text", f->text);
	if (f->fix)
		cf_jw_kstr(w, "fix", f->fix);
	cf_jw_end_obj(w);
}

static void run_checks(struct doctor *d)
{
	struct cf_buf out = { 0 };
	struct cf_jw w = { .out = &out };
	int64_t start = cf_now_ms();

	cf_jw_obj(&w);
	cf_jw_key(&w, "checks");
	cf_jw_arr(&w);
	for (size_t i = 0; i < CF_ARRAY_LEN(checks); i++) {
		struct finding f = checks[i].fn(d);

		d->counts[f.result]++;
		add_json(&w, checks[i].id, &f);
		if (!d->is_json)
			print_finding(checks[i].id, &f);
		free(f.text);
	}
	cf_jw_end_arr(&w);
	cf_jw_kbool(&w, "ok", !d->counts[CHECK_FAIL]);
	cf_jw_end_obj(&w);
	if (d->is_json)
		printf("%s\n", (const char *)out.data);
	else
		printf("%zu checks: %u ok, %u warn, %u fail, %u skip  (%.2f s)\n",
		       CF_ARRAY_LEN(checks), d->counts[CHECK_OK], d->counts[CHECK_WARN],
		       d->counts[CHECK_FAIL], d->counts[CHECK_SKIP],
		       (double)(cf_now_ms() - start) / 1000);
	cf_buf_fini(&out);
}

int cli_doctor(int argc, char **argv)
{
	struct doctor d = { .is_deep = false };

	for (int i = 1; i < argc; i++) {
		if (cf_streq(argv[i], "--help") || cf_streq(argv[i], "-h")) {
			fputs(help, stdout);
			return CLI_OK;
		}
		if (cf_streq(argv[i], "--deep"))
			d.is_deep = true;
		else if (cf_streq(argv[i], "--json"))
			d.is_json = true;
		else if (!cf_streq(argv[i], "host"))
			return cli_usage("doctor", "unknown argument %s", argv[i]);
	}
	run_checks(&d);
	return d.counts[CHECK_FAIL] ? CLI_NO : CLI_OK;
}
