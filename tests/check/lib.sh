# Shared by the checks: where the tree is, and which C files it has.
top=${COFFER_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
cd "$top" || exit 1
c_files() {
	find base proto erofs policy snapshotter guest-imaged attest-agent kbs vmm-glue cli tests \
		-name '*.[ch]' -not -path '*/build/*' | sort
}
bad=0
complain() {
	printf '%s\n' "$*"
	bad=1
}
