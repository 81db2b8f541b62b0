#!/usr/bin/env bash
# Each third-party header is included behind its door only (rarely two), and in .c files only.
. "$(dirname "$0")/lib.sh"

while IFS=: read -r pattern door; do
	case $pattern in '#'* | '') continue ;; esac
	door=${door# }
	while IFS=: read -r file line _; do
		case $file in
		tests/*) ;;
		*.c) [[ " $door " == *" ${file%%/*} "* ]] || complain "$file:$line: <$pattern> belongs behind the door in $door/" ;;
		proto/rpc*.h) [ "$pattern" = protobuf-c/ ] || complain "$file:$line: <$pattern> in a header" ;;
		*) complain "$file:$line: <$pattern> belongs behind the door in $door/" ;;
		esac
	done < <(c_files | xargs grep -nE "^#include <${pattern//./\\.}")
done <tests/check/doors.txt
exit $bad
