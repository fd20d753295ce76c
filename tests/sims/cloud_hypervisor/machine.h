// A VmConfig as the machine behind the stand-in.
#pragma once
#include "tests/sims/cloud_hypervisor/refusal.h"
#include "tests/sims/common/guest_description.h"

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace attest::sims::cloud_hypervisor {

using Taps = std::map<std::string, std::shared_ptr<base::Fd>>;

/// Gives devices without an id one, as "_net0", and memory and CPUs their defaults. Throws Refusal
/// (status 400) for a body that is no VmConfig.
void complete(json& config);
/// Opens what it names: files, TAPs by name. `taps` are those that came as descriptors, by the id
/// of their card. Throws Refusal.
GuestDescription describe(const json& config, const Taps& taps);
/// The TAP of that name. Throws Refusal.
std::shared_ptr<base::Fd> open_tap(const std::string& name);
/// MiB of RAM in `config`, what was plugged in left out.
int memory_mb(const json& config);
/// The file that is the guest's whole RAM, if `config` has it in one; `shared` as it says.
std::string memory_zone_file(const json& config, bool& shared);

}  // namespace attest::sims::cloud_hypervisor
