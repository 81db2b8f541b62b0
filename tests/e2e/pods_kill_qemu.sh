#!/usr/bin/env bash
# kill -9 of containerd, snapshotter, QEMU and shim, one at a time, under a running pod in a VM: it goes
# on where it can; it can always be stopped and removed; nothing is left; the next pod starts.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/lib_pods.sh"
e2e_need qemu-system-x86_64
pods_guest_image
pods_open qemu 5456 "$(pods_qemu_config 'memory_mib = 768')"
log_has() { grep -q "$2" "$pods_dir/podlog/$1.log"; }
running() { [ "$(cri_state "$1")" = 1 ]; }

# A pod NAME with one running container: $pod, $container.
pod_up() { # NAME
	pod=$(pods_pod "$1" coffer)
	cri_pull "$pods_registry/small:1" "$1" >/dev/null
	container_up "$1" "$1"
}
container_up() { # POD-NAME NAME
	container=$(cri_create "$pod" "$1" "$2" "$pods_registry/small:1" 'command: "sh" command: "-c" command: "cat /hello; exec sleep 1000"')
	cri_start "$container"
	expect "container $2 runs" stage_wait 30 log_has "$2" "hello from one"
}
works() { expect "an exec runs" grep -q "hello from one" <<<"$(cri_exec "$container" cat /hello)"; }

# ---- containerd, then the snapshotter: the machine does not notice
pod_up one
machine=$(pods_machine_pid) shim=$(pods_shim_pid)
stage_stop containerd KILL
expect "containerd killed: shim and machine go on" kill -0 "$shim" "$machine"
pods_containerd_again
expect "it knows the container" running "$container"
works
container_up one after-containerd
stage_stop snapshotter KILL
works
expect_not "snapshotter killed: no new container meanwhile" cri_create "$pod" one refused "$pods_registry/small:1" 2>/dev/null
pods_snapshotter_again
container_up one after-snapshotter
expect_eq "in the same machine by the same shim" "$(pods_machine_pid) $(pods_shim_pid)" "$machine $shim"
pods_end "$pod"
pods_nothing_left

# ---- QEMU
pod_up two
kill -9 "$(pods_machine_pid)"
expect "QEMU killed: the pod is not ready" stage_wait 10 pods_not_ready "$pod"
expect "its container has ended" stage_wait 10 cri_exited "$container"
pods_end "$pod"
pods_nothing_left

# ---- the shim
pod_up three
machine=$(pods_machine_pid)
kill -9 "$(pods_shim_pid)"
expect "shim killed: the machine ends with it" stage_wait 10 pods_pid_gone "$machine"
expect "the pod is not ready" stage_wait 10 pods_not_ready "$pod"
expect "its container has ended" stage_wait 10 cri_exited "$container"
pods_end "$pod"
pods_nothing_left

# ---- containerd while the machine boots, and the shim while containerd is away
pods_pod four coffer >"$pods_dir/made" 2>/dev/null &
maker=$!
stage_wait 20 pods_machine_up
stage_stop containerd KILL
wait "$maker" || true
shim=$(pods_shim_pid)
[ -z "$shim" ] || kill -9 "$shim"
pods_containerd_again
pods_end_all
pods_nothing_left
pod_up five
works
pods_end "$pod"
pods_nothing_left
stage_close
expect_eq "no process is left" "$(stage_pids)" ""
expect_eq "no mount is left" "$(stage_mounts)" ""
