#!/usr/bin/env bash
# The front page's first command: an encrypted image asked of containerd, run in a measured VM, its key
# released by the key service, and every attack refused for its own reason.
. "$(dirname "$0")/lib.sh"
e2e_root
e2e_need containerd ctr docker-registry skopeo umoci curl protoc busybox ip jq swtpm swtpm_setup qemu-system-x86_64 openssl cpio
[ -r /usr/share/OVMF/OVMF_CODE_4M.fd ] || e2e_skip "OVMF is not installed"

dir=$(mktemp -d /tmp/coffer-quickstart.XXXXXX)
trap 'rm -rf "$dir"' EXIT
expect "the quickstart ends well" sh -c \
	"'$e2e_top/deploy/quickstart' --dir '$dir/run' --no-install --json >'$dir/json' 2>'$dir/story' || { cat '$dir/story'; false; }"
field() { jq -r "$1" "$dir/json"; }
expect_eq "everything was as promised" "$(field .ok)" true
expect "the container's own output" grep -q 'the secret in here has sha256 [0-9a-f]\{64\}' <<<"$(field .output)"
expect_eq "no layer byte on the host" "$(field .host_layer_bytes)" 0
expect_eq "every attack was refused" "$(field '[.attacks[] | select(.refused | not)] | length')" 0
for id in exec args unsigned wrong-key retag cmdline swapped-initdata no-initdata unknown-tpm replay no-evidence; do
	expect_eq "attack $id is among them" "$(field "[.attacks[] | select(.id == \"$id\")] | length")" 1
done
"$COFFER_BIN/coffer" kbs audit ls --dir "$dir/run/owner/kbs" >"$dir/audit"
expect "the key was released, by the audit log" grep -q '"action":"resource-get".*"result":"released"' "$dir/audit"
expect_eq "no mount is left" "$(grep -c "$dir" /proc/self/mountinfo || true)" 0
field .phases
