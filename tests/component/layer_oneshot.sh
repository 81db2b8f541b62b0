#!/usr/bin/env bash
# coffer image layer: the tree in the image is the tree in the tar, whatever the compression; the
# same bytes give the same image; bad layers leave nothing behind and exit as promised.
set -eu
bin=${COFFER_BIN:-build/dev/bin}
[ -x "$bin/coffer" ] && [ -x "$bin/coffer-imaged" ] || { echo "SKIP: not built: $bin"; exit 77; }
work=$(mktemp -d "${TMPDIR:-/tmp}/coffer-layer.XXXXXX")
mounted=
cleanup() { [ -z "$mounted" ] || umount "$work/m"; rm -rf "$work"; }
trap cleanup EXIT
fail() { echo "FAILED: $*" >&2; exit 1; }

# ---- a tree with one of everything ----
t=$work/tree
mkdir -p "$t/etc" "$t/many" "$t/deep/a/b/c" "$t/empty"
printf 'hello\n' >"$t/etc/hello"
: >"$t/etc/nothing"
for n in 1 63 2047 2048 2049 4031 4032 4033 4095 4096 4097 65536 300001; do
  head -c "$n" /dev/urandom >"$t/etc/size-$n"
done
for i in $(seq 1 700); do echo "$i" >"$t/many/file-number-$i"; done
touch "$t/many/!before-the-dot" "$t/many/-dash" "$t/many/~after"
long=$(printf 'n%.0s' $(seq 1 255)); echo x >"$t/many/$long"
ln -s ../etc/hello "$t/deep/link"
ln -s "$(printf 't%.0s' $(seq 1 4000))" "$t/deep/long-link"
ln "$t/etc/hello" "$t/deep/a/hard"
mkfifo "$t/deep/fifo"
chmod 4755 "$t/etc/size-63"; chmod 1777 "$t/empty"
truncate -s 1M "$t/etc/sparse"; printf end >>"$t/etc/sparse"
if [ "$(id -u)" = 0 ]; then
  mknod "$t/deep/char" c 1 3; mknod "$t/deep/block" b 259 70000
  chown 1000:100000 "$t/etc/hello"
  setfattr -n user.note -v value "$t/etc/hello" 2>/dev/null || true
fi
touch -d @-5.25 "$t/etc/nothing" 2>/dev/null || true

list() { # all that a tree shows; sizes of directories are the file system's own affair
  (cd "$1" && find . \( -type d -printf '%p d %m %U %G %T@ %n\n' \) -o -printf '%p %y %m %U %G %s %T@ %n %l\n' | sort
   find . -type f -print0 | sort -z | xargs -0 sha256sum)
}

# ---- images of it, in every form of tar and every compression ----
tar --format=pax --xattrs --sort=name -cf "$work/pax.tar" -C "$t" .
tar --format=gnu -cf "$work/gnu.tar" -C "$t" .
tar --format=gnu -S -cf "$work/gnu-sparse.tar" -C "$t" .
for v in 0.0 0.1 1.0; do tar --format=pax -S --sparse-version=$v -cf "$work/pax-sparse-$v.tar" -C "$t" .; done
gzip -k "$work/pax.tar"
{ head -c 100000 "$work/pax.tar" | gzip; tail -c +100001 "$work/pax.tar" | gzip; } >"$work/pax.two-members.tar.gz"
if command -v zstd >/dev/null; then
  zstd -q "$work/pax.tar" -o "$work/pax.tar.zst"
  { printf '\x50\x2a\x4d\x18\x03\0\0\0abc'; head -c 100000 "$work/pax.tar" | zstd -q; tail -c +100001 "$work/pax.tar" | zstd -q; } >"$work/pax.frames.tar.zst"
fi
for blob in "$work"/*.tar "$work"/*.tar.*; do
  "$bin/coffer" image layer "$blob" --no-sync --out "$blob.erofs" >"$work/id" || fail "$blob"
done
want=$(sha256sum <"$work/pax.tar" | cut -d' ' -f1)
[ "$("$bin/coffer-imaged" --oneshot layer - --no-sync --out "$work/again.erofs" <"$work/pax.tar.gz")" = "sha256:$want" ] || fail "diffID"
for other in "$work"/pax.tar.*.erofs "$work"/pax.two-members.tar.gz.erofs "$work"/pax.frames*.erofs "$work/again.erofs"; do
  [ -e "$other" ] || continue
  cmp "$work/pax.tar.erofs" "$other" || fail "not the same bytes: $other"
done
echo "ok: the same layer gives the same image, however it came"

if command -v fsck.erofs >/dev/null; then
  for img in "$work"/*.erofs; do fsck.erofs --extract "$img" >"$work/log" 2>&1 || { cat "$work/log"; fail "fsck $img"; }; done
  echo "ok: fsck.erofs finds nothing in $(ls "$work"/*.erofs | wc -l) images"
fi

# ---- mounted, it is what tar extracts ----
if [ "$(id -u)" = 0 ] && grep -qw erofs /proc/filesystems || modprobe erofs 2>/dev/null; then
  mkdir "$work/m"
  for tar in pax gnu gnu-sparse pax-sparse-0.0 pax-sparse-0.1 pax-sparse-1.0; do
    mkdir "$work/x"
    tar --numeric-owner --xattrs -xpf "$work/$tar.tar" -C "$work/x" 2>/dev/null
    mount -t erofs -o ro,loop "$work/$tar.tar.erofs" "$work/m"; mounted=1
    diff <(list "$work/x") <(list "$work/m") || fail "$tar: the mounted tree differs"
    if [ $tar = pax ] && command -v getfattr >/dev/null; then
      attrs() { (cd "$1" && find . -print0 | sort -z | xargs -0 getfattr -hd -m- 2>/dev/null); }
      diff <(attrs "$work/x") <(attrs "$work/m") || fail "attributes"
    fi
    umount "$work/m"; mounted=
    rm -rf "$work/x"
  done
  echo "ok: mounted trees are what tar extracts"
else
  echo "note: not root or no EROFS here: nothing was mounted"
fi

# ---- refusals ----
refuses() { # CODE WHAT ARGS...: exit code, a reason, nothing left
  local code=$1 what=$2; shift 2
  set +e; "$bin/coffer" image layer "$@" --out "$work/out/bad.erofs" >"$work/log" 2>&1; local got=$?; set -e
  [ $got = "$code" ] || { cat "$work/log"; fail "$what: exit $got, not $code"; }
  [ -s "$work/log" ] || fail "$what: no reason given"
  [ -z "$(ls -A "$work/out")" ] || fail "$what: left $(ls -A "$work/out")"
}
mkdir "$work/out"
head -c 70000 "$work/pax.tar" >"$work/cut.tar"
head -c 70000 "$work/pax.tar.gz" >"$work/cut.tar.gz"
cp "$work/pax.tar.gz" "$work/flip.tar.gz"; printf '\xff\xfe\xfd' | dd of="$work/flip.tar.gz" bs=1 seek=200000 conv=notrunc status=none
{ cat "$work/pax.tar.gz"; echo junk; } >"$work/junk.tar.gz"
head -c 3000 /dev/urandom >"$work/noise"
refuses 4 "no such file" "$work/nowhere.tar"
refuses 9 "a cut tar" "$work/cut.tar"
refuses 9 "a cut gzip" "$work/cut.tar.gz"
refuses 9 "a flipped byte" "$work/flip.tar.gz"
refuses 9 "bytes behind the gzip" "$work/junk.tar.gz"
refuses 9 "noise" "$work/noise"
refuses 9 "another diffID" "$work/pax.tar" --diff-id "sha256:$(printf '0%.0s' $(seq 1 64))"
refuses 2 "no such option" "$work/pax.tar" --nonsense
head -c 150M /dev/zero | gzip -6 >"$work/bomb.gz" 2>/dev/null
refuses 9 "zeroes behind the end are no layer of names, but are hashed" "$work/bomb.gz" --diff-id "sha256:$(printf '0%.0s' $(seq 1 64))"
if command -v zstd >/dev/null; then
  head -c 200M /dev/zero | zstd -q -3 >"$work/bomb.zst"
  refuses 20 "a bomb" "$work/bomb.zst"
fi
echo "ok: what is refused leaves nothing behind"

# ---- who touches the bytes: coffer-layer-helper from the same folder, with every door shut ----
mkfifo "$work/slow"
"$bin/coffer-imaged" --oneshot layer - --no-sync --out "$work/slow.erofs" <"$work/slow" >"$work/slow.id" &
parent=$!
exec 9>"$work/slow"
head -c 200000 "$work/pax.tar.gz" >&9
shut() { # PID...: all of them say that their sandbox is shut
  local p
  for p; do grep -qx 'Seccomp:.2' "/proc/$p/status" 2>/dev/null || return 1; done
}
children=
for _ in $(seq 200); do
  children=$(pgrep -d' ' -P $parent || true)
  # shellcheck disable=SC2086
  [ "$(echo "$children" | wc -w)" = 2 ] && shut $children && break
  read -rt 0.05 <> <(:) || true
done
for p in $children; do
  status=$(cat "/proc/$p/status")
  for line in 'Seccomp:.2' 'NoNewPrivs:.1' 'CapEff:.0*' 'CapPrm:.0*' 'CapBnd:.0*'; do
    grep -qx "$line" <<<"$status" || fail "$(sed -n 's/^Name:.//p' <<<"$status"): not $line"
  done
  grep -qE '^Max processes +0 +0 ' "/proc/$p/limits" || fail "it may start processes"
  [ "$(id -u)" = 0 ] || continue
  [ "$(readlink "/proc/$p/exe")" = "$(realpath "$bin")/coffer-layer-helper" ] || fail "$(readlink "/proc/$p/exe") works on the layer"
  [ "$(readlink "/proc/$p/ns/net")" != "$(readlink /proc/self/ns/net)" ] || fail "it sees the network"
  for fd in "/proc/$p/fd/"*; do
    case $(readlink "$fd") in
    /dev/null | socket:* | /memfd:layer-ring* | "$work"/.building-*) ;;
    *) [ "${fd##*/}" = 2 ] || fail "it has $(readlink "$fd")" ;;
    esac
  done
done
shut $children || fail "no two sandboxed processes: '$children'"
tail -c +200001 "$work/pax.tar.gz" >&9
exec 9>&-
wait $parent || fail "the slow layer"
cmp "$work/pax.tar.erofs" "$work/slow.erofs" || fail "fed slowly, other bytes"
mkdir "$work/alone"; cp "$bin/coffer-imaged" "$work/alone/"
PATH=$bin:$PATH "$work/alone/coffer-imaged" --oneshot layer "$work/pax.tar" --out "$work/alone/img" 2>"$work/log" && fail "worked without its helper"
grep -q 'coffer-layer-helper' "$work/log" || fail "not said what is missing: $(cat "$work/log")"
"$bin/coffer-layer-helper" --coffer-helper=0.0.0 layer-build 1000000 10 2>/dev/null && fail "another version's helper answers"
echo "ok: the parsing processes are sandboxed, small and found by their folder alone"
