#include "backends/microvm/boot_files.h"

#include "attest/error.h"
#include "backends/image/seed.h"
#include "lib/base/file.h"
#include "lib/base/text.h"

#include <fstream>

namespace attest::microvm {
namespace {

namespace fs = std::filesystem;
using Kind = Error::Kind;

// Seed files of an image that systemd is pointed to by its environment, as a container manager
// would: an unknown NAME=VALUE of the kernel's command line goes there.
constexpr const char* credentials_dir = "/etc/attest/credentials";

Error refusal(Kind kind, const BackendContext& context, const std::string& what) {
  return Error(kind, "machine '" + context.machine + "' (" + context.config.backend + "): " + what);
}

KernelForm form_of_file(const fs::path& kernel) {
  std::string head(4096, '\0');
  std::error_code failure;
  auto size = fs::file_size(kernel, failure);
  std::ifstream file(kernel, std::ios::binary);
  std::string problem;
  if (failure || !file) {
    problem = "cannot be read" + (failure ? ": " + failure.message() : std::string());
  } else {
    file.read(head.data(), std::streamsize(head.size()));
    head.resize(std::size_t(file.gcount()));
    try {
      return kernel_form(head, size);
    } catch (const Error& wrong) {
      problem = wrong.what();
    }
  }
  throw Error(Kind::usage, "the kernel '" + kernel.string() + "' " + problem)
      .hint("correct 'kernel' in the config, or build the image again: sh guest/debian/build.sh");
}

void choose_kernel(Parts& parts, const BackendContext& context, const PartsOptions& options) {
  auto& config = context.config;
  if (parts.image)
    // The ELF file is larger and starts faster: nothing has to be unpacked in the guest.
    parts.kernel = parts.image->vmlinux.empty() ? parts.image->kernel : parts.image->vmlinux;
  else
    parts.kernel = fs::absolute(config.kernel);
  if (parts.kernel.empty())
    throw refusal(Kind::usage, context, "the image '" + parts.image->name + "' has no kernel");
  if (form_of_file(parts.kernel) == KernelForm::bz_image && !options.takes_bz_image)
    throw refusal(Kind::unsupported, context,
                  "the kernel '" + parts.kernel.string() +
                      "' is a bzImage, which this monitor takes from version " +
                      options.bz_image_since + " on")
        .hint(
            "give it the same kernel as an ELF file (vmlinux): the kernel's sources have "
            "scripts/extract-vmlinux");
}

bool takes_seed(const BackendContext& context, const Parts& parts) {
  return parts.image ? parts.image->seed == "initrd" : !context.config.initrd.empty();
}

// They would be there for a moment only, and nobody would be told.
void check_file(const std::string& machine, const std::string& backend, const std::string& path) {
  for (std::string_view top : {"/dev/", "/proc/", "/run/", "/sys/", "/tmp/"})
    if (path.starts_with(top))
      throw Error(Kind::unsupported,
                  "machine '" + machine + "' (" + backend + "): 'files' cannot be in " +
                      std::string(top.substr(0, top.size() - 1)) + " (here '" + path +
                      "'), which the guest covers or empties while it boots")
          .hint("choose another directory, or write it with a command after the boot");
}

}  // namespace

Parts find_parts(const BackendContext& context, const PartsOptions& options) {
  auto& config = context.config;
  Parts parts{.drives = Drives(options.backend, context.state_dir, config.keep_machine_state)};
  if (config.kernel.empty()) {
    parts.image = image::find_image(config.image, options.backend);
    parts.initrd = parts.image->initrd;
  } else if (!config.initrd.empty()) {
    parts.initrd = fs::absolute(config.initrd);
  }
  choose_kernel(parts, context, options);
  if (parts.image && !parts.image->root.empty())
    parts.drives.add_root(parts.image->root, parts.image->root_format);
  if (parts.image && !parts.image->store.empty()) parts.drives.add_store(parts.image->store);
  for (auto [key, given] : {std::pair{"files", !config.files.empty()},
                            std::pair{"credentials", !config.credentials.empty()}})
    if (given && !takes_seed(context, parts))
      throw refusal(Kind::unsupported, context,
                    std::string("'") + key +
                        "' needs an image, or an initrd of yours that copies /attest/seed into "
                        "the root")
          .hint("use an image, or write it with a command after the boot");
  for (auto& disk : config.disks) parts.drives.add(disk);
  if (config.keep_machine_state && !parts.drives.any_writable())
    throw refusal(Kind::unsupported, context,
                  "'keep_machine_state' has nothing to keep: its root is shared read-only, with a "
                  "layer in memory over it, and it has no disk to write to")
        .hint("give it one in 'disks', such as {\"size_mb\": 1024}");
  parts.agent_greets = options.agent && !context.agent.empty() && parts.image &&
                       parts.image->channel == "agent" && parts.image->seed == "initrd";
  return parts;
}

fs::path initrd_with_seed(const BackendContext& context, const Parts& parts) {
  if (parts.initrd.empty()) return {};
  auto seed = context.seed;
  if (parts.agent_greets) seed.push_back(image::agent_seed(context.agent));
  for (auto& [name, value] : context.config.credentials)
    seed.push_back(
        {.path = std::string(credentials_dir) + "/" + name, .content = value, .mode = 0600});
  if (seed.empty()) return parts.initrd;
  auto bytes = base::try_read_file(parts.initrd);
  if (!bytes)
    throw Error(Kind::usage, "the initrd '" + parts.initrd.string() + "' cannot be read")
        .hint("correct 'initrd' in the config, or build the image again: sh guest/debian/build.sh");
  fs::path combined = context.work_dir / "initrd";
  base::write_file(combined, image::append_seed(std::move(*bytes), seed));
  return combined;
}

std::string kernel_arguments(const MachineConfig& config, const std::string& image_cmdline,
                             const std::vector<std::string>& own) {
  std::vector<std::string> words{"console=ttyS0", "net.ifnames=0", "panic=-1"};
  words.insert(words.end(), own.begin(), own.end());
  if (!image_cmdline.empty()) words.push_back(image_cmdline);
  if (!config.credentials.empty())
    words.push_back(std::string("CREDENTIALS_DIRECTORY=") + credentials_dir);
  if (config.debug_boot)
    words.insert(words.end(), {"ignore_loglevel", "systemd.log_level=debug",
                               "systemd.log_target=console", "systemd.show_status=1"});
  if (!config.cmdline.empty()) words.push_back(config.cmdline);
  return base::join(words, " ");
}

void check_common_config(const std::string& machine, const MachineConfig& config,
                         const std::string& backend) {
  auto refuse = [&](Kind kind, const std::string& what, const std::string& hint) {
    throw Error(kind, "machine '" + machine + "' (" + backend + "): " + what).hint(hint);
  };
  auto without = [&](bool given, const char* key, const char* why, const char* instead) {
    if (given) refuse(Kind::unsupported, std::string("'") + key + "' " + why, instead);
  };
  without(!config.start_script.empty(), "start_script", "starts a QEMU of its own",
          "use the qemu backend for this machine, or give its kernel and initrd");
  without(!config.firmware.empty(), "firmware", "is for QEMU: this monitor boots a kernel itself",
          "give 'kernel' or 'image', or use the qemu backend");
  without(config.graphics, "graphics", "needs a screen, which this monitor does not have",
          "use the qemu backend with the q35 machine type for this machine");
  without(config.accel == Accel::tcg, "accel",
          "is \"tcg\", and this monitor runs guests by KVM only",
          "use the qemu backend for emulation");
  if (!config.network.empty())
    refuse(Kind::unsupported,
           "'network' (here '" + config.network + "') is a key of the nspawn backend",
           "use 'vlans' to join networks");
  if (config.kernel.empty() && !config.initrd.empty())
    refuse(Kind::usage, "'initrd' is given without 'kernel'", "give both, or an image");
  if (config.memory_mb < 1 || config.vcpus < 1)
    refuse(Kind::usage, "'memory_mb' and 'vcpus' must be at least 1",
           "leave them out for the defaults");
  for (auto& file : config.files) check_file(machine, backend, file.to);
  for (auto& [name, value] : config.credentials)
    if (name.empty() || name.find('/') != std::string::npos || name.starts_with("."))
      refuse(Kind::usage, "the credential '" + name + "' has a name that is no file name",
             "use letters, digits, dots, and dashes");
}

}  // namespace attest::microvm
