#!/usr/bin/env bash
# Every #include "folder/..." follows the arrows of layers.txt; programs never include each other.
. "$(dirname "$0")/lib.sh"

declare -A may
while IFS=: read -r from to; do
	case $from in '#'* | '') continue ;; esac
	may[$from]=" $from $to "
done <tests/check/layers.txt

while IFS=: read -r file _ include; do
	from=${file%%/*}
	to=$(sed -E 's/.*"([^"/]+)\/.*/\1/' <<<"$include")
	[ -n "${may[$to]+x}" ] || continue
	case ${may[$from]} in
	*" $to "* | *'*'*) ;;
	*) complain "$file: includes $to/, which $from/ may not" ;;
	esac
	# vmm-glue holds two programs
	case $file:$include in
	vmm-glue/shim/*'"vmm-glue/guest/'* | vmm-glue/guest/*'"vmm-glue/shim/'*)
		complain "$file: a program includes another program" ;;
	esac
done < <(c_files | xargs grep -nE '^#include "[a-z-]+/')
exit $bad
