#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Generated questions to the shipped policies, asked of OPA too: the same answers, or it fails. OPA is
# COFFER_OPA, or what perf/policy_peers.sh built. COFFER_SEED chooses other questions.
set -eu
top=${COFFER_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
bin=${COFFER_BIN:-$top/build/dev/bin}
opa=${COFFER_OPA:-${COFFER_PEERS:-$HOME/.cache/coffer-peers}/opa}
test=$(dirname "$bin")/tests/conform_kbs_generated_test
[ -x "$opa" ] || opa=$(command -v opa || true)
[ -n "$opa" ] || { echo "SKIP: no OPA (tests/perf/policy_peers.sh --build)"; exit 77; }
[ -x "$test" ] || { echo "SKIP: not built: $test"; exit 77; }
work=$(mktemp -d "${TMPDIR:-/tmp}/coffer-diff.XXXXXX")
trap 'rm -rf "$work"' EXIT
export COFFER_SOURCE=$top COFFER_BIN=$bin COFFER_GENERATED=$work
COFFER_CASES=${COFFER_CASES:-5000} COFFER_SEED=${COFFER_SEED:-$RANDOM$RANDOM}
export COFFER_CASES COFFER_SEED
echo "seed $COFFER_SEED"
"$test" > "$work/log" || { tail -n 20 "$work/log"; exit 1; }

# ask POLICY.rego CASES.json MORE.rego: how many cases OPA answers otherwise. A module asks, not a
# query: OPA takes "c.input" in a query for something else.
ask() {
	printf '{"cases":%s}' "$(cat "$2")" > "$work/data.json"
	"$opa" eval -f raw -d "$1" -d "$work/data.json" -d "$3" 'count(data.differential.wrong)'
}
cat > "$work/resource.rego" <<-'REGO'
	package differential
	wrong := [c | some c in data.cases
		got := [v | v := data.policy.allow with input as c.input with data.plugin as c.plugin]
		got != [c.want]]
REGO
mkdir "$work/attestation"
cat > "$work/attestation/ask.rego" <<-'REGO'
	package differential
	wrong := [c | some c in data.cases
		got := [[t.executables, t.hardware, t.configuration] |
			t := data.policy.trust_claims with input as c.input with data.references as c.references]
		got != [c.want]]
REGO
cat > "$work/attestation/hook.rego" <<-'REGO'
	package policy
	query_reference_value(id) := object.get(data.references, id, null)
REGO
wrong=0
for rego in "$top"/kbs/policies/resource/*.rego "$top/kbs/policies/attestation/default_cpu.rego"; do
	name=$(basename "$rego" .rego)
	asker=$work/resource.rego
	[ "$name" != default_cpu ] || asker=$work/attestation
	n=$(ask "$rego" "$work/$name.json" "$asker")
	echo "$name: $COFFER_CASES cases, OPA answers $n otherwise"
	[ "$n" = 0 ] || wrong=1
done
exit $wrong
