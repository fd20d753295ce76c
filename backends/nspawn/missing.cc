#include "backends/nspawn/cgroup.h"
#include "backends/nspawn/command_line.h"
#include "backends/nspawn/nspawn.h"
#include "lib/async/child.h"

namespace attest::nspawn {

std::optional<Missing> missing(const NspawnHost& host, const MachineConfig& config) {
  bool named = config.nspawn.binary.find('/') == std::string::npos;
  // A path that is wrong is a mistake in the config, which boot() tells; a name is looked up here.
  if (named && async::find_program(config.nspawn.binary).empty())
    return Missing{"nspawn", "the program '" + config.nspawn.binary +
                                 "' was not found; install it (Debian: systemd-container)"};
  if (!host.id_range) return Missing{"nspawn", host.why_no_id_range};
  return std::nullopt;
}

}  // namespace attest::nspawn
