#!/usr/bin/env bash
# What the layer pipeline promises, as ratios inside one run: one layer, and a whole image pulled from
# a registry and mounted; against inflating alone, and against gzip, sha256sum and tar -x. Then memory.
# Promises: a layer ≤ 1.25 × inflating for big files, ≤ 1.7 × for small ones, ≥ 3 × faster than the
# tools; ≤ 64 MiB for a pull; an encrypted pull ≤ 1.15 × a plain one.
#
# As root everything measured, the peers too, runs in the round robin class, so that what else runs on
# this machine mostly waits; without that, wall time counts on a quiet machine only. The load and the
# CPU time stand beside it.
#   LAYER_PERF_MB=1024 sizes the big layer; LAYER_PERF_RUNS=3; LAYER_PERF_RT=0 measures as it comes;
#   LAYER_PERF_TREE=DIR adds a layer of that tree; LAYER_PERF_STRICT=1 fails over a promise;
#   LAYER_PERF_TABLE=FILE gets the figures as a table
set -eu
top=${COFFER_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
bin=${COFFER_BIN:-$top/build/release/bin}
lib=$(dirname "$bin")/lib gen=$(dirname "$bin")/gen
[ -x "$bin/coffer-imaged" ] || { echo "SKIP: not built: $bin/coffer-imaged"; exit 77; }
if nm "$bin/coffer-imaged" 2>/dev/null | grep -q __asan_init; then
  echo "SKIP: a sanitizer build says nothing about speed"; exit 77
fi
mb=${LAYER_PERF_MB:-1024} runs=${LAYER_PERF_RUNS:-3}
work=$(mktemp -d "${TMPDIR:-/tmp}/coffer-perf.XXXXXX")
out=$work; [ -w /dev/shm ] && [ "$(df -m --output=avail /dev/shm | tail -1)" -gt $((mb * 3)) ] && out=$(mktemp -d /dev/shm/coffer-perf.XXXXXX)
registry_pid='' daemon_pid=''
cleanup() {
  [ -z "$daemon_pid" ] || kill "$daemon_pid" 2>/dev/null || true
  [ -z "$registry_pid" ] || kill "$registry_pid" 2>/dev/null || true
  wait
  rm -rf "$work" "$out"
}
trap cleanup EXIT
rt=; [ "${LAYER_PERF_RT:-1}" = 0 ] || ! chrt -r 1 true 2>/dev/null || rt="chrt -r 1"

isal=; pkg-config --exists libisal && isal=$(pkg-config --libs libisal)
# shellcheck disable=SC2086
cc -O2 -std=gnu17 -D_GNU_SOURCE -I"$top" -o "$work/stages" "$top/tests/perf/layer_stages.c" \
  "$lib/liberofs.a" "$lib/libbase.a" $isal -lzstd -lz -lcrypto

# ---- the generator: words and noise, always the same ----
perl -e 'srand(7); my @w = map { my $n = 2 + int rand 9; join "", map { chr(97 + int rand 26) } 1 .. $n } 1 .. 4000;
  my $n = 0; while ($n < 16 << 20) { my $s = join(" ", map { $w[int(rand(1) ** 2 * 4000)] } 1 .. 12) . "\n"; $n += length $s; print $s }' >"$work/text"
openssl enc -aes-128-ctr -K 00 -iv 00 -nosalt -in /dev/zero 2>/dev/null | head -c 6M >"$work/noise" || true
mkdir "$work/big" "$work/small"
for i in $(seq 1 $((mb / 64))); do
  for j in 1 2 3; do tail -c +$((i * 99991 + j * 33)) "$work/text"; head -c $((i * 99991)) "$work/text"; cat "$work/noise"; done | head -c 64M >"$work/big/lib$i.so"
done
perl -e 'open my $t, "<", "'"$work"'/text"; my $at = 0; for my $d (0 .. 199) { mkdir "'"$work"'/small/d$d";
  for my $f (0 .. 299) { my $n = int(exp(rand(9.5))) + 1; seek $t, $at, 0; read $t, my $b, $n; $at = ($at + $n) % (15 << 20);
  open my $o, ">", "'"$work"'/small/d$d/file$f"; print $o $b; close $o } }'
for l in big small; do
  tar --sort=name --owner=0 --group=0 --mtime=@1000000000 -cf "$work/$l.tar" -C "$work" $l
  gzip -4 -k "$work/$l.tar"; rm -rf "${work:?}/$l"
done
rm -f "$work/text" "$work/noise"
layers="big small"
if [ -n "${LAYER_PERF_TREE:-}" ]; then
  layers="$layers tree"
  tar --sort=name --one-file-system -cf "$work/tree.tar" -C "$LAYER_PERF_TREE" .
  gzip -k "$work/tree.tar"
fi
diff_id() { sha256sum <"$work/$1.tar" | cut -d' ' -f1; }

# ---- measuring ----
best() { sort -n | head -1; }
# shellcheck disable=SC2086
seconds() { local TIMEFORMAT='%R %U %S'; { time $rt "$@" >/dev/null; } 2>&1 | tail -1; }
cat >"$work/unpack" <<'TOOLS'
#!/usr/bin/env bash
# BLOB-OR-URL DIR, as an unpacker does it: a digest of what it downloads, and of what it unpacks
mkdir -p "$2"
case $1 in
http*) curl -s "$1" | tee >(sha256sum >"$2.blob") ;;
*) cat "$1" ;;
esac | gzip -dc | tee >(sha256sum >"$2.diff-id") | tar -x -C "$2"
TOOLS
chmod +x "$work/unpack"
fail=0
table=$work/table
row() { printf '%-62s %8s  %-12s %s\n' "$1" "$2" "$3" "$4"; printf '| %s | %s | %s | %s |\n' "$1" "$2" "$3" "$4" >>"$table"; }
promise() { # NAME VALUE OP LIMIT
  local ok; ok=$(awk -v v="$2" -v l="$4" -v op="$3" 'BEGIN { print (op == "<=" ? v <= l : v >= l) ? "holds" : "MISSED" }')
  row "$1" "$2" "$3 $4" "$ok"
  [ "$ok" = holds ] || fail=1
}
ratio() { awk -v a="${1%% *}" -v b="${2%% *}" 'BEGIN { printf "%.2f", a / b }'; }
machine="$(nproc) cores, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), output on $(df --output=fstype "$out" | tail -1), $([ -n "$rt" ] && echo round robin class || echo usual class)"
load_before=$(cut -d' ' -f1-3 /proc/loadavg)
echo "load before: $load_before; $machine"

# ---- one layer ----
for l in $layers; do
  gz=$work/$l.tar.gz
  : >"$work/i"; : >"$work/d"; : >"$work/p"; : >"$work/t"
  for _ in $(seq "$runs"); do
    seconds "$work/stages" inflate "$gz" >>"$work/i"
    seconds "$work/stages" dummy "$gz" >>"$work/d"
    seconds "$bin/coffer-imaged" --oneshot layer "$gz" --no-sync --out "$out/img" >>"$work/p"
    seconds "$work/unpack" "$gz" "$out/tree" >>"$work/t"; rm -rf "$out/tree"
  done
  [ "$("$bin/coffer-imaged" --oneshot layer "$gz" --no-sync --out "$out/img")" = "sha256:$(diff_id $l)" ] || { echo "wrong diffID"; exit 1; }
  i=$(best <"$work/i"); d=$(best <"$work/d"); p=$(best <"$work/p"); t=$(best <"$work/t")
  [ $l = big ] && inflate_big=$i
  printf '%s: tar %d MB, gz %d MB, image %d MB\n' $l $(($(stat -c %s "$work/$l.tar") >> 20)) $(($(stat -c %s "$gz") >> 20)) $(($(stat -c %s "$out/img") >> 20))
  echo "  inflate only             $i s wall user sys"
  echo "  + two processes, copies  $d s wall user sys"
  echo "  layer → image            $p s wall user sys"
  echo "  gzip|sha256sum|tar -x    $t s wall user sys"
  awk -v i="$i" -v p="$p" -v t="$t" -v n="$(nproc)" 'BEGIN { split(i, a); split(p, b); split(t, c)
    ci = a[2] + a[3]; cp = b[2] + b[3]; wall = cp / n > ci ? cp / n : ci
    printf "  by CPU time alone, whatever else runs here: %.2f x inflating on %d quiet cores at best; the tools take %.2f x\n", wall / ci, n, (c[2] + c[3]) / cp }'
  promise "$l: layer → image over inflating alone" "$(ratio "$p" "$i")" "<=" $([ $l = big ] && echo 1.25 || echo 1.7)
  promise "$l: two processes and copies over inflating alone" "$(ratio "$d" "$i")" "<=" 1.25
  promise "$l: gzip, sha256sum, tar -x over layer → image" "$(ratio "$t" "$p")" ">=" 3
  rm -f "$out/img"
done

# ---- what belongs to processes: proportional set size, so that what they share counts once ----
sample() { # PID...: KiB of these and of their children
  local p v sum=0
  for p in "$@" $(pgrep -d' ' -P "$(echo "$*" | tr ' ' ,)" 2>/dev/null); do
    v=$(awk '/^Pss:/ { print $2 }' "/proc/$p/smaps_rollup" 2>/dev/null || true); sum=$((sum + ${v:-0}))
  done
  echo $sum
}
peak_while() { # RUNNING-PID PID...: the highest sum until the first one ends
  local running=$1 v peak=0; shift
  while kill -0 "$running" 2>/dev/null; do
    v=$(sample "$@"); [ "$v" -le $peak ] || peak=$v
  done
  echo $((peak / 1024))
}

perl -e 'for my $i (0 .. 199_999) {
  my $name = sprintf "dir-%d/a-file-of-usual-name-length-%d", $i / 1000, $i;
  my $h = pack "a100a8a8a8a12a12a8a1a100a6a2a32a32a8a8a155a12", $name, "0000644", "0000000", "0000000",
    "00000000000", "07346545000", " " x 8, "0", "", "ustar", "00", "", "", "", "", "", "";
  substr($h, 148, 8) = sprintf "%06o\0 ", unpack "%32C*", $h; print $h } print "\0" x 1024' >"$work/names.tar"

# ---- a whole image: from a registry, mounted ----
daemon_stop() { kill "$daemon_pid"; wait "$daemon_pid" 2>/dev/null || true; daemon_pid=''; rm -rf "$out/state"; }
daemon_start() { # its mounts are its own and go with it
  mkdir -p "$out/state"
  printf 'socket = "unix://%s/cdh.sock"\n[kbc]\nname = "offline_fs_kbc"\n[image]\nwork_dir = "%s/work"\nimage_security_policy = %s\n' "$out/state" "$out/state" \
    "'{\"default\":[{\"type\":\"insecureAcceptAnything\"}]}'" >"$out/state/cdh.toml"
  # shellcheck disable=SC2086
  OFFLINE_FS_KBC_EXTRA_FILE_PATH=$work/keys.json COFFER_LOG=warn $rt unshare -m --propagation private "$bin/coffer-imaged" --config "$out/state/cdh.toml" &
  daemon_pid=$!
  until [ -S "$out/state/cdh.sock" ]; do read -rt 0.02 <> <(:) || true; done
}
image_make() { # NAME LAYER...
  local l dir=$work/oci-$1 layers='' ids='' config manifest; shift
  mkdir -p "$dir/blobs/sha256"
  put() { local d; d=$(sha256sum <"$1" | cut -d' ' -f1); cp "$1" "$dir/blobs/sha256/$d"; echo "$d"; }
  for l; do
    layers="$layers,{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar+gzip\",\"size\":$(stat -c %s "$work/$l.tar.gz"),\"digest\":\"sha256:$(put "$work/$l.tar.gz")\"}"
    ids="$ids,\"sha256:$(diff_id "$l")\""
  done
  printf '{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":[%s]}}' "${ids#,}" >"$work/doc"
  config=$(put "$work/doc")
  printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","size":%s,"digest":"sha256:%s"},"layers":[%s]}' \
    "$(stat -c %s "$work/doc")" "$config" "${layers#,}" >"$work/doc"
  manifest=$(put "$work/doc")
  printf '{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":%s,"digest":"sha256:%s","annotations":{"org.opencontainers.image.ref.name":"1"}}]}' \
    "$(stat -c %s "$work/doc")" "$manifest" >"$dir/index.json"
  printf '{"imageLayoutVersion":"1.0.0"}' >"$dir/oci-layout"
}
pull() { "$work/pull" "unix://$out/state/cdh.sock" "$registry/$1:1" "$out/state/b-$1"; }

if [ "$(id -u)" = 0 ] && [ "$(uname -m)" = x86_64 ] && command -v docker-registry skopeo curl >/dev/null; then
  # shellcheck disable=SC2046
  cc -O2 -std=gnu17 -D_GNU_SOURCE -w -I"$top" -I"$gen/.." -I"$gen/proto" -I"$gen" -o "$work/pull" "$top/tests/perf/layer_pull.c" \
    -Wl,--start-group "$lib/libproto.a" "$lib/libpb.a" "$lib/libbase.a" -Wl,--end-group $(pkg-config --libs libprotobuf-c libevent libevent_pthreads json-c) -lcrypto -lpthread
  registry=127.0.0.1:$(perl -MIO::Socket -e 'print IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1")->sockport')
  printf 'version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s/registry}}\nhttp: {addr: "%s"}\n' "$work" "$registry" >"$work/registry.yml"
  # shellcheck disable=SC2086
  $rt docker-registry serve "$work/registry.yml" >"$work/registry.log" 2>&1 & registry_pid=$!
  until curl -s -o "$work/v2" "http://$registry/v2/"; do read -rt 0.05 <> <(:) || true; done
  gzip -1 "$work/names.tar" -k -c >"$work/n1.tar.gz"; cp "$work/names.tar" "$work/n1.tar"
  for n in 2 3; do # other names, so that they are layers of their own
    sed "s/a-file-of/$n-file-of/g" "$work/names.tar" | perl -e 'binmode STDIN; while (read STDIN, my $h, 512) {
      if ($h =~ /[^\0]/) { substr($h, 148, 8) = " " x 8; substr($h, 148, 8) = sprintf "%06o\0 ", unpack "%32C*", $h } print $h }' >"$work/n$n.tar"
    gzip -1 -k "$work/n$n.tar"
  done
  image_make gigabyte big
  image_make three n1 n2 n3
  for n in gigabyte three; do skopeo copy -q --dest-tls-verify=false "oci:$work/oci-$n:1" "docker://$registry/$n:1" && rm -rf "$work/oci-$n"; done

  "$bin/coffer" image encrypt --tls-verify=false "$registry/gigabyte:1" "$registry/encrypted:1" --key kbs:///a/b/c --key-file "$work/kek" >"$work/encrypted"
  printf '{"a/b/c":"%s"}' "$(base64 -w0 <"$work/kek")" >"$work/keys.json"

  : >"$work/p"; : >"$work/t"; : >"$work/e"
  blob=sha256:$(sha256sum <"$work/big.tar.gz" | cut -d' ' -f1)
  for _ in $(seq "$runs"); do
    daemon_start
    rest=$(sample "$daemon_pid")
    pull gigabyte >>"$work/p"
    [ "$(nsenter -t "$daemon_pid" -m stat -c %s "$out/state/b-gigabyte/rootfs/big/lib1.so")" = $((64 << 20)) ] || { echo "not mounted"; exit 1; }
    daemon_stop
    daemon_start
    pull encrypted >>"$work/e"
    daemon_stop
    seconds "$work/unpack" "http://$registry/v2/gigabyte/blobs/$blob" "$out/tree" >>"$work/t"; rm -rf "$out/tree"
  done
  p=$(best <"$work/p"); t=$(best <"$work/t"); e=$(best <"$work/e")
  echo "image of $mb MB unpacked, from a registry on this machine (whose work counts in all three):"
  echo "  inflate only             ${inflate_big%% *} s"
  echo "  pull + mount             $p s"
  echo "  the same, encrypted      $e s"
  echo "  curl, sha256sum, gzip, sha256sum, tar -x: ${t%% *} s"
  row "image of $mb MB: pull + mount over inflating alone" "$(ratio "$p" "$inflate_big")" "" ""
  promise "image of $mb MB: encrypted over plain pull" "$(ratio "$e" "$p")" "<=" 1.15
  promise "image of $mb MB: the tools over pull + mount" "$(ratio "$t" "$p")" ">=" 3

  row "coffer-imaged at rest: MiB (proportional set size)" "$(awk -v k="$rest" 'BEGIN { printf "%.1f", k / 1024 }')" "" ""
  rt= # whoever looks needs its turn
  for n in gigabyte three; do
    daemon_start
    pull $n >/dev/null & puller=$!
    v=$(peak_while $puller "$daemon_pid"); wait $puller
    [ $n = three ] && n="three layers of 200 000 entries at once" || n="that image"
    promise "pull of $n: peak MiB of all its processes" "$v" "<=" 64
    daemon_stop
  done
else
  echo "no pull from a registry: it needs root, docker-registry, skopeo and curl"
  gzip -1 "$work/names.tar"
  pids=
  for n in 1 2 3; do "$bin/coffer-imaged" --oneshot layer "$work/names.tar.gz" --no-sync --out "$out/img$n" >/dev/null & pids="$pids $!"; done
  # shellcheck disable=SC2086
  promise "three layers of 200 000 entries at once: peak MiB" "$(peak_while $pids)" "<=" 64
  wait
fi
load_after=$(cut -d' ' -f1-3 /proc/loadavg)
echo "load after: $load_after"
if [ -n "${LAYER_PERF_TABLE:-}" ]; then
  { echo "$machine; load $load_before before, $load_after after"; echo
    echo '| what | measured | promised | |'; echo '|---|---|---|---|'; cat "$table"; } >"$LAYER_PERF_TABLE"
fi
[ -z "${LAYER_PERF_STRICT:-}" ] || exit $fail
