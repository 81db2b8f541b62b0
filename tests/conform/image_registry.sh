#!/usr/bin/env bash
# A registry with TLS of a private CA and a password, as the guest meets it: trusted only with the CA,
# opened only with the right login, credentials from the usual file.
set -eu
. "$(dirname "$0")/libimage.sh"
need skopeo umoci docker-registry curl python3 openssl
[ "$(id -u)" = 0 ] || skip "unpacking a tree with its owners needs root"
command -v htpasswd >/dev/null || python3 -W ignore -c 'import crypt' 2>/dev/null || skip "nothing here makes a bcrypt password file"

tmp=$(mktemp -d)
registry_pid=
trap '[ -z "$registry_pid" ] || kill "$registry_pid" 2>/dev/null; rm -rf "$tmp"' EXIT
cd "$tmp"
c=$bin/coffer

mkdir -p reg/data ca other tree
{
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca/ca.pem -days 2 -subj /CN=test-ca
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout other.key -out other/ca.crt -days 2 -subj /CN=other-ca
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout srv.key -out srv.csr -subj /CN=registry
	printf 'subjectAltName=IP:127.0.0.1' >ext
	openssl x509 -req -in srv.csr -CA ca/ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out srv.pem
} 2>/dev/null
if command -v htpasswd >/dev/null; then
	htpasswd -nbB -C 4 user 'pass word' >htpasswd
else
	python3 -W ignore - >htpasswd <<'PY'
import crypt
print("user:" + crypt.crypt("pass word", crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16)).replace("$2b$", "$2y$", 1))
PY
fi
registry=127.0.0.1:$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >reg/config.yml <<CONF
version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: $tmp/reg/data}}
auth: {htpasswd: {realm: test, path: $tmp/htpasswd}}
http: {addr: "$registry", tls: {certificate: $tmp/srv.pem, key: $tmp/srv.key}}
CONF
docker-registry serve reg/config.yml >reg/log 2>&1 &
registry_pid=$!
for _ in $(seq 100); do
	curl -sk -o /dev/null "https://$registry/v2/" && break
	read -rt 0.1 <> <(:) || true
done

auth() { printf '{"auths":{"%s":{"auth":"%s"}}}' "$1" "$(printf '%s' "$2" | base64 -w0)"; }
auth "$registry" 'user:pass word' >good.json
auth "$registry" 'user:wrong' >wrong.json
auth other.example:1 'user:pass word' >elsewhere.json

echo content >tree/hello
umoci init --layout src
umoci new --image src:v1
umoci config --image src:v1 --os linux --architecture amd64
umoci insert --image src:v1 tree /

expect 7 "push without the CA" "$c" image push oci:src:v1 "$registry/app:1" --authfile good.json
expect 0 "push" "$c" image push oci:src:v1 "$registry/app:1" --cert-dir ca --authfile good.json
expect 7 "pull without the CA" "$c" image pull "$registry/app:1" --authfile good.json --out o1
expect 7 "pull with another CA" "$c" image pull "$registry/app:1" --cert-dir other --authfile good.json --out o2
expect 6 "pull without a login" "$c" image pull "$registry/app:1" --cert-dir ca --authfile elsewhere.json --out o3
grep -q 'Not authorized' last || fail "not the known words: $(cat last)"
expect 6 "pull with a wrong login" "$c" image pull "$registry/app:1" --cert-dir ca --authfile wrong.json --out o4
expect 0 "pull" "$c" image pull "$registry/app:1" --cert-dir ca --authfile good.json --out o5 --json
grep -q '"tls":true' last || fail "checked TLS is not said: $(cat last)"
[ "$(cat o5/rootfs/hello)" = content ] || fail "another tree"
expect 0 "login from the environment's file" env REGISTRY_AUTH_FILE=good.json "$c" image pull "$registry/app:1" --cert-dir ca --out o6
expect 0 "unchecked TLS, in words" "$c" image pull "$registry/app:1" --tls-verify=false --authfile good.json --out o7 --json
grep -q '"tls":false' last || fail "unchecked TLS is not said: $(cat last)"
expect 0 "encrypt into it" "$c" image encrypt oci:src:v1 "$registry/app:enc" --key kbs:///a/b/c --key-file key --cert-dir ca --authfile good.json
verdict
