// Everything that a start of QEMU needs, made ready in the work directory: the initrd with the
// seed, credential files, sockets, the command line.
#pragma once
#include "attest/backend.h"
#include "backends/image/image.h"
#include "backends/qemu/disks.h"
#include "lib/async/child.h"
#include "lib/base/fd.h"

#include <optional>

namespace attest::qemu {

/// What does not change from one boot of a machine to the next.
struct Parts {
  std::optional<image::Image>
      image;  ///< none for a start script, a kernel by hand, a bootable disk
  Disks disks;
};

/// A process to be started, and our ends of its channels.
struct Start {
  async::ChildSpec child;
  base::Fd serial, output;
  /// Connected, or listening for the QEMU of a start script. The machine has a shell, an agent's
  /// port, or both; what it has not is empty.
  base::Fd qmp, shell, agent;
  bool listening = false;
};

/// Finds the image and opens the disks. Throws Error{usage, unsupported} for a config that cannot
/// be run, before anything is made.
Parts find_parts(const BackendContext& context);

/// The directory that the start scripts of all machines of a driver show as /tmp/shared.
std::filesystem::path script_shared_dir(const BackendContext& context);

/// True if the image's own attest-agent answers, so that no backdoor shell is needed: it starts the
/// program that comes with its seed.
bool agent_greets(const BackendContext& context, const Parts& parts);

/// Writes files into the work directory and makes the channels. Throws Error{usage, host}.
/// `share_slots` as in Launch.
Start prepare(const BackendContext& context, const Parts& parts, bool kvm, int share_slots);

}  // namespace attest::qemu
