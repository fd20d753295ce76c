// The interfaces of one machine: made in the kernel, and joined to their VLANs.
#pragma once
#include "attest/backend.h"
#include "lib/net/segment.h"

#include <cstdint>
#include <functional>

namespace attest::net {

/// See Plugs. Made by a Fabric, and used while that lives.
class MachinePlugs : public Plugs {
 public:
  using Segments = std::function<Segment&(int vlan)>;

  MachinePlugs(Member member, std::uint32_t group, Segments segments)
      : member_(member), group_(group), segments_(std::move(segments)) {}

  void plug_veth(const NetworkAttachment& nic, const std::string& guest_name, int netns) override;
  int open_tap(const NetworkAttachment& nic, bool vnet_header) override;
  void make_tap(const NetworkAttachment& nic) override;
  void unplug(const NetworkAttachment& nic) noexcept override;

 private:
  base::Fd tap(const NetworkAttachment& nic, bool persistent, bool vnet_header);

  Member member_;
  std::uint32_t group_;
  Segments segments_;
};

}  // namespace attest::net
