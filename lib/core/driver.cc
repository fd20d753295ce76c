#include "attest/driver.h"

#include "attest/backend.h"
#include "lib/async/all.h"
#include "lib/base/text.h"
#include "lib/core/fleet.h"
#include "lib/core/machine_impl.h"

#include <map>
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

std::map<std::string, std::vector<int>> vlans_of(const Config& config) {
  std::map<std::string, std::vector<int>> vlans;
  for (auto& [name, machine] : config.machines) vlans[name] = machine.vlans;
  return vlans;
}

}  // namespace

Task<void> core::Fleet::begin() {
  auto lock = co_await beginning.lock();
  if (!end) end = limit(config.timeouts.global);
  if (!fabric) {
    std::set<std::string> vde;
    for (auto& [name, machine] : config.machines)
      if (!machine.start_script.empty()) vde.insert(name);
    fabric = std::make_unique<net::Fabric>(loop.executor(), plan, vde, setup.work_dir);
  }
  co_await fabric->start(limit(config.timeouts.boot));  // does nothing the second time
}

struct Driver::Impl {
  Impl(Config config, DriverSetup setup, net::Plan plan)
      : fleet(std::move(config), std::move(setup), std::move(plan)) {}

  // Each failure with its machine's name, in one Error.
  Task<void> start_all() {
    std::vector<Task<void>> boots;
    std::vector<std::string> names;
    for (auto& [name, entry] : machines) {
      boots.push_back(entry.second->start());
      names.push_back(name);
    }
    auto failures = co_await async::all(std::move(boots));
    std::vector<Error> errors;
    std::vector<std::string> failed;
    for (std::size_t i = 0; i < failures.size(); ++i) {
      if (!failures[i]) continue;
      try {
        std::rethrow_exception(failures[i]);
      } catch (const Error& e) {
        errors.push_back(e);
      } catch (const std::exception& e) {
        errors.emplace_back(Error::Kind::host, e.what());
      }
      failed.push_back(names[i]);
    }
    if (errors.empty()) co_return;
    if (errors.size() == 1) throw errors.front();
    Error joined(errors.front().kind(),
                 std::to_string(errors.size()) + " of " + std::to_string(names.size()) +
                     " machines did not start: '" + base::join(failed, "', '") + "'");
    for (std::size_t i = 0; i < errors.size(); ++i)
      joined.attach("machine '" + failed[i] + "'", errors[i].what());
    throw joined;
  }

  Task<void> close() {
    std::vector<Task<void>> ends;
    for (auto& [name, entry] : machines) ends.push_back(entry.second->close());
    co_await async::all(std::move(ends));
    fleet.fabric.reset();
  }

  core::Fleet fleet;
  // The Machine owns its Impl; the pointer beside it is for calls on the loop.
  std::map<std::string, std::pair<std::unique_ptr<Machine>, Machine::Impl*>, std::less<>> machines;
};

Driver::Driver(Config config, DriverSetup setup) {
  config.validate();
  for (auto& [name, machine] : config.machines)
    if (!setup.backends.contains(machine.backend))
      throw unknown("backend", machine.backend, keys_of(setup.backends))
          .during("reading machines." + name + ".backend");
  auto plan = net::make_plan(vlans_of(config), config.vlans);
  impl_ = std::make_unique<Impl>(std::move(config), std::move(setup), std::move(plan));
  for (auto& [name, machine] : impl_->fleet.config.machines) {
    auto inside = std::make_unique<Machine::Impl>(name, machine, impl_->fleet);
    auto* pointer = inside.get();
    impl_->machines.emplace(name, std::pair(std::make_unique<Machine>(std::move(inside)), pointer));
  }
}

Driver::~Driver() {
  impl_->fleet.calls.close();
  try {
    impl_->fleet.loop.run(impl_->close());
  } catch (const std::exception& e) {
    impl_->fleet.setup.say("", std::string("ending the machines failed: ") + e.what());
  }
  impl_->fleet.calls.wait_for_none();  // other threads' calls end with their machines
}

Machine& Driver::machine(std::string_view name, Here here) {
  auto found = impl_->machines.find(name);
  if (found == impl_->machines.end())
    throw unknown("machine", name, keys_of(impl_->machines)).at(here);
  return *found->second.first;
}

std::vector<Machine*> Driver::machines() {
  std::vector<Machine*> all;
  for (auto& [name, entry] : impl_->machines) all.push_back(entry.first.get());
  return all;
}

void Driver::start_all(Here here) {
  auto pass = impl_->fleet.calls.enter();
  try {
    impl_->fleet.loop.run(impl_->start_all());
  } catch (Error& e) {
    e.at(here);
    throw;
  }
}

const Config& Driver::config() const noexcept { return impl_->fleet.config; }

std::vector<Missing> Driver::missing() {
  std::vector<Missing> all;
  std::set<std::string> seen;
  for (auto& [name, machine] : impl_->fleet.config.machines) {
    auto& entry = impl_->fleet.setup.backends.find(machine.backend)->second;
    if (!entry.missing) continue;
    if (auto lack = entry.missing(machine); lack && seen.insert(lack->capability).second)
      all.push_back(std::move(*lack));
  }
  return all;
}

}  // namespace attest
