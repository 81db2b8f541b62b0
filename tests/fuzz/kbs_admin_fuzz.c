/* fuzz: kbs */
/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bodies and queries of administrative calls: policies, reference values, TPM roots, resources. The
 * first byte picks the route; what follows up to a newline is the query, the rest is the body.
 */
#include "base/log.h"
#include "kbs/service.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct {
	const char *method, *path;
} routes[] = {
	{ "POST", "/kbs/v0/resource-policy" },
	{ "POST", "/kbs/v0/attestation-policy" },
	{ "PUT", "/coffer/v1/policies/resource" },
	{ "PUT", "/coffer/v1/policies/attestation/default_cpu" },
	{ "POST", "/kbs/v0/reference-value" },
	{ "PUT", "/coffer/v1/references" },
	{ "PUT", "/coffer/v1/tpm-roots" },
	{ "PUT", "/coffer/v1/resources/a/b/c" },
	{ "GET", "/coffer/v1/policies" },
	{ "GET", "/coffer/v1/audit" },
};

static char dir[] = "/tmp/coffer-fuzz.XXXXXX";

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *at)
{
	(void)st;
	(void)flag;
	(void)at;
	return remove(path);
}

static void remove_all(void)
{
	nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static struct kbs *opened(void)
{
	static struct kbs *k;
	struct kbs_config config = { .payload_max = 2u << 20,
		                     .sessions_max = 16,
		                     .session_ms = 1000,
		                     .auth_rate = 1,
		                     .auth_burst = 1 };

	if (k)
		return k;
	cf_log_set_level(CF_LOG_ERROR);
	if (!mkdtemp(dir))
		abort();
	atexit(remove_all);
	config.state_dir = cf_strdup(dir);
	config.tpm_roots = cf_zalloc(sizeof(*config.tpm_roots));
	if (kbs_open(&config, &k, NULL) < 0)
		abort();
	return k;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cf_view rest = { data + 1, size - 1 };
	struct kbs_call c = { .is_local = true };
	ssize_t end;

	if (size < 1)
		return 0;
	c.method = cf_view_str(routes[data[0] % CF_ARRAY_LEN(routes)].method);
	c.path = cf_view_str(routes[data[0] % CF_ARRAY_LEN(routes)].path);
	end = cf_view_find(rest, '\n');
	c.query = cf_view_sub(rest, 0, end < 0 ? 0 : (size_t)end);
	c.body = cf_view_sub(rest, (size_t)(end + 1), rest.size - (size_t)(end + 1));
	kbs_call_run(opened(), &c);
	if (c.reply.status < 200 || c.reply.status == 500)
		abort();
	kbs_call_fini(&c);
	return 0;
}
