# Programs of newer Debian suites, unpacked beside the system: apt with lists of its own, from the place
# that the system's apt already uses.
#
#   debs_unpack SUITE DIR PACKAGE...   unpacks into DIR/root; 1 when they cannot be had
#
# Packages that are there already (a day old at most) are not fetched again.

debs_site() {
	apt-get indextargets --format '$(SITE) $(ORIGIN) $(LABEL)' 'Created-By: Packages' 2>/dev/null |
		awk '$2 == "Debian" && $3 == "Debian" { print $1; exit }'
}

debs_apt() { # DIR COMMAND...
	local d=$1
	shift
	apt-get -q -o Dir::Etc::sourcelist="$d/apt/sources.list" -o Dir::Etc::sourceparts="$d/apt/parts" \
		-o Dir::State::lists="$d/apt/lists" -o Dir::Cache="$d/apt/cache" -o Dir::State::status=/dev/null \
		-o APT::Sandbox::User=root -o Acquire::Retries=2 "$@"
}

debs_unpack() { # SUITE DIR PACKAGE...
	local suite=$1 d=$2 site key=/usr/share/keyrings/debian-archive-keyring.gpg f
	shift 2
	[ -z "$(find "$d/done-$suite" -mmin -1440 2>/dev/null)" ] || return 0
	site=$(debs_site)
	[ -n "$site" ] && [ -r $key ] || return 1
	rm -rf "$d"
	mkdir -p "$d/apt/parts" "$d/apt/lists/partial" "$d/apt/cache/archives/partial" "$d/debs" "$d/root"
	d=$(cd "$d" && pwd)
	printf 'deb [signed-by=%s] %s %s main\n' $key "$site" "$suite" >"$d/apt/sources.list"
	debs_apt "$d" update >"$d/log" 2>&1 || { tail -n 3 "$d/log"; return 1; }
	(cd "$d/debs" && debs_apt "$d" download "$@") >>"$d/log" 2>&1 || { tail -n 3 "$d/log"; return 1; }
	for f in "$d"/debs/*.deb; do dpkg -x "$f" "$d/root" || return 1; done
	rm -rf "$d/apt" "$d/debs"
	touch "$d/done-$suite"
}
