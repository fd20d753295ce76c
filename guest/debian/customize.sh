#!/bin/sh
# customize.sh TREE VARIANT: turns the tree that mmdebstrap has installed into the default guest. Runs as
# mmdebstrap's hook, outside of the chroot, as root or as the root of a user namespace: there only
# TREE is writable and readable for sure, so build.sh has put this folder into TREE/attest-build.
# The results (vmlinuz, vmlinux, initrd, root.erofs, versions) go to TREE/attest-build/out, from where
# mmdebstrap copies them. What remains at the end is the tree itself.
set -eu
tree=$1
variant=$2
work=$tree/attest-build
out=$work/out
mkdir -p "$out" "$work/debs"

say() { echo "guest: $*"; }
# The lines of one of this folder's lists and then of the variant's, if it has one of that name.
lines() {
	for list in "$work/$1" "$work/variants/$variant/$1"; do
		[ ! -f "$list" ] || sed 's/#.*//; /^[[:space:]]*$/d' "$list"
	done
}

# --- kernel and busybox: unpacked, not installed (see packages) ---
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
meta=$(lines kernel | tail -n 1)
kernel=$(apt-cache depends --important "$meta" |
	sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
[ -n "$kernel" ] || { say "$meta names no kernel package" >&2; exit 1; }
release=${kernel#linux-image-}
say "fetching $kernel and busybox-static"
# download-only install puts the files into apt's archives, that build.sh keeps for the next build;
# they are found there by name.
archives=$tree/var/cache/apt/archives
(cd "$archives" && apt-get -qq download "$kernel" busybox-static)
for name in "$kernel" busybox-static; do
	# Several versions may lie in the cache: the newest download is the one that apt chose.
	version=$(apt-cache policy "$name" | sed -n 's/^ *Candidate: //p')
	deb=$archives/${name}_$(printf %s "$version" | sed 's/:/%3a/g')_amd64.deb
	dpkg-deb -x "$deb" "$work/debs/$name"
	echo "$name $version" >>"$out/versions"
done
cp -a "$work/debs/$kernel/lib/modules" "$tree/usr/lib/"
lines removed-modules | while read -r pattern; do
	# Unquoted: the pattern is to expand.
	(cd "$tree/usr/lib/modules/$release/kernel" && rm -rf $pattern)
done
depmod -b "$tree" "$release"
cp "$work/debs/$kernel/boot/vmlinuz-$release" "$out/vmlinuz"
cp "$work/debs/$kernel/boot/config-$release" "$tree/boot/"
say "taking the ELF kernel out of vmlinuz"
sh "$work/extract-vmlinux.sh" "$out/vmlinuz" "$out/vmlinux"
say "packing the initrd"
lines initrd-modules >"$work/modules"
sh "$work/make-initrd.sh" "$tree" "$release" "$work/debs/busybox-static/bin/busybox" \
	"$work/init" "$work/modules" "$out/initrd"

# --- configuration ---
say "configuring the system"
lines removed-files | while read -r pattern; do
	(cd "$tree" && rm -rf $pattern)
done
cp -rT --no-preserve=ownership "$work/files" "$tree"
lines masked-units | while read -r unit; do
	ln -sfn /dev/null "$tree/etc/systemd/system/$unit"
done
wants=$tree/etc/systemd/system/multi-user.target.wants
rm -f "$wants/ssh.service" "$tree/etc/systemd/system/sshd.service"
ln -sfn /lib/systemd/system/systemd-networkd.service "$wants/systemd-networkd.service"
ln -sfn /lib/systemd/system/multi-user.target "$tree/etc/systemd/system/default.target"
mkdir -p "$tree/etc/systemd/system/sysinit.target.wants"
ln -sfn ../attest-agent.service "$tree/etc/systemd/system/sysinit.target.wants/attest-agent.service"
mkdir -p "$tree/etc/systemd/system/basic.target.wants"
ln -sfn ../attest-network.service "$tree/etc/systemd/system/basic.target.wants/attest-network.service"
mkdir -p "$tree/etc/systemd/system/sockets.target.wants"
ln -sfn ../backdoor-vsock.socket "$tree/etc/systemd/system/sockets.target.wants/backdoor-vsock.socket"
# As nixpkgs' test machines have it: root without a password, for emergency mode and su.
sed -i 's/^root:[^:]*:/root::/' "$tree/etc/shadow"
# Empty, not "uninitialized": systemd makes one up at each boot, without first-boot actions.
: >"$tree/etc/machine-id"
mkdir -p "$tree/var/lib/dbus"
ln -s /etc/machine-id "$tree/var/lib/dbus/machine-id"
# mmdebstrap leaves the host's: a lookup in the guest must fail at once, not wait for that server.
rm -f "$tree/etc/resolv.conf"
echo "# no name server: names come from /etc/hosts" >"$tree/etc/resolv.conf"

(cd "$tree" && chroot . dpkg-query -W -f '${Package} ${Version}\n') >>"$out/versions"

# --- the root file system ---
# The directory that goes into a file of its own, if the variant has one.
store=$(lines store)
[ -z "$store" ] || say "packing store.erofs, $store of the guest"
say "packing root.erofs"
# Uncompressed: lz4 makes a third of the size, but no boot faster (the CPU time to the banner is the same
# within the noise), and the page cache of the host is shared by all machines anyway.
# mmdebstrap has /proc, /sys and /dev mounted below the tree while hooks run. A bind mount without what
# is mounted below it shows the tree alone; it is made in a mount namespace of its own and so needs no
# clean-up. (Excluding the paths is not enough: mkfs.erofs reads the attributes of all files first.)
mkdir "$work/bare"
unshare --mount sh -eu -c '
	mount --bind "$1" "$2"
	apart="${4:+|${4#/}}"
	mkfs.erofs --quiet --exclude-path=attest-build \
		--exclude-regex="^(dev|run|tmp|var/cache/apt/archives$apart)/." "$3/root.erofs" "$2"
	[ -z "$4" ] || mkfs.erofs --quiet "$3/store.erofs" "$2$4"
' sh "$tree" "$work/bare" "$out" "$store" >"$work/mkfs.log" 2>&1 ||
	{ cat "$work/mkfs.log" >&2; exit 1; }
