// The networks of a driver as a test sees them. Each call is one hop onto the loop; what a fault
// consists of is in lib/net/faults.
#include "attest/network.h"

#include "lib/core/fault.h"
#include "lib/core/network_capture.h"

#include <functional>

namespace attest {
namespace {

using core::Fleet;

using Make = std::function<net::FaultPlan(const net::Plan&)>;

Task<std::shared_ptr<core::Applied>> apply(Fleet& fleet, Make make) {
  auto fault = std::make_shared<core::Applied>(make(fleet.plan));
  co_await core::put_on(fleet, fault);
  co_return fault;
}

Fault put_on(Fleet& fleet, std::source_location here, Make make) {
  auto fault = core::on_loop(fleet, here, apply(fleet, std::move(make)));
  return Fault(std::make_unique<Fault::Impl>(fleet.calls, fleet, std::move(fault)));
}

// `ask(plan)` on the loop: machines may be added meanwhile.
template <class Ask>
Task<std::invoke_result_t<Ask&, const net::Plan&>> with_plan(Fleet& fleet, Ask ask) {
  co_return ask(std::as_const(fleet.plan));
}

}  // namespace

Link::Link(Fleet& fleet, std::string machine, int vlan)
    : fleet_(&fleet), machine_(std::move(machine)), vlan_(vlan) {}

Fault Link::impair(const Impairment& impairment, Direction direction, Here here) {
  return put_on(*fleet_, here, [&](const net::Plan& plan) {
    return net::impair(plan, machine_, vlan_, impairment, direction);
  });
}

Fault Link::cut(Direction direction, Here here) {
  return put_on(*fleet_, here,
                [&](const net::Plan& plan) { return net::cut(plan, machine_, vlan_, direction); });
}

LinkStats Link::stats(Here here) const {
  auto ask = [this](net::Fabric& fabric) { return fabric.stats(machine_, vlan_); };
  return core::on_loop(*fleet_, here, core::with_fabric(*fleet_, ask));
}

Vlan::Vlan(Fleet& fleet, int number) : fleet_(&fleet), number_(number) {}

Capture Vlan::capture(const std::filesystem::path& path, Here here) {
  return core::capture(*fleet_, number_, path, here);
}

Link Network::link(std::string_view machine, int vlan, Here here) const {
  auto ask = [machine, vlan](const net::Plan& plan) {
    return net::vlan_of_link(plan, machine, vlan);
  };
  int found = core::on_loop(*fleet_, here, with_plan(*fleet_, ask));
  return {*fleet_, std::string(machine), found};
}

Vlan Network::vlan(int number, Here here) const {
  auto ask = [number](const net::Plan& plan) { return net::check_vlan(plan, number), number; };
  return {*fleet_, core::on_loop(*fleet_, here, with_plan(*fleet_, ask))};
}

Fault Network::partition(const Group& one, const Group& other, PartitionOptions options,
                         Here here) {
  return put_on(*fleet_, here,
                [&](const net::Plan& plan) { return net::partition(plan, one, other, options); });
}

Fault Network::isolate(std::string_view member, PartitionOptions options, Here here) {
  return put_on(*fleet_, here,
                [&](const net::Plan& plan) { return net::isolate(plan, member, options); });
}

Fault Network::majority_ring(const Group& members, PartitionOptions options, Here here) {
  return put_on(*fleet_, here,
                [&](const net::Plan& plan) { return net::majority_ring(plan, members, options); });
}

Fault Network::bridge(const Group& one, std::string_view middle, const Group& other,
                      PartitionOptions options, Here here) {
  return put_on(*fleet_, here, [&](const net::Plan& plan) {
    return net::bridge(plan, one, middle, other, options);
  });
}

std::uint64_t Network::seed() const noexcept { return fleet_->seed; }

}  // namespace attest
