#!/bin/sh
# extract-vmlinux.sh BZIMAGE OUT
# Takes the ELF kernel out of a bzImage, for monitors that load only that. The place of the
# compressed kernel is in the x86 boot protocol's setup header.
set -eu
in=$1 out=$2

number() { # OFFSET SIZE: the little-endian number there
	od -An -v -tu"$2" -j"$1" -N"$2" "$in" | tr -d ' \n'
}
fail() {
	echo "extract-vmlinux: $in: $1" >&2
	exit 1
}

[ "$(dd if="$in" bs=1 skip=514 count=4 2>/dev/null)" = HdrS ] || fail "no x86 setup header"
setup_sects=$(number $((0x1f1)) 1)
# The protocol says that 0 means 4 here.
[ "$setup_sects" != 0 ] || setup_sects=4
start=$(((setup_sects + 1) * 512 + $(number $((0x248)) 4)))
length=$(number $((0x24c)) 4)

payload() { tail -c +$((start + 1)) "$in" | head -c "$length"; }
magic=$(payload | od -An -v -tx1 -N6 | tr -d ' \n')
# The kernel's build appends the uncompressed size (4 bytes) to most formats. The decompressors call
# that garbage and end with an error after they have written everything: so the result is judged,
# by its size and magic, not their exit code.
size=$(tail -c +$((start + length - 3)) "$in" | od -An -v -tu4 -N4 | tr -d ' \n')
case $magic in
	28b52ffd*) tool="zstd -dcq" ;;
	fd377a585a00) tool="xz -dcq --single-stream" ;;
	02214c18*) tool="lz4 -dcq" ;;
	1f8b*) tool="gzip -dcq" ;;
	7f454c46*) tool=cat ;;
	*) fail "unknown compression (magic $magic)" ;;
esac
command -v "${tool%% *}" >/dev/null || fail "needs the tool ${tool%% *}"
payload | $tool >"$out" 2>/dev/null || :
[ "$(od -An -v -tx1 -N4 "$out" | tr -d ' \n')" = 7f454c46 ] || fail "$tool did not give an ELF file"
[ "$tool" = cat ] || [ "$(stat -c %s "$out")" = "$size" ] ||
	fail "$tool gave $(stat -c %s "$out") bytes instead of $size"
