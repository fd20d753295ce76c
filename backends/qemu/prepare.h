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
  base::Fd qmp, shell;  ///< connected, or listening for the QEMU of a start script
  bool listening = false;
};

/// Finds the image and opens the disks. Throws Error{usage, unsupported} for a config that cannot
/// be run, before anything is made.
Parts find_parts(const BackendContext& context);

/// Writes files into the work directory and makes the channels. Throws Error{usage, host}.
Start prepare(const BackendContext& context, const Parts& parts, bool kvm);

}  // namespace attest::qemu
