// What of a config Firecracker cannot do, at all or in its version.
#include "attest/error.h"
#include "backends/firecracker/requests.h"
#include "backends/microvm/boot_files.h"

#include <filesystem>

namespace attest::firecracker {
namespace {

using Kind = Error::Kind;

constexpr int most_vcpus = 32;
constexpr std::uintmax_t pmem_step = 2 << 20;

Error refusal(Kind kind, const std::string& machine, const std::string& what) {
  return Error(kind, "machine '" + machine + "' (firecracker): " + what);
}

void check_pmem(const std::string& machine, const PmemConfig& pmem) {
  std::error_code failure;
  auto size = std::filesystem::file_size(pmem.path, failure);
  if (failure)
    throw refusal(
        Kind::usage, machine,
        "the file '" + pmem.path + "' of 'pmem_devices' cannot be used: " + failure.message())
        .hint("correct its path in the config");
  if (size == 0 || size % pmem_step)
    throw refusal(Kind::usage, machine,
                  "the file '" + pmem.path + "' of 'pmem_devices' has " + std::to_string(size) +
                      " bytes, which is no multiple of 2 MiB")
        .hint("make it larger: truncate -s %2M " + pmem.path);
}

}  // namespace

void check_config(const std::string& machine, const MachineConfig& config) {
  microvm::check_common_config(machine, config, "firecracker");
  auto& own = config.firecracker;
  if (config.vcpus > most_vcpus)
    throw refusal(Kind::unsupported, machine,
                  "'vcpus' is " + std::to_string(config.vcpus) + ", and Firecracker has at most 32")
        .hint("use fewer, or the cloud_hypervisor backend");
  if (own.smt && config.vcpus > 1 && config.vcpus % 2)
    throw refusal(
        Kind::usage, machine,
        "with 'smt' the number of 'vcpus' is 1 or even, and it is " + std::to_string(config.vcpus))
        .hint("change one of them");
  if (!own.huge_pages.empty() && own.huge_pages != "None" && config.memory_mb % 2)
    throw refusal(Kind::usage, machine,
                  "with 'huge_pages' the memory is a multiple of 2 MiB, and 'memory_mb' is " +
                      std::to_string(config.memory_mb))
        .hint("change one of them");
  if (own.balloon.amount_mb >= config.memory_mb)
    throw refusal(Kind::usage, machine,
                  "the balloon's 'amount_mb' (" + std::to_string(own.balloon.amount_mb) +
                      ") leaves nothing of 'memory_mb' (" + std::to_string(config.memory_mb) + ")")
        .hint("take less");
  for (auto& pmem : own.pmem_devices) check_pmem(machine, pmem);
  for (auto& word : config.extra_args)
    for (const char* ours :
         {"--api-sock", "--config-file", "--no-api", "--id", "--log-path", "--metrics-path"})
      if (word == ours || word.starts_with(std::string(ours) + "="))
        throw refusal(Kind::usage, machine,
                      "'extra_args' has '" + word + "', which attest gives Firecracker itself")
            .hint("leave it out");
}

void check_version(const std::string& machine, const MachineConfig& config,
                   const Version& version) {
  auto& own = config.firecracker;
  auto needs = [&](bool asked, const std::string& what, Version since) {
    if (!asked || version >= since) return;
    throw refusal(Kind::unsupported, machine,
                  what + " needs Firecracker " + std::to_string(since.major) + "." +
                      std::to_string(since.minor) + " or later, and this one is " + version.text())
        .hint("use a newer Firecracker, or leave it out");
  };
  needs(true, "this backend", oldest);
  needs(own.enable_pci, "'enable_pci'", {1, 13, 0});
  needs(!own.pmem_devices.empty(), "'pmem_devices'", {1, 14, 0});
  needs(own.huge_pages == "Transparent", "'huge_pages' \"Transparent\"", {1, 17, 0});
}

}  // namespace attest::firecracker
