#!/bin/sh
# Builds attest-agent for aarch64 with warnings as errors: aarch64.sh ROOT SOURCE... Runs its
# --version if qemu-aarch64-static is there. Exits with 77 where there is no such compiler.
set -eu
root=$1
shift
compiler=aarch64-linux-gnu-g++
if ! command -v "$compiler" >/dev/null; then
	echo "skipped: there is no $compiler here; on Debian: apt-get install g++-aarch64-linux-gnu"
	exit 77
fi
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
flags="-std=c++20 -Os -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Wmissing-declarations
	-Wno-missing-field-initializers -Werror -fno-exceptions -fno-rtti -ffunction-sections -fdata-sections
	-DATTEST_VERSION=\"aarch64-check\" -I$root"
export compiler flags build
# shellcheck disable=SC2016  # the inner sh expands it
printf '%s\n' "$@" | xargs -P 2 -I '{}' sh -c \
	'$compiler $flags -c "$1" -o "$build/$(echo "$1" | cksum | cut -d " " -f 1).o"' sh '{}'
$compiler -static -Wl,--gc-sections -s -o "$build/attest-agent" "$build"/*.o
size=$(wc -c <"$build/attest-agent")
echo "attest-agent for aarch64: $size bytes"
[ "$size" -lt 2000000 ]
if command -v qemu-aarch64-static >/dev/null; then
	[ "$(qemu-aarch64-static "$build/attest-agent" --version)" = "attest-agent aarch64-check" ]
else
	echo "not run: there is no qemu-aarch64-static here"
fi
