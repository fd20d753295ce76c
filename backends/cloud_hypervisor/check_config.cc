// What of a config Cloud Hypervisor cannot do, at all or in its version.
#include "attest/error.h"
#include "backends/cloud_hypervisor/requests.h"
#include "backends/microvm/boot_files.h"

#include <algorithm>
#include <array>

namespace attest::cloud_hypervisor {
namespace {

using Kind = Error::Kind;

constexpr int most_vcpus = 254;
constexpr int memory_step_mb = 128;  // what ACPI plugs in at once
constexpr std::uintmax_t pmem_step = 2 << 20;

Error refusal(Kind kind, const std::string& machine, const std::string& what) {
  return Error(kind, "machine '" + machine + "' (cloud_hypervisor): " + what);
}

std::string number(std::int64_t value) { return std::to_string(value); }

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

void check_limits(const std::string& machine, const MachineConfig& config) {
  auto& own = config.cloud_hypervisor;
  if (std::max(config.vcpus, own.max_vcpus) > most_vcpus)
    throw refusal(Kind::unsupported, machine, "it can have at most 254 processors")
        .hint("lower 'vcpus' and 'max_vcpus'");
  if (own.max_vcpus && own.max_vcpus < config.vcpus)
    throw refusal(Kind::usage, machine,
                  "'max_vcpus' (" + number(own.max_vcpus) + ") is below 'vcpus' (" +
                      number(config.vcpus) + ")")
        .hint("raise it, or leave it out if the machine is not resized");
  if (own.max_memory_mb && own.max_memory_mb < config.memory_mb)
    throw refusal(Kind::usage, machine,
                  "'max_memory_mb' (" + number(own.max_memory_mb) + ") is below 'memory_mb' (" +
                      number(config.memory_mb) + ")")
        .hint("raise it, or leave it out if the machine is not resized");
  if (own.max_memory_mb && (own.max_memory_mb - config.memory_mb) % memory_step_mb)
    throw refusal(Kind::usage, machine,
                  "memory is plugged in by 128 MiB, and between 'memory_mb' (" +
                      number(config.memory_mb) + ") and 'max_memory_mb' (" +
                      number(own.max_memory_mb) + ") is no multiple of that")
        .hint("change one of them");
  if (own.balloon.amount_mb >= config.memory_mb)
    throw refusal(Kind::usage, machine,
                  "the balloon's 'amount_mb' (" + number(own.balloon.amount_mb) +
                      ") leaves nothing of 'memory_mb' (" + number(config.memory_mb) + ")")
        .hint("take less");
}

void check_pages(const std::string& machine, const MachineConfig& config) {
  auto& own = config.cloud_hypervisor;
  int size = own.huge_page_size_kb;
  if (size && !own.huge_pages)
    throw refusal(Kind::usage, machine, "'huge_page_size_kb' is given without 'huge_pages'")
        .hint("set huge_pages, or leave the size out");
  if (size && (size < 2048 || size & (size - 1)))
    throw refusal(Kind::usage, machine,
                  "'huge_page_size_kb' is " + number(size) + ", which is no size of huge pages")
        .hint("use 2048 or 1048576");
  if (own.huge_pages && std::int64_t(config.memory_mb) * 1024 % (size ? size : 2048))
    throw refusal(Kind::usage, machine,
                  "'memory_mb' (" + number(config.memory_mb) + ") is no multiple of a huge page")
        .hint("change one of them");
}

void check_map(const std::string& machine, const MachineConfig& config) {
  auto& own = config.cloud_hypervisor;
  if (own.restore != "map") return;
  for (auto [key, given] : {std::pair{"max_memory_mb", own.max_memory_mb > config.memory_mb},
                            std::pair{"huge_pages", own.huge_pages}})
    if (given)
      throw refusal(Kind::unsupported, machine,
                    std::string("'restore' \"map\" keeps the memory in one file, which does not go "
                                "with '") +
                        key + "'")
          .hint("leave one of them out");
}

void check_arguments(const std::string& machine, const MachineConfig& config) {
  constexpr std::array ours{"--api-socket", "--event-monitor", "--log-file", "--no-shutdown"};
  constexpr std::array parts{"--kernel",   "--firmware", "--cmdline", "--initramfs", "--cpus",
                             "--memory",   "--disk",     "--net",     "--vsock",     "--serial",
                             "--console",  "--pmem",     "--rng",     "--balloon",   "--platform",
                             "--landlock", "--restore",  "--pvpanic"};
  for (auto& word : config.extra_args) {
    auto is = [&](const char* option) {
      return word == option || word.starts_with(std::string(option) + "=");
    };
    if (std::ranges::any_of(ours, is))
      throw refusal(Kind::usage, machine,
                    "'extra_args' has '" + word + "', which attest decides itself")
          .hint("leave it out");
    if (std::ranges::any_of(parts, is))
      throw refusal(Kind::unsupported, machine,
                    "'extra_args' has '" + word +
                        "': with parts of a machine on its command line Cloud Hypervisor boots "
                        "that one")
          .hint("use the keys of the config; 'extra_args' is for what is not of the machine");
  }
}

}  // namespace

void check_config(const std::string& machine, const MachineConfig& config) {
  microvm::check_common_config(machine, config, "cloud_hypervisor");
  check_limits(machine, config);
  check_pages(machine, config);
  check_map(machine, config);
  check_arguments(machine, config);
  for (auto& pmem : config.cloud_hypervisor.pmem_devices) check_pmem(machine, pmem);
}

void check_version(const std::string& machine, const MachineConfig& config,
                   const Version& version) {
  auto needs = [&](bool asked, const std::string& what, Version since) {
    if (!asked || version >= since) return;
    throw refusal(Kind::unsupported, machine,
                  what + " needs Cloud Hypervisor " + number(since.major) + "." +
                      number(since.minor) + " or later, and this one is " + version.text())
        .hint("use a newer Cloud Hypervisor, or leave it out");
  };
  needs(true, "this backend", oldest);
  needs(config.cloud_hypervisor.restore == "on_demand", "'restore' \"on_demand\"", with_on_demand);
}

void check_resize(const MachineConfig& config, int memory_mb_now, std::optional<int> vcpus,
                  std::optional<int> memory_mb) {
  auto& own = config.cloud_hypervisor;
  int most = std::max(config.vcpus, own.max_vcpus);
  if (vcpus && (*vcpus < 1 || *vcpus > most))
    throw Error(Kind::usage, number(*vcpus) + " processors were asked for, and the machine can " +
                                 "have 1 to " + number(most))
        .hint("raise 'cloud_hypervisor.max_vcpus' in its config");
  if (!memory_mb) return;
  int most_mb = std::max(config.memory_mb, own.max_memory_mb);
  if (*memory_mb > most_mb)
    throw Error(Kind::usage, number(*memory_mb) + " MiB were asked for, and the machine can have " +
                                 "at most " + number(most_mb))
        .hint("raise 'cloud_hypervisor.max_memory_mb' in its config");
  if (*memory_mb < memory_mb_now)
    throw Error(Kind::usage, number(*memory_mb) + " MiB were asked for, and the machine has " +
                                 number(memory_mb_now) + ", of which ACPI can take nothing back")
        .hint("use the balloon to take memory from a machine");
  if ((*memory_mb - memory_mb_now) % memory_step_mb)
    throw Error(Kind::usage, "memory is plugged in by 128 MiB, and " + number(*memory_mb) +
                                 " MiB are not so many more than " + number(memory_mb_now))
        .hint(
            "ask for " +
            number(memory_mb_now + (*memory_mb - memory_mb_now) / memory_step_mb * memory_step_mb) +
            " MiB");
}

}  // namespace attest::cloud_hypervisor
