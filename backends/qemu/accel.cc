#include "backends/qemu/accel.h"

#include "attest/error.h"
#include "backends/image/image.h"
#include "backends/qemu/kernel_file.h"
#include "backends/qemu/kvm_probe.h"
#include "backends/qemu/start_script.h"
#include "lib/async/child.h"
#include "lib/async/event.h"
#include "lib/base/fd.h"
#include "lib/base/file.h"
#include "lib/base/sys_error.h"
#include "lib/base/text.h"

#include <boost/asio/post.hpp>

#include <fcntl.h>
#include <sys/stat.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <thread>

namespace attest::qemu {
namespace {

namespace fs = std::filesystem;

// Which file exactly: a rebuilt or upgraded one is probed again.
std::string identity(const fs::path& file) {
  struct stat status{};
  if (::stat(file.c_str(), &status) == -1) return file.string() + " (not there)";
  return file.string() + " " + std::to_string(status.st_size) + " " +
         std::to_string(status.st_mtim.tv_sec) + "." + std::to_string(status.st_mtim.tv_nsec) +
         " " + std::to_string(status.st_ino);
}

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

// The answers survive the process in one small file each, whose first lines are the question.
class Answers {
 public:
  explicit Answers(std::string question) : question_(std::move(question)) {
    unsigned long long hash = 14695981039346656037ull;  // FNV-1a
    for (unsigned char byte : question_) hash = (hash ^ byte) * 1099511628211ull;
    char name[32];
    std::snprintf(name, sizeof name, "%016llx", hash);
    if (auto cache = image::cache_dir(); !cache.empty()) file_ = cache / "kvm-probe" / name;
  }
  std::optional<std::string> find() const {
    auto text = file_.empty() ? std::nullopt : base::try_read_file(file_);
    if (!text || !text->starts_with(question_)) return std::nullopt;
    return text->substr(question_.size());
  }
  // A cache that cannot be written costs a probe per run, nothing else: ignoring.
  void keep(const std::string& answer) const {
    if (file_.empty()) return;
    try {
      fs::create_directories(file_.parent_path());
      base::write_file(file_, question_ + answer);
    } catch (const std::exception&) {
    }
  }

 private:
  std::string question_;
  fs::path file_;
};

// "" if KVM runs guests. Holding the lock while probing makes all machines share one probe.
std::string why_no_kvm(const std::string& qemu, const fs::path& kernel) {
  static std::mutex mutex;
  static std::map<std::string, std::string> known;
  std::lock_guard lock(mutex);
  auto boot = base::try_read_file("/proc/sys/kernel/random/boot_id").value_or("\n");
  std::string question = boot + identity(qemu) + "\n" + identity(kernel) + "\n";
  if (auto found = known.find(question); found != known.end()) return found->second;
  Answers answers(question);
  auto answer = answers.find();
  if (!answer) {
    answer = probe_kvm(qemu, kernel);
    answers.keep(*answer);
  }
  return known[question] = *answer;
}

AccelChoice look(const MachineConfig& config) {
  base::Fd device(::open("/dev/kvm", O_RDWR | O_CLOEXEC));
  if (!device) return {false, std::string("KVM: ") + base::sys_error("opening /dev/kvm").what()};
  std::string qemu = async::find_program(config.qemu.binary);
  if (qemu.empty()) return {false, "KVM: /dev/kvm exists, but there is no QEMU to try it with"};
  fs::path kernel = kernel_to_probe(config);
  if (kernel.empty()) return {false, "KVM: /dev/kvm exists, but there is no kernel to try it with"};
  check_kernel(kernel);
  std::string why = why_no_kvm(qemu, fs::absolute(kernel));
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
  auto loop = co_await asio::this_coro::executor;
  async::Event done(loop);
  AccelChoice choice;
  std::exception_ptr failure;
  // Joined when this coroutine ends, so that it may point into it. Cancellation waits for the
  // probe, which has a short limit of its own.
  std::jthread thread([&] {
    try {
      choice = choose_accel(config);
    } catch (...) {
      failure = std::current_exception();
    }
    asio::post(loop, [&done] { done.set(); });
  });
  co_await done.wait();
  if (failure) std::rethrow_exception(failure);
  co_return choice;
}

}  // namespace attest::qemu
