#!/usr/bin/env bash
# coffer initdata: what is written can be read in every form, and always has the same digest.
set -u
bin=${COFFER_BIN:?}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
bad=0
expect() { # WHAT WANT GOT
	[ "$2" = "$3" ] || { echo "$1: want '$2', got '$3'"; bad=1; }
}

echo '{"default":[{"type":"reject"}]}' >policy.json
printf '[[container]]\nimage = "registry.example/app"\n' >policy.toml
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out ca.pem \
	-subj /CN=ca 2>/dev/null
new() {
	"$bin/coffer" initdata new --kbs https://kbs.example:8443 --kbs-ca ca.pem --registry-ca ca.pem \
		--image-policy policy.json --policy policy.toml --data extra.txt=policy.json "$@"
}
new -o toml 2>digest || bad=1
want=$(cat digest)
expect 'digest on stderr' "sha256:$(sha256sum <toml | cut -d' ' -f1)" "$want"
new --format annotation -o annotation 2>/dev/null || bad=1
new --format disk -o disk 2>/dev/null || bad=1
for form in toml annotation disk; do
	expect "digest of $form" "$want" "$("$bin/coffer" initdata digest $form)"
done
gzip -c toml >gz
expect 'digest of gzip' "$want" "$("$bin/coffer" initdata digest gz)"
expect 'digest of stdin' "$want" "$("$bin/coffer" initdata digest - <annotation)"
pcr8=$({ head -c 32 /dev/zero; sha256sum <toml | cut -d' ' -f1 | tr a-f A-F | basenc --base16 -d; } | sha256sum | cut -d' ' -f1)
"$bin/coffer" initdata digest --json toml | grep -q "\"pcr8\": \"$pcr8\"" || { echo 'pcr8'; bad=1; }
for key in aa.toml cdh.toml policy.toml extra.txt; do
	grep -q "^\"$key\" = " toml || { echo "$key is missing"; bad=1; }
done

refused() { # EXIT WORD COMMAND...
	local code=$1 word=$2 out
	shift 2
	out=$("$@" 2>&1 >/dev/null)
	expect "exit of $*" "$code" $?
	grep -q -- "$word" <<<"$out" || { echo "$*: said '$out', not '$word'"; bad=1; }
}
base64 -w0 toml >plain
refused 9 'without gzip' "$bin/coffer" initdata digest plain
refused 4 'No such file' "$bin/coffer" initdata digest nowhere
refused 2 'FILE is missing' "$bin/coffer" initdata digest
refused 2 'http' "$bin/coffer" initdata new --kbs kbs.example
refused 9 'JSON\|offset\|policy.toml' "$bin/coffer" initdata new --image-policy policy.toml
refused 9 'rego' "$bin/coffer" initdata new --policy policy.json
refused 9 'KEY=FILE' "$bin/coffer" initdata new --data x
refused 9 'version' "$bin/coffer" initdata digest policy.toml
refused 9 'twice' "$bin/coffer" initdata new --kbs http://x --data aa.toml=policy.toml
exit $bad
