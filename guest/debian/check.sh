#!/bin/sh
# check.sh [IMAGE_DIR]: boots the default guest under QEMU's emulation and looks at what a driver relies
# on. Prints one line a check; exit 0 passed, 1 failed, 77 skipped (with the reason). Bounded in time,
# and leaves no QEMU behind: ATTEST_CHECK_SECONDS (default 150) is for everything together.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
limit=${ATTEST_CHECK_SECONDS:-150}

if [ -z "${ATTEST_CHECK_INNER:-}" ]; then
	command -v qemu-system-x86_64 >/dev/null || {
		echo "SKIP: qemu-system-x86_64 is not installed (apt-get install qemu-system-x86)"
		exit 77
	}
	image=${1:-$(sh "$here/build.sh" --print-path)} || {
		echo "SKIP: no guest image; build it: $here/build.sh"
		exit 77
	}
	# One bound around all of it. timeout puts its child into a process group of its own and
	# signals that group, QEMU included.
	ATTEST_CHECK_INNER=1 timeout -k 5 "$limit" sh "$0" "$image" &
	inner=$!
	trap 'kill "$inner"' TERM INT HUP
	status=0
	wait "$inner" || status=$?
	[ $status != 124 ] || echo "FAIL: not done after $limit s"
	exit $status
fi

image=$1
dir=$(mktemp -d)
newline='
'
qemu=
port=virtconsole,chardev=sh
cleanup() {
	[ -z "$qemu" ] || kill "$qemu" 2>/dev/null || :
	rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 124' TERM INT HUP

fail() {
	echo "FAIL: $*"
	echo "--- console:"
	tail -n 40 "$dir/console.log" 2>/dev/null || :
	exit 1
}
pass() { echo "ok: $*"; }

# The string value of a key; image.json has one a line.
field() { sed -n "s/^ *\"$1\": \"\(.*\)\",*$/\1/p" "$image/image.json"; }

# The shell's chardev is a pair of FIFOs: this script talks to the guest with echo and read alone.
# Opened for reading and writing, an open never waits for QEMU. When QEMU ends, a last line says so,
# so that no read waits for a dead guest.
start() { # INITRD KERNEL_ARGUMENTS [QEMU_OPTION...]
	rm -f "$dir/sh.in" "$dir/sh.out"
	mkfifo "$dir/sh.in" "$dir/sh.out"
	exec 3<>"$dir/sh.in" 4<>"$dir/sh.out"
	initrd=$1 words=$2
	shift 2
	(
		qemu-system-x86_64 -M q35 -accel tcg -cpu qemu64 -m 512 -smp 1 \
			-nodefaults -no-user-config -display none -no-reboot \
			-kernel "$image/$(field kernel)" -initrd "$initrd" \
			-append "console=ttyS0 $(field cmdline) $words" \
			-device virtio-serial-pci -chardev "pipe,id=sh,path=$dir/sh" \
			-device "$port" \
			-device virtio-rng-pci -serial "file:$dir/console.log" "$@" \
			</dev/null >"$dir/qemu.log" 2>&1 3>&- 4>&- &
		child=$!
		trap 'kill "$child"' TERM
		status=0
		wait "$child" || status=$?
		echo "@gone" >&4
		exit $status
	) &
	qemu=$!
}
gone() { # QEMU's exit code, after it has ended
	status=0
	wait "$qemu" || status=$?
	qemu=
	[ $status = 0 ] || fail "QEMU ended with $status: $(cat "$dir/qemu.log")"
}
# Runs a command in the guest; its output is in $reply, without the last line end.
guest() {
	printf '{ %s\n} </dev/null 2>&1; status=$?; echo; echo "@end $status"\n' "$1" >&3
	reply=
	while IFS= read -r line <&4; do
		case $line in
			"@end "*) break ;;
			"@gone") fail "the guest ended during: $1" ;;
		esac
		reply=$reply$line$newline
	done
	# The "echo" ends a last line that the command left open; else it made an empty one.
	reply=${reply%"$newline"}
	reply=${reply%"$newline"}
	[ "$line" = "@end 0" ]
}

# A seed as a driver makes it: a cpio behind the image's own.
mkdir -p "$dir/root/attest/seed/etc" "$dir/root/attest/seed/root"
echo seeded-host >"$dir/root/attest/seed/etc/hostname"
echo "a  b" >"$dir/root/attest/seed/root/file"
chmod 640 "$dir/root/attest/seed/root/file"
(cd "$dir/root" && find attest | cpio --quiet -o -H newc -R 0:0) >"$dir/seed"
cat "$image/$(field initrd)" "$dir/seed" >"$dir/initrd"

start "$dir/initrd" "" \
	-drive "if=none,id=root,file=$image/$(field root),format=raw,readonly=on" \
	-device virtio-blk-pci,drive=root
IFS= read -r line <&4
[ "$line" = "Spawning backdoor root shell..." ] ||
	fail "the first line is not the banner but: $line $(cat "$dir/qemu.log")"
pass "the banner is the first line"
guest 'systemctl is-active basic.target' || fail "basic.target is $reply"
pass "basic.target is active"
guest 'echo "$USER $HOME $DISPLAY $PWD [$PAGER] $PATH"'
[ "$reply" = "root /root :0.0 /tmp [] /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" ] ||
	fail "the shell's environment is: $reply"
pass "the shell's environment"
guest 'hostname; cat /root/file; stat -c "%a %u %g" /root/file'
[ "$reply" = "seeded-host
a  b
640 0 0" ] || fail "the seed did not arrive: $reply"
pass "hostname, file and mode come from the seed"
guest 'systemctl is-system-running --wait' || fail "the system is $reply: $(guest 'systemctl --failed'; echo "$reply")"
pass "the system is running, no unit failed"
guest 'curl -fsS http://localhost/ && curl -fsS -g "http://[::1]/" >/dev/null' || fail "nginx: $reply"
pass "nginx answers on 127.0.0.1 and ::1"
guest 'read -r id </etc/machine-id; test ${#id} = 32' || fail "no machine id"
pass "a machine id was made up"
echo 'exit 3' >&3
IFS= read -r line <&4
[ "$line" = "Spawning backdoor root shell..." ] || fail "no second banner after the shell's end: $line"
guest 'echo again' || fail "the second shell does not answer"
pass "a dead shell comes back with a banner"
echo poweroff >&3
while IFS= read -r line <&4; do [ "$line" != "@gone" ] || break; done
gone
pass "poweroff ends QEMU"

# An agent, as a script: it only greets, by the port's name, and asks systemd what there is already.
mkdir -p "$dir/root/attest/seed/usr/lib/attest"
cat >"$dir/root/attest/seed/usr/lib/attest/attest-agent" <<'AGENT'
#!/bin/bash
for port in /sys/class/virtio-ports/*; do
	read -r name <"$port/name"
	[ "$name" != org.attest.agent.0 ] || exec >"/dev/${port##*/}"
done
echo "agent: sysinit $(systemctl is-active sysinit.target), $(ulimit -n) files"
systemctl is-system-running --wait >/dev/null
echo "then $(systemctl is-active sysinit.target), shell $(systemctl is-active backdoor.service)"
systemctl poweroff --no-block
sleep 1000
AGENT
chmod 755 "$dir/root/attest/seed/usr/lib/attest/attest-agent"
(cd "$dir/root" && find attest | cpio --quiet -o -H newc -R 0:0) >"$dir/seed"
cat "$image/$(field initrd)" "$dir/seed" >"$dir/initrd"
port="virtserialport,chardev=sh,name=org.attest.agent.0"
start "$dir/initrd" "" \
	-drive "if=none,id=root,file=$image/$(field root),format=raw,readonly=on" \
	-device virtio-blk-pci,drive=root
IFS= read -r line <&4
[ "$line" = "agent: sysinit inactive, 524288 files" ] || fail "the agent said: $line"
pass "an agent in the seed starts before sysinit.target"
IFS= read -r line <&4
[ "$line" = "then active, shell inactive" ] || fail "the agent said: $line"
pass "without a virtio console there is no shell"
IFS= read -r line <&4
gone
pass "the agent does not hold up a poweroff"
port=virtconsole,chardev=sh

start "$image/$(field initrd)" "attest.rootwait=1"
IFS= read -r line <&4
gone
grep -q '^attest-initrd: FATAL: no root drive /dev/vda' "$dir/console.log" || fail "no word of the missing drive"
pass "a missing root drive is said on the console and ends QEMU"
