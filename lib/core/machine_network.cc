// A machine on its networks: addresses, cables, forwarded ports.
#include "lib/core/far_end.h"
#include "lib/core/machine_impl.h"
#include "lib/net/faults.h"

#include <chrono>

namespace attest {
namespace {

using namespace std::chrono_literals;
constexpr auto patience_with_a_connection = 30s;
constexpr auto patience_with_the_host = 20s;

void require_port(int port, int lowest, const char* whose) {
  if (port >= lowest && port <= 65535) return;
  throw Error(Error::Kind::usage, "a port of the " + std::string(whose) + " is " +
                                      std::to_string(lowest) + " to 65535, not " +
                                      std::to_string(port));
}

}  // namespace

Task<net::Nic> Machine::Impl::nic(int vlan) {
  const int found = net::vlan_of_link(fleet.plan, name, vlan);
  for (auto& one : fleet.plan.node(name).nics)
    if (one.vlan == found) co_return one;
  throw Error(Error::Kind::protocol, "a VLAN was found without a card on it");
}

Task<void> Machine::Impl::plug(int vlan, bool plugged) {
  co_await fleet.begin();
  std::vector<int> which{net::vlan_of_link(fleet.plan, name, vlan)};
  if (vlan == 0) {
    which.clear();
    for (auto& one : fleet.plan.node(name).nics) which.push_back(one.vlan);
  }
  auto lock = co_await links_.lock();
  if (ended_) throw Error(Error::Kind::usage, "its driver has ended");
  for (int one : which) {
    fleet.fabric->set_plugged(name, one, plugged);
    if (plugged)
      unplugged_.erase(one);
    else
      unplugged_.insert(one);
  }
  auto run = running_;
  if (run && run->linked) co_await tell_links(run, which, fleet.limit(timeouts.command));
}

Task<void> Machine::Impl::tell_links(std::shared_ptr<core::Running> run, std::vector<int> which,
                                     Deadline deadline) {
  auto* control = backend_->link_control();
  if (!control) co_return;
  for (int vlan : which) {
    if (run->doomed.is_set()) co_return;  // the next boot hears of it
    bool failed = false;
    try {
      co_await async::unless(core::Running::doom(run),
                             control->set_link(vlan, !unplugged_.contains(vlan), deadline));
    } catch (const Error&) {
      failed = true;
      if (!run->doomed.is_set()) throw;
    }
    if (failed) co_return;
  }
}

Task<void> Machine::Impl::tell_unplugged(std::shared_ptr<core::Running> run, Deadline deadline) {
  auto lock = co_await links_.lock();
  run->linked = true;
  std::vector<int> which(unplugged_.begin(), unplugged_.end());
  co_await tell_links(run, std::move(which), deadline);
}

Task<std::unique_ptr<core::FarEnd>> Machine::Impl::reach(int port) {
  auto run = running_;
  if (!run || !run->guest || run->doomed.is_set())
    throw Error(Error::Kind::guest, "the machine is down");
  auto deadline = fleet.limit(patience_with_a_connection);
  for (auto& one : fleet.plan.node(name).nics) {
    if (!fleet.fabric->reaches(one.vlan)) continue;
    auto ip = one.ipv4;
    co_return co_await core::reach_by_network(run, std::move(ip), port, deadline);
  }
  co_return co_await core::reach_from_inside(run, port, deadline);
}

Task<int> Machine::Impl::forward_port(int host_port, int guest_port) {
  require_port(host_port, 0, "host");
  require_port(guest_port, 1, "machine");
  if (!fleet.setup.outside)
    throw Error(Error::Kind::unsupported, "this driver was given no way to the host's network")
        .hint("make_driver() and attest::Test give one");
  co_await start();
  auto outside = fleet.setup.outside;
  std::optional<std::pair<Outside::Listener, int>> made;
  try {
    made = co_await outside->listen("127.0.0.1", host_port, fleet.limit(patience_with_the_host));
  } catch (Error& e) {
    if (host_port != 0) e.hint("0 picks a port that is free");
    throw;
  }
  if (ended_) throw Error(Error::Kind::usage, "its driver has ended");
  int port = made->second;
  auto say = [this, port, guest_port](const std::string& why) {
    fleet.setup.say(name, "port " + std::to_string(port) + " of the host: a connection to port " +
                              std::to_string(guest_port) + " was refused: " + why);
  };
  auto lead = [this, guest_port] { return reach(guest_port); };
  forwards_.push_back(
      std::make_unique<core::Forward>(fleet.loop.executor(), std::move(made->first), lead, say));
  co_return port;
}

Task<void> Machine::Impl::end_forwards() {
  auto all = std::exchange(forwards_, {});
  for (auto& one : all) co_await one->close();
}

std::string Machine::address(int vlan, Here here) const {
  return impl_->call(impl_->nic(vlan), here).ipv4;
}
std::string Machine::address6(int vlan, Here here) const {
  return impl_->call(impl_->nic(vlan), here).ipv6;
}
void Machine::block(int vlan, Here here) { impl_->call(impl_->plug(vlan, false), here); }
void Machine::unblock(int vlan, Here here) { impl_->call(impl_->plug(vlan, true), here); }
int Machine::forward_port(int host_port, int guest_port, Here here) {
  return impl_->call(impl_->forward_port(host_port, guest_port), here);
}

}  // namespace attest
