# Pods in measured VMs with a key service behind them: the parties of deploy/quickstart, without its
# story. Sourced after lib_pods.sh.
#
#   attested_open PORT POLICY [QEMU-ARG...]
#                               registry, key service, TPM maker, the encrypted and signed image $demo,
#                               initdata with POLICY (a function that prints policy.toml), reference
#                               values, containerd; the VMs get more arguments than the shim gives them
#                               (node_blob_cache_start, when the test has it, sets $node_blob_cache)
#   attested_pod NAME           a pod with the owner's initdata: prints its id
#   attested_released PATH      how often the key service gave that resource away
#   attested_sign REF           signs what the registry has there with the owner's key
#
# $owner, $registry, $node: each party's folder.
. "$e2e_top/deploy/lib/story.sh"
. "$e2e_top/deploy/lib/owner.sh"
. "$e2e_top/deploy/lib/node.sh"
fact() { :; }
proof() { :; }

attested_open() { # PORT POLICY-FUNCTION [QEMU-ARG...]
	e2e_root
	e2e_need containerd ctr jq docker-registry skopeo umoci curl protoc busybox ip mount.fuse openssl \
		qemu-system-x86_64 swtpm swtpm_setup
	[ -r /usr/share/OVMF/OVMF_CODE_4M.fd ] || e2e_skip "OVMF is not installed"
	pods_guest_image
	export PATH=$COFFER_BIN:$PATH
	e2e_stage attested
	guest=$pods_guest quick=true registry_port=$1
	owner=$e2e_dir/owner registry=$e2e_dir/registry node=$e2e_dir/node
	pods_dir=$e2e_dir pods_registry=$stage_ip:$1 pods_run=$node/run/coffer pods_ctd=$node/containerd
	mkdir -p "$owner" "$registry" "$node" "$pods_dir/podlog"
	node_registry
	owner_kbs_start
	node_tpm_ca
	owner_image
	"$2" >"$owner/policy.toml"
	owner_reference
	shift 2
	[ "$(type -t node_blob_cache_start)" != function ] || node_blob_cache_start
	attested_qemu "$@"
	node_containerd
}

attested_qemu() { # ARG...
	printf '#!/bin/sh\nexec qemu-system-x86_64 "$@" %s\n' "$*" >"$node/qemu"
	chmod 0755 "$node/qemu"
	node_qemu_lines="path = \"$node/qemu\""
}

attested_pod() { pods_pod "$1" coffer "$(node_annotation "$owner/initdata.toml")"; }
attested_released() {
	kbs_admin audit ls | jq -s --arg p "$1" '[.[] | select(.action == "resource-get" and .result == "released" and .object == $p)] | length'
}
attested_sign() { stage_in coffer image sign "$1" --key "$owner/sign.key" --cert-dir "$registry/ca" >/dev/null; }
attested_encrypt() { # LAYOUT REF PATH
	stage_in coffer image encrypt "oci:$1:t" "docker://$2" --key "kbs:///$3" --key-file "$owner/image.key" \
		--cert-dir "$registry/ca" >/dev/null
}
