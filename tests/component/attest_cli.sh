#!/usr/bin/env bash
# coffer attest show and evidence, against a software TPM; and what the verifier reads in the evidence.
set -u
bin=${COFFER_BIN:?} src=${COFFER_SOURCE:?}
for p in swtpm swtpm_setup swtpm_localca; do
	command -v $p >/dev/null || { echo "skipped: $p is not installed"; exit 77; }
done
dir=$(mktemp -d)
pid=
trap '[ -z "$pid" ] || kill "$pid"; rm -rf "$dir"' EXIT
bash "$src/tests/harness/make_swtpm.sh" "$dir/tpm" || exit 1
for _ in 1 2 3 4 5 6 7 8; do
	port=$((20000 + RANDOM % 20000 / 2 * 2))
	swtpm socket --tpm2 --tpmstate dir="$dir/tpm/state" \
		--server type=tcp,port=$port,bindaddr=127.0.0.1 \
		--ctrl type=tcp,port=$((port + 1)),bindaddr=127.0.0.1 \
		--flags not-need-init,startup-clear --daemon --pid file="$dir/pid" 2>/dev/null && break
	port=
done
[ -n "$port" ] || { echo 'no free port'; exit 1; }
pid=$(cat "$dir/pid")
# The agent makes itself undumpable, which the leak checker cannot work with.
export ASAN_OPTIONS=detect_leaks=0
tpm=(--tpm-device "swtpm:host=127.0.0.1,port=$port")
bad=0

"$bin/coffer" attest show "${tpm[@]}" >"$dir/show" || bad=1
grep -q '^tee  *tpm$' "$dir/show" && grep -q '^EK CA  *CN = swtpm-localca$' "$dir/show" ||
	{ echo 'show:'; cat "$dir/show"; bad=1; }
"$bin/coffer" attest show --json "${tpm[@]}" | grep -q '^{"schema":"coffer.tee/1","tee":"tpm",' || bad=1

nonce=$(printf '00112233%.0s' 1 2 3 4 5 6 7 8)
"$bin/coffer" attest evidence --nonce "$nonce" -o "$dir/evidence" "${tpm[@]}" || bad=1
out=$("$bin/coffer" attest verify --tee tpm --evidence "$dir/evidence" --report-data "$nonce" --json)
code=$?
# Nobody said what boot to expect, so nothing is affirmed; quote, key and nonce are good.
[ $code -eq 0 ] && grep -q '"result":"none"' <<<"$out" || { echo "verify: exit $code: $out"; bad=1; }
for check in ak quote-signature report-data pcr-list; do
	tr -d ' \n' <<<"$out" | grep -q "\"name\":\"$check\",\"ok\":true" ||
		{ echo "verify: no good check '$check' in $out"; bad=1; }
done
out=$("$bin/coffer" attest verify --tee tpm --evidence "$dir/evidence" --report-data "ff${nonce:2}" --json)
[ $? -eq 3 ] || { echo 'verify: exit for another nonce'; bad=1; }
tr -d ' \n' <<<"$out" | grep -q '"name":"report-data","ok":false' ||
	{ echo "verify takes another nonce: $out"; bad=1; }

"$bin/coffer" attest show --tpm-device /nonexistent 2>"$dir/err"
[ $? -eq 21 ] && grep -q 'no TEE here' "$dir/err" || { echo 'absent TPM:'; cat "$dir/err"; bad=1; }
exit $bad
