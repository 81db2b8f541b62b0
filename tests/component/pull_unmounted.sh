#!/usr/bin/env bash
# coffer image pull where nothing can be mounted gives the tree that it gives where it can.
set -eu
bin=${COFFER_BIN:-build/dev/bin}
[ -x "$bin/coffer-imaged" ] || { echo "SKIP: not built: $bin/coffer-imaged"; exit 77; }
[ "$(id -u)" = 0 ] && command -v setpriv >/dev/null || { echo "SKIP: needs root and setpriv to do without"; exit 77; }
work=$(mktemp -d "${TMPDIR:-/tmp}/coffer-pull.XXXXXX")
trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED: $*" >&2; exit 1; }

# ---- an OCI layout of two layers ----
mkdir -p "$work/oci/blobs/sha256" "$work/l1/etc" "$work/l1/gone" "$work/l2/etc"
echo one >"$work/l1/etc/one"; ln "$work/l1/etc/one" "$work/l1/etc/hard"; ln -s etc/one "$work/l1/link"
head -c 100000 /dev/urandom >"$work/l1/etc/big"; mknod "$work/l1/null" c 1 3; touch "$work/l1/gone/x"
chmod 4711 "$work/l1/etc/big"; chown 5:6 "$work/l1/etc/big"; setfattr -n user.a -v b "$work/l1/etc/one" 2>/dev/null || true
touch "$work/l2/.wh.gone"; echo two >"$work/l2/etc/two"
blob() { local d; d=$(sha256sum <"$1" | cut -d' ' -f1); cp "$1" "$work/oci/blobs/sha256/$d"; echo "$d"; }
size() { stat -c %s "$work/oci/blobs/sha256/$1"; }
ids= layers=
for l in l1 l2; do
  tar --format=pax --xattrs -cf "$work/$l.tar" -C "$work/$l" .
  gzip -kn "$work/$l.tar"
  ids="$ids${ids:+,}\"sha256:$(sha256sum <"$work/$l.tar" | cut -d' ' -f1)\""
  d=$(blob "$work/$l.tar.gz")
  layers="$layers${layers:+,}{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar+gzip\",\"digest\":\"sha256:$d\",\"size\":$(size "$d")}"
done
echo "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[$ids]}}" >"$work/config"
c=$(blob "$work/config")
echo "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"config\":{\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\"digest\":\"sha256:$c\",\"size\":$(size "$c")},\"layers\":[$layers]}" >"$work/manifest"
m=$(blob "$work/manifest")
echo '{"imageLayoutVersion":"1.0.0"}' >"$work/oci/oci-layout"
echo "{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"digest\":\"sha256:$m\",\"size\":$(size "$m")}]}" >"$work/oci/index.json"

list() { # all of a tree; times of directories are those of the layers
  (cd "$1" && find . -printf '%p %y %m %U %G %T@ %n %l\n' | sort; find . -type f -print0 | sort -z | xargs -0 sha256sum
   find . -print0 | sort -z | xargs -0 getfattr -hd -m- 2>/dev/null || true)
}
pull="$bin/coffer-imaged --oneshot pull oci:$work/oci --platform linux/amd64"
$pull --out "$work/a" >/dev/null 2>"$work/log" || { cat "$work/log"; fail "pull"; }
setpriv --bounding-set -sys_admin --inh-caps -sys_admin $pull --out "$work/b" >/dev/null 2>"$work/log" || { cat "$work/log"; fail "pull without CAP_SYS_ADMIN"; }
[ ! -e "$work/a/rootfs/gone" ] && [ -e "$work/a/rootfs/etc/two" ] || fail "not the merged tree"
diff <(list "$work/a/rootfs") <(list "$work/b/rootfs") || fail "the trees differ"
echo "ok: the same tree without mounting"

# ---- somebody without any privilege ----
mkdir "$work/c"; chown nobody "$work/c"; chmod 755 "$work"; chmod -R a+rX "$work/oci"
install -m 755 "$bin/coffer-imaged" "$bin/coffer-layer-helper" "$work/c/"
setpriv --reuid=65534 --regid=65534 --clear-groups "$work/c/coffer-imaged" --oneshot pull "oci:$work/oci" --platform linux/amd64 --out "$work/c/out" >/dev/null 2>"$work/log" || { cat "$work/log"; fail "pull as nobody"; }
grep -q "left out" "$work/log" || fail "nothing said of what was left out"
cmp "$work/a/rootfs/etc/big" "$work/c/out/rootfs/etc/big" && [ -e "$work/c/out/rootfs/etc/hard" ] || fail "contents"
echo "ok: also without any privilege, saying what was left out"
