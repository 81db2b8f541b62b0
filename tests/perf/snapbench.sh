#!/usr/bin/env bash
# The snapshotter beside nydus-snapshotter and containerd's own overlayfs, in one run, by turns, each
# time on a fresh root: memory, start, calls a second, times of each call, and the ratios promised.
#   SNAPBENCH_ROUNDS=3     how often each is measured; medians are printed
#   SNAPBENCH_LAYERS=10000 layers in the full store
#   SNAPBENCH_USED=10000   pods that have come and gone, each with a layer of its own, before a start
#   SNAPBENCH_FLAT=50000   up to how many records Prepare must not slow down
#   NYDUS_GRPC=PATH        that peer's program; else the package of Debian trixie is fetched
#   SNAPBENCH_STRICT=1     fail over a promise; without it they are printed alone
set -eu
top=${COFFER_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
bin=${COFFER_BIN:-$top/build/release/bin}
bench=$(dirname "$bin")/tests/snapbench starter=$(dirname "$bin")/tests/snapbench_h2
[ -x "$bin/coffer-snapshotter" ] && [ -x "$bench" ] || { echo "skipped: not built: $bin/coffer-snapshotter"; exit 77; }
if nm "$bin/coffer-snapshotter" 2>/dev/null | grep -q __asan_init; then
	echo "skipped: a sanitizer build says nothing about speed"
	exit 77
fi
rounds=${SNAPBENCH_ROUNDS:-3} layers=${SNAPBENCH_LAYERS:-10000} flat=${SNAPBENCH_FLAT:-50000} used=${SNAPBENCH_USED:-10000}
work=$(mktemp -d "${TMPDIR:-/tmp}/coffer-snapbench.XXXXXX")
pid=
end() {
	[ -z "$pid" ] || kill -9 "$pid" 2>/dev/null || true
	rm -rf "$work"
}
trap end EXIT
trap 'exit 143' TERM INT

# One package of another Debian suite through apt's own configuration, unpacked below DIR.
fetch_deb() { # SUITE DIR PACKAGE
	local site st=$2/apt
	site=$(apt-get indextargets --format '$(SITE) $(ORIGIN) $(LABEL)' 'Created-By: Packages' 2>/dev/null |
		awk '$2 == "Debian" && $3 == "Debian" { print $1; exit }')
	[ -n "$site" ] || return 1
	mkdir -p "$st/lists/partial" "$st/cache/archives/partial" "$st/parts" "$2/root"
	echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $site $1 main" >"$st/sources.list"
	local apt=(apt-get -qq -o Dir::Etc::sourcelist="$st/sources.list" -o Dir::Etc::sourceparts="$st/parts"
		-o Dir::State::lists="$st/lists" -o Dir::Cache="$st/cache" -o Dir::State::status=/dev/null
		-o APT::Sandbox::User=root)
	"${apt[@]}" update && (cd "$st" && "${apt[@]}" download "$3") && dpkg -x "$st/$3"_*.deb "$2/root"
}
nydus=${NYDUS_GRPC:-}
if [ -z "$nydus" ]; then
	fetch_deb trixie "$work/peer" nydus-snapshotter >"$work/fetch.log" 2>&1 || true
	nydus=$work/peer/root/usr/bin/containerd-nydus-grpc
fi
peers=ours
if [ -x "$nydus" ]; then peers="$peers nydus"; else echo "nydus-snapshotter is not to be had: no ratios"; fi
if command -v containerd >/dev/null && [ "$(id -u)" -eq 0 ]; then peers="$peers overlayfs"; fi

# ---- one server at a time: $sock, $pid, and what the client is told ----
first=sha256:0000000000000000000000000000000000000000000000000000000000000000 # of populate's layers
launch() { # WHO FIGURE [NAME]: starts it, sets $pid, notes how long that took, until it says that NAME is there
	local command
	sock=$work/sock more=()
	rm -f "$sock"
	case $1 in
	ours) command=("$bin/coffer-snapshotter" --state-dir "$work/root" --listen "$sock" --log-level warn) ;;
	nydus)
		printf 'version = 1\nroot = "%s/root"\naddress = "%s"\n[daemon]\nfs_driver = "proxy"\n[snapshot]\nenable_kata_volume = true\n[log]\nlevel = "warn"\n' \
			"$work" "$sock" >"$work/nydus.toml"
		command=("$nydus" --config "$work/nydus.toml" --log-to-stdout)
		;;
	overlayfs)
		printf 'version = 2\nroot = "%s/root"\nstate = "%s/state"\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\naddress = "%s"\n' \
			"$work" "$work" "$sock" >"$work/containerd.toml"
		command=(containerd -c "$work/containerd.toml" -l error)
		more=(-s overlayfs)
		;;
	esac
	"$starter" "$sock" "${more[@]}" start "${3:-nobody}" "${command[@]}" >"$work/started" 2>>"$work/log"
	pid=$(sed -n 's/.* pid=\([0-9]*\).*/\1/p' "$work/started")
	take "$2" <"$work/started"
}
ask() { "$bench" "$sock" "${more[@]}" "$@"; }
stop() { # the client that started it is gone: it is nobody's child here
	kill -9 "$pid" 2>/dev/null || true
	while kill -0 "$pid" 2>/dev/null; do :; done
	pid=
}
status() { awk -v k="$1:" '$1 == k { print $2 }' "/proc/$pid/status"; }
written() { awk '$1 == "write_bytes:" { print $2 }' "/proc/$pid/io"; }
cpu_ms() { awk -v hz="$(getconf CLK_TCK)" '{ print ($14 + $15) * 1000 / hz }' "/proc/$pid/stat"; }
note() { echo "$2" >>"$work/$who.$1"; } # FIGURE VALUE
take() { # PREFIX: "phase=x key=value …" lines on stdin become figures PREFIX.key
	tr ' ' '\n' | awk -F= '$1 != "phase" && NF == 2' | while IFS='=' read -r k v; do note "$1.$k" "$v"; done
}

measure() { # WHO
	who=$1
	rm -rf "$work/root" "$work/state"
	launch "$who" first_start
	stop
	rm -rf "$work/root" "$work/state"
	launch "$who" start
	sleep 1
	note rest.rss "$(status VmRSS)"
	note rest.anon "$(status RssAnon)"
	note rest.threads "$(status Threads)"
	ask native 100 1 | take native1
	ask native 50 8 | take native8
	if [ "$who" != overlayfs ]; then measure_pull; fi
	stop
}
measure_pull() {
	local bytes cpu
	for c in 1 2 8 32; do ask guestpull $((c == 1 ? 200 : 400 / c)) $c | take "empty$c"; done
	bytes=$(written) cpu=$(cpu_ms)
	ask populate "$layers" 30 | take populate
	note populate.bytes $((($(written) - bytes) / layers))
	note populate.cpu_us "$(awk -v a="$cpu" -v b="$(cpu_ms)" -v n="$layers" 'BEGIN { print (b - a) * 1000 / n }')"
	note full.rss "$(status VmRSS)"
	note full.anon "$(status RssAnon)"
	note full.disk_kb "$(du -sk "$work/root" | cut -f1)"
	note full.inodes "$(find "$work/root" | wc -l)"
	ask guestpull 200 1 | take full1
	ask guestpull 50 8 | take full8
	ask listall | take listall
	ask gcstorm 500 | take gcstorm
	stop
	launch "$who" restart "$first"
	ask verify "$layers" 30 | take verify
	note restarted.rss "$(status VmRSS)"
}

median() { # WHO FIGURE
	[ -s "$work/$1.$2" ] || { echo -; return; }
	sort -n "$work/$1.$2" | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}
spread() { sort -n "$work/$1.$2" 2>/dev/null | sed -n '1p;$p' | paste -sd- -; }
row() { # FIGURE TEXT
	printf '%-44s' "$2"
	for w in $peers; do printf ' %12s (%s)' "$(median "$w" "$1")" "$(spread "$w" "$1")"; done
	echo
}
failed=0
promise() { # TEXT ACTUAL OP WANTED
	local verdict
	verdict=$(awk -v a="$2" -v op="$3" -v w="$4" 'BEGIN { print ((op == "<=" ? a <= w : a >= w) ? "kept" : "MISSED") }')
	echo "promise $verdict: $1: $2 ($3 $4)"
	[ $verdict = kept ] || failed=1
}
ratio() { awk -v a="$(median "$1" "$3")" -v b="$(median "$2" "$3")" 'BEGIN { printf "%.3f", b ? a / b : 0 }'; }

echo "load before: $(cut -d' ' -f1-3 /proc/loadavg); $rounds rounds; $(nproc) cores; $(df --output=fstype "$work" | tail -n 1)"
for _ in $(seq "$rounds"); do
	for w in $peers; do measure "$w"; done
done

# Flat: a median is a median of the disk's moods too, so small and large are measured twice, in turn.
who=ours
rm -rf "$work/root"
launch ours flat
ask populate 100 30 >/dev/null
ask prepare 300 | take flat100
ask prepare 300 | take flat100
ask populate "$flat" 30 >/dev/null
ask prepare 300 | take flatmax
ask prepare 300 | take flatmax
note flatmax.rss "$(status VmRSS)"
stop

# A node that has lived: each layer was some pod's. What pods leave behind, a start has to get through.
for who in $(echo "$peers" | grep -o 'ours\|nydus'); do
	rm -rf "$work/root" "$work/state"
	launch "$who" ignored
	ask guestpull $((used / 8)) 8 | take lived
	ask populate 1 1 >/dev/null # one of a known name
	for _ in 1 2 3 4 5; do
		stop
		launch "$who" lived_start "$first"
	done
	note lived.rss "$(status VmRSS)"
	stop
done

echo "load after: $(cut -d' ' -f1-3 /proc/loadavg)"
echo "medians (lowest-highest); columns: $peers; times in us, memory in kB"
row start.accepts "start, empty root, until it accepts"
row start.us "start, empty root, to the first answer"
row restart.accepts "start after kill -9, $layers layers, accepts"
row restart.us "start after kill -9, $layers layers"
row lived_start.us "start after kill -9, $used layers that pods have used"
row lived.rss "VmRSS after that start"
row rest.rss "VmRSS at rest"
row rest.anon "RssAnon at rest"
row rest.threads "threads"
row full.rss "VmRSS with $layers layers"
row full.anon "RssAnon with $layers layers"
row restarted.rss "VmRSS after that restart"
row full.disk_kb "state directory, kB"
row full.inodes "state directory, inodes"
row populate.calls_per_s "populate, layers/s, 8 clients"
row populate.bytes "bytes written for a layer"
row populate.cpu_us "CPU for a layer"
for c in 1 2 8 32; do row empty$c.calls_per_s "guest pull, calls/s, $c clients, empty store"; done
row full1.calls_per_s "guest pull, calls/s, 1 client, full store"
row full8.calls_per_s "guest pull, calls/s, 8 clients, full store"
row native1.calls_per_s "native, calls/s, 1 client"
row native8.calls_per_s "native, calls/s, 8 clients"
for s in prepare_layer list_ref prepare_container mounts stat usage remove; do
	row empty1.$s.p50 "$s p50, empty store"
	row empty1.$s.p99 "$s p99, empty store"
	row full1.$s.p50 "$s p50, full store"
done
row listall.us "List of everything, full store"
row gcstorm.removes_per_s "removals/s while 4 clients Prepare"
row gcstorm.prepare_layer.p99 "Prepare(layer) p99 in that"
if [ -s "$work/nydus.start.us" ]; then
	promise "Prepare(layer) p50, empty store, of the peer's" "$(ratio ours nydus empty1.prepare_layer.p50)" "<=" 0.334
	promise "Prepare(layer) p50, full store, of the peer's" "$(ratio ours nydus full1.prepare_layer.p50)" "<=" 0.334
	promise "8 clients, empty store, times the peer's calls/s" "$(ratio ours nydus empty8.calls_per_s)" ">=" 4
	promise "8 clients, $layers layers, times the peer's calls/s" "$(ratio ours nydus full8.calls_per_s)" ">=" 10
	promise "start after kill -9 with $layers layers never used, of the peer's" "$(ratio ours nydus restart.us)" "<=" 0.25
	promise "start after kill -9 with $used layers that pods have used, of the peer's" \
		"$(ratio ours nydus lived_start.us)" "<=" 0.25
	promise "memory at rest, of the peer's" "$(ratio ours nydus rest.rss)" "<=" 0.334
	promise "memory with $layers layers, of the peer's" "$(ratio ours nydus full.rss)" "<=" 0.334
fi
promise "Prepare(layer) p50 at $flat records, times that at 100" \
	"$(awk -v a="$(median ours flatmax.prepare_layer.p50)" -v b="$(median ours flat100.prepare_layer.p50)" 'BEGIN { printf "%.2f", a / b }')" "<=" 1.3
promise "memory at rest, kB" "$(median ours rest.rss)" "<=" 13312
[ $failed -eq 0 ] || [ -z "${SNAPBENCH_STRICT:-}" ] || exit 1
