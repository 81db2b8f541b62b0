/* fuzz: proto */
/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/tcg_log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum tcg_alg algs[] = { TCG_SHA1, TCG_SHA256, TCG_SHA384, TCG_SHA512,
		                             TCG_SM3 };
	cf_cleanup(tcg_log_freep) struct tcg_log *log = NULL;
	struct cf_err err;

	if (tcg_log_parse(cf_view(data, size), &log, &err) < 0)
		return 0;
	for (size_t a = 0; a < CF_ARRAY_LEN(algs); a++) {
		struct tcg_pcrs pcrs;

		if (tcg_log_replay(log, algs[a], &pcrs, &err) < 0)
			continue;
		for (size_t i = 0; i < tcg_log_count(log); i++) {
			const struct tcg_event *ev = tcg_log_at(log, i);
			struct cf_view part;
			bool covered;
			uint32_t id;

			tcg_event_tag_text(ev, &id);
			if (tcg_event_covered(ev, algs[a], &part, &covered, &err) < 0)
				abort(); /* a replay in this bank worked */
		}
	}
	return 0;
}
