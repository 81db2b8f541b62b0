#!/usr/bin/env bash
# Two pods of one image on a node with a cache of layers: the second asks the registry for none, in the
# registry's own access log. Driver none; the images are in clear and the guest's configuration says that
# such layers may go to the host. COFFER_CACHE_DRIVER=qemu: VMs of the guest image instead.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/lib_pods.sh"
[ -x "$COFFER_BIN/coffer-blobcache" ] || e2e_skip "coffer-blobcache is not built"
eval "$(declare -f pods_initdata | sed '1s/pods_initdata/plain_initdata/')"
eval "$(declare -f pods_shim_config | sed '1s/pods_shim_config/plain_shim_config/')"
pods_initdata() {
	plain_initdata "$@"
	sed -i 's/^\[image\]$/[image]\nblob_cache_offer = "all"/' "$pods_dir/initdata.toml"
	grep -q blob_cache_offer "$pods_dir/initdata.toml" || e2e_fail "the initdata has no [image]"
}
pods_shim_config() {
	plain_shim_config "$@"
	sed -i "1i blob_cache = \"$pods_dir/bc/sock\"" "$pods_dir/shim.toml"
}
pods_open "${COFFER_CACHE_DRIVER:-none}" 5457
stage_bg blobcache "$COFFER_BIN/coffer-blobcache" --listen "$pods_dir/bc/sock" --state-dir "$pods_dir/bc/state"
expect "the cache listens" stage_wait 10 test -S "$pods_dir/bc/sock"

layers=$(for i in small twin pause; do
	jq -r '.manifests[0].digest[7:]' "$pods_dir/$i/index.json" | while read -r m; do jq -r '.layers[].digest' "$pods_dir/$i/blobs/sha256/$m"; done
done | sort -u | paste -sd'|')
layer_gets() { grep -cE "\"GET /v2/[^\"]*/blobs/($layers)" "$stage_dir/log/registry.log" || true; }
running() { grep -q "hello from one" "$pods_dir/podlog/$1.log"; }
pod() { # NAME: runs the image in a pod of its own until it has spoken
	local p c
	p=$(pods_pod "$1" coffer)
	cri_pull "$pods_registry/small:1" "$1" >/dev/null
	c=$(cri_create "$p" "$1" "$1" "$pods_registry/small:1" 'command: "sh" command: "-c" command: "cat /hello; exec sleep 1000"')
	cri_start "$c"
	stage_wait 60 running "$1"
}
before=$(layer_gets)
expect "the first pod runs" pod one
first=$(($(layer_gets) - before))
echo "first pod: $first requests for layers; cached: $(ls "$pods_dir/bc/state/blobs" | wc -l) blobs"
expect "it asked the registry for layers" test "$first" -gt 0
before=$(layer_gets)
from=$(date +%s%3N)
expect "the second pod runs" pod two
ms=$(($(date +%s%3N) - from))
expect_eq "and asked the registry for no layer" "$(($(layer_gets) - before))" 0
echo "second pod: 0 requests, $ms ms; load $(cut -d' ' -f1 /proc/loadavg)"
pods_end_all
