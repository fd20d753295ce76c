#!/bin/sh
# make-initrd.sh TREE KERNEL_RELEASE BUSYBOX INIT MODULE_LIST OUT
# Packs busybox, the modules of MODULE_LIST with what they depend on, and INIT into the cpio OUT.
set -eu
tree=$1 release=$2 busybox=$3 init=$4 list=$5 out=$6

root=$(mktemp -d "${out%/*}/initrd.XXXXXX")
trap 'rm -rf "$root"' EXIT

mkdir -p "$root/bin" "$root/dev" "$root/proc" "$root/sys" "$root/lower" "$root/over" "$root/root" \
	"$root/modules" "$root/attest"
cp "$busybox" "$root/bin/busybox"
for applet in sh mount mkdir mknod insmod cp sleep sync poweroff reboot switch_root setsid \
	ls cat dmesg umount; do
	ln -s busybox "$root/bin/$applet"
done
cp "$init" "$root/init"
chmod 755 "$root/init" "$root/bin/busybox"

# The signature behind the module's code, if any, is left off: checking it (RSA and SHA-256 on an
# emulated CPU) would be a good part of the load time, and this image is nobody's secure boot.
# The layout at the end of a signed file: signature, 12 bytes whose last 4 are the signature's
# length (big endian), the marker "~Module signature appended~\n" of 28 bytes.
copy_module() {
	size=$(stat -c %s "$1")
	if [ "$(tail -c 28 "$1" | head -c 26)" = "~Module signature appended" ]; then
		set -- "$1" "$2" $(tail -c 32 "$1" | od -An -tu1 -N4)
		size=$((size - 40 - ($3 << 24 | $4 << 16 | $5 << 8 | $6)))
	fi
	head -c "$size" "$1" >"$2"
}

: >"$root/modules-load"
sed 's/#.*//' "$list" | while read -r name; do
	[ -n "$name" ] || continue
	# --show-depends prints "insmod PATH" or "builtin NAME", dependencies first. It reads the
	# modules.dep of the tree, never those of the running kernel.
	modprobe -d "$tree" -S "$release" --show-depends "$name" ||
		echo "make-initrd: no module $name in this kernel, going without" >&2
done | while read -r how path _; do
	[ "$how" = insmod ] || continue
	file=${path##*/}
	[ ! -e "$root/modules/$file" ] || continue
	copy_module "$path" "$root/modules/$file"
	echo "$file" >>"$root/modules-load"
done
[ -s "$root/modules-load" ]

# Of the nodes by which the kernel loads modules on demand, those that tests may open: a line of
# modules.devname is "module node c10:200". (systemd would run two programs at each boot for them.)
sed -n -E 's/^(btrfs|dm_mod|fuse|loop|tun|vhost_net|vhost_vsock) ([^ ]+) c([0-9]+):([0-9]+)$/\2 \3 \4/p' \
	"$tree/usr/lib/modules/$release/modules.devname" >"$root/nodes"

# Sorted and with one owner and one time, so that the same inputs give the same archive.
find "$root" -exec touch -h -d @1 {} +
(cd "$root" && find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0 --reproducible) >"$out"
