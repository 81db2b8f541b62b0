/* fuzz: base */
/* SPDX-License-Identifier: Apache-2.0 */
/* Pattern and text, a NUL between them. Spans lie in the text and nest in the match. */
#include "base/regex.h"

#define STEPS 2000000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cf_view all = { data, size };
	ssize_t cut = cf_view_find(all, 0);
	struct cf_regex *re = NULL;
	struct cf_regex_run run = { .steps_left = STEPS };

	if (cut < 0 || cf_regex_new(cf_view_sub(all, 0, (size_t)cut), &re, NULL) < 0)
		return 0;
	struct cf_view text = cf_view_sub(all, (size_t)cut + 1, size);
	uint32_t groups = cf_regex_groups(re);
	struct cf_regex_span *spans = cf_zalloc_n(groups + 1, sizeof(*spans));
	bool found = cf_regex_match(re, &run, text, 0, spans), is_over = run.is_over;

	run.steps_left = STEPS;
	bool again = cf_regex_match(re, &run, text, 0, NULL);

	if (!is_over && !run.is_over && found != again)
		abort();
	for (uint32_t i = 0; found && i <= groups; i++)
		if (spans[i].start != SIZE_MAX &&
		    (spans[i].start > spans[i].end || spans[i].end > text.size ||
		     spans[i].start < spans[0].start || spans[i].end > spans[0].end))
			abort();
	free(spans);
	cf_regex_run_fini(&run);
	cf_regex_free(re);
	return 0;
}
