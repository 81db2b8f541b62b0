#!/usr/bin/env bash
# containerd's own suite for snapshotters, unchanged, against ours in overlay and
# in erofs mode. Needs Go and
# containerd's sources as Debian packages them; skipped where they are not installed:
#   apt-get install golang-go golang-github-containerd-containerd-dev \
#     golang-github-gotestyourself-gotest.tools-dev golang-github-stretchr-testify-dev
set -eu
here=$(cd "$(dirname "$0")" && pwd)
bin=${COFFER_BIN:-$here/../../build/release/bin}
suite=/usr/share/gocode/src/github.com/containerd/containerd/snapshots/testsuite
command -v go >/dev/null && [ -d "$suite" ] || { echo "skipped: no Go, or no sources of containerd"; exit 77; }
[ "$(id -u)" -eq 0 ] || { echo "skipped: needs root (mounts)"; exit 77; }
work=$(mktemp -d /tmp/coffer-suite.XXXXXX)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/src/suite" "$work/t"
cp "$here/go/snapshots_suite_test.go" "$work/src/suite/suite_test.go"
GO111MODULE=off GOFLAGS='' GOPATH=$work:/usr/share/gocode GOCACHE=${GOCACHE:-${HOME:-$work}/.cache/go-build} go test -c -o "$work/suite.test" suite
cd "$work"
# Mounts live and die with a namespace of their own.
for driver in overlay erofs; do
	COFFER_DRIVER=$driver COFFER_SNAPSHOTTER=$bin/coffer-snapshotter TMPDIR=$work/t \
		unshare -m ./suite.test -test.v -test.root >log 2>&1 || true
	echo "$driver:"
	grep -E '^ *--- ' log
	grep -q '^PASS' log || { tail -n 60 log; exit 1; }
done
