# Other people's programs on a stage: certificates, registry, software TPM, containerd. Needs stage.sh.

# A CA and a server certificate for $stage_ip in DIR: ca.pem, server.pem, server.key (P-256).
peer_certificates() { # DIR
	local d=$1
	mkdir -p "$d"
	[ ! -s "$d/server.pem" ] || return 0
	{
		openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 \
			-subj "/CN=coffer stage CA" -keyout "$d/ca.key" -out "$d/ca.pem" \
			-addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign
		openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$stage_ip" \
			-keyout "$d/server.key" -out "$d/server.csr"
		printf 'subjectAltName=IP:%s,IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth\n' "$stage_ip" >"$d/ext"
		openssl x509 -req -in "$d/server.csr" -CA "$d/ca.pem" -CAkey "$d/ca.key" -CAcreateserial \
			-days 30 -extfile "$d/ext" -out "$d/server.pem"
	} >"$d/openssl.log" 2>&1 || { cat "$d/openssl.log" >&2; stage_die "certificates"; }
}

# A registry on $stage_ip:PORT over TLS. Certificates come from DIR/tls. Blobs lie below DIR/data.
peer_registry() { # DIR PORT
	mkdir -p "$1/data"
	peer_certificates "$1/tls"
	cat >"$1/config.yml" <<C
version: 0.1
log: {level: warn, accesslog: {disabled: false}}
storage: {filesystem: {rootdirectory: $1/data}, delete: {enabled: true}}
http: {addr: "$stage_ip:$2", tls: {certificate: $1/tls/server.pem, key: $1/tls/server.key}}
C
	stage_bg registry docker-registry serve "$1/config.yml"
	stage_port "$2"
}

# Makes a TPM's state with an EK certificate of a CA of its own: DIR/ca/{swtpm-localca-rootca-cert,issuercert}.pem
peer_tpm_make() { # DIR
	local d=$1
	[ ! -s "$d/state/tpm2-00.permall" ] || return 0
	mkdir -p "$d/ca" "$d/state"
	printf 'statedir = %s/ca\nsigningkey = %s/ca/signkey.pem\nissuercert = %s/ca/issuercert.pem\ncertserial = %s/ca/certserial\n' \
		"$d" "$d" "$d" "$d" >"$d/localca.conf"
	printf -- '--platform-manufacturer Example\n--platform-version 1.0\n--platform-model TestVM\n' >"$d/localca.options"
	printf 'create_certs_tool = /usr/bin/swtpm_localca\ncreate_certs_tool_config = %s/localca.conf\ncreate_certs_tool_options = %s/localca.options\nactive_pcr_banks = sha256\n' \
		"$d" "$d" >"$d/setup.conf"
	swtpm_setup --tpm2 --tpmstate "$d/state" --config "$d/setup.conf" --create-ek-cert --create-platform-cert \
		--lock-nvram --overwrite --pcr-banks sha256 --logfile "$d/setup.log" >/dev/null 2>&1 ||
		{ tail -n 5 "$d/setup.log" >&2; stage_die "swtpm_setup"; }
}

# A private containerd. CONTAINERD_BIN: a folder with another version. EXTRA is appended to its config.
# Pods get addresses of the stage's bridge, so they reach $stage_ip directly.
peer_containerd() { # DIR PAUSE-IMAGE [EXTRA-TOML]
	local d=$1 range6='' route6=''
	mkdir -p "$d/cni"
	[ -z "${stage_dual:-}" ] || {
		range6=',[{"subnet":"'${stage_ip6%1}'/64","gateway":"'$stage_ip6'"}]'
		route6=',{"dst":"::/0"}'
	}
	cat >"$d/cni/10-stage.conflist" <<C
{"cniVersion":"0.4.0","name":"stage","plugins":[{"type":"bridge","bridge":"coffer0","isGateway":false,"ipMasq":false,
"ipam":{"type":"host-local","ranges":[[{"subnet":"$stage_net.0/24","rangeStart":"$stage_net.10","gateway":"$stage_ip"}]$range6],"routes":[{"dst":"0.0.0.0/0"}$route6],"dataDir":"$d/ipam"}},{"type":"loopback"}]}
C
	cat >"$d/config.toml" <<C
version = 2
root = "$d/root"
state = "$d/state"
[grpc]
  address = "$d/containerd.sock"
[ttrpc]
  address = "$d/containerd.sock.ttrpc"
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  sandbox_image = "$2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$d/cni"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "$d/certs.d"
C
	[ -z "${3:-}" ] || cat "$3" >>"$d/config.toml"
	peer_containerd_run "$d"
	stage_wait 20 ctr -a "$d/containerd.sock" version ||
		{ tail -n 5 "$stage_dir/log/containerd.log" >&2; stage_die "containerd did not start"; }
	cri_socket=$d/containerd.sock
}

# Starts containerd, also again after it ended.
peer_containerd_run() { # DIR
	stage_bg containerd env "PATH=${CONTAINERD_BIN:+$CONTAINERD_BIN:}${COFFER_BIN:+$COFFER_BIN:}$PATH" \
		containerd -c "$1/config.toml"
}

# Tells containerd which CA signed the registry HOST:PORT.
peer_containerd_trust() { # CONTAINERD-DIR HOST:PORT CA
	mkdir -p "$1/certs.d/$2"
	printf 'server = "https://%s"\n[host."https://%s"]\n  ca = "%s"\n' "$2" "$2" "$3" >"$1/certs.d/$2/hosts.toml"
}
