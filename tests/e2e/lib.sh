# Shared by the end-to-end tests: the stage of deploy/lib, assertions, clean-up at exit.
set -euo pipefail
e2e_top=${COFFER_SOURCE:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}
: "${COFFER_BIN:=$e2e_top/build/release/bin}"
export COFFER_BIN
. "$e2e_top/deploy/lib/stage.sh"
. "$e2e_top/deploy/lib/peers.sh"
. "$e2e_top/deploy/lib/cri.sh"
. "$e2e_top/deploy/lib/images.sh"

e2e_skip() { echo "skipped: $*"; exit 77; }
e2e_fail() { echo "FAILED: $*" >&2; exit 1; }
e2e_need() { # PROGRAM...
	local p
	for p; do command -v "$p" >/dev/null || e2e_skip "$p is not installed"; done
}
e2e_root() { [ "$(id -u)" -eq 0 ] || e2e_skip "needs root (network namespaces, mounts)"; }

# Opens a stage that is closed and removed at exit; kept when the test fails and COFFER_KEEP is set.
e2e_stage() { # NAME
	e2e_dir=$(mktemp -d "/tmp/coffer-$1.XXXXXX")
	trap e2e_end EXIT
	trap "exit 143" TERM INT
	stage_open "$e2e_dir"
}
e2e_end() {
	local status=$?
	if [ $status -ne 0 ] && [ $status -ne 77 ]; then
		for f in "$e2e_dir"/log/*.log; do
			[ -s "$f" ] && { echo "--- $(basename "$f")"; tail -n "${COFFER_LOG_LINES:-15}" "$f"; }
		done >&2
	fi
	stage_close
	e2e_netns_end
	if [ $status -ne 0 ] && [ -n "${COFFER_KEEP:-}" ]; then echo "kept: $e2e_dir" >&2; else rm -rf "$e2e_dir"; fi
	exit $status
}

# containerd's configuration for our snapshotter; what the README of snapshotter/ tells administrators.
# $COFFER_CONTAINERD_TRANSFER: the way of containerd 2.1 and later, whose transfer service pulls.
e2e_snapshotter_toml() { # SOCKET
	if [ -n "${COFFER_CONTAINERD_TRANSFER:-}" ]; then
		cat <<C
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "coffer"
  default_runtime_name = "coffer"
[[plugins."io.containerd.transfer.v1.local".unpack_config]]
  platform = "linux"
  snapshotter = "coffer"
[proxy_plugins.coffer.exports]
  enable_remote_snapshot_annotations = "true"
C
	else
		cat <<C
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "coffer"
  default_runtime_name = "coffer"
  disable_snapshot_annotations = false
C
	fi
	cat <<C
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.coffer]
  runtime_type = "io.containerd.coffer.v2"
  pod_annotations = ["io.coffer.*", "io.katacontainers.*"]
[proxy_plugins.coffer]
  type = "snapshot"
  address = "$1"
C
}

# Network namespaces of pods that a failed test did not remove.
e2e_netns_end() {
	local n
	[ ! -e "$e2e_dir/run/pods.netns" ] || while read -r n; do
		[ ! -e "$n" ] || ip netns del "$(basename "$n")" || true
	done <"$e2e_dir/run/pods.netns"
}

expect() { # DESCRIPTION COMMAND...
	local what=$1
	shift
	"$@" || e2e_fail "$what"
	echo "ok: $what"
}
expect_not() {
	local what=$1
	shift
	! "$@" || e2e_fail "$what"
	echo "ok: $what"
}
expect_eq() { # DESCRIPTION ACTUAL WANTED
	[ "$2" = "$3" ] || e2e_fail "$1: '$2', wanted '$3'"
	echo "ok: $1"
}
