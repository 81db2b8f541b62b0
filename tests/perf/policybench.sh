#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Policy decisions, beside OPA and regorus in the same run where they are there: COFFER_OPA and
# COFFER_REGORUS, or what policy_peers.sh built. Like is compared with like: OPA reads its input once
# (us_p50_values), regorus is asked both ways and with each of its three engines, of which the fastest
# counts. Promise: 3 times OPA, 1 time regorus; POLICY_PERF_STRICT=1 fails below.
set -eu
top=${COFFER_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
bin=${COFFER_BIN:-$top/build/release/bin}
build=$(dirname "$bin")
[ -f "$build/lib/libpolicy.a" ] || { echo "SKIP: not built: $build/lib/libpolicy.a"; exit 77; }
if nm "$build/lib/libpolicy.a" 2>/dev/null | grep -q __asan_; then
	echo "SKIP: a sanitizer build says nothing about speed"
	exit 77
fi
peers=${COFFER_PEERS:-$HOME/.cache/coffer-peers}
pick() { if [ -n "$1" ]; then echo "$1"; elif [ -x "$peers/$2" ]; then echo "$peers/$2"; else command -v "$2" || true; fi; }
opa=$(pick "${COFFER_OPA:-}" opa)
regorus=$(pick "${COFFER_REGORUS:-}" regobench)
cases="default trust guest twohundred thousand attestation"
seconds=${POLICY_PERF_SECONDS:-2}
work=$(mktemp -d "${TMPDIR:-/tmp}/coffer-perf.XXXXXX")
trap 'rm -rf "$work"' EXIT
export COFFER_SOURCE=$top
cc -O2 -std=gnu17 -D_GNU_SOURCE -I"$top" -w -o "$work/bench" "$top/tests/perf/policybench.c" \
	"$build/lib/libpolicy.a" "$build/lib/libbase.a" -lcrypto -lpthread
echo "load: $(cut -d' ' -f1-3 /proc/loadavg)"
"$work/bench" --write "$work"
"$work/bench" --seconds "$seconds" | tee "$work/ours"
size "$build/lib/libpolicy.a" | awk 'NR>1 {t+=$1} END {printf "text of libpolicy.a: %d KiB\n", t/1024}'
slow=0

# ratio CASE WHAT OURS_NS THEIRS_NS PROMISE
ratio() {
	awk -v c="$1" -v w="$2" -v o="$3" -v t="$4" -v p="$5" 'BEGIN {
		printf "%-12s %-34s ours %8.0f ns  theirs %8.0f ns  %5.1f times%s\n", c, w, o, t, t / o, t < p * o ? "  BELOW" : ""
		exit t < p * o }' || slow=1
}
column() { awk -v c="$1" -v n="$2" '$1 == c {print $n * 1000}' "$work/ours"; }

if [ -n "$opa" ]; then
	for case in $cases; do
		theirs=$("$opa" bench --benchmem=false --format=gobench -d "$work/$case.rego" -d "$work/$case.data.json" \
			-i "$work/$case.input.json" "$(cat "$work/$case.query")" 2>/dev/null |
			awk '/ns\/op/ {for (i = 2; i <= NF; i++) if ($i == "ns/op") print $(i-1)}' | head -n 1)
		[ -n "$theirs" ] || { echo "$case: OPA gave no figure"; continue; }
		ratio "$case" "OPA, nothing read" "$(column "$case" 8)" "$theirs" 3
	done
else
	echo "no OPA here (policy_peers.sh --build): no ratio"
fi
if [ -n "$regorus" ]; then
	# shellcheck disable=SC2086
	"$regorus" "$work" "$(awk -v s="$seconds" 'BEGIN {print s / 4}')" $cases > "$work/theirs" || true
	for case in $cases; do
		for way in "3 7 input read each time" "4 8 nothing read"; do
			set -- $way
			best=$(awk -v c="$case" -v n="$1" '$1 == c && (!b || $n < b) {b = $n; e = $2} END {print b, e}' "$work/theirs")
			[ -n "${best% *}" ] || { echo "$case: regorus gave no figure"; continue; }
			ratio "$case" "regorus (${best#* }), ${*:3}" "$(column "$case" "$2")" "${best% *}" 1
		done
	done
else
	echo "no regorus here (policy_peers.sh --build): no ratio"
fi
[ "$slow" = 0 ] || [ -z "${POLICY_PERF_STRICT:-}" ]
