#!/usr/bin/env bash
# How big things are: each program, stripped, and how many libraries it loads; each daemon's memory at
# rest (proportional set size, and resident set size with what it shares counted in full); the guest
# image, when there is one. Promise: guest user space ≤ 12 MB.
#   SIZES_GUEST_IMAGE=DIR the guest image [guest-image beside the binaries, then build/guest-image]
#   SIZES_STRICT=1 fails over a promise
set -eu
top=${COFFER_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
bin=${COFFER_BIN:-$top/build/release/bin}
[ -x "$bin/coffer-imaged" ] || { echo "SKIP: not built: $bin/coffer-imaged"; exit 77; }
if nm "$bin/coffer-imaged" 2>/dev/null | grep -q __asan_init; then
  echo "SKIP: a sanitizer build says nothing about sizes"; exit 77
fi
work=$(mktemp -d "${TMPDIR:-/tmp}/coffer-sizes.XXXXXX")
pids=
cleanup() {
  # shellcheck disable=SC2086
  [ -z "$pids" ] || kill $pids 2>/dev/null || true
  wait
  rm -rf "$work"
}
trap cleanup EXIT
echo "load: $(cut -d' ' -f1-3 /proc/loadavg)"

printf '\n| program | KiB, stripped | libraries |\n|---|---|---|\n'
for p in "$bin"/*; do
  [ -f "$p" ] && [ -x "$p" ] || continue
  strip -o "$work/stripped" "$p"
  echo "| $(basename "$p") | $(($(stat -c %s "$work/stripped") / 1024)) | $(ldd "$p" | grep -c '=> /') |"
done

printf '\n| daemon at rest | PSS, MiB | RSS, MiB |\n|---|---|---|\n'
mib() { awk -v k="$1" 'BEGIN { printf "%.1f", k / 1024 }'; }
rest() { # READY-FILE PROGRAM ARGUMENT...
  local ready=$1 pid; shift
  "$bin/$1" "${@:2}" >"$work/log" 2>&1 & pid=$!
  pids="$pids $pid"
  for _ in $(seq 200); do
    [ -e "$ready" ] || ! kill -0 $pid 2>/dev/null || { read -rt 0.05 <> <(:) || true; continue; }
    break
  done
  [ -e "$ready" ] || { echo "| $1 | does not start here: $(tail -n 1 "$work/log") | |"; return 0; }
  read -rt 0.2 <> <(:) || true
  echo "| $1 | $(mib "$(awk '/^Pss:/ { print $2 }' /proc/$pid/smaps_rollup)") | $(mib "$(awk '/^Rss:/ { print $2 }' /proc/$pid/smaps_rollup)") |"
}
rest "$work/snap.sock" coffer-snapshotter --listen "$work/snap.sock" --state-dir "$work/snap" --control none --log-level error
printf '[image]\nwork_dir = "%s/image"\n' "$work" >"$work/cdh.toml"
rest "$work/cdh.sock" coffer-imaged --config "$work/cdh.toml" --listen "unix://$work/cdh.sock"
printf '[coffer]\nallow_sample = true\n' >"$work/aa.toml"
rest "$work/aa.sock" coffer-attestd --config-file "$work/aa.toml" --tee sample --listen "unix://$work/aa.sock" --state-dir "$work/aa"
rest "$work/init.sock" coffer-init --no-pid1 --listen "unix:$work/init.sock" --no-helpers --state-dir "$work/pods" --run-dir "$work/run"
"$bin/coffer-kbs" init "$work/kbs" >"$work/log" 2>&1
rest "$work/kbs.port" coffer-kbs serve --config "$work/kbs/kbs.toml" --listen 127.0.0.1:0 --state-dir "$work/kbs/state" --port-file "$work/kbs.port"
echo "(containerd-shim-coffer-v2 has no rest without a pod)"

image=${SIZES_GUEST_IMAGE:-$(dirname "$bin")/guest-image}
[ -e "$image/contents.tsv" ] || image=$top/build/guest-image
[ -e "$image/contents.tsv" ] || { echo; echo "no guest image here: deploy/guest-image/build makes one"; exit 0; }
printf '\n| guest image | KiB |\n|---|---|\n'
awk -F'\t' 'NR > 1 { k = $1 ~ /\/modules\// ? "kernel modules" : $1 ~ /coffer-/ ? "coffer" : $1 ~ /\.so/ ? "libraries" : "crun and the rest"; s[k] += $2 }
  END { for (k in s) printf "| %s, unpacked | %d |\n", k, s[k] / 1024 }' "$image/contents.tsv" | sort
echo "| initrd.img, packed | $(($(stat -c %s "$image/initrd.img") / 1024)) |"
echo "| vmlinuz | $(($(stat -c %s "$image/vmlinuz") / 1024)) |"
# What the promise is about: everything but kernel and modules, packed; at most all of the initrd.
packed=$(stat -c %s "$image/initrd.img")
if [ "$packed" -le $((12 << 20)) ]; then
  echo "guest user space: at most $((packed >> 10)) KiB with the kernel's modules, promised ≤ 12288: holds"
else
  echo "guest user space: $((packed >> 10)) KiB with the kernel's modules, promised ≤ 12288: MISSED"
  [ -z "${SIZES_STRICT:-}" ] || exit 1
fi
