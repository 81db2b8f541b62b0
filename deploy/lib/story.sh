# How the quickstart tells its story: numbered phases with their time, facts, proofs, refusals. What a
# person reads goes to standard output; figures are kept for the JSON object at the end.

story_phases='' story_attacks='' story_ok=true story_count=0 story_output='' story_layer_bytes=-1

story_now() { date +%s%N | cut -b1-13; }
story_seconds() { awk -v ms="$1" 'BEGIN { printf "%.1f", ms / 1000 }'; }

story_begin() {
	story_t0=$(story_now)
	echo "coffer quickstart. Everything stays in $dir and in a network namespace of its own."
	echo "NOTE  the root of trust here is a *software* TPM and this machine's memory is not encrypted:"
	echo "      this shows the protocol, it does not protect from whoever owns this machine."
}

story_phase() { # ID TITLE
	story_id=$1 story_since=$(story_now)
	story_count=$((story_count + 1))
	printf '\n[%d] %s\n' "$story_count" "$2"
}

story_done() {
	local ms=$(($(story_now) - story_since))
	printf '    (%s s)\n' "$(story_seconds $ms)"
	story_phases="$story_phases${story_phases:+,}\"$story_id\":$(story_seconds $ms)"
}

fact() { printf '    %s\n' "$*"; }

# A proof made with somebody else's tool: the command is printed, then run; WANTED is its whole output.
proof() { # WANTED COMMAND-TEXT
	local got shown=${2//stage_in /nsenter --net=/run/netns/$stage_ns }
	got=$(eval "$2" 2>&1) || true
	if [ "$got" = "$1" ]; then
		printf '    proof   %s   → %s\n' "$shown" "$got"
	else
		printf '    FAILED  %s   → %s (expected %s)\n' "$shown" "$got" "$1"
		story_ok=false
	fi
}

# An attack's outcome: refused for the right reason, i.e. TEXT matches PATTERN.
refused() { # ID DESCRIPTION PATTERN TEXT
	local text
	text=$(printf '%s' "$4" | tr '\n' ' ' | cut -c1-600)
	if grep -qiE "$3" <<<"$4"; then
		printf '    attack  %s\n    denied  %s  ✓\n' "$2" "$text"
		story_attacks="$story_attacks${story_attacks:+,}{\"id\":\"$1\",\"refused\":true,\"reason\":$(jq -Rn --arg t "$text" '$t')}"
	else
		printf '    attack  %s\n    NOT REFUSED AS IT SHOULD BE  %s  ✗\n' "$2" "${text:-(no answer)}"
		story_attacks="$story_attacks${story_attacks:+,}{\"id\":\"$1\",\"refused\":false,\"reason\":$(jq -Rn --arg t "$text" '$t')}"
		story_ok=false
	fi
}

# A release build and a guest image, when they are not there yet or are older than the tree.
story_build() {
	(cd "$top" && cmake --preset release >"$top/.quickstart-build.log" 2>&1 &&
		cmake --build --preset release -- -j"$(nproc)" >>"$top/.quickstart-build.log" 2>&1) ||
		{ tail -n 20 "$top/.quickstart-build.log" >&2; exit 1; }
	rm -f "$top/.quickstart-build.log"
	guest=$top/build/guest-image
	if [ ! -s "$guest/initrd.img" ] || [ -n "$(find "$COFFER_BIN"/coffer-{init,attestd,imaged} "$here/guest-image" -newer "$guest/initrd.img" 2>/dev/null)" ]; then
		"$here/guest-image/build" --bin "$COFFER_BIN" --out "$guest"
	fi
	fact "coffer $(coffer version | cut -d' ' -f2) in $COFFER_BIN, guest image in $guest"
}

story_versions() {
	jq -cn --arg coffer "$(coffer version | cut -d' ' -f2)" --arg containerd "$(containerd --version | cut -d' ' -f3)" \
		--arg qemu "$(qemu-system-x86_64 --version | sed -n '1s/.*version \([^ ]*\).*/\1/p')" \
		--arg kernel "$(cut -f1 "$guest/packages.lock" | sed -n 's/^linux-image-//p' | head -n 1)" \
		'{coffer: $coffer, containerd: $containerd, qemu: $qemu, guest_kernel: $kernel}'
}

story_summary() {
	local ms=$(($(story_now) - story_t0))
	printf '\n%s in %s s.\n' "$($story_ok && echo 'Everything as promised' || echo 'NOT everything as promised (see above)')" "$(story_seconds $ms)"
	story_phases="$story_phases,\"total\":$(story_seconds $ms)"
}

# At exit: clean up unless --keep, then the JSON object.
story_end() { # STATUS
	local status=$1
	trap - EXIT
	set +e
	$story_ok || [ "$status" -ne 0 ] || status=1
	if [ "$status" -ne 0 ]; then
		story_ok=false
		echo "the quickstart stopped; logs are in $dir/log (last lines of each follow)" >&2
		for f in "$dir"/log/*.log; do [ -s "$f" ] && { echo "--- $(basename "$f")"; tail -n 5 "$f"; } >&2; done
	fi
	if $keep; then
		echo "still running; end it with: $0 --dir $dir --clean"
	else
		node_end
		stage_close
		left=$(stage_mounts; stage_pids)
		[ -z "$left" ] || { echo "left behind: $left" >&2; status=1 story_ok=false; }
	fi
	! $json || printf '{"ok":%s,"output":%s,"attacks":[%s],"phases":{%s},"host_layer_bytes":%s,"versions":%s}\n' \
		"$story_ok" "$(jq -Rn --arg t "$story_output" '$t')" "$story_attacks" "$story_phases" "$story_layer_bytes" "$(story_versions)" >&5
	exit "$status"
}
