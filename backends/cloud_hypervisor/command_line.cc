#include "backends/cloud_hypervisor/requests.h"

namespace attest::cloud_hypervisor {

std::vector<std::string> command_line(const MachineConfig& config, const Launch& launch) {
  std::vector<std::string> arguments{launch.program,
                                     "--api-socket",
                                     "fd=" + std::to_string(api_fd),
                                     "--event-monitor",
                                     "fd=" + std::to_string(event_fd),
                                     "--log-file",
                                     (launch.work_dir / log_file).string()};
  arguments.insert(arguments.end(), config.extra_args.begin(), config.extra_args.end());
  return arguments;
}

std::string words(MemoryMode mode) {
  switch (mode) {
    case MemoryMode::copy:
      return "copied";
    case MemoryMode::on_demand:
      return "on demand";
    case MemoryMode::map:
      return "mapped";
  }
  return "";
}

std::string nic_id(std::size_t index) { return "net" + std::to_string(index + 1); }

bool memory_is_file(const MachineConfig& config) {
  return config.cloud_hypervisor.restore == "map";
}

}  // namespace attest::cloud_hypervisor
