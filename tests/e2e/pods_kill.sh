#!/usr/bin/env bash
# kill -9 of containerd, snapshotter and shim under a running pod (driver "none"): tasks go on where
# they can, and whatever was lost is cleaned up.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/lib_pods.sh"
pods_open none 5453
log_has() { grep -q "$2" "$pods_dir/podlog/$1.log"; }
running() { [ "$(cri_state "$1")" = 1 ]; }

pod=$(pods_pod one coffer)
cri_pull "$pods_registry/small:1" one >/dev/null
new_container() { # NAME [POD-NAME]
	cri_create "$pod" "${2:-one}" "$1" "$pods_registry/small:1" 'command: "sh" command: "-c" command: "cat /hello; exec sleep 1000"'
}
a=$(new_container main)
cri_start "$a"
expect "a container runs" stage_wait 20 log_has main "hello from one"

shim=$(pods_shim_pid)
stage_stop containerd KILL
expect "containerd killed: the shim goes on" kill -0 "$shim"
pods_containerd_again
expect "and knows the container" running "$a"
expect "an exec runs" grep -q "hello from one" <<<"$(cri_exec "$a" cat /hello)"
expect_eq "by the same shim" "$(pods_shim_pid)" "$shim"

stage_stop snapshotter KILL
pods_snapshotter_again
expect "a second container starts" cri_start "$(new_container again)"
expect "with its image" stage_wait 20 log_has again "hello from one"

kill -9 "$shim"
expect "shim killed: the pod is not ready" stage_wait 10 pods_not_ready "$pod"
expect "its containers have ended" stage_wait 10 cri_exited "$a"
cri_pod_stop "$pod"
cri_pod_remove "$pod"
pods_nothing_left

# ---- the same, five times in a row at other moments: while a pod is being made
killed=0
for delay in 0.1 0.2 0.25 0.3 0.35 0.4; do
	pods_pod "k$delay" coffer >"$pods_dir/made" 2>/dev/null &
	maker=$!
	sleep "$delay"
	victim=$(pgrep -f "containerd-shim-coffer-v2 -namespace k8s.io.*$pods_dir/ctd" | head -n 1 || true)
	[ -z "$victim" ] || { kill -9 "$victim" 2>/dev/null && killed=$((killed + 1)); } || true
	wait "$maker" || true
	p=$(cat "$pods_dir/made")
	[ -z "$p" ] || { cri_pod_stop "$p"; cri_pod_remove "$p"; }
done
expect "shims were killed while they made pods ($killed times)" test "$killed" -gt 0
# The next pod starts; it also takes away the socket that a "start" killed half-way left, of which
# containerd knows nothing.
pod=$(pods_pod last coffer)
a=$(new_container last last)
expect "the next pod's container starts" cri_start "$a"
expect "and runs" stage_wait 20 log_has last "hello from one"
pods_end "$pod"
pods_nothing_left
stage_close
expect_eq "no process is left" "$(stage_pids)" ""
expect_eq "no mount is left" "$(stage_mounts)" ""
