#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# `coffer policy` as it is typed: answers, exit codes, traces, tests and cases.
set -eu
src=${COFFER_SOURCE:-.}
bin=${COFFER_BIN:-$src/build/dev/bin}
policy="$bin/coffer policy"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
expect() { # CODE WORDS COMMAND...
	local want=$1 words=$2 got=0
	shift 2
	"$@" >out 2>&1 || got=$?
	[ $got = "$want" ] || { echo "FAILED: wanted $want, got $got: $* : $(cat out)"; exit 1; }
	grep -qF -- "$words" out || { echo "FAILED: no \"$words\" from: $* : $(cat out)"; exit 1; }
}
cat >t.rego <<'REGO'
package t
import rego.v1
default allow := false
allow if input.role == "admin"
two := x if some x in [1, 2]
slow if { some a in numbers.range(1, 90000); some b in numbers.range(1, 90000); a + b < 0 }
known if input.id in query_reference_value("ids")
REGO
echo '{"role": "admin", "id": "a"}' >yes.json
echo '{"role": "guest", "id": "b"}' >no.json
echo '{"ids": ["a"]}' >refs.json
printf 'package t\nallow if {\n' >bad.rego

# Exit codes: 0 yes, 2 usage, 3 no, 4 not there, 9 bad data, 20 a limit.
expect 0 '"value": true' $policy eval -q data.t.allow -i yes.json t.rego
expect 3 '"value": false' $policy eval -q data.t.allow -i no.json t.rego
expect 3 '{}' $policy eval -q data.t.nosuch t.rego
expect 0 '"bindings": {"x":1}' $policy eval -q 'x := 1' t.rego
expect 9 bad.rego:3:1 $policy eval -q data.t.allow bad.rego
expect 9 eval_conflict_error $policy eval -q data.t.two t.rego
expect 20 'eval_' $policy eval -q data.t.slow t.rego
expect 4 nosuch.rego $policy eval -q data.t.allow nosuch.rego
expect 9 'JSON at byte 0' $policy eval -q data.t.allow -i bad.rego -d yes.json t.rego
expect 2 'query' $policy eval t.rego
expect 0 '"value": true' $policy eval -q data.t.known -i yes.json --references refs.json t.rego
expect 3 '{}' $policy eval -q data.t.known -i no.json --references refs.json t.rego
expect 9 "http.send is not available" $policy eval -q 'http.send({})' t.rego

expect 3 'input.role is "guest"' $policy explain -i no.json data.t.allow t.rego
expect 3 '"why":"no match"' $policy explain --json -i no.json data.t.allow t.rego
expect 0 'exit  t.rego:4:1  data.t.allow = true' $policy eval --trace -q data.t.allow -i yes.json t.rego
expect 3 'fail  t.rego:4:10  input.role == "admin"' $policy eval --trace -q data.t.allow -i no.json t.rego

expect 9 'rego_parse_error' $policy check bad.rego
printf 'package w\nimport rego.v1\np if not input.xs[_] == 1\n' >w.rego
expect 0 'w.rego:3:6: warning: `_` in a `not`' $policy check w.rego

# Tests and cases.
mkdir -p p/cases
cp t.rego p/
printf 'package t_test\nimport rego.v1\ntest_guest if not data.t.allow with input as {"role": "guest"}\n' >p/t_test.rego
cat >p/cases/a.json <<'JSON'
{"cases": [
 {"name": "admin", "query": "data.t.allow", "input": {"role": "admin"}, "want": true},
 {"name": "conflict", "query": "data.t.two", "want_error_code": "eval_conflict_error"},
 {"name": "listed", "query": "data.t.known", "input": {"id": "a"}, "reference_values": {"ids": ["a"]}, "want": true},
 {"name": "nothing", "query": "data.t.nosuch", "undefined": true}]}
JSON
expect 0 '5 of 5 passed' $policy test p
expect 0 '1 of 1 passed' $policy test --run listed p
echo '[{"name": "wrong", "query": "data.t.allow", "input": {"role": "guest"}, "want": true}]' >p/cases/b.json
expect 3 'wrong: fail: data.t.allow is false, not true' $policy test p
expect 3 '"failed":1' $policy test --json p
expect 3 'fail  p/t.rego:4:10' $policy test --trace p
echo '{}' >p/cases/c.json
expect 9 'no list of cases' $policy test p
echo passed
