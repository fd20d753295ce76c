#!/bin/sh
# Proves tests/ctest.cmake on a small Meson project: ctest runs every test of Meson's list, with its
# words, environment and directory, keeps timeouts, takes 77 for a skip, and runs alone what must.
set -eu
source=$(cd "$(dirname "$0")/.." && pwd)/ctest.cmake
command -v ctest >/dev/null || {
	echo "ctest is not installed"
	exit 77
}
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
trap 'exit 1' HUP INT TERM
cp "$source" "$temp"
cat >"$temp/meson.build" <<'MESON'
project('small', version : '1')
configure_file(input : 'ctest.cmake', output : 'CTestTestfile.cmake',
  configuration : {'project' : 'small', 'build' : meson.current_build_dir()})
sh = find_program('sh')
test('words', sh, args : ['-c', 'test "$1" = "a b;c \"d\" [f]" && test "$X" = "1;2"', 'sh', 'a b;c "d" [f]'],
  env : {'X' : '1;2'}, suite : ['first', 'second'])
test('fails', sh, args : ['-c', 'exit 3'])
test('skips', sh, args : ['-c', 'exit 77'])
test('hangs', sh, args : ['-c', 'sleep 60'], timeout : 1)
test('alone', sh, args : ['-c', 'test -f here'], is_parallel : false, workdir : meson.current_source_dir())
MESON
: >"$temp/here"
meson setup "$temp/build" "$temp" >"$temp/log" 2>&1 || {
	cat "$temp/log"
	exit 1
}
ctest --test-dir "$temp/build" >"$temp/log" 2>&1 || :
ctest --test-dir "$temp/build" --show-only=json-v1 >"$temp/list"

bad=0
expect() {
	grep -q "$1" "$2" || {
		echo "not found: $1"
		bad=1
	}
}
expect '/5 Test #1: words .*Passed' "$temp/log"
expect '/5 Test #2: fails .*Failed' "$temp/log"
expect '/5 Test #3: skips .*Skipped' "$temp/log"
expect '/5 Test #4: hangs .*Timeout' "$temp/log"
expect '/5 Test #5: alone .*Passed' "$temp/log"
tr -d ' \n' <"$temp/list" >"$temp/flat"
expect '"name":"RUN_SERIAL","value":true' "$temp/flat"
expect '"name":"LABELS","value":\["first","second"\]' "$temp/flat"
[ $bad = 0 ] || cat "$temp/log" "$temp/list"
exit $bad
