#!/usr/bin/env bash
# What a person meets first: every command has a help page and a line in the manual, and bash completes it.
set -u
top=$(cd "$(dirname "$0")/../.." && pwd)
PATH=${COFFER_BIN:?}:$PATH
bad=0
fail() { echo "$*"; bad=1; }

offers() { coffer "$@" --help 2>/dev/null | sed -nE 's/^  ([a-z][a-z0-9-]*) .*$/\1/p'; }
walk() { # COMMAND WORD...: the leaves of the tree
	local sub subs
	coffer "$@" --help >/dev/null 2>&1 || fail "coffer $* --help: exit $?"
	subs=$(coffer "$@" --help | sed -n '/^commands:/,/^$/p' | sed -nE 's/^  ([a-z][a-z0-9-]*) .*$/\1/p')
	if [ -z "$subs" ]; then
		grep -qF ".B coffer ${*//-/\\-}" "$top/deploy/man/coffer.1" || fail "coffer.1 does not name: coffer $*"
		return
	fi
	for sub in $subs; do walk "$@" "$sub"; done
}
for command in $(offers); do walk "$command"; done

. <(coffer completion bash)
completes() { # WANT WORD...: the last word is what was typed of it
	local want=$1
	shift
	COMP_WORDS=(coffer "$@") COMP_CWORD=$# COMPREPLY=()
	_coffer
	[ "${COMPREPLY[*]}" = "$want" ] || fail "coffer $*<TAB>: want '$want', got '${COMPREPLY[*]}'"
}
completes "pod policy" p
completes "resource reference" kbs re
completes "put ls rm" kbs resource ""
completes "--key --key-file" image encrypt --ke
completes "--sign" image encrypt source target --si
completes "--query" policy eval --qu
for shell in zsh fish; do
	coffer completion $shell | grep -q -- --help || fail "no completion for $shell"
done
coffer completion csh 2>/dev/null
[ $? = 2 ] || fail "an unknown shell is a usage error"

coffer imge 2>&1 | grep -q "did you mean 'image'" || fail "no suggestion for a mistyped command"
exit $bad
