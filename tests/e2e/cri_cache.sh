#!/usr/bin/env bash
# Two pods of the same images on a node with a cache of layers: the second asks the registry for none, in
# the registry's own access log. The cache comes after the first pod, is killed and comes again under it,
# hangs while the second starts, and once more under it: pods go on. Driver none here, VMs in cri_cache_qemu.sh. The images are in
# clear, and the guest's configuration says that such layers may go to the host.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/lib_pods.sh"
[ -x "$COFFER_BIN/coffer-blobcache" ] || e2e_skip "coffer-blobcache is not built"
driver=${cache_driver:-none} lines=
if [ "$driver" = qemu ]; then
	e2e_need qemu-system-x86_64
	pods_guest_image
	lines=$(pods_qemu_config 'memory_mib = 768')
fi
eval "$(declare -f pods_images | sed '1s/pods_images/plain_images/')"
eval "$(declare -f pods_initdata | sed '1s/pods_initdata/plain_initdata/')"
eval "$(declare -f pods_shim_config | sed '1s/pods_shim_config/plain_shim_config/')"
pods_images() {
	plain_images
	mkdir -p "$pods_dir/bulk"
	head -c 24000000 /dev/urandom >"$pods_dir/bulk/data"
	image_small "$pods_dir/big" "$pods_dir/bulk"
	image_push "$pods_dir/big" "$pods_registry/big:1" "$pods_dir/ca"
}
pods_default_policy() {
	printf 'version = 1\n'
	printf '[[container]]\nimage = "%s/%s:1"\nargs = ["sh", "-c", "cat /hello; exec sleep 1000"]\n' \
		"$pods_registry" small "$pods_registry" twin
	printf '[[container]]\nimage = "%s/big:1"\nargs = ["sha256sum", "/data"]\n' "$pods_registry"
}
pods_initdata() {
	plain_initdata "$@"
	sed -i 's/^\[image\]$/[image]\nblob_cache_offer = "all"/' "$pods_dir/initdata.toml"
	grep -q blob_cache_offer "$pods_dir/initdata.toml" || e2e_fail "the initdata has no [image]"
}
pods_shim_config() {
	plain_shim_config "$@"
	sed -i "1i blob_cache = \"$pods_dir/bc/sock\"" "$pods_dir/shim.toml"
}
pods_open "$driver" 5457 "$lines"

cache_connected() { # MACHINES; guests that are none connect when they pull
	[ "$driver" != none ] || return 0
	[ "$(curl -s --unix-socket "$pods_dir/bc/control.sock" http://localhost/metrics |
		sed -n 's/^coffer_blobcache_connections //p')" = "$1" ]
}
cache_start() {
	rm -f "$pods_dir/bc/sock"
	stage_bg blobcache "$COFFER_BIN/coffer-blobcache" --listen "$pods_dir/bc/sock" --state-dir "$pods_dir/bc/state"
	stage_wait 10 test -S "$pods_dir/bc/sock" && stage_wait 10 cache_connected 1
}
layers=$(for i in small twin big; do
	jq -r '.manifests[0].digest[7:]' "$pods_dir/$i/index.json" | while read -r m; do jq -r '.layers[].digest' "$pods_dir/$i/blobs/sha256/$m"; done
done | sort -u | paste -sd'|')
layer_gets() { grep -cE "\"GET /v2/[^\"]*/blobs/($layers)" "$stage_dir/log/registry.log" || true; }
log_has() { grep -q "$2" "$pods_dir/podlog/$1.log"; }
run() { # CONTAINER IMAGE WORDS COMMAND...: in $pod, until it has said WORDS
	local name=$1 image=$pods_registry/$2:1 words=$3 c
	shift 3
	cri_pull "$image" "$pod_name" >/dev/null
	c=$(cri_create "$pod" "$pod_name" "$name" "$image" "$(printf 'command: "%s" ' "$@")")
	cri_start "$c"
	stage_wait 60 log_has "$name" "$words"
}
hello() { run "$1" "$2" "hello from $3" sh -c 'cat /hello; exec sleep 1000'; }
big() { run "$1" big "$(sha256sum "$pods_dir/bulk/data" | cut -c1-64)" sha256sum /data; }
took() { # WHAT COMMAND...: passes, and says how long it took and what the registry was asked
	local what=$1 from ms
	shift
	gets=$(layer_gets) from=$(date +%s%3N)
	expect "$what" "$@"
	ms=$(($(date +%s%3N) - from)) gets=$(($(layer_gets) - gets))
	echo "    $gets requests for layers, $ms ms, load $(cut -d' ' -f1 /proc/loadavg)"
}

pod_name=one
pod=$(pods_pod one coffer)
expect "a pod starts where no cache runs yet" test -n "$pod"
expect "the cache comes, and the pod finds it" cache_start
took "the first pod runs a small image" hello small-one small one
expect "it asked the registry for layers" test "$gets" -gt 0
stage_stop blobcache KILL
expect "the cache is killed and comes again" cache_start
took "the first pod runs a larger image" big big-one
expect "it asked the registry for layers" test "$gets" -gt 0
expect_eq "the cache has the layers of both" "$(ls "$pods_dir/bc/state/blobs" | wc -l)" 2

pod_name=two
kill -STOP "$(stage_pid blobcache)"
pod=$(pods_pod two coffer)
expect "a pod starts while the cache hangs" test -n "$pod"
kill -CONT "$(stage_pid blobcache)"
expect "the cache goes on, and has both pods" stage_wait 10 cache_connected 2
took "the second pod runs the small image" hello small-two small one
expect_eq "and asked the registry for no layer" "$gets" 0
took "the second pod runs the larger image" big big-two
expect_eq "and asked the registry for no layer" "$gets" 0
kill -STOP "$(stage_pid blobcache)"
took "the cache hangs: an image that only the registry has" hello twin-two twin two
expect "came from there" test "$gets" -gt 0
kill -CONT "$(stage_pid blobcache)"
pods_end_all
pods_nothing_left
