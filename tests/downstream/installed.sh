#!/bin/sh
# installed.sh BUILD: installs BUILD below a temporary DESTDIR, then builds tests/downstream/project
# with CMake and by hand with pkg-config, and runs both. Skips (77) without cmake.
set -eu
build=$1
project=$(cd "$(dirname "$0")/project" && pwd)
command -v cmake >/dev/null || {
	echo "cmake is not installed"
	exit 77
}
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
trap 'exit 1' HUP INT TERM

# A prefix that the project has not been told: what is installed must find itself.
DESTDIR=$temp/root meson install -C "$build" --no-rebuild --quiet
pc=$(find "$temp/root" -name attest-gtest.pc)
[ -n "$pc" ] || {
	echo "attest-gtest.pc was not installed"
	exit 1
}
package=$(find "$temp/root" -name attestConfig.cmake)

echo "== CMake"
cmake -S "$project" -B "$temp/cmake" -G Ninja -DCMAKE_BUILD_TYPE=Debug -Dattest_DIR="${package%/*}"
cmake --build "$temp/cmake"
ctest --test-dir "$temp/cmake" --output-on-failure

echo "== pkg-config"
export PKG_CONFIG_PATH="${pc%/*}"
# shellcheck disable=SC2046  # flags are words
c++ -std=c++20 -o "$temp/plain" "$project/plain.cc" $(pkg-config --cflags --libs attest)
"$temp/plain"
# shellcheck disable=SC2046
c++ -std=c++20 -o "$temp/fixture" "$project/fixture.cc" $(pkg-config --cflags --libs attest-gtest)
"$temp/fixture" --attest_config="$project/machines.json"

echo "== nothing of the inside came along"
leaked=$(find "$temp/root" -name '*.h' -not -path '*/include/attest/*')
[ -z "$leaked" ] || {
	echo "$leaked"
	exit 1
}
