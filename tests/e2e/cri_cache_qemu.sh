#!/usr/bin/env bash
# The node's cache of layers under pods in VMs: cri_cache.sh over virtio-serial ports.
cache_driver=qemu
. "$(dirname "$0")/cri_cache.sh"
