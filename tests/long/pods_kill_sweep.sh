#!/usr/bin/env bash
# kill -9 at random moments while a pod with an encrypted image starts (a key service that takes the
# sample TEE): the shim, the snapshotter, the guest's init, image service or attester (driver "none"),
# the machine (driver "qemu"), the key service, containerd. Whatever came of the pod, it can be removed
# and leaves nothing; every few rounds a pod starts undisturbed.
#
#   COFFER_SWEEP_DRIVER  [none]
#   COFFER_SWEEP_ROUNDS  [60]
#   COFFER_SWEEP_VICTIMS [all]: words out of shim init imaged attestd machine snapshotter kbs containerd
#   COFFER_SWEEP_SEED    [of the clock, printed]: the same victims and moments
. "$(dirname "$0")/../e2e/lib.sh"
. "$(dirname "$0")/../e2e/lib_pods.sh"
e2e_need openssl
[ -x "$COFFER_BIN/coffer-kbs" ] || e2e_skip "coffer-kbs is not built"
driver=${COFFER_SWEEP_DRIVER:-none}
rounds=${COFFER_SWEEP_ROUNDS:-60}
RANDOM=${COFFER_SWEEP_SEED:=$(($(date +%s) % 32768))}
echo "seed $COFFER_SWEEP_SEED, $rounds rounds"

key_path=default/key/sweep
sweep_open() {
	pods_open "$driver" 5457 "${sweep_qemu:-}"
	kbs=$pods_dir/kbs
	"$COFFER_BIN/coffer" kbs init "$kbs" --listen "$stage_ip:8444" --name "$stage_ip" >/dev/null
	sed -i 's/^allow_sample = false/allow_sample = true/' "$kbs/kbs.toml"
	kbs_start
	"$COFFER_BIN/coffer" initdata new --registry-ca "$pods_dir/ca/ca.crt" --policy "$pods_dir/policy.toml" \
		--image-policy "$pods_dir/image-policy.json" --kbs "https://$stage_ip:8444" --kbs-ca "$kbs/tls.pem" \
		--allow-sample -o "$pods_dir/initdata.toml" 2>/dev/null
	"$COFFER_BIN/coffer" key new image -o "$pods_dir/image.key" >/dev/null
	stage_in "$COFFER_BIN/coffer" kbs resource put $key_path "$pods_dir/image.key" --dir "$kbs" \
		--initdata "$("$COFFER_BIN/coffer" initdata digest "$pods_dir/initdata.toml")" >/dev/null
	stage_in "$COFFER_BIN/coffer" kbs reference put launch_digest abcde --dir "$kbs" >/dev/null
	stage_in "$COFFER_BIN/coffer" kbs reference put svn 1 --dir "$kbs" >/dev/null
	stage_in "$COFFER_BIN/coffer" image encrypt "oci:$pods_dir/small:t" "docker://$pods_registry/small:1" --key "kbs:///$key_path" \
		--key-file "$pods_dir/image.key" --cert-dir "$pods_dir/ca" >/dev/null 2>&1
}
kbs_start() {
	stage_bg kbs "$COFFER_BIN/coffer-kbs" serve --config "$kbs/kbs.toml"
	stage_port 8444
}
log_has() { grep -q "$2" "$pods_dir/podlog/$1.log"; }

# One pod from nothing to its container's output.
pod_round() { # NAME
	local pod container
	pod=$(pods_pod "$1" coffer) || return 1
	cri_pull "$pods_registry/small:1" "$1" >/dev/null || return 1
	container=$(cri_create "$pod" "$1" "$1" "$pods_registry/small:1" 'command: "sh" command: "-c" command: "cat /hello; exec sleep 1000"') || return 1
	cri_start "$container" || return 1
	stage_wait "$patience_s" log_has "$1" "hello from one"
}
# ---- victims: each prints a pid, or nothing
child_named() { # PID NAME
	pgrep -P "$1" | while read -r p; do [ "$(cat "/proc/$p/comm" 2>/dev/null)" != "$2" ] || echo "$p"; done
}
helper_of_the_pod() { # NAME
	local none init
	none=$(pgrep -f "none-init $pods_run/" | head -n 1) && init=$(child_named "$none" coffer-init | head -n 1) &&
		[ -n "$init" ] && child_named "$init" "$1"
}
victim_shim() { pgrep -f "containerd-shim-coffer-v2 -namespace k8s.io.*$pods_ctd/" | tail -n 1; }
victim_init() { pgrep -f "coffer-init --no-pid1 --listen unix:$pods_run/" | tail -n 1; }
victim_imaged() { helper_of_the_pod coffer-imaged; }
victim_attestd() { helper_of_the_pod coffer-attestd; }
victim_snapshotter() { stage_pid snapshotter; }
victim_kbs() { stage_pid kbs; }
victim_containerd() { stage_pid containerd; }
victim_machine() { pods_machine_pid; }
if [ "$driver" = qemu ]; then
	e2e_need qemu-system-x86_64
	pods_guest_image
	sweep_qemu=$(pods_qemu_config 'memory_mib = 768')
	victims=(shim shim machine machine snapshotter kbs containerd) moments_ms=5000 patience_s=30
else
	victims=(shim shim init imaged attestd snapshotter kbs containerd) moments_ms=1000 patience_s=10
fi

read -r -a victims <<<"${COFFER_SWEEP_VICTIMS:-${victims[*]}}"

# What was killed of the node's and the owner's is there again, as a supervisor would see to it.
services_again() {
	stage_alive kbs || kbs_start
	stage_alive snapshotter || pods_snapshotter_again >/dev/null
	stage_alive containerd || pods_containerd_again >/dev/null
}

kills=0
sweep_round() { # NUMBER
	local victim=${victims[RANDOM % ${#victims[@]}]} ms=$((RANDOM % moments_ms)) after pid='' outcome=failed
	after=$(printf '%d.%03d' $((ms / 1000)) $((ms % 1000)))
	pod_round "r$1" >"$pods_dir/round.out" 2>"$pods_dir/round.err" &
	local maker=$!
	sleep "$after"
	pid=$("victim_$victim") || true
	[ -z "$pid" ] || { kill -9 "$pid" 2>/dev/null && kills=$((kills + 1)) && stage_wait 5 pods_pid_gone "$pid"; } || pid=
	wait "$maker" && outcome=started
	services_again
	echo "round $1: $victim ${pid:-(not there)} after $after s: the pod $outcome"
	# asked again, as the kubelet does: containerd looks after a shim's death in its own time
	stage_wait 20 pods_end_all || e2e_fail "round $1: the pod cannot be removed"
	pods_nothing_left >"$pods_dir/left" || { tail -n 1 "$pods_dir/left"; e2e_fail "round $1"; }
}

sweep_open
pod_round first || e2e_fail "an undisturbed pod does not start"
pods_end_all
for ((n = 1; n <= rounds; n++)); do
	sweep_round $n
	[ $((n % 5)) -ne 0 ] && [ $n -ne "$rounds" ] && continue
	pod_round "good$n" || e2e_fail "after round $n: an undisturbed pod does not start"
	pods_end_all
done
pods_nothing_left
expect "daemons were killed in most rounds ($kills of $rounds)" test $((kills * 2)) -gt "$rounds"
expect "the audit log's chain holds" "$COFFER_BIN/coffer" kbs audit verify --dir "$kbs"
stage_close
expect_eq "no process is left" "$(stage_pids)" ""
expect_eq "no mount is left" "$(stage_mounts)" ""
