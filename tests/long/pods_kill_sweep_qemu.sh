#!/usr/bin/env bash
# The sweep of pods_kill_sweep.sh with pods in VMs.
COFFER_SWEEP_DRIVER=qemu COFFER_SWEEP_ROUNDS=${COFFER_SWEEP_ROUNDS:-15} exec bash "$(dirname "$0")/pods_kill_sweep.sh"
