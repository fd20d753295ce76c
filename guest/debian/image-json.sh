#!/bin/sh
# image-json.sh: prints the description of the image.
set -eu

# Why each word, in order of appearance:
#   rootfstype/root   read by our init (root=) and by people
#   quiet loglevel    each byte on an emulated serial port is an exit; warnings still come through
#   panic=-1          a dead guest ends at once instead of hanging (QEMU: with -no-reboot)
#   net.ifnames=0     eth0, eth1, ... in the order of the devices, whatever the machine type
#   no_timer_check    a slow host's late timer interrupts are no broken timer
#   cryptomgr.notests no self tests of algorithms
#   random.trust_cpu  entropy at once where the CPU has RDRAND
#   mitigations=off   the guest runs only what the test gives it
#   audit, lsm        no audit, no SELinux or AppArmor: nothing here uses them
cat <<JSON
{
  "format": 1,
  "name": "debian-12",
  "backends": ["qemu", "firecracker", "cloud_hypervisor", "nspawn"],
  "kernel": "vmlinuz",
  "vmlinux": "vmlinux",
  "initrd": "initrd",
  "root": "root.erofs",
  "root_format": "erofs",
  "tree": "tree",
  "cmdline": "root=/dev/vda panic=-1 quiet loglevel=4 net.ifnames=0 no_timer_check cryptomgr.notests random.trust_cpu=on mitigations=off audit=0 lsm=landlock,yama",
  "channel": "agent",
  "seed": "initrd"
}
JSON
