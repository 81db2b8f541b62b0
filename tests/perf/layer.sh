#!/usr/bin/env bash
# gzip layer → digest-checked image, as ratios inside one run: against inflating alone, against
# gzip + sha256sum + tar, and what two processes and the copies between them cost by themselves.
# Promises: ≤ 1.25 × inflating for big files, ≤ 1.7 × for small ones, ≥ 3 × faster than the tools,
# ≤ 64 MiB for three layers at once. Wall time counts on a quiet machine only: the load and the CPU
# time stand beside it.
#   LAYER_PERF_MB=512 sizes the big layer; LAYER_PERF_RUNS=5; LAYER_PERF_STRICT=1 fails over a promise
set -eu
top=${COFFER_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
bin=${COFFER_BIN:-$top/build/release/bin}
lib=$(dirname "$bin")/lib
[ -x "$bin/coffer-imaged" ] || { echo "SKIP: not built: $bin/coffer-imaged"; exit 77; }
if nm "$bin/coffer-imaged" 2>/dev/null | grep -q __asan_init; then
  echo "SKIP: a sanitizer build says nothing about speed"; exit 77
fi
mb=${LAYER_PERF_MB:-512} runs=${LAYER_PERF_RUNS:-5}
work=$(mktemp -d "${TMPDIR:-/tmp}/coffer-perf.XXXXXX")
out=$work; [ -w /dev/shm ] && [ "$(df -m --output=avail /dev/shm | tail -1)" -gt $((mb * 3)) ] && out=$(mktemp -d /dev/shm/coffer-perf.XXXXXX)
trap 'rm -rf "$work" "$out"' EXIT

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
  for my $f (0 .. 99) { my $n = int(exp(rand(9.5))) + 1; seek $t, $at, 0; read $t, my $b, $n; $at = ($at + $n) % (15 << 20);
  open my $o, ">", "'"$work"'/small/d$d/file$f"; print $o $b; close $o } }'
for l in big small; do
  tar --sort=name --owner=0 --group=0 --mtime=@1000000000 -cf "$work/$l.tar" -C "$work" $l
  gzip -4 -k "$work/$l.tar"; rm -rf "${work:?}/$l"
done
rm -f "$work/text" "$work/noise"
want_big=$(sha256sum <"$work/big.tar" | cut -d' ' -f1)

best() { sort -n | head -1; }
seconds() { local TIMEFORMAT='%R %U %S'; { time "$@" >/dev/null; } 2>&1 | tail -1; }
tools() { gzip -dc "$1" | tee >(sha256sum >/dev/null) | tar -x -C "$out/tree"; }
fail=0
promise() { # NAME VALUE OP LIMIT
  local ok; ok=$(awk -v v="$2" -v l="$4" -v op="$3" 'BEGIN { print (op == "<=" ? v <= l : v >= l) ? "holds" : "MISSED" }')
  printf '%-58s %6s  promised %s %-5s %s\n' "$1" "$2" "$3" "$4" "$ok"
  [ "$ok" = holds ] || fail=1
}
echo "load before: $(cut -d' ' -f1-3 /proc/loadavg), $(nproc) cores, output on $(df --output=fstype "$out" | tail -1)"
for l in big small; do
  gz=$work/$l.tar.gz
  : >"$work/i"; : >"$work/d"; : >"$work/p"; : >"$work/t"
  for _ in $(seq "$runs"); do
    seconds "$work/stages" inflate "$gz" >>"$work/i"
    seconds "$work/stages" dummy "$gz" >>"$work/d"
    seconds "$bin/coffer-imaged" --oneshot layer "$gz" --no-sync --out "$out/img" >>"$work/p"
    mkdir -p "$out/tree"; seconds tools "$gz" >>"$work/t"; rm -rf "$out/tree"
  done
  i=$(best <"$work/i"); d=$(best <"$work/d"); p=$(best <"$work/p"); t=$(best <"$work/t")
  printf '%s: tar %d MB, gz %d MB, image %d MB\n' $l $(($(stat -c %s "$work/$l.tar") >> 20)) $(($(stat -c %s "$gz") >> 20)) $(($(stat -c %s "$out/img") >> 20))
  echo "  inflate only             $i s wall user sys"
  echo "  + two processes, copies  $d s wall user sys"
  echo "  layer → image            $p s wall user sys"
  echo "  gzip|sha256sum|tar -x    $t s wall user sys"
  awk -v i="$i" -v p="$p" -v t="$t" -v n="$(nproc)" 'BEGIN { split(i, a); split(p, b); split(t, c)
    ci = a[2] + a[3]; cp = b[2] + b[3]; wall = cp / n > ci ? cp / n : ci
    printf "  by CPU time alone, whatever else runs here: %.2f x inflating on %d quiet cores at best; the tools take %.2f x\n", wall / ci, n, (c[2] + c[3]) / cp }'
  ratio() { awk -v a="${1%% *}" -v b="${2%% *}" 'BEGIN { printf "%.2f", a / b }'; }
  promise "$l: layer → image over inflating alone" "$(ratio "$p" "$i")" "<=" $([ $l = big ] && echo 1.25 || echo 1.7)
  promise "$l: two processes and copies over inflating alone" "$(ratio "$d" "$i")" "<=" 1.25
  promise "$l: gzip|sha256sum|tar over layer → image" "$(ratio "$t" "$p")" ">=" 3
done
[ "$("$bin/coffer-imaged" --oneshot layer "$work/big.tar.gz" --no-sync --out "$out/img")" = "sha256:$want_big" ] || { echo "wrong diffID"; exit 1; }

# ---- memory: three layers of 200 000 names at once, what belongs to all their processes ----
# (proportional set size: libraries that several of them share count once)
perl -e 'for my $i (0 .. 199_999) {
  my $name = sprintf "dir-%d/a-file-of-usual-name-length-%d", $i / 1000, $i;
  my $h = pack "a100a8a8a8a12a12a8a1a100a6a2a32a32a8a8a155a12", $name, "0000644", "0000000", "0000000",
    "00000000000", "07346545000", " " x 8, "0", "", "ustar", "00", "", "", "", "", "", "";
  substr($h, 148, 8) = sprintf "%06o\0 ", unpack "%32C*", $h; print $h } print "\0" x 1024' | gzip -1 >"$work/names.tar.gz"
pids=
for n in 1 2 3; do "$bin/coffer-imaged" --oneshot layer "$work/names.tar.gz" --no-sync --out "$out/img$n" >/dev/null & pids="$pids $!"; done
peak=0
# shellcheck disable=SC2086
while kill -0 $pids 2>/dev/null; do
  sum=0
  for p in $(pgrep -d' ' -P "$(echo $pids | tr ' ' ,)" 2>/dev/null) $pids; do
    v=$(awk '/^Pss:/ { print $2 }' "/proc/$p/smaps_rollup" 2>/dev/null || true); sum=$((sum + ${v:-0}))
  done
  [ $sum -gt $peak ] && peak=$sum
done
wait
promise "three layers of 200 000 entries at once: peak MiB" "$((peak / 1024))" "<=" 64
echo "load after: $(cut -d' ' -f1-3 /proc/loadavg)"
[ -z "${LAYER_PERF_STRICT:-}" ] || exit $fail
