# The owner of the workload: keys, image, initdata, reference values, the key service. Everything it
# holds lies in $owner; the node never sees that folder's secrets.

kbs_port=8443
owner_key_path=default/image-key/demo

kbs_url() { printf 'https://%s:%s' "$stage_ip" "$kbs_port"; }
kbs_admin() { stage_in coffer kbs "$@" --dir "$owner/kbs"; }

owner_kbs_start() {
	coffer kbs init "$owner/kbs" --listen "$stage_ip:$kbs_port" --name "$stage_ip" >/dev/null
	stage_bg kbs coffer-kbs serve --config "$owner/kbs/kbs.toml"
	stage_port $kbs_port
	fact "registry $stage_ip:$registry_port · key service $(kbs_url) (certificate sha256 $(openssl x509 -in "$owner/kbs/tls.pem" -outform DER | sha256sum | cut -c1-16)…)"
}

# An image whose program prints the digest of a secret file: logs belong to the node, the secret does not.
owner_image() {
	canary=the-owl-flies-at-noon-$(openssl rand -hex 4)
	mkdir -p "$owner/tree"
	printf '%s\n' "$canary" >"$owner/tree/secret"
	printf '#!/bin/sh\necho "the secret in here has sha256 $(sha256sum /secret | cut -c1-64)"\necho ready\nexec sleep 600\n' >"$owner/tree/app"
	chmod 0755 "$owner/tree/app"
	image_small "$owner/plain" "$owner/tree"
	umoci --log error config --image "$owner/plain:t" --config.cmd /app
	coffer key new image -o "$owner/image.key" >/dev/null
	coffer key new sign -o "$owner/sign.key" >/dev/null
	demo=$stage_ip:$registry_port/demo:1
	stage_in coffer image encrypt "oci:$owner/plain:t" "docker://$demo" --key "kbs:///$owner_key_path" \
		--key-file "$owner/image.key" --cert-dir "$registry/ca" >/dev/null
	stage_in coffer image sign "$demo" --key "$owner/sign.key" --cert-dir "$registry/ca" >/dev/null
	fact "canary  $canary"
	proof 1 "stage_in skopeo inspect --raw --cert-dir $registry/ca docker://$demo | grep -o tar+gzip+encrypted | wc -l"
	proof 0 "grep -rl the-owl-flies $registry | wc -l"
}

# What the guest may do, whom it trusts, and the key service's address: measured before it runs anything.
owner_initdata() { # FILE POLICY
	jq -n --arg key "$(base64 -w0 "$owner/sign.key.pub")" --arg host "$stage_ip:$registry_port" \
		'{default: [{type: "reject"}], transports: {docker: {($host): [{type: "sigstoreSigned", keyData: $key}]}}}' >"$owner/image-policy.json"
	coffer initdata new --kbs "$(kbs_url)" --kbs-ca "$owner/kbs/tls.pem" --registry-ca "$registry/tls/ca.pem" \
		--image-policy "$owner/image-policy.json" --policy "$2" -o "$1" 2>/dev/null
}

owner_policy() { # FILE EXTRA
	cat >"$1" <<C
version = 1
[[container]]
image = "$demo"
encrypted = "required"
exec = [["cat", "/etc/hostname"]]
[[container]]
image = "$stage_ip:$registry_port/unsigned:1"
[[container]]
image = "$stage_ip:$registry_port/wrongkey:1"
$2
C
}

owner_reference() {
	[ -s "$owner/policy.toml" ] || owner_policy "$owner/policy.toml" ''
	owner_initdata "$owner/initdata.toml" "$owner/policy.toml"
	coffer measure --tee vtpm -k "$guest/vmlinuz" -i "$guest/initrd.img" -c "$(cat "$guest/cmdline")" \
		--firmware /usr/share/OVMF/OVMF_CODE_4M.fd -m $guest_memory --vcpus 1 --initdata "$owner/initdata.toml" --json >"$owner/measurement.json"
	kbs_admin reference put "$owner/measurement.json" >/dev/null
	kbs_admin tpm-root add "$node/tpm/ca/swtpm-localca-rootca-cert.pem" --kind software --accept >/dev/null
	kbs_admin tpm-root add "$node/tpm/ca/issuercert.pem" --kind software --accept >/dev/null
	owner_release "$owner_key_path" "$owner/image.key"
	jq -r '.values | to_entries[] | "    \(.key)  \(.value)"' "$owner/measurement.json" 2>/dev/null || true
}

# A key that guests started with our initdata may have.
owner_release() { # PATH FILE
	kbs_admin resource put "$1" "$2" --initdata "$(coffer initdata digest "$owner/initdata.toml")" >/dev/null
}

# What convinced the key service, by the audit log's last affirming session.
owner_verdict() {
	local session
	session=$(kbs_admin audit ls | jq -r 'select(.action == "attest" and .result == "affirming") | .note' | tail -n 1 | sed 's/^session \([0-9a-f]*\).*/\1/')
	stage_in coffer attest explain "$session" --dir "$owner/kbs" | sed 's/^/    /'
}

# Why a guest was denied: the key service's answer names a reference, and the owner looks it up.
owner_explain() { # TEXT
	local ref
	ref=$(sed -n 's/.*ref \([a-z0-9]*-[a-z0-9]*\).*/\1/p' <<<"$1" | tail -n 1)
	[ -z "$ref" ] || stage_in coffer attest explain "$ref" --dir "$owner/kbs" | sed -n '/BAD/,$p' | sed 's/^/    owner   /'
}

owner_audit() {
	kbs_admin audit verify | sed 's/^/    /'
}
