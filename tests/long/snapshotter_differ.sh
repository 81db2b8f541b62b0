#!/usr/bin/env bash
# An image that another snapshotter pulled before is unpacked for ours: by the differ, no byte of a layer
# is written, and the ordinary pulls of the node go on. containerd 1.7 and 2 of newer Debian suites (1.6
# cannot take a differ over a socket).
#
#   tests/long/snapshotter_differ.sh [SUITE...]
set -euo pipefail
. "$(dirname "$0")/lib_debs.sh"
long_top=${COFFER_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}

if [ -z "${DIFFER_WITHIN:-}" ]; then
	[ $# -gt 0 ] || set -- trixie sid
	for suite; do
		d=$long_top/build/peers/$suite
		debs_unpack "$suite" "$d" containerd || { echo "skipped: containerd of $suite cannot be had from apt's sources"; exit 77; }
		"$d/root/usr/bin/containerd" --version || { echo "skipped: it does not run on this system"; exit 77; }
		DIFFER_WITHIN=1 CONTAINERD_BIN=$d/root/usr/bin bash "$0" "$suite"
	done
	exit 0
fi

. "$long_top/tests/e2e/lib.sh"
e2e_root
e2e_need docker-registry skopeo umoci curl protoc busybox ip mount.fuse
[ -x "$COFFER_BIN/coffer-snapshotter" ] || e2e_skip "coffer-snapshotter is not built"
PATH=$CONTAINERD_BIN:$PATH
e2e_stage "differ-$1"
state=$e2e_dir/state sock=$e2e_dir/snap.sock
stage_bg snapshotter "$COFFER_BIN/coffer-snapshotter" --state-dir "$state" --listen "$sock" \
	--control "$e2e_dir/system.sock" --containerd "$e2e_dir/ctd/containerd.sock"
stage_wait 10 test -S "$sock" || e2e_fail "the snapshotter did not start"

port=5461
peer_registry "$e2e_dir/registry" $port
mkdir -p "$e2e_dir/ca" "$e2e_dir/one/data" "$e2e_dir/two" "$e2e_dir/three" "$e2e_dir/ctd" "$e2e_dir/target"
cp "$e2e_dir/registry/tls/ca.pem" "$e2e_dir/ca/ca.crt"
head -c 3000000 /dev/urandom >"$e2e_dir/one/data/big"
head -c 1000000 /dev/urandom >"$e2e_dir/two/more"
head -c 500000 /dev/urandom >"$e2e_dir/three/most"
image_small "$e2e_dir/img" "$e2e_dir/one"
umoci --log error insert --image "$e2e_dir/img:t" "$e2e_dir/two/more" /data/more >/dev/null
umoci --log error insert --image "$e2e_dir/img:t" "$e2e_dir/three/most" /data/most >/dev/null
image=$stage_ip:$port/img:1
image_push "$e2e_dir/img" "$image" "$e2e_dir/ca"
image_pause "$e2e_dir/pause"
image_push "$e2e_dir/pause" "$stage_ip:$port/pause:1" "$e2e_dir/ca"

# The node pulls with overlayfs; the differ matches no platform, so that nothing but the list below takes it.
cat >"$e2e_dir/extra.toml" <<C
[proxy_plugins.coffer]
  type = "snapshot"
  address = "$sock"
[proxy_plugins.coffer-null]
  type = "diff"
  address = "$sock"
  platform = "plan9/386"
[plugins."io.containerd.service.v1.diff-service"]
  default = ["coffer-null", "walking"]
C
peer_containerd_trust "$e2e_dir/ctd" "$stage_ip:$port" "$e2e_dir/ca/ca.crt"
peer_containerd "$e2e_dir/ctd" "$stage_ip:$port/pause:1" "$e2e_dir/extra.toml"
c() { PATH=$COFFER_BIN:$PATH ctr -a "$e2e_dir/ctd/containerd.sock" -n k8s.io "$@"; }
ours() { c snapshots --snapshotter coffer ls | tail -n +2; }
metric() { curl -s --unix-socket "$e2e_dir/system.sock" http://x/metrics | sed -n "s/^$1 //p"; }
layer_bytes() { find "$state/snapshots" "$state/trash" "$state/empty" -type f -printf '%s\n' | awk '{ s += $1 } END { print s + 0 }'; }
no_layer_byte() { [ "$(layer_bytes)" = 0 ]; }
# What containerd does for a container of ours whose image it has: unpacks without labels, mounts.
unpack() {
	c images mount --snapshotter coffer "$image" "$e2e_dir/target" >"$e2e_dir/said" 2>&1 || { tail -n 1 "$e2e_dir/said"; return 1; }
	c images unmount --rm "$e2e_dir/target" >/dev/null
	c snapshots --snapshotter coffer rm "$e2e_dir/target" >/dev/null 2>&1 || true
	c leases rm "$e2e_dir/target" >/dev/null 2>&1 || true
}

cri_pod_config one "$e2e_dir/podlog" "" >"$stage_dir/run/pod-one.txt"
expect "the node pulls as ever, with overlayfs" cri_pull "$image" one
expect_eq "all its layers are there" "$(c snapshots ls | grep -c Committed)" 3
expect_eq "none of them was ours" "$(ours | wc -l)" 0
expect "the image is unpacked for us" unpack
expect_eq "every layer is known to us" "$(ours | grep -c Committed)" 3
expect_eq "by the differ" "$(metric coffer_null_applied_total)" 3
expect "no layer byte is below our root" stage_wait 10 no_layer_byte # the users that a mount was shown go with it
expect_eq "none was, ever" "$(metric coffer_host_layer_bytes_total)" 0

# ---- removed, and pulled again
drop_image() {
	printf 'image { image: "%s" }' "$image" | cri Image/RemoveImage
	stage_wait 20 nothing_left
}
nothing_left() { [ "$(ours | wc -l)" = 0 ] && [ "$(c snapshots ls | grep -c Committed)" = 0 ]; }
expect "the image goes, its snapshots with it" drop_image
expect "it is pulled again" cri_pull "$image" one
expect "and unpacked for us again" unpack
expect "no layer byte is below our root" stage_wait 10 no_layer_byte # the users that a mount was shown go with it

# ---- the blobs are gone, as where unpacked layers are discarded
for round in 1 2 3; do
	for n in $(ours | awk '{ print $1 }'); do c snapshots --snapshotter coffer rm "$n" >/dev/null 2>&1 || true; done
done
expect_eq "we know nothing" "$(ours | wc -l)" 0
for b in $(skopeo inspect --raw "oci:$e2e_dir/img:t" | tr ',{}' '\n\n\n' | sed -n 's/.*"digest":"\(sha256:[0-9a-f]*\)".*/\1/p' | tail -n 3); do
	c content rm "$b" >/dev/null
done
tries=0
until unpack; do
	tries=$((tries + 1))
	[ $tries -lt 8 ] || e2e_fail "it never comes to an end"
done
expect "it is unpacked all the same, after $tries tries that containerd failed" test $tries -le 3
expect_eq "every layer is known to us" "$(ours | grep -c Committed)" 3
expect "no layer byte is below our root" stage_wait 10 no_layer_byte # the users that a mount was shown go with it
