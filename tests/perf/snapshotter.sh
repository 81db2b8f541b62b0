#!/usr/bin/env bash
# The snapshotter at rest and at work: memory, start, calls a second on an empty store and with 10 000
# layers. NYDUS_GRPC=/path/to/containerd-nydus-grpc measures that peer in the same run, and ratios are
# printed. SNAP_PERF_STRICT=1 fails over a promise.
set -eu
top=${COFFER_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
bin=${COFFER_BIN:-$top/build/release/bin}
build=$(dirname "$bin")
[ -x "$bin/coffer-snapshotter" ] || { echo "SKIP: not built: $bin/coffer-snapshotter"; exit 77; }
if nm "$bin/coffer-snapshotter" 2>/dev/null | grep -q __asan_init; then
	echo "SKIP: a sanitizer build says nothing about speed"
	exit 77
fi
n=${SNAP_PERF_N:-500} rss_max_kb=${SNAP_PERF_RSS_KB:-13312}
work=$(mktemp -d "${TMPDIR:-/tmp}/coffer-perf.XXXXXX")
pid=
end() { [ -z "$pid" ] || { kill "$pid" 2>/dev/null; wait "$pid" 2>/dev/null || true; }; rm -rf "$work"; }
trap end EXIT

cc -O2 -std=gnu17 -D_GNU_SOURCE -I"$top" -I"$build/gen" -I"$build/gen/proto" -w -o "$work/bench" \
	"$top/tests/perf/snapshotter_bench.c" "$build/lib/libproto.a" "$build/lib/libpb.a" "$build/lib/libbase.a" \
	-lgrpc_unsecure -lgpr -lprotobuf-c -levent -levent_pthreads -lpthread

start() { # COMMAND...: sets $pid, prints the time to the socket
	local from
	rm -f "$work/sock"
	from=$(date +%s%N)
	"$@" >>"$work/log" 2>&1 &
	pid=$!
	until [ -S "$work/sock" ]; do kill -0 "$pid" 2>/dev/null || { tail -n 5 "$work/log"; exit 1; }; done
	echo "start: $((($(date +%s%N) - from) / 1000)) us"
}
stop() { kill "$pid"; wait "$pid" 2>/dev/null || true; pid=; }
memory() { awk '/VmRSS|RssAnon|Threads/ { printf "%s %s%s  ", $1, $2, $3 } END { print "" }' "/proc/$pid/status"; }
rss() { awk '/VmRSS/ { print $2 }' "/proc/$pid/status"; }

run() { # NAME COMMAND...
	local name=$1
	shift
	echo "== $name"
	start "$@"
	sleep 1
	echo "at rest: $(memory)"
	rest=$(rss)
	"$work/bench" "$work/sock" cycle "$n" 1
	"$work/bench" "$work/sock" cycle $((n / 4)) 8
	"$work/bench" "$work/sock" layers 5000 10000
	echo "with 10 000 layers: $(memory)"
	"$work/bench" "$work/sock" cycle $((n / 2)) 2 | head -n 1
	"$work/bench" "$work/sock" cycle $((n / 2 + 1)) 1
	stop
	start "$@"
	echo "after the restart: $(memory)"
	stop
}

echo "load: $(cut -d' ' -f1-3 /proc/loadavg); binary: $(stat -c %s "$bin/coffer-snapshotter") bytes"
run coffer-snapshotter "$bin/coffer-snapshotter" --state-dir "$work/state" --listen "$work/sock" --log-level warn
ours=$rest
if [ -n "${NYDUS_GRPC:-}" ]; then
	printf 'version = 1\nroot = "%s/nydus"\naddress = "%s/sock"\n[daemon]\nfs_driver = "proxy"\n[snapshot]\nenable_kata_volume = true\n[log]\nlevel = "warn"\n' \
		"$work" "$work" >"$work/nydus.toml"
	run nydus-snapshotter "$NYDUS_GRPC" --config "$work/nydus.toml" --log-to-stdout
	echo "memory at rest: $ours kB against $rest kB"
fi
echo "promise: at most $rss_max_kb kB at rest: $ours kB"
[ "$ours" -le "$rss_max_kb" ] || { [ -z "${SNAP_PERF_STRICT:-}" ] || exit 1; }
