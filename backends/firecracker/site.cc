#include "attest/error.h"
#include "backends/firecracker/running.h"
#include "lib/async/child.h"

namespace attest::firecracker {

namespace fs = std::filesystem;

std::shared_ptr<Site> Site::find(BackendContext context) {
  auto& config = context.config;
  auto& own = config.firecracker;
  check_config(context.machine, config);
  Launch launch;
  launch.machine = context.machine;
  launch.program = microvm::find_monitor(own.binary, "firecracker", "ATTEST_FIRECRACKER");
  if (launch.program.empty())
    throw Error(Error::Kind::host,
                "machine '" + context.machine + "' (firecracker): the program '" +
                    microvm::wanted_program(own.binary, "firecracker", "ATTEST_FIRECRACKER") +
                    "' was not found or is not executable")
        .hint(
            "install it, or give its path in ATTEST_FIRECRACKER or the config's "
            "firecracker.binary");
  launch.program = fs::absolute(launch.program).string();
  launch.version = microvm::monitor_version(launch.program);
  check_version(context.machine, config, launch.version);
  auto parts = microvm::find_parts(context, {.backend = "firecracker",
                                             .agent = own.agent,
                                             .takes_bz_image = launch.version >= Version{1, 17, 0},
                                             .bz_image_since = "1.17"});
  launch.kernel = parts.kernel;
  // "k": a reset by the keyboard controller is how a guest ends Firecracker. The others spare the
  // kernel a search for what that controller does not have.
  launch.cmdline =
      microvm::kernel_arguments(config, parts.image ? parts.image->cmdline : "",
                                {"reboot=k", "i8042.noaux", "i8042.nomux", "i8042.dumbkbd"});
  launch.drives = parts.drives.list();
  for (auto& drive : launch.drives)
    if (!drive.read_only) drive.file = drive.file.filename();
  return std::make_shared<Site>(
      Site{.context = std::move(context), .parts = std::move(parts), .launch = std::move(launch)});
}

void Site::finish() {
  parts.drives.make();
  if (complete) return;
  launch.initrd = microvm::initrd_with_seed(context, parts);
  // Kept disks are elsewhere, but the monitor knows all of them by their names here.
  if (context.state_dir != context.work_dir)
    for (auto& drive : parts.drives.list())
      if (!drive.read_only) {
        auto link = context.work_dir / drive.file.filename();
        fs::remove(link);
        fs::create_symlink(drive.file, link);
      }
  complete = true;
}

}  // namespace attest::firecracker
