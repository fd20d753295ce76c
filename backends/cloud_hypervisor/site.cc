#include "backends/cloud_hypervisor/site.h"

#include "attest/error.h"
#include "lib/base/text.h"

namespace attest::cloud_hypervisor {
namespace {

namespace fs = std::filesystem;

constexpr const char* standard_name = "cloud-hypervisor";
constexpr const char* variable = "ATTEST_CLOUD_HYPERVISOR";

// Credentials go by SMBIOS, whatever the image; the seed and the kernel's command line are not to
// carry them again.
BackendContext without_credentials(BackendContext context) {
  context.config.credentials.clear();
  return context;
}

// A guest's reset is a restart in place, and so a kernel that resets after a panic would come up
// again and again: it stays, and is ended by us.
std::string without_panic(const std::string& cmdline) {
  std::vector<std::string> kept;
  for (auto& word : base::split(cmdline, ' '))
    if (!word.empty() && !word.starts_with("panic=")) kept.push_back(word);
  return base::join(kept, " ");
}

}  // namespace

std::string wanted_program(const MachineConfig& config) {
  return microvm::wanted_program(config.cloud_hypervisor.binary, standard_name, variable);
}

std::string program_of(const MachineConfig& config) {
  return microvm::find_monitor(config.cloud_hypervisor.binary, standard_name, variable);
}

std::shared_ptr<Site> Site::find(BackendContext context) {
  auto& config = context.config;
  check_config(context.machine, config);
  Launch launch;
  launch.program = program_of(config);
  if (launch.program.empty())
    throw Error(Error::Kind::host,
                "machine '" + context.machine + "' (cloud_hypervisor): the program '" +
                    wanted_program(config) + "' was not found or is not executable")
        .hint(std::string("install it, or give its path in ") + variable +
              " or the config's cloud_hypervisor.binary");
  launch.program = fs::absolute(launch.program).string();
  launch.version = microvm::monitor_version(launch.program);
  check_version(context.machine, config, launch.version);
  launch.work_dir = fs::absolute(context.work_dir);
  auto bare = without_credentials(context);
  auto parts = microvm::find_parts(
      bare, {.backend = "cloud_hypervisor", .agent = config.cloud_hypervisor.agent});
  launch.kernel = parts.kernel;
  launch.cmdline = microvm::kernel_arguments(
      bare.config, without_panic(parts.image ? parts.image->cmdline : ""), {"panic=0"});
  launch.drives = parts.drives.list();
  for (auto& drive : launch.drives) drive.file = fs::absolute(drive.file);
  return std::make_shared<Site>(
      Site{.context = std::move(context), .parts = std::move(parts), .launch = std::move(launch)});
}

void Site::finish() {
  parts.drives.make();
  if (complete) return;
  auto initrd = microvm::initrd_with_seed(without_credentials(context), parts);
  if (!initrd.empty()) launch.initrd = fs::absolute(initrd);
  complete = true;
}

SnapshotFacts facts_of(const Site& site) {
  auto& own = site.context.config.cloud_hypervisor;
  for (auto& pmem : own.pmem_devices)
    if (!pmem.read_only)
      throw Error(Error::Kind::unsupported,
                  "machine '" + site.context.machine +
                      "' (cloud_hypervisor): a machine with a 'pmem_devices' that it writes to "
                      "cannot be saved: the file would not be part of it")
          .hint("make it read-only, or use 'disks'");
  SnapshotFacts facts;
  facts.monitor = "Cloud Hypervisor " + site.launch.version.text();
  facts.binary = site.launch.program;
  facts.kernel = site.launch.kernel;
  for (auto& drive : site.launch.drives)
    if (drive.read_only) facts.disks.push_back(drive.file);
  for (auto& pmem : own.pmem_devices) facts.disks.push_back(fs::absolute(pmem.path));
  return facts;
}

}  // namespace attest::cloud_hypervisor
