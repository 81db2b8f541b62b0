#!/usr/bin/env bash
# Storms of image collection: forty images that share layers are pulled and removed by several clients at
# once, while pods start and lose their image; containerd collects after every change. Afterwards nothing
# has leaked, every image pulls, and no layer ever came to this host. Under containerd 1.6, 1.7 and 2,
# there also when its transfer service pulls.
#
#   tests/long/snapshotter_gc.sh [system|SUITE|SUITE:transfer...]    COFFER_STORM_SECONDS: how long (12)
set -euo pipefail
. "$(dirname "$0")/lib_containerd.sh"
if [ -z "${STORM_UNDER:-}" ]; then
	[ $# -gt 0 ] || set -- system trixie sid sid:transfer
	for under; do
		export STORM_UNDER=$under
		case $under in
		system) bash "$0" ;;
		*:transfer) (containerd_under "${under%:*}" COFFER_CONTAINERD_TRANSFER=1 -- long/snapshotter_gc) ;;
		*) (containerd_under "$under" -- long/snapshotter_gc) ;;
		esac
	done
	exit 0
fi
. "$(dirname "$0")/../e2e/lib.sh"
. "$e2e_top/tests/e2e/lib_pods.sh"
echo "== under $STORM_UNDER"

images=40 shared=4 pods_own=3 seconds=${COFFER_STORM_SECONDS:-12}
image() { printf '%s/storm:%s' "$pods_registry" "$1"; }

# storm:N is a layer that all have, one of four, and one of its own.
pods_images_more() {
	local n at
	cp -a "$pods_dir/small" "$pods_dir/storm"
	for ((n = 0; n < shared; n++)); do
		echo "shared $n" >"$pods_dir/file"
		umoci --log error insert --image "$pods_dir/storm:t" --tag "s$n" "$pods_dir/file" /shared >/dev/null
	done
	for ((n = 1; n <= images; n++)); do
		echo "own $n" >"$pods_dir/file"
		umoci --log error insert --image "$pods_dir/storm:s$((n % shared))" --tag "own$n" "$pods_dir/file" /own >/dev/null
		umoci --log error config --image "$pods_dir/storm:own$n" --tag "$n" --config.label "number=$n" >/dev/null
		at=$(image "$n")
		stage_in skopeo copy -q --dest-cert-dir "$pods_dir/ca" "oci:$pods_dir/storm:$n" "docker://$at"
		skopeo inspect --raw "oci:$pods_dir/storm:$n" >"$pods_dir/manifest.$n"
	done
}
pods_default_policy() {
	local n
	printf 'version = 1\n'
	for ((n = 1; n <= pods_own; n++)); do
		printf '[[container]]\nimage = "%s"\nargs = ["sh", "-c", "cat /own; exec sleep 1000"]\nexec = [["cat", "/own"]]\n' "$(image "$n")"
	done
}
pods_containerd_more='[plugins."io.containerd.gc.v1.scheduler"]
  pause_threshold = 0.5
  deletion_threshold = 1
  mutation_threshold = 1
  schedule_delay = "0ms"
  startup_delay = "1ms"'
pods_open none 5463

info() { curl -s --unix-socket "$pods_dir/system.sock" "http://x/v1/$1"; }
known() { info snapshots | jq '.snapshots | length'; }
remove() { printf 'image { image: "%s" }' "$1" | cri Image/RemoveImage; }
note() { printf '%s\n' "$*" >>"$pods_dir/storm.$worker"; }
goes() { [ "$(date +%s)" -lt "$until" ]; }

# As the kubelet does: a pull that failed is tried again. What containerd says is kept.
pull() { # IMAGE
	local try
	for try in 1 2 3 4; do
		if cri_pull "$1" storm >/dev/null 2>"$pods_dir/said.$worker"; then
			note pulled
			return 0
		fi
		note "again: $(tail -n 1 "$pods_dir/said.$worker")"
	done
	note "FAILED to pull $1"
}
puller() { # NUMBER
	local worker=$1 i
	RANDOM=$((seed + $1))
	while goes; do
		i=$((RANDOM % (images - pods_own) + pods_own + 1))
		pull "$(image $i)"
		[ $((RANDOM % 4)) -eq 0 ] || remove "$(image $i)" >/dev/null 2>&1 || note "remove failed"
	done
}
# Other clients than the kubelet remove images too, and wait for the collection.
remover() {
	local worker=rm i
	RANDOM=$seed
	while goes; do
		i=$((RANDOM % (images - pods_own) + pods_own + 1))
		ctr -a "$pods_ctd/containerd.sock" -n k8s.io images rm --sync "$(image $i)" >/dev/null 2>&1 && note removed || note "nothing to remove"
		sleep 0.02
	done
}
# A pod whose image is removed while it runs: its layers stay as long as it does.
one_pod() { # NAME IMAGE-NUMBER
	local p c out
	p=$(pods_pod "$1" coffer) && [ -n "$p" ] || { note "FAILED to make a pod"; return; }
	pull "$(image "$2")"
	c=$(cri_create "$p" "$1" main "$(image "$2")" 'command: "sh" command: "-c" command: "cat /own; exec sleep 1000"') || true
	if [ -n "$c" ] && cri_start "$c" >/dev/null && remove "$(image "$2")" >/dev/null &&
		out=$(cri_exec "$c" cat /own) && grep -q "own $2" <<<"$out"; then
		note "pod ran"
	else
		note "FAILED to run a pod of $(image "$2")"
	fi
	[ -z "$c" ] || { cri_stop "$c" && cri_remove "$c"; } >/dev/null || note "FAILED to end a container"
	pods_end "$p" >/dev/null || note "FAILED to end a pod"
}
pods() {
	local worker=pods n=0
	while goes; do
		n=$((n + 1))
		one_pod "storm$n" $((n % pods_own + 1)) 2>>"$pods_dir/said.pods"
	done
}
counted() { cat "$pods_dir"/storm.* 2>/dev/null | grep -c "^$1" || true; }

cri_pod_config storm "$pods_dir/podlog" "" >"$stage_dir/run/pod-storm.txt"
seed=${COFFER_STORM_SEED:-$$} until=$(($(date +%s) + seconds)) workers=()
echo "storm: $seconds s, seed $seed"
for job in "puller 1" "puller 2" "puller 3" remover pods; do
	$job &
	workers+=($!)
done
wait "${workers[@]}"
echo "in the storm: $(counted pulled) pulls, $(counted removed) removals by ctr, $(counted 'pod ran') pods; containerd failed and was asked again $(counted again) times"
cat "$pods_dir"/storm.* | sed -n 's/^again: //p' | sed 's/sha256:[0-9a-f]*/sha256:.../g; s/storm:[0-9]*/storm:N/g' | sort | uniq -c | sort -rn | head -n 5
expect_eq "no pull, no pod failed for good" "$(cat "$pods_dir"/storm.* | grep FAILED || true)" ""
expect "there were pulls and pods" test "$(counted pulled)" -ge 20 -a "$(counted 'pod ran')" -ge 1

# ---- every further pull works, and both sides know the same
worker=after
for ((n = 1; n <= images; n++)); do cri_pull "$(image "$n")" storm >/dev/null || e2e_fail "storm:$n does not pull any more"; done
echo "ok: every image pulls"
all_layers=$((1 + 1 + shared + images)) # pause, what all have, one of four, their own
expect_eq "containerd knows every layer once" "$(pods_snapshots_listed | grep -c Committed)" $all_layers
as_many() { [ "$(known)" = "$all_layers" ]; }
expect "and so do we" stage_wait 10 as_many
expect_eq "no directory is left" "$(ls "$pods_dir/snap/snapshots" "$pods_dir/snap/trash" | grep -c '^[0-9]' || true)" 0
fsck() {
	"$COFFER_BIN/coffer-snapshotter" fsck --state-dir "$pods_dir/snap" \
		--containerd-meta "$pods_ctd/root/io.containerd.metadata.v1.bolt/meta.db"
}
fsck_all() { # WHAT: with both stopped
	stage_stop containerd
	stage_stop snapshotter
	expect "fsck: $1" fsck
	pods_snapshotter
	peer_containerd_run "$pods_ctd"
	stage_wait 20 pods_snapshots_listed || e2e_fail "containerd does not come back"
}
fsck_all "both have the same records"

# ---- no layer came here: not to containerd's store, not below our root, not over the network
jq -r '.layers[].digest' "$pods_dir"/manifest.* | sort -u >"$pods_dir/layers"
jq -r '.config.digest' "$pods_dir"/manifest.* | sort -u >"$pods_dir/configs"
stored() { find "$pods_ctd/root/io.containerd.content.v1.content/blobs/sha256" -type f -printf 'sha256:%f\n' | sort; }
expect_eq "no layer is in containerd's content store" "$(stored | comm -12 - "$pods_dir/layers")" ""
expect_eq "host bytes of layers below our root" \
	"$(find "$pods_dir/snap/snapshots" "$pods_dir/snap/trash" "$pods_dir/snap/empty" -type f | wc -l)" 0
grep 'GET /v2/storm/blobs/.*containerd/' "$stage_dir/log/registry.log" | grep -o 'sha256:[0-9a-f]*' | sort -u >"$pods_dir/fetched"
expect "containerd fetched blobs of these images" test -s "$pods_dir/fetched"
expect_eq "all of them configs, none a layer" "$(comm -23 "$pods_dir/fetched" "$pods_dir/configs")" ""

# ---- all removed: nothing is left on either side
for ((n = 1; n <= images; n++)); do remove "$(image "$n")" >/dev/null; done
remove "$pods_registry/pause:1" >/dev/null
expect_eq "no lease is left" "$(ctr -a "$pods_ctd/containerd.sock" -n k8s.io leases ls -q)" ""
all_gone() { [ "$(pods_snapshots_listed | tail -n +2 | wc -l)" = 0 ] && [ "$(known)" = 0 ]; }
expect "every record is gone" stage_wait 20 all_gone
expect_eq "so is every directory" "$(ls "$pods_dir/snap/snapshots" "$pods_dir/snap/trash" | grep -c '^[0-9]' || true)" 0
fsck_all "nothing on either side"
pods_nothing_left
