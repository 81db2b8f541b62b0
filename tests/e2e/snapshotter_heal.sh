#!/usr/bin/env bash
# The snapshotter loses its state while containerd keeps its own: wiped under running pods, and again
# over a reboot. The next pod starts, the running one goes on and ends cleanly, nobody repairs anything.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/lib_pods.sh"
# Three layers, so that there are parents to be lost as well.
pods_default_policy() {
	printf 'version = 1\n[[container]]\nimage = "%s"\nargs = ["sh", "-c", "cat /hello; exec sleep 1000"]\nexec = [["cat", "/hello"]]\n' "$pods_registry/deep:1"
}
pods_images_more() {
	local n
	cp -a "$pods_dir/small" "$pods_dir/deep"
	for n in 2 3; do
		echo "layer $n" >"$pods_dir/layer$n"
		umoci --log error insert --image "$pods_dir/deep:t" "$pods_dir/layer$n" "/layer$n" >/dev/null
	done
	image_push "$pods_dir/deep" "$pods_registry/deep:1" "$pods_dir/ca"
}
pods_open none 5457

metric() { curl -s --unix-socket "$pods_dir/system.sock" http://x/metrics | sed -n "s/^$1 //p"; }
pod_with() { # NAME: a pod and a container that runs
	local p c
	p=$(pods_pod "$1" coffer) && [ -n "$p" ] || return 1
	c=$(cri_create "$p" "$1" main "$pods_registry/deep:1" 'command: "sh" command: "-c" command: "cat /hello; exec sleep 1000"') || return 1
	cri_start "$c" >/dev/null && printf '%s %s\n' "$p" "$c"
}
runs() { test "$(cri_state "$1")" = 1; }

cri_pod_config pull "$pods_dir/podlog" "" >"$stage_dir/run/pod-pull.txt"
cri_pull "$pods_registry/deep:1" pull >/dev/null
read -r pod1 c1 <<<"$(pod_with first)"
expect "a pod runs" runs "$c1"
known=$(pods_snapshots_listed | grep -c Committed)

# ---- wiped under a running pod, and with a container that was created and not started
podw=$(pods_pod waiting coffer)
cw=$(cri_create "$podw" waiting main "$pods_registry/deep:1" 'command: "sh" command: "-c" command: "cat /hello; exec sleep 1000"')
stage_stop snapshotter KILL
rm -rf "$pods_dir/snap" "$pods_dir/snap.sock" "$pods_dir/system.sock"
pods_snapshotter_again
read -r pod2 c2 <<<"$(pod_with second)"
expect "a new pod of the same image starts" runs "$c2"
expect "layers were taken up again" test "$(metric coffer_resurrected_total)" -ge 1
expect "the old pod still runs" runs "$c1"
cri_start "$cw" >/dev/null
expect "the container that was created before starts" runs "$cw"
cri_stop "$cw" && cri_remove "$cw" && pods_end "$podw"
out=$(cri_exec "$c1" cat /hello)
expect "with its content" grep -q "hello from one" <<<"$out"
expect "an image that is known pulls again" cri_pull "$pods_registry/deep:1" pull
expect "the old pod stops" cri_stop "$c1"
expect "and is removed" cri_remove "$c1"
expect "pod and all" pods_end "$pod1"

# ---- wiped under a running snapshotter: it ends, for whoever manages services to start it anew
rm -rf "$pods_dir/snap"/*
expect "it notices that its state was taken away" stage_wait 10 stage_gone snapshotter
expect "and says so" grep -q "the state was taken away" "$stage_dir/log/snapshotter.log"
rm -f "$pods_dir/system.sock"
pods_snapshotter_again
read -r pod5 c5 <<<"$(pod_with fifth)"
expect "the next pod starts" runs "$c5"
cri_stop "$c5" && cri_remove "$c5" && pods_end "$pod5"

# ---- reboot: both are gone, so is /run, and the state directory was lost with its disk
expect "the second stops too" cri_stop "$c2"
cri_remove "$c2" && pods_end "$pod2"
stage_stop containerd KILL
stage_stop snapshotter KILL
rm -rf "$pods_dir/snap" "$pods_dir/snap.sock" "$pods_dir/system.sock" "$pods_ctd/state"
pods_snapshotter
pods_containerd_again
expect "containerd finds the snapshotter" stage_wait 10 pods_snapshots_listed
read -r pod3 c3 <<<"$(pod_with third)"
expect "after the reboot a pod starts" runs "$c3"
expect "as many layers as before are known to containerd" test "$(pods_snapshots_listed | grep -c Committed)" -ge "$known"
expect_eq "no layer byte on the host" "$(find "$pods_dir/snap" -type f -size +200k ! -name '*.sqlite*' | wc -l)" 0

# ---- the same offline: what containerd knows is put back before anybody asks
cri_stop "$c3" && cri_remove "$c3" && pods_end "$pod3"
stage_stop containerd
expect_not "fsck refuses while the snapshotter runs" "$COFFER_BIN/coffer-snapshotter" fsck \
	--containerd-meta "$pods_ctd/root/io.containerd.metadata.v1.bolt/meta.db" --state-dir "$pods_dir/snap" 2>/dev/null
stage_stop snapshotter
rm -rf "$pods_dir/snap"
fsck() { "$COFFER_BIN/coffer-snapshotter" fsck --containerd-meta "$pods_ctd/root/io.containerd.metadata.v1.bolt/meta.db" --state-dir "$pods_dir/snap" "$@"; }
expect_not "fsck sees what is missing" fsck
expect "fsck puts it back" fsck --repair
expect "and then they agree" fsck
pods_snapshotter
pods_containerd_again
expect "containerd finds the snapshotter" stage_wait 10 pods_snapshots_listed
read -r pod4 c4 <<<"$(pod_with fourth)"
expect "a pod starts" runs "$c4"
expect_eq "nothing had to be taken up" "$(metric coffer_resurrected_total)" 0
cri_stop "$c4" && cri_remove "$c4" && pods_end "$pod4"
pods_nothing_left
