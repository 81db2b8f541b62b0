#!/usr/bin/env bash
# The snapshotter's crash test at full length: 500 kills under eight clients, 100 power cuts.
set -eu
top=${COFFER_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
export COFFER_BIN=${COFFER_BIN:-$top/build/release/bin}
test=$(dirname "$COFFER_BIN")/tests/component_snapshotter_crash_test
[ -x "$test" ] || { echo "skipped: not built: $test"; exit 77; }
COFFER_CRASH_ROUNDS=${COFFER_CRASH_ROUNDS:-500} COFFER_CRASH_CUTS=${COFFER_CRASH_CUTS:-100} exec "$test"
