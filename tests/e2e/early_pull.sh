#!/usr/bin/env bash
# The early word of a pull, from end to end: containerd asks the snapshotter for an image's layers, the
# snapshotter tells the pods that wait for a container, and the guest has begun its own pull before
# anybody asks it for a container. Seen in the registry's access log; driver none.
# COFFER_EARLY_DRIVER=qemu: VMs of the guest image instead.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/lib_pods.sh"
e2e_need tc
: "${COFFER_EARLY_MIB:=48}"
eval "$(declare -f pods_shim_config | sed '1s/pods_shim_config/plain_shim_config/')"
eval "$(declare -f pods_images | sed '1s/pods_images/plain_images/')"
pods_shim_config() {
	plain_shim_config "$@"
	sed -i "1i early_pull = \"$pods_dir/early\"\npull_reports = \"$pods_dir/system.sock\"" "$pods_dir/shim.toml"
}
pods_snapshotter() {
	stage_bg snapshotter "$COFFER_BIN/coffer-snapshotter" --state-dir "$pods_dir/snap" --listen "$pods_dir/snap.sock" --control "$pods_dir/system.sock" --notify "$pods_dir/early"
	stage_wait 10 test -S "$pods_dir/snap.sock" || e2e_fail "the snapshotter did not start"
}
large() { # NAME: an image with bytes that do not compress
	mkdir -p "$pods_dir/$1.tree"
	echo "hello from $1" >"$pods_dir/$1.tree/hello"
	head -c "$((COFFER_EARLY_MIB << 20))" /dev/urandom >"$pods_dir/$1.tree/bytes"
	image_small "$pods_dir/$1" "$pods_dir/$1.tree"
	image_push "$pods_dir/$1" "$pods_registry/$1:1" "$pods_dir/ca"
	rm -rf "$pods_dir/$1.tree"
}
pods_images() {
	local i
	plain_images
	for i in ahead hinted late slow other; do large $i; done
}
pods_default_policy() {
	local i
	printf 'version = 1\n'
	for i in ahead hinted late slow; do printf '[[container]]\nimage = "%s/%s:1"\nargs = ["sh", "-c", "cat /hello; exec sleep 1000"]\n' "$pods_registry" "$i"; done
}
more=
if [ "${COFFER_EARLY_DRIVER:-none}" = qemu ]; then
	e2e_need qemu-system-x86_64
	pods_guest_image
	more=$(pods_qemu_config 'memory_mib = 1024')
fi
pods_open "${COFFER_EARLY_DRIVER:-none}" 5459 "$more"

listening() { [ -n "$(ls "$pods_dir/early" 2>/dev/null)" ]; }
silent() { ! listening; }
layers_of() { jq -r '.manifests[0].digest[7:]' "$pods_dir/$1/index.json" | while read -r m; do jq -r '.layers[].digest' "$pods_dir/$1/blobs/sha256/$m"; done | paste -sd'|'; }
layer_gets() { grep -cE "\"GET /v2/$1/blobs/($(layers_of "$1"))" "$stage_dir/log/registry.log" || true; }
asked_for() { [ "$(layer_gets "$1")" -gt 0 ]; }
# IMAGE JQ-FILTER: what the snapshotter was told of the pull for its container
pull_of() { curl -sS --unix-socket "$pods_dir/system.sock" http://x/v1/pulls | jq -r --arg i "$pods_registry/$1:1" ".pulls[] | select(.image == \$i) | $2"; }
has_reported() { [ "$(pull_of "$1" .state)" = done ]; }
has_spoken() { grep -q "hello from $1" "$pods_dir/podlog/$1.log"; }
start() { # POD IMAGE: creates and starts its container; sets $ms
	local c from
	from=$(date +%s%3N)
	c=$(cri_create "$1" one "$2" "$pods_registry/$2:1" 'command: "sh" command: "-c" command: "cat /hello; exec sleep 1000"')
	cri_start "$c"
	stage_wait 120 has_spoken "$2" || return 1
	ms=$(($(date +%s%3N) - from))
}

expect "nobody listens before there is a pod" silent
pod=$(pods_pod one coffer)
expect "a pod that waits for a container listens" listening
cri_pull "$pods_registry/hinted:1" one >/dev/null
expect "the guest asks for layers before anybody creates a container" stage_wait 60 asked_for hinted
[ -z "$(cri Runtime/ListContainers </dev/null)" ] || e2e_fail "a container is there"
gets=$(layer_gets hinted)
expect "the container runs" start "$pod" hinted
joined_ms=$ms
expect_eq "and no layer was asked for twice" "$(layer_gets hinted)" "$gets"
expect "the pod listens for the next" listening

# With time enough, all of it is there.
fetched() { grep -q "fetched early.*/$1:1" "$stage_dir/log/containerd.log"; }
cri_pull "$pods_registry/ahead:1" one >/dev/null
expect "another image is fetched whole before its container" stage_wait 60 fetched ahead
expect "which runs" start "$pod" ahead
ahead_ms=$ms

# What its policy does not name is not fetched, hint or not.
cri_pull "$pods_registry/other:1" one >/dev/null
expect_eq "an image that the policy does not name is not fetched" "$(layer_gets other)" 0

# The same without the word: what the container has to wait for then.
snap_pid=$(pgrep -f "coffer-snapshotter --state-dir $pods_dir/snap " | head -n 1)
kill "$snap_pid"
stage_wait 10 pods_pid_gone "$snap_pid"
rm -f "$pods_dir/snap.sock"
stage_bg snapshotter2 "$COFFER_BIN/coffer-snapshotter" --state-dir "$pods_dir/snap" --listen "$pods_dir/snap.sock" --control "$pods_dir/system.sock"
expect "the snapshotter is back without a word to anybody" stage_wait 10 pods_snapshots_listed
cri_pull "$pods_registry/late:1" one >/dev/null
expect_eq "nothing is fetched early" "$(layer_gets late)" 0
expect "the container runs all the same" start "$pod" late
echo "from CreateContainer to the first line of output, $COFFER_EARLY_MIB MiB in a layer: $ms ms without the word, $joined_ms ms when the fetching had just begun, $ahead_ms ms when it was done: ratio $(awk "BEGIN { printf \"%.2f\", $ahead_ms / $ms }"); load $(cut -d' ' -f1 /proc/loadavg)"

# The guest's progress reaches the snapshotter, which looks four times a second: behind a slow link.
stage_in tc qdisc add dev "$(stage_in ip -o addr show to "$stage_ip" | awk '{ print $2; exit }')" root tbf rate 200mbit burst 256k latency 50ms
cri_pull "$pods_registry/slow:1" one >/dev/null
expect "a container runs that had to wait" start "$pod" slow
expect "the pull is reported as done" stage_wait 10 has_reported slow
size=$(jq -r '.manifests[0].digest[7:]' "$pods_dir/slow/index.json" | while read -r m; do jq '[.layers[].size] | add' "$pods_dir/slow/blobs/sha256/$m"; done)
expect_eq "with its layers and bytes" "$(pull_of slow '"\(.layers_done)/\(.layers_total) \(.bytes_done)/\(.bytes_total)"')" "1/1 $size/$size"
pods_end "$pod"
expect "its socket went with the pod" stage_wait 10 silent
expect "nothing is left" pods_nothing_left
