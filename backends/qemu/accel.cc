#include "backends/qemu/accel.h"

#include "attest/error.h"
#include "backends/image/image.h"
#include "backends/image/probe_answers.h"
#include "backends/qemu/kernel_file.h"
#include "backends/qemu/kvm_probe.h"
#include "backends/qemu/start_script.h"
#include "lib/async/aside.h"
#include "lib/async/child.h"
#include "lib/base/fd.h"
#include "lib/base/file.h"
#include "lib/base/sys_error.h"
#include "lib/base/text.h"

#include <fcntl.h>

#include <cstdlib>

namespace attest::qemu {
namespace {

namespace fs = std::filesystem;

// The kernel that the machine will boot, or else the default image's; "" if there is neither.
fs::path kernel_to_probe(const MachineConfig& config) {
  if (!config.start_script.empty()) {
    auto text = base::try_read_file(config.start_script);
    fs::path named = text ? kernel_of_script(*text) : "";
    std::error_code ignored;
    if (fs::is_regular_file(named, ignored)) return named;
  }
  if (!config.kernel.empty()) return config.kernel;
  bool needs_image = config.start_script.empty() && config.firmware.empty();
  try {
    return image::find_image(config.image, "qemu").kernel;
  } catch (const Error&) {
    if (needs_image) throw;
    return {};
  }
}

AccelChoice look(const MachineConfig& config) {
  base::Fd device(::open("/dev/kvm", O_RDWR | O_CLOEXEC));
  if (!device) return {false, std::string("KVM: ") + base::sys_error("opening /dev/kvm").what()};
  std::string qemu = async::find_program(config.qemu.binary);
  if (qemu.empty()) return {false, "KVM: /dev/kvm exists, but there is no QEMU to try it with"};
  fs::path kernel = kernel_to_probe(config);
  if (kernel.empty()) return {false, "KVM: /dev/kvm exists, but there is no kernel to try it with"};
  check_kernel(kernel);
  kernel = fs::absolute(kernel);
  std::string why = image::probe_once(
      "kvm-probe", image::file_identity(qemu) + "\n" + image::file_identity(kernel) + "\n",
      [&] { return probe_kvm(qemu, kernel); });
  if (why.empty()) return {true, "KVM: a probe guest booted"};
  return {false, "KVM: /dev/kvm exists, but " + why};
}

}  // namespace

Accel wanted_accel(const MachineConfig& config) {
  const char* variable = std::getenv("ATTEST_ACCEL");
  std::string value = variable ? variable : "";
  if (value.empty()) return config.accel;
  if (value == "kvm") return Accel::kvm;
  if (value == "tcg") return Accel::tcg;
  if (value == "auto") return Accel::automatic;
  throw Error(Error::Kind::usage, "ATTEST_ACCEL is '" + value + "'").hint("use kvm, tcg or auto");
}

AccelChoice choose_accel(const MachineConfig& config) {
  if (wanted_accel(config) == Accel::tcg) return {false, "TCG was asked for"};
  return look(config);
}

Task<AccelChoice> choose_accel_async(MachineConfig config) {
  if (wanted_accel(config) == Accel::tcg) co_return choose_accel(config);
  // Cancellation waits for the probe, which has a short limit of its own.
  auto choose = [config] { return choose_accel(config); };
  co_return co_await async::aside(std::move(choose));
}

}  // namespace attest::qemu
