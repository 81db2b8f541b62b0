#!/usr/bin/env bash
# What the node's cache of encrypted layers saves and costs, as ratios inside one run: an encrypted image
# pulled into a new store (as a pod's guest does), from a registry alone, by the pod that brings its layers
# to an empty cache, and by the next one. Twice: the registry on this machine without any limit, which is
# the hardest comparison for a cache, and the same behind a link of LAYER_CACHE_MBIT (500) Mbit/s.
# Promises: the next pod asks the registry for no layer byte. Behind that link it takes ≤ 1 / 1.5 of the
# time, and bringing costs the first pod ≤ 1.1 ×. Beside an unlimited registry, where hashing and writing
# once more takes the cores from the pull itself, ≤ 1.2 × and ≤ 1.5 ×.
#
# Needs root (a network namespace for the link). Everything measured runs in the round robin class where
# that is allowed, so that what else runs on this machine mostly waits.
#   LAYER_CACHE_MB=256 sizes the image; LAYER_CACHE_RUNS=3; LAYER_CACHE_STRICT=1 fails over a promise
set -eu
top=${COFFER_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
bin=${COFFER_BIN:-$top/build/release/bin}
skip() { echo "SKIP: $*"; exit 77; }
for p in coffer-imaged coffer-blobcache; do [ -x "$bin/$p" ] || skip "not built: $bin/$p"; done
nm "$bin/coffer-imaged" 2>/dev/null | grep -q __asan_init && skip "a sanitizer build says nothing about speed"
[ "$(id -u)" = 0 ] || skip "needs root"
for p in docker-registry skopeo umoci openssl curl ip tc; do command -v $p >/dev/null || skip "$p is not installed"; done
mb=${LAYER_CACHE_MB:-256} runs=${LAYER_CACHE_RUNS:-3} mbit=${LAYER_CACHE_MBIT:-500}
work=$(mktemp -d "${TMPDIR:-/tmp}/coffer-perf.XXXXXX") ns=coffer-perf-$$
out=$work; [ -w /dev/shm ] && [ "$(df -m --output=avail /dev/shm | tail -1)" -gt $((mb * 2)) ] && out=$(mktemp -d /dev/shm/coffer-perf.XXXXXX)
rt=; [ "${LAYER_CACHE_RT:-1}" = 0 ] || ! chrt -r 1 true 2>/dev/null || rt="chrt -r 1"
registry_pid='' cache_pid=''
cleanup() {
	for p in $cache_pid $registry_pid; do kill "$p" 2>/dev/null || true; done
	wait
	ip netns del $ns 2>/dev/null || true
	rm -rf "$work" "$out"
}
trap cleanup EXIT
trap 'exit 143' TERM INT
inside() { nsenter --net=/run/netns/$ns "$@"; }

# ---- an encrypted image of words and noise, and its registry behind a loopback of its own ----
ip netns add $ns
ip -n $ns link set lo mtu 1500 up
mkdir -p "$work/tree" "$work/keys" "$work/data"
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$work/keys/rsa.pem" 2>/dev/null
openssl pkey -in "$work/keys/rsa.pem" -pubout -out "$work/rsa.pub"
noise() { openssl enc -aes-128-ctr -K "$1" -iv 00 -nosalt -in /dev/zero 2>/dev/null | head -c "$2" || true; }
for i in $(seq 1 $((mb / 16))); do { noise "0$i" 8M; noise "1$i" 3M | base64; noise "2$i" 4M | od -An -tx1; } 2>/dev/null | head -c 16M >"$work/tree/file$i"; done
umoci --log error init --layout "$work/oci"
umoci --log error new --image "$work/oci:1"
umoci --log error insert --image "$work/oci:1" "$work/tree" /tree
rm -rf "$work/tree"
skopeo copy -q --encryption-key "jwe:$work/rsa.pub" "oci:$work/oci:1" "oci:$work/enc:1" 2>/dev/null
printf 'version: 0.1\nlog: {level: warn, accesslog: {disabled: false}}\nstorage: {filesystem: {rootdirectory: %s/data}}\nhttp: {addr: "127.0.0.1:5000"}\n' "$work" >"$work/config.yml"
# Not by inside(), whose shell would be what is ended.
# shellcheck disable=SC2086
nsenter --net=/run/netns/$ns $rt docker-registry serve "$work/config.yml" >"$work/access" 2>&1 &
registry_pid=$!
for _ in $(seq 100); do
	! inside curl -s -o /dev/null http://127.0.0.1:5000/v2/ || break
	read -rt 0.05 <> <(:) || true
done
inside skopeo copy -q --dest-tls-verify=false "oci:$work/enc:1" docker://127.0.0.1:5000/enc:1
rm -rf "$work/oci" "$work/enc"

# ---- measuring ----
cache_start() { # an empty one
	[ -z "$cache_pid" ] || { kill $cache_pid; wait $cache_pid 2>/dev/null || true; }
	rm -rf "$work/cache"
	# shellcheck disable=SC2086
	$rt "$bin/coffer-blobcache" --listen "$work/cache.sock" --state-dir "$work/cache" >>"$work/cache.log" 2>&1 &
	cache_pid=$!
	for _ in $(seq 100); do
		curl -s -o /dev/null --unix-socket "$work/control.sock" http://localhost/v1/health && return 0
		read -rt 0.05 <> <(:) || true
	done
	cat "$work/cache.log" >&2
	return 1
}
served() { awk '/"GET \/v2\/.*\/blobs\// { for (i = 1; i < NF; i++) if ($i ~ /^HTTP\//) { s += $(i + 2) } } END { printf "%.0f\n", s }' "$work/access"; }
pull() { # CACHE: its seconds, and the bytes of blobs that the registry gave
	local TIMEFORMAT='%R' before s
	rm -rf "$out/o"
	before=$(served)
	# shellcheck disable=SC2086
	s=$({ time COFFER_BLOB_CACHE=$1 inside $rt "$bin/coffer-imaged" --oneshot pull docker://127.0.0.1:5000/enc:1 --tls-verify=false \
		--keys "$work/keys" --out "$out/o" >"$work/last" 2>&1 || { cat "$work/last" >&2; echo failed >&2; }; } 2>&1 | tail -1)
	echo "$s $(($(served) - before))"
}
best() { sort -n "$1" | head -1; }
rounds() { # LINK: fills $work/LINK.{registry,first,next}
	for _ in $(seq "$runs"); do
		pull '' >>"$work/$1.registry"
		cache_start
		pull "$work/cache.sock" >>"$work/$1.first"
		pull "$work/cache.sock" >>"$work/$1.next"
	done
}
fail=0
row() { # NAME VALUE PROMISE-OP LIMIT
	local verdict=
	[ -z "${4:-}" ] || { verdict="promised $3 $4"; awk "BEGIN { exit !($2 $3 $4) }" || { verdict="$verdict: MISSED"; fail=1; }; }
	printf '%-66s %8s  %s\n' "$1" "$2" "$verdict"
}
ratio() { awk "BEGIN { printf \"%.2f\", $1 / $2 }"; }

load0=$(cut -d' ' -f1-2 /proc/loadavg)
pull '' >/dev/null # warm
rounds near
tc -n $ns qdisc add dev lo root tbf rate "${mbit}mbit" burst 256k latency 50ms
rounds far
blob=$(best "$work/near.registry" | cut -d' ' -f2)
echo "an encrypted image, $mb MB, $((blob / 1000000)) MB from the registry; best of $runs; class: ${rt:-ordinary}; load $load0 before, $(cut -d' ' -f1-2 /proc/loadavg) after"
for link in near far; do
	read -r r _ < <(best "$work/$link.registry")
	read -r f _ < <(best "$work/$link.first")
	read -r n bytes < <(best "$work/$link.next")
	name="registry on this machine" first_limit=1.5 next_limit=1.2
	[ $link = near ] || { name="registry behind $mbit Mbit/s" first_limit=1.1 next_limit=0.67; }
	row "$name: seconds from it alone" "$r"
	row "$name: first pod, who brings the layers, over that" "$(ratio "$f" "$r")" '<=' $first_limit
	row "$name: next pod over that" "$(ratio "$n" "$r")" '<=' $next_limit
	# (the configuration is a blob too)
	row "$name: bytes of blobs the next pod asked for" "$bytes" '<' 100000
done
[ "${LAYER_CACHE_STRICT:-0}" = 0 ] || exit $fail
