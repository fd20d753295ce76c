/usr/bin/firecracker
--api-sock
api.sock
--id
web
--log-path
firecracker.log
--level
Debug
--metrics-path
firecracker.metrics
--no-seccomp

PUT /serial
{"serial_out_path":"console"}
PUT /machine-config
{"vcpu_count":4,"mem_size_mib":1024,"smt":true,"track_dirty_pages":true,"cpu_template":"T2","huge_pages":"2M"}
PUT /boot-source
{"kernel_image_path":"/images/debian/vmlinux","initrd_path":"/run/attest/web/initrd","boot_args":"console=ttyS0 net.ifnames=0 panic=-1 reboot=k root=/dev/vda quiet"}
PUT /drives/root
{"drive_id":"root","path_on_host":"/images/debian/root.erofs","is_root_device":true,"is_read_only":true,"io_engine":"Async","cache_type":"Writeback","rate_limiter":{"bandwidth":{"size":4096000000,"refill_time":1000},"ops":{"size":500,"refill_time":1000}}}
PUT /drives/store
{"drive_id":"store","path_on_host":"/images/debian/store.erofs","is_root_device":false,"is_read_only":true,"io_engine":"Async","cache_type":"Writeback","rate_limiter":{"bandwidth":{"size":4096000000,"refill_time":1000},"ops":{"size":500,"refill_time":1000}}}
PUT /drives/disk2
{"drive_id":"disk2","path_on_host":"disk2.raw","is_root_device":false,"is_read_only":false,"io_engine":"Async","cache_type":"Writeback","rate_limiter":{"bandwidth":{"size":4096000000,"refill_time":1000},"ops":{"size":500,"refill_time":1000}}}
PUT /network-interfaces/vlan1
{"iface_id":"vlan1","host_dev_name":"at0v1n2","guest_mac":"52:54:00:12:01:02","rx_rate_limiter":{"bandwidth":{"size":1024000,"refill_time":1000}},"tx_rate_limiter":{"bandwidth":{"size":1024000,"refill_time":1000}}}
PUT /network-interfaces/vlan2
{"iface_id":"vlan2","host_dev_name":"at0v7n2","guest_mac":"52:54:00:12:07:02","rx_rate_limiter":{"bandwidth":{"size":1024000,"refill_time":1000}},"tx_rate_limiter":{"bandwidth":{"size":1024000,"refill_time":1000}}}
PUT /vsock
{"guest_cid":3,"uds_path":"vsock"}
PUT /entropy
{}
PUT /balloon
{"amount_mib":64,"deflate_on_oom":false}
PUT /actions
{"action_type":"InstanceStart"}
