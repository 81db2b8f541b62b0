# Small OCI images made here, out of static busybox: nothing is fetched from a registry.

# An OCI layout DIR with tag t: busybox, its links, and what MORE (a folder) adds. The command is /bin/sh.
image_small() { # DIR [MORE]
	local t
	t=$(mktemp -d)
	mkdir -p "$t/bin" "$t/etc"
	cp "$(command -v busybox)" "$t/bin/busybox"
	for x in sh ls cat echo sleep wget id uname mount ps env head dd sha256sum tar cp rm mkdir true hostname ip nslookup; do
		ln -s busybox "$t/bin/$x"
	done
	printf 'root:x:0:0:root:/:/bin/sh\n' >"$t/etc/passwd"
	[ -z "${2:-}" ] || cp -a "$2/." "$t/"
	image_pack "$1" "$t" --config.cmd /bin/sh --config.env PATH=/bin
	rm -rf "$t"
}

# A pause image: one static program that waits.
image_pause() { # DIR
	local t
	t=$(mktemp -d)
	mkdir -p "$t/bin"
	cp "$(command -v busybox)" "$t/bin/busybox"
	image_pack "$1" "$t" --config.entrypoint /bin/busybox --config.cmd sleep --config.cmd 2147483647
	rm -rf "$t"
}

image_pack() { # DIR TREE CONFIG...
	local d=$1 tree=$2
	shift 2
	rm -rf "$d"
	umoci --log error init --layout "$d"
	umoci --log error new --image "$d:t"
	find "$tree" -exec touch -h -d @1700000000 {} +
	umoci --log error insert --history.created 2023-11-14T22:13:20Z --image "$d:t" "$tree" / >/dev/null
	umoci --log error config --history.created 2023-11-14T22:13:20Z --created 2023-11-14T22:13:20Z --image "$d:t" "$@" >/dev/null
}

# Pushes oci:DIR:t to the stage's registry with somebody else's tool.
image_push() { # DIR HOST:PORT/NAME:TAG CA-DIR
	stage_in skopeo copy -q --dest-cert-dir "$3" "oci:$1:t" "docker://$2"
}
