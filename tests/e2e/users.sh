#!/usr/bin/env bash
# USER by name and supplementary groups of an image whose files containerd never sees: found in what
# `coffer image encrypt --passwd --group` wrote, not found without; and for a plain image that another
# snapshotter had pulled, in the layers that are unpacked here and thrown away. Nothing is run: containerd
# looks users up when it creates a container, before the guest is asked for anything.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/lib_pods.sh"
eval "$(declare -f pods_images | sed '1s/pods_images/plain_images/')"
users_encrypt() { # NAME OPTION...: each of other layers, since containerd knows a layer by its content
	local name=$1
	shift
	echo "$name" >"$pods_dir/app.tree/name"
	image_small "$pods_dir/app" "$pods_dir/app.tree"
	umoci --log error config --image "$pods_dir/app:t" --config.user app >/dev/null
	stage_in env SSL_CERT_FILE="$pods_dir/ca/ca.crt" "$COFFER_BIN/coffer" image encrypt "oci:$pods_dir/app:t" \
		"docker://$pods_registry/$name:1" --cert-dir "$pods_dir/ca" --key kbs:///default/key/app --key-file "$pods_dir/app.key" "$@" >/dev/null
}
pods_images() {
	plain_images
	mkdir -p "$pods_dir/app.tree/etc"
	printf 'root:x:0:0::/:/bin/sh\napp:x:7:8::/:/bin/sh\n' >"$pods_dir/app.tree/etc/passwd"
	printf 'app:x:8:\nmore:x:9:app\n' >"$pods_dir/app.tree/etc/group"
	users_encrypt shown --passwd "$pods_dir/app.tree/etc/passwd" --group "$pods_dir/app.tree/etc/group"
	users_encrypt hidden
	echo known >"$pods_dir/app.tree/name"
	image_small "$pods_dir/app" "$pods_dir/app.tree"
	umoci --log error config --image "$pods_dir/app:t" --config.user app >/dev/null
	image_push "$pods_dir/app" "$pods_registry/known:1" "$pods_dir/ca"
}
pods_open none 5461

user_of() { ctr -a "$pods_ctd/containerd.sock" -n k8s.io containers info "$1" | jq -c '.Spec.process.user | [.uid, .gid, .additionalGids]'; }
# As the kubelet asks when the image's USER is a name.
create() { cri_namespaces='security_context { namespace_options { pid: 1 } run_as_username: "app" }' cri_create "$pod" one "$1" "$pods_registry/$1:1"; }
pod=$(pods_pod one coffer)
for i in shown hidden; do cri_pull "$pods_registry/$i:1" one >/dev/null; done
c=$(create shown)
expect "a container of an encrypted image with USER app is created" test -n "$c"
expect_eq "with the numbers of the image's own files" "$(user_of "$c")" "[7,8,[8,9]]"
refused() { ! create hidden >/dev/null 2>"$pods_dir/refused"; }
expect "without the annotations it is not" refused
echo "containerd says: $(cat "$pods_dir/refused")"

# Pulled with another snapshotter before: containerd unpacks it for us when a container is created.
stage_in ctr -a "$pods_ctd/containerd.sock" -n k8s.io images pull --snapshotter overlayfs --label io.cri-containerd.image=managed \
	--hosts-dir "$pods_ctd/certs.d" "$pods_registry/known:1" >/dev/null
known() { k=$(create known) && [ -n "$k" ]; }
expect "a container of an image that another snapshotter had pulled is created" stage_wait 10 known
expect_eq "with the image's numbers" "$(user_of "$k")" "[7,8,[8,9]]"
expect_eq "no layer is kept here" "$(find "$pods_dir/snap/snapshots" -type f -size +100k | wc -l)" 0
cri_remove "$k"
cri_remove "$c"
pods_end "$pod"
