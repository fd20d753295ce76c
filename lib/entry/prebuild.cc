#include "attest/backend.h"
#include "attest/driver.h"
#include "attest/snapshot.h"
#include "lib/base/text.h"

namespace attest {
namespace {

std::string chosen(const Config& config, const std::string& wanted) {
  std::vector<std::string> names;
  for (auto& [name, machine] : config.machines) names.push_back(name);
  if (!wanted.empty() && config.machines.contains(wanted)) return wanted;
  if (wanted.empty() && names.size() == 1) return names.front();
  Error error(Error::Kind::usage,
              wanted.empty()
                  ? "the config has " + std::to_string(names.size()) +
                        " machines, and none is named; there are: " + base::join(names, ", ")
                  : "there is no machine '" + wanted + "'; there are: " + base::join(names, ", "));
  if (auto advice = base::did_you_mean(wanted, names); !wanted.empty() && !advice.empty())
    error.hint(advice);
  throw error;
}

}  // namespace

void build_snapshot(Config config, const SnapshotRequest& request) {
  config.validate();
  if (request.directory.empty())
    throw Error(Error::Kind::usage, "a snapshot needs a directory to be made in");
  auto name = chosen(config, request.machine);
  auto& machine = config.machines.at(name);
  // What would be restored is not what is asked for: this one boots.
  machine.firecracker.snapshot_path.clear();
  machine.cloud_hypervisor.snapshot_path.clear();
  auto driver = make_driver(std::move(config));
  for (auto& lack : driver->missing()) throw Error(Error::Kind::unsupported, lack.text);
  auto& booted = driver->machine(name);
  if (!request.unit.empty()) booted.wait_for_unit(request.unit);
  booted.snapshot_create(request.directory);
}

}  // namespace attest
