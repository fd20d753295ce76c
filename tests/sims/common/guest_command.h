// A GuestDescription as QEMU's arguments and descriptors.
#pragma once
#include "lib/async/child.h"
#include "tests/sims/common/guest_description.h"

#include <nlohmann/json.hpp>

#include <map>
#include <string>

namespace attest::sims {

/// Our ends of what QEMU was given.
struct GuestWiring {
  base::Fd qmp, serial, output;
  /// Where a chardev listens.
  std::map<std::string, std::string> channels;
};

/// Where RAM comes from.
struct GuestMemory {
  std::shared_ptr<base::Fd> shared;  ///< a memfd
  std::string private_file;          ///< else a file that is mapped privately
};

/// What to start: CPUs stopped, and with `incoming` waiting for a state. Throws Error{host}.
async::ChildSpec guest_command(const GuestDescription& description, const GuestMemory& memory,
                               bool incoming, GuestWiring& wiring);

/// "elf", "bzimage", or "" for no kernel.
std::string kernel_kind(const std::string& path);
/// A kernel file of that kind that nobody will run.
base::Fd unused_kernel(const std::string& kind);

/// The node of a drive for blockdev-add and blockdev-reopen: the file below the format.
std::string file_node(const GuestDrive& drive, const std::string& node, const std::string& path);
std::string format_node(const GuestDrive& drive, const std::string& file_node);

/// The arguments of block_set_io_throttle that make the limits of `drive` those that it has.
nlohmann::json throttle(const GuestDescription& description, const GuestDrive& drive);

}  // namespace attest::sims
