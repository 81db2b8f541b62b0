#!/usr/bin/env bash
# Each header compiles alone. Generated protobuf headers come from the build that runs this test.
. "$(dirname "$0")/lib.sh"

build=${COFFER_BIN:-build/dev/bin}
gen=$(dirname "$build")/gen
flags=(-std=gnu17 -D_GNU_SOURCE '-DCOFFER_VERSION="check"' -Wall -Wextra -I. -I"$gen" -I"$gen/proto")
# shellcheck disable=SC2046
flags+=($(pkg-config --cflags libprotobuf-c cmocka 2>/dev/null))
export -f complain
headers=$(c_files | grep '\.h$')
out=$(printf '%s\n' "$headers" | xargs -P2 -I{} sh -c \
	'h=$1; shift; printf "#include \"%s\"\n" "$h" | "${CC:-cc}" "$@" -x c -fsyntax-only - 2>&1 | sed "s|^|$h alone: |"' \
	_ {} "${flags[@]}")
[ -z "$out" ] || complain "$out"
for h in $headers; do
	head -n 2 "$h" | grep -q 'SPDX-License-Identifier: Apache-2.0' || complain "$h: no SPDX line"
	grep -q '^#pragma once' "$h" || complain "$h: no #pragma once"
done
exit $bad
