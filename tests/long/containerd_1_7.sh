#!/usr/bin/env bash
# containerd 1.7, as Debian trixie has it: pulls, pods without and in a VM, killed daemons.
set -euo pipefail
. "$(dirname "$0")/lib_containerd.sh"
containerd_under trixie -- snapshotter cri_none cri_qemu pods_kill
