#!/usr/bin/env bash
# Signatures that cosign made, through "coffer image pull" and a real registry: accepted under the tag
# and as referrers, refused when a byte of payload or signature changed, for another image, another
# name, another key, and by every rule of a policy that says no.
set -eu
. "$(dirname "$0")/libimage.sh"
need skopeo docker-registry curl python3 openssl
[ "$(id -u)" = 0 ] || skip "unpacking a tree with its owners needs root"
s=$vectors/signatures v=$vectors/oci-encrypted
[ -d "$s" ] && [ -d "$v" ] || skip "no vectors of cosign; conform/image_tools.sh signs for itself"

tmp=$(mktemp -d)
registry_pid=
trap '[ -z "$registry_pid" ] || kill "$registry_pid" 2>/dev/null; rm -rf "$tmp"' EXIT
start_registry "$tmp/reg"
image=sha256:08b151e3b6a2a15576def210010df0a632b2198d3ffbddd2c6b9490ef5184e43
tag=${image/:/-}
manifest=application/vnd.oci.image.manifest.v1+json

put_blob() { # REPO FILE
	local at digest
	digest=sha256:$(sha256sum "$2" | cut -d' ' -f1)
	at=$(curl -sD- -o /dev/null -X POST "http://$registry/v2/$1/blobs/uploads/" | tr -d '\r' | sed -n 's/^[Ll]ocation: //p')
	curl -sf -o /dev/null -X PUT -H 'Content-Type: application/octet-stream' --data-binary "@$2" "$at&digest=$digest" || fail "upload $2"
}
put_manifest() { # REPO NAME FILE TYPE
	curl -sf -o /dev/null -X PUT -H "Content-Type: $4" --data-binary "@$3" "http://$registry/v2/$1/manifests/$2" || fail "manifest $2"
}
# fresh REPO MANIFEST [TAG]: the image in REPO, and a signature manifest with its blobs
fresh() {
	skopeo copy -q --dest-tls-verify=false "oci:$v/src-gzip" "docker://$registry/$1:1"
	for b in "$s"/cosign/blobs/*; do put_blob "$1" "$b"; done
	[ -z "${2:-}" ] || put_manifest "$1" "${3:-$tag.sig}" "$2" $manifest
}
# signed_for KEY IDENTITY-JSON: a policy for every image
signed_for() { printf '{"default":[{"type":"sigstoreSigned","keyPath":"%s","signedIdentity":%s}]}' "$1" "$2" >"$tmp/policy.json"; }
repo_of() { printf '{"type":"exactRepository","dockerRepository":"%s"}' "$1"; }
pull() { # CODE NAME REPO[:TAG]
	rm -rf "$tmp/o"
	expect "$1" "$2" "$bin/coffer" image pull "docker://$registry/$3" --policy "$tmp/policy.json" --out "$tmp/o" --json
	if [ "$1" = 0 ]; then
		grep -q '"signature_verified":true' "$tmp/last" || fail "$2: not said to be verified"
	else
		[ -z "$(ls -A "$tmp/o" 2>/dev/null)" ] || fail "$2: something appeared"
	fi
}

for kind in ec ed25519; do
	fresh sig/$kind "$s/cosign/sig-manifest-$kind.json"
	signed_for "$s/cosign/keys/cosign-$kind.pub" "$(repo_of 127.0.0.1:5055/sig/$kind)"
	pull 0 "$kind" sig/$kind:1
	pull 0 "$kind by digest" sig/$kind@$image
	signed_for "$s/openssl/rsa2048.pub" "$(repo_of 127.0.0.1:5055/sig/$kind)"
	pull 7 "$kind, another key" sig/$kind:1
	signed_for "$s/cosign/keys/cosign-$kind.pub" "$(repo_of 127.0.0.1:5055/sig/other)"
	pull 7 "$kind, another name" sig/$kind:1
	signed_for "$s/cosign/keys/cosign-$kind.pub" '{"type":"matchRepository"}'
	pull 7 "$kind, not this registry" sig/$kind:1
	signed_for "$s/cosign/keys/cosign-$kind.pub" "{\"type\":\"remapIdentity\",\"prefix\":\"$registry\",\"signedPrefix\":\"127.0.0.1:5055\"}"
	pull 0 "$kind, remapped, by digest" sig/$kind@$image
done

# the same key inline: PEM as it is, and base64 of it
python3 - "$s/cosign/keys/cosign-ec.pub" 127.0.0.1:5055/sig/ec "$tmp" <<'PY'
import base64, json, sys
pem = open(sys.argv[1]).read()
for name, data in (("pem", pem), ("b64", base64.b64encode(pem.encode()).decode())):
    json.dump({"default": [{"type": "sigstoreSigned", "keyData": data, "signedIdentity":
              {"type": "exactRepository", "dockerRepository": sys.argv[2]}}]}, open(f"{sys.argv[3]}/{name}.json", "w"))
PY
for form in pem b64; do cp "$tmp/$form.json" "$tmp/policy.json"; pull 0 "keyData as $form" sig/ec:1; done

# referrers: an index under the fallback tag
fresh sig/ref
put_manifest sig/ref "sha256:$(sha256sum "$s/cosign/sig-manifest-referrer.json" | cut -d' ' -f1)" "$s/cosign/sig-manifest-referrer.json" $manifest
put_manifest sig/ref "$tag" "$s/cosign/referrers-index.json" application/vnd.oci.image.index.v1+json
name=$(grep -ho '"docker-reference":"[^"]*"' "$s"/cosign/blobs/* | grep -v 'sig/ec"\|ed25519' | head -1 | cut -d'"' -f4)
signed_for "$s/cosign/keys/cosign-ec.pub" "$(repo_of "${name:-127.0.0.1:5055/sig/ec}")"
pull 0 "referrer" sig/ref:1

# RSA: the payload of the EC signature, signed by openssl in both paddings
signed_for "$s/openssl/rsa2048.pub" "$(repo_of 127.0.0.1:5055/sig/ec)"
for padding in pkcs1v15 pss; do
	python3 - "$s" "$tmp/rsa.json" $padding <<'PY'
import base64, json, sys
m = json.load(open(sys.argv[1] + "/cosign/sig-manifest-ec.json"))
sig = open(f"{sys.argv[1]}/openssl/rsa-{sys.argv[3]}-sha256.sig", "rb").read()
m["layers"][0]["annotations"]["dev.cosignproject.cosign/signature"] = base64.b64encode(sig).decode()
json.dump(m, open(sys.argv[2], "w"))
PY
	fresh sig/rsa-$padding "$tmp/rsa.json"
	pull 0 "RSA $padding" sig/rsa-$padding:1
done

# tampered: the signature's text, the payload (with its descriptor made to fit), the payload alone
signed_for "$s/cosign/keys/cosign-ec.pub" "$(repo_of 127.0.0.1:5055/sig/ec)"
python3 - "$s" "$tmp" <<'PY'
import base64, hashlib, json, sys
src, out = sys.argv[1:3]
load = lambda: json.load(open(src + "/cosign/sig-manifest-ec.json"))
key = "dev.cosignproject.cosign/signature"
m = load()
raw = bytearray(base64.b64decode(m["layers"][0]["annotations"][key]))
raw[-1] ^= 1
m["layers"][0]["annotations"][key] = base64.b64encode(raw).decode()
json.dump(m, open(out + "/t1.json", "w"))
m = load()
payload = open(src + "/cosign/blobs/" + m["layers"][0]["digest"].split(":")[1], "rb").read()
changed = payload.replace(b"coffer", b"cofFer") if b"coffer" in payload else payload + b" "
open(out + "/payload", "wb").write(changed)
m["layers"][0]["digest"] = "sha256:" + hashlib.sha256(changed).hexdigest()
m["layers"][0]["size"] = len(changed)
json.dump(m, open(out + "/t2.json", "w"))
m = load()
m["layers"] = [dict(m["layers"][0], mediaType="application/octet-stream")]
json.dump(m, open(out + "/t3.json", "w"))
m = load()
del m["layers"][0]["annotations"]
json.dump(m, open(out + "/t4.json", "w"))
m = load()
bad = json.load(open(out + "/t1.json"))["layers"][0]
m["layers"] = [bad, m["layers"][0]]
json.dump(m, open(out + "/two.json", "w"))
PY
for t in t1 t2 t3 t4; do
	put_blob sig/$t "$tmp/payload"
	fresh sig/$t "$tmp/$t.json"
	pull 7 "tampered: $t" sig/$t:1
done
fresh sig/two "$tmp/two.json"
pull 0 "one bad signature beside a good one" sig/two:1
fresh sig/none
pull 7 "no signature" sig/none:1
grep -q 'Image policy rejected: Denied by policy' "$tmp/last" || fail "not the known words: $(cat "$tmp/last")"

# a signature of the image moved to another image's tag
skopeo copy -q --dest-tls-verify=false "oci:$v/src-zstd" "docker://$registry/sig/moved:1"
other=$(skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://$registry/sig/moved:1")
for b in "$s"/cosign/blobs/*; do put_blob sig/moved "$b"; done
put_manifest sig/moved "${other/:/-}.sig" "$s/cosign/sig-manifest-ec.json" $manifest
pull 7 "a signature of another image" sig/moved:1

# policies
policies=(
	'7|{"default":[{"type":"reject"}]}'
	'7|{"default":[]}'
	'9|{"transports":{}}'
	'9|{"default":[{"type":"insecureAcceptAnything","x":1}]}'
	'9|not json'
	'7|{"default":[{"type":"insecureAcceptAnything"},{"type":"reject"}]}'
	'7|{"default":[{"type":"insecureAcceptAnything"}],"transports":{"docker":{"":[{"type":"reject"}]}}}'
	'7|{"default":[{"type":"insecureAcceptAnything"}],"transports":{"docker":{"REGISTRY/sig":[{"type":"reject"}]}}}'
	'0|{"default":[{"type":"reject"}],"transports":{"docker":{"REGISTRY/sig/ec":[{"type":"insecureAcceptAnything"}]}}}'
	'7|{"default":[{"type":"reject"}],"transports":{"docker":{"REGISTRY/sig/e":[{"type":"insecureAcceptAnything"}]}}}'
	'7|{"default":[{"type":"signedBy","keyType":"GPGKeys","keyPath":"x"}]}'
)
for row in "${policies[@]}"; do
	text=${row#*|}
	printf '%s' "${text//REGISTRY/$registry}" >"$tmp/policy.json"
	rm -rf "$tmp/o"
	expect "${row%%|*}" "policy $text" "$bin/coffer" image pull "docker://$registry/sig/ec:1" --policy "$tmp/policy.json" --out "$tmp/o"
done
verdict
