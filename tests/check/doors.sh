#!/usr/bin/env bash
# Each third-party header is included behind its door only, and in .c files only (protobuf-c's types are
# part of the rpc interface, so proto's headers may name them).
. "$(dirname "$0")/lib.sh"

allowed() { # FILE PATTERN DOORS
	local d
	case $1:$2 in tests/* | proto/*.h:protobuf-c/) return 0 ;; esac
	for d in $3; do
		case $1 in "$d"/*.c) return 0 ;; esac
	done
	return 1
}

while IFS=: read -r pattern doors; do
	case $pattern in '#'* | '') continue ;; esac
	while IFS=: read -r file line _; do
		allowed "$file" "$pattern" "$doors" ||
			complain "$file:$line: <$pattern> belongs behind its door in$doors/"
	done < <(c_files | xargs grep -nE "^#include <${pattern//./\\.}")
done <tests/check/doors.txt
exit $bad
