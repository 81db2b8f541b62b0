/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/eval.h"
void explain_begin(struct policy_eval *ev)
{
	(void)ev;
}
void explain_drop(struct policy_eval *ev)
{
	(void)ev;
}
struct attempt *explain_open(struct policy_eval *ev, const struct clause *cl)
{
	(void)ev;
	(void)cl;
	return NULL;
}
void explain_close(struct policy_eval *ev, struct attempt *at, bool s)
{
	(void)ev;
	(void)at;
	(void)s;
}
void explain_failure(struct policy_eval *ev, struct frame *fr, const struct op *op)
{
	(void)ev;
	(void)fr;
	(void)op;
}
void explain_builtin_error(struct policy_eval *ev, const struct op *op, const char *t)
{
	(void)ev;
	(void)op;
	(void)t;
}
void explain_result(struct policy_eval *ev, const struct group *g, const struct pv *v, bool d)
{
	(void)ev;
	(void)g;
	(void)v;
	(void)d;
}

int policy_explain(const struct policy_eval *ev, bool as_json, struct cf_buf *out,
                   struct cf_err *err)
{
	(void)ev;
	(void)as_json;
	(void)out;
	return cf_fail(err, CF_UNIMPLEMENTED, "explain");
}
