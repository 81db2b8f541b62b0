#!/usr/bin/env bash
# containerd 1.7, as Debian trixie has it: pulls, pods without and in a VM, killed daemons.
set -euo pipefail
. "$(dirname "$0")/lib_containerd.sh"
containerd_under trixie COFFER_SWEEP_ROUNDS=15 -- e2e/snapshotter e2e/snapshotter_heal e2e/snapshotter_two e2e/cri_none e2e/cri_encrypted e2e/cri_qemu e2e/pods_kill long/pods_kill_sweep
