#!/usr/bin/env bash
# The node's cache of encrypted layers: the second pull of an image asks the registry for no layer; a
# cache that lies, is slow, dies or is not there costs a pull nothing but time; a layer in clear never
# goes to the host. Counted in the registry's own access log.
set -eu
. "$(dirname "$0")/../conform/libimage.sh"
need docker-registry skopeo umoci openssl python3 curl
[ -x "$bin/coffer-blobcache" ] || skip "not built: $bin/coffer-blobcache"
tmp=$(mktemp -d "${TMPDIR:-/tmp}/coffer-blobcache.XXXXXX")
registry_pid='' cache_pid='' liar_pid=''
end() {
	for p in $registry_pid $cache_pid $liar_pid; do kill "$p" 2>/dev/null || true; wait "$p" 2>/dev/null || true; done
	rm -rf "$tmp"
}
trap end EXIT
trap 'exit 143' TERM INT

# ---- an image of two layers, encrypted and in clear, on a registry that counts ----
start_registry "$tmp/registry"
kill "$registry_pid"; wait "$registry_pid" 2>/dev/null || true
sed -i 's/log: {level: error}/log: {level: warn, accesslog: {disabled: false}}/' "$tmp/registry/config.yml"
docker-registry serve "$tmp/registry/config.yml" >>"$tmp/access" 2>&1 &
registry_pid=$!
until curl -s -o /dev/null "http://$registry/v2/"; do :; done
mkdir "$tmp/keys" "$tmp/one" "$tmp/two"
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$tmp/keys/rsa.pem" 2>/dev/null
openssl pkey -in "$tmp/keys/rsa.pem" -pubout -out "$tmp/rsa.pub"
head -c 3000000 /dev/urandom >"$tmp/one/big"
echo two >"$tmp/two/file"
umoci init --layout "$tmp/oci" 2>/dev/null
umoci new --image "$tmp/oci:1" 2>/dev/null
for l in one two; do umoci insert --rootless --image "$tmp/oci:1" "$tmp/$l" "/$l" 2>/dev/null; done
skopeo copy -q --encryption-key "jwe:$tmp/rsa.pub" "oci:$tmp/oci:1" "oci:$tmp/enc:1"
for i in oci enc; do skopeo copy -q --dest-tls-verify=false "oci:$tmp/$i:1" "docker://$registry/$i:1"; done
# The layers' digests, so that manifests and configurations do not count.
layers=$(for i in oci enc; do skopeo inspect --raw "oci:$tmp/$i:1"; done |
	python3 -c 'import json, sys
for m in sys.stdin.read().replace("}{", "}\n{").split("\n"):
    if m.strip(): print("\n".join(l["digest"] for l in json.loads(m)["layers"]))')
layer_gets() { # since the last call
	local n
	n=$(grep -c "\"GET /v2/.*/blobs/\($(echo "$layers" | paste -sd'|' | sed 's/|/\\|/g')\)" "$tmp/access" || true)
	: >"$tmp/access"
	echo "$n"
}
pull() { # IMAGE OUT
	rm -rf "$tmp/out"
	COFFER_BLOB_CACHE=${cache-$tmp/cache.sock} "$bin/coffer-imaged" --oneshot pull "docker://$registry/$1:1" --keys "$tmp/keys" \
		--out "$tmp/out" >"$tmp/last" 2>&1 || { tail -5 "$tmp/last"; return 1; }
	cmp -s "$tmp/out/rootfs/one/big" "$tmp/one/big" && cmp -s "$tmp/out/rootfs/two/file" "$tmp/two/file"
}
cache_start() {
	"$bin/coffer-blobcache" --listen "$tmp/cache.sock" --state-dir "$tmp/cache" --size-max 64M >>"$tmp/cache.log" 2>&1 &
	cache_pid=$!
	until python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])' "$tmp/cache.sock" 2>/dev/null; do
		kill -0 "$cache_pid" || { cat "$tmp/cache.log"; exit 1; }
	done
}
cache_stop() { kill "-${1:-TERM}" "$cache_pid"; wait "$cache_pid" 2>/dev/null || true; cache_pid=; }
gets() { # WANTED WHAT
	local n
	n=$(layer_gets)
	if [ "$n" = "$1" ]; then echo "ok $2 ($n requests for layers)"; else fail "$2: $n requests for layers, wanted $1"; fi
}
layer_gets >/dev/null

pull enc || fail "pull without a cache"
gets 2 "no cache there: the registry gives the layers"
cache_start
pull enc || fail "pull that fills the cache"
gets 2 "an empty cache: the registry gives the layers"
[ "$(ls "$tmp/cache/blobs" | wc -l)" = 2 ] && [ -z "$(ls "$tmp/cache/tmp")" ] || fail "not two whole blobs are cached"
for f in "$tmp"/cache/blobs/*; do
	[ "$(sha256sum <"$f" | cut -d' ' -f1)" = "$(basename "$f")" ] || fail "$f is not what it is called"
done
pull enc || fail "pull from the cache"
gets 0 "the second pull of the node"
metric() { curl -s --unix-socket "$tmp/control.sock" http://localhost/metrics | sed -n "s/^coffer_blobcache_$1 //p"; }
bytes=$(cat "$tmp"/cache/blobs/* | wc -c)
[ "$(metric hits_total) $(metric misses_total) $(metric stored_total)" = "2 2 2" ] || fail "the metrics count otherwise"
[ "$(metric served_bytes_total) $(metric bytes)" = "$bytes $bytes" ] || fail "the metrics count other bytes"
curl -s --unix-socket "$tmp/control.sock" http://localhost/v1/health | grep -q '"blobs": 2' || fail "no health"
cache_stop KILL
cache_start
pull enc || fail "pull after kill -9"
gets 0 "after the cache was killed and started again"
pull oci || fail "pull in clear"
gets 2 "an image in clear comes from the registry"
[ "$(ls "$tmp/cache/blobs" | wc -l)" = 2 ] || fail "a layer in clear was given to the host"
cache='' && pull enc || fail "pull with the cache switched off"
gets 2 "the cache switched off"
unset cache

# ---- bytes that changed on the disk are found before they are served ----
cache_stop
for f in "$tmp"/cache/blobs/*; do printf 'X' | dd of="$f" bs=1 seek=100 conv=notrunc 2>/dev/null; done
touch "$tmp/cache/tmp/half" "$tmp/cache/blobs/stranger"
cache_start
[ -z "$(ls "$tmp/cache/tmp")" ] && [ ! -e "$tmp/cache/blobs/stranger" ] || fail "what is no blob stays"
pull enc || fail "pull after the disk changed"
gets 2 "damaged blobs are not served"
pull enc || fail "pull after that"
gets 0 "and are replaced"
# (a daemon that has hashed a blob believes the disk: the guest does not)
for f in "$tmp"/cache/blobs/*; do printf 'X' | dd of="$f" bs=1 seek=100 conv=notrunc 2>/dev/null; done
pull enc || fail "pull from a disk that changes under the daemon"
gets 2 "the guest finds out itself"
for f in "$tmp"/cache/blobs/*; do truncate -s 50 "$f"; done
pull enc || fail "pull of blobs that have become short"
gets 2 "short blobs come from the registry"
pull enc || fail "pull after that"
gets 2 "were let go of, and are brought anew"
pull enc || fail "pull after that"
gets 0 "and read"
cache_stop

# ---- a cache that lies in each way it can ----
cat >"$tmp/liar.py" <<'P'
import os, socket, struct, sys, threading
path, how = sys.argv[1:]
def take(c, n):
    b = b""
    while len(b) < n:
        d = c.recv(n - len(b))
        if not d: raise EOFError
        b += d
    return b
def serve(c):
    reads = 0
    if how == "deaf": threading.Event().wait(60)
    if how == "noise":
        try:
            while True: c.sendall(os.urandom(65536))
        except OSError: return
    try:
        while True:
            magic, op, status, zero, i, size = struct.unpack(">IBBHII", take(c, 16))
            body = take(c, size)
            def reply(b=b"", s=0, i=i): c.sendall(struct.pack(">IBBHII", magic, op | 0x80, s, 0, i, len(b)) + b)
            if op == 1: reply(body + struct.pack(">II", 1, 262144))
            elif op == 2:
                if how == "mute": threading.Event().wait(60)
                if how == "sponge": reply(s=5)
                else: reply(struct.pack(">Q", sizes[body.decode()] + {"larger": 1, "smaller": -1}.get(how, 0)))
            elif op == 3:
                off, n = struct.unpack(">QI", body[:12])
                reads += 1
                if how == "short" : reply(b"x" * (n - 1))
                elif how == "long": reply(b"x" * (n + 1))
                elif how == "gone" and reads > 1: return
                elif how == "stuck" and reads > 1: threading.Event().wait(60)
                elif how == "crawl":
                    d = struct.pack(">IBBHII", magic, op | 0x80, 0, 0, i, n) + blob(body[12:], off, n)
                    for at in range(0, len(d), 4096): c.sendall(d[at:at + 4096]); threading.Event().wait(0.1)
                elif how == "swapped": reply(blob(other[body[12:].decode()].encode(), off, n).ljust(n, b"z"))
                elif how == "drip": threading.Event().wait(1.5); reply(blob(body[12:], off, n))
                elif how == "id": reply(blob(body[12:], off, n), i=i + 1)
                elif how == "tail": reply(blob(body[12:], off, n) if n == 262144 else b"y" * n)
                else: reply(os.urandom(n))
            elif how == "sponge" and op == 4: reply(struct.pack(">I", 1))
            elif how == "sponge" and op == 5: threading.Event().wait(60)
            else: reply(s=8)
    except (EOFError, OSError): pass
    finally: c.close()
root = os.environ["BLOBS"]
sizes = {"sha256:" + f: os.stat(root + "/" + f).st_size for f in os.listdir(root)}
other = dict(zip(sizes, reversed(list(sizes))))
def blob(d, off, n): return open(root + "/" + d.decode()[7:], "rb").read()[off:off + n]
s = socket.socket(socket.AF_UNIX)
s.bind(path); s.listen(8)
while True: threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()
P
for how in random tail swapped short long larger smaller gone id noise mute deaf stuck drip crawl sponge; do
	rm -f "$tmp/liar.sock"
	BLOBS="$tmp/cache/blobs" python3 "$tmp/liar.py" "$tmp/liar.sock" "$how" &
	liar_pid=$!
	until [ -S "$tmp/liar.sock" ]; do kill -0 "$liar_pid"; done
	from=$(date +%s%3N)
	cache=$tmp/liar.sock
	pull enc || fail "pull beside a cache that lies: $how"
	unset cache
	ms=$(($(date +%s%3N) - from))
	# It is left alone after it was late: 2 s for one frame, 3 s and a piece for what is slow.
	[ "$ms" -lt 8000 ] || fail "$how: $ms ms"
	n=$(layer_gets)
	[ "$n" -ge 1 ] && echo "ok a cache that lies ($how): the registry gave $n, $ms ms" || fail "$how: no request reached the registry"
	kill "$liar_pid"; wait "$liar_pid" 2>/dev/null || true
	liar_pid=
done
verdict
