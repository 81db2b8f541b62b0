# Tests that concern containerd, under another version of it. Sourced.
#
#   containerd_under SUITE VARIABLE=VALUE... -- KIND/TEST...
. "$(dirname "${BASH_SOURCE[0]}")/lib_debs.sh"
long_top=${COFFER_SOURCE:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}

containerd_under() { # SUITE VARIABLE=VALUE... -- TEST...
	local d=$long_top/build/peers/$1 test status env=()
	debs_unpack "$1" "$d" containerd || { echo "skipped: containerd of $1 cannot be had from apt's sources"; exit 77; }
	shift
	while [ "$1" != -- ]; do env+=("$1") && shift; done
	shift
	"$d/root/usr/bin/containerd" --version || { echo "skipped: it does not run on this system"; exit 77; }
	for test; do
		echo "== $test ${env[*]}"
		status=0
		env "CONTAINERD_BIN=$d/root/usr/bin" "${env[@]}" bash "$long_top/tests/$test.sh" || status=$?
		[ $status -eq 0 ] || exit $status
	done
}
