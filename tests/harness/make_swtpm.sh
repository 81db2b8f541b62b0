#!/bin/sh
# Makes the state of a software TPM 2.0 with a CA of its own in DIR: ca/ (root and issuer), state/.
# usage: make_swtpm.sh DIR     Takes a second or two; a finished DIR is left as it is.
set -eu
d=$1
[ ! -e "$d/done" ] || exit 0
rm -rf "$d"
mkdir -p "$d/ca" "$d/state"
cat >"$d/localca.conf" <<END
statedir = $d/ca
signingkey = $d/ca/signkey.pem
issuercert = $d/ca/issuercert.pem
certserial = $d/ca/certserial
END
echo '--platform-manufacturer Coffer --platform-version 1 --platform-model Test' |
	tr ' ' '\n' | paste -d' ' - - >"$d/localca.options"
cat >"$d/setup.conf" <<END
create_certs_tool = $(command -v swtpm_localca)
create_certs_tool_config = $d/localca.conf
create_certs_tool_options = $d/localca.options
active_pcr_banks = sha256
END
swtpm_setup --tpm2 --tpmstate "$d/state" --config "$d/setup.conf" --create-ek-cert \
	--create-platform-cert --lock-nvram --overwrite --pcr-banks sha1,sha256,sha384 \
	--logfile "$d/setup.log" >/dev/null
touch "$d/done"
