#!/bin/sh
# Builds the default guest (Debian 12, systemd) with mmdebstrap, or finds that it is built already.
# What comes out, and how a driver uses it, is in README.md beside this script.
set -eu
umask 022

usage() {
	cat <<'USAGE'
usage: build.sh [--variant NAME] [--out DIR] [--print-path]
  --variant NAME one of the folder variants/, as debian-NAME beside the default guest
  --out DIR      keep images below DIR instead of the cache
  --print-path   print the path of the current image, build nothing; exit 1 if there is none
environment:
  ATTEST_CACHE          the cache (default: $XDG_CACHE_HOME/attest or ~/.cache/attest)
  ATTEST_MIRROR         Debian mirror (default: this host's if it runs Debian 12, else deb.debian.org)
  ATTEST_GUEST_REBUILD  1: build even if the image is current
USAGE
}
say() { echo "guest: $*"; }
die() {
	echo "guest: $*" >&2
	exit 1
}

here=$(cd "$(dirname "$0")" && pwd)
print_path= store= variant=
while [ $# -gt 0 ]; do
	case $1 in
		--print-path) print_path=1 ;;
		--variant) [ $# -gt 1 ] || die "--variant needs a name"; variant=$2; shift ;;
		--out) [ $# -gt 1 ] || die "--out needs a directory"; store=$2; shift ;;
		-h | --help) usage; exit 0 ;;
		*) usage >&2; exit 2 ;;
	esac
	shift
done
case $variant in
	*[!a-z0-9-]*) die "'$variant' is no name of a variant" ;;
	?*) [ -d "$here/variants/$variant" ] ||
		die "there is no variant '$variant', only: $(cd "$here/variants" && echo *)" ;;
esac
if [ -z "$store" ]; then
	cache=${ATTEST_CACHE:-${XDG_CACHE_HOME:-${HOME:?neither ATTEST_CACHE nor HOME is set}/.cache}/attest}
	store=$cache/guest
fi
case $store in /*) ;; *) store=$PWD/$store ;; esac

# The name of an image is a hash of all that goes into it from this folder. Not part of it: the
# versions in Debian's archive (ATTEST_GUEST_REBUILD=1 takes the new ones), the texts for people, and
# the check, and variants other than this one. Modes count, since files/ is copied with them.
key=$(cd "$here" && find . ${variant:+"variants/$variant"} -type f ! -name README.md ! -name check.sh \
	! -path './variants/*' | LC_ALL=C sort |
	while read -r file; do stat -c '%a %n' "$file"; cat "$file"; done | sha256sum | cut -c 1-16)
name=debian${variant:+-$variant}
directory=debian-12${variant:+-$variant}-$key
image=$store/$directory

# An image directory appears by one rename, when it is complete. So its existence says all.
if [ -n "$print_path" ]; then
	[ -d "$image" ] || exit 1
	echo "$image"
	exit 0
fi
current() { [ -d "$image" ] && [ "${ATTEST_GUEST_REBUILD:-}" != 1 ]; }
# The name by which people and drivers find the newest image: replaced, never missing.
publish() {
	[ "$(readlink "$store/$name" || :)" = "$directory" ] || {
		ln -sfn "$directory" "$store/.$name.$$"
		mv -T "$store/.$name.$$" "$store/$name"
	}
	say "image: $image"
}

mkdir -p "$store" || die "cannot create $store"
# One build at a time. Every process of a build inherits the lock: after a kill -9 of this script the
# next build waits until mmdebstrap is gone as well.
exec 9>"$store/.lock"
if ! flock -n 9; then
	say "waiting for another build in $store"
	before=$(stat -c %i "$image" 2>/dev/null || :)
	flock 9
	# A forced rebuild that somebody has just done need not be done twice.
	[ "$(stat -c %i "$image" 2>/dev/null || :)" = "$before" ] || ATTEST_GUEST_REBUILD=
fi
if current; then
	publish
	exit 0
fi

# --- what this host must have ---
missing=
for need in mmdebstrap:mmdebstrap mkfs.erofs:erofs-utils cpio:cpio zstd:zstd xz:xz-utils lz4:lz4 \
	modprobe:kmod depmod:kmod apt-get:apt; do
	PATH=$PATH:/usr/sbin:/sbin command -v "${need%%:*}" >/dev/null || missing="$missing ${need#*:}"
done
[ -z "$missing" ] || die "not installed:$missing. On Debian: apt-get install$missing"
export PATH="$PATH:/usr/sbin:/sbin"
[ "$(dpkg --print-architecture)" = amd64 ] || die "builds amd64 guests on amd64 hosts only"
if [ "$(id -u)" = 0 ]; then
	mode=root
else
	mode=unshare user=$(id -un)
	command -v newuidmap >/dev/null ||
		die "as an ordinary user, newuidmap is needed: apt-get install uidmap (or run this as root)"
	for file in /etc/subuid /etc/subgid; do
		grep -Eqs "^($user|$(id -u)):" $file || die "$file has no range for $user:" \
			"run 'usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $user' as root (or run this as root)"
	done
	unshare --user true 2>/dev/null || die "this kernel lets ordinary users make no user namespace:" \
		"set kernel.unprivileged_userns_clone=1 and user.max_user_namespaces (or run this as root)"
fi

# The files of an ordinary user's tree have ids of that user's range, as root of which they can go.
remove() {
	case $mode in
		root) rm -rf --one-file-system "$@" ;;
		*) unshare --map-auto --map-root-user rm -rf --one-file-system "$@" ;;
	esac
}

# --- the build ---
# What a killed build left. We hold the lock, so nobody is at work there. Never into a mount: a
# chroot may have the host's /dev in it.
remove "$store"/.build.*
temp=$(mktemp -d "$store/.build.XXXXXX")
chmod 755 "$temp"
# In the background, since a shell serves signals only while it waits.
sh "$here/debstrap.sh" "$mode" "$store" "$temp" "$variant" &
worker=$!
stop() {
	trap - EXIT
	kill "$worker" 2>/dev/null || :
	wait "$worker" 2>/dev/null || :
	remove "$temp"
	exit "$1"
}
trap 'remove "$temp"' EXIT
trap 'stop 129' HUP
trap 'stop 130' INT
trap 'stop 143' TERM
wait "$worker" || die "the build failed; the log is in $store/build.log"

sh "$here/image-json.sh" "$variant" >"$temp/image.json"
# Of use for containers only.
grep -q '^  "tree":' "$temp/image.json" || remove "$temp/tree"
if [ -d "$image" ]; then
	# A forced rebuild: machines that run keep their open files, new ones find the new image.
	mv "$image" "$temp.old"
	mv "$temp" "$image"
	remove "$temp.old"
else
	mv "$temp" "$image"
fi
publish
