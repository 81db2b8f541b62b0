#!/usr/bin/env bash
# docs/drop-in-snapshotter.md, run as it is written: its blocks of commands, on a node whose PID 1 is a
# real systemd (this system's root under an overlay, in namespaces of its own), with nydus-snapshotter
# 0.13.4 and containerd as units. Swap, check, compare, roll back; then our own units: socket activation,
# restarts and kills that refuse nobody, erofs mode with mounts that containerd sees.
. "$(dirname "$0")/../e2e/lib.sh"
. "$(dirname "$0")/lib_debs.sh"
e2e_root
e2e_need containerd ctr docker-registry skopeo umoci curl protoc busybox ip jq mount.fuse unshare systemd-analyze journalctl
[ -x /lib/systemd/systemd ] || e2e_skip "systemd is not installed"
[ -e /lib/systemd/system/containerd.service ] || e2e_skip "containerd has no unit here"
cgroup2=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
[ -n "$cgroup2" ] || e2e_skip "no cgroup v2 hierarchy is mounted"
for p in coffer-snapshotter coffer-layer-helper nydus-overlayfs-coffer; do [ -x "$COFFER_BIN/$p" ] || e2e_skip "$p is not built"; done
peers=$e2e_top/build/peers/nydus
debs_unpack trixie "$peers" nydus-snapshotter || e2e_skip "nydus-snapshotter cannot be had from apt's sources"
nydus=$peers/root/usr/bin
"$nydus/containerd-nydus-grpc" --version >/dev/null 2>&1 || e2e_skip "nydus-snapshotter does not run on this system"
page=$e2e_top/docs/drop-in-snapshotter.md

# ---- a node

# A private root, with none of this system's services but what systemd itself is made of.
node_root() { # DIRECTORY: prints nothing; leaves it as the root of a new mount namespace
	local r=$1/root u d
	mount --make-rprivate /
	mount -t tmpfs tmpfs "$1"
	mkdir "$1/up" "$1/work" "$r"
	mount -t overlay overlay -o "lowerdir=/,upperdir=$1/up,workdir=$1/work" "$r"
	rm -rf "$r"/etc/systemd/system/*.wants/*
	for u in systemd-udevd systemd-udev-trigger systemd-timesyncd systemd-pstore systemd-networkd systemd-logind \
		systemd-modules-load systemd-sysctl systemd-remount-fs systemd-resolved systemd-binfmt getty@tty1 console-getty; do
		ln -sf /dev/null "$r/etc/systemd/system/$u.service"
	done
	: >"$r/etc/fstab"
	mount -t proc proc "$r/proc"
	mount -t sysfs -o ro sysfs "$r/sys"
	mount -t cgroup2 cgroup2 "$r/sys/fs/cgroup"
	mount --rbind /dev "$r/dev"
	mount -t tmpfs tmpfs "$r/run"
	for d in "$e2e_top" "$(dirname "$COFFER_BIN")" "$e2e_dir"; do
		mkdir -p "$r$d" && mount --rbind "$d" "$r$d"
	done
	# State lies on a file system of one kind, as on a node; the overlay above is none to stand on.
	for d in /var/lib/containerd /var/lib/coffer; do
		mkdir -p "$r$d" && mount -t tmpfs tmpfs "$r$d"
	done
	cd "$r"
	mkdir -p .old
	pivot_root . .old
	umount -l /.old
}
node_main() {
	echo $$ >"$cgroup/cgroup.procs"
	exec unshare --mount --pid --uts --ipc --cgroup --fork --kill-child=KILL bash -c "
		set -eu
		$(declare -p e2e_top e2e_dir COFFER_BIN)
		$(declare -f node_root)
		node_root $e2e_dir/node
		exec env -i container=coffer-test PATH=$PATH /lib/systemd/systemd --system --unit=multi-user.target --log-target=null"
}
node_pid() { pgrep -P "$(stage_pid systemd)" | head -n 1; }
on_node() { nsenter -t "$node_pid" -m -p -u -i -n -C env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb "$@"; }
put() { on_node sh -c 'mkdir -p "$(dirname "$1")" && cat >"$1"' sh "$1"; } # FILE, from standard input
node_is_up() { [ "$(on_node systemctl is-system-running)" = running ]; }
cgroup=$cgroup2/coffer-test-$$
node_cgroup_gone() {
	find "$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null || true
	[ ! -e "$cgroup" ]
}
node_end() {
	local status=$?
	set +e
	rm -f "$e2e_dir/asking"
	stage_stop systemd KILL
	stage_wait 5 node_cgroup_gone
	(exit $status)
	e2e_end
}

# ---- the page

# The NUMBERth block of LANGUAGE below the heading that begins with TITLE.
block() { # TITLE LANGUAGE NUMBER
	awk -v title="## $1" -v open="\`\`\`$2" -v number="$3" '
		/^## / { here = index($0, title) == 1 }
		here && $0 ~ "^ *```$" && inside { exit }
		inside { print }
		here && index($0, open) && ++n == number { inside = 1 }' "$page"
}
runs() { # TITLE NUMBER [SED-SCRIPT]: a block of commands, on the node, in the project's directory
	local text
	text=$(block "$1" sh "$2" | sed "${3:-}")
	[ -n "$text" ] || e2e_fail "the page has no block $2 under $1"
	on_node env -C "$e2e_top" bash -uc "$text" >"$e2e_dir/said" 2>&1 || { cat "$e2e_dir/said" >&2; return 1; }
}
says() { grep -qE -- "$1" "$e2e_dir/said" || { cat "$e2e_dir/said" >&2; return 1; }; }

# ---- start

e2e_stage systemd
trap node_end EXIT
port=5467
peer_registry "$e2e_dir/registry" $port
mkdir -p "$e2e_dir/ca" "$e2e_dir/one" "$e2e_dir/node" "$cgroup"
cp "$e2e_dir/registry/tls/ca.pem" "$e2e_dir/ca/ca.crt"
for n in 1 2 3; do
	echo "image $n" >"$e2e_dir/one/number"
	image_small "$e2e_dir/img" "$e2e_dir/one"
	image_push "$e2e_dir/img" "$stage_ip:$port/img:$n" "$e2e_dir/ca"
done
stage_bg systemd bash -c "$(declare -p e2e_top e2e_dir COFFER_BIN cgroup PATH); $(declare -f node_root node_main); node_main"
stage_wait 10 node_pid || e2e_skip "no namespaces for a systemd"
node_pid=$(node_pid)
stage_wait 30 node_is_up || { on_node systemctl --failed --no-pager >&2; e2e_skip "systemd does not run in namespaces here"; }
expect_eq "PID 1 of the node is systemd" "$(on_node cat /proc/1/comm)" systemd

on_node install -m 0755 "$nydus/containerd-nydus-grpc" "$nydus/nydus-overlayfs" /usr/local/bin/
on_node install -m 0755 "$COFFER_BIN"/coffer-snapshotter{,-content} "$COFFER_BIN/coffer-layer-helper" "$COFFER_BIN/nydus-overlayfs-coffer" /usr/bin/
put /etc/nydus/config.toml <<C
version = 1
root = "/var/lib/containerd/io.containerd.snapshotter.v1.nydus"
address = "/run/containerd-nydus/containerd-nydus-grpc.sock"
daemon_mode = "none"
[system]
enable = true
address = "/run/containerd-nydus/system.sock"
[daemon]
fs_driver = "proxy"
[log]
log_to_stdout = true
[snapshot]
enable_kata_volume = true
C
put /etc/systemd/system/nydus-snapshotter.service <<C
[Unit]
After=network.target
Before=containerd.service
[Service]
Type=simple
Environment=HOME=/root
ExecStart=/usr/local/bin/containerd-nydus-grpc --config /etc/nydus/config.toml
Restart=always
RestartSec=1
KillMode=process
OOMScoreAdjust=-999
C
{
	block "containerd's configuration" toml 1
	printf '[plugins."io.containerd.grpc.v1.cri".registry]\n  config_path = "/etc/containerd/certs.d"\n'
	printf '[proxy_plugins.ours]\n  type = "snapshot"\n  address = "/run/coffer/snapshotter.sock"\n'
} | put /etc/containerd/config.toml
printf 'server = "https://%s"\n[host."https://%s"]\n  ca = "%s"\n' "$stage_ip:$port" "$stage_ip:$port" "$e2e_dir/ca/ca.crt" |
	put "/etc/containerd/certs.d/$stage_ip:$port/hosts.toml"
on_node systemctl daemon-reload
on_node systemctl start nydus-snapshotter containerd
cri_socket=/proc/$node_pid/root/run/containerd/containerd.sock
answers() { on_node ctr -n k8s.io snapshots --snapshotter "${1:-nydus}" ls; }
expect "containerd uses nydus-snapshotter" stage_wait 15 answers
cri_pod_config one "$e2e_dir/podlog" "" >"$stage_dir/run/pod-one.txt"
pull() { cri_pull "$stage_ip:$port/img:$1" one >/dev/null; }
expect "an image pulls" pull 1
ids() { answers | tail -n +2 | sort; }
ids >"$e2e_dir/before"
containerd_pid() { on_node systemctl show -p MainPID --value containerd; }
was=$(containerd_pid)

# ---- Swap, Check
expect "page: find out what runs" runs Swap 1
expect "it names the unit and its configuration" says 'ExecStart=.*--config /etc/nydus/config.toml'
expect "page: the swap" runs Swap 2
expect "containerd finds it" stage_wait 10 answers
expect_eq "its unit is active" "$(on_node systemctl is-active nydus-snapshotter)" active
expect "page: the check" runs Check 1
expect "what was taken over is in the journal" says "took over nydus-snapshotter's state .*snapshots=1 "
expect "then that it is ready" says 'ready address=/run/containerd-nydus/containerd-nydus-grpc.sock'
expect "nothing was lost" says '^coffer_resurrected_total 0$'
expect "nothing came to the host" says '^coffer_host_layer_bytes_total 0$'
ids >"$e2e_dir/after"
expect "every snapshot is there" diff "$e2e_dir/before" "$e2e_dir/after"
expect "an image pulls" pull 2
expect_eq "containerd was not restarted" "$(containerd_pid)" "$was"

# ---- the state is lost, and compared with containerd's
on_node sh -c 'systemctl stop containerd nydus-snapshotter; rm /var/lib/containerd/io.containerd.snapshotter.v1.nydus/metadata.sqlite*'
expect "page: compare and repair" runs Troubleshooting 1
expect "it says what is missing, and puts it back" says '2 missing here, .* 2 put back'
expect "containerd finds it" stage_wait 15 answers
expect_eq "both images are known" "$(answers | grep -c Committed)" 2

# ---- Roll back
printf 'image { image: "%s" }' "$stage_ip:$port/img:2" | cri Image/RemoveImage
gone() { [ "$(answers | grep -c Committed)" = 1 ]; }
expect "the image of since is removed" stage_wait 20 gone
expect "page: roll back" runs "Roll back" 1
expect "containerd finds nydus-snapshotter" stage_wait 15 answers
expect_eq "it is the old one" "$(on_node sh -c 'readlink /proc/$(systemctl show -p MainPID --value nydus-snapshotter)/exe | xargs sha256sum | cut -c1-64')" \
	"$(sha256sum <"$nydus/containerd-nydus-grpc" | cut -c1-64)"
ids >"$e2e_dir/after"
expect "with what it had" diff "$e2e_dir/before" "$e2e_dir/after"

# ---- With socket activation
expect "page: socket activation" runs "With socket activation" 1
expect "our unit is active" on_node systemctl is-active coffer-snapshotter.service
expect_eq "systemd has nothing to say about our units" \
	"$(on_node systemd-analyze verify --man=no coffer-snapshotter.service coffer-snapshotter.socket coffer-snapshotter-control.socket 2>&1)" ""
expect "containerd uses it" stage_wait 10 answers ours
# Does COMMAND again and again while the daemon is ended six times in the way of END; prints what failed.
while_ended() { # END COMMAND...
	local end=$1 n asker
	shift
	touch "$e2e_dir/asking"
	while [ -e "$e2e_dir/asking" ]; do "$@" || echo "status $?"; done >"$e2e_dir/failed" 2>&1 &
	asker=$!
	for n in 1 2 3 4 5 6; do
		$end
		stage_wait 10 health || true
	done
	rm "$e2e_dir/asking"
	wait $asker
	grep -E "^status|error" "$e2e_dir/failed" || true
}
health() { curl -sS --max-time 10 -o /dev/null --unix-socket "/proc/$node_pid/root/run/coffer/system.sock" http://x/v1/health; }
restart() { on_node systemctl restart coffer-snapshotter; }
again() { health 2>/dev/null || health 2>/dev/null || health; } # a kill cuts off the call it meets
kill_it() { on_node systemctl kill -s KILL coffer-snapshotter; }
expect_eq "restarts: every call of containerd's is answered" "$(while_ended restart answers ours)" ""
expect_eq "kills: what was cut off is answered when it is asked again" "$(while_ended kill_it again)" ""
expect "and containerd still uses it" stage_wait 10 answers ours

# ---- the state is wiped under the running daemon
on_node sh -c 'rm -rf /var/lib/coffer/snapshotter/*'
anew() { on_node ctr -n k8s.io snapshots --snapshotter ours prepare "anew$RANDOM"; }
expect "systemd starts it anew, and containers can be made" stage_wait 10 anew
for n in $(answers ours | awk '/anew/ { print $1 }'); do on_node ctr -n k8s.io snapshots --snapshotter ours rm "$n"; done

# ---- erofs mode under its unit
expect "page: erofs mode" runs "With socket activation" 2
sn() { on_node ctr -n k8s.io snapshots --snapshotter ours "$@"; }
expect "prepare" sn prepare a
on_node sh -c 'echo "in a layer" >"$(ctr -n k8s.io snapshots --snapshotter ours mounts /mnt a | grep -o "/var/lib/coffer[^ ]*")/file"'
expect "commit" sn commit base a
expect "prepare on it" sn prepare b base
expect_eq "its mount is seen where containerd is" "$(on_node sh -c 'mkdir -p /m && eval "$(ctr -n k8s.io snapshots --snapshotter ours mounts /m b)" && cat /m/file; umount /m')" "in a layer"
expect "rm" sn rm b
expect "rm of the base" sn rm base
expect_eq "no mount is left" "$(on_node grep -c /var/lib/coffer/snapshotter/mounts /proc/mounts)" 0
