#!/usr/bin/env bash
# containerd 2, as Debian sid has it: pulls by its CRI plugin and by its transfer service, pods without
# and in a VM, killed daemons.
set -euo pipefail
. "$(dirname "$0")/lib_containerd.sh"
containerd_under sid COFFER_SWEEP_ROUNDS=15 -- e2e/snapshotter e2e/snapshotter_heal e2e/snapshotter_two e2e/cri_none e2e/cri_encrypted e2e/cri_qemu e2e/pods_kill long/pods_kill_sweep
containerd_under sid COFFER_CONTAINERD_TRANSFER=1 -- e2e/snapshotter e2e/snapshotter_heal e2e/cri_none e2e/cri_encrypted e2e/cri_qemu
