/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A software TPM for one pod: swtpm on a socket in the sandbox's directory. Its state is a copy of a
 * provisioned one (tpm_state), freshly provisioned (tpm_setup_config: swtpm_setup with that
 * configuration makes an endorsement key and has it certified), or bare. It proves nothing against
 * this host: who runs the TPM can make it say anything.
 */
#include "vmm-glue/shim/vmm.h"

#define VTPM_SETUP_MS 60000

/* Worker thread. Starts swtpm listening at DIR/tpm; its pid joins @v's helpers. */
cf_must_use int vtpm_start(const struct vmm_spec *spec, struct vmm *v, struct cf_err *err);
