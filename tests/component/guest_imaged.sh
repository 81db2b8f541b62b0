#!/usr/bin/env bash
# coffer-init, coffer-imaged and crun together, without a machine: an image from a real registry.
. "$(dirname "$0")/../e2e/lib.sh"
e2e_need docker-registry skopeo umoci openssl busybox crun
e2e_root
test=$(dirname "$COFFER_BIN")/tests/component_guest_imaged_test
[ -x "$test" ] || e2e_skip "$test is not built"
e2e_stage guest-imaged

port=$(stage_free_port 2>/dev/null || echo 5443)
peer_registry "$e2e_dir/registry" "$port"
ref=$stage_ip:$port/small:1
mkdir -p "$e2e_dir/more" "$e2e_dir/ca"
echo "from the registry" >"$e2e_dir/more/hello"
cp "$e2e_dir/registry/tls/ca.pem" "$e2e_dir/ca/ca.crt"
image_small "$e2e_dir/small" "$e2e_dir/more"
image_push "$e2e_dir/small" "$ref" "$e2e_dir/ca"
{
	printf '[image]\nwork_dir = "%s/image"\n' "$e2e_dir"
	printf "image_security_policy = '{\"default\":[{\"type\":\"insecureAcceptAnything\"}]}'\n"
	printf "extra_root_certificates = ['''\n%s\n''']\n" "$(cat "$e2e_dir/registry/tls/ca.pem")"
} >"$e2e_dir/cdh.toml"
expect "coffer-init runs an image that coffer-imaged pulled" \
	stage_in env COFFER_TEST_IMAGE="$ref" COFFER_TEST_CDH="$e2e_dir/cdh.toml" "$test" pulled_image_runs
