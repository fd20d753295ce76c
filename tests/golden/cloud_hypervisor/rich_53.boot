/usr/bin/cloud-hypervisor
--api-socket
fd=3
--event-monitor
fd=4
--log-file
/run/attest/web/cloud-hypervisor.log
-v

PUT /api/v1/vm.create
{"cpus":{"boot_vcpus":2,"max_vcpus":4},"memory":{"size":1073741824,"thp":false,"hotplug_method":"Acpi","hotplug_size":3221225472,"hugepages":true,"hugepage_size":2097152},"payload":{"kernel":"/images/debian/vmlinux","cmdline":"console=ttyS0 net.ifnames=0 panic=-1 panic=0 root=/dev/vda quiet","initramfs":"/run/attest/web/initrd"},"disks":[{"id":"root","path":"/images/debian/root.erofs","readonly":true,"image_type":"Raw","rate_limiter_config":{"bandwidth":{"size":4096000000,"refill_time":1000},"ops":{"size":500,"refill_time":1000}}},{"id":"store","path":"/images/debian/store.erofs","readonly":true,"image_type":"Raw","rate_limiter_config":{"bandwidth":{"size":4096000000,"refill_time":1000},"ops":{"size":500,"refill_time":1000}}},{"id":"disk2","path":"/run/attest/web/disk2.raw","readonly":false,"image_type":"Raw","rate_limiter_config":{"bandwidth":{"size":4096000000,"refill_time":1000},"ops":{"size":500,"refill_time":1000}}}],"rng":{"src":"/dev/urandom"},"balloon":{"size":67108864,"deflate_on_oom":true},"pmem":[{"id":"pmem0","file":"/data/shared","discard_writes":true},{"id":"pmem1","file":"/data/own","discard_writes":false}],"serial":{"mode":"File","file":"/run/attest/web/serial"},"console":{"mode":"Off"},"vsock":{"cid":3,"socket":"/run/attest/web/vsock"},"pvpanic":true,"platform":{"oem_strings":["io.systemd.credential.binary:bytes=AP8=","io.systemd.credential.binary:token=czNjcmV0"]},"landlock_enable":true,"landlock_rules":[{"path":"/run/attest/web","access":"rw"},{"path":"/images/debian/vmlinux","access":"r"},{"path":"/run/attest/web/initrd","access":"r"},{"path":"/images/debian/root.erofs","access":"r"},{"path":"/images/debian/store.erofs","access":"r"},{"path":"/run/attest/web/disk2.raw","access":"rw"},{"path":"/data/shared","access":"r"},{"path":"/data/own","access":"rw"}]}
PUT /api/v1/vm.add-net
{"id":"net1","mac":"52:54:00:12:01:02","num_queues":2,"tap":"at0v1n2","rate_limiter_config":{"bandwidth":{"size":1024000,"refill_time":1000}}}
PUT /api/v1/vm.add-net
{"id":"net2","mac":"52:54:00:12:07:02","num_queues":2,"tap":"at0v7n2","rate_limiter_config":{"bandwidth":{"size":1024000,"refill_time":1000}}}
