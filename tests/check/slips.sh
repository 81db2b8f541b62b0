#!/usr/bin/env bash
# What has bitten before, searched for ever after.
. "$(dirname "$0")/lib.sh"

product() { c_files | grep -vE '^tests/'; }

slip() { # PATTERN WHY
	local hits
	hits=$(product | xargs grep -nE "$1" | grep -vE '^\S+:[0-9]+:\s*(\*|/\*|//)')
	[ -z "$hits" ] || complain "$hits"$'\n'"  ^ $2"
}

slip '\b(strcpy|strcat|sprintf|vsprintf|strtok|atoi|atol|alloca|gets)\(' 'unbounded or unchecked: see base/str.h, base/bytes.h'
hits=$(c_files | xargs grep -nE '[^_.>a-z](system|popen)\('); [ -z "$hits" ] || complain "$hits"$'\n  ^ no shell, in tests neither: base/proc.h'
slip '\b(usleep|nanosleep|[^_a-z]sleep)\(' 'nothing sleeps to wait: base/loop.h'
slip '\bgoto\b' 'cleanup attributes make it needless'
hits=$(product | xargs grep -nE '\b(open|openat)\(.*O_(RDONLY|WRONLY|RDWR|PATH)' | grep -v O_CLOEXEC); [ -z "$hits" ] || complain "$hits"$'\n  ^ O_CLOEXEC'
slip '\bmemcmp\([^)]*(mac|tag|secret|key|token|hmac)' 'secrets are compared by cf_equal_ct()'
slip '\bassert\([^)]*[^=!<>]=[^=]' 'an assert with a side effect'
slip '\b(TODO|FIXME|XXX|HACK)\b' 'either it is done, or it is refused with a clear error'
big=$(c_files | xargs wc -l | grep -v _table.c | awk '$2 != "total" && $1 > 800 { print $2 ": " $1 " lines: two nouns?" }')
[ -z "$big" ] || complain "$big"
exit $bad
