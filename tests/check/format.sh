#!/usr/bin/env bash
# Formatting is the machine's work.
. "$(dirname "$0")/lib.sh"

command -v clang-format >/dev/null || { echo "skipped: clang-format is not installed"; exit 77; }
c_files | xargs clang-format --dry-run -Werror 2>&1 | grep 'error:' | sed 's/ error:.*//' | sort -u | head -n 20 |
	while read -r where; do echo "$where not formatted (clang-format -i)"; done | tee /tmp/format.$$
[ -s /tmp/format.$$ ] && bad=1
rm -f /tmp/format.$$
exit $bad
