#!/usr/bin/env bash
# A pod in a VM through containerd's CRI: the guest image boots, gets the pod's address through a tap in
# its network namespace, pulls an image over that and runs it. Nothing is left.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/lib_pods.sh"
e2e_need qemu-system-x86_64
pods_guest_image
stage_dual=1
# Besides what the other tests do, a container may ask a server on the node over IPv6.
pods_default_policy() {
	printf 'version = 1\n[[container]]\nimage = "%s/small:1"\nargs = ["sh", "-c", "cat /hello; exec sleep 1000"]\n' "$pods_registry"
	printf 'exec = [["cat", "/hello"], ["wget", "-qO-", "http://[%s]:5480/word"]]\n' "$stage_ip6"
}
pods_open qemu 5452 "$(pods_qemu_config 'memory_mib = 768')"
log_has() { grep -q "$2" "$pods_dir/podlog/$1.log"; }

pod=$(pods_pod one coffer)
expect "a pod runs in a VM" test -n "$pod"
expect_eq "its machine is QEMU" "$(cat "/proc/$(pods_machine_pid)/comm")" qemu-system-x86
cri_pull "$pods_registry/small:1" one >/dev/null
a=$(cri_create "$pod" one main "$pods_registry/small:1" 'command: "sh" command: "-c" command: "cat /hello; exec sleep 1000"')
cri_start "$a"
expect "the container's output is in its log" stage_wait 30 log_has main "hello from one"
expect "an exec that the policy names runs" grep -q "hello from one" <<<"$(cri_exec "$a" cat /hello)"
expect_not "an exec that it does not name is refused" cri_exec "$a" cat /etc/passwd 2>"$pods_dir/refused"
if [ -n "$stage_ip6" ]; then
	mkdir -p "$pods_dir/www" && echo "a word over IPv6" >"$pods_dir/www/word"
	stage_bg www busybox httpd -f -p "[$stage_ip6]:5480" -h "$pods_dir/www"
	word() { cri_exec "$a" wget -qO- "http://[$stage_ip6]:5480/word" | grep -q "a word over IPv6"; }
	expect "the pod has its IPv6 address, and it works" stage_wait 10 word
else
	echo "skipped: IPv6, which this kernel lacks"
fi
cri_stop "$a"
cri_remove "$a"
cri_pod_stop "$pod"
cri_pod_remove "$pod"
pods_nothing_left
stage_close
expect_eq "no process is left" "$(stage_pids)" ""
expect_eq "no mount is left" "$(stage_mounts)" ""
