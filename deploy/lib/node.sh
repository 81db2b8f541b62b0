# The node, which nobody trusts: registry, TPM maker, containerd, snapshotter, shim. Everything it has
# lies in $node and $registry.

registry_port=5000
guest_memory=512

node_registry() {
	peer_registry "$registry" $registry_port
	mkdir -p "$registry/ca"
	cp "$registry/tls/ca.pem" "$registry/ca/ca.crt"
}

# swtpm_setup makes each pod's TPM; this CA certifies their endorsement keys.
node_tpm_ca() { # [FOLDER]
	local d=${1:-$node/tpm}
	peer_tpm_make "$d"
	fact "TPM maker's CA: $(openssl x509 -in "$d/ca/issuercert.pem" -noout -subject | sed 's/^subject=//')"
}

# A runtime handler NAME whose VMs differ from the good ones by the TPM's maker, by kernel arguments,
# by more lines in [qemu].
node_shim_config() { # NAME TPM-FOLDER KERNEL-PARAMS [QEMU-LINES]
	local cache=''
	[ -z "${node_blob_cache:-}" ] || cache="blob_cache = \"$node_blob_cache\""
	cat >"$node/shim-$1.toml" <<C
driver = "qemu"
run_dir = "$node/run/$1"
$cache
[timeouts]
boot_ms = 120000
create_ms = 240000
[guest]
kernel = "$guest/vmlinuz"
initrd = "$guest/initrd.img"
cmdline = "$guest/cmdline"
kernel_params = "$3"
[qemu]
firmware = "/usr/share/OVMF/OVMF_CODE_4M.fd"
firmware_vars = "/usr/share/OVMF/OVMF_VARS_4M.fd"
tpm = "swtpm"
console = true
tpm_setup_config = "$2/setup.conf"
memory_mib = $guest_memory
memory_overhead_mib = 0
${4:-}
C
	cat >>"$node/containerd-extra.toml" <<C
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.$1]
  runtime_type = "io.containerd.coffer.v2"
  pod_annotations = ["io.katacontainers.*", "io.coffer.*"]
  container_annotations = ["io.katacontainers.*", "io.coffer.*"]
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.$1.options]
    ConfigPath = "$node/shim-$1.toml"
C
}

node_containerd() {
	cat >"$node/containerd-extra.toml" <<C
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "coffer"
  default_runtime_name = "coffer"
  disable_snapshot_annotations = false
[proxy_plugins.coffer]
  type = "snapshot"
  address = "$node/snapshotter.sock"
C
	node_shim_config coffer "$node/tpm" '' "${node_qemu_lines:-}"
	if ! $quick; then
		peer_tpm_make "$node/other-tpm"
		node_shim_config attack-cmdline "$node/tpm" 'coffer.debug=1'
		node_shim_config attack-tpm "$node/other-tpm" ''
	fi
	stage_bg snapshotter coffer-snapshotter --state-dir "$node/snapshotter" --listen "$node/snapshotter.sock"
	stage_wait 10 test -S "$node/snapshotter.sock" || stage_die "the snapshotter did not start"
	image_pause "$owner/pause"
	image_push "$owner/pause" "$stage_ip:$registry_port/pause:1" "$registry/ca"
	mkdir -p "$node/containerd"
	peer_containerd_trust "$node/containerd" "$stage_ip:$registry_port" "$registry/tls/ca.pem"
	peer_containerd "$node/containerd" "$stage_ip:$registry_port/pause:1" "$node/containerd-extra.toml"
}

# The annotation of an initdata file, as a pod would carry it.
node_annotation() { # INITDATA
	printf 'annotations { key: "io.katacontainers.config.hypervisor.cc_init_data" value: "%s" }' \
		"$(gzip -9nc "$1" | base64 -w0)"
}

node_honest_pod() {
	local log=$node/logs
	pod=$(cri_pod good coffer "$log" "$(node_annotation "$owner/initdata.toml")")
	cri_pull "$demo" good >/dev/null
	main=$(cri_create "$pod" good main "$demo")
	cri_start "$main" >/dev/null
	stage_wait 30 grep -q ready "$log/main.log" || stage_die "the container said nothing: $(tail -n 3 "$log/main.log")"
	story_output=$(sed -n 's/^[^ ]* stdout F //p' "$log/main.log" | head -n 1)
	fact "the program in the guest says:  $story_output"
	fact "the owner knows:                $(sha256sum "$owner/tree/secret" | cut -c1-64)"
	grep -q "$(sha256sum "$owner/tree/secret" | cut -c1-64)" <<<"$story_output" || story_ok=false
	owner_verdict
	node_layer_bytes
	fact "layer bytes on the host: $story_layer_bytes"
	[ "$story_layer_bytes" = 0 ] || story_ok=false
	proof 0 "grep -rl the-owl-flies $node | wc -l"
}

# Bytes of the image's layers in containerd's content store and below the snapshotter.
node_layer_bytes() {
	local d sum=0 f
	for d in $(stage_in skopeo inspect --raw --cert-dir "$registry/ca" "docker://$demo" | jq -r '.layers[].digest'); do
		f=$node/containerd/root/io.containerd.content.v1.content/blobs/sha256/${d#sha256:}
		[ ! -e "$f" ] || sum=$((sum + $(stat -c %s "$f")))
	done
	story_layer_bytes=$((sum + $(find "$node/snapshotter" -type f -path '*/snapshots/*' -printf '%s\n' | awk '{ s += $1 } END { print s + 0 }')))
}

# Every pod goes the ordinary way; what does not go is ended with the stage.
node_end() {
	local id
	[ -n "${cri_socket:-}" ] && [ -S "${cri_socket:-}" ] || return 0
	for id in $(cri Runtime/ListPodSandbox </dev/null 2>/dev/null | sed -n 's/^  id: "\(.*\)"/\1/p'); do
		cri_pod_stop "$id" >/dev/null 2>&1 || true
		cri_pod_remove "$id" >/dev/null 2>&1 || true
	done
}
