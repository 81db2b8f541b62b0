#!/usr/bin/env bash
# Pods through containerd's CRI with driver "none": the whole path but the VM. Two containers of
# different images, pulled by the guest; logs, exec as the policy allows, stop, remove; nothing left.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/lib_pods.sh"
pods_open none 5451

pod=$(pods_pod one coffer)
expect "a pod runs" test -n "$pod"
cri_pull "$pods_registry/small:1" one >/dev/null
cri_pull "$pods_registry/twin:1" one >/dev/null
a=$(cri_create "$pod" one main "$pods_registry/small:1" 'command: "sh" command: "-c" command: "cat /hello; exec sleep 1000"')
cri_start "$a"
log_has() { grep -q "$2" "$pods_dir/podlog/$1.log"; }
expect "the first container's output is in its log" stage_wait 20 log_has main "hello from one"
b=$(cri_create "$pod" one side "$pods_registry/twin:1" 'command: "cat" command: "/hello"')
cri_start "$b"
expect "the second container ends" stage_wait 20 cri_exited "$b"
expect "with its own image's content" log_has side "hello from two"
expect_eq "and status 0" "$(cri_exit_code "$b")" ""
expect "the first still runs" test "$(cri_state "$a")" = 1

out=$(cri_exec "$a" cat /hello)
expect "an exec that the policy names runs" grep -q "hello from one" <<<"$out"
expect_not "an exec that it does not name is refused" cri_exec "$a" cat /etc/passwd 2>"$pods_dir/refused"
expect "with a reason that names the policy" grep -qi "policy" "$pods_dir/refused"

expect_eq "no layer byte on the host" "$(find "$pods_dir/ctd/root" "$pods_dir/snap" -type f -size +200k ! -name '*.db*' ! -name '*.sqlite*' | wc -l)" 0
cri_stop "$a"
expect "stopped" cri_exited "$a"
cri_remove "$a"
cri_remove "$b"
cri_pod_stop "$pod"
cri_pod_remove "$pod"
pods_nothing_left
stage_close
expect_eq "no process is left" "$(stage_pids)" ""
expect_eq "no mount is left" "$(stage_mounts)" ""
