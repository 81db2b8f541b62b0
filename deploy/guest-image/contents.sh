# What goes into the initramfs. Sourced by build.

programs=(coffer-init coffer-attestd coffer-imaged coffer-layer-helper)

# Loaded by coffer-init in this order, each behind what it depends on. Built-in ones are skipped.
modules=(failover net_failover virtio_net virtio_blk virtio_rng vsock vmw_vsock_virtio_transport
	loop overlay erofs configfs tsm sev_guest tdx_guest veth)

programs_copy() {
	local p
	mkdir -p "$tree/usr/bin" "$tree/usr/lib" "$tree/etc" "$tree/lib/modules"
	ln -s usr/lib "$tree/lib64" 2>/dev/null || true
	for p in "${programs[@]}"; do
		[ -x "$bin/$p" ] || die "$bin/$p is missing: build first (cmake --preset release && cmake --build --preset release)"
		strip -o "$tree/usr/bin/$p" "$bin/$p"
		chmod 0755 "$tree/usr/bin/$p"
	done
	package_unpack crun
	install -m 0755 "$work/root/crun/usr/bin/crun" "$tree/usr/bin/crun"
	ln -s usr/bin/coffer-init "$tree/init"
}

# The package that owns a library; /lib and /usr/lib are one on a merged system.
owner_of() { # FILE
	local f
	f=$(readlink -f "$1")
	{ dpkg -S "$f" || dpkg -S "${f#/usr}"; } 2>/dev/null | head -n 1 | cut -d: -f1
}

# Every shared library that the programs load, out of its package, under its soname.
libraries_copy() {
	local p lib owner from
	for p in "${programs[@]/#/$bin/}" /usr/bin/crun $(runtime_libraries); do
		ldd "$p" 2>/dev/null | grep -oE '/[^ ]+\.so[^ ]*' || true
	done | sort -u >"$work/libs"
	runtime_libraries >>"$work/libs"
	sort -u -o "$work/libs" "$work/libs"
	while read -r lib; do
		owner=$(owner_of "$lib")
		[ -n "$owner" ] || die "$lib belongs to no package"
		package_unpack "$owner"
		from=$(find "$work/root/$owner" -name "$(basename "$lib")" | head -n 1)
		[ -n "$from" ] || die "$(basename "$lib") is not in package $owner"
		install -m 0755 "$(library_file "$work/root/$owner" "$from")" "$tree/usr/lib/$(basename "$lib")"
	done <"$work/libs"
}

# Follows a library's symbolic link inside its package.
library_file() { # ROOT FILE
	[ -L "$2" ] || { printf '%s\n' "$2"; return; }
	find "$1" -name "$(basename "$(readlink "$2")")" -type f | head -n 1
}

# Loaded with dlopen, so that ldd does not show them.
runtime_libraries() {
	local d
	for d in /usr/lib/*-linux-gnu; do
		ls "$d"/libtss2-tcti-device.so.0 2>/dev/null || true
	done
}

modules_dir() { ls -d "$kernel/lib/modules/$release" "$kernel/usr/lib/modules/$release" 2>/dev/null | head -n 1; }

module_file() { find "$(modules_dir)/kernel" -name "$1.ko*" -o -name "${1//_/-}.ko*" | head -n 1; }

module_add() { # NAME: its dependencies first
	local n=${1//-/_} f d ko
	! grep -qx "$n.ko" "$tree/lib/modules/order" || return 0
	f=$(module_file "$n")
	[ -n "$f" ] || return 0
	ko=$tree/lib/modules/$n.ko
	case $f in
	*.xz) xz -dc "$f" >"$ko" ;;
	*.zst) zstd -qdc "$f" >"$ko" ;;
	*) cp "$f" "$ko" ;;
	esac
	for d in $(objcopy -O binary -j .modinfo "$ko" /dev/stdout 2>/dev/null | tr '\0' '\n' | sed -n 's/^depends=//p' | tr , ' '); do
		module_add "$d"
	done
	printf '%s.ko\n' "$n" >>"$tree/lib/modules/order"
}

modules_copy() {
	local m
	: >"$tree/lib/modules/order"
	for m in "${modules[@]}"; do
		module_add "$m"
	done
}

tree_finish() {
	mkdir -p "$tree"/{dev,proc,sys,run,tmp,root,var} "$tree/etc/ssl"
	printf 'root:x:0:0:root:/root:/usr/bin/nologin\n' >"$tree/etc/passwd"
	printf 'root:x:0:\n' >"$tree/etc/group"
	printf 'hosts: files dns\n' >"$tree/etc/nsswitch.conf"
	printf '127.0.0.1 localhost\n::1 localhost\n' >"$tree/etc/hosts"
	# The loader's path is part of each program: /lib64/ld-linux-x86-64.so.2, /lib/ld-linux-aarch64.so.1
	for l in "$tree"/usr/lib/ld-linux*; do
		ln -sf "../usr/lib/$(basename "$l")" "$tree/lib/$(basename "$l")"
	done
	printf '/usr/lib\n' >"$tree/etc/ld.so.conf"
	find "$tree" -exec touch -h -d @0 {} +
}

image_pack() {
	(cd "$tree" && find . -mindepth 1 | LC_ALL=C sort | cpio -o -H newc -R 0:0 --reproducible --quiet) >"$work/initrd.cpio"
	zstd -q -19 -T1 --no-check -f -o "$out/initrd.img" "$work/initrd.cpio"
	cp "$here/cmdline" "$out/cmdline"
}

contents_print() {
	{
		printf 'FILE\tBYTES\tSHA256\n'
		(cd "$tree" && find . -type f | LC_ALL=C sort | while read -r f; do
			printf '%s\t%s\t%s\n' "${f#.}" "$(stat -c %s "$f")" "$(sha256sum "$f" | cut -d' ' -f1)"
		done)
	} >"$out/contents.tsv"
	awk -F'\t' 'NR > 1 { k = $1 ~ /\/modules\// ? "modules" : $1 ~ /coffer-/ ? "coffer" : $1 ~ /\.so/ ? "libraries" : "other"
		n[k]++; s[k] += $2; t += $2 }
		END { for (k in n) printf "%-10s %3d files %9.1f KiB\n", k, n[k], s[k] / 1024; printf "%-10s %15.1f KiB unpacked\n", "all", t / 1024 }' "$out/contents.tsv"
	local modules
	modules=$(cd "$tree" && find lib/modules -name '*.ko' | LC_ALL=C sort | cpio -o -H newc -R 0:0 --reproducible --quiet | zstd -q -19 -T1 --no-check | wc -c)
	printf 'user space  about %s KiB packed (everything but kernel and modules)\n' "$((($(stat -c %s "$out/initrd.img") - modules) / 1024))"
	printf 'kernel      %s  %s bytes  %s\n' "$release" "$(stat -c %s "$out/vmlinuz")" "$(sha256sum "$out/vmlinuz" | cut -d' ' -f1)"
	printf 'initrd.img  %s bytes  %s\n' "$(stat -c %s "$out/initrd.img")" "$(sha256sum "$out/initrd.img" | cut -d' ' -f1)"
}
