/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * PID 1 of a machine: from the kernel's hand-over to a place where containers can run, and the end.
 * The initramfs is trusted: it is measured.
 */
#include "base/err.h"

#define GUEST_MODULES_ORDER "/lib/modules/order" /* file names below /lib/modules, one a line */

/* Gives 0, 1 and 2 a place when the kernel left them closed. First thing in main(). */
void guest_boot_stdio(void);
/* Is this process the first one of the machine, and not of some pid namespace? Mounts /proc. */
bool guest_boot_is_first(void);
/*
 * Kernel file systems, a root that containers can pivot away from, modules, cgroups, loopback, the
 * names of the virtio-serial ports. What a kernel lacks is logged and passed over.
 */
cf_must_use int guest_boot(struct cf_err *err);
/* Does not return. */
_Noreturn void guest_boot_end(void);

/* "agent.channel.0" → "/dev/vport0p1"; the caller frees; NULL: no such port. */
char *guest_boot_port(const char *name);
