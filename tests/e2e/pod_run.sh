#!/usr/bin/env bash
# coffer pod run: one VM without containerd. The container's words and status are the command's; what
# the guest's policy forbids is refused with its reason; nothing is left.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/lib_pods.sh"
e2e_root
e2e_need qemu-system-x86_64 docker-registry skopeo umoci busybox ip
pods_guest_image
e2e_stage pod-run
pods_dir=$e2e_dir pods_run=$e2e_dir/s pods_registry=$stage_ip:5454 pods_driver=qemu
peer_registry "$pods_dir/registry" 5454
mkdir -p "$pods_dir/ca" && cp "$pods_dir/registry/tls/ca.pem" "$pods_dir/ca/ca.crt"
pods_images
pods_initdata "version = 1
[[container]]
image = \"$pods_registry/small:1\"
args = [\"sh\", \"-c\", \"cat /hello; exit 7\"]"
pods_shim_config "$(pods_qemu_config 'memory_mib = 768')"

pod_run() { stage_in "$COFFER_BIN/coffer" pod run --config "$pods_dir/shim.toml" --cert-dir "$pods_dir/ca" "$@"; }
status=0
out=$(pod_run "$pods_registry/small:1" -- sh -c 'cat /hello; exit 7') || status=$?
expect_eq "the container's output" "$out" "hello from one"
expect_eq "the container's status" "$status" 7
status=0
pod_run "$pods_registry/small:1" -- cat /etc/passwd >"$pods_dir/out" 2>"$pods_dir/refused" || status=$?
expect_eq "other arguments are refused" "$status" 7
expect "with the policy's reason" grep -q "policy.toml.*args" "$pods_dir/refused"
status=0
pod_run "$pods_registry/nothing:1" >"$pods_dir/out" 2>"$pods_dir/missing" || status=$?
expect_eq "an image that is not there: not found" "$status" 4
expect_eq "no machine is left" "$(pgrep -f "coffer-run-.*qmp" || true)" ""
expect_eq "no directory is left" "$(ls -d /run/coffer-run-* 2>/dev/null || true)" ""
stage_close
expect_eq "no process is left" "$(stage_pids)" ""
