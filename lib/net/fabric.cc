#include "lib/net/fabric.h"

#include "lib/net/layout.h"
#include "lib/net/machine_plugs.h"

#include <algorithm>
#include <atomic>
#include <mutex>

namespace attest::net {
namespace {

// Numbers come round again; whoever had the number before is long gone.
int next_driver() {
  static std::atomic<unsigned> drivers = 0;
  return static_cast<int>(drivers++ % (last_driver + 1));
}

// Of the kernel's interfaces; 0 is taken by all that are in none.
std::uint32_t group_of(int driver) { return 0xa77e0000u + static_cast<std::uint32_t>(driver); }

// A VLAN's addresses are the same in every driver, and the test process can be on one only.
struct TestPlaces {
  std::mutex mutex;
  std::set<int> taken;
};
TestPlaces& test_places() {
  static TestPlaces one;
  return one;
}

bool take_place(int vlan) {
  std::lock_guard hold(test_places().mutex);
  return test_places().taken.insert(vlan).second;
}

void free_place(int vlan) {
  std::lock_guard hold(test_places().mutex);
  test_places().taken.erase(vlan);
}

// Undoes what has half failed; the first failure is the one to tell of.
template <class Function>
void at_best(Function function) noexcept {
  try {
    function();
  } catch (const Error&) {
  }
}

Member member_of(const Plan& plan, std::string_view machine) {
  return machine == test_process ? test_process_node : plan.node(machine).number;
}

}  // namespace

Fabric::Fabric(asio::any_io_executor loop, Plan plan, std::map<std::string, Wiring> wirings,
               FabricSetup setup)
    : loop_(std::move(loop)), driver_(next_driver()), setup_(std::move(setup)) {
  extend(std::move(plan), wirings);
}

Fabric::~Fabric() {
  names_.reset();
  // All at once: each removal on its own would wait for the kernel.
  for (auto& [vlan, segment] : segments_) {
    segment->remove_group();
    break;
  }
  segments_.clear();
  uplinks_.clear();
  for (int vlan : test_places_) free_place(vlan);
}

void Fabric::extend(Plan plan, const std::map<std::string, Wiring>& wirings) {
  auto all = wirings_;
  for (auto& [name, wiring] : wirings) {
    plan.node(name);  // throws for a name that is none
    all[name] = wiring;
  }
  auto kernel = kernel_vlans(plan, all, setup_.realisation, setup_.own_network);
  plan_ = std::move(plan);
  wirings_ = std::move(all);
  kernel_vlans_ = std::move(kernel);
}

void Fabric::make_segment(int vlan) {
  SegmentSetup made{.vlan = vlan,
                    .group = group_of(driver_),
                    .kernel = kernel_vlans_.contains(vlan),
                    .seed = setup_.seed + static_cast<std::uint64_t>(vlan),
                    .say = setup_.say};
  bool ours = setup_.own_network && take_place(vlan);
  if (setup_.own_network) {
    made.bridge = bridge_name(driver_, vlan);
    if (ours)
      made.self = make_nic(vlan, test_process_node);
    else
      setup_.say("the test process is not on this driver's VLAN " + std::to_string(vlan) +
                 ": it is on the one of another driver, with the same addresses");
  }
  try {
    segments_.emplace(vlan, std::make_unique<Segment>(loop_, std::move(made)));
  } catch (...) {
    if (ours) free_place(vlan);
    throw;
  }
  if (ours) test_places_.insert(vlan);
}

// A switch for two, which no fault and no capture gets at: the machine, and its passt.
void Fabric::make_uplink(const std::string& machine, Member member) {
  SegmentSetup made{.vlan = 0, .group = group_of(driver_), .say = setup_.say};
  auto segment = std::make_unique<Segment>(loop_, std::move(made));
  if (wiring_of(wirings_, machine) == Wiring::stream)
    segment->listen_stream(path_of(0, member, "sock"), member);
  uplinks_.emplace(machine, std::move(segment));
}

void Fabric::start() {
  std::vector<int> made;
  std::vector<std::string> led_out;
  int current = 0;
  try {
    for (int vlan : plan_.vlans) {
      current = vlan;
      if (segments_.contains(vlan)) continue;
      made.push_back(vlan);
      make_segment(vlan);
    }
    for (auto& [name, node] : plan_.nodes)
      for (auto& nic : node.nics) {
        current = nic.vlan;
        listen_for(name, node.number, nic.vlan);
      }
    current = 0;
    for (auto& [name, node] : plan_.nodes) {
      if (!node.uplink || uplinks_.contains(name)) continue;
      make_uplink(name, node.number);
      led_out.push_back(name);
    }
  } catch (Error& error) {
    for (int undone : made) {
      segments_.erase(undone);
      if (test_places_.erase(undone)) free_place(undone);
      std::erase_if(listening_, [&](auto& place) { return std::get<0>(place) == undone; });
    }
    for (auto& name : led_out) uplinks_.erase(name);
    error.during(current == 0 ? "setting up the ways out"
                              : "setting up VLAN " + std::to_string(current));
    throw;
  }
  for (int vlan : made) apply_rules(vlan);
  set_names();
}

// Machines that join by a socket find it before they boot.
void Fabric::listen_for(const std::string& machine, Member member, int vlan) {
  auto wiring = wiring_of(wirings_, machine);
  if (wiring != Wiring::vde && (wiring != Wiring::stream || kernel_vlans_.contains(vlan))) return;
  if (!listening_.emplace(vlan, member, wiring).second) return;
  try {
    if (wiring == Wiring::vde)
      segment(vlan).listen_vde(path_of(vlan, member, "vde"), member);
    else
      segment(vlan).listen_stream(path_of(vlan, member, "sock"), member);
  } catch (...) {
    listening_.erase({vlan, member, wiring});
    throw;
  }
}

void Fabric::set_names() {
  if (!setup_.own_mounts || test_places_.empty()) return;
  std::vector<HostName> entries;
  for (auto& [name, node] : plan_.nodes)
    for (auto& nic : node.nics) {
      if (!test_places_.contains(nic.vlan)) continue;
      entries.emplace_back(nic.ipv4, name);
      entries.emplace_back(nic.ipv6, name);
      break;  // by the first VLAN on which we reach it
    }
  try {
    if (names_)
      names_->set(std::move(entries));
    else
      names_.emplace(setup_.work_dir, std::move(entries));
  } catch (const Error& e) {
    setup_.say("the names of machines do not resolve in the test process: " +
               std::string(e.what()));
  }
}

std::vector<NetworkAttachment> Fabric::attachments(std::string_view machine) const {
  std::vector<NetworkAttachment> result;
  auto& node = plan_.node(machine);
  auto nics = node.nics;
  if (node.uplink) nics.push_back(*node.uplink);
  for (auto& nic : nics) {
    NetworkAttachment attachment{
        .vlan = nic.vlan, .mac = nic.mac, .ipv4 = nic.ipv4, .ipv6 = nic.ipv6};
    switch (wiring_of(wirings_, machine)) {
      case Wiring::vde:
        attachment.vde = path_of(nic.vlan, node.number, "vde");
        break;
      case Wiring::stream:
        if (!kernel_vlans_.contains(nic.vlan)) {
          attachment.socket = path_of(nic.vlan, node.number, "sock");
          break;
        }
        [[fallthrough]];
      default:
        attachment.interface = interface_name(driver_, nic.vlan, node.number);
    }
    result.push_back(std::move(attachment));
  }
  return result;
}

std::shared_ptr<Plugs> Fabric::plugs(std::string_view machine) {
  int number = plan_.node(machine).number;
  return std::make_shared<MachinePlugs>(number, group_of(driver_),
                                        [this, name = std::string(machine)](int vlan) -> Segment& {
                                          return vlan == 0 ? uplink(name) : segment(vlan);
                                        });
}

Segment& Fabric::segment(int vlan) const {
  auto found = segments_.find(vlan);
  if (found == segments_.end())
    throw Error(Error::Kind::usage, "there is no VLAN " + std::to_string(vlan));
  return *found->second;
}

Segment& Fabric::uplink(std::string_view machine) const {
  auto found = uplinks_.find(machine);
  if (found == uplinks_.end())
    throw Error(Error::Kind::usage, "machine '" + std::string(machine) + "' has no uplink");
  return *found->second;
}

void Fabric::connect_uplink(std::string_view machine, base::Fd passt) {
  uplink(machine).join_stream(std::move(passt), test_process_node);
}

bool Fabric::has_uplink(std::string_view machine) const {
  return uplink(machine).has_port(test_process_node);
}

std::string Fabric::path_of(int vlan, Member member, std::string_view ending) const {
  return (setup_.work_dir /
          ("v" + std::to_string(vlan) + "n" + std::to_string(member) + "." + std::string(ending)))
      .string();
}

void Fabric::apply_rules(int vlan) {
  Rules rules;
  for (auto& [number, fault] : faults_) add_to(rules, fault, vlan);
  for (auto& [where, member] : unplugged_)
    if (where == vlan)
      for (Member other = 0; other < max_members; ++other) {
        rules.block(member, other);
        rules.block(other, member);
      }
  segment(vlan).set_rules(rules);
}

void Fabric::apply_rules_of(const FaultPlan& fault) {
  std::exception_ptr failure;
  for (auto& part : fault) try {
      apply_rules(part.vlan);
    } catch (const Error&) {
      if (!failure) failure = std::current_exception();
    }
  if (failure) std::rethrow_exception(failure);
}

int Fabric::add_fault(FaultPlan fault) {
  int number = ++last_fault_;
  auto& added = faults_.emplace(number, std::move(fault)).first->second;
  try {
    apply_rules_of(added);
  } catch (...) {
    auto removed = faults_.extract(number);
    at_best([&] { apply_rules_of(removed.mapped()); });
    throw;
  }
  return number;
}

void Fabric::remove_fault(int number) {
  auto found = faults_.extract(number);
  if (!found) return;
  try {
    apply_rules_of(found.mapped());
  } catch (...) {
    faults_.insert(std::move(found));
    throw;
  }
}

void Fabric::set_plugged(std::string_view machine, int vlan, bool plugged) {
  std::pair place(vlan, member_of(plan_, machine));
  const auto before = unplugged_;
  if (plugged ? unplugged_.erase(place) == 0 : !unplugged_.insert(place).second) return;
  try {
    apply_rules(vlan);
    segment(vlan).set_carrier(place.second, plugged);
  } catch (...) {
    unplugged_ = before;
    at_best([&] { apply_rules(vlan); });
    throw;
  }
}

LinkStats Fabric::stats(std::string_view machine, int vlan) const {
  return segment(vlan).stats(member_of(plan_, machine));
}

int Fabric::watch(int vlan, Watcher watcher) { return segment(vlan).watch(std::move(watcher)); }

void Fabric::unwatch(int vlan, int number) noexcept {
  auto found = segments_.find(vlan);
  if (found != segments_.end()) found->second->unwatch(number);
}

bool Fabric::reaches(int vlan) const { return test_places_.contains(vlan); }

bool Fabric::in_kernel(int vlan) const { return segment(vlan).in_kernel(); }

}  // namespace attest::net
