# Sourced by examples/quickstart.sh and tests/run.sh: one line a step, with the time since the start.
# shellcheck shell=sh
steps_start=$(date +%s)

say() { printf '[%4d s] %s\n' $(($(date +%s) - steps_start)) "$*"; }

# stop CODE TEXT...: ends the script; further lines of TEXT are for what to do about it.
stop() {
	steps_code=$1
	shift
	printf '%s\n' "$@" >&2
	exit "$steps_code"
}

# quietly SECONDS LOG COMMAND...: runs COMMAND with its output in LOG, which is shown if it fails
# (its last 40 lines). Nothing it starts keeps our stdin, stdout or stderr.
quietly() {
	steps_limit=$1 steps_log=$2
	shift 2
	steps_status=0
	timeout -k 10 "$steps_limit" "$@" </dev/null >"$steps_log" 2>&1 || steps_status=$?
	[ $steps_status -eq 0 ] && return 0
	if [ $steps_status -eq 124 ]; then
		say "gave up after $steps_limit s: $*"
	else
		say "failed with exit code $steps_status: $*"
	fi
	tail -n 40 "$steps_log" | sed 's/^/    /'
	say "the whole log: $steps_log"
	return $steps_status
}
