#!/usr/bin/env bash
# key new, image encrypt, sign, push, inspect, verify against a real registry and real peers: what we
# encrypt skopeo decrypts to the same layers, what we sign is found and judged as a guest would, and
# cosign accepts it when it is installed.
set -eu
. "$(dirname "$0")/libimage.sh"
need skopeo umoci docker-registry curl python3 openssl
[ "$(id -u)" = 0 ] || skip "unpacking a tree with its owners needs root"

tmp=$(mktemp -d)
registry_pid=
trap '[ -z "$registry_pid" ] || kill "$registry_pid" 2>/dev/null; rm -rf "$tmp"' EXIT
cd "$tmp"
c=$bin/coffer

mkdir -p tree/bin tree2/etc
head -c 300000 /dev/urandom >tree/bin/tool
echo second >tree2/etc/hostname
umoci init --layout src
umoci new --image src:v1
umoci config --image src:v1 --config.entrypoint /bin/tool --os linux --architecture amd64
umoci insert --image src:v1 tree /
umoci insert --image src:v1 tree2 /
umoci gc --layout src
umoci unpack --image src:v1 reference >umoci.log 2>&1
describe_tree reference/rootfs >want
start_registry "$tmp/reg"
r=$registry

# keys
mkdir keys
expect 0 "key new image" "$c" key new image -o keys/image.key
[ "$(stat -c '%s %a' keys/image.key)" = "32 600" ] || fail "image key: $(stat -c '%s %a' keys/image.key)"
expect 5 "key new overwrites nothing" "$c" key new image -o keys/image.key
expect 0 "key new sign" "$c" key new sign -o sign.pem
expect 0 "key new sign, another" "$c" key new sign -o other.pem
expect 2 "key new of nothing" "$c" key new nothing -o x
openssl pkey -in sign.pem -noout && openssl pkey -pubin -in sign.pem.pub -noout || fail "sign key is no PEM"
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out keys/rsa.pem 2>/dev/null
openssl pkey -in keys/rsa.pem -pubout -out rsa.pub

# push and encrypt
expect 0 "push" "$c" image push oci:src:v1 "$r/app:plain"
expect 0 "encrypt to both" "$c" image encrypt "docker://$r/app:plain" "$r/app:enc" --key kbs:///default/image/app --key-file keys/image.key --recipient jwe:rsa.pub
grep -q '2 of 2 layers encrypted' last || fail "no summary: $(cat last)"
name=$(tail -1 last)
case $name in "$r/app@sha256:"*) ;; *) fail "the answer is no name: $name" ;; esac
expect 0 "encrypt to a layout" "$c" image encrypt oci:src:v1 oci:enc:v1 --recipient jwe:rsa.pub
# users in the open, where they were asked for
printf 'root:x:0:0::/:/bin/sh\napp:x:7:8::/:/x\n' >passwd
printf 'app:x:8:\nmore:x:9:app\n' >group
printf 'root:$6$a$b:0:0::/:/bin/sh\n' >hashes
expect 0 "encrypt with users" "$c" image encrypt oci:src:v1 oci:users:v1 --recipient jwe:rsa.pub --passwd passwd --group group
expect 9 "encrypt with password hashes in the open" "$c" image encrypt oci:src:v1 oci:hashes:v1 --recipient jwe:rsa.pub --passwd hashes
annotations() { skopeo inspect --raw oci:users:v1 | python3 -c 'import base64, json, sys
for l in json.load(sys.stdin)["layers"]:
    print([base64.b64decode(l["annotations"][k]).decode() for k in sorted(l["annotations"]) if "coffer" in k])'; }
[ "$(annotations)" = "$(printf '%s\n%s' '[]' "['app:x:8:\nmore:x:9:app\n', 'root:x:0:0::/:/bin/sh\napp:x:7:8::/:/x\n']")" ] || fail "users: $(annotations)"
expect 2 "encrypt to nobody" "$c" image encrypt oci:src:v1
expect 9 "encrypt without a recipient" "$c" image encrypt oci:src:v1 oci:x
expect 21 "encrypt into an archive" "$c" image encrypt oci:src:v1 docker-archive:x.tar --recipient jwe:rsa.pub
expect 22 "encrypt twice" "$c" image encrypt "$r/app:enc" "$r/app:enc2" --recipient jwe:rsa.pub
echo c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2U= >b64.key
expect 9 "encrypt with a key in base64" "$c" image encrypt oci:src:v1 oci:x --key kbs:///a/b/c --key-file b64.key
grep -q base64 last || fail "it does not say base64: $(cat last)"

config_of() { skopeo inspect --raw --tls-verify=false "docker://$1" | python3 -c 'import json, sys; print(json.load(sys.stdin)["config"]["digest"])'; }
[ "$(config_of "$r/app:plain")" != "$(config_of "$r/app:enc")" ] || fail "plain and encrypted image share an ID"

# each key alone opens it; without one it stays shut
mkdir k1 k2 k3
cp keys/image.key k1; cp keys/rsa.pem k2; head -c 32 /dev/urandom >k3/other.key
for k in k1 k2; do
	expect 0 "pull with $k" "$c" image pull "$r/app:enc" --keys $k --out out-$k
	describe_tree out-$k/rootfs >got
	diff want got >diff || { fail "tree with $k differs"; head -5 diff; }
done
expect 7 "pull with another key" "$c" image pull "$r/app:enc" --keys k3 --out out-k3

# skopeo opens what we wrote, to the very same layers
skopeo copy -q --src-tls-verify=false --decryption-key keys/rsa.pem "docker://$r/app:enc" oci:back:v1 2>skopeo.err || fail "skopeo does not decrypt: $(tail -1 skopeo.err)"
layers_of() { python3 - "$1" <<'PY'
import json, sys, os
d = sys.argv[1]
i = json.load(open(d + "/index.json"))["manifests"][0]["digest"].split(":")[1]
print(*[l["digest"] for l in json.load(open(d + "/blobs/sha256/" + i))["layers"]], sep="\n")
PY
}
[ "$(layers_of src)" = "$(layers_of back)" ] || fail "skopeo decrypts to other layers"

# CoCo's packet, as its own tools would read it
python3 - "$(skopeo inspect --raw --tls-verify=false "docker://$r/app:enc")" <<'PY' || fail "the packet is not CoCo's"
import base64, json, sys
for layer in json.loads(sys.argv[1])["layers"]:
    a = layer["annotations"]
    p = json.loads(base64.b64decode(a["org.opencontainers.image.enc.keys.provider.attestation-agent"]))
    assert set(p) == {"kid", "wrapped_data", "iv", "wrap_type"}, p
    assert p["kid"] == "kbs:///default/image/app" and p["wrap_type"] == "A256GCM"
    assert len(base64.b64decode(p["iv"])) == 12
    o = json.loads(base64.b64decode(a["org.opencontainers.image.enc.pubopts"]))
    assert o["cipher"] == "AES_256_CTR_HMAC_SHA256" and o["cipheroptions"] == {}, o
    assert len(base64.b64decode(o["hmac"])) == 32
    assert layer["mediaType"] == "application/vnd.oci.image.layer.v1.tar+gzip+encrypted"
PY

# inspect
expect 0 "inspect" "$c" image inspect "$r/app:enc" --json
grep -q '"key_id":"kbs:///default/image/app"' last || fail "inspect names no key: $(cat last)"

# sign and verify
policy() { printf '{"default":[{"type":"reject"}],"transports":{"docker":{"%s":[{"type":"sigstoreSigned","keyPath":"%s","signedIdentity":{"type":"%s"}}]}}}' "$1" "$2" "${3:-matchRepository}"; }
policy "$r/app" "$tmp/sign.pem.pub" >policy.json
policy "$r/app" "$tmp/other.pem.pub" >other.json
expect 10 "verify before signing" "$c" image verify "$r/app:enc" --policy policy.json
expect 7 "pull before signing" "$c" image pull "$r/app:enc" --keys k1 --policy policy.json --out u1
grep -q 'Image policy rejected: Denied by policy' last || fail "not the known words"
expect 0 "sign" "$c" image sign "$r/app:enc" --key sign.pem
expect 0 "verify" "$c" image verify "$r/app:enc" --policy policy.json
expect 0 "verify by key" "$c" image verify "$r/app:enc" --key sign.pem.pub
expect 12 "verify by another key" "$c" image verify "$r/app:enc" --key other.pem.pub
expect 11 "verify of no tag" "$c" image verify "$r/app:none" --key sign.pem.pub
expect 7 "verify of a rejected scope" "$c" image verify "$r/app:enc" --policy <(policy other.io "$tmp/sign.pem.pub")
expect 0 "pull of a signed image" "$c" image pull "$r/app:enc" --keys k1 --policy policy.json --out s1 --json
grep -q '"signature_verified":true' last || fail "the JSON does not say verified"
expect 7 "pull with the policy of another key" "$c" image pull "$r/app:enc" --keys k1 --policy other.json --out s2
expect 0 "sign with a second key" "$c" image sign "$r/app:enc" --key other.pem
expect 0 "either signature serves: first" "$c" image verify "$r/app:enc" --key sign.pem.pub
expect 0 "either signature serves: second" "$c" image verify "$r/app:enc" --key other.pem.pub

# another image under the same tag: its digest was never signed
expect 0 "another image under the tag" "$c" image encrypt oci:src:v1 "$r/app:enc" --key kbs:///default/image/app --key-file keys/image.key
expect 7 "pull of the swapped image" "$c" image pull "$r/app:enc" --keys k1 --policy policy.json --out s3
[ -z "$(ls -A s3)" ] || fail "something appeared"
# the old signature copied to the new image's tag says which image it is for
old=${name#*@}; new=$(skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://$r/app:enc")
skopeo copy -q --src-tls-verify=false --dest-tls-verify=false "docker://$r/app:${old/:/-}.sig" "docker://$r/app:${new/:/-}.sig"
expect 12 "verify with a moved signature" "$c" image verify "$r/app:enc" --policy policy.json
expect 7 "pull with a moved signature" "$c" image pull "$r/app:enc" --keys k1 --policy policy.json --out s4

# encrypt and sign in one go; then a payload changed at the registry
expect 0 "encrypt and sign" "$c" image encrypt oci:src:v1 "$r/app:one" --key kbs:///default/image/app --key-file keys/image.key --sign sign.pem
expect 0 "verify what was signed in one go" "$c" image verify "$r/app:one" --policy policy.json
for blob in $(grep -rl 'cosign container image signature' reg/data/docker/registry/v2/blobs); do sed -i 's/cosign container/cosine container/' "$blob"; done
expect 10 "verify with changed payloads" "$c" image verify "$r/app:one" --policy policy.json
expect 7 "pull with changed payloads" "$c" image pull "$r/app:one" --keys k1 --policy policy.json --out s5

# a multi-platform image: signed as the index, and encrypted whole
python3 - "$registry" "$tmp" <<'PY' >index.json
import hashlib, json, sys, urllib.request
accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
body = urllib.request.urlopen(urllib.request.Request(f"http://{sys.argv[1]}/v2/app/manifests/plain", headers=accept)).read()
entry = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "size": len(body), "digest": "sha256:" + hashlib.sha256(body).hexdigest()}
platform = lambda arch, **more: dict(entry, platform=dict({"os": "linux", "architecture": arch}, **more))
print(json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
                  "manifests": [platform("arm64", variant="v8"), platform("amd64")]}), end="")
PY
curl -sf -X PUT -H 'Content-Type: application/vnd.oci.image.index.v1+json' --data-binary @index.json "http://$r/v2/app/manifests/multi" || fail "index"
expect 10 "index: not signed" "$c" image verify "$r/app:multi" --policy policy.json --platform linux/amd64
expect 0 "index: sign" "$c" image sign "$r/app:multi" --key sign.pem
grep -q "$(sha256sum index.json | cut -d' ' -f1)" last || fail "the index' digest was not signed"
for arch in amd64 arm64; do
	expect 0 "index: pull $arch" "$c" image pull "$r/app:multi" --policy policy.json --platform linux/$arch --out multi-$arch --json
	grep -q '"index_digest":"sha256:' last || fail "no index_digest"
done
expect 4 "index: a platform that is not there" "$c" image pull "$r/app:multi" --platform linux/s390x --out multi-none
expect 0 "index: encrypt" "$c" image encrypt "$r/app:multi" "$r/app:multi-enc" --recipient jwe:rsa.pub
grep -q '4 of 4 layers encrypted' last || fail "not every platform: $(cat last)"
expect 0 "index: pull what was encrypted" "$c" image pull "$r/app:multi-enc" --keys k2 --platform linux/arm64 --out multi-enc

if command -v cosign >/dev/null; then
	expect 0 "sign for cosign" "$c" image sign "$r/app:plain" --key sign.pem
	expect 0 "cosign verify" cosign verify --insecure-ignore-tlog=true --allow-insecure-registry --key sign.pem.pub "$r/app:plain"
	export COSIGN_PASSWORD=secret
	expect 0 "a key of cosign's" cosign generate-key-pair
	# without a log: cosign 3 by a signing configuration, in the form of a bundle; cosign 2 by an option
	if cosign signing-config create >signing.json 2>/dev/null; then how="--signing-config signing.json"; else how=--tlog-upload=false; fi
	skopeo copy -q --dest-tls-verify=false --src-tls-verify=false "docker://$r/app:plain" "docker://$r/bycosign:1"
	digest=$(skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://$r/bycosign:1")
	# shellcheck disable=SC2086
	expect 0 "cosign sign" cosign sign $how --yes --allow-insecure-registry --key cosign.key "$r/bycosign@$digest"
	printf '{"default":[{"type":"sigstoreSigned","keyPath":"%s/cosign.pub","signedIdentity":{"type":"digestOnly"}}]}' "$PWD" >digest-only.json
	expect 0 "what cosign signed" "$c" image verify "$r/bycosign:1" --policy digest-only.json
	expect 0 "sign with cosign's key" "$c" image sign "$r/bycosign:1" --key cosign.key
	expect 0 "which names the repository" "$c" image verify "$r/bycosign:1" --key cosign.pub
	COSIGN_PASSWORD=wrong expect 7 "with another password" "$c" image sign "$r/bycosign:1" --key cosign.key
else
	echo "note: cosign is not installed; its own verification was not asked"
fi
verdict
