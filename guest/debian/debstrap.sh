#!/bin/sh
# debstrap.sh MODE STORE OUT VARIANT: runs mmdebstrap with our hooks; fills OUT with the kernel, the initrd, the
# root file system and the tree. Downloaded packages are kept in STORE/.debs.
set -eu
mode=$1 store=$2 out=$3 variant=$4
here=$(cd "$(dirname "$0")" && pwd)
log=$store/build.log
debs=$store/.debs
mkdir -p "$debs"

# Where the packages come from, as lines of a sources.list. Only the Debian entries of the host count:
# it may have others, whose packages have no place in the guest.
sources() {
	if [ -n "${ATTEST_MIRROR:-}" ]; then
		echo "deb $ATTEST_MIRROR bookworm main"
		return
	fi
	if grep -qs '^VERSION_CODENAME=bookworm$' /etc/os-release && grep -qs '^ID=debian$' /etc/os-release; then
		apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)' \
			'Created-By: Packages' 'Origin: Debian' 2>/dev/null |
			grep -E '^deb [^ ]+ bookworm(-updates|-security)? main$' | sort -u
	fi
}
sources >"$out/sources"
grep -q ' bookworm main$' "$out/sources" || cat >"$out/sources" <<'LIST'
deb http://deb.debian.org/debian bookworm main
deb http://deb.debian.org/debian bookworm-updates main
deb http://deb.debian.org/debian-security bookworm-security main
LIST

case $mode in
	root) format=directory target=$out/tree ;;
	# Its directory would have the ids of mmdebstrap's own namespace; see below.
	*) format=tar target=$out/tree.tar ;;
esac
set -- "$here/packages" "$here/variants/$variant/packages"
[ -e "$2" ] || set -- "$1"
include=$(cat "$@" | sed 's/#.*//' | tr -s ' \n' ',' | sed 's/^,//; s/,$//')

echo "guest: installing Debian 12 packages (mode $mode, from $(sed -n 's/^deb \(.*\) bookworm main$/\1/p' "$out/sources"))"
# copy-in/copy-out and sync-in/sync-out go through mmdebstrap's parent process, which may read the
# checkout and write the cache even where the hooks' user namespace may not.
# stdin is closed for all: a package's question must fail, not wait.
mmdebstrap --mode="$mode" --format="$format" --variant=essential --architectures=amd64 \
	--include="$include" \
	--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
	--aptopt='Apt::Install-Recommends "false"' \
	--aptopt='Acquire::Languages "none"' \
	--aptopt='Acquire::Retries "3"' \
	--aptopt='Apt::Keep-Downloaded-Packages "true"' \
	--dpkgopt='force-unsafe-io' \
	--dpkgopt='path-exclude=/usr/share/doc/*' \
	--dpkgopt='path-exclude=/usr/share/man/*' \
	--dpkgopt='path-exclude=/usr/share/info/*' \
	--dpkgopt='path-exclude=/usr/share/locale/*' \
	--dpkgopt='path-exclude=/usr/share/i18n/*' \
	--skip=essential/unlink \
	--setup-hook='mkdir -p "$1/var/cache/apt/archives/partial"' \
	--setup-hook="sync-in $debs /var/cache/apt/archives" \
	--customize-hook='mkdir -p "$1/attest-build"' \
	--customize-hook="sync-in $here /attest-build" \
	--customize-hook='sh "$1/attest-build/customize.sh" "$1" '"'$variant' 1>&2" \
	--customize-hook="sync-out /attest-build/out $out" \
	--customize-hook="sync-out /var/cache/apt/archives $debs" \
	--customize-hook='rm -rf "$1/attest-build" "$1"/var/cache/apt/archives/*' \
	bookworm "$target" - <"$out/sources" >"$log" 2>&1 &
pid=$!
trap 'kill "$pid" 2>/dev/null; wait "$pid"; exit 143' HUP INT TERM
if ! wait "$pid"; then
	grep -E '^(E|W|guest):' "$log" | tail -n 20 >&2
	exit 1
fi
grep '^guest: ' "$log" || :
if [ "$mode" != root ]; then
	# As containers of an ordinary user see it: root is the user, the others are of the user's range.
	# Devices cannot be made there, and a container has its own.
	mkdir "$out/tree"
	unshare --map-auto --map-root-user tar -x -p --numeric-owner --xattrs -C "$out/tree" \
		--exclude='./dev/*' -f "$out/tree.tar" 2>>"$log" || { tail -n 5 "$log" >&2; exit 1; }
	rm "$out/tree.tar"
fi
rm -f "$out/sources"
