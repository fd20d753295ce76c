/usr/bin/cloud-hypervisor
--api-socket
fd=3
--event-monitor
fd=4
--log-file
/run/attest/web/cloud-hypervisor.log

PUT /api/v1/vm.create
{"cpus":{"boot_vcpus":1,"max_vcpus":1},"memory":{"size":0,"thp":true,"zones":[{"id":"memory","size":536870912,"file":"/run/attest/web/memory","shared":true}]},"payload":{"kernel":"/images/debian/vmlinux","cmdline":"console=ttyS0 net.ifnames=0 panic=-1 panic=0 root=/dev/vda quiet","initramfs":"/run/attest/web/initrd"},"disks":[{"id":"root","path":"/images/debian/root.erofs","readonly":true,"image_type":"Raw"}],"rng":{"src":"/dev/urandom"},"serial":{"mode":"Socket","socket":"/run/attest/web/serial.sock"},"console":{"mode":"Off"},"vsock":{"cid":3,"socket":"/run/attest/web/vsock"},"pvpanic":true}
PUT /api/v1/vm.add-net, with the TAP at0v1n2
{"id":"net1","mac":"52:54:00:12:01:02","num_queues":2}
