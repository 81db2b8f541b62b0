#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Fetches and builds the engines that policybench.sh measures beside ours, into DIR (default
# ~/.cache/coffer-peers): opa through the Go module proxy, regorus through crates.io. Minutes, once.
# They are peers of a benchmark and nothing else: nothing of ours links them.
#   policy_peers.sh --build [DIR]
set -eu
[ "${1:-}" = --build ] || { echo "SKIP: builds two foreign engines; run it with --build"; exit 77; }
top=${COFFER_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
dir=${2:-${COFFER_PEERS:-$HOME/.cache/coffer-peers}}
mkdir -p "$dir/regorus/src"
if ! [ -x "$dir/opa" ] && command -v go >/dev/null; then
	GOBIN=$dir nice -n 10 go install github.com/open-policy-agent/opa@v1.4.2
fi
if command -v cargo >/dev/null; then
	cp "$top/tests/perf/regorus/main.rs" "$dir/regorus/src/main.rs"
	cat > "$dir/regorus/Cargo.toml" <<-'TOML'
		[package]
		name = "regobench"
		version = "0.1.0"
		edition = "2021"
		[dependencies]
		regorus = "0.14"
	TOML
	(cd "$dir/regorus" && nice -n 10 cargo build --release)
	cp "$dir/regorus/target/release/regobench" "$dir/regobench"
fi
ls -l "$dir/opa" "$dir/regobench"
