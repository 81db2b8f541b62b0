# Pods of coffer's under a real containerd: registry, snapshotter, shim. Sourced after lib.sh.
#
#   pods_open DRIVER PORT    stage, registry with images small:1 and twin:1, initdata, containerd
#   pods_initdata POLICY     initdata whose policy.toml is POLICY
#   pods_nothing_left        asserts that no process, mount, link or file of a pod is there
#
# A test that defines pods_images_more has it called for more images, and $pods_containerd_more is added
# to containerd's configuration.
#
# $pods_dir: the stage's directory; $pods_registry: HOST:PORT; $pods_run: run_dir of the shim; $pods_ctd:
# containerd's directory.

pods_open() { # DRIVER PORT [SHIM-TOML-LINES]
	e2e_root
	e2e_need containerd ctr crun jq docker-registry skopeo umoci curl protoc busybox ip mount.fuse
	local p
	for p in coffer coffer-init coffer-imaged coffer-layer-helper coffer-attestd coffer-snapshotter containerd-shim-coffer-v2; do
		[ -x "$COFFER_BIN/$p" ] || e2e_skip "$p is not built"
	done
	pods_driver=$1
	e2e_stage "pods-$1"
	pods_dir=$e2e_dir pods_registry=$stage_ip:$2
	pods_run=$pods_dir/s pods_ctd=$pods_dir/ctd
	peer_registry "$pods_dir/registry" "$2"
	mkdir -p "$pods_dir/ca" "$pods_ctd" "$pods_dir/podlog"
	cp "$pods_dir/registry/tls/ca.pem" "$pods_dir/ca/ca.crt"
	pods_images
	! declare -F pods_images_more >/dev/null || pods_images_more
	pods_initdata "${pods_policy:-$(pods_default_policy)}"
	pods_shim_config "${3:-}"
	pods_snapshotter
	pods_containerd
}

pods_images() {
	image_pause "$pods_dir/pause"
	image_push "$pods_dir/pause" "$pods_registry/pause:1" "$pods_dir/ca"
	mkdir -p "$pods_dir/one" "$pods_dir/two"
	echo "hello from one" >"$pods_dir/one/hello"
	echo "hello from two" >"$pods_dir/two/hello"
	image_small "$pods_dir/small" "$pods_dir/one"
	image_small "$pods_dir/twin" "$pods_dir/two"
	image_push "$pods_dir/small" "$pods_registry/small:1" "$pods_dir/ca"
	image_push "$pods_dir/twin" "$pods_registry/twin:1" "$pods_dir/ca"
}

pods_default_policy() {
	printf 'version = 1\n'
	printf '[[container]]\nimage = "%s/small:1"\nargs = ["sh", "-c", "cat /hello; exec sleep 1000"]\nexec = [["cat", "/hello"]]\n' "$pods_registry"
	printf '[[container]]\nimage = "%s/twin:1"\nargs = ["cat", "/hello"]\n' "$pods_registry"
}

pods_initdata() { # POLICY-TEXT
	printf '%s\n' "$1" >"$pods_dir/policy.toml"
	printf '{"default":[{"type":"insecureAcceptAnything"}]}' >"$pods_dir/image-policy.json"
	"$COFFER_BIN/coffer" initdata new --registry-ca "$pods_dir/ca/ca.crt" --policy "$pods_dir/policy.toml" \
		--image-policy "$pods_dir/image-policy.json" -o "$pods_dir/initdata.toml" 2>"$pods_dir/initdata.digest"
}

pods_shim_config() { # MORE
	cat >"$pods_dir/shim.toml" <<C
driver = "$pods_driver"
run_dir = "$pods_run"
[none]
init = "$COFFER_BIN/coffer-init"
[guest]
initdata = "$pods_dir/initdata.toml"
$1
C
}

pods_snapshotter() {
	stage_bg snapshotter "$COFFER_BIN/coffer-snapshotter" --state-dir "$pods_dir/snap" --listen "$pods_dir/snap.sock"
	stage_wait 10 test -S "$pods_dir/snap.sock" || e2e_fail "the snapshotter did not start"
}

pods_containerd() {
	{
		e2e_snapshotter_toml "$pods_dir/snap.sock"
		printf '[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.coffer.options]\n  ConfigPath = "%s"\n' "$pods_dir/shim.toml"
		printf '%s\n' "${pods_containerd_more:-}"
	} >"$pods_dir/extra.toml"
	peer_containerd_trust "$pods_ctd" "$pods_registry" "$pods_dir/ca/ca.crt"
	peer_containerd "$pods_ctd" "$pods_registry/pause:1" "$pods_dir/extra.toml"
}
pods_containerd_again() {
	peer_containerd_run "$pods_ctd"
	expect "containerd is back" stage_wait 20 pods_containerd_answers
	pods_leases_end
}
# What a killed containerd had in hand stays leased for a day: let its collection have it now.
pods_leases_end() {
	local l ctl=(ctr -a "$pods_ctd/containerd.sock" -n k8s.io leases)
	for l in $("${ctl[@]}" ls -q); do "${ctl[@]}" rm --sync "$l" >/dev/null || true; done
}
pods_containerd_answers() { echo 'version: "v1"' | cri Runtime/Version >/dev/null; }
pods_snapshotter_again() {
	rm -f "$pods_dir/snap.sock"
	pods_snapshotter
	expect "the snapshotter is back and containerd finds it" stage_wait 10 pods_snapshots_listed
}
pods_snapshots_listed() { ctr -a "$pods_ctd/containerd.sock" -n k8s.io snapshots --snapshotter coffer ls; }

# A pod, as cri_pod makes it; its network namespace is remembered for pods_nothing_left.
pods_pod() { # NAME HANDLER [ANNOTATIONS]
	local id
	id=$(cri_pod "$1" "$2" "$pods_dir/podlog" "${3:-}") && [ -n "$id" ] || return 1
	jq -r '.linux.namespaces[] | select(.type == "network").path' \
		"$pods_ctd/state/io.containerd.runtime.v2.task/k8s.io/$id/config.json" >>"$stage_dir/run/pods.netns" || true
	printf '%s\n' "$id"
}
pods_netns_left() {
	local n
	[ ! -e "$stage_dir/run/pods.netns" ] || while read -r n; do [ ! -e "$n" ] || echo "$n"; done <"$stage_dir/run/pods.netns"
}
pods_no_mount() { [ -z "$(stage_mounts)" ]; }
pods_end() { # POD
	cri_pod_stop "$1" && cri_pod_remove "$1"
}
# All pods that containerd knows; 1 when one is still there.
pods_end_all() {
	local id
	for id in $(cri Runtime/ListPodSandbox </dev/null | sed -n 's/^  id: "\(.*\)"/\1/p'); do pods_end "$id" || return 1; done
}
pods_machine_up() { [ -n "$(pods_machine_pid)" ]; }
# Snapshots that a container or pod still has: what is left of pulled images is committed.
pods_snapshots() { pods_snapshots_listed | grep -vcE 'Committed|^KEY' || true; }
pods_no_snapshot() { [ "$(pods_snapshots)" = 0 ]; }
pods_not_ready() { printf 'pod_sandbox_id: "%s"' "$1" | cri Runtime/PodSandboxStatus | grep -qE '^ *state: (1|SANDBOX_NOTREADY)'; }

# The shim's pid, by the state file of the only pod.
pods_shim_pid() { sed -n 's/.*"shim":{"pid":\([0-9]*\).*/\1/p' "$pods_run"/k8s.io/*/state.json 2>/dev/null | head -n 1; }
# The machine's pid.
pods_machine_pid() { sed -n 's/.*"pids":\[{"pid":\([0-9]*\).*/\1/p' "$pods_run"/k8s.io/*/state.json 2>/dev/null | head -n 1; }
# The pid of its software TPM.
pods_tpm_pid() { jq -r '.pids[1].pid // empty' "$pods_run"/k8s.io/*/state.json; }
pods_pid_gone() { ! kill -0 "$1" 2>/dev/null; }

pods_processes() { pgrep -f "$pods_run/|$pods_ctd/containerd.sock -publish" || true; }
pods_no_process() { [ -z "$(pods_processes)" ]; }
pods_links() { stage_in ip -o link show | grep -cE ': (cftap|cfbr|veth)' || true; }
pods_no_link() { [ "$(pods_links)" = 0 ]; } # the kernel takes a namespace's links away in its own time
pods_no_dir() { [ -z "$(ls "$pods_run/k8s.io" 2>/dev/null)" ]; }
pods_bundles() { ls "$pods_ctd/state/io.containerd.runtime.v2.task/k8s.io" 2>/dev/null | wc -l; }
# Sockets of shims that nobody serves any more.
pods_dead_sockets() {
	local s
	for s in /run/containerd/s/*; do
		[ -S "$s" ] && [ "$s" -nt "$stage_dir/run/netns" ] || continue
		ss -xlH src "$s" 2>/dev/null | grep -q . || echo "$s"
	done
}
pods_no_dead_socket() { [ -z "$(pods_dead_sockets)" ]; } # another test's may be there for a moment
pods_no_bundle() { [ "$(pods_bundles)" = 0 ]; }

pods_nothing_left() {
	stage_wait 10 pods_no_process || true
	expect_eq "no process of a pod is left" "$(pods_processes)" ""
	expect "no directory of a pod is left" stage_wait 5 pods_no_dir
	expect "no link of a pod is left" stage_wait 10 pods_no_link
	expect "no bundle is left" stage_wait 5 pods_no_bundle
	expect "no mount of a pod is left" stage_wait 5 pods_no_mount
	expect_eq "no network namespace of a pod is left" "$(pods_netns_left)" ""
	expect "no snapshot of a container is left" stage_wait 10 pods_no_snapshot
	expect "no dead socket is left" stage_wait 10 pods_no_dead_socket
}

# The guest image of this build, made when it is not there or older than its programs.
pods_guest_image() {
	pods_guest=${COFFER_GUEST_IMAGE:-$(dirname "$COFFER_BIN")/guest-image}
	[ -z "${COFFER_GUEST_IMAGE:-}" ] || return 0
	local p
	for p in coffer-init coffer-imaged coffer-layer-helper coffer-attestd; do
		[ "$pods_guest/initrd.img" -nt "$COFFER_BIN/$p" ] || {
			echo "building the guest image (a minute)"
			"$e2e_top/deploy/guest-image/build" --bin "$COFFER_BIN" --out "$pods_guest" >"/tmp/coffer-guest-image.$$.log" 2>&1 || {
				tail -n 5 "/tmp/coffer-guest-image.$$.log"
				e2e_fail "the guest image does not build"
			}
			rm -f "/tmp/coffer-guest-image.$$.log"
			return 0
		}
	done
}

# shim.toml's lines for VMs of the guest image.
pods_qemu_config() { # MORE-QEMU-LINES
	cat <<C
kernel = "$pods_guest/vmlinuz"
initrd = "$pods_guest/initrd.img"
cmdline = "$pods_guest/cmdline"
[qemu]
console = true
$1
C
}
