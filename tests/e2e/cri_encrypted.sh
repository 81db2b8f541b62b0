#!/usr/bin/env bash
# An encrypted image through containerd's CRI and our snapshotter with driver "none": CoCo's packets, a
# real key service, a guest that attests with the TEE that proves nothing (in a measured VM:
# cri_attested.sh). The node gets manifest and config; key and content meet in the guest alone.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/lib_pods.sh"
. "$e2e_top/deploy/lib/owner.sh"
[ ! -e /dev/tpmrm0 ] || e2e_skip "this machine has a TPM: a guest without a VM would attest with that"
fact() { :; }
export PATH=$COFFER_BIN:$PATH
for p in coffer-kbs coffer-attestd; do [ -x "$COFFER_BIN/$p" ] || e2e_skip "$p is not built"; done

key_path=default/image-key/one other_path=default/image-key/other kbs_port=8455
# Three layers, the last one with a secret.
pods_images_more() {
	owner=$pods_dir/owner
	canary=the-owl-flies-at-noon-$(openssl rand -hex 4)
	mkdir -p "$owner"
	printf '%s\n' "$canary" >"$owner/secret"
	head -c 300000 /dev/urandom >"$owner/ballast"
	cp -a "$pods_dir/small" "$owner/image"
	umoci --log error insert --image "$owner/image:t" "$owner/ballast" /ballast >/dev/null
	umoci --log error insert --image "$owner/image:t" "$owner/secret" /secret >/dev/null
	image_push "$owner/image" "$pods_registry/image:plain" "$pods_dir/ca"
	coffer key new image -o "$owner/image.key" >/dev/null
	encrypt image:encrypted $key_path
	# With a layer of its own: what a guest has decrypted it does not fetch again.
	umoci --log error insert --image "$owner/image:t" "$owner/ballast" /more >/dev/null
	encrypt image:other $other_path
	owner_kbs
}
encrypt() { # TAG KEY-PATH
	stage_in coffer image encrypt "oci:$owner/image:t" "docker://$pods_registry/$1" --key "kbs:///$2" \
		--key-file "$owner/image.key" --cert-dir "$pods_dir/ca" >/dev/null
}
owner_kbs() {
	coffer kbs init "$owner/kbs" --listen "$stage_ip:$kbs_port" --name "$stage_ip" --allow-sample >/dev/null
	stage_bg kbs coffer-kbs serve --config "$owner/kbs/kbs.toml"
	stage_port $kbs_port
	kbs_admin reference put launch_digest abcde >/dev/null
	kbs_admin reference put svn 1 >/dev/null
}
pods_initdata() { # POLICY: the key goes to guests that were started with it
	printf '%s\n' "$1" >"$pods_dir/policy.toml"
	printf '{"default":[{"type":"insecureAcceptAnything"}]}' >"$pods_dir/image-policy.json"
	coffer initdata new --kbs "$(kbs_url)" --kbs-ca "$owner/kbs/tls.pem" --allow-sample --registry-ca "$pods_dir/ca/ca.crt" \
		--policy "$pods_dir/policy.toml" --image-policy "$pods_dir/image-policy.json" -o "$pods_dir/initdata.toml" 2>/dev/null
	kbs_admin resource put $key_path "$owner/image.key" --initdata "$(coffer initdata digest "$pods_dir/initdata.toml")" >/dev/null
}
pods_default_policy() {
	local tag
	printf 'version = 1\n'
	for tag in encrypted other plain; do
		printf '[[container]]\nimage = "%s/image:%s"\nargs = ["sh", "-c", "sha256sum /secret; exec sleep 1000"]\n' "$pods_registry" $tag
		[ $tag = plain ] || printf 'encrypted = "required"\n'
	done
}
pods_open none 5465

released() { kbs_admin audit ls | jq -s --arg p "$1" '[.[] | select(.action == "resource-get" and .result == "released" and .object == $p)] | length'; }
has_secret() { grep -q "$(sha256sum "$owner/secret" | cut -c1-64)" "$pods_dir/podlog/$1.log"; }
start() { # NAME TAG
	container=$(cri_create "$pod" one "$1" "$pods_registry/image:$2" 'command: "sh" command: "-c" command: "sha256sum /secret; exec sleep 1000"') &&
		cri_start "$container" >/dev/null
}
pull() { cri_pull "$pods_registry/image:$1" one >/dev/null; }
gone() { cri_stop "$container" >/dev/null && cri_remove "$container" >/dev/null; }
layers() { stage_in skopeo inspect --raw --cert-dir "$pods_dir/ca" "docker://$pods_registry/image:$1" | jq -r '.layers[].digest'; }
# Of any of the images: a layer's blob in containerd's store, or one that containerd asked the registry for.
layers_on_host() {
	local d
	for d in $(layers encrypted) $(layers other) $(layers plain); do
		[ ! -e "$pods_ctd/root/io.containerd.content.v1.content/blobs/sha256/${d#sha256:}" ] || echo "$d"
		! grep "blobs/$d.*containerd/" "$stage_dir/log/registry.log" || true
	done
	find "$pods_dir/snap/snapshots" "$pods_dir/snap/trash" "$pods_dir/snap/empty" -type f
}
known() { pods_snapshots_listed | grep -c Committed; }

expect_eq "its layers are encrypted, with CoCo's packets" \
	"$(stage_in skopeo inspect --raw --cert-dir "$pods_dir/ca" "docker://$pods_registry/image:encrypted" |
		jq '[.layers[] | select((.mediaType | endswith("+encrypted")) and .annotations["org.opencontainers.image.enc.keys.provider.attestation-agent"])] | length')" 3
pod=$(pods_pod one coffer)
expect "a pod runs" test -n "$pod"
before=$(known)
expect "the encrypted image pulls" pull encrypted
expect_eq "its layers are known" "$(($(known) - before))" 3
expect_eq "no key was released for the pull by the node" "$(released $key_path)" 0
expect "its container starts" start main encrypted
expect "and reads what was encrypted" stage_wait 20 has_secret main
expect "its key was released to the guest" test "$(released $key_path)" -ge 1
expect_eq "no layer came to the host" "$(layers_on_host)" ""
expect_not "the secret is not on the host" grep -rqs "$canary" "$pods_ctd/root" "$pods_dir/snap" "$pods_dir/registry"

# ---- its plain twin, and one whose key this guest does not get
expect "the plain twin pulls" pull plain
gone
expect "and starts" start plain plain
expect "with the same content" stage_wait 20 has_secret plain
gone
expect "one that is encrypted for others pulls" pull other
refused() { ! start refused other 2>"$pods_dir/refused"; }
expect "and does not start" refused
expect "for want of its key" grep -q "$other_path" "$pods_dir/refused"

# ---- removed, and pulled again
for tag in encrypted plain other; do printf 'image { image: "%s" }' "$pods_registry/image:$tag" | cri Image/RemoveImage >/dev/null; done
as_before() { [ "$(known)" = "$before" ]; }
pods_end "$pod" >/dev/null
expect "removed: its layers are known no more" stage_wait 20 as_before
pod=$(pods_pod one coffer)
expect "pulled again" pull encrypted
expect "it starts" start again encrypted
expect "and reads what was encrypted" stage_wait 20 has_secret again
expect_eq "no layer came to the host" "$(layers_on_host)" ""
gone
pods_end "$pod"
pods_nothing_left
