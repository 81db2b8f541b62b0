#!/usr/bin/env bash
# Installs the packages of tests/packages.txt that are missing (KIND "build" or "test"; all without
# an argument). Without root it only names the command.
set -euo pipefail
cd "$(dirname "$0")/.."

kind=${1:-}
mapfile -t wanted < <(sed -nE "s/^${kind:-(build|test)}: *([^ ]+).*/\\$([ -n "$kind" ] && echo 1 || echo 2)/p" tests/packages.txt)
missing=()
for p in "${wanted[@]}"; do
	dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
done
[ ${#missing[@]} -gt 0 ] || { echo "all ${#wanted[@]} packages are there"; exit 0; }
if [ "$(id -u)" -ne 0 ]; then
	echo "packages are missing; run: sudo apt-get install ${missing[*]}" >&2
	exit 1
fi
echo "installing: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
if ! { apt-get -q update && apt-get -q install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
	tail -n 30 "$log" >&2
	rm -f "$log"
	exit 1
fi
rm -f "$log"
