#!/bin/sh
# From a fresh Debian 12 to two virtual machines that talk to each other. Run it again at will:
# what is current is neither installed nor built again.
set -eu

usage() {
	cat <<'USAGE'
usage: sh examples/quickstart.sh [--no-install] [BUILD_DIRECTORY] [-- FLAGS]
  --no-install      install nothing; on any distribution, if all it needs is there
  BUILD_DIRECTORY   default: build-quickstart
  FLAGS             for the test program: -- --attest_set=machines.server.memory_mb=1024
Exit codes: the test program's (0 passed, 1 failed, 77 skipped), 2 if something is missing here.
USAGE
}

root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/tools/steps.sh"
. "$root/tools/packages.sh"

install=yes build=$root/build-quickstart
while [ $# -gt 0 ]; do
	case $1 in
		--no-install) install= ;;
		-h | --help) usage; exit 0 ;;
		--) shift; break ;;
		-*) usage >&2; exit 2 ;;
		/*) build=$1 ;;
		*) build=$PWD/$1 ;;
	esac
	shift
done

# --- packages ---
guest_packages=
sh "$root/guest/debian/build.sh" --print-path >/dev/null 2>&1 || {
	guest_packages=$packages_guest
	[ "$(id -u)" = 0 ] || guest_packages="$guest_packages uidmap"
}
if [ "$install" ] && on_debian_12; then
	# shellcheck disable=SC2086  # lists of packages are split into words on purpose
	install_packages $packages_build $packages_run $guest_packages
elif [ "$install" ]; then
	stop 2 "this is not Debian 12, so nothing is installed here. $packages_in_words" \
		"With all of that in place: sh examples/quickstart.sh --no-install"
else
	for program in c++ meson ninja pkg-config qemu-system-x86_64; do
		command -v "$program" >/dev/null || stop 2 "'$program' is not installed. $packages_in_words"
	done
fi

# --- program ---
mkdir -p "$build"
if [ ! -f "$build/build.ninja" ]; then
	say "configuring $build"
	quietly 120 "$build/setup.log" meson setup "$build" "$root" -Dtests=false -Ddebug=false || exit 1
fi
say "building examples/two_machines and what it needs"
quietly 1800 "$build/ninja.log" ninja -C "$build" examples/two_machines || exit 1

# --- guest ---
say "building the default guest (Debian 12), unless it is current"
quietly 1800 "$build/guest.log" sh "$root/guest/debian/build.sh" || exit 1

# --- run ---
say "running $build/examples/two_machines"
status=0
"$build/examples/two_machines" "$@" || status=$?
say "finished with exit code $status"
exit $status
