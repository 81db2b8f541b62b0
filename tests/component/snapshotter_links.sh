#!/usr/bin/env bash
# The snapshotter's daemon loads no library that only content needs: who adds a call to one moves that
# work into coffer-snapshotter-content instead.
set -eu
bin=${COFFER_BIN:-build/dev/bin}
needed=$(objdump -p "$bin/coffer-snapshotter" | awk '$1 == "NEEDED" { print $2 }')
[ -n "$needed" ] || { echo "objdump shows no libraries of $bin/coffer-snapshotter"; exit 1; }
if grep -E 'lib(crypto|ssl|curl|isal|zstd|z|seccomp)\.so' <<<"$needed"; then
	echo "coffer-snapshotter loads the above"
	exit 1
fi
