#!/usr/bin/env bash
# The snapshotter's crash tests at full length: 500 kills under eight clients and 100 power cuts under
# guest pull, 100 kills each in overlay and in erofs mode.
set -eu
top=${COFFER_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
export COFFER_BIN=${COFFER_BIN:-$top/build/release/bin}
tests=$(dirname "$COFFER_BIN")/tests
for t in crash crash_content; do
	[ -x "$tests/component_snapshotter_${t}_test" ] || { echo "skipped: not built: component_snapshotter_${t}_test"; exit 77; }
done
COFFER_CRASH_ROUNDS=${COFFER_CRASH_ROUNDS:-500} COFFER_CRASH_CUTS=${COFFER_CRASH_CUTS:-100} \
	"$tests/component_snapshotter_crash_test"
COFFER_CRASH_ROUNDS=${COFFER_CRASH_CONTENT_ROUNDS:-100} exec "$tests/component_snapshotter_crash_content_test"
