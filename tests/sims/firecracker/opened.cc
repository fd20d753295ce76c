// Opening what devices stand on, with the texts of what can go wrong.
#include "tests/sims/common/socket.h"
#include "tests/sims/firecracker/fault.h"
#include "tests/sims/firecracker/resources.h"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <cstring>
#include <system_error>

namespace attest::sims::firecracker {

base::Fd open_tap(const std::string& name) {
  const std::string step = "Open tap device failed: ";
  ifreq request{};
  if (name.size() >= sizeof request.ifr_name) throw Fault(step + "Invalid interface name");
  base::Fd fd(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!fd) throw Fault(step + "Couldn't open /dev/net/tun: " + os_error());
  std::memcpy(request.ifr_name, name.data(), name.size());
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  if (::ioctl(fd.get(), TUNSETIFF, &request) < 0)
    throw Fault(step + "Error while creating ifreq structure: " + os_error() +
                ". Invalid TUN/TAP Backend provided by " + name +
                ". Check our documentation on setting up the network devices.");
  int header = 12;
  if (::ioctl(fd.get(), TUNSETVNETHDRSZ, &header) < 0)
    throw Fault("Setting vnet header size failed: Error while setting size of the vnet header: " +
                os_error());
  return fd;
}

base::Fd open_drive(const json& config) {
  const std::string step = "Unable to create the virtio block device: ";
  if (config.contains("socket") || !config.contains("path_on_host"))
    throw Fault(step + "Invalid block config.");
  std::string path = config["path_on_host"];
  bool read_only = config.value("is_read_only", false);
  base::Fd fd(::open(path.c_str(), (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC));
  if (!fd)
    throw Fault(step + "Virtio backend error: Error manipulating the backing file: " + os_error() +
                " " + path);
  return fd;
}

base::Fd bind_vsock(const std::string& path) {
  try {
    return listen_new(path);
  } catch (const std::system_error& refused) {
    throw Fault(
        "Cannot create backend for vsock device: Error binding to the host-side Unix socket: " +
        os_error(refused.code().value()));
  }
}

}  // namespace attest::sims::firecracker
