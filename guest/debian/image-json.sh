#!/bin/sh
# image-json.sh VARIANT: prints the description of the image.
set -eu
variant=$1
here=$(cd "$(dirname "$0")" && pwd)

# Where a part of the root lies on a drive of its own, there is no one directory for containers.
containers=', "nspawn"' tree='
  "tree": "tree",' store= words=
if [ -e "$here/variants/$variant/store" ]; then
	mount=$(sed 's/#.*//; /^$/d' "$here/variants/$variant/store")
	containers= tree= words=" attest.store=/dev/vdb attest.store_mount=$mount" store="
  \"store\": \"store.erofs\",
  \"store_mount\": \"$mount\","
fi

# Why each word, in order of appearance:
#   rootfstype/root   read by our init (root=) and by people
#   quiet loglevel    each byte on an emulated serial port is an exit; warnings still come through
#   panic=-1          a dead guest ends at once instead of hanging (QEMU: with -no-reboot)
#   net.ifnames=0     eth0, eth1, ... in the order of the devices, whatever the machine type
#   no_timer_check    a slow host's late timer interrupts are no broken timer
#   cryptomgr.notests no self tests of algorithms
#   random.trust_cpu  entropy at once where the CPU has RDRAND
#   mitigations=off   the guest runs only what the test gives it
#   attest.store      the second drive, and where it goes
#   audit, lsm        no audit, no SELinux or AppArmor: nothing here uses them
cat <<JSON
{
  "format": 1,
  "name": "debian-12${variant:+-$variant}",
  "backends": ["qemu", "firecracker", "cloud_hypervisor"$containers],
  "kernel": "vmlinuz",
  "vmlinux": "vmlinux",
  "initrd": "initrd",
  "root": "root.erofs",
  "root_format": "erofs",$store$tree
  "cmdline": "root=/dev/vda panic=-1 quiet loglevel=4 net.ifnames=0 no_timer_check cryptomgr.notests random.trust_cpu=on mitigations=off audit=0 lsm=landlock,yama$words",
  "channel": "agent",
  "seed": "initrd"
}
JSON
