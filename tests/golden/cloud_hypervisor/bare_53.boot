/usr/bin/cloud-hypervisor
--api-socket
fd=3
--event-monitor
fd=4
--log-file
/run/attest/web/cloud-hypervisor.log

PUT /api/v1/vm.create
{"cpus":{"boot_vcpus":1,"max_vcpus":1},"memory":{"size":536870912,"thp":true},"payload":{"kernel":"/images/debian/vmlinux","cmdline":"console=ttyS0 net.ifnames=0 panic=-1 panic=0 root=/dev/vda quiet"},"rng":{"src":"/dev/urandom"},"serial":{"mode":"Socket","socket":"/run/attest/web/serial.sock"},"console":{"mode":"Off"},"vsock":{"cid":3,"socket":"/run/attest/web/vsock"},"pvpanic":true}
