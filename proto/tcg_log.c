/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/tcg_log.h"

#include "base/crypto.h"

#define FILL_SIZE         8u
#define HEADER_MIN        32u               /* index, type, SHA-1 digest, size */
#define SPEC_FIXED        24u               /* signature, class, version, errata, uintn size */
#define VARIABLE_HEAD     32u               /* GUID, name length, data length */
#define LOCALITY_SIG      "StartupLocality" /* with its NUL */
#define LOCALITY_SIG_SIZE 16u

struct bank {
	enum tcg_alg alg;
	const char *name;
	size_t size;
	int hash; /* enum cf_hash_alg, -1: we cannot compute it */
};

static const struct bank banks[TCG_BANK_COUNT] = {
	{ TCG_SHA1, "SHA-1", 20, CF_SHA1 },
	{ TCG_SHA256, "SHA-256", 32, CF_SHA256 },
	{ TCG_SHA384, "SHA-384", 48, CF_SHA384 },
	{ TCG_SHA512, "SHA-512", 64, CF_SHA512 },
	{ TCG_SM3, "SM3", 32, -1 },
};

struct alg_size {
	uint16_t alg;
	uint16_t size;
};

struct tcg_log {
	size_t count;
	size_t cap;
	struct tcg_event *events;
	size_t alg_count;
	struct alg_size algs[TCG_LOG_ALGS_MAX];
};

static int bank_index(unsigned alg)
{
	for (unsigned i = 0; i < TCG_BANK_COUNT; i++)
		if (banks[i].alg == alg)
			return (int)i;
	return -1;
}

size_t tcg_alg_size(enum tcg_alg alg)
{
	int i = bank_index(alg);

	return i < 0 ? 0 : banks[i].size;
}

const char *tcg_alg_name(enum tcg_alg alg)
{
	int i = bank_index(alg);

	return i < 0 ? "unknown" : banks[i].name;
}

static const struct {
	uint32_t type;
	const char *name;
} type_names[] = {
	{ 0x00, "EV_PREBOOT_CERT" },
	{ 0x01, "EV_POST_CODE" },
	{ 0x02, "EV_UNUSED" },
	{ TCG_EV_NO_ACTION, "EV_NO_ACTION" },
	{ TCG_EV_SEPARATOR, "EV_SEPARATOR" },
	{ 0x05, "EV_ACTION" },
	{ TCG_EV_EVENT_TAG, "EV_EVENT_TAG" },
	{ 0x07, "EV_S_CRTM_CONTENTS" },
	{ 0x08, "EV_S_CRTM_VERSION" },
	{ 0x09, "EV_CPU_MICROCODE" },
	{ 0x0a, "EV_PLATFORM_CONFIG_FLAGS" },
	{ 0x0b, "EV_TABLE_OF_DEVICES" },
	{ 0x0c, "EV_COMPACT_HASH" },
	{ 0x0d, "EV_IPL" },
	{ 0x0e, "EV_IPL_PARTITION_DATA" },
	{ 0x0f, "EV_NONHOST_CODE" },
	{ 0x10, "EV_NONHOST_CONFIG" },
	{ 0x11, "EV_NONHOST_INFO" },
	{ 0x12, "EV_OMIT_BOOT_DEVICE_EVENTS" },
	{ TCG_EV_EFI_VARIABLE_DRIVER_CONFIG, "EV_EFI_VARIABLE_DRIVER_CONFIG" },
	{ TCG_EV_EFI_VARIABLE_BOOT, "EV_EFI_VARIABLE_BOOT" },
	{ TCG_EV_EFI_BOOT_SERVICES_APPLICATION, "EV_EFI_BOOT_SERVICES_APPLICATION" },
	{ TCG_EV_EFI_BOOT_SERVICES_DRIVER, "EV_EFI_BOOT_SERVICES_DRIVER" },
	{ 0x80000005u, "EV_EFI_RUNTIME_SERVICES_DRIVER" },
	{ 0x80000006u, "EV_EFI_GPT_EVENT" },
	{ TCG_EV_EFI_ACTION, "EV_EFI_ACTION" },
	{ TCG_EV_EFI_PLATFORM_FIRMWARE_BLOB, "EV_EFI_PLATFORM_FIRMWARE_BLOB" },
	{ 0x80000009u, "EV_EFI_HANDOFF_TABLES" },
	{ TCG_EV_EFI_PLATFORM_FIRMWARE_BLOB2, "EV_EFI_PLATFORM_FIRMWARE_BLOB2" },
	{ 0x8000000bu, "EV_EFI_HANDOFF_TABLES2" },
	{ 0x8000000cu, "EV_EFI_VARIABLE_BOOT2" },
	{ 0x80000010u, "EV_EFI_HCRTM_EVENT" },
	{ TCG_EV_EFI_VARIABLE_AUTHORITY, "EV_EFI_VARIABLE_AUTHORITY" },
	{ 0x800000e1u, "EV_EFI_SPDM_FIRMWARE_BLOB" },
	{ 0x800000e2u, "EV_EFI_SPDM_FIRMWARE_CONFIG" },
};

const char *tcg_type_name(uint32_t type)
{
	for (size_t i = 0; i < CF_ARRAY_LEN(type_names); i++)
		if (type_names[i].type == type)
			return type_names[i].name;
	return "EV_UNKNOWN";
}

/* ---- parsing ---- */

static int parse_spec(struct tcg_log *log, struct cf_view data, struct cf_err *err)
{
	struct cf_rd rd = { .in = data };
	struct cf_view sig = cf_rd_bytes(&rd, SPEC_FIXED);
	uint32_t count = cf_rd_u32le(&rd);

	/* CC logs leave the signature empty, TPM logs write "Spec ID Event03". */
	if (rd.bad || (sig.data[0] && !cf_view_starts_with(sig, "Spec ID Event03")))
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "event log: no crypto-agile header (Spec ID Event03)");
	if (count == 0 || count > TCG_LOG_ALGS_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "event log: %u algorithms in the header",
		               count);
	for (; log->alg_count < count; log->alg_count++) {
		struct alg_size *a = &log->algs[log->alg_count];
		int known;

		a->alg = cf_rd_u16le(&rd);
		a->size = cf_rd_u16le(&rd);
		known = bank_index(a->alg);
		if (rd.bad || a->size == 0 || a->size > TCG_DIGEST_MAX)
			return cf_fail(err, CF_INVALID_ARGUMENT, "event log: bad header");
		if (known >= 0 && banks[known].size != a->size)
			return cf_fail(err, CF_INVALID_ARGUMENT,
			               "event log: header gives %s digests %u bytes",
			               banks[known].name, a->size);
	}
	return 0;
}

static int parse_header(struct tcg_log *log, struct cf_rd *rd, struct cf_err *err)
{
	uint32_t pcr = cf_rd_u32le(rd);
	uint32_t type = cf_rd_u32le(rd);
	uint32_t size;
	struct cf_view spec;

	cf_rd_skip(rd, 20);
	size = cf_rd_u32le(rd);
	spec = cf_rd_bytes(rd, size);
	/* Some CC logs count the header under index 1: it extends nothing, so any register will do. */
	if (rd->bad || type != TCG_EV_NO_ACTION || pcr >= TCG_PCR_COUNT)
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "event log: no crypto-agile header record");
	return parse_spec(log, spec, err);
}

static const struct alg_size *find_alg(const struct tcg_log *log, uint16_t alg)
{
	for (size_t i = 0; i < log->alg_count; i++)
		if (log->algs[i].alg == alg)
			return &log->algs[i];
	return NULL;
}

static int parse_digest(const struct tcg_log *log, struct cf_rd *rd, struct tcg_event *ev,
                        uint32_t *seen, struct cf_err *err)
{
	uint16_t id = cf_rd_u16le(rd);
	const struct alg_size *alg = rd->bad ? NULL : find_alg(log, id);
	struct cf_view digest;
	uint32_t bit;
	int bank;

	if (!alg)
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "event log: event %zu: digest of an algorithm that the header lacks",
		               log->count);
	bit = 1u << (alg - log->algs);
	if (*seen & bit)
		return cf_fail(err, CF_INVALID_ARGUMENT, "event log: event %zu: a digest twice",
		               log->count);
	*seen |= bit;
	digest = cf_rd_bytes(rd, alg->size);
	bank = bank_index(id);
	if (bank >= 0)
		ev->digests[bank] = digest;
	return 0;
}

static int parse_event(struct tcg_log *log, struct cf_rd *rd, struct cf_err *err)
{
	struct tcg_event ev = { 0 };
	uint32_t count, seen = 0;
	int r;

	ev.pcr = cf_rd_u32le(rd);
	ev.type = cf_rd_u32le(rd);
	count = cf_rd_u32le(rd);
	if (log->count >= TCG_LOG_EVENTS_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "event log: over %u events",
		               TCG_LOG_EVENTS_MAX);
	if (!rd->bad && ev.pcr >= TCG_PCR_COUNT)
		return cf_fail(err, CF_INVALID_ARGUMENT, "event log: event %zu: register %u",
		               log->count, ev.pcr);
	if (!rd->bad && count > log->alg_count)
		return cf_fail(err, CF_INVALID_ARGUMENT, "event log: event %zu: %u digests",
		               log->count, count);
	for (uint32_t i = 0; !rd->bad && i < count; i++) {
		r = parse_digest(log, rd, &ev, &seen, err);
		if (r < 0)
			return r;
	}
	ev.data = cf_rd_bytes(rd, cf_rd_u32le(rd));
	if (rd->bad)
		return cf_fail(err, CF_INVALID_ARGUMENT, "event log: event %zu is cut short",
		               log->count);
	cf_grow(&log->events, &log->cap, log->count + 1);
	log->events[log->count++] = ev;
	return 0;
}

/* Where a record would begin: nothing more, or the fill that firmware leaves behind the last one. */
static bool at_end(const struct cf_rd *rd)
{
	struct cf_view rest = cf_view_sub(rd->in, rd->pos, FILL_SIZE);
	static const uint8_t zeroes[FILL_SIZE];
	static const uint8_t ones[FILL_SIZE] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

	return rest.size == 0 || cf_view_eq(rest, cf_view(zeroes, FILL_SIZE)) ||
	       cf_view_eq(rest, cf_view(ones, FILL_SIZE));
}

int tcg_log_parse(struct cf_view in, struct tcg_log **ret, struct cf_err *err)
{
	struct cf_rd rd = { .in = in };
	int r;

	if (in.size > TCG_LOG_SIZE_MAX)
		return cf_fail(err, CF_RESOURCE_EXHAUSTED, "event log: %zu bytes, limit %u",
		               in.size, TCG_LOG_SIZE_MAX);

	cf_cleanup(tcg_log_freep) struct tcg_log *log = cf_zalloc(sizeof(*log));

	r = parse_header(log, &rd, err);
	while (r == 0 && !at_end(&rd))
		r = parse_event(log, &rd, err);
	if (r < 0)
		return r;
	*ret = cf_take(&log);
	return 0;
}

struct tcg_log *tcg_log_free(struct tcg_log *log)
{
	if (log)
		free(log->events);
	free(log);
	return NULL;
}

size_t tcg_log_count(const struct tcg_log *log)
{
	return log->count;
}

const struct tcg_event *tcg_log_at(const struct tcg_log *log, size_t i)
{
	return i < log->count ? &log->events[i] : NULL;
}

struct cf_view tcg_event_digest(const struct tcg_event *ev, enum tcg_alg alg)
{
	int i = bank_index(alg);

	return i < 0 ? (struct cf_view){ 0 } : ev->digests[i];
}

/* ---- replay ---- */

static int hash_of(enum tcg_alg alg, struct cf_err *err)
{
	int i = bank_index(alg);

	if (i < 0 || banks[i].hash < 0)
		return cf_fail(err, CF_UNIMPLEMENTED, "event log: no replay for bank %s",
		               tcg_alg_name(alg));
	return banks[i].hash;
}

int tcg_pcr_extend(enum tcg_alg alg, struct tcg_pcr *pcr, struct cf_view digest, struct cf_err *err)
{
	uint8_t both[2 * TCG_DIGEST_MAX];
	size_t size = tcg_alg_size(alg);
	int hash = hash_of(alg, err);

	if (hash < 0)
		return hash;
	if (digest.size != size)
		return cf_fail(err, CF_INVALID_ARGUMENT,
		               "event log: %zu bytes extend a %s register", digest.size,
		               tcg_alg_name(alg));
	memcpy(both, pcr->value, size);
	memcpy(both + size, digest.data, size);
	cf_hash((enum cf_hash_alg)hash, cf_view(both, 2 * size), pcr->value);
	pcr->extends++;
	return 0;
}

static void start_locality(const struct tcg_event *ev, struct tcg_pcrs *pcrs)
{
	if (ev->data.size == LOCALITY_SIG_SIZE + 1 &&
	    cf_view_eq(cf_view_sub(ev->data, 0, LOCALITY_SIG_SIZE),
	               cf_view(LOCALITY_SIG, LOCALITY_SIG_SIZE)) &&
	    pcrs->pcr[0].extends == 0)
		pcrs->pcr[0].value[pcrs->size - 1] = ev->data.data[LOCALITY_SIG_SIZE];
}

int tcg_log_replay(const struct tcg_log *log, enum tcg_alg alg, struct tcg_pcrs *ret,
                   struct cf_err *err)
{
	struct tcg_pcrs pcrs = { .size = tcg_alg_size(alg) };
	int r = hash_of(alg, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < log->count; i++) {
		const struct tcg_event *ev = &log->events[i];
		struct cf_view digest = tcg_event_digest(ev, alg);

		if (ev->type == TCG_EV_NO_ACTION) {
			start_locality(ev, &pcrs);
			continue;
		}
		if (digest.size == 0)
			return cf_fail(err, CF_INVALID_ARGUMENT,
			               "event log: event %zu has no %s digest", i,
			               tcg_alg_name(alg));
		r = tcg_pcr_extend(alg, &pcrs.pcr[ev->pcr], digest, err);
		if (r < 0)
			return r;
	}
	*ret = pcrs;
	return 0;
}

/* ---- what a digest covers ---- */

static bool is_variable(uint32_t type)
{
	return type == TCG_EV_EFI_VARIABLE_DRIVER_CONFIG || type == TCG_EV_EFI_VARIABLE_BOOT ||
	       type == 0x8000000cu || type == TCG_EV_EFI_VARIABLE_AUTHORITY;
}

/* UEFI_VARIABLE_DATA: GUID, u64 name length in characters, u64 data length, name, data. */
static bool variable_value(struct cf_view data, struct cf_view *ret)
{
	struct cf_rd rd = { .in = data };
	uint64_t name_chars, value_bytes;

	cf_rd_skip(&rd, 16);
	name_chars = cf_rd_u64le(&rd);
	value_bytes = cf_rd_u64le(&rd);
	if (rd.bad || name_chars > data.size / 2 || value_bytes > data.size)
		return false;
	cf_rd_skip(&rd, (size_t)name_chars * 2);
	*ret = cf_rd_bytes(&rd, (size_t)value_bytes);
	return !rd.bad && cf_rd_left(&rd) == 0;
}

int tcg_event_covered(const struct tcg_event *ev, enum tcg_alg alg, struct cf_view *ret,
                      bool *ret_covered, struct cf_err *err)
{
	struct cf_view digest = tcg_event_digest(ev, alg);
	struct cf_view part = ev->data;
	uint8_t sum[TCG_DIGEST_MAX];
	int hash = hash_of(alg, err);

	if (hash < 0)
		return hash;
	*ret = (struct cf_view){ 0 };
	*ret_covered = false;
	if (ev->type == TCG_EV_NO_ACTION || digest.size == 0)
		return 0;
	cf_hash((enum cf_hash_alg)hash, part, sum);
	if (!cf_view_eq(digest, cf_view(sum, digest.size))) {
		if (!is_variable(ev->type) || !variable_value(ev->data, &part))
			return 0;
		cf_hash((enum cf_hash_alg)hash, part, sum);
		if (!cf_view_eq(digest, cf_view(sum, digest.size)))
			return 0;
	}
	*ret = part;
	*ret_covered = true;
	return 0;
}

struct cf_view tcg_event_tag_text(const struct tcg_event *ev, uint32_t *ret_id)
{
	struct cf_rd rd = { .in = ev->data };
	struct cf_view text;

	*ret_id = cf_rd_u32le(&rd);
	text = cf_rd_bytes(&rd, cf_rd_u32le(&rd));
	if (ev->type != TCG_EV_EVENT_TAG || rd.bad || text.size == 0 ||
	    text.data[text.size - 1] != 0) {
		*ret_id = 0;
		return (struct cf_view){ 0 };
	}
	return cf_view_sub(text, 0, text.size - 1);
}
