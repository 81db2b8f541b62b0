#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Policy decisions per second (input read and rule evaluated), beside OPA in the same run when there is
# one: COFFER_OPA=/path/to/opa. POLICY_PERF_STRICT=1 fails when OPA is not left behind three times.
set -eu
top=${COFFER_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
bin=${COFFER_BIN:-$top/build/release/bin}
build=$(dirname "$bin")
[ -f "$build/lib/libpolicy.a" ] || { echo "SKIP: not built: $build/lib/libpolicy.a"; exit 77; }
if nm "$build/lib/libpolicy.a" 2>/dev/null | grep -q __asan_; then
	echo "SKIP: a sanitizer build says nothing about speed"
	exit 77
fi
opa=${COFFER_OPA:-$(command -v opa || true)}
work=$(mktemp -d "${TMPDIR:-/tmp}/coffer-perf.XXXXXX")
trap 'rm -rf "$work"' EXIT
cc -O2 -std=gnu17 -D_GNU_SOURCE -I"$top" -w -o "$work/bench" "$top/tests/perf/policybench.c" \
	"$build/lib/libpolicy.a" "$build/lib/libbase.a" -lcrypto -lpthread
"$work/bench" --write "$work"
"$work/bench" --seconds "${POLICY_PERF_SECONDS:-2}" | tee "$work/ours"
size "$build/lib/libpolicy.a" | awk 'NR>1 {t+=$1} END {printf "text of libpolicy.a: %d KiB\n", t/1024}'
[ -n "$opa" ] || { echo "no OPA here: no ratios"; exit 0; }
slow=0
for case in default attestation guest twohundred thousand; do
	# OPA measures the evaluation of a prepared query; its input is read once, ours every time.
	theirs=$("$opa" bench --benchmem=false --format=gobench -d "$work/$case.rego" -d "$work/$case.data.json" \
		-i "$work/$case.input.json" "$(cat "$work/$case.query")" 2>/dev/null |
		awk '/ns\/op/ {for (i = 2; i <= NF; i++) if ($i == "ns/op") print $(i-1)}' | head -n 1)
	ours=$(awk -v c="$case" '$1 == c {print $4 * 1000}' "$work/ours")
	[ -n "$theirs" ] || { echo "$case: OPA gave no figure"; continue; }
	awk -v c="$case" -v o="$ours" -v t="$theirs" \
		'BEGIN {printf "%s: ours %.0f ns (median, input read each time), OPA %.0f ns (mean, input read once): %.1f times\n", c, o, t, t / o}'
	awk -v o="$ours" -v t="$theirs" 'BEGIN {exit !(t < 3 * o)}' && slow=1
done
[ "$slow" = 0 ] || [ -z "${POLICY_PERF_STRICT:-}" ]
