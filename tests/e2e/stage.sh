#!/usr/bin/env bash
# The stage itself: containerd 1.6 with runc runs a pod from the stage's TLS registry, and afterwards
# nothing is left. If this fails, so will every other end-to-end test.
. "$(dirname "$0")/lib.sh"
e2e_root
e2e_need containerd ctr runc docker-registry skopeo umoci curl protoc busybox ip

e2e_stage stage
port=5443
peer_registry "$e2e_dir/registry" $port
image_pause "$e2e_dir/pause"
mkdir -p "$e2e_dir/more" && echo "hello from the stage" >"$e2e_dir/more/hello"
image_small "$e2e_dir/small" "$e2e_dir/more"
mkdir -p "$e2e_dir/ca" && cp "$e2e_dir/registry/tls/ca.pem" "$e2e_dir/ca/ca.crt"
image_push "$e2e_dir/pause" "$stage_ip:$port/pause:1" "$e2e_dir/ca"
image_push "$e2e_dir/small" "$stage_ip:$port/small:1" "$e2e_dir/ca"

mkdir -p "$e2e_dir/ctd"
peer_containerd_trust "$e2e_dir/ctd" "$stage_ip:$port" "$e2e_dir/ca/ca.crt"
peer_containerd "$e2e_dir/ctd" "$stage_ip:$port/pause:1"
expect_eq "CRI answers" "$(echo 'version: "v1"' | cri Runtime/Version | cri_field runtime_name)" containerd
pod=$(cri_pod one "" "$e2e_dir/podlog")
cri_pull "$stage_ip:$port/small:1" one >/dev/null
c=$(cri_create "$pod" one main "$stage_ip:$port/small:1" 'args: "cat" args: "/hello"')
cri_start "$c"
stage_wait 20 cri_exited "$c"
expect "the container's output is in its log" grep -q "hello from the stage" "$e2e_dir/podlog/main.log"
cri_pod_stop "$pod"
cri_pod_remove "$pod"
stage_close
expect_eq "no process is left" "$(stage_pids)" ""
expect_eq "no mount is left" "$(stage_mounts)" ""
