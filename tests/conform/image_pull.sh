#!/usr/bin/env bash
# Encrypted and plain images that real tools made, from a layout and from a real registry: each must
# give exactly the tree that another unpacker makes of the plain image. A byte flipped anywhere in a
# blob, a wrong key or no key: refused, and nothing appears. Without the vectors, images are made
# here with umoci and skopeo.
set -eu
. "$(dirname "$0")/libimage.sh"
need skopeo umoci docker-registry curl python3 openssl
[ "$(id -u)" = 0 ] || skip "unpacking a tree with its owners needs root"

tmp=$(mktemp -d)
registry_pid=
trap '[ -z "$registry_pid" ] || kill "$registry_pid" 2>/dev/null; rm -rf "$tmp"' EXIT

make_images() {
	mkdir -p "$tmp/v/keys" "$tmp/tree/etc" "$tmp/tree/bin" "$tmp/tree2/etc"
	echo first >"$tmp/tree/etc/hostname"; echo second >"$tmp/tree2/etc/hostname"
	head -c 200000 /dev/urandom >"$tmp/tree/bin/tool"; chmod 4755 "$tmp/tree/bin/tool"
	ln "$tmp/tree/bin/tool" "$tmp/tree/bin/same"; ln -s tool "$tmp/tree/bin/link"
	mknod "$tmp/tree/fifo" p; chown 12:34 "$tmp/tree/etc"; chmod 1777 "$tmp/tree/bin"
	umoci init --layout "$tmp/v/src-gzip"
	umoci new --image "$tmp/v/src-gzip:v1"
	umoci insert --image "$tmp/v/src-gzip:v1" "$tmp/tree" /
	umoci insert --image "$tmp/v/src-gzip:v1" "$tmp/tree2" /
	umoci insert --image "$tmp/v/src-gzip:v1" --whiteout /bin/same
	umoci gc --layout "$tmp/v/src-gzip"
	openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$tmp/v/keys/rsa.pem" 2>/dev/null
	openssl pkey -in "$tmp/v/keys/rsa.pem" -pubout -out "$tmp/rsa.pub.pem"
	openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$tmp/v/keys/ec.pem"
	openssl pkey -in "$tmp/v/keys/ec.pem" -pubout -out "$tmp/ec.pub.pem"
	skopeo copy -q 2>/dev/null --dest-compress-format zstd "oci:$tmp/v/src-gzip:v1" "oci:$tmp/v/src-zstd:v1"
	for k in rsa ec; do
		skopeo copy -q --encryption-key "jwe:$tmp/$k.pub.pem" "oci:$tmp/v/src-gzip:v1" "oci:$tmp/v/enc-jwe-$k:v1"
	done
}

if [ -d "$vectors/oci-encrypted" ]; then
	v=$vectors/oci-encrypted
	images="src-gzip src-zstd src-none enc-jwe-rsa enc-jwe-ec256 enc-kp-v1-gcm enc-kp-v1-ctr enc-kp-v2-gcm enc-zstd enc-synth-tar"
	mkdir "$tmp/keys"
	cp "$v/keys/kek.bin" "$tmp/keys/"
	for k in rsa ec-p256; do openssl pkey -inform DER -in "$v/keys/$k.der" -out "$tmp/keys/$k.pem"; done
	keys=$tmp/keys
else
	make_images
	v=$tmp/v keys=$tmp/v/keys
	images="src-gzip src-zstd enc-jwe-rsa enc-jwe-ec"
fi

umoci unpack --image "$v/src-gzip:v1" "$tmp/reference" >"$tmp/umoci.log" 2>&1 || fail "umoci: $(tail -1 "$tmp/umoci.log")"
describe_tree "$tmp/reference/rootfs" >"$tmp/want"

same_tree() {
	describe_tree "$1" >"$tmp/got"
	diff "$tmp/want" "$tmp/got" >"$tmp/diff" || { fail "$2: the tree differs"; head -10 "$tmp/diff"; }
	rm -rf "$1"
}

start_registry "$tmp/reg"
for i in $images; do
	expect 0 "$i from a layout" "$bin/coffer" image pull "oci:$v/$i" --keys "$keys" --out "$tmp/o/$i" --json
	same_tree "$tmp/o/$i/rootfs" "$i from a layout"
	skopeo copy -q --dest-tls-verify=false "oci:$v/$i" "docker://$registry/v/$i:1" || fail "skopeo push $i"
	expect 0 "$i from a registry" "$bin/coffer" image pull "docker://$registry/v/$i:1" --keys "$keys" --out "$tmp/r/$i" --json
	grep -q '"diff_ids":\["sha256:' "$tmp/last" || fail "$i: no diff_ids in the JSON"
	same_tree "$tmp/r/$i/rootfs" "$i from a registry"
	ls -A "$tmp/o/$i" "$tmp/r/$i" | grep -q pull && fail "$i: work files are left"
done

# what skopeo makes on the spot: other curves, several recipients, one layer of several
mkdir "$tmp/made"
for k in P-384 P-521; do
	openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:$k -out "$tmp/made/$k.pem"
done
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072 -out "$tmp/made/RSA.pem" 2>/dev/null
for k in P-384 P-521 RSA; do
	mkdir "$tmp/made/only-$k"
	cp "$tmp/made/$k.pem" "$tmp/made/only-$k/"
	openssl pkey -in "$tmp/made/$k.pem" -pubout -out "$tmp/made/$k.pub"
done
made() { skopeo copy -q "${@:2}" "oci:$v/src-gzip:v1" "oci:$tmp/made/$1:v1" || fail "skopeo makes $1"; }
opens() { # IMAGE KEYS
	expect 0 "$1 with $2" "$bin/coffer" image pull "oci:$tmp/made/$1" --keys "$tmp/made/$2" --out "$tmp/m/$1-$2"
	same_tree "$tmp/m/$1-$2/rootfs" "$1 with $2"
}
for k in P-384 P-521; do made jwe-$k --encryption-key "jwe:$tmp/made/$k.pub"; opens jwe-$k only-$k; done
made several --encryption-key "jwe:$tmp/made/RSA.pub" --encryption-key "jwe:$tmp/made/P-521.pub" --encryption-key "jwe:$tmp/made/P-384.pub"
for k in P-384 P-521 RSA; do opens several only-$k; done
made partly --encrypt-layer 1 --encryption-key "jwe:$tmp/made/RSA.pub"
opens partly only-RSA

# one byte anywhere: config, manifest, layers
flip() {
	python3 - "$1" "$2" <<'PY'
import sys
path, where = sys.argv[1], float(sys.argv[2])
data = bytearray(open(path, "rb").read())
data[min(int(len(data) * where), len(data) - 1)] ^= 0x04
open(path, "wb").write(data)
PY
}
for i in $(echo "$images" | tr ' ' '\n' | grep -E 'src-gzip|jwe-rsa|kp-v1|zstd'); do
	for blob in "$v/$i"/blobs/sha256/*; do
		for where in 0 0.3 0.9999; do
			rm -rf "$tmp/bad" "$tmp/badout"; cp -r "$v/$i" "$tmp/bad"
			flip "$tmp/bad/blobs/sha256/$(basename "$blob")" $where
			got=0
			"$bin/coffer" image pull "oci:$tmp/bad" --keys "$keys" --out "$tmp/badout" >"$tmp/last" 2>&1 || got=$?
			[ "$got" = 9 ] || fail "$i: flip at $where of $(basename "$blob"): exit $got: $(tail -1 "$tmp/last")"
			[ -z "$(ls -A "$tmp/badout")" ] || fail "$i: something appeared: $(ls -A "$tmp/badout")"
		done
	done
done
echo "ok flipped bytes"

mkdir "$tmp/wrong" "$tmp/none"
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$tmp/wrong/rsa.pem" 2>/dev/null
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$tmp/wrong/ec.pem"
head -c 32 /dev/urandom >"$tmp/wrong/kek.bin"
for i in $(echo "$images" | tr ' ' '\n' | grep enc-); do
	for k in wrong none; do
		expect 7 "$i with $k keys" "$bin/coffer" image pull "oci:$v/$i" --keys "$tmp/$k" --out "$tmp/nokey"
		grep -q 'Failed to decrypt the image layer, please ensure that the decryption key is placed and correct' "$tmp/last" ||
			fail "$i: the known words are missing: $(tail -1 "$tmp/last")"
		[ -z "$(ls -A "$tmp/nokey")" ] || fail "$i: something appeared without a key"
	done
done
expect 4 "a tag that is not there" "$bin/coffer" image pull "$registry/v/src-gzip:none" --out "$tmp/x1"
expect 4 "a directory without a layout" "$bin/coffer" image pull "oci:$tmp/none" --out "$tmp/x2"
expect 9 "no reference" "$bin/coffer" image pull "UPPER/case" --out "$tmp/x3"
expect 2 "no --out" "$bin/coffer" image pull "$registry/v/src-gzip:1"
verdict
