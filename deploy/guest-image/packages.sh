# Packages: from apt's own sources into $cache/debs, recorded in $work/used.lock. Sourced by build.
#
# A lock row: package <TAB> version <TAB> sha256 of the .deb <TAB> licences <TAB> source package.

debian_suite() { . /etc/os-release && printf '%s\n' "${VERSION_CODENAME:-}"; }

# apt with private lists of one suite; the mirror is the one the system is configured with.
suite_apt() { # SUITE COMMAND...
	local s=$1 st=$cache/apt-$1 site
	shift
	mkdir -p "$st/lists/partial" "$st/archives/partial" "$st/parts"
	if [ ! -s "$st/sources.list" ]; then
		site=$(apt-get indextargets --format '$(SITE) $(ORIGIN) $(LABEL)' 'Created-By: Packages' |
			awk '$2 == "Debian" && $3 == "Debian" { print $1; exit }')
		[ -n "$site" ] || die "apt knows no Debian archive: run apt-get update"
		printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' \
			"$site" "$s" >"$st/sources.list"
	fi
	local o=(-o "Dir::Etc::sourcelist=$st/sources.list" -o "Dir::Etc::sourceparts=$st/parts"
		-o "Dir::State::lists=$st/lists" -o "Dir::Cache=$st" -o Dir::State::status=/dev/null
		-o APT::Sandbox::User=root)
	[ -n "$(find "$st/lists" -name '*Packages*' -mmin -1440 2>/dev/null)" ] ||
		apt-get -qq "${o[@]}" update >&2
	"$1" "${o[@]}" "${@:2}"
}

lock_version() { [ ! -s "$lock" ] || awk -F'\t' -v p="$1" '$1 == p { print $2 }' "$lock"; }

# Fetches PACKAGE (VERSION empty: the candidate) and prints the .deb's path. SUITE empty: the system's
# own sources.
deb_fetch() { # PACKAGE VERSION SUITE
	local p=$1 v=$2 s=$3 name f
	name=$p${v:+=$v}
	f=$(find "$cache/debs" -name "${p}_${v//:/%3a}_*.deb" 2>/dev/null | head -n 1)
	if [ -z "$v" ] || [ -z "$f" ]; then
		rm -rf "$work/dl"
		mkdir -p "$work/dl"
		if [ -n "$s" ]; then
			(cd "$work/dl" && suite_apt "$s" apt-get -qq download "$name") >&2 || return 1
		else
			(cd "$work/dl" && apt-get -qq -o APT::Sandbox::User=root download "$name") >&2 2>/dev/null || return 1
		fi
		f=$cache/debs/$(basename "$work"/dl/*.deb)
		mv "$work"/dl/*.deb "$f"
	fi
	printf '%s\n' "$f"
}

# The licence names of a machine-readable copyright file, or where the text is.
licences_of() { # PACKAGE ROOT
	local c=$2/usr/share/doc/$1/copyright
	[ -f "$c" ] || { printf 'see-source\n'; return; }
	cp "$c" "$out/licences/$1"
	if grep -q '^Format:.*copyright-format' "$c"; then
		sed -nE 's/^License: *([^ ].*)$/\1/p' "$c" | tr 'A-Z ' 'a-z-' | sort -u | paste -sd ' '
	else
		printf 'see-licences/%s\n' "$1"
	fi
}

# Unpacks a .deb into $work/root/PACKAGE (once) and adds its lock row.
deb_use() { # PACKAGE DEB
	local root=$work/root/$1
	[ ! -d "$root" ] || return 0
	mkdir -p "$root"
	dpkg-deb -x "$2" "$root"
	printf '%s\t%s\t%s\t%s\t%s\n' "$1" "$(dpkg-deb -f "$2" Version)" \
		"$(sha256sum "$2" | cut -d' ' -f1)" "$(licences_of "$1" "$root")" \
		"$(dpkg-deb -f "$2" Source | cut -d' ' -f1 | grep . || echo "$1")" >>"$work/used.lock"
}

# A package of this system, as installed, or as locked under --locked.
package_unpack() { # PACKAGE
	local p=$1 v deb
	[ ! -d "$work/root/$p" ] || return 0
	v=$(dpkg-query -W -f '${Version}' "$p" 2>/dev/null || true)
	! $locked || v=$(lock_version "$p")
	! $locked || [ -n "$v" ] || die "$p is not in $lock (--locked)"
	deb=$(deb_fetch "$p" "$v" '') || {
		! $locked || die "$p $v of the lock is not in the archive any more: refresh the lock (run without --locked)"
		deb=$(deb_fetch "$p" '' '') || die "package $p cannot be had"
	}
	deb_use "$p" "$deb"
}

# The tools whose version decides about bytes.
tools_lock() {
	local t
	for t in cpio zstd binutils; do
		command -v "$([ $t = binutils ] && echo strip || echo $t)" >/dev/null ||
			die "$t is missing: apt-get install $t"
		printf 'tool:%s\t%s\t-\t-\t%s\n' "$t" "$(dpkg-query -W -f '${Version}' "$t")" "$t" \
			>>"$work/used.lock"
	done
}

kernel_unpack() {
	local meta name v deb
	[ -n "$suite" ] || case $(debian_suite) in
		bookworm) suite=bookworm-backports ;;
		*) suite=$(debian_suite) ;;
	esac
	meta=linux-image-cloud-$(dpkg --print-architecture)
	if $locked; then
		name=$(awk -F'\t' '$1 ~ /^linux-image-/ { print $1; exit }' "$lock")
		v=$(lock_version "$name")
	else
		name=$(suite_apt "$suite" apt-cache depends "$meta" | awk '/Depends: linux-image-/ { print $2; exit }')
		v=''
	fi
	[ -n "$name" ] || die "no package $meta in $suite"
	deb=$(deb_fetch "$name" "$v" "$suite") || die "kernel $name ${v:-} is not in $suite any more: refresh the lock (run without --locked)"
	deb_use "$name" "$deb"
	kernel=$work/root/$name
	release=$(basename "$(ls -d "$kernel"/lib/modules/* "$kernel"/usr/lib/modules/* 2>/dev/null | head -n 1)")
	install -m 0644 "$kernel/boot/vmlinuz-$release" "$out/vmlinuz"
}

# What was used against what was locked.
lock_check() {
	LC_ALL=C sort -o "$work/used.lock" "$work/used.lock"
	cp "$work/used.lock" "$out/packages.lock"
	[ -s "$lock" ] || { echo "no lock yet; this build's is $out/packages.lock"; return 0; }
	if diff -u <(cut -f1-3 "$lock") <(cut -f1-3 "$work/used.lock") >"$work/lock.diff"; then
		echo "packages: all $(wc -l <"$lock") as locked"
		return 0
	fi
	grep -E '^[-+][^-+]' "$work/lock.diff" >&2
	! $locked || die "packages differ from $lock (- locked, + found)"
	echo "packages differ from the lock (above: - locked, + found); reference values will differ too" >&2
}
