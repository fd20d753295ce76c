#include "backends/firecracker/requests.h"

namespace attest::firecracker {
namespace {

constexpr Version serial_since{1, 14, 0};
constexpr std::size_t longest_id = 64;

// Firecracker's ids have letters, digits and dashes.
std::string id_of(const std::string& machine) {
  std::string id = machine.substr(0, longest_id);
  for (char& byte : id) {
    bool fine = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
                (byte >= '0' && byte <= '9');
    if (!fine) byte = '-';
  }
  return id;
}

}  // namespace

bool has_serial(const Version& version) { return version >= serial_since; }

std::vector<std::string> command_line(const MachineConfig& config, const Launch& launch) {
  auto& own = config.firecracker;
  // Log and metrics by arguments, not by requests: so the log has the first moments, too.
  std::vector<std::string> words{launch.program,        "--api-sock",     api_socket,  "--id",
                                 id_of(launch.machine), "--log-path",     log_file,    "--level",
                                 own.log_level,         "--metrics-path", metrics_file};
  if (own.enable_pci) words.push_back("--enable-pci");
  words.insert(words.end(), config.extra_args.begin(), config.extra_args.end());
  return words;
}

std::string exit_words(int code) {
  switch (code) {
    case 148:
      return "it made a system call that its seccomp filter forbids";
    case 149:
      return "a bus error: no huge page was left, or a memory file is cut short";
    case 150:
      return "a segmentation fault";
    case 151:
      return "a file grew beyond its limit";
    case 152:
      return "its configuration is wrong";
    case 153:
      return "its arguments are wrong";
    case 154:
      return "its limit of processor time was reached";
    case 156:
      return "its terminal went away";
    case 157:
      return "an illegal instruction";
    default:
      return "";
  }
}

}  // namespace attest::firecracker
