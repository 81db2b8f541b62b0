# The container runtime interface from a shell: curl speaks HTTP/2, protoc the messages. $cri_socket is
# containerd's socket.
#
#   cri SERVICE/METHOD <<<'text-format request'   prints the answer in text format
#
# The exit status is the gRPC status code; the message goes to stderr.

# As the kubelet asks by default: each container has a pid namespace of its own.
cri_namespaces='security_context { namespace_options { pid: 1 } }'

cri_here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

cri() { # Service/Method, e.g. Runtime/RunPodSandbox
	local service=${1%%/*} method=${1##*/} t n status
	t=$(mktemp -d)
	protoc -I "$cri_here" --encode="runtime.v1.${method}Request" "$cri_here/cri.proto" >"$t/m" || return 3
	n=$(stat -c %s "$t/m")
	{
		printf '\0'
		printf '%b' "$(printf '\\x%02x\\x%02x\\x%02x\\x%02x' $((n >> 24 & 255)) $((n >> 16 & 255)) $((n >> 8 & 255)) $((n & 255)))"
		cat "$t/m"
	} >"$t/q"
	curl -sS --max-time "${CRI_TIMEOUT:-240}" --http2-prior-knowledge --unix-socket "$cri_socket" \
		-H 'content-type: application/grpc' -H 'te: trailers' --data-binary @"$t/q" -D "$t/h" -o "$t/r" \
		"http://localhost/runtime.v1.${service}Service/$method" || { rm -rf "$t"; return 14; }
	status=$(tr -d '\r' <"$t/h" | sed -n 's/^grpc-status: *//Ip' | tail -n 1)
	if [ "$status" = 0 ]; then
		tail -c +6 "$t/r" | protoc -I "$cri_here" --decode="runtime.v1.${method}Response" "$cri_here/cri.proto"
	else
		tr -d '\r' <"$t/h" | sed -n 's/^grpc-message: *//Ip' | sed 's/%\([0-9A-F][0-9A-F]\)/\\x\1/g' | xargs -0 printf '%b' >&2
	fi
	rm -rf "$t"
	return "${status:-2}"
}

# One field's value out of a text-format answer.
cri_field() { sed -n "s/^ *$1: \"\{0,1\}\([^\"]*\)\"\{0,1\}\$/\1/p" | head -n 1; }

# A pod: prints its id. ANNOTATIONS: text-format lines, may be empty.
cri_pod() { # NAME HANDLER LOG-DIR [ANNOTATIONS]
	cri_pod_config "$1" "$3" "${4:-}" >"$stage_dir/run/pod-$1.txt"
	printf 'config { %s } runtime_handler: "%s"' "$(cat "$stage_dir/run/pod-$1.txt")" "$2" |
		cri Runtime/RunPodSandbox | cri_field pod_sandbox_id
}

cri_pod_config() { # NAME LOG-DIR ANNOTATIONS
	printf 'metadata { name: "%s" uid: "uid-%s" namespace: "default" } hostname: "%s" log_directory: "%s" %s linux { %s }' \
		"$1" "$1" "$1" "$2" "$3" "$cri_namespaces"
}

cri_pull() { # IMAGE POD-NAME: prints the image ref
	printf 'image { image: "%s" } sandbox_config { %s }' "$1" "$(cat "$stage_dir/run/pod-$2.txt")" |
		cri Image/PullImage | cri_field image_ref
}

# A container: prints its id. MORE: text-format fields of ContainerConfig, e.g. args: "x".
cri_create() { # POD-ID POD-NAME NAME IMAGE [MORE]
	printf 'pod_sandbox_id: "%s" config { metadata { name: "%s" } image { image: "%s" } log_path: "%s.log" %s linux { %s } } sandbox_config { %s }' \
		"$1" "$3" "$4" "$3" "${5:-}" "$cri_namespaces" "$(cat "$stage_dir/run/pod-$2.txt")" |
		cri Runtime/CreateContainer | cri_field container_id
}

cri_start() { printf 'container_id: "%s"' "$1" | cri Runtime/StartContainer; }
cri_state() { printf 'container_id: "%s"' "$1" | cri Runtime/ContainerStatus | cri_field state; }
cri_exit_code() { printf 'container_id: "%s"' "$1" | cri Runtime/ContainerStatus | cri_field exit_code; }
cri_exited() { [ "$(cri_state "$1")" = 2 ]; }
cri_exec() { # CONTAINER ARG...
	local id=$1 a cmd=''
	shift
	for a; do cmd="$cmd cmd: \"$a\""; done
	printf 'container_id: "%s" %s timeout: 60' "$id" "$cmd" | cri Runtime/ExecSync
}
cri_stop() { printf 'container_id: "%s" timeout: 5' "$1" | cri Runtime/StopContainer; }
cri_remove() { printf 'container_id: "%s"' "$1" | cri Runtime/RemoveContainer; }
cri_pod_stop() { printf 'pod_sandbox_id: "%s"' "$1" | cri Runtime/StopPodSandbox; }
cri_pod_remove() { printf 'pod_sandbox_id: "%s"' "$1" | cri Runtime/RemovePodSandbox; }
