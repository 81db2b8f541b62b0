# A stage: one folder, one network namespace and the processes in it, all of which end together.
# Shared by deploy/quickstart and tests/e2e. Source it, then:
#
#   stage_open DIR        makes DIR, a namespace, and one address ($stage_ip) that host programs in the
#                         namespace, guests and certificates share
#   stage_bg NAME CMD...  runs CMD in the namespace in the background, log in DIR/log/NAME.log
#   stage_in CMD...       runs CMD in the namespace
#   stage_stop NAME       ends one process (TERM, then KILL)
#   stage_close           ends all, unmounts what is below DIR, removes the namespace; keeps DIR
#
# Processes are known by pid and start time, so that a number used again is never hit.

stage_dir='' stage_ns='' stage_ip='' stage_ip6=''

stage_say() { printf '%s\n' "$*" >&2; }
stage_die() { stage_say "error: $*"; exit 1; }

# The ticks since boot at which a process began; empty when it is gone.
stage_birth() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

stage_open() { # DIR
	mkdir -p "$1/run" "$1/log"
	stage_dir=$(cd "$1" && pwd)
	stage_ns=coffer-$(printf '%s' "$stage_dir" | cksum | cut -d' ' -f1)
	# A subnet of its own per stage, so that two stages never meet: 10.(100..227).X.0/24
	local n
	n=$(printf '%s' "$stage_dir" | cksum | cut -d' ' -f1)
	stage_net=10.$((100 + n % 128)).$((n / 128 % 254))
	stage_ip=$stage_net.1
	ip netns add "$stage_ns" 2>/dev/null || ip netns pids "$stage_ns" >/dev/null || stage_die "no network namespace (root?)"
	ip -n "$stage_ns" link set lo up
	ip -n "$stage_ns" link add coffer0 type bridge 2>/dev/null || true
	ip -n "$stage_ns" addr replace "$stage_ip/24" dev coffer0
	ip -n "$stage_ns" link set coffer0 up
	# An IPv6 address as well where this kernel has IPv6; pods get one when $stage_dual is set.
	stage_ip6=fd00:c0f:$(printf '%x:%x' $((n / 128 % 254)) $((n % 128)))::1
	ip -n "$stage_ns" addr replace "$stage_ip6/64" dev coffer0 nodad 2>/dev/null || stage_ip6=''
	stage_in sysctl -qw net.ipv4.ip_forward=1 2>/dev/null || true
	printf '%s\n' "$stage_ns" >"$stage_dir/run/netns"
}

# Not "ip netns exec": that remounts /sys and hides the cgroups.
stage_in() { nsenter "--net=/run/netns/$stage_ns" "$@"; }

stage_bg() { # NAME COMMAND...
	local name=$1 pid
	shift
	nsenter "--net=/run/netns/$stage_ns" setsid "$@" >>"$stage_dir/log/$name.log" 2>&1 </dev/null &
	pid=$!
	printf '%s %s\n' "$pid" "$(stage_birth "$pid")" >"$stage_dir/run/$name.pid"
}

stage_pid() { cut -d' ' -f1 "$stage_dir/run/$1.pid" 2>/dev/null; }

stage_alive() { # NAME
	local pid birth
	read -r pid birth <"$stage_dir/run/$1.pid" 2>/dev/null || return 1
	[ -n "$birth" ] && [ "$(stage_birth "$pid")" = "$birth" ]
}

# Waits for a condition, at most SECONDS; returns its last status.
stage_wait() { # SECONDS COMMAND...
	local end=$(($(date +%s%N) + $1 * 1000000000))
	shift
	until "$@" >/dev/null 2>&1; do
		[ "$(date +%s%N)" -lt "$end" ] || return 1
		sleep 0.05
	done
}

stage_gone() { ! stage_alive "$1"; }

stage_stop() { # NAME [SIGNAL]
	local pid
	stage_alive "$1" || { rm -f "$stage_dir/run/$1.pid"; return 0; }
	pid=$(stage_pid "$1")
	kill "-${2:-TERM}" "$pid" 2>/dev/null || true
	stage_wait 5 stage_gone "$1" || kill -KILL "$pid" 2>/dev/null || true
	stage_wait 5 stage_gone "$1" || true
	rm -f "$stage_dir/run/$1.pid"
}

# Mounts below the stage, deepest first.
stage_mounts() { awk -v d="$stage_dir/" 'index($5, d) == 1 { print length($5), $5 }' /proc/self/mountinfo | sort -rn | cut -d' ' -f2-; }

# Processes that still run in the namespace.
stage_pids() { ip netns pids "$stage_ns" 2>/dev/null; }

stage_close() {
	local f m p
	[ -n "$stage_dir" ] || return 0
	for f in "$stage_dir"/run/*.pid; do
		[ -e "$f" ] && stage_stop "$(basename "$f" .pid)"
	done
	for p in $(stage_pids); do kill -TERM "$p" 2>/dev/null || true; done
	stage_wait 3 stage_empty || for p in $(stage_pids); do kill -KILL "$p" 2>/dev/null || true; done
	stage_mounts | while read -r m; do umount -l "$m" 2>/dev/null || true; done
	ip netns del "$stage_ns" 2>/dev/null || true
	rm -f "$stage_dir/run/netns"
}

stage_empty() { [ -z "$(stage_pids)" ]; }

# Waits until a TCP port answers in the namespace.
stage_port() { # PORT
	stage_wait 15 stage_in bash -c "exec 3<>/dev/tcp/$stage_ip/$1" || stage_die "nothing answers on $stage_ip:$1"
}

# Takes up a stage that an earlier run left: to end it.
stage_attach() { # DIR
	stage_dir=$(cd "$1" && pwd)
	stage_ns=$(cat "$stage_dir/run/netns" 2>/dev/null || true)
	cri_socket=$stage_dir/node/containerd/containerd.sock
}
