#!/usr/bin/env bash
# coffer-blobcache killed at random moments under guests that bring and read blobs, and started again: what
# it said it stored is there, nothing is half there, nothing is served that is not the blob, no temporary
# file stays. COFFER_KILLS=40 rounds.
set -eu
. "$(dirname "$0")/../conform/libimage.sh"
need python3
[ -x "$bin/coffer-blobcache" ] || skip "not built: $bin/coffer-blobcache"
tmp=$(mktemp -d "${TMPDIR:-/tmp}/coffer-blobcache-kill.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
trap 'exit 143' TERM INT
cat >"$tmp/kill.py" <<'P'
import hashlib, os, random, socket, struct, subprocess, sys, threading, time
binary, top, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
random.seed(7)
blobs = {}
for i in range(24):
    b = random.randbytes(random.choice([1, 5000, 300000, 700000]))
    blobs["sha256:" + hashlib.sha256(b).hexdigest()] = b
names, stored, lock, wrong = list(blobs), set(), threading.Lock(), []
seen = {"read": 0, "stored": 0, "cut": 0}

class Guest:
    def __init__(self):
        self.s = socket.socket(socket.AF_UNIX); self.s.settimeout(20); self.s.connect(top + "/sock"); self.id = 0
    def take(self, n):
        b = b""
        while len(b) < n:
            d = self.s.recv(n - len(b))
            if not d: raise EOFError
            b += d
        return b
    def ask(self, op, body):
        self.id += 1
        self.s.sendall(struct.pack(">IBBHII", 0x43464243, op, 0, 0, self.id, len(body)) + body)
        magic, op, status, zero, i, size = struct.unpack(">IBBHII", self.take(16))
        assert i == self.id
        return status, self.take(size)
    def bring(self, name):
        b = blobs[name]
        status, body = self.ask(4, struct.pack(">Q", len(b)) + name.encode())
        if status: return
        for at in range(0, len(b), 65536):
            status, _ = self.ask(5, body + struct.pack(">Q", at) + b[at:at + 65536])
            if status: return
        if self.ask(6, body)[0] == 0:
            with lock: stored.add(name); seen["stored"] += 1
    def read(self, name):
        status, body = self.ask(2, name.encode())
        if status: return
        size, got = struct.unpack(">Q", body)[0], b""
        while len(got) < size:
            status, body = self.ask(3, struct.pack(">QI", len(got), 262144) + name.encode())
            if status: return
            got += body
        if got != blobs[name]: wrong.append(name)
        seen["read"] += 1

def guest(seed):
    rnd = random.Random(seed)
    try:
        g = Guest()
        while True:
            (g.bring if rnd.random() < .6 else g.read)(rnd.choice(names))
    except (EOFError, OSError): seen["cut"] += 1

for r in range(rounds):
    p = subprocess.Popen([binary, "--listen", top + "/sock", "--state-dir", top + "/state", "--control", "", "--size-max", "64M", "--log-level", "error"])
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try: g = Guest(); break
        except OSError: assert p.poll() is None, "it does not start"
    assert not os.listdir(top + "/state/tmp"), "a temporary file stays"
    have = set(os.listdir(top + "/state/blobs"))
    assert {n[7:] for n in stored} <= have, "what was stored is gone"
    for n in sorted(have):
        b = open(top + "/state/blobs/" + n, "rb").read()
        assert hashlib.sha256(b).hexdigest() == n, "half a blob"
    threads = [threading.Thread(target=guest, args=(r * 10 + i,)) for i in range(4)]
    for t in threads: t.start()
    time.sleep(random.random() * .15)
    p.kill(); p.wait()
    for t in threads: t.join()
    assert not wrong, "served something else"
    # Begin anew now and then, so that there is something to bring.
    for n in random.sample(sorted(stored), len(stored) * 2 // 3):
        os.unlink(top + "/state/blobs/" + n[7:]); stored.discard(n)
print("ok", rounds, "kills:", seen)
assert seen["stored"] > rounds and seen["read"] > rounds / 4
P
python3 "$tmp/kill.py" "$bin/coffer-blobcache" "$tmp" "${COFFER_KILLS:-40}" || fail "see above"
verdict
