// Members of a VmConfig that both a new machine and a restored one get from their config.
#pragma once
#include "backends/cloud_hypervisor/requests.h"

#include <nlohmann/json.hpp>

#include <filesystem>

namespace attest::cloud_hypervisor {

using json = nlohmann::ordered_json;

json serial_part(const MachineConfig& config, const Launch& launch);
/// Every file that the monitor may open; `restored` is the directory of a snapshot, or empty.
json landlock_part(const MachineConfig& config, const Launch& launch,
                   const std::filesystem::path& restored);

}  // namespace attest::cloud_hypervisor
