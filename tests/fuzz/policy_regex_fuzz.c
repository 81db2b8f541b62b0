/* fuzz: policy */
/* SPDX-License-Identifier: Apache-2.0 */
/* Pattern and text, a NUL between them. Spans lie in the text and nest in the match. */
#include "policy/regex.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cf_view all = { data, size };
	ssize_t cut = cf_view_find(all, 0);
	struct regex *re = NULL;
	struct regex_run run = { .budget = 2000000 };

	if (cut < 0 || regex_new(cf_view_sub(all, 0, (size_t)cut), &re, NULL) < 0)
		return 0;
	struct cf_view text = cf_view_sub(all, (size_t)cut + 1, size);
	struct regex_span *spans = cf_zalloc_n(re->group_count + 1, sizeof(*spans));
	bool found = regex_match(re, &run, text, 0, spans), is_over = run.is_over;
	run.budget = 2000000;
	bool again = regex_match(re, &run, text, 0, NULL);
	if (!is_over && !run.is_over && found != again)
		abort();
	for (uint32_t i = 0; found && i <= re->group_count; i++)
		if (spans[i].start != SIZE_MAX &&
		    (spans[i].start > spans[i].end || spans[i].end > text.size ||
		     spans[i].start < spans[0].start || spans[i].end > spans[0].end))
			abort();
	free(spans);
	regex_run_fini(&run);
	regex_free(re);
	return 0;
}
