#!/usr/bin/env bash
# Two containerds on one node, one snapshotter process: each has an instance with a state directory of
# its own, chosen by the name of its proxy plugin. A collection of the one leaves the other alone.
. "$(dirname "$0")/lib.sh"
e2e_root
e2e_need containerd ctr docker-registry skopeo umoci curl protoc busybox ip mount.fuse openssl jq
[ -x "$COFFER_BIN/coffer-snapshotter" ] || e2e_skip "coffer-snapshotter is not built"

e2e_stage snap-two
sock=$e2e_dir/snap.sock port=5461
cat >"$e2e_dir/snapshotter.toml" <<C
root = "$e2e_dir/state"
address = "$sock"
[[instance]]
name = "second"
root = "$e2e_dir/state-second"
C
stage_bg snapshotter "$COFFER_BIN/coffer-snapshotter" --config "$e2e_dir/snapshotter.toml"
stage_wait 10 test -S "$sock" || e2e_fail "the snapshotter did not start"

peer_registry "$e2e_dir/registry" $port
mkdir -p "$e2e_dir/ca" "$e2e_dir/one/data" && cp "$e2e_dir/registry/tls/ca.pem" "$e2e_dir/ca/ca.crt"
head -c 500000 /dev/urandom >"$e2e_dir/one/data/big"
image_small "$e2e_dir/img" "$e2e_dir/one"
image_push "$e2e_dir/img" "$stage_ip:$port/img:1" "$e2e_dir/ca"
image_pause "$e2e_dir/pause"
image_push "$e2e_dir/pause" "$stage_ip:$port/pause:1" "$e2e_dir/ca"

containerd_named() { # NAME: in a directory of that name, its processes as containerd-NAME
	cat >"$e2e_dir/$1.toml" <<C
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "$1"
  disable_snapshot_annotations = false
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[proxy_plugins.$1]
  type = "snapshot"
  address = "$sock"
C
	mkdir -p "$e2e_dir/$1"
	peer_containerd_trust "$e2e_dir/$1" "$stage_ip:$port" "$e2e_dir/ca/ca.crt"
	peer_containerd "$e2e_dir/$1" "$stage_ip:$port/pause:1" "$e2e_dir/$1.toml"
	mv "$stage_dir/run/containerd.pid" "$stage_dir/run/containerd-$1.pid"
}
containerd_named first
containerd_named second
cri_pod_config one "$e2e_dir/podlog" "" >"$stage_dir/run/pod-one.txt"
on() { cri_socket=$e2e_dir/$1/containerd.sock; }
known() { curl -s --unix-socket "$e2e_dir/system.sock" "http://x/v1/snapshots?kind=committed" | jq "[.snapshots[] | select(.instance == \"$1\")] | length"; }

on first
expect "the first pulls" cri_pull "$stage_ip:$port/img:1" one
layers=$(known "")
expect "into the first state directory" test "$layers" -ge 1
expect_eq "the second knows nothing of it" "$(known second)" 0
on second
expect "the second pulls the same image" cri_pull "$stage_ip:$port/img:1" one
expect_eq "into its own" "$(known second)" "$layers"
on first
printf 'image { image: "%s" }' "$stage_ip:$port/img:1" | cri Image/RemoveImage
gone() { [ "$(known "")" = 0 ]; }
expect "the first's collection takes its layers away" stage_wait 20 gone
expect_eq "and leaves the second's alone" "$(known second)" "$layers"
on second
expect "whose image is still whole" sh -c "ctr -a '$e2e_dir/second/containerd.sock' -n k8s.io snapshots --snapshotter second ls | grep -q Committed"
expect_eq "no layer byte in either" "$(find "$e2e_dir/state" "$e2e_dir/state-second" -type f -size +200k | wc -l)" 0
expect_not "a third process on one of the states is refused" "$COFFER_BIN/coffer-snapshotter" \
	--state-dir "$e2e_dir/state-second" --listen "$e2e_dir/third.sock" --control none 2>/dev/null
stage_stop containerd-first
stage_stop containerd-second
stage_stop snapshotter
