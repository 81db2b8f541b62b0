# What a host can try, and what it is told. Each attack must fail, and for its own reason.

# Runs a command that must fail; prints what it said.
attack() { "$@" 2>&1 >/dev/null || true; }

# A container in the running pod: containerd asks the guest when it is started.
attack_container() { # POD-ID POD-NAME NAME IMAGE [MORE]
	local id
	id=$(cri_create "$@") && cri_start "$id"
}

attacks_in_the_pod() {
	story_phase attacks-pod "attacks on the running pod and its images"
	refused exec "exec of a shell in the container" 'exec' "$(attack cri_exec "$main" sh -c 'cat /secret')"
	fact "allowed by policy: exec cat /etc/hostname → $(cri_exec "$main" cat /etc/hostname | cri_field stdout)"
	refused args "the same image with args: cat /secret" 'args' \
		"$(attack attack_container "$pod" good cat "$demo" 'command: "cat" args: "/secret"')"

	image_push "$owner/plain" "$stage_ip:$registry_port/unsigned:1" "$registry/ca"
	cri_pull "$stage_ip:$registry_port/unsigned:1" good >/dev/null
	refused unsigned "an image that nobody signed" 'sign' "$(attack attack_container "$pod" good unsigned "$stage_ip:$registry_port/unsigned:1")"

	# Other content: a layer that this guest has already would need no key.
	mkdir -p "$owner/other"
	printf '#!/bin/sh\necho other\n' >"$owner/other/app"
	image_small "$owner/other-image" "$owner/other"
	head -c 32 /dev/urandom >"$owner/other.key"
	stage_in coffer image encrypt "oci:$owner/other-image:t" "docker://$stage_ip:$registry_port/wrongkey:1" \
		--key "kbs:///$owner_key_path" --key-file "$owner/other.key" --cert-dir "$registry/ca" >/dev/null
	stage_in coffer image sign "$stage_ip:$registry_port/wrongkey:1" --key "$owner/sign.key" --cert-dir "$registry/ca" >/dev/null
	cri_pull "$stage_ip:$registry_port/wrongkey:1" good >/dev/null
	refused wrong-key "an image encrypted with another key under the same name" 'key' \
		"$(attack attack_container "$pod" good wrongkey "$stage_ip:$registry_port/wrongkey:1")"

	mkdir -p "$owner/evil"
	printf '#!/bin/sh\necho evil\n' >"$owner/evil/app"
	chmod 0755 "$owner/evil/app"
	image_small "$owner/evil-image" "$owner/evil"
	image_push "$owner/evil-image" "$demo" "$registry/ca"
	cri_pull "$demo" good >/dev/null
	refused retag "another image under the same tag" 'sign' "$(attack attack_container "$pod" good retag "$demo")"
	story_done
	cri_pod_stop "$pod" >/dev/null
	cri_pod_remove "$pod" >/dev/null
}

# Boots a pod with HANDLER and INITDATA (may be empty), asks for the image, prints what was said.
attack_boot() { # NAME HANDLER INITDATA
	local p note=''
	[ -z "$3" ] || note=$(node_annotation "$3")
	p=$(cri_pod "$1" "$2" "$node/logs-$1" "$note" 2>"$dir/run/said-$1") || true
	if [ -n "$p" ]; then
		cri_pull "$demo_honest" "$1" >/dev/null 2>>"$dir/run/said-$1" || true
		attack_container "$p" "$1" main "$demo_honest" >/dev/null 2>>"$dir/run/said-$1" || true
		cri_pod_stop "$p" >/dev/null 2>&1 || true
		cri_pod_remove "$p" >/dev/null 2>&1 || true
	fi
	return 0
}

attacks_with_boots() {
	story_phase attacks-boot "attacks that need another boot (two at a time)"
	demo_honest=$demo
	# The honest image stands under its tag again.
	stage_in coffer image encrypt "oci:$owner/plain:t" "docker://$demo" --key "kbs:///$owner_key_path" \
		--key-file "$owner/image.key" --cert-dir "$registry/ca" >/dev/null
	stage_in coffer image sign "$demo" --key "$owner/sign.key" --cert-dir "$registry/ca" >/dev/null
	owner_policy "$owner/evil-policy.toml" "$(printf '[[container]]\nimage = "%s"\nargs = ["cat", "/secret"]\n' "$demo")"
	owner_initdata "$owner/evil-initdata.toml" "$owner/evil-policy.toml"

	attack_boot cmdline attack-cmdline "$owner/initdata.toml" &
	attack_boot swapped coffer "$owner/evil-initdata.toml"
	wait $!
	attack_boot none coffer '' &
	attack_boot tpm attack-tpm "$owner/initdata.toml"
	wait $!
	refused cmdline "one more argument on the kernel's command line" 'PCR 9|command line' "$(cat "$dir/run/said-cmdline")"
	owner_explain "$(cat "$dir/run/said-cmdline")"
	refused swapped-initdata "other initdata, with a policy that allows more" 'initdata' "$(cat "$dir/run/said-swapped")"
	refused no-initdata "no initdata at all" 'no initdata' "$(cat "$dir/run/said-none")"
	refused unknown-tpm "a TPM that the host made itself" 'endorsement|EK|root|CA' "$(cat "$dir/run/said-tpm")"
	owner_explain "$(cat "$dir/run/said-tpm")"
	story_done
}

# Evidence recorded earlier, sent again: a session's nonce is new, so the quote answers another question.
attack_replay() {
	local port pid evidence jar=$dir/run/cookies answer
	story_phase attack-replay "recorded evidence, sent again"
	cp -a "$node/tpm" "$node/replay-tpm"
	port=2321
	stage_bg replay-tpm swtpm socket --tpm2 --tpmstate dir="$node/replay-tpm/state" --flags not-need-init,startup-clear \
		--server type=tcp,port=$port,bindaddr=127.0.0.1 --ctrl type=tcp,port=$((port + 1)),bindaddr=127.0.0.1
	stage_wait 5 stage_in bash -c "exec 3<>/dev/tcp/127.0.0.1/$port" || true
	evidence=$(stage_in coffer-attestd --tee tpm --tpm-device "swtpm:host=127.0.0.1,port=$port" --evidence "$(openssl rand -hex 48)")
	stage_in curl -sS --cacert "$owner/kbs/tls.pem" -c "$jar" -H 'content-type: application/json' \
		-d '{"version":"0.4.0","tee":"tpm","extra-params":""}' "$(kbs_url)/kbs/v0/auth" >"$dir/run/challenge.json"
	answer=$(jq -cn --argjson e "$evidence" --arg n "$(jq -r .nonce "$dir/run/challenge.json")" '{
		"runtime-data": {nonce: $n, "tee-pubkey": {kty: "EC", crv: "P-256", alg: "ECDH-ES+A256KW",
			x: "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", y: "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}},
		"tee-evidence": {primary_evidence: $e, additional_evidence: ""}}' |
		stage_in curl -sS --cacert "$owner/kbs/tls.pem" -b "$jar" -H 'content-type: application/json' -d @- "$(kbs_url)/kbs/v0/attest")
	refused replay "evidence of an earlier session" 'nonce|report data|runtime data' "$(jq -r '.detail // .' <<<"$answer" 2>/dev/null || printf '%s' "$answer")"
	refused no-evidence "the key, asked for without any evidence" '401' \
		"$(stage_in curl -sS -o /dev/null -w 'HTTP %{http_code}' --cacert "$owner/kbs/tls.pem" "$(kbs_url)/kbs/v0/resource/$owner_key_path")"
	stage_stop replay-tpm
	story_done
}
