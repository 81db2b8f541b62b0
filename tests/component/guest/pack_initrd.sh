#!/usr/bin/env bash
# Packs a small initramfs around coffer-init for vm_test: pack_initrd.sh OUT KERNELDIR INIT STAND-IN
# KERNELDIR holds modules/NAME.ko and modules.dep ("NAME: DEP DEP"). STAND-IN is the test program
# that plays the image service in the guest.
set -euo pipefail
out=$1 kernel=$2 init=$3 standin=$4
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
mkdir -p "$tree"/{bin,usr/bin,usr/lib,lib/modules,lib64,etc,dev,proc,sys,run,tmp,root}
cp "$init" "$tree/usr/bin/coffer-init"
cp "$standin" "$tree/usr/bin/stand-in"
cp /bin/busybox "$tree/bin/busybox"
cp "$(command -v crun)" "$tree/usr/bin/crun"
ln -s usr/bin/coffer-init "$tree/init"
ln -s busybox "$tree/bin/sh"
printf '#!/bin/sh\nFX_SERVE=1 exec /usr/bin/stand-in image_service_stand_in\n' >"$tree/usr/bin/coffer-imaged"
chmod 0755 "$tree/usr/bin/coffer-imaged"
for f in "$init" "$standin" "$(command -v crun)"; do
	ldd "$f" | grep -oE '/[^ ]+\.so[^ ]*'
done | sort -u | while read -r lib; do
	mkdir -p "$tree$(dirname "$lib")"
	cp -L "$lib" "$tree$lib"
done
add() {
	local n=${1//-/_} d
	[ -f "$kernel/modules/$n.ko" ] || return 0
	! grep -qx "$n.ko" "$tree/lib/modules/order" 2>/dev/null || return 0
	for d in $(sed -n "s/^$n: //p" "$kernel/modules.dep"); do add "$d"; done
	cp "$kernel/modules/$n.ko" "$tree/lib/modules/"
	echo "$n.ko" >>"$tree/lib/modules/order"
}
for m in virtio_net virtio_blk virtio_rng vsock vmw_vsock_virtio_transport loop overlay erofs configfs tsm; do add $m; done
(cd "$tree" && find . -mindepth 1 | LC_ALL=C sort | cpio -o -H newc -R 0:0 --quiet) >"$out"
