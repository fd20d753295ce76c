#include "attest/driver.h"

#include "attest/backend.h"
#include "lib/async/all.h"
#include "lib/base/text.h"
#include "lib/core/failure.h"
#include "lib/core/fleet.h"
#include "lib/core/machine_impl.h"
#include "lib/core/network_capture.h"
#include "lib/core/uplink.h"
#include "lib/net/kernel/tap.h"
#include "lib/net/layout.h"

#include <algorithm>
#include <exception>
#include <map>
#include <mutex>
#include <random>
#include <set>

namespace attest {
namespace {

std::vector<std::string> keys_of(const auto& map) {
  std::vector<std::string> keys;
  for (auto& [key, value] : map) keys.push_back(key);
  return keys;
}

// "'x' is unknown" with what there is and the nearest of it.
Error unknown(const std::string& what, std::string_view name,
              const std::vector<std::string>& known) {
  Error error(Error::Kind::usage,
              "there is no " + what + " '" + std::string(name) +
                  "'; there are: " + (known.empty() ? "none" : base::join(known, ", ")));
  if (auto advice = base::did_you_mean(name, known); !advice.empty()) error.hint(advice);
  return error;
}

Wiring wiring_of(const DriverSetup& setup, const MachineConfig& machine) {
  auto entry = setup.backends.find(machine.backend);
  if (entry != setup.backends.end() && entry->second.wiring) return entry->second.wiring(machine);
  return machine.start_script.empty() ? Wiring::stream : Wiring::vde;
}

// Those that have network cards of ours.
std::vector<int> vlans_of(const DriverSetup& setup, const MachineConfig& machine) {
  return wiring_of(setup, machine) == Wiring::none ? std::vector<int>{} : machine.vlans;
}

std::map<std::string, std::vector<int>> vlans_of(const DriverSetup& setup, const Config& config) {
  std::map<std::string, std::vector<int>> vlans;
  for (auto& [name, machine] : config.machines) vlans[name] = vlans_of(setup, machine);
  return vlans;
}

std::map<std::string, Wiring> wirings_of(const DriverSetup& setup, const Config& config) {
  std::map<std::string, Wiring> wirings;
  for (auto& [name, machine] : config.machines) wirings[name] = wiring_of(setup, machine);
  return wirings;
}

}  // namespace

// What this host lacks for such a machine.
static std::vector<Missing> lacks(const DriverSetup& setup, const MachineConfig& machine) {
  std::vector<Missing> all;
  auto& missing = setup.backends.find(machine.backend)->second.missing;
  if (auto lack = missing ? missing(machine) : std::nullopt) all.push_back(std::move(*lack));
  if (core::has_uplink(machine, wiring_of(setup, machine)))
    if (auto lack = core::missing_for_uplink()) all.push_back(std::move(*lack));
  return all;
}

// What keeps this fleet from the TAPs that it needs; "" if nothing does.
static std::string why_no_taps(const core::Fleet& fleet) {
  auto& setup = fleet.setup;
  if (!setup.own_network) return "";  // the fabric refuses, in its own words
  auto wirings = wirings_of(setup, fleet.config);
  net::Wirings all(wirings.begin(), wirings.end());
  auto kernel = net::kernel_vlans(fleet.plan, all, fleet.config.network.realisation, true);
  return net::needs_taps(fleet.plan, all, kernel) ? net::why_no_tap() : "";
}

std::uint64_t core::random_seed() {
  std::random_device random;
  return std::max(random(), 1u);
}

Task<void> core::Fleet::begin() {
  auto lock = co_await beginning.lock();
  if (ended) throw Error(Error::Kind::usage, "its driver has ended");
  if (!end) end = limit(config.timeouts.global);
  if (!fabric) {
    net::FabricSetup made{.work_dir = setup.work_dir,
                          .own_network = setup.own_network,
                          .own_mounts = setup.own_mounts,
                          .realisation = config.network.realisation,
                          .seed = seed,
                          .say = [this](std::string_view line) { setup.say("", line); }};
    fabric = std::make_unique<net::Fabric>(loop.executor(), plan, wirings_of(setup, config),
                                           std::move(made));
  }
  fabric->start();  // does nothing the second time
  core::capture_all(*this);
}

namespace {

// One failure as it is; several with their machines' names, in one Error.
void throw_joined(const std::string& what,
                  const std::vector<std::pair<std::string, Machine::Impl*>>& all,
                  const std::vector<std::exception_ptr>& failures) {
  std::vector<Error> errors;
  std::vector<std::string> failed;
  for (std::size_t i = 0; i < failures.size(); ++i) {
    if (!failures[i]) continue;
    errors.push_back(core::error_of(failures[i]));
    failed.push_back(all[i].first);
  }
  if (errors.empty()) return;
  if (errors.size() == 1) throw errors.front();
  Error joined(errors.front().kind(), std::to_string(errors.size()) + " of " +
                                          std::to_string(all.size()) + " machines " + what + ": '" +
                                          base::join(failed, "', '") + "'");
  for (std::size_t i = 0; i < errors.size(); ++i)
    joined.attach("machine '" + failed[i] + "'", errors[i].what());
  throw joined;
}

// Throws Error{usage} unless there is such a backend.
void check_backend(const DriverSetup& setup, const std::string& name, const std::string& backend) {
  if (!setup.backends.contains(backend))
    throw unknown("backend", backend, keys_of(setup.backends))
        .during("reading machines." + name + ".backend");
}

}  // namespace

struct Driver::Impl {
  Impl(Config config, DriverSetup setup, net::Plan plan)
      : fleet(std::move(config), std::move(setup), std::move(plan)) {}

  using Inside = std::pair<std::string, Machine::Impl*>;

  // Counts as a call under way; an Error gets the place in the test.
  template <class Call>
  decltype(auto) at(std::source_location here, Call call) {
    try {
      auto pass = fleet.calls->enter();
      return call();
    } catch (Error& e) {
      e.at(here);
      throw;
    }
  }

  std::vector<Inside> everyone() {
    std::lock_guard hold(mutex);
    std::vector<Inside> all;
    for (auto& [name, entry] : machines) all.emplace_back(name, entry.second);
    return all;
  }

  static Task<void> start_all(std::vector<Inside> all) {
    std::vector<Task<void>> boots;
    for (auto& [name, machine] : all) boots.push_back(machine->start());
    auto failures = co_await async::all(std::move(boots));
    throw_joined("did not start", all, failures);
  }

  static Task<void> join_all(std::vector<Inside> all, std::chrono::milliseconds limit) {
    std::vector<Task<void>> ends;
    for (auto& [name, machine] : all) ends.push_back(machine->wait_for_shutdown(limit));
    auto failures = co_await async::all(std::move(ends));
    throw_joined("did not power off by themselves", all, failures);
  }

  // On the loop: the networks are there.
  Task<void> plug_in(std::string name, MachineConfig config) {
    auto lock = co_await fleet.beginning.lock();
    if (fleet.ended) throw Error(Error::Kind::usage, "its driver has ended");
    auto plan = fleet.plan;
    net::add_machine(plan, name, vlans_of(fleet.setup, config));
    if (core::has_uplink(config, wiring_of(fleet.setup, config))) net::add_uplink(plan, name);
    if (fleet.fabric) {
      fleet.fabric->extend(plan, {{name, wiring_of(fleet.setup, config)}});
      try {
        fleet.fabric->start();
      } catch (...) {
        fleet.fabric->extend(fleet.plan, {});  // the others are to go on without it
        throw;
      }
      core::capture_all(fleet);
    }
    fleet.plan = std::move(plan);
    fleet.config.machines.emplace(std::move(name), std::move(config));
  }

  Machine& add(const std::string& name, const MachineConfig& config) {
    auto inside = std::make_unique<Machine::Impl>(name, config, fleet);
    auto* pointer = inside.get();
    auto made = std::make_unique<Machine>(std::move(inside));
    std::lock_guard hold(mutex);
    return *machines.emplace(name, std::pair(std::move(made), pointer)).first->second.first;
  }

  Task<void> close() {
    std::vector<Task<void>> ends;
    for (auto& [name, machine] : everyone()) ends.push_back(machine->close());
    co_await async::all(std::move(ends));
    auto lock = co_await fleet.beginning.lock();
    fleet.ended = true;
    if (fleet.fabric) core::end_captures(fleet);
    core::end_faults(fleet);
    fleet.fabric.reset();
  }

  core::Fleet fleet;
  std::mutex mutex;     // of `machines`; entries never go
  std::mutex creating;  // one create_machine() at a time
  // The Machine owns its Impl; the pointer beside it is for calls on the loop.
  std::map<std::string, std::pair<std::unique_ptr<Machine>, Machine::Impl*>, std::less<>> machines;
};

Driver::Driver(Config config, DriverSetup setup) {
  config.validate();
  for (auto& [name, machine] : config.machines) check_backend(setup, name, machine.backend);
  auto plan = net::make_plan(vlans_of(setup, config), config.vlans);
  for (auto& [name, machine] : config.machines)
    if (core::has_uplink(machine, wiring_of(setup, machine))) net::add_uplink(plan, name);
  impl_ = std::make_unique<Impl>(std::move(config), std::move(setup), std::move(plan));
  for (auto& [name, machine] : impl_->fleet.config.machines) impl_->add(name, machine);
}

Driver::~Driver() {
  impl_->fleet.calls->close();
  try {
    impl_->fleet.failed = std::uncaught_exceptions() > 0 || impl_->fleet.setup.failed();
    impl_->fleet.loop.run(impl_->close());
  } catch (const std::exception& e) {
    impl_->fleet.setup.say("", std::string("ending the machines failed: ") + e.what());
  }
  impl_->fleet.calls->wait_for_none();  // other threads' calls end with their machines
}

Machine& Driver::machine(std::string_view name, Here here) {
  std::lock_guard hold(impl_->mutex);
  auto found = impl_->machines.find(name);
  if (found == impl_->machines.end())
    throw unknown("machine", name, keys_of(impl_->machines)).at(here);
  return *found->second.first;
}

std::vector<Machine*> Driver::machines() {
  std::lock_guard hold(impl_->mutex);
  std::vector<Machine*> all;
  for (auto& [name, entry] : impl_->machines) all.push_back(entry.first.get());
  return all;
}

void Driver::start_all(Here here) {
  impl_->at(here, [&] { impl_->fleet.loop.run(Impl::start_all(impl_->everyone())); });
}

void Driver::join_all(WaitOptions options, Here here) {
  auto limit = options.timeout.value_or(impl_->fleet.config.timeouts.wait);
  impl_->at(here, [&] { impl_->fleet.loop.run(Impl::join_all(impl_->everyone(), limit)); });
}

Machine& Driver::create_machine(std::string name, MachineConfig config, Here here) {
  return impl_->at(here, [&]() -> Machine& {
    std::lock_guard one(impl_->creating);
    auto& setup = impl_->fleet.setup;
    Config changed = impl_->fleet.config;
    if (!changed.machines.emplace(name, config).second)
      throw Error(Error::Kind::usage, "there is a machine '" + name + "' already");
    changed.validate();
    check_backend(setup, name, config.backend);
    for (auto& lack : lacks(setup, config))
      throw Error(Error::Kind::unsupported, lack.text).during("creating machine '" + name + "'");
    impl_->fleet.loop.run(impl_->plug_in(name, config));
    return impl_->add(name, config);
  });
}

Network Driver::network() { return Network(impl_->fleet); }

void Driver::serial_stdout_on() { impl_->fleet.serial_stdout = true; }
void Driver::serial_stdout_off() { impl_->fleet.serial_stdout = false; }

HeldCondition Driver::hold(const PollingCondition& condition) {
  impl_->fleet.polling->add(condition.impl());
  auto release = [polling = impl_->fleet.polling, held = condition.impl()](void*) {
    polling->remove(held);
  };
  return HeldCondition(std::shared_ptr<void>(nullptr, release));
}

const Config& Driver::config() const noexcept { return impl_->fleet.config; }

std::vector<Missing> Driver::missing() {
  std::vector<Missing> all;
  std::set<std::string> seen;
  for (auto& [name, machine] : impl_->fleet.config.machines) {
    for (auto& lack : lacks(impl_->fleet.setup, machine))
      if (seen.insert(lack.capability).second) all.push_back(std::move(lack));
  }
  if (auto why = why_no_taps(impl_->fleet); !why.empty()) all.push_back({"tun", std::move(why)});
  return all;
}

}  // namespace attest
