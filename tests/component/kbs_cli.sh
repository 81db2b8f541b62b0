#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The owner's commands on a key service's folder, and the exit codes of offline verdicts.
set -eu
src=${COFFER_SOURCE:-.}
bin=${COFFER_BIN:-$src/build/dev/bin}
coffer=$bin/coffer
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
fail() { echo "FAILED: $*"; exit 1; }
expect() { # CODE WORDS COMMAND...
	local want=$1 words=$2 got=0
	shift 2
	"$@" >"$dir/out" 2>&1 || got=$?
	[ $got = "$want" ] || fail "wanted $want, got $got: $* : $(cat "$dir/out")"
	grep -qF -- "$words" "$dir/out" || fail "no \"$words\" from: $* : $(cat "$dir/out")"
}

expect 0 kbs.toml "$coffer" kbs init "$dir/kbs"
expect 5 "there already" "$coffer" kbs init "$dir/kbs"
export COFFER_KBS_DIR=$dir/kbs
printf secret >"$dir/secret"
printf 'version = "0.1.0"\nalgorithm = "sha256"\n[data]\n' >"$dir/initdata.toml"
expect 0 "kbs:///default/key/1" "$coffer" kbs resource put default/key/1 "$dir/secret" --initdata "$dir/initdata.toml"
expect 0 "sha256:$(sha256sum <"$dir/initdata.toml" | cut -d' ' -f1)" "$coffer" kbs resource ls
expect 9 "repository/type/tag" "$coffer" kbs resource put default/key "$dir/secret"
expect 9 "initdata digest" "$coffer" kbs resource put a/b/c "$dir/secret" --initdata sha256:12
expect 4 "no resource" "$coffer" kbs resource rm a/b/c
expect 0 stored "$coffer" kbs reference put tpm_pcr04 aa bb
expect 0 '{"tpm_pcr04":["aa","bb"]}' "$coffer" kbs reference ls
expect 0 '"kind":"software"' "$coffer" kbs tpm-root add "$src/tests/vectors/tpm/ca-root.pem" --kind software
expect 9 "ek_allow" "$coffer" kbs tpm-root add "$src/tests/vectors/tpm/ca-root.pem" --kind ek_allow
expect 2 "--kind" "$coffer" kbs tpm-root add "$src/tests/vectors/tpm/ca-root.pem"
printf 'package policy\nallow if {\n' >"$dir/bad.rego"
printf 'package policy\nimport rego.v1\ntrust_claims := {"hardware": 2, "executables": executables}\ndefault executables := 33\nexecutables := 3 if input.tpm.pcr04 in query_reference_value("mine")\n' >"$dir/tpm.rego"
expect 9 "bad.rego:3:1: rego_parse_error" "$coffer" kbs policy put resource "$dir/bad.rego"
expect 2 "either a FILE or --shipped" "$coffer" kbs policy put resource
expect 4 "comes with the program" "$coffer" kbs policy put resource --shipped nosuch
expect 4 "the built-in rule decides" "$coffer" kbs policy get resource
expect 0 "resource-policy version 1 is in force" "$coffer" kbs policy put resource --shipped strict
expect 0 '"id":"resource-policy","version":1' "$coffer" kbs policy ls
expect 0 "package policy" "$coffer" kbs policy show resource
echo '{"submods":{"cpu0":{"ear.status":"warning"}}}' >"$dir/claims.json"
expect 3 'is "warning"' "$coffer" kbs policy test resource --input "$dir/claims.json" --path a/b/c
expect 0 "removed resource" "$coffer" kbs policy rm resource
expect 4 "no denial" "$coffer" attest explain aaaa-bbbb
expect 0 "chain of 5 lines holds" "$coffer" kbs audit verify
head=$("$coffer" kbs audit verify --json | sed 's/.*"head":"\([0-9a-f]*\)".*/\1/')
# Each line's hash is the next line's "prev": a sceptic needs sha256sum alone.
"$coffer" kbs audit ls >"$dir/lines"
[ "$(sed -n 5p "$dir/lines" | tr -d '\n' | sha256sum | cut -d' ' -f1)" = "$head" ] || fail "the head is not the last line's hash"
expect 0 "holds" "$coffer" kbs audit verify --head "$head"
expect 3 "cut off" "$coffer" kbs audit verify --head "${head//[0-9]/0}"

# Offline verdicts: the recorded boot's quote.
evidence=$src/tests/fuzz/corpus/tpm_evidence/ecc.json
nonce=$(head -c 64 "$src/tests/vectors/tpm/nonce.hex")
expect 0 '"evidence":"genuine"' "$coffer" attest verify --tee tpm --evidence "$evidence" --report-data "$nonce" --json
expect 3 '"reason":"report-data"' "$coffer" attest verify --tee tpm --evidence "$evidence" --report-data "ff${nonce#00}" --json
sed 's/panic=-1/panic=-2/' "$evidence" >"$dir/other.json"
expect 3 "BAD  cmdline" "$coffer" attest verify --tee tpm --evidence "$dir/other.json" --report-data "$nonce"
expect 3 "never extended" "$coffer" attest verify --tee tpm --evidence "$evidence" --no-initdata
head -c 100 "$evidence" >"$dir/cut.json"
expect 9 coffer.error/1 "$coffer" attest verify --tee tpm --evidence "$dir/cut.json" --json
expect 4 "No such file" "$coffer" attest verify --tee tpm --evidence "$dir/nothing"
expect 21 "no verifier" "$coffer" attest verify --tee vax --evidence "$evidence"
expect 2 usage "$coffer" attest verify --tee tpm

# Reference values, as a folder of anchors: approved, and with one register changed.
mkdir "$dir/trust"
cat >"$dir/trust/reference.json" <<'JSON'
{"reference":{"tpm_pcr00":["177e29c417b6b61c7cf46ed30b4468931f58642527a268b556254e39b941ec6a"],
"tpm_pcr02":["3d458cfe55cc03ea1f443f1562beec8df51c75e14a9fcf9a7234a13f198e7969"],
"tpm_pcr04":["a654597ef8228eccdd1b0d4aa27cfb01db758510288c568eecab4fbe104ac435"],
"tpm_pcr09":["f578c21ae50dc45ab01c820dd140322d70dc1325aa6a590ab5407b9f838c765d"]}}
JSON
expect 0 "ok   pcr04" "$coffer" attest verify --tee tpm --evidence "$evidence" --trust "$dir/trust" --report-data "$nonce"
sed 's/"tpm_pcr04":\[/"mine":[/' "$dir/trust/reference.json" >"$dir/mine.json"
expect 3 "nothing proves that the attestation key is in a TPM" "$coffer" attest verify --tee tpm --evidence "$evidence" --reference "$dir/mine.json" --policy "$dir/tpm.rego"
expect 3 'input.tpm.pcr04 in query_reference_value("mine")' "$coffer" attest verify --tee tpm --evidence "$evidence" --trust "$dir/trust" --policy "$dir/tpm.rego"
expect 9 "bad.rego:3:1: rego_parse_error" "$coffer" attest verify --tee tpm --evidence "$evidence" --policy "$dir/bad.rego"
sed -i s/a654597/b654597/ "$dir/trust/reference.json"
expect 3 "BAD  pcr04" "$coffer" attest explain --tee tpm --evidence "$evidence" --trust "$dir/trust"
echo passed
