# Helpers of the image tests: sourced, after "set -eu".
# shellcheck shell=bash disable=SC2034
source_dir=${COFFER_SOURCE:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}
bin=${COFFER_BIN:-$source_dir/build/dev/bin}
vectors=${COFFER_VECTORS:-$source_dir/../shared/vectors}
export ASAN_OPTIONS=${ASAN_OPTIONS:-}:detect_leaks=1
fails=0

skip() { echo "SKIP: $*"; exit 77; }
need() { for p in "$@"; do command -v "$p" >/dev/null || skip "$p is not installed"; done; }
fail() { echo "FAIL: $*"; fails=$((fails + 1)); }
verdict() { [ "$fails" = 0 ] && echo "all good"; [ "$fails" = 0 ]; }

# expect CODE NAME COMMAND...: the command's exit code; its output is in $out/last
expect() {
	local want=$1 name=$2 got=0
	shift 2
	"$@" >"$tmp/last" 2>&1 || got=$?
	[ "$got" = "$want" ] || { fail "$name: exit $got, wanted $want"; sed 's/^/    /' "$tmp/last" | tail -15; return 0; }
	echo "ok $name"
}

# A listing that says all about a tree: kind, mode, owner, size, time, link target, device, content, attributes.
describe_tree() {
	(cd "$1" && find . -printf '%P|%y|%m|%U:%G|%T@|%l\n' | awk -F'|' '$2 == "d" || 1' | sed 's/\.[0-9]*|/|/' | LC_ALL=C sort
	 find . -type f -exec sha256sum {} + | LC_ALL=C sort
	 find . \( -type c -o -type b \) -exec stat -c '%n %t:%T' {} + | LC_ALL=C sort
	 find . -type f -links +1 -printf '%P %n\n' | LC_ALL=C sort
	 command -v getfattr >/dev/null && getfattr -R -d -m - . 2>/dev/null | LC_ALL=C sort || true)
}

# start_registry DIR: a registry on a free loopback port; sets $registry (host:port) and $registry_pid
start_registry() {
	mkdir -p "$1/data"
	registry=127.0.0.1:$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
	printf 'version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s/data}, delete: {enabled: true}}\nhttp: {addr: "%s"}\n' "$1" "$registry" >"$1/config.yml"
	docker-registry serve "$1/config.yml" >"$1/log" 2>&1 &
	registry_pid=$!
	for _ in $(seq 100); do
		curl -s -o /dev/null "http://$registry/v2/" && return 0
		read -rt 0.1 <> <(:) || true
	done
	skip "docker-registry does not start: $(tail -1 "$1/log")"
}
