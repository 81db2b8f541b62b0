/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm-glue/guest/guest_gate.h"

#include "base/mem.h"
#include "base/str.h"

enum {
	EARLY = GUEST_READY | GUEST_SANDBOX,
	LIVE = GUEST_SANDBOX | GUEST_POD,
	ANY = GUEST_READY | LIVE | GUEST_GONE,
};

static const struct row {
	const char *method;
	unsigned phases;       /* where it is allowed; 0: never, the host has no business there */
	enum guest_phase next; /* 0: stays */
} rows[] = {
	{ "CreateSandbox", GUEST_READY, GUEST_SANDBOX },
	{ "DestroySandbox", GUEST_READY | LIVE, GUEST_GONE },
	/* The network is the host's to set up, but not to change under a running workload. */
	{ "UpdateInterface", EARLY, 0 },
	{ "UpdateRoutes", EARLY, 0 },
	{ "AddARPNeighbors", EARLY, 0 },
	{ "ListInterfaces", ANY, 0 },
	{ "ListRoutes", ANY, 0 },
	{ "CreateContainer", LIVE, GUEST_POD },
	{ "StartContainer", GUEST_POD, 0 },
	{ "RemoveContainer", LIVE, 0 },
	{ "ExecProcess", GUEST_POD, 0 },
	{ "SignalProcess", LIVE, 0 },
	{ "WaitProcess", GUEST_POD | GUEST_GONE, 0 },
	{ "UpdateContainer", GUEST_POD, 0 },
	{ "StatsContainer", GUEST_POD, 0 },
	{ "PauseContainer", GUEST_POD, 0 },
	{ "ResumeContainer", GUEST_POD, 0 },
	{ "WriteStdin", GUEST_POD, 0 },
	{ "ReadStdout", GUEST_POD | GUEST_GONE, 0 },
	{ "ReadStderr", GUEST_POD | GUEST_GONE, 0 },
	{ "CloseStdin", GUEST_POD, 0 },
	{ "TtyWinResize", GUEST_POD, 0 },
	{ "CopyFile", LIVE, 0 },
	{ "GetOOMEvent", ANY, 0 },
	{ "GetGuestDetails", ANY, 0 },
	{ "GetMetrics", ANY, 0 },
	{ "GetVolumeStats", LIVE, 0 },
	{ "GetDiagnosticData", GUEST_POD, 0 },
	{ "PrefetchImage", LIVE, 0 },
	{ "WatchPulls", LIVE, 0 },
	{ "ReseedRandomDev", ANY, 0 },
	{ "OnlineCPUMem", ANY, 0 },
	/* Initdata alone brings policies; time comes from a nonce or a secure clock. */
	{ "SetPolicy", 0, 0 },
	{ "SetGuestDateTime", 0, 0 },
	{ "MemHotplugByProbe", 0, 0 },
	{ "UpdateEphemeralMounts", 0, 0 },
};

int guest_gate_pass(struct guest_gate *g, const char *method, struct cf_err *err)
{
	const struct row *row = NULL;

	for (size_t i = 0; i < CF_ARRAY_LEN(rows) && !row; i++)
		if (cf_streq(rows[i].method, method))
			row = &rows[i];
	if (!row)
		return cf_fail(err, CF_UNIMPLEMENTED, "%s", method);
	if (g->phase == GUEST_UNTRUSTED)
		return cf_fail(err, CF_UNAVAILABLE,
		               "%s: this guest has no initdata and serves nothing", method);
	if (!row->phases)
		return cf_fail(err, CF_PERMISSION_DENIED, "%s is never the host's to ask", method);
	if (!(row->phases & g->phase))
		return cf_fail(err, CF_FAILED_PRECONDITION, "%s: %s", method,
		               g->phase == GUEST_READY  ? "there is no sandbox yet"
		               : g->phase == GUEST_GONE ? "the sandbox is gone"
		                                        : "too late, or not the first");
	if (row->next)
		g->phase = row->next;
	return 0;
}
