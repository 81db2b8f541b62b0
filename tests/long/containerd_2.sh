#!/usr/bin/env bash
# containerd 2, as Debian sid has it: pulls by its CRI plugin and by its transfer service, pods without
# and in a VM, killed daemons.
set -euo pipefail
. "$(dirname "$0")/lib_containerd.sh"
containerd_under sid -- snapshotter cri_none cri_qemu pods_kill
containerd_under sid COFFER_CONTAINERD_TRANSFER=1 -- snapshotter cri_none cri_qemu
