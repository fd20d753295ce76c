// What stays the same from one boot of a machine to the next: the program, the files, the disks.
#pragma once
#include "attest/backend.h"
#include "backends/cloud_hypervisor/requests.h"
#include "backends/microvm/boot_files.h"

#include <filesystem>
#include <memory>

namespace attest::cloud_hypervisor {

struct Site {
  BackendContext context;
  microvm::Parts parts;
  Launch launch;
  bool complete = false;  ///< the initrd with its seed is written

  /// Finds the program and its version, the image, the disks. May block for some milliseconds.
  /// Throws Error{usage, unsupported, host}.
  static std::shared_ptr<Site> find(BackendContext context);
  /// Writes the initrd and makes the disks, unless they are there. Blocks; on any thread.
  void finish();
  std::filesystem::path in_work_dir(const char* name) const { return context.work_dir / name; }
};

/// The program's name, or its path, as the config and the environment want it.
std::string wanted_program(const MachineConfig& config);
/// Its path; "" if it is not there.
std::string program_of(const MachineConfig& config);
/// What a machine's saved form must agree with.
SnapshotFacts facts_of(const Site& site);

}  // namespace attest::cloud_hypervisor
