#!/bin/sh
# Runs every test there is: installs what they need (Debian 12), builds, builds the default guest,
# runs the suites, the sanitizer builds, the fuzz targets and the checks of the text. Run it again
# at will: what is current is not built again. The parts are in tests/stages.sh.
set -eu

usage() {
	cat <<'USAGE'
usage: sh tests/run.sh [--quick] [--no-install]
  --quick       only the suites that need no guest (tree, unit, contract)
  --no-install  install nothing, and skip what cannot run without it
environment:
  ATTEST_TEST_BUILD  prefix of the build directories (default: build-tests in the checkout)
  XDG_CACHE_HOME     the compiler cache and the fuzz corpora are in its attest/ (default: ~/.cache)
The last line says 'N passed, N failed, N skipped'; exit code 0 only if nothing failed.
USAGE
}

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
. tools/steps.sh
. tools/packages.sh
. tests/stages.sh

quick='' install=yes
for word in "$@"; do
	case $word in
		--quick) quick=yes ;;
		--no-install) install= ;;
		-h | --help) usage; exit 0 ;;
		*) usage >&2; exit 2 ;;
	esac
done

# shellcheck disable=SC2086  # lists of packages are split into words on purpose
if [ "$install" ] && on_debian_12; then
	if [ "$quick" ]; then
		install_packages $packages_build python3
	else
		install_packages $packages_build $packages_run $packages_guest $packages_tests
	fi
elif [ "$install" ]; then
	stop 2 "this is not Debian 12, so nothing is installed here. $packages_in_words" \
		"With that in place: sh tests/run.sh --no-install"
fi

build=${ATTEST_TEST_BUILD:-$root/build-tests}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/attest
results=$build.results
rm -rf "$results"
mkdir -p "$results" "$cache"
: >"$results/cases.tsv"
# Another checkout of the same sources finds the same objects.
export CCACHE_DIR="${CCACHE_DIR:-$cache/ccache}" CCACHE_BASEDIR="$root" CCACHE_NOHASHDIR=1

if [ "$quick" ]; then
	suites plain '' tree unit contract
else
	suites plain '' tree contract container vm kvm vmm-api fault slow
	sanitizers
	fuzzing
	texts
fi
say "finished; logs are in $results"
python3 tests/tally.py "$results"
