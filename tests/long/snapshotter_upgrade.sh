#!/usr/bin/env bash
# A live node changes from nydus-snapshotter to ours and back: the real one of Debian trixie, with its
# configuration, under a real containerd with pods that run. Nothing is drained, containerd is not
# restarted, its configuration stays. Under the system's containerd (1.6), then under those of newer
# Debian suites.
#
#   tests/long/snapshotter_upgrade.sh [system|SUITE...]
set -euo pipefail
. "$(dirname "$0")/lib_containerd.sh"
if [ -z "${UPGRADE_UNDER:-}" ]; then
	[ $# -gt 0 ] || set -- system trixie sid
	for suite; do
		if [ "$suite" = system ]; then
			env UPGRADE_UNDER=system bash "$0"
		else
			(containerd_under "$suite" "UPGRADE_UNDER=$suite" -- long/snapshotter_upgrade)
		fi
	done
	exit 0
fi
. "$(dirname "$0")/../e2e/lib.sh"
. "$e2e_top/tests/e2e/lib_pods.sh"
. "$(dirname "$0")/lib_debs.sh"
peers=$e2e_top/build/peers/nydus
e2e_root
debs_unpack trixie "$peers" nydus-snapshotter || e2e_skip "nydus-snapshotter cannot be had from apt's sources"
nydus=$peers/root/usr/bin
"$nydus/containerd-nydus-grpc" --version >/dev/null 2>&1 || e2e_skip "nydus-snapshotter does not run on this system"

nydus_config() {
	cat >"$pods_dir/nydus.toml" <<C
version = 1
root = "$pods_dir/snap"
address = "$pods_dir/snap.sock"
daemon_mode = "none"
[system]
enable = true
address = "$pods_dir/system.sock"
[daemon]
fs_driver = "proxy"
threads_number = 4
[log]
log_to_stdout = true
level = "info"
[metrics]
address = "127.0.0.1:$metrics_port"
[remote.auth]
enable_kubeconfig_keychain = false
[snapshot]
enable_kata_volume = true
[cache_manager]
gc_period = "24h"
C
}
metrics_port=9457
started() { curl -s --max-time 2 --http2-prior-knowledge --unix-socket "$pods_dir/snap.sock" http://x/ -o /dev/null; }
nydus_start() {
	nydus_config
	stage_bg nydus "$nydus/containerd-nydus-grpc" --config "$pods_dir/nydus.toml"
	stage_wait 10 started || e2e_fail "nydus-snapshotter did not start"
}
# Under the peer's name, with the peer's file: what a swapped binary does.
ours_start() {
	mkdir -p "$pods_dir/opt"
	ln -sf "$COFFER_BIN/coffer-snapshotter" "$pods_dir/opt/containerd-nydus-grpc"
	stage_bg snapshotter "$pods_dir/opt/containerd-nydus-grpc" --config "$pods_dir/nydus.toml" --log-to-stdout
	stage_wait 10 started || e2e_fail "ours did not start"
	stage_wait 10 pods_snapshots_listed || e2e_fail "containerd does not find it"
}
pods_snapshotter() { nydus_start; }

# containerd finds nydus-overlayfs there, and after the swap ours by the same name.
helper=$e2e_top/build/peers/helper-$UPGRADE_UNDER
rm -rf "$helper"
mkdir -p "$helper"
[ -z "${CONTAINERD_BIN:-}" ] || ln -s "$CONTAINERD_BIN"/* "$helper/"
export CONTAINERD_BIN=$helper
ln -sf "$nydus/nydus-overlayfs" "$helper/nydus-overlayfs"
pods_open none 5459

pod_with() { # NAME IMAGE
	local p c
	p=$(pods_pod "$1" coffer) && [ -n "$p" ] || return 1
	c=$(cri_create "$p" "$1" main "$pods_registry/$2:1" 'command: "sh" command: "-c" command: "cat /hello; exec sleep 1000"') || return 1
	cri_start "$c" >/dev/null && printf '%s %s\n' "$p" "$c"
}
runs() { test "$(cri_state "$1")" = 1; }
ids() { pods_snapshots_listed | tail -n +2 | sort; }
info() { curl -s --unix-socket "$pods_dir/system.sock" "http://x/v1/$1"; }

cri_pod_config pull "$pods_dir/podlog" "" >"$stage_dir/run/pod-pull.txt"
for i in small twin; do cri_pull "$pods_registry/$i:1" pull >/dev/null; done
read -r pod1 c1 <<<"$(pod_with before small)"
expect "a pod runs under nydus-snapshotter" runs "$c1"
# Made, not started: its root is asked for after the swap.
pod2=$(pods_pod waiting coffer)
c2=$(cri_create "$pod2" waiting main "$pods_registry/small:1" 'command: "sh" command: "-c" command: "cat /hello; exec sleep 1000"')
expect "a container is created there and not started" test -n "$c2"
ids >"$pods_dir/before"

# ---- the swap
expect_not "ours refuses while the other one runs" timeout 10 "$COFFER_BIN/coffer-snapshotter" \
	--config "$pods_dir/nydus.toml" --address "$pods_dir/other.sock" 2>"$pods_dir/refused"
expect "and says so" grep -q "stop nydus-snapshotter first" "$pods_dir/refused"
stage_stop nydus
sum=$(sha256sum <"$pods_dir/snap/metadata.db")
ln -sf "$COFFER_BIN/nydus-overlayfs-coffer" "$helper/nydus-overlayfs"
ours_start
expect "it says what it took over" grep -q "took over nydus-snapshotter's state" "$stage_dir/log/snapshotter.log"
expect "and which settings mean nothing" grep -q "keys=.*daemon.threads_number" "$stage_dir/log/snapshotter.log"
ids >"$pods_dir/after"
expect "every snapshot is still there, with parent and kind" diff "$pods_dir/before" "$pods_dir/after"
expect "the pod still runs" runs "$c1"
out=$(cri_exec "$c1" cat /hello)
expect "with its content" grep -q "hello from one" <<<"$out"
cri_start "$c2" >/dev/null
expect "the container that was created before starts" runs "$c2"
read -r pod3 c3 <<<"$(pod_with after small)"
expect "a new pod of a known image starts" runs "$c3"
expect "an image that is known pulls" cri_pull "$pods_registry/twin:1" pull
expect "nothing had to be healed" sh -c "curl -s --unix-socket $pods_dir/system.sock http://x/metrics | grep -qx 'coffer_resurrected_total 0'"
expect "metrics are where they were" stage_in sh -c "curl -s http://127.0.0.1:$metrics_port/v1/metrics | grep -q '^snapshotter_run_time_seconds '"
expect_eq "so is the system controller" "$(curl -s --unix-socket "$pods_dir/system.sock" http://x/api/v1/daemons)" "[]"
for x in "$c2 $pod2" "$c3 $pod3"; do
	read -r c p <<<"$x"
	cri_stop "$c" && cri_remove "$c" && pods_end "$p"
done
# The first pod's, which goes back with it: its sandbox and its container.
expect_eq "containers of both times are gone" "$(pods_snapshots)" 2
expect_eq "the other one's file was not touched" "$(sha256sum <"$pods_dir/snap/metadata.db")" "$sum"

# ---- and back, with no pod left of the time since: what the documentation says
stage_stop snapshotter
# Its own list of instances: up to 0.13.12 no restart of its own survives it.
rm "$pods_dir/snap/nydus.db"
nydus_start
expect "containerd finds nydus-snapshotter again" stage_wait 10 pods_snapshots_listed
expect "the first pod still runs" runs "$c1"
out=$(cri_exec "$c1" cat /hello)
expect "with its content" grep -q "hello from one" <<<"$out"
read -r pod4 c4 <<<"$(pod_with back small)"
expect "a pod starts under it" runs "$c4"
for x in "$c4 $pod4" "$c1 $pod1"; do
	read -r c p <<<"$x"
	cri_stop "$c" && cri_remove "$c" && pods_end "$p"
done
pods_nothing_left
