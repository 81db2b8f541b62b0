#!/usr/bin/env bash
# Pods in measured VMs through containerd's CRI. Two containers: an encrypted, signed image, whose key
# the key service releases to this guest, and a plain one. Then what a registry and a node can change
# under a running pod: a moved tag, a changed config, the plain and the encrypted twin of one image. The
# node has a cache of layers, which gets ciphertext alone and spares the second pod the registry. The
# guest's clock is in 2020: freshness comes from nonces, trust from what initdata names.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/lib_pods.sh"
. "$(dirname "$0")/lib_attested.sh"

twin_path=default/image-key/twin
policy() {
	cat <<C
version = 1
[[container]]
image = "$demo"
encrypted = "required"
exec = [["/bin/busybox", "date", "+%Y"]]
C
	printf '[[container]]\nimage = "%s"\n' "$pods_registry/plain:1" "$pods_registry/plain:config" "$pods_registry/twin:plain"
	printf '[[container]]\nimage = "%s"\nencrypted = "required"\n' "$pods_registry/twin:encrypted" "$pods_registry/twin:dressed"
}

node_blob_cache_start() { # once the stage is there
	node_blob_cache=$node/blobcache/sock
	stage_bg blobcache coffer-blobcache --listen "$node_blob_cache" --state-dir "$node/blobcache/state"
	stage_wait 10 test -S "$node_blob_cache"
}
attested_open 5455 policy -rtc base=2020-01-01T00:00:00

app() { # NAME WORDS: an image that prints WORDS and waits
	mkdir -p "$owner/$1-tree"
	printf '#!/bin/sh\necho "%s"\nexec sleep 600\n' "$2" >"$owner/$1-tree/app"
	chmod 0755 "$owner/$1-tree/app"
	image_small "$owner/$1" "$owner/$1-tree"
	umoci --log error config --image "$owner/$1:t" --config.cmd /app
}
plain_push() { # LAYOUT TAG
	image_push "$owner/$1" "$pods_registry/$2" "$registry/ca"
	attested_sign "$pods_registry/$2"
}
log_has() { grep -q "$2" "$pods_dir/podlog/$1.log"; }
start() { # NAME IMAGE
	container=$(cri_create "$pod" "$pod_name" "$1" "$2") && cri_start "$container"
}
refused() { # NAME IMAGE PATTERN
	! start "$1" "$2" 2>"$pods_dir/refused" && grep -qiE "$3" "$pods_dir/refused" || { cat "$pods_dir/refused" >&2; return 1; }
}
pull() { cri_pull "$1" "$pod_name" >/dev/null; }
layers() { # REF: the digests of its layers
	stage_in skopeo inspect --raw --cert-dir "$registry/ca" "docker://$1" | jq -r '.layers[].digest'
}
gets() { # REF: how often the registry was asked for its layers
	grep -cE "\"GET /v2/[^\"]*/blobs/($(layers "$1" | paste -sd'|'))" "$stage_dir/log/registry.log" || true
}
cached() { ls "$node/blobcache/state/blobs"; }

# ---- an encrypted and a plain container in one pod
app plain "hello from the plain image"
plain_push plain plain:1
pod_name=one
pod=$(attested_pod one)
expect "a pod runs in a measured VM" test -n "$pod"
expect_eq "nothing was released for the boot alone" "$(attested_released "$owner_key_path")" 0
pull "$pods_registry/plain:1"
expect "the plain container starts" start plain "$pods_registry/plain:1"
plain=$container
expect "its output is in its log" stage_wait 20 log_has plain "hello from the plain image"
expect_eq "no key was released for it" "$(attested_released "$owner_key_path")" 0
pull "$demo"
expect "the encrypted container starts" start main "$demo"
main=$container
expect "its output is in its log" stage_wait 20 log_has main "has sha256 $(sha256sum "$owner/tree/secret" | cut -c1-64)"
expect_eq "its key was released, once" "$(attested_released "$owner_key_path")" 1
node_layer_bytes
expect_eq "no layer byte on the host" "$story_layer_bytes" 0
expect_eq "the node's cache got its layers, and not those of the plain one" \
	"$(cached)" "$(layers "$demo" | sed 's/sha256://' | sort)"
expect_not "which are not what inflates" gzip -dc "$node/blobcache/state/blobs/"* >/dev/null 2>&1
expect_eq "an exec that the policy names runs; the guest's clock is wrong" \
	"$(cri_exec "$main" /bin/busybox date +%Y | cri_field stdout)" '2020\n'
expect_not "an exec that it does not name is refused" cri_exec "$main" cat /secret 2>"$pods_dir/refused"
expect "with the policy's reason" grep -qi 'exec' "$pods_dir/refused"

# ---- the tag moves while containerd still knows the old image
app evil "hello from somebody else"
image_push "$owner/evil" "$demo" "$registry/ca"
expect "a moved tag: the guest judges what the registry has now" refused retag "$demo" 'sign'
app next "hello from the next version"
attested_encrypt "$owner/next" "$demo" "$owner_key_path"
attested_sign "$demo"
expect "moved to the owner's next version, it starts" start next "$demo"
expect "and the guest runs what the tag says" stage_wait 20 log_has next "hello from the next version"
expect "the older container still runs" test "$(cri_state "$main")" = 1

# ---- the same layers, another config
umoci --log error config --image "$owner/plain:t" --config.cmd echo --config.cmd "hello from another config"
plain_push plain plain:config
pull "$pods_registry/plain:config"
expect "the same layers with another config start" start config "$pods_registry/plain:config"
expect "the config is the image's own" stage_wait 20 log_has config "hello from another config"

# ---- twins: the same content plain and encrypted
app twin "hello from a twin"
owner_release $twin_path "$owner/image.key"
plain_push twin twin:plain
attested_encrypt "$owner/twin" "$pods_registry/twin:encrypted" $twin_path
attested_sign "$pods_registry/twin:encrypted"
# (a label gives it an image ID of its own: of one ID, containerd 1.6 names any reference)
umoci --log error config --image "$owner/twin:t" --config.label dressed=yes
plain_push twin twin:dressed
pull "$pods_registry/twin:plain"
pull "$pods_registry/twin:encrypted"
pull "$pods_registry/twin:dressed"
expect "the encrypted twin starts" start encrypted "$pods_registry/twin:encrypted"
expect "with its content" stage_wait 20 log_has encrypted "hello from a twin"
expect_eq "after its key was released" "$(attested_released $twin_path)" 1
expect "the plain twin starts" start twin "$pods_registry/twin:plain"
expect "with the same content" stage_wait 20 log_has twin "hello from a twin"
expect "the plain one where an encrypted one is demanded is refused" refused dressed "$pods_registry/twin:dressed" 'encrypted'

# ---- a pod that asks for the plain twin alone gets no key and needs none
cri_stop "$main"
expect "a container stops" cri_exited "$main"
cri_remove "$main"
cri_stop "$plain"
cri_remove "$plain"
pods_end "$pod"
pods_nothing_left
pod_name=two
pod=$(attested_pod two)
expect "another pod runs the plain twin" start alone "$pods_registry/twin:plain"
expect "and has its content" stage_wait 20 log_has alone "hello from a twin"
expect_eq "no key was released for it" "$(attested_released $twin_path)" 1
before=$(gets "$pods_registry/twin:encrypted")
expect "the registry has been asked for the encrypted twin's layers" test "$before" -gt 0
expect "then the encrypted twin" start again "$pods_registry/twin:encrypted"
expect "has its content too" stage_wait 20 log_has again "hello from a twin"
expect_eq "its key was released to this pod too" "$(attested_released $twin_path)" 2
expect_eq "its layers came from the node's cache" "$(gets "$pods_registry/twin:encrypted")" "$before"

# ---- the TPM dies under the pod
expect_eq "the machine's TPM is swtpm" "$(cat "/proc/$(pods_tpm_pid)/comm")" swtpm
kill -9 "$(pods_tpm_pid)"
expect "swtpm killed: the pod ends as it should" pods_end "$pod"
pods_nothing_left
expect "the audit log's chain holds" kbs_admin audit verify
stage_close
expect_eq "no process is left" "$(stage_pids)" ""
expect_eq "no mount is left" "$(stage_mounts)" ""
