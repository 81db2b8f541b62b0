#!/usr/bin/env bash
# coffer-snapshotter under a real containerd: every snapshot command of ctr, and pulls through CRI that
# bring no layer to this host; kill -9 in between loses nothing.
. "$(dirname "$0")/lib.sh"
e2e_root
e2e_need containerd ctr docker-registry skopeo umoci curl protoc busybox ip mount.fuse openssl
[ -x "$COFFER_BIN/coffer-snapshotter" ] || e2e_skip "coffer-snapshotter is not built"

e2e_stage snapshotter
state=$e2e_dir/state sock=$e2e_dir/snap.sock
snapshotter_start() {
	stage_bg snapshotter "$COFFER_BIN/coffer-snapshotter" --state-dir "$state" --listen "$sock"
	stage_wait 10 test -S "$sock" || e2e_fail "the snapshotter did not start"
}
snapshotter_start
expect_not "a second instance on the same state is refused" \
	"$COFFER_BIN/coffer-snapshotter" --state-dir "$state" --listen "$e2e_dir/other.sock" 2>/dev/null

port=5447
peer_registry "$e2e_dir/registry" $port
mkdir -p "$e2e_dir/ca" && cp "$e2e_dir/registry/tls/ca.pem" "$e2e_dir/ca/ca.crt"
mkdir -p "$e2e_dir/one/data" "$e2e_dir/two/data"
head -c 3000000 /dev/urandom >"$e2e_dir/one/data/big"
head -c 1000000 /dev/urandom >"$e2e_dir/two/data/more"
image_small "$e2e_dir/img" "$e2e_dir/one"
umoci --log error insert --image "$e2e_dir/img:t" "$e2e_dir/two/data/more" /data/more >/dev/null
image_push "$e2e_dir/img" "$stage_ip:$port/img:1" "$e2e_dir/ca"
image_push "$e2e_dir/img" "$stage_ip:$port/img:same" "$e2e_dir/ca"
umoci --log error config --image "$e2e_dir/img:t" --config.label changed=yes >/dev/null
image_push "$e2e_dir/img" "$stage_ip:$port/img:config" "$e2e_dir/ca"
image_pause "$e2e_dir/pause"
image_push "$e2e_dir/pause" "$stage_ip:$port/pause:1" "$e2e_dir/ca"

e2e_snapshotter_toml "$sock" >"$e2e_dir/extra.toml"
# ctr's views have no lease: containerd's collection at its start would take them away from under us.
printf '[plugins."io.containerd.gc.v1.scheduler"]\n  startup_delay = "10m"\n' >>"$e2e_dir/extra.toml"
mkdir -p "$e2e_dir/ctd"
peer_containerd_trust "$e2e_dir/ctd" "$stage_ip:$port" "$e2e_dir/ca/ca.crt"
peer_containerd "$e2e_dir/ctd" "$stage_ip:$port/pause:1" "$e2e_dir/extra.toml"

sn() { ctr -a "$e2e_dir/ctd/containerd.sock" "${ns[@]}" snapshots --snapshotter coffer "$@"; }
ns=(-n test)
says() { # TEXT COMMAND...: the command fails and says TEXT
	local text=$1
	shift
	! "$@" >"$e2e_dir/said" 2>&1 && grep -q "$text" "$e2e_dir/said"
}

expect "the plugin is ok" sh -c "ctr -a '$e2e_dir/ctd/containerd.sock' plugins ls | grep -q 'snapshotter.v1 *coffer .*ok'"
expect "prepare" sn prepare a
expect "the same key twice: already exists" says "already exists" sn prepare a
expect "an unknown parent: not found" says "not found" sn prepare b nobody
expect "an active parent is refused" says "invalid argument" sn prepare b a
expect "mounts are a Kata volume" sh -c "ctr -a '$e2e_dir/ctd/containerd.sock' -n test snapshots --snapshotter coffer mounts /mnt a | grep -q 'io.katacontainers.volume='"
expect "commit" sn commit base a
expect "view on it" sn view v base
expect "prepare on it" sn prepare c base
expect "commit of a view: failed precondition" says "failed precondition" sn commit x v
expect "remove of a parent: failed precondition" says "failed precondition" sn rm base
expect_eq "info of a committed one" "$(sn info base | sed -n 's/.*"Kind": "\(.*\)",/\1/p')" Committed
expect_eq "ls shows all" "$(sn ls | tail -n +2 | wc -l)" 3
expect "usage" sn usage c
expect "label" sn label c containerd.io/snapshot/x=y
expect "the label is there" sh -c "ctr -a '$e2e_dir/ctd/containerd.sock' -n test snapshots --snapshotter coffer info c | grep -q 'containerd.io/snapshot/x'"
expect "tree" sn tree
expect "rm" sn rm c v
expect "rm of the base" sn rm base
expect_eq "ls is empty" "$(sn ls | tail -n +2 | wc -l)" 0

# ---- guest pull through CRI
cri_pod_config one "$e2e_dir/podlog" "" >"$stage_dir/run/pod-one.txt"
blobs_fetched() { stage_in true; grep -c 'GET /v2/img/blobs/' "$stage_dir/log/registry.log" || true; }
layer_bytes() { find "$state/snapshots" "$state/trash" "$state/empty" -type f -printf '%s\n' | awk '{ s += $1 } END { print s + 0 }'; }
content_bytes() { find "$e2e_dir/ctd/root/io.containerd.content.v1.content" -type f -size +100k | wc -l; }

expect "PullImage" cri_pull "$stage_ip:$port/img:1" one
ns=(-n k8s.io)
expect_eq "two committed layers" "$(sn ls | grep -c Committed)" 2
expect_eq "one blob was fetched: the config" "$(blobs_fetched)" 1
expect_eq "no layer in containerd's content store" "$(content_bytes)" 0
expect_eq "no layer byte in our state" "$(layer_bytes)" 0
expect "a retag pulls" cri_pull "$stage_ip:$port/img:same" one
expect "a change of the config alone pulls" cri_pull "$stage_ip:$port/img:config" one
expect_eq "still two layers" "$(sn ls | grep -c Committed)" 2

# ---- an encrypted twin: other blobs, the same layers by content, so the same snapshots
openssl genrsa -out "$e2e_dir/key.pem" 2048 2>/dev/null
openssl rsa -in "$e2e_dir/key.pem" -pubout -out "$e2e_dir/pub.pem" 2>/dev/null
skopeo copy -q --encryption-key "jwe:$e2e_dir/pub.pem" "oci:$e2e_dir/img:t" "oci:$e2e_dir/enc:t"
image_push "$e2e_dir/enc" "$stage_ip:$port/img:encrypted" "$e2e_dir/ca"
expect "an encrypted twin pulls, without any key" cri_pull "$stage_ip:$port/img:encrypted" one
expect_eq "still two layers, none of them fetched" "$(sn ls | grep -c Committed) $(content_bytes) $(layer_bytes)" "2 0 0"

# ---- kill -9, then the same again
stage_stop snapshotter KILL
expect_not "nothing answers while it is gone" sn ls 2>/dev/null
rm -f "$sock"
snapshotter_start
expect "containerd finds it again" stage_wait 10 sn ls
expect_eq "both layers are still known" "$(sn ls | grep -c Committed)" 2
expect "pulling again needs nothing" cri_pull "$stage_ip:$port/img:1" one
top=$(sn ls | awk '/Committed/ && $2 ~ /^sha256/ { print $1 }')
expect "prepare for a container" sn prepare ctr1 "$top"
before=$(sn mounts /target ctr1)
stage_stop snapshotter
snapshotter_start
stage_wait 10 sn ls || true
expect_eq "mounts are the same bytes after a restart" "$(sn mounts /target ctr1)" "$before"
volume=$(printf '%s' "$before" | sed -n 's/.*io.katacontainers.volume=\([A-Za-z0-9+/=]*\).*/\1/p' | base64 -d)
expect "the volume names the image" sh -c "printf '%s' '$volume' | grep -q '\"source\":\"$stage_ip:$port/img:'"
expect "the volume lists both layers" sh -c "printf '%s' '$volume' | grep -q 'io.coffer.layers=sha256:[0-9a-f]*,sha256:'"

# ---- containerd mounts the root for a moment to look up users: mount.fuse and our helper
mkdir -p "$e2e_dir/target"
opts=$(printf '%s' "$before" | sed -n 's/.* -o \([^ ]*\).*/\1/p')
expect "the helper mounts" env PATH="$COFFER_BIN:$PATH" mount.fuse overlay "$e2e_dir/target" -o "$opts" -o ro -t nydus-overlayfs-coffer
expect "it is read-only, devices allowed as asked" sh -c "grep ' $e2e_dir/target overlay ro,' /proc/mounts | grep -vq nodev"
umount "$e2e_dir/target"
expect "rm of the container's snapshot" sn rm ctr1

# ---- the state is lost while containerd still knows its snapshots
stage_stop snapshotter
rm -rf "$state"
snapshotter_start
stage_wait 10 sn ls || true
expect "pulling goes on after the state was lost" cri_pull "$stage_ip:$port/img:1" one
expect "so does a container's snapshot" sn prepare ctr2 "$top"
expect "and its mounts" sh -c "ctr -a '$e2e_dir/ctd/containerd.sock' -n k8s.io snapshots --snapshotter coffer mounts /mnt ctr2 | grep -q 'io.katacontainers.volume='"
expect "rm of it" sn rm ctr2

# ---- images go: what is known goes with them
for i in 1 same config encrypted; do printf 'image { image: "%s" }' "$stage_ip:$port/img:$i" | cri Image/RemoveImage; done
gone() { [ "$(sn ls | grep -c Committed)" = 0 ]; }
expect "garbage collection removes the layers" stage_wait 20 gone

# ---- removed, and pulled again
fetched=$(blobs_fetched)
expect "the image is pulled again" cri_pull "$stage_ip:$port/img:1" one
expect_eq "its layers are known again" "$(sn ls | grep -c Committed)" 2
expect_eq "and no layer was fetched" "$(($(blobs_fetched) - fetched)) $(content_bytes) $(layer_bytes)" "1 0 0"
printf 'image { image: "%s" }' "$stage_ip:$port/img:1" | cri Image/RemoveImage
expect "it goes again" stage_wait 20 gone

# ---- pulled with another snapshotter before: containerd unpacks it for us, without labels. Here without
# the differ (tests/long/snapshotter_differ.sh has it): it writes, and what it wrote is thrown away.
ns=(-n other)
other() { ctr -a "$e2e_dir/ctd/containerd.sock" -n other "$@"; }
other_pull() { # SNAPSHOTTER: what is here is not fetched again
	stage_in ctr -a "$e2e_dir/ctd/containerd.sock" -n other images pull --snapshotter "$1" \
		--hosts-dir "$e2e_dir/ctd/certs.d" "$stage_ip:$port/img:1"
}
expect "another snapshotter pulls" other_pull overlayfs
before=$(content_bytes)
fetched=$(blobs_fetched)
expect "the image is unpacked for us" other_pull coffer
expect_eq "its layers are known" "$(sn ls | grep -c Committed)" 2
nothing_kept() { [ "$(layer_bytes)" = 0 ]; }
expect "nothing of them is kept below our root" stage_wait 10 nothing_kept
expect_eq "and nothing new came to the host" "$(content_bytes) $(blobs_fetched)" "$before $fetched"
other images rm --sync "$stage_ip:$port/img:1" >/dev/null
expect "it goes, with its layers" stage_wait 20 gone
stage_stop containerd
stage_stop snapshotter
expect_eq "no directory is left" "$(ls "$state/snapshots" | wc -l)" 0
expect_not "the socket is gone" test -e "$sock"
