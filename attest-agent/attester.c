/* SPDX-License-Identifier: Apache-2.0 */
#include "attest-agent/attester.h"

#include "base/str.h"

/* In the order in which they are looked for; sample proves nothing and stands last. */
static const struct attester_ops *const table[] = { &attester_tpm, &attester_sample };

static const struct attester_ops *find(const char *tee)
{
	for (size_t i = 0; i < CF_ARRAY_LEN(table); i++)
		if (cf_streq(table[i]->tee, tee))
			return table[i];
	return NULL;
}

static int open_one(const struct attester_ops *ops, const struct attester_config *config,
                    struct attester *ret, struct cf_err *err)
{
	void *self = NULL;
	int r;

	if (ops == &attester_sample && !config->allow_sample)
		return cf_fail(err, CF_PERMISSION_DENIED,
		               "the sample TEE proves nothing: allow_sample is not set");
	r = ops->open(config, &self, err);
	if (r < 0)
		return cf_wrap(err, r, "TEE %s", ops->tee);
	*ret = (struct attester){ ops, self };
	return 0;
}

int attester_open(const char *tee, const struct attester_config *config, struct attester *ret,
                  struct cf_err *err)
{
	cf_cleanup(cf_freep) char *looked_for = cf_strdup("");
	const struct attester_ops *ops = find(tee);

	if (tee && !ops)
		return cf_fail(err, CF_UNIMPLEMENTED, "TEE \"%s\" is not supported", tee);
	if (ops)
		return open_one(ops, config, ret, err);
	for (size_t i = 0; i < CF_ARRAY_LEN(table); i++) {
		struct cf_err one;

		if (open_one(table[i], config, ret, &one) == 0)
			return 0;
		char *more = cf_asprintf("%s%s%s", looked_for, *looked_for ? "; " : "", one.msg);
		free(looked_for);
		looked_for = more;
	}
	return cf_fail(err, CF_NOT_FOUND, "no TEE here: %s", looked_for);
}

void attester_close(struct attester *a)
{
	if (a->ops && a->ops->close)
		a->ops->close(a->self);
	*a = (struct attester){ 0 };
}
