#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A guest's TPM for tests: swtpm with a CA of its own, driven by tpm2-tools.
#   swtpm.sh make DIR            CA and TPM with a certified endorsement key (once)
#   swtpm.sh boot DIR SPEC...    fresh registers, then extends (PCR:sha256=HEX each); makes EK and AK
#   swtpm.sh extend DIR SPEC...
#   swtpm.sh quote DIR HEX       DIR/quote.{msg,sig,pcrs} over all 24 registers and this nonce
#   swtpm.sh activate DIR        opens DIR/cred.in (tpm2-tools form) into DIR/cred.out
#   swtpm.sh stop DIR
set -eu
export LC_ALL=C
verb=$1; d=$2; shift 2
exec 2>>"$d/log" >>"$d/log"

stop() {
	[ -s "$d/pid" ] || return 0
	# An unorderly end counts as a failed authorisation: after a few the TPM locks its keys.
	tpm tpm2_shutdown -c || true
	kill "$(cat "$d/pid")" 2>/dev/null || true
	for _ in $(seq 100); do kill -0 "$(cat "$d/pid")" 2>/dev/null || break; read -rt 0.02 <> <(:) || true; done
	rm -f "$d/pid"
}

start() {
	for _ in 1 2 3 4 5 6 7 8; do
		port=$((20000 + RANDOM % 20000 * 2))
		swtpm socket --tpm2 --tpmstate dir="$d/state" --server type=tcp,port=$port,bindaddr=127.0.0.1 \
			--ctrl type=tcp,port=$((port + 1)),bindaddr=127.0.0.1 \
			--flags not-need-init,startup-clear --daemon --pid file="$d/pid" && break
		port=
	done
	[ -n "$port" ]
	echo "$port" >"$d/port"
}

tpm() {
	TPM2TOOLS_TCTI="swtpm:host=127.0.0.1,port=$(cat "$d/port")" "$@"
}

flush() {
	tpm tpm2_flushcontext -t
}

case $verb in
make)
	mkdir -p "$d/ca" "$d/state"
	cat >"$d/localca.conf" <<-CONF
		statedir = $d/ca
		signingkey = $d/ca/signkey.pem
		issuercert = $d/ca/issuercert.pem
		certserial = $d/ca/certserial
	CONF
	printf -- '--platform-manufacturer Test\n--platform-version 1.0\n--platform-model Test\n' >"$d/localca.options"
	cat >"$d/setup.conf" <<-CONF
		create_certs_tool = /usr/bin/swtpm_localca
		create_certs_tool_config = $d/localca.conf
		create_certs_tool_options = $d/localca.options
		active_pcr_banks = sha256
	CONF
	swtpm_setup --tpm2 --tpmstate "$d/state" --config "$d/setup.conf" --create-ek-cert --overwrite \
		--pcr-banks sha256
	;;
boot)
	stop
	start
	[ $# -eq 0 ] || tpm tpm2_pcrextend "$@"
	tpm tpm2_createek -Q -c "$d/ek.ctx" -G rsa -u "$d/ek.pub"
	flush
	tpm tpm2_createak -Q -C "$d/ek.ctx" -c "$d/ak.ctx" -G ecc -g sha256 -s ecdsa -u "$d/ak.pub" -n "$d/ak.name"
	flush
	tpm tpm2_nvread -Q 0x01c00002 -o "$d/ekcert.der"
	;;
extend) tpm tpm2_pcrextend "$@" ;;
quote)
	tpm tpm2_quote -Q -c "$d/ak.ctx" -l sha256:0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23 \
		-q "$1" -m "$d/quote.msg" -s "$d/quote.sig" -o "$d/quote.pcrs" -F values -g sha256
	flush
	;;
activate)
	tpm tpm2_startauthsession --policy-session -S "$d/session.ctx"
	tpm tpm2_policysecret -Q -S "$d/session.ctx" -c e
	r=0
	tpm tpm2_activatecredential -Q -c "$d/ak.ctx" -C "$d/ek.ctx" -i "$d/cred.in" -o "$d/cred.out" \
		-P session:"$d/session.ctx" || r=$?
	tpm tpm2_flushcontext "$d/session.ctx" || true
	flush
	exit $r
	;;
stop) stop ;;
esac
