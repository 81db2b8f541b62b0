/* SPDX-License-Identifier: Apache-2.0 */
/* `coffer measure`: what a good boot will measure, computed from files before anything boots. */
#include "base/crypto.h"
#include "base/fd.h"
#include "cli/cmds_kbs.h"
#include "proto/pcr_predict.h"
#include "proto/tcg_log.h"

#include <errno.h>
#include <getopt.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define VCPUS_MAX    1024u
#define SHAPES_MAX   32u
#define INITDATA_MAX (64u << 20)
#define FIRMWARE_MAX (64u << 20)

static const char help[] =
	"usage: coffer measure --tee vtpm -k KERNEL [-i INITRD] -c CMDLINE [options]\n"
	"The PCR values of a direct kernel boot through OVMF with a TPM, computed from files.\n"
	"\n"
	"  -k, --kernel FILE      bzImage with EFI stub\n"
	"  -i, --initrd FILE\n"
	"  -c, --cmdline TEXT     as QEMU gets it (the firmware's \" initrd=initrd\" is added)\n"
	"      --cmdline-file F   the same from a file\n"
	"      --firmware FILE    OVMF code image: PCR 0, where this shape was measured before\n"
	"      --firmware-log F   else: event log of any boot of this firmware with the same "
	"vCPUs\n"
	"                         and memory (PCR 0 and 2 hold nothing of kernel and command "
	"line)\n"
	"  -m, --memory MIB       default 512\n"
	"      --vcpus N[,N…]     default 1\n"
	"      --initdata FILE    the guest's initdata text: PCR 8 (shown; not a reference value)\n"
	"      --json             one coffer.measurement/1 document, ready for\n"
	"                         coffer kbs reference put -\n";

struct input {
	const char *path;
	struct cf_view text;
	uint8_t sha256[32];
};

struct wish {
	const char *tee, *cmdline, *cmdline_file, *firmware_log, *memory, *vcpus;
	struct input kernel, initrd, firmware, initdata;
	bool json;
	struct cf_buf cmdline_text;
	uint64_t memory_bytes;
	size_t shape_count;
	uint32_t shapes[SHAPES_MAX]; /* vCPUs */
};

struct result {
	struct pcr_values values;
	size_t pcr0_count;
	uint8_t pcr0[SHAPES_MAX][PCR_SIZE];
	uint8_t pcr2[PCR_SIZE];
};

static void wish_fini(struct wish *w)
{
	struct input *all[] = { &w->kernel, &w->initrd, &w->firmware, &w->initdata };

	for (size_t i = 0; i < CF_ARRAY_LEN(all); i++)
		if (all[i]->text.size)
			munmap((void *)(uintptr_t)all[i]->text.data, all[i]->text.size);
	cf_buf_fini(&w->cmdline_text);
}

/* Mapped, not read: initrds can be large. */
static int load(struct input *in, size_t max, struct cf_err *err)
{
	cf_cleanup(cf_closep) int fd = in->path ? open(in->path, O_RDONLY | O_CLOEXEC) : -1;
	struct stat st;
	void *at;

	if (!in->path)
		return 0;
	if (fd < 0 || fstat(fd, &st) < 0)
		return cf_fail_errno(err, errno, "%s", in->path);
	if (!S_ISREG(st.st_mode) || st.st_size == 0)
		return cf_fail(err, CF_INVALID_ARGUMENT, "%s: empty, or no file", in->path);
	if ((uint64_t)st.st_size > max)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "%s: %lld bytes", in->path,
		               (long long)st.st_size);
	at = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (at == MAP_FAILED)
		return cf_fail_errno(err, errno, "%s", in->path);
	in->text = cf_view(at, (size_t)st.st_size);
	cf_sha256(in->text, in->sha256);
	return 0;
}

static int parse(int argc, char **argv, struct wish *w)
{
	static const struct option options[] = {
		{ "tee", required_argument, NULL, 't' },
		{ "kernel", required_argument, NULL, 'k' },
		{ "initrd", required_argument, NULL, 'i' },
		{ "cmdline", required_argument, NULL, 'c' },
		{ "cmdline-file", required_argument, NULL, 'C' },
		{ "firmware", required_argument, NULL, 'f' },
		{ "firmware-log", required_argument, NULL, 'l' },
		{ "memory", required_argument, NULL, 'm' },
		{ "vcpus", required_argument, NULL, 'v' },
		{ "initdata", required_argument, NULL, 'd' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	const char **places[128] = {
		['t'] = &w->tee,          ['k'] = &w->kernel.path,  ['i'] = &w->initrd.path,
		['c'] = &w->cmdline,      ['C'] = &w->cmdline_file, ['f'] = &w->firmware.path,
		['l'] = &w->firmware_log, ['m'] = &w->memory,       ['v'] = &w->vcpus,
		['d'] = &w->initdata.path
	};
	int c;

	optind = 1;
	while ((c = getopt_long(argc, argv, "k:i:c:m:h", options, NULL)) != -1) {
		if (c == 'h') {
			fputs(help, stdout);
			return CLI_OK;
		}
		if (c == '?')
			return CLI_USAGE;
		if (c == 'j')
			w->json = true;
		else
			*places[c] = optarg;
	}
	if (!w->kernel.path || (!w->cmdline && !w->cmdline_file) || optind < argc)
		return cli_usage("measure", "--kernel and --cmdline are needed");
	if (w->tee && !cf_streq(w->tee, "vtpm") && !cf_streq(w->tee, "tpm"))
		return cli_usage("measure", "no measurement for TEE \"%s\" here; vtpm is", w->tee);
	return -1;
}

static int read_shapes(struct wish *w, struct cf_err *err)
{
	cf_cleanup(cf_strv_fini) struct cf_strv list = { 0 };
	uint64_t mib = 512, n;
	int r = w->memory ? cf_parse_u64(cf_view_str(w->memory), 1u << 24, &mib, err) : 0;

	if (r < 0)
		return cf_wrap(err, r, "--memory");
	w->memory_bytes = mib << 20;
	cf_strv_split(&list, cf_view_str(w->vcpus ? w->vcpus : "1"), ',');
	if (list.count > SHAPES_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "--vcpus: over %u numbers", SHAPES_MAX);
	for (size_t i = 0; i < list.count; i++) {
		r = cf_parse_u64(cf_view_str(list.items[i]), VCPUS_MAX, &n, err);
		if (r < 0)
			return cf_wrap(err, r, "--vcpus");
		w->shapes[w->shape_count++] = (uint32_t)n;
	}
	return 0;
}

static int read_all(struct wish *w, struct cf_err *err)
{
	int r = load(&w->kernel, PCR_KERNEL_SIZE_MAX, err);

	if (r == 0)
		r = load(&w->initrd, UINT32_MAX, err);
	if (r == 0)
		r = load(&w->firmware, FIRMWARE_MAX, err);
	if (r == 0)
		r = load(&w->initdata, INITDATA_MAX, err);
	if (r == 0)
		r = read_shapes(w, err);
	if (r < 0)
		return r;
	if (w->cmdline_file)
		r = cf_read_file(w->cmdline_file, PCR_CMDLINE_SIZE_MAX, &w->cmdline_text, err);
	else
		cf_buf_add_str(&w->cmdline_text, w->cmdline);
	while (w->cmdline_text.size && w->cmdline_text.data[w->cmdline_text.size - 1] == '\n')
		w->cmdline_text.data[--w->cmdline_text.size] = '\0';
	if (r == 0 && (!w->cmdline_text.data || cf_view_has_nul(cf_buf_view(&w->cmdline_text))))
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "the command line is empty, or holds a NUL");
	return r;
}

/* PCR 0 and 2 of a boot that was watched. */
static int read_log(const struct wish *w, struct result *ret, struct cf_err *err)
{
	cf_cleanup(cf_buf_fini) struct cf_buf raw = { 0 };
	cf_cleanup(tcg_log_freep) struct tcg_log *log = NULL;
	struct tcg_pcrs pcrs;
	int r = cf_read_file(w->firmware_log, TCG_LOG_SIZE_MAX, &raw, err);

	if (r == 0)
		r = tcg_log_parse(cf_buf_view(&raw), &log, err);
	if (r == 0)
		r = tcg_log_replay(log, TCG_SHA256, &pcrs, err);
	if (r < 0)
		return cf_wrap(err, r, "%s", w->firmware_log);
	memcpy(ret->pcr0[0], pcrs.pcr[0].value, PCR_SIZE);
	memcpy(ret->pcr2, pcrs.pcr[2].value, PCR_SIZE);
	ret->pcr0_count = 1;
	return 0;
}

static int predict(const struct wish *w, struct result *ret, struct cf_err *err)
{
	struct pcr_boot boot = { .kernel = w->kernel.text,
		                 .has_initrd = w->initrd.path != NULL,
		                 .initrd_size = w->initrd.text.size,
		                 .cmdline = (const char *)w->cmdline_text.data,
		                 .memory_bytes = w->memory_bytes,
		                 .initdata = w->initdata.text };
	int r = 0;

	memcpy(boot.initrd_sha256, w->initrd.sha256, 32);
	memcpy(boot.firmware_sha256, w->firmware.sha256, 32);
	for (size_t i = 0; r == 0 && i < w->shape_count; i++) {
		boot.vcpus = w->shapes[i];
		r = pcr_predict(&boot, &ret->values, err);
		if (r == 0 && (ret->values.known & 1))
			memcpy(ret->pcr0[ret->pcr0_count++], ret->values.pcr[0], PCR_SIZE);
	}
	memcpy(ret->pcr2, ret->values.pcr[2], PCR_SIZE);
	return r == 0 && w->firmware_log ? read_log(w, ret, err) : r;
}

/* ---- output ---- */

static void key_hex(struct cf_jw *j, const char *key, const uint8_t v[32])
{
	cf_jw_key(j, key);
	cf_jw_hex(j, cf_view(v, 32));
}

static void input_json(struct cf_jw *j, const char *key, const struct input *in)
{
	cf_cleanup(cf_freep) char *hex = cf_hex_dup(cf_view(in->sha256, 32));
	cf_cleanup(cf_freep) char *digest = cf_asprintf("sha256:%s", hex);

	if (!in->path)
		return;
	cf_jw_key(j, key);
	cf_jw_obj(j);
	cf_jw_kstr(j, "path", in->path);
	cf_jw_kstr(j, "digest", digest);
	cf_jw_kuint(j, "size", in->text.size);
	cf_jw_end_obj(j);
}

static void inputs_json(const struct wish *w, struct cf_jw *j)
{
	cf_jw_key(j, "inputs");
	cf_jw_obj(j);
	input_json(j, "kernel", &w->kernel);
	input_json(j, "initrd", &w->initrd);
	input_json(j, "firmware", &w->firmware);
	input_json(j, "initdata", &w->initdata);
	cf_jw_kview(j, "cmdline", cf_buf_view(&w->cmdline_text));
	cf_jw_kuint(j, "memory_mib", w->memory_bytes >> 20);
	cf_jw_key(j, "vcpus");
	cf_jw_arr(j);
	for (size_t i = 0; i < w->shape_count; i++)
		cf_jw_uint(j, w->shapes[i]);
	cf_jw_end_arr(j);
	cf_jw_end_obj(j);
}

static void one_value(struct cf_jw *j, const char *id, const uint8_t v[32])
{
	cf_jw_key(j, id);
	cf_jw_arr(j);
	cf_jw_hex(j, cf_view(v, 32));
	cf_jw_end_arr(j);
}

static void reference_json(const struct wish *w, const struct result *r, struct cf_jw *j)
{
	cf_cleanup(cf_freep) char *line = cf_asprintf("%s%s", (const char *)w->cmdline_text.data,
	                                              w->initrd.path ? PCR_INITRD_ARGUMENT : "");

	cf_jw_key(j, "reference");
	cf_jw_obj(j);
	if (r->pcr0_count) {
		cf_jw_key(j, "tpm_pcr00");
		cf_jw_arr(j);
		for (size_t i = 0; i < r->pcr0_count; i++)
			cf_jw_hex(j, cf_view(r->pcr0[i], PCR_SIZE));
		cf_jw_end_arr(j);
	}
	one_value(j, "tpm_pcr02", r->pcr2);
	one_value(j, "tpm_pcr04", r->values.pcr[4]);
	one_value(j, "tpm_pcr09", r->values.pcr[9]);
	/* Not measured as such: they make a refusal readable. */
	one_value(j, "tpm_kernel", r->values.kernel_authenticode);
	if (w->initrd.path)
		one_value(j, "tpm_initrd", w->initrd.sha256);
	cf_jw_key(j, "tpm_cmdline");
	cf_jw_arr(j);
	cf_jw_str(j, line);
	cf_jw_end_arr(j);
	cf_jw_end_obj(j);
}

static void print_json(const struct wish *w, const struct result *r)
{
	cf_cleanup(cf_buf_fini) struct cf_buf out = { 0 };
	struct cf_jw j = { .out = &out };

	cf_jw_obj(&j);
	cf_jw_kstr(&j, "schema", "coffer.measurement/1");
	cf_jw_kstr(&j, "tee", "tpm");
	inputs_json(w, &j);
	cf_jw_key(&j, "values");
	cf_jw_obj(&j);
	if (r->pcr0_count)
		key_hex(&j, "pcr00", r->pcr0[0]);
	key_hex(&j, "pcr02", r->pcr2);
	key_hex(&j, "pcr04", r->values.pcr[4]);
	key_hex(&j, "pcr08", r->values.pcr[8]);
	key_hex(&j, "pcr09", r->values.pcr[9]);
	cf_jw_end_obj(&j);
	reference_json(w, r, &j);
	cf_jw_end_obj(&j);
	printf("%s\n", (const char *)out.data);
}

static void print_row(unsigned pcr, const uint8_t value[32], const char *covers)
{
	cf_cleanup(cf_freep) char *hex = cf_hex_dup(cf_view(value, 32));

	printf("PCR %u  %s  %s\n", pcr, hex, covers);
}

static void print_table(const struct result *r)
{
	for (size_t i = 0; i < r->pcr0_count; i++)
		print_row(0, r->pcr0[i], "firmware, vCPUs, memory");
	print_row(2, r->pcr2, "option ROMs");
	print_row(4, r->values.pcr[4], "kernel (with memory size and initrd size)");
	print_row(8, r->values.pcr[8], "initdata");
	print_row(9, r->values.pcr[9], "command line, initrd");
}

int cli_measure(int argc, char **argv)
{
	cf_cleanup(wish_fini) struct wish w = { 0 };
	struct result result = { 0 };
	struct cf_err err;
	int r = parse(argc, argv, &w);

	if (r >= 0)
		return r;
	r = read_all(&w, &err);
	if (r == 0)
		r = predict(&w, &result, &err);
	if (r < 0)
		return cli_fail(&err);
	if (result.pcr0_count == 0)
		fprintf(stderr,
		        "warning: PCR 0 cannot be computed from this firmware file: boot it once "
		        "with these vCPUs and this memory (any kernel) and give its event log "
		        "with --firmware-log\n");
	if (w.json)
		print_json(&w, &result);
	else
		print_table(&result);
	return CLI_OK;
}
