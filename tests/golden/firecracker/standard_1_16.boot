/usr/bin/firecracker
--api-sock
api.sock
--id
web
--log-path
firecracker.log
--level
Info
--metrics-path
firecracker.metrics

PUT /serial
{"serial_out_path":"console"}
PUT /machine-config
{"vcpu_count":1,"mem_size_mib":512}
PUT /boot-source
{"kernel_image_path":"/images/debian/vmlinux","initrd_path":"/run/attest/web/initrd","boot_args":"console=ttyS0 net.ifnames=0 panic=-1 reboot=k root=/dev/vda quiet"}
PUT /drives/root
{"drive_id":"root","path_on_host":"/images/debian/root.erofs","is_root_device":true,"is_read_only":true}
PUT /network-interfaces/vlan1
{"iface_id":"vlan1","host_dev_name":"at0v1n2","guest_mac":"52:54:00:12:01:02"}
PUT /vsock
{"guest_cid":3,"uds_path":"vsock"}
PUT /entropy
{}
PUT /actions
{"action_type":"InstanceStart"}
