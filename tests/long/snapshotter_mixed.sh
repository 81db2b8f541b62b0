#!/usr/bin/env bash
# A node as they are: ordinary pods with runc and overlayfs, and beside them pods of ours by their runtime
# handler alone. Their images, the pause image first of all, are on the node already, pulled by overlayfs,
# so containerd unpacks them for us when the pod is made, and the differ sees to it that nothing is
# written. containerd 1.7 and 2 of newer Debian suites (1.6 has one snapshotter for all runtimes).
#
#   tests/long/snapshotter_mixed.sh [SUITE...]
set -euo pipefail
. "$(dirname "$0")/lib_containerd.sh"
if [ -z "${MIXED_UNDER:-}" ]; then
	[ $# -gt 0 ] || set -- trixie sid
	for suite; do (containerd_under "$suite" "MIXED_UNDER=$suite" -- long/snapshotter_mixed); done
	exit 0
fi
. "$(dirname "$0")/../e2e/lib.sh"
. "$e2e_top/tests/e2e/lib_pods.sh"
e2e_need runc

pods_snapshotter() {
	stage_bg snapshotter "$COFFER_BIN/coffer-snapshotter" --state-dir "$pods_dir/snap" --listen "$pods_dir/snap.sock" \
		--containerd "$pods_ctd/containerd.sock"
	stage_wait 10 test -S "$pods_dir/snap.sock" || e2e_fail "the snapshotter did not start"
}
e2e_snapshotter_toml() { # SOCKET: the last table is a runtime's, its options follow
	cat <<C
[proxy_plugins.coffer]
  type = "snapshot"
  address = "$1"
[proxy_plugins.coffer-null]
  type = "diff"
  address = "$1"
  platform = "plan9/386"
[plugins."io.containerd.service.v1.diff-service"]
  default = ["coffer-null", "walking"]
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "overlayfs"
  default_runtime_name = "runc"
  disable_snapshot_annotations = false
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.coffer]
  runtime_type = "io.containerd.coffer.v2"
  snapshotter = "coffer"
  pod_annotations = ["io.coffer.*", "io.katacontainers.*"]
C
}
pods_images_more() {
	echo "layer two" >"$pods_dir/two-file"
	umoci --log error insert --image "$pods_dir/small:t" "$pods_dir/two-file" /two >/dev/null
	image_push "$pods_dir/small" "$pods_registry/small:1" "$pods_dir/ca"
}
pods_open none 5469

metric() { curl -s --unix-socket "$pods_dir/system.sock" http://x/metrics | sed -n "s/^$1 //p"; }
stored() { find "$pods_ctd/root/io.containerd.content.v1.content/blobs" -type f | sort; }
fetched() { grep -c 'GET .*/blobs/.*containerd/' "$stage_dir/log/registry.log" || true; }
# But users and groups, which are shown to containerd by name (the plain image has them in its /etc).
layer_bytes() { find "$pods_dir/snap/snapshots" "$pods_dir/snap/trash" "$pods_dir/snap/empty" -type f ! -path '*/identity/etc/passwd' ! -path '*/identity/etc/group' | wc -l; }
main() { # POD NAME: a container that runs
	local c
	c=$(cri_create "$1" "$2" "$2" "$pods_registry/small:1" 'command: "sh" command: "-c" command: "cat /hello; exec sleep 1000"') &&
		cri_start "$c" >/dev/null && printf '%s\n' "$c"
}
runs() { test "$(cri_state "$1")" = 1; }
log_has() { grep -q "$2" "$pods_dir/podlog/$1.log"; }
ours() { pods_snapshots_listed | grep -c Committed || true; }

plain=$(pods_pod plain runc)
expect "an ordinary pod runs" test -n "$plain"
cri_pull "$pods_registry/small:1" plain >/dev/null
p=$(main "$plain" plain)
expect "so does its container, with overlayfs" stage_wait 20 log_has plain "hello from one"
expect_eq "nothing of it is ours" "$(ours)" 0
stored >"$pods_dir/before"
before=$(fetched)

# ---- a pod of ours, of images that are there
pod=$(pods_pod ours coffer)
expect "a pod of ours runs" test -n "$pod"
expect "the pause image was unpacked for us by the differ" test "$(metric coffer_null_applied_total)" -ge 1
c=$(main "$pod" ours)
expect "so does its container" stage_wait 20 log_has ours "hello from one"
expect_eq "all layers are known to us: of pause, and two" "$(ours)" 3
expect_eq "each by the differ" "$(metric coffer_null_applied_total)" 3
expect_eq "the host fetched nothing for it" "$(fetched)" "$before"
stored >"$pods_dir/after"
expect "and has no new content" diff "$pods_dir/before" "$pods_dir/after"
expect_eq "no layer byte is below our root" "$(layer_bytes) $(metric coffer_host_layer_bytes_total)" "0 0"
expect "the ordinary container runs on" runs "$p"

# ---- our state is lost: nobody notices
stage_stop snapshotter KILL
rm -rf "$pods_dir/snap" "$pods_dir/snap.sock" "$pods_dir/system.sock"
pods_snapshotter_again
pod2=$(pods_pod again coffer)
c2=$(main "$pod2" again)
expect "after our state was lost a pod of ours runs" stage_wait 20 log_has again "hello from one"
expect "the other ones run on" runs "$c"
expect "of both kinds" runs "$p"

# ---- all end; the image goes, from both snapshotters
for x in "$c $pod" "$c2 $pod2" "$p $plain"; do
	read -r one of <<<"$x"
	cri_stop "$one" && cri_remove "$one" && pods_end "$of"
done
for i in small pause; do printf 'image { image: "%s" }' "$pods_registry/$i:1" | cri Image/RemoveImage >/dev/null; done
all_gone() { [ "$(ours)" = 0 ] && [ "$(ctr -a "$pods_ctd/containerd.sock" -n k8s.io snapshots ls | tail -n +2 | wc -l)" = 0 ]; }
expect "with the image its layers go" stage_wait 20 all_gone
pods_nothing_left
