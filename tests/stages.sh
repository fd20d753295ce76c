# Sourced by tests/run.sh: the parts of a whole run. Each leaves what it found in $results, where
# tests/tally.py counts it, and never ends the run: one broken part must not hide the others.
# shellcheck shell=sh disable=SC2154,SC2086  # the variables are run.sh's; lists are split on purpose

record() { printf '%s\t%s\t%s\n' "$1" "$2" "${3:-}" >>"$results/cases.tsv"; }

# check SECONDS NAME COMMAND...: one case, passed if COMMAND succeeds.
check() {
	check_limit=$1 check_name=$2
	shift 2
	check_log=$results/$(printf %s "$check_name" | tr -c 'a-zA-Z0-9\n' -).log
	if quietly "$check_limit" "$check_log" "$@"; then
		record passed "$check_name"
	else
		record failed "$check_name" "see $check_log"
		return 1
	fi
}

# configure LABEL OPTIONS: the build directory $build[-LABEL]; nothing to do if it exists.
configure() {
	tree=$build
	[ "$1" = plain ] || tree=$build-$1
	[ -f "$tree/build.ninja" ] && return 0
	quietly 180 "$results/$1-setup.log" meson setup "$tree" $2 && return 0
	record failed "$1: meson setup" "see $results/$1-setup.log"
	return 1
}

run_under=
# run_tests LABEL SECONDS ARGUMENTS: `meson test ARGUMENTS` in $tree. Builds first what those need.
run_tests() {
	label=$1 limit=$2
	shift 2
	# Meson reads the report of each gtest program from here, even one that an earlier run left.
	rm -f "$tree"/*.xml "$tree/meson-logs/$label".*
	quietly "$limit" "$results/$label.log" $run_under meson test -C "$tree" --num-processes 2 \
		--print-errorlogs --logbase "$label" "$@" || :
	cp "$tree/meson-logs/$label".json "$tree/meson-logs/$label".junit.xml "$results" 2>/dev/null ||
		record failed "$label: meson test" "see $results/$label.log"
}

# programs_without SUITE...: what $tree must build so that only these suites have nothing to run.
programs_without() {
	meson introspect "$tree" --tests --targets -f | python3 -c '
import json, os, sys
data, tree, left_out = json.load(sys.stdin), sys.argv[1], {*sys.argv[2:]}
kept, dropped = set(), set()
for test in data["tests"]:
    suites = {suite.split(":")[-1] for suite in test["suite"]}
    (dropped if suites & left_out else kept).update([*test["cmd"][:1], *test["depends"]])
for target in data["targets"]:
    names = {target["id"], *target["filename"]}
    if target["type"] == "executable" and (names & kept or not names & dropped):
        print(os.path.relpath(target["filename"][0], tree))' "$tree" "$@"
}

# suites LABEL OPTIONS SUITE...: builds at -O0 and runs the suites. The unit tests of a whole run
# are built and run under sanitizers only: that shows all that a plain build does, and more.
suites() {
	say "building (-O0)"
	configure "$1" "$2" || return 0
	label=$1
	shift 2
	case " $* " in *' unit '*) programs=all ;; *) programs=$(programs_without unit) ;; esac
	if ! quietly 1500 "$results/$label-build.log" ninja -j "$(nproc)" -C "$tree" $programs; then
		record failed "$label: build" "see $results/$label-build.log"
		return 0
	fi
	case " $* " in *' vm '* | *' container '*) guest ;; esac
	say "running the suites: $*"
	chosen=
	for suite in "$@"; do chosen="$chosen --suite $suite"; done
	run_tests "$label" 2400 $chosen
}

guest() {
	say "building the default guest (Debian 12) and its variants, unless they are current"
	check 1500 "guest: build" sh guest/debian/build.sh || :
	for variant in split-store x11; do
		check 1500 "guest: build $variant" sh guest/debian/build.sh --variant $variant || :
	done
}

# tests_named NAME...: the tests of $tree that have one of these names or suites, one a line.
tests_named() {
	meson introspect "$tree" --tests | python3 -c '
import json, sys
for test in json.load(sys.stdin):
    if {test["name"], *(suite.split(":")[-1] for suite in test["suite"])} & {*sys.argv[1:]}:
        print(test["name"])' "$@"
}

# sanitize LABEL KIND NAME...: builds and runs those tests, by name or suite, under sanitizers.
sanitize() {
	say "sanitizers: $2"
	# Lines in reports are enough; whole debug information costs a fifth of the time.
	configure "$1" "-Db_sanitize=$2 -Db_lundef=false -Ddebug=false -Dcpp_args=-g1" || return 0
	label=$1
	shift 2
	tests_named "$@" >"$results/$label.tests"
	set --
	while IFS= read -r name; do set -- "$@" "$name"; done <"$results/$label.tests"
	[ $# -gt 0 ] || { record skipped "$label" "none of its tests are built here"; return 0; }
	# GCC 12's thread sanitizer gives up where the kernel spreads mappings wider than it knows.
	if [ "$label" = tsan ] && setarch -R true 2>/dev/null; then run_under='setarch -R'; fi
	run_tests "$label" 1500 --timeout-multiplier 4 "$@"
	run_under=
}

sanitizers() {
	export ASAN_OPTIONS=detect_stack_use_after_return=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
	export TSAN_OPTIONS=suppressions=$root/tests/tsan.supp
	export LSAN_OPTIONS=suppressions=$root/tests/lsan.supp:print_suppressions=0
	sanitize asan address,undefined unit contract
	# What has threads: the loop, and the public API from several of them.
	sanitize tsan thread 'unit async' 'unit report' 'unit core' 'contract loopback'
}

fuzzing() {
	say "fuzz targets, 10 s each"
	command -v clang++-19 >/dev/null || { record skipped "fuzz targets" "clang-19 is not installed"; return 0; }
	CXX=clang++-19 configure fuzz "-Dfuzz=true -Dtests=false -Db_sanitize=address,undefined
		-Db_lundef=false -Doptimization=1" || return 0
	if ! quietly 900 "$results/fuzz-build.log" ninja -j "$(nproc)" -C "$tree" fuzz; then
		record failed "fuzz: build" "see $results/fuzz-build.log"
		return 0
	fi
	for program in "$tree"/tests/fuzz/fuzz_*; do
		if [ -d "$program" ] || [ ! -x "$program" ]; then continue; fi
		name=${program##*/fuzz_}
		corpus=$cache/fuzz/$name
		mkdir -p "$corpus"
		seeds=tests/fuzz/corpus/$name
		[ -d "$seeds" ] || seeds=
		# What an agent in a hostile guest may send gets more time than the rest.
		seconds=10
		[ "$name" != agent ] || seconds=30
		check 90 "fuzz $name" "$program" -max_total_time=$seconds -timeout=5 -rss_limit_mb=2048 \
			-artifact_prefix="$results/fuzz-$name-" "$corpus" $seeds || :
	done
}

# changed_files: sources that differ from origin/main; on main itself, those of the last commits.
changed_files() {
	base=$(git merge-base HEAD origin/main 2>/dev/null || :)
	[ -n "$base" ] && [ "$base" != "$(git rev-parse HEAD)" ] || base=$(git rev-list HEAD | sed -n 6p)
	[ -n "$base" ] || base=$(git rev-list --max-parents=0 HEAD | tail -n 1)
	git diff --name-only --diff-filter=d "$base" -- '*.h' '*.cc'
}

texts() {
	if ! git rev-parse --git-dir >/dev/null 2>&1; then
		record skipped "clang-format, clang-tidy" "not a git checkout, so nothing says what has changed"
		return 0
	fi
	changed_files >"$results/changed"
	if ! command -v clang-format-19 >/dev/null || ! command -v clang-tidy-19 >/dev/null; then
		record skipped "clang-format, clang-tidy" "not installed in version 19"
		return 0
	fi
	say "clang-format on $(wc -l <"$results/changed") changed files"
	check 60 "clang-format" xargs -r -a "$results/changed" clang-format-19 --dry-run --Werror || :
	# A file takes 5 to 15 s: the 12 last changed bound a run, and headers come with their sources.
	grep -E '^(lib|backends|tools|guest)/.*\.cc$' "$results/changed" | head -n 12 >"$results/tidy" || :
	say "clang-tidy on $(wc -l <"$results/tidy") of them"
	check 300 "clang-tidy" xargs -r -a "$results/tidy" -n 2 -P 2 clang-tidy-19 -p "$build" --quiet || :
}
